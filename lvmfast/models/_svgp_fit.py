"""A fit of stochastic variational inference that can stop, be saved and go on, bit for bit."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import LvmfastError
from lvmfast.likelihoods import Custom, Gaussian, RobustMax, StudentT
from lvmfast.optim import Adam, cosine_decay

BETAS = 0.9, 0.999, 1e-7  # of Adam, with its epsilon
# Steps of natural gradients, which with batches average over some hundred rows for each inducing input:
LONGEST_STEPS = 0.1, 0.3  # where log p(y | f) is concave in f; and where it is Gaussian, or batches hold all rows
STEP_PER_ROW = 0.15  # times the rows of a batch for each inducing input, if that is less
LEAST_STEP = 0.01
RAMP = 1e-3, 0.1, 100  # elsewhere: the first step, the last, and after how many; long ones would lead astray
EVALUATION_ROWS = 8192

NOT_CONCAVE = (StudentT, RobustMax, Custom)

__all__ = ["Run", "Settings", "SvgpStatus", "held_out"]


class SvgpStatus:
    """What a callback is told after every step.

    Attributes
    ----------
    iteration : int
        Steps so far, from 1.
    loss : float
        Minus (estimated bound + log prior) per row of the data, in nats, before the step (after that of q, if it is a
        natural one).
    elapsed : float
        Seconds since this call of ``fit`` or ``resume`` began.
    theta : array
        Where the fit is; see :meth:`SVGP.elbo`.
    """

    def __init__(self, iteration, loss, elapsed, theta, model):
        self.iteration, self.loss, self.elapsed, self.theta, self._model = iteration, loss, elapsed, theta, model

    def __repr__(self) -> str:
        return f"SvgpStatus(iteration={self.iteration}, loss={self.loss:.6g}, elapsed={self.elapsed:.1f})"

    def model(self):
        """A fitted model with what was reached, which can predict, be saved and be resumed; ``lower_bound_`` is NaN."""
        return self._model()

    def save(self, path) -> None:
        """Write a checkpoint: ``SVGP.load(path).resume(X, y)`` goes on from here."""
        self.model().save(path)


@dataclasses.dataclass
class Settings:
    """How steps are taken: arguments of the estimator."""

    natural: bool
    step_size: float | None
    learning_rate: float
    schedule: object
    max_iter: int
    early_stopping: bool
    n_iter_no_change: int
    eval_every: int | None

    @classmethod
    def of(cls, model) -> Settings:
        """Those of an estimator."""
        own = [field.name for field in dataclasses.fields(cls) if field.name != "natural"]
        return cls(model.optimizer == "natural", **{name: getattr(model, name) for name in own})

    def factor(self, step: int) -> float:
        """What multiplies the learning rate at step 0, 1, ..."""
        if self.schedule is None:
            return 1.0
        if isinstance(self.schedule, str):
            return cosine_decay(step, self.max_iter)
        value = self.schedule(step, self.max_iter)
        if not np.isscalar(value) or not np.isfinite(value) or value < 0:
            raise ValueError(f"schedule(step, max_iter) must return a finite number >= 0, got {value!r} at step {step}")
        return float(value)


class Run:
    """Steps of a fit: theta, the memory of Adam, losses, checks on held-out rows; q(u) is in the problem.

    Attributes
    ----------
    losses, bounds : list of float
        Of every step, before it was taken (after that of q, if it is a natural one): the loss per row, and the estimate
        of the bound in nats.
    checks : list of float
        Mean log predictive densities of held-out rows.
    best : dict or None
        ``value``, ``theta``, ``first``, ``second`` and ``step`` of the best check.
    stopped, interrupted, settled : bool
        By the callback, from the keyboard, by early stopping.
    error : Exception or None
        What ended the fit before its end, after a step at least.
    """

    def __init__(self, problem, settings: Settings, theta: np.ndarray, state=None):
        self.problem, self.settings = problem, settings
        self.adam = Adam(settings.learning_rate, schedule=lambda step, _: self._factor)
        self._factor = 1.0  # of the learning rate, at this step
        self.theta = self.before = theta
        self.moments: dict = {}
        self.losses: list[float] = []
        self.bounds: list[float] = []
        self.checks: list[float] = []
        self.best: dict | None = None
        self.stopped = self.interrupted = self.settled = False
        self.error: Exception | None = None
        self.used = np.nan
        if state is not None:
            self._restore(state)

    # State.

    def state(self) -> dict:
        """Arrays by name, from which a run goes on."""
        first, second = self.problem.compiled.q()
        state = {"theta": self.theta.copy(), "before": self.before.copy(), "first": first, "second": second}
        state |= {f"adam.{name}": np.array(value) for name, value in self.moments.items()}
        if not self.settings.natural:
            state |= {f"moments.{k}": np.array(a) for k, a in enumerate(self.problem.compiled.moments())}
        state |= {name: np.array(getattr(self, name)) for name in ("losses", "bounds", "checks")}
        if self.best is not None:
            state |= {f"best.{name}": np.array(value) for name, value in self.best.items()}
        return state | {"wide": np.array(not self.problem.single)}

    def _restore(self, state: dict) -> None:
        if bool(state["wide"]) and self.problem.single:
            self.problem.widen()
        self.problem.compiled.set_q(np.array(state["first"]), np.array(state["second"]))
        if "moments.0" in state and not self.settings.natural:
            self.problem.compiled.set_moments(*(np.array(state[f"moments.{k}"]) for k in range(4)))
        self.theta, self.before = np.array(state["theta"]), np.array(state["before"])
        if "adam.t" in state:
            self.moments = {"m": np.array(state["adam.m"]), "v": np.array(state["adam.v"]), "t": int(state["adam.t"])}
        for name in ("losses", "bounds", "checks"):
            setattr(self, name, np.asarray(state[name]).tolist())
        if "best.theta" in state:
            kinds = {"value": float, "step": int}
            names = ("value", "theta", "first", "second", "step")
            self.best = {name: kinds.get(name, np.array)(state[f"best.{name}"]) for name in names}

    # Steps.

    def step(self, batch, total: float) -> None:
        """One evaluation of the bound of a batch: q moves by it, and theta. total: what losses are divided by."""
        problem, count = self.problem, len(self.losses)
        self._factor = self.settings.factor(count)
        answer = problem.evaluate(self.theta, problem.rows(batch), self._update(batch, count))
        prior, d_prior = problem.log_prior(self.theta)
        following, moments = self.theta, self.moments
        if problem.size:
            gradient = -(answer.gradient + d_prior) / total
            following, moments = self.adam.step(self.theta, gradient, self.moments)
            following = np.clip(following, problem.bounds[:, 0], problem.bounds[:, 1])
        self.before, self.theta, self.moments, self.used = self.theta, following, moments, answer.rho
        self.losses.append(-(answer.bound + prior) / total)
        self.bounds.append(answer.bound)

    def _update(self, batch, count: int) -> list[float]:
        settings = self.settings
        if not settings.natural:
            return [settings.learning_rate * self._factor, *BETAS, count + 1.0]
        if settings.step_size is not None:
            return [float(settings.step_size)]
        whole, gaussian = len(batch.X) >= batch.n_total, isinstance(self.problem.likelihood, Gaussian)
        if whole and gaussian:
            return [1.0]
        if isinstance(self.problem.likelihood, NOT_CONCAVE):
            first, last, steps = RAMP
            return [first * (last / first) ** min(1.0, count / steps)]
        length = LONGEST_STEPS[whole or gaussian] * self._factor
        if not whole:
            length = min(length, STEP_PER_ROW * len(batch.X) / len(self.problem.Z))
        return [float(np.clip(length, LEAST_STEP, 1.0))]

    def go(self, source, held, check_interrupt, on_step) -> None:
        """Steps up to ``max_iter``, or until ``on_step()`` is true, a check settles, or something fails."""
        settings, done = self.settings, len(self.losses)
        try:
            while len(self.losses) < settings.max_iter and not self.settled:
                check_interrupt()
                self.step(source.batch(len(self.losses)), source.total_weight)
                if held is not None and len(self.losses) % self.period(source) == 0:
                    self._check(held)
                if on_step():
                    self.stopped = True
                    break
        except KeyboardInterrupt:
            self.interrupted = True
            if not self.losses:
                raise
        except Exception as error:
            if len(self.losses) == done:
                raise
            self.error = error
        self._back()

    def period(self, source) -> int:
        """Steps from one check to the next."""
        return self.settings.eval_every or source.pass_length or 100

    def _check(self, held) -> None:
        """The held-out density now; keeps the best."""
        value = held_out(self.problem.posterior(self.theta), self.problem.likelihood_at(self.theta), held)
        self.checks.append(value)
        if self.best is None or value > self.best["value"]:
            first, second = self.problem.compiled.q()
            self.best = {"value": value, "theta": self.theta.copy(), "first": first, "second": second}
            self.best["step"] = len(self.losses)
        self.settled = self._since_best() >= self.settings.n_iter_no_change

    def _since_best(self) -> int:
        return len(self.checks) - 1 - int(np.argmax(self.checks))

    def _back(self) -> None:
        """To the theta of the last evaluation that succeeded, if there is no factor at the present one."""
        try:
            self.problem.factor(self.theta)
        except (LvmfastError, ArithmeticError, ValueError):
            self.theta = self.before

    def result(self):
        """theta and q of the best check with early stopping, else of now."""
        if self.settings.early_stopping and self.best is not None:
            return self.best["theta"], (self.best["first"], self.best["second"])
        return self.theta, self.problem.compiled.q()


def held_out(posterior, likelihood, held) -> float:
    """Mean log predictive density of rows: an iterable of batches, weighted where they have weights."""
    total = count = 0.0
    for batch in held:
        density = densities(posterior, likelihood, batch.X, batch.y, batch.known)
        density = density.reshape(len(density), -1).sum(axis=1)
        weight = np.ones(len(density)) if batch.weight is None else _backend.to_numpy(batch.weight)
        total, count = total + float(weight @ density), count + float(weight.sum())
    if not count > 0:
        raise ValueError(
            "sample_weight must be > 0 for some of the rows held out, got 0 for all; give validation=(X, y)"
        )
    return total / count


def densities(posterior, likelihood, X, y, known=None) -> np.ndarray:
    """``log E p(y | f)`` of rows X (n, q), of NumPy: (n,) for classes, else (n, P). float64."""
    X = np.asarray(_backend.to_numpy(X), dtype=np.float64)
    y, known = (None if a is None else np.asarray(_backend.to_numpy(a), dtype=np.float64) for a in (y, known))
    parts = []
    for begin in range(0, len(X), EVALUATION_ROWS):
        part = slice(begin, begin + EVALUATION_ROWS)
        mean, variance = (_backend.to_numpy(a) for a in (posterior.mean_at(X[part]), posterior.variance_at(X[part])))
        more, at = {}, y[part]
        if likelihood.n_latents == 1:
            at = at.reshape(len(at), -1)
            if known is not None:
                more = {likelihood.known_of_points: known[part].reshape(len(at), -1)}
        parts.append(likelihood.log_predictive_density(at, mean, variance, **more))
    return np.concatenate(parts)
