"""Snelson's one-dimensional data, which are part of the package."""

from __future__ import annotations

import importlib.resources

import numpy as np
from numpy.typing import DTypeLike
from sklearn.utils import Bunch

_DESCR = (
    "200 noisy observations of a smooth function of one input between 0 and 6, with gaps: the data of E. Snelson, Z.\n"
    "Ghahramani, Sparse Gaussian processes using pseudo-inputs, NIPS 2006; as GPflow's documentation ships them.\n"
)


def load_snelson(*, return_X_y: bool = False, dtype: DTypeLike = np.float64) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """``y_i = f(x_i) + noise``: 200 points of one input, on which sparse Gaussian processes are shown.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(X, y)`` only.
    dtype : dtype, default=float64
        float32 or float64.

    Returns
    -------
    Bunch
        ``data`` (200, 1), ``target`` (200,) and ``DESCR``; or ``(data, target)``.

    References
    ----------
    Snelson & Ghahramani (2006), "Sparse Gaussian processes using pseudo-inputs".

    Examples
    --------
    >>> from lvmfast.datasets import load_snelson
    >>> load_snelson().data.shape
    (200, 1)
    """
    if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    packed = importlib.resources.files("lvmfast.datasets") / "data" / "snelson.npz"
    with packed.open("rb") as stream, np.load(stream) as file:
        X, y = file["x"][:, None].astype(dtype), file["y"].astype(dtype)
    return (X, y) if return_X_y else Bunch(data=X, target=y, DESCR=_DESCR)
