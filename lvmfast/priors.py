"""Priors: log densities of parameters and their slopes, for maximum a posteriori fits.

A prior is any object with ``log_density(x)`` and ``gradient(x)``, both elementwise; those here never change after they
are made, can be compared, hashed and pickled, and take parameters of any shape. Densities are with respect to the
parameter itself, in nats, constants included; results are float64.

Outside its support, and at infinity, a prior has the log density -inf and the gradient 0; NaN gives NaN.
"""

from __future__ import annotations

import abc
import dataclasses
import numbers

import numpy as np
from scipy.special import gammaln

from lvmfast._validation import as_float_array, check_positive

__all__ = ["Gamma", "HalfCauchy", "HalfNormal", "InverseGamma", "LogNormal", "Normal"]

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


class _Prior(abc.ABC):
    """What the priors share: the support, types and shapes."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check = _check_finite if field.name in ("mean", "mu") else check_positive
            object.__setattr__(self, field.name, check(getattr(self, field.name), field.name))

    def log_density(self, x) -> np.ndarray:
        """``log p(x)``, elementwise: float64 in the shape of ``x``, -inf outside the support."""
        return self._on_support(self._log_density, x, -np.inf)

    def gradient(self, x) -> np.ndarray:
        """``d log p / dx``, elementwise: float64 in the shape of ``x``, 0 outside the support."""
        return self._on_support(self._gradient, x, 0.0)

    def _on_support(self, formula, x, outside: float) -> np.ndarray:
        x = as_float_array(x, "x").astype(np.float64)
        inside = np.isfinite(x) & self._supports(x)
        with np.errstate(over="ignore", under="ignore", divide="ignore"):  # where the true value is out of range too
            values = formula(np.where(inside, x, 1.0))
        return np.where(inside, values, np.where(np.isnan(x), np.nan, outside))

    @staticmethod
    def _supports(x: np.ndarray) -> np.ndarray:
        return x > 0

    @abc.abstractmethod
    def _log_density(self, x: np.ndarray) -> np.ndarray:
        """For finite ``x`` within the support."""

    @abc.abstractmethod
    def _gradient(self, x: np.ndarray) -> np.ndarray:
        """For finite ``x`` within the support."""


@dataclasses.dataclass(frozen=True)
class Normal(_Prior):
    r"""Normal distribution on the real line:

    ``log p(x) = -1/2 ((x - mean) / std)**2 - log(std) - 1/2 log(2 pi)``.

    Parameters
    ----------
    mean : float
        In the units of the parameter.
    std : float > 0
        Standard deviation, in the units of the parameter.

    Raises
    ------
    ValueError, TypeError
        If ``mean`` is not a finite number or ``std`` not a finite number > 0.

    References
    ----------
    Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., table A.1.

    Examples
    --------
    >>> from lvmfast.priors import Normal
    >>> Normal(mean=1.0, std=2.0).gradient([-3.0, 5.0])
    array([ 1., -1.])
    """

    mean: float
    std: float

    @staticmethod
    def _supports(x):
        return np.ones(x.shape, dtype=bool)

    def _log_density(self, x):
        return -0.5 * ((x - self.mean) / self.std) ** 2 - np.log(self.std) - HALF_LOG_2PI

    def _gradient(self, x):
        return -((x - self.mean) / self.std) / self.std


@dataclasses.dataclass(frozen=True)
class LogNormal(_Prior):
    r"""Log-normal distribution on x > 0, that of ``exp(u)`` for a normal ``u``:

    ``log p(x) = -1/2 ((log(x) - mu) / sigma)**2 - log(x) - log(sigma) - 1/2 log(2 pi)``.

    Parameters
    ----------
    mu : float
        Mean of ``log(x)``: ``exp(mu)`` is the median of ``x``.
    sigma : float > 0
        Standard deviation of ``log(x)``.

    Raises
    ------
    ValueError, TypeError
        If ``mu`` is not a finite number or ``sigma`` not a finite number > 0.

    References
    ----------
    Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., table A.1.

    Examples
    --------
    >>> from lvmfast.priors import LogNormal
    >>> LogNormal(mu=0.0, sigma=1.0).log_density([1.0, -1.0]).round(4)
    array([-0.9189,    -inf])
    """

    mu: float
    sigma: float

    def _log_density(self, x):
        u = np.log(x)
        return -0.5 * ((u - self.mu) / self.sigma) ** 2 - u - np.log(self.sigma) - HALF_LOG_2PI

    def _gradient(self, x):
        return -(1 + (np.log(x) - self.mu) / self.sigma / self.sigma) / x


@dataclasses.dataclass(frozen=True)
class Gamma(_Prior):
    r"""Gamma distribution on x > 0:

    ``log p(x) = shape log(rate) - log Gamma(shape) + (shape - 1) log(x) - rate x``.

    Its mean is ``shape / rate``, its mode ``(shape - 1) / rate`` for ``shape >= 1``. The log density at 0 is -inf for
    every ``shape``, also where the limit from above is not.

    Parameters
    ----------
    shape : float > 0
    rate : float > 0
        One over the scale, in the inverse units of the parameter.

    Raises
    ------
    ValueError, TypeError
        If ``shape`` or ``rate`` is not a finite number > 0.

    References
    ----------
    Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., table A.1.

    Examples
    --------
    >>> from lvmfast.priors import Gamma
    >>> Gamma(shape=2.0, rate=3.0).gradient([0.25, 1 / 3])
    array([1., 0.])
    """

    shape: float
    rate: float

    def _log_density(self, x):
        constant = self.shape * np.log(self.rate) - gammaln(self.shape)
        return constant + (self.shape - 1) * np.log(x) - self.rate * x

    def _gradient(self, x):
        return (self.shape - 1) / x - self.rate


@dataclasses.dataclass(frozen=True)
class InverseGamma(_Prior):
    r"""Inverse gamma distribution on x > 0, that of ``1 / u`` for a ``u`` from ``Gamma(shape, rate=scale)``:

    ``log p(x) = shape log(scale) - log Gamma(shape) - (shape + 1) log(x) - scale / x``.

    Its mode is ``scale / (shape + 1)``. It keeps a lengthscale from vanishing, as its density falls faster than any
    power of ``x`` towards 0.

    Parameters
    ----------
    shape : float > 0
    scale : float > 0
        In the units of the parameter.

    Raises
    ------
    ValueError, TypeError
        If ``shape`` or ``scale`` is not a finite number > 0.

    References
    ----------
    Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., table A.1.

    Examples
    --------
    >>> from lvmfast.priors import InverseGamma
    >>> InverseGamma(shape=3.0, scale=2.0).gradient([0.5, 1.0])
    array([ 0., -2.])
    """

    shape: float
    scale: float

    def _log_density(self, x):
        constant = self.shape * np.log(self.scale) - gammaln(self.shape)
        return constant - (self.shape + 1) * np.log(x) - self.scale / x

    def _gradient(self, x):
        return (self.scale / x - (self.shape + 1)) / x


@dataclasses.dataclass(frozen=True)
class HalfNormal(_Prior):
    r"""Half-normal distribution on x >= 0, that of ``|u|`` for a ``u`` from ``Normal(0, scale)``:

    ``log p(x) = 1/2 log(2 / pi) - log(scale) - 1/2 (x / scale)**2``.

    Parameters
    ----------
    scale : float > 0
        In the units of the parameter.

    Raises
    ------
    ValueError, TypeError
        If ``scale`` is not a finite number > 0.

    References
    ----------
    Gelman (2006), "Prior distributions for variance parameters in hierarchical models", Bayesian Analysis 1, sec. 3.2.

    Examples
    --------
    >>> from lvmfast.priors import HalfNormal
    >>> HalfNormal(scale=2.0).log_density([0.0, 2.0]).round(4)
    array([-0.9189, -1.4189])
    """

    scale: float

    @staticmethod
    def _supports(x):
        return x >= 0

    def _log_density(self, x):
        return 0.5 * np.log(2 / np.pi) - np.log(self.scale) - 0.5 * (x / self.scale) ** 2

    def _gradient(self, x):
        return -(x / self.scale) / self.scale


@dataclasses.dataclass(frozen=True)
class HalfCauchy(_Prior):
    r"""Half-Cauchy distribution on x >= 0, that of ``|u|`` for a Cauchy variable ``u``:

    ``log p(x) = log(2 / pi) - log(scale) - log(1 + (x / scale)**2)``.

    Its median is ``scale``; it has no mean.

    Parameters
    ----------
    scale : float > 0
        In the units of the parameter.

    Raises
    ------
    ValueError, TypeError
        If ``scale`` is not a finite number > 0.

    References
    ----------
    Gelman (2006), "Prior distributions for variance parameters in hierarchical models", Bayesian Analysis 1, sec. 3.2.

    Examples
    --------
    >>> from lvmfast.priors import HalfCauchy
    >>> HalfCauchy(scale=2.0).gradient([2.0, 4.0])
    array([-0.5, -0.4])
    """

    scale: float

    @staticmethod
    def _supports(x):
        return x >= 0

    def _log_density(self, x):
        # The larger of x and scale is drawn out of the logarithm, so that no square overflows.
        low, high = np.minimum(x, self.scale), np.maximum(x, self.scale)
        beyond = np.log(high) - np.log(self.scale)
        return np.log(2 / np.pi) - np.log(self.scale) - 2 * beyond - np.log1p((low / high) ** 2)

    def _gradient(self, x):
        low, high = np.minimum(x, self.scale), np.maximum(x, self.scale)
        ratio = low / high
        return -2 * (x / high) / (high * (1 + ratio * ratio))


def _check_finite(value, name: str) -> float:
    """``value`` as a finite float."""
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, np.ndarray)) or np.ndim(value) != 0:
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return number
