"""A step of a stochastic variational sparse GP written down in PyTorch, twice: with autograd, and by hand."""

from __future__ import annotations

import numpy as np

from .covariances import Unavailable, require
from .sparse_variational import JITTER, N_NODES, Start

require("torch")
import torch  # noqa: E402


class Autograd:
    """The ELBO as it stands in the papers: L, A = L^-1 K_uf, the marginals of f from A and W^T A, the KL divergence."""

    diagonal = 0.0

    def __init__(self, start: Start):
        if start.natural:
            raise Unavailable("it has no natural gradients")
        self.start, self.dtype = start, getattr(torch, start.dtype)
        positive = np.log(np.r_[start.variance, start.lengthscale, start.noise_variance])
        values = positive, [start.constant], start.Z, start.mu, np.tril(start.W)
        self.positive, self.c, self.Z, self.mu, self.W = leaves = [
            torch.tensor(np.asarray(a), dtype=self.dtype, requires_grad=True) for a in values
        ]
        self.adam = torch.optim.Adam(leaves, lr=start.learning_rate, fused=True)
        self.identity = torch.eye(len(start.Z), dtype=self.dtype)
        nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
        self.nodes, self.weights = (torch.tensor(a, dtype=self.dtype) for a in (nodes, weights / weights.sum()))

    def covariances(self, x):
        """K_uu with its jitter, K_uf and the variance of f's prior."""
        log_variance, scale = self.positive[0], self.positive[1:-1].exp()
        Z, x = self.Z / scale, x / scale
        return rbf(Z, Z, log_variance) + JITTER * self.identity, rbf(Z, x, log_variance), log_variance.exp()

    def value(self, x, y):
        """The ELBO."""
        K_uu, K_uf, variance = self.covariances(x)
        L = torch.linalg.cholesky(K_uu)
        A = torch.linalg.solve_triangular(L, K_uf, upper=False)
        W = self.W.tril()
        mean = self.c + self.mu @ A
        variance = variance - (A * A).sum(0) + (W.T @ A).square().sum(0)
        kl = 0.5 * (self.mu @ self.mu + (W * W).sum() - len(W)) - W.diagonal().abs().log().sum()
        return self.start.n_total / len(y) * self.expected_log_density(y, mean, variance).sum() - kl

    def expected_log_density(self, y, mean, variance):
        """E log p(y | f), point by point."""
        if self.start.likelihood == "gaussian":
            noise = self.positive[-1].exp()
            return -0.5 * ((2 * torch.pi * noise).log() + ((y - mean).square() + variance) / noise)
        f = mean[:, None] + variance.sqrt()[:, None] * self.nodes
        return torch.nn.functional.logsigmoid((2 * y - 1)[:, None] * f) @ self.weights

    def gradients(self, x, y) -> None:
        """Those of -ELBO / n_total to ``grad``."""
        self.adam.zero_grad()
        (-self.value(x, y) / self.start.n_total).backward()

    def step(self, x, y) -> None:
        """One step of Adam."""
        self.gradients(torch.from_numpy(x), torch.from_numpy(y))
        self.adam.step()

    def elbo(self, x, y) -> float:
        """Of a batch."""
        with torch.no_grad():
            return self.value(torch.from_numpy(x), torch.from_numpy(y)).item()

    def predict(self, x):
        """Mean and variance of f."""
        with torch.no_grad():
            K_uu, K_uf, variance = self.covariances(torch.from_numpy(x))
            A = torch.linalg.solve_triangular(torch.linalg.cholesky(K_uu), K_uf, upper=False)
            variance = variance - (A * A).sum(0) + (self.W.tril().T @ A).square().sum(0)
            return (self.c + self.mu @ A).double().numpy(), variance.double().numpy()

    def noise(self) -> float:
        """The noise variance."""
        return self.positive[-1].exp().item()


class HandDerived(Autograd):
    """The same function with fewer operations: with S = W W^T, g = dELBO/dmean and v = dELBO/dvariance of the points,

    T = A diag(v) A^T, dW = 2 T W, dA = mu g^T + 2 (S - I) A diag(v), dK_uf = L^-T dA and
    dK_uu = -L^-T Phi(mu (A g)^T + 2 (S - I) T) L^-1, Phi the lower triangle with half of the diagonal.
    Autograd is left with the kernel.
    """

    def gradients(self, x, y) -> None:
        """Those of -ELBO / n_total to ``grad``."""
        self.adam.zero_grad()
        K_uu, K_uf, prior_variance = self.covariances(x)
        with torch.no_grad():
            L = torch.linalg.cholesky(K_uu)
            A = torch.linalg.solve_triangular(L, K_uf, upper=False)
            W, mu = self.W, self.mu  # gradients of the upper triangle are 0
            D = W @ W.T - self.identity
            DA = D @ A
            mean = torch.addmv(self.c, A.T, mu)
            variance = prior_variance + (A * DA).sum(0)
            g, v = self.derivatives(y, mean, variance)
            factor = -1 / self.start.n_total
            T = (A * v) @ A.T
            Ag = A @ g
            mu.grad = factor * (Ag - mu)
            W.grad = ((2 * factor) * (T @ W) - factor * W).tril_()
            W.grad.diagonal().add_(factor / W.diagonal())
            self.c.grad = factor * g.sum()[None]
            dK_uf = torch.linalg.solve_triangular(L.T, torch.addr(DA * (2 * v), mu, g), upper=True)
            Phi = torch.addr((2 * D) @ T, mu, Ag).tril_()
            Phi.diagonal().mul_(0.5)
            dK_uu = torch.linalg.solve_triangular(L.T, Phi, upper=True)
            dK_uu = torch.linalg.solve_triangular(L, dK_uu, upper=False, left=False)
        noise = self.positive.grad
        torch.autograd.backward(
            (K_uu, K_uf, prior_variance),
            (-factor * dK_uu, factor * dK_uf, factor * v.sum()),
            inputs=(self.positive, self.Z),
        )
        self.positive.grad[-1] += factor * self.d_log_noise if noise is None else 0.0

    def derivatives(self, y, mean, variance):
        """Of the scaled sum of E log p by mean and variance; that by the log noise variance is kept."""
        scale = self.start.n_total / len(y)
        self.d_log_noise = 0.0
        if self.start.likelihood == "gaussian":
            noise, left = self.positive[-1].exp(), y - mean
            self.d_log_noise = 0.5 * scale * (((left.square() + variance) / noise).sum() - len(y))
            return scale / noise * left, (-0.5 * scale / noise).expand_as(y)
        root = variance.sqrt()
        slope = y[:, None] - torch.sigmoid(mean[:, None] + root[:, None] * self.nodes)
        return scale * (slope @ self.weights), 0.5 * scale * (slope @ (self.weights * self.nodes)) / root


def rbf(A, B, log_variance):
    """exp(log_variance - |a - b|^2 / 2) in few passes; rounding errors are not clamped."""
    half = log_variance - 0.5 * (A * A).sum(1)[:, None] - 0.5 * (B * B).sum(1)
    return torch.addmm(half, A, B.T).exp()
