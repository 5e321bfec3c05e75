"""Stochastic variational sparse GPs of GPyTorch: VariationalELBO, VariationalStrategy, Adam or NGD with Adam."""

from __future__ import annotations

import numpy as np

from .covariances import require
from .sparse_variational import JITTER, N_NODES, Start

require("torch", "gpytorch")
import gpytorch  # noqa: E402
import torch  # noqa: E402
from gpytorch import kernels, likelihoods, variational  # noqa: E402


class LogisticLikelihood(likelihoods.likelihood._OneDimensionalLikelihood):
    """P(y = 1) = 1 / (1 + exp(-f)); the library's own has the probit link."""

    def forward(self, f, *args, **kwargs):
        """The distribution of y."""
        return torch.distributions.Bernoulli(logits=f)


class Model(gpytorch.models.ApproximateGP):
    """A constant and a scaled RBF kernel."""

    def __init__(self, start: Start):
        m = len(start.Z)
        if start.natural:
            q = variational.NaturalVariationalDistribution(m)
        else:
            q = variational.CholeskyVariationalDistribution(m)
        Z = torch.tensor(start.Z)
        super().__init__(variational.VariationalStrategy(self, Z, q, learn_inducing_locations=True, jitter_val=JITTER))
        self.mean_module = gpytorch.means.ConstantMean()
        self.mean_module.constant = start.constant
        self.covar_module = kernels.ScaleKernel(kernels.RBFKernel(ard_num_dims=start.q))
        self.covar_module.outputscale = start.variance
        self.covar_module.base_kernel.lengthscale = start.lengthscale
        precision = np.linalg.inv(start.W @ start.W.T)
        with torch.no_grad():
            if start.natural:
                q.natural_vec.copy_(torch.tensor(precision @ start.mu))
                q.natural_mat.copy_(torch.tensor(-0.5 * precision))
            else:
                q.variational_mean.copy_(torch.tensor(start.mu))
                q.chol_variational_covar.copy_(torch.tensor(start.W))
        self.variational_strategy.variational_params_initialized.fill_(1)

    def forward(self, x):
        """The prior at x."""
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Trainer:
    """See ``sparse_variational``."""

    diagonal = JITTER

    def __init__(self, start: Start):
        self.start, dtype = start, getattr(torch, start.dtype)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # the nodes of the quadrature are made in it
        try:
            with gpytorch.settings.num_gauss_hermite_locs(N_NODES):
                gaussian = start.likelihood == "gaussian"
                likelihood = likelihoods.GaussianLikelihood() if gaussian else LogisticLikelihood()
            if gaussian:
                likelihood.noise = start.noise_variance
            self.model, self.likelihood = Model(start).to(dtype), likelihood.to(dtype)
        finally:
            torch.set_default_dtype(default)
        self.objective = gpytorch.mlls.VariationalELBO(self.likelihood, self.model, num_data=start.n_total)
        own = [*self.model.hyperparameters(), *self.likelihood.parameters()]
        if start.natural:
            ngd = gpytorch.optim.NGD(self.model.variational_parameters(), num_data=start.n_total, lr=start.step_size)
            self.optimizers = [ngd, torch.optim.Adam(own, lr=start.learning_rate)]
        else:
            own += self.model.variational_parameters()
            self.optimizers = [torch.optim.Adam(own, lr=start.learning_rate)]

    def value(self, x, y):
        """The ELBO per row."""
        self.model.train()
        self.likelihood.train()
        return self.objective(self.model(torch.from_numpy(x)), torch.from_numpy(y))

    def step(self, x, y) -> None:
        """One step of all."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        (-self.value(x, y)).backward()
        for optimizer in self.optimizers:
            optimizer.step()

    def elbo(self, x, y) -> float:
        """Of a batch."""
        with torch.no_grad():
            return self.start.n_total * self.value(x, y).item()

    def predict(self, x):
        """Mean and variance of f."""
        self.model.eval()
        with torch.no_grad():
            f = self.model(torch.from_numpy(x))
            return f.mean.double().numpy(), f.variance.double().numpy()

    def noise(self) -> float:
        """The noise variance."""
        return self.likelihood.noise.item()
