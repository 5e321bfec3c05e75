"""A training step (forward, backward, Adam) of the references' encoders and decoders beside PyTorch and Keras."""

from __future__ import annotations

import pytest
from cases import threads
from peers.networks import NETWORKS, PEERS, NetworkCase, Unavailable, assert_same_losses, ours

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("name", NETWORKS),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


def measure(benchmark, make, name, n_threads):
    case = NetworkCase.random(name)
    benchmark.group = f"{name}, 100 rows, float32"
    with threads(n_threads):
        assert_same_losses(ours(case), make(case))
        benchmark(make(case))


def test_ours(benchmark, name, n_threads):
    measure(benchmark, ours, name, n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, name, n_threads, peer):
    if n_threads == 1 and peer == "keras":
        pytest.skip("keras chooses its threads once; ratios_network.py starts it with one")
    try:
        measure(benchmark, PEERS[peer], name, n_threads)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
