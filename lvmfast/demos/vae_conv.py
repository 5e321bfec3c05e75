"""A convolutional autoencoder with two latents on binarised digits: ``lvmfast demo vae-conv``.

    x_c ~ Bernoulli(k_c(t)), t ~ N(0, I_2), q(t | x) = N(m(x), diag(s(x)))

The network, the optimizer and the batches are those of Krasser's text on stochastic variational inference and
variational autoencoders (Latent variable models, part 2): RMSprop at 0.001, batches of 100, pixels above 127.5 are
ink. Protocol "reference" takes the text's 20 epochs of whatever digits there are; "default" takes more of them where
the digits are few. The decoder ends in logits, the text's in a sigmoid: the same likelihood without its rounding.
"""

from __future__ import annotations

import numpy as np

from lvmfast import nn
from lvmfast.demos._registry import Demo, add_data
from lvmfast.demos._vae import Text, load_digits, run_digits
from lvmfast.models import VAE

DEMO = Demo(
    "A convolutional variational autoencoder on binarised digits",
    "Latent variable models, part 2: Stochastic variational inference and variational autoencoders",
    31,
)
EPOCHS = 20
BOUNDS = (-166.56, -158.25, -154.44, -152.20, -150.47, -148.30, -148.63, -146.66, -145.61, -147.64)
BOUNDS += (-148.42, -143.86, -143.31, -145.67, -143.78, -143.29, -142.25, -142.99, -143.39, -143.31)
TEXT = Text(EPOCHS, "a few minutes on a GPU", BOUNDS)


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    text = f"reference: {EPOCHS} epochs; default: more where the digits are few"
    parser.add_argument("--protocol", choices=("default", "reference"), help=text)
    parser.add_argument("--max-iter", type=int, help="epochs (default: those of the protocol)")
    add_data(parser)


def networks():
    """Encoder and decoder of the text: images to (mean, log variance) of two latents, and back to logits."""

    def conv(filters, strides=1, activation="relu"):
        return nn.Conv2D(filters, 3, strides, "same", activation)

    head = [nn.Dense(2)]
    trunk = [conv(32), conv(64, 2), conv(64), conv(64), nn.Flatten(), nn.Dense(32, "relu")]
    encoder = nn.Sequential(trunk, heads={"mean": head, "log_var": head})
    images = [nn.Dense(12544, "relu"), nn.Reshape((14, 14, 64)), nn.Conv2DTranspose(32, 3, 2, "same", "relu")]
    return encoder, nn.Sequential([*images, conv(1, activation="linear")])


def model(**options) -> VAE:
    """The text's estimator, not fitted."""
    encoder, decoder = networks()
    settings = {"optimizer": nn.RMSprop(0.001), "batch_size": 100, "max_iter": EPOCHS}
    return VAE(encoder, decoder, n_components=2, likelihood="bernoulli", **settings | options)


def run(*, protocol="default", output, seed=0, max_iter=None, data=None, quiet=False) -> dict:
    """Fit, say what came out and write the pictures to ``output``; returns what was measured."""
    (train, _), (test, labels) = load_digits(data)
    X, X_test = ((images > 127.5).astype(np.float32)[..., None] for images in (train, test))
    if max_iter is None:
        max_iter = EPOCHS if protocol == "reference" or len(X) > 2000 else 2 * EPOCHS
    return run_digits(
        model(max_iter=max_iter, random_state=seed, verbose=not quiet),
        X,
        X_test,
        labels,
        output=output,
        edge=0.05,
        side=20,
        text=TEXT,
        quiet=quiet,
    )
