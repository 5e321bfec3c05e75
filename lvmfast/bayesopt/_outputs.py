"""Observations in the units of a model."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Outputs:
    """``z = (y - location) / spread``: mean 0 and standard deviation 1 of the y it was made of; spread is 1 where all
    of them are equal.

    Numbers are first divided by ``2**exponent``, which is exact, so that no sum of squares overflows or vanishes.
    """

    exponent: int
    location: float
    spread: float

    @classmethod
    def of(cls, y: np.ndarray) -> Outputs:
        """From finite observations (n,)."""
        exponent = int(np.frexp(np.abs(y).max())[1])
        scaled = np.ldexp(y, -exponent)
        location, spread = float(scaled.mean()), float(scaled.std())
        return cls(exponent, location, spread if spread > 1e-14 else 1.0)

    def standardise(self, y: np.ndarray) -> np.ndarray:
        """Observations (n,) in the units of the model."""
        return (np.ldexp(y, -self.exponent) - self.location) / self.spread

    def restore(self, z):
        """Values in the units of the observations."""
        return np.ldexp(z * self.spread + self.location, self.exponent)

    @property
    def scale(self) -> float:
        """One unit of the model in the units of the observations."""
        return float(np.ldexp(self.spread, self.exponent))

    def variance(self, noise: float) -> float:
        """A variance of the observations in the units of the model."""
        return (float(np.ldexp(np.sqrt(noise), -self.exponent)) / self.spread) ** 2
