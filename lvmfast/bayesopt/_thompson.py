"""Thompson sampling by functions drawn from the posterior."""

from __future__ import annotations

import copy

import numpy as np

from lvmfast._validation import check_integer, check_rng
from lvmfast.bayesopt._acquisition import Acquisition

__all__ = ["ThompsonSampling"]


class ThompsonSampling(Acquisition):
    """Minus a function drawn from the posterior: ``-f(x)``, ``f ~ p(f | y)``; of q points, ``-sum_s f_s(x_s)``.

    Its maximum is at the minima of the drawn functions, which have the distribution of the unknown function's.

    Parameters
    ----------
    model : lvmfast.GPR
        Fitted to one output.
    bounds : array of shape (d, 2)
        Lowest and highest value of each input.
    n_samples : int, default=1
        Functions, and points of a candidate: 1 takes X (m, d), more take X (m, n_samples, d).
    n_features : int, default=1024
        Random functions that make a draw from the prior; see :meth:`lvmfast.GPR.pathwise_samples`.
    random_state : int, numpy.random.Generator or None, default=0
        Of the draws, which are made once, here.

    Attributes
    ----------
    paths : list of n_samples functions
        ``paths[s](X)`` has shape (1, m).

    References
    ----------
    Wilson et al. (2020), "Efficiently sampling functions from Gaussian process posteriors", section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-1, 2, 7)[:, None]
    >>> gp = lvm.GPR(noise_variance=0.01, learn_noise=False).fit(X, np.sin(3 * X[:, 0]))
    >>> draw = lvm.bayesopt.ThompsonSampling(gp, [(-1.0, 2.0)], random_state=0)
    >>> draw([[-0.5], [1.5]]).shape
    (2,)
    """

    def __init__(self, model, bounds, *, n_samples=1, n_features=1024, random_state=0):
        super().__init__(model, bounds)
        self.q = check_integer(n_samples, "n_samples", 1)
        n_features, rng = check_integer(n_features, "n_features", 1), check_rng(random_state)
        self.paths = [self.surrogate.path(n_features, rng) for _ in range(self.q)]

    def separate(self) -> list[ThompsonSampling]:
        """One acquisition function for each point, of which this is the sum."""
        alone = []
        for path in self.paths:
            one = copy.copy(self)
            one.q, one.paths = 1, [path]
            alone.append(one)
        return alone

    def _value(self, X):
        return -sum(path(X[:, s])[0] for s, path in enumerate(self.paths))

    def _value_and_gradient(self, X):
        return self._value(X), -np.stack([path.gradient(X[:, s])[0] for s, path in enumerate(self.paths)], axis=1)
