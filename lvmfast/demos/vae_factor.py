"""A factor model with one latent and curves in place of lines: ``lvmfast demo vae-factor``.

    z ~ N(0, 1), x_j | z ~ N(g_j(z), sigma_j^2), j = 1, ..., p

Networks, optimizer and batches are those of Blanc's text on autoencoders for nonlinear latent variable models: 100
features, 180 of 200 rows for training, 200 epochs of Adam with batches of 32. The text's file is not at hand: the rows
here are drawn from the model with smooth random curves, so that there is a truth to compare with. The text describes a
variance of each feature, averaged over the batch (``variance="batch"``); the axis that its code averages over is that
of the features, which gives each row one of its own (``variance="row"``). Both are fitted.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from lvmfast import nn, plot
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import finish
from lvmfast.demos._vae import losses
from lvmfast.models import VAE

DEMO = Demo(
    "A variational autoencoder as a nonlinear factor model, and the curves that it should find",
    "VAE Implementation for Nonlinear Latent Variable Modeling",
    8,
)
ROWS, FEATURES, EPOCHS = 200, 100, 200


class Curves:
    """``g_j(z) = sqrt(2 / m) sum_k w_jk cos(f_k z + c_k)``: about a Gaussian process with an RBF kernel of length 1.

    Attributes
    ----------
    noise : ndarray of shape (p,)
        sigma_j, uniform on [0.2, 0.6].
    """

    def __init__(self, p: int, rng, m: int = 100):
        self.frequencies, self.phases = rng.standard_normal(m), rng.uniform(0, 2 * np.pi, m)
        self.weights = rng.standard_normal((m, p))
        self.noise = rng.uniform(0.2, 0.6, p)

    def __call__(self, z) -> np.ndarray:
        """(n,) to (n, p)."""
        features = np.cos(np.multiply.outer(z, self.frequencies) + self.phases)
        return np.sqrt(2 / len(self.phases)) * features @ self.weights

    def log_density(self, X, nodes: int = 1001) -> np.ndarray:
        """log p(x) of every row, by the trapezoidal rule over z from -6 to 6."""
        z = np.linspace(-6, 6, nodes)
        means = self(z)
        terms = [norm.logpdf(x, means, self.noise).sum(axis=1) + norm.logpdf(z) for x in X]
        return logsumexp(terms, axis=1) + np.log(z[1] - z[0])


def make_curves(n: int, p: int, rng) -> tuple[np.ndarray, np.ndarray, Curves]:
    """Rows (n, p) of the model, their latents (n,) and the curves."""
    curves = Curves(p, rng)
    z = rng.standard_normal(n)
    return curves(z) + curves.noise * rng.standard_normal((n, p)), z, curves


def networks(p: int = FEATURES):
    """Encoder (30,502 parameters) and decoder (45,600 parameters) of the text, for 100 features."""

    def hidden(units):
        return nn.Dense(units, "relu")

    encoder_head = [hidden(100), nn.Dense(1)]
    encoder = nn.Sequential([hidden(100)], heads={"mean": encoder_head, "log_var": encoder_head})
    decoder_head = [hidden(100), nn.Dense(p)]
    return encoder, nn.Sequential([hidden(50), hidden(100)], heads={"mean": decoder_head, "log_var": decoder_head})


def model(variance="batch", **options) -> VAE:
    """The text's estimator, not fitted."""
    encoder, decoder = networks()
    settings = {"optimizer": nn.Adam(), "batch_size": 32, "max_iter": EPOCHS}
    return VAE(encoder, decoder, n_components=1, likelihood="gaussian", variance=variance, **settings | options)


def compare(fitted, X, z, curves, grid):
    """Decoded curves on the grid, the correlation of codes and latents, and the curves' error where |z| <= 2.

    -z is as good a latent as z: the codes have the sign that makes the correlation positive.
    """
    correlation = np.corrcoef(fitted.transform(X)[:, 0], z)[0, 1]
    found = fitted.inverse_transform((np.copysign(1.0, correlation) * grid[:, None]).astype(np.float32))
    error = np.sqrt(np.mean((found - curves(grid))[np.abs(grid) <= 2] ** 2))
    return found, abs(correlation), float(error)


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--max-iter", type=int, help="epochs (default: %(default)s)")


def run(*, output, seed=0, max_iter=EPOCHS, quiet=False) -> dict:
    """Fit, say what came out and write the pictures to ``output``; returns what was measured."""
    X, z, curves = make_curves(ROWS, FEATURES, np.random.default_rng(seed))
    X = X.astype(np.float32)
    n_train = int(0.9 * ROWS)
    X, X_test, z = X[:n_train], X[n_train:], z[:n_train]
    settings = {"max_iter": max_iter, "random_state": seed, "verbose": not quiet}
    fits = {name: model(name, **settings).fit(X, validation_data=X_test) for name in ("batch", "row")}
    fitted = fits["batch"]
    codes, grid = fitted.transform(X)[:, 0], np.linspace(-3, 3, 121)
    found, correlation, error = compare(fitted, X, z, curves, grid)
    noise = np.sqrt(fitted.noise_variance_)
    figures = {
        "reconstruction": _reconstruction(X, fitted.inverse_transform(codes[:, None])),
        "codes": _codes(codes),
        "curves": _curves(grid, found, curves(grid)),
        "noise": _noise(noise, curves.noise),
        "loss": losses(fitted),
    }
    numbers = {
        "parameters of encoder, decoder": (
            f"{fitted.encoder_.n_parameters:,}, {fitted.decoder_.n_parameters:,}",
            "30,502, 45,600",
        ),
        "epochs, steps of each": (f"{fitted.n_iter_}, {fitted.n_steps_ // fitted.n_iter_}", "200, 6"),
        f"correlation of codes and latents, {n_train} rows": f"{correlation:.3f}",
        "error of the curves on [-2, 2] (root mean square)": f"{error:.3f}, noise {curves.noise.mean():.3f}",
        "standard deviation of the noise, correlation with the truth": f"{np.corrcoef(noise, curves.noise)[0, 1]:.3f}",
    }
    for name, one in fits.items():
        values = [f"{one.score(rows):.2f}" for rows in (X, X_test)]
        numbers[f"variance={name!r}: ELBO of rows fitted and held out"] = f"{', '.join(values)} nats a row"
        values = [f"{one.log_likelihood(rows, n_samples=1000).mean():.2f}" for rows in (X, X_test)]
        numbers[f"  {name!r}: log p(x) of these, importance-weighted, 1,000 samples"] = ", ".join(values)
    values = [f"{curves.log_density(rows).mean():.2f}" for rows in (X, X_test)]
    numbers["the model that they are drawn from: log p(x)"] = ", ".join(values)
    measured = {"model": fitted, "row": fits["row"], "error": error}
    return measured | finish(output, figures, numbers, quiet)


def _reconstruction(X, decoded):
    figure, ax = plot.new_figure((6, 6))
    ax.plot(np.ravel(X), np.ravel(decoded), ".", ms=2, alpha=0.3)
    edge = float(np.abs(X).max())
    ax.plot([-edge, edge], [-edge, edge], "k-", lw=1)
    ax.set(xlabel="data", ylabel="reconstruction", title="Reconstruction against data")
    return figure


def _codes(codes):
    figure, ax = plot.new_figure((7, 4.5))
    ax.hist(codes, bins=20, density=True, color="C0", alpha=0.6, label="codes of the rows")
    z = np.linspace(-3.5, 3.5, 200)
    ax.plot(z, norm.pdf(z), "k--", lw=1, label="N(0, 1)")
    ax.set(xlabel="code", ylabel="density")
    ax.legend(frameon=False)
    return figure


def _curves(z, found, truth, count: int = 20):
    figure, axes = plot.new_figure((10, 7), 4, count // 4, sharex=True, sharey=True)
    for j, ax in enumerate(axes.flat):
        ax.plot(z, truth[:, j], "k--", lw=1, label="truth")
        ax.plot(z, found[:, j], color="C0", label="decoder")
        ax.set_title(f"$g_{{{j + 1}}}$", fontsize="small")
    ax.legend(frameon=False, fontsize="small")
    figure.supxlabel("z")
    return figure


def _noise(found, truth):
    figure, ax = plot.new_figure((5.5, 5.5))
    ax.plot(truth, found, "o", ms=4)
    ax.plot([0.1, 0.7], [0.1, 0.7], "k-", lw=1)
    ax.set(xlabel="true $\\sigma_j$", ylabel="estimated $\\sigma_j$")
    return figure
