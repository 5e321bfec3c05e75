"""Evaluations that come again are replayed as CUDA graphs, with the same bits."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend, _gpu
from lvmfast.kernels import RBF, Linear, Matern32, White

KERNEL = RBF(1.0, [1.0, 2.0]) + Linear() * Matern32() + White(0.1)
JITTER = (0.0, 1e-10, 1e-4)


def evaluations(graphs):
    """A GPLVM with two groups and a GPR at several parameters, one of which needs jitter."""
    rng = np.random.default_rng(1)
    module = _gpu.stack().module
    module.use_graphs(graphs)
    _backend.module_on("cuda")
    compiled = KERNEL.compiled(2)
    tree, results = compiled.tree_for(module), []
    gplvm = module.GplvmObjective64(40, 2)
    gplvm.add_group(None, np.asfortranarray(rng.standard_normal((40, 5))), 5.0)
    rows = np.sort(rng.choice(40, 17, replace=False))
    gplvm.add_group(rows, np.asfortranarray(rng.standard_normal((17, 3))), 3.0)
    for k in range(6):
        X = rng.standard_normal((40, 2))
        theta = compiled.vector() * np.exp(0.3 * rng.standard_normal(compiled.size))
        if k == 4:  # equal rows without noise
            X[:], theta[-1] = X[0], 1e-300
        results.append(gplvm.evaluate(tree, theta, X, 1e-300 if k == 4 else 0.1, *JITTER))
    gpr = module.GprObjective64(X, np.asfortranarray(rng.standard_normal((40, 3))), 1, None)
    for _ in range(5):
        theta = compiled.vector() * np.exp(0.3 * rng.standard_normal(compiled.size))
        results.append(gpr.evaluate(tree, theta, 0.1, *JITTER))
    other = RBF().compiled(2)  # another kernel: captured anew
    results.append(gpr.evaluate(other.tree_for(module), other.vector(), 0.1, *JITTER))
    return results


def test_replayed_evaluations_are_the_same(gpu):
    plain = evaluations(graphs=False)
    replays = getattr(gpu, "shim", None) and gpu.shim.shim_replays()
    replayed = evaluations(graphs=True)
    assert plain[4][2] > 0  # jitter
    for one, other in zip(plain, replayed, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    if replays is not None:
        assert gpu.shim.shim_replays() >= replays + 2 * 5 + 4
