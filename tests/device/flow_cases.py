"""Cases of normalizing flows: values, pull-backs and inverses of every layer, the likelihood's gradient, training."""

from __future__ import annotations

import copy

import numpy as np
from device.cases import Case

import lvmfast as lvm
from lvmfast import _backend, nn
from lvmfast.bijectors import AffineCoupling, Chain, Exp, Invert, LearnedAffine, MaskedAutoregressive, Planar, RealNVP
from lvmfast.bijectors._flows_base import compiled_flow, leaves_of
from lvmfast.models._vae_problem import VaeProblem

D, TERMS = 5, 100
WEIGHTS = {"hidden": (6, 4), "activation": "tanh", "bound": 1.5}
ADAM, SGD = 0, 2


def learned(bijector, seed=1):
    """With random parameters."""
    own = bijector.build(seed)
    own.parameters = own.parameters + 0.4 * np.random.default_rng(seed).normal(size=own.n_parameters)
    return own


def rows(n=9, d=D):
    return lambda rng, dtype: (rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(n, d)).astype(dtype))


def passes(bijector, inverse):
    """Both directions, and the pull-back of one of them."""

    def call(x, bar):
        own = copy.deepcopy(bijector)  # its memory on the device goes when the call ends
        vjp = own.inverse_vjp if inverse else own.forward_vjp
        answers = (*own.forward_and_log_det(x), *own.inverse_and_log_det(x))
        return (*answers, *vjp(x, bar, bar[:, 0], parameters=True))

    return Case(rows(), call, TERMS, 30.0)


def training(kind, numbers, clip, bad=None):
    """Parameters, moments, terms and steps done: batches twice, then all rows; row ``bad`` is NaN."""
    parts = [RealNVP(D, 2, **WEIGHTS), LearnedAffine(D), MaskedAutoregressive(D, **WEIGHTS), Invert(Planar(D))]
    leaves = leaves_of(Chain(parts), True)
    for bijector, _ in leaves:
        learned(bijector)
    start = np.concatenate([bijector.parameters for bijector, _ in leaves])

    def call(x, _):
        xp, device = _backend.namespace(x), "cuda" if _backend.is_gpu(x) else "cpu"
        flow = compiled_flow(leaves, x.dtype, device)
        theta = xp.asarray(start.astype(x.dtype))
        m, v = xp.zeros_like(theta), xp.zeros_like(theta)
        if bad is not None:
            x = x.copy()
            x[bad, 1] = float("nan")
        answers = []
        for _ in range(2):
            terms, done = flow.train(theta, m, v, x, ROWS, 3, np.full(3, 0.01), kind, numbers, clip)
            answers += [terms[:done], done]
        if bad is None:
            flow.train(theta, m, v, x, None, 0, np.full(1, 0.01), kind, numbers, clip)
            answers += flow.evaluate(theta, x, True)
        return (theta, m, v, dict(enumerate(map(_backend.to_numpy, answers))))

    return Case(rows(), call, TERMS, 30.0)


def autoencoder(iwae):
    """Terms, gradient and steps of an autoencoder whose codes go through a flow."""
    parts = [RealNVP(D, 2, **WEIGHTS), Planar(D), Invert(MaskedAutoregressive(D, **WEIGHTS))]
    leaves = leaves_of(Chain(parts))
    for bijector, _ in leaves:
        learned(bijector)

    def call(x, bar):
        xp, device, dtype = _backend.namespace(x), "cuda" if _backend.is_gpu(x) else "cpu", x.dtype.type
        encoder = nn.Sequential([nn.Dense(4, "tanh")], heads=[[nn.Dense(D)], [nn.Dense(D)]]).build(D, dtype, 1, device)
        decoder = nn.Sequential([nn.Dense(4, "tanh"), nn.Dense(D)]).build(D, dtype, 2, device)
        shape = {"categories": 0, "likelihood": "gaussian", "variance": "feature", "classes": 0}
        problem = VaeProblem(encoder, decoder, posterior="flow", flow=leaves, **shape)
        vae, theta = problem.compiled(2, iwae), problem.placed(problem.initial())
        eps = xp.stack([bar, bar[::-1]], axis=1)
        terms, gradient = vae.evaluate(theta, None, x, eps, 0.7, 1.0, True)
        m, v, ones = xp.zeros_like(theta), xp.zeros_like(theta), np.ones(3)
        steps, done = vae.train(theta, m, v, None, x, ROWS, 3, 5, 0, 0.01 * ones, ones, ones, SGD, [0.9, 0, 0], 0.1)
        return (terms, gradient, theta, m, {"steps": steps, "done": done})

    return Case(rows(), call, TERMS, 30.0)


def density():
    """A fit with held-out rows behind a fixed bijector: densities, the base, a sample."""

    def call(x, _):
        flow = RealNVP(D, 2, **WEIGHTS)
        params = {"max_iter": 2, "batch_size": 4, "early_stopping": True, "dtype": x.dtype.type, "random_state": 0}
        model = lvm.FlowDensity([Exp(), flow], **params).fit(_backend.namespace(x).exp(x))
        x = _backend.namespace(x).exp(x)
        told = {"log density": model.score_samples(x), "losses": model.history_["val_loss"]}
        return model.transform(x), model.sample(3, rng=1), told

    return Case(rows(30), call, TERMS, 100.0)


ROWS = np.array([0, 3, 5, 1, 1, 2, 6, 4, 8])
FLOWS = {
    "coupling": passes(learned(AffineCoupling(D, mask="last", **WEIGHTS)), False),
    "coupling, inverse": passes(learned(AffineCoupling(D, mask="odd", **WEIGHTS)), True),
    "RealNVP": passes(learned(RealNVP(D, 3, **WEIGHTS)), True),
    "autoregressive": passes(learned(MaskedAutoregressive(D, order=(2, 0, 4, 3, 1), **WEIGHTS)), True),
    "planar": passes(learned(Planar(D)), False),
    "affine": passes(learned(LearnedAffine(D)), False),
    "affine, inverse": passes(learned(LearnedAffine(D)), True),
    "Adam": training(ADAM, np.array([0.9, 0.99, 1e-5]), 0.0),
    "SGD, clipped": training(SGD, np.array([0.9, 0.0, 0.0]), 0.1),
    "FlowDensity": density(),
    "posterior, elbo": autoencoder(False),
    "posterior, iwae": autoencoder(True),
    "a row that is not finite": training(ADAM, np.array([0.9, 0.99, 1e-5]), 0.1, bad=1),
}
