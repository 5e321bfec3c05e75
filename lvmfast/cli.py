"""The command ``lvmfast``: what is installed, and the demos."""

from __future__ import annotations

import argparse
import platform

from lvmfast.demos import _registry


def info() -> str:
    """Version, compiler, instruction set, BLAS, threads and devices, one per line."""
    import numpy
    import scipy
    from threadpoolctl import threadpool_info

    import lvmfast
    from lvmfast import _backend

    # SciPy's BLAS is the one in use; NumPy may bring another.
    blas = [p for p in threadpool_info() if p["user_api"] == "blas"]
    used = next((p for p in blas if "scipy" in p["filepath"].lower()), blas[0] if blas else None)
    if used is None:
        found = "not recognised by threadpoolctl"
    else:
        found = f"{used['internal_api']} {used['version'] or ''}".strip()
        found += f" ({used['architecture']})" if used.get("architecture") else ""
        found += f", {used['num_threads']} threads"
    module = _backend.cpu
    rows = {
        "lvmfast": lvmfast.__version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "NumPy, SciPy": f"{numpy.__version__}, {scipy.__version__}",
        "compiler": module.compiler,
        "instruction set": f"{module.instruction_set()} (of {', '.join(module.instruction_sets())})",
        "BLAS (SciPy's)": f"{found}, {_backend.blas_integer_bits}-bit integers",
        "threads": f"{module.num_threads()} of {_backend.available_cpus()} processors",
        "CUDA module": _backend.cuda_status(),
        "CuPy": _backend.cupy_status(),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def show_info() -> int:
    """``lvmfast info``."""
    print(info())
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line: each command's parser holds, as ``function``, what takes its arguments and does the work."""
    parser = argparse.ArgumentParser(prog="lvmfast", description=__doc__)
    commands = parser.add_subparsers(metavar="command", required=True)
    commands.add_parser("info", help="what is installed and in use").set_defaults(function=show_info)
    demo = commands.add_parser("demo", help="run a whole workflow; without a name, list them")
    _registry.add_commands(demo)
    return parser


def main(argv=None) -> int:
    """Entry point; returns the exit status."""
    arguments = vars(build_parser().parse_args(argv))
    return arguments.pop("function")(**arguments)
