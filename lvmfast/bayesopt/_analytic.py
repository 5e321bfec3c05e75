"""Acquisition functions with a closed form: each a formula on the posterior mean and variance."""

from __future__ import annotations

import numbers

import numpy as np
from scipy import special

from lvmfast._validation import check_positive
from lvmfast.bayesopt._acquisition import Acquisition

__all__ = [
    "ExpectedImprovement",
    "LogExpectedImprovement",
    "LowerConfidenceBound",
    "ProbabilityOfImprovement",
]

ROOT_2, HALF_LOG_2PI = np.sqrt(2.0), 0.5 * np.log(2.0 * np.pi)
FAR = -20.0  # below, ten terms of the asymptotic series have all digits, and the direct form loses some
SERIES = np.cumprod(-np.arange(3.0, 23.0, 2.0))  # -3, 15, -105, ...: z^2 h(z) / phi(z) - 1 in powers of z^-2


class _Marginal(Acquisition):
    """A function of the marginal posterior at one point: ``_formula(mean, variance)`` gives it and its derivatives."""

    def _value(self, X):
        with self.surrogate.blas_threads():
            return self._formula(*self.surrogate.mean_and_variance(X[:, 0]))[0]

    def _value_and_gradient(self, X):
        return self._pulled(self._formula, X)

    def _pulled(self, formula, X):
        with self.surrogate.blas_threads():
            marginals = self.surrogate.marginals(X[:, 0])
            value, by_mean, by_variance = formula(marginals.mean, marginals.variance)
            return value, marginals.pull(by_mean, by_variance)[:, None]

    def _formula(self, mean, variance):
        """Values and their derivatives by mean and variance, shapes (m,)."""
        raise NotImplementedError


class _Improvement(_Marginal):
    """A function of what is gained below ``best - xi``; :meth:`maximize` climbs its logarithm."""

    def __init__(self, model, bounds, *, best=None, xi=0.0):
        super().__init__(model, bounds)
        self.best = check_best(best, self.surrogate)
        self.xi = check_positive(xi, "xi", zero=True)

    def _split(self, mean, variance):
        """best - xi - mean, the standard deviation (1 where it is 0), their quotient, and where it is 0."""
        certain = variance == 0
        std = np.sqrt(np.where(certain, 1.0, variance))
        gain = self.best - self.xi - mean
        return gain, std, gain / std, certain

    def _log_formula(self, mean, variance):
        """As ``_formula``, of the logarithm."""
        raise NotImplementedError

    def _objective(self, X):
        return self._pulled(self._log_formula, X)

    def _objective_value(self, X):
        return self._log_formula(*self.surrogate.mean_and_variance(X[:, 0]))[0]


class ExpectedImprovement(_Improvement):
    r"""How far the function lies below the best, on average:

    ``EI(x) = E max(best - xi - f(x), 0) = s (z Phi(z) + phi(z))``, ``z = (best - xi - mu(x)) / s(x)``,

    with mu and s^2 the posterior mean and variance of f, what :class:`~lvmfast.kernels.White` adds left out, Phi and
    phi the normal distribution and density.

    Parameters
    ----------
    model : lvmfast.GPR
        Fitted to one output.
    bounds : array of shape (d, 2)
        Lowest and highest value of each input.
    best : float, optional
        What is to be improved upon. Default: the smallest posterior mean at the training inputs, which noise does not
        bias; the smallest y is too low where y has noise.
    xi : float >= 0, default=0.0
        Improvements smaller than it count for nothing.

    Attributes
    ----------
    best, xi : float

    Raises
    ------
    TypeError, ValueError
        For a model that is not a fitted GPR of one output, or arguments that break a rule.

    Notes
    -----
    Where s is 0 the value is max(best - xi - mu, 0). EI underflows far from the best: :meth:`maximize` climbs its
    logarithm, which has the same maximum and a gradient everywhere.

    References
    ----------
    Jones, Schonlau & Welch (1998), "Efficient global optimization of expensive black-box functions", eq. 15.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-1, 2, 7)[:, None]
    >>> gp = lvm.GPR(noise_variance=0.01, learn_noise=False).fit(X, np.sin(3 * X[:, 0]))
    >>> ei = lvm.bayesopt.ExpectedImprovement(gp, [(-1.0, 2.0)])
    >>> bool((ei([[-0.5], [1.5]]) >= 0).all())
    True
    """

    def _formula(self, mean, variance):
        gain, std, z, certain = self._split(mean, variance)
        log_h, rate, density = log_improvement(z)
        h = np.exp(log_h)
        value = np.where(certain, np.maximum(gain, 0.0), std * h)
        by_mean = np.where(certain, -1.0 * (gain > 0), -h * rate)
        return value, by_mean, np.where(certain, 0.0, 0.5 * h * density / std)

    def _log_formula(self, mean, variance):
        gain, std, z, certain = self._split(mean, variance)
        log_h, rate, density = log_improvement(z)
        sure = np.where(certain & (gain > 0), gain, 1.0)
        value = np.where(certain, np.where(gain > 0, np.log(sure), -np.inf), np.log(std) + log_h)
        by_mean = np.where(certain, -1.0 * (gain > 0) / sure, -rate / std)
        # d log(s h(z)) / ds = 1/s - z/s Phi/h = phi / (s h)
        return value, by_mean, np.where(certain, 0.0, 0.5 * density / std**2)


class LogExpectedImprovement(ExpectedImprovement):
    r"""The logarithm of :class:`ExpectedImprovement`, in full precision where EI itself is too small to be a number:

    ``log EI(x) = log s + log h(z)``, ``h(z) = z Phi(z) + phi(z)``, ``z = (best - xi - mu(x)) / s(x)``.

    Parameters are those of :class:`ExpectedImprovement`.

    Notes
    -----
    The value is -inf only where s is 0 and mu >= best - xi; the gradient is then 0. For z < -1,
    ``h(z) = phi(z) (1 + z M(z))`` with the Mills ratio ``M(z) = Phi(z) / phi(z)`` from the scaled complementary error
    function, and for z < -20 the asymptotic series ``h(z) = phi(z) / z^2 (1 - 3/z^2 + 15/z^4 - ...)``.

    References
    ----------
    Ament, Daulton, Eriksson, Balandat & Bakshy (2023), "Unexpected improvements to expected improvement for Bayesian
    optimization", eq. 8 and 9.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-1, 2, 7)[:, None]
    >>> gp = lvm.GPR(noise_variance=0.01, learn_noise=False).fit(X, np.sin(3 * X[:, 0]))
    >>> log_ei = lvm.bayesopt.LogExpectedImprovement(gp, [(-1.0, 2.0)])
    >>> ei = lvm.bayesopt.ExpectedImprovement(gp, [(-1.0, 2.0)])
    >>> bool(np.allclose(np.exp(log_ei([[-0.5]])), ei([[-0.5]])))
    True
    """

    def _formula(self, mean, variance):
        return self._log_formula(mean, variance)


class ProbabilityOfImprovement(_Improvement):
    r"""How likely the function lies below the best: ``P(f(x) < best - xi) = Phi(z)``, ``z = (best - xi - mu) / s``.

    Parameters are those of :class:`ExpectedImprovement`; with xi = 0 the maximum is often beside the best training
    input.

    Notes
    -----
    Where s is 0 the value is 1 if mu < best - xi and else 0, and the gradient 0. :meth:`maximize` climbs the logarithm.

    References
    ----------
    Kushner (1964), "A new method of locating the maximum point of an arbitrary multipeak curve in the presence of
    noise".

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-1, 2, 7)[:, None]
    >>> gp = lvm.GPR(noise_variance=0.01, learn_noise=False).fit(X, np.sin(3 * X[:, 0]))
    >>> pi = lvm.bayesopt.ProbabilityOfImprovement(gp, [(-1.0, 2.0)])
    >>> bool(0 < pi([[-0.5]])[0] < 1)
    True
    """

    def _formula(self, mean, variance):
        gain, std, z, certain = self._split(mean, variance)
        density = np.exp(-0.5 * z * z - HALF_LOG_2PI)
        value = np.where(certain, 1.0 * (gain > 0), special.ndtr(z))
        return value, *_by_moments(density, z, std, certain)

    def _log_formula(self, mean, variance):
        gain, std, z, certain = self._split(mean, variance)
        with np.errstate(divide="ignore"):
            value = np.where(certain, np.log(1.0 * (gain > 0)), special.log_ndtr(z))
        return value, *_by_moments(1.0 / mills(z), z, std, certain)


class LowerConfidenceBound(_Marginal):
    r"""Minus the lower confidence bound of the function: ``-(mu(x) - kappa s(x))``, the larger the better.

    Parameters
    ----------
    model : lvmfast.GPR
        Fitted to one output.
    bounds : array of shape (d, 2)
        Lowest and highest value of each input.
    kappa : float >= 0, default=1.96
        Standard deviations below the mean; 0 exploits only.

    Notes
    -----
    Where s is 0 the gradient is that of the mean alone.

    References
    ----------
    Srinivas, Krause, Kakade & Seeger (2010), "Gaussian process optimization in the bandit setting", eq. 6.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-1, 2, 7)[:, None]
    >>> gp = lvm.GPR(noise_variance=0.01, learn_noise=False).fit(X, np.sin(3 * X[:, 0]))
    >>> mean, std = gp.predict([[0.0]], return_std=True)
    >>> lcb = lvm.bayesopt.LowerConfidenceBound(gp, [(-1.0, 2.0)], kappa=2.0)
    >>> bool(np.allclose(lcb([[0.0]]), -(mean - 2.0 * std)))
    True
    """

    def __init__(self, model, bounds, *, kappa=1.96):
        super().__init__(model, bounds)
        self.kappa = check_positive(kappa, "kappa", zero=True)

    def _formula(self, mean, variance):
        std = np.sqrt(variance)
        certain = variance == 0
        by_variance = np.where(certain, 0.0, 0.5 * self.kappa / np.where(certain, 1.0, std))
        return self.kappa * std - mean, np.full(mean.shape, -1.0), by_variance


def check_best(best, surrogate) -> float:
    """A finite number; by default the smallest posterior mean at the training inputs."""
    if best is None:
        return float(surrogate.training_means.min())
    if isinstance(best, bool) or not isinstance(best, (numbers.Real, np.ndarray)) or np.ndim(best) != 0:
        raise TypeError(f"best must be a number, got {best!r}")
    if not np.isfinite(best):
        raise ValueError(f"best must be finite, got {best!r}")
    return float(best)


def mills(z: np.ndarray) -> np.ndarray:
    """``Phi(z) / phi(z)``; infinite beyond z = 37."""
    return np.sqrt(0.5 * np.pi) * special.erfcx(-z / ROOT_2)


def log_improvement(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log h(z), Phi(z) / h(z) and phi(z) / h(z) with ``h(z) = z Phi(z) + phi(z)``, to about 1e-13 relative."""
    log_h, rate, density = np.empty(z.shape), np.empty(z.shape), np.empty(z.shape)
    low = z < -1.0
    up = z[~low]
    phi, Phi = np.exp(-0.5 * up * up - HALF_LOG_2PI), special.ndtr(up)
    h = up * Phi + phi
    log_h[~low], rate[~low], density[~low] = np.log(h), Phi / h, phi / h
    down = z[low]
    squares = down * down
    series = np.polyval([*SERIES[::-1], 1.0], 1.0 / squares)
    ratio = np.where(down < FAR, series / squares, 1.0 + down * mills(down))
    log_h[low] = np.log(ratio) - 0.5 * squares - HALF_LOG_2PI
    rate[low], density[low] = (ratio - 1.0) / (down * ratio), 1.0 / ratio
    return log_h, rate, density


def _by_moments(density, z, std, certain):
    """Derivatives by mean and variance of a function of z whose derivative is ``density``."""
    return np.where(certain, 0.0, -density / std), np.where(certain, 0.0, -0.5 * density * z / std**2)
