"""The CUDA shim itself: kernels run as they should, and mistakes in them show."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest


@pytest.mark.parametrize("n, block", [(1, 32), (1000, 256), (5000, 1024)])
def test_block_sums(shim, cupy, rng, n, block):
    x = rng.normal(size=n)
    device, sums = cupy.asarray(x), cupy.empty(-(-n // block))
    for seed in range(3):
        shim.shim_seed(seed)
        assert shim.sums(n, device.data.ptr, sums.data.ptr, block, False) == "cudaSuccess"
        np.testing.assert_allclose(sums.get(), np.add.reduceat(x, np.arange(0, n, block)), atol=1e-12)


def test_missing_barrier_shows(shim, cupy, rng):
    device, sums = cupy.asarray(rng.normal(size=256)), cupy.empty(1)
    seen = set()
    for seed in range(5):
        shim.shim_seed(seed)
        shim.sums(256, device.data.ptr, sums.data.ptr, 256, True)
        seen.add(float(sums[0]))
    assert len(seen) > 1


@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_shuffles(shim, cupy, dtype):
    x = np.arange(64, dtype=dtype) ** 2
    device, out = cupy.asarray(x), cupy.empty((4, 64), dtype)
    assert shim.shuffles(device.data.ptr, out.data.ptr, 64, dtype == np.float64) == "cudaSuccess"
    sums = x.reshape(2, 32).sum(1).repeat(32)
    lane = np.arange(64)
    expected = [sums, sums, x.reshape(2, 32).cumsum(1).ravel(), x[lane // 8 * 8 + (lane + 1) % 8]]
    np.testing.assert_array_equal(out.get(), expected)


def test_ballot_of_halves(shim, cupy):
    out = cupy.empty(32, np.uint32)
    shim.ballot(out.data.ptr)
    threes = sum(1 << lane for lane in range(0, 32, 3))
    np.testing.assert_array_equal(out.get(), [threes & 0x55555555, threes & 0xAAAAAAAA] * 16)


def test_atomics(shim, cupy):
    counts, total, most = cupy.zeros(2, np.int32), cupy.zeros(1), cupy.zeros(1, np.uint64)
    assert shim.atomics(counts.data.ptr, total.data.ptr, most.data.ptr) == "cudaSuccess"
    assert counts.get().tolist()[0] == 5 * 64
    assert float(total[0]) == 160 and int(most[0]) == 7


def test_blocks_wait_for_each_other(shim, cupy):
    for seed in range(5):
        shim.shim_seed(seed)
        ticket, flags, running = cupy.zeros(1, np.int32), cupy.zeros(40, np.int32), cupy.empty(40)
        shim.chain(40, ticket.data.ptr, flags.data.ptr, running.data.ptr)
        np.testing.assert_array_equal(running.get(), np.arange(40).cumsum())


def test_fresh_memory_is_nan(shim, cupy):
    out = cupy.empty(3)
    assert np.isnan(out.get()).all()
    shim.read_shared(5, 48, out.data.ptr)
    assert np.isnan(out.get()[0])


@pytest.mark.parametrize(
    "options, error",
    [
        ({"threads": 1025}, "cudaErrorInvalidConfiguration"),
        ({"threads": 0}, "cudaErrorInvalidConfiguration"),
        ({"n": 0}, "cudaErrorInvalidConfiguration"),
        ({"shared": 49 * 1024}, "cudaErrorInvalidValue"),
        ({"stream": 12345}, "cudaErrorInvalidResourceHandle"),
    ],
)
def test_refused_launches(shim, cupy, options, error):
    x = cupy.ones(4, np.float32)
    assert shim.scale(**{"n": 4, "factor": 2, "x": x.data.ptr, **options}) == error
    assert shim.scale(4, 2, x.data.ptr) == "cudaSuccess"  # the error is gone
    np.testing.assert_array_equal(x.get(), 2)


def test_more_shared_memory_where_allowed(shim, cupy):
    x = cupy.ones(4, np.float32)
    assert shim.allow_shared(228 * 1024) == "cudaErrorInvalidValue"
    assert shim.allow_shared(100 * 1024) == "cudaSuccess"
    assert shim.scale(4, 2, x.data.ptr, shared=100 * 1024) == "cudaSuccess"
    assert shim.allow_shared(48 * 1024) == "cudaSuccess"


def test_capture_and_replay(shim, cupy):
    x, y, host = cupy.ones(4, np.float32), cupy.zeros(4, np.float32), np.full(4, 3, np.float32)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        assert shim.begin_capture(stream.ptr) == "cudaSuccess"
        assert shim.copy(y.data.ptr, host.ctypes.data, 16, 1, stream.ptr) == "cudaSuccess"
        assert shim.scale(4, 2, y.data.ptr, stream.ptr) == "cudaSuccess"
        assert shim.copy(x.data.ptr, y.data.ptr, 16, 3, stream.ptr) == "cudaSuccess"
        with pytest.raises(RuntimeError, match="captured"):
            x + 1
        graph = shim.end_capture(stream.ptr)
        np.testing.assert_array_equal(x.get(), 1)  # nothing has run
        for value in (3, 5):
            host[:] = value
            assert shim.replay(graph, stream.ptr) == "cudaSuccess"
            np.testing.assert_array_equal(x.get(), 2 * value)
        shim.destroy_graph(graph)
        assert shim.replay(graph, stream.ptr) == "cudaErrorInvalidValue"


def test_library_calls_are_recorded(shim, cupy):
    a, b, c = cupy.ones((2, 2)), cupy.full((2, 2), 3.0), cupy.zeros((2, 2))
    with cupy.cuda.Stream(non_blocking=True) as stream:
        shim.begin_capture(stream.ptr)
        assert shim.gemm(0, 0, 2, 2, 2, 1, a.data.ptr, 2, b.data.ptr, 2, 0, c.data.ptr, 2, stream.ptr) == 0
        graph = shim.end_capture(stream.ptr)
        assert not c.get().any()
        shim.replay(graph, stream.ptr)
        np.testing.assert_array_equal(c.get(), 6)
        shim.destroy_graph(graph)


def test_captures_are_spoiled(shim, cupy):
    stream = cupy.cuda.Stream()
    assert shim.begin_capture(0) == "cudaErrorStreamCaptureUnsupported"
    x = cupy.ones(4, np.float32)
    spoilers = {
        "cudaErrorStreamCaptureUnsupported": lambda: shim.synchronize(stream.ptr),
        "cudaErrorStreamCaptureImplicit": lambda: shim.scale(4, 2, x.data.ptr, 0),
    }
    for error, spoil in spoilers.items():
        assert shim.begin_capture(stream.ptr) == "cudaSuccess"
        assert spoil() == error
        assert shim.end_capture(stream.ptr) == "cudaErrorStreamCaptureInvalidated"
    shim.begin_capture(stream.ptr)
    with pytest.raises(ValueError, match="not permitted"):
        shim.shim_malloc(8)
    assert shim.end_capture(stream.ptr) == "cudaErrorStreamCaptureInvalidated"


def test_copies_to_pinned_memory_are_late(shim, cupy):
    x, address = cupy.ones(4), shim.pinned(32)
    host = np.ctypeslib.as_array((ctypes.c_double * 4).from_address(address))
    shim.copy(address, x.data.ptr, 32, 2, 0)
    assert np.isnan(host).all()
    shim.synchronize(0)
    np.testing.assert_array_equal(host, 1)
    shim.free_pinned(address)


def test_limit(shim, cupy):
    before = shim.shim_limit()
    keep = cupy.ones(10)
    shim.shim_set_limit(shim.shim_live_bytes() + 1000)
    try:
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="Out of memory allocating 1,008 bytes"):
            cupy.empty(126)
        assert float(keep.sum()) == 10
    finally:
        shim.shim_set_limit(before)


@pytest.mark.parametrize(
    "statements, message",
    [
        ("k.write(10, p)", ""),  # past the end: the guard page
        ("k.write(-1, p); k.shim_check_margins()", "bytes before the device memory"),
        ("k.shim_free(p); k.write(0, p)", ""),
        ("k.dereference(p)", ""),
        ("k.scale(1, 1, p); k.dereference(p)", ""),
        ("k.read_shared(6, 48, p)", ""),
        ("k.read_shared(0, 0, p)", ""),
        ("x = np.ones(10**6); k.write(0, x.ctypes.data)", "argument 2 holds a pointer to host memory"),
        ("x = np.ones(3); k.write(0, x.ctypes.data)", "argument 2 holds a pointer to host memory"),
        ("k.view_of_host(p)", "kernel view_kernel: argument 1 holds a pointer to host memory"),
        ("k.copy(p, p, 8, 1, 0)", "is device memory, not host memory"),
        ("x = np.ones(3); k.copy(p, x.ctypes.data, 8, 3, 0)", "is not device memory"),
        ("k.copy(p + 8, p, 80, 3, 0)", "run past the device memory of 80 bytes"),
        ("k.shim_write(p, np.zeros(10)); k.half_barrier(p)", "kernel half_barrier_kernel: deadlock"),
        ("k.two_barriers(p)", "meet at different barriers"),
        (
            "h = k.pinned(8); k.copy(p, h, 8, 1, 0)\n"
            "import ctypes; ctypes.c_double.from_address(h).value = 4; k.synchronize(0)",
            "changed while it may still have been copied from",
        ),
    ],
)
def test_mistakes_end_the_process(dies, statements, message):
    dies(statements, message)


def test_absent_lanes_give_nothing(shim, cupy):
    out = cupy.empty(8, np.int32)
    shim.empty_lanes(out.data.ptr)
    np.testing.assert_array_equal(out.get(), -1)
