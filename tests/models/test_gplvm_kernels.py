"""The GPLVM with every kernel: objective, fit, predictions and files against dense formulas of the kernel's oracle."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from functools import partial

import numpy as np
import pytest
from helpers import DIFFERENCE, FITTED, assert_near, differences, observations, tolerance
from reference import covariances
from reference.covariances import Leaf, Product, Sum
from sklearn.base import clone

import lvmfast as lvm
from lvmfast import kernels, priors
from lvmfast.bijectors import Exp, Softplus
from lvmfast.models._gplvm_problem import Problem

pytestmark = pytest.mark.filterwarnings("ignore:the fit ended before convergence")

NAN = np.nan
LOG_2PI = np.log(2 * np.pi)
NOISE = 0.2


def leaf(kind, active_dims=None, degree=3, **parameters):
    return Leaf(kind, parameters, active_dims, degree)


RBF = partial(leaf, "RBF", variance=0.9, lengthscale=1.2)
LINEAR = partial(leaf, "Linear", variance=0.3)
PERIODIC = partial(leaf, "Periodic", variance=0.8, lengthscale=1.1, period=2.9)
WHITE, CONSTANT = leaf("White", variance=0.15), leaf("Constant", variance=0.6)
ARD = np.array([0.7, 1.6])

KERNELS = {
    "matern12": leaf("Matern12", variance=1.1, lengthscale=1.4),
    "matern32": leaf("Matern32", variance=1.1, lengthscale=1.4),
    "matern52 ard": leaf("Matern52", variance=0.8, lengthscale=ARD),
    "rational quadratic": leaf("RationalQuadratic", variance=1.3, lengthscale=0.9, alpha=0.6),
    "rbf + linear": Sum([RBF(), LINEAR(variance=np.array([0.3, 0.2]))]),
    "rbf * periodic": Product([RBF(lengthscale=ARD), PERIODIC()]),
    "rbf + white + constant": Sum([RBF(), WHITE, CONSTANT]),
    "polynomial": leaf("Polynomial", variance=0.2, offset=0.7),
    "square ard": leaf("Polynomial", degree=2, variance=np.array([0.2, 0.4]), offset=0.5),
    "cosine": leaf("Cosine", variance=1.2, lengthscale=5.0),
    "cosine + rbf": Sum([leaf("Cosine", variance=0.7, lengthscale=np.array([4.0, 6.5])), RBF()]),
    "parts": Sum([leaf("Matern32", (0,), variance=0.9, lengthscale=1.1), PERIODIC((1,)), LINEAR((1, 0))]),
    "one column": leaf("Matern52", (1,), variance=0.9, lengthscale=1.1),
    "product of sums": Product(
        [Sum([RBF((1,)), CONSTANT, WHITE]), Sum([LINEAR(), leaf("Matern12", **RBF().parameters)])]
    ),
}
FEW = ["matern52 ard", "rbf + white + constant", "polynomial", "parts", "product of sums"]


def kernel_of(node, factor=1.0):
    kernel = covariances.build(node, kernels)
    return kernel if factor == 1 else kernel.scaled(factor)


def node_of(kernel):
    """The oracle's tree for a kernel of the library."""
    if kernel.parts:
        parts = [node_of(part) for part in kernel.parts]
        return Product(parts) if isinstance(kernel, kernels.Product) else Sum(parts)
    values = {name: p.value for name, p in kernel.parameters.items()}
    dims = None if kernel.active_dims is None else tuple(kernel.active_dims)
    return Leaf(type(kernel).__name__, values, dims, getattr(kernel, "degree", 3))


def matrix(kernel, X, Z=None):
    return covariances.matrix(node_of(kernel), X, Z).astype(float)


def with_missing(Y, seed=1):
    """About a third missing: several patterns of rows, a complete column, a row with nothing."""
    missing = np.random.default_rng(seed).random(Y.shape) < 0.3
    missing[:, 0] = False
    missing[2] = True
    return np.where(missing, NAN, Y)


def with_unseen(Y):
    """The same and a column with nothing."""
    Y = with_missing(Y)
    Y[:, 1] = NAN
    return Y


# The dense formulas.


def log_normal(y, C):
    """log N(y | 0, C)."""
    sign, log_determinant = np.linalg.slogdet(C)
    assert sign > 0
    return -0.5 * (len(y) * LOG_2PI + log_determinant + y @ np.linalg.solve(C, y))


def log_likelihood(kernel, X, Y, noise):
    """Sum over the columns of log N(y_d | 0, k(X) + noise I), each on its observed rows."""
    C, total = matrix(kernel, X) + noise * np.eye(len(X)), 0.0
    for y in Y.T:
        seen = ~np.isnan(y)
        total += log_normal(y[seen], C[np.ix_(seen, seen)]) if seen.any() else 0.0
    return total


def gradients(node, X, Y, noise):
    """dX, {name: d} and dnoise of -1/D log p(Y), by dC = 1/(2D) sum_d (C^-1 - C^-1 y y^T C^-1) and the oracle's vjp."""
    C = covariances.matrix(node, X).astype(float) + noise * np.eye(len(X))
    dC = np.zeros_like(C)
    for y in Y.T:
        seen = np.flatnonzero(~np.isnan(y))
        inverse = np.linalg.inv(C[np.ix_(seen, seen)])
        alpha = inverse @ y[seen]
        dC[np.ix_(seen, seen)] += 0.5 * (inverse - np.outer(alpha, alpha)) / Y.shape[1]
    dX, _, by_name = covariances.vjp(node, X, None, dC)
    return dX, by_name, np.trace(dC)


def posterior(model, X):
    """Mean (n, d) and covariance (d, n, n) of the functions at X; White belongs to k(x, x)."""
    k, noise = model.kernel_, model.noise_variance_ + model.jitter_
    C = matrix(k, model.embedding_) + noise * np.eye(len(model.embedding_))
    across, prior = matrix(k, X, model.embedding_), matrix(k, X)
    mean, covariance = np.empty((len(X), model.mean_.size)), np.empty((model.mean_.size, len(X), len(X)))
    for d, y in enumerate((model.Y_train_ - model.mean_).T):
        seen = ~np.isnan(y)
        gain = across[:, seen] @ np.linalg.inv(C[np.ix_(seen, seen)])
        mean[:, d], covariance[d] = model.mean_[d] + gain @ y[seen], prior - gain @ across[:, seen].T
    return mean, covariance


def row_density(model, x, y):
    """log p(y | x, X, Y) of one new row, NaN left out."""
    mean, covariance = posterior(model, np.reshape(x, (1, -1)))
    spread = covariance[:, 0, 0] + model.noise_variance_
    return np.nansum(-0.5 * (LOG_2PI + np.log(spread) + (y - mean[0]) ** 2 / spread) + 0 * y)


def condition(kernel, X, noise):
    """At least the condition number of the covariance of the rows."""
    return 1 + np.trace(matrix(kernel, X)) / noise


# The objective.

DATA = {
    "complete": observations(10, 4),
    "wide": observations(6, 9),
    "missing": with_unseen(observations(10, 6)),
}


@pytest.fixture(params=KERNELS)
def node(request):
    return KERNELS[request.param]


def make(node, Y, *, dtype=None, center=True, jitter=0.0, change=lambda kernel: kernel):
    """(problem, objective, theta, X, kernel) at the node's values, in scaled units; ``change`` sets what is free."""
    problem, kernel = Problem(Y, center=center), change(kernel_of(node))
    objective = problem.objective(kernel.scaled(problem.scale**2), 2, jitter, dtype)
    X = np.random.default_rng(2).standard_normal((len(Y), 2))
    return problem, objective, objective.pack(X, NOISE, kernel), X, kernel


def expected(problem, Y, theta, X, node, free, jitter=0.0):
    """Loss and gradient by theta; every bijector is a softplus of some floor, dy/du = 1 / (1 + exp(-u))."""
    scaled, noise = (Y - problem.mean) / problem.scale, NOISE + jitter / problem.scale**2
    loss = -log_likelihood(kernel_of(node), X, scaled, noise) / Y.shape[1]
    dX, by_name, dnoise = gradients(node, X, scaled, noise)
    tail = np.concatenate([*(np.ravel(by_name[name]) for name in free), [dnoise]]).astype(float)
    return loss, np.concatenate([dX.ravel().astype(float), tail / (1 + np.exp(-theta[X.size :]))])


def check_objective(node, Y, relative, dtype=None, free=None, change=lambda kernel: kernel, **options):
    problem, objective, theta, X, kernel = make(node, Y, dtype=dtype, change=change, **options)
    free = list(covariances.parameters(node)) if free is None else free
    value, gradient = objective(theta)
    loss, slope = expected(problem, Y, theta, X, node, free, options.get("jitter", 0.0))
    bound = tolerance(relative, len(Y), condition(kernel, X, NOISE))
    assert gradient.dtype == np.float64
    assert_near(value, loss, bound, scale=max(1.0, abs(loss)))
    assert_near(gradient, slope, bound)


class TestObjective:
    @pytest.mark.parametrize("case", DATA)
    def test_value_and_gradient(self, node, case):
        check_objective(node, DATA[case], np.float64)

    @pytest.mark.parametrize("case", ["complete", "missing"])
    def test_float32(self, node, case):
        check_objective(node, DATA[case], np.float32, np.float32)

    @pytest.mark.parametrize("options", [{"center": False}, {"jitter": 0.3}], ids=["uncentred", "jitter"])
    @pytest.mark.parametrize("name", FEW)
    def test_options(self, name, options):
        check_objective(KERNELS[name], DATA["missing"], np.float64, **options)

    @pytest.mark.parametrize("case", ["complete", "missing"])
    def test_gradient_is_the_slope_of_the_value(self, node, case):
        _, objective, theta, _, _ = make(node, DATA[case])
        gradient = objective(theta)[1]
        slope = differences(lambda t: objective(t)[0], theta)
        assert_near(gradient, slope, tolerance(np.float64, len(theta), DIFFERENCE), scale=max(1, np.abs(slope).max()))

    @pytest.mark.parametrize("case", ["complete", "missing"])
    def test_float32_is_near_float64(self, node, case):
        (_, a, theta, X, kernel), (_, b, _, _, _) = (make(node, DATA[case], dtype=t) for t in (np.float64, np.float32))
        bound = tolerance(np.float32, len(X), condition(kernel, X, NOISE))
        assert_near(b(theta)[0], a(theta)[0], bound)
        assert_near(b(theta)[1], a(theta)[1], bound)

    @pytest.mark.parametrize("name", FEW)
    def test_same_bits_on_every_call(self, name):
        _, objective, theta, _, _ = make(KERNELS[name], DATA["missing"])
        value, gradient = objective(theta)
        objective(theta + 0.1)
        assert objective(theta)[0] == value
        np.testing.assert_array_equal(objective(theta)[1], gradient)

    def test_unpack_is_the_inverse_of_pack(self, node):
        _, objective, theta, X, kernel = make(node, DATA["complete"])
        assert theta.size == X.size + sum(np.size(v) for v in covariances.parameters(node).values()) + 1
        back, kernel_back, noise = objective.unpack(theta)
        np.testing.assert_array_equal(back, X)
        bound = tolerance(np.float64)
        assert list(kernel_back.parameters) == list(kernel.parameters)
        for name, value in covariances.parameters(node).items():
            np.testing.assert_allclose(kernel_back.parameters[name].value, value, rtol=bound)
        np.testing.assert_allclose(noise, NOISE, rtol=bound)

    def test_fixed_parameters_are_no_part_of_theta(self):
        node = KERNELS["parts"]
        free = [name for name in covariances.parameters(node) if name not in ("matern32.variance", "periodic.period")]
        check_objective(
            node,
            DATA["missing"],
            np.float64,
            free=free,
            change=lambda kernel: kernel.fix("matern32.variance", "periodic.period"),
        )

    def test_everything_fixed(self):
        for name in FEW:
            check_objective(KERNELS[name], DATA["complete"], np.float64, free=[], change=lambda kernel: kernel.fix())

    def test_chosen_bijectors(self):
        """A softplus of another floor has another u, and the same derivative by it."""
        check_objective(
            KERNELS["rbf * periodic"],
            DATA["complete"],
            np.float64,
            change=lambda kernel: kernel.set_bijector("*.lengthscale", Softplus(0.25)),
        )
        _, objective, theta, X, _ = make(
            KERNELS["matern32"], DATA["complete"], change=lambda k: k.set_bijector("lengthscale", Softplus(0.5))
        )
        theta[X.size + 1] = -40.0
        assert_near(objective.unpack(theta)[1].lengthscale, 0.5, tolerance(np.float64))


# Fits.

N, D = 20, 5
TRAIN, TEST = observations(N + 8, D, seed=4)[:N], observations(N + 8, D, seed=4)[N:]
TEST_MISSING = np.where(np.random.default_rng(5).random(TEST.shape) < 0.3, NAN, TEST)
TEST_MISSING[:, 2] = TEST[:, 2]
TRAIN_MISSING = with_missing(TRAIN)


def new(node, data=TRAIN, **params):
    """A model whose kernel and noise start from the node's values, in units of Y's mean square."""
    square = Problem(data, center=True).scale ** 2
    missing = "marginalize" if np.isnan(data).any() else "raise"
    settings = {"kernel": kernel_of(node, square), "noise_variance": NOISE * square, "max_iter": 24, **params}
    return lvm.GPLVM(missing=missing, **settings)


@pytest.fixture(scope="module")
def fitted():
    """Fits by (name of the kernel, whether entries are missing), made once."""
    models = {}

    def get(name, missing=False):
        if (name, missing) not in models:
            data = TRAIN_MISSING if missing else TRAIN
            models[name, missing] = new(KERNELS[name], data).fit(data)
        return models[name, missing]

    return get


@pytest.fixture(params=[*((name, False) for name in KERNELS), *((name, True) for name in FEW)], ids=str)
def model(request, fitted):
    return fitted(*request.param)


def bound_of(model):
    return tolerance(np.float64, N, condition(model.kernel_, model.embedding_, model.noise_variance_))


def assert_same(a, b):
    """Fitted attributes and kernels equal bit for bit."""
    for name in FITTED:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        assert np.asarray(getattr(a, name)).dtype == np.asarray(getattr(b, name)).dtype
    assert a.kernel_ == b.kernel_
    np.testing.assert_array_equal(a.transform(a.Y_train_[:2]), b.transform(a.Y_train_[:2]))


class TestFit:
    def test_loss_falls(self, model):
        assert np.isfinite(model.loss_curve_).all() and model.loss_curve_[-1] < model.loss_curve_[0]
        assert type(model.kernel_) is type(model.kernel) and model.kernel_ is not model.kernel
        assert list(model.kernel_.parameters) == list(model.kernel.parameters)

    def test_likelihood_is_that_of_the_fitted_parameters(self, model):
        Y = model.Y_train_ - model.mean_
        desired = log_likelihood(model.kernel_, model.embedding_, Y, model.noise_variance_ + model.jitter_)
        scale = np.isfinite(Y).sum()
        assert_near(model.log_marginal_likelihood_, desired, bound_of(model), scale=max(abs(desired), scale))

    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_the_callers_kernel_is_left_alone(self, optimizer):
        kernel = kernel_of(KERNELS["parts"])
        before = kernel.copy()
        lvm.GPLVM(kernel=kernel, optimizer=optimizer, max_iter=4).fit(TRAIN)
        assert kernel == before

    @pytest.mark.parametrize("optimizer", ["auto", "lbfgs", "adam"])
    def test_fixed_parameters_stay(self, optimizer):
        """In the units of Y, whose mean square is far from 1; the others move."""
        kernel = kernel_of(KERNELS["parts"]).fix("matern32.*", "periodic.period", "linear.variance")
        model = lvm.GPLVM(kernel=kernel, optimizer=optimizer, max_iter=12).fit(16 * TRAIN)
        for name, parameter in model.kernel_.parameters.items():
            start = kernel.parameters[name]
            assert parameter.fixed == start.fixed
            if start.fixed:
                np.testing.assert_allclose(parameter.value, start.value, rtol=tolerance(np.float64), err_msg=name)
            else:
                assert parameter.value != start.value

    def test_fixed_parameters_stay_when_a_fit_goes_on(self):
        kernel = kernel_of(KERNELS["rbf + linear"]).fix("rbf.variance")
        desired = lvm.GPLVM(kernel=kernel, optimizer="lbfgs", max_iter=12).fit(16 * TRAIN)
        model = lvm.GPLVM(kernel=kernel, optimizer="lbfgs", max_iter=6).fit(16 * TRAIN).resume(12)
        assert model.kernel_.parameters["rbf.variance"].value == desired.kernel_.parameters["rbf.variance"].value
        np.testing.assert_array_equal(model.embedding_, desired.embedding_)

    def test_all_fixed(self):
        """Only the latents and the noise move."""
        kernel = kernel_of(KERNELS["product of sums"]).fix()
        model = lvm.GPLVM(kernel=kernel, max_iter=12).fit(4 * TRAIN)
        for name, value in covariances.parameters(KERNELS["product of sums"]).items():
            fitted = model.kernel_.parameters[name].value
            np.testing.assert_allclose(fitted, value, rtol=tolerance(np.float64), err_msg=name)
        desired = log_likelihood(kernel, model.embedding_, 4 * TRAIN - model.mean_, model.noise_variance_)
        assert_near(model.log_marginal_likelihood_, desired, bound_of(model))

    @pytest.mark.parametrize("factor", [1.0, 64.0])
    @pytest.mark.parametrize("name", ["variance", "lengthscale"])
    def test_a_start_above_a_chosen_floor_is_kept(self, name, factor):
        """Twice the floor and more, in the units of the parameter: Y's squared, or the latents'."""
        kernel = kernels.RBF(3.0, 1.2).set_bijector(name, Softplus(0.5))
        model = lvm.GPLVM(kernel=kernel, optimizer="adam", learning_rate=1e-9, max_iter=1).fit(factor * TRAIN)
        assert_near(model.kernel_.variance, 3.0, 1e-6)
        assert_near(model.kernel_.lengthscale, 1.2, 1e-6)

    def test_a_start_barely_above_a_chosen_floor_is_kept(self):
        kernel = kernels.RBF(3.0, 1.2).set_bijector("lengthscale", Softplus(1.0))
        model = lvm.GPLVM(kernel=kernel, optimizer="adam", learning_rate=1e-9, max_iter=1).fit(TRAIN)
        assert_near(model.kernel_.lengthscale, 1.2, 1e-6)

    def test_a_floor_of_a_variance_is_in_the_units_of_the_observations(self):
        """Of a variance that nothing asks for: all is noise."""
        Y = 8 * np.random.default_rng(0).standard_normal((N, D))
        kernel = kernels.RBF(5.0, 1.0).set_bijector("variance", Softplus(1.0)).fix("lengthscale")
        model = lvm.GPLVM(kernel=kernel, init=np.zeros((N, 2)), max_iter=200).fit(Y)
        assert 1.0 <= model.kernel_.variance < 2.0

    @pytest.mark.parametrize("name", KERNELS)
    def test_units_of_the_observations(self, name):
        """2^3 Y with the kernel's variances times 2^6 is the same problem, to the last bit where 2^6 has its root."""
        factor = 8.0
        a = new(KERNELS[name], max_iter=16).fit(TRAIN)
        b = lvm.GPLVM(kernel=a.kernel.scaled(factor**2), noise_variance=factor**2 * a.noise_variance, max_iter=16).fit(
            factor * TRAIN
        )
        exact = name not in ("polynomial",)
        atol = 0 if exact else 1e-7
        np.testing.assert_allclose(b.embedding_, a.embedding_, rtol=0, atol=atol)
        for key, p in a.kernel_.scaled(factor**2).parameters.items():
            np.testing.assert_allclose(b.kernel_.parameters[key].value, p.value, rtol=atol, err_msg=key)
        np.testing.assert_allclose(b.noise_variance_, factor**2 * a.noise_variance_, rtol=atol)
        np.testing.assert_allclose(
            b.log_marginal_likelihood_, a.log_marginal_likelihood_ - TRAIN.size * np.log(factor), rtol=1e-9
        )
        X = a.embedding_[:3] + 0.1
        for p, q in zip(b.inverse_transform(X, return_std=True), a.inverse_transform(X, return_std=True), strict=True):
            np.testing.assert_allclose(p, factor * q, rtol=1e-6)

    def test_scaled_kernels(self, node):
        """k.scaled(f) = f k, and back."""
        X = np.random.default_rng(0).standard_normal((6, 2))
        kernel = kernel_of(node)
        for factor in (64.0, 0.3):
            scaled = kernel.scaled(factor)
            assert_near(scaled(X), factor * matrix(kernel, X), tolerance(np.float64, 8))
            assert kernel == kernel_of(node)
            back = scaled.scaled(1 / factor)
            for name, p in kernel.parameters.items():
                np.testing.assert_allclose(back.parameters[name].value, p.value, rtol=tolerance(np.float64))

    @pytest.mark.parametrize("name", FEW)
    def test_float32(self, name):
        Y = TRAIN.astype(np.float32)
        a, b = (new(KERNELS[name], optimizer="lbfgs", max_iter=6).fit(y) for y in (TRAIN, Y))
        assert b.embedding_.dtype == np.float32
        np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=0, atol=1e-3 * np.abs(a.loss_curve_).max())
        desired = log_likelihood(b.kernel_, b.embedding_, Y.astype(float) - b.mean_, b.noise_variance_ + b.jitter_)
        bound = tolerance(np.float32, N, condition(b.kernel_, b.embedding_, b.noise_variance_))
        assert_near(b.log_marginal_likelihood_, desired, bound, scale=max(Y.size, abs(desired)))

    def test_three_components(self):
        node = Sum([RBF((0, 2)), leaf("Matern32", (1,), variance=0.5, lengthscale=1.0), WHITE])
        model = new(node, n_components=3, max_iter=10).fit(TRAIN)
        assert model.embedding_.shape == (N, 3)
        desired = log_likelihood(model.kernel_, model.embedding_, TRAIN - model.mean_, model.noise_variance_)
        assert_near(model.log_marginal_likelihood_, desired, bound_of(model), scale=TRAIN.size)

    def test_a_column_that_the_kernel_does_not_see_stays(self, fitted):
        start = Problem(TRAIN, center=True).initial_latents("pca", 2, np.random.default_rng(0))
        model = new(KERNELS["one column"], optimizer="lbfgs").fit(TRAIN)
        np.testing.assert_array_equal(model.embedding_[:, 0], start[:, 0])
        assert not np.array_equal(model.embedding_[:, 1], start[:, 1])


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "name"),
        [
            (lambda k: k.set_bounds("rbf.variance", 0.1, 10.0), "rbf.variance"),
            (lambda k: k.set_bounds("linear.variance", low=0.1), "linear.variance"),
            (lambda k: k.set_bounds("rbf.lengthscale", high=4.0), "rbf.lengthscale"),
            (lambda k: k.set_prior("rbf.lengthscale", priors.Gamma(2.0, 1.0)), "rbf.lengthscale"),
            (lambda k: k.fix().set_prior("linear.variance", priors.HalfNormal(1.0)), "linear.variance"),
        ],
    )
    def test_bounds_and_priors(self, change, name):
        kernel = change(kernels.RBF() + kernels.Linear())
        with pytest.raises(ValueError, match=f"kernel must have no bounds and no priors.*{name}"):
            lvm.GPLVM(kernel=kernel).fit(TRAIN)

    def test_what_is_taken_back_is_accepted(self):
        kernel = kernels.RBF().set_prior("variance", priors.HalfNormal(1.0)).set_bounds("lengthscale", 0.1, 2.0)
        kernel.set_prior("variance", None).set_bounds("lengthscale")
        lvm.GPLVM(kernel=kernel, max_iter=2).fit(TRAIN)

    @pytest.mark.parametrize(
        ("kernel", "part"),
        [
            (kernels.Matern32(1.0, [1.0, 1.0, 1.0]), "lengthscale"),
            (kernels.RBF() + kernels.Linear([1.0, 2.0, 3.0]), "variance"),
            (kernels.RBF() * kernels.Periodic(active_dims=[2]), "active_dims"),
            (kernels.Polynomial(degree=0), "degree"),
            (kernels.RBF(-1.0), "variance"),
        ],
    )
    def test_kernels_that_do_not_fit_two_components(self, kernel, part):
        with pytest.raises(ValueError, match=part):
            lvm.GPLVM(kernel=kernel).fit(TRAIN)

    @pytest.mark.parametrize("kernel", [kernels.Matern52, "matern52", 1.0, [kernels.RBF()]])
    def test_what_is_no_kernel(self, kernel):
        with pytest.raises(TypeError, match="kernel must be an lvmfast kernel"):
            lvm.GPLVM(kernel=kernel).fit(TRAIN)


# Predictions.


def latents(model):
    """At, between and off the training latents."""
    X = model.embedding_
    return np.vstack([X[:2], X[:1] + 0.2, 0.5 * (X[2:3] + X[4:5]), 3 * X[:1] + 1])


class TestPredictions:
    @pytest.mark.parametrize("include_noise", [False, True])
    def test_mean_and_deviation(self, model, include_noise):
        X = latents(model)
        mean, std = model.inverse_transform(X, return_std=True, include_noise=include_noise)
        desired, covariance = posterior(model, X)
        variance = np.diagonal(covariance, axis1=1, axis2=2).T + include_noise * model.noise_variance_
        prior = np.diagonal(matrix(model.kernel_, np.vstack([X, model.embedding_]))).max()
        assert_near(mean, desired, bound_of(model), scale=max(np.abs(desired).max(), np.nanmax(np.abs(model.Y_train_))))
        assert_near(std**2, variance, bound_of(model), scale=prior)
        np.testing.assert_array_equal(model.inverse_transform(X), mean)

    def test_density_of_rows(self, model):
        for Y in (TEST[:4], TEST_MISSING[:4]):
            density = [row_density(model, x, y) for x, y in zip(model.transform(Y), Y, strict=True)]
            np.testing.assert_allclose(model.score(Y), np.mean(density), rtol=0, atol=1e-8 * np.abs(density).max())

    @pytest.mark.parametrize("rows", [TEST[:4], TEST_MISSING[:4], TRAIN[:2]], ids=["complete", "missing", "training"])
    def test_no_latent_nearby_is_better(self, model, rows):
        """Nor is any training latent, as far as the search may start from it: the ten nearest reconstructions."""
        rng = np.random.default_rng(0)
        for x, y in zip(model.transform(rows), rows, strict=True):
            found = row_density(model, x, y)
            slack = 1e-6 * max(1.0, abs(found))
            for step in (1e-3, 1e-2):
                for shift in step * rng.standard_normal((4, 2)):
                    assert row_density(model, x + shift, y) <= found + slack
            rows_seen = ~np.isnan(y)
            reconstruction = posterior(model, model.embedding_)[0]
            distance = np.sum((reconstruction - y)[:, rows_seen] ** 2, axis=1)
            for start in model.embedding_[np.argsort(distance)[:3]]:
                assert row_density(model, start, y) <= found + slack

    @pytest.mark.parametrize("name", ["rbf + white + constant", "polynomial", "parts"])
    def test_columns_that_training_never_saw(self, name):
        """There the prior k(x, x) + noise holds; where it depends on x, it has a say in what the best latent is."""
        data = with_unseen(TRAIN)
        model = new(KERNELS[name], data).fit(data)
        X = model.transform(TEST[:4])
        density = [row_density(model, x, y) for x, y in zip(X, TEST, strict=False)]
        assert_near(model.score(TEST[:4]), np.mean(density), 1e-8)
        for x, y, found in zip(X, TEST, density, strict=False):
            for shift in 1e-2 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]):
                assert row_density(model, x + shift, y) <= found + 1e-6 * max(1.0, abs(found))

    @pytest.mark.parametrize("name", KERNELS)
    def test_deviation_of_latents(self, name, fitted):
        """std^2 is the diagonal of the inverse Hessian of -log p(y | x), by second differences of the oracle."""
        model = fitted(name)
        X, std = model.transform(TEST[:3], return_std=True)
        np.testing.assert_array_equal(X, model.transform(TEST[:3]))
        assert not np.isnan(std).any() and (std > 0).all()
        for x, s, y in zip(X, std, TEST, strict=False):
            if not np.isfinite(s).all() or name in ("matern12", "matern32", "product of sums", "parts"):
                continue  # a plateau, or a kernel without a second derivative everywhere
            h, H = 0.003 * s, np.empty((2, 2))
            for i in range(2):
                for j in range(2):
                    a, b = h[i] * np.eye(2)[i], h[j] * np.eye(2)[j]
                    corners = [
                        row_density(model, x + p * a + q * b, y) for p, q in ((1, 1), (1, -1), (-1, 1), (-1, -1))
                    ]
                    H[i, j] = -(corners[0] - corners[1] - corners[2] + corners[3]) / (4 * h[i] * h[j])
            np.testing.assert_allclose(np.sqrt(np.diagonal(np.linalg.inv(H))), s, rtol=5e-3)

    def test_rows_do_not_depend_on_their_batch(self, model):
        """Not by a bit: other orders, single rows, both sides of a chunk."""
        rng = np.random.default_rng(1)
        Y = np.vstack([np.repeat(TEST, 33, axis=0) + 0.1 * rng.standard_normal((264, D)), TEST_MISSING])
        X, std = model.transform(Y, return_std=True)
        order = rng.permutation(len(Y))
        X_shuffled, std_shuffled = model.transform(Y[order], return_std=True)
        np.testing.assert_array_equal(X_shuffled, X[order])
        np.testing.assert_array_equal(std_shuffled, std[order])
        for i in (0, 100, 255, 256, 263, 265):
            x, s = model.transform(Y[i : i + 1], return_std=True)
            np.testing.assert_array_equal(x, X[i : i + 1])
            np.testing.assert_array_equal(s, std[i : i + 1])
        mean = model.inverse_transform(X)
        np.testing.assert_array_equal(model.inverse_transform(X[order]), mean[order])
        for i in (0, 255, 256):
            np.testing.assert_array_equal(model.inverse_transform(X[i : i + 1]), mean[i : i + 1])

    @pytest.mark.parametrize("joint", [True, False])
    @pytest.mark.parametrize("include_noise", [True, False])
    @pytest.mark.parametrize("name", ["rbf + white + constant", "polynomial", "parts"])
    def test_moments_of_draws(self, name, joint, include_noise, fitted):
        """To five standard errors."""
        model, count = fitted(name), 4000
        X = latents(model)[1:]
        draws = model.sample(X, count, joint=joint, include_noise=include_noise, random_state=0)
        assert draws.shape == (count, len(X), D)
        mean, covariance = posterior(model, X)
        covariance = covariance if joint else covariance * np.eye(len(X))
        covariance = covariance + include_noise * model.noise_variance_ * np.eye(len(X))
        for d in range(D):
            spread = np.diagonal(covariance[d])
            floor = 1e-6 * spread.max()
            error = np.abs(draws[:, :, d].mean(axis=0) - mean[:, d])
            assert (error < 5 * np.sqrt(spread / count) + floor).all()
            error = np.abs(np.cov(draws[:, :, d].T) - covariance[d])
            assert (error < 5 * np.sqrt((np.outer(spread, spread) + covariance[d] ** 2) / count) + floor).all()

    @pytest.mark.parametrize("name", KERNELS)
    def test_source_of_draws(self, name, fitted):
        model = fitted(name)
        X = latents(model)
        draw = partial(model.sample, X, 2)
        np.testing.assert_array_equal(draw(random_state=3), draw(random_state=np.random.default_rng(3)))
        assert np.isfinite(draw(random_state=3)).all()
        assert not np.array_equal(draw(random_state=3), draw(random_state=4))


# Copies and files.


def every_setting():
    """A kernel of some depth in which everything that a GPLVM allows is set."""
    kernel = kernels.Product(
        kernels.RBF(1.5, [0.7, 1.3], active_dims=[1, 0]) + kernels.Polynomial(0.2, 0.4, 2) + kernels.White(0.1),
        kernels.Constant(1.2)
        + kernels.RationalQuadratic(0.5, 1.1, 0.8) * kernels.Periodic(0.9, 1.3, [2.0, 3.0])
        + kernels.RBF(0.3, 2.0, active_dims=(0,)),
    )
    kernel.fix("polynomial.offset", "periodic.period", "rbf.lengthscale")
    kernel.set_bijector("rationalquadratic.alpha", Softplus(0.25))
    return kernel.set_bijector("rbf_2.lengthscale", Softplus(0.5))


def assert_same_kernels(a, b):
    """Structure, values and all settings; `==` too."""
    assert type(a) is type(b) and list(a.parameters) == list(b.parameters)
    for (name, p), q in zip(a.parameters.items(), b.parameters.values(), strict=True):
        assert np.shape(p.value) == np.shape(q.value), name
        np.testing.assert_array_equal(p.value, q.value, err_msg=name)
        assert (p.fixed, p.bounds, p.prior, p.bijector) == (q.fixed, q.bounds, q.prior, q.bijector), name
    for x, z in zip(a._leaves(), b._leaves(), strict=True):
        assert type(x) is type(z) and getattr(x, "degree", None) == getattr(z, "degree", None)
        dims = [None if k.active_dims is None else list(k.active_dims) for k in (x, z)]
        assert dims[0] == dims[1]
    assert a == b


HOW = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.fixture(scope="module")
def whole():
    """A fit of 14 iterations that was never stopped."""
    return lvm.GPLVM(kernel=every_setting(), optimizer="lbfgs", max_iter=14, tol=0.0).fit(TRAIN)


class TestCopies:
    def stopped(self, **params):
        settings = {"kernel": every_setting(), "optimizer": "lbfgs", "max_iter": 14, "tol": 0.0, **params}
        return lvm.GPLVM(**settings, callback=lambda status: status.iteration == 6).fit(TRAIN)

    def test_settings_outlive_a_fit(self, whole):
        for name, p in every_setting().parameters.items():
            q = whole.kernel_.parameters[name]
            assert (p.fixed, p.bounds, p.prior, p.bijector) == (q.fixed, q.bounds, q.prior, q.bijector)

    def test_save_and_load(self, whole, tmp_path):
        whole.save(tmp_path / "m")
        loaded = lvm.GPLVM.load(tmp_path / "m")
        assert_same_kernels(loaded.kernel, whole.kernel)
        assert_same_kernels(loaded.kernel_, whole.kernel_)
        assert_same(loaded, whole)
        assert loaded.score(TEST) == whole.score(TEST)
        np.testing.assert_array_equal(
            loaded.sample(TEST[:3, :2], random_state=0), whole.sample(TEST[:3, :2], random_state=0)
        )
        assert_same(loaded.fit(TRAIN), whole)

    @pytest.mark.parametrize("name", KERNELS)
    def test_save_and_load_any_kernel(self, name, fitted, tmp_path):
        model = fitted(name)
        model.save(tmp_path / "m")
        loaded = lvm.GPLVM.load(tmp_path / "m")
        assert_same_kernels(loaded.kernel, model.kernel)
        assert_same_kernels(loaded.kernel_, model.kernel_)
        assert_same(loaded, model)

    @pytest.mark.parametrize(
        "change",
        [
            lambda k: k.fix("variance").free("variance"),
            lambda k: k.set_bounds("variance"),
            lambda k: k.set_prior("variance", priors.HalfNormal(1.0)).set_prior("variance", None),
            lambda k: k.set_bijector("variance", Exp()),
        ],
        ids=["free", "bounds", "prior", "bijector"],
    )
    def test_settings_that_are_the_default(self, change, tmp_path):
        """Said or not, they are the same, also after a file."""
        kernel = change(kernels.RBF(1.5, 0.7))
        model = lvm.GPLVM(kernel=kernel, max_iter=4).fit(TRAIN)
        model.save(tmp_path / "m")
        loaded = lvm.GPLVM.load(tmp_path / "m")
        assert kernel == kernels.RBF(1.5, 0.7)
        assert_same_kernels(loaded.kernel, kernel)
        assert_same_kernels(loaded.kernel_, model.kernel_)

    @pytest.mark.parametrize("how", HOW.values(), ids=HOW)
    def test_copies_go_on_to_the_same_bits(self, how, whole):
        model = self.stopped()
        assert model.n_iter_ == 6
        model.set_params(callback=None)
        twin = how(model)
        assert_same_kernels(twin.kernel, model.kernel)
        assert_same_kernels(twin.kernel_, model.kernel_)
        assert_same(twin, model)
        assert_same(twin.resume(), whole)

    def test_files_go_on_to_the_same_bits(self, whole, tmp_path):
        model = self.stopped()
        model.set_params(callback=None).save(tmp_path / "m")
        assert_same(lvm.GPLVM.load(tmp_path / "m").resume(), whole)

    @pytest.mark.parametrize("optimizer", ["auto", "adam"])
    @pytest.mark.parametrize("name", FEW)
    def test_resume(self, name, optimizer, tmp_path):
        settings = {"optimizer": optimizer, "max_iter": 16, "tol": 0.0}
        for data in (TRAIN, TRAIN_MISSING):
            desired = new(KERNELS[name], data, **settings).fit(data)
            for stop in (3, 9):
                model = new(KERNELS[name], data, **settings, callback=lambda s, at=stop: s.iteration == at).fit(data)
                assert model.n_iter_ == stop
                model.set_params(callback=None).save(tmp_path / "m")
                assert_same(model.resume(), desired)
                assert_same(lvm.GPLVM.load(tmp_path / "m").resume(), desired)

    def test_clone(self, whole):
        twin = clone(whole)
        assert_same_kernels(twin.kernel, whole.kernel)
        assert twin.kernel is not whole.kernel and not hasattr(twin, "kernel_")
        twin.kernel.parameters["constant.variance"] = 9.0
        assert_same_kernels(whole.kernel, every_setting())

    def test_parameters_by_name(self):
        model = lvm.GPLVM(kernel=kernels.RBF() + kernels.Linear())
        assert model.get_params(deep=False)["kernel"] is model.kernel
        model.set_params(**{"kernel__linear.variance": 0.25, "max_iter": 3})
        assert model.kernel.parameters["linear.variance"].value == 0.25 and model.max_iter == 3


class TestFormat1:
    """Files from when RBF was the only kernel: no record of kernels, only the arrays of their values."""

    def older(self, path):
        """Rewrites a file of today, whose kernels are plain RBFs, as it was written then."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes().decode())
        assert header["format"] == 2
        header["format"] = 1
        del header["kernels"]
        with open(path, "wb") as file:
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
        return set(arrays)

    @pytest.mark.parametrize(
        "kernel", [None, kernels.RBF(0.5, 1.5), kernels.RBF(0.5, [1.0, 1.5])], ids=["none", "scalar", "ard"]
    )
    def test_load(self, kernel, tmp_path):
        model = lvm.GPLVM(kernel=kernel, max_iter=6, tol=0.0).fit(TRAIN)
        model.save(tmp_path / "m")
        names = self.older(tmp_path / "m")
        assert {"kernel_.variance", "kernel_.lengthscale"} <= names
        assert ({"kernel.variance", "kernel.lengthscale"} <= names) == (kernel is not None)
        loaded = lvm.GPLVM.load(tmp_path / "m")
        assert_same(loaded, model)
        if kernel is None:
            assert loaded.kernel is None
        else:
            assert_same_kernels(loaded.kernel, kernel)
        assert_same(loaded.resume(9), model.resume(9))
        loaded.save(tmp_path / "again")
        assert_same(lvm.GPLVM.load(tmp_path / "again"), model)


# The limit in which the model is probabilistic principal component analysis.


@dataclasses.dataclass
class PPCA:
    """Maximum likelihood of N(y_d | 0, X X^T + v I), y_d the D centred columns: Lawrence (2005), section 2.3.

    With the eigenvalues l_1 >= l_2 >= ... of Y Y^T / D: v is the mean of those after the first q, X X^T has the first
    q eigenvectors with eigenvalues l_i - v.
    """

    Y: np.ndarray
    q: int

    def __post_init__(self):
        self.values, self.vectors = np.linalg.eigh(self.Y @ self.Y.T / self.Y.shape[1])
        self.values, self.vectors = self.values[::-1], self.vectors[:, ::-1]
        self.noise = self.values[self.q :].mean()
        self.span = self.vectors[:, : self.q]
        self.covariance = (self.span * (self.values[: self.q] - self.noise)) @ self.span.T

    @property
    def log_likelihood(self):
        n, d = self.Y.shape
        determinant = np.log(self.values[: self.q]).sum() + (n - self.q) * np.log(self.noise)
        return -0.5 * d * (n * LOG_2PI + determinant + n)


class TestLinearKernel:
    def data(self, center=True):
        rng = np.random.default_rng(7)
        Y = rng.standard_normal((18, 2)) * [3.0, 1.5] @ rng.standard_normal((2, 12)) + 0.5 * rng.standard_normal(
            (18, 12)
        )
        return Y + 5.0 * rng.standard_normal(12) if center else Y

    @pytest.mark.parametrize("kernel", [None, "fixed", "ard"])
    @pytest.mark.parametrize("init", ["pca", "random"])
    @pytest.mark.parametrize("center", [True, False])
    def test_closed_form_is_reached(self, center, init, kernel):
        Y = self.data(center)
        linear = kernels.Linear(np.array([1.0, 0.5]) if kernel == "ard" else 1.0)
        if kernel == "fixed":
            linear.fix()
        settings = {"init": init, "random_state": 0, "center": center, "tol": 1e-9, "max_iter": 2000}
        model = lvm.GPLVM(2, kernel=linear, **settings).fit(Y)
        Y_bar = Y - Y.mean(axis=0) if center else Y
        ppca = PPCA(Y_bar, 2)
        assert_near(model.log_marginal_likelihood_, ppca.log_likelihood, 1e-4 / 12, scale=12)  # nats per column
        assert model.log_marginal_likelihood_ <= ppca.log_likelihood + 1e-6
        assert_near(model.noise_variance_, ppca.noise, 1e-2)
        assert_near(model.kernel_(model.embedding_), ppca.covariance, 1e-2)
        Q = np.linalg.qr(model.embedding_)[0]
        cosines = np.linalg.svd(Q.T @ ppca.span, compute_uv=False)
        assert cosines.min() > 1 - 1e-4

    def test_projection_is_that_of_principal_components(self):
        """Training rows come back as (K (K + v I)^-1 Y), the shrunken projection."""
        Y = self.data()
        model = lvm.GPLVM(2, kernel=kernels.Linear(), tol=1e-9, max_iter=2000).fit(Y)
        ppca = PPCA(Y - Y.mean(axis=0), 2)
        shrink = 1 - ppca.noise / ppca.values[:2]
        desired = Y.mean(axis=0) + (ppca.span * shrink) @ ppca.span.T @ (Y - Y.mean(axis=0))
        assert_near(model.inverse_transform(model.embedding_), desired, 1e-2)
        # A new row's best latent is not that of a training row, which counts twice; their order is.
        X = model.transform(Y)
        assert abs(np.corrcoef(X[:, 0], model.embedding_[:, 0])[0, 1]) > 0.999

    def test_polynomial_of_degree_one_is_linear_with_a_constant(self):
        Y = self.data()
        init = np.random.default_rng(3).standard_normal((18, 2))
        a, b = (
            lvm.GPLVM(2, kernel=kernel, init=init, max_iter=8).fit(Y)
            for kernel in (kernels.Polynomial(1.0, 0.5, 1), kernels.Linear(1.0) + kernels.Constant(0.5))
        )
        np.testing.assert_allclose(a.embedding_, b.embedding_, rtol=0, atol=1e-8)
        np.testing.assert_allclose(a.log_marginal_likelihood_, b.log_marginal_likelihood_, rtol=1e-9)

    def test_white_is_noise(self):
        """RBF + White and RBF with as much more noise are one model of the training data."""
        X = np.random.default_rng(3).standard_normal((N, 2))
        problem = Problem(TRAIN, center=True)
        a = problem.objective(kernels.RBF() + kernels.White(), 2, 0.0)
        b = problem.objective(kernels.RBF(), 2, 0.0)
        value, gradient = a(a.pack(X, 0.25, kernels.RBF(0.8, 1.1) + kernels.White(0.15)))
        other, other_gradient = b(b.pack(X, 0.4, kernels.RBF(0.8, 1.1)))
        bound = tolerance(np.float64, N, 1 + N * 0.8 / 0.4)
        assert_near(value, other, bound)
        assert_near(gradient[: X.size], other_gradient[: X.size], bound)
