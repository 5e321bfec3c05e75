"""Bayesian logistic regression by Pólya-gamma Gibbs sampling: ``lvmfast demo polya-gamma``.

The one-dimensional problem of Tiao's primer on Pólya-gamma variables, part II: 64 points from p = N(1, 1) are labelled
1 and 64 from q = N(0, 2^2) are labelled 0, so that ``p(y = 1 | x) = p(x) / (p(x) + q(x))`` is known, and so is its
logit, ``log 2 - (x - 1)^2 / 2 + x^2 / 8``: a quadratic, as the model with features ``1, x, x^2`` has it. The prior
precision is 2. It departs from that text in starting several chains, whose agreement can be seen.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
from scipy.stats import norm

from lvmfast import plot
from lvmfast._validation import check_rng
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import finish
from lvmfast.models import PolyaGammaLogisticRegression

DEMO = Demo(
    "Bayesian logistic regression by Pólya-gamma Gibbs sampling, and the probability that it should find",
    "A Primer on Pólya-gamma Random Variables - Part II: Bayesian Logistic Regression",
    4,
)
P, Q = norm(1.0, 1.0), norm(0.0, 2.0)
TRUTH = np.array([np.log(2.0) - 0.5, 1.0, -0.375])  # of 1, x, x^2
COLORMAP = "viridis"


def polynomial(X) -> np.ndarray:
    """The features ``1, x, x^2`` of X (n, 1)."""
    return np.power(X, np.arange(3))


def dataset(n: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """X (n, 1), the first half from p and the rest from q, and y, 1 for p."""
    half = n // 2
    X = np.concatenate([P.rvs(half, random_state=rng), Q.rvs(n - half, random_state=rng)])[:, None]
    return X, np.repeat([1, 0], [half, n - half])


def class_probability(x) -> np.ndarray:
    """``p(x) / (p(x) + q(x))``."""
    return 1.0 / (1.0 + np.exp(Q.logpdf(x) - P.logpdf(x)))


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--n", type=int, help="points (default: %(default)s)")
    parser.add_argument("--n-samples", type=int, help="iterations of a chain (default: %(default)s)")


def run(*, output, seed=0, n=128, n_samples=1000, quiet=False) -> dict:
    """Sample, say what came out and write the pictures to ``output``; returns what was measured."""
    X, y = dataset(n, check_rng(seed))
    model = PolyaGammaLogisticRegression(
        prior_precision=2.0,
        fit_intercept=False,
        basis=polynomial,
        n_samples=n_samples,
        burn_in=0,
        keep_omega=True,
        random_state=seed,
        verbose=not quiet,
    )
    begun = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - begun
    x = np.linspace(-5.0, 5.0, 512)
    drawn = model.predict_proba(x[:, None], per_draw=True)
    error = float(np.abs(model.predict_proba(x[:, None])[:, 1] - class_probability(x)).max())
    figures = {
        "data": _data(X, y, x),
        "weights": _weights(model.coef_draws_[0]),
        "omega": _omega(X, y, model.omega_draws_[0]),
        "probability": _probability(X, y, x, drawn[0, :, :, 1], model.predict_proba(x[:, None])[:, 1]),
    }
    numbers = table(model, seconds, error)
    return {"model": model, "seconds": seconds, "error": error} | finish(output, figures, numbers, quiet)


def table(model, seconds: float, error: float) -> dict:
    """What was sampled; the weights beside those of log(p/q), which the text's class probability has."""
    draws = model.coef_draws_
    numbers = {
        "points": (str(model.omega_draws_.shape[-1]), "128"),
        "prior precision": (f"{model.prior_precision:g}", "2"),
        "chains, iterations of each": ("{}, {:,}".format(*draws.shape[:2]), "1, 1,000"),
        "sampling": f"{seconds:.2f} s",
        "posterior of the weights (mean ± standard deviation), and log(p/q)": "",
    }
    for k, (power, truth) in enumerate(zip(("1", "x", "x²"), TRUTH, strict=True)):
        found = f"{draws[..., k].mean():.4f} ± {draws[..., k].std():.4f}"
        chain = f"R-hat {model.r_hat_[k]:.3f}, {model.ess_[k]:,.0f} effective draws"
        numbers[f"  of {power}: {chain}"] = (found, f"{truth:.4f}")
    numbers["class probability on [-5, 5], largest error"] = f"{error:.3f}"
    return numbers


def _points(ax, X, y) -> None:
    """Ticks at the data: those of p above, those of q below."""
    for label, color, at in ((1, "C3", 1.0), (0, "C0", 0.0)):
        ax.plot(X[y == label, 0], np.full((y == label).sum(), at), "|", color=color, ms=9, alpha=0.7)


def _data(X, y, x):
    """The densities and what was drawn from them; the labels and the true class probability."""
    figure, first = plot.new_figure((7, 7))
    first.remove()
    first, second = figure.subplots(2, 1, sharex=True)
    for density, label, color, name in ((P, 1, "C3", "p(x) = N(1, 1)"), (Q, 0, "C0", "q(x) = N(0, 2²)")):
        first.plot(x, density.pdf(x), color=color, label=name)
        points = X[y == label, 0]
        first.plot(points, np.full(len(points), -0.012 - 0.02 * (1 - label)), "|", color=color, ms=9, alpha=0.7)
    first.set_ylabel("density")
    first.legend(frameon=False)
    second.plot(x, class_probability(x), "k", label="p(x) / (p(x) + q(x))")
    _points(second, X, y)
    second.set(xlabel="x", ylabel="p(y = 1 | x)", xlim=(x[0], x[-1]))
    second.legend(frameon=False)
    return figure


def _weights(draws):
    """Pairs of weights, coloured by iteration."""
    figure, ax = plot.new_figure((12, 4.2))
    ax.remove()
    axes = figure.subplots(1, 3)
    steps = np.arange(len(draws))
    for ax, (i, j) in zip(axes, itertools.combinations(range(3), 2), strict=True):
        ax.plot(draws[:, i], draws[:, j], color="0.8", lw=0.3, zorder=1)
        dots = ax.scatter(draws[:, i], draws[:, j], c=steps, cmap=COLORMAP, s=6, lw=0, zorder=2)
        ax.plot(TRUTH[i], TRUTH[j], "x", color="C3", ms=10, mew=2.5, zorder=3)
        ax.set(xlabel=f"$\\beta_{i}$", ylabel=f"$\\beta_{j}$")
    axes[0].set_title("cross: log(p/q)", fontsize="medium")
    figure.colorbar(dots, ax=axes, label="iteration")
    return figure


def _omega(X, y, draws):
    """The auxiliary variables at their points, coloured by iteration."""
    figure, axes = plot.new_figure((8, 6))
    axes.remove()
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for ax, label, name in ((axes[0], 1, "y = 1"), (axes[1], 0, "y = 0")):
        rows = np.flatnonzero(y == label)
        some = np.linspace(0, len(draws) - 1, min(len(draws), 2 + 20_000 // len(rows))).astype(int)
        steps = np.repeat(some, len(rows))
        at = np.tile(X[rows, 0], len(some))
        dots = ax.scatter(at, draws[np.ix_(some, rows)].ravel(), c=steps, cmap=COLORMAP, s=4, lw=0, alpha=0.6)
        ax.set_ylabel("$\\omega_n$")
        ax.set_title(name, fontsize="medium")
    axes[1].set_xlabel("$x_n$")
    figure.colorbar(dots, ax=axes, label="iteration")
    return figure


def _probability(X, y, x, drawn, mean):
    """The predicted class probabilities of the draws and their mean against the truth."""
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    figure, ax = plot.new_figure((8, 5))
    some = np.linspace(0, len(drawn) - 1, min(len(drawn), 200)).astype(int)
    lines = [np.column_stack([x, drawn[t]]) for t in some]
    collection = LineCollection(lines, cmap=colormaps[COLORMAP], array=some, lw=0.4, alpha=0.5)
    ax.add_collection(collection)
    ax.plot(x, class_probability(x), "k", lw=2, label="p(x) / (p(x) + q(x))")
    ax.plot(x, mean, "C3--", lw=2, label="posterior mean")
    _points(ax, X, y)
    ax.set(xlabel="x", ylabel="p(y = 1 | x)", xlim=(x[0], x[-1]))
    ax.legend(frameon=False)
    figure.colorbar(collection, ax=ax, label="iteration")
    return figure
