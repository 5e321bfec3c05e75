"""What acquisition functions ask of a fitted regression."""

from __future__ import annotations

import functools

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._backend import to_numpy
from lvmfast._validation import as_matrix
from lvmfast.kernels import Kernel, Product, White
from lvmfast.models import GPR
from lvmfast.models._gpr_paths import PosteriorPaths
from lvmfast.models._gpr_posterior import TILE
from lvmfast.models._matrices import column_squares


class Surrogate:
    """A fitted :class:`lvmfast.GPR` of one output: means and variances of the noise-free function with gradients.

    What :class:`~lvmfast.kernels.White` adds to the kernel is noise of the observations, and no part of the function.
    Candidates and answers are NumPy arrays of float64; the arithmetic with the training data is done where the model's
    is.
    """

    def __init__(self, model):
        if not isinstance(model, GPR):
            raise TypeError(f"model must be a fitted lvmfast.GPR, got {model!r}")
        check_is_fitted(model)
        if model.y_train_.ndim != 1 and model.y_train_.shape[1] != 1:
            raise ValueError(f"model must be fitted to one output, got y of shape {model.y_train_.shape}")
        self.model = model
        self.posterior = model._posterior
        self.n_features = model.n_features_in_
        self._compile()

    def _compile(self):
        kernel = self.posterior.kernel
        self.kernel = (without_white(kernel) or kernel).compiled(self.n_features)
        self.theta = self.kernel.vector()

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in ("kernel", "theta")}

    def __setstate__(self, state):
        vars(self).update(state)
        self._compile()

    @property
    def module(self):
        """The compiled module that works where the model is, on the stream of now."""
        return _backend.module_on(self.posterior.device, self.posterior.L)

    def blas_threads(self):
        """As few threads of the BLAS as the training data need; entered once around many calls, it costs nothing."""
        return _backend.blas_threads(len(self.posterior.X))

    def mean_and_variance(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shapes (m,) and (m,)."""
        mean, variance = np.empty(len(X)), np.empty(len(X))
        rows = max(1, TILE // len(self.posterior.X))
        for begin in range(0, len(X), rows):
            part = slice(begin, begin + rows)
            marginals = Marginals(self, X[part])
            mean[part], variance[part] = marginals.mean, marginals.variance
        return mean, variance

    def gradients(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of mean and variance, shapes (m, d) and (m, d)."""
        marginals, zero, one = Marginals(self, X), np.zeros(len(X)), np.ones(len(X))
        return marginals.pull(one, zero), marginals.pull(zero, one)

    def marginals(self, X: np.ndarray) -> Marginals:
        """Mean and variance at each row of X (m, d), and their pull-back."""
        return Marginals(self, X)

    def joint(self, X: np.ndarray, fixed: FixedPoints | None = None) -> Joint:
        """Means and covariances of the points of each candidate of X (m, q, d), and their pull-back."""
        return Joint(self, X, fixed)

    def fixed_points(self, points: np.ndarray) -> FixedPoints:
        """Points (p, d) that :meth:`joint` puts before those of every candidate."""
        return FixedPoints(self, points)

    def path(self, n_features: int, rng) -> PosteriorPaths:
        """One function drawn from the posterior, in float64."""
        return PosteriorPaths(self.posterior, 1, n_features, rng, np.dtype(np.float64), True)

    @functools.cached_property
    def training_means(self) -> np.ndarray:
        """Posterior means at the training inputs, shape (n,)."""
        return to_numpy(self.posterior.mean_at(self.posterior.X))[:, 0]

    @functools.cached_property
    def prior_variance(self) -> float:
        """The largest at a training input."""
        return float(to_numpy(self.posterior.kernel.diag(self.posterior.rows)).max())

    def check_points(self, points, name: str) -> np.ndarray:
        """``points`` as a finite float64 array (k, d)."""
        return as_matrix(to_numpy(points), name, columns=self.n_features, dtype=np.float64)

    # The parts of posteriors.

    def mean_and_half(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means (m,) at X (m, d), and ``V = L^-1 k(X_train, x)`` of shape (n, m), where the model is."""
        posterior, module = self.posterior, self.module
        cross = posterior.predictor.cross(posterior.there(X))
        prior = posterior.mean(X, 1)
        mean = to_numpy(cross @ posterior.alpha[:, 0]) + (prior[:, 0] if np.ndim(prior) else prior)
        with self.blas_threads():
            module.solve_triangular_inplace(posterior.L, cross.T, True, False)
        return mean, cross.T

    def weights(self, half):
        """``C^-1 k`` of shape (n, m) from V."""
        weights = _backend.namespace(half).array(half, order="F")
        with self.blas_threads():
            self.module.solve_triangular_inplace(self.posterior.L, weights, True, True)
        return weights

    def pull_cross(self, X: np.ndarray, cotangent, mean_bar: np.ndarray) -> np.ndarray:
        """Derivatives (m, d) of ``sum(cotangent * k(x, X_train)) + sum(mean_bar * prior mean(x))`` by X (m, d)."""
        posterior, module = self.posterior, self.module
        rows = _backend.namespace(cotangent).ascontiguousarray(cotangent)
        tree = self.kernel.tree_for(module)
        gradient = to_numpy(module.gram_vjp(tree, self.theta, posterior.there(X), posterior.rows, rows)[0])
        slope = posterior.mean.gradient(X, 1)
        return gradient + mean_bar[:, None] * slope[:, :, 0] if np.ndim(slope) else gradient

    def prior_covariance(self, X: np.ndarray, Z: np.ndarray | None = None) -> np.ndarray:
        """k(X, Z) of a few points, computed on the CPU wherever the model is."""
        out = np.empty((len(X), len(X if Z is None else Z)))
        _backend.cpu.gram(self.kernel.tree, self.theta, X, Z, out)
        return out


class Marginals:
    """``mu(x) = m(x) + k(x, X) alpha`` and ``s^2(x) = k(x, x) - |V|^2``, ``V = L^-1 k(X, x)``, at each row of X (m, d).

    Attributes
    ----------
    mean, variance : arrays of shape (m,)
    """

    def __init__(self, surrogate: Surrogate, X: np.ndarray):
        self._surrogate, self._X = surrogate, np.ascontiguousarray(X)
        self.mean, self._half = surrogate.mean_and_half(self._X)
        prior = _backend.cpu.gram_diagonal(surrogate.kernel.tree, surrogate.theta, self._X)
        self.variance = np.maximum(prior - to_numpy(column_squares(self._half)), 0.0)

    def pull(self, mean_bar: np.ndarray, variance_bar: np.ndarray) -> np.ndarray:
        """Derivatives (m, d) of ``sum(mean_bar * mean + variance_bar * variance)`` by X."""
        surrogate = self._surrogate
        there, alpha = surrogate.posterior.there, surrogate.posterior.alpha
        cotangent = surrogate.weights(self._half).T
        cotangent *= there(-2.0 * variance_bar)[:, None]
        cotangent += there(mean_bar)[:, None] * alpha[:, 0]
        gradient = surrogate.pull_cross(self._X, cotangent, mean_bar)
        gradient += _backend.cpu.gram_diagonal_vjp(surrogate.kernel.tree, surrogate.theta, self._X, variance_bar)[0]
        return gradient


class FixedPoints:
    """Points that belong to every candidate, with all that their posterior needs."""

    def __init__(self, surrogate: Surrogate, points: np.ndarray):
        self.points = points
        self.mean, self.half = surrogate.mean_and_half(points)
        self.covariance = surrogate.prior_covariance(points) - to_numpy(self.half.T @ self.half)
        self.weights = surrogate.weights(self.half)


class Joint:
    """``mu_i`` and ``S_ij = k(x_i, x_j) - V_i^T V_j`` among the r points of each candidate, the fixed ones first.

    Attributes
    ----------
    mean : array of shape (m, r)
    covariance : array of shape (m, r, r)
    """

    def __init__(self, surrogate: Surrogate, X: np.ndarray, fixed: FixedPoints | None):
        X = np.ascontiguousarray(X)
        self._surrogate, self._X, self._fixed = surrogate, X, fixed
        m, q, d = X.shape
        p = 0 if fixed is None else len(fixed.points)
        points = X.reshape(-1, d)
        mean, self._half = surrogate.mean_and_half(points)
        self.mean = np.empty((m, p + q))
        self.mean[:, p:] = mean.reshape(m, q)
        self.covariance = np.empty((m, p + q, p + q))
        V = self._half.T.reshape(m, q, len(self._half))
        own = self.covariance[:, p:, p:]
        for k, candidate in enumerate(X):
            own[k] = surrogate.prior_covariance(candidate)
        own -= to_numpy(V @ V.swapaxes(1, 2))
        if fixed is not None:
            self.mean[:, :p] = fixed.mean
            self.covariance[:, :p, :p] = fixed.covariance
            shared = surrogate.prior_covariance(points, fixed.points) - to_numpy(self._half.T @ fixed.half)
            self.covariance[:, p:, :p] = shared.reshape(m, q, p)
            self.covariance[:, :p, p:] = self.covariance[:, p:, :p].swapaxes(1, 2)

    def pull(self, mean_bar: np.ndarray, covariance_bar: np.ndarray) -> np.ndarray:
        """Derivatives (m, q, d) of ``sum(mean_bar * mean) + sum(covariance_bar * covariance)`` by X."""
        surrogate, X, fixed = self._surrogate, self._X, self._fixed
        m, q, d = X.shape
        p = self.mean.shape[1] - q
        there, points = surrogate.posterior.there, X.reshape(-1, d)
        both = covariance_bar + covariance_bar.swapaxes(1, 2)
        own = np.ascontiguousarray(both[:, p:, p:])
        mean_bar = np.ascontiguousarray(mean_bar[:, p:]).reshape(-1)
        W = surrogate.weights(self._half).T.reshape(m, q, len(self._half))
        cotangent = -(there(own) @ W).reshape(m * q, W.shape[2])
        cotangent += there(mean_bar)[:, None] * surrogate.posterior.alpha[:, 0]
        tree, theta = surrogate.kernel.tree, surrogate.theta
        gradient = np.empty((m, q, d))
        for k, candidate in enumerate(X):
            gradient[k] = _backend.cpu.gram_vjp(tree, theta, candidate, None, 0.5 * own[k])[0]
        gradient = gradient.reshape(-1, d)
        if fixed is not None:
            shared = np.ascontiguousarray(both[:, p:, :p]).reshape(m * q, p)
            cotangent -= there(shared) @ fixed.weights.T
            gradient += _backend.cpu.gram_vjp(tree, theta, points, fixed.points, shared)[0]
        gradient += surrogate.pull_cross(points, cotangent, mean_bar)
        return gradient.reshape(m, q, d)


def without_white(kernel: Kernel) -> Kernel | None:
    """The covariance of the function alone: the kernel itself where nothing in it is White, None where all is."""
    if isinstance(kernel, White):
        return None
    parts = [without_white(part) for part in kernel.parts]
    if all(part is own for part, own in zip(parts, kernel.parts, strict=True)):
        return kernel
    left = [part for part in parts if part is not None]
    if not left or (isinstance(kernel, Product) and len(left) < len(parts)):
        return None
    return left[0] if len(left) == 1 else type(kernel)(*left)
