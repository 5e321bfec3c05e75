"""Posteriors over latents, on a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lvmfast._validation import check_integer
from lvmfast.plot._figure import COLORS, axes_of, figure_of, finish, host

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import FillBetweenPolyCollection, TriMesh
    from matplotlib.colorbar import Colorbar
    from matplotlib.lines import Line2D
    from matplotlib.tri import TriContourSet

__all__ = ["PosteriorCurve", "PosteriorMap", "posterior"]

MOST, MARGIN = 0.999, 0.5  # shown: the box of the region that holds so much, and half its extent on either side


class PosteriorCurve(NamedTuple):
    """``axes``, the ``density``, the ``mean`` (a vertical line), the ``mode``, the ``interval`` with equal tails (a
    bar) and the ``region`` of the densest latents (an area)."""

    axes: Axes
    density: Line2D
    mean: Line2D
    mode: Line2D
    interval: Line2D
    region: FillBetweenPolyCollection
    figure = figure_of


class PosteriorMap(NamedTuple):
    """``axes``, the ``density``, its ``colorbar``, the ``mean``, the ``mode`` and the border of the ``region``."""

    axes: Axes
    density: TriMesh
    colorbar: Colorbar
    mean: Line2D
    mode: Line2D
    region: TriContourSet | None
    figure = figure_of


def posterior(grid_posterior, row=0, *, level=0.95, title=None, ax=None) -> PosteriorCurve | PosteriorMap:
    """``p(z | x)`` of one row: a curve with mean, mode, credible interval and highest-density region, or of two
    latents a map with mean, mode and the border of that region.

    Parameters
    ----------
    grid_posterior : GridPosterior
        Of one or two latents: what :meth:`lvmfast.GridLatentModel.posterior` returns.
    row : int, default=0
        Which row of the X that it was asked for.
    level : float in (0, 1), default=0.95
        Probability of the interval and of the region.
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    PosteriorCurve or PosteriorMap

    Raises
    ------
    ValueError
        If there is no such row, it lies where the model has no density, or there are more than two latents.
    """
    latents, densities = host(grid_posterior.latents, float), host(grid_posterior.density, float)
    row = check_integer(row, "row", 0)
    if row >= len(densities):
        raise ValueError(f"row must be below {len(densities)}, the rows of the posterior, got {row}")
    if latents.shape[1] > 2:
        raise ValueError(f"the posterior must have one or two latents, got {latents.shape[1]}")
    if not host(grid_posterior.supported)[row]:
        raise ValueError(f"row {row} has no posterior: the model's density is 0 there")
    mean, mode = (host(part, float)[row] for part in (grid_posterior.mean, grid_posterior.mode))
    held = latents[host(grid_posterior.credible_region(MOST))[row]]
    more = MARGIN * np.ptp(held, axis=0)
    limits = np.stack([held.min(axis=0) - more, held.max(axis=0) + more]).clip(latents.min(axis=0), latents.max(axis=0))
    draw = _curve if latents.shape[1] == 1 else _map
    return draw(grid_posterior, row, latents, densities[row], mean, mode, limits.T, level, title, ax)


def _curve(grid_posterior, row, latents, p, mean, mode, limits, level, title, ax) -> PosteriorCurve:
    order = np.argsort(latents[:, 0])
    z, p = latents[order, 0], p[order]
    low, high = host(grid_posterior.credible_interval(level), float)[row, 0]
    region = host(grid_posterior.credible_region(level))[row, order]
    ax = axes_of(ax, (8, 4.5))
    (line,) = ax.plot(z, p, color=COLORS[0], lw=1.8, label="p(z | x)")
    look = {"color": COLORS[0], "alpha": 0.2, "lw": 0}
    area = ax.fill_between(z, p, where=region, label=f"{100 * level:g} %, densest", **look)
    height = 1.08 * p.max()
    look = {"color": COLORS[1], "lw": 1.6, "ms": 10}
    (bar,) = ax.plot([low, high], [height, height], "|-", label=f"{100 * level:g} %, equal tails", **look)
    middle = ax.axvline(mean[0], color=COLORS[1], ls="--", lw=1.8, label=f"mean, {mean[0]:.3g}")
    look = {"color": COLORS[2], "ms": 8, "mec": "w", "clip_on": False, "zorder": 4}
    (top,) = ax.plot(mode[0], np.interp(mode[0], z, p), "D", label=f"mode, {mode[0]:.3g}", **look)
    ax.set(xlabel="z", ylabel="density p(z | x)", ylim=(0, 1.15 * p.max()))
    if limits[0, 0] < limits[0, 1]:
        ax.set_xlim(limits[0])
    finish(ax, title)
    return PosteriorCurve(ax, line, middle, top, bar, area)


def _map(grid_posterior, row, latents, p, mean, mode, limits, level, title, ax) -> PosteriorMap:
    region = host(grid_posterior.credible_region(level))[row]
    ax = axes_of(ax, (6.8, 5.5))
    shown = ax.tripcolor(*latents.T, p, shading="gouraud", cmap="viridis", rasterized=True)
    bar = ax.figure.colorbar(shown, ax=ax, label="density p(z | x)")
    border = None
    if not region.all():  # otherwise the grid's own border
        border = ax.tricontour(*latents.T, p, [p[region].min()], colors="w", linewidths=1.2)
        ax.plot([], [], color="0.6", lw=1.2, label=f"{100 * level:g} % region")
    look = {"mec": "k", "mew": 0.8, "zorder": 4}
    (middle,) = ax.plot(*mean, "o", color=COLORS[1], ms=8, label="mean", **look)
    (top,) = ax.plot(*mode, "D", color="w", ms=8, label="mode", **look)
    ax.set(xlabel="$z_1$", ylabel="$z_2$")
    if (limits[:, 0] < limits[:, 1]).all():
        ax.set(xlim=limits[0], ylim=limits[1])
    finish(ax, title)
    return PosteriorMap(ax, shown, bar, middle, top, border)
