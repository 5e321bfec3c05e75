"""Mixtures of spherical normals and their pull-back beside longdouble sums, on rows and on meshes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from reference import grid_latent as oracle

from lvmfast import _backend

SIZES = [(1, 1, 1), (7, 5, 2), (3, 17, 3), (40, 33, 5), (9, 700, 1), (6, 50, 16), (6, 50, 17), (70, 65, 60)]


def mixture(n, m, d, seed=0, dtype=np.float64):
    """x (n, d), centres (m, d) and log weights (m,), rounded to the dtype."""
    rng = np.random.default_rng(seed)
    parts = 3 * rng.standard_normal((n, d)), 2 * rng.standard_normal((m, d)), rng.uniform(-20, 0, m)
    return tuple(np.ascontiguousarray(part, dtype) for part in parts)


def exact(x, centres, log_weights):
    """Log densities without the constant, in longdouble."""
    constant = 0.5 * x.shape[1] * np.log(2 * oracle.LONG(np.pi))
    return oracle.log_density(x, centres, log_weights.astype(oracle.LONG), 1.0) + constant


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values(size, dtype, instruction_set):
    x, centres, log_weights = mixture(*size, dtype=dtype)
    expected = exact(x, centres, log_weights)
    near = tolerance(dtype, size[2])
    assert_near(_backend.cpu.mixture_log_density(x, centres, log_weights), expected, near)
    log_p, shares = _backend.cpu.mixture_shares(x, centres, log_weights)
    assert_near(log_p, expected, near)
    assert log_p.dtype == shares.dtype == dtype and shares.shape == size[:2]
    for i, row in enumerate(x):
        terms = oracle.log_normal(row, centres, 1.0) + log_weights
        parts = np.exp(terms - oracle.log_sum_exp(terms))
        # an exponent of this size has this rounding
        assert_near(shares[i], parts, tolerance(dtype, size[2], float(np.abs(expected).max())), scale=1.0)
    assert_near(shares.sum(axis=1), np.ones(size[0]), tolerance(dtype, size[1]))


@pytest.mark.parametrize("d", [16, 17, 60])
def test_points_near_centres_that_are_far_from_zero(d, instruction_set):
    """Distances by products have cancelled there: they are taken by differences, so that no digit is lost."""
    rng = np.random.default_rng(0)
    centres = 1e7 * rng.standard_normal((50, d))
    x = centres[:20] + rng.standard_normal((20, d))
    expected = exact(x, centres, np.zeros(50))
    log_p, shares = _backend.cpu.mixture_shares(x, centres, np.zeros(50))
    assert_near(log_p, expected, tolerance(np.float64, d))
    assert_near(shares, np.eye(20, 50), tolerance(np.float64, d), scale=1.0)


@pytest.mark.parametrize("by_x", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pull_back(size, by_x, dtype, instruction_set):
    x, centres, log_weights = mixture(*size, dtype=dtype)
    cotangent = np.random.default_rng(1).standard_normal(size[0]).astype(dtype)
    for given in (cotangent, None):
        c = np.ones(size[0]) if given is None else given.astype(float)
        expected = oracle.gradient(x, centres, log_weights.astype(oracle.LONG), np.ones(size[2]), c)
        log_p, *found = _backend.cpu.mixture_vjp(x, centres, log_weights, given, by_x)
        assert_near(log_p, exact(x, centres, log_weights), tolerance(dtype, size[2]))
        assert (found[0] is None) != by_x
        near = tolerance(dtype, max(size), np.abs(exact(x, centres, log_weights)).max().astype(float))
        for one, other in zip(found, expected, strict=False):
            if one is not None:
                assert_near(one, other, near)


@pytest.mark.parametrize("size", [(4, 5, 2), (3, 4, 18)], ids=str)
def test_pull_back_by_differences(size):
    x, centres, log_weights = mixture(*size)
    c = np.random.default_rng(1).standard_normal(size[0])
    value = _backend.cpu.mixture_log_density
    _, d_x, d_centres, d_log_weights = _backend.cpu.mixture_vjp(x, centres, log_weights, c, True)
    near = tolerance(np.float64, size[2], DIFFERENCE)
    scale = np.abs(value(x, centres, log_weights)).max()
    assert_near(d_x, differences(lambda a: c @ value(a, centres, log_weights), x), near, scale=scale)
    assert_near(d_centres, differences(lambda a: c @ value(x, a, log_weights), centres), near, scale=scale)
    assert_near(d_log_weights, differences(lambda a: c @ value(x, centres, a), log_weights), near, scale=scale)


@pytest.mark.parametrize("shape", [(1, 1), (5, 4), (30, 21), (1, 40), (3, 4, 5), (2, 1, 3, 4)], ids=str)
@pytest.mark.parametrize("m", [1, 30, 1100])
def test_meshes(shape, m, instruction_set):
    _, centres, log_weights = mixture(1, m, len(shape))
    rng = np.random.default_rng(2)
    axes = [np.sort(3 * rng.standard_normal(size)) for size in shape]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))
    found = _backend.cpu.mixture_mesh_log_density(np.concatenate(axes), np.array(shape), centres, log_weights)
    assert found.shape == shape
    scale = float(np.abs(exact(x, centres, log_weights)).max())
    assert_near(found.ravel(), exact(x, centres, log_weights), tolerance(np.float64, m), scale=max(1.0, scale))


def test_meshes_with_points_far_away():
    """Coordinates that are near for one axis and far for the other; where the product of exponentials says nothing."""
    centres = np.array([[0.0, 0.0], [40.0, 40.0], [0.0, 90.0]])
    log_weights = np.array([0.0, -1.0, -300.0])
    axes = np.array([0.0, 40.0, 1e3]), np.array([-1e4, 0.0, 40.0, 90.0, 1e150])
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    found = _backend.cpu.mixture_mesh_log_density(np.concatenate(axes), np.array([3, 5]), centres, log_weights)
    for one, other in zip(found.ravel(), exact(x, centres, log_weights), strict=True):
        assert one == pytest.approx(float(other), rel=tolerance(np.float64, 3), abs=tolerance(np.float64, 3))


def test_no_weight_and_no_density():
    """Centres of weight 0 count for nothing; with no other centre all is -inf; so it is beyond the range."""
    x, centres, log_weights = mixture(5, 20, 2)
    log_weights[3:] = -np.inf
    few = _backend.cpu.mixture_log_density(x, centres[:3].copy(), log_weights[:3].copy())
    assert_near(_backend.cpu.mixture_log_density(x, centres, log_weights), few, tolerance(np.float64, 2))
    log_p, shares = _backend.cpu.mixture_shares(x, centres, np.full(20, -np.inf))
    assert np.isneginf(log_p).all() and not shares.any()
    mesh = _backend.cpu.mixture_mesh_log_density(np.arange(5.0), np.array([2, 3]), centres, log_weights)
    assert np.isfinite(mesh).all()
    for d in (2, 20):
        x, centres, log_weights = mixture(3, 20, d)
        x[1, 0] = 1e200
        log_p, *gradients = _backend.cpu.mixture_vjp(x, centres, log_weights, None, True)
        assert log_p[1] == -np.inf and np.isfinite(log_p[[0, 2]]).all()
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_threads(set_num_threads, dtype):
    x, centres, log_weights = mixture(3000, 200, 2, dtype=dtype)
    wide = mixture(300, 200, 20, dtype=dtype)
    axes, sizes = np.sort(mixture(500, 1, 1)[0].ravel()), np.array([300, 200])
    answers = []
    for count in (1, 2, 3):
        set_num_threads(count)
        cpu = _backend.cpu
        answers.append(
            [
                cpu.mixture_log_density(x, centres, log_weights),
                *cpu.mixture_shares(x, centres, log_weights),
                *cpu.mixture_vjp(x, centres, log_weights, None, True),
                cpu.mixture_log_density(*wide),
                cpu.mixture_mesh_log_density(axes, sizes, centres.astype(float), log_weights.astype(float)),
            ]
        )
    for other in answers[1:]:
        for k, (one, two) in enumerate(zip(other, answers[0], strict=True)):
            np.testing.assert_array_equal(one, two, err_msg=str(k))


def test_shapes_and_types():
    x, centres, log_weights = mixture(4, 5, 2)
    call = _backend.cpu.mixture_log_density
    assert call(np.empty((0, 2)), centres, log_weights).shape == (0,)
    for bad in (
        (x[:, :1].copy(), centres, log_weights),
        (x[0], centres, log_weights),
        (x, centres, log_weights[:4].copy()),
        (x, np.empty((0, 2)), np.empty(0)),
    ):
        with pytest.raises(ValueError, match="must have"):
            call(*bad)
    with pytest.raises(TypeError):
        call(x.astype(np.float32), centres, log_weights)
    mesh = _backend.cpu.mixture_mesh_log_density
    for sizes in ([2, 0], [2, 3], [2, 2, 2]):
        with pytest.raises(ValueError, match="must have"):
            mesh(np.arange(4.0), np.array(sizes), centres, log_weights)
