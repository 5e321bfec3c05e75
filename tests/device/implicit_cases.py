"""Cases of implicit posteriors and implicit models: losses, gradients, noise, training."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from implicits import NOISE, avb, compiled, compiled_model, data, model, model_data

from lvmfast import _backend

TERMS = 100
ADAM, RMSPROP, SGD = 0, 1, 2
ROWS = np.array([0, 3, 5, 1, 1, 2, 6, 4])
RATES, ONES = [0.01, 0.02, 0.01], [1.0] * 3


def device(x):
    return "cuda" if _backend.is_gpu(x) else "cpu"


def posterior(own, samples):
    """Terms, gradient and log p(x | z)."""

    def call(theta, fixed, x, eps):
        vae = compiled(own, samples, x.dtype.type, device(x))
        z = _backend.namespace(x).ascontiguousarray(eps[:, :, NOISE:])
        return (*vae.evaluate(theta, fixed, x, eps, 0.7, 1.0, True), vae.log_likelihoods(theta, fixed, x, z))

    return Case(lambda rng, dtype: data(own, rng, 7, samples, dtype), call, TERMS, 10.0)


def posterior_training(optimizer, clip, ratio_steps, bad=None):
    """theta, m, v, terms and steps done; noise of two steps."""
    own = avb("gaussian", "feature")

    def call(theta, fixed, x, _):
        xp, vae = _backend.namespace(x), compiled(own, 2, x.dtype.type, device(x), ratio_steps)
        if bad is not None:
            x = x.copy()
            x[bad, 1] = float("nan")
        state, more = [theta.copy(), xp.zeros_like(theta), xp.zeros_like(theta)], (*optimizer, clip)
        rates = np.linspace(0.01, 0.02, 3 * ratio_steps).reshape(3, ratio_steps)
        terms, done = vae.train(*state, fixed, x, ROWS, 3, 9, 4, RATES, ONES, ONES, *more, rates)
        again, whole = vae.train(*state, fixed, x, ROWS, 3, 9, 7, RATES, ONES, ONES, *more, rates)
        numbers = {"terms": terms[:done], "done": done, "again": again[:whole], "whole": whole}
        return (*state, vae.noise(5, 2, 30), {key: _backend.to_numpy(value) for key, value in numbers.items()})

    return Case(lambda rng, dtype: data(own, rng, 7, 2, dtype), call, TERMS, 10.0)


def losses(pair):
    """Terms and gradients, with and without a shift of the rows."""

    def call(theta, x, z):
        own, xp = compiled_model(pair, x.dtype.type, device(x)), _backend.namespace(x)
        shift = 0.1 * xp.concatenate([x, x[::-1]])
        return (*own.evaluate(theta, x, z, True), *own.evaluate(theta, x, z, True, xp.ascontiguousarray(shift)))

    return Case(lambda rng, dtype: model_data(pair, rng, 7, dtype), call, TERMS, 10.0)


def model_training(optimizer, ratio_optimizer, ratio_steps, noises=None, bad=None):
    """theta, m, v, terms and steps done: rows in batches twice, then all at once."""
    pair = model("gan")

    def call(theta, x, _):
        xp, own = _backend.namespace(x), compiled_model(pair, x.dtype.type, device(x), ratio_steps)
        if bad is not None:
            x = x.copy()
            x[bad, 1] = float("nan")
        state, rates = [theta.copy(), xp.zeros_like(theta), xp.zeros_like(theta)], np.full((3, ratio_steps), 0.01)
        numbers = {}
        for first in (4, 7):
            place = x, ROWS, 3, 9, first, RATES, rates
            terms, done = own.train(*state, *place, *optimizer, *ratio_optimizer, noises)
            numbers |= {f"terms {first}": terms[:done], f"done {first}": done}
        if bad is None:
            own.train(*state, x, None, 0, 9, 10, RATES[:1], rates[:1], *optimizer, *ratio_optimizer)
        numbers = {key: _backend.to_numpy(value) for key, value in numbers.items()}
        return (*state, own.noise(5, 2, 1, 30), own.instance_noise(5, 2, 1, 30), numbers)

    return Case(lambda rng, dtype: model_data(pair, rng, 7, dtype), call, TERMS, 10.0)


ADAMS, RMS, MOMENTUM = (
    (ADAM, (0.9, 0.99, 1e-5), 0.0),
    (RMSPROP, (0.9, 0.0, 1e-5), 0.1),
    (SGD, (0.9, 0.0, 0.0), 0.1),
)
IMPLICIT = {
    "posterior, bernoulli": posterior(avb(), 3),
    "posterior, batch": posterior(avb("gaussian", "batch"), 2),
    "posterior, wider than a block": posterior(avb(hidden=40, features=300), 2),
    "posterior, Adam": posterior_training(ADAMS[:2], 0.0, 1),
    "posterior, Adam, more updates, clipped": posterior_training(ADAMS[:2], 0.1, 3),
    "posterior, a row that is not finite": posterior_training(ADAMS[:2], 0.0, 2, bad=1),
    "model, kl": losses(model("kl")),
    "model, js of a power loss": losses(model("js", 0.5)),
    "model, neyman": losses(model("neyman_chi2", 1.0)),
    "model, wider than a block": losses(model("gan", hidden=40, features=300)),
    "model, Adam": model_training(ADAMS, ADAMS, 1),
    "model, mixed, noise": model_training(MOMENTUM, RMS, 2, noises=[0.3, 0.2, 0.0]),
    "model, a row that is not finite": model_training(ADAMS, MOMENTUM, 2, bad=1),
}
