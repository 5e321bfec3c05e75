"""What holds for every input: Hypothesis looks for one for which it does not."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import FLOATS, assert_near, spd, tolerance, triangular
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import lvmfast as lvm
from lvmfast.bijectors import Softplus

CONDITION = 100.0

dtypes = st.sampled_from(FLOATS)
sizes = st.integers(1, 12)
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
batches = st.sampled_from([(), (1,), (3,), (2, 2)])
positive = st.floats(0.125, 8.0, width=32)
numbers = st.floats(-4.0, 4.0, width=32)
scalars = st.floats(-3.0, 3.0, width=32)


@st.composite
def inputs(draw, most=10):
    """X (n, q) and Z (m, q) with entries in multiples of 1/64, whose sums and differences are exact; often equal."""
    n, m, q = draw(st.integers(1, most)), draw(st.integers(1, most)), draw(st.integers(1, 5))
    entries = st.integers(-256, 256).map(lambda i: i / 64)
    dtype = draw(dtypes)
    return draw(arrays(dtype, (n, q), elements=entries)), draw(arrays(dtype, (m, q), elements=entries))


@st.composite
def kernels(draw, q):
    return lvm.kernels.RBF(draw(positive), draw(positive | arrays(float, q, elements=positive)))


@st.composite
def problems(draw):
    """A kernel with inputs."""
    X, Z = draw(inputs())
    return draw(kernels(X.shape[1])), X, Z


def cotangents(X, Z):
    return arrays(X.dtype, (len(X), len(Z)), elements=numbers)


class TestKernel:
    @given(problems())
    def test_gram_matrices_are_positive_semidefinite(self, problem):
        """Up to the rounding of n entries, duplicate points included."""
        k, X, Z = problem
        points = np.concatenate([X, Z, X[:1]])
        K = k(points)
        np.testing.assert_array_equal(K, K.T)
        assert (np.diag(K) == K.dtype.type(k.variance)).all()
        lowest = np.linalg.eigvalsh(K.astype(float)).min()
        # An entry's error is its exponent's times it: at most 1/e, however far the points.
        assert lowest >= -tolerance(K.dtype, len(points)) * k.variance

    @given(problems())
    def test_bounds(self, problem):
        k, X, Z = problem
        K = k(X, Z)
        assert (K >= 0).all()
        assert (tolerance(K.dtype) * k.variance + k.variance >= K).all()

    @given(problems())
    def test_transpose(self, problem):
        """k(X, Z) = k(Z, X)^T, although each is centred on its first argument."""
        k, X, Z = problem
        assert_near(k(X, Z), k(Z, X).T, tolerance(X.dtype, X.shape[1], 8 * 4 / 0.125), scale=k.variance)

    @given(problems(), st.integers(-1000, 1000))
    def test_translation(self, problem, shift):
        """k(X + c, Z + c) = k(X, Z): the sums are exact here, so nothing but rounding inside may differ."""
        k, X, Z = problem
        c = X.dtype.type(shift)
        relative = tolerance(X.dtype, X.shape[1], 8 / 0.125)
        assert_near(k(X + c, Z + c), k(X, Z), relative, scale=k.variance)
        assert_near(k(X + c), k(X), relative, scale=k.variance)

    @given(problems(), st.sampled_from([0.25, 2.0, 8.0]))
    def test_units(self, problem, unit):
        """Inputs and lengthscales in other units: a power of two changes no bit."""
        k, X, Z = problem
        other = lvm.kernels.RBF(k.variance, np.asarray(k.lengthscale) * unit)
        scaled = X * X.dtype.type(unit), Z * Z.dtype.type(unit)
        np.testing.assert_array_equal(other(*scaled), k(X, Z))

    @given(problems())
    def test_variance_scales(self, problem):
        k, X, Z = problem
        double = lvm.kernels.RBF(2 * k.variance, k.lengthscale)
        denormal = 2 * np.finfo(X.dtype).smallest_subnormal  # where doubling is not exact
        assert (np.abs(double(X, Z) - 2 * k(X, Z)) <= denormal).all()

    @given(problems(), st.randoms(use_true_random=False))
    def test_permutation(self, problem, random):
        """The order of the points is the order of the rows; centring is the only thing that sees all of them."""
        k, X, _ = problem
        order = random.sample(range(len(X)), len(X))
        actual, expected = k(X[order]), k(X)[np.ix_(order, order)]
        assert_near(actual, expected, tolerance(X.dtype, X.shape[1], 8 / 0.125), scale=k.variance)

    @given(st.data(), problems(), scalars, scalars)
    def test_pullback_is_linear(self, data, problem, a, b):
        k, X, Z = problem
        C, D = data.draw(cotangents(X, Z)), data.draw(cotangents(X, Z))
        both = (a * C.astype(float) + b * D).astype(X.dtype)
        left, c, d = (flat(k.vjp(X, Z, cotangent)) for cotangent in (both, C, D))
        size = 3 * 4 + 3 * 4  # the largest |a C + b D|
        relative = tolerance(X.dtype, max(len(X), len(Z)))
        assert_near(left, a * c + b * d, relative, scale=size * bound(k, X, Z))

    @given(st.data(), problems())
    def test_pullback_is_adjoint(self, data, problem):
        """sum(C * dK) = sum(dX * X_bar) + sum(dZ * Z_bar) + ..., with dK by forward differentiation."""
        k, X, Z = problem
        C, dX, dZ = (data.draw(arrays(X.dtype, s, elements=numbers)) for s in ((len(X), len(Z)), X.shape, Z.shape))
        d_variance, d_lengthscale = data.draw(scalars), data.draw(arrays(float, X.shape[1], elements=scalars))
        k = lvm.kernels.RBF(k.variance, np.broadcast_to(k.lengthscale, X.shape[1]))
        X_bar, Z_bar, bars = k.vjp(X, Z, C)
        X, Z, C, dX, dZ, X_bar, Z_bar = (a.astype(float) for a in (X, Z, C, dX, dZ, X_bar, Z_bar))
        ells = k.lengthscale
        difference = X[:, None] - Z[None]
        K = k.variance * np.exp(-0.5 * np.sum((difference / ells) ** 2, axis=-1))
        dK = K * d_variance / k.variance
        dK -= K * np.sum(difference * (dX[:, None] - dZ[None]) / ells**2, axis=-1)
        dK += K * np.sum(difference**2 * d_lengthscale / ells**3, axis=-1)
        right = np.sum(dX * X_bar) + np.sum(dZ * Z_bar)
        right += d_variance * bars["variance"] + np.sum(d_lengthscale * bars["lengthscale"])
        relative = tolerance(problem[1].dtype, max(len(X), len(Z)))
        assert_near(right, np.sum(C * dK), relative, scale=4 * 4 * bound(k, X, Z) * X.size * Z.size)

    @given(st.data(), problems())
    def test_pullback_of_a_common_shift_is_zero(self, data, problem):
        """k does not change when all points move together: the gradients sum to zero."""
        k, X, Z = problem
        C = data.draw(cotangents(X, Z))
        X_bar, Z_bar, _ = k.vjp(X, Z, C)
        total = X_bar.sum(0, dtype=float) + Z_bar.sum(0, dtype=float)
        scale = 4 * bound(k, X, Z) * (len(X) + len(Z))
        assert_near(total, np.zeros(X.shape[1]), tolerance(X.dtype, max(len(X), len(Z))), scale=scale)


def flat(pulled):
    """All gradients in one float64 vector."""
    dX, dZ, gradients = pulled
    parts = [dX, dZ, gradients["variance"], gradients["lengthscale"]]
    return np.concatenate([np.ravel(np.asarray(part, float)) for part in parts])


def bound(k, X, Z):
    """What no entry of a gradient exceeds for cotangents of at most 1, with room for the condition of centring."""
    shortest = np.min(k.lengthscale)
    return max(1.0, k.variance) * max(1.0, 8 / shortest) ** 2 / min(1.0, shortest) * len(X) * len(Z)


class TestCholesky:
    @given(generators, sizes, dtypes, batches)
    def test_product(self, rng, n, dtype, batch):
        """L L^T = A, with a positive diagonal and zeros above it."""
        A = spd(rng, n, condition=CONDITION, dtype=dtype, batch=batch)
        L = lvm.linalg.cholesky(A)
        assert_near(L.astype(float) @ np.swapaxes(L, -1, -2).astype(float), A, tolerance(dtype, n))
        np.testing.assert_array_equal(L, np.tril(L))
        assert (np.einsum("...ii->...i", L) > 0).all()

    @given(generators, sizes, dtypes)
    def test_signs(self, rng, n, dtype):
        """Turning the signs of variables turns those of rows; exactly."""
        A = spd(rng, n, condition=CONDITION, dtype=dtype)
        signs = rng.choice([-1, 1], n).astype(dtype)
        expected = lvm.linalg.cholesky(A) * signs[:, None] * signs
        np.testing.assert_array_equal(lvm.linalg.cholesky(A * signs[:, None] * signs), expected)

    @given(generators, sizes, dtypes, st.floats(0.0, 2.0, width=32))
    def test_jitter_is_added(self, rng, n, dtype, jitter):
        A = spd(rng, n, condition=CONDITION, dtype=dtype)
        L, used = lvm.linalg.cholesky(A, jitter=jitter, return_jitter=True)
        assert used == jitter
        product = L.astype(float) @ L.T.astype(float)
        assert_near(product, A + jitter * np.eye(n), tolerance(dtype, n), scale=1 + jitter)

    @given(generators, sizes, dtypes, scalars, scalars)
    def test_pullback_is_linear(self, rng, n, dtype, a, b):
        L = np.tril(triangular(rng, n, condition=10.0, dtype=dtype))
        C, D = rng.standard_normal((2, n, n)).astype(dtype)
        left = lvm.linalg.cholesky_vjp(L, dtype(a) * C + dtype(b) * D)
        right = dtype(a) * lvm.linalg.cholesky_vjp(L, C) + dtype(b) * lvm.linalg.cholesky_vjp(L, D)
        assert_near(left, right, tolerance(dtype, n), scale=pulled(L) * 6 * n)

    @given(generators, sizes, dtypes)
    def test_pullback_is_adjoint(self, rng, n, dtype):
        """sum(L_bar * dL) = sum(A_bar * dA) with dL = L Phi(L^-1 dA L^-T)."""
        L = np.linalg.cholesky(spd(rng, n, condition=CONDITION))
        L = L.astype(dtype)
        L_bar, dA = rng.standard_normal((n, n)).astype(dtype), rng.standard_normal((n, n))
        dA = dA + dA.T
        wide = L.astype(float)
        inner = np.linalg.solve(wide, np.linalg.solve(wide, dA).T)
        dL = wide @ (np.tril(inner) - 0.5 * np.diag(np.diag(inner)))
        A_bar = lvm.linalg.cholesky_vjp(L, L_bar).astype(float)
        np.testing.assert_array_equal(A_bar, A_bar.T)
        scale = pulled(wide) * n * np.abs(dA).max()
        assert_near(np.sum(A_bar * dA), np.sum(L_bar * dL), tolerance(dtype, n * n), scale=scale)


def pulled(L):
    """How much the pull-back of a Cholesky factor may enlarge a cotangent: |L| |L^-1|^2."""
    L = np.tril(L).astype(float)
    return np.linalg.norm(L, 2) * np.linalg.norm(np.linalg.inv(L), 2) ** 2


@st.composite
def updates(draw, sign=None):
    """A generator, L with NaN above its diagonal, U and signs for which the new factor is well conditioned."""
    rng, n, m, dtype = draw(generators), draw(sizes), draw(st.integers(0, 6)), draw(dtypes)
    signs = rng.choice([-1, 1], m) if sign is None else np.full(m, sign)
    U = rng.standard_normal((n, m)) / (np.sqrt(n) + np.sqrt(m))
    taken = U[:, signs < 0]
    L = np.linalg.cholesky(spd(rng, n, condition=CONDITION) + taken @ taken.T)
    return rng, np.where(np.tri(n, dtype=bool), L, np.nan).astype(dtype), U.astype(dtype), signs


def updated(U):
    """The relative error allowed to an update by U."""
    return tolerance(U.dtype, sum(U.shape), 2 * CONDITION)


class TestCholeskyUpdate:
    @given(updates())
    def test_product(self, problem):
        _, L, U, sign = problem
        new = lvm.linalg.cholesky_update(L, U, sign=sign)
        L, U, wide = np.tril(L).astype(float), U.astype(float), new.astype(float)
        scale = np.abs(L @ L.T).max() + np.abs(U @ U.T).max()
        assert_near(wide @ wide.T, L @ L.T + U * sign @ U.T, tolerance(new.dtype, sum(U.shape)), scale=scale)
        np.testing.assert_array_equal(new, np.tril(new))
        assert (np.diag(new) > 0).all()

    @given(updates())
    def test_order_and_signs_of_columns(self, problem):
        """A column stands for u u^T: neither its place nor its sign counts."""
        rng, L, U, sign = problem
        new = lvm.linalg.cholesky_update(L, U, sign=sign)
        order, flips = rng.permutation(len(sign)), rng.choice([-1, 1], len(sign)).astype(U.dtype)
        assert_near(lvm.linalg.cholesky_update(L, U[:, order], sign=sign[order]), new, updated(U))
        assert_near(lvm.linalg.cholesky_update(L, U * flips, sign=sign), new, updated(U))

    @given(updates(), st.integers(0, 6))
    def test_parts(self, problem, first):
        """Some columns and then the others: those to be added first."""
        _, L, U, sign = problem
        order = np.argsort(-sign, kind="stable")
        new, step = lvm.linalg.cholesky_update(L, U, sign=sign), L
        for part in (order[:first], order[first:]):
            step = lvm.linalg.cholesky_update(step, U[:, part], sign=sign[part])
        assert_near(step, new, updated(U))

    @given(updates(sign=1))
    def test_there_and_back(self, problem):
        _, L, U, _ = problem
        back = lvm.linalg.cholesky_update(lvm.linalg.cholesky_update(L, U), U, sign=-1)
        assert_near(back, np.tril(L), updated(U))

    @given(updates(), st.integers(-30, 30))
    def test_powers_of_two_are_exact(self, problem, exponent):
        _, L, U, sign = problem
        scale = U.dtype.type(2.0**exponent)
        new = lvm.linalg.cholesky_update(L * scale, U * scale, sign=sign)
        np.testing.assert_array_equal(new, lvm.linalg.cholesky_update(L, U, sign=sign) * scale)

    @given(updates())
    def test_units_of_variables(self, problem):
        """Powers of two as units of variables: those of rows; exactly."""
        rng, L, U, sign = problem
        unit = (2.0 ** rng.integers(-20, 20, len(L))).astype(L.dtype)[:, None]
        new = lvm.linalg.cholesky_update(L * unit, U * unit, sign=sign)
        np.testing.assert_array_equal(new, lvm.linalg.cholesky_update(L, U, sign=sign) * unit)

    @given(updates())
    def test_signs_of_variables(self, problem):
        """Turning the signs of variables turns those of rows; exactly."""
        rng, L, U, sign = problem
        turn = rng.choice([-1, 1], len(L)).astype(L.dtype)
        new = lvm.linalg.cholesky_update(L * turn[:, None] * turn, U * turn[:, None], sign=sign)
        np.testing.assert_array_equal(new, lvm.linalg.cholesky_update(L, U, sign=sign) * turn[:, None] * turn)

    @given(updates())
    def test_pullback_is_adjoint(self, problem):
        """sum(L_new_bar * dL_new) = sum(L_bar * dL) + sum(U_bar * dU) with dL_new = L_new Phi(L_new^-1 dA L_new^-T)."""
        rng, L, U, sign = problem
        n, m = U.shape
        L_new_bar, dL = rng.standard_normal((n, n)).astype(L.dtype), np.tril(rng.standard_normal((n, n)))
        dU = rng.standard_normal((n, m))
        L_bar, U_bar = lvm.linalg.cholesky_update_vjp(L, U, L_new_bar, sign=sign)
        L, U = np.tril(L).astype(float), U.astype(float)
        new = np.linalg.cholesky(L @ L.T + U * sign @ U.T)
        half = dL @ L.T + dU * sign @ U.T
        inner = np.linalg.solve(new, np.linalg.solve(new, half + half.T).T)
        dL_new = new @ (np.tril(inner) - 0.5 * np.diag(np.diag(inner)))
        actual = np.sum(L_bar * dL) + np.sum(U_bar * dU)
        scale = pulled(new) * n * np.abs(half + half.T).max()
        assert_near(actual, np.sum(L_new_bar * dL_new), tolerance(L_bar.dtype, n * (n + m)), scale=max(1, scale))

    @given(generators, sizes, st.integers(0, 4), st.integers(0, 12), dtypes, batches)
    def test_insert_then_delete(self, rng, n, m, at, dtype, batch):
        at = min(at, n)
        A = spd(rng, n + m, condition=CONDITION, batch=batch)
        new = np.arange(at, at + m)
        old = np.delete(np.arange(n + m), new)
        L = np.linalg.cholesky(A[..., old[:, None], old]).astype(dtype)
        b, c = (A[..., rows[:, None], new].astype(dtype) for rows in (old, new))
        inserted = lvm.linalg.cholesky_insert(L, at, b, c)
        assert_near(lvm.linalg.cholesky_delete(inserted, new), L, tolerance(dtype, n + m, 2 * CONDITION))
        whole = inserted.astype(float) @ np.swapaxes(inserted, -1, -2).astype(float)
        assert_near(whole, A, tolerance(dtype, n + m, 2.0))


class TestSolves:
    @given(generators, sizes, st.integers(1, 4), dtypes, batches, st.booleans(), st.booleans())
    def test_round_trip(self, rng, n, m, dtype, batch, lower, trans):
        """solve(L, op(L) X) = X and op(L) solve(L, B) = B."""
        L = triangular(rng, n, condition=CONDITION, dtype=dtype, batch=batch, lower=lower)
        T = np.tril(L) if lower else np.triu(L)
        T = np.swapaxes(T, -1, -2) if trans else T
        X = rng.standard_normal((*batch, n, m)).astype(dtype)
        back = lvm.linalg.solve_triangular(L, T @ X, lower=lower, trans=trans)
        assert_near(back, X, tolerance(dtype, n, CONDITION))
        solution = lvm.linalg.solve_triangular(L, X, lower=lower, trans=trans)
        # The backward error is relative to |T| |solution|, which is up to the condition number times |X|.
        assert_near(T.astype(float) @ solution, X, tolerance(dtype, n, CONDITION))

    @given(generators, sizes, st.integers(1, 4), dtypes, batches)
    def test_cholesky_round_trip(self, rng, n, m, dtype, batch):
        A = spd(rng, n, condition=CONDITION, dtype=dtype, batch=batch)
        X = rng.standard_normal((*batch, n, m)).astype(dtype)
        back = lvm.linalg.cholesky_solve(lvm.linalg.cholesky(A), A @ X)
        assert_near(back, X, tolerance(dtype, n, CONDITION))

    @given(generators, sizes, st.integers(1, 4), dtypes)
    def test_columns_are_solved_by_themselves(self, rng, n, m, dtype):
        L, B = triangular(rng, n, condition=10.0, dtype=dtype), rng.standard_normal((n, m)).astype(dtype)
        X = lvm.linalg.solve_triangular(L, B)
        for j in range(m):
            assert_near(lvm.linalg.solve_triangular(L, B[:, j]), X[:, j], tolerance(dtype, n, 10.0))

    @pytest.mark.parametrize("name", ["solve_triangular", "cholesky_solve"])
    @given(generators, sizes, st.integers(1, 4), dtypes, scalars, scalars)
    def test_pullback_is_linear(self, name, rng, n, m, dtype, a, b):
        L = np.tril(triangular(rng, n, condition=10.0, dtype=dtype))
        X, C, D = rng.standard_normal((3, n, m)).astype(dtype)
        vjp = getattr(lvm.linalg, name + "_vjp")
        left = vjp(L, X, dtype(a) * C + dtype(b) * D)
        for both, c, d in zip(left, vjp(L, X, C), vjp(L, X, D), strict=True):
            scale = 6 * n * m * max(pulled(L), np.linalg.cond(L) ** 2) * max(1, np.abs(X).max())
            assert_near(both, dtype(a) * c + dtype(b) * d, tolerance(dtype, n), scale=scale)

    @given(generators, sizes, st.integers(1, 4), dtypes, st.booleans(), st.booleans())
    def test_triangular_pullback_is_adjoint(self, rng, n, m, dtype, lower, trans):
        """sum(X_bar * dX) = sum(L_bar * dL) + sum(B_bar * dB) with op(L) dX = dB - op(dL) X."""
        part = np.tril if lower else np.triu
        L = part(triangular(rng, n, condition=10.0, dtype=dtype, lower=lower))
        X, X_bar, dB = rng.standard_normal((3, n, m)).astype(dtype)
        dL = part(rng.standard_normal((n, n)))
        T, dT = (L.T.astype(float), dL.T) if trans else (L.astype(float), dL)
        dX = np.linalg.solve(T, dB - dT @ X)
        L_bar, B_bar = lvm.linalg.solve_triangular_vjp(L, X, X_bar, lower=lower, trans=trans)
        np.testing.assert_array_equal(L_bar, part(L_bar))
        scale = n * m * (np.abs(X_bar).max() + 1) * np.linalg.norm(np.linalg.inv(T), 2) * np.abs(dB - dT @ X).max()
        actual = np.sum(L_bar.astype(float) * dL) + np.sum(B_bar.astype(float) * dB)
        assert_near(actual, np.sum(X_bar * dX), tolerance(dtype, n, 10.0), scale=max(1, scale))

    @given(generators, sizes, st.integers(1, 4), dtypes)
    def test_cholesky_pullback_is_adjoint(self, rng, n, m, dtype):
        """The same with A dX = dB - (dL L^T + L dL^T) X, A = L L^T."""
        L = np.tril(triangular(rng, n, condition=3.0, dtype=dtype))
        X, X_bar, dB = rng.standard_normal((3, n, m)).astype(dtype)
        dL, wide = np.tril(rng.standard_normal((n, n))), L.astype(float)
        right = dB - (dL @ wide.T + wide @ dL.T) @ X
        dX = np.linalg.solve(wide @ wide.T, right)
        L_bar, B_bar = lvm.linalg.cholesky_solve_vjp(L, X, X_bar)
        scale = n * m * (np.abs(X_bar).max() + 1) * np.linalg.norm(np.linalg.inv(wide), 2) ** 2 * np.abs(right).max()
        actual = np.sum(L_bar.astype(float) * dL) + np.sum(B_bar.astype(float) * dB)
        assert_near(actual, np.sum(X_bar * dX), tolerance(dtype, n, 10.0), scale=max(1, scale))


class TestSoftplus:
    @given(st.data(), dtypes, st.floats(0, 4, width=32))
    def test_order_and_floor(self, data, dtype, floor):
        """Non-decreasing, above its floor and above the line."""
        width = np.dtype(dtype).itemsize * 8
        u = np.sort(data.draw(arrays(dtype, 6, elements=st.floats(-1e4, 1e4, width=width))))
        y = Softplus(floor).forward(u)
        assert (np.diff(y) >= -np.spacing(np.abs(y[1:]))).all()
        assert (y >= dtype(floor)).all()
        assert (y >= u).all()

    @given(st.data(), dtypes)
    def test_mirror(self, data, dtype):
        """softplus(u) - softplus(-u) = u, and the derivatives of both sides add up to one."""
        width = np.dtype(dtype).itemsize * 8
        u = data.draw(arrays(dtype, 6, elements=st.floats(-1e4, 1e4, width=width)))
        s = Softplus()
        assert_near(s.forward(u) - s.forward(-u), u, tolerance(dtype), scale=max(1, np.abs(u).max()))
        assert_near(s.derivative(u) + s.derivative(-u), np.ones(6), tolerance(dtype))
        assert_near(s.forward_log_det(u), -s.forward(-u), 0.0)
