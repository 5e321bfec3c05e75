"""Likelihoods of one latent function against mpmath: densities, expectations with derivatives, predictions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats
from helpers import assert_near
from reference import likelihoods as oracle

from lvmfast import likelihoods
from lvmfast.likelihoods import Bernoulli, Gamma, Gaussian, NegativeBinomial, Ordinal, Poisson, StudentT

NAMES = {
    "gaussian": "Gaussian",
    "bernoulli": "Bernoulli",
    "poisson": "Poisson",
    "student_t": "StudentT",
    "beta": "Beta",
    "gamma": "Gamma",
    "negative_binomial": "NegativeBinomial",
    "ordinal": "Ordinal",
}
CUTS = [-1.0, 0.25, 1.5]
# Name, parameters, observations.
CASES = [
    ("gaussian", {"noise_variance": 0.7}, [-1.5, 0.3]),
    ("bernoulli", {"link": "logit"}, [0, 1]),
    ("bernoulli", {"link": "probit"}, [0, 1]),
    ("poisson", {"link": "exp"}, [0, 3]),
    ("poisson", {"link": "softplus"}, [0, 3]),
    ("student_t", {"scale": 0.8, "df": 3.5}, [-1.0, 2.5]),
    ("beta", {"scale": 3.0}, [0.05, 0.6]),
    ("gamma", {"shape": 2.5, "link": "exp"}, [0.2, 3.0]),
    ("gamma", {"shape": 0.7, "link": "softplus"}, [0.2, 3.0]),
    ("negative_binomial", {"dispersion": 0.6, "link": "exp"}, [0, 5]),
    ("negative_binomial", {"dispersion": 1.7, "link": "softplus"}, [0, 5]),
    ("ordinal", {"cut_points": CUTS}, [0, 1, 3]),
]
IDS = [f"{name} {' '.join(map(str, p.values()))}" for name, p, _ in CASES]
each = pytest.mark.parametrize(("name", "parameters", "ys"), CASES, ids=IDS)


def make(name, parameters, **more):
    if name == "gaussian":
        return Gaussian(**parameters)
    return getattr(likelihoods, NAMES[name])(**parameters, **more)


def numeric(parameters):
    return {k: v for k, v in parameters.items() if not isinstance(v, str)}


@each
def test_log_density(name, parameters, ys):
    """Within 1e-13 of what is summed, also for latents as far out as the density is a number."""
    far = [] if name == "gamma" else [-1000.0, -60.0, 60.0] if parameters.get("link") == "exp" else [-1000.0, 999.0]
    for y in ys:
        for f in [-3.0, -0.4, 0.0, 1.7, 8.0, *far]:
            expected = oracle.log_density(name, y, f, **parameters)
            actual = make(name, parameters).log_density([float(y)], [f])
            assert_near(actual, [expected], 2e-13, scale=10 + abs(expected) + abs(f))


@each
@pytest.mark.parametrize("v", [0.09, 0.8])
def test_expectations(name, parameters, ys, v):
    """With 100 nodes the quadrature is exact to 1e-9, and its derivatives are those of the expectation."""
    model = make(name, parameters, n_nodes=100)
    for y, m in zip(ys, (-0.6, 1.1, 0.2), strict=False):
        expected = oracle.expectation(name, y, m, v, step=0.08, **parameters)
        value, by_m, by_v, by = model.expected_log_density([float(y)], [m], [v], gradients=True)
        for a, b in zip((value, by_m, by_v), expected, strict=True):
            assert_near(a, [b], 1e-9, scale=1 + abs(b))
        for p in numeric(parameters):
            if p != "cut_points":
                slope = oracle.by_parameter(name, y, m, v, p, step=0.12, **parameters)
                assert_near(by[p], [slope], 1e-9, scale=1 + abs(slope))


@each
@pytest.mark.parametrize("n_nodes", [3, 20])
def test_gradients_are_those_of_the_sum(name, parameters, ys, n_nodes, rng):
    """Also with so few nodes that the sum is not the expectation: an optimizer sees one function."""
    model = make(name, parameters, n_nodes=n_nodes)
    y = rng.choice(np.array(ys, float), 40)
    m, v = rng.normal(size=40), rng.gamma(2.0, 0.5, 40)
    v = np.where(abs(v - 2) < 1e-2, 1.9, v)  # where the logit changes its rule
    h = 1e-5
    _, by_m, by_v, by = model.expected_log_density(y, m, v, gradients=True)

    def value(m, v, model=model):
        return model.expected_log_density(y, m, v)

    assert_near(by_m, (value(m + h, v) - value(m - h, v)) / (2 * h), 1e-8)
    ends = v * (1 + h), v * (1 - h)
    assert_near(by_v, (value(m, ends[0]) - value(m, ends[1])) / (ends[0] - ends[1]), 1e-7)
    for p, derivative in by.items():
        at, columns = np.array(model.parameters[p].value), derivative.reshape(len(y), -1)
        for k in range(at.size):
            sides = []
            for sign in (1, -1):
                changed, moved = model.copy(), at.copy().reshape(-1)
                moved[k] += sign * h
                changed.parameters[p] = moved.reshape(at.shape)
                sides.append(value(m, v, changed))
            assert_near(columns[:, k], (sides[0] - sides[1]) / (2 * h), 1e-8, scale=1 + abs(columns).max())


@each
def test_small_variances(name, parameters, ys):
    """Down to v = 0 value and derivatives go to log p, its slope and half its curvature, without a jump."""
    model, m = make(name, parameters), np.array([-0.7, 0.4])
    for y in ys:
        y = np.full(2, float(y))
        value, by_m, by_v, _ = model.expected_log_density(y, m, np.zeros(2), gradients=True)
        np.testing.assert_allclose(value, model.log_density(y, m), rtol=1e-13, atol=1e-14)
        h = 1e-3
        up, down = model.log_density(y, m + h), model.log_density(y, m - h)
        assert_near(by_m, (up - down) / (2 * h), 1e-4, scale=10)
        assert_near(by_v, (up - 2 * model.log_density(y, m) + down) / (2 * h * h), 1e-4, scale=10)
        tiny = model.expected_log_density(y, m, np.full(2, 1e-300), gradients=True)
        for a, b in zip(tiny[:3], (value, by_m, by_v), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
        for v in (1e-7, 1e-6):  # on both sides of where the form changes, for a length of 1
            sides = [model.expected_log_density(y, m, np.full(2, u), gradients=True) for u in (0.999 * v, 1.001 * v)]
            for k in (1, 2):
                assert_near(sides[0][k], sides[1][k], 1e-8, scale=1 + abs(by_v).max())


@each
def test_predictions(name, parameters, ys):
    """log E p and the moments of y; quadrature of the moments has 60 nodes."""
    model = make(name, parameters, n_nodes=60)
    for m, v in ((-0.6, 0.3), (1.1, 0.9)):
        for y in ys:
            expected = oracle.log_predictive(name, y, m, v, step=0.1, **parameters)
            assert_near(model.log_predictive_density([float(y)], [m], [v]), [expected], 1e-8, scale=1 + abs(expected))
        if name == "ordinal":
            p = model.predict_proba(m, v)
            k = np.arange(4)
            expected = p @ k, p @ k**2 - (p @ k) ** 2
            assert_near(p.sum(), 1.0, 1e-14)
        else:
            expected = oracle.moments(name, m, v, **parameters)
        for a, b in zip(model.predict(m, v), expected, strict=True):
            assert_near(a, b, 1e-8)


@pytest.mark.parametrize("v", [0.5, 1.99, 2.0, 5.0, 25.0, 100.0])
def test_logit_of_any_variance(v):
    """With 20 nodes E log p is within 3e-8 for every variance up to 100, log E p within 1e-6 of itself."""
    m = np.array([-30.0, -8.0, -3.0, -0.5, 0.0, 1.0, 4.0, 12.0, 50.0])
    value = Bernoulli().expected_log_density(1.0, m, v)
    assert_near(value, [oracle.logit_expectation(a, v) for a in m], 3e-8, scale=1.0)
    m = np.array([*m, -60.0, -100.0, -120.0, -200.0])
    predicted = Bernoulli().log_predictive_density(1.0, m, v)
    assert_near(predicted, [oracle.logit_predictive(a, v) for a in m], 1e-6, scale=1.0)
    p, q = (np.exp(Bernoulli().log_predictive_density(y, m, v)) for y in (1.0, 0.0))
    assert_near(p + q, np.ones(len(m)), 1e-6)
    mean, variance = Bernoulli().predict(m, v)
    assert_near(mean, p, 1e-12)
    np.testing.assert_allclose(variance, p * q, rtol=1e-12)


@pytest.mark.parametrize("f", [-1000.0, 1000.0])
@each
def test_far_latents(name, parameters, ys, f):
    """Numbers wherever the true value is one: beyond it, -inf."""
    beyond = parameters.get("link") == "exp" and f > 0 and name == "poisson" or name == "gamma" and f < 0
    for y in ys:
        results = make(name, parameters).expected_log_density([float(y)], [f], [1e-3], gradients=True)
        assert np.isneginf(results[0]).all() if beyond else np.isfinite(np.concatenate(results[:3])).all()
        if not beyond:
            assert np.isfinite(make(name, parameters).log_predictive_density([float(y)], [f], [1.0])).all()


@pytest.mark.parametrize("y", [1e6, 1e9])
def test_large_counts(y):
    """The rounding is that of y log(y), the largest term."""
    f = np.log(y) + 0.01
    for name, parameters in (("poisson", {}), ("negative_binomial", {"dispersion": 1e-9})):
        expected = oracle.log_density(name, y, f, **parameters)
        assert_near(make(name, parameters).log_density([y], [f]), [expected], 1e-15, scale=y * np.log(y))


def test_near_limits():
    """Negative binomial without dispersion is Poisson, Student's t of many degrees Gaussian, also their derivatives."""
    f, y = np.linspace(-2, 3, 11), 4.0
    nb = NegativeBinomial(1e-9)
    np.testing.assert_allclose(nb.log_density(y, f), Poisson().log_density(y, f), rtol=1e-7, atol=1e-7)
    mu = np.exp(f)
    by = nb.expected_log_density(y, f, 0.0, gradients=True)[3]["dispersion"]
    np.testing.assert_allclose(by, 0.5 * ((y - mu) ** 2 - y), rtol=1e-6, atol=1e-6)
    t = StudentT(scale=0.8, df=1e9)
    e2 = ((y - f) / 0.8) ** 2
    np.testing.assert_allclose(t.log_density(y, f), Gaussian(0.64).log_density(y, f), rtol=1e-6, atol=1e-6)
    by = t.expected_log_density(y, f, 0.0, gradients=True)[3]["df"] * 1e18
    np.testing.assert_allclose(by, -0.25 * (e2**2 - 2 * e2 - 1), rtol=1e-6, atol=1e-5)


def test_ordinal():
    """One cut point is the probit; narrow classes keep their digits; derivatives by the cut points add up."""
    m, v = np.linspace(-3, 3, 13), 0.6
    for y in (0.0, 1.0):
        probit = Bernoulli("probit").expected_log_density(y, m, v)
        np.testing.assert_allclose(Ordinal([0.0]).expected_log_density(y, m, v), probit, rtol=1e-13)
    for width in (1e-12, 1e-5, 1e-3, 0.1):
        for centre in (-30.0, -1.0, 0.0, 5.0):
            cuts = [centre, centre + width]
            expected = oracle.log_density("ordinal", 1, 0.0, cut_points=cuts)
            assert_near(Ordinal(cuts).log_density([1.0], [0.0]), [expected], 1e-11, scale=1 + abs(expected))
    _, by_m, _, by = Ordinal(CUTS).expected_log_density(2.0, m, v, gradients=True)
    assert_near(by["cut_points"].sum(axis=1), -by_m, 1e-13)
    assert (by["cut_points"][:, 0] == 0).all()


def test_known_of_points(rng):
    """Noise variances and exposures of single points."""
    y, m, v, s = rng.normal(size=5), rng.normal(size=5), rng.gamma(1.0, 1.0, 5), rng.gamma(1.0, 1.0, 5)
    whole = Gaussian(9.0).expected_log_density(y, m, v, noise_variance=s, gradients=True)
    for i in range(5):
        value = Gaussian(s[i]).expected_log_density(y[i], m[i], v[i], gradients=True)
        assert all(a[i] == b for a, b in zip(whole[:3], value[:3], strict=True))
    assert not whole[3]["noise_variance"].any()
    expected = oracle.log_density("poisson", 3, 0.4, exposure=2.5)
    for link in ("exp", "softplus"):
        expected = oracle.log_density("poisson", 3, 0.4, exposure=2.5, link=link)
        assert_near(Poisson(link).log_density(3.0, 0.4, exposure=2.5), expected, 1e-14)
    mean, variance = Poisson().predict(0.3, 0.5, exposure=2.0)
    assert_near((mean, variance), oracle.moments("poisson", 0.3, 0.5, exposure=2.0), 1e-12)


@pytest.mark.parametrize("shape", [0.1, 2.0, 1e4, 1e8])
def test_gamma_shapes(shape):
    """No digits are lost in log Gamma(shape)."""
    for y in (0.9, 1.3):
        expected = oracle.log_density("gamma", y, 0.2, shape=shape)
        assert_near(Gamma(shape).log_density([y], [0.2]), [expected], 1e-14, scale=10 + shape * 0.5)


def log_poisson(y, f):
    return y * f - np.exp(f) - scipy.special.gammaln(y + 1)


NARROW = [
    (likelihoods.Custom(log_poisson), [0.0, 20.0], log_poisson),
    (likelihoods.Poisson(), [0.0, 100.0, 1e4], lambda y, f: scipy.stats.poisson(np.exp(f)).logpmf(y)),
    (likelihoods.StudentT(0.01, 3.0), [-20.0, 0.6], lambda y, f: scipy.stats.t(3.0, f, 0.01).logpdf(y)),
    (likelihoods.StudentT(0.01, 1e3), [-0.2, 0.6], lambda y, f: scipy.stats.t(1e3, f, 0.01).logpdf(y)),
    (likelihoods.Gamma(200.0), [1e-3, 5.0], lambda y, f: scipy.stats.gamma(200.0, scale=np.exp(f) / 200).logpdf(y)),
    (
        likelihoods.NegativeBinomial(0.01),
        [0.0, 200.0],
        lambda y, f: scipy.stats.nbinom(100, 1 / (1 + 0.01 * np.exp(f))).logpmf(y),
    ),
    (
        likelihoods.Beta(300.0),
        [0.02, 0.9],
        lambda y, f: scipy.stats.beta(300 * scipy.special.expit(f), 300 * scipy.special.expit(-f)).logpdf(y),
    ),
]


@pytest.mark.parametrize(("model", "ys", "log_p"), NARROW, ids=lambda a: type(a).__name__)
def test_predictive_densities_of_narrow_likelihoods(model, ys, log_p):
    """f is known far less well than one y would tell, or not at all, or y lies far from where f is."""
    for m, v in ((0.5, 1e-8), (0.5, 0.3), (2.0, 4.0), (-3.0, 100.0)):
        f = m + np.sqrt(v) * np.linspace(-40, 40, 400_001)
        for y in ys:
            with np.errstate(all="ignore"):
                terms = np.nan_to_num(log_p(y, f), nan=-np.inf) - (f - m) ** 2 / (2 * v)
            most = terms.max()
            expected = most + np.log(np.exp(terms - most).sum() * (f[1] - f[0])) - 0.5 * np.log(2 * np.pi * v)
            got = model.log_predictive_density([y], [m], [v])
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-6, err_msg=f"{y} {m} {v}")
