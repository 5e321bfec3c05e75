"""What is timed on a GPU, and its peers on the same card, behind one interface (models: ``peers.cuda_models``).

A task has a ``title`` and a ``dtype``; ``ours()`` and the functions in ``peers`` place its inputs on the card and
return ``run``, a callable without arguments that computes the answer once, as arrays of its own library. ``run`` may
return before the card has finished: who takes the time synchronises the device. A peer raises ``Unavailable`` where its
library is not installed, or does not see the card.

``assert_answer(answer)``
    The answer of a small task is that of plain NumPy.
``flops``, ``moved``
    Arithmetic and bytes that no implementation can do without: the floor of the time.
``placed``
    Bytes of the inputs that ``ours()`` puts on the card itself.

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import dataclasses
import itertools
import os

import numpy as np
from cases import UpdateCase

import lvmfast as lvm
from lvmfast import _backend

from . import covariances, generators
from .covariances import ROOT5, CovarianceCase, Unavailable, require
from .polya_gamma import PolyaGammaCase

__all__ = ["Batch", "Draws", "Gram", "PolyaGammaDraws", "Product", "Task", "Unavailable", "Update"]
__all__ += ["cupy", "host", "on_card", "with_jax"]

# no library computes float32 products with shorter numbers, and JAX leaves the card's memory to the others
os.environ.setdefault("CUPY_TF32", "0")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

DEVICE = "cuda"  # PyTorch's and JAX's: "cpu" lets the peers run where there is no GPU, to see that they do
CHUNK = 4096  # rows of a covariance that is not stored


def on_card():
    """PyTorch's device as a context: what is made inside is there."""
    require("torch")
    import torch

    if DEVICE == "cuda" and not torch.cuda.is_available():
        raise Unavailable("this PyTorch sees no GPU")
    return torch.device(DEVICE)


def with_jax() -> None:
    """JAX on the card, float64 on, products of float32 in float32."""
    require("jax")
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")
    if DEVICE == "cuda" and jax.default_backend() != "gpu":
        raise Unavailable(f"this JAX has only the backend {jax.default_backend()}")


def cupy():
    """The module that lvmfast works with."""
    return _backend.namespace_on("cuda")


def host(array, last: int | None = None) -> np.ndarray:
    """A NumPy copy of an array of any of the libraries, or of its last rows."""
    if last is not None and np.ndim(array):
        array = array[-last:]
    library = type(array).__module__.partition(".")[0]
    if library == "cupy":
        return array.get()
    return np.asarray(array.detach().cpu() if library == "torch" else array)


class Task:
    """What all tasks have, unless they say otherwise."""

    flops = moved = placed = 0
    scale = 0.0  # of the terms that cancel in an answer
    comparable = True  # answers are the same for all

    @property
    def bits(self) -> np.dtype:
        """The dtype."""
        return np.dtype(self.dtype)


# Covariance matrices and products with them.


@dataclasses.dataclass
class Gram(Task):
    """``value`` or ``value_and_vjp`` of ``peers.covariances``, inputs and answers on the card."""

    case: CovarianceCase
    operation: str

    @classmethod
    def of(cls, kernel: str, n: int, q: int, dtype: str, operation: str) -> Gram:
        """As ``CovarianceCase.random``, drawn faster."""
        X, V, bar = (lvm.random.normal(size=(n, m), rng=s, dtype=dtype, device="cpu") for s, m in enumerate((q, 1, 1)))
        needed = operation == "value_and_vjp"
        C = lvm.random.normal(size=(n, n), rng=3, dtype=dtype, device="cpu") if needed else np.empty((0, 0), dtype)
        lengthscale = (np.sqrt(q) * np.linspace(0.8, 1.2, q)).astype(dtype)
        return cls(CovarianceCase(kernel, X, 1.3, lengthscale, C, V, bar), operation)

    @property
    def dtype(self):
        return str(self.case.dtype)

    @property
    def title(self):
        return "{} {} N={} Q={}".format(self.operation, self.case.kernel, *self.case.X.shape)

    @property
    def moved(self):  # K is written, its cotangent read
        return (1 + self.operation.endswith("vjp")) * len(self.case.X) ** 2 * self.bits.itemsize

    @property
    def placed(self):
        case = self.case
        return sum(a.nbytes for a in (case.X, case.cotangent, case.V, case.V_cotangent))

    def ours(self):
        names = ("X", "cotangent", "V", "V_cotangent")
        there = {name: cupy().asarray(getattr(self.case, name)) for name in names}
        return covariances.ours(dataclasses.replace(self.case, **there), self.operation)

    def leaves(self):
        """X, the lengthscales and the variance as PyTorch's tensors."""
        with on_card():
            import torch

            case, gradients = self.case, self.operation.endswith("vjp")
            X, lengthscale, C, V = (torch.tensor(a) for a in (case.X, case.lengthscale, case.cotangent, case.V))
            variance = torch.tensor(case.variance, dtype=X.dtype)
        return [t.requires_grad_(gradients) for t in (X, lengthscale, variance)], C, V

    def torch(self):
        """Squared distances by a matrix product; automatic differentiation."""
        (X, lengthscale, variance), C, _ = self.leaves()
        import torch

        def covariance():
            A = X / lengthscale
            squares = A.square().sum(1)
            s = squares[:, None] + squares - 2 * A @ A.T
            if self.case.kernel == "RBF":
                return variance * torch.exp(-0.5 * s)
            r = s.clamp_min(1e-36).sqrt()  # differentiable on the diagonal
            return variance * (1 + ROOT5 * r + 5 / 3 * s) * torch.exp(-ROOT5 * r)

        def value():
            with torch.no_grad():
                return (covariance(),)

        def value_and_vjp():
            K = covariance()
            return K.detach(), *torch.autograd.grad(K, (X, lengthscale, variance), C)

        return value if self.operation == "value" else value_and_vjp

    def gpytorch(self):
        """ScaleKernel of RBFKernel or MaternKernel."""
        require("torch", "gpytorch")
        with on_card():
            return covariances.gpytorch(self.case, self.operation)

    def jax(self):
        """The same formula as for PyTorch, jit."""
        with_jax()
        return covariances.jax(self.case, self.operation)

    def cupy(self):
        """The same formula in place, and its derivative by hand."""
        xp, case = cupy(), self.case
        X, lengthscale, C = (xp.asarray(a) for a in (case.X, case.lengthscale, case.cotangent))

        def covariance():
            A = X / lengthscale
            squares = (A * A).sum(axis=1)
            s = A @ A.T
            s *= -2
            s += squares[:, None]
            s += squares
            if case.kernel == "RBF":
                s *= -0.5
                xp.exp(s, out=s)
                s *= case.variance
                return A, s, None
            xp.maximum(s, 0, out=s)
            r = xp.sqrt(s)
            r *= ROOT5
            s *= 5 / 3
            s += r
            s += 1
            decay = xp.exp(-r)
            decay *= case.variance
            s *= decay
            r += 1
            decay *= r
            return A, s, decay

        def value():
            return (covariance()[1],)

        def value_and_vjp():
            A, K, slope = covariance()
            W = C + C.T
            W *= K if slope is None else slope
            W *= -0.5 if slope is None else -5 / 6
            dA = 2 * (W.sum(axis=1, keepdims=True) * A - W @ A)
            return K, dA / lengthscale, -(A * dA).sum(axis=0) / lengthscale, (C * K).sum() / case.variance

        return value if self.operation == "value" else value_and_vjp

    peers = {"PyTorch": torch, "GPyTorch": gpytorch, "JAX": jax, "CuPy": cupy}

    def assert_answer(self, answer) -> None:
        expected = self.case.expected(self.operation)
        answer = [host(a).reshape(np.shape(e)) for a, e in zip(answer, expected, strict=True)]
        self.case.assert_answer(answer, self.operation)


@dataclasses.dataclass
class Product(Gram):
    """``matmul``: k(X, X) V for one column, the matrix not stored."""

    @classmethod
    def of(cls, kernel: str, n: int, q: int, dtype: str) -> Product:
        """As ``Gram.of``."""
        return cls(Gram.of(kernel, n, q, dtype, "value").case, "matmul")

    moved = 0

    @property
    def flops(self):  # a distance and an exponential for every pair, a product for both of its entries
        n, q = self.case.X.shape
        return n**2 / 2 * (2 * q + 20) + 2 * n**2

    def keops(self):
        """``LazyTensor``, compiled for the formula."""
        require("torch", "pykeops")
        import pykeops

        pykeops.set_verbose(False)  # its reports would stand in the tables
        with on_card():
            return covariances.keops(self.case, "matmul")

    def torch_chunks(self):
        """A few thousand rows of the matrix at a time, in place."""
        (X, lengthscale, variance), _, V = self.leaves()
        import torch

        @torch.no_grad()
        def run():
            A = X / lengthscale
            squares, parts = A.square().sum(1), []
            for rows, their in zip(A.split(CHUNK), squares.split(CHUNK), strict=True):
                s = torch.addmm(squares, rows, A.T, alpha=-2).add_(their[:, None])
                if self.case.kernel == "RBF":
                    s = s.mul_(-0.5).exp_()
                else:
                    r = s.clamp_min_(0).sqrt()
                    s = s.mul_(5 / 3).add_(r, alpha=ROOT5).add_(1).mul_(r.mul_(-ROOT5).exp_())
                parts.append(s @ V)
            return (variance * torch.cat(parts),)

        return run

    peers = {"KeOps": keops, "PyTorch, chunks": torch_chunks}


# Updates of Cholesky factors.


@dataclasses.dataclass
class Update(Task):
    """A rank-m update in place, beside a new factorisation of A + U U^T, A at hand."""

    n: int
    m: int
    dtype: str

    @property
    def title(self):
        return f"N={self.n} M={self.m}"

    @property
    def flops(self):
        return 2 * self.n**2 * self.m

    @property
    def moved(self):  # the lower half is read and written
        return self.n**2 * self.bits.itemsize

    @property
    def placed(self):
        return self.n * (self.n + self.m) * self.bits.itemsize

    def inputs(self):
        """L and U as in ``UpdateCase.random``, drawn on the card."""
        xp = cupy()
        L = lvm.random.normal(0.0, 0.1, (self.n, self.n), rng=1, dtype=self.dtype, device="cuda")
        L = xp.tril(L, -1)
        index = xp.arange(self.n)
        L[index, index] = np.sqrt(self.n)
        return L, lvm.random.normal(0.0, 0.1, (self.n, self.m), rng=2, dtype=self.dtype, device="cuda")

    def ours(self):
        L, U = self.inputs()

        def run():
            return (lvm.linalg.cholesky_update(L, U, overwrite=True),)

        return run

    def cupy(self):
        """``cupy.linalg.cholesky``."""
        xp, (L, U) = cupy(), self.inputs()
        A = L @ L.T
        return lambda: (xp.linalg.cholesky(A + U @ U.T),)

    peers = {"CuPy, new factor": cupy}

    def assert_answer(self, answer) -> None:
        """That of the first run."""
        L, U = (host(a) for a in self.inputs())
        UpdateCase(L, U).assert_answer(np.tril(host(answer[0])))


@dataclasses.dataclass
class Batch(Task):
    """Rank-1 updates of many small factors in place."""

    count: int
    n: int
    dtype: str

    @property
    def title(self):
        return f"{self.count} of N={self.n} M=1"

    @property
    def moved(self):
        return self.count * self.n**2 * self.bits.itemsize

    @property
    def placed(self):
        return self.count * (self.n + 1) * self.n * self.bits.itemsize

    def inputs(self):
        L = np.tile(UpdateCase.random(self.n, 1, self.dtype, "C").L, (self.count, 1, 1))
        U = 0.1 * np.random.default_rng(1).standard_normal((self.count, self.n))
        return cupy().asarray(L), cupy().asarray(U.astype(self.dtype))

    def ours(self):
        L, U = self.inputs()
        return lambda: (lvm.linalg.cholesky_update(L, U, overwrite=True),)

    def cupy(self):
        """``cupy.linalg.cholesky`` of the batch."""
        xp, (L, U) = cupy(), self.inputs()
        A = L @ L.swapaxes(1, 2)
        return lambda: (xp.linalg.cholesky(A + U[:, :, None] * U[:, None, :]),)

    peers = {"CuPy, new factors": cupy}

    def assert_answer(self, answer) -> None:
        """That of the first run."""
        L, U = (host(a).astype(float) for a in self.inputs())
        expected = np.linalg.cholesky(L @ L.swapaxes(1, 2) + U[:, :, None] * U[:, None, :])
        np.testing.assert_allclose(host(answer[0]), expected, atol=1e-12 if self.bits == np.float64 else 1e-4)


# Random draws.


@dataclasses.dataclass
class Draws(Task):
    """Standard normal draws; into an array that is there where the library can."""

    n: int
    dtype: str
    comparable = False

    @property
    def title(self):
        return f"{self.n:,} normal draws"

    @property
    def moved(self):
        return self.n * self.bits.itemsize

    placed = moved

    def ours(self):
        out, seeds = cupy().empty(self.n, self.dtype), itertools.count(1)
        return lambda: (lvm.random.normal(out=out, rng=next(seeds)),)

    def curand(self):
        """``cupy.random.standard_normal``: cuRAND's own draws, in a new array."""
        random = cupy().random.RandomState(1)
        return lambda: (random.standard_normal(self.n, dtype=self.bits),)

    def cupy_generator(self):
        """``cupy.random.Generator`` with Philox."""
        xp = cupy()
        out, generator = xp.empty(self.n, self.dtype), xp.random.Generator(xp.random.Philox4x3210(1))

        def run():
            generator.standard_normal(dtype=self.bits, out=out)
            return (out,)

        return run

    def torch(self):
        """``Tensor.normal_``."""
        with on_card():
            import torch

            out = torch.empty(self.n, dtype=getattr(torch, self.dtype))
        return lambda: (out.normal_(),)

    peers = {"CuPy, cuRAND": curand, "CuPy Generator": cupy_generator, "PyTorch": torch}

    def assert_answer(self, answer) -> None:
        generators.DrawCase("normal", self.dtype, self.n, True).assert_answer(host(answer[0]))


@dataclasses.dataclass
class PolyaGammaDraws(Task):
    """Polya-gamma draws into an array that is there, tilts on the card.

    No library has them on a GPU: the peer is lvmfast on the CPU, and a copy.
    """

    case: PolyaGammaCase
    comparable = False

    @classmethod
    def of(cls, b: float, tilt: str, n: int, dtype: str) -> PolyaGammaDraws:
        """Of ``peers.polya_gamma``."""
        return cls(PolyaGammaCase(b, tilt, dtype, n))

    @property
    def dtype(self):
        return self.case.dtype

    @property
    def title(self):
        return f"{self.case.n:,} draws of PG({self.case.b:g}, {self.case.tilt})"

    @property
    def moved(self):
        return (1 + bool(np.ndim(self.case.z))) * self.case.n * self.bits.itemsize

    @property
    def placed(self):
        return self.moved

    def assert_answer(self, answer) -> None:
        self.case.assert_answer(host(answer[0]))

    def ours(self):
        case, out, seeds = self.case, cupy().empty(self.case.n, self.dtype), itertools.count(1)
        z = cupy().asarray(case.z) if np.ndim(case.z) else case.z
        return lambda: (lvm.random.polya_gamma(case.b, z, out=out, rng=next(seeds)),)

    def on_cpu(self):
        """The CPU's threads, and a copy to the card."""
        draw = self.case.ours()
        return lambda: (cupy().asarray(draw()),)

    peers = {"lvmfast on the CPU": on_cpu}
