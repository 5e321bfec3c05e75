"""A part of the cases again, in a process of its own, on kernels compiled with the address and undefined sanitizers.

Simulated device memory then comes from malloc, so that every read and write beyond an array is seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMES = ("cholesky", "update", "solve", "RBF", "RationalQuadratic", "Linear", "deep", "polya_gamma")
CASES = f"simulated and float64 and (test_parity.py and test_parity and ({' or '.join(NAMES)}))"


def _library(name: str) -> str | None:
    """Where the compiler has a library, if it has it."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        return None
    path = subprocess.run(
        [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return path if os.path.isabs(path) else None


def test_sanitizers_find_nothing(simulated, tmp_path):
    libraries = [_library(name) for name in ("libasan.so", "libubsan.so", "libstdc++.so")]
    if None in libraries:
        pytest.skip("the compiler has no sanitizers")
    environment = dict(
        os.environ,
        LVMFAST_SIMULATION_SANITIZE="address,undefined",
        LD_PRELOAD=" ".join(libraries),
        ASAN_OPTIONS="detect_leaks=0:halt_on_error=1",
        PYTHONMALLOC="malloc",
        LVMFAST_NUM_THREADS="1",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        CASES,
        str(HERE / "test_parity.py"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    report = done.stdout[-4000:] + done.stderr[-8000:]
    assert done.returncode == 0, report
    assert "passed" in done.stdout and "runtime error" not in report and "AddressSanitizer" not in report, report
