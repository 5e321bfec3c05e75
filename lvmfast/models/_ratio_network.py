"""Training of one network of log ratios, which can stop, be saved and go on, bit for bit."""

from __future__ import annotations

import time

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import NonFiniteError
from lvmfast.nn import Dense, Sequential
from lvmfast.nn._rules import moments_of, rates_of, rule_of

CALL_SECONDS = 0.1  # of steps in one compiled call, between which Ctrl-C is looked for
MOST_STEPS = 10_000  # of one call

__all__ = ["RatioRun", "build_network", "compiled_ratio"]


def build_network(given, hidden, activation, d: int, seed: int, dtype, device: str) -> Sequential:
    """A new network from ``d`` inputs to one log ratio; with the parameters of a built one that was given."""
    if given is None:
        layers, heads = [*(Dense(width, activation) for width in hidden), Dense(1)], None
    else:
        layers, heads = given.layers, given.heads
    if heads is not None:
        raise ValueError("network must have one output, the log ratio, and no heads")
    shape = d if given is None or given._graph is None else given.input_shape
    network = Sequential(layers).build(shape, dtype, seed, device)
    if int(np.prod(network.input_shape)) != d:
        raise ValueError(f"network must take rows of {d} numbers, got one for the input shape {network.input_shape}")
    if network.output_shape != (1,):
        raise ValueError(f"network must end in Dense(1), the log ratio, got the output shape {network.output_shape}")
    if given is not None and given._graph is not None:
        network.parameters = _backend.to_numpy(given.parameters)
    return network


def compiled_ratio(network: Sequential, shape: tuple[int, float, float]):
    """The compiled network with the loss ``shape``: kind, alpha and factor of csrc/core/ratio_loss.hpp."""
    module = _backend.module_on(network.device, network.parameters)
    made = module.RatioNetwork32 if network.dtype == np.float32 else module.RatioNetwork64
    kind, alpha, factor = shape
    return made(network.graph.numbers(), network.n_parameters, kind=kind, alpha=alpha, factor=factor)


class RatioRun:
    """Steps of a fit of one network.

    Parameters
    ----------
    network : Sequential
        Built; its parameters are the first ones, and stay as they are.
    loss : object
        ``train(...)`` and ``evaluate(...)`` of the compiled class, or of a loss that is not compiled.
    optimizer : optimizer of lvmfast.nn
    X : array of shape (n, d)
    weights : array of shape (n,)
        > 0 for rows of p, < 0 for rows of q.
    batch_size : int or None
        None: all rows in every step.
    seed : int
        For the orders of rows.
    held : (X, weights) or None
        Rows for validation.
    patience : int
        Epochs without a better loss of these rows, after which steps end.

    Attributes
    ----------
    theta, m, v : ndarray of shape (p,)
    terms : list of (k, 2) arrays
        Loss and the gradient's norm of every step.
    checks : list of float
        Loss of the rows for validation after every epoch.
    """

    def __init__(self, network, loss, optimizer, X, weights, batch_size, seed, held=None, patience=None):
        self.network, self.loss, self.optimizer = network, loss, optimizer
        self.X, self.weights, self.batch_size, self.seed = X, weights, batch_size, seed
        self.held, self.patience = held, patience
        self.theta = network.parameters.copy()
        xp = _backend.namespace(self.theta)
        names = moments_of(optimizer)
        self.m, self.v = (xp.zeros_like(self.theta) if name in names else None for name in ("m", "v"))
        self.terms: list[np.ndarray] = []
        self.checks: list[float] = []
        self.best: dict | None = None
        self.steps, self._at_once = 0, 1

    @property
    def pass_length(self) -> int:
        """Steps of an epoch."""
        return 1 if self.batch_size is None else -(-len(self.X) // self.batch_size)

    @property
    def epochs(self) -> int:
        """That are finished."""
        return self.steps // self.pass_length

    @property
    def settled(self) -> bool:
        """Whether the rows for validation have had no better loss for long enough."""
        return self.best is not None and len(self.checks) - self.best["epoch"] >= self.patience

    def parameters(self) -> np.ndarray:
        """Of the best check, or the last ones; a NumPy array."""
        return _backend.to_numpy(self.theta).copy() if self.best is None else self.best["theta"].copy()

    def curve(self) -> np.ndarray:
        """Loss of every step."""
        return np.concatenate([np.empty((0, 2)), *self.terms])[:, 0]

    def state(self) -> dict:
        """Arrays by name, from which a run goes on."""
        state = {
            "theta": _backend.to_numpy(self.theta).copy(),
            "terms": np.concatenate([np.empty((0, 2)), *self.terms]),
        }
        state |= {"kind": np.array(rule_of(self.optimizer)[0]), "checks": np.array(self.checks, dtype=np.float64)}
        state |= {k: _backend.to_numpy(a).copy() for k in ("m", "v") if (a := getattr(self, k)) is not None}
        if self.best is not None:
            state |= {f"best.{name}": np.array(value) for name, value in self.best.items()}
        return state

    def restore(self, state: dict) -> None:
        """Go on from where ``state()`` was."""
        given = [name in state for name in ("m", "v")]
        if int(state["kind"]) != rule_of(self.optimizer)[0] or given != [a is not None for a in (self.m, self.v)]:
            raise ValueError(f"optimizer must be of the kind of the fit to go on, got {self.optimizer!r}")
        for name in ("theta", "m", "v"):
            if name in state:
                getattr(self, name)[...] = _backend.like(np.asarray(state[name]), self.theta)
        self.terms = [np.array(state["terms"])]
        self.steps, self.checks = len(self.terms[0]), np.asarray(state["checks"]).tolist()
        if "best.theta" in state:
            self.best = {"value": float(state["best.value"]), "epoch": int(state["best.epoch"])}
            self.best["theta"] = np.array(state["best.theta"])

    def piece(self, max_iter: int, one_epoch: bool) -> bool:
        """Some steps, at most to an epoch's end if ``one_epoch`` or rows are held out; whether an epoch ended."""
        length, n = self.pass_length, len(self.X)
        at = self.steps % length
        if self.batch_size is None:
            one = one_epoch or self.held is not None
            count, rows = (1 if one else min(self._at_once, max_iter - self.steps)), None
        else:
            count, size = min(self._at_once, length - at), self.batch_size
            order = np.random.Generator(np.random.Philox(key=[self.seed, self.epochs])).permutation(n)
            rows = order[at * size : (at + count) * size].astype(np.int64)
        begun = time.perf_counter()
        self._train(rows, count)
        wanted = CALL_SECONDS * count / max(time.perf_counter() - begun, 1e-9)
        self._at_once = int(np.clip(wanted, 1, min(MOST_STEPS, 8 * self._at_once)))
        ended = self.steps % length == 0
        if ended and self.held is not None:
            self._check()
        return ended

    def _train(self, rows, count: int) -> None:
        kind, numbers, clip = rule_of(self.optimizer)
        rates = rates_of(self.optimizer, self.steps, count)
        kept = [(a, a.copy()) for a in (self.theta, self.m, self.v) if a is not None]

        def train(k):
            chosen = None if rows is None else rows[: k * self.batch_size]
            own = self.theta, self.m, self.v, self.X, self.weights, chosen, self.batch_size or 0
            terms, done = self.loss.train(*own, rates[:k], kind, numbers, clip)
            return _backend.to_numpy(terms), int(done)

        try:
            terms, done = train(count)
        except BaseException:  # of a function that was given; the steps before it are not known of
            for array, values in kept:
                array[...] = values
            raise
        reached = done
        xp = _backend.namespace(self.theta)
        while done and not bool(
            xp.isfinite(self.theta).all()
        ):  # the step before overflowed, as is seen only afterwards
            for array, values in kept:
                array[...] = values
            done -= 1
            if done:
                train(done)
        if done:
            self.terms.append(terms[:done])
            self.steps += done
        if done < count:
            what = "loss or its gradient" if done == reached else "parameters after it"
            raise NonFiniteError(
                f"the {what} of step {self.steps} would not be finite, and it was not taken; lower the learning rate, "
                "set the optimizer's clip_norm, or standardize the rows"
            )

    def _check(self) -> None:
        value = float(_backend.to_numpy(self.loss.evaluate(self.theta, *self.held, False)[0])[0])
        self.checks.append(value)
        if self.patience is not None and value < (np.inf if self.best is None else self.best["value"]):
            theta = _backend.to_numpy(self.theta).copy()
            self.best = {"value": value, "epoch": len(self.checks), "theta": theta}
