"""Training of a density of flows: a run of minibatches as an autoencoder's, of other compiled steps."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast._validation import check_callback, check_choice, check_float_dtype, check_integer, check_positive
from lvmfast.bijectors._flows_base import built_leaves, width_of
from lvmfast.distributions import MultivariateNormalDiag, TransformedDistribution
from lvmfast.models._data_fit import DataFit
from lvmfast.models._flow_problem import FlowProblem, check_bijectors, check_shapes, default_bijectors, standard
from lvmfast.models._vae_data import Form, Memory, write_names
from lvmfast.models._vae_fit import Run, Settings
from lvmfast.models._vae_networks import check_hidden
from lvmfast.nn import Adam
from lvmfast.nn._rules import check_optimizer
from lvmfast.random import named_seeds

SEEDS = ("bijectors", "sample")

__all__ = ["FlowFitting", "FlowRun", "FlowStatus", "check_parameters"]


class FlowStatus:
    """What a callback is told after every epoch.

    Attributes
    ----------
    iteration : int
        Epochs so far, from 1.
    n_steps : int
    loss : float
        Minus the mean log density over the epoch, as in ``history_``.
    val_loss : float or None
        Of the rows for validation.
    elapsed : float
        Seconds since this call of ``fit`` or ``resume`` began.
    """

    def __init__(self, iteration, n_steps, means, val_loss, elapsed, model):
        self.iteration, self.n_steps, self.val_loss, self.elapsed = iteration, n_steps, val_loss, elapsed
        self.loss, self._model = means[0], model

    def __repr__(self) -> str:
        more = "" if self.val_loss is None else f", val_loss={self.val_loss:.6g}"
        return f"FlowStatus(iteration={self.iteration}, loss={self.loss:.6g}{more}, elapsed={self.elapsed:.1f})"

    def model(self):
        """A fitted model with what was reached, which can score, be saved and be resumed."""
        return self._model()

    def save(self, path) -> None:
        """Write a checkpoint: ``FlowDensity.load(path).resume(X)`` goes on from here."""
        self.model().save(path)


@dataclasses.dataclass
class FlowSettings(Settings):
    """How steps are taken: arguments of the estimator."""

    n_samples: int = dataclasses.field(default=1, init=False)
    objective: str = dataclasses.field(default="likelihood", init=False)
    gradient: str = dataclasses.field(default="", init=False)
    beta: object = dataclasses.field(default=1.0, init=False)
    temperature: object = dataclasses.field(default=1.0, init=False)
    optimizer: object = None
    batch_size: int = 0
    max_iter: int = 0
    early_stopping: bool = False
    n_iter_no_change: int = 1
    ratio_steps: int = dataclasses.field(default=1, init=False)

    @classmethod
    def of(cls, model) -> FlowSettings:
        """Those of an estimator."""
        names = [field.name for field in dataclasses.fields(cls) if field.init]
        settings = cls(**{name: getattr(model, name) for name in names})
        settings.optimizer = Adam() if settings.optimizer is None else settings.optimizer
        return settings


class FlowRun(Run):
    """Steps of a fit by maximum likelihood; terms are the log density, that of the base and the log-det."""

    NAMES, SIGNS = ("loss", "base", "log_det"), (-1.0, 1.0, 1.0)
    PARTS = ((1, "log density of the base"), (2, "log-det"), (0, "log density"))

    def _calls(self, x, size, count):
        settings, flow, rates = self.settings, self.problem.compiled(), self.settings.rates(self.steps, count)

        def call(rows, k):
            numbers = settings.kind, settings.numbers, settings.optimizer.clip_norm or 0.0
            return flow.train(self.theta, self.m, self.v, x, rows, size, rates[:k], *numbers)

        return call

    def _evaluates(self, rows):
        flow = self.problem.compiled()

        def evaluate(i, gradient):
            return flow.evaluate(self.theta, rows if i is None else rows[i : i + 1], gradient)

        return evaluate

    def _check(self, data):
        terms = self.problem.terms(self.theta, next(data.held(data.n_held)))
        return (terms.mean(axis=0) + data.held_offsets) * self.SIGNS


class FlowFitting(DataFit):
    """From arguments to a run, and from there to fitted attributes."""

    _title, _bound, _status = "FlowDensity", "density", FlowStatus

    def _check(self) -> None:
        check_parameters(self)

    def _form(self) -> Form:
        return Form("gaussian", None, np.float64)

    def _form_of_fit(self) -> Form:
        form = self._form()
        form.shape = (self._problem.width,)
        return form

    def _new_run(self, form, seed: int, data) -> FlowRun:
        return self._run(data, seed, data.problem.initial())

    def _restored(self, data) -> FlowRun:
        """The run of the fitted model, for more data."""
        problem, state = data.problem, self._state
        if np.dtype(self.dtype) != problem.dtype:
            raise ValueError(f"dtype must be that of the fit to go on, {problem.dtype}, got {self.dtype!r}; fit anew")
        if data.device != problem.device:
            raise ValueError(f"X must be on {problem.device!r}, where the model is, to go on, got {data.device!r}")
        return self._run(data, int(state["seed"]), state["theta"], state)

    def _run(self, data, seed: int, theta, state=None) -> FlowRun:
        run = FlowRun(data.problem, FlowSettings.of(self), seeds_of(seed), theta, state)
        run.offsets = data.offsets
        return run

    def _as_data(self, X, form: Form, *, seed: int, validation=None, reset: bool = True, **_):
        """Batches of rows that the compiled flow takes, with the problem, and names of the features."""
        first = reset
        device = _backend.check_device(self.device, X)
        x, names = self._numbers(form, X, first)
        if len(x) < 2:
            raise ValueError(f"X must have at least 2 rows to have a density, got n_samples = {len(x)}")
        problem = self._first_problem(x.shape[1], seed, device, form.given) if first else self._problem.copy()
        x = _backend.to_device(x, device)
        if first:
            check_shapes(problem.fixed, x[:1])
        u, log_det = problem.before(x)
        log_det = _backend.to_numpy(log_det)
        data = Memory(u, self.batch_size, seed, bool(self.shuffle))
        held, held_log_det = None, None
        if validation is not None:
            fitted = copy.copy(self)
            write_names(fitted, names)
            try:
                held = fitted._numbers(form, validation, False)[0]
                held, held_log_det = problem.before(_backend.to_device(held, device))
                held_log_det = _backend.to_numpy(held_log_det)
            except (ValueError, TypeError) as error:
                raise type(error)(f"validation_data: {error}") from None
        elif self.early_stopping:
            data.hold_out(float(self.validation_fraction))
            held = next(data.held(len(x)))
            out = np.setdiff1d(np.arange(len(x)), data.numbers)
            held_log_det, log_det = log_det[out], log_det[data.numbers]
        if first:
            problem.shift, problem.scale = standard(data.x, self.standardize)
        data.x = problem.scaled(data.x)
        data.offsets = self._offsets(problem, log_det)
        if held is not None:
            rows = problem.scaled(held)
            data.n_held, data.held_offsets = len(rows), self._offsets(problem, held_log_det)
            data.held = lambda size: (rows[i : i + size] for i in range(0, len(rows), size))
        data.on_gpu, data.problem = _backend.is_gpu(X), problem
        return data, names

    def _numbers(self, form: Form, X, reset: bool):
        shape = getattr(X, "shape", ())
        if len(shape) > 2:
            raise ValueError(f"X must have shape (n, d), got {tuple(shape)}; reshape it, X.reshape(len(X), -1)")
        return form.array(self, X, reset)

    def _first_problem(self, d: int, seed: int, device: str, data_dtype) -> FlowProblem:
        given = default_bijectors(self, d) if self.bijectors is None else self.bijectors
        fixed, leaves = check_bijectors(given)
        for bijector, _ in leaves:
            if width_of(bijector) != d:
                raise ValueError(f"bijectors must be of the {d} features of X, got {bijector!r}")
        own = built_leaves(leaves, seeds_of(seed)["bijectors"], self.dtype)
        return FlowProblem(copy.deepcopy(fixed), own, np.zeros(d), np.ones(d), self.dtype, device, data_dtype)

    @staticmethod
    def _offsets(problem: FlowProblem, log_det) -> np.ndarray:
        """What the compiled terms leave out of the mean log density and the mean log-det."""
        more = float(log_det.mean()) + problem.log_scale
        return np.array([more, 0.0, more])

    def _finish(self, data, names, form, run, more: dict, message: str) -> None:
        """Set the fitted attributes from where a run is."""
        state = run.state() | more
        write_names(self, names)
        best = self.early_stopping and run.best is not None
        self.n_iter_, self.n_steps_ = len(run.ends), run.steps
        self.best_iter_ = run.best["epoch"] if best else len(run.ends)
        self.history_, self.message_ = run.history(), message
        self.loss_curve_ = -(run.terms[:, 0] + run.offsets[0])
        self._on_gpu = bool(data.on_gpu)
        self._set_problem(run.problem.copy(run.result()), state)

    def _set_problem(self, problem: FlowProblem, state: dict) -> None:
        self._problem, self._state, self.device_ = problem, state, problem.device
        self.bijector_, d = problem.chain(), problem.width
        base = MultivariateNormalDiag(np.zeros(d, problem.data_dtype), np.ones(d, problem.data_dtype))
        self.distribution_ = TransformedDistribution(base, self.bijector_)


def seeds_of(seed: int) -> dict[str, int]:
    """Independent seeds for what draws numbers."""
    return named_seeds(seed, SEEDS)


def check_parameters(model) -> None:
    """Raise unless all arguments of the estimator make sense together."""
    check_hidden(model.hidden, model.activation)
    for name in ("n_layers", "batch_size", "max_iter", "n_iter_no_change"):
        check_integer(getattr(model, name), name, 1)
    for name in ("shuffle", "early_stopping", "standardize"):
        if not isinstance(getattr(model, name), (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {getattr(model, name)!r}")
    check_optimizer(model.optimizer)
    if check_positive(model.validation_fraction, "validation_fraction") >= 1:
        raise ValueError(f"validation_fraction must lie between 0 and 1, got {model.validation_fraction!r}")
    check_float_dtype(model.dtype)
    check_choice(model.device, "device", ("auto", "cpu", "cuda"))
    check_callback(model.callback)
    if model.bijectors is not None:
        check_bijectors(model.bijectors)
