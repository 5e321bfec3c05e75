"""A step of stochastic variational inference (ARD RBF, Q = 8, full q) beside PyTorch, GPyTorch and GPflow."""

from __future__ import annotations

import pytest
from bench_covariances import FIXED_THREADS
from cases import threads
from peers.sparse_variational import OURS, PEERS, Start, Unavailable, natural_of
from ratios_svgp import LIKELIHOODS, N_BATCHES, batches, checked

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("dtype", ["float64", "float32"]),
    pytest.mark.parametrize("likelihood", LIKELIHOODS),
    pytest.mark.parametrize(("rows", "m"), [(256, 100), (1024, 500)]),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


def measure(benchmark, make, rows, m, likelihood, dtype, n_threads, natural):
    q = "natural gradients" if natural else "Adam"
    benchmark.group = f"step of SVGP {likelihood} B={rows} M={m} {dtype} {q}"
    data = batches(rows, likelihood, dtype)
    start = Start.random(m, N_BATCHES * rows, likelihood, dtype, natural)
    trainer = make(start)
    with threads(n_threads):
        benchmark(checked(trainer, start, data))


@pytest.mark.parametrize("natural", [False, True], ids=["Adam", "natural"])
@pytest.mark.parametrize("how", OURS)
def test_ours(benchmark, rows, m, likelihood, dtype, n_threads, how, natural):
    measure(benchmark, OURS[how], rows, m, likelihood, dtype, n_threads, natural)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, rows, m, likelihood, dtype, n_threads, peer):
    if n_threads == 1 and peer.startswith(FIXED_THREADS):
        pytest.skip(f"{peer} chooses its threads once; ratios_svgp.py starts it with one")
    try:
        measure(benchmark, PEERS[peer], rows, m, likelihood, dtype, n_threads, natural_of(peer))
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
