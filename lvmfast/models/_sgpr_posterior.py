"""The posterior of sparse regression: what predictions need of the inducing variables, with their factors kept."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast.kernels import Kernel
from lvmfast.linalg import cholesky, solve_triangular
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._gpr_paths import PosteriorPaths
from lvmfast.models._matrices import add_to_diagonal, column_squares

TILE = 1 << 22  # numbers of k(Z, x) that are held at a time


@dataclasses.dataclass
class SgprPosterior:
    """``f(x) ~ N(m(x) + k(x, Z) eta, k(x, x) - |v|^2 + |L_B^-1 v|^2)``, ``v = L^-1 k(Z, x)``,

    ``L L^T = k(Z, Z) + jitter I``, and for the inducing variables ``u ~ N(m(Z) + L gamma, L B^-1 L^T)``, with
    ``B = L_B L_B^T`` and ``eta = L^-T gamma``.

    New inputs are NumPy arrays; what is computed from them stays on the device, "cpu" or "cuda".

    Attributes
    ----------
    X : array of shape (m, q)
        The inducing inputs, of NumPy.
    L, L_B : arrays of shape (m, m)
        On the device.
    gamma, eta : arrays of shape (m, d)
        On the device.
    """

    kernel: Kernel
    mean: Mean
    X: np.ndarray
    jitter: float
    L: np.ndarray
    L_B: np.ndarray
    gamma: np.ndarray
    eta: np.ndarray
    device: str = "cpu"

    def __post_init__(self):
        self.device = _backend.usable_device(self.device)
        for name in ("L", "L_B", "gamma", "eta"):
            setattr(self, name, self.there(np.ascontiguousarray(_backend.to_numpy(getattr(self, name)))))
        self.rows = self.there(self.X)
        module, compiled = _backend.module_on(self.device, self.L), self.kernel.compiled(self.X.shape[1])
        self.predictor = module.GprPredictor(compiled.tree_for(module), compiled.vector(), self.rows, self.eta)

    def __reduce__(self):
        values = (_backend.to_numpy(getattr(self, field.name)) for field in dataclasses.fields(self))
        return SgprPosterior, tuple(values)

    @property
    def n_outputs(self) -> int:
        """Columns of the targets."""
        return self.eta.shape[1]

    def there(self, array):
        """An array on the device."""
        return _backend.to_device(array, self.device)

    def mean_at(self, X: np.ndarray):
        """Shape (n, d)."""
        mean = self.mean(X, self.n_outputs)
        return self.predictor_now().mean(self.there(X)) + (self.there(mean) if np.ndim(mean) else mean)

    def variance_at(self, X: np.ndarray):
        """Of the noise-free function, shape (n,)."""
        X, xp = self.there(X), _backend.namespace(self.L)
        variance = self.kernel.diag(X)
        rows = max(1, TILE // len(self.X))
        for begin in range(0, len(X), rows):
            part = slice(begin, begin + rows)
            half, rest = self._halves(X[part])
            variance[part] += column_squares(rest) - column_squares(half)
        return xp.maximum(variance, 0.0, out=variance)

    def covariance_at(self, X: np.ndarray):
        """Of the noise-free function, shape (n, n)."""
        X, xp = self.there(X), _backend.namespace(self.L)
        half, rest = self._halves(X)
        covariance = self.kernel(X)
        covariance -= half.T @ half
        covariance += rest.T @ rest
        every = xp.arange(len(covariance))
        covariance[every, every] = xp.maximum(covariance[every, every], 0.0)
        return covariance

    def _halves(self, X):
        half = solve_triangular(self.L, self.predictor_now().cross(X).T, overwrite=True)
        return half, solve_triangular(self.L_B, half)

    def sample(self, X: np.ndarray, n_samples: int, rng):
        """Joint draws of the noise-free function, shape (n_samples, n, d)."""
        covariance = self.covariance_at(X)
        # A posterior covariance may have rank 0; what it needs is small beside the prior variance.
        add_to_diagonal(covariance, 1e-10 * self.kernel.diag(self.there(X)) + np.finfo(float).tiny)
        factor = cholesky(covariance, return_jitter=True)[0]
        draws = self.there(rng.standard_normal((n_samples, len(X), self.n_outputs)))
        return self.mean_at(X) + _backend.namespace(factor).matmul(factor, draws)

    def inducing(self):
        """Mean (m, d), the mean function included, and covariance (m, m) of the inducing variables."""
        mean = self.mean(self.X, self.n_outputs)
        half = solve_triangular(self.L_B, _backend.namespace(self.L).ascontiguousarray(self.L.T))
        return self.L @ self.gamma + (self.there(mean) if np.ndim(mean) else mean), half.T @ half

    def predictor_now(self):
        """The compiled predictor, on the stream of now."""
        _backend.module_on(self.device, self.L)  # the stream may be another
        return self.predictor


class SparsePaths(PosteriorPaths):
    """Functions drawn from the posterior: ``f(x) + k(x, Z) K_uu^-1 (u - f(Z))``, with u drawn from its own."""

    def _correct(self, posterior, rng):
        """``L^-T (gamma + L_B^-T z - L^-1 f(Z))``, shape (m, n_samples d)."""
        m, d, n_samples = len(posterior.X), self._d, self.n_samples
        prior = self._features(posterior.X) @ self._weights
        prior += np.sqrt(posterior.jitter) * rng.standard_normal(prior.shape)
        white = posterior.there(rng.standard_normal((m, n_samples * d)))
        xp = _backend.namespace(white)
        white = solve_triangular(posterior.L_B, white, trans=True) + xp.tile(posterior.gamma, (1, n_samples))
        white -= solve_triangular(posterior.L, posterior.there(prior))
        return solve_triangular(posterior.L, white, trans=True)
