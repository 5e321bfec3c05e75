"""Posteriors on latent grids: the text's example, closed forms, intervals, regions, draws, rows without support."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import grid_latent as oracle
from scipy import optimize, stats

import lvmfast as lvm

NOISE = 0.04
Z_TEXT = np.arange(-3.0, 3.0, 0.01)
ROWS = np.array([[0.9, -0.9], [0.2, 0.3], [1.3, 1.0]])
NEAR = tolerance(np.float64, 600)


def text_posterior(X=ROWS, **params):
    return lvm.GridLatentModel(oracle.curve, NOISE, grid=Z_TEXT, **params).posterior(X)


def text_oracle(x, normalize=False, noise=NOISE):
    Z, w = oracle.cells(Z_TEXT)
    return oracle.posterior(x, Z, w, oracle.normal_prior(Z), oracle.curve_rows(Z), noise, normalize)


def plane(noise=0.3, axes=None):
    """x = W z + mean of two latents on a mesh, with its closed form."""
    W, mean = np.array([[1.0, 0.5], [-0.3, 0.8], [0.4, 0.0]]), np.array([0.5, -1.0, 2.0])
    axis = np.linspace(-7, 7, 113)
    grid = lvm.grids.mesh(*(axes or (axis, axis)))
    model = lvm.GridLatentModel(lambda z: z @ W.T + mean, noise, grid=grid, n_components=2)
    return model, oracle.linear_gaussian(W, mean, noise)


@pytest.mark.parametrize("normalize", [False, True])
def test_beside_the_oracle(normalize):
    found = text_posterior(normalize=normalize)
    assert found.latents.shape == (600, 1) and found.weights.shape == (600,) and found.density.shape == (3, 600)
    assert found.log_evidence.shape == (3,) and found.supported.all() and found.supported.dtype == bool
    assert found.mean.shape == found.std.shape == found.mode.shape == (3, 1)
    np.testing.assert_array_equal(found.latents[:, 0], Z_TEXT)
    assert_near(found.weights, np.full(600, 0.01), NEAR)
    for i, x in enumerate(ROWS):
        expected = text_oracle(x, normalize)
        assert_near(found.density[i], expected.density, NEAR)
        assert_near(found.mean[i], expected.mean, NEAR, scale=3.0)
        assert_near(found.std[i], expected.std, NEAR, scale=3.0)
        np.testing.assert_array_equal(found.mode[i], expected.mode)
        assert found.log_evidence[i] == pytest.approx(float(expected.log_evidence), abs=NEAR)
    assert_near(found.density @ found.weights, np.ones(3), NEAR)
    model = lvm.GridLatentModel(oracle.curve, NOISE, grid=Z_TEXT, normalize=normalize)
    assert_near(found.log_evidence, model.log_density(ROWS), NEAR)


def test_the_text():
    """The posterior at (0.9, -0.9): three modes of weight, the densest at 0.17."""
    found = text_posterior(ROWS[:1])
    density = found.density[0]
    assert density @ found.weights == pytest.approx(1.0, abs=NEAR)
    assert found.mode[0, 0] == pytest.approx(0.17) and density.max() == pytest.approx(4.2109710378514)
    assert found.mean[0, 0] == pytest.approx(-0.38685982, abs=1e-8)
    assert found.std[0, 0] == pytest.approx(0.88934402, abs=1e-8)
    assert found.log_evidence[0] == pytest.approx(-1.2174192687655)
    peaks = 1 + np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:]))
    assert_near(Z_TEXT[peaks[density[peaks] > 0.1]], np.array([-2.04, -1.58, 0.17]), 1e-12)
    assert_near(found.credible_interval(0.95)[0, 0], np.array([-2.062064080539, 0.335365788156]), 1e-10)


def test_a_mesh_of_rows():
    mesh = lvm.grids.mesh([0.9, 0.2], [-0.9, 0.3, 1.0])
    np.testing.assert_array_equal(text_posterior(mesh).density, text_posterior(mesh.points).density)


# Intervals and regions.


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.95, 0.999])
def test_intervals_of_even_cells(level):
    found = text_posterior()
    intervals = found.credible_interval(level)
    assert intervals.shape == (3, 1, 2)
    boundaries = oracle.edges(Z_TEXT)
    for i in range(3):
        expected = oracle.equal_tailed(found.density[i] * found.weights, boundaries, level)
        assert_near(intervals[i, 0], np.array(expected), 1e-9, scale=1.0)


def test_intervals_of_uneven_cells():
    z = np.sort(np.random.default_rng(3).normal(size=60))
    found = lvm.GridLatentModel(oracle.curve, 0.5, grid=z).posterior(ROWS)
    assert_near(found.weights, np.diff(oracle.edges(z)), tolerance(np.float64))
    for i in range(3):
        expected = oracle.equal_tailed(found.density[i] * found.weights, oracle.edges(z), 0.8)
        assert_near(found.credible_interval(0.8)[i, 0], np.array(expected), 1e-9, scale=1.0)


def test_intervals_are_quantiles_of_the_integral():
    z = np.linspace(-6, 6, 24001)
    found = lvm.GridLatentModel(oracle.curve, NOISE, grid=z).posterior(ROWS[:1])
    low, high = found.credible_interval()[0, 0]

    def density(t):
        return np.exp(-0.5 * (t**2 + np.sum((ROWS[0] - np.array(oracle.curve(t))) ** 2) / NOISE))

    total = oracle.quadrature(density)
    assert oracle.quadrature(density, high=low) / total == pytest.approx(0.025, abs=1e-6)
    assert oracle.quadrature(density, low=high) / total == pytest.approx(0.025, abs=1e-6)


def test_intervals_of_each_latent():
    """Of the marginals: normal quantiles, where the map is linear."""
    axes = np.linspace(-5, 5, 201), np.linspace(-6, 6, 241)
    model, (mu, _, gain, covariance) = plane(axes=axes)
    X = mu + np.array([[0.3, -1.0, 0.5], [1.0, 1.0, 1.0]])
    found = model.posterior(X).credible_interval(0.9)
    assert found.shape == (2, 2, 2)
    for i in range(2):
        for k in range(2):
            expected = stats.norm.interval(0.9, (gain @ (X[i] - mu))[k], np.sqrt(covariance[k, k]))
            assert_near(found[i, k], np.array(expected), 1e-3)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.95])
def test_regions_are_the_densest(level):
    found = text_posterior()
    region = found.credible_region(level)
    assert region.shape == (3, 600) and region.dtype == bool
    mass = found.density * found.weights
    for i in range(3):
        np.testing.assert_array_equal(region[i], oracle.densest(found.density[i], found.weights, level))
        assert mass[i][region[i]].sum() >= level
        assert found.density[i][region[i]].min() >= found.density[i][~region[i]].max()
        least = mass[i][region[i]][found.density[i][region[i]].argmin()]
        assert mass[i][region[i]].sum() - least < level
    with_weights = text_posterior(ROWS[:1]).credible_region(0.95)[0]
    assert with_weights.sum() == 80  # three pieces, around the three modes
    assert np.count_nonzero(np.diff(with_weights.astype(int)) == 1) == 3


# Closed forms and limits.


def test_linear_maps_have_normal_posteriors():
    model, (mu, C, gain, covariance) = plane()
    X = mu + np.array([[0.0, 0.0, 0.0], [0.5, -1.0, 0.3], [2.0, 2.0, -1.0]])
    found = model.posterior(X)
    near = 1e-9
    assert_near(found.mean, (X - mu) @ gain.T, near)
    assert_near(found.std, np.tile(np.sqrt(np.diag(covariance)), (3, 1)), near)
    assert_near(found.log_evidence, stats.multivariate_normal(mu, C).logpdf(X), near)
    for i in range(3):
        exact = stats.multivariate_normal(gain @ (X[i] - mu), covariance).pdf(found.latents)
        assert_near(found.density[i], exact, near)


def test_without_information_the_posterior_is_the_prior():
    found = lvm.GridLatentModel(oracle.curve, 1e14, grid=np.linspace(-9, 9, 901)).posterior(ROWS)
    for density in found.density:
        assert_near(density, stats.norm.pdf(found.latents[:, 0]), 1e-12)
    assert_near(found.mean, np.zeros((3, 1)), 1e-12, scale=1.0)
    assert_near(found.std, np.ones((3, 1)), 1e-12)


def test_without_noise_the_posterior_is_a_point():
    """x = f(z) with one such z on the grid."""
    found = lvm.GridLatentModel(lambda z: (z, z**3), 1e-9, grid=Z_TEXT).posterior([[Z_TEXT[100], Z_TEXT[100] ** 3]])
    assert found.mode[0, 0] == Z_TEXT[100] == pytest.approx(found.mean[0, 0])
    assert found.density[0, 100] * found.weights[100] == pytest.approx(1.0)
    assert found.std[0, 0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_narrow_posteriors_have_all_digits(noise, dtype):
    """Standard deviations far smaller than the latents themselves."""
    z = np.linspace(-3, 3, 60_001)
    x = np.array([[1.75, 1.75]], dtype)  # exact in float32
    found = lvm.GridLatentModel(lambda z: (z, z), noise, grid=z).posterior(x)
    expected = 1 / np.sqrt(1 + 2 / noise)
    assert_near(found.std, np.full((1, 1), expected), tolerance(dtype, 1, 2 / np.sqrt(noise)))


def test_gauss_hermite():
    """Few nodes have exact moments of a linear map's posterior, where the noise is wide."""
    model = lvm.GridLatentModel(lambda z: (z, -0.5 * z), 3.0, grid="gauss-hermite", n_grid=60)
    W = np.array([[1.0], [-0.5]])
    _, _, gain, covariance = oracle.linear_gaussian(W, np.zeros(2), 3.0)
    found = model.posterior(ROWS)
    assert_near(found.mean, ROWS @ gain.T, 1e-9)
    assert_near(found.std, np.full((3, 1), np.sqrt(covariance[0, 0])), 1e-9)
    assert_near((found.density * found.weights).sum(axis=1), np.ones(3), 1e-12)


def test_float32_and_far_rows():
    found = text_posterior(ROWS.astype(np.float32))
    for i, x in enumerate(ROWS.astype(np.float32).astype(float)):
        expected = text_oracle(x)
        assert_near(found.density[i], expected.density, tolerance(np.float32, 10))
        assert_near(found.mean[i], expected.mean, tolerance(np.float32, 10), scale=3.0)
    far = np.array([[1e3, -1e3]])  # log p(x) is about -2e7
    expected, found = text_oracle(far[0]), text_posterior(far)
    assert found.supported.all() and found.log_evidence[0] == pytest.approx(float(expected.log_evidence), rel=1e-12)
    near = tolerance(np.float64, 2, abs(float(expected.log_evidence)))
    assert_near(found.density[0], expected.density, near)


# Draws, and rows without support.


def test_draws_follow_the_posterior():
    found = text_posterior(ROWS[:2])
    draws = found.sample(4000, rng=0)
    assert draws.shape == (4000, 2, 1)
    boundaries = oracle.edges(Z_TEXT)
    for i in range(2):
        cdf = np.r_[0.0, np.cumsum(found.density[i] * found.weights)]
        statistic = stats.kstest(draws[:, i, 0], lambda z, cdf=cdf: np.interp(z, boundaries, cdf)).statistic
        assert statistic < 1.95 / np.sqrt(4000) + 0.05  # draws at the grid's points are in steps
    np.testing.assert_array_equal(draws, found.sample(4000, rng=0))
    model, (mu, _, gain, covariance) = plane()
    draws = model.posterior(mu[None] + 0.5).sample(4000, rng=1)[:, 0]
    assert_near(draws.mean(axis=0), gain @ np.full(3, 0.5), 0.06, scale=1.0)
    assert_near(np.cov(draws.T), covariance, 0.12)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e200])
def test_a_row_without_support(bad):
    X = ROWS.copy()
    X[1, 0] = bad
    with pytest.warns(RuntimeWarning, match="1 of 3 rows of X have density 0"):
        found = text_posterior(X)
    np.testing.assert_array_equal(found.supported, [True, False, True])
    assert found.log_evidence[1] == -np.inf
    assert np.isnan(found.density[1]).all() and np.isnan(found.mean[1]).all() and np.isnan(found.std[1]).all()
    assert np.isnan(found.mode[1]).all() and np.isnan(found.credible_interval()[1]).all()
    assert not found.credible_region(0.95)[1].any()
    assert np.isnan(found.sample(3, rng=0)[:, 1]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = text_posterior(X[[0, 2]])
    for name in ("density", "mean", "std", "mode", "log_evidence"):
        assert_near(getattr(found, name)[[0, 2]], getattr(alone, name), NEAR)


def test_modes_are_those_of_an_optimiser():
    """Within one cell of the maximum over all latents."""
    found = text_posterior()
    for x, mode in zip(ROWS, found.mode[:, 0], strict=True):

        def loss(z, x=x):
            return 0.5 * (z**2 + np.sum((x - np.array(oracle.curve(z))) ** 2) / NOISE)

        starts = np.linspace(-3, 3, 121)
        at = starts[np.argmin([loss(z) for z in starts])]
        best = optimize.minimize_scalar(loss, bracket=(at - 0.05, at, at + 0.05)).x
        assert abs(mode - best) <= 0.0051
