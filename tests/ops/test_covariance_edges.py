"""Kernels where rounding, memory or types are at their worst."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences
from reference import covariances as oracle

import lvmfast as lvm
from lvmfast.bijectors import Exp, Softplus
from lvmfast.kernels import RBF, Linear, Matern12, Matern32, Polynomial, White
from lvmfast.priors import Gamma


def exact(kind, X, C):
    """The oracle's (dX, gradients) of sum(C * k(X))."""
    node = oracle.Leaf(kind, {"variance": 1.0, "lengthscale": 1.0})
    dX, _, gradients = oracle.vjp(node, X, None, C)
    return np.asarray(dX, float), {name.split(".")[-1]: float(g) for name, g in gradients.items()}


@pytest.mark.parametrize("kind", ["RBF", "Matern12", "Matern32"])
@pytest.mark.parametrize("q", [2, 4, 20])
@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_gradients_of_clusters_far_apart(kind, q, offset, dtype):
    """What is left of sums of the size of the offset would be rounding: near points go by their differences."""
    X = np.random.default_rng(0).standard_normal((40, q)).astype(dtype)
    X[20:] += dtype(offset)
    C = np.ones((40, 40), dtype)
    dX, _, gradients = getattr(lvm.kernels, kind)().vjp(X, None, C)
    dX_exact, exact_gradients = exact(kind, X.astype(float), C)
    eps = np.finfo(dtype).eps * offset
    assert_near(gradients["lengthscale"], exact_gradients["lengthscale"], 40 * eps)
    assert_near(dX, dX_exact, 40 * eps, scale=np.abs(dX_exact).max() + 1)


@pytest.mark.parametrize("q", [3, 4, 17])
def test_matern12_at_points_that_almost_coincide(q):
    """Its slope is 1e15 there; every gradient is of order 1."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (30, q))
    X = np.vstack([X, (X / 0.1) * 0.1])
    C = rng.standard_normal((60, 60))
    dX, _, gradients = Matern12().vjp(X, None, C)
    dX_exact, exact_gradients = exact("Matern12", X, C)
    assert_near(gradients["lengthscale"], exact_gradients["lengthscale"], 1e-12, scale=np.abs(C).sum())
    assert_near(dX, dX_exact, 1e-9, scale=np.abs(C).sum(axis=1).max())


@pytest.mark.parametrize("kernel", [Linear(), Polynomial(), RBF(), RBF() + White()], ids=repr)
def test_inputs_need_a_column(kernel):
    for call in (
        lambda X: kernel(X),
        lambda X: kernel.diag(X),
        lambda X: kernel.vjp(X, None, np.ones((5, 5))),
        lambda X: kernel.matmul(X, None, np.ones(5)),
    ):
        with pytest.raises(ValueError, match="X must have at least one column, got 0"):
            call(np.zeros((5, 0)))


def test_out_must_be_aligned():
    n = 5
    buffer = np.zeros(8 * n * n + 64, np.uint8)
    start = (1 - buffer.ctypes.data) % 64
    out = buffer[start : start + 8 * n * n].view(float).reshape(n, n)
    with pytest.raises(ValueError, match="out must be C-contiguous and writeable, and aligned, got .*aligned=False"):
        RBF()(np.ones((n, 2)), out=out)


@pytest.mark.parametrize("columns", [1600, 1601, 1607])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_large_results_at_any_place_in_memory(columns, shift, dtype):
    """Stores past the cache begin at whole cache lines, wherever a row begins."""
    X = np.random.default_rng(0).standard_normal((columns, 2)).astype(dtype)
    room = np.full(columns * columns + 16, np.nan, dtype)
    out = room[shift : shift + columns * columns].reshape(columns, columns)
    K = RBF()(X, out=out)
    assert np.isnan(room[:shift]).all() and np.isnan(room[shift + columns * columns :]).all()
    np.testing.assert_array_equal(K, K.T)
    rows = [0, 63, 64, 1000, columns - 1]
    np.testing.assert_allclose(K[rows], RBF()(X[rows], X), rtol=0, atol=20 * np.finfo(dtype).eps)


def test_theta_is_set_as_a_whole_or_not_at_all():
    k = RBF(2.0, 3.0)
    with pytest.raises(ValueError, match="theta must give finite parameters"):
        k.theta = [0.0, 1000.0]
    assert k == RBF(2.0, 3.0)


@pytest.mark.parametrize(
    "change",
    [
        lambda k: k.fix().free(),
        lambda k: k.set_prior("*.variance", Gamma(2.0, 1.0)).set_prior("*.variance", None),
        lambda k: k.set_bounds("*.variance", 1.0, 2.0).set_bounds("*.variance"),
        lambda k: k.set_bijector("*.variance", Softplus()).set_bijector("*.variance", Exp()),
    ],
)
def test_a_setting_undone_leaves_no_trace(change):
    assert change(RBF() + White()) == RBF() + White()


def test_copies_share_nothing():
    k = RBF() + White()
    copy.copy(k).set_params(**{"rbf.variance": 9.0})
    assert k == RBF() + White()


def test_sums_begin_with_zero():
    assert sum([RBF(), White()]) == RBF() + White()


def test_a_class_is_no_prior_and_no_bijector():
    with pytest.raises(TypeError, match="prior must have"):
        RBF().set_prior("variance", Gamma)
    with pytest.raises(TypeError, match="bijector must have"):
        RBF().set_bijector("variance", Exp)


def test_bounds_below_a_floor():
    k = RBF(5.0).set_bijector("variance", Softplus(3.0)).set_bounds("variance", 1.0, 2.0)
    with pytest.raises(ValueError, match="bounds must reach above the bijector's floor of 3"):
        _ = k.theta_bounds


def test_repr_of_a_degree():
    assert repr(Polynomial(degree=2)) == "Polynomial(variance=1.0, offset=1.0, degree=2)"


def test_many_features(dtype):
    """More than one slab of features, and a remainder."""
    rng = np.random.default_rng(0)
    X, Z = rng.standard_normal((70, 150)).astype(dtype), rng.standard_normal((33, 150)).astype(dtype)
    k, C = Matern32(1.0, 15.0), rng.standard_normal((70, 33)).astype(dtype)
    distance = np.sqrt(3 * ((X[:, None].astype(float) - Z) ** 2).sum(axis=2)) / 15
    assert_near(k(X, Z), (1 + distance) * np.exp(-distance), 20 * np.finfo(dtype).eps)
    if dtype == np.float64:
        dX, _, _ = k.vjp(X[:2], Z, C[:2])
        numeric = differences(lambda x: float(np.sum(C[:2] * k(x, Z))), X[:2])
        assert_near(dX, numeric, np.finfo(float).eps * DIFFERENCE * 10, scale=1.0)
