"""The posterior of exact regression: means, spreads, draws, slopes, and each point given the others."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from reference import covariances, gpr
from reference.covariances import Leaf, Product, Sum
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as peers

import lvmfast as lvm

N, NOISE = 20, 0.1
C, White = peers.ConstantKernel, peers.WhiteKernel


def data(q=1, d=None, n=N, seed=0):
    """X (n, q) and y (n,) or (n, d): sines with noise, off zero."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, q))
    y = 1.5 + np.sin(X @ rng.standard_normal((q, d or 1))) + 0.3 * rng.standard_normal((n, d or 1))
    return X, y[:, 0] if d is None else y


def places(X):
    """At, between and far from the rows of X."""
    return np.vstack([X[:2], 0.5 * (X[2:3] + X[3:4]), X[:1] + 0.2, X[:1] + 30.0])


def leaf(kind, active_dims=None, **parameters):
    return Leaf(kind, parameters, active_dims)


KERNELS = {
    "rbf": leaf("RBF", variance=1.3, lengthscale=np.array([0.7, 1.6])),
    "matern12": leaf("Matern12", variance=0.8, lengthscale=1.1),
    "matern32": leaf("Matern32", variance=0.8, lengthscale=np.array([1.1, 0.4])),
    "matern52": leaf("Matern52", variance=0.8, lengthscale=1.1),
    "rationalquadratic": leaf("RationalQuadratic", variance=1.3, lengthscale=0.7, alpha=0.6),
    "periodic": leaf("Periodic", variance=1.3, lengthscale=0.9, period=1.7),
    "linear": Sum((leaf("Linear", variance=np.array([0.6, 0.2])), leaf("Constant", variance=0.5))),
    "polynomial": leaf("Polynomial", variance=0.4, offset=0.8),
    "cosine": leaf("Cosine", variance=0.7, lengthscale=2.3),
    "white": Sum((leaf("RBF", variance=1.3, lengthscale=0.7), leaf("White", variance=0.3))),
    "product": Product(
        (
            leaf("RBF", (0,), variance=1.3, lengthscale=0.7),
            leaf("Periodic", (1,), variance=0.5, lengthscale=0.9, period=2.0),
        )
    ),
    "mixed": Sum(
        (
            Product((leaf("RBF", variance=1.3, lengthscale=1.6), leaf("Linear", variance=0.7))),
            leaf("Matern52", (1,), variance=0.4, lengthscale=0.6),
        )
    ),
}
MEANS = ["zero", "constant", "linear", "callable"]


def trend(X):
    return 0.5 + X[:, 0] ** 2


def mean_of(name):
    return trend if name == "callable" else name


def model(name, X, y, *, noise=NOISE, mean="zero", **params):
    """Ours, with its parameters kept."""
    kernel = covariances.build(KERNELS[name], lvm.kernels)
    return lvm.GPR(kernel, mean=mean_of(mean), noise_variance=noise, optimizer=None, **params).fit(X, y)


def oracle(name, X, y, *, noise=NOISE, mean="zero"):
    return gpr.GP(partial(covariances.matrix, KERNELS[name]), X, y, noise, mean_of(mean))


def near(gp, X):
    """The relative error allowed to a solve with the covariance, and what it is relative to: prior sizes."""
    condition = float(np.trace(gpr.noisy_covariance(gp)) / np.min(gp.noise))
    prior = float(np.max(np.abs(np.asarray(gp.covariance(X)))))
    sizes = float(np.max(np.abs(gpr.mean_at(gp, X)))) + float(np.max(np.abs(gp.Y)))
    relative = tolerance(np.float64, len(gp.X), condition)
    return {"relative": relative, "scale": prior + 1 + sizes}


def spread(cov):
    return np.sqrt(np.maximum(np.diag(cov), 0).astype(float))


# Means and spreads.


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("mean", ["zero", "constant"])
def test_prediction(name, mean):
    X, y = data(2)
    new = places(X)
    ours, gp = model(name, X, y, mean=mean), oracle(name, X, y, mean=mean)
    expected, cov = gpr.predict(gp, new)
    assert_near(ours.predict(new), expected, **near(gp, new))
    actual, actual_cov = ours.predict(new, return_cov=True)
    assert_near(actual, expected, **near(gp, new))
    assert_near(actual_cov, cov, **near(gp, new))
    np.testing.assert_array_equal(actual_cov, actual_cov.T)
    actual, std = ours.predict(new, return_std=True)
    assert_near(actual, expected, **near(gp, new))
    assert std.shape == (len(new),) and (std >= 0).all()
    assert_near(std**2, np.diag(cov), **near(gp, new))


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("d", [None, 1, 3])
@pytest.mark.parametrize("noisy", ["number", "array"])
def test_prediction_with_means_and_noise(mean, d, noisy):
    X, y = data(2, d)
    new = places(X)
    noise = NOISE if noisy == "number" else np.random.default_rng(1).uniform(0.05, 0.5, N)
    ours = model("rbf", X, y, noise=noise, mean=mean)
    gp = oracle("rbf", X, y, noise=noise, mean=mean)
    expected, cov = gpr.predict(gp, new)
    outputs = () if d is None else (d,)
    actual, std = ours.predict(new, return_std=True)
    assert actual.shape == std.shape == (len(new), *outputs)
    assert_near(actual, expected, **near(gp, new))
    actual, actual_cov = ours.predict(new, return_cov=True)
    assert actual_cov.shape == (len(new), len(new), *outputs)
    for k in range(d or 1):
        assert_near(std if d is None else std[:, k], spread(cov), relative=1e-8, scale=1.0)
        assert_near(actual_cov if d is None else actual_cov[..., k], cov, **near(gp, new))


def test_noise_can_be_included():
    X, y = data(2)
    new = places(X)
    ours, gp = model("rbf", X, y), oracle("rbf", X, y)
    expected, cov = gpr.predict(gp, new, noise=NOISE)
    plain, plain_std = ours.predict(new, return_std=True)
    noisy, std = ours.predict(new, return_std=True, include_noise=True)
    np.testing.assert_array_equal(noisy, plain)
    assert_near(std, spread(cov), **near(gp, new))
    assert_near(std**2 - plain_std**2, np.full(len(new), NOISE), **near(gp, new))
    assert_near(ours.predict(new, return_cov=True, include_noise=True)[1], cov, **near(gp, new))


def test_each_output_alone():
    X, Y = data(2, 3)
    new = places(X)
    ours = model("rbf", X, Y, mean="linear")
    mean, std = ours.predict(new, return_std=True)
    for k, y in enumerate(Y.T):
        alone = model("rbf", X, y, mean="linear").predict(new, return_std=True)
        np.testing.assert_allclose(mean[:, k], alone[0], rtol=1e-10)
        np.testing.assert_allclose(std[:, k], alone[1], rtol=1e-10)


def test_far_away_is_the_prior():
    X, y = data(2)
    far = X[:3] + 1e3
    for mean in ("zero", "constant", "linear"):
        ours, gp = model("rbf", X, y, mean=mean), oracle("rbf", X, y, mean=mean)
        actual, std = ours.predict(far, return_std=True)
        np.testing.assert_allclose(actual, np.ravel(gpr.mean_at(gp, far)).astype(float), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(std, np.sqrt(1.3))


def test_rows_do_not_depend_on_one_another():
    X, y = data(2)
    new = np.random.default_rng(2).uniform(-3, 3, (40, 2))
    ours = model("rbf", X, y)
    mean, std = ours.predict(new, return_std=True)
    for i in (0, 17, 39):
        at, spread_at = ours.predict(new[i : i + 1], return_std=True)
        np.testing.assert_allclose(at, mean[i : i + 1], rtol=1e-11)
        np.testing.assert_allclose(spread_at, std[i : i + 1], rtol=1e-9)


def test_without_noise_the_data_are_met():
    """The spread vanishes there, and is never the root of a negative number."""
    X = np.linspace(0, 5, 12)[:, None]
    y = np.sin(X[:, 0])
    ours = lvm.GPR(lvm.kernels.Matern52(), mean="zero", noise_variance=1e-10, optimizer=None).fit(X, y)
    mean, std = ours.predict(X, return_std=True)
    np.testing.assert_allclose(mean, y, atol=1e-7)
    assert (std >= 0).all() and std.max() < 1e-4


# scikit-learn's own examples.


def noisy_targets():
    """y = x sin(x) at six points with noise of 0.75, of its introduction to noisy regression."""
    rng = np.random.RandomState(1)
    X = np.linspace(0, 10, 1000)[:, None]
    y = np.squeeze(X * np.sin(X))
    chosen = rng.choice(np.arange(y.size), size=6, replace=False)
    noise = rng.normal(0.0, 0.75, 6)
    return X[chosen], y[chosen] + noise, X[::25]


@pytest.mark.parametrize("alpha", [1e-10, 0.75**2], ids=["exact", "noisy"])
def test_example_of_noisy_targets(alpha):
    """Both fits end at the same parameters and predictions."""
    X, y, new = noisy_targets()
    kernel = C(1.0, (1e-3, 1e4)) * peers.RBF(1.0, (1e-2, 1e2))
    peer = GaussianProcessRegressor(kernel, alpha=alpha, n_restarts_optimizer=9, random_state=0).fit(X, y)
    own = lvm.kernels.RBF().set_bounds("variance", 1e-3, 1e4).set_bounds("lengthscale", 1e-2, 1e2)
    settings = {"mean": "zero", "noise_variance": alpha, "learn_noise": False, "tol": 1e-10}
    ours = lvm.GPR(own, n_restarts=9, random_state=0, **settings).fit(X, y)
    found = [ours.kernel_.parameters[name].value for name in ("variance", "lengthscale")]
    np.testing.assert_allclose(found, np.exp(peer.kernel_.theta), rtol=1e-2)
    assert ours.log_marginal_likelihood_ >= peer.log_marginal_likelihood_value_ - 1e-5
    for a, b in zip(ours.predict(new, return_std=True), peer.predict(new, return_std=True), strict=True):
        np.testing.assert_allclose(a, b, atol=0.02)

    variance, lengthscale = np.exp(peer.kernel_.theta)
    ours = lvm.GPR(lvm.kernels.RBF(variance, lengthscale), optimizer=None, **settings).fit(X, y)
    for option in ({"return_std": True}, {"return_cov": True}):
        for a, b in zip(ours.predict(new, **option), peer.predict(new, **option), strict=True):
            assert_near(a, b, tolerance(np.float64, 6, 1e10), scale=variance)


def mauna_loa(n=120):
    """A rising, bending and yearly signal with short-lived deviations, like carbon dioxide on Mauna Loa."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 12, n)[:, None]
    x = t[:, 0]
    y = 0.8 * x + 0.05 * x**2 + 2 * np.sin(2 * np.pi * x) + 0.5 * np.sin(0.9 * x) + 0.2 * rng.standard_normal(n)
    return t, y - y.mean()


def test_example_of_mauna_loa():
    t, y = mauna_loa()
    new = np.linspace(-1, 16, 30)[:, None]
    peer_kernel = (
        50.0**2 * peers.RBF(50.0)
        + 2.0**2 * peers.RBF(100.0) * peers.ExpSineSquared(1.0, 1.0)
        + 0.5**2 * peers.RationalQuadratic(1.0, 1.0)
        + 0.1**2 * peers.RBF(0.1)
        + White(0.2**2)
    )
    peer = GaussianProcessRegressor(peer_kernel, alpha=1e-10, optimizer=None).fit(t, y)
    k = lvm.kernels
    kernel = (
        k.RBF(50.0**2, 50.0)
        + k.RBF(2.0**2, 100.0) * k.Periodic(1.0, 1.0, 1.0)
        + k.RationalQuadratic(0.5**2, 1.0, 1.0)
        + k.RBF(0.1**2, 0.1)
        + k.White(0.2**2)
    )
    settings = {"mean": "zero", "noise_variance": 1e-10, "learn_noise": False}
    ours = lvm.GPR(kernel, optimizer=None, **settings).fit(t, y)
    condition = 120 * 2500 / 0.04
    for option in ({"return_std": True}, {"return_cov": True}):
        for a, b in zip(ours.predict(new, **option), peer.predict(new, **option), strict=True):
            assert_near(a, b, tolerance(np.float64, 120, condition), scale=np.sqrt(2500.0))
    assert_near(
        ours.log_marginal_likelihood_,
        peer.log_marginal_likelihood_value_,
        tolerance(np.float64, 120, condition),
        scale=1e3,
    )


def test_learned_mauna_loa():
    """The parts find their scales: what comes next year is known to the noise."""
    t, y = mauna_loa()
    seen = t[:, 0] < 10
    k = lvm.kernels
    kernel = k.RBF(50.0, 10.0) + k.Periodic(2.0, 1.0, 1.0).fix("period") + k.RationalQuadratic(0.5, 1.0, 1.0)
    ours = lvm.GPR(kernel, noise_variance=0.1).fit(t[seen], y[seen])
    ahead = (t[:, 0] >= 10) & (t[:, 0] < 11)
    mean, std = ours.predict(t[ahead], return_std=True, include_noise=True)
    assert (np.abs(mean - y[ahead]) < 4 * std).all()
    assert np.sqrt(np.mean((mean - y[ahead]) ** 2)) < 1.0
    assert 0.1 < np.sqrt(ours.noise_variance_) < 0.3
    assert ours.kernel_.parameters["periodic.period"].value == 1.0


# One point given all others.


@pytest.mark.parametrize("name", ["rbf", "matern32", "linear", "white", "mixed"])
@pytest.mark.parametrize("d", [None, 2])
@pytest.mark.parametrize("noisy", ["number", "array"])
def test_leave_one_out(name, d, noisy):
    X, y = data(2, d)
    noise = NOISE if noisy == "number" else np.random.default_rng(1).uniform(0.05, 0.5, N)
    ours, gp = model(name, X, y, noise=noise), oracle(name, X, y, noise=noise)
    for actual, expected in zip(ours.leave_one_out(), gpr.leave_one_out(gp), strict=True):
        assert actual.shape == y.shape
        assert_near(actual, expected, **near(gp, X))


@pytest.mark.parametrize("mean", ["constant", "linear", "callable"])
def test_leave_one_out_with_means(mean):
    """The coefficients are parameters: they stay those of all points."""
    X, y = data(2)
    ours, gp = model("rbf", X, y, mean=mean), oracle("rbf", X, y, mean=mean)
    for actual, expected in zip(ours.leave_one_out(), gpr.leave_one_out(gp), strict=True):
        assert_near(actual, expected, **near(gp, X))


def test_leave_one_out_is_n_refits():
    """The same through the public face alone."""
    X, y = data(2)
    mean, variance, log_density = model("rbf", X, y).leave_one_out()
    for i in range(N):
        keep = np.arange(N) != i
        at, std = model("rbf", X[keep], y[keep]).predict(X[i : i + 1], return_std=True, include_noise=True)
        np.testing.assert_allclose([mean[i], variance[i]], [at[0], std[0] ** 2], rtol=1e-9)
    expected = -0.5 * (np.log(2 * np.pi * variance) + (y - mean) ** 2 / variance)
    np.testing.assert_allclose(log_density, expected, rtol=1e-10)


def test_leave_one_out_of_one_point_is_the_prior():
    mean, variance, _ = model("matern12", [[0.3]], [1.7]).leave_one_out()
    np.testing.assert_allclose([mean[0], variance[0]], [0.0, 0.8 + NOISE], atol=1e-12)


# Slopes.

SMOOTH = [name for name in KERNELS if name not in ("matern12", "white")]


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize(("d", "mean"), [(None, "zero"), (3, "constant"), (None, "linear")])
def test_predict_gradient(name, d, mean):
    X, y = data(2, d)
    new = np.random.default_rng(3).uniform(-2, 2, (4, 2))
    ours, gp = model(name, X, y, mean=mean), oracle(name, X, y, mean=mean)
    d_mean, d_var = ours.predict_gradient(new)
    assert d_mean.shape == (4, 2) if d is None else (4, 2, d)
    assert d_var.shape == (4, 2)
    bound = near(gp, new)
    bound["relative"] *= DIFFERENCE
    for i, x in enumerate(new):
        for k in range(d or 1):

            def mean_at(z, k=k):
                return np.ravel(ours.predict(z[None]))[k]

            assert_near(d_mean[i] if d is None else d_mean[i, :, k], differences(mean_at, x), **bound)

        def variance_at(z):
            return float(gpr.predict(gp, z[None])[1][0, 0])

        assert_near(d_var[i], differences(variance_at, x), **bound)


def test_predict_gradient_is_of_the_noise_free_function():
    X, y = data(2)
    new = np.random.default_rng(3).uniform(-2, 2, (4, 2))
    ours = model("rbf", X, y)
    d_mean, d_var = ours.predict_gradient(new)
    step = 1e-5
    up, down = new + [step, 0], new - [step, 0]
    (m_up, s_up), (m_down, s_down) = (ours.predict(p, return_std=True, include_noise=True) for p in (up, down))
    np.testing.assert_allclose(d_mean[:, 0], (m_up - m_down) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(d_var[:, 0], (s_up**2 - s_down**2) / (2 * step), atol=1e-6)


def test_predict_gradient_at_a_training_point():
    """The kernel's slope is defined there too."""
    X, y = data(2)
    for name in ("rbf", "matern32", "matern52"):
        ours = model(name, X, y)
        d_mean, d_var = ours.predict_gradient(X[:3])
        assert np.isfinite(d_mean).all() and np.isfinite(d_var).all()
        for i in range(3):
            numeric = differences(lambda z, ours=ours: ours.predict(z[None])[0], X[i])
            assert_near(d_mean[i], numeric, 1e-4, scale=max(1.0, np.abs(numeric).max()))


# Draws of values.


@pytest.mark.parametrize("d", [None, 2])
def test_sample_y(d):
    """Mean and covariance of many draws, within five standard errors."""
    X, y = data(2, d)
    new = places(X)
    ours = model("rbf", X, y, mean="constant")
    n_samples = 4000
    draws = ours.sample_y(new, n_samples, random_state=0)
    assert draws.shape == (len(new), n_samples) if d is None else (len(new), d, n_samples)
    mean, cov = ours.predict(new, return_cov=True)
    for k in range(d or 1):
        part = draws if d is None else draws[:, k]
        desired_mean, desired = (mean, cov) if d is None else (mean[:, k], cov[..., k])
        assert_moments(part.T, desired_mean, desired)
    if d:
        residual = draws - mean[..., None]
        across = np.mean(residual[:, 0] * residual[:, 1], axis=-1)
        assert (np.abs(across) < 5 * np.diagonal(cov[..., 0]) / np.sqrt(n_samples)).all()


def assert_moments(draws, mean, cov, slack=0.0):
    """Draws (s, n) have this mean (n,) and covariance (n, n) within five standard errors, plus slack of the prior."""
    count = len(draws)
    var = np.diag(cov)
    assert (np.abs(draws.mean(axis=0) - mean) <= 5 * np.sqrt((var + slack) / count) + 1e-9).all()
    error = np.sqrt((np.outer(var, var) + cov**2) / count)
    assert (np.abs(np.cov(draws.T) - cov) <= 5 * error + slack + 1e-9).all()


def test_sample_y_is_reproducible():
    X, y = data(2)
    new = places(X)
    ours = model("rbf", X, y)
    assert ours.sample_y(new).shape == (len(new), 1)
    np.testing.assert_array_equal(ours.sample_y(new, 3), ours.sample_y(new, 3, random_state=0))
    assert not np.array_equal(ours.sample_y(new, 3), ours.sample_y(new, 3, random_state=1))
    assert not np.array_equal(ours.sample_y(new, 3, random_state=None), ours.sample_y(new, 3, random_state=None))
    generator = np.random.default_rng(5)
    np.testing.assert_array_equal(
        ours.sample_y(new, 3, random_state=generator), ours.sample_y(new, 3, random_state=np.random.default_rng(5))
    )


# Draws of functions.

PATHS = {
    "rbf": KERNELS["rbf"],
    "matern12": KERNELS["matern12"],
    "matern32": KERNELS["matern32"],
    "matern52": KERNELS["matern52"],
    "rationalquadratic": KERNELS["rationalquadratic"],
    "periodic": leaf("Periodic", (0,), variance=1.3, lengthscale=0.9, period=1.7),
    "cosine": KERNELS["cosine"],
    "linear": leaf("Linear", variance=np.array([0.6, 0.2])),
    "polynomial": leaf("Polynomial", variance=0.4, offset=0.8),
    "constant": leaf("Constant", variance=0.7),
    "sum": Sum((leaf("RBF", variance=0.6, lengthscale=0.7), leaf("Linear", variance=0.4))),
    "product": KERNELS["product"],
    "linear times rbf": Product((leaf("RBF", variance=0.6, lengthscale=1.2), leaf("Linear", (0,), variance=0.8))),
    "matern times periodic": Product(
        (
            leaf("Matern32", (0,), variance=0.9, lengthscale=1.1),
            leaf("Periodic", (1,), variance=1.1, lengthscale=0.7, period=3.0),
        )
    ),
}
FEATURES, FUNCTIONS = 2048, 1500


@pytest.mark.parametrize("name", PATHS)
def test_moments_of_paths(name):
    """Those of the posterior: within five standard errors of the draws and the error of random features."""
    X, y = data(2, n=8)
    new = np.vstack([X[:1], X[1:2] + 0.1, np.random.default_rng(4).uniform(-2, 2, (3, 2))])
    kernel = covariances.build(PATHS[name], lvm.kernels)
    ours = lvm.GPR(kernel, mean="constant", noise_variance=NOISE, optimizer=None).fit(X, y)
    mean, cov = ours.predict(new, return_cov=True)
    draws = ours.pathwise_samples(FUNCTIONS, n_features=FEATURES, random_state=0)(new)
    assert draws.shape == (FUNCTIONS, len(new))
    prior = np.diag(kernel(new)).max()
    assert_moments(draws, mean, cov, slack=3 * prior / np.sqrt(FEATURES))


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_one_function(name):
    """At every call, whatever else is asked, for a copy too."""
    X, y = data(2, n=8)
    kernel = covariances.build(PATHS[name], lvm.kernels)
    ours = lvm.GPR(kernel, noise_variance=NOISE, optimizer=None).fit(X, y)
    f = ours.pathwise_samples(3, n_features=64, random_state=0)
    new = np.random.default_rng(4).uniform(-2, 2, (30, 2))
    values = f(new)
    assert values.shape == (3, 30) and np.isfinite(values).all()
    np.testing.assert_array_equal(f(new), values)
    np.testing.assert_allclose(f(new[::-1])[:, ::-1], values, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(f(new[7:8])[:, 0], values[:, 7], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(new), values)
    again = ours.pathwise_samples(3, n_features=64, random_state=0)
    np.testing.assert_array_equal(again(new), values)
    assert not np.array_equal(ours.pathwise_samples(3, n_features=64, random_state=1)(new), values)
    assert not np.allclose(values[0], values[1])


@pytest.mark.parametrize("d", [None, 2])
@pytest.mark.parametrize("mean", MEANS)
def test_paths_pass_near_the_data(d, mean):
    X, y = data(2, d, n=10)
    noise = 1e-6
    ours = model("matern52", X, y, noise=noise, mean=mean)
    values = ours.pathwise_samples(5, random_state=0)(X)
    assert values.shape == (5, *y.shape)
    np.testing.assert_allclose(values, np.broadcast_to(y, values.shape), atol=10 * np.sqrt(noise))


def test_paths_of_several_outputs_are_independent():
    X, y = data(2, 2, n=8)
    ours = model("rbf", X, y)
    corner = [[2.8, -2.8]]
    values = ours.pathwise_samples(FUNCTIONS, n_features=FEATURES, random_state=0)(corner)[:, 0]
    assert values.shape == (FUNCTIONS, 2)
    assert abs(np.corrcoef(values.T)[0, 1]) < 5 / np.sqrt(FUNCTIONS)


def test_paths_are_continuous():
    X, y = data(1, n=8)
    ours = model("matern52", X, y)
    f = ours.pathwise_samples(4, random_state=0)
    grid = np.linspace(-2, 2, 200)[:, None]
    jump = np.abs(f(grid + 1e-7) - f(grid)).max()
    assert jump < 1e-4


def test_paths_do_not_follow_the_model():
    """A function that was drawn stays when the model is fitted anew."""
    X, y = data(2)
    ours = model("rbf", X, y)
    f = ours.pathwise_samples(2, random_state=0)
    new = places(X)
    values = f(new)
    ours.fit(X + 1, -y)
    np.testing.assert_array_equal(f(new), values)


# Errors.


@pytest.mark.parametrize("method", ["predict", "sample_y", "predict_gradient"])
@pytest.mark.parametrize(
    "bad",
    [np.zeros((2, 3)), np.zeros(2), np.zeros((0, 2)), [[0.0, np.nan]], [[np.inf, 0.0]], [["a", "b"]], None],
    ids=["columns", "1d", "empty", "nan", "inf", "text", "none"],
)
def test_bad_places(method, bad):
    X, y = data(2)
    ours = model("rbf", X, y)
    with pytest.raises((ValueError, TypeError)):
        getattr(ours, method)(bad)


def test_bad_places_of_a_path():
    X, y = data(2)
    f = model("rbf", X, y).pathwise_samples(2, random_state=0)
    for bad in (np.zeros((2, 3)), np.zeros(2), [[0.0, np.nan]]):
        with pytest.raises(ValueError, match="X"):
            f(bad)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-3, ValueError), (1.5, TypeError), (None, TypeError)])
def test_number_of_draws(value, error):
    X, y = data(2)
    ours = model("rbf", X, y)
    for call in (lambda: ours.sample_y(X, value), lambda: ours.pathwise_samples(value)):
        with pytest.raises(error, match="n_samples must be an integer >= 1"):
            call()
    with pytest.raises(error, match="n_features must be an integer >= 1"):
        ours.pathwise_samples(n_features=value)


def test_source_of_draws():
    X, y = data(2)
    ours = model("rbf", X, y)
    for call in (
        lambda: ours.sample_y(X, random_state="a"),
        lambda: ours.pathwise_samples(random_state=-1),
    ):
        with pytest.raises(ValueError, match="random_state must be"):
            call()


def test_std_and_cov_together():
    X, y = data(2)
    with pytest.raises((ValueError, RuntimeError), match="return_std.*return_cov|return_cov.*return_std"):
        model("rbf", X, y).predict(X, return_std=True, return_cov=True)


CALLS = {
    "predict": lambda m: m.predict([[0.0]]),
    "sample_y": lambda m: m.sample_y([[0.0]]),
    "pathwise_samples": lambda m: m.pathwise_samples(),
    "log_marginal_likelihood": lambda m: m.log_marginal_likelihood(),
    "leave_one_out": lambda m: m.leave_one_out(),
    "condition_on": lambda m: m.condition_on([[0.0]], [0.0]),
    "fantasize": lambda m: m.fantasize([[0.0]], [[0.0]]),
    "predict_gradient": lambda m: m.predict_gradient([[0.0]]),
    "score": lambda m: m.score([[0.0], [1.0]], [0.0, 1.0]),
    "save": lambda m: m.save("never-written"),
}


@pytest.mark.parametrize("name", CALLS)
def test_unfitted(name):
    with pytest.raises(NotFittedError, match="GPR.*not fitted yet"):
        CALLS[name](lvm.GPR())


# Precision.


def test_float32_in_float32_out():
    X, y = data(2)
    new = places(X)
    X32, y32, new32 = (a.astype(np.float32) for a in (X, y, new))
    ours = model("rbf", X32, y32, mean="constant")
    gp = oracle("rbf", X32.astype(float), y32.astype(float), mean="constant")
    bound = near(gp, new)
    bound["relative"] *= float(np.finfo(np.float32).eps / np.finfo(np.float64).eps)
    expected, cov = gpr.predict(gp, new32.astype(float))
    mean, std = ours.predict(new32, return_std=True)
    assert mean.dtype == std.dtype == np.float32
    assert_near(mean, expected, **bound)
    assert_near(std, spread(cov), **bound)
    assert ours.sample_y(new32).dtype == np.float32
    assert all(part.dtype == np.float32 for part in ours.predict_gradient(new32))
