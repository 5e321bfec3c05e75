"""What a stochastic variational fit climbs: the bound of a batch by theta, with q(u) in the compiled step."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import NonFiniteError
from lvmfast.kernels._compiled import FreeParameters
from lvmfast.likelihoods import Custom, Gaussian
from lvmfast.linalg._cholesky import raise_factorisation_error
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._gpr_objective import REACH
from lvmfast.models._matrices import add_to_diagonal
from lvmfast.models._svgp_posterior import SvgpPosterior, inducing_factor, jitter_rule
from lvmfast.models._svgp_q import from_precision, to_whitened

BAD_DIAGONAL = 3  # float32 tiles cannot do it

__all__ = ["Answer", "Rows", "SvgpProblem"]


@dataclasses.dataclass
class Rows:
    """A batch as the compiled step takes it, on the device.

    Attributes
    ----------
    X : array of shape (b, q)
    Y : array of shape (b,) of classes, or (b, P)
    own : array of shape (b, P) or None
    weight : array of shape (b,) or None
    scale : float
        Rows of the data per row of the batch.
    """

    X: np.ndarray
    Y: np.ndarray
    own: np.ndarray | None
    weight: np.ndarray | None
    scale: float


@dataclasses.dataclass
class Answer:
    """The bound of a batch, in nats, and its gradient by theta, both without priors; the step that was taken in q."""

    bound: float
    gradient: np.ndarray
    rho: float
    jitter: float


class SvgpProblem:
    """``bound = sum_i c_i E log p(y_i | f(x_i)) - sum_p KL(q(u_p) || p(u_p))`` by theta, with q held.

    ``theta`` is the kernel's free parameters and the likelihood's, unconstrained, the coefficients of the mean in
    units of ``unit``, latent after latent, and the inducing inputs in units of ``mean.scale`` if they are learned.

    Parameters
    ----------
    kernel, likelihood
        Copied.
    mean : Mean
        With coefficients (basis, P), where they start.
    Z : array of shape (m, q)
    unit : float
    options : dict
        ``whiten``, ``q_diag``, ``natural``, ``learn_inducing``, ``jitter``.
    device : "cpu" or "cuda"
    dtype
        Of the data.
    noise_floor : float
        Below it a noise variance that is learned does not go.
    """

    def __init__(self, kernel, likelihood, mean: Mean, Z, unit: float, options: dict, device, dtype, noise_floor=0.0):
        self.kernel, self.likelihood, self.mean = kernel.copy(), likelihood.copy(), mean
        self.Z, self.unit, self.device = np.array(Z, dtype=np.float64, order="C"), float(unit), device
        self.n_latents = mean.coef.shape[1]
        self.learn_inducing, self.jitter = options["learn_inducing"], options["jitter"]
        self.form = options["whiten"], options["q_diag"], options["natural"]
        self.dtype = np.dtype(dtype)
        self.parameters = FreeParameters(self.kernel.compiled(self.Z.shape[1]), self.kernel)
        sizes = (self.parameters.size, len(self.likelihood.theta), mean.coef.size)
        ends = np.cumsum([0, *sizes, self.Z.size if self.learn_inducing else 0])
        self.parts = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        self.size = int(ends[-1])
        self._likelihood_theta = None
        owners = self.kernel.parameters, self.likelihood.parameters
        self._has_priors = any(p.prior is not None for parameters in owners for p in parameters.values())
        self.compiled = self._begin(self.dtype)
        self.bounds = self._bounds(noise_floor)

    def _begin(self, dtype):
        """The compiled step for tiles of this dtype."""
        self.single = dtype == np.float32
        module = _backend.module_on(self.device)
        kind = module.Svgp32 if self.single else module.Svgp64
        return kind(len(self.Z), self.Z.shape[1], self.n_latents, *self.form)

    def _bounds(self, noise_floor) -> np.ndarray:
        """Bounds of theta, (p, 2): those of the parameters, and for the rest of them a wide range around the start."""
        start, bounds = self.initial(), np.full((self.size, 2), [-np.inf, np.inf])
        head = slice(0, self.parts[2].start)
        bounds[self.parts[0]] = self.parameters.bounds()
        bounds[self.parts[1]] = self.likelihood.theta_bounds
        if type(self.likelihood) is Gaussian and len(self.likelihood.theta) and noise_floor > 0:
            bijector = self.likelihood.parameters["noise_variance"].bijector
            if noise_floor > getattr(bijector, "floor", 0.0):
                lowest = float(np.ravel(bijector.inverse(np.array([noise_floor])))[0])
                at = self.parts[1].start
                bounds[at, 0] = max(bounds[at, 0], min(lowest, start[at]))
        reach = np.stack([start[head] - REACH, start[head] + REACH], axis=1)
        bounds[head] = np.where(np.isfinite(bounds[head]), bounds[head], reach)
        return bounds

    # Theta.

    def initial(self) -> np.ndarray:
        """Theta of the present parameters."""
        Z = (self.Z / self.mean.scale).ravel() if self.learn_inducing else np.empty(0)
        coef = (self.mean.coef.T / self.unit).ravel()
        return np.concatenate([self.parameters.initial(), self.likelihood.theta, coef, Z])

    def in_units(self, theta: np.ndarray) -> np.ndarray:
        """Theta with the coefficients of the mean and the inducing inputs as they are."""
        Z = self.inducing_at(theta).ravel() if self.learn_inducing else np.empty(0)
        return np.concatenate([theta[: self.parts[2].start], self.coef_at(theta).ravel(), Z])

    def from_units(self, theta: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`in_units`."""
        theta = theta.copy()
        theta[self.parts[2]] /= self.unit
        if self.learn_inducing:
            theta[self.parts[3]] = (theta[self.parts[3]].reshape(self.Z.shape) / self.mean.scale).ravel()
        return theta

    def units(self) -> np.ndarray:
        """``d in_units / d theta``, (p,)."""
        slopes = np.ones(self.size)
        slopes[self.parts[2]] = self.unit
        if self.learn_inducing:
            slopes[self.parts[3]] = np.tile(self.mean.scale, len(self.Z))
        return slopes

    def kernel_at(self, theta: np.ndarray):
        """A copy of the kernel with the parameters of theta."""
        self.parameters.write(theta[self.parts[0]])
        return self.kernel.copy()

    def likelihood_at(self, theta: np.ndarray):
        """The likelihood, itself, with the parameters of theta."""
        own = theta[self.parts[1]]
        if len(own) and not np.array_equal(own, self._likelihood_theta):
            self.likelihood.theta = own
            self._likelihood_theta = own.copy()
        return self.likelihood

    def coef_at(self, theta: np.ndarray) -> np.ndarray:
        """Coefficients of the mean, (P, basis)."""
        return theta[self.parts[2]].reshape(self.n_latents, -1) * self.unit

    def inducing_at(self, theta: np.ndarray) -> np.ndarray:
        """The inducing inputs, (m, q)."""
        Z = theta[self.parts[3]].reshape(self.Z.shape) * self.mean.scale if self.learn_inducing else self.Z
        return np.ascontiguousarray(Z.astype(np.float32).astype(np.float64) if self.dtype == np.float32 else Z)

    def log_prior(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density of the priors of kernel and likelihood, and its gradient by theta."""
        u, gradient = theta[self.parts[0]], np.zeros(self.size)
        if not self._has_priors:
            return 0.0, gradient
        value, d_vector = self.parameters.log_prior(self.parameters.vector(u))
        gradient[self.parts[0]] = self.parameters.pull(u, d_vector)
        likelihood = self.likelihood_at(theta)
        if likelihood.parameter_names_of_leaf:
            more, gradients = likelihood.log_prior()
            value += more
            gradient[self.parts[1]] = likelihood.theta_gradient(gradients)
        return value, gradient

    # Batches.

    def rows(self, batch) -> Rows:
        """A batch of a source on the device."""
        xp = _backend.namespace_on(self.device)
        dtype = np.float32 if self.single else np.float64

        def there(array, dtype):
            return xp.ascontiguousarray(_backend.to_device(array, self.device), dtype=dtype)

        X, Y = there(batch.X, dtype), there(batch.y, dtype)
        if self.likelihood.n_latents == 1:
            Y = Y.reshape(len(X), -1)
        own = batch.known
        if own is not None:
            own = there(own, dtype)
            own = xp.ascontiguousarray(xp.broadcast_to(own.reshape(len(X), -1), (len(X), self.n_latents)))
        weight = None if batch.weight is None else there(batch.weight, np.float64)
        return Rows(X, Y, own, weight, batch.n_total / len(X))

    def evaluate(self, theta: np.ndarray, rows: Rows, update=()) -> Answer:
        """The bound of a batch and its gradient; q takes the step of ``update``: a natural one before (so they are
        those at the new q, but for a Custom likelihood), one of Adam after.

        Raises
        ------
        NotPositiveDefiniteError, NonFiniteError
            q is then as it was.
        """
        vector, Z = self.parameters.vector(theta[self.parts[0]]), self.inducing_at(theta)
        coef, likelihood = np.ascontiguousarray(self.coef_at(theta)), self.likelihood_at(theta)
        first, *rule = jitter_rule(self.jitter, self.dtype)
        offset = self._offset(rows.X)
        given, compiled = None, None
        module = _backend.module_on(self.device, rows.X)
        if isinstance(likelihood, Custom):
            given = self._given(theta, rows)
        else:
            compiled = likelihood._compiled(module)
        tree = self.parameters.compiled.tree_for(module)
        while True:
            arrays = rows.X, rows.Y, rows.own, rows.weight, offset
            more = coef, self.mean.centre, self.mean.scale, np.array(update, dtype=np.float64)
            code, index, jitter, expected, kl, d_vector, d_Z, d_likelihood, d_coef, rho = self.compiled.step(
                tree, vector, Z, compiled, given, *arrays, rows.scale, *more, first, *rule
            )
            if code != BAD_DIAGONAL or not self.single:
                break
            self.widen()
            xp = _backend.namespace(rows.X)
            own = None if rows.own is None else rows.own.astype(np.float64)
            rows = Rows(rows.X.astype(xp.float64), rows.Y.astype(xp.float64), own, rows.weight, rows.scale)
        if code:
            self._raise(theta, Z, code, index, jitter)
        gradient = np.empty(self.size)
        gradient[self.parts[0]] = self.parameters.pull(theta[self.parts[0]], np.asarray(d_vector))
        gradient[self.parts[1]] = self._by_likelihood(likelihood, np.asarray(d_likelihood))
        gradient[self.parts[2]] = (np.asarray(d_coef) * self.unit).ravel()
        if self.learn_inducing:
            gradient[self.parts[3]] = (np.asarray(d_Z) * self.mean.scale).ravel()
        bound = float(expected) - float(kl)
        if not (np.isfinite(bound) and np.isfinite(gradient).all()):
            raise NonFiniteError(
                f"the bound of a batch is not finite (expectation {expected:.3g}, KL {kl:.3g}): lower step_size or "
                "learning_rate, or rescale y"
            )
        return Answer(bound, gradient, float(rho), float(jitter))

    def widen(self) -> None:
        """Go on in float64 with the same q."""
        q, moments = self.compiled.q(), None if self.form[2] else self.compiled.moments()
        self.compiled = self._begin(np.dtype(np.float64))
        self.compiled.set_q(*q)
        if moments is not None:
            self.compiled.set_moments(*moments)

    def _offset(self, X):
        """What a callable mean adds, (b, P) float64 on the device, or None."""
        if not callable(self.mean.mean):
            return None
        given = self.mean.given(np.asarray(_backend.to_numpy(X), dtype=np.float64), self.n_latents)
        whole = np.broadcast_to(given, (len(X), self.n_latents))
        return _backend.to_device(np.ascontiguousarray(whole), self.device)

    def _given(self, theta, rows: Rows):
        """Expectations of a likelihood that Python alone knows: (b,), (b, P), (b, P)."""
        X = np.asarray(_backend.to_numpy(rows.X), dtype=np.float64)
        posterior = self.posterior(theta)
        xp = _backend.namespace(rows.X)
        mean, variance = posterior.mean_at(X), posterior.variance_at(X)
        Y = rows.Y.astype(np.float64)
        value, by_mean, by_variance, _ = self.likelihood.expected_log_density(Y, mean, variance, gradients=True)
        return value.sum(axis=1), *(xp.ascontiguousarray(a, dtype=np.float64) for a in (by_mean, by_variance))

    @staticmethod
    def _by_likelihood(likelihood, flat) -> np.ndarray:
        gradients, start = {}, 0
        for name in likelihood.parameter_names_of_leaf:
            shape = np.shape(getattr(likelihood, name))
            size = int(np.prod(shape))
            gradients[name] = flat[start : start + size].reshape(shape)
            start += size
        return likelihood.theta_gradient(gradients)

    def _raise(self, theta, Z, code, index, jitter):
        vector = self.parameters.vector(theta[self.parts[0]])
        if not (np.isfinite(vector).all() and np.isfinite(Z).all()):
            raise NonFiniteError("the parameters ran away; set bounds or a prior, or lower learning_rate")
        if code == BAD_DIAGONAL or index < 0:
            raise NonFiniteError(
                "the bound of a batch or its gradient is not finite, or q(u) is not positive definite: lower step_size "
                "or learning_rate, or rescale X and y"
            )
        K = self.kernel_at(theta)(Z, Z.copy())
        add_to_diagonal(K, jitter)
        raise_factorisation_error(K, code, index, jitter, "the covariance k(Z, Z) of the inducing inputs")

    # q(u).

    def set_prior(self, theta: np.ndarray) -> None:
        """q(u) = p(u); of a diagonal one what is nearest to it."""
        m, P = len(self.Z), self.n_latents
        self.set_precision(theta, np.zeros((m, P)), np.broadcast_to(np.eye(m), (P, m, m)))

    def set_precision(self, theta, gamma, precision) -> None:
        """``q(w_p) = N(gamma_p, precision_p^-1)`` of whitened variables: gamma (m, P), precision (P, m, m)."""
        L = None if self.form[0] else self.factor(theta)[0]
        self.compiled.set_q(*from_precision(gamma, precision, L, *self.form))

    def factor(self, theta: np.ndarray) -> tuple[np.ndarray, float]:
        """``L L^T = k(Z, Z) + jitter I`` at theta, and the jitter."""
        return inducing_factor(self.kernel_at(theta), self.inducing_at(theta), self.jitter, self.dtype)

    def posterior(self, theta: np.ndarray, q=None) -> SvgpPosterior:
        """What predicts at theta, with the present q or the one that is given."""
        L, jitter = self.factor(theta)
        gamma, root = to_whitened(*(self.compiled.q() if q is None else q), L, *self.form)
        mean = self.mean.with_coef(self.coef_at(theta).T.copy())
        Z = self.inducing_at(theta).copy()
        return SvgpPosterior(self.kernel_at(theta), mean, Z, jitter, L, gamma, root, self.device)
