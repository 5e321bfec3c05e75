"""An autoencoder as one vector of parameters with compiled steps.

theta = [encoder | decoder | free log variances | networks of the posterior, or its flow].
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from lvmfast import _backend, random
from lvmfast.bijectors import Chain, Invert
from lvmfast.bijectors._flows_base import Learnable, compiled_flow, flow_steps, own_leaves
from lvmfast.nn import Sequential

LOW, HIGH = -14.0, 14.0  # of log variances
# Of those of codes, which are so no wider than their prior. The first steps of a deep encoder all have one sign and
# overshoot: with 14 the divergence exp(s) / 2 reaches 6e5 nats, with 4 noise drowns the codes for some epochs.
CODE_HIGH = 0.0
LIKELIHOODS = ("bernoulli", "gaussian", "categorical")
POSTERIORS = ("gaussian", "implicit", "flow")  # in the order of the compiled class
VARIANCES = ("fixed", "shared", "feature", "batch", "row", "sample")  # in the order of the compiled class
KEPT = 1 << 24  # numbers of layers' values that one evaluation keeps
EVALUATION_ROWS = 256  # at most at once, in a score
CODE_DRAWS = 64  # of a posterior that is not Gaussian, whose mean is a row's code
PIECE_NUMBERS = 1 << 23  # of networks and noise at once where rows have many codes
LEAST_VARIANCE = 1e-2  # of a feature at the start, relative to the mean of all

__all__ = ["HIGH", "LIKELIHOODS", "LOW", "POSTERIORS", "VARIANCES", "VaeProblem", "copied", "drawn"]


class VaeProblem:
    """Compiled objects for two networks and a likelihood.

    Parameters
    ----------
    encoder, decoder : Sequential
        Built; the problem's own.
    categories : int
        Of each latent, 0 for Gaussian ones.
    likelihood, variance : str
        Names in LIKELIHOODS and VARIANCES; "fixed" where there is no variance.
    classes : int
        Of each feature with the categorical likelihood, else 0.
    fixed : ndarray of shape (d,) or None
        Log variances that are not learned.
    posterior : str
        In POSTERIORS; categorical latents have "gaussian".
    own : tuple of Sequential
        Networks of the posterior, built: of the implicit one the ratio network.
    flow : list of (bijector, inverse)
        Of the posterior "flow", in the order in which codes of the normal one meet them; the problem's own, built.
    """

    def __init__(
        self,
        encoder,
        decoder,
        *,
        categories,
        likelihood,
        variance,
        classes,
        fixed=None,
        posterior="gaussian",
        own=(),
        flow=(),
    ):
        self.posterior, self.own, self.flow = posterior, tuple(own), list(flow)
        self.encoder, self.decoder, self.categories = encoder, decoder, categories
        self.likelihood, self.variance, self.classes, self.fixed = likelihood, variance, classes, fixed
        self.dtype, self.device = encoder.dtype, encoder.device
        self.codes = math.prod(encoder.graph.output_shapes[0])
        self.width = math.prod(decoder.graph.output_shapes[0])
        # Numbers of noise that the encoder takes behind a row, and standard normal or Gumbel ones that make a code.
        self.noise = math.prod(encoder.input_shape) - self.width if self.implicit else 0
        self.drawn = self.noise if self.implicit else self.codes
        self.n_free = {"shared": 1, "feature": self.width}.get(variance, 0)
        self._compiled: dict = {}

    @property
    def implicit(self) -> bool:
        """Whether q(z | x) can only be drawn from."""
        return self.posterior == "implicit"

    @property
    def size(self) -> int:
        """Numbers in theta."""
        networks = (self.encoder, self.decoder, *self.own)
        return sum(network.n_parameters for network in networks) + self.n_free + self.flow_size

    @property
    def flow_size(self) -> int:
        """Parameters of the flow."""
        return sum(bijector.n_parameters for bijector, _ in self.flow if isinstance(bijector, Learnable))

    @property
    def flow_parameters(self) -> np.ndarray:
        """Of all its bijectors, in the order of ``flow``."""
        parts = [bijector.parameters for bijector, _ in self.flow if isinstance(bijector, Learnable)]
        return np.concatenate([np.empty(0, self.dtype), *parts])

    def flow_chain(self) -> Chain:
        """The flow as a bijector."""
        return Chain([Invert(bijector) if inverse else bijector for bijector, inverse in reversed(self.flow)])

    @property
    def noise_size(self) -> int:
        """Numbers of noise for one code in a step: of an implicit posterior also a code of the prior."""
        return self.noise + self.codes

    def initial(self, moments=None) -> np.ndarray:
        """The networks' parameters, and variances of 1 or, with the features' mean squares (d,), of these.

        Where a network gives about 0 at first, as one with Glorot's kernels does of centred data, these are the
        residuals' variances.
        """
        free = np.zeros(self.n_free)
        if self.n_free and moments is not None:
            mean = float(np.mean(moments))
            if np.max(moments) > math.exp(HIGH) or 0 < np.max(moments) < math.exp(LOW):
                warnings.warn(
                    f"X must be scaled for variances that are learned, which lie between exp({LOW:g}) and "
                    f"exp({HIGH:g}); the largest mean square of a feature is {np.max(moments):.3g}",
                    UserWarning,
                    stacklevel=6,
                )
            moments = np.maximum(moments, LEAST_VARIANCE * mean) if mean > 0 else np.ones(self.width)
            free[:] = np.clip(np.log(moments if self.n_free > 1 else np.mean(moments)), LOW, HIGH)
        first, second, *own = (_backend.to_numpy(net.parameters) for net in (self.encoder, self.decoder, *self.own))
        return np.concatenate([first, second, free, *own, self.flow_parameters]).astype(self.dtype)

    def parts(self, theta):
        """theta of the encoder, of the decoder, free log variances, of the posterior's networks, and of its flow."""
        sizes = self.encoder.n_parameters, self.decoder.n_parameters, self.n_free
        ends = np.cumsum([*sizes, *(network.n_parameters for network in self.own), self.flow_size])
        return [theta[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    def copy(self, theta) -> VaeProblem:
        """A problem with networks of its own, which have these parameters."""
        parts = [self.placed(part) for part in self.parts(theta)]
        encoder, decoder = map(copied, (self.encoder, self.decoder), parts[:2])
        names = ("categories", "likelihood", "variance", "classes", "fixed", "posterior")
        own, flow = map(copied, self.own, parts[3:-1]), own_leaves(self.flow, parts[-1])
        return VaeProblem(encoder, decoder, own=own, flow=flow, **{name: getattr(self, name) for name in names})

    def placed(self, array):
        """On the problem's device, in its dtype; None as it is."""
        if array is None:
            return None
        array = _backend.to_device(array, self.device)
        return _backend.namespace(array).ascontiguousarray(array, dtype=self.dtype)

    def compiled(self, samples: int, iwae: bool, dreg: bool = False, ratio_steps: int = 1):
        """The compiled class for L samples."""
        key = samples, bool(iwae), bool(dreg), ratio_steps
        module = _backend.module_on(self.device, self.encoder.parameters)
        if key not in self._compiled:
            kind = "Vae32" if self.dtype == np.float32 else "Vae64"
            self._compiled[key] = getattr(module, kind)(
                self.encoder.graph.numbers(),
                self.encoder.n_parameters,
                self.decoder.graph.numbers(),
                self.decoder.n_parameters,
                components=self.codes,
                categories=self.categories,
                likelihood=LIKELIHOODS.index(self.likelihood),
                variance=VARIANCES.index(self.variance),
                classes=self.classes,
                samples=samples,
                iwae=bool(iwae),
                dreg=bool(dreg),
                low=LOW,
                high=HIGH,
                code_high=CODE_HIGH,
                **self._posterior_arguments(ratio_steps),
            )
        return self._compiled[key]

    def _posterior_arguments(self, ratio_steps: int) -> dict:
        if self.flow:
            _, size, steps, mask = flow_steps(self.flow)
            own = {"posterior_steps": steps, "posterior_mask": mask, "posterior_parameters": size}
            return own | {"posterior": POSTERIORS.index("flow")}
        if not self.implicit:
            return {}
        (ratio,) = self.own
        own = {"posterior_layers": ratio.graph.numbers(), "posterior_parameters": ratio.n_parameters}
        return own | {"posterior": 1, "noise": self.noise, "ratio_steps": ratio_steps}

    def rows_at_once(self, samples: int) -> int:
        """Rows of one evaluation, so that little memory is used; a function of the networks and the samples alone."""
        each = self.encoder.graph.kept + samples * (self.decoder.graph.kept + self.flow_kept + 2 * self.codes)
        if self.implicit:
            each += samples * (self.encoder.graph.kept + 2 * self.own[0].graph.kept + 3 * (self.width + self.codes))
        return max(1, min(EVALUATION_ROWS, KEPT // each))

    @property
    def flow_kept(self) -> int:
        """Numbers that the flow keeps of a code."""
        return sum(bijector.kept for bijector, _ in self.flow if isinstance(bijector, Learnable))

    def terms(self, theta, blocks, samples: int, iwae: bool, seed: int, temperature=1.0, fixed=None) -> np.ndarray:
        """Objective with beta = 1, ``mean_l log p(x | z_l)`` and KL of rows: (n, 3), float64.

        Of an implicit posterior, KL is what its ratio network says; of a flow, the mean of its draws.

        Parameters
        ----------
        theta : ndarray of shape (p,)
        blocks : iterable of ndarray (rows, width)
            Of ``rows_at_once(samples)`` rows but for the last; the noise of a row depends on its place alone.
        fixed : ndarray of shape (d,) or None
            Log variances instead of those of a batch.
        """
        compiled, size = self.compiled(samples, iwae), self.rows_at_once(samples)
        theta, fixed = self.placed(theta), self.placed(self.fixed if fixed is None else fixed)
        found = [np.empty((0, 3))]
        for k, x in enumerate(blocks):
            eps = compiled.noise(seed, k, size)[: len(x)]
            found.append(_backend.to_numpy(compiled.evaluate(theta, fixed, x, eps, 1.0, temperature, False)[0])[:, :3])
        return np.concatenate(found)

    # Networks, with the parameters that they have.

    def encode(self, x):
        """Mean and log variance (n, D), or probabilities (n, V C), of rows (n, width)."""
        outputs = self.encoder(x.reshape(len(x), *self.encoder.input_shape))
        outputs = [_backend.namespace(x).reshape(y, (len(x), self.codes)) for y in outputs]
        if self.categories:
            return softmax(outputs[0], self.categories)
        return outputs[0], outputs[1].clip(LOW, CODE_HIGH)

    def draw(self, x, eps):
        """Latents (n, D) of rows (n, width) and noise (n, drawn): standard normal, or Gumbel's for one-hot latents."""
        if self.implicit:
            rows = _backend.namespace(x).concatenate([x, eps], axis=1)
            return self.encoder(rows.reshape(len(x), *self.encoder.input_shape))[0].reshape(len(x), self.codes)
        return self.through_flow(drawn(self, self.encode(x), eps))

    def through_flow(self, z):
        """Codes (n, D) of the normal posterior through the flow, if there is one."""
        if not self.flow:
            return z
        if "flow" not in self._compiled:
            self._compiled["flow"] = compiled_flow(self.flow, self.dtype, self.device)
        _backend.module_on(self.device, z)
        return self._compiled["flow"].run(
            self.placed(self.flow_parameters), _backend.namespace(z).ascontiguousarray(z)
        )[0]

    def draws(self, x, count: int, seed: int):
        """``count`` latents of a posterior for each row, (n, count, D), from the same noise for all rows."""
        xp, each = _backend.namespace(x), count * (self.encoder.graph.kept + self.flow_kept + self.width + self.drawn)
        rows, parts = max(1, PIECE_NUMBERS // each), []
        eps = random.normal(size=(count, self.drawn), rng=seed, dtype=self.dtype, device=self.device)
        if not self.implicit:
            for first in range(0, len(x), rows):
                mean, log_var = (part[:, None] for part in self.encode(x[first : first + rows]))
                z = self.through_flow((mean + xp.exp(0.5 * log_var) * eps).reshape(-1, self.codes))
                parts.append(z.reshape(-1, count, self.codes))
            return xp.concatenate(parts)
        for first in range(0, len(x), rows):
            piece = x[first : first + rows]
            z = self.draw(xp.repeat(piece, count, axis=0), xp.tile(eps, (len(piece), 1)))
            parts.append(z.reshape(len(piece), count, self.codes))
        return xp.concatenate(parts)

    def decode(self, z):
        """Means (n, d), probabilities (n, d) or (n, d C), and the raw second head or None, for latents (n, D)."""
        outputs = self.decoder(z.reshape(len(z), *self.decoder.input_shape))
        if self.decoder.heads is None:
            outputs = (outputs,)
        mean, *rest = (y.reshape(len(z), self.width) for y in outputs)
        xp = _backend.namespace(mean)
        if self.likelihood == "bernoulli":
            half = 0.5 * mean
            mean = 0.5 + 0.5 * xp.tanh(half)
        elif self.likelihood == "categorical":
            mean = softmax(mean, self.classes)
        return mean, rest[0] if rest else None

    def log_variances(self, theta, head, average=None):
        """Those of rows of x: (n, d), (n, 1) or (d,); head is the decoder's, average that of "batch"."""
        if self.variance == "fixed":
            return self.placed(self.fixed)
        if self.n_free:
            return self.placed(self.parts(theta)[2]).clip(LOW, HIGH)
        if self.variance == "batch":
            return self.placed(average)
        if self.variance == "row":
            head = head.mean(axis=1, keepdims=True)
        return head.clip(LOW, HIGH)

    def __getstate__(self) -> dict:
        return {**vars(self), "_compiled": {}}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self.device = self.encoder.device


def copied(network: Sequential, parameters) -> Sequential:
    """A network of its own with these parameters."""
    new = Sequential(network.layers, heads=network.heads)
    new.build(network.input_shape, network.dtype, 0, network.device)
    new.parameters = parameters
    return new


def softmax(logits, classes: int):
    """Over groups of so many columns."""
    xp = _backend.namespace(logits)
    groups = logits.reshape(len(logits), -1, classes)
    weights = xp.exp(groups - groups.max(axis=2, keepdims=True))
    return (weights / weights.sum(axis=2, keepdims=True)).reshape(logits.shape)


def drawn(problem: VaeProblem, code, eps):
    """Latents (n, D) for what ``encode`` gave and standard normal noise, or one-hot ones for Gumbel's."""
    xp = _backend.namespace(eps)
    if not problem.categories:
        mean, log_var = code
        return mean + xp.exp(0.5 * log_var) * eps
    scores = (xp.log(xp.maximum(code, 1e-30)) + eps).reshape(len(eps), -1, problem.categories)
    hot = scores.argmax(axis=2)[:, :, None] == xp.arange(problem.categories)
    return hot.astype(problem.dtype).reshape(len(eps), -1)
