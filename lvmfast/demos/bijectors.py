"""Densities by bijectors, given and learned: ``lvmfast demo bijectors``.

    y = G(x) = (x_1, x_2 - x_1^2 - 1),  x ~ N(0, [[1, rho], [rho, 1]]),  p_Y(y) = p_X(G^{-1}(y)) |det dG^{-1}(y)/dy|

The example of Tiao's text on building probability distributions with bijectors: a banana-shaped density from a normal
one with rho = 0.95. Its bijector is the library's, one from three functions and one from three methods; then flows
find the density from samples. G keeps areas, so that the entropy, the best that they can do, is that of the base.
"""

from __future__ import annotations

import math
import time

import numpy as np

from lvmfast import nn, plot
from lvmfast.bijectors import Banana, Bijector, Inline, MaskedAutoregressive
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import finish
from lvmfast.distributions import MultivariateNormalTriL, TransformedDistribution
from lvmfast.models import FlowDensity

DEMO = Demo(
    "A banana-shaped density by a bijector, and by flows that learn it from samples",
    "Building Probability Distributions with the TensorFlow Probability Bijector API",
    7,
)
RHO = 0.95
BASE_LIMITS = (-3.5, 3.5), (-3.5, 3.5)
LIMITS = (-3.7, 3.7), (-13.0, 2.5)


def bend(x):
    """G, of points of shape (..., d); numbers past the second one stay."""
    return np.concatenate([x[..., :1], x[..., 1:2] - x[..., :1] ** 2 - 1, x[..., 2:]], axis=-1)


def straighten(y):
    """Its inverse."""
    return np.concatenate([y[..., :1], y[..., 1:2] + y[..., :1] ** 2 + 1, y[..., 2:]], axis=-1)


def log_det(y):
    """``log |det dG^{-1}(y)/dy| = 0``: areas stay."""
    return np.zeros(y.shape[:-1], y.dtype)


class OwnBanana(Bijector):
    """The same as a subclass: three methods."""

    event_ndims = 1

    def _forward(self, x):
        return bend(x)

    def _inverse(self, y):
        return straighten(y)

    def _inverse_log_det(self, y):
        return log_det(y)


def base() -> MultivariateNormalTriL:
    """p_X."""
    return MultivariateNormalTriL(np.zeros(2), np.linalg.cholesky([[1.0, RHO], [RHO, 1.0]]))


def banana(bijector=None) -> TransformedDistribution:
    """p_Y."""
    return TransformedDistribution(base(), Banana() if bijector is None else bijector)


def closed_form(y) -> np.ndarray:
    """p_Y written out, of points of shape (m, 2)."""
    a, b = y[:, 0], y[:, 1] + y[:, 0] ** 2 + 1
    square = (a * a - 2 * RHO * a * b + b * b) / (1 - RHO * RHO)
    return np.exp(-0.5 * square) / (2 * np.pi * np.sqrt(1 - RHO * RHO))


def flows(n: int, max_iter: int, seed: int, quiet: bool) -> dict:
    """Estimators for n samples, not fitted, by name."""
    adam = nn.Adam(nn.CosineDecay(2e-3, max_iter * math.ceil(n / 100)))
    options = {"optimizer": adam, "max_iter": max_iter, "random_state": seed, "verbose": not quiet}
    autoregressive = [MaskedAutoregressive(2, (32, 32), order) for order in ([1, 0], [0, 1], [1, 0], [0, 1])]
    return {
        "RealNVP": FlowDensity(n_layers=6, hidden=(32, 32), **options),
        "MAF": FlowDensity(autoregressive, **options),
    }


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--n", type=int, help="samples to learn from (default: %(default)s)")
    parser.add_argument("--max-iter", type=int, help="epochs of a fit (default: %(default)s)")


def run(*, output, seed=0, n=5000, max_iter=60, quiet=False) -> dict:
    """Draw, evaluate and fit, say what came out and write the pictures to ``output``; returns what was measured."""
    p_x, p_y = base(), banana()
    x = p_x.sample(1000, rng=seed)
    y = p_y.bijector.forward(x)
    figures = {"samples": scatters(x, y), "densities": densities(p_x, p_y)}

    points = np.stack(np.meshgrid(*(np.linspace(*limits, 400) for limits in LIMITS)), axis=-1).reshape(-1, 2)
    exact = closed_form(points)
    numbers = {
        "correlation of the base": (f"{(p_x.scale_tril @ p_x.scale_tril.T)[0, 1]:g}", f"{RHO}"),
        "draws in the pictures": (f"{len(x):,}", "1,000"),
        "log |det dG^-1/dy|, largest on a grid": (f"{np.abs(p_y.bijector.inverse_log_det(points)).max():g}", "0"),
        "density on the grid, largest difference from the closed form": "",
    }
    bijectors = {
        "Banana()": Banana(),
        "Inline(three functions)": inline(),
        "a subclass with three methods": OwnBanana(),
    }
    differences = {}
    for name, bijector in bijectors.items():
        distribution = banana(bijector)
        differences[name] = float(np.abs(distribution.prob(points) - exact).max())
        apart = np.abs(distribution.sample(1000, rng=seed) - p_y.sample(1000, rng=seed)).max()
        numbers[f"  {name}"] = f"{differences[name]:.1e}; draws of the same seed differ by {apart:.1e}"

    rng = np.random.default_rng(seed)
    X, X_new = p_y.sample(n, rng=rng), p_y.sample(10_000, rng=rng)
    entropy = float(p_x.entropy())
    numbers[f"log density of {len(X_new):,} new points, mean"] = ""
    numbers["  the truth"] = f"{p_y.log_prob(X_new).mean():.4f} nats (in the limit, minus the entropy, {-entropy:.4f})"
    normal = MultivariateNormalTriL(X.mean(axis=0), np.linalg.cholesky(np.cov(X.T)))
    numbers["  a normal density with mean and covariance of the samples"] = f"{normal.log_prob(X_new).mean():.4f} nats"
    models, scores = flows(n, max_iter, seed, quiet), {}
    for name, model in models.items():
        begun = time.perf_counter()
        model.fit(X, validation_data=X_new)
        seconds = time.perf_counter() - begun
        scores[name] = model.score(X_new)
        numbers[f"  {name}, {n:,} samples, {model.n_iter_} epochs"] = f"{scores[name]:.4f} nats, {seconds:.1f} s"
    figures |= {"flows": fitted(p_y, models), "loss": losses(models, entropy)}
    more = {"differences": differences, "scores": scores, "entropy": entropy, "models": models}
    return more | finish(output, figures, numbers, quiet)


def inline() -> Inline:
    """The bijector from its functions."""
    return Inline(bend, straighten, inverse_log_det=log_det, event_ndims=1)


# Pictures.


def scatters(x, y):
    """Draws from the base and what the bijector makes of them, each in the colour of its first number."""
    figure, (first, second) = plot.new_figure((10, 4.8), 1, 2)
    for ax, rows, name, limits in ((first, x, "x", BASE_LIMITS), (second, y, "y", LIMITS)):
        drawn = ax.scatter(*rows.T, c=x[:, 0], cmap="viridis", s=9, lw=0, alpha=0.8)
        ax.set(xlabel=f"${name}_1$", ylabel=f"${name}_2$", xlim=limits[0], ylim=limits[1])
    first.set_title("1,000 draws of the base")
    second.set_title("the same, forward")
    figure.colorbar(drawn, ax=second, label="$x_1$")
    return figure


def densities(p_x, p_y):
    """Lines of equal density of both."""
    figure, (first, second) = plot.new_figure((10, 4.8), 1, 2)
    plot.contours(p_x, *BASE_LIMITS, title="$p_X$", ax=first)
    plot.contours(p_y, *LIMITS, title="$p_Y$", ax=second)
    second.set(xlabel="$y_1$", ylabel="$y_2$")
    return figure


def fitted(p_y, models: dict):
    """Flows beside the truth, whose lines are drawn over theirs."""
    figure, axes = plot.new_figure((13, 4.8), 1, 1 + len(models))
    for ax, (name, model) in zip(axes, {"the truth": p_y, **models}.items(), strict=True):
        plot.contours(model, *LIMITS, title=name, ax=ax)
        ax.set(xlabel="$y_1$", ylabel="$y_2$")
    return figure


def losses(models: dict, entropy: float):
    """Minus the log density of new points after every epoch, and the least that it can be."""
    ax = None
    for name, model in models.items():
        ax = plot.loss_curve(model.history_["val_loss"], label=name, ax=ax).axes
    ax.axhline(entropy, color="k", ls=":", lw=1.5, label="entropy of the banana")
    top = max(float(np.quantile(model.history_["val_loss"], 0.9)) for model in models.values())
    ax.set(
        xlabel="epoch", ylabel="minus log density of new points (nats)", ylim=(entropy - 0.05, max(top, entropy + 0.3))
    )
    ax.legend(frameon=False)
    return ax.figure
