"""The oracle of the covariance functions against formulas written out, scikit-learn and the complex step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.gaussian_process import kernels as sk

from .covariances import KINDS, LONG, Leaf, Product, Sum, leaves, matrix, matrix_by_loops, names, pair, parameters, vjp

EXACT = 1e-13  # two routes to one number in double precision
STEP = 1e-30  # of the complex step, which subtracts nothing
ELL, P = (0.8, 1.3), (1.5, 0.7)


def rng():
    return np.random.default_rng(5)


def assert_near(actual, expected, relative=EXACT):
    """max |actual - expected| <= relative * max(1, |expected|)."""
    actual, expected = np.asarray(actual, dtype=LONG), np.asarray(expected, dtype=LONG)
    assert actual.shape == expected.shape
    assert np.max(np.abs(actual - expected), initial=0) <= relative * max(1, np.max(np.abs(expected), initial=0))


def leaf(kind, ard=True, **keywords):
    """A leaf for two active dimensions with parameters that are all different."""
    ell, period, weights = (np.array(a) if ard else a[0] for a in (ELL, P, (1.7, 0.4)))
    values = {"variance": weights if kind in ("Linear", "Polynomial") else 1.7}
    if kind not in ("Linear", "Polynomial", "Constant", "White"):
        values["lengthscale"] = ell
    values |= {"RationalQuadratic": {"alpha": 0.6}, "Periodic": {"period": period}}.get(kind, {})
    values |= {"offset": 0.9} if kind == "Polynomial" else {}
    return Leaf(kind, values, **keywords)


TREES = {
    **{f"{kind}-{'ard' if ard else 'scalar'}": leaf(kind, ard) for kind in KINDS for ard in (True, False)},
    "columns": leaf("Matern32", active_dims=(1, 0)),
    "one column": Sum((leaf("Polynomial", False, active_dims=(1,)), leaf("Cosine", False, active_dims=(0,)))),
    "product of sums": Product(
        (Sum((leaf("RBF"), leaf("White"))), Sum((leaf("Linear"), Product((leaf("Periodic"), leaf("Constant")))))),
    ),
    "repeated": Sum((leaf("RBF"), Product((leaf("RBF", False), leaf("Linear"), leaf("RBF"))), leaf("White"))),
}


@pytest.fixture(params=TREES.values(), ids=TREES)
def tree(request):
    return request.param


def test_formulas():
    """One pair, written out with scalars: x - z = (3/4, -1/2)."""
    x, z, (l1, l2), (p1, p2) = np.array([[1.0, 0.25]]), np.array([[0.25, 0.75]]), ELL, P
    s = (0.75 / l1) ** 2 + (0.5 / l2) ** 2
    r = math.sqrt(s)
    waves = math.sin(math.pi * 0.75 / p1) ** 2 / l1**2 + math.sin(math.pi * 0.5 / p2) ** 2 / l2**2
    dot = 1.7 * 0.25 + 0.4 * 0.1875
    expected = {
        "RBF": 1.7 * math.exp(-s / 2),
        "Matern12": 1.7 * math.exp(-r),
        "Matern32": 1.7 * (1 + math.sqrt(3) * r) * math.exp(-math.sqrt(3) * r),
        "Matern52": 1.7 * (1 + math.sqrt(5) * r + 5 / 3 * r * r) * math.exp(-math.sqrt(5) * r),
        "RationalQuadratic": 1.7 / (1 + s / 1.2) ** 0.6,
        "Periodic": 1.7 * math.exp(-2 * waves),
        "Linear": dot,
        "Polynomial": (dot + 0.9) ** 3,
        "Cosine": 1.7 * math.cos(2 * math.pi * (0.75 / l1 - 0.5 / l2)),
        "Constant": 1.7,
        "White": 0.0,
    }
    assert list(expected) == list(KINDS)
    for kind, value in expected.items():
        assert_near(matrix(leaf(kind), x, z), [[value]])
    np.testing.assert_array_equal(matrix(leaf("White"), np.zeros((3, 2))), LONG(1.7) * np.eye(3))
    np.testing.assert_array_equal(matrix(leaf("White"), np.zeros((3, 2)), np.zeros((3, 2))), np.zeros((3, 3)))


def test_loops(tree):
    """All pairs at once and one by one, duplicates included; a bound is one."""
    X, Z = rng().standard_normal((2, 4, 2))
    X[2], Z[1] = X[0], X[3]
    for other in (None, Z):
        K = matrix(tree, X, other)
        assert_near(K, matrix_by_loops(tree, X, other), 1e-17 if np.finfo(LONG).eps < 1e-18 else EXACT)
        assert (matrix(tree, X, other, bound=True) >= np.abs(K) * (1 - EXACT)).all()


def test_columns():
    X, Z = rng().standard_normal((2, 4, 3))
    kernel = leaf("Matern32", active_dims=(2, 0))
    assert_near(matrix(kernel, X, Z), matrix(leaf("Matern32"), X[:, [2, 0]], Z[:, [2, 0]]))
    dX = vjp(kernel, X, Z, np.ones((4, 4)))[0]
    np.testing.assert_array_equal(dX[:, 1], np.zeros(4))
    assert_near(dX[:, [2, 0]], vjp(leaf("Matern32"), X[:, [2, 0]], Z[:, [2, 0]], np.ones((4, 4)))[0])


def test_names():
    white, rbf, rq = leaf("White"), leaf("RBF"), leaf("RationalQuadratic")
    assert names(Sum((rbf, Product((rq, Sum((rbf, white)))), rbf))) == [
        "rbf.",
        "rationalquadratic.",
        "rbf_2.",
        "white.",
        "rbf_3.",
    ]
    assert list(parameters(Sum((white, rq)))) == [
        "white.variance",
        "rationalquadratic.variance",
        "rationalquadratic.lengthscale",
        "rationalquadratic.alpha",
    ]
    assert list(parameters(rbf)) == ["variance", "lengthscale"]


def with_value(node, which, name, value):
    """The tree with one parameter of one leaf (by its number) changed."""
    counter = iter(range(len(leaves(node))))

    def visit(part):
        if isinstance(part, (Sum, Product)):
            return type(part)(visit(p) for p in part)
        changed = {**part.parameters, name: value} if next(counter) == which else part.parameters
        return Leaf(part.kind, changed, part.active_dims, part.degree)

    return visit(node)


@pytest.mark.parametrize("same", [False, True])
def test_pullback(tree, same):
    """Every derivative by the complex step, which knows nothing of the rules of differentiation."""
    generator = rng()
    X, other, C = (
        generator.standard_normal((5, 2)),
        generator.standard_normal((4, 2)),
        generator.standard_normal((5, 5)),
    )
    Z = X if same else other
    C = C[:, : len(Z)]
    # At one point Matern12 has no derivative to find; by definition it is 0, as the symmetry of the others has it.
    counted = C * ~np.eye(5, dtype=bool) if same and "Matern12" in {p.kind for p in leaves(tree)} else C
    rows = np.eye(5, dtype=bool) if same else np.zeros(C.shape, dtype=bool)

    def derivative(x, z, node=tree):
        return np.imag(pair(node, x[:, None], z[None], rows)) / STEP

    dX, dZ, gradients = vjp(tree, X, None if same else Z, C)
    expected_x, expected_z = np.zeros(X.shape), np.zeros(Z.shape)
    for q in range(2):
        step = np.zeros(2, dtype=np.clongdouble)
        step[q] = 1j * STEP
        expected_x[:, q] = np.sum(counted * derivative(X + step, Z), axis=1)
        expected_z[:, q] = np.sum(counted * derivative(X, Z + step), axis=0)
    if same:
        assert dZ is None
        assert_near(dX, expected_x + expected_z, 1e-12)
    else:
        assert_near(dX, expected_x, 1e-12)
        assert_near(dZ, expected_z, 1e-12)
    assert list(gradients) == list(parameters(tree))
    full = iter(gradients.values())
    for which, part in enumerate(leaves(tree)):
        for name, value in part.parameters.items():
            expected = np.zeros(np.shape(value))
            for index in np.ndindex(expected.shape):
                moved = np.asarray(value, dtype=np.clongdouble).copy()
                moved[index] += 1j * STEP
                weight = counted if name == "lengthscale" else C
                expected[index] = np.sum(weight * derivative(X, Z, with_value(tree, which, name, moved)))
            assert_near(next(full), expected, 1e-12)


@pytest.mark.parametrize("same", [False, True])
def test_pullback_bound(tree, same):
    X, Z, C = rng().standard_normal((3, 4, 2))
    C = rng().standard_normal((4, 4))
    value, bound = (vjp(tree, X, None if same else Z, C, bound=b) for b in (False, True))
    assert (np.abs(value[0]) <= bound[0] * (1 + EXACT)).all()
    assert same or (np.abs(value[1]) <= bound[1] * (1 + EXACT)).all()
    for name, gradient in value[2].items():
        assert (np.abs(gradient) <= bound[2][name] * (1 + EXACT)).all()


def test_coincident_points():
    """The distance of a point to itself has derivative 0, also between different rows."""
    X = np.ones((3, 2))
    for other in (None, X):
        dX, dZ, gradients = vjp(leaf("Matern12"), X, other, np.ones((3, 3)))
        np.testing.assert_array_equal(dX, np.zeros((3, 2)))
        assert other is None or not dZ.any()
        np.testing.assert_array_equal(gradients["lengthscale"], [0, 0])
        assert_near(gradients["variance"], 9)


ONE_D = {"Periodic": (sk.ExpSineSquared(0.8, 1.5), {"lengthscale": "length_scale", "period": "periodicity"})}
ANY_D = {
    "RBF": (sk.RBF(ELL), {"lengthscale": "length_scale"}),
    "Matern12": (sk.Matern(ELL, nu=0.5), {"lengthscale": "length_scale"}),
    "Matern32": (sk.Matern(ELL, nu=1.5), {"lengthscale": "length_scale"}),
    "Matern52": (sk.Matern(ELL, nu=2.5), {"lengthscale": "length_scale"}),
    "RationalQuadratic": (sk.RationalQuadratic(0.8, 0.6), {"lengthscale": "length_scale", "alpha": "alpha"}),
}


@pytest.mark.parametrize("kind", [*ANY_D, *ONE_D])
def test_scikit_learn(kind):
    """Values, and gradients with respect to logarithms, which scikit-learn sorts by the names of its parameters."""
    theirs, translation = (ANY_D | ONE_D)[kind]
    q = 1 if kind in ONE_D else 2
    X, Z, C = rng().standard_normal((6, q)), rng().standard_normal((4, q)) + 0.5, rng().standard_normal((6, 6))
    ours = leaf(kind, ard=kind in ANY_D and kind != "RationalQuadratic")
    assert_near(matrix(ours, X, Z), 1.7 * theirs(X, Z))
    K, dK = theirs(X, eval_gradient=True)
    assert_near(matrix(ours, X), 1.7 * K)
    gradients = vjp(ours, X, None, C)[2]
    logs = {name: gradients[name] * ours.parameters[name] for name in translation}
    mine = np.concatenate([np.atleast_1d(logs[name]) for name in sorted(translation, key=translation.get)])
    assert_near(mine, np.einsum("ij,ijp->p", C, 1.7 * dK), 1e-12)
    assert_near(gradients["variance"], np.sum(C * K))


def test_scikit_learn_trees():
    """Dot products, powers, constants and noise, in sums and products."""
    X, Z = rng().standard_normal((6, 2)), rng().standard_normal((4, 2))
    linear, polynomial = Leaf("Linear", {"variance": 1.0}), Leaf("Polynomial", {"variance": 1.0, "offset": 0.81})
    constant, white = leaf("Constant"), leaf("White")
    dot = sk.DotProduct(0.9)
    cases = [
        (Sum((linear, Leaf("Constant", {"variance": 0.81}))), dot),
        (polynomial, dot**3),
        (Leaf("Polynomial", {"variance": 1.0, "offset": 0.81}, degree=2), dot**2),
        (constant, sk.ConstantKernel(1.7)),
        (white, sk.WhiteKernel(1.7)),
        (Sum((leaf("RBF"), Product((white, polynomial)))), 1.7 * sk.RBF(ELL) + sk.WhiteKernel(1.7) * dot**3),
        (Product((Sum((leaf("RBF"), white)), constant)), (1.7 * sk.RBF(ELL) + sk.WhiteKernel(1.7)) * 1.7),
    ]
    for ours, theirs in cases:
        assert_near(matrix(ours, X), theirs(X))
        assert_near(np.diag(matrix(ours, X)), theirs.diag(X))
        assert_near(matrix(ours, X, Z), theirs(X, Z))
