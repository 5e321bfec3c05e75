"""Autoencoders with an implicit posterior: what is known exactly, resuming, files, errors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm
from lvmfast import nn

SMALL = {"posterior": "implicit", "hidden": (6,), "ratio_hidden": (5,), "batch_size": 16, "random_state": 3}


def rows(n=70, d=4):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 2)) @ rng.standard_normal((2, d)) + 0.3 * rng.standard_normal((n, d))


def test_linear_gaussian_model():
    """p(z | x) of a linear decoder is normal: its moments, the estimate of the bound and log p(x) by a proposal.

    Fixed seed; over 3 seeds the errors were at most 72% of what is allowed here.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 1)) @ [[1.2, -0.5, 0.8]] + 0.7 * rng.standard_normal((1000, 3))
    options = {"likelihood": "gaussian", "variance": "shared", "decoder": "linear", "n_components": 1}
    options |= {"posterior": "implicit", "hidden": (32, 32), "ratio_hidden": (64, 64), "random_state": 0}
    optimizer = nn.Adam(nn.CosineDecay(3e-3, 2500))
    model = lvm.VAE(**options, optimizer=optimizer, batch_size=200, max_iter=500).fit(X)
    kernel, b = model.decoder_.get_weights()
    w, variance = kernel[0].astype(float), model.noise_variance_
    exact = stats.multivariate_normal(b, np.outer(w, w) + variance * np.eye(3)).logpdf(X)
    t = 1 / (1 + w @ w / variance)
    mean, std = model.transform(X, return_std=True)
    assert np.sqrt(((mean[:, 0] - t * (X - b) @ w / variance) ** 2).mean()) < 0.3 * np.sqrt(t)
    assert abs(std.mean() / np.sqrt(t) - 1) < 0.15
    assert abs(model.score(X) - exact.mean()) < 0.15
    value, error = model.log_likelihood(X[:200], n_samples=400, return_std=True)
    assert (np.abs(value - exact[:200]) < 5 * error).all() and error.max() < 0.2
    assert 0.5 < model.history_["ratio_loss"][-1] < np.log(4)


def test_two_modes():
    """x = |z| + noise, a decoder that stays: p(z | x) has two modes, which no normal q has; draws lie at both.

    Fixed seed; over 3 seeds 98% lay at one, 11% to 14% of all at the lesser one.
    """
    rng = np.random.default_rng(0)
    X = (np.abs(rng.standard_normal((1000, 1))) + 0.2 * rng.standard_normal((1000, 1))).astype(np.float32)
    decoder = nn.Sequential([nn.Dense(2, "relu"), nn.Dense(1)]).build(1, seed=0)
    decoder.set_weights([[[1, -1]], [0, 0], [[1], [1]], [0]])
    options = {"decoder": decoder, "variance": 0.04, "likelihood": "gaussian", "n_components": 1, "random_state": 0}
    options |= {"posterior": "implicit", "hidden": (32, 32), "ratio_hidden": (32, 32), "max_iter": 1}
    problem = lvm.VAE(**options, optimizer=nn.SGD(1e-12)).fit(X)._problem
    theta, compiled, optimizer = problem.initial(), problem.compiled(1, False), nn.Adam(nn.CosineDecay(3e-3, 2000))
    state, first, fixed = optimizer.init(theta), problem.encoder.n_parameters, problem.placed(problem.fixed)
    for step in range(2000):
        x = X[rng.integers(0, 1000, 200)]
        gradient = compiled.evaluate(theta, fixed, x, compiled.noise(1, step, 200), 1.0, 1.0, True)[1]
        gradient[first : first + decoder.n_parameters] = 0
        optimizer.update(theta, gradient, state)
    z = problem.copy(theta).draws(X[X[:, 0] > 0.7], 60, 0)
    assert (np.abs(z) > 0.3).mean() > 0.95
    assert 0.05 < (z > 0).mean() < 0.95


def test_resumed_is_uninterrupted(tmp_path):
    """From a file, a pickle and a stop, bit for bit; the ratio's updates are counted on."""
    X = rows()
    settings = {**SMALL, "likelihood": "gaussian", "ratio_steps": 2, "max_iter": 4, "noise_size": 3, "n_samples": 2}
    settings |= {"optimizer": nn.Adam(0.01, clip_norm=1.0), "ratio": [nn.Dense(7, "tanh"), nn.Dense(1)]}
    whole = lvm.VAE(**settings).fit(X)
    stopped = lvm.VAE(**settings, callback=lambda status: status.iteration == 2).fit(X)
    stopped.callback = None
    stopped.save(tmp_path / "model.npz")
    for other in (lvm.VAE.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(stopped)), stopped):
        other.resume(X)
        for name in ("loss_curve_", "_theta"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
        np.testing.assert_array_equal(other.history_["ratio_loss"], whole.history_["ratio_loss"])
        np.testing.assert_array_equal(other.transform(X), whole.transform(X))
        np.testing.assert_array_equal(other.log_likelihood(X, n_samples=20), whole.log_likelihood(X, n_samples=20))
        np.testing.assert_array_equal(other.ratio_network_.parameters, whole.ratio_network_.parameters)
        assert repr(other.ratio) == repr(whole.ratio) and other.ratio_hidden == (5,)
    joined = np.concatenate([X[:3], whole.transform(X[:3])], axis=1).astype(np.float32)
    assert whole.ratio_network_(joined).shape == (3, 1)
    assert not hasattr(clone(whole).set_params(posterior="gaussian").fit(X), "ratio_network_")


def test_pieces_and_draws():
    """Codes do not depend on what stands beside a row's place; the gradient of `elbo` is that of its value."""
    X = rows(20)
    model = lvm.VAE(**SMALL, likelihood="gaussian", variance="batch", max_iter=2, dtype=np.float64).fit(X)
    np.testing.assert_allclose(model.transform(X[:7]), model.transform(X)[:7], rtol=1e-12)
    assert model.reconstruct(X, rng=1).shape == X.shape and model.sample(5, rng=0).shape == (5, 4)
    eps = np.random.default_rng(0).standard_normal((20, 2, 4 + 2))
    value, gradient = model.elbo(X, eps=eps, gradient=True)
    theta, step = model._theta.copy(), np.zeros_like(model._theta)
    step[3] = 1e-6
    slope = (model.elbo(X, eps=eps, theta=theta + step) - model.elbo(X, eps=eps, theta=theta - step)) / 2e-6
    assert np.isfinite(value) and abs(slope - gradient[3]) < 1e-6 * np.abs(gradient).max()
    X[3, 1] = 1e200
    with pytest.raises(lvm.exceptions.NonFiniteError, match="row 3 of X"):
        clone(model).set_params(shuffle=False, variance=1.0).fit(X)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"latent": "categorical"}, "latent must be 'gaussian' with posterior='implicit'"),
        ({"objective": "iwae"}, "objective must be 'elbo' with posterior='implicit'"),
        ({"posterior": "flow"}, "posterior must be"),
        ({"noise_size": 0}, "noise_size must be"),
        ({"ratio_steps": 0}, "ratio_steps must be"),
        ({"ratio": [nn.Dense(2)]}, "ratio must give one number for a row"),
        ({"ratio": nn.Sequential([nn.Dense(1)]).build(5)}, r"ratio must take rows \[x, z\] of shape \(6,\)"),
        ({"encoder": nn.Sequential([nn.Dense(2)]).build(4)}, r"encoder must take rows \[x, eps\] of shape \(8,\)"),
        ({"encoder": nn.Sequential([], heads=[[nn.Dense(2)]] * 2)}, "encoder must have one head of latents"),
    ],
)
def test_errors(params, message):
    with pytest.raises(ValueError, match=message):
        lvm.VAE(**{**SMALL, "likelihood": "gaussian", "max_iter": 1, **params}).fit(rows())


def test_another_posterior():
    """A fit goes on with the posterior that it had."""
    model = lvm.VAE(**SMALL, likelihood="gaussian", max_iter=1).fit(rows())
    for name, value in (("posterior", "gaussian"), ("noise_size", 3)):
        with pytest.raises(ValueError, match=f"{name} must be that of the fit"):
            pickle.loads(pickle.dumps(model)).set_params(**{name: value}).resume(rows())


@parametrize_with_checks([lvm.VAE(**{**SMALL, "likelihood": "gaussian", "max_iter": 2, "dtype": np.float64})])
def test_estimator(estimator, check):
    check(estimator)
