"""Pictures of latent spaces. Needs matplotlib: ``pip install 'lvmfast[plot]'``."""

from __future__ import annotations

import numpy as np

__all__ = ["image_grid", "latent_scatter", "loss_trace", "new_figure"]


def new_figure(figsize=(7, 7)):
    """A figure and its axes, without a window and without touching pyplot's state."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'lvmfast[plot]'") from None
    figure = Figure(figsize=figsize, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def latent_scatter(X, labels=None, *, title=None, ax=None):
    """Two-dimensional latents, coloured by integer label.

    Parameters
    ----------
    X : array of shape (n, 2)
    labels : array of shape (n,), optional
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    ax : matplotlib axes
    """
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != 2:
        raise ValueError(f"X must have shape (n, 2), got {X.shape}")
    if ax is None:
        _, ax = new_figure()
    if labels is None:
        ax.scatter(X[:, 0], X[:, 1], s=12)
    else:
        labels = np.asarray(labels)
        if labels.shape != (len(X),):
            raise ValueError(f"labels must have shape ({len(X)},), got {labels.shape}")
        for k, label in enumerate(np.unique(labels)):
            rows = labels == label
            ax.scatter(X[rows, 0], X[rows, 1], s=22, color=f"C{k % 10}", alpha=0.8, lw=0, label=str(label))
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    ax.set_xlabel("latent 1")
    ax.set_ylabel("latent 2")
    if title:
        ax.set_title(title)
    return ax


def image_grid(images, *, title=None, extent=None, limits=None, ax=None):
    """Images side by side, each stretched to its own range, or all to the same.

    Parameters
    ----------
    images : array of shape (rows, columns, height, width)
    title : str, optional
    extent : (left, right, bottom, top), optional
        What the grid spans, as axis labels.
    limits : (low, high), optional
        White and black for all images, such as (0, 1) for probabilities; each has its own range where None.
    ax : matplotlib axes, optional

    Returns
    -------
    ax : matplotlib axes
    """
    images = np.asarray(images, dtype=float)
    if images.ndim != 4:
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
    if ax is None:
        _, ax = new_figure()
    ax.imshow(1 - tiles, cmap="gray", vmin=0, vmax=1, interpolation="none", extent=extent, aspect="equal")
    if extent is None:
        ax.set_axis_off()
    else:
        ax.set_xlabel("latent 1")
        ax.set_ylabel("latent 2")
    if title:
        ax.set_title(title)
    return ax


def loss_trace(losses, *, label=None, ax=None):
    """The loss of a fit by iteration."""
    if ax is None:
        _, ax = new_figure((7, 4))
    ax.plot(np.arange(len(losses)), losses, label=label)
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss: $-$log marginal likelihood per pixel, nats")
    ax.grid(alpha=0.3)
    return ax
