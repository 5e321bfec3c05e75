"""Gaussian process classification (RBF, Q = 4) beside NumPy with polyagamma, scikit-learn and GPyTorch."""

from __future__ import annotations

import pytest
from cases import threads
from peers.gp_classification import PEERS, ClassificationCase, Unavailable, ours
from ratios_gp_classifier import checked

SIZES = [("gibbs", 100), ("gibbs", 300), ("gibbs", 1000), ("objective", 300), ("objective", 1000)]
SIZES += [("fit", 300), ("step", 10_000)]

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize(("operation", "n"), SIZES),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


def measure(benchmark, make, operation, n, n_threads):
    case = ClassificationCase.random(n)
    benchmark.group = f"GP classification {operation} N={n}"
    with threads(n_threads):
        benchmark(checked(make(case, operation), case, operation))


def test_ours(benchmark, operation, n, n_threads):
    measure(benchmark, ours, operation, n, n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, operation, n, n_threads, peer):
    try:
        measure(benchmark, PEERS[peer], operation, n, n_threads)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
