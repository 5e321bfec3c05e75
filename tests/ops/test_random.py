"""Draws against their definitions: known answers, any split, any threads, every instruction set, shapes and out=."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from hypothesis import given
from hypothesis import strategies as st
from reference import random as oracle

from lvmfast import random

NAMES = ("uniform", "normal", "exponential")
FUNCTIONS = {name: getattr(random, name) for name in NAMES}
LARGEST = 2**63 - 1

# Random123's kat_vectors: counter, key, words.
ONES = 0xFFFFFFFF
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.fixture(params=NAMES)
def name(request):
    """Every distribution."""
    return request.param


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_known_answers(counter, key, words):
    assert tuple(random.philox(counter, key).tolist()) == words
    assert tuple(oracle.philox(np.array(counter), np.array(key)).tolist()) == words


def test_philox_of_many(rng):
    counter = rng.integers(0, 2**32, (5, 3, 4), dtype=np.uint32)
    key = rng.integers(0, 2**32, (3, 2), dtype=np.uint32)
    words = random.philox(counter, key)
    assert words.dtype == np.uint32
    np.testing.assert_array_equal(words, oracle.philox(counter, key))
    np.testing.assert_array_equal(random.philox(counter[::-1, :, ::1], key), words[::-1])
    assert random.philox(counter[:0], key).shape == (0, 3, 4)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 31, 64, 65, 1000, 1_000_003])
def test_bits(instruction_set, size):
    for dtype in (np.uint64, np.uint32):
        x = random.bits(size, rng=2**63 + 12345, dtype=dtype)
        assert x.dtype == dtype
        np.testing.assert_array_equal(x, oracle.bits(2**63 + 12345, 0, size, dtype))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 31, 64, 65, 1000, 1_000_003])
def test_draws(instruction_set, name, dtype, size):
    x = FUNCTIONS[name](size=size, rng=12345, dtype=dtype)
    assert x.dtype == dtype
    exact = oracle.sample(name, 12345, 0, size, dtype)
    assert_near(x, exact, 0 if name == "uniform" else tolerance(dtype))


@pytest.mark.parametrize("start", [1, 2**32, 2**33 - 3, 2**34 + 1, 2**62 + 7, LARGEST - 101])
def test_far_starts(instruction_set, name, dtype, start):
    """Both halves of the counter count."""
    x = FUNCTIONS[name](size=101, rng=1, dtype=dtype, start=start)
    assert_near(x, oracle.sample(name, 1, start, 101, dtype), tolerance(dtype))
    np.testing.assert_array_equal(random.bits(101, rng=1, start=start), oracle.bits(1, start, 101))


def test_every_split(instruction_set, name, dtype):
    """A draw is the same bits in any piece that has it."""
    draw = FUNCTIONS[name]
    whole = draw(size=150, rng=3, dtype=dtype)
    for start in range(70):
        for size in (0, 1, 2, 3, 7, 33, 64, 80):
            np.testing.assert_array_equal(draw(size=size, rng=3, dtype=dtype, start=start), whole[start : start + size])


@given(st.integers(0, 2**64 - 1), st.integers(0, 1 << 40), st.integers(0, 300), st.integers(0, 300))
def test_pieces_are_the_whole(seed, start, first, second):
    for name, draw in FUNCTIONS.items():
        whole = draw(size=first + second, rng=seed, start=start)
        np.testing.assert_array_equal(whole[:first], draw(size=first, rng=seed, start=start), err_msg=name)
        np.testing.assert_array_equal(whole[first:], draw(size=second, rng=seed, start=start + first), err_msg=name)


def test_nothing_is_written_beside_the_result(instruction_set, name, dtype):
    for size in range(70):
        for offset in range(4):
            room = np.full(size + 12, 9.0, dtype)
            FUNCTIONS[name](size=size, rng=1, out=room[offset : offset + size])
            assert (room[:offset] == 9).all()
            assert (room[offset + size :] == 9).all()


def test_threads(set_num_threads, name, dtype):
    """Also where a piece of a thread begins within a block."""
    results = []
    for threads in (1, 2, 3, 7):
        set_num_threads(threads)
        results.append([FUNCTIONS[name](size=200_003, rng=5, dtype=dtype, start=start) for start in (0, 1, 3)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_streams_differ():
    """Distributions with one seed share no words."""
    u = random.uniform(size=10_000, rng=1)
    z, e, b = random.normal(size=10_000, rng=1), random.exponential(size=10_000, rng=1), random.bits(10_000, rng=1)
    columns = [u, -np.log(u), z, e, b.astype(float)]
    for i, j in [(0, 2), (0, 3), (1, 3), (2, 3), (0, 4), (3, 4)]:
        assert abs(np.corrcoef(columns[i], columns[j])[0, 1]) < 0.05


def test_seeds():
    assert random.seed_of(5) == 5
    assert random.seed_of(np.uint64(2**64 - 1)) == 2**64 - 1
    for make in (np.random.default_rng, np.random.RandomState):
        generator = make(1)
        first, second = random.seed_of(generator), random.seed_of(generator)
        assert first != second
        assert first == random.seed_of(make(1))
        a, b = random.normal(size=3, rng=generator), random.normal(size=3, rng=generator)
        assert (a != b).all()
    assert random.seed_of(None) != random.seed_of(None)
    assert (random.uniform(size=5, rng=2**32) != random.uniform(size=5, rng=0)).all()


def test_scalars_are_numbers():
    for draw in FUNCTIONS.values():
        for dtype in (None, np.float32):
            assert type(draw(rng=1, dtype=dtype)) is float
        assert draw(size=(), rng=1).shape == ()
        assert isinstance(draw(size=(), rng=1), np.ndarray)
        assert draw(rng=1) == draw(size=1, rng=1)[0]
    assert type(random.bits(rng=1)) is int
    assert random.bits(rng=1) == int(random.bits(1, rng=1)[0])


SHAPES = [
    ((), (), 3),
    ((2, 1), (3,), None),
    ((2, 1), (3,), (4, 2, 3)),
    ((), (0, 3), None),
    ((1,), (), (2, 5)),
    ((), (4,), 4),
]


@pytest.mark.parametrize("first, second, size", SHAPES)
def test_shapes_are_numpys(first, second, size, rng):
    a, b = rng.standard_normal(first), rng.uniform(0.5, 2, second)
    x = random.normal(a, b, size, rng=1)
    expected = np.random.default_rng(1).normal(a, b, size)
    assert np.shape(x) == np.shape(expected)
    z = random.normal(size=np.shape(x), rng=1)
    assert_near(x, a + b * z, tolerance(float))
    u = random.uniform(size=np.shape(x), rng=1)
    assert_near(random.uniform(a, b, size, rng=1), a + (b - a) * u, tolerance(float))
    assert_near(
        random.exponential(b, np.shape(x), rng=1), b * random.exponential(size=np.shape(x), rng=1), tolerance(float)
    )


def test_dtype_follows_the_arrays():
    single, double = np.ones(3, np.float32), np.ones(3)
    assert random.normal(single, single).dtype == np.float32
    assert random.normal(single, 2.0).dtype == np.float32
    assert random.normal(single, double).dtype == np.float64
    assert random.normal([1.0, 2.0]).dtype == np.float64
    assert random.normal(size=3).dtype == np.float64
    assert random.uniform(double, 2, dtype="float32").dtype == np.float32
    assert random.exponential(single, dtype=float).dtype == np.float64


def test_out(name, dtype):
    """Elements in C order, whatever the strides; the array itself comes back."""
    expected = FUNCTIONS[name](size=(6, 5), rng=4, dtype=dtype)
    wide = np.zeros((6, 10), dtype)
    targets = [np.empty((6, 5), dtype), np.empty((5, 6), dtype).T, wide[:, ::2], np.empty((6, 5), dtype)[::-1, ::-1]]
    for out in targets:
        assert FUNCTIONS[name](rng=4, out=out) is out
        np.testing.assert_array_equal(out, expected)
    assert (wide[:, 1::2] == 0).all()
    words = np.empty((7, 2), np.uint32)
    assert random.bits(rng=4, out=words[:, 0]).base is words
    np.testing.assert_array_equal(words[:, 0], random.bits(7, rng=4, dtype=np.uint32))


def test_out_may_be_a_parameter(rng):
    loc, scale = rng.standard_normal((2, 50))
    scale = np.abs(scale)
    expected = random.normal(loc, scale, rng=1)
    for target in (loc, scale):
        a, b = loc.copy(), scale.copy()
        out = a if target is loc else b
        random.normal(a, b, rng=1, out=out)
        np.testing.assert_array_equal(out, expected)


def test_parameters_stay(rng):
    loc, scale = rng.standard_normal(5), rng.uniform(1, 2, 5)
    before = loc.copy(), scale.copy()
    random.normal(loc, scale)
    random.uniform(loc, scale)
    np.testing.assert_array_equal((loc, scale), before)


def test_degenerate_parameters():
    assert (random.normal(2.0, 0.0, 5) == 2).all()
    assert (random.exponential(0.0, 5) == 0).all()
    assert (random.uniform(3.0, 3.0, 5) == 3).all()
    x = random.uniform(1.0, -1.0, 1000, rng=1)
    assert x.min() >= -1
    assert x.max() <= 1
    np.testing.assert_array_equal(x, 1 - 2 * random.uniform(size=1000, rng=1))
