"""Cases of networks of log ratios: losses with gradients, log ratios, training, the estimator."""

from __future__ import annotations

import numpy as np
from device.cases import Case

import lvmfast as lvm
from lvmfast import _backend
from lvmfast.nn import Adam, Dense, Sequential

TERMS = 500
LOSSES = {"logistic": (0, 0.0, 0.0), "KL": (1, 1.0, 1.0), "reverse KL": (1, 0.0, 1.0), "Neyman": (1, -1.0, 2.0)}
ADAM, RMSPROP, SGD = 0, 1, 2
LAYERS = {"narrow": [Dense(7, "tanh"), Dense(5, "softplus"), Dense(1)], "wide": [Dense(70, "gelu"), Dense(1)]}
ROWS = np.array([0, 40, 5, 1, 39, 2, 6, 4])


def inputs(name, n=41):
    """theta, x, weights."""

    def make(rng, dtype):
        theta = 0.3 * rng.standard_normal(Sequential(LAYERS[name]).build(3).n_parameters)
        weights = rng.uniform(0.5, 1, n) * np.where(np.arange(n) < n // 3, 1, -1)
        weights[4] = 0
        return [a.astype(dtype) for a in (theta, rng.standard_normal((n, 3)), weights)]

    return make


def there(name, loss, x):
    """The compiled object of x's device and dtype."""
    module = _backend.module_for(x)
    made = module.RatioNetwork32 if x.dtype == np.float32 else module.RatioNetwork64
    network, (kind, alpha, factor) = Sequential(LAYERS[name]).build(3), LOSSES[loss]
    return made(network.graph.numbers(), network.n_parameters, kind=kind, alpha=alpha, factor=factor)


def evaluated(name, loss):
    def call(theta, x, weights):
        ratio = there(name, loss, x)
        return (*ratio.evaluate(theta, x, weights, True), ratio.log_ratio(theta, x))

    return Case(inputs(name), call, TERMS, 10.0)


def trained(name, kind, numbers, moments, clip, bad=None):
    """theta, m, v, terms and steps done: rows in batches, a loss of other rows, then all of them, several times."""

    def call(theta, x, weights):
        xp, ratio = _backend.namespace(x), there(name, "logistic", x)
        if bad is not None:
            x = x.copy()
            x[bad, 1] = float("nan")
        state = [theta.copy(), *(xp.zeros_like(theta) if has else None for has in moments)]
        terms, done = ratio.train(*state, x, weights, ROWS, 3, [0.01, 0.02, 0.01], kind, numbers, clip)
        told = {"terms": terms[:done], "done": done}
        if bad is None:
            many = xp.concatenate([x] * 9), xp.concatenate([weights] * 9)
            told["loss"] = np.asarray(_backend.to_numpy(ratio.evaluate(theta, *many, False)[0]))
            whole = ratio.train(*state, x, weights, None, 0, [0.01] * 4, kind, numbers, clip)
            told |= {"whole": whole[0], "whole done": whole[1]}
        return (*state, told)

    return Case(inputs(name), call, TERMS, 10.0)


def fitted(method, **params):
    """Log ratios of a model."""

    def call(x_p, x_q):
        model = lvm.DensityRatio(method, optimizer=Adam(0.01), max_iter=4, dtype=x_p.dtype, random_state=0, **params)
        return model.fit(x_p, x_q).log_ratio(x_q)

    def make(rng, dtype):
        return [(1 + rng.standard_normal((30, 2))).astype(dtype), 2 * rng.standard_normal((50, 2)).astype(dtype)]

    return Case(make, call, TERMS, 100.0)


RATIO = {f"{name}, {loss}": evaluated(name, loss) for name in LAYERS for loss in LOSSES}
RATIO |= {
    "Adam": trained("narrow", ADAM, (0.9, 0.99, 1e-5), (True, True), 0.0),
    "Adam, clipped": trained("wide", ADAM, (0.9, 0.99, 1e-5), (True, True), 0.1),
    "RMSprop": trained("narrow", RMSPROP, (0.9, 0.0, 1e-5), (False, True), 0.0),
    "SGD with momentum, clipped": trained("wide", SGD, (0.9, 0.0, 0.0), (True, False), 0.1),
    "a row that is not finite": trained("narrow", ADAM, (0.9, 0.99, 1e-5), (True, True), 0.1, bad=1),
    "classifier": fitted("classifier"),
    "classifier in batches": fitted("classifier", batch_size=16, early_stopping=True),
    "telescoping": fitted("telescoping", n_bridges=2, calibrate=True),
}
