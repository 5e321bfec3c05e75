"""Likelihoods with their gradients on a GPU: tasks as in ``peers.cuda``."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from cases import GplvmCase, assert_same_answer

import lvmfast as lvm
from lvmfast import _backend
from lvmfast.demos.gplvm import JITTER

from . import gp_regression
from .covariances import require
from .cuda import Task, host, on_card, with_jax
from .gp_regression import RegressionCase

__all__ = ["Gplvm", "Regression"]


@dataclasses.dataclass
class Gplvm(Task):
    """A training step: value and all gradients; ours takes X from the host and returns there, peers keep theirs."""

    case: GplvmCase
    dtype: str
    data: str = "digits"

    @classmethod
    def of(cls, n: int, dtype: str, mnist=None) -> Gplvm:
        """The package's 1,000 digits; more from the files at ``mnist``, or else random numbers of that shape."""
        if n <= 1000:
            return cls(GplvmCase.digits(n), dtype)
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, 2))
        if mnist is not None:
            return cls(GplvmCase(X, lvm.datasets.load_mnist(mnist, return_X_y=True, subset="all")[0][:n]), dtype)
        return cls(GplvmCase(X, 0.3 * rng.standard_normal((n, 784))), dtype, "random")

    @property
    def title(self):
        return "N={} D={} Q=2 {}".format(*self.case.Y.shape, self.data)

    @functools.cached_property
    def reduced(self):
        """The observations as the likelihood needs them, (n, rank)."""
        from lvmfast.models._gplvm_problem import reduce_columns

        return np.asfortranarray(reduce_columns(self.case.Y)[0], dtype=self.dtype)

    @property
    def flops(self):  # factor and inverse n^3, two solves and an outer product
        n, rank = self.reduced.shape
        return n**3 + 3 * n**2 * rank

    @property
    def placed(self):
        return self.reduced.nbytes + self.case.X.size * self.bits.itemsize

    def ours(self, graphs: bool = True):
        case, (n, d) = self.case, self.case.Y.shape
        module = _backend.module_on("cuda")
        objective = (module.GplvmObjective64 if self.bits == np.float64 else module.GplvmObjective32)(n, 2)
        objective.add_group(None, self.reduced, float(d))
        kernel = lvm.kernels.RBF(case.amplitude**2, np.full(2, case.lengthscale)).compiled(2)
        tree, parameters, X = kernel.tree_for(module), kernel.vector(), case.X.astype(self.dtype)

        def run():
            _backend.module_on("cuda").use_graphs(graphs)
            code, _, _, value, dX, d_kernel, d_noise = objective.evaluate(
                tree, parameters, X, case.noise_variance, JITTER, 0.0, 0.0
            )
            assert code == 0
            tail = (d_kernel[0] * 2 * case.amplitude, d_kernel[1:].sum(), d_noise)
            return -value / d, dX / -d, *(t / -d for t in tail)

        return run

    def ours_without_graphs(self):
        return self.ours(graphs=False)

    def torch(self):
        """Automatic differentiation of the loss as it is written; distances from differences."""
        case, (n, d) = self.case, self.case.Y.shape
        with on_card():
            import torch

            X, Y, *numbers = (
                torch.tensor(np.asarray(a, self.dtype))
                for a in (case.X, case.Y, case.amplitude, case.lengthscale, case.noise_variance)
            )
            eye = torch.eye(n, dtype=Y.dtype)
        leaves = amplitude, lengthscale, noise_variance = [t.requires_grad_(True) for t in numbers]
        leaves = X.requires_grad_(True), *leaves

        def run():
            columns = (X / lengthscale).T
            squared = (columns[:, :, None] - columns[:, None, :]).square().sum(0)
            K = amplitude**2 * torch.exp(-0.5 * squared) + (noise_variance + JITTER) * eye
            L = torch.linalg.cholesky(K)
            V = torch.linalg.solve_triangular(L, Y, upper=False)
            loss = 0.5 * n * np.log(2 * np.pi) + L.diagonal().log().sum() + 0.5 / d * V.square().sum()
            return loss.detach(), *torch.autograd.grad(loss, leaves)

        return run

    def gpytorch(self):
        """``inv_quad_logdet`` with all columns, always by Cholesky."""
        require("torch", "gpytorch")
        case, (n, d) = self.case, self.case.Y.shape
        with on_card():
            import torch
            from gpytorch import settings

            from .gpytorch_gplvm import _model

            X, Y = (torch.tensor(a.astype(self.dtype)) for a in (case.X, case.Y))
            model, likelihood = _model(X, Y, X.dtype)
            k = model.covar_module
            raw = model.X, k.raw_outputscale, k.base_kernel.raw_lengthscale, likelihood.noise_covar.raw_noise
            values = X, case.amplitude**2, case.lengthscale, case.noise_variance + JITTER
            with torch.no_grad():
                for parameter, value in zip(raw, values, strict=True):
                    parameter.copy_(torch.as_tensor(value, dtype=X.dtype).expand_as(parameter))

        def run():
            with settings.max_cholesky_size(n), settings.debug(False):
                K = likelihood(model(model.X)).lazy_covariance_matrix.evaluate_kernel()
                quadratic, logdet = K.inv_quad_logdet(Y, logdet=True)
                loss = 0.5 * (n * np.log(2 * np.pi) + logdet + quadratic / d)
                dX, d_variance, *others = torch.autograd.grad(loss, raw)
            return loss.detach(), dX, 2 * case.amplitude * d_variance, *others

        return run

    def jax(self):
        """``jit(value_and_grad(loss))``; as ours, X from the host and gradients to it."""
        with_jax()
        from . import jax_jit

        return self.case.peer(jax_jit, dtype=self.dtype)

    peers = {"PyTorch": torch, "GPyTorch": gpytorch, "JAX": jax, "ours, no graphs": ours_without_graphs}

    def expected(self):
        """G = (K^-1 - A A^T / D) / 2 with A = K^-1 Y is the loss's derivative by K."""
        case, (n, d) = self.case, self.case.Y.shape
        A = case.X / case.lengthscale
        K = case.amplitude**2 * np.exp(-0.5 * sum(np.square(a[:, None] - a) for a in A.T))
        inverse = np.linalg.inv(K + (case.noise_variance + JITTER) * np.eye(n))
        solved = inverse @ case.Y
        value = 0.5 * (n * np.log(2 * np.pi) - np.linalg.slogdet(inverse)[1] + np.vdot(case.Y, solved) / d)
        G = 0.5 * (inverse - solved @ solved.T / d)
        W = G * K
        dX = 2 / case.lengthscale * (W @ A - W.sum(axis=1, keepdims=True) * A)
        d_lengthscale = -np.vdot(case.X, dX) / case.lengthscale
        return value, dX, 2 / case.amplitude * W.sum(), d_lengthscale, np.trace(G)

    def assert_answer(self, answer) -> None:
        answer = [host(a).reshape(np.shape(e)) for a, e in zip(answer, self.expected(), strict=True)]
        assert_same_answer(self.expected(), answer, rtol=1e-8 if self.bits == np.float64 else 1e-2)


@dataclasses.dataclass
class Regression(Task):
    """Log marginal likelihood and gradient by the parameters, one output, an ARD RBF."""

    case: RegressionCase

    @classmethod
    def of(cls, n: int, q: int, dtype: str) -> Regression:
        """Parameters as in ``RegressionCase.random``, a smooth function with noise for y."""
        rng = np.random.default_rng(0)
        X, theta = rng.standard_normal((n, q)), np.log(np.r_[2.0, np.sqrt(q) * np.linspace(0.7, 1.3, q), 0.1])
        y = np.sin(X.sum(axis=1) / np.sqrt(q)) + np.sqrt(0.1) * rng.standard_normal(n)
        return cls(RegressionCase(X.astype(dtype), y.astype(dtype), theta, X[:1].astype(dtype)))

    @property
    def dtype(self):
        return str(self.case.dtype)

    @property
    def title(self):
        return "N={} Q={}".format(*self.case.X.shape)

    @property
    def flops(self):  # factor and inverse
        return len(self.case.y) ** 3

    @property
    def placed(self):
        return self.case.X.nbytes + self.case.y.nbytes

    @property
    def scale(self):
        return len(self.case.y) / 2

    def ours(self):
        from lvmfast.models._gpr_mean import Mean
        from lvmfast.models._gpr_objective import GprObjective

        variance, lengthscale, noise_variance = self.case.parameters
        X, Y = self.case.X.astype(float), self.case.y.astype(float)[:, None]
        kernel = lvm.kernels.RBF(variance, lengthscale)
        objective = GprObjective(
            kernel, Mean("zero", X), X, Y, noise_variance, True, "auto", self.case.dtype, device="cuda"
        )
        return lambda: objective.log_marginal_likelihood(self.case.theta)

    def torch(self):
        """Automatic differentiation of the log density as it is written."""
        n = len(self.case.y)
        with on_card():
            import torch

            X, y = torch.tensor(self.case.X), torch.tensor(self.case.y)[:, None]
            theta = torch.tensor(self.case.theta, dtype=X.dtype).requires_grad_(True)
            eye = torch.eye(n, dtype=X.dtype)

        def run():
            A = X / theta[1:-1].exp()
            squares = A.square().sum(1)
            K = torch.exp(theta[0] - 0.5 * (squares[:, None] + squares - 2 * A @ A.T))
            L = torch.linalg.cholesky(K + theta[-1].exp() * eye)
            z = torch.linalg.solve_triangular(L, y, upper=False)
            value = -0.5 * (z.square().sum() + n * np.log(2 * np.pi)) - L.diagonal().log().sum()
            return value.detach(), *torch.autograd.grad(value, theta)

        return run

    def gpytorch(self):
        """``ExactMarginalLogLikelihood``, always by Cholesky."""
        require("torch", "gpytorch")
        with on_card():
            run = gp_regression.gpytorch(self.case, "likelihood")
        return lambda: run(self.case.theta)

    def jax(self):
        """jit of value_and_grad."""
        with_jax()
        run = gp_regression.jax(self.case, "likelihood")
        return lambda: run(self.case.theta)

    peers = {"PyTorch": torch, "GPyTorch": gpytorch, "JAX": jax}

    def assert_answer(self, answer) -> None:
        self.case.assert_answer([host(a) for a in answer], "likelihood", self.case.theta)
