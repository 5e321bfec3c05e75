"""The GPU, where there is one: CuPy and the compiled module ``lvmfast._cuda``, brought together when first needed.

Nothing of CUDA is imported or loaded before. Memory, streams and the handles of cuBLAS and cuSOLVER are CuPy's.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import threading

import numpy as np

from lvmfast.exceptions import DeviceError, DeviceMemoryError

__all__ = ["Stack", "is_gpu", "is_native", "memory_errors", "stack", "status", "usable"]

CUDA_DEVICES = (2, 13)  # of DLPack: CUDA memory, and managed memory


class Stack:
    """CuPy and the compiled module, working together.

    Parameters
    ----------
    module
        ``lvmfast._cuda``.
    cupy
        The module ``cupy``.
    install : callable, optional
        ``install(module)`` gives the module cuBLAS and cuSOLVER. By default they are those that CuPy has loaded.
    """

    def __init__(self, module, cupy, install=None):
        self.module, self.cupy = module, cupy
        cupy.cuda.device.get_cublas_handle()  # loads the libraries
        cupy.cuda.device.get_cusolver_handle()
        (install or _install_loaded)(module)
        module.install_hooks(self.empty, self.allocate)
        module.use_graphs(os.environ.get("LVMFAST_CUDA_GRAPHS", "1") != "0")

    def enter(self, arrays=()):
        """The compiled module, told to work on CuPy's current stream and device, where the arrays must live."""
        cuda = self.cupy.cuda
        device = cuda.runtime.getDevice()
        for array in arrays:
            own = getattr(getattr(array, "device", None), "id", device)
            if isinstance(own, int) and own != device:
                raise DeviceError(
                    f"an array lives on GPU {own}, but the current device is GPU {device}; call inside "
                    f"`with cupy.cuda.Device({own})`, or copy it"
                )
        handles = cuda.device.get_cublas_handle(), cuda.device.get_cusolver_handle()
        self.module.enter(cuda.get_current_stream().ptr, *handles, device)
        return self.module

    def asarray(self, array):
        """A CuPy array: itself, a view of another library's array on the GPU, or a copy of one on the CPU."""
        if isinstance(array, self.cupy.ndarray):
            return array
        if is_gpu(array) and not hasattr(array, "__cuda_array_interface__"):
            return self.cupy.from_dlpack(array)
        return self._with_memory(self.cupy.asarray, array)

    def empty(self, shape, dtype, order="C"):
        """A new array, of the last two dimensions in ``order``."""
        shape = tuple(shape)
        if order == "F" and len(shape) >= 2:
            swapped = (*shape[:-2], shape[-1], shape[-2])
            return self._with_memory(self.cupy.empty, swapped, dtype).swapaxes(-1, -2)
        return self._with_memory(self.cupy.empty, shape, dtype)

    def allocate(self, size: int):
        """Memory of the pool for scratch: an object with ``ptr``."""
        return self._with_memory(self.cupy.cuda.alloc, size)

    def _with_memory(self, function, *args):
        try:
            return function(*args)
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            raise _no_room(_asked_for(function, args), error) from None


def _no_room(what: str, error) -> DeviceMemoryError:
    return DeviceMemoryError(
        f"the GPU has no room for {what}: {error} Free arrays, or cupy.get_default_memory_pool().free_all_blocks(); "
        "use float32 or fewer rows"
    )


def memory_errors(function):
    """A decorator: CuPy's own error for too little memory becomes DeviceMemoryError."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except MemoryError as error:
            if _stack is None or not isinstance(error, _stack.cupy.cuda.memory.OutOfMemoryError):
                raise
            raise _no_room(f"what {function.__name__} needs on the way", error) from None

    return call


def _asked_for(function, args) -> str:
    if isinstance(args[0], int):
        return f"{args[0]:,} bytes of scratch memory"
    if isinstance(args[0], tuple):
        return f"an array of shape {args[0]} and dtype {np.dtype(args[1])}"
    return f"an array of shape {np.shape(args[0])}"


def is_gpu(array) -> bool:
    """Whether an object is an array in the memory of a CUDA device."""
    if array is None or isinstance(array, (np.ndarray, np.generic, list, tuple, float, int, str)):
        return False
    try:
        if hasattr(array, "__cuda_array_interface__"):
            return True
    except RuntimeError as error:  # PyTorch's tensors that require gradients
        raise TypeError(f"an array on the GPU cannot be used ({error}); detach it first") from None
    device = getattr(array, "__dlpack_device__", None)
    if device is None or not hasattr(array, "__dlpack__"):
        return False
    try:
        return int(device()[0]) in CUDA_DEVICES
    except Exception:  # an array of a library that answers only where it can be exported
        return False


def is_native(array) -> bool:
    """Whether it is a CuPy array."""
    return _stack is not None and isinstance(array, _stack.cupy.ndarray)


_stack: Stack | None = None
_reason: str | None = None
_lock = threading.Lock()


def usable() -> Stack | None:
    """The stack, made when first asked for; None where there is none."""
    global _stack, _reason
    with _lock:
        if _stack is None and _reason is None:
            try:
                _stack = _make()
            except _CannotUse as error:
                _reason = str(error)
    return _stack


def stack() -> Stack:
    """The stack, or DeviceError."""
    found = usable()
    if found is None:
        raise DeviceError(f"the CUDA module is {status()}")
    return found


def status() -> str:
    """Whether the GPU can be used, and if not, why not."""
    found = usable()
    if found is None:
        return _reason
    properties = found.cupy.cuda.runtime.getDeviceProperties(found.cupy.cuda.runtime.getDevice())
    name = properties["name"]
    name = name.decode() if isinstance(name, bytes) else name
    return f"ready: {name}, compiled for {found.module.architectures} by {found.module.compiler}"


class _CannotUse(Exception):
    """Why there is no stack."""


def _make() -> Stack:
    if importlib.util.find_spec("lvmfast._cuda") is None:
        raise _CannotUse("not built: build lvmfast where nvcc is found, with -C cmake.define.LVMFAST_CUDA=ON to insist")
    try:
        from lvmfast import _cuda
    except ImportError as error:
        raise _CannotUse(f"built, but it does not load ({error})") from None
    if importlib.util.find_spec("cupy") is None:
        raise _CannotUse("built, but CuPy is not installed: pip install 'lvmfast[cuda]'")
    try:
        import cupy
    except ImportError as error:
        raise _CannotUse(f"built, but CuPy does not load ({error})") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise _CannotUse(f"built, but CUDA finds no device ({error})") from None
    if count == 0:
        raise _CannotUse("built, but CUDA finds no device")
    try:
        return Stack(_cuda, cupy)
    except (ImportError, OSError, RuntimeError) as error:
        raise _CannotUse(f"built, but cuBLAS or cuSOLVER cannot be used ({error})") from None


def _install_loaded(module) -> None:
    # Symbols are looked up in CuPy's own extensions, and so in the libraries that these are linked to: another version
    # of them, of another package, may be in the process too.
    from cupy_backends.cuda.libs import cublas, cusolver

    libraries = [ctypes.CDLL(extension.__file__) for extension in (cublas, cusolver)]
    module.install_libraries(functools.partial(_address, libraries))


def _address(libraries, name: str) -> int:
    for library in libraries:
        try:
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        except AttributeError:
            continue
    return 0
