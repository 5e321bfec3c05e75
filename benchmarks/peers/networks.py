"""Peer implementations of one training step of a network (squared error, Adam at 0.001), behind one interface.

The loss is sum((y - target)^2) / (2 n) over all outputs. ``PEERS[name](case)`` does all the set-up, compilation and
first calls on copies of the weights included, and returns ``run``, or raises ``Unavailable``: ``run()`` does a forward
and a backward pass and a step of Adam, and answers with the loss before it, a float, when all is done. ``ours(case)``
does the same with lvmfast.

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .covariances import Unavailable, require

__all__ = ["NETWORKS", "PEERS", "NetworkCase", "Unavailable", "ours"]

# Layers: ("dense", units, activation), ("conv" or "transpose", filters, kernel_size, stride, activation) with zeros
# around images so that they keep their size ("same"), ("flatten",), ("reshape", shape). Name: (trunk, heads, input).
_FACTOR = [("dense", 100, "relu")]
_PIXELS = [("dense", 100, "relu"), ("dense", 100, "linear")]
_CONVOLUTIONS = [("conv", 32, 3, 1, "relu"), ("conv", 64, 3, 2, "relu"), *[("conv", 64, 3, 1, "relu")] * 2]
_IMAGE = [("dense", 12544, "relu"), ("reshape", (14, 14, 64)), ("transpose", 32, 3, 2, "relu")]
NETWORKS = {
    "factor encoder": (_FACTOR, [[*_FACTOR, ("dense", 1, "linear")]] * 2, (100,)),
    "factor decoder": ([("dense", 50, "relu"), *_FACTOR], [_PIXELS, _PIXELS], (1,)),
    "dense encoder": ([("dense", 256, "relu")], [[("dense", 2, "linear")]] * 2, (784,)),
    "dense decoder": ([("dense", 256, "relu")], [[("dense", 784, "sigmoid")]], (2,)),
    "conv encoder": (
        [*_CONVOLUTIONS, ("flatten",), ("dense", 32, "relu")],
        [[("dense", 2, "linear")]] * 2,
        (28, 28, 1),
    ),
    "conv decoder": (_IMAGE, [[("conv", 1, 3, 1, "sigmoid")]], (2,)),
}


@dataclasses.dataclass
class NetworkCase:
    """Inputs, targets and first weights (Keras's layouts and order, Glorot's limits) of a network of NETWORKS."""

    name: str
    x: np.ndarray
    targets: list[np.ndarray]
    weights: list[np.ndarray]

    @classmethod
    def random(cls, name: str, n: int = 100, dtype: str = "float32") -> NetworkCase:
        """Standard normal inputs; targets in (0, 1)."""
        trunk, heads, shape = NETWORKS[name]
        rng = np.random.default_rng(0)
        weights: list[np.ndarray] = []
        end = _shapes(trunk, shape, weights, rng)
        ends = [_shapes(head, end, weights, rng) for head in heads]
        x = rng.standard_normal((n, *shape)).astype(dtype)
        targets = [rng.random((n, *e)).astype(dtype) for e in ends]
        return cls(name, x, targets, [w.astype(dtype) for w in weights])

    @property
    def description(self):
        """Trunk, heads and input shape."""
        return NETWORKS[self.name]


def _shapes(layers, shape, weights, rng):
    """The shape after the layers, whose weights go to the list."""
    for kind, *options in layers:
        if kind == "flatten":
            shape = (math.prod(shape),)
        elif kind == "reshape":
            shape = options[0]
        else:
            width, channels = options[0], shape[-1]
            taps = () if kind == "dense" else (options[1],) * 2
            ends = (width, channels) if kind == "transpose" else (channels, width)
            limit = math.sqrt(6 / (math.prod(taps) * (channels + width)))
            weights += [rng.uniform(-limit, limit, (*taps, *ends)), np.zeros(width)]
            if kind == "dense":
                shape = (width,)
            else:
                stride = options[2]
                size = [m * stride if kind == "transpose" else -(-m // stride) for m in shape[:2]]
                shape = (*size, width)
    return shape


def assert_same_losses(first, second) -> None:
    """The first losses agree to 1e-5, the next two to 0.03: PyTorch adds Adam's epsilon after the bias correction."""
    for rtol in (1e-5, 0.03, 0.03):
        np.testing.assert_allclose(second(), first(), rtol=rtol)


def our_network(description, dtype):
    """A built lvmfast.nn.Sequential of (trunk, heads, input shape); a single head is the end of its trunk."""
    from lvmfast import nn

    def layer(kind, *options):
        if kind == "flatten":
            return nn.Flatten()
        if kind == "reshape":
            return nn.Reshape(*options)
        if kind == "dense":
            return nn.Dense(*options)
        filters, size, stride, activation = options
        return (nn.Conv2D if kind == "conv" else nn.Conv2DTranspose)(filters, size, stride, "same", activation)

    trunk, heads, shape = description
    chains = [[layer(*one) for one in chain] for chain in (trunk, *heads)]
    return nn.Sequential(chains[0], heads=chains[1:]).build(shape, dtype)


def ours(case: NetworkCase):
    """lvmfast.nn, one call for a forward pass, one for its pull-back, one for the step."""
    from lvmfast import nn

    net = our_network(case.description, case.x.dtype)
    adam, n = nn.Adam(), len(case.x)

    def fresh():
        net.set_weights(case.weights)
        state = adam.init(net.parameters)

        def run():
            outputs, vjp = net.forward_and_vjp(case.x)
            residuals = [y - target for y, target in zip(outputs, case.targets, strict=True)]
            loss = sum(float(np.vdot(r, r)) for r in residuals) / (2 * n)
            adam.update(net.parameters, vjp([r / n for r in residuals]), state)
            return loss

        return run

    fresh()()
    return fresh()


def torch_network(description):
    """``forward(x, weights)``: the outputs of all heads of (trunk, heads, input shape)."""
    require("torch")
    import torch

    functional = torch.nn.functional
    activations = {"relu": torch.relu, "sigmoid": torch.sigmoid, "linear": lambda x: x}

    def step(x, kind, options, w, b):
        if kind == "flatten":
            return x.permute(0, 2, 3, 1).reshape(len(x), -1)
        if kind == "reshape":
            return x.reshape(len(x), *options[0]).permute(0, 3, 1, 2)
        if kind == "dense":
            return activations[options[1]](functional.linear(x, w, b))
        size, stride, activation = options[1:]
        if kind == "conv":
            extra = max((-(-x.shape[2] // stride) - 1) * stride + size - x.shape[2], 0)
            before, after = extra // 2, extra - extra // 2
            if before != after:
                x = functional.pad(x, (before, after, before, after))
                before = 0
            return activations[activation](functional.conv2d(x, w, b, stride, before))
        y = functional.conv_transpose2d(x, w, b, stride)
        edge, size = max(size - stride, 0) // 2, x.shape[2] * stride
        return activations[activation](y[:, :, edge : edge + size, edge : edge + size])

    trunk, heads, _ = description

    def forward(x, weights):
        rest = iter(weights)

        def chain(layers, x):
            for kind, *options in layers:
                w, b = (next(rest), next(rest)) if kind not in ("flatten", "reshape") else (None, None)
                x = step(x, kind, options, w, b)
            return x

        end = chain(trunk, x)
        return [chain(head, end) for head in heads]

    return forward


def torch_weight(w):
    """A kernel or bias in PyTorch's layout, kernels of images channels last in memory."""
    import torch

    if w.ndim == 2:
        return torch.tensor(w.T.copy())
    if w.ndim < 2:
        return torch.tensor(w)
    return torch.tensor(w.transpose(3, 2, 0, 1).copy()).contiguous(memory_format=torch.channels_last)


def torch_rows(x):
    """Rows, or images with their channels first, channels last in memory."""
    import torch

    if x.ndim < 4:
        return torch.tensor(x)
    return torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def torch_eager(case: NetworkCase, compile_it: bool = False):
    """Modules of PyTorch, images channels last in memory, torch.optim.Adam(fused=True)."""
    forward = torch_network(case.description)
    import torch

    x, targets, n = torch_rows(case.x), [torch_rows(target) for target in case.targets], len(case.x)

    def loss_of(weights):
        return sum(((y - target) ** 2).sum() for y, target in zip(forward(x, weights), targets, strict=True)) / (2 * n)

    compiled = torch.compile(loss_of) if compile_it else loss_of

    def fresh():
        weights = [torch_weight(w).requires_grad_() for w in case.weights]
        adam = torch.optim.Adam(weights, lr=0.001, eps=1e-7, fused=True)

        def run():
            adam.zero_grad()
            loss = compiled(weights)
            loss.backward()
            adam.step()
            return float(loss.detach())

        return run

    fresh()()
    return fresh()


def torch_compiled(case: NetworkCase):
    """The same with its loss through torch.compile."""
    return torch_eager(case, compile_it=True)


def keras_network(description, dtype, weights):
    """A functional model of Keras with these weights, and its variables in their order."""
    require("tensorflow")
    import keras as library

    layers = library.layers

    def layer(kind, *options):
        if kind == "flatten":
            return layers.Flatten()
        if kind == "reshape":
            return layers.Reshape(*options)
        if kind == "dense":
            return layers.Dense(options[0], activation=options[1], dtype=dtype)
        filters, size, stride, activation = options
        made = layers.Conv2D if kind == "conv" else layers.Conv2DTranspose
        return made(filters, size, stride, "same", activation=activation, dtype=dtype)

    trunk, heads, shape = description
    start = end = layers.Input(shape, dtype=dtype)
    made, outputs = [], []
    for one in trunk:
        made.append(layer(*one))
        end = made[-1](end)
    for head in heads:
        y = end
        for one in head:
            made.append(layer(*one))
            y = made[-1](y)
        outputs.append(y)
    model = library.Model(start, outputs)
    variables = [v for one in made for v in one.trainable_variables]
    for variable, w in zip(variables, weights, strict=True):
        variable.assign(w)
    return model, variables


def keras(case: NetworkCase):
    """A functional model, its step a tf.function."""
    require("tensorflow")
    import keras as library
    import tensorflow as tf

    x, targets, n = tf.constant(case.x), [tf.constant(t) for t in case.targets], len(case.x)

    def fresh():
        model, variables = keras_network(case.description, case.x.dtype.name, case.weights)
        adam = library.optimizers.Adam()
        adam.build(variables)

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                results = model(x, training=True)
                results = results if isinstance(results, (list, tuple)) else [results]
                loss = sum(tf.reduce_sum((y - t) ** 2) for y, t in zip(results, targets, strict=True)) / (2 * n)
            adam.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return lambda: float(step())

    fresh()()
    return fresh()


PEERS = {"torch": torch_eager, "torch-compiled": torch_compiled, "keras": keras}
