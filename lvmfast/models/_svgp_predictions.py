"""What a stochastic variational Gaussian process answers once it is fitted."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_integer, check_rng
from lvmfast.likelihoods import Gaussian
from lvmfast.likelihoods._nodes import gauss_hermite
from lvmfast.models._gp_predictions import GpAnswers, finite
from lvmfast.models._svgp_fit import densities
from lvmfast.models._svgp_posterior import VariationalPaths
from lvmfast.models._svgp_setup import known_of
from lvmfast.models._svgp_target import CLASSES, IDENTITY, kind_of

NODES = 50  # of Gauss-Hermite quadrature for the variance of a mean

__all__ = ["SvgpPredictions", "classifies"]


def classifies(model) -> bool:
    """Whether the likelihood of an estimator is one of classes."""
    kind = kind_of(model.likelihood)
    return kind is not None and issubclass(kind, CLASSES)


def _of_classes(model) -> bool:
    if classifies(model):
        return True
    raise AttributeError(f"likelihood must be one of classes for this, got {model.likelihood!r}; use predict")


class SvgpPredictions(GpAnswers):
    """Predictions from ``self._posterior`` and ``self.likelihood_``."""

    @_backend.memory_errors
    def predict(
        self, X, return_std=False, return_cov=False, include_noise=False, *, noise_variance=None, exposure=None
    ):
        """Mean of y, ``E g(f(x))`` with ``g(f) = E(y | f)``, or the most probable class.

        Parameters
        ----------
        X : array of shape (m, q)
        return_std : bool, default=False
            Not for classes, like the next two.
        return_cov : bool, default=False
            Where y is f and noise (Gaussian, StudentT); at most one of the two.
        include_noise : bool, default=False
            Whether they are those of new observations y, or of ``g(f(x))``: of the function itself where y is f and
            noise.
        noise_variance, exposure : array of shape (m,), optional
            What is known of the new points, as for :meth:`fit`; default exposure 1.

        Returns
        -------
        mean : array of shape (m,) or (m, d)
            Labels of a classifier; numbers are where X is, other labels on the CPU.
        std : array of shape (m,) or (m, d)
            Only with ``return_std``.
        cov : array of shape (m, m) or (m, m, d)
            Only with ``return_cov``.
        """
        if return_std and return_cov:
            raise ValueError("return_std and return_cov must not both be true; ask for one of them")
        if classifies(self):
            if return_std or return_cov:
                raise ValueError("return_std and return_cov must be false for classes; use predict_proba or predict_f")
            best = _backend.to_numpy(self.predict_proba(X)).argmax(axis=1)
            labels = self.classes_[best]
            return _backend.like(labels, X) if labels.dtype.kind in "biuf" else labels
        posterior, rows = self._at(X)
        identity = isinstance(self.likelihood_, IDENTITY)
        if return_cov and not identity:
            raise ValueError(
                f"return_cov must be False for {type(self.likelihood_).__name__}, where y is not f and noise; use "
                "sample(X), or ask for the covariance of f with pathwise_samples"
            )
        mean_f = finite(posterior.mean_at(rows))
        if identity and not (return_std or return_cov):
            self._known(len(rows), noise_variance, exposure, needed=False)
            return self._shaped(mean_f, X)
        known = self._known(len(rows), noise_variance, exposure, needed=include_noise)
        variance_f = posterior.variance_at(rows)
        mean, spread = (mean_f, variance_f) if identity else self.likelihood_.predict(mean_f, variance_f, **known)
        if not (return_std or return_cov):
            return self._shaped(mean, X)
        xp = _backend.namespace(mean)
        if include_noise:
            spread = self.likelihood_.predict(mean_f, variance_f, **known)[1]
        elif not identity:
            spread = self._variance_of_mean(mean_f, variance_f, mean, known)
        if return_std:
            return self._shaped(mean, X), self._shaped(xp.sqrt(spread), X)
        covariance = finite(posterior.covariance_at(rows))
        every = xp.arange(len(rows))
        covariance[:, every, every] = spread.T
        return self._shaped(mean, X), self._shaped(xp.moveaxis(covariance, 0, 2), X)

    def _variance_of_mean(self, mean, variance, expected, known):
        """``Var g(f)`` with ``g(f) = E(y | f)``, by quadrature: (n, P)."""
        nodes, weights, _ = gauss_hermite(NODES)
        xp = _backend.namespace(mean)
        total, root = xp.zeros(mean.shape), xp.sqrt(variance)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            given = self.likelihood_.predict(mean + node * root, xp.zeros(mean.shape), **known)[0]
            total += weight * (given - expected) ** 2
        return total

    @_backend.memory_errors
    def predict_f(self, X):
        """Posterior mean and variance of the latent functions, each of shape (m,), or (m, P) where there are several.

        Parameters
        ----------
        X : array of shape (m, q)
        """
        posterior, rows = self._at(X)
        return tuple(self._shaped(finite(part), X) for part in (posterior.mean_at(rows), posterior.variance_at(rows)))

    @available_if(_of_classes)
    @_backend.memory_errors
    def predict_proba(self, X):
        """``E p(y = c | f(x))`` under the posterior of f, shape (m, K), in the order of ``classes_``."""
        posterior, rows = self._at(X)
        mean, variance = finite(posterior.mean_at(rows)), posterior.variance_at(rows)
        if self.likelihood_.n_latents == 1:
            mean, variance = mean[:, 0], variance[:, 0]
        p = _backend.like(self.likelihood_.predict_proba(mean, variance), X)
        return (p / p.sum(axis=1, keepdims=True)).astype(self._dtype, copy=False)

    @available_if(_of_classes)
    @_backend.memory_errors
    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`."""
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return _backend.namespace(p).log(p)

    @available_if(_of_classes)
    @_backend.memory_errors
    def decision_function(self, X):
        """What is largest for the predicted class, shape (m, K): logarithms of probabilities.

        Of two classes, shape (m,), above 0 for the second: the difference of the two, log odds.
        """
        log_p = self.predict_log_proba(X)
        return log_p if log_p.shape[1] > 2 else log_p[:, 1] - log_p[:, 0]

    @_backend.memory_errors
    def log_predictive_density(self, X, y, *, noise_variance=None, exposure=None):
        """``log E p(y_i | f(x_i))`` of new observations under the posterior of f, one by one, in nats.

        Parameters
        ----------
        X : array of shape (m, q)
        y : array of shape (m,) or (m, d)
            Labels of a classifier.
        noise_variance, exposure : array of shape (m,), optional
            What is known of the new points.

        Returns
        -------
        density : array of shape (m,) or (m, d)
        """
        posterior, rows = self._at(X)
        y, (count, P) = _backend.to_numpy(y), (len(rows), posterior.n_outputs)
        if classifies(self):
            y = self._target().encode(np.asarray(y))
        y = as_float_array(y, "y").astype(np.float64)
        shape = (count,) if self._single else (count, P)
        if y.shape != shape:
            raise ValueError(f"y must have shape {shape}, got {y.shape}")
        known = self._known(count, noise_variance, exposure, needed=True)
        density = densities(posterior, self.likelihood_, rows, y, next(iter(known.values()), None))
        density = _backend.like(density.reshape(shape), X)
        return density.astype(self._dtype, copy=False)

    @_backend.memory_errors
    def sample(self, X, n_samples=1, random_state=0, *, observations=False, noise_variance=None, exposure=None):
        """Joint draws of the latent functions' values at ``X``, or of new observations there.

        Parameters
        ----------
        X : array of shape (m, q)
        n_samples : int, default=1
        random_state : int, numpy.random.Generator or None, default=0
        observations : bool, default=False
            Whether y is drawn, given each draw of f.
        noise_variance, exposure : array of shape (m,), optional
            What is known of the new points.

        Returns
        -------
        samples : array of shape (m, n_samples), or (m, P, n_samples) where there are several latent functions
            Observations: (m, n_samples) or (m, d, n_samples), labels of a classifier.
        """
        rng = check_rng(random_state)
        if not observations:
            return self._drawn(X, n_samples, rng)
        posterior, rows = self._at(X)
        f = posterior.sample(rows, check_integer(n_samples, "n_samples", 1), rng)
        known = {
            name: np.broadcast_to(_backend.to_numpy(value), f.shape)
            for name, value in self._known(len(rows), noise_variance, exposure, needed=True).items()
        }
        f = _backend.to_numpy(f)
        draws = self.likelihood_.sample(f, rng=rng, **known)
        if self.likelihood_.n_latents > 1:
            draws = draws[:, :, None]
        draws = np.moveaxis(draws, 0, 2)
        draws = draws[:, 0] if self._single else draws
        if classifies(self):
            labels = self.classes_[draws.astype(np.int64)]
            return _backend.like(labels, X) if labels.dtype.kind in "biuf" else labels
        return _backend.like(draws.astype(self._dtype, copy=False), X)

    def pathwise_samples(self, n_samples=1, *, n_features=1024, random_state=None) -> VariationalPaths:
        """Functions drawn from the posterior, which can be evaluated anywhere, again and again.

        ``f(x) + k(x, Z) k(Z, Z)^-1 (u - f(Z))`` with f a draw from the prior made of ``n_features`` random functions
        per term of the kernel and u one from q(u) (Matheron's rule).

        Parameters
        ----------
        n_samples : int, default=1
        n_features : int, default=1024
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        paths : callable
            ``paths(X)`` has shape (n_samples, m), or (n_samples, m, P) where there are several latent functions.

        References
        ----------
        Wilson et al. (2020), "Efficiently sampling functions from Gaussian process posteriors", eq. 13.
        """
        posterior = self._fitted()
        n_samples, n_features = check_integer(n_samples, "n_samples", 1), check_integer(n_features, "n_features", 1)
        names = getattr(self, "feature_names_in_", None)
        rng = check_rng(random_state)
        return VariationalPaths(posterior, n_samples, n_features, rng, *self._output(), names)

    def inducing_posterior(self):
        """q(u), the Gaussian posterior of the latent functions' values at ``inducing_`` (the mean function included).

        Returns
        -------
        mean : array of shape (m,), or (m, P) where there are several latent functions
        cov : array of shape (m, m) or (P, m, m)
            Both float64.
        """
        mean, cov = (self._own(values) for values in self._fitted().inducing())
        return (mean[:, 0], cov[0]) if self._output()[1] else (mean, cov)

    def score(self, X, y, sample_weight=None, *, exposure=None):
        """R^2 of :meth:`predict`, or its accuracy where the likelihood is one of classes."""
        y, found = (np.asarray(_backend.to_numpy(a)) for a in (y, self.predict(X, exposure=exposure)))
        return (accuracy_score if classifies(self) else r2_score)(y, found, sample_weight=sample_weight)

    def _known(self, rows: int, noise_variance, exposure, *, needed: bool) -> dict:
        """What is known of new points for the likelihood: {} or an array (rows, 1) by its name, where f is."""
        kind = type(self.likelihood_)
        name, value = known_of(kind, noise_variance=noise_variance, exposure=exposure)
        if value is None:
            if needed and self._own_noise and kind is Gaussian:
                raise ValueError(
                    "noise_variance must be given where every training row had its own: an array of shape "
                    f"({rows},), got None"
                )
            return {}
        value = as_float_array(_backend.to_numpy(value), name).astype(np.float64)
        if value.shape not in ((), (rows,), (rows, 1)):
            raise ValueError(f"{name} must have shape ({rows},), got {value.shape}")
        if not (np.isfinite(value).all() and (value > 0).all()):
            raise ValueError(f"{name} must be finite and > 0, got {value.min()} as the least")
        value = np.broadcast_to(value.reshape(-1, 1), (rows, 1))
        return {name: self._posterior.there(np.ascontiguousarray(value))}

    def _output(self) -> tuple[np.dtype, bool]:
        return self._dtype, self._posterior.n_outputs == 1 and self._single
