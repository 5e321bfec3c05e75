"""Pictures of latent spaces and densities. Needs matplotlib: ``pip install 'lvmfast[plot]'``."""

from __future__ import annotations

import numpy as np

__all__ = ["COLORS", "contours", "curves", "image_grid", "latent_scatter", "loss_trace", "new_figure"]

# Told apart by colour-blind eyes: M. Okabe & K. Ito, "Color universal design" (2008).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))


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


def curves(x, functions, *, filled=(), xlabel="x", ylabel="density", ax=None):
    """Functions of a number, each with a colour and a kind of line of its own.

    Parameters
    ----------
    x : array of shape (n,)
    functions : dict
        By label: values of shape (n,), or a function that has them for ``x``, such as the ``prob`` of a distribution.
    filled : sequence of str, default=()
        Labels of curves with the area below them filled.
    xlabel, ylabel : str
    ax : matplotlib axes, optional

    Returns
    -------
    ax : matplotlib axes

    Raises
    ------
    ValueError
        If x or values have another shape, or a label of ``filled`` is none of the functions'.
    """
    x = np.asarray(x, dtype=float)
    if x.ndim != 1:
        raise ValueError(f"x must have shape (n,), got {x.shape}")
    unknown = [label for label in filled if label not in functions]
    if unknown:
        raise ValueError(f"filled must name some of {list(functions)}, got {unknown[0]!r}")
    if ax is None:
        _, ax = new_figure((8, 4.8))
    for k, (label, values) in enumerate(functions.items()):
        y = np.asarray(values(x) if callable(values) else values, dtype=float)
        if y.shape != x.shape:
            raise ValueError(f"{label!r} must have shape {x.shape}, got {y.shape}")
        color = COLORS[k % len(COLORS)]
        ax.plot(x, y, color=color, ls=STYLES[k % len(STYLES)], lw=2, label=label)
        if label in filled:
            ax.fill_between(x, y, color=color, alpha=0.2, lw=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(x) > 1:
        ax.set_xlim(x[0], x[-1])
    ax.legend(frameon=False)
    return ax


def contours(
    log_density, xlim, ylim, *, shares=(0.1, 0.3, 0.5, 0.7, 0.9, 0.99), filled=True, title=None, n=200, ax=None
):
    """Lines of equal density around the given shares of the probability, of a density over the plane.

    Parameters
    ----------
    log_density : callable
        From points of shape (m, 2) to log densities of shape (m,), such as the ``log_prob`` of a distribution.
    xlim, ylim : (low, high)
        The rectangle, which should hold all but little of the probability: shares are of what it holds.
    shares : sequence of float in (0, 1)
    filled : bool, default=True
        Whether the rings between them are coloured.
    title : str, optional
    n : int, default=200
        Points of the grid along both axes.
    ax : matplotlib axes, optional

    Returns
    -------
    ax : matplotlib axes

    Raises
    ------
    ValueError
        For a share outside (0, 1), or log densities of another shape or with NaN.

    Notes
    -----
    The line around a share is the least density among the cells of the grid that hold it together, the densest ones
    first: the border of the highest-density region.
    """
    shares = np.asarray(shares, dtype=float)
    if shares.ndim != 1 or not len(shares) or not np.all((shares > 0) & (shares < 1)):
        raise ValueError(f"shares must lie in (0, 1), got {shares.tolist()}")
    x, y = (np.linspace(low, high, n) for low, high in (xlim, ylim))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    values = np.asarray(log_density(grid.reshape(-1, 2)), dtype=float)
    if values.shape != (n * n,) or np.isnan(values).any():
        found = values.shape if values.shape != (n * n,) else "NaN"
        raise ValueError(f"log_density must give one number for each of {n * n} points, got {found}")
    values = np.exp(values - values.max())
    descending = np.sort(values)[::-1]
    held = np.cumsum(descending)
    levels = np.unique(descending[np.searchsorted(held, shares * held[-1]).clip(max=n * n - 1)])
    if ax is None:
        _, ax = new_figure((6, 5.5))
    values = values.reshape(n, n)
    if filled:
        ax.contourf(x, y, values, [*levels, max(1.0, levels[-1] * (1 + 1e-9))], cmap="Blues", extend="neither")
    ax.contour(x, y, values, levels, colors="k", linewidths=0.7)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=xlim, ylim=ylim)
    if title:
        ax.set_title(title)
    return ax
