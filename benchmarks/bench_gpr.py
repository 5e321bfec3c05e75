"""Exact GP regression (ARD RBF, Q = 8, learned noise) beside scikit-learn, GPyTorch, GPflow and JAX."""

from __future__ import annotations

import pytest
from bench_covariances import FIXED_THREADS
from cases import threads
from peers.gp_regression import PEERS, RegressionCase, Unavailable, ours
from ratios_gpr import checked

SIZES = [("likelihood", 300), ("likelihood", 1000), ("likelihood", 3000), ("fit", 500)]
SIZES += [("mean", 1000), ("mean_and_std", 1000)]

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("dtype", ["float64", "float32"]),
    pytest.mark.parametrize(("operation", "n"), SIZES),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


def measure(benchmark, make, operation, n, dtype, n_threads):
    if operation == "fit" and dtype != "float64":
        pytest.skip("fits are compared in float64")
    case = RegressionCase.random(n, dtype)
    benchmark.group = f"GP regression {operation} N={n} {dtype}"
    made = make(case, operation)
    with threads(n_threads):
        benchmark(checked(made, case, operation))


def test_ours(benchmark, operation, n, dtype, n_threads):
    measure(benchmark, ours, operation, n, dtype, n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, operation, n, dtype, n_threads, peer):
    if n_threads == 1 and peer in FIXED_THREADS:
        pytest.skip(f"{peer} chooses its threads once; ratios_gpr.py starts it with one")
    try:
        measure(benchmark, PEERS[peer], operation, n, dtype, n_threads)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
