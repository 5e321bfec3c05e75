"""Sparse Gaussian process regression, dense: the n x n covariances are written out, in extended precision, unhurried.

Q = K_fu (K_uu + jitter I)^-1 K_uf, S = diag(noise). The bound (Titsias 2009, eq. 9) is
log N(y | m, Q + S) - tr(S^-1 (K_ff - Q)) / 2; FITC's likelihood (Snelson & Ghahramani 2006, eq. 9) is
log N(y | m, Q + diag(K_ff - Q) + S); the upper bound (Titsias 2014) takes the determinant of Q + S and the square of
Q + t I + S, t = tr(K_ff - Q). The mean's coefficients maximise each (generalised least squares). Meant for N <= 60.

The covariance is any function ``k(X, Z=None)``; k(X) may hold white noise, which k(X, Z) never does, not even k(Z, Z).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import linalg
from .gpr import LOG_2PI, LONG, _columns, _factor, _solve


@dataclass(frozen=True)
class Sparse:
    """Data, X (n, q) and Y (n,) or (n, d), inducing inputs Z (m, q), and all else; noise is a number or (n,).

    mean: "zero", "constant" or "linear".
    """

    covariance: object
    X: np.ndarray
    Y: np.ndarray
    Z: np.ndarray
    noise: object
    mean: str = "zero"
    fitc: bool = False
    jitter: float = 0.0


def basis(gp, X):
    """h(x_i) in rows, (n, p)."""
    X = np.asarray(X, dtype=LONG)
    one = np.ones((len(X), 1), dtype=LONG)
    return {"zero": one[:, :0], "constant": one, "linear": np.hstack([one, X])}[gp.mean]


def inducing_covariance(gp):
    """K_uu + jitter I."""
    return np.asarray(gp.covariance(gp.Z, gp.Z), dtype=LONG) + gp.jitter * np.eye(len(gp.Z))


def nystrom(gp, X, X2=None):
    """Q between rows of X and X2."""
    left = np.asarray(gp.covariance(gp.Z, X), dtype=LONG)
    right = left if X2 is None else np.asarray(gp.covariance(gp.Z, X2), dtype=LONG)
    half = linalg.solve_triangular(_factor(inducing_covariance(gp)), np.hstack([left, right]))
    return half[:, : len(X)].T @ half[:, len(X) :]


def noise_matrix(gp):
    """S, with what FITC adds: (n, n)."""
    n = len(gp.X)
    S = np.broadcast_to(np.asarray(gp.noise, dtype=LONG), n).copy()
    if gp.fitc:
        S += np.diag(np.asarray(gp.covariance(gp.X), dtype=LONG)) - np.diag(nystrom(gp, gp.X))
    return np.diag(S)


def least_squares(C, H, Y):
    """b = (H^T C^-1 H)^-1 H^T C^-1 Y; dependent columns of H have some coefficients of many."""
    half = linalg.solve_triangular(_factor(C), np.hstack([H, Y]))
    white = half.astype(float)
    p = H.shape[1]
    return np.linalg.lstsq(white[:, :p], white[:, p:], rcond=1e-10)[0].astype(LONG) if p else np.zeros((0, Y.shape[1]))


def _log_normal(determinant_of, square_of, H, Y):
    """-1/2 sum_d [n log 2 pi + log|A| + min_b r_d^T C^-1 r_d] of two matrices A and C."""
    R = Y - H @ least_squares(square_of, H, Y)
    half = linalg.solve_triangular(_factor(square_of), R)
    log_det = 2 * np.sum(np.log(np.diag(_factor(determinant_of))))
    return -(R.size * LOG_2PI + R.shape[1] * log_det + np.sum(half**2)) / 2


def missing(gp):
    """diag(K_ff - Q), (n,)."""
    return np.diag(np.asarray(gp.covariance(gp.X), dtype=LONG)) - np.diag(nystrom(gp, gp.X))


def lower_bound(gp):
    """The bound, or FITC's likelihood."""
    Y, H = _columns(gp.Y), basis(gp, gp.X)
    C = nystrom(gp, gp.X) + noise_matrix(gp)
    value = _log_normal(C, C, H, Y)
    if not gp.fitc:
        value -= Y.shape[1] * np.sum(missing(gp) / np.broadcast_to(np.asarray(gp.noise, dtype=LONG), len(Y))) / 2
    return value


def upper_bound(gp):
    """Titsias (2014)."""
    Y, H = _columns(gp.Y), basis(gp, gp.X)
    Q = nystrom(gp, gp.X) + np.diag(np.broadcast_to(np.asarray(gp.noise, dtype=LONG), len(Y)))
    return _log_normal(Q, Q + np.sum(missing(gp)) * np.eye(len(Y)), H, Y)


def predict(gp, X_new):
    """m_* + Q_* C^-1 (Y - m), (n, d), and K_** - Q_** + (what the data leave of Q_**), (n, n), with C = Q + S."""
    Y, H = _columns(gp.Y), basis(gp, gp.X)
    C = nystrom(gp, gp.X) + noise_matrix(gp)
    b = least_squares(C, H, Y)
    across = nystrom(gp, X_new, gp.X)
    weights = _solve(C, np.hstack([across.T, Y - H @ b]))
    n = len(across)
    cov = np.asarray(gp.covariance(X_new), dtype=LONG) - across @ weights[:, :n]
    return basis(gp, X_new) @ b + across @ weights[:, n:], cov


def inducing_posterior(gp):
    """Mean (m, d), without the mean function, and covariance (m, m) of u = f(Z) given the data."""
    Y, H = _columns(gp.Y), basis(gp, gp.X)
    C = nystrom(gp, gp.X) + noise_matrix(gp)
    across = np.asarray(gp.covariance(gp.Z, gp.X), dtype=LONG)
    weights = _solve(C, np.hstack([across.T, Y - H @ least_squares(C, H, Y)]))
    return across @ weights[:, len(gp.Z) :], inducing_covariance(gp) - across @ weights[:, : len(gp.Z)]
