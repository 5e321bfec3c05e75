"""Covariance functions by their definitions: trees of leaves, sums and products, values and hand-derived gradients.

A function of pairs takes x and z with the coordinates in the last axis, so that it serves two vectors, in a double
loop, as well as X[:, None] and Z[None], all pairs at once. ``same`` says which pairs are one row of one X. With
``bound`` the terms of every sum count by their absolute values: the scale to which a rounding error is relative.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from dataclasses import dataclass, field

import numpy as np

LONG = np.longdouble
PI = LONG("3.14159265358979323846264338327950288")
STATIONARY = ("RBF", "Matern12", "Matern32", "Matern52", "RationalQuadratic")
KINDS = (*STATIONARY, "Periodic", "Linear", "Polynomial", "Cosine", "Constant", "White")


@dataclass(frozen=True)
class Leaf:
    """A kernel by the name of its class; parameters in order, each a number or an array over the active dimensions."""

    kind: str
    parameters: dict = field(default_factory=dict)
    active_dims: tuple | None = None
    degree: int = 3  # of the polynomial

    def __getitem__(self, name):
        """A parameter in extended precision; complex ones stay so, for the complex step."""
        value = np.asarray(self.parameters[name])
        return value if value.dtype.kind == "c" else value.astype(LONG)

    def columns(self, x):
        return x if self.active_dims is None else x[..., list(self.active_dims)]


class Sum(tuple):
    """A sum of nodes."""


class Product(tuple):
    """A product of nodes."""


def pair(node, x, z, same=False, bound=False):
    """k(x, z) for every pair of vectors in the last axis of x and z."""
    if isinstance(node, (Sum, Product)):
        values = [pair(part, x, z, same, bound) for part in node]
        return functools.reduce(operator.add if isinstance(node, Sum) else operator.mul, values)
    x, z = node.columns(x), node.columns(z)
    if node.kind == "White":
        return node["variance"] * np.asarray(same, dtype=LONG)
    d = x - z
    if node.kind == "Constant" or (bound and node.kind not in ("Linear", "Polynomial")):
        return np.full(d.shape[:-1], node["variance"])
    if node.kind == "Periodic":
        return node["variance"] * np.exp(-2 * np.sum((np.sin(PI * d / node["period"]) / node["lengthscale"]) ** 2, -1))
    if node.kind == "Cosine":
        return node["variance"] * np.cos(2 * PI * np.sum(d / node["lengthscale"], axis=-1))
    if node.kind in ("Linear", "Polynomial"):
        dot = np.sum(node["variance"] * (np.abs(x * z) if bound else x * z), axis=-1)
        return dot if node.kind == "Linear" else (dot + node["offset"]) ** node.degree
    s = np.sum((d / node["lengthscale"]) ** 2, axis=-1)
    r = np.sqrt(s)
    if node.kind == "RBF":
        f = np.exp(-s / 2)
    elif node.kind == "Matern12":
        f = np.exp(-r)
    elif node.kind == "Matern32":
        f = (1 + np.sqrt(LONG(3)) * r) * np.exp(-np.sqrt(LONG(3)) * r)
    elif node.kind == "Matern52":
        f = (1 + np.sqrt(LONG(5)) * r + 5 * s / 3) * np.exp(-np.sqrt(LONG(5)) * r)
    elif node.kind == "RationalQuadratic":
        f = (1 + s / (2 * node["alpha"])) ** -node["alpha"]
    return node["variance"] * f


def _pairs(X, Z):
    """X[:, None], Z[None] in extended precision, and which pairs are one row of X."""
    X = np.asarray(X, dtype=LONG)
    other = X if Z is None else np.asarray(Z, dtype=LONG)
    same = np.eye(len(X), dtype=bool) if Z is None else np.zeros((len(X), len(other)), dtype=bool)
    return X[:, None], other[None], same


def matrix(node, X, Z=None, bound=False):
    """K_ij = k(x_i, z_j), (n, m); Z None stands for X."""
    return pair(node, *_pairs(X, Z), bound=bound)


def matrix_by_loops(node, X, Z=None):
    """The same, one pair at a time."""
    X = np.asarray(X, dtype=LONG)
    other = X if Z is None else np.asarray(Z, dtype=LONG)
    K = np.empty((len(X), len(other)), dtype=LONG)
    for i, j in np.ndindex(K.shape):
        K[i, j] = pair(node, X[i], other[j], same=Z is None and i == j)
    return K


def _slope(leaf, s):
    """2 df/ds of a stationary kernel v f(s); Matern12's distance has derivative 0 at s = 0."""
    r = np.sqrt(s)
    if leaf.kind == "RBF":
        return -np.exp(-s / 2)
    if leaf.kind == "Matern12":
        return np.where(r > 0, -np.exp(-r) / np.where(r > 0, r, 1), 0)
    if leaf.kind == "Matern32":
        return -3 * np.exp(-np.sqrt(LONG(3)) * r)
    if leaf.kind == "Matern52":
        return -5 * (1 + np.sqrt(LONG(5)) * r) * np.exp(-np.sqrt(LONG(5)) * r) / 3
    return -((1 + s / (2 * leaf["alpha"])) ** (-leaf["alpha"] - 1))


def _derivatives(leaf, x, z, same, bound):
    """(dk/dx, dk/dz, {parameter: dk/dparameter}) of all pairs; the last axis holds the active dimensions, or 1."""
    v = leaf["variance"]
    k = pair(leaf, x, z, same)[..., None]
    x, z = leaf.columns(x), leaf.columns(z)
    if bound and leaf.kind in ("Linear", "Polynomial"):
        x, z = np.abs(x), np.abs(z)
    d = x - z
    if leaf.kind in ("Constant", "White"):
        return 0 * d, 0 * d, {"variance": np.broadcast_to(k / v, (*d.shape[:-1], 1))}
    if leaf.kind == "Linear":
        return v * z + 0 * d, v * x + 0 * d, {"variance": x * z}
    if leaf.kind == "Polynomial":
        outer = leaf.degree * (np.sum(v * x * z, axis=-1, keepdims=True) + leaf["offset"]) ** (leaf.degree - 1)
        return outer * v * z, outer * v * x, {"variance": outer * x * z, "offset": outer}
    ell = leaf["lengthscale"]
    sine = np.sin
    if bound and leaf.kind in ("Cosine", "Periodic"):  # the phases of x and z have errors of their own
        sine, d = np.ones_like, np.abs(x) + np.abs(z)
    if leaf.kind == "Cosine":
        dx = -v * 2 * PI / ell * sine(2 * PI * np.sum(d / ell, axis=-1, keepdims=True)) + 0 * d
        return dx, -dx, {"variance": np.ones_like(k) if bound else k / v, "lengthscale": -dx * d / ell}
    if leaf.kind == "Periodic":
        turns = d / leaf["period"]
        dx = -k * 2 * PI / (leaf["period"] * ell**2) * sine(2 * PI * turns)
        dell = 4 * k * (np.ones_like(d) if bound else np.sin(PI * turns) ** 2) / ell**3
        return dx, -dx, {"variance": k / v, "lengthscale": dell, "period": -dx * turns}
    s = np.sum((d / ell) ** 2, axis=-1, keepdims=True)
    dx = v * _slope(leaf, s) * d / ell**2
    parameters = {"variance": k / v, "lengthscale": -dx * d / ell}
    if leaf.kind == "RationalQuadratic":
        u = s / (2 * leaf["alpha"])
        parameters["alpha"] = k * (u / (1 + u) + (1 if bound else -1) * np.log1p(u))
    return dx, -dx, parameters


def leaves(node):
    """The leaves, left to right."""
    return [node] if isinstance(node, Leaf) else list(itertools.chain.from_iterable(leaves(part) for part in node))


def names(node):
    """What stands before the names of each leaf's parameters: class in lower case, numbered from its second leaf on."""
    if isinstance(node, Leaf):
        return [""]
    seen, answer = {}, []
    for leaf in leaves(node):
        kind = leaf.kind.lower()
        seen[kind] = seen.get(kind, 0) + 1
        answer.append(f"{kind}." if seen[kind] == 1 else f"{kind}_{seen[kind]}.")
    return answer


def parameters(node):
    """All parameters by their full names, in order."""
    pairs = zip(names(node), leaves(node), strict=True)
    return {prefix + name: value for prefix, leaf in pairs for name, value in leaf.parameters.items()}


def _weights(node, x, z, same, bound):
    """d(value of the node) / d(value of each leaf), left to right: the product of what the leaf is multiplied by."""
    if isinstance(node, Leaf):
        return [LONG(1)]
    answer = []
    for i, part in enumerate(node):
        others = node[:i] + node[i + 1 :] if isinstance(node, Product) else ()
        factor = math.prod((pair(other, x, z, same, bound) for other in others), start=LONG(1))
        answer += [factor * weight for weight in _weights(part, x, z, same, bound)]
    return answer


def vjp(node, X, Z, cotangent, bound=False):
    """Gradients of Σ_ij cotangent_ij k(x_i, z_j): (dX, dZ, {full name: gradient shaped as the parameter}).

    Z None: dX is the total derivative through both arguments and dZ is None.
    """
    x, z, same = _pairs(X, Z)
    cotangent = np.asarray(cotangent, dtype=LONG)
    absolute = np.abs if bound else np.asarray
    dX, dZ, gradients = np.zeros_like(x[:, 0]), np.zeros_like(z[0]), {}
    for prefix, leaf, weight in zip(names(node), leaves(node), _weights(node, x, z, same, bound), strict=True):
        C = absolute(cotangent * weight)[..., None]
        columns = slice(None) if leaf.active_dims is None else list(leaf.active_dims)
        dk_dx, dk_dz, rest = _derivatives(leaf, x, z, same, bound)
        dX[:, columns] += np.sum(C * absolute(dk_dx), axis=1)
        dZ[:, columns] += np.sum(C * absolute(dk_dz), axis=0)
        for name, value in leaf.parameters.items():
            gradient = np.sum(C * absolute(rest[name]), axis=(0, 1))
            gradients[prefix + name] = gradient if np.ndim(value) else np.sum(gradient)
    return (dX + dZ, None, gradients) if Z is None else (dX, dZ, gradients)


def build(node, kernels):
    """The same tree out of the classes of a module, by its operators."""
    if isinstance(node, Leaf):
        degree = {"degree": node.degree} if node.kind == "Polynomial" else {}
        return getattr(kernels, node.kind)(**node.parameters, **degree, active_dims=node.active_dims)
    return functools.reduce(operator.add if isinstance(node, Sum) else operator.mul, [build(p, kernels) for p in node])
