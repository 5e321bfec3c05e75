"""The compiled module for the CPU; internal, what it does is said in csrc/bind."""

import enum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", np.float32, np.float64)

class StationaryKind(enum.Enum):
    rbf = 0

compiler: str
version: str

def install_blas(blas: dict[str, object], lapack: dict[str, object]) -> int: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def instruction_set() -> str: ...
def instruction_sets() -> list[str]: ...
def use_instruction_set(name: str) -> bool: ...
def empty(shape: tuple[int, ...], order: str, is_double: bool) -> NDArray[np.float64] | NDArray[np.float32]: ...
def release_memory() -> int: ...
def cholesky(
    a: NDArray[T], factor: NDArray[T], first_jitter: float, last_jitter: float
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]: ...
def cholesky_vjp(
    l: NDArray[T],  # noqa: E741
    l_bar: NDArray[T],
    a_bar: NDArray[T],
) -> None: ...
def solve_triangular_inplace(
    l: NDArray[T],  # noqa: E741
    b: NDArray[T],
    lower: bool,
    trans: bool,
) -> None: ...
def cholesky_update_fast(
    l: NDArray[T],  # noqa: E741
    u: NDArray[T],
    sign: int,
    overwrite: bool,
) -> NDArray[T] | None: ...
def cholesky_update(
    l: NDArray[T],  # noqa: E741
    u: NDArray[T],
    signs: NDArray[np.int8] | None,
    out: NDArray[T],
    clear_upper: bool,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def cholesky_update_vjp(
    l: NDArray[T],  # noqa: E741
    l_new: NDArray[T],
    g: NDArray[T],
    u: NDArray[T],
    signs: NDArray[T],
    l_bar: NDArray[T],
    u_bar: NDArray[T],
) -> None: ...
def gram(
    kind: StationaryKind,
    x: NDArray[T],
    z: NDArray[T] | None,
    variance: float,
    lengthscale: NDArray[T],
    out: NDArray[T],
) -> None: ...
def gram_vjp(
    kind: StationaryKind,
    x: NDArray[T],
    z: NDArray[T] | None,
    cotangent: NDArray[T],
    variance: float,
    lengthscale: NDArray[T],
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, float, NDArray[np.float64]]: ...
def exp(x: NDArray[T]) -> NDArray[T]: ...
def softplus(x: NDArray[T]) -> NDArray[T]: ...
def softplus_derivative(x: NDArray[T]) -> NDArray[T]: ...
def softplus_inverse(x: NDArray[T]) -> NDArray[T]: ...
def row_product(x: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]: ...

class _GplvmObjective(Generic[T]):
    def __init__(self, n: int, q: int) -> None: ...
    def add_group(self, rows: NDArray[np.int64] | None, r: NDArray[T], columns: float) -> None: ...
    def evaluate(
        self,
        kind: StationaryKind,
        x: NDArray[T],
        variance: float,
        lengthscale: NDArray[T],
        noise: float,
        jitter: float,
        first_jitter: float,
        last_jitter: float,
    ) -> tuple[int, int, float, float, NDArray[np.float64], float, NDArray[np.float64], float]: ...

class GplvmObjective64(_GplvmObjective[np.float64]): ...
class GplvmObjective32(_GplvmObjective[np.float32]): ...

class GplvmProjection:
    def __init__(
        self,
        kind: StationaryKind,
        x: NDArray[np.float64],
        variance: float,
        lengthscale: NDArray[np.float64],
        noise: float,
    ) -> None: ...
    def add_group(
        self, rows: NDArray[np.int64] | None, precision: NDArray[np.float64], a: NDArray[np.float64]
    ) -> None: ...
    def evaluate(
        self,
        x: NDArray[np.float64],
        targets: NDArray[np.float64],
        mask: NDArray[np.float64] | None,
        observed: NDArray[np.float64],
        residual: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def minimise(
        self,
        start: NDArray[np.float64],
        targets: NDArray[np.float64],
        mask: NDArray[np.float64] | None,
        observed: NDArray[np.float64],
        residual: NDArray[np.float64],
        tolerance: float,
        max_evaluations: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]: ...
