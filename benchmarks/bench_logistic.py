"""Gibbs sampling for logistic regression beside loops of NumPy and polyagamma."""

from __future__ import annotations

import pytest
from cases import threads
from peers.logistic_regression import PEERS, LogisticCase, Unavailable, fit, sampler
from ratios_logistic import PROBLEMS

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("problem", ["128x3", "50000x50"]),
]


def measure(benchmark, make, problem, n_threads):
    case = LogisticCase.random(*PROBLEMS[problem])
    benchmark.group = f"logistic regression {problem}"
    with threads(n_threads):
        draws = benchmark(make(case))
    case.assert_answer(draws, sampler(case)())


@pytest.mark.parametrize("ours", [fit, sampler])
def test_ours(benchmark, problem, n_threads, ours):
    measure(benchmark, ours, problem, n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, problem, n_threads, peer):
    try:
        measure(benchmark, PEERS[peer], problem, n_threads)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
