"""How fits of Gaussian process classification run: L-BFGS on a profiled bound, sweeps of q alone, minibatches.

Each takes ``state``, None or the flat dict of arrays that an earlier one left, and goes on from there bit for bit.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast.models._gpr_objective import Trial
from lvmfast.optim import LBFGS, Adam

__all__ = ["Outcome", "descend", "stream", "sweep"]

PREFIX = "optimizer."


@dataclasses.dataclass
class Outcome:
    """Where a fit ended: ``theta``, the bounds of its iterations in nats, why, and the state to go on from."""

    theta: np.ndarray
    bounds: list[float]
    state: dict
    converged: bool = False
    interrupted: bool = False
    stopped: bool = False
    message: str = ""
    n_evaluations: int = 0


def _problem_state(problem) -> dict:
    return {f"problem.{name}": value for name, value in problem.state.items()}


def _restore(problem, state) -> None:
    problem.state = {name[8:]: value for name, value in state.items() if name.startswith("problem.")}


def descend(problem, max_iter: int, tol: float, state, report) -> Outcome:
    """L-BFGS on the bound at the best q; ``report(iteration, bound, theta)`` after every iteration."""
    start = problem.initial() if state is None else np.array(state["optimizer.start"])
    bounds = [] if state is None else list(state["bounds"])
    memory = None
    if state is not None:
        memory = {name[len(PREFIX) :]: value for name, value in state.items() if name.startswith(PREFIX)}
        _restore(problem, state)

    def on_iteration(progress):
        bounds.append(problem.bound(progress.theta, progress.values[-1]))
        return report(len(bounds), bounds[-1], progress.theta)

    limits = problem.bounds(start)
    start = np.clip(start, limits[:, 0], limits[:, 1])
    optimizer = LBFGS(ftol=1e-3 * tol, gtol=tol)
    result = optimizer.minimize(
        Trial(problem), start, max_iter=max_iter, on_iteration=on_iteration, state=memory, bounds=limits
    )
    kept = {**_problem_state(problem), **{PREFIX + name: value for name, value in result.state.items()}}
    kept["bounds"] = np.array(bounds)
    value = problem.best(result.theta)[0]  # q that belongs to theta
    if not bounds:
        bounds = [value]
    converged, message = result.converged, result.message
    if "ABNORMAL" in message and not (result.interrupted or result.stopped):
        converged, message = True, "the bound changes no more than by rounding"
    return Outcome(
        result.theta, bounds, kept, converged, result.interrupted, result.stopped, message, result.n_evaluations
    )


def sweep(problem, max_iter: int, tol: float, state, report) -> Outcome:
    """Updates of q at the present theta, each of which raises the bound."""
    theta = problem.initial()
    bounds = [] if state is None else list(state["bounds"])
    if state is not None:
        _restore(problem, state)
        problem.at = {name[3:]: value for name, value in state.items() if name.startswith("at.")}
    converged = interrupted = stopped = False
    message = f"reached max_iter={max_iter}"
    rows = len(problem.X)
    try:
        while len(bounds) < max_iter:
            value = problem.sweep(theta)
            bounds.append(value)
            if report(len(bounds), value, theta):
                stopped, message = True, "stopped by the callback"
                break
            if len(bounds) > 1 and bounds[-1] - bounds[-2] <= 1e-3 * tol * rows:
                converged, message = True, f"an update gains no more than {1e-3 * tol:g} nats per row"
                break
    except KeyboardInterrupt:
        interrupted, message = True, "interrupted from the keyboard"
    following = {**_problem_state(problem), "bounds": np.array(bounds)}
    following |= {f"at.{name}": value for name, value in (problem.at or {}).items()}
    return Outcome(theta, bounds, following, converged, interrupted, stopped, message, len(bounds))


def stream(problem, batches, max_iter: int, tol: float, state, report, rate: float, step_size, learn: bool) -> Outcome:
    """Natural gradient steps with minibatches, each with a step of Adam on theta; an iteration is a pass over the data.

    ``batches(epoch, k)`` gives (X, kappa) of batch k of ``batches.count``.
    """
    run = StreamState(problem, state)
    converged = interrupted = stopped = False
    message = f"reached max_iter={max_iter}"
    count = batches.count
    try:
        while run.t < max_iter * count:
            problem.interrupt()
            epoch, k = divmod(run.t, count)
            value = run.step(problem, *batches(epoch, k), rate, step_size, learn)
            run.partial = run.partial + (value,)
            if k < count - 1:
                continue
            run.bounds, run.partial = [*run.bounds, float(np.mean(run.partial))], ()
            if report(len(run.bounds), run.bounds[-1], run.theta):
                stopped, message = True, "stopped by the callback"
                break
    except KeyboardInterrupt:
        interrupted, message = True, "interrupted from the keyboard"
    return Outcome(run.theta, list(run.bounds), run.state(problem), converged, interrupted, stopped, message, run.t)


def step_length(t: int, step_size) -> float:
    """Of natural gradient step t = 0, 1, ...: a constant, or ``(t + 1)**-0.6`` (Robbins and Monro)."""
    return float(step_size) if step_size is not None else (t + 1.0) ** -0.6


class StreamState:
    """Where a run over minibatches stands: steps done, theta, Adam's moments, q."""

    def __init__(self, problem, state=None):
        self.t, self.moments, self.bounds, self.partial = 0, {}, [], ()
        self.theta = problem.initial()
        if state is None:
            return
        _restore(problem, state)
        self.t, self.theta = int(state["t"]), np.array(state["theta"])
        self.bounds, self.partial = list(state["bounds"]), tuple(state["partial"])
        if "adam.t" in state:
            self.moments = {name: np.array(state[f"adam.{name}"]) for name in ("m", "v", "t")}

    def step(self, problem, X, kappa, rate: float, step_size, learn: bool) -> float:
        """One batch; the estimate of the bound before theta moves."""
        learn = learn and problem.size > 0
        value, slope = problem.step(self.theta, X, kappa, step_length(self.t, step_size), learn)
        if learn:
            scale = 1.0 / problem.total
            slope = slope + problem.prior(self.theta)[1]
            limits = problem.bounds(self.theta)
            theta, self.moments = Adam(rate).step(self.theta, -scale * slope, self.moments)
            self.theta = np.clip(theta, limits[:, 0], limits[:, 1])
        self.t += 1
        return value

    def state(self, problem) -> dict:
        """What another run goes on from."""
        kept = {**_problem_state(problem), "t": self.t, "theta": self.theta}
        kept |= {"bounds": np.array(self.bounds), "partial": np.array(self.partial)}
        return {**kept, **{f"adam.{name}": np.array(value) for name, value in self.moments.items()}}
