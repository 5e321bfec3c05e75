"""The posterior of a fitted GPLVM: function values at latents, and latents of new rows.

Everything in float64, whatever the fit's dtype: predictive variances are differences of nearly equal numbers.
Each row of a batch is computed by itself, so that it does not depend on the rows beside it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast._backend import to_device, to_numpy
from lvmfast.linalg import cholesky, cholesky_solve, solve_triangular
from lvmfast.models._matrices import add_to_diagonal, column_squares

CHUNK = 256  # rows of a batch that are worked on together
CANDIDATES = 10  # nearest reconstructions from which a search may start
STARTS = 3  # searches per row
TOLERANCE = 1e-8  # of the gradient per observed value, in nats per lengthscale
MAX_EVALUATIONS = 300


@dataclasses.dataclass
class _Part:
    rows: np.ndarray | None
    columns: np.ndarray
    L: np.ndarray  # factor of K + noise I over the rows
    reduced_weights: np.ndarray  # K^-1 R
    weights: np.ndarray  # K^-1 Y
    basis: np.ndarray  # Y = R basis^T


class Posterior:
    """Posterior of the scaled, centred columns given latents ``X`` and kernel parameters.

    It works on the device of the problem; what it takes and returns are NumPy arrays.

    ``f(x) | Y ~ N(k(x, X) K^-1 Y, k(x, x) - k(x, X) K^-1 k(X, x))`` with ``K = k(X, X) + noise I``, for each group
    of columns with the rows that it observes.
    """

    def __init__(self, problem, kernel, X: np.ndarray, noise: float, jitter: float):
        self.problem, self.kernel, self.noise, self.device = problem, kernel, noise, problem.device
        self.X = np.ascontiguousarray(X, dtype=np.float64)
        self.latents = self._there(self.X)
        self.scales = latent_scales(kernel, self.X)
        self.parts = []
        for group in problem.groups:
            K = kernel(self._there(self.X if group.rows is None else self.X[group.rows]))
            add_to_diagonal(K, noise + jitter)
            L = cholesky(K, return_jitter=True)[0]
            reduced_weights = cholesky_solve(L, self._there(group.reduced))
            weights = reduced_weights @ self._there(group.basis).T
            self.parts.append(_Part(group.rows, group.columns, L, reduced_weights, weights, group.basis))
        seen = np.concatenate([part.columns for part in self.parts])
        self.unseen = np.setdiff1d(np.arange(problem.d), seen)  # columns in which training observed nothing
        self._projections: dict[bool, object] = {}
        self._reconstruction: np.ndarray | None = None

    def mean(self, X_new: np.ndarray) -> np.ndarray:
        """Posterior mean (n, d), scaled; zero (the prior's) in columns that were never observed."""
        mean = np.zeros((len(X_new), self.problem.d))
        K = self._cross(X_new)
        for part in self.parts:
            k = _backend.namespace(K).ascontiguousarray(self._rows(K, part).T)
            mean[:, part.columns] = to_numpy(self._module().row_product(k, part.weights))
        return mean

    def variances(self, X_new: np.ndarray) -> np.ndarray:
        """Posterior variance (n, d) of the noise-free function, scaled; the same for columns of one group."""
        K, prior = self._cross(X_new), to_numpy(self.kernel.diag(self._there(X_new)))
        if len(self.parts) == 1 and len(self.parts[0].columns) == self.problem.d:
            return np.broadcast_to(self._group_variance(self.parts[0], K, prior)[:, None], (len(X_new), self.problem.d))
        variance = np.repeat(prior[:, None], self.problem.d, axis=1)
        for part in self.parts:
            variance[:, part.columns] = self._group_variance(part, K, prior)[:, None]
        return variance

    def _group_variance(self, part: _Part, K, prior: np.ndarray) -> np.ndarray:
        half = solve_triangular(part.L, self._rows(K, part))
        return np.maximum(prior - to_numpy(column_squares(half)), 0.0)

    # The device.

    def _there(self, array):
        return to_device(np.ascontiguousarray(array), self.device)

    def _module(self):
        return _backend.module_on(self.device, self.latents)

    def _cross(self, X_new: np.ndarray):
        """k(X, X_new), in this order: centred on the training latents, whatever is new."""
        return self.kernel(self.latents, self._there(X_new))

    @staticmethod
    def _rows(K, part: _Part):
        return K if part.rows is None else K[_backend.namespace(K).asarray(part.rows)]

    def sample(self, X_new: np.ndarray, n_samples: int, rng, *, joint: bool) -> np.ndarray:
        """Draws (n_samples, n, d) of the noise-free function, scaled."""
        shape = (n_samples, len(X_new), self.problem.d)
        draws = rng.standard_normal(shape)
        if not joint:
            return self.mean(X_new) + np.sqrt(self.variances(X_new)) * draws
        K, prior = self._cross(X_new), self.kernel(self._there(X_new))
        observed = np.zeros(self.problem.d, bool)

        def shape_draws(columns, covariance):
            factor = _factor(covariance, prior)
            draws[:, :, columns] = to_numpy(
                _backend.namespace(factor).matmul(factor, self._there(draws[:, :, columns]))
            )

        for part in self.parts:
            half = solve_triangular(part.L, self._rows(K, part))
            shape_draws(part.columns, prior - half.T @ half)
            observed[part.columns] = True
        if not observed.all():
            shape_draws(~observed, prior.copy())
        return self.mean(X_new) + draws

    def project(self, Y: np.ndarray, progress=None) -> tuple[np.ndarray, np.ndarray]:
        """Latents (n, q) that maximise log p(y | x), and that log density (n,), for scaled rows with NaN allowed."""
        latents = np.empty((len(Y), self.X.shape[1]))
        log_density = np.empty(len(Y))
        for rows, problem in self._chunks(Y):
            start = self._starts(problem)
            best = np.full(len(rows), np.inf)
            with _backend.blas_threads():
                for s in range(start.shape[1]):
                    x, value, _ = problem.minimise(np.ascontiguousarray(start[:, s]), TOLERANCE, MAX_EVALUATIONS)
                    better = value < best
                    latents[rows[better]] = x[better]
                    best = np.where(better, value, best)
            log_density[rows] = -best
            if progress is not None:
                progress(len(rows))
        return latents, log_density

    def latent_variances(self, Y: np.ndarray, latents: np.ndarray) -> np.ndarray:
        """Laplace variances (n, q): the diagonal of the inverse Hessian of -log p(y | x) at the latents.

        The Hessian comes from central differences of the exact gradient. Where it is not positive definite (a latent
        on a plateau) the variance is infinite: the data do not say where the row lies.
        """
        q = self.X.shape[1]
        variances = np.empty_like(latents)
        step = 1e-4 * self.scales
        for rows, problem in self._chunks(Y):
            hessian = np.empty((len(rows), q, q))
            for k in range(q):
                shift = np.zeros(q)
                shift[k] = step[k]
                _, up = problem.evaluate(latents[rows] + shift)
                _, down = problem.evaluate(latents[rows] - shift)
                hessian[:, k] = (up - down) / (2 * step[k])
            hessian = 0.5 * (hessian + np.swapaxes(hessian, 1, 2))
            eigenvalues, vectors = np.linalg.eigh(hessian)
            largest = np.abs(eigenvalues).max(axis=1, keepdims=True)
            flat = (eigenvalues <= 1e-7 * largest)[:, None, :]  # to the accuracy of the differences
            inverse = 1.0 / np.where(flat, 1.0, eigenvalues[:, None, :])
            unbounded = (flat & (vectors != 0)).any(axis=2)
            variances[rows] = np.where(unbounded, np.inf, (vectors**2 * np.where(flat, 0.0, inverse)).sum(axis=2))
        return variances

    def _chunks(self, Y: np.ndarray):
        """(row numbers, problem) pairs: rows that are complete see reduced columns, the others all columns."""
        complete = ~np.isnan(Y).any(axis=1)
        for reduced in (True, False):
            rows = np.flatnonzero(complete == reduced)
            for begin in range(0, len(rows), CHUNK):
                chunk = rows[begin : begin + CHUNK]
                yield chunk, _RowProblem(self, Y[chunk], reduced)

    def projection(self, reduced: bool):
        """The compiled problem for rows in reduced or in all columns (made once)."""
        if reduced not in self._projections:
            kernel = self.kernel.compiled(self.X.shape[1])
            module = self._module()
            compiled = module.GplvmProjection(
                kernel.tree_for(module), kernel.vector(), self.latents, self.scales, self.noise
            )
            xp = _backend.namespace(self.latents)
            for part in self.parts:
                precision = cholesky_solve(part.L, xp.eye(len(part.L)))
                weights = part.reduced_weights if reduced else part.weights
                compiled.add_group(part.rows, precision, xp.ascontiguousarray(weights))
            if self.unseen.size:
                nothing = xp.zeros((0, self.unseen.size))
                compiled.add_group(np.empty(0, np.int64), xp.zeros((0, 0)), nothing)
            self._projections[reduced] = compiled
        return self._projections[reduced]

    def row_product(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """``A @ B`` of NumPy arrays, on the device."""
        return to_numpy(self._module().row_product(self._there(A), self._there(B)))

    def reconstruction(self) -> np.ndarray:
        """Posterior mean at the training latents (N, d), made once."""
        if self._reconstruction is None:
            self._reconstruction = self.mean(self.X)
        return self._reconstruction

    def _starts(self, problem: _RowProblem) -> np.ndarray:
        """Latents (n, STARTS, q): of the nearest reconstructions those with the highest density."""
        distance = problem.reconstruction_distances()
        count = min(CANDIDATES, len(self.X))
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :count]
        density = np.stack([problem.evaluate(self.X[nearest[:, c]])[0] for c in range(count)], axis=1)
        order = np.argsort(density, axis=1, kind="stable")[:, : min(STARTS, count)]
        return self.X[np.take_along_axis(nearest, order, axis=1)]


def _factor(covariance: np.ndarray, prior: np.ndarray) -> np.ndarray:
    # A posterior covariance may have rank 0; what it needs is small beside the prior variance.
    add_to_diagonal(covariance, 1e-10 * _backend.namespace(prior).diagonal(prior))
    return cholesky(covariance, return_jitter=True)[0]


def latent_scales(kernel, X: np.ndarray) -> np.ndarray:
    """How far each latent coordinate (q,) moves before functions look different: the shortest scale that sees it."""
    compiled = kernel.compiled(X.shape[1])
    vector, spread = compiled.vector(), X.std(axis=0)
    scales = np.full(X.shape[1], np.inf)
    for slot in compiled.slots:
        if slot.own_name in ("lengthscale", "period"):
            dims = slice(None) if slot.leaf.active_dims is None else np.asarray(slot.leaf.active_dims)
            if slot.own_name == "lengthscale" and hasattr(slot.leaf, "period"):
                continue  # a pure number
            part = vector[slot.start : slot.start + slot.size]
            scales[dims] = np.minimum(scales[dims], part * (0.16 if slot.own_name == "period" else 1.0))
    return np.where(np.isfinite(scales), scales, np.where(spread > 0, spread, 1.0))


class PosteriorCache:
    """A fitted model's posterior, which can be made again from its attributes."""

    posterior: Posterior | None = None


class _RowProblem:
    """New rows in the form that the compiled projection takes."""

    def __init__(self, posterior: Posterior, Y: np.ndarray, reduced: bool):
        self.posterior = posterior
        self.compiled = posterior.projection(reduced)
        missing = np.isnan(Y)
        filled = np.where(missing, 0.0, Y)
        self.filled, self.mask_all = filled, None if reduced else (~missing).astype(np.float64)
        targets, masks, observed, residual = [], [], [], []
        groups = [(part.columns, part.basis) for part in posterior.parts]
        if posterior.unseen.size:
            groups.append((posterior.unseen, None))
        for columns, basis in groups:
            y = np.ascontiguousarray(filled[:, columns])
            if reduced:
                z = y if basis is None else posterior.row_product(y, basis)
                targets.append(z)
                observed.append(np.full(len(Y), float(len(columns))))
                residual.append(np.maximum((y * y).sum(axis=1) - (z * z).sum(axis=1), 0.0))
            else:
                mask = self.mask_all[:, columns]
                targets.append(y)
                masks.append(mask)
                observed.append(mask.sum(axis=1))
                residual.append(np.zeros(len(Y)))
        self.arguments = (
            np.ascontiguousarray(np.concatenate(targets, axis=1)),
            np.ascontiguousarray(np.concatenate(masks, axis=1)) if masks else None,
            np.ascontiguousarray(np.stack(observed, axis=1)),
            np.ascontiguousarray(np.stack(residual, axis=1)),
        )

    def evaluate(self, x: np.ndarray):
        _backend.module_on(self.posterior.device, self.posterior.latents)
        return self.compiled.evaluate(np.ascontiguousarray(x), *self.arguments)

    def minimise(self, start: np.ndarray, tolerance: float, max_evaluations: int):
        _backend.module_on(self.posterior.device, self.posterior.latents)
        return self.compiled.minimise(start, *self.arguments, tolerance, max_evaluations)

    def reconstruction_distances(self) -> np.ndarray:
        """Squared distances (n, N) of the rows to the reconstructions of the training rows, less |y|^2."""
        reconstruction = self.posterior.reconstruction().T
        cross = self.posterior.row_product(self.filled, reconstruction)
        if self.mask_all is None:
            squares = np.einsum("ij,ij->j", reconstruction, reconstruction)
        else:
            squares = self.posterior.row_product(self.mask_all, reconstruction**2)
        return squares - 2.0 * cross
