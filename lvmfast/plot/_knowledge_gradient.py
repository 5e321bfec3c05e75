"""Where an acquisition function would look next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lvmfast._validation import check_integer
from lvmfast.plot._figure import COLORS, axes_grid, figure_of, finish, host
from lvmfast.plot._gp import GpBand, gp

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

__all__ = ["NextCandidate", "knowledge_gradient"]


class NextCandidate(NamedTuple):
    """``axes`` (2,); ``model``, a GpBand; ``values`` of the acquisition function; ``candidate``, its best; ``minimum``
    of the posterior mean, or None."""

    axes: np.ndarray
    model: GpBand
    values: Line2D
    candidate: Line2D
    minimum: Line2D | None
    figure = figure_of


def knowledge_gradient(acquisition, *, candidate=None, n=401, title=None, ax=None) -> NextCandidate:
    """``x* = argmax alpha(x)``: the model above, the acquisition function alpha below, the next candidate in both.

    Parameters
    ----------
    acquisition : lvmfast.bayesopt.Acquisition
        Of one input and one point at a time: :class:`~lvmfast.bayesopt.KnowledgeGradient` or any other.
    candidate : lvmfast.bayesopt.Maximum, optional
        Default: ``acquisition.maximize(random_state=0)``.
    n : int, default=401
        Points between the bounds.
    title : str, optional
    ax : two matplotlib axes, optional

    Returns
    -------
    NextCandidate

    Raises
    ------
    TypeError, ValueError
        If it is no acquisition function, or one of several inputs or points.
    """
    from lvmfast.bayesopt import Acquisition

    if not isinstance(acquisition, Acquisition):
        raise TypeError(f"acquisition must be one of lvmfast.bayesopt, got {type(acquisition).__name__}")
    if len(acquisition.bounds) != 1 or acquisition.q != 1:
        raise ValueError(
            f"acquisition must have one input and one point at a time, got {len(acquisition.bounds)} inputs and "
            f"q={acquisition.q}"
        )
    x = np.linspace(*acquisition.bounds[0], check_integer(n, "n", 2))
    best = acquisition.maximize(random_state=0) if candidate is None else candidate
    values = host(acquisition(x[:, None]), float)
    upper, lower = axes = axes_grid(ax, (2, 1), (8, 6.8), sharex=True, height_ratios=(3, 2))[:, 0]
    band = gp(acquisition.model, x, ax=upper)
    minimum = None
    if hasattr(acquisition, "predictive_minimizer"):
        place, value = acquisition.predictive_minimizer[0], acquisition.predictive_minimum
        upper.axhline(value, color=COLORS[1], ls="--", lw=1.2)
        look = {"color": COLORS[1], "ms": 14, "mec": "w", "mew": 0.8, "zorder": 6}
        (minimum,) = upper.plot(place, value, "*", label=f"least mean, {value:.3g}", **look)
    (line,) = lower.plot(x, values, color=COLORS[0], lw=2)
    look = {"color": COLORS[2], "ms": 14, "mec": "w", "mew": 0.8, "clip_on": False, "zorder": 6}
    (star,) = lower.plot(best.x[0], best.value, "*", label=f"next candidate, x = {best.x[0]:.3g}", **look)
    for part in axes:
        part.axvline(best.x[0], color="0.6", lw=1.2, zorder=0)
    upper.set(xlabel="", xlim=(x[0], x[-1]))
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(acquisition).__name__).strip()
    lower.set(xlabel=band.axes.get_xlabel() or "x", ylabel=words)
    finish(upper, title)
    finish(lower)
    return NextCandidate(axes, band, line, star, minimum)
