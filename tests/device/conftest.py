"""The GPU of these tests: the CUDA sources compiled for the host, always, and a real one where there is one."""

from __future__ import annotations

import gc
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl
from device.cases import Device

from lvmfast import _backend, _gpu, random

SEED = 7  # of the order in which simulated threads run
FAILED = pytest.StashKey[bool]()


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """So small, two BLAS threads gain nothing, and lose much where other processes keep the cores."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed


@pytest.fixture(scope="session")
def simulated():
    """lvmfast's stack upon the host module, which is compiled if the build folder has none of these sources."""
    pytest.importorskip("pybind11", reason="pybind11, which the simulated GPU needs, is not installed")
    if not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("there is no C++ compiler to build the simulated GPU")
    from scipy.linalg import cython_blas, cython_lapack
    from shim import build

    sanitize = os.environ.get("LVMFAST_SIMULATION_SANITIZE")  # see test_sanitized.py
    module = build.load_shim(build.build_shim(build.ROOT / "build" / "shim", sanitize=sanitize))
    module.install_blas(cython_blas.__pyx_capi__, cython_lapack.__pyx_capi__)
    gc.freeze()  # what is here stays: a search for garbage after a test need not look at it
    stack = _gpu.Stack(module, _stand_in(module), lambda m: m.install_shim_libraries())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_gpu, "_stack", stack)
        patch.setattr(_gpu, "_reason", None)
        random.polya_gamma(1, rng=0, device="cuda")  # its tables stay on the card: they are no test's
    return stack


def _stand_in(module):
    """The stand-in for CuPy, and what these tests ask of CuPy beyond it."""
    from shim.fake_cupy import FakeCupy

    class Cupy(FakeCupy):
        def asarray(self, a, dtype=None, order=None, *, blocking=False):
            """Other libraries' arrays too, as views, as CuPy has them."""
            if isinstance(a, self.ndarray) or not hasattr(a, "__cuda_array_interface__"):
                return self._function(np.asarray)(a, dtype, order)
            interface = a.__cuda_array_interface__
            kind = np.dtype(interface["typestr"])
            if kind.byteorder == ">":
                raise ValueError("CuPy does not support the big-endian byte-order")
            memory = self.cuda.UnownedMemory(interface["data"][0], a.nbytes, a)
            pointer, strides = self.cuda.MemoryPointer(memory, 0), interface.get("strides")
            return self.asarray(self.ndarray(interface["shape"], kind, pointer, strides), dtype, order)

    cupy = Cupy(module)
    cupy.ndarray.__str__ = lambda self: str(self.get())
    cupy.ndarray.__format__ = lambda self, form: format(self.get(), form)
    cupy.cuda.runtime.getDeviceProperties = lambda device: {"name": b"simulated"}
    return cupy


@pytest.fixture(params=["simulated", "cuda"])
def gpu(request, monkeypatch):
    """CuPy, or its stand-in; afterwards the simulated memory is whole, and nothing of it is kept."""
    if request.param == "cuda":
        stack = _gpu.usable()
        if stack is None:
            pytest.skip(f"the CUDA module is {_backend.cuda_status()}")
        yield stack.cupy
        return
    stack = request.getfixturevalue("simulated")
    shim, limit = stack.module, stack.module.shim_limit()
    monkeypatch.setattr(_gpu, "_stack", stack)
    monkeypatch.setattr(_gpu, "_reason", None)
    shim.shim_seed(SEED)
    before = shim.shim_live_bytes()
    yield stack.cupy
    shim.shim_set_limit(limit)
    shim.shim_check_margins()
    if not request.node.stash.get(FAILED, False) and shim.shim_live_bytes() > before:
        gc.collect()
        assert shim.shim_live_bytes() <= before, "device memory that nobody can reach is not free"


@pytest.fixture
def devices(gpu):
    """The CPU and the GPU, as the cases take them."""
    return SimpleNamespace(cpu=Device(np), gpu=Device(gpu))


@pytest.fixture
def seeded(gpu):
    """A function that runs simulated threads in another order; a real GPU has its own."""

    def seed(number):
        if hasattr(gpu, "shim"):
            gpu.shim.shim_seed(number)

    return seed
