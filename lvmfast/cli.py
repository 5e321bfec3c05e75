"""The command ``lvmfast``: what is installed, the demos, and the benchmarks."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from lvmfast import _bench
from lvmfast.demos import _registry


def info() -> str:
    """Version, compiler, instruction set, BLAS, threads and devices, one per line."""
    from lvmfast import _backend, _machine

    known, (blas, blas_threads) = _machine.versions(), _machine.blas()
    module = _backend.cpu
    rows = {
        "lvmfast": known["lvmfast"],
        "Python": f"{known['python']} on {platform.system()} {platform.machine()}",
        "NumPy, SciPy": f"{known['numpy']}, {known['scipy']}",
        "compiler": module.compiler,
        "instruction set": f"{module.instruction_set()} (of {', '.join(module.instruction_sets())})",
        "BLAS (SciPy's)": f"{blas}, {blas_threads} threads, {_backend.blas_integer_bits}-bit integers",
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
    bench = commands.add_parser("bench", help="times beside other libraries", description=_bench.__doc__)
    _bench.add_arguments(bench)
    bench.set_defaults(function=_bench.main)
    demo = commands.add_parser("demo", help="run a whole workflow; without a name, list them")
    _registry.add_commands(demo)
    return parser


def main(argv=None) -> int:
    """Entry point; returns the exit status, 130 after Ctrl-C."""
    arguments = vars(build_parser().parse_args(argv))
    try:
        status = arguments.pop("function")(**arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("lvmfast: interrupted", file=sys.stderr)
        return 130
