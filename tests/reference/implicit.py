"""Codes and models without densities by their definitions, in float64; gradients are differences of the losses.

Adversarial variational Bayes, rows [x, eps] to z, T of rows [x, z]: of each row

    objective mean_l (log p(x | z_l) - beta T(x, z_l)),   ratio's loss mean_l (h(-T(x, z_l)) + h(T(x, z'_l))),

h(t) = log(1 + exp(t)), z' of the prior. Mescheder, Nowozin & Geiger (2017), eq. 3.3 and 3.7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .vae import Net, Vae, derivative


@dataclass(frozen=True)
class Avb:
    """theta is [encoder | decoder | free log variances | ratio]; eps (n, L, noise + D) ends in codes of the prior."""

    vae: Vae
    ratio: Net

    def sizes(self, theta):
        """Where the ratio's parameters begin."""
        return len(theta) - self.ratio.size

    def log_ratio(self, theta, x, z):
        """T, (n, L)."""
        n, L, _ = z.shape
        rows = np.concatenate([np.repeat(x[:, None], L, axis=1), z], axis=2).reshape(n * L, -1)
        return self.ratio.outputs(theta[self.sizes(theta) :], rows)[0].reshape(n, L)

    def codes(self, theta, x, eps):
        """z (n, L, D), and those of the prior."""
        n, L, _ = eps.shape
        noise = self.vae.encoder.input_shape[0] - x.shape[1]
        rows = np.concatenate([np.repeat(x[:, None], L, axis=1), eps[:, :, :noise]], axis=2).reshape(n * L, -1)
        z = self.vae.encoder.outputs(theta[: self.vae.encoder.size], rows)[0]
        return z.reshape(n, L, -1), eps[:, :, noise:]

    def terms(self, theta, fixed, x, eps, beta=1.0):
        """Objective, mean_l log p(x | z_l), mean_l T and the ratio's loss, (n, 4)."""
        z, prior = self.codes(theta, x, eps)
        own = theta[: self.sizes(theta)]
        fit = self.vae.log_p(own, fixed, x, z, {}).mean(1)
        t, t_prior = self.log_ratio(theta, x, z), self.log_ratio(theta, x, prior)
        loss = (np.logaddexp(0, -t) + np.logaddexp(0, t_prior)).mean(1)
        return np.stack([fit - beta * t.mean(1), fit, t.mean(1), loss], axis=1)

    def gradient(self, theta, *arguments):
        """Of minus the objective by all but the ratio's parameters, of the ratio's loss by these."""
        k = self.sizes(theta)
        own = derivative(lambda t: -self.terms(np.append(t, theta[k:]), *arguments)[:, 0].mean(), theta[:k])
        ratio = derivative(lambda t: self.terms(np.append(theta[:k], t), *arguments)[:, 3].mean(), theta[k:])
        return np.append(own, ratio)


def step_key(seed, step):
    """The key of a step's noise: SplitMix64's mixing (Steele, Lea & Flood, 2014)."""
    mask = 2**64 - 1
    z = (seed + 0x9E3779B97F4A7C15 * (step + 1)) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@dataclass(frozen=True)
class Implicit:
    """theta is [generator | ratio], s = log q / p.

    ``loss`` None: cross-entropy, or alpha of ``f''(u) = u^(alpha - 2)``. ``slope_of_f(u)``: f' of D_f[p | q].
    """

    generator: Net
    ratio: Net
    slope_of_f: object
    loss: float | None = None

    def terms(self, theta, x, z):
        """The ratio's loss of (x_i, G(z_i)) and the generator's, (n, 2)."""
        k = self.generator.size
        made = self.generator.outputs(theta[:k], z)[0]
        s, s_made = (self.ratio.outputs(theta[k:], rows)[0][:, 0] for rows in (x, made))
        if self.loss is None:
            loss = np.logaddexp(0, -s) + np.logaddexp(0, s_made)
        else:
            loss = -power(np.exp(s), self.loss - 1) + power(np.exp(s_made), self.loss)
        return np.stack([loss, self.slope_of_f(np.exp(-s_made))], axis=1)

    def gradient(self, theta, x, z):
        """Either loss by its own parameters."""
        k = self.generator.size
        own = derivative(lambda t: self.terms(np.append(t, theta[k:]), x, z)[:, 1].mean(), theta[:k])
        ratio = derivative(lambda t: self.terms(np.append(theta[:k], t), x, z)[:, 0].mean(), theta[k:])
        return np.append(own, ratio)


def power(u, a):
    """``(u^a - 1) / a``, log u for a = 0."""
    return np.log(u) if a == 0 else (u**a - 1) / a
