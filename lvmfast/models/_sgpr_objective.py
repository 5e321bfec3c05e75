"""What a fit of sparse regression maximises: the bound, or FITC's likelihood, plus the log priors."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import NonFiniteError
from lvmfast.kernels._compiled import FreeParameters
from lvmfast.linalg._cholesky import JITTER_RANGE, raise_factorisation_error
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._gpr_objective import GprObjective
from lvmfast.models._matrices import add_to_diagonal

LEAST_PIVOT = 1e-12  # of K_uu, relative to its mean diagonal: below it jitter is added
BAD_DIAGONAL = 3  # B, or the ratio of pivots, is beyond the precision of the tiles
CHUNK = 1 << 16  # rows


class SgprObjective(GprObjective):
    """``theta`` to the bound and its gradient, for fixed data, which are not copied.

    ``theta`` is the kernel's free parameters, unconstrained, the logarithm of the noise variance if it is learned, and
    the inducing inputs in units of ``scale`` (q,) if they are.

    Parameters
    ----------
    X, Y : arrays of shape (n, q) and (n, d), C order
        Both float64 or both float32, on the device.
    Z : array of shape (m, q)
    tile : int, default=0
        Rows of a tile; 0: what suits the device.
    """

    def __init__(
        self,
        kernel,
        mean: Mean,
        X,
        Y,
        Z,
        noise,
        *,
        learn_noise=True,
        learn_inducing=True,
        fitc=False,
        scale=None,
        jitter="auto",
        check_interrupt=None,
        device="cpu",
        tile=0,
    ):
        self.device, self.kernel, self.mean = device, kernel.copy(), mean
        self.Y, self.Z = Y, np.array(Z, dtype=np.float64, order="C")  # .size alone of Y is asked for
        self.scale = np.ones(X.shape[1]) if scale is None else scale
        self.learn_noise, self.learn_inducing = learn_noise and np.ndim(noise) == 0, learn_inducing
        self.noise, self.jitter, self._check_interrupt = noise, 0.0, check_interrupt
        self.parameters = FreeParameters(self.kernel.compiled(X.shape[1]), self.kernel)
        n, d = Y.shape
        self.shift = column_means(Y) if mean.size else np.zeros(d)
        own = np.ascontiguousarray(noise, dtype=np.float64) if np.ndim(noise) else None
        self._arguments = (X, without_given(mean, X, Y), self.shift, mean.size, mean.centre, mean.scale)
        self._arguments += (own if own is None else _backend.to_device(own, device), fitc, tile)
        self._compiled_with: dict = {}
        self._used = None
        self._single = X.dtype == np.float32
        auto = isinstance(jitter, str)
        self._first_jitter = 0.0 if auto else float(jitter)
        self._jitter_range = JITTER_RANGE[np.dtype(np.float64)] if auto else (0.0, 0.0)
        self._least_pivot = LEAST_PIVOT if auto else 0.0

    @property
    def size(self) -> int:
        """Entries of theta."""
        return self._head + (self.Z.size if self.learn_inducing else 0)

    @property
    def _head(self) -> int:
        return self.parameters.size + self.learn_noise

    def initial(self) -> np.ndarray:
        """Theta of the present parameters."""
        inducing = (self.Z / self.scale).ravel() if self.learn_inducing else []
        return np.concatenate([super().initial(), inducing])

    def bounds(self, theta: np.ndarray, floor: float) -> np.ndarray:
        """Bounds of theta, shape (p, 2); inducing inputs have none."""
        bounds = np.full((self.size, 2), [-np.inf, np.inf])
        head = _Head(self)
        bounds[: self._head] = GprObjective.bounds(head, theta[: self._head], floor)
        return bounds

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, float]:
        """The compiled kernel's parameters and the noise variance (0 beside an array) at theta."""
        return super().split(theta[: self._head])

    def noise_at(self, theta: np.ndarray):
        """The noise variance at theta: a number or the array that was given."""
        return super().noise_at(theta[: self._head])

    def inducing_at(self, theta: np.ndarray) -> np.ndarray:
        """The inducing inputs at theta, (m, q)."""
        Z = theta[self._head :].reshape(self.Z.shape) * self.scale if self.learn_inducing else self.Z
        return Z.astype(np.float32).astype(np.float64) if self._single else Z

    def in_units(self, theta: np.ndarray) -> np.ndarray:
        """Theta with the inducing inputs as they are."""
        inducing = self.inducing_at(theta).ravel() if self.learn_inducing else []
        return np.concatenate([theta[: self._head], inducing])

    def log_marginal_likelihood(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The bound and its gradient, in nats, without priors."""
        if self._check_interrupt is not None:
            self._check_interrupt()
        vector, noise = self.split(theta)
        Z = np.ascontiguousarray(self.inducing_at(theta))
        code, pivot, self.jitter, value, d_vector, d_Z, d_noise, self.trace = self._evaluate(vector, Z, noise)
        if code:
            self._raise(theta, noise, code, pivot)
        gradient = self._pull(theta, d_vector, d_noise * noise)
        if self.learn_inducing:
            gradient[self._head :] = (d_Z * self.scale).ravel()
        return value, gradient

    def factors(self):
        """Of the last evaluation: L of K_uu and of B (m, m), gamma, eta (m, d), the coefficients of the mean (p, d)."""
        L, B, gamma, eta, coef = self._used.factors()
        coef = coef.T.copy()
        if len(coef):
            coef[0] += self.shift
        return np.tril(L), np.tril(B), gamma.T, eta.T, coef

    def upper_bound(self, theta: np.ndarray) -> float:
        """Of the log marginal likelihood, at the point of the last evaluation, which must be theta."""
        _backend.module_on(self.device)
        with _backend.blas_threads(1):
            code, value = self._used.upper_bound(self.split(theta)[1])
        return float(value) if not code else np.inf

    def _evaluate(self, vector, Z, noise):
        module = _backend.module_on(self.device)
        tree = self.parameters.compiled.tree_for(module)
        answer = None
        for name in ("SgprObjective32", "SgprObjective32in64") if self._single else ("SgprObjective64",):
            if name not in self._compiled_with:
                self._compiled_with[name] = getattr(module, name)(*self._arguments)
            self._used = self._compiled_with[name]
            with _backend.blas_threads(1):  # the tiles are shared between threads, each with a BLAS of its own
                answer = self._used.evaluate(
                    tree, vector, Z, noise, self._first_jitter, *self._jitter_range, self._least_pivot
                )
            if answer[0] != BAD_DIAGONAL:
                break
        return answer

    def _pull(self, theta, d_vector, d_log_noise) -> np.ndarray:
        gradient = np.zeros(self.size)
        gradient[: self._head] = super()._pull(theta[: self._head], d_vector, d_log_noise)
        return gradient

    def _raise(self, theta, noise, code, pivot):
        vector, _ = self.split(theta)
        Z = self.inducing_at(theta)
        if not (np.isfinite(vector).all() and np.isfinite(noise) and np.isfinite(Z).all()):
            raise NonFiniteError("the parameters ran away; set bounds or a prior, or learn_inducing=False")
        if code == BAD_DIAGONAL or pivot < 0:
            raise NonFiniteError(
                f"the bound is not finite at noise_variance={noise:.3g}: the noise is too small for the data, or the "
                "data are too large; rescale y or X, or set a larger noise_variance"
            )
        K = self.kernel_at(theta)(Z, Z)
        add_to_diagonal(K, self.jitter)
        raise_factorisation_error(K, code, pivot, self.jitter, "the covariance k(Z, Z) of the inducing inputs")


class _Head:
    """The part of theta that exact regression has too."""

    def __init__(self, objective):
        self.size, self.parameters, self.learn_noise = objective._head, objective.parameters, objective.learn_noise


def column_means(Y) -> np.ndarray:
    """Means of the columns in float64, (d,)."""
    return np.asarray(_backend.to_numpy(Y.mean(axis=0, dtype=np.float64)), dtype=np.float64)


def without_given(mean: Mean, X, Y):
    """Y less what a callable mean answers, in Y's dtype; Y itself without one."""
    if not callable(mean.mean):
        return Y
    xp = _backend.namespace(Y)
    left = Y.copy()
    for begin in range(0, len(X), CHUNK):
        part = slice(begin, begin + CHUNK)
        given = mean.given(np.asarray(_backend.to_numpy(X[part]), dtype=np.float64), Y.shape[1])
        left[part] -= xp.asarray(given.astype(Y.dtype))
    return left
