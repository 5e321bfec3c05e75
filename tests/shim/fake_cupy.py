"""A stand-in for the module ``cupy`` upon the CUDA shim's device memory: NumPy computes, with CuPy's strictness."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np


def _sibling(name: str) -> ModuleType:
    """A file beside this one, however this one was imported."""
    unique = f"_lvm_{name}"
    if unique not in sys.modules:
        spec = importlib.util.spec_from_file_location(unique, Path(__file__).with_name(f"{name}.py"))
        sys.modules[unique] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[unique])
    return sys.modules[unique]


_names = _sibling("fake_cupy_names")
_cuda = _sibling("fake_cupy_cuda")
_array = _sibling("fake_cupy_array")

TAKES_NUMPY = frozenset({"array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray"})
BOOL_ARRAYS = frozenset({"allclose", "array_equal", "array_equiv"})  # 0-d arrays in CuPy
QUIET = frozenset({"cholesky", "inv", "solve"})  # no error from CuPy for a matrix that cannot be decomposed


class FakeCupy(ModuleType):
    """The module.

    Parameters
    ----------
    shim : module
        The compiled module with the functions of bind_shim.hpp.
    """

    def __init__(self, shim: ModuleType):
        super().__init__("cupy")
        self.shim = shim
        self.cuda = _cuda.make_cuda(shim)
        self.ndarray = type("ndarray", (_array.ArrayBase,), {"_cupy": self, "__module__": "cupy"})
        self.linalg = SimpleNamespace(LinAlgError=np.linalg.LinAlgError)
        for name in _names.LINALG & set(dir(np.linalg)):
            setattr(self.linalg, name, self._function(getattr(np.linalg, name), name in QUIET))
        self.__version__ = "14.2.0"
        self._names = _names

    def __getattr__(self, name: str):
        if name in _names.SAME:
            return getattr(np, name)
        if name not in _names.FUNCTIONS:
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        function = self._function(getattr(np, name))
        self.__dict__[name] = function
        return function

    def _function(self, function, quiet: bool = False):
        @functools.wraps(function)
        def call(*args, **kwargs):
            kwargs.pop("blocking", None)
            if not quiet:
                return self._call(function, args, kwargs)
            try:
                return self._call(function, args, kwargs)
            except np.linalg.LinAlgError:
                like = self._call(np.array, (args[-1],), {})
                like.fill(np.nan)
                return like

        if isinstance(function, np.ufunc):
            for name in ("accumulate", "at", "outer", "reduce"):
                setattr(call, name, functools.partial(self._method, getattr(function, name)))
        return call

    def _method(self, method, *args, **kwargs):
        return self._call(method, args, kwargs)

    @contextlib.contextmanager
    def _open(self):
        self.shim.shim_open()
        try:
            yield
        finally:
            self.shim.shim_close()

    def _check(self):
        if self.shim.shim_capturing():
            raise RuntimeError("the stand-in for CuPy cannot be recorded while a stream is captured")

    def _call(self, function, args, kwargs):
        """``function`` on NumPy views of the arrays, its result as arrays of the stand-in."""
        self._check()
        name = getattr(function, "__name__", "")
        seen = []
        with self._open():
            plain = {key: self._unwrap(value, seen, name) for key, value in kwargs.items()}
            result = function(*[self._unwrap(value, seen, name) for value in args], **plain)
            if name in BOOL_ARRAYS:
                result = np.bool_(result)
            return self._wrap(result, seen)

    def _unwrap(self, value, seen, name):
        """The arguments as NumPy knows them; arrays among them, with their views, are noted in ``seen``."""
        if isinstance(value, self.ndarray):
            seen.append((value, value._view()))
            return seen[-1][1]
        if isinstance(value, np.ndarray) and value.ndim and name not in TAKES_NUMPY:
            raise TypeError(f"Unsupported type {type(value)}")
        if isinstance(value, (list, tuple)):
            return type(value)(self._unwrap(part, seen, name) for part in value)
        if isinstance(value, slice):
            return slice(*(None if part is None else int(part) for part in (value.start, value.stop, value.step)))
        return value

    def _wrap(self, result, seen):
        if isinstance(result, (list, tuple)):
            parts = [self._wrap(part, seen) for part in result]
            return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
        if isinstance(result, (np.ndarray, np.generic)) and result.dtype.kind in "biufc":
            return self._to_device(result if isinstance(result, np.ndarray) else np.asarray(result), seen)
        return result

    def _to_device(self, values, seen):
        """An array itself or a view of one if it is that, or else a copy in device memory."""
        for array, view in seen:
            if values is view:
                return array
        address = values.__array_interface__["data"][0]
        for array, _ in seen if values.size else ():
            if array.size and array.data.mem.ptr <= address < array.data.mem.ptr + array.data.mem.size:
                return self._view_of(array, values, address)
        order = "F" if values.flags.f_contiguous and not values.flags.c_contiguous else "C"
        made = self.ndarray(values.shape, values.dtype, order=order)
        made._view()[...] = values
        return made

    def _view_of(self, array, values, address):
        pointer = self.cuda.MemoryPointer(array.data.mem, address - array.data.mem.ptr)
        view = self.ndarray(values.shape, values.dtype, memptr=pointer, strides=values.strides)
        view.base = array if array.base is None else array.base
        return view

    def empty(self, shape, dtype=float, order="C"):
        """Uninitialised: filled with bytes 0xFF, which are NaN."""
        return self.ndarray(shape, dtype, order=order)

    def empty_like(self, prototype, dtype=None, order="K", subok=None, shape=None):
        """Uninitialised, with the prototype's shape and type."""
        fortran = order == "F" or (order in ("K", "A") and prototype.flags.fnc)
        shape = prototype.shape if shape is None else shape
        return self.ndarray(shape, dtype or prototype.dtype, order="F" if fortran else "C")

    def asnumpy(self, a, stream=None, order="C", out=None, *, blocking=True):
        """A copy on the host; what is there already stays."""
        if isinstance(a, self.ndarray):
            return a.get(order=order, out=out)
        return np.asarray(a, order=order)

    def get_array_module(self, *args):
        """This module if any argument is its array, or else NumPy."""
        return self if any(isinstance(arg, self.ndarray) for arg in args) else np

    def get_default_memory_pool(self):
        """The pool, which keeps nothing."""
        return self.cuda.default_memory_pool

    def is_available(self):
        """There is a device."""
        return True
