"""Density ratios written from their definitions, in float64."""

import numpy as np


def dense_chain(weights, x):
    """``x`` through dense layers [(kernel, bias, function), ...]."""
    for kernel, bias, function in weights:
        x = function(x @ kernel + bias)
    return x


def box_cox(r, a):
    """``(r^a - 1) / a``, log r at 0."""
    return np.log(r) if a == 0 else (r**a - 1) / a


def logistic_loss(s, w):
    """``sum_p w log(1 + exp(-s)) + sum_q |w| log(1 + exp(s))``; rows of q have w < 0."""
    sign = np.where(w > 0, -1.0, 1.0)
    return float(np.sum(np.abs(w) * np.logaddexp(0, sign * s)))


def power_loss(s, w, alpha, factor):
    """Minus the bound of the f-divergence with ``f'' = factor u^(alpha - 2)``, f'(1) = f(1) = 0."""
    r = np.exp(s)
    terms = np.where(w > 0, -factor * box_cox(r, alpha - 1), factor * box_cox(r, alpha))
    return float(np.sum(np.abs(w) * terms))


def gaussian_log_ratio(x):
    """Of N(1, 1) to N(0, 2^2)."""
    return np.log(2) - 0.5 * (x - 1) ** 2 + x**2 / 8
