"""Updates of Cholesky factors that must fail, and what they leave behind."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import assert_near
from reference import linalg as oracle
from updates import allowed, factor, failure, has_order, in_order, is_lower, problem, signs

import lvmfast as lvm
from lvmfast import _gpu
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


@pytest.mark.skipif(_gpu.usable() is not None, reason="there is a GPU, which takes GPU arrays")
@pytest.mark.parametrize("call", ON_THE_GPU.values(), ids=ON_THE_GPU)
def test_gpu_arrays_are_refused(call):
    with pytest.raises(DeviceError, match=r"got a GPU array \(.*FakeGpuArray\), but the CUDA module is (not )?built"):
        call(FakeGpuArray())
