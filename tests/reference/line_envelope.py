"""Expected maxima of lines, by their definition in high precision, and the knowledge gradient made of them."""

from __future__ import annotations

import mpmath as mp
import numpy as np

from . import gpr

DIGITS = 50


def envelope(a, b):
    """The lines of max_i (a_i + b_i z) from left to right, and the corners between them; O(k) for each line."""
    current = min(range(len(a)), key=lambda i: (b[i], -a[i]))
    lines, corners = [current], []
    while True:
        steeper = [i for i in range(len(a)) if b[i] > b[current]]
        if not steeper:
            return lines, corners
        crossing = {i: (a[current] - a[i]) / (b[i] - b[current]) for i in steeper}
        current = min(steeper, key=lambda i: (crossing[i], -b[i]))
        lines.append(current)
        corners.append(crossing[current])


def upper_tail(c):
    """1 - Phi(c)."""
    return mp.erfc(c / mp.sqrt(2)) / 2


def expected_maximum(a, b):
    """E[max_i (a_i + b_i Z)] - max_i a_i, and its derivatives (k,) by a and b; mp.mpf and float arrays."""
    with mp.workdps(DIGITS):
        a, b = ([mp.mpf(float(x)) for x in values] for values in (a, b))
        lines, corners = envelope(a, b)
        gain = mp.mpf(0)
        for left, right, c in zip(lines, lines[1:], corners, strict=False):
            c = abs(c)
            gain += (b[right] - b[left]) * (mp.npdf(c) - c * upper_tail(c))
        d_a, d_b = np.zeros(len(a)), np.zeros(len(a))
        edges = [-mp.inf, *corners, mp.inf]
        for line, low, high in zip(lines, edges, edges[1:], strict=False):
            if low < 0 <= high:
                d_a[line] = -(mp.ncdf(low) + upper_tail(high))
            else:
                d_a[line] = upper_tail(low) - upper_tail(high) if low >= 0 else mp.ncdf(high) - mp.ncdf(low)
            d_b[line] = mp.npdf(low) - mp.npdf(high)
        return gain, d_a, d_b


def knowledge_gradient(gp, points, x, noise, *, include_candidate):
    """min_i mu(z_i) - E[min_i mu'(z_i)] after an observation at x, of points z (k, d) and, where asked, x itself."""
    S = np.vstack([points, x[None]])
    cross = np.asarray(gp.covariance(gp.X, S), dtype=gpr.LONG)
    weights = gpr._solve(gpr.noisy_covariance(gp), cross)
    residual = gpr._columns(gp.Y) - gpr.mean_at(gp, gp.X)
    mean = (gpr.mean_at(gp, S) + weights.T @ residual)[:, 0]
    covariance = np.asarray(gp.covariance(S, S), dtype=gpr.LONG) - cross.T @ weights
    white = gp.covariance(x[None])[0, 0] - gp.covariance(x[None], x[None])[0, 0]
    slopes = covariance[:, -1] / np.sqrt(covariance[-1, -1] + white + noise)
    count = len(S) if include_candidate else len(points)
    return float(expected_maximum(-mean[:count], slopes[:count])[0])
