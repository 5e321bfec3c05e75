"""Mixtures of distributions of one family."""

from __future__ import annotations

import math

import numpy as np

from lvmfast import _backend, random
from lvmfast.bijectors._parameters import at, parameter, with_room
from lvmfast.distributions._distribution import Distribution, seeds

__all__ = ["MixtureSameFamily"]

BLOCK, TILE = 1 << 22, 1 << 15  # numbers at a time: of draws, of densities


class MixtureSameFamily(Distribution):
    r"""``p(x) = sum_j w_j p_j(x)``, the ``p_j`` along the last dimension of the components' ``batch_shape``.

    Parameters
    ----------
    weights : array_like of shape (..., k), >= 0, optional
        w, with sum 1 (to 1e-6 or the precision of its dtype, and then scaled to it).
    components : Distribution
        With ``batch_shape`` (..., k).
    logits : array_like of shape (..., k), optional
        ``log w`` but for a constant, in place of ``weights``.

    Examples
    --------
    >>> from lvmfast.distributions import MixtureSameFamily, Normal
    >>> two = MixtureSameFamily([0.25, 0.75], Normal([-1.0, 1.0], 0.5))
    >>> float(two.mean.round(6)), two.batch_shape
    (0.5, ())
    """

    def __init__(self, weights=None, components=None, *, logits=None):
        if (weights is None) == (logits is None):
            raise TypeError(
                "one of weights and logits must be given, got " + ("neither" if weights is None else "both")
            )
        if not isinstance(components, Distribution) or not components.batch_shape:
            raise TypeError(f"components must be a distribution with batch_shape (..., k), got {components!r}")
        self._by_weights = weights is not None
        name = "weights" if self._by_weights else "logits"
        self._given, self.components = parameter(weights if self._by_weights else logits, name, min_ndim=1), components
        if self._by_weights:
            w = np.asarray(_backend.to_numpy(self._given))
            if (w < 0).any():
                raise ValueError(f"weights must be >= 0, got {float(w.min()):g}")
            sums = w.astype(np.float64).sum(axis=-1)
            if (np.abs(sums - 1) > 1e-6).any():
                worst = float(sums.ravel()[np.abs(sums - 1).argmax()])
                raise ValueError(f"weights must have sum 1, got {worst:g}; divide by it, or give logits=log(weights)")
        if self._given.shape[-1] != components.batch_shape[-1]:
            k = components.batch_shape[-1]
            raise ValueError(f"{name} must have shape (..., {k}), as the components have, got {self._given.shape}")
        try:
            np.broadcast_shapes(self._given.shape, components.batch_shape)
        except ValueError:
            got = f"shapes {self._given.shape} and {components.batch_shape}"
            raise ValueError(f"{name} and the batch_shape of components must broadcast, got {got}") from None

    def _options(self):
        return {"weights" if self._by_weights else "logits": self._given, "components": self.components}

    @property
    def dtype(self):
        """That of the components' draws."""
        return self.components.dtype

    @property
    def discrete(self):
        """Whether the components are."""
        return self.components.discrete

    @property
    def _values(self):
        return self.components._values

    @property
    def batch_shape(self):
        """That of weights and components together, without the last dimension."""
        return np.broadcast_shapes(self._given.shape, self.components.batch_shape)[:-1]

    @property
    def event_shape(self):
        """That of the components."""
        return self.components.event_shape

    @property
    def weights(self):
        """w, with sum 1."""
        w = _backend.namespace(self._given).exp(self._log_weights(self._given))
        return w / w.sum(axis=-1, keepdims=True)

    def _log_weights(self, given):
        xp = _backend.namespace(given)
        with np.errstate(divide="ignore"):
            a = xp.log(given) if self._by_weights else given
        return a - _log_sum_exp(a)[..., None]

    def _sample(self, shape, rng):
        first, second = seeds(rng, 2)
        shape_of_all = np.broadcast_shapes(self._given.shape, self.components.batch_shape)
        missing = len(shape_of_all) - len(self.components.batch_shape)
        if shape_of_all[missing:] != self.components.batch_shape:
            raise NotImplementedError(
                f"draws need components of batch_shape (..., {', '.join(map(str, shape_of_all))}), "
                f"got {self.components.batch_shape}"
            )
        device = "cuda" if _backend.is_gpu(self._given) else "cpu"
        u = random.uniform(size=shape + self.batch_shape, rng=first, device=device)
        xp = _backend.namespace(u)
        up_to = xp.cumsum(self.weights.astype(np.float64), axis=-1)[..., :-1]
        u = xp.asarray(u).reshape(-1, *self.batch_shape)
        if not self.batch_shape:
            j = xp.searchsorted(up_to, u, side="right")  # the last component takes what rounding leaves of 1
            x = self.components._sample_of(j, second)
            if x is not None:
                return _shaped(x, shape + self.event_shape)
        # every component's draw for a block of rows, of which one is kept
        rows = max(1, BLOCK // max(1, math.prod(shape_of_all) * math.prod(self.event_shape)))
        blocks = range(0, max(len(u), 1), rows)
        each = [second] if len(blocks) == 1 else seeds(second, len(blocks))
        parts = [
            self._chosen(u[i : i + rows], up_to, shape_of_all[:missing], seed)
            for i, seed in zip(blocks, each, strict=True)
        ]
        return _shaped(xp.concatenate(parts), shape + self.batch_shape + self.event_shape)

    def _chosen(self, u, up_to, extra, seed):
        j = (u[..., None] >= up_to).sum(axis=-1)
        x = self.components._sample((len(u), *extra), seed)
        chosen = j.reshape(j.shape + (1,) * (1 + len(self.event_shape)))
        axis = x.ndim - 1 - len(self.event_shape)
        xp = _backend.namespace(x)
        x = xp.take_along_axis(x, xp.broadcast_to(chosen, (*j.shape, 1, *self.event_shape)), axis=axis)
        return x.reshape(j.shape + self.event_shape)

    def _expanded(self, x):
        """``x`` with a dimension for the components."""
        where = x.ndim - len(self.event_shape)
        return x.reshape(x.shape[:where] + (1,) + x.shape[where:])

    def _log_prob(self, x):
        log_weights = self._log_weights(at(self._given, x))
        event = self.event_shape
        rows = max(1, TILE // max(1, math.prod(self.components.batch_shape) * math.prod(event)))
        lead = x.shape[: x.ndim - len(event)]
        if self.batch_shape or math.prod(lead) <= rows or _backend.is_gpu(x):
            return self._of_rows(x, log_weights)[()]
        flat, log_prob = x.reshape(-1, *event), np.empty(math.prod(lead), x.dtype)
        for i in range(0, len(flat), rows):  # what all components need of a block stays in the cache
            log_prob[i : i + rows] = self._of_rows(flat[i : i + rows], log_weights)
        return log_prob.reshape(lead)

    def _of_rows(self, x, log_weights):
        return _log_sum_exp(self.components._log_prob(self._expanded(x)) + log_weights)

    @property
    def mean(self):
        """``sum_j w_j E_j x``."""
        return self._averaged(self.components.mean)

    @property
    def variance(self):
        """``sum_j w_j (Var_j x + (E_j x - E x)**2)``."""
        mean = self._averaged(self.components.mean)
        xp = _backend.namespace(self._given)
        apart = self.components.mean - self._expanded(xp.asarray(mean))
        return self._averaged(self.components.variance + apart**2)

    def _averaged(self, values):
        w = self.weights
        return (w.reshape(w.shape + (1,) * len(self.event_shape)) * values).sum(axis=-1 - len(self.event_shape))

    @with_room
    def cdf(self, x):
        """``sum_j w_j P_j(X <= x)``."""
        if self.event_shape:
            raise self._without("distribution function", "draws")
        x = self._events(x)
        return (self.weights * self.components.cdf(x[..., None])).sum(axis=-1).astype(x.dtype)


def _shaped(x, shape):
    x = x.reshape(shape)
    return x if x.ndim or not isinstance(x, np.ndarray) else float(x)


def _log_sum_exp(a):
    """``log(sum(exp(a)))`` of the last dimension; -inf where all are, NaN where one is."""
    xp = _backend.namespace(a)
    most = a.max(axis=-1)
    shift = xp.where(xp.isfinite(most), most, xp.zeros_like(most))
    with np.errstate(divide="ignore"):
        return shift + xp.log(xp.exp(a - shift[..., None]).sum(axis=-1))
