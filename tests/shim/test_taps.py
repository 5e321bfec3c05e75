"""The GPU's convolutions, every kernel on every geometry, against sums over pixels and taps."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import taps as oracle

ANY, WIDE, TALL, SMALL, FEW_INPUTS, FEW_OUTPUTS = range(6)
LINEAR, RELU, GELU = 0, 1, 6
# large, small, kernel, strides, what lies before: 'same' and 'valid', odd sizes, one axis unlike the other.
SHAPES = {
    "3 x 3": (7, 6, 7, 6, 3, 3, 1, 1, 1, 1),
    "stride 2": (7, 6, 4, 3, 3, 3, 2, 2, 1, 0),
    "valid, 2 x 5": (9, 11, 8, 4, 2, 5, 1, 2, 0, 0),
    "stride 3 x 1, tap 1 x 4": (8, 5, 3, 5, 1, 4, 3, 1, 0, 1),
    "all in one pixel": (3, 4, 1, 1, 3, 4, 1, 1, 0, 0),
    "one row": (1, 9, 1, 5, 1, 3, 1, 2, 0, 1),
}


@pytest.fixture(scope="module")
def module():
    """The convolutions' module, kept in the build folder."""
    pytest.importorskip("pybind11")
    from shim import build

    if not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("there is no C++ compiler")
    names = ("taps_f32", "taps_f64", "context")
    sources = [build.HERE / "taps.cpp", *(build.ROOT / f"csrc/cuda/{name}.cu" for name in names), *build.RUNTIME]
    units = [[path] for path in sources]
    sanitize = os.environ.get("LVMFAST_SIMULATION_SANITIZE")
    folder = build.ROOT / "build" / "shim"
    loaded = build.load_shim(build.build_shim(folder, sanitize=sanitize, units=units, name="_shim_taps"))
    loaded.install_shim_libraries()
    return loaded


@pytest.fixture(scope="module")
def gpu(module):
    from shim.fake_cupy import FakeCupy

    return FakeCupy(module)


class Taps:
    """Calls of the kernels with NumPy arrays."""

    def __init__(self, module, gpu, dtype, shape, to_small, n, depth, columns):
        self.module, self.gpu, self.dtype = module, gpu, np.dtype(dtype)
        self.numbers = [*shape, int(to_small)]
        self.bits = 8 * self.dtype.itemsize
        self.out = (n, *(shape[2:4] if to_small else shape[:2]), columns)
        self.arguments = (self.numbers, depth, columns, n)

    def put(self, array, shift=0):
        """On the device, ``shift`` numbers from where memory starts."""
        there = self.gpu.empty(array.size + shift, self.dtype)
        there[shift:] = self.gpu.asarray(array.astype(self.dtype).ravel())
        return there, there.data.ptr + shift * self.dtype.itemsize

    def product(self, x, w, bias=None, activation=LINEAR, add=None, kernel=ANY, shift=0):
        kept = [self.put(x, shift), self.put(w), self.put(bias) if bias is not None else (None, 0)]
        out, pre = self.gpu.full(self.out, np.nan, self.dtype), self.gpu.full(self.out, np.nan, self.dtype)
        if add is not None:
            out = self.gpu.asarray(add.astype(self.dtype))
        call = getattr(self.module, f"product{self.bits}")
        pointers = (kept[0][1], kept[1][1], kept[2][1], out.data.ptr, pre.data.ptr if activation == GELU else 0)
        call(*self.arguments, *pointers, activation, add is not None, kernel)
        return (out.get(), pre.get()) if activation == GELU else out.get()

    def outer(self, x, target, shape, shift=0):
        x, target = self.put(x, shift), self.put(target)
        d_w = self.gpu.full(shape, np.nan, self.dtype)
        call = getattr(self.module, f"outer{self.bits}")
        partial = self.gpu.full(call(*self.arguments, x[1], target[1], 0, 0), np.nan, self.dtype)
        call(*self.arguments, x[1], target[1], partial.data.ptr, d_w.data.ptr)
        return d_w.get()


def numbers(rng, shape, to_small, n, depth, columns):
    """The source image, its weights as they lie, and the target's cotangents."""
    image, other = (shape[:2], shape[2:4]) if to_small else (shape[2:4], shape[:2])
    w = rng.standard_normal((*shape[4:6], *((depth, columns) if to_small else (columns, depth))))
    return rng.standard_normal((n, *image, depth)), w, rng.standard_normal((n, *other, columns))


@pytest.mark.parametrize("name", SHAPES)
def test_axes(module, name):
    """Each pair of pixels once, and each pixel of the result."""
    shape = SHAPES[name]
    for axis in (0, 1):
        sizes = shape[axis], shape[2 + axis], shape[4 + axis], shape[6 + axis], shape[8 + axis]
        expected = oracle.pairs(*sizes)
        for small in (True, False):
            found = module.axis(*sizes, small)
            pixels = sorted(target for target, tap, _ in found if tap < 0)
            assert pixels == list(range(sizes[1] if small else sizes[0]))
            found = [(t, u, s) if small else (s, u, t) for t, u, s in found if u >= 0 and s >= 0]
            assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kernel", [WIDE, TALL, SMALL, FEW_INPUTS, FEW_OUTPUTS])
def test_products(module, gpu, rng, dtype, name, kernel):
    """Both directions, whole vectors of channels and others, sums that are added, and an image that begins anywhere."""
    shape = SHAPES[name]
    sizes = {FEW_INPUTS: ((1, 5), (1, 8)), FEW_OUTPUTS: ((36, 1), (3, 4), (8, 3))}.get(kernel, ((12, 36), (3, 5)))
    for to_small in (True, False):
        for depth, columns in sizes:
            x, w, out = numbers(rng, shape, to_small, 3, depth, columns)
            taps = Taps(module, gpu, dtype, shape, to_small, 3, depth, columns)
            expected = out + (oracle.to_small if to_small else oracle.to_large)(shape, x, w)
            allowed = tolerance(dtype, shape[4] * shape[5] * depth)
            for shift in (0, 1):
                assert_near(taps.product(x, w, add=out, kernel=kernel, shift=shift), expected, allowed)


@pytest.mark.parametrize("name", SHAPES)
def test_outer_products(module, gpu, rng, dtype, name):
    """Either side gathered, small tiles and large, one split and several."""
    shape = SHAPES[name]
    for n, depth, columns in ((2, 36, 40), (3, 3, 5), (60, 4, 8) if name == "stride 2" else (2, 1, 36)):
        for to_small in (True, False):
            x, w, target = numbers(rng, shape, to_small, n, depth, columns)
            taps = Taps(module, gpu, dtype, shape, to_small, n, depth, columns)
            expected = oracle.weights(shape, *((x, target) if to_small else (target, x)))
            for shift in (0, 1) if depth == 36 else (0,):
                d_w = taps.outer(x, target, w.shape, shift)
                assert_near(d_w, expected, tolerance(dtype, n * shape[2] * shape[3]))


def test_epilogues(module, gpu, rng, dtype):
    """Bias, activation and, for a gelu, what goes into it; the same bits from all tiles and in any order of threads."""
    shape, sizes = SHAPES["stride 2"], (False, 3, 8, 12)
    x, w, _ = numbers(rng, shape, *sizes)
    taps, bias = Taps(module, gpu, dtype, shape, *sizes), rng.standard_normal(12)
    expected = oracle.to_large(shape, x, w) + bias
    results = []
    for seed, kernel in enumerate((WIDE, TALL, SMALL)):
        module.shim_seed(seed)
        results.append(taps.product(x, w, bias, GELU, kernel=kernel))
        assert_near(results[-1][1], expected, tolerance(dtype, 72))
        assert all(np.array_equal(a, b) for a, b in zip(results[0], results[-1], strict=True))
    y = taps.product(x, w, bias, RELU)
    np.testing.assert_array_equal(y, np.maximum(results[0][1], 0))


def test_sums_in_any_order(module, gpu, rng):
    """Weights' gradients of several splits have the same bits whatever block comes first."""
    shape, sizes = SHAPES["3 x 3"], (True, 40, 3, 5)
    x, w, target = numbers(rng, shape, *sizes)
    taps, results = Taps(module, gpu, np.float32, shape, *sizes), []
    for seed in range(3):
        module.shim_seed(seed)
        results.append(taps.outer(x, target, w.shape))
    assert all(np.array_equal(results[0], other) for other in results)


@pytest.mark.parametrize("rows, columns", [(1, 1), (300, 1), (700, 33), (5, 600)])
def test_pull_backs(module, gpu, rng, dtype, rows, columns):
    """g and the sums of its columns; without an activation g is not touched."""
    d, y = rng.standard_normal((2, rows, columns)).astype(dtype)
    there, at = gpu.asarray(d), gpu.asarray(y)
    call = module.pull32 if dtype == np.float32 else module.pull64
    for activation, expected in ((RELU, np.where(y > 0, d, 0)), (LINEAR, d)):
        g, d_bias = gpu.full((rows, columns), np.nan, dtype), gpu.empty(columns, dtype)
        partial = gpu.empty(call(rows, columns, 0, 0, 0, 0, 0, activation))
        call(rows, columns, there.data.ptr, at.data.ptr, g.data.ptr, d_bias.data.ptr, partial.data.ptr, activation)
        if activation == LINEAR:
            assert np.isnan(g.get()).all()
        else:
            np.testing.assert_array_equal(g.get(), expected)
        assert_near(d_bias.get(), expected.astype(float).sum(0), tolerance(dtype, rows))


def test_replays(module, gpu, rng):
    """A layer forward and back takes no memory and waits for nothing: a graph of it does the same for other images."""
    shape, sizes = SHAPES["stride 2"], (True, 50, 4, 8)
    _, w, _ = numbers(rng, shape, *sizes)
    taps, bias = Taps(module, gpu, np.float32, shape, *sizes), rng.standard_normal(8)
    held = [taps.put(array)[0] for array in (np.zeros((50, *shape[:2], 4)), w, bias)]
    parts, partial = module.outer32(*taps.arguments, 0, 0, 0, 0), module.pull32(50 * 12, 8, 0, 0, 0, 0, 0, RELU)
    assert parts > w.size  # several splits
    held += [gpu.empty(taps.out, np.float32), gpu.empty(taps.out, np.float32), gpu.empty(8, np.float32)]
    held += [gpu.empty(partial), gpu.empty(parts, np.float32), gpu.empty(w.shape, np.float32)]
    replayed, before = module.Replayed(), module.shim_replays()
    for _ in range(4):
        x = rng.standard_normal((50, *shape[:2], 4)).astype(np.float32)
        held[0][:] = gpu.asarray(x.ravel())
        replayed.run(*taps.arguments, [array.data.ptr for array in held])
        y = taps.product(x, w, bias, RELU)
        assert np.array_equal(held[3].get(), y) and np.array_equal(held[4].get(), y)
        assert_near(held[5].get(), y.astype(float).sum((0, 1, 2)), tolerance(np.float32, 50 * 12))
        assert np.array_equal(held[8].get(), taps.outer(x, y, w.shape))
    assert module.shim_replays() >= before + 2


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_steps_from_memory(module, gpu, rng, kind):
    """A rate in memory is as good as one by value; a scale below zero or NaN changes nothing."""
    start = rng.standard_normal((4, 300)).astype(np.float32)
    start[2] = start[2] ** 2
    results = []
    for scale, rate, by_value in ((0.5, 0.1, True), (0.5, 0.1, False), (-1.0, 0.1, False), (np.nan, 0.1, False)):
        vectors, held = [gpu.asarray(row) for row in start], gpu.asarray(np.array([scale, rate]))
        at = held.data.ptr
        module.step(kind, 300, [v.data.ptr for v in vectors], at, rate if by_value else 7.0, 0 if by_value else at + 8)
        results.append(np.array([v.get() for v in vectors]))
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[0][0], start[0])
    assert np.array_equal(results[2], start) and np.array_equal(results[3], start)
