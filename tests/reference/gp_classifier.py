"""Binary Gaussian process classification, dense and unhurried: p(y = 1 | f) = sigma(f), f ~ N(m, K), kappa = y - 1/2.

Everything takes matrices, never a kernel or its parameters: K = k(X, X), ``cross`` = k(x, X), ``own`` = k(x, x) of one
new input x. Inverses are formed. Meant for N <= 60, quadrature for N <= 3.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import expit, log_expit

LOG_2PI = np.log(2 * np.pi)


# By quadrature.


def nodes(K, mean, count):
    """Points f (count^n, n) and weights of N(mean, K), Gauss-Hermite in every direction of its factor."""
    z, w = np.polynomial.hermite_e.hermegauss(count)
    grid = np.array(list(itertools.product(z, repeat=len(K))))
    weights = np.prod(np.array(list(itertools.product(w / w.sum(), repeat=len(K)))), axis=1)
    return mean + grid @ np.linalg.cholesky(K).T, weights


def likelihood(f, kappa):
    """p(y | f) of every row of f."""
    return np.exp(log_expit(2 * kappa * f).sum(axis=1))


def log_evidence(K, mean, kappa, count=60):
    """log p(y)."""
    f, w = nodes(K, mean, count)
    return np.log(w @ likelihood(f, kappa))


def posterior_moments(K, mean, kappa, count=60):
    """E f (n,) and E f f^T (n, n) given y."""
    f, w = nodes(K, mean, count)
    w = w * likelihood(f, kappa)
    w /= w.sum()
    return w @ f, (f * w[:, None]).T @ f


def probability(K, cross, own, mean, kappa, count=40):
    """p(y = 1 | x, data): f and f(x) together, which have one more dimension."""
    both = np.block([[K, cross[:, None]], [cross[None], np.array([[own]])]])
    f, w = nodes(both, mean, count)
    w = w * likelihood(f[:, :-1], kappa)
    return w @ expit(f[:, -1]) / w.sum()


# Gibbs sampling.


def conditional(K, mean, kappa, omega):
    """Mean and covariance of f given omega and y."""
    inverse = np.linalg.inv(K)
    covariance = np.linalg.inv(inverse + np.diag(omega))
    return covariance @ (inverse @ np.full(len(K), mean) + kappa), covariance


def gibbs_step(K, L, mean, kappa, omega, e1, e2):
    """The draw of f given omega that Matheron's rule makes of standard normal e1 and e2."""
    f0 = mean + L @ e1
    observed = kappa / omega - f0 - e2 / np.sqrt(omega)
    return f0 + K @ np.linalg.solve(K + np.diag(1 / omega), observed)


# The variational bound.


def theta(c):
    """tanh(c / 2) / (2 c)."""
    c = np.asarray(c, dtype=float)
    return np.where(c == 0, 0.25, np.tanh(c / 2) / np.where(c == 0, 1.0, 2 * c))


def divergence(m, S, mean, K):
    """KL(N(m, S) || N(mean, K))."""
    inverse = np.linalg.inv(K)
    r = m - mean
    return 0.5 * (np.trace(inverse @ S) + r @ inverse @ r - len(K) + np.linalg.slogdet(K)[1] - np.linalg.slogdet(S)[1])


def expected_bound(first, second, kappa, c):
    """E of the sum of Jaakkola's bounds on log sigma(y f), from E f and E f^2."""
    return np.sum(log_expit(c) + kappa * first - c / 2 - theta(c) / 2 * (second - c * c))


def posterior(K, mean, kappa, c):
    """Mean and covariance of q(f), the best for c."""
    return conditional(K, mean, kappa, theta(c))


def bound(K, mean, kappa, c):
    """The lower bound on log p(y) at the q(f) that is best for c."""
    m, S = posterior(K, mean, kappa, c)
    return expected_bound(m, np.diag(S) + m * m, kappa, c) - divergence(m, S, mean, K)


def next_c(K, mean, kappa, c):
    """The best c for the q(f) that is best for c."""
    m, S = posterior(K, mean, kappa, c)
    return np.sqrt(m * m + np.diag(S))


# Sparse: q(u) = N(m_u, S_u) of u = f(Z), p(f | u) as in the prior.


def sparse_moments(K_zz, K_zx, diagonal, mean, m_u, S_u):
    """E f and var f of the rows."""
    A = np.linalg.solve(K_zz, K_zx).T
    first = mean + A @ (m_u - mean)
    return first, diagonal - np.sum(A * K_zx.T, axis=1) + np.sum((A @ S_u) * A, axis=1)


def sparse_bound(K_zz, K_zx, diagonal, mean, kappa, m_u, S_u, c=None, scale=1.0):
    """The bound of q(u), at the best c unless it is given."""
    first, variance = sparse_moments(K_zz, K_zx, diagonal, mean, m_u, S_u)
    second = first * first + variance
    c = np.sqrt(second) if c is None else c
    return scale * expected_bound(first, second, kappa, c) - divergence(m_u, S_u, mean, K_zz)


def sparse_best(K_zz, K_zx, mean, kappa, c, scale=1.0):
    """m_u and S_u, the best for c."""
    A = np.linalg.solve(K_zz, K_zx).T
    inverse = np.linalg.inv(K_zz)
    t = scale * theta(c)
    S = np.linalg.inv(inverse + A.T @ (t[:, None] * A))
    constant = mean - A @ np.full(len(K_zz), mean)  # f = constant + A u + rest
    return S @ (inverse @ np.full(len(K_zz), mean) + A.T @ (scale * kappa - t * constant)), S
