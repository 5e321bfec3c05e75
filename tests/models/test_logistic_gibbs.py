"""The Gibbs sampler of logistic models: steps against the formula, posteriors against quadrature, Geweke's test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import logistic as oracle

import lvmfast as lvm
from lvmfast import _backend
from lvmfast.models._logistic_data import Data, Prior
from lvmfast.models._logistic_gibbs import ChainState, GibbsSampler

Model = lvm.PolyaGammaLogisticRegression
SIGMAS = 5  # a normal number is farther out 6 times in ten million; each test below asks for at most 40


def problem(n, p, *, seed=0, dtype=np.float64, equal=True, chains=2):
    """Data with a prior that is no multiple of the identity, and the start of chains."""
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((n, p)).astype(dtype)
    b = np.ones(n) if equal else rng.integers(1, 40, n) * rng.choice([1.0, 0.5], n)
    a = rng.uniform(size=n) * b
    S = np.cov(rng.standard_normal((p, 3 * p + 3))).reshape(p, p) + np.eye(p)
    prior = Prior.of(rng.standard_normal(p), S, p)
    data = Data(design, a, b, 0.0)
    return data, prior, ChainState.start(data, prior, chains, seed)


def sampled(data, prior, state, iterations, thin=1, omega=False):
    """``(draws, omega)`` of a run of a copy of the state."""
    sampler = GibbsSampler(data, prior, state.copy(), "cpu")
    chains, p = state.beta.shape
    draws = np.full((chains, iterations // thin, p), np.nan, data.design.dtype)
    kept = np.full((chains, iterations // thin, len(data.b)), np.nan, data.design.dtype) if omega else None
    sampler.run(iterations, thin, 0, draws, kept)
    return draws, kept


SHAPES = [
    (1, 1),
    (15, 1),
    (16, 2),
    (17, 3),
    (130, 4),
    (300, 5),
    (257, 6),
    (600, 7),
    (1100, 13),
    (129, 48),
    (300, 110),
    (600, 200),
]


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_steps_are_those_of_the_formula(n, p, equal, dtype):
    """omega has the draws of ``random.polya_gamma``, and beta is the conditional mean plus L^-T times normal draws."""
    data, prior, state = problem(n, p, dtype=dtype, equal=equal)
    draws, omega = sampled(data, prior, state, 3, omega=True)
    design = data.design.astype(np.float64)
    for c, (chain, rows) in enumerate(zip(draws, omega, strict=True)):
        beta = state.beta[c].astype(dtype)
        for t in range(3):
            f = (data.design @ beta).astype(dtype)
            expected = lvm.random.polya_gamma(data.b.astype(dtype), f, rng=int(state.keys[c, 0]), start=t * n)
            assert_near(rows[t], expected, 100 * tolerance(dtype, p))
            mean, covariance = oracle.conditional(
                design, rows[t].astype(np.float64), data.kappa, prior.mean, prior.precision
            )
            L = np.linalg.cholesky(np.linalg.inv(covariance))
            noise = np.linalg.solve(L.T, lvm.random.normal(size=p, rng=int(state.keys[c, 1]), start=t * p))
            condition = np.linalg.cond(covariance)
            assert_near(chain[t], mean + noise, tolerance(dtype, n, condition), scale=np.abs(mean).max() + 1)
            beta = chain[t]


def test_more_threads_and_other_slices_change_nothing(dtype):
    """Many parts; few rows where chains run alone; and one thread."""
    for n, p, chains in [(9000, 20, 3), (100, 3, 4), (100, 3, 1), (3000, 7, 2)]:
        data, prior, state = problem(n, p, dtype=dtype, equal=False, chains=chains)
        before = lvm.get_num_threads()
        runs = []
        try:
            for threads in (1, 2, 3):
                lvm.set_num_threads(threads)
                runs.append(sampled(data, prior, state, 4, omega=True))
                sampler = GibbsSampler(data, prior, state.copy(), "cpu")
                draws, omega = (np.empty_like(a) for a in runs[0])
                for first in range(4):
                    sampler.run(1, 1, first, draws, omega)
                runs.append((draws, omega))
        finally:
            lvm.set_num_threads(before)
        for draws, omega in runs[1:]:
            np.testing.assert_array_equal(draws, runs[0][0])
            np.testing.assert_array_equal(omega, runs[0][1])


@pytest.mark.parametrize("name", _backend.cpu.instruction_sets())
def test_instruction_sets(name, dtype):
    """They differ by rounding."""
    best = _backend.cpu.instruction_sets()[0]
    data, prior, state = problem(700, 11, dtype=dtype)
    expected, _ = sampled(data, prior, state, 1)
    assert _backend.cpu.use_instruction_set(name)
    try:
        actual, _ = sampled(data, prior, state, 1)
    finally:
        _backend.cpu.use_instruction_set(best)
    assert_near(actual, expected, tolerance(dtype, 700, 100))


def test_thinning_keeps_every_kth_state():
    data, prior, state = problem(40, 3)
    every, omega = sampled(data, prior, state, 12, omega=True)
    third, omega_of_third = sampled(data, prior, state, 12, thin=3, omega=True)
    np.testing.assert_array_equal(third, every[:, 2::3])
    np.testing.assert_array_equal(omega_of_third, omega[:, 2::3])


def test_chains_do_not_depend_on_their_number():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), rng.integers(0, 2, 50)
    few, many = (Model(n_chains=k, n_samples=20, random_state=3).fit(X, y).coef_draws_ for k in (2, 5))
    np.testing.assert_array_equal(few, many[:2])
    assert len(np.unique(many[:, -1, 0])) == 5


def test_itergibbs_is_the_first_chain(dtype):
    """State by state, also beyond any recursion limit; other iterators do not disturb it."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((30, 2)).astype(dtype), rng.integers(0, 2, 30)
    model = Model(random_state=5, burn_in=0, n_samples=2000, n_chains=2, keep_omega=True)
    fitted = Model(**model.get_params()).fit(X, y)
    states, other = model.itergibbs(X, y), model.itergibbs(X, y)
    next(other)
    betas, omegas = (np.array(part) for part in zip(*itertools.islice(states, 2000), strict=True))
    next(other)
    np.testing.assert_array_equal(betas[:, :2], fitted.coef_draws_[0])
    np.testing.assert_array_equal(betas[:, 2], fitted.intercept_draws_[0])
    np.testing.assert_array_equal(omegas, fitted.omega_draws_[0])
    assert betas.dtype == omegas.dtype == dtype
    assert not hasattr(model, "coef_")


# Distributions.


def batch_errors(x, batches=50):
    """Means of (draws, k) with their standard errors, from means of long batches."""
    parts = x[: len(x) // batches * batches].reshape(batches, -1, x.shape[1]).mean(axis=1)
    return x.mean(axis=0), parts.std(axis=0, ddof=1) / np.sqrt(batches)


KINDS = ("bernoulli", "binomial", "negative-binomial")


@pytest.mark.parametrize("kind", KINDS)
def test_geweke(kind):
    """y given beta, (omega, beta) given y, again and again: beta keeps its prior (Geweke, JASA 99, 2004).

    Means, variances and the covariance, with a prior mean that is not zero.
    """
    rng = np.random.default_rng(11)
    n, steps = 8, 12_000
    Phi = rng.standard_normal((n, 2))
    other = {"bernoulli": None, "binomial": rng.integers(1, 6, n), "negative-binomial": np.full(n, 1.5)}[kind]
    m, S = np.array([0.5, -0.7]), np.array([[2.0, 0.6], [0.6, 1.5]])
    L = np.linalg.cholesky(np.linalg.inv(S))
    keys = lvm.random.bits(size=(1, 2), rng=2)
    beta, kept = (m + L @ rng.standard_normal(2))[None], np.empty((steps, 2))
    for t in range(steps):
        y = oracle.draw(rng, kind, Phi @ beta[0], other)
        a, b = oracle.a_and_b(kind, y, other)
        sampler = _backend.cpu.LogisticGibbs64(Phi, b, Phi.T @ (a - b / 2) + S @ m, S, keys)
        assert sampler.run(beta, t, 1, 0, 0, None, None) == (-1, -1, -1)
        kept[t] = beta[0]
    z = np.linalg.solve(L, (kept - m).T).T  # standard normal if all is right
    moments = np.column_stack([z, z**2 - 1, z[:, 0] * z[:, 1], np.abs(z) - np.sqrt(2 / np.pi)])
    mean, error = batch_errors(moments)
    assert (np.abs(mean) < SIGMAS * error).all(), mean / error
    assert (error < 0.06).all()  # it would see what is wrong


def cases(kind, seed=0, n=25):
    """Phi (an intercept last), y, and the trials or the dispersion, with coefficients of about 1."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 1))
    Phi = np.hstack([X, np.ones((n, 1))])
    other = {"bernoulli": None, "binomial": rng.integers(1, 9, n), "negative-binomial": np.full(n, 2.5)}[kind]
    return X, Phi, oracle.draw(rng, kind, Phi @ [1.2, 0.4], other), other


def fit_keywords(kind, other):
    return {"bernoulli": {}, "binomial": {"n_trials": other}, "negative-binomial": {"dispersion": other}}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_posterior_moments(kind):
    """Means and covariances of 40,000 draws against quadrature, within five standard errors."""
    X, Phi, y, other = cases(kind)
    m, S = np.array([0.3, -0.2]), np.array([[0.8, 0.2], [0.2, 0.5]])
    model = Model(S, prior_mean=m, likelihood=kind, n_samples=10_000, random_state=1)
    model.fit(X, y, **fit_keywords(kind, other))
    _, mean, covariance = oracle.quadrature(kind, Phi, y, m, S, other)
    draws = np.dstack([model.coef_draws_, model.intercept_draws_])
    centred = draws - mean
    moments = np.dstack([centred, centred[..., :1] * centred - covariance[0], centred[..., 1:] ** 2 - covariance[1, 1]])
    estimate, error = batch_errors(moments.reshape(-1, moments.shape[2]), 40)
    assert (np.abs(estimate) < SIGMAS * error).all(), estimate / error
    assert (error[:2] < 0.02 * np.sqrt(np.diag(covariance))).all()
    assert model.r_hat_.max() < 1.01
    np.testing.assert_allclose(model.coef_[0], draws[..., 0].mean(), rtol=1e-12)
    np.testing.assert_allclose(model.intercept_, draws[..., 1].mean(), rtol=1e-12)


def test_weights_are_powers_of_the_likelihood():
    """Weights 0, 1, 2, 3 are rows that are not there, or are there so many times: in distribution."""
    X, _, y, _ = cases("bernoulli", n=40)
    w = np.arange(40) % 4
    weighted = Model(n_samples=8000, random_state=0).fit(X, y, sample_weight=w)
    repeated = Model(n_samples=8000, random_state=1).fit(np.repeat(X, w, axis=0), np.repeat(y, w))
    parts = [
        batch_errors(np.dstack([m.coef_draws_, m.coef_draws_**2, m.intercept_draws_]).reshape(-1, 3), 40)
        for m in (weighted, repeated)
    ]
    error = np.hypot(parts[0][1], parts[1][1])
    assert (np.abs(parts[0][0] - parts[1][0]) < SIGMAS * error).all()


def test_a_strong_prior_is_the_posterior():
    X, _, y, _ = cases("bernoulli")
    model = Model(1e12, prior_mean=[2.0, -3.0], n_samples=50, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.coef_draws_, 2.0, atol=1e-5)
    np.testing.assert_allclose(model.intercept_draws_, -3.0, atol=1e-5)


def test_flat_prior_where_the_posterior_is_proper():
    """Zero precision gives the likelihood itself: against quadrature with a prior that is next to nothing."""
    X, Phi, y, _ = cases("bernoulli", n=60)
    model = Model(0.0, n_samples=10_000, random_state=2).fit(X, y)
    _, mean, covariance = oracle.quadrature("bernoulli", Phi, y, np.zeros(2), 1e-10 * np.eye(2))
    draws = np.dstack([model.coef_draws_, model.intercept_draws_]).reshape(-1, 2)
    estimate, error = batch_errors(draws, 40)
    assert (np.abs(estimate - mean) < SIGMAS * error).all()
    assert_near(np.cov(draws.T), covariance, 0.1)


def test_density_ratio():
    """p = N(1, 1) against q = N(0, 2^2), 128 points, K = 3: sigmoid(f) approaches p / (p + q).

    f is a quadratic function of x exactly: log p/q = log 2 + x - 1/2 - 3/8 x^2. With 20,000 points the posterior mean
    is within 0.03 of it everywhere in [-4, 4]; 98 % intervals hold it at most places.
    """

    def pq(x):
        return 1 / (1 + np.exp(-(np.log(2) + x - 0.5 - 0.375 * x**2)))

    def powers(x):
        return np.power(x, np.arange(3))

    grid = np.linspace(-4, 4, 81)[:, None]
    for n, error in ((128, 0.25), (20_000, 0.03)):
        rng = np.random.default_rng(8)
        x = np.concatenate([rng.normal(1, 1, n // 2), rng.normal(0, 2, n // 2)])[:, None]
        y = np.repeat([1, 0], n // 2)
        model = Model(1e-2, basis=powers, fit_intercept=False, n_samples=300, burn_in=100, n_chains=2, random_state=0)
        p = model.fit(x, y).predict_proba(grid)[:, 1]
        assert np.abs(p - pq(grid[:, 0])).max() < error
        low, high = np.quantile(model.predict_proba(grid, per_draw=True)[..., 1], [0.01, 0.99], axis=(0, 1))
        assert np.mean((low <= pq(grid[:, 0])) & (pq(grid[:, 0]) <= high)) > 0.8
