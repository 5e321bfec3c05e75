"""Times of rank-m Cholesky updates beside the peers, in pairs: ``python benchmarks/ratios_cholesky_update.py``.

Every cell: our time in microseconds and theirs / ours, as min / median / max over the pairs. Both in place where
the peer can; hyhound and ours in column-major order, ours in row-major order too.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from cases import UpdateCase, threads
from peers.cholesky_updates import PEERS, nothing


def fastest(reset, run, calls: int) -> float:
    """Seconds of the fastest of some calls."""
    seconds = []
    for _ in range(calls):
        reset()
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def compare(ours, reset, theirs, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Our seconds and the ratios of the pairs."""
    calls = int(np.clip(0.01 / fastest(reset, theirs, 1), 2, 50))
    pairs = np.array([(fastest(nothing, ours, calls), fastest(reset, theirs, calls)) for _ in range(rounds)])
    return pairs[:, 0], pairs[:, 1] / pairs[:, 0]


def table(peer: str, order: str, sizes, columns, n_threads: int, rounds: int) -> None:
    """One line for every size and type, and the geometric mean of the medians."""
    medians = []
    for dtype in ("float64", "float32"):
        for n in sizes:
            cells = []
            for m in columns:
                case = UpdateCase.random(n, m, dtype, order)
                made = PEERS[peer](case.L, case.U)
                if made is None:
                    continue
                reset, run, answer = made
                ours, our_answer = case.ours()
                with threads(n_threads):
                    reset()
                    for step, result in ((ours, our_answer), (run, answer)):
                        step()
                        case.assert_answer(result())
                    seconds, ratio = compare(ours, reset, run, rounds)
                medians.append(np.median(ratio))
                spread = "/".join(f"{q:.2f}" for q in (ratio.min(), np.median(ratio), ratio.max()))
                cells.append(f"m={m}: {1e6 * seconds.min():.1f} us {spread}")
            if cells:
                print(f"  {peer} {dtype} n={n} {order} {n_threads} thread(s) | " + " | ".join(cells), flush=True)
    if medians:
        print(
            f"  {peer} {order} {n_threads} thread(s): geometric mean {np.exp(np.mean(np.log(medians))):.2f}", flush=True
        )


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    arguments = parser.parse_args()
    sizes, columns = (128, 256, 512, 1024, 2048, 4096), (1, 8, 32, 128)
    if "hyhound" in arguments.peers:
        for order in "FC":
            for n_threads in (1, 2):
                table("hyhound", order, sizes, columns, n_threads, arguments.rounds)
    for peer in set(arguments.peers) - {"hyhound"}:
        table(peer, "F", (512, 2048), (1, 8), 1, 3)


if __name__ == "__main__":
    main()
