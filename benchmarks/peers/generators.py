"""Standard draws into an array of one's own or a new one: ours, and NumPy's generators."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

import lvmfast as lvm

DISTRIBUTIONS = ("uniform", "normal", "exponential")
PEERS = {"PCG64": np.random.PCG64, "Philox": np.random.Philox}
NUMPY = {"uniform": "random", "normal": "standard_normal", "exponential": "standard_exponential"}
# mean, variance, fourth central moment
MOMENTS = {"uniform": (0.5, 1 / 12, 1 / 80), "normal": (0.0, 1.0, 3.0), "exponential": (1.0, 1.0, 9.0)}


@dataclasses.dataclass
class DrawCase:
    """``n`` standard draws of a distribution; ``reuse`` writes them to the same array again and again."""

    distribution: str
    dtype: str
    n: int
    reuse: bool

    def ours(self):
        draw, seeds = getattr(lvm.random, self.distribution), itertools.count(1)
        if self.reuse:
            out = np.zeros(self.n, self.dtype)
            return lambda: draw(rng=next(seeds), out=out)
        return lambda: draw(size=self.n, dtype=self.dtype, rng=next(seeds))

    def peer(self, name: str):
        draw = getattr(np.random.Generator(PEERS[name](1)), NUMPY[self.distribution])
        if self.reuse:
            out = np.zeros(self.n, self.dtype)
            return lambda: draw(out=out, dtype=self.dtype)
        return lambda: draw(self.n, dtype=self.dtype)

    def assert_answer(self, x: np.ndarray) -> None:
        """Mean and variance to five of their standard deviations."""
        mean, variance, fourth = MOMENTS[self.distribution]
        assert x.shape == (self.n,)
        assert x.dtype == self.dtype
        squares = np.square(x - x.dtype.type(mean), dtype=np.float64)
        assert abs(x.mean(dtype=np.float64) - mean) < 5 * np.sqrt(variance / self.n)
        assert abs(squares.mean() - variance) < 5 * np.sqrt((fourth - variance**2) / self.n)
