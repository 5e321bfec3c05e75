"""Distributions against SciPy and quadrature: densities, moments, draws, divergences, the reference's banana."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers import tolerance
from reference import distributions as oracle

import lvmfast as lvm
from lvmfast import bijectors as b
from lvmfast.bijectors import _compiled
from lvmfast.distributions import (
    Bernoulli,
    Mixture,
    MixtureSameFamily,
    MultivariateNormalDiag,
    MultivariateNormalTriL,
    Normal,
    TransformedDistribution,
    Uniform,
    kl_divergence,
    register_kl,
)

COVARIANCE = np.array([[1.0, 0.95], [0.95, 1.0]])
L2 = np.linalg.cholesky(COVARIANCE)
TWO = Normal([-1.0, 1.0], [0.5, 0.25])
NUMBERS = {
    "normal": Normal(1.0, 2.0),
    "uniform": Uniform(-1.0, 3.0),
    "mixture": Mixture([0.25, 0.75], TWO),
    "sigmoid": TransformedDistribution(Normal(0.5, 1.5), b.Chain([b.Sigmoid(-1.0, 3.0), b.Scale(0.5), b.Shift(1.0)])),
    "log-normal": TransformedDistribution(Normal(0.25, 0.5), b.Exp()),
    "tanh": TransformedDistribution(Normal(0.0, 0.75), b.Tanh()),
    "sinh-arcsinh": TransformedDistribution(Normal(), b.SinhArcsinh(0.25, 1.5)),
    "softplus": TransformedDistribution(Normal(0.0, 2.0), b.Softplus(0.5)),
    "falling": TransformedDistribution(Normal(1.0, 0.5), b.Chain([b.Scale(-2.0), b.Exp()])),
    "affine of a uniform": TransformedDistribution(Uniform(0.0, 2.0), b.Chain([b.Shift(1.0), b.Scale(-3.0)])),
    "power": TransformedDistribution(Uniform(1.0, 4.0), b.Power(-0.5)),
    "of a mixture": TransformedDistribution(Mixture([0.5, 0.5], TWO), b.Exp()),
    "twice": TransformedDistribution(TransformedDistribution(Normal(0.0, 0.5), b.Exp()), b.Log()),
}
ENDS = {"uniform": (-1, 3), "sigmoid": (-1, 3), "tanh": (-1, 1), "softplus": (0.5, 40), "log-normal": (0, 60)}
ENDS |= {"falling": (-150, 0), "affine of a uniform": (-5, 1), "power": (0.5, 1), "of a mixture": (0, 30)}
VECTORS = {
    "triangle": MultivariateNormalTriL([1.0, -2.0], L2),
    "diagonal": MultivariateNormalDiag([1.0, -2.0], [0.5, 2.0]),
    "banana": TransformedDistribution(MultivariateNormalTriL(scale_tril=L2), b.Banana()),
    "affine": TransformedDistribution(Normal(np.zeros(2), 1.0), b.Chain([b.Shift([1.0, 2.0]), b.ScaleTriL(L2)])),
    "curved": TransformedDistribution(
        MultivariateNormalDiag(scale_diag=[0.5, 0.75]), b.Chain([b.ScaleTriL(L2), b.Softplus()])
    ),
}
ALL = {**NUMBERS, **VECTORS}


def test_reference_values():
    """The issue's: p = N(1, 1), q = N(0, 2^2)."""
    p, q = Normal(1.0, 1.0), Normal(0.0, 2.0)
    assert abs(kl_divergence(p, q) - 0.443147180559945) < 1e-15
    assert abs(kl_divergence(q, p) - 1.306852819440055) < 2e-15
    x = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(p.log_prob(x) - q.log_prob(x), np.log(2) - (x - 1) ** 2 / 2 + x**2 / 8, rtol=1e-14)


@pytest.mark.parametrize("way", ["compiled", "plain"])
def test_banana(way, monkeypatch):
    """The reference's density on a grid is the closed form to 1e-12, absolutely and where it is not tiny relatively."""
    monkeypatch.setattr(_compiled, "SMALLEST", 0 if way == "compiled" else 10**9)
    grid = np.stack(np.meshgrid(np.linspace(-4, 4, 161), np.linspace(-8, 4, 161)), axis=-1)
    exact = oracle.banana(grid, COVARIANCE)
    density = VECTORS["banana"].prob(grid)
    assert density.shape == (161, 161)
    assert np.abs(density - exact).max() < 1e-12
    large = exact > 1e-30
    assert np.abs(density[large] / exact[large] - 1).max() < 1e-11
    inline = b.Inline(b.Banana().forward, b.Banana().inverse, inverse_log_det=lambda y: 0.0, event_ndims=1)
    other = TransformedDistribution(MultivariateNormalTriL(scale_tril=L2), inline)
    np.testing.assert_allclose(other.prob(grid), density, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("name", NUMBERS)
def test_densities_integrate_to_one_and_to_the_distribution_function(name):
    p = NUMBERS[name]
    low, high = ENDS.get(name, (-60, 60))
    middle = low + 0.4 * (high - low) if name in ENDS else 0.5
    density = lambda x: float(p.prob(x))  # noqa: E731
    below, above = oracle.mass(density, low, middle), oracle.mass(density, middle, high)
    assert abs(below + above - 1) < 1e-7
    assert abs(below - p.cdf(middle)) < 1e-7
    assert p.cdf(-1e30) == 0 and p.cdf(1e30) == 1 and np.isnan(p.cdf(np.nan))


@pytest.mark.parametrize("name", ALL)
def test_ways_agree(name, dtype, monkeypatch):
    """Compiled and plain, float32 and float64; any cut of the points."""
    p = ALL[name]
    x = p.sample(1237, rng=3).astype(dtype)
    monkeypatch.setattr(_compiled, "SMALLEST", 0)
    fast = p.log_prob(x)
    np.testing.assert_array_equal(np.concatenate([p.log_prob(x[:400]), p.log_prob(x[400:])]), fast)
    monkeypatch.setattr(_compiled, "SMALLEST", 10**9)
    plain = p.log_prob(x)
    assert fast.dtype == plain.dtype == dtype and fast.shape == (1237,)
    finite = np.isfinite(plain)  # float32 rounds draws onto ends
    np.testing.assert_array_equal(np.isfinite(fast), finite)
    assert (np.abs(fast - plain)[finite] / (1 + np.abs(plain[finite]))).max() < tolerance(dtype, 8, 16)
    one = p.log_prob(x[0])
    assert np.ndim(one) == 0 and abs(one - plain[0]) <= tolerance(dtype, 8) * (1 + abs(one))


@pytest.mark.parametrize("name", NUMBERS)
def test_draws_of_numbers(name):
    """Kolmogorov-Smirnov at a false alarm of 1e-9; the same seed, the same draws, for any count and threads."""
    p = NUMBERS[name]
    x = p.sample(20_000, rng=11)
    assert x.shape == (20_000,) and x.dtype == np.float64
    assert oracle.ks_statistic(p.cdf(x)) < oracle.ks_threshold(20_000)
    np.testing.assert_array_equal(p.sample(20_000, rng=11), x)
    assert np.isfinite(p.log_prob(x)).all()
    assert np.ndim(p.sample(rng=1)) == 0 and p.sample((2, 3), rng=1).shape == (2, 3)


@pytest.mark.parametrize("name", VECTORS)
def test_draws_of_vectors(name):
    """What is standard normal of them; the density's mean under importance weights of a wide normal is 1."""
    p = VECTORS[name]
    y = p.sample(20_000, rng=5)
    if isinstance(p, TransformedDistribution):
        x, base = p.bijector.inverse(y), p.distribution
    else:
        x, base = y, p
    scale = base.scale_tril if hasattr(base, "scale_tril") else np.diag(np.broadcast_to(base.stddev, 2))
    z = np.linalg.solve(scale, (x - base.mean).T)
    for row in (*z, (z[0] + z[1]) / np.sqrt(2)):
        assert oracle.ks_statistic(oracle.normal(0, 1).cdf(row)) < oracle.ks_threshold(20_000)
    q = oracle.multivariate(y.mean(axis=0), 3 * np.diag(y.std(axis=0)))
    draws = q.rvs(60_000, random_state=np.random.default_rng(1))
    weights = p.prob(draws) / q.pdf(draws)
    assert abs(weights.mean() - 1) < 6 * weights.std() / np.sqrt(60_000)  # 2e-9


@pytest.mark.parametrize("name", ALL)
def test_moments(name):
    """Six standard errors of 20,000 draws, where there is a closed form; else an error that says what to do."""
    p = ALL[name]
    x = p.sample(20_000, rng=7)
    try:
        mean, variance = p.mean, p.variance
    except NotImplementedError as error:
        assert "sample(n).mean(axis=0)" in str(error) or "sample(n).var(axis=0)" in str(error)
        return
    assert np.shape(mean) == np.shape(variance) == p.event_shape
    error = x.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(x.mean(axis=0) - mean) < 6 * error).all()
    fourth = ((x - mean) ** 4).mean(axis=0)
    assert (np.abs(x.var(axis=0) - variance) < 6 * np.sqrt(fourth / 20_000)).all()
    np.testing.assert_allclose(p.stddev**2, variance, rtol=1e-14)
    if hasattr(p, "covariance"):
        np.testing.assert_allclose(np.diagonal(p.covariance), variance, rtol=1e-14)


def test_entropies():
    """Against -E log p, by quadrature or sums."""
    for p, low, high in ((Normal(1.0, 2.0), -40, 40), (Uniform(-1.0, 3.0), -1, 3)):
        exact = oracle.kl_by_quadrature(lambda x, p=p: float(p.log_prob(x)), lambda x: 0.0, low, high)
        assert abs(p.entropy() + exact) < 1e-9
    np.testing.assert_allclose(VECTORS["triangle"].entropy(), oracle.multivariate([0, 0], L2).entropy())
    np.testing.assert_allclose(VECTORS["diagonal"].entropy(), oracle.multivariate([0, 0], np.diag([0.5, 2])).entropy())
    for q in (0.0, 0.3, 1.0):
        exact = 0.0 if q in (0.0, 1.0) else -0.3 * np.log(0.3) - 0.7 * np.log(0.7)
        assert abs(Bernoulli(probs=q).entropy() - exact) < 1e-15


class TestBernoulli:
    def test_values(self):
        p = Bernoulli(probs=[0.0, 0.25, 1.0])
        np.testing.assert_array_equal(p.prob(1.0), [0.0, 0.25, 1.0])
        np.testing.assert_array_equal(p.prob(0.0), [1.0, 0.75, 0.0])
        np.testing.assert_allclose(Bernoulli(logits=2.0).log_prob(0.25), 0.5 - np.log1p(np.exp(2.0)), rtol=1e-15)
        np.testing.assert_array_equal(p.log_prob(np.array([2.0, -1.0, np.nan])), [-np.inf, -np.inf, np.nan])
        np.testing.assert_allclose(Bernoulli(probs=0.25).logits, np.log(0.25 / 0.75))
        assert abs(Bernoulli(logits=3.0).cdf(0.5) - Bernoulli(logits=3.0).prob(0.0)) < 1e-16

    def test_tails(self, dtype):
        logits = np.array([-90.0, -40.0, 40.0, 90.0], dtype)
        p = Bernoulli(logits=logits)
        exact = -np.logaddexp(0, -logits.astype(float))
        np.testing.assert_allclose(p.log_prob(dtype(1)), exact, rtol=tolerance(dtype))
        np.testing.assert_allclose(p.log_prob(dtype(0)), -np.logaddexp(0, logits.astype(float)), rtol=tolerance(dtype))
        np.testing.assert_allclose(p.variance, np.exp(-np.abs(logits.astype(float))), rtol=tolerance(dtype))

    def test_draws(self):
        x = Bernoulli(probs=[0.1, 0.8]).sample(40_000, rng=3)
        assert x.shape == (40_000, 2) and set(np.unique(x)) == {0.0, 1.0}
        assert (np.abs(x.mean(axis=0) - [0.1, 0.8]) < 6 * np.sqrt(np.array([0.09, 0.16]) / 40_000)).all()


class TestDivergences:
    def test_of_numbers(self):
        for p, q in ((Normal(0.5, 0.75), Normal(-1.0, 2.0)), (Uniform(0.0, 1.0), Uniform(-1.0, 3.0))):
            low, high = (0, 1) if isinstance(p, Uniform) else (-8, 9)
            exact = oracle.kl_by_quadrature(
                lambda x, p=p: float(p.log_prob(x)), lambda x, q=q: float(q.log_prob(x)), low, high
            )
            assert abs(kl_divergence(p, q) - exact) < 1e-9
            bijector = b.Chain([b.Exp(), b.Shift(1.0)])
            turned = (TransformedDistribution(d, bijector) for d in (p, q))
            assert kl_divergence(*turned) == kl_divergence(p, q)
        assert kl_divergence(Uniform(-1.0, 3.0), Uniform(0.0, 1.0)) == np.inf
        assert kl_divergence(Normal(1.0, 2.0), Normal(1.0, 2.0)) == 0

    def test_small_differences(self):
        """No cancellation: KL of scales 1 and 1 + t is t^2 + O(t^3)."""
        t = 2.0**-26
        assert abs(kl_divergence(Normal(0.0, 1.0), Normal(0.0, 1 + t)) / t**2 - 1) < 1e-6

    def test_of_vectors(self):
        """All pairs of scales, against the formula with inverses and determinants."""
        A = np.array([[1.5, 0.0], [-0.5, 0.75]])
        ps = MultivariateNormalTriL([1.0, 0.0], A), MultivariateNormalDiag([0.5, 2.0], [0.5, 1.5])
        qs = MultivariateNormalTriL(scale_tril=L2), MultivariateNormalDiag([-1.0, 1.0], [2.0, 0.5])
        for p in ps:
            for q in qs:
                inverse, apart = np.linalg.inv(q.covariance), q.mean - p.mean
                exact = np.trace(inverse @ p.covariance) - 2 + apart @ inverse @ apart
                exact = 0.5 * (exact + np.log(np.linalg.det(q.covariance) / np.linalg.det(p.covariance)))
                np.testing.assert_allclose(kl_divergence(p, q), exact, rtol=1e-12)
        bases = Normal(np.zeros(2), 1.0), Normal([1.0, 2.0], 1.0)
        turned = [TransformedDistribution(base, b.Banana()) for base in bases]
        assert kl_divergence(*turned) == kl_divergence(*bases).sum() == 2.5

    def test_bernoulli(self):
        p, q = 0.3, np.array([0.3, 0.9])
        exact = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        np.testing.assert_allclose(kl_divergence(Bernoulli(probs=p), Bernoulli(probs=q)), exact, atol=1e-15)
        assert kl_divergence(Bernoulli(probs=0.0), Bernoulli(probs=0.5)) == np.log(2)
        assert kl_divergence(Bernoulli(probs=0.5), Bernoulli(probs=0.0)) == np.inf

    def test_registry(self):
        p, q = Normal(), Uniform()
        with pytest.raises(NotImplementedError, match=r"no closed form for KL\(Normal \|\| Uniform\).*monte_carlo"):
            kl_divergence(p, q)
        with pytest.raises(NotImplementedError, match="the bijectors differ"):
            kl_divergence(*(TransformedDistribution(p, m) for m in (b.Exp(), b.Tanh())))
        with pytest.raises(ValueError, match="p and q must have events of one shape"):
            kl_divergence(p, VECTORS["triangle"])
        with pytest.raises(TypeError, match="q must be a distribution, got 1"):
            kl_divergence(p, 1)
        with pytest.raises(TypeError, match="type_q must be a class of distributions"):
            register_kl(Normal, int)

        class Own(Normal):
            pass

        assert kl_divergence(Own(), Normal(1.0)) == 0.5

        @register_kl(Own, Own)
        def closed_form(p, q):
            return "own"

        assert kl_divergence(Own(), Own()) == "own"


def test_support(dtype):
    """-inf out of it and at infinity, NaN where there is one: large and small arrays, the same."""
    specials = np.array([np.nan, -np.inf, np.inf, -1e30, 1e30, -2.0, 0.0], dtype)
    for name, p in NUMBERS.items():
        small = p.log_prob(specials)
        large = p.log_prob(np.tile(specials, 500))[:7]
        assert np.isnan(small[0]) and not np.isnan(small[1:]).any() and (small[1:3] == -np.inf).all(), name
        np.testing.assert_allclose(large, small, rtol=tolerance(dtype, 8))
    assert (NUMBERS["log-normal"].log_prob(specials[[3, 5, 6]]) == -np.inf).all()
    assert (NUMBERS["tanh"].log_prob(np.array([-1.0, 1.0], dtype)) == -np.inf).all()
    assert (Uniform(0.0, 1.0).log_prob(np.array([0.0, 1.0], dtype)) == 0).all()
    assert (NUMBERS["power"].log_prob(np.full(2000, -0.75, dtype)) == -np.inf).all()
    assert NUMBERS["power"].log_prob(dtype(-0.75)) == -np.inf
    for n in (1, 3000):
        rows = np.tile(np.array([[np.nan, -1.0], [-1.0, 1.0], [np.inf, 1.0], [1.0, 1.0]], dtype), (n, 1))
        p = TransformedDistribution(Normal(np.zeros(2), 1.0), b.Chain([b.Ordered(), b.Log()]))
        answer = p.log_prob(np.sort(rows, axis=1))[:4]
        assert np.isnan(answer[0]) and answer[2] == -np.inf and np.isfinite(answer[1]), answer


def test_extreme_scales():
    """Reciprocals of such scales do not serve: float64 and float32 to 1e-6."""
    for scale in (1e-300, 1e-35, 1e35, 1e300):
        p = Normal(0.0, scale)
        x = scale * np.linspace(-2, 2, 2000)
        np.testing.assert_allclose(p.log_prob(x), oracle.normal(0, 1).logpdf(x / scale) - np.log(scale), rtol=1e-12)


def test_batches():
    """Parameters broadcast with points; draws have the batch between."""
    p = Normal(np.zeros((3, 1)), [1.0, 2.0])
    assert p.batch_shape == (3, 2) and p.event_shape == ()
    assert p.sample(5, rng=1).shape == (5, 3, 2) and p.log_prob(np.zeros((5, 1, 1))).shape == (5, 3, 2)
    q = MultivariateNormalTriL(np.zeros((4, 1, 2)), np.stack([L2, 2 * L2, 3 * L2]))
    assert q.batch_shape == (4, 3) and q.sample(5, rng=1).shape == (5, 4, 3, 2) and q.mean.shape == (4, 3, 2)
    assert q.log_prob(np.zeros(2)).shape == (4, 3) and q.covariance.shape == (4, 3, 2, 2)
    np.testing.assert_allclose(q.log_prob([1.0, 0.5])[2, 1], oracle.multivariate([0, 0], 2 * L2).logpdf([1.0, 0.5]))
    assert kl_divergence(q, MultivariateNormalTriL(scale_tril=L2)).shape == (4, 3)
    m = Mixture(np.full((3, 2), 0.5), Normal(np.arange(6.0).reshape(3, 2), 0.5))
    assert m.batch_shape == (3,) and m.sample(5, rng=2).shape == (5, 3) and m.mean.tolist() == [0.5, 2.5, 4.5]
    vectors = MixtureSameFamily([0.5, 0.5], MultivariateNormalDiag([[0.0, 0.0], [8.0, 4.0]], np.ones((2, 2))))
    x = vectors.sample(4000, rng=1)
    assert x.shape == (4000, 2) and vectors.mean.tolist() == [4.0, 2.0] and vectors.variance.tolist() == [17.0, 5.0]
    assert abs((x[:, 0] > 4).mean() - 0.5) < 6 * 0.5 / np.sqrt(4000) and (np.abs(x[:, 0] - 2 * x[:, 1]) < 12).all()
    t = TransformedDistribution(Normal(np.zeros((3, 2)), 1.0), b.Banana())
    assert t.batch_shape == (3,) and t.event_shape == (2,) and t.log_prob(np.zeros((7, 1, 2))).shape == (7, 3)
    single = TransformedDistribution(Normal(np.zeros(2), 1.0), b.Banana())
    np.testing.assert_allclose(t.log_prob(np.ones(2)), np.full(3, single.log_prob(np.ones(2))))


def test_mixture_weights():
    """Weights and logits are one thing; a weight of 0 takes nothing; far from all, no underflow."""
    w = np.array([0.25, 0.75])
    p, q = Mixture(w, TWO), Mixture(logits=np.log(w) + 5.0, components=TWO)
    x = np.linspace(-60, 60, 41)
    exact = np.logaddexp(*(np.log(w) + oracle.normal([-1, 1], [0.5, 0.25]).logpdf(x[:, None])).T)
    np.testing.assert_allclose(p.log_prob(x), exact, rtol=1e-13)
    np.testing.assert_allclose(q.log_prob(x), exact, rtol=1e-13)
    np.testing.assert_allclose(q.weights, w)
    np.testing.assert_array_equal(Mixture([0.0, 1.0], TWO).log_prob(x), Normal(1.0, 0.25).log_prob(x))


def test_float32_draws():
    one = Normal(np.zeros(3, np.float32), np.float32(2.0) * np.ones(3, np.float32))
    assert one.sample(4, rng=1).dtype == np.float32 and one.log_prob(np.zeros(3, np.float32)).dtype == np.float32
    p = TransformedDistribution(one, b.Exp())
    assert p.sample(4, rng=1).dtype == np.float32


@pytest.mark.parametrize("name", ALL)
def test_objects(name):
    p = ALL[name]
    other = pickle.loads(pickle.dumps(p))
    assert other == p and hash(other) == hash(p) and repr(other) == repr(p) and type(p).__name__ in repr(p)
    assert all(p != ALL[key] for key in ALL if key != name)


def test_parameters_belong_to_the_object():
    loc = np.zeros(2)
    p = Normal(loc, 1.0)
    loc[:] = 5
    assert p.mean.tolist() == [0, 0]
    p.mean[:] = 7
    assert p.mean.tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        p.loc[:] = 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Normal(0.0, 0.0), ValueError, "scale must be finite and > 0, got 0"),
        (lambda: Normal(np.inf), ValueError, "loc must be finite, got inf"),
        (
            lambda: Normal([0.0, 1.0], [1.0, 1.0, 1.0]),
            ValueError,
            r"loc and scale must broadcast, got shapes \(2,\) and",
        ),
        (lambda: MultivariateNormalTriL(), TypeError, "scale_tril must be given"),
        (
            lambda: MultivariateNormalTriL(None, [[1.0, 0.0], [1.0, 0.0]]),
            ValueError,
            r"diagonal > 0, got 0 \(a degenerate",
        ),
        (lambda: MultivariateNormalTriL([0.0], L2), ValueError, r"loc must have shape \(..., 2\)"),
        (lambda: MultivariateNormalDiag(None, [1.0, -1.0]), ValueError, "scale_diag must be finite and > 0, got -1"),
        (lambda: Uniform(1.0, 1.0), ValueError, "low must be < high"),
        (lambda: Bernoulli(), TypeError, "one of logits and probs must be given, got neither"),
        (lambda: Bernoulli(probs=1.5), ValueError, "probs must be >= 0 and <= 1, got 1.5"),
        (lambda: Mixture([0.5, 0.6], TWO), ValueError, "weights must have sum 1, got 1.1"),
        (lambda: Mixture([1.0], TWO), ValueError, r"weights must have shape \(..., 2\)"),
        (lambda: Mixture([-0.5, 1.5], TWO), ValueError, "weights must be >= 0, got -0.5"),
        (lambda: Mixture([1.0], Normal()), TypeError, "components must be a distribution with batch_shape"),
        (
            lambda: TransformedDistribution(Normal(), b.Banana()),
            ValueError,
            "must have events of 1 dimensions for Banana",
        ),
        (
            lambda: TransformedDistribution(Normal(), b.Scale([1.0, 2.0])),
            ValueError,
            "give the distribution that shape",
        ),
        (lambda: TransformedDistribution(b.Exp(), Normal()), TypeError, "distribution must be a distribution"),
        (lambda: Normal(np.zeros(3)).log_prob(np.zeros(2)), ValueError, "x must broadcast with batch_shape"),
        (lambda: VECTORS["banana"].log_prob(np.zeros(3)), ValueError, r"x must have shape \(..., 2\), got \(3,\)"),
        (lambda: Normal().sample(-1), ValueError, "size must be"),
        (lambda: Normal().sample(3, rng=-1), ValueError, "rng must be None, an int"),
        (lambda: VECTORS["banana"].cdf(np.zeros(2)), NotImplementedError, "distribution function of"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_threads():
    """The same numbers for any number of threads."""
    p = NUMBERS["sinh-arcsinh"]
    x = p.sample(50_000, rng=3)
    before = lvm.get_num_threads()
    try:
        lvm.set_num_threads(1)
        one = p.log_prob(x)
        lvm.set_num_threads(2)
        np.testing.assert_array_equal(p.log_prob(x), one)
    finally:
        lvm.set_num_threads(before)
