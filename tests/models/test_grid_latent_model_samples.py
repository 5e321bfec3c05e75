"""Draws from latent grids, which follow the density, and what holds for densities of any map."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import grid_latent as oracle
from scipy import stats

import lvmfast as lvm

NOISE = 0.04


def text_model():
    return lvm.GridLatentModel(oracle.curve, NOISE)


@pytest.mark.parametrize("kind", ["curve", "plane"])
def test_samples_follow_the_density(kind):
    """Along three directions by Kolmogorov and Smirnov (1 in 1,000 sets would fail), and in mean and covariance."""
    W, mean = np.array([[1.0, 0.5], [-0.3, 0.8]]), np.array([1.0, -2.0])
    if kind == "curve":
        model, noise, Z = text_model(), NOISE, np.linspace(-6, 6, 601)
        centres, mass = oracle.curve_rows(Z), stats.norm.pdf(Z) * 0.02
    else:
        model, noise = lvm.GridLatentModel(lambda z: z @ W.T + mean, 0.1, n_components=2), 0.1
        C = oracle.linear_gaussian(W, mean, noise)[1]
    X, latents = model.sample(4000, rng=0, return_latents=True)
    assert X.shape == (4000, 2) and latents.shape == (4000, model.n_components)
    for u in (np.array([1, 0]), np.array([0, 1]), np.array([0.6, -0.8])):

        def cdf(t, u=u):
            if kind == "plane":
                return stats.norm.cdf(t, mean @ u, np.sqrt(u @ C @ u))
            return stats.norm.cdf(t[:, None], centres @ u, np.sqrt(noise)) @ mass

        assert stats.kstest(X @ u, cdf).statistic < 1.95 / np.sqrt(4000)
    for column in latents.T:
        assert stats.kstest(column, stats.norm.cdf).statistic < 1.95 / np.sqrt(4000)
    residual = X - np.column_stack(oracle.curve(latents[:, 0])) if kind == "curve" else X - latents @ W.T - mean
    assert stats.kstest(residual.ravel() / np.sqrt(noise), stats.norm.cdf).statistic < 1.95 / np.sqrt(8000)


def test_sample_seeds():
    model = text_model()
    first = model.sample(5, rng=0)
    np.testing.assert_array_equal(first, model.sample(5, rng=0))
    np.testing.assert_array_equal(first, model.sample(5, rng=0, return_latents=True)[0])
    assert not np.array_equal(first, model.sample(5, rng=1))
    rng = np.random.default_rng(0)
    assert not np.array_equal(model.sample(5, rng=rng), model.sample(5, rng=rng))


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    shift=st.sampled_from([0.0, -3.0, 1e3]),
    scale=st.sampled_from([1e-3, 0.5, 7.0, 1e4]),
    d=st.integers(1, 4),
)
def test_properties(seed, shift, scale, d):
    """x and f may be shifted and scaled together, rows and latents taken in any order, and mixtures split."""
    rng = np.random.default_rng(seed)
    m, n = 12, 5
    F, Z, w = rng.standard_normal((m, d)), rng.standard_normal((m, 1)), rng.uniform(0.1, 1, m)
    X, noise = 2 * rng.standard_normal((n, d)), rng.uniform(0.05, 1, d)

    def log_density(X, F, noise, order=slice(None)):
        places = {float(z): k for k, z in enumerate(Z[:, 0])}
        model = lvm.GridLatentModel(
            lambda z: F[[places[float(one)] for one in z[:, 0]]], noise, grid=(Z[order], w[order])
        )
        return model.log_density(X)

    base = log_density(X, F, noise)
    near = tolerance(np.float64, m, 10)
    condition = 1 + abs(shift) * np.abs(X).max() / noise.min()
    assert_near(log_density(X + shift, F + shift, noise), base, near * condition)
    scaled = log_density(scale * X, scale * F, scale**2 * noise)
    assert_near(scaled, base - d * np.log(scale), near, scale=np.abs(base).max() + d * abs(np.log(scale)))
    assert_near(log_density(X, F, noise, rng.permutation(m)), base, near)
    order = rng.permutation(n)
    np.testing.assert_array_equal(log_density(X[order], F, noise), base[order])
    np.testing.assert_array_equal(log_density(X[2:3], F, noise), base[2:3])
    # never above the densest component, nor below its own share
    terms = np.array([oracle.log_normal(x, F, noise) for x in X], float)
    log_pi = oracle.log_weights(oracle.normal_prior(Z), w).astype(float)
    slack = near * np.abs(base).max()
    assert (base <= terms.max(axis=1) + np.log(np.exp(log_pi).sum()) + slack).all()
    assert (base >= (terms + log_pi).max(axis=1) - slack).all()
