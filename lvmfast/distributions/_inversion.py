"""The Polya-gamma density and distribution function from their Laplace transform, by a contour integral.

With ``l(s) = log cosh sqrt(s / 2)`` and ``s = z^2 / 2`` at ``t = 0``, the transform is ``exp(-b (l(s) - l(z^2 / 2)))``;
its branch points are ``s = -pi^2 (2 k - 1)^2 / 2``. The contour is the parabola ``s = 2 omega^2 - pi^2 / 2``, with
``omega`` on a vertical line: it opens to the left around all of them, so that ``exp(s x)`` falls like a Gaussian. The
line goes through the saddle point of the integrand, or right of it where the branch point would be too near. Then the
trapezoidal rule with one step in ``omega sqrt(x)`` converges to rounding for every ``b``, ``x`` and ``z``.

Below, ``w = sqrt(s / 2)``, ``w_z = |z| / 2``; ``w_0`` and ``omega_0`` are where the contour meets the real line, and
``w_0 = i v_0`` where ``s < 0`` there.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

__all__ = ["log_cosh", "log_cosh_ratio", "log_probabilities"]

STEP = 0.14  # in omega sqrt(x); 31 nodes end where exp(-2 y^2) is 4e-17
NODES = (np.arange(31) + 0.5) * STEP
LEAST = 1.0  # of omega_0 sqrt(x): exp(-2 pi LEAST / STEP) is 3e-20, and exp(2 LEAST^2) is what is lost to cancellation
TILE = 256  # points at a time: what they need stays in the cache
HALF_PI = 0.5 * np.pi


def log_cosh(w):
    """``log cosh w`` for ``w >= 0``, to a few roundings of itself."""
    small = np.minimum(w, 1.0)
    return np.where(w < 1, np.log1p(2 * np.sinh(0.5 * small) ** 2), w + np.log1p(np.exp(-2 * w)) - np.log(2.0))


def log_cosh_ratio(w, d, v):
    """``log(cosh(v) / cosh(w))`` with ``d = v - w``, for ``v, w >= 0``, to a few roundings of itself.

    ``d`` is given apart, as it may be known better than from the difference.
    """
    a, b = np.minimum(v, 20.0), np.minimum(w, 20.0)
    near = np.log1p(2 * np.sinh(0.5 * (a + b)) * np.sinh(0.5 * np.clip(d, -20.0, 20.0)) / np.cosh(b))
    rest = np.log1p(np.expm1(-2 * np.abs(d)) * expit(-2 * np.minimum(v, w)))
    return np.where(np.maximum(v, w) < 20, near, d + np.where(d < 0, -rest, rest))


def log_probabilities(x, b, z, density=True, distribution=True):
    """Logarithms of the density, the distribution function and one minus it (None where not asked for).

    ``x > 0``, ``b > 0`` and ``z``: finite float64 arrays of one dimension and one length.
    """
    rows = [np.empty(x.size) if wanted else None for wanted in (density, distribution, distribution)]
    with np.errstate(all="ignore"):  # what is out of range is so in the result too
        for first in range(0, x.size, TILE):
            part = slice(first, first + TILE)
            for row, values in zip(rows, _tile(x[part], b[part], z[part], density, distribution), strict=True):
                if row is not None:
                    row[part] = values
    return rows


def _tile(x, b, z, density, distribution):
    root, w_z = np.sqrt(x), 0.5 * np.abs(z)
    w0, omega0, above, floored = _crossing(x, b, root)
    log_height, log_transform, kappa, difference = _at_crossing(x, b, w_z, w0, omega0, above)

    # Nodes y on the upper half of the line; move = x (s - s_0), d = w - w_0, and
    # l(s) - l(s_0) = d + log((1 + exp(-2 w)) / (1 + exp(-2 w_0))).
    x_, b_, w0_ = x[:, None], b[:, None], np.where(above, w0, 1j * w0)[:, None]
    y, center = NODES, (root * omega0)[:, None]
    move = 2 * y * (2j * center - y)
    omega = omega0[:, None] + 1j * (y / root[:, None])
    inverse = HALF_PI / omega
    total = omega * np.sqrt((1 - inverse) * (1 + inverse)) + w0_
    d = move / (2 * x_ * total)
    rest = _log_ratio(kappa[:, None], d)
    # x (s - s_0) - b d in a form without cancellation: 4 x w_0 = b tanh(w_0) at the saddle point.
    values = np.exp(move * ((d + (2 * w0_ - 0.5 * b_ / x_)) / total) - b_ * rest)
    if floored.any():
        # Small b: the transform is nearly constant, and a constant integrates to zero; leave out that at omega_0.
        k = floored
        values[k] = np.exp(move[k]) * np.expm1(-b_[k] * (d[k] + rest[k]))

    log_density = log_cdf = log_sf = None
    if density:
        integral = (center * values.real - y * values.imag).sum(axis=1)
        log_density = log_height + np.log(4 * STEP / np.pi * integral) - np.log(x)
    if distribution:
        log_cdf, log_sf = _distribution(values, center, root * difference, log_height, log_transform, floored)
    return log_density, log_cdf, log_sf


def _crossing(x, b, root):
    """``|w_0|``, ``omega_0``, whether ``s_0 >= 0``, and whether the line lies right of the saddle point.

    The saddle point solves ``w coth(w) = c = b / (4 x)`` in ``q = w^2 > -pi^2 / 4``.
    """
    c = 0.25 * b / x
    near = np.minimum(c, 20.0)  # beyond, coth(w) is 1
    q = near * near - HALF_PI**2 * np.exp(-0.9 * near)
    for _ in range(4):
        w = np.sqrt(np.abs(q))
        k = w / np.where(q > 0, np.tanh(w), np.tan(w))
        tiny = np.abs(q) < 1e-3
        k = np.where(tiny, 1 + q / 3, k)
        slope = np.where(tiny, 1 / 3, 0.5 + 0.5 * (k - k * k) / np.where(tiny, 1.0, q))
        q = np.maximum(q - (k - near) / slope, 0.5 * (q - HALF_PI**2))
    squared = np.where(near < 1e-4, 2 * near, q + HALF_PI**2)
    omega0 = np.where(c < 20, np.sqrt(squared), np.hypot(c, HALF_PI))
    floored = omega0 * root < LEAST
    omega0 = np.where(floored, LEAST / root, omega0)
    above = omega0 >= HALF_PI
    w0 = np.sqrt(np.abs(omega0 - HALF_PI)) * np.sqrt(omega0 + HALF_PI)
    return np.where(floored | (c < 20), w0, c), omega0, above, floored


def _at_crossing(x, b, w_z, w0, omega0, above):
    """Logarithms of integrand and transform at the crossing, ``(1 - tanh(w_0)) / 2``, ``omega_0 - omega_z``."""
    # s_0 >= 0
    d, total = w0 - w_z, w0 + w_z
    ratio = log_cosh_ratio(w_z, d, w0)
    rest = np.log1p(np.expm1(-2 * np.abs(d)) * expit(-2 * np.minimum(w0, w_z)))
    far = 2 * d * (x * total - 0.5 * b) - b * np.where(d < 0, -rest, rest)  # ratio = d + rest
    height_up = np.where(np.maximum(w0, w_z) < 1, 2 * x * d * total - b * ratio, far)
    # s_0 < 0; cos(v_0) = sin(e)
    e = np.where(above, 1.0, omega0 * (omega0 / (HALF_PI + w0)))
    log_cos = np.where(w0 < 1, np.log1p(-2 * np.sin(0.5 * np.minimum(w0, 1.0)) ** 2), np.log(np.sin(e)))
    down = log_cos - log_cosh(w_z)
    log_height = np.where(above, height_up, -2 * x * (w0 * w0 + w_z * w_z) - b * down)
    kappa = np.where(above, expit(-2 * w0), 0.5 - 0.5j / np.tan(e))
    width = omega0 + np.hypot(HALF_PI, w_z)
    difference = np.where(above, d * (total / width), -(w0 * (w0 / width) + w_z * (w_z / width)))
    return log_height, -b * np.where(above, ratio, down), kappa, difference


def _distribution(values, center, gap, log_height, log_transform, floored):
    """``log F`` and ``log(1 - F)``: the integrand over ``t = s - z^2 / 2``, which has a pole, ``gap`` left of the line.

    Without the pole's share the integral is F where the line is right of the pole, else F - 1. What the sum over the
    nodes has of the pole is exactly its residue over ``1 + exp(-2 pi gap / STEP)``. Where the constant is left out
    (``floored``), the residue is 1 less that constant.
    """
    gap_, y = gap[:, None], 1j * NODES
    pole = 2 * ((center + y) / (gap_ + y)) / (2 * center - gap_ + y)  # 1 / (gap + y) + 1 / (2 center - gap + y)
    integral = STEP / np.pi * (values.real * pole.real - values.imag * pole.imag).sum(axis=1)
    distance = np.where(np.abs(2 * np.pi / STEP * gap) > 40, np.copysign(np.inf, gap), 2 * np.pi / STEP * gap)
    lower = (gap > 0) & ~floored
    share = expit(np.where(lower, -distance, distance))
    rest = np.where(share == 0, 0.0, np.where(floored, -np.expm1(log_transform), 1.0) * share * np.exp(-log_height))
    tail = np.minimum(log_height + np.log(np.where(lower, integral, -integral) + rest), 0.0)
    other = np.where(tail > -0.5, np.log(-np.expm1(tail)), np.log1p(-np.exp(tail))) + 0.0
    return np.where(lower, tail, other), np.where(lower, other, tail)


def _log_ratio(kappa, d):
    """``log(1 + kappa (exp(-2 d) - 1))``, to roundings of ``|kappa d|``; 0 where ``kappa`` is."""
    u = np.empty_like(d)
    sine, grown = np.sin(-d.imag), np.expm1(np.where(kappa == 0, 0.0, -2.0) * d.real)
    u.real = grown - 2 * (1 + grown) * sine * sine
    u.imag = 2 * (1 + grown) * sine * np.cos(d.imag)
    u *= kappa
    result = np.empty_like(d)
    result.real = 0.5 * np.log1p(u.real * (2 + u.real) + u.imag * u.imag)
    result.imag = np.arctan2(u.imag, 1 + u.real)
    return result
