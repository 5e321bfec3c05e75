"""Pull-backs of Cholesky factors that gain and lose ranks, rows and columns."""

from __future__ import annotations

import concurrent.futures
import itertools

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, layouts, tolerance
from reference import linalg as oracle
from updates import (
    CONDITION,
    MILD,
    changed,
    factor,
    failure,
    in_order,
    insertion,
    parts,
    problem,
    signs,
    with_nan,
)

import lvmfast as lvm
from lvmfast.linalg import (
    cholesky_append,
    cholesky_append_vjp,
    cholesky_delete,
    cholesky_delete_vjp,
    cholesky_insert,
    cholesky_insert_vjp,
    cholesky_update,
    cholesky_update_vjp,
)


def closed_form(L, U, L_new_bar, sign):
    """The pull-back of an update in float64 and n^3 operations."""
    L, U = np.tril(L).astype(float), U.astype(float)
    new = np.linalg.cholesky(changed(L, U, sign))
    P = np.tril(new.T @ np.tril(L_new_bar).astype(float))
    P -= np.diag(np.diag(P)) / 2
    inverse = np.linalg.inv(new)
    S = 0.5 * inverse.T @ (P + P.T) @ inverse
    return np.tril(2 * S @ L), 2 * S @ U * sign


def assert_bars(actual, expected, relative):
    """All cotangents are near, relative to the largest of them."""
    scale = max(np.abs(bar).max(initial=0) for bar in expected)
    for bar, other in zip(actual, expected, strict=True):
        assert_near(bar, other, relative, scale=scale)


def pulled(dtype, size, more=1.0):
    """The relative error allowed to a pull-back at well conditioned factors."""
    return tolerance(dtype, size, 4 * MILD**4 * more)


class TestUpdateVjp:
    @pytest.mark.parametrize("n", range(1, 8))
    def test_oracle(self, rng, dtype, n):
        for m in (1, 2, 3, 5, 9):
            for sign in signs(rng, m):
                L, U = problem(rng, n, m, sign, condition=MILD, dtype=dtype)
                L_new_bar = rng.standard_normal((n, n)).astype(dtype)
                bars = cholesky_update_vjp(L, U, L_new_bar, sign=sign)
                assert_bars(bars, oracle.cholesky_update_vjp(L, U, L_new_bar, sign), pulled(dtype, n + m))
                assert [bar.dtype for bar in bars] == [dtype, dtype]
                np.testing.assert_array_equal(bars[0], np.tril(bars[0]))

    @pytest.mark.parametrize("m", [0, 1, 2, 5])
    def test_differences(self, rng, m):
        for sign in signs(rng, m):
            L, U = problem(rng, 6, m, sign, condition=MILD)
            L, L_new_bar = np.tril(L), rng.standard_normal((6, 6))

            def f(L, U, sign=sign, L_new_bar=L_new_bar):
                return np.sum(L_new_bar * cholesky_update(L, U, sign=sign))

            numeric = differences(lambda t, U=U: f(t, U), L), differences(lambda t, L=L: f(L, t), U)
            assert_bars(cholesky_update_vjp(L, U, L_new_bar, sign=sign), numeric, pulled(float, 6 + m, DIFFERENCE))

    @pytest.mark.parametrize("n", [60, 150])
    @pytest.mark.parametrize("m", [1, 3, 5, 16, 40])
    def test_closed_form(self, rng, dtype, n, m):
        for sign in signs(rng, m):
            L, U = problem(rng, n, m, sign, condition=MILD, dtype=dtype)
            L_new_bar = rng.standard_normal((n, n)).astype(dtype)
            expected = closed_form(L, U, L_new_bar, sign)
            for order in "CF":
                arguments = (in_order(A, order) for A in (L, U, L_new_bar))
                assert_bars(cholesky_update_vjp(*arguments, sign=sign), expected, pulled(dtype, n + m))

    @pytest.mark.parametrize("m", [1, 2, 4, 5, 9, 33, 65, 150])
    def test_edges(self, rng, dtype, m):
        """Around the sizes of blocks."""
        for n in [11, 12, 13, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 97]:
            sign = rng.choice([-1, 1], m)
            L, U = problem(rng, n, m, sign, condition=MILD, dtype=dtype)
            L_new_bar = rng.standard_normal((n, n)).astype(dtype)
            expected = closed_form(L, U, L_new_bar, sign)
            assert_bars(cholesky_update_vjp(L, U, L_new_bar, sign=sign), expected, pulled(dtype, n + m))

    @pytest.mark.parametrize("condition", [1e2, 1e3, 1e4])
    def test_ill_conditioned(self, rng, condition):
        """No worse than the condition of the new matrix."""
        for m in (1, 3, 5, 16):
            for sign in signs(rng, m):
                L, U = problem(rng, 30, m, sign, condition=condition)
                L_new_bar = rng.standard_normal((30, 30))
                relative = tolerance(float, 30 + m, np.linalg.cond(changed(L, U, sign)))
                bars = cholesky_update_vjp(L, U, L_new_bar, sign=sign)
                assert_bars(bars, closed_form(L, U, L_new_bar, sign), relative)

    @pytest.mark.parametrize("m", [1, 3, 5, 16])
    @pytest.mark.parametrize("power", [-1, 1])
    def test_scale(self, rng, dtype, m, power):
        """A factor of L and U is one of L_new, and the pull-back does not see it; a power of two: bit for bit."""
        scale = dtype(2.0) ** (power * (50 if dtype is np.float32 else 450))
        for n, sign in itertools.product([1, 13, 50], signs(rng, m)):
            L, U = problem(rng, n, m, sign, condition=MILD, dtype=dtype)
            new, L_new_bar = cholesky_update(L, U, sign=sign), rng.standard_normal((n, n)).astype(dtype)
            bars = cholesky_update_vjp(L, U, L_new_bar, sign=sign, L_new=new)
            scaled = cholesky_update_vjp(L * scale, U * scale, L_new_bar, sign=sign, L_new=new * scale)
            for bar, other in zip(bars, scaled, strict=True):
                np.testing.assert_array_equal(other, bar)

    @pytest.mark.parametrize("m", [1, 3, 5, 16])
    def test_zeros(self, rng, dtype, m):
        """Columns and rows of U that change nothing still have cotangents."""
        for n, sign in itertools.product([1, 6, 50], signs(rng, m)):
            L, U = problem(rng, n, m, sign, condition=MILD, dtype=dtype)
            L_new_bar = rng.standard_normal((n, n)).astype(dtype)
            U[: n // 2] = 0
            U[:, ::2] = 0
            for columns in (U, 0 * U):
                expected = closed_form(L, columns, L_new_bar, sign)
                bars = cholesky_update_vjp(L, columns, L_new_bar, sign=sign)
                assert_bars(bars, expected, pulled(dtype, n + m))

    def test_result_at_hand(self, rng, dtype):
        """L_new may be given, in any layout and with anything above its diagonal."""
        for batch, m in itertools.product([(), (2,)], [1, 5]):
            L, U = problem(rng, 9, m, batch=batch, dtype=dtype)
            L_new_bar = rng.standard_normal(L.shape).astype(dtype)
            new, expected = cholesky_update(L, U), cholesky_update_vjp(L, U, L_new_bar)
            for _, other in [("", new), ("", with_nan(new)), *layouts(new)]:
                for bar, one in zip(cholesky_update_vjp(L, U, L_new_bar, L_new=other), expected, strict=True):
                    np.testing.assert_array_equal(bar, one)

    def test_layout(self, rng, dtype):
        for batch in ((), (2,)):
            arguments = [
                *problem(rng, 6, 3, batch=batch, dtype=dtype),
                rng.standard_normal((*batch, 6, 6)).astype(dtype),
            ]
            expected = cholesky_update_vjp(*arguments)
            for i, argument in enumerate(arguments):
                for _, other in layouts(argument):
                    bars = cholesky_update_vjp(*arguments[:i], other, *arguments[i + 1 :])
                    assert_bars(bars, expected, tolerance(dtype, 9, CONDITION**4))

    def test_types(self, rng):
        arguments = [*problem(rng, 5, 2, dtype=np.float32), rng.standard_normal((5, 5)).astype(np.float32)]
        for wide in range(3):
            bars = cholesky_update_vjp(*(A.astype(float if i == wide else A.dtype) for i, A in enumerate(arguments)))
            assert [bar.dtype for bar in bars] == [float, float]
        bars = cholesky_update_vjp([[2, 0], [1, 2]], [1, 1], [[1, 0], [1, 1]])
        assert_bars(bars, oracle.cholesky_update_vjp([[2, 0], [1, 2]], [1, 1], [[1, 0], [1, 1]]), pulled(float, 3))

    def test_callers(self, rng, set_num_threads):
        """Several at once."""
        set_num_threads(2)
        cases = [(*problem(rng, n, m), rng.standard_normal((n, n))) for n, m in [(13, 1), (97, 9), (200, 70)] * 3]
        expected = [cholesky_update_vjp(*case) for case in cases]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for bars, one in zip(pool.map(lambda case: cholesky_update_vjp(*case), cases), expected, strict=True):
                assert_bars(bars, one, tolerance(float, 300, CONDITION**4))

    @pytest.mark.parametrize("m", [1, 5, 70])
    def test_instruction_sets_and_threads(self, rng, dtype, instruction_set, set_num_threads, m):
        L, U = problem(rng, 200, m, -1, condition=MILD, dtype=dtype)
        L_new_bar = rng.standard_normal(L.shape).astype(dtype)
        expected = closed_form(L, U, L_new_bar, -1)
        for threads in (1, 2, 3):
            set_num_threads(threads)
            assert_bars(cholesky_update_vjp(L, U, L_new_bar, sign=-1), expected, pulled(dtype, 200 + m))

    @pytest.mark.parametrize("sign", [1, -1])
    def test_vectors(self, rng, sign):
        for batch in ((), (3,)):
            L, U = problem(rng, 5, 1, sign, condition=MILD, batch=batch)
            L_new_bar = rng.standard_normal(L.shape)
            L_bar, u_bar = cholesky_update_vjp(L, U[..., 0], L_new_bar, sign=sign)
            assert u_bar.shape == (*batch, 5)
            expected = cholesky_update_vjp(L, U, L_new_bar, sign=sign)
            assert_bars((L_bar, u_bar[..., None]), expected, pulled(float, 6))

    @pytest.mark.parametrize(("matrices", "columns"), [((2, 3), (2, 3)), ((3,), (1,)), ((), (3,)), ((2, 1), (1, 3))])
    def test_batch(self, rng, matrices, columns):
        """Cotangents for every member: whoever broadcast L or U adds up."""
        batch = np.broadcast_shapes(matrices, columns)
        for sign in signs(rng, 2):
            L = problem(rng, 4, 2, sign, condition=MILD, batch=matrices)[0]
            U = 0.1 * problem(rng, 4, 2, batch=columns)[1]
            L_new_bar = rng.standard_normal((*batch, 4, 4))
            L_bar, U_bar = cholesky_update_vjp(L, U, L_new_bar, sign=sign)
            L, U = np.broadcast_to(L, (*batch, 4, 4)), np.broadcast_to(U, (*batch, 4, 2))
            assert (L_bar.shape, U_bar.shape) == (L.shape, U.shape)
            for i in np.ndindex(batch):
                expected = oracle.cholesky_update_vjp(L[i], U[i], L_new_bar[i], sign)
                assert_bars((L_bar[i], U_bar[i]), expected, pulled(float, 6))

    @pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (3, 0)])
    def test_empty(self, rng, n, m):
        L, L_new_bar = factor(rng, n, condition=MILD), rng.standard_normal((n, n))
        expected = np.tril(L_new_bar), np.zeros((n, m))
        assert_bars(cholesky_update_vjp(L, np.ones((n, m)), L_new_bar), expected, pulled(float, n))

    def test_reads_lower_triangles_and_changes_nothing(self, rng):
        L, U = problem(rng, 5, 2)
        L_new_bar = rng.standard_normal((5, 5))
        kept = L.copy(), U.copy(), L_new_bar.copy()
        bars = cholesky_update_vjp(L, U, L_new_bar)
        for bar, other in zip(bars, cholesky_update_vjp(np.tril(L), U, with_nan(L_new_bar)), strict=True):
            np.testing.assert_array_equal(bar, other)
        for argument, before in zip((L, U, L_new_bar), kept, strict=True):
            np.testing.assert_array_equal(argument, before)

    def test_errors(self, rng):
        L, U = problem(rng, 4, 2)
        failure(cholesky_update_vjp, L, 100 * U, np.eye(4), sign=-1)
        for wrong in (np.eye(3), np.ones(4), np.ones((4, 2))):
            with pytest.raises(ValueError, match="L_new_bar must have"):
                cholesky_update_vjp(L, U, wrong)
            with pytest.raises(ValueError, match="L_new must have"):
                cholesky_update_vjp(L, U, np.eye(4), L_new=wrong)
        with pytest.raises(ValueError, match="sign must be 1 or -1"):
            cholesky_update_vjp(L, U, np.eye(4), sign=2)


def assert_differences(bars, function, arguments, size):
    """Pull-backs agree with differences in every argument."""
    numeric = []
    for i, argument in enumerate(arguments):
        numeric.append(differences(lambda t, i=i: function(*arguments[:i], t, *arguments[i + 1 :]), argument))
    assert_bars(bars, numeric, pulled(float, size, DIFFERENCE))


class TestRowVjps:
    @pytest.mark.parametrize("m", [1, 2, 3])
    def test_append(self, rng, m):
        for n in (0, 1, 6):
            L, B, C = insertion(rng, n, n, m, condition=MILD)
            L, L_new_bar = np.tril(L), rng.standard_normal((n + m, n + m))
            bars = cholesky_append_vjp(cholesky_append(L, B, C), L_new_bar, m)

            def f(L, B, C, L_new_bar=L_new_bar):
                return np.sum(L_new_bar * cholesky_append(L, B, 0.5 * (C + C.T)))

            assert_differences(bars, f, (L, B, C), n + m)
            np.testing.assert_array_equal(bars[2], bars[2].T)
            np.testing.assert_array_equal(bars[0], np.tril(bars[0]))

    @pytest.mark.parametrize("m", [1, 2, 3])
    def test_insert(self, rng, m):
        for at in range(7):
            L, b, c = insertion(rng, 6, at, m, condition=MILD)
            L, L_new_bar = np.tril(L), rng.standard_normal((6 + m, 6 + m))
            bars = cholesky_insert_vjp(L, at, cholesky_insert(L, at, b, c), L_new_bar, m)

            def f(L, b, c, at=at, L_new_bar=L_new_bar):
                return np.sum(L_new_bar * cholesky_insert(L, at, b, 0.5 * (c + c.T)))

            assert_differences(bars, f, (L, b, c), 6 + m)
            np.testing.assert_array_equal(bars[0], np.tril(bars[0]))
            if at == 6:
                for bar, other in zip(bars, cholesky_append_vjp(cholesky_append(L, b, c), L_new_bar, m), strict=True):
                    assert_near(bar, other, pulled(float, 6 + m))

    @pytest.mark.parametrize("rows", [0, 2, 5, -1, [1, 3], [4, 0, 2], [4, 5], [], list(range(6)), [-1, 0]])
    def test_delete(self, rng, rows):
        L = np.tril(factor(rng, 6, condition=MILD))
        L_new_bar = rng.standard_normal(cholesky_delete(L, rows).shape)
        L_bar = cholesky_delete_vjp(L, rows, L_new_bar)
        assert_differences([L_bar], lambda L: np.sum(L_new_bar * cholesky_delete(L, rows)), [L], 6)
        np.testing.assert_array_equal(L_bar, np.tril(L_bar))
        assert (L_bar[np.array(rows, int)] == 0).all()

    @pytest.mark.parametrize("m", [1, 3])
    def test_large(self, rng, dtype, m):
        """By way of the cotangent of the whole matrix; for the rows that are deleted again, by the parts of L."""
        for n, at in [(50, 50), (50, 20), (120, 0), (120, 70)]:
            L, b, c = insertion(rng, n, at, m, dtype=dtype, condition=MILD)
            L_new_bar, (old, rows) = rng.standard_normal((n + m, n + m)).astype(dtype), parts(n, at, m)
            new = cholesky_insert(L, at, b, c)
            bars = cholesky_insert_vjp(L, at, new, L_new_bar, m)
            assert all(bar.dtype == dtype for bar in bars)
            A_bar = lvm.linalg.cholesky_vjp(new.astype(float), L_new_bar.astype(float))
            L_bar = np.tril(2 * A_bar[np.ix_(old, old)] @ np.tril(L).astype(float))
            expected = L_bar, 2 * A_bar[np.ix_(old, rows)], A_bar[np.ix_(rows, rows)]
            assert_bars(bars, expected, pulled(dtype, n + m))
            K_bar, D_bar = closed_form(new[np.ix_(old, old)], np.tril(new)[np.ix_(old, rows)], L_new_bar[:n, :n], 1)
            whole = np.zeros((n + m, n + m))
            whole[np.ix_(old, old)], whole[np.ix_(old, rows)] = K_bar, D_bar * (old[:, None] > rows)
            assert_bars([cholesky_delete_vjp(new, rows, L_new_bar[:n, :n])], [whole], pulled(dtype, n + m))

    def test_batch(self, rng):
        L, b, c = insertion(rng, 5, 2, 2, batch=(2, 3), condition=MILD)
        L, bar = np.tril(L), rng.standard_normal((2, 3, 7, 7))
        for function in (
            lambda L, new, bar: cholesky_insert_vjp(L, 2, new, bar, 2),
            lambda L, new, bar: cholesky_append_vjp(new, bar, 2),
            lambda L, new, bar: (cholesky_delete_vjp(new, [1, 3], bar[..., :5, :5]),),
        ):
            new = cholesky_insert(L, 2, b, c)
            bars = function(L, new, bar)
            for i in np.ndindex(2, 3):
                assert_bars([part[i] for part in bars], function(L[i], new[i], bar[i]), pulled(float, 7))

    @pytest.mark.parametrize("rows", [2, [1, 3]])
    def test_delete_reads_lower_triangles(self, rng, dtype, rows):
        """NaN above the diagonals of L and L_new_bar."""
        L = factor(rng, 6, dtype=dtype)
        new = cholesky_delete(L, rows)
        np.testing.assert_array_equal(new, cholesky_delete(np.tril(L), rows))
        L_bar = cholesky_delete_vjp(np.tril(L), rows, new)
        np.testing.assert_array_equal(cholesky_delete_vjp(L, rows, with_nan(new)), L_bar)

    def test_insert_reads_lower_triangles(self, rng):
        """NaN above the diagonals of L, L_new and L_new_bar."""
        L, b, c = insertion(rng, 5, 2, 1)
        new, bar = cholesky_insert(L, 2, b, c), rng.standard_normal((6, 6))
        pairs = [
            (cholesky_insert_vjp(np.tril(L), 2, new, bar), cholesky_insert_vjp(L, 2, with_nan(new), with_nan(bar))),
            (cholesky_append_vjp(new, bar), cholesky_append_vjp(with_nan(new), with_nan(bar))),
        ]
        for bars, others in pairs:
            for one, other in zip(bars, others, strict=True):
                np.testing.assert_array_equal(one, other)

    def test_errors(self):
        with pytest.raises(ValueError, match="L_new_bar must have the shape of L_new"):
            cholesky_append_vjp(np.eye(4), np.eye(3))
        with pytest.raises(ValueError, match="L_new must have 1 rows more than L"):
            cholesky_insert_vjp(np.eye(3), 0, np.eye(3), np.eye(3))
        with pytest.raises(IndexError, match="index must be from"):
            cholesky_insert_vjp(np.eye(3), 4, np.eye(4), np.eye(4))
        with pytest.raises(ValueError, match=r"L_new_bar must have shape \(3, 3\), got \(4, 4\)"):
            cholesky_delete_vjp(np.eye(4), 0, np.eye(4))
        with pytest.raises(ValueError, match="index must name each row once"):
            cholesky_delete_vjp(np.eye(4), [0, 0], np.eye(2))
