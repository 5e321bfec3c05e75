"""The Polya-gamma distribution against mpmath: densities, both tails, moments, transform, quantiles, edges."""

from __future__ import annotations

import copy
import pickle

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from helpers import DIFFERENCE, assert_near, tolerance
from hypothesis import given
from hypothesis import strategies as st
from reference import polya_gamma as oracle

import lvmfast as lvm
from lvmfast.distributions import PolyaGamma

INF, NAN = np.inf, np.nan
CLAIM = 1e-11  # the documented error of logarithms, times max(1, |value|)
SHAPES = [0.05, 0.3, 0.9, 1.0, 1.5, 2.0, 2.7, 4.5, 10.0, 13.5, 50.0, 100.0]
TILTS = [0.0, 1e-8, 0.1, 1.0, 5.0, 40.0, -1.0]

each_shape = pytest.mark.parametrize("b", SHAPES)


def arguments(p):
    """Where the mass is, and some of both tails."""
    unit = min(1.0, p.std / p.mean)
    return np.append(p.mean * np.exp(unit * np.array([-8.0, -3.0, -1.0, 0.0, 1.0])), p.mean + p.std * np.array([3, 8]))


def assert_logarithms(actual, exact):
    exact = [float(e) for e in exact]
    assert_near(np.asarray(actual) / np.maximum(1, np.abs(exact)), exact / np.maximum(1, np.abs(exact)), CLAIM, 1)


def assert_exact(p, x):
    """Density and both tails at every ``x``: also relative to what is left of a probability near 1."""
    lower, upper = p.logcdf(x), p.logsf(x)
    assert_logarithms(p.logpdf(x), [oracle.logpdf(t, p.b, p.z) for t in x])
    for t, low, up in zip(x, lower, upper, strict=True):
        digits = int(max(-up, -low) / np.log(10)) if low > -500 else 0
        with mpmath.workdps(digits + 50):
            F = oracle.cdf(t, p.b, p.z, digits + 20)
            log_lower, log_upper = mpmath.log(F), mpmath.log(1 - F)
            assert_logarithms([low], [log_lower])
            if up > -690:  # else it is out of range
                assert abs(low / log_lower - 1) <= CLAIM * max(1, abs(up))
            if low > -500:
                assert_logarithms([up], [log_upper])
                assert abs(up / log_upper - 1) <= CLAIM * max(1, abs(low))


@pytest.mark.parametrize(
    ("b", "z", "mean", "var"),
    [
        (1, 1, 0.231058578630005, 0.034446645388523),
        (1, 2, 0.190398538988941, 0.0213512383963587),
        (2.7, 1.5, 0.571634057148559, 0.0750838384705155),
        (100, 40, 1.25, 7.8125e-4),
        (1, 0, 0.25, 1 / 24),
    ],
)
def test_known_moments(b, z, mean, var):
    p = PolyaGamma(b, z)
    assert_near([p.mean, p.var, p.std], [mean, var, var**0.5], 1e-13)


def test_known_values():
    p = PolyaGamma(1.0)
    assert_near(p.cdf([0.05, 0.25, 1.0]), [0.050694637315530, 0.629222570200476, 0.990843009710239], 2e-15, 1)
    assert_near(p.logpdf(10.0), -47.510144939037445, tolerance(np.float64))
    assert_near(PolyaGamma(2.5, 1.5).laplace(0.7), 0.701414392334390, 1e-14)
    p = PolyaGamma([0.5, 1.0, 9.0])
    assert_near(p.skewness * np.sqrt(p.b), np.full(3, 4 * 6**0.5 / 5), tolerance(np.float64))
    assert_near(p.kurtosis * p.b, np.full(3, 204 / 35), tolerance(np.float64))


def test_oracles_agree():
    """The series, quadrature of the density, and quadrature of the Bromwich integral."""
    for x, b, z in ((30.0, 100.0, 0.5), (28.0, 200.0, -3.0)):
        exact = oracle.logpdf(x, b, z), oracle.logcdf(x, b, z), oracle.logsf(x, b, z)
        assert max(abs(a - e) for a, e in zip(oracle.by_inversion(x, b, z), exact, strict=True)) < 1e-16
    for x, b, z in ((0.2, 1.0, 0.7), (0.6, 2.7, 0.0)):
        with mpmath.workdps(20):
            integral = mpmath.quad(lambda t, b=b, z=z: mpmath.exp(oracle.logpdf(t, b, z, 20)), [1e-4, x / 4, x])
            assert abs(integral - oracle.cdf(x, b, z)) < 1e-12


@each_shape
@pytest.mark.parametrize("z", TILTS)
def test_logarithms_are_exact(b, z):
    p = PolyaGamma(b, z)
    x = arguments(p)
    assert_exact(p, x[:: 3 if z in (1e-8, 0.1, -1.0) else 1])


@each_shape
@pytest.mark.parametrize("z", [0.0, 3.0])
def test_far_left_tail(b, z):
    """Where log F is as low as -1e11."""
    p, x = PolyaGamma(b, z), np.array([1e-6, 1e-5, 1e-3])
    assert_logarithms(p.logpdf(x), [oracle.logpdf(t, b, z) for t in x])
    assert_logarithms(p.logcdf(x), [oracle.logcdf(t, b, z) for t in x])
    assert_near(p.logsf(x), np.log1p(-np.exp(p.logcdf(x))), tolerance(np.float64), 1)


@pytest.mark.parametrize("b", [0.05, 0.9, 2.7, 10.0])
@pytest.mark.parametrize("z", [0.0, 2.0])
def test_far_right_tail(b, z):
    p, x = PolyaGamma(b, z), np.array([5.0, 10.0, 25.0])
    assert_logarithms(p.logpdf(x), [oracle.logpdf(t, b, z) for t in x])
    assert_logarithms(p.logsf(x), [oracle.logsf(t, b, z, size=int(t * (5 + z * z / 2) / 2.3) + 5) for t in x])


@pytest.mark.parametrize("b", [1e-12, 1e-6, 0.01])
@pytest.mark.parametrize("z", [0.0, 1.0, 40.0])
def test_small_shape(b, z):
    """Most of the mass is near 0, and 1 - F is of the size of b."""
    assert_exact(PolyaGamma(b, z), np.array([b * b, 1e-12, 1e-6, 1e-3, 0.1, 1.0])[: 5 if z == 40 else 6])


@pytest.mark.parametrize(
    ("b", "z"), [(1e3, 0.0), (1e3, 1e-8), (1e3, 5.0), (1e3, -40.0), (1e4, 1.0), (1e6, 0.0), (1e6, 1.0)]
)
def test_large_shape(b, z):
    p = PolyaGamma(b, z)
    x = p.mean + p.std * np.array([-20.0, -1.0, 3.0])
    exact = [oracle.by_inversion(t, b, z, 20) for t in x]
    assert_logarithms(np.stack([p.logpdf(x), p.logcdf(x), p.logsf(x)], axis=1).ravel(), np.ravel(exact))


def test_tends_to_an_inverse_gaussian():
    """Large z: passage of a Brownian motion with drift |z| through b / 2."""
    b, z = 3.0, 1e5
    p = PolyaGamma(b, z)
    peer = scipy.stats.invgauss(2 / (b * z), scale=b * b / 4)
    x = p.mean + p.std * np.array([-4.0, 0.0, 4.0])
    assert_near(p.cdf(x), peer.cdf(x), tolerance(np.float64, condition=(b * z) ** 0.5), 1)
    assert_near(p.logpdf(x), peer.logpdf(x), tolerance(np.float64, condition=b * z))


@each_shape
def test_moments_are_exact(b):
    z = np.array([0.0, 1e-200, 1e-8, 1e-3, 0.5, 2.0, 3.9, 4.1, 7.0, 30.0, -900.0])
    p = PolyaGamma(b, z)
    kappa = np.array([[oracle.cumulant(n, b, t) for t in z] for n in (1, 2, 3, 4)], dtype=object)
    exact = {
        "mean": kappa[0],
        "var": kappa[1],
        "std": kappa[1] ** 0.5,
        "skewness": kappa[2] / kappa[1] ** 1.5,
        "kurtosis": kappa[3] / kappa[1] ** 2,
    }
    for name, values in exact.items():
        values = values.astype(float)
        assert_near(getattr(p, name) / values, np.ones(z.shape), tolerance(np.float64, 5))


def test_moments_at_the_ends_of_the_range():
    z = np.array([1e150, 1e200, 1e300])
    p = PolyaGamma(2.0, -z)
    assert_near(p.mean * z, np.ones(3), tolerance(np.float64))
    assert_near(p.std[:2] * z[:2] * np.sqrt(z[:2]), np.ones(2), tolerance(np.float64))
    assert_near(p.skewness * np.sqrt(z), np.full(3, 3.0), tolerance(np.float64))
    assert_near(p.kurtosis * z, np.full(3, 15.0), tolerance(np.float64))
    assert (p.var == 0).all() and PolyaGamma(1.0, 5e-324).mean == 0.25


@pytest.mark.parametrize("z", TILTS)
def test_laplace_transform_is_exact(z):
    """To roundings of itself, near 0 and down to the abscissa of convergence."""
    edge = 0.5 * (z * z + np.pi**2)
    t = np.array(
        [1e-300, -1e-18, 1e-9, -1e-3, 0.7, 30.0, 1e4, 1e8, -0.5 * edge, -0.9 * edge, -0.5 * z * z, -0.99 * edge]
    )
    p = PolyaGamma(2.7, z)
    exact = np.array([float(oracle.log_laplace(s, 2.7, z)) for s in t])
    wrong = p.log_laplace(t) - exact
    assert (np.abs(wrong) <= tolerance(np.float64, condition=100) * np.abs(exact)).all()
    assert_near(p.laplace(t[:5]), np.exp(exact[:5]), tolerance(np.float64), 1)
    assert p.laplace(-edge - 1e-9 * edge) == INF and p.log_laplace(-INF) == INF
    assert p.laplace(INF) == 0 and p.laplace(0.0) == 1 and np.isnan(p.laplace(NAN))


@pytest.mark.parametrize(("b", "z"), [(0.3, 0.0), (1.0, 2.0), (2.7, 0.5), (100.0, 1.0)])
def test_integrals(b, z):
    """The density integrates to 1, and to the mean, variance and transform."""
    p = PolyaGamma(b, z)
    u, du = np.linspace(*np.log([p.ppf(1e-18), 60 * p.mean / min(b, 1)]), 3001, retstep=True)
    x = np.exp(u)
    mass = du * x * p.pdf(x)
    relative = tolerance(np.float64, 10)
    assert_near(mass.sum(), 1.0, relative)
    assert_near(mass @ x, p.mean, relative)
    assert_near(mass @ (x - p.mean) ** 2, p.var, relative)
    assert_near(mass @ np.exp(-0.7 * x), p.laplace(0.7), relative)


@pytest.mark.parametrize(("b", "z"), [(0.05, 0.0), (1.0, 2.0), (2.7, -0.5), (100.0, 1.0), (1e3, 0.0)])
def test_density_is_the_slope_of_the_distribution_function(b, z):
    p = PolyaGamma(b, z)
    x = p.ppf(np.linspace(0.01, 0.99, 21))
    step = DIFFERENCE**-1 * x * min(1.0, p.std / p.mean)
    slope = (p.cdf(x + step) - p.cdf(x - step)) / ((x + step) - (x - step))
    assert_near(slope / p.pdf(x), np.ones(x.shape), tolerance(np.float64, condition=DIFFERENCE * max(1, b) ** 0.5), 1)


def test_sum_of_two():
    """PG(b1, z) + PG(b2, z) is PG(b1 + b2, z): a convolution by quadrature."""
    first, second, both = PolyaGamma(1.2, 1.0), PolyaGamma(2.5, 1.0), PolyaGamma(3.7, 1.0)
    x = 0.9
    value = scipy.integrate.quad(lambda t: first.pdf(t) * second.cdf(x - t), 0, x, epsabs=1e-12, epsrel=1e-12)[0]
    assert_near(value, both.cdf(x), 1e-11)


@pytest.mark.parametrize("b", [1e-3, 0.05, 1.0, 10.0, 1e6])
@pytest.mark.parametrize("z", [0.0, 3.0])
def test_quantiles(b, z):
    p = PolyaGamma(b, z)
    q = np.array([1e-300, 1e-20, 0.001, 0.3, 0.5, 0.9, 1 - 1e-9])
    x = p.ppf(q)
    assert (np.diff(x) > 0).all()
    assert_near(p.logcdf(x) / np.log(q), np.ones(q.shape), CLAIM * 10, 1)
    assert_near(p.sf(x)[-2:] / (1 - q[-2:]), np.ones(2), CLAIM * 10, 1)


def test_ends_of_the_quantiles():
    p = PolyaGamma([1.0, 0.1], 2.0)
    assert (p.ppf(0.0) == 0).all() and (p.ppf(1.0) == INF).all()
    assert np.isnan(p.ppf(np.array([[-0.1], [1.1], [NAN]]))).all()


def test_outside_the_support():
    p, x = PolyaGamma(1.5, 1.0), np.array([-INF, -1.0, -0.0, 0.0, INF, NAN])
    ends = {"pdf": [0] * 5, "logpdf": [-INF] * 5, "cdf": [0, 0, 0, 0, 1], "sf": [1, 1, 1, 1, 0]}
    ends |= {"logcdf": [-INF, -INF, -INF, -INF, 0], "logsf": [0, 0, 0, 0, -INF]}
    for name, expected in ends.items():
        np.testing.assert_array_equal(getattr(p, name)(x), [*expected, NAN])


@pytest.mark.parametrize(
    ("x", "b", "z"),
    [
        (5e-324, 1.0, 0.0),
        (1e-300, 1e6, 0.0),
        (1e-200, 1e-100, 0.0),
        (1e-308, 1e-308, 0.0),
        (1e300, 1.0, 3.0),
        (1e15, 0.5, 0.0),
        (1.0, 1.0, 1e300),
        (1.0, 1e-308, 1e300),
        (0.003, 0.05, 1e5),
        (1.0, 1e15, 1.0),
    ],
)
def test_ends_of_the_range(x, b, z):
    p = PolyaGamma(b, z)
    lower, upper, density = p.logcdf(x), p.logsf(x), p.logpdf(x)
    assert density < INF and lower <= 0 and upper <= 0 and max(lower, upper) > -1


positive = st.floats(-6, 6).map(lambda u: 10.0**u)


@given(b=positive, z=st.floats(-100, 100), r=st.lists(st.floats(-3, 2), min_size=2, max_size=8))
def test_is_a_distribution(b, z, r):
    """Monotone to rounding, from 0 to 1, the same for z and -z, with finite logarithms."""
    p = PolyaGamma(b, z)
    x = p.mean * 10.0 ** np.sort(r)
    lower, upper, density = p.cdf(x), p.sf(x), p.logpdf(x)
    assert np.isfinite(density).all() and (p.pdf(x) >= 0).all()
    assert ((lower >= 0) & (lower <= 1) & (upper >= 0) & (upper <= 1)).all()
    assert_near(lower + upper, np.ones(x.shape), tolerance(np.float64))
    assert (np.diff(lower) >= -CLAIM * lower[1:]).all() and (np.diff(upper) <= CLAIM * upper[:-1]).all()
    np.testing.assert_array_equal(PolyaGamma(b, -z).logpdf(x), density)
    np.testing.assert_array_equal(PolyaGamma(b, -z).cdf(x), lower)
    assert p.skewness > 0 and p.kurtosis > 0 and p.var >= 0


def test_arguments_broadcast():
    b, z, x = np.array([0.5, 2.0, 30.0]), np.array([[0.0], [1.5]]), np.linspace(0.01, 3, 5)[:, None, None]
    p = PolyaGamma(b, z)
    assert p.mean.shape == (2, 3)
    for name in ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf", "laplace", "log_laplace"):
        values = getattr(p, name)(x)
        alone = [[[getattr(PolyaGamma(c, t), name)(s) for c in b] for t in z[:, 0]] for s in x[:, 0, 0]]
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, alone)
    assert p.cdf(np.empty((0, 1, 1))).shape == (0, 2, 3)


def test_tiles_do_not_show():
    x = np.linspace(0.001, 3, 1500)
    p = PolyaGamma(1.3, 0.4)
    np.testing.assert_array_equal(p.logcdf(x), np.concatenate([p.logcdf(x[:7]), p.logcdf(x[7:])]))


def test_scalars_give_scalars():
    p = PolyaGamma(2, 1)
    for value in (p.mean, p.var, p.std, p.skewness, p.kurtosis, p.pdf(1), p.cdf(1.0), p.laplace(1), p.ppf(0.5)):
        assert isinstance(value, np.float64)


def test_float32():
    """Computed in float64, rounded once."""
    b, z, x = (np.array(a, np.float32) for a in ([0.5, 2.0], [0.0, 3.0], [[0.1], [1.0]]))
    small, large = PolyaGamma(b, z), PolyaGamma(b.astype(float), z.astype(float))
    for name in ("logpdf", "cdf", "logsf", "laplace"):
        values = getattr(small, name)(x)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, getattr(large, name)(x.astype(float)).astype(np.float32))
    assert small.mean.dtype == small.ppf(0.5).dtype == PolyaGamma(b).var.dtype == np.float32
    assert PolyaGamma(1.0).cdf(x).dtype == np.float32 and small.cdf(x.astype(float)).dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0,), r"^b must be finite and > 0, got 0.0$"),
        ((-1,), r"^b must be finite and > 0, got -1.0$"),
        (([1.0, NAN],), r"^b must be finite and > 0, got nan$"),
        ((INF,), r"^b must be finite and > 0, got inf$"),
        ((1.0, [[0.0, -INF]]), r"^z must be finite, got -inf$"),
        ((1.0, NAN), r"^z must be finite, got nan$"),
        ((np.ones(2), np.ones(3)), r"^b and z must broadcast, got shapes \(2,\) and \(3,\)$"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        PolyaGamma(*arguments)


def test_bad_arguments():
    with pytest.raises(TypeError, match="^b must hold real numbers"):
        PolyaGamma("one")
    with pytest.raises(TypeError, match="^x must hold real numbers"):
        PolyaGamma(1.0).cdf([1j])
    with pytest.raises(ValueError, match=r"^x must broadcast with b and z, got shapes \(3,\) and \(2,\) and \(\)$"):
        PolyaGamma([1.0, 2.0]).pdf(np.ones(3))


def test_objects_are_values():
    b = np.array([1.0, 2.5])
    p = PolyaGamma(b, 0.1)
    b[0] = 7.0
    assert p.b[0] == 1 and not p.b.flags.writeable
    assert p == PolyaGamma([1.0, 2.5], 0.1) != PolyaGamma([1.0, 2.5], 0.2)
    assert PolyaGamma(1.0, 0.0) == PolyaGamma(1, -0.0) != 1.0 and hash(p) == hash(PolyaGamma([1.0, 2.5], 0.1))
    assert repr(p) == "PolyaGamma(b=[1. , 2.5], z=0.1)" and eval(repr(PolyaGamma(1 / 3, 2))) == PolyaGamma(1 / 3, 2)
    for other in (pickle.loads(pickle.dumps(p)), copy.deepcopy(p)):
        assert other == p and not other.b.flags.writeable and other.cdf(0.3).tolist() == p.cdf(0.3).tolist()


def test_sample_asks_random(monkeypatch):
    calls = []
    monkeypatch.setattr(lvm.random, "polya_gamma", lambda *a, **k: calls.append((a, k)) or "draws", raising=False)
    given = {"rng": 7, "dtype": np.float32, "out": None, "start": 3, "device": "cpu"}
    assert PolyaGamma(2.0, -1.0).sample((4, 5), **given) == "draws"
    assert calls == [((2.0, -1.0, (4, 5)), given)]


def test_arrays_of_a_gpu(cuda):
    """The results are where the arguments are."""
    b, x = np.array([0.5, 2.0]), np.array([[0.1], [1.0]])
    p, here = PolyaGamma(cuda.asarray(b), 1.0), PolyaGamma(b, 1.0)
    for values, expected in (
        (p.mean, here.mean),
        (p.logcdf(cuda.asarray(x)), here.logcdf(x)),
        (p.pdf(0.3), here.pdf(0.3)),
    ):
        assert isinstance(values, cuda.ndarray)
        np.testing.assert_array_equal(cuda.asnumpy(values), expected)
