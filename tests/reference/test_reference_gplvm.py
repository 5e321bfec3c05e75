"""The GPLVM oracle against finite differences, SciPy's multivariate normal and the chain rule."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from . import gplvm, kernels
from .test_reference import DIFFERENCE, LENGTHSCALES, assert_near, differences

MISSING = [pytest.param(False, id="complete"), pytest.param(True, id="missing")]
NOISE, JITTER = 0.2, 1e-3


def problem(missing, n=9, q=2, d=5):
    """X (n, q) and Y (n, d); with missing, a third of Y is NaN and column 1 is wholly NaN."""
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((n, q)), rng.standard_normal((n, d))
    if missing:
        Y[rng.random(Y.shape) < 0.3] = np.nan
        Y[:, 1] = np.nan
    return X, Y


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("lengthscale", LENGTHSCALES)
def test_loss(missing, lengthscale):
    X, Y = problem(missing)
    C = kernels.rbf(X, None, 1.7, lengthscale) + (NOISE + JITTER) * np.eye(len(X))
    total = 0.0
    for y in Y.T:
        seen = np.flatnonzero(~np.isnan(y))
        if len(seen):
            total += scipy.stats.multivariate_normal(cov=C[np.ix_(seen, seen)]).logpdf(y[seen])
    assert_near(gplvm.loss(X, Y, 1.7, lengthscale, NOISE, JITTER), -total / Y.shape[1])


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("lengthscale", LENGTHSCALES)
def test_gradient(missing, lengthscale):
    X, Y = problem(missing)
    at = {"X": X, "variance": 1.7, "lengthscale": lengthscale, "noise_variance": NOISE}
    value, *gradients = gplvm.loss_and_gradient(Y=Y, jitter=JITTER, **at)
    assert value == gplvm.loss(Y=Y, jitter=JITTER, **at)
    for name, gradient in zip(at, gradients, strict=True):

        def f(t, name=name):
            return gplvm.loss(Y=Y, jitter=JITTER, **{**at, name: t})

        assert_near(gradient, differences(f, at[name], 1e-5), DIFFERENCE)


def test_closed_form_matches_forward_mode():
    X, Y = problem(False, n=20, d=7)
    quick = gplvm.closed_form(X, Y, 1.7, 0.8, NOISE, JITTER)
    slow = gplvm.loss_and_gradient(X, Y, 1.7, 0.8, NOISE, JITTER)
    for a, b in zip(quick, slow, strict=True):
        assert_near(a, b)


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("lengthscale", LENGTHSCALES)
def test_latent_objective_is_joint_minus_marginal(missing, lengthscale):
    X, Y = problem(missing)
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal(2), rng.standard_normal(5)
    y[3] = np.nan if missing else y[3]
    settings = (1.7, lengthscale, NOISE)
    joint = gplvm.loss(np.vstack([X, x]), np.vstack([Y, y]), *settings)
    expected = 5 * (joint - gplvm.loss(X, Y, *settings))
    assert_near(gplvm.latent_objective(x, y, X, Y, *settings), expected)


def test_posterior_is_joint_minus_marginal():
    X, Y = problem(False)
    rng = np.random.default_rng(9)
    X_new, Y_new = rng.standard_normal((4, 2)), rng.standard_normal((4, 5))
    settings = (1.7, 0.8, NOISE)
    mean, covariance = gplvm.posterior(X, Y, X_new, *settings)
    assert mean.shape == (4, 5) and covariance.shape == (4, 4)
    predictive = scipy.stats.multivariate_normal(cov=covariance + NOISE * np.eye(4))
    joint = gplvm.loss(np.vstack([X, X_new]), np.vstack([Y, Y_new]), *settings)
    expected = 5 * (joint - gplvm.loss(X, Y, *settings))
    assert_near(-sum(predictive.logpdf(r) for r in (Y_new - mean).T), expected)
    # The jitter is noise of the training rows.
    shifted = gplvm.posterior(X, Y, X_new, 1.7, 0.8, NOISE - 0.05, jitter=0.05)
    for a, b in zip(shifted, (mean, covariance), strict=True):
        assert_near(a, b)
    with pytest.raises(ValueError, match="NaN"):
        gplvm.posterior(X, np.full_like(Y, np.nan), X_new, *settings)


def test_reference_protocol():
    rng = np.random.default_rng(10)
    X0, Y = rng.standard_normal((30, 2)), rng.random((30, 8))
    losses = gplvm.reference_protocol(X0, Y, 20)
    softplus_1 = np.log1p(np.e)
    first = gplvm.loss(X0, Y, softplus_1**2, softplus_1, softplus_1, jitter=1e-6)
    assert_near(losses[0], first)
    assert np.all(losses[10:] < losses[0]) and losses.shape == (20,)


def test_protocol_first_step_is_the_sign_of_the_gradient():
    """Adam's first step is -lr·sign(g): losses[1] follows from loss_and_gradient alone."""
    rng = np.random.default_rng(11)
    X0, Y = rng.standard_normal((12, 2)), rng.random((12, 4))
    s = np.log1p(np.e)
    _, dX, dvariance, dlengthscale, dnoise = gplvm.loss_and_gradient(X0, Y, s**2, s, s, 1e-6)
    u = np.logaddexp(0.0, 1.0 - 0.1 * np.sign([dvariance, dlengthscale, dnoise]))
    expected = gplvm.loss(X0 - 0.1 * np.sign(dX), Y, u[0] ** 2, u[1], u[2], 1e-6)
    # Keras' 1e-7 beside |g|·√0.001 leaves the step short by a relative 1e-7/(|g| √0.001).
    assert_near(gplvm.reference_protocol(X0, Y, 2, 0.1)[1], expected, 1e-3)
