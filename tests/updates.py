"""Problems and comparisons that the tests of Cholesky updates share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_near, spd, tolerance, triangular
from reference import linalg as oracle

from lvmfast.exceptions import NotPositiveDefiniteError

CONDITION = 10.0  # of a factor L; that of L L^T is its square
MILD = 3.0  # where pull-backs are compared, which magnify by that square again
COLUMNS = [0, 1, 2, 3, 7, 8, 9, 16, 33]
SIZES = [1, 2, 3, 5, 8, 12, 13, 24, 33, 48, 65, 97, 130]
EDGES = [4, 8, 11, 12, 13, 16, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 97, 130]


def signs(rng, m):
    """Updates, downdates, and both at once."""
    return 1, -1, rng.choice([-1, 1], m)


def transposed(A):
    return np.swapaxes(A, -1, -2)


def in_order(A, order):
    """A copy of matrices, each of them row-major or column-major."""
    return A.copy() if order == "C" else transposed(transposed(A).copy())


def has_order(A, order):
    return (A if order == "C" else transposed(A)).flags.c_contiguous


def product(L):
    """L L^T in float64."""
    lower = np.tril(L).astype(float)
    return lower @ transposed(lower)


def changed(L, U, sign=1):
    """L L^T + U diag(sign) U^T in float64."""
    U = U.astype(float)
    return product(L) + U * sign @ transposed(U)


def is_lower(n):
    return np.tri(n, dtype=bool)


def with_nan(L):
    """L with NaN above the diagonal."""
    return np.where(is_lower(L.shape[-1]), L, L.dtype.type(np.nan))


def factor(rng, n, *, condition=CONDITION, dtype=float, batch=()):
    """Lower factors with this condition number and a positive diagonal, above which NaN stands."""
    L = triangular(rng, n, condition=condition, dtype=dtype, batch=batch)
    return L * np.sign(np.einsum("...ii->...i", L))[..., None, :]


def problem(rng, n, m, sign=1, *, condition=CONDITION, dtype=float, batch=()):
    """L and U of norms near 1, such that the new factor is as well conditioned as one of ``factor``."""
    L = factor(rng, n, condition=condition, batch=batch)
    U = rng.standard_normal((*batch, n, m)) / (math.sqrt(n) + math.sqrt(m))
    taken = U * (np.broadcast_to(sign, m) < 0)
    if taken.any():
        L = with_nan(np.linalg.cholesky(changed(L, taken)))
    return L.astype(dtype), U.astype(dtype)


def allowed(dtype, n, m):
    """For a new factor; the squares of two norms near 1 are added up."""
    return tolerance(dtype, n + m, 2 * CONDITION**2)


def assert_factor(new, expected, relative, dtype):
    """``new`` is near ``expected``, of this dtype, and zero above the diagonal."""
    assert new.dtype == dtype
    assert_near(new, expected, relative)
    np.testing.assert_array_equal(new, np.tril(new))


def assert_update(new, L, U, sign=1):
    """``new`` is the update of one L by one U, or of each in a batch."""
    n, m = U.shape[-2:]
    L, U = np.broadcast_to(L, new.shape), np.broadcast_to(U, (*new.shape[:-2], n, m))
    dtype = np.result_type(L, U)
    for index in np.ndindex(new.shape[:-2]):
        assert_factor(new[index], oracle.cholesky_update(L[index], U[index], sign), allowed(dtype, n, m), dtype)


def failure(function, *arguments, **options):
    """The error of a matrix that is not positive definite."""
    with pytest.raises(NotPositiveDefiniteError) as caught:
        function(*arguments, **options)
    return caught.value


def parts(n, at, m):
    """The old and the new rows of n + m, m of them new from ``at`` on."""
    new = np.arange(at, at + m)
    return np.delete(np.arange(n + m), new), new


def insertion(rng, n, at, m, *, dtype=float, batch=(), condition=CONDITION):
    """L, b and c that make a well conditioned matrix; NaN stands above the diagonal of L."""
    A = spd(rng, n + m, condition=condition**2, batch=batch)
    old, new = parts(n, at, m)
    L = with_nan(np.linalg.cholesky(A[..., old[:, None], old])) if n else np.empty((*batch, 0, 0))
    return tuple(part.astype(dtype) for part in (L, A[..., old[:, None], new], A[..., new[:, None], new]))
