"""A fit by L-BFGS that can stop, be saved and go on, bit for bit."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from lvmfast.exceptions import FitInterruptedWarning
from lvmfast.models._gpr_objective import Trial
from lvmfast.optim import LBFGS


@dataclasses.dataclass
class Reached:
    """Where a search is: theta, the losses so far, and what makes the state (arrays by name) to go on from."""

    theta: np.ndarray
    losses: list
    n_evaluations: int
    make_state: Callable[[], dict]
    converged: bool = False
    interrupted: bool = False
    stopped: bool = False
    message: str = ""


def first_state(theta: np.ndarray, bounds: np.ndarray) -> dict:
    """The state of a search that has not begun. A second stage follows on a line search that fails: without memory."""
    return {"stage": 0, "losses": np.empty(0), "evaluations": 0, "theta": theta, "bounds": bounds}


def search(objective, state: dict, max_iter: int, tol: float, on_iteration) -> Reached:
    """From a state to the end; ``on_iteration(reached)`` is true to stop."""
    stage, losses = int(state["stage"]), [float(v) for v in np.asarray(state["losses"])]
    evaluations, theta = int(state["evaluations"]), np.array(state["theta"])
    bounds = np.asarray(state["bounds"])
    prefix = "optimizer."
    memory = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)} or None
    optimizer = LBFGS(ftol=1e-3 * tol, gtol=tol)

    def reached(place, values, asked, memory_now):
        make = functools.partial(_state, stage, losses, evaluations, theta, bounds, memory_now)
        return Reached(place.copy(), [*losses, *values], evaluations + asked, make)

    while True:
        result = optimizer.minimize(
            Trial(objective, begun=memory is not None),
            theta,
            max_iter=max_iter - len(losses),
            on_iteration=lambda p: on_iteration(reached(p.theta, p.values, p.n_evaluations, p.state)),
            bounds=bounds,
            state=memory,
        )
        at = reached(result.theta, result.values, result.n_evaluations, lambda state=result.state: state)
        at.interrupted, at.stopped = result.interrupted, result.stopped
        at.converged, at.message = bool(result.converged), result.message
        if at.interrupted or at.stopped or "ABNORMAL" not in result.message or not result.values:
            break
        if stage == 1:
            if losses and losses[-1] - result.values[-1] <= tol * max(1.0, abs(losses[-1])):
                at.converged, at.message = True, "the loss changes no more than by rounding"
            break
        if len(at.losses) >= max_iter:
            break
        stage, losses, evaluations, theta, memory = 1, at.losses, at.n_evaluations, at.theta, None
    return at


def warn_of_the_end(model, reached: Reached, data: str, *, stacklevel: int) -> None:
    """Say that a fit was interrupted or has not converged; ``data`` is what the model's ``resume`` takes."""
    if reached.interrupted:
        warnings.warn(
            f"the fit was interrupted after {model.n_iter_} iterations; the model holds what was reached, and "
            f"resume({data}) goes on",
            FitInterruptedWarning,
            stacklevel=stacklevel + 1,
        )
    elif not (reached.converged or reached.stopped):
        warnings.warn(
            f"the fit ended before convergence ({reached.message}): raise tol, or go on with "
            f"resume({data}, max_iter=...), which was {model.max_iter}",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )


def _state(stage, losses, evaluations, theta, bounds, memory) -> dict:
    own = {f"optimizer.{name}": value for name, value in memory().items()}
    return {
        "stage": stage,
        "losses": np.array(losses),
        "evaluations": evaluations,
        "theta": theta,
        "bounds": bounds,
        **own,
    }
