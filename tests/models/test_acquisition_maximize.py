"""The maximum of an acquisition function: against grids, within the bounds, among feasible and rounded points."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import lvmfast as lvm
from lvmfast import bayesopt

LINE, PLANE = [(-1.0, 2.0)], [(0.0, 5.0), (0.0, 5.0)]
GRID = np.linspace(-1.0, 2.0, 4001)[:, None]
FLAT = 1e-6  # a step of the grid squared


def on_a_line():
    X = np.random.default_rng(3).uniform(-1, 2, (10, 1))
    y = np.sin(3 * X[:, 0]) + X[:, 0] ** 2 - 0.7 * X[:, 0]
    return lvm.GPR(lvm.kernels.RBF(lengthscale=0.5), noise_variance=0.02, optimizer=None).fit(X, y)


def in_a_plane():
    X = np.random.default_rng(4).uniform(0, 5, (15, 2))
    y = np.sin(X[:, 0]) + np.cos(1.3 * X[:, 1])
    return lvm.GPR(lvm.kernels.Matern52(lengthscale=1.5), noise_variance=1e-3, optimizer=None).fit(X, y)


MODEL, PLANAR = on_a_line(), in_a_plane()
KINDS = {
    "ei": bayesopt.ExpectedImprovement,
    "log ei": bayesopt.LogExpectedImprovement,
    "pi": partial(bayesopt.ProbabilityOfImprovement, xi=0.05),
    "lcb": bayesopt.LowerConfidenceBound,
    "thompson": bayesopt.ThompsonSampling,
    "q ei": partial(bayesopt.MonteCarloExpectedImprovement, q=1, n_samples=64),
}


def meshed(n=101):
    axis = np.linspace(0.0, 5.0, n)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_against_a_grid(name, seed):
    ours = KINDS[name](MODEL, LINE)
    best = ours.maximize(random_state=seed)
    values = ours(GRID)
    assert best.x.shape == (1,) and isinstance(best.value, float)
    np.testing.assert_allclose(ours(best.x[None])[0], best.value, rtol=1e-9)
    assert best.value >= values.max() - FLAT * abs(values.max())
    again = bayesopt.maximize(ours, random_state=seed)
    np.testing.assert_array_equal(again.x, best.x)


@pytest.mark.parametrize("name", ["ei", "lcb", "thompson"])
def test_in_a_plane(name):
    ours = KINDS[name](PLANAR, PLANE)
    best = ours.maximize(random_state=0)
    assert best.value >= ours(meshed()).max()
    assert (best.x >= 0).all() and (best.x <= 5).all()


@pytest.mark.parametrize("source", [np.random.default_rng, np.random.RandomState])
def test_any_generator_will_do(source):
    ours = bayesopt.MonteCarloExpectedImprovement(MODEL, LINE, q=1, n_samples=16, random_state=source(0))
    first, second = (ours.maximize(random_state=source(1)) for _ in range(2))
    np.testing.assert_array_equal(first.x, second.x)


@pytest.mark.parametrize("name", KINDS)
def test_never_worse_than_a_candidate(name):
    ours = KINDS[name](MODEL, LINE)
    for seed in range(5):
        best = ours.maximize(x0=GRID[::5], n_candidates=4, n_starts=1, max_evaluations=1, random_state=seed)
        highest = ours(GRID[::5]).max()
        assert best.value >= highest - 1e-12 * abs(highest)


def test_all_that_was_scored_is_no_better():
    seen = []

    class Recorded(bayesopt.LowerConfidenceBound):
        def _value_and_gradient(self, X):
            value, gradient = super()._value_and_gradient(X)
            seen.append(value)
            return value, gradient

        def _value(self, X):
            seen.append(super()._value(X))
            return seen[-1]

    best = Recorded(PLANAR, PLANE).maximize(random_state=0, n_candidates=100)
    assert best.value == np.concatenate(seen).max()
    assert best.n_evaluations == sum(map(len, seen))


def test_two_points_against_a_grid_of_pairs():
    ours = bayesopt.MonteCarloExpectedImprovement(MODEL, LINE, q=2, n_samples=64)
    best = ours.maximize(random_state=0)
    line = GRID[::50]
    pairs = np.stack(np.meshgrid(line[:, 0], line[:, 0]), axis=-1).reshape(-1, 2, 1)
    assert best.x.shape == (2, 1)
    assert best.value >= ours(pairs).max()


def test_each_path_at_its_own_minimum():
    ours = bayesopt.ThompsonSampling(MODEL, LINE, n_samples=4, random_state=2)
    best = ours.maximize(random_state=0)
    assert best.x.shape == (4, 1)
    np.testing.assert_allclose(ours(best.x[None])[0], best.value, rtol=1e-9)
    for path, x in zip(ours.paths, best.x, strict=True):
        values = path(GRID)[0]
        assert path(x[None])[0, 0] <= values.min() + FLAT
    x0 = np.broadcast_to(GRID[:100, None], (100, 4, 1))
    assert ours.maximize(x0=x0, random_state=0).value >= best.value - FLAT


@pytest.mark.parametrize("best", [-1e3, -20.0])
def test_where_the_value_underflows(best):
    """The logarithm has its maximum there all the same."""
    logarithm = bayesopt.LogExpectedImprovement(MODEL, LINE, best=best).maximize(random_state=0)
    for kind in (bayesopt.ExpectedImprovement, bayesopt.ProbabilityOfImprovement):
        ours = kind(MODEL, LINE, best=best)
        found = ours.maximize(random_state=0)
        np.testing.assert_allclose(found.x, logarithm.x, atol=1e-2)
        np.testing.assert_allclose(found.value, ours(found.x[None])[0], rtol=1e-12)
    several = bayesopt.MonteCarloExpectedImprovement(MODEL, LINE, q=2, best=best).maximize(random_state=0)
    assert several.value == 0.0 and np.isfinite(several.x).all()


def test_a_cheaper_score_chooses_the_starts():
    calls = []

    class Screened(bayesopt.LowerConfidenceBound):
        def screen(self, X):
            calls.append(X.shape)
            return -np.square(X[:, 0] - 1.9).sum(axis=1)

    ours = Screened(MODEL, LINE)
    best = ours.maximize(random_state=0, n_candidates=64, n_starts=2, max_evaluations=1)
    assert calls == [(64, 1, 1)]
    assert best.value == pytest.approx(ours(best.x[None])[0], rel=1e-12)


# Constraints and rounding.


def half_plane(X):
    return X.sum(axis=1) <= 4.0


@pytest.mark.parametrize("name", ["ei", "lcb"])
def test_feasible_maximum(name):
    ours = KINDS[name](PLANAR, PLANE)
    assert not half_plane(ours.maximize(random_state=0).x[None])[0]
    best = ours.maximize(feasible=half_plane, random_state=0, n_starts=16)
    assert half_plane(best.x[None])[0]
    mesh = meshed()
    values = ours(mesh)
    assert best.value >= values[half_plane(mesh)].max() - 0.05 * np.ptp(values)
    np.testing.assert_allclose(ours(best.x[None])[0], best.value, rtol=1e-9)


def test_every_point_of_a_candidate_is_feasible():
    ours = bayesopt.MonteCarloExpectedImprovement(PLANAR, PLANE, q=3, n_samples=32)
    best = ours.maximize(feasible=half_plane, random_state=0, n_candidates=128)
    assert half_plane(best.x).all()


def test_a_small_feasible_set_is_found():
    def corner(X):
        return X.sum(axis=1) <= 0.15

    best = bayesopt.LowerConfidenceBound(PLANAR, PLANE).maximize(feasible=corner, random_state=0, n_candidates=64)
    assert corner(best.x[None])[0]


def test_nothing_is_feasible():
    ours, x0 = bayesopt.LowerConfidenceBound(PLANAR, PLANE), np.array([1.25, 3.5])
    with pytest.raises(ValueError, match="feasible must hold somewhere within the bounds, got False for all of"):
        ours.maximize(feasible=lambda X: np.zeros(len(X), bool), n_candidates=16, random_state=0)
    best = ours.maximize(
        feasible=lambda X: (x0 == X).all(axis=1), x0=x0, n_candidates=16, max_evaluations=20, random_state=0
    )
    np.testing.assert_array_equal(best.x, x0)


@pytest.mark.parametrize("feasible", [None, half_plane])
def test_rounded_maximum(feasible):
    ours = bayesopt.LowerConfidenceBound(PLANAR, PLANE)
    lattice = meshed(6)
    if feasible is not None:
        lattice = lattice[feasible(lattice)]
    best = ours.maximize(project=np.round, feasible=feasible, random_state=0)
    np.testing.assert_array_equal(best.x, np.round(best.x))
    assert best.value == pytest.approx(ours(lattice).max(), rel=1e-9)


def test_callables_get_copies():
    def clumsy(X):
        X[:] = 0.0
        return np.ones(len(X), bool)

    ours = bayesopt.LowerConfidenceBound(PLANAR, PLANE)
    x0 = np.array([[1.0, 2.0]])
    best = ours.maximize(feasible=clumsy, x0=x0, random_state=0)
    np.testing.assert_array_equal(best.x, ours.maximize(x0=x0, random_state=0).x)
    np.testing.assert_array_equal(x0, [[1.0, 2.0]])


# Bad input.

BAD = {
    "candidates": ({"n_candidates": 0}, ValueError, "n_candidates must be an integer >= 1, got 0"),
    "starts": ({"n_starts": 2.5}, TypeError, "n_starts must be an integer >= 1, got 2.5"),
    "evaluations": ({"max_evaluations": 0}, ValueError, "max_evaluations must be an integer >= 1, got 0"),
    "tol": ({"tol": 0.0}, ValueError, "tol must be a finite number > 0, got 0.0"),
    "seed": ({"random_state": -1}, ValueError, "random_state must be None"),
    "feasible": ({"feasible": True}, TypeError, "feasible must be callable, got True"),
    "project": ({"project": "round"}, TypeError, "project must be callable, got 'round'"),
    "numbers": ({"feasible": lambda X: X[:, 0]}, ValueError, "feasible must return .* booleans"),
    "one answer": ({"feasible": lambda X: np.True_}, ValueError, "feasible must return .* booleans"),
    "fewer points": ({"project": lambda X: X[:1]}, ValueError, "project must return points of shape"),
    "NaN": ({"project": lambda X: X + np.nan}, ValueError, "project must return finite points, got NaN or infinity"),
    "shape of x0": ({"x0": np.zeros((2, 3))}, ValueError, r"x0 must have shape \(2,\) or \(k, 2\), got \(2, 3\)"),
    "x0 outside": ({"x0": [[1.0, 1.0], [1.0, 6.0]]}, ValueError, r"within the bounds, got \[1.0, 6.0\] at row 1"),
    "x0 of NaN": ({"x0": [np.nan, 1.0]}, ValueError, "x0 must be finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    options, error, words = BAD[case]
    with pytest.raises(error, match=words):
        bayesopt.LowerConfidenceBound(PLANAR, PLANE).maximize(**options)


def test_bad_x0_of_several_points():
    ours = bayesopt.MonteCarloExpectedImprovement(PLANAR, PLANE, q=3)
    with pytest.raises(ValueError, match=r"x0 must have shape \(3, 2\) or \(k, 3, 2\), got \(2,\)"):
        ours.maximize(x0=np.zeros(2))
    with pytest.raises(TypeError, match="acquisition must be an acquisition function"):
        bayesopt.maximize(lambda X: X)
