"""What a GPU brings with it: arrays of other libraries, other devices, little memory, streams."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from device.cases import Device, compare, same_bits
from device.error_cases import POINTS, L, U, rbf
from helpers import assert_near, spd, tolerance
from updates import in_order

import lvmfast as lvm
from lvmfast import _gpu, linalg
from lvmfast.exceptions import DeviceError, DeviceMemoryError


class Foreign:
    """Another library's array, which shows no more than its memory."""

    def __init__(self, array, **changes):
        self.array, self.shape, self.ndim, self.nbytes = array, array.shape, array.ndim, array.nbytes
        self.changes = changes

    @property
    def __cuda_array_interface__(self):
        return {**self.array.__cuda_array_interface__, **self.changes}


def test_arrays_of_other_libraries(gpu, rng, dtype):
    """Row-major, column-major, strided and read-only ones give the bits that CuPy's give, and are left alone."""
    A, B = spd(rng, 20, dtype=dtype), rng.standard_normal((20, 3)).astype(dtype)
    expected = linalg.cholesky_solve(linalg.cholesky(gpu.asarray(A)), gpu.asarray(B))
    wide = gpu.zeros((20, 6), dtype)
    wide[:, ::2] = gpu.asarray(B)
    column_major = Device(gpu).put(in_order(B, "F"))
    read_only = gpu.asarray(B)
    for view in (gpu.asarray(B), column_major, wide[:, ::2]):
        X = linalg.cholesky_solve(linalg.cholesky(Foreign(gpu.asarray(A))), Foreign(view))
        assert isinstance(X, gpu.ndarray)
        assert_near(gpu.asnumpy(X), gpu.asnumpy(expected), tolerance(dtype, 20, 100.0))
        assert same_bits(gpu.asnumpy(view), B)
    pointer = read_only.__cuda_array_interface__["data"][0]
    X = linalg.cholesky_solve(linalg.cholesky(gpu.asarray(A)), Foreign(read_only, data=(pointer, True)))
    assert same_bits(gpu.asnumpy(X), gpu.asnumpy(expected)) and same_bits(gpu.asnumpy(read_only), B)
    K = rbf(Foreign(gpu.asarray(B)), Foreign(wide[:, ::2]))
    assert same_bits(gpu.asnumpy(K), gpu.asnumpy(rbf(gpu.asarray(B), gpu.asarray(B))))


def test_results_do_not_go_into_arrays_of_other_libraries(gpu):
    """They could be read-only, or of a library that does not expect it."""
    there = gpu.asarray(L)
    foreign = Foreign(there, data=(there.__cuda_array_interface__["data"][0], True))
    calls = [
        lambda: linalg.solve_triangular(gpu.asarray(L), foreign, overwrite=True),
        lambda: linalg.cholesky_update(foreign, gpu.asarray(U), overwrite=True),
        lambda: linalg.cholesky_update(gpu.asarray(L), gpu.asarray(U), out=foreign),
        lambda: rbf(gpu.asarray(U), out=foreign),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="must be"):
            call()
        assert same_bits(gpu.asnumpy(there), L)


@pytest.mark.parametrize("kind", [np.float16, np.int32, np.uint8, bool])
def test_other_types_become_float64(gpu, kind):
    A = np.array([[4, 0], [0, 1]]).astype(kind)
    for there in (gpu.asarray(A), Foreign(gpu.asarray(A))):
        result = linalg.cholesky(there)
        assert same_bits(gpu.asnumpy(result), linalg.cholesky(A))
        assert same_bits(gpu.asnumpy(rbf(there)), rbf(A))
        assert same_bits(gpu.asnumpy(linalg.cholesky_update(gpu.eye(2), there)), linalg.cholesky_update(np.eye(2), A))


def test_big_endian_is_refused(gpu):
    with pytest.raises(ValueError, match="big-endian"):
        linalg.cholesky(Foreign(gpu.eye(2), typestr=">f8"))


def test_another_gpu(gpu):
    elsewhere = Foreign(gpu.eye(2))
    elsewhere.device = SimpleNamespace(id=1)
    for call in (linalg.cholesky, rbf, lambda A: linalg.cholesky_solve(gpu.eye(2), A)):
        with pytest.raises(DeviceError, match=r"an array lives on GPU 1, but the current device is GPU 0.*copy it"):
            call(elsewhere)


MEMORY = {
    "kernel": (lambda n, xp: (xp.ones((n, 2)),), rbf, r"an array of shape \(600, 600\) and dtype float64"),
    "cholesky": (lambda n, xp: (xp.eye(n),), linalg.cholesky, "the GPU has no room for"),
    "solve": (lambda n, xp: (xp.eye(n), xp.eye(n)), linalg.cholesky_solve, "the GPU has no room for"),
    "update": (lambda n, xp: (xp.eye(n), xp.ones((n, 3))), linalg.cholesky_update, "the GPU has no room for"),
    "vjp": (lambda n, xp: (xp.ones((n, 2)), None, xp.eye(n, dtype=np.float32)), rbf.vjp, "what vjp needs on the way"),
    "matmul": (lambda n, xp: (xp.ones((n, 2)), None, xp.ones((n, n))), rbf.matmul, "the GPU has no room for"),
}


@pytest.mark.parametrize("name", MEMORY)
def test_no_room(gpu, name):
    """The error says what was asked for; afterwards less fits."""
    arguments, call, words = MEMORY[name]
    large, small = arguments(600, gpu), arguments(20, gpu)
    pool = gpu.get_default_memory_pool()
    pool.free_all_blocks()
    before, used = pool.get_limit(), pool.used_bytes()
    pool.set_limit(size=pool.total_bytes() + (1 << 20))
    try:
        with pytest.raises(DeviceMemoryError, match=words) as caught:
            call(*large)
        assert "free_all_blocks" in str(caught.value) and isinstance(caught.value, MemoryError)
        del caught
        assert pool.used_bytes() <= used + (1 << 17)
        call(*small)
    finally:
        pool.set_limit(size=before)
    first = call(*large)
    compare(*(Device(gpu).fetched(result) for result in (first, call(*large))), 0.0)


def test_scratch_says_its_size(gpu):
    """Also where it is not an array that does not fit."""
    pool, L_there, U_there = gpu.get_default_memory_pool(), gpu.eye(600), gpu.zeros((600, 300))
    pool.free_all_blocks()
    before = pool.get_limit()
    pool.set_limit(size=pool.total_bytes() + 600 * 600 * 8 + 1000)
    try:
        with pytest.raises(DeviceMemoryError, match=r"no room for [\d,]+ bytes of scratch memory"):
            linalg.cholesky_update(L_there, U_there)
    finally:
        pool.set_limit(size=before)


def test_no_room_for_a_fit(gpu, rng):
    X, y = rng.standard_normal((300, 2)), rng.standard_normal(300)
    pool = gpu.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.get_limit()
    pool.set_limit(size=pool.total_bytes() + 300 * 300 * 8)
    try:
        for optimizer in (None, "lbfgs"):
            model = lvm.GPR(rbf, noise_variance=0.1, optimizer=optimizer, max_iter=2, device="cuda")
            with pytest.raises(DeviceMemoryError):
                model.fit(X, y)
            assert not hasattr(model, "L_")
        lvm.GPR(rbf, noise_variance=0.1, optimizer=None, device="cuda").fit(X[:20], y[:20]).predict(X[:5])
    finally:
        pool.set_limit(size=before)


def test_streams(gpu, monkeypatch):
    """Work goes to CuPy's current stream, and a model's to that of each call."""
    module, seen = _gpu.stack().module, []
    enter = module.enter
    monkeypatch.setattr(module, "enter", lambda stream, *rest: (seen.append(stream), enter(stream, *rest))[1])
    X, y = gpu.asarray(POINTS), gpu.arange(4.0)
    expected = gpu.asnumpy(linalg.cholesky(rbf(X)))
    model = lvm.GPR(rbf, noise_variance=0.1, optimizer=None).fit(X, y)
    sparse = lvm.SVGP(rbf, inducing=POINTS, max_iter=1).fit(X, y)
    mean, std = gpu.asnumpy(model.predict(X)), gpu.asnumpy(sparse.predict(X, return_std=True)[1])
    assert set(seen) == {gpu.cuda.get_current_stream().ptr}
    for _ in range(2):
        with gpu.cuda.Stream(non_blocking=True) as stream:
            seen.clear()
            result, again = linalg.cholesky(rbf(X)), model.predict(X)
            std_again = sparse.predict(X, return_std=True)[1]
            assert set(seen) == {stream.ptr}
            stream.synchronize()
            assert same_bits(gpu.asnumpy(result), expected) and same_bits(gpu.asnumpy(again), mean)
            assert same_bits(gpu.asnumpy(std_again), std)
