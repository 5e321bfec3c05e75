"""Times of log densities of transformed distributions beside the peers, in pairs.

``python benchmarks/ratios_distributions.py``: every line has our time in milliseconds and theirs / ours, as min /
median / max over the pairs, for ``log_prob`` of a million points: normal numbers through an exponential, a chain of a
sigmoid, a scale and a shift, a tanh and a sinh-arcsinh; the banana of two; eight numbers through a triangle and a
softplus. All answers are compared with plain NumPy first. Every number of threads has a process of its own, see
``ratios_kernels.py``.
"""

from __future__ import annotations

import numpy as np
from cases import threads
from peers.distributions import CASES, PEERS, DensityCase, Unavailable
from ratios_kernels import compare, for_each_thread_count, parser, report, spread


def lines(case: DensityCase, title: str, arguments, n_threads: int, medians: dict) -> None:
    """All peers of one case."""
    ours = case.ours()
    case.assert_answer(ours())
    for peer in arguments.peers:
        try:
            theirs = PEERS[peer](case)
        except Unavailable as reason:
            print(f"  {title} {peer}: skipped, {reason}", flush=True)
            continue
        case.assert_answer(theirs())
        with threads(n_threads):  # again: the peer's library may have come with the peer
            seconds, ratios = compare(ours, theirs, arguments.rounds, arguments.turn)
        medians.setdefault(peer, []).append(np.median(ratios))
        print(f"  {title} {peer} {n_threads} thread(s) | {1e3 * seconds.min():.2f} ms {spread(ratios)}", flush=True)


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [1_000_000])
    options.add_argument("--cases", nargs="*", default=CASES, choices=CASES)
    options.add_argument("--turn", type=float, default=0.2, help="seconds of a turn")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.rounds = [20_000], 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for name in arguments.cases:
            for dtype in arguments.dtypes:
                for n in arguments.sizes:
                    case = DensityCase(name, n, dtype)
                    lines(case, f"{name} n={n} {dtype}", arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
