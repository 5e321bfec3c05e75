"""Peer implementations of stochastic variational sparse GPs (ARD RBF, whitened, full q), behind one interface.

The model is f = c + GP(0, k) with y = f + N(0, noise_variance) ("gaussian") or P(y = 1) = 1 / (1 + exp(-f))
("bernoulli"); u = f(Z) = c + L w, w ~ N(mu, W W^T). A step maximises the ELBO of a batch, scaled to ``n_total``
rows, by the kernel's 1 + q parameters, the noise, c, Z, mu and W: by Adam, or mu and W by a natural gradient.

``PEERS[name](start)`` does the set-up and returns a trainer, or raises ``Unavailable``; ``OURS[name](start)`` does the
same with lvmfast. Trainers take NumPy arrays of the dtype of ``start``:

``step(x, y)``
    One step, complete when it returns. The first call may compile.
``elbo(x, y)``
    At the present parameters, as if (x, y) were a batch.
``predict(x)``
    Mean and variance of f, float64.
``noise()``
    The noise variance, of "gaussian".
``diagonal``
    What the library adds to k(x, x): GPyTorch has its jitter there too.

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
from scipy import special

from .covariances import Unavailable

__all__ = ["OURS", "PEERS", "Start", "Unavailable", "natural_of"]

JITTER = 1e-6
N_NODES = 20


@dataclasses.dataclass
class Start:
    """Where a training starts, and its settings."""

    likelihood: str
    variance: float
    lengthscale: np.ndarray
    noise_variance: float
    Z: np.ndarray
    mu: np.ndarray
    W: np.ndarray
    n_total: int
    dtype: str = "float64"
    natural: bool = False
    learning_rate: float = 0.01
    step_size: float = 0.1
    constant: float = 0.0

    @classmethod
    def random(cls, m: int, n_total: int, likelihood: str, dtype: str, natural: bool, q: int = 8) -> Start:
        """Standard normal Z, lengthscales around sqrt(q) / 2, small steps; q(u) neither the prior nor far from it."""
        rng = np.random.default_rng(1)
        scale = 0.5 * np.sqrt(q) * np.linspace(0.8, 1.2, q)
        W = np.tril(0.2 / np.sqrt(m) * rng.standard_normal((m, m)), -1) + np.diag(rng.uniform(0.3, 0.9, m))
        Z, mu = rng.standard_normal((m, q)), 0.3 * rng.standard_normal(m)
        return cls(likelihood, 1.0, scale, 0.05, Z, mu, W, n_total, dtype, natural, 1e-3, 0.05)

    @classmethod
    def prior(cls, Z, n_total: int, likelihood: str, **settings) -> Start:
        """q(u) = p(u), unit variance, lengthscales of sqrt(q), for standardised inputs."""
        m, q = Z.shape
        return cls(likelihood, 1.0, np.full(q, np.sqrt(q)), 0.1, Z, np.zeros(m), np.eye(m), n_total, **settings)

    @property
    def q(self) -> int:
        """Inputs."""
        return self.Z.shape[1]

    def expected(self, x, y, diagonal: float = 0.0) -> float:
        """The ELBO in plain NumPy with 100 nodes of Gauss-Hermite quadrature."""
        x, y = x.astype(float), y.astype(float)
        m = len(self.Z)
        L = np.linalg.cholesky(self.covariance(self.Z, self.Z) + JITTER * np.eye(m))
        A = scipy.linalg.solve_triangular(L, self.covariance(self.Z, x), lower=True)
        mean, root = self.constant + A.T @ self.mu, self.W.T @ A
        variance = self.variance + diagonal - np.sum(A * A, axis=0) + np.sum(root * root, axis=0)
        if self.likelihood == "gaussian":
            square = (np.square(y - mean) + variance) / self.noise_variance
            terms = -0.5 * (np.log(2 * np.pi * self.noise_variance) + square)
        else:
            nodes, weights = np.polynomial.hermite_e.hermegauss(100)
            f = mean[:, None] + np.sqrt(variance)[:, None] * nodes
            terms = special.log_expit((2 * y - 1)[:, None] * f) @ (weights / weights.sum())
        kl = 0.5 * (self.mu @ self.mu + np.sum(self.W**2) - m) - np.sum(np.log(np.diag(self.W)))
        return self.n_total / len(y) * terms.sum() - kl

    def covariance(self, A, B) -> np.ndarray:
        """k(A, B)."""
        return self.variance * np.exp(
            -0.5 * scipy.spatial.distance.cdist(A / self.lengthscale, B / self.lengthscale, "sqeuclidean")
        )


def natural_of(name: str) -> bool:
    """Whether the peer takes natural gradients for q."""
    return name.endswith("-natural")


def torch_handderived(start: Start):
    """PyTorch, gradients by hand but for the kernel's."""
    from .sparse_variational_torch import HandDerived

    return HandDerived(start)


def torch_autograd(start: Start):
    """PyTorch, the ELBO as it stands in the papers, gradients by autograd."""
    from .sparse_variational_torch import Autograd

    return Autograd(start)


def gpytorch(start: Start):
    """GPyTorch."""
    from .sparse_variational_gpytorch import Trainer

    return Trainer(start)


def gpflow(start: Start):
    """GPflow."""
    from .sparse_variational_gpflow import Trainer

    return Trainer(start)


def compiled(start: Start):
    """lvmfast: the compiled step alone, in which q moves and the other parameters have gradients and stay."""
    from .sparse_variational_ours import Compiled

    return Compiled(start)


def whole(start: Start):
    """lvmfast: the step as ``SVGP.fit`` takes it."""
    from .sparse_variational_ours import Whole

    return Whole(start)


PEERS = {
    "torch": torch_handderived,
    "torch-autograd": torch_autograd,
    "gpytorch": gpytorch,
    "gpytorch-natural": gpytorch,
    "gpflow": gpflow,
    "gpflow-natural": gpflow,
}

OURS = {"compiled": compiled, "whole": whole}
