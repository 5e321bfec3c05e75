"""Cholesky factors that gain and lose rows and columns."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from helpers import assert_near, layouts, tolerance
from reference import linalg as oracle
from updates import allowed, assert_factor, factor, failure, in_order, insertion, with_nan

from lvmfast.exceptions import NonFiniteError
from lvmfast.linalg import (
    cholesky_append,
    cholesky_delete,
    cholesky_insert,
)


class TestInsert:
    @pytest.mark.parametrize("n", [0, 1, 2, 5, 12, 33, 97])
    def test_value(self, rng, dtype, n):
        for m, at in itertools.product([0, 1, 2, 5, 12], {0, n // 3, n // 2, n}):
            L, b, c = insertion(rng, n, at, m, dtype=dtype)
            kept = [part.copy() for part in (L, b, c)]
            expected = oracle.cholesky_insert(L, at, b, c)
            assert_factor(cholesky_insert(L, at, b, c), expected, allowed(dtype, n, m), dtype)
            if at == n:
                assert_factor(cholesky_append(L, b, c), expected, allowed(dtype, n, m), dtype)
                np.testing.assert_array_equal(cholesky_append(L, b, c), cholesky_insert(L, at, b, c))
            for part, before in zip((L, b, c), kept, strict=True):
                np.testing.assert_array_equal(part, before)

    def test_vector(self, rng, dtype):
        for n in (1, 2, 5, 33):
            for at in {0, n // 2, n}:
                L, b, c = insertion(rng, n, at, 1, dtype=dtype)
                whole = cholesky_insert(L, at, b, c)
                np.testing.assert_array_equal(cholesky_insert(L, at, b[:, 0], c[0, 0]), whole)
                if at == n:
                    np.testing.assert_array_equal(cholesky_append(L, b[:, 0], c[0, 0]), whole)

    @pytest.mark.parametrize("m", [1, 3])
    def test_then_delete(self, rng, dtype, m):
        for n, at in [(1, 0), (5, 2), (33, 0), (33, 20), (97, 50)]:
            L, b, c = insertion(rng, n, at, m, dtype=dtype)
            back = cholesky_delete(cholesky_insert(L, at, b, c), np.arange(at, at + m))
            assert_factor(back, np.tril(L), allowed(dtype, n, m), dtype)

    @pytest.mark.parametrize("index", range(-4, 5))
    def test_index(self, rng, index):
        """The new row stands where numpy.insert puts it."""
        at = int(np.insert(np.zeros(4), index, 1).argmax())
        L, b, c = insertion(rng, 4, at, 1)
        expected = oracle.cholesky_insert(L, at, b, c)
        for same in (index, np.int64(index), np.array(index)):
            assert_factor(cholesky_insert(L, same, b, c), expected, allowed(float, 4, 1), float)

    @pytest.mark.parametrize(
        ("matrices", "columns", "corners", "batch"),
        [
            ((3,), (3,), (3,), (3,)),
            ((), (3,), (3,), (3,)),
            ((3,), (1,), (), (3,)),
            ((2, 1), (1, 3), (3,), (2, 3)),
            ((), (), (3,), (3,)),
            ((0,), (1,), (), (0,)),
        ],
    )
    def test_batch(self, rng, matrices, columns, corners, batch):
        for at in (0, 2, 4):
            shapes = matrices, columns, corners
            L, b, c = (insertion(rng, 4, at, 2, batch=shape)[i] for i, shape in enumerate(shapes))
            b, c = 0.1 * b, c + np.eye(2)
            new = cholesky_insert(L, at, b, c)
            assert new.shape == (*batch, 6, 6)
            L, b, c = (np.broadcast_to(part, (*batch, *part.shape[-2:])) for part in (L, b, c))
            for index in np.ndindex(batch):
                expected = oracle.cholesky_insert(L[index], at, b[index], c[index])
                assert_near(new[index], expected, allowed(float, 4, 2))

    def test_vectors_in_a_batch(self, rng):
        """One number for all members, or one for each."""
        L, b, c = insertion(rng, 4, 2, 1, batch=(3,))
        for corner in (5.0, 1 + c[:, 0, 0]):
            matrices = np.reshape(corner, (*np.shape(corner), 1, 1))
            whole = cholesky_insert(L, 2, b, matrices), cholesky_append(L, b, matrices)
            np.testing.assert_array_equal(cholesky_insert(L, 2, b[..., 0], corner), whole[0])
            np.testing.assert_array_equal(cholesky_append(L, b[..., 0], corner), whole[1])

    def test_append_reads_the_lower_triangle(self, rng, dtype):
        L, b, c = insertion(rng, 5, 5, 3, dtype=dtype)
        np.testing.assert_array_equal(cholesky_append(L, b, with_nan(c)), cholesky_append(L, b, c))

    def test_types(self, rng):
        L, b, c = insertion(rng, 4, 2, 1, dtype=np.float32)
        expected = cholesky_insert(L, 2, b, c)
        for wide in range(3):
            arguments = [part.astype(float if i == wide else part.dtype) for i, part in enumerate((L, b, c))]
            assert cholesky_insert(arguments[0], 2, *arguments[1:]).dtype == float
            assert cholesky_append(*arguments).dtype == float
        for _, other in layouts(L):
            assert_factor(cholesky_insert(other, 2, b, c), expected, allowed(np.float32, 4, 1), np.float32)
        new = cholesky_append([[2, 0], [1, 1]], [2, 1], 3)
        assert_factor(new, [[2, 0, 0], [1, 1, 0], [1, 0, math.sqrt(2)]], tolerance(float), float)

    @pytest.mark.parametrize("row", range(4))
    def test_duplicate_row(self, dtype, row):
        """A row again, with less variance or, where the steps are exact, the same: the later one has no pivot left."""
        L = np.array([[4, 0, 0, 0], [2, 2, 0, 0], [4, 2, 1, 0], [-4, 2, 2, 2]], dtype)
        A = L @ L.T
        for at in range(5):
            error = failure(cholesky_insert, L, at, A[:, row], A[row, row] - 0.5 * L[row, row] ** 2)
            assert (error.pivot, error.index) == (at if at > row else row + 1, ())
        for less in (0, 1):
            assert failure(cholesky_append, L, A[:, row], A[row, row] - less).pivot == 4

    def test_failure_in_a_batch(self, rng):
        """The pivot is the row of the whole matrix, within the corner and behind it."""
        for at in (0, 2, 4):
            L, b, c = insertion(rng, 4, at, 3, batch=(2, 2))
            c[1, 0, 1, 1] = -1.0
            error = failure(cholesky_insert, L, at, b, c)
            assert (error.pivot, error.index) == (at + 1, (1, 0))
        L, b, c = insertion(rng, 4, 1, 1, batch=(3,))
        b[2, 3] = 100.0
        error = failure(cholesky_insert, L, 1, b, c)
        assert (error.pivot, error.index) == (4, (2,))

    @pytest.mark.parametrize("index", [-5, 5, 100])
    def test_index_out_of_range(self, index):
        """As for numpy.insert."""
        with pytest.raises(IndexError, match="index must be from"):
            cholesky_insert(np.eye(4), index, np.ones(4), 9.0)
        with pytest.raises(IndexError):
            np.insert(np.ones(4), index, 9.0)

    def test_errors(self):
        for index in (1.0, "1", None, [1]):
            with pytest.raises(TypeError, match="index must be an integer"):
                cholesky_insert(np.eye(4), index, np.ones(4), 9.0)
        for names, call in [("BC", cholesky_append), ("bc", lambda L, b, c: cholesky_insert(L, 1, b, c))]:
            with pytest.raises(ValueError, match=rf"{names[0]} must have shape \(..., n\) with n = 2 like L"):
                call(np.eye(2), np.ones(3), 1.0)
            with pytest.raises(ValueError, match=rf"{names[0]} must have shape \(..., n, m\) with n = 2 like L"):
                call(np.eye(2), np.ones((3, 1)), np.eye(1))
            for wrong in (np.eye(1), np.ones((2, 3)), np.ones(2), 1.0):
                with pytest.raises(ValueError, match=rf"{names[1]} must have shape \(..., m, m\) with m = 2"):
                    call(np.eye(2), np.ones((2, 2)), wrong)
            with pytest.raises(ValueError, match="must broadcast"):
                call(np.stack([np.eye(2)] * 2), np.ones((3, 2, 1)), np.eye(1))
            with pytest.raises(ValueError, match=r"L must have shape \(..., n, n\)"):
                call(np.ones((2, 3)), np.ones(2), 1.0)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, rng, bad):
        for at, which in itertools.product((0, 2, 4), (1, 2)):
            arguments = list(insertion(rng, 4, at, 1))
            arguments[which][-1, 0] = bad
            with pytest.raises(NonFiniteError):
                cholesky_insert(arguments[0], at, *arguments[1:])


class TestDelete:
    def test_one(self, rng, dtype, order):
        for n in [1, 2, 5, 13, 33, 97]:
            L = in_order(factor(rng, n, dtype=dtype), order)
            before = L.copy()
            for row in {0, n // 2, n - 1}:
                expected = oracle.cholesky_delete(L, row)
                for index in (row, row - n, [row], np.array([row]), np.int32(row)):
                    assert_factor(cholesky_delete(L, index), expected, allowed(dtype, n, 1), dtype)
            np.testing.assert_array_equal(L, before)

    @pytest.mark.parametrize("m", [2, 3, 5, 9, 20])
    def test_several(self, rng, dtype, m):
        """In any order, apart or side by side."""
        for n in (m, m + 1, m + 7, 3 * m + 20):
            L = factor(rng, n, dtype=dtype)
            for rows in (np.arange(m), np.arange(n - m, n), rng.permutation(n)[:m], np.arange(n)[::-1][::2][:m]):
                expected = oracle.cholesky_delete(L, rows)
                assert_factor(cholesky_delete(L, rows), expected, allowed(dtype, n, m), dtype)
                assert_factor(cholesky_delete(L, list(rows - n)), expected, allowed(dtype, n, m), dtype)

    def test_all_and_none(self, rng, dtype):
        L = factor(rng, 4, dtype=dtype)
        for matrices in (L, np.stack([L, L])):
            assert cholesky_delete(matrices, range(4)).shape == (*matrices.shape[:-2], 0, 0)
            assert cholesky_delete(matrices, range(4)).dtype == dtype
            np.testing.assert_array_equal(cholesky_delete(matrices, []), np.tril(matrices))

    def test_rows_before_stay(self, rng, dtype):
        """Bit for bit; of the last rows nothing is left."""
        L = np.tril(factor(rng, 9, dtype=dtype))
        np.testing.assert_array_equal(cholesky_delete(L, [8, 7]), L[:7, :7])
        np.testing.assert_array_equal(cholesky_delete(L, 4)[:4], L[:4, :8])

    def test_batch(self, rng):
        L = np.tril(factor(rng, 7, batch=(2, 3)))
        for rows in (3, [1, 4], []):
            new = cholesky_delete(L, rows)
            for index in np.ndindex(2, 3):
                assert_near(new[index], oracle.cholesky_delete(L[index], rows), allowed(float, 7, 2))
        assert cholesky_delete(np.empty((0, 4, 4)), 1).shape == (0, 3, 3)

    def test_layout(self, rng):
        L = np.tril(factor(rng, 7))
        for _, other in layouts(L):
            assert_near(cholesky_delete(other, [1, 3]), oracle.cholesky_delete(L, [1, 3]), allowed(float, 7, 2))
        assert_near(cholesky_delete([[1, 0], [3, 4]], 0), [[5.0]], tolerance(float))

    def test_errors(self):
        for index in ([1, 1], [1, -3], [0, 2, -2]):
            with pytest.raises(ValueError, match="index must name each row once"):
                cholesky_delete(np.eye(4), index)
        for index in (4, -5, [0, 4]):
            with pytest.raises(IndexError, match="index must be from -4 to 3, got"):
                cholesky_delete(np.eye(4), index)
        for index in (1.0, "1", None, [0.5], [[0, 1]], np.ones(4, bool)):
            with pytest.raises(TypeError, match="index must be an integer or a sequence"):
                cholesky_delete(np.eye(4), index)
        with pytest.raises(ValueError, match=r"L must have shape \(..., n, n\)"):
            cholesky_delete(np.ones((2, 3)), 0)
