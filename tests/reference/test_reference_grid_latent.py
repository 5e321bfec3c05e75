"""The oracle of latent grids against mpmath, SciPy's normal densities, quadrature and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from . import grid_latent as oracle
from .test_reference import EXACT, assert_near

NOISE = 0.04
X = np.array([[0.9, -0.9], [0.2, 0.3], [1.3, 1.0]])


def test_cells_of_equal_spacing_are_the_spacing():
    z = np.arange(-3.0, 3.0, 0.01)
    Z, w = oracle.cells(z)
    assert Z.shape == (600, 1)
    assert_near(w, np.full(600, 0.01), 1e-12)
    Z, w = oracle.cells([0.0, 1.0, 3.0], [0.0, 2.0])
    np.testing.assert_array_equal(Z[:3], [[0, 0], [0, 2], [1, 0]])
    np.testing.assert_array_equal(w, [2.0, 2.0, 3.0, 3.0, 4.0, 4.0])


def test_density_in_mpmath_by_loops_and_by_quadrature():
    Z, w = oracle.cells(np.arange(-12, 12, 0.01))
    F, log_pi = oracle.curve_rows(Z), oracle.log_weights(oracle.normal_prior(Z), w)
    rows = oracle.log_density(X, F, log_pi, NOISE)
    assert_near(oracle.log_density_exact(X[0], F, log_pi, NOISE), rows[0], EXACT)
    assert_near(oracle.mesh_density(tuple(X.T), F, log_pi, NOISE), np.exp(rows), 1e-13)
    quad = [oracle.log_density_by_quadrature(x, lambda z: np.array(oracle.curve(z)), NOISE) for x in X]
    assert_near(quad, rows, 1e-11)


def test_linear_curve_is_normal():
    W, mean, v = np.array([[1.0], [-0.5]]), np.array([0.2, 1.0]), np.array([0.3, 0.5])
    Z, w = oracle.cells(np.linspace(-10, 10, 401))
    mu, C, gain, covariance = oracle.linear_gaussian(W, mean, v)
    F, prior = Z @ W.T + mean, oracle.normal_prior(Z)
    assert_near(
        oracle.log_density(X, F, oracle.log_weights(prior, w), v), stats.multivariate_normal(mu, C).logpdf(X), 1e-13
    )
    found = oracle.posterior(X[1], Z, w, prior, F, v)
    assert_near(found.mean, gain @ (X[1] - mean), 1e-12)
    assert_near(found.std**2, np.diag(covariance), 1e-12)
    low, high = oracle.equal_tailed(found.density * w, oracle.edges(Z[:, 0]), 0.95)
    assert (low, high) == pytest.approx(stats.norm.interval(0.95, float(found.mean[0]), float(found.std[0])), abs=1e-3)


def test_gradient_by_differences():
    Z, w = oracle.cells(np.linspace(-2, 2, 5))
    F, log_pi, v = oracle.curve_rows(Z), oracle.log_weights(oracle.normal_prior(Z), w), np.array([0.1, 0.2])
    c = np.array([1.0, -0.5, 2.0])
    given = [np.asarray(a, dtype=oracle.LONG) for a in (X, F, log_pi, v)]
    exact = oracle.gradient(*given, c)
    for which, slope in enumerate(exact):
        for index in np.ndindex(slope.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [a.copy() for a in given]
                moved[which][index] += step
                sides.append(c @ oracle.log_density(*moved))
            assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(float(slope[index]), rel=1e-8, abs=1e-8)


def test_principal_components_are_the_best():
    X = np.random.default_rng(0).standard_normal((50, 4)) * [3, 2, 1, 0.5]
    mean, W, noise, best = oracle.ppca(X, 2)
    normal = stats.multivariate_normal(*oracle.linear_gaussian(W, mean, noise)[:2])
    assert normal.logpdf(X).mean() == pytest.approx(best, abs=1e-12)
    for factor in (0.9, 1.1):
        other = stats.multivariate_normal(*oracle.linear_gaussian(W, mean, factor * noise)[:2])
        assert other.logpdf(X).mean() < best
