"""The RBF kernel matrix and its pull-back (N=4096, Q=2) beside NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from cases import threads

import lvmfast as lvm

N, Q = 4096, 2


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, Q)), rng.standard_normal((N, N))


def numpy_rbf(X):
    squares = (X**2).sum(axis=1)
    return np.exp(-0.5 * np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_value(benchmark, inputs, dtype, n_threads):
    X = inputs[0].astype(dtype)
    k, out = lvm.kernels.RBF(), np.empty((N, N), dtype)
    benchmark.group = f"RBF value {dtype}"
    with threads(n_threads):
        K = benchmark(lambda: k(X, out=out))
    np.testing.assert_allclose(K, numpy_rbf(inputs[0]), atol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_pullback(benchmark, inputs, n_threads):
    X, cotangent = inputs
    k = lvm.kernels.RBF(lengthscale=np.ones(Q))
    benchmark.group = "RBF pull-back float64"
    with threads(n_threads):
        dX, _, gradients = benchmark(lambda: k.vjp(X, None, cotangent))
    W = (cotangent + cotangent.T) * numpy_rbf(X)
    np.testing.assert_allclose(dX, W @ X - W.sum(axis=1, keepdims=True) * X, atol=1e-8)
    np.testing.assert_allclose(gradients["variance"], 0.5 * W.sum(), rtol=1e-8)


def test_value_numpy(benchmark, inputs):
    benchmark.group = "RBF value float64"
    benchmark(numpy_rbf, inputs[0])


def test_pullback_torch(benchmark, inputs):
    torch = pytest.importorskip("torch", reason="the peer PyTorch is not installed")
    benchmark.group = "RBF pull-back float64"
    X, cotangent = (torch.tensor(a) for a in inputs)

    def pullback():
        Z = X.clone().requires_grad_(True)
        squares = (Z**2).sum(dim=1)
        K = torch.exp(-0.5 * (squares[:, None] + squares - 2 * Z @ Z.T).clamp_min(0))
        (K * cotangent).sum().backward()
        return Z.grad

    dX, _, _ = lvm.kernels.RBF().vjp(inputs[0], None, inputs[1])
    np.testing.assert_allclose(benchmark(pullback).numpy(), dX, atol=1e-8)
