"""Cholesky factors and triangular solves, each with its pull-back.

A pull-back takes the cotangent of the result (the gradient of a scalar with respect to it) and returns the
cotangents of the arguments. Everything is batched over leading dimensions, which broadcast as in NumPy.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_positive, check_square, common_dtype
from lvmfast.exceptions import JitterWarning, NonFiniteError, NotPositiveDefiniteError

__all__ = [
    "cholesky",
    "cholesky_solve",
    "cholesky_solve_vjp",
    "cholesky_vjp",
    "solve_triangular",
    "solve_triangular_vjp",
]

# Multiples of the mean diagonal at which escalating jitter starts and ends.
JITTER_RANGE = {np.dtype(np.float64): (1e-10, 1e-4), np.dtype(np.float32): (1e-6, 1e-2)}

NOT_POSITIVE_DEFINITE, NON_FINITE = 1, 2  # codes of csrc/device/status.hpp


def cholesky(A, *, jitter="auto", return_jitter=False):
    r"""Lower Cholesky factor: ``L @ L.T == A + jitter * I``.

    Parameters
    ----------
    A : array of shape (..., n, n)
        Symmetric positive definite, float32 or float64; only the lower triangle is read.
    jitter : "auto" or float, default="auto"
        "auto" first tries without; where a pivot is lost it adds 1e-10 (float32: 1e-6) times the mean of the
        diagonal, then ten times more, up to 1e-4 (float32: 1e-2). A number is added as it is, without another
        try.
    return_jitter : bool, default=False
        Return also what was added.

    Returns
    -------
    L : array of shape (..., n, n)
        Zero above the diagonal; dtype of ``A``. The input is left as it is.
    jitter : array of shape (...)
        Only with ``return_jitter``; a float for a single matrix.

    Raises
    ------
    NotPositiveDefiniteError
        With the pivot, the place in the batch and the likely cause.
    NonFiniteError
        If ``A`` holds NaN or infinity.

    Warns
    -----
    JitterWarning
        If jitter was added and ``return_jitter`` is false.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> lvm.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]])
    array([[2., 0.],
           [1., 2.]])
    """
    module = _backend.module_for(A)
    A = as_float_array(A, "A", min_ndim=2)
    check_square(A, "A")
    if isinstance(jitter, str):
        if jitter != "auto":
            raise ValueError(f"jitter must be 'auto' or a number >= 0, got {jitter!r}")
        first, last, fixed = *JITTER_RANGE[A.dtype], 0.0
    else:
        first, last, fixed = 0.0, 0.0, check_positive(jitter, "jitter", zero=True)
    batch, n = A.shape[:-2], A.shape[-1]
    flat = np.ascontiguousarray(A).reshape(math.prod(batch), n, n)
    if fixed:
        flat = flat + fixed * np.eye(n, dtype=A.dtype)
    L = np.empty(flat.shape, A.dtype)
    with _backend.blas_threads():
        code, index, used = module.cholesky(flat, L, first, last)
    failed = np.flatnonzero(code)
    if failed.size:
        b = int(failed[0])
        place = tuple(int(i) for i in np.unravel_index(b, batch)) if batch else ()
        raise_factorisation_error(flat[b], int(code[b]), int(index[b]), float(used[b]) + fixed, "A", place)
    used = used.reshape(batch) + fixed
    if return_jitter:
        return L.reshape(A.shape), used if batch else float(used)
    if not fixed and used.any():
        warnings.warn(
            f"A was not positive definite to working precision: up to {used.max():.3g} was added to its diagonal; "
            "ask for return_jitter=True to see what was added, or pass jitter=0 to forbid it",
            JitterWarning,
            stacklevel=2,
        )
    return L.reshape(A.shape)


def raise_factorisation_error(A, code: int, pivot: int, jitter: float, name: str, index=()):
    """Raise the error for matrix ``A``, whose factorisation ended with ``code`` at ``pivot``."""
    where = f"{name}[{', '.join(map(str, index))}]" if index else name
    lower = np.tril(A)
    if not np.isfinite(lower).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(lower))[0])
        raise NonFiniteError(f"{where} must be finite, got {lower[row, column]} at row {row}, column {column}")
    cause = _likely_cause(lower.astype(np.float64), pivot)
    if code == NON_FINITE:
        raise NonFiniteError(f"{where} has a factor that is not finite at pivot {pivot}; {cause}")
    raise NotPositiveDefiniteError(
        f"{where} is not positive definite: pivot {pivot} failed with jitter {jitter:.3g} on the diagonal; {cause}",
        pivot=pivot,
        index=index,
        jitter=jitter,
    )


def _likely_cause(lower: np.ndarray, pivot: int) -> str:
    diagonal = np.diagonal(lower)
    if (diagonal <= 0).any():
        row = int(np.argmax(diagonal <= 0))
        return f"its diagonal is {diagonal[row]:.3g} at row {row}; a covariance has positive variances"
    deviation = np.sqrt(diagonal)  # products of two entries may leave the range, their quotients by these rarely
    if pivot > 0:
        with np.errstate(over="ignore"):
            correlation = np.abs(lower[pivot, :pivot]) / deviation[:pivot] / deviation[pivot]
        twin = int(np.argmax(correlation))
        if abs(correlation[twin] - 1) < 1e-6:
            return (
                f"rows {twin} and {pivot} are equal up to scale, as for duplicate inputs; remove one, or add noise to "
                "the diagonal"
            )
    if deviation.max() > 1e6 * deviation.min():
        return f"its diagonal spans {diagonal.min():.3g} to {diagonal.max():.3g}; bring the variables to one scale"
    return "it is indefinite, or singular to working precision; add noise or jitter to the diagonal"


def cholesky_vjp(L, L_bar):
    r"""Pull-back of the Cholesky factor: ``sum(A_bar * dA) == sum(L_bar * dL)`` for symmetric ``dA``.

    ``A_bar = 1/2 L^-T (P + P^T) L^-1`` with ``P = tril(L^T L_bar)``, its diagonal halved.

    Parameters
    ----------
    L : array of shape (..., n, n)
        The factor, as returned by :func:`cholesky`.
    L_bar : array of shape (..., n, n)
        Cotangent of ``L``; only its lower triangle is used.

    Returns
    -------
    A_bar : array of shape (..., n, n)
        Symmetric.

    References
    ----------
    Murray (2016), "Differentiation of the Cholesky decomposition", arXiv:1602.07527, eq. 10.
    """
    L = as_float_array(L, "L", min_ndim=2)
    L_bar = as_float_array(L_bar, "L_bar", min_ndim=2)
    check_square(L, "L")
    if L_bar.shape != L.shape:
        raise ValueError(f"L_bar must have the shape of L, {L.shape}, got {L_bar.shape}")
    dtype = common_dtype(L, L_bar)
    P = np.tril(np.swapaxes(np.tril(L), -1, -2) @ np.tril(L_bar))
    diagonal = np.einsum("...ii->...i", P)
    diagonal *= 0.5
    S = (0.5 * (P + np.swapaxes(P, -1, -2))).astype(dtype, copy=False)
    half = solve_triangular(L, S, trans=True)  # L^-T S
    A_bar = solve_triangular(L, np.swapaxes(half, -1, -2), trans=True)
    return 0.5 * (A_bar + np.swapaxes(A_bar, -1, -2))


def solve_triangular(L, B, *, lower=True, trans=False):
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

    Returns
    -------
    X : array of the broadcast shape (..., n, m), or (..., n)
        float32 if both inputs are, else float64.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a diagonal entry of ``L`` is zero.
    """
    module = _backend.module_for(L, B)
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
    diagonal = np.einsum("...ii->...i", L)
    if not diagonal.all():
        place = tuple(int(i) for i in np.argwhere(diagonal == 0)[0])
        raise np.linalg.LinAlgError(f"L must have a diagonal without zeros, got 0 at {place}; L is singular")
    dtype = common_dtype(L, B)
    try:
        batch = np.broadcast_shapes(L.shape[:-2], B.shape[:-2])
    except ValueError:
        raise ValueError(
            f"the leading dimensions of L and B must broadcast, got {L.shape[:-2]} and {B.shape[:-2]}"
        ) from None
    X = np.empty((*batch, n, B.shape[-1]), dtype)
    X[...] = B
    single = L.ndim == 2 or all(extent == 1 for extent in L.shape[:-2])
    if not single:
        L = np.broadcast_to(L, (*batch, n, n))
    if X.size:
        flat = np.ascontiguousarray(L, dtype=dtype).reshape(-1, n, n)
        with _backend.blas_threads():
            module.solve_triangular_inplace(flat, X.reshape(-1, n, X.shape[-1]), bool(lower), bool(trans))
    return X[..., 0] if vector else X


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
    """
    X = as_float_array(X, "X", min_ndim=1)
    X_bar = as_float_array(X_bar, "X_bar", min_ndim=1)
    if X.shape != X_bar.shape:
        raise ValueError(f"X_bar must have the shape of X, {X.shape}, got {X_bar.shape}")
    B_bar = solve_triangular(L, X_bar, lower=lower, trans=not trans)
    left, right = (X, B_bar) if trans else (B_bar, X)
    outer = np.outer(left, right) if X.ndim == 1 else left @ np.swapaxes(right, -1, -2)
    return -(np.tril(outer) if lower else np.triu(outer)), B_bar


def cholesky_solve(L, B):
    r"""Solution of a positive definite system: ``(L @ L.T) @ X == B`` with ``L`` lower.

    Parameters
    ----------
    L : array of shape (..., n, n)
        A Cholesky factor, as from :func:`cholesky`.
    B : array of shape (..., n, m), or (n,)

    Returns
    -------
    X : array of the broadcast shape (..., n, m), or (..., n)
    """
    if np.ndim(B) == 1:
        return cholesky_solve(L, np.expand_dims(B, -1))[..., 0]
    return solve_triangular(L, solve_triangular(L, B), trans=True)


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
    """
    X = as_float_array(X, "X", min_ndim=1)
    L = as_float_array(L, "L", min_ndim=2)
    B_bar = cholesky_solve(L, X_bar)
    if X.shape != B_bar.shape:
        raise ValueError(f"X_bar must have the shape of X, {X.shape}, got {B_bar.shape}")
    left, right = (X[:, None], B_bar[:, None]) if X.ndim == 1 else (X, B_bar)
    cross = right @ np.swapaxes(left, -1, -2)
    return -np.tril((cross + np.swapaxes(cross, -1, -2)) @ np.tril(L)), B_bar
