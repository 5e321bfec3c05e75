"""Posterior functions of a Gaussian process by Matheron's rule.

A draw from the prior, ``f(x) = m^-1/2 sum_j w_j psi_j(x)``, is corrected by where it missed the data:

``f(x) + k(x, X) C^-1 (Y - f(X) - e)``, ``e ~ N(0, noise)``

which has the posterior's mean exactly and its covariance as far as the features have the prior's.
Wilson et al. (2020), "Efficiently sampling functions from Gaussian process posteriors", eq. 9-12.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from lvmfast._backend import like, to_numpy
from lvmfast._validation import as_matrix, check_columns
from lvmfast.linalg import cholesky_solve

CHUNK = 1 << 22  # numbers of features that are held at a time


class Features:
    """``psi`` (n, m) random functions with ``E[psi_j(x) psi_j(z)] = k(x, z)``, for any tree of kernels but White.

    Every function is ``weight * prod_l (a_l + B_l . x) * cos(omega . x + phase)``: stationary factors add a frequency
    from their spectral density, linear and polynomial ones a random linear form each.
    """

    def __init__(self, kernel, q: int, n_features: int, rng):
        self.parts = [] if has_white(kernel) else None
        if has_white(kernel):
            return
        self.omega = np.zeros((q, n_features))
        self.weight = np.ones(n_features)
        self.forms: list[tuple[np.ndarray, np.ndarray]] = []
        self.phase = None
        if type(kernel).__name__ == "Sum":
            terms = [part for part in kernel.parts if not has_white(part)]
            self.parts = [Features(part, q, n_features, rng) for part in terms]
            return
        self._multiply(kernel, q, n_features, rng)
        if self.omega.any():
            self.phase = rng.uniform(0.0, 2.0 * np.pi, n_features)
            self.weight = self.weight * np.sqrt(2.0)

    def _multiply(self, kernel, q, m, rng):
        name = type(kernel).__name__
        if name == "Product":
            for part in kernel.parts:
                self._multiply(part, q, m, rng)
            return
        if name == "Sum":  # a sum inside a product: each function takes one term, as often as any other
            terms = [part for part in kernel.parts if not has_white(part)]
            which = rng.integers(len(terms), size=m)
            self.weight *= np.sqrt(len(terms))
            for t, term in enumerate(terms):
                drawn = Features.__new__(Features)
                drawn.omega, drawn.weight, drawn.forms = np.zeros((q, m)), np.ones(m), []
                drawn._multiply(term, q, m, rng)
                chosen = which == t
                self.omega[:, chosen] += drawn.omega[:, chosen]
                self.weight[chosen] *= drawn.weight[chosen]
                for a, B in drawn.forms:
                    self.forms.append((np.where(chosen, a, 1.0), np.where(chosen, B, 0.0)))
            return
        dims = np.arange(q) if kernel.active_dims is None else np.asarray(kernel.active_dims)
        if name in ("Linear", "Polynomial"):
            root = np.sqrt(np.broadcast_to(kernel.variance, dims.shape))
            for _ in range(kernel.degree if name == "Polynomial" else 1):
                B = np.zeros((q, m))
                B[dims] = root[:, None] * rng.standard_normal((len(dims), m))
                a = np.sqrt(kernel.offset) * rng.standard_normal(m) if name == "Polynomial" else np.zeros(m)
                self.forms.append((a, B))
            return
        self.weight *= np.sqrt(kernel.variance)
        if name == "Constant":
            return
        scale = np.broadcast_to(kernel.lengthscale, dims.shape)[:, None]
        if name == "Periodic":
            period = np.broadcast_to(kernel.period, dims.shape)
            for k, dim in enumerate(dims):
                self.omega[dim] += 2.0 * np.pi / period[k] * _harmonics(float(scale[k, 0]), m, rng)
            return
        if name == "Cosine":
            self.omega[dims] += rng.choice([-1.0, 1.0], m) * 2.0 * np.pi / scale
            return
        normal = rng.standard_normal((len(dims), m))
        if name.startswith("Matern"):  # Student t with 2 nu degrees of freedom
            degrees = {"Matern12": 1.0, "Matern32": 3.0, "Matern52": 5.0}[name]
            normal *= np.sqrt(degrees / rng.chisquare(degrees, m))
        elif name == "RationalQuadratic":  # RBFs whose inverse squared lengthscale has a gamma distribution
            normal *= np.sqrt(rng.gamma(kernel.alpha, 1.0 / kernel.alpha, m))
        self.omega[dims] += normal / scale

    def count(self) -> int:
        """Random functions in all."""
        return sum(part.count() for part in self.parts) if self.parts is not None else len(self.weight)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Shape (n, count), divided by the root of the functions of each term."""
        if self.parts is not None:
            return np.hstack([part(X) for part in self.parts]) if self.parts else np.zeros((len(X), 0))
        psi = np.ones((len(X), len(self.weight))) if self.phase is None else np.cos(X @ self.omega + self.phase)
        psi *= self.weight / np.sqrt(len(self.weight))
        for a, B in self.forms:
            psi *= a + X @ B
        return psi

    def derivative(self, X: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Of ``self(X) @ weights`` by X (n, q), shape (n, q, columns of weights)."""
        if self.parts is not None:
            total = np.zeros((len(X), X.shape[1], weights.shape[1]))
            begin = 0
            for part in self.parts:
                end = begin + part.count()
                total += part.derivative(X, weights[begin:end])
                begin = end
            return total
        scaled = weights * (self.weight / np.sqrt(len(self.weight)))[:, None]
        linear = [a + X @ B for a, B in self.forms]
        total, wave = 0.0, np.ones((len(X), len(scaled)))
        if self.phase is not None:
            angle = X @ self.omega + self.phase
            total = _slopes(math.prod(linear, start=-np.sin(angle)), self.omega, scaled)
            wave = np.cos(angle) if self.forms else wave
        for k, (_, B) in enumerate(self.forms):
            total += _slopes(math.prod(linear[:k] + linear[k + 1 :], start=wave), B, scaled)
        return np.broadcast_to(total, (len(X), X.shape[1], scaled.shape[1]))


def _slopes(factor: np.ndarray, forms: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``sum_j factor[n, j] forms[k, j] weights[j, s]``, shape (n, k, s)."""
    return np.stack([factor @ (form[:, None] * weights) for form in forms], axis=1)


def has_white(kernel) -> bool:
    """Whether a factor is White: then the kernel adds nothing to functions."""
    if type(kernel).__name__ == "Product":
        return any(has_white(part) for part in kernel.parts)
    if type(kernel).__name__ == "Sum":
        return all(has_white(part) for part in kernel.parts)
    return type(kernel).__name__ == "White"


def _harmonics(lengthscale: float, m: int, rng) -> np.ndarray:
    """Multiples of the base frequency: the Fourier series of exp(-2 sin^2(u / 2) / lengthscale^2)."""
    z = 1.0 / lengthscale**2
    last = int(np.ceil(8.0 + 8.0 / lengthscale))
    weights = special.ive(np.arange(last + 1), z)
    weights[1:] *= 2.0
    return rng.choice(last + 1, m, p=weights / weights.sum()) * rng.choice([-1.0, 1.0], m)


class PosteriorPaths:
    """Functions drawn from the posterior: ``f(X)`` gives the same functions' values at every call.

    Attributes
    ----------
    n_samples : int
    """

    def __init__(self, posterior, n_samples: int, n_features: int, rng, dtype, single_output: bool, names=None):
        self._names = names
        self.n_samples, self._dtype, self._single = n_samples, dtype, single_output
        self._kernel, self._mean, self._d = posterior.kernel, posterior.mean, posterior.n_outputs
        self._features = Features(posterior.kernel, posterior.X.shape[1], n_features, rng)
        self._weights = rng.standard_normal((self._features.count(), n_samples * self._d))
        self._correction = self._correct(posterior, rng)
        self._rows, self._there = posterior.rows, posterior.there

    def _correct(self, posterior, rng):
        """``C^-1 (Y - f(X) - e)``, shape (n, n_samples d)."""
        kernel, X, Y, d = posterior.kernel, posterior.X, posterior.Y, self._d
        noise = np.broadcast_to(np.asarray(posterior.noise, float) + posterior.jitter, len(X))
        noise = noise + (kernel.diag(X) - _function_variance(kernel, X))  # White is noise to a function
        missed = np.repeat((Y - posterior.mean(X, d))[None], self.n_samples, axis=0)
        missed = np.moveaxis(missed, 0, 1).reshape(len(X), -1)  # (n, n_samples * d)
        missed = missed - self._features(X) @ self._weights
        missed -= np.sqrt(noise)[:, None] * rng.standard_normal(missed.shape)
        return cholesky_solve(posterior.L, posterior.there(np.ascontiguousarray(missed)))

    def __call__(self, X) -> np.ndarray:
        """Values at X (n, q): shape (n_samples, n), or (n_samples, n, d) for several outputs."""
        given, X = X, self._points(X)
        values = to_numpy(self._kernel.matmul(self._there(X), self._rows, self._correction))
        for part in self._chunks(len(X)):
            values[part] += self._features(X[part]) @ self._weights
        values = np.moveaxis(values.reshape(len(X), self.n_samples, self._d), 1, 0) + self._mean(X, self._d)
        values = values.astype(self._dtype, copy=False)
        return like(values[:, :, 0] if self._single else values, given)

    def gradient(self, X) -> np.ndarray:
        """Derivatives of the values by X (n, q): shape (n_samples, n, q), or (n_samples, n, q, d) for several outputs.

        ``df/dx + dk(x, X)/dx C^-1 (Y - f(X) - e)``; that of a callable mean by central differences.
        """
        given, X = X, self._points(X)
        there, ones = self._there(X), self._there(np.ones(len(X)))
        slopes = np.empty((*X.shape, self._weights.shape[1]))
        for c in range(slopes.shape[2]):
            slopes[:, :, c] = to_numpy(self._kernel.matmul_vjp(there, self._rows, self._correction[:, c], ones)[0])
        for part in self._chunks(len(X)):
            slopes[part] += self._features.derivative(X[part], self._weights)
        slopes = np.moveaxis(slopes.reshape(*X.shape, self.n_samples, self._d), 2, 0) + self._mean.gradient(X, self._d)
        slopes = slopes.astype(self._dtype, copy=False)
        return like(slopes[..., 0] if self._single else slopes, given)

    def _points(self, X) -> np.ndarray:
        check_columns(X, self._names)
        return as_matrix(to_numpy(X), "X", columns=self._rows.shape[1], dtype=np.float64)

    def _chunks(self, n: int):
        rows = max(1, CHUNK // max(1, self._features.count()))
        return (slice(begin, begin + rows) for begin in range(0, n, rows))


def _function_variance(kernel, X: np.ndarray) -> np.ndarray:
    """k(x, x) without what White adds: that of a row and an equal row of another array."""
    return np.array([kernel(x[None], x[None])[0, 0] for x in X]) if _any_white(kernel) else kernel.diag(X)


def _any_white(kernel) -> bool:
    return type(kernel).__name__ == "White" or any(_any_white(part) for part in kernel.parts)
