"""What every distribution has."""

from __future__ import annotations

import math

import numpy as np

from lvmfast import _backend, random
from lvmfast._validation import as_float_array, as_shape
from lvmfast.bijectors import _compiled
from lvmfast.bijectors._parameters import Described, with_room

__all__ = ["Distribution", "LOG_ROOT_2_PI", "seeds"]

LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


class Distribution(Described):
    r"""A distribution of events of ``event_shape``, or a batch of such distributions, of ``batch_shape``.

    A subclass defines ``batch_shape``, ``event_shape``, ``_log_prob(x)`` and ``_sample(shape, rng)`` (draws of shape
    ``(*shape, *batch_shape, *event_shape)``), and what of ``mean``, ``variance``, ``entropy`` and ``cdf`` has a closed
    form. Objects never change after they are made; they can be compared, hashed and pickled.

    Attributes
    ----------
    discrete : bool
        Whether ``log_prob`` is the logarithm of a probability, not of a density.
    """

    discrete: bool = False
    _values = None  # all values, where they are few

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of the parameters together, without the dimensions of one event."""
        raise NotImplementedError(f"{type(self).__name__} must define batch_shape")

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event: () for numbers, (d,) for vectors."""
        return ()

    @property
    def dtype(self) -> np.dtype:
        """That of draws: float32 if all parameters that are arrays have it, and float64 if not."""
        arrays = [a for a in self._options().values() if hasattr(a, "dtype")]
        return np.dtype(np.float32 if arrays and all(a.dtype == np.float32 for a in arrays) else np.float64)

    def sample(self, n=None, *, rng=None):
        """Draws of shape ``(n, *batch_shape, *event_shape)``.

        Parameters
        ----------
        n : int or tuple of int, optional
            How many; without it one, of shape ``(*batch_shape, *event_shape)``.
        rng : None, int or numpy random generator, optional
            As in :func:`lvmfast.random.uniform`: an int is the seed, and the draws are a function of it, for any number
            of threads.
        """
        return self._sample(() if n is None else as_shape(n), rng)

    @with_room
    def log_prob(self, x):
        """The logarithm of the density (of the probability, where events are discrete) at ``x``.

        -inf where ``x`` is not in the support, NaN where it has a NaN.

        Parameters
        ----------
        x : array_like of shape (..., *event_shape)
            Its other dimensions broadcast with ``batch_shape``.

        Returns
        -------
        ndarray
            In the dtype of ``x``.
        """
        x = self._events(x)
        fast = self._compiled_log_prob(x)
        if fast is not None:
            return fast
        with np.errstate(all="ignore"):
            return self._log_prob(x)

    def prob(self, x):
        """``exp(log_prob(x))``."""
        with np.errstate(under="ignore", over="ignore"):
            log_prob = self.log_prob(x)
            return _backend.namespace(log_prob).exp(log_prob)

    @property
    def mean(self):
        """``E x``, of shape ``(*batch_shape, *event_shape)``."""
        raise self._without("mean", "sample(n).mean(axis=0)")

    @property
    def variance(self):
        """``E (x - E x)**2``, of every number of an event."""
        raise self._without("variance", "sample(n).var(axis=0)")

    @property
    def stddev(self):
        """``sqrt(variance)``."""
        variance = self.variance
        return _backend.namespace(variance).sqrt(variance)

    def entropy(self):
        """``-E log p(x)``, in nats, of shape ``batch_shape``."""
        raise self._without("entropy", "-log_prob(sample(n)).mean(axis=0)")

    def cdf(self, x):
        """``P(X <= x)`` of numbers."""
        raise self._without("distribution function", "(sample(n) <= x).mean(axis=0)")

    def _without(self, what: str, instead: str) -> NotImplementedError:
        return NotImplementedError(f"the {what} of {self!r} has no closed form here; estimate it by {instead}")

    def _events(self, x):
        event = self.event_shape
        x = as_float_array(x, "x", min_ndim=len(event))
        if event and x.shape[-len(event) :] != event:
            raise ValueError(f"x must have shape (..., {', '.join(map(str, event))}), got {x.shape}")
        try:
            np.broadcast_shapes(x.shape[: x.ndim - len(event)], self.batch_shape)
        except ValueError:
            got = f"{x.shape} and {self.batch_shape}"
            raise ValueError(f"x must broadcast with batch_shape, got shapes {got}") from None
        return x

    def _program(self, d: int):
        """Steps to the base, its kind and numbers, the constant: what :mod:`_compiled` runs on a point; or None."""

    def _compiled_log_prob(self, x):
        if x.size < _compiled.SMALLEST or not x.flags.c_contiguous or self.batch_shape or len(self.event_shape) > 1:
            return None
        d = math.prod(self.event_shape)
        whole = self._program(d) if d <= _compiled.MOST_FEATURES else None
        if whole is None:
            return None
        steps, base, base_numbers, constant = whole
        program = _compiled.packed(steps)
        if program is None or program[1].size + len(base_numbers) > _compiled.MOST_NUMBERS:
            return None
        log_prob = _backend.empty(x.shape[: x.ndim - len(self.event_shape)] or (1,), x.dtype, like=x)
        _compiled.start(program, x, d, None, log_prob, base, base_numbers, constant)
        return log_prob if x.ndim > len(self.event_shape) else log_prob.reshape(())[()]

    def _log_prob(self, x):
        raise NotImplementedError(f"{type(self).__name__} must define _log_prob(x)")

    def _sample(self, shape, rng):
        raise NotImplementedError(f"{type(self).__name__} must define _sample(shape, rng)")

    def _sample_of(self, j, rng):
        """One draw of every distribution ``j`` (n,) of a batch of shape (k,), or None where there is no short way."""


def seeds(rng, n: int) -> list[int]:
    """Seeds of draws that are independent of one another, from one source."""
    return [int(word) for word in random.bits(size=n, rng=random.seed_of(rng))]
