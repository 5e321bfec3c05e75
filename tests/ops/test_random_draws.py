"""Draws from given words: ulp errors against mpmath, the extreme words, the scalar form; whole distributions."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import random as oracle
from reference.kernels import ulp_error
from scipy import stats

from lvmfast import random
from lvmfast._backend import cpu

# logarithm and sine are within 1.5 ulp; the square root halves what the one lost, two products round
ULPS = {"uniform": 0, "normal": 3, "exponential": 1.5}
EXTREMES = np.array(
    [0, 1, 2, 255, 256, 511, 512, 2**11 - 1, 2**11, 2**31 - 1, 2**31, 2**32 - 512, 2**32 - 1], np.uint32
)


@pytest.fixture(params=ULPS)
def name(request):
    """Every distribution."""
    return request.param


@functools.cache
def some_words():
    """Random words, and all pairs of extreme ones as first or second half of a uniform."""
    words = np.random.default_rng(0).integers(0, 2**32, (2000, 4), dtype=np.uint32)
    low, high = (w.ravel() for w in np.meshgrid(EXTREMES, EXTREMES))
    other = words[: len(low)]
    first = np.stack([low, high, other[:, 0], other[:, 1]], axis=1)
    second = np.stack([other[:, 0], other[:, 1], low, high], axis=1)
    # angles near the multiples of an eighth of a turn
    eighths = ((np.arange(9)[:, None] << 29) + np.array([-512, -256, -1, 0, 1, 256, 512])).ravel() & 0xFFFFFFFF
    angles = words[: len(eighths)].copy()
    angles[:, 1] = angles[:, 3] = eighths
    return np.ascontiguousarray(np.concatenate([words, first, second, angles]), np.uint32)


@functools.cache
def exact(name, dtype):
    return oracle.draws_mp(name, some_words(), dtype)


def from_words(name, words, dtype, scalar=False):
    out = np.full((len(words), 16 // np.dtype(dtype).itemsize), np.nan, dtype)
    cpu.draws_of_words(name, words, out, scalar)
    return out


def test_ulp(instruction_set, name, dtype):
    x = from_words(name, some_words(), dtype)
    assert ulp_error(x, exact(name, dtype), dtype).max() <= ULPS[name]


def test_scalar_form(name, dtype):
    """What a GPU runs, compiled for the host."""
    x = from_words(name, some_words(), dtype, scalar=True)
    assert ulp_error(x, exact(name, dtype), dtype).max() <= ULPS[name]


def test_scalar_form_and_packs_agree(instruction_set, name, dtype):
    words = np.random.default_rng(1).integers(0, 2**32, (20_000, 4), dtype=np.uint32)
    packs, scalars = (from_words(name, words, dtype, scalar) for scalar in (False, True))
    assert_near(packs, scalars, 0 if name == "uniform" else tolerance(dtype))


def test_packs_are_what_is_filled(instruction_set, name, dtype):
    words = oracle.words(name, 9, 0, 777)
    filled = getattr(random, name)(size=from_words(name, words, dtype).shape, rng=9, dtype=dtype)
    np.testing.assert_array_equal(from_words(name, words, dtype), filled)


def test_every_number_of_blocks(instruction_set, name, dtype):
    whole = from_words(name, some_words(), dtype)
    for blocks in range(40):
        np.testing.assert_array_equal(from_words(name, some_words()[:blocks], dtype), whole[:blocks])


@pytest.mark.parametrize("scalar", [False, True])
def test_extreme_words(instruction_set, dtype, scalar):
    """All zeros and all ones: neither 0 nor 1 is drawn, and no tail is infinite."""
    zeros, ones = np.zeros((1, 4), np.uint32), np.full((1, 4), 2**32 - 1, np.uint32)
    digits, deepest = {np.float64: (53, 54), np.float32: (24, 32)}[dtype]
    low, high = (from_words("uniform", w, dtype, scalar) for w in (zeros, ones))
    assert (low == 2.0 ** -(digits + 1)).all()
    assert (high == 1 - 2.0**-digits).all()
    largest = deepest * np.log(2)
    assert_near(from_words("exponential", zeros, dtype, scalar)[0, 0], largest, tolerance(dtype))
    least = from_words("exponential", ones, dtype, scalar)
    assert (least >= 0).all()
    assert not np.signbit(least).any()
    tail = np.sqrt(2 * largest) * np.resize([1, 0], low.size)
    assert_near(from_words("normal", zeros, dtype, scalar)[0], tail, tolerance(dtype))
    assert np.isfinite(from_words("normal", ones, dtype, scalar)).all()


@functools.cache
def million(name, dtype):
    return getattr(random, name)(size=1_000_000, rng=1, dtype=dtype)


SCIPY = {"uniform": stats.uniform, "normal": stats.norm, "exponential": stats.expon}


def test_distribution(name, dtype):
    x = million(name, dtype).astype(float)
    assert stats.kstest(x, SCIPY[name].cdf).pvalue > 1e-4
    mean, variance, skewness, kurtosis = SCIPY[name].stats(moments="mvsk")
    n = len(x)
    assert abs(x.mean() - mean) < 4 * np.sqrt(variance / n)
    assert abs(x.var() - variance) < 4 * variance * np.sqrt((kurtosis + 2) / n)
    assert abs(stats.skew(x) - skewness) < 0.05
    assert abs(stats.kurtosis(x) - kurtosis) < 0.5


def test_neighbours_are_independent(name, dtype):
    """Also those that share a block, a radius or an angle."""
    x = million(name, dtype).astype(float)
    for lag in (1, 2, 3, 4, 5, 8, 32, 64):
        assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 5e-3
    squares = (x - x.mean()) ** 2
    assert abs(np.corrcoef(squares[0::2], squares[1::2])[0, 1]) < 5e-3
    pairs = stats.norm.cdf(x) if name == "normal" else 1 - np.exp(-x) if name == "exponential" else x
    table = np.histogram2d(pairs[0::2], pairs[1::2], bins=16, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(table.ravel()).pvalue > 1e-4


def test_seeds_are_independent(name, dtype):
    """First draws of neighbouring seeds."""
    x = np.array([getattr(random, name)(rng=seed, dtype=dtype) for seed in range(5000)])
    assert stats.kstest(x, SCIPY[name].cdf).pvalue > 1e-4


def test_every_bit_is_fair():
    words = random.bits(100_000, rng=1)
    ones = [int(((words >> np.uint64(k)) & np.uint64(1)).sum()) for k in range(64)]
    assert np.abs(np.array(ones) - 50_000).max() < 5 * np.sqrt(25_000)
