"""The knowledge gradient by its definition: for every simulated outcome a refit with the outcome among the data.

KG(x_c) = min_x μ_n(x) − Σ_m w_m min_x μ_{n+1}^{(m)}(x): minima over a grid, refined by SciPy's L-BFGS-B from the best.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize

from . import gpr


def outcomes(gp, candidate, xi, noise):
    """μ_n(X_c) + R ξ_m with R Rᵀ = k_n(X_c, X_c) + noise I: (M, q)."""
    mean, cov = gpr.predict(gp, candidate, noise)
    root = np.linalg.cholesky(np.asarray(cov, dtype=float))
    return np.asarray(mean, dtype=float) + xi @ root.T


def smallest_mean(gp, bounds, grid):
    """min_x of the posterior mean, and where."""
    bounds = np.asarray(bounds, dtype=float)
    weights = gpr._solve(gpr.noisy_covariance(gp), gpr._columns(gp.Y) - gpr.mean_at(gp, gp.X))

    def mean(X):
        return np.asarray(gpr.mean_at(gp, X) + gp.covariance(X, gp.X) @ weights, dtype=float)[:, 0]

    values = mean(grid)
    best = grid[np.argmin(values)], values.min()
    for start in grid[np.argsort(values)[:3]]:
        end = optimize.minimize(
            lambda x: mean(x[None])[0], start, bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-10}
        )
        if end.fun < best[1]:
            best = end.x, end.fun
    return best[1], best[0]


def knowledge_gradient(gp, candidate, xi, weights, noise, bounds, grid):
    """The value, and the minima (M,) after each outcome."""
    simulated = outcomes(gp, candidate, xi, noise)
    minima = [smallest_mean(gpr.condition(gp, candidate, y, noise), bounds, grid)[0] for y in simulated]
    return smallest_mean(gpr.fixed(gp), bounds, grid)[0] - np.dot(weights, minima), np.array(minima)
