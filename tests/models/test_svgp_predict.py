"""What a stochastic variational process answers, beside dense matrices, quadrature and its own draws."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import covariances, svgp
from reference.covariances import Leaf, Sum
from scipy import stats

import lvmfast as lvm
from lvmfast import likelihoods

KERNEL = Sum(
    [
        Leaf("RBF", {"variance": 1.2, "lengthscale": np.array([0.9, 1.4])}),
        Leaf("White", {"variance": 0.05}),
    ]
)
N, M, NEW, CONDITION, DRAWS = 60, 8, 7, 1e4, 4000
#: Of a standard normal: a test whose statistics are some 100 numbers fails by chance once in 1e4.
QUANTILE = 5.0


def covariance(X, Z=None):
    return covariances.matrix(KERNEL, np.asarray(X), None if Z is None else np.asarray(Z))


def fitted(likelihood="gaussian", y=None, d=None, dtype=np.float64, **params):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (N, 2)).astype(dtype)
    f = np.sin(X @ rng.standard_normal((2, d or 1)))
    y = f + 0.2 * rng.standard_normal(f.shape) if y is None else y(f, rng)
    y = y if d else y[:, 0]
    params = {"inducing": M, "max_iter": 12, "random_state": 0, "learn_inducing": True, **params}
    kernel = covariances.build(KERNEL, lvm.kernels).fix()
    model = lvm.SVGP(kernel, likelihood=likelihood, **params).fit(X, y.astype(dtype) if y.dtype == float else y)
    return model, np.random.default_rng(1).uniform(-2.5, 2.5, (NEW, 2)).astype(dtype)


def oracle(model):
    """q(u) of a fitted model as the oracle takes it, and the constants of its mean."""
    mean, cov = model.inducing_posterior()
    mean, cov = mean.reshape(M, -1), cov.reshape(-1, M, M)
    constants = model.mean_coef_.reshape(1, -1)
    return svgp.Variational(covariance, model.inducing_, (mean - constants).T, cov, False, model.jitter_), constants


FORMS = [{}, {"whiten": False}, {"q_diag": True, "optimizer": "adam"}]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("d", [None, 2])
def test_moments_of_f(form, d):
    model, X = fitted(d=d, **form)
    q, constants = oracle(model)
    mean, cov = svgp.joint(q, X, constants)
    mean, cov = (mean, np.moveaxis(cov, 0, 2)) if d else (mean[:, 0], cov[0])
    found, found_cov = model.predict(X, return_cov=True)
    assert_near(found, mean, tolerance(np.float64, M, CONDITION))
    assert_near(found_cov, cov, tolerance(np.float64, M, CONDITION))
    variance = np.einsum("ii...->i...", cov)
    assert_near(model.predict_f(X)[1], variance, tolerance(np.float64, M, CONDITION))
    noise = model.likelihood_.noise_variance
    for include, more in ((False, 0.0), (True, noise)):
        std = model.predict(X, return_std=True, include_noise=include)[1]
        assert_near(std, np.sqrt(variance + more), tolerance(np.float64, M, CONDITION))
    y = mean + 0.3
    density = stats.norm.logpdf(y, mean, np.sqrt(variance + noise))
    assert_near(model.log_predictive_density(X, y), density, tolerance(np.float64, M, CONDITION))
    with pytest.raises(ValueError, match="return_std and return_cov must not both be true"):
        model.predict(X, return_std=True, return_cov=True)


def test_draws():
    """Joint draws and functions have the posterior's means and covariances."""
    model, X = fitted(d=2)
    q, constants = oracle(model)
    mean, cov = svgp.joint(q, X, constants)
    draws = model.sample(X, DRAWS, random_state=1)
    assert draws.shape == (NEW, 2, DRAWS)
    np.testing.assert_array_equal(model.sample(X, DRAWS, random_state=1), draws)
    # The functions of White are none: its variance is in draws and not in paths.
    smooth = cov - 0.05 * np.eye(NEW)
    paths = np.moveaxis(model.pathwise_samples(DRAWS, n_features=2048, random_state=2)(X), 0, 2)
    for found, wanted, bias in ((draws, cov, 0.0), (paths, smooth, 0.05)):
        for p in range(2):
            spread = np.sqrt(np.diag(wanted[p]))
            assert (np.abs(found[:, p].mean(axis=1) - mean[:, p]) < QUANTILE * spread / np.sqrt(DRAWS) + 1e-9).all()
            error = np.abs(np.cov(found[:, p]) - wanted[p]) / np.outer(spread, spread)
            assert error.max() < QUANTILE * np.sqrt(2 / DRAWS) + bias


CASES = {
    "poisson": (likelihoods.Poisson(), lambda f, rng: rng.poisson(np.exp(f)).astype(float), np.exp),
    "gamma": (likelihoods.Gamma(3.0), lambda f, rng: rng.gamma(3, np.exp(f) / 3), np.exp),
    "beta": (likelihoods.Beta(9.0), lambda f, rng: 1 / (1 + np.exp(-f)), lambda f: 1 / (1 + np.exp(-f))),
}


@pytest.mark.parametrize("name", CASES)
def test_means_of_y(name):
    """Mean of y, deviation of its mean given f, and of y itself: those of draws; and densities, by quadrature."""
    likelihood, y, link = CASES[name]
    model, X = fitted(likelihood, y)
    mean, variance = model.predict_f(X)
    f = mean[:, None] + np.sqrt(variance)[:, None] * np.polynomial.hermite_e.hermegauss(80)[0]
    weights = np.polynomial.hermite_e.hermegauss(80)[1]
    weights = weights / weights.sum()
    expected = link(f) @ weights
    # 20 nodes: within 2e-9 to 1e-6 at such variances.
    assert_near(model.predict(X), expected, 1e-6)
    std = np.sqrt((link(f) - expected[:, None]) ** 2 @ weights)
    assert_near(model.predict(X, return_std=True)[1], std, 1e-4)  # exp(2 f) with deviations of 1 takes more nodes
    whole = model.predict(X, return_std=True, include_noise=True)[1]
    draws = model.sample(X, DRAWS, observations=True, random_state=3)
    assert draws.shape == (NEW, DRAWS)
    assert (np.abs(draws.mean(axis=1) - expected) < QUANTILE * whole / np.sqrt(DRAWS)).all()
    assert (np.abs(draws.std(axis=1) / whole - 1) < 0.2).all()
    at = draws[:, 0]
    value = np.log(np.exp(model.likelihood_.log_density(at[:, None], f)) @ weights)
    assert_near(model.log_predictive_density(X, at), value, 1e-4)  # as the docs say of 20 nodes at deviations of 2
    with pytest.raises(ValueError, match="return_cov must be False"):
        model.predict(X, return_cov=True)


@pytest.mark.parametrize("name", ["bernoulli", "probit", "ordinal", "softmax", "robust_max"])
def test_classes(name):
    """Probabilities are the shares of draws; labels, scores and densities go with them."""
    labels = np.array(["no", "yes"]) if name in ("bernoulli", "probit") else np.array([3, 5, 9])
    cuts = [0.0] if len(labels) == 2 else [-0.4, 0.4]
    model, X = fitted(name, lambda f, rng: labels[np.digitize(f, cuts)])
    p = model.predict_proba(X)
    np.testing.assert_array_equal(model.classes_, labels)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), labels[p.argmax(axis=1)])
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), p)
    decision = model.decision_function(X)
    if len(labels) == 2:
        np.testing.assert_allclose(decision, np.log(p[:, 1] / p[:, 0]))
    else:
        np.testing.assert_allclose(decision, np.log(p))
    draws = model.sample(X, DRAWS, observations=True, random_state=4)
    shares = np.stack([(draws == label).mean(axis=1) for label in labels], axis=1)
    # RobustMax: quadrature of P is within 7e-3.
    assert (np.abs(shares - p) < QUANTILE * np.sqrt(p * (1 - p) / DRAWS) + 0.01).all()
    density = model.log_predictive_density(X, model.predict(X))
    assert_near(density, np.log(p.max(axis=1)), 0.02 if name == "robust_max" else 1e-9, scale=1.0)
    latents = model.likelihood_.n_latents
    assert model.predict_f(X)[0].shape == ((NEW,) if latents == 1 else (NEW, latents))
    with pytest.raises(ValueError, match="must be false for classes"):
        model.predict(X, return_std=True)
    with pytest.raises(ValueError, match="y must hold the classes"):
        model.log_predictive_density(X, np.full(NEW, labels[0]).astype(object) * 2)


def test_known_noise_of_new_points():
    model, X = fitted()
    noise = np.linspace(0.1, 2.0, NEW)
    mean, variance = model.predict_f(X)
    std = model.predict(X, return_std=True, include_noise=True, noise_variance=noise)[1]
    assert_near(std, np.sqrt(variance + noise), tolerance(np.float64, M, CONDITION))
    density = model.log_predictive_density(X, mean, noise_variance=noise)
    assert_near(density, stats.norm.logpdf(0, 0, np.sqrt(variance + noise)), tolerance(np.float64, M, CONDITION))
    with pytest.raises(ValueError, match=r"noise_variance must have shape \(7,\), got \(3,\)"):
        model.predict(X, include_noise=True, return_std=True, noise_variance=noise[:3])
    with pytest.raises(TypeError, match="exposure must be None for Gaussian"):
        model.predict(X, exposure=noise)


def test_single_precision():
    """float32 in, float32 out, near float64's answers."""
    single, X = fitted(dtype=np.float32, learn_inducing=False)
    double, _ = fitted(learn_inducing=False, inducing=single.inducing_)
    for a, b in (
        (single.predict(X), double.predict(X)),
        (single.predict(X, return_std=True)[1], double.predict(X, return_std=True)[1]),
        (single.log_predictive_density(X, X[:, 0]), double.log_predictive_density(X, X[:, 0])),
    ):
        assert a.dtype == np.float32
        assert_near(a, b, tolerance(np.float32, N, CONDITION / 10))
    paths = single.pathwise_samples(2, random_state=0)(X)
    assert paths.dtype == np.float32 and paths.shape == (2, NEW)


def test_gradient_of_the_bound():
    """elbo(theta) by differences; without theta it is lower_bound_."""
    model, _ = fitted("student_t", mean="linear")
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (N, 2))
    f = np.sin(X @ rng.standard_normal((2, 1)))
    y = (f + 0.2 * rng.standard_normal(f.shape))[:, 0]
    value, gradient = model.elbo(X, y, gradient=True)
    np.testing.assert_allclose(value, model.lower_bound_, rtol=1e-12)
    coef = model._posterior.mean.coef.T.ravel()
    theta = np.concatenate([model.likelihood_.theta, coef, model.inducing_.ravel()])
    np.testing.assert_allclose(model.elbo(X, y, theta), value, rtol=1e-12)
    direction, step = rng.standard_normal(len(theta)), 1e-6
    slope = (model.elbo(X, y, theta + step * direction) - model.elbo(X, y, theta - step * direction)) / (2 * step)
    np.testing.assert_allclose(gradient @ direction, slope, rtol=1e-6)
    with pytest.raises(ValueError, match=r"theta must have shape \(21,\), got \(20,\)"):
        model.elbo(X, y, theta[1:])
