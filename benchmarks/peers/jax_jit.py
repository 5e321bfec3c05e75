"""JAX: ``jit(value_and_grad(loss))``, in float64 (which is switched on for the whole process).

Squared distances from differences, ``jnp.linalg.cholesky``, one triangular solve with the D
columns of Y, reverse mode; compiled once per shape.
"""

from math import log, pi

import numpy as np

from ._common import as_arrays, importable, run_adam


def available():
    """Return ``(True, "")`` if JAX imports, else ``(False, reason)``."""
    return importable("jax")


def _value_and_grad(Y, jitter):
    """Return a compiled function of (X, amplitude, lengthscale, noise_variance)."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    def loss(X, amplitude, lengthscale, noise_variance, Y):
        N, D = Y.shape
        columns = (X / lengthscale).T
        squared = jnp.square(columns[:, :, None] - columns[:, None, :]).sum(0)
        K = amplitude**2 * jnp.exp(-0.5 * squared)
        K = K + (noise_variance + jitter) * jnp.eye(N, dtype=Y.dtype)
        L = jnp.linalg.cholesky(K, symmetrize_input=False)
        V = jax.scipy.linalg.solve_triangular(L, Y, lower=True)
        return 0.5 * N * log(2 * pi) + jnp.log(jnp.diag(L)).sum() + 0.5 / D * jnp.square(V).sum()

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3)))
    Y = jax.device_put(Y)

    def evaluate(X, *params):
        params = (np.asarray(p, dtype=Y.dtype) for p in params)
        value, (dX, *dparams) = compiled(np.asarray(X, dtype=Y.dtype), *params, Y)
        return float(value), np.asarray(dX), *(float(d) for d in dparams)

    return evaluate


def step(X, Y, amplitude, lengthscale, noise_variance, jitter=1e-6, dtype="float64"):
    """Return a callable which computes the loss and its gradient once; see the package."""
    X, Y = as_arrays(X, Y, dtype)
    evaluate = _value_and_grad(Y, jitter)

    def call():
        return evaluate(X, amplitude, lengthscale, noise_variance)

    call()
    return call


def run_protocol(X0, Y, n_steps=100, learning_rate=1.0):
    """Train in float64 from X0; return ``(losses, X, params)``; see the package."""
    X0, Y = as_arrays(X0, Y, "float64")
    return run_adam(_value_and_grad(Y, 1e-6), X0, n_steps, learning_rate)
