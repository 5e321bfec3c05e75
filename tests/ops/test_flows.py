"""Learnable bijectors: values, log-dets and pull-backs of every layer against loops, inverses, steps of training."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import flows as oracle
from reference.vae import derivative

from lvmfast import nn
from lvmfast.bijectors import (
    AffineCoupling,
    Chain,
    Identity,
    Invert,
    LearnedAffine,
    MaskedAutoregressive,
    Permute,
    Planar,
    RealNVP,
)
from lvmfast.bijectors._flows_base import compiled_flow, leaves_of

D, HIDDEN, BOUND = 4, (5, 3), 1.5
EVEN = [True, False, True, False]
ODD = [False, True, False, True]
ORDER = (2, 0, 3, 1)
WEIGHTS = {"hidden": HIDDEN, "activation": "tanh", "bound": BOUND}


def couplings(layers, inverse):
    net = AffineCoupling(D, **WEIGHTS).n_parameters
    parts = [(oracle.coupling(D, (EVEN, ODD)[k % 2], HIDDEN, "tanh", BOUND, inverse), net) for k in range(layers)]
    if not inverse:
        return oracle.composed(parts)

    def backwards(x, theta):
        blocks = theta.reshape(layers, net)[::-1]
        return oracle.composed(parts[::-1])(x, blocks.ravel())

    return backwards


def orders(mask):
    return AffineCoupling(D, mask=mask, **WEIGHTS)


CASES = {  # a bijector, whether its inverse takes one pass, the oracle of that direction
    "coupling": (orders("even"), False, oracle.coupling(D, EVEN, HIDDEN, "tanh", BOUND)),
    "coupling, inverse": (orders("odd"), True, oracle.coupling(D, ODD, HIDDEN, "tanh", BOUND, inverse=True)),
    "coupling, halves": (orders("last"), False, oracle.coupling(D, [False, False, True, True], HIDDEN, "tanh", BOUND)),
    "RealNVP": (RealNVP(D, 3, **WEIGHTS), False, couplings(3, False)),
    "RealNVP, inverse": (RealNVP(D, 3, **WEIGHTS), True, couplings(3, True)),
    "autoregressive": (
        MaskedAutoregressive(D, order=ORDER, **WEIGHTS),
        True,
        oracle.autoregressive(D, ORDER, HIDDEN, "tanh", BOUND),
    ),
    "autoregressive, no hidden layer": (
        MaskedAutoregressive(D, (), "reverse"),
        True,
        oracle.autoregressive(D, (3, 2, 1, 0), (), "tanh", 3.0),
    ),
    "planar": (Planar(D), False, oracle.planar(D)),
    "affine": (LearnedAffine(D), False, oracle.affine(D)),
    "affine, inverse": (LearnedAffine(D), True, oracle.affine(D, inverse=True)),
}


def moved(bijector, seed=0, size=0.6):
    """A copy with random parameters."""
    own = copy.deepcopy(bijector).build(seed)
    own.parameters = own.parameters + size * np.random.default_rng(seed).normal(size=own.n_parameters)
    return own


def calls(bijector, inverse):
    """The fused call, and the pull-back, of a direction."""
    if inverse:
        return bijector.inverse_and_log_det, bijector.inverse_vjp
    return bijector.forward_and_log_det, bijector.forward_vjp


@pytest.mark.parametrize("name", CASES)
def test_values_and_pull_backs(rng, name):
    bijector, inverse, f = CASES[name]
    bijector = moved(bijector)
    theta, x = bijector.parameters, rng.normal(size=(3, D))
    fused, vjp = calls(bijector, inverse)
    z, log_det = fused(x)
    expected, expected_log_det = oracle.rows(f, x, theta)
    near = tolerance(np.float64, 40, 10)
    assert_near(z, expected, near)
    assert_near(log_det, expected_log_det, near, scale=1)

    z_bar, log_det_bar = rng.normal(size=(3, D)), rng.normal(size=3)

    def objective(x, theta):
        z, log_det = oracle.rows(f, x, theta)
        return float((z * z_bar).sum() + (log_det * log_det_bar).sum())

    x_bar, gradient = vjp(x, z_bar, log_det_bar, parameters=True)
    by_theta = derivative(lambda t: objective(x, t), theta)
    assert_near(x_bar, derivative(lambda a: objective(a, theta), x), 1e-8)
    assert_near(gradient, by_theta, 1e-8)
    np.testing.assert_array_equal(vjp(x, z_bar, log_det_bar), x_bar)
    assert not gradient[bijector._mask() == 0].any()


@pytest.mark.parametrize("name", CASES)
def test_there_and_back(rng, dtype, name):
    """Both directions undo each other, in batches of any shape; log-dets have opposite signs."""
    bijector = moved(CASES[name][0])
    x = rng.normal(size=(2, 3, D)).astype(dtype)
    y, log_det = bijector.forward_and_log_det(x)
    back, inverse_log_det = bijector.inverse_and_log_det(y)
    assert (y.dtype, log_det.dtype, log_det.shape, back.shape) == (dtype, dtype, (2, 3), x.shape)
    near = tolerance(dtype, 100, 300)
    assert_near(back, x, near)
    assert_near(log_det + inverse_log_det, np.zeros((2, 3)), near, scale=1)
    wide = bijector.forward(x.astype(np.float64))
    assert_near(y, wide, near)


def test_log_det_is_that_of_the_jacobian(rng):
    """Of a chain of all layers, by differences of its values alone; and an autoregressive Jacobian is triangular."""
    parts = [moved(CASES[name][0], seed) for seed, name in enumerate(["RealNVP", "planar", "affine"])]
    chain = Chain([*parts, Invert(moved(CASES["autoregressive"][0], 9))])
    x = rng.normal(size=D)
    jacobian = np.stack([derivative(lambda a, k=k: chain.forward(a)[k], x) for k in range(D)])
    assert_near(chain.forward_log_det(x), np.linalg.slogdet(jacobian)[1], 1e-8, scale=1)

    flow = moved(MaskedAutoregressive(D, (7, 9), ORDER, activation="tanh"))
    jacobian = np.stack([derivative(lambda a, k=k: flow.inverse(a)[k], x) for k in range(D)])
    ordered = jacobian[np.ix_(ORDER, ORDER)]
    assert not np.triu(ordered, 1).any()
    assert (np.abs(np.tril(ordered)) > 0)[np.tril_indices(D)].all()


def test_planar_layers_can_always_be_inverted(rng):
    """u and w of all sizes, opposite to each other as well: ``w u' > -1``, no log-det is lost, and x comes back."""
    flow = Planar(2).build(0)
    with mpmath.workdps(60):
        for size in (1e-3, 1.0, 30.0, 300.0):
            w = size * np.array([0.6, -0.8])
            for along in (-50.0, -3.0, 0.0, 3.0):
                flow.parameters = np.r_[along * w / size**2 + [0.3, 0.1], w, 0.2]
                x = rng.normal(size=(5, 2)) / size
                y, log_det = flow.forward_and_log_det(x)
                m = mpmath.log1p(mpmath.exp(mpmath.mpf(float(flow.parameters[:2] @ w)))) - 1
                for row, got in zip(x, log_det, strict=True):
                    t = mpmath.tanh(mpmath.fdot(zip(w.tolist(), row.tolist(), strict=True)) + mpmath.mpf(0.2))
                    expected = mpmath.log(1 + (1 - t**2) * m)
                    assert abs(got - float(expected)) <= 1e-9 * max(1, abs(float(expected)))
                back, inverse_log_det = flow.inverse_and_log_det(y)
                # where 1 + (1 - t^2) m is small, y hardly tells x
                near = 1e-13 * np.exp(-np.minimum(log_det, 0))[:, None] * (1 + np.abs(y)) * 10
                assert (np.abs(back - x) <= near).all()
                assert (np.isfinite(inverse_log_det)).all()


def test_masked_weights_count_as_zero():
    flow = moved(CASES["autoregressive"][0])
    masked = flow._mask() == 0
    assert masked.any()
    assert not flow.parameters[masked].any()
    y = np.random.default_rng(0).normal(size=(3, D))
    before = flow.inverse(y)
    flow.parameters = flow.parameters + masked
    np.testing.assert_array_equal(flow.inverse(y), before)
    compiled = compiled_flow([(flow, True)], np.float64, "cpu")
    np.testing.assert_array_equal(compiled.run(flow.parameters + masked, y)[0], before)


def training(dtype, seed=0):
    leaves = leaves_of(Chain([moved(CASES[name][0], 3) for name in ("RealNVP", "autoregressive")]), True)
    leaves.append((moved(Planar(D), 3), False))
    flow = compiled_flow(leaves, dtype, "cpu")
    theta = np.concatenate([bijector.parameters for bijector, _ in leaves]).astype(dtype)
    x = np.random.default_rng(seed).normal(size=(300, D)).astype(dtype)
    return flow, theta, x


OPTIMIZERS = {
    "adam": (0, (0.9, 0.99, 1e-5), 0.5, nn.Adam(0.01, beta_2=0.99, epsilon=1e-5, clip_norm=0.5)),
    "sgd": (2, (0.9, 0.0, 0.0), 0.0, nn.SGD(0.01, momentum=0.9)),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps(dtype, kind):
    """k steps in one call are k calls, bit for bit; each is the optimizer's, with the gradient."""
    number, numbers, clip, optimizer = OPTIMIZERS[kind]
    flow, theta, x = training(dtype)
    rows = np.random.default_rng(1).permutation(250)
    rates = np.array([0.01] * 5)
    if kind == "adam":
        rates = rates * [math.sqrt(1 - 0.99**t) / (1 - 0.9**t) for t in range(1, 6)]

    def state():
        return theta.copy(), np.zeros_like(theta), np.zeros_like(theta)

    whole = state()
    terms, done = flow.train(*whole, x, rows, 50, rates, number, numbers, clip)
    assert done == 5
    single, other = state(), {"step": 0, "m": np.zeros_like(theta), "v": np.zeros_like(theta)}
    own = theta.copy()
    for k in range(5):
        part = rows[50 * k : 50 * k + 50]
        values, gradient = flow.evaluate(single[0], x[part], True)
        one, _ = flow.train(*single, x[part], None, 50, rates[k : k + 1], number, numbers, clip)
        np.testing.assert_array_equal(one[0], terms[k])
        assert_near(one[0, :3], values.mean(axis=0), tolerance(dtype, 50))
        assert_near(one[0, 3], np.linalg.norm(gradient.astype(float)), tolerance(dtype, 50))
        optimizer.update(own, gradient, other)
    for a, b in zip(whole, single, strict=True):
        np.testing.assert_array_equal(a, b)
    assert_near(own, whole[0], tolerance(dtype, 100))


def test_threads_change_no_bit(set_num_threads):
    found = []
    for threads in (1, 2):
        set_num_threads(threads)
        flow, theta, _ = training(np.float32)
        x = np.random.default_rng(0).normal(size=(5000, D)).astype(np.float32)
        terms, gradient = flow.evaluate(theta, x, True)
        found.append((terms, gradient, flow.run(theta, x)[0]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_likelihood_is_the_oracles(rng):
    """Of a flow of three kinds of layers, and its gradient."""
    flow, theta, _ = training(np.float64)
    net = AffineCoupling(D, **WEIGHTS).n_parameters
    made = CASES["autoregressive"][0].n_parameters
    parts = [(couplings(3, True), 3 * net), (CASES["autoregressive"][2], made), (oracle.planar(D), 2 * D + 1)]
    f, x = oracle.composed(parts), rng.normal(size=(2, D))
    terms, gradient = flow.evaluate(theta, x, True)
    assert_near(terms[:, 0], oracle.log_density(f, x, theta), tolerance(np.float64, 100))
    assert_near(terms[:, 1] + terms[:, 2], terms[:, 0], tolerance(np.float64))
    expected = derivative(lambda t: -oracle.log_density(f, x, t).mean(), theta)
    assert_near(gradient, expected, 1e-8)


def test_rows_in_tiles(dtype):
    """More rows than one tile has: the mean of the parts' gradients; a permutation between layers changes places."""
    flow, theta, _ = training(dtype)
    x = np.random.default_rng(0).normal(size=(5000, D)).astype(dtype)
    terms, gradient = flow.evaluate(theta, x, True)
    parts = [flow.evaluate(theta, part, True) for part in np.split(x, 50)]
    assert_near(terms, np.concatenate([part for part, _ in parts]), tolerance(dtype, 10))
    assert_near(gradient, np.mean([part for _, part in parts], axis=0), tolerance(dtype, 100, 10))

    places = [2, 0, 3, 1]
    first, last = moved(CASES["coupling"][0]), moved(LearnedAffine(D))
    mixed = compiled_flow(leaves_of(Chain([last, Permute(places), first])), dtype, "cpu")
    z, _ = mixed.run(np.concatenate([first.parameters, last.parameters]).astype(dtype), x[:9])
    assert_near(z, last.forward(first.forward(x[:9])[:, places]), tolerance(dtype, 10))
    again, _ = mixed.invert(np.concatenate([first.parameters, last.parameters]).astype(dtype), z)
    assert_near(again, x[:9], tolerance(dtype, 100))
    d_x, _ = mixed.pull(np.concatenate([first.parameters, last.parameters]).astype(dtype), x[:9], z, np.ones(9))
    expected = Chain([last, Permute(places), first]).forward_vjp(x[:9], z, np.ones(9))
    assert_near(d_x, expected, tolerance(dtype, 20))


@pytest.mark.parametrize("name", CASES)
def test_no_rows(name):
    """Have gradients of 0, in the likelihood as well, whatever the memory held."""
    bijector, inverse, _ = CASES[name]
    bijector, none = moved(bijector), np.empty((0, D))
    compiled = compiled_flow([(bijector, inverse)], np.float64, "cpu")
    for _ in range(3):
        used = [np.full(bijector.n_parameters, 7.0) for _ in range(4)]
        del used
        x_bar, gradient = calls(bijector, inverse)[1](none, none, parameters=True)
        assert x_bar.shape == none.shape
        assert not gradient.any()
        assert not compiled.evaluate(bijector.parameters, none, True)[1].any()


def test_parts_of_calls(dtype):
    """Calls of more rows than a tile has are those of parts, and their gradients sums; an identity is no step."""
    flow = moved(RealNVP(D, 2, **WEIGHTS))
    x = np.random.default_rng(0).normal(size=(5000, D)).astype(dtype)
    for bijector in (flow, Chain([Identity(), flow])):
        whole = bijector.forward_and_log_det(x)
        parts = [bijector.forward_and_log_det(part) for part in np.split(x, 50)]
        for k in range(2):
            assert_near(whole[k], np.concatenate([part[k] for part in parts]), tolerance(dtype, 10), scale=1)
    x_bar, gradient = flow.forward_vjp(x, 2 * x, 1.0, parameters=True)
    parts = [flow.forward_vjp(part, 2 * part, 1.0, parameters=True) for part in np.split(x, 50)]
    assert_near(x_bar, np.concatenate([part for part, _ in parts]), tolerance(dtype, 50))
    assert_near(gradient, np.sum([part for _, part in parts], axis=0), tolerance(dtype, 100, 10))
    assert len(leaves_of(Chain([Identity(), Invert(Identity()), flow]))) == 1


def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Rows would keep 1 kB of numbers each, 100 MB in all, were they worked on together."""
    code = """
import resource
import numpy as np
import lvmfast as lvm
from lvmfast.bijectors import RealNVP
from lvmfast.distributions import MultivariateNormalDiag, TransformedDistribution

flow = RealNVP(2, 4, (16, 16)).build(0)
x = np.random.default_rng(0).normal(size=(100_000, 2))
base = TransformedDistribution(MultivariateNormalDiag(np.zeros(2), np.ones(2)), flow)
model = lvm.FlowDensity(flow, dtype=np.float64, batch_size=50_000, max_iter=1, random_state=0).fit(x[:100])
calls = [base.log_prob, lambda x: base.sample(len(x), rng=0), lambda x: flow.forward_vjp(x, x, parameters=True)]
calls += [model.fit, model.score_samples, lambda x: model.sample(len(x), rng=0)]
for call in calls:
    call(x[:100])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for call in calls:
    call(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    command = [sys.executable, "-c", code]  # away from the sources, which have no compiled module
    grown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert int(grown) < 50_000  # kB


def test_a_step_that_is_not_finite_changes_nothing():
    flow, theta, x = training(np.float64)
    x[120, 1] = np.nan
    own, m, v = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    terms, done = flow.train(own, m, v, x, np.arange(300), 100, np.full(3, 0.01), 0, (0.9, 0.99, 1e-5), 0.0)
    assert done == 1
    assert np.isnan(terms[1:]).all()
    again = theta.copy()
    flow.train(
        again, np.zeros_like(theta), np.zeros_like(theta), x, np.arange(100), 100, [0.01], 0, (0.9, 0.99, 1e-5), 0.0
    )
    np.testing.assert_array_equal(own, again)


def test_protocol():
    """The start is the identity; a seed gives the start; copies, equality, pickles, representations."""
    names = {"AffineCoupling": AffineCoupling, "RealNVP": RealNVP, "MaskedAutoregressive": MaskedAutoregressive}
    names |= {"LearnedAffine": LearnedAffine, "Planar": Planar}
    for bijector, *_ in CASES.values():
        own, again = copy.deepcopy(bijector).build(5), copy.deepcopy(bijector).build(5)
        x = np.random.default_rng(0).normal(size=(3, D))
        y, log_det = own.forward_and_log_det(x)
        assert_near(y, x, 1e-14)
        assert_near(log_det, np.zeros(3), 1e-14, scale=1)
        assert own == again
        assert hash(own) == hash(again)
        assert own == pickle.loads(pickle.dumps(own))
        assert eval(repr(own), dict(names)) == bijector
        again.parameters = again.parameters + own._mask()
        assert own != again
        other = copy.copy(own)
        other.parameters[:] += 1
        assert own != other
        np.testing.assert_array_equal(own.forward(x), y)


def test_errors():
    flow = RealNVP(3)
    with pytest.raises(ValueError, match="RealNVP has no parameters yet; call build"):
        flow.forward(np.zeros(3))
    flow.build(0)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 3\), got \(2, 4\)"):
        flow.forward(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"parameters must have shape .*, got \(2,\)"):
        flow.parameters = [1.0, 2.0]
    with pytest.raises(ValueError, match="parameters must be finite"):
        flow.parameters = np.full(flow.n_parameters, np.nan)
    with pytest.raises(NotImplementedError, match="Planar.inverse takes more than one pass"):
        Planar(2).build(0).inverse_vjp(np.zeros(2), np.zeros(2))
    with pytest.raises(NotImplementedError, match="MaskedAutoregressive.forward takes more than one pass"):
        MaskedAutoregressive(2).build(0).forward_vjp(np.zeros(2), np.zeros(2))
    for bad, match in (
        ({"mask": "left"}, "mask must be one of"),
        ({"mask": [True, True, True]}, "one column stay and change another"),
        ({"mask": [1, 0, 1]}, "array of bool"),
        ({"hidden": (0,)}, "hidden must be an integer >= 1"),
        ({"bound": 0.0}, "bound must be a finite number > 0"),
        ({"activation": "sin"}, "activation must be one of"),
        ({"n_features": 1}, "n_features must be an integer >= 2"),
    ):
        with pytest.raises(ValueError, match=match):
            AffineCoupling(**{"n_features": 3, **bad})
    with pytest.raises(ValueError, match="permutation of 0, ..., 2, got"):
        MaskedAutoregressive(3, order=[0, 1, 1])
