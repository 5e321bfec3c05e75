"""Networks: a chain of layers, and heads that branch off its end."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_integer
from lvmfast.nn import _files
from lvmfast.nn._graph import Graph, check_layers
from lvmfast.nn._initializers import initial_kernel
from lvmfast.random import seed_of

__all__ = ["Sequential"]

KEPT = 1 << 24  # numbers of layers' values that one pass of __call__ keeps


class Sequential:
    r"""``y_l = activation_l(y_{l-1} * W_l + b_l)``, one layer after the other, and the exact pull-back of cotangents.

    Parameters
    ----------
    layers : sequence of layers
        The trunk: :class:`Dense`, :class:`Conv2D`, :class:`Conv2DTranspose`, :class:`Flatten`, :class:`Reshape`.
    heads : sequence of sequences of layers, or dict of them by name, optional
        Chains that start where the trunk ends. The network then has one output for each, in this order.

    Attributes
    ----------
    parameters : ndarray of shape (p,)
        All parameters, in the network's dtype and on its device: kernel and bias, layer after layer, the trunk
        before the heads. Optimizers overwrite it.
    input_shape : tuple of int
        Without the batch.
    output_shape : tuple of int, or tuple of such tuples with heads
    n_parameters : int
    dtype, device
        As they were given to :meth:`build`.

    Notes
    -----
    A network works in its dtype whatever that of its inputs. One object serves one pass at a time; threads should have
    a copy each (``copy.deepcopy``).

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> nn = lvm.nn
    >>> net = nn.Sequential([nn.Dense(16, "relu")], heads=[[nn.Dense(2)], [nn.Dense(2)]])
    >>> net = net.build((8,), seed=0)
    >>> (mean, log_var), vjp = net.forward_and_vjp(np.ones((5, 8), np.float32))
    >>> mean.shape, vjp([mean, log_var]).shape == net.parameters.shape
    ((5, 2), True)
    """

    def __init__(self, layers, *, heads=None):
        self.layers = check_layers(layers, "layers")
        if heads is None:
            self.heads = None
        elif isinstance(heads, Mapping):
            self.heads = {str(name): check_layers(chain, f"heads[{name!r}]") for name, chain in heads.items()}
        else:
            self.heads = [check_layers(chain, f"heads[{i}]") for i, chain in enumerate(heads)]
        if heads is not None and not self.heads:
            raise ValueError("heads must be one chain of layers or more, or None, got an empty one")
        self._graph = self._parameters = self._compiled = None
        self.dtype, self.device = np.dtype(np.float32), "cpu"

    def build(self, input_shape, dtype=np.float32, seed=None, device="cpu") -> Sequential:
        """Give the layers their shapes and their first parameters.

        Parameters
        ----------
        input_shape : int or tuple of int
            Without the batch.
        dtype : float32 or float64, default=float32
        seed : None, int or numpy random generator
            The same int gives the same parameters on every device; those in float32 are rounded from those in float64.
        device : "cpu" or "cuda", default="cpu"

        Returns
        -------
        Sequential
            This one.

        Raises
        ------
        ValueError
            If a layer does not take what comes before it; the error names the layer.
        DeviceError
            If the device cannot be used.
        """
        shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else (input_shape,)
        graph = Graph(self, tuple(check_integer(n, "input_shape", 1) for n in shape))
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        if device not in ("cpu", "cuda"):
            raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
        _backend.check_device(device)
        seed = seed_of(seed)
        parameters = np.zeros(graph.n_parameters, dtype)
        for entry in graph.weighted:
            kernel = initial_kernel(entry.layer.initializer, entry.kernel_shape, seed, entry.kernel.start)
            parameters[entry.kernel] = kernel.ravel()
        self._graph, self.dtype, self.device, self._compiled = graph, np.dtype(dtype), device, None
        self._parameters = _backend.to_device(parameters, device)
        return self

    @property
    def graph(self) -> Graph:
        """The layers with their shapes and places; raises before :meth:`build`."""
        if self._graph is None:
            raise ValueError("this network has no shapes yet; call build(input_shape) first")
        return self._graph

    @property
    def parameters(self):
        """All of them, (p,); assigning copies the numbers into it."""
        self.graph  # noqa: B018
        return self._parameters

    @parameters.setter
    def parameters(self, values) -> None:
        array = as_float_array(values, "parameters")
        if array.shape != self.parameters.shape:
            raise ValueError(f"parameters must have shape {self.parameters.shape}, got {array.shape}")
        self._parameters[...] = _backend.like(array, self._parameters).astype(self.dtype)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Without the batch."""
        return self.graph.input_shape

    @property
    def output_shape(self):
        """Without the batch; a tuple of shapes where there are heads."""
        shapes = self.graph.output_shapes
        return shapes[0] if self.heads is None else shapes

    @property
    def n_parameters(self) -> int:
        """Numbers that can be learned."""
        return self.graph.n_parameters

    def __call__(self, x):
        """The outputs for ``x``.

        Parameters
        ----------
        x : ndarray of shape (n, *input_shape)
            On the network's device; another dtype is converted.

        Returns
        -------
        ndarray of shape (n, *output_shape), or tuple of them with heads

        Raises
        ------
        ValueError
            If the shape is not that of the network's inputs.
        """
        x = self._rows(x)
        at_once = max(1, KEPT // self.graph.kept)
        parts = [self._forward(x[i : i + at_once])[0] for i in range(0, max(len(x), 1), at_once)]
        if len(parts) == 1:
            return self._shaped(parts[0])
        return self._shaped([_backend.namespace(x).concatenate(part) for part in zip(*parts, strict=True)])

    def forward_and_vjp(self, x):
        """The outputs for ``x``, and the function that pulls cotangents back to parameters and input.

        Parameters
        ----------
        x : ndarray of shape (n, *input_shape), n >= 1
            Must not change before ``vjp`` is called; nor may :attr:`parameters`.

        Returns
        -------
        outputs : ndarray or tuple of ndarray
            As :meth:`__call__` returns them.
        vjp : callable
            ``vjp(cotangents, input_gradient=False)``: cotangents as the outputs are; the gradient (p,) of
            ``sum(cotangents * outputs)``, or ``(gradient, d_x)`` with ``input_gradient``. To be called before the next
            pass through this network, as often as is wanted; later it raises RuntimeError.

        Raises
        ------
        ValueError
            If the shape is not that of the network's inputs, or there is no row.
        """
        x = self._rows(x)
        if len(x) == 0:
            raise ValueError(f"x must have one row or more to be pulled back to, got shape {(0, *self.input_shape)}")
        outputs, number = self._forward(x)
        compiled, parameters = self._compiled, self._parameters

        def vjp(cotangents, input_gradient=False):
            rows = self._cotangents(cotangents, len(x))
            _backend.module_on(self.device, *rows)
            answer = compiled.backward(parameters, rows, number, bool(input_gradient))
            if answer is None:
                raise RuntimeError(
                    "the values of this pass are gone: call vjp before the network's next pass, or work with a copy of "
                    "the network"
                )
            gradient, d_x = answer
            return (gradient, d_x.reshape(len(x), *self.input_shape)) if input_gradient else gradient

        return self._shaped(outputs), vjp

    def get_weights(self) -> list:
        """Copies of the kernels and biases, in Keras's order and layout: see :meth:`set_weights`."""
        arrays = (part for entry in self.graph.weighted for part in self._views(entry))
        return [part.copy() for part in arrays]

    def set_weights(self, weights) -> Sequential:
        """Take kernels and biases from elsewhere: ``[kernel, bias, kernel, bias, ...]``, the trunk before the heads.

        ============================ =============================== ============================================
        layer                        kernel, as Keras has it         from PyTorch's weight
        ============================ =============================== ============================================
        ``Dense``                    (in, units)                     ``Linear``: ``w.T``
        ``Conv2D``                   (rows, cols, channels, filters) ``Conv2d``: ``w.transpose(2, 3, 1, 0)``
        ``Conv2DTranspose``          (rows, cols, filters, channels) ``ConvTranspose2d``: ``w.transpose(2, 3, 1, 0)``
        ============================ =============================== ============================================

        PyTorch's images have their channels first: where a flattened image enters or leaves a dense layer, that side of
        its kernel must be put in the order (rows, columns, channels) too.

        Parameters
        ----------
        weights : sequence of array_like
            As many as ``get_weights()`` returns, of the same shapes.

        Raises
        ------
        ValueError
            If their number or a shape differs; nothing is changed then.
        """
        names = [f"{entry.name}.{part}" for entry in self.graph.weighted for part in ("kernel", "bias")]
        shapes = [shape for entry in self.graph.weighted for shape in (entry.kernel_shape, entry.bias_shape)]
        arrays = [_backend.to_numpy(part) for part in weights]
        if len(arrays) != len(names):
            raise ValueError(
                f"weights must be {len(names)} arrays, a kernel and a bias for each layer, got {len(arrays)}"
            )
        for name, shape, array in zip(names, shapes, arrays, strict=True):
            if np.shape(array) != shape:
                raise ValueError(
                    f"the {name} must have shape {shape}, got {np.shape(array)}; set_weights has a table of layouts"
                )
        self.parameters = np.concatenate([np.asarray(array, dtype=np.float64).ravel() for array in arrays])
        return self

    def summary(self) -> str:
        """A table of the layers: names, output shapes, activations and numbers of parameters."""
        rows = [("layer", "output shape", "activation", "parameters")]
        for entry in self.graph.entries:
            shape = f"(n, {', '.join(map(str, entry.output_shape))})"
            count = f"{entry.n_parameters:,}" if entry.n_parameters else "0"
            name = f"{entry.name} {type(entry.layer).__name__}"
            rows.append((name, shape, getattr(entry.layer, "activation", ""), count))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join([*lines, f"parameters: {self.n_parameters:,}"])

    def save(self, path) -> None:
        """Write layers and parameters to a file: safetensors where the name ends so, else ``.npz``.

        Both hold one array for every kernel and bias, "layers.0.kernel", "heads.mean.1.bias" and so on, in the layout
        of :meth:`set_weights`, and the description of the layers as JSON ("header" in an ``.npz``; the metadata
        "lvmfast" of a safetensors file).
        """
        _files.save(self, os.fspath(path))

    @classmethod
    def load(cls, path, device="cpu") -> Sequential:
        """The network of a file that :meth:`save` wrote.

        Raises
        ------
        ValueError
            If it is not one.
        """
        return _files.load(cls, os.fspath(path), device)

    def _rows(self, x):
        self.graph  # noqa: B018
        x = as_float_array(x, "x")
        if x.shape[1:] != self.input_shape or x.ndim == 0:
            remedy = "reshape it" if math.prod(x.shape[1:]) == math.prod(self.input_shape) else "build() with its shape"
            raise ValueError(f"x must have shape (n, {', '.join(map(str, self.input_shape))}), got {x.shape}; {remedy}")
        _backend.module_for(x=x, parameters=self._parameters)
        rows = _backend.namespace(x).ascontiguousarray(x, dtype=self.dtype)
        return rows.reshape(len(x), math.prod(self.input_shape))

    def _forward(self, rows):
        module = _backend.module_on(self.device, rows)
        if self._compiled is None:
            kind = "Network32" if self.dtype == np.float32 else "Network64"
            self._compiled = getattr(module, kind)(self.graph.numbers(), self.n_parameters)
        return self._compiled.forward(self._parameters, rows)

    def _cotangents(self, cotangents, n: int) -> list:
        single = self.heads is None
        given = (cotangents,) if single else tuple(cotangents)
        shapes = self.graph.output_shapes
        if len(given) != len(shapes):
            raise ValueError(f"cotangents must be {len(shapes)} arrays, one for each head, got {len(given)}")
        rows = []
        for i, (array, shape) in enumerate(zip(given, shapes, strict=True)):
            name = "cotangents" if single else f"cotangents[{i}]"
            array = as_float_array(array, name)
            if array.shape != (n, *shape):
                raise ValueError(f"{name} must have the output's shape {(n, *shape)}, got {array.shape}")
            _backend.module_for(cotangents=array, parameters=self._parameters)
            xp = _backend.namespace(array)
            rows.append(xp.ascontiguousarray(array, dtype=self.dtype).reshape(n, math.prod(shape)))
        return rows

    def _shaped(self, outputs):
        shapes = self.graph.output_shapes
        arrays = tuple(y.reshape(len(y), *shape) for y, shape in zip(outputs, shapes, strict=True))
        return arrays[0] if self.heads is None else arrays

    def _views(self, entry):
        kernel, bias = self._parameters[entry.kernel], self._parameters[entry.bias]
        return kernel.reshape(entry.kernel_shape), bias.reshape(entry.bias_shape)

    def __getstate__(self) -> dict:
        return {**vars(self), "_compiled": None, "_parameters": _backend.to_numpy(self._parameters)}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self.device = _backend.usable_device(self.device)
        if self._parameters is not None:
            self._parameters = _backend.to_device(self._parameters, self.device)

    def __repr__(self) -> str:
        heads = "" if self.heads is None else f", heads={self.heads!r}"
        return f"Sequential({self.layers!r}{heads})"
