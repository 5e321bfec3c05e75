"""Distributions: densities, moments, draws, and divergences in closed form.

A distribution has a ``batch_shape``, to which its parameters broadcast, and an ``event_shape``; ``sample``,
``log_prob`` and ``prob``; ``mean``, ``variance``, ``stddev``, ``entropy`` and ``cdf`` where they have a closed form.
Objects never change after they are made; they can be compared, hashed and pickled.
"""

from lvmfast.distributions._bounded import Bernoulli, Uniform
from lvmfast.distributions._distribution import Distribution
from lvmfast.distributions._divergence import kl_divergence, register_kl
from lvmfast.distributions._mixture import MixtureSameFamily
from lvmfast.distributions._normal import MultivariateNormalDiag, MultivariateNormalTriL, Normal
from lvmfast.distributions._polya_gamma import PolyaGamma
from lvmfast.distributions._transformed import TransformedDistribution

Mixture = MixtureSameFamily

__all__ = [
    "Bernoulli",
    "Distribution",
    "Mixture",
    "MixtureSameFamily",
    "MultivariateNormalDiag",
    "MultivariateNormalTriL",
    "Normal",
    "PolyaGamma",
    "TransformedDistribution",
    "Uniform",
    "kl_divergence",
    "register_kl",
]
