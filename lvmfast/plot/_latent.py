"""Latent spaces: scatters, and images laid out over them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast.grids import Mesh, latent_grid, prior_grid
from lvmfast.plot._figure import COLORS, ask, axes_of, figure_of, host

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

__all__ = ["LatentScatter", "image_grid", "latent_scatter", "manifold"]

MARKERS = ("o", "^", "s", "D", "v", "P", "X")
KINDS = len(COLORS) * len(MARKERS)  # of labels that can be told apart
LINES = 21  # of a legend's column
TICKS = 8  # labels along a side of a manifold, at most


class LatentScatter(NamedTuple):
    """``axes``; ``points``, one PathCollection for each of ``labels``, or one of all where ``labels`` is empty: where
    none were given, or so many numbers that they have a colour bar."""

    axes: Axes
    points: tuple[PathCollection, ...]
    labels: tuple
    figure = figure_of


def latent_scatter(model, labels=None, *, data=None, components=(0, 1), title=None, ax=None) -> LatentScatter:
    """Two latents of every row against each other, a colour and a shape for each label.

    Numbers of more than 42 kinds have a scale of colours.

    Parameters
    ----------
    model : estimator, or array of shape (n, q)
        Fitted, with ``embedding_`` (:class:`lvmfast.GPLVM`) or ``transform`` (:class:`lvmfast.VAE`); or the latents.
    labels : array of shape (n,), optional
    data : array of shape (n, d), optional
        Rows of which the latents are shown, which ``transform`` gives; needed where a model has no ``embedding_``.
    components : (int, int), default=(0, 1)
        Which latents.
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    LatentScatter

    Raises
    ------
    ValueError
        If shapes do not agree, ``components`` are not two latents, ``data`` is missing, or labels are NaN or words of
        more than 42 kinds.
    """
    X = _latents(model, data)
    chosen = list(components)
    if len(chosen) != 2 or any(isinstance(k, bool) or k not in range(X.shape[1]) for k in chosen):
        raise ValueError(f"components must be two of the {X.shape[1]} latents, counted from 0, got {components!r}")
    X = X[:, chosen]
    if labels is not None:
        labels = host(labels)
        if labels.shape != (len(X),):
            raise ValueError(f"labels must have shape ({len(X)},), got {labels.shape}")
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError("labels must be no NaN; leave out these rows, or give them a label of their own")
    kinds = [] if labels is None else np.unique(labels)
    scale = len(kinds) > KINDS
    if scale and labels.dtype.kind not in "iuf":
        raise ValueError(f"labels must be numbers, or of at most {KINDS} kinds, got {len(kinds)} kinds")
    ax = axes_of(ax, (7, 6.5))
    ax.set(xlabel=f"latent {chosen[0] + 1}", ylabel=f"latent {chosen[1] + 1}")
    if scale:
        points, kinds = [ax.scatter(*X.T, s=14, c=labels, cmap="viridis", alpha=0.8, lw=0)], []
        ax.figure.colorbar(points[0], ax=ax, label="label").solids.set(alpha=1)
    elif labels is None:
        points = [ax.scatter(*X.T, s=14, color=COLORS[0], alpha=0.8, lw=0)]
    else:
        points = []
        for k, label in enumerate(kinds):
            look = {"color": COLORS[k % len(COLORS)], "marker": MARKERS[k // len(COLORS) % len(MARKERS)]}
            points.append(ax.scatter(*X[labels == label].T, s=22, alpha=0.8, lw=0, label=str(label), **look))
        if points:
            options = {"ncols": -(-len(kinds) // LINES), "frameon": False}
            ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **options)
    if title is not None:
        ax.set_title(title)
    return LatentScatter(ax, tuple(points), tuple(kinds))


def _latents(model, data) -> np.ndarray:
    if not hasattr(model, "fit"):
        X = host(model, float)
    else:
        check_is_fitted(model)
        if data is None and not hasattr(model, "embedding_"):
            raise ValueError(f"data must be given for {type(model).__name__}, which keeps no rows: pass data=X")
        X = host(model.embedding_ if data is None else model.transform(data), float)
    if X.ndim != 2 or X.shape[1] < 2:
        raise ValueError(f"latents must have shape (n, q) with q >= 2, got {X.shape}")
    return X


def image_grid(images, *, title=None, limits=None, ax=None):
    """Images side by side, each stretched to its own range, or all to the same.

    Parameters
    ----------
    images : array of shape (rows, columns, height, width)
    title : str, optional
    limits : (low, high), optional
        White and black for all images, such as (0, 1) for probabilities; each has its own range where None.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib AxesImage
        One unit of the axes is one image, the top left one between (0, 0) and (1, 1).

    Raises
    ------
    ValueError
        If images have another shape, or limits are not (low, high) with low < high.
    """
    images = host(images, float)
    if images.ndim != 4 or not images.size:
        raise ValueError(f"images must have shape (rows, columns, height, width), got {images.shape}")
    if limits is None:
        low, high = images.min(axis=(2, 3), keepdims=True), images.max(axis=(2, 3), keepdims=True)
    else:
        low, high = limits
        if not low < high:
            raise ValueError(f"limits must be (low, high) with low < high, got {limits!r}")
    span = np.maximum(high - low, np.finfo(float).tiny)
    rows, columns, height, width = images.shape
    tiles = np.clip((images - low) / span, 0, 1).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    side = 7 / max(rows * height, columns * width)
    ax = axes_of(ax, (side * columns * width, side * rows * height + 0.4 * (title is not None)))
    extent = (0, columns, rows, 0)
    look = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "none"}
    shown = ax.imshow(tiles, extent=extent, aspect=height / width, **look)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title)
    return shown


def manifold(model, grid=None, image_shape=None, *, limits=None, title=None, ax=None):
    """``x = G(z)`` for every z of a grid of two latents, an image at its place, the second latent growing upwards.

    Parameters
    ----------
    model : estimator, callable or array of shape (m, ...)
        Fitted, with ``inverse_transform`` (:class:`lvmfast.VAE`, :class:`lvmfast.GPLVM`) or ``generate``
        (:class:`lvmfast.ImplicitModel`); a function from latents (m, 2); or the images of the grid's points.
    grid : lvmfast.grids.Mesh, optional
        Of two axes, each rising. Default: ``latent_grid(embedding_, 15)`` where the model has an embedding, else
        ``prior_grid(15)``.
    image_shape : (int, int), optional
        Height and width. Default: that of the images where they have one, or a square.
    limits : (float, float), optional
        White and black for all images. Default: (0, 1) of a VAE with a Bernoulli likelihood, else for each image its
        own range.
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib AxesImage

    Raises
    ------
    TypeError, ValueError
        If the grid is no mesh of two axes that rise, the model cannot decode, or rows are no images of that shape.
    """
    grid = _default_grid(model) if grid is None else grid
    if not isinstance(grid, Mesh):
        raise TypeError(f"grid must be a Mesh, as lvmfast.grids.mesh gives it, got {type(grid).__name__}")
    first, second = axes = [host(axis, float) for axis in grid.axes] if grid.ndim == 2 else (None, None)
    if grid.ndim != 2 or any((np.diff(axis) <= 0).any() for axis in axes):
        raise ValueError(f"grid must have two axes, each rising, got {grid!r}")
    values = grid.reshape(_decoded(model, grid))
    if grid.indexing == "ij":
        values = values.swapaxes(0, 1)
    height, width = _shape_of_images(values.shape[2:], image_shape)
    tiles = values[::-1].reshape(len(second), len(first), height, width)
    if limits is None and getattr(model, "likelihood", None) == "bernoulli":
        limits = (0, 1)
    shown = image_grid(tiles, limits=limits, title=title, ax=axes_of(ax, (7, 7)))
    ax = shown.axes
    ax.set_axis_on()
    for axis, name, ticks, places in (
        (ax.xaxis, "latent 1", first, np.arange(len(first)) + 0.5),
        (ax.yaxis, "latent 2", second, len(second) - 0.5 - np.arange(len(second))),
    ):
        step = -(-len(ticks) // TICKS)
        some = slice((len(ticks) - 1) % step // 2, None, step)
        digits = 2 - math.floor(math.log10(np.ptp(ticks) or 1.0))
        words = [f"{round(value, digits) + 0.0:g}".replace("-", "\N{MINUS SIGN}") for value in ticks[some].tolist()]
        axis.set_ticks(places[some], words)
        axis.set_label_text(name)
    return shown


def _default_grid(model) -> Mesh:
    if hasattr(model, "embedding_"):
        return latent_grid(host(model.embedding_), 15)
    if hasattr(model, "fit") or callable(model):
        return prior_grid(15)
    raise ValueError("grid must be given with images; pass the Mesh whose points they belong to")


def _decoded(model, grid: Mesh) -> np.ndarray:
    points = np.asarray(host(grid.points), getattr(model, "dtype", None))
    for method in ("inverse_transform", "generate"):
        if hasattr(model, method):
            return ask(model, method, points)
    if hasattr(model, "fit"):
        raise TypeError(f"model must have inverse_transform or generate, got {type(model).__name__}")
    return host(model(points) if callable(model) else model, float)


def _shape_of_images(found: tuple, image_shape) -> tuple[int, int]:
    """Height and width of images whose values have the shape ``found``."""
    size = math.prod(found)
    if image_shape is not None:
        height, width = image_shape
        if height * width != size:
            raise ValueError(f"image_shape must hold the {size} numbers of a row, got {image_shape!r}")
        return height, width
    if len(found) == 2 or (len(found) == 3 and found[2] == 1):
        return found[:2]
    side = math.isqrt(size)
    if side * side != size or len(found) > 1:
        raise ValueError(f"image_shape must be given for rows of shape {found}, which are no squares; got None")
    return side, side
