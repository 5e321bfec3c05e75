"""NumPy and SciPy with the gradient in closed form, as in ``torch_handderived``, in plain lines."""

import numpy as np
import scipy.linalg

from ._common import as_arrays, run_adam


def available():
    """Return ``(True, "")``."""
    return True, ""


def _value_and_grad(Y, jitter):
    """Return a function of (X, amplitude, lengthscale, noise_variance) for Y (N x D)."""
    N, D = Y.shape

    def evaluate(X, amplitude, lengthscale, noise_variance):
        K = amplitude**2 * np.exp(-0.5 * sum((x[:, None] - x) ** 2 for x in X.T) / lengthscale**2)
        factor = scipy.linalg.cho_factor(K + (noise_variance + jitter) * np.eye(N), lower=True)
        A = scipy.linalg.cho_solve(factor, Y)
        loss = 0.5 * N * np.log(2 * np.pi) + np.log(np.diag(factor[0])).sum() + 0.5 / D * np.vdot(Y, A)
        G = 0.5 * (scipy.linalg.cho_solve(factor, np.eye(N)) - A @ A.T / D)
        W = G * K
        w = W.sum(axis=1)
        dX = -2 / lengthscale**2 * (w[:, None] * X - W @ X)
        return loss, dX, 2 / amplitude * w.sum(), -np.sum(X * dX) / lengthscale, np.trace(G)

    return evaluate


def step(X, Y, amplitude, lengthscale, noise_variance, jitter=1e-6, dtype="float64"):
    """Return a callable which computes the loss and its gradient once; see the package."""
    X, Y = as_arrays(X, Y, dtype)
    evaluate = _value_and_grad(Y, jitter)
    return lambda: evaluate(X, amplitude, lengthscale, noise_variance)


def run_protocol(X0, Y, n_steps=100, learning_rate=1.0):
    """Train in float64 from X0; return ``(losses, X, params)``; see the package."""
    X0, Y = as_arrays(X0, Y, "float64")
    return run_adam(_value_and_grad(Y, 1e-6), X0, n_steps, learning_rate)
