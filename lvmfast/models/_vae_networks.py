"""The encoder and the decoder of an autoencoder, from names, widths, layers or networks."""

from __future__ import annotations

import math

import numpy as np

from lvmfast import _backend
from lvmfast._validation import check_choice, check_integer
from lvmfast.bijectors import Chain, Permute
from lvmfast.bijectors._bijector import Bijector
from lvmfast.bijectors._flows_base import Learnable, built_leaves, leaves_of, width_of
from lvmfast.nn import Dense, Flatten, Sequential
from lvmfast.nn._graph import Graph, check_layers
from lvmfast.nn._layers import ACTIVATIONS, _Weighted

__all__ = ["build_networks", "check_hidden", "check_network", "first_flow", "flow_leaves", "posterior_kind"]

GAUSSIAN_HEADS = ("mean", "log_var")
POSTERIOR_NAMES = ("gaussian", "implicit")


def check_hidden(hidden, activation, name="hidden") -> tuple[int, ...]:
    """Widths of hidden layers, as a tuple."""
    check_choice(activation, "activation", ACTIVATIONS)
    widths = hidden if isinstance(hidden, (tuple, list)) else np.atleast_1d(hidden).tolist()
    return tuple(check_integer(width, name, 1) for width in widths)


def check_network(given, name: str) -> None:
    """Raise unless it is None, "linear", a sequence of layers or a network."""
    if given is None or isinstance(given, Sequential) or (isinstance(given, str) and given == "linear"):
        return
    if not isinstance(given, (list, tuple)):
        error = ValueError if isinstance(given, str) else TypeError
        raise error(f"{name} must be None, 'linear', a list of layers or an lvmfast.nn.Sequential, got {given!r}")
    check_layers(given, name)


def build_networks(model, shape: tuple[int, ...], width: int, seeds, dtype, device: str):
    """Copies of what the estimator was given, built.

    Parameters
    ----------
    model : VAE
        For its arguments; they were checked.
    shape : tuple of int
        Of a row.
    width : int
        Numbers that the decoder gives for a row: the features, times their classes.
    seeds : sequence of int
        For the first parameters of either, and of the posterior's networks.

    Returns
    -------
    encoder, decoder : Sequential
    own : tuple of Sequential
        Of the posterior: with ``posterior="implicit"`` the ratio network, of rows [x, z].

    Raises
    ------
    ValueError
        If one of them does not fit the data or the other.
    """
    hidden = check_hidden(model.hidden, model.activation)
    discrete = model.latent == "categorical"
    codes = model.n_components * (model.n_categories if discrete else 1)
    implicit = posterior_kind(model.posterior) == "implicit"
    if implicit:
        shape = (width + noise_size(model),)
    layers, heads = _parts(model.encoder, "encoder")
    if layers is None:
        layers = [Flatten()] if len(shape) > 1 else []
        layers += [Dense(n, model.activation) for n in (hidden if model.encoder is None else ())]
    if heads is None:
        heads = {name: [Dense(codes)] for name in (("logits",) if discrete else ("z",) if implicit else GAUSSIAN_HEADS)}
    encoder = _built(
        model.encoder, "encoder", layers, heads, shape, seeds[0], dtype, device, "rows [x, eps]" if implicit else None
    )
    got = tuple(math.prod(s) for s in encoder.graph.output_shapes)
    wanted = (codes,) if discrete or implicit else (codes, codes)
    if got != wanted:
        what = "two heads, mean and log variance,"
        if discrete or implicit:
            what = f"one head of {'logits' if discrete else 'latents'}"
        raise ValueError(
            f"encoder must have {what} of n_components{' * n_categories' if discrete else ''} = {codes} numbers each, "
            f"got {len(got)} of {got}; change n_components, or leave the heads out to have them added"
        )
    if not discrete and not implicit:
        _check_names("encoder", heads)

    named = model.likelihood == "gaussian" and isinstance(model.variance, str)
    two = named and model.variance in ("batch", "row", "sample")
    layers, heads = _parts(model.decoder, "decoder")
    if layers is None:
        layers = [Dense(n, model.activation) for n in (hidden[::-1] if model.decoder is None else ())] + [Dense(width)]
    if two and heads is None:
        layers, heads = _split(layers)
    decoder = _built(model.decoder, "decoder", layers, heads, (codes,), seeds[1], dtype, device)
    _check_decoder(model, decoder, heads, width, two)
    return encoder, decoder, (_ratio(model, width + codes, seeds[2], dtype, device),) if implicit else ()


def posterior_kind(posterior) -> str:
    """The name of a posterior; "flow" where bijectors are given.

    Raises
    ------
    ValueError, TypeError
        Unless it is a name, or bijectors that are learned and take one pass from the normal codes.
    """
    if isinstance(posterior, str):
        check_choice(posterior, "posterior", POSTERIOR_NAMES)
        return posterior
    if not isinstance(posterior, (Bijector, list, tuple)):
        raise TypeError(f"posterior must be 'gaussian', 'implicit' or a list of bijectors, got {posterior!r}")
    leaves = flow_leaves(posterior)
    if not any(isinstance(bijector, Learnable) for bijector, _ in leaves):
        raise ValueError(f"posterior must hold a learnable bijector, such as RealNVP(n_components), got {posterior!r}")
    for bijector, inverse in leaves:
        if isinstance(bijector, Permute):
            continue
        if not isinstance(bijector, Learnable):
            raise ValueError(
                f"posterior must hold learnable bijectors and permutations alone, whose codes lie where those of the "
                f"prior do, got {bijector!r}"
            )
        if not bijector.one_pass(inverse):
            name = type(bijector).__name__
            got, remedy = f"{name}(...)", f"Invert({name}(...))"
            got, remedy = (remedy, got) if inverse else (got, remedy)
            raise ValueError(
                f"posterior must take one pass from the normal codes, got {got}, which goes step by step; use {remedy}"
            )
    return "flow"


def flow_leaves(posterior) -> list:
    """The bijectors of a posterior, (bijector, inverse), in the order in which normal codes meet them."""
    try:
        return leaves_of(Chain(posterior if isinstance(posterior, (list, tuple)) else [posterior]))
    except TypeError as error:
        raise TypeError(f"posterior: {error}") from None


def first_flow(model, seed: int, dtype) -> list:
    """Copies of a posterior's bijectors, with first parameters where they have none."""
    if posterior_kind(model.posterior) != "flow":
        return []
    leaves = flow_leaves(model.posterior)
    for bijector, _ in leaves:
        if width_of(bijector) != model.n_components:
            raise ValueError(
                f"posterior must hold bijectors of n_components={model.n_components} numbers, got {bijector!r}"
            )
    return built_leaves(leaves, seed, dtype)


def noise_size(model) -> int:
    """Numbers of noise that the encoder of an implicit posterior takes."""
    return 2 * model.n_components if model.noise_size is None else int(model.noise_size)


def _ratio(model, size: int, seed: int, dtype, device: str) -> Sequential:
    """The network of rows [x, z] that gives ``log q(z | x) - log p(z)``."""
    layers, heads = _parts(model.ratio, "ratio")
    if layers is None:
        widths = check_hidden(model.ratio_hidden, model.activation, "ratio_hidden") if model.ratio is None else ()
        layers = [*(Dense(n, model.activation) for n in widths), Dense(1)]
    ratio = _built(model.ratio, "ratio", layers, heads, (size,), seed, dtype, device, "rows [x, z]")
    got = tuple(math.prod(shape) for shape in ratio.graph.output_shapes)
    if got != (1,):
        raise ValueError(f"ratio must give one number for a row [x, z], got {len(got)} heads of {got} numbers")
    return ratio


def _parts(given, name: str):
    """Layers (None where they follow from widths) and heads."""
    if isinstance(given, Sequential):
        return list(given.layers), given.heads
    return (None if given is None or isinstance(given, str) else check_layers(given, name)), None


def _split(layers):
    """The trunk, and two heads: the last layer with parameters with what follows it, and another like it."""
    last = max((i for i, layer in enumerate(layers) if isinstance(layer, _Weighted)), default=0)
    return layers[:last], {name: layers[last:] for name in GAUSSIAN_HEADS}


def _built(given, name, layers, heads, shape, seed, dtype, device, takes=None) -> Sequential:
    """A new network, with the parameters of the given one where that has some, which are the first ones."""
    old = given if isinstance(given, Sequential) and given._graph is not None else None
    if old is not None:
        if math.prod(old.input_shape) != math.prod(shape):
            takes = takes or ("the rows of X" if name == "encoder" else "latents")
            raise ValueError(
                f"{name} must take {takes} of shape {shape}, {math.prod(shape)} numbers, got a network built for "
                f"{old.input_shape}"
            )
        shape = old.input_shape
    try:
        network = Sequential(layers, heads=heads).build(shape, dtype, seed, device)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if old is not None:
        count = old.n_parameters
        parameters = _backend.to_numpy(network.parameters).copy()
        parameters[:count] = _backend.to_numpy(old.parameters)
        if not np.isfinite(parameters).all():
            raise ValueError(f"{name} must have finite parameters, got NaN or infinite ones")
        network.parameters = _backend.to_device(parameters, device)
    return network


def _check_names(name: str, heads) -> None:
    """Raise where heads have names other than theirs, so that none takes the other's place."""
    if isinstance(heads, dict) and tuple(heads) != GAUSSIAN_HEADS:
        raise ValueError(
            f"{name} must have the heads (mean, log_var) in this order, got {list(heads)}; rename them, or give "
            "a list of heads"
        )


def _check_decoder(model, decoder, heads, width: int, two: bool) -> None:
    """Raise unless its outputs are what the likelihood takes."""
    graph: Graph = decoder.graph
    got = tuple(math.prod(s) for s in graph.output_shapes)
    if len(got) != 1 + two:
        rule, remedy = "one head, or none,", "remove the others"
        if two:
            rule = f"the two heads (mean, log_var) with variance={model.variance!r},"
            remedy = "leave heads out to have them added"
        elif len(got) == 2 and model.likelihood == "gaussian":
            remedy = "use variance='batch', 'row' or 'sample' for a second one"
        raise ValueError(f"decoder must have {rule} got {len(got)} heads; {remedy}")
    if two:
        _check_names("decoder", heads)
    for size in got:
        if size != width:
            classes = f" times n_classes={model.n_classes}" if model.likelihood == "categorical" else ""
            raise ValueError(
                f"decoder must give {width} numbers, as many as X has features{classes}, got {size} of shape "
                f"{graph.output_shapes[got.index(size)]}"
            )
    if model.likelihood != "gaussian":
        chain = next(iter(heads.values())) if isinstance(heads, dict) else heads[0] if heads else decoder.layers
        last = [layer for layer in chain if isinstance(layer, _Weighted)][-1]  # every chain has one: Graph checks
        if last.activation != "linear":
            raise ValueError(
                f"decoder must end in the activation 'linear' for likelihood={model.likelihood!r}, which is computed "
                f"from logits, got {last.activation!r} in {last!r}"
            )
