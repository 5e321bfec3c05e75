"""Expectations of log densities with all derivatives, 20 nodes, beside PyTorch's automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
from cases import threads
from peers._common import importable
from peers.torch_likelihoods import expectations

from lvmfast.likelihoods import Bernoulli, NegativeBinomial, StudentT

MODELS = {
    "bernoulli": (Bernoulli(), ()),
    "probit": (Bernoulli("probit"), ()),
    "student_t": (StudentT(0.8, 4.0), (0.8, 4.0)),
    "negative_binomial": (NegativeBinomial(0.5), (0.5,)),
}
TORCH, WHY = importable("torch")


def data(name, n):
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=n), rng.uniform(0.1, 1.5, n)
    y = {"student_t": rng.normal(size=n), "negative_binomial": rng.poisson(2.0, n).astype(float)}
    return y.get(name, rng.integers(0, 2, n).astype(float)), mean, variance


def ours(name, n):
    model, y_m_v = MODELS[name][0], data(name, n)

    def run():
        value, by_mean, by_variance, by = model.expected_log_density(*y_m_v, gradients=True)
        return [value, by_mean, by_variance, *(g.sum() for g in by.values())]

    return run


def theirs(name, n):
    return expectations(name, *data(name, n), MODELS[name][1], 20)


@pytest.mark.parametrize("n", [1024, 100_000])
@pytest.mark.parametrize("name", MODELS)
class TestExpectations:
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_ours(self, benchmark, name, n, n_threads):
        benchmark.group = f"{name} {n}"
        with threads(n_threads):
            benchmark(ours(name, n))

    @pytest.mark.skipif(not TORCH, reason=WHY)
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_torch(self, benchmark, name, n, n_threads):
        import torch

        benchmark.group = f"{name} {n}"
        run, before = theirs(name, n), torch.get_num_threads()
        for a, b in zip(ours(name, n)(), run(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8 * (1 if np.ndim(a) else n))
        torch.set_num_threads(n_threads)
        try:
            benchmark(run)
        finally:
            torch.set_num_threads(before)
