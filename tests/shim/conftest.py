"""The test kernels' module, the stand-in for CuPy upon it, and processes that are meant to crash."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def _load(name):
    spec = importlib.util.spec_from_file_location(f"_lvm_test_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kernels_path():
    """The module of test kernels, kept between runs in the build folder, which git ignores."""
    pytest.importorskip("pybind11")
    build = _load("build")
    if not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("there is no C++ compiler")
    units = [[path] for path in (HERE / "test_kernels.cpp", *build.RUNTIME)]
    return build.build_shim(build.ROOT / "build" / "shim", units=units, name="_shim_kernels")


@pytest.fixture(scope="session")
def shim(kernels_path):
    """The module of test kernels, with SciPy's BLAS behind the libraries' stand-ins."""
    import scipy.linalg.cython_blas
    import scipy.linalg.cython_lapack

    module = _load("build").load_shim(kernels_path)
    module.install_blas(scipy.linalg.cython_blas.__pyx_capi__, scipy.linalg.cython_lapack.__pyx_capi__)
    module.install_shim_libraries()
    return module


@pytest.fixture(scope="session")
def cupy(shim):
    """The stand-in for CuPy."""
    return _load("fake_cupy").FakeCupy(shim)


@pytest.fixture
def dies(kernels_path):
    """A function that runs statements in a process of its own, which must end by a signal and with the message."""

    def run(statements, message=""):
        code = (
            "import importlib.util, numpy as np\n"
            f"spec = importlib.util.spec_from_file_location('_shim_kernels', {str(kernels_path)!r})\n"
            "k = importlib.util.module_from_spec(spec); spec.loader.exec_module(k)\n"
            "p = k.shim_malloc(80); k.shim_write(p, np.ones(10))\n"
        )
        command = [sys.executable, "-c", code + statements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode < 0, done.stdout + done.stderr
        assert message in done.stderr

    return run
