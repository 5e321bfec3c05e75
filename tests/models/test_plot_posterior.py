"""Pictures of posteriors over latents on a grid."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pictures import drawn_on
from scipy.stats import multivariate_normal, norm

import lvmfast as lvm
from lvmfast import plot


def region(density, weights):
    """The densest grid points that together hold at least the level."""

    def credible_region(level):
        order = np.argsort(-density)
        count = 1 + np.searchsorted(np.cumsum((density * weights)[order]), level)
        held = np.zeros(len(density), dtype=bool)
        held[order[:count]] = True
        return np.stack([held, held])

    return credible_region


@pytest.fixture
def curve():
    """N(0.5, 0.3^2) on a grid; the second row has no support."""
    z = np.linspace(-2, 3, 501)
    p = norm(0.5, 0.3).pdf(z)
    return SimpleNamespace(
        latents=z[:, None],
        density=np.stack([p, np.full(501, np.nan)]),
        supported=np.array([True, False]),
        mean=np.array([[0.5], [np.nan]]),
        mode=np.array([[0.5], [np.nan]]),
        credible_interval=lambda level: np.tile(norm(0.5, 0.3).interval(level), (2, 1, 1)),
        credible_region=region(p, np.full(501, 0.01)),
    )


@pytest.fixture
def surface():
    grid = lvm.grids.mesh(np.linspace(-2, 2, 41), np.linspace(-1, 3, 41))
    p = multivariate_normal([0.1, 1.0], 0.1).pdf(grid.points)
    density = np.stack([p, p])
    return SimpleNamespace(
        latents=grid.points,
        density=density,
        supported=np.array([True, True]),
        mean=np.tile([0.1, 1.0], (2, 1)),
        mode=np.tile([0.1, 1.0], (2, 1)),
        credible_region=region(p, np.full(41 * 41, 0.01)),
    )


def test_curve(curve):
    artist = drawn_on(lambda ax: plot.posterior(curve, level=0.9, ax=ax))
    np.testing.assert_array_equal(artist.density.get_xydata(), np.column_stack([curve.latents, curve.density[0]]))
    np.testing.assert_array_equal(artist.mean.get_xdata(), [0.5, 0.5])
    np.testing.assert_allclose(artist.mode.get_xydata(), [[0.5, norm(0.5, 0.3).pdf(0.5)]])
    np.testing.assert_allclose(artist.interval.get_xdata(), norm(0.5, 0.3).interval(0.9))
    ends = artist.region.get_paths()[0].vertices[:, 0]
    np.testing.assert_allclose([ends.min(), ends.max()], norm(0.5, 0.3).interval(0.9), atol=0.01)
    words = [t.get_text() for t in artist.axes.get_legend().get_texts()]
    assert words == ["p(z | x)", "90 %, densest", "90 %, equal tails", "mean, 0.5", "mode, 0.5"]


def test_curve_of_latents_in_any_order(curve):
    order = np.random.default_rng(0).permutation(501)
    curve.latents, curve.density = curve.latents[order], curve.density[:, order]
    x = plot.posterior(curve).density.get_xdata()
    assert (np.diff(x) > 0).all()


def test_map(surface):
    artist = drawn_on(lambda ax: plot.posterior(surface, row=1, ax=ax))
    np.testing.assert_array_equal(artist.density.get_array(), surface.density[1])
    np.testing.assert_array_equal(artist.mean.get_xydata(), [[0.1, 1.0]])
    # 95 % of a normal distribution of two dimensions lie within sqrt(-2 log 0.05) standard deviations.
    radii = np.linalg.norm(np.concatenate(artist.region.allsegs[0]) - [0.1, 1.0], axis=1)
    np.testing.assert_allclose(radii, np.sqrt(-2 * np.log(0.05) * 0.1), rtol=0.05)


def test_model_of_a_grid():
    """From the estimator: its densities on a mesh, posterior, draws and losses."""
    model = lvm.GridLatentModel(lambda z: np.hstack([z, z**2]), 0.04, grid=np.linspace(-3, 3, 201))
    found = model.posterior([[0.5, 0.3], [-1.0, 1.0]])
    artist = plot.posterior(found, 1)
    np.testing.assert_array_equal(artist.density.get_ydata(), found.density[1])
    np.testing.assert_array_equal(artist.mean.get_xdata(), found.mean[1].repeat(2))
    ends = artist.interval.get_xdata()
    np.testing.assert_array_equal(ends, found.credible_interval(0.95)[1, 0])
    low, high = artist.axes.get_xlim()
    assert -3 <= low < ends.min() and ends.max() < high <= 3
    X = model.sample(30, rng=0)
    for draw in (plot.density, plot.contours):
        assert len(draw(model, (-3, 3), (-1, 4), samples=X, n=20).samples.get_xdata()) == 30
    shown = np.asarray(plot.density(model, (-3, 3), (-1, 4), n=20).map.get_array()).ravel()
    grid = lvm.grids.mesh(np.linspace(-3, 3, 20), np.linspace(-1, 4, 20), indexing="xy")
    np.testing.assert_allclose(shown, np.exp(model.log_density(grid.points)), rtol=1e-10)
    model.fit(X)
    losses = plot.loss_curve(model)
    np.testing.assert_array_equal(losses.line.get_ydata(), model.loss_curve_)
    assert losses.axes.get_ylabel() == "$-$log p(x) (nats a row)"


def test_errors(curve, surface):
    with pytest.raises(ValueError, match="row 1 has no posterior"):
        plot.posterior(curve, 1)
    with pytest.raises(ValueError, match="row must be below 2"):
        plot.posterior(curve, 2)
    surface.latents = np.zeros((1681, 3))
    with pytest.raises(ValueError, match="one or two latents, got 3"):
        plot.posterior(surface)
