"""Small things that models do to matrices on either device."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend

__all__ = ["add_to_diagonal", "column_squares"]


def add_to_diagonal(A, value) -> None:
    """``A += diag(value)`` in place; ``value`` is a number or has shape (n,)."""
    every = _backend.namespace(A).arange(len(A))
    A[every, every] += value


def column_squares(A):
    """Sums of squares of the columns, shape (m,)."""
    if isinstance(A, np.ndarray):
        return np.einsum("ij,ij->j", A, A)
    return (A * A).sum(axis=0)  # CuPy's einsum makes as many small products
