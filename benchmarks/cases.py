"""The problems that are timed, the arithmetic that bounds them, and timing in pairs."""

from __future__ import annotations

import dataclasses
import sys
import time

import numpy as np
from scipy.linalg import blas, lapack

from lvmfast import datasets, get_num_threads, set_num_threads
from lvmfast._backend import blas_threads
from lvmfast.demos.gplvm import JITTER
from lvmfast.kernels import RBF
from lvmfast.linalg import cholesky_update
from lvmfast.models._gplvm_problem import reduce_columns


@dataclasses.dataclass
class GplvmCase:
    """One evaluation of a GPLVM on handwritten digits, with the reference's parameters near the end of its run."""

    X: np.ndarray
    Y: np.ndarray
    amplitude: float = 0.27
    lengthscale: float = 0.3
    noise_variance: float = 0.02

    @classmethod
    def digits(cls, n: int = 1000) -> GplvmCase:
        """The first ``n`` of the 1,000 digits with standard normal latents."""
        Y, _ = datasets.load_mnist_sample(return_X_y=True)
        return cls(np.random.default_rng(0).standard_normal((n, 2)), Y[:n])

    def ours(self, dtype="float64"):
        """A callable with the peers' answer: (loss, dX, d_amplitude, d_lengthscale, d_noise)."""
        from lvmfast import _backend

        n, d = self.Y.shape
        module = _backend.cpu
        objective = (module.GplvmObjective64 if dtype == "float64" else module.GplvmObjective32)(n, 2)
        objective.add_group(None, np.asfortranarray(reduce_columns(self.Y)[0], dtype=dtype), float(d))
        X, kernel = self.X.astype(dtype), RBF(self.amplitude**2, np.full(2, self.lengthscale)).compiled(2)
        parameters = kernel.vector()

        def step():
            with blas_threads():
                _, _, _, value, dX, d_kernel, d_noise = objective.evaluate(
                    kernel.tree, parameters, X, self.noise_variance, JITTER, 0.0, 0.0
                )
            tail = (d_kernel[0] * 2 * self.amplitude, d_kernel[1:].sum(), d_noise)
            return -value / d, dX / -d, *(t / -d for t in tail)

        return step

    def arithmetic(self):
        """The same factorisation, inverse, solves and outer product, straight to SciPy's LAPACK and BLAS."""
        n = len(self.Y)
        K = RBF(self.amplitude**2, self.lengthscale)(self.X)
        K[np.diag_indices(n)] += self.noise_variance + JITTER
        K = np.asfortranarray(K)
        R = np.asfortranarray(reduce_columns(self.Y)[0])
        work, solved = K.copy(order="F"), R.copy(order="F")

        def step():
            work[:] = K
            solved[:] = R
            lapack.dpotrf(work, overwrite_a=1)
            blas.dtrsm(1.0, work, solved, trans_a=1, overwrite_b=1)
            blas.dtrsm(1.0, work, solved, overwrite_b=1)
            lapack.dpotri(work, overwrite_c=1)
            blas.dsyrk(0.5, solved, beta=-392.0, c=work, overwrite_c=1)

        return step

    def peer(self, module, **options):
        """A peer's callable for the same evaluation."""
        return module.step(self.X, self.Y, self.amplitude, self.lengthscale, self.noise_variance, JITTER, **options)


@dataclasses.dataclass
class UpdateCase:
    """A rank-m update of a well-conditioned factor."""

    L: np.ndarray
    U: np.ndarray

    @classmethod
    def random(cls, n: int, m: int, dtype: str, order: str) -> UpdateCase:
        """L with a diagonal near sqrt(n), U small enough to be added many times."""
        rng = np.random.default_rng(0)
        L = np.tril(0.1 * rng.standard_normal((n, n)), -1) + np.sqrt(n) * np.eye(n)
        return cls(np.array(L, dtype, order=order), np.array(0.1 * rng.standard_normal((n, m)), dtype, order=order))

    def ours(self):
        """``(run, answer)`` as the peers have them, in place."""
        target = self.L.copy(order="K")
        return lambda: cholesky_update(target, self.U, overwrite=True), lambda: target

    def assert_answer(self, L_new) -> None:
        """The last rows of L_new L_new^T are those of L L^T + U U^T."""
        last = slice(-8, None)
        L, U, X = (A.astype(float) for A in (self.L, self.U, L_new))
        expected = L[last] @ L.T + U[last] @ U.T
        tolerance = (1e-13 if self.L.dtype == np.float64 else 1e-5) * len(L)
        np.testing.assert_allclose(X[last] @ X.T, expected, atol=tolerance * np.abs(expected).max())


def assert_same_answer(ours, theirs, rtol=1e-8) -> None:
    """Loss and gradients agree to ``rtol`` of the largest entry."""
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(a)))


class threads:
    """``with threads(n):`` own loops, BLAS, and PyTorch where it is loaded, on n threads; then as they were before."""

    def __init__(self, n: int):
        self.n = n

    def __enter__(self):
        from threadpoolctl import threadpool_limits

        self.before, self.torch = get_num_threads(), sys.modules.get("torch")
        set_num_threads(self.n)
        self.limits = threadpool_limits(self.n)
        if self.torch is not None:
            self.torch_before = self.torch.get_num_threads()
            self.torch.set_num_threads(self.n)

    def __exit__(self, *_):
        if self.torch is not None:
            self.torch.set_num_threads(self.torch_before)
        self.limits.restore_original_limits()
        set_num_threads(self.before)


def paired_ratios(first, second, rounds: int = 9, calls: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds of both callables, in turn, and second / first of every pair.

    A turn is a pause, a call that warms up (both where there is more than one call), and the fastest of the others:
    idle threads of one library's BLAS go on spinning for a while and would slow the other.
    """
    seconds = np.empty((rounds, 2))
    for r in range(rounds):
        for k, f in enumerate((first, second)):
            time.sleep(0.1)
            times = []
            for _ in range(calls):
                begun = time.perf_counter()
                f()
                times.append(time.perf_counter() - begun)
            seconds[r, k] = min(times[1:] or times)
    return seconds[:, 0], seconds[:, 1], seconds[:, 1] / seconds[:, 0]
