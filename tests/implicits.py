"""Implicit posteriors and models of a few numbers, and the compiled classes that take steps of them."""

from __future__ import annotations

import numpy as np
from reference.implicit import Avb, Implicit, power
from reference.vae import LIKELIHOODS, VARIANCES, Net, Vae
from vaes import free, sequential

from lvmfast import _backend

FEATURES, CODES, NOISE = 4, 2, 3


def avb(likelihood="bernoulli", variance="fixed", hidden=3, features=FEATURES):
    """Dense networks of one hidden layer."""
    encoder = Net((features + NOISE,), [("dense", hidden, "tanh")], [[("dense", CODES, "linear")]])
    heads = [[("dense", features, "linear")]] * (2 if variance in VARIANCES[3:] else 1)
    decoder = Net((CODES,), [("dense", hidden, "softplus")], heads)
    ratio = Net((features + CODES,), [("dense", hidden + 1, "tanh")], [[("dense", 1, "linear")]])
    classes = features // 2 if likelihood == "categorical" else 0
    return Avb(Vae(encoder, decoder, 0, likelihood, variance, classes), ratio)


def compiled(model, samples=1, dtype=np.float64, device="cpu", ratio_steps=1):
    """``Vae32`` or ``Vae64`` with an implicit posterior."""
    own = model.vae
    networks = [sequential(net) for net in (own.encoder, own.decoder, model.ratio)]
    numbers = [part for net in networks for part in (net.graph.numbers(), net.n_parameters)]
    made = getattr(_backend.module_on(device), "Vae32" if dtype == np.float32 else "Vae64")
    return made(
        *numbers[:4],
        components=CODES,
        categories=0,
        likelihood=LIKELIHOODS.index(own.likelihood),
        variance=VARIANCES.index(own.variance) if own.likelihood == "gaussian" else 0,
        classes=own.classes,
        samples=samples,
        iwae=False,
        dreg=False,
        low=own.low,
        high=own.high,
        code_high=own.code_high,
        posterior=1,
        posterior_layers=numbers[4],
        posterior_parameters=numbers[5],
        noise=NOISE,
        ratio_steps=ratio_steps,
    )


def data(model, rng, n=5, samples=1, dtype=np.float64, scale=0.5):
    """theta, fixed, x, eps of a model, rounded to the dtype."""
    own, features = model.vae, model.vae.encoder.input_shape[0] - NOISE
    theta = scale * rng.standard_normal(own.encoder.size + own.decoder.size + free(own) + model.ratio.size)
    x = rng.random((n, features)) if own.likelihood != "gaussian" else rng.standard_normal((n, features))
    eps = rng.standard_normal((n, samples, NOISE + CODES))
    fixed = rng.normal(0, 0.3, features) if own.likelihood == "gaussian" and own.variance == "fixed" else None
    return tuple(None if part is None else np.ascontiguousarray(part, dtype) for part in (theta, fixed, x, eps))


#: name -> (kind, alpha, factor) of the compiled class, and f'.
OBJECTIVES = {
    "kl": ((0, 1.0, 1.0), np.log),
    "reverse_kl": ((0, 0.0, 1.0), lambda u: 1 - 1 / u),
    "pearson_chi2": ((0, 2.0, 2.0), lambda u: 2 * (u - 1)),
    "neyman_chi2": ((0, -1.0, 2.0), lambda u: 1 - u**-2),
    "squared_hellinger": ((0, 0.5, 0.25), lambda u: 0.5 - 0.5 / np.sqrt(u)),
    "js": ((1, 0.0, 0.5), lambda u: 0.5 * np.log(u / (1 + u))),
    "gan_saturating": ((1, 0.0, 1.0), lambda u: np.log(u / (1 + u))),
    "gan": ((2, 0.0, 1.0), np.log1p),
    "1.7": ((0, 1.7, 1.0), lambda u: power(u, 0.7)),
}


def model(objective="kl", loss=None, hidden=3, features=FEATURES):
    """A generator and a ratio network of one hidden layer."""
    generator = Net((NOISE,), [("dense", hidden, "softplus")], [[("dense", features, "linear")]])
    ratio = Net((features,), [("dense", hidden + 1, "tanh")], [[("dense", 1, "linear")]])
    return Implicit(generator, ratio, OBJECTIVES[objective][1], loss), objective


def compiled_model(pair, dtype=np.float64, device="cpu", ratio_steps=1):
    """``Implicit32`` or ``Implicit64``."""
    own, objective = pair
    kind, alpha, factor = OBJECTIVES[objective][0]
    networks = [sequential(net) for net in (own.generator, own.ratio)]
    made = getattr(_backend.module_on(device), "Implicit32" if dtype == np.float32 else "Implicit64")
    return made(
        *(part for net in networks for part in (net.graph.numbers(), net.n_parameters)),
        loss=0 if own.loss is None else 1,
        loss_alpha=own.loss or 0.0,
        objective=kind,
        alpha=alpha,
        factor=factor,
        ratio_steps=ratio_steps,
    )


def model_data(pair, rng, n=5, dtype=np.float64, scale=0.5):
    """theta, x, z."""
    own, _ = pair
    theta = scale * rng.standard_normal(own.generator.size + own.ratio.size)
    x, z = rng.standard_normal((n, own.ratio.input_shape[0])), rng.standard_normal((n, NOISE))
    return tuple(np.ascontiguousarray(part, dtype) for part in (theta, x, z))
