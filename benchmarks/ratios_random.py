"""Times of standard draws beside NumPy's generators, in pairs: ``python benchmarks/ratios_random.py``.

Every line: our time in nanoseconds a draw and theirs / ours, as min / median / max over the pairs. ``reused``: both
write to an array that is there, ``fresh``: both make a new one. NumPy's generators have one thread, whatever ours have.
"""

from __future__ import annotations

import numpy as np
from cases import paired_ratios
from peers.generators import DISTRIBUTIONS, PEERS, DrawCase
from ratios_kernels import for_each_thread_count, parser, report, spread


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [10_000_000])
    options.add_argument("--distributions", nargs="*", default=DISTRIBUTIONS, choices=DISTRIBUTIONS)
    arguments = options.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.rounds = [100_000], 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for distribution in arguments.distributions:
            for dtype in arguments.dtypes:
                for n in arguments.sizes:
                    for peer in arguments.peers:
                        cells = []
                        for how in ("reused", "fresh"):
                            case = DrawCase(distribution, dtype, n, how == "reused")
                            ours, theirs = case.ours(), case.peer(peer)
                            case.assert_answer(ours())
                            case.assert_answer(theirs())
                            seconds, _, ratios = paired_ratios(ours, theirs, arguments.rounds, 4)
                            cells.append(f"{how}: {1e9 * seconds.min() / n:.2f} ns {spread(ratios)}")
                            medians.setdefault(f"{peer} {distribution} {how}", []).append(np.median(ratios))
                        title = f"{distribution} {dtype} n={n} {peer}"
                        print(f"  {title} {n_threads} thread(s) | " + " | ".join(cells), flush=True)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
