"""The GPLVM's loss and gradient against the oracle, through scaling, reduction and bijectors."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import gplvm as oracle

from lvmfast.exceptions import NonFiniteError, NotPositiveDefiniteError
from lvmfast.kernels import RBF
from lvmfast.models._gplvm_problem import (
    LENGTHSCALE_FLOOR,
    NOISE_FLOOR,
    VARIANCE_FLOOR,
    Problem,
    group_columns,
    reduce_columns,
)

NAN = np.nan
VARIANCE, NOISE = 1.4, 0.15
LENGTHSCALES = [pytest.param(0.9, id="scalar"), pytest.param([0.7, 1.6], id="ard")]


def observations(n=10, d=4, seed=0):
    """Y (n, d) with columns of different means and scales."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * (1 + np.arange(d)) + 3 * rng.standard_normal(d)


def with_missing(Y, seed=1):
    """A third missing; a column and a row wholly, a column all but one entry, a complete one."""
    Y = Y.copy()
    Y[np.random.default_rng(seed).random(Y.shape) < 0.3] = NAN
    Y[:, 0] = observations(*Y.shape)[:, 0]
    Y[2] = NAN
    Y[:, 1] = NAN
    Y[1:, 2] = NAN
    Y[0, 2] = 5.0
    return Y


def with_special_columns(Y):
    """Constant, zero, duplicate and negated columns."""
    constant = np.full(len(Y), 7.0)
    return np.column_stack([Y, constant, np.zeros(len(Y)), Y[:, 0], -2 * Y[:, 1]])


CASES = {
    "tall": observations(10, 4),
    "wide": observations(6, 15),
    "two-rows": observations(2, 3),
    "one-column": observations(9, 1),
    "special-columns": with_special_columns(observations(9, 3)),
    "missing": with_missing(observations(9, 6)),
    "missing-special": with_missing(with_special_columns(observations(8, 4))),
}


@pytest.fixture(params=CASES)
def Y(request):
    return CASES[request.param].copy()


def make(Y, lengthscale=0.9, *, center=True, jitter=0.0, dtype=None, seed=2):
    """(problem, objective, theta, latents) at scaled variance VARIANCE and noise NOISE."""
    problem = Problem(Y, center=center)
    objective = problem.objective(RBF(1.0, lengthscale), 2, jitter, dtype)
    X = np.random.default_rng(seed).standard_normal((len(Y), 2))
    return problem, objective, objective.pack(X, NOISE, RBF(VARIANCE, lengthscale)), X


def condition(problem):
    """At least the condition number of the covariance at VARIANCE and NOISE."""
    return 1 + problem.n * VARIANCE / NOISE


def expected(problem, Y, theta, X, lengthscale, jitter=0.0):
    """Loss and gradient by theta from the oracle: dy/du = 1 / (1 + exp(-u)) beside its dy."""
    scaled = (Y - problem.mean) / problem.scale
    value, dX, dv, dl, dn = oracle.loss_and_gradient(X, scaled, VARIANCE, lengthscale, NOISE, jitter / problem.scale**2)
    tail = np.concatenate([[dv], np.atleast_1d(dl), [dn]])
    return value, np.concatenate([dX.ravel(), tail / (1 + np.exp(-theta[X.size :]))])


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("lengthscale", LENGTHSCALES)
def test_value_and_gradient(Y, lengthscale, center):
    problem, objective, theta, X = make(Y, lengthscale, center=center)
    value, gradient = objective(theta)
    desired, desired_gradient = expected(problem, Y, theta, X, lengthscale)
    bound = tolerance(np.float64, len(Y), condition(problem))
    assert bound < 1e-9
    assert_near(value, desired, bound)
    assert_near(gradient, desired_gradient, bound)


@pytest.mark.parametrize("lengthscale", LENGTHSCALES)
def test_float32(Y, lengthscale):
    problem, objective, theta, X = make(Y, lengthscale, dtype=np.float32)
    value, gradient = objective(theta)
    desired, desired_gradient = expected(problem, Y, theta, X, lengthscale)
    bound = tolerance(np.float32, len(Y), condition(problem))
    assert gradient.dtype == np.float64
    assert_near(value, desired, bound)
    assert_near(gradient, desired_gradient, bound)


def test_float32_observations_are_fitted_in_float32():
    Y = observations().astype(np.float32)
    problem, objective, theta, X = make(Y)
    assert problem.dtype == objective.dtype == np.float32
    desired, _ = expected(problem, Y.astype(float), theta, X, 0.9)
    assert_near(objective(theta)[0], desired, tolerance(np.float32, 10, condition(problem)))


def test_fixed_jitter_is_in_the_units_of_the_observations(Y):
    problem, objective, theta, X = make(Y, jitter=0.4)
    value, gradient = objective(theta)
    desired, desired_gradient = expected(problem, Y, theta, X, 0.9, jitter=0.4)
    bound = tolerance(np.float64, len(Y), condition(problem))
    assert_near(value, desired, bound)
    assert_near(gradient, desired_gradient, bound)
    assert objective.jitter == 0.4 / problem.scale**2


def test_offset_brings_the_loss_to_the_units_of_the_observations(Y):
    problem, objective, theta, X = make(Y)
    square = problem.scale**2
    desired = oracle.loss(X, Y - problem.mean, VARIANCE * square, 0.9, NOISE * square)
    bound = tolerance(np.float64, len(Y), condition(problem))
    assert_near(objective(theta)[0] + objective.loss_offset(), desired, bound)


@pytest.mark.parametrize("lengthscale", LENGTHSCALES)
@pytest.mark.parametrize("case", ["wide", "missing"])
def test_gradient_is_the_slope_of_the_value(case, lengthscale):
    _, objective, theta, _ = make(CASES[case], lengthscale)
    _, gradient = objective(theta)
    step = np.cbrt(np.finfo(np.float64).eps)
    for seed in range(3):
        direction = np.random.default_rng(seed).standard_normal(theta.size)
        up, down = (objective(theta + s * step * direction)[0] for s in (1, -1))
        slope = (up - down) / (2 * step)
        assert abs(slope - gradient @ direction) < 100 * step**2 * np.abs(gradient).sum()


def test_same_bits_on_every_call(Y):
    _, objective, theta, _ = make(Y)
    value, gradient = objective(theta)
    objective(theta + 0.1)
    again, gradient_again = objective(theta)
    assert value == again
    np.testing.assert_array_equal(gradient, gradient_again)


def test_latents_as_a_cloud_far_from_the_origin():
    """k depends on differences alone: a common offset costs no more digits than X has lost."""
    _, objective, theta, X = make(CASES["tall"])
    shifted = objective.pack(X + 2.0**20, NOISE, RBF(VARIANCE, 0.9))
    rounded = objective.pack((X + 2.0**20) - 2.0**20, NOISE, RBF(VARIANCE, 0.9))
    bound = tolerance(np.float64, 10, condition(objective.problem))
    assert_near(objective(shifted)[0], objective(rounded)[0], bound)
    assert_near(objective(shifted)[1], objective(rounded)[1], bound)


@pytest.mark.parametrize("case", ["tall", "missing"])
def test_order_of_rows_and_columns_does_not_matter(case):
    Y = CASES[case]
    problem, objective, theta, X = make(Y)
    value, gradient = objective(theta)
    rng = np.random.default_rng(5)
    rows, columns = rng.permutation(len(Y)), rng.permutation(Y.shape[1])
    _, shuffled, _, _ = make(Y[rows][:, columns])
    value_2, gradient_2 = shuffled(shuffled.pack(X[rows], NOISE, RBF(VARIANCE, 0.9)))
    bound = tolerance(np.float64, len(Y), condition(problem))
    assert_near(value_2, value, bound)
    assert_near(gradient_2[: X.size].reshape(X.shape), gradient[: X.size].reshape(X.shape)[rows], bound)
    assert_near(gradient_2[X.size :], gradient[X.size :], bound)


def test_only_inner_products_of_rows_matter():
    """Y and Y Q with orthogonal Q have one likelihood."""
    Y = observations(10, 4)
    Q = np.linalg.qr(np.random.default_rng(6).standard_normal((4, 4)))[0]
    problem, objective, theta, _ = make(Y, center=False)
    _, rotated, _, _ = make(Y @ Q, center=False)
    bound = tolerance(np.float64, len(Y), condition(problem))
    assert_near(rotated(theta)[0], objective(theta)[0], bound)
    assert_near(rotated(theta)[1], objective(theta)[1], bound)


# What the observations are brought to.


@pytest.mark.parametrize("center", [True, False])
def test_scaled_observations_have_unit_mean_square(Y, center):
    before = Y.copy()
    problem = Problem(Y, center=center)
    np.testing.assert_array_equal(Y, before)  # the caller's
    Y_bar = Y - problem.mean
    np.testing.assert_allclose(np.sqrt(np.nanmean(Y_bar**2)), problem.scale)
    assert problem.count == (~np.isnan(Y)).sum() and (problem.n, problem.d) == Y.shape
    if center:
        seen = ~np.isnan(Y).all(axis=0)
        np.testing.assert_allclose(problem.mean[seen], np.nanmean(Y[:, seen], axis=0))
        assert not problem.mean[~seen].any()
    else:
        assert not problem.mean.any()


def test_groups_hold_the_observations(Y):
    """R V^T = Y in the rows and columns of each group, V^T V = I, and all that is seen is held."""
    problem = Problem(Y, center=True)
    scaled = (Y - problem.mean) / problem.scale
    held = np.full(Y.shape, NAN)
    bound = tolerance(np.float64, max(Y.shape))
    for group in problem.groups:
        rows = np.arange(len(Y)) if group.rows is None else group.rows
        rank = group.reduced.shape[1]
        assert np.isnan(held[np.ix_(rows, group.columns)]).all()
        held[np.ix_(rows, group.columns)] = group.reduced @ group.basis.T
        assert rank == np.linalg.matrix_rank(scaled[np.ix_(rows, group.columns)])
        assert_near(group.basis.T @ group.basis, np.eye(rank), bound) if rank else None
    np.testing.assert_array_equal(np.isnan(held), np.isnan(Y))
    seen = ~np.isnan(Y)
    assert_near(held[seen], scaled[seen], bound)


def test_columns_with_the_same_rows_share_a_group():
    Y = observations(5, 6)
    Y[1, [0, 3]] = NAN
    Y[2:4, [5]] = NAN
    Y[:, 4] = NAN
    found = [(None if r is None else r.tolist(), c.tolist()) for r, c in group_columns(Y)]
    assert found == [([0, 2, 3, 4], [0, 3]), (None, [1, 2]), ([0, 1, 4], [5])]


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 0), (1, 1)])
def test_zero_columns_reduce_to_nothing(shape):
    R, V = reduce_columns(np.zeros(shape))
    assert R.shape == (shape[0], 0) and V.shape == (shape[1], 0)


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1, -1e8 / 3])
def test_constant_observations_are_refused(value):
    """Also where the mean of equal numbers is not that number to the last bit."""
    with pytest.raises(ValueError, match="Y must vary"):
        Problem(np.full((30, 4), value), center=True)


# Parameters and floors.


@pytest.mark.parametrize("lengthscale", LENGTHSCALES)
def test_unpack_is_the_inverse_of_pack(lengthscale):
    _, objective, theta, X = make(CASES["tall"], lengthscale)
    X_back, kernel, noise = objective.unpack(theta)
    np.testing.assert_array_equal(X_back, X)
    np.testing.assert_allclose(
        [kernel.variance, *np.broadcast_to(kernel.lengthscale, 2), noise],
        [VARIANCE, *np.broadcast_to(lengthscale, 2), NOISE],
        rtol=tolerance(np.float64, 1),
    )


def test_parameters_below_a_floor_start_just_above_it():
    _, objective, _, X = make(CASES["tall"])
    _, kernel, noise = objective.unpack(objective.pack(X, 1e-300, RBF(1e-300, 1e-300)))
    for value, floor in (
        (kernel.variance, VARIANCE_FLOOR),
        (kernel.lengthscale, LENGTHSCALE_FLOOR),
        (noise, NOISE_FLOOR),
    ):
        assert floor < value < 3 * floor


# Where a factorisation fails.


def duplicates(jitter):
    """float32, all latents equal, a variance beside which the noise vanishes; theta."""
    _, objective, _, X = make(observations(12, 3), jitter=jitter, dtype=np.float32)
    return objective, objective.pack(np.zeros_like(X), 2 * NOISE_FLOOR, RBF(1e3, 0.9))


def test_automatic_jitter_is_reported_and_in_the_value():
    """The least of 1e-6, 1e-5, ... 1e-2 of the diagonal that does, as if it had been there."""
    objective, theta = duplicates("auto")
    assert objective.jitter == 0
    value, gradient = objective(theta)
    steps = objective.jitter / (1e-6 * 1e3)
    assert round(np.log10(steps)) in range(5)
    np.testing.assert_allclose(steps, 10.0 ** round(np.log10(steps)), rtol=1e-6)
    fixed, _ = duplicates(objective.jitter * objective.problem.scale**2)
    value_fixed, gradient_fixed = fixed(theta)
    np.testing.assert_allclose(value, value_fixed, rtol=1e-5)
    np.testing.assert_allclose(gradient, gradient_fixed, rtol=1e-3, atol=1e-3 * np.abs(gradient).max())
    less, _ = duplicates(objective.jitter / 10 * objective.problem.scale**2 if steps > 2 else 0.0)
    with pytest.raises(NotPositiveDefiniteError):
        less(theta)


def test_jitter_is_not_remembered():
    """The loss is a function of theta, not of where it was asked before."""
    objective, theta = duplicates("auto")
    easy = objective.pack(np.zeros((12, 2)), 1.0, RBF(1.0, 0.9))
    value, _ = objective(easy)
    objective(theta)
    assert objective.jitter > 0
    assert objective(easy)[0] == value
    assert objective.jitter == 0


def test_without_jitter_the_error_names_the_cause():
    objective, theta = duplicates(0.0)
    with pytest.raises(NotPositiveDefiniteError, match="duplicate") as caught:
        objective(theta)
    assert caught.value.pivot >= 1
    assert "k(X, X) + noise_variance * I" in str(caught.value)


def test_latents_that_are_not_finite():
    _, objective, theta, _ = make(CASES["tall"])
    theta[3] = NAN
    with pytest.raises(NonFiniteError, match="latents.*learning_rate"):
        objective(theta)
