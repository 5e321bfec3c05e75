"""What every acquisition function has in common."""

from __future__ import annotations

import numpy as np

from lvmfast._validation import as_float_array
from lvmfast.bayesopt._bounds import check_bounds
from lvmfast.bayesopt._surrogate import Surrogate

__all__ = ["Acquisition"]


class Acquisition:
    """How much a candidate promises for the minimum of the modelled function: the larger, the better.

    What :class:`~lvmfast.kernels.White` adds to the kernel is noise of the observations, not part of the function. A
    later fit of the model changes nothing here.

    Parameters
    ----------
    model : lvmfast.GPR
        Fitted to one output.
    bounds : array of shape (d, 2)
        Lowest and highest value of each input.
    """

    q = 1  # points of a candidate

    def __init__(self, model, bounds):
        self.surrogate = Surrogate(model)
        self.bounds = check_bounds(bounds, self.surrogate.n_features)

    @property
    def model(self):
        """The regression that was passed."""
        return self.surrogate.model

    def __call__(self, X) -> np.ndarray:
        """Values (m,) at candidates X (m, d), or (m, q, d) where a candidate has several points."""
        return self._value(self._candidates(X))

    def value_and_gradient(self, X) -> tuple[np.ndarray, np.ndarray]:
        """Values (m,), and their derivatives by the candidates, of the shape of X."""
        X = as_float_array(X, "X")
        candidates = self._candidates(X)
        value, gradient = self._value_and_gradient(candidates)
        return value, gradient.reshape(X.shape)

    def maximize(self, **options):
        """The best candidate within the bounds; see :func:`lvmfast.bayesopt.maximize`."""
        from lvmfast.bayesopt._maximize import maximize

        return maximize(self, **options)

    def _candidates(self, X) -> np.ndarray:
        """X as float64 of shape (m, q, d)."""
        X = as_float_array(X, "X").astype(np.float64)
        d = self.surrogate.n_features
        if self.q == 1 and X.ndim == 2:
            X = X[:, None]
        if X.ndim != 3 or X.shape[1:] != (self.q, d):
            shape = f"(m, {d})" if self.q == 1 else f"(m, {self.q}, {d})"
            raise ValueError(f"X must have shape {shape}, got {X.shape}")
        if not np.isfinite(X).all():
            raise ValueError("X must be finite, got NaN or infinity")
        return np.ascontiguousarray(X)

    def _value(self, X: np.ndarray) -> np.ndarray:
        return self._value_and_gradient(X)[0]

    def _value_and_gradient(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (m,) and gradients (m, q, d) at X (m, q, d)."""
        raise NotImplementedError

    def _objective(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`maximize` climbs, with its gradient: the value; a subclass may take a logarithm of it instead."""
        return self._value_and_gradient(X)

    def _objective_value(self, X: np.ndarray) -> np.ndarray:
        return self._value(X)
