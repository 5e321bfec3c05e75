"""GPyTorch: an exact GP (scaled RBF kernel, Gaussian likelihood, zero mean), the latents trained.

``formulation`` chooses how the D outputs share the kernel; all of them use Cholesky, never
conjugate gradients.

``"mll"``
    ``ExactMarginalLogLikelihood`` with targets of shape D x N and
    ``settings.fast_computations(log_prob=False)``: one Cholesky factorisation, then PyTorch's
    multivariate normal solves for the D targets at once.
``"inv_quad_logdet"``
    ``inv_quad_logdet`` of the likelihood's covariance with all N x D right-hand sides, under
    ``settings.max_cholesky_size``: the same quantity, the summed quadratic form.
``"batch"``
    ``ExactMarginalLogLikelihood`` with targets of shape D x N and nothing else: the covariance is
    repeated D times, so D factorisations and D N^2 numbers of memory. For small problems only.

The first two take the same time within noise; ``"inv_quad_logdet"`` is the default.

The parameters are left unconstrained (constraints without a transform), so that gradients are
by the amplitude^2, the lengthscale and the noise themselves.
"""

from math import log, pi

from ._common import as_arrays, importable, run_adam

FORMULATION = "inv_quad_logdet"


def available():
    """Return ``(True, "")`` if PyTorch and GPyTorch import, else ``(False, reason)``."""
    return importable("torch", "gpytorch")


def _model(X, Y, dtype):
    """Return the model and its likelihood in training mode, in ``dtype``, latents a parameter."""
    import gpytorch
    import torch
    from gpytorch.constraints import Positive

    class GPLVM(gpytorch.models.ExactGP):
        def __init__(self, X, targets, likelihood):
            super().__init__(X, targets, likelihood)
            self.X = torch.nn.Parameter(X)
            self.mean_module = gpytorch.means.ZeroMean()
            rbf = gpytorch.kernels.RBFKernel(lengthscale_constraint=Positive(transform=None))
            self.covar_module = gpytorch.kernels.ScaleKernel(rbf, outputscale_constraint=Positive(transform=None))

        def forward(self, X):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(X), self.covar_module(X))

    noise = Positive(transform=None)
    likelihood = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=noise)
    model = GPLVM(X, Y.T, likelihood).to(dtype)
    model.train()
    return model, likelihood


def _value_and_grad(X, Y, jitter, formulation):
    """Return a function of (X, amplitude, lengthscale, noise_variance) for the tensor Y."""
    import gpytorch
    import torch

    N, D = Y.shape
    targets = Y.T.contiguous()
    model, likelihood = _model(X, Y, Y.dtype)
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    scale = model.covar_module
    raw = model.X, scale.raw_outputscale, scale.base_kernel.raw_lengthscale
    raw = *raw, likelihood.noise_covar.raw_noise
    settings = {
        "mll": lambda: gpytorch.settings.fast_computations(log_prob=False),
        "inv_quad_logdet": lambda: gpytorch.settings.max_cholesky_size(N),
        "batch": lambda: gpytorch.settings.max_cholesky_size(N),
    }[formulation]

    def loss():
        latent = model(model.X)
        if formulation != "inv_quad_logdet":
            return -N * mll(latent, targets).mean()
        K = likelihood(latent).lazy_covariance_matrix.evaluate_kernel()
        quadratic, logdet = K.inv_quad_logdet(Y, logdet=True)
        return 0.5 * (N * log(2 * pi) + logdet + quadratic / D)

    def evaluate(X, amplitude, lengthscale, noise_variance):
        values = X, amplitude**2, lengthscale, noise_variance + jitter
        with torch.no_grad():
            for parameter, value in zip(raw, values, strict=True):
                parameter.copy_(torch.as_tensor(value, dtype=Y.dtype).expand_as(parameter))
        # debug compares the inputs with the training inputs on each call
        with settings(), gpytorch.settings.debug(False):
            value = loss()
            dX, doutputscale, *others = torch.autograd.grad(value, raw)
        scalars = 2 * amplitude * doutputscale.item(), *(d.item() for d in others)
        return value.item(), dX.numpy(), *scalars

    return evaluate


def step(
    X,
    Y,
    amplitude,
    lengthscale,
    noise_variance,
    jitter=1e-6,
    dtype="float64",
    formulation=FORMULATION,
):
    """Return a callable which computes the loss and its gradient once; see the package."""
    import torch

    X, Y = as_arrays(X, Y, dtype)
    evaluate = _value_and_grad(torch.tensor(X), torch.from_numpy(Y), jitter, formulation)

    def call():
        return evaluate(X, amplitude, lengthscale, noise_variance)

    call()
    return call


def run_protocol(X0, Y, n_steps=100, learning_rate=1.0, formulation=FORMULATION):
    """Train in float64 from X0; return ``(losses, X, params)``; see the package."""
    import torch

    X0, Y = as_arrays(X0, Y, "float64")
    evaluate = _value_and_grad(torch.tensor(X0), torch.from_numpy(Y), 1e-6, formulation)
    return run_adam(evaluate, X0, n_steps, learning_rate)
