"""Variational autoencoders by their definitions, in float64; gradients are differences of the objectives themselves.

With ``z_l = m + exp(s / 2) eps_l``, ``log w_l = log p(x | z_l) + beta (log p(z_l) - log q(z_l | x))``, of each row

    "elbo": mean_l log p(x | z_l) - beta KL,   "iwae": log mean_l w_l;   the loss is minus the mean over rows.

Kingma & Welling (2014); Burda, Grosse & Salakhutdinov (2016), eq. 8; Tucker et al. (2019), eq. 8; Jang, Gu & Poole
(2017), eq. 2 for latents in groups of C: ``z_l = softmax((logits + eps_l) / temperature)``, eps standard Gumbel.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from . import network

LIKELIHOODS = ("bernoulli", "gaussian", "categorical")
VARIANCES = ("fixed", "shared", "feature", "batch", "row", "sample")


@dataclass(frozen=True)
class Net:
    """A trunk and its heads; layers are ("dense", units, activation), ("flatten",), ("reshape", shape), and
    ("conv" or "transpose", filters, (rows, cols), strides, same, activation)."""

    input_shape: tuple
    layers: list
    heads: list

    def shapes(self):
        """Of kernels and biases, in order."""
        shapes = []
        self._through(np.zeros((1, *self.input_shape)), lambda shape: shapes.append(shape) or np.zeros(shape))
        return shapes

    @functools.cached_property
    def size(self):
        """How many parameters."""
        return sum(math.prod(shape) for shape in self.shapes())

    def outputs(self, theta, x):
        """One array (n, numbers) for each head."""
        place = 0

        def take(shape):
            nonlocal place
            place += math.prod(shape)
            return theta[place - math.prod(shape) : place].reshape(shape)

        return self._through(x.reshape(len(x), *self.input_shape), take)

    def _through(self, x, take):
        x = self._chain(self.layers, x, take)
        ends = [self._chain(head, x, take) for head in self.heads]
        return [end.reshape(len(end), -1) for end in ends]

    @staticmethod
    def _chain(layers, x, take):
        for kind, *options in layers:
            if kind in ("flatten", "reshape"):
                x = x.reshape(len(x), *(options[0] if options else (-1,)))
                continue
            width, *place, activation = options
            taps = () if kind == "dense" else place[0]
            ends = (width, x.shape[-1]) if kind == "transpose" else (x.shape[-1], width)
            kernel, bias = take((*taps, *ends)), take((width,))
            x, _ = network.layer(kind, x, kernel, bias, activation, *place[1:])
        return x


@dataclass(frozen=True)
class Vae:
    """theta is [encoder | decoder | free log variances]; log variances are clamped.

    To [low, high], those of codes to [low, code_high].

    ``frozen``, name -> (where, slope), makes a clamp the line through its value at ``where`` with this slope.
    """

    encoder: Net
    decoder: Net
    categories: int = 0
    likelihood: str = "bernoulli"
    variance: str = "fixed"
    classes: int = 0
    iwae: bool = False
    dreg: bool = False
    low: float = -14.0
    high: float = 14.0
    code_high: float = 4.0  # of codes, instead of high
    frozen: dict = field(default_factory=dict)

    def parts(self, theta):
        a, b = self.encoder.size, self.encoder.size + self.decoder.size
        return theta[:a], theta[a:b], theta[b:]

    def most(self, name):
        return self.code_high if name == "encoder" else self.high

    def clamp(self, name, raw, seen):
        seen[name] = raw
        where, slope = self.frozen.get(name, (raw, 0.0))
        shift = self.frozen.get(f"{name} +", 0.0)
        return np.clip(where, self.low, self.most(name)) + slope * (raw - where) + shift

    def encode(self, theta, x, seen):
        """m and s (n, D), clamped; or logits alone."""
        m, *s = self.encoder.outputs(self.parts(theta)[0], x)
        return (m, self.clamp("encoder", s[0], seen)) if s else (m, None)

    def draw(self, m, s, eps, temperature):
        """z (n, L, D)."""
        if self.categories:
            groups = (m[:, None] + eps).reshape(*eps.shape[:2], -1, self.categories)
            return softmax(groups / temperature, axis=-1).reshape(eps.shape)
        return m[:, None] + np.exp(s / 2)[:, None] * eps

    def log_p(self, theta, fixed, x, z, seen):
        """log p(x_i | z_il), (n, L)."""
        n, L, _ = z.shape
        heads = self.decoder.outputs(self.parts(theta)[1], z.reshape(n * L, -1))
        a, *v = (head.reshape(n, L, -1) for head in heads)
        x = x.reshape(n, 1, -1)
        if self.likelihood == "bernoulli":
            return (x * a - np.logaddexp(0, a)).sum(-1)
        if self.likelihood == "categorical":
            groups = (*a.shape[:2], -1, self.classes)
            return (x.reshape(n, 1, -1, self.classes) * log_softmax(a.reshape(groups), axis=-1)).sum((-1, -2))
        if self.variance == "fixed" or self.variance == "batch" and fixed is not None:
            v = fixed
        elif self.variance in ("shared", "feature"):
            v = self.clamp("decoder", self.parts(theta)[2], seen)
        else:
            axes = {"batch": (0, 1), "row": 2, "sample": ()}[self.variance]
            v = self.clamp("decoder", v[0].mean(axes, keepdims=True), seen)
        return -0.5 * ((x - a) ** 2 * np.exp(-v) + v + np.log(2 * np.pi)).sum(-1)

    def divergence(self, m, s):
        """KL(q(z | x_i) || p(z)), (n,)."""
        if self.categories:
            log_pi = log_softmax(m.reshape(len(m), -1, self.categories), axis=-1)
            return (np.exp(log_pi) * (log_pi + np.log(self.categories))).sum((-1, -2))
        return 0.5 * (np.exp(s) + m**2 - 1 - s).sum(-1)

    def log_w(self, theta, fixed, x, eps, beta=1.0, z=None, code=None, seen=None):
        """(n, L); z and code (m, s) are those of theta unless they are given."""
        seen = {} if seen is None else seen
        m, s = self.encode(theta, x, seen) if code is None else code
        z = self.draw(m, s, eps, None) if z is None else z
        m, s = m[:, None], s[:, None]
        log_q = -0.5 * ((z - m) ** 2 * np.exp(-s) + s + np.log(2 * np.pi)).sum(-1)
        log_prior = -0.5 * (z**2 + np.log(2 * np.pi)).sum(-1)
        return self.log_p(theta, fixed, x, z, seen) + beta * (log_prior - log_q)

    def terms(self, theta, fixed, x, eps, beta=1.0, temperature=1.0, seen=None):
        """Objective, mean_l log p(x | z_l) and KL of each row, (n, 3)."""
        seen = {} if seen is None else seen
        m, s = self.encode(theta, x, seen)
        fit = self.log_p(theta, fixed, x, self.draw(m, s, eps, temperature), seen).mean(1)
        divergence = self.divergence(m, s)
        objective = fit - beta * divergence
        if self.iwae:
            objective = logsumexp(self.log_w(theta, fixed, x, eps, beta), axis=1) - np.log(eps.shape[1])
        return np.stack([objective, fit, divergence], axis=1)

    def loss(self, *arguments):
        return -self.terms(*arguments)[:, 0].mean()

    def surrogate(self, theta, fixed, x, eps, beta, temperature):
        """A function of theta whose derivative by the encoder's is the doubly reparameterised one.

        With ``w`` normalised and D_l the derivative of log w_l along z_l alone: ``sum_l w_l (D_l - beta score_l)``, and
        ``E[w_l score_l] = E[w_l (1 - w_l) D_l]``, leave ``((1 - beta) w_l + beta w_l^2) D_l``; not for "batch", where
        log w_l depends on every code.
        """
        code = self.encode(theta, x, {})
        w = softmax(self.log_w(theta, fixed, x, eps, beta), axis=1)
        weights = (1 - beta) * w + beta * w**2

        def value(model, encoder):
            moved = np.concatenate([encoder, *self.parts(theta)[1:]])
            z = model.draw(*model.encode(moved, x, {}), eps, None)
            return -(weights * model.log_w(moved, fixed, x, eps, beta, z, code)).sum(1).mean()

        return value

    def gradient(self, theta, fixed, x, eps, beta=1.0, temperature=1.0):
        """Of the loss, (p,)."""
        arguments = (fixed, x, eps, beta, temperature)
        model = self.linear_clamps(theta, *arguments)
        gradient = derivative(lambda t: model.loss(t, *arguments), theta)
        if self.dreg:
            value, n = self.surrogate(theta, *arguments), self.encoder.size
            gradient[:n] = derivative(lambda t: value(model, t), theta[:n])
        return gradient

    def linear_clamps(self, theta, *arguments):
        """Slope 1 inside; outside only where a step against the derivative by the clamped number leads back.

        The decoder's clamp comes first, as that derivative goes through it.
        """
        seen, lines = {}, {}
        self.terms(theta, *arguments, seen)
        value = self.surrogate(theta, *arguments) if self.dreg else None
        for name, raw in reversed(seen.items()):
            if (raw > self.low).all() and (raw < self.most(name)).all():
                lines[name] = raw, 1.0
                continue

            def shifted(by, name=name):
                model = replace(self, frozen=lines | {f"{name} +": by})
                if name == "encoder" and self.dreg:
                    return value(model, model.parts(theta)[0])
                return model.loss(theta, *arguments)

            d = derivative(shifted, np.zeros(raw.shape))
            inside = (raw > self.low) & (raw < self.most(name))
            lines[name] = raw, (inside | (raw >= self.most(name)) & (d > 0) | (raw <= self.low) & (d < 0)).astype(float)
        return replace(self, frozen=lines)


def derivative(function, x, step=1e-3):
    """df/dx (of x's shape) by differences of fourth order."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        values = []
        for by in (step, -step, 2 * step, -2 * step):
            moved = x.copy()
            moved[index] += by
            values.append(function(moved))
        a, b, c, d = values
        gradient[index] = (8 * (a - b) - (c - d)) / (12 * step)
    return gradient
