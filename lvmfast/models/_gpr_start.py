"""Where a fit of Gaussian process regression starts: kernel, spread of y, noise variances."""

from __future__ import annotations

import numpy as np

from lvmfast._validation import as_float_array
from lvmfast.kernels import RBF


def default_kernel(X: np.ndarray, Y: np.ndarray) -> RBF:
    """RBF with the variance of Y and, per input, a lengthscale of its spread times the root of their number."""
    spread = X.std(axis=0)
    spread = np.where(spread > 1e-12 * np.abs(X).max(axis=0, initial=0.0), spread, 1.0)
    return RBF(spread_of(Y), spread * np.sqrt(X.shape[1]) * 0.5)


def spread_of(Y: np.ndarray) -> float:
    """Mean square of Y around the means of its columns; where it vanishes, a small part of Y's own, or 1."""
    with np.errstate(over="ignore"):
        square, own = float(np.mean((Y - Y.mean(axis=0)) ** 2)), float(np.mean(Y * Y))
    if not np.isfinite(own) or 0 < own < 1e-250 or (own == 0 and Y.any()):
        raise ValueError(f"y must have a mean square between 1e-250 and 1e308, got {own:g}; rescale it")
    if square > 1e-20 * own:
        return square
    return 1e-4 * own if own > 0 else 1.0


def check_noise_array(noise_variance, n: int) -> np.ndarray:
    """Known noise variances as float64, shape (n,)."""
    array = as_float_array(noise_variance, "noise_variance").astype(np.float64)
    if array.shape != (n,):
        raise ValueError(f"noise_variance must be a number or have shape ({n},), got shape {array.shape}")
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(f"noise_variance must be finite and >= 0, got {array.min()} as the least")
    return array
