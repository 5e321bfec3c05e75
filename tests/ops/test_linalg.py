"""Triangular and Cholesky solves, and their pull-backs."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, layouts, spd, tolerance, triangular
from reference import linalg as oracle

import lvmfast as lvm

CONDITION = 100.0
SIZES = [1, 2, 3, 7, 16, 33]
TRIANGLES = [(True, False), (True, True), (False, False), (False, True)]
COLUMNS = [(), (1,), (3,)]


def op(L, lower, trans):
    """The matrix that solve_triangular(L, ..., lower=lower, trans=trans) inverts."""
    T = np.tril(L) if lower else np.triu(L)
    return np.swapaxes(T, -1, -2) if trans else T


class TestSolveTriangular:
    @pytest.mark.parametrize(("lower", "trans"), TRIANGLES)
    @pytest.mark.parametrize("n", SIZES)
    @pytest.mark.parametrize("columns", COLUMNS)
    def test_value(self, rng, dtype, lower, trans, n, columns):
        """NaN stands in the triangle that is not read."""
        L = triangular(rng, n, condition=CONDITION, dtype=dtype, lower=lower)
        B = rng.standard_normal((n, *columns)).astype(dtype)
        X = lvm.linalg.solve_triangular(L, B, lower=lower, trans=trans)
        assert X.dtype == dtype
        assert_near(X, oracle.solve_triangular(L, B, lower, trans), tolerance(dtype, n, CONDITION))

    @pytest.mark.parametrize(
        ("matrices", "sides", "batch"),
        [
            ((), (3,), (3,)),
            ((3,), (), (3,)),
            ((3,), (3,), (3,)),
            ((2, 1), (3,), (2, 3)),
            ((1,), (3,), (3,)),
            ((3,), (1,), (3,)),
            ((1, 1), (), (1, 1)),
            ((2, 3), (1, 1), (2, 3)),
            ((), (0,), (0,)),
            ((0,), (), (0,)),
            ((0, 2), (1,), (0, 2)),
        ],
    )
    @pytest.mark.parametrize(("lower", "trans"), TRIANGLES)
    def test_broadcast(self, rng, lower, trans, matrices, sides, batch):
        L = triangular(rng, 4, batch=matrices, lower=lower)
        B = rng.standard_normal((*sides, 4, 2))
        X = lvm.linalg.solve_triangular(L, B, lower=lower, trans=trans)
        assert X.shape == (*batch, 4, 2)
        every_L, every_B = np.broadcast_to(L, (*batch, 4, 4)), np.broadcast_to(B, X.shape)
        for index in np.ndindex(batch):
            single = oracle.solve_triangular(every_L[index], every_B[index], lower, trans)
            assert_near(X[index], single, tolerance(float, 4, CONDITION))

    def test_vector_with_a_batch(self, rng):
        """A one-dimensional B is one right-hand side for every matrix."""
        L, b = triangular(rng, 4, batch=(2, 3)), rng.standard_normal(4)
        X = lvm.linalg.solve_triangular(L, b)
        assert X.shape == (2, 3, 4)
        for index in np.ndindex(2, 3):
            assert_near(X[index], oracle.solve_triangular(L[index], b), tolerance(float, 4, CONDITION))

    @pytest.mark.parametrize("shapes", [((0, 0), (0, 2)), ((0, 0), (0,)), ((3, 3), (3, 0)), ((2, 0, 0), (0, 3))])
    def test_empty(self, dtype, shapes):
        L, B = np.ones(shapes[0], dtype), np.ones(shapes[1], dtype)
        X = lvm.linalg.solve_triangular(L, B)
        assert X.shape == (*shapes[0][:-2], *shapes[1])
        assert X.dtype == dtype

    def test_layout(self, rng, dtype):
        L = triangular(rng, 5, dtype=dtype, batch=(2,))
        B = rng.standard_normal((2, 5, 3)).astype(dtype)
        X = lvm.linalg.solve_triangular(L, B)
        kept = L.copy(), B.copy()
        for name, other in layouts(L):
            np.testing.assert_array_equal(lvm.linalg.solve_triangular(other, B), X, err_msg=name)
        for name, other in layouts(B):
            np.testing.assert_array_equal(lvm.linalg.solve_triangular(L, other), X, err_msg=name)
        np.testing.assert_array_equal(L, kept[0])
        np.testing.assert_array_equal(B, kept[1])

    def test_types(self, rng):
        L, B = triangular(rng, 3), rng.standard_normal((3, 2))
        for left, right, expected in [(np.float32, float, float), (float, np.float32, float)]:
            assert lvm.linalg.solve_triangular(L.astype(left), B.astype(right)).dtype == expected
        np.testing.assert_array_equal(lvm.linalg.solve_triangular([[2, 0], [0, 4]], [2, 4]), [1, 1])

    def test_zero_diagonal(self, rng, dtype):
        L = triangular(rng, 4, dtype=dtype, batch=(2, 3))
        L[1, 0, 2, 2] = 0
        message = r"L must have a diagonal without zeros, got 0 at \({}\); L is singular"
        with pytest.raises(np.linalg.LinAlgError, match=message.format("1, 0, 2")):
            lvm.linalg.solve_triangular(L, np.ones((4, 1)))
        with pytest.raises(np.linalg.LinAlgError, match=message.format("2,")):
            lvm.linalg.solve_triangular(L[1, 0], np.ones(4))

    def test_shape_errors(self):
        with pytest.raises(ValueError, match=r"L must have shape \(..., n, n\), got \(2, 3\)"):
            lvm.linalg.solve_triangular(np.ones((2, 3)), np.ones(2))
        for shape in [(3,), (3, 2), (2, 3, 2)]:
            with pytest.raises(ValueError, match=r"B must have 2 rows like L, got shape \(" + str(shape)[1:-1]):
                lvm.linalg.solve_triangular(np.eye(2), np.ones(shape))
        with pytest.raises(ValueError, match=r"dimensions of L and B must broadcast, got \(2,\) and \(3,\)"):
            lvm.linalg.solve_triangular(np.stack([np.eye(2)] * 2), np.ones((3, 2, 1)))
        with pytest.raises(ValueError, match=r"B must have at least 1 dimensions, got shape \(\)"):
            lvm.linalg.solve_triangular(np.eye(2), 1.0)

    @pytest.mark.parametrize(("lower", "trans"), TRIANGLES)
    @pytest.mark.parametrize("columns", COLUMNS)
    def test_layouts_and_overwrite(self, rng, dtype, lower, trans, columns):
        """Every order of L with every order of B, in place too; a field of records is written back."""
        L = triangular(rng, 5, dtype=dtype, batch=(3,), lower=lower)
        B = rng.standard_normal((3, 5, *(columns or (1,)))).astype(dtype)
        X = lvm.linalg.solve_triangular(L, B, lower=lower, trans=trans)
        field = np.zeros(B.shape, [("tag", np.int8), ("value", dtype)])["value"]
        field[...] = B
        turned = np.swapaxes(np.ascontiguousarray(np.swapaxes(B, -1, -2)), -1, -2)
        for left in (L, np.swapaxes(np.ascontiguousarray(np.swapaxes(L, -1, -2)), -1, -2), *dict(layouts(L)).values()):
            for right in (B.copy(), turned.copy(order="K"), field.copy() if left is L else B.copy(order="F")):
                assert_near(
                    lvm.linalg.solve_triangular(left, right, lower=lower, trans=trans),
                    X,
                    tolerance(dtype, 5, CONDITION),
                )
                result = lvm.linalg.solve_triangular(left, right, lower=lower, trans=trans, overwrite=True)
                assert result is right
                assert_near(right, X, tolerance(dtype, 5, CONDITION))
        assert lvm.linalg.solve_triangular(L, field, lower=lower, trans=trans, overwrite=True) is field
        assert_near(field, X, tolerance(dtype, 5, CONDITION))

    def test_overwrite_refused(self, rng):
        L, B = triangular(rng, 3, batch=(2,)), rng.standard_normal((3, 2))
        for target in (B, B.astype(np.float32), [[1.0]] * 3):
            with pytest.raises(ValueError, match="B must be an array of float64 with shape"):
                lvm.linalg.solve_triangular(L, target, overwrite=True)
        B.flags.writeable = False
        with pytest.raises(ValueError, match="B must be writeable to hold the result, got a read-only array"):
            lvm.linalg.solve_triangular(L[0], B, overwrite=True)

    def test_cholesky_solve_overwrite(self, rng, dtype):
        A = spd(rng, 6, dtype=dtype)
        L = lvm.linalg.cholesky(A)
        for B in (rng.standard_normal((6, 2)).astype(dtype), rng.standard_normal(6).astype(dtype)):
            X = lvm.linalg.cholesky_solve(L, B)
            assert lvm.linalg.cholesky_solve(L, B, overwrite=True) is B
            np.testing.assert_array_equal(B, X)

    def test_batch_on_threads(self, rng, dtype, set_num_threads):
        """Bits do not depend on the number of threads."""
        A = spd(rng, 12, dtype=dtype, batch=(300,))
        B = rng.standard_normal((300, 12, 2)).astype(dtype)
        results = []
        for threads in (1, 3):
            set_num_threads(threads)
            L = lvm.linalg.cholesky(A)
            results.append((L, lvm.linalg.solve_triangular(L, B), lvm.linalg.cholesky_vjp(L, A)))
        for one, many in zip(*results, strict=True):
            np.testing.assert_array_equal(one, many)


class TestSolveTriangularVjp:
    @pytest.mark.parametrize(("lower", "trans"), TRIANGLES)
    @pytest.mark.parametrize("columns", COLUMNS)
    @pytest.mark.parametrize("n", [1, 2, 6])
    def test_oracle(self, rng, dtype, lower, trans, columns, n):
        L = triangular(rng, n, condition=10.0, dtype=dtype, lower=lower)
        X, X_bar = rng.standard_normal((2, n, *columns)).astype(dtype)
        L_bar, B_bar = lvm.linalg.solve_triangular_vjp(L, X, X_bar, lower=lower, trans=trans)
        assert L_bar.dtype == B_bar.dtype == dtype
        T = np.tril(L) if lower else np.triu(L)
        L_ref, B_ref = oracle.solve_triangular_vjp(T, X, X_bar, lower, trans)
        assert_near(L_bar, L_ref, tolerance(dtype, n, 10.0))
        assert_near(B_bar, B_ref, tolerance(dtype, n, 10.0))

    @pytest.mark.parametrize(("lower", "trans"), TRIANGLES)
    def test_differences(self, rng, lower, trans):
        T = op(triangular(rng, 4, condition=10.0, lower=lower), lower, False)
        B, X_bar = rng.standard_normal((2, 4, 2))

        def f(T, B):
            return np.sum(X_bar * lvm.linalg.solve_triangular(T, B, lower=lower, trans=trans))

        X = lvm.linalg.solve_triangular(T, B, lower=lower, trans=trans)
        L_bar, B_bar = lvm.linalg.solve_triangular_vjp(T, X, X_bar, lower=lower, trans=trans)
        assert_near(L_bar, differences(lambda t: f(t, B), T), tolerance(float, 4, 10.0 * DIFFERENCE))
        assert_near(B_bar, differences(lambda t: f(T, t), B), tolerance(float, 4, 10.0 * DIFFERENCE))

    def test_batch(self, rng):
        L = triangular(rng, 4, batch=(2, 3))
        X, X_bar = rng.standard_normal((2, 2, 3, 4, 2))
        L_bar, B_bar = lvm.linalg.solve_triangular_vjp(L, X, X_bar)
        for index in np.ndindex(2, 3):
            L_one, B_one = lvm.linalg.solve_triangular_vjp(L[index], X[index], X_bar[index])
            assert_near(L_bar[index], L_one, tolerance(float, 4, CONDITION))
            assert_near(B_bar[index], B_one, tolerance(float, 4, CONDITION))

    def test_broadcast_is_summed_by_the_caller(self, rng):
        """One L for three right-hand sides: the cotangents come for each of the three."""
        L = triangular(rng, 4)
        X, X_bar = rng.standard_normal((2, 3, 4, 2))
        L_bar, B_bar = lvm.linalg.solve_triangular_vjp(L, X, X_bar)
        assert L_bar.shape == (3, 4, 4)
        wide = [np.concatenate(list(A), axis=1) for A in (X, X_bar)]
        together = lvm.linalg.solve_triangular_vjp(L, *wide)
        assert_near(L_bar.sum(0), together[0], tolerance(float, 12, CONDITION))
        assert_near(np.concatenate(list(B_bar), axis=1), together[1], tolerance(float, 4, CONDITION))

    def test_errors(self):
        with pytest.raises(ValueError, match=r"X_bar must have the shape of X, \(2, 1\), got \(2,\)"):
            lvm.linalg.solve_triangular_vjp(np.eye(2), np.ones((2, 1)), np.ones(2))
        with pytest.raises(np.linalg.LinAlgError, match="L is singular"):
            lvm.linalg.solve_triangular_vjp(np.zeros((2, 2)), np.ones(2), np.ones(2))


class TestCholeskySolve:
    @pytest.mark.parametrize("n", SIZES)
    @pytest.mark.parametrize("columns", COLUMNS)
    def test_value(self, rng, dtype, n, columns):
        L = triangular(rng, n, condition=10.0, dtype=dtype)
        B = rng.standard_normal((n, *columns)).astype(dtype)
        X = lvm.linalg.cholesky_solve(L, B)
        assert X.dtype == dtype
        assert_near(X, oracle.cholesky_solve(L, B), tolerance(dtype, n, CONDITION))

    def test_inverts(self, rng, dtype):
        A = spd(rng, 50, condition=CONDITION, dtype=dtype)
        X = rng.standard_normal((50, 3)).astype(dtype)
        back = lvm.linalg.cholesky_solve(lvm.linalg.cholesky(A), A @ X)
        assert_near(back, X, tolerance(dtype, 50, CONDITION))

    def test_broadcast(self, rng):
        L, B = triangular(rng, 4, batch=(2, 1)), rng.standard_normal((3, 4, 2))
        X = lvm.linalg.cholesky_solve(L, B)
        assert X.shape == (2, 3, 4, 2)
        for i, j in np.ndindex(2, 3):
            assert_near(X[i, j], oracle.cholesky_solve(L[i, 0], B[j]), tolerance(float, 4, CONDITION**2))
        assert lvm.linalg.cholesky_solve(L, B[0, :, 0]).shape == (2, 1, 4)

    @pytest.mark.parametrize("columns", COLUMNS)
    @pytest.mark.parametrize("n", [1, 2, 6])
    def test_vjp_oracle(self, rng, dtype, columns, n):
        L = np.tril(triangular(rng, n, condition=10.0, dtype=dtype))
        X, X_bar = rng.standard_normal((2, n, *columns)).astype(dtype)
        L_bar, B_bar = lvm.linalg.cholesky_solve_vjp(L, X, X_bar)
        assert L_bar.dtype == B_bar.dtype == dtype
        L_ref, B_ref = oracle.cholesky_solve_vjp(L, X, X_bar)
        assert_near(L_bar, L_ref, tolerance(dtype, n, CONDITION))
        assert_near(B_bar, B_ref, tolerance(dtype, n, CONDITION))

    @pytest.mark.parametrize("columns", [(), (2,)])
    def test_vjp_differences(self, rng, columns):
        L = np.tril(triangular(rng, 4, condition=3.0))
        B, X_bar = rng.standard_normal((2, 4, *columns))
        X = lvm.linalg.cholesky_solve(L, B)
        L_bar, B_bar = lvm.linalg.cholesky_solve_vjp(L, X, X_bar)

        def f(L, B):
            return np.sum(X_bar * lvm.linalg.cholesky_solve(L, B))

        assert_near(L_bar, differences(lambda t: f(t, B), L), tolerance(float, 4, 9.0 * DIFFERENCE))
        assert_near(B_bar, differences(lambda t: f(L, t), B), tolerance(float, 4, 9.0 * DIFFERENCE))

    def test_vjp_batch(self, rng):
        L = np.tril(triangular(rng, 4, condition=10.0, batch=(2, 3)))
        X, X_bar = rng.standard_normal((2, 2, 3, 4, 2))
        L_bar, B_bar = lvm.linalg.cholesky_solve_vjp(L, X, X_bar)
        for index in np.ndindex(2, 3):
            L_one, B_one = lvm.linalg.cholesky_solve_vjp(L[index], X[index], X_bar[index])
            assert_near(L_bar[index], L_one, tolerance(float, 4, CONDITION))
            assert_near(B_bar[index], B_one, tolerance(float, 4, CONDITION))

    def test_vjp_errors(self):
        with pytest.raises(ValueError, match=r"X_bar must have the shape of X, \(2, 1\), got \(2, 3\)"):
            lvm.linalg.cholesky_solve_vjp(np.eye(2), np.ones((2, 1)), np.ones((2, 3)))


@pytest.mark.parametrize("name", ["cholesky_vjp", "cholesky_solve_vjp"])
def test_pullbacks_read_the_lower_triangle_only(rng, name):
    L = triangular(rng, 4)
    cotangents = (rng.standard_normal((4, 4)),) if name == "cholesky_vjp" else tuple(rng.standard_normal((2, 4, 3)))
    pull = getattr(lvm.linalg, name)
    for a, b in zip(pull(L, *cotangents), pull(np.tril(L), *cotangents), strict=True):
        np.testing.assert_array_equal(a, b)
