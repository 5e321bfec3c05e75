"""y ~ N(m(X), k(X, X) + diag(noise)): exact Gaussian process regression, dense, in extended precision, unhurried.

The covariance is any function ``k(X, Z=None)`` that gives a matrix; k(X) and k(X, X) may differ by white noise, which
belongs to a row of X and not to its position. The mean is m(x) = h(x)·b with h = () for "zero", 1 for "constant" and
(1, x) for "linear", or a function of X. b maximises the likelihood given all else (generalised least squares) and
counts as known in all predictions. Points are never added or left out by an update: the whole is computed anew. Meant
for N ≤ 60.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import linalg

LONG = np.longdouble
LOG_2PI = np.log(2 * LONG("3.14159265358979323846264338327950288"))


@dataclass(frozen=True)
class GP:
    """Data, X (n, q) and Y (n,) or (n, d), and all that the likelihood depends on.

    noise is a number or (n,), jitter included; coefficients (p,) or (p, d) are kept where they are given.
    """

    covariance: object
    X: np.ndarray
    Y: np.ndarray
    noise: object
    mean: object = "zero"
    coefficients: object = None


def _columns(Y):
    """Y as (n, d)."""
    Y = np.asarray(Y, dtype=LONG)
    return Y[:, None] if Y.ndim == 1 else Y


def _like(gp, columns):
    """(..., d) as (...) where Y is (n,)."""
    return columns[..., 0] if np.ndim(gp.Y) == 1 else columns


def basis(gp, X):
    """h(x_i) in rows, (n, p)."""
    X = np.asarray(X, dtype=LONG)
    one = np.ones((len(X), 1), dtype=LONG)
    return {"zero": one[:, :0], "constant": one, "linear": np.hstack([one, X])}[gp.mean]


def noisy_covariance(gp):
    """C = k(X) + diag(noise), (n, n)."""
    K = np.array(gp.covariance(gp.X), dtype=LONG)
    return K + np.diag(np.broadcast_to(np.asarray(gp.noise, dtype=LONG), len(K)))


def _factor(A):
    return linalg._by_columns(len(A), lambda j: A[j:, j])


def _solve(A, B):
    """A⁻¹ B for a symmetric positive definite A."""
    return linalg.cholesky_solve(_factor(A), np.asarray(B, dtype=LONG))


def coefficients(gp):
    """b = (Hᵀ C⁻¹ H)⁻¹ Hᵀ C⁻¹ Y, (p, d), or those that are given."""
    if gp.coefficients is not None:
        return _columns(gp.coefficients)
    H = basis(gp, gp.X)
    weighted = _solve(noisy_covariance(gp), H)
    return _solve(H.T @ weighted, weighted.T @ _columns(gp.Y))


def mean_at(gp, X):
    """m(x_i), (n, d)."""
    if callable(gp.mean):
        return np.broadcast_to(_columns(gp.mean(X)), (len(X), _columns(gp.Y).shape[1]))
    if gp.mean == "zero":
        return np.zeros((len(X), _columns(gp.Y).shape[1]), dtype=LONG)
    return basis(gp, X) @ coefficients(gp)


def fixed(gp):
    """The same with its coefficients given, so that they stay when points are added or left out."""
    return gp if callable(gp.mean) or gp.mean == "zero" else replace(gp, coefficients=coefficients(gp))


def log_marginal_likelihood(gp):
    """Σ_d log N(y_d | m_d, C) = -½ Σ_d [n log 2π + log|C| + r_dᵀ C⁻¹ r_d], r_d = y_d - m_d."""
    C = noisy_covariance(gp)
    R = _columns(gp.Y) - mean_at(gp, gp.X)
    L = _factor(C)
    half = linalg.solve_triangular(L, R)
    determinant = 2 * np.sum(np.log(np.diag(L)))
    return -(R.size * LOG_2PI + R.shape[1] * determinant + np.sum(half**2)) / 2


def predict(gp, X_new, noise=0.0):
    """m_* + K_* C⁻¹ (Y - m), (n, d) or (n,), and K_** - K_* C⁻¹ K_*ᵀ + noise I, (n, n), which all outputs share."""
    across = np.asarray(gp.covariance(X_new, gp.X), dtype=LONG)
    weights = _solve(noisy_covariance(gp), np.column_stack([across.T, _columns(gp.Y) - mean_at(gp, gp.X)]))
    n = len(across)
    mean = mean_at(gp, X_new) + across @ weights[:, n:]
    cov = np.asarray(gp.covariance(X_new), dtype=LONG) - across @ weights[:, :n]
    return _like(gp, mean), cov + noise * np.eye(n)


def without(gp, i):
    """All but point i."""
    noise = np.delete(gp.noise, i) if np.ndim(gp.noise) else gp.noise
    return replace(gp, X=np.delete(gp.X, i, 0), Y=np.delete(gp.Y, i, 0), noise=noise)


def leave_one_out(gp):
    """Mean, variance and log density of each noisy y_i given all others, by n refits, the mean's coefficients kept."""
    gp = fixed(gp)
    Y = _columns(gp.Y)
    noise = np.broadcast_to(gp.noise, len(Y))
    mean, variance = np.empty_like(Y), np.empty_like(Y)
    for i in range(len(Y)):
        if len(Y) > 1:
            at, cov = predict(without(gp, i), gp.X[i : i + 1], noise[i])
        else:
            at, cov = mean_at(gp, gp.X), noisy_covariance(gp)
        mean[i], variance[i] = np.ravel(at), cov[0, 0]
    log_density = -(LOG_2PI + np.log(variance) + (Y - mean) ** 2 / variance) / 2
    return tuple(_like(gp, part) for part in (mean, variance, log_density))


def condition(gp, X, Y, noise):
    """With points added, X (m, q), Y (m,) or (m, d), noise a number or (m,); the mean's coefficients kept."""
    gp = fixed(gp)
    both = [np.broadcast_to(np.asarray(part), len(rows)) for part, rows in ((gp.noise, gp.X), (noise, X))]
    return replace(gp, X=np.vstack([gp.X, X]), Y=np.concatenate([gp.Y, Y]), noise=np.concatenate(both))
