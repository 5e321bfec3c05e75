"""The stand-ins for cuBLAS and cuSOLVER against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

N, T = 0, 1
LOWER, UPPER = 0, 1
LEFT, RIGHT = 0, 1


@pytest.fixture
def put(cupy):
    """A column-major copy on the device whose leading dimension is larger than need be: the array, address, ld."""
    keep = []

    def copy(values, pad=2):
        rows, columns = values.shape
        room = cupy.full((rows + pad, columns), 7.0, order="F")
        room[:rows] = cupy.asarray(values)
        keep.append(room)
        return room[:rows], room.data.ptr, rows + pad

    yield copy
    keep.clear()


def _triangle(a, uplo):
    return np.tril(a) if uplo == LOWER else np.triu(a)


def _op(a, trans):
    return a.T if trans else a


@pytest.mark.parametrize("ta", [N, T])
@pytest.mark.parametrize("tb", [N, T])
def test_gemm(shim, put, rng, ta, tb):
    a, b, c = rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    (_, pa, lda), (_, pb, ldb), (out, pc, ldc) = put(_op(a, ta)), put(_op(b, tb)), put(c)
    assert shim.gemm(ta, tb, 4, 5, 3, 2, pa, lda, pb, ldb, -1, pc, ldc, 0) == 0
    np.testing.assert_allclose(out.get(), 2 * a @ b - c, rtol=1e-12, atol=1e-14)
    assert shim.gemm(ta, tb, 4, 5, 3, 2, pa, 1, pb, ldb, -1, pc, ldc, 0) == 7


@pytest.mark.parametrize("uplo", [LOWER, UPPER])
@pytest.mark.parametrize("trans", [N, T])
def test_syrk_writes_one_triangle(shim, put, rng, uplo, trans):
    a, c = rng.normal(size=(4, 3)), rng.normal(size=(4, 4))
    (_, pa, lda), (out, pc, ldc) = put(_op(a, trans)), put(c)
    assert shim.syrk(uplo, trans, 4, 3, 1, pa, lda, 1, pc, ldc) == 0
    np.testing.assert_allclose(out.get(), c + _triangle(a @ a.T, uplo), rtol=1e-12)


@pytest.mark.parametrize("uplo", [LOWER, UPPER])
@pytest.mark.parametrize("trans", [N, T])
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_triangular(shim, cupy, put, rng, uplo, trans, side):
    a = rng.normal(size=(4, 4)) + 4 * np.eye(4)
    b = rng.normal(size=(4, 3) if side == LEFT else (3, 4))
    left = _op(_triangle(a, uplo), trans)
    product = left @ b if side == LEFT else b @ left
    _, pa, lda = put(a)
    _, pb, ldb = put(b)
    out, pc, ldc = put(np.full_like(b, np.nan))
    assert shim.trmm(side, uplo, trans, *b.shape, 2, pa, lda, pb, ldb, pc, ldc) == 0
    np.testing.assert_allclose(out.get(), 2 * product, rtol=1e-12, atol=1e-14)
    assert shim.trsm(side, uplo, trans, *b.shape, 0.5, pa, lda, pc, ldc) == 0
    np.testing.assert_allclose(out.get(), b, rtol=1e-12, atol=1e-14)
    assert shim.trmm(side, uplo, trans, *b.shape, 1, pa, lda, pc, ldc, pc, ldc) == 0  # in place
    np.testing.assert_allclose(out.get(), product, rtol=1e-12, atol=1e-14)
    pointers_a, pointers_c = cupy.asarray([pa, pa]), cupy.asarray([pc, pb])
    pointers = pointers_a.data.ptr, lda, pointers_c.data.ptr, ldc
    assert shim.trsm_batched(side, uplo, trans, *b.shape, 1, *pointers, 2) == 0
    np.testing.assert_allclose(out.get(), b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("uplo", [LOWER, UPPER])
def test_potrf_and_potri(shim, cupy, put, rng, uplo):
    x = rng.normal(size=(5, 9))
    a = x @ x.T
    other = a - _triangle(a, uplo)
    out, pa, lda = put(a)
    size = shim.potrf_size(uplo, 5, pa, lda)
    work, info = cupy.empty(size), cupy.empty(1, np.int32)
    assert shim.potrf(uplo, 5, pa, lda, work.data.ptr, size - 1, info.data.ptr) == 3
    assert shim.potrf(uplo, 5, pa, lda, work.data.ptr, size, info.data.ptr) == 0
    factor = np.linalg.cholesky(a)
    np.testing.assert_allclose(out.get(), _op(factor, uplo == UPPER) + other, rtol=1e-12)
    assert int(info[0]) == 0
    assert shim.potri(uplo, 5, pa, lda, work.data.ptr, size, info.data.ptr) == 0
    np.testing.assert_allclose(out.get(), _triangle(np.linalg.inv(a), uplo) + other, rtol=1e-9)


def test_potrf_names_the_minor(shim, cupy, put):
    bad = np.diag([1.0, 1, -1, 1])
    (_, pa, lda), (_, pb, _) = put(np.eye(4)), put(bad)
    pointers, info = cupy.asarray([pa, pb]), cupy.empty(2, np.int32)
    assert shim.potrf_batched(LOWER, 4, pointers.data.ptr, lda, info.data.ptr, 2) == 0
    np.testing.assert_array_equal(info.get(), [0, 3])


def test_host_pointers_are_refused(dies):
    blas = (
        "import scipy.linalg.cython_blas as b, scipy.linalg.cython_lapack as l\n"
        "k.install_blas(b.__pyx_capi__, l.__pyx_capi__); k.install_shim_libraries()\nx = np.ones((2, 2))\n"
    )
    dies(blas + "k.syrk(0, 0, 2, 2, 1, p, 2, 0, x.ctypes.data, 2)", "syrk's C: ")
    dies(blas + "k.potrf_batched(0, 2, x.ctypes.data, 2, p, 1)", "potrf_batched's pointers: ")
