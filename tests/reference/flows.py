"""Normalizing flows one row and one column at a time, in float64: parameters are read in order from one vector.

Every flow is a function ``f(row, theta) -> (row, log |det|)`` of the direction that takes one pass. Dinh,
Sohl-Dickstein & Bengio (2017), eq. 7; Papamakarios, Pavlakou & Murray (2017), eq. 4; Rezende & Mohamed (2015),
appendix A.1.
"""

from __future__ import annotations

import math

import numpy as np

ACTIVATIONS = {"tanh": math.tanh, "relu": lambda a: max(a, 0.0)}


class Reader:
    """Numbers of a vector, one array after the other."""

    def __init__(self, theta):
        self.theta, self.at = theta, 0

    def __call__(self, *shape):
        size = math.prod(shape)
        self.at += size
        return self.theta[self.at - size : self.at].reshape(shape)


def network(inputs, outputs, hidden, activation):
    """Two heads of a dense network; ``allowed(layer, i, j)``: whether weight (i, j) of a layer counts."""

    def heads(x, theta, allowed=lambda layer, i, j: True):
        read, value = Reader(theta), list(x)

        def dense(value, units, layer):
            kernel, bias = read(len(value), units), read(units)
            terms = [[kernel[i, j] * value[i] for i in range(len(value)) if allowed(layer, i, j)] for j in range(units)]
            return [math.fsum(own) + bias[j] for j, own in enumerate(terms)]

        for k, units in enumerate(hidden):
            value = [ACTIVATIONS[activation](a) for a in dense(value, units, k)]
        return dense(value, outputs, len(hidden)), dense(value, outputs, len(hidden))

    return heads


def coupling(d, stays, hidden, activation, bound, inverse=False):
    """``y_b = x_b exp(s(x_a)) + t(x_a)``, or back; a are the columns that stay."""
    kept = [j for j in range(d) if stays[j]]
    changed = [j for j in range(d) if not stays[j]]
    heads = network(len(kept), len(changed), hidden, activation)

    def f(x, theta):
        y, log_det = np.array(x, float), 0.0
        shifts, raws = heads([x[j] for j in kept], theta)
        for j, t, raw in zip(changed, shifts, raws, strict=True):
            s = bound * math.tanh(raw / bound)
            y[j] = (x[j] - t) / math.exp(s) if inverse else x[j] * math.exp(s) + t
            log_det += -s if inverse else s
        return y, log_det

    return f


def autoregressive(d, order, hidden, activation, bound):
    """``x_i = (y_i - t_i(y_<i)) exp(-s_i(y_<i))`` with "<" in the given order: the pass from data to base.

    Column ``order[k]`` has degree k + 1, unit j of a hidden layer 1 + j mod (d - 1); a weight counts from a degree to
    one that is not smaller, to a head only to one that is larger.
    """
    degrees = [list(order).index(j) + 1 for j in range(d)]
    units = [[1 + j % max(1, d - 1) for j in range(width)] for width in hidden]
    given, taken = [degrees, *units], [*units, degrees]
    heads = network(d, d, hidden, activation)

    def allowed(layer, i, j):
        below, above = given[layer][i], taken[layer][j]
        return above > below if layer == len(hidden) else above >= below

    def f(y, theta):
        shifts, raws = heads(y, theta, allowed)
        s = [bound * math.tanh(raw / bound) for raw in raws]
        return np.array([(y[j] - shifts[j]) / math.exp(s[j]) for j in range(d)]), -math.fsum(s)

    return f


def planar(d):
    """``y = x + u' tanh(w x + b)``, u' moved along w so that ``w u' > -1``."""

    def f(x, theta):
        u, w, b = theta[:d], theta[d : 2 * d], theta[2 * d]
        inner = float(u @ w)
        moved = u + (math.log1p(math.exp(inner)) - 1 - inner) * w / float(w @ w)
        t = math.tanh(float(w @ x) + b)
        return x + moved * t, math.log(abs(1 + (1 - t * t) * float(moved @ w)))

    return f


def affine(d, inverse=False):
    """``y = x exp(s) + t``, or back."""

    def f(x, theta):
        t, s = theta[:d], theta[d:]
        y = (x - t) / np.exp(s) if inverse else x * np.exp(s) + t
        return y, float(-s.sum() if inverse else s.sum())

    return f


def composed(parts):
    """Flows (f, parameters) one after the other."""

    def f(x, theta):
        read, total = Reader(theta), 0.0
        for own, size in parts:
            x, log_det = own(x, read(size))
            total += log_det
        return x, total

    return f


def rows(f, x, theta):
    """Of all rows."""
    pairs = [f(row, theta) for row in x]
    return np.array([y for y, _ in pairs]), np.array([log_det for _, log_det in pairs])


def log_density(f, x, theta):
    """``log N(f(x); 0, I) + log |det|`` of rows."""
    z, log_det = rows(f, x, theta)
    return np.array([-0.5 * float(own @ own) - 0.5 * len(own) * math.log(2 * math.pi) for own in z]) + log_det
