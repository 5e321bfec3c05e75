"""Mean functions of a Gaussian process: zero, a constant, linear in the inputs, or given."""

from __future__ import annotations

import numpy as np

NAMES = ("zero", "constant", "linear")


class Mean:
    """``m(x) = basis(x) @ coef + given(x)`` for each of the d outputs.

    The linear basis holds inputs centred and scaled by their training values, so that far offsets cost no digits.

    Parameters
    ----------
    mean : "zero", "constant", "linear" or callable
    X : array of shape (n, q)
        Training inputs.
    """

    def __init__(self, mean, X: np.ndarray):
        self.mean = mean
        self.centre = X.mean(axis=0)
        spread = X.std(axis=0)
        self.scale = np.where(spread > 1e-12 * np.abs(self.centre), spread, 1.0)
        self.coef = np.zeros((self.size, 1))

    @property
    def size(self) -> int:
        """Functions of the basis."""
        if callable(self.mean) or self.mean == "zero":
            return 0
        return 1 if self.mean == "constant" else 1 + len(self.centre)

    def basis(self, X: np.ndarray) -> np.ndarray:
        """Shape (n, size)."""
        H = np.ones((len(X), self.size))
        if self.size > 1:
            H[:, 1:] = (X - self.centre) / self.scale
        return H

    def given(self, X: np.ndarray, d: int) -> np.ndarray | None:
        """What the callable answers, shape (n, d) or (n, 1); None without one."""
        if not callable(self.mean):
            return None
        values = np.asarray(self.mean(X.copy()), dtype=np.float64)
        if values.shape == (len(X),):
            values = values[:, None]
        if values.ndim != 2 or len(values) != len(X) or values.shape[1] not in (1, d):
            raise ValueError(f"mean must return shape ({len(X)},) or ({len(X)}, {d}), got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("mean must return finite numbers, got NaN or infinity")
        return values

    def with_coef(self, coef: np.ndarray) -> Mean:
        """The same mean with other coefficients (size, d)."""
        other = object.__new__(Mean)
        other.__dict__.update(self.__dict__, coef=coef)
        return other

    def __call__(self, X: np.ndarray, d: int):
        """The mean at X: shape (n, d) or (n, 1), or the number 0."""
        if self.size == 1:
            return self.coef
        if self.size:
            return self.basis(X) @ self.coef
        given = self.given(X, d)
        return 0.0 if given is None else given

    def gradient(self, X: np.ndarray, d: int):
        """d m / d x, broadcasting to (n, q, d); that of a callable by central differences."""
        if self.size > 1:
            return (self.coef[1:] / self.scale[:, None])[None]
        if not callable(self.mean):
            return 0.0
        columns = []
        for k in range(X.shape[1]):
            step = np.cbrt(np.finfo(float).eps) * np.maximum(np.abs(X[:, k]), self.scale[k])
            up, down = X.copy(), X.copy()
            up[:, k] += step
            down[:, k] -= step
            columns.append((self.given(up, d) - self.given(down, d)) / (up[:, k] - down[:, k])[:, None])
        return np.stack(columns, axis=1)

    def raw_coef(self) -> np.ndarray:
        """Intercept, then slopes, for the inputs as they are: shape (size, d)."""
        if self.size < 2:
            return self.coef
        slopes = self.coef[1:] / self.scale[:, None]
        return np.vstack([self.coef[:1] - self.centre @ slopes, slopes])
