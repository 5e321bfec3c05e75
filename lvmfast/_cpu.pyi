"""The compiled module for the CPU; internal, what it does is said in csrc/bind."""

import enum
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", np.float32, np.float64)

class Covariance(enum.Enum):
    rbf = 0
    matern12 = 1
    matern32 = 2
    matern52 = 3
    rational_quadratic = 4
    periodic = 5
    linear = 6
    polynomial = 7
    cosine = 8
    constant = 9
    white = 10

class KernelTree:
    parameters: int
    def add_leaf(self, kind: Covariance, dims: list[int], degree: int) -> int: ...
    def add_node(self, product: bool, parts: list[int]) -> int: ...

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
    tree: KernelTree, theta: NDArray[np.float64], x: NDArray[T], z: NDArray[T] | None, out: NDArray[T]
) -> None: ...
def gram_diagonal(tree: KernelTree, theta: NDArray[np.float64], x: NDArray[T]) -> NDArray[T]: ...
def gram_diagonal_vjp(
    tree: KernelTree, theta: NDArray[np.float64], x: NDArray[T], cotangent: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def gram_vjp(
    tree: KernelTree, theta: NDArray[np.float64], x: NDArray[T], z: NDArray[T] | None, cotangent: NDArray[T]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64]]: ...
def gram_matmul(
    tree: KernelTree, theta: NDArray[np.float64], x: NDArray[T], z: NDArray[T] | None, v: NDArray[T]
) -> NDArray[T]: ...
def gram_matmul_vjp(
    tree: KernelTree,
    theta: NDArray[np.float64],
    x: NDArray[T],
    z: NDArray[T] | None,
    v: NDArray[T],
    cotangent: NDArray[T],
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[T], NDArray[np.float64]]: ...
def exp(x: NDArray[T]) -> NDArray[T]: ...
def softplus(x: NDArray[T]) -> NDArray[T]: ...
def softplus_derivative(x: NDArray[T]) -> NDArray[T]: ...
def softplus_inverse(x: NDArray[T]) -> NDArray[T]: ...
def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]: ...
def fill_uniform(out: NDArray[T], start: int, seed: int) -> None: ...
def fill_normal(out: NDArray[T], start: int, seed: int) -> None: ...
def fill_exponential(out: NDArray[T], start: int, seed: int) -> None: ...
def fill_polya_gamma(out: NDArray[T], b: NDArray[T], z: NDArray[T], start: int, seed: int) -> None: ...
def fill_bits(out: NDArray[np.uint64] | NDArray[np.uint32], start: int, seed: int) -> None: ...
def draws_of_words(distribution: str, words: NDArray[np.uint32], out: NDArray[T], scalar: bool) -> None: ...
def row_product(x: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]: ...

class Likelihood:
    def __init__(self, kind: str, parameters: NDArray[np.float64], nodes: NDArray[np.float64]) -> None: ...
    def expectations(
        self, y: NDArray[T], own: NDArray[T] | None, mean: NDArray[T], variance: NDArray[T]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
    def log_density(self, y: NDArray[T], own: NDArray[T] | None, f: NDArray[T]) -> NDArray[np.float64]: ...
    def log_predictive(
        self, y: NDArray[T], own: NDArray[T] | None, mean: NDArray[T], variance: NDArray[T]
    ) -> NDArray[np.float64]: ...
    def moments(
        self, own: NDArray[T] | None, mean: NDArray[T], variance: NDArray[T]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

class MulticlassLikelihood:
    def __init__(self, classes: int, nodes: NDArray[np.float64], epsilon: float) -> None: ...
    def expectations(
        self, y: NDArray[T], mean: NDArray[T], variance: NDArray[T]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
    def probabilities(self, y: NDArray[T] | None, mean: NDArray[T], variance: NDArray[T]) -> NDArray[np.float64]: ...

class _GplvmObjective(Generic[T]):
    def __init__(self, n: int, q: int) -> None: ...
    def add_group(self, rows: NDArray[np.int64] | None, r: NDArray[T], columns: float) -> None: ...
    def evaluate(
        self,
        tree: KernelTree,
        theta: NDArray[np.float64],
        x: NDArray[T],
        noise: float,
        jitter: float,
        first_jitter: float,
        last_jitter: float,
    ) -> tuple[int, int, float, float, NDArray[np.float64], NDArray[np.float64], float]: ...

class GplvmObjective64(_GplvmObjective[np.float64]): ...
class GplvmObjective32(_GplvmObjective[np.float32]): ...

class GplvmProjection:
    def __init__(
        self,
        tree: KernelTree,
        theta: NDArray[np.float64],
        x: NDArray[np.float64],
        scale: NDArray[np.float64],
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

class _GprObjective(Generic[T]):
    def __init__(
        self, x: NDArray[T], targets: NDArray[T], basis: int, own_noise: NDArray[np.float64] | None
    ) -> None: ...
    def evaluate(
        self,
        tree: KernelTree,
        theta: NDArray[np.float64],
        noise: float,
        jitter: float,
        first_jitter: float,
        last_jitter: float,
    ) -> tuple[int, int, float, float, NDArray[np.float64], float]: ...

class GprObjective64(_GprObjective[np.float64]): ...
class GprObjective32(_GprObjective[np.float32]): ...

class _SgprObjective(Generic[T]):
    def __init__(
        self,
        x: NDArray[T],
        y: NDArray[T],
        shift: NDArray[np.float64],
        basis: int,
        centre: NDArray[np.float64],
        scale: NDArray[np.float64],
        own_noise: NDArray[np.float64] | None,
        fitc: bool,
        tile: int,
    ) -> None: ...
    def evaluate(
        self,
        tree: KernelTree,
        theta: NDArray[np.float64],
        z: NDArray[np.float64],
        noise: float,
        jitter: float,
        first_jitter: float,
        last_jitter: float,
        least_pivot: float,
    ) -> tuple[int, int, float, float, NDArray[np.float64], NDArray[np.float64], float, float]: ...
    def factors(
        self,
    ) -> tuple[
        NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
    ]: ...
    def upper_bound(self, noise: float) -> tuple[int, float]: ...

class SgprObjective64(_SgprObjective[np.float64]): ...
class SgprObjective32(_SgprObjective[np.float32]): ...
class SgprObjective32in64(_SgprObjective[np.float32]): ...

class _Svgp(Generic[T]):
    def __init__(self, inducing: int, q: int, latents: int, whitened: bool, diagonal: bool, natural: bool) -> None: ...
    def q(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def set_q(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> None: ...
    def moments(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
    def set_moments(
        self,
        m1: NDArray[np.float64],
        v1: NDArray[np.float64],
        m2: NDArray[np.float64],
        v2: NDArray[np.float64],
    ) -> None: ...
    def step(
        self,
        tree: KernelTree,
        theta: NDArray[np.float64],
        z: NDArray[np.float64],
        likelihood: Likelihood | MulticlassLikelihood | None,
        given: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None,
        x: NDArray[T],
        y: NDArray[T],
        own: NDArray[T] | None,
        weight: NDArray[np.float64] | None,
        offset: NDArray[np.float64] | None,
        scale: float,
        coef: NDArray[np.float64],
        centre: NDArray[np.float64],
        spread: NDArray[np.float64],
        update: NDArray[np.float64],
        jitter: float,
        first_jitter: float,
        last_jitter: float,
        least_pivot: float,
        always: float,
    ) -> tuple[
        int,
        int,
        float,
        float,
        float,
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
        float,
    ]: ...

class Svgp64(_Svgp[np.float64]): ...
class Svgp32(_Svgp[np.float32]): ...

class _Network(Generic[T]):
    def __init__(self, layers: NDArray[np.int64], parameters: int) -> None: ...
    def forward(self, theta: NDArray[T], x: NDArray[T]) -> tuple[tuple[NDArray[T], ...], int]: ...
    def backward(
        self, theta: NDArray[T], cotangents: Sequence[NDArray[T]], pass_: int, by_input: bool
    ) -> tuple[NDArray[T], NDArray[T] | None] | None: ...

class Network64(_Network[np.float64]): ...
class Network32(_Network[np.float32]): ...

class _NetworkOptimizer(Generic[T]):
    def __init__(self) -> None: ...
    def adam(
        self,
        theta: NDArray[T],
        gradient: NDArray[T],
        m: NDArray[T],
        v: NDArray[T],
        rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        clip: float,
    ) -> None: ...
    def rmsprop(
        self,
        theta: NDArray[T],
        gradient: NDArray[T],
        m: NDArray[T] | None,
        v: NDArray[T],
        rate: float,
        rho: float,
        momentum: float,
        epsilon: float,
        clip: float,
    ) -> None: ...
    def sgd(
        self, theta: NDArray[T], gradient: NDArray[T], m: NDArray[T] | None, rate: float, momentum: float, clip: float
    ) -> None: ...

class NetworkOptimizer64(_NetworkOptimizer[np.float64]): ...
class NetworkOptimizer32(_NetworkOptimizer[np.float32]): ...

class _Vae(Generic[T]):
    def __init__(
        self,
        encoder_layers: NDArray[np.int64],
        encoder_parameters: int,
        decoder_layers: NDArray[np.int64],
        decoder_parameters: int,
        *,
        components: int,
        categories: int,
        likelihood: int,
        variance: int,
        classes: int,
        samples: int,
        iwae: bool,
        dreg: bool,
        low: float,
        high: float,
        code_high: float,
        posterior: int = 0,
        posterior_layers: NDArray[np.int64] | None = None,
        posterior_parameters: int = 0,
        noise: int = 0,
        ratio_steps: int = 1,
        posterior_steps: Sequence[tuple] | None = None,
        posterior_mask: NDArray[np.uint8] | None = None,
    ) -> None: ...
    @property
    def parameters(self) -> int: ...
    def noise(self, seed: int, step: int, n: int) -> NDArray[T]: ...
    def evaluate(
        self,
        theta: NDArray[T],
        fixed: NDArray[T] | None,
        x: NDArray[T],
        eps: NDArray[T],
        beta: float,
        temperature: float,
        gradient: bool,
    ) -> tuple[NDArray[np.float64], NDArray[T] | None]: ...
    def log_weights(
        self, theta: NDArray[T], fixed: NDArray[T] | None, x: NDArray[T], eps: NDArray[T]
    ) -> NDArray[np.float64]: ...
    def train(
        self,
        theta: NDArray[T],
        m: NDArray[T] | None,
        v: NDArray[T] | None,
        fixed: NDArray[T] | None,
        x: NDArray[T],
        rows: NDArray[np.int64] | None,
        batch: int,
        seed: int,
        first_step: int,
        rates: NDArray[np.float64],
        betas: NDArray[np.float64],
        temperatures: NDArray[np.float64],
        kind: int,
        numbers: NDArray[np.float64],
        clip: float,
        ratio_rates: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], int]: ...
    def log_likelihoods(
        self, theta: NDArray[T], fixed: NDArray[T] | None, x: NDArray[T], z: NDArray[T]
    ) -> NDArray[np.float64]: ...

class Vae64(_Vae[np.float64]): ...
class Vae32(_Vae[np.float32]): ...

class _RatioNetwork(Generic[T]):
    def __init__(
        self, layers: NDArray[np.int64], parameters: int, *, kind: int, alpha: float, factor: float
    ) -> None: ...
    def log_ratio(self, theta: NDArray[T], x: NDArray[T]) -> NDArray[T]: ...
    def evaluate(
        self, theta: NDArray[T], x: NDArray[T], weights: NDArray[T], gradient: bool
    ) -> tuple[NDArray[np.float64], NDArray[T] | None]: ...
    def train(
        self,
        theta: NDArray[T],
        m: NDArray[T] | None,
        v: NDArray[T] | None,
        x: NDArray[T],
        weights: NDArray[T],
        rows: NDArray[np.int64] | None,
        batch: int,
        rates: NDArray[np.float64],
        kind: int,
        numbers: tuple[float, float, float],
        clip: float,
    ) -> tuple[NDArray[np.float64], int]: ...

class RatioNetwork64(_RatioNetwork[np.float64]): ...
class RatioNetwork32(_RatioNetwork[np.float32]): ...

class GprPredictor:
    def __init__(
        self, tree: KernelTree, theta: NDArray[np.float64], x: NDArray[np.float64], a: NDArray[np.float64]
    ) -> None: ...
    def mean(self, x: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def cross(self, x: NDArray[np.float64]) -> NDArray[np.float64]: ...

class _LogisticGibbs(Generic[T]):
    def __init__(
        self,
        phi: NDArray[T],
        b: NDArray[T],
        linear: NDArray[np.float64],
        precision: NDArray[np.float64],
        keys: NDArray[np.uint64],
    ) -> None: ...
    def run(
        self,
        beta: NDArray[np.float64],
        start: int,
        iterations: int,
        thin: int,
        first: int,
        draws: NDArray[T] | None,
        omega: NDArray[T] | None,
    ) -> tuple[int, int, int]: ...

class LogisticGibbs64(_LogisticGibbs[np.float64]): ...
class LogisticGibbs32(_LogisticGibbs[np.float32]): ...

class _GpGibbs(Generic[T]):
    def __init__(self, k: NDArray[T], l: NDArray[T], mean: float) -> None: ...  # noqa: E741
    def start(self, seeds: NDArray[np.uint64], f: NDArray[T]) -> None: ...
    def run(
        self,
        seeds: NDArray[np.uint64],
        first: int,
        count: int,
        burn_in: int,
        thin: int,
        kappa: NDArray[T],
        f: NDArray[T],
        omega: NDArray[T],
        draws: NDArray[T],
    ) -> tuple[int, int]: ...

class GpGibbs64(_GpGibbs[np.float64]): ...
class GpGibbs32(_GpGibbs[np.float32]): ...

class _GpVariational(Generic[T]):
    def __init__(self, x: NDArray[T], kappa: NDArray[T], mean: float) -> None: ...
    def evaluate(
        self, tree: KernelTree, theta: NDArray[np.float64], c: NDArray[np.float64], gradient: bool
    ) -> tuple[int, int, float, NDArray[np.float64], NDArray[np.float64]]: ...

class GpVariational64(_GpVariational[np.float64]): ...
class GpVariational32(_GpVariational[np.float32]): ...

def expected_sigmoid(mean: NDArray[np.float64], variance: NDArray[np.float64], out: NDArray[np.float64]) -> None: ...

# normalizing flows

class _Flow(Generic[T]):
    def __init__(
        self, width: int, parameters: int, steps: Sequence[tuple], mask: NDArray[np.uint8] | None = None
    ) -> None: ...
    def run(self, theta: NDArray[T], x: NDArray[T]) -> tuple[NDArray[T], NDArray[np.float64]]: ...
    def pull(
        self, theta: NDArray[T], x: NDArray[T], d_z: NDArray[T], d_log_det: NDArray[np.float64]
    ) -> tuple[NDArray[T], NDArray[T]]: ...
    def invert(self, theta: NDArray[T], z: NDArray[T]) -> tuple[NDArray[T], NDArray[np.float64]]: ...
    def evaluate(
        self, theta: NDArray[T], x: NDArray[T], gradient: bool
    ) -> tuple[NDArray[np.float64], NDArray[T] | None]: ...
    def train(
        self,
        theta: NDArray[T],
        m: NDArray[T] | None,
        v: NDArray[T] | None,
        x: NDArray[T],
        rows: NDArray[np.int64] | None,
        batch: int,
        rates: NDArray[np.float64],
        kind: int,
        numbers: NDArray[np.float64],
        clip: float,
    ) -> tuple[NDArray[np.float64], int]: ...

class Flow64(_Flow[np.float64]): ...
class Flow32(_Flow[np.float32]): ...

# Chains of bijectors
def run_chain(
    steps: NDArray[np.int64],
    numbers: NDArray[np.float64],
    base: int,
    base_at: int,
    base_count: int,
    constant: float,
    x: NDArray[T],
    out: NDArray[T] | None,
    log_det: NDArray[T] | None,
) -> None: ...

# Implicit models.

class _Implicit(Generic[T]):
    def __init__(
        self,
        generator_layers: NDArray[np.int64],
        generator_parameters: int,
        ratio_layers: NDArray[np.int64],
        ratio_parameters: int,
        *,
        loss: int,
        loss_alpha: float,
        objective: int,
        alpha: float,
        factor: float,
        ratio_steps: int,
    ) -> None: ...
    @property
    def parameters(self) -> int: ...
    def noise(self, seed: int, step: int, update: int, n: int) -> NDArray[T]: ...
    def instance_noise(self, seed: int, step: int, update: int, n: int) -> NDArray[T]: ...
    def evaluate(
        self, theta: NDArray[T], x: NDArray[T], z: NDArray[T], gradient: bool, shift: NDArray[T] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[T] | None]: ...
    def train(
        self,
        theta: NDArray[T],
        m: NDArray[T] | None,
        v: NDArray[T] | None,
        x: NDArray[T],
        rows: NDArray[np.int64] | None,
        batch: int,
        seed: int,
        first_step: int,
        rates: NDArray[np.float64],
        ratio_rates: NDArray[np.float64],
        kind: int,
        numbers: NDArray[np.float64],
        clip: float,
        ratio_kind: int,
        ratio_numbers: NDArray[np.float64],
        ratio_clip: float,
        noises: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], int]: ...

class Implicit64(_Implicit[np.float64]): ...
class Implicit32(_Implicit[np.float32]): ...

# KLIEP

def kliep_maximize(
    phi: NDArray[np.float64], weights: NDArray[np.float64], pi: NDArray[np.float64], gap: float
) -> tuple[float, int]: ...
def kliep_cross_validate(
    phi: NDArray[np.float64],
    fold: NDArray[np.int64],
    folds: int,
    pi: NDArray[np.float64],
    gap: float,
    enough: float,
) -> NDArray[np.float64]: ...

# Bayesian optimization

def expected_maximum(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...

class KnowledgeGradient:
    def __init__(
        self,
        tree: KernelTree,
        theta: NDArray[np.float64],
        x: NDArray[np.float64],
        l: NDArray[np.float64],  # noqa: E741
        alpha: NDArray[np.float64],
        noise: float,
        spread: float,
        mean: NDArray[np.float64],
        lower: NDArray[np.float64],
        upper: NDArray[np.float64],
    ) -> None: ...
    def set_points(self, z: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def minimise_mean(
        self, starts: NDArray[np.float64], tolerance: float, max_evaluations: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def evaluate(
        self,
        candidates: NDArray[np.float64],
        xi: NDArray[np.float64],
        weights: NDArray[np.float64],
        at: NDArray[np.float64] | None,
        starts: int,
        tolerance: float,
        max_evaluations: int,
        gradient: bool,
        details: bool,
    ) -> dict[str, NDArray[np.float64]]: ...

class BoxSearch:
    def __init__(
        self,
        starts: NDArray[np.float64],
        lower: NDArray[np.float64],
        upper: NDArray[np.float64],
        scale: NDArray[np.float64],
        tolerance: float,
        max_evaluations: int,
    ) -> None: ...
    def ask(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...
    def tell(self, value: NDArray[np.float64], gradient: NDArray[np.float64]) -> None: ...
    def result(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], int]: ...

def mixture_log_density(x: NDArray[T], centres: NDArray[T], log_weights: NDArray[T]) -> NDArray[T]: ...
def mixture_shares(x: NDArray[T], centres: NDArray[T], log_weights: NDArray[T]) -> tuple[NDArray[T], NDArray[T]]: ...
def mixture_vjp(
    x: NDArray[T], centres: NDArray[T], log_weights: NDArray[T], cotangent: NDArray[T] | None, by_x: bool
) -> tuple[NDArray[T], NDArray[T] | None, NDArray[T], NDArray[T]]: ...
def mixture_mesh_log_density(
    axes: NDArray[np.float64], sizes: NDArray[np.int64], centres: NDArray[np.float64], log_weights: NDArray[np.float64]
) -> NDArray[np.float64]: ...
