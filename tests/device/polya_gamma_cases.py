"""Cases of ``lvmfast.random.polya_gamma``, every way of drawing by itself and all of them beside one another."""

from __future__ import annotations

import numpy as np
from device.cases import Case

from lvmfast import random
from lvmfast.distributions import PolyaGamma

N = 400
SEED = 2**63 + 5


def parameters(shapes, tilts, first=(N,), second=(N,), result=(N,)):
    """b and z of these shapes, and what draws are divided by: the mean where it is of one size, else every mean."""

    def inputs(rng, dtype):
        b = rng.choice(np.float32(shapes), first).astype(dtype)
        z = (rng.choice(np.float32(tilts), second) * rng.choice([-1, 1], second)).astype(dtype)
        mean = np.broadcast_to(PolyaGamma(b.astype(float), z.astype(float)).mean, result).astype(dtype)
        return b, z, np.ascontiguousarray(mean)

    return inputs


def relative(size=None, start=0):
    """Draws in units of their means."""

    def call(b, z, mean):
        return random.polya_gamma(b, z, size, rng=SEED, start=start) / mean

    return call


STRIPS, FAR = [0.0, 1e-8, 0.1, 0.25, 1.0, 3.0, 7.99], [8.0, 9.5, 40.0, 800.0]
WAYS = {
    "one term": ([1], STRIPS),
    "two and three terms": ([2, 3], STRIPS),
    "many terms": ([4, 7, 11], [0.0, 0.5, 2.0, 2.5]),
    "below 1": ([0.05, 0.3, 0.5, 0.99], STRIPS + FAR),
    "terms and a remainder": ([1.5, 2.7, 5.25, 11.9], [0.0, 0.5, 1.0, 1.6]),
    "proposal for all": ([1, 2.7, 5, 12, 50], FAR),
    "saddle point": ([12, 13.5, 50, 200, 1e3], [0.0, 1.0, 3.0, 3.6]),
    "normal": ([1e6, 1e9], [0.0, 0.1, 0.25, 5.0, 10.0]),
}
MIXED = [b for shapes, _ in WAYS.values() for b in shapes], STRIPS + FAR
# the saddle point's log density has a rounding of b
SIZES = {"saddle point": 1e3, "mixed": 1e3}

POLYA_GAMMA = {f"polya_gamma: {n}": Case(parameters(*WAYS[n]), relative(), SIZES.get(n, 1), 10) for n in WAYS}
POLYA_GAMMA |= {
    f"polya_gamma: {name}": Case(parameters(*MIXED, *shapes), relative(*options), SIZES["mixed"], 10)
    for name, (shapes, options) in {
        "mixed": (((N,), (N,), (N,)), ()),
        "a start": (((N,), (N,), (N,)), (None, 2**33 + 7)),
        "the last elements": (((N,), (N,), (N,)), (None, 2**63 - 1 - N)),
        "one shape": (((), (N,), (N,)), ()),
        "one tilt": (((N,), (), (N,)), ()),
        "one shape and tilt": (((), (), (N,)), (N,)),
        "periods": (((7,), (50, 7), (3, 50, 7)), ((3, 50, 7),)),
        "other periods": (((50, 7), (1, 7), (3, 50, 7)), ((3, 50, 7), 11)),
        "rows and columns": (((20, 1), (19,), (20, 19)), ()),
        "columns and rows": (((19,), (20, 1), (20, 19)), ()),
        "outer dimensions": (((5, 1, 8), (9, 1), (5, 9, 8)), ()),
        "one draw": (((1,), (), (1,)), ()),
        "none": (((0, 3), (3,), (0, 3)), ()),
    }.items()
}
