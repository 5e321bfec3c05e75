"""How kernels start: functions of a seed and of where they lie in the vector of parameters."""

from __future__ import annotations

import math

import numpy as np

from lvmfast import random

__all__ = ["INITIALIZERS", "initial_kernel"]

INITIALIZERS = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "zeros")


def initial_kernel(name: str, shape: tuple[int, ...], seed: int, start: int) -> np.ndarray:
    """A kernel in float64: mean 0, variance ``2 / (fan_in + fan_out)`` (Glorot) or ``2 / fan_in`` (He).

    ``fan_in`` and ``fan_out`` are the last two extents of the shape times the taps, as Keras counts them. Normal draws
    are not truncated, as Keras's are.

    Parameters
    ----------
    name : str
        One of INITIALIZERS.
    shape : tuple of int
    seed : int
    start : int
        Index of the first draw: the kernel's place among the parameters.

    References
    ----------
    Glorot & Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks", eq. 16.
    He, Zhang, Ren & Sun (2015), "Delving deep into rectifiers", eq. 10.
    """
    if name == "zeros":
        return np.zeros(shape)
    taps = math.prod(shape[:-2])
    fan_in, fan_out = taps * shape[-2], taps * shape[-1]
    variance = 2.0 / (fan_in + fan_out) if name.startswith("glorot") else 2.0 / fan_in
    if name.endswith("normal"):
        return random.normal(0.0, math.sqrt(variance), shape, rng=seed, start=start)
    limit = math.sqrt(3.0 * variance)
    return random.uniform(-limit, limit, shape, rng=seed, start=start)
