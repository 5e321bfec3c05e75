"""Density ratios as sums of Gaussian bumps: what uLSIF, RuLSIF and KLIEP share, and the ratio that they give."""

from __future__ import annotations

import dataclasses
import numbers

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_matrix, check_integer, check_positive, check_rng, common_dtype
from lvmfast.kernels import RBF

CHUNK = 4096  # rows whose kernel values are held at a time
GRID = np.logspace(-1.2, 0.6, 9)  # lengthscales, in median distances
MEDIAN_ROWS = 1000


@dataclasses.dataclass
class RatioExpansion:
    r"""``w(x) = sum_l coefficients[l] exp(-1/2 sum_j ((x_j - centers[l, j]) / (lengthscale scale_j))**2)``.

    For uLSIF and KLIEP (``alpha = 0``), w estimates the ratio p / q. For RuLSIF it estimates the relative ratio
    ``w = p / (alpha p + (1 - alpha) q) <= 1 / alpha``, from which ``p / q = (1 - alpha) w / (1 - alpha w)``.

    Attributes
    ----------
    centers : ndarray of shape (b, d)
        Rows of X_p, in the units of the data.
    coefficients : ndarray of shape (b,), >= 0
    lengthscale : float
        In units of ``scale``. There is one for all features (no automatic relevance determination).
    scale : ndarray of shape (d,)
        Standard deviations of the pooled features, or ones.
    method : {"ulsif", "rulsif", "kliep"}
    alpha : float
    regularization : float
        0 for KLIEP.
    lengthscales, regularizations : ndarray
        The candidates.
    scores : ndarray of shape (lengthscales, regularizations)
        By which they were selected: leave-one-out squared loss (uLSIF, RuLSIF; the least is chosen), cross-validated
        log likelihood (KLIEP; the largest; upper bounds where they were enough). NaN where nothing had to be selected.
    largest_ratio : float
        The number of rows of X_q: :meth:`ratio` stays below it where alpha > 0, as a larger one would leave no row
        to q.
    """

    centers: np.ndarray
    coefficients: np.ndarray
    lengthscale: float
    scale: np.ndarray
    method: str
    alpha: float
    regularization: float
    lengthscales: np.ndarray
    regularizations: np.ndarray
    scores: np.ndarray
    largest_ratio: float

    def __call__(self, X):
        """``w(x)`` of rows, shape (n,): the ratio p / q, or for alpha > 0 the relative ratio.

        Parameters
        ----------
        X : array of shape (n, d)

        Returns
        -------
        w : array of shape (n,)
            float32 if X is, else float64.
        """
        X = as_matrix(X, "X", columns=self.centers.shape[1])
        xp = _backend.namespace(X)
        kernel, centers, theta = self._moved(X)
        result = xp.empty(len(X), X.dtype)
        with _backend.blas_threads(len(centers)), np.errstate(under="ignore"):
            for rows in chunks(len(X)):
                result[rows] = kernel(X[rows], centers) @ theta
        return result

    def log(self, X):
        """``log w(x)`` of rows, shape (n,): finite however far from the centres a row lies."""
        X = as_matrix(X, "X", columns=self.centers.shape[1])
        xp = _backend.namespace(X)
        result = self(X)
        far = result < 1e6 * np.finfo(X.dtype).tiny
        with np.errstate(divide="ignore"):
            result = xp.log(result)
        keep = self.coefficients > 0
        if bool(far.any()) and keep.any():
            result[far] = self._log_far(xp, X[far], keep)
        return result

    def ratio(self, X):
        """``p(x) / q(x)`` of rows, shape (n,), also for alpha > 0; at most ``largest_ratio`` there."""
        w = self(X)
        if self.alpha == 0:
            return w
        w = _backend.namespace(w).minimum(w, self._largest())
        return (1 - self.alpha) * w / (1 - self.alpha * w)

    def log_ratio(self, X):
        """``log p(x) / q(x)`` of rows, shape (n,), also for alpha > 0."""
        log_w = self.log(X)
        if self.alpha == 0:
            return log_w
        xp = _backend.namespace(log_w)
        log_w = xp.minimum(log_w, np.log(self._largest()))
        return np.log1p(-self.alpha) + log_w - xp.log1p(-self.alpha * xp.exp(log_w))

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`from_state` makes the ratio from."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_state(cls, state) -> RatioExpansion:
        """The ratio whose :meth:`state` this is."""
        names = [field.name for field in dataclasses.fields(cls)]
        values = {name: np.array(state[name]) for name in names}
        return cls(**{name: value[()] if value.ndim else value for name, value in values.items()})._plain()

    def _plain(self) -> RatioExpansion:
        self.method = str(self.method)
        for name in ("lengthscale", "alpha", "regularization", "largest_ratio"):
            setattr(self, name, float(getattr(self, name)))
        return self

    def _largest(self) -> float:
        n = self.largest_ratio
        return n / (1 - self.alpha + self.alpha * n)

    def _moved(self, X):
        """Kernel, centres and coefficients where X is, in its dtype; the coefficients 0 are left out."""
        keep = self.coefficients > 0
        device = "cuda" if _backend.is_gpu(X) else "cpu"
        parts = [np.ascontiguousarray(a[keep], X.dtype) for a in (self.centers, self.coefficients)]
        return (RBF(1.0, self.lengthscale * self.scale), *(_backend.to_device(a, device) for a in parts))

    def _log_far(self, xp, X, keep):
        device = "cuda" if _backend.is_gpu(X) else "cpu"
        unit = self.lengthscale * self.scale
        C, log_theta = (
            _backend.to_device(a, device) for a in (self.centers[keep] / unit, np.log(self.coefficients[keep]))
        )
        unit = _backend.to_device(unit, device)
        result = xp.empty(len(X))
        for rows in chunks(len(X), 256):
            Z = X[rows].astype(np.float64) / unit
            terms = xp.zeros((len(Z), len(C))) + log_theta
            for j in range(Z.shape[1]):
                terms -= 0.5 * (Z[:, j, None] - C[:, j]) ** 2
            top = terms.max(axis=1)
            with np.errstate(under="ignore"):
                result[rows] = top + xp.log(xp.exp(terms - top[:, None]).sum(axis=1))
        return result


def chunks(n: int, size: int = CHUNK):
    """Slices of rows."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


@dataclasses.dataclass
class Problem:
    """Checked samples of p and q in float64, in units of ``scale`` about their mean, with the centres."""

    X_p: np.ndarray
    X_q: np.ndarray
    centers: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    lengthscales: np.ndarray
    dtype: np.dtype
    xp: object

    def expansion(self, theta, best, scores, method, alpha, regularizations) -> RatioExpansion:
        """The result, on the host, in the units and the dtype of the data."""
        centers, mean = (np.asarray(_backend.to_numpy(a)) for a in (self.centers, self.mean))
        return RatioExpansion(
            centers=(centers * self.scale + mean).astype(self.dtype),
            coefficients=np.asarray(_backend.to_numpy(theta)),
            lengthscale=float(self.lengthscales[best[0]]),
            scale=self.scale,
            method=method,
            alpha=float(alpha),
            regularization=float(regularizations[best[1]]),
            lengthscales=self.lengthscales,
            regularizations=regularizations,
            scores=scores,
            largest_ratio=float(len(self.X_q)),
        )


def problem(X_p, X_q, *, n_centers, centers, lengthscales, standardize, rng) -> Problem:
    """Check the arguments, choose centres and candidates."""
    _backend.module_for(X_p=X_p, X_q=X_q)
    X_p, X_q = as_matrix(X_p, "X_p"), as_matrix(X_q, "X_q")
    if X_p.shape[1] != X_q.shape[1]:
        raise ValueError(f"X_p and X_q must have the same columns, got {X_p.shape[1]} and {X_q.shape[1]}")
    for name, X in (("X_p", X_p), ("X_q", X_q)):
        if len(X) < 2 or X.shape[1] < 1:
            raise ValueError(f"{name} must have at least 2 rows and 1 column, got shape {X.shape}")
    n_centers, rng = check_integer(n_centers, "n_centers", 1), check_rng(rng)
    xp, dtype = _backend.namespace(X_p), common_dtype(X_p, X_q)
    X_p, X_q = X_p.astype(np.float64), X_q.astype(np.float64)  # copies: the caller's stay as they are
    n = len(X_p) + len(X_q)
    mean = (X_p.sum(axis=0) + X_q.sum(axis=0)) / n
    X_p -= mean
    X_q -= mean
    scale = np.ones(X_p.shape[1])
    if standardize:
        variance = _backend.to_numpy(((X_p * X_p).sum(axis=0) + (X_q * X_q).sum(axis=0)) / n)
        rounding = np.finfo(dtype).eps * (np.abs(_backend.to_numpy(mean)) + np.sqrt(variance))
        scale = np.where(np.sqrt(variance) > 8 * rounding, np.sqrt(variance), 1.0)  # constant features stay
        unit = _backend.to_device(scale, "cuda" if _backend.is_gpu(X_p) else "cpu")
        X_p /= unit
        X_q /= unit
    if centers is None:
        chosen = np.sort(rng.choice(len(X_p), size=min(n_centers, len(X_p)), replace=False))
        C = X_p[xp.asarray(chosen)]
    else:
        C = as_matrix(_backend.like(centers, X_p), "centers", columns=X_p.shape[1], dtype=np.float64)
        if not len(C):
            raise ValueError("centers must have at least 1 row, got none")
        C = (C - mean) / _backend.like(scale, X_p)
    lengthscales = median_grid(X_p, X_q, rng) if lengthscales is None else candidates(lengthscales, "lengthscales")
    return Problem(X_p, X_q, C, mean, scale, lengthscales, dtype, xp)


def candidates(values, name: str, *, zero: bool = False) -> np.ndarray:
    """One number, or several, > 0 (or >= 0)."""
    values = [values] if isinstance(values, numbers.Real) else np.ravel(_backend.to_numpy(values)).tolist()
    if not values:
        raise ValueError(f"{name} must hold at least one number, got none")
    return np.array([check_positive(value, name, zero=zero) for value in values])


def median_grid(X_p, X_q, rng) -> np.ndarray:
    """From 0.06 to 4 times the median distance between two points of both samples, at most 1,000 of them."""
    parts = []
    total = len(X_p) + len(X_q)
    for X in (X_p, X_q):
        size = len(X) if total <= MEDIAN_ROWS else max(2, round(MEDIAN_ROWS * len(X) / total))
        rows = np.arange(len(X)) if size >= len(X) else rng.choice(len(X), size=size, replace=False)
        parts.append(np.asarray(_backend.to_numpy(X[_backend.namespace(X).asarray(rows)])))
    X = np.concatenate(parts)
    i, j = np.triu_indices(len(X), 1)
    if len(i) > 100_000:
        kept = rng.choice(len(i), size=100_000, replace=False)
        i, j = i[kept], j[kept]
    distances = np.sqrt(((X[i] - X[j]) ** 2).sum(axis=1))
    median = float(np.median(distances))
    if median == 0:
        above = distances[distances > 0]
        median = float(np.median(above)) if len(above) else 1.0
    return median * GRID


def check_alpha(alpha) -> float:
    """``alpha`` in [0, 1)."""
    alpha = check_positive(alpha, "alpha", zero=True)
    if alpha >= 1:
        raise ValueError(f"alpha must be in [0, 1), got {alpha:g}: p / (alpha p + (1 - alpha) q) would not depend on q")
    return alpha
