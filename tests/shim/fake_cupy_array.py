"""The stand-in for ``cupy.ndarray``."""

from __future__ import annotations

import operator

import numpy as np

REFUSAL = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)

METHODS = (
    "all any argmax argmin argsort clip conj cumprod cumsum diagonal dot fill flatten max mean min nonzero prod "
    "ravel repeat round searchsorted sort squeeze std sum swapaxes take trace transpose var"
)


class Flags:
    """CuPy's flags: these three, and no others."""

    def __init__(self, c: bool, f: bool, own: bool):
        self.c_contiguous, self.f_contiguous, self.owndata = c, f, own
        self.forc, self.fnc = c or f, f and not c

    def __getitem__(self, name):
        return {"C_CONTIGUOUS": self.c_contiguous, "F_CONTIGUOUS": self.f_contiguous, "OWNDATA": self.owndata}[name]


def _strides(shape, itemsize: int, order: str) -> tuple:
    strides, step = [], itemsize
    for n in shape if order == "F" else shape[::-1]:
        strides.append(step)
        step *= n or 1
    return tuple(strides if order == "F" else strides[::-1])


class Interface:
    """NumPy makes an array of it without touching the memory."""

    def __init__(self, **interface):
        self.__array_interface__ = interface


class ArrayBase:
    """An array in the shim's device memory; the class in use has the stand-in as ``_cupy``."""

    __array_priority__ = 100
    __hash__ = None
    _cupy = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        self.shape = tuple(operator.index(n) for n in (shape if np.iterable(shape) else (shape,)))
        self.dtype = np.dtype(dtype)
        self.ndim, self.size = len(self.shape), int(np.prod(self.shape, dtype=np.int64))
        self.itemsize, self.nbytes = self.dtype.itemsize, self.size * self.dtype.itemsize
        if self.dtype.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {self.dtype}")
        self.strides = _strides(self.shape, self.itemsize, order or "C") if strides is None else tuple(strides)
        self.data = self._cupy.cuda.alloc(self.nbytes) if memptr is None else memptr
        self.base = None

    def _view(self):
        """The NumPy array upon the device memory; to be touched only while the arena is open."""
        if self.size == 0:
            return np.empty(self.shape, self.dtype)
        return np.asarray(
            Interface(
                data=(self.data.ptr, False), shape=self.shape, strides=self.strides, typestr=self.dtype.str, version=3
            )
        )

    @property
    def flags(self):
        """Which order the elements are in."""
        like = np.lib.stride_tricks.as_strided(np.empty(0, self.dtype), self.shape, self.strides)
        return Flags(like.flags.c_contiguous, like.flags.f_contiguous, self.base is None)

    @property
    def device(self):
        """Where it is."""
        return self._cupy.cuda.Device(0)

    @property
    def __cuda_array_interface__(self):
        contiguous = self.flags.c_contiguous
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "stream": self._cupy.cuda.get_current_stream().ptr or 1,
            "version": 3,
            "strides": None if contiguous else self.strides,
            "data": (self.data.ptr, False),
        }

    def __array__(self, *_, **__):
        raise TypeError(REFUSAL)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or ufunc.__name__ not in self._cupy._names.FUNCTIONS:
            return NotImplemented
        return self._cupy._call(ufunc, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if not all(issubclass(kind, ArrayBase) for kind in types):
            return NotImplemented
        place = self._cupy.linalg if function.__module__ == "numpy.linalg" else self._cupy
        mine = getattr(place, function.__name__, None)
        return NotImplemented if mine is None else mine(*args, **kwargs)

    def get(self, stream=None, order="C", out=None, blocking=True):
        """A NumPy copy."""
        self._cupy._check()
        self._cupy.shim.shim_synchronize()
        with self._cupy._open():
            view = self._view()
            if out is None:
                fortran = order == "F" or (order == "A" and self.flags.fnc)
                return np.array(view, order="F" if fortran else "C", copy=True)
            if out.shape != view.shape or out.dtype != view.dtype:
                raise ValueError("Shape or dtype mismatch")
            out[...] = view
            return out

    def set(self, values, stream=None):
        """Copy a NumPy array into this one."""
        if not isinstance(values, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if values.dtype != self.dtype or values.shape != self.shape:
            raise ValueError("Shape or dtype mismatch")
        self._cupy._check()
        with self._cupy._open():
            self._view()[...] = values

    def __len__(self):
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, key):
        key = key if isinstance(key, tuple) else (key,)
        if all(isinstance(part, (int, np.integer, slice)) or part is None for part in key):
            key = (*key, Ellipsis)  # a view also where NumPy gives a scalar
        return self._cupy._call(lambda view, k: view[k], (self, key), {})

    def __setitem__(self, key, value):
        self._cupy._call(lambda view, k, v: view.__setitem__(k, v), (self, key, value), {})

    def item(self):
        """The only element as a Python number."""
        return self.get().item()

    def tolist(self):
        """As nested lists."""
        return self.get().tolist()

    def __float__(self):
        return float(self.get().item())

    def __int__(self):
        return int(self.get().item())

    def __index__(self):
        return operator.index(self.get())

    def __bool__(self):
        return bool(self.get())

    def __repr__(self):
        return repr(self.get())

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        """Converted; itself if nothing is to do and ``copy`` is false."""
        if not copy and np.dtype(dtype) == self.dtype and order in ("K", "A"):
            return self
        return self._cupy._call(lambda view: view.astype(dtype, order), (self,), {})

    def copy(self, order="C"):
        """A copy."""
        return self._cupy._call(lambda view: view.copy(order), (self,), {})

    def view(self, dtype=None):
        """The same memory, perhaps as another type."""
        return self._cupy._call(lambda view: view.view(dtype or view.dtype), (self,), {})

    def reshape(self, *shape, order="C"):
        """A view where that can be, or else a copy."""
        return self._cupy._call(lambda view: view.reshape(*shape, order=order), (self,), {})

    @property
    def T(self):  # noqa: N802
        """The transpose, a view."""
        return self.transpose()


def _add_methods():
    def method(name):
        def call(self, *args, **kwargs):
            return self._cupy._call(lambda view, *a, **k: getattr(view, name)(*a, **k), (self, *args), kwargs)

        call.__name__ = name
        setattr(ArrayBase, name, call)

    def binary(name, function):
        def forward(self, other):
            return self._cupy._call(function, (self, other), {})

        def backward(self, other):
            return self._cupy._call(function, (other, self), {})

        def in_place(self, other):
            self._cupy._call(function, (self, other), {"out": self})
            return self

        for prefix, operation in {"__": forward, "__r": backward, "__i": in_place}.items():
            setattr(ArrayBase, f"{prefix}{name}__", operation)

    for name in METHODS.split():
        method(name)
    functions = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
        "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
        "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
    }  # fmt: skip
    for name, function in functions.items():
        binary(name, function)
    comparisons = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater}
    comparisons["ge"] = np.greater_equal
    for name, function in comparisons.items():
        setattr(ArrayBase, f"__{name}__", lambda self, other, f=function: self._cupy._call(f, (self, other), {}))
    for name, function in {"neg": np.negative, "pos": np.positive, "abs": np.abs, "invert": np.invert}.items():
        setattr(ArrayBase, f"__{name}__", lambda self, f=function: self._cupy._call(f, (self,), {}))


_add_methods()
ArrayBase.__hash__ = None
