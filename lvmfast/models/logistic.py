"""Bayesian logistic regression in weight space with Pólya-gamma variables, as a scikit-learn estimator."""

from __future__ import annotations

import copy
import dataclasses
import time
import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._interrupt import deferred_interrupt
from lvmfast._validation import check_callback, check_choice, check_integer, check_positive, check_rng
from lvmfast.exceptions import FitInterruptedWarning
from lvmfast.models._logistic_data import (
    LIKELIHOODS,
    Prior,
    binary_labels,
    check_counts,
    check_proper,
    make_data,
)
from lvmfast.models._logistic_file import load_logistic, save_logistic
from lvmfast.models._logistic_gibbs import ChainState, GibbsSampler
from lvmfast.models._logistic_predict import LogisticPredictions
from lvmfast.models._logistic_vi import CoordinateAscent

__all__ = ["LogisticStatus", "PolyaGammaLogisticRegression"]

# What a fit sets, and the next one sets anew.
FITTED = ("classes_", "coef_", "intercept_", "coef_draws_", "intercept_draws_", "omega_draws_", "r_hat_", "ess_")
FITTED += ("covariance_", "lower_bound_", "lower_bounds_", "n_iter_", "device_", "n_features_in_", "feature_names_in_")
FITTED += ("_data", "_prior", "_state", "_draws", "_posterior", "_other", "_on_gpu")


@dataclasses.dataclass
class LogisticStatus:
    """What a callback is told, after every draw that is kept or every iteration of "vi".

    Attributes
    ----------
    iteration : int
        Iterations so far, of each chain, those of the burn-in included.
    n_draws : int
        Draws kept so far, of each chain; 0 for "vi".
    elapsed : float
        Seconds since the call began.
    lower_bound : float or None
        Of "vi".
    """

    iteration: int
    n_draws: int
    elapsed: float
    lower_bound: float | None = None


class PolyaGammaLogisticRegression(LogisticPredictions, ClassifierMixin, BaseEstimator):
    r"""Bayesian logistic regression with a Gaussian prior, for labels and for counts:

    ``p(y | beta) = prod_i c_i exp(a_i f_i) / (1 + exp(f_i))^b_i``, ``f = Phi beta``, ``beta ~ N(m, S^-1)``.

    ========================  =======  ===========  =====================================================
    likelihood                a        b            y
    ========================  =======  ===========  =====================================================
    "bernoulli"               y        1            one of two labels, ``p(y = 1) = sigmoid(f)``
    "binomial"                y        n_trials     successes among ``n_trials``
    "negative-binomial"       y        y + r        counts of mean ``r exp(f)``, variance ``mean + mean^2 / r``
    ========================  =======  ===========  =====================================================

    Given Pólya-gamma variables ``omega_i ~ PG(b_i, f_i)`` the coefficients are Gaussian; on this "gibbs" and "vi" rest.

    Parameters
    ----------
    prior_precision : float >= 0, or array of shape (p,) or (p, p), default=1.0
        S: a multiple of the identity, its diagonal, or all of it. There are p coefficients, of the k features and with
        ``fit_intercept`` of the intercept, the last. S may be singular, also zero, where the posterior still is proper.
    prior_mean : float or array of shape (p,), default=0.0
        m.
    fit_intercept : bool, default=True
        Whether a column of ones is added to the features.
    basis : callable, optional
        ``basis(X)`` (n, k) gives the features; by default they are X.
    likelihood : {"bernoulli", "binomial", "negative-binomial"}, default="bernoulli"
    method : {"gibbs", "vi"}, default="gibbs"
        Draws from the posterior by Gibbs sampling, or a Gaussian approximation by coordinate ascent with a lower bound
        on the evidence.
    n_samples : int, default=1000
        Draws kept of each chain.
    burn_in : int, default=500
        Iterations of each chain before.
    thin : int, default=1
        Every ``thin``-th iteration is kept.
    n_chains : int, default=4
        Chains that run beside each other from different starts, each with its own random numbers. A chain does not
        change with the number of chains.
    keep_omega : bool, default=False
        Whether the draws of omega are kept as well.
    max_iter : int, default=1000
        Of "vi".
    tol : float, default=1e-8
        "vi" ends when an iteration raises the bound by less than this part of it.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` with a :class:`LogisticStatus`; a true answer ends the fit.
    random_state : int, numpy random generator or None
        Of the chains.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where the arithmetic is done. "auto": where X is.

    Attributes
    ----------
    classes_ : array of shape (2,)
        The labels, sorted; 0 and 1 for counts.
    coef_ : array of shape (1, k)
    intercept_ : array of shape (1,)
        Posterior means.
    coef_draws_ : array of shape (n_chains, draws, k)
    intercept_draws_ : array of shape (n_chains, draws)
        Of "gibbs"; NumPy arrays of the dtype of X on every device. Without an intercept zeros.
    omega_draws_ : array of shape (n_chains, draws, rows)
        With ``keep_omega``, where X was; rows without weight are left out.
    r_hat_, ess_ : arrays of shape (p,)
        Of "gibbs": rank-normalised split R-hat and bulk effective sample size, of the intercept last.
    covariance_ : array of shape (p, p)
        Of "vi".
    lower_bound_ : float
        Of "vi": ``lower_bound_ <= log p(y)`` in nats, all constants included; where the prior is flat its density is
        taken as 1.
    lower_bounds_ : array
        After every iteration; it never falls but by rounding.
    n_iter_ : int
        Iterations, of each chain.
    device_ : str
    n_features_in_ : int
    feature_names_in_ : array
        Where X had column names.

    Notes
    -----
    An iteration costs n Pólya-gamma draws, ``n p^2 / 2`` multiply-adds and ``p^3 / 6`` for a Cholesky factor. A seed
    gives the same draws for any number of threads.

    References
    ----------
    N. G. Polson, J. G. Scott, J. Windle, Bayesian inference for logistic models using Pólya-Gamma latent variables
    (JASA 108, 2013), section 3.1, where the prior mean enters as ``S m``. J. W. Pillow, J. G. Scott, Fully Bayesian
    inference for neural models with negative-binomial spiking (NIPS 2012). "vi":
    :class:`lvmfast.models._logistic_vi.CoordinateAscent`.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 2))
    >>> y = X[:, 0] + rng.logistic(size=200) > 0
    >>> model = lvm.PolyaGammaLogisticRegression(random_state=0).fit(X, y)
    >>> bool(0.5 < model.coef_[0, 0] < 2 and model.r_hat_.max() < 1.01)
    True
    """

    def __init__(
        self,
        prior_precision=1.0,
        *,
        prior_mean=0.0,
        fit_intercept=True,
        basis=None,
        likelihood="bernoulli",
        method="gibbs",
        n_samples=1000,
        burn_in=500,
        thin=1,
        n_chains=4,
        keep_omega=False,
        max_iter=1000,
        tol=1e-8,
        verbose=0,
        callback=None,
        random_state=None,
        device="auto",
    ):
        self.prior_precision = prior_precision
        self.prior_mean = prior_mean
        self.fit_intercept = fit_intercept
        self.basis = basis
        self.likelihood = likelihood
        self.method = method
        self.n_samples = n_samples
        self.burn_in = burn_in
        self.thin = thin
        self.n_chains = n_chains
        self.keep_omega = keep_omega
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.callback = callback
        self.random_state = random_state
        self.device = device

    @_backend.memory_errors
    def fit(self, X, y, sample_weight=None, *, n_trials=None, dispersion=None) -> PolyaGammaLogisticRegression:
        """Draw from the posterior, or approximate it.

        Ctrl-C keeps what was drawn, with a :class:`FitInterruptedWarning`; :meth:`resume` goes on as if nothing had
        been. Before the first draw was kept it is passed on, and the model is as it was.

        Parameters
        ----------
        X : array of shape (n, q)
            A float32 X is fitted in float32, but for the p x p systems.
        y : array of shape (n,)
            Two labels, or counts.
        sample_weight : array of shape (n,), optional
            Powers of the rows' likelihoods, >= 0.
        n_trials : int or array of shape (n,)
            Of "binomial".
        dispersion : float or array of shape (n,)
            r > 0 of "negative-binomial".

        Returns
        -------
        self : PolyaGammaLogisticRegression

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data, and where there is no posterior: a singular ``prior_precision`` with data that
            are linearly separable or do not determine the coefficients. The model is then as it was.
        NotPositiveDefiniteError
            If the posterior precision has no Cholesky factor.
        """
        self._check_parameters()
        new = copy.copy(self)
        for name in FITTED:
            vars(new).pop(name, None)
        new.device_ = _backend.check_device(self.device, X, y)
        new._on_gpu = _backend.is_gpu(X)
        data, prior = new._prepare(X, y, sample_weight, n_trials, dispersion)
        check_proper(data, prior)
        new._data, new._prior = data, prior
        if self.method == "gibbs":
            new._state = ChainState.start(data, prior, self.n_chains, check_rng(self.random_state))
            interrupted = new._sample(self.n_samples, burn_in=self.burn_in)
        else:
            new._state = None
            interrupted = new._ascend(self.max_iter)
        for name in FITTED:
            vars(self).pop(name, None)
        vars(self).update(vars(new))
        if interrupted:
            _warn_interrupted(self.n_iter_)
        return self

    @_backend.memory_errors
    def resume(self, n=None) -> PolyaGammaLogisticRegression:
        """Go on where the fit ended: ``n`` more draws of each chain, or ``n`` more iterations of "vi".

        Draws are those of one longer fit, bit for bit on the CPU.

        Parameters
        ----------
        n : int, optional
            Default: ``n_samples``, or ``max_iter``.
        """
        check_is_fitted(self)
        self._check_parameters()
        gibbs = hasattr(self, "coef_draws_")
        n = check_integer(n, "n", 0) if n is not None else self.n_samples if gibbs else self.max_iter
        new = copy.copy(self)
        new.device_ = _backend.usable_device(self.device_)
        if gibbs:
            new._state = self._state.copy()
        interrupted = new._sample(n) if gibbs else new._ascend(n)
        vars(self).update(vars(new))
        if interrupted:
            _warn_interrupted(self.n_iter_)
        return self

    def continue_sampling(self, n_samples) -> PolyaGammaLogisticRegression:
        """``n_samples`` more draws of each chain of a "gibbs" fit; see :meth:`resume`."""
        check_is_fitted(self, "coef_draws_", msg="continue_sampling needs a fit with method='gibbs'; call fit first")
        return self.resume(n_samples)

    def itergibbs(self, X, y, sample_weight=None, *, n_trials=None, dispersion=None) -> Iterator[tuple]:
        """An iterator, without end, over the states ``(beta, omega)`` of the first chain of :meth:`fit`.

        Nothing is fitted, and nothing but the present state is kept; each state is one compiled call.

        Parameters
        ----------
        X, y, sample_weight, n_trials, dispersion
            As :meth:`fit` takes them.

        Yields
        ------
        beta : array of shape (p,)
            The intercept last.
        omega : array of shape (n,)
            From which beta was drawn.

        Examples
        --------
        >>> import itertools
        >>> import numpy as np
        >>> import lvmfast as lvm
        >>> X, y = np.array([[-1.0], [0.5], [2.0]]), [0, 1, 1]
        >>> states = lvm.PolyaGammaLogisticRegression(random_state=0).itergibbs(X, y)
        >>> [beta.shape for beta, omega in itertools.islice(states, 2)]
        [(2,), (2,)]
        """
        self._check_parameters()
        new = copy.copy(self)
        new.device_ = _backend.check_device(self.device, X, y)
        data, prior = new._prepare(X, y, sample_weight, n_trials, dispersion)
        check_proper(data, prior)
        state = ChainState.start(data, prior, 1, check_rng(self.random_state))
        sampler = GibbsSampler(data, prior, state, new.device_)
        return _states(sampler, like=X)

    def save(self, path) -> None:
        """Write the fitted model, its data included, to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_logistic(self, path)

    @classmethod
    def load(cls, path) -> PolyaGammaLogisticRegression:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_logistic(cls, path)

    # How a fit runs.

    def _sample(self, n: int, burn_in: int = 0) -> bool:
        """``n`` more draws after ``burn_in`` iterations; whether Ctrl-C came between."""
        begun = time.perf_counter()
        state, data = self._state, self._data
        sampler = GibbsSampler(data, self._prior, state, self.device_)
        before = getattr(self, "_draws", np.empty((len(state.beta), 0, state.beta.shape[1]), sampler.dtype))
        done = before.shape[1]
        draws = np.empty((len(before), done + n, before.shape[2]), sampler.dtype)
        draws[:, :done] = before
        omega = None
        if self.keep_omega or hasattr(self, "omega_draws_"):
            xp = _backend.namespace_on(self.device_)
            omega = xp.empty((len(before), done + n, len(data.b)), sampler.dtype)
            if done:
                omega[:, :done] = _backend.to_device(self.omega_draws_, self.device_)
        filled, interrupted = done, False
        bar = tqdm(total=burn_in + n * self.thin, disable=not self.verbose, desc=type(self).__name__)

        def report(iterations, reached):
            nonlocal filled
            filled = reached
            bar.update(iterations)
            if self.callback is None:
                return False
            return bool(self.callback(LogisticStatus(state.iteration, filled, time.perf_counter() - begun)))

        with bar, deferred_interrupt() as check:
            sampler.burn_in(burn_in, check, bar.update)
            try:
                sampler.sample(draws, omega, done, self.thin, check, report, self.callback is not None)
            except KeyboardInterrupt:
                if filled == 0:
                    raise
                interrupted = True
        self._set_draws(draws[:, :filled], omega if omega is None else omega[:, :filled])
        return interrupted

    def _ascend(self, n: int) -> bool:
        """``n`` more iterations of "vi"; whether Ctrl-C came between."""
        begun = time.perf_counter()
        ascent = CoordinateAscent(self._data, self._prior, self.device_)
        last, interrupted = self._state, False
        bar = tqdm(total=n, disable=not self.verbose, desc=type(self).__name__)
        with bar, deferred_interrupt() as check:

            def on_iteration(state):
                nonlocal last
                last = state
                bar.update()
                bar.set_postfix(bound=f"{state.bounds[-1]:.4f}")
                check()
                if self.callback is None:
                    return False
                elapsed = time.perf_counter() - begun
                return bool(self.callback(LogisticStatus(len(state.bounds), 0, elapsed, state.bounds[-1])))

            converged = False
            try:
                last, converged = ascent.run(last, n, self.tol, on_iteration)
            except KeyboardInterrupt:
                if last is None:
                    raise
                interrupted = True
        self._set_gaussian(last)
        if not (converged or interrupted or self.callback):
            warnings.warn(
                f"the bound still rises after {self.n_iter_} iterations: raise max_iter or tol, or call resume()",
                ConvergenceWarning,
                stacklevel=4,
            )
        return interrupted

    # What may be passed.

    def _check_parameters(self) -> None:
        check_choice(self.likelihood, "likelihood", LIKELIHOODS)
        check_choice(self.method, "method", ("gibbs", "vi"))
        for name, least in (("n_samples", 1), ("burn_in", 0), ("thin", 1), ("n_chains", 1), ("max_iter", 1)):
            check_integer(getattr(self, name), name, least)
        for name in ("fit_intercept", "keep_omega"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.basis is not None and not callable(self.basis):
            raise TypeError(f"basis must be callable, got {self.basis!r}")
        check_positive(self.tol, "tol", zero=True)
        check_callback(self.callback)
        check_rng(self.random_state)

    def _prepare(self, X, y, sample_weight, n_trials, dispersion):
        """The data and the prior from what ``fit`` is given; sets what is known of X and y."""
        _backend.module_for(X=X, y=y)
        X, y = validate_data(
            self, _backend.to_numpy(X), _backend.to_numpy(y), dtype=(np.float64, np.float32), order="C"
        )
        if self.likelihood == "bernoulli":
            if n_trials is not None or dispersion is not None:
                raise ValueError("n_trials and dispersion must be None for likelihood='bernoulli'; set likelihood")
            self.classes_, y = binary_labels(y)
            other = None
        else:
            self.classes_ = np.array([0, 1])
            trials = (None if a is None else _backend.to_numpy(a) for a in (n_trials, dispersion))
            y, other = check_counts(self.likelihood, y, *trials)
            self._other = float(other[0]) if (other == other[0]).all() else None
        design = self._design(X)
        weights = None if sample_weight is None else _backend.to_numpy(sample_weight)
        data = make_data(self.likelihood, design, y, other, weights)
        return data, Prior.of(self.prior_mean, self.prior_precision, design.shape[1])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coef_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _states(sampler: GibbsSampler, like):
    state, rows = sampler.state, len(sampler.data.b)
    xp = _backend.namespace_on(sampler.device)
    while True:
        beta = np.empty((1, 1, state.beta.shape[1]), sampler.dtype)
        omega = xp.empty((1, 1, rows), sampler.dtype)
        sampler.run(1, 1, 0, beta, omega)
        yield beta[0, 0], _backend.like(omega[0, 0], like)


def _warn_interrupted(iterations: int) -> None:
    warnings.warn(
        f"the fit was interrupted after {iterations} iterations; the model holds what was reached, and resume() goes "
        "on",
        FitInterruptedWarning,
        stacklevel=4,
    )
