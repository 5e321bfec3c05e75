"""Cholesky factors of matrices that gain or lose rows and columns."""

from __future__ import annotations

import operator

import numpy as np

from lvmfast import _backend
from lvmfast._validation import (
    as_float_array,
    broadcast_batch,
    check_integer,
    check_square,
    common_dtype,
)
from lvmfast.exceptions import NonFiniteError, NotPositiveDefiniteError
from lvmfast.linalg._cholesky import cholesky, cholesky_vjp
from lvmfast.linalg._triangular import solve_triangular, solve_triangular_vjp
from lvmfast.linalg._update import cholesky_update, cholesky_update_vjp, factor_and_columns

__all__ = [
    "cholesky_append",
    "cholesky_append_vjp",
    "cholesky_delete",
    "cholesky_delete_vjp",
    "cholesky_insert",
    "cholesky_insert_vjp",
]


@_backend.memory_errors
def cholesky_append(L, B, C):
    r"""Cholesky factor after rows and columns are appended: ``L_new @ L_new.T == [[L @ L.T, B], [B.T, C]]``.

    ``L_new = [[L, 0], [X.T, D]]`` with ``L X == B`` and ``D D^T == C - X^T X``, in n^2 m operations.

    Parameters
    ----------
    L : array of shape (..., n, n)
    B : array of shape (..., n, m), or (..., n)
        The new columns beside the old rows. An array with one dimension, or with one less than ``L``, holds single
        columns (m = 1).
    C : array of shape (..., m, m), or (...)
        The new rows and columns among themselves, symmetric (the lower triangle is read); for single columns a number,
        or one for every member of the batch.

    Returns
    -------
    L_new : array of shape (..., n + m, n + m)
        Row-major, zero above the diagonal; float32 if all inputs are, else float64.

    Raises
    ------
    NotPositiveDefiniteError
        With the row of the result (``pivot``) that has no positive pivot.
    NonFiniteError, ValueError
        For NaN or infinity, or an ``L`` whose diagonal is not positive.

    Examples
    --------
    >>> from lvmfast import linalg
    >>> linalg.cholesky_append([[2.0]], [4.0], 13.0)
    array([[2., 0.],
           [2., 3.]])
    """
    _backend.module_for(L=L, B=B, C=C)
    L, B, vector = factor_and_columns(L, B, "B")
    C = _corner(C, "C", B.shape[-1], vector)
    return _insert(L, L.shape[-1], B, C, "C")


@_backend.memory_errors
def cholesky_insert(L, index, b, c):
    r"""Cholesky factor after rows and columns are inserted: ``L_new @ L_new.T`` is ``L @ L.T`` with new rows and
    columns ``index``, ..., ``index + m - 1``, so that ``cholesky_delete`` of these gives ``L`` back.

    With ``L = [[L1, 0], [L2, L3]]`` cut before ``index``: ``L1 X == b1``, ``D D^T == c - X^T X``,
    ``Y == (b2 - L2 X) D^-T``, and ``L3`` is downdated by ``Y``; 2 n^2 m operations.

    Parameters
    ----------
    L : array of shape (..., n, n)
    index : int
        Where the first new row stands in the result, from 0 to n; negative values count from the end, as in
        ``numpy.insert`` (-1 is before the last row).
    b : array of shape (..., n, m), or (..., n)
        The new columns beside the old rows, in the old order; single columns as in :func:`cholesky_append`.
    c : array of shape (..., m, m), or (...)
        The new rows and columns among themselves, as in :func:`cholesky_append`.

    Returns
    -------
    L_new : array of shape (..., n + m, n + m)
        Row-major, zero above the diagonal; float32 if all inputs are, else float64.

    Raises
    ------
    NotPositiveDefiniteError
        With the row of the result (``pivot``) that has no positive pivot.
    NonFiniteError, ValueError
        For NaN or infinity, or an ``L`` whose diagonal is not positive.

    Examples
    --------
    >>> from lvmfast import linalg
    >>> linalg.cholesky_insert([[3.0]], 0, [2.0], 1.0)
    array([[1.        , 0.        ],
           [2.        , 2.23606798]])
    """
    _backend.module_for(L=L, b=b, c=c)
    L, b, vector = factor_and_columns(L, b, "b")
    c = _corner(c, "c", b.shape[-1], vector)
    return _insert(L, _insertion(index, L.shape[-1]), b, c, "c")


def _check_factor(L) -> None:
    """Raise unless the diagonal of L is positive and what stands below it finite."""
    xp = _backend.namespace(L)
    _check_finite(xp.tril(L), "L")
    diagonal = xp.diagonal(L, axis1=-2, axis2=-1)
    if not (diagonal > 0).all():
        place = tuple(int(i) for i in xp.argwhere(~(diagonal > 0))[0])
        raise ValueError(
            f"L must have a positive diagonal, got {diagonal[place]} at row {place[-1]}; it is no Cholesky factor"
        )


def _check_finite(A, name: str) -> None:
    xp = _backend.namespace(A)
    if not xp.isfinite(A.sum()) and not xp.isfinite(A).all():  # a sum costs less, but may overflow
        place = tuple(int(i) for i in xp.argwhere(~xp.isfinite(A))[0])
        raise NonFiniteError(f"{name} must be finite, got {A[place]} at {place}")


def _corner(C, name, m, vector):
    C = as_float_array(C, name)
    if vector:
        return C[..., None, None]
    if C.shape[-2:] != (m, m):
        raise ValueError(f"{name} must have shape (..., m, m) with m = {m}, got {C.shape}")
    return C


def _position(index, first: int, last: int, count: int) -> int:
    """``index``, an integer from ``first`` to ``last``, with negative ones counted from ``count``."""
    if isinstance(index, (bool, np.bool_)) or not hasattr(index, "__index__"):
        raise TypeError(f"index must be an integer, got {index!r}")
    position = operator.index(index)
    if not first <= position <= last:
        raise IndexError(f"index must be from {first} to {last}, got {index}")
    return position + count if position < 0 else position


def _insertion(index, n: int) -> int:
    """Where ``numpy.insert`` would insert among n rows."""
    return _position(index, -n, n, n)


def _insert(L, at, b, c, corner):
    xp = _backend.namespace(L)
    c = xp.asarray(c)  # a number
    n, m = b.shape[-2:]
    _check_factor(L)
    for name, A in (("B" if corner == "C" else "b", b), (corner, xp.tril(c))):
        _check_finite(A, name)
    batch = broadcast_batch(L=L.shape[:-2], b=b.shape[:-2], c=c.shape[:-2])
    dtype = common_dtype(L, b, c)
    L, b, c = (A.astype(dtype, copy=False) for A in (L, b, c))
    result = xp.zeros((*batch, n + m, n + m), dtype)
    end = at + m
    result[..., :at, :at] = xp.tril(L[..., :at, :at])
    X = solve_triangular(L[..., :at, :at], b[..., :at, :])
    Xt = xp.swapaxes(X, -1, -2)
    result[..., at:end, :at] = Xt
    try:
        D = cholesky(c - Xt @ X, jitter=0)
    except NotPositiveDefiniteError as error:
        raise _shifted(error, at, corner) from None
    result[..., at:end, at:end] = D
    if end < n + m:
        Y = solve_triangular(D, xp.swapaxes(b[..., at:, :] - L[..., at:, :at] @ X, -1, -2))
        result[..., end:, :at] = L[..., at:, :at]
        result[..., end:, at:end] = xp.swapaxes(Y, -1, -2)
        tail = result[..., end:, end:]
        tail[...] = xp.tril(L[..., at:, at:])
        try:
            cholesky_update(tail, result[..., end:, at:end].copy(), sign=-1, overwrite=True)
        except NotPositiveDefiniteError as error:
            raise _shifted(error, end, corner) from None
    return result


def _shifted(error, by, corner):
    """The error of a part of a matrix as one of the whole."""
    pivot = error.pivot + by
    where = f" in member {error.index} of the batch" if error.index else ""
    return NotPositiveDefiniteError(
        f"the matrix with the new rows is not positive definite: pivot {pivot} failed{where}; a new row repeats "
        f"others, or {corner} is too small beside the covariances; add noise to its diagonal",
        pivot=pivot,
        index=error.index,
    )


@_backend.memory_errors
def cholesky_delete(L, index):
    r"""Cholesky factor after rows and columns are deleted: ``L_new @ L_new.T`` is ``L @ L.T`` without rows and columns
    ``index``.

    With ``K`` the rows that stay, ``D`` those that go: ``L_new`` is the update of ``L[K, K]`` by ``L[K, D]``; 2 n^2 m
    operations for m rows, fewer for rows near the end.

    Parameters
    ----------
    L : array of shape (..., n, n)
    index : int, or sequence of m int
        Which rows; negative values count from the end.

    Returns
    -------
    L_new : array of shape (..., n - m, n - m)
        Zero above the diagonal; dtype of ``L``.

    Raises
    ------
    NonFiniteError, ValueError
        For NaN or infinity in ``L``, or a diagonal that is not positive.

    Examples
    --------
    >>> from lvmfast import linalg
    >>> linalg.cholesky_delete([[2.0, 0.0], [2.0, 3.0]], 0)
    array([[3.60555128]])
    """
    L = as_float_array(L, "L", min_ndim=2)
    check_square(L, "L")
    xp = _backend.namespace(L)
    gone, kept = _split(index, L.shape[-1])
    first = int(gone.min()) if gone.size else len(kept)
    gone, kept = xp.asarray(gone), xp.asarray(kept)
    _check_factor(L)
    result = xp.tril(L[..., kept[:, None], kept])
    if first < len(kept):
        U = L[..., kept[first:, None], gone]
        U = xp.where(kept[first:, None] > gone, U, xp.zeros_like(U))  # above the diagonal nothing counts
        cholesky_update(result[..., first:, first:], U, overwrite=True)
    return result


def _split(index, n):
    """The rows that go and those that stay, each in ascending order."""
    positions = np.atleast_1d(np.asarray(index))
    if positions.ndim > 1 or (positions.size and positions.dtype.kind not in "iu"):
        raise TypeError(f"index must be an integer or a sequence of integers, got {index!r}")
    gone = np.array(sorted(_position(i, -n, n - 1, n) for i in positions.tolist()), dtype=np.intp)
    if (np.diff(gone) == 0).any():
        raise ValueError(f"index must name each row once, got {index!r}")
    return gone, np.setdiff1d(np.arange(n), gone)


@_backend.memory_errors
def cholesky_append_vjp(L_new, L_new_bar, m=1):
    r"""Pull-back of :func:`cholesky_append`: with ``L_new = [[L, 0], [X.T, D]]`` and ``D D^T == C - X^T X``,

    ``C_bar`` is the pull-back of ``D``, ``B_bar = L^-T (X_bar - 2 X C_bar)`` and ``L_bar`` gains ``-tril(B_bar X^T)``.

    Parameters
    ----------
    L_new : array of shape (..., n + m, n + m)
        The result of :func:`cholesky_append`.
    L_new_bar : array of the shape of ``L_new``
        Its cotangent; only the lower triangle counts.
    m : int, default=1
        How many rows were appended.

    Returns
    -------
    L_bar, B_bar, C_bar : arrays of shape (..., n, n), (..., n, m) and (..., m, m)
        ``C_bar`` is symmetric.

    Examples
    --------
    >>> from lvmfast import linalg
    >>> L_new = linalg.cholesky_append([[2.0]], [4.0], 13.0)
    >>> L_bar, B_bar, C_bar = linalg.cholesky_append_vjp(L_new, [[0.0, 0.0], [0.0, 1.0]])
    >>> C_bar  # d sqrt(C - 4) / dC
    array([[0.16666667]])
    """
    L_new, L_new_bar = _pair(L_new, L_new_bar, "L_new")
    m = _added(m, L_new)
    return _insert_vjp(L_new.shape[-1] - m, m, L_new, L_new_bar, None)


def _added(m, L_new) -> int:
    m = check_integer(m, "m", 0)
    if m > L_new.shape[-1]:
        raise ValueError(f"m must be at most the rows of L_new, {L_new.shape[-1]}, got {m}")
    return m


def _pair(A, A_bar, name):
    _backend.module_for(**{name: A, f"{name}_bar": A_bar})
    A = as_float_array(A, name, min_ndim=2)
    A_bar = as_float_array(A_bar, f"{name}_bar", min_ndim=2)
    check_square(A, name)
    if A_bar.shape != A.shape:
        raise ValueError(f"{name}_bar must have the shape of {name}, {A.shape}, got {A_bar.shape}")
    dtype = common_dtype(A, A_bar)
    return A.astype(dtype, copy=False), A_bar.astype(dtype, copy=False)


@_backend.memory_errors
def cholesky_insert_vjp(L, index, L_new, L_new_bar, m=1):
    r"""Pull-back of :func:`cholesky_insert`: cotangents of its ``L``, ``b`` and ``c``.

    Parameters
    ----------
    L : array of shape (..., n, n)
        The factor into which the rows were inserted.
    index : int
        Where.
    L_new : array of shape (..., n + m, n + m)
        The result.
    L_new_bar : array of the shape of ``L_new``
        Its cotangent; only the lower triangle counts.
    m : int, default=1
        How many rows were inserted.

    Returns
    -------
    L_bar, b_bar, c_bar : arrays of shape (..., n, n), (..., n, m) and (..., m, m)

    Examples
    --------
    >>> from lvmfast import linalg
    >>> L_new = linalg.cholesky_insert([[2.0]], 1, [4.0], 13.0)
    >>> L_bar, b_bar, c_bar = linalg.cholesky_insert_vjp([[2.0]], 1, L_new, [[0.0, 0.0], [0.0, 1.0]])
    >>> c_bar
    array([[0.16666667]])
    """
    _backend.module_for(L=L, L_new=L_new, L_new_bar=L_new_bar)
    L = as_float_array(L, "L", min_ndim=2)
    check_square(L, "L")
    L_new, L_new_bar = _pair(L_new, L_new_bar, "L_new")
    m = _added(m, L_new)
    if L.shape[-1] + m != L_new.shape[-1]:
        raise ValueError(f"L_new must have {m} rows more than L, {L.shape[-1]}, got {L_new.shape[-1]}")
    return _insert_vjp(_insertion(index, L.shape[-1]), m, L_new, L_new_bar, L)


def _insert_vjp(at, m, L_new, L_new_bar, L):
    end, n = at + m, L_new.shape[-1] - m
    xp = _backend.namespace(L_new)
    T = lambda A: xp.swapaxes(A, -1, -2)  # noqa: E731
    head, Xt, D = L_new[..., :at, :at], L_new[..., at:end, :at], L_new[..., at:end, at:end]
    L_bar = xp.zeros((*L_new.shape[:-2], n, n), L_new.dtype)
    b_bar = xp.zeros((*L_new.shape[:-2], n, m), L_new.dtype)
    L_bar[..., :at, :at] = xp.tril(L_new_bar[..., :at, :at])
    X_bar, D_bar = T(L_new_bar[..., at:end, :at]), xp.tril(L_new_bar[..., at:end, at:end])
    if at < n:  # Y = (b2 - L2 X) D^-T and the downdate of L3 by Y
        Y = L_new[..., end:, at:end]
        tail_bar, Y_bar = cholesky_update_vjp(L[..., at:, at:], Y, L_new_bar[..., end:, end:], sign=-1)
        L_bar[..., at:, at:] = tail_bar
        Y_bar = Y_bar + L_new_bar[..., end:, at:end]
        extra, residual_bar = solve_triangular_vjp(D, T(Y), T(Y_bar))
        D_bar = D_bar + extra
        residual_bar = T(residual_bar)
        b_bar[..., at:, :] = residual_bar
        L2 = L_new[..., end:, :at]
        L_bar[..., at:, :at] = L_new_bar[..., end:, :at] - residual_bar @ Xt
        X_bar = X_bar - T(L2) @ residual_bar
    c_bar = cholesky_vjp(D, D_bar)
    head_bar, b1_bar = solve_triangular_vjp(head, T(Xt), X_bar - 2 * T(Xt) @ c_bar)
    L_bar[..., :at, :at] += head_bar
    b_bar[..., :at, :] = b1_bar
    return L_bar, b_bar, c_bar


@_backend.memory_errors
def cholesky_delete_vjp(L, index, L_new_bar):
    r"""Pull-back of :func:`cholesky_delete`: the cotangent of ``L``, from that of the update of ``L[K, K]`` by
    ``L[K, D]``.

    Parameters
    ----------
    L : array of shape (..., n, n)
    index : int, or sequence of m int
        As given to :func:`cholesky_delete`.
    L_new_bar : array of shape (..., n - m, n - m)
        The cotangent of the result; only the lower triangle counts.

    Returns
    -------
    L_bar : array of shape (..., n, n)
        Zero in the rows ``index``.

    Examples
    --------
    >>> from lvmfast import linalg
    >>> L = [[2.0, 0.0], [3.0, 4.0]]
    >>> linalg.cholesky_delete_vjp(L, 0, [[1.0]])  # of sqrt(L[1, 0]^2 + L[1, 1]^2)
    array([[0. , 0. ],
           [0.6, 0.8]])
    """
    _backend.module_for(L=L, L_new_bar=L_new_bar)
    L = as_float_array(L, "L", min_ndim=2)
    xp = _backend.namespace(L)
    check_square(L, "L")
    gone, kept = _split(index, L.shape[-1])
    L_new_bar = as_float_array(L_new_bar, "L_new_bar", min_ndim=2)
    if L_new_bar.shape != (*L.shape[:-2], len(kept), len(kept)):
        raise ValueError(f"L_new_bar must have shape {(*L.shape[:-2], len(kept), len(kept))}, got {L_new_bar.shape}")
    dtype = common_dtype(L, L_new_bar)
    L_bar = xp.zeros(L.shape, dtype)
    first = int(gone.min()) if gone.size else len(kept)
    gone, kept = xp.asarray(gone), xp.asarray(kept)
    L_bar[..., kept[:, None], kept] = xp.tril(L_new_bar)
    if first < len(kept):
        rows = kept[first:]
        below = rows[:, None] > gone
        tail_bar, U_bar = cholesky_update_vjp(
            L[..., rows[:, None], rows],
            xp.where(below, L[..., rows[:, None], gone], L.dtype.type(0)),
            L_new_bar[..., first:, first:],
        )
        L_bar[..., rows[:, None], rows] = tail_bar
        L_bar[..., rows[:, None], gone] = U_bar * below
    return L_bar
