"""Boxes."""

from __future__ import annotations

import numpy as np

from lvmfast._validation import as_float_array


def check_bounds(bounds, d: int | None = None) -> np.ndarray:
    """``bounds`` as a float64 array (d, 2) of finite numbers, each row rising."""
    array = as_float_array(bounds, "bounds").astype(np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or (d is not None and len(array) != d):
        raise ValueError(f"bounds must have shape ({d or 'd'}, 2): (low, high) of each input, got {array.shape}")
    for k, (low, high) in enumerate(array):
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(f"bounds must be finite with low < high, got ({low:g}, {high:g}) for input {k}")
    return array
