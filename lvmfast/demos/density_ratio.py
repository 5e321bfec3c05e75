"""Density ratios by classification and by kernels: ``lvmfast demo density-ratio``.

    r(x) = p(x) / q(x),  p = N(1, 1),  q = N(0, 4),  log r(x) = log 2 - (x - 1)^2 / 2 + x^2 / 8

The example of Tiao's text on density ratio estimation for KL divergence minimization between implicit distributions:
a network 1-16-32-1 learns from samples alone to tell p from q, by RMSprop with all rows in every step; its logit is
log r, the mean of which over p is the KL divergence, and its loss can be no less than log 4 - 2 JS(p, q).
"""

from __future__ import annotations

import math

import numpy as np

from lvmfast import plot
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import finish
from lvmfast.distributions import Normal
from lvmfast.divergences import divergence, monte_carlo_f_divergence
from lvmfast.models import DensityRatio

DEMO = Demo(
    "Two densities told apart by a classifier and by kernels, and divergences from their ratio",
    "Density Ratio Estimation for KL Divergence Minimization between Implicit Distributions",
    6,
)
P, Q = Normal(1.0, 1.0), Normal(0.0, 2.0)
NAMES = {
    "KL(p | q)": "kl",
    "KL(q | p)": "reverse_kl",
    "Jensen-Shannon": "js",
    "total variation": "total_variation",
    "squared Hellinger": "squared_hellinger",
    "Pearson χ²": "pearson_chi2",
}
KERNELS = {"uLSIF": "ulsif", "RuLSIF": "rulsif", "KLIEP": "kliep"}


def log_ratio(x) -> np.ndarray:
    """What is to be found."""
    return P.log_prob(x) - Q.log_prob(x)


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--n", type=int, help="samples of p and of q to learn from (default: %(default)s)")
    parser.add_argument("--max-iter", type=int, help="epochs of a fit (default: %(default)s)")


def run(*, output, seed=0, n=5000, max_iter=500, seeds=5, quiet=False) -> dict:
    """Learn the ratio, say what came out and write the pictures to ``output``; returns what was measured."""
    X_p, X_q, fresh_p, fresh_q = samples(n, seed)
    model = classifier(max_iter, seed, verbose=not quiet).fit(X_p, X_q)
    kernels = {name: DensityRatio(method, random_state=seed).fit(X_p, X_q) for name, method in KERNELS.items()}
    x = np.linspace(-6.0, 6.0, 601)
    figures = {
        "densities": densities(x),
        "classifier": class_posterior(x, model, X_p, X_q),
        "ratio": ratios(x, model),
        "loss": losses(model, exact_loss(X_p, X_q)),
        "kernels": kernel_ratios(x, kernels),
    }
    found = [float(model.divergence("kl"))]
    for k in range(1, seeds):
        again = samples(n, seed + k)[:2]
        found.append(float(classifier(max_iter, seed + k).fit(*again).divergence("kl")))
    numbers = kl_table(model, n, seed)
    if seeds > 1:
        numbers[f"  classifiers, mean of seeds {seed} to {seed + seeds - 1}"] = f"{np.mean(found):.4f}"
    last = model.loss_curve_[-min(100, max_iter) :]
    numbers["loss of the classifier before training"] = (f"{model.loss_curve_[0]:.4f}", "1.3765")
    numbers["  mean of the last epochs"] = (f"{np.mean(last):.4f}", "a picture")
    numbers["  log 4 - 2 JS(p, q), the least for ever more rows"] = f"{least_loss():.4f}"
    numbers["  loss of the exact ratio on these rows"] = f"{exact_loss(X_p, X_q):.4f}"
    of_q = Q.sample(100_000, rng=seed)
    truth = np.exp(log_ratio(of_q))
    numbers["mean over q of (r - truth)²: classifier"] = f"{np.mean((model.ratio(of_q[:, None]) - truth) ** 2):.4f}"
    for name, kernel in kernels.items():
        error, kl = np.mean((kernel.ratio(of_q[:, None]) - truth) ** 2), kernel.divergence("kl", fresh_p, fresh_q)
        numbers[f"  {name}, {len(kernel.expansion_.centers)} kernels"] = f"{error:.4f}"
        numbers[f"    KL(p | q) of {name}, over {n:,} new rows of p"] = f"{kl:.4f}"
    numbers |= table(model, fresh_p, fresh_q, n, seed)
    return {"model": model, "kernels": kernels, "kl": found} | finish(output, figures, numbers, quiet)


def samples(n: int, seed: int) -> list[np.ndarray]:
    """Rows of p and q to learn from, and as many to test on."""
    rng = np.random.default_rng(seed)
    return [distribution.sample(n, rng=rng)[:, None] for distribution in (P, Q, P, Q)]


def classifier(max_iter: int, seed: int, **options) -> DensityRatio:
    """The text's: hidden layers of 16 and 32, rectifiers, RMSprop, rows as they are."""
    return DensityRatio(hidden=(16, 32), standardize=False, max_iter=max_iter, random_state=seed, **options)


def least_loss() -> float:
    """Of a classifier of infinitely many rows, both terms of the cross-entropy added."""
    return math.log(4) - 2 * divergence("js", P, Q)


def exact_loss(X_p, X_q) -> float:
    """The cross-entropy of the exact class-posterior on some rows."""
    return float(np.logaddexp(0, -log_ratio(X_p)).mean() + np.logaddexp(0, log_ratio(X_q)).mean())


def kl_table(model, n: int, seed: int) -> dict:
    """KL(p | q) in the ways of the text."""
    over_p, over_q = (
        monte_carlo_f_divergence("kl", P, Q, n, samples_from=form, rng=np.random.default_rng([seed, 0]))
        for form in "pq"
    )
    return {
        "KL(p | q), closed form": (f"{divergence('kl', P, Q):.8f}", "0.44314718"),
        f"  mean of log r over {n:,} draws of p": (estimate(over_p), "0.4467, 0.4581"),
        f"  mean of r log r over {n:,} draws of q": (estimate(over_q), "0.4431"),
        "  classifier, over its draws of p": (estimate(model.divergence("kl")), "0.4571"),
    }


def estimate(found) -> str:
    """An estimate and its standard error."""
    return f"{found:.4f} ± {found.standard_error:.4f}"


def table(model, fresh_p, fresh_q, n: int, seed: int) -> dict:
    """Divergences: exact, by sampling with the densities, and by the classifier without."""
    heads = ("exact", "Monte Carlo", "classifier", "new rows", "lower bound")
    rows = {f"{n:,} samples": "".join(f"{head:<17}" for head in heads).rstrip()}
    for k, (name, f) in enumerate(NAMES.items()):
        cells = [f"{divergence(f, P, Q):<17.6f}"]
        form = "p" if f == "kl" else "q"
        rng = np.random.default_rng([seed, k])
        estimates = [monte_carlo_f_divergence(f, P, Q, n, samples_from=form, rng=rng)]
        estimates += [model.divergence(f), model.divergence(f, fresh_p, fresh_q)]
        if f != "total_variation":
            estimates.append(model.divergence(f, fresh_p, fresh_q, estimator="bound"))
        cells += [f"{estimate(found):<17}" for found in estimates]
        rows[f"  {name}"] = "".join(cells).rstrip()
    return rows


# Pictures.


def densities(x):
    """p, q and their ratio."""
    lines = {"p(x)": P.prob, "q(x)": Q.prob, "r(x) = p(x) / q(x)": np.exp(log_ratio(x))}
    drawn = plot.curves(x, lines, filled=("p(x)", "q(x)"), ylabel="density; ratio")
    drawn.axes.set_ylim(0, None)
    return drawn.figure


def class_posterior(x, model, X_p, X_q, count: int = 300):
    """P(y = 1 | x), learned and exact, between samples with label 1 above and 0 below."""
    some = X_p[:count], X_q[:count]
    data = np.concatenate(some), np.repeat([1, 0], [len(rows) for rows in some])
    return plot.classifier(model, x, exact=1 / (1 + np.exp(-log_ratio(x))), data=data).figure


def ratios(x, model):
    """Learned and exact ratio and its logarithm."""
    figure, (first, second) = plot.new_figure((10, 4.2), 1, 2)
    for ax, log in ((first, False), (second, True)):
        plot.ratio({"classifier": model}, x, exact=log_ratio, log=log, ax=ax)
    second.set_ylim(log_ratio(x).min() - 1, 2.5)
    return figure


def losses(model, exact: float):
    """Loss of every epoch, the least loss, and how often which loss came about."""
    figure, (first, second) = plot.new_figure((8, 4.8), 1, 2, sharey=True, width_ratios=(4, 1))
    curve = model.loss_curve_
    second.hist(curve, np.linspace(curve.min(), curve.max(), 81), orientation="horizontal", color=plot.COLORS[0])
    for ax in (first, second):
        ax.axhline(least_loss(), color="k", ls="--", lw=1, label="log 4 - 2 JS(p, q)")
        ax.axhline(exact, color="0.4", ls=":", lw=1.5, label="exact ratio on these rows")
    plot.loss_curve(model, label="classifier", ax=first)
    second.set_xlabel("epochs")
    return figure


def kernel_ratios(x, models):
    """Ratios of the kernel methods beside the exact one, and what is wrong with them."""
    figure, (first, second) = plot.new_figure((10, 4.2), 1, 2)
    exact = np.exp(log_ratio(x))
    plot.ratio(models, x, exact=log_ratio, ax=first)
    errors = {name: model.ratio(x[:, None]) - exact for name, model in models.items()}
    plot.curves(x, {"exact": np.zeros_like(x)} | errors, ylabel="r(x) less the exact one", ax=second)
    return figure
