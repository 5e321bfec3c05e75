"""Grids beside NumPy's meshgrid, mgrid and ogrid: orders, shapes, boxes, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lvmfast import grids

A, B = np.arange(1, 11, 2), np.arange(-12, -3, 3)  # the reference's axes


def axes_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [np.sort(rng.standard_normal(n)) for n in lengths]


# The relation of the reference: mgrid is the open grid made dense, meshgrid its transpose.


def test_the_relation_of_mgrid_and_meshgrid():
    ij, xy = grids.mesh(A, B), grids.mesh(A, B, indexing="xy")
    assert ij.shape == (5, 3) and xy.shape == (3, 5)
    for mine, theirs in zip(ij.coordinates, np.mgrid[1:11:2, -12:-3:3], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(xy.coordinates, np.meshgrid(A, B), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for one, other in zip(ij.coordinates, xy.coordinates, strict=True):
        np.testing.assert_array_equal(one, other.T)
    for mine, theirs in zip(grids.open_mesh(A, B), np.ogrid[1:11:2, -12:-3:3], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # "y3, x3 = np.mgrid[...]" with arguments and targets reversed is meshgrid
    y, x = grids.mesh(B, A).coordinates
    for one, other in zip((x, y), xy.coordinates, strict=True):
        np.testing.assert_array_equal(one, other)
    a, b = grids.open_mesh(A, B)
    np.testing.assert_array_equal(a + b, sum(ij.coordinates))


def test_complex_steps_of_mgrid_are_linspace():
    y, x = np.mgrid[-12:-3:3j, -5:5:5j]
    mesh = grids.mesh(np.linspace(-5, 5, 5), np.linspace(-12, -3, 3), indexing="xy")
    for mine, theirs in zip(mesh.coordinates, (x, y), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
@pytest.mark.parametrize("lengths", [(4,), (2, 5), (1, 3), (3, 2, 4), (2, 1, 3, 2)])
def test_beside_numpy(lengths, indexing):
    axes = axes_of(lengths)
    mesh = grids.mesh(*axes, indexing=indexing)
    dense = np.meshgrid(*axes, indexing=indexing)
    assert mesh.shape == dense[0].shape and mesh.indexing == indexing
    assert len(mesh) == mesh.points.shape[0] == np.prod(lengths)
    np.testing.assert_array_equal(mesh.points, np.stack([part.ravel() for part in dense], axis=1))
    np.testing.assert_array_equal(np.asarray(mesh), mesh.points)
    assert mesh.points.flags.c_contiguous
    for mine, given_axis in zip(mesh.axes, axes, strict=True):
        np.testing.assert_array_equal(mine, given_axis)
    for mine, theirs in zip(mesh.coordinates, dense, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    sparse = np.meshgrid(*axes, indexing=indexing, sparse=True)
    for parts in (mesh.open, grids.open_mesh(*axes, indexing=indexing)):
        assert isinstance(parts, tuple)
        for mine, theirs in zip(parts, sparse, strict=True):
            np.testing.assert_array_equal(mine, theirs)
            assert mine.shape == theirs.shape


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    indexing=st.sampled_from(["ij", "xy"]),
    trailing=st.lists(st.integers(1, 3), max_size=2),
)
def test_values_come_back_as_pictures(lengths, indexing, trailing):
    """reshape(f(points)) = f(open coordinates), also of values with shapes of their own."""
    mesh = grids.mesh(*axes_of(lengths), indexing=indexing)
    picture = sum((j + 1) * np.sin(part) for j, part in enumerate(mesh.open))
    values = sum((j + 1) * np.sin(column) for j, column in enumerate(mesh.points.T))
    np.testing.assert_array_equal(mesh.reshape(values), np.broadcast_to(picture, mesh.shape))
    scales = np.arange(1.0, 1 + np.prod(trailing, dtype=int)).reshape(trailing)
    many = mesh.reshape(np.multiply.outer(values, scales))
    assert many.shape == mesh.shape + tuple(trailing)
    np.testing.assert_array_equal(many, np.multiply.outer(mesh.reshape(values), scales))


def test_writing_into_the_axes_given_changes_no_mesh():
    axis = np.arange(3.0)
    mesh = grids.mesh(axis, axis)
    axis[:] = 9
    np.testing.assert_array_equal(mesh.axes[0], [0, 1, 2])
    np.testing.assert_array_equal(mesh.points[:, 1], np.tile([0, 1, 2], 3))


def test_lists_and_numbers_of_any_type():
    np.testing.assert_array_equal(grids.mesh([0, 1], (2, 3)).points, [[0, 2], [0, 3], [1, 2], [1, 3]])
    assert np.asarray(grids.mesh([0.5, 1]), dtype=np.float32).dtype == np.float32


# Grids for latents.


@pytest.mark.parametrize("n", [2, 7])
@pytest.mark.parametrize("q", [1, 2, 3])
def test_prior_grid(n, q):
    mesh = grids.prior_grid(n, (0.1, 0.8), n_components=q)
    assert mesh.points.shape == (n**q, q) and mesh.shape == (n,) * q
    for axis in mesh.axes:
        assert_near(axis, stats.norm.ppf(np.linspace(0.1, 0.8, n)), tolerance(np.float64))


def test_prior_grid_holds_the_middle_of_the_prior():
    mesh = grids.prior_grid(5)
    assert mesh.points.shape == (25, 2)
    assert_near(stats.norm.cdf(mesh.axes[0]), np.array([0.05, 0.275, 0.5, 0.725, 0.95]), tolerance(np.float64))


@pytest.mark.parametrize("margin", [0.05, 0.0, 0.5])
@pytest.mark.parametrize("q", [1, 2, 3])
def test_latent_grid(q, margin):
    """The box of the embedding, made wider by ``margin`` of its width on every side."""
    Z = np.random.default_rng(0).standard_normal((20, q)) * np.arange(1, q + 1)
    mesh = grids.latent_grid(Z, 4, margin=margin)
    assert mesh.points.shape == (4**q, q)
    for axis, column in zip(mesh.axes, Z.T, strict=True):
        more = margin * np.ptp(column)
        expected = np.linspace(column.min() - more, column.max() + more, 4)
        assert_near(axis, expected, tolerance(np.float64))
    np.testing.assert_array_equal(grids.latent_grid(Z, 4).points, grids.latent_grid(Z, 4, margin=0.05).points)


# What is refused.


@pytest.mark.parametrize("make", [grids.mesh, grids.open_mesh])
@pytest.mark.parametrize(
    ("axes", "match"),
    [
        ((), "axes|axis"),
        ((np.zeros((2, 2)),), r"\(2, 2\)"),
        (([0.0, 1.0], 3.0), "ax"),
        ((["a", "b"],), "real numbers"),
        (([1j, 2],), "real numbers"),
    ],
)
def test_axes_that_are_none(make, axes, match):
    with pytest.raises((TypeError, ValueError), match=match):
        make(*axes)


@pytest.mark.parametrize("make", [grids.mesh, grids.open_mesh])
@pytest.mark.parametrize("indexing", ["ji", "", None, 0])
def test_indexing_that_is_none(make, indexing):
    with pytest.raises(ValueError, match=f"indexing must be one of 'ij', 'xy', got {indexing!r}"):
        make([0.0, 1.0], [2.0], indexing=indexing)


@pytest.mark.parametrize("shape", [(5,), (7, 6), (2, 3), ()])
def test_values_that_are_no_picture(shape):
    with pytest.raises(ValueError, match="values must .*6.*, got"):
        grids.mesh([0.0, 1.0], [2.0, 3.0, 4.0]).reshape(np.zeros(shape))


@pytest.mark.parametrize("n", [0, -1, 2.5, "3", True, None])
def test_counts_that_are_none(n):
    for call in (lambda: grids.prior_grid(n), lambda: grids.latent_grid(np.eye(3), n)):
        with pytest.raises((TypeError, ValueError), match="n must be an integer >= 2, got"):
            call()
    with pytest.raises((TypeError, ValueError), match="n_components must be an integer >= 1, got"):
        grids.prior_grid(3, n_components=n)


@pytest.mark.parametrize(
    "quantiles", [(0.0, 0.5), (0.5, 1.0), (0.9, 0.1), (-0.1, 0.5), (np.nan, 0.5), (0.5,), 0.5, "ab"]
)
def test_quantiles_that_are_none(quantiles):
    with pytest.raises((TypeError, ValueError), match="quantiles must"):
        grids.prior_grid(3, quantiles)


@pytest.mark.parametrize(
    ("embedding", "match"),
    [
        (np.zeros(4), r"embedding must have shape \(n, \w+\), got \(4,\)"),
        (np.zeros((0, 2)), "embedding must"),
        ([[0.0, np.nan]], "embedding must be finite, got nan"),
        ([["a", "b"]], "embedding must hold real numbers"),
    ],
)
def test_embeddings_that_are_none(embedding, match):
    with pytest.raises((TypeError, ValueError), match=match):
        grids.latent_grid(embedding, 3)


@pytest.mark.parametrize("margin", [-0.1, np.nan, np.inf, "wide"])
def test_margins_that_are_none(margin):
    with pytest.raises((TypeError, ValueError), match="margin must be"):
        grids.latent_grid(np.eye(3), 3, margin=margin)
