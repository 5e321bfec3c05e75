"""Logistic models with a Gaussian prior, by plain NumPy and SciPy: likelihoods, a Gibbs step, bounds, quadrature.

p(y | β) = Π p(y_i | f_i), f = Φβ, β ~ N(m, S⁻¹) with S positive definite. y is 0 or 1, successes among `other` trials,
or counts of dispersion `other`. Likelihoods are the distributions as SciPy has them.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special, stats


def log_likelihood(likelihood, f, y, other=None):
    """log p(y_i | f_i), elementwise."""
    p = special.expit(f)
    if likelihood == "bernoulli":
        return np.where(np.asarray(y) == 1, special.log_expit(f), special.log_expit(-f))
    if likelihood == "binomial":
        return stats.binom.logpmf(y, other, p)
    return stats.nbinom.logpmf(y, other, 1 - p)


def a_and_b(likelihood, y, other=None):
    """The exponents of exp(f) and 1 + exp(f)."""
    y = np.asarray(y, float)
    if likelihood == "bernoulli":
        return y, np.ones(len(y))
    return (y, np.asarray(other, float)) if likelihood == "binomial" else (y, y + other)


def draw(rng, likelihood, f, other=None):
    """y given f."""
    p = special.expit(f)
    if likelihood == "bernoulli":
        return (rng.random(f.shape) < p).astype(float)
    if likelihood == "binomial":
        return rng.binomial(np.asarray(other, int), p).astype(float)
    return rng.negative_binomial(other, 1 - p).astype(float)


def log_joint(likelihood, beta, Phi, y, m, S, other=None):
    """log p(y, β) for β (..., p)."""
    p = len(m)
    r = beta - m
    prior = 0.5 * np.linalg.slogdet(S)[1] - 0.5 * p * np.log(2 * np.pi) - 0.5 * np.einsum("...i,ij,...j", r, S, r)
    return prior + log_likelihood(likelihood, beta @ Phi.T, y, other).sum(axis=-1)


def conditional(Phi, omega, kappa, m, S):
    """Mean and covariance of β given ω, by dense inverses."""
    covariance = np.linalg.inv(Phi.T @ np.diag(omega) @ Phi + S)
    return covariance @ (Phi.T @ kappa + S @ m), covariance


def quadrature(likelihood, Phi, y, m, S, other=None, nodes=60):
    """(log p(y), E β, cov β): Gauss-Hermite at the mode, by the curvature there, in p ≤ 3 dimensions."""
    p = len(m)
    found = optimize.minimize(lambda b: -log_joint(likelihood, b, Phi, y, m, S, other), m, method="BFGS", tol=1e-10)
    a, b = a_and_b(likelihood, y, other)
    s = special.expit(Phi @ found.x)
    H = Phi.T @ ((b * s * (1 - s))[:, None] * Phi) + S
    L = np.linalg.cholesky(np.linalg.inv(H)) * 1.3  # wider than the curvature says: the tails are
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[x] * p, indexing="ij")], axis=1)
    log_w = sum(np.log(g.ravel()) for g in np.meshgrid(*[w] * p, indexing="ij"))
    beta = found.x + grid @ L.T
    log_f = log_joint(likelihood, beta, Phi, y, m, S, other) + log_w + 0.5 * (grid**2).sum(axis=1)
    log_f += np.linalg.slogdet(L)[1]
    log_z = special.logsumexp(log_f)
    weight = np.exp(log_f - log_z)
    mean = weight @ beta
    return log_z, mean, (beta - mean).T @ (weight[:, None] * (beta - mean))


def jaakkola_jordan(likelihood, Phi, y, m, S, other=None, iterations=200):
    """(bounds, mean, covariance) by loops over rows, ξ = 0 at first.

    The bound is that of the quadratic lower bound at ξ, integrated over β: constants from the log likelihood at f = 0.
    """
    a, b = a_and_b(likelihood, y, other)
    constant = (log_likelihood(likelihood, np.zeros(len(a)), y, other) + b * np.log(2)).sum()
    xi, bounds = np.zeros(len(a)), []
    for _ in range(iterations):
        safe = np.where(xi > 0, xi, 1)
        lam = np.where(xi > 0, np.tanh(safe / 2) / (4 * safe), 0.125)
        P = S + sum(2 * b[i] * lam[i] * np.outer(Phi[i], Phi[i]) for i in range(len(a)))
        covariance = np.linalg.inv(P)
        h = S @ m + sum((a[i] - b[i] / 2) * Phi[i] for i in range(len(a)))
        mean = covariance @ h
        bound = constant + 0.5 * (np.linalg.slogdet(S)[1] - np.linalg.slogdet(P)[1]) + 0.5 * (h @ mean - m @ S @ m)
        bound += sum(b[i] * (special.log_expit(xi[i]) - xi[i] / 2 + lam[i] * xi[i] ** 2) for i in range(len(a)))
        bounds.append(bound)
        xi = np.sqrt(np.einsum("ij,jk,ik->i", Phi, covariance + np.outer(mean, mean), Phi))
    return np.array(bounds), mean, covariance
