"""Acquisition functions: their values against quadrature, 60 digits and brute force, their gradients by differences."""

from __future__ import annotations

import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from hypothesis import given
from hypothesis import strategies as st
from reference import bayesopt as oracle
from reference import covariances, gpr
from reference.covariances import Leaf, Product, Sum

import lvmfast as lvm
from lvmfast import bayesopt
from lvmfast.bayesopt._analytic import log_improvement
from lvmfast.bayesopt._monte_carlo import sobol_normals
from lvmfast.bayesopt._surrogate import Surrogate

N, D, NOISE = 12, 2, 0.05
BOUNDS = [(-2.0, 2.0)] * D
NODES = {
    "matern52": Leaf("Matern52", {"variance": 1.3, "lengthscale": np.array([0.9, 1.6])}),
    "sum": Sum(
        (
            Leaf("RBF", {"variance": 0.8, "lengthscale": 1.1}),
            Leaf("Linear", {"variance": 0.4}),
            Leaf("White", {"variance": 0.2}),
        )
    ),
}


WHITE = {"matern52": 0.0, "sum": 0.2}  # noise of the observations, no part of the function


def trend(X):
    return 0.5 + X[:, 0] ** 2


def data(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (N, D))
    return X, 0.7 + np.sin(X @ rng.standard_normal(D)) + 0.2 * rng.standard_normal(N)


def pair(node="matern52", mean="constant", y_add=0.0):
    """A model and its oracle."""
    X, y = data()
    kernel = covariances.build(NODES[node], lvm.kernels)
    model = lvm.GPR(kernel, mean=mean, noise_variance=NOISE, optimizer=None).fit(X, y + y_add)
    return model, gpr.GP(partial(covariances.matrix, NODES[node]), X, y + y_add, NOISE, mean)


MODEL, GP = pair()
PLACES = np.random.default_rng(3).uniform(-2, 2, (6, D))
CONDITION = float(np.trace(gpr.noisy_covariance(GP)) / NOISE)
NEAR = tolerance(np.float64, N, CONDITION)


def moments(X):
    """The oracle's mean and variance at X, float64."""
    mean, covariance = gpr.predict(GP, X)
    return mean.astype(float), np.diag(covariance).astype(float)


# What is asked of the model.


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("mean", ["constant", "linear", trend], ids=["constant", "linear", "callable"])
@pytest.mark.parametrize("p", [0, 2])
def test_joint_posterior(node, mean, p):
    model, gp = pair(node, mean)
    surrogate = Surrogate(model)
    X, fixed = np.random.default_rng(1).uniform(-2, 2, (4, 3, D)), PLACES[:p]
    held = surrogate.fixed_points(fixed) if p else None
    joint = surrogate.joint(X, held)
    for k, points in enumerate(X):
        expected, covariance = gpr.predict(gp, np.vstack([fixed, points]))
        assert_near(joint.mean[k], expected, NEAR, scale=5.0)
        assert_near(joint.covariance[k], covariance - WHITE[node] * np.eye(p + 3), NEAR, scale=5.0)
    rng = np.random.default_rng(2)
    mean_bar, covariance_bar = rng.standard_normal(joint.mean.shape), rng.standard_normal(joint.covariance.shape)

    def total(X):
        joint = surrogate.joint(X, held)
        return np.sum(mean_bar * joint.mean) + np.sum(covariance_bar * joint.covariance)

    assert_near(joint.pull(mean_bar, covariance_bar), differences(total, X), tolerance(np.float64, N, DIFFERENCE))


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("mean", ["constant", "linear", trend], ids=["constant", "linear", "callable"])
def test_marginals(node, mean):
    model, gp = pair(node, mean)
    surrogate = Surrogate(model)
    expected, covariance = gpr.predict(gp, PLACES)
    value, variance = surrogate.mean_and_variance(PLACES)
    assert_near(value, expected, NEAR, scale=5.0)
    assert_near(variance, np.diag(covariance) - WHITE[node], NEAR, scale=5.0)
    d_mean, d_variance = surrogate.gradients(PLACES)
    near = tolerance(np.float64, N, DIFFERENCE)
    assert_near(d_mean, differences(lambda X: surrogate.mean_and_variance(X)[0].sum(), PLACES), near)
    assert_near(d_variance, differences(lambda X: surrogate.mean_and_variance(X)[1].sum(), PLACES), near)


def test_views_are_taken_as_they_lie():
    surrogate = Surrogate(MODEL)
    wide = np.random.default_rng(7).uniform(-2, 2, (4, 3, D))
    for a, b in zip(surrogate.gradients(wide[:, 1]), surrogate.gradients(wide[:, 1].copy()), strict=True):
        np.testing.assert_array_equal(a, b)
    view = np.ascontiguousarray(wide.swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_array_equal(surrogate.joint(view).covariance, surrogate.joint(wide).covariance)


def test_many_candidates_are_taken_in_turns(monkeypatch):
    surrogate = Surrogate(MODEL)
    whole = surrogate.mean_and_variance(PLACES)
    monkeypatch.setattr("lvmfast.bayesopt._surrogate.TILE", 2 * N)
    for a, b in zip(surrogate.mean_and_variance(PLACES), whole, strict=True):
        assert_near(a, b, NEAR)
    several = bayesopt.MonteCarloExpectedImprovement(MODEL, BOUNDS, q=2)
    whole = several(PLACES.reshape(3, 2, D))
    monkeypatch.setattr("lvmfast.bayesopt._monte_carlo.CHUNK", 1)
    assert_near(several(PLACES.reshape(3, 2, D)), whole, NEAR)


# Closed forms.


@pytest.mark.parametrize("best", [None, 0.3, -1.0])
@pytest.mark.parametrize("xi", [0.0, 0.1])
def test_expected_improvement_is_the_integral(best, xi):
    ours = bayesopt.ExpectedImprovement(MODEL, BOUNDS, best=best, xi=xi)
    mean, variance = moments(PLACES)
    if best is None:
        best = float(np.min(gpr.predict(GP, GP.X)[0]))
        assert_near(ours.best, best, NEAR)
    expected = [oracle.expected_improvement(m, v, best - xi) for m, v in zip(mean, variance, strict=True)]
    assert_near(ours(PLACES), expected, 10 * NEAR)


def test_default_best_is_a_mean_not_an_observation():
    X, y = data()
    y[4] -= 3.0  # an outlier, which the noise explains
    model = lvm.GPR(lvm.kernels.RBF(lengthscale=2.0), noise_variance=1.0, optimizer=None).fit(X, y)
    ours = bayesopt.ExpectedImprovement(model, BOUNDS)
    assert ours.best == pytest.approx(model.predict(X).min(), abs=NEAR)
    assert ours.best > y.min() + 1.0


def test_log_improvement_against_sixty_digits():
    z = np.concatenate(
        [
            -np.logspace(8, -2, 60),
            [-20.0, np.nextafter(-20, -21), -1.0, np.nextafter(-1, -2), 0.0],
            np.logspace(-2, 1.477, 20),
        ]
    )
    expected = np.array([[float(part) for part in oracle.log_improvement(x)] for x in z]).T
    for actual, exact, cancelled in zip(log_improvement(z), expected, (1.0, 400.0, 400.0), strict=True):
        np.testing.assert_allclose(actual, exact, rtol=tolerance(np.float64, 1, cancelled), atol=tolerance(np.float64))


def test_log_ei_is_the_logarithm_where_ei_is_a_number():
    gaps = np.array([2.0, 0.1, 0.0, -0.5, -3.0, -8.0])
    mean, variance = moments(PLACES[:1])
    for best in mean + gaps:
        ei = bayesopt.ExpectedImprovement(MODEL, BOUNDS, best=best)
        logarithm = bayesopt.LogExpectedImprovement(MODEL, BOUNDS, best=best)
        np.testing.assert_allclose(logarithm(PLACES[:1]), np.log(ei(PLACES[:1])), rtol=1e-12, atol=1e-12)
        value, gradient = ei.value_and_gradient(PLACES[:1])
        assert_near(logarithm.value_and_gradient(PLACES[:1])[1], gradient / value, 1e-12)


@pytest.mark.parametrize("best", [-40.0, -1e3, -1e6])
def test_log_ei_where_ei_underflows(best):
    ours = bayesopt.LogExpectedImprovement(MODEL, BOUNDS, best=best)
    if best < -100:
        assert not bayesopt.ExpectedImprovement(MODEL, BOUNDS, best=best)(PLACES).any()
    value, gradient = ours.value_and_gradient(PLACES)
    expected = [oracle.log_expected_improvement(m, v, best) for m, v in zip(*moments(PLACES), strict=True)]
    assert max(expected) < -690  # EI < 1e-300
    assert_near(value, np.array(expected, float), NEAR * 10)
    assert np.isfinite(gradient).all() and gradient.any(axis=1).all()


def test_probability_and_bound():
    mean, variance = moments(PLACES)
    ours = bayesopt.ProbabilityOfImprovement(MODEL, BOUNDS, best=0.4, xi=0.1)
    expected = [oracle.probability_of_improvement(m, v, 0.3) for m, v in zip(mean, variance, strict=True)]
    assert_near(ours(PLACES), expected, 10 * NEAR)
    ours = bayesopt.LowerConfidenceBound(MODEL, BOUNDS, kappa=2.5)
    assert_near(ours(PLACES), 2.5 * np.sqrt(variance) - mean, 10 * NEAR)


@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e3), st.floats(-1e3, 1e3))
def test_bounds_of_expected_improvement(mean, std, best):
    """max(gain, 0) <= EI <= max(gain, 0) + s phi(0), and EI = gain + E max(f - best, 0)."""
    ours = bayesopt.ExpectedImprovement(MODEL, BOUNDS, best=best)
    value, by_mean, by_variance = (float(a[0]) for a in ours._formula(np.array([mean]), np.array([std**2])))
    slack = tolerance(np.float64) * (abs(best - mean) + std)
    assert max(best - mean, 0.0) - slack <= value <= max(best - mean, 0.0) + 0.3989423 * std + slack
    assert -1.0 - slack <= by_mean <= 0.0 <= by_variance
    other = bayesopt.ExpectedImprovement(MODEL, BOUNDS, best=-best)
    assert abs(value - (best - mean) - float(other._formula(np.array([-mean]), np.array([std**2]))[0][0])) <= slack


@pytest.mark.parametrize("best", [1.0, 0.0, -1.0])
def test_where_nothing_is_uncertain(best):
    """A linear function through the origin is 0 there, whatever the data."""
    X, y = data()
    model = lvm.GPR(lvm.kernels.Linear(), mean="zero", noise_variance=0.1, optimizer=None).fit(X, y)
    origin = np.zeros((1, D))
    gain = max(best, 0.0)
    expected = {
        bayesopt.ExpectedImprovement: gain,
        bayesopt.LogExpectedImprovement: 0.0 if gain else -np.inf,
        bayesopt.ProbabilityOfImprovement: 1.0 if gain else 0.0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind, value in expected.items():
            ours = kind(model, BOUNDS, best=best)
            actual, gradient = ours.value_and_gradient(origin)
            assert actual[0] == value and np.isfinite(gradient).all()
            assert ours(origin)[0] == value
        actual, gradient = bayesopt.LowerConfidenceBound(model, BOUNDS).value_and_gradient(origin)
    assert actual[0] == 0.0
    assert_near(gradient, -Surrogate(model).gradients(origin)[0], NEAR)


@pytest.mark.parametrize("shift", [-30.0, 1000.0])
def test_a_constant_added_to_y_changes_nothing(shift):
    moved = pair(y_add=shift)[0]
    for kind in (
        bayesopt.ExpectedImprovement,
        bayesopt.LogExpectedImprovement,
        bayesopt.ProbabilityOfImprovement,
        partial(bayesopt.MonteCarloExpectedImprovement, q=1),
    ):
        ours, other = kind(MODEL, BOUNDS), kind(moved, BOUNDS)
        assert_near(other(PLACES), ours(PLACES), NEAR * abs(shift))
        at, there = (a.maximize(random_state=0, n_candidates=256) for a in (ours, other))
        np.testing.assert_allclose(there.x, at.x, atol=1e-4)


# Several points.


def several(q, **options):
    return bayesopt.MonteCarloExpectedImprovement(MODEL, BOUNDS, q=q, **options)


def test_one_point_is_expected_improvement():
    expected = bayesopt.ExpectedImprovement(MODEL, BOUNDS)(PLACES)
    assert_near(several(1, n_samples=4096)(PLACES), expected, 0.01)
    assert_near(several(1, n_samples=4096)(PLACES[:, None]), expected, 0.01)


@pytest.mark.parametrize("p", [0, 2])
def test_several_points_against_brute_force(p, rng):
    """Within five standard errors of it, and the hundredth of a standard deviation that 4096 Sobol' points leave."""
    X, pending = PLACES[:3], PLACES[3 : 3 + p]
    ours = several(3, n_samples=4096, best=0.2, pending=pending if p else None)
    mean, covariance = gpr.predict(GP, np.vstack([pending, X]))
    expected, error = oracle.joint_improvement(mean, covariance, 0.2, 200_000, rng)
    assert abs(ours(X[None])[0] - expected) < 5 * error + 0.002


def test_a_point_twice_gains_nothing():
    x = PLACES[:1]
    alone = several(1, n_samples=2048)(x)[0]
    twice = several(2, n_samples=2048)(np.stack([x, x], axis=1))
    assert_near(twice, [alone], 0.01)
    ours = several(1, n_samples=2048, pending=x)
    assert_near(ours(x), [alone], 0.01)
    assert several(1, pending=np.empty((0, D)))(x) == several(1)(x)
    value, gradient = several(3).value_and_gradient(np.tile(x, (1, 3, 1)))
    assert np.isfinite(value).all() and np.isfinite(gradient).all()


def test_draws_are_common_and_depend_on_the_seed():
    X = PLACES.reshape(3, 2, D)
    values = several(2)(X)
    np.testing.assert_allclose([several(2)(x[None])[0] for x in X], values, rtol=1e-9)
    assert not np.allclose(several(2, random_state=1)(X), values)
    assert np.isfinite(several(2, n_samples=100)(X)).all()
    draws = sobol_normals(1024, 3, np.random.default_rng(0))
    assert np.abs(draws.mean(axis=0)).max() < 0.01
    assert_near(np.cov(draws.T), np.eye(3), 0.02)


def test_what_is_climbed_bounds_the_value():
    X = np.random.default_rng(8).uniform(-2, 2, (20, 2, D))
    for best in (0.2, -1.0, -8.0):
        ours = several(2, best=best)
        value, bound = ours(X), ours._objective(X)[0]
        assert np.isfinite(bound).all()
        slack = 1e-6 * np.sqrt(1.3)
        assert (value <= np.exp(bound) * (1 + 1e-9)).all() and (np.exp(bound) <= value + slack).all()
    assert not value.any() and ours._objective(X)[1].any(axis=(1, 2)).all()


# Functions drawn from the posterior.

PATHS = {
    **NODES,
    "constant": Leaf("Constant", {"variance": 0.7}),
    "linear": Leaf("Linear", {"variance": 0.7}),
    "polynomial": Leaf("Polynomial", {"variance": 0.7, "offset": 0.4}, degree=3),
    "product": Product(
        (
            Leaf("Matern52", {"variance": 0.6, "lengthscale": 1.2}),
            Sum((Leaf("Linear", {"variance": 0.8}), Leaf("Constant", {"variance": 0.5}))),
            Leaf("Polynomial", {"variance": 0.3, "offset": 1.0}, degree=2),
        )
    ),
}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("outputs", [0, 2])
def test_gradient_of_a_path(name, outputs):
    X, y = data()
    Y = np.stack([y, y**2], axis=1) if outputs else y
    model = lvm.GPR(covariances.build(PATHS[name], lvm.kernels), noise_variance=NOISE, optimizer=None).fit(X, Y)
    paths = model.pathwise_samples(3, n_features=64, random_state=0)
    gradient = paths.gradient(PLACES)
    shape = (2,) if outputs else ()
    assert gradient.shape == (3, *PLACES.shape, *shape)
    for s in range(3):
        for c in np.ndindex(*shape):
            expected = differences(lambda X, at=(s, slice(None), *c): paths(X)[at].sum(), PLACES)
            assert_near(gradient[(s, ..., *c)], expected, tolerance(np.float64, 64, DIFFERENCE), scale=5.0)


@pytest.mark.parametrize("mean", ["zero", "linear", trend], ids=["zero", "linear", "callable"])
def test_gradient_of_a_path_with_a_mean(mean, monkeypatch):
    model = pair(mean=mean)[0]
    path = model.pathwise_samples(1, n_features=64, random_state=0)
    gradient = path.gradient(PLACES)
    near = tolerance(np.float64, 64, DIFFERENCE)
    assert_near(gradient[0], differences(lambda X: path(X).sum(), PLACES), near)
    monkeypatch.setattr("lvmfast.models._gpr_paths.CHUNK", 1)
    assert_near(path.gradient(PLACES), gradient, NEAR)
    with pytest.raises(ValueError, match="X must have 2 columns"):
        path.gradient(np.zeros((1, 3)))


def test_thompson_sampling_is_minus_a_path():
    ours = bayesopt.ThompsonSampling(MODEL, BOUNDS, n_samples=3, n_features=256, random_state=1)
    X = PLACES.reshape(2, 3, D)
    value = ours(X)
    assert_near(value, -sum(path(X[:, s])[0] for s, path in enumerate(ours.paths)), NEAR)
    assert_near(value, sum(one(X[:, s]) for s, one in enumerate(ours.separate())), NEAR)
    np.testing.assert_array_equal(
        bayesopt.ThompsonSampling(MODEL, BOUNDS, n_samples=3, n_features=256, random_state=1)(X), value
    )
    assert len({float(path(PLACES[:1])[0, 0]) for path in ours.paths}) == 3


def test_paths_of_a_float32_model_are_float64():
    X, y = data()
    model = lvm.GPR(lvm.kernels.RBF(), optimizer=None).fit(X.astype(np.float32), y.astype(np.float32))
    for ours in (bayesopt.ThompsonSampling(model, BOUNDS), bayesopt.ExpectedImprovement(model, BOUNDS)):
        value, gradient = ours.value_and_gradient(PLACES.astype(np.float32))
        assert value.dtype == gradient.dtype == np.float64
        expected = differences(lambda X, ours=ours: ours(X).sum(), PLACES.astype(np.float32))
        assert_near(gradient, expected, tolerance(np.float64, 1024, DIFFERENCE))


# All of them.

ALL = {
    "ei": bayesopt.ExpectedImprovement,
    "ei of a number": partial(bayesopt.ExpectedImprovement, best=0.5, xi=0.2),
    "log ei": bayesopt.LogExpectedImprovement,
    "pi": bayesopt.ProbabilityOfImprovement,
    "lcb": bayesopt.LowerConfidenceBound,
    "mean": partial(bayesopt.LowerConfidenceBound, kappa=0.0),
    "thompson": bayesopt.ThompsonSampling,
    "thompson of 3": partial(bayesopt.ThompsonSampling, n_samples=3, n_features=64),
    "q ei of 1": partial(bayesopt.MonteCarloExpectedImprovement, q=1),
    "q ei of 3": partial(bayesopt.MonteCarloExpectedImprovement, q=3, best=0.5),
    "q ei of 3 with pending": partial(
        bayesopt.MonteCarloExpectedImprovement, q=3, best=0.5, pending=[[0.0, 0.5], [-1.0, 1.0]]
    ),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("node", NODES)
def test_gradients_by_differences(name, node):
    ours = ALL[name](pair(node)[0], BOUNDS)
    X = np.random.default_rng(5).uniform(-2, 2, (4, ours.q, D))
    given = X[:, 0].copy() if ours.q == 1 else X.copy()
    before = given.copy()
    value, gradient = ours.value_and_gradient(given)
    np.testing.assert_array_equal(given, before)
    assert value.shape == (4,) and gradient.shape == given.shape
    near = tolerance(np.float64, 64, DIFFERENCE)
    np.testing.assert_array_equal(ours(given), value)
    assert_near(gradient, differences(lambda X: ours(X).sum(), given), near)
    climbed, slope = ours._objective(X)
    np.testing.assert_allclose(ours._objective_value(X), climbed, rtol=1e-12)
    for k in range(len(X)):
        assert_near(slope[k], differences(lambda x: ours._objective_value(x[None])[0], X[k]), 100 * near)


@pytest.mark.parametrize("name", ALL)
def test_no_candidates(name):
    ours = ALL[name](MODEL, BOUNDS)
    shape = (0, D) if ours.q == 1 else (0, ours.q, D)
    value, gradient = ours.value_and_gradient(np.empty(shape))
    assert value.shape == ours(np.empty(shape)).shape == (0,) and gradient.shape == shape


EVERY = {
    **ALL,
    "kg": partial(bayesopt.KnowledgeGradient, n_fantasies=8),
    "kg of 2": partial(bayesopt.KnowledgeGradient, n_fantasies=8, q=2, random_state=3),
    "discrete kg": partial(bayesopt.DiscreteKnowledgeGradient, n_points=32),
}


@pytest.mark.parametrize("name", [name for name in EVERY if "thompson" not in name])  # which has other draws for it
def test_white_is_noise_of_the_observations(name):
    X, y = data()
    kernel, white = lvm.kernels.RBF(lengthscale=1.2), lvm.kernels.White(0.3)
    of_kernel = lvm.GPR(kernel + white, noise_variance=0.01, optimizer=None).fit(X, y)
    of_noise = lvm.GPR(kernel, noise_variance=0.31, optimizer=None).fit(X, y)
    ours, other = EVERY[name](of_kernel, BOUNDS), EVERY[name](of_noise, BOUNDS)
    X = np.random.default_rng(5).uniform(-2, 2, (4, ours.q, D))
    X = X[:, 0] if ours.q == 1 else X
    for a, b in zip(ours.value_and_gradient(X), other.value_and_gradient(X), strict=True):
        assert_near(a, b, 1e-7, scale=1.0)


@pytest.mark.parametrize("name", EVERY)
def test_copies_and_a_model_that_is_fitted_again(name):
    X, y = data()
    model = pair()[0]
    ours = EVERY[name](model, BOUNDS)
    at = np.random.default_rng(5).uniform(-2, 2, (4, ours.q, D))
    at = at[:, 0] if ours.q == 1 else at
    screened = EVERY[name](pair()[0], BOUNDS).screen(at) if hasattr(ours, "screen") else None
    value, gradient = ours.value_and_gradient(at)
    model.fit(X[:5], -y[:5])
    for same in (ours, copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        again, gradient_again = same.value_and_gradient(at)
        np.testing.assert_array_equal(again, value)
        np.testing.assert_array_equal(gradient_again, gradient)
        if screened is not None:
            np.testing.assert_array_equal(same.screen(at), screened)


@pytest.mark.parametrize("name", ALL)
def test_the_model_stays_as_it_was(name):
    X, y = data()
    model = lvm.GPR(lvm.kernels.RBF(), optimizer=None).fit(X, y[:, None])
    before = {key: copy.deepcopy(value) for key, value in vars(model).items() if key.endswith("_")}
    ours = ALL[name](model, BOUNDS)
    ours.value_and_gradient(np.zeros((2, D) if ours.q == 1 else (2, ours.q, D)))
    assert ours.model is model
    for key, value in before.items():
        np.testing.assert_array_equal(vars(model)[key], value)


# Bad input.

BAD = {
    "best": (bayesopt.ExpectedImprovement, {"best": np.nan}, ValueError, "best must be finite, got nan"),
    "best of EI": (bayesopt.ExpectedImprovement, {"best": "low"}, TypeError, "best must be a number, got 'low'"),
    "best of q EI": (several, {"q": 1, "best": [1.0]}, TypeError, "best must be a number"),
    "xi": (bayesopt.LogExpectedImprovement, {"xi": -0.1}, ValueError, "xi must be a finite number >= 0, got -0.1"),
    "kappa": (bayesopt.LowerConfidenceBound, {"kappa": -1}, ValueError, "kappa must be a finite number >= 0, got -1"),
    "samples": (bayesopt.ThompsonSampling, {"n_samples": 0}, ValueError, "n_samples must be an integer >= 1, got 0"),
    "features": (bayesopt.ThompsonSampling, {"n_features": 1.5}, TypeError, "n_features must be an integer >= 1"),
    "seed": (bayesopt.ThompsonSampling, {"random_state": "x"}, ValueError, "random_state must be None"),
    "q": (several, {"q": 0}, ValueError, "q must be an integer >= 1, got 0"),
    "draws": (several, {"q": 1, "n_samples": 0}, ValueError, "n_samples must be an integer >= 1, got 0"),
    "pending": (several, {"q": 1, "pending": np.zeros((2, 3))}, ValueError, "pending must have 2 columns, got 3"),
    "NaN pending": (several, {"q": 1, "pending": [[0.0, np.nan]]}, ValueError, "pending must be finite, got nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    kind, arguments, error, words = BAD[case]
    with pytest.raises(error, match=words):
        kind(**arguments) if kind is several else kind(MODEL, BOUNDS, **arguments)


@pytest.mark.parametrize("name", ALL)
def test_bad_models_and_candidates(name):
    kind = ALL[name]
    X, y = data()
    two = lvm.GPR(lvm.kernels.RBF(), optimizer=None).fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="model must be fitted to one output"):
        kind(two, BOUNDS)
    with pytest.raises(TypeError, match="model must be a fitted lvmfast.GPR"):
        kind(None, BOUNDS)
    with pytest.raises(ValueError, match="bounds must be finite with low < high"):
        kind(MODEL, [(0.0, 1.0), (1.0, 0.0)])
    ours = kind(MODEL, BOUNDS)
    for bad in (np.zeros(D), np.zeros((1, D + 1)), np.zeros((1, ours.q + 1, D))):
        with pytest.raises(ValueError, match="X must have shape"):
            ours(bad)
    with pytest.raises(ValueError, match="X must be finite"):
        ours.value_and_gradient(np.full((1, ours.q, D), np.nan))
