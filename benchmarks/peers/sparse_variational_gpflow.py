"""GPflow's SVGP in graph mode: Adam, or natural gradients with Adam, a step of both in one compiled function."""

from __future__ import annotations

import os

import numpy as np

from .covariances import require
from .sparse_variational import JITTER, N_NODES, Start

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
require("gpflow", "tensorflow", "tf_keras")
import gpflow  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf_keras  # noqa: E402


class Trainer:
    """See ``sparse_variational``."""

    diagonal = 0.0

    def __init__(self, start: Start):
        self.start, self.dtype = start, np.dtype(start.dtype).type
        gpflow.config.set_default_float(self.dtype)
        gpflow.config.set_default_jitter(JITTER)
        kernel = gpflow.kernels.SquaredExponential(start.variance, start.lengthscale)
        if start.likelihood == "gaussian":
            likelihood = gpflow.likelihoods.Gaussian(start.noise_variance)
        else:
            likelihood = gpflow.likelihoods.Bernoulli(invlink=tf.sigmoid)
            likelihood.quadrature = gpflow.quadrature.NDiagGHQuadrature(1, N_NODES)
        self.model = gpflow.models.SVGP(
            kernel,
            likelihood,
            start.Z.astype(self.dtype),
            mean_function=gpflow.functions.Constant(self.dtype(start.constant)),
            q_mu=start.mu[:, None].astype(self.dtype),
            q_sqrt=start.W[None].astype(self.dtype),
            num_data=start.n_total,
        )
        self._step, self._elbo, self._predict = self.compiled()

    def compiled(self):
        """The functions in graph mode, for batches of any size."""
        model, start = self.model, self.start
        adam = tf_keras.optimizers.Adam(start.learning_rate)
        natural = gpflow.optimizers.NaturalGradient(start.step_size)
        q = [(model.q_mu, model.q_sqrt)]
        if start.natural:
            gpflow.set_trainable(model.q_mu, False)
            gpflow.set_trainable(model.q_sqrt, False)
        batch = tf.TensorSpec([None, start.q], self.dtype), tf.TensorSpec([None, 1], self.dtype)

        @tf.function(input_signature=batch)
        def step(x, y):
            def loss():
                return model.training_loss((x, y))

            if start.natural:
                natural.minimize(loss, q)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(model.trainable_variables)
                value = loss()
            gradients = tape.gradient(value, model.trainable_variables)
            adam.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        elbo = tf.function(lambda x, y: model.elbo((x, y)), input_signature=batch)
        return step, elbo, tf.function(model.predict_f, input_signature=batch[:1])

    def step(self, x, y) -> None:
        """One step of all."""
        self._step(x, y[:, None])

    def elbo(self, x, y) -> float:
        """Of a batch."""
        return float(self._elbo(x, y[:, None]))

    def predict(self, x):
        """Mean and variance of f."""
        return tuple(a.numpy()[:, 0].astype(float) for a in self._predict(x))

    def noise(self) -> float:
        """The noise variance."""
        return float(self.model.likelihood.variance.numpy())
