"""What a GPLVM fit works on: the observations brought to one scale and reduced, and the objective.

Inside, Y is centred and divided by its root mean square, so that a fit does not depend on the units of Y.
The log density is reported in the units of Y: ``log p(Y) = log p(Y / s) - count * log s``.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast._backend import namespace, to_device, to_numpy
from lvmfast.bijectors import Softplus
from lvmfast.exceptions import NonFiniteError
from lvmfast.kernels._compiled import FreeParameters
from lvmfast.linalg._cholesky import JITTER_RANGE, raise_factorisation_error

# What positive parameters stay above, in units of the mean square of Y (variances) or of 1 (lengthscales).
VARIANCE_FLOOR, NOISE_FLOOR, LENGTHSCALE_FLOOR = 1e-8, 1e-6, 1e-6


@dataclasses.dataclass
class Group:
    """Columns of Y that observe the same rows.

    ``rows`` is None for all rows. ``reduced @ basis.T`` equals Y in these rows and columns, with orthonormal columns
    in ``basis``, so that the likelihood sees the same through ``reduced``.
    """

    rows: np.ndarray | None
    columns: np.ndarray
    reduced: np.ndarray
    basis: np.ndarray


def group_columns(Y: np.ndarray) -> list[tuple[np.ndarray | None, np.ndarray]]:
    """Pairs (observed rows or None for all, columns) that cover the columns with anything observed."""
    missing = np.isnan(Y)
    if not missing.any():
        return [(None, np.arange(Y.shape[1]))]
    packed = np.packbits(missing, axis=0).T
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    groups = []
    for k in np.argsort(first):
        columns = np.flatnonzero(inverse == k)
        rows = np.flatnonzero(~missing[:, columns[0]])
        if rows.size:
            groups.append((None if rows.size == len(Y) else rows, columns))
    return groups


def reduce_columns(Y: np.ndarray, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """``(R, V)`` with ``R @ V.T == Y``, ``V.T @ V == I`` and as few columns as Y has rank."""
    there = to_device(np.ascontiguousarray(Y), device)
    linalg, Q = namespace(there).linalg, None
    if device == "cuda" and Y.shape[0] > 2 * Y.shape[1]:  # cuSOLVER's decomposition is slow for tall matrices
        Q, there = linalg.qr(there)
    U, s, Vt = linalg.svd(there, full_matrices=False)
    U, s, Vt = (to_numpy(part) for part in (U if Q is None else Q @ U, s, Vt))
    rank = int((s > s[0] * max(Y.shape) * np.finfo(np.float64).eps).sum()) if s.size and s[0] > 0 else 0
    return U[:, :rank] * s[:rank], Vt[:rank].T


class Problem:
    """Observations Y (n, d), NaN where missing, ready for fitting ``q`` latents per row.

    Attributes
    ----------
    mean : array of shape (d,)
        Subtracted from Y.
    scale : float
        Y was divided by it after centring.
    groups : list of Group
    """

    def __init__(self, Y: np.ndarray, *, center: bool, device: str = "cpu"):
        self.dtype, self.centred, self.device = Y.dtype, center, device
        self.n, self.d = Y.shape
        Y = Y.astype(np.float64)
        observed = ~np.isnan(Y)
        self.count = int(observed.sum())
        counts = np.maximum(observed.sum(axis=0), 1)
        self.mean = np.where(observed, Y, 0).sum(axis=0) / counts if center else np.zeros(self.d)
        Y -= self.mean
        with np.errstate(over="ignore"):
            square = float(np.nanmean(Y * Y))
        self.scale = float(np.sqrt(square))
        if not np.isfinite(square):
            raise ValueError(f"Y must have a finite mean square, got {square}; rescale it")
        if self.scale <= 8 * np.finfo(np.float64).eps * np.abs(self.mean).max() or square < np.finfo(float).tiny:
            rule = "must vary around the means of its columns" if center else "must have entries other than zero"
            raise ValueError(
                f"Y {rule}, or there is nothing to explain; got {'a constant Y' if center else 'zeros'} (root mean "
                f"square {self.scale:.3g})"
            )
        Y /= self.scale
        self.groups = [
            Group(rows, columns, *reduce_columns(Y[:, columns] if rows is None else Y[np.ix_(rows, columns)], device))
            for rows, columns in group_columns(Y)
        ]
        self._scaled = Y

    def initial_latents(self, init, q: int, rng) -> np.ndarray:
        """Latents to start from: principal components of unit variance, standard normal draws, or given."""
        if isinstance(init, np.ndarray):
            return np.array(init, dtype=np.float64)
        if init == "random":
            return rng.standard_normal((self.n, q))
        if self.centred and len(self.groups) == 1 and self.groups[0].rows is None:
            scores = self.groups[0].reduced  # U s of the very matrix
            s = np.linalg.norm(scores, axis=0)
            U = scores / s
        else:
            Y = np.where(np.isnan(self._scaled), 0.0, self._scaled)
            U, s, _ = np.linalg.svd(Y - Y.mean(axis=0), full_matrices=False)
        if len(s) < q:  # directions that the data do not have
            U = np.pad(U, ((0, 0), (0, q - len(s))))
            s = np.pad(s, (0, q - len(s)))
        latents = U[:, :q] * np.sqrt(self.n)
        signs = np.sign(latents[np.abs(latents).argmax(axis=0), np.arange(q)])
        latents = latents * np.where(signs == 0, 1.0, signs)
        flat = s[:q] <= s[0] * 1e-12  # small draws instead
        latents[:, flat] = 0.01 * rng.standard_normal((self.n, int(flat.sum())))
        return latents

    def objective(self, kernel, q: int, jitter, dtype=None, check_interrupt=None) -> Objective:
        """The loss as a function of one flat vector, for a kernel in the units of Y.

        ``check_interrupt()`` is called before each evaluation.
        """
        return Objective(
            self,
            kernel.scaled(1.0 / self.scale**2),
            q,
            jitter,
            self.dtype if dtype is None else np.dtype(dtype),
            check_interrupt,
        )


class Objective:
    """``loss(theta) = -log p(Y | X) / d`` in nats per column of the scaled Y, with its gradient.

    ``theta`` holds the latents row by row, then the kernel's unconstrained free parameters and noise variance.

    Attributes
    ----------
    jitter : float
        What the last evaluation added to the diagonal, in scaled units.
    """

    def __init__(self, problem: Problem, kernel, q: int, jitter, dtype: np.dtype, check_interrupt=None):
        self.problem, self.q, self.dtype = problem, q, dtype
        self._check_interrupt = check_interrupt
        self._kernel = kernel  # in scaled units
        self._free = FreeParameters(self._kernel.compiled(q), self._kernel, _bijector)
        module = _backend.module_on(problem.device)
        kernel_objective = module.GplvmObjective64 if dtype == np.float64 else module.GplvmObjective32
        self._compiled = kernel_objective(problem.n, q)
        for group in problem.groups:
            self._compiled.add_group(
                group.rows, np.asfortranarray(group.reduced, dtype=dtype), float(len(group.columns))
            )
        self.noise_bijector = Softplus(NOISE_FLOOR)
        # Every evaluation starts from the same jitter: the loss is a function of theta, not of the way there.
        if isinstance(jitter, str):
            self._first_jitter, self._jitter_range = 0.0, JITTER_RANGE[dtype]
        else:
            self._first_jitter, self._jitter_range = float(jitter) / problem.scale**2, (0.0, 0.0)
        self.jitter = self._first_jitter

    @property
    def n_latents(self) -> int:
        return self.problem.n * self.q

    def pack(self, X, noise: float, kernel=None) -> np.ndarray:
        """Latents, noise and the kernel as it was given, or another (all in scaled units), to ``theta``.

        What lies below a floor starts just above it.
        """
        free = self._free if kernel is None else FreeParameters(kernel.compiled(self.q), kernel, _bijector)
        noise = self.noise_bijector.inverse(np.maximum(np.atleast_1d(float(noise)), 2 * self.noise_bijector.floor))
        return np.concatenate([np.ravel(X), free.initial(), noise])

    def unpack(self, theta: np.ndarray):
        """``theta`` to ``(X, kernel, noise)`` in scaled units."""
        X, u, noise = self._parts(theta)
        self._free.write(u)
        return X, self._kernel.copy(), noise

    def _parts(self, theta: np.ndarray):
        X = theta[: self.n_latents].reshape(self.problem.n, self.q)
        return X, theta[self.n_latents : -1], float(self.noise_bijector.forward(theta[-1:])[0])

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        if self._check_interrupt is not None:
            self._check_interrupt()
        X, u, noise = self._parts(theta)
        vector, module = self._free.vector(u), _backend.module_on(self.problem.device)
        code, pivot, self.jitter, value, dX, d_vector, d_noise = self._compiled.evaluate(
            self._free.compiled.tree_for(module),
            vector,
            np.ascontiguousarray(X, dtype=self.dtype),
            noise,
            self._first_jitter,
            *self._jitter_range,
        )
        if code:
            self._raise(X, vector, u, noise, code, pivot)
        tail = np.concatenate([self._free.pull(u, d_vector), self.noise_bijector.vjp(theta[-1:], d_noise)])
        gradient = np.concatenate([dX.ravel(), tail])
        gradient /= -self.problem.d
        return -value / self.problem.d, gradient

    def loss_offset(self) -> float:
        """Added to the loss, gives minus the log density per column in the units of Y."""
        return self.problem.count * float(np.log(self.problem.scale)) / self.problem.d

    def _raise(self, X, vector, u, noise, code, pivot):
        finite = np.isfinite(vector).all() and np.isfinite(noise) and np.isfinite(X).all()
        if not (finite and np.abs(X).max() < 1e100):
            values = ", ".join(f"{slot.name} {vector[slot.start]:.3g}" for slot in self._free.compiled.slots)
            raise NonFiniteError(
                f"the latents or parameters ran away (largest latent {np.abs(X).max():.3g}, {values}, noise variance "
                f"{noise:.3g}, in units of Y's mean square); lower learning_rate, or start from another init"
            )
        self._free.write(u)
        K = self._kernel(np.ascontiguousarray(X))
        K[np.diag_indices_from(K)] += noise + self.jitter
        raise_factorisation_error(K, code, pivot, self.jitter, "the covariance k(X, X) + noise_variance * I")


def _bijector(slot) -> Softplus:
    return Softplus(VARIANCE_FLOOR if slot.own_name in ("variance", "offset") else LENGTHSCALE_FLOOR)
