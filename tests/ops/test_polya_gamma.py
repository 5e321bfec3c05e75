"""Whole distributions of Polya-gamma draws: moments, quantiles, tails, transform, sums, on all ways of drawing.

Every draw has a fixed seed, so that a test passes always or never; the rates of false alarm are those over all seeds.
Statistics are taken to be normal, chi-square or Poisson, as they nearly are. ``PolyaGamma``, which is tested against
mpmath, knows nothing of how draws are made.
"""

from __future__ import annotations

import functools
import zlib

import mpmath
import numpy as np
import pytest
from reference import polya_gamma as oracle
from scipy import stats

from lvmfast import random
from lvmfast.distributions import PolyaGamma

SHAPES = [0.1, 0.3, 0.9, 1.0, 1.5, 2.0, 2.7, 4.5, 10.0, 11.9, 12.0, 13.5, 50.0, 100.0, 200.0, 1000.0, 1e6, 1e9]
TILTS = [0.0, 1e-8, 0.1, 1.0, 5.0, 7.99, 8.01, 40.0, 800.0, -1.0]
N = 500_000
BINS = 200
TAIL = 1e-5  # what lies outside the outermost quantiles, on either side


def seed(*key):
    """Another one for every key, the same in every run."""
    return zlib.crc32(repr(key).encode())


def draws(b, z, *key, n=N):
    return random.polya_gamma(b, z, n, rng=seed(b, z, *key))


@functools.cache
def unit_cumulants(z):
    """Those of PG(1, z), up to the sixth."""
    return [float(oracle.cumulant(n, 1, z)) for n in range(1, 7)]


@functools.cache
def quantiles(b, z):
    """Ends of the bins: equal probabilities, and the two tails apart."""
    return PolyaGamma(b, z).ppf(np.concatenate([[TAIL], np.arange(1, BINS) / BINS, [1 - TAIL]]))


def counts(x, b, z):
    """Draws in the two tails, and in each of the bins."""
    found = np.diff(np.searchsorted(np.sort(x), quantiles(b, z)), prepend=0, append=len(x))
    inside = found[1:-1].copy()
    inside[0] += found[0]
    inside[-1] += found[-1]
    return found[0], found[-1], inside


def z_scores(x, b, z):
    """Of mean, variance and third central moment, by the cumulants up to the sixth."""
    mean, k2, k3, k4, _, k6 = b * np.array(unit_cumulants(z))
    y = (x - mean) / np.sqrt(k2)
    third, fourth = k3 / k2**1.5, k4 / k2**2 + 3
    sixth = k6 / k2**3 + 15 * k4 / k2**2 + 10 * third**2 + 15
    squares = y * y
    found = np.array([y.mean(), squares.mean() - 1, (squares * y).mean() - third])
    return found / np.sqrt(np.array([1, fourth - 1, sixth - third**2]) / len(x))


def tail_probability(count, expected):
    """Of a Poisson count so far from what is expected, to one side."""
    law = stats.poisson(expected)
    return min(law.cdf(count), law.sf(count - 1))


def assert_distribution(x, b, z, least=1e-7):
    """A false alarm has probability 4 ``least``, if the draws are right."""
    low, high, inside = counts(x, b, z)
    assert min(tail_probability(low, TAIL * len(x)), tail_probability(high, TAIL * len(x))) > least
    assert stats.chisquare(inside).pvalue > least
    return low, high, stats.chisquare(inside).statistic


@pytest.mark.parametrize("b", SHAPES)
def test_distribution(b):
    """Moments, bins and tails.

    False alarms, all shapes together: 2e-4 for bins and tails, 1e-4 for the moments, there more for small b: third
    powers have heavy tails.
    """
    lows, highs, squares = [], [], []
    for z in TILTS:
        x = draws(b, z)
        assert x.min() > 0
        assert np.abs(z_scores(x, b, z)).max() < 5.2, z
        for values, value in zip((lows, highs, squares), assert_distribution(x, b, z), strict=True):
            values.append(value)
    expected = TAIL * N * len(TILTS)
    assert tail_probability(sum(lows), expected) > 1e-6
    assert tail_probability(sum(highs), expected) > 1e-6
    assert stats.chi2.sf(sum(squares), (BINS - 1) * len(TILTS)) > 1e-6
    assert stats.chi2.cdf(sum(squares), (BINS - 1) * len(TILTS)) > 1e-6  # nor better than chance


# |z| from which on one proposal is made for the whole of b
def proposal_from(b):
    return np.log(b / 0.3)


CHANGES = {
    "strips to saddle point": [(12 - 1e-9, 0.0), (12.0, 0.0), (12 - 1e-9, 2.5), (12.0, 2.5)],
    "whole numbers": [(1 - 1e-12, 0.7), (1 + 1e-12, 0.7), (3.0, 1.0), (3 + 1e-9, 1.0), (4.0, 1.0), (4 - 1e-12, 1.0)],
    "strips to proposal at 8": [(b, 8 + d) for b in (1.0, 2.0, 3.0) for d in (-1e-12, 0.0)],
    "proposal for all": [
        (b, proposal_from(b) + d) for b in (1.5, 2.7, 4.0, 11.5, 12.0, 50.0, 1e4) for d in (-1e-9, 1e-9)
    ],
    "normal": [(1e6 * (1 - 1e-12), 0.0), (1e6, 0.0), (1e6 * (1 - 1e-12), 3.0), (1e6, 3.0)],
    "normal to proposal": [(1e6, proposal_from(1e6) + d) for d in (-1e-9, 1e-9)],
    "tilts of strips": [(1.0, z) for z in (0.25 - 1e-9, 0.25, 0.125, 3.74999, 3.75, 7.75)],
}


@pytest.mark.parametrize("name", CHANGES)
def test_where_the_way_changes(name):
    """On both sides of every threshold; a false alarm has probability 2e-5 over all."""
    for b, z in CHANGES[name]:
        x = draws(b, z, name, n=300_000)
        assert_distribution(x, b, z)
        mean, k2 = b * unit_cumulants(z)[0], b * unit_cumulants(z)[1]
        assert abs(x.mean() - mean) < 5.4 * np.sqrt(k2 / len(x))


SUMS = [(0.4, 0.6, 1.0), (1.0, 1.7, 0.0), (5.5, 6.5, 0.3), (11.0, 1.0, 2.0), (0.3, 11.9, 0.0), (20.0, 30.0, 4.0)]
SUMS += [(2.0, 0.3, 6.0), (3.0, 3.0, 7.9), (9e5, 2e5, 1.0), (0.1, 0.1, 40.0), (11.5, 200.0, 9.0)]


@pytest.mark.parametrize(("a", "b", "z"), SUMS)
def test_sums(a, b, z):
    """PG(a, z) + PG(b, z) = PG(a + b, z); false alarms: 1e-5 over all."""
    n = 300_000
    both, whole = draws(a, z, "a", n=n) + draws(b, z, "b", n=n), draws(a + b, z, "a + b", n=n)
    table = [counts(x, a + b, z)[2] for x in (both, whole)]
    assert stats.chi2_contingency(table)[1] > 1e-6


@pytest.mark.parametrize("b", [0.3, 1.0, 2.7, 4.5, 10.0, 12.0, 50.0, 1e6])
def test_laplace_transform(b):
    """``E exp(-t (x - mean))``, t of both signs; false alarms: 2e-5 over all."""
    for z in (0.0, 1.0, 5.0, 40.0):
        mean, variance = b * unit_cumulants(z)[0], b * unit_cumulants(z)[1]
        x = draws(b, z, "transform", n=200_000)
        for s in (-1.0, 0.5, 3.0, 20.0):
            t = max(s / variance**0.5, -(z * z + mpmath.pi**2) / 8)
            exact, square = (float(mpmath.exp(oracle.log_laplace(k * t, b, z) + k * t * mean)) for k in (1, 2))
            found = np.exp(-float(t) * (x - mean)).mean()
            if square > 30 * exact**2:  # decided by a few draws
                continue
            assert abs(found - exact) < 5.2 * np.sqrt((square - exact**2) / len(x)), (z, s)


def ranks(x):
    """From -1/2 to 1/2, as far apart as another."""
    result = np.empty(len(x))
    result[np.argsort(x, kind="stable")] = (np.arange(len(x)) + 0.5) / len(x) - 0.5
    return result


def correlation(u, v):
    """Of ranks, in standard deviations."""
    return 12 * (u @ v) / np.sqrt(len(u))


@pytest.mark.parametrize(
    ("b", "z"), [(0.4, 0.5), (1.0, 0.0), (2.7, 1.0), (10.0, 2.0), (13.5, 0.0), (50.0, 7.0), (1e6, 0.0)]
)
def test_independence(b, z):
    """Of neighbours, seeds, and the other distributions with the same seed; false alarms: 2e-4 over all."""
    n = 50_000
    x = random.polya_gamma(b, z, n, rng=1)
    u = ranks(x)
    others = [ranks(random.polya_gamma(b, z, n, rng=s)) for s in (0, 2, 1 + 2**32, 2**63 + 1)]
    others += [ranks(draw(size=k * n, rng=1)[i::k]) for draw in FUNCTIONS for k in (1, 2) for i in range(k)]
    others += [ranks(random.polya_gamma(b, z, n, rng=1, start=n)), ranks(random.uniform(size=n, rng=1, dtype="f4"))]
    scores = [correlation(u, v) for v in others]
    scores += [correlation(u[:-lag], u[lag:]) for lag in (1, 2, 3, 4, 7, 8, 16, 64, 1024)]
    folded = 2 * np.abs(u) - 0.5
    scores += [correlation(folded, ranks(2 * np.abs(v))) for v in others]
    scores += [correlation(folded[:-lag], folded[lag:]) for lag in (1, 2, 4, 8, 1024)]
    assert np.abs(scores).max() < 5
    pairs = np.histogram2d(u[::2], u[1::2], bins=20)[0]
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-6


FUNCTIONS = (random.uniform, random.normal, random.exponential)


@pytest.mark.parametrize("b", [0.5, 1.0, 20.0])
def test_seeds_are_independent(b):
    """First draws of neighbouring seeds; false alarms: 3e-4."""
    x = np.array([random.polya_gamma(b, 1.0, rng=s) for s in range(5000)])
    assert stats.kstest(x, PolyaGamma(b, 1.0).cdf).pvalue > 1e-4


def test_arrays_of_parameters():
    """Every element has the distribution of its own parameters: F(x) is uniform. False alarms: 2e-6."""
    rng = np.random.default_rng(0)
    n = 40_000
    b = np.where(rng.random(n) < 0.4, rng.integers(1, 15, n), np.exp(rng.uniform(np.log(0.05), np.log(2000), n)))
    z = rng.normal(0, 3, n) * rng.choice([0.1, 1, 3], n)
    u = PolyaGamma(b, z).cdf(random.polya_gamma(b, z, rng=3))
    assert stats.chisquare(np.histogram(u, bins=100, range=(0, 1))[0]).pvalue > 1e-6
    assert stats.kstest(u, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("z", [0.0, 5e-324, 1e-300, 1e-5, 700.0, 1e5, 1e100, 1e300])
def test_extreme_tilts(z):
    """Finite, above 0, and of the right mean; false alarms: 1e-5."""
    for b in (1e-3, 1.0, 4.5, 12.0, 1e5, 1e7):
        x = random.polya_gamma(b, z, 50_000, rng=1)
        assert np.isfinite(x).all()
        assert (x > 0).all()
        p = PolyaGamma(b, z)
        if b > 0.1 and p.var > 0:  # else a few draws decide
            assert abs(x.mean() - p.mean) < 5.5 * p.std / np.sqrt(len(x)) + 1e-14 * p.mean
        elif z > 1e5:
            assert abs(x.mean() / p.mean - 1) < 1e-6


@pytest.mark.parametrize("b", [1e10, 1e20, 1e100, 1e300])
def test_large_shapes(b):
    for z in (0.0, 1.0, 30.0, 700.0, 1e5, 1e300):
        p = PolyaGamma(b, z)
        x = random.polya_gamma(b, z, 10_000, rng=1)
        assert np.isfinite(x).all()
        assert (x > 0).all()
        assert abs(x.mean() - p.mean) < 5.5 * p.std / 100 + 1e-13 * p.mean
        assert np.abs(x - p.mean).max() < 7 * p.std + 1e-13 * p.mean


@pytest.mark.parametrize("b", [1e-3, 1e-10, 1e-100, 1e-300, 1e-320, 5e-324])
def test_small_shapes(b):
    """Finite and not below 0: draws of b = 1e-300 are mostly of the size of b**2, out of range."""
    for z in (0.0, 1.0, 30.0):
        x = random.polya_gamma(b, z, 10_000, rng=1)
        assert np.isfinite(x).all()
        assert (x >= 0).all()
        if b > 1e-150:
            assert_quartiles(x, b, z)


def assert_quartiles(x, b, z):
    """The quartiles of the proposal, which for such b nearly all draws are: b^2 / (4 nu^2); false alarms: 1e-6."""
    unit = b * b / 4 / stats.norm.ppf([0.125, 0.25, 0.375]) ** 2
    if b * z > 1e-3:
        return
    below = (x[:, None] < unit).mean(axis=0)
    assert np.abs(below - [0.25, 0.5, 0.75]).max() < 5.5 * 0.5 / np.sqrt(len(x)) + b * 2


def test_numbers_below_the_smallest_normal_float32():
    """Rounded to what float32 has there."""
    b, z = np.float32(1e-10), np.float32(1e30)
    x = random.polya_gamma(b, z, 1000, rng=1, dtype=np.float32)
    assert (x > 0).all()
    assert abs(x.mean(dtype=float) / 5e-41 - 1) < 1e-3
    tiny = random.polya_gamma(np.float32(1e-25), np.float32(0), 1000, rng=1, dtype=np.float32)
    assert np.isfinite(tiny).all()
    assert (tiny >= 0).all()
