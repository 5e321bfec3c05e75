"""Bijectors of vectors, the last dimension of an array."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend, linalg
from lvmfast._validation import check_square
from lvmfast.bijectors import _compiled
from lvmfast.bijectors._bijector import Bijector
from lvmfast.bijectors._parameters import at, parameter

__all__ = ["Banana", "Ordered", "Permute", "ScaleTriL", "check_triangular"]


class _Vector(Bijector):
    """Maps of vectors."""

    event_ndims = 1

    def _width(self) -> int | None:
        """The length of a vector, where it is given."""

    def _input(self, value, name, event_ndims):
        value = super()._input(value, name, event_ndims)
        width = self._width()
        if width is not None and value.shape[-1] != width:
            raise ValueError(f"{name} must have {width} numbers in its last dimension, got shape {value.shape}")
        return value

    def _image_shape(self, shape, name):
        return shape


class ScaleTriL(_Vector):
    """``y = L x`` with a lower triangle; ``log |det dy/dx| = sum_i log |L_ii|``.

    Parameters
    ----------
    scale_tril : array_like of shape (..., d, d)
        Zeros above the diagonal and none on it; leading dimensions broadcast with those of ``x``.

    Examples
    --------
    >>> from lvmfast.bijectors import ScaleTriL
    >>> ScaleTriL([[2.0, 0.0], [1.0, 3.0]]).forward([1.0, 1.0])
    array([2., 4.])
    """

    def __init__(self, scale_tril):
        self.scale_tril = check_triangular(scale_tril, positive=False)

    def _width(self):
        return self.scale_tril.shape[-1]

    def _image_shape(self, shape, name):
        batch = self.scale_tril.shape[:-2]
        try:
            return (*np.broadcast_shapes(shape[:-1], batch), *shape[-1:])
        except ValueError:
            got = f"{shape} and {self.scale_tril.shape}"
            raise ValueError(f"{name} must broadcast with the batch of scale_tril, got shapes {got}") from None

    def _forward(self, x):
        L = at(self.scale_tril, x)
        return x @ L.T if L.ndim == 2 else (L @ x[..., None])[..., 0]

    def _inverse(self, y):
        return self._solved(y, trans=False)

    def _solved(self, y, trans: bool):
        L = at(self.scale_tril, y)
        xp = _backend.namespace(y)
        if L.ndim > 2:
            return linalg.solve_triangular(L, xp.ascontiguousarray(y)[..., None], trans=trans)[..., 0]
        rows = xp.ascontiguousarray(y).reshape(-1, self._width())
        return xp.ascontiguousarray(linalg.solve_triangular(L, rows.T, trans=trans).T).reshape(y.shape)

    def _forward_log_det(self, x):
        xp = _backend.namespace(self.scale_tril)
        diagonal = xp.abs(xp.diagonal(self.scale_tril, axis1=-2, axis2=-1))
        return _backend.like(xp.log(diagonal.astype(np.float64)).sum(axis=-1), x)

    def _forward_vjp(self, x, y_bar, log_det_bar):
        L = at(self.scale_tril, x)
        y_bar = _backend.namespace(x).broadcast_to(y_bar, np.broadcast_shapes(y_bar.shape, x.shape))
        return y_bar @ L if L.ndim == 2 else (L.swapaxes(-1, -2) @ y_bar[..., None])[..., 0]

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        xp = _backend.namespace(y)
        return self._solved(xp.broadcast_to(x_bar, np.broadcast_shapes(x_bar.shape, y.shape)), trans=True)

    def _steps(self, d):
        if self.scale_tril.shape != (d, d):
            return None
        L = np.asarray(_backend.to_numpy(self.scale_tril), np.float64)
        constant = float(np.log(np.abs(np.diagonal(L))).sum())
        return [(_compiled.TRIL, [L[np.tril_indices(d)]], constant)]


class Permute(_Vector):
    """``y_i = x_{permutation[i]}``; the log-det is 0.

    Parameters
    ----------
    permutation : array_like of int, shape (d,)
        Every one of 0, ..., d - 1.

    Examples
    --------
    >>> from lvmfast.bijectors import Permute
    >>> Permute([2, 0, 1]).forward([1.0, 2.0, 3.0])
    array([3., 1., 2.])
    """

    def __init__(self, permutation):
        places = np.array(_backend.to_numpy(permutation))
        if places.ndim != 1 or places.dtype.kind not in "iu" or not (np.sort(places) == np.arange(places.size)).all():
            raise ValueError(f"permutation must hold every one of 0, ..., d - 1, got {permutation!r}")
        self.permutation = tuple(int(i) for i in places)

    def _width(self):
        return len(self.permutation)

    def _forward(self, x):
        return x[..., list(self.permutation)]

    def _inverse(self, y):
        return y[..., np.argsort(self.permutation).tolist()]

    def _forward_log_det(self, x):
        return 0.0

    def _forward_vjp(self, x, y_bar, log_det_bar):
        return self._inverse(_backend.namespace(x).broadcast_to(y_bar, np.broadcast_shapes(y_bar.shape, x.shape)))

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        return self._forward(_backend.namespace(y).broadcast_to(x_bar, np.broadcast_shapes(x_bar.shape, y.shape)))

    def _steps(self, d):
        return [(_compiled.PERMUTE, [np.array(self.permutation, np.float64)], 0.0)] if d == self._width() else None


class Banana(_Vector):
    """``y_1 = x_1``, ``y_2 = x_2 - x_1**2 - 1``, the others as they are; the log-det is 0.

    References
    ----------
    H. Haario, E. Saksman, J. Tamminen, Adaptive proposal distribution for random walk Metropolis algorithm,
    Computational Statistics 14, 1999 (the density).

    Examples
    --------
    >>> from lvmfast.bijectors import Banana
    >>> Banana().forward([2.0, 1.0, 7.0])
    array([ 2., -4.,  7.])
    """

    def _input(self, value, name, event_ndims):
        value = super()._input(value, name, event_ndims)
        if value.shape[-1] < 2:
            raise ValueError(f"{name} must have 2 or more numbers in its last dimension, got shape {value.shape}")
        return value

    def _forward(self, x):
        y = x.copy()
        y[..., 1] = x[..., 1] - x[..., 0] ** 2 - 1
        return y

    def _inverse(self, y):
        x = y.copy()
        x[..., 1] = y[..., 1] + y[..., 0] ** 2 + 1
        return x

    def _forward_log_det(self, x):
        return 0.0

    def _forward_vjp(self, x, y_bar, log_det_bar):
        return self._pulled(x, y_bar, -2)

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        return self._pulled(y, x_bar, 2)

    @staticmethod
    def _pulled(x, bar, factor):
        pulled = _backend.namespace(x).broadcast_to(bar, np.broadcast_shapes(bar.shape, x.shape)).copy()
        pulled[..., 0] += factor * x[..., 0] * pulled[..., 1]
        return pulled

    def _steps(self, d):
        return [(_compiled.BANANA, [], 0.0)] if d >= 2 else None


class Ordered(_Vector):
    """From vectors to ascending vectors: ``y_1 = x_1``, ``y_k = y_{k-1} + exp(x_k)``, for cut points and the like.

    ``log |det dy/dx| = x_2 + ... + x_d``.

    Examples
    --------
    >>> from lvmfast.bijectors import Ordered
    >>> Ordered().forward([-1.0, 0.0, 0.0])
    array([-1.,  0.,  1.])
    """

    _range = "ascend"

    def _forward(self, x):
        xp = _backend.namespace(x)
        return xp.cumsum(xp.concatenate([x[..., :1], xp.exp(x[..., 1:])], axis=-1), axis=-1)

    def _inverse(self, y):
        xp = _backend.namespace(y)
        return xp.concatenate([y[..., :1], xp.log(y[..., 1:] - y[..., :-1])], axis=-1)

    def _forward_log_det(self, x):
        return x[..., 1:].sum(axis=-1)

    def _outside(self, y):
        return ~(y[..., 1:] > y[..., :-1]).all(axis=-1)

    def _forward_vjp(self, x, y_bar, log_det_bar):
        xp = _backend.namespace(x)
        y_bar = xp.broadcast_to(y_bar, np.broadcast_shapes(y_bar.shape, x.shape))
        x_bar = xp.cumsum(y_bar[..., ::-1], axis=-1)[..., ::-1].copy()
        x_bar[..., 1:] *= xp.exp(x[..., 1:])
        x_bar[..., 1:] += xp.asarray(log_det_bar)[..., None]
        return x_bar

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        xp = _backend.namespace(y)
        y_bar = xp.broadcast_to(x_bar, np.broadcast_shapes(x_bar.shape, y.shape)).copy()
        step = (y_bar[..., 1:] - xp.asarray(log_det_bar)[..., None]) / (y[..., 1:] - y[..., :-1])
        y_bar[..., 1:] = step
        y_bar[..., :-1] -= step
        return y_bar

    def _steps(self, d):
        return [(_compiled.ORDERED, [], 0.0)]


def check_triangular(value, name: str = "scale_tril", positive: bool = True):
    """A lower triangle with a diagonal above 0 (or not 0) as a parameter."""
    value = parameter(value, name, min_ndim=2)
    check_square(value, name)
    L = np.asarray(_backend.to_numpy(value))
    above = np.triu(L, 1)
    if above.any():
        raise ValueError(f"{name} must have zeros above the diagonal, got {float(above[above != 0][0]):g}")
    diagonal = np.diagonal(L, axis1=-2, axis2=-1)
    bad = diagonal <= 0 if positive else diagonal == 0
    if bad.any():
        rule = "> 0" if positive else "without 0"
        raise ValueError(f"{name} must have a diagonal {rule}, got {float(diagonal[bad][0]):g} (a degenerate scale)")
    return value
