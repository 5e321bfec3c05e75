"""Autoencoders whose posterior is known: p(z | x) of a linear decoder with orthogonal loadings, and what follows.

With ``x = W z + b + noise``, ``W = diag(sd) Q diag(c)``, orthonormal columns in Q, noise variances sd^2: given x, the
latents are independent, with variances ``t = 1 / (1 + c^2)`` and means ``t c Q^T ((x - b) / sd)``, and an encoder of
one layer has these exactly.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference.vae import Net, Vae
from scipy import stats
from scipy.special import expit, logsumexp
from vaes import compiled

import lvmfast as lvm

P, D, N = 5, 2, 6
FORMS = ["fixed", "feature"]
NET = Net((P,), [], [[("dense", D, "linear")]] * 2), Net((D,), [], [[("dense", P, "linear")]])


def problem(rng, variance="fixed", n=N, poor=0.0, dtype=np.float64):
    """theta, fixed, x and log p(x_i); ``poor`` moves the encoder's means and adds to its log variances."""
    sd, b, c = np.exp(0.3 * rng.standard_normal(P)), rng.standard_normal(P), np.array([1.5, 0.7])
    Q = np.linalg.qr(rng.standard_normal((P, D)))[0]
    W = sd[:, None] * Q * c
    t = 1 / (1 + c**2)
    to_mean = Q / sd[:, None] * (t * c)
    encoder = [to_mean.ravel(), -b @ to_mean + poor, np.zeros(P * D), np.log(t) + poor]
    theta = np.concatenate([*encoder, W.T.ravel(), b, 2 * np.log(sd) if variance == "feature" else []])
    covariance = W @ W.T + np.diag(sd**2)
    x = rng.multivariate_normal(b, covariance, n)
    evidence = stats.multivariate_normal(b, covariance).logpdf(x)
    fixed = 2 * np.log(sd) if variance == "fixed" else None
    return *(None if a is None else a.astype(dtype) for a in (theta, fixed, x)), evidence


def model(variance="fixed", **options):
    return Vae(*NET, likelihood="gaussian", variance=variance, **options)


def cubature(n, dtype=np.float64):
    """Noise (n, 2 D, D) whose mean over samples is that of the normal distribution, for every quadratic."""
    points = math.sqrt(D) * np.concatenate([np.eye(D), -np.eye(D)])
    return np.ascontiguousarray(np.broadcast_to(points, (n, 2 * D, D)), dtype)


@pytest.mark.parametrize("variance", FORMS)
def test_exact_posterior(dtype, variance, rng):
    """Every log w is log p(x), without variance, and so is the IWAE bound for every K; the ELBO is log p(x)."""
    theta, fixed, x, evidence = problem(rng, variance, dtype=dtype)
    allowed = tolerance(dtype, 30)
    eps = rng.standard_normal((N, 64, D)).astype(dtype)
    log_w = compiled(model(variance), 1, dtype).log_weights(theta, fixed, x, eps)
    assert_near(log_w, np.repeat(evidence[:, None], 64, 1), allowed)
    for K in (1, 2, 7, 64):
        vae = compiled(model(variance, iwae=True, dreg=K > 2), K, dtype)
        terms, gradient = vae.evaluate(theta, fixed, x, eps[:, :K].copy(), 1.0, 1.0, K > 2)
        assert_near(terms[:, 0], evidence, allowed)
        if K > 2:  # log w does not depend on z: doubly reparameterised, the encoder's gradient has no variance either
            assert_near(gradient[: model().encoder.size], np.zeros(model().encoder.size), allowed, 10)
    terms, gradient = compiled(model(variance), 1, dtype).evaluate(theta, fixed, x, cubature(N, dtype), 1.0, 1.0, True)
    assert_near(terms[:, 0], evidence, allowed)
    assert_near(gradient[: model().encoder.size], np.zeros(model().encoder.size), allowed, 10)


def test_gradient_of_the_evidence(rng):
    """At the exact posterior the decoder's gradient of the ELBO is that of log p(x)."""
    theta, fixed, x, _ = problem(rng, "feature")
    _, gradient = compiled(model("feature")).evaluate(theta, fixed, x, cubature(N), 1.0, 1.0, True)
    size = model().encoder.size
    W, b, v = theta[size : size + D * P].reshape(D, P).T, theta[size + D * P : size + D * P + P], theta[-P:]
    inverse = np.linalg.inv(W @ W.T + np.diag(np.exp(v)))
    u = (x - b) @ inverse
    by_covariance = 0.5 * (inverse - u.T @ u / N)
    expected = [(2 * by_covariance @ W).T.ravel(), -u.mean(0), np.diag(by_covariance) * np.exp(v)]
    assert_near(gradient[size:], np.concatenate(expected), tolerance(float, 100))


@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_one_sample(rng, beta):
    """IWAE with K = 1 is the ELBO whose KL is sampled too; the reconstructions are the same."""
    theta, fixed, x, _ = problem(rng, poor=0.5)
    eps = rng.standard_normal((N, 1, D))
    elbo, _ = compiled(model()).evaluate(theta, fixed, x, eps, beta, 1.0, False)
    iwae, _ = compiled(model(iwae=True)).evaluate(theta, fixed, x, eps, beta, 1.0, False)
    m, s = model().encode(theta, x, {})
    z = m + np.exp(s / 2) * eps[:, 0]
    ratio = (stats.norm.logpdf(z, m, np.exp(s / 2)) - stats.norm.logpdf(z)).sum(1)
    assert_near(iwae[:, 0], elbo[:, 1] - beta * ratio, tolerance(float, 30))
    assert_near(elbo[:, 0], elbo[:, 1] - beta * elbo[:, 2], tolerance(float, 30))
    np.testing.assert_array_equal(iwae[:, 1:], elbo[:, 1:])


def test_more_samples_are_tighter(rng):
    """A poor encoder: the mean of the bound rises with K towards log p(x), and never beyond, by 4 standard errors."""
    theta, fixed, x, evidence = problem(rng, poor=1.0)
    K, draws = [1, 2, 4, 16, 64], 512
    eps = rng.standard_normal((N, draws * K[-1], D))
    bounds = []
    for k in K:
        groups = eps[:, : draws * k].reshape(N * draws, k, D)
        vae = compiled(model(iwae=True), k)
        terms, _ = vae.evaluate(theta, fixed, np.repeat(x, draws, axis=0), groups, 1.0, 1.0, False)
        bounds.append(terms[:, 0].reshape(N, draws))
    means = np.stack([bound.mean(1) for bound in bounds])
    errors = np.stack([bound.std(1) for bound in bounds]) / math.sqrt(draws)
    assert (means < evidence + 4 * errors).all()
    assert (np.diff(means.mean(1)) > 4 * np.hypot(errors[1:], errors[:-1]).mean(1) / math.sqrt(N)).all()
    exact, _ = compiled(model()).evaluate(theta, fixed, x, cubature(N), 1.0, 1.0, False)
    assert (np.abs(means[0] - exact[:, 0]) < 4 * errors[0]).all()
    assert (evidence - means[-1]).max() < 0.1 * (evidence - means[0]).min()


def test_evidence_by_weights(dtype, rng):
    """log mean w within 4.5 standard errors (delta method) of log p(x): a false alarm in 10^4 runs of 20 rows."""
    theta, fixed, x, evidence = problem(rng, n=20, poor=0.5, dtype=dtype)
    K = 4000
    log_w = compiled(model(), 1, dtype).log_weights(theta, fixed, x, rng.standard_normal((20, K, D)).astype(dtype))
    estimate = logsumexp(log_w, axis=1) - math.log(K)
    w = np.exp(log_w - estimate[:, None])
    errors = w.std(1) / math.sqrt(K)
    assert errors.max() < 0.1
    assert (np.abs(estimate - evidence) < 4.5 * errors).all()
    assert 0.6 < np.sqrt((((estimate - evidence) / errors) ** 2).mean()) < 1.5


@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_doubly_reparameterised_gradient(rng, beta):
    """Its mean is that of the usual gradient, with less variance in the encoder's part; the decoder's is the same."""
    theta, fixed, x, _ = problem(rng, poor=0.3)
    usual, doubly = (compiled(model(iwae=True, dreg=dreg), 8) for dreg in (False, True))
    size = model().encoder.size
    pairs = []
    for _ in range(400):
        eps = rng.standard_normal((N, 8, D))
        pairs.append([vae.evaluate(theta, fixed, x, eps, beta, 1.0, True)[1] for vae in (usual, doubly)])
    a, b = np.moveaxis(pairs, 1, 0)
    assert_near(b[:, size:], a[:, size:], tolerance(float, 10))
    a, b = a[:, :size], b[:, :size]
    z = (a - b).mean(0) / ((a - b).std(0) / 20)
    assert np.abs(z).max() < 4.5
    assert np.abs(b.mean(0)).max() > 0.02
    assert b.var(0).sum() < 0.5 * a.var(0).sum()


def test_logistic_factor_analysis():
    """A linear decoder of Bernoulli rows and one latent: log p(x) by Gauss-Hermite quadrature."""
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((400, 1)) @ rng.uniform(1.0, 3.0, (1, 6)) + rng.standard_normal(6)
    X = (rng.uniform(size=logits.shape) < expit(logits)).astype(np.float64)
    options = {"optimizer": lvm.nn.Adam(0.02), "max_iter": 60, "dtype": np.float64, "random_state": 0}
    model = lvm.VAE(decoder="linear", hidden=(16,), n_components=1, **options).fit(X)
    loadings, intercept = model.decoder_.get_weights()
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    a = nodes[:, None] * loadings + intercept
    log_p = X @ a.T - np.logaddexp(0, a).sum(axis=1)
    exact = logsumexp(log_p, b=weights / weights.sum(), axis=1)
    value, error = model.log_likelihood(X, n_samples=2000, return_std=True)
    assert np.abs((value - exact) / error).max() < 5  # 400 normal numbers: beyond it once in 4,000 seeds
    frequency = X.mean(axis=0)
    independent = (frequency * np.log(frequency) + (1 - frequency) * np.log1p(-frequency)).sum()
    assert independent + 0.3 < model.score(X) < exact.mean()
