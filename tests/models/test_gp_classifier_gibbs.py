"""Gibbs sampling of Gaussian process classification: each step, the joint distribution, the posterior, predictions.

Statistical tests say how many numbers they compare and at how many standard errors: with fixed seeds they pass for
good, and a correct sampler fails a freshly seeded one with the probability stated.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import gp_classifier as oracle
from scipy import stats
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process import kernels as sk
from sklearn.preprocessing import StandardScaler

import lvmfast as lvm
from lvmfast import _backend
from lvmfast.linalg import cholesky
from lvmfast.models._gp_classifier_gibbs import Chains

RBF = lvm.kernels.RBF
MEAN = 0.3


def prior(n=12, dtype=np.float64, variance=2.0):
    """K and L of some inputs, float64, and kappa."""
    rng = np.random.default_rng(n)
    K = RBF(variance, 0.7)(rng.uniform(-2, 2, (n, 1)))
    K[np.diag_indices(n)] += 1e-3
    return K, cholesky(K), np.where(rng.random(n) < 0.5, 0.5, -0.5)


def chains(K, L, kappa, seeds, plan=(0, 1, 10), dtype=np.float64):
    return Chains(K, L, MEAN, kappa, seeds, plan, dtype, "cpu")


@pytest.mark.parametrize("n", [1, 2, 17, 130])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_steps(n, dtype):
    """An iteration is the formula with the draws of its place: start, omega, f, at any iteration of any chain."""
    K, L, kappa = prior(n)
    seeds = [5, 2**64 - 1]
    run = chains(K, L, kappa, seeds, dtype=dtype)
    allowed = tolerance(dtype, n, 10 * (1 + np.trace(K)))
    for c, seed in enumerate(seeds):
        e = lvm.random.normal(size=2 * n, rng=seed, dtype=dtype).astype(float)
        assert_near(run.f[c], MEAN + L @ e[:n], allowed)
    for t in (1, 2, 3):
        before = run.f.copy()
        run.advance(1)
        for c, seed in enumerate(seeds):
            omega = lvm.random.polya_gamma(1.0, before[c], rng=seed, start=n * t)
            e = lvm.random.normal(size=2 * n, rng=seed, start=2 * n * t, dtype=dtype).astype(float)
            assert_near(run.omega[c], omega, tolerance(dtype, 1))
            expected = oracle.gibbs_step(K, L, MEAN, kappa, omega.astype(float), e[:n], e[n:])
            assert_near(run.f[c], expected, allowed)
        np.testing.assert_array_equal(run.draws[:, t - 1], run.f)


def test_conditional_distribution():
    """f given omega: mean and covariance of Matheron's rule are exact, by its Jacobian in e1 and e2."""
    K, L, kappa = prior(6)
    omega = np.random.default_rng(0).uniform(0.05, 0.4, 6)
    zero = np.zeros(6)
    centre = oracle.gibbs_step(K, L, MEAN, kappa, omega, zero, zero)
    columns = [oracle.gibbs_step(K, L, MEAN, kappa, omega, e, zero) - centre for e in np.eye(6)]
    columns += [oracle.gibbs_step(K, L, MEAN, kappa, omega, zero, e) - centre for e in np.eye(6)]
    J = np.array(columns).T
    mean, covariance = oracle.conditional(K, MEAN, kappa, omega)
    assert_near(centre, mean, tolerance(float, 6, np.linalg.cond(K)))
    assert_near(J @ J.T, covariance, tolerance(float, 6, np.linalg.cond(K)))


def test_plan():
    """Which iterations are kept, in calls of any length; omega and f stand where the last ended."""
    K, L, kappa = prior(5)
    whole = chains(K, L, kappa, [1, 2], (0, 1, 40))
    whole.advance(40)
    for burn_in, thin, count in [(3, 1, 7), (0, 4, 5), (7, 3, 6)]:
        run = chains(K, L, kappa, [1, 2], (burn_in, thin, count))
        while run.t < run.n_iterations:
            run.advance(min(1 + run.t % 4, run.n_iterations - run.t))
            assert run.kept == max(0, run.t - burn_in) // thin
        np.testing.assert_array_equal(run.draws, whole.draws[:, burn_in + thin - 1 :: thin][:, :count])
        np.testing.assert_array_equal(run.f, whole.draws[:, run.n_iterations - 1])


def test_chains_are_independent_of_each_other(set_num_threads):
    """A chain's numbers are its seed's, whatever chains run beside it and however many threads there are."""
    K, L, kappa = prior(150)
    seeds = [3, 1, 4, 1]
    results = []
    for threads in (1, 2, 5):
        set_num_threads(threads)
        run = chains(K, L, kappa, seeds, (0, 1, 8))
        run.advance(8)
        results.append(run.draws)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    np.testing.assert_array_equal(results[0][1], results[0][3])
    assert not np.allclose(results[0][0], results[0][1])
    pair = chains(K, L, kappa, [4, 3], (0, 1, 8))
    pair.advance(8)
    np.testing.assert_array_equal(pair.draws, results[0][[2, 0]])


def test_geweke():
    """Successive y | f and f | y leave the joint distribution as it is: moments and quantiles of f and y.

    4,000 chains begin with the joint distribution's own draws and do 6 sweeps; 5 means and 5 + 15 second moments and
    kappa-weighted means are compared at 4.5 standard errors: a false alarm in 5,000.
    """
    n, count = 5, 4000
    K, L, _ = prior(n, variance=4.0)
    rng = np.random.default_rng(11)
    gibbs = _backend.cpu.GpGibbs64(np.ascontiguousarray(K), L, MEAN)
    seeds = rng.integers(0, 2**64, size=count, dtype=np.uint64)
    f, omega, none = np.empty((count, n)), np.empty((count, n)), np.empty((count, 0, n))
    gibbs.start(seeds, f)
    for t in range(1, 7):
        kappa = np.where(rng.random((count, n)) < expit(f), 0.5, -0.5)
        assert gibbs.run(seeds, t, 1, 0, 1, kappa, f, omega, none)[0] == 0
    kappa = np.where(rng.random((count, n)) < expit(f), 0.5, -0.5)
    r = f - MEAN
    pairs = [(i, j) for i in range(n) for j in range(i + 1)]
    found = np.column_stack([r, *(r[:, i] * r[:, j] for i, j in pairs), kappa])
    z, w = np.polynomial.hermite_e.hermegauss(60)
    p = [expit(MEAN + np.sqrt(K[i, i]) * z) @ w / w.sum() - 0.5 for i in range(n)]
    exact = np.concatenate([np.zeros(n), [K[i, j] for i, j in pairs], p])
    errors = (found.mean(axis=0) - exact) / (found.std(axis=0) / np.sqrt(count))
    assert np.abs(errors).max() < 4.5
    for i in range(n):  # five distributions: a false alarm in 2,000
        assert stats.kstest(r[:, i] / np.sqrt(K[i, i]), "norm").pvalue > 1e-4


@pytest.mark.parametrize("n", [1, 2, 3])
def test_posterior_of_few_points(n):
    """Moments of f and probabilities against quadrature, at 4.5 standard errors from 200 independent chains."""
    rng = np.random.default_rng(n)
    X, y = rng.uniform(-1, 1, (n, 1)), np.array([1, 0, 1])[:n]
    if n == 1:
        X, y = np.array([[0.0], [50.0]]), np.array([1, 0])  # two classes are needed; the second is far away
    kernel = RBF(3.0, 1.0)
    options = {"n_chains": 200, "n_samples": 100, "burn_in": 20, "random_state": 7}
    model = lvm.PolyaGammaGPClassifier(kernel, method="gibbs", optimize=False, mean=MEAN, **options).fit(X, y)
    K, kappa = kernel(X), y - 0.5
    mean, second = oracle.posterior_moments(K, MEAN, kappa)
    draws = model.f_draws_
    for found, exact in ((draws, mean), (draws**2, np.diag(second))):
        means = found.mean(axis=1)
        assert (np.abs(means.mean(axis=0) - exact) < 4.5 * means.std(axis=0) / np.sqrt(200)).all()
    x = np.array([[0.4]])
    per_draw = model.predict_proba(x, per_draw=True)[..., 0, 1]
    error = per_draw.mean(axis=1).std() / np.sqrt(200)
    exact = oracle.probability(K, kernel(X, x)[:, 0], 3.0, MEAN, kappa, 24)
    assert abs(model.predict_proba(x)[0, 1] - exact) < 4.5 * error + 1e-4


def test_predictions():
    """Mixtures of the conditionals given each draw."""
    rng = np.random.default_rng(0)
    X, new = rng.uniform(-2, 2, (15, 2)), rng.uniform(-2, 2, (4, 2))
    y = X[:, 0] > 0
    kernel = lvm.kernels.Matern52(2.0, 1.0)
    options = {"n_chains": 3, "n_samples": 5, "burn_in": 2, "random_state": 1}
    model = lvm.PolyaGammaGPClassifier(kernel, method="gibbs", optimize=False, mean=MEAN, **options).fit(X, y)
    A = np.linalg.solve(kernel(X), kernel(X, new)).T
    means = MEAN + (model.f_draws_ - MEAN) @ A.T
    rest = kernel(new) - A @ kernel(X, new)
    allowed = tolerance(float, 15, np.linalg.cond(kernel(X)))
    z, w = np.polynomial.hermite_e.hermegauss(80)
    probability = expit(means[..., None] + np.sqrt(np.diag(rest))[:, None] * z) @ w / w.sum()
    assert_near(model.predict_proba(new, per_draw=True)[..., 1], probability, allowed + 1e-9)
    assert_near(model.predict_proba(new)[:, 1], probability.mean(axis=(0, 1)), allowed + 1e-9)
    flat = means.reshape(15, 4)
    mean, variance = model.predict_f(new)
    assert_near(mean, flat.mean(axis=0), allowed)
    assert_near(variance, flat.var(axis=0) + np.diag(rest), allowed)
    draws = model.sample_f(new, 20_000, random_state=2)
    spread = np.sqrt(variance / 20_000)
    assert (np.abs(draws.mean(axis=0) - mean) < 4.5 * spread).all()
    assert_near(np.cov(draws.T), np.cov(flat.T, bias=True) + rest, 0.06)


def test_predictions_in_pieces(monkeypatch):
    """However few numbers may be held at a time."""
    from lvmfast.models import _gp_classifier_posterior as posterior

    rng = np.random.default_rng(0)
    X, new = rng.uniform(-2, 2, (15, 2)), rng.uniform(-2, 2, (7, 2))
    options = {"n_chains": 2, "n_samples": 5, "burn_in": 2, "random_state": 1, "optimize": False}
    for extra in ({"method": "gibbs"}, {"inducing": 4}):
        model = lvm.PolyaGammaGPClassifier(**options, **extra).fit(X, X[:, 0] > 0)
        whole = model.predict_proba(new), *model.predict_f(new)
        with monkeypatch.context() as patch:
            patch.setattr(posterior, "TILE", 30)
            parts = model.predict_proba(new), *model.predict_f(new)
        for a, b in zip(parts, whole, strict=True):
            assert_near(a, b, tolerance(float, 15, 1e4))


@pytest.mark.parametrize("method", ["vi", "gibbs"])
def test_density_ratio(method):
    """p = N(1, 1) against q = N(0, 2^2): p(y = 1 | x) = p / (p + q), to what 600 rows tell."""
    rng = np.random.default_rng(8)
    X = np.concatenate([rng.normal(1, 1, 300), rng.normal(0, 2, 300)])[:, None]
    y = np.repeat([1, 0], 300)
    options = {"n_samples": 150, "burn_in": 50, "n_chains": 2, "random_state": 0}
    model = lvm.PolyaGammaGPClassifier(method=method, **options).fit(X, y)
    x = np.linspace(-4, 4, 41)
    p, q = stats.norm(1, 1).pdf(x), stats.norm(0, 2).pdf(x)
    error = model.predict_proba(x[:, None])[:, 1] - p / (p + q)
    weight = (p + q) / (p + q).sum()
    assert np.sqrt(weight @ error**2) < 0.05 and np.abs(error).max() < 0.15


def test_both_methods_agree_on_real_data():
    """With one kernel, and near Laplace's approximation: the breast cancer data."""
    X, y = load_breast_cancer(return_X_y=True)
    X, y = StandardScaler().fit_transform(X)[:240], y[:240]
    kernel = RBF(4.0, 5.0)
    train, test = slice(0, 160), slice(160, 240)
    options = {"optimize": False, "n_samples": 150, "burn_in": 50, "n_chains": 2, "random_state": 0}
    ours = {
        method: lvm.PolyaGammaGPClassifier(kernel, method=method, **options).fit(X[train], y[train])
        for method in ("vi", "gibbs")
    }
    peer = GaussianProcessClassifier(sk.ConstantKernel(4.0) * sk.RBF(5.0), optimizer=None).fit(X[train], y[train])
    p = {method: model.predict_proba(X[test])[:, 1] for method, model in ours.items()}
    p["laplace"] = peer.predict_proba(X[test])[:, 1]
    assert np.abs(p["vi"] - p["gibbs"]).max() < 0.08
    assert np.abs(p["laplace"] - p["gibbs"]).max() < 0.12
    assert min(model.score(X[test], y[test]) for model in ours.values()) > 0.94
    assert abs(ours["vi"].lower_bound_ - peer.log_marginal_likelihood_value_) < 0.05 * 160
