"""The posterior of the latents of a grid model."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_shape, check_positive
from lvmfast.models._grid_latent_rule import edges_of
from lvmfast.random import uniform

__all__ = ["GridPosterior"]


class GridPosterior:
    """``p(z_k | x_i) = prior(z_k) N(x_i; f(z_k), noise) / p(x_i)``, with ``sum_k weights_k p(z_k | x_i) = 1``.

    Made on the latents of a grid by :meth:`GridLatentModel.posterior`. Arrays have the dtype of the rows and live where
    these do.

    Attributes
    ----------
    latents : ndarray of shape (m, q)
    weights : ndarray of shape (m,)
        Volumes for which the latents stand.
    masses : array of shape (n, m)
        ``weights_k p(z_k | x_i)``: rows of sum 1, NaN where ``supported`` is not.
    log_evidence : array of shape (n,)
        ``log p(x_i)``, nats.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> model = lvm.GridLatentModel(lambda z: z**2, 0.01)
    >>> p = model.posterior([[1.0]])  # z is near 1 or near -1
    >>> abs(p.mode.round(2)), p.std.round(2), abs(p.mean) < 1e-9
    (array([[0.99]]), array([[0.99]]), array([[ True]]))
    >>> float(p.latents[p.credible_region(0.9)[0]].min().round(2))
    -1.07
    """

    def __init__(self, rule, masses, log_evidence):
        self.latents, self.weights, self._cells = rule.latents, rule.weights, rule.cells
        self.masses, self.log_evidence = masses, log_evidence

    @property
    def supported(self):
        """Whether ``p(x_i) > 0``, shape (n,): elsewhere there is no posterior, and all of it is NaN."""
        return self.log_evidence > -np.inf

    @property
    def density(self):
        """``p(z_k | x_i)``, shape (n, m)."""
        xp = _backend.namespace(self.masses)
        return self.masses / xp.asarray(self.weights, self.masses.dtype)

    @property
    def mean(self):
        """``sum_k masses_ik z_k``, shape (n, q)."""
        return self.masses @ self._own(self.latents)

    @property
    def std(self):
        """Standard deviations of each latent, shape (n, q)."""
        xp = _backend.namespace(self.masses)
        away = (self._own(column) - mean[:, None] for column, mean in zip(self.latents.T, self.mean.T, strict=True))
        return xp.sqrt(xp.stack([(self.masses * (a * a)).sum(axis=1) for a in away], axis=1))

    @property
    def mode(self):
        """The latent of the grid where the density is greatest, shape (n, q)."""
        xp = _backend.namespace(self.masses)
        best = xp.argmax(xp.where(self.supported[:, None], self.density, 0), axis=1)
        return xp.where(self.supported[:, None], self._own(self.latents)[best], np.nan)

    def credible_interval(self, level=0.95):
        """Ends between which each latent lies with probability ``level``, as much below as above, shape (n, q, 2).

        The mass of a latent is spread evenly over its cell, which reaches half way to its neighbours.

        Parameters
        ----------
        level : float in (0, 1), default=0.95
        """
        level = self._checked(level)
        ends = [
            [self._quantile(j, p) for p in (0.5 - level / 2, 0.5 + level / 2)] for j in range(self.latents.shape[1])
        ]
        ends = np.moveaxis(np.array(ends), -1, 0)
        return _backend.like(ends.astype(self.masses.dtype), self.masses)

    def credible_region(self, level=0.95):
        """The latents of greatest density that together have probability ``level`` or more: bool, shape (n, m).

        With several modes it can be in pieces. All False where x is not supported.

        Parameters
        ----------
        level : float in (0, 1), default=0.95
        """
        level = self._checked(level)
        masses = _backend.to_numpy(self.masses).astype(np.float64)
        density, region = masses / self.weights, np.zeros(masses.shape, bool)
        for i in np.flatnonzero(_backend.to_numpy(self.supported)):
            order = np.argsort(-density[i], kind="stable")
            held = np.cumsum(masses[i, order])
            region[i, order[: int(np.searchsorted(held, level * held[-1])) + 1]] = True
        return _backend.like(region, self.masses)

    def sample(self, n=None, *, rng=None):
        """Draws of the latents, shape (*n, rows, q): of the grid's latents, anywhere in their cells where it has cells.

        Parameters
        ----------
        n : int or tuple of int, optional
            How many of each row; without it one.
        rng : None, int or numpy random generator, optional
        """
        shape = () if n is None else as_shape(n)
        masses = _backend.to_numpy(self.masses).astype(np.float64)
        rows, q = len(masses), self.latents.shape[1]
        u = uniform(size=(*shape, rows, 1 + q), rng=rng)
        draws = np.full((*shape, rows, q), np.nan)
        ends = [edges_of(np.unique(self.latents[:, j])) for j in range(q)] if self._cells else None
        for i in np.flatnonzero(_backend.to_numpy(self.supported)):
            held = np.cumsum(masses[i])
            k = np.searchsorted(held, u[..., i, 0] * held[-1], side="right").clip(max=len(held) - 1)
            draws[..., i, :] = self.latents[k]
            for j in range(q) if self._cells else ():
                cell = np.searchsorted(ends[j], self.latents[k, j]) - 1
                draws[..., i, j] = ends[j][cell] + u[..., i, 1 + j] * (ends[j][cell + 1] - ends[j][cell])
        return _backend.like(draws.astype(self.masses.dtype), self.masses)

    def __len__(self) -> int:
        return len(self.masses)

    def __repr__(self) -> str:
        n, m = self.masses.shape
        return f"GridPosterior({n} rows, {m} latents of {self.latents.shape[1]} dimensions)"

    def _own(self, array):
        return _backend.namespace(self.masses).asarray(array, self.masses.dtype)

    @staticmethod
    def _checked(level) -> float:
        if check_positive(level, "level") >= 1:
            raise ValueError(f"level must lie in (0, 1), got {level!r}")
        return float(level)

    def _quantile(self, j: int, p: float) -> np.ndarray:
        """Of latent j, for every row."""
        values, place = np.unique(self.latents[:, j], return_inverse=True)
        order = np.argsort(place.ravel(), kind="stable")
        starts = np.searchsorted(place.ravel()[order], np.arange(len(values)))
        masses = np.add.reduceat(_backend.to_numpy(self.masses).astype(np.float64)[:, order], starts, axis=1)
        ends, held = edges_of(values), np.cumsum(masses, axis=1)
        cell = np.minimum((held < p * held[:, -1:]).sum(axis=1), len(values) - 1)
        rows = np.arange(len(masses))
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = 1 - (held[rows, cell] - p * held[:, -1]) / masses[rows, cell]
        return ends[cell] + inside * (ends[cell + 1] - ends[cell])
