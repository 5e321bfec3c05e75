"""The same errors on both devices, and arrays of two devices that do not go together."""

from __future__ import annotations

import numpy as np
import pytest
from device.cases import same_bits
from device.error_cases import ERRORS, POINTS, rbf
from helpers import tolerance

import lvmfast as lvm
from lvmfast import _backend, linalg
from lvmfast.exceptions import DeviceError


def error_of(device, arguments, call, kind):
    """The error's type, words and fields; the arguments are bit for bit as they were."""
    placed = [device.put(argument) for argument in arguments]
    with pytest.raises(kind) as caught:
        call(*placed)
    for argument, there in zip(arguments, placed, strict=True):
        assert same_bits(device.fetch(there), argument), "an argument was changed"
    error = caught.value
    return (
        type(error),
        str(error),
        *(getattr(error, name, None) for name in ("pivot", "index")),
        getattr(error, "jitter", 0.0),
    )


@pytest.mark.parametrize("name", ERRORS)
def test_errors(devices, name):
    *expected, jitter = error_of(devices.cpu, *ERRORS[name])
    *actual, jitter_there = error_of(devices.gpu, *ERRORS[name])
    assert actual == expected
    assert jitter_there == pytest.approx(jitter, rel=tolerance(float, 130))


def test_out_must_be_contiguous(gpu):
    with pytest.raises(ValueError, match="out must be C-contiguous"):
        rbf(gpu.asarray(POINTS), out=gpu.zeros((4, 8))[:, ::2])


PAIRS = {
    "cholesky_vjp": linalg.cholesky_vjp,
    "solve_triangular": linalg.solve_triangular,
    "solve_triangular, overwrite": lambda L, B: linalg.solve_triangular(L, B, overwrite=True),
    "solve_triangular_vjp": lambda a, b: linalg.solve_triangular_vjp(a, a, b),
    "cholesky_solve": linalg.cholesky_solve,
    "cholesky_solve_vjp": lambda a, b: linalg.cholesky_solve_vjp(a, b, a),
    "cholesky_update": linalg.cholesky_update,
    "cholesky_update, out": lambda a, b: linalg.cholesky_update(a, a, out=b),
    "cholesky_update_vjp": lambda a, b: linalg.cholesky_update_vjp(a, a, b),
    "cholesky_append": lambda a, b: linalg.cholesky_append(a, b, a),
    "cholesky_append_vjp": linalg.cholesky_append_vjp,
    "cholesky_insert": lambda a, b: linalg.cholesky_insert(a, 1, a, b),
    "cholesky_insert_vjp": lambda a, b: linalg.cholesky_insert_vjp(a, 1, b, b),
    "cholesky_delete_vjp": lambda a, b: linalg.cholesky_delete_vjp(a, [], b),
    "kernel": rbf,
    "kernel, out": lambda a, b: rbf(a, out=b),
    "vjp, Z": lambda a, b: rbf.vjp(a, b, a),
    "vjp, cotangent": lambda a, b: rbf.vjp(a, None, b),
    "matmul": lambda a, b: rbf.matmul(a, a, b),
    "matmul_vjp": lambda a, b: rbf.matmul_vjp(a, a, a, b),
    "GPR.fit": lambda a, b: lvm.GPR().fit(a, b),
}


@pytest.mark.parametrize("name", PAIRS)
def test_devices_do_not_mix(gpu, name):
    """Either way round; the error names both, and the remedy."""
    here, there = np.eye(2), gpu.eye(2)
    for pair in [(here, there), (there, here)]:
        with pytest.raises(DeviceError) as caught:
            PAIRS[name](*pair)
        words = str(caught.value)
        assert "on the GPU (cupy.ndarray)" in words and "on the CPU (numpy.ndarray)" in words
        assert "cupy.asarray or .get()" in words
    assert same_bits(here, np.eye(2)) and same_bits(gpu.asnumpy(there), np.eye(2))


def test_device_of_an_estimator(gpu):
    X, y = POINTS, np.arange(4.0)
    for model, data in [(lvm.GPR(device="cpu"), (X, y)), (lvm.GPLVM(device="cpu"), (X,))]:
        with pytest.raises(DeviceError, match=r"device='cpu' does not take arrays on a GPU.*\.get\(\)"):
            model.fit(*map(gpu.asarray, data))
    for device in ("gpu", "CUDA", None, 0):
        with pytest.raises(ValueError, match="device must be 'auto', 'cpu' or 'cuda', got"):
            lvm.GPR(device=device).fit(X, y)
    assert _backend.cuda_status().startswith("ready: ")
