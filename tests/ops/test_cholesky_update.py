"""Cholesky factors that gain and lose ranks: values, layouts, places of the result, memory, threads."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import math

import numpy as np
import pytest
from helpers import FLOATS, assert_near, in_child, layouts, tolerance
from reference import linalg as oracle
from updates import (
    COLUMNS,
    CONDITION,
    EDGES,
    SIZES,
    allowed,
    assert_factor,
    assert_update,
    changed,
    factor,
    failure,
    has_order,
    in_order,
    is_lower,
    problem,
    product,
    signs,
    with_nan,
)

import lvmfast as lvm
from lvmfast.exceptions import NotPositiveDefiniteError
from lvmfast.linalg import (
    cholesky_update,
)


class TestUpdate:
    @pytest.mark.parametrize("first", range(1, 131, 10))
    def test_every_size(self, rng, dtype, first):
        for n in range(first, first + 10):
            L, wide = problem(rng, n, max(COLUMNS), dtype=dtype)
            for m in COLUMNS:
                U = wide[:, :m]
                expected = oracle.cholesky_update(L, U)
                for order in "CF":
                    new = cholesky_update(in_order(L, order), in_order(U, order))
                    assert_factor(new, expected, allowed(dtype, n, m), dtype)

    @pytest.mark.parametrize("n", SIZES)
    def test_downdates(self, rng, dtype, n):
        for m in [1, 2, 3, 5, 8, 9, 16, 33]:
            for sign in signs(rng, m)[1:]:
                L, U = problem(rng, n, m, sign, dtype=dtype)
                expected = oracle.cholesky_update(L, U, sign)
                for order in "CF":
                    new = cholesky_update(in_order(L, order), in_order(U, order), sign=sign)
                    assert_factor(new, expected, allowed(dtype, n, m), dtype)

    @pytest.mark.parametrize("m", [127, 128, 129, 150, 300, 1000])
    def test_many_columns(self, rng, dtype, m):
        for n, order, sign in itertools.product([3, 40, 97], "CF", signs(rng, m)):
            L, U = problem(rng, n, m, sign, dtype=dtype)
            assert_update(cholesky_update(in_order(L, order), U, sign=sign), L, U, sign)

    def test_instruction_sets(self, rng, dtype, instruction_set):
        for n, m in itertools.product(EDGES, [1, 3, 4, 9]):
            for sign in (1, rng.choice([-1, 1], m)):
                L, U = problem(rng, n, m, sign, dtype=dtype)
                expected = oracle.cholesky_update(L, U, sign)
                for order in "CF":
                    new = cholesky_update(in_order(L, order), in_order(U, order), sign=sign)
                    assert_factor(new, expected, allowed(dtype, n, m), dtype)

    def test_instruction_sets_on_large_matrices(self, rng, dtype, instruction_set):
        for (n, m), order in itertools.product([(40, 150), (97, 16), (200, 33), (301, 2)], "CF"):
            for sign in signs(rng, m):
                L, U = problem(rng, n, m, sign, dtype=dtype)
                new = cholesky_update(in_order(L, order), U, sign=sign)
                assert_near(product(new), changed(L, U, sign), tolerance(dtype, n + m))

    @pytest.mark.parametrize("n", [300, 700])
    def test_threads(self, rng, dtype, order, set_num_threads, n):
        """The same bits for any number of threads, also in the place of L."""
        for m, sign in [(1, 1), (3, [1, -1, 1]), (9, -1), (40, [1, -1] * 20)]:
            L, U = problem(rng, n, m, sign, dtype=dtype)
            L = in_order(L, order)
            results = []
            for threads in (1, 2, 3):
                set_num_threads(threads)
                results.append(cholesky_update(L, U, sign=sign))
            assert_near(product(results[0]), changed(L, U, sign), tolerance(dtype, n + m))
            for result in results:
                np.testing.assert_array_equal(result, results[0])
            cholesky_update(L, U, sign=sign, overwrite=True)
            np.testing.assert_array_equal(np.tril(L), results[0])

    @pytest.mark.parametrize("shape", [(400, 12, 2), (7, 130, 9), (3, 300, 3)])
    def test_threads_for_a_batch(self, rng, dtype, order, set_num_threads, shape):
        members, n, m = shape
        L, U = problem(rng, n, m, batch=(members,), dtype=dtype)
        L = in_order(L, order)
        results = []
        for threads in (1, 2, 3):
            set_num_threads(threads)
            results.append(cholesky_update(L, U))
        assert_near(product(results[0]), changed(L, U), tolerance(dtype, n + m))
        for result in results:
            np.testing.assert_array_equal(result, results[0])
        for index in (0, members // 2, members - 1):
            np.testing.assert_array_equal(cholesky_update(L[index], U[index]), results[0][index])

    def test_threads_for_wide_columns(self, rng, dtype, set_num_threads):
        """Where U has far more columns than rows, up to the rounding of the BLAS."""
        for n, m, sign in [(300, 700, 1), (300, 700, -1), (40, 300, 1)]:
            L, U = problem(rng, n, m, sign, dtype=dtype)
            results = []
            for threads in (1, 2, 3):
                set_num_threads(threads)
                results.append(cholesky_update(L, U, sign=sign))
            assert_near(product(results[0]), changed(L, U, sign), tolerance(dtype, n + m))
            for result in results:
                assert_near(product(result), product(results[0]), tolerance(dtype, n + m))

    def test_example(self):
        new = cholesky_update([[2.0, 0.0], [1.0, 2.0]], [1.5, 2.0])
        assert_near(new, [[2.5, 0.0], [2.0, math.sqrt(5.0)]], tolerance(float))

    def test_ways_to_say_the_sign(self, rng):
        """One bit pattern."""
        L, U = problem(rng, 9, 4, -1)
        for sign in (1.0, np.int8(1), np.array(1), [1] * 4, (1.0,) * 4, np.ones(4, np.uint8), np.ones(4, np.float32)):
            np.testing.assert_array_equal(cholesky_update(L, U, sign=sign), cholesky_update(L, U))
        for sign in (-1.0, np.int8(-1), np.array(-1), [-1] * 4, -np.ones(4, np.float32)):
            np.testing.assert_array_equal(cholesky_update(L, U, sign=sign), cholesky_update(L, U, sign=-1))


class TestAccuracy:
    @pytest.mark.parametrize("m", [1, 3, 9, 33])
    def test_up_and_down(self, rng, dtype, m):
        for n in (1, 7, 33, 97):
            L, U = problem(rng, n, m, dtype=dtype)
            back = cholesky_update(cholesky_update(L, U), U, sign=-1)
            assert_near(back, np.tril(L), allowed(dtype, n, m))
            both = cholesky_update(L, np.concatenate([U, U], -1), sign=np.repeat([-1, 1], m))
            assert_near(both, np.tril(L), allowed(dtype, n, m))

    @pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 16, 40])
    @pytest.mark.parametrize("rest", [0.25, 1.0])
    def test_near_singular(self, rng, dtype, m, rest):
        """L (I - P P^T) L^T, where I - P P^T has an eigenvalue delta once, or m times."""
        for n, exponent in itertools.product([7, 50, 100], [2, 4, 6, 8, 10, 12] if dtype is np.float64 else [2, 3, 4]):
            delta, columns = 10.0**-exponent, min(n, m)
            values = np.full(columns, rest * (1 - delta))
            values[0] = 1 - delta
            P = np.linalg.qr(rng.standard_normal((n, columns)))[0] * np.sqrt(values)
            P = P @ np.linalg.qr(rng.standard_normal((columns, columns)))[0]
            L = factor(rng, n)
            L, U = L.astype(dtype), (np.tril(L) @ P).astype(dtype)
            expected = oracle.cholesky_update(L, U, -1)
            for order in "CF":
                new = cholesky_update(in_order(L, order), U, sign=-1)
                assert_near(product(new), changed(L, U, -1), tolerance(dtype, n + m), scale=product(L).max())
                assert_near(new, expected, tolerance(dtype, n + m, CONDITION**2 / delta))

    @staticmethod
    def check_scale(rng, dtype, scale):
        for n, m in [(1, 1), (6, 2), (1, 5), (6, 5), (40, 5), (97, 16)]:
            for sign in signs(rng, m):
                L, U = problem(rng, n, m, sign, dtype=dtype)
                L, U = L * dtype(scale), U * dtype(scale)
                assert_update(cholesky_update(L, U, sign=sign), L, U, sign)

    @pytest.mark.parametrize("power", [-1, 1])
    def test_scale(self, rng, dtype, power):
        """Squares stay within the range."""
        self.check_scale(rng, dtype, (1e15 if dtype is np.float32 else 1e100) ** power)

    @pytest.mark.parametrize("power", [-1, 1])
    def test_extreme_scale(self, rng, dtype, power):
        """Squares leave the range; L, U and the result do not."""
        self.check_scale(rng, dtype, (1e30 if dtype is np.float32 else 1e200) ** power)

    @pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 9, 33])
    def test_units(self, rng, dtype, m):
        """A variable in other units: its row alone changes, by that factor."""
        unit = dtype(1e-25 if dtype is np.float32 else 1e-170)
        for n, sign in itertools.product([2, 13, 40], signs(rng, m)):
            L, U = problem(rng, n, m, sign, dtype=dtype)
            expected = cholesky_update(L, U, sign=sign)
            for row in (0, n // 2):
                matrix, columns = L.copy(), U.copy()
                matrix[row] *= unit
                columns[row] *= unit
                new = cholesky_update(matrix, columns, sign=sign)
                new[row] /= unit
                assert_near(new, expected, allowed(dtype, n, m))

    @pytest.mark.parametrize(("left", "right"), [(1e-9, 1.0), (1.0, 1e-9), (1e-30, 1e30), (1e30, 1e-30)])
    def test_one_is_small(self, rng, left, right):
        """The larger of L and U alone gives all digits."""
        for n, m in [(1, 1), (5, 5), (12, 33), (33, 40)]:
            L, U = factor(rng, n) * left, np.linalg.qr(rng.standard_normal((m, n)))[0].T * right
            assert_update(cholesky_update(L, U), L, U)

    @pytest.mark.parametrize("m", [1, 2, 3, 5, 16])
    def test_zeros(self, rng, dtype, m):
        """Columns and rows of U that change nothing."""
        for n, order in itertools.product([1, 5, 13, 64], "CF"):
            L, U = problem(rng, n, m, dtype=dtype)
            L = in_order(L, order)
            for sign in signs(rng, m):
                assert_near(cholesky_update(L, 0 * U, sign=sign), np.tril(L), tolerance(dtype, n + m))
            U[: n // 2] = 0
            U[:, ::2] = 0
            assert_update(cholesky_update(L, U), L, U)

    @pytest.mark.parametrize("m", [1, 3, 7, 20])
    def test_determinant(self, rng, m):
        """log|L_new|^2 = log|L|^2 + log det(I + diag(sign) U^T A^-1 U)."""
        for n, sign in itertools.product([1, 6, 50], signs(rng, m)):
            L, U = problem(rng, n, m, sign)
            inner = np.eye(m) + np.broadcast_to(sign, m)[:, None] * (U.T @ lvm.linalg.cholesky_solve(L, U))
            growth = 2 * np.log(np.diag(cholesky_update(L, U, sign=sign)) / np.diag(L)).sum()
            determinant, logarithm = np.linalg.slogdet(inner)
            assert determinant == 1
            assert_near(growth, logarithm, allowed(float, n, m), scale=n)


class TestArrays:
    """Shapes, layouts and types of what goes in and comes out."""

    @pytest.mark.parametrize(
        ("matrices", "columns", "batch"),
        [
            ((), (3,), (3,)),
            ((3,), (1,), (3,)),
            ((3,), (3,), (3,)),
            ((2, 1), (1, 3), (2, 3)),
            ((2, 3), (1, 1), (2, 3)),
            ((), (2, 3), (2, 3)),
            ((1, 1), (1, 1), (1, 1)),
            ((), (0,), (0,)),
            ((0,), (1,), (0,)),
            ((0, 2), (1, 1), (0, 2)),
        ],
    )
    def test_broadcast(self, rng, dtype, matrices, columns, batch):
        for sign in signs(rng, 2):
            L = problem(rng, 4, 2, sign, dtype=dtype, batch=matrices)[0]
            U = problem(rng, 4, 2, dtype=dtype, batch=columns)[1] * dtype(0.05)
            new = cholesky_update(L, U, sign=sign)
            assert new.shape == (*batch, 4, 4)
            assert new.flags.writeable
            assert_update(new, L, U, sign)

    @pytest.mark.parametrize("matrices", [(), (3,), (2, 3), (0,)])
    def test_vectors(self, rng, matrices):
        """One dimension, or one less than L: m = 1."""
        L, every = problem(rng, 4, 1, -1, batch=matrices)
        for sign in (1, -1):
            new = cholesky_update(L, every, sign=sign)
            for same in (sign, [sign]):
                np.testing.assert_array_equal(cholesky_update(L, every[..., 0], sign=same), new)
            u = 0.02 * rng.standard_normal(4)
            new = cholesky_update(L, u, sign=sign)
            assert new.shape == L.shape
            assert_update(new, L, u[:, None], sign)

    def test_a_matrix_that_looks_like_vectors(self, rng):
        """(3, 4) are vectors beside (3, 4, 4), and (4, 4) are no matrix there."""
        L, U = factor(rng, 4, batch=(3,)), rng.standard_normal((4, 4))
        with pytest.raises(ValueError, match="broadcast"):
            cholesky_update(L, U)
        assert_update(cholesky_update(L, U[:3]), L, U[:3, :, None])
        assert_update(cholesky_update(L, U[None]), L, U[None])
        assert_update(cholesky_update(L[0], U), L[0], U)

    @pytest.mark.parametrize("batch", [(), (3,), (0,), (2, 0)])
    @pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (3, 0), (1, 0)])
    def test_empty(self, rng, batch, n, m):
        for dtype, order, sign in itertools.product(FLOATS, "CF", (1, -1, np.ones(m))):
            L, U = in_order(factor(rng, n, dtype=dtype, batch=batch), order), np.ones((*batch, n, m), dtype)
            new, ok = cholesky_update(L, U, sign=sign, check=False)
            assert np.shape(ok) == batch
            assert np.all(ok)
            assert new.dtype == dtype
            assert not np.may_share_memory(new, L)
            np.testing.assert_array_equal(new, np.tril(L))
            np.testing.assert_array_equal(cholesky_update(L, U, sign=sign), new)
            before = L.copy()
            assert cholesky_update(L, U, sign=sign, overwrite=True) is L
            np.testing.assert_array_equal(L, before)

    @pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 2), (13, 9), (33, 4)])
    def test_layout(self, rng, dtype, n, m):
        for batch, sign in itertools.product([(), (2,)], signs(rng, m)):
            L, U = problem(rng, n, m, sign, dtype=dtype, batch=batch)
            expected, relative = cholesky_update(L, U, sign=sign), allowed(dtype, n, m)
            kept = L.copy(), U.copy()
            for name, other in [*layouts(L.copy()), ("rows reversed", L[..., ::-1, :].copy()[..., ::-1, :])]:
                assert_factor(cholesky_update(other, U, sign=sign), expected, relative, dtype)
                np.testing.assert_array_equal(other, L, err_msg=name)
                if name != "read-only":
                    assert cholesky_update(other, U, sign=sign, overwrite=True) is other
                    np.testing.assert_array_equal(np.isnan(other), np.isnan(L), err_msg=name)
                    assert_near(np.tril(other), expected, relative)
            for name, other in [*layouts(U), ("rows reversed", U[..., ::-1, :].copy()[..., ::-1, :])]:
                assert_near(cholesky_update(L, other, sign=sign), expected, relative)
                np.testing.assert_array_equal(other, U, err_msg=name)
            np.testing.assert_array_equal(L, kept[0])
            np.testing.assert_array_equal(U, kept[1])

    def test_repeated(self, rng):
        """Strides of zero."""
        L, U = problem(rng, 5, 1)
        for matrices, columns in [(np.broadcast_to(L, (3, 5, 5)), U[None]), (L, np.broadcast_to(U, (5, 4)))]:
            assert_update(cholesky_update(matrices, columns), matrices, columns)
        assert_update(cholesky_update(L, np.broadcast_to(0.1, (5, 2))), L, np.full((5, 2), 0.1))

    def test_misaligned_and_foreign_bytes(self, rng, dtype):
        L, U = problem(rng, 5, 2, dtype=dtype)
        expected = cholesky_update(L, U)
        odd = [np.ndarray(A.shape, dtype, bytearray(A.nbytes + 1), offset=1) for A in (L, U)]
        odd[0][...], odd[1][...] = L, U
        swapped = [A.astype(np.dtype(dtype).newbyteorder()) for A in (L, U)]
        for matrix, columns in [(odd[0], U), (L, odd[1]), (swapped[0], U), (L, swapped[1])]:
            new = cholesky_update(matrix, columns)
            assert new.dtype.isnative
            assert_factor(new, expected, allowed(dtype, 5, 2), dtype)
        assert cholesky_update(odd[0], U, overwrite=True) is odd[0]
        assert_near(np.tril(odd[0]), expected, allowed(dtype, 5, 2))

    @pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
    def test_order(self, rng, dtype, order, batch):
        """The result's order is that of L, also where its dtype is another."""
        for n, m in [(1, 1), (2, 1), (13, 3), (40, 9), (97, 2)]:
            for sign in signs(rng, m):
                L, U = problem(rng, n, m, sign, dtype=dtype, batch=batch)
                L = in_order(L, order)
                assert has_order(cholesky_update(L, U, sign=sign), order)
                assert has_order(cholesky_update(L, U, sign=sign, check=False)[0], order)
                assert has_order(cholesky_update(L, U.astype(float), sign=sign), order)

    def test_upper_triangle_is_not_read(self, rng, dtype, order):
        for n, m in [(2, 1), (5, 2), (33, 9), (97, 3)]:
            for sign in signs(rng, m):
                L, U = problem(rng, n, m, sign, dtype=dtype)
                new = cholesky_update(in_order(L, order), U, sign=sign)
                for value in (0.0, np.inf, -1e30):
                    other = in_order(np.where(is_lower(n), L, dtype(value)), order)
                    np.testing.assert_array_equal(cholesky_update(other, U, sign=sign), new)

    def test_types(self, rng):
        L, U = problem(rng, 5, 2, dtype=np.float32)
        wide = cholesky_update(L.astype(float), U.astype(float))
        for left, right in [(float, np.float32), (np.float32, float)]:
            new = cholesky_update(L.astype(left), U.astype(right))
            assert new.dtype == float
            np.testing.assert_array_equal(new, wide)
        assert cholesky_update(L, U.astype(np.float16)).dtype == float
        for left, right in itertools.product(FLOATS, FLOATS):
            new = cholesky_update(np.full((1, 1), 3, left), np.full(1, 4, right))
            assert new.dtype == np.result_type(left, right)
            assert new == 5

    @pytest.mark.parametrize("kind", [int, np.uint8, np.float16, list, bool])
    def test_other_types_become_float64(self, kind):
        L, U = [[1, 0], [0, 1]], [[1], [0]]
        new = cholesky_update(L, U) if kind is list else cholesky_update(np.array(L, kind), np.array(U, kind))
        assert_factor(new, np.diag([math.sqrt(2.0), 1.0]), tolerance(float), float)
        assert_near(cholesky_update(L, [0, 1]), np.diag([1.0, math.sqrt(2.0)]), tolerance(float))

    def test_result_is_fresh(self, rng):
        L, U = problem(rng, 4, 2)
        kept = L.copy(), U.copy()
        cholesky_update(L, U)[...] = 7
        np.testing.assert_array_equal(L, kept[0])
        np.testing.assert_array_equal(U, kept[1])

    def test_fields_and_foreign_bytes(self, rng, dtype):
        """Numbers that do not lie on multiples of their size, and numbers of the other byte order."""
        L, U = (np.tril(A) if A.shape[0] == A.shape[1] else A for A in problem(rng, 7, 3, dtype=dtype))
        expected = cholesky_update(L, U)
        records = [("tag", np.int8), ("value", dtype)]
        fields = [np.zeros(A.shape, records)["value"] for A in (L, U, L, L)]
        for field, A in zip(fields, (L, U, L, L), strict=True):
            field[...] = A
        foreign = [A.astype(np.dtype(dtype).newbyteorder()) for A in (L, U)]
        for left, right in itertools.product((L, fields[0], foreign[0]), (U, fields[1], foreign[1])):
            np.testing.assert_array_equal(cholesky_update(left, right), expected)
        assert cholesky_update(fields[2], U, overwrite=True) is fields[2]
        assert cholesky_update(L, U, out=fields[3]) is fields[3]
        for field in fields[2:]:
            np.testing.assert_array_equal(field, expected)


class TestPlaces:
    """Results that are put into L or into out."""

    @pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (5, 3), (13, 9), (64, 4), (97, 150), (300, 3)])
    def test_overwrite(self, rng, dtype, order, n, m):
        """What stands above the diagonal stays."""
        for batch, sign in itertools.product([(), (2,)], signs(rng, m)):
            L, U = problem(rng, n, m, sign, dtype=dtype, batch=batch)
            L = in_order(L, order)
            before, kept, new = L.copy(), U.copy(), cholesky_update(L, U, sign=sign)
            assert cholesky_update(L, U, sign=sign, overwrite=True) is L
            assert_near(np.tril(L), new, allowed(dtype, n, m))
            np.testing.assert_array_equal(L, np.where(is_lower(n), L, before))
            np.testing.assert_array_equal(U, kept)

    @pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 1), (13, 3), (40, 9)])
    def test_a_block_of_a_larger_matrix(self, rng, dtype, order, n, m):
        """Nothing around the block changes, be it L or out."""
        for sign in signs(rng, m):
            L, U = problem(rng, n, m, sign, dtype=dtype)
            large = in_order(rng.standard_normal((n + 9, n + 8)).astype(dtype), order)
            block, expected = large[4 : 4 + n, 5 : 5 + n], large.copy()
            block[...] = L
            new = cholesky_update(block, U, sign=sign)
            assert_update(new, L, U, sign)
            assert has_order(new, order)
            expected[4 : 4 + n, 5 : 5 + n] = np.where(is_lower(n), new, L)
            assert cholesky_update(block, U, sign=sign, overwrite=True) is block
            np.testing.assert_array_equal(large, expected)
            expected[4 : 4 + n, 5 : 5 + n] = new
            assert cholesky_update(in_order(L, order), U, sign=sign, out=block) is block
            np.testing.assert_array_equal(large, expected)

    def test_overwrite_by_a_part_of_itself(self, rng, dtype, order):
        """U is a view of L: its first columns, its first rows, its first row backwards."""
        for n, m in [(2, 1), (6, 1), (13, 3), (33, 9)]:
            kept = in_order(np.tril(factor(rng, n, dtype=dtype)), order)
            kept[n - 1, n - 1] = 1 + 2 * kept[0, 0]
            for sign, view in [(1, np.s_[:, :m]), (1, np.s_[:m, :]), (-1, np.s_[:1, ::-1])]:
                L = kept.copy(order="K")
                U = L[view] if view == np.s_[:, :m] else L[view].T
                assert np.shares_memory(U, L)
                expected = cholesky_update(L, U.copy(), sign=sign)
                cholesky_update(L, U, sign=sign, overwrite=True)
                assert_near(L, expected, allowed(dtype, n, m))

    def test_overwrite_errors(self, rng):
        L, U = problem(rng, 4, 2)
        frozen = L.copy()
        frozen.flags.writeable = False
        for wrong, columns, text in [
            (L.tolist(), U, "L must be an array of float64 with shape"),
            (L.astype(np.float32), U, "L must be an array of float64 with shape"),
            (L.astype(np.float16), U, "L must be an array of float64 with shape"),
            (np.eye(4, dtype=int), U, "L must be an array of float64 with shape"),
            (L, np.stack([U, U]), r"L must be an array of float64 with shape \(2, 4, 4\)"),
            (frozen, U, "L must be writeable"),
            (np.broadcast_to(L, (2, 4, 4)), U[None], "L must be writeable"),
        ]:
            with pytest.raises(ValueError, match=text):
                cholesky_update(wrong, columns, overwrite=True)
        with pytest.raises(ValueError, match="give one of them"):
            cholesky_update(L, U, overwrite=True, out=np.empty((4, 4)))

    @pytest.mark.parametrize("form", ["C", "F", "strided"])
    @pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 3), (13, 9), (97, 5)])
    def test_out(self, rng, dtype, n, m, form):
        """Zero above the diagonal, whatever was there and whatever the order."""
        for order, batch, sign in itertools.product("CF", [(), (2,)], signs(rng, m)):
            L, U = problem(rng, n, m, sign, dtype=dtype, batch=batch)
            L = in_order(L, order)
            before, new = L.copy(), cholesky_update(L, U, sign=sign)
            out = np.full((*batch, n, 2 * n), 7, dtype)[..., ::2] if form == "strided" else in_order(L, form)
            assert cholesky_update(L, U, sign=sign, out=out) is out
            np.testing.assert_array_equal(out, new)
            np.testing.assert_array_equal(L, before)

    def test_out_of_a_larger_batch(self, rng):
        L, U = factor(rng, 4), problem(rng, 4, 2, batch=(3,))[1]
        out = np.full((3, 4, 4), 7.0)
        assert cholesky_update(L, U, out=out) is out
        assert_update(out, L, U)

    def test_out_is_an_argument(self, rng, dtype, order):
        for sign in signs(rng, 5):
            L, U = problem(rng, 5, 5, sign, dtype=dtype)
            L, U = in_order(L, order), in_order(U, order)
            new = cholesky_update(L, U, sign=sign)
            matrix, columns = L.copy(order="K"), U.copy(order="K")
            assert cholesky_update(matrix, U, sign=sign, out=matrix) is matrix
            np.testing.assert_array_equal(matrix, new)
            assert cholesky_update(L, columns, sign=sign, out=columns) is columns
            np.testing.assert_array_equal(columns, new)
        matrix = L.copy()
        failure(cholesky_update, matrix, 100 * U, sign=-1, out=matrix)
        np.testing.assert_array_equal(matrix, L)

    def test_out_errors(self, rng):
        L, U = problem(rng, 4, 2)
        for wrong in (np.empty((4, 5)), np.empty((1, 4, 4)), np.empty((4, 4), "f4"), np.eye(4, dtype=int), [[0.0]], 7):
            with pytest.raises(ValueError, match=r"out must be an array of float64 with shape \(4, 4\)"):
                cholesky_update(L, U, out=wrong)
        frozen = np.empty((4, 4))
        frozen.flags.writeable = False
        with pytest.raises(ValueError, match="out must be writeable"):
            cholesky_update(L, U, out=frozen)


def scaled_identity(scale, n=400, dtype=float, order="C"):
    """``scale`` times the identity, as the result of an update by zeros."""
    L = in_order(with_nan(scale * np.eye(n, dtype=dtype)), order)
    return cholesky_update(L, np.zeros((n, 1), dtype), sign=-1 if scale % 2 else 1)


class TestMemory:
    """Results of a megabyte or more live in memory that is used again."""

    def test_live_results_keep_their_content(self, rng, dtype):
        alive = []
        for scale in range(1, 101):
            n, order = int(rng.choice([400, 450, 520, 600])), str(rng.choice(["C", "F"]))
            result = scaled_identity(scale, n, dtype, order)
            corner = rng.random() < 0.2  # of which only a view is kept
            alive.append((result[5:9, 5:9], scale * np.eye(4)) if corner else (result, scale * np.eye(n)))
            del result
            if len(alive) > 8 or rng.random() < 0.4:
                kept, expected = alive.pop(rng.integers(len(alive)))
                np.testing.assert_array_equal(kept, expected)
                kept[...] = np.nan  # what comes after must not see it
                del kept
            if scale % 40 == 0:
                lvm.release_memory()
        for kept, expected in alive:
            np.testing.assert_array_equal(kept, expected)

    def test_no_two_results_overlap(self):
        alive = [scaled_identity(scale) for scale in range(1, 12)]
        del alive[::3]
        alive += [scaled_identity(scale, order="F") for scale in range(1, 12)]
        for a, b in itertools.combinations(alive, 2):
            assert not np.may_share_memory(a, b)

    def test_release(self):
        result = scaled_identity(3, 500)
        lvm.release_memory()
        np.testing.assert_array_equal(result, 3 * np.eye(500))
        size = result.nbytes
        del result
        assert lvm.release_memory() >= size
        assert lvm.release_memory() == 0
        np.testing.assert_array_equal(scaled_identity(2, 500), 2 * np.eye(500))

    def test_failures_give_their_memory_back(self):
        """Many errors need no more memory than one, and the next result is whole."""
        lvm.release_memory()
        for _ in range(50):
            with contextlib.suppress(NotPositiveDefiniteError):  # pytest.raises would keep the frames
                cholesky_update(np.eye(400), 2 * np.eye(400)[0], sign=-1)
        assert lvm.release_memory() <= 4 * np.eye(400).nbytes
        np.testing.assert_array_equal(scaled_identity(2), 2 * np.eye(400))

    def test_results_die_in_other_threads(self):
        def work(scale):
            kept = scaled_identity(scale)
            for other in range(100, 110):
                result = scaled_identity(other)
                np.testing.assert_array_equal(result, other * np.eye(400))
                result[...] = np.nan
            return kept

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for scale, kept in enumerate(pool.map(work, range(1, 9)), 1):
                np.testing.assert_array_equal(kept, scale * np.eye(400))


class TestThreads:
    @pytest.mark.parametrize("threads", [1, 2])
    def test_callers(self, rng, set_num_threads, threads):
        """Several at once: right results, and L stays where a downdate fails."""
        set_num_threads(threads)
        problems = []
        for n, m in [(13, 1), (97, 9), (200, 3), (300, 5), (64, 33)] * 3:
            sign = rng.choice([-1, 1], m)
            L, U = problem(rng, n, m, sign)
            problems.append((L, U, sign, cholesky_update(L, U, sign=sign)))

        def work(case):
            L, U, sign, new = case
            for _ in range(5):
                np.testing.assert_array_equal(cholesky_update(L, U, sign=sign), new)
                other = L.copy()
                failure(cholesky_update, other, 100 * U, sign=-1, overwrite=True)
                np.testing.assert_array_equal(other, L)
            return True

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, problems))

    def test_fork(self, rng, set_num_threads):
        set_num_threads(2)
        L, U = problem(rng, 400, 9)
        new = cholesky_update(L, U)

        def work():
            return [np.array_equal(cholesky_update(L, U), new) for _ in range(3)]

        assert in_child(work) == [True] * 3
        assert work() == [True] * 3
