"""The bound of stochastic variational inference beside dense matrices, differences, exact regression."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from reference import covariances, gpr, svgp
from reference.covariances import Leaf, Sum

import lvmfast as lvm
from lvmfast import likelihoods
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._svgp_problem import Rows, SvgpProblem

N, M, Q, P, JITTER = 23, 5, 2, 2, 1e-6
KERNEL = Sum(
    [
        Leaf("Matern52", {"variance": 1.5, "lengthscale": np.array([0.75, 1.5])}),
        Leaf("Linear", {"variance": 0.25}, (1,)),
    ]
)
CONDITION = 1e4  # of k(Z, Z), and what the noise magnifies


def covariance(X, Z=None):
    return covariances.matrix(KERNEL, np.asarray(X), None if Z is None else np.asarray(Z))


def data(seed=0, n=N, m=M, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, Q)).astype(dtype)
    f = np.sin(X @ rng.standard_normal((Q, P)))
    return X, f + 0.3 * rng.standard_normal((n, P)).astype(dtype), rng.uniform(-2, 2, (m, Q)), rng


def problem(likelihood, mean="zero", latents=P, dtype=np.float64, m=M, **options):
    X, _, Z, rng = data(m=m, dtype=dtype)
    options = {"whiten": True, "q_diag": False, "natural": True, "learn_inducing": True, "jitter": JITTER, **options}
    mean = Mean(mean, np.asarray(X, float))
    mean = mean.with_coef(rng.standard_normal((mean.size, latents)))
    kernel = covariances.build(KERNEL, lvm.kernels)
    return SvgpProblem(kernel, likelihood, mean, Z, 1.0, options, "cpu", dtype)


def put_q(found, seed=1):
    """Any q, in the problem and as the oracle has it."""
    whitened, diagonal, natural = found.form
    rng, m, latents = np.random.default_rng(seed), len(found.Z), found.n_latents
    mu = 0.5 * rng.standard_normal((latents, m))
    W = np.tril(0.2 * rng.standard_normal((latents, m, m))) + 0.6 * np.eye(m)
    if diagonal:
        W = W * np.eye(m)
    S = W @ W.transpose(0, 2, 1)
    first, second = mu, W
    if natural:
        second = np.linalg.inv(S)
        first = np.einsum("pij,pj->pi", second, mu)
    if diagonal:
        second = np.diagonal(second, axis1=1, axis2=2).copy()
    found.compiled.set_q(first, second)
    return svgp.Variational(covariance, found.Z, mu, S, whitened, JITTER)


def rows(X, Y, own=None, weight=None, scale=1.0):
    return Rows(X, np.ascontiguousarray(Y), own, weight, scale)


def mean_of(found, X):
    return found.mean.basis(X) @ found.mean.coef if found.mean.size else 0.0


FORMS = [(w, d, n) for w in (True, False) for d in (True, False) for n in (True, False)]


@pytest.mark.parametrize(("whiten", "q_diag", "natural"), FORMS)
def test_value_and_gradients(whiten, q_diag, natural):
    """Known noise of every row, weights and a linear mean; gradients of all of theta are differences of the value."""
    X, Y, _, rng = data()
    own, weight = rng.uniform(0.1, 0.5, (N, P)), rng.uniform(0.5, 2.0, N)
    form = {"whiten": whiten, "q_diag": q_diag, "natural": natural}
    found = problem(likelihoods.Gaussian(), "linear", **form)
    q, theta = put_q(found), found.initial()
    answer = found.evaluate(theta, rows(X, Y, own, weight, 3.0))
    expected = svgp.elbo(q, X, svgp.gaussian(Y, own), mean_of(found, X), 3.0 * weight)
    assert_near(answer.bound, expected, tolerance(np.float64, N, CONDITION))
    assert answer.jitter == JITTER
    slope = differences(lambda t: found.evaluate(t, rows(X, Y, own, weight, 3.0)).bound, theta)
    assert_near(answer.gradient, slope, tolerance(np.float64, N, DIFFERENCE))


@pytest.mark.parametrize("name", ["gaussian", "bernoulli", "poisson"])
def test_values_of_likelihoods(name):
    X, f, _, rng = data()
    likelihood, Y, expectation, own = {
        "gaussian": (likelihoods.Gaussian(0.3), f, lambda Y, _: svgp.gaussian(Y, 0.3), None),
        "bernoulli": (likelihoods.Bernoulli(), (f > 0).astype(float), lambda Y, _: svgp.bernoulli(Y), None),
        "poisson": (likelihoods.Poisson(), np.floor(np.exp(f)), svgp.poisson, rng.uniform(0.5, 2.0, (N, P))),
    }[name]
    found = problem(likelihood)
    q = put_q(found)
    value = found.evaluate(found.initial(), rows(X, Y, own)).bound
    # The logit's own quadrature is within 3e-8 of each expectation.
    relative = tolerance(np.float64, N, CONDITION) if name != "bernoulli" else 1e-6
    assert_near(value, svgp.elbo(q, X, expectation(Y, own)), relative)


CASES = {
    "student_t": (likelihoods.StudentT(0.5, n_nodes=40), lambda f: f),
    "beta": (likelihoods.Beta(5.0), lambda f: 1 / (1 + np.exp(-f))),
    "gamma": (likelihoods.Gamma(2.0), np.exp),
    "negative_binomial": (likelihoods.NegativeBinomial(0.5), lambda f: np.floor(np.exp(f))),
    "ordinal": (likelihoods.Ordinal([-0.5, 0.5]), lambda f: np.digitize(f, [-0.5, 0.5])),
    "probit": (likelihoods.Bernoulli("probit"), lambda f: f > 0),
    "softmax": (likelihoods.Softmax(3), lambda f: np.digitize(f[:, 0], [-0.5, 0.5])),
    "robust_max": (likelihoods.RobustMax(3), lambda f: np.digitize(f[:, 0], [-0.5, 0.5])),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_likelihoods(name):
    """By kernel, likelihood and mean; by q: the moments of Adam, which descends, after a step."""
    X, f, _, _ = data()
    likelihood, link = CASES[name]
    classes = likelihood.n_latents > 1
    found = problem(likelihood, "constant", 3 if classes else P, natural=False, learn_inducing=False)
    put_q(found)
    theta, batch = found.initial(), rows(X, link(f).astype(float))
    answer = found.evaluate(theta, batch)
    slope = differences(lambda t: found.evaluate(t, batch).bound, theta)
    assert_near(answer.gradient, slope, tolerance(np.float64, 10 * N, DIFFERENCE))
    first, second = found.compiled.q()

    def by(first, second):
        found.compiled.set_q(first, second)
        return found.evaluate(theta, batch).bound

    by_first = differences(lambda a: by(a, second), first)
    by_second = differences(lambda W: by(first, np.tril(W)), second)
    found.compiled.set_q(first, second)
    found.evaluate(theta, batch, [1e-3, 0.9, 0.999, 1e-7, 1.0])
    m_1, v_1, m_2, v_2 = found.compiled.moments()
    for m, v, expected in ((m_1, v_1, by_first), (m_2, v_2, np.tril(by_second))):
        assert_near(m, -0.1 * expected, tolerance(np.float64, 10 * N, DIFFERENCE))
        assert_near(v, 1e-3 * expected**2, 2 * tolerance(np.float64, 10 * N, DIFFERENCE))


@pytest.mark.parametrize("whiten", [True, False])
def test_natural_step(whiten):
    """By its definition: natural parameters move along the slopes by expectation parameters."""
    X, f, _, _ = data()
    Y = np.floor(np.exp(f))
    found = problem(likelihoods.Poisson(), whiten=whiten)
    q = put_q(found)
    by_mu, by_S = svgp.slopes(q, X, svgp.poisson(Y))
    first, second = svgp.natural_step(q, 0.3, by_mu, by_S)
    answer = found.evaluate(found.initial(), rows(X, Y), [0.3])
    assert answer.rho == 0.3
    for actual, expected in zip(found.compiled.q(), (first, second), strict=True):
        assert_near(actual, expected, 1e-6)  # differences with a step of 1e-4


def test_all_rows_inducing_is_exact_regression():
    """With Z = X one natural step of length 1 with Gaussian noise gives the exact posterior, and its bound is tight."""
    rng = np.random.default_rng(3)
    X, y = rng.uniform(-2, 2, (30, Q)), rng.standard_normal(30)
    kernel, noise = lvm.kernels.RBF(1.3, 0.8), 0.2
    kernel.fix()
    settings = {"likelihood": likelihoods.Gaussian(noise).fix(), "inducing": X, "mean": "zero", "max_iter": 1}
    model = lvm.SVGP(kernel, learn_inducing=False, jitter=1e-10, **settings).fit(X, y)
    leaf = Leaf("RBF", {"variance": 1.3, "lengthscale": 0.8})
    exact = gpr.GP(lambda A, B=None: covariances.matrix(leaf, A, B), X, y[:, None], noise)
    evidence = float(gpr.log_marginal_likelihood(exact))
    assert abs(model.lower_bound_ - evidence) < 1e-6 * abs(evidence)
    new = rng.uniform(-2, 2, (10, Q))
    mean, cov = gpr.predict(exact, new)
    found, found_cov = model.predict(new, return_cov=True)
    assert_near(found, np.asarray(mean, float)[:, 0], 1e-4)
    assert_near(found_cov, np.asarray(cov, float), 1e-4, scale=1.3)


def test_whitened_and_not_are_one_model():
    """One q in both coordinates: bound, predictions."""
    X, Y, _, _ = data()
    kernel = covariances.build(KERNEL, lvm.kernels)
    noisy = lvm.SGPR(kernel, inducing=M, noise_variance=0.2, optimizer=None, random_state=0).fit(X, Y)
    models = [
        lvm.SVGP.from_sgpr(noisy, whiten=whiten, optimizer=optimizer)
        for whiten in (True, False)
        for optimizer in ("natural", "adam")
    ]
    expected = noisy.predict(X, return_std=True)
    for model in models:
        assert_near(model.elbo(X, Y), noisy.lower_bound_, tolerance(np.float64, N, CONDITION))
        assert_near(model.predict(X), expected[0], tolerance(np.float64, N, CONDITION))
        assert_near(model.predict(X, return_std=True)[1], expected[1], tolerance(np.float64, N, CONDITION))
        for actual, wanted in zip(model.inducing_posterior(), noisy.inducing_posterior(), strict=True):
            assert_near(actual, np.broadcast_to(wanted, actual.shape), tolerance(np.float64, N, CONDITION))


@pytest.mark.parametrize(("whiten", "q_diag"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("name", ["gaussian", "student_t", "softmax"])
def test_natural_steps_come_first(name, whiten, q_diag):
    """The answer is that of an evaluation at the new q, on columns that are kept or not."""
    rng = np.random.default_rng(5)
    X = rng.uniform(-2, 2, (40, 2))
    y = rng.integers(0, 3, 40).astype(float) if name == "softmax" else rng.standard_normal((40, 3))
    likelihood = {
        "gaussian": likelihoods.Gaussian(0.3),
        "student_t": CASES["student_t"][0],
        "softmax": CASES["softmax"][0],
    }
    found = problem(likelihood[name], "constant", 3, whiten=whiten, q_diag=q_diag)
    put_q(found)
    theta, batch = found.initial(), rows(X, y)
    answer = found.evaluate(theta, batch, [0.2])
    assert 0 < answer.rho <= 0.2
    again = found.evaluate(theta, batch)
    assert_near(answer.bound, again.bound, tolerance(np.float64, N, CONDITION))
    assert_near(answer.gradient, again.gradient, tolerance(np.float64, N, CONDITION))


def test_smooth_jitter():
    X, Y, _, _ = data()
    for dtype, share in ((np.float64, 1e-8), (np.float32, 2e-5)):
        model = lvm.SVGP(lvm.kernels.RBF(2.0).fix(), inducing=M, max_iter=1, random_state=0)
        assert model.fit(X.astype(dtype), Y.astype(dtype)).jitter_ == pytest.approx(2.0 * share)


def test_batches_are_unbiased():
    """The mean of the estimates over a pass is the bound of all data."""
    X, Y, _, rng = data(n=60)
    weight = rng.uniform(0.5, 2, 60)
    found = problem(likelihoods.StudentT(0.5))
    put_q(found)
    theta = found.initial()
    whole = found.evaluate(theta, rows(X, Y, None, weight))
    order = rng.permutation(60).reshape(6, 10)
    parts = [found.evaluate(theta, rows(X[k], Y[k], None, weight[k], 6.0)) for k in order]
    assert_near(np.mean([part.bound for part in parts]), whole.bound, tolerance(np.float64, 60, 10))
    gradient = np.mean([part.gradient for part in parts], axis=0)
    assert_near(gradient, whole.gradient, tolerance(np.float64, 60, CONDITION))


def test_tiles_and_threads(set_num_threads):
    """Rows in tiles of any size, one thread or two: the same but for rounding."""
    X, Y, _, _ = data(n=3001)
    found = problem(likelihoods.Gaussian(0.3))
    put_q(found)
    theta = found.initial()
    answers = []
    for threads in (1, 2):
        set_num_threads(threads)
        answers.append(found.evaluate(theta, rows(X, Y)))
    pieces = [found.evaluate(theta, rows(X[k], Y[k])) for k in (slice(0, 1000), slice(1000, 1003), slice(1003, None))]
    KL = svgp.divergence(put_q(found))
    for bound in (answers[1].bound, sum(piece.bound + KL for piece in pieces) - KL):
        assert_near(bound, answers[0].bound, tolerance(np.float64, 3001, 10))
    assert_near(answers[1].gradient, answers[0].gradient, tolerance(np.float64, 3001, CONDITION))


def test_single_precision():
    """float32 rows: near float64's answers, and inducing inputs that lie close go on in float64."""
    X, Y, _, _ = data(dtype=np.float32)
    single, double = (problem(likelihoods.Gaussian(0.3), dtype=t) for t in (np.float32, np.float64))
    for found in (single, double):
        found.Z = found.Z.astype(np.float32).astype(float)
        put_q(found)
    answers = [
        found.evaluate(found.initial(), rows(X.astype(t), Y.astype(t)))
        for found, t in ((single, np.float32), (double, np.float64))
    ]
    assert_near(answers[0].bound, answers[1].bound, tolerance(np.float32, N, 10))
    assert_near(answers[0].gradient, answers[1].gradient, tolerance(np.float32, N, 100))
