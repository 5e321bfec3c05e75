"""PyTorch with automatic differentiation: the loss written down plainly, nothing by hand.

Squared distances from differences (no cdist, no cancellation), ``torch.linalg.cholesky``, one
triangular solve with the D columns of Y, and reverse mode through all of it.
"""

from math import log, pi

from ._common import as_arrays, importable, run_adam


def available():
    """Return ``(True, "")`` if PyTorch imports, else ``(False, reason)``."""
    return importable("torch")


def _loss(X, Y, amplitude, lengthscale, noise_variance, jitter):
    """Return the loss as a scalar tensor."""
    import torch

    N, D = Y.shape
    columns = (X / lengthscale).T
    squared = (columns[:, :, None] - columns[:, None, :]).square().sum(0)
    K = amplitude**2 * torch.exp(-0.5 * squared)
    K = K + (noise_variance + jitter) * torch.eye(N, dtype=Y.dtype)
    L = torch.linalg.cholesky(K)
    V = torch.linalg.solve_triangular(L, Y, upper=False)
    return 0.5 * N * log(2 * pi) + L.diagonal().log().sum() + 0.5 / D * V.square().sum()


def _value_and_grad(Y, jitter):
    """Return a function of (X, amplitude, lengthscale, noise_variance) for the tensor Y."""
    import torch

    def evaluate(X, *params):
        leaves = [torch.tensor(t, dtype=Y.dtype, requires_grad=True) for t in (X, *params)]
        loss = _loss(leaves[0], Y, *leaves[1:], jitter)
        dX, *dparams = torch.autograd.grad(loss, leaves)
        return loss.item(), dX.numpy(), *(d.item() for d in dparams)

    return evaluate


def step(X, Y, amplitude, lengthscale, noise_variance, jitter=1e-6, dtype="float64"):
    """Return a callable which computes the loss and its gradient once; see the package."""
    import torch

    X, Y = as_arrays(X, Y, dtype)
    evaluate = _value_and_grad(torch.from_numpy(Y), jitter)

    def call():
        return evaluate(X, amplitude, lengthscale, noise_variance)

    call()
    return call


def run_protocol(X0, Y, n_steps=100, learning_rate=1.0, keras_rounding=False):
    """Train in float64 from X0; return ``(losses, X, params)``; see the package.

    ``keras_rounding`` is explained at ``_common.run_adam``: it follows ``tfp_reference`` closely.
    """
    import torch

    X0, Y = as_arrays(X0, Y, "float64")
    evaluate = _value_and_grad(torch.from_numpy(Y), 1e-6)
    return run_adam(evaluate, X0, n_steps, learning_rate, keras_rounding)
