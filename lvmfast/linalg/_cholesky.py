"""The Cholesky factor and its pull-back."""

from __future__ import annotations

import math
import warnings

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_positive, check_square, common_dtype
from lvmfast.exceptions import JitterWarning, NonFiniteError, NotPositiveDefiniteError

__all__ = ["cholesky", "cholesky_vjp", "raise_factorisation_error"]

# Multiples of the mean diagonal at which escalating jitter starts and ends.
JITTER_RANGE = {np.dtype(np.float64): (1e-10, 1e-4), np.dtype(np.float32): (1e-6, 1e-2)}

NOT_POSITIVE_DEFINITE, NON_FINITE, BAD_DIAGONAL = 1, 2, 3  # codes of csrc/device/status.hpp


@_backend.memory_errors
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
    xp = _backend.namespace(A)
    batch, n = A.shape[:-2], A.shape[-1]
    flat = xp.ascontiguousarray(A).reshape(math.prod(batch), n, n)
    if fixed:
        flat = flat + A.dtype.type(fixed) * xp.eye(n, dtype=A.dtype)
    L = _backend.empty(flat.shape, A.dtype, like=A)
    with _backend.blas_threads(1 if flat.shape[0] > 1 else None):  # the members of a batch share our own threads
        code, index, used = module.cholesky(flat, L, first, last)
    failed = np.flatnonzero(code)
    if failed.size:
        b = int(failed[0])
        place = tuple(int(i) for i in np.unravel_index(b, batch)) if batch else ()
        raise_factorisation_error(
            _backend.to_numpy(flat[b]), int(code[b]), int(index[b]), float(used[b]) + fixed, "A", place
        )
    used = used.reshape(batch) + fixed
    if return_jitter:
        return L.reshape(A.shape), xp.asarray(used) if batch else float(used)
    if not fixed and used.any():
        warnings.warn(
            f"A was not positive definite to working precision: up to {used.max():.3g} was added to its diagonal; "
            "ask for return_jitter=True to see what was added, or pass jitter=0 to forbid it",
            JitterWarning,
            stacklevel=3,
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


@_backend.memory_errors
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

    Examples
    --------
    >>> from lvmfast import linalg
    >>> linalg.cholesky_vjp([[2.0]], [[1.0]])  # d sqrt(A) / dA at A = 4
    array([[0.25]])
    """
    module = _backend.module_for(L=L, L_bar=L_bar)
    L = as_float_array(L, "L", min_ndim=2)
    L_bar = as_float_array(L_bar, "L_bar", min_ndim=2)
    check_square(L, "L")
    if L_bar.shape != L.shape:
        raise ValueError(f"L_bar must have the shape of L, {L.shape}, got {L_bar.shape}")
    dtype = common_dtype(L, L_bar)
    A_bar = _backend.empty(L.shape, dtype, like=L)
    batch, n = math.prod(L.shape[:-2]), L.shape[-1]
    rows = _backend.namespace(L).ascontiguousarray
    with _backend.blas_threads(n if batch == 1 else 1):
        module.cholesky_vjp(*(rows(A, dtype).reshape(batch, n, n) for A in (L, L_bar)), A_bar.reshape(batch, n, n))
    return A_bar
