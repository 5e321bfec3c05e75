"""What acquisition functions ask of a fitted regression."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast._backend import to_numpy
from lvmfast.models import GPR


class Surrogate:
    """A fitted :class:`lvmfast.GPR` of one output: means and variances of the noise-free function with gradients.

    Candidates and answers are NumPy arrays of float64; the arithmetic is done where the model's is.
    """

    def __init__(self, model):
        if not isinstance(model, GPR):
            raise TypeError(f"model must be a fitted lvmfast.GPR, got {model!r}")
        check_is_fitted(model)
        if model.y_train_.ndim != 1 and model.y_train_.shape[1] != 1:
            raise ValueError(f"model must be fitted to one output, got y of shape {model.y_train_.shape}")
        self.model = model
        self.posterior = model._posterior
        self.n_features = model.n_features_in_

    def mean_and_variance(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shapes (m,) and (m,)."""
        mean = to_numpy(self.posterior.mean_at(X))[:, 0]
        return mean, to_numpy(self.posterior.variance_at(X))

    def gradients(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of mean and variance, shapes (m, d) and (m, d)."""
        d_mean, d_variance = self.posterior.gradients_at(X)
        return to_numpy(d_mean)[:, :, 0], to_numpy(d_variance)
