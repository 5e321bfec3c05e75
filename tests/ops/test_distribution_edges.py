"""Distributions and bijectors at extreme parameters, with many components, and where shapes do not fit."""

from __future__ import annotations

import tracemalloc

import mpmath as mp
import numpy as np
import pytest
from scipy import special, stats

from lvmfast import bijectors as b
from lvmfast.distributions import (
    Mixture,
    MultivariateNormalDiag,
    MultivariateNormalTriL,
    Normal,
    TransformedDistribution,
    Uniform,
    kl_divergence,
)

LOG_ROOT = 0.5 * np.log(2 * np.pi)


@pytest.mark.parametrize("n", [3, 2000])
def test_parameters_that_float32_does_not_hold(n):
    """Few points go through NumPy, many through a program: the same answers."""
    x = np.zeros(n, np.float32)
    peak = 60 * np.log(10) - LOG_ROOT
    for p, expected in (
        (Normal(0, 1e-60), peak),
        (Uniform(-1e60, 1e60), -60 * np.log(10) - np.log(2)),
        (Mixture([0.5, 0.5], Normal(0, [1e-60, 1e-60])), peak),
        (TransformedDistribution(Normal(0, 1e-60), b.Shift(0.0)), peak),
        (MultivariateNormalDiag(None, [1e-60, 1]), peak - LOG_ROOT),
    ):
        points = np.zeros((n, *p.event_shape), np.float32)
        got = p.log_prob(points)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(b.Scale(1e-60).forward_log_det(x), -60 * np.log(10), rtol=1e-6)
    wide = b.Sigmoid(-1e300, 1e300)
    assert (wide.forward(x) == 0).all()
    assert (wide.forward(x + 1) == np.inf).all()
    assert (Normal(0, 1e-60).cdf(x) == 0.5).all()


@pytest.mark.parametrize("n", [3, 2000])
@pytest.mark.parametrize("tailweight", [80.0, 1000.0])
def test_heavy_tails(tailweight, n):
    """Against c sinh(tailweight asinh x) in mpmath, where c and sinh have no float64."""
    bijector, x = b.SinhArcsinh(0.0, tailweight), np.array([0.0, 1e-3, -0.7, 1.9, 2.2])
    with mp.workdps(40):
        c = 2 / mp.sinh(tailweight * mp.asinh(2))
        v = [tailweight * mp.asinh(mp.mpf(float(a))) for a in x]
        y = np.array([float(c * mp.sinh(a)) for a in v])
        roots = [mp.sqrt(1 + mp.mpf(float(t)) ** 2) for t in x]
        slopes = [mp.log(c * tailweight * mp.cosh(a) / root) for a, root in zip(v, roots, strict=True)]
    points = np.resize(x, n if n > 10 else 5)
    got, log_det = bijector.forward_and_log_det(points)
    np.testing.assert_allclose(got[:5], y, rtol=3e-12)
    np.testing.assert_allclose(log_det[:5], np.array(slopes, float), rtol=1e-12, atol=1e-12)
    seen = y != 0
    np.testing.assert_allclose(bijector.inverse(got)[:5][seen], x[seen], rtol=1e-12)
    rounded = points[:5].astype(np.float32)
    single = bijector.forward(points.astype(np.float32))[:5]
    np.testing.assert_allclose(single, bijector.forward(rounded.astype(float)), rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize("kind", ["diagonal", "triangle", "uniform", "batch"])
def test_mixtures_draw_of_the_chosen_component(kind):
    """Kolmogorov-Smirnov (false alarm of each: 1e-6), also over the ends of blocks; memory of a few times the draws."""
    rng, k, n = np.random.default_rng(5), 40, 30_000
    w, loc = rng.dirichlet(np.ones(k)), 5 * rng.standard_normal((k, 4))
    if kind in ("diagonal", "triangle"):
        scale = rng.uniform(0.2, 1, (k, 4))
        L = np.tril(rng.standard_normal((k, 4, 4)), -1) + scale[:, :, None] * np.eye(4)
        p = MultivariateNormalDiag(loc, scale) if kind == "diagonal" else MultivariateNormalTriL(loc, L)
        deviations = scale if kind == "diagonal" else np.sqrt((L**2).sum(axis=-1))
        parts = [lambda x, i=i: special.ndtr((x[:, None] - loc[:, i]) / deviations[:, i]) for i in range(4)]
    else:
        p, n = Uniform(loc[:, 0], loc[:, 0] + 2), 150_000  # by blocks of rows
        parts = [lambda x: np.clip((x[:, None] - loc[:, 0]) / 2, 0, 1)]
    if kind == "batch":
        p, w, n = Normal(np.stack([loc[:, 0], -loc[:, 0]]), 0.5), np.stack([w, w]), 60_000
        parts = [lambda x, s=s: special.ndtr((x[:, None] - s * loc[:, 0]) / 0.5) for s in (1, -1)]
    mixture = Mixture(w, p)
    tracemalloc.start()
    x = mixture.sample(n, rng=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * x.nbytes + 2.2e8
    assert x.shape == (n, *mixture.batch_shape, *mixture.event_shape)
    np.testing.assert_array_equal(x, mixture.sample(n, rng=3))
    weights = w if w.ndim == 1 else w[0]
    for column, part in zip(x.reshape(n, -1).T, parts, strict=True):
        assert stats.kstest(column, lambda t, part=part: part(t) @ weights).pvalue > 1e-6
    if kind == "triangle":  # dependence within a vector
        apart = x - mixture.mean
        expected = sum(a * (M @ M.T + np.outer(m, m)) for a, M, m in zip(w, L, loc - mixture.mean, strict=True))
        np.testing.assert_allclose(apart.T @ apart / n, expected, atol=6 * np.diag(expected).max() * np.sqrt(3 / n))


def test_mixture_densities_by_blocks():
    loc = np.linspace(-3, 3, 7)
    p, x = Mixture(np.full(7, 1 / 7), Normal(loc, 0.3)), np.random.default_rng(0).standard_normal((40, 500))
    expected = special.logsumexp(stats.norm.logpdf(x[..., None], loc, 0.3), axis=-1) - np.log(7)
    np.testing.assert_allclose(p.log_prob(x), expected, rtol=1e-12)


def test_kl_of_nearly_equal_triangles():
    one, near = (MultivariateNormalTriL(None, r * np.eye(3)) for r in (1.0, 1 + 1e-8))
    assert kl_divergence(near, one) == pytest.approx(3e-16, rel=1e-6)
    assert kl_divergence(near, MultivariateNormalDiag(None, np.ones(3))) == pytest.approx(3e-16, rel=1e-6)
    rng = np.random.default_rng(1)
    L, M = (np.tril(rng.standard_normal((3, 3)), -1) + np.diag(rng.uniform(0.5, 2, 3)) for _ in range(2))
    m, C, D = rng.standard_normal(3), L @ L.T, M @ M.T
    expected = 0.5 * (np.trace(np.linalg.solve(D, C)) - 3 + m @ np.linalg.solve(D, m))
    expected += 0.5 * np.log(np.linalg.det(D) / np.linalg.det(C))
    p, q = MultivariateNormalTriL(m, L), MultivariateNormalTriL(None, M)
    assert kl_divergence(p, q) == pytest.approx(expected, rel=1e-12)
    single = [MultivariateNormalTriL(a.mean.astype("f4"), a.scale_tril.astype("f4")) for a in (p, q)]
    diagonal = MultivariateNormalDiag(np.zeros(3, "f4"), np.ones(3, "f4"))
    for pair in (single, [single[0], diagonal], [diagonal, diagonal]):
        assert kl_divergence(*pair).dtype == np.float32
    assert kl_divergence(*single) == pytest.approx(expected, rel=1e-5)
    assert kl_divergence(single[0], q).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: b.Scale(np.ones(3)).forward(np.ones(2)), r"x must broadcast with scale, got shapes \(2,\) and \(3,\)"),
        (lambda: b.Invert(b.Shift(np.ones(3))).inverse_log_det(np.ones(2)), "y must broadcast with shift, got"),
        (lambda: b.Scale(2.0).forward_vjp(np.ones(3), np.ones(2)), r"y_bar must broadcast to the shape \(3,\), got"),
        (lambda: b.Scale(2.0).inverse_vjp(np.ones(3), np.ones((5, 3))), r"x_bar must .* \(3,\), got \(5, 3\)"),
        (
            lambda: b.Chain([b.Banana(), b.Exp()]).forward_vjp(np.ones((4, 2)), np.ones((4, 2)), np.ones(3)),
            r"log_det_bar must broadcast to the shape \(4,\), got \(3,\)",
        ),
        (lambda: b.ScaleTriL(np.stack([np.eye(2)] * 3)).forward(np.ones((4, 2))), "x must broadcast with the batch of"),
        (lambda: b.Sigmoid(np.zeros(2), np.ones(3)), "low and high must broadcast"),
    ],
)
def test_shapes_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
