"""The latents over which a grid model sums, with the volumes that they stand for."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, ndtri, roots_hermitenorm

from lvmfast import _backend
from lvmfast._validation import as_float_array, as_matrix
from lvmfast.distributions import MultivariateNormalDiag, MultivariateNormalTriL, Normal, Uniform
from lvmfast.grids import Mesh

__all__ = ["LatentRule", "make_rule", "prior_log_density"]

TAIL = 1e-9  # of the prior's mass beyond either end of the grid that is taken where none is given
POINTS, NODES = {1: 1001, 2: 101}, {1: 64, 2: 32}  # along each direction, of cells and of Gauss-Hermite's rule


class LatentRule:
    """``integral g(z) dz ~= sum_k weights_k g(latents_k)``.

    Attributes
    ----------
    latents : ndarray of shape (m, q)
    weights : ndarray of shape (m,)
        Volumes > 0.
    log_masses : ndarray of shape (m,)
        ``log weights_k + log prior(latents_k)``.
    cells : bool
        Whether each latent is the middle of a box that no other has.
    """

    def __init__(self, latents, weights, log_masses, cells: bool):
        self.latents, self.weights, self.log_masses, self.cells = latents, weights, log_masses, cells
        if not (log_masses > -np.inf).any():
            raise ValueError("grid must reach the prior's support, got latents that all have prior density 0")

    @property
    def prior_mass(self) -> float:
        """``sum_k weights_k prior(latents_k)``."""
        return float(np.exp(logsumexp(self.log_masses)))


def make_rule(grid, n_grid, prior, n_components: int) -> LatentRule:
    """The rule of a model's arguments, which it checks."""
    if isinstance(grid, str):
        if grid != "gauss-hermite":
            raise ValueError(f"grid must be None, 'gauss-hermite', latents or (latents, weights), got {grid!r}")
        return _hermite_rule(n_grid or NODES[n_components], prior, n_components)
    if grid is None:
        axes = _axes_of(prior, n_grid or POINTS[n_components], n_components)
        return _cells_rule(axes, prior=prior)
    if n_grid is not None:
        raise ValueError(f"n_grid must be None where grid is an array, got {n_grid!r}")
    if isinstance(grid, tuple) and len(grid) == 2:
        return _given_rule(grid, prior, n_components)
    if isinstance(grid, Mesh):
        axes = [_backend.to_numpy(axis).astype(np.float64) for axis in grid.axes]
        axes = [axes[k] for k in grid.order], grid.order
    else:
        axis = _backend.to_numpy(as_float_array(grid, "grid")).astype(np.float64)
        if axis.ndim == 2 and axis.shape[1] == 1:
            axis = axis[:, 0]
        if axis.ndim != 1:
            raise ValueError(
                f"grid must have shape (m,), or be a lvmfast.grids.mesh of several axes, got shape {axis.shape}; other "
                "points go with their weights, (latents, weights)"
            )
        axes = [axis], (0,)
    if len(axes[0]) != n_components:
        raise ValueError(f"grid must have n_components = {n_components} directions, got {len(axes[0])}")
    return _cells_rule(*axes, prior=prior)


def _cells_rule(axes, order=None, *, prior) -> LatentRule:
    """Cells that meet half way between neighbours; the outermost reach as far out as in."""
    for axis in axes:
        if not np.isfinite(axis).all() or not (np.diff(axis) > 0).all() or len(axis) < 2:
            raise ValueError(f"grid must have two finite latents or more that increase in each direction, got {axis}")
    q, shape = len(axes), tuple(map(len, axes))
    order = tuple(range(q)) if order is None else order
    latents, weights = np.empty((*shape, q)), np.ones(shape)
    for k, axis in enumerate(axes):
        along = [-1 if j == k else 1 for j in range(q)]
        latents[..., order[k]] = axis.reshape(along)
        weights = weights * np.diff(edges_of(axis)).reshape(along)
    latents, weights = latents.reshape(-1, q), weights.ravel()
    return LatentRule(latents, weights, np.log(weights) + prior_log_density(prior, latents), True)


def edges_of(axis: np.ndarray) -> np.ndarray:
    """The ends of the cells of latents that increase, one more than they are."""
    if len(axis) == 1:
        return np.array([axis[0], axis[0]])
    middles = 0.5 * (axis[1:] + axis[:-1])
    return np.concatenate([[2 * axis[0] - middles[0]], middles, [2 * axis[-1] - middles[-1]]])


def _axes_of(prior, n: int, q: int):
    """Middles of n equal cells in each direction, between the ends of what the prior reaches."""
    if isinstance(prior, Uniform):
        low, high = (np.broadcast_to(_backend.to_numpy(end), (q,)) for end in (prior.low, prior.high))
    else:
        try:
            mean, std = (_vector(getattr(prior, name), q) for name in ("mean", "stddev"))
        except NotImplementedError:
            raise ValueError(
                f"grid must be given for a prior whose mean and stddev are not known, got {prior!r}"
            ) from None
        low, high = mean + ndtri(TAIL) * std, mean - ndtri(TAIL) * std
    return [a + (b - a) * (np.arange(n) + 0.5) / n for a, b in zip(low, high, strict=True)]


def _vector(value, q: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(_backend.to_numpy(value), np.float64), (q,))


def _hermite_rule(n: int, prior, q: int) -> LatentRule:
    if not isinstance(prior, (Normal, MultivariateNormalDiag, MultivariateNormalTriL)):
        raise ValueError(f"prior must be a Normal or multivariate normal for grid='gauss-hermite', got {prior!r}")
    nodes, weights = roots_hermitenorm(n)
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights) - np.log(weights.sum())
    shape = (n,) * q
    u = np.stack(np.meshgrid(*(nodes,) * q, indexing="ij"), axis=-1).reshape(-1, q)
    log_masses = sum(
        np.broadcast_to(log_weights.reshape([-1 if j == k else 1 for j in range(q)]), shape) for k in range(q)
    )
    mean = _vector(prior.mean, q)
    if isinstance(prior, MultivariateNormalTriL):
        latents = mean + u @ np.asarray(_backend.to_numpy(prior.scale_tril), np.float64).T
    else:
        latents = mean + u * _vector(prior.stddev, q)
    log_masses = np.ascontiguousarray(log_masses).ravel()
    kept = log_masses > -np.inf  # far nodes of long rules weigh nothing
    latents, log_masses = latents[kept], log_masses[kept]
    weights = np.exp(log_masses - prior_log_density(prior, latents))
    return LatentRule(latents, weights, log_masses, False)


def _given_rule(grid, prior, q: int) -> LatentRule:
    latents = as_matrix(_backend.to_numpy(grid[0]), "grid[0]", columns=q, dtype=np.float64)
    weights = np.asarray(_backend.to_numpy(as_float_array(grid[1], "grid[1]")), np.float64)
    if weights.shape != (len(latents),) or not len(latents):
        raise ValueError(f"grid must be (latents (m, q), weights (m,)), got shapes {latents.shape} and {weights.shape}")
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"grid's weights must be finite and > 0, got a least one of {weights.min()}")
    return LatentRule(latents, weights, np.log(weights) + prior_log_density(prior, latents), False)


def prior_log_density(prior, latents: np.ndarray) -> np.ndarray:
    """``log prior(z)`` of latents (m, q), shape (m,): of vectors, or of q independent numbers."""
    log_prob = prior.log_prob(latents)
    log_prob = np.asarray(_backend.to_numpy(log_prob), np.float64)
    return log_prob.sum(axis=-1) if log_prob.ndim == 2 else log_prob
