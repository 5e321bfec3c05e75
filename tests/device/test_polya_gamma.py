"""Polya-gamma draws on the GPU: where they are made, in which order, and in which piece changes no bit."""

from __future__ import annotations

import numpy as np
import pytest
from device.cases import Device, same_bits
from device.polya_gamma_cases import MIXED, parameters

from lvmfast import random
from lvmfast.distributions import PolyaGamma


@pytest.fixture
def mixed(rng, dtype):
    """Shapes and tilts that take all ways of drawing."""
    return parameters(*MIXED)(rng, dtype)[:2]


def test_pieces(gpu, seeded, mixed):
    """The same bits from any start, and in whatever order threads run."""
    b, z = map(gpu.asarray, mixed)
    whole = gpu.asnumpy(random.polya_gamma(b, z, rng=3))
    for order, size in enumerate((1, 127, 128, 129, 399)):
        seeded(order)
        x = gpu.asnumpy(random.polya_gamma(b[size:], z[size:], rng=3, start=size))
        assert same_bits(x, whole[size:])
        assert same_bits(gpu.asnumpy(random.polya_gamma(b[:size], z[:size], rng=3)), whole[:size])


def test_neighbours(gpu, mixed):
    b, z = mixed
    there = gpu.asarray(b), gpu.asarray(z)
    whole = gpu.asnumpy(random.polya_gamma(*there, rng=3))
    alone = [random.polya_gamma(b[i : i + 1], z[i : i + 1], rng=3, start=i, device="cuda") for i in range(0, 400, 9)]
    assert same_bits(np.concatenate([gpu.asnumpy(x) for x in alone]), whole[::9])


def test_float32_is_float64_rounded(gpu, mixed):
    b, z = (a.astype(np.float32) for a in mixed)
    single = random.polya_gamma(b, z, rng=3, device="cuda")
    double = random.polya_gamma(b.astype(float), z.astype(float), rng=3, device="cuda")
    assert same_bits(gpu.asnumpy(single), gpu.asnumpy(double).astype(np.float32))


def test_sign_of_the_tilt(gpu, mixed):
    b, z = map(gpu.asarray, mixed)
    assert same_bits(gpu.asnumpy(random.polya_gamma(b, -z, rng=3)), gpu.asnumpy(random.polya_gamma(b, z, rng=3)))


def test_places(gpu, mixed, dtype):
    """Where parameters or ``out`` are, or ``device`` says; strided results and parameters; numbers for a scalar."""
    b, z = mixed
    there = gpu.asarray(b), gpu.asarray(z)
    expected = gpu.asnumpy(random.polya_gamma(*there, rng=3))
    x = random.polya_gamma(b, z, rng=3, device="cuda")
    assert isinstance(x, gpu.ndarray) and same_bits(gpu.asnumpy(x), expected)
    out = gpu.zeros((400, 2), dtype)
    assert random.polya_gamma(*there, rng=3, out=out[:, 1]) is not None
    assert same_bits(gpu.asnumpy(out[:, 1].copy()), expected) and not gpu.asnumpy(out[:, 0].copy()).any()
    wide = [Device(gpu).put(np.repeat(a, 2)[::2]) for a in (b, z)]
    assert same_bits(gpu.asnumpy(random.polya_gamma(*wide, rng=3)), expected)
    target = there[0].copy()
    assert random.polya_gamma(target, there[1], rng=3, out=target) is target
    assert same_bits(gpu.asnumpy(target), expected)
    assert all(same_bits(gpu.asnumpy(a), kept) for a, kept in zip(there, (b, z), strict=True))
    one = random.polya_gamma(1.5, 2.0, rng=3, device="cuda")
    assert type(one) is float and one == gpu.asnumpy(random.polya_gamma(1.5, 2.0, 3, rng=3, device="cuda"))[0]
    draws = PolyaGamma(*there).sample(rng=3)
    assert isinstance(draws, gpu.ndarray) and same_bits(gpu.asnumpy(draws), expected)


def test_errors(gpu, dtype):
    """As on the CPU; what was there is left alone."""
    out = gpu.full(3, 5, dtype)
    for b, z, words in [
        ([1, 0, 1], 0.0, "b must be > 0, got 0"),
        ([1, -2, 1], 0.0, "b must be > 0, got -2"),
        ([1, np.nan, 1], 0.0, "b must be finite in float.*, got nan"),
        ([1, 1, 1], np.inf, "z must be finite in float.*, got inf"),
        ([1, 1], 0.0, r"must broadcast to the shape of out, got \(3,\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            random.polya_gamma(gpu.asarray(np.array(b, dtype)), z, rng=1, out=out)
    assert (gpu.asnumpy(out) == 5).all()


def test_distribution(gpu):
    """Means and variances over both devices' ways; false alarms: 1e-5."""
    n = 20_000
    for b, z in [(0.5, 1.0), (1.0, 0.0), (4.5, 1.0), (13.5, 0.0), (2.0, 9.0)]:
        x, p = gpu.asnumpy(random.polya_gamma(b, z, n, rng=1, device="cuda")), PolyaGamma(b, z)
        assert abs(x.mean() - p.mean) < 5.2 * p.std / np.sqrt(n)
        assert abs(((x - p.mean) ** 2).mean() - p.var) < 5.2 * p.var * np.sqrt((p.kurtosis + 2) / n)
