"""What every bijector has."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_integer
from lvmfast.bijectors import _compiled
from lvmfast.bijectors._parameters import Described, with_room

__all__ = ["Bijector", "summed_to"]


class Bijector(Described):
    r"""A smooth one-to-one map ``y = f(x)`` with ``log |det dy/dx| = -log |det dx/dy|``.

    A subclass defines ``_forward(x)``, ``_inverse(y)`` and one of ``_forward_log_det(x)`` and ``_inverse_log_det(y)``,
    on arrays of float32 or float64 whose last ``event_ndims`` dimensions are one event. A log-det has the shape of the
    other dimensions, or one that broadcasts to it: a constant may be a number. It may also define
    ``_forward_and_log_det(x)`` and ``_inverse_and_log_det(y)``, where the two share work; ``_outside(y)``, true where
    ``y`` has no inverse, with ``_range``, that rule in words, and ``_outside_domain(x)`` with ``_domain``; and for
    pull-backs ``_forward_vjp(x, y_bar, log_det_bar)`` and ``_inverse_vjp(y, x_bar, log_det_bar)``.

    Attributes
    ----------
    event_ndims : int
        Dimensions of one ``x``: 0 for maps of numbers, 1 for maps of vectors.
    inverse_event_ndims : int
        Those of one ``y``; the same unless a subclass says otherwise.

    Notes
    -----
    Results have the dtype of ``x`` or ``y``, float32 or float64. Nothing is kept from one call to the next.

    References
    ----------
    J. V. Dillon et al., TensorFlow Distributions, arXiv:1711.10604, 2017, sec. 4.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.bijectors import Bijector
    >>> class Cube(Bijector):
    ...     def _forward(self, x):
    ...         return x**3
    ...
    ...     def _inverse(self, y):
    ...         return np.cbrt(y)
    ...
    ...     def _forward_log_det(self, x):
    ...         return np.log(3 * x**2)
    >>> float(Cube().inverse_log_det(8.0).round(6))
    -2.484907
    """

    event_ndims: int = 0
    _range = "be in the range of the bijector"
    _domain = "be in the domain of the bijector"

    @property
    def inverse_event_ndims(self) -> int:
        """Dimensions of one ``y``."""
        return self.event_ndims

    @with_room
    def forward(self, x):
        """``y = f(x)``.

        Raises
        ------
        ValueError
            If ``x`` is not in the domain of the bijector.
        """
        x = self._in_domain(self._input(x, "x", self.event_ndims))
        fast = _compiled.run(self, x, inverse=False, log_det=False)
        if fast:
            return fast[0]
        with np.errstate(all="ignore"):
            return self._forward(x)

    @with_room
    def inverse(self, y):
        """``x`` with ``f(x) = y``.

        Raises
        ------
        ValueError
            If ``y`` is not in the range of the bijector.
        """
        y = self._in_range(self._input(y, "y", self.inverse_event_ndims))
        fast = _compiled.run(self, y, inverse=True, log_det=False)
        if fast:
            return fast[0]
        with np.errstate(all="ignore"):
            return self._inverse(y)

    @with_room
    def forward_log_det(self, x, event_ndims=None):
        """``log |det dy/dx|`` of shape ``x.shape[:-event_ndims]``; a larger ``event_ndims`` sums over more of them."""
        x, more = self._with_events(x, "x", self.event_ndims, event_ndims)
        x = self._in_domain(x)
        fast = _compiled.run(self, x, inverse=False, value=False, more=more)
        if fast:
            return fast[1]
        with np.errstate(all="ignore"):
            return summed_to(self._forward_log_det(x), x, self.event_ndims, more)

    @with_room
    def inverse_log_det(self, y, event_ndims=None):
        """``log |det dx/dy| = -forward_log_det(inverse(y))``; raises as :meth:`inverse` does."""
        y, more = self._with_events(y, "y", self.inverse_event_ndims, event_ndims)
        y = self._in_range(y)
        fast = _compiled.run(self, y, inverse=True, value=False, more=more)
        if fast:
            return fast[1]
        with np.errstate(all="ignore"):
            return summed_to(self._inverse_log_det(y), y, self.inverse_event_ndims, more)

    @with_room
    def forward_and_log_det(self, x, event_ndims=None):
        """``forward(x)`` and ``forward_log_det(x, event_ndims)`` at once."""
        x, more = self._with_events(x, "x", self.event_ndims, event_ndims)
        x = self._in_domain(x)
        fast = _compiled.run(self, x, inverse=False, more=more)
        if fast:
            return fast
        with np.errstate(all="ignore"):
            y, log_det = self._forward_and_log_det(x)
            return y, summed_to(log_det, y, self.inverse_event_ndims, more)

    @with_room
    def inverse_and_log_det(self, y, event_ndims=None):
        """``inverse(y)`` and ``inverse_log_det(y, event_ndims)`` at once; raises as :meth:`inverse` does."""
        y, more = self._with_events(y, "y", self.inverse_event_ndims, event_ndims)
        y = self._in_range(y)
        fast = _compiled.run(self, y, inverse=True, more=more)
        if fast:
            return fast
        with np.errstate(all="ignore"):
            x, log_det = self._inverse_and_log_det(y)
            return x, summed_to(log_det, x, self.event_ndims, more)

    @with_room
    def forward_vjp(self, x, y_bar, log_det_bar=0):
        """Cotangent of ``x`` under :meth:`forward_and_log_det`: ``(dy/dx)^T y_bar + (d log_det/dx) log_det_bar``.

        Parameters
        ----------
        x : array_like
        y_bar : array_like
            Cotangent of ``y``; broadcasts to its shape.
        log_det_bar : array_like, default=0
            Cotangent of the log-det (with the bijector's own ``event_ndims``); broadcasts to its shape.

        Raises
        ------
        ValueError
            If ``x`` is not in the domain of the bijector, or a cotangent does not broadcast to its shape.
        """
        x = self._in_domain(self._input(x, "x", self.event_ndims))
        y_bar, log_det_bar = self._cotangents(x, y_bar, "y_bar", log_det_bar)
        with np.errstate(all="ignore"):
            return _reduced(self._forward_vjp(x, y_bar, log_det_bar), x.shape)

    @with_room
    def inverse_vjp(self, y, x_bar, log_det_bar=0):
        """Cotangent of ``y`` under :meth:`inverse_and_log_det`: ``(dx/dy)^T x_bar + (d log_det/dy) log_det_bar``."""
        y = self._in_range(self._input(y, "y", self.inverse_event_ndims))
        x_bar, log_det_bar = self._cotangents(y, x_bar, "x_bar", log_det_bar)
        with np.errstate(all="ignore"):
            return _reduced(self._inverse_vjp(y, x_bar, log_det_bar), y.shape)

    def vjp(self, x, y_bar):
        """Cotangent of ``x`` under :meth:`forward`."""
        return self.forward_vjp(x, y_bar)

    def _forward(self, x):
        raise NotImplementedError(f"{type(self).__name__} must define _forward(x)")

    def _inverse(self, y):
        raise NotImplementedError(f"{type(self).__name__} has no inverse: it must define _inverse(y)")

    def _forward_log_det(self, x):
        self._check_log_det()
        return -self._inverse_log_det(self._forward(x))

    def _inverse_log_det(self, y):
        self._check_log_det()
        return -self._forward_log_det(self._inverse(y))

    def _forward_and_log_det(self, x):
        y = self._forward(x)
        return y, self._forward_log_det(x) if self._has("_forward_log_det") else -self._inverse_log_det(y)

    def _inverse_and_log_det(self, y):
        x = self._inverse(y)
        return x, self._inverse_log_det(y) if self._has("_inverse_log_det") else -self._forward_log_det(x)

    def _forward_vjp(self, x, y_bar, log_det_bar):
        if self.event_ndims == 0 and self._has("_inverse_vjp"):
            y = self._forward(x)
            slope = self._inverse_vjp(y, 1.0, 0.0)
            return (y_bar - log_det_bar * self._inverse_vjp(y, 0.0, 1.0)) / slope
        raise NotImplementedError(f"{type(self).__name__} has no pull-back: it must define _forward_vjp")

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        # log |dx/dy| = -log |dy/dx|, at x(y)
        if self.event_ndims == 0 and self._has("_forward_vjp"):
            x = self._inverse(y)
            return (x_bar - log_det_bar * self._forward_vjp(x, 0.0, 1.0)) / self._forward_vjp(x, 1.0, 0.0)
        raise NotImplementedError(f"{type(self).__name__} has no pull-back of its inverse: it must define _inverse_vjp")

    def _outside(self, y):
        """Where ``y`` has no inverse, an array of bool; None where every ``y`` has one."""

    def _outside_domain(self, x):
        """Where ``x`` has no image, likewise."""

    def _has(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(Bijector, method)

    def _restricted(self, check: str) -> bool:
        """Whether ``_in_range`` or ``_in_domain`` can fail."""
        return self._has(check) or self._has("_outside" if check == "_in_range" else "_outside_domain")

    def _check_log_det(self) -> None:
        if not self._has("_forward_log_det") and not self._has("_inverse_log_det"):
            raise NotImplementedError(
                f"{type(self).__name__} has no log-det: it must define _forward_log_det(x) or _inverse_log_det(y)"
            )

    def _input(self, value, name: str, event_ndims: int):
        value = as_float_array(value, name, min_ndim=event_ndims)
        self._image_shape(value.shape, name)
        return value

    def _image_shape(self, shape, name: str):
        """The shape of the image of points of ``shape``, None if unknown; an error where parameters do not fit them."""

    def _with_events(self, value, name: str, own: int, wanted):
        """The array, and the dimensions over which the log-det is summed besides those of an event."""
        value = self._input(value, name, own)
        if wanted is None:
            return value, 0
        wanted = check_integer(wanted, "event_ndims", own)
        if wanted > value.ndim:
            raise ValueError(f"event_ndims must be <= the dimensions of {name}, {value.ndim}, got {wanted}")
        return value, wanted - own

    def _in_range(self, y):
        outside = self._outside(y)
        if outside is not None and outside.any():
            raise ValueError(f"y must {self._range}, got {_first(y, outside)}")
        return y

    def _in_domain(self, x):
        outside = self._outside_domain(x)
        if outside is not None and outside.any():
            raise ValueError(f"x must {self._domain}, got {_first(x, outside)}")
        return x

    def _cotangents(self, at, bar, name: str, log_det_bar):
        bar, log_det_bar = as_float_array(bar, name), as_float_array(log_det_bar, "log_det_bar")
        _backend.module_for(at, **{name: bar}, log_det_bar=log_det_bar)
        shape = self._image_shape(at.shape, "x")
        if shape is not None:
            for what, cotangent, whole in (
                (name, bar, shape),
                ("log_det_bar", log_det_bar, shape[: len(shape) - self.event_ndims]),
            ):
                if not _broadcasts_to(cotangent.shape, whole):
                    raise ValueError(f"{what} must broadcast to the shape {whole}, got {cotangent.shape}")
        return tuple(_backend.like(part, at).astype(at.dtype, copy=False) for part in (bar, log_det_bar))


def summed_to(log_det, event, event_ndims: int, more: int):
    """A log-det as an array of the batch of ``event``, summed over the last ``more`` dimensions of that."""
    xp = _backend.namespace(event)
    batch = event.shape[: event.ndim - event_ndims]
    log_det = xp.asarray(log_det, dtype=event.dtype)
    shape = np.broadcast_shapes(log_det.shape, batch)
    if log_det.shape != shape:
        log_det = xp.broadcast_to(log_det, shape)
        log_det = log_det if more else log_det.copy()
    if more:
        log_det = log_det.sum(axis=tuple(range(-more, 0)), dtype=np.float64).astype(event.dtype)
    return log_det[()] if isinstance(log_det, np.ndarray) else log_det


def _broadcasts_to(shape, whole) -> bool:
    return len(shape) <= len(whole) and all(n in (1, m) for n, m in zip(shape[::-1], whole[::-1], strict=False))


def _reduced(bar, shape):
    """A cotangent of ``shape``: summed over the dimensions to which parameters had broadcast."""
    if np.shape(bar) == shape:
        return bar
    xp = _backend.namespace(bar)
    bar = xp.asarray(bar)
    if np.broadcast_shapes(bar.shape, shape) != bar.shape:
        return xp.broadcast_to(bar, np.broadcast_shapes(bar.shape, shape)).copy()
    lead = bar.ndim - len(shape)
    ones = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and bar.shape[lead + i] != 1)
    return bar.sum(axis=ones).reshape(shape)


def _first(y, outside):
    """What to show of ``y``: its first number that is outside, or the first event that is."""
    index = tuple(np.argwhere(np.asarray(_backend.to_numpy(outside)))[0])
    got = np.asarray(_backend.to_numpy(y))[index]
    return f"{float(got):g}" if np.ndim(got) == 0 else np.array2string(got, precision=6, threshold=8)
