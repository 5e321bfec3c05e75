"""Distributions on an interval and on {0, 1}."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend, random
from lvmfast.bijectors._parameters import at, broadcast_parameters, parameter, with_room
from lvmfast.distributions._distribution import Distribution
from lvmfast.distributions._normal import filled

__all__ = ["Bernoulli", "Uniform"]


class Uniform(Distribution):
    """``log p(x) = -log(high - low)`` for ``low <= x <= high``, else -inf.

    Parameters
    ----------
    low, high : float or array_like, default=0, 1
        Ends, ``low < high``; they broadcast to ``batch_shape``.

    Examples
    --------
    >>> from lvmfast.distributions import Uniform
    >>> Uniform(0.0, 4.0).prob([1.0, 5.0])
    array([0.25, 0.  ])
    """

    def __init__(self, low=0.0, high=1.0):
        self.low, self.high = parameter(low, "low"), parameter(high, "high")
        broadcast_parameters(low=self.low, high=self.high)
        width = _backend.to_numpy(self.high - self.low)
        if not np.all(width > 0) or not np.all(np.isfinite(width)):
            raise ValueError(f"low must be < high, and high - low finite, got {self!r}")

    @property
    def batch_shape(self):
        """The shape to which the parameters broadcast."""
        return np.broadcast_shapes(np.shape(self.low), np.shape(self.high))

    def _sample(self, shape, rng):
        size = shape + self.batch_shape
        return random.uniform(self.low, self.high, size or None, rng=rng, dtype=self.dtype)

    def _log_prob(self, x):
        xp = _backend.namespace(x)
        low, high = at(self.low, x), at(self.high, x)
        inside = -xp.log(xp.asarray(high - low, x.dtype)) + 0 * x
        return xp.where((x < low) | (x > high), x.dtype.type(-np.inf), inside)[()]

    def _program(self, d):
        if self.batch_shape:  # one interval for all numbers
            return None
        return [], 2, np.array([self.low, self.high]), -d * float(np.log(self.high - self.low))

    @property
    def mean(self):
        """``(low + high) / 2``."""
        return filled(0.5 * self.low + 0.5 * self.high, self.batch_shape)

    @property
    def variance(self):
        """``(high - low)**2 / 12``."""
        return filled((self.high - self.low) ** 2 / 12, self.batch_shape)

    def entropy(self):
        """``log(high - low)``."""
        width = self.high - self.low
        return filled(_backend.namespace(width).log(width), self.batch_shape)

    @with_room
    def cdf(self, x):
        """``(x - low) / (high - low)``, held in [0, 1]."""
        x = self._events(x)
        low, high = at(self.low, x), at(self.high, x)
        return _backend.namespace(x).clip((x - low) / (high - low), 0, 1)


class Bernoulli(Distribution):
    r"""``P(x = 1) = p = 1 / (1 + exp(-logits))``: ``log p(x) = x log p + (1 - x) log(1 - p)``.

    ``log_prob`` takes any ``x`` between 0 and 1, as a reconstruction error does; it is -inf elsewhere. Moments and
    draws are those of {0, 1}.

    Parameters
    ----------
    logits : float or array_like, optional
        ``log(p / (1 - p))``.
    probs : float or array_like in [0, 1], optional
        p. One of the two is given.

    Examples
    --------
    >>> from lvmfast.distributions import Bernoulli
    >>> Bernoulli(probs=0.25).prob([0.0, 1.0])
    array([0.75, 0.25])
    """

    discrete = True
    _values = (0.0, 1.0)

    def __init__(self, logits=None, probs=None):
        if (logits is None) == (probs is None):
            raise TypeError("one of logits and probs must be given, got " + ("neither" if logits is None else "both"))
        self._by_logits = probs is None
        self._given = parameter(logits, "logits") if self._by_logits else parameter(probs, "probs")
        if not self._by_logits:
            p = np.asarray(_backend.to_numpy(self._given))
            bad = (p < 0) | (p > 1)
            if bad.any():
                raise ValueError(f"probs must be >= 0 and <= 1, got {float(p[bad].ravel()[0]):g}")

    def _options(self):
        return {"logits" if self._by_logits else "probs": self._given}

    @property
    def batch_shape(self):
        """The shape of the parameter."""
        return np.shape(self._given)

    @property
    def probs(self):
        """p."""
        return self._probs()[0] if self._by_logits else self._given

    @property
    def logits(self):
        """``log(p / (1 - p))``."""
        if self._by_logits:
            return self._given
        log_p, log_q = self._log_probs(self._given)
        return log_p - log_q

    def _probs(self):
        """p and 1 - p, both to full relative precision."""
        xp = _backend.namespace(self._given)
        if not self._by_logits:
            return self._given, 1 - self._given
        e = xp.exp(-xp.abs(self._given))
        small, large = e / (1 + e), 1 / (1 + e)
        return xp.where(self._given < 0, small, large)[()], xp.where(self._given < 0, large, small)[()]

    def _log_probs(self, given):
        """``log p`` and ``log(1 - p)``."""
        xp = _backend.namespace(given)
        with np.errstate(divide="ignore"):
            if not self._by_logits:
                return xp.log(given), xp.log1p(-given)
            rest = xp.log1p(xp.exp(-xp.abs(given)))
            return -(xp.maximum(-given, 0) + rest), -(xp.maximum(given, 0) + rest)

    def _sample(self, shape, rng):
        device = "cuda" if _backend.is_gpu(self._given) else "cpu"
        u = random.uniform(size=shape + self.batch_shape, rng=rng, dtype=self.dtype, device=device)
        x = (u < self.probs).astype(self.dtype)
        return x if shape or self.batch_shape else float(x)

    def _log_prob(self, x):
        xp = _backend.namespace(x)
        log_p, log_q = self._log_probs(xp.asarray(at(self._given, x), x.dtype))
        value = xp.where(x == 0, 0 * x, x * log_p) + xp.where(x == 1, 0 * x, (1 - x) * log_q)
        return xp.where((x < 0) | (x > 1), x.dtype.type(-np.inf), value)[()]

    @property
    def mean(self):
        """p."""
        return filled(self.probs, self.batch_shape)

    @property
    def variance(self):
        """``p (1 - p)``."""
        p, q = self._probs()
        return filled(p * q, self.batch_shape)

    def entropy(self):
        """``-p log p - (1 - p) log(1 - p)``."""
        xp = _backend.namespace(self._given)
        with np.errstate(invalid="ignore"):
            total = 0.0
            for p, log_p in zip(self._probs(), self._log_probs(self._given), strict=True):
                total = total - xp.where(xp.asarray(p) == 0, 0.0, p * log_p)
        return filled(total, self.batch_shape)

    @with_room
    def cdf(self, x):
        """0 below 0, ``1 - p`` below 1, 1 from there on."""
        x = self._events(x)
        xp = _backend.namespace(x)
        q = xp.asarray(self._probs()[1], x.dtype)
        return xp.where(x < 0, 0 * x, xp.where(x < 1, q, xp.where(x >= 1, xp.ones_like(x), x)))[()]
