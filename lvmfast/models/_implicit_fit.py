"""Training of an implicit model: a run of minibatches as an autoencoder's, of other steps."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast._validation import check_callback, check_choice, check_float_dtype, check_integer, check_positive
from lvmfast.models._data_fit import DataFit
from lvmfast.models._implicit_problem import ImplicitProblem, as_loss, as_objective, build_pair, single
from lvmfast.models._vae_data import Form, write_names
from lvmfast.models._vae_fit import Run, Settings
from lvmfast.models._vae_networks import check_hidden, check_network
from lvmfast.models._vae_problem import copied
from lvmfast.nn import Adam, RMSprop
from lvmfast.nn._layers import ACTIVATIONS
from lvmfast.nn._rules import check_optimizer
from lvmfast.random import named_seeds

SEEDS = ("generator", "ratio", "noise", "sample")

FAR = 700.0  # of log ratios, whose exponentials stay in range

__all__ = ["ImplicitFitting", "ImplicitRun", "ImplicitStatus", "check_parameters"]


def default_optimizer() -> Adam:
    """Of both networks: little memory of slopes that belong to what the other network was."""
    return Adam(0.0003, beta_1=0.5)


def seeds_of(seed: int) -> dict[str, int]:
    """Independent seeds for what draws numbers."""
    return named_seeds(seed, SEEDS)


class ImplicitStatus:
    """What a callback is told after every epoch.

    Attributes
    ----------
    iteration : int
        Epochs so far, from 1.
    n_steps : int
    bound, ratio_loss, generator_loss : float
        Means over the epoch, as in ``history_``.
    elapsed : float
        Seconds since this call of ``fit`` or ``resume`` began.
    """

    def __init__(self, iteration, n_steps, means, val_loss, elapsed, model):
        self.iteration, self.n_steps, self.elapsed, self._model = iteration, n_steps, elapsed, model
        self.bound, self.ratio_loss, self.generator_loss = means

    def __repr__(self) -> str:
        numbers = {name: f"{getattr(self, name):.6g}" for name in ("bound", "ratio_loss", "generator_loss")}
        shown = ", ".join(f"{name}={value}" for name, value in numbers.items())
        return f"ImplicitStatus(iteration={self.iteration}, {shown}, elapsed={self.elapsed:.1f})"

    def model(self):
        """A fitted model with what was reached, which can sample, be saved and be resumed."""
        return self._model()

    def save(self, path) -> None:
        """Write a checkpoint: ``ImplicitModel.load(path).resume(X)`` goes on from here."""
        self.model().save(path)


@dataclasses.dataclass
class ImplicitSettings(Settings):
    """How steps are taken: arguments of the estimator."""

    n_samples: int = dataclasses.field(default=1, init=False)
    objective: object = "kl"
    gradient: str = dataclasses.field(default="", init=False)
    beta: object = dataclasses.field(default=1.0, init=False)
    temperature: object = dataclasses.field(default=1.0, init=False)
    optimizer: object = None
    batch_size: int = 0
    max_iter: int = 0
    early_stopping: bool = dataclasses.field(default=False, init=False)
    n_iter_no_change: int = dataclasses.field(default=1, init=False)
    ratio_steps: int = 1
    ratio_optimizer: object = None
    instance_noise: object = 0.0

    @classmethod
    def of(cls, model) -> ImplicitSettings:
        """Those of an estimator."""
        settings = cls(**{field.name: getattr(model, field.name) for field in dataclasses.fields(cls) if field.init})
        for name in ("optimizer", "ratio_optimizer"):
            if getattr(settings, name) is None:
                setattr(settings, name, default_optimizer())
        return settings

    @property
    def of_ratio(self) -> Settings:
        """Numbers of the ratio network's optimizer."""
        own = dataclasses.replace(self)
        own.optimizer, own.ratio_optimizer = self.ratio_optimizer, self.optimizer
        return own

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of what either optimizer remembers."""
        return (*super().moments, *super(ImplicitSettings, self.of_ratio).moments)

    @property
    def kinds(self) -> int:
        """Both optimizers' kinds as one number."""
        return 3 * self.kind + self.of_ratio.kind


class ImplicitRun(Run):
    """Steps of a generator and a ratio network; terms are the bound and the losses of both."""

    NAMES, SIGNS = ("bound", "ratio_loss", "generator_loss"), (1.0, 1.0, 1.0)
    PARTS = ((0, "ratio's loss"), (1, "generator's loss"))

    def state(self) -> dict:
        return super().state() | {"kind": np.array(self.settings.kinds)}

    def _restore(self, state: dict) -> None:
        if int(state["kind"]) != self.settings.kinds:
            got = f"{self.settings.optimizer!r} and {self.settings.ratio_optimizer!r}"
            raise ValueError(f"optimizer and ratio_optimizer must be of the kinds of the fit to go on, got {got}")
        super()._restore(state | {"kind": self.settings.kind})

    def _calls(self, x, size: int, count: int):
        settings, first, problem = self.settings, self.steps, self.problem
        ratio, updates = settings.of_ratio, settings.ratio_steps
        rates, ratio_rates = settings.rates(first, count), ratio.rates(first, count, updates).reshape(count, updates)
        own, other = ((s.kind, s.numbers, s.optimizer.clip_norm or 0.0) for s in (settings, ratio))
        compiled, slow = problem.compiled(updates), as_objective(settings.objective) is None
        noises = settings.values("instance_noise", first, count)
        noises = noises if noises.any() else None

        def call(rows, k):
            if slow:
                terms, done = self._steps(x, rows, size, rates[:k], ratio_rates[:k], noises)
            else:
                place = x, rows, size, self.seeds["noise"], first
                more = rates[:k], ratio_rates[:k], *own, *other, None if noises is None else noises[:k]
                terms, done = compiled.train(self.theta, self.m, self.v, *place, *more)
                terms = _backend.to_numpy(terms)
            return np.stack([problem.bound(terms[:, 0]), terms[:, 0], terms[:, 1], terms[:, 3]], axis=1), done

        return call

    def _steps(self, x, rows, size: int, rates, ratio_rates, noises):
        """As the compiled steps, for any f: the generator's slopes are pulled back from here."""
        settings, problem = self.settings, self.problem
        compiled, updates, split = problem.compiled(1), settings.ratio_steps, problem.generator.n_parameters
        terms = np.full((len(rates), 4), np.nan)
        for j in range(len(rates)):
            batch = x if rows is None else x[_backend.to_device(rows[j * size : (j + 1) * size], problem.device)]
            before = [None if a is None else a.copy() for a in (self.theta, self.m, self.v)]
            for s in range(updates):
                z = compiled.noise(self.seeds["noise"], self.steps + j, s, len(batch))
                shift = None
                if noises is not None:
                    shift = compiled.instance_noise(self.seeds["noise"], self.steps + j, s, len(batch))
                    shift = (shift * noises[j]).astype(problem.dtype)
                values, gradient = compiled.evaluate(self.theta, batch, z, True, shift)
                loss, slope = float(values[:, 0].mean()), gradient[split:]
                norm = self._update(slice(split, None), slope, settings.of_ratio, float(ratio_rates[j, s]), loss)
                terms[j, 0], terms[j, 2] = loss, norm
            value, gradient = self._generator_slope(z, shift)
            terms[j, 1] = value
            if np.isfinite(terms[j, :3]).all():
                terms[j, 3] = self._update(slice(0, split), gradient, settings, float(rates[j]), value)
            if not np.isfinite(terms[j]).all():
                for array, old in zip((self.theta, self.m, self.v), before, strict=True):
                    if array is not None:
                        array[...] = old
                return terms, j
        return terms, len(rates)

    def _generator_slope(self, z, shift):
        """Mean of f'(u) with ``u = exp(-s(G(z)))``, and the gradient by the generator's parameters with u given."""
        problem, f = self.problem, self.settings.objective
        for network, part in zip((problem.generator, problem.ratio), problem.parts(self.theta), strict=True):
            network.parameters = part
        made, pull = problem.generator.forward_and_vjp(z.reshape(len(z), *problem.generator.input_shape))
        made_rows = single(problem.generator, made)
        made_rows = made_rows if shift is None else made_rows + shift[: len(z)]
        log_ratio, pull_ratio = problem.ratio.forward_and_vjp(made_rows.reshape(len(z), *problem.ratio.input_shape))
        shape = log_ratio.shape if problem.ratio.heads is None else log_ratio[0].shape
        xp = _backend.namespace(made_rows)
        with np.errstate(all="ignore"):
            u = xp.exp(-xp.clip(single(problem.ratio, log_ratio).astype(np.float64), -FAR, FAR))
            value, slope = float(f.derivative(u).mean()), (-u * f.second(u) / len(z)).astype(problem.dtype)
        slope = slope.reshape(shape)
        d_x = pull_ratio(slope if problem.ratio.heads is None else (slope,), input_gradient=True)[1]
        d_made = d_x.reshape((made if problem.generator.heads is None else made[0]).shape)
        return value, pull(d_made if problem.generator.heads is None else (d_made,))

    def _update(self, part: slice, gradient, settings: Settings, rate: float, loss: float) -> float:
        """One update of a part of theta, unless a number is not finite; the norm of its gradient."""
        norm = float(_backend.namespace(gradient).linalg.norm(gradient.astype(np.float64)))
        if not np.isfinite([norm, loss]).all():
            return np.nan
        own = settings.optimizer
        module = _backend.module_on(self.problem.device, self.theta)
        compiled = getattr(module, "NetworkOptimizer32" if self.problem.dtype == np.float32 else "NetworkOptimizer64")()
        m, v = (None if a is None else a[part] for a in (self.m, self.v))
        numbers, clip = settings.numbers, own.clip_norm or 0.0
        theta = self.theta[part]
        gradient = _backend.namespace(gradient).ascontiguousarray(gradient)
        if isinstance(own, Adam):
            compiled.adam(theta, gradient, m, v, rate, *numbers, clip)
        elif isinstance(own, RMSprop):
            compiled.rmsprop(theta, gradient, m if own.momentum else None, v, rate, *numbers, clip)
        else:
            compiled.sgd(theta, gradient, m if own.momentum else None, rate, numbers[0], clip)
        return norm

    def _evaluates(self, rows):
        problem, updates = self.problem, self.settings.ratio_steps
        compiled = problem.compiled(updates)
        z = compiled.noise(self.seeds["noise"], self.steps, updates - 1, len(rows))

        def evaluate(i, gradient):
            own = slice(None) if i is None else slice(i, i + 1)
            return compiled.evaluate(self.theta, rows[own], z[own], gradient)

        return evaluate


class ImplicitFitting(DataFit):
    """From arguments to a run, and from there to fitted attributes."""

    _title, _bound, _status = "ImplicitModel", "bound", ImplicitStatus
    early_stopping = False  # what as_data asks of an estimator

    def _check(self) -> None:
        check_parameters(self)

    def _form(self) -> Form:
        return Form("gaussian", None, self.dtype)

    def _form_of_fit(self) -> Form:
        form = Form("gaussian", None, self._problem.dtype)
        form.shape = self._shape
        return form

    def _new_run(self, form: Form, seed: int, data) -> ImplicitRun:
        seeds = seeds_of(seed)
        pair = build_pair(self, form.shape, (seeds["generator"], seeds["ratio"]), form.dtype, data.device)
        problem = ImplicitProblem(*pair, self.objective, self.loss)
        return ImplicitRun(problem, ImplicitSettings.of(self), seeds, problem.initial())

    def _restored(self, data) -> ImplicitRun:
        state, problem = self._state, self._problem.copy(self._state["theta"])
        for name, same, was in (
            ("objective", self.objective == problem.objective, repr(problem.objective)),
            ("loss", self.loss == problem.loss, repr(problem.loss)),
            ("n_components", self.n_components == problem.noise, str(problem.noise)),
            ("dtype", np.dtype(self.dtype) == problem.dtype, str(problem.dtype)),
        ):
            if not same:
                got = getattr(self, name)
                raise ValueError(f"{name} must be that of the fit to go on, {was}, got {got!r}; fit anew")
        if data.device != problem.device:
            raise ValueError(f"X must be on {problem.device!r}, where the model is, to go on, got {data.device!r}")
        return ImplicitRun(problem, ImplicitSettings.of(self), seeds_of(int(state["seed"])), state["theta"], state)

    def _finish(self, data, names, form, run, more: dict, message: str) -> None:
        state = run.state() | more
        if not more.get("piece"):
            state |= {f"source.{name}": np.asarray(value) for name, value in data.state(run.steps).items()}
        write_names(self, names)
        self.n_iter_, self.n_steps_, self.message_ = len(run.ends), run.steps, message
        self.history_, self.loss_curve_ = run.history(), run.terms[:, 1].copy()
        self._shape, self._on_gpu = form.shape, bool(data.on_gpu)
        self._set_problem(run.problem, state)

    def _set_problem(self, problem: ImplicitProblem, state: dict) -> None:
        self._problem, self._state, self.device_ = problem.copy(state["theta"]), state, problem.device
        own = self._problem
        self.generator_, self.ratio_network_ = (copied(net, net.parameters) for net in (own.generator, own.ratio))


def check_parameters(model) -> None:
    """Raise unless all arguments of the estimator make sense together."""
    check_network(model.generator, "generator")
    check_network(model.ratio, "ratio")
    check_hidden(model.hidden, model.activation)
    check_hidden(model.ratio_hidden, model.activation, "ratio_hidden")
    check_choice(model.output, "output", ACTIVATIONS)
    as_objective(model.objective)
    if not callable(model.instance_noise):
        check_positive(model.instance_noise, "instance_noise", zero=True)
    as_loss(model.loss)
    for name in ("n_components", "batch_size", "max_iter", "ratio_steps"):
        check_integer(getattr(model, name), name, 1)
    if not isinstance(model.shuffle, (bool, np.bool_)):
        raise TypeError(f"shuffle must be True or False, got {model.shuffle!r}")
    for name in ("optimizer", "ratio_optimizer"):
        check_optimizer(getattr(model, name), name)
    check_float_dtype(model.dtype)
    check_choice(model.device, "device", ("auto", "cpu", "cuda"))
    check_callback(model.callback)
