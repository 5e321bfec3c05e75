"""What is added to covariance matrices."""

from __future__ import annotations

from lvmfast import _backend

__all__ = ["add_to_diagonal"]


def add_to_diagonal(A, value) -> None:
    """``A += diag(value)`` in place, on either device; ``value`` is a number or has shape (n,)."""
    every = _backend.namespace(A).arange(len(A))
    A[every, every] += value
