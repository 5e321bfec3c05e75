"""Polya-gamma draws beside the ``polyagamma`` package."""

from __future__ import annotations

import pytest
from cases import threads
from peers.covariances import Unavailable
from peers.polya_gamma import PEERS, SHAPES, TILTS, PolyaGammaCase

N = 1_000_000

pytestmark = [pytest.mark.parametrize("tilt", TILTS), pytest.mark.parametrize("b", SHAPES)]


def measure(benchmark, case, run, n_threads):
    benchmark.group = f"PG({case.b}, {case.tilt})"
    with threads(n_threads):
        benchmark(run)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ours(benchmark, b, tilt, dtype, n_threads):
    case = PolyaGammaCase(b, tilt, dtype, N)
    run = case.ours()
    case.assert_answer(run())
    measure(benchmark, case, run, n_threads)


@pytest.mark.parametrize("peer", PEERS)
def test_peer(benchmark, b, tilt, peer):
    """Timed also where its draws are not right; by how much is noted."""
    case = PolyaGammaCase(b, tilt, "float64", N)
    try:
        run = PEERS[peer](case)
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
    benchmark.extra_info["standard deviations off"] = case.deviations(run())
    measure(benchmark, case, run, 1)
