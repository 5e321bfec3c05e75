"""Times of density ratios by kernels beside the peer, in pairs: ``python benchmarks/ratios_density_kernels.py``.

uLSIF and RuLSIF select among 9 lengthscales and 9 regularisations by leave-one-out, KLIEP among 9 lengthscales by 5
folds; 100 centres, n + n rows (``--sizes``) of d features, float64. Every line: our time of a selection with its fit
and theirs / ours, as min / median / max over the pairs. The answers for one candidate are compared first. Every number
of threads has a process of its own, see ``ratios_kernels.py``.
"""

from __future__ import annotations

import numpy as np
from cases import threads
from peers.density_ratios import METHODS, PEERS, RatioCase, Unavailable, assert_same_answer, ours
from ratios_kernels import compare, for_each_thread_count, parser, report, spread


def lines(case: RatioCase, title: str, arguments, n_threads: int, medians: dict) -> None:
    """All peers of one case."""
    for peer in arguments.peers:
        try:
            theirs = PEERS[peer](case)
        except Unavailable as reason:
            print(f"  {title} {peer}: skipped, {reason}", flush=True)
            continue
        with threads(n_threads):
            fixed = case.fixed()
            assert_same_answer(case, ours(fixed)(), PEERS[peer](fixed)())
            seconds, ratios = compare(ours(case), theirs, arguments.rounds)
        medians.setdefault(f"{peer} {case.method}", []).append(np.median(ratios))
        print(f"  {title} {peer} {n_threads} thread(s) | {1e3 * seconds.min():.1f} ms {spread(ratios)}", flush=True)


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [1000, 3000, 10_000])
    options.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    options.add_argument("--features", nargs="*", type=int, default=[1, 5])
    arguments = options.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.rounds = [300], 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for method in arguments.methods:
            for n in arguments.sizes:
                for d in arguments.features:
                    lines(RatioCase.random(method, n, d), f"{method} n={n} d={d}", arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
