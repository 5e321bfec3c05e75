"""Times of sparse GP regression beside the peers, in pairs: ``python benchmarks/ratios_sgpr.py``.

Every line: our time and theirs / ours, as min / median / max over the pairs, for the collapsed bound and its gradient
by 10 parameters (ARD RBF, 8 inputs, noise) and 500 inducing inputs, at two points in turn, so that no answer is kept.
Values are compared with plain NumPy first, gradients with each other. Every number of threads has a process of its own,
see ``ratios_kernels.py``.
"""

from __future__ import annotations

import itertools

import numpy as np
from cases import threads
from peers.sparse_regression import PEERS, SparseCase, Unavailable, ours
from ratios_kernels import compare, for_each_thread_count, parser, report, spread


def checked(run, case: SparseCase):
    """A callable without arguments for what ``ours`` or a peer made, its values asserted."""
    points = case.theta, case.theta + 0.01
    for theta in points:
        case.assert_answer(run(theta), theta)
    turns = itertools.cycle(points)
    return lambda: run(next(turns))


def assert_gradients(run, other, case: SparseCase) -> None:
    """Ours and theirs agree to 1e-4 of the largest entry; float32 may have few digits, and is not asked."""
    if case.X.dtype == np.float64:
        mine, theirs = run(case.theta)[1], other(case.theta)[1]
        np.testing.assert_allclose(theirs, mine, rtol=0, atol=1e-4 * np.abs(mine).max())


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [20_000])
    options.add_argument("--inducing", type=int, default=500)
    arguments = options.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.inducing, arguments.rounds = [1000], 50, 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for n in arguments.sizes:
            for dtype in arguments.dtypes:
                case = SparseCase.random(n, arguments.inducing, dtype)
                title = f"bound and gradient N={n} M={case.m} {dtype}"
                mine = ours(case)
                for peer in arguments.peers:
                    try:
                        theirs = PEERS[peer](case)
                        turns = checked(mine, case), checked(theirs, case)
                        assert_gradients(mine, theirs, case)
                    except Unavailable as reason:
                        print(f"  {title} {peer}: skipped, {reason}", flush=True)
                        continue
                    with threads(n_threads):  # again: the peer's library may have come with the peer
                        seconds, ratios = compare(*turns, arguments.rounds)
                    print(
                        f"  {title} {peer} {n_threads} thread(s) | {seconds.min():.3f} s {spread(ratios)}", flush=True
                    )
                    medians.setdefault(f"{peer} {dtype}", []).append(np.median(ratios))
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
