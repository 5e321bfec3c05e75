"""A = L Lᵀ and triangular systems in textbook loops on longdouble; gradients by forward mode.

A gradient here is never a closed reverse formula: every entry comes from one basis perturbation of
the input, pushed forward and contracted with the cotangent. Meant for n ≤ 40. Where longdouble is
no wider than double (Windows, some ARM systems), everything still holds at double precision.
"""

from __future__ import annotations

import numpy as np

LONG = np.longdouble


def cholesky(A):
    """A = L Lᵀ, L lower triangular, by the triple loop; reads only the lower triangle of A.

    Returns longdouble (n, n). Raises LinAlgError naming the first pivot that is not positive.
    """
    A = np.asarray(A, dtype=LONG)
    n = len(A)
    L = np.zeros((n, n), dtype=LONG)
    for j in range(n):
        pivot = A[j, j]
        for k in range(j):
            pivot -= L[j, k] * L[j, k]
        if not pivot > 0:
            raise np.linalg.LinAlgError(f"pivot {j} is {pivot}, not positive")
        L[j, j] = np.sqrt(pivot)
        for i in range(j + 1, n):
            total = A[i, j]
            for k in range(j):
                total -= L[i, k] * L[j, k]
            L[i, j] = total / L[j, j]
    return L


def solve_triangular(L, B, lower=True, trans=False):
    """op(T) X = B with T the lower (or upper) triangle of L and op(T) = T or Tᵀ.

    B is (n, m) or (n,); the other triangle of L is never read. Returns longdouble in B's shape.
    """
    T = np.tril(L) if lower else np.triu(L)
    T = T.astype(LONG)
    if trans:
        T, lower = T.T, not lower
    B = np.asarray(B, dtype=LONG)
    n = len(T)
    X = np.zeros_like(B)
    for i in range(n) if lower else reversed(range(n)):
        total = B[i].copy()
        for k in range(i) if lower else range(i + 1, n):
            total -= T[i, k] * X[k]
        X[i] = total / T[i, i]
    return X


def cholesky_solve(L, B):
    """X = (L Lᵀ)⁻¹ B; L lower (n, n), B (n, m) or (n,). Returns longdouble in B's shape."""
    return solve_triangular(L, solve_triangular(L, B), trans=True)


def _half_diagonal(S):
    """Φ(S): the lower triangle of S with its diagonal halved."""
    return np.tril(S) - np.diag(np.diag(S)) / 2


def cholesky_vjp(L, L_bar):
    """Σ A_bar∘dA = Σ L_bar∘dL for every symmetric dA, with dL = L Φ(L⁻¹ dA L⁻ᵀ).

    A_bar is symmetric: the basis perturbation dA = E_ij + E_ji (i ≠ j) gives 2 A_bar_ij, and
    dA = E_ii gives A_bar_ii. Only the lower triangles of L and L_bar count. Returns longdouble.
    """
    L = np.tril(L).astype(LONG)
    L_bar = np.asarray(L_bar, dtype=LONG)
    n = len(L)
    inverse = solve_triangular(L, np.eye(n))
    A_bar = np.zeros((n, n), dtype=LONG)
    for i in range(n):
        for j in range(i + 1):
            dA = np.zeros((n, n), dtype=LONG)
            dA[i, j] = dA[j, i] = 1
            dL = L @ _half_diagonal(inverse @ dA @ inverse.T)
            A_bar[i, j] = A_bar[j, i] = np.sum(L_bar * dL) / (1 if i == j else 2)
    return A_bar


def _pull_back(n, shape, X_bar, mask, push_matrix, push_right):
    """Contract X_bar with dX for each basis dT inside mask and each basis dB; (T_bar, B_bar)."""
    X_bar = np.asarray(X_bar, dtype=LONG)
    T_bar, B_bar = np.zeros((n, n), dtype=LONG), np.zeros(shape, dtype=LONG)
    for i, j in zip(*np.nonzero(mask), strict=True):
        dT = np.zeros((n, n), dtype=LONG)
        dT[i, j] = 1
        T_bar[i, j] = np.sum(X_bar * push_matrix(dT))
    for index in np.ndindex(shape):
        dB = np.zeros(shape, dtype=LONG)
        dB[index] = 1
        B_bar[index] = np.sum(X_bar * push_right(dB))
    return T_bar, B_bar


def solve_triangular_vjp(L, X, X_bar, lower=True, trans=False):
    """Σ L_bar∘dL + Σ B_bar∘dB = Σ X_bar∘dX, with op(T) dX = dB - op(dT) X.

    X is the *solution* of op(T) X = B. Returns (L_bar, B_bar) in longdouble; L_bar is zero outside
    the referenced triangle.
    """
    X = np.asarray(X, dtype=LONG)
    n = len(X)
    inverse = solve_triangular(L, np.eye(n), lower, trans)

    def push_matrix(dT):
        return -inverse @ ((dT.T if trans else dT) @ X)

    mask = np.tril(np.ones((n, n))) if lower else np.triu(np.ones((n, n)))
    return _pull_back(n, X.shape, X_bar, mask, push_matrix, lambda dB: inverse @ dB)


def cholesky_solve_vjp(L, X, X_bar):
    """Σ L_bar∘dL + Σ B_bar∘dB = Σ X_bar∘dX, with dX = A⁻¹(dB - (dL Lᵀ + L dLᵀ) X), A = L Lᵀ.

    X is the *solution* of A X = B. Returns (L_bar, B_bar) in longdouble; L_bar is lower triangular.
    """
    L, X = np.tril(L).astype(LONG), np.asarray(X, dtype=LONG)
    n = len(X)
    inverse = cholesky_solve(L, np.eye(n))

    def push_matrix(dL):
        return -inverse @ ((dL @ L.T + L @ dL.T) @ X)

    mask = np.tril(np.ones((n, n)))
    return _pull_back(n, X.shape, X_bar, mask, push_matrix, lambda dB: inverse @ dB)


def _by_columns(n, column):
    """The lower factor of the (n, n) matrix A whose ``column(j)`` is A[j:, j]; fast enough for n ≤ 200.

    Raises LinAlgError naming the first pivot that is not positive.
    """
    L = np.zeros((n, n), dtype=LONG)
    for j in range(n):
        rest = column(j) - L[j:, :j] @ L[j, :j]
        if not rest[0] > 0:
            raise np.linalg.LinAlgError(f"pivot {j} is {rest[0]}, not positive")
        L[j:, j] = rest / np.sqrt(rest[0])
    return L


def _columns(U, sign):
    """U as (n, m), or (n, 1) for a vector, and the same with signs."""
    U = np.asarray(U, dtype=LONG)
    U = U if U.ndim == 2 else U[:, None]
    return U, U * np.asarray(sign, dtype=LONG)


def cholesky_update(L, U, sign=1):
    """The factor of A = L Lᵀ + U diag(sign) Uᵀ, which is formed and factorised column by column.

    U is (n, m) or (n,), sign a number or (m,); only the lower triangle of L is read. Returns longdouble (n, n).
    Raises LinAlgError naming the first pivot that is not positive.
    """
    L = np.tril(L).astype(LONG)
    U, signed = _columns(U, sign)
    return _by_columns(len(L), lambda j: L[j:, : j + 1] @ L[j, : j + 1] + signed[j:] @ U[j])


def cholesky_update_vjp(L, U, L_new_bar, sign=1):
    """Σ L_bar∘dL + Σ U_bar∘dU = Σ L_new_bar∘dL_new, where L_new is the factor of A = L Lᵀ + U diag(sign) Uᵀ.

    dL_new = L_new Φ(L_new⁻¹ dA L_new⁻ᵀ). Only the lower triangles of L and L_new_bar count. Returns
    (L_bar, U_bar) in longdouble; L_bar is lower triangular, U_bar has U's shape.
    """
    L = np.tril(L).astype(LONG)
    n, shape = len(L), np.shape(U)
    new = cholesky_update(L, U, sign)
    inverse = solve_triangular(new, np.eye(n))
    signed = _columns(U, sign)[1]

    def push(half):
        """dL_new for dA = half + halfᵀ."""
        return new @ _half_diagonal(inverse @ (half + half.T) @ inverse.T)

    mask = np.tril(np.ones((n, n)))
    return _pull_back(
        n, shape, L_new_bar, mask, lambda dL: push(dL @ L.T), lambda dU: push(dU.reshape(signed.shape) @ signed.T)
    )


def cholesky_insert(L, index, b, c):
    """The factor of L Lᵀ with rows and columns index, ..., index + m - 1 inserted, by forming it.

    b (n, m) or (n,) stands beside the old rows, c (m, m) or a number among the new ones; index from 0 to n.
    Only the lower triangles of L and c are read. Returns longdouble (n + m, n + m).
    """
    L, b = np.tril(L).astype(LONG), _columns(b, 1)[0]
    n, m = b.shape
    new = index + np.arange(m)
    old = np.delete(np.arange(n + m), new)
    A = np.empty((n + m, n + m), dtype=LONG)
    A[np.ix_(old, old)] = L @ L.T
    A[np.ix_(old, new)] = b
    A[np.ix_(new, old)] = b.T
    A[np.ix_(new, new)] = c
    return _by_columns(n + m, lambda j: A[j:, j])


def cholesky_append(L, B, C):
    """The factor of [[L Lᵀ, B], [Bᵀ, C]]: ``cholesky_insert`` at the end."""
    return cholesky_insert(L, len(L), B, C)


def cholesky_delete(L, index):
    """The factor of L Lᵀ without the rows and columns ``index`` (an int or several), by forming it."""
    L = np.tril(L).astype(LONG)
    A = np.delete(np.delete(L @ L.T, index, 0), index, 1)
    return _by_columns(len(A), lambda j: A[j:, j])


def random_spd(rng, n, condition, dtype=np.float64):
    """A = V diag(λ) Vᵀ, λ geometric from 1 down to 1/condition, V orthogonal (Haar).

    Exactly symmetric in dtype; rounding moves eigenvalues by about eps, so keep
    condition · eps(dtype) well below 1. n = 1 gives [[1]].
    """
    V, R = np.linalg.qr(rng.standard_normal((n, n)))
    V = V * np.sign(np.diag(R))
    A = (V * np.geomspace(1.0, 1.0 / condition, n)) @ V.T
    return (0.5 * (A + A.T)).astype(dtype)
