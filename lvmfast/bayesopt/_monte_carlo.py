"""Expected improvement of several points together, by common random numbers."""

from __future__ import annotations

import numpy as np
from scipy import special

from lvmfast._validation import check_integer, check_rng
from lvmfast.bayesopt._acquisition import Acquisition
from lvmfast.bayesopt._analytic import check_best
from lvmfast.bayesopt._base_samples import sobol_normals
from lvmfast.linalg import cholesky_vjp

__all__ = ["MonteCarloExpectedImprovement"]

JITTER, LEAST_PIVOT = 1e-10, 1e-12  # of the prior variance
TEMPERATURE = 1e-6  # of the prior standard deviation
CHUNK = 1 << 22  # numbers drawn that are held at a time


class MonteCarloExpectedImprovement(Acquisition):
    r"""How far the lowest of q points lies below the best, on average over draws from their joint posterior:

    ``qEI(X) = 1/S sum_s max(best - min_j f_sj, 0)``, ``f_s = mu + L w_s``, ``L L^T = Cov(f(X))``,

    with the same S scrambled Sobol' normals w_s for every X, so that qEI is a function with a gradient.

    Parameters
    ----------
    model : lvmfast.GPR
        Fitted to one output.
    bounds : array of shape (d, 2)
        Lowest and highest value of each input.
    q : int
        Points of a candidate: 1 takes X (m, d), more take X (m, q, d).
    n_samples : int, default=128
        S; powers of 2 have the least error.
    best : float, optional
        What is to be improved upon. Default: the smallest posterior mean at the training inputs.
    pending : array of shape (p, d), optional
        Points whose outcomes are awaited. They belong to every candidate: what they gain is counted, and what a
        candidate repeats of it gains nothing.
    random_state : int, numpy.random.Generator or None, default=0
        Of the Sobol' points' scrambling.

    Attributes
    ----------
    best : float
    pending : array of shape (p, d) or None

    Notes
    -----
    The covariance has 1e-10 of the prior variance added to its diagonal. Where no draw improves, qEI and its gradient
    are 0: :meth:`maximize` climbs the logarithm of a smooth bound of it, with log(1 + exp(u / t)) t for max(u, 0).

    References
    ----------
    Balandat et al. (2020), "BoTorch: a framework for efficient Monte-Carlo Bayesian optimization", section 3; the
    smooth bound: Ament et al. (2023), "Unexpected improvements to expected improvement for Bayesian optimization",
    section 4.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-1, 2, 7)[:, None]
    >>> gp = lvm.GPR(noise_variance=0.01, learn_noise=False).fit(X, np.sin(3 * X[:, 0]))
    >>> ei = lvm.bayesopt.MonteCarloExpectedImprovement(gp, [(-1.0, 2.0)], q=2)
    >>> ei([[[-0.6], [-0.4]], [[0.0], [1.5]]]).shape  # two candidates of two points
    (2,)
    """

    def __init__(self, model, bounds, *, q, n_samples=128, best=None, pending=None, random_state=0):
        super().__init__(model, bounds)
        self.q = check_integer(q, "q", 1)
        self.best = check_best(best, self.surrogate)
        self.pending = None if pending is None else self.surrogate.check_points(pending, "pending")
        self._fixed = None
        if self.pending is not None and len(self.pending):
            self._fixed = self.surrogate.fixed_points(self.pending)
        points = self.q + (0 if self._fixed is None else len(self.pending))
        self._draws = sobol_normals(check_integer(n_samples, "n_samples", 1), points, check_rng(random_state))

    def _value(self, X):
        return self._in_chunks(X, lambda gain: np.maximum(gain, 0.0).mean(axis=1))

    def _value_and_gradient(self, X):
        return self._pulled(X, lambda gain: (np.maximum(gain, 0.0).mean(axis=1), (gain > 0) / gain.shape[1]))

    def _objective_value(self, X):
        return self._in_chunks(X, lambda gain: self._log_smooth(gain)[0])

    def _objective(self, X):
        return self._pulled(X, self._log_smooth)

    def _log_smooth(self, gain):
        """``log(1/S sum_s t log(1 + exp(gain_s / t)))`` and its derivatives by gain (m, S)."""
        t = TEMPERATURE * np.sqrt(self.surrogate.prior_variance)
        u = gain / t
        far = u < -30.0
        soft = np.logaddexp(0.0, u)
        logs = np.where(far, u, np.log(np.where(far, 1.0, soft)))
        total = special.logsumexp(logs, axis=1)
        rate = np.where(far, 1.0, special.expit(u) / np.where(far, 1.0, soft))
        return total + np.log(t / gain.shape[1]), np.exp(logs - total[:, None]) * rate / t

    def _in_chunks(self, X, function):
        rows = max(1, CHUNK // self._draws.size)
        with self.surrogate.blas_threads():
            return np.concatenate([function(self._gains(X[k : k + rows])[0]) for k in range(0, max(len(X), 1), rows)])

    def _gains(self, X):
        """``best - min_j f_sj`` (m, S), which j that is, the factor of the covariance, and the posterior."""
        joint = self.surrogate.joint(X, self._fixed)
        prior = self.surrogate.prior_variance
        factor = _factor(joint.covariance, JITTER * prior, LEAST_PIVOT * prior)
        values = joint.mean[:, None] + self._draws @ factor.swapaxes(1, 2)
        lowest = values.argmin(axis=2)
        least = np.take_along_axis(values, lowest[:, :, None], axis=2)[:, :, 0]
        return self.best - least, lowest, factor, joint

    def _pulled(self, X, function):
        with self.surrogate.blas_threads():
            gain, lowest, factor, joint = self._gains(X)
            value, by_gain = function(gain)
            by_values = np.zeros((*gain.shape, factor.shape[1]))
            np.put_along_axis(by_values, lowest[:, :, None], -by_gain[:, :, None], axis=2)
            by_factor = by_values.swapaxes(1, 2) @ self._draws
            return value, joint.pull(by_values.sum(axis=1), cholesky_vjp(factor, by_factor))


def _factor(covariance: np.ndarray, jitter: float, least: float) -> np.ndarray:
    """Lower factors of ``covariance + jitter I``, shape (m, r, r); a pivot lost to rounding becomes ``least``."""
    factor = np.zeros(covariance.shape)
    for j in range(covariance.shape[1]):
        rest = covariance[:, j:, j] - (factor[:, j:, :j] @ factor[:, j, :j, None])[:, :, 0]
        pivot = np.sqrt(np.maximum(rest[:, 0] + jitter, least))
        factor[:, j, j] = pivot
        factor[:, j + 1 :, j] = rest[:, 1:] / pivot[:, None]
    return factor
