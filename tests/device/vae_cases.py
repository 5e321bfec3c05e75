"""Cases of variational autoencoders' steps: terms and gradients, log weights, noise, training."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from reference.vae import VARIANCES
from vaes import compiled, data, images, small, wide

from lvmfast import _backend

TERMS = 100
BETA, TEMPERATURE = 0.7, 0.6
ADAM, RMSPROP, SGD = 0, 1, 2
OBJECTIVES = {"elbo": {}, "iwae": {"iwae": True}, "dreg": {"iwae": True, "dreg": True}}


def inputs(model, samples, n=7):
    """theta, fixed, x, eps; a model without fixed variances has None."""
    return lambda rng, dtype: data(model, rng, n, samples, dtype)


def there(model, samples, x):
    """The compiled object of x's device and dtype."""
    return compiled(model, samples, x.dtype.type, "cuda" if _backend.is_gpu(x) else "cpu")


def step(model, samples):
    """Terms, gradient, and log weights of Gaussian latents."""

    def call(theta, fixed, x, eps):
        vae = there(model, samples, x)
        answers = vae.evaluate(theta, fixed, x, eps, BETA, TEMPERATURE, True)
        return answers if model.categories else (*answers, vae.log_weights(theta, fixed, x, eps))

    return call


def exact(model):
    """What the oracle says."""

    def call(theta, fixed, x, eps):
        arguments = wide((theta, fixed, x, eps))
        terms = model.terms(*arguments, BETA, TEMPERATURE)
        answers = [terms, model.gradient(*arguments, BETA, TEMPERATURE)]
        answers += [] if model.categories else [model.log_w(*arguments)]
        return tuple(answer.astype(np.longdouble) for answer in answers)

    return call


def case(model, samples=1, oracle=False):
    wanted = {"condition": condition, "oracle": exact(model)} if oracle else {"condition": 10.0}
    return Case(inputs(model, samples), step(model, samples), TERMS, **wanted)


def condition(dtype):
    """In float64, what the oracle's differences leave of the digits."""
    return 10.0 if dtype == np.float32 else 1e4


def noise(categories):
    """Draws of a step, and of a later one."""
    model = small(categories=categories)

    def call(x):
        vae = there(model, 3, x)
        return vae.noise(5, 2, 70), vae.noise(2**40 + 1, 2**33, 3)

    return Case(lambda rng, dtype: (np.zeros(1, dtype),), call, 10)


def training(kind, numbers, moments, clip, bad=None, **options):
    """theta, m, v, terms and steps done: rows in batches, then all of them at once; row ``bad`` is not finite."""
    model = small("gaussian", "sample", iwae=True, **options)
    rates, ones = [0.01, 0.02, 0.01], [1.0] * 3

    def call(theta, fixed, x, _):
        xp, vae = _backend.namespace(x), there(model, 2, x)
        if bad is not None:
            x = x.copy()
            x[bad, 1] = float("nan")
        state = [theta.copy(), *(xp.zeros_like(theta) if has else None for has in moments)]
        terms, done = vae.train(*state, fixed, x, ROWS, 3, 9, 4, rates, ones, ones, kind, numbers, clip)
        numbers_of = {"terms": terms[:done], "done": done}
        if bad is None:
            whole = vae.train(*state, fixed, x, None, 0, 9, 7, rates[:1], ones[:1], ones[:1], kind, numbers, clip)
            numbers_of |= {"whole": whole[0], "whole done": whole[1]}
        return (*state, numbers_of)

    return Case(inputs(model, 2), call, TERMS, 10.0)


def interrupted():
    """Steps, a bound of many more rows, steps again: memory that grows between them is not that of recorded ones."""
    model = small("gaussian", "feature")

    def call(theta, fixed, x, eps):
        xp, vae = _backend.namespace(x), there(model, 2, x)
        many = xp.concatenate([x] * 60), xp.concatenate([eps] * 60)
        state = theta.copy(), xp.zeros_like(theta), xp.zeros_like(theta)
        rates, ones, bounds, answers = [0.01] * 4, [1.0] * 4, [], []
        for first in (0, 4):
            more = 3, 9, first, rates, ones, ones, ADAM, (0.9, 0.99, 1e-5), 0.0
            terms, done = vae.train(*state, fixed, x, np.arange(12) % 7, *more)
            answers += [terms, done]
            bounds.append(vae.evaluate(theta, fixed, *many, BETA, TEMPERATURE, False)[0])
        return (*state, *bounds, dict(enumerate(answers)))

    return Case(inputs(model, 2), call, TERMS, 10.0)


ROWS = np.array([0, 3, 5, 1, 1, 2, 6, 4])
PAIRS = zip(VARIANCES, ["elbo", "iwae", "dreg", "iwae", "elbo", "dreg"], [1, 3, 2, 3, 1, 2], strict=True)
VAE = {
    f"{variance}, {objective}": case(small("gaussian", variance, **OBJECTIVES[objective]), samples, variance == "batch")
    for variance, objective, samples in PAIRS
}
VAE |= {f"bernoulli, {name}": case(small(**options), 2) for name, options in OBJECTIVES.items()}
VAE |= {
    "categorical": case(small("categorical", iwae=True), 2),
    "Gumbel": case(small(categories=3), 2, oracle=True),
    "convolutions": case(images(iwae=True, dreg=True), 2),
    "clamps": case(small("gaussian", "sample", low=-0.4, high=0.3, code_high=0.2), 2, oracle=True),
    "wider than a block": case(small(hidden=40, features=300, components=35, iwae=True), 3),
    "noise": noise(0),
    "Gumbel noise": noise(3),
    "Adam": training(ADAM, (0.9, 0.99, 1e-5), (True, True), 0.0),
    "Adam, clipped": training(ADAM, (0.9, 0.99, 1e-5), (True, True), 0.1),
    "RMSprop": training(RMSPROP, (0.9, 0.0, 1e-5), (False, True), 0.0),
    "RMSprop with momentum": training(RMSPROP, (0.9, 0.5, 1e-5), (True, True), 0.0, dreg=True),
    "SGD": training(SGD, (0.0, 0.0, 0.0), (False, False), 0.0),
    "SGD with momentum, clipped": training(SGD, (0.9, 0.0, 0.0), (True, False), 0.1),
    "a bound between steps": interrupted(),
    "a row that is not finite": training(ADAM, (0.9, 0.99, 1e-5), (True, True), 0.1, bad=1),
}
