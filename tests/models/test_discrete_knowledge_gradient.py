"""The knowledge gradient over finitely many points beside dense algebra, refits, simulation and differences."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from reference import covariances, gpr
from reference import line_envelope as oracle
from reference.covariances import Leaf, Product, Sum
from scipy import stats

import lvmfast as lvm
from lvmfast.bayesopt import DiscreteKnowledgeGradient, _discrete

BOUNDS = [(-1.0, 2.0), (0.0, 1.0)]
NOISE = 0.05
RBF = Leaf("RBF", {"variance": 1.3, "lengthscale": np.array([0.7, 0.4])})
WHITE = Leaf("White", {"variance": 0.2})
NODES = {
    "rbf": RBF,
    "sum with white": Sum(
        (Leaf("Matern52", {"variance": 0.8, "lengthscale": 0.6}), Leaf("Linear", {"variance": 0.4}), WHITE)
    ),
    "product with white": Product((RBF, Sum((Leaf("Constant", {"variance": 0.9}), WHITE)))),
}
MEANS = {"zero": "zero", "constant": "constant", "linear": "linear", "callable": lambda X: X[:, 0] ** 2}


def data(n=12, seed=0):
    rng = np.random.default_rng(seed)
    low, high = np.array(BOUNDS).T
    X = low + (high - low) * rng.random((n, 2))
    return X, 0.7 + np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + 0.2 * rng.standard_normal(n)


def candidates(m, seed=1):
    low, high = np.array(BOUNDS).T
    return low + (high - low) * np.random.default_rng(seed).random((m, 2))


def fitted(node="rbf", mean="constant", noise=NOISE, **options):
    X, y = data()
    kernel = covariances.build(NODES[node], lvm.kernels)
    return lvm.GPR(kernel, mean=MEANS[mean], noise_variance=noise, optimizer=None, **options).fit(X, y)


def acquisition(model=None, **options):
    options = {"n_points": 32, **options}
    return DiscreteKnowledgeGradient(fitted() if model is None else model, BOUNDS, **options)


@pytest.mark.parametrize("include_candidate", [True, False])
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("node", NODES)
def test_dense_algebra(node, mean, include_candidate):
    model, X = fitted(node, mean), candidates(4)
    kg = acquisition(model, include_candidate=include_candidate)
    gp = gpr.GP(partial(covariances.matrix, NODES[node]), *data(), NOISE, MEANS[mean])
    exact = [oracle.knowledge_gradient(gp, kg.points, x, NOISE, include_candidate=include_candidate) for x in X]
    assert_near(kg(X), exact, tolerance(np.float64, 12, 100.0), scale=1.0)


@pytest.mark.parametrize("include_candidate", [True, False])
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("node", NODES)
def test_gradient_by_differences(node, mean, include_candidate, monkeypatch):
    kg, X = acquisition(fitted(node, mean), include_candidate=include_candidate), candidates(9)
    monkeypatch.setattr(_discrete, "TILE", 4 * (len(kg.points) + 1))  # three chunks
    value, gradient = kg.value_and_gradient(X)
    np.testing.assert_array_equal(value, kg(X))
    assert gradient.shape == X.shape and value.max() > 1e-4
    for x, g in zip(X, gradient, strict=True):
        # third derivatives are of the order of lengthscale^-3
        near = tolerance(np.float64, 10, DIFFERENCE) / 0.4**3
        assert_near(g, differences(lambda x: kg(x[None])[0], x), near, scale=1.0)


def test_few_candidates_or_many_at_a_time(monkeypatch):
    kg, X = acquisition(), candidates(7)
    value, gradient = kg.value_and_gradient(X)
    monkeypatch.setattr(_discrete, "TILE", 1)
    again, gradient_again = kg.value_and_gradient(X)
    assert_near(again, value, tolerance(np.float64, 12))
    assert_near(gradient_again, gradient, tolerance(np.float64, 12, 10.0))
    assert kg(X[:, None]).shape == (7,) and kg.value_and_gradient(X[:, None])[1].shape == (7, 1, 2)
    assert kg(X[:0]).shape == (0,)


def promising(kg, m):
    """Candidates whose knowledge gradient is not near 0."""
    X = candidates(40)
    return X[np.argsort(kg(X))[-m:]]


def test_simulated_outcomes():
    """The mean over outcomes of how far the least posterior mean falls, each by its own posterior."""
    model = fitted(mean="zero")
    kg = acquisition(model)
    rng = np.random.default_rng(2)
    for x in promising(kg, 5):
        z = np.vstack([kg.points, x])
        mean, std = model.predict(x[None], return_std=True, include_noise=True)
        after = model.fantasize(x[None], mean + std * rng.standard_normal((4000, 1))).predict(z).min(axis=1)
        fall = model.predict(z).min() - after
        assert abs(fall.mean() - kg(x[None])[0]) <= 3 * fall.std() / np.sqrt(len(fall))


def test_refits():
    """As above with a model fitted to every one of outcomes on a grid."""
    model = fitted(mean="zero")
    kg = acquisition(model, include_candidate=False)
    x = promising(kg, 1)
    mean, std = model.predict(x, return_std=True, include_noise=True)
    grid = np.linspace(-7, 7, 141)
    least = []
    for outcome in mean + std * grid:
        more = lvm.GPR(model.kernel_, mean="zero", noise_variance=NOISE, optimizer=None)
        more.fit(np.vstack([model.X_train_, x]), np.append(model.y_train_, outcome))
        least.append(more.predict(kg.points).min())
    expected = np.sum(np.array(least) * stats.norm.pdf(grid)) * (grid[1] - grid[0])
    # the trapezoidal rule misses up to step^2 / 12 at each kink
    assert_near(kg(x), [model.predict(kg.points).min() - expected], 0.02)


def test_default_points():
    """Sobol' points of the box, and the rows of the training data within."""
    X, y = data()
    model = lvm.GPR(optimizer=None).fit(np.vstack([X, [[5.0, 0.5]]]), np.append(y, 0.0))
    kg = DiscreteKnowledgeGradient(model, BOUNDS, n_points=100)
    assert kg.points.shape == (100 + len(X), 2)
    np.testing.assert_array_equal(kg.points[100:], X)
    low, high = np.array(BOUNDS).T
    assert ((kg.points >= low) & (kg.points <= high)).all()
    assert stats.qmc.discrepancy((kg.points[:100] - low) / (high - low)) < 1e-3
    same = DiscreteKnowledgeGradient(model, BOUNDS, n_points=100, random_state=0)
    np.testing.assert_array_equal(same.points, kg.points)
    other = DiscreteKnowledgeGradient(model, BOUNDS, n_points=100, random_state=np.random.default_rng(1))
    assert (other.points[:100] != kg.points[:100]).any()


def test_never_negative_and_none_where_noise_hides_all():
    X = candidates(50)
    model = fitted()
    value = acquisition(model)(X)
    assert (value >= 0).all() and value.max() > 1e-3
    larger = value
    for noise in (1.0, 1e2, 1e4, 1e8):
        smaller = acquisition(model, noise_variance=noise)(X)
        assert (smaller <= larger).all()
        larger = smaller
    assert larger.max() < 1e-6
    assert (acquisition(model, noise_variance=1e16)(X) < 1e-30).all()


@pytest.mark.parametrize("include_candidate", [True, False])
def test_nothing_is_learned_where_the_function_is_known(include_candidate):
    X, y = data()
    model = lvm.GPR(covariances.build(RBF, lvm.kernels), noise_variance=np.zeros(len(X)), optimizer=None).fit(X, y)
    kg = acquisition(model, include_candidate=include_candidate, noise_variance=0.0)
    value, gradient = kg.value_and_gradient(X)
    assert model.jitter_ == 0 and (value == 0).all() and (gradient == 0).all()
    assert kg(candidates(20)).max() > 1e-3


def test_nothing_is_learned_of_white_noise():
    X, y = data()
    model = lvm.GPR(lvm.kernels.White(1.0), optimizer=None, noise_variance=NOISE).fit(X, y)
    value, gradient = acquisition(model).value_and_gradient(candidates(5))
    assert (value == 0).all() and (gradient == 0).all()


@pytest.mark.parametrize("c", [0.01, 300.0])
def test_units_of_y(c):
    """y + constant changes nothing; c y has c times the knowledge gradient."""
    X, y = data()
    at = candidates(20)
    value, gradient = acquisition().value_and_gradient(at)
    kernel = covariances.build(RBF, lvm.kernels)

    def other(kernel, y, noise):
        model = lvm.GPR(kernel, noise_variance=noise, optimizer=None).fit(X, y)
        return acquisition(model).value_and_gradient(at)

    for v, g in [other(kernel, y + 1e3, NOISE), other(kernel, y - 1e3, NOISE)]:
        assert_near(v, value, tolerance(np.float64, 12, 1e5))
        assert_near(g, gradient, tolerance(np.float64, 12, 1e6))
    v, g = other(kernel.scaled(c * c), c * y, c * c * NOISE)
    assert_near(v, c * value, tolerance(np.float64, 12, 100.0))
    assert_near(g, c * gradient, tolerance(np.float64, 12, 1000.0))


def test_noise_of_the_observation():
    X, y = data()
    model = lvm.GPR(covariances.build(RBF, lvm.kernels), noise_variance=np.full(len(X), NOISE), optimizer=None).fit(
        X, y
    )
    with pytest.raises(ValueError, match="noise_variance must be given"):
        acquisition(model)
    at = candidates(5)
    assert_near(acquisition(model, noise_variance=NOISE)(at), acquisition()(at), tolerance(np.float64, 12))
    with_jitter = fitted(jitter=0.3)
    assert_near(
        acquisition(with_jitter)(at), acquisition(fitted(noise=NOISE + 0.3))(at), tolerance(np.float64, 12, 10.0)
    )


def test_single_precision_data_are_scored_in_double():
    X, y = (a.astype(np.float32) for a in data())
    model = lvm.GPR(covariances.build(RBF, lvm.kernels), noise_variance=NOISE, optimizer=None).fit(X, y)
    kg = acquisition(model)
    value, gradient = kg.value_and_gradient(candidates(5).astype(np.float32))
    assert kg.points.dtype == value.dtype == gradient.dtype == np.float64
    assert_near(value, acquisition()(candidates(5)), 1e-4)


def test_points_are_copied():
    points = candidates(10)
    kg = acquisition(points=points)
    before, at = kg(candidates(3)), candidates(3)
    points[:] = 0
    np.testing.assert_array_equal(kg(at), before)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"points": [[0.0, 0.5], [0.0, 1.5]]}, ValueError, "within bounds, got 1.5 at row 1 for input 1"),
        ({"points": [[0.0], [0.0]]}, ValueError, "points must have 2 columns"),
        ({"points": np.zeros((0, 2))}, ValueError, "points must hold at least one row"),
        ({"points": [[0.0, np.nan]]}, ValueError, "points must be finite"),
        ({"points": [0.0, 0.5]}, ValueError, r"points must have shape \(n, d\)"),
        ({"n_points": 0}, ValueError, "n_points must be an integer >= 1"),
        ({"n_points": 2.5}, TypeError, "n_points must be an integer"),
        ({"include_candidate": 1}, TypeError, "include_candidate must be True or False"),
        ({"noise_variance": -1.0}, ValueError, "noise_variance must be a finite number >= 0"),
        ({"noise_variance": "large"}, (TypeError, ValueError), "noise_variance"),
        ({"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        acquisition(**options)


def test_bad_candidates():
    kg = acquisition()
    with pytest.raises(ValueError, match=r"X must have shape \(m, 2\), got \(3,\)"):
        kg([0.0, 0.5, 0.1])
    with pytest.raises(ValueError, match="X must be finite"):
        kg([[0.0, np.nan]])


def test_without_white():
    k, white = lvm.kernels.RBF(), lvm.kernels.White()
    assert _discrete.without_white(k) is k
    assert _discrete.without_white(white) is None and _discrete.without_white(k * white) is None
    assert repr(_discrete.without_white(k + white)) == repr(k)
    assert repr(_discrete.without_white(2.0 * (k + white) + k)) == repr(2.0 * k + k)
