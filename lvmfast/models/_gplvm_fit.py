"""A GPLVM fit in stages, each an optimizer on the objective in some dtype; can stop and go on anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from lvmfast.optim import LBFGS, Adam, OptimizeResult, Progress, cosine_decay

# Iterations of the first stage of optimizer="auto"; see benchmarks/ratios.py for what it is measured against.
EXPLORE_ITERATIONS = 150


class FitStatus:
    """What a callback is told after every iteration.

    Attributes
    ----------
    iteration : int
        Iterations so far, from 1.
    loss : float
        Minus the log marginal likelihood per column of Y, in nats.
    n_evaluations : int
        Evaluations of the loss and its gradient so far.
    elapsed : float
        Seconds since this call of ``fit`` or ``resume`` began.
    """

    def __init__(self, iteration, loss, n_evaluations, elapsed, model):
        self.iteration, self.loss = iteration, loss
        self.n_evaluations, self.elapsed = n_evaluations, elapsed
        self._model = model

    def __repr__(self) -> str:
        return f"FitStatus(iteration={self.iteration}, loss={self.loss:.6g}, elapsed={self.elapsed:.1f})"

    @property
    def embedding(self) -> np.ndarray:
        """The latents now, shape (n, n_components); a copy."""
        return self.model().embedding_.copy()

    def model(self):
        """A fitted model with the parameters of this iteration, which can predict, be saved and be resumed."""
        return self._model()

    def save(self, path) -> None:
        """Write a checkpoint: ``GPLVM.load(path).resume()`` goes on from here."""
        self.model().save(path)


@dataclasses.dataclass
class Stage:
    """``optimizer`` on the objective in ``dtype`` until ``end`` iterations in all are done."""

    optimizer: Adam | LBFGS
    dtype: np.dtype
    end: int
    tol: float


def make_stages(optimizer: str, learning_rate, max_iter: int, tol: float, dtype: np.dtype, explore: bool):
    """The list of stages of ``GPLVM(optimizer=...)``; ``explore`` is false where the start is to be kept."""
    if optimizer == "adam":
        return [Stage(Adam(learning_rate), dtype, max_iter, tol)]
    if optimizer == "lbfgs" or not explore:
        return [Stage(LBFGS(), dtype, max_iter, tol)]
    adam = Adam(learning_rate, beta_2=0.99, schedule=cosine_decay)
    first = Stage(adam, np.dtype(np.float32), min(EXPLORE_ITERATIONS, max_iter // 2), 0.0)
    return [first, Stage(LBFGS(), dtype, max_iter, tol)]


@dataclasses.dataclass
class Snapshot:
    """A point of a fit: ``state`` (flat, of arrays) is what a fit can start from."""

    state: dict
    losses: np.ndarray
    n_evaluations: int


def first_state(theta: np.ndarray) -> dict:
    """The state of a fit that has not begun."""
    return {"stage": 0, "losses": np.empty(0), "evaluations": 0, "theta": theta}


class StagedFit:
    """Runs ``stages`` on ``problem`` from ``state``.

    Attributes
    ----------
    objective : Objective
        That of the stage which ran last.
    snapshot : Snapshot
        Where the fit stands when :meth:`run` returns.
    """

    def __init__(self, make_objective: Callable, stages: list[Stage], state: dict):
        self._make_objective, self.stages = make_objective, stages
        self.stage = min(int(state["stage"]), len(stages) - 1)
        self._losses, self._evaluations = np.asarray(state["losses"]), int(state["evaluations"])
        self._theta = np.array(state["theta"])
        prefix = "optimizer."
        self._memory = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)} or None
        if self._memory and str(state["optimizer"]) != type(stages[self.stage].optimizer).__name__:
            # Another optimizer goes on from the same place, with no memory.
            done = len(self._memory.get("values", self._memory.get("iterations", ())))
            self.stage = len(stages) - 1
            self._losses = np.asarray(state["all_losses"])
            self._evaluations += done
            self._memory = None
        self.objective = self.snapshot = None

    def run(self, on_iteration: Callable[[Callable[[], Snapshot], int, float, int], bool]) -> OptimizeResult:
        """To the end of the last stage, or until ``on_iteration(snapshot, iteration, loss, n_evaluations)``."""
        while True:
            stage = self.stages[self.stage]
            self.objective = self._make_objective(stage.dtype)
            result = stage.optimizer.minimize(
                self.objective,
                self._theta,
                max_iter=max(stage.end - len(self._losses), 0),
                tol=stage.tol,
                on_iteration=lambda progress: self._report(progress, on_iteration),
                state=self._memory,
            )
            self.snapshot = _snapshot(
                *(self.stages, self.stage, self._losses, self._evaluations, self.objective.loss_offset()),
                *(result.theta, result.values, result.n_evaluations, result.state),
            )
            if result.interrupted or result.stopped or self.stage == len(self.stages) - 1:
                return result
            self.stage += 1
            self._losses, self._evaluations = self.snapshot.losses, self.snapshot.n_evaluations
            self._theta, self._memory = result.theta, None

    def _report(self, progress: Progress, on_iteration) -> bool:
        stage, losses, evaluations = self.stage, self._losses, self._evaluations

        def snapshot():  # of this iteration, also when asked later
            return _snapshot(
                *(self.stages, stage, losses, evaluations, self.objective.loss_offset()),
                *(progress.theta, progress.values, progress.n_evaluations, progress.state()),
            )

        iteration = len(self._losses) + len(progress.values)
        loss = progress.values[-1] + self.objective.loss_offset()
        return on_iteration(snapshot, iteration, loss, self._evaluations + progress.n_evaluations)


def _snapshot(stages, stage, losses, evaluations, offset, theta, values, n_evaluations, optimizer_state) -> Snapshot:
    every = np.concatenate([losses, np.asarray(values) + offset])
    state = {
        "stage": stage,
        "losses": losses,
        "all_losses": every,
        "evaluations": evaluations,
        "theta": theta,
        "optimizer": type(stages[stage].optimizer).__name__,
        **{f"optimizer.{name}": value for name, value in optimizer_state.items()},
    }
    return Snapshot(state, every, evaluations + n_evaluations)
