"""Stochastic variational Gaussian processes with any likelihood as a scikit-learn estimator."""

from __future__ import annotations

import copy
import dataclasses
import time

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_integer, check_rng
from lvmfast.likelihoods import Bernoulli
from lvmfast.models._svgp_file import load_svgp, save_svgp
from lvmfast.models._svgp_fit import Run, Settings, SvgpStatus
from lvmfast.models._svgp_predictions import SvgpPredictions, classifies
from lvmfast.models._svgp_setup import Data, check_parameters
from lvmfast.models._svgp_target import kind_of
from lvmfast.models._svgp_work import SvgpFitting
from lvmfast.random import seed_of

__all__ = ["SVGP", "SvgpStatus"]


class SVGP(SvgpFitting, SvgpPredictions, BaseEstimator):
    r"""Stochastic variational Gaussian process: any likelihood, any number of rows. With u the values at m inducing
    inputs Z and ``q(u_p) = N(mu_p, S_p)`` for each of P latent functions,

    ``log p(y) >= sum_i E_q log p(y_i | f_1(x_i), ..., f_P(x_i)) - sum_p KL(q(u_p) || p(u_p))``.

    The bound, estimated with batches of b rows, is maximised over q(u) by natural gradients, and over the parameters of
    kernel, likelihood and mean and the inducing inputs by Adam, with the log densities of priors if there are any. A
    step costs O(P (b m^2 + m^3)) time and O(P m^2) memory, whatever the number of rows.

    Parameters
    ----------
    kernel : lvmfast.kernels.Kernel, optional
        Any kernel, which the latent functions share; where its parameters start. Default: RBF with one lengthscale per
        input, from its spread.
    likelihood : str or lvmfast.likelihoods.Likelihood, default="gaussian"
        "gaussian", "bernoulli" (logit), "probit", "poisson", "student_t", "beta", "gamma", "negative_binomial",
        "ordinal", "softmax" or "robust_max", whose parameters start from the data; or an object, which says where they
        start. Its free parameters are learned. Bernoulli, Ordinal, Softmax and RobustMax make a classifier, all others
        a regressor.
    inducing : int or array of shape (m, q), optional
        How many inducing inputs, or where they start; at most the number of rows. Default: 100, or n if that is less.
    inducing_init : {"k-means", "greedy-variance", "subset"}, default="k-means"
        Where a number of them starts, as for :class:`SGPR`, from at most 65536 rows.
    learn_inducing : bool, default=True
        False keeps Z.
    whiten : bool, default=True
        Whether q is that of w, ``u = mean(Z) + L w``, ``L L^T = k(Z, Z)``, while other things are learned.
    q_diag : bool, default=False
        Whether S_p (of w, or of u) is diagonal.
    mean : {"zero", "constant", "linear"} or callable, default="constant"
        Coefficients are learned, one set per latent function. A callable takes X (n, q) and returns (n,) or (n, P).
    batch_size : int, default=1024
    max_iter : int, default=2000
        Steps, of one batch each.
    optimizer : {"natural", "adam"}, default="natural"
        Natural gradients for q(u) and Adam for the rest, or Adam for everything.
    step_size : float in (0, 1], optional
        Of natural gradients; shorter where a step would leave S without an inverse. Default: 1 for a Gaussian
        likelihood whose batches hold all rows; for StudentT, RobustMax and Custom, whose logarithms are not concave,
        from 1e-3 to 0.1 in 100 steps; else 0.1, for a Gaussian one or batches of all rows 0.3, times ``schedule``, but
        with batches at most 0.15 b / m, and at least 0.01.
    learning_rate : float, default=0.05
        Of Adam.
    schedule : None, "cosine" or callable, default="cosine"
        ``schedule(step, max_iter)``, step = 0, 1, ..., multiplies the learning rate, not in :meth:`partial_fit`;
        "cosine" brings it to 0 at the end, see :func:`lvmfast.optim.cosine_decay`.
    early_stopping : bool, default=False
        Whether to hold rows out, and keep the parameters with the best predictive density of them.
    validation_fraction : float, default=0.1
        Of the rows (at most 65536) that are held out.
    n_iter_no_change : int, default=10
        Stop after so many checks without a better one.
    eval_every : int, optional
        Steps from one check to the next. Default: those of one pass over the data.
    jitter : "auto" or float, default="auto"
        Added to the diagonal of k(Z, Z). "auto": 1e-8 of the mean diagonal (2e-5 for float32 data), and more where a
        pivot of the factorisation still falls below 1e-12 of it.
    random_state : int, numpy.random.Generator or None
        For inducing inputs, batches and the rows held out.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every step with a :class:`SvgpStatus`; a true answer stops the fit.
    device : {"auto", "cpu", "cuda"}, default="auto"
        As for :class:`SGPR`; batches of memory maps and files are moved one by one.

    Attributes
    ----------
    kernel_, likelihood_ : kernel, likelihood
        With their fitted parameters.
    inducing_ : array of shape (m, q)
        Z, float64.
    mean_coef_ : array of shape (p,) or (p, P)
        Intercept, then slopes; p is 0 for the zero mean and for a callable.
    classes_ : array of shape (K,)
        Of a classifier: sorted, but for Ordinal in their order.
    lower_bound_ : float
        The bound in nats, constants included: of all data (less those held out) if they are at most 100,000 rows in
        memory, else the mean of its estimates over the last pass (of the last 100 steps if a pass has no known end);
        after :meth:`partial_fit` that of the last batch.
    elbo_curve_ : array
        Estimates of the bound, one per step, before it was taken; with natural gradients after that of q, which has
        seen the batch then.
    loss_curve_ : array
        Minus (estimate + log prior) per row of the data.
    validation_curve_ : array
        Mean log predictive density of the rows held out, at every check.
    jitter_ : float
        What was added to the diagonal of k(Z, Z).
    device_ : str
        Where the arithmetic is done, "cpu" or "cuda".
    n_iter_ : int
        Steps that were taken. With early stopping the parameters are those after ``best_iter_`` of them.
    best_iter_ : int
    message_ : str
        Why the fit ended.
    n_features_in_ : int
    feature_names_in_ : array
        Where X had column names.

    Notes
    -----
    What is m x m is in float64; the b m^2 part is in the dtype of the data as long as that is enough. Predictions are
    made in float64 and have the data's dtype. White noise in a kernel is part of a function's variance at each row and
    of no other covariance.

    References
    ----------
    Hensman, Fusi & Lawrence (2013), "Gaussian processes for big data"; Hensman, Matthews & Ghahramani (2015), "Scalable
    variational Gaussian process classification", eq. 18-19 (the bound). Salimbeni, Eleftheriadis & Hensman (2018),
    "Natural gradients in practice: non-conjugate variational inference in Gaussian process models".

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(0, 6, 400)[:, None]
    >>> y = np.where(np.sin(X[:, 0]) > 0, "up", "down")
    >>> model = lvm.SVGP(likelihood="bernoulli", inducing=20, max_iter=100, random_state=0).fit(X, y)
    >>> model.predict([[1.5], [4.5]]).tolist()
    ['up', 'down']
    """

    def __init__(
        self,
        kernel=None,
        *,
        likelihood="gaussian",
        inducing=None,
        inducing_init="k-means",
        learn_inducing=True,
        whiten=True,
        q_diag=False,
        mean="constant",
        batch_size=1024,
        max_iter=2000,
        optimizer="natural",
        step_size=None,
        learning_rate=0.05,
        schedule="cosine",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        eval_every=None,
        jitter="auto",
        random_state=None,
        verbose=0,
        callback=None,
        device="auto",
    ):
        self.kernel = kernel
        self.likelihood = likelihood
        self.inducing = inducing
        self.inducing_init = inducing_init
        self.learn_inducing = learn_inducing
        self.whiten = whiten
        self.q_diag = q_diag
        self.mean = mean
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.optimizer = optimizer
        self.step_size = step_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.eval_every = eval_every
        self.jitter = jitter
        self.random_state = random_state
        self.verbose = verbose
        self.callback = callback
        self.device = device

    @_backend.memory_errors
    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        *,
        noise_variance=None,
        exposure=None,
        classes=None,
        n_total=None,
        validation=None,
    ) -> SVGP:
        """Fit to data, of which a step reads one batch.

        Ctrl-C ends the fit with what was reached, a :class:`FitInterruptedWarning` and a model that predicts. An error
        after the first step (a source that ends early, a bad row in a file, numbers that overflow) is raised, and the
        model keeps what was reached, too: :meth:`resume` goes on.

        Parameters
        ----------
        X : array of shape (n, q), or an iterable of batches
            NumPy or CuPy arrays, data frames, memory maps, and what has a shape, a dtype and slices of rows (datasets
            of HDF5, zarr arrays), of which no more than some blocks are in memory. Without y: an iterable, or a
            callable that returns a new one for every pass, of ``(X, y)``, ``(X, y, known)`` or dicts with the keys
            "X", "y", "sample_weight" and "noise_variance" or "exposure", one for each step.
        y : array of shape (n,) or (n, d), optional
            Several columns, not of classes: a latent function each.
        sample_weight : array of shape (n,), optional
        noise_variance : array of shape (n,), optional
            Known variances of the noise of a Gaussian likelihood.
        exposure : array of shape (n,), optional
            Of a Poisson likelihood.
        classes : array, optional
            All labels; needed where y can be read only once, and by Ordinal if labels are not numbers: in their order.
        n_total : int, optional
            Rows of the whole data, where an iterable does not tell.
        validation : tuple (X, y) or (X, y, known), optional
            For early stopping; needed with an iterable.

        Returns
        -------
        self : SVGP

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is as it was, unless a step had been taken.
        SourceEndedError
            If batches end before the steps do.
        NotPositiveDefiniteError, NonFiniteError
            If k(Z, Z) cannot be factorised, or the bound is not finite.
        """
        begun = time.perf_counter()
        check_parameters(self)
        seed = seed_of(self.random_state if self.random_state is None else check_rng(self.random_state))
        data = Data(
            self,
            X,
            y,
            sample_weight=sample_weight,
            known={"noise_variance": noise_variance, "exposure": exposure},
            classes=classes,
            n_total=n_total,
            validation=validation,
            batch_size=self.batch_size,
            seed=seed,
        )
        problem = self._first_problem(data, data.n_total, seed)
        run = Run(problem, Settings.of(self), problem.initial())
        problem.set_prior(run.theta)
        self._go(data, run, {"seed": np.array(seed, dtype=np.uint64), "mark": data.mark()}, begun)
        return self

    @_backend.memory_errors
    def resume(
        self, X, y=None, sample_weight=None, *, max_iter=None, noise_variance=None, exposure=None, n_total=None,
        validation=None,
    ) -> SVGP:  # fmt: skip
        """Go on with a fit that was interrupted, stopped, checkpointed or ended by ``max_iter``, with its data.

        The result is the same, bit for bit on the CPU, as of a fit that had not stopped (with the same parameters,
        ``max_iter`` among them where there is a schedule, and the same versions of lvmfast and BLAS). An iterable that
        can be started again is read up to its place; an iterator goes on where it stands.

        Parameters
        ----------
        X, y, sample_weight, noise_variance, exposure, n_total, validation
            As for :meth:`fit`: the data of the fit.
        max_iter : int, optional
            New limit, which replaces the parameter ``max_iter``.

        Returns
        -------
        self : SVGP
        """
        begun = time.perf_counter()
        check_is_fitted(self)
        if max_iter is not None and check_integer(max_iter, "max_iter", 1) < self.n_iter_:
            raise ValueError(f"max_iter must be >= n_iter_ = {self.n_iter_}, which are done, got {max_iter}")
        model = copy.copy(self)
        if max_iter is not None:
            model.max_iter = max_iter
        check_parameters(model)
        place = {name[7:]: value for name, value in self._state.items() if name.startswith("source.")}
        data = Data(
            model,
            X,
            y,
            sample_weight=sample_weight,
            known={"noise_variance": noise_variance, "exposure": exposure},
            n_total=n_total,
            validation=validation,
            batch_size=self.batch_size,
            seed=int(self._state["seed"]),
            state=place or None,
            target=self._target(),
        )
        mark = data.mark()
        if len(self._state["mark"]) and not np.array_equal(mark, self._state["mark"]):
            raise ValueError("X and y must be the data of the fit to resume it, got others; fit anew")
        run = model._restored(data)
        self.max_iter = model.max_iter
        self._go(data, run, {"seed": self._state["seed"], "mark": mark}, begun)
        return self

    @_backend.memory_errors
    def partial_fit(
        self, X, y, sample_weight=None, *, noise_variance=None, exposure=None, classes=None, n_total=None
    ) -> SVGP:
        """One step with these rows, from where the model is; for data that come in pieces.

        Parameters
        ----------
        X, y, sample_weight, noise_variance, exposure : arrays
            A batch.
        classes : array, optional
            In the first call: all labels, as for :meth:`fit`; default those of y.
        n_total : int, optional
            Rows that this batch stands for; default all that came so far.

        Returns
        -------
        self : SVGP
        """
        check_parameters(self)
        first = not hasattr(self, "_posterior")
        known = {"noise_variance": noise_variance, "exposure": exposure}
        seed = seed_of(self.random_state if self.random_state is None else check_rng(self.random_state))
        target = None if first else self._target()
        data = Data(
            self,
            X,
            y,
            sample_weight=sample_weight,
            known=known,
            classes=classes,
            target=target,
            piece=True,
            reset=first,
        )
        seen = len(X) + (0 if first else int(self._state["seen"]))
        total = seen if n_total is None else check_integer(n_total, "n_total", len(X))
        if first:
            problem = self._first_problem(data, total, seed)
            run = Run(problem, Settings.of(self), problem.initial())
            problem.set_prior(run.theta)
        else:
            run = self._restored(data)
        run.settings.schedule = None
        with _backend.blas_threads(1):
            batch = data.batch(0)  # without the rows of weight 0, which count among those that it stands for
            run.step(dataclasses.replace(batch, n_total=total * len(batch) / len(X)), total)
        more = {"seed": np.array(seed, dtype=np.uint64), "mark": np.empty(0), "seen": np.array(seen)}
        self._finish(data, run, more, "partial_fit", run.bounds[-1])
        return self

    def elbo(self, X, y, theta=None, *, gradient=False, sample_weight=None, noise_variance=None, exposure=None):
        """The bound for data, in nats, with the fitted q(u), in the coordinates of the fit; priors are not in it.

        Parameters
        ----------
        X, y, sample_weight, noise_variance, exposure : arrays
            As for :meth:`fit`.
        theta : array of shape (p,), optional
            ``kernel_.theta`` and ``likelihood_.theta`` (by default logarithms), the coefficients of the mean, latent
            function after latent function, slopes by inputs in units of their spread, and if they are learned the
            inducing inputs, row after row. Default: the fitted ones.
        gradient : bool, default=False

        Returns
        -------
        value : float
        gradient : array of shape (p,)
            By theta, with q(u) held; only with ``gradient``.
        """
        self._fitted()
        known = {"noise_variance": noise_variance, "exposure": exposure}
        data = Data(
            self, X, y, sample_weight=sample_weight, known=known, target=self._target(), piece=True, reset=False
        )
        run = self._restored(data)
        problem = run.problem
        at, q = run.result()
        problem.compiled.set_q(*q)
        if theta is not None:
            theta = as_float_array(theta, "theta").astype(np.float64)
            if theta.shape != (problem.size,):
                raise ValueError(f"theta must have shape ({problem.size},), got {theta.shape}")
            if not np.isfinite(theta).all():
                raise ValueError(f"theta must be finite, got {theta}")
            at = problem.from_units(theta)
        with _backend.blas_threads(1):
            answer = problem.evaluate(at, problem.rows(data.batch(0)))
        return (answer.bound, answer.gradient / problem.units()) if gradient else answer.bound

    @classmethod
    def from_sgpr(cls, model, **params) -> SVGP:
        """A fitted SVGP with the q(u), kernel, noise, mean and inducing inputs of a fitted :class:`SGPR`.

        It predicts the same, and can go on: with other data, or batches of more of them (``partial_fit``, ``resume``).

        Parameters
        ----------
        model : SGPR
        **params
            Arguments of SVGP, except ``kernel``, ``likelihood``, ``inducing`` and ``mean``, and ``q_diag=True``.
            ``jitter`` is what the SGPR used, if it is not given.
        """
        from lvmfast.models._svgp_from_sgpr import from_sgpr

        return from_sgpr(cls, model, params)

    def save(self, path) -> None:
        """Write the fitted model, with all that :meth:`resume` needs but the data, to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_svgp(self, path)

    @classmethod
    def load(cls, path) -> SVGP:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_svgp(cls, path)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if classifies(self):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
            tags.classifier_tags.multi_class = kind_of(self.likelihood) is not Bernoulli
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
            tags.target_tags.multi_output = True
        return tags
