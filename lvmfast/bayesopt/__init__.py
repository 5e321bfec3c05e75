"""Bayesian optimization: acquisition functions of a Gaussian process, and the loop that uses them."""

from lvmfast.bayesopt._acquisition import Acquisition
from lvmfast.bayesopt._knowledge_gradient import KnowledgeGradient, SimulatedOutcomes

__all__ = ["Acquisition", "KnowledgeGradient", "SimulatedOutcomes"]
