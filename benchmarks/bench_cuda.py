"""On a GPU: GPLVM, covariances, updates, regression and draws beside PyTorch, GPyTorch, JAX, KeOps and CuPy."""

from __future__ import annotations

import pytest
from peers.cuda import Batch, Draws, Gram, PolyaGammaDraws, Product, Unavailable, Update, cupy
from peers.cuda_models import Gplvm, Regression

from lvmfast import _backend, _gpu

# by name: the task that checks the answer and the one that is timed, of a dtype
TASKS = {
    "gplvm": lambda d: (Gplvm.of(200, d), Gplvm.of(1000, d)),
    "gram": lambda d: tuple(Gram.of("RBF", n, 8, d, "value") for n in (300, 8192)),
    "gram_vjp": lambda d: tuple(Gram.of("Matern52", n, 8, d, "value_and_vjp") for n in (300, 8192)),
    "update": lambda d: (Update(300, 8, d), Update(4096, 8, d)),
    "batch": lambda d: (Batch(20, 32, d), Batch(10_000, 32, d)),
    "gpr": lambda d: (Regression.of(300, 8, d), Regression.of(2000, 8, d)),
    "matmul": lambda d: (Product.of("RBF", 300, 8, d), Product.of("RBF", 16384, 8, d)),
    "normal": lambda d: (Draws(100_000, d), Draws(10**7, d)),
    "polya_gamma": lambda d: tuple(PolyaGammaDraws.of(1, "N(0, 2^2)", n, d) for n in (100_000, 10**7)),
}
CLASSES = {"gplvm": Gplvm, "gram": Gram, "gram_vjp": Gram, "update": Update, "batch": Batch, "gpr": Regression}
CLASSES |= {"matmul": Product, "normal": Draws, "polya_gamma": PolyaGammaDraws}

pytestmark = [
    pytest.mark.parametrize("dtype", ["float64", "float32"]),
    pytest.mark.skipif(_gpu.usable() is None, reason=f"lvmfast._cuda is {_backend.cuda_status()}"),
    # what a peer's library says about itself
    pytest.mark.filterwarnings("default"),
]


def measure(benchmark, name, dtype, make):
    small, task = TASKS[name](dtype)
    small.assert_answer(make(small)())
    benchmark.group = f"{name} {task.title} {dtype}"
    run, wait = make(task), cupy().cuda.runtime.deviceSynchronize

    def synchronised():
        run()
        wait()

    synchronised()
    benchmark(synchronised)


@pytest.mark.parametrize("name", TASKS)
def test_ours(benchmark, name, dtype):
    measure(benchmark, name, dtype, CLASSES[name].ours)


@pytest.mark.parametrize(("name", "peer"), [(name, peer) for name in TASKS for peer in CLASSES[name].peers])
def test_peer(benchmark, name, dtype, peer):
    try:
        measure(benchmark, name, dtype, CLASSES[name].peers[peer])
    except Unavailable as reason:
        pytest.skip(f"{peer}: {reason}")
