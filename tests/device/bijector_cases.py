"""Cases of bijectors and transformed distributions: programs of many points, and what NumPy or CuPy does with few."""

from __future__ import annotations

import numpy as np
from device.cases import Case

from lvmfast import bijectors as b
from lvmfast import distributions as d

L = np.array([[1.0, 0.0, 0.0], [0.5, 1.5, 0.0], [-0.25, 0.5, 0.75]])
MAPS = {
    "numbers": b.Chain([b.Sigmoid(-1.0, 3.0), b.Scale(0.5), b.Shift([0.5, 1.0, -0.5])]),
    "exp": b.Chain([b.Power(0.5), b.Exp()]),
    "log": b.Chain([b.Log(), b.Softplus(0.25)]),
    "tails": b.Chain([b.SinhArcsinh(0.25, 1.25), b.Tanh()]),
    "vectors": b.Chain([b.Banana(), b.ScaleTriL(L), b.Permute([2, 0, 1]), b.Ordered()]),
}
FEW, MANY = 7, 500  # points of three numbers


def points(n):
    """x, and cotangents of y and of the log-det."""
    return lambda rng, dtype: tuple(rng.normal(0, 0.75, s).astype(dtype) for s in ((n, 3), (n, 3), n))


def values(bijector):
    """There and back, with log-dets."""

    def call(x, y_bar, log_det_bar):
        y, log_det = bijector.forward_and_log_det(x, 1)
        return y, log_det, *bijector.inverse_and_log_det(y, 1), bijector.forward(x), bijector.inverse_log_det(y, 1)

    return call


def pulled(bijector):
    """Both pull-backs."""

    def call(x, y_bar, log_det_bar):
        bar = log_det_bar if bijector.event_ndims else log_det_bar[:, None]
        return bijector.forward_vjp(x, y_bar, bar), bijector.inverse_vjp(bijector.forward(x), y_bar, bar)

    return call


def densities(x, y_bar, log_det_bar):
    """Of vectors and of numbers, of few points and many."""
    bases = d.MultivariateNormalTriL([0.5, 0.0, -0.5], L), d.MultivariateNormalDiag(scale_diag=[0.5, 1.0, 2.0])
    vectors = [d.TransformedDistribution(base, MAPS["vectors"]) for base in bases]
    numbers = d.TransformedDistribution(d.Normal(0.5, 1.5), MAPS["tails"])
    mixture = d.Mixture([0.25, 0.75], d.Normal([-1.0, 1.0], 0.5))
    others = numbers, mixture, d.Uniform(-0.5, 0.75), d.Bernoulli(logits=0.25)
    y = MAPS["vectors"].forward(x)
    return *(p.log_prob(y) for p in vectors), *(p.prob(0.9 * x / (1 + abs(x))) for p in others)


def parameters(rng, dtype):
    """loc, scale, and a triangle, which live where the call does."""
    return rng.normal(size=3).astype(dtype), rng.uniform(0.5, 2, 3).astype(dtype), L.astype(dtype)


def draws(loc, scale, L):
    """Draws, moments and divergences of parameters on a device."""
    p, q = d.Normal(loc, scale), d.MultivariateNormalTriL(loc, L)
    turned = d.TransformedDistribution(q, b.Chain([b.Shift(loc), b.ScaleTriL(L)]))
    other = d.MultivariateNormalDiag(loc, scale)
    samples = (
        p.sample(5, rng=1),
        q.sample(5, rng=2),
        turned.sample((2, 3), rng=3),
        d.Uniform(loc, loc + scale).sample(4, rng=4),
    )
    moments = p.mean, p.variance, p.entropy(), q.variance, turned.mean, turned.variance
    return *samples, *moments, d.kl_divergence(q, other), d.kl_divergence(p, d.Normal(0.0, 1.0)), p.cdf(loc + 0.25)


SIZE, CONDITION = 1, 40.0
BIJECTORS = {
    f"{name}, {n} points": Case(points(n), values(bijector), SIZE, CONDITION)
    for name, bijector in MAPS.items()
    for n in (FEW, MANY)
}
BIJECTORS |= {
    f"{name}, pulled": Case(points(FEW), pulled(bijector), SIZE, CONDITION) for name, bijector in MAPS.items()
}
BIJECTORS |= {f"densities of {n}": Case(points(n), densities, SIZE, CONDITION) for n in (FEW, MANY)}
BIJECTORS["draws and moments"] = Case(parameters, draws, SIZE)
