"""Checks of what a user passes: the error says the argument, the rule and the value got."""

from __future__ import annotations

import numbers

import numpy as np

from lvmfast import _backend

__all__ = [
    "as_float_array",
    "as_lines",
    "as_matrix",
    "as_shape",
    "broadcast_batch",
    "check_callback",
    "check_choice",
    "check_columns",
    "check_float_dtype",
    "check_integer",
    "check_jitter",
    "check_positive",
    "check_prior",
    "check_rng",
    "check_square",
    "check_target",
    "common_dtype",
    "order_of",
]


def as_float_array(value, name: str, *, min_ndim: int = 0):
    """``value`` as a float32 or float64 array of NumPy, or of CuPy if it lives on a GPU; integers become float64."""
    _backend.module_for(value)
    array = _backend.to_device(value, "cuda") if _backend.is_gpu(value) else np.asarray(value)
    if array.dtype not in (np.float32, np.float64):
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
        swapped = array.dtype.newbyteorder("=")
        array = array.astype(swapped if swapped in (np.float32, np.float64) else np.float64)
    if not getattr(array.flags, "aligned", True) or any(stride % array.itemsize for stride in array.strides):
        array = array.copy()  # a field of records: its numbers do not lie on multiples of their size
    if array.ndim < min_ndim:
        raise ValueError(f"{name} must have at least {min_ndim} dimensions, got shape {array.shape}")
    return array


def as_matrix(value, name: str, *, columns: int | None = None, dtype=None, finite: bool = True) -> np.ndarray:
    """``value`` as a C-contiguous (n, columns) float array of finite numbers (finite=False: of any)."""
    array = as_float_array(value, name)
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), got {array.shape}")
    if columns is not None and array.shape[1] != columns:
        raise ValueError(f"{name} must have {columns} columns, got {array.shape[1]}")
    xp = _backend.namespace(array)
    if finite and not xp.isfinite(array).all():
        row, column = (int(i) for i in xp.argwhere(~xp.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, got {array[row, column]} at row {row}, column {column}")
    return xp.ascontiguousarray(array, dtype=dtype)


def as_shape(size) -> tuple[int, ...]:
    """``size``, an int or a tuple of ints >= 0, as a tuple."""
    if type(size) is int and size >= 0:
        return (size,)
    extents = tuple(size) if isinstance(size, (tuple, list, np.ndarray)) else (size,)
    if any(isinstance(n, (bool, np.bool_)) or not isinstance(n, numbers.Integral) for n in extents):
        raise TypeError(f"size must be an int or a tuple of ints >= 0, got {size!r}")
    if any(n < 0 for n in extents):
        raise ValueError(f"size must be an int or a tuple of ints >= 0, got {size!r}")
    return tuple(int(n) for n in extents)


def common_dtype(*arrays) -> np.dtype:
    """float32 when all arrays are, else float64."""
    return np.dtype(np.float32) if all(a.dtype == np.float32 for a in arrays) else np.dtype(np.float64)


def as_lines(A: np.ndarray, dtype) -> np.ndarray:
    """``A`` with rows or columns that lie close together, one after the other: itself where that holds, else a copy."""
    A = A.astype(dtype, copy=False)
    (rows, columns), (row, column) = A.shape[-2:], A.strides[-2:]
    if not getattr(A.flags, "aligned", True) or any(stride % A.itemsize for stride in A.strides):
        return _backend.namespace(A).ascontiguousarray(A) if not A.flags.c_contiguous else A.copy()
    if column == A.itemsize and (row >= columns * column or rows == 1):
        return A
    if row == A.itemsize and (column >= rows * row or columns == 1):
        return A
    return _backend.namespace(A).ascontiguousarray(A)


def order_of(A: np.ndarray) -> str:
    """'C' or 'F': which of the last two dimensions lies close together."""
    return "C" if A.strides[-1] == A.itemsize or A.strides[-2] != A.itemsize else "F"


def broadcast_batch(**shapes) -> tuple[int, ...]:
    """The shape to which the leading dimensions broadcast; the names are those of the arguments."""
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        names, got = (" and ".join(map(str, part)) for part in (shapes, shapes.values()))
        raise ValueError(f"the leading dimensions of {names} must broadcast, got {got}") from None


def check_square(array: np.ndarray, name: str) -> None:
    """Raise unless the last two dimensions agree."""
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{name} must have shape (..., n, n), got {array.shape}")


def check_target(target, name: str, shape, dtype) -> None:
    """Raise unless ``target`` can be overwritten with a result of this shape and dtype."""
    array_type = _backend.namespace(target).ndarray
    if not isinstance(target, array_type) or target.dtype != dtype or target.shape != shape:
        got = f"{target.dtype} {target.shape}" if isinstance(target, array_type) else type(target).__name__
        raise ValueError(f"{name} must be an array of {dtype} with shape {shape} to hold the result, got {got}")
    if not getattr(target.flags, "writeable", True):
        raise ValueError(f"{name} must be writeable to hold the result, got a read-only array")


def check_positive(value, name: str, *, zero: bool = False) -> float:
    """``value`` as a finite float that is > 0 (or >= 0)."""
    rule = ">= 0" if zero else "> 0"
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, np.ndarray)) or np.ndim(value) != 0:
        raise TypeError(f"{name} must be a number {rule}, got {value!r}")
    number = float(value)
    if not np.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name} must be a finite number {rule}, got {value!r}")
    return number


def check_choice(value, name: str, choices) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        options = ", ".join(repr(c) for c in choices)
        raise ValueError(f"{name} must be one of {options}, got {value!r}")


def check_integer(value, name: str, minimum: int) -> int:
    """``value`` as an int of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer >= {minimum}, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be an integer >= {minimum}, got {value!r}")
    return int(value)


def check_float_dtype(dtype, name: str = "dtype") -> None:
    """Raise unless it is float32 or float64."""
    try:
        known = dtype is not None and np.dtype(dtype) in (np.float32, np.float64)
    except TypeError:
        known = False
    if not known:
        raise ValueError(f"{name} must be float32 or float64, got {dtype!r}")


def check_jitter(jitter) -> None:
    """Raise unless ``jitter`` is "auto" or a number >= 0."""
    if isinstance(jitter, str):
        if jitter != "auto":
            raise ValueError(f"jitter must be 'auto' or a number >= 0, got {jitter!r}")
    else:
        check_positive(jitter, "jitter", zero=True)


def check_callback(callback) -> None:
    """Raise unless ``callback`` is None or can be called."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")


def check_prior(prior, name: str = "prior") -> None:
    """Raise unless ``prior`` is None or has what :mod:`lvmfast.priors` promise."""
    methods = ("log_density", "gradient")
    if prior is not None and (isinstance(prior, type) or not all(hasattr(prior, method) for method in methods)):
        raise TypeError(f"{name} must have log_density(value) and gradient(value), got {prior!r}")


def check_columns(X, names) -> None:
    """Raise where a data frame's columns are not those of the training data."""
    columns = getattr(X, "columns", None)
    if names is not None and columns is not None and list(columns) != list(names):
        raise ValueError(f"X must have the columns {list(names)} in this order, got {list(columns)}")


def check_rng(rng):
    """A source of draws from None, an int, a ``numpy.random.Generator`` or a ``RandomState``."""
    if isinstance(rng, (np.random.Generator, np.random.RandomState)):
        return rng
    if rng is None or (isinstance(rng, numbers.Integral) and not isinstance(rng, bool) and rng >= 0):
        return np.random.default_rng(rng)
    raise ValueError(f"random_state must be None, an int >= 0 or a numpy random generator, got {rng!r}")
