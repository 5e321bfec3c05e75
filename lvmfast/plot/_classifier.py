"""Class probabilities along a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import expit

from lvmfast._validation import check_integer
from lvmfast.plot._curves import as_points
from lvmfast.plot._figure import COLORS, ask, axes_of, figure_of, finish, host, next_style, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import FillBetweenPolyCollection, LineCollection
    from matplotlib.lines import Line2D

__all__ = ["Classifier", "classifier"]


class Classifier(NamedTuple):
    """``axes``; ``lines``, one of p(y = second class | x) or one a class; None where there is none of them: ``exact``;
    ``band``, of the uncertainty; ``draws``, lines of single draws; ``data``, a tuple of ticks, class by class."""

    axes: Axes
    lines: tuple[Line2D, ...]
    exact: Line2D | None
    band: FillBetweenPolyCollection | None
    draws: LineCollection | None
    data: tuple[Line2D, ...] | None
    figure = figure_of


def classifier(model, x, *, exact=None, data=None, n_draws=0, title=None, ax=None) -> Classifier:
    """``p(y = 1 | x)`` along a line, with what the posterior leaves open and the data.

    The band is ``p(y = 1 | f)`` at the mean of f plus and minus two standard deviations for Gaussian processes, and
    holds 95 % of the draws after Gibbs sampling. Three and more classes have one line each, and no band.

    Parameters
    ----------
    model : estimator, or array of shape (m,)
        Fitted to one input, with ``predict_proba``; or the probabilities at ``x``.
    x : array of shape (m,)
    exact : callable or array of shape (m,), optional
        The exact probability of the second class: at ``x``, or a function of x.
    data : (X, y), optional
        Inputs (n,) or (n, 1) and their labels (n,), drawn as ticks above the second class's 1 and below 0.
    n_draws : int, default=0
        So many single draws of :class:`lvmfast.PolyaGammaLogisticRegression`, evenly spread over each chain, are drawn
        in place of the band, in the colour of their iteration.
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    Classifier

    Raises
    ------
    TypeError, ValueError
        If the model has no probabilities, or no draws for ``n_draws``; if shapes do not agree.
    """
    x, n_draws = as_points(x), check_integer(n_draws, "n_draws", 0)
    p, classes = _probabilities(model, x)
    reference = None if exact is None else host(exact(x) if callable(exact) else exact, float)
    if reference is not None and reference.shape != x.shape:
        raise ValueError(f"exact must have shape {x.shape}, got {reference.shape}")
    ticks = None if data is None else _ticks(data, classes)
    paths = _paths(model, x, n_draws) if n_draws else None
    interval = _interval(model, x) if p.shape[1] == 2 and not n_draws else None
    ax = axes_of(ax, (8, 4.8))
    drawn = None if paths is None else _draw_paths(ax, x, *paths)
    color, style = next_style(ax)
    if p.shape[1] == 2:
        label = "posterior mean" if interval is not None or drawn is not None else "estimate"
        lines = tuple(ax.plot(x, p[:, 1], color=color, lw=2, ls=style, label=label))
        ax.set_ylabel(f"p(y = {classes[1]} | x)")
    else:
        colors = [COLORS[k % len(COLORS)] for k in range(len(classes))]
        lines = tuple(
            ax.plot(x, p[:, k], color=colors[k], lw=2, label=f"y = {label}")[0] for k, label in enumerate(classes)
        )
        ax.set_ylabel("p(y | x)")
    band = None
    if interval is not None:
        band = ax.fill_between(x, *interval[0], color=color, alpha=0.2, lw=0, label=interval[1])
    truth = None if reference is None else ax.plot(x, reference, color="k", ls=":", lw=1.8, label="exact")[0]
    ax.set(xlabel="x", ylim=(-0.1, 1.1))
    span(ax, x)
    rugs = None if ticks is None else tuple(_draw_ticks(ax, *tick) for tick in ticks)
    finish(ax, title)
    return Classifier(ax, lines, truth, band, drawn, rugs)


def _probabilities(model, x):
    """(m, K), and the classes."""
    if hasattr(model, "predict_proba"):
        classes = list(host(getattr(model, "classes_", (0, 1))))
        return ask(model, "predict_proba", x[:, None]), classes
    if hasattr(model, "fit"):
        raise TypeError(f"model must have predict_proba(X), got {type(model).__name__}; fit a classifier")
    p = host(model, float)
    if p.shape != x.shape:
        raise ValueError(f"the probabilities must have shape {x.shape}, got {p.shape}")
    return np.stack([1 - p, p], axis=1), [0, 1]


def _interval(model, x):
    """Low and high probabilities of the second class, and what they are; None where the model has no posterior."""
    if hasattr(model, "coef_draws_"):
        draws = ask(model, "predict_proba", x[:, None], per_draw=True)[..., 1].reshape(-1, len(x))
        return np.quantile(draws, (0.025, 0.975), axis=0), "95 % of the draws"
    if not hasattr(model, "predict_f"):
        return None
    mean, variance = ask(model, "predict_f", x[:, None])
    if mean.ndim > 1:
        return None
    ends = mean + np.array([[-2.0], [2.0]]) * np.sqrt(variance)
    likelihood = getattr(model, "likelihood_", None)
    p = expit(ends) if likelihood is None else likelihood.predict_proba(ends, np.zeros_like(ends))[..., 1]
    return p, "p at f ± 2σ"


def _paths(model, x, n_draws):
    """Iterations (k,) and probabilities (k, m) of single draws."""
    if not hasattr(model, "coef_draws_"):
        raise ValueError("n_draws must be 0 for a model without draws of its coefficients; fit with method='gibbs'")
    draws = ask(model, "predict_proba", x[:, None], per_draw=True)[..., 1]
    chains, length, _ = draws.shape
    some = np.unique(np.linspace(0, length - 1, max(1, min(length, n_draws // chains))).astype(int))
    return np.tile(some + 1, chains), draws[:, some].reshape(-1, len(x))


def _draw_paths(ax, x, iterations, values):
    from matplotlib.collections import LineCollection

    lines = [np.column_stack([x, row]) for row in values]
    collection = LineCollection(lines, cmap="viridis", array=iterations, lw=0.4, alpha=0.5)
    ax.add_collection(collection)
    ax.figure.colorbar(collection, ax=ax, label="iteration").solids.set(alpha=1)
    return collection


def _ticks(data, classes) -> list[tuple]:
    """Inputs of every class, how high their ticks stand, colour and label."""
    X, y = (host(part) for part in data)
    X = X.reshape(len(X), -1)
    if X.shape[1] != 1 or y.shape != (len(X),):
        raise ValueError(f"data must be (X, y) of shapes (n,) or (n, 1), and (n,), got {X.shape} and {y.shape}")
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"data must have labels among {list(classes)}, got {unknown[0]}")
    heights = (-0.05, 1.05) if len(classes) == 2 else np.linspace(-0.04, -0.08, len(classes))
    colors = (COLORS[4], COLORS[2]) if len(classes) == 2 else COLORS
    return [
        (X[y == label, 0], heights[k], colors[k % len(colors)], f"data, y = {label}") for k, label in enumerate(classes)
    ]


def _draw_ticks(ax, at, height, color, label):
    return ax.plot(at, np.full(len(at), height), "|", color=color, ms=9, alpha=0.8, label=label)[0]
