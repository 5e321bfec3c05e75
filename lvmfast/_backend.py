"""Which compiled module works on an array, and how many threads it may use.

The only place that imports a compiled module; CuPy is imported by :mod:`lvmfast._gpu` when it is first needed. NumPy
arrays go to ``lvmfast._cpu``, arrays on a GPU to ``lvmfast._cuda``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

from lvmfast import _gpu
from lvmfast.exceptions import DeviceError

try:
    from lvmfast import _cpu
except ImportError as error:
    raise ImportError(
        f"lvmfast's compiled module does not load ({error}). In a clone, Python finds the sources beside it first: "
        "install with pip and start from another folder, or make the editable install of the README"
    ) from error

__all__ = [
    "blas_threads",
    "check_device",
    "cpu",
    "cuda_status",
    "get_num_threads",
    "empty",
    "is_gpu",
    "module_for",
    "namespace",
    "release_memory",
    "set_num_threads",
    "to_device",
    "to_numpy",
]

cpu = _cpu
blas_integer_bits: int = _cpu.install_blas(cython_blas.__pyx_capi__, cython_lapack.__pyx_capi__)

_blas_limit: int | None = None


def available_cpus() -> int:
    """The processors that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def get_num_threads() -> int:
    """Number of threads that lvmfast's own loops share.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> lvm.get_num_threads() >= 1
    True
    """
    return _cpu.num_threads()


def set_num_threads(n: int) -> None:
    """Let lvmfast use ``n`` threads: its own loops, and the BLAS while lvmfast calls it.

    The default is every processor that the process may run on, or the environment variable
    ``LVMFAST_NUM_THREADS``; the BLAS then keeps the number of threads that it was given elsewhere
    (``OPENBLAS_NUM_THREADS``, threadpoolctl). Random draws do not depend on the number of threads.

    Raises
    ------
    ValueError
        If ``n`` is not an integer of at least 1 (and at most 4096).

    Examples
    --------
    >>> import lvmfast as lvm
    >>> before = lvm.get_num_threads()
    >>> lvm.set_num_threads(1)
    >>> lvm.get_num_threads()
    1
    >>> lvm.set_num_threads(before)
    """
    global _blas_limit
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MAX_THREADS:
        raise ValueError(f"n must be an integer >= 1 and <= {MAX_THREADS}, got {n!r}")
    _cpu.set_num_threads(int(n))
    _blas_limit = min(int(n), available_cpus())  # more than there are makes a BLAS a hundred times slower


MAX_THREADS = 4096
SMALL_ORDER = 200  # below, a second BLAS thread gains nothing, and a busy processor makes it cost milliseconds


class _BlasLimits:
    """The limits that are wanted now, by any thread; the BLAS has the least of them, or what it had before."""

    def __init__(self):
        self.lock = threading.Lock()
        self.wanted: list[int] = []
        self.controller = self.active = self.limit = None

    def change(self, add: int | None = None, remove: int | None = None) -> None:
        with self.lock:
            if add is not None:
                self.wanted.append(add)
            if remove is not None:
                self.wanted.remove(remove)
            limit = min(self.wanted, default=None)
            if limit == self.limit:
                return
            self.limit = limit
            if self.active is not None:
                self.active.restore_original_limits()
                self.active = None
            if limit is not None:
                if self.controller is None:
                    from threadpoolctl import ThreadpoolController

                    self.controller = ThreadpoolController()
                self.active = self.controller.limit(limits=limit, user_api="blas")


_limits = _BlasLimits()


@contextlib.contextmanager
def blas_threads(order: int | None = None):
    """Hold the BLAS to the number given to set_num_threads, if any was; to one for matrices of a small ``order``."""
    limit = 1 if order is not None and order < SMALL_ORDER else _blas_limit
    if limit is None:
        yield
        return
    _limits.change(add=limit)
    try:
        yield
    finally:
        _limits.change(remove=limit)


def empty(shape, dtype, order="C", like=None):
    """An array for a result, of the last two dimensions in ``order``; large ones in memory that is used again.

    On the GPU if ``like`` is there.
    """
    if is_gpu(like):
        return _gpu.stack().empty(tuple(shape), dtype, order)
    return _cpu.empty(tuple(shape), order, dtype == np.float64)


def release_memory() -> int:
    """Free the memory of large results that are gone, which waits for the next ones (at most 256 MiB).

    Memory on the GPU belongs to CuPy: ``cupy.get_default_memory_pool().free_all_blocks()``.

    Returns
    -------
    int
        The bytes that were freed.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> freed = lvm.release_memory()  # bytes
    >>> lvm.release_memory()
    0
    """
    return _cpu.release_memory()


cuda_status = _gpu.status


def cupy_status() -> str:
    """Whether CuPy is installed."""
    return "installed" if importlib.util.find_spec("cupy") else "not installed: pip install 'lvmfast[cuda]'"


is_gpu = _gpu.is_gpu


def namespace(*arrays):
    """NumPy, or CuPy if any of the arrays lives on a GPU."""
    return _gpu.stack().cupy if any(map(is_gpu, arrays)) else np


def namespace_on(device: str):
    """NumPy for "cpu", CuPy for "cuda"."""
    return _gpu.stack().cupy if device == "cuda" else np


memory_errors = _gpu.memory_errors


def to_numpy(array):
    """A NumPy array from either device; anything else as it is."""
    if not is_gpu(array):
        return array
    module_for(array)
    stack = _gpu.stack()
    return stack.cupy.asnumpy(stack.asarray(array))


def to_device(array, device: str):
    """A NumPy array on "cpu" or "cuda"; what lives on the GPU stays there."""
    if device == "cuda":
        return array if is_gpu(array) and _gpu.is_native(array) else _gpu.stack().asarray(array)
    return array


def like(array, given):
    """An array where ``given`` is: on the GPU, or as a NumPy array."""
    return to_device(array, "cuda") if is_gpu(given) else to_numpy(array)


def check_device(device: str, *arrays) -> str:
    """The device that works for an estimator, "cpu" or "cuda"; raise unless it can be used with these arrays."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {device!r}")
    on_gpu = any(map(is_gpu, arrays))
    if device == "cuda":
        if _gpu.usable() is None:
            raise DeviceError(f"device='cuda' cannot be used: the CUDA module is {cuda_status()}; use device='cpu'")
        return "cuda"
    if device == "cpu" and on_gpu:
        raise DeviceError("device='cpu' does not take arrays on a GPU; use device='auto', or move them with .get()")
    return "cuda" if on_gpu else "cpu"


def module_for(*arrays, **named):
    """The compiled module for these arrays; DeviceError unless they all live on one device that can be used."""
    everything = [(None, array) for array in arrays] + list(named.items())
    gpu = [(name, array) for name, array in everything if is_gpu(array)]
    if not gpu:
        return _cpu
    stack = _gpu.usable()
    if stack is None:
        raise DeviceError(
            f"got a GPU array ({_kind(gpu[0][1])}), but the CUDA module is {cuda_status()}; move it to the CPU first, "
            "with .get() or numpy.asarray"
        )
    for name, array in everything:
        if isinstance(array, (np.ndarray, list, tuple)) and np.ndim(array) > 0:
            first = f"{gpu[0][0]} is" if gpu[0][0] else "one is"
            second = f"{name} is" if name else "another"
            raise DeviceError(
                f"arrays live on different devices: {first} on the GPU ({_kind(gpu[0][1])}), {second} on the CPU "
                f"({_kind(array)}); move one with cupy.asarray or .get()"
            )
    return stack.enter(array for _, array in gpu)


def module_on(device: str, *arrays):
    """The compiled module of "cpu" or "cuda", told to work on CuPy's current stream, on the GPU of the arrays."""
    return _gpu.stack().enter(arrays) if device == "cuda" else _cpu


def usable_device(device: str) -> str:
    """``device``, or "cpu" where there is no GPU: for models that come from elsewhere."""
    return "cpu" if device == "cuda" and _gpu.usable() is None else device


def _kind(array) -> str:
    return f"{type(array).__module__}.{type(array).__name__}"


def _initial_threads() -> None:
    text = os.environ.get("LVMFAST_NUM_THREADS")
    if text is None:
        _cpu.set_num_threads(available_cpus())
        return
    try:
        set_num_threads(int(text))
    except ValueError:
        raise ValueError(f"LVMFAST_NUM_THREADS must be an integer >= 1, got {text!r}") from None


def _initial_instruction_set() -> None:
    name = os.environ.get("LVMFAST_INSTRUCTION_SET")
    if name is not None and not _cpu.use_instruction_set(name):
        raise ValueError(
            f"LVMFAST_INSTRUCTION_SET must be one of {_cpu.instruction_sets()} on this processor, got {name!r}"
        )


_initial_threads()
_initial_instruction_set()
