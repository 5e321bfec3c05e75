"""log p(y | X) of exact regression: value and gradient against the oracle, differences and scikit-learn."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from reference import covariances, gpr
from reference.covariances import Leaf, Product, Sum
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as peers

import lvmfast as lvm
from lvmfast.exceptions import NotPositiveDefiniteError

N, NOISE = 18, 0.2
C, White = peers.ConstantKernel, peers.WhiteKernel


def data(q=1, d=None, n=N, seed=0):
    """X (n, q) and y (n,) or (n, d): sines with noise, off zero."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, q))
    y = 1.5 + np.sin(X @ rng.standard_normal((q, d or 1))) + 0.3 * rng.standard_normal((n, d or 1))
    return X, y[:, 0] if d is None else y


def leaf(kind, active_dims=None, **parameters):
    return Leaf(kind, parameters, active_dims)


# Each kernel as the oracle has it; for some scikit-learn's, and its gradient out of ours: for each of its parameters,
# in its order, what ours contribute to the derivative by its logarithm.
KERNELS = {
    "rbf": (
        leaf("RBF", variance=1.3, lengthscale=0.7),
        C(1.3) * peers.RBF(0.7),
        [{"variance": 1}, {"lengthscale": 1}],
    ),
    "ard": (
        leaf("RBF", variance=1.3, lengthscale=np.array([0.7, 1.6])),
        C(1.3) * peers.RBF([0.7, 1.6]),
        [{"variance": 1}, {"lengthscale[0]": 1}, {"lengthscale[1]": 1}],
    ),
    "matern12": (
        leaf("Matern12", variance=0.8, lengthscale=1.1),
        C(0.8) * peers.Matern(1.1, nu=0.5),
        [{"variance": 1}, {"lengthscale": 1}],
    ),
    "matern32": (
        leaf("Matern32", variance=0.8, lengthscale=np.array([1.1, 0.4])),
        C(0.8) * peers.Matern([1.1, 0.4], nu=1.5),
        [{"variance": 1}, {"lengthscale[0]": 1}, {"lengthscale[1]": 1}],
    ),
    "matern52": (
        leaf("Matern52", variance=0.8, lengthscale=1.1),
        C(0.8) * peers.Matern(1.1, nu=2.5),
        [{"variance": 1}, {"lengthscale": 1}],
    ),
    "rationalquadratic": (
        leaf("RationalQuadratic", variance=1.3, lengthscale=0.7, alpha=0.6),
        C(1.3) * peers.RationalQuadratic(length_scale=0.7, alpha=0.6),
        [{"variance": 1}, {"alpha": 1}, {"lengthscale": 1}],
    ),
    "periodic": (
        leaf("Periodic", variance=1.3, lengthscale=0.9, period=1.7),
        C(1.3) * peers.ExpSineSquared(length_scale=0.9, periodicity=1.7),
        [{"variance": 1}, {"lengthscale": 1}, {"period": 1}],
    ),
    "linear": (
        Sum((leaf("Linear", variance=0.6), leaf("Constant", variance=0.6 * 1.4**2))),
        C(0.6) * peers.DotProduct(sigma_0=1.4),
        [{"linear.variance": 1, "constant.variance": 1}, {"constant.variance": 2}],
    ),
    "sum": (
        Sum(
            (
                leaf("RBF", variance=1.3, lengthscale=1.6),
                leaf("Matern32", variance=0.4, lengthscale=0.3),
                leaf("RBF", variance=0.2, lengthscale=0.5),
            )
        ),
        C(1.3) * peers.RBF(1.6) + C(0.4) * peers.Matern(0.3, nu=1.5) + C(0.2) * peers.RBF(0.5),
        [
            {"rbf.variance": 1},
            {"rbf.lengthscale": 1},
            {"matern32.variance": 1},
            {"matern32.lengthscale": 1},
            {"rbf_2.variance": 1},
            {"rbf_2.lengthscale": 1},
        ],
    ),
    "product": (
        Product(
            (leaf("RBF", variance=1.3, lengthscale=1.6), leaf("Periodic", variance=0.5, lengthscale=0.9, period=2))
        ),
        C(0.65) * peers.RBF(1.6) * peers.ExpSineSquared(length_scale=0.9, periodicity=2.0),
        [{"rbf.variance": 1}, {"rbf.lengthscale": 1}, {"periodic.lengthscale": 1}, {"periodic.period": 1}],
    ),
    "white": (
        Sum((leaf("RBF", variance=1.3, lengthscale=0.7), leaf("White", variance=0.3))),
        C(1.3) * peers.RBF(0.7) + White(0.3),
        [{"rbf.variance": 1}, {"rbf.lengthscale": 1}, {"white.variance": 1}],
    ),
    "sum of products": (
        Sum(
            (
                Product((leaf("RBF", variance=1.3, lengthscale=1.6), leaf("Linear", variance=0.7))),
                Product((leaf("Matern52", variance=0.4, lengthscale=0.6), leaf("Constant", variance=0.9))),
            )
        ),
        C(0.91) * peers.RBF(1.6) * peers.DotProduct(0.0, "fixed") + C(0.36) * peers.Matern(0.6, nu=2.5),
        [{"rbf.variance": 1}, {"rbf.lengthscale": 1}, {"matern52.variance": 1}, {"matern52.lengthscale": 1}],
    ),
    "polynomial": (leaf("Polynomial", variance=0.4, offset=0.8), None, None),
    "cosine": (
        Sum((leaf("Cosine", variance=0.7, lengthscale=2.3), leaf("RBF", variance=0.5, lengthscale=1.0))),
        None,
        None,
    ),
    "active": (
        Product(
            (
                leaf("RBF", (0,), variance=1.3, lengthscale=0.7),
                leaf("Periodic", (1,), variance=0.5, lengthscale=0.9, period=2.0),
            )
        ),
        None,
        None,
    ),
}
TWO_COLUMNS = ("ard", "matern32", "active")
WITH_PEER = [name for name, case in KERNELS.items() if case[1] is not None]
MEANS = ["zero", "constant", "linear", "callable"]


def trend(X):
    return 0.5 + X[:, 0] ** 2


def mean_of(name):
    return trend if name == "callable" else name


def inputs_of(name):
    return 2 if name in TWO_COLUMNS else 1


def model(name, X, y, *, noise=NOISE, mean="zero", **params):
    """Ours, with its parameters kept."""
    kernel = covariances.build(KERNELS[name][0], lvm.kernels)
    return lvm.GPR(kernel, mean=mean_of(mean), noise_variance=noise, optimizer=None, **params).fit(X, y)


def oracle(name, X, y, *, noise=NOISE, mean="zero"):
    return gpr.GP(partial(covariances.matrix, KERNELS[name][0]), X, y, noise, mean_of(mean))


def condition(gp):
    """Of the covariance of the noisy observations, at most."""
    return float(np.trace(gpr.noisy_covariance(gp)) / np.min(gp.noise))


def scale(gp):
    """The sum of the likelihood's terms by their sizes."""
    residual = gpr._columns(gp.Y) - gpr.mean_at(gp, gp.X)
    eigenvalues = np.linalg.eigvalsh(gpr.noisy_covariance(gp).astype(float))
    fit = np.sum(residual * gpr._solve(gpr.noisy_covariance(gp), residual))
    return float(residual.size * 2 + residual.shape[1] * np.abs(np.log(eigenvalues)).sum() + fit)


def names_of(kernel):
    """The names of the entries of theta, without the noise."""
    entries = []
    for name, parameter in kernel.parameters.items():
        if not parameter.fixed:
            size = np.shape(parameter.value)
            entries += [f"{name}[{i}]" for i in range(size[0])] if size else [name]
    return entries


# The value.


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [None, 3])
def test_value(name, d):
    X, y = data(inputs_of(name), d)
    ours, gp = model(name, X, y), oracle(name, X, y)
    near = {"relative": tolerance(np.float64, N, condition(gp)), "scale": scale(gp)}
    assert_near(ours.log_marginal_likelihood_, gpr.log_marginal_likelihood(gp), **near)
    assert isinstance(ours.log_marginal_likelihood_, float)
    assert ours.jitter_ == 0
    value = ours.log_marginal_likelihood()
    assert value == pytest.approx(ours.log_marginal_likelihood_, rel=1e-12)
    assert ours.log_posterior_ == ours.log_marginal_likelihood_


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("d", [None, 1, 3])
@pytest.mark.parametrize("noisy", ["number", "array"])
def test_value_with_means_and_noise(mean, d, noisy):
    X, y = data(2, d)
    noise = NOISE if noisy == "number" else np.random.default_rng(1).uniform(0.05, 0.5, N)
    ours = model("ard", X, y, noise=noise, mean=mean)
    gp = oracle("ard", X, y, noise=noise, mean=mean)
    near = {"relative": tolerance(np.float64, N, condition(gp)), "scale": scale(gp)}
    assert_near(ours.log_marginal_likelihood_, gpr.log_marginal_likelihood(gp), **near)
    if mean in ("constant", "linear"):
        assert_near(np.sort(np.ravel(ours.mean_coef_)), np.sort(np.ravel(gpr.coefficients(gp))), **near)
    np.testing.assert_array_equal(ours.noise_variance_, noise)


def test_a_callable_mean_may_give_one_column_per_output():
    X, y = data(2, 3)

    def columns(X):
        return np.column_stack([X[:, 0], X[:, 1], np.ones(len(X))])

    ours = lvm.GPR(lvm.kernels.RBF(), mean=columns, noise_variance=NOISE, optimizer=None).fit(X, y)
    bare = lvm.GPR(lvm.kernels.RBF(), mean="zero", noise_variance=NOISE, optimizer=None).fit(X, y - columns(X))
    assert_near(ours.log_marginal_likelihood_, bare.log_marginal_likelihood_, tolerance(np.float64, N, 100))


@pytest.mark.parametrize("mean", ["zero", "constant"])
def test_outputs_are_independent(mean):
    X, Y = data(1, 3)
    together = model("rbf", X, Y, mean=mean).log_marginal_likelihood_
    alone = sum(model("rbf", X, y, mean=mean).log_marginal_likelihood_ for y in Y.T)
    assert_near(together, alone, tolerance(np.float64, N, 100))


def test_one_point():
    """log N(y | 0, variance + noise_variance)."""
    ours = model("rbf", [[0.3]], [1.7])
    spread = 1.3 + NOISE
    expected = -0.5 * (np.log(2 * np.pi * spread) + 1.7**2 / spread)
    assert_near(ours.log_marginal_likelihood_, expected, tolerance(np.float64))


@pytest.mark.parametrize("mean", ["constant", "linear"])
def test_what_the_mean_explains_does_not_matter(mean):
    X, y = data(2)
    shift = 3.0 + (X @ [1.0, -2.0] if mean == "linear" else 0.0)
    plain, shifted = (model("ard", X, t, mean=mean) for t in (y, y + shift))
    assert_near(
        shifted.log_marginal_likelihood_, plain.log_marginal_likelihood_, tolerance(np.float64, N, 1e3), scale=100.0
    )


@pytest.mark.parametrize("mean", MEANS)
def test_value_elsewhere(mean):
    """theta need not be the fitted one; the coefficients of the mean are those that are best there."""
    X, y = data()
    ours = model("rbf", X, y, mean=mean)
    before = ours.predict(X)
    for variance, lengthscale, noise in [(0.1, 3.0, 0.5), (7.0, 0.2, 0.01), (1.0, 1.0, 2.0)]:
        node = leaf("RBF", variance=variance, lengthscale=lengthscale)
        gp = gpr.GP(partial(covariances.matrix, node), X, y, noise, mean_of(mean))
        value = ours.log_marginal_likelihood(np.log([variance, lengthscale, noise]))
        near = {"relative": tolerance(np.float64, N, condition(gp)), "scale": scale(gp)}
        assert_near(value, gpr.log_marginal_likelihood(gp), **near)
    np.testing.assert_array_equal(ours.predict(X), before)


@pytest.mark.parametrize("jitter", [0.0, 0.05])
def test_a_given_jitter_counts_as_noise(jitter):
    X, y = data()
    ours = model("rbf", X, y, jitter=jitter)
    gp = oracle("rbf", X, y, noise=NOISE + jitter)
    near = {"relative": tolerance(np.float64, N, condition(gp)), "scale": scale(gp)}
    assert ours.jitter_ == pytest.approx(jitter)
    assert_near(ours.log_marginal_likelihood_, gpr.log_marginal_likelihood(gp), **near)


def test_no_jitter_is_refused_where_it_is_needed():
    X = np.zeros((6, 1))
    with pytest.raises(NotPositiveDefiniteError, match="duplicate"):
        model("rbf", X, np.arange(6.0), noise=1e-30, jitter=0)
    automatic = model("rbf", X, np.zeros(6), noise=1e-30)
    assert automatic.jitter_ > 0 and np.isfinite(automatic.log_marginal_likelihood_)


# The gradient.


def gradient_case(name, d=None, mean="zero", noise=NOISE, **params):
    X, y = data(inputs_of(name), d)
    ours = model(name, X, y, mean=mean, noise=noise, **params)
    gp = oracle(name, X, y, mean=mean, noise=noise)
    near = {"relative": tolerance(np.float64, N, condition(gp)), "scale": scale(gp)}
    theta = ours.kernel_.theta
    learned = np.ndim(noise) == 0 and params.get("learn_noise", True)
    return ours, np.append(theta, np.log(noise)) if learned else theta, near


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("d", "mean"), [(None, "zero"), (3, "constant")])
def test_gradient(name, d, mean):
    ours, theta, near = gradient_case(name, d, mean)
    value, gradient = ours.log_marginal_likelihood(theta, gradient=True)
    assert_near(value, ours.log_marginal_likelihood_, **near)
    assert gradient.shape == theta.shape and gradient.dtype == np.float64
    numeric = differences(ours.log_marginal_likelihood, theta)
    assert_near(gradient, numeric, near["relative"] * DIFFERENCE, scale=near["scale"])
    for a, b in zip((value, gradient), ours.log_marginal_likelihood(gradient=True), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9)  # None stands for the fitted theta


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("case", ["number", "array", "given"])
def test_gradient_with_means_and_noise(mean, case):
    """The coefficients are at their optimum, so that their own change with theta does not show."""
    noise = np.random.default_rng(1).uniform(0.05, 0.5, N) if case == "array" else NOISE
    params = {"learn_noise": False} if case == "given" else {}
    ours, theta, near = gradient_case("ard", 2, mean, noise, **params)
    assert len(theta) == (4 if case == "number" else 3)
    _, gradient = ours.log_marginal_likelihood(theta, gradient=True)
    numeric = differences(ours.log_marginal_likelihood, theta)
    assert_near(gradient, numeric, near["relative"] * DIFFERENCE, scale=near["scale"])


def test_fixed_parameters_are_not_in_theta():
    X, y = data()
    node = KERNELS["sum"][0]
    free = covariances.build(node, lvm.kernels)
    some = covariances.build(node, lvm.kernels).fix("*.variance")
    models = [lvm.GPR(k, mean="zero", noise_variance=NOISE, optimizer=None).fit(X, y) for k in (free, some)]
    gradients = [m.log_marginal_likelihood(gradient=True)[1] for m in models]
    keep = [not name.endswith("variance") for name in names_of(free)] + [True]
    assert len(gradients[1]) == sum(keep) == 4
    assert_near(gradients[1], gradients[0][keep], tolerance(np.float64, N, 1e3))


def test_priors_are_no_part_of_the_likelihood():
    X, y = data()
    kernel = covariances.build(KERNELS["rbf"][0], lvm.kernels)
    plain = lvm.GPR(kernel, mean="zero", noise_variance=NOISE, optimizer=None).fit(X, y)
    prior = lvm.priors.Gamma(2.0, 3.0)
    kernel = kernel.copy().set_prior("lengthscale", prior)
    ours = lvm.GPR(kernel, mean="zero", noise_variance=NOISE, optimizer=None).fit(X, y)
    assert ours.log_marginal_likelihood_ == plain.log_marginal_likelihood_
    added = ours.log_posterior_ - ours.log_marginal_likelihood_
    assert added == pytest.approx(float(prior.log_density(0.7)), rel=1e-9)
    a, b = (m.log_marginal_likelihood(gradient=True)[1] for m in (plain, ours))
    np.testing.assert_array_equal(a, b)


# Against scikit-learn.


@pytest.mark.parametrize("name", WITH_PEER)
@pytest.mark.parametrize("d", [None, 2])
def test_scikit_learn(name, d):
    """Its alpha is our noise_variance; for the derivative by the noise, its kernel has white noise instead."""
    X, y = data(inputs_of(name), d)
    _, kernel, chain = KERNELS[name]
    ours, gp = model(name, X, y), oracle(name, X, y)
    near = {"relative": tolerance(np.float64, N, condition(gp)), "scale": scale(gp)}
    peer = GaussianProcessRegressor(kernel, alpha=NOISE, optimizer=None).fit(X, y)
    assert_near(ours.log_marginal_likelihood_, peer.log_marginal_likelihood_value_, **near)

    noisy = kernel + White(NOISE)
    peer = GaussianProcessRegressor(noisy, alpha=0.0, optimizer=None).fit(X, y)
    _, expected = peer.log_marginal_likelihood(noisy.theta, eval_gradient=True)
    _, gradient = ours.log_marginal_likelihood(gradient=True)
    ours_by_name = dict(zip([*names_of(ours.kernel_), "noise"], gradient, strict=True))
    rows = [*chain, {"noise": 1}]
    actual = [sum(factor * ours_by_name[part] for part, factor in row.items()) for row in rows]
    assert_near(actual, expected, **near)


def test_scikit_learn_with_an_array_of_noise():
    X, y = data(2)
    noise = np.random.default_rng(1).uniform(0.05, 0.5, N)
    ours = model("ard", X, y, noise=noise)
    peer = GaussianProcessRegressor(KERNELS["ard"][1], alpha=noise, optimizer=None).fit(X, y)
    value, expected = peer.log_marginal_likelihood(peer.kernel_.theta, eval_gradient=True)
    actual, gradient = ours.log_marginal_likelihood(gradient=True)
    near = tolerance(np.float64, N, 1e3)
    assert_near(actual, value, near)
    assert_near(gradient, expected, near, scale=abs(value))


# Precision and errors.


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("mean", ["zero", "linear"])
def test_float32(name, mean):
    X, y = (a.astype(np.float32) for a in data(inputs_of(name)))
    gp = oracle(name, X.astype(float), y.astype(float), mean=mean)
    ours = model(name, X, y, mean=mean)
    near = {"relative": tolerance(np.float32, N, condition(gp)), "scale": scale(gp)}
    assert_near(ours.log_marginal_likelihood_, gpr.log_marginal_likelihood(gp), **near)
    _, gradient = ours.log_marginal_likelihood(gradient=True)
    _, exact = model(name, X.astype(float), y.astype(float), mean=mean).log_marginal_likelihood(gradient=True)
    assert_near(gradient, exact, **near)


def test_the_factor_and_the_weights():
    """L Lᵀ = k(X, X) + (noise + jitter) I and alpha = (L Lᵀ)⁻¹ (y - mean), in the units of y."""
    for d in (None, 3):
        X, y = data(2, d)
        ours, gp = model("ard", X, y, mean="constant"), oracle("ard", X, y, mean="constant")
        L = np.tril(ours.L_)
        covariance = gpr.noisy_covariance(gp)
        near = tolerance(np.float64, N, condition(gp))
        assert_near(L @ L.T, covariance, near)
        assert ours.alpha_.shape == y.shape
        residual = gpr._columns(y) - gpr.mean_at(gp, X)
        assert_near(gpr._columns(ours.alpha_), gpr._solve(covariance, residual), near)


@pytest.mark.parametrize("theta", [[0.0], np.zeros(4), np.zeros((3, 1)), 0.0])
def test_theta_of_another_length(theta):
    X, y = data()
    ours = model("rbf", X, y)
    with pytest.raises(ValueError, match="theta must have shape"):
        ours.log_marginal_likelihood(theta)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_theta_must_be_finite(bad):
    X, y = data()
    ours = model("rbf", X, y)
    with pytest.raises(ValueError, match="theta must be finite"):
        ours.log_marginal_likelihood([0.0, bad, 0.0])


def test_theta_must_hold_numbers():
    X, y = data()
    ours = model("rbf", X, y)
    with pytest.raises(TypeError, match="theta must hold real numbers"):
        ours.log_marginal_likelihood(["a", "b", "c"])
