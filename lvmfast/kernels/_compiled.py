"""A kernel for inputs of q columns as the compiled code takes it: a tree, and one flat vector of parameters."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast._validation import check_integer
from lvmfast.kernels._parameters import DEFAULT_BIJECTOR


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where a parameter stands in the flat vector: ``size`` numbers from ``start``, all equal if ``shared``."""

    name: str
    leaf: object
    own_name: str
    start: int
    size: int
    shared: bool


class CompiledKernel:
    """``tree`` and the slots of its parameters, in the order of ``kernel.parameters``.

    The structure is fixed when it is made; values are read from the kernel by :meth:`vector`.
    """

    def __init__(self, kernel, q: int):
        if q < 1:
            raise ValueError("X must have at least one column, got 0")
        self.q = q
        self._trees: dict = {}
        self._steps: list[tuple] = []  # what a tree is made of
        self.tree = _backend.cpu.KernelTree()
        self.slots: list[Slot] = []
        prefixes = iter(kernel._named_leaves())
        self._add(kernel, prefixes)
        self.size = self.tree.parameters

    def _add(self, kernel, prefixes) -> int:
        if kernel.parts:
            parts = [self._add(part, prefixes) for part in kernel.parts]
            self._steps.append(("add_node", kernel.is_product, parts))
            return self.tree.add_node(kernel.is_product, parts)
        prefix, leaf = next(prefixes)
        dims = _checked_dims(leaf.active_dims, self.q)
        start = self.tree.parameters
        index = self.tree.add_leaf(leaf.kind, dims, leaf._checked_degree())
        self._steps.append(("add_leaf", leaf.kind, dims, leaf._checked_degree()))
        for own in leaf.parameter_names_of_leaf:
            per_dim = own in leaf.per_dimension
            size = len(dims) if per_dim else 1
            shape = np.shape(getattr(leaf, own))
            if shape != () and not (per_dim and shape == (size,)):
                raise ValueError(
                    f"{own} must be a number{f' or have shape ({size},)' if per_dim else ''}, got shape {shape}"
                )
            name = f"{prefix}.{own}" if prefix else own
            self.slots.append(Slot(name, leaf, own, start, size, shape == ()))
            start += size
        return index

    def tree_for(self, module):
        """The tree as this compiled module takes it."""
        if module is _backend.cpu:
            return self.tree
        if module not in self._trees:
            tree = self._trees[module] = module.KernelTree()
            for method, first, *rest in self._steps:
                first = getattr(module.Covariance, first.name) if method == "add_leaf" else first
                getattr(tree, method)(first, *rest)
        return self._trees[module]

    def vector(self) -> np.ndarray:
        """The parameters' present values, shape (size,), checked."""
        theta = np.empty(self.size)
        for slot in self.slots:
            theta[slot.start : slot.start + slot.size] = checked_value(slot.own_name, getattr(slot.leaf, slot.own_name))
        return theta

    def gradients(self, d_theta: np.ndarray) -> dict:
        """The flat gradient by name, shaped as the parameters."""
        return {slot.name: self._part(slot, d_theta) for slot in self.slots}

    @staticmethod
    def _part(slot: Slot, d_theta: np.ndarray):
        part = d_theta[slot.start : slot.start + slot.size]
        return float(part.sum()) if slot.shared else part.copy()

    def check_range(self, theta: np.ndarray, dtype, *inputs) -> None:
        """Raise where ``dtype`` cannot hold the parameters or the inputs divided by a lengthscale."""
        tiny, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
        if theta.size and not (tiny <= theta.min() and theta.max() <= most):
            for slot in self.slots:
                part = theta[slot.start : slot.start + slot.size]
                if not (tiny <= part.min() and part.max() <= most):
                    wrong = part.min() if part.min() < tiny else part.max()
                    raise ValueError(f"{slot.name} must be a normal {dtype} number, got {wrong:g}; rescale")
        scales = [
            theta[s.start : s.start + s.size].min() for s in self.slots if s.own_name in ("lengthscale", "period")
        ]
        if not scales:
            return
        largest = max((float(abs(x).max()) for x in inputs if x is not None and x.size), default=0.0)
        if largest > 0.25 * most * min(1.0, min(scales)):
            raise ValueError(
                f"inputs divided by lengthscale must stay within {dtype}, got inputs up to {largest:g} and a "
                f"lengthscale of {min(scales):g}; rescale"
            )


class FreeParameters:
    """The parameters that a fit moves, as one unconstrained vector.

    ``unconstrained = bijector.inverse(value)`` for every parameter that is not fixed, in the order of
    ``kernel.parameters``.
    """

    def __init__(self, compiled: CompiledKernel, kernel, bijector=None):
        self.compiled = compiled
        parameters = kernel.parameters
        self._all = [(slot, parameters[slot.name]) for slot in compiled.slots]
        if bijector is not None:  # bijector(slot) takes the place of those that were not chosen
            self._all = [
                (slot, dataclasses.replace(p, bijector=bijector(slot)) if p.bijector == DEFAULT_BIJECTOR else p)
                for slot, p in self._all
            ]
        self._base = compiled.vector()
        self.free = []  # slot, parameter, part of the unconstrained vector
        start = 0
        for slot, parameter in self._all:
            if not parameter.fixed:
                size = 1 if slot.shared else slot.size
                self.free.append((slot, parameter, slice(start, start + size)))
                start += size
        self.size = start

    def initial(self) -> np.ndarray:
        """The unconstrained vector of the present values, shape (size,); below a floor it starts just above."""
        u = np.empty(self.size)
        for slot, parameter, part in self.free:
            value = np.atleast_1d(np.asarray(getattr(slot.leaf, slot.own_name), float))
            floor = getattr(parameter.bijector, "floor", 0.0)
            u[part] = parameter.bijector.inverse(np.where(value > floor, value, 2 * floor))
        return u

    def bounds(self) -> np.ndarray:
        """Bounds of the unconstrained vector, shape (size, 2)."""
        bounds = np.empty((self.size, 2))
        for _, parameter, part in self.free:
            bounds[part] = unconstrained_bounds(parameter)
        return bounds

    def vector(self, u: np.ndarray) -> np.ndarray:
        """The compiled kernel's parameters at ``u``."""
        theta = self._base.copy()
        for slot, parameter, part in self.free:
            theta[slot.start : slot.start + slot.size] = parameter.bijector.forward(u[part])
        return theta

    def pull(self, u: np.ndarray, d_theta: np.ndarray) -> np.ndarray:
        """Gradient by ``u`` from the gradient by the compiled kernel's parameters."""
        d_u = np.empty(self.size)
        for slot, parameter, part in self.free:
            d = d_theta[slot.start : slot.start + slot.size]
            d_u[part] = parameter.bijector.vjp(u[part], d.sum(keepdims=True) if slot.shared else d)
        return d_u

    def log_prior(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Sum of the log densities of the priors at ``theta``, and its gradient, shape of ``theta``."""
        value, gradient = 0.0, np.zeros_like(theta)
        for slot, parameter in self._all:
            if parameter.prior is not None:
                part = slot.start if slot.shared else slice(slot.start, slot.start + slot.size)
                value += float(np.sum(parameter.prior.log_density(theta[part])))
                gradient[part] += parameter.prior.gradient(theta[part])
        return value, gradient

    def write(self, u: np.ndarray) -> None:
        """Set the kernel's parameters to those of ``u``."""
        for slot, parameter, part in self.free:
            value = parameter.bijector.forward(u[part])
            setattr(slot.leaf, slot.own_name, float(value[0]) if slot.shared else np.array(value))


def unconstrained_bounds(parameter) -> tuple[float, float]:
    """The bounds of a parameter as its bijector's inverse sees them."""
    low, high = parameter.bounds
    floor = getattr(parameter.bijector, "floor", 0.0)
    if high <= floor:
        raise ValueError(f"bounds must reach above the bijector's floor of {floor:g}, got [{low:g}, {high:g}]")
    inverse = parameter.bijector.inverse
    return (
        float(inverse(np.float64(low))) if low > floor else -np.inf,
        float(inverse(np.float64(high))) if np.isfinite(high) else np.inf,
    )


def checked_value(name: str, value) -> np.ndarray:
    """A parameter's value as float64, or an error."""
    if isinstance(value, (bool, str, bytes)) or value is None:
        raise TypeError(f"{name} must be a number > 0 or an array of them, got {value!r}")
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number > 0 or an array of them, got {value!r}") from None
    if not (np.isfinite(array).all() and (array > 0).all()):
        rule = "a finite number > 0" if array.ndim == 0 else "finite and > 0"
        raise ValueError(f"{name} must be {rule}, got {value!r}")
    return array


def _checked_dims(active_dims, q: int) -> list[int]:
    if active_dims is None:
        return list(range(q))
    dims = np.asarray(active_dims)
    if dims.ndim != 1 or dims.size == 0 or dims.dtype.kind not in "iu":
        raise ValueError(f"active_dims must be a list of column numbers, at least one, got {active_dims!r}")
    dims = [check_integer(int(d), "active_dims", 0) for d in dims]
    if len(set(dims)) < len(dims):
        raise ValueError(f"active_dims must not repeat a column, got {active_dims!r}")
    if max(dims) >= q:
        raise ValueError(f"active_dims must be < {q}, the number of columns of X, got {active_dims!r}")
    return dims
