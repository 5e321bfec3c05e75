"""Cholesky factors: values, pull-backs, jitter, and the errors that say what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, in_child, indefinite, layouts, spd, tolerance
from reference import linalg as oracle

import lvmfast as lvm
from lvmfast.exceptions import JitterWarning
from lvmfast.linalg._cholesky import JITTER_RANGE

CONDITION = 100.0
SIZES = [1, 2, 3, 7, 16, 33]


class TestCholesky:
    @pytest.mark.parametrize("n", SIZES)
    def test_value(self, rng, dtype, n):
        A = spd(rng, n, condition=CONDITION, dtype=dtype)
        L = lvm.linalg.cholesky(A)
        assert L.dtype == dtype
        assert_near(L, oracle.cholesky(A), tolerance(dtype, n, CONDITION))
        assert (L[np.triu_indices(n, 1)] == 0).all()

    @pytest.mark.parametrize("n", [64, 127, 300])
    def test_large(self, rng, dtype, n):
        """L L^T = A to the backward error, which knows no condition number."""
        A = spd(rng, n, condition=1e3, dtype=dtype)
        L = lvm.linalg.cholesky(A).astype(float)
        assert_near(L @ L.T, A, tolerance(dtype, n))

    def test_batch(self, rng, dtype):
        A = spd(rng, 5, condition=CONDITION, dtype=dtype, batch=(2, 3))
        L = lvm.linalg.cholesky(A)
        assert L.shape == A.shape
        for index in np.ndindex(2, 3):
            np.testing.assert_array_equal(L[index], lvm.linalg.cholesky(A[index]))

    @pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3, 3), (0, 0), (2, 0, 0), (0, 0, 0)])
    def test_empty(self, dtype, shape):
        L = lvm.linalg.cholesky(np.empty(shape, dtype))
        assert L.shape == shape
        assert L.dtype == dtype
        L, jitter = lvm.linalg.cholesky(np.empty(shape, dtype), return_jitter=True)
        assert L.shape == shape
        assert np.shape(jitter) == shape[:-2]

    def test_layout(self, rng, dtype):
        """The same bits from every memory layout, and the input stays as it is."""
        A = spd(rng, 6, condition=CONDITION, dtype=dtype, batch=(3,))
        L = lvm.linalg.cholesky(A)
        for name, other in layouts(A):
            before = other.copy()
            np.testing.assert_array_equal(lvm.linalg.cholesky(other), L, err_msg=name)
            np.testing.assert_array_equal(other, before, err_msg=name)
        repeated = np.broadcast_to(A[0], (4, 6, 6))
        np.testing.assert_array_equal(lvm.linalg.cholesky(repeated), np.broadcast_to(L[0], (4, 6, 6)))

    def test_result_is_fresh(self, rng):
        A = np.eye(3)
        L = lvm.linalg.cholesky(A)
        L[...] = 7
        np.testing.assert_array_equal(A, np.eye(3))
        assert L.flags.writeable
        assert L.flags.c_contiguous

    def test_reads_the_lower_triangle_only(self, rng, dtype):
        A = spd(rng, 6, condition=CONDITION, dtype=dtype)
        L = lvm.linalg.cholesky(A)
        A[np.triu_indices(6, 1)] = np.nan
        np.testing.assert_array_equal(lvm.linalg.cholesky(A), L)

    @pytest.mark.parametrize("kind", [int, bool, np.float16, np.uint8, list])
    def test_other_types_become_float64(self, kind):
        A = [[1, 0], [0, 1]]
        L = lvm.linalg.cholesky(A if kind is list else np.array(A, kind))
        assert L.dtype == np.float64
        np.testing.assert_array_equal(L, np.eye(2))

    def test_powers_of_two_are_exact(self, dtype):
        L = np.array([[2, 0, 0], [1, 4, 0], [-8, 2, 1]], dtype)
        np.testing.assert_array_equal(lvm.linalg.cholesky(L @ L.T), L)

    @pytest.mark.parametrize("exponent", [-300, -100, 100, 300])
    def test_scale(self, rng, exponent):
        """A power of four comes out as its root, far away from 1."""
        A = spd(rng, 5, condition=CONDITION)
        L = lvm.linalg.cholesky(A * 4.0 ** (exponent // 2))
        np.testing.assert_array_equal(L, lvm.linalg.cholesky(A) * 2.0 ** (exponent // 2))

    @pytest.mark.parametrize("shape", [(3, 2), (2, 3, 2)])
    def test_shape_errors(self, shape):
        with pytest.raises(ValueError, match=r"A must have shape \(..., n, n\), got \("):
            lvm.linalg.cholesky(np.ones(shape))

    def test_type_errors(self):
        with pytest.raises(ValueError, match=r"A must have at least 2 dimensions, got shape \(3,\)"):
            lvm.linalg.cholesky(np.ones(3))
        for wrong in ([["a"]], np.eye(2) * 1j, np.array([[None]])):
            with pytest.raises(TypeError, match="A must hold real numbers, got dtype"):
                lvm.linalg.cholesky(wrong)


class TestCholeskyVjp:
    @pytest.mark.parametrize("n", [1, 2, 5, 9])
    def test_oracle(self, rng, dtype, n):
        A = spd(rng, n, condition=10.0, dtype=dtype)
        L = lvm.linalg.cholesky(A)
        L_bar = rng.standard_normal((n, n)).astype(dtype)
        A_bar = lvm.linalg.cholesky_vjp(L, L_bar)
        assert A_bar.dtype == dtype
        assert_near(A_bar, oracle.cholesky_vjp(L, L_bar), tolerance(dtype, n, 10.0))
        np.testing.assert_array_equal(A_bar, A_bar.T)

    def test_differences(self, rng):
        A = spd(rng, 4, condition=10.0)
        L_bar = rng.standard_normal((4, 4))
        A_bar = lvm.linalg.cholesky_vjp(lvm.linalg.cholesky(A), L_bar)
        numeric = differences(lambda t: np.sum(L_bar * lvm.linalg.cholesky(0.5 * (t + t.T))), A)
        assert_near(A_bar, numeric, tolerance(float, 4, 10.0 * DIFFERENCE))

    def test_batch_and_types(self, rng):
        A = spd(rng, 4, batch=(2, 3))
        L, L_bar = lvm.linalg.cholesky(A), rng.standard_normal(A.shape)
        A_bar = lvm.linalg.cholesky_vjp(L, L_bar)
        for index in np.ndindex(2, 3):
            single = lvm.linalg.cholesky_vjp(L[index], L_bar[index])
            assert_near(A_bar[index], single, tolerance(float, 4, CONDITION))
        before = L.copy(), L_bar.copy()
        lvm.linalg.cholesky_vjp(L, L_bar)
        np.testing.assert_array_equal((L, L_bar), before)
        assert lvm.linalg.cholesky_vjp(L.astype(np.float32), L_bar).dtype == np.float64
        upper = np.triu(np.ones((4, 4)), 1)
        np.testing.assert_array_equal(lvm.linalg.cholesky_vjp(L, L_bar + upper), A_bar)

    def test_errors(self):
        with pytest.raises(ValueError, match=r"L_bar must have the shape of L, \(2, 2\), got \(3, 3\)"):
            lvm.linalg.cholesky_vjp(np.eye(2), np.eye(3))
        with pytest.raises(ValueError, match=r"L must have shape \(..., n, n\), got \(2, 3\)"):
            lvm.linalg.cholesky_vjp(np.ones((2, 3)), np.ones((2, 3)))


class TestJitter:
    """Rung k of the ladder is 10^k times the mean diagonal; a lowest eigenvalue of -0.3 times that needs it."""

    @pytest.mark.parametrize("rung", [-9, -8, -7, -6, -5, -4])
    @pytest.mark.parametrize("scale", [1.0, 2.0**60])
    def test_the_first_rung_that_helps_is_taken(self, rng, rung, scale):
        A = scale * indefinite(rng, 8, -0.3 * 10.0**rung)
        L, jitter = lvm.linalg.cholesky(A, return_jitter=True)
        assert isinstance(jitter, float)
        assert jitter == pytest.approx(10.0**rung * np.mean(np.diag(A)), rel=tolerance(float, 8))
        assert_near(L @ L.T, A + jitter * np.eye(8), tolerance(float, 8))

    @pytest.mark.parametrize("rung", [-4, -3, -2])
    def test_float32(self, rng, rung):
        A = indefinite(rng, 8, -0.3 * 10.0**rung, np.float32)
        L, jitter = lvm.linalg.cholesky(A, return_jitter=True)
        assert L.dtype == np.float32
        assert jitter == pytest.approx(10.0**rung, rel=tolerance(np.float32, 8))
        assert_near(L.astype(float) @ L.T.astype(float), A + jitter * np.eye(8), tolerance(np.float32, 8))

    def test_first_rung(self, dtype):
        """A pivot of exactly zero needs the smallest jitter there is."""
        A = np.ones((2, 2), dtype)
        jitter = lvm.linalg.cholesky(A, return_jitter=True)[1]
        assert jitter == pytest.approx(JITTER_RANGE[np.dtype(dtype)][0])

    def test_not_without_need(self, rng, dtype):
        A = spd(rng, 6, condition=CONDITION, dtype=dtype)
        L, jitter = lvm.linalg.cholesky(A, return_jitter=True)
        assert jitter == 0
        np.testing.assert_array_equal(L, lvm.linalg.cholesky(A, jitter=0))

    def test_warns_where_it_is_called(self):
        with pytest.warns(
            JitterWarning, match="A was not positive definite to working precision: up to 1e-10"
        ) as record:
            L = lvm.linalg.cholesky(np.ones((2, 2)))
        assert [w.filename for w in record] == [__file__]
        assert_near(L @ L.T, np.ones((2, 2)) + 1e-10 * np.eye(2), tolerance(float))

    def test_batch(self, rng):
        """Each matrix gets its own, and the warning names the largest."""
        A = spd(rng, 5, batch=(2, 2))
        A[0, 1], A[1, 0] = indefinite(rng, 5, -0.3e-6), indefinite(rng, 5, -0.3e-8)
        L, jitter = lvm.linalg.cholesky(A, return_jitter=True)
        assert jitter.shape == (2, 2)
        np.testing.assert_allclose(jitter, [[0, 1e-6], [1e-8, 0]], rtol=tolerance(float, 5), atol=0)
        with pytest.warns(JitterWarning, match="up to 1e-06 was added"):
            np.testing.assert_array_equal(lvm.linalg.cholesky(A), L)

    def test_refused(self, rng):
        A = indefinite(rng, 8, -0.3e-7)
        with pytest.raises(lvm.exceptions.NotPositiveDefiniteError, match="with jitter 0 on the diagonal") as caught:
            lvm.linalg.cholesky(A, jitter=0)
        assert caught.value.jitter == 0
        assert caught.value.index == ()

    def test_exhausted(self, rng, dtype):
        first, last = JITTER_RANGE[np.dtype(dtype)]
        A = indefinite(rng, 8, -3 * last, dtype)
        with pytest.raises(lvm.exceptions.NotPositiveDefiniteError, match=f"with jitter {last:.3g} on") as caught:
            lvm.linalg.cholesky(A)
        assert caught.value.jitter == pytest.approx(last, rel=tolerance(dtype, 8))

    def test_number_is_added_as_it_is(self, rng, dtype):
        A = spd(rng, 5, condition=CONDITION, dtype=dtype)
        for jitter in (0.25, np.float32(0.25), np.array(0.25)):
            L, used = lvm.linalg.cholesky(A, jitter=jitter, return_jitter=True)
            assert used == 0.25
            assert L.dtype == dtype
            assert_near(L.astype(float) @ L.T.astype(float), A + 0.25 * np.eye(5), tolerance(dtype, 5))
        np.testing.assert_array_equal(lvm.linalg.cholesky(A, jitter=0.25), L)

    def test_number_is_not_raised(self, rng):
        with pytest.raises(lvm.exceptions.NotPositiveDefiniteError, match="with jitter 1e-06 on") as caught:
            lvm.linalg.cholesky(indefinite(rng, 5, -1e-5), jitter=1e-6)
        assert caught.value.jitter == 1e-6

    @pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf])
    def test_bad_numbers(self, bad):
        with pytest.raises(ValueError, match="jitter must be a finite number >= 0, got"):
            lvm.linalg.cholesky(np.eye(2), jitter=bad)

    def test_bad_types(self):
        with pytest.raises(ValueError, match="jitter must be 'auto' or a number >= 0, got 'always'"):
            lvm.linalg.cholesky(np.eye(2), jitter="always")
        for bad in (None, True, [1e-6], 1j):
            with pytest.raises(TypeError, match="jitter must be a number >= 0, got"):
                lvm.linalg.cholesky(np.eye(2), jitter=bad)


def failure(A, **options):
    """The error that the factorisation of A raises."""
    with pytest.raises(lvm.exceptions.NotPositiveDefiniteError) as caught:
        lvm.linalg.cholesky(A, **options)
    return caught.value


class TestCholeskyErrors:
    def test_families(self):
        error = failure(-np.eye(2))
        assert isinstance(error, np.linalg.LinAlgError)
        assert isinstance(error, lvm.exceptions.LvmfastError)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 1), (3, 3), (3, 0)])
    def test_not_finite(self, rng, dtype, bad, row, column):
        A = spd(rng, 4, dtype=dtype)
        A[row, column] = bad
        with pytest.raises(lvm.exceptions.NonFiniteError, match=f"^A must be finite, got {bad} at row {row}, column"):
            lvm.linalg.cholesky(A)
        batch = np.stack([np.stack([spd(rng, 4, dtype=dtype)] * 3)] * 2)
        batch[1, 2] = A
        with pytest.raises(FloatingPointError, match=rf"^A\[1, 2\] must be finite, got {bad} at row {row}, column"):
            lvm.linalg.cholesky(batch)

    def test_duplicate_rows(self, dtype):
        """Rows 1 and 3 of these integers are equal, and every step of the factorisation is exact."""
        L = np.array([[4, 0, 0, 0], [2, 2, 0, 0], [1, 3, 1, 0], [2, 2, 0, 0]], dtype)
        error = failure(L @ L.T, jitter=0)
        assert error.pivot == 3
        assert "A is not positive definite: pivot 3 failed with jitter 0 on the diagonal" in str(error)
        assert "rows 1 and 3 are equal up to scale" in str(error)
        assert "add noise" in str(error)

    def test_negative_diagonal(self, rng, dtype):
        A = spd(rng, 4, dtype=dtype)
        A[2, 2] = -1
        error = failure(A)
        assert error.pivot == 2
        assert "its diagonal is -1 at row 2; a covariance has positive variances" in str(error)

    @pytest.mark.parametrize("scale", ["zero", "denormal"])
    def test_zero_matrix(self, dtype, scale):
        """A jitter relative to a mean diagonal of zero is zero; the search for one must end all the same."""
        A = np.zeros((3, 3), dtype)
        if scale == "denormal":
            A[0, 0] = np.finfo(dtype).smallest_subnormal
        error = in_child(lambda: failure(A), seconds=3)
        row = 0 if scale == "zero" else 1
        assert error.pivot == row
        assert f"its diagonal is 0 at row {row}" in str(error)

    def test_indefinite(self, dtype):
        A = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]], dtype)
        error = failure(A)
        assert error.pivot == 2
        assert "it is indefinite, or singular to working precision; add noise or jitter" in str(error)

    def test_scale(self):
        A = np.eye(4)
        A[:3, :3] = [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]
        A[3, 3] = 1e14
        assert "its diagonal spans 1 to 1e+14; bring the variables to one scale" in str(failure(A, jitter=0))

    def test_first_of_the_batch(self, rng):
        A = spd(rng, 3, batch=(2, 3))
        A[1, 0] = A[1, 2] = -np.eye(3)
        error = failure(A)
        assert error.index == (1, 0)
        assert all(type(i) is int for i in error.index)
        assert str(error).startswith("A[1, 0] is not positive definite: pivot 0 failed")

    @pytest.mark.parametrize("exponent", [-40, 0, 40])
    @pytest.mark.parametrize(
        ("unit", "cause"),
        [
            ([[1, 1], [1, 1]], "rows 0 and 1 are equal up to scale"),
            ([[1, 2], [2, 1]], "it is indefinite"),
            ([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]], "it is indefinite"),
        ],
    )
    def test_cause_at_any_scale(self, dtype, unit, cause, exponent):
        """What is found does not depend on the units: squares of the diagonal leave the range here."""
        scale = dtype(4.0) ** (exponent if dtype is np.float32 else 8 * exponent)
        error = failure(np.array(unit, dtype) * scale, jitter=0)
        assert cause in str(error)

    def test_overflow(self):
        """Finite input, a factor that is not: the error is about numbers, and no warning comes with it."""
        A = np.array([[1e-300, 1e300], [1e300, 1e300]])
        with pytest.raises((lvm.exceptions.NonFiniteError, lvm.exceptions.NotPositiveDefiniteError), match="A"):
            lvm.linalg.cholesky(A)
