"""Sparse GP regression (ARD RBF, Q = 8, learned noise and inducing inputs) beside PyTorch, GPyTorch and GPflow."""

from __future__ import annotations

import pytest
from bench_covariances import FIXED_THREADS
from cases import threads
from peers.sparse_regression import PEERS, SparseCase, Unavailable, ours
from ratios_sgpr import checked

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("dtype", ["float64", "float32"]),
    pytest.mark.parametrize(("n", "m"), [(2000, 100), (20_000, 500)]),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


def measure(benchmark, make, n, m, dtype, n_threads):
    case = SparseCase.random(n, m, dtype)
    benchmark.group = f"sparse GP regression N={n} M={m} {dtype}"
    run = make(case)
    with threads(n_threads):
        benchmark(checked(run, case))


def test_ours(benchmark, n, m, dtype, n_threads):
    measure(benchmark, ours, n, m, dtype, n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, n, m, dtype, n_threads, peer):
    if n_threads == 1 and peer in FIXED_THREADS:
        pytest.skip(f"{peer} chooses its threads once; ratios_sgpr.py starts it with one")
    try:
        measure(benchmark, PEERS[peer], n, m, dtype, n_threads)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
