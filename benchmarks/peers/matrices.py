"""Cholesky factors and solves with them by SciPy, NumPy and PyTorch.

``FACTORS[name](A)`` and ``SOLVES[name](L, B)`` return a call that gives an array, or raise ``Unavailable``; none looks
for NaN first.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from .covariances import require


def covariance(n: int, dtype: str) -> np.ndarray:
    """A positive definite matrix (n, n) with eigenvalues from 1 to about 5."""
    G = np.random.default_rng(0).standard_normal((n, n))
    return (G @ G.T / n + np.eye(n)).astype(dtype)


def assert_close(theirs, ours) -> None:
    """Arrays agree by the largest entry, to 1e-10, in float32 to 1e-4."""
    atol = (1e-10 if ours.dtype == np.float64 else 1e-4) * np.abs(ours).max()
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=atol)


def torch_factor(A):
    """torch.linalg.cholesky."""
    require("torch")
    import torch

    tensor = torch.from_numpy(A)
    return lambda: torch.linalg.cholesky(tensor).numpy()


def torch_solve(L, B):
    """torch.cholesky_solve."""
    require("torch")
    import torch

    factor, right = torch.from_numpy(L), torch.from_numpy(B)
    return lambda: torch.cholesky_solve(right, factor).numpy()


FACTORS = {
    "scipy": lambda A: lambda: scipy.linalg.cholesky(A, lower=True, check_finite=False),
    "numpy": lambda A: lambda: np.linalg.cholesky(A),
    "torch": torch_factor,
}
SOLVES = {
    "scipy": lambda L, B: lambda: scipy.linalg.cho_solve((L, True), B, check_finite=False),
    "torch": torch_solve,
}
