"""Philox4x32-10 in uint64 arithmetic, and the draws from its words by their definitions."""

from __future__ import annotations

import mpmath
import numpy as np

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
STEPS = (0x9E3779B9, 0xBB67AE85)
MASK = np.uint64(0xFFFFFFFF)
STREAMS = {"bits": 0, "uniform": 1, "normal": 2, "exponential": 3}
MP_DIGITS = 60


def philox(counter, key):
    """Ten rounds on counter (..., 4) under key (..., 2): words (..., 4), uint32."""
    c = [np.asarray(counter)[..., j].astype(np.uint64) for j in range(4)]
    k = [np.asarray(key)[..., j].astype(np.uint64) for j in range(2)]
    for _ in range(10):
        p0, p1 = (np.uint64(m) * word for m, word in zip(MULTIPLIERS, (c[0], c[2]), strict=True))
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k[0], p1 & MASK, (p0 >> np.uint64(32)) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[j] + np.uint64(STEPS[j])) & MASK for j in range(2)]
    return np.stack(c, axis=-1).astype(np.uint32)


def words(name, seed, first, blocks):
    """Words of the blocks ``first`` to ``first + blocks`` of a distribution's stream: (blocks, 4)."""
    index = np.uint64(first) + np.arange(blocks, dtype=np.uint64)
    counter = np.stack([index & MASK, index >> np.uint64(32), 0 * index, 0 * index + np.uint64(STREAMS[name])], axis=-1)
    return philox(counter, np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint64))


def units(name, words, dtype):
    """The uniforms behind the draws of blocks (n, 4), exact in float64: (n, draws per block)."""
    w = words.astype(np.uint64)
    if dtype == np.float64:
        whole = (w[:, 0::2] | w[:, 1::2] << np.uint64(32)) >> np.uint64(11)
        return np.where(whole == 0, 0.5, whole.astype(np.float64)) * 2.0**-53
    u = np.where(w >> np.uint64(8) == 0, 0.5, (w >> np.uint64(8)).astype(np.float64)) * 2.0**-24
    fine = (w >> np.uint64(1)).astype(np.float32).astype(np.float64)
    fine = np.where(fine == 0, 0.5, fine) * 2.0**-31
    if name == "normal":
        u[:, 0::2] = fine[:, 0::2]
    return fine if name == "exponential" else u


def draws(name, words, dtype):
    """The draws of blocks (n, 4), in extended precision: (n, draws per block)."""
    u = units(name, words, dtype).astype(np.longdouble)
    if name == "uniform":
        return u
    if name == "exponential":
        return -np.log(u)
    radius, angle = np.sqrt(-2 * np.log(u[:, 0::2])), 2 * np.longdouble(np.pi) * u[:, 1::2]
    angle += 2 * np.longdouble(1.2246467991473532e-16) * u[:, 1::2]
    x = np.empty_like(u)
    x[:, 0::2], x[:, 1::2] = radius * np.cos(angle), radius * np.sin(angle)
    return x


def draws_mp(name, words, dtype):
    """The draws of blocks (n, 4) to 60 digits: an object array (n, draws per block)."""
    u = units(name, words, dtype)
    x = np.empty(u.shape, dtype=object)
    with mpmath.workdps(MP_DIGITS):
        for i, row in enumerate(u.tolist()):
            for j in range(0, len(row), 2):
                a, b = mpmath.mpf(row[j]), mpmath.mpf(row[j + 1])
                if name == "uniform":
                    x[i, j], x[i, j + 1] = a, b
                elif name == "exponential":
                    x[i, j], x[i, j + 1] = -mpmath.log(a), -mpmath.log(b)
                else:
                    radius = mpmath.sqrt(-2 * mpmath.log(a))
                    x[i, j], x[i, j + 1] = radius * mpmath.cospi(2 * b), radius * mpmath.sinpi(2 * b)
    return x


def bits(seed, start, size, dtype=np.uint64):
    """Elements ``start`` to ``start + size`` of the stream of bits."""
    per_block = 16 // np.dtype(dtype).itemsize
    first, last = start // per_block, (start + size + per_block - 1) // per_block
    flat = words("bits", seed, first, last - first).ravel().astype("<u4").view(np.dtype(dtype).newbyteorder("<"))
    return flat[start - first * per_block :][:size].astype(dtype)


def sample(name, seed, start, size, dtype=np.float64):
    """Draws ``start`` to ``start + size`` of a distribution, in extended precision."""
    per_block = 16 // np.dtype(dtype).itemsize
    first, last = start // per_block, (start + size + per_block - 1) // per_block
    flat = draws(name, words(name, seed, first, last - first), dtype).ravel()
    return flat[start - first * per_block :][:size]
