"""Peer implementations of covariance matrices with ARD lengthscales, behind one interface.

``PEERS[name](case, operation)`` does all the set-up, compilation and a first call included, and returns ``run``, a
callable without arguments that computes the answer once and returns when it is complete, or raises ``Unavailable``
where the library is not installed or the problem is not for it. ``ours(case, operation)`` does the same with lvmfast.

=================== ================================================== =====================================
operation           computes                                           answer
=================== ================================================== =====================================
``value``           K = k(X, X) as an array                            ``(K,)``
``value_and_vjp``   K and the gradients of sum(C * K)                  ``(K, dX, dlengthscale, dvariance)``
``matmul``          K V, K not stored (KeOps and ours)                 ``(KV,)``
``matmul_and_vjp``  K V and the gradients of sum(C * K V), likewise    ``(KV, dX, dlengthscale, dvariance, dV)``
=================== ================================================== =====================================

Answers are the libraries' own arrays, which ``numpy.asarray`` takes without arithmetic; None is what a library has no
derivative for (scikit-learn: dX). ``CovarianceCase.assert_answer`` compares them with plain NumPy.
Importing this module imports none of the libraries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import os

import numpy as np

__all__ = ["PEERS", "CovarianceCase", "Unavailable", "ours"]

KERNELS = ("RBF", "Matern52")
ROOT5 = 5**0.5


class Unavailable(Exception):
    """The peer is not installed, or the problem is not for it; the message says which."""


def require(*modules: str) -> None:
    """Raise Unavailable unless all the modules are installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise Unavailable(f"{module} is not installed")


@dataclasses.dataclass
class CovarianceCase:
    """Inputs, parameters and cotangents for one kernel; scaled distances are of order 1 for every Q."""

    kernel: str
    X: np.ndarray
    variance: float
    lengthscale: np.ndarray
    cotangent: np.ndarray
    V: np.ndarray
    V_cotangent: np.ndarray
    known: dict = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def random(cls, kernel: str, n: int, q: int, dtype: str) -> CovarianceCase:
        """Standard normal X (n, q), cotangents (n, n) and (n, 1), and V (n, 1); lengthscales around sqrt(q)."""
        rng = np.random.default_rng(0)
        X, C, V, V_cotangent = (rng.standard_normal((n, m)).astype(dtype) for m in (q, n, 1, 1))
        lengthscale = (np.sqrt(q) * np.linspace(0.8, 1.2, q)).astype(dtype)
        return cls(kernel, X, 1.3, lengthscale, C, V, V_cotangent)

    @property
    def dtype(self) -> np.dtype:
        """Of every array."""
        return self.X.dtype

    @functools.cached_property
    def value_and_slope(self) -> tuple[np.ndarray, np.ndarray]:
        """K and its elementwise derivative by the squared distances, which are summed from differences, in float64."""
        A = self.X.astype(float) / self.lengthscale.astype(float)
        s = sum(np.square(a[:, None] - a) for a in A.T)
        if self.kernel == "RBF":
            K = self.variance * np.exp(-0.5 * s)
            return K, -0.5 * K
        r = np.sqrt(s)
        decay = self.variance * np.exp(-ROOT5 * r)
        return (1 + ROOT5 * r + 5 / 3 * s) * decay, -5 / 6 * (1 + ROOT5 * r) * decay

    def expected(self, operation: str) -> tuple[np.ndarray, ...]:
        """The answer in plain NumPy: with W = (C + C^T) * dK/ds, dX = 2 (W 1 * A - W A) / lengthscale, A scaled X."""
        if operation not in self.known:
            self.known[operation] = self.computed(operation)
        return self.known[operation]

    def computed(self, operation: str) -> tuple[np.ndarray, ...]:
        """``expected`` at its first call."""
        K, slope = self.value_and_slope
        V, bar = self.V.astype(float), self.V_cotangent.astype(float)
        product = operation.startswith("matmul")
        value = K @ V if product else K
        if not operation.endswith("vjp"):
            return (value,)
        C = bar @ V.T if product else self.cotangent.astype(float)
        A, lengthscale = self.X.astype(float) / self.lengthscale, self.lengthscale.astype(float)
        W = (C + C.T) * slope
        dA = 2 * (W.sum(axis=1, keepdims=True) * A - W @ A)
        gradients = dA / lengthscale, -(A * dA).sum(axis=0) / lengthscale, np.vdot(C, K) / self.variance
        return (value, *gradients, K @ bar) if product else (value, *gradients)

    def assert_answer(self, answer, operation: str) -> None:
        """Every array agrees to a tolerance relative to its largest entry; nothing is asked of None."""
        expected = self.expected(operation)
        double = self.dtype == np.float64
        # sums of n^2 terms of both signs lose digits beside their absolute sum, which is sqrt(n) to n times as large
        rtol = (1e-9 if double else 1e-5), (1e-8 if double else 1e-3)
        for k, (theirs, exact) in enumerate(zip(answer, expected, strict=True)):
            if theirs is None:
                continue
            theirs = np.asarray(theirs)
            assert theirs.dtype == self.dtype or theirs.ndim < 2, f"answer {k} is {theirs.dtype}"
            atol = rtol[k > 0] * np.abs(exact).max()
            np.testing.assert_allclose(theirs, exact, rtol=0, atol=atol, err_msg=f"{operation}, answer {k}")


def ours(case: CovarianceCase, operation: str, reuse: bool = False):
    """lvmfast; ``reuse`` writes K into the same array at every call, where the peers make a new one."""
    import lvmfast

    k = getattr(lvmfast.kernels, case.kernel)(case.variance, case.lengthscale)
    out = np.empty((len(case.X),) * 2, case.dtype) if reuse else None

    def value():
        return (k(case.X, out=out),)

    def value_and_vjp():
        K = k(case.X, out=out)
        dX, _, gradients = k.vjp(case.X, None, case.cotangent)
        return K, dX, gradients["lengthscale"], gradients["variance"]

    def matmul():
        return (k.matmul(case.X, None, case.V),)

    def matmul_and_vjp():
        KV = k.matmul(case.X, None, case.V)
        dX, _, dV, gradients = k.matmul_vjp(case.X, None, case.V, case.V_cotangent)
        return KV, dX, gradients["lengthscale"], gradients["variance"], dV

    runs = {f.__name__: f for f in (value, value_and_vjp, matmul, matmul_and_vjp)}
    return warmed(runs[operation])


def warmed(run):
    """``run`` after a first call."""
    run()
    return run


def whole_matrices_only(operation: str) -> None:
    """Raise Unavailable for the products without a stored matrix."""
    if operation.startswith("matmul"):
        raise Unavailable("it has no product with a covariance that is not stored")


def scikit_learn(case, operation):
    """sklearn.gaussian_process.kernels: the parameters' gradients from its array (n, n, p), no derivative by X."""
    whole_matrices_only(operation)
    require("sklearn")
    if case.dtype != np.float64:
        raise Unavailable("scikit-learn's kernels compute in float64")
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

    leaf = RBF(case.lengthscale) if case.kernel == "RBF" else Matern(case.lengthscale, nu=2.5)
    k = ConstantKernel(case.variance) * leaf
    if operation == "value":
        return warmed(lambda: (k(case.X),))
    n, q = case.X.shape
    # the differences, two factors of the product rule and their concatenation, each of them (n, n, q)
    if 4 * 8 * n * n * (q + 1) > 0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise Unavailable(f"several arrays of shape ({n}, {n}, {q + 1}) do not fit into memory")

    def value_and_vjp():
        K, dK = k(case.X, eval_gradient=True)
        # derivatives by the logarithms
        dvariance, *dlengthscale = np.ravel(case.cotangent) @ dK.reshape(-1, q + 1)
        return K, None, dlengthscale / case.lengthscale, dvariance / case.variance

    return warmed(value_and_vjp)


def gpytorch(case, operation):
    """ScaleKernel of RBFKernel or MaternKernel, evaluated at once; autograd."""
    whole_matrices_only(operation)
    require("torch", "gpytorch")
    import gpytorch as library
    import torch
    from gpytorch.constraints import Positive

    options = {"ard_num_dims": case.X.shape[1], "lengthscale_constraint": Positive(transform=None)}
    kernels = library.kernels
    base = kernels.RBFKernel(**options) if case.kernel == "RBF" else kernels.MaternKernel(nu=2.5, **options)
    X, C = torch.tensor(case.X), torch.tensor(case.cotangent)
    k = kernels.ScaleKernel(base, outputscale_constraint=Positive(transform=None)).to(X.dtype)
    k.outputscale, base.lengthscale = X.new_tensor(case.variance), torch.tensor(case.lengthscale)
    leaves = X, base.raw_lengthscale, k.raw_outputscale

    def value():
        with torch.no_grad(), library.settings.lazily_evaluate_kernels(False):
            return (k(X).to_dense(),)

    def value_and_vjp():
        with library.settings.lazily_evaluate_kernels(False):
            K = k(X).to_dense()
        dX, dlengthscale, dvariance = torch.autograd.grad(K, leaves, C)
        return K.detach(), dX, dlengthscale[0], dvariance

    if operation == "value":
        return warmed(value)
    X.requires_grad_(True)
    return warmed(value_and_vjp)


def jax(case, operation):
    """Squared distances by a matrix product and the kernel in jax.numpy, jit; reverse mode.

    Sums of squared differences take as long for the value at q = 2, and longer in every other cell.
    """
    whole_matrices_only(operation)
    require("jax")
    import jax as library

    library.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    def covariance(X, lengthscale, variance):
        A = X / lengthscale
        squares = jnp.square(A).sum(axis=1)
        s = squares[:, None] + squares - 2 * A @ A.T
        if case.kernel == "RBF":
            return variance * jnp.exp(-0.5 * s)
        r = jnp.sqrt(jnp.maximum(s, 1e-36))  # differentiable on the diagonal
        return variance * (1 + ROOT5 * r + 5 / 3 * s) * jnp.exp(-ROOT5 * r)

    def value_and_vjp(C, *arguments):
        K, pullback = library.vjp(covariance, *arguments)
        return K, *pullback(C)

    arguments = [library.device_put(a) for a in (case.X, case.lengthscale, case.dtype.type(case.variance))]
    if operation == "value":
        compiled = library.jit(lambda *arguments: (covariance(*arguments),))
    else:
        compiled, arguments = library.jit(value_and_vjp), [library.device_put(case.cotangent), *arguments]
    return warmed(lambda: library.block_until_ready(compiled(*arguments)))


@contextlib.contextmanager
def gpflow_floats(dtype):
    """``with gpflow_floats(dtype):`` GPflow's default type."""
    from gpflow import config

    with config.as_context(dataclasses.replace(config.config(), float=dtype.type)):
        yield


def gpflow(case, operation):
    """SquaredExponential or Matern52 in a tf.function compiled by XLA (faster than without); a gradient tape."""
    whole_matrices_only(operation)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require("tensorflow", "gpflow")
    import gpflow as library
    import tensorflow as tf

    with gpflow_floats(case.dtype):
        name = "SquaredExponential" if case.kernel == "RBF" else case.kernel
        k = getattr(library.kernels, name)(case.variance, case.lengthscale)
        for parameter in ("variance", "lengthscales"):
            start = getattr(k, parameter).numpy()
            setattr(k, parameter, library.Parameter(start, transform=None))
        X, C = tf.constant(case.X), tf.constant(case.cotangent)

        @tf.function(jit_compile=True)
        def value(X):
            return (k(X),)

        @tf.function(jit_compile=True)
        def value_and_vjp(X, C):
            with tf.GradientTape() as tape:
                tape.watch(X)
                K = k(X)
            leaves = X, k.lengthscales.unconstrained_variable, k.variance.unconstrained_variable
            return K, *tape.gradient(K, leaves, C)

        return warmed((lambda: value(X)) if operation == "value" else (lambda: value_and_vjp(X, C)))


def keops(case, operation):
    """pykeops.torch.LazyTensor: the products, compiled for the formula at the first call."""
    if not operation.startswith("matmul"):
        raise Unavailable("KeOps stores no covariance")
    require("torch", "pykeops")
    import torch
    from pykeops.torch import LazyTensor

    X, lengthscale, V, C = (torch.tensor(a) for a in (case.X, case.lengthscale, case.V, case.V_cotangent))
    variance = torch.tensor(case.variance, dtype=X.dtype)

    def product():
        A = X / lengthscale
        s = LazyTensor(A[:, None, :]).sqdist(LazyTensor(A[None, :, :]))
        if case.kernel == "RBF":
            K = (-0.5 * s).exp()
        else:
            r = s.sqrt()
            K = (1 + ROOT5 * r + 5 / 3 * s) * (-ROOT5 * r).exp()
        return variance * (K @ V)

    def matmul():
        with torch.no_grad():
            return (product(),)

    def matmul_and_vjp():
        KV = product()
        return KV.detach(), *torch.autograd.grad(KV, leaves, C)

    if operation == "matmul":
        return warmed(matmul)
    leaves = [t.requires_grad_(True) for t in (X, lengthscale, variance, V)]
    return warmed(matmul_and_vjp)


PEERS = {f.__name__.replace("_", "-"): f for f in (scikit_learn, gpytorch, jax, gpflow, keops)}
