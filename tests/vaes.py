"""Variational autoencoders of a few numbers, and the compiled class that takes a step of them."""

from __future__ import annotations

import math

import numpy as np
from reference.vae import LIKELIHOODS, VARIANCES, Net, Vae

from lvmfast import _backend, nn

N, D, FEATURES = 5, 2, 4


def layer(kind, *options):
    """Of lvmfast.nn."""
    if kind == "flatten":
        return nn.Flatten()
    if kind == "reshape":
        return nn.Reshape(*options)
    if kind == "dense":
        return nn.Dense(*options)
    filters, size, strides, same, activation = options
    kinds = {"conv": nn.Conv2D, "transpose": nn.Conv2DTranspose}
    return kinds[kind](filters, size, strides, "same" if same else "valid", activation)


def sequential(net, dtype=np.float32, seed=0):
    """An ``nn.Sequential`` of a description."""
    trunk, *heads = [[layer(*description) for description in chain] for chain in (net.layers, *net.heads)]
    return nn.Sequential(trunk, heads=heads).build(net.input_shape, dtype, seed=seed)


def compiled(model, samples=1, dtype=np.float64, device="cpu"):
    """``Vae32`` or ``Vae64`` of an oracle's description."""
    networks = [sequential(net) for net in (model.encoder, model.decoder)]
    numbers = [part for net in networks for part in (net.graph.numbers(), net.n_parameters)]
    made = getattr(_backend.module_on(device), "Vae32" if dtype == np.float32 else "Vae64")
    return made(
        *numbers,
        components=math.prod(networks[1].input_shape),
        categories=model.categories,
        likelihood=LIKELIHOODS.index(model.likelihood),
        variance=VARIANCES.index(model.variance) if model.likelihood == "gaussian" else 0,
        classes=model.classes,
        samples=samples,
        iwae=model.iwae,
        dreg=model.dreg,
        low=model.low,
        high=model.high,
        code_high=model.code_high,
    )


def small(likelihood="bernoulli", variance="fixed", categories=0, hidden=3, features=FEATURES, components=D, **options):
    """Dense networks of one hidden layer."""
    numbers = components * max(categories, 1)
    encoder_heads = [[("dense", numbers, "linear")]] * (1 if categories else 2)
    decoder_heads = [[("dense", features, "linear")]] * (2 if variance in VARIANCES[3:] else 1)
    encoder = Net((features,), [("dense", hidden, "tanh")], encoder_heads)
    decoder = Net((numbers,), [("dense", hidden, "softplus")], decoder_heads)
    classes = features // 2 if likelihood == "categorical" else 0
    return Vae(encoder, decoder, categories, likelihood, variance, classes, **options)


def images(**options):
    """Convolutions on 4 x 4 pixels, and from 2 x 2 to 4 x 4."""
    mean = [("dense", D, "linear")]
    encoder = Net((4, 4, 1), [("conv", 2, (3, 3), (2, 2), True, "tanh"), ("flatten",)], [mean, mean])
    transposed = [("transpose", 1, (3, 3), (2, 2), True, "linear")]
    decoder = Net((D,), [("dense", 4, "softplus"), ("reshape", (2, 2, 1))], [transposed])
    return Vae(encoder, decoder, **options)


def free(model):
    """How many log variances are learned as they are."""
    features = model.decoder.shapes()[-1][0]
    return {"shared": 1, "feature": features}.get(model.variance, 0) if model.likelihood == "gaussian" else 0


def data(model, rng, n=N, samples=1, dtype=np.float64, scale=0.5):
    """theta, fixed, x, eps of a model, rounded to the dtype."""
    features, numbers = math.prod(model.encoder.input_shape), math.prod(model.decoder.input_shape)
    theta = scale * rng.standard_normal(model.encoder.size + model.decoder.size + free(model))
    x = rng.standard_normal((n, features))
    if model.likelihood == "bernoulli":
        x = rng.random((n, features))
    elif model.likelihood == "categorical":
        x = rng.dirichlet(np.ones(model.classes), (n, features // model.classes)).reshape(n, -1)
        x[0] = np.tile(np.eye(model.classes)[0], features // model.classes)
    eps = (rng.gumbel if model.categories else rng.normal)(size=(n, samples, numbers))
    is_fixed = model.likelihood == "gaussian" and model.variance == "fixed"
    fixed = rng.normal(0, 0.3, features) if is_fixed else None
    return tuple(None if part is None else np.ascontiguousarray(part, dtype) for part in (theta, fixed, x, eps))


def wide(arrays):
    """The same in float64."""
    return tuple(None if part is None else part.astype(float) for part in arrays)
