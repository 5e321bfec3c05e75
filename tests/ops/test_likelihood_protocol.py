"""What all likelihoods share: arguments, errors, parameters, copies, draws."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.base
from helpers import differences

from lvmfast import bijectors, priors
from lvmfast.likelihoods import (
    Bernoulli,
    Beta,
    Custom,
    Gamma,
    Gaussian,
    NegativeBinomial,
    Ordinal,
    Poisson,
    RobustMax,
    Softmax,
    StudentT,
)


def density(y, f):
    return -abs(y - f)


def name_of(model):
    """Of the parameters of a test, the same in every process: a function's repr has its address."""
    return "Custom" if isinstance(model, Custom) else repr(model)


# A likelihood, an observation, and one that is none.
MODELS = [
    (Gaussian(0.5), 0.3, np.inf),
    (Bernoulli(), 1.0, -1.0),
    (Bernoulli("probit", n_nodes=7), 0.0, 0.5),
    (Poisson(), 3.0, -1.0),
    (Poisson("softplus"), 3.0, 2.5),
    (StudentT(0.7, 3.0), 0.3, np.nan),
    (Beta(4.0), 0.4, 1.0),
    (Gamma(2.0), 0.4, 0.0),
    (NegativeBinomial(0.5), 3.0, 1.5),
    (Ordinal([-1.0, 0.5]), 2.0, 3.0),
    (Softmax(3), 2.0, 3.0),
    (RobustMax(3, 0.1), 1.0, -1.0),
    (Custom(density), 0.3, np.inf),
]
each = pytest.mark.parametrize(("model", "y", "bad"), MODELS, ids=[name_of(m) for m, _, _ in MODELS])


def latents(model, *shape):
    return np.full((*shape, 3) if isinstance(model, (Softmax, RobustMax)) else shape, 0.4)


@each
def test_shapes_and_types(model, y, bad):
    """Broadcasting, float32 in and out near float64, lists, integers; arguments stay as they are."""
    f, v = latents(model, 2, 5), 0.5 * latents(model, 2, 5)
    whole = np.full((2, 5), y)
    keep = [a.copy() for a in (whole, f, v)]
    value, by_m, by_v, by = model.expected_log_density(whole, f, v, gradients=True)
    assert all((a == b).all() for a, b in zip((whole, f, v), keep, strict=True))
    assert value.shape == (2, 5) and by_m.shape == by_v.shape == f.shape and value.dtype == np.float64
    for name, derivative in by.items():
        assert derivative.shape == (2, 5, *np.shape(model.parameters[name].value))
    np.testing.assert_array_equal(model.expected_log_density(y, f, v), value)
    np.testing.assert_array_equal(model.expected_log_density(whole.tolist(), f.tolist(), v.tolist()), value)
    np.testing.assert_array_equal(model.expected_log_density(whole[:, ::-1], f[:, ::-1], v[:, ::-1]), value)
    single = model.expected_log_density(np.float32(y), f.astype(np.float32), v.astype(np.float32), gradients=True)
    assert all(a.dtype == np.float32 for a in single[:3])
    np.testing.assert_allclose(single[0], value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(single[1], by_m, rtol=1e-5, atol=1e-6)
    for method in (model.log_density, model.log_predictive_density):
        arguments = (whole, f) if method == model.log_density else (whole, f, v)
        assert method(*arguments).shape == (2, 5)
    none = latents(model, 0)
    assert model.expected_log_density(np.zeros(0), none, none).shape == (0,)


@each
def test_errors(model, y, bad):
    """The argument, the rule and the value got."""
    f = latents(model, 4)
    for method in (model.expected_log_density, model.log_predictive_density):
        with pytest.raises(ValueError, match=rf"y must hold .* for {type(model).__name__}, got {bad:g}"):
            method([y, y, y, bad], f, f)
        with pytest.raises(ValueError, match=r"variance must be finite and >= 0, got -0.4"):
            method(y, f, -f)
        with pytest.raises(ValueError, match=r"mean must be finite, got nan"):
            method(y, f * np.nan, f)
        with pytest.raises(ValueError, match=r"must broadcast, got"):
            method(np.full(3, y), f, f)
    with pytest.raises(TypeError, match="y must hold real numbers"):
        model.log_density(["a"], f)
    name = "noise_variance" if isinstance(model, Poisson) else "exposure"
    with pytest.raises(TypeError, match=name):
        model.expected_log_density(y, f, f, **{name: 1.0})
    with pytest.raises(ValueError, match="names no parameter"):
        model.set_params(wrong=1)


def test_errors_of_parameters():
    cases = [
        (Gaussian(-1.0), 0.0, "noise_variance must be a finite number > 0, got -1.0"),
        (Gaussian([1.0, 2.0]), 0.0, "noise_variance must be a number > 0, got an array"),
        (StudentT(1.0, np.inf), 0.0, "df must be a finite number > 0"),
        (Bernoulli("cauchit"), 1.0, "link must be one of 'logit', 'probit', got 'cauchit'"),
        (Poisson("square"), 1.0, "link must be one of"),
        (Bernoulli(n_nodes=0), 1.0, "n_nodes must be an integer >= 1"),
        (Bernoulli(n_nodes=1000), 1.0, "n_nodes must be an integer >= 1 and <= 200"),
        (Ordinal([1.0, 1.0]), 1.0, "cut_points must be finite, ascending numbers"),
        (Ordinal([]), 0.0, "at least one"),
    ]
    for model, y, message in cases:
        with pytest.raises(ValueError, match=message):
            model.expected_log_density(y, 0.0, 1.0)
    with pytest.raises(ValueError, match="n_samples must be even"):
        Softmax(3, n_samples=7).expected_log_density(0, np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="n_classes must be an integer >= 2"):
        Softmax(1).expected_log_density(0, np.zeros(1), np.ones(1))
    with pytest.raises(ValueError, match=r"mean must have shape \(..., 3\), a column per class, got \(2,\)"):
        Softmax(3).expected_log_density(0, np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="epsilon must be a number > 0 and < 1"):
        RobustMax(3, 1.0).expected_log_density(0, np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="noise_variance must be finite and > 0, got 0"):
        Gaussian().log_density(0.0, 0.0, noise_variance=0.0)


@each
def test_objects(model, y, bad):
    """Copies, pickles and clones are equal and independent; repr builds it again; parameters come by name."""
    for other in (model.copy(), pickle.loads(pickle.dumps(model)), sklearn.base.clone(model)):
        assert other == model and other is not model
    if not isinstance(model, Custom):
        assert eval(repr(model), {**globals(), "array": np.array}) == model
    assert type(model)(**model.get_params()) == model
    assert model != 3
    other = model.copy()
    for name in model.parameters:
        other.parameters[name] = 1.5 * np.asarray(model.parameters[name].value)
        assert other != model
        with pytest.raises((ValueError, TypeError)):
            other.parameters[name] = "x"
    assert other.copy().fix() == (other if not list(model.parameters) else other.copy().fix())


@pytest.mark.parametrize("model", [StudentT(0.7, 3.0), Ordinal([-1.0, 0.2, 1.5]), Gamma(2.0)], ids=name_of)
def test_theta(model):
    """theta moves the parameters and theta_gradient is the derivative by it."""
    y, m, v = np.array([1.0, 2.0]), np.array([0.3, -0.5]), np.array([0.4, 0.2])

    def value(theta):
        moved = model.copy()
        moved.theta = theta
        return moved.expected_log_density(y, m, v).sum()

    by = model.expected_log_density(y, m, v, gradients=True)[3]
    gradient = model.theta_gradient({name: g.sum(axis=0) for name, g in by.items()})
    np.testing.assert_allclose(gradient, differences(value, model.theta), rtol=1e-8, atol=1e-8)
    moved = model.copy()
    moved.theta = model.theta
    for name, p in model.parameters.items():
        np.testing.assert_allclose(moved.parameters[name].value, p.value, rtol=1e-14)
    assert model.theta_bounds.shape == (len(model.theta), 2)
    fixed = model.copy().fix()
    assert fixed.theta.shape == (0,) and fixed.theta_gradient(by).shape == (0,) and fixed != model
    name = list(model.parameters)[0]
    assert name in repr(model.parameters)
    model.copy().set_prior(name, priors.Normal(0.0, 1.0)).log_prior()
    with pytest.raises(ValueError, match="theta must be finite"):
        moved.theta = np.full(len(model.theta), np.nan)


def test_cut_points_take_no_bounds():
    with pytest.raises(ValueError, match="takes no bounds"):
        Ordinal([0.0]).set_bounds("cut_points", 0, 1)
    with pytest.raises(ValueError, match="theta must give finite parameters in order"):
        Ordinal([0.0, 1.0]).theta = [0.0, -800.0]


def test_ordered(rng):
    """The bijector of cut points: there and back, its derivative, errors."""
    ordered, u, c = bijectors.Ordered(), rng.normal(size=5), rng.normal(size=5)
    y = ordered.forward(u)
    assert (np.diff(y) > 0).all()
    np.testing.assert_allclose(ordered.inverse(y), u, rtol=1e-13)
    np.testing.assert_allclose(ordered.vjp(u, c), differences(lambda a: c @ ordered.forward(a), u), rtol=1e-8)
    np.testing.assert_allclose(ordered.forward_log_det(u), u[1:].sum(), rtol=1e-14)
    with pytest.raises(ValueError, match="y must ascend"):
        ordered.inverse([1.0, 1.0])
    with pytest.raises(ValueError, match="x must have at least 1 dimensions"):
        ordered.forward(1.0)
    assert (
        ordered == bijectors.Ordered() and hash(ordered) == hash(bijectors.Ordered()) and repr(ordered) == "Ordered()"
    )


@pytest.mark.parametrize("model", [m for m, _, _ in MODELS if not isinstance(m, Custom)], ids=name_of)
def test_draws(model):
    """Draws are observations; their frequencies fit log_density (fixed seed; chi-squared at 1e-6, a priori)."""
    n = 20_000
    f = latents(model, n)
    if f.ndim == 2:
        f = f + np.array([0.0, 0.5, -0.3])
    y = model.sample(f, rng=3)
    assert y.shape == (n,) and y.dtype == np.float64
    model.check_y(y)
    np.testing.assert_array_equal(model.sample(f[50:], rng=3, start=50), y[50:])
    assert model.sample(f[:3].astype(np.float32), rng=3).dtype == np.float32
    if isinstance(model, (Gaussian, StudentT, Beta, Gamma)):
        inner = np.quantile(y, np.linspace(0, 1, 11))[1:-1]
        low, high = (
            (-60.0, 60.0) if isinstance(model, (Gaussian, StudentT)) else (0.0, 1.0 if type(model) is Beta else 60)
        )
        edges = np.round([low, *inner, high], 2)  # rounded: not the draws' own quantiles
        p = []
        for a, b in zip(edges[:-1], edges[1:], strict=True):
            nodes, weights = np.polynomial.legendre.leggauss(200)
            at = 0.5 * (b - a) * nodes + 0.5 * (a + b)
            p.append(0.5 * (b - a) * weights @ np.exp(model.log_density(at, np.full(200, 0.4))))
        counts = np.histogram(y, edges)[0]
    else:
        k = np.arange(
            2 if isinstance(model, Bernoulli) else 3 if not isinstance(model, (Poisson, NegativeBinomial)) else 9
        )
        p = np.exp(model.log_density(k, f[: len(k)]))
        counts = np.array([(y == a).sum() for a in k])
    p = np.append(p, max(1 - sum(p), 0.0))
    counts = np.append(counts, n - counts.sum())
    p, counts = (p[:-1], counts[:-1]) if p[-1] * n < 5 else (p, counts)
    statistic = ((counts - n * p) ** 2 / (n * p)).sum()
    assert statistic < scipy.stats.chi2.isf(1e-6, len(p) - 1), (counts, n * p)


@pytest.mark.parametrize("model", [m for m, _, _ in MODELS if hasattr(m, "n_nodes") and m.n_latents == 1], ids=name_of)
@pytest.mark.parametrize("n_nodes", [7, 20])
def test_instruction_sets(instruction_set, model, n_nodes, rng):
    """Every set of instructions gives the sum that its formula says, of values taken one by one."""
    if getattr(model, "link", "") == "exp" and not isinstance(model, NegativeBinomial):
        model = model.copy().set_params(link="softplus")  # the other is in closed form
    model = model.copy().set_params(n_nodes=n_nodes)
    m, v = rng.normal(size=50), rng.uniform(0.0, 1.9, 50)
    y = np.full(50, next(y for other, y, _ in MODELS if type(other) is type(model)))
    x, w = scipy.special.roots_hermitenorm(n_nodes)
    at = model.log_density(y[:, None], m[:, None] + np.sqrt(v)[:, None] * x)
    np.testing.assert_allclose(model.expected_log_density(y, m, v), at @ w / w.sum(), rtol=1e-12, atol=1e-13)


def test_threads(set_num_threads, rng):
    """The same bits for every number of threads."""
    m, v = rng.normal(size=3000), rng.gamma(1.0, 2.0, 3000)
    model, y = NegativeBinomial(0.5), rng.poisson(3.0, 3000)
    results = []
    for threads in (1, 2, 5):
        set_num_threads(threads)
        value, by_m, by_v, by = model.expected_log_density(y, m, v, gradients=True)
        results.append(np.stack([value, by_m, by_v, by["dispersion"]]))
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
