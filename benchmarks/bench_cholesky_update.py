"""Rank-m Cholesky updates beside hyhound, jlc-choldate, TensorFlow Probability and a new factorisation."""

from __future__ import annotations

import numpy as np
import pytest
from cases import UpdateCase, threads
from peers.cholesky_updates import PEERS

import lvmfast as lvm

SIZES = [(256, 1), (256, 8), (1024, 1), (1024, 8), (1024, 32), (2048, 8)]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_in_place(benchmark, n, m, dtype, order, n_threads):
    case = UpdateCase.random(n, m, dtype, order)
    benchmark.group = f"update n={n} m={m} {dtype}"
    run, answer = case.ours()
    with threads(n_threads):
        run()
        case.assert_answer(answer())
        benchmark(run)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("n", "m"), SIZES)
def test_peer(benchmark, n, m, dtype, peer):
    case = UpdateCase.random(n, m, dtype, "F")
    made = PEERS[peer](case.L, case.U)
    if made is None:
        pytest.skip(f"{peer} is not installed, or has no {dtype}")
    benchmark.group = f"update n={n} m={m} {dtype}"
    reset, run, answer = made
    with threads(1):
        reset()
        run()
        case.assert_answer(answer())
        benchmark.pedantic(run, setup=reset, rounds=20)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_batch(benchmark, dtype, n_threads):
    L = np.tile(UpdateCase.random(32, 1, dtype, "C").L, (10_000, 1, 1))
    U = np.random.default_rng(1).standard_normal((10_000, 32)).astype(dtype)
    benchmark.group = f"10,000 updates n=32 m=1 {dtype}"
    with threads(n_threads):
        X = benchmark(lambda: lvm.linalg.cholesky_update(L, U))
    expected = np.linalg.cholesky(L[7].astype(float) @ L[7].T + np.outer(U[7].astype(float), U[7]))
    np.testing.assert_allclose(X[7], expected, atol=1e-12 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_batch_copy(benchmark, dtype):
    L = np.tile(UpdateCase.random(32, 1, dtype, "C").L, (10_000, 1, 1))
    benchmark.group = f"10,000 updates n=32 m=1 {dtype}"
    benchmark(L.copy)


@pytest.mark.parametrize(("n", "m"), [(1024, 1), (1024, 8), (1024, 32)])
def test_pullback(benchmark, n, m):
    case = UpdateCase.random(n, m, "float64", "C")
    L_new = lvm.linalg.cholesky_update(case.L, case.U)
    L_new_bar = np.random.default_rng(1).standard_normal((n, n))
    benchmark.group = f"update's pull-back n={n} m={m}"
    L_bar, U_bar = benchmark(lambda: lvm.linalg.cholesky_update_vjp(case.L, case.U, L_new_bar, L_new=L_new))
    S = lvm.linalg.cholesky_vjp(L_new, L_new_bar)
    np.testing.assert_allclose(L_bar, np.tril(2 * S @ case.L), atol=1e-9 * np.abs(L_bar).max())
    np.testing.assert_allclose(U_bar, 2 * S @ case.U, atol=1e-9 * np.abs(U_bar).max())
