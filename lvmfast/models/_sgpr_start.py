"""Where a sparse fit starts: the rows that stand for all in statistics, and the inducing inputs."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from lvmfast import _backend
from lvmfast._validation import as_matrix, check_integer

INITS = ("k-means", "greedy-variance", "subset")
STATISTICS_ROWS = 1 << 16
KMEANS_ROWS = 1 << 14
GREEDY_NUMBERS = 1 << 23  # of k(candidates, chosen)
DEFAULT_INDUCING = 100


def some_rows(array, most: int) -> np.ndarray:
    """At most ``most`` rows that lie evenly, as float64, of NumPy."""
    step = max(1, -(-len(array) // most))
    return np.array(_backend.to_numpy(array[::step]), dtype=np.float64, order="C")


def check_inducing(inducing, n: int, q: int):
    """The number of inducing inputs, or the inputs (m, q) that were given, as a new array."""
    if inducing is None:
        return min(DEFAULT_INDUCING, n)
    if np.ndim(inducing) == 0:
        number = check_integer(inducing, "inducing", 1)
        if number > n:
            raise ValueError(f"inducing must be at most the number of rows of X, {n}, got {number}")
        return number
    Z = as_matrix(_backend.to_numpy(inducing), "inducing", columns=q, dtype=np.float64).copy()
    if not 1 <= len(Z) <= n:
        raise ValueError(f"inducing must have between 1 row and the {n} of X, got {len(Z)}")
    return Z


def first_inducing(X, number: int, init: str, kernel, scale: np.ndarray, rng) -> np.ndarray:
    """Inducing inputs (m, q) from data, m <= number: fewer where there are not as many different rows."""
    if init == "subset":
        order = rng.permutation(len(X))
        rows = np.array(_backend.to_numpy(X)[np.sort(order[: 4 * number])], dtype=np.float64)
        unique = distinct(rows)
        if len(unique) < number < len(X):
            unique = distinct(some_rows(X, len(X)))
        return unique[np.sort(rng.permutation(len(unique))[:number])]
    if init == "greedy-variance":
        return greedy_variance(some_rows(X, max(2 * number, GREEDY_NUMBERS // number)), number, kernel)
    rows = distinct(some_rows(X, max(KMEANS_ROWS, 4 * number)))
    if len(rows) <= number:
        return rows
    seed = int(rng.integers(2**31)) if hasattr(rng, "integers") else int(rng.randint(2**31 - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = KMeans(number, n_init=1, max_iter=30, random_state=seed).fit(rows / scale).cluster_centers_
    return means * scale


def distinct(rows: np.ndarray) -> np.ndarray:
    """The different rows, in the order in which they come."""
    return rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]


def greedy_variance(rows: np.ndarray, number: int, kernel) -> np.ndarray:
    """Rows chosen one after the other, each where the variance given those before is largest.

    A pivoted Cholesky factorisation of k(rows, rows) that stops, early where no variance is left: Burt, Rasmussen &
    van der Wilk (2020), "Convergence of sparse variational inference in Gaussian processes regression", section 4.3.
    """
    left = kernel.diag(rows)
    floor = 1e-12 * left.max()
    factor = np.empty((number, len(rows)))
    chosen: list[int] = []
    for k in range(number):
        best = int(np.argmax(left))
        if not left[best] > floor:
            break
        row = kernel(rows[best : best + 1], rows)[0]
        row -= factor[:k, best] @ factor[:k]
        factor[k] = row / np.sqrt(left[best])
        left = np.maximum(left - factor[k] ** 2, 0.0)
        left[best] = 0.0
        chosen.append(best)
    return rows[chosen]
