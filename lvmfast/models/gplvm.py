"""The Gaussian process latent variable model as a scikit-learn estimator."""

from __future__ import annotations

import time
import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._backend import blas_threads
from lvmfast._interrupt import deferred_interrupt
from lvmfast._validation import as_matrix, check_choice, check_integer, check_rng
from lvmfast.exceptions import FitInterruptedWarning
from lvmfast.kernels import RBF
from lvmfast.models._gplvm_file import load_gplvm, save_gplvm
from lvmfast.models._gplvm_fit import FitStatus, StagedFit, first_state, make_stages
from lvmfast.models._gplvm_parameters import check_parameters
from lvmfast.models._gplvm_posterior import Posterior, PosteriorCache
from lvmfast.models._gplvm_problem import Problem

__all__ = ["GPLVM", "FitStatus"]


class GPLVM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Gaussian process latent variable model: every column of Y is a Gaussian process over unknown inputs,

    ``log p(Y | X) = sum_d log N(y_d | mean_d, k(X, X) + noise_variance * I)``,

    maximised over the latents X, the kernel's parameters and the noise variance (type-II maximum likelihood; no prior
    on X, so that X and the lengthscale share one free scale).

    Parameters
    ----------
    n_components : int, default=2
        Latent dimensions, q.
    kernel : lvmfast.kernels.Kernel, optional
        Any kernel without bounds and priors; where its parameters start, variances in the squared units of Y. Fixed
        parameters stay; an array of lengthscales learns one per latent dimension. Default: RBF, its variance the mean
        square of the centred Y, one lengthscale of 1.3.
    noise_variance : float > 0, optional
        Where the noise variance starts. Default: 1.3 times the mean square of the centred Y: a fit that first takes
        everything for noise moves its latents freely.
    init : {"pca", "random"} or array of shape (n, n_components), default="pca"
        Latents to start from: principal components of unit variance (missing entries count as the mean), standard
        normal draws, or the array.
    optimizer : {"auto", "lbfgs", "adam"}, default="auto"
        "auto" moves the latents with Adam in float32 (cosine schedule) for half of ``max_iter``, at most 150
        iterations, then converges with L-BFGS; it gets farther in less time than either alone. From an array
        ``init`` it goes straight to L-BFGS, so that a good start is kept.
    learning_rate : float > 0, default=0.1
        Of Adam, in standard deviations of the initial latents; L-BFGS has none.
    max_iter : int, default=500
        Iterations in all.
    tol : float, default=1e-4
        Stop when ten iterations lower the loss by at most ``tol * max(1, |loss|)``.
    center : bool, default=True
        Subtract the column means (learned as ``mean_``). Without, the columns have mean zero in the model.
    missing : {"raise", "marginalize"}, default="raise"
        What NaN in the Y given to ``fit`` does. "marginalize" integrates missing entries out exactly; each
        distinct pattern of missing rows costs a factorisation per evaluation. New rows given to ``transform`` and
        ``score`` may have NaN either way.
    jitter : "auto" or float, default="auto"
        Added to the diagonal of the covariance: "auto" adds something only where a factorisation fails (see
        :func:`lvmfast.linalg.cholesky`), a number is always added.
    verbose : int, default=0
        1 shows progress bars.
    callback : callable, optional
        ``callback(status)`` after every iteration with a :class:`FitStatus`; a true answer stops the fit.
    random_state : int, numpy.random.Generator or None
        For ``init="random"`` and for ``sample``.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where the arithmetic is done. "auto": where the training data are; with CuPy arrays, fitted arrays and results
        are CuPy's. "cuda" moves NumPy arrays to the GPU once and gives NumPy arrays back.

    Attributes
    ----------
    embedding_ : array of shape (n, n_components)
        The latents; dtype of Y.
    kernel_ : kernel
        With its fitted parameters, in the units of Y.
    noise_variance_ : float
    mean_ : array of shape (d,)
    log_marginal_likelihood_ : float
        log p(Y | X) in nats, constants included, over the observed entries.
    loss_curve_ : array of shape (n_iter_,)
        Minus the log marginal likelihood per column, at each iteration.
    device_ : str
        Where the arithmetic is done, "cpu" or "cuda".
    n_iter_ : int
    n_evaluations_ : int
        Evaluations of the loss and its gradient.
    converged_ : bool
    message_ : str
        Why the fit ended.
    jitter_ : float
        What was added to the diagonal, in the units of ``noise_variance_``.
    Y_train_ : array of shape (n, d)
        The observations, a copy; predictions need them.
    n_features_in_ : int
    feature_names_in_ : array
        Where Y had column names.

    Notes
    -----
    One evaluation costs about ``n**3 + 3 n**2 r`` flops and ``n**2 + n r`` numbers of memory with ``r <= min(n, d)``
    the rank of Y: zero and dependent columns cost nothing.

    References
    ----------
    Lawrence (2004), "Gaussian process latent variable models for visualisation of high dimensional data".
    Lawrence (2005), "Probabilistic non-linear principal component analysis with Gaussian process latent
    variable models", JMLR 6, eq. 3-5.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> Y, digit = lvm.datasets.load_mnist_sample(return_X_y=True)
    >>> model = lvm.GPLVM(2).fit(Y[:100])
    >>> model.embedding_.shape
    (100, 2)
    """

    def __init__(
        self,
        n_components=2,
        *,
        kernel=None,
        noise_variance=None,
        init="pca",
        optimizer="auto",
        learning_rate=0.1,
        max_iter=500,
        tol=1e-4,
        center=True,
        missing="raise",
        jitter="auto",
        verbose=0,
        callback=None,
        random_state=None,
        device="auto",
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.noise_variance = noise_variance
        self.init = init
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.center = center
        self.missing = missing
        self.jitter = jitter
        self.verbose = verbose
        self.callback = callback
        self.random_state = random_state
        self.device = device

    @_backend.memory_errors
    def fit(self, Y, y=None) -> GPLVM:
        """Fit the latents and all parameters to ``Y``.

        Ctrl-C ends the fit with what has been reached, a :class:`FitInterruptedWarning` and a model that can
        predict, be saved and be resumed.

        Parameters
        ----------
        Y : array of shape (n, d)
            At least 2 rows. float32 is fitted in float32.
        y : ignored

        Returns
        -------
        self : GPLVM

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is then as it was.
        NotPositiveDefiniteError, NonFiniteError
            If the covariance cannot be factorised or the loss is not finite.
        """
        device = _backend.check_device(self.device, Y)
        data = self._check_training_data(Y)
        check_parameters(self, *data.shape)
        init, rng = self._checked_init(len(data)), check_rng(self.random_state)
        with blas_threads(len(data)):
            problem = Problem(data, center=self.center, device=device)
            X = problem.initial_latents(init, self.n_components, rng)
        kernel = self.kernel if self.kernel is not None else RBF(problem.scale**2, 1.3)
        noise = 1.3 * problem.scale**2 if self.noise_variance is None else self.noise_variance
        objective = problem.objective(kernel, self.n_components, self.jitter)
        square = problem.scale**2
        theta = objective.pack(X, noise / square)

        on_gpu = _backend.is_gpu(Y)

        def name_features(model):
            validate_data(model, _backend.to_numpy(Y), skip_check_array=True, reset=True)
            model._own_arrays(on_gpu)

        self._run(problem, kernel, data, first_state(theta), name_features)
        return self

    def fit_transform(self, Y, y=None) -> np.ndarray:
        """Fit, and return ``embedding_`` of shape (n, n_components)."""
        return self.fit(Y).embedding_

    @_backend.memory_errors
    def resume(self, max_iter=None) -> GPLVM:
        """Go on with a fit that was interrupted, stopped, checkpointed or ended by ``max_iter``.

        The result is the same, bit for bit, as of a fit that had not stopped (with the same parameters, the same
        versions of lvmfast, SciPy and BLAS, and as many threads). A larger ``max_iter`` counts as the same, for
        ``optimizer="auto"`` if both are at least 300. With another ``optimizer`` the fit goes on from where it is.

        Parameters
        ----------
        max_iter : int, optional
            New limit, which replaces the parameter ``max_iter``.

        Returns
        -------
        self : GPLVM
        """
        check_is_fitted(self)
        limit = self.max_iter if max_iter is None else max_iter
        if check_integer(limit, "max_iter", 1) < self.n_iter_:
            raise ValueError(f"max_iter must be >= n_iter_ = {self.n_iter_}, which are done, got {limit}")
        self.set_params(max_iter=limit)
        check_parameters(self, *self.Y_train_.shape)
        if self.n_components != self.embedding_.shape[1]:
            raise ValueError(
                f"n_components must stay {self.embedding_.shape[1]} to resume a fit, got {self.n_components}; fit anew"
            )
        features = {name: vars(self)[name] for name in ("n_features_in_", "feature_names_in_") if name in vars(self)}
        with blas_threads(len(self.Y_train_)):
            data = _backend.to_numpy(self.Y_train_)
            problem = Problem(data, center=self.center, device=_backend.usable_device(self.device_))
        on_gpu = _backend.is_gpu(self.Y_train_)

        def name_features(model):
            vars(model).update(features)
            model._own_arrays(on_gpu)

        self._run(problem, self.kernel_, data, self._state, name_features)
        return self

    @_backend.memory_errors
    def transform(self, Y, *, return_std=False):
        """Latents of new rows: for each row the x that maximises ``log p(y | x, X, Y_train)``.

        Everything else stays fixed, and each row is by itself: its latent does not depend, not by a bit, on the
        other rows (on a GPU: but by rounding). The search starts from the training latents whose reconstructions are
        nearest.

        Parameters
        ----------
        Y : array of shape (m, d)
            NaN marks missing entries; they are left out.
        return_std : bool, default=False

        Returns
        -------
        X : array of shape (m, n_components)
        std : array of shape (m, n_components)
            Only with ``return_std``: standard deviations of the Laplace approximation, infinite where the row's
            density has no maximum.
        """
        given = Y
        Y, scaled = self._check_new_rows(Y)
        latents, _ = self._project(scaled)
        dtype = self.embedding_.dtype
        if not return_std:
            return _backend.like(latents.astype(dtype, copy=False), given)
        std = np.sqrt(self._posterior().latent_variances(scaled, latents))
        return tuple(_backend.like(a.astype(dtype, copy=False), given) for a in (latents, std))

    @_backend.memory_errors
    def inverse_transform(self, X, *, return_std=False, include_noise=False):
        """Posterior mean of the observations at latents ``X``: ``mean_ + k(X, embedding_) K^-1 (Y - mean_)``.

        Parameters
        ----------
        X : array of shape (m, n_components)
        return_std : bool, default=False
        include_noise : bool, default=False
            Whether the standard deviation is that of a new observation or of the noise-free function.

        Returns
        -------
        Y : array of shape (m, d)
        std : array of shape (m, d)
            Only with ``return_std``.
        """
        given = X
        X, posterior = self._check_latents(X)
        scale, dtype = self._scale, self.embedding_.dtype
        mean = _backend.to_numpy(self.mean_) + scale * posterior.mean(X)
        mean = _backend.like(mean.astype(dtype, copy=False), given)
        if not return_std:
            return mean
        variance = posterior.variances(X) + (posterior.noise if include_noise else 0.0)
        return mean, _backend.like((scale * np.sqrt(variance)).astype(dtype, copy=False), given)

    @_backend.memory_errors
    def sample(self, X, n_samples=1, *, joint=True, include_noise=False, random_state=None) -> np.ndarray:
        """Draws from the posterior of the observations at latents ``X``.

        Parameters
        ----------
        X : array of shape (m, n_components)
        n_samples : int, default=1
        joint : bool, default=True
            Draw the rows together, as values of one function; otherwise each row by itself.
        include_noise : bool, default=False
        random_state : int, numpy.random.Generator or None
            None: the estimator's own ``random_state``.

        Returns
        -------
        samples : array of shape (n_samples, m, d)
        """
        given = X
        X, posterior = self._check_latents(X)
        n_samples = check_integer(n_samples, "n_samples", 1)
        rng = check_rng(self.random_state if random_state is None else random_state)
        draws = posterior.sample(X, n_samples, rng, joint=joint)
        if include_noise:
            draws += np.sqrt(posterior.noise) * rng.standard_normal(draws.shape)
        draws = _backend.to_numpy(self.mean_) + self._scale * draws
        return _backend.like(draws.astype(self.embedding_.dtype, copy=False), given)

    @_backend.memory_errors
    def score(self, Y, y=None) -> float:
        """Mean over the rows of ``max_x log p(y | x, X, Y_train)``, in nats per row; larger is better."""
        _, scaled = self._check_new_rows(Y)
        _, log_density = self._project(scaled)
        observed = (~np.isnan(scaled)).sum(axis=1)
        return float(np.mean(log_density - observed * np.log(self._scale)))

    def save(self, path) -> None:
        """Write the fitted model, with all that :meth:`resume` needs, to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_gplvm(self, path)

    @classmethod
    def load(cls, path) -> GPLVM:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_gplvm(cls, path)

    # How a fit runs.

    def _run(self, problem, kernel, data, state, name_features) -> None:
        """From ``state`` to the end; sets the fitted attributes, then warns."""
        begun = time.perf_counter()
        explore = isinstance(self.init, str)
        stages = make_stages(self.optimizer, self.learning_rate, self.max_iter, self.tol, problem.dtype, explore)

        def make_objective(dtype):
            return problem.objective(kernel, self.n_components, self.jitter, dtype, check_interrupt)

        def on_iteration(snapshot, iteration, loss, n_evaluations):
            bar.n = iteration
            bar.set_postfix(loss=f"{loss:.2f}")
            if self.callback is None:
                return False

            def model():
                fitted = type(self)(**{**self.get_params(deep=False), "callback": None})
                objective = problem.objective(kernel, self.n_components, self.jitter)
                fitted._finish(problem, kernel, data, objective, snapshot(), False, "a checkpoint")
                name_features(fitted)
                return fitted

            elapsed = time.perf_counter() - begun
            return bool(self.callback(FitStatus(iteration, loss, n_evaluations, elapsed, model)))

        bar = tqdm(total=self.max_iter, disable=not self.verbose, desc="GPLVM", unit="it")
        with bar, blas_threads(problem.n), deferred_interrupt() as check_interrupt:
            fit = StagedFit(make_objective, stages, state)
            result = fit.run(on_iteration)
            objective = problem.objective(kernel, self.n_components, self.jitter)
            self._finish(problem, kernel, data, objective, fit.snapshot, result.converged, result.message)
            name_features(self)
        if result.interrupted:
            warnings.warn(
                f"the fit was interrupted after {self.n_iter_} iterations; the model holds what was reached, and "
                "resume() goes on",
                FitInterruptedWarning,
                stacklevel=4,
            )
        elif not (result.converged or result.stopped):
            if self.n_iter_ >= self.max_iter:
                cause = f"max_iter={self.max_iter} was not enough; go on with resume(max_iter=...), or raise tol"
            else:
                cause = "the line search found no lower loss: it may be at the limit of rounding; look at loss_curve_"
            warnings.warn(
                f"the fit ended before convergence ({result.message}): {cause}", ConvergenceWarning, stacklevel=4
            )

    def _finish(self, problem, kernel, data, objective, snapshot, converged, message) -> None:
        """Set the fitted attributes from a point of a fit."""
        theta = snapshot.state["theta"]
        loss, _ = objective(theta)
        X, fitted, noise = objective.unpack(theta)
        square = problem.scale**2
        self.embedding_ = X.astype(problem.dtype)
        self.kernel_ = kernel.copy()
        fitted = fitted.scaled(square).parameters
        for name, parameter in self.kernel_.parameters.items():
            if not parameter.fixed:
                self.kernel_.parameters[name] = fitted[name].value
        self.noise_variance_ = noise * square
        self.jitter_ = objective.jitter * square
        self.mean_, self._scale = problem.mean, problem.scale
        self.log_marginal_likelihood_ = -float(loss + objective.loss_offset()) * problem.d
        self.loss_curve_ = snapshot.losses
        self.n_iter_, self.n_evaluations_ = len(snapshot.losses), int(snapshot.n_evaluations)
        self.converged_, self.message_ = bool(converged), message
        self.Y_train_, self.device_ = data, problem.device
        self._state = snapshot.state
        self._cache = PosteriorCache()

    def _own_arrays(self, on_gpu: bool) -> None:
        """Fitted arrays to where the training data are."""
        for name in ("embedding_", "mean_", "Y_train_"):
            array = getattr(self, name)
            setattr(self, name, _backend.to_device(array, "cuda") if on_gpu else _backend.to_numpy(array))

    def _posterior(self) -> Posterior:
        if self._cache.posterior is None:
            with blas_threads(len(self.Y_train_)):
                device = _backend.usable_device(self.device_)
                problem = Problem(_backend.to_numpy(self.Y_train_), center=self.center, device=device)
                square = problem.scale**2
                noise, jitter = self.noise_variance_ / square, self.jitter_ / square
                self._cache.posterior = Posterior(
                    problem, self.kernel_.scaled(1.0 / square), _backend.to_numpy(self.embedding_), noise, jitter
                )
        return self._cache.posterior

    def _project(self, scaled):
        with tqdm(total=len(scaled), disable=not self.verbose, desc="transform", unit="row") as bar:
            return self._posterior().project(scaled, bar.update)

    # What may be passed.

    def _check_training_data(self, Y) -> np.ndarray:
        check_choice(self.missing, "missing", ("raise", "marginalize"))
        _refuse_text(Y)
        marginalize = self.missing == "marginalize"
        data = check_array(
            _backend.to_numpy(Y),
            dtype=(np.float64, np.float32),
            ensure_all_finite="allow-nan",
            ensure_min_samples=2,
            order="C",
            copy=True,
            input_name="Y",
            estimator=self,
        )
        if not marginalize and np.isnan(data).any():
            row, column = (int(i) for i in np.argwhere(np.isnan(data))[0])
            raise ValueError(
                f"Input Y contains NaN, first at row {row}, column {column}. GPLVM fits missing entries only with "
                "missing='marginalize', which integrates them out exactly; or fit the complete rows and transform "
                "the others"
            )
        if marginalize and np.isnan(data).all():
            raise ValueError("Y must have at least one entry that is not NaN, got none")
        return data

    def _checked_init(self, n: int):
        if isinstance(self.init, str):
            check_choice(self.init, "init", ("pca", "random"))
            return self.init
        init = as_matrix(_backend.to_numpy(self.init), "init")
        if init.shape != (n, self.n_components):
            raise ValueError(f"init must have shape ({n}, {self.n_components}), got {init.shape}")
        return init

    def _check_new_rows(self, Y) -> tuple[np.ndarray, np.ndarray]:
        """New rows as given and scaled like the training data, in float64."""
        check_is_fitted(self)
        _refuse_text(Y)
        self._check_same_device(Y=Y)
        Y = _backend.to_numpy(Y)
        data = check_array(
            Y, dtype=(np.float64, np.float32), order="C", ensure_all_finite="allow-nan", input_name="Y", estimator=self
        )
        validate_data(self, Y, skip_check_array=True, reset=False)
        empty = np.isnan(data).all(axis=1)
        if empty.any():
            raise ValueError(f"every row of Y must have an entry that is not NaN, got none in row {empty.argmax()}")
        return data, (data.astype(np.float64) - _backend.to_numpy(self.mean_)) / self._scale

    def _check_latents(self, X) -> tuple[np.ndarray, Posterior]:
        check_is_fitted(self)
        self._check_same_device(X=X)
        X = as_matrix(_backend.to_numpy(X), "X", columns=self.embedding_.shape[1], dtype=np.float64)
        return X, self._posterior()

    def _check_same_device(self, **array) -> None:
        """Raise for an array on the CPU where the training data are on the GPU, and the other way round."""
        if _backend.is_gpu(self.Y_train_) or self.device_ != "cuda":
            _backend.module_for(**array, training_data=self.Y_train_)

    @property
    def _n_features_out(self) -> int:
        return self.embedding_.shape[1]

    def __setstate__(self, state):
        super().__setstate__(state)
        if "Y_train_" in state:
            vars(self).setdefault("device_", "cpu")  # of a pickle from before there were devices

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "_cache" in state:
            state["_cache"] = PosteriorCache()  # filled again when needed
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalize"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _refuse_text(Y) -> None:
    """Raise for GPU arrays and for text, which NumPy would read as numbers."""
    _backend.module_for(Y)
    kind = np.asarray(Y).dtype.kind if isinstance(Y, (list, tuple)) else getattr(getattr(Y, "dtype", None), "kind", "f")
    if kind in "USV":
        raise ValueError(f"Y must hold real numbers, got text or records (dtype kind {kind!r}); convert it first")
