"""What the demos of variational autoencoders share: digits, pictures, numbers."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from lvmfast import datasets, plot
from lvmfast.demos._report import finish
from lvmfast.grids import prior_grid

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
        "loss": losses(model),
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
    grid = prior_grid(side, (edge, 1 - edge))
    return plot.manifold(model, grid, (28, 28), title="Decoded latents, spaced as quantiles of the prior").figure


def reconstructions(model, X, codes, count: int = 12):
    """Digits above, the means that their codes decode to below."""
    decoded = model.inverse_transform(codes[:count])
    pairs = np.stack([np.reshape(X[:count], (-1, 28, 28)), np.reshape(decoded, (-1, 28, 28))])
    return plot.image_grid(pairs, limits=(0, 1), title="Held-out digits and their reconstructions").figure


def losses(model):
    """The negative bound by epoch, of rows fitted and held out, and the KL divergence that is part of it."""
    figure, (first, second) = plot.new_figure((8, 6.4), 2, 1, sharex=True, height_ratios=(3, 2))
    plot.loss_curve(model, ax=first)
    plot.loss_curve(model, "kl", ax=second)
    first.set_xlabel("")
    second.get_legend().remove()
    return figure
