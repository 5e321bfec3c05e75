"""A Polya-gamma draw depends on seed, element, b and z alone: not on threads, pieces, neighbours, shapes or places."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import tolerance
from hypothesis import given
from hypothesis import strategies as st

from lvmfast import _backend, random
from lvmfast.distributions import PolyaGamma

LARGEST = 2**63 - 1


def same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def mixed(n, dtype=np.float64, seed=0):
    """Shapes and tilts that take all ways of drawing, next to one another; those of float64 are float32's, exactly."""
    rng = np.random.default_rng(seed)
    shapes = np.array([0.05, 0.5, 0.99, 1, 1.5, 2, 2.7, 3, 4, 5.25, 7, 11, 11.9, 12, 13.5, 50, 1e3, 9.9e5, 1e6, 1e9])
    tilts = np.array([0, 1e-8, 0.1, 0.25, 1, 3, 5, 7.99, 8, 8.01, 9.5, 40, 800])
    b, z = rng.choice(shapes, n), rng.choice(tilts, n) * rng.choice([-1, 1], n)
    return b.astype(np.float32).astype(dtype), z.astype(np.float32).astype(dtype)


def alone(b, z, seed, dtype, start=0):
    """Every element by a call of its own."""
    each = enumerate(zip(b.tolist(), z.tolist(), strict=True), start)
    return np.array([random.polya_gamma(*p, rng=seed, dtype=dtype, start=i) for i, p in each], dtype)


def test_every_draw_stands_alone(instruction_set, dtype):
    """In a chunk with all others what it is by itself."""
    b, z = mixed(5000, dtype)
    whole = random.polya_gamma(b, z, rng=7)
    assert whole.dtype == dtype
    assert same_bits(whole, alone(b, z, 7, dtype))


@pytest.mark.parametrize("start", [1, 2**32 - 50, 2**33 + 5, LARGEST - 100])
def test_far_starts(instruction_set, dtype, start):
    b, z = mixed(100, dtype, seed=2)
    x = random.polya_gamma(b, z, rng=2**64 - 1, start=start)
    assert same_bits(x, alone(b, z, 2**64 - 1, dtype, start))
    assert len(np.unique(x)) == 100


def test_neighbours(instruction_set):
    """Half of the elements keep what they have while the others change places."""
    b, z = mixed(3000, seed=3)
    before = random.polya_gamma(b, z, rng=1)
    moved = np.random.default_rng(4).permutation(np.arange(1, 3000, 2))
    b[1::2], z[1::2] = b[moved], z[moved]
    after = random.polya_gamma(b, z, rng=1)
    assert same_bits(after[::2], before[::2])
    assert not same_bits(after[1::2], before[1::2])


def test_threads(set_num_threads, dtype):
    """Array and scalar parameters, also where a thread's piece begins within a chunk or a period."""
    b, z = mixed(60_013, dtype, seed=5)
    calls = [
        lambda: random.polya_gamma(b, z, rng=5, start=3),
        lambda: random.polya_gamma(b[:7], z[:7], (8573, 7), rng=5),
        lambda: random.polya_gamma(b[:1777], 1.5, (33, 1777), rng=5),
        lambda: random.polya_gamma(4.5, z, rng=5),
    ]
    calls += [lambda b=b: random.polya_gamma(b, 0.7, 60_013, rng=5, dtype=dtype) for b in (0.4, 2, 11.9, 50, 1e7)]
    results = []
    for threads in (1, 2, 3, 7):
        set_num_threads(threads)
        results.append([call() for call in calls])
    for other in results[1:]:
        assert all(map(same_bits, results[0], other))


@pytest.mark.parametrize(("b", "z"), [(0.4, 1.0), (1, 0.0), (2.7, 3.0), (11, 0.3), (12, 0.0), (50, 9.0), (1e7, 1.0)])
def test_every_split(instruction_set, dtype, b, z):
    """A piece that begins at ``start`` is that piece of the whole."""
    whole = random.polya_gamma(b, z, 2200, rng=3, dtype=dtype)
    for start in [*range(20), 31, 32, 33, 63, 64, 65, 1000, 1023, 1024, 1025]:
        for size in (0, 1, 2, 3, 7, 16, 17, 64, 1024, 1100):
            piece = random.polya_gamma(b, z, size, rng=3, dtype=dtype, start=start)
            assert same_bits(piece, whole[start : start + size])


@given(st.integers(0, 2**64 - 1), st.integers(0, 1 << 40), st.integers(0, 1500), st.integers(0, 1500))
def test_pieces_are_the_whole(seed, start, first, second):
    b, z = mixed(first + second, seed=6)
    whole = random.polya_gamma(b, z, rng=seed, start=start)
    assert same_bits(whole[:first], random.polya_gamma(b[:first], z[:first], rng=seed, start=start))
    assert same_bits(whole[first:], random.polya_gamma(b[first:], z[first:], rng=seed, start=start + first))


BROADCASTS = [
    ((), (), (3, 700)),
    ((), (2100,), None),
    ((2100,), (), None),
    ((700,), (700,), (3, 700)),
    ((3, 1), (700,), None),
    ((700,), (3, 1), None),
    ((1, 700), (3, 1), None),
    ((1, 1), (1, 700), (3, 700)),
    ((3, 1), (), (3, 700)),
    ((5, 1, 20), (7, 1), None),
    ((5, 1, 1), (7, 20), None),
    ((5, 7, 20), (20,), (2, 5, 7, 20)),
    ((1,), (), None),
    ((1, 1), (), (1, 1)),
    ((0, 3), (3,), None),
    ((3, 1), (1, 0), None),
    ((), (), 0),
    ((), (), ()),
]


@pytest.mark.parametrize(("first", "second", "size"), BROADCASTS)
def test_shapes(instruction_set, dtype, first, second, size):
    """Parameters broadcast as NumPy's; elements count in C order."""
    some = mixed(max(np.prod(first), np.prod(second), 1).astype(int), dtype, seed=8)
    b, z = (p[: np.prod(s, dtype=int)].reshape(s) for p, s in zip(some, (first, second), strict=True))
    shape = np.broadcast_shapes(first, second) if size is None else size
    shape = (shape,) if isinstance(shape, int) else shape
    x = random.polya_gamma(b, z, size, rng=4, dtype=dtype)
    assert np.shape(x) == shape
    each = alone(np.broadcast_to(b, shape).ravel(), np.broadcast_to(z, shape).ravel(), 4, dtype)
    assert same_bits(np.asarray(x, dtype).ravel(), each)


def test_memory_of_the_parameters(dtype):
    """Strides, orders and integers change nothing."""
    b, z = (p.reshape(30, 40) for p in mixed(1200, dtype, seed=9))
    expected = random.polya_gamma(b, z, rng=1)
    wide = np.zeros((30, 80), dtype)
    wide[:, ::2] = b
    for other in (np.asfortranarray(b), wide[:, ::2], b[::-1, ::-1].copy()[::-1, ::-1]):
        assert same_bits(random.polya_gamma(other, np.asfortranarray(z), rng=1), expected)
    counts = np.arange(1, 21)
    assert same_bits(random.polya_gamma(counts, rng=1), random.polya_gamma(counts.astype(float), 0.0, rng=1))
    assert same_bits(random.polya_gamma([1, 2], [[0], [1]], rng=1), random.polya_gamma([1.0, 2], [[0.0], [1]], rng=1))


def test_one_way_or_many(instruction_set, dtype):
    """An array of equal numbers is the number."""
    for b in np.array([0.4, 1, 2.7, 5, 12, 60, 1e7], dtype):
        for z in np.array([0.0, 1.5, 8.0, 30.0], dtype):
            expected = random.polya_gamma(float(b), float(z), (3, 500), rng=2, dtype=dtype)
            whole, period, row = np.full((3, 500), b), np.full(500, b), np.full(500, z)
            for p in [(whole, z), (period, z), (b, row), (b, np.full((3, 1), z)), (whole, row), (period, row)]:
                assert same_bits(random.polya_gamma(*p, (3, 500), rng=2, dtype=dtype), expected)


def test_sign_of_the_tilt(instruction_set, dtype):
    b, z = mixed(4000, dtype, seed=10)
    expected = random.polya_gamma(b, z, rng=1)
    for other in (-z, np.abs(z), -np.abs(z)):
        assert same_bits(random.polya_gamma(b, other, rng=1), expected)
    assert same_bits(random.polya_gamma(1, -2.5, 100, rng=1), random.polya_gamma(1, 2.5, 100, rng=1))
    assert same_bits(random.polya_gamma(1, -0.0, 100, rng=1), random.polya_gamma(1, 0.0, 100, rng=1))


def test_float32_is_float64_rounded(instruction_set):
    b, z = mixed(20_000, np.float32, seed=11)
    double = random.polya_gamma(b.astype(float), z.astype(float), rng=1)
    assert same_bits(random.polya_gamma(b, z, rng=1), double.astype(np.float32))
    assert same_bits(random.polya_gamma(b.astype(float), z, rng=1, dtype=np.float32), double.astype(np.float32))


def test_instruction_sets():
    """Draws agree to rounding; the saddle point's, whose log density has a rounding of b, to b times that. No draw here
    is accepted in one set and not in the other, which has a chance of at most some ``b`` roundings a draw.
    """
    b, z = mixed(200_000, seed=12)
    before, results = _backend.cpu.instruction_set(), []
    try:
        for name in _backend.cpu.instruction_sets():
            assert _backend.cpu.use_instruction_set(name)
            results.append(random.polya_gamma(b, z, rng=1))
    finally:
        _backend.cpu.use_instruction_set(before)
    for other in results[1:]:
        allowed = tolerance(float, 10) * np.where((b >= 12) & (b < 1e6), b, 1.0)
        assert (np.abs(other - results[0]) <= allowed * results[0]).all()


def test_out(dtype):
    b, z = (p.reshape(40, 50) for p in mixed(2000, dtype, seed=13))
    expected = random.polya_gamma(b, z, rng=4)
    wide = np.zeros((40, 100), dtype)
    places = [np.empty((40, 50), dtype), np.empty((50, 40), dtype).T, wide[:, ::2], np.empty((40, 50), dtype)[::-1]]
    for out in places:
        assert random.polya_gamma(b, z, rng=4, out=out) is out
        assert same_bits(np.ascontiguousarray(out), expected)
    assert (wide[:, 1::2] == 0).all()
    for i in range(2):
        parameters = [b.copy(), z.copy()]
        random.polya_gamma(*parameters, rng=4, out=parameters[i])
        assert same_bits(parameters[i], expected)
    row = b[0].copy()
    assert same_bits(random.polya_gamma(row, 1.0, rng=4, out=row), random.polya_gamma(b[0], 1.0, rng=4))


def test_nothing_is_written_beside_the_result(instruction_set, dtype):
    b, z = mixed(70, dtype, seed=14)
    for size in range(70):
        room = np.full(size + 12, -9.0, dtype)
        random.polya_gamma(b[:size], z[:size], rng=1, out=room[5 : 5 + size])
        assert (room[:5] == -9).all()
        assert (room[5 + size :] == -9).all()
        assert (room[5 : 5 + size] > 0).all()


def test_parameters_stay():
    b, z = mixed(500)
    copies = b.copy(), z.copy()
    for p in (b, z):
        p.flags.writeable = False
    random.polya_gamma(b, z, rng=1)
    assert same_bits(b, copies[0])
    assert same_bits(z, copies[1])


def test_results_are_as_of_the_other_functions():
    assert type(random.polya_gamma(1.5, rng=1)) is float
    assert type(random.polya_gamma(1.5, 2, rng=1, dtype=np.float32)) is float
    assert random.polya_gamma(1.5, rng=1) == random.polya_gamma(1.5, size=1, rng=1)[0]
    assert isinstance(random.polya_gamma(1.5, size=(), rng=1), np.ndarray)
    single, double = np.ones(3, np.float32), np.ones(3)
    assert random.polya_gamma(single, 2.0).dtype == np.float32
    assert random.polya_gamma(single, double).dtype == np.float64
    assert random.polya_gamma(double, dtype="float32").dtype == np.float32
    generator = np.random.default_rng(1)
    first, second = (random.polya_gamma(1, size=3, rng=generator) for _ in range(2))
    assert (first != second).all()
    assert same_bits(first, random.polya_gamma(1, size=3, rng=np.random.default_rng(1)))
    assert random.polya_gamma(1) != random.polya_gamma(1)


def test_samples_of_the_distribution(dtype):
    """``PolyaGamma(b, z).sample`` is ``random.polya_gamma(b, z)``."""
    b, z = mixed(300, dtype)
    p = PolyaGamma(b, z)
    assert same_bits(p.sample(rng=3), random.polya_gamma(b, z, rng=3))
    assert same_bits(p.sample((4, 300), rng=3, start=7), random.polya_gamma(b, z, (4, 300), rng=3, start=7))
    out = np.empty(300, np.float32)
    assert p.sample(rng=3, out=out) is out
    assert same_bits(out, random.polya_gamma(b, z, rng=3, dtype=np.float32))
    scalar = PolyaGamma(2.5, 1.0)
    assert type(scalar.sample(rng=3)) is float
    assert scalar.sample(rng=3) == random.polya_gamma(2.5, 1.0, rng=3)
    draws = scalar.sample(5, rng=3, dtype=dtype, device="cpu")
    assert same_bits(draws, random.polya_gamma(2.5, 1.0, 5, rng=3, dtype=dtype))
    with pytest.raises(ValueError, match="must broadcast to size, got"):
        p.sample(4)
