"""Bayesian optimization: acquisition functions of a Gaussian process, and the loop that uses them."""

from lvmfast.bayesopt._acquisition import Acquisition
from lvmfast.bayesopt._analytic import (
    ExpectedImprovement,
    LogExpectedImprovement,
    LowerConfidenceBound,
    ProbabilityOfImprovement,
)
from lvmfast.bayesopt._discrete import DiscreteKnowledgeGradient
from lvmfast.bayesopt._knowledge_gradient import KnowledgeGradient, SimulatedOutcomes
from lvmfast.bayesopt._maximize import Maximum, maximize
from lvmfast.bayesopt._minimize import minimize
from lvmfast.bayesopt._monte_carlo import MonteCarloExpectedImprovement
from lvmfast.bayesopt._optimizer import Optimizer
from lvmfast.bayesopt._space import Categorical, Integer, Real, Space
from lvmfast.bayesopt._thompson import ThompsonSampling

__all__ = [
    "Acquisition",
    "Categorical",
    "DiscreteKnowledgeGradient",
    "ExpectedImprovement",
    "Integer",
    "KnowledgeGradient",
    "LogExpectedImprovement",
    "LowerConfidenceBound",
    "Maximum",
    "MonteCarloExpectedImprovement",
    "Optimizer",
    "ProbabilityOfImprovement",
    "Real",
    "SimulatedOutcomes",
    "Space",
    "ThompsonSampling",
    "maximize",
    "minimize",
]
