"""The stand-in for ``cupy.cuda``: device memory, streams, handles."""

from __future__ import annotations

import threading
from types import SimpleNamespace


class OutOfMemoryError(MemoryError):
    """As CuPy's, with its message."""

    def __init__(self, size: int, total: int, limit: int = 0):
        more = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{more}).")


class CUDARuntimeError(RuntimeError):
    """What CuPy raises for an error of the CUDA runtime."""


class Memory:
    """A block of device memory, freed with the object: what uses it later crashes."""

    def __init__(self, shim, size: int):
        self._free = shim.shim_free
        self.size = size
        self.device_id = 0
        self.ptr = 0
        try:
            self.ptr = shim.shim_malloc(size)
        except MemoryError:
            raise OutOfMemoryError(size, shim.shim_live_bytes()) from None

    def __del__(self):
        if self.ptr:
            self._free(self.ptr)
            self.ptr = 0


class UnownedMemory:
    """Device memory that someone else keeps; ``owner`` lives as long as this."""

    def __init__(self, ptr: int, size: int, owner: object, device_id: int = -1):
        self.ptr, self.size, self._owner, self.device_id = int(ptr), int(size), owner, max(device_id, 0)


class MemoryPointer:
    """A place in a block of device memory."""

    def __init__(self, mem, offset: int):
        self.mem, self._offset = mem, offset

    @property
    def ptr(self) -> int:
        """The address."""
        return self.mem.ptr + self._offset

    @property
    def device_id(self) -> int:
        """The device's number."""
        return self.mem.device_id

    def __int__(self):
        return self.ptr

    def __add__(self, offset: int):
        return MemoryPointer(self.mem, self._offset + int(offset))

    def __sub__(self, offset: int):
        return self + -offset


class Device:
    """The only device."""

    def __init__(self, device=0):
        self.id = int(device)
        if self.id != 0:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self):
        return hash(self.id)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def use(self):
        """Make it the current device: it is."""

    compute_capability = "90"


def make_cuda(shim) -> SimpleNamespace:
    """``cupy.cuda`` upon a compiled shim.

    Parameters
    ----------
    shim : module
        The compiled module.
    """
    local = threading.local()

    class ExternalStream:
        def __init__(self, ptr: int, device_id: int = -1):
            self.ptr, self.device_id = int(ptr), max(device_id, 0)

        def __enter__(self):
            local.streams = [*getattr(local, "streams", []), self]
            return self

        def __exit__(self, *_):
            local.streams.pop()

        def use(self):
            local.streams = [self]
            return self

        def synchronize(self):
            shim.shim_synchronize()

    class Stream(ExternalStream):
        def __init__(self, null: bool = False, non_blocking: bool = False):
            super().__init__(0 if null else shim.shim_stream_create(non_blocking))

        def __del__(self):
            if getattr(self, "ptr", 0):
                shim.shim_stream_destroy(self.ptr)
                self.ptr = 0

    Stream.null = Stream(null=True)

    def get_current_stream(device_id: int = -1):
        streams = getattr(local, "streams", [])
        return streams[-1] if streams else Stream.null

    def alloc(size: int) -> MemoryPointer:
        return MemoryPointer(Memory(shim, int(size)), 0)

    class Pool:
        def used_bytes(self):
            return shim.shim_live_bytes()

        total_bytes = used_bytes

        def free_bytes(self):
            return 0

        def free_all_blocks(self, stream=None):
            pass

        def get_limit(self):
            return shim.shim_limit()

        def set_limit(self, size=None):
            shim.shim_set_limit(size)

    class CurrentDevice(Device):
        def synchronize(self):
            shim.shim_synchronize()

        @property
        def mem_info(self):
            return shim.shim_limit() - shim.shim_live_bytes(), shim.shim_limit()

    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        deviceSynchronize=shim.shim_synchronize,
        driverGetVersion=lambda: 13000,
        getDevice=lambda: 0,
        getDeviceCount=lambda: 1,
        is_hip=False,
        runtimeGetVersion=lambda: 13000,
        setDevice=CurrentDevice,
        streamSynchronize=lambda stream: shim.shim_synchronize(),
    )
    handles = {"get_cublas_handle": lambda: 0x1000, "get_cusolver_handle": lambda: 0x2000}
    return SimpleNamespace(
        Device=CurrentDevice,
        ExternalStream=ExternalStream,
        Memory=Memory,
        MemoryPointer=MemoryPointer,
        Stream=Stream,
        UnownedMemory=UnownedMemory,
        alloc=alloc,
        default_memory_pool=Pool(),
        device=SimpleNamespace(Device=CurrentDevice, get_device_id=lambda: 0, **handles),
        get_current_stream=get_current_stream,
        get_device_id=lambda: 0,
        is_available=lambda: True,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError, MemoryPointer=MemoryPointer),
        runtime=runtime,
        **handles,
    )
