"""Points and their places in the unit cube, and the designs that fill a space."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from lvmfast.bayesopt import Categorical, Integer, Real, Space
from lvmfast.bayesopt._design import draw_design, draw_from
from lvmfast.bayesopt._outputs import Outputs

MIXED = [Real(-2.0, 3.0), Real(1e-6, 1e2, log=True), Integer(-3, 4), Integer(1, 1000, log=True), ["a", "b", "c"]]


@st.composite
def dimensions(draw):
    """A dimension of any kind, with a value of it."""
    kind = draw(st.sampled_from(["real", "log", "integer", "log integer", "categorical"]))
    if kind == "categorical":
        values = draw(st.lists(st.text(max_size=3), min_size=2, max_size=5, unique=True))
        return Categorical(values), draw(st.sampled_from(values))
    if kind == "integer":
        low, high = sorted(draw(st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=2, unique=True)))
        return Integer(low, high), draw(st.integers(low, high))
    if kind == "log integer":
        low, high = sorted(draw(st.lists(st.integers(1, 10**6), min_size=2, max_size=2, unique=True)))
        return Integer(low, high, log=True), draw(st.integers(low, high))
    low = draw(st.floats(1e-9, 1e6) if kind == "log" else st.floats(-1e6, 1e6))
    high = low + draw(st.floats(1e-3, 1e6))
    return Real(low, high, log=kind == "log"), draw(st.floats(low, high))


@given(st.lists(dimensions(), min_size=1, max_size=4))
def test_there_and_back(pairs):
    """Exactly for integers and categories, to rounding for reals; places of points are their own projections."""
    space, point = Space([dimension for dimension, _ in pairs]), [value for _, value in pairs]
    U = space.transform([point])
    assert U.shape == (1, space.n_columns) and (U >= 0).all() and (U <= 1).all()
    back = space.inverse_transform(U)[0]
    for dimension, value, again in zip(space.dimensions, point, back, strict=True):
        if isinstance(dimension, Real):
            assert abs(again - value) <= 1e-13 * max(abs(dimension.low), abs(dimension.high)) * 10
        else:
            assert again == value and type(again) is type(value)
    np.testing.assert_array_equal(space.project(U), U)
    assert space.check(back) == back


@given(st.lists(dimensions(), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_projection_is_the_nearest_point(pairs, seed):
    space = Space([dimension for dimension, _ in pairs])
    U = np.random.default_rng(seed).uniform(size=(2, 3, space.n_columns))
    projected = space.project(U)
    points = space.inverse_transform(U.reshape(6, -1))
    np.testing.assert_array_equal(projected, space.project(projected))
    for point in points:
        assert space.check(point) == point
    if not any(isinstance(dimension, Real) for dimension in space.dimensions):
        np.testing.assert_array_equal(projected.reshape(6, -1), space.transform(points))


def test_places_by_their_formulas():
    space = Space(MIXED)
    U = space.transform([[0.5, 1e-2, 1, 10, "b"], [-2.0, 1e-6, -3, 1, "a"], [3.0, 1e2, 4, 1000, "c"]])
    first = [0.5, 0.5, 4 / 7, 1 / 3, 0, 1, 0]
    np.testing.assert_allclose(U, [first, [0, 0, 0, 0, 1, 0, 0], [1, 1, 1, 1, 0, 0, 1]], rtol=1e-14, atol=1e-15)
    assert space.inverse_transform(U)[1:] == [[-2.0, 1e-6, -3, 1, "a"], [3.0, 1e2, 4, 1000, "c"]]
    assert space.n_columns == 7 and len(space) == 5 and space.n_values == math.inf
    np.testing.assert_array_equal(space.bounds, np.tile([0.0, 1.0], (7, 1)))
    winner = space.project(np.array([[0.1, 0.2, 0.55, 0.3, 0.2, 0.9, 0.89]]))[0]
    np.testing.assert_array_equal(winner[4:], [0, 1, 0])
    np.testing.assert_array_equal(winner[:2], [0.1, 0.2])
    np.testing.assert_allclose(winner[2], 4 / 7, rtol=1e-14)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((0.0, 1.0), Real(0.0, 1.0)),
        ((0, 1.0), Real(0.0, 1.0)),
        (np.array([0.0, 2.0]), Real(0.0, 2.0)),
        ([0, 5], Integer(0, 5)),
        (np.array([1, 5]), Integer(1, 5)),
        ((1e-3, 1.0, "log-uniform"), Real(1e-3, 1.0, log=True)),
        ((1, 10, "uniform"), Integer(1, 10)),
        (("a", "b"), Categorical(["a", "b"])),
        ((True, False), Categorical([True, False])),
        ((1, 2, 4, 8), Categorical([1, 2, 4, 8])),
        ((0.1, 0.2, 0.4), Categorical([0.1, 0.2, 0.4])),
        ([None, "l1"], Categorical([None, "l1"])),
        (("a", "b", "uniform"), Categorical(["a", "b", "uniform"])),
    ],
)
def test_plain_values(value, expected):
    assert Space([value]).dimensions[0] == expected


def test_bounds_as_an_array():
    assert Space(np.array([[0.0, 1.0], [-1.0, 2.0]])) == Space([(0.0, 1.0), (-1.0, 2.0)])
    assert Space(Space(MIXED)) == Space(MIXED) and hash(Space(MIXED)) == hash(Space(MIXED))
    assert Space([(0, 1)]) != Space([(0.0, 1.0)]) != "space"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Real(1.0, 0.0), ValueError, "low < high, got 1.0 and 0.0"),
        (lambda: Real(1.0, 1.0), ValueError, "low < high"),
        (lambda: Real(0.0, np.inf), ValueError, "finite"),
        (lambda: Real(np.nan, 1.0), ValueError, "finite"),
        (lambda: Real(-1e308, 1e308), ValueError, "finite"),
        (lambda: Real(0.0, 1.0, log=True), ValueError, "low must be > 0"),
        (lambda: Real(1e300, np.nextafter(1e300, np.inf), log=True), ValueError, "below high on a logarithmic scale"),
        (lambda: Real("0", 1.0), TypeError, "low must be a number, got '0'"),
        (lambda: Real(0.0, 1.0, name=3), TypeError, "name"),
        (lambda: Real(0.0, 1.0, log="yes"), TypeError, "log"),
        (lambda: Integer(5, 1), ValueError, "low < high, got 5 and 1"),
        (lambda: Integer(0, 1.5), TypeError, "high must be an integer, got 1.5"),
        (lambda: Integer(0, 10, log=True), ValueError, "low must be > 0"),
        (lambda: Integer(0, 2**60), ValueError, "2\\*\\*53"),
        (lambda: Categorical(["a"]), ValueError, "at least two"),
        (lambda: Categorical(["a", "a"]), ValueError, "that differ"),
        (lambda: Categorical([1, True]), ValueError, "that differ"),
        (lambda: Categorical("abc"), TypeError, "sequence"),
        (lambda: Categorical([[1], [2]]), TypeError, "strings, numbers"),
        (lambda: Categorical([1.0, np.nan]), ValueError, "NaN"),
        (lambda: Space([]), ValueError, "at least one"),
        (lambda: Space(3), TypeError, "sequence"),
        (lambda: Space([(0.0, 1.0), (2.0, 1.0)]), ValueError, r"dimensions\[1\].*got 2.0 and 1.0"),
        (lambda: Space([(0.0, np.inf)]), ValueError, r"dimensions\[0\].*inf"),
        (lambda: Space([(3, 3)]), ValueError, "low < high"),
        (lambda: Space([5.0]), TypeError, r"dimensions\[0\]"),
        (lambda: Space([(1.0,)]), ValueError, "at least two"),
        (lambda: Space([Real(0.0, 1.0, name="x"), Real(0.0, 1.0, name="x")]), ValueError, "names"),
    ],
)
def test_bad_dimensions(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("point", "error", "message"),
    [
        ([0.0, 1.0, 0, 1], ValueError, "5 values, got 4"),
        (0.5, TypeError, "list of 5 values"),
        ([9.0, 1.0, 0, 1, "a"], ValueError, r"point\[0\] must be between -2 and 3, got 9.0"),
        ([np.nan, 1.0, 0, 1, "a"], ValueError, r"point\[0\]"),
        (["x", 1.0, 0, 1, "a"], TypeError, r"point\[0\] must be a number"),
        ([0.0, 1.0, 0.5, 1, "a"], ValueError, r"point\[2\] must be an integer, got 0.5"),
        ([0.0, 1.0, 5, 1, "a"], ValueError, r"point\[2\] must be between -3 and 4"),
        ([0.0, 1.0, 0, 1, "z"], ValueError, r"point\[4\] must be one of \['a', 'b', 'c'\], got 'z'"),
    ],
)
def test_bad_points(point, error, message):
    space = Space(MIXED)
    with pytest.raises(error, match=message):
        space.check(point)
    with pytest.raises(error):
        space.transform([[0.0, 1.0, 0, 1, "a"], point])


def test_names_stand_in_errors():
    with pytest.raises(ValueError, match=r"point\[0\] \(rate\)"):
        Space([Real(0.0, 1.0, name="rate")]).check([2.0])


@pytest.mark.parametrize("U", [np.zeros((1, 3)), np.zeros((1, 2, 3)), np.full((1, 7), np.nan)])
def test_bad_places(U):
    with pytest.raises(ValueError, match="U must"):
        Space(MIXED).inverse_transform(U)


def test_values_are_pythons_own():
    point = Space(MIXED).check(np.array([0.5, 1.0, 2, 3, "a"], dtype=object))
    assert [type(value) for value in point] == [float, float, int, int, str]
    point = Space([(0.0, 1.0), (0, 9)]).check((np.float32(0.5), np.int64(3)))
    assert point == [0.5, 3] and [type(value) for value in point] == [float, int]
    assert all(type(value) in (float, int, str) for value in Space(MIXED).sample(1, 0)[0])


def test_samples_are_uniform():
    """Every integer, ends included, and every category as often; ratios as often on a logarithmic scale."""
    space = Space([Integer(1, 4), ["a", "b"], Real(1e-4, 1.0, log=True), Integer(1, 7, log=True)])
    points = space.sample(8000, 3)
    for k, values in ((0, [1, 2, 3, 4]), (1, ["a", "b"])):
        counts = np.array([sum(point[k] == value for point in points) for value in values])
        expected = 8000 / len(values)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert abs(np.mean([point[2] < 1e-2 for point in points]) - 0.5) < 5 * 0.5 / np.sqrt(8000)
    assert abs(np.mean([point[3] == 1 for point in points]) - 1 / 3) < 5 * 0.5 / np.sqrt(8000)


def test_the_grid_of_a_finite_space():
    space = Space([(1, 3), ["a", "b"]])
    assert space.grid() == [[1, "a"], [1, "b"], [2, "a"], [2, "b"], [3, "a"], [3, "b"]]
    assert space.n_values == 6


# Designs.


@pytest.mark.parametrize("kind", ["sobol", "random", "latin"])
@pytest.mark.parametrize("n", [1, 7, 16])
def test_designs(kind, n):
    space = Space([(0.0, 1.0), (0.0, 1.0)])
    points = draw_design(space, n, kind, np.random.default_rng(0), lambda point: True)
    assert len(points) == n and len({tuple(point) for point in points}) == n
    again = draw_design(space, n, kind, np.random.default_rng(0), lambda point: True)
    assert points == again


def test_designs_fill_the_space():
    """A Latin hypercube has one point in each slice, a Sobol' sequence a lower discrepancy than random points."""
    space = Space([(0.0, 1.0), (0.0, 1.0)])
    designs = {
        kind: np.array(draw_design(space, 32, kind, np.random.default_rng(1), lambda point: True))
        for kind in ("sobol", "random", "latin")
    }
    np.testing.assert_array_equal(np.sort(np.floor(designs["latin"] * 32), axis=0), np.arange(32)[:, None] * [1, 1])
    assert qmc.discrepancy(designs["sobol"]) < 0.5 * qmc.discrepancy(designs["random"])


@pytest.mark.parametrize("kind", ["sobol", "random", "latin"])
def test_designs_under_a_constraint(kind):
    space = Space([(0.0, 1.0), (0.0, 1.0)])
    points = draw_design(space, 9, kind, np.random.default_rng(2), lambda point: sum(point) < 0.2)
    assert len(points) == 9 and all(sum(point) < 0.2 for point in points)
    with pytest.raises(ValueError, match="constraint must hold somewhere"):
        draw_design(space, 9, kind, np.random.default_rng(2), lambda point: False)


def test_designs_of_listed_points():
    space = Space([(1, 4), ["a", "b"]])
    points = space.grid()[:5]
    for n in (1, 3, 5, 9):
        chosen = draw_from(space, points, n, "sobol", np.random.default_rng(0))
        assert len(chosen) == min(n, 5) and all(point in points for point in chosen)
        assert len({tuple(point) for point in chosen}) == len(chosen)


# Units of the outputs.


@pytest.mark.parametrize(
    "y",
    [
        [1.0, 2.0, 4.0],
        [1e9, 1e9 + 1, 1e9 + 3],
        [1e300, -1e300, 3e299],
        [-1.7e308, 1.7e308, 0.0],
        [1e-300, 3e-300, 2e-300],
        [0.0, 1e-200],
    ],
)
def test_standardised_outputs(y):
    y = np.array(y)
    outputs = Outputs.of(y)
    z = outputs.standardise(y)
    exact = y.astype(np.longdouble) / np.abs(y).max()
    exact = (exact - exact.mean()) / exact.std()
    np.testing.assert_allclose(z, exact.astype(float), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(outputs.restore(z), y, rtol=1e-14, atol=1e-15 * np.abs(y).max())
    spread = float(np.std(y.astype(np.longdouble)))
    if 1e-100 < spread < 1e100:
        np.testing.assert_allclose(outputs.variance(0.25), 0.25 / spread**2, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 3.25, -1e300])
def test_equal_outputs(value):
    outputs = Outputs.of(np.full(4, value))
    np.testing.assert_allclose(outputs.standardise(np.full(4, value)), 0.0, atol=1e-15)
    np.testing.assert_allclose(outputs.restore(0.0), value)
