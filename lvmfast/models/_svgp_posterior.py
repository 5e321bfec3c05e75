"""The posterior of stochastic variational inference: what predictions need of q(u), with its factors kept."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast.kernels import Kernel
from lvmfast.linalg import cholesky, solve_triangular
from lvmfast.linalg._cholesky import JITTER_RANGE, NOT_POSITIVE_DEFINITE, raise_factorisation_error
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._gpr_paths import PosteriorPaths
from lvmfast.models._matrices import add_to_diagonal, column_squares

LEAST_PIVOT = 1e-12  # of k(Z, Z), relative to its mean diagonal: below it more jitter is added
# What is always added, relative to the mean diagonal: so L moves smoothly with the parameters, and q(u) with it.
SMOOTH_JITTER = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 2e-5}
TILE = 1 << 22  # numbers of k(Z, x) that are held at a time


def jitter_rule(jitter, dtype) -> tuple[float, float, float, float, float]:
    """First jitter; relative to the mean diagonal, where escalation begins and ends, the least pivot and jitter."""
    if isinstance(jitter, str):
        return 0.0, *JITTER_RANGE[np.dtype(np.float64)], LEAST_PIVOT, SMOOTH_JITTER[np.dtype(dtype)]
    return float(jitter), 0.0, 0.0, 0.0, 0.0


def inducing_factor(kernel: Kernel, Z: np.ndarray, jitter, dtype) -> tuple[np.ndarray, float]:
    """``L L^T = k(Z, Z) + jitter I`` by the rule of the compiled step: the factor (m, m), of NumPy, and the jitter.

    "auto" adds ``SMOOTH_JITTER`` of the mean diagonal, and more where a pivot falls below ``LEAST_PIVOT`` of it.
    """
    K = kernel(Z, Z.copy())  # two arrays: White is part of no covariance
    used, first, last, least, always = jitter_rule(jitter, dtype)
    mean = float(np.mean(np.diag(K)))
    used = max(used, always * mean)
    with _backend.blas_threads():
        while True:
            trial = K.copy()
            add_to_diagonal(trial, used)
            L = np.empty_like(K)
            code, pivot, _ = (v[0] for v in _backend.cpu.cholesky(trial[None], L[None], 0.0, 0.0))
            small = code == 0 and not (np.diagonal(L) ** 2 >= least * mean).all()
            if code == 0 and not small:
                return np.tril(L), used
            following = 10 * used if used > 0 else first * mean
            if not (first > 0 and following > used and following <= last * mean * (1 + 1e-9)) or code > 1:
                raise_factorisation_error(
                    trial,
                    code or NOT_POSITIVE_DEFINITE,
                    int(pivot),
                    used,
                    "the covariance k(Z, Z) of the inducing inputs",
                )
            used = following


@dataclasses.dataclass
class SvgpPosterior:
    """``f_p(x) ~ N(mean_p(x) + v^T gamma_p, k(x, x) - |v|^2 + |root_p^T v|^2)``, ``v = L^-1 k(Z, x)``,

    ``L L^T = k(Z, Z) + jitter I``, and for the inducing variables ``u_p ~ N(mean_p(Z) + L gamma_p, L S_p L^T)`` with
    ``S_p = root_p root_p^T``, for P latent functions.

    New inputs are NumPy arrays; what is computed from them stays on the device, "cpu" or "cuda".

    Attributes
    ----------
    X : array of shape (m, q)
        The inducing inputs, of NumPy.
    L : array of shape (m, m)
        On the device, like the next two.
    gamma : array of shape (m, P)
    root : array of shape (P, m, m)
    """

    kernel: Kernel
    mean: Mean
    X: np.ndarray
    jitter: float
    L: np.ndarray
    gamma: np.ndarray
    root: np.ndarray
    device: str = "cpu"

    def __post_init__(self):
        self.device = _backend.usable_device(self.device)
        for name in ("L", "gamma", "root"):
            setattr(self, name, self.there(np.ascontiguousarray(_backend.to_numpy(getattr(self, name)))))
        self.rows = self.there(self.X)
        eta = solve_triangular(self.L, self.gamma, trans=True)
        module, compiled = _backend.module_on(self.device, self.L), self.kernel.compiled(self.X.shape[1])
        self.predictor = module.GprPredictor(compiled.tree_for(module), compiled.vector(), self.rows, eta)

    def __reduce__(self):
        return SvgpPosterior, tuple(_backend.to_numpy(getattr(self, field.name)) for field in dataclasses.fields(self))

    @property
    def n_outputs(self) -> int:
        """Latent functions."""
        return self.gamma.shape[1]

    def there(self, array):
        """An array on the device."""
        return _backend.to_device(array, self.device)

    def mean_at(self, X: np.ndarray):
        """Shape (n, P)."""
        mean = self.mean(X, self.n_outputs)
        return self._predictor_now().mean(self.there(X)) + (self.there(mean) if np.ndim(mean) else mean)

    def variance_at(self, X: np.ndarray):
        """Of the latent functions, shape (n, P)."""
        X, xp = self.there(X), _backend.namespace(self.L)
        prior = self.kernel.diag(X)
        variance = xp.empty((len(X), self.n_outputs))
        rows = max(1, TILE // len(self.X))
        for begin in range(0, len(X), rows):
            part = slice(begin, begin + rows)
            half = self._half(X[part])
            left = prior[part] - column_squares(half)
            for p, root in enumerate(self.root):
                variance[part, p] = left + column_squares(root.T @ half)
        return xp.maximum(variance, 0.0, out=variance)

    def covariance_at(self, X: np.ndarray):
        """Of the latent functions, shape (P, n, n)."""
        X, xp = self.there(X), _backend.namespace(self.L)
        half = self._half(X)
        prior = self.kernel(X)
        prior -= half.T @ half
        covariance = xp.empty((self.n_outputs, len(X), len(X)))
        every = xp.arange(len(X))
        for p, root in enumerate(self.root):
            rest = root.T @ half
            covariance[p] = prior + rest.T @ rest
            covariance[p, every, every] = xp.maximum(covariance[p, every, every], 0.0)
        return covariance

    def _half(self, X):
        return solve_triangular(self.L, self._predictor_now().cross(X).T, overwrite=True)

    def sample(self, X: np.ndarray, n_samples: int, rng):
        """Joint draws of the latent functions, shape (n_samples, n, P)."""
        covariance = self.covariance_at(X)
        xp = _backend.namespace(covariance)
        draws = self.there(rng.standard_normal((n_samples, len(X), self.n_outputs)))
        # A posterior covariance may have rank 0; what it needs is small beside the prior variance.
        least = 1e-10 * self.kernel.diag(self.there(X)) + np.finfo(float).tiny
        samples = xp.empty(draws.shape)
        for p in range(self.n_outputs):
            add_to_diagonal(covariance[p], least)
            factor = cholesky(covariance[p], return_jitter=True)[0]
            samples[:, :, p] = draws[:, :, p] @ factor.T
        return self.mean_at(X) + samples

    def inducing(self):
        """Means (m, P), the mean functions included, and covariances (P, m, m) of the inducing variables."""
        mean = self.mean(self.X, self.n_outputs)
        half = self.L @ self.root
        covariance = half @ half.transpose(0, 2, 1)
        return self.L @ self.gamma + (self.there(mean) if np.ndim(mean) else mean), covariance

    def _predictor_now(self):
        """The compiled predictor, on the stream of now."""
        _backend.module_on(self.device, self.L)  # the stream may be another
        return self.predictor


class VariationalPaths(PosteriorPaths):
    """Functions drawn from the posterior: ``f(x) + k(x, Z) K_uu^-1 (u - f(Z))``, with u drawn from q."""

    def _correct(self, posterior, rng):
        """``L^-T (gamma_p + root_p z - L^-1 f_p(Z))``, shape (m, n_samples P)."""
        m, P, n_samples = len(posterior.X), self._d, self.n_samples
        prior = self._features(posterior.X) @ self._weights
        prior += np.sqrt(posterior.jitter) * rng.standard_normal(prior.shape)
        z = posterior.there(rng.standard_normal((m, n_samples, P)))
        xp = _backend.namespace(z)
        white = xp.empty((m, n_samples, P))
        for p, root in enumerate(posterior.root):
            white[:, :, p] = posterior.gamma[:, p, None] + root @ z[:, :, p]
        white = white.reshape(m, -1)
        white -= solve_triangular(posterior.L, posterior.there(prior))
        return solve_triangular(posterior.L, white, trans=True)
