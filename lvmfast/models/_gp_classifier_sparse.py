"""The sparse variational bound of Gaussian process classification: natural gradients in closed form, exact gradients.

With A = k(X, Z) L^-T, L L^T = k(Z, Z) and f = m + A v + rest, q(v) = N(P^-1 h, P^-1) and v ~ N(0, I):

    bound = s sum_i [log sigma(c_i) - c_i / 2 + kappa_i E f_i - theta_i (E f_i^2 - c_i^2) / 2] - KL(q(v) || N(0, I)).

For fixed c, its maximum over q is at P = I + s A^T diag(theta) A, h = s A^T (kappa - theta m); for a fixed q, at
c_i^2 = E f_i^2. A natural gradient step of length rho goes that part of the way in (P, h) (F. Wenzel et al., AAAI 2019,
eq. 9-11, there for the unwhitened u = L v). s is the number of rows per row of the batch.
"""

from __future__ import annotations

import functools

import numpy as np

from lvmfast import _backend
from lvmfast.linalg import cholesky, cholesky_vjp, solve_triangular, solve_triangular_vjp
from lvmfast.models._gp_classifier_full import INNER, Problem, ascend
from lvmfast.models._gp_classifier_posterior import SparsePosterior, inverse_theta
from lvmfast.models._matrices import add_to_diagonal, column_squares

__all__ = ["SparseProblem", "log_sigmoid"]


def log_sigmoid(x):
    """``log sigma(x)`` for x >= 0."""
    xp = _backend.namespace(x)
    return -xp.log1p(xp.exp(-x))


class Gaussian:
    """``q(v) = N(P^-1 h, P^-1)``, with what is asked of it."""

    def __init__(self, P, h):
        self.P, self.h = P, h
        self.R = cholesky(P, jitter=0.0)
        self.mean = solve_triangular(self.R, solve_triangular(self.R, h), trans=True)

    @functools.cached_property
    def _half(self):
        """``R^-1``, R the factor of P."""
        return solve_triangular(self.R, _backend.namespace(self.P).eye(len(self.P)), overwrite=True)

    def covariance(self):
        """``P^-1``."""
        return self._half.T @ self._half

    def divergence(self) -> float:
        """``KL(q || N(0, I))`` in nats."""
        xp = _backend.namespace(self.P)
        log_det = 2.0 * xp.log(xp.diagonal(self.R)).sum()
        return 0.5 * float((self._half * self._half).sum() + self.mean @ self.mean - len(self.P) + log_det)


class Batch:
    """Rows as a kernel and inducing inputs see them: A^T in ``B`` (M, n)."""

    def __init__(self, kernel, Z, X, L=None):
        self.X = X
        if L is None:
            L, self.jitter = cholesky(kernel(Z), return_jitter=True)
        self.L = L
        self.B = solve_triangular(L, kernel(Z, X), overwrite=True)
        self.rest = kernel.diag(X) - column_squares(self.B)

    def moments(self, q: Gaussian, mean: float):
        """E f and E f^2, each (n,)."""
        half = solve_triangular(q.R, self.B)
        first = mean + q.mean @ self.B
        variance = self.rest + column_squares(half)
        return first, first * first + _backend.namespace(first).maximum(variance, 0.0)

    def target(self, c, kappa, mean: float, scale: float):
        """The natural parameters P and h that are best for c."""
        xp = _backend.namespace(self.B)
        theta = 1.0 / inverse_theta(c)
        scaled = self.B * xp.sqrt(scale * theta)
        P = scaled @ scaled.T
        add_to_diagonal(P, 1.0)
        return P, scale * (self.B @ (kappa - theta * mean))


class SparseProblem(Problem):
    """``theta``: the kernel's parameters, then the inducing inputs in units of the spread of X, if they are learned."""

    def __init__(self, kernel, X, kappa, mean, tol, device, check_interrupt=None, *, Z, learn_Z, total=None):
        super().__init__(kernel, X, kappa, mean, tol, device, check_interrupt)
        self.learn_Z, self.Z = learn_Z, np.array(Z, dtype=np.float64)
        spread = X.std(axis=0, dtype=np.float64) if len(X) else np.ones(X.shape[1])
        self.unit = np.where(spread > 0, spread, 1.0)
        self.total = len(X) if total is None else total
        xp = _backend.namespace_on(device)
        self.P, self.h = xp.eye(len(Z)), xp.zeros(len(Z))
        self._stepped: Gaussian | None = None  # q after the last step of a batch

    @property
    def size(self) -> int:
        """Entries of theta."""
        return self.parameters.size + (self.Z.size if self.learn_Z else 0)

    @property
    def state(self) -> dict:
        """Where the next ascent begins."""
        return {"P": np.array(_backend.to_numpy(self.P)), "h": np.array(_backend.to_numpy(self.h))}

    @state.setter
    def state(self, state) -> None:
        self.P, self.h = (_backend.to_device(np.array(state[name]), self.device) for name in ("P", "h"))

    def initial(self) -> np.ndarray:
        """Theta of the present parameters."""
        Z = (self.Z / self.unit).ravel() if self.learn_Z else np.empty(0)
        return np.concatenate([self.parameters.initial(), Z])

    def inducing_at(self, theta: np.ndarray) -> np.ndarray:
        """The inducing inputs at theta, of NumPy."""
        if not self.learn_Z:
            return self.Z
        return np.ascontiguousarray(theta[self.parameters.size :].reshape(self.Z.shape) * self.unit)

    def batch(self, theta, X=None) -> Batch:
        """Rows of X, by default all, at theta."""
        there = _backend.to_device(np.ascontiguousarray(self.X if X is None else X, np.float64), self.device)
        return Batch(self.kernel_at(theta), _backend.to_device(self.inducing_at(theta), self.device), there)

    def best(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The bound at the best q, and its gradient."""
        batch, kappa = self.batch(theta), _backend.to_device(self.kappa, self.device)
        q = first = there = None

        def update(c):
            nonlocal q, first, there
            self.interrupt()
            q = Gaussian(*batch.target(_backend.to_device(c, self.device), kappa, self.mean, 1.0))
            value, first, there = self.value(batch, q, kappa, 1.0)
            return value, _backend.to_numpy(there)

        _, _, start = self.value(batch, Gaussian(self.P, self.h), kappa, 1.0)
        _, value = ascend(update, _backend.to_numpy(start), INNER, self.tol * len(self.X))
        self.P, self.h = q.P, q.h
        return value, self.gradient(theta, batch, q, kappa, first, there, 1.0)

    def sweep(self, theta: np.ndarray) -> float:
        """The bound at q, which then moves on."""
        self.interrupt()
        if getattr(self, "_swept", None) is None or not np.array_equal(self._swept[0], theta):
            self._swept = theta.copy(), self.batch(theta)
        batch, kappa = self._swept[1], _backend.to_device(self.kappa, self.device)
        value, _, c = self.value(batch, Gaussian(self.P, self.h), kappa, 1.0)
        self.at = self.state
        self.P, self.h = batch.target(c, kappa, self.mean, 1.0)
        return value

    def settle(self) -> None:
        """Back to the q of the last bound that :meth:`sweep` gave."""
        self.state = self.at

    def step(self, theta, X, kappa, rho: float, gradient: bool):
        """A natural gradient step with a batch; the bound's estimate after it and, if asked, its gradient by theta."""
        scale = self.total / len(X)
        batch, kappa = self.batch(theta, X), _backend.to_device(np.ascontiguousarray(kappa), self.device)
        before = self._stepped if self._stepped is not None and self._stepped.P is self.P else Gaussian(self.P, self.h)
        _, square = batch.moments(before, self.mean)
        P, h = batch.target(_backend.namespace(square).sqrt(square), kappa, self.mean, scale)
        P, h = self.P + rho * (P - self.P), self.h + rho * (h - self.h)
        q = Gaussian(P, h)
        value, first, c = self.value(batch, q, kappa, scale)
        slope = self.gradient(theta, batch, q, kappa, first, c, scale) if gradient else None
        self.P, self.h, self._stepped = P, h, q
        return value, slope

    def value(self, batch: Batch, q: Gaussian, kappa, scale: float):
        """The bound at the best c, E f, and that c."""
        first, square = batch.moments(q, self.mean)
        c = _backend.namespace(square).sqrt(square)
        local = log_sigmoid(c) - 0.5 * c + kappa * first
        return scale * float(local.sum()) - q.divergence(), first, c

    def gradient(self, theta, batch: Batch, q: Gaussian, kappa, first, c, scale: float) -> np.ndarray:
        """Of the bound by theta, with q and c held."""
        xp = _backend.namespace(batch.B)
        precision = scale / inverse_theta(c)
        rest = q.covariance()
        add_to_diagonal(rest, -1.0)
        B_bar = xp.outer(q.mean, scale * kappa - precision * first) - (rest @ batch.B) * precision
        L_bar, cross = solve_triangular_vjp(batch.L, batch.B, B_bar)
        square = cholesky_vjp(batch.L, L_bar)
        u, Z = theta[: self.parameters.size], _backend.to_device(self.inducing_at(theta), self.device)
        vector, module = self.parameters.vector(u), self.module
        rows = xp.ascontiguousarray
        dZ, _, d_square = module.gram_vjp(self.tree, vector, Z, None, rows(square))
        dZ_cross, _, d_cross = module.gram_vjp(self.tree, vector, Z, batch.X, rows(cross))
        _, d_diagonal = module.gram_diagonal_vjp(self.tree, vector, batch.X, rows(-0.5 * precision))
        d_u = self.parameters.pull(u, np.asarray(d_square) + np.asarray(d_cross) + np.asarray(d_diagonal))
        if not self.learn_Z:
            return d_u
        return np.concatenate([d_u, (_backend.to_numpy(dZ + dZ_cross) * self.unit).ravel()])

    def posterior(self, theta: np.ndarray) -> SparsePosterior:
        """At theta and q."""
        return SparsePosterior(self.kernel_at(theta), self.mean, self.inducing_at(theta), self.P, self.h, self.device)
