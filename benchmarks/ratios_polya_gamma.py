"""Times of Polya-gamma draws beside the ``polyagamma`` package, in pairs: ``python benchmarks/ratios_polya_gamma.py``.

Every line: our time in nanoseconds a draw and theirs / ours, as min / median / max over the pairs; both write to an
array that is there. The package has one thread and float64, whatever ours have. Ours are to have the right mean and
variance; where the package's are five standard deviations off or more, the line says so, and counts in no mean.
"""

from __future__ import annotations

import numpy as np
from cases import paired_ratios
from peers.covariances import Unavailable
from peers.polya_gamma import PEERS, SHAPES, TILTS, PolyaGammaCase
from ratios_kernels import for_each_thread_count, parser, report, spread


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [1_000_000])
    options.add_argument("--shapes", nargs="*", type=float, default=SHAPES)
    options.add_argument("--tilts", nargs="*", default=TILTS, choices=TILTS)
    arguments = options.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.rounds = [20_000], 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for b in arguments.shapes:
            for tilt in arguments.tilts:
                for dtype in arguments.dtypes:
                    for n in arguments.sizes:
                        for peer in arguments.peers:
                            line(PolyaGammaCase(b, tilt, dtype, n), peer, arguments.rounds, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


def line(case: PolyaGammaCase, peer: str, rounds: int, n_threads: int, medians: dict) -> None:
    """One case beside one peer."""
    title = f"  PG({case.b:g}, {case.tilt}) {case.dtype} n={case.n} {peer}"
    ours = case.ours()
    case.assert_answer(ours())
    try:
        theirs = PEERS[peer](case)
    except Unavailable as reason:
        print(f"{title}: skipped, {reason}", flush=True)
        return
    off = case.deviations(theirs())
    seconds, _, ratios = paired_ratios(ours, theirs, rounds, 4)
    wrong = "" if off < 5 else f" | THEIRS ARE WRONG by {off:.1f} standard deviations"
    print(f"{title} {n_threads} thread(s) | {1e9 * seconds.min() / case.n:.2f} ns {spread(ratios)}{wrong}", flush=True)
    if not wrong:
        kind = "array" if np.ndim(case.z) else "number"
        medians.setdefault(f"{peer} {case.dtype}, z a{'n' * (kind == 'array')} {kind}", []).append(np.median(ratios))


if __name__ == "__main__":
    main()
