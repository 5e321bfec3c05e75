"""Peer implementations of the training of a variational autoencoder, behind one interface.

The loss is -mean_i [log p(x_i | z_i) - KL_i], z = m + exp(s / 2) eps, in nats with all constants, of the three
references' models: "factor" (Gaussian, one variance per feature averaged over the batch, Adam), "dense" and "conv"
(Bernoulli from logits, RMSprop). ``PEERS[name](case)`` does all the set-up and returns a :class:`Trainer`, or raises
``Unavailable``. All start from the same weights and take the same batches in the same order.

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from .covariances import Unavailable, require
from .networks import NETWORKS, _shapes, keras_network, our_network, torch_network, torch_rows, torch_weight

__all__ = [
    "MODELS",
    "OURS",
    "PEERS",
    "AutoencoderCase",
    "Trainer",
    "Unavailable",
    "assert_same_losses",
    "first_weights",
]
__all__ += ["keras_parts"]

LOG_2PI = math.log(2 * math.pi)
RATE = 1e-4  # at 0.001, the references', the first steps of "conv" reach losses of 1e10: nothing to compare
# (likelihood, optimizer, rows of a batch, batches of an epoch, epochs of a whole fit)
MODELS = {"factor": ("gaussian", "adam", 32, 6, 50), "dense": ("bernoulli", "rmsprop", 100, 8, 20)}
MODELS["conv"] = ("bernoulli", "rmsprop", 100, 2, 3)


@dataclasses.dataclass
class AutoencoderCase:
    """Batches (steps, rows, ...) and first weights (Keras's layouts and order, the encoder before the decoder)."""

    name: str
    batches: np.ndarray
    weights: list[np.ndarray]
    n_encoder: int

    @classmethod
    def random(cls, name: str, rows: int | None = None) -> AutoencoderCase:
        """Curves in noise as the references have them, or digits; Glorot's limits."""
        from lvmfast import datasets
        from lvmfast.demos.vae_factor import make_curves

        usual, steps = MODELS[name][2:4]
        rows = rows or usual
        rng = np.random.default_rng(0)
        if name == "factor":
            x = make_curves(rows * steps, 100, rng)[0].astype(np.float32)
        else:
            digits, _ = datasets.load_mnist_sample(return_X_y=True, dtype=np.float32, scale=255.0)
            x = digits[np.arange(rows * steps) % len(digits)]
            if name == "conv":
                x = (x > 0.5).astype(np.float32).reshape(-1, 28, 28, 1)
        return cls(name, x.reshape(steps, rows, *x.shape[1:]), *first_weights(name, rng))

    @property
    def gaussian(self) -> bool:
        """Else Bernoulli."""
        return MODELS[self.name][0] == "gaussian"

    @property
    def optimizer(self) -> str:
        """ "adam" or "rmsprop", with Keras's numbers."""
        return MODELS[self.name][1]

    @property
    def n_components(self) -> int:
        """Latent numbers."""
        return 1 if self.name == "factor" else 2

    def noise(self, steps: int) -> np.ndarray:
        """Standard normal, (steps, rows, n_components)."""
        shape = (steps, self.batches.shape[1], self.n_components)
        return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@dataclasses.dataclass
class Trainer:
    """``losses(eps)``: of len(eps) steps from the first weights with this noise, each before its step. ``epoch()``:
    one step for every batch, with noise drawn meanwhile, done when it returns. ``eps``: the noise that ``losses`` has
    whatever it is given. A fit, whose batches are shuffled, has no ``losses``. ``epochs``: of a call of ``epoch``."""

    losses: Callable | None
    epoch: Callable
    eps: np.ndarray | None = None
    epochs: int = 1


def describe(name: str):
    """(trunk, heads, input shape) of encoder and decoder; the decoder ends linear."""
    encoder, (trunk, heads, shape) = NETWORKS[f"{name} encoder"], NETWORKS[f"{name} decoder"]
    heads = [[*head[:-1], (*head[-1][:-1], "linear")] for head in heads]
    return encoder, (trunk, heads, shape)


def first_weights(name: str, rng) -> tuple[list[np.ndarray], int]:
    """Kernels by Glorot's limits, biases of 0, the encoder's before the decoder's; and how many are the encoder's."""
    weights: list[np.ndarray] = []
    counts = []
    for trunk, heads, shape in describe(name):
        end = _shapes(trunk, shape, weights, rng)
        for head in heads:
            _shapes(head, end, weights, rng)
        counts.append(len(weights))
    return [w.astype(np.float32) for w in weights], counts[0]


def assert_same_losses(mine: Trainer, theirs: Trainer, eps: np.ndarray) -> None:
    """The first losses agree to 1e-5, the next two to 3e-3: PyTorch has the epsilons of Adam and RMSprop elsewhere."""
    eps = eps if mine.eps is None else mine.eps
    expected, found = mine.losses(eps), theirs.losses(eps)
    for a, b, rtol in zip(expected, found, (1e-5, 3e-3, 3e-3), strict=True):
        np.testing.assert_allclose(b, a, rtol=rtol)


def ours(case: AutoencoderCase) -> Trainer:
    """The compiled steps of an epoch in one call, as ``VAE.fit`` makes it."""
    from lvmfast import _backend

    if not hasattr(_backend.cpu, "Vae32"):
        raise Unavailable("lvmfast was built without the compiled VAE")
    networks = [our_network(one, np.float32) for one in describe(case.name)]
    compiled = _backend.cpu.Vae32(
        *(part for net in networks for part in (net.graph.numbers(), net.n_parameters)),
        components=case.n_components,
        categories=0,
        likelihood=int(case.gaussian),
        variance=3 if case.gaussian else 0,
        classes=0,
        samples=1,
        iwae=False,
        dreg=False,
        low=-14.0,
        high=14.0,
        code_high=14.0,
    )
    x = np.ascontiguousarray(case.batches.reshape(-1, math.prod(case.batches.shape[2:])))
    steps, rows = case.batches.shape[:2]
    adam = case.optimizer == "adam"
    kind, numbers = (0, (0.9, 0.999, 1e-7)) if adam else (1, (0.9, 0.0, 1e-7))
    order, constant = np.arange(len(x)), np.ones(steps)

    def start():
        theta = np.concatenate([w.ravel() for w in case.weights])
        m, v = np.zeros_like(theta) if adam else None, np.zeros_like(theta)
        done = 0

        def run(k):
            nonlocal done
            t = np.arange(done + 1, done + k + 1)
            rates = RATE * (np.sqrt(1 - 0.999**t) / (1 - 0.9**t) if adam else np.ones(k))
            batches = np.resize(order, k * rows)
            ones = constant if k == steps else np.ones(k)
            with _backend.blas_threads(1):
                terms, taken = compiled.train(
                    theta, m, v, None, x, batches, rows, 0, done, rates, ones, ones, kind, numbers, 0.0
                )
            assert taken == k
            done += k
            return -terms[:, 0]

        return run

    run = start()
    eps = np.stack([np.asarray(compiled.noise(0, step, rows)).reshape(rows, -1) for step in range(3)])
    return Trainer(lambda given: start()(len(given)), lambda: run(steps), eps)


def whole_fit(case: AutoencoderCase) -> Trainer:
    """Some epochs of ``VAE.fit``, its checks, shuffles and history included."""
    import lvmfast as lvm

    if not hasattr(lvm, "VAE"):
        raise Unavailable("this lvmfast has no VAE")
    networks = [our_network(one, np.float32) for one in describe(case.name)]
    networks[0].set_weights(case.weights[: case.n_encoder])
    networks[1].set_weights(case.weights[case.n_encoder :])
    x = case.batches.reshape(-1, *case.batches.shape[2:])
    model = lvm.VAE(
        *networks,
        n_components=case.n_components,
        likelihood="gaussian" if case.gaussian else "bernoulli",
        variance="batch",
        optimizer=lvm.nn.Adam(RATE) if case.optimizer == "adam" else lvm.nn.RMSprop(RATE),
        batch_size=case.batches.shape[1],
        max_iter=MODELS[case.name][4],
        random_state=0,
    )

    return Trainer(None, lambda: model.fit(x), epochs=model.max_iter)


OURS = {"train": ours, "fit": whole_fit}


def torch_eager(case: AutoencoderCase, compile_it: bool = False) -> Trainer:
    """Functions of PyTorch, images channels last in memory, torch.optim's Adam(fused=True) or RMSprop."""
    encode, decode = (torch_network(one) for one in describe(case.name))
    import torch

    bernoulli = torch.nn.functional.binary_cross_entropy_with_logits
    batches = [torch_rows(x) for x in case.batches]
    n, shape = len(batches[0]), (len(batches[0]), case.n_components)

    def loss_of(weights, x, eps):
        m, s = encode(x, weights[: case.n_encoder])
        out = decode(m + torch.exp(0.5 * s) * eps, weights[case.n_encoder :])
        kl = 0.5 * (s.exp() + m**2 - 1 - s).sum()
        if not case.gaussian:
            return (bernoulli(out[0], x, reduction="sum") + kl) / n
        v = out[1].mean(0, keepdim=True)
        return (0.5 * ((x - out[0]) ** 2 * torch.exp(-v) + v + LOG_2PI).sum() + kl) / n

    compiled = loss_of
    if compile_it:
        torch.compiler.reset()  # of another model's shapes, which would make these variable
        compiled = torch.compile(loss_of, dynamic=False)

    def start():
        weights = [torch_weight(w).requires_grad_() for w in case.weights]
        if case.optimizer == "adam":
            optimizer = torch.optim.Adam(weights, lr=RATE, eps=1e-7, fused=True)
        else:  # Keras's epsilon is inside the root
            optimizer = torch.optim.RMSprop(weights, lr=RATE, alpha=0.9, eps=math.sqrt(1e-7), foreach=True)

        def step(x, eps):
            optimizer.zero_grad()
            loss = compiled(weights, x, eps)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def losses(eps):
        step = start()
        return [float(step(batches[i % len(batches)], torch.tensor(e))) for i, e in enumerate(eps)]

    step = start()

    def epoch():
        for x in batches:
            loss = step(x, torch.randn(shape))
        return float(loss)

    epoch()
    return Trainer(losses, epoch)


def torch_compiled(case: AutoencoderCase) -> Trainer:
    """The same with its loss through torch.compile."""
    return torch_eager(case, compile_it=True)


def keras_parts(case: AutoencoderCase):
    """Variables and ``loss(x, eps)`` of fresh models."""
    require("tensorflow")
    import tensorflow as tf

    encoder, decoder = describe(case.name)
    encode, first = keras_network(encoder, "float32", case.weights[: case.n_encoder])
    decode, last = keras_network(decoder, "float32", case.weights[case.n_encoder :])

    def loss(x, eps=None):
        m, s = encode(x, training=True)
        eps = tf.random.normal(tf.shape(m)) if eps is None else eps
        out = decode(m + tf.exp(0.5 * s) * eps, training=True)
        n = tf.cast(tf.shape(m)[0], m.dtype)
        kl = 0.5 * tf.reduce_sum(tf.exp(s) + m**2 - 1 - s)
        if not case.gaussian:
            out = out[0] if isinstance(out, (list, tuple)) else out
            return (tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(x, out)) + kl) / n
        v = tf.reduce_mean(out[1], 0, keepdims=True)
        return (0.5 * tf.reduce_sum((x - out[0]) ** 2 * tf.exp(-v) + v + LOG_2PI) + kl) / n

    return (encode, decode), first + last, loss


def _keras_optimizer(case: AutoencoderCase):
    import keras as library

    kind = library.optimizers.Adam if case.optimizer == "adam" else library.optimizers.RMSprop
    return kind(RATE)


def keras(case: AutoencoderCase, jit_compile: bool = False) -> Trainer:
    """Functional models of Keras 3, the step a tf.function."""
    require("tensorflow")
    import tensorflow as tf

    def start():
        _, variables, loss_of = keras_parts(case)
        optimizer = _keras_optimizer(case)
        optimizer.build(variables)

        @tf.function(jit_compile=jit_compile)
        def step(x, eps=None):
            with tf.GradientTape() as tape:
                loss = loss_of(x, eps)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return step

    batches = [tf.constant(x) for x in case.batches]

    def losses(eps):
        step = start()
        return [float(step(batches[i % len(batches)], tf.constant(e))) for i, e in enumerate(eps)]

    step = start()

    def epoch():
        for x in batches:
            loss = step(x)
        return float(loss)

    epoch()
    return Trainer(losses, epoch)


def keras_jit(case: AutoencoderCase) -> Trainer:
    """The same through XLA."""
    return keras(case, jit_compile=True)


def keras_model(case: AutoencoderCase, jit_compile: bool = False) -> Trainer:
    """A keras.Model with a train_step of its own, as the references have it, and train_on_batch."""
    require("tensorflow")
    import keras as library
    import tensorflow as tf

    class Autoencoder(library.Model):
        def __init__(self):
            super().__init__()
            (self.encode, self.decode), self.all_variables, self.loss_of = keras_parts(case)
            self.total = library.metrics.Mean(name="total")

        @property
        def metrics(self):
            return [self.total]

        def train_step(self, data):
            parts = [part for part in (data if isinstance(data, (list, tuple)) else (data,)) if part is not None]
            with tf.GradientTape() as tape:
                loss = self.loss_of(*parts)
            gradients = tape.gradient(loss, self.all_variables)
            self.optimizer.apply_gradients(zip(gradients, self.all_variables, strict=True))
            self.total.update_state(loss)
            return {"total": self.total.result()}

    def start():
        model = Autoencoder()
        model.compile(optimizer=_keras_optimizer(case), jit_compile=jit_compile)
        return model

    def losses(eps):
        model, found = start(), []
        for i, e in enumerate(eps):
            model.reset_metrics()
            found.append(float(model.train_on_batch(case.batches[i % len(case.batches)], e, return_dict=True)["total"]))
        return found

    model = start()

    def epoch():
        for x in case.batches:
            model.train_on_batch(x)

    epoch()
    return Trainer(losses, epoch)


def keras_model_jit(case: AutoencoderCase) -> Trainer:
    """The same through XLA."""
    return keras_model(case, jit_compile=True)


PEERS = {"torch": torch_eager, "torch-compiled": torch_compiled, "keras": keras, "keras-jit": keras_jit}
PEERS |= {"keras-model": keras_model, "keras-model-jit": keras_model_jit}
