"""Likelihoods ``p(y | f)`` of Gaussian process models, with what sparse variational inference asks of them.

For ``f ~ N(mean, variance)``, point by point: ``E log p(y | f)`` with its derivatives by mean, variance and the
likelihood's parameters, ``log E p(y | f)``, the mean and variance of y; besides ``log p(y | f)`` and draws of y. All in
nats, constants included. NumPy arrays in, NumPy arrays out; CuPy arrays in, CuPy arrays out.
"""

from lvmfast.likelihoods._classes import RobustMax, Softmax
from lvmfast.likelihoods._custom import Custom
from lvmfast.likelihoods._likelihood import Likelihood
from lvmfast.likelihoods._points import (
    Bernoulli,
    Beta,
    Gamma,
    Gaussian,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)

__all__ = [
    "Bernoulli",
    "Beta",
    "Custom",
    "Gamma",
    "Gaussian",
    "Likelihood",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "RobustMax",
    "Softmax",
    "StudentT",
]
