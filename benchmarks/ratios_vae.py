"""Times of an autoencoder's training step beside the peers, in pairs: ``python benchmarks/ratios_vae.py``.

A step is encode, sample, decode, ELBO, backward and optimizer, noise drawn in it, for the references' three models in
float32: "factor" (100 features, batches of 32, Adam), "dense" (784-256-2-256-784, batches of 100, RMSprop) and "conv"
(batches of 100, RMSprop). Every line: our time of a step and theirs / ours, as min / median / max over the pairs.
``train`` is the compiled call for an epoch's steps, ``fit`` a whole fit of 50, 20 and 3 epochs, by its steps. The
losses of three steps with the same noise are compared first. Every number of threads has a process of its own, see
``ratios_kernels.py``.
"""

from __future__ import annotations

import numpy as np
from cases import threads
from peers.autoencoders import MODELS, OURS, PEERS, AutoencoderCase, Unavailable, assert_same_losses
from ratios_kernels import compare, for_each_thread_count, parser, report, spread


def lines(case: AutoencoderCase, title: str, arguments, n_threads: int, medians: dict) -> None:
    """All peers of one case."""
    mine = {}
    for how in arguments.ours:
        try:
            mine[how] = OURS[how](case)
        except Unavailable as reason:
            print(f"  {title} {how}: skipped, {reason}", flush=True)
    steps = len(case.batches)
    for peer in arguments.peers:
        try:
            theirs = PEERS[peer](case)
        except Unavailable as reason:
            print(f"  {title} {peer}: skipped, {reason}", flush=True)
            continue
        cells = []
        with threads(n_threads):  # again: the peer's library may have come with the peer
            for how, trainer in mine.items():
                if how == "train":
                    assert_same_losses(trainer, theirs, case.noise(3))
                seconds, ratios = compare(trainer.epoch, theirs.epoch, arguments.rounds)
                ratios *= trainer.epochs
                cells.append(f"{how}: {1e3 * seconds.min() / steps / trainer.epochs:.3f} ms {spread(ratios)}")
                medians.setdefault(f"{peer} {how}", []).append(np.median(ratios))
        print(f"  {title} {peer} {n_threads} thread(s) | " + " | ".join(cells), flush=True)


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, None)
    options.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    options.add_argument("--ours", nargs="*", default=list(OURS), choices=list(OURS))
    arguments = options.parse_args()
    if arguments.quick:
        arguments.rounds = 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for name in arguments.models:
            for rows in arguments.sizes or [10 if arguments.quick else None]:
                case = AutoencoderCase.random(name, rows)
                lines(case, f"{name} batch {case.batches.shape[1]}", arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
