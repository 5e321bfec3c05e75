"""loss = -(1/D) Σ_d log N(y_d | 0, K(X, X) + (noise_variance + jitter) I), dense and unhurried.

NaN in Y is missing: column d keeps its observed rows only, which is exact marginalisation; a column
with nothing observed contributes 0 and still counts in D. Meant for N ≤ 60 (`reference_protocol`
and `closed_form` excepted).
"""

from __future__ import annotations

import numpy as np

from .kernels import rbf

EPS = np.finfo(np.float64).eps
LOG_2PI = np.log(2 * np.pi)


def _log_normal(Y, covariance):
    """Σ_d log N(y_d | 0, C) = -½ Σ_d (n log 2π + log|C| + y_dᵀ C⁻¹ y_d); Y (n, D)."""
    sign, log_determinant = np.linalg.slogdet(covariance)
    if sign <= 0:
        raise np.linalg.LinAlgError("the covariance is not positive definite")
    n, d = Y.shape
    return -0.5 * (d * (n * LOG_2PI + log_determinant) + np.sum(Y * np.linalg.solve(covariance, Y)))


def _groups(Y):
    """Rows and columns, as indices, of every set of columns that are observed in the same rows, at least one."""
    patterns, pattern = np.unique(~np.isnan(Y), axis=1, return_inverse=True)
    for k, seen in enumerate(patterns.T):
        if seen.any():
            yield np.flatnonzero(seen), np.flatnonzero(pattern.ravel() == k)


def _covariance(X, variance, lengthscale, added):
    return rbf(X, None, variance, lengthscale) + added * np.eye(len(X))


def loss(X, Y, variance, lengthscale, noise_variance, jitter=0.0):
    """-(1/D) Σ_d log N(y_d | 0, K + (noise_variance + jitter) I); X (N, Q), Y (N, D), NaN missing.

    Returns a float.
    """
    Y = np.asarray(Y, dtype=float)
    C = _covariance(X, variance, lengthscale, noise_variance + jitter)
    total = sum(_log_normal(Y[np.ix_(seen, columns)], C[np.ix_(seen, seen)]) for seen, columns in _groups(Y))
    return float(-total / Y.shape[1])


def _covariance_derivatives(X, variance, lengthscale):
    """Dense dC/dθ, (N·Q + 1 + (1 or Q) + 1, N, N): rows of X, variance, lengthscale, noise."""
    X = np.asarray(X, dtype=float)
    n, q = X.shape
    K = rbf(X, None, variance, lengthscale)
    ells = np.broadcast_to(np.asarray(lengthscale, dtype=float), (q,))
    derivatives = []
    for i in range(n):
        for k in range(q):
            row = -K[i] * (X[i, k] - X[:, k]) / ells[k] ** 2
            dC = np.zeros((n, n))
            dC[i, :] += row
            dC[:, i] += row
            derivatives.append(dC)
    derivatives.append(K / variance)
    by_dimension = [K * (X[:, None, k] - X[None, :, k]) ** 2 / ells[k] ** 3 for k in range(q)]
    derivatives.extend([sum(by_dimension)] if np.ndim(lengthscale) == 0 else by_dimension)
    derivatives.append(np.eye(n))
    return np.array(derivatives)


def loss_and_gradient(X, Y, variance, lengthscale, noise_variance, jitter=0.0):
    """dloss/dθ = (1/D) Σ_d [½ tr(C⁻¹ dC/dθ) - ½ tr(C⁻¹ y_d y_dᵀ C⁻¹ dC/dθ)].

    Forward mode: one dense dC/dθ for every scalar θ; in term d, C, dC/dθ and y_d keep the observed
    rows of column d; columns with the same rows come together. Returns (loss, dX, dvariance,
    dlengthscale, dnoise); dX is (N, Q), dlengthscale a float for a scalar lengthscale, else (Q,).
    """
    X, Y = np.asarray(X, dtype=float), np.asarray(Y, dtype=float)
    n, q = X.shape
    C = _covariance(X, variance, lengthscale, noise_variance + jitter)
    derivatives = _covariance_derivatives(X, variance, lengthscale)
    gradient = np.zeros(len(derivatives))
    for seen, columns in _groups(Y):
        inverse = np.linalg.inv(C[np.ix_(seen, seen)])
        alpha = inverse @ Y[np.ix_(seen, columns)]
        for t, dC in enumerate(derivatives):
            part = dC[np.ix_(seen, seen)]
            gradient[t] += 0.5 * len(columns) * np.sum(inverse * part.T) - 0.5 * np.sum(alpha * (part @ alpha))
    gradient /= Y.shape[1]
    dX, dvariance, dnoise = gradient[: n * q].reshape(n, q), gradient[n * q], gradient[-1]
    dlengthscale = gradient[n * q + 1 : -1]
    dlengthscale = float(dlengthscale[0]) if np.ndim(lengthscale) == 0 else dlengthscale
    value = loss(X, Y, variance, lengthscale, noise_variance, jitter)
    return value, dX, float(dvariance), dlengthscale, float(dnoise)


def closed_form(X, Y, variance, lengthscale, noise_variance, jitter=0.0):
    """dloss/dC = ½ (C⁻¹ - C⁻¹ Y Yᵀ C⁻¹ / D), pulled back through the kernel; quick enough to train.

    Complete Y and scalar lengthscale only; returns what `loss_and_gradient` returns.
    """
    n, d = Y.shape
    difference = X[:, None, :] - X[None, :, :]
    squares = np.sum(difference**2, axis=-1)
    K = variance * np.exp(-0.5 * squares / lengthscale**2)
    C = K + (noise_variance + jitter) * np.eye(n)
    inverse = np.linalg.inv(C)
    alpha = inverse @ Y
    value = 0.5 * (n * LOG_2PI + np.linalg.slogdet(C)[1] + np.sum(Y * alpha) / d)
    C_bar = 0.5 * (inverse - alpha @ alpha.T / d)
    W = C_bar * K
    dX = -2 * np.einsum("ij,ijq->iq", 0.5 * (W + W.T), difference) / lengthscale**2
    dlengthscale = np.sum(W * squares) / lengthscale**3
    return value, dX, np.sum(W) / variance, dlengthscale, np.trace(C_bar)


def reference_protocol(X0, Y, n_steps, learning_rate=1.0):
    """θ ← θ - lr √(1-β₂ᵗ)/(1-β₁ᵗ) m/(√v + 1e-7) on u_amplitude, u_lengthscale, u_noise and X.

    The TensorFlow Probability tutorial's training: amplitude, lengthscale and noise variance are
    softplus(EPS + u) with u = 1 at the start, variance = amplitude², jitter 1e-6, Adam as Keras has
    it (β₁ = 0.9, β₂ = 0.999). Returns losses (n_steps,); losses[i] precedes the i-th update.
    """
    Y = np.asarray(Y, dtype=float)
    shape = np.shape(X0)
    theta = np.concatenate([np.ones(3), np.ravel(X0)])
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    losses = np.empty(n_steps)
    for i in range(n_steps):
        u = EPS + theta[:3]
        amplitude, lengthscale, noise_variance = np.logaddexp(0.0, u)
        losses[i], dX, dvariance, dlengthscale, dnoise = closed_form(
            theta[3:].reshape(shape), Y, amplitude**2, lengthscale, noise_variance, jitter=1e-6
        )
        slope = 1 / (1 + np.exp(-u))
        g = np.array([2 * amplitude * dvariance, dlengthscale, dnoise]) * slope
        g = np.concatenate([g, dX.ravel()])
        m += (g - m) * (1 - 0.9)
        v += (g * g - v) * (1 - 0.999)
        rate = learning_rate * np.sqrt(1 - 0.999 ** (i + 1)) / (1 - 0.9 ** (i + 1))
        theta = theta - rate * m / (np.sqrt(v) + 1e-7)
    return losses


def posterior_column(X, y, X_new, variance, lengthscale, noise_variance, jitter=0.0):
    """mean = K_*f C⁻¹ y, covariance = K_** - K_*f C⁻¹ K_f*, on the rows where y (N,) is not NaN.

    Returns (n,) and (n, n), of the noise-free function.
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    seen = ~np.isnan(y)
    C = _covariance(X[seen], variance, lengthscale, noise_variance + jitter)
    across = rbf(X_new, X[seen], variance, lengthscale)
    gain = across @ np.linalg.inv(C)
    return gain @ y[seen], rbf(X_new, None, variance, lengthscale) - gain @ across.T


def posterior(X, Y, X_new, variance, lengthscale, noise_variance, jitter=0.0):
    """mean (n, D) and covariance (n, n) of the noise-free functions at X_new; Y must be complete.

    With NaN in Y the covariance differs between columns: use `posterior_column`.
    """
    Y = np.asarray(Y, dtype=float)
    if np.isnan(Y).any():
        raise ValueError("Y must not contain NaN here; use posterior_column column by column")
    settings = (variance, lengthscale, noise_variance, jitter)
    columns = [posterior_column(X, y, X_new, *settings) for y in Y.T]
    return np.column_stack([mean for mean, _ in columns]), columns[0][1]


def latent_objective(x, y, X, Y, variance, lengthscale, noise_variance, jitter=0.0):
    """-log p(y | x, X, Y) = -Σ_d log N(y_d | m_d(x), s_d²(x) + noise_variance), NaN y_d left out.

    One new row: x (Q,), y (D,). NaN in Y is missing too. The jitter enters the covariance of the
    training rows only. Returns a float.
    """
    Y, x = np.asarray(Y, dtype=float), np.reshape(x, (1, -1))
    settings = (variance, lengthscale, noise_variance, jitter)
    total = 0.0
    for target, column in zip(np.asarray(y, dtype=float), Y.T, strict=True):
        if not np.isnan(target):
            mean, covariance = posterior_column(X, column, x, *settings)
            spread = covariance[0, 0] + noise_variance
            total += 0.5 * (LOG_2PI + np.log(spread) + (target - mean[0]) ** 2 / spread)
    return float(total)
