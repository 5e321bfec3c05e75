"""Convolutions between a large and a small image, tap by tap."""

import numpy as np


def pairs(large, small, taps, stride, before):
    """(i, u, p) of an axis: pixel i of the small one takes pixel p of the large one by tap u."""
    found = [(i, u, i * stride - before + u) for i in range(small) for u in range(taps)]
    return [(i, u, p) for i, u, p in found if 0 <= p < large]


def terms(shape):
    """(i, j, u, v, p, q) of both axes; shape as TapGeometry has it."""
    large_rows, large_cols, small_rows, small_cols, rows, cols, row_stride, col_stride, top, left = shape[:10]
    row_pairs = pairs(large_rows, small_rows, rows, row_stride, top)
    col_pairs = pairs(large_cols, small_cols, cols, col_stride, left)
    return [(i, j, u, v, p, q) for i, u, p in row_pairs for j, v, q in col_pairs]


def to_small(shape, large, w):
    """(n, i, j, f) from (n, p, q, c) and w (u, v, c, f)."""
    out = np.zeros((len(large), *shape[2:4], w.shape[3]))
    for i, j, u, v, p, q in terms(shape):
        out[:, i, j] += large[:, p, q] @ w[u, v]
    return out


def to_large(shape, small, w):
    """The adjoint."""
    out = np.zeros((len(small), *shape[:2], w.shape[2]))
    for i, j, u, v, p, q in terms(shape):
        out[:, p, q] += small[:, i, j] @ w[u, v].T
    return out


def weights(shape, large, small):
    """The gradient of sum(small * to_small(large)) by w."""
    out = np.zeros((*shape[4:6], large.shape[3], small.shape[3]))
    for i, j, u, v, p, q in terms(shape):
        out[u, v] += large[:, p, q].T @ small[:, i, j]
    return out
