"""Times of exact GP regression beside the peers, in pairs: ``python benchmarks/ratios_gpr.py``.

Every line: our time and theirs / ours, as min / median / max over the pairs, for

likelihood    the log marginal likelihood and its gradient by 10 parameters (ARD RBF, Q = 8, learned noise),
              at two points in turn, so that no answer is kept;
fit           a refit of 500 points, the same start and optimiser (L-BFGS), no restarts;
mean          a prediction at one point from 1,000 points;
mean_and_std  the same with its standard deviation.

Likelihoods and predictions are compared with plain NumPy first, fits by the maximum they find. Every number of threads
has a process of its own, see ``ratios_kernels.py``.
"""

from __future__ import annotations

import itertools

import numpy as np
from cases import threads
from peers.gp_regression import PEERS, RegressionCase, Unavailable, ours
from ratios_kernels import compare, for_each_thread_count, parser, report, spread

OPERATIONS = ("likelihood", "fit", "mean", "mean_and_std")


def checked(made, case: RegressionCase, operation: str):
    """A callable without arguments for what ``ours`` or a peer made, its answer asserted."""
    if operation == "fit":
        value, theta = made()
        np.testing.assert_allclose(value, case.expected("likelihood", np.asarray(theta))[0], rtol=1e-6)
        return made
    arguments = (case.theta, case.theta + 0.01) if operation == "likelihood" else (case.X_new,)
    for argument in arguments:
        case.assert_answer(made(argument), operation, argument)
    turns = itertools.cycle(arguments)
    return lambda: made(next(turns))


def lines(case: RegressionCase, operation: str, arguments, n_threads: int, medians: dict) -> None:
    """All peers for one case and operation."""
    title = f"{operation} N={len(case.y)} {case.dtype}"
    mine = checked(ours(case, operation), case, operation)
    for peer in arguments.peers:
        try:
            theirs = checked(PEERS[peer](case, operation), case, operation)
        except Unavailable as reason:
            print(f"  {title} {peer}: skipped, {reason}", flush=True)
            continue
        if operation == "fit":
            # both stop where they see no progress: the same maximum to a part in 10,000
            np.testing.assert_allclose(mine()[0], theirs()[0], rtol=1e-4)
        with threads(n_threads):  # again: the peer's library may have come with the peer
            seconds, ratios = compare(mine, theirs, arguments.rounds)
        micro = operation.startswith("mean")
        time = f"{1e6 * seconds.min():.1f} us" if micro else f"{1e3 * seconds.min():.2f} ms"
        print(f"  {title} {peer} {n_threads} thread(s) | {time} {spread(ratios)}", flush=True)
        medians.setdefault(f"{peer} {operation}", []).append(np.median(ratios))


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [300, 1000, 3000])
    options.add_argument("--operations", nargs="*", default=OPERATIONS, choices=OPERATIONS)
    arguments = options.parse_args()
    sizes = {"likelihood": arguments.sizes, "fit": [500], "mean": [1000], "mean_and_std": [1000]}
    if arguments.quick:
        sizes, arguments.rounds = {operation: [200] for operation in sizes}, 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for operation in arguments.operations:
            for n in sizes[operation]:
                # a fit needs the peer's precision, which is float64 only
                for dtype in arguments.dtypes if operation != "fit" else ("float64",):
                    lines(RegressionCase.random(n, dtype), operation, arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
