"""p(x) = sum_k w_k p(z_k) N(x; f(z_k), diag(v)) on a grid of latents, and its posterior, by definition.

Rows of x one after the other, in longdouble logarithms; `log_density_exact` in mpmath; integrals over one latent by
SciPy's quadrature. Latents Z (m, q), cells w (m,), F = f(Z) (m, d), v a number or (d,), log_prior (m,).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import mpmath as mp
import numpy as np
from scipy import integrate, stats

LONG = np.longdouble
DIGITS = 40


def curve(z):
    """The text's z -> (exp(sin(2 + 3.675 z)) / 2, cos(2 + 2.85 z)): a tuple of two arrays of the shape of z."""
    return np.exp(np.sin(2 + z * 3.675)) * 0.5, np.cos(2 + z * 2.85)


def curve_rows(z):
    """The same as (m, 2), of z (m, 1) or (m,)."""
    return np.column_stack([np.ravel(part) for part in curve(np.asarray(z))])


def edges(z):
    """Of the cells (m + 1,) around z_1 < ... < z_m: half way between neighbours, the outer ones as far out as in."""
    middle = [(a + b) / 2 for a, b in zip(z, z[1:], strict=False)]
    return np.array([z[0] - (middle[0] - z[0]), *middle, z[-1] + (z[-1] - middle[-1])])


def cells(*axes):
    """Latents (m, q) of the product of the axes, the last one fastest, and the volumes of their cells (m,)."""
    Z = np.array(list(itertools.product(*axes)))
    sizes = [np.diff(edges(axis)) for axis in axes]
    return Z, np.array([np.prod(part) for part in itertools.product(*sizes)])


def normal_prior(Z):
    """log N(z; 0, I), (m,)."""
    return stats.norm.logpdf(Z).sum(axis=1)


def hermite(n, mean=0.0, std=1.0):
    """Gauss-Hermite: latents (n, 1) and probabilities (n,), the prior N(mean, std^2) included."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return (mean + std * nodes)[:, None], weights / weights.sum()


def log_normal(x, F, v):
    """log N(x; f_k, diag(v)) of one row, (m,) longdouble."""
    x, F = np.asarray(x, LONG), np.asarray(F, LONG)
    v = np.broadcast_to(np.asarray(v, LONG), x.shape)
    return -(((x - F) ** 2 / v + np.log(2 * LONG(np.pi) * v)).sum(axis=1)) / 2


def log_sum_exp(a):
    """log sum exp a, in longdouble."""
    top = np.max(a)
    return top + np.log(np.sum(np.exp(np.asarray(a, LONG) - top)))


def log_weights(log_prior, weights, normalize=False):
    """log pi_k = log w_k + log p(z_k), with ``normalize`` minus the logarithm of their sum."""
    log_pi = np.asarray(log_prior, LONG) + np.log(np.asarray(weights, LONG))
    return log_pi - log_sum_exp(log_pi) if normalize else log_pi


def log_density(X, F, log_pi, v):
    """log p(x) of the rows of X, (n,) longdouble."""
    return np.array([log_sum_exp(log_pi + log_normal(x, F, v)) for x in X])


def log_density_exact(x, F, log_pi, v):
    """log p(x) of one row in mpmath: mp.mpf."""
    with mp.workdps(DIGITS):
        v = [mp.mpf(float(s)) for s in np.broadcast_to(v, np.shape(x))]
        terms = []
        for f, log_weight in zip(F, log_pi, strict=True):
            square = sum((mp.mpf(float(a)) - mp.mpf(float(b))) ** 2 / s for a, b, s in zip(x, f, v, strict=True))
            terms.append(mp.mpf(float(log_weight)) - (square + sum(mp.log(2 * mp.pi * s) for s in v)) / 2)
        top = max(terms)
        return top + mp.log(mp.fsum(mp.exp(term - top) for term in terms))


def mesh_density(coordinates, F, log_pi, v):
    """p(x) where coordinate arrays that broadcast say, by the text's loop over the latents."""
    v = np.broadcast_to(v, (len(coordinates),))
    total = np.zeros(np.broadcast_shapes(*(x.shape for x in coordinates)), LONG)
    for f, log_weight in zip(F, log_pi, strict=True):
        term = np.exp(float(log_weight))
        for x, mean, s in zip(coordinates, f, v, strict=True):
            term = term * (np.exp(-((x - mean) ** 2) / (2 * s)) / np.sqrt(2 * np.pi * s))
        total += term
    return total


def gradient(X, F, log_pi, v, cotangent):
    """d(sum_i c_i log p(x_i)) by X (n, d), F (m, d), log_pi (m,) and v (d,)."""
    dX, dF, dpi, dv = np.zeros(np.shape(X), LONG), np.zeros(np.shape(F), LONG), np.zeros(len(F), LONG), 0
    for i, (x, c) in enumerate(zip(X, cotangent, strict=True)):
        terms = log_pi + log_normal(x, F, v)
        share = c * np.exp(terms - log_sum_exp(terms))
        slope = share[:, None] * (np.asarray(x, LONG) - F) / v
        dX[i], dF, dpi = -slope.sum(axis=0), dF + slope, dpi + share
        dv = dv + (share[:, None] * (((np.asarray(x, LONG) - F) / v) ** 2 - 1 / v)).sum(axis=0) / 2
    return dX, dF, dpi, dv


class Posterior(NamedTuple):
    """Of one row: density (m,), mean, std and mode (q,), log p(x)."""

    density: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    mode: np.ndarray
    log_evidence: float


def posterior(x, Z, weights, log_prior, F, v, normalize=False):
    """p(z_k | x) = p(z_k) N(x; f_k) / p(x), its moments as sums over the cells, and its densest latent."""
    log_joint = np.asarray(log_prior, LONG) + log_normal(x, F, v)
    log_evidence = log_sum_exp(log_joint + np.log(np.asarray(weights, LONG)))
    density = np.exp(log_joint - log_evidence)
    mass = (density * weights)[:, None]
    mean = (mass * Z).sum(axis=0)
    std = np.sqrt((mass * (Z - mean) ** 2).sum(axis=0))
    shift = log_sum_exp(log_weights(log_prior, weights)) if normalize else 0
    return Posterior(density, mean, std, Z[np.argmax(density)], log_evidence - shift)


def equal_tailed(mass, boundaries, level):
    """The (1 - level) / 2 quantile and its mirror, of masses (m,) spread evenly between boundaries (m + 1,)."""
    tail = (1 - level) / 2
    answers = []
    for at in (tail, 1 - tail):
        below = 0.0
        for share, low, high in zip(mass, boundaries, boundaries[1:], strict=False):
            if below + share >= at:
                answers.append(float(low + (high - low) * (at - below) / share))
                break
            below += share
    return answers


def densest(density, weights, level):
    """Bool (m,): the densest latents, one after the other, until they hold ``level`` together."""
    held, region = 0.0, np.zeros(len(density), bool)
    for k in sorted(range(len(density)), key=lambda k: -density[k]):
        if held >= level:
            break
        region[k], held = True, held + density[k] * weights[k]
    return region


def quadrature(function, low=-12.0, high=12.0, pieces=96):
    """The integral of function(z) over one latent by SciPy's adaptive rule, in pieces so that no peak is missed."""
    at = np.linspace(low, high, pieces + 1)
    parts = [integrate.quad(function, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in itertools.pairwise(at)]
    return float(np.sum(parts))


def log_density_by_quadrature(x, f, v, mean=0.0, std=1.0):
    """log of the integral of N(z; mean, std^2) N(x; f(z), diag(v)) over one latent; f of a number gives (d,)."""
    spread = np.sum(np.log(2 * np.pi * np.broadcast_to(v, np.shape(x)))) + np.log(2 * np.pi * std**2)

    def log_joint(z):
        return -0.5 * (np.sum((x - f(z)) ** 2 / v) + ((z - mean) / std) ** 2 + spread)

    top = max(log_joint(z) for z in np.linspace(-8, 8, 401))
    return top + np.log(quadrature(lambda z: np.exp(log_joint(z) - top)))


def linear_gaussian(W, mean, v):
    """x = W z + mean + e, z ~ N(0, I), e ~ N(0, diag(v)): the normal density of x and gain, covariance of z given x.

    W (d, q). Returns the mean (d,), the covariance (d, d), the gain G (q, d) with E[z | x] = G (x - mean), and
    cov[z | x] (q, q).
    """
    d, q = W.shape
    noise = np.diag(np.broadcast_to(v, d))
    C = W @ W.T + noise
    gain = np.linalg.solve(C, W).T
    return mean, C, gain, np.eye(q) - gain @ W


def ppca(X, q):
    """The maximum of the likelihood of x = W z + mean + e, isotropic e: mean, W (d, q), noise, mean log density.

    Tipping & Bishop (1999), eq. 7 and 8.
    """
    n, d = X.shape
    mean = X.mean(axis=0)
    S = np.cov(X.T, bias=True)
    values, vectors = np.linalg.eigh(S)
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[q:].mean()
    W = vectors[:, :q] * np.sqrt(values[:q] - noise)
    C = W @ W.T + noise * np.eye(d)
    best = -0.5 * (d * np.log(2 * np.pi) + np.linalg.slogdet(C)[1] + np.trace(np.linalg.solve(C, S)))
    return mean, W, float(noise), float(best)
