"""Polya-gamma draws into an array that is there: ours, and the ``polyagamma`` package, which has float64 alone."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np

import lvmfast as lvm
from lvmfast.distributions import PolyaGamma

from .covariances import require

SHAPES = (1, 2, 3, 5, 10, 20, 50, 60, 100)
# numbers, or arrays of independent normal tilts of this standard deviation
TILTS = ("0", "1", "5", "40", "N(0, 2^2)", "N(0, 4^2)")
DEVIATIONS = {"N(0, 2^2)": 2.0, "N(0, 4^2)": 4.0}


@dataclasses.dataclass
class PolyaGammaCase:
    """``n`` draws from PG(b, z)."""

    b: float
    tilt: str
    dtype: str
    n: int

    @functools.cached_property
    def z(self):
        """A float, or an array."""
        if self.tilt in DEVIATIONS:
            return np.random.default_rng(0).normal(0, DEVIATIONS[self.tilt], self.n).astype(self.dtype)
        return float(self.tilt)

    def ours(self):
        out, seeds = np.zeros(self.n, self.dtype), itertools.count(1)
        return lambda: lvm.random.polya_gamma(self.b, self.z, rng=next(seeds), out=out)

    def polyagamma(self):
        """``random_polyagamma`` with the method it takes by itself."""
        require("polyagamma")
        from polyagamma import random_polyagamma

        out, generator = np.zeros(self.n), np.random.default_rng(1)
        b, z = float(self.b), np.asarray(self.z, float) if np.ndim(self.z) else self.z

        def run():
            random_polyagamma(b, z, out=out, disable_checks=True, random_state=generator)
            return out

        return run

    def series(self):
        """The definition cut off after 200 gamma variables, of which the mean of the others is a thousandth or less.

        2 pi^2 omega = sum_k g_k / ((k - 1/2)^2 + (z / (2 pi))^2): Polson, Scott & Windle (2013), eq. 1.
        """
        generator, square = np.random.default_rng(1), np.square(np.asarray(self.z, float) / (2 * np.pi))

        def run():
            out = np.zeros(self.n)
            for k in range(200):
                out += generator.standard_gamma(self.b, self.n) / ((k + 0.5) ** 2 + square)
            return out / (2 * np.pi**2)

        return run

    def deviations(self, x: np.ndarray) -> float:
        """By how many of its standard deviations the mean, or the mean square of deviations, is off: the larger."""
        p = PolyaGamma(float(self.b), np.asarray(self.z, float))
        mean, variance = p.mean, p.var
        y = (x - mean) / np.sqrt(variance)
        return float(np.sqrt(self.n) * max(abs(y.mean()), abs((y * y).mean() - 1) / np.sqrt(2 + np.mean(p.kurtosis))))

    def assert_answer(self, x: np.ndarray) -> None:
        """Both to five deviations."""
        assert x.shape == (self.n,)
        assert np.isfinite(x).all()
        assert (x > 0).all()
        assert self.deviations(x) < 5


PEERS = {"polyagamma": PolyaGammaCase.polyagamma}
