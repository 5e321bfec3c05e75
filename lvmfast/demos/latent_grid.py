"""A curve in the plane, blurred, as a latent-variable model: ``lvmfast demo latent-grid``.

    p(x) = integral N(x; f(z), sigma^2 I) N(z; 0, 1) dz,   p(z | x) = N(x; f(z), sigma^2 I) N(z; 0, 1) / p(x)

Notebook 17.1 of Prince's book "Understanding Deep Learning", what it leaves to be written included: the prior on the
curve, the likelihood of some z, the density of the data as a sum over 600 latents, draws, and the posterior of z at
x = (0.9, -0.9) with its modes, mean and intervals. The notebook's formula for x_2 has a sine, its code a cosine; the
code's is used. Its sums are filled in here as its comments ask for them, and timed beside the model's.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.stats import multivariate_normal, norm
from tqdm.auto import tqdm

from lvmfast import grids, plot
from lvmfast._validation import check_integer
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import fastest, finish, seconds
from lvmfast.models import GridLatentModel

DEMO = Demo(
    "A blurred curve in the plane: its density, draws from it, and which latents a point may have",
    "Notebook 17.1: Latent variable models",
    6,
)
NOISE = 0.04  # sigma^2
LATENTS = np.arange(-3.0, 3.0, 0.01)
CHOSEN = (1.8, -1.0, 0.0, 1.0)  # the notebook's z, and others to see what is happening
POINT = (0.9, -0.9)
LEVEL = 0.95


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--n", type=int, help="points of the mesh along each axis (default: %(default)s)")
    parser.add_argument("--n-samples", type=int, help="draws (default: %(default)s)")


def f(z):
    """The curve: latents (m, 1) to x_1 and x_2, each (m,)."""
    z = z[:, 0]
    return 0.5 * np.exp(np.sin(2 + 3.675 * z)), np.cos(2 + 2.85 * z)


def run(*, output, seed=0, n=300, n_samples=500, quiet=False) -> dict:
    """Walk through it, say what came out and write the pictures to ``output``; returns what was measured."""
    n, n_samples = check_integer(n, "n", 2), check_integer(n_samples, "n_samples", 1)
    model = GridLatentModel(f, NOISE, grid=LATENTS)
    mesh = grids.mesh(
        np.linspace(-0.5, 2.5, n, endpoint=False), np.linspace(-1.5, 1.5, n, endpoint=False), indexing="xy"
    )
    likelihoods = {z: mesh.reshape(np.exp(model.log_likelihood(mesh.points, [[z]]))) for z in CHOSEN}
    density = mesh.reshape(np.exp(model.log_density(mesh)))
    begun = time.perf_counter()
    summed = mesh.reshape(notebook_density(mesh.points, quiet))
    loop = f"{seconds(time.perf_counter() - begun)}, its loop run here"
    X, latents = model.sample(n_samples, rng=seed, return_latents=True)
    posterior = model.posterior([POINT])
    figures = {
        "prior": curve(),
        "likelihood": heatmaps(mesh, likelihoods),
        "density": heatmap(mesh, density, title="Data density $p(x_1, x_2)$"),
        "samples": heatmap(mesh, density, X, title=f"Data density and {n_samples:,} draws"),
        "posterior": posterior_curve(posterior),
    }
    numbers = {
        "noise variance": (f"{NOISE:g}", "0.04"),
        "latents": (f"{len(LATENTS)}", "600"),
        "  prior mass that they hold": f"{posterior.weights @ norm.pdf(posterior.latents[:, 0]):.6f}",
        f"likelihood at z = {CHOSEN[0]}, greatest": f"{likelihoods[CHOSEN[0]].max():.4f}",
        "mesh": (" x ".join(map(str, mesh.shape)), "300 x 300"),
        "  density, greatest": f"{density.max():.6f}",
        "  sum of density times cell": f"{density.sum() * (3 / n) ** 2:.6f}",
        "  largest difference from the notebook's sum": f"{np.abs(density - summed).max():.1e}",
        "  time, given as a mesh": (seconds(fastest(lambda: model.log_density(mesh))), loop),
        "  time, given as scattered points": (seconds(fastest(lambda: model.log_density(mesh.points))), loop),
    }
    numbers["draws, and their mean log density"] = (f"{n_samples}, {model.score(X):.4f} nats", "500")
    numbers |= posterior_table(posterior)
    measured = {"model": model, "density": density, "summed": summed, "posterior": posterior, "latents": latents}
    return measured | finish(output, figures, numbers, quiet)


def notebook_density(points, quiet: bool) -> np.ndarray:
    """The notebook's sum: its likelihood of all points for one z after the other, times prior and increment."""
    total = np.zeros(len(points))
    for z, prior in zip(tqdm(LATENTS, disable=quiet, desc="the notebook's loop"), norm.pdf(LATENTS), strict=True):
        mean = np.ravel(f(np.array([[z]])))
        total += multivariate_normal(mean, NOISE * np.eye(2)).pdf(points) * prior * 0.01
    return total


def modes(posterior) -> np.ndarray:
    """Indices of latents denser than both neighbours, densest first, down to a hundredth of the greatest density."""
    density = posterior.density[0]
    inner = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])) + 1
    inner = inner[density[inner] > 0.01 * density.max()]
    return inner[np.argsort(-density[inner])]


def notebook_posterior() -> np.ndarray:
    """The notebook's posterior: products of likelihood and prior, divided by their sum and by the increment."""
    found = norm.pdf(LATENTS) * norm.pdf(np.column_stack(f(LATENTS[:, None])), POINT, NOISE**0.5).prod(axis=1)
    return found / found.sum() / 0.01


def posterior_table(posterior) -> dict:
    """What is known of z at the point."""
    low, high = posterior.credible_interval(LEVEL)[0, 0]
    region = posterior.credible_region(LEVEL)[0]
    runs = intervals(posterior.latents[:, 0], region)
    z, density = posterior.latents[:, 0], posterior.density[0]
    numbers = {
        f"posterior at {POINT}: sum of density times weight": (f"{posterior.weights @ density:.12f}", "1"),
        "  largest difference from the notebook's": f"{np.abs(density - notebook_posterior()).max():.1e}",
        "  log p(x)": f"{posterior.log_evidence[0]:.6f} nats",
        "  mean ± standard deviation": f"{posterior.mean[0, 0]:.4f} ± {posterior.std[0, 0]:.4f}",
        f"  {100 * LEVEL:g} % of it, equal tails": f"[{low:.4f}, {high:.4f}]",
        f"  {100 * LEVEL:g} % of it, densest": ", ".join(f"[{a:.2f}, {b:.2f}]" for a, b in runs),
    }
    for k, at in enumerate(modes(posterior)):
        numbers[f"  mode {k + 1}"] = f"{z[at]:.2f}, density {density[at]:.4f}"
    return numbers


def intervals(z, inside) -> list[tuple[float, float]]:
    """First and last latent of every run that is inside."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(z[a], z[b - 1]) for a, b in zip(edges[::2], edges[1::2], strict=True)]


# Pictures.


def curve():
    """The curve over z, more opaque where the prior is denser."""
    from matplotlib.colors import to_rgba
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    figure, ax = plot.new_figure((10, 4.6), subplot_kw={"projection": "3d"})
    points = np.column_stack([LATENTS, *f(LATENTS[:, None])])
    prior = norm.pdf(LATENTS[:-1])
    colors = [to_rgba(plot.COLORS[0], alpha) for alpha in prior / prior.max()]
    ax.add_collection3d(Line3DCollection(np.stack([points[:-1], points[1:]], axis=1), colors=colors, linewidths=2))
    ax.set(xlabel="z", ylabel="$x_1$", zlabel="$x_2$", xlim=(-3, 3), ylim=(0, 2), zlim=(-1, 1))
    ax.set(yticks=(0, 1, 2), zticks=(-1, 0, 1))
    ax.set_box_aspect((3, 1, 1), zoom=1.5)
    ax.set_title("f(z), as opaque as p(z) is large")
    return figure


def heatmap(mesh, values, X=None, *, title, ax=None):
    """Values over the mesh, and draws upon them."""
    if ax is None:
        _, ax = plot.new_figure((7, 5.6))
    filled = ax.contourf(*mesh.axes, values, 64, cmap="viridis")
    ax.contour(*mesh.axes, values, 8, colors="w", linewidths=0.5, alpha=0.5)
    if X is not None:
        ax.plot(*X.T, ".", color=plot.COLORS[1], ms=4)
    limits = [(axis[0], axis[-1]) for axis in mesh.axes]
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", title=title, xlim=limits[0], ylim=limits[1])
    ax.figure.colorbar(filled, ax=ax, label="density", format="%.2g")
    return ax.figure


def heatmaps(mesh, likelihoods: dict):
    """The likelihood of some latents, with the curve."""
    figure, axes = plot.new_figure((11, 9.2), 2, 2)
    x = f(LATENTS[:, None])
    for ax, (z, values) in zip(axes.flat, likelihoods.items(), strict=True):
        heatmap(mesh, values, title=f"Likelihood $p(x_1, x_2 | z = {z:g})$", ax=ax)
        ax.plot(*x, color="w", lw=0.8, alpha=0.7)
    return figure


def posterior_curve(posterior):
    """Posterior and prior density of z, mean, modes and the set of the densest latents."""
    _, ax = plot.new_figure((9, 4.8))
    z, density = posterior.latents[:, 0], posterior.density[0]
    ax.plot(z, norm.pdf(z), color="0.5", ls=":", lw=1.5, label="prior p(z)")
    at = modes(posterior)
    ax.plot(z[at], density[at], "v", color="k", ms=6, label="modes")
    plot.posterior(posterior, level=LEVEL, title=f"x = {POINT}", ax=ax)
    ax.set_xlim(-3, 3)
    return ax.figure
