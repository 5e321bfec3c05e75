"""What a fitted sparse model answers, beside dense matrices, exact regression and draws."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import covariances, sgpr
from reference.covariances import Leaf, Sum

import lvmfast as lvm

NODE = Leaf("RBF", {"variance": 1.5, "lengthscale": np.array([0.75, 1.5])})
SUM = Sum([NODE, Leaf("Linear", {"variance": 0.25}, (1,)), Leaf("White", {"variance": 0.125})])
NOISE, N, M = 0.2, 40, 8
NEAR = tolerance(np.float64, N, 1e5)


def data(d=None, n=N, m=M, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n + 9, 2))
    y = 1.5 + np.sin(X @ rng.standard_normal((2, d or 1))) + 0.3 * rng.standard_normal((n + 9, d or 1))
    X, y = X.astype(dtype), (y if d else y[:, 0]).astype(dtype)
    return X[:n].copy(), y[:n].copy(), rng.uniform(-2, 2, (m, 2)), X[n:].copy(), y[n:].copy()


def kept(Z, node=NODE, **params):
    """A model that keeps its parameters."""
    params = {"noise_variance": NOISE, "optimizer": None, **params}
    return lvm.SGPR(covariances.build(node, lvm.kernels), inducing=Z, **params)


def oracle(X, y, Z, node=NODE, **params):
    params = {"noise": NOISE, "mean": "constant", **params}
    return sgpr.Sparse(lambda A, B=None: covariances.matrix(node, A, B), X, y, Z, **params)


@pytest.mark.parametrize("node", [NODE, SUM], ids=["RBF", "sum"])
@pytest.mark.parametrize("fitc", [False, True], ids=["vfe", "fitc"])
@pytest.mark.parametrize("d", [None, 3])
@pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
def test_predictions(node, fitc, d, mean):
    """Mean, std, cov, log density and q(u) against n x n matrices."""
    X, y, Z, X_new, y_new = data(d)
    model = kept(Z, node, mean=mean, approximation="fitc" if fitc else "vfe").fit(X, y)
    gp = oracle(X, y, Z, node, mean=mean, fitc=fitc)
    expected, covariance = sgpr.predict(gp, X_new)
    shape = y_new.shape
    found, cov = model.predict(X_new, return_cov=True)
    assert found.shape == shape and cov.shape == (9, 9) + shape[1:]
    assert_near(found.reshape(9, -1), expected, NEAR)
    assert_near(cov.reshape(9, 9, -1)[:, :, -1], covariance, NEAR)
    found, std = model.predict(X_new, return_std=True)
    assert_near(std.reshape(9, -1)[:, 0] ** 2, np.diag(covariance), NEAR)
    noisy = model.predict(X_new, return_std=True, include_noise=True)[1]
    variance = np.diag(covariance) + NOISE
    assert_near(noisy.reshape(9, -1)[:, 0] ** 2, variance, NEAR)
    density = model.log_predictive_density(X_new, y_new)
    missed = y_new.reshape(9, -1) - expected
    wanted = -0.5 * (np.log(2 * np.pi * variance)[:, None] + missed**2 / variance[:, None])
    assert_near(density.reshape(9, -1), wanted, NEAR)
    u, S = model.inducing_posterior()
    at_Z, cov_u = sgpr.inducing_posterior(gp)
    b = sgpr.least_squares(sgpr.nystrom(gp, X) + sgpr.noise_matrix(gp), sgpr.basis(gp, X), y.reshape(N, -1))
    assert_near(u.reshape(M, -1), at_Z + sgpr.basis(gp, Z) @ b, NEAR)
    assert_near(S, cov_u, NEAR)
    assert_near(model.mean_coef_.reshape(b.shape), b, NEAR)


@pytest.mark.parametrize("approximation", ["vfe", "fitc"])
def test_all_rows_inducing_predict_as_exact_regression(approximation):
    X, y, _, X_new, _ = data()
    sparse = kept(X, approximation=approximation).fit(X, y)
    exact = lvm.GPR(covariances.build(NODE, lvm.kernels), noise_variance=NOISE, optimizer=None).fit(X, y)
    assert sparse.lower_bound_ == pytest.approx(exact.log_marginal_likelihood_, rel=1e-6)
    assert sparse.upper_bound_ == pytest.approx(exact.log_marginal_likelihood_, rel=1e-6)
    for left, right in zip(sparse.predict(X_new, return_std=True), exact.predict(X_new, return_std=True), strict=True):
        assert_near(left, right, 1e-4)


def test_noise_of_each_row():
    X, y, Z, X_new, _ = data()
    noise = np.linspace(0.05, 0.5, N)
    model = kept(Z, noise_variance=noise).fit(X, y)
    expected, covariance = sgpr.predict(oracle(X, y, Z, noise=noise), X_new)
    found, std = model.predict(X_new, return_std=True)
    assert_near(found, expected[:, 0], NEAR)
    assert_near(std**2, np.diag(covariance), NEAR)
    np.testing.assert_array_equal(model.noise_variance_, noise)
    with pytest.raises(ValueError, match="include_noise must be False"):
        model.predict(X_new, return_std=True, include_noise=True)


def test_callable_mean():
    X, y, Z, X_new, _ = data()
    trend = lambda X: 2 * X[:, 0] - 1  # noqa: E731
    model = kept(Z, mean=trend).fit(X, y)
    same = kept(Z, mean="zero").fit(X, y - trend(X))
    assert model.lower_bound_ == pytest.approx(same.lower_bound_, rel=1e-12)
    assert_near(model.predict(X_new), same.predict(X_new) + trend(X_new), 1e-12)


@pytest.mark.parametrize("d", [None, 2])
def test_draws_have_the_moments_of_predictions(d):
    """Joint draws and paths: means within 5 standard errors (2e-5 for 36 of them), covariances within 0.2."""
    X, y, Z, X_new, _ = data(d)
    model = kept(Z).fit(X, y)
    mean, cov = model.predict(X_new, return_cov=True)
    mean, cov = mean.reshape(9, -1), cov.reshape(9, 9, -1)[:, :, 0]
    n = 2000
    joint = np.moveaxis(model.sample_y(X_new, n, random_state=1), -1, 0)
    paths = model.pathwise_samples(n, n_features=2000, random_state=2)(X_new)
    for draws in (joint, paths):
        assert draws.shape == (n,) + y[:9].shape
        draws = draws.reshape(n, 9, -1)
        error = 5 * np.sqrt(np.diag(cov) / n)[:, None]
        assert (np.abs(draws.mean(axis=0) - mean) < error + 0.02).all()
        for c in range(draws.shape[2]):
            assert_near(np.cov(draws[:, :, c].T), cov, 0.2)


def test_paths_are_functions():
    X, y, Z, X_new, _ = data()
    paths = kept(Z).fit(X, y).pathwise_samples(3, n_features=50, random_state=0)
    np.testing.assert_allclose(paths(X_new)[:, :4], paths(X_new[:4]), rtol=1e-12)


def test_float32(dtype):
    """The dtype of the data comes back, and the numbers are those of float64."""
    X, y, Z, X_new, y_new = data(dtype=dtype)
    model = kept(Z).fit(X, y)
    wide = kept(Z).fit(X.astype(float), y.astype(float))
    for found, expected in [
        (model.predict(X_new), wide.predict(X_new)),
        (model.predict(X_new, return_std=True)[1], wide.predict(X_new, return_std=True)[1]),
        (model.log_predictive_density(X_new, y_new), wide.log_predictive_density(X_new, y_new)),
        (model.sample_y(X_new), wide.sample_y(X_new)),
    ]:
        assert found.dtype == dtype
        assert_near(found, expected, 1e-12 if dtype == np.float64 else 1e-3)


def test_elbo_of_data():
    """At the fitted parameters it is lower_bound_; elsewhere its gradient is that of differences."""
    X, y, Z, _, _ = data()
    model = lvm.SGPR(covariances.build(NODE, lvm.kernels), inducing=Z, max_iter=3, callback=lambda s: s.iteration == 3)
    model.fit(X, y)
    value, gradient = model.elbo(X, y, gradient=True)
    assert value == pytest.approx(model.lower_bound_, rel=1e-12)
    theta = np.concatenate([model.kernel_.theta, [np.log(model.noise_variance_)], model.inducing_.ravel()])
    assert gradient.shape == theta.shape
    direction = np.random.default_rng(0).standard_normal(len(theta))
    up, down = (model.elbo(X, y, theta + s * 1e-6 * direction) for s in (1, -1))
    assert (up - down) / 2e-6 == pytest.approx(gradient @ direction, rel=1e-5)
    with pytest.raises(ValueError, match="theta must have shape"):
        model.elbo(X, y, theta[:-1])
