"""Every operation gives the same on the GPU as on the CPU, and on both what the oracle says."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from device.bijector_cases import BIJECTORS
from device.cases import Device, compare, flat, same_bits
from device.kernel_cases import EDGES, KERNELS, NODES, numbers
from device.likelihood_cases import LIKELIHOODS
from device.linalg_cases import LINALG
from device.polya_gamma_cases import POLYA_GAMMA
from device.update_cases import UPDATES
from reference import covariances as oracle

from lvmfast import kernels, likelihoods

CASES = LINALG | UPDATES | KERNELS | LIKELIHOODS | POLYA_GAMMA | BIJECTORS


def arguments_of(name, dtype):
    return CASES[name].inputs(np.random.default_rng(zlib.crc32(name.encode())), dtype)


@pytest.mark.parametrize("name", CASES)
def test_parity(devices, seeded, dtype, name):
    """Near the CPU's result, and the oracle's; in float32 also the same bits again, in whatever order threads run."""
    case = CASES[name]
    arguments = arguments_of(name, dtype)
    expected, actual = (device.run(case, arguments) for device in (devices.cpu, devices.gpu))
    scale = None if case.scale is None else flat(case.scale(*arguments))
    compare(actual, expected, case.allowed(dtype), scale)
    if case.oracle is not None:
        compare(actual, flat(case.oracle(*arguments)), case.allowed(dtype), scale)
    if dtype == np.float64:
        return
    seeded(11)
    again = devices.gpu.run(case, arguments)
    assert all(same_bits(again[key], value) for key, value in actual.items() if value is not None)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("name", ["RBF", "Linear", "Cosine", "deep", "all"])
def test_symmetric_kernel_matrices(gpu, rng, dtype, name, n):
    """K(X) is symmetric and has diag(X) on its diagonal, bit for bit; so has what is written into ``out``."""
    k, X = oracle.build(NODES[name], kernels), numbers(rng, dtype, n, 3)
    X_there = gpu.asarray(X)
    K, out = k(X_there), gpu.full((n, n), np.nan, dtype)
    assert k(X_there, out=out) is out
    diagonal = k.diag(X_there)
    assert isinstance(diagonal, gpu.ndarray) and diagonal.dtype == dtype
    compare({"diag": gpu.asnumpy(diagonal)}, {"diag": k.diag(X)}, 1e3 * np.finfo(dtype).eps)
    K, out, diagonal = map(gpu.asnumpy, (K, out, diagonal))
    assert same_bits(K, K.T) and same_bits(K.diagonal(), diagonal) and same_bits(out, K)


@pytest.mark.parametrize("name", EDGES)
def test_kernel_matrices_into_out(gpu, rng, dtype, name):
    k = oracle.build(EDGES[name], kernels)
    X, Z = (gpu.asarray(numbers(rng, dtype, n, 2)) for n in (65, 40))
    whole = gpu.full((70, 40), np.nan, dtype)
    assert k(X, Z, out=whole[:65]) is not None
    assert same_bits(gpu.asnumpy(whole[:65]), gpu.asnumpy(k(X, Z)))
    assert gpu.asnumpy(gpu.isnan(whole[65:])).all()


def test_no_points(gpu, dtype):
    """Matrices without rows or columns."""
    k, X, none = kernels.RBF(), gpu.ones((3, 2), dtype), gpu.zeros((0, 2), dtype)
    for A, B, shape in [(X, none, (3, 0)), (none, X, (0, 3)), (none, None, (0, 0))]:
        K = k(A, B)
        assert isinstance(K, gpu.ndarray) and K.shape == shape and K.dtype == dtype
        dA, dB, gradients = k.vjp(A, B, K)
        assert dA.shape == A.shape and (B is None or dB.shape == B.shape)
        assert gradients == {"variance": 0.0, "lengthscale": 0.0}
        product = k.matmul(A, B, gpu.ones(shape[1], dtype))
        assert product.shape == shape[:1] and not gpu.asnumpy(product).any()
    assert k.diag(none).shape == (0,)


def test_draws_of_likelihoods(gpu, dtype):
    """Draws of y lie where f does and are those of the CPU."""
    f = np.linspace(-2, 2, 9).astype(dtype)
    for model in (likelihoods.Poisson(), likelihoods.Bernoulli(), likelihoods.Gaussian(0.5)):
        y = model.sample(gpu.asarray(f), rng=3)
        assert isinstance(y, gpu.ndarray) and same_bits(gpu.asnumpy(y), model.sample(f, rng=3))


def test_seeds_of_the_simulation(devices, seeded):
    """Sums over many blocks have the same bits in several more orders."""
    for name in ("all, vjp(X, Z)", "RBF, matmul_vjp, 63, 129", "cholesky_update: both, n=130, m=33"):
        arguments, results = arguments_of(name, np.float32), []
        for seed in range(5):
            seeded(seed)
            results.append(devices.gpu.run(CASES[name], arguments))
        for other in results[1:]:
            assert all(same_bits(other[key], value) for key, value in results[0].items())


def test_devices_put_layouts(gpu):
    """What the cases rely on: strides arrive on the GPU as they are."""
    A = np.arange(24.0).reshape(2, 3, 4)
    wide = np.zeros((2, 3, 8))
    wide[..., ::2] = A
    for array in (A, A.swapaxes(1, 2).copy().swapaxes(1, 2), wide[..., ::2], np.broadcast_to(A[0], (5, 3, 4))):
        there = Device(gpu).put(array)
        assert there.strides == array.strides or there.size < 2
        assert same_bits(gpu.asnumpy(there), array)
