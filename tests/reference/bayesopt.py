"""Acquisition functions from their definitions: quadrature, 60 digits and brute force."""

from __future__ import annotations

import mpmath
import numpy as np
from scipy import integrate, stats


def expected_improvement(mean, variance, best):
    """E max(best - f, 0) for f ~ N(mean, variance), by quadrature."""
    std = np.sqrt(float(variance))
    low = float(mean) - 40 * std
    if best <= low:
        return 0.0
    density = stats.norm(float(mean), std).pdf
    points = [p for p in (float(mean) - 8 * std, float(mean), float(mean) + 8 * std) if low < p < best]
    options = {"epsabs": 0.0, "epsrel": 1e-12, "limit": 200}
    return integrate.quad(lambda f: (best - f) * density(f), low, best, points=points or None, **options)[0]


def log_improvement(z):
    """log h, Phi / h and phi / h at z, h = z Phi(z) + phi(z), with as many digits as cancel and 40 more."""
    with mpmath.workdps(40 + 4 * max(1, int(np.log10(abs(float(z)) + 10)))):
        z = mpmath.mpf(float(z))
        density = mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)
        probability = mpmath.erfc(-z / mpmath.sqrt(2)) / 2
        h = z * probability + density
        return mpmath.log(h), probability / h, density / h


def log_expected_improvement(mean, variance, best):
    """log(s h(z)), z = (best - mean) / s."""
    with mpmath.workdps(60):
        std = mpmath.sqrt(mpmath.mpf(float(variance)))
        z = (mpmath.mpf(float(best)) - mpmath.mpf(float(mean))) / std
        return mpmath.log(std) + log_improvement(z)[0]


def probability_of_improvement(mean, variance, best):
    """P(f < best) for f ~ N(mean, variance)."""
    return float(mpmath.ncdf((best - float(mean)) / mpmath.sqrt(float(variance))))


def joint_improvement(mean, covariance, best, n, rng):
    """E max(best - min f, 0) for f ~ N(mean (r,), covariance (r, r)): average of n draws and its standard error."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, float))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    draws = np.asarray(mean, float) + rng.standard_normal((n, len(values))) @ root.T
    gain = np.maximum(best - draws.min(axis=1), 0.0)
    return gain.mean(), gain.std() / np.sqrt(n)
