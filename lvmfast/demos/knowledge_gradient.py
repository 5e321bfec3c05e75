"""The knowledge gradient, step by step: ``lvmfast demo knowledge-gradient``.

    alpha(x) = E[tau_n - tau_{n+1}],  tau_n = min_x' mu_n(x'),  over what would be observed at x

The walk of Tiao's text: f(x) = sin 3x + x^2 - 0.7 x is to be minimised on [-1, 2], observed with noise at ten uniform
places. A Gaussian process before and after type-II maximum likelihood, the least value of its mean, outcomes simulated
at x_c = 0.1, one and then five, the mean that each would lead to and the least value of it. Then the knowledge gradient
of every candidate, and a loop that observes where it is greatest.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize

from lvmfast import plot
from lvmfast._validation import check_integer
from lvmfast.bayesopt import DiscreteKnowledgeGradient, KnowledgeGradient, minimize
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import finish
from lvmfast.kernels import RBF
from lvmfast.models import GPR

DEMO = Demo(
    "Where to observe next: the knowledge gradient step by step, and a loop that follows it",
    "An Illustrated Guide to the Knowledge Gradient Acquisition Function",
    6,
)
BOUNDS = np.array([[-1.0, 2.0]])
NOISE = 0.1  # standard deviation
CANDIDATE = 0.1
FIRST = 4  # calls of the loop before there is a model
MEAN, OUTCOME = plot.COLORS[:2]  # colours of the predictive mean, and of one simulated outcome


def f(x):
    """What is to be minimised."""
    return np.sin(3 * x) + x**2 - 0.7 * x


def true_minimum() -> tuple[float, float]:
    """Where f is least, and its value, from the root of the derivative."""
    x = np.linspace(*BOUNDS[0], 301)
    k = int(f(x).argmin())
    root = optimize.brentq(lambda x: 3 * np.cos(3 * x) + 2 * x - 0.7, x[k - 1], x[k + 1], xtol=1e-15)
    return root, float(f(root))


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--n", type=int, help="observations of the walk (default: %(default)s)")
    parser.add_argument("--n-calls", type=int, help="observations of the loop (default: %(default)s)")


def run(*, output, seed=0, n=10, n_calls=15, quiet=False) -> dict:
    """Walk through it, say what came out and write the pictures to ``output``; returns what was measured."""
    n = check_integer(n, "n", 2)
    rng = np.random.default_rng(seed)
    X = rng.uniform(*BOUNDS[0], (n, 1))
    y = f(X[:, 0]) + NOISE * rng.standard_normal(n)
    before = GPR(RBF(1.0, 1.0), noise_variance=1.0, optimizer=None).fit(X, y)
    after = GPR(RBF(1.0, 1.0), noise_variance=0.1, n_restarts=8, random_state=seed).fit(X, y)
    drawn = {m: simulate(after, m, seed) for m in (1, 5, 4096)}
    x = np.linspace(*BOUNDS[0], 601)
    score = KnowledgeGradient(after, BOUNDS)
    exact = DiscreteKnowledgeGradient(after, BOUNDS, points=x[:, None], include_candidate=False)
    best = score.maximize(random_state=seed)
    history = loop(n_calls, seed)
    figures = {
        "function": observations(x, X, y),
        "before": predictive(x, before),
        "after": predictive(x, after),
        "predictive-minimum": predictive_minimum(x, after, score),
    }
    for m, name in ((1, "one"), (5, "five")):
        figures[f"{name}-simulated"] = simulations(x, after, score, drawn[m])
        figures[f"{name}-simulated-minima"] = simulations(x, after, score, drawn[m], minima=True)
    figures["knowledge-gradient"] = whole_interval(x, score, exact, best)
    figures["loop"] = observed_in_order(x, history)
    figures["regret"] = regrets(history)
    numbers = table(before, after, drawn, score, exact, best, history)
    gains = score.predictive_minimum - drawn[4096].minima[0]
    measured = {"gains": gains, "exact": float(exact([[CANDIDATE]])[0]), "best": best, "history": history}
    return measured | finish(output, figures, numbers, quiet)


def simulate(model, m: int, seed: int):
    """m outcomes drawn at the candidate, with the minima of the means that they lead to."""
    normals = np.random.default_rng([seed, 7]).standard_normal((m, 1))
    return KnowledgeGradient(model, BOUNDS, sampling=normals).fantasies([[CANDIDATE]])


def loop(n_calls: int, seed: int) -> dict:
    """Minimise f from noisy values alone; what is recommended after every call is the minimiser of the mean.

    Before there is a model, it is the place of the lowest value.
    """
    rng = np.random.default_rng([seed, 1])
    recommended = []

    def observe(point):
        return float(f(point[0]) + NOISE * rng.standard_normal())

    def note(result):
        recommended.append((result.x_model or result.x)[0])

    options = {"n_initial_points": FIRST, "acquisition": "kg", "random_state": seed, "callback": note}
    result = minimize(observe, BOUNDS.tolist(), n_calls=n_calls, **options)
    places = np.array(result.x_iters)[:, 0]
    least = true_minimum()[1]
    return {
        "result": result,
        "x": places,
        "y": np.asarray(result.func_vals),
        "regret": f(np.array(recommended)) - least,
        "regret_tried": np.minimum.accumulate(f(places)) - least,
    }


def table(before, after, drawn, score, exact, best, history) -> dict:
    """What the pictures show, in numbers."""
    x_min, f_min = true_minimum()
    tau, place = score.predictive_minimum, score.predictive_minimizer[0]
    kernel, result = after.kernel_, history["result"]
    numbers = {
        "observations": (str(len(after.X_train_)), "10"),
        "candidate": (f"{CANDIDATE}", "0.1"),
        "log marginal likelihood before": f"{before.log_marginal_likelihood_:.4f} nats, all parameters 1",
        "log marginal likelihood after": f"{after.log_marginal_likelihood_:.4f} nats",
        "  amplitude, lengthscale, noise": f"{kernel.variance**0.5:.4f}, {np.ravel(kernel.lengthscale)[0]:.4f}, "
        f"{after.noise_variance_**0.5:.4f}",
        "predictive minimum": f"{tau:.6f} at {place:.6f}",
        f"knowledge gradient at {CANDIDATE}": "",
    }
    for m, outcomes in drawn.items():
        gains = tau - outcomes.minima[0]
        error = f" ± {gains.std(ddof=1) / m**0.5:.6f}" if m > 1 else ""
        text = "a picture" if m < 6 else ""
        numbers[f"  {m:,} simulated outcome{'s' if m > 1 else ''}"] = (f"{gains.mean():.6f}{error}", text)
    numbers["  64 strata of outcomes"] = f"{score([[CANDIDATE]])[0]:.6f}"
    numbers["  exact over 601 points"] = f"{exact([[CANDIDATE]])[0]:.6f}"
    numbers["greatest knowledge gradient"] = f"{best.value:.6f} at {best.x[0]:.6f}"
    numbers["  there, exact over 601 points"] = f"{exact(best.x[None])[0]:.6f}"
    numbers["minimum of f"] = f"{f_min:.10f} at {x_min:.10f}"
    numbers[f"found with {len(history['x'])} noisy values"] = f"{f(result.x_model[0]):.10f} at {result.x_model[0]:.10f}"
    numbers["  more than the minimum by"] = f"{history['regret'][-1]:.2e}"
    return numbers


# Pictures.


def scene(x, ax=None):
    """f."""
    if ax is None:
        _, ax = plot.new_figure((8, 4.8))
    ax.plot(x, f(x), color="0.35", ls=":", lw=1.8, label="f(x)")
    ax.set(xlabel="x", ylabel="y", xlim=BOUNDS[0])
    return ax


def observed(ax, X, y) -> None:
    """The observations."""
    ax.plot(X[:, 0], y, "o", color="k", mfc="w", mew=1.4, ms=6, zorder=4, label="observations")


def observations(x, X, y):
    """What is to be minimised and what is known of it."""
    ax = scene(x)
    observed(ax, X, y)
    ax.legend(frameon=False)
    return ax.figure


def predictive(x, model):
    """The posterior predictive distribution: the mean, and two standard deviations of new observations around it."""
    return plot.gp(model, x, include_noise=True, ax=scene(x)).figure


def mark(ax, place: float, value: float, color, **line) -> None:
    """A least value: a dashed line at its height, a star where it is, a triangle below on the axis."""
    ax.axhline(value, color=color, ls="--", lw=1.2, **line)
    ax.plot(place, value, "*", color=color, ms=14, mec="w", mew=0.8, zorder=6)
    ax.plot(place, 0.0, "^", color=color, ms=9, transform=ax.get_xaxis_transform(), clip_on=False, zorder=6)


def predictive_minimum(x, model, score):
    """The mean, and where it is least."""
    ax = scene(x)
    mark(ax, score.predictive_minimizer[0], score.predictive_minimum, "k", label=r"predictive minimum $\tau_n$")
    return plot.gp(model, x, include_noise=True, ax=ax).figure


def hues(outcomes) -> np.ndarray:
    """A colour for each outcome, in their order."""
    from matplotlib import colormaps

    if len(outcomes) == 1:
        return np.array([OUTCOME])
    return colormaps["viridis"](np.linspace(0.0, 0.85, len(outcomes)))[np.argsort(np.argsort(outcomes))]


def simulations(x, model, score, drawn, minima: bool = False):
    """Simulated outcomes at the candidate and the means that they lead to, with their least values or without."""
    ax = scene(x)
    observed(ax, model.X_train_, model.y_train_)
    ax.plot(x, model.predict(x[:, None]), color=MEAN, lw=2, label=r"predictive mean $\mu_n$")
    outcomes = drawn.outcomes[0].ravel()
    means = model.fantasize([[CANDIDATE]], outcomes[:, None]).predict(x[:, None])
    ax.axvline(CANDIDATE, color="0.6", lw=1.5, zorder=0, label="candidate $x_c$")
    colors, order, m = hues(outcomes), np.argsort(outcomes), "(m)" if len(outcomes) > 1 else "(1)"
    for k in order:
        ax.plot(
            x, means[k], color=colors[k], lw=1.8, label=named(rf"augmented mean $\mu_{{n+1}}^{{{m}}}$", k == order[0])
        )
        label = named(rf"simulated outcome $y_c^{{{m}}}$", k == order[0])
        ax.plot(CANDIDATE, outcomes[k], "o", color=colors[k], ms=8, zorder=5, label=label)
    if minima:
        mark(ax, score.predictive_minimizer[0], score.predictive_minimum, MEAN, label=r"$\tau_n$")
        for k in order:
            label = named(rf"$\tau_{{n+1}}^{{{m}}}$", k == order[0])
            mark(ax, drawn.minimizers[0, k, 0], drawn.minima[0, k], colors[k], label=label)
    ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.62, 1.0))
    return ax.figure


def named(label: str, first: bool) -> str | None:
    """The label of the first of several lines; others have none."""
    return label if first else None


def whole_interval(x, score, exact, best):
    """The knowledge gradient of every candidate, below the predictive distribution that it looks ahead from."""
    figure, axes = plot.new_figure((8, 6.8), 2, 1, sharex=True, height_ratios=(3, 2))
    scene(x, axes[0])
    axes[1].plot(x, exact(x[:, None]), color="k", ls=":", lw=1.6, label="exact over 601 points", zorder=3)
    plot.knowledge_gradient(score, candidate=best, ax=axes)
    return figure


def last_model(result, x):
    """Mean and standard deviation of f by the loop's last model, which has scaled inputs and standardised outputs."""
    mean, std = result.models[-1].predict(result.space.transform([[value] for value in x]), return_std=True)
    return result.y_location + result.y_scale * mean, result.y_scale * std


def observed_in_order(x, history):
    """All observations of the loop, later ones lighter, and what its last model says."""
    figure, ax = plot.new_figure((8.6, 4.8))
    scene(x, ax)
    result, n = history["result"], len(history["x"])
    style = {"cmap": "viridis", "s": 45, "ec": "w", "zorder": 5, "clip_on": False}
    points = ax.scatter(history["x"], history["y"], c=np.arange(1, n + 1), **style)
    figure.colorbar(points, ax=ax, label="call", ticks=np.unique(np.linspace(1, n, min(n, 8)).round()))
    x_min = true_minimum()[0]
    ax.axvline(x_min, color="0.6", lw=1.2, zorder=0, label="minimiser of f")
    plot.gp(last_model(result, x), x, ax=ax)
    mark(ax, result.x_model[0], result.fun_model, MEAN)
    return figure


def regrets(history):
    """How much more than its minimum f is where the loop would stop, call by call."""
    _, ax = plot.new_figure((8, 4.4))
    calls = np.arange(1, len(history["x"]) + 1)
    ax.semilogy(
        calls, history["regret"], "o-", color=plot.COLORS[0], lw=1.8, ms=5, label="minimiser of the predictive mean"
    )
    ax.semilogy(calls, history["regret_tried"], "s--", color=plot.COLORS[1], lw=1.4, ms=4, label="best place tried")
    ax.axvspan(0.5, FIRST + 0.5, color="0.93", lw=0)
    ax.text(0.75, ax.get_ylim()[0] * 1.2, "first places", color="0.35")
    ax.set(xlabel="call", ylabel="f less its minimum", xlim=(0.5, len(calls) + 0.5))
    ax.legend(frameon=False)
    return ax.figure
