"""Times of a classifier's training for a density ratio beside the peers, in pairs:
``python benchmarks/ratios_density_ratio.py``.

Every line: our time of an epoch and theirs / ours, as min / median / max over the pairs. ``train`` is the compiled call
for all steps of a fit, ``fit`` a whole ``DensityRatio.fit``. "reference" is the text's network and data with all rows
in every step, "batches" a larger one; see ``peers/ratio_networks.py``. All losses of a fit are compared first. Every
number of threads has a process of its own, see ``ratios_kernels.py``.
"""

from __future__ import annotations

import numpy as np
from cases import threads
from peers.ratio_networks import CASES, OURS, PEERS, RatioCase, Unavailable, assert_same_losses
from ratios_kernels import compare, for_each_thread_count, parser, report, spread


def lines(case: RatioCase, arguments, n_threads: int, medians: dict) -> None:
    """All peers of one case."""
    mine = {how: OURS[how](case) for how in arguments.ours}
    for peer in arguments.peers:
        try:
            theirs = PEERS[peer](case)
        except Unavailable as reason:
            print(f"  {case.name} {peer}: skipped, {reason}", flush=True)
            continue
        cells = []
        with threads(n_threads):  # again: the peer's library may have come with the peer
            if theirs.losses is not None:
                assert_same_losses(OURS["train"](case), theirs)
            for how, trainer in mine.items():
                seconds, ratios = compare(trainer.epoch, theirs.epoch, arguments.rounds)
                ratios *= trainer.epochs / theirs.epochs
                cells.append(f"{how}: {1e6 * seconds.min() / trainer.epochs:.0f} µs {spread(ratios)}")
                medians.setdefault(f"{peer} {how}", []).append(np.median(ratios))
        print(f"  {case.name} {peer} {n_threads} thread(s) | " + " | ".join(cells), flush=True)


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, None)
    options.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    options.add_argument("--ours", nargs="*", default=list(OURS), choices=list(OURS))
    arguments = options.parse_args()
    if arguments.quick:
        arguments.rounds = 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for name in arguments.cases:
            lines(RatioCase.random(name), arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
