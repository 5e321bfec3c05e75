"""Times of Gibbs sampling for logistic regression in pairs: ``python benchmarks/ratios_logistic.py``.

Every line: our time and theirs / ours, as min / median / max over the pairs, for ``fit``, the estimator from arrays to
draws with their diagnostics, and for ``sampler``, the iterations alone. One chain, so that both do the same work. The
means of the draws are compared first. Every number of threads has a process of its own, see ``ratios_kernels.py``.
"""

from __future__ import annotations

import numpy as np
from cases import threads
from peers.logistic_regression import PEERS, LogisticCase, Unavailable, fit, sampler
from ratios_kernels import compare, for_each_thread_count, parser, report, spread

PROBLEMS = {
    "128x3": (128, 3, 1000),
    "2000x10": (2000, 10, 300),
    "50000x50": (50_000, 50, 100),
    "5000x300": (5000, 300, 20),
}
OURS = {"fit": fit, "sampler": sampler}


def lines(case: LogisticCase, title: str, arguments, n_threads: int, medians: dict) -> None:
    """All peers for one problem."""
    for peer in arguments.peers:
        try:
            theirs = PEERS[peer](case)
        except Unavailable as reason:
            print(f"  {title} {peer}: skipped, {reason}", flush=True)
            continue
        for name, make in OURS.items():
            mine = make(case)
            case.assert_answer(mine(), theirs())
            with threads(n_threads):
                seconds, ratios = compare(mine, theirs, arguments.rounds)
            micro = 1e6 * seconds.min() / case.iterations
            print(
                f"  {title} {name} {peer} {n_threads} thread(s) | {micro:.1f} us an iteration {spread(ratios)}",
                flush=True,
            )
            medians.setdefault(f"{peer} {name}", []).append(np.median(ratios))


def main() -> None:
    """All problems."""
    options = parser(__doc__, PEERS, [])
    options.add_argument("--problems", nargs="*", default=PROBLEMS, choices=PROBLEMS)
    arguments = options.parse_args()
    if arguments.quick:
        arguments.problems, arguments.rounds = ["128x3"], 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for problem in arguments.problems:
            for dtype in arguments.dtypes:
                case = LogisticCase.random(*PROBLEMS[problem], dtype)
                lines(case, f"{problem} {dtype}", arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
