"""The layers of a network with the shapes and the places that follow from its input."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from lvmfast.nn._layers import ACTIVATIONS, Flatten, Reshape, _Weighted

__all__ = ["Graph", "check_layers"]


def check_layers(layers, name: str) -> list:
    """``layers`` as a list; TypeError where one is no layer."""
    if isinstance(layers, (str, Mapping)) or not hasattr(layers, "__iter__"):
        raise TypeError(f"{name} must be a sequence of layers, got {layers!r}")
    chain = list(layers)
    for i, layer in enumerate(chain):
        if not isinstance(layer, (_Weighted, Flatten, Reshape)):
            raise TypeError(f"{name}[{i}] must be a layer of lvmfast.nn, such as Dense(10), got {layer!r}")
    return chain


@dataclasses.dataclass(frozen=True)
class Entry:
    """A layer in its place. ``source``: the layer with parameters whose output it takes, -1 for the network's input."""

    name: str
    layer: object
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    source: int
    kernel: slice
    bias: slice

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Keras's."""
        return self.layer.kernel_shape(self.input_shape)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """One number per channel."""
        return self.output_shape[-1:]

    @property
    def n_parameters(self) -> int:
        """Kernel and bias."""
        return self.bias.stop - self.kernel.start

    def numbers(self) -> list[int]:
        """The members of LayerShape, in order."""
        g = self.layer.geometry(self.input_shape)
        kind = ACTIVATIONS.index(self.layer.activation)
        places = [self.kernel.start, self.bias.start]
        return [self.source, int(g.transposed), kind, *places, *g.large, *g.small, *g.kernel, *g.strides, *g.before]


class Graph:
    """What :class:`Sequential` knows once it has an input shape.

    Attributes
    ----------
    entries : list of Entry
        All layers, the trunk before the heads.
    weighted : list of Entry
        Those with parameters.
    output_shapes : tuple of tuple of int
    n_parameters : int
    kept : int
        Numbers per row that a pass keeps.
    """

    def __init__(self, network, input_shape: tuple[int, ...]):
        self.input_shape = input_shape
        self.entries: list[Entry] = []
        self.weighted: list[Entry] = []
        self.n_parameters = 0
        shape, source = self._chain("layers", network.layers, input_shape, -1)
        if network.heads is None:
            self._check_chain("layers", source, -1)
            shapes = [shape]
        else:
            heads = network.heads
            names = heads if isinstance(heads, dict) else range(len(heads))
            shapes = []
            for name in names:
                end, last = self._chain(f"heads.{name}", heads[name], shape, source)
                self._check_chain(f"heads.{name}", last, source)
                shapes.append(end)
        self.output_shapes = tuple(shapes)
        self.kept = sum(math.prod(entry.output_shape) for entry in self.weighted)

    def numbers(self) -> np.ndarray:
        """(weighted layers, 17), as the compiled network takes them."""
        return np.array([entry.numbers() for entry in self.weighted], dtype=np.int64)

    def _chain(self, prefix, layers, shape, source):
        for i, layer in enumerate(layers):
            name = f"{prefix}.{i}"
            try:
                output = tuple(layer.output_shape(shape))
            except ValueError as error:
                raise ValueError(f"{name} {layer!r} {error}") from None
            size = math.prod(layer.kernel_shape(shape)) if isinstance(layer, _Weighted) else 0
            kernel = slice(self.n_parameters, self.n_parameters + size)
            bias = slice(kernel.stop, kernel.stop + (output[-1] if size else 0))
            self.entries.append(Entry(name, layer, shape, output, source, kernel, bias))
            self.n_parameters = bias.stop
            if size:
                self.weighted.append(self.entries[-1])
                source = len(self.weighted) - 1
            shape = output
        return shape, source

    @staticmethod
    def _check_chain(name, last, before) -> None:
        if last == before:
            raise ValueError(f"{name} must have a layer with parameters, such as Dense(10), got none")
