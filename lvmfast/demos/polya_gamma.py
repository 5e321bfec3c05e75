"""Bayesian logistic regression by Pólya-gamma Gibbs sampling: ``lvmfast demo polya-gamma``.

The one-dimensional problem of Tiao's primer on Pólya-gamma variables, part II: 64 points from p = N(1, 1) are labelled
1 and 64 from q = N(0, 2^2) are labelled 0, so that ``p(y = 1 | x) = p(x) / (p(x) + q(x))`` is known, and so is its
logit, ``log 2 - (x - 1)^2 / 2 + x^2 / 8``: a quadratic, as the model with features ``1, x, x^2`` has it. The prior
precision is 2. It departs from that text in starting several chains, whose agreement can be seen.
"""

from __future__ import annotations

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
    error = float(np.abs(model.predict_proba(x[:, None])[:, 1] - class_probability(x)).max())
    figures = {
        "data": _data(X, y, x),
        "weights": plot.pairs(model.coef_draws_, truth=TRUTH, title="Weights of 1, x, x² (cross: log p / q)").figure,
        "omega": _omega(X, y, model.omega_draws_[0]),
        "probability": plot.classifier(model, x, exact=class_probability, data=(X, y), n_draws=200).figure,
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


def _data(X, y, x):
    """The densities and what was drawn from them; the labels and the true class probability."""
    figure, (first, second) = plot.new_figure((7, 7), 2, 1, sharex=True)
    plot.curves(x, {"p(x) = N(1, 1)": P.pdf, "q(x) = N(0, 2²)": Q.pdf}, xlabel="", ax=first)
    plot.classifier(class_probability(x), x, data=(X, y), ax=second)
    second.set_ylabel("p(x) / (p(x) + q(x))")
    return figure


def _omega(X, y, draws):
    """The auxiliary variables at their points, coloured by iteration."""
    figure, axes = plot.new_figure((8, 6), 2, 1, sharex=True, sharey=True)
    for ax, label, name in ((axes[0], 1, "y = 1"), (axes[1], 0, "y = 0")):
        rows = np.flatnonzero(y == label)
        some = np.linspace(0, len(draws) - 1, min(len(draws), 2 + 20_000 // len(rows))).astype(int)
        steps = np.repeat(some, len(rows))
        at = np.tile(X[rows, 0], len(some))
        dots = ax.scatter(at, draws[np.ix_(some, rows)].ravel(), c=steps, cmap="viridis", s=4, lw=0, alpha=0.6)
        ax.set_ylabel("$\\omega_n$")
        ax.set_title(name, fontsize="medium")
    axes[1].set_xlabel("$x_n$")
    figure.colorbar(dots, ax=axes, label="iteration").solids.set(alpha=1)
    return figure
