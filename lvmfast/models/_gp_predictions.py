"""What a Gaussian process answers once it is fitted, exact or sparse: means, deviations, covariances, draws."""

from __future__ import annotations

import functools

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data

from lvmfast import _backend
from lvmfast._validation import as_matrix, check_integer, check_rng
from lvmfast.exceptions import NonFiniteError
from lvmfast.models._matrices import add_to_diagonal


class GpAnswers:
    """Answers from ``self._posterior``, in the dtype and the shape of the targets, which ``_output`` tells."""

    def _output(self) -> tuple[np.dtype, bool]:
        """The dtype of the targets, and whether they were (n,)."""
        raise NotImplementedError

    def _fitted(self):
        try:
            return self._posterior
        except AttributeError:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before "
                "using this estimator."
            ) from None

    def _at(self, X) -> tuple:
        """The posterior, and new inputs as a float64 matrix; short for arrays that are right already."""
        posterior = self._fitted()
        if (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.shape[1] == self.n_features_in_
            and X.dtype == np.float64
            and X.flags.c_contiguous
            and len(X)
            and not hasattr(self, "feature_names_in_")
            and not getattr(self, "_on_gpu", False)
            and np.isfinite(X).all()
        ):
            return posterior, X
        if _backend.is_gpu(X) and posterior.device != "cuda":
            _backend.module_for(X=X, training_data=posterior.X)
        if getattr(self, "_on_gpu", False) and isinstance(X, (np.ndarray, list)):
            _backend.module_for(X=X, training_data=posterior.rows)
        X = _backend.to_numpy(X)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32), order="C")
        return posterior, as_matrix(X, "X", dtype=np.float64)

    def _own(self, array):
        """An array where the training data were."""
        if getattr(self, "_on_gpu", False):
            return _backend.to_device(array, _backend.usable_device("cuda"))
        return _backend.to_numpy(array)

    def _shaped(self, values, like=None):
        values = _backend.like(values, like)
        values = values.astype(self._output()[0], copy=False)
        return values[..., 0] if self._output()[1] else values

    def _drawn(self, X, n_samples, random_state):
        """Joint draws of latent functions, shape (m, n_samples) or (m, d, n_samples)."""
        given = X
        posterior, X = self._at(X)
        n_samples = check_integer(n_samples, "n_samples", 1)
        draws = posterior.sample(X, n_samples, check_rng(random_state))
        draws = _backend.like(_backend.namespace(draws).moveaxis(draws, 0, 2), given)
        draws = draws.astype(self._output()[0], copy=False)
        return draws[:, 0] if self._output()[1] else draws

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_posterior")


class GpPredictions(GpAnswers):
    """Those of regression with Gaussian noise."""

    @_backend.memory_errors
    def predict(self, X, return_std=False, return_cov=False, include_noise=False):
        """Posterior mean ``m(x) + k(x, X) C^-1 (y - m)``, with its standard deviation or covariance.

        Parameters
        ----------
        X : array of shape (m, q)
        return_std : bool, default=False
        return_cov : bool, default=False
            At most one of the two.
        include_noise : bool, default=False
            Whether they are those of new observations, or of the function; not where every row had its own noise.

        Returns
        -------
        mean : array of shape (m,) or (m, d)
        std : array of shape (m,) or (m, d)
            Only with ``return_std``.
        cov : array of shape (m, m) or (m, m, d)
            Only with ``return_cov``.
        """
        given = X
        posterior, X = self._at(X)
        if return_std and return_cov:
            raise ValueError("return_std and return_cov must not both be true; ask for one of them")
        out = functools.partial(self._shaped, like=given)
        mean = out(finite(posterior.mean_at(X)))
        if not (return_std or return_cov):
            return mean
        noise = self._new_noise() if include_noise else 0.0
        xp = _backend.namespace(posterior.L)
        if return_std:
            with np.errstate(invalid="ignore", over="ignore"):
                variance = finite(posterior.variance_at(X))
            std = xp.sqrt(variance + noise)
            return mean, out(xp.repeat(std[:, None], posterior.n_outputs, axis=1))
        with np.errstate(invalid="ignore", over="ignore"):
            covariance = finite(posterior.covariance_at(X))
        add_to_diagonal(covariance, noise)
        return mean, out(xp.repeat(covariance[:, :, None], posterior.n_outputs, axis=2))

    @_backend.memory_errors
    def sample_y(self, X, n_samples=1, random_state=0) -> np.ndarray:
        """Joint draws of the function's values at ``X``.

        Parameters
        ----------
        X : array of shape (m, q)
        n_samples : int, default=1
        random_state : int, numpy.random.Generator or None, default=0

        Returns
        -------
        samples : array of shape (m, n_samples) or (m, d, n_samples)
        """
        return self._drawn(X, n_samples, random_state)

    def _new_noise(self) -> float:
        if np.ndim(self.noise_variance_):
            raise ValueError(
                "include_noise must be False where every training row had its own noise_variance: that of a new row is "
                "not known; add it to the variance"
            )
        return self.noise_variance_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = False
        return tags


def finite(values):
    """``values``, if they are finite."""
    if not _backend.namespace(values).isfinite(values).all():
        raise NonFiniteError("the prediction is not finite: the kernel overflows at these inputs; rescale X")
    return values
