"""What learnable flows share: steps of the compiled flow, one vector of parameters, and pull-backs to it."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array
from lvmfast.bijectors._bijector import Bijector
from lvmfast.bijectors._combined import Chain, Invert
from lvmfast.bijectors._elementwise import Identity
from lvmfast.bijectors._vector import Permute
from lvmfast.nn._initializers import initial_kernel
from lvmfast.random import normal, seed_of

COUPLING, AUTOREGRESSIVE, PLANAR, AFFINE, PERMUTATION = range(5)  # in the order of the compiled class

__all__ = ["Learnable", "Step", "built_leaves", "compiled_flow", "flow_steps", "leaves_of", "own_leaves", "width_of"]


@dataclasses.dataclass(frozen=True)
class Step:
    """One layer of a flow in the order of ``forward``: csrc/algo/flow.hpp's FlowStep.

    Attributes
    ----------
    kind, size : int
        Of the layer; numbers of its parameters.
    columns, split : tuple of int, int
        A coupling's columns, the first ``split`` of which stay; the order of an autoregressive layer.
    bound : float
        Of log scales.
    graph : lvmfast.nn._graph.Graph or None
        Of its network, with shapes and places.
    masks : dict
        By the place of a kernel, 0 and 1 of its shape.
    """

    kind: int
    size: int
    columns: tuple = ()
    split: int = 0
    bound: float = 1.0
    graph: object = None
    masks: dict = dataclasses.field(default_factory=dict)

    @property
    def one_pass(self) -> tuple[bool, bool]:
        """Whether forward, and inverse, take one pass."""
        return self.kind != AUTOREGRESSIVE, self.kind != PLANAR

    def numbers(self, inverse: bool, offset: int) -> tuple:
        """What the compiled class takes; ``inverse``: of that direction."""
        layers = None if self.graph is None else self.graph.numbers()
        columns = np.array(self.columns, np.int64)
        return self.kind, inverse, offset, self.size, self.bound, columns, self.split, layers

    def mask(self) -> np.ndarray:
        """1 for parameters that are learned, 0 for those that are held at 0."""
        mask = np.ones(self.size, np.uint8)
        for start, own in self.masks.items():
            mask[start : start + own.size] = own.ravel()
        return mask

    def initial(self, seed: int) -> np.ndarray:
        """First parameters, with which the layer changes nothing."""
        values = np.zeros(self.size)
        if self.kind == PLANAR:  # w of length 1 about, u' = 0
            d = (self.size - 1) // 2
            w = normal(0.0, 1 / math.sqrt(d), d, rng=seed)
            values[d : 2 * d], values[:d] = w, math.log(math.e - 1) * w / (w @ w)
        elif self.graph is not None:
            for entry in self.graph.weighted:
                kernel = initial_kernel(entry.layer.initializer, entry.kernel_shape, seed, entry.kernel.start)
                values[entry.kernel] = kernel.ravel()
        return values * self.mask()


class Learnable(Bijector):
    """A bijector of rows of ``n_features`` numbers with one vector of parameters.

    A subclass gives its steps, in the order of ``forward``, and defines ``_options``.

    Attributes
    ----------
    n_features, n_parameters : int

    Notes
    -----
    Calls work on tiles of rows, about 4 MB of numbers at a time (256 MB on a GPU) or 64 rows, and sum gradients of the
    tiles: besides the results and copies of the arguments, memory does not grow with the rows. A copy has
    :attr:`parameters` of its own.
    """

    event_ndims = 1

    def __init__(self, n_features: int, steps):
        self.n_features, self._layers = n_features, list(steps)
        self._parameters, self._compiled = None, {}

    def build(self, rng=None, dtype=np.float64) -> Learnable:
        """Give the bijector first parameters, with which it is the identity.

        Parameters
        ----------
        rng : None, int or numpy random generator
            For the networks' first layers, or a planar layer's direction.
        dtype : float32 or float64, default=float64
            Of the parameters. Work is done in the dtype of x.

        Returns
        -------
        This one.
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        seeds = np.random.SeedSequence(seed_of(rng)).generate_state(max(1, len(self._layers)), np.uint64)
        parts = [step.initial(int(seed)) for step, seed in zip(self._layers, seeds, strict=False)]
        self._parameters = np.concatenate([np.empty(0), *parts]).astype(dtype)
        return self

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned, and those that are held at 0."""
        return sum(step.size for step in self._layers)

    @property
    def parameters(self):
        """All of them, (p,); None before :meth:`build`. Assigning copies, and puts 0 where weights are masked."""
        return self._parameters

    @parameters.setter
    def parameters(self, values) -> None:
        array = as_float_array(values, "parameters")
        if array.shape != (self.n_parameters,):
            raise ValueError(f"parameters must have shape ({self.n_parameters},), got {array.shape}")
        array = np.array(_backend.to_numpy(array))
        if not np.isfinite(array).all():
            raise ValueError("parameters must be finite, got NaN or infinite ones")
        array[self._mask() == 0] = 0
        self._parameters = array

    def forward_vjp(self, x, y_bar, log_det_bar=0, *, parameters=False):
        """Cotangent of ``x`` under :meth:`forward_and_log_det`, and with ``parameters`` also that of the parameters.

        Parameters
        ----------
        x : array of shape (..., n_features)
        y_bar : array that broadcasts to the shape of x
        log_det_bar : array that broadcasts to the batch of x, default=0
        parameters : bool, default=False

        Returns
        -------
        x_bar : array of shape (..., n_features)
        gradient : array of shape (n_parameters,)
            Only with ``parameters``.

        Raises
        ------
        NotImplementedError
            In the direction that takes more than one pass.
        """
        return self._pulled(False, x, "x", y_bar, "y_bar", log_det_bar, parameters)

    def inverse_vjp(self, y, x_bar, log_det_bar=0, *, parameters=False):
        """Cotangent of ``y`` under :meth:`inverse_and_log_det`, as :meth:`forward_vjp`."""
        return self._pulled(True, y, "y", x_bar, "x_bar", log_det_bar, parameters)

    def _pulled(self, inverse, x, name, bar, bar_name, log_det_bar, parameters):
        x = self._input(x, name, 1)
        bar, log_det_bar = self._cotangents(x, bar, bar_name, log_det_bar)
        x_bar, gradient = self._pull(x, bar, log_det_bar, inverse)
        return (x_bar, gradient) if parameters else x_bar

    # What Bijector asks for.

    def _input(self, value, name, event_ndims):
        x = super()._input(value, name, event_ndims)
        if x.shape[-1] != self.n_features:
            raise ValueError(f"{name} must have shape (..., {self.n_features}), got {x.shape}")
        return x

    def _forward(self, x):
        return self._forward_and_log_det(x)[0]

    def _inverse(self, y):
        return self._inverse_and_log_det(y)[0]

    def _forward_log_det(self, x):
        return self._forward_and_log_det(x)[1]

    def _inverse_log_det(self, y):
        return self._inverse_and_log_det(y)[1]

    def _forward_and_log_det(self, x):
        return self._run(x, False)

    def _inverse_and_log_det(self, y):
        return self._run(y, True)

    def _forward_vjp(self, x, y_bar, log_det_bar):
        return self._pull(x, y_bar, log_det_bar, False)[0]

    def _inverse_vjp(self, y, x_bar, log_det_bar):
        return self._pull(y, x_bar, log_det_bar, True)[0]

    def _run(self, x, inverse: bool):
        direct = self.one_pass(inverse)
        flow, theta, rows = self._ready(x, inverse if direct else not inverse)
        z, log_det = flow.run(theta, rows) if direct else flow.invert(theta, rows)
        return z.reshape(x.shape), log_det.reshape(x.shape[:-1]).astype(x.dtype)

    def _pull(self, x, bar, log_det_bar, inverse: bool):
        if not self.one_pass(inverse):
            way, other = ("inverse", "forward") if inverse else ("forward", "inverse")
            raise NotImplementedError(
                f"{type(self).__name__}.{way} takes more than one pass and has no pull-back; {other} has one: use "
                f"Invert({type(self).__name__}(...)) where the other direction is wanted"
            )
        xp = _backend.namespace(x)
        flow, theta, rows = self._ready(x, inverse)
        bar = xp.ascontiguousarray(xp.broadcast_to(bar, x.shape)).reshape(rows.shape)
        log_det_bar = xp.broadcast_to(log_det_bar, x.shape[:-1]).astype(np.float64).reshape(-1)
        x_bar, gradient = flow.pull(theta, rows, bar, xp.ascontiguousarray(log_det_bar))
        return x_bar.reshape(x.shape), gradient

    def one_pass(self, inverse: bool = False) -> bool:
        """Whether ``forward``, or ``inverse``, takes one pass, and has pull-backs."""
        return all(step.one_pass[inverse] for step in self._layers)

    @property
    def kept(self) -> int:
        """Numbers that a pass keeps of a row."""
        return sum(3 * self.n_features + (step.graph.kept if step.graph else 0) for step in self._layers)

    def _ready(self, x, inverse: bool):
        """The compiled flow of a direction that takes one pass, the parameters and the rows, all where x is."""
        if self._parameters is None:
            raise ValueError(
                f"{type(self).__name__} has no parameters yet; call build(rng) first, or fit a model to it"
            )
        xp, device = _backend.namespace(x), "cuda" if _backend.is_gpu(x) else "cpu"
        key = inverse, x.dtype.str, device
        if key not in self._compiled:
            self._compiled[key] = compiled_flow([(self, inverse)], x.dtype, device)
        rows = xp.ascontiguousarray(x).reshape(-1, self.n_features)
        _backend.module_on(device, rows)
        theta = xp.ascontiguousarray(_backend.to_device(self._parameters, device), dtype=x.dtype)
        return self._compiled[key], theta, rows

    def _mask(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.uint8), *(step.mask() for step in self._layers)])

    def _key(self) -> tuple:
        numbers = None if self._parameters is None else self._parameters.tobytes()
        return tuple(self._options().items()), numbers

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __getstate__(self) -> dict:
        return {**vars(self), "_compiled": {}, "_parameters": copy.copy(self._parameters)}


def leaves_of(bijector, inverse: bool = False) -> list:
    """Pairs (bijector, whether its inverse is taken) in the order in which x meets them.

    Chains are opened, and identities left out.
    """
    if isinstance(bijector, Chain):
        parts = bijector.bijectors if inverse else bijector.bijectors[::-1]
        return [leaf for part in parts for leaf in leaves_of(part, inverse)]
    if isinstance(bijector, Invert):
        return leaves_of(bijector.bijector, not inverse)
    return [] if type(bijector) is Identity else [(bijector, inverse)]


def width_of(bijector) -> int:
    """The numbers of an event of a learnable bijector or a permutation."""
    return len(bijector.permutation) if isinstance(bijector, Permute) else bijector.n_features


def own_leaves(leaves, theta) -> list:
    """Copies of leaves with parameters of their own, from one vector of all."""
    own, start = [], 0
    theta = _backend.to_numpy(theta)
    for bijector, inverse in leaves:
        bijector = copy.copy(bijector)
        if isinstance(bijector, Learnable):
            bijector.parameters = theta[start : start + bijector.n_parameters]
            start += bijector.n_parameters
        own.append((bijector, inverse))
    return own


def built_leaves(leaves, seed: int, dtype) -> list:
    """Copies of leaves, with first parameters where they have none."""
    own, seeds = [], np.random.SeedSequence(seed).generate_state(len(leaves), np.uint64)
    for (bijector, inverse), one in zip(leaves, seeds, strict=True):
        bijector = copy.copy(bijector)
        if isinstance(bijector, Learnable) and bijector.parameters is None:
            bijector.build(int(one), dtype)
        own.append((bijector, inverse))
    return own


def flow_steps(leaves) -> tuple:
    """What a compiled flow of learnable leaves and permutations takes: width, parameters, steps, and mask or None.

    Raises
    ------
    ValueError
        If one of them takes more than one pass, or their widths differ.
    """
    steps, size, width = [], 0, width_of(leaves[0][0])
    mask = np.ones(sum(bijector.n_parameters for bijector, _ in leaves if isinstance(bijector, Learnable)), np.uint8)
    for bijector, inverse in leaves:
        if width_of(bijector) != width:
            raise ValueError(f"bijectors must be of {width} features like the first one, got {bijector!r}")
        if isinstance(bijector, Permute):
            columns = np.array(bijector.permutation, np.int64)
            columns = np.argsort(columns) if inverse else columns
            steps.append((PERMUTATION, inverse, size, 0, 1.0, columns, 0, None))
            continue
        if not bijector.one_pass(inverse):
            raise ValueError(f"{bijector!r} takes more than one pass in this direction")
        places = size + np.cumsum([0, *(step.size for step in bijector._layers)])
        pairs = list(zip(bijector._layers, places.tolist(), strict=False))
        for step, place in reversed(pairs) if inverse else pairs:
            steps.append(step.numbers(inverse, place))
            mask[place : place + step.size] = step.mask()
        size += bijector.n_parameters
    return width, size, steps, None if mask.all() else mask


def compiled_flow(leaves, dtype, device: str):
    """The compiled flow of leaves, one after the other, with parameters in the same order; see :func:`flow_steps`."""
    kind = "Flow32" if np.dtype(dtype) == np.float32 else "Flow64"
    return getattr(_backend.module_on(device), kind)(*flow_steps(leaves))
