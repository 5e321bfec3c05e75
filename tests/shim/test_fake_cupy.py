"""The stand-in for CuPy computes as NumPy does, and refuses what CuPy refuses."""

from __future__ import annotations

import numpy as np
import pytest


def test_round_trip_and_orders(cupy, rng):
    x = rng.normal(size=(3, 4))
    for order in "CF":
        device = cupy.asarray(np.asarray(x, order=order))
        assert (device.flags.c_contiguous, device.flags.f_contiguous) == (order == "C", order == "F")
        assert device.flags["OWNDATA"]
        with pytest.raises(KeyError):
            device.flags["WRITEABLE"]
        np.testing.assert_array_equal(device.get(), x)
        assert device.get().flags.c_contiguous
        np.testing.assert_array_equal(cupy.asnumpy(device), x)
    assert cupy.asarray(device) is device
    assert cupy.ascontiguousarray(device) is not device
    assert not cupy.may_share_memory(cupy.array(device), device)


def test_views_share_memory(cupy):
    x = cupy.zeros((3, 4))
    row, reverse = x[1], x[::-1, ::2]
    assert row.data.ptr == x.data.ptr + 32 and row.data.mem is x.data.mem and row.base is x
    assert reverse.strides == (-32, 16) and reverse.data.ptr == x.data.ptr + 64
    reverse += 1
    row[0] = 5
    x.T[3, 2] = 7
    np.testing.assert_array_equal(x.get(), [[1, 0, 1, 0], [5, 0, 1, 0], [1, 0, 1, 7]])
    assert x[0, 0].shape == () and x[0, 0].data.ptr == x.data.ptr
    assert x.ravel().data.ptr == x.data.ptr != x.T.ravel().data.ptr
    assert cupy.diagonal(x).data.ptr == x.data.ptr


def test_views_keep_the_memory(cupy, shim):
    before = shim.shim_live_bytes()
    view = cupy.ones(1000)[10:20]
    assert shim.shim_live_bytes() == before + 8000
    assert float(view.sum()) == 10
    del view
    assert shim.shim_live_bytes() == before


def test_results_are_arrays(cupy):
    x = cupy.arange(6.0).reshape(2, 3)
    for result in (x.sum(), x.max(), cupy.mean(x), cupy.allclose(x, x), x[0, 0], x == 1, cupy.sqrt(x), np.sqrt(x)):
        assert isinstance(result, cupy.ndarray)
    assert float(x.sum()) == 15 and int(x.argmax()) == 5 and bool((x >= 0).all())
    np.testing.assert_array_equal((2 * x @ x.T - np.float64(1)).get(), [[9, 27], [27, 99]])
    np.testing.assert_array_equal(np.tril(x).get(), np.tril(x.get()))
    np.testing.assert_array_equal(cupy.stack([x, x])[1].get(), x.get())
    assert [float(v) for v in x[0]] == [0, 1, 2] and len(x) == 2
    assert x.astype(np.float64, copy=False) is x and x.astype(np.float32).dtype == np.float32
    assert cupy.result_type(x, np.float32) == np.float64 and cupy.ndim(x) == 2
    out = cupy.empty(3)
    assert cupy.add(x[0], 1, out=out) is out
    np.testing.assert_array_equal(out.get(), [1, 2, 3])


def test_nothing_is_converted_silently(cupy):
    x, host = cupy.ones(3), np.ones(3)
    for convert in (np.asarray, np.array, lambda v: host.__setitem__(slice(None), v)):
        with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
            convert(x)
    for mix in (
        lambda: x + host,
        lambda: host + x,
        lambda: x == host,
        lambda: cupy.dot(x, host),
        lambda: cupy.sqrt(host),
        lambda: x.__setitem__(slice(None), host),
        lambda: x.__iadd__(host),
        lambda: cupy.stack([x, host]),
    ):
        with pytest.raises(TypeError, match="Unsupported type <class 'numpy.ndarray'>"):
            mix()
    with pytest.raises(TypeError):
        np.stack([x, host])
    with pytest.raises(TypeError):
        hash(x)


@pytest.mark.parametrize("name", ["block", "row_stack_", "testing", "random", "errstate", "unstack", "char"])
def test_names_that_cupy_lacks(cupy, name):
    with pytest.raises(AttributeError, match="has no attribute"):
        getattr(cupy, name)


def test_linalg(cupy, rng):
    x = rng.normal(size=(4, 6))
    a = cupy.asarray(x @ x.T)
    np.testing.assert_allclose(cupy.linalg.cholesky(a).get(), np.linalg.cholesky(x @ x.T))
    u, s, vh = cupy.linalg.svd(a)
    np.testing.assert_allclose(((u * s) @ vh).get(), x @ x.T)
    assert cupy.linalg.eigh(a)[0].shape == (4,)
    assert np.isnan(cupy.linalg.cholesky(-a).get()).all()  # CuPy does not raise
    with pytest.raises(AttributeError):
        cupy.linalg.multi_dot  # noqa: B018


def test_cuda(cupy, shim):
    x = cupy.ones((2, 3), np.float32)
    assert x.device.id == 0 and cupy.cuda.runtime.getDeviceCount() == 1
    assert cupy.cuda.get_current_stream().ptr == 0
    with cupy.cuda.Stream(non_blocking=True) as stream:
        assert cupy.cuda.get_current_stream() is stream and stream.ptr
        stream.synchronize()
    interface = x.T.__cuda_array_interface__
    assert interface["data"] == (x.data.ptr, False) and interface["strides"] == (4, 12)
    assert x.__cuda_array_interface__["strides"] is None
    pointer = cupy.cuda.alloc(48)
    made = cupy.ndarray((2, 2), np.float64, memptr=pointer + 16, strides=(8, 16))
    assert made.data.ptr == pointer.ptr + 16 and made.flags.f_contiguous
    assert cupy.cuda.device.get_cublas_handle() and cupy.cuda.device.get_cusolver_handle()
    foreign = cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(x.data.ptr, x.nbytes, x), 0)
    np.testing.assert_array_equal(cupy.ndarray((6,), np.float32, foreign).get(), 1)
    assert cupy.get_array_module(1, x) is cupy and cupy.get_array_module(np.ones(2)) is np
    assert cupy.empty((0, 3)).get().shape == (0, 3) and cupy.get_default_memory_pool().used_bytes() > 0
