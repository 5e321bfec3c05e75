"""What holds for every bijector, chain and point: Hypothesis looks for one for which it does not."""

from __future__ import annotations

import numpy as np
from helpers import FLOATS, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lvmfast import bijectors as b
from lvmfast.distributions import Normal, TransformedDistribution, kl_divergence

D = 3
numbers = st.floats(-3, 3, width=32)
scales = st.floats(0.5, 2.0, width=32)
positive = st.floats(0.25, 3.0, width=32)


@st.composite
def triangles(draw):
    """With a diagonal of either sign, far from 0."""
    L = np.tril(draw(arrays(np.float64, (D, D), elements=st.floats(-1, 1, width=32))), -1)
    diagonal = [draw(scales) * draw(st.sampled_from([-1, 1])) for _ in range(D)]
    return L + np.diag(diagonal)


# From the whole line to itself, none of them steep for |x| <= 3.
maps = st.one_of(
    st.builds(b.Shift, numbers),
    st.builds(b.Scale, scales | scales.map(lambda s: -s)),
    st.builds(b.Scale, arrays(np.float64, D, elements=scales)),
    st.builds(b.SinhArcsinh, st.floats(-0.5, 0.5, width=32), st.floats(0.75, 1.25, width=32)),
    st.builds(b.ScaleTriL, triangles()),
    st.builds(b.Permute, st.permutations(range(D))),
    st.builds(lambda: b.Chain([b.Log(), b.Softplus()])),
    st.builds(b.Identity),
)
chains = st.lists(maps, max_size=3).map(b.Chain)
points = st.sampled_from(FLOATS).flatmap(lambda t: arrays(t, (4, D), elements=st.floats(-2, 2, width=32)))


def close(actual, expected, relative):
    assert (np.abs(actual - expected) <= relative * (1 + np.abs(expected).max())).all()


@settings(max_examples=40)
@given(chains, points)
def test_round_trips(chain, x):
    """inverse(forward(x)) = x, and the log-dets of both sum to 0; Invert is the other way round."""
    y, log_det = chain.forward_and_log_det(x, 1)
    back, inverse_log_det = chain.inverse_and_log_det(y, 1)
    relative = tolerance(x.dtype, 8, 1e3)
    close(back, x, relative)
    close(log_det + inverse_log_det, np.zeros(4), relative * (1 + np.abs(log_det).max()))
    turned = b.Invert(chain)
    np.testing.assert_array_equal(turned.forward(y), chain.inverse(y))
    np.testing.assert_array_equal(turned.inverse(x), y)
    assert y.dtype == log_det.dtype == x.dtype


@settings(max_examples=40)
@given(chains, chains, points)
def test_chains_of_chains(first, second, x):
    """Chain([f, g]) is f after g, and its log-det the sum."""
    both = b.Chain([first, second])
    middle, log_det = second.forward_and_log_det(x, 1)
    y, more = first.forward_and_log_det(middle, 1)
    np.testing.assert_array_equal(both.forward(x), y)
    close(both.forward_log_det(x, 1), log_det + more, tolerance(x.dtype, 8))
    assert both == b.Chain([first, second]) and hash(both) == hash(b.Chain((first, second)))


@settings(max_examples=40)
@given(st.sampled_from(FLOATS), st.data())
def test_numbers_of_an_interval(dtype, data):
    x = data.draw(arrays(dtype, 5, elements=positive))
    inner = b.Chain([b.Tanh(), b.Invert(b.Sigmoid(0, 4)), b.Sigmoid(1, 3)])
    for bijector in (b.Log(), b.Power(data.draw(scales)), b.Invert(b.Exp()), b.Invert(b.Softplus()), inner):
        y, log_det = bijector.forward_and_log_det(x)
        close(bijector.inverse(y), x, tolerance(dtype, 8, 10))
        close(bijector.inverse_log_det(y), -log_det, tolerance(dtype, 8, 100))


@settings(max_examples=40)
@given(
    chains,
    arrays(np.float64, (4, D), elements=st.floats(-2, 2, width=32)),
    arrays(np.float64, (4, D), elements=numbers),
)
def test_pullbacks_of_inverses(chain, x, bar):
    """The pull-back of the inverse is the inverse of the pull-back: J^-T (J^T v) = v."""
    pulled = chain.forward_vjp(x, bar)
    close(chain.inverse_vjp(chain.forward(x), pulled), bar, tolerance(x.dtype, 8, 1e4))


@settings(max_examples=40)
@given(st.lists(maps, max_size=3).map(b.Chain), numbers, scales)
def test_divergences_do_not_see_bijectors(chain, loc, scale):
    bases = Normal(np.full(D, loc), scale), Normal(np.zeros(D), 1.0)
    p, q = (TransformedDistribution(base, chain) for base in bases)
    exact = kl_divergence(*bases)
    exact = exact.sum() if p.event_shape else exact
    np.testing.assert_allclose(kl_divergence(p, q), exact)
