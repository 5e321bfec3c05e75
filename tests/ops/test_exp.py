"""The exponential inside the kernels: ulp errors against mpmath, and the ends of the range."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from reference.kernels import exp_mp, ulp_error

from lvmfast._backend import cpu

pytestmark = pytest.mark.usefixtures("instruction_set")

ULPS = 1.1

# Where exp(x) overflows, where it becomes denormal, where it is half of the smallest denormal number.
EDGES = {
    np.float32: (88.722839, -87.336545, -103.972077),
    np.float64: (709.782712893384, -708.396418532264, -745.1332191019412),
}


def neighbours(x, count, dtype):
    """``count`` numbers of ``dtype`` on both sides of ``x``, and the nearest to ``x``."""
    x = dtype(x)
    return x + np.arange(-count, count + 1).astype(dtype) * np.spacing(x)


@functools.cache
def grid(dtype, part):
    """Arguments and their exponentials to 60 digits."""
    rng = np.random.default_rng(0)
    overflow, denormal, zero = EDGES[dtype]
    x = {
        "whole": rng.uniform(denormal, overflow, 2000),
        "kernel": -rng.exponential(5.0, 2000),
        "near 0": rng.choice([-1, 1], 1000) * 10.0 ** rng.uniform(-20, 0, 1000),
        "multiples of log 2": np.log(2) * rng.integers(-100, 100, 1000) / 2,
        "overflow": neighbours(overflow, 100, dtype),
        "first denormal": neighbours(denormal, 100, dtype),
        "denormal": rng.uniform(zero, denormal, 1000),
        "last denormal": neighbours(zero, 100, dtype),
    }[part].astype(dtype)
    return x, exp_mp(x)


PARTS = ["whole", "kernel", "near 0", "multiples of log 2", "overflow"]
PARTS += ["first denormal", "denormal", "last denormal"]


@pytest.mark.parametrize("part", PARTS)
def test_ulp(dtype, part):
    x, exact = grid(dtype, part)
    y = cpu.exp(x)
    assert y.dtype == dtype
    assert ulp_error(y, exact, dtype).max() <= ULPS


def test_overflow_edge_is_reached(dtype):
    """The grid has results on both sides, so the test above says something."""
    y = cpu.exp(grid(dtype, "overflow")[0])
    assert np.isinf(y).any()
    assert np.isfinite(y).any()
    last = cpu.exp(grid(dtype, "last denormal")[0])
    assert set(last.tolist()) == {0.0, float(np.finfo(dtype).smallest_subnormal)}


def test_special_values(dtype):
    info = np.finfo(dtype)
    x = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        -np.nan,
        info.max,
        info.min,
        info.tiny,
        info.smallest_subnormal,
        -info.tiny,
    ]
    expected = [1.0, 1.0, np.inf, 0.0, np.nan, np.nan, np.inf, 0.0, 1.0, 1.0, 1.0]
    y = cpu.exp(np.array(x, dtype))
    np.testing.assert_array_equal(y, np.array(expected, dtype))
    assert not np.signbit(y).any() or np.isnan(y[np.signbit(y)]).all()


def test_minus_700():
    """Far below what float32 holds, and still a normal number in float64."""
    assert cpu.exp(np.float32([-700])) == 0
    x = np.array([-700.0])
    assert ulp_error(cpu.exp(x), exp_mp(x), float)[0] <= ULPS


def test_special_values_leave_their_neighbours_alone(dtype):
    """A SIMD pack is computed as one: what overflows in a lane must stay there."""
    x = np.linspace(-3, 3, 37).astype(dtype)
    plain = cpu.exp(x)
    for special in (np.inf, -np.inf, np.nan, 1e4, -1e4):
        for place in range(len(x)):
            spoiled = x.copy()
            spoiled[place] = special
            y = cpu.exp(spoiled)
            np.testing.assert_array_equal(np.delete(y, place), np.delete(plain, place))


def test_every_length(dtype):
    """A result is the same bits wherever it stands, for lengths with and without a rest; the input stays."""
    x = np.random.default_rng(1).uniform(-50, 50, 70).astype(dtype)
    whole = cpu.exp(x)
    for length in range(71):
        np.testing.assert_array_equal(cpu.exp(x[:length]), whole[:length])
    for start in range(8):
        np.testing.assert_array_equal(cpu.exp(x[start:]), whole[start:])
    np.testing.assert_array_equal(x, np.random.default_rng(1).uniform(-50, 50, 70).astype(dtype))


def test_shapes(dtype):
    for shape in [(0,), (3, 0), (3, 5), (2, 3, 4), ()]:
        x = np.zeros(shape, dtype)
        y = cpu.exp(x)
        assert y.shape == shape
        assert (y == 1).all()


def test_monotonic(dtype):
    """Over neighbouring numbers the result never falls by more than the error allows."""
    x = neighbours(1.0, 2000, dtype)
    y = cpu.exp(x)
    assert np.diff(y).min() >= -2 * ULPS * np.spacing(y.max())
