"""Predictions of a fitted GPLVM against the oracle's posterior: means, spreads, draws, latents."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import tolerance
from reference import gplvm as oracle

import lvmfast as lvm

pytestmark = pytest.mark.filterwarnings("ignore:the fit ended before convergence")


N, D = 20, 5
NAN = np.nan


def observations(n=N + 12, d=D, seed=4):
    """Y (n, d): sines of two latents, with noise of a tenth."""
    rng = np.random.default_rng(seed)
    Z, W = rng.uniform(-2, 2, (n, 2)), rng.standard_normal((2, d))
    return 3 + np.sin(Z @ W) + 0.1 * rng.standard_normal((n, d))


def with_missing(Y, share=0.3, seed=5):
    """About `share` of the entries NaN, one entry of every row seen."""
    missing = np.random.default_rng(seed).random(Y.shape) < share
    missing[np.arange(len(Y)), np.arange(len(Y)) % 3] = False
    return np.where(missing, NAN, Y)


TRAIN, TEST = observations()[:N], observations()[N:]
TEST_MISSING = with_missing(TEST, 0.4)
TRAIN_MISSING = with_missing(TRAIN)
TRAIN_MISSING[3] = NAN
UNSEEN = TRAIN_MISSING.copy()
UNSEEN[:, 3] = NAN

MODELS = {
    "plain": ({}, TRAIN),
    "ard": ({"kernel": lvm.kernels.RBF(0.5, [1.0, 1.5]), "jitter": 1e-3}, TRAIN),
    "uncentred": ({"center": False, "optimizer": "adam"}, TRAIN),
    "missing": ({"missing": "marginalize"}, TRAIN_MISSING),
    "unseen": ({"missing": "marginalize"}, UNSEEN),
}


@pytest.fixture(scope="module")
def fitted():
    """Fits by name, made once."""
    models = {}

    def get(name):
        if name not in models:
            params, Y = MODELS[name]
            models[name] = lvm.GPLVM(max_iter=30, **params).fit(Y)
        return models[name]

    return get


@pytest.fixture(params=MODELS)
def model(request, fitted):
    return fitted(request.param)


def settings(model):
    kernel = model.kernel_
    return kernel.variance, kernel.lengthscale, model.noise_variance_, model.jitter_


def condition(model):
    """At least the condition number of the covariance of the training rows."""
    return 1 + N * model.kernel_.variance / (model.noise_variance_ + model.jitter_)


def posterior(model, X):
    """Mean (n, d) and covariance (d, n, n), column by column."""
    columns = [
        oracle.posterior_column(model.embedding_, y, X, *settings(model)) for y in (model.Y_train_ - model.mean_).T
    ]
    mean = np.column_stack([mean for mean, _ in columns]) + model.mean_
    return mean, np.array([covariance for _, covariance in columns])


def objective(model, x, y):
    """-log p(y | x) in the units of y."""
    Y = model.Y_train_ - model.mean_
    return oracle.latent_objective(x, y - model.mean_, model.embedding_, Y, *settings(model))


def latents(model):
    """At, between and far from the training latents."""
    X = model.embedding_
    return np.vstack([X[:2], X[:1] + 0.2, 0.5 * (X[2:3] + X[4:5]), X[:1] + 100.0])


# From latents to observations.


@pytest.mark.parametrize("include_noise", [False, True])
def test_mean_and_deviation(model, include_noise):
    X = latents(model)
    mean, std = model.inverse_transform(X, return_std=True, include_noise=include_noise)
    desired, covariance = posterior(model, X)
    bound = tolerance(np.float64, N, condition(model))
    np.testing.assert_allclose(mean, desired, rtol=0, atol=bound * np.abs(desired).max())
    variance = np.diagonal(covariance, axis1=1, axis2=2).T
    variance = variance + (model.noise_variance_ if include_noise else 0.0)
    np.testing.assert_allclose(std**2, variance, rtol=0, atol=bound * model.kernel_.variance)
    assert mean.shape == std.shape == (5, D) and (std >= 0).all()
    np.testing.assert_array_equal(model.inverse_transform(X), mean)


def test_far_from_the_data_the_prior_holds(model):
    X = np.full((1, 2), 1e4)
    mean, std = model.inverse_transform(X, return_std=True)
    np.testing.assert_array_equal(mean[0], model.mean_)
    np.testing.assert_allclose(std, np.sqrt(model.kernel_.variance))


def test_means_do_not_depend_on_the_rows_beside_them(model, set_num_threads):
    X = np.random.default_rng(0).standard_normal((300, 2))
    set_num_threads(2)
    mean = model.inverse_transform(X)
    np.testing.assert_array_equal(model.inverse_transform(X[::-1])[::-1], mean)
    for i in (0, 7, 255, 256, 299):
        np.testing.assert_array_equal(model.inverse_transform(X[i : i + 1]), mean[i : i + 1])
    set_num_threads(1)
    np.testing.assert_array_equal(model.inverse_transform(X), mean)


def test_a_far_latent_does_not_spoil_the_others(model):
    """Also where a common centre of the batch would leave the others no digits."""
    X = np.array([[0.1, 0.2], [1e17, -1e17]])
    mean, std = model.inverse_transform(X, return_std=True)
    alone, std_alone = model.inverse_transform(X[:1], return_std=True)
    bound = tolerance(np.float64, N, condition(model))
    np.testing.assert_allclose(mean[:1], alone, rtol=0, atol=bound * np.abs(alone).max())
    np.testing.assert_allclose(std[:1], std_alone, rtol=1e-9)
    np.testing.assert_array_equal(mean[1], model.mean_)


@pytest.mark.parametrize("X", [[[0.1, 0.2]], np.float32([[0.1, 0.2]]), [[1, 2], [3, 4]]])
def test_latents_of_any_real_type(X, fitted):
    model = fitted("plain")
    given = np.array(X, dtype=np.float64)
    np.testing.assert_array_equal(model.inverse_transform(X), model.inverse_transform(given))


def test_no_latents(fitted):
    assert fitted("plain").inverse_transform(np.empty((0, 2))).shape == (0, D)


# Draws.


def assert_moments(draws, mean, covariance, errors=5.0):
    """Mean and covariance of draws (s, m, d), columns independent, to `errors` standard errors.

    mean (m, d) and covariance (d, m, m) are the exact ones.
    """
    count, m, d = draws.shape
    exact = np.zeros((m * d, m * d))
    for k in range(d):
        exact[k::d, k::d] = covariance[k]
    flat = draws.reshape(count, m * d)
    spread = np.diagonal(exact)
    floor = 1e-6 * spread.max()  # what the draws add to a covariance of low rank
    error = errors * np.sqrt(spread / count) + floor
    assert (np.abs(flat.mean(axis=0) - mean.reshape(-1)) < error).all()
    error = errors * np.sqrt((np.outer(spread, spread) + exact**2) / count) + floor
    assert (np.abs(np.cov(flat.T) - exact) < error).all()


@pytest.mark.parametrize("name", ["plain", "unseen"])
@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("include_noise", [True, False])
def test_moments_of_draws(name, joint, include_noise, fitted):
    model = fitted(name)
    X = latents(model)[1:]
    draws = model.sample(X, 4000, joint=joint, include_noise=include_noise, random_state=0)
    mean, covariance = posterior(model, X)
    if not joint:
        covariance = covariance * np.eye(len(X))
    if include_noise:
        covariance = covariance + model.noise_variance_ * np.eye(len(X))
    assert draws.shape == (4000, 4, D)
    assert_moments(draws, mean, covariance)


def test_joint_draws_are_of_functions(fitted):
    """Equal latents, equal values; of each row by itself, not."""
    model = fitted("plain")
    X = np.repeat(model.embedding_[:1] + 1.0, 2, axis=0)
    scale = np.sqrt(model.kernel_.variance)
    joint = model.sample(X, 5, random_state=0)
    np.testing.assert_allclose(joint[:, 0], joint[:, 1], rtol=0, atol=1e-4 * scale)
    apart = model.sample(X, 5, joint=False, random_state=0)
    assert np.abs(apart[:, 0] - apart[:, 1]).max() > 1e-2 * scale


@pytest.mark.parametrize("joint", [True, False])
def test_source_of_draws(joint, fitted):
    model = fitted("plain")
    X = latents(model)

    def draw(random_state=None):
        return model.sample(X, 2, joint=joint, random_state=random_state)

    np.testing.assert_array_equal(draw(3), draw(3))
    np.testing.assert_array_equal(draw(3), draw(np.random.default_rng(3)))
    assert not np.array_equal(draw(3), draw(4))
    assert not np.array_equal(draw(), draw())
    rng = np.random.default_rng(3)
    assert not np.array_equal(draw(rng), draw(rng))
    model.set_params(random_state=3)
    np.testing.assert_array_equal(draw(), draw(3))
    model.set_params(random_state=None)
    assert model.sample(X[:1]).shape == (1, 1, D)


# From observations to latents.


def hessian(f, x, step):
    """Second differences of f at x; `step` (q,)."""
    q = len(x)
    H = np.empty((q, q))
    for i in range(q):
        for j in range(i + 1):
            a, b = step[i] * np.eye(q)[i], step[j] * np.eye(q)[j]
            difference = f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)
            H[i, j] = H[j, i] = difference / (4 * step[i] * step[j])
    return H


@pytest.mark.parametrize("rows", ["complete", "missing"])
def test_latents_are_minima_of_the_oracle(model, rows):
    """Steps of a thousandth of a deviation: the slope is 0 and the curvature that of return_std."""
    Y = (TEST if rows == "complete" else TEST_MISSING)[:5]
    X, std = model.transform(Y, return_std=True)
    np.testing.assert_array_equal(X, model.transform(Y))
    assert np.isfinite(X).all() and X.shape == std.shape == (5, 2)
    for x, s, y in zip(X, std, Y, strict=True):
        if not np.isfinite(s).all():
            continue

        def f(x, y=y):
            return objective(model, x, y)

        H = hessian(f, x, 0.003 * s)
        inverse = np.linalg.inv(H)
        np.testing.assert_allclose(np.sqrt(np.diagonal(inverse)), s, rtol=1e-3)
        steps = 1e-3 * np.diag(s)
        gradient = np.array([(f(x + h) - f(x - h)) / (2 * h.sum()) for h in steps])
        assert gradient @ inverse @ gradient < 1e-8  # twice what a Newton step would gain, in nats
    assert np.isfinite(std).all(axis=1).sum() >= 4


@pytest.mark.parametrize("rows", ["complete", "missing", "training"])
def test_no_training_latent_is_better(model, rows):
    sources = {"complete": TEST, "missing": TEST_MISSING, "training": TRAIN}
    for y in sources[rows][:4]:
        found = objective(model, model.transform(y[None])[0], y)
        at_training = min(objective(model, x, y) for x in model.embedding_)
        assert found <= at_training + 1e-9 * abs(at_training)


def test_score_is_the_mean_log_density(model):
    for Y in (TEST[:4], TEST_MISSING[:4]):
        density = [-objective(model, x, y) for x, y in zip(model.transform(Y), Y, strict=True)]
        np.testing.assert_allclose(model.score(Y), np.mean(density), rtol=1e-9)


def test_a_row_seen_only_where_training_saw_nothing(fitted):
    """Every latent is as good; the density is the prior's."""
    model = fitted("unseen")
    y = np.full((1, D), NAN)
    y[0, 3] = 2.0
    assert np.isfinite(model.transform(y)).all()
    spread = model.kernel_.variance + model.noise_variance_
    desired = -0.5 * (np.log(2 * np.pi * spread) + 4.0 / spread)
    np.testing.assert_allclose(model.score(y), desired)


def test_a_row_that_is_like_no_other(fitted):
    """The best is far from the data, on a plateau: the deviation says that it is not known where."""
    model = fitted("plain")
    y = model.mean_ + 50 * np.sqrt(model.kernel_.variance) * np.array([1, -1, 1, -1, 1])
    X, std = model.transform(y[None], return_std=True)
    assert np.isfinite(X).all() and not np.isnan(std).any()
    assert (std > 0.1 * model.kernel_.lengthscale).any()
    at_training = min(objective(model, x, y) for x in model.embedding_)
    assert objective(model, X[0], y) <= at_training


def test_latents_do_not_depend_on_the_rows_beside_them(model, set_num_threads):
    """Not by a bit: single rows, other orders, both sides of a chunk, one and two threads."""
    rng = np.random.default_rng(1)
    Y = np.repeat(TEST, 50, axis=0) + 0.1 * rng.standard_normal((600, D))
    Y[1::2] = with_missing(Y[1::2])
    set_num_threads(2)
    X, std = model.transform(Y, return_std=True)
    order = rng.permutation(len(Y))
    X_shuffled, std_shuffled = model.transform(Y[order], return_std=True)
    np.testing.assert_array_equal(X_shuffled, X[order])
    np.testing.assert_array_equal(std_shuffled, std[order])
    for i in (0, 1, 2, 3, 254, 255, 256, 513, 598, 599):
        x, s = model.transform(Y[i : i + 1], return_std=True)
        np.testing.assert_array_equal(x, X[i : i + 1])
        np.testing.assert_array_equal(s, std[i : i + 1])
    set_num_threads(1)
    X_single, std_single = model.transform(Y, return_std=True)
    np.testing.assert_array_equal(X_single, X)
    np.testing.assert_array_equal(std_single, std)


def test_transform_changes_neither_model_nor_rows(fitted):
    model = fitted("missing")
    Y = TEST_MISSING.copy()
    before = model.embedding_.copy()
    first = model.transform(Y)
    np.testing.assert_array_equal(Y, TEST_MISSING)
    np.testing.assert_array_equal(model.embedding_, before)
    np.testing.assert_array_equal(model.transform(np.asfortranarray(Y)), first)
    np.testing.assert_array_equal(model.transform(Y), first)


def test_training_rows_are_found_again():
    """With little noise a training row's latent is near the one that was fitted."""
    model = lvm.GPLVM().fit(TRAIN)
    distance = np.abs(model.transform(TRAIN) - model.embedding_) / model.kernel_.lengthscale
    assert np.median(distance) < 0.05
    error = model.inverse_transform(model.transform(TRAIN)) - TRAIN
    assert np.sqrt(np.mean(error**2)) < 2 * np.sqrt(model.noise_variance_)
