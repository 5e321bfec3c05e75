"""One evaluation of the GPLVM (N=1000, D=784, Q=2), ours, the bare arithmetic and every peer that is installed."""

from __future__ import annotations

import pytest
from cases import GplvmCase, assert_same_answer, threads
from peers import PEERS, load


@pytest.fixture(scope="module")
def case():
    return GplvmCase.digits()


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ours(benchmark, case, dtype, n_threads):
    benchmark.group = f"GPLVM step, {n_threads} threads"
    with threads(n_threads):
        answer = benchmark.pedantic(case.ours(dtype), rounds=15, warmup_rounds=2)
    assert_same_answer(case.ours()(), answer, 1e-12 if dtype == "float64" else 2e-3)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_arithmetic(benchmark, case, n_threads):
    benchmark.group = f"GPLVM step, {n_threads} threads"
    with threads(n_threads):
        benchmark.pedantic(case.arithmetic(), rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name", list(PEERS))
def test_peer(benchmark, case, name, n_threads):
    module = load(name)
    available, reason = module.available()
    if not available:
        pytest.skip(reason)
    benchmark.group = f"GPLVM step, {n_threads} threads"
    step = case.peer(module)
    slow = name == "tfp_reference"
    with threads(n_threads):
        answer = benchmark.pedantic(step, rounds=2 if slow else 9, warmup_rounds=0 if slow else 2)
    assert_same_answer(case.ours()(), answer)
