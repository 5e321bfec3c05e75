"""What holds for every sum and product of kernels: Hypothesis grows trees and looks for one for which it does not."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import covariances as oracle
from reference.covariances import KINDS, Leaf, Product, Sum

from lvmfast import kernels

positive = st.sampled_from([0.5, 0.75, 1.0, 1.5, 2.0, 3.0])
entries = st.integers(-128, 128).map(lambda i: i / 64)  # exact in both types; points often coincide
dtypes = st.sampled_from([np.float32, np.float64])
scalars = st.sampled_from([-2.0, -0.5, 0.25, 1.0, 3.0])


@st.composite
def leaves(draw, q):
    kind = draw(st.sampled_from(KINDS))
    columns = draw(st.none() | st.lists(st.integers(0, q - 1), min_size=1, max_size=q, unique=True).map(tuple))
    width = q if columns is None else len(columns)
    per_dimension = positive | arrays(float, width, elements=positive)
    values = {"variance": draw(per_dimension if kind in ("Linear", "Polynomial") else positive)}
    if kind not in ("Linear", "Polynomial", "Constant", "White"):
        values["lengthscale"] = draw(per_dimension)
    if kind == "RationalQuadratic":
        values["alpha"] = draw(positive)
    if kind == "Periodic":
        values["period"] = draw(per_dimension)
    if kind == "Polynomial":
        values["offset"] = draw(positive)
    return Leaf(kind, values, columns, draw(st.integers(1, 3)))


def trees(q, levels):
    """Leaves, sums and products, at most so many levels."""
    nodes = leaves(q)
    for _ in range(levels - 1):
        parts = st.lists(nodes, min_size=2, max_size=3)
        nodes = leaves(q) | parts.map(Sum) | parts.map(Product)
    return nodes


@st.composite
def problems(draw, count=1):
    """Trees with X (n, q), Z (m, q) and a cotangent (n, m); one tree itself where one is asked for."""
    n, m, q = draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 4))
    dtype = draw(dtypes)
    X, Z = (draw(arrays(dtype, (rows, q), elements=entries)) for rows in (n, m))
    C = draw(arrays(dtype, (n, m), elements=entries))
    nodes = [draw(trees(q, 3 if count == 1 else 2)) for _ in range(count)]
    return (nodes[0] if count == 1 else nodes), X, Z, C


def build(node):
    return oracle.build(node, kernels)


def relative(node, X):
    """Every leaf, and every column, adds its roundings."""
    return tolerance(X.dtype, 16 + X.shape[1] * len(oracle.leaves(node)))


def scale_of(node, X, Z=None):
    return np.max(oracle.matrix(node, X, Z, bound=True))


def flat(pulled):
    """(dX, dZ, gradients) as one vector."""
    parts = [a for a in pulled[:2] if a is not None] + list(pulled[2].values())
    return np.concatenate([np.ravel(a).astype(np.longdouble) for a in parts])


def assert_near_each(actual, expected, allowed):
    """|actual - expected| <= allowed, entry by entry; NaN never passes."""
    assert actual.shape == expected.shape
    assert (np.abs(actual - expected) <= allowed).all(), np.max(np.abs(actual - expected) / allowed)


def gradient_bound(node, X, Z, size):
    """What an error in each entry of ``flat`` is relative to: the largest entry of its array."""
    dX, dZ, gradients = oracle.vjp(node, X, Z, size, bound=True)
    parts = [a for a in (dX, dZ) if a is not None] + list(gradients.values())
    return np.concatenate([np.full(np.size(a), np.max(a)) for a in parts])


class TestValues:
    @given(problems())
    def test_gram_matrices_are_positive_semidefinite(self, problem):
        node, X, Z, _ = problem
        points = np.concatenate([X, Z, X[:1]])
        k = build(node)
        K = k(points)
        np.testing.assert_array_equal(K, K.T)
        np.testing.assert_array_equal(K.diagonal(), k.diag(points))
        most = scale_of(node, points)
        lowest = np.linalg.eigvalsh(K.astype(float)).min()
        assert lowest >= -len(points) * most * (1e-9 if K.dtype == np.float64 else relative(node, points))

    @given(problems())
    def test_oracle(self, problem):
        node, X, Z, _ = problem
        k = build(node)
        for other in (None, Z):
            actual = k(X, other)
            assert actual.dtype == X.dtype
            assert_near(actual, oracle.matrix(node, X, other), relative(node, X), scale=scale_of(node, X, other))

    @given(problems())
    def test_transpose(self, problem):
        node, X, Z, _ = problem
        k = build(node)
        assert_near(k(X, Z), k(Z, X).T, relative(node, X), scale=scale_of(node, X, Z))

    @given(problems())
    def test_rows_keep_their_values(self, problem):
        """A row of k(X, Z) is what it is without the others."""
        node, X, Z, _ = problem
        k = build(node)
        alone = np.concatenate([k(X[i : i + 1], Z) for i in range(len(X))])
        assert_near(alone, k(X, Z), relative(node, X), scale=scale_of(node, X, Z))

    @given(problems(), st.integers(1, 3), st.randoms(use_true_random=False))
    def test_matmul(self, problem, columns, random):
        """The product without the matrix."""
        node, X, Z, _ = problem
        k = build(node)
        for other in (None, Z):
            m = len(X) if other is None else len(other)
            V = np.array([[random.randint(-64, 64) / 32 for _ in range(columns)] for _ in range(m)], X.dtype)
            size = np.max(oracle.matrix(node, X, other, bound=True) @ np.abs(V))
            K = k(X, other).astype(float)
            assert_near(k.matmul(X, other, V), K @ V, relative(node, X), scale=size)
            assert_near(k.matmul(X, other, V[:, 0]), K @ V[:, 0], relative(node, X), scale=size)


class TestPullbacks:
    @given(problems())
    def test_oracle(self, problem):
        node, X, Z, C = problem
        k = build(node)
        square = (C @ C.T).astype(X.dtype)
        square[0] *= 2  # not symmetric
        for other, cotangent in ((None, square), (Z, C)):
            actual, expected = k.vjp(X, other, cotangent), oracle.vjp(node, X, other, cotangent)
            assert list(actual[2]) == list(expected[2])
            allowed = 8 * relative(node, X) * gradient_bound(node, X, other, np.abs(cotangent))
            assert_near_each(flat(actual), flat(expected), allowed)

    @given(problems(), scalars, scalars)
    def test_linear_in_the_cotangent(self, problem, a, b):
        node, X, Z, C = problem
        k, D = build(node), np.flip(C).copy()
        both = (a * C + b * D).astype(X.dtype)
        left, c, d = (flat(k.vjp(X, Z, cotangent)) for cotangent in (both, C, D))
        size = abs(a) * np.abs(C) + abs(b) * np.abs(D)
        assert_near_each(left, a * c + b * d, 8 * relative(node, X) * gradient_bound(node, X, Z, size))

    @given(problems())
    def test_one_argument_is_two_equal_ones(self, problem):
        """But for noise, which tells rows apart by their number."""
        node, X, _, _ = problem
        if any(leaf.kind == "White" for leaf in oracle.leaves(node)):
            return
        k, C = build(node), np.add.outer(np.arange(len(X)), X[:, 0] * 2).astype(X.dtype)
        total, none, gradients = k.vjp(X, None, C)
        dX, dZ, same = k.vjp(X, X.copy(), C)
        assert none is None
        allowed = 8 * relative(node, X) * gradient_bound(node, X, None, np.abs(C))
        assert_near_each(flat((total, None, gradients)), flat((dX.astype(np.longdouble) + dZ, None, same)), allowed)

    @given(problems())
    def test_matmul(self, problem):
        """Gradients of sum(G * (K V)) are those of sum((G V^T) * K), and dV = K^T G."""
        node, X, Z, C = problem
        k = build(node)
        V, G = np.ones((len(Z), 2), X.dtype), C[:, :1] * np.array([[1, -0.5]], X.dtype)
        V[:, 1] = Z[:, 0]
        dX, dZ, dV, gradients = k.matmul_vjp(X, Z, V, G)
        size = np.abs(G) @ np.abs(V.T)
        expected = oracle.vjp(node, X, Z, G.astype(np.longdouble) @ V.T)
        allowed = 8 * relative(node, X) * gradient_bound(node, X, Z, size)
        assert_near_each(flat((dX, dZ, gradients)), flat(expected), allowed)
        most = np.max(oracle.matrix(node, X, Z, bound=True).T @ np.abs(G))
        assert_near(dV, oracle.matrix(node, X, Z).T @ G, relative(node, X), scale=most)


class TestComposition:
    @pytest.mark.parametrize("kind", [Sum, Product])
    @settings(max_examples=25)
    @given(problems(2))
    def test_values(self, kind, problem):
        """k1 + k2 and k1 k2 are the sum and the product of the matrices, in either order."""
        (a, b), X, Z, _ = problem
        node = kind([a, b])
        for other in (None, Z):
            one, two = (build(part)(X, other).astype(float) for part in (a, b))
            expected, scale = one + two if kind is Sum else one * two, scale_of(node, X, other)
            assert_near(build(node)(X, other), expected, relative(node, X), scale=scale)
            assert_near(build(kind([b, a]))(X, other), expected, relative(node, X), scale=scale)

    @pytest.mark.parametrize("kind", [Sum, Product])
    @settings(max_examples=25)
    @given(problems(2))
    def test_pullbacks(self, kind, problem):
        """C pulls back through a sum as it is, and through a product times what the other factor is."""
        (a, b), X, Z, C = problem
        node, ka, kb = kind([a, b]), build(a), build(b)
        wide = [x.astype(float) for x in (X, Z, C)]
        to_a, to_b = (wide[2], wide[2]) if kind is Sum else (wide[2] * kb(*wide[:2]), wide[2] * ka(*wide[:2]))
        one, two = ka.vjp(*wide[:2], to_a), kb.vjp(*wide[:2], to_b)
        dX, dZ, gradients = build(node).vjp(X, Z, C)
        right = np.concatenate([flat((one[0] + two[0], one[1] + two[1], one[2])), flat((None, None, two[2]))])
        allowed = 8 * relative(node, X) * gradient_bound(node, X, Z, np.abs(C))
        assert_near_each(flat((dX, dZ, gradients)), right, allowed)

    @settings(max_examples=25)
    @given(problems(3))
    def test_distributive(self, problem):
        (a, b, c), X, Z, _ = problem
        left, right = Product([a, Sum([b, c])]), Sum([Product([a, b]), Product([a, c])])
        for other in (None, Z):
            scale = scale_of(left, X, other)
            assert_near(build(left)(X, other), build(right)(X, other), relative(right, X), scale=scale)

    @settings(max_examples=25)
    @given(problems(2))
    def test_parts_are_copies(self, problem):
        """What becomes of a sum is nothing to its parts."""
        (a, b), X, _, _ = problem
        ka, kb = build(a), build(b)
        before = ka(X), kb(X)
        for whole in (ka + kb, ka * kb):
            whole.theta = whole.theta - 0.5
        np.testing.assert_array_equal(ka(X), before[0])
        np.testing.assert_array_equal(kb(X), before[1])


class TestParameters:
    @given(problems())
    def test_theta(self, problem):
        """Logarithms in the order of the names, there and back."""
        node, X, _, _ = problem
        k, named = build(node), oracle.parameters(node)
        assert list(k.parameters) == list(named)
        expected = np.log(np.concatenate([np.ravel(value) for value in named.values()]))
        assert_near(k.theta, expected, tolerance(float), scale=1)
        k.theta = expected + 1.0
        assert_near(k.theta, expected + 1.0, tolerance(float), scale=1)
        k.theta = expected
        assert_near(k(X), oracle.matrix(node, X), 4 * relative(node, X), scale=scale_of(node, X))

    @given(problems())
    def test_copies(self, problem):
        node, X, _, _ = problem
        k = build(node)
        other = k.copy()
        assert other == k
        np.testing.assert_array_equal(other(X), k(X))
        other.theta = other.theta + 0.25
        assert other != k
        assert_near(k(X), oracle.matrix(node, X), relative(node, X), scale=scale_of(node, X))
