"""Variational inference for logistic models: a Gaussian for the coefficients, Pólya-gamma variables for the rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import NonFiniteError
from lvmfast.linalg import cholesky, solve_triangular
from lvmfast.models._logistic_data import Data, Prior

BLOCK = 1 << 22  # numbers of the design matrix that are worked on at a time


@dataclasses.dataclass
class GaussianState:
    """``q(beta) = N(mean, P^-1)``, and the bounds on the way there.

    Attributes
    ----------
    mean : array of shape (p,)
    precision_factor : array of shape (p, p)
        Lower Cholesky factor of P.
    bounds : list of float
    """

    mean: np.ndarray
    precision_factor: np.ndarray
    bounds: list


class CoordinateAscent:
    r"""Coordinate ascent on ``q(beta) prod_i q(omega_i)``:

    ``q(omega_i) = PG(b_i, xi_i)``, ``xi_i^2 = E[f_i^2]``, ``E[omega_i] = b_i tanh(xi_i / 2) / (2 xi_i)``,
    ``q(beta) = N(P^-1 h, P^-1)``, ``P = Phi^T diag(E[omega]) Phi + S``, ``h = Phi^T kappa + S m``,

    which maximises, in nats, with ``log|S|`` and the rank r of what is not flat,

    ``log p(y) >= log c + sum_i [-b_i log(2 cosh(xi_i / 2)) + E[omega_i] xi_i^2 / 2] + (p - r) / 2 log(2 pi)
    + 1/2 (log|S| - log|P| + h^T P^-1 h - m^T S m)``.

    Along flat directions the prior density is 1.

    References
    ----------
    T. S. Jaakkola, M. I. Jordan, Bayesian parameter estimation via variational methods (Statistics and Computing 10,
    2000), eq. 6-11. D. Durante, T. Rigon, Conditionally conjugate mean-field variational Bayes for logistic models
    (Statistical Science 34, 2019), algorithm 1 and eq. 14.
    """

    def __init__(self, data: Data, prior: Prior, device: str):
        self.prior, self.device = prior, device
        self.design = _backend.to_device(data.design, device)
        self.b = _backend.to_device(data.b, device)
        self.log_constant = data.log_constant
        self.linear = data.design.astype(np.float64).T @ data.kappa + prior.precision @ prior.mean
        n, p = data.design.shape
        self.rows = [slice(i, i + max(1, BLOCK // p)) for i in range(0, n, max(1, BLOCK // p))]
        # m^T S m by way of S m, of which nothing is left where the prior is flat
        self.offset = (
            data.log_constant
            + 0.5 * (p - prior.rank) * math.log(2 * math.pi)
            + 0.5 * prior.log_determinant
            - 0.5 * float(prior.mean @ prior.precision @ prior.mean)
        )

    def run(self, state: GaussianState | None, max_iter: int, tol: float, on_iteration: Callable) -> tuple:
        """``(state, converged)`` after at most ``max_iter`` more iterations.

        ``on_iteration(state)`` after each; a true answer ends it.
        """
        for _ in range(max_iter):
            weights, local = self.locals(state)
            state = self.update(state, weights, local)
            bounds = state.bounds
            if on_iteration(state):
                return state, False
            if len(bounds) > 1 and bounds[-1] - bounds[-2] <= tol * max(1.0, abs(bounds[-1])):
                return state, True
        return state, False

    def locals(self, state: GaussianState | None):
        """``E[omega]`` (n,) on the device, and the sum of the rows' terms of the bound; at first ``xi = 0``."""
        xp = _backend.namespace(self.b)
        if state is None:
            return 0.25 * self.b, -math.log(2) * float(self.b.sum())
        mean, factor = (_backend.to_device(a, self.device) for a in (state.mean, state.precision_factor))
        xi = xp.empty(len(self.b))
        for rows in self.rows:
            design = self.design[rows].astype(np.float64)
            white = solve_triangular(factor, xp.ascontiguousarray(design.T))
            xi[rows] = xp.sqrt((design @ mean) ** 2 + (white * white).sum(axis=0))
        half = 0.5 * xi
        small = half < 1e-3
        safe = xp.where(small, 1.0, half)
        ratio = xp.where(small, 1.0 - half * half / 3.0, xp.tanh(safe) / safe)
        weights = 0.25 * self.b * ratio
        log_cosh = half + xp.log1p(xp.exp(-xi))  # log(2 cosh(xi / 2))
        return weights, float((0.5 * weights * xi * xi - self.b * log_cosh).sum())

    def update(self, state: GaussianState | None, weights, local: float) -> GaussianState:
        """The Gaussian that is best for these weights, with its bound."""
        xp = _backend.namespace(weights)
        P = _backend.to_device(self.prior.precision.copy(), self.device)
        root = xp.sqrt(weights)[:, None]
        for rows in self.rows:
            scaled = self.design[rows] * root[rows]
            P += scaled.T @ scaled
        L = _backend.to_numpy(cholesky(P, jitter=0.0))
        white = solve_triangular(L, self.linear)
        mean = solve_triangular(L, white, trans=True)
        bound = self.offset + local + 0.5 * float(white @ white) - float(np.log(np.diag(L)).sum())
        if not math.isfinite(bound):
            raise NonFiniteError(f"the bound on the evidence is {bound}; scale the features")
        return GaussianState(mean, L, [*(state.bounds if state else []), bound])
