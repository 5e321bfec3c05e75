"""What a fit of exact Gaussian process regression maximises: the log marginal likelihood plus the log priors."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import LvmfastError, NonFiniteError
from lvmfast.kernels._compiled import FreeParameters
from lvmfast.linalg._cholesky import JITTER_RANGE, raise_factorisation_error
from lvmfast.models._gpr_mean import Mean

REACH = 25.0  # parameters without bounds stay within a factor exp(25) of where a fit starts
NOISE_FLOOR = 1e-8  # of the mean square of y around its mean: below it a likelihood has no maximum


class GprObjective:
    """``theta`` to the log marginal likelihood and its gradient, for fixed data.

    ``theta`` is the kernel's free parameters, unconstrained, and last the logarithm of the noise variance if it is
    learned.
    """

    noise_prior = None

    def __init__(
        self,
        kernel,
        mean: Mean,
        X,
        Y,
        noise,
        learn_noise: bool,
        jitter,
        dtype,
        check_interrupt=None,
        device="cpu",
        noise_prior=None,
    ):
        self.device, self.noise_prior = device, noise_prior
        self.kernel, self.mean, self.X, self.Y = kernel.copy(), mean, X, Y
        self.learn_noise = learn_noise and np.ndim(noise) == 0
        self.noise, self.jitter = noise, 0.0
        self._check_interrupt = check_interrupt
        self.parameters = FreeParameters(self.kernel.compiled(X.shape[1]), self.kernel)
        given = mean.given(X, Y.shape[1])
        targets = np.hstack([Y if given is None else Y - given, mean.basis(X)])
        module = _backend.module_on(device)
        compiled = module.GprObjective64 if dtype == np.float64 else module.GprObjective32
        self._compiled = compiled(
            np.ascontiguousarray(X, dtype),
            np.asfortranarray(targets, dtype),
            mean.size,
            np.ascontiguousarray(noise, dtype=np.float64) if np.ndim(noise) else None,
        )
        auto = isinstance(jitter, str)
        self._first_jitter = 0.0 if auto else float(jitter)
        self._jitter_range = JITTER_RANGE[np.dtype(dtype)] if auto else (0.0, 0.0)

    @property
    def size(self) -> int:
        """Entries of theta."""
        return self.parameters.size + self.learn_noise

    def initial(self) -> np.ndarray:
        """Theta of the present parameters."""
        noise = [np.log(self.noise)] if self.learn_noise else []
        return np.concatenate([self.parameters.initial(), noise])

    def bounds(self, theta: np.ndarray, floor: float) -> np.ndarray:
        """Bounds of theta, shape (p, 2): the parameters' own, and finite ones around ``theta`` where there are none."""
        bounds = np.full((self.size, 2), [-np.inf, np.inf])
        bounds[: self.parameters.size] = self.parameters.bounds()
        if self.learn_noise and floor > 0:
            bounds[-1, 0] = min(np.log(floor), theta[-1])
        reach = np.stack([theta - REACH, theta + REACH], axis=1)
        return np.where(np.isfinite(bounds), bounds, reach)

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, float]:
        """The compiled kernel's parameters and the noise variance (0 beside an array) at theta."""
        vector = self.parameters.vector(theta[: self.parameters.size])
        if self.learn_noise:
            return vector, float(np.exp(theta[-1]))
        return vector, 0.0 if np.ndim(self.noise) else float(self.noise)

    def log_marginal_likelihood(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient, in nats, without priors."""
        if self._check_interrupt is not None:
            self._check_interrupt()
        vector, noise = self.split(theta)
        compiled, module = self.parameters.compiled, _backend.module_on(self.device)
        code, pivot, self.jitter, value, d_vector, d_noise = self._compiled.evaluate(
            compiled.tree_for(module), vector, noise, self._first_jitter, *self._jitter_range
        )
        if code:
            self._raise(theta, noise, code, pivot)
        return value, self._pull(theta, d_vector, d_noise * noise)

    def _pull(self, theta, d_vector, d_log_noise) -> np.ndarray:
        gradient = self.parameters.pull(theta[: self.parameters.size], d_vector)
        return np.append(gradient, d_log_noise) if self.learn_noise else gradient

    def log_prior(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density of the priors and its gradient by theta."""
        vector, noise = self.split(theta)
        value, gradient = self.parameters.log_prior(vector)
        d_log_noise = 0.0
        if self.learn_noise and self.noise_prior is not None:
            value += float(self.noise_prior.log_density(noise))
            d_log_noise = noise * float(self.noise_prior.gradient(noise))
        return value, self._pull(theta, gradient, d_log_noise)

    def loss(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus (log marginal likelihood + log prior) per number in Y, and its gradient."""
        value, gradient = self.log_marginal_likelihood(theta)
        prior, d_prior = self.log_prior(theta)
        return -(value + prior) / self.Y.size, -(gradient + d_prior) / self.Y.size

    def kernel_at(self, theta: np.ndarray):
        """A copy of the kernel with the parameters of theta."""
        self.parameters.write(theta[: self.parameters.size])
        return self.kernel.copy()

    def noise_at(self, theta: np.ndarray):
        """The noise variance at theta: a number or the array that was given."""
        return float(np.exp(theta[-1])) if self.learn_noise else self.noise

    def _raise(self, theta, noise, code, pivot):
        vector, _ = self.split(theta)
        if not (np.isfinite(vector).all() and np.isfinite(noise)):
            raise NonFiniteError("the kernel's parameters or the noise variance ran away; set bounds or a prior")
        C = self.kernel_at(theta)(self.X)
        C[np.diag_indices_from(C)] += (self.noise if np.ndim(self.noise) else noise) + self.jitter
        raise_factorisation_error(C, code, pivot, self.jitter, "the covariance k(X, X) + noise_variance * I")


class Trial:
    """The loss as an optimizer asks for it: a later point that cannot be evaluated is a step too long, not an error."""

    def __init__(self, objective: GprObjective, begun: bool = False):
        self._objective = objective
        self._evaluated = begun

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        try:
            value, gradient = self._objective.loss(theta)
        except (LvmfastError, OverflowError):
            if not self._evaluated:
                raise
            return np.inf, np.zeros_like(theta)
        if self._evaluated and not (np.isfinite(value) and np.isfinite(gradient).all()):
            return np.inf, np.zeros_like(theta)
        self._evaluated = True
        return value, gradient
