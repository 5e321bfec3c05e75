"""Bijectors of numbers with simple slopes: lines, exponentials, powers."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_positive
from lvmfast.bijectors import _compiled
from lvmfast.bijectors._bijector import Bijector
from lvmfast.bijectors._parameters import at, parameter, with_room

__all__ = ["Elementwise", "Exp", "Identity", "Log", "Power", "Scale", "Shift", "Softplus"]


class Elementwise(Bijector):
    """Maps of numbers: ``_derivative(x)`` is ``dy/dx``, ``_log_slope(x)`` is ``d log |dy/dx| / dx``."""

    _broadcasts: tuple[str, ...] = ()  # the parameters that broadcast with x

    def _image_shape(self, shape, name):
        for other in self._broadcasts:
            own = np.shape(getattr(self, other))
            try:
                shape = np.broadcast_shapes(shape, own)
            except ValueError:
                raise ValueError(f"{name} must broadcast with {other}, got shapes {shape} and {own}") from None
        return shape

    @with_room
    def derivative(self, x):
        """``dy/dx``, elementwise."""
        x = self._in_domain(self._input(x, "x", 0))
        with np.errstate(all="ignore"):
            return self._derivative(x)

    def vjp(self, x, y_bar):
        """Cotangent of ``x`` under :meth:`forward`: ``y_bar * dy/dx``."""
        return as_float_array(y_bar, "y_bar") * self.derivative(x)

    def _forward_vjp(self, x, y_bar, log_det_bar):
        return y_bar * self._derivative(x) + log_det_bar * self._log_slope(x)

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        x = self._inverse(y)
        return (x_bar - log_det_bar * self._log_slope(x)) / self._derivative(x)


class Identity(Elementwise):
    """``y = x``.

    Examples
    --------
    >>> from lvmfast.bijectors import Identity
    >>> float(Identity().forward(2.0))
    2.0
    """

    def _forward(self, x):
        return x.copy()

    def _inverse(self, y):
        return y.copy()

    def _forward_log_det(self, x):
        return 0.0

    def _derivative(self, x):
        return _backend.namespace(x).ones_like(x)

    def _log_slope(self, x):
        return 0.0

    def _steps(self, d):
        return []


class Shift(Elementwise):
    """``y = x + shift``.

    Parameters
    ----------
    shift : float or array_like
        Broadcasts with ``x``.

    Examples
    --------
    >>> from lvmfast.bijectors import Shift
    >>> float(Shift(1.0).forward(2.0))
    3.0
    """

    _broadcasts = ("shift",)

    def __init__(self, shift):
        self.shift = parameter(shift, "shift")

    def _forward(self, x):
        return x + at(self.shift, x)

    def _inverse(self, y):
        return y - at(self.shift, y)

    def _forward_log_det(self, x):
        return self._zeros(x)

    def _inverse_log_det(self, y):
        return self._zeros(y)

    def _zeros(self, x):
        return _backend.namespace(x).zeros(np.broadcast_shapes(x.shape, np.shape(self.shift)), x.dtype)

    def _derivative(self, x):
        return self._zeros(x) + 1

    def _log_slope(self, x):
        return 0.0

    def _steps(self, d):
        a = _compiled.vectors(d, self.shift)
        return a and [(_compiled.SHIFT, a, 0.0)]


class Scale(Elementwise):
    """``y = scale x``; ``log |dy/dx| = log |scale|``.

    Parameters
    ----------
    scale : float or array_like, not 0
        Broadcasts with ``x``.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.bijectors import Scale
    >>> float(Scale(2.0).forward(3.0))
    6.0
    >>> bool(Scale(2.0).forward_log_det(3.0) == np.log(2.0))
    True
    """

    _broadcasts = ("scale",)

    def __init__(self, scale):
        self.scale = parameter(scale, "scale", "finite and not 0")

    def _forward(self, x):
        return x * at(self.scale, x)

    def _inverse(self, y):
        return y / at(self.scale, y)

    def _forward_log_det(self, x):
        xp = _backend.namespace(x)
        return xp.log(xp.abs(xp.broadcast_to(xp.asarray(at(self.scale, x), x.dtype), self._shape(x))))

    def _shape(self, x):
        return np.broadcast_shapes(x.shape, np.shape(self.scale))

    def _derivative(self, x):
        xp = _backend.namespace(x)
        return xp.broadcast_to(xp.asarray(at(self.scale, x), x.dtype), self._shape(x))

    def _log_slope(self, x):
        return 0.0

    def _steps(self, d):
        a = _compiled.vectors(d, self.scale)
        return a and [(_compiled.SCALE, a, _compiled.total(_compiled.log_abs(self.scale), d))]


class Exp(Elementwise):
    """From the real line to the numbers above 0: ``y = exp(x)``; ``log dy/dx = x``.

    Examples
    --------
    >>> from lvmfast.bijectors import Exp
    >>> float(Exp().forward(0.0))
    1.0
    """

    _range = "be > 0"

    def _forward(self, x):
        return _backend.namespace(x).exp(x)

    def _inverse(self, y):
        return _backend.namespace(y).log(y)

    def _forward_log_det(self, x):
        return x

    def _inverse_log_det(self, y):
        return -self._inverse(y)

    def _inverse_and_log_det(self, y):
        x = self._inverse(y)
        return x, -x

    def _derivative(self, x):
        return self._forward(x)

    def _log_slope(self, x):
        return 1.0

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        return (x_bar - log_det_bar) / y

    def _outside(self, y):
        return ~(y > 0)

    def _steps(self, d):
        return [(_compiled.EXP, [], 0.0)]


class Log(Elementwise):
    """From the numbers above 0 to the real line: ``y = log(x)``; ``log dy/dx = -log x``.

    Examples
    --------
    >>> from lvmfast.bijectors import Log
    >>> float(Log().forward(1.0)), float(Log().inverse(0.0))
    (0.0, 1.0)
    """

    _domain = "be > 0"

    def _forward(self, x):
        return _backend.namespace(x).log(x)

    def _inverse(self, y):
        return _backend.namespace(y).exp(y)

    def _forward_log_det(self, x):
        return -self._forward(x)

    def _inverse_log_det(self, y):
        return y

    def _forward_and_log_det(self, x):
        y = self._forward(x)
        return y, -y

    def _derivative(self, x):
        return 1 / x

    def _log_slope(self, x):
        return -1 / x

    def _outside_domain(self, x):
        return ~(x > 0)

    def _steps(self, d):
        return [(_compiled.EXP, True, [], 0.0)]


class Power(Elementwise):
    """From the numbers above 0 to themselves: ``y = x**power``; ``log |dy/dx| = log |power| + (power - 1) log x``.

    Parameters
    ----------
    power : float or array_like, not 0
        Broadcasts with ``x``.

    Notes
    -----
    Programs have ``exp(power log x)``, whose relative error is some ``|power log x|`` roundings.

    Examples
    --------
    >>> from lvmfast.bijectors import Power
    >>> float(Power(2).forward(3.0)), float(Power(2).inverse(9.0))
    (9.0, 3.0)
    """

    _domain = _range = "be > 0"

    _broadcasts = ("power",)

    def __init__(self, power):
        self.power = parameter(power, "power", "finite and not 0")

    def _forward(self, x):
        return self._raised(x, at(self.power, x))

    def _inverse(self, y):
        return self._raised(y, 1 / at(self.power, y))

    @staticmethod
    def _raised(x, power):
        """NaN below 0, where whole powers would give a number."""
        xp = _backend.namespace(x)
        return xp.where(x < 0, x.dtype.type(np.nan), x) ** power

    def _forward_log_det(self, x):
        xp, power = _backend.namespace(x), at(self.power, x)
        return xp.log(xp.abs(xp.asarray(power, x.dtype))) + (power - 1) * xp.log(x)

    def _derivative(self, x):
        power = at(self.power, x)
        return power * x ** (power - 1)

    def _log_slope(self, x):
        return (at(self.power, x) - 1) / x

    def _outside(self, y):
        return ~(y > 0)

    _outside_domain = _outside

    def _steps(self, d):
        a = _compiled.vectors(d, self.power)
        return a and [(_compiled.POWER, a, _compiled.total(_compiled.log_abs(self.power), d))]


class Softplus(Elementwise):
    r"""From the real line to the numbers above ``floor``: ``y = floor + log(1 + exp(x))``.

    ``log dy/dx = -log(1 + exp(-x)) = log(1 - exp(floor - y))``.

    Parameters
    ----------
    floor : float >= 0, default=0
        What ``y`` stays above; keeps a learned variance from vanishing.

    Examples
    --------
    >>> from lvmfast.bijectors import Softplus
    >>> round(float(Softplus().forward(0.0)), 6)
    0.693147
    """

    def __init__(self, floor: float = 0.0):
        self.floor = check_positive(floor, "floor", zero=True)

    @property
    def _range(self) -> str:
        return f"be > floor = {self.floor:g}"

    def _forward(self, x):
        return self.floor + _softplus("softplus", x)

    def _inverse(self, y):
        return _softplus("softplus_inverse", y - y.dtype.type(self.floor))

    def _forward_log_det(self, x):
        return -_softplus("softplus", -x)

    def _inverse_log_det(self, y):
        xp = _backend.namespace(y)
        return -xp.log(-xp.expm1(y.dtype.type(self.floor) - y))

    def _derivative(self, x):
        return _softplus("softplus_derivative", x)

    def _log_slope(self, x):
        return _softplus("softplus_derivative", -x)

    def _outside(self, y):
        return ~(y > self.floor)

    def _steps(self, d):
        return [(_compiled.SOFTPLUS, [np.array([self.floor])], 0.0)]


def _softplus(name: str, x):
    xp = _backend.namespace(x)
    return getattr(_backend.module_for(x), name)(xp.ascontiguousarray(x)).reshape(x.shape)
