"""Gaussian process classification with Polya-gamma variables as a scikit-learn estimator."""

from __future__ import annotations

import copy
import time
import zlib

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._interrupt import deferred_interrupt
from lvmfast._validation import check_integer, check_rng
from lvmfast.exceptions import NonFiniteError
from lvmfast.models._gp_classifier_checks import check_inputs, check_labels, check_parameters, check_rows
from lvmfast.models._gp_classifier_file import load_classifier, save_classifier
from lvmfast.models._gp_classifier_fit import StreamState
from lvmfast.models._gp_classifier_posterior import GibbsPosterior
from lvmfast.models._gp_classifier_work import Found, GpcStatus, Work

__all__ = ["GpcStatus", "PolyaGammaGPClassifier"]


def _takes_pieces(model) -> bool:
    """Whether there is a partial_fit."""
    if model.method == "vi" and model.inducing is not None:
        return True
    raise AttributeError(
        f"partial_fit needs method='vi' and inducing inputs, got method={model.method!r} and "
        f"inducing={model.inducing!r}; set inducing to a number or an array"
    )


class PolyaGammaGPClassifier(ClassifierMixin, BaseEstimator):
    r"""Binary Gaussian process classification:

    ``p(y_i = 1 | f) = sigma(f(x_i))``, ``f ~ GP(m, k)``,

    by a variational bound or by Gibbs sampling, both with Polya-gamma variables:

    ``p(y | f) = 1/2 exp(kappa f) E exp(-omega f^2 / 2)``, ``kappa = y - 1/2``, ``omega ~ PG(1, 0)``.

    Parameters
    ----------
    kernel : lvmfast.kernels.Kernel, optional
        Any kernel; where its parameters start. Default: RBF with variance 4 and one lengthscale per input, from its
        spread.
    mean : float, default=0
        The constant m, on the scale of log odds.
    method : {"vi", "gibbs"}, default="vi"
        "vi": q(f) Gaussian, all updates in closed form. "gibbs": draws of the exact posterior of f.
    inducing : int, array of shape (M, q) or None, default=None
        For "vi": None keeps all rows, O(n^3) a step. A number of inducing inputs, placed by k-means, or the inputs
        themselves: O(n M^2).
    batch_size : int, optional
        With ``inducing``: natural gradient steps with so many rows, and Adam for what is learned. None takes all rows
        at every step, and L-BFGS.
    max_iter : int, default=100
        Of the optimizer, of updates of q where nothing is learned, or of passes over the data with ``batch_size``.
    optimize : bool, default=True
        Whether the kernel's free parameters, and inducing inputs, maximise the bound (plus the log densities of their
        priors). With "gibbs" this comes before sampling.
    n_samples : int, default=1000
        Draws kept of every chain.
    burn_in : int, default=200
        Iterations before the first of these.
    thin : int, default=1
        Iterations from one kept draw to the next.
    n_chains : int, default=4
        Each starts with a draw of the prior.
    step_size : float in (0, 1], optional
        Of natural gradient steps with batches; default ``(t + 1)**-0.6`` at step t = 0, 1, ...
    learning_rate : float, default=0.01
        Of Adam with batches.
    tol : float, default=1e-6
        Stop when the gradient of the bound per row is below it, or an iteration gains less than a thousandth of it per
        row. Not with ``batch_size``.
    warm_start : bool, default=False
        Whether ``fit`` goes on where the last one, with the same data and settings, ended: to a larger ``max_iter`` or
        ``n_samples``, or after an interrupt. The result has the bits of a fit that never stopped.
    random_state : int, numpy.random.Generator or None
        For chains, k-means and batches.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every iteration (of chains: every 0.1 s) with a :class:`GpcStatus`; a true answer
        stops the fit.
    device : {"auto", "cpu", "cuda"}, default="auto"
        As for :class:`lvmfast.GPR`.

    Attributes
    ----------
    classes_ : array of shape (2,)
        p(y = 1) is that of the second.
    kernel_ : kernel
        With its fitted parameters.
    lower_bound_ : float
        On log p(y), in nats, all constants included; with ``batch_size`` the mean of its estimates over the last pass.
        Of "gibbs": that of the stage before it, None without.
    lower_bounds_ : array
        Of every iteration.
    f_draws_ : array of shape (n_chains, n_samples, n)
        Of "gibbs": f at the training inputs.
    inducing_points_ : array of shape (M, q)
        With ``inducing``.
    X_train_ : array of shape (n, q)
        Without ``inducing``: a copy.
    jitter_ : float
        What was added to the diagonal of a kernel matrix.
    device_ : str
    n_iter_ : int
    converged_ : bool
    message_ : str
        Why the fit ended.
    n_features_in_ : int
    feature_names_in_ : array
        Where X had column names.

    Notes
    -----
    The bound is that of Jaakkola and Jordan, and of Polya-gamma variables q(omega) = PG(1, c); it is below log p(y)
    also at its maximum, and its posterior is narrower than the exact one. Draws depend on ``random_state`` alone where
    there are several chains, and to rounding on the number of threads of the BLAS where there is one.

    References
    ----------
    N. G. Polson, J. G. Scott, J. Windle, Bayesian inference for logistic models using Polya-Gamma latent variables,
    JASA 108, 2013. F. Wenzel et al., Efficient Gaussian process classification using Polya-Gamma data augmentation,
    AAAI 2019. T. Jaakkola, M. Jordan, Bayesian parameter estimation via variational methods, Statistics and Computing
    10, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-3, 3, 60)[:, None]
    >>> y = np.where(np.abs(X[:, 0]) < 1, "in", "out")
    >>> model = lvm.PolyaGammaGPClassifier().fit(X, y)
    >>> model.predict([[0.0], [2.5]]).tolist()
    ['in', 'out']
    """

    def __init__(
        self,
        kernel=None,
        *,
        mean=0.0,
        method="vi",
        inducing=None,
        batch_size=None,
        max_iter=100,
        optimize=True,
        n_samples=1000,
        burn_in=200,
        thin=1,
        n_chains=4,
        step_size=None,
        learning_rate=0.01,
        tol=1e-6,
        warm_start=False,
        random_state=None,
        verbose=0,
        callback=None,
        device="auto",
    ):
        self.kernel = kernel
        self.mean = mean
        self.method = method
        self.inducing = inducing
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.optimize = optimize
        self.n_samples = n_samples
        self.burn_in = burn_in
        self.thin = thin
        self.n_chains = n_chains
        self.step_size = step_size
        self.learning_rate = learning_rate
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.callback = callback
        self.device = device

    @_backend.memory_errors
    def fit(self, X, y) -> PolyaGammaGPClassifier:
        """Fit to labelled rows.

        Ctrl-C ends the fit with what was reached, a :class:`FitInterruptedWarning` and a model that predicts; before
        the first draw of "gibbs" it is an error, and the model is as it was.

        Parameters
        ----------
        X : array of shape (n, q)
            With ``batch_size`` a memory map is read in batches, and never as a whole more than once.
        y : array of shape (n,)
            Two classes of any kind.

        Returns
        -------
        self : PolyaGammaGPClassifier

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is then as it was.
        NotPositiveDefiniteError, NonFiniteError
            If a kernel matrix cannot be factorised.
        """
        begun = time.perf_counter()
        names = copy.copy(self)  # validation writes the names of the features
        check_parameters(self)
        data, labels = check_rows(names, X, y)
        classes, kappa = check_labels(labels)
        device = _backend.check_device(self.device, X)
        digest = zlib.crc32(np.ascontiguousarray(kappa), zlib.crc32(np.ascontiguousarray(data)))
        work = Work(self, data, kappa, digest, device, begun, self._earlier(digest))
        with (
            _backend.blas_threads(work.order(self.batch_size is not None)),
            deferred_interrupt() as work.check_interrupt,
        ):
            found = work.gibbs() if self.method == "gibbs" else work.vi()
        self._on_gpu = _backend.is_gpu(X)
        self._take(found, names, classes, data.dtype)
        if self.inducing is None or self.method == "gibbs":
            self.X_train_ = self._own(data.copy())
        work.warn()
        return self

    @available_if(_takes_pieces)
    @_backend.memory_errors
    def partial_fit(self, X, y, classes=None, n_total=None) -> PolyaGammaGPClassifier:
        """One natural gradient step, and with ``optimize`` one of Adam, with these rows; for data that come in pieces.

        Parameters
        ----------
        X : array of shape (b, q)
        y : array of shape (b,)
        classes : array of shape (2,), optional
            In the first call: all classes; default those of y.
        n_total : int, optional
            Rows that this batch stands for; default all that came so far.

        Returns
        -------
        self : PolyaGammaGPClassifier
        """
        begun = time.perf_counter()
        check_parameters(self)
        first = getattr(self, "_stream", None) is None
        names = copy.copy(self)
        data, labels = check_rows(names, X, y, reset=first)
        known = classes if first else self.classes_
        classes, kappa = check_labels(labels, known)
        device = _backend.check_device(self.device, X)
        seen = 0 if first else self._stream["seen"]
        total = seen + len(data) if n_total is None else check_integer(n_total, "n_total", len(data))
        work = Work(self, data, kappa, 0, device, begun, None)
        if first:
            problem, state = work.sparse(total), None
        else:
            problem = work.sparse(total, self.kernel_.copy(), self._posterior.Z)
            state = self._stream["state"]
            problem.unit = self._stream["unit"]
        run = StreamState(problem, state)
        with _backend.blas_threads(work.order(True)):
            bound = run.step(problem, data.astype(np.float64), kappa, self.learning_rate, self.step_size, self.optimize)
        found = Found("vi", problem.posterior(run.theta), None, [bound], run.t, False, "partial_fit")
        self._on_gpu = _backend.is_gpu(X)
        self._take(found, names, classes, data.dtype)
        self._stream = {"state": run.state(problem), "seen": seen + len(data), "unit": problem.unit}
        return self

    def resume(self, n=None, X=None, y=None) -> PolyaGammaGPClassifier:
        """Go on where the fit ended: ``n`` more draws of each chain, iterations or passes; bit for bit one longer fit.

        Parameters
        ----------
        n : int, optional
            Default: what is left of ``n_samples`` or ``max_iter``, as after an interrupt.
        X, y : arrays of shape (n, q) and (n,), optional
            The data of the fit; needed with ``inducing``, where the model keeps none.

        Returns
        -------
        self : PolyaGammaGPClassifier
        """
        check_is_fitted(self)
        state = self._state
        if state is None:
            raise ValueError("resume goes on with fit, and this model was fitted by partial_fit; call that again")
        if X is None or y is None:
            if "kappa" not in state:
                raise ValueError("X and y must be given where inducing inputs took their place; pass those of fit")
            X, y = self.X_train_, self.classes_[(state["kappa"] > 0).astype(int)]
        gibbs = self.method == "gibbs"
        name = "n_samples" if gibbs else "max_iter"
        done = self._posterior.draws.shape[1] if gibbs else len(self.lower_bounds_)
        total = getattr(self, name) if n is None else done + check_integer(n, "n", 1)
        twin = copy.copy(self)
        twin.set_params(warm_start=True, **{name: max(total, done)})
        twin.fit(X, y)
        kept = {**self.get_params(deep=False)}
        if hasattr(self, "feature_names_in_"):
            kept["feature_names_in_"] = self.feature_names_in_
        vars(self).clear()
        vars(self).update(vars(twin), **kept)
        return self

    # Questions.

    @_backend.memory_errors
    def predict(self, X):
        """The more probable class of every row, shape (m,); numbers are where X is, other labels on the CPU."""
        second = _backend.to_numpy(self.predict_proba(X))[:, 1] > 0.5
        labels = self.classes_[second.astype(int)]
        return _backend.like(labels, X) if labels.dtype.kind in "biuf" else labels

    @_backend.memory_errors
    def predict_proba(self, X, per_draw=False):
        """``E sigma(f(x))`` under the posterior, by quadrature within 1e-10, in the order of ``classes_``.

        Parameters
        ----------
        X : array of shape (m, q)
        per_draw : bool, default=False
            Of "gibbs": not averaged, ``E(sigma(f(x)) | f)`` for every kept draw f.

        Returns
        -------
        probabilities : array of shape (m, 2), or (n_chains, n_samples, m, 2) with ``per_draw``
        """
        posterior, rows = self._at(X)
        if per_draw and not isinstance(posterior, GibbsPosterior):
            raise ValueError("per_draw must be False after method='vi', which draws nothing; fit with method='gibbs'")
        second = _finite(posterior.probabilities(rows) if per_draw else posterior.probability(rows))
        return self._shaped(_backend.namespace(second).stack([1.0 - second, second], axis=-1), X)

    @_backend.memory_errors
    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`."""
        both = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return _backend.namespace(both).log(both)

    @_backend.memory_errors
    def decision_function(self, X, return_std=False):
        """Posterior mean of f, shape (m,), on the scale of log odds; with ``return_std`` its standard deviation too."""
        mean, variance = self.predict_f(X)
        return (mean, _backend.namespace(variance).sqrt(variance)) if return_std else mean

    @_backend.memory_errors
    def predict_f(self, X):
        """Posterior mean and variance of f, each of shape (m,).

        Parameters
        ----------
        X : array of shape (m, q)
        """
        posterior, rows = self._at(X)
        return tuple(self._shaped(_finite(part), X) for part in posterior.moments(rows))

    @_backend.memory_errors
    def sample_f(self, X, n_samples=1, random_state=0):
        """Joint draws of f at ``X``, shape (n_samples, m).

        Parameters
        ----------
        X : array of shape (m, q)
        n_samples : int, default=1
        random_state : int, numpy.random.Generator or None, default=0
        """
        posterior, rows = self._at(X)
        n_samples = check_integer(n_samples, "n_samples", 1)
        return self._shaped(posterior.sample(rows, n_samples, check_rng(random_state)), X)

    @property
    def r_hat_(self):
        """Of "gibbs": rank-normalised split R-hat of f at every training input, shape (n,)."""
        draws = self._draws("r_hat_")
        return _convergence().rank_normalised_r_hat(draws)

    @property
    def ess_(self):
        """Of "gibbs": bulk effective sample size of f at every training input, shape (n,)."""
        draws = self._draws("ess_")
        return _convergence().bulk_ess(draws)

    def save(self, path) -> None:
        """Write the fitted model to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_classifier(self, path)

    @classmethod
    def load(cls, path) -> PolyaGammaGPClassifier:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_classifier(cls, path)

    # What is kept.

    def _earlier(self, digest: int):
        """The state that a warm start goes on from, or None."""
        state = getattr(self, "_state", None)
        if not self.warm_start or state is None:
            return None
        if state["digest"] != digest:
            raise ValueError("warm_start=True goes on with the same X and y, got others; set warm_start=False")
        return state

    def _take(self, found, names, classes, dtype) -> None:
        """Set the fitted attributes."""
        for name in ("n_features_in_", "feature_names_in_", "f_draws_", "inducing_points_", "X_train_", "_stream"):
            vars(self).pop(name, None)
        for name in ("n_features_in_", "feature_names_in_"):
            if name in vars(names):
                setattr(self, name, getattr(names, name))
        posterior = found.posterior
        self._posterior, self._state, self._dtype = posterior, found.state, np.dtype(dtype)
        self.classes_, self.kernel_ = classes, posterior.kernel
        self.lower_bounds_ = np.array(found.bounds)
        self.lower_bound_ = float(found.bounds[-1]) if len(found.bounds) else None
        self.n_iter_, self.converged_, self.message_ = found.n_iter, found.converged, found.message
        self.jitter_, self.device_ = float(posterior.jitter), posterior.device
        if isinstance(posterior, GibbsPosterior):
            self.f_draws_ = self._own(posterior.draws)
        elif hasattr(posterior, "Z"):
            self.inducing_points_ = self._own(posterior.Z)

    def _draws(self, name):
        if "f_draws_" not in vars(self):
            raise AttributeError(f"{name} needs a model fitted with method='gibbs'")
        return _backend.to_numpy(self.f_draws_)

    def _at(self, X):
        """The posterior, and new inputs as a float64 matrix of NumPy."""
        if not hasattr(self, "_posterior"):
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before "
                "using this estimator."
            )
        return self._posterior, check_inputs(self, X)

    def _own(self, array):
        """An array where the training data were."""
        if getattr(self, "_on_gpu", False):
            return _backend.to_device(array, _backend.usable_device("cuda"))
        return _backend.to_numpy(array)

    def _shaped(self, values, given):
        return _backend.like(values, given).astype(self._dtype, copy=False)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_posterior")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _convergence():
    """Diagnostics of chains, read when asked for."""
    from lvmfast.models import _convergence as module

    return module


def _finite(values):
    """``values``, if they are finite."""
    if not _backend.namespace(values).isfinite(values).all():
        raise NonFiniteError("the prediction is not finite: the kernel overflows at these inputs; rescale X")
    return values
