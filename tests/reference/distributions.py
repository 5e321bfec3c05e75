"""Densities, moments and divergences of distributions by SciPy and by quadrature; lvmfast is not imported."""

from __future__ import annotations

import numpy as np
from scipy import integrate, stats


def normal(loc, scale):
    """SciPy's frozen normal distribution."""
    return stats.norm(loc, scale)


def uniform(low, high):
    """Between low and high."""
    return stats.uniform(low, high - low)


def multivariate(loc, scale_tril):
    """SciPy's frozen normal distribution of vectors."""
    L = np.asarray(scale_tril)
    return stats.multivariate_normal(loc, L @ L.T)


def kl_by_quadrature(log_p, log_q, low, high):
    """``int p (log p - log q)`` of numbers between two ends, to some 1e-10."""
    with np.errstate(all="ignore"):
        return integrate.quad(lambda x: np.exp(log_p(x)) * (log_p(x) - log_q(x)), low, high, limit=400, epsabs=1e-12)[0]


def mass(density, low, high):
    """``int p`` between two ends."""
    return integrate.quad(density, low, high, limit=400, epsabs=1e-12)[0]


def banana(y, covariance):
    """The density of the reference's banana in closed form: N(x | 0, covariance), ``x = (y_1, y_2 + y_1**2 + 1)``."""
    x1, x2 = y[..., 0], y[..., 1] + y[..., 0] ** 2 + 1
    (a, c), (_, d) = covariance
    determinant = a * d - c * c
    return np.exp(-0.5 * (d * x1 * x1 - 2 * c * x1 * x2 + a * x2 * x2) / determinant) / (
        2 * np.pi * np.sqrt(determinant)
    )


def ks_threshold(n: int, false_alarm: float = 1e-9) -> float:
    """What the Kolmogorov-Smirnov statistic of n draws passes with at most this probability (Massart, 1990)."""
    return float(np.sqrt(np.log(2 / false_alarm) / (2 * n)))


def ks_statistic(cdf_values) -> float:
    """The largest distance between the empirical distribution function and that whose values at the draws these are."""
    u = np.sort(np.ravel(cdf_values))
    steps = np.arange(len(u) + 1) / len(u)
    return float(max((steps[1:] - u).max(), (u - steps[:-1]).max()))
