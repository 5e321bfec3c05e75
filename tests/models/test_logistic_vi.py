"""Variational inference for logistic models: the bound, the Gaussian, and predictions by quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from reference import logistic as oracle
from scipy import integrate, special, stats

import lvmfast as lvm
from lvmfast.models._logistic_data import Prior, make_data
from lvmfast.models._logistic_posterior import logistic_normal
from lvmfast.models._logistic_vi import CoordinateAscent, GaussianState

Model = lvm.PolyaGammaLogisticRegression
KINDS = ("bernoulli", "binomial", "negative-binomial")
OTHER = {"bernoulli": {}, "binomial": "n_trials", "negative-binomial": "dispersion"}


def case(kind, n=30, q=1, seed=0, scale=1.0):
    """X, Phi (an intercept last), y, the trials or the dispersion, a prior mean and precision."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, q))
    Phi = np.hstack([X, np.ones((n, 1))])
    other = {"bernoulli": None, "binomial": rng.integers(1, 9, n).astype(float), "negative-binomial": np.full(n, 2.5)}
    y = oracle.draw(rng, kind, scale * Phi @ rng.standard_normal(q + 1), other[kind])
    S = np.eye(q + 1) * 0.5 + 0.1
    return X, Phi, y, other[kind], 0.3 * rng.standard_normal(q + 1), S


def fitted(kind, X, y, other, m, S, **params):
    model = Model(S, prior_mean=m, likelihood=kind, method="vi", **params)
    return model.fit(X, y) if other is None else model.fit(X, y, **{OTHER[kind]: other})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_the_references(kind, seed):
    """Every bound on the way, the mean and the covariance, against loops over rows."""
    X, Phi, y, other, m, S = case(kind, seed=seed, q=1 + seed)
    model = fitted(kind, X, y, other, m, S, tol=1e-13)
    bounds, mean, covariance = oracle.jaakkola_jordan(kind, Phi, y, m, S, other, model.n_iter_)
    assert_near(model.lower_bounds_, bounds, tolerance(float, len(y), 10))
    assert_near(np.append(model.coef_, model.intercept_), mean, tolerance(float, len(y), 100))
    assert_near(model.covariance_, covariance, tolerance(float, len(y), 100))


@pytest.mark.filterwarnings("ignore:the bound still rises")
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_rises_and_stays_below_the_evidence(kind, scale):
    """Monotone but for rounding, below log p(y) by quadrature, and near it where the likelihood is nearly Gaussian."""
    scale = min(scale, 3.0) if kind == "negative-binomial" else scale  # counts grow with exp(f)
    X, Phi, y, other, m, S = case(kind, scale=scale, n=20)
    model = fitted(kind, X, y, other, m, S, tol=1e-12, max_iter=5000)
    rises = np.diff(model.lower_bounds_)
    assert (rises >= -1e-12 * np.abs(model.lower_bounds_[1:])).all()
    evidence, mean, _ = oracle.quadrature(kind, Phi, y, m, S, other)
    assert evidence - 2.0 < model.lower_bound_ < evidence
    assert model.lower_bound_ == model.lower_bounds_[-1]
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), mean, atol=0.25)


def test_no_rows_to_speak_of():
    """Weights next to nothing: the prior, and a bound of zero."""
    X, _, y, _, m, S = case("bernoulli")
    model = Model(S, prior_mean=m, method="vi").fit(X, y, sample_weight=np.full(30, 1e-12))
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), m, atol=1e-9)
    np.testing.assert_allclose(model.covariance_, np.linalg.inv(S), rtol=1e-9)
    assert abs(model.lower_bound_) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_repetitions(kind):
    """Bounds and coefficients of rows with weights are those of rows that come again."""
    X, _, y, other, m, S = case(kind)
    w = np.arange(len(y)) % 3
    rest = {} if other is None else {OTHER[kind]: other}
    again = {} if other is None else {OTHER[kind]: np.repeat(other, w)}
    params = {"prior_mean": m, "likelihood": kind, "method": "vi"}
    weighted = Model(S, **params).fit(X, y, sample_weight=w, **rest)
    repeated = Model(S, **params).fit(np.repeat(X, w, axis=0), np.repeat(y, w), **again)
    assert_near(weighted.lower_bounds_, repeated.lower_bounds_, tolerance(float, 30, 10))
    assert_near(weighted.coef_, repeated.coef_, tolerance(float, 30, 100))


def test_flat_priors_are_limits():
    """Bounds with a flat direction, whose density is 1, are those of a wide normal density divided by its height."""
    X, _, y, _, _, _ = case("bernoulli", q=2)
    flat = Model([1.0, 0.0, 0.0], method="vi", tol=1e-13).fit(X, y)
    wide = Model([1.0, 1e-10, 1e-10], method="vi", tol=1e-13).fit(X, y)
    height = 2 * 0.5 * np.log(1e-10 / (2 * np.pi))
    np.testing.assert_allclose(flat.lower_bound_, wide.lower_bound_ - height, atol=1e-6)
    np.testing.assert_allclose(flat.coef_, wide.coef_, rtol=1e-5)


def test_the_fit_is_stationary():
    """The bound's derivatives by xi vanish at the end: by differences of the bound given weights."""
    X, Phi, y, _, m, S = case("bernoulli", n=6)
    data, prior = make_data("bernoulli", Phi, y, None, None), Prior.of(m, S, 2)
    ascent = CoordinateAscent(data, prior, "cpu")
    state, converged = ascent.run(None, 5000, 0.0, lambda state: False)
    weights, _ = ascent.locals(state)
    xi = np.sqrt((Phi @ state.mean) ** 2 + (np.linalg.solve(state.precision_factor, Phi.T) ** 2).sum(axis=0))

    def bound(xi):
        w = np.tanh(xi / 2) / (2 * xi)
        local = (0.5 * w * xi**2 - np.logaddexp(xi / 2, -xi / 2)).sum()
        return ascent.update(None, w, local).bounds[-1]

    assert converged or state.bounds[-1] >= state.bounds[-2] - 1e-12
    assert_near(bound(xi), state.bounds[-1], 1e-10)
    assert np.abs(differences(bound, xi)).max() < tolerance(float, 1, DIFFERENCE) * 100


def test_blocks_change_nothing(monkeypatch):
    X, _, y, other, m, S = case("binomial", n=200)
    expected = fitted("binomial", X, y, other, m, S)
    monkeypatch.setattr("lvmfast.models._logistic_vi.BLOCK", 14)
    actual = fitted("binomial", X, y, other, m, S)
    assert_near(actual.lower_bounds_, expected.lower_bounds_, tolerance(float, 200))


# Predictions.


def test_logistic_normal_integrals():
    """Its docstring's error, against adaptive quadrature."""
    for std in (0.01, 0.3, 1.0, 1.99, 2.01, 5.0, 30.0, 1000.0):
        mean = np.linspace(-6, 6, 9) * max(std, 1.0) * 0.7
        expected = [
            integrate.quad(
                lambda z, a=a, std=std: special.expit(a + std * z) * stats.norm.pdf(z),
                *(-12, 12),
                points=np.clip(np.array([-40, 0, 40, 80]) / std - a / std, -11.9, 11.9),
                epsabs=1e-13,
                limit=400,
            )[0]
            for a in mean
        ]
        assert np.abs(logistic_normal(mean, np.full(9, std**2)) - expected).max() < 1e-10, std
    assert_near(logistic_normal(np.array([-3.0, 2.0]), np.zeros(2)), special.expit([-3.0, 2.0]), 1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_integrate_over_the_gaussian(kind):
    """Probabilities, means and log densities against draws from the Gaussian, within five standard errors."""
    X, _, y, other, m, S = case(kind)
    model = fitted(kind, X, y, other, m, S)
    rng = np.random.default_rng(3)
    new, y_new = rng.standard_normal((4, 1)), np.array([0.0, 1.0, 1.0, 0.0])
    other_new = {"bernoulli": {}, "binomial": {"n_trials": [1, 5, 2, 3]}, "negative-binomial": {}}[kind]
    draws = rng.multivariate_normal(np.append(model.coef_, model.intercept_), model.covariance_, 100_000)
    f = draws @ np.hstack([new, np.ones((4, 1))]).T

    def assert_mean(actual, samples):
        assert (np.abs(actual - samples.mean(axis=0)) < 5 * samples.std(axis=0) / np.sqrt(len(samples))).all()

    assert_mean(model.predict_proba(new)[:, 1], special.expit(f))
    assert_mean(model.predict_proba(new)[:, 0], special.expit(-f))
    r = {"binomial": np.array([1, 5, 2, 3]), "negative-binomial": np.full(4, 2.5)}.get(kind)
    if kind != "bernoulli":
        expected = r * special.expit(f) if kind == "binomial" else 2.5 * np.exp(f)
        assert_mean(model.predict(new, **other_new), expected)
    density = model.log_predictive_density(new, y_new, **other_new)
    assert_mean(np.exp(density), np.exp(oracle.log_likelihood(kind, f, y_new, r)))
    sampled = model.sample_y(new, 20_000, **other_new)
    means = special.expit(f) if kind == "bernoulli" else expected
    error = np.hypot(sampled.std(axis=1) / np.sqrt(20_000), means.std(axis=0) / np.sqrt(len(means)))
    assert (np.abs(sampled.mean(axis=1) - means.mean(axis=0)) < 5 * error).all()


def test_resume_goes_on():
    """Two halves are the whole, bit for bit."""
    X, _, y, _, m, S = case("bernoulli", scale=3.0, seed=2)
    whole = Model(S, prior_mean=m, method="vi", max_iter=20, tol=0.0)
    with pytest.warns(UserWarning, match="still rises"):
        whole.fit(X, y)
    parts = Model(S, prior_mean=m, method="vi", max_iter=8, tol=0.0)
    with pytest.warns(UserWarning, match="still rises after 8"):
        parts.fit(X, y)
    with pytest.warns(UserWarning, match="still rises after 20"):
        parts.resume(12)
    np.testing.assert_array_equal(parts.lower_bounds_, whole.lower_bounds_)
    np.testing.assert_array_equal(parts.coef_, whole.coef_)


def test_state_is_what_determines_the_rest():
    X, Phi, y, _, m, S = case("bernoulli")
    data, prior = make_data("bernoulli", Phi, y, None, None), Prior.of(m, S, 2)
    state, _ = CoordinateAscent(data, prior, "cpu").run(None, 3, 0.0, lambda state: False)
    copied = GaussianState(state.mean.copy(), state.precision_factor.copy(), list(state.bounds))
    one, two = (CoordinateAscent(data, prior, "cpu").run(s, 2, 0.0, lambda state: False)[0] for s in (state, copied))
    assert one.bounds == two.bounds and len(one.bounds) == 5
