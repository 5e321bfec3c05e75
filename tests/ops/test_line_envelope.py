"""The expected maximum of lines beside quadrature, high precision, differences, and where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from hypothesis import given
from hypothesis import strategies as st
from reference import line_envelope as oracle
from scipy import integrate, stats

import lvmfast as lvm
from lvmfast import _backend


def expected_maximum(a, b):
    """Of one set of lines: numbers for the gain, arrays (k,) for its derivatives."""
    a, b = (np.array(values, dtype=np.float64)[None] for values in (a, b))
    gain, d_a, d_b = _backend.cpu.expected_maximum(a, b)
    return float(gain[0]), d_a[0], d_b[0]


def random_lines(rng, k):
    """Lines of any ratio of spreads, far from 0 or not."""
    a, b = rng.standard_normal((2, k))
    return 10.0 ** rng.uniform(-2, 2) * a + rng.choice([0.0, 1e3]), 10.0 ** rng.uniform(-1, 1) * b


def tangents(rng, k):
    """Lines that all lie on the envelope, of a parabola."""
    b = rng.standard_normal(k)
    return -rng.uniform(0.1, 20) * b * b, b


def smooth_lines(rng, k):
    """Those of a function on a fine grid: neighbours are nearly equal."""
    x = np.sort(rng.random(k))
    return np.sin(rng.uniform(1, 9) * x), np.exp(-0.5 * ((x - rng.random()) / rng.uniform(0.05, 0.5)) ** 2)


MAKERS = [random_lines, tangents, smooth_lines]


def dominated(rng, a, b, k):
    """The lines (a, b) among k - len(a) others that are nowhere the maximum: mixtures of two of them, and lower."""
    one, two = rng.integers(len(a), size=(2, k - len(a)))
    u = rng.random(k - len(a))
    below = u * a[one] + (1 - u) * a[two] - 1e-6
    return np.r_[below, a], np.r_[u * b[one] + (1 - u) * b[two], b]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("k", [1, 2, 7, 32, 33, 120])
def test_high_precision(make, k):
    rng = np.random.default_rng(k)
    for _ in range(5):
        a, b = make(rng, k)
        gain, d_a, d_b = expected_maximum(a, b)
        exact, exact_a, exact_b = oracle.expected_maximum(a, b)
        nearest = min((abs(float(c)) for c in oracle.envelope(a, b)[1]), default=0.0)
        assert_near(gain, float(exact), tolerance(np.float64, condition=nearest**2))  # phi(c) magnifies c by c^2
        assert_near(d_a, exact_a, tolerance(np.float64, k), scale=1.0)
        assert_near(d_b, exact_b, tolerance(np.float64, k), scale=1.0)


@pytest.mark.parametrize("c", [0.0, 1e-9, 0.5, 1.0, 3.0, 8.0, 20.0, 37.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("k", [2, 50])
def test_tails(c, sign, k):
    """Two lines that cross at c; down to 1e-300 all digits that c has remain."""
    a, b = np.array([0.0, -2.0 * c]), np.array([0.0, sign * 2.0])
    exact, exact_a, exact_b = oracle.expected_maximum(a, b)
    a, b = np.r_[np.full(k - 2, -1e3), a], np.r_[np.zeros(k - 2), b]
    gain, d_a, d_b = expected_maximum(a, b)
    near = tolerance(np.float64, condition=c * c)
    assert_near(gain, float(exact), near)
    if c:  # at 0 the lines tie
        assert_near(d_a[-2:], exact_a, near)
    assert_near(d_b[-2:], exact_b, near)


def test_beyond_all_numbers_is_zero():
    gain, d_a, d_b = expected_maximum([0.0, -50.0, -1e300], [0.0, 1.0, -1.0])
    assert gain == 0 and not d_a.any() and not d_b.any()


@pytest.mark.parametrize("make", MAKERS)
def test_quadrature(make):
    rng = np.random.default_rng(5)
    for k in (3, 40):
        a, b = make(rng, k)
        corners = [float(c) for c in oracle.envelope(a, b)[1] if abs(c) < 10]
        inside = [(-10.0, *corners), (*corners, 10.0)]
        top = a.max()
        area = sum(
            integrate.quad(lambda z, a=a, b=b, top=top: np.max(a - top + b * z) * stats.norm.pdf(z), low, high)[0]
            for low, high in zip(*inside, strict=True)
        )
        assert_near(expected_maximum(a, b)[0], area, 1e-9, scale=np.ptp(b))


@pytest.mark.parametrize("make", [random_lines, tangents])
def test_gradient_by_differences(make):
    rng = np.random.default_rng(9)
    for k in (4, 45):
        a, b = make(rng, k)
        if np.sort(a)[-1] - np.sort(a)[-2] < 1e-4:
            a[np.argmax(a)] += 1e-3  # the largest intercept is a kink
        _, d_a, d_b = expected_maximum(a, b)
        near = {"relative": tolerance(np.float64, k, DIFFERENCE), "scale": 1.0 + np.abs(a).max()}
        assert_near(d_a, differences(lambda x, b=b: expected_maximum(x, b)[0], a), **near)
        assert_near(d_b, differences(lambda x, a=a: expected_maximum(a, x)[0], b), **near)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("k", [200, 5000])
def test_lines_below_the_others_change_nothing(make, k):
    """Many lines are sifted before they are sorted, few are not."""
    rng = np.random.default_rng(k)
    a, b = make(rng, 25)
    few = expected_maximum(a, b)
    many = expected_maximum(*dominated(rng, a, b, k))
    for one, other in zip(few, many, strict=True):
        assert_near(np.atleast_1d(other)[-len(np.atleast_1d(one)) :], np.atleast_1d(one), tolerance(np.float64, 25))
    assert not many[1][:-25].any() and not many[2][:-25].any()


@given(seed=st.integers(0, 10**6), k=st.integers(1, 80), make=st.sampled_from(MAKERS))
def test_properties(seed, k, make):
    rng = np.random.default_rng(seed)
    a, b = make(rng, k)
    gain, d_a, d_b = expected_maximum(a, b)
    near = tolerance(np.float64, 4 * k) * (np.ptp(a) + np.ptp(b) + 1e-300)
    rounded = tolerance(np.float64) * (np.abs(a).max() + np.abs(b).max())
    assert gain >= 0
    assert abs(d_a.sum()) <= tolerance(np.float64, k) and abs(d_b.sum()) <= tolerance(np.float64, k)
    # of degree 1 in (a, b), and the slopes' mean adds nothing
    assert abs((a - a.max()) @ d_a + (b - b[np.argmax(a)]) @ d_b - gain) <= near
    assert abs(expected_maximum(a, b + 3.0)[0] - gain) <= near + rounded + tolerance(np.float64, 3)
    assert abs(expected_maximum(a - 7.0, b)[0] - gain) <= near + rounded + tolerance(np.float64, 7)
    assert abs(expected_maximum(a, -b)[0] - gain) <= near
    assert expected_maximum(4.0 * a, 4.0 * b)[0] == 4.0 * gain
    order = rng.permutation(k)
    again = expected_maximum(a[order], b[order])
    assert abs(again[0] - gain) <= near
    # more lines, a larger maximum; the present best may be larger too
    fewer = expected_maximum(a[: k // 2 + 1], b[: k // 2 + 1])[0] + a[: k // 2 + 1].max()
    assert gain + a.max() >= fewer - near - rounded


@pytest.mark.parametrize("k", [1, 20, 100])
def test_parallel_lines_gain_nothing(k):
    for b in (np.zeros(k), np.full(k, 0.7)):
        gain, d_a, d_b = expected_maximum(np.arange(k, dtype=float), b)
        assert gain == 0 and not d_a.any() and not d_b.any()


@pytest.mark.parametrize("copies", [2, 60])
def test_copies_count_once(copies):
    a, b = np.array([0.3, -0.2, 0.1]), np.array([-1.0, 0.4, 2.0])
    gain, d_a, d_b = expected_maximum(a, b)
    again, da, db = expected_maximum(np.repeat(a, copies), np.repeat(b, copies))
    assert again == gain
    assert_near(da.reshape(3, -1).sum(axis=1), d_a, tolerance(np.float64))
    assert_near(db.reshape(3, -1).sum(axis=1), d_b, tolerance(np.float64))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.7e308])
@pytest.mark.parametrize("k", [5, 64])
@pytest.mark.parametrize("of", ["a", "b"])
def test_a_row_that_is_not_finite_is_nan(bad, k, of):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, k))
    good = _backend.cpu.expected_maximum(a, b)
    (a if of == "a" else b)[1, k // 2] = bad
    for one, other in zip(good, _backend.cpu.expected_maximum(a, b), strict=True):
        assert np.isnan(other[1]).all()
        np.testing.assert_array_equal(other[[0, 2]], one[[0, 2]])


def test_threads_share_the_rows():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 300, 400))
    before = lvm.get_num_threads()
    try:
        lvm.set_num_threads(1)
        alone = _backend.cpu.expected_maximum(a, b)
        lvm.set_num_threads(3)
        shared = _backend.cpu.expected_maximum(a, b)
    finally:
        lvm.set_num_threads(before)
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)
    for row in (0, 299):
        assert alone[0][row] == expected_maximum(a[row], b[row])[0]


def test_shapes():
    f = _backend.cpu.expected_maximum
    gain, d_a, d_b = f(np.zeros((0, 4)), np.zeros((0, 4)))
    assert gain.shape == (0,) and d_a.shape == d_b.shape == (0, 4)
    with pytest.raises(ValueError, match="a must have at least one column"):
        f(np.zeros((2, 0)), np.zeros((2, 0)))
    with pytest.raises(ValueError, match=r"b must have shape \(2, 3\), got \(2, 4\)"):
        f(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(TypeError):
        f(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32))
