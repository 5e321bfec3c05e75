"""The posterior of a Gaussian process given data and parameters, with its factor kept; in float64 throughout."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import NonFiniteError
from lvmfast.kernels import Kernel
from lvmfast.linalg import cholesky, cholesky_append, cholesky_solve, solve_triangular
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._matrices import add_to_diagonal, column_squares

TILE = 1 << 22  # numbers of k(X, x) that are held at a time


@dataclasses.dataclass
class GprPosterior:
    """``f(x) | Y ~ N(m(x) + k(x, X) alpha, k(x, x) - k(x, X) C^-1 k(X, x))``, ``C = L L^T``, ``alpha = C^-1 (Y - m)``.

    New inputs are NumPy arrays; what is computed from them stays on the device, "cpu" or "cuda".

    Attributes
    ----------
    X, Y : arrays of shape (n, q) and (n, d)
        Of NumPy.
    noise : float or array of shape (n,)
        Variances on the diagonal of ``C = k(X, X) + diag(noise) + jitter I``.
    L, alpha : arrays of shape (n, n) and (n, d)
        On the device.
    """

    kernel: Kernel
    mean: Mean
    X: np.ndarray
    Y: np.ndarray
    noise: object
    jitter: float
    L: np.ndarray
    alpha: np.ndarray
    device: str = "cpu"

    def __post_init__(self):
        self.device = _backend.usable_device(self.device)
        self.L, self.alpha = self.there(self.L), self.there(self.alpha)
        self.rows = self.there(self.X)
        module, compiled = _backend.module_on(self.device, self.L), self.kernel.compiled(self.X.shape[1])
        alpha = _backend.namespace(self.alpha).ascontiguousarray(self.alpha)
        self.predictor = module.GprPredictor(compiled.tree_for(module), compiled.vector(), self.rows, alpha)

    def __reduce__(self):
        values = (_backend.to_numpy(getattr(self, field.name)) for field in dataclasses.fields(self))
        return GprPosterior, tuple(values)

    @property
    def n_outputs(self) -> int:
        """Columns of Y."""
        return self.Y.shape[1]

    def there(self, array):
        """An array on the device."""
        return _backend.to_device(array, self.device)

    @classmethod
    def fit(cls, kernel: Kernel, mean: Mean, X: np.ndarray, Y: np.ndarray, noise, jitter, device="cpu") -> GprPosterior:
        """From data; the coefficients of the mean by generalised least squares. ``jitter``: a number, or "auto"."""
        X_there, noise_there = _backend.to_device(X, device), noise
        if np.ndim(noise):
            noise_there = _backend.to_device(noise, device)
        C = kernel(X_there)
        add_to_diagonal(C, noise_there)
        L, used = cholesky(C, jitter=jitter, return_jitter=True)
        residual = Y - mean.with_coef(np.zeros((mean.size, Y.shape[1])))(X, Y.shape[1])
        if mean.size:
            both = np.ascontiguousarray(np.hstack([mean.basis(X), residual]))
            white = _backend.to_numpy(solve_triangular(L, _backend.to_device(both, device)))
            coef = np.linalg.lstsq(white[:, : mean.size], white[:, mean.size :], rcond=None)[0]
            mean = mean.with_coef(coef)
            residual = Y - mean(X, Y.shape[1])
        alpha = cholesky_solve(L, _backend.to_device(np.ascontiguousarray(residual), device))
        if not _backend.namespace(alpha).isfinite(alpha).all():
            raise NonFiniteError("the posterior is not finite: parameters or targets are too large; rescale y")
        return cls(kernel.copy(), mean, X, Y, noise, used, L, alpha, device)

    def log_marginal_likelihood(self) -> float:
        """log p(Y), at the mean's coefficients, in nats."""
        n, d = self.Y.shape
        quadratic = float(np.sum((self.Y - self.mean(self.X, d)) * _backend.to_numpy(self.alpha)))
        diagonal = _backend.to_numpy(_backend.namespace(self.L).diagonal(self.L))
        log_det = 2.0 * float(np.log(diagonal).sum())
        return -0.5 * (quadratic + d * (log_det + n * np.log(2 * np.pi)))

    def mean_at(self, X: np.ndarray):
        """Shape (m, d)."""
        mean = self.mean(X, self.Y.shape[1])
        return self.predictor_now().mean(self.there(X)) + (self.there(mean) if np.ndim(mean) else mean)

    def variance_at(self, X: np.ndarray):
        """Of the noise-free function, shape (m,)."""
        X, xp = self.there(X), _backend.namespace(self.L)
        variance = self.kernel.diag(X)
        rows = max(1, TILE // len(self.X))
        for begin in range(0, len(X), rows):
            part = slice(begin, begin + rows)
            half = solve_triangular(self.L, self.predictor_now().cross(X[part]).T, overwrite=True)
            variance[part] -= column_squares(half)
        return xp.maximum(variance, 0.0, out=variance)

    def covariance_at(self, X: np.ndarray):
        """Of the noise-free function, shape (m, m)."""
        X, xp = self.there(X), _backend.namespace(self.L)
        half = solve_triangular(self.L, self.predictor_now().cross(X).T, overwrite=True)
        covariance = self.kernel(X)
        covariance -= half.T @ half
        every = xp.arange(len(covariance))
        covariance[every, every] = xp.maximum(covariance[every, every], 0.0)
        return covariance

    def gradients_at(self, X: np.ndarray):
        """d mean / d x of shape (m, q, d), and d variance / d x of shape (m, q)."""
        m, d = len(X), self.Y.shape[1]
        slope = self.mean.gradient(X, d)
        X, xp = self.there(X), _backend.namespace(self.L)
        d_mean = xp.empty((m, X.shape[1], d))
        ones = xp.ones(m)
        for c in range(d):
            d_mean[:, :, c] = self.kernel.matmul_vjp(X, self.rows, self.alpha[:, c], ones)[0]
        d_mean += self.there(slope) if np.ndim(slope) else slope
        module, compiled = _backend.module_on(self.device, self.L), self.kernel.compiled(X.shape[1])
        d_variance, _ = module.gram_diagonal_vjp(compiled.tree_for(module), compiled.vector(), X, ones)
        rows = max(1, TILE // len(self.X))
        for begin in range(0, m, rows):
            part = slice(begin, begin + rows)
            weights = cholesky_solve(self.L, self.predictor_now().cross(X[part]).T, overwrite=True)
            d_variance[part] -= 2.0 * self.kernel.vjp(X[part], self.rows, xp.ascontiguousarray(weights.T))[0]
        return d_mean, d_variance

    def leave_one_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (n, d) and variance (n,) of each observation given all others (Rasmussen & Williams 2006, eq. 5.12)."""
        xp = _backend.namespace(self.L)
        inverse = solve_triangular(self.L, xp.eye(len(self.L)), overwrite=True)
        precision = _backend.to_numpy(column_squares(inverse))
        return self.Y - _backend.to_numpy(self.alpha) / precision[:, None], 1.0 / precision

    def append(self, X: np.ndarray, Y: np.ndarray, noise: np.ndarray) -> GprPosterior:
        """With more observations, the same parameters: O(n^2) for each."""
        X_there = self.there(X)
        C = self.kernel(X_there)
        add_to_diagonal(C, self.there(noise + self.jitter))
        L = cholesky_append(self.L, self.kernel(self.rows, X_there), C)
        all_X, all_Y = np.vstack([self.X, X]), np.vstack([self.Y, Y])
        alpha = cholesky_solve(L, self.there(np.ascontiguousarray(all_Y - self.mean(all_X, all_Y.shape[1]))))
        own = self.noise
        if np.ndim(own) or not np.array_equal(noise, np.full(len(X), own)):
            own = np.concatenate([np.broadcast_to(own, len(self.X)), noise])
        return GprPosterior(self.kernel, self.mean, all_X, all_Y, own, self.jitter, L, alpha, self.device)

    def sample(self, X: np.ndarray, n_samples: int, rng):
        """Joint draws of the noise-free function, shape (n_samples, m, d)."""
        covariance = self.covariance_at(X)
        # A posterior covariance may have rank 0; what it needs is small beside the prior variance.
        add_to_diagonal(covariance, 1e-10 * self.kernel.diag(self.there(X)) + np.finfo(float).tiny)
        factor = cholesky(covariance, return_jitter=True)[0]
        draws = self.there(rng.standard_normal((n_samples, len(X), self.Y.shape[1])))
        return self.mean_at(X) + _backend.namespace(factor).matmul(factor, draws)

    def predictor_now(self):
        """The compiled predictor, on the stream of now."""
        _backend.module_on(self.device, self.L)  # the stream may be another
        return self.predictor
