"""Peer implementations of the training of a density ratio by classification, behind one interface.

The loss is mean_p softplus(-s) + mean_q softplus(s) of a dense relu network's output s, twice the mean cross-entropy of
a classifier where both samples have as many rows, in float32. "reference": 1-16-32-1, RMSprop at 0.001, every step on
all 1,000 + 1,000 rows, 500 epochs. "batches": 10-64-64-1, Adam at 0.001, batches of 256 of 9,984 + 9,984 rows.
``PEERS[name](case)`` does all the set-up and returns a :class:`Trainer`, or raises ``Unavailable``. All start from the
same weights and take the same rows in the same order.

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from .covariances import Unavailable, require

__all__ = ["CASES", "OURS", "PEERS", "RatioCase", "Trainer", "Unavailable", "assert_same_losses"]

RATE, EPS = 1e-3, 1e-7
# (features, widths, rows of either sample, rows of a batch, epochs of a fit, epochs of a call of a peer in eager mode)
CASES = {"reference": (1, (16, 32), 1000, None, 500, 50), "batches": (10, (64, 64), 9984, 256, 5, 1)}


@dataclasses.dataclass
class RatioCase:
    """Rows of p, then of q, the order in which steps take them, first weights (Keras's layouts, Glorot's limits)."""

    name: str
    X: np.ndarray
    y: np.ndarray
    order: np.ndarray | None
    weights: list[np.ndarray]

    @classmethod
    def random(cls, name: str) -> RatioCase:
        """N(1, 1) and N(0, 4) in every feature; of ten features the shift is small, so that the samples overlap."""
        d, widths, n, batch, epochs, _ = CASES[name]
        rng = np.random.default_rng(0)
        shift, scale = (1.0, 2.0) if d == 1 else (0.3, 1.2)
        X = np.concatenate([rng.normal(shift, 1, (n, d)), rng.normal(0, scale, (n, d))]).astype(np.float32)
        y = np.repeat(np.float32([1, 0]), n)
        order = None if batch is None else np.stack([rng.permutation(2 * n) for _ in range(epochs)]).reshape(-1, batch)
        weights, sizes = [], [d, *widths, 1]
        for before, after in zip(sizes[:-1], sizes[1:], strict=True):
            limit = math.sqrt(6 / (before + after))
            weights += [rng.uniform(-limit, limit, (before, after)), np.zeros(after)]
        return cls(name, X, y, order, [w.astype(np.float32) for w in weights])

    @property
    def adam(self) -> bool:
        """Else RMSprop, both with Keras's numbers and epsilon."""
        return self.order is not None

    @property
    def epochs(self) -> int:
        """Of a fit."""
        return CASES[self.name][4]

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return 1 if self.order is None else len(self.order) // self.epochs

    def batches(self):
        """Rows and labels of every step of a fit; of all epochs the same arrays where a step has all rows."""
        if self.order is None:
            return [(self.X, self.y[:, None])]
        return [(self.X[rows], self.y[rows, None]) for rows in self.order]

    def rates(self, steps: int) -> np.ndarray:
        """Learning rates with Adam's correction of the bias in them, as Keras has it."""
        t = np.arange(1, steps + 1)
        return RATE * (np.sqrt(1 - 0.999**t) / (1 - 0.9**t) if self.adam else np.ones(steps))


@dataclasses.dataclass
class Trainer:
    """``losses()``: of every step of a fit from the first weights, each before its step; None where only ``epoch`` is
    for timing. ``epoch()``: ``epochs`` epochs, done when it returns."""

    losses: Callable | None
    epoch: Callable
    epochs: int


def assert_same_losses(mine: Trainer, theirs: Trainer) -> None:
    """The first losses agree to 1e-5, the last to 1e-3, all to 1e-2: PyTorch has RMSprop's epsilon outside the root."""
    expected, found = np.asarray(mine.losses()), np.asarray(theirs.losses())
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[-1], expected[-1], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2)


def _our_network(case: RatioCase):
    from lvmfast import nn

    layers = [nn.Dense(width, "relu") for width in CASES[case.name][1]]
    network = nn.Sequential([*layers, nn.Dense(1)]).build((case.X.shape[1],), np.float32)
    network.set_weights(case.weights)
    return network


def ours(case: RatioCase) -> Trainer:
    """All steps of a fit in one compiled call, as ``DensityRatio.fit`` makes it."""
    from lvmfast import _backend

    if not hasattr(_backend.cpu, "RatioNetwork32"):
        raise Unavailable("lvmfast was built without the compiled density ratio")
    network = _our_network(case)
    compiled = _backend.cpu.RatioNetwork32(network.graph.numbers(), network.n_parameters, kind=0, alpha=0.0, factor=0.0)
    n = len(case.X) // 2
    signed = np.where(case.y > 0, 1 / n, -1 / n).astype(np.float32)
    steps = case.epochs * case.steps
    rows, batch = (None, 0) if case.order is None else (case.order.ravel(), case.order.shape[1])
    kind, numbers = (0, (0.9, 0.999, EPS)) if case.adam else (1, (0.9, 0.0, EPS))
    rates = case.rates(steps)

    def run():
        theta = network.parameters.copy()
        m, v = np.zeros_like(theta) if case.adam else None, np.zeros_like(theta)
        with _backend.blas_threads(1):
            terms, taken = compiled.train(theta, m, v, case.X, signed, rows, batch, rates, kind, numbers, 0.0)
        assert taken == steps
        return terms[:, 0]

    return Trainer(run, run, case.epochs)


def whole_fit(case: RatioCase) -> Trainer:
    """``DensityRatio.fit``, its checks, orders of rows and the ratios of all rows at the end included."""
    import lvmfast as lvm

    model = lvm.DensityRatio(
        network=_our_network(case),
        standardize=False,
        optimizer=lvm.nn.Adam(RATE) if case.adam else lvm.nn.RMSprop(RATE),
        batch_size=None if case.order is None else case.order.shape[1],
        max_iter=case.epochs,
        random_state=0,
    )
    n = len(case.X) // 2
    return Trainer(None, lambda: model.fit(case.X[:n], case.X[n:]), case.epochs)


OURS = {"train": ours, "fit": whole_fit}


def _stepwise(case: RatioCase, start, batches, calls: int) -> Trainer:
    """A peer that takes one step a call: ``start()`` has fresh weights and answers with ``step(x, y) -> loss``."""

    def losses():
        step = start()
        return [float(step(*batches[k % len(batches)])) for k in range(case.epochs * case.steps)]

    step = start()

    def epoch():
        for k in range(calls * case.steps):
            loss = step(*batches[k % len(batches)])
        return float(loss)

    epoch()
    return Trainer(losses, epoch, calls)


def torch_eager(case: RatioCase, compile_it: bool = False) -> Trainer:
    """PyTorch: functions, autograd, torch.optim over all parameters together."""
    require("torch")
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, linear, relu

    def loss_of(weights, x, y):
        for k in range(0, len(weights) - 2, 2):
            x = relu(linear(x, weights[k], weights[k + 1]))
        return 2 * binary_cross_entropy_with_logits(linear(x, weights[-2], weights[-1]), y)

    loss_of_compiled = loss_of
    if compile_it:
        torch.compiler.reset()
        loss_of_compiled = torch.compile(loss_of, dynamic=False)

    def start():
        weights = [torch.tensor(np.ascontiguousarray(w.T)).requires_grad_() for w in case.weights]
        if case.adam:
            optimizer = torch.optim.Adam(weights, lr=RATE, eps=EPS, fused=True)
        else:  # Keras's epsilon is inside the root
            optimizer = torch.optim.RMSprop(weights, lr=RATE, alpha=0.9, eps=math.sqrt(EPS), foreach=True)

        def step(x, y):
            optimizer.zero_grad()
            loss = loss_of_compiled(weights, x, y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    batches = [tuple(map(torch.from_numpy, pair)) for pair in case.batches()]
    return _stepwise(case, start, batches, CASES[case.name][5])


def torch_compiled(case: RatioCase) -> Trainer:
    """The same with its loss through torch.compile."""
    return torch_eager(case, compile_it=True)


def jax_scan(case: RatioCase) -> Trainer:
    """JAX: all steps of a fit in one ``jit``, a ``lax.scan`` over them, the optimizer written out."""
    require("jax")
    import jax
    from jax import numpy as jnp

    def loss_of(weights, x, y):
        for k in range(0, len(weights) - 2, 2):
            x = jax.nn.relu(x @ weights[k] + weights[k + 1])
        s = (x @ weights[-2] + weights[-1])[:, 0]
        return 2 * (jax.nn.softplus(s) - y * s).mean()

    def adam(w, g, m, v, rate):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - rate * m / (jnp.sqrt(v) + EPS), m, v

    def rmsprop(w, g, m, v, rate):
        v = 0.9 * v + 0.1 * g * g
        return w - rate * g / jnp.sqrt(v + EPS), m, v

    rule = adam if case.adam else rmsprop

    @jax.jit
    def train(weights, X, y, rates, order):
        def step(state, now):
            weights, m, v = state
            rate, rows = now
            x, labels = (X, y) if order is None else (X[rows], y[rows])
            loss, slopes = jax.value_and_grad(loss_of)(weights, x, labels)
            changed = [rule(*own, rate) for own in zip(weights, slopes, m, v, strict=True)]
            return tuple(map(list, zip(*changed, strict=True))), loss

        zeros = [jnp.zeros_like(w) for w in weights]
        return jax.lax.scan(step, (weights, zeros, zeros), (rates, order))[1]

    order = None if case.order is None else jnp.asarray(case.order)
    rates = jnp.asarray(case.rates(case.epochs * case.steps), dtype=jnp.float32)
    given = [jnp.asarray(w) for w in case.weights], jnp.asarray(case.X), jnp.asarray(case.y), rates, order

    def run():
        return np.asarray(train(*given))

    run()
    return Trainer(run, run, case.epochs)


def _keras_model(case: RatioCase):
    import keras

    inputs = keras.Input((case.X.shape[1],))
    x = inputs
    for width in CASES[case.name][1]:
        x = keras.layers.Dense(width, activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.set_weights(case.weights)
    return model, (keras.optimizers.Adam if case.adam else keras.optimizers.RMSprop)(RATE)


def tensorflow_step(case: RatioCase, jit_compile: bool = False) -> Trainer:
    """A Keras 3 model and optimizer, the step a tf.function."""
    require("tensorflow", "keras")
    import tensorflow as tf

    def start():
        model, optimizer = _keras_model(case)
        variables = model.trainable_variables
        optimizer.build(variables)

        @tf.function(jit_compile=jit_compile)
        def step(x, y):
            with tf.GradientTape() as tape:
                s = model(x, training=True)
                loss = 2 * tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, s))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return step

    batches = [tuple(map(tf.constant, pair)) for pair in case.batches()]
    return _stepwise(case, start, batches, CASES[case.name][5])


def tensorflow_jit(case: RatioCase) -> Trainer:
    """The same through XLA."""
    return tensorflow_step(case, jit_compile=True)


def keras_fit(case: RatioCase) -> Trainer:
    """``Model.compile`` and ``Model.fit``, as the reference has it."""
    require("tensorflow", "keras")
    import keras

    model, optimizer = _keras_model(case)
    model.compile(optimizer=optimizer, loss=keras.losses.BinaryCrossentropy(from_logits=True))
    batch = len(case.X) if case.order is None else case.order.shape[1]
    calls = 3 if case.order is None else 1
    options = {"batch_size": batch, "epochs": calls, "verbose": 0}
    model.fit(case.X, case.y, **options)
    return Trainer(None, lambda: model.fit(case.X, case.y, **options), calls)


PEERS = {"torch": torch_eager, "torch-compiled": torch_compiled, "jax-scan": jax_scan}
PEERS |= {"tensorflow": tensorflow_step, "tensorflow-jit": tensorflow_jit, "keras-fit": keras_fit}
