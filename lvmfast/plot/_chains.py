"""Draws of Markov chains: traces, and coefficients against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast.models._convergence import bulk_ess, rank_normalised_r_hat
from lvmfast.plot._figure import COLORS, axes_grid, figure_of, host

if TYPE_CHECKING:
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D

__all__ = ["Pairs", "Traces", "pairs", "traces"]

DIAGNOSED = 4  # draws that R-hat needs
POINTS = 5000  # of a scatter, at most


class Traces(NamedTuple):
    """``axes`` (k,); ``lines`` (k, n_chains), of each coefficient those of its chains."""

    axes: np.ndarray
    lines: tuple[tuple[Line2D, ...], ...]
    figure = figure_of


class Pairs(NamedTuple):
    """``axes`` (k, k), None above the diagonal; by (row, column) ``points``, and ``histograms`` on the diagonal."""

    axes: np.ndarray
    points: dict[tuple[int, int], PathCollection]
    histograms: tuple
    figure = figure_of


def traces(model, which=None, *, truth=None, title=None, ax=None) -> Traces:
    """``beta_j^(t)`` by iteration t, one panel for each coefficient and a colour for each chain, with R-hat and ESS.

    Parameters
    ----------
    model : estimator, or array of shape (n_chains, draws, k)
        :class:`lvmfast.PolyaGammaLogisticRegression` after ``method="gibbs"``; or the draws, such as
        ``f_draws_[:, :, :3]`` of :class:`lvmfast.PolyaGammaGPClassifier`.
    which : sequence of int, optional
        Coefficients to show, the intercept counted last. Default: all.
    truth : array of shape (k,), optional
        Of the coefficients shown, drawn as lines.
    title : str, optional
    ax : k matplotlib axes, optional

    Returns
    -------
    Traces

    Raises
    ------
    ValueError
        If there are no draws, or ``which``, ``truth`` or ``ax`` do not fit them.
    """
    draws, names, truth = _draws(model, which, truth)
    chains, length, k = draws.shape
    axes = axes_grid(ax, (k, 1), (8, 0.8 + 1.5 * k), sharex=True)[:, 0]
    iterations, lines = np.arange(1, length + 1), []
    for j, (ax, name) in enumerate(zip(axes, names, strict=True)):
        lines.append(
            tuple(
                ax.plot(iterations, draws[c, :, j], color=COLORS[c % len(COLORS)], lw=0.6, alpha=0.8)[0]
                for c in range(chains)
            )
        )
        if truth is not None:
            ax.axhline(truth[j], color="k", ls="--", lw=1.2)
        ax.set(ylabel=name, xlim=(1, max(length, 2)))
        if length >= DIAGNOSED:
            one = np.ascontiguousarray(draws[:, :, j : j + 1])
            r_hat, ess = float(rank_normalised_r_hat(one)[0]), float(bulk_ess(one)[0])
            ax.set_title(rf"$\hat R$ = {r_hat:.3f}, ESS = {ess:.0f}", loc="right", fontsize="small")
    axes[-1].set_xlabel("iteration")
    if title is not None:
        axes[0].figure.suptitle(title)
    return Traces(axes, tuple(lines))


def pairs(model, which=None, *, truth=None, title=None, ax=None) -> Pairs:
    """``(beta_i^(t), beta_j^(t))`` of all pairs of coefficients, in the colour of the iteration t, and histograms.

    Parameters
    ----------
    model, which
        As for :func:`traces`; chains are put together.
    truth : array of shape (k,), optional
        Of the coefficients shown, drawn as crosses and lines.
    title : str, optional
    ax : k x k matplotlib axes, optional
        Those above the diagonal are switched off.

    Returns
    -------
    Pairs

    Raises
    ------
    ValueError
        If there are no draws, or ``which``, ``truth`` or ``ax`` do not fit them.
    """
    draws, names, truth = _draws(model, which, truth)
    chains, length, k = draws.shape
    side = max(3.2, 2.1 * k)
    axes = axes_grid(ax, (k, k), (side + 0.9, side), sharex="col")
    flat, iterations = draws.reshape(-1, k), np.tile(np.arange(1, length + 1), chains)
    some = np.unique(np.linspace(0, len(flat) - 1, min(len(flat), POINTS)).astype(int))
    points, histograms = {}, []
    for i in range(k):
        for j in range(k):
            ax = axes[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            if i == j:
                histograms.append(ax.hist(flat[:, i], bins=30, color=COLORS[0], alpha=0.7)[2])
                ax.set_yticks([])
            else:
                look = {"cmap": "viridis", "s": 5, "lw": 0, "alpha": 0.7}
                points[i, j] = ax.scatter(flat[some, j], flat[some, i], c=iterations[some], **look)
            if truth is not None:
                _mark(ax, truth[j], None if i == j else truth[i])
            ax.locator_params(axis="x", nbins=2)
            ax.tick_params(axis="x", labelsize="small")
            ax.label_outer()
            if i == k - 1:
                ax.set_xlabel(names[j])
            if j == 0 and i:
                ax.set_ylabel(names[i])
    if points:
        axes[0, 0].figure.colorbar(next(iter(points.values())), ax=list(axes.flat), label="iteration")
    if title is not None:
        axes[0, 0].figure.suptitle(title)
    return Pairs(np.where(np.tri(k, dtype=bool), axes, None), points, tuple(histograms))


def _mark(ax, x, y) -> None:
    if y is None:
        ax.axvline(x, color="k", ls="--", lw=1.2)
    else:
        ax.plot(x, y, "x", color=COLORS[1], ms=10, mew=2.5)


def _draws(model, which, truth):
    """Draws (n_chains, draws, k), names, and the truth as an array."""
    if hasattr(model, "fit"):
        check_is_fitted(model)
        if not hasattr(model, "coef_draws_"):
            raise ValueError(f"{type(model).__name__} has no draws of coefficients; fit with method='gibbs'")
        draws, names = host(model.coef_draws_, float), model.summary().names
        if model.fit_intercept:
            draws = np.concatenate([draws, host(model.intercept_draws_, float)[..., None]], axis=2)
    else:
        draws = host(model, float)
        if draws.ndim != 3 or not draws.size:
            raise ValueError(f"draws must have shape (n_chains, draws, k), got {draws.shape}")
        names = [rf"$\beta_{{{j}}}$" for j in range(draws.shape[2])]
    if which is not None:
        known = range(draws.shape[2])
        if np.ndim(which) != 1 or not len(which) or any(j not in known for j in which):
            raise ValueError(f"which must hold some of 0 to {len(known) - 1}, got {which!r}")
        draws, names = draws[:, :, list(which)], [names[j] for j in which]
    if truth is not None:
        truth = host(truth, float)
        if truth.shape != (len(names),):
            raise ValueError(
                f"truth must have shape ({len(names)},), one for each coefficient shown, got {truth.shape}"
            )
    return draws, names, truth
