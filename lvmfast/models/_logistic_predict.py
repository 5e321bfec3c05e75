"""Predictions and summaries of a logistic model: what does not depend on how it was fitted."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from lvmfast import _backend
from lvmfast._validation import as_matrix, check_integer, check_rng
from lvmfast.exceptions import NonFiniteError
from lvmfast.models._convergence import bulk_ess, rank_normalised_r_hat
from lvmfast.models._logistic_data import check_counts, per_row
from lvmfast.models._logistic_gibbs import ChainState
from lvmfast.models._logistic_posterior import Draws, Gaussian, sigmoid
from lvmfast.models._logistic_summary import Summary, inference_data
from lvmfast.models._logistic_vi import GaussianState


class LogisticPredictions:
    """A mixin: predictions from ``_posterior``, which a fit sets with the attributes that show it."""

    @_backend.memory_errors
    def predict_proba(self, X, per_draw=False):
        """``E[1 - sigmoid(f(x))]`` and ``E[sigmoid(f(x))]`` under the posterior, for counts those of one trial.

        Parameters
        ----------
        X : array of shape (m, q)
        per_draw : bool, default=False
            Whether probabilities of every draw are asked for, not their mean; only after "gibbs".

        Returns
        -------
        probabilities : array of shape (m, 2)
            Or (n_chains, draws, m, 2) with ``per_draw``. After "vi" the integrals over Gaussians are by quadrature.
        """
        design = self._design_at(X)
        if not per_draw:
            return self._out(self._posterior.probabilities(design), X)
        if not hasattr(self, "coef_draws_"):
            raise ValueError("per_draw must be False after method='vi', which draws nothing; fit with method='gibbs'")
        beta = _backend.like(self._draws.astype(np.float64), design)
        f = beta @ design.astype(np.float64).T
        xp = _backend.namespace(f)
        return self._out(xp.stack([sigmoid(-f), sigmoid(f)], axis=-1), X)

    def predict_log_proba(self, X):
        """The logarithms of :meth:`predict_proba`."""
        p = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return _backend.namespace(p).log(p)

    @_backend.memory_errors
    def decision_function(self, X):
        """Log-odds ``log(p / (1 - p))`` of :meth:`predict_proba`, (m,); above 0 ``classes_[1]`` is predicted."""
        p = self._posterior_at(X)
        xp = _backend.namespace(p)
        with np.errstate(divide="ignore"):
            return self._out(xp.log(p[:, 1]) - xp.log(p[:, 0]), X)

    @_backend.memory_errors
    def predict(self, X, *, n_trials=None, dispersion=None):
        """The label that is more probable, or the posterior mean of a count.

        Parameters
        ----------
        X : array of shape (m, q)
        n_trials : int or array of shape (m,), optional
            Of "binomial"; default that of the fit where it was one number.
        dispersion : float or array of shape (m,), optional
            Of "negative-binomial", likewise. The mean is ``r E[exp(f)]``.

        Returns
        -------
        y : array of shape (m,)
            Labels as NumPy has them; means are where X is.
        """
        if self._kind() == "bernoulli":
            p = _backend.to_numpy(self._posterior_at(X))
            return self.classes_[(p[:, 1] > p[:, 0]).astype(int)]
        design = self._design_at(X)
        other = _backend.like(self._other_at(len(design), n_trials, dispersion), design)
        if self.likelihood == "binomial":
            return self._out(other * self._posterior.probabilities(design)[:, 1], X)
        return self._out(other * self._posterior.odds(design), X)

    def score(self, X, y, sample_weight=None, *, n_trials=None, dispersion=None) -> float:
        """The accuracy for labels; for counts the mean of :meth:`log_predictive_density`."""
        if self._kind() == "bernoulli":
            return super().score(_backend.to_numpy(X), _backend.to_numpy(y), sample_weight)
        density = self.log_predictive_density(X, y, n_trials=n_trials, dispersion=dispersion)
        return float(np.average(density, weights=sample_weight))

    def log_predictive_density(self, X, y, *, n_trials=None, dispersion=None) -> np.ndarray:
        """``log E[p(y | f(x))]`` of every row under the posterior, in nats, constants included; NumPy, (m,)."""
        design = _backend.to_numpy(self._design_at(X))
        y = np.asarray(_backend.to_numpy(y))
        if y.shape != (len(design),):
            raise ValueError(f"y must have shape ({len(design)},), got {y.shape}")
        if self._kind() == "bernoulli":
            if not np.isin(y, self.classes_).all():
                raise ValueError(f"y must hold the labels {self.classes_.tolist()}, got others")
            return self._posterior.log_predictive("bernoulli", design, (y == self.classes_[1]).astype(float), None)
        other = self._other_at(len(design), n_trials, dispersion)
        pair = (other, None) if self.likelihood == "binomial" else (None, other)
        y, other = check_counts(self.likelihood, y, *pair)
        return self._posterior.log_predictive(self.likelihood, design, y, other)

    def sample_y(self, X, n_samples=1, random_state=0, *, n_trials=None, dispersion=None) -> np.ndarray:
        """Draws of new observations from the posterior predictive distribution.

        Parameters
        ----------
        X : array of shape (m, q)
        n_samples : int, default=1
            Each from a draw of the coefficients of its own, while there are as many.
        random_state : int, numpy random generator or None, default=0
        n_trials, dispersion
            As :meth:`predict` takes them.

        Returns
        -------
        y : array of shape (m, n_samples)
            Labels or counts, NumPy.
        """
        design = _backend.to_numpy(self._design_at(X)).astype(np.float64)
        n_samples, rng = check_integer(n_samples, "n_samples", 1), check_rng(random_state)
        if isinstance(rng, np.random.RandomState):
            rng = np.random.default_rng(np.frombuffer(rng.bytes(16), np.uint32))
        f = design @ self._posterior.sample(n_samples, rng).T
        if self._kind() == "bernoulli":
            return self.classes_[(rng.random(f.shape) < sigmoid(f)).astype(int)]
        other = self._other_at(len(design), n_trials, dispersion)[:, None]
        if self.likelihood == "binomial":
            return rng.binomial(other.astype(np.int64), sigmoid(f))
        return rng.negative_binomial(np.broadcast_to(other, f.shape), sigmoid(-f))

    def summary(self) -> Summary:
        """A table of the coefficients: mean, sd, 5 % and 95 % points, and after "gibbs" R-hat and ESS."""
        check_is_fitted(self)
        return Summary.of(self)

    def to_inference_data(self):
        """The draws as an ``arviz.InferenceData``: coef, intercept, and omega if it was kept. Needs ArviZ."""
        check_is_fitted(self)
        if not hasattr(self, "coef_draws_"):
            raise ValueError("to_inference_data needs draws; fit with method='gibbs'")
        return inference_data(self)

    # What a fit sets.

    def _set_draws(self, draws, omega) -> None:
        """The attributes of a "gibbs" fit, from draws (chains, draws, p)."""
        if not np.isfinite(draws).all():
            raise NonFiniteError(
                "a draw of the coefficients is not finite: scale the features, or raise prior_precision"
            )
        k = draws.shape[2] - bool(self.fit_intercept)
        self._draws = draws
        self.coef_draws_ = draws[:, :, :k]
        self.intercept_draws_ = draws[:, :, k] if self.fit_intercept else np.zeros(draws.shape[:2], draws.dtype)
        if omega is not None:
            self.omega_draws_ = omega if self._on_gpu else _backend.to_numpy(omega)
        flat = draws.reshape(-1, draws.shape[2])
        self._posterior = Draws(flat)
        self._set_means(flat.mean(axis=0, dtype=np.float64))
        self.r_hat_, self.ess_ = rank_normalised_r_hat(draws), bulk_ess(draws)
        self.n_iter_ = self._state.iteration

    def _set_gaussian(self, state: GaussianState) -> None:
        """The attributes of a "vi" fit."""
        self._state = state
        self._posterior = Gaussian(state.mean, state.precision_factor)
        self._set_means(state.mean)
        self.covariance_ = self._posterior.covariance()
        self.lower_bounds_ = np.array(state.bounds)
        self.lower_bound_ = state.bounds[-1]
        self.n_iter_ = len(state.bounds)

    def _set_means(self, mean) -> None:
        dtype = self._data.design.dtype
        k = len(mean) - bool(self.fit_intercept)
        self.coef_ = mean[None, :k].astype(dtype)
        self.intercept_ = (mean[k:] if self.fit_intercept else np.zeros(1)).astype(dtype)

    def _restore(self, draws=None, omega=None) -> None:
        """What a file does not hold, from ``_state`` and the draws."""
        if isinstance(self._state, ChainState):
            self._set_draws(draws, omega)
        else:
            self._set_gaussian(self._state)

    # From X to f.

    def _design(self, X) -> np.ndarray:
        """The features of X with the column of ones."""
        if self.basis is not None:
            features = as_matrix(self.basis(X), "basis(X)")
            if len(features) != len(X):
                raise ValueError(f"basis(X) must have a row for every row of X, {len(X)}, got {len(features)}")
            X = _backend.to_numpy(features).astype(X.dtype)
        if X.shape[1] == 0 and not self.fit_intercept:
            raise ValueError("basis(X) must have columns, or fit_intercept be True, got none")
        return np.hstack([X, np.ones((len(X), 1), X.dtype)]) if self.fit_intercept else X

    def _design_at(self, X):
        """The design matrix of new rows, on the device."""
        check_is_fitted(self)
        if _backend.is_gpu(X) and self.device_ != "cuda":
            _backend.module_for(X=X, training_data=self._data.design)
        if self._on_gpu and isinstance(X, (np.ndarray, list)):
            _backend.module_for(X=X, training_data=_backend.to_device(self._data.b, "cuda"))
        X = validate_data(self, _backend.to_numpy(X), reset=False, dtype=(np.float64, np.float32), order="C")
        design = self._design(X)
        p = self._data.design.shape[1]
        if design.shape[1] != p:
            raise ValueError(
                f"basis(X) must have {p - bool(self.fit_intercept)} columns as in fit, got "
                f"{design.shape[1] - bool(self.fit_intercept)}"
            )
        return _backend.to_device(design, _backend.usable_device(self.device_))

    def _posterior_at(self, X):
        design = self._design_at(X)  # first: it says if nothing is fitted
        return self._posterior.probabilities(design)

    def _kind(self) -> str:
        check_is_fitted(self)
        return self.likelihood

    def _other_at(self, m: int, n_trials, dispersion) -> np.ndarray:
        """The trials or the dispersion of new rows."""
        name = "n_trials" if self.likelihood == "binomial" else "dispersion"
        wrong, value = (dispersion, n_trials) if name == "n_trials" else (n_trials, dispersion)
        if wrong is not None:
            raise ValueError(f"for likelihood={self.likelihood!r} pass {name} only")
        if value is None:
            value = self._other
        if value is None:
            raise ValueError(f"{name} must be given for new rows, as it differed between the rows of the fit; got None")
        value = per_row(_backend.to_numpy(value), name, m, "of the new rows")
        if (value <= 0).any():
            raise ValueError(f"{name} must be > 0, got {value.min()}")
        return value

    def _out(self, values, like):
        """Results where X is, in the dtype of the fit."""
        return _backend.like(values, like).astype(self._data.design.dtype, copy=False)
