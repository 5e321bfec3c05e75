"""Times on a GPU beside the peers on the same card, in pairs: ``python benchmarks/ratios_cuda.py [case ...]``.

Cases (all by default): gplvm, gram, gram_vjp, update, batch, gpr, matmul, normal, polya_gamma; see ``peers/cuda.py``.
``--quick`` has small problems and few pairs.

Every row: the fastest of our times and of theirs, theirs / ours as min / median / max over the pairs; the floor, the
longer of bytes / copy bandwidth and operations / rate of a matrix product in that dtype, both measured in this run, and
the part of it that we reach (1 is the floor itself); and what one evaluation takes from the memory pool beyond its
inputs, ours and theirs (not known for JAX). A time is that of a call and of the wait for the device.

Answers are compared with plain NumPy on small problems first; at the size that is timed, ours with theirs, last rows
only. What disagrees, or fails, is said in its row, the others go on, and the script ends with status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import importlib.metadata
import subprocess
import sys
import time

import numpy as np
from peers.cuda import Batch, Draws, Gram, PolyaGammaDraws, Product, Unavailable, Update, cupy, host
from peers.cuda_models import Gplvm, Regression
from ratios_kernels import spread

from lvmfast import _backend, _gpu

DTYPES = ("float64", "float32")
TOLERANCE = {"float64": 1e-6, "float32": 2e-2}  # at full size, relative to the largest entry
LAST = 64  # rows that are compared there
PACKAGES = ("lvmfast", "numpy", "cupy-cuda13x", "cupy-cuda12x", "torch", "gpytorch", "jax", "pykeops")
COLUMNS = ("problem", "dtype", "beside", "ours ms", "theirs ms", "theirs / ours", "floor ms", "of floor")
COLUMNS += ("ours MiB", "theirs MiB")


def cases(quick: bool, mnist=None) -> dict:
    """By name: tasks that check the answers, and functions that make those that are timed."""
    n = 2048 if quick else 16384
    points = [(k, q, d) for k in ("RBF", "Matern52") for q in ((2,) if quick else (2, 16)) for d in DTYPES]
    updates = [(512,), (1, 32)] if quick else [(4096, 8192, 16384), (1, 8, 32, 128)]
    product, wide = 4096 if quick else 65536, 1000 if quick else 8000

    def grams(operation):
        small = [Gram.of(k, 300, q, d, operation) for k, q, d in points]
        return small, [lambda p=p: Gram.of(p[0], n, *p[1:], operation) for p in points]

    return {
        "gplvm": (
            [Gplvm.of(200, d) for d in DTYPES],
            [lambda m=m, d=d: Gplvm.of(m, d, mnist) for m in ((500,) if quick else (1000, 8000)) for d in DTYPES],
        ),
        "gram": grams("value"),
        "gram_vjp": grams("value_and_vjp"),
        "update": (
            [Update(300, m, d) for m in updates[1] for d in DTYPES],
            [lambda a=a, m=m, d=d: Update(a, m, d) for a in updates[0] for m in updates[1] for d in DTYPES],
        ),
        "batch": (
            [Batch(20, 32, d) for d in DTYPES],
            [lambda d=d: Batch(1000 if quick else 10_000, 32, d) for d in DTYPES],
        ),
        "gpr": (
            [Regression.of(300, 8, d) for d in DTYPES],
            [lambda d=d: Regression.of(wide, 8, d) for d in DTYPES],
        ),
        "matmul": (
            [Product.of(k, 300, 8, d) for k in ("RBF", "Matern52") for d in DTYPES],
            [lambda k=k, d=d: Product.of(k, product, 8, d) for k in ("RBF", "Matern52") for d in DTYPES],
        ),
        "normal": (
            [Draws(100_000, d) for d in DTYPES],
            [lambda d=d: Draws(10**6 if quick else 10**8, d) for d in DTYPES],
        ),
        "polya_gamma": (
            [PolyaGammaDraws.of(b, "N(0, 2^2)", 100_000, d) for b in (1, 2.5, 50) for d in DTYPES],
            [
                lambda b=b, t=t, d=d: PolyaGammaDraws.of(b, t, 10**5 if quick else 10**7, d)
                for b in (1, 2.5, 10, 50)
                for t in ("0", "N(0, 2^2)")
                for d in DTYPES
            ],
        ),
    }


def synchronised(run) -> float:
    """Seconds of one call, all of it."""
    wait = cupy().cuda.runtime.deviceSynchronize
    wait()
    begun = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - begun


def fastest(run, calls: int) -> float:
    """Seconds of the fastest of some calls after one that warms up."""
    return min([synchronised(run) for _ in range(calls + 1)][1:])


def paired(first, second, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of both, in turn, one column each, and second / first of every pair."""
    slower = max(synchronised(first), synchronised(second))
    calls = int(np.clip(0.1 / slower, 2, 50))
    seconds = np.array([[fastest(run, calls) for run in (first, second)] for _ in range(rounds)])
    return seconds, seconds[:, 1] / seconds[:, 0]


class Rates:
    """Bytes a second of a copy, read and written, and operations a second of a product in both dtypes."""

    def __init__(self, quick: bool):
        xp = cupy()
        size, n = (2**21, 1024) if quick else (2**28, 8192)
        self.bytes = 16 * size / fastest(functools.partial(xp.copyto, xp.zeros(size), xp.ones(size)), 20)
        self.flops = {}
        for dtype in DTYPES:
            A = xp.asarray(np.random.default_rng(0).standard_normal((n, n)).astype(dtype))
            self.flops[dtype] = 2 * n**3 / fastest(functools.partial(xp.matmul, A, A, out=xp.empty_like(A)), 10)
        release()

    def floor(self, task) -> tuple[float, str]:
        """Seconds that the task cannot be done without, and what they are for."""
        moved, computed = task.moved / self.bytes, task.flops / self.flops[task.dtype]
        return max((moved, "bytes"), (computed, "flops"))


class Peak:
    """``with Peak() as peak:`` then ``peak.bytes``: the most in use in CuPy's and PyTorch's pools, beyond before."""

    def __enter__(self):
        xp, peak = cupy(), self
        self.pool = pool = xp.get_default_memory_pool()
        self.before = self.most = pool.used_bytes()

        class Hook(xp.cuda.MemoryHook):
            name = "peak of the pool"

            def malloc_postprocess(self, **_):
                peak.most = max(peak.most, pool.used_bytes())

        self.torch = sys.modules.get("torch")
        if self.torch is not None and self.torch.cuda.is_available():
            self.torch.cuda.reset_peak_memory_stats()
            self.torch_before = self.torch.cuda.memory_allocated()
        else:
            self.torch = None
        self.hook = Hook()
        self.hook.__enter__()
        return self

    def restart(self) -> None:
        """Forget what was in use for a while until now."""
        self.most = self.pool.used_bytes()

    def __exit__(self, *_):
        self.hook.__exit__()
        self.bytes = self.most - self.before
        if self.torch is not None:
            self.bytes += self.torch.cuda.max_memory_allocated() - self.torch_before


def release() -> None:
    """Give back what the pools keep."""
    gc.collect()
    cupy().get_default_memory_pool().free_all_blocks()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def difference(ours, theirs, scale: float) -> float:
    """The largest of the last rows' differences, relative to the largest entry there or ``scale``."""
    largest = 0.0
    for a, b in zip(ours, theirs, strict=True):
        a, b = (np.ravel(x).astype(float) for x in (a, b))
        largest = np.maximum(largest, np.abs(a - b).max() / max(np.abs(b).max(), scale, 1e-300))  # NaN stays
    return float(largest)


def first_answer(run) -> list[np.ndarray]:
    """The last rows of what the first run gives."""
    return [host(array, LAST) for array in run()]


class Table:
    """The rows of one case, printed as they come; ``problems`` is what went wrong."""

    def __init__(self, rates: Rates, rounds: int):
        self.rates, self.rounds, self.problems = rates, rounds, []

    def case(self, name: str, small, timed) -> None:
        """Check the small tasks, then time the others."""
        print(f"\n### {name}\n")
        wrong = {peer for task in small for peer in self.wrong(task)}
        print(f"\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
        for make in timed:
            try:
                self.task(make(), wrong)
            except Exception as error:
                self.note(f"| {name} | | | {_short(error)} |")
            release()

    def wrong(self, task) -> list[str]:
        """Of a small task: whose answers are not NumPy's."""
        found = []
        for name, make in {"ours": type(task).ours, **task.peers}.items():
            with contextlib.suppress(Unavailable):
                try:
                    task.assert_answer(make(task)())
                except Unavailable:
                    raise
                except Exception as error:
                    found.append(name)
                    self.note(f"- small problem: {task.title}, {task.dtype}, {name}: {_short(error)}")
        return found

    def task(self, task, wrong) -> None:
        """All rows of one task."""
        with Peak() as mine:
            ours = task.ours()
            mine.restart()
            answer = first_answer(ours)
            for _ in range(2):  # the second run may be captured, which takes memory too
                ours()
        for name, make in task.peers.items():
            title = f"| {task.title} | {task.dtype} | {name} |"
            theirs = None
            try:
                theirs = make(task)
                self.row(task, title, bool(wrong & {"ours", name}), ours, answer, mine.bytes - task.placed, theirs)
            except Unavailable as reason:
                print(f"{title} not here: {reason} |", flush=True)
            except Exception as error:
                self.note(f"{title} {_short(error)} |")
            del theirs
            release()

    def row(self, task, title, wrong, ours, answer, our_bytes, theirs) -> None:
        """One row: both times, their ratios, the floor, memory."""
        apart = difference(answer, first_answer(theirs), task.scale) if task.comparable else 0.0
        with Peak() as peak:
            theirs()
        seconds, ratios = paired(ours, theirs, self.rounds)
        floor, bound = self.rates.floor(task)
        mine, other = seconds.min(axis=0)
        cells = [f"{1e3 * mine:.4g}", f"{1e3 * other:.4g}", spread(ratios), f"{1e3 * floor:.4g} ({bound})"]
        cells += [f"{floor / mine:.2f}", _mebibytes(our_bytes), _mebibytes(peak.bytes) if peak.bytes else "-"]
        line = f"{title} {' | '.join(cells)} |"
        if wrong or not apart <= TOLERANCE[task.dtype]:
            self.note(f"{line} ANSWERS DIFFER: {'small problem' if wrong else f'{apart:.1e}'}")
        else:
            print(line, flush=True)

    def note(self, line: str) -> None:
        """Print a row that is not as it should be."""
        self.problems.append(line)
        print(line, flush=True)


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:.4g}"


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).replace("|", "/")
    return f"FAILED: {type(error).__name__}: {text[:300]}"


def header(rates: Rates) -> None:
    """Card, driver, versions, and the rates of this run."""
    versions = []
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.sm", "--format=csv,noheader"]
    try:
        card = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        card = "nvidia-smi does not answer"
    runtime = cupy().cuda.runtime
    print(f"- card: {card}")
    print(f"- CUDA: driver {runtime.driverGetVersion()}, runtime {runtime.runtimeGetVersion()}")
    print(f"- lvmfast._cuda: {_backend.cuda_status()}")
    print(f"- Python {sys.version.split()[0]}; {', '.join(versions)}")
    products = ", ".join(f"{dtype} {rate / 1e12:.3g} TFLOP/s" for dtype, rate in rates.flops.items())
    print(f"- copy {rates.bytes / 1e12:.3g} TB/s, read and written; matrix products: {products}", flush=True)


def main() -> int:
    """The tables of the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help="by default all of them")
    parser.add_argument("--rounds", type=int, default=7, help="pairs")
    parser.add_argument("--quick", action="store_true", help="small problems and three pairs, to see that all runs")
    parser.add_argument("--mnist", help="files of all digits, for the larger GPLVM (lvmfast.datasets.load_mnist)")
    arguments = parser.parse_args()
    if _gpu.usable() is None:  # before any peer is imported: CuPy's libraries are to be the first
        print(f"lvmfast._cuda is {_backend.cuda_status()}", file=sys.stderr)
        return 2
    known = cases(arguments.quick, arguments.mnist)
    for name in arguments.cases:
        if name not in known:
            parser.error(f"case must be one of {', '.join(known)}, got {name!r}")
    rates = Rates(arguments.quick)
    header(rates)
    table = Table(rates, 3 if arguments.quick else arguments.rounds)
    for name in arguments.cases or known:
        table.case(name, *known[name])
    if table.problems:
        print(f"\n{len(table.problems)} row(s) with a problem:\n\n" + "\n".join(table.problems), flush=True)
    return 1 if table.problems else 0


if __name__ == "__main__":
    sys.exit(main())
