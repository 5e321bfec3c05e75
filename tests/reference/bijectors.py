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


def _sinh_arcsinh(x, skewness, tailweight):
    return 2 * mpmath.sinh((mpmath.asinh(x) + skewness) * tailweight) / mpmath.sinh(mpmath.asinh(2) * tailweight)


def _ordered(x):
    y = [x[0]]
    for step in x[1:]:
        y.append(y[-1] + mpmath.exp(step))
    return y


def _triangle(x, L):
    return [mpmath.fsum(mpmath.mpf(float(row[j])) * x[j] for j in range(i + 1)) for i, row in enumerate(L)]


# y = f(x) of a list of mpf, by the definitions; parameters as the classes have them.
MAPS = {
    "Identity": lambda x: list(x),
    "Shift": lambda x, shift: [t + shift for t in x],
    "Scale": lambda x, scale: [t * scale for t in x],
    "Exp": lambda x: [mpmath.exp(t) for t in x],
    "Log": lambda x: [mpmath.log(t) for t in x],
    "Softplus": lambda x, floor: [floor + _softplus(t) for t in x],
    "Sigmoid": lambda x, low, high: [low + (high - low) / (1 + mpmath.exp(-t)) for t in x],
    "Tanh": lambda x: [mpmath.tanh(t) for t in x],
    "Power": lambda x, power: [t**power for t in x],
    "SinhArcsinh": lambda x, skewness, tailweight: [_sinh_arcsinh(t, skewness, tailweight) for t in x],
    "ScaleTriL": _triangle,
    "Permute": lambda x, permutation: [x[i] for i in permutation],
    "Banana": lambda x: [x[0], x[1] - x[0] ** 2 - 1, *x[2:]],
    "Ordered": _ordered,
}


def image_mp(steps, x):
    """What the maps ``(name, *parameters)`` of ``steps`` make of a vector, the last one first, to 60 digits."""
    with mpmath.workdps(60):
        x = [mpmath.mpf(float(t)) for t in x]
        for name, *parameters in reversed(steps):
            exact = [mpmath.mpf(p) if isinstance(p, float) else p for p in parameters]
            x = MAPS[name](x, *exact)
        return x


def log_det_mp(steps, x):
    """log |det dy/dx| of the same, by central differences of 1e-20 in 80 digits: no derivative is written down."""
    with mpmath.workdps(80):
        h, n = mpmath.mpf(10) ** -20, len(x)
        x = [mpmath.mpf(float(t)) for t in x]

        def image(j, sign):
            moved = [t + (sign * h if i == j else 0) for i, t in enumerate(x)]
            for name, *parameters in reversed(steps):
                exact = [mpmath.mpf(p) if isinstance(p, float) else p for p in parameters]
                moved = MAPS[name](moved, *exact)
            return moved

        columns = [[(a - b) / (2 * h) for a, b in zip(image(j, 1), image(j, -1), strict=True)] for j in range(n)]
        return mpmath.log(abs(mpmath.det(mpmath.matrix(columns))))
