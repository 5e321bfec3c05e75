"""The compiled step of variational autoencoders: terms, gradients, noise, optimizers, numbers that are not finite."""

from __future__ import annotations

import functools
import itertools
import math
import zlib

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference.vae import VARIANCES, derivative
from scipy import stats
from vaes import FEATURES, D, compiled, data, free, images, small, wide

BETA, TEMPERATURE = 0.7, 0.6
OBJECTIVES = {"elbo": {}, "iwae": {"iwae": True}, "dreg": {"iwae": True, "dreg": True}}
VARIANTS = {"bernoulli": ("bernoulli",), "categorical": ("categorical",)}
VARIANTS |= {variance: ("gaussian", variance) for variance in VARIANCES}
MODELS = {
    f"{name}, {objective}": small(*arguments, hidden=2, **options)
    for (name, arguments), (objective, options) in itertools.product(VARIANTS.items(), OBJECTIVES.items())
    if (name, objective) != ("batch", "dreg")  # rows share a variance: the theorem does not hold
}
MODELS |= {f"convolutions, {objective}": images(**OBJECTIVES[objective]) for objective in ("elbo", "dreg")}
MODELS |= {
    "Gumbel, bernoulli": small(hidden=2, categories=3),
    "Gumbel, feature": small("gaussian", "feature", categories=2),
}
NARROW = {"hidden": 2, "low": -0.4, "high": 0.3, "code_high": 0.2}
PAIRS = zip([*VARIANCES[1:], "sample"], ["elbo", "iwae", "iwae", "dreg", "elbo", "dreg"], strict=True)
CLAMPED = {
    f"clamps, {variance}, {objective}": small("gaussian", variance, **NARROW, **OBJECTIVES[objective])
    for variance, objective in PAIRS
}
MODELS |= CLAMPED
TERMS = 60  # of the longest sums, and what a step magnifies
ADAM, RMSPROP, SGD = 0, 1, 2


@functools.cache
def expected(name, samples):
    """Arguments in float32 and, of their numbers, the oracle's terms and gradient."""
    model = MODELS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    arguments = data(model, rng, 4, samples, np.float32)
    exact = wide(arguments)
    terms = model.terms(*exact, BETA, TEMPERATURE)
    return arguments, terms, model.gradient(*exact, BETA, TEMPERATURE)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_terms_and_gradient(dtype, name, samples):
    """Noise of more samples than the object draws itself; arguments stay; without its gradient, the same terms."""
    arguments, terms_there, gradient_there = expected(name, samples)
    arguments = tuple(None if part is None else part.astype(dtype) for part in arguments)
    kept = [None if part is None else part.copy() for part in arguments]
    vae = compiled(MODELS[name], 1, dtype)
    assert vae.parameters == len(arguments[0])
    terms, gradient = vae.evaluate(*arguments, BETA, TEMPERATURE, True)
    assert terms.dtype == np.float64 and terms.shape == (4, 3)
    assert gradient.dtype == dtype
    assert_near(terms, terms_there, tolerance(dtype, TERMS))
    assert_near(gradient, gradient_there, max(tolerance(dtype, TERMS), 1e-9))  # 1e-9: the differences' own
    alone, nothing = vae.evaluate(*arguments, BETA, TEMPERATURE, False)
    assert nothing is None
    np.testing.assert_array_equal(alone, terms)
    if not MODELS[name].categories:
        log_w = vae.log_weights(*arguments)
        assert log_w.dtype == np.float64 and log_w.shape == (4, samples)
        assert_near(log_w, MODELS[name].log_w(*wide(arguments)), tolerance(dtype, TERMS))
    np.testing.assert_equal(arguments, tuple(kept))


def test_clamps_meet_every_case():
    """Log variances beyond either end, whose steps lead further away or back: the tests above mean something."""
    met = {"encoder": set(), "decoder": set()}
    for name in CLAMPED:
        (theta, *rest), *_ = expected(name, 3)
        theta, rest = theta.astype(float), wide(rest)
        for which, (raw, slope) in CLAMPED[name].linear_clamps(theta, *rest, BETA, TEMPERATURE).frozen.items():
            side = np.where(raw >= 0.3, 1, np.where(raw <= -0.4, -1, 0))
            met[which] |= set(zip(np.ravel(side), np.ravel(slope * np.ones(raw.shape)), strict=True))
    every = {(0, 1.0), (1, 0.0), (1, 1.0), (-1, 0.0), (-1, 1.0)}
    assert met == {"encoder": every, "decoder": every}


def test_far_outside_the_clamps(dtype, rng):
    """Raw log variances of hundreds: all is finite, and the values are those at the clamps."""
    for variance in VARIANCES[1:]:
        model = small("gaussian", variance)
        theta, _, x, eps = data(model, rng, samples=2, dtype=dtype)
        theta[model.encoder.size - D : model.encoder.size] = 300, -200
        last = theta[-(free(model) or FEATURES) :]
        last[:] = np.resize([-150, 250], last.shape)
        terms, gradient = compiled(model, 2, dtype).evaluate(theta, None, x, eps, 1.0, 1.0, True)
        assert np.isfinite(gradient).all()
        assert_near(terms, model.terms(*wide((theta, None, x, eps))), tolerance(dtype, 1000))


def test_given_variances(dtype, rng):
    """For "batch", what stands in for the batch's average: that average itself changes no term."""
    model = small("gaussian", "batch", iwae=True)
    theta, _, x, eps = data(model, rng, samples=3, dtype=dtype)
    vae = compiled(model, 3, dtype)
    seen = {}
    model.terms(*wide((theta, None, x, eps)), seen=seen)
    average = np.ravel(seen["decoder"]).astype(dtype)
    free_terms, _ = vae.evaluate(theta, None, x, eps, 1.0, 1.0, False)
    given, gradient = vae.evaluate(theta, average, x, eps, 1.0, 1.0, True)
    assert_near(given, free_terms, tolerance(dtype, TERMS))
    exact = wide((theta, average, x, eps))
    assert_near(gradient, model.gradient(*exact), max(tolerance(dtype, TERMS), 1e-9))
    one = vae.log_weights(theta, average, x[1:2], eps[1:2])
    assert_near(one, model.log_w(*exact)[1:2], tolerance(dtype, TERMS))


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "sample", "batch"])
def test_lanes(instruction_set, dtype, name, rng):
    """Numbers of features, rows and latents that leave vectors half empty; one derivative along a direction."""
    options = {"hidden": 21, "features": 38, "components": 5, "iwae": True}
    model = small(*VARIANTS[name], **options)
    arguments = data(model, rng, 19, 3, dtype, scale=0.2)
    exact = wide(arguments)
    terms, gradient = compiled(model, 3, dtype).evaluate(*arguments, BETA, 1.0, True)
    assert_near(terms, model.terms(*exact, BETA), tolerance(dtype, TERMS))
    direction = rng.choice([-1.0, 1.0], len(gradient)) / math.sqrt(len(gradient))
    along = derivative(lambda t: model.loss(exact[0] + t * direction, *exact[1:], BETA), np.zeros(()))
    scale = np.abs(gradient * direction).sum()
    assert_near(gradient.astype(float) @ direction, along, max(tolerance(dtype, 10), 1e-9), scale)


def test_small_weights(dtype, rng):
    """log w around -10^4: its exponential is 0, the log of the mean is not."""
    for options in OBJECTIVES.values():
        model = small("gaussian", "fixed", **options)
        theta, fixed, x, eps = data(model, rng, samples=5, dtype=dtype)
        x = (x * 100).astype(dtype)
        terms, gradient = compiled(model, 5, dtype).evaluate(theta, fixed, x, eps, 1.0, 1.0, True)
        there = model.terms(*wide((theta, fixed, x, eps)))
        assert there[:, 0].max() < -5000
        assert np.isfinite(gradient).all()
        assert_near(terms, there, tolerance(dtype, TERMS))


def test_gumbel_limits(rng):
    """As the temperature falls to 0, one-hot at the largest logit + noise; as it rises, uniform, whatever x is."""
    model = small("gaussian", "feature", categories=3)
    theta, _, x, eps = data(model, rng, samples=4)
    vae = compiled(model)
    logits, _ = model.encode(theta, x, {})
    noisy = (logits[:, None] + eps).reshape(*eps.shape[:2], -1, 3)
    for temperature, z in ((1e-7, np.eye(3)[noisy.argmax(-1)]), (1e12, np.full(noisy.shape, 1 / 3))):
        terms, gradient = vae.evaluate(theta, None, x, eps, 0.0, temperature, True)
        there = model.log_p(theta, None, x, z.reshape(eps.shape), {}).mean(1)
        assert_near(terms[:, 0], there, tolerance(float, TERMS, 1e3))
        assert_near(terms[:, 1], there, tolerance(float, TERMS, 1e3))
        assert np.abs(gradient[: model.encoder.size]).max() < 1e-9 * np.abs(gradient).max()


def test_divergence_by_monte_carlo(rng):
    """KL = E_q(log q - log p), 20,000 draws: within 5 standard errors, a false alarm once in 10^6 rows."""
    model = small(components=3)
    theta, _, x, eps = data(model, rng, samples=20_000)
    m, s = model.encode(theta, x, {})
    z = m[:, None] + np.exp(s / 2)[:, None] * eps
    ratio = (stats.norm.logpdf(z, m[:, None], np.exp(s / 2)[:, None]) - stats.norm.logpdf(z)).sum(-1)
    terms, _ = compiled(model).evaluate(theta, None, x, eps[:, :1].copy(), 1.0, 1.0, False)
    errors = ratio.std(1) / math.sqrt(eps.shape[1])
    assert (np.abs(terms[:, 2] - ratio.mean(1)) < 5 * errors).all()


@pytest.mark.parametrize("categories", [0, 3])
def test_noise(dtype, set_num_threads, categories):
    """Its distribution, a false alarm once in 10^6 runs; a function of seed and step, on any number of threads."""
    vae = compiled(small(categories=categories), 3, dtype)
    numbers = D * max(categories, 1)
    noise = vae.noise(7, 11, 4000)
    assert noise.shape == (4000, 3, numbers) and noise.dtype == dtype
    test = stats.kstest(noise.ravel(), "gumbel_r" if categories else "norm")
    assert test.pvalue > 1e-6
    flat = noise.reshape(-1, numbers)
    correlations = np.corrcoef(flat, rowvar=False)[np.triu_indices(numbers, 1)]
    assert np.abs(correlations).max() < 5.5 / math.sqrt(len(flat))
    for threads in (1, 2, 3):
        set_num_threads(threads)
        np.testing.assert_array_equal(vae.noise(7, 11, 4000), noise)
    others = [vae.noise(8, 11, 4000), vae.noise(7, 12, 4000), vae.noise(2**63 + 5, 2**40, 4000)]
    for a, b in itertools.combinations([noise, *others], 2):
        assert not np.isin(a, b).mean() > 0.02  # rounding to float32 makes some equal
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5.5 / math.sqrt(a.size)


def moves(kind, numbers, clip, theta, gradient, rate, m, v):
    """theta, m, v after a step, by the formulas; the gradient's norm."""
    norm = np.linalg.norm(gradient)
    g = gradient * min(1.0, clip / norm) if clip else gradient
    a, b, epsilon = numbers
    if kind == ADAM:
        m, v = a * m + (1 - a) * g, b * v + (1 - b) * g**2
        return theta - rate * m / (np.sqrt(v) + epsilon), m, v, norm
    if kind == RMSPROP:
        v = a * v + (1 - a) * g**2
        step = rate * g / np.sqrt(v + epsilon)
        m = None if m is None else b * m + step
        return theta - (step if m is None else m), m, v, norm
    m, step = (None, -rate * g) if m is None else (a * m - rate * g,) * 2
    return theta + step, m, v, norm


OPTIMIZERS = {
    "Adam": (ADAM, (0.8, 0.95, 1e-5), 0.0, True, True),
    "Adam, clipped": (ADAM, (0.8, 0.95, 1e-5), 0.3, True, True),
    "RMSprop": (RMSPROP, (0.8, 0.0, 1e-5), 0.0, False, True),
    "RMSprop, momentum, clipped": (RMSPROP, (0.8, 0.6, 1e-5), 0.3, True, True),
    "SGD": (SGD, (0.0, 0.0, 0.0), 0.0, False, False),
    "SGD, momentum, clipped": (SGD, (0.7, 0.0, 0.0), 0.5, True, False),
}
BATCH, STEPS, FIRST, SEED = 4, 5, 3, 99
RATES, BETAS = [0.02, 0.01, 0.03, 0.01, 0.02], [0.2, 0.5, 1.0, 1.0, 1.5]
TEMPERATURES = [1.0, 0.9, 0.8, 0.7, 0.6]


def run(vae, state, fixed, x, rows, steps, kind, numbers, clip, batch=BATCH):
    """`train` for steps ``steps`` of the run; theta, m, v are overwritten."""
    there = (RATES[steps], BETAS[steps], TEMPERATURES[steps])
    return vae.train(*state, fixed, x, rows, batch, SEED, FIRST + steps.start, *there, kind, numbers, clip)


def start(model, rng, moments, dtype):
    """[theta, m, v], fixed, x, rows of 4 whole batches and a shorter one."""
    theta, fixed, x, _ = data(model, rng, 30, dtype=dtype)
    state = [theta, *(np.zeros_like(theta) if there else None for there in moments)]
    return state, fixed, x, rng.integers(0, 30, (STEPS - 1) * BATCH + 3)


def copies(state):
    return [None if part is None else part.copy() for part in state]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training(dtype, name, rng):
    """The formulas upon `evaluate`'s gradients; in one call or five, the same bits; so is a step of given rows."""
    kind, numbers, clip, *moments = OPTIMIZERS[name]
    likelihoods = {ADAM: ("gaussian", "batch"), RMSPROP: ("bernoulli",), SGD: ("categorical",)}
    model = small(*likelihoods[kind], iwae=bool(clip), dreg=bool(clip) and kind != ADAM)
    if name == "RMSprop":
        model = small("gaussian", "shared", categories=3)
    state, fixed, x, rows = start(model, rng, moments, dtype)
    vae, begin = compiled(model, 2, dtype), copies(state)
    terms, done = run(vae, state, fixed, x, rows, slice(0, STEPS), kind, numbers, clip)
    assert done == STEPS and terms.shape == (STEPS, 4) and terms.dtype == np.float64

    theta, m, v = copies(begin)
    for j in range(STEPS):
        batch = rows[j * BATCH : (j + 1) * BATCH]
        eps = vae.noise(SEED, FIRST + j, len(batch))
        there, gradient = vae.evaluate(theta, fixed, x[batch], eps, BETAS[j], TEMPERATURES[j], True)
        moved = moves(kind, numbers, clip, *wide((theta, gradient)), RATES[j], m, v)
        assert_near(terms[j], [*there.mean(0), moved[3]], tolerance(dtype, 30))
        theta, m, v = moved[0].astype(dtype), *moved[1:3]
    for part, expected in zip(state, (theta, m, v), strict=True):
        if part is not None:
            assert_near(part, expected, tolerance(dtype, 30))

    pieces = copies(begin)
    for j in range(STEPS):
        batch = rows[j * BATCH : (j + 1) * BATCH]
        own = (x, batch) if j % 2 else (np.ascontiguousarray(x[batch]), None)
        a, done = run(vae, pieces, fixed, *own, slice(j, j + 1), kind, numbers, clip)
        assert done == 1
        np.testing.assert_array_equal(a[0], terms[j])
    np.testing.assert_equal(pieces, state)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_not_finite(dtype, name, bad, rng):
    """From the step on that meets such a row, nothing changes; before it, all is as ever."""
    kind, numbers, clip, *moments = OPTIMIZERS[name]
    model = small("gaussian", "feature", iwae=kind == SGD)
    vae = compiled(model, 2, dtype)
    for step in (0, 2):
        state, fixed, x, rows = start(model, rng, moments, dtype)
        rows[:] = np.arange(len(rows))
        before = copies(state)
        if step:
            terms, _ = run(vae, before, fixed, x, rows[: step * BATCH], slice(0, step), kind, numbers, clip)
        x[rows[step * BATCH + 1], 2] = bad
        found, done = run(vae, state, fixed, x, rows, slice(0, STEPS), kind, numbers, clip)
        assert done == step
        np.testing.assert_equal(state, before)
        if step:
            np.testing.assert_array_equal(found[:step], terms)


def test_gradient_that_overflows(rng):
    """Hidden values of 1e30 that no output uses: terms are finite, the gradient by what would use them is not."""
    model = small("gaussian", "fixed")
    theta, fixed, x, _ = data(model, rng, dtype=np.float32)
    bias, kernel = np.split(theta[model.encoder.size + 2 * 3 :][: 3 + 3 * FEATURES], [3])
    bias[:], kernel[:], x[0] = 1e30, 0, 1e10
    state = [theta, np.zeros_like(theta), np.zeros_like(theta)]
    before = copies(state)
    vae = compiled(model, 1, np.float32)
    terms, gradient = vae.evaluate(theta, fixed, x, vae.noise(SEED, FIRST, len(x)), 1.0, 1.0, True)
    assert np.isfinite(terms).all() and not np.isfinite(gradient).all()
    _, done = run(vae, state, fixed, x, None, slice(0, 1), ADAM, (0.9, 0.99, 1e-7), 0.5)
    assert done == 0
    np.testing.assert_equal(state, before)


@pytest.mark.parametrize("model", ["dense", "batch", "conv"])
def test_threads_change_no_bit(dtype, set_num_threads, model, rng):
    """Terms, gradients, weights and steps."""
    options = {"hidden": 70, "features": 60, "components": 6, "iwae": True}
    kinds = {"dense": ("bernoulli",), "batch": ("gaussian", "batch")}
    model = images(iwae=True, dreg=True) if model == "conv" else small(*kinds[model], **options, dreg=model == "dense")
    theta, fixed, x, eps = data(model, rng, 333, 3, dtype, scale=0.2)
    vae, results = compiled(model, 3, dtype), []
    rows = rng.integers(0, 333, 300)
    for threads in (1, 2, 3, 2):
        set_num_threads(threads)
        state = [theta.copy(), np.zeros_like(theta), np.zeros_like(theta)]
        terms = run(vae, state, fixed, x, rows, slice(0, 2), ADAM, (0.9, 0.99, 1e-7), 1.0, 200)
        log_w = vae.log_weights(theta, fixed, x, eps)
        results.append((*vae.evaluate(theta, fixed, x, eps, BETA, 1.0, True), log_w, *terms, *state))
    for other in results[1:]:
        np.testing.assert_equal(other, results[0])
    assert free(model) == 0


def test_errors(rng):
    """What would be read or written beyond its end, and rows that are not there; arrays stay."""
    model = small("gaussian", "fixed")
    theta, fixed, x, eps = data(model, rng)
    vae, step = compiled(model), (SEED, 0, [0.1], [1.0], [1.0], SGD, (0.0, 0.0, 0.0), 0.0)
    for bad in (
        (theta[1:], fixed, x, eps),
        (theta, None, x, eps),
        (theta, fixed[1:], x, eps),
        (theta, fixed, x, eps[1:]),
    ):
        with pytest.raises(ValueError):
            vae.evaluate(*bad, 1.0, 1.0, True)
        with pytest.raises(ValueError):
            vae.log_weights(*bad)
    with pytest.raises(TypeError):
        vae.evaluate(theta.astype(np.float32), fixed, x, eps, 1.0, 1.0, True)
    kept = theta.copy()
    for rows, error in (([len(x)], IndexError), ([-1], IndexError), ([], ValueError), ([0, 1, 2], ValueError)):
        with pytest.raises(error):
            vae.train(theta, None, None, fixed, x, np.array(rows, np.int64), 2, *step)
    np.testing.assert_array_equal(theta, kept)
    with pytest.raises(ValueError, match="weights"):
        compiled(small(categories=2, iwae=True))
    with pytest.raises(ValueError, match="batch"):
        compiled(small("gaussian", "batch", **OBJECTIVES["dreg"]))
