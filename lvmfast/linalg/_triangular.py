"""Triangular and Cholesky solves and their pull-backs."""

from __future__ import annotations

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

__all__ = ["cholesky_solve", "cholesky_solve_vjp", "solve_triangular", "solve_triangular_vjp"]


@_backend.memory_errors
def solve_triangular(L, B, *, lower=True, trans=False, overwrite=False):
    r"""Solution of a triangular system: ``op(L) @ X == B`` with ``op(L) = L`` or ``L.T``.

    Parameters
    ----------
    L : array of shape (..., n, n)
        Triangular; only that triangle is read.
    B : array of shape (..., n, m), or (n,)
        Right-hand sides. A one-dimensional ``B`` is a single one.
    lower : bool, default=True
        Which triangle of ``L`` holds the matrix.
    trans : bool, default=False
        Solve with the transpose.
    overwrite : bool, default=False
        Put the solution in the place of ``B``, which must then be a writeable array of its dtype and shape.

    Returns
    -------
    X : array of the broadcast shape (..., n, m), or (..., n)
        float32 if both inputs are, else float64. Row- or column-major as ``B`` is.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a diagonal entry of ``L`` is zero.

    Notes
    -----
    Row- and column-major matrices and broadcast ones are used where they lie; other layouts are copied. The members of
    a batch share the threads of lvmfast, a single system those of the BLAS.

    Examples
    --------
    >>> from lvmfast import linalg
    >>> linalg.solve_triangular([[2.0, 0.0], [1.0, 2.0]], [2.0, 5.0])
    array([1., 2.])
    """
    module = _backend.module_for(L=L, B=B)
    target = B
    L = as_float_array(L, "L", min_ndim=2)
    B = as_float_array(B, "B", min_ndim=1)
    check_square(L, "L")
    vector = B.ndim == 1
    if vector:
        B = B[:, None]
    n = L.shape[-1]
    if B.shape[-2] != n:
        got = B.shape[:-1] if vector else B.shape
        raise ValueError(f"B must have {n} rows like L, got shape {got}")
    xp = _backend.namespace(L)
    diagonal = xp.diagonal(L, axis1=-2, axis2=-1)
    if not diagonal.all():
        place = tuple(int(i) for i in xp.argwhere(diagonal == 0)[0])
        raise np.linalg.LinAlgError(f"L must have a diagonal without zeros, got 0 at {place}; L is singular")
    dtype = common_dtype(L, B)
    batch = broadcast_batch(L=L.shape[:-2], B=B.shape[:-2])
    shape = (*batch, n, B.shape[-1])
    if overwrite:
        check_target(target, "B", (*batch, n) if vector else shape, dtype)
    in_place = (
        overwrite and xp.may_share_memory(B, target) and as_lines(B, dtype) is B and not xp.may_share_memory(L, B)
    )
    if in_place:
        X = B
    else:
        X = _backend.empty(shape, dtype, order_of(B), like=B)
        X[...] = B
    if X.size:
        L = xp.broadcast_to(as_lines(L, dtype), (*batch, n, n))
        with _backend.blas_threads(n if math.prod(batch) == 1 else 1):
            module.solve_triangular_inplace(L, X, bool(lower), bool(trans))
    if overwrite:
        if not in_place:
            target[...] = X[..., 0] if vector else X
        return target
    return X[..., 0] if vector else X


@_backend.memory_errors
def solve_triangular_vjp(L, X, X_bar, *, lower=True, trans=False):
    r"""Pull-back of :func:`solve_triangular`: with ``op(L) @ X == B``,

    ``B_bar = op(L)^-T X_bar`` and ``L_bar = -tri(B_bar X^T)``, or ``-tri(X B_bar^T)`` if ``trans``.

    Parameters
    ----------
    L : array of shape (..., n, n)
    X : array of shape (..., n, m), or (n,)
        The solution.
    X_bar : array of the shape of ``X``
        Its cotangent.
    lower, trans : bool
        As given to :func:`solve_triangular`.

    Returns
    -------
    L_bar, B_bar : arrays of shape (..., n, n) and of the shape of ``X``
        ``L_bar`` is zero outside the triangle. Where ``L`` or ``B`` was broadcast, sum over those dimensions.

    Examples
    --------
    >>> from lvmfast import linalg
    >>> X = linalg.solve_triangular([[2.0]], [4.0])  # B / L
    >>> L_bar, B_bar = linalg.solve_triangular_vjp([[2.0]], X, [1.0])
    >>> L_bar, B_bar
    (array([[-1.]]), array([0.5]))
    """
    _backend.module_for(L=L, X=X, X_bar=X_bar)
    X = as_float_array(X, "X", min_ndim=1)
    X_bar = as_float_array(X_bar, "X_bar", min_ndim=1)
    xp = _backend.namespace(X)
    if X.shape != X_bar.shape:
        raise ValueError(f"X_bar must have the shape of X, {X.shape}, got {X_bar.shape}")
    B_bar = solve_triangular(L, X_bar, lower=lower, trans=not trans)
    left, right = (X, B_bar) if trans else (B_bar, X)
    outer = xp.outer(left, right) if X.ndim == 1 else left @ xp.swapaxes(right, -1, -2)
    return -(xp.tril(outer) if lower else xp.triu(outer)), B_bar


@_backend.memory_errors
def cholesky_solve(L, B, *, overwrite=False):
    r"""Solution of a positive definite system: ``(L @ L.T) @ X == B`` with ``L`` lower.

    Parameters
    ----------
    L : array of shape (..., n, n)
        A Cholesky factor, as from :func:`cholesky`.
    B : array of shape (..., n, m), or (n,)
    overwrite : bool, default=False
        Put the solution in the place of ``B``, which must then be a writeable array of its dtype and shape.

    Returns
    -------
    X : array of the broadcast shape (..., n, m), or (..., n)

    Examples
    --------
    >>> from lvmfast import linalg
    >>> linalg.cholesky_solve([[2.0, 0.0], [1.0, 2.0]], [2.0, 5.0])
    array([0., 1.])
    """
    if _backend.is_gpu(B):
        B = B if overwrite else as_float_array(B, "B")
        vector, columns = B.ndim == 1, B[:, None] if B.ndim == 1 else B
    else:
        vector = np.ndim(B) == 1
        columns = np.expand_dims(B, -1) if vector else B
    X = solve_triangular(L, columns, overwrite=overwrite)
    X = solve_triangular(L, X, trans=True, overwrite=True)
    return B if overwrite else X[..., 0] if vector else X


@_backend.memory_errors
def cholesky_solve_vjp(L, X, X_bar):
    r"""Pull-back of :func:`cholesky_solve`: with ``A = L L^T`` and ``A X == B``,

    ``B_bar = A^-1 X_bar`` and ``L_bar = -tril((B_bar X^T + X B_bar^T) L)``.

    Parameters
    ----------
    L : array of shape (..., n, n)
    X : array of shape (..., n, m), or (n,)
        The solution.
    X_bar : array of the shape of ``X``

    Returns
    -------
    L_bar, B_bar : arrays of shape (..., n, n) and of the shape of ``X``

    Examples
    --------
    >>> from lvmfast import linalg
    >>> L = [[2.0]]
    >>> X = linalg.cholesky_solve(L, [4.0])  # B / L^2
    >>> L_bar, B_bar = linalg.cholesky_solve_vjp(L, X, [1.0])
    >>> L_bar, B_bar
    (array([[-1.]]), array([0.25]))
    """
    _backend.module_for(L=L, X=X, X_bar=X_bar)
    X = as_float_array(X, "X", min_ndim=1)
    L = as_float_array(L, "L", min_ndim=2)
    xp = _backend.namespace(X)
    B_bar = cholesky_solve(L, X_bar)
    if X.shape != B_bar.shape:
        raise ValueError(f"X_bar must have the shape of X, {X.shape}, got {B_bar.shape}")
    left, right = (X[:, None], B_bar[:, None]) if X.ndim == 1 else (X, B_bar)
    cross = right @ xp.swapaxes(left, -1, -2)
    return -xp.tril((cross + xp.swapaxes(cross, -1, -2)) @ xp.tril(L)), B_bar
