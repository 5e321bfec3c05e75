"""Compiled steps of implicit posteriors and implicit models: losses, gradients, updates, bad numbers."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from helpers import assert_near, tolerance
from implicits import CODES, NOISE, OBJECTIVES, avb, compiled, compiled_model, data, model, model_data
from reference.implicit import Implicit, step_key
from reference.vae import Net
from scipy import integrate, stats
from vaes import wide

BETA, TERMS = 0.7, 60
ADAM, RMSPROP, SGD = 0, 1, 2
VARIANTS = {"bernoulli": ("bernoulli",), "categorical": ("categorical",)}
VARIANTS |= {variance: ("gaussian", variance) for variance in ("fixed", "feature", "batch", "sample")}


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", VARIANTS)
def test_posterior_terms_and_gradient(dtype, name, samples):
    """Both losses' gradients side by side, against differences of the oracle's; arguments stay."""
    model, rng = avb(*VARIANTS[name]), np.random.default_rng(zlib.crc32(name.encode()))
    arguments = data(model, rng, 4, samples, dtype)
    kept = [None if part is None else part.copy() for part in arguments]
    vae = compiled(model, 1, dtype)
    assert vae.parameters == len(arguments[0])
    terms, gradient = vae.evaluate(*arguments, BETA, 1.0, True)
    assert_near(terms, model.terms(*wide(arguments), BETA), tolerance(dtype, TERMS))
    assert_near(gradient, model.gradient(*wide(arguments), BETA), max(tolerance(dtype, TERMS), 1e-9))
    np.testing.assert_array_equal(vae.evaluate(*arguments, BETA, 1.0, False)[0], terms)
    theta, fixed, x, eps = arguments
    z = np.ascontiguousarray(eps[:, :, NOISE:])
    own = wide((theta[: len(theta) - model.ratio.size], fixed, x, z))
    assert_near(vae.log_likelihoods(theta, fixed, x, z), model.vae.log_p(*own, {}), tolerance(dtype, TERMS))
    np.testing.assert_equal(arguments, tuple(kept))


def test_posterior_far_apart(dtype, rng):
    """T of hundreds: its loss and the slopes stay finite."""
    model = avb("gaussian", "feature")
    theta, fixed, x, eps = data(model, rng, dtype=dtype)
    theta[-1] = 300
    terms, gradient = compiled(model, 1, dtype).evaluate(theta, fixed, x, eps, 1.0, 1.0, True)
    assert np.isfinite(gradient).all()
    assert_near(terms, model.terms(*wide((theta, fixed, x, eps))), tolerance(dtype, TERMS))


BATCH, STEPS, FIRST, SEED = 4, 3, 5, 99
RATES, BETAS = [0.02, 0.01, 0.03], [0.2, 0.5, 1.0]
OPTIMIZERS = {
    "Adam": (ADAM, (0.8, 0.95, 1e-5), 0.0, True, True),
    "RMSprop, clipped": (RMSPROP, (0.8, 0.0, 1e-5), 0.3, False, True),
    "SGD, momentum, clipped": (SGD, (0.7, 0.0, 0.0), 0.5, True, False),
}


def moved(kind, numbers, clip, part, state, gradient, rate):
    """theta, m and v, in whose entries ``part`` a step was taken; the gradient's norm."""
    norm = np.linalg.norm(gradient[part])
    g = gradient[part] * (min(1.0, clip / norm) if clip else 1.0)
    theta, m, v = (None if array is None else array.copy() for array in state)
    a, b, epsilon = numbers
    if kind == ADAM:
        m[part], v[part] = a * m[part] + (1 - a) * g, b * v[part] + (1 - b) * g**2
        theta[part] -= rate * m[part] / (np.sqrt(v[part]) + epsilon)
    elif kind == RMSPROP:
        v[part] = a * v[part] + (1 - a) * g**2
        theta[part] -= rate * g / np.sqrt(v[part] + epsilon)
    else:
        m[part] = a * m[part] - rate * g
        theta[part] += m[part]
    return [theta, m, v], norm


def run(vae, state, fixed, x, rows, steps, optimizer, ratio_rates):
    kind, numbers, clip, *_ = optimizer
    rates = (RATES[steps], BETAS[steps], [1.0] * len(RATES[steps]))
    own = None if ratio_rates is None else ratio_rates[steps]
    return vae.train(*state, fixed, x, rows, BATCH, SEED, FIRST + steps.start, *rates, kind, numbers, clip, own)


def start(model, rng, optimizer, dtype):
    theta, fixed, x, _ = data(model, rng, 12, dtype=dtype)
    state = [theta, *(np.zeros_like(theta) if there else None for there in optimizer[3:])]
    return state, fixed, x, rng.permutation(12)[: BATCH * STEPS - 1]


@pytest.mark.parametrize("ratio_steps", [1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_posterior_training(dtype, name, ratio_steps, rng):
    """By the formulas, the ratio's own updates first; k steps in one call are k calls, bit for bit."""
    optimizer, model = OPTIMIZERS[name], avb("gaussian", "sample" if ratio_steps > 1 else "feature")
    state, fixed, x, rows = start(model, rng, optimizer, dtype)
    begin = [None if part is None else part.copy() for part in state]
    vae = compiled(model, 2, dtype, ratio_steps=ratio_steps)
    own = None if ratio_steps == 1 else np.linspace(0.01, 0.05, STEPS * ratio_steps).reshape(STEPS, ratio_steps)
    terms, done = run(vae, state, fixed, x, rows, slice(0, STEPS), optimizer, own)
    assert done == STEPS and terms.shape == (STEPS, 5)
    there, k = [None if part is None else part.astype(float) for part in begin], model.sizes(begin[0])
    for j in range(STEPS):
        batch = np.ascontiguousarray(x[rows[j * BATCH : (j + 1) * BATCH]])
        for s in range(ratio_steps - 1):
            eps = vae.noise(step_key(SEED, FIRST + j), s, len(batch))
            gradient = vae.evaluate(there[0].astype(dtype), fixed, batch, eps, BETAS[j], 1.0, True)[1]
            there, _ = moved(*optimizer[:3], slice(k, None), there, gradient.astype(float), own[j, s])
        eps = vae.noise(SEED, FIRST + j, len(batch))
        values, gradient = vae.evaluate(there[0].astype(dtype), fixed, batch, eps, BETAS[j], 1.0, True)
        gradient = gradient.astype(float)
        whole, norm = moved(*optimizer[:3], slice(None), there, gradient, RATES[j])
        if own is not None:
            clipped = gradient * min(1.0, optimizer[2] / norm) if optimizer[2] else gradient
            last, _ = moved(*optimizer[:2], 0.0, slice(k, None), there, clipped, own[j, -1])
            for a, b in zip(whole, last, strict=True):
                if a is not None:
                    a[k:] = b[k:]
        there = whole
        means = values.mean(0)
        assert_near(terms[j], [*means[:3], norm, means[3]], tolerance(dtype, 100))
    for part, expected in zip(state, there, strict=True):
        if part is not None:
            assert_near(part, expected, tolerance(dtype, 100))
    for j in range(STEPS):
        batch = rows[j * BATCH : (j + 1) * BATCH]
        assert run(vae, begin, fixed, x, batch, slice(j, j + 1), optimizer, own)[1] == 1
    np.testing.assert_equal(begin, state)


@pytest.mark.parametrize("ratio_steps", [1, 3])
def test_posterior_not_finite(dtype, ratio_steps, rng):
    """A step that meets NaN changes nothing, nor do its updates of the ratio alone."""
    optimizer, model = OPTIMIZERS["Adam"], avb("gaussian", "feature")
    vae = compiled(model, 2, dtype, ratio_steps=ratio_steps)
    state, fixed, x, rows = start(model, rng, optimizer, dtype)
    state[0][model.vae.encoder.size + model.vae.decoder.size] = np.nan  # a log variance: the ratio's loss is finite
    before = [part.copy() for part in state]
    terms, done = run(vae, state, fixed, x, rows, slice(0, STEPS), optimizer, None)
    assert done == 0 and np.isnan(terms).all()
    np.testing.assert_equal(state, before)
    state, fixed, x, rows = start(model, rng, optimizer, dtype)
    before = [part.copy() for part in state]
    run(vae, before, fixed, x, rows[:BATCH], slice(0, 1), optimizer, None)
    x[rows[BATCH + 1], 2] = np.nan
    assert run(vae, state, fixed, x, rows, slice(0, STEPS), optimizer, None)[1] == 1
    np.testing.assert_equal(state, before)


def test_posterior_threads(dtype, set_num_threads, rng):
    model = avb(hidden=70, features=60)
    theta, fixed, x, eps = data(model, rng, 333, 3, dtype, scale=0.2)
    vae, results = compiled(model, 3, dtype, ratio_steps=2), []
    for threads in (1, 2):
        set_num_threads(threads)
        state = [theta.copy(), np.zeros_like(theta), np.zeros_like(theta)]
        run(vae, state, fixed, x, np.arange(3 * BATCH), slice(0, STEPS), OPTIMIZERS["Adam"], None)
        results.append((*vae.evaluate(theta, fixed, x, eps, BETA, 1.0, True), *state))
    np.testing.assert_equal(results[0], results[1])


def test_posterior_errors(rng):
    model = avb()
    theta, fixed, x, eps = data(model, rng)
    vae = compiled(model)
    with pytest.raises(ValueError, match="eps"):
        vae.evaluate(theta, fixed, x, np.ascontiguousarray(eps[:, :, CODES:]), 1.0, 1.0, True)
    with pytest.raises(ValueError, match="only Gaussian codes"):
        vae.log_weights(theta, fixed, x, eps)
    with pytest.raises(ValueError, match="ratio_steps"):
        compiled(model, ratio_steps=0)


# Implicit models.


@pytest.mark.parametrize("loss", [None, 1.0, 0.0, 0.5])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_model_terms_and_gradient(dtype, objective, loss, rng):
    """Either loss by its own network's parameters, side by side."""
    pair = model(objective, loss)
    arguments = model_data(pair, rng, dtype=dtype)
    kept = [part.copy() for part in arguments]
    own, exact = compiled_model(pair, dtype), wide(arguments)
    terms, gradient = own.evaluate(*arguments, True)
    assert_near(terms, pair[0].terms(*exact), tolerance(dtype, TERMS))
    assert_near(gradient, pair[0].gradient(*exact), max(tolerance(dtype, TERMS), 1e-9))
    np.testing.assert_array_equal(own.evaluate(*arguments, False)[0], terms)
    np.testing.assert_equal(list(arguments), kept)


def divergence(f, m):
    """D_f[N(m, 1) | N(0, 1)] by quadrature."""
    p, q = stats.norm(m).pdf, stats.norm().pdf
    return integrate.quad(lambda x: q(x) * f(p(x) / q(x)), -9, 9, epsabs=1e-12)[0]


DIVERGENCES = {
    "kl": lambda u: u * np.log(u),
    "reverse_kl": lambda u: -np.log(u),
    "pearson_chi2": lambda u: (u - 1) ** 2,
    "neyman_chi2": lambda u: (u - 1) ** 2 / u,
    "squared_hellinger": lambda u: 0.5 * (np.sqrt(u) - 1) ** 2,
    "js": lambda u: 0.5 * (u * np.log(u) - (u + 1) * np.log((u + 1) / 2)),
    "gan_saturating": lambda u: u * np.log(u) - (u + 1) * np.log(u + 1),
    "gan": lambda u: (u + 1) * np.log(u + 1),
    "1.7": lambda u: u**1.7 / (1.7 * 0.7),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objective_descends_its_divergence(objective):
    """x = z + m and the exact log ratio, m^2 / 2 - m x: the slope by m is that of D_f[N(m, 1) | N(0, 1)].

    Noise at the midpoints of 20,000 equal shares of the normal distribution.
    """
    m, generator = 0.5, Net((1,), [], [[("dense", 1, "linear")]])
    pair = Implicit(generator, generator, OBJECTIVES[objective][1]), objective
    z = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    theta = np.array([1.0, m, -m, m * m / 2])
    _, gradient = compiled_model(pair).evaluate(theta, z, z, True)
    f = DIVERGENCES[objective]
    slope = (divergence(f, m + 1e-3) - divergence(f, m - 1e-3)) / 2e-3
    assert abs(gradient[1] / slope - 1) < 2e-3


def model_start(pair, rng, dtype):
    theta, x, _ = model_data(pair, rng, 12, dtype)
    return [theta, np.zeros_like(theta), np.zeros_like(theta)], x, rng.permutation(12)[: BATCH * STEPS - 1]


def model_run(own, state, x, rows, steps, kinds, ratio_rates):
    (kind, numbers, clip, *_), (ratio_kind, ratio_numbers, ratio_clip, *_) = (OPTIMIZERS[name] for name in kinds)
    place = x, rows, BATCH, SEED, FIRST + steps.start, RATES[steps], ratio_rates[steps]
    return own.train(*state, *place, kind, numbers, clip, ratio_kind, ratio_numbers, ratio_clip)


@pytest.mark.parametrize("ratio_steps", [1, 2])
@pytest.mark.parametrize("kinds", [("Adam", "RMSprop, clipped"), ("SGD, momentum, clipped", "Adam")])
def test_model_training(dtype, kinds, ratio_steps, rng):
    """By the formulas: the ratio's updates, then the generator's through what was reached; k calls give the bits."""
    pair = model("gan" if ratio_steps > 1 else "kl")
    state, x, rows = model_start(pair, rng, dtype)
    begin, there = [part.copy() for part in state], [part.astype(float) for part in state]
    own, k = compiled_model(pair, dtype, ratio_steps=ratio_steps), pair[0].generator.size
    rates = np.linspace(0.01, 0.05, STEPS * ratio_steps).reshape(STEPS, ratio_steps)
    terms, done = model_run(own, state, x, rows, slice(0, STEPS), kinds, rates)
    assert done == STEPS
    for j in range(STEPS):
        batch = np.ascontiguousarray(x[rows[j * BATCH : (j + 1) * BATCH]])
        for s in range(ratio_steps):
            z = own.noise(SEED, FIRST + j, s, len(batch))
            values, gradient = own.evaluate(there[0].astype(dtype), batch, z, True)
            there, ratio_norm = moved(
                *OPTIMIZERS[kinds[1]][:3], slice(k, None), there, gradient.astype(float), rates[j, s]
            )
        again, gradient = own.evaluate(there[0].astype(dtype), batch, z, True)
        there, norm = moved(*OPTIMIZERS[kinds[0]][:3], slice(0, k), there, gradient.astype(float), RATES[j])
        assert_near(terms[j], [values[:, 0].mean(), again[:, 1].mean(), ratio_norm, norm], tolerance(dtype, 100))
    for part, expected in zip(state, there, strict=True):
        assert_near(part, expected, tolerance(dtype, 100))
    for j in range(STEPS):
        batch = rows[j * BATCH : (j + 1) * BATCH]
        a, done = model_run(own, begin, x, batch, slice(j, j + 1), kinds, rates)
        assert done == 1
        np.testing.assert_array_equal(a[0], terms[j])
    np.testing.assert_equal(begin, state)


@pytest.mark.parametrize("where", ["data", "generator"])
def test_model_not_finite(dtype, where, rng):
    """A lost step changes nothing, also where the ratio had been moved before."""
    pair, kinds, rates = model("pearson_chi2"), ("Adam", "Adam"), np.full((STEPS, 2), 0.01)
    own = compiled_model(pair, dtype, ratio_steps=2)
    state, x, rows = model_start(pair, rng, dtype)
    before, good = [part.copy() for part in state], 0
    if where == "data":
        good = 1
        model_run(own, before, x, rows[:BATCH], slice(0, 1), kinds, rates)
        x[rows[BATCH + 1], 2] = np.nan
    else:  # the ratio's loss is finite, exp(-s) is not
        state[0][-1] = before[0][-1] = -1000
    terms, done = model_run(own, state, x, rows, slice(0, STEPS), kinds, rates)
    assert done == good and np.isfinite(terms[:good]).all() and np.isnan(terms[good:]).all()
    np.testing.assert_equal(state, before)


def test_model_threads(dtype, set_num_threads, rng):
    pair = model(hidden=70, features=60)
    own, results = compiled_model(pair, dtype), []
    (theta, x, z), rates = model_data(pair, rng, 333, dtype, 0.2), np.full((STEPS, 1), 0.01)
    for threads in (1, 2):
        set_num_threads(threads)
        state = [theta.copy(), np.zeros_like(theta), np.zeros_like(theta)]
        model_run(own, state, x, np.arange(STEPS * BATCH), slice(0, STEPS), ("Adam", "Adam"), rates)
        results.append((*own.evaluate(theta, x, z, True), *state))
    np.testing.assert_equal(results[0], results[1])
