"""Normal distributions of numbers and of vectors."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from lvmfast import _backend, random
from lvmfast._validation import as_float_array
from lvmfast.bijectors import ScaleTriL, _compiled
from lvmfast.bijectors._parameters import at, broadcast_parameters, parameter, with_room
from lvmfast.bijectors._vector import check_triangular
from lvmfast.distributions._distribution import LOG_ROOT_2_PI, Distribution

__all__ = ["MultivariateNormalDiag", "MultivariateNormalTriL", "Normal", "filled"]


class Normal(Distribution):
    r"""``log p(x) = -((x - loc) / scale)**2 / 2 - log scale - log(2 pi) / 2``.

    Parameters
    ----------
    loc : float or array_like, default=0
        Mean.
    scale : float or array_like > 0, default=1
        Standard deviation. The two broadcast to ``batch_shape``.

    Examples
    --------
    >>> from lvmfast.distributions import Normal
    >>> float(Normal(1.0, 2.0).log_prob(1.0).round(6))
    -1.612086
    """

    def __init__(self, loc=0.0, scale=1.0):
        self.loc, self.scale = parameter(loc, "loc"), parameter(scale, "scale", "finite and > 0")
        broadcast_parameters(loc=self.loc, scale=self.scale)

    @property
    def batch_shape(self):
        """The shape to which the parameters broadcast."""
        return np.broadcast_shapes(np.shape(self.loc), np.shape(self.scale))

    def _sample(self, shape, rng):
        size = shape + self.batch_shape
        return random.normal(self.loc, self.scale, size or None, rng=rng, dtype=self.dtype)

    def _sample_of(self, j, rng):
        if len(self.batch_shape) != 1:
            return None
        xp = _backend.namespace(j)
        loc, scale = (xp.broadcast_to(xp.asarray(a), self.batch_shape)[j] for a in (self.loc, self.scale))
        return random.normal(loc, scale, rng=rng, dtype=self.dtype)

    def _log_prob(self, x):
        xp = _backend.namespace(x)
        scale = at(self.scale, x)
        z = (x - at(self.loc, x)) / scale
        return -0.5 * z * z - (xp.log(xp.asarray(scale, x.dtype)) + x.dtype.type(LOG_ROOT_2_PI))

    def _program(self, d):
        a = _compiled.vectors(d, self.loc, self.scale)
        return a and _standard_program(*a, d)

    @property
    def mean(self):
        """``loc``."""
        return filled(self.loc, self.batch_shape)

    @property
    def variance(self):
        """``scale**2``."""
        return filled(self.scale**2, self.batch_shape)

    @property
    def stddev(self):
        """``scale``."""
        return filled(self.scale, self.batch_shape)

    def entropy(self):
        """``log(2 pi e scale**2) / 2``."""
        return filled(_backend.namespace(self.scale).log(self.scale) + (0.5 + LOG_ROOT_2_PI), self.batch_shape)

    @with_room
    def cdf(self, x):
        """``P(X <= x)``."""
        x = self._events(x)
        z = (x - at(self.loc, x)) / at(self.scale, x)
        return _backend.like(ndtr(_backend.to_numpy(z)), x)


class _MultivariateNormal(Distribution):
    """Normal distributions of vectors ``x = loc + S z``."""

    @property
    def batch_shape(self):
        """The shape to which the parameters broadcast, without the dimensions of a vector and its scale."""
        loc = () if self.loc is None else self.loc.shape[:-1]
        return np.broadcast_shapes(loc, self._scale_batch())

    def _sample(self, shape, rng):
        size, device = shape + self.batch_shape + self.event_shape, "cuda" if _backend.is_gpu(self._scale) else "cpu"
        x = self._scaled(random.normal(size=size, rng=rng, dtype=self.dtype, device=device))
        return x if self.loc is None else x + at(self.loc, x)

    def _sample_of(self, j, rng):
        if len(self.batch_shape) != 1 or _backend.is_gpu(j) != _backend.is_gpu(self._scale):
            return None
        device = "cuda" if _backend.is_gpu(j) else "cpu"
        z = random.normal(size=j.shape + self.event_shape, rng=rng, dtype=self.dtype, device=device)
        xp = _backend.namespace(z)
        scale = xp.broadcast_to(self._scale, self.batch_shape + self._scale.shape[-1 - self._full :])
        loc = None if self.loc is None else xp.broadcast_to(at(self.loc, z), self.batch_shape + self.event_shape)
        rows = max(1, (1 << 20) // max(1, scale[0].size))
        for i in range(0, len(z), rows):
            block = slice(i, i + rows)
            S = at(scale[j[block]], z)
            z[block] = (S @ z[block, :, None])[..., 0] if self._full else S * z[block]
            if loc is not None:
                z[block] += loc[j[block]]
        return z

    def _log_prob(self, x):
        z = self._whitened(x if self.loc is None else x - at(self.loc, x))
        return -0.5 * (z * z).sum(axis=-1) - self._log_normaliser().astype(x.dtype)

    def _log_normaliser(self):
        xp = _backend.namespace(self._scale)
        diagonal = xp.abs(self._diagonal()).astype(np.float64)
        return xp.log(diagonal).sum(axis=-1) + self.event_shape[0] * LOG_ROOT_2_PI

    def _program(self, d):
        return self._program_from(np.zeros(1) if self.loc is None else _compiled.vectors(d, self.loc)[0], d)

    @property
    def mean(self):
        """``loc``, of shape (*batch_shape, d)."""
        loc = 0.0 if self.loc is None else self.loc
        return filled(loc, self.batch_shape + self.event_shape, self.dtype)

    @property
    def variance(self):
        """The diagonal of the covariance, of shape (*batch_shape, d)."""
        squares = self._scale**2
        return filled(squares.sum(axis=-1) if self._full else squares, self.batch_shape + self.event_shape)

    def entropy(self):
        """``log det S + d log(2 pi e) / 2``."""
        return filled(self._log_normaliser() + 0.5 * self.event_shape[0], self.batch_shape)[()]


class MultivariateNormalTriL(_MultivariateNormal):
    r"""``x = loc + L z`` with ``z`` standard normal.

    ``log p(x) = -|L^{-1} (x - loc)|^2 / 2 - sum_i log L_ii - d log(2 pi) / 2``.

    Parameters
    ----------
    loc : array_like of shape (..., d), optional
        Mean; without it 0.
    scale_tril : array_like of shape (..., d, d)
        The Cholesky factor L of the covariance: a lower triangle with a diagonal above 0.

    Examples
    --------
    >>> from lvmfast.distributions import MultivariateNormalTriL
    >>> p = MultivariateNormalTriL([0.0, 1.0], [[1.0, 0.0], [0.5, 2.0]])
    >>> p.covariance
    array([[1.  , 0.5 ],
           [0.5 , 4.25]])
    >>> p.sample(5, rng=0).shape
    (5, 2)
    """

    _full = True

    def __init__(self, loc=None, scale_tril=None):
        if scale_tril is None:
            raise TypeError("scale_tril must be given, an array of shape (..., d, d)")
        self.scale_tril = check_triangular(scale_tril)
        self.loc = _location(loc, self.scale_tril.shape[:-2], self.scale_tril.shape[-1])

    @property
    def _scale(self):
        return self.scale_tril

    def _options(self):
        return {"loc": self.loc, "scale_tril": self.scale_tril}

    @property
    def event_shape(self):
        """(d,)."""
        return self.scale_tril.shape[-1:]

    @property
    def covariance(self):
        """``L L^T``, of shape (*batch_shape, d, d)."""
        C = self.scale_tril @ self.scale_tril.swapaxes(-1, -2)
        return filled(C, self.batch_shape + 2 * self.event_shape)

    def _scale_batch(self):
        return self.scale_tril.shape[:-2]

    def _diagonal(self):
        return _backend.namespace(self.scale_tril).diagonal(self.scale_tril, axis1=-2, axis2=-1)

    def _scaled(self, z):
        return ScaleTriL(self.scale_tril).forward(z)

    def _whitened(self, x):
        return ScaleTriL(self.scale_tril)._inverse(x)

    def _program_from(self, loc, d):
        steps = [(_compiled.SHIFT, True, [loc], 0.0)] if loc.any() else []
        steps += _compiled.inverted(_compiled.steps_of(ScaleTriL(self.scale_tril), d))
        return steps, 1, np.array([0.0, 1.0]), -d * LOG_ROOT_2_PI


class MultivariateNormalDiag(_MultivariateNormal):
    r"""``x = loc + s z`` with ``z`` standard normal: the numbers of a vector are independent.

    Parameters
    ----------
    loc : array_like of shape (..., d), optional
        Mean; without it 0.
    scale_diag : array_like of shape (..., d) > 0
        Standard deviations s.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.distributions import MultivariateNormalDiag
    >>> p = MultivariateNormalDiag([0.0, 1.0], [1.0, 2.0])
    >>> p.covariance
    array([[1., 0.],
           [0., 4.]])
    >>> p.sample(5, rng=0).shape
    (5, 2)
    """

    _full = False

    def __init__(self, loc=None, scale_diag=None):
        if scale_diag is None:
            raise TypeError("scale_diag must be given, an array of shape (..., d)")
        self.scale_diag = parameter(scale_diag, "scale_diag", "finite and > 0", min_ndim=1)
        self.loc = _location(loc, self.scale_diag.shape[:-1], self.scale_diag.shape[-1])

    @property
    def _scale(self):
        return self.scale_diag

    def _options(self):
        return {"loc": self.loc, "scale_diag": self.scale_diag}

    @property
    def event_shape(self):
        """(d,)."""
        return self.scale_diag.shape[-1:]

    @property
    def covariance(self):
        """``diag(s**2)``, of shape (*batch_shape, d, d)."""
        xp = _backend.namespace(self.scale_diag)
        d = self.event_shape[0]
        return filled(
            self.scale_diag[..., None] ** 2 * xp.eye(d, dtype=self.scale_diag.dtype), (*self.batch_shape, d, d)
        )

    def _scale_batch(self):
        return self.scale_diag.shape[:-1]

    def _diagonal(self):
        return self.scale_diag

    def _scaled(self, z):
        return z * at(self.scale_diag, z)

    def _whitened(self, x):
        return x / at(self.scale_diag, x)

    def _program_from(self, loc, d):
        return _standard_program(*_compiled.vectors(d, loc, self.scale_diag), d)


def _standard_program(loc, scale, d: int):
    """The program of ``(x - loc) / scale``, by the reciprocal where it has one."""
    constant = -_compiled.total(np.log(scale), d) - d * LOG_ROOT_2_PI
    with np.errstate(over="ignore"):
        reciprocal = 1 / scale
    if (reciprocal < 1e30).all() and (reciprocal > 1e-30).all():
        return [], 1, np.concatenate([loc, reciprocal]), constant
    steps = [(_compiled.SHIFT, True, [loc], 0.0), (_compiled.SCALE, True, [scale], 0.0)]
    return steps, 1, np.array([0.0, 1.0]), constant


def _location(loc, batch, d: int):
    if loc is None:
        return None
    if np.ndim(loc) == 0:
        loc = np.full(d, as_float_array(loc, "loc"))
    loc = parameter(loc, "loc", min_ndim=1)
    if loc.shape[-1] != d:
        raise ValueError(f"loc must have shape (..., {d}), as the scale has, got {loc.shape}")
    try:
        np.broadcast_shapes(loc.shape[:-1], batch)
    except ValueError:
        raise ValueError(f"loc must broadcast with the scale, got batches {loc.shape[:-1]} and {batch}") from None
    return loc


def filled(value, shape, dtype=None):
    """A number or array as one of ``shape`` that belongs to the caller; a float where that is ()."""
    xp = _backend.namespace(value)
    value = xp.asarray(value) if dtype is None else xp.asarray(value, dtype)
    value = xp.broadcast_to(value, shape).copy()
    return value if shape or not isinstance(value, np.ndarray) else value[()]
