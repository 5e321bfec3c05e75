"""Standard normal numbers for simulated outcomes, the same for every candidate."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from lvmfast._validation import check_choice, check_rng

SAMPLINGS = ("auto", "strata", "gauss-hermite", "sobol", "normal")


def base_samples(sampling: str, n: int, q: int, random_state) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (n, q) and their weights (n,), of sum 1."""
    check_choice(sampling, "sampling", SAMPLINGS)
    if sampling == "auto":
        sampling = "strata" if q == 1 else "sobol"
    if sampling in ("strata", "gauss-hermite") and q > 1:
        raise ValueError(f"sampling must be 'sobol' or 'normal' for q > 1, got {sampling!r} with q={q}")
    even = np.full(n, 1.0 / n)
    if sampling == "strata":
        means, weights = strata(n)
        return means[:, None], weights
    if sampling == "gauss-hermite":
        nodes, weights = special.roots_hermitenorm(n)
        return nodes[:, None], weights / weights.sum()
    rng = check_rng(random_state)
    if sampling == "normal":
        return rng.standard_normal((n, q)), even
    normal = sobol_normals((n + 1) // 2, q, rng)
    both = np.vstack([normal, -normal])
    return (both, even) if n % 2 == 0 else (np.vstack([normal[:-1], 0.0 * normal[:1], -normal[:-1]]), even)


def sobol_points(n: int, d: int, rng) -> np.ndarray:
    """The first n points of a scrambled Sobol' sequence in the unit cube, shape (n, d)."""
    return stats.qmc.Sobol(d, seed=rng).random_base2((n - 1).bit_length())[:n]


def sobol_normals(n: int, d: int, rng) -> np.ndarray:
    """Standard normal numbers (n, d) made of them."""
    return special.ndtri(0.5 + (1.0 - 1e-10) * (sobol_points(n, d, rng) - 0.5))


def strata(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The means of N(0, 1) in n intervals, and their probabilities.

    A function that is linear but for kinks errs by the squared width of the intervals with kinks, times the density:
    least in all for intervals whose number is as the cube root of the density, the quantiles of N(0, 3).
    P. Zador (1982), "Asymptotic quantization error of continuous signals", IEEE Trans. Inf. Theory 28.
    """
    ends = np.sqrt(3.0) * stats.norm.ppf(np.arange(1, n) / n)
    ends = 0.5 * (ends - ends[::-1])
    density = np.concatenate([[0.0], stats.norm.pdf(ends), [0.0]])
    below = np.concatenate([[0.0], stats.norm.cdf(np.minimum(ends, 0.0)), [0.5]])
    above = np.concatenate([[0.0], stats.norm.sf(np.maximum(ends, 0.0))[::-1], [0.5]])
    weights = np.concatenate([np.diff(below[: n // 2 + 1]), [1.0] * (n % 2), np.diff(above[: n // 2 + 1])[::-1]])
    if n % 2:
        weights[n // 2] = 1.0 - 2.0 * weights[: n // 2].sum()
    means = (density[:-1] - density[1:]) / weights
    return 0.5 * (means - means[::-1]), weights
