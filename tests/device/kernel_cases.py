"""Cases of lvmfast.kernels: each covariance function and trees of them; values, pull-backs, products."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from reference import covariances as oracle
from reference.covariances import KINDS, Leaf, Product, Sum

from lvmfast import kernels

PLAIN = ("Constant", "White")  # without a parameter per dimension
DOTS = ("Linear", "Polynomial")


def leaf(kind, q, *, ard=True, active_dims=None, degree=3):
    """A leaf that sees q columns; all numbers are exact in float32."""
    each = (lambda *values: np.resize(values, q)) if ard else lambda *values: values[0]
    unit = 2.0 ** round(np.log2(q) / 2)  # about sqrt(q), the distance of typical points
    values = {"variance": each(0.5, 1.25, 0.25) / unit**2 if kind in DOTS else 1.75}
    if kind not in (*DOTS, *PLAIN):
        values["lengthscale"] = each(1.25, 0.75, 2.0, 3.25) * unit
    if kind == "RationalQuadratic":
        values["alpha"] = 0.625
    if kind == "Periodic":
        values["period"] = each(2.5, 1.5, 4.0)
    if kind == "Polynomial":
        values["offset"] = 0.75
    return Leaf(kind, values, active_dims, degree)


def _trees():
    def new(kind, *columns):
        return leaf(kind, len(columns) or 3, active_dims=columns or None)

    return {
        "sum": Sum([new("RBF"), new("Matern32", 2, 0), new("White"), new("Constant")]),
        "product": Product([new("RBF", 0), new("Linear"), new("Constant"), new("Matern12", 1, 2)]),
        "product of sums": Product(
            [Sum([new("RBF"), new("Linear", 1)]), Sum([new("Matern12", 2, 1), new("Constant"), new("White")])]
        ),
        "deep": Sum(
            [
                Product([new("Constant"), Sum([new("RBF", 2, 0), Product([new("Periodic", 1), new("Matern52")])])]),
                new("White"),
                Product([new("White"), Sum([new("Polynomial"), new("RBF")])]),
            ]
        ),
        "noise": Product([Sum([new("White"), new("Constant")]), new("Linear"), Sum([new("White")] * 2)]),
        "waves": Product([new("Cosine"), new("RationalQuadratic"), Sum([new("Polynomial", 0), new("RBF")])]),
        "all": Sum([Product([new(a), new(b)]) for a, b in zip(KINDS, KINDS[3:] + KINDS[:3], strict=True)]),
    }


def numbers(rng, dtype, *shape):
    """Normal numbers, exact in float32."""
    return rng.standard_normal(shape).astype(np.float32).astype(dtype)


def points(n, m, q):
    """X (n, q), and Z (m, q), or None where m is."""
    return lambda rng, dtype: (numbers(rng, dtype, n, q), None if m is None else numbers(rng, dtype, m, q))


def with_cotangent(n, m, q):
    return lambda rng, dtype: (*points(n, m, q)(rng, dtype), numbers(rng, dtype, n, n if m is None else m))


def with_vectors(n, m, q, columns, pulled=False):
    """X, Z, V and perhaps the cotangent of the product."""

    def inputs(rng, dtype):
        X, Z = points(n, m, q)(rng, dtype)
        V, G = (numbers(rng, dtype, rows, *columns) for rows in (n if m is None else m, n))
        return (X, Z, V, G) if pulled else (X, Z, V)

    return inputs


def values(node, n, m, q):
    k = oracle.build(node, kernels)
    return Case(
        points(n, m, q),
        k,
        16 + q,
        oracle=lambda X, Z: oracle.matrix(node, X, Z),
        scale=lambda X, Z: np.max(oracle.matrix(node, X, Z, bound=True), initial=0),
    )


def pullback(node, n, m, q):
    """dX, dZ and the gradients, relative to the sums of the absolute values of what is added in each."""
    k = oracle.build(node, kernels)
    return Case(
        with_cotangent(n, m, q),
        k.vjp,
        128 + q,
        oracle=lambda X, Z, C: oracle.vjp(node, X, Z, C),
        scale=lambda X, Z, C: _largest(oracle.vjp(node, X, Z, np.abs(C), bound=True)),
    )


def _largest(bound):
    *bars, gradients = bound
    most = [None if bar is None else np.max(bar, initial=0) for bar in bars]
    return *most, {name: np.max(g, initial=0) for name, g in gradients.items()}


def product(node, n, m, q, columns):
    k = oracle.build(node, kernels)
    return Case(
        with_vectors(n, m, q, columns),
        k.matmul,
        16 + q,
        oracle=lambda X, Z, V: oracle.matrix(node, X, Z) @ V,
        scale=lambda X, Z, V: np.max(oracle.matrix(node, X, Z, bound=True) @ np.abs(V), initial=0),
    )


def product_pullback(node, n, m, q, columns):
    k = oracle.build(node, kernels)

    def outer(V, G):
        return G[:, None] * V if V.ndim == 1 else G @ V.T

    def exact(X, Z, V, G):
        V, G = V.astype(float), G.astype(float)
        dX, dZ, gradients = oracle.vjp(node, X, Z, outer(V, G))
        return dX, dZ, oracle.matrix(node, X, Z).T @ G, gradients

    def scale(X, Z, V, G):
        V, G = np.abs(V).astype(float), np.abs(G).astype(float)
        dX, dZ, gradients = oracle.vjp(node, X, Z, outer(V, G), bound=True)
        return _largest((dX, dZ, oracle.matrix(node, X, Z, bound=True).T @ G, gradients))

    return Case(with_vectors(n, m, q, columns, pulled=True), k.matmul_vjp, 128 + q, oracle=exact, scale=scale)


def everything(node, q, n=33, m=20):
    """The operations on one kernel, at sizes below a tile."""
    return {
        "K(X)": values(node, n, None, q),
        "K(X, Z)": values(node, n, m, q),
        "vjp(X)": pullback(node, n, None, q),
        "vjp(X, Z)": pullback(node, n, m, q),
        "matmul": product(node, n, m, q, (3,)),
        "matmul_vjp(X)": product_pullback(node, n, None, q, (2,)),
        "matmul_vjp(X, Z)": product_pullback(node, n, m, q, ()),
    }


NODES = {kind: leaf(kind, 3) for kind in KINDS} | _trees()
NODES |= {f"{kind}, columns 2, 0": leaf(kind, 2, active_dims=(2, 0)) for kind in ("RBF", "Periodic", "Linear")}
OTHERS = {f"{kind}, one number": leaf(kind, 3, ard=False) for kind in KINDS if kind not in PLAIN}
OTHERS |= {f"polynomial of degree {d}": leaf("Polynomial", 3, degree=d) for d in (1, 2, 5)}

KERNELS = {f"{name}, {what}": case for name, node in NODES.items() for what, case in everything(node, 3).items()}
for name, node in OTHERS.items():
    KERNELS |= {f"{name}, {what}": everything(node, 3)[what] for what in ("K(X)", "vjp(X, Z)", "matmul_vjp(X)")}

# Around the edges of tiles.
EDGES = {"RBF": leaf("RBF", 2), "Linear": leaf("Linear", 2), "tree": Sum([leaf("Matern52", 2), leaf("White", 2)])}
for name, node in EDGES.items():
    for n in (1, 63, 64, 65, 130):
        KERNELS[f"{name}, K(X), n={n}"] = values(node, n, None, 2)
        KERNELS[f"{name}, vjp(X), n={n}"] = pullback(node, n, None, 2)
        KERNELS[f"{name}, matmul(X), n={n}"] = product(node, n, None, 2, ())
    for n, m in [(1, 130), (130, 1), (64, 65), (63, 129)]:
        KERNELS[f"{name}, K(X, Z), {n}, {m}"] = values(node, n, m, 2)
        KERNELS[f"{name}, vjp(X, Z), {n}, {m}"] = pullback(node, n, m, 2)
        KERNELS[f"{name}, matmul, {n}, {m}"] = product(node, n, m, 2, (65,))
        KERNELS[f"{name}, matmul_vjp, {n}, {m}"] = product_pullback(node, n, m, 2, (5,))

# Many features, and one.
for q in (1, 40):
    for kind in ("RBF", "Matern12", "Periodic", "Linear", "Polynomial", "Cosine"):
        for what, case in everything(leaf(kind, q), q, 66, 20).items():
            if what in ("K(X)", "vjp(X, Z)", "matmul_vjp(X)"):
                KERNELS[f"{kind}, {q} columns, {what}"] = case
