"""What the demos of variational autoencoders share: digits, pictures, numbers."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from lvmfast import datasets, plot
from lvmfast.demos._report import finish

FULL = (60_000, 70_000)  # training digits, all digits: MNIST's own split


class Text(NamedTuple):
    """What a text says of its fit to all digits."""

    epochs: int
    time: str = ""
    bounds: tuple[float, ...] = ()  # of held-out digits after every epoch


def load_digits(data=None):
    """Grey values 0 to 255 and labels: (train, labels), (test, labels), images of shape (n, 28, 28).

    The last fifth is held out, of all 70,000 digits the last 10,000.
    """
    digits = datasets.load_mnist_sample() if data is None else datasets.load_mnist(data, subset="all")
    images, labels = digits.images, digits.target
    n_train = FULL[0] if len(images) == FULL[1] else len(images) - len(images) // 5
    return (images[:n_train], labels[:n_train]), (images[n_train:], labels[n_train:])


def run_digits(model, X, X_test, labels, *, output, edge, side, text, quiet) -> dict:
    """Fit, say what came out and write the pictures to ``output``; returns what was measured.

    Parameters
    ----------
    model : VAE with two latents, not fitted
    X, X_test : ndarray of shape (n, ...), 784 numbers a row
    labels : ndarray of shape (n_test,)
    edge, side : float, int
        The manifold is decoded at norm.ppf of ``side`` numbers from edge to 1 - edge, for both latents.
    text : Text
    """
    begun = time.perf_counter()
    model.fit(X, validation_data=X_test)
    seconds = time.perf_counter() - begun
    codes = model.transform(X_test)
    figures = {
        "latents": plot.latent_scatter(codes, labels, title="Codes of held-out digits").figure,
        "manifold": manifold(model, edge, side),
        "reconstructions": reconstructions(model, X_test, codes),
        "loss": losses(model.history_),
    }
    bounds = -np.asarray(model.history_["val_loss"])
    some = X_test[:100]
    evidence = model.log_likelihood(some, n_samples=100)
    numbers = {
        "parameters of encoder and decoder": f"{model.encoder_.n_parameters:,}, {model.decoder_.n_parameters:,}",
        "digits to learn from, held out": (f"{len(X):,}, {len(X_test):,}", "60,000, 10,000"),
        f"epochs, {model.n_steps_:,} steps in all": (str(len(bounds)), str(text.epochs)),
        "fit": (f"{seconds:.1f} s", text.time),
        "bound (ELBO) on held-out digits after epoch": "",
    }
    every = next(k for k in (1, 2, 5, 10, 25, 50, len(bounds)) if len(bounds) <= 8 * k)
    for epoch in sorted({1, *range(every, len(bounds), every), len(bounds)}):
        theirs = f"{text.bounds[epoch - 1]:.2f}" if epoch <= len(text.bounds) else ""
        numbers[f"  {epoch}"] = (f"{bounds[epoch - 1]:.2f} nats", theirs)
    numbers[f"bound on {len(some)} of them"] = f"{model.score(some):.2f} nats"
    numbers["  log p(x) of these, importance-weighted, 100 samples"] = f"{np.mean(evidence):.2f} nats"
    return {"model": model, "bounds": bounds, "seconds": seconds} | finish(output, figures, numbers, quiet)


def manifold(model, edge: float, side: int):
    """Decoded images where the prior's mass is spread evenly."""
    ticks = norm.ppf(np.linspace(edge, 1 - edge, side))
    first, second = np.meshgrid(ticks, ticks[::-1])  # the second latent grows upwards, as in the scatter
    images = model.inverse_transform(np.column_stack([first.ravel(), second.ravel()]).astype(model.dtype))
    half = (1 - 2 * edge) / (side - 1) / 2
    span = (edge - half, 1 - edge + half)
    ax = plot.image_grid(np.reshape(images, (side, side, 28, 28)), limits=(0, 1), extent=span * 2)
    ax.set(xlabel="latent 1, quantile of the prior", ylabel="latent 2, quantile of the prior", title="Decoded latents")
    return ax.figure


def reconstructions(model, X, codes, count: int = 12):
    """Digits above, the means that their codes decode to below."""
    decoded = model.inverse_transform(codes[:count])
    pairs = np.stack([np.reshape(X[:count], (-1, 28, 28)), np.reshape(decoded, (-1, 28, 28))])
    _, ax = plot.new_figure((9, 2))
    plot.image_grid(pairs, limits=(0, 1), title="Held-out digits and their reconstructions", ax=ax)
    return ax.figure


def losses(history):
    """The negative bound by epoch and its parts."""
    figure, ax = plot.new_figure((8, 4.8))
    epochs = np.arange(1, len(history["loss"]) + 1)
    ax.plot(epochs, history["loss"], color="C0", label="training, while the steps are taken")
    if "val_loss" in history:
        ax.plot(epochs, history["val_loss"], color="C3", label="held-out")
    ax.set(xlabel="epoch", ylabel="negative ELBO (nats a row)")
    ax.grid(alpha=0.3)
    second = ax.twinx()
    second.plot(epochs, history["kl"], color="0.5", ls="--", label="KL (right axis)")
    second.set_ylabel("KL divergence (nats)")
    lines = [*ax.get_lines(), *second.get_lines()]
    labels = [line.get_label() for line in lines]
    ax.legend(lines, labels, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(lines))
    return figure
