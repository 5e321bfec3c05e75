"""Standard draws beside NumPy's generators."""

from __future__ import annotations

import pytest
from cases import threads
from peers.generators import DISTRIBUTIONS, PEERS, DrawCase

N = 10_000_000

pytestmark = [
    pytest.mark.parametrize("dtype", ["float64", "float32"]),
    pytest.mark.parametrize("distribution", DISTRIBUTIONS),
    pytest.mark.parametrize("reuse", [True, False], ids=["reused", "fresh"]),
]


def measure(benchmark, case, run, n_threads):
    benchmark.group = f"{case.distribution} {case.dtype} {'reused' if case.reuse else 'fresh'}"
    with threads(n_threads):
        case.assert_answer(run())
        benchmark(run)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ours(benchmark, distribution, dtype, reuse, n_threads):
    case = DrawCase(distribution, dtype, N, reuse)
    measure(benchmark, case, case.ours(), n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, distribution, dtype, reuse, peer):
    case = DrawCase(distribution, dtype, N, reuse)
    measure(benchmark, case, case.peer(peer), 1)
