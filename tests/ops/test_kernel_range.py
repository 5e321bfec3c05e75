"""Stationary kernels from coincident points to the ends of the range: ulp errors against mpmath.

One column, lengthscale and variance 1, and distances r of a few bits, so that s = r^2 is exact wherever it is a normal
number, as is s / 2: what is measured is the function. The allowed error is

    4 + k |a| ulp,

a the argument of the exponential, which is rounded k half-ulps or so before: a relative error e of a is one of |a| e of
exp(a). Rounding s too, where r has more bits, adds one to k.
"""

from __future__ import annotations

import functools

import mpmath
import numpy as np
import pytest
from reference.kernels import MP_DIGITS, map_mp, ulp_error

from lvmfast import kernels

pytestmark = pytest.mark.usefixtures("instruction_set")

ULPS = 4.0
ALPHAS = [1e-3, 0.03, 0.5, 1.0, 7.0, 1e3, 1e6]
ROOT = {"Matern12": 1, "Matern32": 3, "Matern52": 5}
# Roundings of the argument: of the root, and of its product with r; of u, log(1 + u) (three half-ulps) and the product.
ROUNDED = {"RBF": 0, "Matern12": 0, "Matern32": 2, "Matern52": 2, "RationalQuadratic": 5}
KINDS = ["RBF", *ROOT]
# The largest u = s / (2 alpha) of which log(1 + u) is not cut off.
LARGEST = {np.float32: 1e37, np.float64: 1e300}


def argument(kind, r, alpha=None):
    """a in the kernel's exp(a), exact."""
    if kind == "RBF":
        return -r * r / 2
    if kind == "RationalQuadratic":
        return -alpha * mpmath.log1p(r * r / (2 * alpha))
    return -mpmath.sqrt(ROOT[kind]) * r


def factor(kind, r):
    """The polynomial before the exponential."""
    if kind == "Matern32":
        return 1 - argument(kind, r)
    return 1 - argument(kind, r) + argument(kind, r) ** 2 / 3 if kind == "Matern52" else mpmath.mpf(1)


def few_bits(r, dtype):
    """The nearest numbers whose squares are exact."""
    bits = np.finfo(dtype).nmant // 2
    mantissa, exponent = np.frexp(np.asarray(r, dtype=float))
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(dtype)


def powers(low, high, count, dtype):
    return few_bits(10.0 ** np.linspace(low, high, count), dtype)


@functools.cache
def distances(dtype, part):
    """Distances r, their squares 0, tiny to normal, around 1, to the largest."""
    tiny, most = np.log10(float(np.finfo(dtype).tiny)) / 2, np.log10(float(np.finfo(dtype).max)) / 2
    return {
        "zero": np.zeros(1, dtype),
        "small": powers(tiny + 0.01, -1, 150, dtype),
        "usual": powers(-1, 1, 300, dtype),
        "large": powers(1, 3, 300, dtype),
        "huge": powers(3, most - 0.01, 150, dtype),
    }[part]


@functools.cache
def case(kind, dtype, part, alpha=None):
    """Values of a part to 60 digits, |a| and polynomials."""
    r = distances(dtype, part)
    exponent = map_mp(lambda r: argument(kind, r, None if alpha is None else mpmath.mpf(alpha)), r)
    polynomial = map_mp(lambda r: factor(kind, r), r)
    with mpmath.workdps(MP_DIGITS):
        value = np.array([p * mpmath.exp(a) for p, a in zip(polynomial, exponent, strict=True)], dtype=object)
    return value, np.abs(exponent.astype(float)), polynomial.astype(float)


def values(kind, r, dtype, *alpha):
    """k(0, r) for every r of one column; 0 is the centre."""
    K = getattr(kernels, kind)(1.0, 1.0, *alpha)(np.zeros((1, 1), dtype), r[:, None])
    assert K.dtype == dtype
    return K[0]


def check(kind, dtype, part, alpha=None, chosen=None):
    r = distances(dtype, part)
    alphas = () if alpha is None else (float(dtype(alpha)),)
    value, a, polynomial = case(kind, dtype, part, *alphas)
    chosen = np.ones(len(r), bool) if chosen is None else chosen
    error = ulp_error(values(kind, r, dtype, *alphas), value, dtype)
    allowed = ULPS + ROUNDED[kind] * a
    # exp(a) may be denormal, rounded to a multiple of the smallest number; the polynomial magnifies that.
    info = np.finfo(dtype)
    underflown = a > -np.log(float(info.tiny))
    smallest = float(info.smallest_subnormal)
    ulp = np.maximum(np.abs(value.astype(float)) * float(info.eps) / 2, smallest)  # or half of what it is
    allowed = allowed + np.where(underflown, polynomial * (smallest / ulp), 0.0)
    worst = np.argmax(np.where(chosen, error / allowed, 0))
    assert (error[chosen] <= allowed[chosen]).all(), f"{error[worst]:.4g} ulp of {allowed[worst]:.4g} at {r[worst]}"


PARTS = ["zero", "small", "usual", "large", "huge"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", KINDS)
def test_ulp(dtype, kind, part):
    check(kind, dtype, part)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_ulp_rational_quadratic(dtype, alpha, part):
    check("RationalQuadratic", dtype, part, alpha, u(dtype, part, alpha) < LARGEST[dtype])


def u(dtype, part, alpha):
    """s / (2 alpha), which may leave the range of ``dtype``."""
    s = distances(dtype, part).astype(np.longdouble) ** 2
    return s / (2 * np.longdouble(dtype(alpha)))


@pytest.mark.parametrize("alpha", ALPHAS[:4])
def test_rational_quadratic_near_the_end_of_the_range(dtype, alpha):
    """Its tail is that of a power: for a small alpha it is far from 0 at the last numbers there are."""
    at = u(dtype, "huge", alpha)
    check("RationalQuadratic", dtype, "huge", alpha, (at >= LARGEST[dtype]) & (at <= np.finfo(dtype).max))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_rational_quadratic_falls(dtype, alpha):
    """Or stays, over all distances, within the error of both sides."""
    r = np.concatenate([distances(dtype, part) for part in PARTS])
    value = values("RationalQuadratic", r, dtype, alpha).astype(float)
    a = alpha * np.log1p(np.minimum(r.astype(float), 1e150) ** 2 / (2 * alpha))
    slack = (ULPS + ROUNDED["RationalQuadratic"] * np.minimum(a, 800)) * np.finfo(dtype).eps
    assert (np.diff(value) <= 2 * slack[:-1] * value[:-1] + 2 * np.finfo(dtype).smallest_subnormal).all()
    assert value[0] == 1 and (value >= 0).all() and (value <= 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_denormal_results(dtype, kind):
    """The grid has normal, denormal and vanished results, so the tests above say something."""
    value = values(kind, distances(dtype, "large"), dtype)
    tiny = np.finfo(dtype).tiny
    assert (value >= tiny).any() and (value == 0).any()
    assert ((value > 0) & (value < tiny)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_where_denormal_results_end(dtype, kind):
    """0 where the exact value is below half of the smallest number; before, all multiples of the smallest."""
    info = np.finfo(dtype)
    smallest = float(info.smallest_subnormal)
    end = -np.log(smallest)
    near = {"RBF": np.sqrt(2 * end)}.get(kind, end / np.sqrt(ROOT.get(kind, 1)))
    r = few_bits(near * np.linspace(0.98, 1.05, 400), dtype)
    value = values(kind, r, dtype)
    with mpmath.workdps(MP_DIGITS):
        right = np.array([factor(kind, x) * mpmath.exp(argument(kind, x)) for x in map(mpmath.mpf, r.tolist())])
        polynomial = np.array([float(factor(kind, mpmath.mpf(x))) for x in r.tolist()])
    error = np.array([float(abs(mpmath.mpf(float(v)) - e) / smallest) for v, e in zip(value, right, strict=True)])
    # Half a unit of each side, magnified; the argument's own error besides.
    slack = ULPS + polynomial + ROUNDED[kind] * near**2 * float(info.eps) * np.abs(right.astype(float)) / smallest
    assert (error <= slack).all()
    assert value[-1] == 0


@pytest.mark.parametrize("kind", [*KINDS, "RationalQuadratic"])
def test_zero_to_the_last_bit(dtype, kind):
    """Where s is the largest there is, or overflows: 0, not NaN; likewise the slopes."""
    most = float(np.finfo(dtype).max)
    r = np.array([np.sqrt(most) * 0.99, np.sqrt(most) * 4, most / 8], dtype)
    alpha = (2.0,) if kind == "RationalQuadratic" else ()
    value = values(kind, r, dtype, *alpha)
    if kind == "RationalQuadratic":
        assert (value >= 0).all() and (value < np.finfo(dtype).tiny ** 0.9).all()
    else:
        np.testing.assert_array_equal(value, np.zeros(3))
    k = getattr(kernels, kind)(1.0, 1.0, *alpha)
    X, Z = np.zeros((1, 1), dtype), r[:1, None]
    dX, dZ, gradients = k.vjp(X, Z, np.ones((1, 1), dtype))
    for gradient in (dX, dZ, *gradients.values()):
        assert np.isfinite(gradient).all()
    assert abs(float(dX[0, 0])) < 1e-30


@pytest.mark.parametrize("kind", [*KINDS, "RationalQuadratic"])
def test_infinitely_near(dtype, kind):
    """Distances whose squares underflow: 1, and slopes that vanish (Matern12's is -1 until its distance does)."""
    info = np.finfo(dtype)
    r = np.array([0.0, info.smallest_subnormal, info.tiny, float(info.tiny) ** 0.5 / 8], dtype)
    np.testing.assert_array_equal(values(kind, r, dtype), np.ones(4))
    dX, _, gradients = getattr(kernels, kind)().vjp(r[:, None], np.zeros((1, 1), dtype), np.ones((4, 1), dtype))
    assert np.isfinite(dX).all() and dX[0] == 0
    assert (np.abs(dX) <= (1 + 10 * info.eps if kind == "Matern12" else 1e-15)).all()
    np.testing.assert_array_equal(gradients["variance"], 4.0)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_of_all_bits(dtype, kind):
    """Where s is rounded too."""
    r = np.random.default_rng(0).uniform(0, 8, 500).astype(dtype)
    exact_values = map_mp(lambda x: factor(kind, x) * mpmath.exp(argument(kind, x)), r)
    a = map_mp(lambda x: abs(argument(kind, x)), r).astype(float)
    error = ulp_error(values(kind, r, dtype), exact_values, dtype)
    assert (error <= ULPS + (ROUNDED[kind] + 1) * a).all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_rational_quadratic_of_all_bits(dtype, alpha):
    r, alpha = np.random.default_rng(0).uniform(0, 8, 500).astype(dtype), float(dtype(alpha))
    kind, exact_alpha = "RationalQuadratic", mpmath.mpf(alpha)
    exact_values = map_mp(lambda x: mpmath.exp(argument(kind, x, exact_alpha)), r)
    a = map_mp(lambda x: abs(argument(kind, x, exact_alpha)), r).astype(float)
    error = ulp_error(values(kind, r, dtype, alpha), exact_values, dtype)
    assert (error <= ULPS + (ROUNDED[kind] + 1) * a).all()


@pytest.mark.parametrize("kind", [*KINDS, "RationalQuadratic"])
def test_extremes_leave_their_neighbours_alone(dtype, kind):
    """A SIMD pack is computed as one: what vanishes or overflows in a lane must stay there."""
    r = np.linspace(0.1, 3, 37).astype(dtype)
    plain = values(kind, r, dtype)
    for special in (0.0, np.finfo(dtype).tiny, 50.0, np.finfo(dtype).max / 8):
        for place in range(0, 37, 3):
            spoiled = r.copy()
            spoiled[place] = special
            np.testing.assert_array_equal(np.delete(values(kind, spoiled, dtype), place), np.delete(plain, place))
