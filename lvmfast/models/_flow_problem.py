"""A density of flows as one vector of parameters: fixed bijectors, a scale, and learnable ones in compiled steps."""

from __future__ import annotations

import copy

import numpy as np

from lvmfast import _backend
from lvmfast.bijectors import Chain, Invert, LearnedAffine, Permute, Planar, RealNVP
from lvmfast.bijectors._flows_base import Learnable, compiled_flow, leaves_of, own_leaves, width_of
from lvmfast.random import normal

ONE_DIMENSIONAL = 6  # planar layers where there is one column and none to couple it with
KEPT = 1 << 22  # numbers that one evaluation keeps

__all__ = ["FlowProblem", "check_bijectors", "check_shapes", "default_bijectors", "standard"]


def default_bijectors(model, d: int) -> list:
    """Couplings, or planar layers where there is one column."""
    if d == 1:
        return [*(Invert(Planar(1)) for _ in range(ONE_DIMENSIONAL)), LearnedAffine(1)]
    return [RealNVP(d, model.n_layers, model.hidden, activation=model.activation)]


def check_bijectors(bijectors) -> tuple[list, list]:
    """Leaves (bijector, whether x goes through its inverse) from the data side: fixed ones, then learnable ones.

    Raises
    ------
    TypeError, ValueError
        Unless they are bijectors, the fixed ones come first and the learnable ones take one pass from data to base.
    """
    leaves = leaves_of(Chain(bijectors if isinstance(bijectors, (list, tuple)) else [bijectors]), True)
    learned = [isinstance(bijector, Learnable) for bijector, _ in leaves]
    if not any(learned):
        raise ValueError(f"bijectors must hold a learnable one, such as RealNVP(n_features), got {bijectors!r}")
    first = learned.index(True)
    for (bijector, inverse), own in zip(leaves[first:], learned[first:], strict=True):
        if isinstance(bijector, Permute):
            continue
        if not own:
            raise ValueError(
                "bijectors must have those that are fixed at the data side, first in the list, got "
                f"{bijector!r} behind a learnable one"
            )
        if not bijector.one_pass(inverse):
            name = type(bijector).__name__
            got, remedy = (
                (f"{name}(...)", f"Invert({name}(...))") if inverse else (f"Invert({name}(...))", f"{name}(...)")
            )
            raise ValueError(
                f"bijectors must take one pass from the data to the base, got {got}, whose inverse is found step by "
                f"step; use {remedy}"
            )
    return leaves[:first], leaves[first:]


def check_shapes(fixed, row) -> None:
    """Raise unless fixed bijectors turn one row (1, d) into one row, whose neighbours they need not know."""
    for bijector, inverse in fixed:
        call = bijector.inverse if inverse else bijector.forward
        try:
            shape = tuple(np.shape(out := call(row)))
        except ValueError as error:
            if "broadcast" not in str(error):  # values, of which `before` tells for all rows
                return
            shape = None
        if shape != row.shape:
            got = "which do not broadcast" if shape is None else f"which make it {shape}"
            raise ValueError(
                f"bijectors must turn a row (1, {row.shape[1]}) of X into one, with parameters that are numbers or of "
                f"shape ({row.shape[1]},), got {bijector!r}, {got}"
            )
        row = out


class FlowProblem:
    """Compiled objects for learnable leaves, with what comes before them.

    Parameters
    ----------
    fixed, leaves : list of (bijector, inverse)
        From the data side; the learnable ones the problem's own, and built, with permutations between them.
    shift, scale : ndarray of shape (d,)
        ``(u - shift) / scale`` is what the first learnable one takes; float64.
    dtype, data_dtype : dtype
        Of the compiled arithmetic; of rows that are drawn.
    device : {"cpu", "cuda"}
    """

    def __init__(self, fixed, leaves, shift, scale, dtype, device: str, data_dtype=np.float64):
        self.fixed, self.leaves, self.shift, self.scale = fixed, leaves, shift, scale
        self.dtype, self.device, self.data_dtype = np.dtype(dtype), device, np.dtype(data_dtype)
        self.width = width_of(leaves[0][0])
        self._flow = None

    @property
    def size(self) -> int:
        """Numbers in theta."""
        return sum(bijector.n_parameters for bijector in self.learned)

    @property
    def learned(self) -> list:
        """The learnable bijectors."""
        return [bijector for bijector, _ in self.leaves if isinstance(bijector, Learnable)]

    @property
    def log_scale(self) -> float:
        """The log-det of the scale, from data to base."""
        return -float(np.log(self.scale).sum())

    def initial(self) -> np.ndarray:
        """The leaves' parameters, one after the other."""
        return np.concatenate([bijector.parameters for bijector in self.learned]).astype(self.dtype)

    def copy(self, theta=None) -> FlowProblem:
        """A problem with leaves of its own, which have these parameters."""
        leaves = own_leaves(self.leaves, self.initial() if theta is None else theta)
        return FlowProblem(self.fixed, leaves, self.shift, self.scale, self.dtype, self.device, self.data_dtype)

    def placed(self, array):
        """On the problem's device, in its dtype; None as it is."""
        if array is None:
            return None
        array = _backend.to_device(array, self.device)
        return _backend.namespace(array).ascontiguousarray(array, dtype=self.dtype)

    def compiled(self):
        """The compiled flow from data to base."""
        if self._flow is None:
            self._flow = compiled_flow(self.leaves, self.dtype, self.device)
        _backend.module_on(self.device)
        return self._flow

    @property
    def rows_at_once(self) -> int:
        """Rows of one evaluation, so that little memory is used; a function of the bijectors alone."""
        each = self.width + 2 * sum(bijector.kept for bijector in self.learned)
        return max(1, min(4096, KEPT // each))

    def before(self, x):
        """Rows (n, d) behind the fixed bijectors, and their log-dets (n,), in the dtype of x."""
        xp = _backend.namespace(x)
        log_det = xp.zeros(len(x))
        for bijector, inverse in self.fixed:
            call = bijector.inverse_and_log_det if inverse else bijector.forward_and_log_det
            try:
                x, own = call(x, event_ndims=1)
            except ValueError as error:
                raise ValueError(f"X does not suit {bijector!r}, a fixed bijector: {error}") from None
            log_det = log_det + own
        return x, log_det

    def scaled(self, u):
        """What the compiled flow takes."""
        shift, scale = (_backend.like(a, u) for a in (self.shift, self.scale))
        return self.placed((u - shift) / scale)

    def terms(self, theta, rows) -> np.ndarray:
        """Log density, that of the base, and log-det of rows that the compiled flow takes: (n, 3), float64."""
        flow, theta, size = self.compiled(), self.placed(theta), self.rows_at_once
        parts = [flow.evaluate(theta, rows[i : i + size], False)[0] for i in range(0, len(rows), size)]
        return np.concatenate([np.empty((0, 3)), *map(_backend.to_numpy, parts)])

    def sample(self, n: int, first: int, seed: int):
        """Rows first, first + 1, ... of a sample, where the problem is."""
        where = {"rng": seed, "start": first * self.width, "dtype": self.dtype, "device": self.device}
        return self.from_base(normal(size=(n, self.width), **where))

    def from_base(self, z):
        """Data for rows of the base; from the scale on in float64."""
        xp = _backend.namespace(z)
        u = self.compiled().invert(self.placed(self.initial()), xp.ascontiguousarray(z))[0].astype(np.float64)
        u = u * _backend.like(self.scale, u) + _backend.like(self.shift, u)
        for bijector, inverse in reversed(self.fixed):
            u = bijector.forward(u) if inverse else bijector.inverse(u)
        return u.astype(self.data_dtype, copy=False)

    def chain(self) -> Chain:
        """All of it as a bijector from the base to the data, a copy."""
        affine = LearnedAffine(self.width)
        affine.parameters = np.concatenate([self.shift, np.log(self.scale)])
        leaves = copy.deepcopy([*self.fixed, (affine, True), *self.leaves])
        return Chain([bijector if inverse else Invert(bijector) for bijector, inverse in leaves])

    def __getstate__(self) -> dict:
        return {**vars(self), "_flow": None, "device": "cpu", "_was_on": self.device}

    def __setstate__(self, state: dict) -> None:
        device = _backend.usable_device(state.pop("_was_on"))
        vars(self).update(state, device=device)


def standard(u, standardize: bool) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of the columns, float64, or 0 and 1."""
    d = u.shape[1]
    if not standardize:
        return np.zeros(d), np.ones(d)
    xp = _backend.namespace(u)
    most = abs(u).max(axis=0)
    most = xp.where(most > 0, most, 1.0)
    parts = u / most  # whose squares stay in range
    shift, scale = (_backend.to_numpy(most * a) for a in (parts.mean(axis=0), parts.std(axis=0)))
    flat = ~(scale > 1e-12 * np.abs(shift)) | ~np.isfinite(scale)
    if flat.any():
        j = int(np.argmax(flat))
        raise ValueError(
            f"X must vary in every column to have a density, got standard deviation {scale[j]:.3g} about "
            f"{shift[j]:.6g} in column {j}; leave the column out"
        )
    return shift.astype(np.float64), scale.astype(np.float64)
