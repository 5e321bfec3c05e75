"""Bijectors made of functions, or of other bijectors."""

from __future__ import annotations

import numpy as np

from lvmfast._validation import check_integer
from lvmfast.bijectors import _compiled
from lvmfast.bijectors._bijector import Bijector, _reduced, summed_to

__all__ = ["Chain", "Inline", "Invert"]


class Inline(Bijector):
    """A bijector from functions: ``y = forward(x)``, ``x = inverse(y)``, and the log-det of one of the two.

    Parameters
    ----------
    forward, inverse : callable
        Of arrays whose last ``event_ndims`` dimensions are one event.
    forward_log_det, inverse_log_det : callable
        ``log |det dy/dx|`` of ``x``, ``log |det dx/dy|`` of ``y``: one of them, or both. May return a constant.
    event_ndims : int >= 0, default=0
        Dimensions of one event.
    forward_vjp, inverse_vjp : callable, optional
        Pull-backs: functions of ``(x, y_bar, log_det_bar)`` and ``(y, x_bar, log_det_bar)``.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.bijectors import Inline
    >>> exp = Inline(np.exp, np.log, forward_log_det=lambda x: x)
    >>> exp.forward_and_log_det(np.array([0.0, 1.0]))
    (array([1.        , 2.71828183]), array([0., 1.]))
    """

    def __init__(
        self,
        forward,
        inverse,
        forward_log_det=None,
        inverse_log_det=None,
        event_ndims=0,
        *,
        forward_vjp=None,
        inverse_vjp=None,
    ):
        functions = {
            "forward": forward,
            "inverse": inverse,
            "forward_log_det": forward_log_det,
            "inverse_log_det": inverse_log_det,
            "forward_vjp": forward_vjp,
            "inverse_vjp": inverse_vjp,
        }
        for name, function in functions.items():
            if not callable(function) and (function is not None or name in ("forward", "inverse")):
                raise TypeError(f"{name} must be callable, got {function!r}")
        if forward_log_det is None and inverse_log_det is None:
            raise TypeError("forward_log_det or inverse_log_det must be given, got neither")
        self._functions = {name: function for name, function in functions.items() if function is not None}
        self.event_ndims = check_integer(event_ndims, "event_ndims", 0)

    def _options(self) -> dict:
        return {**self._functions, "event_ndims": self.event_ndims}

    def _has(self, method: str) -> bool:
        return method[1:] in self._functions

    def _forward(self, x):
        return self._functions["forward"](x)

    def _inverse(self, y):
        return self._functions["inverse"](y)

    def _forward_log_det(self, x):
        return self._functions["forward_log_det"](x) if self._has("_forward_log_det") else super()._forward_log_det(x)

    def _inverse_log_det(self, y):
        return self._functions["inverse_log_det"](y) if self._has("_inverse_log_det") else super()._inverse_log_det(y)

    def _forward_vjp(self, x, y_bar, log_det_bar):
        if self._has("_forward_vjp"):
            return self._functions["forward_vjp"](x, y_bar, log_det_bar)
        return super()._forward_vjp(x, y_bar, log_det_bar)

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        if self._has("_inverse_vjp"):
            return self._functions["inverse_vjp"](y, x_bar, log_det_bar)
        return super()._inverse_vjp(y, x_bar, log_det_bar)


class Chain(Bijector):
    """``y = f_1(f_2(... f_k(x)))``: the right-most bijector is the first that ``x`` meets.

    The log-det is the sum of those of the parts, each over an event of the whole: the largest ``event_ndims`` of them.

    Parameters
    ----------
    bijectors : sequence of Bijector
        May hold other chains; an empty one is the identity.

    Examples
    --------
    >>> from lvmfast.bijectors import Chain, Exp, Softplus
    >>> float(Chain([Exp(), Softplus()]).forward(0.0).round(6))
    2.0
    """

    def __init__(self, bijectors):
        self.bijectors = tuple(bijectors)
        for i, b in enumerate(self.bijectors):
            if not isinstance(b, Bijector):
                raise TypeError(f"bijectors must hold bijectors, got {b!r} at {i}")
            if b.event_ndims != b.inverse_event_ndims:
                raise ValueError(f"bijectors of a chain must keep the dimensions of an event, got {b!r} at {i}")

    @property
    def event_ndims(self) -> int:
        """The largest of the parts."""
        return max((b.event_ndims for b in self.bijectors), default=0)

    def _input(self, value, name, event_ndims):
        value = super()._input(value, name, event_ndims)
        for b in self.bijectors:
            b._input(value, name, b.event_ndims)
        return value

    def _image_shape(self, shape, name):
        for b in reversed(self.bijectors):
            shape = None if shape is None else b._image_shape(shape, name)
        return shape

    def _steps(self, d):
        steps = []
        for b in reversed(self.bijectors):
            part = _compiled.steps_of(b, d)
            if part is None:
                return None
            steps += part
        return steps

    def _forward(self, x):
        for b in reversed(self.bijectors):
            x = b._forward(x)
        return x

    def _inverse(self, y):
        for b in self.bijectors:
            y = b._inverse(y)
        return y

    def _forward_log_det(self, x):
        return self._forward_and_log_det(x)[1]

    def _inverse_log_det(self, y):
        return self._inverse_and_log_det(y)[1]

    def _forward_and_log_det(self, x):
        total, event_ndims = 0.0, self.event_ndims
        for b in reversed(self.bijectors):
            x, log_det = b._forward_and_log_det(x)
            total = total + summed_to(log_det, x, b.event_ndims, event_ndims - b.event_ndims)
        return x, total

    def _inverse_and_log_det(self, y):
        total, event_ndims = 0.0, self.event_ndims
        for b in self.bijectors:
            y, log_det = b._inverse_and_log_det(y)
            total = total + summed_to(log_det, y, b.event_ndims, event_ndims - b.event_ndims)
        return y, total

    def _forward_vjp(self, x, y_bar, log_det_bar):
        return self._pulled([(b, "_forward") for b in reversed(self.bijectors)], x, y_bar, log_det_bar)

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        return self._pulled([(b, "_inverse") for b in self.bijectors], y, x_bar, log_det_bar)

    def _pulled(self, steps, x, bar, log_det_bar):
        inputs, event_ndims = [], self.event_ndims
        for b, method in steps:
            inputs.append(x)
            x = getattr(b, method)(x)
        for (b, method), x in zip(reversed(steps), reversed(inputs), strict=True):
            # every log-det over fewer dimensions has its share of the sum
            own = log_det_bar.reshape(log_det_bar.shape + (1,) * (event_ndims - b.event_ndims))
            bar = _reduced(getattr(b, method + "_vjp")(x, bar, own), x.shape)
        return bar

    def _in_range(self, y):
        return self._checked(self.bijectors, "_in_range", "_inverse", y)

    def _in_domain(self, x):
        return self._checked(self.bijectors[::-1], "_in_domain", "_forward", x)

    @staticmethod
    def _checked(steps, check, move, start):
        at = start
        with np.errstate(all="ignore"):
            for i, b in enumerate(steps):
                try:
                    getattr(b, check)(at)
                except ValueError as error:
                    if i == 0:
                        raise
                    raise ValueError(f"step {i + 1} of the chain, {b!r}, cannot go on: its {error}") from None
                if any(later._restricted(check) for later in steps[i + 1 :]):
                    at = getattr(b, move)(at)
        return start

    def _restricted(self, check):
        return any(b._restricted(check) for b in self.bijectors)

    def __repr__(self) -> str:
        return f"Chain([{', '.join(map(repr, self.bijectors))}])"


class Invert(Bijector):
    """``y = f^{-1}(x)``: forward and inverse of a bijector change places.

    Parameters
    ----------
    bijector : Bijector

    Examples
    --------
    >>> from lvmfast.bijectors import Exp, Invert
    >>> float(Invert(Exp()).forward_log_det(2.0).round(6))
    -0.693147
    """

    def __init__(self, bijector):
        if not isinstance(bijector, Bijector):
            raise TypeError(f"bijector must be a bijector, got {bijector!r}")
        self.bijector = bijector

    @property
    def event_ndims(self) -> int:
        """Dimensions of one ``x``: those of the bijector's ``y``."""
        return self.bijector.inverse_event_ndims

    @property
    def inverse_event_ndims(self) -> int:
        """Dimensions of one ``y``: those of the bijector's ``x``."""
        return self.bijector.event_ndims

    def _in_range(self, y):
        return self._renamed(self.bijector._in_domain, y, "x", "y")

    def _in_domain(self, x):
        return self._renamed(self.bijector._in_range, x, "y", "x")

    @staticmethod
    def _renamed(check, value, old: str, new: str):
        try:
            return check(value)
        except ValueError as error:
            raise ValueError(f"{new}{str(error).removeprefix(old)}") from None

    def _input(self, value, name, event_ndims):
        value = super()._input(value, name, event_ndims)
        self.bijector._input(value, name, event_ndims)
        return value

    def _image_shape(self, shape, name):
        return self.bijector._image_shape(shape, name)

    def _steps(self, d):
        steps = _compiled.steps_of(self.bijector, d)
        return None if steps is None else _compiled.inverted(steps)

    def _restricted(self, check):
        return self.bijector._restricted("_in_domain" if check == "_in_range" else "_in_range")

    def _forward(self, x):
        return self.bijector._inverse(x)

    def _inverse(self, y):
        return self.bijector._forward(y)

    def _forward_log_det(self, x):
        return self.bijector._inverse_log_det(x)

    def _inverse_log_det(self, y):
        return self.bijector._forward_log_det(y)

    def _forward_and_log_det(self, x):
        return self.bijector._inverse_and_log_det(x)

    def _inverse_and_log_det(self, y):
        return self.bijector._forward_and_log_det(y)

    def _forward_vjp(self, x, y_bar, log_det_bar):
        return self.bijector._inverse_vjp(x, y_bar, log_det_bar)

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        return self.bijector._forward_vjp(y, x_bar, log_det_bar)

    def __repr__(self) -> str:
        return f"Invert({self.bijector!r})"
