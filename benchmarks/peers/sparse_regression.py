"""Peer implementations of sparse GP regression (the collapsed bound, ARD RBF), behind one interface.

The model is y ~ N(0, noise_variance) around f ~ GP(0, k) with inducing inputs Z (m, q), and theta = (log variance, log
lengthscales, log noise_variance, Z row after row). ``PEERS[name](case)`` does all the set-up, compilation and a first
call included, and returns ``run``, or raises ``Unavailable``: ``run(theta)`` answers with the bound in nats and its
gradient (p,), complete when it returns. ``ours(case)`` does the same with lvmfast.

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg

from .covariances import Unavailable, require
from .gp_regression import covariance

__all__ = ["PEERS", "SparseCase", "Unavailable", "ours"]

JITTER = 1e-6


@dataclasses.dataclass
class SparseCase:
    """Sines with noise, Z a random choice of the rows, and parameters to evaluate at."""

    X: np.ndarray
    y: np.ndarray
    theta: np.ndarray
    m: int
    known: dict = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def random(cls, n: int, m: int, dtype: str, q: int = 8) -> SparseCase:
        """Standard normal X (n, q), lengthscales around sqrt(q) / 2, noise of a twentieth of the variance."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, q))
        y = np.sin(X @ rng.standard_normal(q)) + 0.2 * rng.standard_normal(n)
        head = np.log(np.r_[1.0, 0.5 * np.sqrt(q) * np.linspace(0.8, 1.2, q), 0.05])
        Z = X[rng.choice(n, m, replace=False)] + 0.01 * rng.standard_normal((m, q))
        return cls(X.astype(dtype), y.astype(dtype), np.concatenate([head, Z.ravel()]), m)

    @property
    def q(self) -> int:
        """Inputs."""
        return self.X.shape[1]

    def split(self, theta):
        """Variance, lengthscales, noise variance and Z."""
        head = np.exp(theta[: self.q + 2])
        return head[0], head[1:-1], head[-1], theta[self.q + 2 :].reshape(self.m, self.q)

    def expected(self, theta) -> float:
        """The bound in plain NumPy."""
        key = np.asarray(theta).tobytes()
        if key not in self.known:
            variance, _, noise, Z = self.split(theta)
            X, y, head = self.X.astype(float), self.y.astype(float), theta[: self.q + 2]
            L = np.linalg.cholesky(covariance(Z, Z, head) + JITTER * np.eye(self.m))
            V = scipy.linalg.solve_triangular(L, covariance(Z, X, head), lower=True)
            B = np.eye(self.m) + V @ V.T / noise
            w = V @ y / noise
            square = y @ y / noise - w @ np.linalg.solve(B, w)
            n = len(y)
            trace = (n * variance - np.sum(V * V)) / noise
            value = -0.5 * (n * np.log(2 * np.pi * noise) + np.linalg.slogdet(B)[1] + square + trace)
            self.known[key] = value
        return self.known[key]

    def assert_answer(self, answer, theta) -> None:
        """The value to 1e-5 (float32: 1e-4) of itself: GPyTorch adds no jitter; and the length of the gradient."""
        value, gradient = answer
        rtol = 1e-5 if self.X.dtype == np.float64 else 1e-4
        np.testing.assert_allclose(float(value), self.expected(theta), rtol=rtol)
        assert np.shape(gradient) == theta.shape


def ours(case: SparseCase):
    """The objective of lvmfast.SGPR, as a fit evaluates it, in the dtype of the data."""
    import lvmfast
    from lvmfast.models._gpr_mean import Mean
    from lvmfast.models._sgpr_objective import SgprObjective

    variance, lengthscale, noise, Z = case.split(case.theta)
    kernel = lvmfast.kernels.RBF(variance, lengthscale)
    mean = Mean("zero", case.X[:100].astype(float))
    run = SgprObjective(kernel, mean, case.X, case.y[:, None], Z, noise, jitter=JITTER).log_marginal_likelihood
    run(case.theta)
    return run


def torch_autograd(case: SparseCase):
    """The bound written down in PyTorch, all of K_uf at once, the gradient by autograd."""
    require("torch")
    import torch

    X, y = torch.tensor(case.X), torch.tensor(case.y)[:, None]
    n, m, q = len(case.y), case.m, case.q

    def bound(t):
        variance, scale, noise = t[0].exp(), t[1 : q + 1].exp(), t[q + 1].exp()
        Z = t[q + 2 :].reshape(m, q) / scale
        A = X / scale
        L = torch.linalg.cholesky(rbf(Z, Z, variance) + JITTER * torch.eye(m, dtype=X.dtype))
        V = torch.linalg.solve_triangular(L, rbf(Z, A, variance), upper=False)
        L_B = torch.linalg.cholesky(torch.eye(m, dtype=X.dtype) + V @ V.T / noise)
        c = torch.linalg.solve_triangular(L_B, V @ y, upper=False) / noise
        square = (y * y).sum() / noise - (c * c).sum()
        log_det = 2 * L_B.diagonal().log().sum() + n * (2 * torch.pi * noise).log()
        return -0.5 * (log_det + square + (n * variance - (V * V).sum()) / noise)

    def rbf(A, B, variance):
        s = (A * A).sum(1)[:, None] + (B * B).sum(1) - 2 * A @ B.T
        return variance * torch.exp(-0.5 * s.clamp(min=0))

    def run(theta):
        t = torch.tensor(theta, dtype=X.dtype, requires_grad=True)
        value = bound(t)
        value.backward()
        return value.item(), t.grad.numpy()

    run(case.theta)
    return run


def gpytorch(case: SparseCase):
    """ExactGP with an InducingPointKernel, whose added loss term is the trace."""
    require("torch", "gpytorch")
    import gpytorch as library
    import torch
    from gpytorch.constraints import Positive

    X, y = torch.tensor(case.X), torch.tensor(case.y)
    exp = {"transform": torch.exp, "inv_transform": torch.log}
    likelihood = library.likelihoods.GaussianLikelihood(noise_constraint=Positive(**exp))

    class Model(library.models.ExactGP):
        def __init__(self):
            super().__init__(X, y, likelihood)
            base = library.kernels.RBFKernel(ard_num_dims=case.q, lengthscale_constraint=Positive(**exp))
            self.mean_module = library.means.ZeroMean()
            self.base = library.kernels.ScaleKernel(base, outputscale_constraint=Positive(**exp))
            Z = torch.tensor(case.split(case.theta)[3], dtype=X.dtype)
            self.covar_module = library.kernels.InducingPointKernel(self.base, inducing_points=Z, likelihood=likelihood)

        def forward(self, X):
            return library.distributions.MultivariateNormal(self.mean_module(X), self.covar_module(X))

    model = Model().to(X.dtype)
    model.train()
    raw = model.base.raw_outputscale, model.base.base_kernel.raw_lengthscale, likelihood.noise_covar.raw_noise
    raw = (*raw, model.covar_module.inducing_points)
    objective = library.mlls.ExactMarginalLogLikelihood(likelihood, model)

    def run(theta):
        start = 0
        with torch.no_grad():
            for parameter in raw:
                part = theta[start : start + parameter.numel()]
                parameter.copy_(torch.tensor(part, dtype=X.dtype).reshape(parameter.shape))
                start += parameter.numel()
        model.zero_grad()
        value = objective(model(X), y)
        value.backward()
        n = len(case.y)
        return n * value.item(), n * np.concatenate([p.grad.numpy().ravel() for p in raw])

    run(case.theta)
    return run


def gpflow(case: SparseCase):
    """GPflow's SGPR in graph mode."""
    require("gpflow", "tensorflow")
    import gpflow as library
    import tensorflow as tf

    library.config.set_default_float(case.X.dtype.type)
    library.config.set_default_jitter(JITTER)
    variance, lengthscale, noise, Z = case.split(case.theta)
    exp = {"transform": library.utilities.bijectors.tfp.bijectors.Exp()}
    data = tf.constant(case.X), tf.constant(case.y[:, None])
    dtype = case.X.dtype.type

    def parameter(value):
        return library.Parameter(np.asarray(value, dtype), **exp)

    kernel = library.kernels.SquaredExponential()
    kernel.variance, kernel.lengthscales = parameter(variance), parameter(lengthscale)
    model = library.models.SGPR(data, kernel, inducing_variable=Z.astype(dtype), noise_variance=1.0)
    model.likelihood.variance = parameter(noise)
    variables = [kernel.variance, kernel.lengthscales, model.likelihood.variance]
    variables = [p.unconstrained_variable for p in variables] + [model.inducing_variable.Z.unconstrained_variable]

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            value = model.elbo()
        return value, tape.gradient(value, variables)

    def run(theta):
        start = 0
        for variable in variables:
            size = int(np.prod(variable.shape))
            variable.assign(theta[start : start + size].reshape(variable.shape).astype(dtype))
            start += size
        value, gradient = compute()
        return value.numpy(), np.concatenate([np.ravel(g.numpy()) for g in gradient])

    run(case.theta)
    return run


PEERS = {"torch": torch_autograd, "gpytorch": gpytorch, "gpflow": gpflow}
