"""The knowledge gradient over finitely many points, exact by the upper envelope of lines."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast._backend import to_numpy
from lvmfast._validation import as_matrix, check_integer, check_rng
from lvmfast.bayesopt._acquisition import Acquisition
from lvmfast.bayesopt._base_samples import sobol_points
from lvmfast.bayesopt._surrogate import without_white
from lvmfast.kernels import Kernel
from lvmfast.linalg import solve_triangular
from lvmfast.models._matrices import column_squares

__all__ = ["DiscreteKnowledgeGradient"]

TILE = 1 << 22  # numbers of a covariance that are held at a time


class DiscreteKnowledgeGradient(Acquisition):
    r"""Knowledge gradient of a minimum that is sought among finitely many points, without simulation:

    ``KG(x) = min_i mu_n(z_i) - E[min_i (mu_n(z_i) + s(z_i, x) Z)]``, ``Z ~ N(0, 1)``,

    ``s(z, x) = k_n(z, x) / sqrt(k_n(x, x) + noise_variance)``

    with the posterior mean mu_n and covariance k_n of the function. It is how far the least posterior mean is expected
    to fall by one observation at x. The expectation is exact: the minimum of lines in Z is one line between any two
    corners of their envelope. KG >= 0.

    Parameters
    ----------
    model : lvmfast.GPR
        Fitted to one output.
    bounds : array of shape (d, 2)
        Lowest and highest value of each input.
    points : array of shape (k, d), optional
        z, within the bounds. Default: ``n_points`` points of a scrambled Sobol' sequence, and the training inputs
        within the bounds.
    n_points : int, default=512
        Not used where ``points`` are given.
    include_candidate : bool, default=True
        Whether x itself is one more point, in both minima. KG then has a kink where ``mu_n(x)`` is the least mean.
    noise_variance : float, optional
        Of the observation at x; default the model's. Needed where every training row had its own. The model's jitter is
        added to it, and what :class:`~lvmfast.kernels.White` adds to the kernel counts as noise as well.
    random_state : int, numpy.random.Generator or None, default=0
        For the Sobol' sequence.

    Attributes
    ----------
    points : array of shape (k, d)
        Float64.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, or a model that is not fitted to one output.

    Notes
    -----
    The constructor costs O(n^2 k), a candidate with its gradient O(n^2 + n k) and k log k.

    References
    ----------
    Frazier, Powell & Dayanik (2009), "The knowledge-gradient policy for correlated normal beliefs", algorithm 1;
    with the candidate, and the gradient: Scott, Frazier & Powell (2011), "The correlated knowledge gradient for
    simulation optimization of continuous parameters using Gaussian process regression", SIAM J. Optim. 21, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-1, 2, 10)[:, None]
    >>> model = lvm.GPR(lvm.kernels.RBF()).fit(X, np.sin(3 * X[:, 0]) + X[:, 0] ** 2)
    >>> kg = lvm.bayesopt.DiscreteKnowledgeGradient(model, [(-1, 2)], n_points=64)
    >>> bool((kg([[0.1], [1.3]]) >= 0).all())
    True
    """

    def __init__(
        self,
        model,
        bounds,
        *,
        points=None,
        n_points=512,
        include_candidate=True,
        noise_variance=None,
        random_state=0,
    ):
        super().__init__(model, bounds)
        if not isinstance(include_candidate, (bool, np.bool_)):
            raise TypeError(f"include_candidate must be True or False, got {include_candidate!r}")
        self.include_candidate = bool(include_candidate)
        posterior = self.surrogate.posterior
        self._noise = float(model._noise_of_new(noise_variance, 1)[0]) + posterior.jitter
        if points is None:
            self.points = self._default_points(check_integer(n_points, "n_points", 1), check_rng(random_state))
        else:
            self.points = self._checked_points(points)
        self._smooth = without_white(posterior.kernel)
        self._means = to_numpy(posterior.mean_at(self.points))[:, 0]
        self._there = posterior.there(self.points)
        cross = posterior.predictor_now().cross(self._there)
        self._half = solve_triangular(posterior.L, cross.T, overwrite=True)  # L^-1 k(X, Z), (n, k)

    def _default_points(self, n_points: int, rng) -> np.ndarray:
        low, high = self.bounds.T
        sobol = sobol_points(n_points, len(low), rng)
        X = self.surrogate.posterior.X
        inside = ((low <= X) & (high >= X)).all(axis=1)
        return np.vstack([low + (high - low) * sobol, X[inside]])

    def _checked_points(self, points) -> np.ndarray:
        points = np.array(as_matrix(to_numpy(points), "points", columns=len(self.bounds), dtype=np.float64))
        if not len(points):
            raise ValueError("points must hold at least one row, got none")
        low, high = self.bounds.T
        outside = np.argwhere((points < low) | (points > high))
        if len(outside):
            row, column = outside[0]
            raise ValueError(
                f"points must lie within bounds, got {points[row, column]:g} at row {row} for input {column}; widen "
                "bounds or leave the point out"
            )
        return points

    @_backend.memory_errors
    def _value(self, X: np.ndarray) -> np.ndarray:
        value = np.empty(len(X))
        for part in self._chunks(len(X)):
            value[part] = self._lines(X[part, 0]).gain
        return value

    @_backend.memory_errors
    def _value_and_gradient(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = np.empty(len(X)), np.empty(X.shape)
        for part in self._chunks(len(X)):
            lines = self._lines(X[part, 0])
            value[part], gradient[part, 0] = lines.gain, self._gradient(lines)
        return value, gradient

    def _chunks(self, m: int) -> list[slice]:
        rows = max(1, TILE // max(len(self.points) + 1, len(self.surrogate.posterior.X)))
        return [slice(begin, begin + rows) for begin in range(0, m, rows)]

    def _lines(self, X: np.ndarray) -> _Lines:
        """The means after an observation at each row of X (m, d), as lines in its standardised outcome."""
        posterior = self.surrogate.posterior
        there = posterior.there(X)
        half = solve_triangular(posterior.L, posterior.predictor_now().cross(there).T, overwrite=True)
        covariance = posterior.kernel(there, self._there)
        covariance -= half.T @ self._half
        explained, prior = to_numpy(column_squares(half)), to_numpy(posterior.kernel.diag(there))
        total = np.maximum(prior - explained, 0.0) + self._noise
        # A variance within the rounding of the difference is none: the outcome is known.
        known = total <= np.finfo(np.float64).eps * len(posterior.X) * prior
        inverse = np.where(known, 0.0, 1.0 / np.sqrt(np.where(known, 1.0, total)))
        k = len(self.points)
        a, b = (np.empty((len(X), k + self.include_candidate)) for _ in range(2))
        a[:, :k], b[:, :k] = -self._means, to_numpy(covariance) * inverse[:, None]
        if self.include_candidate:
            smooth = prior if self._smooth is posterior.kernel else self._smooth_variance(there)
            a[:, k] = -to_numpy(posterior.mean_at(X))[:, 0]
            b[:, k] = np.maximum(smooth - explained, 0.0) * inverse
        return _Lines(X, there, half, inverse, b, *_backend.cpu.expected_maximum(a, b))

    def _gradient(self, lines: _Lines) -> np.ndarray:
        """Of the gains by X, shape (m, d)."""
        posterior, k, inverse = self.surrogate.posterior, len(self.points), lines.inverse
        kernel, there = posterior.kernel, posterior.there
        by_total = -0.5 * inverse**2 * np.einsum("ij,ij->i", lines.d_b, lines.b)
        by_variance, by_mean = np.zeros(len(lines.X)), np.zeros(len(lines.X))
        if self.include_candidate:
            by_variance, by_mean = lines.d_b[:, k] * inverse, -lines.d_a[:, k]
        used = np.flatnonzero(lines.d_b[:, :k].any(axis=0))  # few points are ever the minimum
        by_covariance = there(lines.d_b[:, used] * inverse[:, None])
        weights = self._half[:, there(used)] @ by_covariance.T
        weights += 2.0 * lines.half * there(by_total + by_variance)
        weights = solve_triangular(posterior.L, weights, trans=True, overwrite=True)
        by_cross = there(by_mean)[:, None] * posterior.alpha[:, 0] - weights.T
        gradient = to_numpy(kernel.vjp(lines.there, posterior.rows, by_cross)[0])
        gradient += self._diagonal_vjp(kernel, lines.there, by_total)
        if len(used):
            gradient += to_numpy(kernel.vjp(lines.there, self._there[there(used)], by_covariance)[0])
        if self.include_candidate:
            slope = posterior.mean.gradient(lines.X, 1)
            gradient += by_mean[:, None] * (slope[..., 0] if np.ndim(slope) else slope)
            if self._smooth is not None:
                gradient += self._diagonal_vjp(self._smooth, lines.there, by_variance)
        return gradient

    def _smooth_variance(self, there) -> np.ndarray:
        return np.zeros(len(there)) if self._smooth is None else to_numpy(self._smooth.diag(there))

    def _diagonal_vjp(self, kernel: Kernel, there, cotangent: np.ndarray) -> np.ndarray:
        posterior = self.surrogate.posterior
        module, compiled = _backend.module_on(posterior.device, posterior.L), kernel.compiled(there.shape[1])
        tree, cotangent = compiled.tree_for(module), posterior.there(cotangent)
        return to_numpy(module.gram_diagonal_vjp(tree, compiled.vector(), there, cotangent)[0])


@dataclasses.dataclass
class _Lines:
    """Lines of each candidate, with what :meth:`DiscreteKnowledgeGradient._gradient` needs of how they were made.

    X (m, d) and ``there``, its copy on the device; half = L^-1 k(X_train, X) (n, m), on the device; inverse (m,), one
    over the standard deviation of the outcome; slopes b, and what the envelope answers: gain (m,), d_a and d_b, shaped
    as b, (m, k) or (m, k + 1).
    """

    X: np.ndarray
    there: object
    half: object
    inverse: np.ndarray
    b: np.ndarray
    gain: np.ndarray
    d_a: np.ndarray
    d_b: np.ndarray
