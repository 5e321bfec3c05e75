"""Operations as cases: what goes in, what is called, how near two devices must be; and a device that runs them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from helpers import assert_near, tolerance


@dataclass(frozen=True)
class Case:
    """An operation on arrays.

    Attributes
    ----------
    inputs : callable
        ``inputs(rng, dtype)``: NumPy arrays, and whatever else ``call`` takes.
    call : callable
        The operation: arrays of one device to a number, an array of that device, or a tuple or dict of these. What is
        in a dict belongs to parameters, which live on the CPU.
    size, condition : numbers, or functions of the dtype
        As ``helpers.tolerance`` takes them.
    oracle : callable, optional
        From the same arguments, the exact answer.
    scale : callable, optional
        From the same arguments, what errors are relative to, in the structure of the result.
    """

    inputs: Callable
    call: Callable
    size: object = 1
    condition: object = 1.0
    oracle: Callable | None = None
    scale: Callable | None = None

    def allowed(self, dtype):
        """The relative error."""
        size, condition = (part(dtype) if callable(part) else part for part in (self.size, self.condition))
        return tolerance(dtype, size, condition)


class Device:
    """Where a case is run: NumPy, or CuPy."""

    def __init__(self, xp):
        self.xp = xp

    def put(self, array):
        """A copy of a NumPy array with its layout: row- or column-major, repeated, or with a step of two."""
        if not isinstance(array, np.ndarray):
            return array
        if array.ndim > 1 and array.size and array.strides[0] == 0:
            return self.xp.broadcast_to(self.put(array[0]), array.shape)
        if array.ndim > 1 and array.strides[-2] == array.itemsize != array.strides[-1]:
            return self.xp.asarray(np.ascontiguousarray(array.swapaxes(-1, -2))).swapaxes(-1, -2)
        if array.ndim and array.size > 1 and array.strides[-1] == 2 * array.itemsize:
            wide = self.xp.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            wide[..., ::2] = self.xp.asarray(np.ascontiguousarray(array))
            return wide[..., ::2]
        return self.xp.asarray(array.copy())

    def run(self, case, arguments):
        """The result, fetched; the arguments are as they were, and arrays are where they should be."""
        placed = [self.put(argument) for argument in arguments]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the fit ended before convergence")
            result = case.call(*placed)
        for argument, there in zip(arguments, placed, strict=True):
            if isinstance(argument, np.ndarray):
                assert same_bits(self.fetch(there), argument), "an argument was changed"
        return self.fetched(result)

    def fetch(self, array):
        """A NumPy copy, row-major."""
        return np.array(array) if self.xp is np else self.xp.asnumpy(array)

    def fetched(self, result, name="result"):
        """A flat dict of the numbers and arrays in a result, as NumPy has them."""
        if isinstance(result, dict):
            return {f"{name}.{key}": value for key, value in result.items()}
        if isinstance(result, (tuple, list)):
            parts = [self.fetched(part, f"{name}[{i}]") for i, part in enumerate(result)]
            return {key: value for part in parts for key, value in part.items()}
        if result is None or isinstance(result, (bool, int, float, str, np.generic)):
            return {name: result}
        assert isinstance(result, self.xp.ndarray), f"{name} is a {type(result)}"
        return {name: self.fetch(result)}


def same_bits(a, b):
    """Equal in dtype, shape and every bit."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def flat(structure, name="result"):
    """The dict that ``Device.fetched`` would have made."""
    if isinstance(structure, dict):
        return {f"{name}.{key}": value for key, value in structure.items()}
    if isinstance(structure, (tuple, list)):
        parts = [flat(part, f"{name}[{i}]") for i, part in enumerate(structure)]
        return {key: value for part in parts for key, value in part.items()}
    return {name: structure}


def compare(actual, expected, relative, scale=None):
    """Every number and array of two results is near, NaN where it is NaN; of the same type, if both are lvmfast's."""
    assert list(actual) == list(expected)
    for name, right in expected.items():
        value = actual[name]
        assert type(value) is type(right) or isinstance(right, (np.ndarray, np.generic)), name
        if right is None or isinstance(right, (bool, str)):
            assert value == right, name
            continue
        value, right = np.asarray(value), np.asarray(right)
        if value.dtype.kind in "bi":
            np.testing.assert_array_equal(value, right, err_msg=name)
            continue
        assert right.dtype == np.longdouble or value.dtype == right.dtype, name
        finite = np.isfinite(right)
        np.testing.assert_array_equal(np.where(finite, 0, value), np.where(finite, 0, right), err_msg=name)
        value, right = np.where(finite, value, 0), np.where(finite, right, 0)
        try:
            assert_near(value, right, relative, scale=None if scale is None else scale[name])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
