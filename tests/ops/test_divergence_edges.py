"""Divergences where quadrature, ratios or samples are at their limits."""

from __future__ import annotations

import json

import mpmath as mp
import numpy as np
import pytest

import lvmfast.divergences as div
from lvmfast.bijectors import Exp
from lvmfast.distributions import Bernoulli, Mixture, Normal, TransformedDistribution, Uniform

MINE = div.FDivergence(lambda u: u * np.log(u), lambda u: np.log(u) + 1, name="mine")


@pytest.mark.parametrize("name", ["js", "kl", "total_variation", "squared_hellinger", "pearson_chi2"])
def test_few_values_are_summed(name):
    f = div.as_f_divergence(name)
    expected = sum(q * float(f.f(p / q)) for p, q in ((0.3, 0.6), (0.7, 0.4)))
    assert div.divergence(name, Bernoulli(probs=0.3), Bernoulli(probs=0.6)) == pytest.approx(expected, rel=1e-13)
    mixed = Mixture([0.5, 0.5], Bernoulli(probs=[0.1, 0.5]))
    assert div.divergence(name, mixed, Bernoulli(probs=0.6)) == pytest.approx(expected, rel=1e-13)


def test_other_discrete_laws_are_refused():
    other = TransformedDistribution(Bernoulli(probs=0.3), Exp())
    with pytest.raises(NotImplementedError, match="no exact js of TransformedDistribution and Bernoulli; use monte"):
        div.divergence("js", other, Bernoulli(probs=0.3))
    with pytest.raises(NotImplementedError, match="no exact js"):
        div.divergence("js", Bernoulli(probs=0.3), Normal())


def test_narrow_peaks_far_apart():
    p, q = Mixture([0.5, 0.5], Normal([-50.0, 50.0], 0.01)), Normal(0.0, 30.0)
    assert abs(div.divergence("js", p, q) - 0.691225) < 1e-6
    p, q = Mixture([0.98, 0.01, 0.01], Normal([0, 100, -300.0], [1, 0.01, 0.02])), Normal(0.0, 60.0)
    expected = 0.0  # components that do not meet: E log p - E log q of each
    for w, m, s in ((0.98, 0, 1), (0.01, 100, 0.01), (0.01, -300, 0.02)):
        expected += w * (np.log(w / s) - 0.5 + np.log(60) + (m * m + s * s) / 7200)
    assert div.divergence("kl", p, q) == pytest.approx(expected, rel=1e-10)


def test_ends_of_intervals_and_images():
    p, q = Uniform(0.0, 1.0), Uniform(-1.0, 1.5)
    for name in ("js", "total_variation", "squared_hellinger", "pearson_chi2"):
        f = div.as_f_divergence(name)
        expected = 0.4 * float(f.f(2.5)) + 0.6 * float(f.f(0.0))
        assert div.divergence(name, p, q) == pytest.approx(expected, rel=1e-12)
    assert div.divergence("js", *(TransformedDistribution(Normal(*a), Exp()) for a in ((1, 1), (0, 2)))) == (
        pytest.approx(div.divergence("js", Normal(1, 1), Normal(0, 2)), rel=1e-9)
    )


class Hidden:
    """A peak where mean and variance do not say."""

    batch_shape = event_shape = ()
    mean, variance = 0.0, 1.0

    def __init__(self, mass=1.0):
        self.mass = mass

    def log_prob(self, x):
        with np.errstate(divide="ignore"):
            return np.log(self.mass * 0.5e7 * (np.abs(x - 0.123456) < 1e-7))


@pytest.mark.parametrize("pair", [(Hidden(), Normal()), (Normal(), Hidden())])
def test_what_quadrature_misses_is_an_error(pair):
    with pytest.raises(NotImplementedError, match=r"density of [pq] integrates to 0, not 1 .*monte_carlo_f_divergence"):
        div.divergence("js", *pair)


def test_total_variation_at_extreme_scales():
    assert div.divergence("total_variation", Normal(0, 1e-300), Normal(0, 1e300)) == 1
    assert div.divergence("total_variation", Normal(1e300, 1e-300), Normal(0, 1)) == 1
    for a, b, m in ((1, 3, 0), (1, 3, 2), (1, 1.2, 0.5), (1, 1e4, 0.1)):
        with mp.workdps(30):  # between the crossings of the densities
            A, half_B, C = 1 - mp.mpf(b) ** 2, -mp.mpf(m), m * m + 2 * mp.mpf(b) ** 2 * mp.log(b)
            z = sorted((-half_B + sign * mp.sqrt(half_B**2 - A * C)) / A for sign in (-1, 1))
            inside = [mp.ncdf(z[1]) - mp.ncdf(z[0]), mp.ncdf((z[1] - m) / b) - mp.ncdf((z[0] - m) / b)]
            expected = float(abs(inside[0] - inside[1]))
        for pair in ((Normal(0, a), Normal(m, b)), (Normal(m, b), Normal(0, a))):
            assert div.divergence("total_variation", *pair) == pytest.approx(expected, rel=1e-13)


def test_given_functions_where_the_ratio_vanishes():
    assert div.divergence(MINE, Normal(1, 1), Normal(0, 2)) == pytest.approx(0.443147180559945, rel=1e-10)
    assert div.f_divergence_from_log_ratio(MINE, [0.0, -800.0]) == pytest.approx(0, abs=1e-300)
    assert div.f_divergence_from_log_ratio(MINE, [0.0, 800.0], samples_from="p") == pytest.approx(400, rel=1e-12)
    half = div.monte_carlo_f_divergence(MINE, Uniform(0, 1), Uniform(-1, 1), 4000, rng=0)
    assert abs(half - np.log(2)) < 4.5 * half.standard_error
    assert div.divergence(MINE, Normal(), Uniform(-1, 1)) == np.inf
    chi2 = div.FDivergence(lambda u: u**2 - 1)
    assert div.divergence(chi2.reverse(), Normal(0, 2), Normal(1, 1)) == pytest.approx(0.744026342, rel=1e-9)
    distance = div.FDivergence(lambda u: np.abs(u - 1) / 2).reverse()
    np.testing.assert_allclose(distance.of_log_ratio([-800.0, -np.inf]), 0.5)
    reverse = div.FDivergence(lambda u: -np.log(u), lambda u: -1 / u)
    np.testing.assert_allclose(reverse.of_log_ratio([-800.0, 800.0, -np.inf]), [800, -800, np.inf])
    bound = div.variational_bound(MINE, None, [0.0, 1.0], [-800.0, 0.0])
    assert bound == pytest.approx(1.5 - 0.5, rel=1e-12)


def test_batches_are_not_averaged_together():
    for p, q in ((Normal([0.0, 5.0], 1), Normal([0.0, 0.0], 1)), (Normal([0.0, 5.0], 1), Normal(0, 1))):
        for samples_from in ("q", "p"):
            with pytest.raises(ValueError, match=r"p must be one distribution, got a batch of shape \(2,\)"):
                div.monte_carlo_f_divergence("kl", p, q, 2, rng=0, samples_from=samples_from)
    with pytest.raises(ValueError, match=r"log_ratio must hold one .* shape \(n,\) or \(n, 1\), got \(3, 2\)"):
        div.f_divergence_from_log_ratio("kl", np.zeros((3, 2)))
    assert div.variational_bound("kl", None, np.zeros((3, 1)), np.zeros(4)).n == (3, 4)
    one = div.monte_carlo_f_divergence("kl", Normal([1.0], 1), Normal(0, 2), 100, rng=0)
    assert one == div.monte_carlo_f_divergence("kl", Normal(1.0, 1), Normal(0, 2), 100, rng=0)


def test_a_warning_where_few_samples_count():
    with pytest.warns(UserWarning, match="1000 samples from p are worth .* draw from the wider one"):
        div.monte_carlo_f_divergence("js", Normal(0, 1), Normal(0, 8), 1000, rng=0, samples_from="p")
    div.monte_carlo_f_divergence("kl", Normal(0, 1), Normal(0, 8), 1000, rng=0, samples_from="p")  # has no weights


def test_named_functions_as_json():
    functions = [div.alpha_divergence(0.3), div.jensen_shannon(self_normalized=True), div.total_variation, div.js]
    for f in functions:
        again = div.from_spec(json.loads(json.dumps(f.spec())))
        assert again == f
        assert again.name == f.name
        assert again.f(0.3) == f.f(0.3)
    with pytest.raises(TypeError, match="made of functions"):
        MINE.spec()
    for change in ({"class": "Named"}, {"rest": []}, {"factor": -1.0}, {"slope": np.nan}, {"more": 1}):
        with pytest.raises(ValueError, match="spec must"):
            div.from_spec({**div.kl_forward.spec(), **change})
