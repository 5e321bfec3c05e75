"""Bayesian optimization: acquisition functions of a Gaussian process, and the loop that uses them."""

from lvmfast.bayesopt._acquisition import Acquisition
from lvmfast.bayesopt._discrete import DiscreteKnowledgeGradient

__all__ = ["Acquisition", "DiscreteKnowledgeGradient"]
