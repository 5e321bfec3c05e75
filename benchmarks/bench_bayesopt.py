"""The knowledge gradient beside BoTorch's: see ``ratios_bayesopt.py``, which has whole loops too."""

from __future__ import annotations

import pytest
from cases import threads
from peers.bayesian_optimization import CASES, PEERS, KnowledgeGradientCase, Unavailable
from ratios_bayesopt import CHECKED, assert_same_model, even_weights

pytestmark = [
    pytest.mark.parametrize("n_threads", [1, 2]),
    pytest.mark.parametrize("operation", CHECKED),
    pytest.mark.parametrize("name", CASES),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_knowledge_gradient(benchmark, name, operation, n_threads, whose, peer):
    case = KnowledgeGradientCase.random(name, n_candidates=20)
    ours = even_weights(case)
    try:
        made = PEERS[peer](case, 2, 32)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
    with threads(n_threads):
        assert_same_model(case, ours, made)
        mine, theirs, _ = CHECKED[operation](case, ours, made)
        benchmark.group = f"{name} {operation}, 20 candidates, 64 fantasies"
        benchmark.pedantic(mine if whose == "ours" else theirs, rounds=3)
