"""What is known of the coefficients after a fit, as draws or as a Gaussian, and expectations under it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy.special import ndtr

from lvmfast import _backend
from lvmfast.linalg import solve_triangular
from lvmfast.models._logistic_data import likelihood_terms

BLOCK = 1 << 22  # values of f that are held at a time
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
STEP = 0.5
PROBIT = math.sqrt(math.pi / 8)  # the slope at 0 of a normal distribution function that is the logistic's


def sigmoid(f):
    """``1 / (1 + exp(-f))``, to the last digits for f of either sign."""
    xp = _backend.namespace(f)
    e = xp.exp(-xp.abs(f))
    return xp.where(f >= 0, 1.0, e) / (1.0 + e)


def logistic_normal(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """``E[sigmoid(f)]``, ``f ~ N(mean, variance)``, with an error below 1e-10.

    Integrated is the difference to ``Phi(sqrt(pi / 8) f)``, whose expectation is known, and which is next to nothing
    beyond ``|f| = 36``: by Gauss-Hermite quadrature with 64 nodes up to a standard deviation of 2, above by the
    trapezoidal rule in f, whose error falls with ``exp(-2 pi^2 / STEP)``.
    """
    std = np.sqrt(variance)
    exact = ndtr(PROBIT * mean / np.sqrt(1.0 + PROBIT * PROBIT * variance))
    rest, narrow = np.zeros_like(mean), std <= 2.0
    mu, sd = mean[narrow], std[narrow]
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        rest[narrow] += weight * _beyond_probit(mu + sd * node)
    mu, sd = mean[~narrow], std[~narrow]
    for f in np.arange(-36.0, 36.0 + STEP, STEP):
        rest[~narrow] += STEP * _beyond_probit(f) * np.exp(-0.5 * ((f - mu) / sd) ** 2) / (math.sqrt(2 * math.pi) * sd)
    return np.clip(exact + rest, 0.0, 1.0)


def _beyond_probit(f):
    return sigmoid(f) - ndtr(PROBIT * f)


def log_likelihood(likelihood: str, f, y, other):
    """``log p(y | f)`` of every row, constants included; f (..., m) NumPy, y 0 or 1, or counts."""
    if likelihood == "bernoulli":
        a, b, log_c = y, 1.0, 0.0
    else:
        a, b, log_c = likelihood_terms(likelihood, y, n_trials=other, dispersion=other)
    return log_c + a * f - b * np.logaddexp(0.0, f)


@dataclasses.dataclass
class Draws:
    """The coefficients as (s, p) draws."""

    beta: np.ndarray

    def _blocks(self, design):
        """Rows of the design matrix and their f (rows, s), on the device of the design, in float64."""
        beta = _backend.like(self.beta.astype(np.float64), design)
        step = max(1, BLOCK // len(self.beta))
        for i in range(0, len(design), step):
            yield slice(i, i + step), design[i : i + step].astype(np.float64) @ beta.T

    def _expectation(self, function, design):
        xp = _backend.namespace(design)
        out = xp.empty(len(design))
        for rows, f in self._blocks(design):
            out[rows] = function(f).mean(axis=1)
        return out

    def probabilities(self, design):
        """``E[1 - p]`` and ``E[p]`` of every row, (m, 2); each to its last digits."""
        xp = _backend.namespace(design)
        out = xp.empty((len(design), 2))
        for rows, f in self._blocks(design):
            out[rows, 0] = sigmoid(-f).mean(axis=1)
            out[rows, 1] = sigmoid(f).mean(axis=1)
        return out

    def odds(self, design):
        """``E[exp(f)]`` of every row."""
        return self._expectation(_backend.namespace(design).exp, design)

    def log_predictive(self, likelihood: str, design, y, other) -> np.ndarray:
        """``log E[p(y | f)]`` of every row."""
        out = np.empty(len(design))
        for rows, f in self._blocks(design):
            each = log_likelihood(likelihood, f.T, y[rows], None if other is None else other[rows])
            most = each.max(axis=0)
            out[rows] = most + np.log(np.exp(each - most).mean(axis=0))
        return out

    def sample(self, size: int, rng) -> np.ndarray:
        """``size`` of the draws, without repetition while there are enough."""
        s = len(self.beta)
        chosen = rng.permutation(s)[:size] if size <= s else rng.randint(s, size=size)
        return self.beta[chosen].astype(np.float64)


@dataclasses.dataclass
class Gaussian:
    """The coefficients as ``N(mean, (L L^T)^-1)``."""

    mean: np.ndarray
    factor: np.ndarray

    def moments(self, design):
        """Mean and variance of f, (m,) each, NumPy."""
        design = _backend.to_numpy(design).astype(np.float64)
        white = solve_triangular(self.factor, np.ascontiguousarray(design.T))
        return design @ self.mean, np.einsum("ij,ij->j", white, white)

    def covariance(self) -> np.ndarray:
        inverse = solve_triangular(self.factor, np.eye(len(self.mean)))
        return inverse.T @ inverse

    def probabilities(self, design):
        mean, variance = self.moments(design)
        out = np.stack([logistic_normal(-mean, variance), logistic_normal(mean, variance)], axis=1)
        return _backend.like(out, design)

    def odds(self, design):
        mean, variance = self.moments(design)
        return _backend.like(np.exp(mean + 0.5 * variance), design)

    def log_predictive(self, likelihood: str, design, y, other) -> np.ndarray:
        mean, variance = self.moments(design)
        f = mean + np.sqrt(variance) * NODES[:, None]
        each = log_likelihood(likelihood, f, y, other) + np.log(WEIGHTS)[:, None]
        most = each.max(axis=0)
        return most + np.log(np.exp(each - most).sum(axis=0))

    def sample(self, size: int, rng) -> np.ndarray:
        noise = rng.standard_normal((len(self.mean), size))
        return (self.mean[:, None] + solve_triangular(self.factor, noise, trans=True)).T
