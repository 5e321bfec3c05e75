"""Fixtures that change what lvmfast keeps for the process, and put it back; the same examples in every run."""

from __future__ import annotations

import contextlib

import hypothesis
import numpy as np
import pytest
import threadpoolctl

import lvmfast as lvm
from lvmfast import _backend, _gpu

hypothesis.settings.register_profile("lvmfast", derandomize=True, database=None, deadline=None, max_examples=50)
hypothesis.settings.load_profile("lvmfast")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """``pytest`` without arguments takes a process for each processor, where pytest-xdist is installed.

    Not on a GPU, whose memory some tests fill.
    """
    if hasattr(config, "workerinput"):
        return
    option, everything = config.option, config.args_source == pytest.Config.ArgsSource.TESTPATHS
    asked = not config.pluginmanager.hasplugin("xdist") or option.numprocesses is not None or option.dist != "no"
    if everything and not (asked or option.keyword or option.usepdb) and _gpu.usable() is None:
        option.numprocesses, option.dist = _backend.available_cpus(), "loadfile"


@pytest.fixture(params=_backend.cpu.instruction_sets())
def instruction_set(request):
    """Every set of kernels that this processor can run, in turn."""
    before = _backend.cpu.instruction_set()
    assert _backend.cpu.use_instruction_set(request.param)
    yield request.param
    _backend.cpu.use_instruction_set(before)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Both real types."""
    return request.param


@pytest.fixture(params=["C", "F"])
def order(request):
    """Row-major and column-major matrices."""
    return request.param


@pytest.fixture(autouse=True, scope="module")
def few_threads(request):
    """One BLAS thread in tests/models: so small, two gain nothing, and lose much where other processes keep the cores.

    Where pytest-xdist runs the tests, it is these processes that keep them: one BLAS thread everywhere, and one of
    ours but in tests/ops, where loops over two are seen.
    """
    worker, before = hasattr(request.config, "workerinput"), lvm.get_num_threads()
    one = worker or "models" in request.path.parts
    if worker:
        _backend.cpu.set_num_threads(2 if "ops" in request.path.parts else 1)
    with threadpoolctl.threadpool_limits(1, user_api="blas") if one else contextlib.nullcontext():
        yield
    _backend.cpu.set_num_threads(before)


@pytest.fixture
def set_num_threads(monkeypatch):
    """``lvmfast.set_num_threads``, undone afterwards."""
    before = lvm.get_num_threads()
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    blas = [(library, library.get_num_threads()) for library in libraries]
    monkeypatch.setattr(_backend, "_blas_limit", _backend._blas_limit)
    yield lvm.set_num_threads
    _backend.cpu.set_num_threads(before)
    for library, size in blas:
        library.set_num_threads(size)


@pytest.fixture
def cuda():
    """CuPy, where this build and this machine can use a GPU; elsewhere the test is skipped and says why."""
    stack = _gpu.usable()
    if stack is None:
        pytest.skip(f"lvmfast._cuda is {_backend.cuda_status()}")
    return stack.cupy


@pytest.fixture
def rng():
    """A generator that starts anew for every test."""
    return np.random.default_rng(20240229)
