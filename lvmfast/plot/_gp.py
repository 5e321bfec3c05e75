"""Gaussian processes of one input."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast.models import GPR, SGPR, SVGP, PolyaGammaGPClassifier
from lvmfast.models._svgp_predictions import IDENTITY
from lvmfast.plot._classifier import classifier
from lvmfast.plot._curves import as_points
from lvmfast.plot._figure import ask, axes_of, figure_of, finish, host, next_style, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import FillBetweenPolyCollection
    from matplotlib.lines import Line2D

__all__ = ["GpBand", "gp"]

POINTS = 401
MANY = 50  # data points that are drawn smaller
MARGIN = 0.1  # of the inputs' range, on either side


class GpBand(NamedTuple):
    """``axes``; ``mean``, or of classes the probability of the second; None where there are none: ``band``, ``data``
    (of classes a tuple, class by class) and ``inducing``."""

    axes: Axes
    mean: Line2D
    band: FillBetweenPolyCollection | None
    data: Line2D | tuple[Line2D, ...] | None
    inducing: Line2D | None
    figure = figure_of


def gp(
    model, x=None, *, data=None, inducing=None, include_noise=False, label=None, xlabel=None, title=None, ax=None
) -> GpBand:
    """``m(x)`` and ``m(x) ± 2 s(x)`` of a Gaussian process of one input, its data and its inducing inputs.

    A classifier's picture is that of :func:`classifier`: p(y = 1 | x), with p(y = 1 | f) at the mean of f plus and
    minus two standard deviations.

    Parameters
    ----------
    model : estimator, or (mean, std)
        A fitted :class:`lvmfast.GPR`, :class:`lvmfast.SGPR`, :class:`lvmfast.SVGP` or
        :class:`lvmfast.PolyaGammaGPClassifier`; or arrays (m,) at ``x``.
    x : array of shape (m,), optional
        Default: 401 numbers over the range of the data and of the inducing inputs, and a tenth of it on either side.
    data : (X, y), optional
        Inputs (n,) or (n, 1) and targets (n,). Default: those of GPR; other models do not keep them.
    inducing : array of shape (m,) or (m, 1), optional
        Default: the model's.
    include_noise : bool, default=False
        Whether the band is that of new observations y, or of the function f (of ``E(y | f)`` where y is not f and
        noise).
    label : str, optional
        In place of "mean", where several models share the axes.
    xlabel, title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    GpBand

    Raises
    ------
    TypeError, ValueError
        If the model has several inputs or outputs or more than two classes, if ``x`` is needed, or shapes do not agree.
    """
    arrays = isinstance(model, (tuple, list))
    if not arrays:
        _check(model)
    if data is None and hasattr(model, "y_train_"):
        data = model.X_train_, host(model.y_train_).reshape(len(model.y_train_), -1)[:, 0]
    if data is not None:
        data = _column(data[0], "the X of data"), host(data[1])
        if data[1].shape != data[0].shape:
            raise ValueError(f"the y of data must have shape {data[0].shape}, got {data[1].shape}")
    if inducing is None:
        inducing = getattr(model, "inducing_", getattr(model, "inducing_points_", None))
    inducing = None if inducing is None else _column(inducing, "inducing")
    x = _range(model, data, inducing) if x is None and not arrays else as_points(() if x is None else x)
    xlabel = xlabel or str(getattr(model, "feature_names_in_", ["x"])[0])
    if hasattr(model, "predict_proba"):
        drawn = classifier(model, x, data=data, ax=ax)
        if label is not None:
            drawn.lines[0].set_label(label)
        ax, mean, band, points = drawn.axes, drawn.lines[0], drawn.band, drawn.data
    else:
        ax, mean, band, points = _regression(model, x, data, include_noise, label, ax)
    marks = None
    if inducing is not None:
        look = {"color": mean.get_color(), "mec": "k", "mew": 0.6, "ms": 7, "clip_on": False, "zorder": 5}
        bottom = np.zeros(len(inducing))
        (marks,) = ax.plot(inducing, bottom, "^", transform=ax.get_xaxis_transform(), label="inducing inputs", **look)
    ax.set_xlabel(xlabel)
    span(ax, x)
    finish(ax, title)
    return GpBand(ax, mean, band, points, marks)


def _regression(model, x, data, include_noise, label, ax):
    if isinstance(model, (tuple, list)):
        mean, std = (host(part, float) for part in model)
        if mean.shape != x.shape or std.shape != x.shape:
            raise ValueError(f"mean and std must have shape {x.shape}, got {mean.shape} and {std.shape}")
        of = ""
    else:
        answers = ask(model, "predict", x[:, None], return_std=True, include_noise=include_noise)
        mean, std = (part.reshape(len(x), -1) for part in answers)
        if mean.shape[1] != 1:
            raise ValueError(f"model must have one output, got {mean.shape[1]}; pass (mean, std) of one of them and x")
        mean, std = mean[:, 0], std[:, 0]
        plain = isinstance(getattr(model, "likelihood_", None), (type(None), *IDENTITY))
        of = " of y" if include_noise else " of f" if plain else " of E(y | f)"
    ax = axes_of(ax, (8, 4.8))
    color, style = next_style(ax)
    name = label or "mean"
    (line,) = ax.plot(x, mean, color=color, ls=style, lw=2, label=name, zorder=3)
    band = ax.fill_between(x, mean - 2 * std, mean + 2 * std, color=color, alpha=0.2, lw=0, label=f"{name} ± 2σ{of}")
    points = None
    if data is not None:
        size = 6 if len(data[0]) <= MANY else 3.5
        name = None if "data" in ax.get_legend_handles_labels()[1] else "data"  # of several models once
        (points,) = ax.plot(*data, "o", color="0.25", ms=size, mew=0, alpha=0.7, label=name, zorder=2)
    ax.set_ylabel("y")
    return ax, line, band, points


def _check(model) -> None:
    """Raise unless it is a fitted Gaussian process of one input, and of two classes where it has classes."""
    if not isinstance(model, (GPR, SGPR, SVGP, PolyaGammaGPClassifier)):
        kinds = "a fitted GPR, SGPR, SVGP or PolyaGammaGPClassifier, or (mean, std)"
        raise TypeError(f"model must be {kinds}, got {type(model).__name__}")
    check_is_fitted(model)
    if model.n_features_in_ != 1:
        raise ValueError(f"model must have one input, got {model.n_features_in_}; use lvmfast.plot.contours or density")
    if hasattr(model, "predict_proba") and len(model.classes_) > 2:
        raise ValueError(f"model must have two classes, got {len(model.classes_)}; use lvmfast.plot.classifier")


def _column(values, name: str) -> np.ndarray:
    array = host(values, float)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (n,) or (n, 1), got {array.shape}")
    return array


def _range(model, data, inducing) -> np.ndarray:
    known = [part for part in (None if data is None else data[0], inducing) if part is not None]
    if hasattr(model, "X_train_"):
        known.append(host(model.X_train_, float)[:, 0])
    if not known:
        raise ValueError(f"x must be given for {type(model).__name__}, which keeps no inputs")
    known = np.concatenate(known)
    more = MARGIN * (np.ptp(known) or 1.0)
    return np.linspace(known.min() - more, known.max() + more, POINTS)
