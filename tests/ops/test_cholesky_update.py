"""Cholesky factors that gain and lose ranks, rows and columns: values, errors, what is overwritten, pull-backs."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import math

import numpy as np
import pytest
from helpers import DIFFERENCE, FLOATS, assert_near, differences, in_child, layouts, spd, tolerance, triangular
from reference import linalg as oracle

import lvmfast as lvm
from lvmfast import _backend
from lvmfast.exceptions import DeviceError, NonFiniteError, NotPositiveDefiniteError
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

CONDITION = 10.0  # of a factor L; that of L L^T is its square
MILD = 3.0  # where pull-backs are compared, which magnify by that square again
COLUMNS = [0, 1, 2, 3, 7, 8, 9, 16, 33]
SIZES = [1, 2, 3, 5, 8, 12, 13, 24, 33, 48, 65, 97, 130]
EDGES = [4, 8, 11, 12, 13, 16, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 97, 130]


@pytest.fixture(params=["C", "F"])
def order(request):
    """Row-major and column-major matrices."""
    return request.param


def signs(rng, m):
    """Updates, downdates, and both at once."""
    return 1, -1, rng.choice([-1, 1], m)


def transposed(A):
    return np.swapaxes(A, -1, -2)


def in_order(A, order):
    """A copy of matrices, each of them row-major or column-major."""
    return A.copy() if order == "C" else transposed(transposed(A).copy())


def has_order(A, order):
    return (A if order == "C" else transposed(A)).flags.c_contiguous


def product(L):
    """L L^T in float64."""
    lower = np.tril(L).astype(float)
    return lower @ transposed(lower)


def changed(L, U, sign=1):
    """L L^T + U diag(sign) U^T in float64."""
    U = U.astype(float)
    return product(L) + U * sign @ transposed(U)


def is_lower(n):
    return np.tri(n, dtype=bool)


def with_nan(L):
    """L with NaN above the diagonal."""
    return np.where(is_lower(L.shape[-1]), L, L.dtype.type(np.nan))


def factor(rng, n, *, condition=CONDITION, dtype=float, batch=()):
    """Lower factors with this condition number and a positive diagonal, above which NaN stands."""
    L = triangular(rng, n, condition=condition, dtype=dtype, batch=batch)
    return L * np.sign(np.einsum("...ii->...i", L))[..., None, :]


def problem(rng, n, m, sign=1, *, condition=CONDITION, dtype=float, batch=()):
    """L and U of norms near 1, such that the new factor is as well conditioned as one of ``factor``."""
    L = factor(rng, n, condition=condition, batch=batch)
    U = rng.standard_normal((*batch, n, m)) / (math.sqrt(n) + math.sqrt(m))
    taken = U * (np.broadcast_to(sign, m) < 0)
    if taken.any():
        L = with_nan(np.linalg.cholesky(changed(L, taken)))
    return L.astype(dtype), U.astype(dtype)


def allowed(dtype, n, m):
    """For a new factor; the squares of two norms near 1 are added up."""
    return tolerance(dtype, n + m, 2 * CONDITION**2)


def assert_factor(new, expected, relative, dtype):
    """``new`` is near ``expected``, of this dtype, and zero above the diagonal."""
    assert new.dtype == dtype
    assert_near(new, expected, relative)
    np.testing.assert_array_equal(new, np.tril(new))


def assert_update(new, L, U, sign=1):
    """``new`` is the update of one L by one U, or of each in a batch."""
    n, m = U.shape[-2:]
    L, U = np.broadcast_to(L, new.shape), np.broadcast_to(U, (*new.shape[:-2], n, m))
    dtype = np.result_type(L, U)
    for index in np.ndindex(new.shape[:-2]):
        assert_factor(new[index], oracle.cholesky_update(L[index], U[index], sign), allowed(dtype, n, m), dtype)


def failure(function, *arguments, **options):
    """The error of a matrix that is not positive definite."""
    with pytest.raises(NotPositiveDefiniteError) as caught:
        function(*arguments, **options)
    return caught.value


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
        """Bits, also where U has more columns than rows."""
        for n, m, sign in [(300, 700, 1), (300, 700, -1), (40, 300, 1)]:
            L, U = problem(rng, n, m, sign, dtype=dtype)
            results = []
            for threads in (1, 2, 3):
                set_num_threads(threads)
                results.append(cholesky_update(L, U, sign=sign))
            assert_near(product(results[0]), changed(L, U, sign), tolerance(dtype, n + m))
            for result in results:
                np.testing.assert_array_equal(result, results[0])

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


class TestNotPositiveDefinite:
    @pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 8, 16, 33, 150, 700])
    def test_pivot(self, rng, dtype, m):
        """L (I - P P^T) L^T with a diagonal P P^T: 1/4 in places, and more than 1 in the column that fails."""
        for n, order in itertools.product([1, 2, 5, 12, 13, 33, 64, 97], "CF"):
            L = in_order(factor(rng, n, dtype=dtype), order)
            before = L.copy()
            for pivot in {0, n // 2, n - 1}:
                others = np.setdiff1d(rng.permutation(n), [pivot])[: m - 1]
                U = np.zeros((n, m), dtype)
                U[:, : 1 + len(others)] = np.tril(L)[:, [pivot, *others]] * dtype([1.5] + [0.5] * len(others))
                error = failure(cholesky_update, L, U[:, rng.permutation(m)], sign=-1)
                assert (error.pivot, error.index) == (pivot, ())
                assert f"it is lost at column {pivot}" in str(error)
                np.testing.assert_array_equal(L, before)

    @pytest.mark.parametrize("m", [1, 2, 3, 5, 9])
    def test_zero_pivot(self, dtype, m):
        """Just as much is taken away as there is; with powers of two on the diagonal every step is exact."""
        for n in (1, 5, 13, 33):
            L = np.tril(np.add.outer(np.arange(n), 2 * np.arange(n)) % 5 - 2).astype(dtype)
            L[np.arange(n), np.arange(n)] = 2.0 ** (np.arange(n) % 3)
            for pivot in {0, n // 2, n - 1}:
                U = np.zeros((n, m), dtype)
                U[:, m // 2] = L[:, pivot]
                assert failure(cholesky_update, L, U, sign=-1).pivot == pivot

    @pytest.mark.parametrize("m", [1, 2, 3, 5, 16, 33])
    def test_pivot_of_the_oracle(self, rng, dtype, m):
        for n, sign in itertools.product([3, 12, 33, 97], signs(rng, m)[1:]):
            sign = np.broadcast_to(sign, m).copy()
            sign[m // 2] = -1
            L, U = problem(rng, n, m, dtype=dtype)
            U[:, m // 2] += 3 * np.tril(L)[:, n // 2]
            pivot = failure(cholesky_update, L, U, sign=sign).pivot
            with pytest.raises(np.linalg.LinAlgError, match=f"pivot {pivot} is"):
                oracle.cholesky_update(L, U, sign)

    def test_added_columns_come_first(self, rng, dtype):
        """What one column takes away another brings back, in any order."""
        for n, sign in itertools.product([1, 5, 33], ([1, -1], [-1, 1])):
            L, U = problem(rng, n, 2, dtype=dtype)
            U[:, 1] = U[:, 0] = 3 * U[:, 0]
            assert_near(cholesky_update(L, U, sign=sign), np.tril(L), allowed(dtype, n, 2), scale=1 + np.abs(U).max())

    @pytest.mark.parametrize("m", [1, 3, 5, 16])
    def test_overwrite_keeps_what_failed(self, rng, dtype, order, m):
        for n in (1, 13, 97, 300):
            L, U = in_order(factor(rng, n, dtype=dtype), order), np.zeros((n, m), dtype)
            U[:, -1] = 2 * np.tril(L)[:, -1]
            before = L.copy()
            assert failure(cholesky_update, L, U, sign=-1, overwrite=True).pivot == n - 1
            np.testing.assert_array_equal(L, before)
            result, ok = cholesky_update(L, U, sign=-1, overwrite=True, check=False)
            assert result is L
            assert ok is False
            np.testing.assert_array_equal(L, before)

    def test_check(self, rng, dtype):
        for sign in (1, -1):
            L, U = problem(rng, 6, 2, sign, dtype=dtype)
            new, ok = cholesky_update(L, U, sign=sign, check=False)
            assert ok is True
            np.testing.assert_array_equal(new, cholesky_update(L, U, sign=sign))
        new, ok = cholesky_update(L, 100 * U, sign=-1, check=False)
        assert ok is False
        assert (new.dtype, new.shape) == (dtype, L.shape)
        assert np.isnan(new).all()

    def test_types(self, rng):
        error = failure(cholesky_update, factor(rng, 3, batch=(2, 2)), np.full((2, 2, 3, 1), 100.0), sign=-1)
        assert isinstance(error, np.linalg.LinAlgError)
        assert isinstance(error, lvm.exceptions.LvmfastError)
        assert type(error.pivot) is int
        assert all(type(i) is int for i in error.index)


class TestFailuresInABatch:
    """Members (1, 0) and (1, 2) of 2 x 3 lose column 2."""

    BAD = np.array([[False, False, False], [True, False, True]])

    @pytest.fixture(params=[(5, 1, "f8"), (5, 3, "f4"), (13, 4, "f8"), (40, 9, "f4"), (40, 9, "f8")])
    def batch(self, request, rng, order):
        n, m, dtype = request.param
        L, U = problem(rng, n, m, -1, batch=(2, 3), dtype=dtype)
        U[self.BAD] = 0
        U[self.BAD, :, -1] = 2 * np.tril(L)[self.BAD][..., 2]
        return in_order(L, order), U

    def test_error(self, batch):
        L, U = batch
        before = L.copy()
        for overwrite in (False, True):
            error = failure(cholesky_update, L, U, sign=-1, overwrite=overwrite)
            assert (error.pivot, error.index) == (2, (1, 0))
            assert "L[1, 0]" in str(error)
            np.testing.assert_array_equal(L, before)

    def test_check(self, batch):
        L, U = batch
        before = L.copy()
        new, ok = cholesky_update(L, U, sign=-1, check=False)
        np.testing.assert_array_equal(ok, ~self.BAD)
        assert ok.dtype == bool
        assert np.isnan(new[self.BAD]).all()
        for index in zip(*np.nonzero(ok), strict=True):
            np.testing.assert_array_equal(new[index], cholesky_update(L[index], U[index], sign=-1))
        np.testing.assert_array_equal(L, before)
        out = np.full_like(L, 7)
        result, also = cholesky_update(L, U, sign=-1, out=out, check=False)
        assert result is out
        np.testing.assert_array_equal(out, new)
        np.testing.assert_array_equal(also, ok)

    def test_check_with_overwrite(self, batch):
        """What failed stays, and so does what stands above the diagonals."""
        L, U = batch
        before = L.copy()
        result, ok = cholesky_update(L, U, sign=-1, overwrite=True, check=False)
        assert result is L
        np.testing.assert_array_equal(ok, ~self.BAD)
        np.testing.assert_array_equal(L[self.BAD], before[self.BAD])
        np.testing.assert_array_equal(L, np.where(is_lower(L.shape[-1]), L, before))
        for index in zip(*np.nonzero(ok), strict=True):
            new = cholesky_update(in_order(before[index], "C" if has_order(L, "C") else "F"), U[index], sign=-1)
            np.testing.assert_array_equal(np.tril(L[index]), new)

    def test_threads(self, batch, set_num_threads):
        """Members of other threads, too, stay as they are."""
        L, U = (np.concatenate([A.reshape(6, *A.shape[2:])] * 20) for A in batch)
        before = L.copy()
        for threads in (1, 2, 3):
            set_num_threads(threads)
            assert failure(cholesky_update, L, U, sign=-1, overwrite=True).index == (3,)
            np.testing.assert_array_equal(L, before)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_other_errors_come_whatever_check_says(self, batch, sign):
        """NaN in U and a diagonal that is not positive are found before any member is overwritten.

        Only with check=True and downdates may the indefinite member before them be named instead.
        """
        for which, value, kind, text in [(1, np.nan, NonFiniteError, "U"), (0, -1.0, ValueError, "L")]:
            arrays = [A.copy() for A in batch]
            arrays[which][1, 1, 2] = value
            before = arrays[0].copy()
            for overwrite, check in itertools.product([False, True], repeat=2):
                earlier = check and sign == -1
                kinds = (kind, NotPositiveDefiniteError) if earlier else kind
                with pytest.raises(kinds, match=rf"^{text}\[1, 1\] must" + r"|^L\[1, 0\] " * earlier):
                    cholesky_update(*arrays, sign=sign, overwrite=overwrite, check=check)
                np.testing.assert_array_equal(arrays[0], before)

    def test_indefinite_and_nan(self, batch):
        """The NaN is what check=False raises for, although an indefinite member stands before it."""
        L, U = batch
        U[1, 2, 0, 0] = np.nan
        with pytest.raises(NonFiniteError, match=r"U\[1, 2\]"):
            cholesky_update(L, U, sign=-1, check=False)


class TestRefused:
    """A diagonal that is not positive, NaN, infinity, overflow; signs, shapes and types."""

    @pytest.mark.parametrize("m", [0, 1, 3, 9])
    def test_diagonal(self, rng, dtype, order, m):
        for n, sign, bad in itertools.product([1, 5, 33, 97], signs(rng, m), [0.0, -1e-30]):
            L, U = problem(rng, n, m, sign, dtype=dtype)
            for row in {0, n // 2, n - 1}:
                wrong = in_order(L, order)
                wrong[row, row] = bad
                before = wrong.copy()
                for overwrite in (False, True):
                    with pytest.raises(ValueError, match=f"^L must have a positive diagonal, got .* at row {row};"):
                        cholesky_update(wrong, U, sign=sign, overwrite=overwrite)
                    np.testing.assert_array_equal(wrong, before)

    @pytest.mark.parametrize("m", [1, 3, 9, 150, 700])
    def test_columns(self, rng, dtype, order, m):
        for n, sign, bad in itertools.product([1, 5, 97], signs(rng, m), [np.nan, -np.inf]):
            L, U = problem(rng, n, m, sign, dtype=dtype)
            before = L.copy()
            for row, column in {(0, 0), (n // 2, m - 1), (n - 1, m // 2)}:
                wrong = in_order(U, order)
                wrong[row, column] = bad
                for options in ({}, {"overwrite": True}, {"check": False}):
                    with pytest.raises(
                        NonFiniteError, match=f"^U must be finite, got {bad} at row {row}, col.* {column}"
                    ):
                        cholesky_update(L, wrong, sign=sign, **options)
                    np.testing.assert_array_equal(L, before)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("m", [0, 1, 3, 9])
    def test_matrix(self, rng, dtype, bad, m):
        """On the diagonal and below it, whether or not U has something there."""
        for n, order, sign in itertools.product([1, 5, 97], "CF", signs(rng, m)):
            L, U = problem(rng, n, m, sign, dtype=dtype)
            for row, column in {(0, 0), (n - 1, 0), (n - 1, n // 2), (n - 1, n - 1), (n // 2, n // 3)}:
                wrong = in_order(L, order)
                wrong[row, column] = bad
                before = wrong.copy()
                for columns, check in itertools.product([U, 0 * U], [True, False]):
                    with pytest.raises(
                        NonFiniteError, match=f"^L must be finite, got {bad} at row {row}, col.* {column}"
                    ):
                        cholesky_update(wrong, columns, sign=sign, check=check)
                    np.testing.assert_array_equal(wrong, before)

    def test_matrix_to_be_overwritten(self, rng, dtype):
        """For NaN on its diagonal nothing changes; for NaN below, the error comes all the same."""
        for row in (3, 4):
            L, U = problem(rng, 5, 2, dtype=dtype)
            L[row, 3] = np.nan
            before = L.copy()
            with pytest.raises(NonFiniteError):
                cholesky_update(L, U, overwrite=True)
            if row == 3:
                np.testing.assert_array_equal(L, before)

    def test_index(self, rng, dtype):
        L, U = problem(rng, 5, 2, batch=(2, 3), dtype=dtype)
        L[1, 2, 4, 1] = np.inf
        with pytest.raises(FloatingPointError, match=r"^L\[1, 2\] must be finite, got inf at row 4, column 1"):
            cholesky_update(L, U)
        with pytest.raises(NonFiniteError, match=r"^L\[0, 1, 2\] must be finite"):
            cholesky_update(L, np.stack([U, U]))

    @pytest.mark.parametrize("m", [1, 2, 3, 9])
    def test_overflow(self, rng, dtype, m):
        largest = dtype(0.9) * np.finfo(dtype).max
        for n in (1, 5, 33):
            L, U = np.eye(n, dtype=dtype), np.zeros((n, m), dtype)
            L[n // 2, n // 2] = U[n // 2, -1] = largest
            with pytest.raises(NonFiniteError, match="overflow"):
                cholesky_update(L, U)
            L, U = problem(rng, n, m, dtype=dtype)
            L, U = L / np.nanmax(L) * largest, U / np.abs(U).max() * largest
            U[0], L[0, 0] = largest, largest
            with pytest.raises(NonFiniteError, match="overflow"):
                cholesky_update(L, U)

    @pytest.mark.parametrize("bad", [0, 2, -2, 0.5, np.nan, np.inf, 2**70, True, None, "1", 1j, [1, 0], [1, np.nan]])
    def test_sign(self, bad):
        with pytest.raises(ValueError, match="sign must be 1 or -1, or an array of these, got"):
            cholesky_update(np.eye(3), np.ones((3, 2)), sign=bad)

    def test_sign_shape(self):
        for shape in [(1,), (3,), (0,), (1, 2), (2, 2), (2, 1)]:
            with pytest.raises(ValueError, match=r"sign must be 1, -1 or an array of shape \(m,\) for U's 2 columns"):
                cholesky_update(np.eye(3), np.ones((3, 2)), sign=np.ones(shape))

    def test_shapes(self):
        for shape in [(2, 3), (3, 2, 3)]:
            with pytest.raises(ValueError, match=r"L must have shape \(..., n, n\), got"):
                cholesky_update(np.ones(shape), np.ones(3))
        for left, right in [((2, 2), (3,)), ((2, 2), (3, 1)), ((3, 2, 2), (2, 1)), ((3, 2, 2), (3, 3, 1))]:
            with pytest.raises(ValueError, match=r"U must have shape \(..., n.* with n = 2 like L, got"):
                cholesky_update(np.broadcast_to(np.eye(2), left), np.ones(right))
        with pytest.raises(ValueError, match="leading dimensions of L and U must broadcast"):
            cholesky_update(np.stack([np.eye(2)] * 2), np.ones((3, 2, 1)))
        with pytest.raises(ValueError, match="L must have at least 2 dimensions"):
            cholesky_update(np.ones(3), np.ones(3))
        with pytest.raises(ValueError, match="U must have at least 1 dimensions"):
            cholesky_update(np.eye(3), 1.0)

    @pytest.mark.parametrize("bad", [[["a"]], np.eye(1) * 1j, np.array([[None]])])
    def test_numbers(self, bad):
        with pytest.raises(TypeError, match="L must hold real numbers"):
            cholesky_update(bad, np.ones((1, 1)))
        with pytest.raises(TypeError, match="U must hold real numbers"):
            cholesky_update(np.eye(1), bad)


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


class FakeGpuArray:
    """An array on a GPU, as far as one can see from outside."""

    __cuda_array_interface__ = {"shape": (2, 2), "typestr": "<f8", "data": (16, False), "version": 3}
    shape, ndim, dtype, size = (2, 2), 2, np.dtype(float), 4

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


I, J, ONE = np.eye(2), np.eye(3), np.eye(1)  # noqa: E741
ON_THE_GPU = {
    "update, L": lambda g: cholesky_update(g, I),
    "update, U": lambda g: cholesky_update(I, g),
    "update, out": lambda g: cholesky_update(I, I, out=g),
    "update, overwrite": lambda g: cholesky_update(g, I, overwrite=True),
    "update_vjp, L": lambda g: cholesky_update_vjp(g, I, I),
    "update_vjp, U": lambda g: cholesky_update_vjp(I, g, I),
    "update_vjp, L_new_bar": lambda g: cholesky_update_vjp(I, I, g),
    "update_vjp, L_new": lambda g: cholesky_update_vjp(I, I, I, L_new=g),
    "append, L": lambda g: cholesky_append(g, I, I),
    "append, B": lambda g: cholesky_append(I, g, I),
    "append, C": lambda g: cholesky_append(I, I, g),
    "append_vjp, L_new": lambda g: cholesky_append_vjp(g, I),
    "append_vjp, L_new_bar": lambda g: cholesky_append_vjp(I, g),
    "insert, L": lambda g: cholesky_insert(g, 0, I, I),
    "insert, b": lambda g: cholesky_insert(I, 0, g, I),
    "insert, c": lambda g: cholesky_insert(I, 0, I, g),
    "insert_vjp, L": lambda g: cholesky_insert_vjp(g, 0, J, J),
    "insert_vjp, L_new": lambda g: cholesky_insert_vjp(ONE, 0, g, I),
    "insert_vjp, L_new_bar": lambda g: cholesky_insert_vjp(ONE, 0, I, g),
    "delete, L": lambda g: cholesky_delete(g, 0),
    "delete_vjp, L": lambda g: cholesky_delete_vjp(g, 0, ONE),
    "delete_vjp, L_new_bar": lambda g: cholesky_delete_vjp(J, 0, g),
}


@pytest.mark.skipif(_backend.cuda_status() == "built", reason="lvmfast._cuda is built and takes GPU arrays")
@pytest.mark.parametrize("call", ON_THE_GPU.values(), ids=ON_THE_GPU)
def test_gpu_arrays_are_refused(call):
    with pytest.raises(DeviceError, match=r"got a GPU array \(.*FakeGpuArray\), but the CUDA module is not built"):
        call(FakeGpuArray())


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


def parts(n, at, m):
    """The old and the new rows of n + m, m of them new from ``at`` on."""
    new = np.arange(at, at + m)
    return np.delete(np.arange(n + m), new), new


def insertion(rng, n, at, m, *, dtype=float, batch=(), condition=CONDITION):
    """L, b and c that make a well conditioned matrix; NaN stands above the diagonal of L."""
    A = spd(rng, n + m, condition=condition**2, batch=batch)
    old, new = parts(n, at, m)
    L = with_nan(np.linalg.cholesky(A[..., old[:, None], old])) if n else np.empty((*batch, 0, 0))
    return tuple(part.astype(dtype) for part in (L, A[..., old[:, None], new], A[..., new[:, None], new]))


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
