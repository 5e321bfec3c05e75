"""Cases of lvmfast.likelihoods: all that each of them says of points."""

from __future__ import annotations

import numpy as np
from device.cases import Case

from lvmfast import likelihoods as lk

N = 70  # more than a warp, less than a block


def points(draw, n=N, spread=1.0):
    """y by ``draw(rng, n)``, mean and variance; the last two points far out and without variance."""

    def inputs(rng, dtype):
        m, v = spread * rng.normal(size=n), rng.gamma(1.0, 1.5, n)
        v[-2:], v[0] = 0.0, 30.0
        return [np.asarray(a).astype(np.float32).astype(dtype) for a in (draw(rng, n), m, v)]

    return inputs


def classes(n_classes, n=9):
    def inputs(rng, dtype):
        m, v = rng.normal(size=(n, n_classes)), rng.gamma(2.0, 0.5, (n, n_classes))
        v[0] = 0.0
        y = rng.integers(0, n_classes, n).astype(float)
        return [a.astype(np.float32).astype(dtype) for a in (y, m, v)]

    return inputs


def everything(model, predict=True):
    def call(y, mean, variance):
        value, by_mean, by_variance, by = model.expected_log_density(y, mean, variance, gradients=True)
        results = [value, by_mean, by_variance, *by.values(), model.log_density(y, mean)]
        results.append(model.log_predictive_density(y, mean, variance))
        if predict:
            results += model.predict(mean, variance)
        if hasattr(model, "predict_proba"):
            results.append(model.predict_proba(mean, variance))
        return results

    return call


def case(model, inputs, predict=True):
    return Case(inputs, everything(model, predict), size=lambda dtype: 40, condition=lambda dtype: 10)


def own_density(y, f):
    return -((y - f) ** 2) - 0.1 * (y - f) ** 4


LIKELIHOODS = {
    "likelihood Gaussian": case(lk.Gaussian(0.5), points(lambda r, n: r.normal(size=n))),
    "likelihood Bernoulli logit": case(lk.Bernoulli(), points(lambda r, n: r.integers(0, 2, n), spread=3.0)),
    "likelihood Bernoulli probit": case(lk.Bernoulli("probit"), points(lambda r, n: r.integers(0, 2, n))),
    "likelihood Poisson": case(lk.Poisson(), points(lambda r, n: r.poisson(3.0, n))),
    "likelihood Poisson softplus": case(lk.Poisson("softplus"), points(lambda r, n: r.poisson(3.0, n))),
    "likelihood StudentT": case(lk.StudentT(0.5, 3.0), points(lambda r, n: r.normal(size=n))),
    "likelihood Beta": case(lk.Beta(3.0), points(lambda r, n: r.uniform(0.1, 0.9, n))),
    "likelihood Gamma": case(lk.Gamma(2.0), points(lambda r, n: r.gamma(2.0, 1.0, n), spread=0.3)),
    "likelihood Gamma softplus": case(lk.Gamma(2.0, "softplus"), points(lambda r, n: r.gamma(2.0, 1.0, n), spread=0.3)),
    "likelihood NegativeBinomial": case(lk.NegativeBinomial(0.5), points(lambda r, n: r.poisson(3.0, n))),
    "likelihood NegativeBinomial softplus": case(
        lk.NegativeBinomial(0.5, "softplus"), points(lambda r, n: r.poisson(3.0, n))
    ),
    "likelihood Ordinal": case(lk.Ordinal([-1.0, 0.25, 1.5]), points(lambda r, n: r.integers(0, 4, n))),
    "likelihood Softmax": case(lk.Softmax(4, n_samples=32), classes(4)),
    "likelihood RobustMax": case(lk.RobustMax(4), classes(4)),
    "likelihood RobustMax of two": case(lk.RobustMax(2), classes(2)),
    "likelihood Custom": case(lk.Custom(own_density), points(lambda r, n: r.normal(size=n)), predict=False),
}
