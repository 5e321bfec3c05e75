"""Optimizers with a memory that can be saved: Adam, and SciPy's L-BFGS-B.

Both minimise ``fun(theta) -> (value, gradient)`` and have the same face::

    result = optimizer.minimize(fun, theta, max_iter=100, tol=1e-5, on_iteration=..., state=None)

A run has converged when ten iterations change the best value by at most ``tol * max(1, |value|)``.
``result.state`` is a flat dict of arrays. Passed back as ``state`` it continues the run exactly where it ended,
as if it had not stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import optimize

from lvmfast._validation import check_integer, check_positive
from lvmfast.exceptions import NonFiniteError

__all__ = ["LBFGS", "Adam", "OptimizeResult", "Progress", "cosine_decay"]

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclasses.dataclass
class Progress:
    """Where a run stands, as ``on_iteration`` is told; its true answer stops the run.

    ``values`` has one entry per iteration so far; ``state()`` gives what ``minimize(state=...)`` takes.
    """

    theta: np.ndarray
    values: list[float]
    n_evaluations: int
    state: Callable[[], dict]


@dataclasses.dataclass
class OptimizeResult:
    """What a run ended with.

    Attributes
    ----------
    theta : array of shape (p,)
        Where it ended.
    values : list of float
        The objective, one per iteration: before the step (Adam), after it (L-BFGS).
    n_evaluations : int
        Calls of the objective, those of an earlier part included.
    converged, interrupted, stopped : bool
        By the tolerance; from the keyboard; by the callback.
    message : str
        Why it ended.
    state : dict
        To go on from here.
    """

    theta: np.ndarray
    values: list[float]
    n_evaluations: int
    converged: bool
    interrupted: bool
    stopped: bool
    message: str
    state: dict


def cosine_decay(step: int, n_steps: int) -> float:
    """Factor ``(1 + cos(pi * step / n_steps)) / 2`` of the learning rate at ``step`` = 0, 1, ..."""
    return 0.5 * (1.0 + np.cos(np.pi * min(step, n_steps) / n_steps))


PATIENCE = 10  # iterations over which an improvement is judged: single steps of either optimizer may stall


def settled(values: list[float], tol: float) -> bool:
    """Whether the best of the last PATIENCE values is that of those before, to ``tol * max(1, |value|)``."""
    if tol <= 0 or len(values) <= PATIENCE:
        return False
    before = min(values[:-PATIENCE])
    return abs(before - min(values[-PATIENCE:])) <= tol * max(1.0, abs(before))


def _settled_message(tol: float) -> str:
    return f"no relative change of more than tol={tol:g} in {PATIENCE} iterations"


class Adam:
    r"""Adam: with ``m`` and ``v`` the running means of the gradient and of its square,

    ``theta -= learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)``.

    Parameters
    ----------
    learning_rate : float > 0
    beta_1, beta_2 : float in [0, 1)
    epsilon : float > 0
        Added to ``sqrt(v)`` before the bias correction, as Keras does and the end of section 2 of the paper.
    schedule : callable, optional
        ``schedule(step, max_iter)`` multiplies the learning rate; see :func:`cosine_decay`.

    References
    ----------
    Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1 and section 2.
    """

    def __init__(self, learning_rate=0.01, *, beta_1=0.9, beta_2=0.999, epsilon=1e-7, schedule=None):
        self.learning_rate = check_positive(learning_rate, "learning_rate")
        for name, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {value!r}")
        self.beta_1, self.beta_2 = float(beta_1), float(beta_2)
        self.epsilon = check_positive(epsilon, "epsilon")
        self.schedule = schedule

    def step(self, theta: np.ndarray, gradient: np.ndarray, state: dict, max_iter: int = 0):
        """The next ``(theta, state)``; ``state`` is ``{}`` at first. The arguments are left as they are."""
        t = int(state["t"]) + 1 if state else 1
        m, v = (state["m"], state["v"]) if state else (0.0, 0.0)
        m = m + (1 - self.beta_1) * (gradient - m)
        v = v + (1 - self.beta_2) * (gradient * gradient - v)
        rate = self.learning_rate * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        if self.schedule is not None:
            rate *= self.schedule(t - 1, max_iter)
        return theta - rate * m / (np.sqrt(v) + self.epsilon), {"m": m, "v": v, "t": t}

    def minimize(self, fun: Objective, theta, *, max_iter=100, tol=0.0, on_iteration=None, state=None):
        """At most ``max_iter`` steps from ``theta``; see the module's docstring."""
        theta = np.array(theta, dtype=np.float64)
        values: list[float] = []
        moments: dict = {}
        if state is not None:
            theta = np.array(state["theta"])
            values = np.asarray(state["values"]).tolist()
            moments = {"m": np.array(state["m"]), "v": np.array(state["v"]), "t": int(state["t"])} if values else {}
        converged = interrupted = stopped = False
        message = f"reached max_iter={max_iter}"
        try:
            while len(values) < max_iter:
                if settled(values, tol):
                    converged, message = True, _settled_message(tol)
                    break
                value, gradient = fun(theta)
                if not (np.isfinite(value) and np.isfinite(gradient).all()):
                    raise NonFiniteError(
                        f"the loss is {value} at iteration {len(values)} of Adam; lower learning_rate="
                        f"{self.learning_rate:g}"
                    )
                theta, moments = self.step(theta, gradient, moments, max_iter)
                values.append(float(value))
                if on_iteration is not None and on_iteration(
                    Progress(theta, list(values), len(values), partial(self._state, theta, list(values), moments))
                ):
                    stopped, message = True, "stopped by the callback"
                    break
        except KeyboardInterrupt:
            interrupted, message = True, "interrupted from the keyboard"
        saved = self._state(theta, values, moments)
        return OptimizeResult(theta, values, len(values), converged, interrupted, stopped, message, saved)

    @staticmethod
    def _state(theta, values, moments) -> dict:
        moments = moments or {"m": np.zeros_like(theta), "v": np.zeros_like(theta), "t": 0}
        return {"theta": theta, "values": np.array(values), **moments}


class LBFGS:
    """SciPy's L-BFGS-B with a memory that can be saved.

    SciPy keeps the optimizer's memory to itself. It is deterministic, though: the state kept here is the record of
    every value and gradient, and going on means answering its first questions from that record, which costs
    no evaluation and leads to the same bits. The record takes 8 bytes per parameter and evaluation.

    Parameters
    ----------
    memory : int, default=20
        Pairs of steps and gradient changes that approximate the Hessian.

    References
    ----------
    Byrd, Lu, Nocedal & Zhu (1995), "A limited memory algorithm for bound constrained optimization".
    """

    def __init__(self, memory: int = 20):
        self.memory = check_integer(memory, "memory", 1)

    def minimize(self, fun: Objective, theta, *, max_iter=100, tol=0.0, on_iteration=None, state=None):
        """At most ``max_iter`` iterations from ``theta``; see the module's docstring."""
        start = np.array(theta if state is None else state["start"], dtype=np.float64)
        record = _Record(fun, state)
        reached = {"theta": start, "values": [], "known": 0 if state is None else len(state["iterations"])}
        values = reached["values"]
        stopped = interrupted = False

        def after_iteration(intermediate_result):
            nonlocal stopped
            reached["theta"] = np.array(intermediate_result.x)
            values.append(float(intermediate_result.fun))
            fresh = len(values) > reached["known"]
            if fresh and on_iteration is not None:
                so_far = list(values)
                state_now = partial(record.state, start, so_far, record.asked)
                stopped = bool(on_iteration(Progress(reached["theta"], so_far, record.asked, state_now)))
            if stopped:
                raise StopIteration
            if settled(values, tol):
                raise StopIteration

        message, converged = "", False
        try:
            result = optimize.minimize(
                record,
                start,
                jac=True,
                method="L-BFGS-B",
                callback=after_iteration,
                options={
                    "maxiter": max_iter,
                    "maxfun": 20 * max_iter + 100,
                    "maxcor": self.memory,
                    "ftol": 0.0,
                    "gtol": 1e-12,
                },
            )
            converged = not stopped and (settled(values, tol) or bool(result.success))
            if stopped:
                message = "stopped by the callback"
            elif settled(values, tol):
                message = _settled_message(tol)
            else:
                message = str(result.message)
        except KeyboardInterrupt:
            interrupted, message = True, "interrupted from the keyboard"
        saved = record.state(start, values, len(record.values))
        return OptimizeResult(
            reached["theta"], values, len(record.values), converged, interrupted, stopped, message, saved
        )


class _Record:
    """An objective that keeps every answer, and gives the known ones again."""

    def __init__(self, fun: Objective, state: dict | None):
        self.fun = fun
        self.asked = 0
        self.values: list[float] = [] if state is None else np.asarray(state["record_values"]).tolist()
        self.gradients = [] if state is None else list(np.asarray(state["record_gradients"]))
        self.marks: list[float] = [] if state is None else np.asarray(state["record_marks"]).tolist()

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        mark = float(theta @ theta)
        if self.asked < len(self.values) and self.marks[self.asked] != mark:
            # Another build of SciPy asks differently: from here on the record says nothing.
            del self.values[self.asked :], self.gradients[self.asked :], self.marks[self.asked :]
        if self.asked == len(self.values):
            value, gradient = self.fun(theta)
            self.values.append(float(value))
            self.gradients.append(np.array(gradient, dtype=np.float64))
            self.marks.append(mark)
        self.asked += 1
        return self.values[self.asked - 1], self.gradients[self.asked - 1].copy()

    def state(self, start: np.ndarray, iterations: list[float], count: int) -> dict:
        """What a run takes to go on after the first ``count`` answers."""
        gradients = np.array(self.gradients[:count]) if count else np.empty((0, start.size))
        return {
            "start": start,
            "iterations": np.array(iterations),
            "record_values": np.array(self.values[:count]),
            "record_gradients": gradients,
            "record_marks": np.array(self.marks[:count]),
        }
