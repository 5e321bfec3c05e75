"""The steps of an epoch of the references' autoencoders beside PyTorch and Keras: see ``ratios_vae.py``."""

from __future__ import annotations

import pytest
from cases import threads
from peers.autoencoders import MODELS, OURS, PEERS, AutoencoderCase, Unavailable, assert_same_losses, ours

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("name", MODELS),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


def measure(benchmark, make, name, n_threads):
    case = AutoencoderCase.random(name)
    steps, rows = case.batches.shape[:2]
    with threads(n_threads):
        trainer = make(case)
        benchmark.group = f"{name}, {steps * trainer.epochs} steps of {rows} rows, float32"
        if trainer.losses is not None and trainer.eps is None:
            assert_same_losses(ours(case), trainer, case.noise(3))
        benchmark(trainer.epoch)


@pytest.mark.parametrize("how", OURS)
def test_ours(benchmark, name, n_threads, how):
    measure(benchmark, OURS[how], name, n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, name, n_threads, peer):
    if n_threads == 1 and peer.startswith("keras"):
        pytest.skip(f"{peer} chooses its threads once; ratios_vae.py starts it with one")
    try:
        measure(benchmark, PEERS[peer], name, n_threads)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
