"""Where fits of Gaussian process classification start: the kernel, inducing inputs; and the batches they go through."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

from lvmfast.kernels import RBF

VARIANCE = 4.0  # of the default prior: log odds of -2 to 2 within one standard deviation
MANY_ROWS = 20_000  # of k-means: beyond, of a part of the rows

__all__ = ["Batches", "inducing_inputs", "start_kernel"]


def start_kernel(kernel, X):
    """A copy of ``kernel``, or the default for these inputs."""
    if kernel is not None:
        return kernel.copy()
    spread = X.std(axis=0, dtype=np.float64)
    spread = np.where(spread > 1e-12 * np.abs(X).max(axis=0, initial=0.0), spread, 1.0)
    return RBF(VARIANCE, spread * np.sqrt(X.shape[1]) * 0.5)


def inducing_inputs(inducing, X, seed: int) -> np.ndarray:
    """Inducing inputs (M, q): those given, or the centres of k-means, of columns in units of their spread."""
    if np.ndim(inducing):
        return np.array(inducing, dtype=np.float64)
    rows = X
    if len(X) > MANY_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(X), MANY_ROWS, replace=False))
        rows = X[chosen]
    rows = np.asarray(rows, dtype=np.float64)
    spread = rows.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    distinct = np.unique(rows / spread, axis=0)
    if len(distinct) <= inducing:
        return distinct * spread
    kind = MiniBatchKMeans if len(rows) * inducing > 1_000_000 else KMeans
    means = kind(int(inducing), n_init=1, random_state=seed).fit(rows / spread)
    return means.cluster_centers_ * spread


class Batches:
    """Batch k of an epoch: ``batch_size`` rows of a permutation that the seed and the epoch give."""

    def __init__(self, X, kappa, batch_size: int, seed: int):
        self.X, self.kappa, self.seed = X, kappa, seed
        self.size = min(batch_size, len(X))
        self.count = len(X) // self.size  # what is left over takes part in other epochs
        self._epoch, self._order = None, None

    def __call__(self, epoch: int, k: int):
        """X (batch_size, q), float64, and kappa (batch_size,)."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.X))
        rows = np.sort(self._order[k * self.size : (k + 1) * self.size])
        return np.ascontiguousarray(self.X[rows], np.float64), self.kappa[rows]
