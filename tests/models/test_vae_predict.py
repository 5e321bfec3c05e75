"""What fitted autoencoders say: codes, reconstructions, draws, bounds, estimates of log p(x); of arrays and files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logsumexp

import lvmfast as lvm
from lvmfast import nn
from lvmfast.models import _vae_predictions
from lvmfast.models._vae_problem import CODE_HIGH, LOW


def binary(n=120, d=7, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.uniform(size=(n, d)) < expit(2 * rng.standard_normal((n, 1)))).astype(np.float64)


@pytest.fixture(scope="module")
def model():
    return lvm.VAE(hidden=(6,), max_iter=5, dtype=np.float64, random_state=0).fit(binary())


def test_codes_are_the_networks(model):
    """Codes, reconstructions and the log densities behind them, by hand from the fitted networks."""
    X = binary()
    mean, std = model.transform(X, return_std=True)
    m, s = model.encoder_(X)
    s = np.clip(s, LOW, CODE_HIGH)
    np.testing.assert_array_equal(mean, m)
    np.testing.assert_allclose(std, np.exp(0.5 * s), rtol=1e-14)
    np.testing.assert_allclose(model.inverse_transform(mean), expit(model.decoder_(m)), rtol=1e-13)
    np.testing.assert_array_equal(model.reconstruct(X), model.inverse_transform(mean))
    drawn = model.reconstruct(X, rng=1)
    assert np.abs(drawn - model.reconstruct(X)).max() > 0 and np.array_equal(drawn, model.reconstruct(X, rng=1))

    eps = np.random.default_rng(3).standard_normal((len(X), 3, 2))
    z = m[:, None] + np.exp(0.5 * s)[:, None] * eps
    logits = model.decoder_(z.reshape(-1, 2)).reshape(len(X), 3, -1)
    log_p = (X[:, None] * logits - np.logaddexp(0, logits)).sum(axis=2)
    kl = 0.5 * (np.exp(s) + m**2 - 1 - s).sum(axis=1)
    value = model.elbo(X, eps=eps)
    assert value == pytest.approx((log_p.mean(axis=1) - kl).mean(), rel=1e-12)
    theta = np.concatenate([model.encoder_.parameters, model.decoder_.parameters])
    end = model.encoder_.n_parameters
    theta[end - 2 : end] -= 2.0  # biases of s, away from its limit
    gradient = model.elbo(X, eps=eps, theta=theta, gradient=True)[1]
    direction = np.random.default_rng(4).standard_normal(theta.size)
    ends = [model.elbo(X, eps=eps, theta=theta + h * direction) for h in (1e-5, -1e-5)]
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(gradient @ direction, rel=1e-6)


def test_log_likelihood_is_the_integral(model):
    """Within 5 standard errors of a sum over a fine grid of z: 30 rows, a false alarm in 10^4."""
    X = binary()[:30]
    grid = np.linspace(-6, 6, 241)
    z = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    logits = model.decoder_(z)
    prior = -0.5 * (z**2).sum(axis=1) - np.log(2 * np.pi) + 2 * np.log(grid[1] - grid[0])
    exact = logsumexp(X @ logits.T - np.logaddexp(0, logits).sum(axis=1) + prior, axis=1)
    value, error = model.log_likelihood(X, n_samples=2000, return_std=True)
    assert (np.abs(value - exact) < 5 * error + 1e-9).all() and error.max() < 0.2
    np.testing.assert_array_equal(value, model.log_likelihood(X, n_samples=2000))
    assert model.score(X) < exact.mean() + 0.05


def test_pieces_of_log_likelihood(model, monkeypatch):
    """Draws that come in pieces give the same kind of answer: the mean over rows within 5 standard errors."""
    X = binary()
    whole, error = model.log_likelihood(X, n_samples=400, return_std=True)
    monkeypatch.setattr(_vae_predictions, "WEIGHT_NUMBERS", 3000)
    parts, parts_error = model.log_likelihood(X, n_samples=400, return_std=True)
    assert np.abs(parts - whole).max() > 0 and np.median(parts_error / error) == pytest.approx(1, abs=0.1)
    assert np.isnan(model.log_likelihood(X, n_samples=1, return_std=True)[1]).all()
    assert abs((parts - whole).mean()) < 5 * np.sqrt(2 * (error**2).sum()) / len(X)


def test_score_is_the_bound(model):
    """Independent of what was asked before; rows' noise depends on their place alone."""
    X = binary(700)
    whole = model.score(X)
    assert whole == model.score(X) == model.score(X.astype(np.uint8))
    first = model.score(X[:512])
    rest = (700 * whole - 512 * first) / 188
    assert abs(rest - first) < 1.0
    again = lvm.VAE(hidden=(6,), max_iter=5, dtype=np.float64, random_state=0).fit(binary())
    assert again.score(X) == whole


class Sliced:
    """An array of which slices alone can be had."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key):
        assert isinstance(key, slice)
        return self._array[key].copy()


def test_files(model, tmp_path):
    """Memory maps and datasets in files give what arrays give."""
    X = binary(700)
    np.save(tmp_path / "X.npy", X.astype(np.uint8))
    for other in (np.load(tmp_path / "X.npy", mmap_mode="r"), Sliced(X.astype(np.float32))):
        np.testing.assert_array_equal(model.transform(other), model.transform(X))
        assert model.score(other) == model.score(X)
        np.testing.assert_array_equal(model.log_likelihood(other, n_samples=5), model.log_likelihood(X, n_samples=5))
    with pytest.raises(ValueError, match=r"got 3 at row 650 of X, column 2; scale by"):
        bad = X.copy()
        bad[650, 2] = 3
        model.score(Sliced(bad))


def test_samples_have_the_moments_of_the_model():
    """Means and variances of 20,000 draws against those of fitted networks: 5 standard errors, d = 4 each."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 1)) @ rng.standard_normal((1, 4)) + 0.5 * rng.standard_normal((300, 4))
    n = 20_000
    for variance in ("feature", "batch", "row", "sample", 0.3):
        model = lvm.VAE(
            hidden=(8,), n_components=1, likelihood="gaussian", variance=variance, dtype=np.float64, random_state=0
        ).fit(X)
        x = model.sample(n, rng=1)
        grid = np.linspace(-8, 8, 2001)[:, None]
        weight = np.exp(-0.5 * grid[:, 0] ** 2)
        weight /= weight.sum()
        outputs = model.decoder_(grid)
        mean = outputs[0] if isinstance(outputs, tuple) else outputs
        if variance == "row":
            var = np.exp(outputs[1].mean(axis=1, keepdims=True))
        else:
            var = np.exp(outputs[1]) if variance == "sample" else model.noise_variance_
        first = weight @ mean
        second = weight @ (mean - first) ** 2 + (weight @ var if np.ndim(var) > 1 else var)
        assert (np.abs(x.mean(axis=0) - first) < 5 * np.sqrt(second / n)).all()
        spread = np.sqrt(((x - first) ** 2).var(axis=0) / n)
        assert (np.abs(x.var(axis=0) - second) < 5 * spread).all()
        np.testing.assert_array_equal(x[:50], model.sample(50, rng=1))


def test_classes():
    """Numbers of classes and one-hot rows are one model, and samples are like X."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (90, 4))
    codes[:, 1] = codes[:, 0]
    params = {"likelihood": "categorical", "n_classes": 3, "hidden": (6,), "max_iter": 30, "random_state": 0}
    one, two = lvm.VAE(**params).fit(codes), lvm.VAE(**params).fit(np.eye(3)[codes])
    np.testing.assert_array_equal(one.loss_curve_, two.loss_curve_)
    np.testing.assert_array_equal(one.transform(codes), two.transform(np.eye(3)[codes]))
    assert one.score(codes) == one.score(np.eye(3)[codes])
    probabilities = one.inverse_transform(np.zeros((2, 2)))
    assert probabilities.shape == (2, 4, 3)
    np.testing.assert_allclose(probabilities.sum(axis=2), 1, rtol=1e-6)
    drawn, hot = one.sample(4000, rng=0), two.sample(4000, rng=0)
    assert drawn.shape == (4000, 4) and drawn.dtype.kind == "i"
    np.testing.assert_array_equal(hot, np.eye(3)[drawn])
    share = np.stack([(drawn == c).mean(axis=0) for c in range(3)], axis=1)
    expected = one.sample(4000, rng=0, return_mean=True).mean(axis=0)
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.25 / 4000)
    with pytest.raises(
        ValueError,
        match="integers from 0 to n_classes - 1 = 2, got 3 at row 1 of X, column 0",
    ):
        one.transform([[0, 0, 0, 0], [3, 0, 0, 0]])


def test_categorical_latents():
    """Probabilities for codes, one-hot draws, and the bound above that of a model without a code."""
    X = np.repeat(np.eye(4), 50, axis=0).repeat(3, axis=1)
    model = lvm.VAE(
        latent="categorical", n_components=1, n_categories=4, hidden=(16,), max_iter=200, batch_size=50,
        temperature=nn.ExponentialDecay(1.0, 0.5, 400), optimizer=nn.Adam(0.01), random_state=0,
    ).fit(X)  # fmt: skip
    codes = model.transform(X)
    assert codes.shape == (200, 4)
    np.testing.assert_allclose(codes.sum(axis=1), 1, rtol=1e-5)
    assert model.get_feature_names_out().tolist() == ["vae0", "vae1", "vae2", "vae3"]
    alone = 12 * (0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert model.score(X) > alone / 2
    assert set(np.unique(model.sample(50, rng=0))) <= {0.0, 1.0}
    with pytest.raises(ValueError, match="log_likelihood needs latent='gaussian'"):
        model.log_likelihood(X)
    with pytest.raises(ValueError, match="return_std must be False"):
        model.transform(X, return_std=True)
