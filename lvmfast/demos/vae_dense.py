"""A dense autoencoder, 784-256-2-256-784, on grey digits: ``lvmfast demo vae-dense``.

    log p(x | z) = sum_j x_j log k_j(z) + (1 - x_j) log(1 - k_j(z)), x_j in [0, 1], z ~ N(0, I_2)

The network, the optimizer and the batches are those of Tiao's tutorial on variational autoencoders: RMSprop, batches of
100, grey values / 255. Protocol "reference" takes its 50 epochs of whatever digits there are; "default" takes more of
them where the digits are few. Grey values are no Bernoulli variables: the bound is that of the pixels' cross-entropy.
"""

from __future__ import annotations

import numpy as np

from lvmfast import nn
from lvmfast.demos._registry import Demo, add_data
from lvmfast.demos._vae import Text, load_digits, run_digits
from lvmfast.models import VAE

DEMO = Demo(
    "A dense variational autoencoder on grey digits",
    "A Tutorial on Variational Autoencoders with a Concise Keras Implementation",
    8,
)
EPOCHS = 50


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    text = f"reference: {EPOCHS} epochs; default: more where the digits are few"
    parser.add_argument("--protocol", choices=("default", "reference"), help=text)
    parser.add_argument("--max-iter", type=int, help="epochs (default: those of the protocol)")
    add_data(parser)


def networks():
    """Encoder and decoder of the tutorial; the decoder ends in logits."""
    head = [nn.Dense(2)]
    encoder = nn.Sequential([nn.Dense(256, "relu")], heads={"mean": head, "log_var": head})
    return encoder, nn.Sequential([nn.Dense(256, "relu"), nn.Dense(784)])


def model(**options) -> VAE:
    """The tutorial's estimator, not fitted."""
    encoder, decoder = networks()
    settings = {"optimizer": nn.RMSprop(), "batch_size": 100, "max_iter": EPOCHS}
    return VAE(encoder, decoder, n_components=2, likelihood="bernoulli", **settings | options)


def run(*, protocol="default", output, seed=0, max_iter=None, data=None, quiet=False) -> dict:
    """Fit, say what came out and write the pictures to ``output``; returns what was measured."""
    (train, _), (test, labels) = load_digits(data)
    X, X_test = (np.reshape(images, (-1, 784)).astype(np.float32) / 255 for images in (train, test))
    if max_iter is None:
        max_iter = EPOCHS if protocol == "reference" or len(X) > 10_000 else 4 * EPOCHS
    return run_digits(
        model(max_iter=max_iter, random_state=seed, verbose=not quiet),
        X,
        X_test,
        labels,
        output=output,
        edge=0.05,
        side=15,
        text=Text(EPOCHS),
        quiet=quiet,
    )
