"""y = softplus(x) = log(1 + eˣ), its inverse and the logarithm of its derivative, to 60 digits.

Each function takes numbers of any shape and returns an object array of mpf in that shape; compare
with `kernels.ulp_error`.
"""

from __future__ import annotations

import mpmath

from .kernels import map_mp


def _softplus(x):
    # log(1 + eˣ) = max(x, 0) + log1p(e^-|x|): no digits are lost on either side.
    return max(x, mpmath.mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x)))


def _softplus_inverse(y):
    if y <= 0:
        raise ValueError(f"softplus is positive: y must be > 0, got {y}")
    # Near y = log 2 the result crosses zero; 60 digits leave more than 40 there.
    return mpmath.log(mpmath.expm1(y))


def softplus_mp(x):
    """y = log(1 + eˣ)."""
    return map_mp(_softplus, x)


def softplus_inverse_mp(y):
    """x = log(eʸ - 1), y > 0."""
    return map_mp(_softplus_inverse, y)


def softplus_derivative_mp(x):
    """dy/dx = 1/(1 + e⁻ˣ), the logistic function."""
    return map_mp(lambda t: 1 / (1 + mpmath.exp(-t)), x)


def softplus_log_derivative_mp(x):
    """log dy/dx = -log(1 + e⁻ˣ) = -softplus(-x)."""
    return map_mp(lambda t: -_softplus(-t), x)
