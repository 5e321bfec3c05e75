"""The oracles against finite differences, mpmath, SciPy and one another."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance

from . import bijectors, kernels, linalg

LONG = np.longdouble
EXACT = 1e-11  # two routes to one number in double precision, well conditioned
DIFFERENCE = 1e-7  # central differences in double precision
LONG_DIFFERENCE = 1e-10 if np.finfo(LONG).eps < 1e-18 else DIFFERENCE


def assert_near(actual, expected, tolerance=EXACT):
    """max |actual - expected| ≤ tolerance · max(1, |expected|)."""
    actual, expected = np.asarray(actual, dtype=LONG), np.asarray(expected, dtype=LONG)
    assert actual.shape == expected.shape
    assert np.max(np.abs(actual - expected)) <= tolerance * max(1.0, np.max(np.abs(expected)))


def differences(function, x, step):
    """df/dx by central differences, for a scalar function of one array."""
    x = np.asarray(x)
    gradient = np.zeros(x.shape, dtype=x.dtype)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (up[index] - down[index])
    return gradient


LENGTHSCALES = [pytest.param(0.8, id="scalar"), pytest.param(np.array([0.8, 1.3]), id="vector")]
TRIANGLES = [(True, False), (True, True), (False, False), (False, True)]
COLUMNS = [(), (3,)]


def test_rbf_values():
    K = kernels.rbf([[0.0, 0.0]], [[3.0, 4.0]], 2.0, 5.0)
    assert_near(K, [[2 * math.exp(-0.5)]])
    X = np.random.default_rng(0).standard_normal((6, 2))
    ells = np.array([0.8, 1.3])
    squares = scipy.spatial.distance.cdist(X / ells, X / ells, "sqeuclidean")
    assert_near(kernels.rbf(X, None, 1.7, ells), 1.7 * np.exp(-0.5 * squares))
    assert_near(kernels.rbf_diag(X, 1.7, ells), np.full(6, 1.7))


@pytest.mark.parametrize("lengthscale", LENGTHSCALES)
@pytest.mark.parametrize("same", [False, True])
def test_rbf_vjp(lengthscale, same):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((4, 2))
    Z = None if same else rng.standard_normal((3, 2))
    G = rng.standard_normal((4, 4 if same else 3))

    def f(X=X, Z=Z, variance=1.7, lengthscale=lengthscale):
        return np.sum(G * kernels.rbf(X, Z, variance, lengthscale))

    dX, dZ, dvariance, dlengthscale = kernels.rbf_vjp(X, Z, G, 1.7, lengthscale)
    assert_near(dX, differences(lambda t: f(X=t), X, 1e-5), DIFFERENCE)
    if same:
        assert dZ is None
    else:
        assert_near(dZ, differences(lambda t: f(Z=t), Z, 1e-5), DIFFERENCE)
    assert_near(dvariance, differences(lambda t: f(variance=t), 1.7, 1e-5), DIFFERENCE)
    numeric = differences(lambda t: f(lengthscale=t), lengthscale, 1e-5)
    assert_near(dlengthscale, numeric, DIFFERENCE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ulp_error(dtype):
    info = np.finfo(dtype)
    edge = [0.0, 1.0, info.max, info.tiny, info.smallest_subnormal, -3.0, 2.0 - info.eps]
    values = np.array(edge, dtype=dtype)
    exact = kernels.map_mp(lambda t: t, values)
    assert np.all(kernels.ulp_error(values, exact, dtype) == 0)
    one_up = np.nextafter(values[3:], dtype(np.inf))
    assert np.all(kernels.ulp_error(one_up, exact[3:], dtype) == 1)
    huge = kernels.exp_mp(np.array([2000.0] * 3))
    errors = kernels.ulp_error([np.inf, info.max, np.nan], huge, dtype)
    assert errors.tolist() == [0, np.inf, np.inf]
    x = np.linspace(-20, 20, 201).astype(dtype)
    rounded = np.array([float(e) for e in kernels.exp_mp(x)]).astype(dtype)
    assert np.max(kernels.ulp_error(rounded, kernels.exp_mp(x), dtype)) <= 0.5 + 1e-8


def test_bijectors():
    x = np.array([-700.0, -30.0, -1.0, 0.0, 0.5413248546129181, 1.0, 40.0, 700.0])
    y = bijectors.softplus_mp(x)
    assert np.max(kernels.ulp_error(np.logaddexp(0, x), y, float)) < 3
    for back, start in zip(bijectors.softplus_inverse_mp(y), x, strict=True):
        assert abs(back - mpmath.mpf(start)) < 1e-25 * max(1, abs(start))
    numeric = kernels.map_mp(lambda t: mpmath.log(mpmath.diff(bijectors._softplus, t)), x[1:-1])
    for a, b in zip(bijectors.softplus_log_derivative_mp(x[1:-1]), numeric, strict=True):
        assert abs(a - b) < 1e-15
    slope = kernels.map_mp(mpmath.log, bijectors.softplus_derivative_mp(x))
    for a, b in zip(bijectors.softplus_log_derivative_mp(x), slope, strict=True):
        assert abs(a - b) < 1e-40
    with pytest.raises(ValueError, match="y must be > 0"):
        bijectors.softplus_inverse_mp([0.0])


def test_cholesky_and_random_spd():
    rng = np.random.default_rng(4)
    A = linalg.random_spd(rng, 12, 1e4)
    assert np.array_equal(A, A.T)
    assert_near(np.linalg.cond(A) / 1e4, 1.0, 1e-10)
    L = linalg.cholesky(np.tril(A))
    assert np.max(np.abs(L @ L.T - A)) < 20 * np.finfo(LONG).eps
    assert_near(L, np.linalg.cholesky(A))
    with pytest.raises(np.linalg.LinAlgError, match="pivot 1 is -3"):
        linalg.cholesky([[1.0, 2.0], [2.0, 1.0]])


def test_cholesky_vjp():
    rng = np.random.default_rng(5)
    A = linalg.random_spd(rng, 5, 10.0).astype(LONG)
    L_bar = np.tril(rng.standard_normal((5, 5)))
    A_bar = linalg.cholesky_vjp(linalg.cholesky(A), L_bar)
    # cholesky reads the lower triangle only: its gradient there is twice A_bar off the diagonal.
    numeric = differences(lambda t: np.sum(L_bar * linalg.cholesky(t)), A, LONG(1e-6))
    assert_near(np.tril(2 * A_bar) - np.diag(np.diag(A_bar)), numeric, LONG_DIFFERENCE)
    assert np.array_equal(A_bar, A_bar.T)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize(("lower", "trans"), TRIANGLES)
def test_solve_triangular(lower, trans, columns):
    rng = np.random.default_rng(6)
    L = (rng.standard_normal((4, 4)) + 4 * np.eye(4)).astype(LONG)
    B = rng.standard_normal((4, *columns)).astype(LONG)
    X = linalg.solve_triangular(L, B, lower, trans)
    peer = scipy.linalg.solve_triangular(L.astype(float), B.astype(float), trans, lower)
    assert_near(X, peer)
    X_bar = rng.standard_normal(B.shape)
    L_bar, B_bar = linalg.solve_triangular_vjp(L, X, X_bar, lower, trans)

    def f(L, B):
        return np.sum(X_bar * linalg.solve_triangular(L, B, lower, trans))

    assert_near(L_bar, differences(lambda t: f(t, B), L, LONG(1e-6)), LONG_DIFFERENCE)
    assert_near(B_bar, differences(lambda t: f(L, t), B, LONG(1e-6)), LONG_DIFFERENCE)


@pytest.mark.parametrize("columns", COLUMNS)
def test_cholesky_solve(columns):
    rng = np.random.default_rng(7)
    A = linalg.random_spd(rng, 4, 10.0)
    L = linalg.cholesky(A)
    B = rng.standard_normal((4, *columns)).astype(LONG)
    X = linalg.cholesky_solve(L, B)
    assert_near(X, np.linalg.solve(A, B.astype(float)))
    X_bar = rng.standard_normal(B.shape)
    L_bar, B_bar = linalg.cholesky_solve_vjp(L, X, X_bar)

    def f(L, B):
        return np.sum(X_bar * linalg.cholesky_solve(L, B))

    assert_near(L_bar, differences(lambda t: f(t, B), L, LONG(1e-6)), LONG_DIFFERENCE)
    assert_near(B_bar, differences(lambda t: f(L, t), B, LONG(1e-6)), LONG_DIFFERENCE)


@pytest.mark.parametrize("m", [0, 1, 3])
def test_cholesky_update(m):
    rng = np.random.default_rng(8)
    A = linalg.random_spd(rng, 6, 10.0).astype(LONG)
    L, U, sign = linalg.cholesky(A), rng.standard_normal((6, m)).astype(LONG), rng.choice([-0.01, 1.0], m)
    expected = A + sum(s * np.outer(u, u) for s, u in zip(sign, U.T, strict=True))
    new = linalg.cholesky_update(L + np.triu(np.full((6, 6), 7.0), 1), U, sign)
    assert new.dtype == LONG
    assert np.max(np.abs(new @ new.T - expected)) < 100 * np.finfo(LONG).eps
    assert_near(new, linalg.cholesky(expected))
    assert_near(new, np.linalg.cholesky(expected.astype(float)))
    if m == 1:
        assert_near(new, linalg.cholesky_update(L, U[:, 0], sign[0]))


def test_cholesky_update_names_the_pivot():
    L = np.array([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [3.0, 1.0, 4.0]])
    for pivot in range(3):
        for scale in (1.0, 2.0):
            with pytest.raises(np.linalg.LinAlgError, match=f"pivot {pivot} is"):
                linalg.cholesky_update(L, scale * L[:, pivot], -1)
    assert_near(linalg.cholesky_update(L, np.stack([L[:, 1], L[:, 1]], 1), [-1, 1]), L)


@pytest.mark.parametrize("columns", [(), (0,), (1,), (3,)])
def test_cholesky_update_vjp(columns):
    rng = np.random.default_rng(9)
    L = linalg.cholesky(linalg.random_spd(rng, 4, 10.0))
    U = rng.standard_normal((4, *columns)).astype(LONG)
    sign = rng.choice([-0.01, 1.0], columns)
    L_new_bar = rng.standard_normal((4, 4))
    L_bar, U_bar = linalg.cholesky_update_vjp(L, U, L_new_bar, sign)

    def f(L, U):
        return np.sum(L_new_bar * linalg.cholesky_update(L, U, sign))

    assert_near(L_bar, differences(lambda t: f(t, U), L, LONG(1e-6)), LONG_DIFFERENCE)
    if U.size:
        assert_near(U_bar, differences(lambda t: f(L, t), U, LONG(1e-6)), LONG_DIFFERENCE)
    assert U_bar.shape == U.shape


@pytest.mark.parametrize("m", [0, 1, 3])
def test_cholesky_insert_and_delete(m):
    rng = np.random.default_rng(10)
    A = linalg.random_spd(rng, 5 + m, 10.0)
    whole = linalg.cholesky(A)
    for at in range(6):
        new = np.arange(at, at + m)
        old = np.delete(np.arange(5 + m), new)
        L = linalg.cholesky(A[np.ix_(old, old)])
        assert_near(linalg.cholesky_delete(whole, new), L)
        assert_near(linalg.cholesky_insert(L, at, A[np.ix_(old, new)], np.tril(A[np.ix_(new, new)])), whole)
    assert_near(linalg.cholesky_append(L, A[:5, 5:], A[5:, 5:]), whole)
    assert_near(linalg.cholesky_insert(whole, 2, np.zeros(5 + m), 4.0)[2], 2 * np.eye(6 + m)[2])
    assert_near(linalg.cholesky_delete(linalg.cholesky_insert(whole, 2, np.zeros(5 + m), 4.0), 2), whole)
    with pytest.raises(np.linalg.LinAlgError, match="pivot 3 is"):
        linalg.cholesky_insert(np.eye(4), 3, np.array([1.0, 0.0, 0.0, 0.0]), 1.0)
