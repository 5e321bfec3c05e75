"""Whether chains have converged, and how many independent draws theirs are worth.

A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, Rank-normalization, folding, and localization: an
improved R-hat for assessing convergence of MCMC (Bayesian Analysis 16, 2021), cited by equation below. Arrays of draws
have shape (chains, draws, ...); less than four draws a chain say nothing (NaN).
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["bulk_ess", "rank_normalised_r_hat"]


def rank_normalised_r_hat(draws) -> np.ndarray:
    """The larger of the split R-hats (eq. 4) of rank-normalised draws (eq. 14) and of those folded at the median.

    Parameters
    ----------
    draws : array of shape (chains, draws, ...)

    Returns
    -------
    r_hat : array of shape (...)
        Near 1 where chains agree in location and spread; above 1.01 run them longer. NaN where all draws are equal.
    """
    draws = np.asarray(draws, dtype=np.float64)
    if draws.shape[1] < 4:
        return np.full(draws.shape[2:], np.nan)
    split = _split(draws)
    folded = np.abs(split - np.median(split, axis=(0, 1)))
    return np.fmax(_r_hat(_rank_normal(split)), _r_hat(_rank_normal(folded)))


def bulk_ess(draws) -> np.ndarray:
    """Effective sample size of the split, rank-normalised draws (eq. 10-14).

    Parameters
    ----------
    draws : array of shape (chains, draws, ...)

    Returns
    -------
    ess : array of shape (...)
    """
    draws = np.asarray(draws, dtype=np.float64)
    if draws.shape[1] < 4:
        return np.full(draws.shape[2:], np.nan)
    z = _rank_normal(_split(draws))
    flat = z.reshape(*z.shape[:2], -1)
    return np.array([_ess(flat[:, :, i]) for i in range(flat.shape[2])]).reshape(draws.shape[2:])


def _split(draws):
    """Each chain as two; of an odd number the draw in the middle is left out."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _rank_normal(x):
    """``z = Phi^-1((r - 3/8) / (S + 1/4))``, r the ranks among all draws of a quantity, ties averaged."""
    ranks = rankdata(x.reshape(-1, *x.shape[2:]), axis=0).reshape(x.shape)
    return ndtri((ranks - 0.375) / (x.shape[0] * x.shape[1] + 0.25))


def _r_hat(x):
    n = x.shape[1]
    within = x.var(axis=1, ddof=1).mean(axis=0)
    between = n * x.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((between / within + n - 1) / n)


def _ess(x) -> float:
    """Of (chains, draws): Geyer's initial monotone sequence of the chains' joint autocorrelations."""
    m, n = x.shape
    if np.ptp(x) == 0:
        return float(m * n)
    centred = x - x.mean(axis=1, keepdims=True)
    size = next_fast_len(2 * n)
    spectrum = rfft(centred, size, axis=1)
    covariance = irfft((spectrum * spectrum.conj()).real, size, axis=1)[:, :n] / n
    within = covariance[:, 0].mean() * n / (n - 1)
    total = within * (n - 1) / n + (x.mean(axis=1).var(ddof=1) if m > 1 else 0.0)
    rho = 1.0 - (within - covariance.mean(axis=0)) / total
    rho[0] = 1.0
    # sums of neighbours (rho_0 + rho_1), (rho_2 + rho_3), ...: as long as they are positive, and made to fall; of the
    # pair at which that ends the first term counts once, if it is positive
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)
    last = max(0, (n - 3) // 2)
    negative = np.flatnonzero(pairs[:last] <= 0)
    last = negative[0] if len(negative) else last
    time = -1.0 + 2.0 * np.minimum.accumulate(pairs[:last]).sum() + max(rho[2 * last], 0.0)
    return float(m * n / max(time, 1.0 / np.log10(m * n)))
