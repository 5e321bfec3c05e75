"""Bounds of the convolutional reference by epoch, ours and Keras: ``python benchmarks/mnist_vae.py --data FILE``.

FILE is an npz with ``images`` (n, 28, 28) of grey values and ``labels``; the last fifth of the digits, or of 70,000 the
last 10,000, are for testing. Pixels above 127.5 are ink; 20 epochs of RMSprop at 0.001, batches of 100, two latents.
After every epoch the bound of the test digits is estimated as the reference does it, with one sample of each latent.
Printed are the mean over the seeds, the least and the largest, in nats a digit.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from peers.autoencoders import AutoencoderCase, Unavailable, first_weights, keras_parts

from lvmfast import set_num_threads
from lvmfast.demos import vae_conv
from lvmfast.demos._vae import load_digits


def ours(X, X_test, epochs: int, seed: int) -> list[float]:
    """lvmfast.VAE."""
    model = vae_conv.model(max_iter=epochs, random_state=seed)
    return list(-np.asarray(model.fit(X, validation_data=X_test).history_["val_loss"]))


def keras(X, X_test, epochs: int, seed: int, batch: int = 100) -> list[float]:
    """Keras 3 with tf.functions; the batches' order and the noise are its own."""
    weights, n_encoder = first_weights("conv", np.random.default_rng(seed))
    _, variables, loss_of = keras_parts(AutoencoderCase("conv", None, weights, n_encoder))
    import keras as library
    import tensorflow as tf

    library.utils.set_random_seed(seed)
    optimizer = library.optimizers.RMSprop(0.001)
    optimizer.build(variables)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = loss_of(x)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    test = tf.function(loss_of)
    train_set = tf.data.Dataset.from_tensor_slices(X).shuffle(len(X)).batch(batch)
    test_set = tf.data.Dataset.from_tensor_slices(X_test).batch(batch)
    bounds = []
    for _ in range(epochs):
        for x in train_set:
            step(x)
        bounds.append(-float(np.mean([test(x) for x in test_set])))
    return bounds


LIBRARIES = {"ours": ours, "keras": keras}


def main() -> None:
    """All libraries and seeds."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--libraries", nargs="*", default=list(LIBRARIES), choices=list(LIBRARIES))
    options.add_argument("--epochs", type=int, default=vae_conv.EPOCHS)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    arguments = options.parse_args()
    set_num_threads(arguments.threads)
    (train, _), (test, _) = load_digits(arguments.data)
    X, X_test = ((images > 127.5).astype(np.float32)[..., None] for images in (train, test))
    print(f"{len(X):,} training and {len(X_test):,} test digits", flush=True)
    for name in arguments.libraries:
        found, begun = [], time.perf_counter()
        try:
            for seed in range(arguments.seeds):
                found.append(LIBRARIES[name](X, X_test, arguments.epochs, seed))
                print(f"  {name} seed {seed}: {found[-1][-1]:.2f}", flush=True)
        except Unavailable as reason:
            print(f"  {name}: skipped, {reason}")
            continue
        seconds = (time.perf_counter() - begun) / arguments.seeds
        for epoch, bounds in enumerate(np.transpose(found), 1):
            print(f"  {name} epoch {epoch:2d}: {np.mean(bounds):.2f} ({np.min(bounds):.2f} to {np.max(bounds):.2f})")
        print(f"  {name}: {seconds:.1f} s a run")


if __name__ == "__main__":
    main()
