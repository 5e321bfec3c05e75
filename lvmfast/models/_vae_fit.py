"""Training of an autoencoder that can stop, be saved and go on, bit for bit."""

from __future__ import annotations

import dataclasses
import numbers
import time

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import NonFiniteError
from lvmfast.models._vae_data import Memory
from lvmfast.nn import Adam
from lvmfast.nn._rules import moments_of, rates_of, rule_of

CALL_SECONDS = 0.1  # of steps in one compiled call, between which Ctrl-C is looked for
MOST_STEPS = 10_000  # of one call

__all__ = ["Run", "Settings", "VaeStatus"]


class VaeStatus:
    """What a callback is told after every epoch.

    Attributes
    ----------
    iteration : int
        Epochs so far, from 1.
    n_steps : int
    loss, reconstruction, kl : float
        Means over the epoch, as in ``history_``.
    ratio_loss : float or None
        Of the ratio network of an implicit posterior.
    val_loss : float or None
        Of the rows for validation.
    elapsed : float
        Seconds since this call of ``fit`` or ``resume`` began.
    """

    def __init__(self, iteration, n_steps, means, val_loss, elapsed, model):
        self.iteration, self.n_steps, self.val_loss, self.elapsed = iteration, n_steps, val_loss, elapsed
        self.loss, self.reconstruction, self.kl = means
        self._model, self.ratio_loss = model, None

    def __repr__(self) -> str:
        more = "" if self.val_loss is None else f", val_loss={self.val_loss:.6g}"
        return f"VaeStatus(iteration={self.iteration}, loss={self.loss:.6g}{more}, elapsed={self.elapsed:.1f})"

    def model(self):
        """A fitted model with what was reached, which can transform, be saved and be resumed."""
        return self._model()

    def save(self, path) -> None:
        """Write a checkpoint: ``VAE.load(path).resume(X)`` goes on from here."""
        self.model().save(path)


@dataclasses.dataclass
class Settings:
    """How steps are taken: arguments of the estimator."""

    n_samples: int
    objective: str
    gradient: str
    beta: object
    temperature: object
    optimizer: object
    batch_size: int
    max_iter: int
    early_stopping: bool
    n_iter_no_change: int
    ratio_steps: int = 1

    @classmethod
    def of(cls, model) -> Settings:
        """Those of an estimator."""
        settings = cls(**{field.name: getattr(model, field.name) for field in dataclasses.fields(cls)})
        settings.optimizer = Adam() if settings.optimizer is None else settings.optimizer
        return settings

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of what the optimizer remembers."""
        return moments_of(self.optimizer)

    @property
    def kind(self) -> int:
        """The optimizer's number."""
        return rule_of(self.optimizer)[0]

    @property
    def numbers(self) -> tuple[float, float, float]:
        """Those of the optimizer but for its rate."""
        return rule_of(self.optimizer)[1]

    def rates(self, first: int, count: int, updates: int = 1) -> np.ndarray:
        """Of steps ``first, ..., first + count - 1`` with so many updates each, (count * updates,)."""
        return rates_of(self.optimizer, first, count, updates)

    def values(self, name: str, first: int, count: int) -> np.ndarray:
        """beta or temperature of these steps."""
        given = getattr(self, name)
        if not callable(given):
            return np.full(count, float(given))
        values = np.array([number_of(given(step), name, step) for step in range(first, first + count)])
        zero = name != "temperature"  # may be 0
        bad = ~np.isfinite(values) | ((values < 0) if zero else (values <= 0))
        if bad.any():
            k, rule = int(np.argmax(bad)), ">= 0" if zero else "> 0"
            raise ValueError(f"{name}({first + k}) must be a finite number {rule}, got {values[k]}")
        return values


def number_of(value, name: str, step: int) -> float:
    """What a callable gave for a step, as a float."""
    if np.ndim(value) or not isinstance(value, (numbers.Real, np.ndarray)):
        raise TypeError(f"{name}({step}) must be a number, got {value!r}")
    return float(value)


class Run:
    """Steps of a fit.

    Attributes
    ----------
    theta, m, v : ndarray of shape (p,)
        Parameters and the optimizer's memory (None where it has none); steps overwrite them.
    steps : int
        So far.
    ends : list of int
        Steps at the ends of epochs.
    checks : list of (3,) arrays
        Of the rows for validation after each epoch: minus the bound, minus ``E log p(x | z)``, KL.
    best : dict or None
        ``value``, ``theta`` and ``epoch`` of the best check.
    stopped, interrupted, settled : bool
        By the callback, from the keyboard, by early stopping.
    error : Exception or None
        What ended the fit before its end, after a step at least.
    """

    NAMES, SIGNS = ("loss", "reconstruction", "kl"), (-1.0, -1.0, 1.0)  # of terms, in the history
    PARTS = (
        (1, "reconstruction log p(x | z)"),
        (2, "KL divergence"),
        (0, "objective"),
        (-1, "ratio's loss"),
    )  # to blame, in this order
    offsets = (0.0, 0.0, 0.0)  # of terms, which the compiled steps leave out

    def __init__(self, problem, settings: Settings, seeds, theta, state=None):
        self.problem, self.settings, self.seeds = problem, settings, seeds
        self.further = ("ratio_loss",) if getattr(problem, "implicit", False) else ()  # terms, behind the rows
        names = settings.moments
        self.theta = problem.placed(theta).copy()
        xp = _backend.namespace(self.theta)
        self.m, self.v = (xp.zeros_like(self.theta) if name in names else None for name in ("m", "v"))
        self._copies: list | None = None
        self._terms: list[np.ndarray] = []
        self.ends: list[int] = []
        self.checks: list[np.ndarray] = []
        self.best: dict | None = None
        self.stopped = self.interrupted = self.settled = False
        self.error: Exception | None = None
        self._at_once, self.steps, self._rows = 1, 0, 0.0  # rows of this epoch
        if state is not None:
            self._restore(state)

    # State.

    @property
    def terms(self) -> np.ndarray:
        """(steps, 5): mean objective, ``log p(x | z)`` and KL, the gradient's norm, and rows of every step.

        With an implicit posterior (steps, 6): also the ratio network's loss.
        """
        if len(self._terms) != 1:
            self._terms = [np.concatenate([np.empty((0, 5 + len(self.further))), *self._terms])]
        return self._terms[0]

    def state(self) -> dict:
        """Arrays by name, from which a run goes on."""
        state = {"theta": _backend.to_numpy(self.theta).copy(), "terms": self.terms.copy()}
        state |= {
            "kind": np.array(self.settings.kind),
            "ends": np.array(self.ends, dtype=np.int64),
            "checks": np.array(self.checks).reshape(-1, 3),
        }
        state |= {k: _backend.to_numpy(a).copy() for k in ("m", "v") if (a := getattr(self, k)) is not None}
        if self.best is not None:
            state |= {f"best.{name}": np.array(value) for name, value in self.best.items()}
        return state

    def _restore(self, state: dict) -> None:
        given = [name in state for name in ("m", "v")]
        if int(state["kind"]) != self.settings.kind or given != [a is not None for a in (self.m, self.v)]:
            raise ValueError(f"optimizer must be of the kind of the fit to go on, got {self.settings.optimizer!r}")
        for name in ("m", "v"):
            if name in state:
                setattr(self, name, self.problem.placed(state[name]).copy())
        self._terms = [np.array(state["terms"])]
        self.steps, self.ends = len(self.terms), np.asarray(state["ends"]).tolist()
        self.checks = list(np.array(state["checks"]))
        self._rows = self.terms[self.ends[-1] if self.ends else 0 :, 4].sum()
        if "best.theta" in state:
            self.best = {"value": float(state["best.value"]), "epoch": int(state["best.epoch"])}
            self.best["theta"] = np.array(state["best.theta"])

    # Steps.

    def piece(self, data) -> None:
        """Some steps, within an epoch; NonFiniteError where one has no finite value, with those before it taken."""
        if not isinstance(data, Memory):
            x, place = data.batch(self.steps)
            self._train(x, None, len(x), 1, place)
            return
        epoch, at = divmod(self.steps, data.pass_length)
        count, size = min(self._at_once, data.pass_length - at), data.batch_size
        rows = data.order(epoch)[at * size : (at + count) * size]
        begun = time.perf_counter()
        self._train(data.x, rows, size, count, lambda i: data.place(i))
        wanted = CALL_SECONDS * count / max(time.perf_counter() - begun, 1e-9)
        self._at_once = int(np.clip(wanted, 1, min(MOST_STEPS, 8 * self._at_once)))

    def batch(self, data: Memory) -> None:
        """One step with all rows."""
        self._train(data.x, None, data.n_total, 1, data.place)

    def _calls(self, x, size: int, count: int):
        """``call(rows, k)``: the first k of the next ``count`` steps in one compiled call; (terms (k, 4), done)."""
        settings, first, problem = self.settings, self.steps, self.problem
        ratio_steps = settings.ratio_steps if problem.implicit else 1
        kind = settings.n_samples, settings.objective == "iwae", settings.gradient == "dreg"
        compiled = problem.compiled(*kind, ratio_steps)
        betas, temperatures = (settings.values(name, first, count) for name in ("beta", "temperature"))
        rates, fixed = settings.rates(first, count), problem.placed(problem.fixed)
        ratio_rates = settings.rates(first, count, ratio_steps).reshape(count, ratio_steps) if ratio_steps > 1 else None

        def call(rows, k):
            own = self.theta, self.m, self.v, fixed, x, rows, size, self.seeds["noise"], first
            numbers = settings.kind, settings.numbers, settings.optimizer.clip_norm or 0.0
            ratio = None if ratio_rates is None else ratio_rates[:k]
            return compiled.train(*own, rates[:k], betas[:k], temperatures[:k], *numbers, ratio)

        return call

    def _train(self, x, rows, size, count, place) -> None:
        call, kept = self._calls(x, size, count), self._kept()

        def train(k):
            terms, done = call(None if rows is None else rows[: k * size], k)
            return _backend.to_numpy(terms), int(done)

        try:
            terms, done = train(count)
        except BaseException:  # of a function that was given; the steps before it are not known of
            for array, values in kept:
                array[...] = values
            raise
        reached = done
        while not self._finite() and done:  # the step before overflowed, as is seen only afterwards
            for array, values in kept:
                array[...] = values
            done -= 1
            if done:
                train(done)
        sizes = np.full((count, 1), float(size))
        if rows is not None:
            sizes[-1] = len(rows) - (count - 1) * size
        self._terms.append(np.hstack([terms[:, :4], sizes, terms[:, 4:]])[:done])
        self.steps += done
        self._rows += sizes[:done].sum()
        if done < reached:
            raise NonFiniteError(
                f"the parameters would not be finite after step {self.steps}, which was undone; lower the learning "
                "rate, or set the optimizer's clip_norm"
            )
        if done < count:
            chosen = None if rows is None else rows[done * size : (done + 1) * size]
            raise self._reason(x, chosen, place)

    def _kept(self) -> list:
        """Pairs of the arrays that a step overwrites, and copies of them, whose memory is used again."""
        arrays = [array for array in (self.theta, self.m, self.v) if array is not None]
        if self._copies is None:
            self._copies = [array.copy() for array in arrays]
        for copied, array in zip(self._copies, arrays, strict=True):
            copied[...] = array
        return list(zip(arrays, self._copies, strict=True))

    def _finite(self) -> bool:
        xp = _backend.namespace(self.theta)
        with np.errstate(all="ignore"):
            return bool(xp.isfinite(self.theta.sum())) or bool(xp.isfinite(self.theta).all())

    def _evaluates(self, rows):
        """``evaluate(i, gradient)``: terms (., 3) of row i, or of all for None, at the next step, and a gradient."""
        problem, settings, step = self.problem, self.settings, self.steps
        compiled = problem.compiled(settings.n_samples, settings.objective == "iwae", settings.gradient == "dreg")
        beta, temperature = (float(settings.values(name, step, 1)[0]) for name in ("beta", "temperature"))
        eps, fixed = compiled.noise(self.seeds["noise"], step, len(rows)), problem.placed(problem.fixed)

        def evaluate(i, gradient):
            own = slice(None) if i is None else slice(i, i + 1)
            return compiled.evaluate(self.theta, fixed, rows[own], eps[own], beta, temperature, gradient)

        return evaluate

    def _reason(self, x, rows, place) -> NonFiniteError:
        """Which row has no finite value or gradient at the step that comes next."""
        problem = self.problem
        batch = x if rows is None else x[_backend.to_device(rows, problem.device)]
        evaluate = self._evaluates(batch)
        terms = _backend.to_numpy(evaluate(None, False)[0])
        at, what = None, "gradient"
        if not np.isfinite(terms).all():
            at = int(np.argmax(~np.isfinite(terms).all(axis=1)))
            what = next(name for k, name in self.PARTS if not np.isfinite(terms[at, k]))
        else:
            for i in range(len(batch)):
                gradient = evaluate(i, True)[1]
                if not bool(_backend.namespace(gradient).isfinite(gradient).all()):
                    at = i
                    break
        where = "a batch" if at is None else place(at if rows is None else rows[at])
        return NonFiniteError(
            f"the {what} of {where} is not finite at step {self.steps}, which was not taken; numbers may have grown "
            f"too large in {problem.dtype}: lower the learning rate, set the optimizer's clip_norm, or scale the data"
        )

    def go(self, data, check_interrupt, on_piece, on_epoch) -> None:
        """Steps up to ``max_iter`` epochs, or until ``on_epoch()`` is true, checks settle, or something fails."""
        settings, before = self.settings, self.steps
        self.settled = self._is_settled()
        try:
            while len(self.ends) < settings.max_iter and not self.settled:
                check_interrupt()
                self.piece(data)
                on_piece()
                if self._ends_epoch(data):
                    check = None if data.held is None else self._check(data)
                    self.ends.append(self.steps)
                    self._rows = 0.0
                    if check is not None:
                        self._keep(check)
                    if on_epoch():
                        self.stopped = True
                        break
        except KeyboardInterrupt:
            self.interrupted = True
            if not self.steps:
                raise
        except Exception as error:
            if self.steps == before:
                raise
            self.error = error

    def _ends_epoch(self, data) -> bool:
        return data.ends_pass(self.steps, self.ends[-1] if self.ends else 0, self._rows)

    def _check(self, data) -> np.ndarray:
        settings, problem = self.settings, self.problem
        held = data.held(problem.rows_at_once(settings.n_samples))
        temperature = settings.values("temperature", max(self.steps - 1, 0), 1)[0]
        terms = problem.terms(
            self.theta, held, settings.n_samples, settings.objective == "iwae", self.seeds["score"], temperature
        )
        return terms.mean(axis=0) * self.SIGNS

    def _keep(self, check) -> None:
        """A check, and the parameters if it is the best one."""
        self.checks.append(check)
        if not self.settings.early_stopping:
            return
        if check[0] < (np.inf if self.best is None else self.best["value"]):
            self.best = {"value": float(check[0]), "theta": _backend.to_numpy(self.theta).copy()}
            self.best["epoch"] = len(self.ends)
        self.settled = self._is_settled()

    def _is_settled(self) -> bool:
        settings = self.settings
        since = len(self.ends) - (0 if self.best is None else self.best["epoch"])
        return bool(settings.early_stopping and self.checks) and since >= settings.n_iter_no_change

    def result(self) -> np.ndarray:
        """theta of the best check with early stopping, else of now; of NumPy."""
        if self.settings.early_stopping and self.best is not None:
            return self.best["theta"].copy()
        return _backend.to_numpy(self.theta).copy()

    def history(self) -> dict[str, np.ndarray]:
        """Means over the rows of each epoch, and what was found of the rows for validation."""
        starts = [0, *self.ends[:-1]]
        means = np.array([self.means(a, b) for a, b in zip(starts, self.ends, strict=False)]).reshape(-1, 3)
        history = dict(zip(self.NAMES, means.T.copy(), strict=True))
        more = [self.more(a, b) for a, b in zip(starts, self.ends, strict=False)]
        history |= {name: np.array([values[name] for values in more]) for name in self.further}
        if self.checks:
            checks = np.array(self.checks).T.copy()
            history |= dict(zip((f"val_{name}" for name in self.NAMES), checks, strict=True))
        return history

    def means(self, first: int, last: int) -> np.ndarray:
        """Loss, minus ``log p(x | z)`` and KL per row, of steps ``first, ..., last - 1``."""
        terms = self.terms[first:last]
        return ((terms[:, 4] @ terms[:, :3]) / terms[:, 4].sum() + self.offsets) * self.SIGNS

    def more(self, first: int, last: int) -> dict[str, float]:
        """Means per row of what a step tells further."""
        terms = self.terms[first:last]
        return {name: float(terms[:, 4] @ terms[:, 5 + k] / terms[:, 4].sum()) for k, name in enumerate(self.further)}
