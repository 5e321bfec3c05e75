"""Bayesian optimization: acquisition functions of a Gaussian process, and the loop that uses them."""

from lvmfast.bayesopt._acquisition import Acquisition

__all__ = ["Acquisition"]
