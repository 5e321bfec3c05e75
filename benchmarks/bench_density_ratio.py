"""The training of a classifier for a density ratio beside PyTorch, JAX and Keras: see ``ratios_density_ratio.py``."""

from __future__ import annotations

import pytest
from cases import threads
from peers.ratio_networks import CASES, OURS, PEERS, RatioCase, Unavailable, assert_same_losses, ours

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("name", CASES),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


def measure(benchmark, make, name, n_threads):
    case = RatioCase.random(name)
    with threads(n_threads):
        trainer = make(case)
        rows = len(case.X) if case.order is None else case.order.shape[1]
        benchmark.group = f"{name}, {trainer.epochs * case.steps} steps of {rows} rows, float32"
        if trainer.losses is not None:
            assert_same_losses(ours(case), trainer)
        benchmark(trainer.epoch)


@pytest.mark.parametrize("how", OURS)
def test_ours(benchmark, name, n_threads, how):
    measure(benchmark, OURS[how], name, n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, name, n_threads, peer):
    if n_threads == 1 and peer in ("jax-scan", "tensorflow", "tensorflow-jit", "keras-fit"):
        pytest.skip(f"{peer} chooses its threads once; ratios_density_ratio.py starts it with one")
    try:
        measure(benchmark, PEERS[peer], name, n_threads)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
