"""How a logistic fit runs, stops, goes on and is summarised; predictions from draws; convergence of chains."""

from __future__ import annotations

import io
import signal
import warnings

import numpy as np
import pytest
from reference import logistic as oracle
from scipy import special

import lvmfast as lvm
from lvmfast.exceptions import FitInterruptedWarning
from lvmfast.models._convergence import bulk_ess, rank_normalised_r_hat

Model = lvm.PolyaGammaLogisticRegression
RNG = np.random.default_rng(4)
X = RNG.standard_normal((50, 2))
y = (RNG.random(50) < special.expit(X @ [1.0, -0.5])).astype(int)
COUNTS = RNG.poisson(2.0, 50)


def quick(**params):
    return Model(**{"n_samples": 60, "burn_in": 7, "n_chains": 2, "random_state": 0, **params})


def assert_same_draws(a, b):
    for name in ("coef_draws_", "intercept_draws_", "coef_", "intercept_", "r_hat_", "ess_", "n_iter_"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert hasattr(a, "omega_draws_") == hasattr(b, "omega_draws_")
    if hasattr(a, "omega_draws_"):
        np.testing.assert_array_equal(a.omega_draws_, b.omega_draws_)


# Going on.


@pytest.mark.parametrize("thin", [1, 3])
@pytest.mark.parametrize("keep_omega", [True, False])
def test_parts_are_the_whole(thin, keep_omega, dtype):
    """continue_sampling gives the draws of one longer fit, bit for bit."""
    whole = quick(thin=thin, keep_omega=keep_omega).fit(X.astype(dtype), y)
    parts = quick(thin=thin, keep_omega=keep_omega, n_samples=20).fit(X.astype(dtype), y)
    assert parts.continue_sampling(15).n_iter_ == 7 + 35 * thin
    assert_same_draws(parts.continue_sampling(25), whole)
    assert parts.continue_sampling(0).coef_draws_.shape == (2, 60, 2)


def interrupt_at(draw, how):
    def callback(status):
        if status.n_draws == draw:
            if how == "signal":
                signal.raise_signal(signal.SIGINT)
            else:
                raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize("how", ["signal", "callback"])
def test_ctrl_c_keeps_what_was_drawn(how):
    """And resume goes on as if nothing had been."""
    handler = signal.getsignal(signal.SIGINT)
    model = quick(callback=interrupt_at(23, how))
    with pytest.warns(FitInterruptedWarning, match="interrupted after 30 iterations"):
        model.fit(X, y)
    assert signal.getsignal(signal.SIGINT) is handler
    assert model.coef_draws_.shape == (2, 23, 2) and np.isfinite(model.predict_proba(X)).all()
    assert_same_draws(model.set_params(callback=None).resume(37), quick().fit(X, y))


@pytest.mark.filterwarnings("ignore:the bound still rises")
def test_ctrl_c_during_vi():
    def callback(status):
        if status.iteration == 4:
            signal.raise_signal(signal.SIGINT)

    model = quick(method="vi", callback=callback, tol=0.0, max_iter=20)
    with pytest.warns(FitInterruptedWarning, match="after 5 iterations"):
        model.fit(X, y)
    whole = quick(method="vi", tol=0.0, max_iter=20).fit(X, y)
    model.set_params(callback=None).resume(15)
    np.testing.assert_array_equal(model.lower_bounds_, whole.lower_bounds_[: model.n_iter_])


def test_ctrl_c_before_the_first_draw():
    """It is passed on, and the model is as it was."""

    class Presses:
        def __call__(self, X):
            signal.raise_signal(signal.SIGINT)
            return X

    model = quick().fit(X, y)
    before = model.coef_draws_
    model.set_params(basis=Presses())
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background may ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert model.coef_draws_ is before


def test_a_callback_sees_every_draw_and_may_stop():
    seen = []

    def callback(status):
        seen.append((status.iteration, status.n_draws, status.lower_bound))
        assert status.elapsed > 0
        return status.n_draws == 12

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = quick(thin=2, callback=callback).fit(X, y)
    assert seen == [(7 + 2 * k, k, None) for k in range(1, 13)]
    np.testing.assert_array_equal(model.coef_draws_, quick(thin=2).fit(X, y).coef_draws_[:, :12])
    bounds = []
    vi = quick(method="vi", callback=lambda status: bounds.append(status.lower_bound) or len(bounds) == 3).fit(X, y)
    np.testing.assert_array_equal(vi.lower_bounds_, bounds)
    assert vi.n_iter_ == 3


def test_an_error_while_resuming_leaves_the_model():
    def fails(status):
        raise RuntimeError("no more")

    model = quick().fit(X, y)
    before, iteration = model.coef_draws_.copy(), model._state.iteration
    with pytest.raises(RuntimeError):
        model.set_params(callback=fails).resume(5)
    np.testing.assert_array_equal(model.coef_draws_, before)
    assert model._state.iteration == iteration
    assert_same_draws(model.set_params(callback=None).resume(5), quick(n_samples=65).fit(X, y))


def test_progress(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    quick(verbose=1).fit(X, y)
    quick(verbose=1, method="vi").fit(X, y)
    assert "67/67" in shown.getvalue() and "bound=" in shown.getvalue()


def test_the_users_arrays_are_not_touched():
    data, labels, weights = X.copy(), y.copy(), np.ones(50)
    S = np.eye(3)
    model = quick(prior_precision=S).fit(data, labels, sample_weight=weights)
    model.predict_proba(data)
    np.testing.assert_array_equal(data, X)
    np.testing.assert_array_equal(labels, y)
    assert (weights == 1).all() and np.array_equal(S, np.eye(3))
    expected = model.resume(0).coef_draws_.copy()
    data[:] = 0  # the model has a copy
    model.resume(5)
    np.testing.assert_array_equal(model.coef_draws_[:, :60], expected)
    assert_same_draws(model, quick(prior_precision=S, n_samples=65).fit(X, y))


def test_seeds():
    """A seed and a generator in the same state give the same draws; other seeds do not."""
    one, two = (quick(random_state=np.random.default_rng(3)).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.coef_draws_, two.coef_draws_)
    assert (quick(random_state=1).fit(X, y).coef_draws_ != quick(random_state=2).fit(X, y).coef_draws_).all()


# Answers from draws.


def rest_of(kind):
    return {"bernoulli": {}, "binomial": {"n_trials": 12}, "negative-binomial": {"dispersion": 2.5}}[kind]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kind", ["bernoulli", "binomial", "negative-binomial"])
def test_predictions_are_means_over_draws(kind, intercept):
    target = y if kind == "bernoulli" else np.minimum(COUNTS, 12)
    model = quick(likelihood=kind, fit_intercept=intercept).fit(X, target, **rest_of(kind))
    new = RNG.standard_normal((6, 2))
    f = model.coef_draws_ @ new.T + model.intercept_draws_[..., None]
    p = special.expit(f)
    np.testing.assert_allclose(model.predict_proba(new, per_draw=True), np.stack([1 - p, p], -1), rtol=1e-12)
    expected = p.mean(axis=(0, 1))
    np.testing.assert_allclose(model.predict_proba(new)[:, 1], expected, rtol=1e-12)
    np.testing.assert_allclose(model.predict_log_proba(new)[:, 0], np.log(1 - expected), rtol=1e-12)
    np.testing.assert_allclose(model.decision_function(new), special.logit(expected), rtol=1e-9)
    values = {"bernoulli": expected > 0.5, "binomial": 12 * expected, "negative-binomial": 2.5 * np.exp(f).mean((0, 1))}
    np.testing.assert_allclose(model.predict(new), values[kind], rtol=1e-12)
    y_new = np.array([0, 1, 1, 0, 1, 0])
    r = rest_of(kind).get("n_trials") or rest_of(kind).get("dispersion")
    density = np.log(np.exp(oracle.log_likelihood(kind, f, y_new, r)).mean((0, 1)))
    np.testing.assert_allclose(model.log_predictive_density(new, y_new), density, rtol=1e-10)
    if kind != "bernoulli":
        assert model.score(new, y_new) == pytest.approx(density.mean())
    assert intercept == model.intercept_draws_.any()


def test_blocks_change_nothing(monkeypatch):
    model = quick().fit(X, y)
    expected = model.predict_proba(X)
    monkeypatch.setattr("lvmfast.models._logistic_posterior.BLOCK", 1)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-12)


def test_probabilities_far_out_keep_their_digits():
    model = quick(prior_precision=1e-3).fit(X, y)
    far = 1e4 * X[:3]
    p = model.predict_proba(far)
    assert (p.min(axis=1) >= 0).all() and np.isfinite(p).all() and (p.sum(axis=1) == pytest.approx(1))


@pytest.mark.parametrize("kind", ["bernoulli", "binomial", "negative-binomial"])
def test_posterior_predictive_draws(kind):
    """Their means are those of ``predict``, within five standard errors of 4,000 draws."""
    target = y if kind == "bernoulli" else np.minimum(COUNTS, 12)
    model = quick(likelihood=kind, n_samples=2000).fit(X, target, **rest_of(kind))
    drawn = model.sample_y(X[:8], 4000, random_state=1)
    assert drawn.shape == (8, 4000)
    expected = model.predict_proba(X[:8])[:, 1] if kind == "bernoulli" else model.predict(X[:8])
    assert (np.abs(drawn.mean(axis=1) - expected) < 5 * drawn.std(axis=1) / np.sqrt(4000)).all()
    np.testing.assert_array_equal(model.sample_y(X[:8], 3, 7), model.sample_y(X[:8], 3, 7))


def test_summary():
    model = quick(n_samples=400).fit(X, y)
    table = model.summary()
    draws = np.dstack([model.coef_draws_, model.intercept_draws_]).reshape(-1, 3)
    assert table.names == ["coef[0]", "coef[1]", "intercept"]
    np.testing.assert_allclose(table.columns["mean"], draws.mean(0))
    np.testing.assert_allclose(table.columns["sd"], draws.std(0, ddof=1))
    np.testing.assert_allclose([table.columns["5%"], table.columns["95%"]], np.quantile(draws, [0.05, 0.95], axis=0))
    assert len(str(table).splitlines()) == 4 and "r_hat" in str(table)
    vi = Model(method="vi").fit(X, y).summary()
    assert list(vi.columns) == ["mean", "sd", "5%", "95%"]


# Convergence.


def chains(kind, rng):
    """(4, n, 3) draws, of which some say they are bad."""
    x = rng.standard_normal((4, 201 if kind == "odd" else 200, 3))
    if kind == "correlated":
        for t in range(1, x.shape[1]):
            x[:, t] = 0.9 * x[:, t - 1] + np.sqrt(1 - 0.81) * x[:, t]
    if kind == "alternating":
        for t in range(1, x.shape[1]):
            x[:, t] = -0.5 * x[:, t - 1] + x[:, t]
    if kind == "apart":
        x += np.arange(4)[:, None, None]
    if kind == "spread":
        x *= np.array([1, 1, 1, 5])[:, None, None]
    if kind == "heavy":
        x = np.tan(x)
    if kind == "ties":
        x = np.round(x)
    return x


KINDS = ("independent", "odd", "correlated", "alternating", "apart", "spread", "heavy", "ties")


@pytest.mark.parametrize("kind", KINDS)
def test_r_hat_and_ess_are_arvizs(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz = pytest.importorskip("arviz")
        x = chains(kind, np.random.default_rng(0))
        data = arviz.convert_to_dataset({"x": x})
        r_hat, ess = arviz.rhat(data, method="rank")["x"].values, arviz.ess(data, method="bulk")["x"].values
    np.testing.assert_allclose(rank_normalised_r_hat(x), r_hat, rtol=1e-10)
    np.testing.assert_allclose(bulk_ess(x), ess, rtol=1e-10)


def test_r_hat_and_ess_know_what_is_known():
    """Independent draws; first-order autoregression, whose ESS is n (1 - a) / (1 + a); chains that disagree."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((4, 5000))
    assert abs(rank_normalised_r_hat(x) - 1) < 2e-3 and abs(bulk_ess(x) / 20_000 - 1) < 0.1
    slow = x.copy()
    for t in range(1, 5000):
        slow[:, t] = 0.8 * slow[:, t - 1] + 0.6 * x[:, t]
    assert abs(bulk_ess(slow) / (20_000 / 9) - 1) < 0.2
    assert rank_normalised_r_hat(chains("apart", rng)).min() > 1.3
    assert rank_normalised_r_hat(chains("spread", rng)).min() > 1.1
    assert np.isnan(rank_normalised_r_hat(x[:, :3])) and np.isnan(bulk_ess(x[:, :3]))
    assert bulk_ess(np.ones((2, 10))) == 20


def test_inference_data():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("arviz")
        data = quick(keep_omega=True).fit(X, y).to_inference_data()
    assert dict(data.posterior.sizes) == {"chain": 2, "draw": 60, "feature": 2, "row": 50}
    np.testing.assert_array_equal(data.posterior["coef"].values, quick().fit(X, y).coef_draws_)
