"""Softmax, RobustMax and a user's own likelihood: expectations, derivatives, limits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from helpers import assert_near, differences
from reference import likelihoods as oracle

from lvmfast.likelihoods import Bernoulli, Custom, Gaussian, RobustMax, Softmax, StudentT

M = np.array([[0.3, -0.8, 1.1], [2.0, 0.1, -0.5], [-0.2, 0.0, 0.1]])
V = np.array([[0.5, 1.2, 0.3], [2.0, 0.7, 1.0], [0.1, 0.2, 0.4]])
Y = np.array([0.0, 1.0, 2.0])


def gradients_by_differences(model, y, m, v):
    by_m = differences(lambda a: model.expected_log_density(y, a, v).sum(), m)
    by_v = differences(lambda a: model.expected_log_density(y, m, a).sum(), v)
    return by_m, by_v


@pytest.mark.parametrize(("n_samples", "error"), [(64, 5e-2), (256, 1e-2), (4096, 2e-3)])
def test_softmax(n_samples, error):
    """The error falls nearly with the number of points."""
    model = Softmax(3, n_samples=n_samples)
    expected = np.array([oracle.softmax(int(y), m, v) for y, m, v in zip(Y, M, V, strict=True)])
    assert_near(model.expected_log_density(Y, M, V), expected[:, 0], error, scale=1.0)
    assert_near(model.log_predictive_density(Y, M, V), expected[:, 1], error, scale=1.0)
    p = model.predict_proba(M, V)
    assert_near(p.sum(axis=1), np.ones(3), 1e-13)
    np.testing.assert_allclose(np.log(p[range(3), Y.astype(int)]), model.log_predictive_density(Y, M, V), rtol=1e-13)


@pytest.mark.parametrize("model", [Softmax(3, n_samples=16), RobustMax(3, 0.01), RobustMax(3, n_nodes=5)], ids=repr)
def test_gradients_are_those_of_what_is_computed(model):
    value, by_m, by_v, by = model.expected_log_density(Y, M, V, gradients=True)
    assert by == {} and value.shape == (3,)
    for actual, expected in zip((by_m, by_v), gradients_by_differences(model, Y, M, V), strict=True):
        assert_near(actual, expected, 1e-9, scale=1 + abs(expected).max())


def test_two_classes():
    """f_1 - f_0 is N(m_1 - m_0, v_0 + v_1): the softmax is the logit, the robust max the probit of the difference."""
    m, v, y = M[:, :2], V[:, :2], np.array([0.0, 1.0, 1.0])
    expected = Bernoulli().expected_log_density(y, m[:, 1] - m[:, 0], v.sum(axis=1))
    assert_near(Softmax(2, n_samples=8192).expected_log_density(y, m, v), expected, 1e-3, scale=1.0)
    value, by_m, by_v, _ = RobustMax(2, 0.01).expected_log_density(y, m, v, gradients=True)
    p = scipy.special.ndtr((2 * y - 1) * (m[:, 1] - m[:, 0]) / np.sqrt(v.sum(axis=1)))
    assert_near(value, p * np.log(0.99) + (1 - p) * np.log(0.01), 1e-14)
    for actual, expected in zip((by_m, by_v), gradients_by_differences(RobustMax(2, 0.01), y, m, v), strict=True):
        assert_near(actual, expected, 1e-9, scale=1 + abs(expected).max())


@pytest.mark.parametrize("n_classes", [3, 10])
def test_robust_max(n_classes, rng):
    """Probabilities within 1e-3 where variances are like one another, and to 1e-10 with more nodes."""
    m, v = rng.normal(size=(6, n_classes)), rng.uniform(0.5, 1.5, (6, n_classes))
    p = np.array([[oracle.largest(a, b, c) for c in range(n_classes)] for a, b in zip(m, v, strict=True)])
    expected = 0.99 * p + 0.01 / (n_classes - 1) * (1 - p)
    assert_near(RobustMax(n_classes, 0.01).predict_proba(m, v), expected, 1e-3, scale=1.0)
    model = RobustMax(n_classes, 0.01, n_nodes=200)
    assert_near(model.predict_proba(m, v), expected, 1e-8, scale=1.0)
    y = np.arange(6) % n_classes
    own, wrong = p[range(6), y], np.log(0.01 / (n_classes - 1))
    assert_near(model.expected_log_density(y, m, v), own * np.log(0.99) + (1 - own) * wrong, 1e-7, scale=1.0)


@pytest.mark.parametrize("model", [Softmax(3), RobustMax(3)], ids=repr)
@pytest.mark.parametrize("v", [0.0, 1e-300, 1e-12])
def test_classes_without_variance(model, v):
    """What is known for sure: log p at the mean, numbers for derivatives, -p (1 - p) / 2 by a variance."""
    value, by_m, by_v, _ = model.expected_log_density(Y, M, np.full((3, 3), v), gradients=True)
    np.testing.assert_allclose(value, model.log_density(Y, M), rtol=1e-6)
    assert np.isfinite(by_m).all() and np.isfinite(by_v).all()
    if isinstance(model, Softmax):
        p = scipy.special.softmax(M, axis=1)
        assert_near(by_m, (Y[:, None] == range(3)) - p, 1e-5, scale=1.0)
        assert_near(by_v, -0.5 * p * (1 - p), 1e-5, scale=1.0)
    assert np.isfinite(model.expected_log_density(Y, np.full((3, 3), 0.5), np.full((3, 3), v), gradients=True)[2]).all()


def test_far_classes():
    """Latents of 1000: numbers."""
    m = np.array([[1000.0, -1000.0, 0.0]] * 3)
    for model in (Softmax(3), RobustMax(3)):
        results = model.expected_log_density(Y, m, np.ones((3, 3)), gradients=True)
        assert all(np.isfinite(a).all() for a in results[:3])
        assert np.isfinite(model.log_predictive_density(Y, m, np.ones((3, 3)))).all()


# A user's own.


def t_density(y, f):
    """Student's t of 4 degrees and scale 1/2."""
    return np.log(0.75) - 2.5 * np.log1p((y - f) ** 2)


def test_custom_is_the_likelihood_it_says(rng):
    """Values of the named likelihood by the same nodes; derivatives as near as the quadrature is."""
    y, m, v = rng.normal(size=30), rng.normal(size=30), rng.uniform(0.0, 0.1, 30)
    custom, named = Custom(t_density, n_nodes=40), StudentT(0.5, 4.0, n_nodes=40)
    expected = named.expected_log_density(y, m, v, gradients=True)
    actual = custom.expected_log_density(y, m, v, gradients=True)
    for a, b, error in zip(actual[:3], expected[:3], (1e-13, 1e-5, 1e-4), strict=True):
        assert_near(a, b, error, scale=1 + abs(b).max())
    assert_near(custom.log_density(y, m), named.log_density(y, m), 1e-14)
    assert_near(custom.log_predictive_density(y, m, v), named.log_predictive_density(y, m, v), 1e-13)


@pytest.mark.parametrize("v", [0.0, 1e-300, 1e-20, 1e-8, 1e-4, 0.99e-4, 0.3])
@pytest.mark.parametrize("m", [-0.4, 2.0, 50.0])
def test_custom_derivatives(v, m):
    """About ten digits of those by m, and eight of those by v, down to v = 0."""
    y = m + 0.7
    custom = Custom(lambda y, f: -0.5 * (y - f) ** 2 / 0.7 - 0.5 * np.log(2 * np.pi * 0.7) + 0 * f)
    expected = Gaussian(0.7).expected_log_density(y, m, v, gradients=True)
    actual = custom.expected_log_density(y, m, v, gradients=True)
    for a, b, error in zip(actual[:3], expected[:3], (1e-12, 1e-10, 1e-8), strict=True):
        assert_near(a, b, error, scale=1.0)
    curved = Custom(lambda y, f: y * f - np.exp(f))
    if m < 10:
        _, by_m, by_v, _ = curved.expected_log_density(y, m, v, gradients=True)
        mean = np.exp(m + 0.5 * v)
        assert_near(by_m, y - mean, 1e-9, scale=1 + mean)
        assert_near(by_v, -0.5 * mean, 1e-7, scale=1 + mean)


def test_custom_predictions():
    """From the functions mean and variance."""
    custom = Custom(t_density, mean=lambda f: f, variance=lambda f: 0.5 + 0 * f)
    mean, variance = custom.predict([0.3, -1.0], [0.2, 0.4])
    assert_near(mean, [0.3, -1.0], 1e-14)
    assert_near(variance, [0.7, 0.9], 1e-13)


def test_custom_errors():
    with pytest.raises(ValueError, match="predict needs the mean and variance"):
        Custom(t_density).predict([0.0], [1.0])
    with pytest.raises(ValueError, match=r"must return an array of shape \(1, 20\).*got \(1,\)"):
        Custom(lambda y, f: np.zeros(1)).expected_log_density([0.0], [0.0], [1.0])
    with pytest.raises(ValueError, match="got nan for y = 0.0 and f ="):
        Custom(lambda y, f: np.nan * f).expected_log_density([0.0], [0.0], [1.0])
    with pytest.raises(ValueError, match="possible observations for Custom, got -1"):
        Custom(t_density, in_support=lambda y: y > 0).log_density([-1.0], [0.0])
    with pytest.raises(ValueError, match="n_nodes must be an integer >= 3"):
        Custom(t_density, n_nodes=2).expected_log_density([0.0], [0.0], [1.0])
    with pytest.raises(NotImplementedError, match="knows the density of y only"):
        Custom(t_density).sample([0.0])
