"""Priors against scipy.stats and mpmath: values, slopes, tails, edges of the support."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from helpers import DIFFERENCE, assert_near, tolerance
from reference.kernels import map_mp

import lvmfast as lvm
from lvmfast.priors import Gamma, HalfCauchy, HalfNormal, InverseGamma, LogNormal, Normal

INF, NAN = np.inf, np.nan
TINY, MOST = sys.float_info.min, sys.float_info.max

# Each prior with the same distribution of scipy.stats.
PRIORS = [
    (Normal(0.3, 1.7), scipy.stats.norm(0.3, 1.7)),
    (Normal(-1e5, 1e-3), scipy.stats.norm(-1e5, 1e-3)),
    (LogNormal(-0.4, 0.6), scipy.stats.lognorm(0.6, scale=np.exp(-0.4))),
    (LogNormal(3.0, 2.5), scipy.stats.lognorm(2.5, scale=np.exp(3.0))),
    (Gamma(0.5, 2.0), scipy.stats.gamma(0.5, scale=1 / 2.0)),
    (Gamma(1.0, 0.1), scipy.stats.gamma(1.0, scale=1 / 0.1)),
    (Gamma(2.0, 3.0), scipy.stats.gamma(2.0, scale=1 / 3.0)),
    (Gamma(250.0, 40.0), scipy.stats.gamma(250.0, scale=1 / 40.0)),
    (InverseGamma(0.5, 0.2), scipy.stats.invgamma(0.5, scale=0.2)),
    (InverseGamma(5.0, 5.0), scipy.stats.invgamma(5.0, scale=5.0)),
    (HalfNormal(0.7), scipy.stats.halfnorm(scale=0.7)),
    (HalfNormal(1e-3), scipy.stats.halfnorm(scale=1e-3)),
    (HalfCauchy(1.0), scipy.stats.halfcauchy()),
    (HalfCauchy(25.0), scipy.stats.halfcauchy(scale=25.0)),
]
IDS = [repr(prior) for prior, _ in PRIORS]
each = pytest.mark.parametrize(("prior", "peer"), PRIORS, ids=IDS)
of_each = pytest.mark.parametrize("prior", [prior for prior, _ in PRIORS], ids=IDS)

mp = mpmath.mp
LOG_DENSITIES_MP = {
    Normal: lambda p, x: -(((x - p["mean"]) / p["std"]) ** 2) / 2 - mp.log(p["std"]) - mp.log(2 * mp.pi) / 2,
    LogNormal: lambda p, x: (
        -(((mp.log(x) - p["mu"]) / p["sigma"]) ** 2) / 2 - mp.log(x) - mp.log(p["sigma"]) - mp.log(2 * mp.pi) / 2
    ),
    Gamma: lambda p, x: (
        p["shape"] * mp.log(p["rate"]) - mp.loggamma(p["shape"]) + (p["shape"] - 1) * mp.log(x) - p["rate"] * x
    ),
    InverseGamma: lambda p, x: (
        p["shape"] * mp.log(p["scale"]) - mp.loggamma(p["shape"]) - (p["shape"] + 1) * mp.log(x) - p["scale"] / x
    ),
    HalfNormal: lambda p, x: mp.log(2 / mp.pi) / 2 - mp.log(p["scale"]) - (x / p["scale"]) ** 2 / 2,
    HalfCauchy: lambda p, x: mp.log(2 / mp.pi) - mp.log(p["scale"]) - mp.log(1 + (x / p["scale"]) ** 2),
}
# The sizes of the terms of each gradient: what its rounding is relative to.
GRADIENT_TERMS_MP = {
    Normal: lambda p, x: [-(x - p["mean"]) / p["std"] ** 2],
    LogNormal: lambda p, x: [-1 / x, -mp.log(x) / p["sigma"] ** 2 / x, p["mu"] / p["sigma"] ** 2 / x],
    Gamma: lambda p, x: [(p["shape"] - 1) / x, -p["rate"]],
    InverseGamma: lambda p, x: [-(p["shape"] + 1) / x, p["scale"] / x**2],
    HalfNormal: lambda p, x: [-x / p["scale"] ** 2],
    HalfCauchy: lambda p, x: [-2 * x / (p["scale"] ** 2 + x**2)],
}


def parameters_mp(prior):
    return {name: mpmath.mpf(value) for name, value in dataclasses.asdict(prior).items()}


def arguments(prior, peer):
    """Quantiles of the distribution, and values far in both tails."""
    body = peer.ppf(np.linspace(0.001, 0.999, 41))
    far = 10.0 ** np.arange(-120, 121, 24)
    return np.concatenate([body, far, -far if isinstance(prior, Normal) else []])


@each
def test_log_density_is_that_of_scipy(prior, peer):
    x = peer.ppf(np.linspace(0.001, 0.999, 101))
    desired = peer.logpdf(x)
    size = 1 + max(np.log(max(np.abs(x).max(), 1 / np.abs(x).min())), *map(abs, vars(prior).values()))
    assert_near(prior.log_density(x), desired, tolerance(np.float64, size))


@each
def test_log_density_is_exact_in_the_tails(prior, peer):
    """To a few roundings of the largest term, also where the density itself is zero in floating point."""
    x = arguments(prior, peer)
    p = parameters_mp(prior)
    exact = map_mp(lambda t: LOG_DENSITIES_MP[type(prior)](p, t), x)
    # A rounding of x - mean is one of x, and is squared.
    terms = np.abs([float(e) for e in exact]) + np.abs(np.log(np.abs(x))) * (1 + max(map(abs, vars(prior).values())))
    if isinstance(prior, Normal):
        terms += np.abs(x - prior.mean) / prior.std * abs(prior.mean) / prior.std
    if isinstance(prior, Gamma | InverseGamma):
        terms += abs(scipy.special.gammaln(prior.shape)) + prior.shape * 10
    error = np.array([abs(float(mpmath.mpf(float(a)) - e)) for a, e in zip(prior.log_density(x), exact, strict=True)])
    assert (error <= tolerance(np.float64) * (1 + terms)).all()


@each
def test_gradient_is_exact(prior, peer):
    """To a few roundings of its largest term."""
    x = arguments(prior, peer)
    p = parameters_mp(prior)
    terms = [GRADIENT_TERMS_MP[type(prior)](p, mpmath.mpf(float(t))) for t in x]
    exact = np.array([float(mp.fsum(t)) for t in terms])
    scale = np.array([float(max(map(abs, t))) for t in terms])
    assert (np.abs(prior.gradient(x) - exact) <= tolerance(np.float64) * scale).all()


@each
def test_gradient_is_the_slope(prior, peer):
    """Central differences with a step that follows x: the formula of the test above is not taken for granted."""
    x = peer.ppf(np.linspace(0.05, 0.95, 19))
    step = np.finfo(np.float64).eps ** (1 / 3) * peer.std() if isinstance(prior, Normal) else 1e-5 * x
    up, down = x + step, x - step
    slope = (prior.log_density(up) - prior.log_density(down)) / (up - down)
    width = np.abs(x - prior.mean) + prior.std if isinstance(prior, Normal) else x
    size = 10 + max(abs(value) for name, value in vars(prior).items() if name != "mean")
    if isinstance(prior, Normal):
        size += abs(prior.mean) / prior.std
    error = np.abs(slope - prior.gradient(x)) * width
    assert (error <= tolerance(np.float64, size, DIFFERENCE)).all()


@each
def test_density_integrates_to_one(prior, peer):
    """Between quantiles, by quadrature."""
    low, high = peer.ppf([0.01, 0.99])
    cut = peer.ppf(np.linspace(0.01, 0.99, 30))
    area = sum(
        scipy.integrate.quad(lambda t: np.exp(prior.log_density(t)), a, b)[0]
        for a, b in zip(cut[:-1], cut[1:], strict=True)
    )
    assert low == cut[0] and high == cut[-1]
    assert area == pytest.approx(0.98, rel=1e-8)


@of_each
def test_outside_the_support(prior):
    outside = [INF, -INF]
    if not isinstance(prior, Normal):
        outside += [-TINY, -1e-300, -1.0, -MOST, -5e-324]
    if isinstance(prior, LogNormal | Gamma | InverseGamma):
        outside += [0.0, -0.0]
    np.testing.assert_array_equal(prior.log_density(outside), np.full(len(outside), -INF))
    np.testing.assert_array_equal(prior.gradient(outside), np.zeros(len(outside)))


@pytest.mark.parametrize("prior", [HalfNormal(0.7), HalfCauchy(0.7)], ids=repr)
def test_half_distributions_hold_zero(prior):
    """The mode is at 0, where the slope is 0."""
    peer = {HalfNormal: scipy.stats.halfnorm, HalfCauchy: scipy.stats.halfcauchy}[type(prior)](scale=0.7)
    for zero in (0.0, -0.0):
        assert prior.log_density(zero) == pytest.approx(peer.logpdf(0.0), rel=1e-15)
        assert prior.gradient(zero) == 0


@of_each
def test_nan_stays_nan(prior):
    for function in (prior.log_density, prior.gradient):
        result = function([NAN, 1.0, NAN])
        np.testing.assert_array_equal(np.isnan(result), [True, False, True])


@of_each
def test_extreme_numbers_give_no_nan(prior):
    """The smallest and the largest floats: what is out of range is infinite, with the right sign."""
    x = [5e-324, TINY, 1e-200, 1e200, MOST]
    value, slope = prior.log_density(x), prior.gradient(x)
    assert not np.isnan(value).any() and not np.isnan(slope).any()
    assert (value < INF).all()
    if isinstance(prior, InverseGamma):
        assert slope[0] == INF and slope[2] == INF
    if isinstance(prior, HalfCauchy):
        p = parameters_mp(prior)
        exact = map_mp(lambda t: LOG_DENSITIES_MP[HalfCauchy](p, t), np.array(x))
        assert_near(value, [float(e) for e in exact], tolerance(np.float64))


@pytest.mark.parametrize(
    ("prior", "mode"),
    [
        (Normal(0.3, 1.7), 0.3),
        (LogNormal(-0.4, 0.6), np.exp(-0.4 - 0.6**2)),
        (Gamma(2.0, 3.0), 1 / 3),
        (InverseGamma(5.0, 6.0), 1.0),
    ],
    ids=repr,
)
def test_modes(prior, mode):
    """The slope changes its sign where the density is known to be highest."""
    left, right = prior.gradient([mode - 1e-9, mode + 1e-9])
    assert left > 0 > right


def test_relations():
    """exp of a normal is log-normal, one over a gamma inverse gamma, a gamma of shape 1 exponential."""
    x = np.array([0.01, 0.3, 1.0, 2.5, 40.0])
    near = {"relative": tolerance(np.float64, 10)}
    assert_near(LogNormal(0.2, 0.9).log_density(x), Normal(0.2, 0.9).log_density(np.log(x)) - np.log(x), **near)
    assert_near(InverseGamma(2.5, 0.4).log_density(x), Gamma(2.5, 0.4).log_density(1 / x) - 2 * np.log(x), **near)
    assert_near(Gamma(1.0, 3.0).log_density(x), np.log(3) - 3 * x, **near)
    assert_near(HalfNormal(1.3).log_density(x), Normal(0.0, 1.3).log_density(x) + np.log(2), **near)


# Types and shapes.


@of_each
def test_shapes_and_types(prior):
    for function in (prior.log_density, prior.gradient):
        for shape in [(), (0,), (3,), (2, 0), (2, 3), (2, 3, 4)]:
            result = function(np.ones(shape))
            assert isinstance(result, np.ndarray) and result.shape == shape and result.dtype == np.float64
        assert function([1, 2]).dtype == function(np.float32(2)).dtype == np.float64
        assert function(np.float32(0.1)) == function(float(np.float32(0.1)))
        assert function(2.0) == function(np.array([2.0]))[0]
        A = np.arange(1.0, 7.0).reshape(2, 3)
        np.testing.assert_array_equal(function(A.T), function(A).T)
        np.testing.assert_array_equal(function(A[:, ::2]), function(A)[:, ::2])
        before = A.copy()
        function(A)
        np.testing.assert_array_equal(A, before)
        for bad in (1j, "1", None):
            with pytest.raises(TypeError, match="x must hold real numbers, got dtype"):
                function(bad)


def test_names_of_the_module():
    assert sorted(lvm.priors.__all__) == ["Gamma", "HalfCauchy", "HalfNormal", "InverseGamma", "LogNormal", "Normal"]


# Values that never change.


@of_each
def test_copies_are_equal(prior):
    for twin in (copy.copy(prior), copy.deepcopy(prior), pickle.loads(pickle.dumps(prior)), eval(repr(prior))):
        assert type(twin) is type(prior)
        assert twin == prior and hash(twin) == hash(prior)
        assert repr(twin) == repr(prior)
        np.testing.assert_array_equal(twin.log_density([0.5, 2.0]), prior.log_density([0.5, 2.0]))


def test_equality():
    assert Normal(1, 2) == Normal(1.0, np.float32(2)) == Normal(mean=1.0, std=2.0)
    assert Normal(1.0, 2.0) != Normal(1.0, 3.0)
    assert Normal(1.0, 2.0) != LogNormal(1.0, 2.0)
    assert Gamma(1.0, 2.0) != InverseGamma(1.0, 2.0)
    assert HalfNormal(1.0) != HalfCauchy(1.0)
    assert HalfNormal(1.0) != 1.0


def test_repr():
    assert repr(Normal(0, 2)) == "Normal(mean=0.0, std=2.0)"
    assert repr(LogNormal(mu=0.5, sigma=np.array(1.0))) == "LogNormal(mu=0.5, sigma=1.0)"
    assert repr(Gamma(2.0, 0.1)) == "Gamma(shape=2.0, rate=0.1)"
    assert repr(InverseGamma(5.0, 5.0)) == "InverseGamma(shape=5.0, scale=5.0)"
    assert repr(HalfNormal(1e-6)) == "HalfNormal(scale=1e-06)"
    assert repr(HalfCauchy(Fraction(1, 2))) == "HalfCauchy(scale=0.5)"


@of_each
def test_immutable(prior):
    name = next(iter(vars(prior)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(prior, name, 2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        prior.extra = 1.0


# Errors.

POSITIVE = {
    "std": lambda v: Normal(0.0, v),
    "sigma": lambda v: LogNormal(0.0, v),
    "shape": lambda v: Gamma(v, 1.0),
    "rate": lambda v: Gamma(1.0, v),
    "scale": lambda v: InverseGamma(1.0, v),
}
POSITIVE_MORE = [*POSITIVE.items(), ("shape", lambda v: InverseGamma(v, 1.0)), ("scale", HalfNormal)]
POSITIVE_MORE += [("scale", HalfCauchy)]


@pytest.mark.parametrize(("name", "make"), POSITIVE_MORE)
def test_positive_parameters(name, make):
    for bad in (0.0, -1.0, NAN, INF, -INF):
        with pytest.raises(ValueError, match=f"{name} must be a finite number > 0, got {bad}"):
            make(bad)
    for bad in ("1", None, True, [1.0], np.ones(2), 1j):
        with pytest.raises(TypeError, match=f"{name} must be a number > 0, got "):
            make(bad)


@pytest.mark.parametrize(("name", "make"), [("mean", lambda v: Normal(v, 1.0)), ("mu", lambda v: LogNormal(v, 1.0))])
def test_real_parameters(name, make):
    assert getattr(make(-3), name) == -3.0
    for bad in (NAN, INF, -INF):
        with pytest.raises(ValueError, match=f"{name} must be a finite number, got {bad}"):
            make(bad)
    for bad in ("1", None, True, [1.0], np.ones(2), 1j):
        with pytest.raises(TypeError, match=f"{name} must be a number, got "):
            make(bad)
