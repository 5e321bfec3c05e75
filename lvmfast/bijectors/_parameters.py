"""Parameters of bijectors and distributions: finite numbers or arrays that do not change."""

from __future__ import annotations

import functools
import numbers

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array

__all__ = ["Described", "at", "broadcast_parameters", "comparable", "on_gpu", "parameter", "text", "with_room"]

LEAST, MOST = 1e-37, 1e37  # sizes of parameters with which float32 can be reckoned

RULES = {
    "finite": lambda a: a == a,
    "finite and > 0": lambda a: a > 0,
    "finite and not 0": lambda a: a != 0,
}


class Described:
    """Objects that are what they were made of: shown by it, compared by it, hashed by it."""

    def _options(self) -> dict:
        """What the object was made of, by name."""
        return vars(self)

    def _beyond_float32(self) -> bool:
        """Whether a parameter is too large or too small for float32."""
        return any(map(_is_beyond, self._options().values()))

    def _key(self) -> tuple:
        return tuple((name, comparable(value)) for name, value in self._options().items())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={text(v)}' for k, v in self._options().items())})"

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))


def with_room(method):
    """The method, for float32 points in float64 where a parameter has no float32: its results are float32 again."""

    @functools.wraps(method)
    def roomy(self, x, *others, **options):
        if getattr(x, "dtype", None) != np.float32 or not self._beyond_float32():
            return method(self, x, *others, **options)
        result = method(self, x.astype(np.float64), *others, **options)
        with np.errstate(over="ignore", under="ignore"):
            if isinstance(result, tuple):
                return tuple(part.astype(np.float32) for part in result)
            return result.astype(np.float32)

    return roomy


def _is_beyond(value) -> bool:
    if isinstance(value, Described):
        return value._beyond_float32()
    if isinstance(value, tuple):
        return any(map(_is_beyond, value))
    if isinstance(value, float):
        return value != 0 and not LEAST < abs(value) < MOST
    if not (_backend.is_gpu(value) or isinstance(value, np.ndarray)) or value.dtype.kind != "f":
        return False
    size = abs(value)
    return bool(((size > MOST) | ((size < LEAST) & (size > 0))).any())


def broadcast_parameters(**parameters) -> tuple[int, ...]:
    """The shape to which they broadcast; they must live on one device."""
    _backend.module_for(**parameters)
    try:
        return np.broadcast_shapes(*map(np.shape, parameters.values()))
    except ValueError:
        got = " and ".join(str(np.shape(p)) for p in parameters.values())
        raise ValueError(f"{' and '.join(parameters)} must broadcast, got shapes {got}") from None


def parameter(value, name: str, rule: str = "finite", *, min_ndim: int = 0):
    """``value`` as a float, or as an array of its own that cannot be written to."""
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)) and min_ndim == 0:
        number = float(value)
        if not np.isfinite(number) or not RULES[rule](number):
            raise ValueError(f"{name} must be {rule}, got {number:g}")
        return number
    array = as_float_array(value, name, min_ndim=min_ndim)
    xp = _backend.namespace(array)
    good = xp.isfinite(array) & RULES[rule](array)
    if not good.all():
        raise ValueError(f"{name} must be {rule}, got {float(array[~good].ravel()[0]):g}")
    if array.ndim == 0:
        return float(array)
    array = array.copy()
    if isinstance(array, np.ndarray):
        array.flags.writeable = False
    return array


def at(value, x):
    """A parameter in the dtype of ``x``, where ``x`` is."""
    if isinstance(value, float):
        return value
    if _backend.is_gpu(x) and not _backend.is_gpu(value):
        value = _backend.to_device(value, "cuda")
    _backend.module_for(x, value)
    return value.astype(x.dtype, copy=False)


def on_gpu(value) -> bool:
    """Whether a parameter, or one of an object's, lives on a GPU."""
    if isinstance(value, Described):
        return any(map(on_gpu, value._options().values()))
    return any(map(on_gpu, value)) if isinstance(value, tuple) else _backend.is_gpu(value)


def comparable(value):
    """What stands for a parameter in comparisons: numbers by value, whatever their type."""
    if _backend.is_gpu(value) or isinstance(value, np.ndarray):
        array = np.asarray(_backend.to_numpy(value)) + 0
        return array.dtype.str, array.shape, array.tobytes()
    return value


def text(value) -> str:
    """A parameter in the representation of its owner."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return f"{value:g}"
    if _backend.is_gpu(value) or isinstance(value, np.ndarray):
        shown = np.array2string(np.asarray(_backend.to_numpy(value)), separator=", ", precision=6, threshold=8)
        return " ".join(shown.split())
    return value.__name__ if callable(value) and hasattr(value, "__name__") else repr(value)
