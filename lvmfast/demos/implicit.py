"""Generators learned through a density ratio: ``lvmfast demo implicit``.

    max_theta E_q log D(x) + E_z log(1 - D(G(z))),  log r = logit D;   min_phi E_z[-log r(G(z))],  the KL divergence

Learning in implicit models as Tiao's text on density ratio estimation has it: x = G(z) with z standard normal has the
law p, of which only draws are at hand, and so has the data's law q; a network learns log r = log q / p from both, and
the generator descends KL(p | q) by it. First G bends and stretches normal points onto a banana-shaped law whose density
is known, so that the outcome can be checked; then it draws digits.
"""

from __future__ import annotations

import math
import time

import numpy as np

from lvmfast import nn, plot
from lvmfast.demos._registry import Demo, add_data
from lvmfast.demos._report import finish
from lvmfast.demos._vae import load_digits
from lvmfast.demos.bijectors import LIMITS, banana
from lvmfast.models import DensityRatio, ImplicitModel

DEMO = Demo(
    "Generators of points and of digits, learned through a density ratio",
    "Density Ratio Estimation for KL Divergence Minimization between Implicit Distributions",
    30,
)


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--objective", help="what the generators descend (default: %(default)s)")
    parser.add_argument("--max-iter", type=int, help="epochs of both fits (default: %(default)s)")
    add_data(parser)


def run(*, output, seed=0, objective="kl", max_iter=120, points=5000, data=None, quiet=False) -> dict:
    """Learn both, say what came out and write the pictures to ``output``; returns what was measured."""
    (train, _), (test, _) = load_digits(data)
    images = (np.concatenate([train, test])[..., None] / 255).astype(np.float32)
    figures, numbers, found = _points(seed, objective, points, max_iter, quiet)
    options = {"objective": objective, "random_state": seed, "verbose": not quiet}
    model = digits_model(len(images), max_iter, **options)
    begun = time.perf_counter()
    model.fit(images)
    seconds = time.perf_counter() - begun
    generated = model.sample(64, rng=seed)
    figures |= {"digits": digits(images, generated), "history": history(model, "digits")}
    counts = model.generator_.n_parameters, model.ratio_network_.n_parameters
    bound = model.history_["bound"]
    numbers |= {
        f"{len(images):,} digits, {model.n_iter_} epochs, {model.n_steps_:,} steps": f"{seconds:.1f} s",
        "  parameters of generator and ratio network": "{:,}, {:,}".format(*counts),
        "  bound of the Jensen-Shannon divergence, first and last epoch": f"{bound[0]:.3f}, {bound[-1]:.3f}",
        "  ink (mean of the pixels), real and generated": f"{images.mean():.3f}, {model.sample(500, rng=1).mean():.3f}",
    }
    return {"model": model, "generated": generated, **found} | finish(output, figures, numbers, quiet)


def _adam(rate: float, steps: int) -> nn.Adam:
    return nn.Adam(nn.CosineDecay(rate, steps), beta_1=0.5)


# Points.


def points_model(n: int, max_iter: int, **options) -> ImplicitModel:
    """A generator of points from as many normal numbers, without a density in closed form."""
    generator = [nn.Dense(32, "tanh"), nn.Dense(32, "tanh"), nn.Dense(2)]
    ratio = [nn.Dense(64, "elu"), nn.Dense(64, "elu"), nn.Dense(1)]
    steps = max_iter * math.ceil(n / 100)
    optimizers = {"optimizer": _adam(2e-3, steps), "ratio_optimizer": _adam(4e-3, steps)}
    return ImplicitModel(generator, ratio, n_components=2, **optimizers, max_iter=max_iter, **options)


def _points(seed: int, objective: str, n: int, max_iter: int, quiet: bool):
    target = banana()
    X = target.sample(n, rng=seed).astype(np.float32)
    model = points_model(n, max_iter, objective=objective, random_state=seed, verbose=not quiet)
    begun = time.perf_counter()
    model.fit(X)
    seconds = time.perf_counter() - begun
    drawn = model.sample(n, rng=seed + 1)
    fresh = target.sample(n, rng=seed + 2)
    # What remains, by a new classifier, half of the rows of both laws to learn from and half to judge by.
    half, scale = n // 2, X.std(axis=0)
    judge = DensityRatio(max_iter=300, random_state=seed).fit(drawn[:half] / scale, fresh[:half] / scale)
    kl = judge.divergence("kl", drawn[half:] / scale, fresh[half:] / scale)
    cross = -target.log_prob(drawn.astype(np.float64))
    entropy = float(target.distribution.entropy())
    numbers = {
        f"{n:,} points of a banana, {model.n_iter_} epochs, {model.n_steps_:,} steps": f"{seconds:.1f} s",
        "  means, data and generator": _pair(X.mean(axis=0), drawn.mean(axis=0)),
        "  standard deviations": _pair(X.std(axis=0), drawn.std(axis=0)),
        "  -log q of the generator's draws, median (and of q's own)": f"{np.median(cross):.3f} "
        f"({np.median(-target.log_prob(fresh)):.3f}; the entropy of q is {entropy:.3f})",
        "  KL(p | q) by a new classifier, on new points": f"{kl:.3f} ± {kl.standard_error:.3f}",
    }
    figures = {"points": scatter(target, X, drawn), "points-history": history(model, "points")}
    return figures, numbers, {"points_model": model, "kl": kl}


def _pair(first, second) -> str:
    return " and ".join(f"({', '.join(f'{value:.2f}' for value in values)})" for values in (first, second))


# Pictures.


def scatter(target, X, drawn, count: int = 1500):
    """Points of the data and of the generator over the lines of the data's density."""
    figure, axes = plot.new_figure((10, 4.8), 1, 2)
    for ax, (name, rows) in zip(axes, {"data": X, "generator": drawn}.items(), strict=True):
        plot.contours(target, *LIMITS, shares=(0.5, 0.9, 0.99), filled=False, samples=rows[:count], title=name, ax=ax)
    return figure


def history(model, what: str):
    """The bound of the Jensen-Shannon divergence and both losses by epoch."""
    figure, (first, second) = plot.new_figure((10, 4.4), 1, 2)
    first.axhline(math.log(2), color="k", ls=":", lw=1, label="log 2: told apart without a mistake")
    first.axhline(0, color="k", lw=0.8)
    plot.loss_curve(model, "bound", label="bound", title=f"Jensen-Shannon bound, {what}", ax=first)
    second.axhline(math.log(4), color="k", ls=":", lw=1, label="log 4: cannot be told apart")
    plot.loss_curve(model, "ratio_loss", label="ratio network", ax=second)
    plot.loss_curve(model, "generator_loss", label="generator", ylabel="loss (nats)", ax=second)
    return figure


# Digits.


def digits_model(n: int, max_iter: int, **options) -> ImplicitModel:
    """Convolutions that widen 32 numbers to an image, and others that narrow it to log r."""
    generator = [
        nn.Dense(7 * 7 * 32, "relu"),
        nn.Reshape((7, 7, 32)),
        nn.Conv2DTranspose(32, (4, 4), (2, 2), "same", "relu"),
        nn.Conv2DTranspose(1, (4, 4), (2, 2), "same", "sigmoid"),
    ]
    ratio = [
        nn.Conv2D(16, (4, 4), (2, 2), "same", "elu"),
        nn.Conv2D(32, (4, 4), (2, 2), "same", "elu"),
        nn.Flatten(),
        nn.Dense(1),
    ]
    steps = max_iter * math.ceil(n / 64)
    rates = {"optimizer": _adam(1e-3, steps), "ratio_optimizer": _adam(1e-3, steps)}
    return ImplicitModel(generator, ratio, n_components=32, **rates, batch_size=64, max_iter=max_iter, **options)


def digits(images, generated, side: int = 8):
    """Real digits beside generated ones."""
    figure, axes = plot.new_figure((10, 5.7), 1, 2)
    for ax, (title, rows) in zip(axes, {"real": images, "generated": generated}.items(), strict=True):
        tiles = np.resize(rows, (side, side, 28, 28)) if len(rows) < side * side else rows[: side * side]
        tiles = tiles.reshape(side, side, 28, 28)
        plot.image_grid(tiles, limits=(0, 1), title=title, ax=ax)
    return figure
