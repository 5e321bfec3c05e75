"""Softplus against mpmath: both tails, the way back, the floor; Exp beside NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import bijectors as oracle
from reference.kernels import ulp_error

from lvmfast.bijectors import Exp, Softplus

ULPS = 4  # two library functions of at most 1 ulp, and an addition


def arguments(dtype):
    """The line from tail to tail: -1000 to 1000, dense around 0."""
    rng = np.random.default_rng(0)
    edges = [-1000, -746, -745.2, -709, -104, -103.5, -88, -40, -17, -1, 0, 1e-8, 1, 17, 40, 88, 709, 1000]
    return np.concatenate([edges, rng.normal(0, 1, 300), rng.uniform(-1000, 1000, 300)]).astype(dtype)


@pytest.mark.parametrize(
    ("method", "exact"),
    [
        ("forward", oracle.softplus_mp),
        ("derivative", oracle.softplus_derivative_mp),
        ("forward_log_det", oracle.softplus_log_derivative_mp),
    ],
)
def test_values(dtype, method, exact):
    u = arguments(dtype)
    y = getattr(Softplus(), method)(u)
    assert y.dtype == dtype
    assert ulp_error(y, exact(u), dtype).max() <= ULPS


def test_inverse(dtype):
    """Relative in u, but for u near 0, where a rounding of y is an error of eps: u = log(exp(y) - 1), y near log 2."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(1)
    y = np.concatenate([10.0 ** rng.uniform(-30, 3, 500), [np.log(2), info.tiny, 1000.0]]).astype(dtype)
    u = Softplus().inverse(y)
    assert u.dtype == dtype
    exact = oracle.softplus_inverse_mp(y)
    scale = np.array([max(1.0, abs(float(e))) for e in exact])
    error = np.array([abs(float(a) - e) for a, e in zip(u, exact, strict=True)], dtype=float)
    assert (error / scale).max() <= tolerance(dtype)


@pytest.mark.parametrize("floor", [0.0, 1e-6, 0.5])
def test_round_trip(dtype, floor):
    """forward(inverse(y)) = y, relative to y - floor as far as y can hold it."""
    bijector = Softplus(floor)
    above = 10.0 ** np.random.default_rng(2).uniform(-3, 2, 300)
    y = (floor + above).astype(dtype)
    back = bijector.forward(bijector.inverse(y))
    assert back.dtype == dtype
    assert (np.abs(back - y) / y).max() <= tolerance(dtype)


def test_round_trip_from_the_line(dtype):
    """inverse(forward(u)) = u: below 0 as well as above, until exp(u) is denormal."""
    lowest = np.log(np.finfo(dtype).tiny) + 1
    u = np.linspace(lowest, 1000, 501).astype(dtype)
    assert_near(Softplus().inverse(Softplus().forward(u)), u, tolerance(dtype))


def test_tails(dtype):
    """At -1000 and 1000 nothing overflows, and nothing is lost that the type can hold."""
    u = np.array([-1000, 1000], dtype)
    np.testing.assert_array_equal(Softplus().forward(u), [0, 1000])
    np.testing.assert_array_equal(Softplus().derivative(u), [0, 1])
    np.testing.assert_array_equal(Softplus().forward_log_det(u), [-1000, 0])
    infinite = np.array([-np.inf, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(Softplus().forward(infinite), [0, np.inf, np.nan])
    np.testing.assert_array_equal(Softplus().derivative(infinite), [0, 1, np.nan])


def test_floor(dtype):
    floor = 0.25
    bijector = Softplus(floor)
    u = arguments(dtype)
    y = bijector.forward(u)
    assert y.dtype == dtype
    assert y.min() >= floor
    assert_near(y, floor + Softplus().forward(u).astype(float), tolerance(dtype))
    np.testing.assert_array_equal(bijector.derivative(u), Softplus().derivative(u))
    for low in (floor, floor - 0.1, -1.0, np.nan, -np.inf):
        with pytest.raises(ValueError, match=r"y must be > floor = 0\.25, got "):
            bijector.inverse(np.array([1.0, low], dtype))
    with pytest.raises(ValueError, match="y must be > floor = 0, got 0"):
        Softplus().inverse(0.0)


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf])
def test_floor_must_be_a_number(bad):
    with pytest.raises(ValueError, match="floor must be a finite number >= 0, got"):
        Softplus(bad)
    for wrong in ("0", None, True, [0.0]):
        with pytest.raises(TypeError, match="floor must be a number >= 0, got"):
            Softplus(wrong)


def test_vjp(dtype):
    u = arguments(dtype)
    y_bar = np.random.default_rng(3).standard_normal(u.shape).astype(dtype)
    u_bar = Softplus(0.1).vjp(u, y_bar)
    assert u_bar.dtype == dtype
    exact = oracle.softplus_derivative_mp(u)
    assert_near(u_bar, [float(b * e) for b, e in zip(y_bar.astype(float), exact, strict=True)], tolerance(dtype))


@pytest.mark.parametrize("method", ["forward", "derivative", "forward_log_det", "inverse"])
def test_shapes_and_types(method):
    function = getattr(Softplus(), method)
    for shape in [(), (0,), (3,), (2, 0), (2, 3), (2, 3, 4)]:
        assert np.shape(function(np.ones(shape))) == shape
    assert function([1, 2]).dtype == np.float64
    assert function(1.0) == function(np.array([1.0]))[0]
    A = np.arange(1.0, 7.0).reshape(2, 3)
    np.testing.assert_array_equal(function(A.T), function(A).T)
    np.testing.assert_array_equal(function(A[:, ::2]), function(A)[:, ::2])
    with pytest.raises(TypeError, match="[xy] must hold real numbers, got dtype complex128"):
        function(1j)


def test_repr():
    assert repr(Softplus(1e-6)) == "Softplus(floor=1e-06)"


class TestExp:
    def test_values(self, dtype):
        u = np.linspace(-80, 80, 41).astype(dtype)
        bijector = Exp()
        for method in (bijector.forward, bijector.derivative):
            np.testing.assert_array_equal(method(u), np.exp(u))
            assert method(u).dtype == dtype
        np.testing.assert_array_equal(bijector.forward_log_det(u), u)
        np.testing.assert_array_equal(bijector.vjp(u, np.full_like(u, 3)), 3 * np.exp(u))
        assert_near(bijector.inverse(bijector.forward(u)), u, tolerance(dtype, 1, 80))

    def test_ends_of_the_range(self):
        np.testing.assert_array_equal(Exp().forward([-1000.0, 1000.0]), [0.0, np.inf])

    @pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
    def test_inverse_of_what_is_not_positive(self, bad):
        with pytest.raises(ValueError, match="y must be > 0, got"):
            Exp().inverse([1.0, bad])

    def test_equality(self):
        assert Exp() == Exp() and hash(Exp()) == hash(Exp()) and Exp() != Softplus() and repr(Exp()) == "Exp()"
        assert Softplus(0.1) == Softplus(0.1) != Softplus(0.2) and hash(Softplus(0.1)) == hash(Softplus(0.1))
