"""What is installed and in use, in words: for ``lvmfast info`` and the reports of ``lvmfast bench``."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import numpy
import scipy
from threadpoolctl import threadpool_info

import lvmfast
from lvmfast import _backend

__all__ = ["blas", "processor", "versions"]


def blas() -> tuple[str, int]:
    """Name with version, and threads, of SciPy's BLAS, which is the one in use; NumPy may bring another."""
    found = [p for p in threadpool_info() if p["user_api"] == "blas"]
    used = next((p for p in found if "scipy" in p["filepath"].lower()), found[0] if found else None)
    if used is None:
        return "not recognised by threadpoolctl", _backend.get_num_threads()
    architecture = f" ({used['architecture']})" if used.get("architecture") else ""
    return f"{used['internal_api']} {used['version'] or ''}".strip() + architecture, used["num_threads"]


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(distributions=()) -> dict[str, str]:
    """Of lvmfast, Python and its dependencies, and of those of ``distributions`` that are installed."""
    found = {"lvmfast": lvmfast.__version__, "python": platform.python_version()}
    found |= {"numpy": numpy.__version__, "scipy": scipy.__version__}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
