"""Times of a network's training step beside the peers, in pairs: ``python benchmarks/ratios_network.py``.

Every line: our time and theirs / ours, as min / median / max over the pairs, for a forward and a backward pass and a
step of Adam of the references' encoders and decoders, with as many rows as the sizes say. The losses of three steps are
compared first. Every number of threads has a process of its own, see ``ratios_kernels.py``.
"""

from __future__ import annotations

import numpy as np
from cases import threads
from peers.networks import NETWORKS, PEERS, NetworkCase, Unavailable, assert_same_losses, ours
from ratios_kernels import compare, for_each_thread_count, parser, report, spread


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [100])
    options.set_defaults(dtypes=["float32"])
    options.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    arguments = options.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.rounds = [10], 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for name in arguments.networks:
            for n in arguments.sizes:
                for dtype in arguments.dtypes:
                    case = NetworkCase.random(name, n, dtype)
                    title = f"{name} n={n} {dtype}"
                    for peer in arguments.peers:
                        try:
                            theirs = PEERS[peer](case)
                        except Unavailable as reason:
                            print(f"  {title} {peer}: skipped, {reason}", flush=True)
                            continue
                        mine = ours(case)
                        with threads(n_threads):  # again: the peer's library may have come with the peer
                            assert_same_losses(mine, theirs)
                            seconds, ratios = compare(mine, theirs, arguments.rounds)
                        cells = f"{1e3 * seconds.min():.3f} ms {spread(ratios)}"
                        print(f"  {title} {peer} {n_threads} thread(s) | {cells}", flush=True)
                        medians.setdefault(f"{peer} {dtype}", []).append(np.median(ratios))
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
