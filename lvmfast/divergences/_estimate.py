"""A number that was estimated, with its standard error."""

from __future__ import annotations

import math

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array
from lvmfast.exceptions import NonFiniteError

__all__ = ["Estimate"]


class Estimate(float):
    """A float that knows its standard error and the number of samples behind it.

    Attributes
    ----------
    value : float
    standard_error : float
        Of ``value``; NaN from one sample, infinite where the value is.
    n : int or tuple of int
        Samples; of p and of q where both count.
    """

    standard_error: float
    n: object

    def __new__(cls, value, standard_error, n):
        self = super().__new__(cls, value)
        self.standard_error, self.n = float(standard_error), n
        return self

    @property
    def value(self) -> float:
        """The number alone."""
        return float(self)

    def __repr__(self) -> str:
        return f"Estimate({float(self):.6g} +- {self.standard_error:.2g}, n={self.n})"

    __str__ = __repr__

    def __reduce__(self):
        return Estimate, (float(self), self.standard_error, self.n)


def as_log_ratios(s, name: str):
    """A flat float64 array of log ratios of shape (n,) or (n, 1), infinite ones included; NaN is an error."""
    s = as_float_array(s, name)
    xp = _backend.namespace(s)
    if s.ndim != 1 and (s.ndim != 2 or s.shape[1] != 1):
        raise ValueError(f"{name} must hold one log ratio for each sample, shape (n,) or (n, 1), got {s.shape}")
    s = s.ravel().astype(np.float64)
    if not s.size:
        raise ValueError(f"{name} must hold at least one log ratio, got shape {s.shape}")
    if xp.isnan(s).any():
        k = int(xp.argmax(xp.isnan(s)))
        raise NonFiniteError(f"{name} must hold log ratios, got NaN at index {k}; both densities may be 0 there")
    return s


def mean_and_error(terms) -> tuple[float, float]:
    """The mean of float64 terms and its standard error."""
    n = len(terms)
    mean = float(terms.mean())
    if not math.isfinite(mean):
        return mean, math.nan if math.isnan(mean) else math.inf
    with np.errstate(over="ignore"):
        return mean, math.sqrt(float(((terms - mean) ** 2).sum()) / (n - 1) / n) if n > 1 else math.nan


def mean_of_f(f, s, self_normalized: bool) -> Estimate:
    """``mean f(r)``, r = exp(s) of samples of q; with r divided by its mean if it is known up to a factor only."""
    if not self_normalized:
        return Estimate(*mean_and_error(f.of_log_ratio(s)), len(s))
    xp = _backend.namespace(s)
    largest = float(s.max())
    if largest == -math.inf:
        raise NonFiniteError(
            "the ratios are 0 at all samples of q: their mean cannot be 1; the supports may be disjoint"
        )
    s = s - largest
    s = s - float(xp.log(xp.exp(s).mean()))
    terms = f.of_log_ratio(s)
    value, error = mean_and_error(terms)
    slope = f._functions["derivative"] is not None if hasattr(f, "_functions") else True
    if slope and math.isfinite(value):  # how the mean of the ratios moves the value
        r = xp.exp(s)
        with np.errstate(invalid="ignore"):
            pull = xp.where(r > 0, r * f.derivative_of_log_ratio(s), 0).mean()
        error = mean_and_error(terms - (r - 1) * pull)[1]
    return Estimate(value, error, len(s))
