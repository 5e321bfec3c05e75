"""Bijectors of numbers with curved tails: onto an interval, and with other tails."""

from __future__ import annotations

import math

import numpy as np

from lvmfast import _backend
from lvmfast.bijectors import _compiled
from lvmfast.bijectors._elementwise import Elementwise
from lvmfast.bijectors._parameters import at, broadcast_parameters, parameter

__all__ = ["Sigmoid", "SinhArcsinh", "Tanh"]

LOG_2 = math.log(2.0)
GENTLE = 4.0  # tail weights up to which programs in float32 lose no more than the last numbers before infinity
LARGE, MOST = 700.0, 1e290


class Sigmoid(Elementwise):
    """From the real line to ``(low, high)``: ``y = low + (high - low) / (1 + exp(-x))``.

    ``log dy/dx = log(high - low) - |x| - 2 log(1 + exp(-|x|)) = log(y - low) + log(high - y) - log(high - low)``.

    Parameters
    ----------
    low, high : float or array_like, default=0, 1
        Ends of the interval, ``low < high``; they broadcast with ``x``.

    Examples
    --------
    >>> from lvmfast.bijectors import Sigmoid
    >>> float(Sigmoid(-1.0, 3.0).forward(0.0))
    1.0
    """

    _broadcasts = ("low", "high")

    def __init__(self, low=0.0, high=1.0):
        self.low, self.high = parameter(low, "low"), parameter(high, "high")
        broadcast_parameters(low=self.low, high=self.high)
        width = self.high - self.low
        if not np.all(_backend.to_numpy(width > 0)) or not np.all(np.isfinite(_backend.to_numpy(width))):
            raise ValueError(f"low must be < high, and high - low finite, got {self!r}")

    @property
    def _range(self) -> str:
        return f"be > low and < high of {self!r}"

    def _ends(self, x):
        low, high = at(self.low, x), at(self.high, x)
        return low, high, high - low

    def _forward(self, x):
        xp = _backend.namespace(x)
        low, high, width = self._ends(x)
        e = xp.exp(-xp.abs(x))
        part = width * (e / (1 + e))
        return xp.where(x < 0, low + part, high - part)

    def _inverse(self, y):
        xp = _backend.namespace(y)
        low, high, _ = self._ends(y)
        return xp.log(y - low) - xp.log(high - y)

    def _forward_log_det(self, x):
        xp = _backend.namespace(x)
        size = xp.abs(x)
        return xp.log(xp.asarray(self._ends(x)[2], x.dtype)) - size - 2 * xp.log1p(xp.exp(-size))

    def _inverse_log_det(self, y):
        xp = _backend.namespace(y)
        low, high, width = self._ends(y)
        return xp.log(xp.asarray(width, y.dtype)) - (xp.log(y - low) + xp.log(high - y))

    def _derivative(self, x):
        xp = _backend.namespace(x)
        e = xp.exp(-xp.abs(x))
        return self._ends(x)[2] * (e / (1 + e) ** 2)

    def _log_slope(self, x):
        return -_backend.namespace(x).tanh(0.5 * x)

    def _outside(self, y):
        low, high, _ = self._ends(y)
        return ~((y > low) & (y < high))

    def _steps(self, d):
        a = _compiled.vectors(d, self.low, self.high)
        if a is None:
            return None
        log_width = np.log(a[1] - a[0])
        return [(_compiled.SIGMOID, [*a, 2 * log_width], _compiled.total(log_width, d))]


class Tanh(Elementwise):
    """From the real line to ``(-1, 1)``: ``y = tanh(x)``.

    ``log dy/dx = 2 (log 2 - |x| - log(1 + exp(-2 |x|))) = log(1 - y**2)``, without cancellation in either form.

    Examples
    --------
    >>> from lvmfast.bijectors import Tanh
    >>> float(Tanh().forward(0.0))
    0.0
    """

    _range = "be > -1 and < 1"

    def _forward(self, x):
        return _backend.namespace(x).tanh(x)

    def _inverse(self, y):
        return _backend.namespace(y).arctanh(y)

    def _forward_log_det(self, x):
        xp = _backend.namespace(x)
        size = xp.abs(x)
        return 2 * (LOG_2 - size - xp.log1p(xp.exp(-2 * size)))

    def _inverse_log_det(self, y):
        xp = _backend.namespace(y)
        return -(xp.log1p(y) + xp.log1p(-y))

    def _derivative(self, x):
        xp = _backend.namespace(x)
        e = xp.exp(-2 * xp.abs(x))
        return 4 * e / (1 + e) ** 2

    def _log_slope(self, x):
        return -2 * _backend.namespace(x).tanh(x)

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        return (x_bar + 2 * y * log_det_bar) / ((1 - y) * (1 + y))

    def _outside(self, y):
        return ~((y > -1) & (y < 1))

    def _steps(self, d):
        return [(_compiled.TANH, [], 0.0)]


class SinhArcsinh(Elementwise):
    """Skewness and other tails: ``y = c sinh((asinh(x) + skewness) tailweight)``, ``c = 2 / sinh(tailweight asinh 2)``.

    With ``v = (asinh(x) + skewness) tailweight``, ``log dy/dx = log(c tailweight) + log cosh v - log(1 + x**2) / 2``. A
    normal ``x`` has the sinh-arcsinh distribution; ``c`` keeps the point 2 where it is when ``skewness`` is 0.

    Parameters
    ----------
    skewness : float or array_like, default=0
        Above 0: to the right.
    tailweight : float or array_like > 0, default=1
        Above 1: heavier tails. Both broadcast with ``x``.

    References
    ----------
    M. C. Jones, A. Pewsey, Sinh-arcsinh distributions, Biometrika 96, 2009, eq. 2; there ``epsilon = -skewness
    tailweight`` and ``delta = 1 / tailweight`` for the map from ``y / c`` to ``x``.

    Examples
    --------
    >>> from lvmfast.bijectors import SinhArcsinh
    >>> float(SinhArcsinh().forward(0.0))
    0.0
    >>> float(SinhArcsinh(skewness=1.0).forward(0.0)) > 0
    True
    """

    _broadcasts = ("skewness", "tailweight")

    def __init__(self, skewness=0.0, tailweight=1.0):
        self.skewness = parameter(skewness, "skewness")
        self.tailweight = parameter(tailweight, "tailweight", "finite and > 0")
        broadcast_parameters(skewness=self.skewness, tailweight=self.tailweight)

    def _beyond_float32(self):
        return super()._beyond_float32() or not self._is_gentle()

    def _is_gentle(self) -> bool:
        """Whether c and ``sinh v`` are of sizes that can be multiplied; else their logarithms are added."""
        return bool(np.all(_backend.to_numpy(self.tailweight) <= GENTLE))

    def _numbers(self, x):
        c = _backend.namespace(x).exp(self._log_multiplier(x)) if not self._is_gentle() else at(self._multiplier(), x)
        return at(self.skewness, x), at(self.tailweight, x), c

    def _multiplier(self):
        xp = _backend.namespace(self.tailweight)
        c = 2 / xp.sinh(math.asinh(2.0) * self.tailweight)
        return float(c) if isinstance(self.tailweight, float) else c

    def _log_multiplier(self, x):
        xp = _backend.namespace(x)
        w = math.asinh(2.0) * xp.asarray(at(self.tailweight, x), x.dtype)
        return 2 * LOG_2 - w - xp.log(-xp.expm1(-2 * w))

    def _forward(self, x):
        xp = _backend.namespace(x)
        skewness, tailweight, c = self._numbers(x)
        v = (xp.arcsinh(x) + skewness) * tailweight
        y = xp.sinh(v) * c
        if self._is_gentle():
            return y
        size = xp.abs(v)
        log_y = size - LOG_2 + xp.log(-xp.expm1(-2 * size)) + self._log_multiplier(x)
        return xp.where((size < LARGE) & (c > 1 / MOST), y, xp.sign(v) * xp.exp(log_y))

    def _inverse(self, y):
        skewness, tailweight, _ = self._numbers(y)
        return _backend.namespace(y).sinh(self._bent(y) / tailweight - skewness)

    def _bent(self, y):
        """``asinh(y / c)``."""
        xp = _backend.namespace(y)
        c = self._numbers(y)[2]
        v = xp.arcsinh(y / c)
        if self._is_gentle():
            return v
        log_size = xp.log(xp.abs(y)) - self._log_multiplier(y)
        far = xp.where(log_size > 40, log_size + LOG_2, xp.arcsinh(xp.exp(xp.minimum(log_size, 40))))
        return xp.where((xp.abs(y / c) < MOST) & (c > 1 / MOST), v, xp.sign(y) * far)

    def _forward_log_det(self, x):
        u = _backend.namespace(x).arcsinh(x)
        skewness, tailweight, _ = self._numbers(x)
        return self._constant(x) + (_log_cosh((u + skewness) * tailweight) - _log_cosh(u))

    def _inverse_log_det(self, y):
        skewness, tailweight, _ = self._numbers(y)
        v = self._bent(y)
        return -self._constant(y) - (_log_cosh(v) - _log_cosh(v / tailweight - skewness))

    def _constant(self, x):
        xp = _backend.namespace(x)
        return self._log_multiplier(x) + xp.log(xp.asarray(at(self.tailweight, x), x.dtype))

    def _derivative(self, x):
        xp = _backend.namespace(x)
        if not self._is_gentle():
            return xp.exp(self._forward_log_det(x))
        skewness, tailweight, c = self._numbers(x)
        return c * tailweight * xp.cosh((xp.arcsinh(x) + skewness) * tailweight) / xp.hypot(x, xp.ones_like(x))

    def _log_slope(self, x):
        xp = _backend.namespace(x)
        skewness, tailweight, _ = self._numbers(x)
        root = xp.hypot(x, xp.ones_like(x))
        return (xp.tanh((xp.arcsinh(x) + skewness) * tailweight) * tailweight - x / root) / root

    def _steps(self, d):
        if not self._is_gentle():
            return None
        a = _compiled.vectors(d, self.skewness, self.tailweight, self._multiplier())
        return a and [(_compiled.SINH_ARCSINH, a, _compiled.total(np.log(a[1] * a[2]), d))]


def _log_cosh(x):
    xp = _backend.namespace(x)
    size = xp.abs(x)
    return size + xp.log1p(xp.exp(-2 * size)) - LOG_2
