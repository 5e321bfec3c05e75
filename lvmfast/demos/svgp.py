"""Sparse variational Gaussian processes: ``lvmfast demo svgp``.

Three problems of Tiao's handbook for sparse variational Gaussian processes and of the section that it leaves open:
regression on Snelson's data, where the bounds below and above the exact evidence can be seen; classification of two
classes that lie like bananas; and minibatches of many points with outliers, by a Student-t likelihood.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.stats import multivariate_normal

from lvmfast import kernels, likelihoods, plot
from lvmfast.datasets import load_snelson
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import finish
from lvmfast.models import GPR, SGPR, SVGP

DEMO = Demo(
    "Sparse variational Gaussian processes: regression, classification and minibatches",
    "A Handbook for Sparse Variational Gaussian Processes",
    8,
)


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--inducing", type=int, help="inducing inputs of the first part (default: %(default)s)")
    parser.add_argument("--n", type=int, help="points of the last part (default: %(default)s)")
    parser.add_argument("--max-iter", type=int, help="steps of each fit (default: %(default)s)")


def run(*, output, seed=0, inducing=12, n=20_000, max_iter=400, quiet=False) -> dict:
    """Fit the three, say what came out and write the pictures to ``output``; returns what was measured."""
    figures, numbers = {}, {}
    for part in (
        lambda: _regression(seed, inducing, max_iter),
        lambda: _classification(seed, max_iter, quiet),
        lambda: _minibatches(seed, n, max_iter, quiet),
    ):
        more_figures, more_numbers = part()
        figures |= more_figures
        numbers |= more_numbers
    return finish(output, figures, numbers, quiet)


# Regression.


def _regression(seed, inducing, max_iter):
    X, y = load_snelson(return_X_y=True)
    exact = GPR(kernels.RBF()).fit(X, y)
    sparse = SGPR(kernels.RBF(), inducing=inducing, random_state=seed).fit(X, y)
    # The same bound by steps: q(u) by natural gradients of length 1, the rest by Adam; and all by Adam.
    settings = {"inducing": inducing, "random_state": seed, "max_iter": max_iter, "learning_rate": 0.03}
    steps = {name: SVGP(kernels.RBF(), optimizer=name, **settings).fit(X, y) for name in ("natural", "adam")}
    bound, mean = of_the_text(sparse, X, y)
    figures = {"regression": _curves(X, y, exact, sparse), "elbo": _bounds(exact, sparse, steps)}
    numbers = {
        "Snelson: exact evidence": f"{exact.log_marginal_likelihood_:.2f} nats",
        f"  bound below it, SGPR, {inducing} inducing inputs": (f"{sparse.lower_bound_:.4f} nats", f"{bound:.4f}"),
        "  largest difference of the means from the text's": f"{np.abs(sparse.predict(X) - mean).max():.1e}",
        "  bound above it": f"{sparse.upper_bound_:.2f} nats",
        f"  SVGP, natural gradients, {max_iter} steps": f"{steps['natural'].lower_bound_:.2f} nats",
        f"  SVGP, Adam alone, {max_iter} steps": f"{steps['adam'].lower_bound_:.2f} nats",
    }
    return figures, numbers


def of_the_text(model, X, y) -> tuple[float, np.ndarray]:
    """The bound and the mean at X, by the formulas of the text's section on Gaussian likelihoods, with dense matrices.

    ``log N(y | 0, Q_ff + I / beta) - beta / 2 tr(K_ff - Q_ff)`` and ``beta K_fu M^-1 K_uf y``, where
    ``Q_ff = K_fu K_uu^-1 K_uf`` and ``M = K_uu + beta K_uf K_fu``; for y less the constant mean, which the text's
    process lacks.
    """
    kernel, Z, beta = model.kernel_, model.inducing_, 1 / model.noise_variance_
    y = y - model.mean_coef_[0]
    K_uf, K_uu = kernel(Z, X), kernel(Z, Z)
    Q = K_uf.T @ np.linalg.solve(K_uu, K_uf)
    bound = multivariate_normal.logpdf(y, np.zeros(len(X)), Q + np.eye(len(X)) / beta)
    mean = beta * K_uf.T @ np.linalg.solve(K_uu + beta * K_uf @ K_uf.T, K_uf @ y)
    return bound - beta / 2 * (np.trace(kernel(X, X)) - np.trace(Q)), mean + model.mean_coef_[0]


def _curves(X, y, exact, sparse):
    x = np.linspace(-1.0, 7.0, 400)
    _, ax = plot.new_figure((8, 4.8))
    ax.plot(x, exact.predict(x[:, None]), "k--", lw=1, label="exact: mean", zorder=4)
    return plot.gp(sparse, x, data=(X, y), include_noise=True, ax=ax).figure


def _bounds(exact, sparse, steps):
    _, ax = plot.new_figure((8, 4.8))
    evidence = exact.log_marginal_likelihood_
    ax.axhline(sparse.lower_bound_, color="0.4", ls="--", label="SGPR: lower bound")
    ax.axhline(evidence, color="k", lw=1, label="exact evidence")
    for name, model in steps.items():
        plot.loss_curve(model, label=f"SVGP, {name}", ax=ax)
    ax.set(xscale="log", ylim=(evidence - 250, evidence + 15))
    return ax.figure


# Classification.


def _classification(seed, max_iter, quiet):
    from sklearn.datasets import make_moons  # not above: it takes its time, also where demos are only listed

    X, y = make_moons(1000, noise=0.25, random_state=seed)
    X_new, y_new = make_moons(1000, noise=0.25, random_state=seed + 1)
    model = SVGP(
        kernels.Matern52(lengthscale=[1.0, 1.0]),
        likelihood="bernoulli",
        inducing=30,
        max_iter=max_iter,
        random_state=seed,
        verbose=not quiet,
    ).fit(X, y)
    density = model.log_predictive_density(X_new, y_new).mean()
    figure, ax = plot.new_figure((7, 5.5))
    low, high = X.min(axis=0) - 0.4, X.max(axis=0) + 0.4
    grid = np.stack(np.meshgrid(np.linspace(low[0], high[0], 120), np.linspace(low[1], high[1], 100)), axis=-1)
    probability = model.predict_proba(grid.reshape(-1, 2))[:, 1].reshape(grid.shape[:2])
    filled = ax.contourf(grid[..., 0], grid[..., 1], probability, np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.6)
    ax.contour(grid[..., 0], grid[..., 1], probability, [0.5], colors="k", linewidths=1.5)
    for label in (0, 1):
        ax.plot(*X[y == label].T, ".", color=plot.COLORS[label], ms=4)
    ax.plot(*model.inducing_.T, "o", mfc="none", mec="k", ms=8, label="inducing inputs")
    ax.set(xlabel="$x_1$", ylabel="$x_2$")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    figure.colorbar(filled, ax=ax, label="p(y = 1 | x)")
    numbers = {
        "Two bananas: accuracy on 1,000 new points": f"{model.score(X_new, y_new):.3f}",
        "  log predictive density there": f"{density:.3f} nats a point",
    }
    return {"classification": figure}, numbers


# Minibatches.


def surface(X) -> np.ndarray:
    """The function of two inputs that is to be found."""
    return np.sin(3 * X[:, 0]) * np.cos(2 * X[:, 1]) + 0.5 * X[:, 0]


def _minibatches(seed, n, max_iter, quiet):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3.0, 3.0, (n, 2))
    y = surface(X) + 0.1 * rng.standard_t(2.0, n)
    model = SVGP(
        kernels.RBF(lengthscale=[1.0, 1.0]),
        likelihood=likelihoods.StudentT(),
        inducing=100,
        batch_size=512,
        max_iter=max_iter,
        schedule="cosine",
        early_stopping=True,
        n_iter_no_change=20,
        eval_every=20,
        random_state=seed,
        verbose=not quiet,
    )
    begun = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - begun
    X_new = rng.uniform(-3.0, 3.0, (2000, 2))
    error = float(np.sqrt(np.mean((model.predict(X_new) - surface(X_new)) ** 2)))
    figure, (first, second) = plot.new_figure((8, 6), 2, 1, sharex=True)
    plot.loss_curve(model, ax=first)
    first.set(xlabel="", ylim=(np.quantile(model.elbo_curve_, 0.05), None))
    plot.loss_curve(model, "validation", ax=second)
    numbers = {
        f"{n:,} points with outliers, batches of 512, {len(model.elbo_curve_)} steps": f"{seconds:.1f} s",
        "  error of the function (root mean square, noise 0.1 t₂)": f"{error:.4f}",
    }
    return {"minibatches": figure}, numbers
