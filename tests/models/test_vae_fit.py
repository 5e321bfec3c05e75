"""Fits of autoencoders: limits in which they are known models, first losses, extremes, networks that are given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.decomposition import PCA

import lvmfast as lvm
from lvmfast import nn


def factors(n=500, d=8, k=2, noise=0.5, seed=0):
    """Rows of a linear model with k latents."""
    rng = np.random.default_rng(seed)
    return 1.0 + rng.standard_normal((n, k)) @ rng.standard_normal((k, d)) + noise * rng.standard_normal((n, d))


def test_ppca():
    """Both networks linear and one variance: the maximum of the bound is that of p(x), scikit-learn's PCA."""
    X = factors()
    n = len(X)
    pca = PCA(2).fit(X)
    steps = 1500
    model = lvm.VAE(
        "linear",
        "linear",
        likelihood="gaussian",
        variance="shared",
        n_samples=4,
        optimizer=nn.Adam(nn.CosineDecay(0.03, steps)),
        batch_size=n,
        max_iter=steps,
        dtype=np.float64,
        random_state=0,
    ).fit(X)
    assert model.noise_variance_ == pytest.approx(pca.noise_variance_ * (n - 1) / n, rel=0.01)
    loadings = model.inverse_transform(np.eye(2)) - model.inverse_transform(np.zeros((1, 2)))
    assert subspace_angles(loadings.T, pca.components_.T).max() < 0.02
    values, errors = model.log_likelihood(X, n_samples=50, return_std=True)
    assert errors.max() < 0.1 and values.mean() == pytest.approx(pca.score(X), abs=0.01)
    assert model.score(X) == pytest.approx(pca.score(X), abs=0.03)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"likelihood": "gaussian"},
        {"likelihood": "gaussian", "variance": "batch"},
        {"likelihood": "gaussian", "variance": "sample", "objective": "iwae", "n_samples": 3, "gradient": "dreg"},
        {"latent": "categorical", "n_categories": 3},
    ],
)
@pytest.mark.parametrize("rate", [0.01, 1.0])
def test_stays_finite(params, rate):
    """Also at a learning rate of 1; the first losses are those of a model that knows nothing, not millions."""
    X = 1 / (1 + np.exp(-factors(200)))
    model = lvm.VAE(hidden=(16,), optimizer=nn.Adam(rate), max_iter=10, batch_size=20, random_state=0, **params).fit(X)
    assert np.isfinite(model.loss_curve_).all() and np.isfinite(model.score(X))
    assert abs(model.loss_curve_[0]) < 5 * X.shape[1]
    if rate < 1:
        assert model.history_["loss"][-1] < model.history_["loss"][0]


def test_first_steps_do_not_overshoot():
    """A deep encoder under RMSprop, whose first steps all have one sign: no loss rises above the first."""
    X = (lvm.datasets.load_mnist_sample().data[:400].reshape(-1, 28, 28, 1) > 0.5).astype(np.float32)
    encoder = [
        nn.Conv2D(16, 3, 2, "same", "relu"),
        nn.Conv2D(32, 3, 2, "same", "relu"),
        nn.Flatten(),
        nn.Dense(32, "relu"),
    ]
    decoder = [nn.Dense(784, "relu"), nn.Reshape((7, 7, 16)), nn.Conv2DTranspose(16, 3, 2, "same", "relu")]
    decoder += [nn.Conv2DTranspose(1, 3, 2, "same")]
    for seed in (0, 2, 3):
        model = lvm.VAE(
            encoder, decoder, optimizer=nn.RMSprop(0.003), batch_size=50, max_iter=1, random_state=seed
        ).fit(X)
        assert model.loss_curve_.max() < 1.02 * model.loss_curve_[0] and model.loss_curve_[-1] < 500


def test_history_is_of_the_steps():
    """Means over the rows of an epoch, of which the last batch has fewer; loss = reconstruction + beta kl."""
    X = factors(50)
    model = lvm.VAE(likelihood="gaussian", hidden=(4,), batch_size=20, max_iter=3, beta=0.5, random_state=0).fit(X)
    losses = model.loss_curve_.reshape(3, 3) @ [20, 20, 10] / 50
    np.testing.assert_allclose(model.history_["loss"], losses, rtol=1e-12)
    total = model.history_["reconstruction"] + 0.5 * model.history_["kl"]
    np.testing.assert_allclose(model.history_["loss"], total, rtol=1e-10)


def test_awkward_data():
    """Features without variance, one row, batches of one."""
    X = factors(30)
    X[:, 0], X[:, 1] = 0.0, 3.0
    for variance in ("shared", "feature", "batch", "row", "sample", 0.5):
        params = {"likelihood": "gaussian", "variance": variance, "hidden": (6,), "random_state": 0}
        assert np.isfinite(lvm.VAE(**params, max_iter=20).fit(X).score(X))
        assert np.isfinite(lvm.VAE(**params, max_iter=2, batch_size=1).fit(X).score(X[:1]))
        one = lvm.VAE(**params, max_iter=2).fit(X[:1])
        assert one.transform(X[:1]).shape == (1, 2)
    assert np.isfinite(
        lvm.VAE(likelihood="gaussian", hidden=(6,), max_iter=3).fit(np.zeros((9, 4))).noise_variance_
    ).all()


@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_scales_beyond_the_variances(scale):
    """Variances that end at their limits are not learned: said before the first step."""
    X = scale * factors(30)
    model = lvm.VAE(likelihood="gaussian", hidden=(4,), max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match=r"X must be scaled .*mean square of a feature is"):
        model.fit(X)
    assert np.isfinite(model.score(X))
    clone(model).set_params(variance="sample").fit(X)


def test_threads(set_num_threads):
    """The same bits for one thread and for two."""
    X = factors(150)
    found = []
    for threads in (1, 2):
        set_num_threads(threads)
        found.append(lvm.VAE(likelihood="gaussian", hidden=(32,), max_iter=4, random_state=0).fit(X))
    np.testing.assert_array_equal(found[0].loss_curve_, found[1].loss_curve_)
    np.testing.assert_array_equal(found[0]._theta, found[1]._theta)


def test_images():
    """A convolutional encoder takes images as they are, and flat ones where it was built for images."""
    rng = np.random.default_rng(0)
    X = (rng.uniform(size=(60, 8, 8, 1)) < 0.3).astype(np.uint8)
    encoder = nn.Sequential([nn.Conv2D(4, 3, 2, "same", "relu"), nn.Flatten()]).build((8, 8, 1), seed=5)
    decoder = [nn.Dense(32, "relu"), nn.Reshape((4, 4, 2)), nn.Conv2DTranspose(1, 3, 2, "same")]
    start = encoder.parameters.copy()
    params = {"batch_size": 20, "max_iter": 2, "random_state": 0}
    model = lvm.VAE(encoder, decoder, **params).fit(X)
    np.testing.assert_array_equal(encoder.parameters, start)
    assert encoder.heads is None and model.n_features_in_ == 64
    assert model.inverse_transform(model.transform(X)).shape == model.sample(60, rng=0).shape == X.shape
    flat = lvm.VAE(encoder, decoder, **params).fit(X.reshape(60, 64))
    np.testing.assert_array_equal(flat.loss_curve_, model.loss_curve_)
    np.testing.assert_array_equal(flat.transform(X), model.transform(X.reshape(60, 64)))
    assert flat.sample(3, rng=0).shape == (3, 64)
    slow = lvm.VAE(
        encoder, decoder, **{**params, "max_iter": 1, "batch_size": 60}, optimizer=nn.SGD(lambda step: 0.0)
    ).fit(X)
    np.testing.assert_array_equal(slow.encoder_.parameters[: start.size], start)


def test_given_heads_are_kept():
    """A decoder without a second head gets one like its last layer, and keeps its own parameters."""
    X = factors(40).astype(np.float32)
    decoder = nn.Sequential([nn.Dense(5, "relu"), nn.Dense(8)]).build(2, seed=1)
    model = lvm.VAE(
        "linear",
        decoder,
        likelihood="gaussian",
        variance="batch",
        max_iter=1,
        optimizer=nn.SGD(lambda step: 0.0),
        random_state=0,
    ).fit(X)
    np.testing.assert_array_equal(model.decoder_.parameters[: decoder.n_parameters], decoder.parameters)
    assert model.decoder_.output_shape == ((8,), (8,)) and model.decoder_.n_parameters == decoder.n_parameters + 48
    Z = model.transform(X)
    np.testing.assert_array_equal(model.inverse_transform(Z), decoder(Z))


def test_validation_and_early_stopping():
    """Held-out rows or given ones: their bound after every epoch is the score, and the best parameters are kept."""
    X, V = factors(120), factors(60, seed=9)
    params = {"likelihood": "gaussian", "hidden": (64,), "optimizer": nn.Adam(0.05), "random_state": 0, "max_iter": 60}
    told = []
    model = lvm.VAE(**params, early_stopping=True, n_iter_no_change=3, callback=lambda s: told.append(s.val_loss))
    model.fit(X, validation_data=V)
    losses = model.history_["val_loss"]
    assert told == losses.tolist() and len(losses) == model.n_iter_ < 60
    assert model.best_iter_ == 1 + np.argmin(losses) == model.n_iter_ - 3
    assert -model.score(V) == pytest.approx(losses.min(), rel=1e-6)
    assert "no better bound" in model.message_
    watched = lvm.VAE(**{**params, "max_iter": 3}).fit(X, validation_data=V)
    assert -watched.score(V) == pytest.approx(watched.history_["val_loss"][-1], rel=1e-6)
    unwatched = lvm.VAE(**{**params, "max_iter": 3}).fit(X)
    np.testing.assert_array_equal(watched.loss_curve_, unwatched.loss_curve_)
    held = lvm.VAE(**params, early_stopping=True, validation_fraction=0.25).fit(X)
    assert set(held.history_) == {"loss", "reconstruction", "kl", "val_loss", "val_reconstruction", "val_kl"}
