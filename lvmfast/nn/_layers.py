"""Layers as plain descriptions: what they are called with, and the shapes that follow. They hold no numbers."""

from __future__ import annotations

import dataclasses
import math
import numbers

from lvmfast._validation import check_choice, check_integer
from lvmfast.nn._initializers import INITIALIZERS

__all__ = ["ACTIVATIONS", "Conv2D", "Conv2DTranspose", "Dense", "Flatten", "Reshape"]

ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "softplus", "elu", "gelu")  # in the order of core/activation.hpp
PADDINGS = ("valid", "same")


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A layer with parameters as the compiled network sees it: csrc/device/layer_shape.hpp."""

    transposed: bool
    large: tuple[int, int, int]
    small: tuple[int, int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]


def _pair(value, name: str) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be an integer >= 1 or two of them, got {value!r}")
    return check_integer(pair[0], name, 1), check_integer(pair[1], name, 1)


class _Weighted:
    """What layers with parameters share: y = activation(x * kernel + bias)."""

    def _check_common(self) -> None:
        check_choice(self.activation, "activation", ACTIVATIONS)
        check_choice(self.initializer, "initializer", INITIALIZERS)

    def _set(self, name: str, value) -> None:
        object.__setattr__(self, name, value)  # in __post_init__: the class is frozen

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Without the batch; ValueError where the input does not fit."""
        raise NotImplementedError

    def kernel_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the weights without the bias, as Keras has them."""
        raise NotImplementedError

    def geometry(self, input_shape: tuple[int, ...]) -> Geometry:
        """What the compiled convolution is told of this layer."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Dense(_Weighted):
    """``y = activation(x W + b)``, ``x`` (n, in), ``W`` (in, units), ``b`` (units,).

    Parameters
    ----------
    units : int >= 1
    activation : str, default="linear"
        "linear", "relu", "tanh", "sigmoid", "softplus", "elu" (``exp(x) - 1`` below 0) or "gelu" (``x Phi(x)``).
    initializer : str, default="glorot_uniform"
        Of the kernel: "glorot_uniform", "glorot_normal", "he_uniform", "he_normal" or "zeros". Biases start at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import nn
    >>> net = nn.Sequential([nn.Dense(3, "relu")]).build(2, seed=0)
    >>> net(np.ones((5, 2), np.float32)).shape
    (5, 3)
    """

    units: int
    activation: str = "linear"
    initializer: str = dataclasses.field(default="glorot_uniform", kw_only=True)

    def __post_init__(self):
        self._set("units", check_integer(self.units, "units", 1))
        self._check_common()

    def output_shape(self, input_shape):
        if len(input_shape) != 1:
            raise ValueError(f"takes rows of numbers, shape (in,), got {input_shape}; put Flatten() before it")
        return (self.units,)

    def kernel_shape(self, input_shape):
        return (input_shape[0], self.units)

    def geometry(self, input_shape):
        return Geometry(False, (1, 1, input_shape[0]), (1, 1, self.units), (1, 1), (1, 1), (0, 0))


@dataclasses.dataclass(frozen=True)
class _Convolution(_Weighted):
    filters: int
    kernel_size: int | tuple[int, int]
    strides: int | tuple[int, int] = 1
    padding: str = "valid"
    activation: str = "linear"
    initializer: str = dataclasses.field(default="glorot_uniform", kw_only=True)

    def __post_init__(self):
        self._set("filters", check_integer(self.filters, "filters", 1))
        self._set("kernel_size", _pair(self.kernel_size, "kernel_size"))
        self._set("strides", _pair(self.strides, "strides"))
        check_choice(self.padding, "padding", PADDINGS)
        self._check_common()

    def _check_image(self, input_shape) -> None:
        if len(input_shape) != 3:
            raise ValueError(
                f"takes images of shape (rows, columns, channels), got {input_shape}; put Reshape((rows, columns, "
                "channels)) before it"
            )


@dataclasses.dataclass(frozen=True)
class Conv2D(_Convolution):
    """``y[i, j, f] = activation(sum_{u, v, c} x[i s + u - p, j s + v - p, c] kernel[u, v, c, f] + bias[f])``.

    Images are channels last, (n, rows, columns, channels); beyond their edges are zeros. Shapes and padding are
    those of Keras: "valid" gives ``ceil((rows - size + 1) / stride)`` rows, "same" ``ceil(rows / stride)``, of what is
    padded half before (rounded down) and half after.

    Parameters
    ----------
    filters : int >= 1
        Channels of the result.
    kernel_size, strides : int or pair of int
        By rows and columns; strides are 1 unless given.
    padding : "valid" or "same", default="valid"
    activation, initializer : str
        As in :class:`Dense`. The kernel is (*kernel_size, channels, filters).

    Examples
    --------
    >>> from lvmfast import nn
    >>> nn.Sequential([nn.Conv2D(4, 3, strides=2, padding="same")]).build((8, 8, 1), seed=0).output_shape
    (4, 4, 4)
    """

    def output_shape(self, input_shape):
        self._check_image(input_shape)
        if self.padding == "same":
            extents = (-(-n // s) for n, s in zip(input_shape, self.strides, strict=False))
        else:
            if any(n < k for n, k in zip(input_shape, self.kernel_size, strict=False)):
                raise ValueError(
                    f"has a kernel of {self.kernel_size} that is larger than the image, got {input_shape}; use "
                    "padding='same' or a smaller kernel_size"
                )
            extents = ((n - k) // s + 1 for n, k, s in zip(input_shape, self.kernel_size, self.strides, strict=False))
        return (*extents, self.filters)

    def kernel_shape(self, input_shape):
        return (*self.kernel_size, input_shape[2], self.filters)

    def geometry(self, input_shape):
        small = self.output_shape(input_shape)
        before = (0, 0)
        if self.padding == "same":
            axes = zip(input_shape[:2], small[:2], self.kernel_size, self.strides, strict=True)
            before = tuple(max((out - 1) * s + k - n, 0) // 2 for n, out, k, s in axes)
        return Geometry(False, tuple(input_shape), small, self.kernel_size, self.strides, before)


@dataclasses.dataclass(frozen=True)
class Conv2DTranspose(_Convolution):
    """The adjoint of :class:`Conv2D`, with bias and activation: ``y = activation(K^T x + bias)``.

    ``K`` takes the result's shape to the input's with the kernel (*kernel_size, filters, channels), which is Keras's
    layout. "same" gives ``rows * stride`` rows, "valid" ``rows * stride + max(size - stride, 0)``.

    Parameters
    ----------
    filters, kernel_size, strides, padding, activation, initializer
        As in :class:`Conv2D`.

    Examples
    --------
    >>> from lvmfast import nn
    >>> nn.Sequential([nn.Conv2DTranspose(1, 3, strides=2, padding="same")]).build((4, 4, 2), seed=0).output_shape
    (8, 8, 1)
    """

    def output_shape(self, input_shape):
        self._check_image(input_shape)
        axes = zip(input_shape, self.kernel_size, self.strides, strict=False)
        wider = self.padding == "valid"
        return (*(n * s + (max(k - s, 0) if wider else 0) for n, k, s in axes), self.filters)

    def kernel_shape(self, input_shape):
        return (*self.kernel_size, self.filters, input_shape[2])

    def geometry(self, input_shape):
        large = self.output_shape(input_shape)
        before = (0, 0)
        if self.padding == "same":
            before = tuple(max(k - s, 0) // 2 for k, s in zip(self.kernel_size, self.strides, strict=True))
        return Geometry(True, large, tuple(input_shape), self.kernel_size, self.strides, before)


@dataclasses.dataclass(frozen=True)
class Flatten:
    """``(n, ...) -> (n, product)``, in C order: of an image the channels vary fastest.

    Examples
    --------
    >>> from lvmfast import nn
    >>> nn.Sequential([nn.Flatten(), nn.Dense(3)]).build((4, 4, 2), seed=0).n_parameters
    99
    """

    def output_shape(self, input_shape):
        """Without the batch."""
        return (math.prod(input_shape),)


@dataclasses.dataclass(frozen=True)
class Reshape:
    """``(n, ...) -> (n, *shape)``, in C order.

    Parameters
    ----------
    shape : int or tuple of int >= 1
        Without the batch.

    Examples
    --------
    >>> from lvmfast import nn
    >>> nn.Sequential([nn.Dense(32), nn.Reshape((4, 4, 2))]).build(2, seed=0).output_shape
    (4, 4, 2)
    """

    shape: int | tuple[int, ...]

    def __post_init__(self):
        extents = (self.shape,) if isinstance(self.shape, numbers.Integral) else tuple(self.shape)
        object.__setattr__(self, "shape", tuple(check_integer(n, "shape", 1) for n in extents))

    def output_shape(self, input_shape):
        """Without the batch; ValueError where the numbers are not as many."""
        given, wanted = math.prod(input_shape), math.prod(self.shape)
        if given != wanted:
            raise ValueError(
                f"has {wanted} numbers, got {given} of shape {input_shape}; change its shape or the layer before it"
            )
        return self.shape
