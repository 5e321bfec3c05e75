"""Curves of fits: losses, bounds and divergences by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast import models
from lvmfast.plot._figure import axes_of, figure_of, finish, host, next_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["LossCurve", "loss_curve"]


class LossCurve(NamedTuple):
    """``axes``; ``line``, of the rows that are fitted; ``held_out``, of those that are not, or None."""

    axes: Axes
    line: Line2D
    held_out: Line2D | None
    figure = figure_of


class Recorded(NamedTuple):
    """Numbers of a fit, one for ``every`` so many units of x, and those of rows held out over the same range."""

    values: np.ndarray
    xlabel: str
    ylabel: str
    held_out: np.ndarray | None = None
    every: int = 1


def loss_curve(model, quantity=None, *, label=None, xlabel=None, ylabel=None, title=None, ax=None) -> LossCurve:
    """What a fit minimised or raised, by iteration, step or epoch, with that of the rows held out.

    ================================  ==================================================================================
    model                             ``quantity``, the first by default
    ================================  ==================================================================================
    GPLVM, SGPR, GridLatentModel      "loss"
    SVGP                              "elbo" (nats, of a step), "loss" (nats a row), "validation"
    VAE                               "loss", "reconstruction", "kl", "steps"; "ratio_loss" of an implicit posterior
    FlowDensity                       "loss", "base", "log_det", "steps"
    DensityRatio                      "loss"
    ImplicitModel                     "ratio_loss", "generator_loss", "bound", "steps"
    PolyaGammaLogisticRegression,     "lower_bound" (nats), of ``method="vi"``
    PolyaGammaGPClassifier
    others with ``loss_curve_``       "loss"
    ================================  ==================================================================================

    Parameters
    ----------
    model : estimator, or array of shape (n,)
        Fitted; or the numbers themselves, as a callback collects them.
    quantity : str, optional
    label : str, optional
        For the legend, where several fits share the axes.
    xlabel, ylabel : str, optional
        In place of the model's own; of an array "iteration" and "loss".
    title : str, optional
    ax : matplotlib axes, optional

    Returns
    -------
    LossCurve

    Raises
    ------
    ValueError
        If the model keeps no such curve, or the array is not of shape (n,).
    """
    if hasattr(model, "fit"):
        check_is_fitted(model)
        found = _chosen(model, quantity)
    elif quantity is not None:
        raise ValueError(f"quantity must be None for an array, got {quantity!r}")
    else:
        found = Recorded(host(model, float), "iteration", "loss")
        if found.values.ndim != 1 or not len(found.values):
            raise ValueError(f"losses must have shape (n,) with n >= 1, got {found.values.shape}")
    ax = axes_of(ax, (8, 4.5))
    x = found.every * np.arange(1, len(found.values) + 1)
    line = _draw(ax, x, found.values, "fit" if label is None and found.held_out is not None else label)
    held_out = None
    if found.held_out is not None:
        every = x[-1] / len(found.held_out)
        name = "held out" if label is None else f"{label}, held out"
        held_out = _draw(ax, every * np.arange(1, len(found.held_out) + 1), found.held_out, name)
    ax.set(xlabel=xlabel or found.xlabel, ylabel=ylabel or found.ylabel)
    if ax.get_xscale() == "linear":
        ax.locator_params(axis="x", integer=True)
    finish(ax, title)
    return LossCurve(ax, line, held_out)


def _draw(ax, x, y, label):
    color, style = next_style(ax)
    alone = {"marker": "o"} if len(x) == 1 else {}
    return ax.plot(x, y, color=color, ls=style, lw=1.6, label=label, **alone)[0]


def _chosen(model, quantity) -> Recorded:
    """The curve that is asked for."""
    name = type(model).__name__
    tables = [table for kind, table in TABLES.items() if isinstance(model, kind)]
    curves = (tables[0] if tables else _other)(model)
    curves = {key: curve for key, curve in curves.items() if len(curve.values)}
    if not curves and hasattr(model, "r_hat_"):
        raise ValueError(f"{name} was sampled, which has no loss; use lvmfast.plot.traces")
    if not curves:
        raise ValueError(f"{name} keeps no curve of this fit; pass the numbers that a callback collects (status.loss)")
    if quantity is not None and quantity not in curves:
        raise ValueError(f"quantity must be one of {list(curves)} for this {name}, got {quantity!r}")
    return curves[quantity or next(iter(curves))]


def _other(model) -> dict:
    return {"loss": Recorded(host(getattr(model, "loss_curve_", ()), float), "iteration", "loss")}


def _gplvm(model) -> dict:
    return {"loss": Recorded(host(model.loss_curve_), "iteration", "$-$log marginal likelihood per column (nats)")}


def _grid_latent(model) -> dict:
    return {"loss": Recorded(host(model.loss_curve_), "iteration", "$-$log p(x) (nats a row)")}


def _sgpr(model) -> dict:
    name = "lower bound of log p(y)" if model.approximation == "vfe" else "FITC log likelihood"
    name = name if model.log_posterior_ == model.lower_bound_ else f"({name} + log prior)"
    return {"loss": Recorded(host(model.loss_curve_), "iteration", f"$-${name} per value of y (nats)")}


def _svgp(model) -> dict:
    xlabel, every = ("check", 1) if model.eval_every is None else ("step", model.eval_every)
    density = "held-out log density (nats a row)"
    return {
        "elbo": Recorded(host(model.elbo_curve_), "step", "ELBO, estimate of a step (nats)"),
        "loss": Recorded(host(model.loss_curve_), "step", "$-$(ELBO + log prior) per row (nats)"),
        "validation": Recorded(host(model.validation_curve_), xlabel, density, every=every),
    }


def _history(model, names: dict, step: str) -> dict:
    """Every epoch's means that a model has, then its steps."""
    history = model.history_
    epochs = {
        key: Recorded(host(history[key]), "epoch", ylabel, history.get(f"val_{key}"))
        for key, ylabel in names.items()
        if key in history
    }
    return epochs | {"steps": Recorded(host(model.loss_curve_), "step", step)}


def _vae(model) -> dict:
    loss = "$-$ELBO" if model.objective == "elbo" else "$-$importance-weighted bound"
    loss += " (nats a row)" if model.beta == 1 else r" with $\beta\,$KL (nats a row)"
    names = {
        "loss": loss,
        "reconstruction": "$-$E log p(x | z) (nats a row)",
        "kl": "KL(q(z | x) | p(z)) (nats a row)",
        "ratio_loss": "loss of the ratio network (nats)",
    }
    return _history(model, names, loss)


def _flow(model) -> dict:
    loss = "$-$log p(x) (nats a row)"
    names = {"loss": loss, "base": "log density of the base (nats a row)", "log_det": "log |det| (nats a row)"}
    return _history(model, names, loss)


def _implicit(model) -> dict:
    entropy = model.loss == "bce"
    ratio = "cross-entropy of both classes (nats)" if entropy else "$-$lower bound of the divergence (nats)"
    names = {
        "ratio_loss": ratio,
        "generator_loss": "generator's loss (nats)",
        "bound": f"lower bound of {'JS(p, q)' if entropy else 'the divergence'} (nats)",
    }
    return _history(model, names, ratio)


def _density_ratio(model) -> dict:
    ylabel = (
        "cross-entropy of both classes (nats)" if model.loss == "bce" else "$-$lower bound of the divergence (nats)"
    )
    bridges = model.method == "telescoping"
    xlabel = "step, bridge after bridge" if bridges else "epoch" if model.batch_size is None else "step"
    held_out = None if bridges or not len(model.validation_loss_) else model.validation_loss_
    return {"loss": Recorded(host(model.loss_curve_), xlabel, ylabel, held_out)}


def _polya_gamma(model) -> dict:
    bounds = host(getattr(model, "lower_bounds_", ()), float)
    return {"lower_bound": Recorded(bounds, "iteration", "lower bound of log p(y) (nats)")}


TABLES = {
    models.GPLVM: _gplvm,
    models.SGPR: _sgpr,
    models.GridLatentModel: _grid_latent,
    models.SVGP: _svgp,
    models.VAE: _vae,
    models.FlowDensity: _flow,
    models.ImplicitModel: _implicit,
    models.DensityRatio: _density_ratio,
    models.PolyaGammaLogisticRegression: _polya_gamma,
    models.PolyaGammaGPClassifier: _polya_gamma,
}
