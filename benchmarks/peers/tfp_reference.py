"""The reference program: TensorFlow Probability's tutorial on GPLVM, as published.

``tfd.GaussianProcess`` with D observation vectors of length N, its ``log_prob`` averaged, in a
``tf.function``. ``jit_compile=True`` is the tutorial's own setting; ``jit_compile=False``, the
default here, runs the same graph without XLA. TensorFlow Probability needs the package
``tf_keras`` where TensorFlow brings Keras 3; Adam is taken from there too.
"""

import os

import numpy as np

from ._common import EPS, NAMES, as_arrays, importable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def available():
    """Return ``(True, "")`` if TensorFlow, TFP and tf_keras import, else ``(False, reason)``."""
    return importable("tensorflow", "tf_keras", "tensorflow_probability")


def _loss(index_points, observations, amplitude, lengthscale, noise_variance, jitter):
    """Return minus the mean log density of the D rows of ``observations`` (D x N)."""
    import tensorflow as tf
    import tensorflow_probability as tfp

    gp = tfp.distributions.GaussianProcess(
        kernel=tfp.math.psd_kernels.ExponentiatedQuadratic(amplitude, lengthscale),
        index_points=index_points,
        observation_noise_variance=noise_variance,
        jitter=jitter,
    )
    return -tf.reduce_mean(gp.log_prob(observations))


def step(
    X,
    Y,
    amplitude,
    lengthscale,
    noise_variance,
    jitter=1e-6,
    dtype="float64",
    jit_compile=False,
):
    """Return a callable which computes the loss and its gradient once; see the package."""
    import tensorflow as tf

    X, Y = as_arrays(X, Y, dtype)
    observations = np.ascontiguousarray(Y.T)
    inputs = X, amplitude, lengthscale, noise_variance
    values = [tf.Variable(np.asarray(v, dtype=dtype)) for v in inputs]

    @tf.function(autograph=False, jit_compile=jit_compile)
    def value_and_grad():
        with tf.GradientTape() as tape:
            loss = _loss(values[0], observations, *values[1:], jitter)
        return loss, tape.gradient(loss, values)

    def call():
        loss, (dX, *dparams) = value_and_grad()
        return float(loss), dX.numpy(), *(float(d) for d in dparams)

    call()
    return call


def run_protocol(X0, Y, n_steps=100, learning_rate=1.0, jit_compile=False):
    """Train in float64 from X0, Adam from Keras; return ``(losses, X, params)``."""
    import tensorflow as tf
    from tf_keras.optimizers import Adam

    X0, Y = as_arrays(X0, Y, "float64")
    observations = np.ascontiguousarray(Y.T)
    X = tf.Variable(X0)
    unconstrained = [tf.Variable(np.float64(1.0), name=name) for name in NAMES]
    variables = [*unconstrained, X]
    optimizer = Adam(learning_rate=learning_rate)
    optimizer.build(variables)

    @tf.function(autograph=False, jit_compile=jit_compile)
    def train():
        with tf.GradientTape() as tape:
            params = [tf.math.softplus(EPS + u) for u in unconstrained]
            loss = _loss(X, observations, *params, 1e-6)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    losses = np.array([float(train()) for _ in range(n_steps)])
    params = {u.name.split(":")[0]: float(tf.math.softplus(EPS + u)) for u in unconstrained}
    return losses, X.numpy(), params
