"""Optimizers with a memory that can be saved: Adam, and SciPy's L-BFGS-B.

Both minimise ``fun(theta) -> (value, gradient)`` and have the same face::

    result = optimizer.minimize(fun, theta, max_iter=100, tol=1e-4, on_iteration=..., state=None)

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
    """Factor ``(1 + cos(pi * step / n_steps)) / 2`` of the learning rate at ``step`` = 0, 1, ...

    Examples
    --------
    >>> from lvmfast import optim
    >>> float(optim.cosine_decay(0, 100)), float(optim.cosine_decay(100, 100))
    (1.0, 0.0)
    """
    return 0.5 * (1.0 + np.cos(np.pi * min(step, n_steps) / n_steps))


PATIENCE = 10  # iterations over which an improvement is judged: single steps of either optimizer may stall


def settled(values, tol: float) -> bool:
    """Whether the best of the last PATIENCE values is that of those before, to ``tol * max(1, |value|)``."""
    if tol <= 0 or len(values) <= PATIENCE:
        return False
    before = min(values[:-PATIENCE])
    return abs(before - min(values[-PATIENCE:])) <= tol * max(1.0, abs(before))


def _settled_message(tol: float) -> str:
    return f"no relative change of more than tol={tol:g} in {PATIENCE} iterations"


def _check_finite(value: float, gradient: np.ndarray, where: str, learning_rate: str | None = None) -> None:
    """Raise NonFiniteError, naming the remedy."""
    remedy = f"lower learning_rate={learning_rate}" if learning_rate else "start elsewhere or rescale the problem"
    if not np.isfinite(value):
        raise NonFiniteError(f"the loss is {value} at {where}; {remedy}")
    if not np.isfinite(gradient).all():
        raise NonFiniteError(f"the gradient is not finite at {where} (the loss is {value:.6g}); {remedy}")


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

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import optim
    >>> result = optim.Adam(0.1).minimize(lambda t: (float(t @ t), 2 * t), np.array([3.0, 4.0]), max_iter=500)
    >>> result.values[0], result.values[-1] < 1e-3
    (25.0, True)
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
        # (theta, values, moments) are replaced together, so that an interrupt finds them as they belong together.
        point = np.array(theta, dtype=np.float64), (), {}
        if state is not None:
            values = tuple(np.asarray(state["values"]).tolist())
            moments = {"m": np.array(state["m"]), "v": np.array(state["v"]), "t": int(state["t"])} if values else {}
            point = np.array(state["theta"]), values, moments
        converged = interrupted = stopped = False
        message = f"reached max_iter={max_iter}"
        try:
            while len(point[1]) < max_iter:
                if settled(point[1], tol):
                    converged, message = True, _settled_message(tol)
                    break
                theta, values, moments = point
                value, gradient = fun(theta)
                _check_finite(value, gradient, f"iteration {len(values)} of Adam", f"{self.learning_rate:g}")
                theta, moments = self.step(theta, gradient, moments, max_iter)
                point = theta, (*values, float(value)), moments
                if on_iteration is not None and on_iteration(
                    Progress(point[0], list(point[1]), len(point[1]), partial(self._state, *point))
                ):
                    stopped, message = True, "stopped by the callback"
                    break
        except KeyboardInterrupt:
            interrupted, message = True, "interrupted from the keyboard"
        theta, values, _ = point
        saved = self._state(*point)
        return OptimizeResult(theta, list(values), len(values), converged, interrupted, stopped, message, saved)

    @staticmethod
    def _state(theta, values, moments) -> dict:
        moments = moments or {"m": np.zeros_like(theta), "v": np.zeros_like(theta), "t": 0}
        return {"theta": theta.copy(), "values": np.array(values), **{k: np.array(v) for k, v in moments.items()}}


class LBFGS:
    """SciPy's L-BFGS-B with a memory that can be saved.

    SciPy keeps the optimizer's memory to itself. It is deterministic, though: the state kept here is the record of
    every value and gradient, and going on means answering its first questions from that record, which costs
    no evaluation and leads to the same bits. The record takes 8 bytes per parameter and evaluation.

    Parameters
    ----------
    memory : int, default=20
        Pairs of steps and gradient changes that approximate the Hessian.
    ftol, gtol : float >= 0
        SciPy's own tests of convergence: the relative change of the value in one step, and the largest entry of the
        projected gradient.

    References
    ----------
    Byrd, Lu, Nocedal & Zhu (1995), "A limited memory algorithm for bound constrained optimization".

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import optim
    >>> result = optim.LBFGS().minimize(lambda t: (float(t @ t), 2 * t), np.array([3.0, 4.0]), max_iter=50)
    >>> result.converged, bool(np.abs(result.theta).max() < 1e-6)
    (True, True)
    """

    def __init__(self, memory: int = 20, ftol: float = 0.0, gtol: float = 1e-12):
        self.memory = check_integer(memory, "memory", 1)
        self.ftol, self.gtol = check_positive(ftol, "ftol", zero=True), check_positive(gtol, "gtol", zero=True)

    def minimize(self, fun: Objective, theta, *, max_iter=100, tol=0.0, on_iteration=None, state=None, bounds=None):
        """At most ``max_iter`` iterations from ``theta``, within ``bounds`` (p, 2); see the module's docstring."""
        start = np.array(theta if state is None else state["start"], dtype=np.float64)
        known = 0 if state is None else len(state["iterations"])
        record = _Record(fun, state)
        reached = start, ()  # theta and the values so far, replaced together
        stopped = interrupted = converged = False
        message = f"reached max_iter={max_iter}"

        def after_iteration(intermediate_result):
            nonlocal stopped, reached
            reached = np.array(intermediate_result.x), (*reached[1], float(intermediate_result.fun))
            theta, values = reached
            if len(values) > known and on_iteration is not None:
                state_now = partial(record.state, start, values, record.asked)
                stopped = bool(on_iteration(Progress(theta, list(values), record.asked, state_now)))
            if stopped or settled(values, tol):
                raise StopIteration

        try:
            if max_iter > 0:
                result = optimize.minimize(
                    record,
                    start,
                    jac=True,
                    method="L-BFGS-B",
                    bounds=bounds,
                    callback=after_iteration,
                    options={
                        "maxiter": max_iter,
                        "maxfun": 20 * max_iter + 100,
                        "maxcor": self.memory,
                        "ftol": self.ftol,
                        "gtol": self.gtol,
                    },
                )
                converged = not stopped and (settled(reached[1], tol) or bool(result.success))
                if stopped:
                    message = "stopped by the callback"
                else:
                    message = _settled_message(tol) if settled(reached[1], tol) else str(result.message)
        except KeyboardInterrupt:
            interrupted, message = True, "interrupted from the keyboard"
        theta, values = reached
        asked = len(record.answers)
        saved = record.state(start, values, asked)
        return OptimizeResult(theta, list(values), asked, converged, interrupted, stopped, message, saved)


class _Record:
    """An objective that keeps every answer, and gives the known ones again."""

    def __init__(self, fun: Objective, state: dict | None):
        self.fun = fun
        self.asked = 0
        self.answers: list[tuple[float, np.ndarray, float]] = []  # value, gradient, mark of theta
        if state is not None:
            columns = (np.asarray(state[f"record_{name}"]) for name in ("values", "gradients", "marks"))
            self.answers = [(float(v), g, float(m)) for v, g, m in zip(*columns, strict=True)]

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        mark = float(theta @ theta)
        if self.asked < len(self.answers) and self.answers[self.asked][2] != mark:
            # Another build of SciPy asks differently: from here on the record says nothing.
            del self.answers[self.asked :]
        if self.asked == len(self.answers):
            value, gradient = self.fun(theta)
            if self.asked == 0 or value != np.inf:  # an infinite trial is a step too long; the line search copes
                _check_finite(value, gradient, f"evaluation {self.asked} of L-BFGS")
            self.answers.append((float(value), np.array(gradient, dtype=np.float64), mark))
        value, gradient, _ = self.answers[self.asked]
        self.asked += 1
        return value, gradient.copy()

    def state(self, start: np.ndarray, iterations, count: int) -> dict:
        """What a run takes to go on after the first ``count`` answers."""
        answers = self.answers[:count]
        return {
            "start": start,
            "iterations": np.array(iterations),
            "record_values": np.array([value for value, _, _ in answers]),
            "record_gradients": np.array([g for _, g, _ in answers]) if count else np.empty((0, start.size)),
            "record_marks": np.array([mark for _, _, mark in answers]),
        }
