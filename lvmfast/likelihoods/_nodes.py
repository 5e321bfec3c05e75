"""Nodes of quadrature for standard normal variables."""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import ndtri, roots_hermitenorm
from scipy.stats import qmc

from lvmfast import random
from lvmfast._validation import check_integer

MOST_NODES = 200  # the weights of more are below the smallest numbers


def gauss_hermite(n_nodes: int) -> np.ndarray:
    """Nodes x, weights w and log w, (3, n): ``sum w g(x) = E g(z)``, z ~ N(0, 1), for polynomials of degree < 2 n."""
    if check_integer(n_nodes, "n_nodes", 1) > MOST_NODES:
        raise ValueError(f"n_nodes must be an integer >= 1 and <= {MOST_NODES}, got {n_nodes!r}")
    return _gauss_hermite(int(n_nodes))


@functools.lru_cache(maxsize=64)
def _gauss_hermite(n: int) -> np.ndarray:
    x, w = roots_hermitenorm(n)
    w /= w.sum()
    nodes = np.stack([x, w, np.log(w)])
    nodes.flags.writeable = False
    return nodes


@functools.lru_cache(maxsize=16)
def sobol_normal(n: int, d: int) -> np.ndarray:
    """Points (n, d) that stand for N(0, I), n even: Sobol's, shifted, and their negatives.

    Their mean is 0, as is that of every product of an odd number of coordinates; if n >= 4 d they are moved so that
    their covariance is I.
    """
    half = n // 2
    power = max(half - 1, 1).bit_length()
    u = qmc.Sobol(d, scramble=False).random_base2(power)[:half]
    z = ndtri((u + random.uniform(size=d, rng=0)) % 1.0)
    if half >= 2 * d:
        z = np.linalg.solve(np.linalg.cholesky(z.T @ z / half), z.T).T
    nodes = np.concatenate([z, -z])
    nodes.flags.writeable = False
    return nodes
