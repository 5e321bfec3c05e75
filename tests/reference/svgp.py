"""Stochastic variational inference by dense formulas, one latent function after the other.

With A = K_xz K_zz^-1 and ``q(u_p) = N(m_p(Z) + mu_p, S_p)``, K_zz with the jitter:

    f_p(x_i) ~ N(m_p(x_i) + (A mu_p)_i, k_ii - (A K_zx)_ii + (A S_p A^T)_ii)
    bound = sum_i c_i E log p(y_i | f(x_i)) - sum_p KL(N(mu_p, S_p) || N(0, K_zz))

Hensman, Matthews & Ghahramani (2015), eq. 18. A whitened q is brought to u first, by the lower Cholesky factor of K_zz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.special
import scipy.stats


@dataclass(frozen=True)
class Variational:
    """Inducing inputs Z (m, q), and q: mu (P, m), S (P, m, m) of u - m(Z), or of w if whitened."""

    covariance: object
    Z: np.ndarray
    mu: np.ndarray
    S: np.ndarray
    whitened: bool = True
    jitter: float = 0.0


def inducing_covariance(gp):
    """K_zz + jitter I."""
    return np.asarray(gp.covariance(gp.Z, gp.Z), dtype=float) + gp.jitter * np.eye(len(gp.Z))


def unwhitened(gp):
    """mu (P, m) and S (P, m, m) of u - m(Z)."""
    if not gp.whitened:
        return gp.mu, gp.S
    L = np.linalg.cholesky(inducing_covariance(gp))
    return gp.mu @ L.T, L @ gp.S @ L.T


def moments(gp, X, mean=0.0):
    """Means and variances of f at X, (n, P); mean: m_p(X), (n, P) or a number."""
    m, covariance = joint(gp, X, mean)
    return m, np.stack([np.diag(C) for C in covariance], axis=1)


def joint(gp, X, mean=0.0):
    """Means (n, P) and covariances (P, n, n) of f at X."""
    A = np.linalg.solve(inducing_covariance(gp), np.asarray(gp.covariance(gp.Z, X), dtype=float)).T
    mu, S = unwhitened(gp)
    left = np.asarray(gp.covariance(X), dtype=float) - A @ np.asarray(gp.covariance(gp.Z, X), dtype=float)
    return mean + A @ mu.T, np.stack([left + A @ C @ A.T for C in S])


def divergence(gp):
    """Sum of KL(q(u_p) || p(u_p))."""
    K, total = inducing_covariance(gp), 0.0
    for mu, S in zip(*unwhitened(gp), strict=True):
        ratio = np.linalg.solve(K, S)
        total += (np.trace(ratio) + mu @ np.linalg.solve(K, mu) - len(mu) - np.linalg.slogdet(ratio)[1]) / 2
    return total


def elbo(gp, X, expectation, mean=0.0, weight=1.0):
    """The bound; ``expectation(m, v)`` gives E log p of every row, (n,) or (n, P)."""
    values = expectation(*moments(gp, X, mean))
    values = values.sum(axis=1) if values.ndim == 2 else values
    return float(np.sum(weight * values)) - divergence(gp)


# Expectations of log densities.


def gaussian(Y, noise):
    """log N(y | m, noise) - v / (2 noise)."""
    return lambda m, v: -np.log(2 * np.pi * noise) / 2 - ((Y - m) ** 2 + v) / (2 * noise)


def poisson(Y, exposure=1.0):
    """With the exponential link."""
    constant = Y * np.log(exposure) - scipy.special.gammaln(Y + 1)
    return lambda m, v: Y * m - exposure * np.exp(m + v / 2) + constant


def quadrature(log_density, n=100):
    """Of any ``log_density(f)``, elementwise, by Gauss-Hermite nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    weights = weights / weights.sum()
    return lambda m, v: sum(w * log_density(m + np.sqrt(v) * x) for x, w in zip(nodes, weights, strict=True))


def bernoulli(Y, n=100):
    """With the logit link; Y is 0 or 1."""
    return quadrature(lambda f: -np.logaddexp(0.0, np.where(Y > 0, -f, f)), n)


# Steps.


def slopes(gp, X, expectation, mean=0.0, weight=1.0, step=1e-4):
    """Of the bound by mu (P, m) and the symmetric S (P, m, m), by central differences."""

    def at(mu, S):
        return elbo(Variational(gp.covariance, gp.Z, mu, S, gp.whitened, gp.jitter), X, expectation, mean, weight)

    by_mu, by_S = np.zeros(gp.mu.shape), np.zeros(gp.S.shape)
    for index in np.ndindex(gp.mu.shape):
        move = np.zeros(gp.mu.shape)
        move[index] = step
        by_mu[index] = (at(gp.mu + move, gp.S) - at(gp.mu - move, gp.S)) / (2 * step)
    for p, i, j in np.ndindex(gp.S.shape):
        if i > j:
            continue
        move = np.zeros(gp.S.shape)
        move[p, i, j] += step / 2
        move[p, j, i] += step / 2
        by_S[p, i, j] = by_S[p, j, i] = (at(gp.mu, gp.S + move) - at(gp.mu, gp.S - move)) / (2 * step)
    return by_mu, by_S


def natural_step(gp, rho, by_mu, by_S):
    """``S^-1 mu`` and ``S^-1`` after a step: they move by rho times the slopes by E u and E u u^T."""
    first, second = [], []
    for mu, S, g, G in zip(gp.mu, gp.S, by_mu, by_S, strict=True):
        P = np.linalg.inv(S)
        second.append(P - 2 * rho * G)
        first.append(P @ mu + rho * (g - 2 * G @ mu))
    return np.stack(first), np.stack(second)
