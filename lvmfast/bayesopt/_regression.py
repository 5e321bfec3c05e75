"""The regression that stands for the function: fitted on a schedule, extended in between."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from lvmfast._validation import check_integer, check_positive
from lvmfast.bayesopt._outputs import Outputs
from lvmfast.bayesopt._space import Space
from lvmfast.exceptions import FitInterruptedWarning, LvmfastError, NotPositiveDefiniteError
from lvmfast.kernels import RBF
from lvmfast.models import GPR
from lvmfast.priors import LogNormal

__all__ = ["Regression", "believing", "check_template", "default_model"]

SMALL = 32  # observations up to which every one of them is a reason to fit
GROWTH = 1.1
FRESH = 5  # one fit in so many also starts where the first one did
LEAST_NOISE = 1e-8  # of the variance of the observations, where they are said to be exact


def default_model(space: Space) -> GPR:
    """RBF with a lengthscale for each column, a constant mean and Gaussian noise of unknown variance.

    The lengthscales have log-normal priors whose median grows with the root of the number of dimensions, as distances
    in a cube do (Hvarfner et al. 2024, "Vanilla Bayesian optimization performs great in high dimensions", sec. 4).
    """
    median = 0.5 * math.sqrt(len(space))
    kernel = RBF(1.0, np.full(space.n_columns, median))
    kernel.set_prior("variance", LogNormal(0.0, 1.0)).set_prior("lengthscale", LogNormal(math.log(median), 1.0))
    return GPR(kernel, mean="constant", noise_variance=1e-2)


def check_template(model, space: Space) -> GPR:
    """An unfitted copy of ``model``, or the default."""
    if model is None:
        model = default_model(space)
    elif not isinstance(model, GPR):
        raise TypeError(f"model must be an lvmfast.GPR or None, got {model!r}")
    if np.ndim(model.noise_variance):
        raise ValueError("model must have a number as noise_variance, or None, got an array; rows come one by one")
    return clone(model)


def check_refit(refit):
    """``refit``, "auto" or an int."""
    if isinstance(refit, str):
        if refit != "auto":
            raise ValueError(f"refit must be 'auto' or an integer >= 1, got {refit!r}")
        return refit
    return check_integer(refit, "refit", 1)


def believing(model: GPR, U: np.ndarray) -> GPR:
    """``model`` given that the function takes its posterior mean at U: the mean stays, the variance shrinks.

    For acquisition functions that depend on the variance of future means, such as the knowledge gradient, no more is
    to be known of a point before its outcome.

    References
    ----------
    Ginsbourger, Le Riche & Carraro (2010), "Kriging is well-suited to parallelize optimization", algorithm 1 (the
    kriging believer).
    """
    return _extended(model, U, model.predict(U)) if len(U) else model


@dataclasses.dataclass(frozen=True)
class Fit:
    """A regression of standardised observations; after how many it was fitted, and how often it has been."""

    model: GPR
    outputs: Outputs
    n_fitted: int
    n_fits: int


class Regression:
    """What is kept between observations.

    Parameters
    ----------
    template : GPR
    n_columns : int
        Of the cube.
    refit : "auto" or int
        Fit after so many more observations. "auto": one while there are at most 32, a tenth more afterwards.
    noise : float, optional
        Known variance of an observation.
    """

    def __init__(self, template: GPR, n_columns: int, refit, noise):
        self.template, self.n_columns, self.refit = template, n_columns, check_refit(refit)
        self.noise = None if noise is None else check_positive(noise, "noise", zero=True)
        self.fit: Fit | None = None

    @property
    def model(self) -> GPR | None:
        """As it is now."""
        return self.fit.model if self.fit is not None else None

    @property
    def n_seen(self) -> int:
        """How many observations it holds."""
        return len(self.fit.model.X_train_) if self.fit is not None else 0

    def update(self, U: np.ndarray, y: np.ndarray) -> None:
        """Bring the model to finite observations y (n,) at U (n, d), the first of which it has seen."""
        fit, n = self.fit, len(y)
        if fit is None or self.is_due(n):
            self.fit = self.fitted(U, y)
        elif n > self.n_seen:
            seen = self.n_seen
            more = _extended(fit.model, U[seen:], fit.outputs.standardise(y[seen:]))
            self.fit = dataclasses.replace(fit, model=more)

    def is_due(self, n: int) -> bool:
        """Whether parameters are to be fitted at n observations."""
        if self.refit == "auto":
            return n > self.fit.n_fitted and (n <= SMALL or n >= GROWTH * self.fit.n_fitted)
        return n >= self.fit.n_fitted + self.refit

    def fitted(self, U: np.ndarray, y: np.ndarray) -> Fit:
        """Parameters of the highest posterior density among those reached from the last, and now and then afresh."""
        outputs, last = Outputs.of(y), self.fit
        z = outputs.standardise(y)
        n_fits = 0 if last is None else last.n_fits
        starts = []
        if n_fits % FRESH == 0:
            starts.append(self.start(outputs))
        if last is not None:
            warm = self.start(outputs).set_params(kernel=last.model.kernel_)
            if self.noise is None:
                warm.set_params(noise_variance=last.model.noise_variance_)
            starts.append(warm)
        best, failure = None, None
        for model in starts:
            try:
                _fit(model, U, z)
            except LvmfastError as error:
                failure = error
                continue
            if best is None or model.log_posterior_ > best.log_posterior_:
                best = model
        if best is None:
            if last is None:
                raise failure
            best = _fit(warm.set_params(optimizer=None), U, z)
        return Fit(best, outputs, len(y), n_fits + 1)

    def tried(self) -> GPR:
        """A regression of two observations made up here: it raises for a template that could not be fitted later."""
        ends = np.stack([np.full(self.n_columns, u) for u in (0.25, 0.75)])
        return clone(self.template).set_params(optimizer=None).fit(ends, np.array([-1.0, 1.0]))

    def start(self, outputs: Outputs) -> GPR:
        """The template, with the noise variance in the model's units where it is known."""
        model = clone(self.template)
        if self.noise is not None:
            variance = max(outputs.variance(self.noise), LEAST_NOISE)
            model.set_params(noise_variance=variance, learn_noise=False)
        return model


def _fit(model: GPR, U: np.ndarray, z: np.ndarray) -> GPR:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the next fit goes on from there
        warnings.simplefilter("error", FitInterruptedWarning)
        try:
            return model.fit(U, z)
        except FitInterruptedWarning:
            raise KeyboardInterrupt from None


def _extended(model: GPR, U: np.ndarray, z: np.ndarray) -> GPR:
    """More observations and the same parameters.

    Where the factor cannot take them it is built anew with jitter, and so are the coefficients of the mean.
    """
    try:
        return model.condition_on(U, z)
    except NotPositiveDefiniteError:
        again = clone(model).set_params(
            kernel=model.kernel_, noise_variance=model.noise_variance_, learn_noise=False, optimizer=None
        )
        return _fit(again, np.vstack([model.X_train_, U]), np.concatenate([model.y_train_, z]))
