"""Convex functions against mpmath, conjugates against searched suprema, exact divergences against quadrature."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import divergences as oracle

import lvmfast.divergences as div

EPS = np.finfo(float).eps
NAMED = {
    "kl_forward": div.kl_forward,
    "kl_reverse": div.kl_reverse,
    "kl_forward, normalized": div.kl_forward(self_normalized=True),
    "kl_reverse, normalized": div.kl_reverse(self_normalized=True),
    "pearson_chi2": div.pearson_chi2,
    "neyman_chi2": div.neyman_chi2,
    "squared_hellinger": div.squared_hellinger,
    "total_variation": div.total_variation,
    "jensen_shannon": div.jensen_shannon,
    "jensen_shannon, normalized": div.jensen_shannon(self_normalized=True),
    "js": div.js,
}
ALPHAS = (-3.0, -0.5, 1e-9, 0.3, 0.75, 1 - 1e-9, 1.5, 4.0)
LOGS = np.array([-700.0, -301.5, -60, -17.3, -2.2, -0.69, -0.7, -0.3, -1e-3, -1e-9])
LOGS = np.concatenate([LOGS, [0.0], -LOGS])
FUNCTIONS = [(NAMED[name], oracle.FUNCTIONS[name]) for name in NAMED]
FUNCTIONS += [(div.alpha_divergence(a, self_normalized=True), oracle.power(a)) for a in ALPHAS]
SMOOTH = [pair for pair in FUNCTIONS if pair[0] is not div.total_variation]


def name_of(value):
    return getattr(value, "name", "oracle")


class Normal:
    """What the divergences need of a distribution."""

    batch_shape = event_shape = ()

    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale

    def log_prob(self, x):
        return -0.5 * ((np.asarray(x) - self.loc) / self.scale) ** 2 - np.log(self.scale) - 0.5 * np.log(2 * np.pi)

    def sample(self, n, rng=None):
        return self.loc + self.scale * np.random.default_rng(rng).standard_normal(n)


class Laplace:
    """One that has no closed forms here."""

    def __init__(self, loc, scale):
        self.loc, self.scale = loc, scale

    def log_prob(self, x):
        return -np.abs(np.asarray(x) - self.loc) / self.scale - np.log(2 * self.scale)

    def mean(self):
        return self.loc

    def variance(self):
        return 2 * self.scale**2


class Wide:
    """A normal distribution of several dimensions by its root."""

    def __init__(self, loc, scale_tril):
        self.loc, self.scale_tril = np.asarray(loc), np.asarray(scale_tril)
        self.batch_shape, self.event_shape = (), self.loc.shape


Wide.__name__ = "MultivariateNormalTriL"
P, Q = Normal(1.0, 1.0), Normal(0.0, 2.0)


def log_ratio(x):
    return np.log(2) - (x - 1) ** 2 / 2 + x**2 / 8


@pytest.mark.parametrize(("f", "exact"), FUNCTIONS, ids=name_of)
def test_values_keep_their_digits_at_all_ratios(f, exact):
    for s in LOGS:
        expected = oracle.of_log_ratio(exact, s)
        allowed = 40 * EPS * (1 + abs(s) * max(1, abs(getattr(f, "alpha", 1)))) * abs(expected) + 1e-290
        got = f.of_log_ratio(s)
        assert got == expected or abs(got - expected) <= allowed, (s, got, expected)


@pytest.mark.parametrize(("f", "exact"), SMOOTH, ids=name_of)
def test_slopes_and_conjugates_at_all_ratios(f, exact):
    for s in (-700.0, -30.0, -1.3, -1e-4, 0.4, 25.0, 699.0):
        for method, expected in (
            (f.derivative_of_log_ratio, oracle.derivative(exact, s)),
            (f.conjugate_of_log_ratio, oracle.conjugate_at(exact, s)),
        ):
            allowed = 40 * EPS * (1 + abs(s) * max(1, abs(getattr(f, "alpha", 1)))) * (abs(expected) + 1e-4)
            got = method(s)
            assert got == expected or abs(got - expected) <= allowed, (method.__name__, s, got, expected)


@pytest.mark.parametrize(
    "f", [f for f, _ in FUNCTIONS] + [div.alpha_divergence(0.3), div.alpha_divergence(-2)], ids=repr
)
def test_the_conjugate_is_the_supremum(f):
    low, high = f.conjugate_domain
    assert low == -np.inf
    t = np.array([-5.0, -1.0, -0.4, 0.0, 0.2, 0.45]) + (min(high, 0.5) - 0.5)
    expected = [oracle.supremum(lambda u: f.f(np.float64(u)), x) for x in t]
    np.testing.assert_allclose(f.conjugate(t), expected, rtol=1e-7, atol=1e-8)
    if high < 100:
        assert f.conjugate(high + 1e-6) == np.inf
        assert np.isfinite(f.conjugate(high - 1e-6))
    assert np.isnan(f.conjugate(np.nan))
    s = np.linspace(-4, 3, 15)  # Fenchel's equality
    slopes = f.derivative_of_log_ratio(s)
    np.testing.assert_allclose(f.conjugate(slopes), f.conjugate_of_log_ratio(s), rtol=1e-9, atol=1e-11)


@given(st.sampled_from([f for f, _ in SMOOTH]), st.floats(-8, 8), st.floats(-8, 8))
def test_slopes_support_the_function_and_reverses_reverse(f, s, r):
    u, v = np.exp(s), np.exp(r)
    tangent = f.f(u) + f.derivative(u) * (v - u)
    scale = 1 + abs(f.f(u)) + abs(f.derivative(u)) * (u + v) + abs(f.f(v))
    assert f.f(v) >= tangent - 1e-12 * scale
    back = f.reverse()
    weight = 1 + u * (abs(f.f(1 / u)) + abs(f.slope) + abs(f.constant)) + abs(f.slope)
    assert abs(back.f(u) - u * f.f(1 / u)) <= 1e-12 * weight
    assert abs(back.derivative(u) + f.conjugate_of_derivative(1 / u)) <= 1e-12 * (1 + abs(back.derivative(u)))
    h = 1e-5 * u
    second = (f.derivative(u + h) - f.derivative(u - h)) / (2 * h)
    assert abs(f.second(u) - second) <= 1e-6 * abs(second) + 1e-9 * abs(f.derivative(u)) / u
    again = f.reverse().reverse()
    assert again.f(v) == pytest.approx(f.f(v), rel=1e-12, abs=1e-12)


def test_losses_of_the_compiled_code():
    s = np.linspace(-3, 3, 7)
    for f, kind, alpha, factor in (
        (div.kl_forward, "power", 1, 1),
        (div.kl_reverse, "power", 0, 1),
        (div.pearson_chi2, "power", 2, 2),
        (div.neyman_chi2, "power", -1, 2),
        (div.squared_hellinger, "power", 0.5, 0.25),
        (div.gan, "logistic", 0, 1),
        (div.js, "logistic", 0, 0.5),
    ):
        assert f.loss_shape == (kind, alpha, factor)
        u = np.exp(s)
        expected = factor * u ** (alpha - 2) if kind == "power" else factor / (u * (1 + u))
        np.testing.assert_allclose(f.second(u), expected, rtol=1e-13)
    assert div.total_variation.loss_shape is None
    assert div.FDivergence(lambda u: u * u).loss_shape is None
    assert div.jensen_shannon == div.gan
    for f, _ in FUNCTIONS:
        assert pickle.loads(pickle.dumps(f)) == copy.deepcopy(f) == f
        assert f.of_log_ratio(np.float32(0.5)).dtype == f.f(np.ones(3, np.float32)).dtype == np.float32


EXACT = {
    "kl": 0.443147180559945,
    "kl_reverse": 1.306852819440055,
    "js": 0.128174973,
    "total_variation": 0.390065660,
    "squared_hellinger": 0.149194538,
    "pearson_chi2": 0.744026342,
    "jensen_shannon": 2 * 0.128174973 - np.log(4),
    "neyman_chi2": np.inf,
}


@pytest.mark.parametrize("name", EXACT)
def test_reference_values(name):
    exact = div.divergence(name, P, Q)
    assert exact == EXACT[name] or abs(exact - EXACT[name]) < 1e-9
    assert div.divergence(div.as_f_divergence(name).reverse(), Q, P) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("f", [div.alpha_divergence(0.3), div.alpha_divergence(1.2), div.total_variation], ids=repr)
def test_closed_forms_are_the_integrals(f):
    p, q = Normal(-0.5, 0.7), Normal(0.8, 0.9)
    expected = oracle.integral(lambda u: float(f.f(np.float64(u))), p.log_prob, q.log_prob, -12, 12, (-0.5, 0.14, 0.8))
    assert div.divergence(f, p, q) == pytest.approx(expected, rel=1e-9)
    custom = div.FDivergence(f.f, f.derivative, of_log_ratio=f.of_log_ratio)
    assert div.divergence(custom, p, q) == pytest.approx(expected, rel=1e-8)
    one, two = (Wide([a.loc], [[a.scale]]) for a in (p, q))
    assert div.divergence(f, one, two) == pytest.approx(expected, rel=1e-9)


def test_more_dimensions_and_other_distributions():
    p, q = Wide([0.5, -0.2], np.diag([0.8, 1.1])), Wide([0.0, 0.3], np.diag([1.0, 1.4]))
    parts = [(Normal(p.loc[i], p.scale_tril[i, i]), Normal(q.loc[i], q.scale_tril[i, i])) for i in (0, 1)]
    kl = sum(div.divergence("kl", *pair) for pair in parts)
    assert div.divergence("kl", p, q) == pytest.approx(kl, rel=1e-13)
    hellinger = 1 - np.prod([1 - div.divergence("squared_hellinger", *pair) for pair in parts])
    assert div.divergence("squared_hellinger", p, q) == pytest.approx(hellinger, rel=1e-13)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])  # invariant under a rotation
    turned = [
        Wide(turn @ a.loc, np.linalg.cholesky(turn @ np.diag(np.diag(a.scale_tril) ** 2) @ turn.T)) for a in (p, q)
    ]
    assert div.divergence("pearson_chi2", *turned) == pytest.approx(div.divergence("pearson_chi2", p, q), rel=1e-12)
    assert div.divergence("total_variation", p, Wide(p.loc + [1, 0], p.scale_tril)) == pytest.approx(
        div.divergence("total_variation", Normal(0.5, 0.8), Normal(1.5, 0.8)), rel=1e-13
    )
    with pytest.raises(NotImplementedError, match="monte_carlo_f_divergence"):
        div.divergence("js", p, q)
    with pytest.raises(ValueError, match="events of one shape"):
        div.divergence("kl", p, P)
    p, q = Laplace(0.0, 1.0), Laplace(0.7, 1.0)
    assert div.divergence("total_variation", p, q) == pytest.approx(1 - np.exp(-0.35), rel=1e-9)
    assert div.divergence("kl", p, q) == pytest.approx(0.7 + np.exp(-0.7) - 1, rel=1e-9)


def test_monte_carlo_errors_are_honest():
    """Both forms, with and without a known scale: z-scores within 4.5 (false alarm: 48 values, below 4e-4)."""
    for k, name in enumerate(("kl", "js", "squared_hellinger", "alpha")):
        f = div.alpha_divergence(0.6) if name == "alpha" else div.as_f_divergence(name)
        exact = div.divergence(f, P, Q)
        assert np.isfinite(exact)
        for side, normalized in (("q", False), ("q", True), ("p", False)):
            z = []
            for seed in range(60):
                if side == "p":  # where 1 / r has a variance
                    r = div.monte_carlo_f_divergence(f.reverse(), Q, P, 400, rng=[k, seed], samples_from="p")
                else:
                    r = div.monte_carlo_f_divergence(f, P, Q, 400, rng=[k, seed], self_normalized=normalized)
                assert r.n == 400 and r.value == float(r)
                z.append((r - exact) / r.standard_error)
            assert abs(np.mean(z)) * np.sqrt(60) < 4.5 + 1.5  # the bias of self-normalisation, of order 1 / n
            assert 0.6 < np.std(z) < 1.5


def test_samples_in_place_of_distributions():
    x = Q.sample(3000, 1)
    one = div.monte_carlo_f_divergence("js", log_ratio, x)
    two = div.monte_carlo_f_divergence("js", P, Q, 3000, rng=1)
    assert one.value == pytest.approx(two.value, rel=1e-12)
    assert div.monte_carlo_f_divergence("js", log_ratio, Q, 3000, rng=1).value == one.value
    assert div.f_divergence_from_log_ratio("js", log_ratio(x)).standard_error == one.standard_error
    shifted = div.f_divergence_from_log_ratio("kl", log_ratio(x) + 7, self_normalized=True)
    assert shifted == pytest.approx(div.f_divergence_from_log_ratio("kl", log_ratio(x), self_normalized=True))
    again = pickle.loads(pickle.dumps(one))
    assert (again, again.standard_error, again.n) == (one, one.standard_error, one.n)


@pytest.mark.parametrize("name", ["kl", "kl_reverse", "js", "jensen_shannon", "squared_hellinger", "pearson_chi2"])
def test_bounds_lie_below_and_touch(name):
    x_p, x_q = P.sample(40_000, 3), Q.sample(40_000, 4)
    exact = div.divergence(name, P, Q)
    best = div.variational_bound(name, log_ratio, x_p, x_q)
    assert abs(best - exact) < 4.5 * best.standard_error  # false alarm: 6 of them, below 1e-4
    for wrong in (lambda x: log_ratio(x) + 0.3, lambda x: 0.6 * log_ratio(x), lambda x: 0 * x):
        bound = div.variational_bound(name, None, wrong(x_p), wrong(x_q))
        assert bound < exact + 4.5 * bound.standard_error
        assert bound.n == (40_000, 40_000)
    zero = div.variational_bound(name, None, np.zeros(3), np.zeros(5))
    assert zero == pytest.approx(div.as_f_divergence(name).f(1.0), abs=1e-15)


def test_cross_entropy_is_the_bound_of_jensen_shannon():
    x_p, x_q = P.sample(500, 3), Q.sample(700, 4)
    loss = np.logaddexp(0, -log_ratio(x_p)).mean() + np.logaddexp(0, log_ratio(x_q)).mean()
    assert div.variational_bound("gan", log_ratio, x_p, x_q) == pytest.approx(-loss, rel=1e-13)
    half = div.variational_bound("js", log_ratio, x_p, x_q)
    assert half == pytest.approx(np.log(2) - loss / 2, rel=1e-12)  # best: log 2 - JS = 0.564972208


def test_overlap():
    assert div.overlap(np.zeros(4), np.zeros(6)) == (6, 4, 1, 1)
    far = div.overlap(np.array([500.0, 900.0]), np.array([-900.0, -500.0, -800.0]))
    assert far.effective_q == far.effective_p == 1
    assert div.overlap([np.inf, np.inf], [-np.inf]) == (0, 0, 0, 0)
    x_p, x_q = P.sample(20_000, 0), Q.sample(20_000, 1)
    fraction = div.overlap(log_ratio(x_p), log_ratio(x_q)).fraction_q
    assert fraction == pytest.approx(1 / (1 + 0.744026342), rel=0.03)  # n / (1 + chi2)


def test_functions_of_ones_own():
    f = div.FDivergence(lambda u: u * np.log(u), lambda u: np.log(u) + 1, lambda t: np.exp(t - 1), name="mine")
    t = np.array([-3.0, 0.1, 2.0])
    np.testing.assert_allclose(f.conjugate(t), div.kl_forward.conjugate(t), rtol=1e-12)
    searched = div.FDivergence(lambda u: (u - 1) ** 2, lambda u: 2 * (u - 1))
    t = np.array([-5.0, -2.0, -0.3, 0.0, 8.0])
    np.testing.assert_allclose(searched.conjugate(t), div.pearson_chi2.conjugate(t), atol=1e-12, rtol=1e-9)
    assert div.FDivergence(lambda u: -np.log(u), lambda u: -1 / u).conjugate(0.5) == np.inf
    u = np.array([0.2, 1.0, 5.0])
    np.testing.assert_allclose(f.reverse().f(u), div.kl_reverse.f(u), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(f.normalized().f(u), div.kl_forward(self_normalized=True).f(u), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(f.reverse().derivative(u), div.kl_reverse.derivative(u), rtol=1e-13)
    assert div.monte_carlo_f_divergence(f, P, Q, 50, rng=0) == pytest.approx(
        div.monte_carlo_f_divergence("kl", P, Q, 50, rng=0).value
    )
    with pytest.raises(ValueError, match=r"conjugate must be sup_u .* got"):
        div.FDivergence(lambda u: u * np.log(u), lambda u: np.log(u) + 1, lambda t: np.exp(t) - 1)
    with pytest.raises(ValueError, match="derivative must be the slope"):
        div.FDivergence(lambda u: u * np.log(u), np.log)
    with pytest.raises(ValueError, match="f must be convex"):
        div.FDivergence(np.log)
    with pytest.raises(ValueError, match="give FDivergence"):
        div.variational_bound(div.FDivergence(lambda u: u * u), None, [0.0], [0.0])
    with pytest.raises(TypeError, match="derivative must be callable"):
        div.FDivergence(np.exp, 3)


def test_errors():
    with pytest.raises(ValueError, match="f must be an FDivergence or one of 'kl_forward'"):
        div.as_f_divergence("entropy")
    with pytest.raises(TypeError, match="f must be an FDivergence or its name"):
        div.divergence(np.log, P, Q)
    with pytest.raises(ValueError, match="u must be >= 0"):
        div.js.f(-1.0)
    with pytest.raises(FloatingPointError, match="NaN at index 1"):
        div.f_divergence_from_log_ratio("js", [0.0, np.nan])
    with pytest.raises(ValueError, match="at least one log ratio"):
        div.overlap([], [0.0])
    with pytest.raises(TypeError, match="q must have log_prob"):
        div.monte_carlo_f_divergence("js", P, np.zeros(3))
    with pytest.raises(TypeError, match="q must have sample"):
        div.monte_carlo_f_divergence("js", P, type("D", (), {"log_prob": None})())
    with pytest.raises(ValueError, match="samples_from must be one of 'q', 'p'"):
        div.monte_carlo_f_divergence("js", P, Q, samples_from="m")
    with pytest.raises(ValueError, match="alpha must be a finite number"):
        div.alpha_divergence(np.inf)
    batch = Normal(np.zeros(3), 1.0)
    batch.batch_shape = (3,)
    with pytest.raises(ValueError, match=r"p must be one distribution, got a batch of shape \(3,\)"):
        div.divergence("kl", batch, Q)
