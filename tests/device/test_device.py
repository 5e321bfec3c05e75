"""Which device computes: GPU arrays where there is no GPU, and the GPU against the CPU where there is one.

The tests of the second kind are always collected; the fixture ``cuda`` skips them and says why.
"""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, spd, tolerance

import lvmfast as lvm
from lvmfast import _backend, _gpu
from lvmfast.bijectors import Softplus
from lvmfast.exceptions import DeviceError

I = np.eye(2)  # noqa: E741
k = lvm.kernels.RBF()


class FakeGpuArray:
    """An array on a GPU, as far as one can see from outside; whoever reads its memory has read nonsense."""

    __cuda_array_interface__ = {"shape": (2, 2), "typestr": "<f8", "data": (16, False), "version": 3}
    shape, ndim, dtype, size = (2, 2), 2, np.dtype(float), 4

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")  # CuPy's words


def fitted_gpr():
    """A regression on two rows."""
    return lvm.GPR(noise_variance=0.1, optimizer=None).fit(I, [0.0, 1.0])


CALLS = {
    "cholesky": lambda g: lvm.linalg.cholesky(g),
    "cholesky_vjp, L": lambda g: lvm.linalg.cholesky_vjp(g, I),
    "cholesky_vjp, L_bar": lambda g: lvm.linalg.cholesky_vjp(I, g),
    "solve_triangular, L": lambda g: lvm.linalg.solve_triangular(g, I),
    "solve_triangular, B": lambda g: lvm.linalg.solve_triangular(I, g),
    "solve_triangular_vjp, L": lambda g: lvm.linalg.solve_triangular_vjp(g, I, I),
    "solve_triangular_vjp, X": lambda g: lvm.linalg.solve_triangular_vjp(I, g, I),
    "solve_triangular_vjp, X_bar": lambda g: lvm.linalg.solve_triangular_vjp(I, I, g),
    "cholesky_solve, L": lambda g: lvm.linalg.cholesky_solve(g, I),
    "cholesky_solve, B": lambda g: lvm.linalg.cholesky_solve(I, g),
    "cholesky_solve_vjp, L": lambda g: lvm.linalg.cholesky_solve_vjp(g, I, I),
    "cholesky_solve_vjp, X": lambda g: lvm.linalg.cholesky_solve_vjp(I, g, I),
    "cholesky_solve_vjp, X_bar": lambda g: lvm.linalg.cholesky_solve_vjp(I, I, g),
    "RBF, X": lambda g: k(g),
    "RBF, Z": lambda g: k(I, g),
    "RBF, out": lambda g: k(I, out=g),
    "RBF.diag": lambda g: k.diag(g),
    "RBF.vjp, X": lambda g: k.vjp(g, None, I),
    "RBF.vjp, Z": lambda g: k.vjp(I, g, I),
    "RBF.vjp, cotangent": lambda g: k.vjp(I, None, g),
    "RBF.matmul, X": lambda g: k.matmul(g, None, I),
    "RBF.matmul, Z": lambda g: k.matmul(I, g, I),
    "RBF.matmul, V": lambda g: k.matmul(I, None, g),
    "RBF.matmul_vjp, cotangent": lambda g: k.matmul_vjp(I, None, I, g),
    "sum": lambda g: (k + lvm.kernels.White())(g),
    "Exp.forward": lambda g: lvm.bijectors.Exp().forward(g),
    "Softplus.forward": lambda g: Softplus().forward(g),
    "Softplus.derivative": lambda g: Softplus().derivative(g),
    "Softplus.inverse": lambda g: Softplus().inverse(g),
    "Softplus.forward_log_det": lambda g: Softplus().forward_log_det(g),
    "Softplus.vjp, u": lambda g: Softplus().vjp(g, I),
    "Softplus.vjp, y_bar": lambda g: Softplus().vjp(I, g),
    "GPLVM.fit": lambda g: lvm.GPLVM().fit(g),
    "GPR.fit, X": lambda g: lvm.GPR().fit(g, [0.0, 1.0]),
    "GPR.fit, y": lambda g: lvm.GPR().fit(I, g),
    "GPR.predict": lambda g: fitted_gpr().predict(g),
    "GPR.predict_gradient": lambda g: fitted_gpr().predict_gradient(g),
    "GPR.condition_on, X": lambda g: fitted_gpr().condition_on(g, [0.0, 1.0]),
    "GPR.condition_on, y": lambda g: fitted_gpr().condition_on(I, g),
    "GPR.fantasize, Y": lambda g: fitted_gpr().fantasize(I, g),
    "GPR.pathwise_samples": lambda g: fitted_gpr().pathwise_samples()(g),
    "SGPR.fit": lambda g: lvm.SGPR(inducing=I).fit(g, [0.0, 1.0]),
    "SVGP.fit, X": lambda g: lvm.SVGP(inducing=I).fit(g, [0.0, 1.0]),
    "SVGP.fit, y": lambda g: lvm.SVGP(inducing=I).fit(I, g),
    "SVGP.fit, batches": lambda g: lvm.SVGP(inducing=I).fit(lambda: iter([(g, [0.0, 1.0])]), n_total=2),
    "Poisson": lambda g: lvm.likelihoods.Poisson().log_density(I, g),
    "Softmax": lambda g: lvm.likelihoods.Softmax(2).expected_log_density([0, 1], g, I),
}


@pytest.mark.skipif(_gpu.usable() is not None, reason="there is a GPU, which takes GPU arrays")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_gpu_arrays_are_refused(call):
    """The message says what was got, why it cannot be used, and what to do."""
    with pytest.raises(
        DeviceError, match=r"got a GPU array \(.*FakeGpuArray\), but the CUDA module is (not )?built"
    ) as caught:
        call(FakeGpuArray())
    assert "move it to the CPU first" in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


def test_check_device():
    assert _backend.check_device("auto") == _backend.check_device("cpu", I) == "cpu"
    with pytest.raises(DeviceError, match="device='cpu' does not take arrays on a GPU"):
        _backend.check_device("cpu", FakeGpuArray())
    for bad in ("tpu", "", None, 0):
        with pytest.raises(ValueError, match="device must be 'auto', 'cpu' or 'cuda', got"):
            _backend.check_device(bad)


@pytest.mark.skipif(_gpu.usable() is not None, reason="there is a GPU")
def test_missing_device():
    with pytest.raises(DeviceError, match="device='cuda' cannot be used: the CUDA module is (not )?built"):
        _backend.check_device("cuda")


def test_numpy_arrays_go_to_the_cpu():
    for array in (I, I.tolist(), 1.0, None, np.float32(1)):
        assert _backend.module_for(array) is _backend.cpu


def test_cuda_kernels(cuda, rng, dtype):
    """The same formulas, compiled for the GPU."""
    X, Z = rng.standard_normal((70, 3)).astype(dtype), rng.standard_normal((33, 3)).astype(dtype)
    C = rng.standard_normal((70, 33)).astype(dtype)
    kernel = lvm.kernels.RBF(1.5, [0.5, 1.0, 2.0])
    K = kernel(cuda.asarray(X), cuda.asarray(Z))
    assert isinstance(K, cuda.ndarray)
    assert_near(cuda.asnumpy(K), kernel(X, Z), tolerance(dtype, 3))
    on_gpu = kernel.vjp(*(cuda.asarray(a) for a in (X, Z, C)))
    for actual, expected in zip(on_gpu[:2], kernel.vjp(X, Z, C)[:2], strict=True):
        assert_near(cuda.asnumpy(actual), expected, tolerance(dtype, 70 * 3))


def test_cuda_linalg(cuda, rng, dtype):
    A, B = spd(rng, 50, dtype=dtype), rng.standard_normal((50, 3)).astype(dtype)
    L = lvm.linalg.cholesky(cuda.asarray(A))
    assert isinstance(L, cuda.ndarray)
    X = lvm.linalg.cholesky_solve(L, cuda.asarray(B))
    assert_near(cuda.asnumpy(X), lvm.linalg.cholesky_solve(lvm.linalg.cholesky(A), B), tolerance(dtype, 50, 100.0))


def test_cuda_and_cpu_arrays_do_not_mix(cuda):
    for arrays in [(cuda.eye(2), I), (I, cuda.eye(2))]:
        with pytest.raises(DeviceError):
            lvm.linalg.cholesky_solve(*arrays)
        with pytest.raises(DeviceError):
            k(*arrays)
