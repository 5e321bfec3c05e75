"""Densities of a grid model at points of the data space: a mixture of normals whose centres are the mapped latents."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_matrix, common_dtype
from lvmfast.distributions._distribution import LOG_ROOT_2_PI
from lvmfast.grids import Mesh

__all__ = ["GridDensity", "checked_points", "mapped"]

MESH_AXES = 8  # of meshes that the compiled product takes


class GridDensity:
    """``log p(x) = log sum_k exp(log_masses_k) N(x; centres_k, diag(noise_variance))``.

    Parameters
    ----------
    centres : ndarray of shape (m, d), float64
    log_masses : ndarray of shape (m,)
    noise_variance : float or ndarray of shape (d,)
    """

    def __init__(self, centres: np.ndarray, log_masses: np.ndarray, noise_variance):
        self.d = centres.shape[1]
        self.sigma = np.broadcast_to(np.sqrt(noise_variance), (self.d,))
        self.shift = centres.mean(axis=0)  # what is common to all costs digits of the differences
        self.centres = (centres - self.shift) / self.sigma
        self.log_masses = log_masses
        self.constant = -float(np.log(self.sigma).sum()) - self.d * LOG_ROOT_2_PI

    def log_density(self, X):
        """log p of points (n, d) or of a mesh, shape (n,); in the points' dtype, where they are."""
        if isinstance(X, Mesh) and 2 <= X.ndim == self.d <= MESH_AXES:
            axes = [self._scaled(axis.astype(np.float64), k) for k, axis in enumerate(X.axes)]
            if all(bool(_backend.namespace(axis).isfinite(axis).all()) for axis in axes):
                return self._of_mesh(X, axes)
        X = checked_points(X, self.d)
        points, reached, arguments = self._arguments(X)
        log_p = self._module(points).mixture_log_density(*arguments)
        return self._finished(log_p, reached).astype(X.dtype, copy=False)

    def shares(self, X):
        """(log p, shares): shapes (n,), (n, m); what each latent gives to p(x), of sum 1; NaN where p(x) is 0."""
        X = checked_points(X, self.d)
        points, reached, arguments = self._arguments(X)
        log_p, shares = self._module(points).mixture_shares(*arguments)
        log_p = self._finished(log_p, reached)
        shares[log_p == -np.inf] = np.nan
        return log_p.astype(X.dtype, copy=False), shares.astype(X.dtype, copy=False)

    def _of_mesh(self, mesh, axes):
        xp, order = _backend.namespace(*axes), list(mesh.order)
        device = "cpu" if xp is np else "cuda"
        values = xp.concatenate([axes[k] for k in order])
        centres, log_masses = self._placed(np.ascontiguousarray(self.centres[:, order]), self.log_masses, device)
        with _backend.blas_threads(1):  # the product is cut into parts, one a thread
            log_p = self._module(values).mixture_mesh_log_density(values, np.array(mesh.shape), centres, log_masses)
        log_p = log_p.reshape(-1)
        log_p += self.constant
        return log_p.astype(mesh.dtype, copy=False)

    def _arguments(self, X):
        """Points, a mask of those that are finite (None: all), and what the compiled functions take."""
        xp, dtype = _backend.namespace(X), X.dtype
        with np.errstate(over="ignore", invalid="ignore"):
            points = xp.ascontiguousarray(self._scaled(X.astype(np.float64, copy=False)).astype(dtype, copy=False))
        reached = None
        finite = xp.isfinite(points)
        if not finite.all():
            reached = finite.all(axis=1)
            points = xp.where(reached[:, None], points, dtype.type(0))
        centres, log_masses = self._placed(self.centres, self.log_masses, "cpu" if xp is np else "cuda", dtype)
        return points, reached, (points, centres, log_masses)

    def _scaled(self, X, column=None):
        which = slice(None) if column is None else column
        xp = _backend.namespace(X)
        return (X - xp.asarray(self.shift[which])) / xp.asarray(self.sigma[which])

    @staticmethod
    def _placed(centres, log_masses, device: str, dtype=np.float64):
        return tuple(_backend.to_device(a.astype(dtype, copy=False), device) for a in (centres, log_masses))

    @staticmethod
    def _module(points):
        return _backend.module_on("cuda" if _backend.is_gpu(points) else "cpu", points)

    def _finished(self, log_p, reached):
        log_p += self.constant
        if reached is not None:
            log_p[~reached] = -np.inf
        return log_p


def checked_points(X, d: int | None = None):
    """Rows of the data space, without NaN; a mesh stands for its points."""
    if not isinstance(X, Mesh):
        X = as_matrix(X, "X", finite=False)
    columns = X.ndim if isinstance(X, Mesh) else X.shape[1]
    if d is not None and columns != d:
        raise ValueError(f"X must have {d} columns, as many as f returns, got {columns}")
    X = X.points if isinstance(X, Mesh) else X
    nan = _backend.namespace(X).isnan(X)
    if nan.any():
        row, column = (int(i) for i in _backend.namespace(X).argwhere(nan)[0])
        raise ValueError(f"X must not have NaN, got one at row {row}, column {column}; fill in what is missing")
    return X


def mapped(f, latents: np.ndarray, d: int | None = None) -> np.ndarray:
    """``f(latents)`` as float64 of shape (m, d); raise where f returns something else."""
    m, q = latents.shape
    values = f(_backend.to_device(latents.copy(), getattr(f, "device", "cpu")))  # f may write to what it is given
    if isinstance(values, (tuple, list)):
        columns = [np.asarray(_backend.to_numpy(column)) for column in values]
        if any(column.shape not in ((m,), (m, 1)) for column in columns) or not columns:
            got = ", ".join(str(column.shape) for column in columns) or "none"
            raise ValueError(f"f must return (m, d) or d arrays of shape (m,) for latents ({m}, {q}), got {got}")
        values = np.stack([column.reshape(m) for column in columns], axis=1)
    values = np.asarray(_backend.to_numpy(values))
    if values.ndim == 1 and values.shape == (m,):
        values = values[:, None]
    expected = f"({m}, {'d' if d is None else d})"
    if values.ndim != 2 or len(values) != m or values.shape[1] < 1 or (d is not None and values.shape[1] != d):
        raise ValueError(f"f must return shape {expected} for latents of shape ({m}, {q}), got {values.shape}")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"f must return real numbers, got dtype {values.dtype}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"f must return finite numbers, got {values[row, column]} at z = {latents[row]}")
    return values


def log_normal(X, F, noise_variance):
    """``log N(x_i; f_i, diag(noise_variance))``, shape (n,), of rows that broadcast; of the common dtype."""
    xp = _backend.namespace(X)
    sigma = xp.sqrt(xp.asarray(noise_variance, np.float64))
    d = X.shape[1]
    with np.errstate(over="ignore"):
        z = (X - _backend.like(F, X)) / sigma
        log_p = -0.5 * (z * z).sum(axis=1)
    constant = float(xp.log(xp.broadcast_to(sigma, (d,))).sum()) + d * LOG_ROOT_2_PI
    return (log_p - constant).astype(common_dtype(X), copy=False)


def rows_at_once(m: int) -> int:
    """Rows whose shares of m latents are held together."""
    return max(1, (1 << 22) // m)


def number_or_numbers(noise_variance, d: int | None = None):
    """The noise variance as a float or an array (d,); raise unless it is > 0."""
    array = np.asarray(_backend.to_numpy(noise_variance))
    if array.dtype.kind not in "iuf" or array.ndim > 1:
        raise TypeError(f"noise_variance must be a number > 0 or an array of shape (d,), got {noise_variance!r}")
    array = array.astype(np.float64)
    if not (np.isfinite(array) & (array > 0)).all() or not array.size:
        raise ValueError(f"noise_variance must be finite and > 0, got {noise_variance!r}")
    if d is not None and array.ndim and array.shape != (d,):
        raise ValueError(f"noise_variance must be a number or have shape ({d},), got {array.shape}")
    return array if array.ndim else float(array)
