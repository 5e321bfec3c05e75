"""Errors and warnings of lvmfast.

Every message names what was got, the likely cause and the remedy; the fields hold the same facts for programs.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "DeviceError",
    "DeviceMemoryError",
    "DisjointSupportsWarning",
    "FitInterruptedWarning",
    "InfeasibleError",
    "JitterWarning",
    "LvmfastError",
    "NonFiniteError",
    "NotPositiveDefiniteError",
    "SourceEndedError",
    "SpaceExhaustedError",
]


class LvmfastError(Exception):
    """Base class of the errors that lvmfast defines."""


class NotPositiveDefiniteError(LvmfastError, np.linalg.LinAlgError):
    """A matrix has no Cholesky factor, also with the largest jitter that was allowed.

    Attributes
    ----------
    pivot : int
        The first row at which the factorisation failed (0-based).
    index : tuple of int
        Which matrix of the batch, () for a single one.
    jitter : float
        The largest jitter that was tried, absolute.
    """

    def __init__(self, message: str, *, pivot: int, index: tuple[int, ...] = (), jitter: float = 0.0):
        super().__init__(message)
        self.pivot = pivot
        self.index = index
        self.jitter = jitter

    def __reduce__(self):
        return _rebuild, (type(self), self.args, self.__dict__)


class NonFiniteError(LvmfastError, FloatingPointError):
    """A value that must be finite came out NaN or infinite."""


class DeviceError(LvmfastError, RuntimeError):
    """The device that was asked for is not there, or arrays live on different devices."""


class DeviceMemoryError(LvmfastError, MemoryError):
    """The GPU has no room for what was asked; its memory pool is as usable as before."""


class SourceEndedError(LvmfastError, ValueError):
    """Data that are read in pieces ended before a fit did, or gave fewer rows than were asked for.

    Attributes
    ----------
    batches, rows : int or None
        How many came before the end, where they were counted.
    """

    def __init__(self, message: str, *, batches: int | None = None, rows: int | None = None):
        super().__init__(message)
        self.batches = batches
        self.rows = rows

    def __reduce__(self):
        return _rebuild, (type(self), self.args, self.__dict__)


class InfeasibleError(LvmfastError, ValueError):
    """No point was found that may be evaluated."""


class SpaceExhaustedError(LvmfastError, ValueError):
    """Every point of a finite space was evaluated, or is about to be, and the function has no noise."""


class DisjointSupportsWarning(UserWarning):
    """Two samples do not overlap: the ratio of their densities is unbounded, and what was learned means little."""


class JitterWarning(RuntimeWarning):
    """A multiple of the identity had to be added to a matrix before it could be factorised."""


class FitInterruptedWarning(UserWarning):
    """A fit was stopped from the keyboard; the model holds what was reached and can go on."""


def _rebuild(cls, args, state):
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
