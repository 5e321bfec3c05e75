"""The compiled module for NVIDIA GPUs; internal.

It offers what ``_cpu.pyi`` says from ``KernelTree`` and ``cholesky`` on, under the same names, with CuPy arrays where
points, matrices and draws are NumPy arrays there; parameters, statuses and what a fit moves stay NumPy arrays. Here is
what it has besides.
"""

from collections.abc import Callable

architectures: str
compiler: str

def install_libraries(address: Callable[[str], int]) -> None: ...
def install_hooks(empty: Callable[..., object], allocate: Callable[[int], object]) -> None: ...
def enter(stream: int, cublas: int, cusolver: int, device: int) -> None: ...
def use_graphs(on: bool) -> None: ...
