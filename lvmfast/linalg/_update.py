"""Cholesky factors of matrices that gain or lose a few ranks, rows or columns."""

from __future__ import annotations

import contextlib
import math
import operator

import numpy as np

from lvmfast import _backend
from lvmfast._validation import (
    as_float_array,
    as_lines,
    broadcast_batch,
    check_integer,
    check_square,
    check_target,
    common_dtype,
    order_of,
)
from lvmfast.exceptions import NonFiniteError, NotPositiveDefiniteError
from lvmfast.linalg._cholesky import BAD_DIAGONAL, NON_FINITE, NOT_POSITIVE_DEFINITE, cholesky, cholesky_vjp
from lvmfast.linalg._triangular import solve_triangular, solve_triangular_vjp

__all__ = [
    "cholesky_append",
    "cholesky_append_vjp",
    "cholesky_delete",
    "cholesky_delete_vjp",
    "cholesky_insert",
    "cholesky_insert_vjp",
    "cholesky_update",
    "cholesky_update_vjp",
]

_fast = _backend.cpu.cholesky_update_fast


def cholesky_update(L, U, *, sign=1, overwrite=False, out=None, check=True):
    r"""Cholesky factor after an update or downdate of any rank:

    ``L_new @ L_new.T == L @ L.T + U @ diag(sign) @ U.T``, in 2 n^2 m floating-point operations.

    Parameters
    ----------
    L : array of shape (..., n, n)
        Lower Cholesky factor with a positive diagonal, float32 or float64; nothing above the diagonal is used.
        Row-major and column-major matrices are taken as they are and give a result of the same order.
    U : array of shape (..., n, m), or (..., n)
        The columns to add or take away. An array with one dimension, or with one less than ``L``, holds vectors
        (m = 1); any other holds matrices. Leading dimensions broadcast with those of ``L``.
    sign : 1, -1 or array of shape (m,), default=1
        +1 adds a column, -1 takes it away. Those to be added come first, in whatever order they stand.
    overwrite : bool, default=False
        Put the result in the place of ``L``, which must then be an array of the result's dtype and shape; what stands
        above the diagonal is left alone.
    out : array of shape (..., n, n), optional
        Where to put the result, zeros above the diagonal included; it may be ``L`` or ``U``. After an error its
        content is undefined, unless it is one of these.
    check : bool, default=True
        Raise where a downdate leaves no positive definite matrix. False: return ``ok`` instead.

    Returns
    -------
    L_new : array of the broadcast shape (..., n, n)
        Zero above the diagonal (but see ``overwrite``); float32 if both inputs are, else float64.
    ok : bool, or array of shape (...)
        Only with ``check=False``: whether each matrix is positive definite. Where it is not, ``L_new`` is NaN, or as it
        was with ``overwrite``.

    Raises
    ------
    NotPositiveDefiniteError
        With the column (``pivot``) and the member of the batch (``index``) where definiteness was lost.
    NonFiniteError
        For NaN or infinity in ``L`` or ``U``, or where the result overflows. Like a bad diagonal it comes before a loss
        of definiteness elsewhere in the batch, and also with ``check=False``.
    ValueError
        For a diagonal that is not positive, a ``sign`` other than 1 and -1, shapes that do not fit.

    Notes
    -----
    After an error ``L`` is bit for bit what it was, also with ``overwrite`` and for every member of a batch, with one
    exception: NaN or infinity below the diagonal of an ``L`` that is to be overwritten, and overflow, are found only
    on the way, and then ``L`` is spoilt. For this guarantee an overwriting downdate works on a copy.

    Beyond the result it needs 2 n m numbers, an overwriting downdate n^2 more. Results of a megabyte or more live in
    memory that is used again when they are gone, up to 256 MiB (:func:`lvmfast.release_memory` frees it).

    Beyond m = 2n, ``L @ L.T + U @ U.T`` is formed and factorised, which is faster there, unless it would cost digits.
    Else the result has the same bits for any number of threads.

    References
    ----------
    Pas and Patrinos (2025), "Blocked Cholesky factorization updates of the Riccati recursion using hyperbolic
    Householder transformations", arXiv:2503.15372; for m <= 3 Gill, Golub, Murray and Saunders (1974), "Methods for
    modifying matrix factorizations", Mathematics of Computation 28, method C1.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> lvm.linalg.cholesky_update([[2.0, 0.0], [1.0, 2.0]], [1.5, 2.0])
    array([[2.5, 0. ],
           [2. , 2.23606798]])
    """
    if check and out is None and type(L) is type(U) is np.ndarray and type(sign) is int and (sign == 1 or sign == -1):
        result = _fast(L, U, sign, bool(overwrite))  # the usual case at the cost of one call
        if result is not None:
            return result
    return _update(L, U, sign, overwrite, out, check)


def _update(L, U, sign, overwrite, out, check):
    _backend.module_for(L, U, out)
    target = L if overwrite else out
    L, U, vector = _factor_and_columns(L, U, "U")
    n, m = U.shape[-2:]
    signs = _signs(sign, m, vector)
    dtype = common_dtype(L, U)
    batch = broadcast_batch(L=L.shape[:-2], U=U.shape[:-2])
    shape = (*batch, n, n)
    if overwrite and out is not None:
        raise ValueError("out and overwrite=True name two places for one result; give one of them")
    if target is not None:
        check_target(target, "L" if overwrite else "out", shape, dtype)
    L, U = as_lines(L, dtype), U.astype(dtype, copy=False)
    minus = signs is not None and bool((signs < 0).any())
    if overwrite and L is target and not (check and minus and batch):
        result = L
    elif (
        out is not None
        and not np.may_share_memory(out, L)
        and as_lines(out, dtype) is out
        and order_of(out) == order_of(L)
    ):
        result = out
    else:
        result = _backend.empty(shape, dtype, order_of(L))
    if target is not None and np.may_share_memory(target, U):
        U = U.copy()
    if not result.size:
        result = result if target is None else target
        return result if check else (result, np.ones(batch, bool) if batch else True)
    with _backend.blas_threads(1 if batch else n) if m > n else contextlib.nullcontext():
        code, index = _backend.cpu.cholesky_update(
            np.broadcast_to(L, shape), np.broadcast_to(U, (*batch, n, m)), signs, result, result is not L
        )
    if code.any() and (check or (code > NOT_POSITIVE_DEFINITE).any()):
        _raise_update_error(L, U, batch, code, index)
    if target is not None and result is not target:
        lower = np.tri(n, dtype=bool) if overwrite else True
        np.copyto(target, result, where=lower if check else lower & (code == 0).reshape((*batch, 1, 1)))
        result = target
    if check:
        return result
    if code.any() and not overwrite:
        result[(code != 0).reshape(batch)] = np.nan
    ok = (code == 0).reshape(batch)
    return result, (ok if batch else bool(ok))


def _factor_and_columns(L, U, name):
    """L and U as float arrays, U as matrices; whether U held vectors."""
    L = as_float_array(L, "L", min_ndim=2)
    U = as_float_array(U, name, min_ndim=1)
    check_square(L, "L")
    vector = U.ndim == 1 or U.ndim == L.ndim - 1
    if U.shape[-1 if vector else -2] != L.shape[-1]:
        form = "(..., n)" if vector else "(..., n, m)"
        raise ValueError(f"{name} must have shape {form} with n = {L.shape[-1]} like L, got {U.shape}")
    return L, (U[..., None] if vector else U), vector


def _signs(sign, m, vector):
    """None for +1 throughout, else (m,) of int8."""
    signs = np.asarray(sign)
    if signs.ndim > 1 or (signs.ndim == 1 and len(signs) != m):
        columns = "1 column" if m == 1 else f"{m} columns"
        raise ValueError(f"sign must be 1, -1 or an array of shape (m,) for U's {columns}, got shape {signs.shape}")
    if signs.dtype.kind not in "iuf" or not (np.abs(signs) == 1).all():
        raise ValueError(f"sign must be 1 or -1, or an array of these, got {sign!r}")
    if (signs == 1).all():
        return None
    return np.broadcast_to(signs, m).astype(np.int8)


def _raise_update_error(L, U, batch, code, index):
    bad = np.flatnonzero(code > NOT_POSITIVE_DEFINITE)  # before what is merely lost, which check=False allows
    member = int(bad[0] if bad.size else np.flatnonzero(code)[0])
    place = tuple(int(i) for i in np.unravel_index(member, batch)) if batch else ()
    where = f"[{', '.join(map(str, place))}]" if place else ""
    L, U = (np.broadcast_to(A, (*batch, *A.shape[-2:]))[place] for A in (L, U))
    column = int(index[member])
    if code[member] == BAD_DIAGONAL:
        raise ValueError(
            f"L{where} must have a positive diagonal, got {L[column, column]} at row {column}; it is no Cholesky factor"
        )
    if code[member] == NON_FINITE:
        for name, A in (("L", np.tril(L)), ("U", U)):
            bad = np.argwhere(~np.isfinite(A))
            if len(bad):
                row, col = (int(i) for i in bad[0])
                raise NonFiniteError(f"{name}{where} must be finite, got {A[row, col]} at row {row}, column {col}")
        raise NonFiniteError(f"the update of L{where} overflows {L.dtype} at column {column}; scale L and U down")
    raise NotPositiveDefiniteError(
        f"L{where} L{where}^T + U diag(sign) U^T is not positive definite: it is lost at column {column}, where U "
        "takes away as much as there is or more; make U smaller there, or pass check=False to be told instead",
        pivot=column,
        index=place,
    )


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
    """
    L, B, vector = _factor_and_columns(L, B, "B")
    C = _corner(C, "C", B.shape[-1], vector)
    return _insert(L, L.shape[-1], B, C, "C")


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
    """
    L, b, vector = _factor_and_columns(L, b, "b")
    c = _corner(c, "c", b.shape[-1], vector)
    return _insert(L, _insertion(index, L.shape[-1]), b, c, "c")


def _check_factor(L) -> None:
    """Raise unless the diagonal of L is positive and what stands below it finite."""
    _check_finite(np.tril(L), "L")
    diagonal = np.einsum("...ii->...i", L)
    if not (diagonal > 0).all():
        place = tuple(int(i) for i in np.argwhere(~(diagonal > 0))[0])
        raise ValueError(
            f"L must have a positive diagonal, got {diagonal[place]} at row {place[-1]}; it is no Cholesky factor"
        )


def _check_finite(A, name: str) -> None:
    if not np.isfinite(A.sum()) and not np.isfinite(A).all():  # a sum costs less, but may overflow
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(A))[0])
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
    n, m = b.shape[-2:]
    _check_factor(L)
    for name, A in (("B" if corner == "C" else "b", b), (corner, np.tril(c))):
        _check_finite(A, name)
    batch = broadcast_batch(L=L.shape[:-2], b=b.shape[:-2], c=c.shape[:-2])
    dtype = common_dtype(L, b, c)
    L, b, c = (A.astype(dtype, copy=False) for A in (L, b, c))
    result = np.zeros((*batch, n + m, n + m), dtype)
    end = at + m
    result[..., :at, :at] = np.tril(L[..., :at, :at])
    X = solve_triangular(L[..., :at, :at], b[..., :at, :])
    Xt = np.swapaxes(X, -1, -2)
    result[..., at:end, :at] = Xt
    try:
        D = cholesky(c - Xt @ X, jitter=0)
    except NotPositiveDefiniteError as error:
        raise _shifted(error, at, corner) from None
    result[..., at:end, at:end] = D
    if end < n + m:
        Y = solve_triangular(D, np.swapaxes(b[..., at:, :] - L[..., at:, :at] @ X, -1, -2))
        result[..., end:, :at] = L[..., at:, :at]
        result[..., end:, at:end] = np.swapaxes(Y, -1, -2)
        tail = result[..., end:, end:]
        tail[...] = np.tril(L[..., at:, at:])
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
    """
    L = as_float_array(L, "L", min_ndim=2)
    check_square(L, "L")
    gone, kept = _split(index, L.shape[-1])
    _check_factor(L)
    result = np.tril(L[..., kept[:, None], kept])
    first = int(gone.min()) if gone.size else len(kept)
    if first < len(kept):
        U = np.where(
            kept[first:, None] > gone, L[..., kept[first:, None], gone], 0
        )  # above the diagonal nothing counts
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


def cholesky_update_vjp(L, U, L_new_bar, *, sign=1, L_new=None):
    r"""Pull-back of :func:`cholesky_update`: ``sum(L_bar * dL) + sum(U_bar * dU) == sum(L_new_bar * dL_new)``.

    With ``V = L + L_new`` and ``V B == U``, column j reflects the rows below it by ``b_j`` and ``tau_j = v_jj /
    l_new_jj``; these reflections are reversed from the last to the first, in blocks, in 10 n^2 m operations.

    Parameters
    ----------
    L, U : arrays of shape (..., n, n) and (..., n, m), or (..., n)
        As given to :func:`cholesky_update`.
    L_new_bar : array of shape (..., n, n)
        Cotangent of the result; only its lower triangle counts.
    sign : 1, -1 or array of shape (m,), default=1
        As given to :func:`cholesky_update`.
    L_new : array of shape (..., n, n), optional
        The result of the update, if it is at hand; else it is computed again.

    Returns
    -------
    L_bar, U_bar : arrays of shape (..., n, n) and (..., n, m), or (..., n)
        ``L_bar`` is zero above the diagonal. Where ``L`` or ``U`` was broadcast, sum over those dimensions.

    Notes
    -----
    Beyond the results (and ``L_new``) it needs 4 n m + 64 n numbers, and copies of what is not row-major. With a closed
    formula, ``P = tril(L_new^T L_new_bar)`` with its diagonal halved, ``S = 1/2 L_new^-T (P + P^T) L_new^-1``, it is
    ``L_bar = tril(2 S L)`` and ``U_bar = 2 S U diag(sign)`` in O(n^3).

    References
    ----------
    Pas and Patrinos (2025), arXiv:2503.15372, for the blocks of reflections; Murray (2016), arXiv:1602.07527, eq. 10,
    for the closed formula.
    """
    original = L, U
    L, U, vector = _factor_and_columns(L, U, "U")
    L_new_bar = as_float_array(L_new_bar, "L_new_bar", min_ndim=2)
    L_new = cholesky_update(*original, sign=sign) if L_new is None else as_float_array(L_new, "L_new", min_ndim=2)
    n, m = U.shape[-2:]
    batch = broadcast_batch(L=L.shape[:-2], U=U.shape[:-2])
    for name, A in (("L_new", L_new), ("L_new_bar", L_new_bar)):
        if A.shape != (*batch, n, n):
            raise ValueError(f"{name} must have the shape of the updated factor, {(*batch, n, n)}, got {A.shape}")
    signs = _signs(sign, m, vector)
    dtype = common_dtype(L, U, L_new_bar)
    signs = np.ones(m, dtype) if signs is None else signs.astype(dtype)
    L_bar, U_bar = (_backend.empty((*batch, n, k), dtype) for k in (n, m))
    count = math.prod(batch)
    if L_bar.size:
        squares = (np.ascontiguousarray(np.broadcast_to(A, L_bar.shape), dtype) for A in (L, L_new, L_new_bar))
        with _backend.blas_threads(1 if m < 64 or count > 1 else n):  # below, the products are too small to share
            _backend.cpu.cholesky_update_vjp(
                *(A.reshape(count, n, n) for A in squares),
                np.ascontiguousarray(np.broadcast_to(U, U_bar.shape), dtype).reshape(count, n, m),
                signs,
                L_bar.reshape(count, n, n),
                U_bar.reshape(count, n, m),
            )
    if not np.isfinite(U_bar.sum()) and not np.isfinite(U_bar).all():
        raise NonFiniteError("the gradients of the update are not finite; an argument holds NaN, or squares overflow")
    return L_bar, (U_bar[..., 0] if vector else U_bar)


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
    A = as_float_array(A, name, min_ndim=2)
    A_bar = as_float_array(A_bar, f"{name}_bar", min_ndim=2)
    check_square(A, name)
    if A_bar.shape != A.shape:
        raise ValueError(f"{name}_bar must have the shape of {name}, {A.shape}, got {A_bar.shape}")
    dtype = common_dtype(A, A_bar)
    return A.astype(dtype, copy=False), A_bar.astype(dtype, copy=False)


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
    """
    L = as_float_array(L, "L", min_ndim=2)
    check_square(L, "L")
    L_new, L_new_bar = _pair(L_new, L_new_bar, "L_new")
    m = _added(m, L_new)
    if L.shape[-1] + m != L_new.shape[-1]:
        raise ValueError(f"L_new must have {m} rows more than L, {L.shape[-1]}, got {L_new.shape[-1]}")
    return _insert_vjp(_insertion(index, L.shape[-1]), m, L_new, L_new_bar, L)


def _insert_vjp(at, m, L_new, L_new_bar, L):
    end, n = at + m, L_new.shape[-1] - m
    T = lambda A: np.swapaxes(A, -1, -2)  # noqa: E731
    head, Xt, D = L_new[..., :at, :at], L_new[..., at:end, :at], L_new[..., at:end, at:end]
    L_bar = np.zeros((*L_new.shape[:-2], n, n), L_new.dtype)
    b_bar = np.zeros((*L_new.shape[:-2], n, m), L_new.dtype)
    L_bar[..., :at, :at] = np.tril(L_new_bar[..., :at, :at])
    X_bar, D_bar = T(L_new_bar[..., at:end, :at]), np.tril(L_new_bar[..., at:end, at:end])
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
    """
    L = as_float_array(L, "L", min_ndim=2)
    check_square(L, "L")
    gone, kept = _split(index, L.shape[-1])
    L_new_bar = as_float_array(L_new_bar, "L_new_bar", min_ndim=2)
    if L_new_bar.shape != (*L.shape[:-2], len(kept), len(kept)):
        raise ValueError(f"L_new_bar must have shape {(*L.shape[:-2], len(kept), len(kept))}, got {L_new_bar.shape}")
    dtype = common_dtype(L, L_new_bar)
    L_bar = np.zeros(L.shape, dtype)
    L_bar[..., kept[:, None], kept] = np.tril(L_new_bar)
    first = int(gone.min()) if gone.size else len(kept)
    if first < len(kept):
        rows = kept[first:]
        below = rows[:, None] > gone
        tail_bar, U_bar = cholesky_update_vjp(
            L[..., rows[:, None], rows],
            np.where(below, L[..., rows[:, None], gone], 0),
            L_new_bar[..., first:, first:],
        )
        L_bar[..., rows[:, None], rows] = tail_bar
        L_bar[..., rows[:, None], gone] = U_bar * below
    return L_bar
