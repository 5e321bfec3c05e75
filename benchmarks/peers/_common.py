"""What the peers share: an import check, the training protocol, a smaller matrix for Y."""

from importlib import import_module
from math import exp, log1p

import numpy as np

EPS = float(np.finfo(np.float64).eps)
NAMES = ("amplitude", "lengthscale", "noise_variance")


def importable(*modules):
    """Return ``(True, "")`` if all the modules import, else ``(False, reason)``."""
    for module in modules:
        try:
            import_module(module)
        except Exception as error:  # a broken installation raises more than ImportError
            return False, f"{module} does not import: {type(error).__name__}: {error}"
    return True, ""


def as_arrays(X, Y, dtype):
    """Return X and Y as new C-ordered arrays of floating type ``dtype``."""
    return np.array(X, dtype=dtype, order="C"), np.array(Y, dtype=dtype, order="C")


def same_loss_columns(Y):
    """Return R (N x r, r = rank of Y) which gives the same loss and gradients as Y (N x D).

    The loss depends on Y through Y Y^T / D only. With the thin singular value decomposition
    Y = U diag(s) V^T, R = U diag(s) sqrt(r / D) has R R^T / r = Y Y^T / D. Singular values below
    the rounding error of the largest are dropped.
    """
    Y = np.asarray(Y)
    U, s, _ = np.linalg.svd(Y.astype(np.float64), full_matrices=False)
    r = max(1, int(np.sum(s > s[0] * max(Y.shape) * EPS)))
    return np.ascontiguousarray(U[:, :r] * (s[:r] * np.sqrt(r / Y.shape[1])), dtype=Y.dtype)


def softplus(u):
    """Return log(1 + exp(u)) without overflow."""
    return max(u, 0.0) + log1p(exp(-abs(u)))


def sigmoid(u):
    """Return 1 / (1 + exp(-u)), the derivative of softplus."""
    return 1.0 / (1.0 + exp(-u)) if u >= 0 else exp(u) / (1.0 + exp(u))


def run_adam(value_and_grad, X0, n_steps, learning_rate, keras_rounding=False):
    """Run the training protocol with ``value_and_grad(X, amplitude, lengthscale, noise_variance)``.

    One step of Adam in Keras's form, for each of X and the three unconstrained scalars u:
    theta -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + 1e-7), with b1 = 0.9, b2 = 0.999. The
    constrained scalars are softplus(EPS + u), u = 1 at the start. Costs O(N Q) a step.

    Keras on TensorFlow rounds b1 and b2 to float32 in b1^t and b2^t, and there only, which changes
    the first updates by 6e-6 relative; ``keras_rounding=True`` does so too, to compare paths.
    """
    X = np.array(X0, dtype=np.float64)
    theta = np.concatenate([X.ravel(), np.ones(3)])
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    b1, b2, eps = 0.9, 0.999, 1e-7
    c1, c2 = (float(np.float32(b)) for b in (b1, b2)) if keras_rounding else (b1, b2)
    losses = np.zeros(n_steps)
    for i in range(n_steps):
        u = [EPS + t for t in theta[-3:].tolist()]
        X = theta[:-3].reshape(X.shape)
        losses[i], dX, *dparams = value_and_grad(X, *map(softplus, u))
        scalars = [d * sigmoid(t) for d, t in zip(dparams, u, strict=True)]
        g = np.concatenate([np.ravel(dX), scalars])
        m += (g - m) * (1 - b1)
        v += (g * g - v) * (1 - b2)
        rate = learning_rate * np.sqrt(1 - c2 ** (i + 1)) / (1 - c1 ** (i + 1))
        theta -= rate * m / (np.sqrt(v) + eps)
    values = [softplus(EPS + t) for t in theta[-3:].tolist()]
    return losses, theta[:-3].reshape(X.shape).copy(), dict(zip(NAMES, values, strict=True))
