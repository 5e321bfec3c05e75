"""An implicit model as one vector of parameters with compiled steps: theta = [generator | ratio network]."""

from __future__ import annotations

import math
import numbers

import numpy as np

from lvmfast import _backend, random
from lvmfast.models._vae_networks import _built, _parts, check_hidden
from lvmfast.models._vae_problem import copied
from lvmfast.nn import Dense, Flatten, Sequential

POWER, SATURATING, GAN = range(3)  # in the order of the compiled class
OBJECTIVES = {
    "kl": (POWER, 1.0, 1.0),
    "reverse_kl": (POWER, 0.0, 1.0),
    "pearson_chi2": (POWER, 2.0, 2.0),
    "neyman_chi2": (POWER, -1.0, 2.0),
    "squared_hellinger": (POWER, 0.5, 0.25),
    "js": (SATURATING, 0.0, 0.5),
    "gan": (GAN, 0.0, 1.0),
    "gan_saturating": (SATURATING, 0.0, 1.0),
}
LOSSES = {"bce": (0, 1.0), "kl": (1, 1.0)}
PIECE_NUMBERS = 1 << 22  # of the generator's layers at once in a sample

__all__ = ["LOSSES", "OBJECTIVES", "ImplicitProblem", "as_loss", "as_objective", "build_pair"]


def _is_number(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def as_objective(objective) -> tuple[int, float, float] | None:
    """(kind, alpha, factor) of the compiled class; None for other functions, which have ``second``."""
    if isinstance(objective, str):
        if objective in OBJECTIVES:
            return OBJECTIVES[objective]
    elif _is_number(objective):
        if math.isfinite(objective):
            return POWER, float(objective), 1.0
    elif (shape := getattr(objective, "loss_shape", None)) is not None:
        return POWER if shape[0] == "power" else SATURATING, float(shape[1]), float(shape[2])
    elif callable(getattr(objective, "second", None)) and callable(getattr(objective, "derivative", None)):
        if not (np.asarray(objective.second(np.array([0.5, 1.0, 2.0]))) > 0).all():
            raise ValueError(
                f"objective must have second(u) > 0, which moves the generator, got {objective!r}; take a strictly "
                "convex f"
            )
        return None
    raise ValueError(
        f"objective must be one of {', '.join(map(repr, OBJECTIVES))}, a finite alpha, or a function f with the "
        f"methods derivative(u) and second(u), got {objective!r}"
    )


def as_loss(loss) -> tuple[int, float]:
    """(kind, alpha) of the compiled class."""
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]
    if _is_number(loss) and math.isfinite(loss):
        return 1, float(loss)
    raise ValueError(f"loss must be 'bce', 'kl' or a finite alpha, got {loss!r}")


def build_pair(model, shape: tuple[int, ...], seeds, dtype, device: str) -> tuple[Sequential, Sequential]:
    """Copies of the networks that the estimator was given, built.

    Parameters
    ----------
    model : ImplicitModel
        For its arguments; they were checked.
    shape : tuple of int
        Of a row.
    seeds : sequence of int
        For the first parameters of either.

    Raises
    ------
    ValueError
        If one of them does not fit the data or the other.
    """
    width = math.prod(shape)
    layers, heads = _parts(model.generator, "generator")
    if layers is None:
        widths = check_hidden(model.hidden, model.activation) if model.generator is None else ()
        layers = [*(Dense(n, model.activation) for n in widths), Dense(width, model.output)]
    place = (model.n_components,), seeds[0], dtype, device
    generator = _built(model.generator, "generator", layers, heads, *place, "noise")
    sizes = [math.prod(part) for part in generator.graph.output_shapes]
    if sizes != [width]:
        raise ValueError(
            f"generator must give {width} numbers, as many as a row of X has, from one head or none, got {sizes} of "
            f"shapes {generator.graph.output_shapes}"
        )
    layers, heads = _parts(model.ratio, "ratio")
    if layers is None:
        widths = check_hidden(model.ratio_hidden, model.activation, "ratio_hidden") if model.ratio is None else ()
        layers = [Flatten()] if len(shape) > 1 else []
        layers += [*(Dense(n, model.activation) for n in widths), Dense(1)]
    ratio = _built(model.ratio, "ratio", layers, heads, shape, seeds[1], dtype, device, "the rows of X")
    sizes = [math.prod(part) for part in ratio.graph.output_shapes]
    if sizes != [1]:
        raise ValueError(f"ratio must give one number for a row of X, from one head or none, got {sizes}")
    return generator, ratio


class ImplicitProblem:
    """Compiled objects for a generator and a ratio network, both built and the problem's own."""

    def __init__(self, generator: Sequential, ratio: Sequential, objective, loss):
        self.generator, self.ratio, self.objective, self.loss = generator, ratio, objective, loss
        self.dtype, self.device = generator.dtype, generator.device
        self.noise, self.width = math.prod(generator.input_shape), math.prod(ratio.input_shape)
        self._compiled: dict = {}

    @property
    def size(self) -> int:
        """Numbers in theta."""
        return self.generator.n_parameters + self.ratio.n_parameters

    def initial(self) -> np.ndarray:
        """The networks' parameters."""
        return np.concatenate([_backend.to_numpy(network.parameters) for network in (self.generator, self.ratio)])

    def parts(self, theta):
        """theta of the generator and of the ratio network."""
        count = self.generator.n_parameters
        return theta[:count], theta[count:]

    def copy(self, theta) -> ImplicitProblem:
        """A problem with networks of its own, which have these parameters."""
        networks = map(copied, (self.generator, self.ratio), map(self.placed, self.parts(theta)))
        return ImplicitProblem(*networks, self.objective, self.loss)

    def placed(self, array):
        """On the problem's device, in its dtype."""
        array = _backend.to_device(array, self.device)
        return _backend.namespace(array).ascontiguousarray(array, dtype=self.dtype)

    def bound(self, losses):
        """A lower bound, for given networks, of the divergence that the ratio's mean loss estimates."""
        return 0.5 * (math.log(4) - losses) if as_loss(self.loss)[0] == 0 else -losses

    def compiled(self, ratio_steps: int):
        """The compiled class for so many updates of the ratio network."""
        module = _backend.module_on(self.device, self.generator.parameters)
        if ratio_steps not in self._compiled:
            made = getattr(module, "Implicit32" if self.dtype == np.float32 else "Implicit64")
            kind, alpha, factor = as_objective(self.objective) or (POWER, 1.0, 1.0)
            loss, loss_alpha = as_loss(self.loss)
            networks = (self.generator, self.ratio)
            self._compiled[ratio_steps] = made(
                *(part for network in networks for part in (network.graph.numbers(), network.n_parameters)),
                loss=loss,
                loss_alpha=loss_alpha,
                objective=kind,
                alpha=alpha,
                factor=factor,
                ratio_steps=ratio_steps,
            )
        return self._compiled[ratio_steps]

    def sample(self, n: int, seed: int):
        """Rows (n, width) of the generator."""
        rows, parts = max(1, PIECE_NUMBERS // self.generator.graph.kept), []
        for first in range(0, n, rows):
            size = min(rows, n - first), self.noise
            where = {"rng": seed, "start": first * self.noise, "dtype": self.dtype, "device": self.device}
            parts.append(self.generate(random.normal(size=size, **where)))
        return _backend.namespace(*parts).concatenate(parts)

    def generate(self, z):
        """Rows (n, width) for noise (n, noise)."""
        return single(self.generator, self.generator(z.reshape(len(z), *self.generator.input_shape)))

    def log_ratio(self, x):
        """s (n,) of rows (n, width)."""
        return single(self.ratio, self.ratio(x.reshape(len(x), *self.ratio.input_shape)))[:, 0]

    def __getstate__(self) -> dict:
        return {**vars(self), "_compiled": {}}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self.device = self.generator.device


def single(network: Sequential, outputs):
    """The one output of a network, (n, numbers)."""
    y = outputs if network.heads is None else outputs[0]
    return y.reshape(len(y), -1)
