"""Distributions of what a bijector makes of draws."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast.bijectors import (
    Bijector,
    Chain,
    Identity,
    Invert,
    Permute,
    Scale,
    ScaleTriL,
    Shift,
    _compiled,
)
from lvmfast.bijectors._bijector import summed_to
from lvmfast.bijectors._parameters import on_gpu, with_room
from lvmfast.distributions._distribution import Distribution

__all__ = ["TransformedDistribution"]


class TransformedDistribution(Distribution):
    r"""``y = f(x)`` with ``x`` from ``distribution``: ``log p_y(y) = log p_x(f^{-1}(y)) + log |det df^{-1}(y)/dy|``.

    Where the bijector and the distribution are of this library and without a batch, points go through one compiled
    loop, and nothing but the result is as long as the data. The density is 0 outside the range of the bijector and at
    infinity.

    Parameters
    ----------
    distribution : Distribution
        If its events have fewer dimensions than those of the bijector, the last dimensions of its batch become part of
        the event: ``Normal(np.zeros(2), 1)`` has independent numbers for a bijector of vectors.
    bijector : Bijector

    References
    ----------
    J. V. Dillon et al., TensorFlow Distributions, arXiv:1711.10604, 2017, sec. 4.2.

    Examples
    --------
    >>> from lvmfast.bijectors import Exp
    >>> from lvmfast.distributions import Normal, TransformedDistribution
    >>> log_normal = TransformedDistribution(Normal(), Exp())
    >>> log_normal.log_prob([-1.0, 1.0]).round(6)
    array([     -inf, -0.918939])
    """

    def __init__(self, distribution, bijector):
        if not isinstance(distribution, Distribution):
            raise TypeError(f"distribution must be a distribution, got {distribution!r}")
        if not isinstance(bijector, Bijector):
            raise TypeError(f"bijector must be a bijector, got {bijector!r}")
        self.distribution, self.bijector = distribution, bijector
        shape = distribution.batch_shape + distribution.event_shape
        if bijector.event_ndims > len(shape):
            raise ValueError(
                f"distribution must have events of {bijector.event_ndims} dimensions for {bijector!r}, got shape "
                f"{shape}; give it a batch of independent numbers"
            )
        if bijector.event_ndims != bijector.inverse_event_ndims:
            raise ValueError(f"bijector must keep the dimensions of an event, got {bijector!r}")
        point = np.full(shape, 0.5, self.dtype)
        point = _backend.to_device(point, "cuda") if on_gpu(self) else point
        with np.errstate(all="ignore"):
            image = np.shape(bijector._forward(bijector._input(point, "distribution", bijector.event_ndims)))
        if image != shape:
            raise ValueError(
                f"the parameters of bijector must broadcast to the shape of distribution, {shape}, but they make it "
                f"{image}; give the distribution that shape"
            )

    @property
    def discrete(self):
        """Whether the base is."""
        return self.distribution.discrete

    @property
    def dtype(self):
        """That of the base's draws."""
        return self.distribution.dtype

    @property
    def _more(self) -> int:
        """Dimensions of the batch of ``distribution`` that became part of an event."""
        return max(self.bijector.event_ndims - len(self.distribution.event_shape), 0)

    @property
    def batch_shape(self):
        """That of ``distribution``, but for what became part of an event."""
        batch = self.distribution.batch_shape
        return batch[: len(batch) - self._more]

    @property
    def event_shape(self):
        """That of ``distribution``, with what became part of an event."""
        batch = self.distribution.batch_shape
        return batch[len(batch) - self._more :] + self.distribution.event_shape

    def _sample(self, shape, rng):
        return self.bijector.forward(self.distribution._sample(shape, rng))

    def _log_prob(self, y):
        xp = _backend.namespace(y)
        bijector, event = self.bijector, len(self.event_shape)
        x, log_det = bijector._inverse_and_log_det(y)
        log_det = summed_to(log_det, x, bijector.event_ndims, event - bijector.event_ndims)
        log_prob = self.distribution._log_prob(x)
        if self._more:
            log_prob = log_prob.sum(axis=tuple(range(-self._more, 0)), dtype=np.float64).astype(y.dtype)
        log_prob = log_prob + log_det
        axes = tuple(range(-event, 0))
        not_a_number, finite = xp.isnan(y).any(axis=axes), xp.isfinite(y).all(axis=axes)
        lowest = y.dtype.type(-np.inf)
        log_prob = xp.where(finite & ~xp.isnan(log_prob), log_prob, lowest)
        return xp.where(not_a_number, y.dtype.type(np.nan), log_prob)[()]

    def _program(self, d):
        steps, base = _compiled.steps_of(self.bijector, d), self.distribution._program(d)
        if steps is None or base is None:
            return None
        return [*_compiled.inverted(steps), *base[0]], *base[1:]

    @property
    def mean(self):
        """``f(E x)``, where the bijector is affine."""
        if not _is_affine(self.bijector):
            raise self._without("mean", "sample(n).mean(axis=0)")
        return self.bijector.forward(self.distribution.mean)

    @property
    def variance(self):
        """The diagonal of ``A C A^T``, where the bijector is affine, ``A x + b``, and C the covariance of ``x``."""
        if not _is_affine(self.bijector):
            raise self._without("variance", "sample(n).var(axis=0)")
        variance = self.distribution.variance
        xp = _backend.namespace(variance)
        if self.bijector.event_ndims == 0:
            zeros = xp.zeros_like(xp.asarray(variance))
            return (self.bijector.forward_vjp(zeros, 1.0) ** 2 * variance)[()]
        d = variance.shape[-1]
        rows = xp.broadcast_to(xp.eye(d).reshape(d, *(1,) * (variance.ndim - 1), d), (d, *variance.shape))
        A = xp.moveaxis(self.bijector.forward_vjp(xp.zeros(rows.shape), rows), 0, -2)
        if hasattr(self.distribution, "covariance"):
            return ((A @ self.distribution.covariance) * A).sum(axis=-1)
        if self._more == 0:
            raise self._without("variance", "sample(n).var(axis=0)")
        return (A**2 * variance[..., None, :]).sum(axis=-1)

    @property
    def covariance(self):
        """``A C A^T``, where the bijector is affine."""
        if self.bijector.event_ndims == 0 or not hasattr(self.distribution, "covariance"):
            raise AttributeError("covariance")
        if not _is_affine(self.bijector):
            raise self._without("covariance", "numpy.cov(sample(n).T)")
        C = self.distribution.covariance
        xp = _backend.namespace(C)
        d = C.shape[-1]
        rows = xp.broadcast_to(xp.eye(d).reshape(d, *(1,) * (C.ndim - 2), d), (d, *C.shape[:-1]))
        A = xp.moveaxis(self.bijector.forward_vjp(xp.zeros(rows.shape), rows), 0, -2)
        return A @ C @ A.swapaxes(-1, -2)

    @with_room
    def cdf(self, y):
        """``P(X <= f^{-1}(y))`` for numbers, or one minus it where f falls."""
        if self.event_shape:
            raise self._without("distribution function", "draws")
        y = self._events(y)
        xp = _backend.namespace(y)
        with np.errstate(all="ignore"):
            x = self.bijector._inverse(y)
            inside = xp.asarray(self.distribution.cdf(xp.where(xp.isnan(x), 0 * y, x)))
            ends = self.bijector._forward(
                xp.asarray([0.25, 0.75], y.dtype).reshape((2,) + (1,) * len(self.batch_shape))
            )
            if not bool((ends[1] > ends[0]).all()):
                inside = xp.where(ends[1] > ends[0], inside, 1 - inside)
        outside = xp.where(y > ends[0], xp.ones_like(inside), xp.zeros_like(inside))
        return xp.where(xp.isnan(y), y, xp.where(xp.isnan(x), outside, inside))[()]


def _is_affine(bijector) -> bool:
    if type(bijector) is Chain:
        return all(map(_is_affine, bijector.bijectors))
    if type(bijector) is Invert:
        return _is_affine(bijector.bijector)
    return type(bijector) in (Identity, Permute, Scale, ScaleTriL, Shift)
