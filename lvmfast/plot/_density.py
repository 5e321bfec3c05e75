"""Densities over the plane: maps and contours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lvmfast._validation import check_integer
from lvmfast.grids import mesh
from lvmfast.plot._figure import COLORS, ask, axes_of, figure_of, finish, host

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colorbar import Colorbar
    from matplotlib.contour import ContourSet
    from matplotlib.lines import Line2D

__all__ = ["Contours", "DensityMap", "contours", "density"]


class DensityMap(NamedTuple):
    """``axes``, the ``map`` of densities, its ``colorbar``, and ``samples`` or None."""

    axes: Axes
    map: QuadMesh
    colorbar: Colorbar
    samples: Line2D | None
    figure = figure_of


class Contours(NamedTuple):
    """``axes``, the ``lines``, and None where there are none: what is ``filled`` between them, and ``samples``."""

    axes: Axes
    lines: ContourSet
    filled: ContourSet | None
    samples: Line2D | None
    figure = figure_of


def density(model, xlim, ylim, *, samples=None, n=200, title=None, ax=None) -> DensityMap:
    """``p(x_1, x_2)`` as a map of colours.

    Parameters
    ----------
    model : estimator, distribution, callable or array of shape (k, l)
        With ``log_prob``, ``log_density`` or ``score_samples``, such as :class:`lvmfast.FlowDensity`,
        :class:`lvmfast.GridLatentModel` or a distribution of :mod:`lvmfast.distributions`; a function from points
        (m, 2) to log densities (m,); or log densities at ``k`` even steps of ``ylim`` and ``l`` of ``xlim``.
    xlim, ylim : (low, high)
    samples : array of shape (m, 2), optional
        Points drawn on top.
    n : int, default=200
        Points along both axes.
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    DensityMap

    Raises
    ------
    TypeError, ValueError
        If the model has no densities, or they or ``samples`` have another shape or are NaN.
    """
    x, y, values = _log_densities(model, xlim, ylim, n)
    samples = _as_samples(samples)
    ax = axes_of(ax, (6.8, 5.5))
    with np.errstate(over="ignore"):
        shown = ax.pcolormesh(x, y, np.exp(values), cmap="viridis", shading="nearest", rasterized=True)
    bar = ax.figure.colorbar(shown, ax=ax, label="density p(x)")
    points = _place(ax, samples, xlim, ylim, title, {"color": "w", "mec": "k", "mew": 0.3, "ms": 2.5})
    return DensityMap(ax, shown, bar, points)


def contours(
    model,
    xlim,
    ylim,
    *,
    shares=(0.1, 0.3, 0.5, 0.7, 0.9, 0.99),
    filled=True,
    samples=None,
    n=200,
    title=None,
    ax=None,
) -> Contours:
    """Lines of equal density around the given shares of the probability, of a density over the plane.

    Parameters
    ----------
    model
        As for :func:`density`; log densities may lack a constant.
    xlim, ylim : (low, high)
        The rectangle, which should hold all but little of the probability: shares are of what it holds.
    shares : sequence of float in (0, 1)
    filled : bool, default=True
        Whether the rings between them are coloured.
    samples : array of shape (m, 2), optional
        Points drawn on top.
    n : int, default=200
        Points of the grid along both axes.
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    Contours

    Raises
    ------
    TypeError, ValueError
        For a share outside (0, 1); if the model has no densities, or they have another shape, are NaN or infinite, or
        are 0 everywhere.

    Notes
    -----
    The line around a share is the least density among the cells of the grid that hold it together, the densest ones
    first: the border of the highest-density region.
    """
    shares = np.asarray(shares, dtype=float)
    if shares.ndim != 1 or not len(shares) or not np.all((shares > 0) & (shares < 1)):
        raise ValueError(f"shares must lie in (0, 1), got {shares.tolist()}")
    x, y, values = _log_densities(model, xlim, ylim, n)
    samples = _as_samples(samples)
    if not np.isfinite(values.max()):
        raise ValueError(f"log densities must have a finite maximum, got {values.max()}; look at xlim and ylim")
    values = np.exp(values - values.max())
    descending = np.sort(values, axis=None)[::-1]
    held = np.cumsum(descending)
    levels = np.unique(descending[np.searchsorted(held, shares * held[-1]).clip(max=len(held) - 1)])
    ax = axes_of(ax, (6, 5.5))
    between = None
    if filled:
        between = ax.contourf(x, y, values, [*levels, max(1.0, levels[-1] * (1 + 1e-9))], cmap="Blues")
    lines = ax.contour(x, y, values, levels, colors="k", linewidths=0.7)
    points = _place(ax, samples, xlim, ylim, title, {"color": COLORS[1], "mew": 0, "ms": 3, "alpha": 0.6})
    return Contours(ax, lines, between, points)


def _log_densities(model, xlim, ylim, n):
    """Both axes, and log densities (len(y), len(x)) at their points."""
    limits = {"xlim": xlim, "ylim": ylim}
    for name, limit in limits.items():
        if np.shape(limit) != (2,) or not -np.inf < limit[0] < limit[1] < np.inf:
            raise ValueError(f"{name} must be (low, high), finite with low < high, got {limit!r}")
    n = check_integer(n, "n", 2)
    method = next((name for name in ("log_prob", "log_density", "score_samples") if hasattr(model, name)), None)
    if method is None and not callable(model):
        if hasattr(model, "fit"):
            raise TypeError(f"model must have log_prob, log_density or score_samples, got {type(model).__name__}")
        values = host(model, float)
        if values.ndim != 2 or min(values.shape) < 2:
            raise ValueError(f"log densities must have shape (k, l) with k, l >= 2, got {values.shape}")
        x, y = np.linspace(*xlim, values.shape[1]), np.linspace(*ylim, values.shape[0])
    else:
        grid = mesh(np.linspace(*xlim, n), np.linspace(*ylim, n), indexing="xy")
        x, y = grid.axes
        if method is None:
            values = host(model(grid.points), float)
        else:  # a model that knows a mesh from scattered points is faster on it
            values = ask(model, method, grid if method == "log_density" else grid.points)
        if values.shape != (len(grid),):
            raise ValueError(f"log densities must be one number for each of {len(grid)} points, got {values.shape}")
        values = grid.reshape(values)
    if np.isnan(values).any():
        raise ValueError("log densities must be numbers, got NaN")
    return x, y, values


def _as_samples(samples):
    if samples is None:
        return None
    samples = host(samples, float)
    if samples.ndim != 2 or samples.shape[1] != 2:
        raise ValueError(f"samples must have shape (m, 2), got {samples.shape}")
    return samples


def _place(ax, samples, xlim, ylim, title, look):
    """The samples, labels and limits."""
    points = None
    if samples is not None:
        (points,) = ax.plot(*samples.T, "o", label="samples", **look)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=xlim, ylim=ylim)
    finish(ax, title)
    return points
