"""uLSIF, RuLSIF and KLIEP beside naive solves, refits and SLSQP; known ratios; awkward samples."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers import assert_near, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ratio_kernels as oracle

import lvmfast
from lvmfast.kernels import RBF
from lvmfast.models import _ratio_kernels, _ratio_kernels_ulsif
from lvmfast.models._ratio_kernels import RatioExpansion
from lvmfast.models._ratio_kernels_kliep import fit_kliep, maximize
from lvmfast.models._ratio_kernels_ulsif import Samples, fit_ulsif, leave_one_out

ALPHAS = (0.0, 0.1, 0.5)


def samples(n_p=60, n_q=45, d=2, seed=0):
    """p = N(1, 1) in the first feature, q = N(0, 2^2); the others have no ratio."""
    rng = np.random.default_rng(seed)
    X_p, X_q = rng.standard_normal((n_p, d)), rng.standard_normal((n_q, d))
    X_p[:, 0] += 1
    X_q[:, 0] *= 2
    return X_p, X_q


def exact(X):
    return np.exp(np.log(2) - (X[:, 0] - 1) ** 2 / 2 + X[:, 0] ** 2 / 8)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("n_p", "n_q"), [(12, 12), (9, 17), (21, 8)])
def test_leave_one_out_is_by_refits(alpha, n_p, n_q, monkeypatch):
    monkeypatch.setattr(_ratio_kernels_ulsif, "CHUNK", 5)
    X_p, X_q = samples(n_p, n_q)
    centers, lambdas = X_p[::2], np.array([1e-3, 0.05, 2.0])
    for held in (2**25, 0):
        monkeypatch.setattr(_ratio_kernels_ulsif, "HELD", held)
        scores = leave_one_out(Samples(RBF(1.0, 0.8), centers, X_p, X_q), lambdas, alpha)
        K_p, K_q = (oracle.gaussian(X, centers, 0.8) for X in (X_p, X_q))
        expected = [oracle.leave_one_out(K_p, K_q, value, alpha) for value in lambdas]
        np.testing.assert_allclose(scores, expected, rtol=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_least_squares_is_the_naive_solve(alpha):
    X_p, X_q = samples()
    fit = fit_ulsif(X_p, X_q, alpha=alpha, lengthscales=0.7, regularizations=0.1, standardize=False, rng=0)
    K_p, K_q = (oracle.gaussian(X, fit.centers, 0.7) for X in (X_p, X_q))
    theta = oracle.least_squares(K_p, K_q, 0.1, alpha)
    assert_near(fit.coefficients, theta, tolerance(np.float64, len(X_p), 1e3))
    assert_near(fit(X_q), K_q @ theta, tolerance(np.float64, len(X_p), 1e3))
    assert len(fit.centers) == 60 and np.isnan(fit.scores).all()
    assert (fit.method, fit.alpha) == ("rulsif" if alpha else "ulsif", alpha)


def test_the_best_candidates_are_chosen():
    X_p, X_q = samples()
    for fit, best in ((fit_ulsif(X_p, X_q, rng=3), np.argmin), (fit_kliep(X_p, X_q, rng=3), np.argmax)):
        assert fit.scores.shape == (9, len(fit.regularizations))
        row, column = np.unravel_index(best(fit.scores), fit.scores.shape)
        assert fit.lengthscale == fit.lengthscales[row]
        assert fit.regularization == fit.regularizations[column]
        assert (fit.coefficients >= 0).all() and fit.coefficients.any()
    only = {"lengthscales": fit.lengthscale, "centers": fit.centers}
    np.testing.assert_allclose(fit_kliep(X_p, X_q, **only)(X_q), fit(X_q), rtol=1e-3)
    fit = fit_ulsif(X_p, X_q, rng=3)
    only = {"lengthscales": fit.lengthscale, "regularizations": fit.regularization, "centers": fit.centers}
    np.testing.assert_allclose(fit_ulsif(X_p, X_q, **only)(X_q), fit(X_q), rtol=1e-9)


def test_maximum_likelihood_is_that_of_slsqp():
    X_p, X_q = samples(40, 50)
    for lengthscale in (0.4, 1.0, 3.0):
        fit = fit_kliep(X_p, X_q, n_centers=12, lengthscales=lengthscale, standardize=False, rng=1)
        K_p, K_q = (oracle.gaussian(X, fit.centers, lengthscale) for X in (X_p, X_q))
        _, value = oracle.likelihood(K_p, K_q)
        reached = np.mean(np.log(fit(X_p)))
        assert value - 1e-9 <= reached <= value + 1e-6  # SLSQP stops early
        assert fit(X_q).mean() == pytest.approx(1, rel=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(1, 40), st.floats(0.05, 5))
def test_karush_kuhn_tucker(seed, b, n, lengthscale):
    rng = np.random.default_rng(seed)
    phi = np.ascontiguousarray(oracle.gaussian(rng.standard_normal((n, 1)), rng.standard_normal((b, 1)), lengthscale).T)
    phi /= rng.uniform(0.01, 1, b)[:, None]
    weights = rng.uniform(size=n) * (rng.uniform(size=n) < 0.8)
    weights = weights / weights.sum() if weights.any() else np.full(n, 1 / n)
    if (phi.max(axis=0) < 1e-200).any():
        return
    pi = maximize(phi, weights, rng.uniform(size=b))
    assert pi.sum() == pytest.approx(1, rel=1e-13) and (pi >= 0).all()
    gain = phi @ (weights / (pi @ phi))  # derivative of the mean log likelihood: 1 where pi > 0, at most 1 elsewhere
    assert gain.max() <= 1 + 2e-7
    assert np.abs(pi * (gain - 1)).max() <= 1e-6


@pytest.mark.parametrize("b", [3, 40, 90])
def test_components_of_all_scales_and_any_number_of_threads(b):
    """Few centres reach a row, by factors up to 1e90 apart: every start ends at the maximum, by the same bits."""
    rng = np.random.default_rng(b)
    n = 5000 if b == 40 else 200
    X, C = rng.standard_normal((n, 2)), rng.standard_normal((b, 2))
    phi = np.ascontiguousarray(oracle.gaussian(X, C, 0.3).T) * 10.0 ** rng.uniform(-45, 45, (b, 1))
    weights, threads = np.full(n, 1 / n), lvmfast.get_num_threads()
    for start in (None, rng.uniform(size=b) * (np.arange(b) % 10 == 0)):
        results = []
        for count in (1, 2):
            lvmfast.set_num_threads(count)
            results.append(maximize(phi, weights, start))
        lvmfast.set_num_threads(threads)
        np.testing.assert_array_equal(*results)
        assert (phi @ (weights / (results[0] @ phi))).max() <= 1 + 2e-7
        assert results[0].sum() == pytest.approx(1, rel=1e-13)
    with pytest.raises(ValueError, match="phi must reach a column of weight > 0"):
        maximize(np.zeros((b, n)), weights)


@pytest.mark.parametrize(
    ("fit", "options"),
    [(fit_ulsif, {}), (fit_ulsif, {"alpha": 0.1}), (fit_kliep, {})],
    ids=["ulsif", "rulsif", "kliep"],
)
def test_known_ratios_are_found(fit, options):
    """Mean errors over q: at most two thirds of 2 TV = 0.78, that of the ratio 1, and an eighth in one dimension."""
    for (n_p, n_q, d), allowed in {(2000, 2000, 1): 0.1, (1500, 600, 2): 0.5, (2000, 2500, 4): 0.4}.items():
        X_p, X_q = samples(n_p, n_q, d)
        w = fit(X_p, X_q, rng=0, **options)
        T = samples(5, 3000, d, seed=1)[1]
        assert np.mean(np.abs(w.ratio(T) - exact(T))) < allowed, (n_p, d)
        np.testing.assert_allclose(np.exp(w.log_ratio(T)), w.ratio(T), rtol=1e-9)
        if w.alpha:
            relative = exact(T) / (w.alpha * exact(T) + 1 - w.alpha)
            assert np.mean(np.abs(w(T) - relative)) < allowed
        else:
            np.testing.assert_array_equal(w(T), w.ratio(T))


def test_the_scale_of_features_does_not_matter():
    X_p, X_q = samples(80, 90, 3)
    X_p[:, 2] = X_q[:, 2] = 0
    scale, shift = np.array([1e-3, 1e4, 1.0]), np.array([10.0, -1e5, 0.0])
    for fit in (fit_ulsif, fit_kliep):
        one, two = fit(X_p, X_q, rng=0), fit(X_p * scale + shift, X_q * scale + shift, rng=0)
        np.testing.assert_allclose(two(X_q * scale + shift), one(X_q), rtol=1e-6, atol=1e-9)
        assert one.scale[2] == 1


def test_float32_and_the_callers_arrays():
    X_p, X_q = (X.astype(np.float32) for X in samples())
    kept = X_p.copy(), X_q.copy()
    for fit in (fit_ulsif, fit_kliep):
        one = fit(X_p, X_q, rng=0)
        two = fit(X_p.astype(float), X_q.astype(float), rng=0)
        assert one(X_q).dtype == one.log(X_q).dtype == one.log_ratio(X_q).dtype == np.float32
        assert_near(one(X_q), two(X_q), tolerance(np.float32, 60))
        np.testing.assert_array_equal(fit(X_p, X_q, rng=np.random.default_rng(0))(X_q), one(X_q))
    np.testing.assert_array_equal(X_p, kept[0])
    np.testing.assert_array_equal(X_q, kept[1])


def test_logarithms_far_from_all_centres():
    X_p, X_q = samples()
    for dtype in (np.float64, np.float32):
        for w in (fit_ulsif(X_p, X_q, rng=0), fit_kliep(X_p, X_q, rng=0)):
            X = np.array([[0.3, 0.1], [200.0, 0.0], [-1e4, 3.0]], dtype)
            assert (w(X)[1:] == 0).all()
            keep = w.coefficients > 0
            Z, C = X / (w.lengthscale * w.scale), w.centers[keep] / (w.lengthscale * w.scale)
            terms = np.log(w.coefficients[keep]) - 0.5 * ((Z[:, None] - C) ** 2).sum(axis=2)
            expected = np.logaddexp.reduce(terms, axis=1)
            assert_near(w.log(X), expected, tolerance(dtype, 10))


def test_rows_come_in_pieces(monkeypatch):
    X_p, X_q = samples()
    w, k = fit_ulsif(X_p, X_q, rng=0), fit_kliep(X_p, X_q, rng=0)
    whole = w(X_q), k(X_q)
    monkeypatch.setattr(_ratio_kernels, "CHUNK", 7)
    monkeypatch.setattr(_ratio_kernels.chunks, "__defaults__", (7,))
    np.testing.assert_allclose(w(X_q), whole[0], rtol=1e-13)
    np.testing.assert_allclose(fit_kliep(X_p, X_q, rng=0)(X_q), whole[1], rtol=1e-5)


def test_states_are_arrays():
    X_p, X_q = samples()
    for w in (fit_ulsif(X_p, X_q, alpha=0.2, rng=0), fit_kliep(X_p, X_q, rng=0)):
        file = io.BytesIO()
        np.savez(file, **w.state())
        file.seek(0)
        with np.load(file, allow_pickle=False) as state:
            again = RatioExpansion.from_state(state)
        np.testing.assert_array_equal(again.log_ratio(X_q), w.log_ratio(X_q))
        assert (again.method, again.alpha, again.regularization) == (w.method, w.alpha, w.regularization)
        assert isinstance(again.method, str) and isinstance(again.lengthscale, float)
        np.testing.assert_array_equal(again.scores, w.scores)


def test_awkward_samples():
    rng = np.random.default_rng(0)
    for fit in (fit_ulsif, fit_kliep):
        X_p, X_q = samples(3, 2, 1)
        assert np.isfinite(fit(X_p, X_q, rng=0)(X_q)).all()  # fewer points than centres
        twice = np.repeat(samples(30, 30, 1)[0], 4, axis=0)
        assert fit(twice, twice, rng=0)(twice).mean() == pytest.approx(1, abs=0.3)  # duplicates, p = q
        same = np.ones((20, 2))
        np.testing.assert_allclose(fit(same, same, rng=0, lengthscales=1.0)(same), 1, atol=0.1)
        wide = rng.standard_normal((200, 10)), rng.standard_normal((150, 10))
        assert np.isfinite(fit(*wide, rng=0).log(wide[0])).all()
        with np.errstate(all="raise"):
            outlier = samples(50, 50, 1)
            outlier[0][0] = 50.0
            assert np.isfinite(fit(*outlier, rng=0).log(outlier[1])).all()


def test_relative_ratios_end_below_the_sample_size():
    X_p, X_q = samples(50, 40, 1)
    X_p[:, 0] += 30
    w = fit_ulsif(X_p, X_q, alpha=0.3, rng=0, regularizations=1e-3)
    w.coefficients *= 2
    assert w(X_p).max() > 1 / 0.3
    assert w.ratio(X_p).max() == pytest.approx(40)
    assert w.log_ratio(X_p).max() == pytest.approx(np.log(40))


def test_errors():
    X_p, X_q = samples(10, 10)
    for fit in (fit_ulsif, fit_kliep):
        with pytest.raises(ValueError, match="X_p and X_q must have the same columns, got 2 and 1"):
            fit(X_p, X_q[:, :1])
        with pytest.raises(ValueError, match=r"X_q must have at least 2 rows and 1 column, got shape \(1, 2\)"):
            fit(X_p, X_q[:1])
        with pytest.raises(ValueError, match="X_p must be finite, got nan at row 0, column 1"):
            fit(np.where([[False, True]], np.nan, X_p), X_q)
        with pytest.raises(ValueError, match="lengthscales must be a finite number > 0, got 0.0"):
            fit(X_p, X_q, lengthscales=[0.5, 0.0])
        with pytest.raises(ValueError, match="n_centers must be an integer >= 1, got 0"):
            fit(X_p, X_q, n_centers=0)
        with pytest.raises(ValueError, match="X must have 2 columns"):
            fit(X_p, X_q, rng=0)(X_p[:, :1])
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\), got 1"):
        fit_ulsif(X_p, X_q, alpha=1.0)
    with pytest.raises(ValueError, match="regularizations must hold at least one number"):
        fit_ulsif(X_p, X_q, regularizations=[])
    with pytest.raises(ValueError, match="n_folds must be an integer >= 2, got 1"):
        fit_kliep(X_p, X_q, n_folds=1)
    with pytest.raises(ValueError, match="disjoint supports"):
        fit_kliep(X_p + 1e4, X_q, lengthscales=1.0, standardize=False)
