"""Times of Gaussian process classification beside the peers, in pairs: ``python benchmarks/ratios_gp_classifier.py``.

Every line: our time for ``run()`` of peers/gp_classification.py and theirs / ours, as min / median / max over the
pairs, for

gibbs       iterations of one chain;
objective   the value that a fit maximises, at its best q, and its gradient: ours of the bound, scikit-learn's of
            Laplace's evidence, both to full convergence;
fit         kernel parameters, posterior and probabilities;
step        a step with a minibatch.

Every number of threads has a process of its own, see ``ratios_kernels.py``.
"""

from __future__ import annotations

import numpy as np
from cases import threads
from peers.gp_classification import PEERS, ClassificationCase, Unavailable, ours
from ratios_kernels import compare, for_each_thread_count, parser, report, spread

OPERATIONS = {"gibbs": [100, 300, 1000], "objective": [300, 1000], "fit": [300], "step": [10_000]}


def checked(run, case: ClassificationCase, operation: str):
    """``run`` after its answer was looked at."""
    case.assert_answer(run(), operation)
    return run


def lines(case: ClassificationCase, operation: str, arguments, n_threads: int, medians: dict) -> None:
    """All peers for one case and operation."""
    title = f"{operation} N={len(case.y)}"
    mine = checked(ours(case, operation), case, operation)
    for peer in arguments.peers:
        try:
            theirs = checked(PEERS[peer](case, operation), case, operation)
        except Unavailable:
            continue
        with threads(n_threads):  # again: the peer's library may have come with the peer
            seconds, ratios = compare(mine, theirs, arguments.rounds)
        each = case.iterations if operation == "gibbs" else 1
        time = f"{1e3 * seconds.min() / each:.3f} ms"
        print(f"  {title} {peer} {n_threads} thread(s) | {time} {spread(ratios)}", flush=True)
        medians.setdefault(f"{peer} {operation}", []).append(np.median(ratios))


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, None)
    options.add_argument("--operations", nargs="*", default=list(OPERATIONS), choices=list(OPERATIONS))
    arguments = options.parse_args()
    if arguments.quick:
        arguments.rounds = 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for operation in arguments.operations:
            sizes = arguments.sizes or OPERATIONS[operation]
            for n in [200] if arguments.quick else sizes:
                lines(ClassificationCase.random(n), operation, arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
