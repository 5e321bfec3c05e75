"""The posterior of a Gaussian process given data and parameters, with its factor kept; in float64 throughout."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import NonFiniteError
from lvmfast.kernels import Kernel
from lvmfast.linalg import cholesky, cholesky_append, cholesky_solve, solve_triangular
from lvmfast.models._gpr_mean import Mean

TILE = 1 << 22  # numbers of k(X, x) that are held at a time


@dataclasses.dataclass
class GprPosterior:
    """``f(x) | Y ~ N(m(x) + k(x, X) alpha, k(x, x) - k(x, X) C^-1 k(X, x))``, ``C = L L^T``, ``alpha = C^-1 (Y - m)``.

    Attributes
    ----------
    X, Y : arrays of shape (n, q) and (n, d)
    noise : float or array of shape (n,)
        Variances on the diagonal of ``C = k(X, X) + diag(noise) + jitter I``.
    """

    kernel: Kernel
    mean: Mean
    X: np.ndarray
    Y: np.ndarray
    noise: object
    jitter: float
    L: np.ndarray
    alpha: np.ndarray

    def __post_init__(self):
        compiled = self.kernel.compiled(self.X.shape[1])
        alpha = np.ascontiguousarray(self.alpha)
        self.predictor = _backend.cpu.GprPredictor(compiled.tree, compiled.vector(), self.X, alpha)

    def __reduce__(self):
        values = tuple(getattr(self, field.name) for field in dataclasses.fields(self))
        return GprPosterior, values

    @classmethod
    def fit(cls, kernel: Kernel, mean: Mean, X: np.ndarray, Y: np.ndarray, noise, jitter) -> GprPosterior:
        """From data; the coefficients of the mean by generalised least squares. ``jitter``: a number, or "auto"."""
        C = kernel(X)
        C[np.diag_indices_from(C)] += noise
        L, used = cholesky(C, jitter=jitter, return_jitter=True)
        residual = Y - mean.with_coef(np.zeros((mean.size, Y.shape[1])))(X, Y.shape[1])
        if mean.size:
            white = solve_triangular(L, np.hstack([mean.basis(X), residual]))
            coef = np.linalg.lstsq(white[:, : mean.size], white[:, mean.size :], rcond=None)[0]
            mean = mean.with_coef(coef)
            residual = Y - mean(X, Y.shape[1])
        alpha = cholesky_solve(L, residual)
        if not np.isfinite(alpha).all():
            raise NonFiniteError("the posterior is not finite: parameters or targets are too large; rescale y")
        return cls(kernel.copy(), mean, X, Y, noise, used, L, alpha)

    def log_marginal_likelihood(self) -> float:
        """log p(Y), at the mean's coefficients, in nats."""
        n, d = self.Y.shape
        quadratic = float(np.sum((self.Y - self.mean(self.X, d)) * self.alpha))
        log_det = 2.0 * float(np.log(np.diagonal(self.L)).sum())
        return -0.5 * (quadratic + d * (log_det + n * np.log(2 * np.pi)))

    def mean_at(self, X: np.ndarray) -> np.ndarray:
        """Shape (m, d)."""
        return self.predictor.mean(X) + self.mean(X, self.Y.shape[1])

    def variance_at(self, X: np.ndarray) -> np.ndarray:
        """Of the noise-free function, shape (m,)."""
        variance = self.kernel.diag(X)
        rows = max(1, TILE // len(self.X))
        for begin in range(0, len(X), rows):
            part = slice(begin, begin + rows)
            half = solve_triangular(self.L, self.predictor.cross(X[part]).T, overwrite=True)
            variance[part] -= np.einsum("ij,ij->j", half, half)
        return np.maximum(variance, 0.0, out=variance)

    def covariance_at(self, X: np.ndarray) -> np.ndarray:
        """Of the noise-free function, shape (m, m)."""
        half = solve_triangular(self.L, self.predictor.cross(X).T, overwrite=True)
        covariance = self.kernel(X)
        covariance -= half.T @ half
        diagonal = np.einsum("ii->i", covariance)
        np.maximum(diagonal, 0.0, out=diagonal)
        return covariance

    def gradients_at(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """d mean / d x of shape (m, q, d), and d variance / d x of shape (m, q)."""
        m, d = len(X), self.Y.shape[1]
        d_mean = np.empty((m, X.shape[1], d))
        ones = np.ones(m)
        for c in range(d):
            d_mean[:, :, c] = self.kernel.matmul_vjp(X, self.X, self.alpha[:, c], ones)[0]
        d_mean += self.mean.gradient(X, d)
        compiled = self.kernel.compiled(X.shape[1])
        d_variance, _ = _backend.cpu.gram_diagonal_vjp(compiled.tree, compiled.vector(), X, ones)
        rows = max(1, TILE // len(self.X))
        for begin in range(0, m, rows):
            part = slice(begin, begin + rows)
            weights = cholesky_solve(self.L, self.predictor.cross(X[part]).T, overwrite=True)
            d_variance[part] -= 2.0 * self.kernel.vjp(X[part], self.X, np.ascontiguousarray(weights.T))[0]
        return d_mean, d_variance

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (n, d) and variance (n,) of each observation given all others (Rasmussen & Williams 2006, eq. 5.12)."""
        inverse = solve_triangular(self.L, np.eye(len(self.L)), overwrite=True)
        precision = np.einsum("ij,ij->j", inverse, inverse)
        return self.Y - self.alpha / precision[:, None], 1.0 / precision

    def append(self, X: np.ndarray, Y: np.ndarray, noise: np.ndarray) -> GprPosterior:
        """With more observations, the same parameters: O(n^2) for each."""
        C = self.kernel(X)
        C[np.diag_indices_from(C)] += noise + self.jitter
        L = cholesky_append(self.L, self.kernel(self.X, X), C)
        all_X, all_Y = np.vstack([self.X, X]), np.vstack([self.Y, Y])
        alpha = cholesky_solve(L, all_Y - self.mean(all_X, all_Y.shape[1]))
        own = self.noise
        if np.ndim(own) or not np.array_equal(noise, np.full(len(X), own)):
            own = np.concatenate([np.broadcast_to(own, len(self.X)), noise])
        return GprPosterior(self.kernel, self.mean, all_X, all_Y, own, self.jitter, L, alpha)

    def sample(self, X: np.ndarray, n_samples: int, rng) -> np.ndarray:
        """Joint draws of the noise-free function, shape (n_samples, m, d)."""
        covariance = self.covariance_at(X)
        # A posterior covariance may have rank 0; what it needs is small beside the prior variance.
        covariance[np.diag_indices_from(covariance)] += 1e-10 * self.kernel.diag(X) + np.finfo(float).tiny
        factor = cholesky(covariance, return_jitter=True)[0]
        draws = rng.standard_normal((n_samples, len(X), self.Y.shape[1]))
        return self.mean_at(X) + np.matmul(factor, draws)
