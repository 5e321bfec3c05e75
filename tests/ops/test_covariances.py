"""Every covariance function, alone and in sums and products: matrices, pull-backs, products with vectors, errors."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from helpers import assert_near, layouts, tolerance
from reference import covariances as oracle
from reference.covariances import KINDS, STATIONARY, Leaf, Product, Sum

from lvmfast import kernels

ARD = [kind for kind in KINDS if kind not in ("Constant", "White")]
LEAVES = [*KINDS, *(f"{kind}-ard" for kind in ARD)]
EACH = [f"{kind}-ard" if kind in ARD else kind for kind in KINDS]  # every kernel once, as general as it gets
COMPONENTS = [1, 2, 3, 5, 16, 17, 40]
PAIRS = [(1, 2), (2, 1), (63, 65), (64, 64)]  # around the tiles
LONG = [(2, 130, 63), (3, 300, 17), (5, 65, 130)]  # q, n, m where the work is shared between threads
COLUMNS = [(0,), (3,), (2, 0), (4, 1, 3)]


def leaf(name, q, **keywords):
    """A leaf "Kind" or "Kind-ard" of q active dimensions; all numbers are exact in float32."""
    kind, _, ard = name.partition("-")
    unit = 2.0 ** round(np.log2(q) / 2)  # about sqrt(q), the distance of typical points
    ells = np.array([1.25, 0.75, 2.0, 3.25])[np.arange(q) % 4] * unit
    periods = np.array([2.5, 1.5, 4.0])[np.arange(q) % 3]
    values = {"variance": 1.75}
    if kind in ("Linear", "Polynomial"):
        values["variance"] = 1 / unit**2 * (np.array([0.5, 1.25, 0.25])[np.arange(q) % 3] if ard else 0.5)
    elif kind not in ("Constant", "White"):
        values["lengthscale"] = ells if ard else ells[0]
    if kind == "RationalQuadratic":
        values["alpha"] = 0.625
    elif kind == "Periodic":
        values["period"] = periods if ard else periods[0]
    elif kind == "Polynomial":
        values["offset"] = 0.75
    return Leaf(kind, values, **keywords)


def _tree(name, q):
    """Trees for at least three columns."""

    def new(kind, *columns):
        return leaf(kind, len(columns) or q, active_dims=columns or None)

    return {
        "sum": lambda: Sum([new("RBF"), new("Matern32-ard", 2, 0), new("White"), new("Constant")]),
        "product": lambda: Product([new("RBF", 0), new("Linear-ard"), new("Constant"), new("Matern12", 1, 2)]),
        "product of sums": lambda: Product(
            [Sum([new("RBF-ard"), new("Linear", 1)]), Sum([new("Matern12", 2, 1), new("Constant"), new("White")])]
        ),
        "deep": lambda: Sum(
            [
                Product([new("Constant"), Sum([new("RBF-ard", 2, 0), Product([new("Periodic", 1), new("Matern52")])])]),
                new("White"),
                Product([new("White"), Sum([new("Polynomial"), new("RBF")])]),
            ]
        ),
        "repeated": lambda: Sum([new("RBF"), Product([new("RBF", 1), Sum([new("RBF-ard"), new("RBF", 0, 2)])])]),
        "noise": lambda: Product([Sum([new("White"), new("Constant")]), new("Linear-ard"), Sum([new("White")] * 2)]),
        "waves": lambda: Product(
            [new("Cosine-ard"), new("RationalQuadratic"), Sum([new("Polynomial", 0), new("RBF")])]
        ),
        "sum of all": lambda: Sum([Product([new(a), new(b)]) for a, b in zip(EACH, EACH[3:] + EACH[:3], strict=True)]),
    }[name]()


TREES = ["sum", "product", "product of sums", "deep", "repeated", "noise", "waves", "sum of all"]


def node_of(name, q):
    return leaf(name, q) if name in LEAVES else _tree(name, q)


def kernel_of(node):
    return oracle.build(node, kernels)


def array(seed, *shape):
    """Normal numbers, exact in float32."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32).astype(float)


def cast(dtype, *arrays):
    return [None if a is None else a.astype(dtype) for a in arrays]


def allowed_value(dtype, q):
    """Of the sum of the absolute values of its terms: the functions cost some roundings, the sum over columns q."""
    return tolerance(dtype, 16 + q)


def allowed_gradient(dtype, q):
    """The same for a derivative; a sum of n terms costs little more than their own errors."""
    return tolerance(dtype, 128 + q)


# What is checked of any kernel. `exact` is the oracle's answer, `bound` the same with absolute values.


def expect_values(node, X, Z=None):
    return oracle.matrix(node, X, Z), np.max(oracle.matrix(node, X, Z, bound=True), initial=0)


def check_values(k, exact, X, Z=None):
    K, scale = exact
    dtype, q = X.dtype, X.shape[1]
    actual = k(X) if Z is None else k(X, Z)
    assert actual.dtype == dtype
    assert_near(actual, K, allowed_value(dtype, q), scale=scale)
    out = np.full(K.shape, np.nan, dtype)
    assert k(X, Z, out=out) is out
    np.testing.assert_array_equal(out, actual)
    if Z is None:
        np.testing.assert_array_equal(actual, actual.T)
        diagonal = k.diag(X)
        assert diagonal.dtype == dtype
        np.testing.assert_array_equal(diagonal, actual.diagonal())


def expect_vjp(node, X, Z, C, size=None):
    """Gradients, and the sums of the absolute values of what is added in each; |C| is the size of C's own terms."""
    return oracle.vjp(node, X, Z, C), oracle.vjp(node, X, Z, np.abs(C) if size is None else size, bound=True)


def check_gradients(actual, expected, dtype, relative):
    """(dX, dZ, gradients) against the two answers of ``expect_vjp``."""
    exact, bound = expected
    for value, right, most in zip(actual[:2], exact[:2], bound[:2], strict=True):
        assert (value is None) == (right is None)
        if right is not None:
            assert value.dtype == dtype
            assert_near(value, right, relative, scale=np.max(most, initial=0))
    gradients = actual[2]
    assert list(gradients) == list(exact[2])
    for name, right in exact[2].items():
        assert isinstance(gradients[name], np.ndarray if np.ndim(right) else float), name
        assert_near(gradients[name], right, relative, scale=np.max(bound[2][name], initial=0))


def check_vjp(k, expected, X, Z, C, condition=1.0):
    relative = allowed_gradient(X.dtype, X.shape[1]) * condition
    check_gradients(k.vjp(X, Z, C), expected, X.dtype, relative)


def check_matmul(node, k, dtype, X, Z, V, G):
    """Products with V, and their pull-back for the cotangent G, against products of the whole matrix."""
    exact, bound = oracle.matrix(node, X, Z), oracle.matrix(node, X, Z, bound=True)
    # dk = G V^T, an outer product for vectors.
    outer = G[:, None] * V if V.ndim == 1 else G @ V.T
    size = np.abs(G)[:, None] * np.abs(V) if V.ndim == 1 else np.abs(G) @ np.abs(V.T)
    expected = expect_vjp(node, X, Z, outer, size)
    X, Z, V, G = cast(dtype, X, Z, V, G)
    product = k.matmul(X, Z, V)
    assert product.dtype == dtype
    assert_near(product, exact @ V, allowed_value(dtype, X.shape[1]), scale=np.max(bound @ np.abs(V), initial=0))
    dX, dZ, dV, gradients = k.matmul_vjp(X, Z, V, G)
    relative = allowed_gradient(dtype, X.shape[1])
    check_gradients((dX, dZ, gradients), expected, dtype, relative)
    assert dV.dtype == dtype
    assert_near(dV, exact.T @ G, relative, scale=np.max(bound.T @ np.abs(G), initial=0))


def check_points(node, X, Z):
    """Everything, with one and with two arguments."""
    k, dtype = kernel_of(node), X.dtype
    for other in (None, Z):
        columns = len(X) if other is None else len(other)
        C, V, G = array(3, len(X), columns), array(4, columns, 2), array(5, len(X), 2)
        check_values(k, expect_values(node, X, other), X, other)
        check_vjp(k, expect_vjp(node, X, other, C), X, other, C.astype(dtype))
        check_matmul(node, k, dtype, *(None if a is None else a.astype(float) for a in (X, other)), V, G)


# The oracle's answers for one kernel, which float32 and float64 share.


@functools.cache
def value_case(name, q, n, m):
    X, Z = array(1, n, q), array(2, m, q)
    node = node_of(name, q)
    return X, Z, expect_values(node, X), expect_values(node, X, Z)


@functools.cache
def pullback_case(name, q, n, m):
    X, Z, C = array(1, n, q), array(2, m, q) if m else None, array(3, n, m or n)
    return X, Z, C, expect_vjp(node_of(name, q), X, Z, C)


def check_value_case(dtype, name, q, n, m):
    X, Z, one, two = value_case(name, q, n, m)
    X, Z = cast(dtype, X, Z)
    k = kernel_of(leaf(name, q))
    check_values(k, one, X)
    check_values(k, two, X, Z)


def check_pullback_case(dtype, name, q, n, m):
    X, Z, C, expected = pullback_case(name, q, n, m)
    check_vjp(kernel_of(node_of(name, q)), expected, *cast(dtype, X, Z, C))


class TestLeaves:
    @pytest.mark.parametrize(("n", "m"), PAIRS)
    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize("name", EACH)
    def test_values(self, dtype, name, q, n, m):
        check_value_case(dtype, name, q, n, m)

    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize("name", ARD)
    def test_values_scalar_parameters(self, dtype, name, q):
        check_value_case(dtype, name, q, 34, 31)

    @pytest.mark.parametrize(("q", "n", "m"), LONG)
    @pytest.mark.parametrize("name", EACH)
    def test_values_threaded(self, dtype, name, q, n, m):
        check_value_case(dtype, name, q, n, m)

    @pytest.mark.parametrize(("n", "m"), [(1, 0), (2, 1), (64, 33), (35, 0)])
    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize("name", EACH)
    def test_pullback(self, dtype, name, q, n, m):
        check_pullback_case(dtype, name, q, n, m)

    @pytest.mark.parametrize(("n", "m"), [(2, 3), (34, 0), (33, 31)])
    @pytest.mark.parametrize("q", COMPONENTS)
    @pytest.mark.parametrize("name", ARD)
    def test_pullback_scalar_parameters(self, dtype, name, q, n, m):
        check_pullback_case(dtype, name, q, n, m)

    @pytest.mark.parametrize(("n", "m"), [(63, 0), (65, 0), (33, 65), (130, 131)])
    @pytest.mark.parametrize("q", [2, 5])
    @pytest.mark.parametrize("name", EACH)
    def test_pullback_threaded(self, dtype, name, q, n, m):
        check_pullback_case(dtype, name, q, n, m)

    @pytest.mark.parametrize(
        ("q", "n", "m", "columns"),
        [(1, 64, 65, ()), (2, 1, 2, (1,)), (2, 2, 1, ()), (3, 130, 63, (5,)), (5, 63, 130, ()), (17, 33, 20, (17,))],
    )
    @pytest.mark.parametrize("name", EACH)
    def test_matmul(self, dtype, name, q, n, m, columns):
        node, X, Z = leaf(name, q), array(1, n, q), array(2, m, q)
        k = kernel_of(node)
        check_matmul(node, k, dtype, X, Z, array(4, m, *columns), array(5, n, *columns))
        if n < 100:
            check_matmul(node, k, dtype, X, None, array(4, n, *columns), array(5, n, *columns))

    @pytest.mark.parametrize("name", ARD)
    def test_matmul_scalar_parameters(self, dtype, name):
        check_points(leaf(name, 3), *cast(dtype, array(1, 20, 3), array(2, 17, 3)))

    @pytest.mark.parametrize("q", [2, 17])
    @pytest.mark.parametrize("name", EACH)
    def test_instruction_sets(self, instruction_set, dtype, name, q):
        check_points(leaf(name, q), *cast(dtype, array(1, 35, q), array(2, 18, q)))

    @pytest.mark.parametrize("degree", [1, 2, 4, 7])
    def test_degree(self, dtype, degree):
        node = leaf("Polynomial-ard", 3, degree=degree)
        check_points(node, *cast(dtype, array(1, 20, 3), array(2, 17, 3)))

    @pytest.mark.parametrize("alpha", [0.125, 1.0, 64.0])
    def test_alpha(self, dtype, alpha):
        node = leaf("RationalQuadratic-ard", 3)
        node.parameters["alpha"] = alpha
        check_points(node, *cast(dtype, array(1, 20, 3), array(2, 17, 3)))


class TestActiveDimensions:
    @pytest.mark.parametrize("columns", COLUMNS)
    @pytest.mark.parametrize("name", EACH)
    def test_columns(self, dtype, name, columns):
        node = leaf(name, len(columns), active_dims=columns)
        X, Z = cast(dtype, array(1, 20, 5), array(2, 9, 5))
        check_points(node, X, Z)
        dX, dZ, _ = kernel_of(node).vjp(X, Z, np.ones((20, 9), dtype))
        unseen = [q for q in range(5) if q not in columns]
        assert not dX[:, unseen].any()
        assert not dZ[:, unseen].any()

    def test_forms(self):
        """Any sequence of integers; None is all columns."""
        X = array(1, 7, 3)
        ells = np.array([0.5, 2.0])
        expected = kernels.RBF(1.0, ells, active_dims=(2, 0))(X)
        for form in ([2, 0], np.array([2, 0]), range(2, -1, -2), (np.int64(2), np.int32(0))):
            np.testing.assert_array_equal(kernels.RBF(1.0, ells, active_dims=form)(X), expected)
        np.testing.assert_array_equal(kernels.RBF(active_dims=None)(X), kernels.RBF(active_dims=[0, 1, 2])(X))

    @pytest.mark.parametrize(
        "bad", [[0, 3], [3], [-1], [0, -2], [1, 1], [0, 1, 0], [], [0.5], "0", [[0]], [True, False]]
    )
    @pytest.mark.parametrize("kind", KINDS)
    def test_errors(self, kind, bad):
        with pytest.raises((ValueError, TypeError), match="active_dims"):
            getattr(kernels, kind)(active_dims=bad)(np.ones((4, 3)))

    def test_errors_in_trees(self):
        k = kernels.RBF(active_dims=[0]) * (kernels.Linear() + kernels.Matern12(active_dims=[4]))
        with pytest.raises(ValueError, match="active_dims"):
            k(np.ones((4, 3)))
        k(np.ones((4, 5)))


class TestTrees:
    @pytest.mark.parametrize(("q", "n", "m"), [(3, 1, 2), (3, 65, 33), (5, 20, 65), (17, 17, 20)])
    @pytest.mark.parametrize("name", TREES)
    def test_all(self, dtype, name, q, n, m):
        check_points(_tree(name, q), *cast(dtype, array(1, n, q), array(2, m, q)))

    @pytest.mark.parametrize("name", ["deep", "sum of all"])
    def test_instruction_sets(self, instruction_set, dtype, name):
        check_points(_tree(name, 5), *cast(dtype, array(1, 20, 5), array(2, 17, 5)))

    @pytest.mark.parametrize("name", ["product of sums", "deep"])
    def test_threaded(self, dtype, name):
        X, Z, C = array(1, 130, 3), array(2, 131, 3), array(3, 130, 131)
        node = _tree(name, 3)
        expected = expect_values(node, X), expect_values(node, X, Z), expect_vjp(node, X, Z, C)
        k, (X, Z, C) = kernel_of(node), cast(dtype, X, Z, C)
        check_values(k, expected[0], X)
        check_values(k, expected[1], X, Z)
        check_vjp(k, expected[2], X, Z, C)

    def test_numbers(self):
        """A number is a constant, on either side."""
        X, Z, rbf = array(1, 5, 2), array(2, 4, 2), kernels.RBF(1.5, 0.75)
        K = oracle.matrix(Leaf("RBF", {"variance": 1.5, "lengthscale": 0.75}), X, Z)
        for number in (2, 2.0, np.float64(2), np.float32(2), np.int64(2)):
            for k, expected in [
                (number * rbf, 2 * K),
                (rbf * number, 2 * K),
                (number + rbf, 2 + K),
                (rbf + number, 2 + K),
            ]:
                assert_near(k(X, Z), expected, allowed_value(float, 2))
                assert sorted(k.parameters) == ["constant.variance", "rbf.lengthscale", "rbf.variance"]
        assert_near((2 * (rbf + 1) * rbf + 3)(X, Z), 2 * (K + 1) * K + 3, allowed_value(float, 2))
        assert_near(sum([rbf, rbf], start=rbf)(X, Z), 3 * K, allowed_value(float, 2))

    @pytest.mark.parametrize("bad", ["a", None, [1.0], np.ones(2), np.ones((2, 2)), {}, 1j, kernels.RBF])
    def test_nonsense(self, bad):
        for k in (kernels.RBF(), kernels.RBF() + kernels.White()):
            for operation in (lambda a, b: a + b, lambda a, b: a * b, lambda a, b: b + a, lambda a, b: b * a):
                with pytest.raises(TypeError):
                    operation(k, bad)

    @pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf])
    def test_numbers_that_are_no_variance(self, bad):
        for operation in (lambda k: k + bad, lambda k: k * bad, lambda k: bad * k):
            with pytest.raises(ValueError, match="variance"):
                operation(kernels.RBF())(np.ones((3, 2)))


class TestPoints:
    """Where formulas lose digits or fail: coincident, close and distant points, and none at all."""

    @pytest.mark.parametrize("q", [1, 2, 5])
    @pytest.mark.parametrize("name", [*EACH, "product of sums"])
    def test_coincident(self, dtype, name, q):
        if name in TREES:
            q = max(q, 3)
        X = array(1, 40, q)
        X[[3, 20, 39]] = X[0]
        X[35] = X[6]
        Z = np.concatenate([X[:10], array(2, 7, q), X[:1]])
        check_points(node_of(name, q), *cast(dtype, X, Z))

    @pytest.mark.parametrize("q", [1, 3, 40])
    @pytest.mark.parametrize("kind", STATIONARY)
    def test_one_point_many_times(self, dtype, kind, q):
        """The values are the variance and the distances have no derivative, whatever the point."""
        node = leaf(f"{kind}-ard", q)
        X = np.repeat(array(1, 1, q) + 1000, 70, axis=0).astype(dtype)
        k, C = kernel_of(node), array(3, 70, 70).astype(dtype)
        for Z in (None, X[:70].copy()):
            np.testing.assert_array_equal(k(X, Z), np.full((70, 70), dtype(1.75)))
            dX, dZ, gradients = k.vjp(X, Z, C)
            np.testing.assert_array_equal(dX, np.zeros((70, q)))
            assert dZ is None or not dZ.any()
            np.testing.assert_array_equal(gradients["lengthscale"], np.zeros(q))

    def test_noise_of_equal_rows(self, dtype):
        """White tells rows of one X apart by their number, not by their values."""
        X = np.ones((70, 2), dtype)
        k = kernels.White(0.5)
        np.testing.assert_array_equal(k(X), 0.5 * np.eye(70))
        np.testing.assert_array_equal(k(X, X), np.zeros((70, 70)))
        np.testing.assert_array_equal(k.matmul(X, None, np.ones(70, dtype)), np.full(70, 0.5))
        np.testing.assert_array_equal(k.matmul(X, X, np.ones(70, dtype)), np.zeros(70))

    @pytest.mark.parametrize("q", [1, 2, 5, 40])
    @pytest.mark.parametrize("kind", STATIONARY)
    def test_cluster_far_from_the_origin(self, dtype, kind, q):
        """Points that agree in almost all digits, and a lengthscale to match: their differences are exact."""
        unit = 128 * float(np.spacing(dtype(1000)))
        node = leaf(f"{kind}-ard", q)
        node.parameters["lengthscale"] = node.parameters["lengthscale"] * unit
        X, Z = 1000 + unit * np.round(64 * array(1, 33, q)) / 64, 1000 + unit * np.round(64 * array(2, 20, q)) / 64
        check_points(node, *cast(dtype, X, Z))

    @pytest.mark.parametrize("q", [1, 2, 5, 40])
    @pytest.mark.parametrize("kind", STATIONARY)
    def test_near_duplicates(self, dtype, kind, q):
        """Twins in a wide cloud: |x|^2 + |z|^2 - 2 x z would leave half the digits of their distance, or none."""
        step = 2.0 ** (-20 if dtype == np.float64 else -12)
        cloud = 1000 + np.round(array(1, 25, q) / step) * step
        X = np.concatenate([cloud, cloud + step, cloud[:5]]).astype(dtype)
        node = leaf(f"{kind}-ard", q)
        k = kernel_of(node)
        for Z in (None, X[::-1].copy()):
            check_values(k, expect_values(node, X, Z), X, Z)
        if dtype == np.float64:  # a rounding of x / lengthscale turns the direction between twins
            C = array(3, len(X), len(X))
            check_vjp(k, expect_vjp(node, X, None, C), X, None, C, condition=1 / step)

    @pytest.mark.parametrize("q", [1, 2, 40])
    @pytest.mark.parametrize("kind", ["RBF", "Matern12", "Matern32", "Matern52"])
    def test_far_apart(self, dtype, kind, q):
        """The values vanish, and nothing becomes infinite or NaN."""
        X = np.zeros((6, q), dtype)
        X[1:] = 10.0 ** np.arange(5, 10)[:, None]
        k, C = getattr(kernels, kind)(1.75, 0.5), array(3, 6, 6).astype(dtype)
        for Z, same in [(None, X), (-X[1:], None)]:
            expected = np.zeros((6, 5)) if same is None else 1.75 * np.eye(6)
            np.testing.assert_array_equal(k(X, Z), expected)
            dX, dZ, gradients = k.vjp(X, Z, C if same is not None else C[:, :5])
            assert not dX.any()
            assert dZ is None or not dZ.any()
            assert gradients["lengthscale"] == 0
        product = (k * kernels.Linear() + kernels.RationalQuadratic())(X)
        assert np.isfinite(product).all()

    @pytest.mark.parametrize("kind", STATIONARY)
    def test_range(self, dtype, kind):
        """Squares that overflow: an error that says so, or the right answer; never NaN."""
        X = np.array([[1e25], [-1e25]]) if dtype == np.float32 else np.array([[1e200], [-1e200]])
        node = leaf(kind, 1)
        k, expected = kernel_of(node), expect_values(node, X)
        try:
            actual = k(X.astype(dtype)), k.vjp(X.astype(dtype), None, np.ones((2, 2), dtype))
        except (ValueError, FloatingPointError):
            return
        assert_near(actual[0], expected[0], allowed_value(dtype, 1), scale=1.75)
        assert np.isfinite(actual[1][0]).all()
        assert np.isfinite(list(actual[1][2].values())).all()

    @pytest.mark.parametrize("kind", ["Periodic", "Cosine"])
    def test_many_periods(self, dtype, kind):
        """Whole periods apart, far from the origin."""
        X = (np.arange(-8, 8.0) * 2.5 * 1024)[:, None].astype(dtype)
        node = Leaf("Periodic", {"variance": 1.75, "lengthscale": 0.5, "period": 2.5})
        if kind == "Cosine":
            node = Leaf("Cosine", {"variance": 1.75, "lengthscale": 2.5})
        # 10^4 turns: an argument's rounding, times the slope 2 pi / lengthscale, is what the answer can know.
        condition = 1e4 if kind == "Cosine" else 1e4**2 * tolerance(dtype)
        K = kernel_of(node)(X)
        assert_near(K, np.full((16, 16), 1.75), tolerance(dtype, 16, max(1.0, condition)))

    @pytest.mark.parametrize("name", [*EACH, "product of sums", "sum of all"])
    def test_none(self, dtype, name):
        q = 3
        node = node_of(name, q)
        k, none, some = kernel_of(node), np.empty((0, q), dtype), np.ones((4, q), dtype)
        assert k.diag(none).shape == (0,)
        for X, Z, shape in [(none, None, (0, 0)), (none, some, (0, 4)), (some, none, (4, 0))]:
            K = k(X, Z)
            assert K.shape == shape
            assert K.dtype == dtype
            dX, dZ, gradients = k.vjp(X, Z, np.empty(shape, dtype))
            product = k.matmul(X, Z, np.ones((shape[1], 2), dtype))
            np.testing.assert_array_equal(product, np.zeros((shape[0], 2)))
            other = k.matmul_vjp(X, Z, np.ones((shape[1], 2), dtype), np.ones((shape[0], 2), dtype))
            np.testing.assert_array_equal(other[2], np.zeros((shape[1], 2)))
            for d_first, d_second, bars in [(dX, dZ, gradients), (other[0], other[1], other[3])]:
                np.testing.assert_array_equal(d_first, np.zeros_like(X))
                assert d_second is None if Z is None else not d_second.any()
                assert list(bars) == list(oracle.parameters(node))
                assert not any(np.any(bar) for bar in bars.values())


class TestThreads:
    @pytest.mark.parametrize("q", [3, 5])
    @pytest.mark.parametrize("name", [*EACH, "product of sums", "sum of all"])
    def test_same_bits(self, set_num_threads, dtype, name, q):
        X, Z, C, V, G = cast(
            dtype, array(1, 200, q), array(2, 211, q), array(3, 200, 211), array(4, 211, 3), array(5, 200, 3)
        )
        k, answers = kernel_of(node_of(name, q)), []
        for threads in (1, 2):
            set_num_threads(threads)
            answer = [k(X), k(X, Z), k.diag(X), *k.vjp(X, Z, C), *k.vjp(X, None, C[:, :200])]
            answers.append([*answer, k.matmul(X, Z, V), *k.matmul_vjp(X, Z, V, G), k.matmul(X, None, V[:200])])
        for one, two in zip(*answers, strict=True):
            np.testing.assert_equal(two, one)


class TestArrays:
    @pytest.mark.parametrize("name", [*EACH, "deep"])
    def test_float32_against_float64(self, name):
        """Every dtype between the two: float64 wherever one array is."""
        node = node_of(name, 3)
        k, X, Z, V = kernel_of(node), array(1, 30, 3), array(2, 20, 3), array(4, 20, 2)
        X32, Z32, V32 = cast(np.float32, X, Z, V)
        wide, (_, scale) = k(X, Z), expect_values(node, X, Z)
        assert_near(k(X32, Z32), wide, allowed_value(np.float32, 3), scale=scale)
        for narrow in (k(X32, Z), k(X, Z32)):
            assert narrow.dtype == np.float64
            np.testing.assert_array_equal(narrow, wide)
        for narrow in (k.matmul(X32, Z32, V), k.matmul(X32, Z, V32), k.matmul(X, Z32, V32)):
            assert narrow.dtype == np.float64
            np.testing.assert_array_equal(narrow, k.matmul(X, Z, V))

    @pytest.mark.parametrize("name", ["Matern12-ard", "Polynomial", "deep"])
    def test_layouts(self, dtype, name):
        """Any memory layout, the same bits; no argument is changed."""
        q = 3
        k = kernel_of(node_of(name, q))
        arrays = cast(dtype, array(1, 20, q), array(2, 9, q), array(3, 20, 9), array(4, 9, 2), array(5, 20, 2))
        kept = [a.copy() for a in arrays]
        answers = None
        for variants in zip(*(((None, a), *layouts(a)) for a in arrays), strict=True):
            X, Z, C, V, G = (a for _, a in variants)
            got = [k(X), k(X, Z), *k.vjp(X, Z, C), k.matmul(X, Z, V), *k.matmul_vjp(X, Z, V, G)]
            answers = answers or got
            for actual, expected in zip(got, answers, strict=True):
                np.testing.assert_equal(actual, expected)
        for now, before in zip(arrays, kept, strict=True):
            np.testing.assert_array_equal(now, before)

    @pytest.mark.parametrize("name", ["RBF", "Matern12", "Linear", "White", "deep", "product of sums"])
    def test_out(self, dtype, name):
        """Nothing is written around it, and it may be the input."""
        X = array(1, 5, 5).astype(dtype)
        k = kernel_of(node_of(name, 5))
        K = k(X)
        frame = np.full((7, 5), np.nan, dtype)
        k(X, out=frame[1:6])
        np.testing.assert_array_equal(frame[1:6], K)
        assert np.isnan(frame[[0, 6]]).all()
        np.testing.assert_array_equal(k(X, out=X), K)


class TestErrors:
    @pytest.fixture(params=["Matern32", "Constant", "sum of all"])
    def k(self, request):
        return kernel_of(node_of(request.param, 3))

    def test_out(self, k):
        X, frozen = np.ones((4, 3)), np.empty((4, 4))
        frozen.flags.writeable = False
        bad = [np.empty((4, 3)), np.empty((4, 4), np.float32), np.empty(16), np.empty((4, 4), order="F"), frozen]
        for out in bad:
            with pytest.raises(ValueError, match="out must be"):
                k(X, out=out)

    def test_inputs(self, k):
        X = np.ones((4, 3))
        broken = np.where(np.eye(4, 3) > 0, np.nan, 1.0)
        for name, call in [("X", lambda a: k(a)), ("X", lambda a: k.diag(a)), ("Z", lambda a: k(X, a))]:
            for bad in (np.ones(3), np.ones((4, 3, 1)), broken):
                with pytest.raises(ValueError, match=f"{name} must"):
                    call(bad)
            with pytest.raises(TypeError, match=f"{name} must"):
                call(X * 1j)
        with pytest.raises(ValueError, match="Z must have 3 columns, got 2"):
            k(X, np.ones((4, 2)))

    def test_cotangents(self, k):
        X, Z = np.ones((4, 3)), np.ones((2, 3))
        for other, shapes in [(None, [(4, 2), (4,), (16,)]), (Z, [(2, 4), (4, 4), (4,), (4, 2, 1)])]:
            for shape in shapes:
                with pytest.raises(ValueError, match="cotangent must have shape"):
                    k.vjp(X, other, np.ones(shape))
        with pytest.raises(ValueError, match="cotangent must be finite"):
            k.vjp(X, Z, np.full((4, 2), np.nan))

    def test_vectors(self, k):
        X, Z = np.ones((4, 3)), np.ones((2, 3))
        for other, shapes in [(None, [(3,), (2, 4), ()]), (Z, [(4,), (3, 2), (2, 1, 1), ()])]:
            for shape in shapes:
                with pytest.raises(ValueError, match="V must have shape"):
                    k.matmul(X, other, np.ones(shape))
        for v, shapes in [((2,), [(2,), (4, 1), (1, 4)]), ((2, 5), [(4,), (2, 5), (4, 2)])]:
            for shape in shapes:
                with pytest.raises(ValueError, match="cotangent must have shape"):
                    k.matmul_vjp(X, Z, np.ones(v), np.ones(shape))

    @pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf])
    @pytest.mark.parametrize("kind", KINDS)
    def test_parameter_values(self, kind, bad):
        """Every parameter is a positive number."""
        for name in leaf(kind, 2).parameters:
            for make in (lambda k: k, lambda k: k + kernels.White(), lambda k: kernels.Constant() * k):
                with pytest.raises(ValueError, match=rf"{name} must be .*, got"):
                    make(getattr(kernels, kind)(**{name: bad}))(np.ones((3, 2)))

    @pytest.mark.parametrize("kind", ARD)
    def test_parameter_shapes(self, kind):
        wide = [name for name, value in leaf(f"{kind}-ard", 2).parameters.items() if np.ndim(value)]
        assert wide
        for name in wide:
            for shape in [(3,), (1,), (2, 1)]:
                with pytest.raises(ValueError, match=rf"{name} must be a number or have shape \(2,\), got shape \("):
                    getattr(kernels, kind)(**{name: np.ones(shape)})(np.ones((4, 2)))
                with pytest.raises(ValueError, match=rf"{name} must be a number or have shape \(2,\), got shape \("):
                    getattr(kernels, kind)(**{name: np.ones(shape)}, active_dims=[3, 1])(np.ones((4, 4)))
            with pytest.raises(ValueError, match=rf"{name} must be"):
                getattr(kernels, kind)(**{name: [1.0, -1.0]})(np.ones((4, 2)))

    @pytest.mark.parametrize("kind", KINDS)
    def test_parameter_types(self, kind):
        node = leaf(f"{kind}-ard" if kind in ARD else kind, 2)
        for name, value in node.parameters.items():
            bads = ("a", None, 1j) if np.ndim(value) else ("a", None, 1j, [1.0, 2.0])
            for bad in bads:
                with pytest.raises((TypeError, ValueError), match=name):
                    getattr(kernels, kind)(**{name: bad})(np.ones((4, 2)))

    @pytest.mark.parametrize("bad", [0, -1, 1.5, True, "3", None, [2]])
    def test_degree(self, bad):
        with pytest.raises((ValueError, TypeError), match="degree"):
            kernels.Polynomial(degree=bad)(np.ones((3, 2)))
