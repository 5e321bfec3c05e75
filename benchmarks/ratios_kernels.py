"""Times of covariance matrices beside the peers, in pairs: ``python benchmarks/ratios_kernels.py``.

Every line: our time in milliseconds and theirs / ours, as min / median / max over the pairs. ``fresh`` is a new array
for K at every call, as the peers have it; ``reused`` is ``k(X, out=out)``. Answers are compared with plain NumPy first.

Every number of threads has a process of its own, kept to as many of the machine's processors where the system can do
that: JAX and TensorFlow choose their threads once, when they start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import numpy as np
from cases import paired_ratios, threads
from peers.covariances import KERNELS, PEERS, CovarianceCase, Unavailable, ours
from worker import keep_to, variables

DTYPES = ("float64", "float32")
OPERATIONS = ("value", "value_and_vjp", "matmul", "matmul_and_vjp")


def parser(description: str, peers, sizes) -> argparse.ArgumentParser:
    """The options that both scripts have."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--peers", nargs="*", default=list(peers), choices=list(peers))
    result.add_argument("--sizes", nargs="*", type=int, default=sizes)
    result.add_argument("--dtypes", nargs="*", default=DTYPES, choices=DTYPES)
    result.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    result.add_argument("--rounds", type=int, default=7, help="pairs")
    result.add_argument("--quick", action="store_true", help="small problems and three pairs, to see that all runs")
    result.add_argument("--in-process", action="store_true", help="start no processes of their own")
    return result


def for_each_thread_count(arguments, run) -> None:
    """``run(n_threads)`` in this process, or this script again for every number of threads."""
    if arguments.in_process:
        for n in arguments.threads:
            with threads(n):
                run(n)
        return
    for n in arguments.threads:
        command = [sys.executable, *sys.argv, "--in-process", "--threads", str(n)]
        subprocess.run(command, env={**os.environ, **variables(n)}, preexec_fn=lambda n=n: keep_to(n), check=True)


def compare(first, second, rounds: int, turn: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the first and the ratios of the pairs; a turn of a fast peer has calls for `turn` seconds."""
    begun = time.perf_counter()
    second()
    seconds = time.perf_counter() - begun
    rounds, calls = (min(rounds, 3), 1) if seconds > 2 else (rounds, int(np.clip(turn / seconds, 2, 200)))
    first_seconds, _, ratios = paired_ratios(first, second, rounds, calls)
    return first_seconds, ratios


def spread(ratios: np.ndarray) -> str:
    """min/median/max."""
    return "/".join(f"{q:.2f}" for q in (ratios.min(), np.median(ratios), ratios.max()))


def geometric_mean(medians) -> float:
    """Of the medians of a group of lines."""
    return float(np.exp(np.mean(np.log(medians))))


def report(medians: dict, n_threads: int) -> None:
    """One line for every group of medians."""
    for group, values in medians.items():
        print(f"  {group} {n_threads} thread(s): geometric mean {geometric_mean(values):.2f}", flush=True)


def lines(case: CovarianceCase, title: str, arguments, n_threads: int, medians: dict) -> None:
    """All operations and peers for one case; ours is asserted once per operation."""
    for operation in arguments.operations:
        # KeOps stores no matrix, all others do
        peers = [peer for peer in arguments.peers if (peer == "keops") == operation.startswith("matmul")]
        if not peers:
            continue
        mine = {"fresh": ours(case, operation)}
        if operation == "value":
            mine["reused"] = ours(case, operation, reuse=True)
        for run in mine.values():
            case.assert_answer(run(), operation)
        for peer in peers:
            try:
                theirs = PEERS[peer](case, operation)
            except Unavailable as reason:
                print(f"  {title} {operation} {peer}: skipped, {reason}", flush=True)
                continue
            case.assert_answer(theirs(), operation)
            with threads(n_threads):  # again: the peer's library may have come with the peer
                cells = []
                for how, run in mine.items():
                    seconds, ratios = compare(run, theirs, arguments.rounds)
                    cells.append(f"{how}: {1e3 * seconds.min():.2f} ms {spread(ratios)}")
                    medians.setdefault(f"{peer} {operation} {how}", []).append(np.median(ratios))
            print(f"  {title} {operation} {peer} {n_threads} thread(s) | " + " | ".join(cells), flush=True)


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [2, 16, 64])
    options.add_argument("--n", type=int, default=4096, help="rows of X; the sizes are its columns")
    options.add_argument("--kernels", nargs="*", default=KERNELS, choices=KERNELS)
    options.add_argument("--operations", nargs="*", default=OPERATIONS, choices=OPERATIONS)
    arguments = options.parse_args()
    n = arguments.n
    if arguments.quick:
        n, arguments.rounds = min(n, 512), 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for kernel in arguments.kernels:
            for dtype in arguments.dtypes:
                for q in arguments.sizes:
                    case = CovarianceCase.random(kernel, n, q, dtype)
                    lines(case, f"{kernel} N={n} Q={q} {dtype}", arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
