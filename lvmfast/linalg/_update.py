"""Cholesky factors of matrices that gain or lose a few ranks."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from lvmfast import _backend
from lvmfast._validation import (
    as_float_array,
    as_lines,
    broadcast_batch,
    check_square,
    check_target,
    common_dtype,
    order_of,
)
from lvmfast.exceptions import NonFiniteError, NotPositiveDefiniteError
from lvmfast.linalg._cholesky import BAD_DIAGONAL, NON_FINITE, NOT_POSITIVE_DEFINITE

__all__ = ["cholesky_update", "cholesky_update_vjp", "factor_and_columns"]

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
    array([[2.5       , 0.        ],
           [2.        , 2.23606798]])
    """
    if check and out is None and type(L) is type(U) is np.ndarray and type(sign) is int and (sign == 1 or sign == -1):
        result = _fast(L, U, sign, bool(overwrite))  # the usual case at the cost of one call
        if result is not None:
            return result
    return _update(L, U, sign, overwrite, out, check)


@_backend.memory_errors
def _update(L, U, sign, overwrite, out, check):
    module = _backend.module_for(L=L, U=U, out=out)
    xp = _backend.namespace(L, U)
    target = L if overwrite else out
    L, U, vector = factor_and_columns(L, U, "U")
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
        and not xp.may_share_memory(out, L)
        and as_lines(out, dtype) is out
        and order_of(out) == order_of(L)
    ):
        result = out
    else:
        result = _backend.empty(shape, dtype, order_of(L), like=L)
    if target is not None and xp.may_share_memory(target, U):
        U = U.copy()
    if not result.size:
        result = result if target is None else target
        return result if check else (result, xp.ones(batch, bool) if batch else True)
    with _backend.blas_threads(1 if batch else n) if m > n else contextlib.nullcontext():
        code, index = module.cholesky_update(
            xp.broadcast_to(L, shape), xp.broadcast_to(U, (*batch, n, m)), signs, result, result is not L
        )
    if code.any() and (check or (code > NOT_POSITIVE_DEFINITE).any()):
        _raise_update_error(_backend.to_numpy(L), _backend.to_numpy(U), batch, code, index)
    if target is not None and result is not target:
        where = np.tri(n, dtype=bool) if overwrite else np.ones((1, 1), bool)
        where = where if check else where & (code == 0).reshape((*batch, 1, 1))
        xp.copyto(target, result, where=xp.broadcast_to(xp.asarray(where), shape))
        result = target
    if check:
        return result
    if code.any() and not overwrite:
        result[xp.asarray((code != 0).reshape(batch))] = np.nan
    ok = xp.asarray((code == 0).reshape(batch))
    return result, (ok if batch else bool(ok))


def factor_and_columns(L, U, name):
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


@_backend.memory_errors
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

    Examples
    --------
    >>> from lvmfast import linalg
    >>> L_bar, U_bar = linalg.cholesky_update_vjp([[3.0]], [4.0], [[1.0]])  # of sqrt(L^2 + U^2)
    >>> L_bar, U_bar
    (array([[0.6]]), array([0.8]))
    """
    original = L, U
    module = _backend.module_for(L=L, U=U, L_new_bar=L_new_bar, L_new=L_new)
    xp = _backend.namespace(L, U)
    L, U, vector = factor_and_columns(L, U, "U")
    L_new_bar = as_float_array(L_new_bar, "L_new_bar", min_ndim=2)
    L_new = cholesky_update(*original, sign=sign) if L_new is None else as_float_array(L_new, "L_new", min_ndim=2)
    n, m = U.shape[-2:]
    batch = broadcast_batch(L=L.shape[:-2], U=U.shape[:-2])
    for name, A in (("L_new", L_new), ("L_new_bar", L_new_bar)):
        if A.shape != (*batch, n, n):
            raise ValueError(f"{name} must have the shape of the updated factor, {(*batch, n, n)}, got {A.shape}")
    signs = _signs(sign, m, vector)
    dtype = common_dtype(L, U, L_new_bar)
    signs = xp.asarray(np.ones(m, dtype) if signs is None else signs.astype(dtype))
    L_bar, U_bar = (_backend.empty((*batch, n, k), dtype, like=L) for k in (n, m))
    count = math.prod(batch)
    if L_bar.size:
        squares = (xp.ascontiguousarray(xp.broadcast_to(A, L_bar.shape), dtype) for A in (L, L_new, L_new_bar))
        with _backend.blas_threads(1 if m < 64 or count > 1 else n):  # below, the products are too small to share
            module.cholesky_update_vjp(
                *(A.reshape(count, n, n) for A in squares),
                xp.ascontiguousarray(xp.broadcast_to(U, U_bar.shape), dtype).reshape(count, n, m),
                signs,
                L_bar.reshape(count, n, n),
                U_bar.reshape(count, n, m),
            )
    if not xp.isfinite(U_bar.sum()) and not xp.isfinite(U_bar).all():
        raise NonFiniteError("the gradients of the update are not finite; an argument holds NaN, or squares overflow")
    return L_bar, (U_bar[..., 0] if vector else U_bar)
