"""Bayesian logistic regression by Pólya-gamma Gibbs sampling: ``lvmfast demo polya-gamma``.

The one-dimensional problem of Tiao's primer on Pólya-gamma variables, part II: 64 points from p = N(1, 1) are labelled
1 and 64 from q = N(0, 2^2) are labelled 0, so that ``p(y = 1 | x) = p(x) / (p(x) + q(x))`` is known, and so is its
logit, ``log 2 - (x - 1)^2 / 2 + x^2 / 8``: a quadratic, as the model with features ``1, x, x^2`` has it. The prior
precision is 2. It departs from that text in starting several chains, whose agreement can be seen.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from scipy.stats import norm

from lvmfast import plot
from lvmfast._validation import check_rng
from lvmfast.models import PolyaGammaLogisticRegression

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


def run(*, output="lvmfast-demo/polya-gamma", seed=0, n=128, n_samples=1000, quiet=False) -> dict:
    """Sample, say what came out and write the pictures to ``output``; returns what was measured."""
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
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
    pictures = _write_pictures(output, model, X, y, x)
    error = float(np.abs(model.predict_proba(x[:, None])[:, 1] - class_probability(x)).max())
    if not quiet:
        _report(model, seconds, error, pictures)
    return {"model": model, "seconds": seconds, "error": error, "pictures": pictures}


def _write_pictures(output: Path, model, X, y, x) -> list[Path]:
    figures = {
        "data": _data(X, y, x),
        "weights": plot.pairs(model.coef_draws_, truth=TRUTH, title="Weights of 1, x, x² (cross: log p / q)").figure,
        "omega": _omega(X, y, model.omega_draws_[0]),
        "probability": plot.classifier(model, x, exact=class_probability, data=(X, y), n_draws=200).figure,
    }
    pictures = []
    for name, figure in figures.items():
        path = output / f"{name}.png"
        figure.savefig(path, dpi=110)
        pictures.append(path)
    return pictures


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


def _report(model, seconds, error, pictures) -> None:
    chains, draws, _ = model.coef_draws_.shape
    print(f"{chains} chains of {draws} iterations in {seconds:.2f} s; weights of 1, x, x²:")
    print(model.summary())
    print("log p/q has the weights " + ", ".join(f"{b:.4f}" for b in TRUTH))
    print(f"largest error of the class probability on [-5, 5]: {error:.3f}")
    for path in pictures:
        print(f"wrote {path}")
