"""Networks in plain float64 NumPy: loops over pixels and taps, activations from SciPy's functions."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

ACTIVATIONS = {
    "linear": (lambda x: x, np.ones_like),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "sigmoid": (special.expit, lambda x: special.expit(x) * special.expit(-x)),
    "softplus": (lambda x: np.logaddexp(0, x), special.expit),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), lambda x: np.exp(np.minimum(x, 0))),
    "gelu": (lambda x: x * stats.norm.cdf(x), lambda x: stats.norm.cdf(x) + x * stats.norm.pdf(x)),
}


def padding(size, kernel, stride, same):
    """Result's extent, and what is padded before, of one axis of a convolution."""
    if not same:
        return (size - kernel) // stride + 1, 0
    out = -(-size // stride)
    return out, max((out - 1) * stride + kernel - size, 0) // 2


def pairs(shape, kernel_size, strides, same):
    """All ((i, j), (u, v), (row, col)): result's pixel, tap and pixel of the image that meet in a convolution."""
    (rows, top), (cols, left) = (padding(*a, same) for a in zip(shape, kernel_size, strides, strict=True))
    for i, j, u, v in np.ndindex(rows, cols, *kernel_size):
        row, col = i * strides[0] + u - top, j * strides[1] + v - left
        if 0 <= row < shape[0] and 0 <= col < shape[1]:
            yield (i, j), (u, v), (row, col)


class Convolution:
    """x (n, rows, cols, c), kernel (u, v, c, f); forward and the pull-back of a cotangent."""

    def __init__(self, shape, kernel_size, strides, same):
        self.met = list(pairs(shape, kernel_size, strides, same))
        self.out = tuple(padding(*a, same)[0] for a in zip(shape, kernel_size, strides, strict=True))
        self.shape = shape

    def forward(self, x, kernel):
        y = np.zeros((len(x), *self.out, kernel.shape[3]))
        for (i, j), (u, v), (row, col) in self.met:
            y[:, i, j] += x[:, row, col] @ kernel[u, v]
        return y

    def by_input(self, d, kernel):
        d_x = np.zeros((len(d), *self.shape, kernel.shape[2]))
        for (i, j), (u, v), (row, col) in self.met:
            d_x[:, row, col] += d[:, i, j] @ kernel[u, v].T
        return d_x

    def by_kernel(self, x, d, kernel):
        gradient = np.zeros(kernel.shape)
        for (i, j), (u, v), (row, col) in self.met:
            gradient[u, v] += x[:, row, col].T @ d[:, i, j]
        return gradient


def layer(kind, x, kernel, bias, activation, strides=(1, 1), same=False):
    """y of a layer, and ``pull(d) -> (d_x, d_kernel, d_bias)``. kind: "dense", "conv" or "transpose"."""
    value, slope = ACTIVATIONS[activation]
    if kind == "dense":
        before = x @ kernel
    elif kind == "conv":
        convolution = Convolution(x.shape[1:3], kernel.shape[:2], strides, same)
        before = convolution.forward(x, kernel)
    else:
        sizes = zip(x.shape[1:3], kernel.shape[:2], strides, strict=True)
        shape = tuple(n * s + (0 if same else max(k - s, 0)) for n, k, s in sizes)
        convolution = Convolution(shape, kernel.shape[:2], strides, same)
        before = convolution.by_input(x, kernel)
    before = before + bias

    def pull(d):
        g = d * slope(before)
        d_bias = g.reshape(-1, g.shape[-1]).sum(0)
        if kind == "dense":
            return g @ kernel.T, x.T @ g, d_bias
        if kind == "conv":
            return convolution.by_input(g, kernel), convolution.by_kernel(x, g, kernel), d_bias
        return convolution.forward(g, kernel), convolution.by_kernel(g, x, kernel), d_bias

    return value(before), pull


def adam(theta, gradients, rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Kingma and Ba's second form."""
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        theta = theta - rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)
    return theta


def rmsprop(theta, gradients, rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7):
    """Epsilon inside the root."""
    m = v = 0
    for g in gradients:
        v = rho * v + (1 - rho) * g**2
        m = momentum * m + rate * g / np.sqrt(v + epsilon)
        theta = theta - m
    return theta


def sgd(theta, gradients, rate=0.01, momentum=0.0):
    """Heavy ball."""
    m = 0
    for g in gradients:
        m = momentum * m - rate * g
        theta = theta + m
    return theta


def clipped(g, most):
    """Of a norm of at most ``most``."""
    return g * min(1.0, most / np.linalg.norm(g))
