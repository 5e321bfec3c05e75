"""Distributions: densities, distribution functions, moments and draws.

A distribution has parameters that broadcast, ``mean``, ``var``, ``std``, ``skewness`` and ``kurtosis`` (excess), and
``pdf``, ``cdf``, ``sf``, their logarithms, ``ppf`` and ``sample``. Objects never change after they are made; they can
be compared, hashed and pickled.
"""

from lvmfast.distributions._polya_gamma import PolyaGamma

__all__ = ["PolyaGamma"]
