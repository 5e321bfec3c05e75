"""What Gaussian process classification knows of the latent function: posteriors, which answer in float64."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast.kernels import Kernel
from lvmfast.linalg import cholesky, solve_triangular
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._gpr_posterior import GprPosterior
from lvmfast.models._matrices import add_to_diagonal, column_squares

TILE = 1 << 22  # numbers of a matrix that are held at a time

__all__ = ["FullPosterior", "GibbsPosterior", "SparsePosterior", "expected_sigmoid", "inverse_theta"]


def inverse_theta(c):
    """``1 / theta(c) = 2 c / tanh(c / 2)``, theta the mean of PG(1, c); 4 at 0."""
    xp = _backend.namespace(c)
    small = c < 1e-3
    safe = xp.where(small, 1.0, c)
    square = c * c / 12.0
    return xp.where(small, 4.0 / (1.0 - square * (1.0 - 1.2 * square)), 2.0 * safe / xp.tanh(0.5 * safe))


def expected_sigmoid(mean, variance):
    """``E sigma(x), x ~ N(mean, variance)``, by entry; ``variance`` (m,) belongs to the last axis of ``mean``."""
    module = _backend.module_on("cuda" if _backend.is_gpu(mean) else "cpu", mean)
    xp = _backend.namespace(mean)
    out = xp.empty(mean.shape)
    module.expected_sigmoid(xp.ascontiguousarray(mean), xp.ascontiguousarray(variance), out)
    return out


def tiles(m: int, height: int):
    """Slices of ``m`` columns, with at most TILE numbers in ``height`` rows."""
    width = max(1, TILE // max(1, height))
    return [slice(begin, min(begin + width, m)) for begin in range(0, m, width)]


class _Gaussian:
    """A Gaussian posterior: what follows from its moments."""

    def probability(self, X):
        """``E sigma(f(x))``, shape (m,)."""
        return expected_sigmoid(*self.moments(X))

    def sample(self, X, n_samples: int, rng):
        """Joint draws, shape (n_samples, m)."""
        mean, covariance = self.joint(X)
        factor = factor_of_rest(covariance, self.kernel.diag(self.there(X)))
        draws = self.there(rng.standard_normal((len(X), n_samples)))
        return mean + (factor @ draws).T

    def there(self, array):
        """The array on this posterior's device."""
        return _backend.to_device(array, self.device)


def factor_of_rest(covariance, prior):
    """Cholesky factor of what is left of a prior covariance, which may have rank 0."""
    add_to_diagonal(covariance, 1e-10 * prior + np.finfo(float).tiny)
    return cholesky(covariance, return_jitter=True)[0]


class FullPosterior(_Gaussian):
    """``f(x) ~ N(m + k(x, X) C^-1 (z - m), k(x, x) - k(x, X) C^-1 k(X, x))``, ``C = K + diag(1 / theta(c))``.

    ``z = kappa / theta(c)``: regression on what the bound makes of the labels.
    """

    def __init__(self, kernel: Kernel, mean: float, X, kappa, c, device: str):
        noise = inverse_theta(c)
        targets = (kappa * noise - mean)[:, None]
        self.gpr = GprPosterior.fit(kernel, Mean("zero", X), X, targets, noise, "auto", device)
        self.kernel, self.mean, self.c, self.kappa = self.gpr.kernel, mean, c, kappa

    @property
    def device(self) -> str:
        """Where answers are computed."""
        return self.gpr.device

    @property
    def jitter(self) -> float:
        """What a factorisation needed."""
        return self.gpr.jitter

    def moments(self, X):
        """Mean and variance, each (m,)."""
        return self.gpr.mean_at(X)[:, 0] + self.mean, self.gpr.variance_at(X)

    def joint(self, X):
        """Mean (m,) and covariance (m, m)."""
        return self.gpr.mean_at(X)[:, 0] + self.mean, self.gpr.covariance_at(X)


@dataclasses.dataclass
class SparsePosterior(_Gaussian):
    """``f(x) | v ~ N(m + a(x) v, k(x, x) - a(x) a(x)^T)``, ``a(x) = k(x, Z) L^-T``, ``v ~ N(P^-1 h, P^-1)``.

    P is ``precision``, h ``shift``, ``L L^T = k(Z, Z) + jitter I``: v are the inducing values in a basis where their
    prior is N(0, I).

    Attributes
    ----------
    Z : array of shape (M, q)
    precision, shift : arrays of shape (M, M) and (M,)
        The natural parameters of q(v).
    """

    kernel: Kernel
    mean: float
    Z: object
    precision: object
    shift: object
    device: str

    def __post_init__(self):
        self.Z, self.precision, self.shift = (self.there(a) for a in (self.Z, self.precision, self.shift))
        self.L, self.jitter = cholesky(self.kernel(self.Z), return_jitter=True)
        self.R = cholesky(self.precision, jitter=0.0)
        self.v = solve_triangular(self.R, solve_triangular(self.R, self.shift), trans=True)

    def __getstate__(self):
        return {name: _backend.to_numpy(value) for name, value in self.__dict__.items()}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.device = _backend.usable_device(self.device)
        for name in ("Z", "precision", "shift", "L", "R", "v"):
            setattr(self, name, self.there(getattr(self, name)))

    def basis(self, X):
        """``a(x)^T`` of every row: (M, n)."""
        return solve_triangular(self.L, self.kernel(self.Z, self.there(X)), overwrite=True)

    def moments(self, X):
        """Mean and variance, each (m,)."""
        X = self.there(X)
        xp = _backend.namespace(self.L)
        mean, variance = xp.empty(len(X)), self.kernel.diag(X)
        for part in tiles(len(X), len(self.Z)):
            A = self.basis(X[part])
            mean[part] = self.mean + self.v @ A
            variance[part] -= column_squares(A)
            variance[part] += column_squares(solve_triangular(self.R, A, overwrite=True))
        return mean, xp.maximum(variance, 0.0)

    def joint(self, X):
        """Mean (m,) and covariance (m, m)."""
        A = self.basis(X)
        covariance = self.kernel(self.there(X)) - A.T @ A
        half = solve_triangular(self.R, A)
        return self.mean + self.v @ A, covariance + half.T @ half


@dataclasses.dataclass
class GibbsPosterior:
    """A mixture: ``f(x) | f ~ N(m + k(x, X) K^-1 (f - m), k(x, x) - k(x, X) K^-1 k(X, x))`` for every draw f.

    ``K = L L^T``.

    Attributes
    ----------
    X : array of shape (n, q)
        Of NumPy.
    L : array of shape (n, n)
    draws : array of shape (chains, draws, n)
        On the device.
    """

    kernel: Kernel
    mean: float
    X: np.ndarray
    L: object
    jitter: float
    draws: object
    device: str

    there = _Gaussian.there

    def __post_init__(self):
        self.rows = self.there(self.X)
        self._white = None

    def __getstate__(self):
        state = dict(self.__dict__, _white=None, rows=None)
        if self.device == "cuda":
            state["L"], state["draws"] = _backend.to_numpy(self.L), _backend.to_numpy(self.draws)
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.device = _backend.usable_device(self.device)
        self.L, self.draws, self.rows = self.there(self.L), self.there(self.draws), self.there(self.X)

    @property
    def count(self) -> int:
        """Draws of all chains together."""
        return self.draws.shape[0] * self.draws.shape[1]

    def white(self):
        """``L^-1 (f - m)`` of every draw: (n, draws)."""
        if self._white is None:
            flat = self.draws.reshape(self.count, -1).astype(np.float64) - self.mean
            self._white = solve_triangular(self.L, _backend.namespace(flat).ascontiguousarray(flat.T), overwrite=True)
        return self._white

    def conditionals(self, X):
        """In pieces: the slice, means (draws, piece) and variances (piece,) of f(x) given each draw."""
        X, white = self.there(X), self.white()
        variance = self.kernel.diag(X)
        xp = _backend.namespace(white)
        for part in tiles(len(X), max(self.count, len(self.X))):
            half = solve_triangular(self.L, self.kernel(self.rows, X[part]), overwrite=True)
            yield part, self.mean + white.T @ half, xp.maximum(variance[part] - column_squares(half), 0.0)

    def moments(self, X):
        """Mean and variance of the mixture, each (m,)."""
        xp = _backend.namespace(self.L)
        mean, variance = xp.empty(len(X)), xp.empty(len(X))
        for part, means, rest in self.conditionals(X):
            mean[part] = means.mean(axis=0)
            variance[part] = means.var(axis=0) + rest
        return mean, variance

    def probability(self, X):
        """``E sigma(f(x))``, shape (m,)."""
        out = _backend.namespace(self.L).empty(len(X))
        for part, means, rest in self.conditionals(X):
            out[part] = expected_sigmoid(means, rest).mean(axis=0)
        return out

    def probabilities(self, X):
        """``E(sigma(f(x)) | f)`` of every draw, shape (chains, draws, m)."""
        out = _backend.namespace(self.L).empty((self.count, len(X)))
        for part, means, rest in self.conditionals(X):
            out[:, part] = expected_sigmoid(means, rest)
        return out.reshape(*self.draws.shape[:2], len(X))

    def sample(self, X, n_samples: int, rng):
        """Joint draws at X, each given a draw of f chosen at random: (n_samples, m)."""
        X, xp = self.there(X), _backend.namespace(self.L)
        half = solve_triangular(self.L, self.kernel(self.rows, X), overwrite=True)
        factor = factor_of_rest(self.kernel(X) - half.T @ half, self.kernel.diag(X))
        chosen = xp.asarray(rng.integers(self.count, size=n_samples))
        noise = self.there(rng.standard_normal((n_samples, len(X))))
        return self.mean + self.white().T[chosen] @ half + noise @ factor.T
