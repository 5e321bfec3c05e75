"""ARD covariance matrices and their gradients beside scikit-learn, GPyTorch, JAX, GPflow and KeOps."""

from __future__ import annotations

import functools

import pytest
from cases import threads
from peers.covariances import KERNELS, PEERS, CovarianceCase, Unavailable, ours

N, COLUMNS = 4096, (2, 16, 64)
# their threads are chosen when they start
FIXED_THREADS = ("jax", "gpflow")

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("operation", ["value", "value_and_vjp", "matmul", "matmul_and_vjp"]),
    pytest.mark.parametrize("dtype", ["float64", "float32"]),
    pytest.mark.parametrize("q", COLUMNS),
    pytest.mark.parametrize("kernel", KERNELS),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


@functools.lru_cache(maxsize=1)
def case_of(kernel: str, q: int, dtype: str) -> CovarianceCase:
    """The case that the tests before and after share."""
    return CovarianceCase.random(kernel, N, q, dtype)


def measure(benchmark, case, operation, run, n_threads):
    benchmark.group = f"{case.kernel} {operation} Q={case.X.shape[1]} {case.dtype}"
    with threads(n_threads):
        case.assert_answer(run(), operation)
        benchmark(run)


@pytest.mark.parametrize("output", ["fresh", "reused"])
def test_ours(benchmark, kernel, q, dtype, operation, n_threads, output):
    if output == "reused" and operation.startswith("matmul"):
        pytest.skip("a product has no matrix to reuse")
    case = case_of(kernel, q, dtype)
    measure(benchmark, case, operation, ours(case, operation, reuse=output == "reused"), n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, kernel, q, dtype, operation, n_threads, peer):
    if n_threads == 1 and peer in FIXED_THREADS:
        pytest.skip(f"{peer} chooses its threads once; ratios_kernels.py starts it with one")
    case = case_of(kernel, q, dtype)
    try:
        run = PEERS[peer](case, operation)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
    measure(benchmark, case, operation, run, n_threads)
