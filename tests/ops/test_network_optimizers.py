"""Steps of optimizers against their formulas, clipping, schedules, resuming, errors."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import network as oracle

from lvmfast import nn

CASES = {
    "Adam": (nn.Adam(), oracle.adam, {}),
    "Adam, all options": (
        nn.Adam(0.02, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
        oracle.adam,
        {"rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    ),
    "RMSprop": (nn.RMSprop(), oracle.rmsprop, {}),
    "RMSprop with momentum": (
        nn.RMSprop(0.01, rho=0.8, momentum=0.7, epsilon=1e-4),
        oracle.rmsprop,
        {"rate": 0.01, "rho": 0.8, "momentum": 0.7, "epsilon": 1e-4},
    ),
    "SGD": (nn.SGD(), oracle.sgd, {}),
    "SGD with momentum": (nn.SGD(0.1, momentum=0.9), oracle.sgd, {"rate": 0.1, "momentum": 0.9}),
}
STEPS = 5


def run(optimizer, theta, gradients):
    theta = theta.copy()
    state = optimizer.init(theta)
    for gradient in gradients:
        optimizer.update(theta, gradient, state)
    return theta


@pytest.mark.parametrize("name", CASES)
def test_steps(instruction_set, dtype, name, rng):
    """Five steps from the same place; 70,000 parameters are more than a thread's share. Gradients stay as they are."""
    optimizer, expected, options = CASES[name]
    for size in (1, 13, 70_000):
        theta = rng.standard_normal(size).astype(dtype)
        gradients = [rng.standard_normal(size).astype(dtype) * 10.0**-k for k in range(STEPS)]
        gradients = [g.astype(dtype) for g in gradients]
        kept = copy.deepcopy(gradients)
        wide = [g.astype(float) for g in gradients]
        moved = run(optimizer, theta, gradients)
        there = expected(theta.astype(float), wide, **options)
        assert_near(moved, there, tolerance(dtype))
        for a, b in zip(gradients, kept, strict=True):
            np.testing.assert_array_equal(a, b)


def test_clipping(dtype, set_num_threads, rng):
    """A norm above the bound is scaled down to it, whatever the threads; one below is not touched."""
    theta = rng.standard_normal(100_000).astype(dtype)
    gradients = [rng.standard_normal(theta.size).astype(dtype) * scale for scale in (1.0, 1e-4)]
    gradients = [g.astype(dtype) for g in gradients]
    there = oracle.sgd(theta.astype(float), [oracle.clipped(g.astype(float), 0.5) for g in gradients], 0.3, 0.9)
    results = []
    for threads in (1, 3):
        set_num_threads(threads)
        results.append(run(nn.SGD(0.3, momentum=0.9, clip_norm=0.5), theta, gradients))
    assert_near(results[0], there, tolerance(dtype))
    np.testing.assert_array_equal(*results)


def test_schedules():
    """Keras's formulas; a schedule's rate is that of the step."""
    cosine, decay = nn.CosineDecay(0.1, 10, 0.1), nn.ExponentialDecay(0.1, 0.5, 4)
    for step in (0, 3, 10, 20):
        half = 0.5 * (1 + math.cos(math.pi * min(step, 10) / 10))
        assert math.isclose(cosine(step), 0.1 * (0.9 * half + 0.1))
        assert math.isclose(decay(step), 0.1 * 0.5 ** (step / 4))
    assert nn.ExponentialDecay(0.1, 0.5, 4, staircase=True)(7) == 0.05
    steps = nn.PiecewiseConstant((2, 5), (1.0, 0.5, 0.1))
    assert [steps(step) for step in (0, 2, 3, 5, 6)] == [1.0, 1.0, 0.5, 0.5, 0.1]
    theta = run(nn.SGD(steps), np.zeros(1), [np.ones(1)] * 7)
    assert math.isclose(theta[0], -(3 * 1.0 + 3 * 0.5 + 0.1))


@pytest.mark.parametrize("name", CASES)
def test_resuming_is_the_same(name, rng):
    """Bit for bit, by way of a pickle; optimizers are equal when their settings are."""
    optimizer = CASES[name][0]
    theta, gradients = rng.standard_normal(40), list(rng.standard_normal((6, 40)))
    whole = run(optimizer, theta, gradients)
    state = optimizer.init(theta)
    for gradient in gradients[:3]:
        optimizer.update(theta, gradient, state)
    again, theta, state = pickle.loads(pickle.dumps((optimizer, theta, state)))
    for gradient in gradients[3:]:
        again.update(theta, gradient, state)
    np.testing.assert_array_equal(theta, whole)
    assert again == optimizer != nn.Adam(0.5)
    assert eval(repr(optimizer), vars(nn)) == optimizer


def test_training(rng):
    """A network learns a sine: the loss falls a hundredfold."""
    net = nn.Sequential([nn.Dense(20, "tanh"), nn.Dense(1)]).build(1, seed=0)
    x = np.linspace(-3, 3, 64, dtype=np.float32)[:, None]
    adam, losses = nn.Adam(0.02, clip_norm=10.0), []
    state = adam.init(net.parameters)
    for _ in range(300):
        y, vjp = net.forward_and_vjp(x)
        losses.append(float(np.mean((y - np.sin(x)) ** 2)))
        adam.update(net.parameters, vjp(2 * (y - np.sin(x)) / len(x)), state)
    assert losses[-1] < 0.01 * losses[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Adam(-1), "learning_rate must be a finite number > 0, got -1"),
        (lambda: nn.Adam(beta_1=1), r"beta_1 must lie in \[0, 1\), got 1"),
        (lambda: nn.RMSprop(rho=2), r"rho must lie in \[0, 1\), got 2"),
        (lambda: nn.SGD(clip_norm=0), "clip_norm must be a finite number > 0, got 0"),
        (lambda: run(nn.SGD(lambda step: math.nan), np.ones(2), [np.ones(2)]), r"learning_rate\(0\) must be a finite"),
        (lambda: nn.SGD().init(np.ones((2, 2))), r"parameters must be a float32 or float64 array of shape \(p,\), got"),
        (lambda: nn.SGD().init(np.ones(2, int)), "parameters must be a float32 or float64 array"),
        (lambda: run(nn.Adam(), np.ones(2), [np.ones(3)]), r"gradient must be an array of float64 with shape \(2,\)"),
        (lambda: run(nn.Adam(), np.ones(2), [np.ones(2, np.float32)]), "gradient must be an array of float64"),
        (lambda: nn.SGD().update(np.ones(4)[::2], np.ones(2), {"step": 0}), "parameters must be C-contiguous"),
        (lambda: nn.PiecewiseConstant((5, 2), (1, 1, 1)), "boundaries must increase"),
        (lambda: nn.CosineDecay(0.1, 0), "n_steps must be an integer >= 1, got 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_state():
    """Moments of another size are refused, and nothing moves."""
    theta, state = np.ones(3), nn.Adam().init(np.ones(4))
    with pytest.raises(ValueError, match=r"m must be an array of float64 with shape \(3,\)"):
        nn.Adam().update(theta, np.ones(3), state)
    assert (theta == 1).all() and state["step"] == 0
