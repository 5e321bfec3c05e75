"""Sparse Gaussian process regression as a scikit-learn estimator."""

from __future__ import annotations

import time

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
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
    check_rng,
)
from lvmfast.kernels import Kernel
from lvmfast.models._gp_predictions import GpPredictions
from lvmfast.models._gpr_mean import NAMES, Mean
from lvmfast.models._gpr_objective import NOISE_FLOOR
from lvmfast.models._gpr_paths import PosteriorPaths
from lvmfast.models._gpr_start import check_noise_array, default_kernel, spread_of
from lvmfast.models._lbfgs_fit import first_state, search, warn_of_the_end
from lvmfast.models._sgpr_data import SgprData
from lvmfast.models._sgpr_file import load_sgpr, save_sgpr
from lvmfast.models._sgpr_fit import SgprStatus
from lvmfast.models._sgpr_objective import SgprObjective
from lvmfast.models._sgpr_posterior import SgprPosterior, SparsePaths
from lvmfast.models._sgpr_start import INITS, STATISTICS_ROWS, check_inducing, first_inducing, some_rows

__all__ = ["SGPR", "SgprStatus"]


class SGPR(GpPredictions, MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Sparse Gaussian process regression: with ``Q = k(X, Z) k(Z, Z)^-1 k(Z, X)`` and ``S = diag(noise_variance)``,

    ``log p(y) >= log N(y | m, Q + S) - 1/2 tr(S^-1 (k(X, X) - Q))``.

    The bound is maximised over the kernel's parameters, the noise variance and the m inducing inputs Z, with the log
    densities of the priors if there are any (MAP). It costs O(n m^2) time; memory is O(m^2), X and y are read in tiles
    and never copied (they may be memory maps). Several outputs are independent given one kernel.

    Parameters
    ----------
    kernel : lvmfast.kernels.Kernel, optional
        Any kernel; where its parameters start. Default: RBF with the variance of y and one lengthscale per input.
    inducing : int or array of shape (m, q), optional
        How many inducing inputs, or where they start; at most n. Default: 100, or n where that is less.
    inducing_init : {"k-means", "greedy-variance", "subset"}, default="k-means"
        Where a number of them starts: centres of clusters; rows of X chosen one by one where the variance given those
        before is largest; random rows. The first two look at some ten thousand rows. Rows that are equal count once.
    learn_inducing : bool, default=True
        False keeps Z.
    approximation : {"vfe", "fitc"}, default="vfe"
        The bound, or the likelihood of the fully independent training conditional,
        ``log N(y | m, Q + diag(k(X, X) - Q) + S)``, which is no bound.
    mean : {"zero", "constant", "linear"} or callable, default="constant"
        Coefficients of the constant and of the linear mean maximise the bound at every step (generalised least
        squares), one set per output. A callable takes X (n, q) and returns (n,) or (n, d).
    noise_variance : float > 0 or array of shape (n,), optional
        A number is where the noise variance starts, default a tenth of y's variance; an array holds known variances,
        one per row, which are kept.
    learn_noise : bool, default=True
        False keeps a noise variance that is a number.
    optimizer : {"lbfgs", None}, default="lbfgs"
        L-BFGS-B on the logarithms of the parameters and on Z; None keeps them all.
    max_iter : int, default=200
    tol : float, default=1e-6
        Stop when the gradient of the loss per number in y is below it, or an iteration changes it by a thousandth.
    jitter : "auto" or float, default="auto"
        Added to the diagonal of k(Z, Z): "auto" adds something only where a pivot of its factorisation falls below
        1e-12 of the mean diagonal, a number is always added.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every iteration with a :class:`SgprStatus`; a true answer stops the fit.
    random_state : int, numpy.random.Generator or None
        For the inducing inputs.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where the arithmetic is done. "auto": where the training data are; with CuPy arrays, fitted arrays and results
        are CuPy's. "cuda" moves NumPy arrays to the GPU once and gives NumPy arrays back.

    Attributes
    ----------
    kernel_ : kernel
        With its fitted parameters.
    noise_variance_ : float or array of shape (n,)
    inducing_ : array of shape (m, q)
        Z, float64.
    mean_coef_ : array of shape (p,) or (p, d)
        Intercept, then slopes; p is 0 for the zero mean and for a callable.
    lower_bound_ : float
        The bound in nats, constants included, summed over outputs; FITC's likelihood with "fitc".
    upper_bound_ : float
        log p(y) is not above it, so that the difference tells how much more inducing inputs could gain.
    log_posterior_ : float
        ``lower_bound_`` with the log densities of the priors; what was maximised.
    jitter_ : float
        What was added to the diagonal of k(Z, Z).
    loss_curve_ : array
        Minus ``log_posterior_`` per number in y after every iteration.
    device_ : str
        Where the arithmetic is done, "cpu" or "cuda".
    n_iter_, n_evaluations_ : int
    converged_ : bool
    message_ : str
        Why the fit ended.
    n_features_in_ : int
    feature_names_in_ : array
        Where X had column names.

    Notes
    -----
    What is m x m is in float64; the n m^2 part is in the dtype of the data as long as that is enough, for float32
    data with inducing inputs that lie close it is float64, too. Predictions are made in float64 and have the data's
    dtype; a mean costs O(m) per point, a standard deviation O(m^2). Intervals take the parameters for known. White
    noise in a kernel is part of the function's variance at each row and of no other covariance, not of k(Z, Z) either.

    References
    ----------
    Titsias (2009), "Variational learning of inducing variables in sparse Gaussian processes", eq. 9 (the bound) and 6
    (predictions). Titsias (2014), "Variational inference for Gaussian and determinantal point processes" (the upper
    bound). Snelson & Ghahramani (2006), "Sparse Gaussian processes using pseudo-inputs", eq. 9 (FITC).

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(0, 6, 400)[:, None]
    >>> model = lvm.SGPR(lvm.kernels.Matern52(), inducing=20).fit(X, np.sin(X[:, 0]))
    >>> bool(abs(model.predict([[1.5]])[0] - np.sin(1.5)) < 0.01)
    True
    """

    def __init__(
        self,
        kernel=None,
        *,
        inducing=None,
        inducing_init="k-means",
        learn_inducing=True,
        approximation="vfe",
        mean="constant",
        noise_variance=None,
        learn_noise=True,
        optimizer="lbfgs",
        max_iter=200,
        tol=1e-6,
        jitter="auto",
        verbose=0,
        callback=None,
        random_state=None,
        device="auto",
    ):
        self.kernel = kernel
        self.inducing = inducing
        self.inducing_init = inducing_init
        self.learn_inducing = learn_inducing
        self.approximation = approximation
        self.mean = mean
        self.noise_variance = noise_variance
        self.learn_noise = learn_noise
        self.optimizer = optimizer
        self.max_iter = max_iter
        self.tol = tol
        self.jitter = jitter
        self.verbose = verbose
        self.callback = callback
        self.random_state = random_state
        self.device = device

    @_backend.memory_errors
    def fit(self, X, y) -> SGPR:
        """Fit the parameters and the inducing inputs to data, and keep what predictions need (not the data).

        Ctrl-C ends the fit with what was reached, a :class:`FitInterruptedWarning` and a model that predicts.

        Parameters
        ----------
        X : array of shape (n, q)
        y : array of shape (n,) or (n, d)
            Arrays in C order, both float64 or both float32, are not copied.

        Returns
        -------
        self : SGPR

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is then as it was.
        NotPositiveDefiniteError, NonFiniteError
            If k(Z, Z) cannot be factorised, or the bound is not finite where the fit starts.
        """
        begun = time.perf_counter()
        data = SgprData(self, X, y)
        some_X, some_Y = some_rows(data.X, STATISTICS_ROWS), some_rows(data.Y, STATISTICS_ROWS)
        noise = self._check_parameters(data.n, some_Y)
        inducing = check_inducing(self.inducing, data.n, data.q)
        kernel = (self.kernel if self.kernel is not None else default_kernel(some_X, some_Y)).copy()
        kernel.compiled(data.q).check_range(kernel.compiled(data.q).vector(), data.dtype, some_X)
        mean, rng = Mean(self.mean, some_X), check_rng(self.random_state)
        if np.ndim(inducing) == 0:
            inducing = first_inducing(data.X, inducing, self.inducing_init, kernel, mean.scale, rng)
        floor = NOISE_FLOOR * float(np.mean((some_Y - some_Y.mean(axis=0)) ** 2))

        def begin(objective):
            start = objective.initial()
            bounds = objective.bounds(start, floor)
            return first_state(np.clip(start, bounds[:, 0], bounds[:, 1]), bounds)

        self._run(data, kernel, mean, inducing, noise, begin, begun)
        return self

    @_backend.memory_errors
    def resume(self, X, y, max_iter=None) -> SGPR:
        """Go on with a fit that was interrupted, stopped, checkpointed or ended by ``max_iter``, with its data.

        The result is the same, bit for bit, as of a fit that had not stopped (with the same parameters and the same
        versions of lvmfast, SciPy and BLAS).

        Parameters
        ----------
        X, y : arrays
            The data of the fit.
        max_iter : int, optional
            New limit, which replaces the parameter ``max_iter``.

        Returns
        -------
        self : SGPR
        """
        begun = time.perf_counter()
        check_is_fitted(self)
        data = SgprData(self, X, y)
        if not np.array_equal(data.mark(), self._state["mark"]):
            raise ValueError("X and y must be the data of the fit to resume it, got others; fit anew")
        limit = self.max_iter if max_iter is None else max_iter
        if check_integer(limit, "max_iter", 1) < self.n_iter_:
            raise ValueError(f"max_iter must be >= n_iter_ = {self.n_iter_}, which are done, got {limit}")
        self.set_params(max_iter=limit)
        some_Y = some_rows(data.Y, STATISTICS_ROWS)
        self._check_parameters(data.n, some_Y)
        mean = Mean(self.mean, some_rows(data.X, STATISTICS_ROWS))
        state = dict(self._state)
        Z = np.array(state["Z"])
        noise = self.noise_variance_
        self._run(data, self.kernel_, mean, Z, noise, lambda objective: state, begun)
        return self

    def elbo(self, X, y, theta=None, *, gradient=False):
        """The bound (FITC's likelihood with "fitc") for data, in nats, summed over outputs; priors are not in it.

        Parameters
        ----------
        X, y : arrays of shape (n, q) and (n,) or (n, d)
        theta : array of shape (p,), optional
            ``kernel_.theta`` (by default logarithms), if it is learned the logarithm of the noise variance, and if
            they are learned the inducing inputs, row after row. Default: the fitted ones. The coefficients of the mean
            are those that maximise it.
        gradient : bool, default=False

        Returns
        -------
        value : float
        gradient : array of shape (p,)
            By theta; only with ``gradient``.
        """
        posterior = self._fitted()
        data = SgprData(self, X, y)
        if np.ndim(self.noise_variance_) and len(self.noise_variance_) != data.n:
            raise ValueError(f"X must have the {len(self.noise_variance_)} rows of noise_variance_, got {data.n}")
        objective = self._objective(data, self.kernel_, posterior.mean, posterior.X, self.noise_variance_, None)
        objective.scale = np.ones(data.q)
        theta = objective.initial() if theta is None else as_float_array(theta, "theta").astype(np.float64)
        if theta.shape != (objective.size,):
            raise ValueError(f"theta must have shape ({objective.size},), got {theta.shape}")
        if not np.isfinite(theta).all():
            raise ValueError(f"theta must be finite, got {theta}")
        value, d_theta = objective.log_marginal_likelihood(theta)
        return (value, d_theta) if gradient else value

    @_backend.memory_errors
    def log_predictive_density(self, X, y):
        """``log N(y_i | mean_i, variance_i + noise_variance)`` of new observations, one by one, in nats.

        Parameters
        ----------
        X : array of shape (n, q)
        y : array of shape (n,) or (n, d)

        Returns
        -------
        density : array of shape (n,) or (n, d)
        """
        given = X
        posterior, X = self._at(X)
        y = as_float_array(_backend.to_numpy(y), "y").astype(np.float64)
        shape = (len(X),) if self._single else (len(X), posterior.n_outputs)
        if y.shape != shape:
            raise ValueError(f"y must have shape {shape}, got {y.shape}")
        variance = _backend.to_numpy(posterior.variance_at(X))[:, None] + self._new_noise()
        missed = y.reshape(len(X), -1) - _backend.to_numpy(posterior.mean_at(X))
        return self._shaped(-0.5 * (np.log(2 * np.pi * variance) + missed * missed / variance), like=given)

    def pathwise_samples(self, n_samples=1, *, n_features=1024, random_state=None) -> PosteriorPaths:
        """Functions drawn from the posterior, which can be evaluated anywhere, again and again.

        ``f(x) + k(x, Z) k(Z, Z)^-1 (u - f(Z))`` with f a draw from the prior made of ``n_features`` random functions
        per term of the kernel and u one from the posterior of the inducing variables (Matheron's rule).

        Parameters
        ----------
        n_samples : int, default=1
        n_features : int, default=1024
        random_state : int, numpy.random.Generator or None

        Returns
        -------
        paths : callable
            ``paths(X)`` has shape (n_samples, m) or (n_samples, m, d).

        References
        ----------
        Wilson et al. (2020), "Efficiently sampling functions from Gaussian process posteriors", eq. 13.
        """
        posterior = self._fitted()
        n_samples, n_features = check_integer(n_samples, "n_samples", 1), check_integer(n_features, "n_features", 1)
        names = getattr(self, "feature_names_in_", None)
        rng = check_rng(random_state)
        return SparsePaths(posterior, n_samples, n_features, rng, self._dtype, self._single, names)

    def inducing_posterior(self):
        """q(u), the Gaussian posterior of the function's values at ``inducing_`` (the mean function included).

        Returns
        -------
        mean : array of shape (m,) or (m, d)
        cov : array of shape (m, m)
            Which all outputs share. Both float64.
        """
        mean, cov = (self._own(values) for values in self._fitted().inducing())
        return (mean[:, 0] if self._single else mean), cov

    def save(self, path) -> None:
        """Write the fitted model, with all that :meth:`resume` needs but the data, to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_sgpr(self, path)

    @classmethod
    def load(cls, path) -> SGPR:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_sgpr(cls, path)

    # How a fit runs.

    def _objective(self, data, kernel, mean, Z, noise, check_interrupt) -> SgprObjective:
        return SgprObjective(
            kernel,
            mean,
            data.X,
            data.Y,
            Z,
            noise,
            learn_noise=self.learn_noise,
            learn_inducing=self.learn_inducing,
            fitc=self.approximation == "fitc",
            scale=mean.scale,
            jitter=self.jitter,
            check_interrupt=check_interrupt,
            device=data.device,
        )

    def _run(self, data, kernel, mean, Z, noise, begin, begun) -> None:
        """From ``begin(objective)``, a state, to the end; sets the fitted attributes, then warns."""
        bar = tqdm(total=self.max_iter, disable=not self.verbose, desc="SGPR", unit="it")
        with bar, deferred_interrupt() as check_interrupt:
            objective = self._objective(data, kernel, mean, Z, noise, check_interrupt)

            def on_iteration(reached):
                bar.n = len(reached.losses)
                bar.set_postfix(loss=f"{reached.losses[-1]:.4f}")
                if self.callback is None:
                    return False

                def model():
                    fitted = type(self)(**{**self.get_params(deep=False), "callback": None})
                    reached.message = "a checkpoint"
                    fitted._finish(data, objective, reached, Z, bounded=False)
                    return fitted

                count, elapsed = len(reached.losses), time.perf_counter() - begun
                theta = objective.in_units(reached.theta)
                return bool(
                    self.callback(SgprStatus(count, reached.losses[-1], reached.n_evaluations, elapsed, theta, model))
                )

            state = begin(objective)
            kept = self.optimizer is None or not objective.size
            reached = search(objective, state, 0 if kept else self.max_iter, self.tol, on_iteration)
            if kept:
                reached.converged = True
                reached.message = "parameters were kept (optimizer=None)" if objective.size else "no parameter is free"
            objective._check_interrupt = None
            self._finish(data, objective, reached, Z, bounded=True)
        warn_of_the_end(self, reached, "X, y", stacklevel=4)

    def _finish(self, data, objective, reached, Z, bounded: bool) -> None:
        """Set the fitted attributes from a point of a search."""
        theta = reached.theta
        value, _ = objective.log_marginal_likelihood(theta)
        L, L_B, gamma, eta, coef = objective.factors()
        kernel, jitter = objective.kernel_at(theta), objective.jitter
        prior = objective.log_prior(theta)[0]
        upper = objective.upper_bound(theta) if bounded else np.nan
        mean = objective.mean.with_coef(coef if objective.mean.size else np.zeros((0, data.d)))
        posterior = SgprPosterior(
            kernel.copy(), mean, objective.inducing_at(theta).copy(), jitter, L, L_B, gamma, eta, data.device
        )
        data.name(self)
        self._dtype, self._single, self._on_gpu = data.dtype, data.single, data.on_gpu
        self.kernel_, self.noise_variance_ = kernel, objective.noise_at(theta)
        self.lower_bound_, self.upper_bound_, self.log_posterior_ = value, upper, value + prior
        self.loss_curve_ = np.array(reached.losses)
        self.n_iter_, self.n_evaluations_ = len(reached.losses), int(reached.n_evaluations)
        self.converged_, self.message_ = bool(reached.converged), reached.message
        self._state = {**reached.make_state(), "mark": data.mark(), "Z": Z}
        self._set_posterior(posterior)

    def _set_posterior(self, posterior) -> None:
        self._posterior, self.device_, self.jitter_ = posterior, posterior.device, posterior.jitter
        self.inducing_ = self._own(posterior.X)
        coef = posterior.mean.raw_coef() if posterior.mean.size else np.zeros((0, posterior.n_outputs))
        self.mean_coef_ = coef[:, 0] if self._single else coef

    def _check_parameters(self, n: int, Y: np.ndarray):
        """The noise variance to start from; raises unless all arguments make sense."""
        if self.kernel is not None and not isinstance(self.kernel, Kernel):
            raise TypeError(f"kernel must be an lvmfast kernel such as lvmfast.kernels.RBF(), got {self.kernel!r}")
        check_choice(self.inducing_init, "inducing_init", INITS)
        check_choice(self.approximation, "approximation", ("vfe", "fitc"))
        if not callable(self.mean):
            check_choice(self.mean, "mean", NAMES)
        for name in ("learn_noise", "learn_inducing"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.optimizer is not None:
            check_choice(self.optimizer, "optimizer", ("lbfgs",))
        check_integer(self.max_iter, "max_iter", 1)
        check_positive(self.tol, "tol", zero=True)
        check_jitter(self.jitter)
        check_callback(self.callback)
        if self.noise_variance is None:
            return 0.1 * spread_of(Y)
        if np.ndim(self.noise_variance) == 0:
            return check_positive(self.noise_variance, "noise_variance")
        noise = check_noise_array(self.noise_variance, n)
        if not (noise > 0).all():
            raise ValueError(
                f"noise_variance must be > 0 for every row of a sparse model, got {noise.min()} as the least"
            )
        return noise

    def _output(self) -> tuple[np.dtype, bool]:
        return self._dtype, self._single
