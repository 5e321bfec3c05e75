"""Density ratios by kernels, as the papers write them: loops, refits, and a general-purpose optimiser."""

from __future__ import annotations

import numpy as np
from scipy import optimize


def gaussian(X, C, lengthscale):
    """exp(-|x - c|^2 / (2 lengthscale^2)), (n, b)."""
    return np.array([[np.exp(-np.sum((x - c) ** 2) / (2 * lengthscale**2)) for c in C] for x in X])


def least_squares(K_p, K_q, regularization, alpha=0.0):
    """max(0, (alpha mean_p k k^T + (1 - alpha) mean_q k k^T + lambda I)^-1 mean_p k)."""
    H = alpha * K_p.T @ K_p / len(K_p) + (1 - alpha) * K_q.T @ K_q / len(K_q)
    theta = np.linalg.solve(H + regularization * np.eye(H.shape[0]), K_p.mean(axis=0))
    return np.maximum(theta, 0)


def leave_one_out(K_p, K_q, regularization, alpha=0.0):
    """The loss on row i of both samples after a fit without them, averaged over the rows that both have."""
    losses = []
    for i in range(min(len(K_p), len(K_q))):
        theta = least_squares(np.delete(K_p, i, 0), np.delete(K_q, i, 0), regularization, alpha)
        w_p, w_q = K_p[i] @ theta, K_q[i] @ theta
        losses.append(alpha / 2 * w_p**2 + (1 - alpha) / 2 * w_q**2 - w_p)
    return np.mean(losses)


def likelihood(K_p, K_q):
    """argmax mean_p log w, mean_q w = 1, theta >= 0, by SLSQP; (theta, the maximum)."""
    b = K_q.mean(axis=0)
    found = optimize.minimize(
        lambda theta: -np.mean(np.log(K_p @ theta)),
        np.full(len(b), 1 / b.sum()),
        jac=lambda theta: -K_p.T @ (1 / (K_p @ theta)) / len(K_p),
        bounds=[(0, None)] * len(b),
        constraints={"type": "eq", "fun": lambda theta: b @ theta - 1, "jac": lambda theta: b},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    return found.x, -found.fun
