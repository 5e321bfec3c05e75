"""Likelihoods ``p(y | f)`` of Gaussian process models, with what sparse variational inference asks of them.

For ``f ~ N(mean, variance)``, point by point: ``E log p(y | f)`` with its derivatives by mean, variance and the
likelihood's parameters, ``log E p(y | f)``, the mean and variance of y; besides ``log p(y | f)`` and draws of y. All in
nats, constants included. NumPy arrays in, NumPy arrays out; CuPy arrays in, CuPy arrays out.

What has no closed form is Gauss-Hermite quadrature with 20 nodes (``n_nodes``). With them ``E log p`` of likelihoods
of one latent function is within about 2e-9 where f has the standard deviation 1, 5e-5 at 2, 2e-3 at 3 and 0.04 at 5
(Beta, the worst of them; the logit, by a rule of its own, is within 3e-8 everywhere, and for Student's t it is the
ratio to ``scale`` that counts). Derivatives are those of the sum that is computed, so that an optimizer sees one
function.
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
