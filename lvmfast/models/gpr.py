"""Exact Gaussian process regression as a scikit-learn estimator."""

from __future__ import annotations

import copy
import functools
import time
import warnings

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._interrupt import deferred_interrupt
from lvmfast._validation import (
    as_float_array,
    check_callback,
    check_choice,
    check_integer,
    check_jitter,
    check_positive,
    check_prior,
    check_rng,
)
from lvmfast.exceptions import FitInterruptedWarning, LvmfastError, NonFiniteError
from lvmfast.kernels import Kernel
from lvmfast.models._gp_predictions import GpPredictions
from lvmfast.models._gpr_fantasies import Fantasies
from lvmfast.models._gpr_file import load_gpr, save_gpr
from lvmfast.models._gpr_mean import NAMES, Mean
from lvmfast.models._gpr_objective import NOISE_FLOOR, GprObjective, Trial
from lvmfast.models._gpr_paths import PosteriorPaths
from lvmfast.models._gpr_posterior import GprPosterior
from lvmfast.models._gpr_start import check_noise_array, default_kernel, spread_of
from lvmfast.optim import LBFGS

__all__ = ["GPR", "Fantasies", "GprStatus"]


class GprStatus:
    """What a callback is told after every iteration.

    Attributes
    ----------
    iteration : int
        Iterations so far, from 1, restarts included.
    loss : float
        Minus (log marginal likelihood + log prior) per number in y, in nats.
    n_evaluations : int
    elapsed : float
        Seconds since ``fit`` began.
    restart : int
        0 for the first start.
    theta : array
        Where the fit is; see :meth:`GPR.log_marginal_likelihood`.
    """

    def __init__(self, iteration, loss, n_evaluations, elapsed, restart, theta):
        self.iteration, self.loss, self.n_evaluations = iteration, loss, n_evaluations
        self.elapsed, self.restart, self.theta = elapsed, restart, theta

    def __repr__(self) -> str:
        return f"GprStatus(iteration={self.iteration}, loss={self.loss:.6g}, elapsed={self.elapsed:.1f})"


class GPR(GpPredictions, MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Exact Gaussian process regression:

    ``y_i = f(x_i) + e_i``, ``f ~ GP(m, k)``, ``e_i ~ N(0, noise_variance_i)``,

    ``log p(y) = -1/2 ((y - m)^T C^-1 (y - m) + log|C| + n log(2 pi))``, ``C = k(X, X) + diag(noise_variance)``.

    The kernel's parameters and the noise variance maximise it (type-II maximum likelihood), or its sum with the log
    densities of the priors (MAP). Several outputs are independent given one kernel.

    Parameters
    ----------
    kernel : lvmfast.kernels.Kernel, optional
        Any kernel; where its parameters start. Default: RBF with the variance of y and one lengthscale per input.
    mean : {"zero", "constant", "linear"} or callable, default="constant"
        Coefficients of the constant and of the linear mean maximise the likelihood at every step (generalised least
        squares), one set per output. A callable takes X (n, q) and returns (n,) or (n, d).
    noise_variance : float > 0 or array of shape (n,), optional
        A number is where the noise variance starts, default a tenth of y's variance; an array holds known variances,
        one per row, which are kept.
    learn_noise : bool, default=True
        False keeps a noise variance that is a number.
    noise_prior : object, optional
        Prior of a learned noise variance (see :mod:`lvmfast.priors`), in squared units of y.
    optimizer : {"lbfgs", None}, default="lbfgs"
        L-BFGS-B on the logarithms of the parameters; None keeps them all.
    n_restarts : int, default=0
        More starts, drawn from the bounds where there are some and within a factor of e^3 around the first start
        elsewhere; the best end counts, a start that fails does not.
    max_iter : int, default=200
        Iterations of each start.
    tol : float, default=1e-6
        Stop when the gradient of the loss per number in y is below it, or an iteration changes it by a thousandth.
    jitter : "auto" or float, default="auto"
        Added to the diagonal of C: "auto" adds something only where a factorisation fails (see
        :func:`lvmfast.linalg.cholesky`), a number is always added.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every iteration with a :class:`GprStatus`; a true answer stops the fit.
    random_state : int, numpy.random.Generator or None
        For the restarts.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where the arithmetic is done. "auto": where the training data are; with CuPy arrays, fitted arrays and results
        are CuPy's. "cuda" moves NumPy arrays to the GPU once and gives NumPy arrays back.

    Attributes
    ----------
    kernel_ : kernel
        With its fitted parameters.
    noise_variance_ : float or array of shape (n,)
    mean_coef_ : array of shape (p,) or (p, d)
        Intercept, then slopes; p is 0 for the zero mean and for a callable.
    log_marginal_likelihood_ : float
        log p(y) in nats, constants included, summed over outputs.
    log_posterior_ : float
        With the log densities of the priors; what was maximised.
    jitter_ : float
        What was added to the diagonal.
    L_ : array of shape (n, n)
        Cholesky factor of C, float64.
    alpha_ : array of shape (n,) or (n, d)
        ``C^-1 (y - m)``, float64.
    X_train_, y_train_ : arrays
        Copies of the data.
    device_ : str
        Where the arithmetic is done, "cpu" or "cuda".
    n_iter_, n_evaluations_ : int
        Of all starts together.
    converged_ : bool
    message_ : str
        Why the fit (its best start) ended.
    n_features_in_ : int
    feature_names_in_ : array
        Where X had column names.

    Notes
    -----
    One evaluation of the likelihood with its gradient costs about n^3 flops and n^2 numbers of memory. Predictions are
    made in float64 whatever the dtype of the fit, and have the data's dtype. Intervals take the parameters, those of
    the mean included, for known. A kernel with :class:`~lvmfast.kernels.White` predicts its noise too, as
    scikit-learn's does; ``noise_variance`` is predicted only with ``include_noise``.

    To go on with a fit, start the next one where it ended: ``GPR(kernel=model.kernel_,
    noise_variance=model.noise_variance_)``.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, algorithm 2.1, eq. 2.30, 5.9 and 5.10-5.12;
    the mean: eq. 2.41 in the limit of no prior on its coefficients.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(0, 6, 40)[:, None]
    >>> model = lvm.GPR(lvm.kernels.Matern52()).fit(X, np.sin(X[:, 0]))
    >>> mean, std = model.predict([[1.5]], return_std=True)
    >>> bool(abs(mean[0] - np.sin(1.5)) < 0.01)
    True
    """

    def __init__(
        self,
        kernel=None,
        *,
        mean="constant",
        noise_variance=None,
        learn_noise=True,
        noise_prior=None,
        optimizer="lbfgs",
        n_restarts=0,
        max_iter=200,
        tol=1e-6,
        jitter="auto",
        verbose=0,
        callback=None,
        random_state=None,
        device="auto",
    ):
        self.kernel = kernel
        self.mean = mean
        self.noise_variance = noise_variance
        self.learn_noise = learn_noise
        self.noise_prior = noise_prior
        self.optimizer = optimizer
        self.n_restarts = n_restarts
        self.max_iter = max_iter
        self.tol = tol
        self.jitter = jitter
        self.verbose = verbose
        self.callback = callback
        self.random_state = random_state
        self.device = device

    @_backend.memory_errors
    def fit(self, X, y) -> GPR:
        """Fit the parameters to data, and keep what predictions need.

        Ctrl-C ends the fit with the best that was reached, a :class:`FitInterruptedWarning` and a model that predicts.

        Parameters
        ----------
        X : array of shape (n, q)
        y : array of shape (n,) or (n, d)
            float32 X and y are fitted in float32.

        Returns
        -------
        self : GPR

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is then as it was.
        NotPositiveDefiniteError, NonFiniteError
            If C cannot be factorised, or no start has a finite likelihood.
        """
        begun = time.perf_counter()
        names = copy.copy(self)  # validate_data writes the names of the features
        X_new, y_new = self._check_data(names, X, y)
        n, q = X_new.shape
        Y = y_new.reshape(n, -1).astype(np.float64)
        inputs = X_new.astype(np.float64)
        noise = self._check_parameters(n, Y)
        device = _backend.check_device(self.device, X, y)
        kernel = (self.kernel if self.kernel is not None else default_kernel(inputs, Y)).copy()
        kernel.compiled(q).check_range(kernel.compiled(q).vector(), y_new.dtype, X_new)
        mean = Mean(self.mean, inputs)
        rng = check_rng(self.random_state)
        with _backend.blas_threads(n):
            fit = self._search(kernel, mean, inputs, Y, noise, y_new.dtype, rng, begun, device)
            posterior = GprPosterior.fit(fit.kernel, mean, inputs, Y, fit.noise, self.jitter, device)
        self._on_gpu = _backend.is_gpu(X)
        self._finish(posterior, X_new, y_new, fit)
        for name in ("n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
            if name in vars(names):
                setattr(self, name, getattr(names, name))
        fit.warn(self)
        return self

    def pathwise_samples(self, n_samples=1, *, n_features=1024, random_state=None) -> PosteriorPaths:
        """Functions drawn from the posterior, which can be evaluated anywhere, again and again.

        ``f(x) + k(x, X) C^-1 (y - f(X) - e)`` with f a draw from the prior made of ``n_features`` random functions per
        term of the kernel (Matheron's rule). The mean over many draws is the posterior's; their covariance has an
        error of the order of ``1 / sqrt(n_features)`` of the prior's where there are no data.

        Parameters
        ----------
        n_samples : int, default=1
        n_features : int, default=1024
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        paths : callable
            ``paths(X)`` has shape (n_samples, m) or (n_samples, m, d), its derivatives ``paths.gradient(X)`` by X
            (m, q) have shape (n_samples, m, q) or (n_samples, m, q, d).

        References
        ----------
        Wilson et al. (2020), "Efficiently sampling functions from Gaussian process posteriors", eq. 9-12.
        """
        posterior = self._fitted()
        n_samples, n_features = check_integer(n_samples, "n_samples", 1), check_integer(n_features, "n_features", 1)
        rng = check_rng(random_state)
        names = getattr(self, "feature_names_in_", None)
        single = self.y_train_.ndim == 1
        return PosteriorPaths(posterior, n_samples, n_features, rng, self.y_train_.dtype, single, names)

    def log_marginal_likelihood(self, theta=None, gradient=False):
        """log p(y) of the training data in nats, summed over outputs; priors are not in it.

        Parameters
        ----------
        theta : array of shape (p,), optional
            ``kernel_.theta`` (by default logarithms) and, if it is learned, the logarithm of the noise variance.
            Default: the fitted parameters. The coefficients of the mean are those that maximise it at theta (in a
            model from :meth:`condition_on`, which keeps them, ``log_marginal_likelihood_`` is at those it keeps).
        gradient : bool, default=False

        Returns
        -------
        value : float
        gradient : array of shape (p,)
            By theta; only with ``gradient``.
        """
        posterior = self._fitted()
        if theta is None and not gradient:
            return self.log_marginal_likelihood_
        objective = self._objective(posterior, self.kernel_, self.noise_variance_)
        if theta is None:
            theta = objective.initial()
        theta = as_float_array(theta, "theta").astype(np.float64)
        if theta.shape != (objective.size,):
            raise ValueError(f"theta must have shape ({objective.size},), got {theta.shape}")
        if not np.isfinite(theta).all():
            raise ValueError(f"theta must be finite, got {theta}")
        with _backend.blas_threads(len(posterior.X)):
            value, d_theta = objective.log_marginal_likelihood(theta)
        return (value, d_theta) if gradient else value

    def leave_one_out(self):
        """Each training observation predicted from all others, with the same parameters, in closed form:

        ``mean_i = y_i - [C^-1 (y - m)]_i / [C^-1]_ii``, ``variance_i = 1 / [C^-1]_ii``.

        Returns
        -------
        mean, variance, log_density : arrays of shape (n,) or (n, d)
            Of y_i, noise included; ``log_density`` is log N(y_i | mean_i, variance_i), in nats.

        References
        ----------
        Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 5.10-5.12.
        """
        posterior = self._fitted()
        mean, variance = posterior.leave_one_out()
        variance = np.repeat(variance[:, None], posterior.Y.shape[1], axis=1)
        density = -0.5 * (np.log(2 * np.pi * variance) + (posterior.Y - mean) ** 2 / variance)
        return tuple(self._own(self._shaped(values)) for values in (mean, variance, density))

    @_backend.memory_errors
    def condition_on(self, X, y, noise_variance=None) -> GPR:
        """A new model with more observations and the same parameters (the mean's included), in O(n^2) for each.

        Parameters
        ----------
        X : array of shape (m, q)
        y : array of shape (m,) or (m, d)
        noise_variance : float or array of shape (m,), optional
            Of the new observations; default the model's. Needed where every row had its own.

        Returns
        -------
        model : GPR
            Fitted; this one is left as it is.
        """
        posterior, X = self._at(X)
        X = X.astype(self.X_train_.dtype).astype(np.float64)  # what X_train_ will hold
        y = as_float_array(_backend.to_numpy(y), "y").astype(self.y_train_.dtype)
        shape = (len(X), *self.y_train_.shape[1:])
        if y.shape != shape:
            raise ValueError(f"y must have shape {shape}, got {y.shape}")
        if not np.isfinite(y).all():
            raise ValueError("y must be finite, got NaN or infinity")
        noise = self._noise_of_new(noise_variance, len(X))
        posterior = posterior.append(X, y.reshape(len(X), -1).astype(np.float64), noise)
        model = copy.copy(self)
        xp = _backend.namespace(self.X_train_)
        model.X_train_ = xp.vstack([self.X_train_, xp.asarray(X.astype(self.X_train_.dtype))])
        model.y_train_ = xp.concatenate([self.y_train_, xp.asarray(y)])
        model.kernel_ = self.kernel_.copy()
        model.noise_variance_ = posterior.noise
        model._set_posterior(posterior)
        return model

    @_backend.memory_errors
    def fantasize(self, X, Y, noise_variance=None) -> Fantasies:
        """The posterior after each of s simulated outcomes at the same points; they share one factor.

        Parameters
        ----------
        X : array of shape (m, q)
        Y : array of shape (s, m) or (s, m, d)
        noise_variance : float or array of shape (m,), optional
            As for :meth:`condition_on`.

        Returns
        -------
        fantasies : Fantasies
        """
        posterior, X = self._at(X)
        Y = as_float_array(_backend.to_numpy(Y), "Y").astype(np.float64)
        shape = (len(X), *self.y_train_.shape[1:])
        if Y.ndim != 1 + len(shape) or Y.shape[1:] != shape or not len(Y):
            raise ValueError(f"Y must have shape (s, {', '.join(map(str, shape))}) with s >= 1, got {Y.shape}")
        if not np.isfinite(Y).all():
            raise ValueError("Y must be finite, got NaN or infinity")
        noise = self._noise_of_new(noise_variance, len(X))
        fantasies = Fantasies(posterior, X, Y.reshape(len(Y), len(X), -1), noise, self.y_train_.dtype, Y.ndim == 2)
        fantasies.feature_names = getattr(self, "feature_names_in_", None)
        return fantasies

    @_backend.memory_errors
    def predict_gradient(self, X):
        """Derivatives of the posterior mean and variance of the noise-free function with respect to the inputs.

        Parameters
        ----------
        X : array of shape (m, q)

        Returns
        -------
        d_mean : array of shape (m, q) or (m, q, d)
        d_variance : array of shape (m, q)
        """
        given = X
        posterior, X = self._at(X)
        d_mean, d_variance = (_backend.like(d, given) for d in posterior.gradients_at(X))
        dtype = self.y_train_.dtype
        d_mean = d_mean[:, :, 0] if self.y_train_.ndim == 1 else d_mean
        return d_mean.astype(dtype, copy=False), d_variance.astype(dtype, copy=False)

    def save(self, path) -> None:
        """Write the fitted model to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_gpr(self, path)

    @classmethod
    def load(cls, path) -> GPR:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_gpr(cls, path)

    # How a fit runs.

    def _search(self, kernel, mean, X, Y, noise, dtype, rng, begun, device) -> _Fit:
        """The best of the starts."""
        if self.optimizer is None:
            return _Fit(kernel, noise, 0, 0, True, "parameters were kept (optimizer=None)")
        with deferred_interrupt() as check_interrupt:
            objective = GprObjective(
                kernel,
                mean,
                X,
                Y,
                noise,
                self.learn_noise,
                self.jitter,
                dtype,
                check_interrupt,
                device,
                self.noise_prior,
            )
            start = objective.initial()
            if not start.size:
                return _Fit(kernel, noise, 0, 0, True, "no parameter is free")
            residual = Y - Y.mean(axis=0)
            bounds = objective.bounds(start, NOISE_FLOOR * float(np.mean(residual * residual)))
            start = np.clip(start, bounds[:, 0], bounds[:, 1])
            return self._run(objective, start, bounds, rng, begun)

    def _run(self, objective, start, bounds, rng, begun) -> _Fit:
        best, failure, iterations, evaluations = None, None, 0, 0
        interrupted = stopped = False
        optimizer = LBFGS(ftol=1e-3 * self.tol, gtol=self.tol)
        with tqdm(total=(1 + self.n_restarts) * self.max_iter, disable=not self.verbose, desc="GPR") as bar:
            for restart in range(1 + self.n_restarts):
                theta = start if restart == 0 else self._draw_start(objective, start, bounds, rng)
                done, asked = iterations, evaluations

                def on_iteration(progress, before=0, done=done, asked=asked, restart=restart):
                    iteration = done + before + len(progress.values)
                    bar.n = iteration
                    bar.set_postfix(loss=f"{progress.values[-1]:.4f}")
                    if self.callback is None:
                        return False
                    status = GprStatus(
                        iteration,
                        progress.values[-1],
                        asked + progress.n_evaluations,
                        time.perf_counter() - begun,
                        restart,
                        progress.theta.copy(),
                    )
                    return bool(self.callback(status))

                try:
                    result = self._descend(optimizer, objective, theta, on_iteration, bounds)
                except (LvmfastError, OverflowError) as error:
                    failure = failure or error
                    continue
                iterations, evaluations = iterations + len(result.values), evaluations + result.n_evaluations
                loss = result.values[-1] if result.values else objective_value(objective, result)
                if np.isfinite(loss) and (best is None or loss < best[0]):
                    best = loss, result
                interrupted, stopped = result.interrupted, result.stopped
                if interrupted or stopped:
                    break
        if best is None:
            raise failure or NonFiniteError("no start of the fit has a finite likelihood; set bounds or priors")
        result = best[1]
        message = "interrupted from the keyboard" if interrupted else "stopped by the callback" if stopped else None
        return _Fit(
            objective.kernel_at(result.theta),
            objective.noise_at(result.theta),
            iterations,
            evaluations,
            result.converged and not (interrupted or stopped),
            message or result.message,
            interrupted,
            stopped,
        )

    def _descend(self, optimizer, objective, theta, on_iteration, bounds):
        """One start. A line search that fails begins again without memory, once: near the limit of rounding it may."""
        result = optimizer.minimize(
            Trial(objective), theta, max_iter=self.max_iter, on_iteration=on_iteration, bounds=bounds
        )
        left = self.max_iter - len(result.values)
        if "ABNORMAL" not in result.message or not left or not result.values:
            return result
        again = optimizer.minimize(
            Trial(objective),
            result.theta,
            max_iter=left,
            on_iteration=functools.partial(on_iteration, before=len(result.values)),
            bounds=bounds,
        )
        again.n_evaluations += result.n_evaluations
        gained = result.values[-1] - min(again.values, default=result.values[-1])
        if "ABNORMAL" in again.message and gained <= self.tol * max(1.0, abs(result.values[-1])):
            again.converged, again.message = True, "the loss changes no more than by rounding"
        if not again.values or again.values[-1] > result.values[-1]:
            again.theta = result.theta
            again.values = [*again.values, result.values[-1]]
        again.values = [*result.values, *again.values]
        return again

    @staticmethod
    def _draw_start(objective, start, bounds, rng) -> np.ndarray:
        own = np.full((len(start), 2), np.nan)
        own[: objective.parameters.size] = objective.parameters.bounds()
        bounded = np.isfinite(own).all(axis=1)
        low = np.where(bounded, own[:, 0], np.maximum(start - 3.0, bounds[:, 0]))
        high = np.where(bounded, own[:, 1], np.minimum(start + 3.0, bounds[:, 1]))
        return low + (high - low) * rng.random(len(start))

    def _finish(self, posterior, X, y, fit) -> None:
        """Set the fitted attributes."""
        value = posterior.log_marginal_likelihood()
        if not np.isfinite(value):
            raise NonFiniteError(f"the log marginal likelihood is {value}; rescale y, or set bounds or priors")
        self.X_train_, self.y_train_ = (self._own(a) for a in (X, y))
        self.kernel_, self.noise_variance_ = fit.kernel, fit.noise
        self.n_iter_, self.n_evaluations_ = fit.n_iter, fit.n_evaluations
        self.converged_, self.message_ = fit.converged, fit.message
        self._set_posterior(posterior)

    def _set_posterior(self, posterior) -> None:
        self._posterior = posterior
        single = self.y_train_.ndim == 1
        coef = posterior.mean.raw_coef() if posterior.mean.size else np.zeros((0, posterior.Y.shape[1]))
        self.mean_coef_ = coef[:, 0] if single else coef
        self.device_ = posterior.device
        self.L_, self.jitter_ = self._own(posterior.L), posterior.jitter
        alpha = self._own(posterior.alpha)
        self.alpha_ = alpha[:, 0] if single else alpha
        self.log_marginal_likelihood_ = posterior.log_marginal_likelihood()
        self.log_posterior_ = self.log_marginal_likelihood_ + self._log_prior()

    def _log_prior(self) -> float:
        value, _ = self.kernel_.log_prior()
        if self.noise_prior is not None and self.learn_noise and np.ndim(self.noise_variance_) == 0:
            value += float(self.noise_prior.log_density(self.noise_variance_))
        return value

    def _objective(self, posterior, kernel, noise) -> GprObjective:
        learn = self.learn_noise and np.ndim(noise) == 0
        return GprObjective(
            kernel,
            posterior.mean,
            posterior.X,
            posterior.Y,
            noise,
            learn,
            self.jitter,
            np.dtype(np.float64),
            device=posterior.device,
        )

    # What may be passed.

    def _check_data(self, names, X, y) -> tuple[np.ndarray, np.ndarray]:
        _backend.module_for(X=X, y=y)
        X, y = validate_data(
            names,
            _backend.to_numpy(X),
            _backend.to_numpy(y),
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            order="C",
            copy=True,
            ensure_min_samples=1,
        )
        double = y.dtype != np.float32 or X.dtype != np.float32
        dtype = np.float64 if double else np.float32
        return X.astype(dtype, copy=False), np.array(y, dtype=dtype, order="C")

    def _check_parameters(self, n: int, Y: np.ndarray):
        """The noise variance to start from; raises unless all arguments make sense."""
        if self.kernel is not None and not isinstance(self.kernel, Kernel):
            raise TypeError(f"kernel must be an lvmfast kernel such as lvmfast.kernels.RBF(), got {self.kernel!r}")
        if not callable(self.mean):
            check_choice(self.mean, "mean", NAMES)
        if not isinstance(self.learn_noise, (bool, np.bool_)):
            raise TypeError(f"learn_noise must be True or False, got {self.learn_noise!r}")
        check_prior(self.noise_prior, "noise_prior")
        if self.optimizer is not None:
            check_choice(self.optimizer, "optimizer", ("lbfgs",))
        check_integer(self.n_restarts, "n_restarts", 0)
        check_integer(self.max_iter, "max_iter", 1)
        check_positive(self.tol, "tol", zero=True)
        check_jitter(self.jitter)
        check_callback(self.callback)
        if self.noise_variance is None:
            return 0.1 * spread_of(Y)
        if np.ndim(self.noise_variance) == 0:
            return check_positive(self.noise_variance, "noise_variance")
        return check_noise_array(self.noise_variance, n)

    def _output(self) -> tuple[np.dtype, bool]:
        return self.y_train_.dtype, self.y_train_.ndim == 1

    def _noise_of_new(self, noise_variance, m: int) -> np.ndarray:
        if noise_variance is None:
            if np.ndim(self.noise_variance_):
                raise ValueError(
                    "noise_variance must be given where every training row had its own, got None; pass that of the new "
                    "rows"
                )
            noise_variance = self.noise_variance_
        if np.ndim(noise_variance) == 0:
            return np.full(m, check_positive(noise_variance, "noise_variance", zero=True))
        return check_noise_array(noise_variance, m)


class _Fit:
    """What a search ended with."""

    def __init__(self, kernel, noise, n_iter, n_evaluations, converged, message, interrupted=False, stopped=False):
        self.kernel, self.noise = kernel, noise
        self.n_iter, self.n_evaluations = n_iter, n_evaluations
        self.converged, self.message = bool(converged), message
        self.interrupted, self.stopped = interrupted, stopped

    def warn(self, model) -> None:
        """Say what a user should know of how it ended."""
        if self.interrupted:
            warnings.warn(
                f"the fit was interrupted after {self.n_iter} iterations; the model holds the best that was reached",
                FitInterruptedWarning,
                stacklevel=4,
            )
        elif not (self.converged or self.stopped):
            warnings.warn(
                f"the fit ended before convergence ({self.message}): raise max_iter={model.max_iter} or tol, or go on "
                "from kernel_ and noise_variance_",
                ConvergenceWarning,
                stacklevel=4,
            )


def objective_value(objective, result) -> float:
    """The loss where a run ended before its first iteration."""
    try:
        return float(objective.loss(result.theta)[0])
    except LvmfastError:
        return np.inf
