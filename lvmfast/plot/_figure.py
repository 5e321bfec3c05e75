"""Figures without windows, and what all pictures share."""

from __future__ import annotations

import warnings

import numpy as np

from lvmfast import _backend

__all__ = ["COLORS", "ask", "axes_grid", "axes_of", "figure_of", "finish", "host", "new_figure", "next_style", "span"]

# Told apart by colour-blind eyes: M. Okabe & K. Ito, "Color universal design" (2008).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))


def new_figure(figsize=(7, 7), n_rows=1, n_columns=1, **options):
    """A figure and its axes, without a window and without touching pyplot's state.

    Parameters
    ----------
    figsize : (float, float), default=(7, 7)
        Width and height in inches.
    n_rows, n_columns : int, default=1
    **options
        Of ``matplotlib.figure.Figure.subplots``, such as ``sharex=True``.

    Returns
    -------
    figure : matplotlib Figure
    axes : matplotlib Axes, or array of them
        An array (n_columns,), (n_rows,) or (n_rows, n_columns) where there are several.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'lvmfast[plot]'") from None
    figure = Figure(figsize=figsize, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(n_rows, n_columns, **options)


def axes_of(ax, figsize):
    """``ax``, or the axes of a new figure."""
    if ax is None:
        return new_figure(figsize)[1]
    if not hasattr(ax, "add_artist"):
        raise TypeError(f"ax must be one matplotlib Axes, got {type(ax).__name__}")
    return ax


def axes_grid(ax, shape, figsize, **options) -> np.ndarray:
    """An array of axes, those given or those of a new figure."""
    if ax is None:
        return new_figure(figsize, *shape, squeeze=False, **options)[1]
    given = np.array(ax, dtype=object)
    if given.size != shape[0] * shape[1]:
        raise ValueError(f"ax must be {shape[0]} x {shape[1]} matplotlib axes, or None, got {given.size}")
    return given.reshape(shape)


@property
def figure_of(artists):
    """The matplotlib figure."""
    return np.ravel(np.array(artists.axes, dtype=object))[0].figure


def next_style(ax) -> tuple:
    """Colour and kind of line of the next curve; black and grey lines, and marks, do not count."""
    drawn = sum(line.get_linestyle() != "None" and line.get_color() in COLORS for line in ax.get_lines())
    return COLORS[drawn % len(COLORS)], STYLES[drawn % len(STYLES)]


def span(ax, x) -> None:
    """The axes from the least to the largest of x, where these are two."""
    if x.min() < x.max():
        ax.set_xlim(x.min(), x.max())


def finish(ax, title=None) -> None:
    """A legend above the axes for what has a label, where it covers nothing, and the title above it."""
    handles, labels = ax.get_legend_handles_labels()
    pad = 6.0
    if labels:
        from matplotlib.font_manager import FontProperties

        points = FontProperties(size="medium").get_size_in_points()
        width = 72 * ax.bbox.width / ax.figure.dpi
        columns = int(width / (points * (4 + 0.5 * max(map(len, labels)))))
        rows = -(-len(labels) // min(max(columns, 1), len(labels)))
        columns = -(-len(labels) // rows)
        options = {"frameon": False, "borderaxespad": 0.2, "columnspacing": 1.5}
        ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, **options)
        ax.yaxis.set_offset_position("right")  # a power of ten, which the legend would cover
        pad += 1.5 * points * rows + 4
    if title is not None:
        ax.set_title(title, pad=pad)


def host(values, dtype=None) -> np.ndarray:
    """An array of NumPy, from either device."""
    return np.asarray(_backend.to_numpy(values), dtype=dtype)


def ask(model, method: str, x, **options):
    """What a method of a model says of rows or a mesh, in float64 of NumPy.

    The rows are put where the model's own were; their columns need no names.
    """
    on_gpu = getattr(model, "_on_gpu", False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        answer = getattr(model, method)(_backend.to_device(x, "cuda") if on_gpu else x, **options)
    return tuple(host(part, float) for part in answer) if isinstance(answer, tuple) else host(answer, float)
