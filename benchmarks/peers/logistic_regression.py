"""Gibbs sampling of Bayesian logistic regression with NumPy and the package polyagamma, and with lvmfast.

The model is y_i ~ Bernoulli(sigmoid(phi_i . beta)), beta ~ N(0, I / alpha). ``PEERS[name](case)`` returns ``run``,
which makes ``case.iterations`` iterations from a draw of the prior and returns beta (iterations, k), or raises
``Unavailable``.

reference  the loop that is usually shown: the covariance by two solves, a draw by NumPy's ``multivariate_normal`` (a
           singular value decomposition); omega by ``random_polyagamma`` in one call, into the same array.
cholesky   the same with a Cholesky factor of the precision and two triangular solves, and arrays that are used again.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg

import lvmfast as lvm
from lvmfast.models._convergence import bulk_ess
from lvmfast.models._logistic_data import Prior, make_data
from lvmfast.models._logistic_gibbs import ChainState, GibbsSampler

from .covariances import Unavailable, require

__all__ = ["PEERS", "LogisticCase", "Unavailable", "fit", "sampler"]

ALPHA = 2.0


@dataclasses.dataclass
class LogisticCase:
    """Features with labels drawn from the model, and how many iterations are made."""

    Phi: np.ndarray
    y: np.ndarray
    iterations: int

    @classmethod
    def random(cls, n: int, k: int, iterations: int, dtype: str = "float64") -> LogisticCase:
        """k = 3: powers of x ~ N(1, 1) for y = 1 and x ~ N(0, 4) for y = 0. Else standard normal features."""
        rng = np.random.default_rng(0)
        if k == 3:
            x = np.concatenate([rng.normal(1, 1, n // 2), rng.normal(0, 2, n - n // 2)])
            return cls(
                np.power(x[:, None], np.arange(3)).astype(dtype), np.repeat([1, 0], [n // 2, n - n // 2]), iterations
            )
        Phi = rng.standard_normal((n, k))
        p = 1 / (1 + np.exp(-Phi @ rng.standard_normal(k) / np.sqrt(k)))
        return cls(Phi.astype(dtype), (rng.random(n) < p).astype(int), iterations)

    def assert_answer(self, draws: np.ndarray, others: np.ndarray) -> None:
        """Two samplers' means agree to six standard errors, after a tenth of the draws."""
        first = self.iterations // 10
        parts = [(d[first:].mean(axis=0), d[first:].var(axis=0) / bulk_ess(d[None, first:])) for d in (draws, others)]
        difference = parts[0][0] - parts[1][0]
        assert (np.abs(difference) < 6 * np.sqrt(parts[0][1] + parts[1][1])).all(), difference


def fit(case: LogisticCase):
    """lvmfast's estimator, from arrays to draws with their diagnostics."""
    params = {"n_samples": case.iterations, "burn_in": 0, "n_chains": 1, "fit_intercept": False, "random_state": 0}
    model = lvm.PolyaGammaLogisticRegression(ALPHA, **params)
    return lambda: model.fit(case.Phi, case.y).coef_draws_[0]


def sampler(case: LogisticCase):
    """lvmfast's sampler alone, from a design matrix to draws."""
    k = case.Phi.shape[1]
    data, prior = make_data("bernoulli", case.Phi, case.y.astype(float), None, None), Prior.of(0.0, ALPHA, k)

    def run():
        gibbs = GibbsSampler(data, prior, ChainState.start(data, prior, 1, 0), "cpu")
        draws = np.empty((1, case.iterations, k), case.Phi.dtype)
        gibbs.run(case.iterations, 1, 0, draws)
        return draws[0]

    return run


def reference(case: LogisticCase):
    """See above."""
    require("polyagamma")
    from polyagamma import random_polyagamma

    Phi, kappa, k = case.Phi.astype(np.float64), case.y - 0.5, case.Phi.shape[1]
    eye = np.eye(k)

    def run():
        rng = np.random.default_rng(0)
        omega, draws = np.empty(len(Phi)), np.empty((case.iterations, k))
        beta = rng.normal(size=k, scale=1 / np.sqrt(ALPHA))
        for i in range(case.iterations):
            random_polyagamma(1.0, Phi @ beta, out=omega, random_state=rng, disable_checks=True)
            precision = (omega * Phi.T) @ Phi + ALPHA * eye
            mean = np.linalg.solve(precision, Phi.T @ kappa)
            covariance = np.linalg.solve(precision, eye)
            beta = draws[i] = rng.multivariate_normal(mean, covariance)
        return draws

    return run


def cholesky(case: LogisticCase):
    """See above."""
    require("polyagamma")
    from polyagamma import random_polyagamma

    Phi, k = case.Phi.astype(np.float64), case.Phi.shape[1]
    linear, prior = Phi.T @ (case.y - 0.5), ALPHA * np.eye(k)
    solve = {"lower": True, "check_finite": False}

    def run():
        rng = np.random.default_rng(0)
        omega, scaled, draws = np.empty(len(Phi)), np.empty_like(Phi), np.empty((case.iterations, k))
        beta = rng.normal(size=k, scale=1 / np.sqrt(ALPHA))
        for i in range(case.iterations):
            random_polyagamma(1.0, Phi @ beta, out=omega, random_state=rng, disable_checks=True)
            np.multiply(Phi, np.sqrt(omega)[:, None], out=scaled)
            L = np.linalg.cholesky(scaled.T @ scaled + prior)  # NumPy knows that this is symmetric
            white = scipy.linalg.solve_triangular(L, linear, **solve) + rng.standard_normal(k)
            beta = draws[i] = scipy.linalg.solve_triangular(L, white, trans=1, **solve)
        return draws

    return run


PEERS = {"reference": reference, "cholesky": cholesky}
