"""Functions of a number: curves of any kind, and density ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lvmfast.plot._figure import ask, axes_of, figure_of, finish, host, next_style, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curves", "as_points", "curves", "ratio"]


class Curves(NamedTuple):
    """``axes``; by label ``lines`` (Line2D) and ``areas`` (of curves with the area below them filled)."""

    axes: Axes
    lines: dict
    areas: dict
    figure = figure_of


def as_points(x) -> np.ndarray:
    """``x`` as a float64 array (m,) of finite numbers."""
    x = host(x, float)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"x must have shape (m,) with m >= 1, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"x must be finite, got {x[~np.isfinite(x)][0]}")
    return x


def curves(x, functions, *, filled=(), xlabel="x", ylabel="density", title=None, ax=None) -> Curves:
    """``y = f(x)`` of each function, with a colour and a kind of line of its own.

    Parameters
    ----------
    x : array of shape (m,)
    functions : dict
        By label: values of shape (m,), or a function that has them for ``x``, such as the ``prob`` of a distribution.
    filled : sequence of str, default=()
        Labels of curves with the area below them filled.
    xlabel, ylabel : str
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    Curves

    Raises
    ------
    ValueError
        If x or values have another shape, or a label of ``filled`` is none of the functions'.
    """
    x = as_points(x)
    unknown = [label for label in filled if label not in functions]
    if unknown:
        raise ValueError(f"filled must name some of {list(functions)}, got {unknown[0]!r}")
    values = {label: host(f(x) if callable(f) else f, float) for label, f in functions.items()}
    for label, y in values.items():
        if y.shape != x.shape:
            raise ValueError(f"{label!r} must have shape {x.shape}, got {y.shape}")
    ax = axes_of(ax, (8, 4.8))
    lines, areas = {}, {}
    for label, y in values.items():
        color, style = next_style(ax)
        (lines[label],) = ax.plot(x, y, color=color, ls=style, lw=2, label=label)
        if label in filled:
            areas[label] = ax.fill_between(x, y, color=color, alpha=0.2, lw=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    span(ax, x)
    finish(ax, title)
    return Curves(ax, lines, areas)


def ratio(model, x, *, exact=None, log=False, title=None, ax=None) -> Curves:
    """``r(x) = p(x) / q(x)`` along a line, or ``log r(x)``, beside the exact one.

    Parameters
    ----------
    model : estimator, array of shape (m,), or dict
        A fitted estimator of one input with ``log_ratio``, such as :class:`lvmfast.DensityRatio` or
        :class:`lvmfast.ImplicitModel`, or values of log r at ``x``; by label where there are several.
    x : array of shape (m,)
    exact : callable or array of shape (m,), optional
        The exact **log** r: at ``x``, or a function of x.
    log : bool, default=False
        Whether the logarithm is drawn.
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    Curves
        With the line "exact" first where it is given; the line of a single model is "estimate".

    Raises
    ------
    TypeError, ValueError
        If a model has no ``log_ratio``, was fitted to several inputs, or values have another shape.
    """
    x = as_points(x)
    functions = {} if exact is None else {"exact": exact}
    functions |= model if isinstance(model, dict) else {"estimate": model}
    values = {label: _log_ratio(source, x) for label, source in functions.items()}
    if not log:
        with np.errstate(over="ignore"):
            values = {label: np.exp(value) for label, value in values.items()}
    return curves(x, values, ylabel="log r(x) (nats)" if log else "r(x) = p(x) / q(x)", title=title, ax=ax)


def _log_ratio(source, x: np.ndarray) -> np.ndarray:
    if hasattr(source, "log_ratio"):
        return ask(source, "log_ratio", x[:, None])
    if callable(source):
        return host(source(x), float)
    if hasattr(source, "fit"):
        raise TypeError(f"model must have log_ratio(X), such as lvmfast.DensityRatio, got {type(source).__name__}")
    return host(source, float)
