"""The variational bound of Gaussian process classification: values, gradients, limits, below what quadrature gives."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, spd, tolerance
from reference import gp_classifier as oracle
from scipy.special import expit

import lvmfast as lvm
from lvmfast import _backend
from lvmfast.models._gp_classifier_fit import descend, step_length, sweep
from lvmfast.models._gp_classifier_full import FullProblem
from lvmfast.models._gp_classifier_posterior import expected_sigmoid, inverse_theta
from lvmfast.models._gp_classifier_sparse import SparseProblem

RBF, Matern12, Matern52 = lvm.kernels.RBF, lvm.kernels.Matern12, lvm.kernels.Matern52
KERNELS = {
    "RBF": lambda: RBF(2.5, 0.8),
    "ARD": lambda: RBF(1.5, [0.7, 1.4]),
    "sum": lambda: Matern52(1.5, 1.0) + lvm.kernels.Linear(0.3) + lvm.kernels.White(0.2),
}
MEAN = 0.4


def data(n=14, seed=0, q=2):
    """X (n, q) and kappa: classes that a wave separates, with some on the wrong side."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, q))
    y = rng.random(n) < expit(3 * np.sin(2 * X[:, 0]) + X[:, -1])
    y[:2] = 0, 1
    return X, y - 0.5


def condition(k, X):
    """Of B = I + theta^1/2 K theta^1/2, at most."""
    return 1 + np.trace(k(X)) / 4


def full(name="RBF", n=14, dtype=np.float64, tol=1e-12):
    X, kappa = data(n)
    return FullProblem(KERNELS[name](), X, kappa, MEAN, tol, "cpu", dtype=dtype)


def sparse(name="RBF", n=14, m=5, tol=1e-12, learn_Z=True):
    X, kappa = data(n)
    Z = np.random.default_rng(7).uniform(-2, 2, (m, 2))
    return SparseProblem(KERNELS[name](), X, kappa, MEAN, tol, "cpu", Z=Z, learn_Z=learn_Z)


# Scalars.


@pytest.mark.parametrize("mean", [-30.0, -3.0, -0.2, 0.0, 1.0, 4.0, 25.0])
def test_expected_sigmoid(mean):
    for deviation in (0.0, 1e-3, 0.3, 1.0, 3.9, 4.0, 4.1, 9.0, 50.0, 1e3):
        with mpmath.workdps(20):
            if deviation:
                centre = -mean / deviation
                at = sorted({-14, 14, *(min(14, max(-14, centre + d / deviation)) for d in (-40, -8, -2, 0, 2, 8, 40))})
                at = sorted({*at, *range(-12, 13, 3)})
                f = lambda z, s=deviation: mpmath.npdf(z) / (1 + mpmath.exp(-(mean + s * z)))  # noqa: E731
                exact = float(mpmath.quad(f, at))
            else:
                exact = float(expit(mean))
        found = expected_sigmoid(np.array([mean]), np.array([deviation**2]))[0]
        assert abs(found - exact) < 1e-10, deviation


def test_expected_sigmoid_layout():
    """Variances repeat along the leading axis; the two halves of the line mirror each other."""
    rng = np.random.default_rng(0)
    mean, variance = 3 * rng.standard_normal((5, 4)), rng.uniform(0, 30, 4)
    out = expected_sigmoid(mean, variance)
    for i in range(5):
        np.testing.assert_array_equal(out[i], expected_sigmoid(mean[i], variance))
    assert_near(out + expected_sigmoid(-mean, variance), np.ones((5, 4)), 1e-10)


def test_inverse_theta():
    for c in (0.0, 1e-9, 1e-5, 9e-4, 1.1e-3, 0.1, 1.0, 30.0, 1e4):
        exact = 4.0 if c == 0 else float(2 * c / mpmath.tanh(mpmath.mpf(c) / 2))
        assert_near(inverse_theta(np.array([c]))[0], exact, tolerance(float, 1, 10))


# The bound with all rows.


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_bound(name, dtype):
    """Value and the c that follows, at any c."""
    problem = full(name, dtype=dtype)
    K = problem.kernel(problem.X)
    for seed in range(3):
        c = np.random.default_rng(seed).uniform(1e-4, 4, len(K))
        value, _, following = problem._evaluate(problem.initial(), c, False)
        allowed = tolerance(dtype, len(K), condition(problem.kernel, problem.X))
        assert_near(value, oracle.bound(K, MEAN, problem.kappa, c), allowed, scale=len(K))
        assert_near(following, oracle.next_c(K, MEAN, problem.kappa, c), allowed)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 129, 300])
def test_sizes(n, dtype):
    """Triangles are inverted in blocks of 64; value, what follows and the gradient, which factorises again."""
    X, kappa = data(max(n, 2))
    problem = FullProblem(Matern12(2.5, 0.8), X[:n], kappa[:n], MEAN, 1e-12, "cpu", dtype=dtype)
    K, c = problem.kernel(problem.X), np.random.default_rng(n).uniform(0.1, 3, n)
    value, _, following = problem._evaluate(problem.initial(), c, False)
    allowed = tolerance(dtype, n, condition(problem.kernel, problem.X))
    allowed = max(allowed, tolerance(float, n, np.linalg.cond(K)))  # the oracle's own
    assert_near(value, oracle.bound(K, MEAN, problem.kappa, c), allowed, scale=n)
    assert_near(following, oracle.next_c(K, MEAN, problem.kappa, c), allowed)
    _, d_vector, again = problem._evaluate(problem.initial(), c, True)
    np.testing.assert_array_equal(again, following)
    noise = inverse_theta(c)
    alpha = np.linalg.solve(K + np.diag(noise), problem.kappa * noise - MEAN)
    d_variance = 0.5 * (alpha @ K @ alpha - np.trace(np.linalg.solve(K + np.diag(noise), K))) / 2.5
    assert_near(d_vector[0], d_variance, allowed, scale=n)


@pytest.mark.parametrize("name", KERNELS)
def test_gradient_at_c(name):
    """By every parameter, with c held."""
    problem = full(name)
    c = np.random.default_rng(1).uniform(0.1, 3, len(problem.X))
    at = problem.initial()
    _, d_vector, _ = problem._evaluate(at, c, True)
    gradient = problem.parameters.pull(at, d_vector)
    expected = differences(lambda theta: problem._evaluate(theta, c, False)[0], at)
    assert_near(gradient, expected, tolerance(float, len(c), DIFFERENCE))


@pytest.mark.parametrize("make", [full, sparse], ids=["full", "sparse"])
@pytest.mark.parametrize("name", ["RBF", "ARD"])
def test_gradient_of_the_best(make, name):
    """The best bound as a function of theta (and of the inducing inputs): q follows, and does not count."""
    problem = make(name)
    at = problem.initial()
    _, gradient = problem.best(at)
    expected = differences(lambda theta: problem.best(theta)[0], at)
    assert_near(gradient, expected, tolerance(float, 100, DIFFERENCE))


@pytest.mark.parametrize("make", [full, sparse], ids=["full", "sparse"])
def test_updates_raise_the_bound(make):
    """To the value that the accelerated ones reach, where c^2 = E f^2."""
    problem, twin = make("RBF"), make("RBF")
    outcome = sweep(problem, 300, 1e-10, None, lambda *_: False)
    gains = np.diff(outcome.bounds)
    assert outcome.converged and (gains >= -tolerance(float, 100) * 10).all()
    assert_near(twin.best(twin.initial())[0], outcome.bounds[-1], 1e-9)
    if make is full:
        assert_near(oracle.next_c(problem.kernel(problem.X), MEAN, problem.kappa, problem.c), problem.c, 1e-4)


def test_learning_raises_the_bound():
    X, kappa = data(40)
    problem = FullProblem(RBF(1.0, 3.0), X, kappa, 0.0, 1e-10, "cpu")
    first = problem.best(problem.initial())[0]
    outcome = descend(problem, 50, 1e-6, None, lambda *_: False)
    assert outcome.converged and (np.diff(outcome.bounds) > -1e-9).all() and outcome.bounds[0] >= first
    assert np.abs(problem.best(outcome.theta)[1]).max() < 1e-3


@pytest.mark.parametrize("n", [1, 2, 3])
def test_below_the_evidence(n):
    """Under log p(y), and not far: Jaakkola's bound loses little for n points."""
    rng = np.random.default_rng(n)
    X, kappa = rng.uniform(-1, 1, (n, 1)), np.array([0.5, -0.5, 0.5])[:n]
    for variance in (0.1, 1.0, 9.0):
        problem = FullProblem(RBF(variance, 1.0), X, kappa, MEAN, 1e-14, "cpu")
        value = problem.best(problem.initial())[0]
        exact = oracle.log_evidence(problem.kernel(X), MEAN, kappa)
        assert exact - 0.2 * n * variance / (1 + variance) < value < exact


@pytest.mark.parametrize("variance", [0.01, 0.25])
def test_small_variances(variance):
    """Where f hardly moves from 0, bound, moments and probabilities are exact to second order in the variance."""
    X, kappa = np.array([[-0.5], [0.0], [0.8]]), np.array([0.5, 0.5, -0.5])
    y = (kappa > 0).astype(int)
    model = lvm.PolyaGammaGPClassifier(RBF(variance, 1.0), optimize=False).fit(X, y)
    K = model.kernel_(X)
    assert abs(model.lower_bound_ - oracle.log_evidence(K, 0.0, kappa, 20)) < 0.2 * variance**2
    mean, second = oracle.posterior_moments(K, 0.0, kappa, 20)
    ours = model.predict_f(X)
    assert_near(ours[0], mean, 0.3 * variance**2, scale=1.0)
    assert_near(ours[1], np.diag(second) - mean**2, 0.3 * variance**2, scale=1.0)
    new = np.array([[0.3], [2.0]])
    for x, p in zip(new, model.predict_proba(new)[:, 1], strict=True):
        cross = model.kernel_(X, x[None])[:, 0]
        assert abs(p - oracle.probability(K, cross, variance, 0.0, kappa, 12)) < 0.1 * variance**2


def test_posterior():
    """Predictions of a fit are those of its c."""
    X, kappa = data()
    model = lvm.PolyaGammaGPClassifier(KERNELS["sum"](), mean=MEAN, optimize=False).fit(X, kappa > 0)
    k, new = model.kernel_, np.random.default_rng(5).uniform(-2, 2, (6, 2))
    m, S = oracle.posterior(k(X), MEAN, kappa, model._posterior.c)
    A = np.linalg.solve(k(X), k(X, new)).T
    covariance = k(new) - A @ k(X, new) + A @ S @ A.T
    allowed = tolerance(float, 14, 100 * np.linalg.cond(k(X)))
    mean, variance = model.predict_f(new)
    assert_near(mean, MEAN + A @ (m - MEAN), allowed)
    assert_near(variance, np.diag(covariance), allowed)
    assert_near(model.decision_function(new, return_std=True)[1], np.sqrt(np.diag(covariance)), allowed)
    assert_near(model._posterior.joint(new)[1], covariance, allowed)
    probability = model.predict_proba(new)
    assert_near(probability[:, 1], expected_sigmoid(mean, variance), tolerance(float, 1))
    assert_near(probability.sum(axis=1), np.ones(6), tolerance(float, 1))
    assert_near(model.predict_log_proba(new), np.log(probability), tolerance(float, 1))


def test_draws_of_f():
    """Joint draws have the posterior's moments: 4 standard errors of 10,000 draws, five numbers."""
    X, kappa = data()
    for options in ({}, {"inducing": 6}):
        model = lvm.PolyaGammaGPClassifier(RBF(2.0, 1.0), optimize=False, random_state=0, **options).fit(X, kappa > 0)
        new = np.array([[0.0, 0.0], [1.0, -1.0]])
        draws = model.sample_f(new, 10_000, random_state=3)
        mean, covariance = model._posterior.joint(new)
        assert draws.shape == (10_000, 2)
        assert (np.abs(draws.mean(axis=0) - mean) < 4 * np.sqrt(np.diag(covariance) / 10_000)).all()
        assert_near(np.cov(draws.T), covariance, 4 * np.sqrt(2 / 10_000))


# Sparse.


def unwhitened(problem, theta):
    """m_u and S_u of q, and the matrices that the oracle takes."""
    k, Z, X = problem.kernel_at(theta), problem.inducing_at(theta), problem.X
    L, S = np.linalg.cholesky(k(Z)), np.linalg.inv(problem.P)
    return (k(Z), k(Z, X), k.diag(X), MEAN), MEAN + L @ (S @ problem.h), L @ S @ L.T


@pytest.mark.parametrize("name", KERNELS)
def test_sparse_bound(name):
    """At any q(u)."""
    problem = sparse(name)
    rng = np.random.default_rng(2)
    problem.P, problem.h = spd(rng, 5), rng.standard_normal(5)
    at = problem.initial()
    matrices, m_u, S_u = unwhitened(problem, at)
    expected = oracle.sparse_bound(*matrices, problem.kappa, m_u, S_u)
    assert_near(problem.sweep(at), expected, tolerance(float, 14, 1e4), scale=14)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_natural_steps(scale):
    """Length 1 leads to the best q(u) for c, whatever q(u) was; rho, that part of the way in natural parameters."""
    problem = sparse("ARD")
    problem.total = 14 * scale
    rng = np.random.default_rng(2)
    problem.P, problem.h = spd(rng, 5), rng.standard_normal(5)
    at = problem.initial()
    matrices, m_u, S_u = unwhitened(problem, at)
    first, variance = oracle.sparse_moments(*matrices, m_u, S_u)
    best = oracle.sparse_best(*matrices[:2], MEAN, problem.kappa, np.sqrt(first**2 + variance), scale)
    before = problem.P, problem.h
    value, _ = problem.step(at, problem.X, problem.kappa, 1.0, False)
    _, m_new, S_new = unwhitened(problem, at)
    assert_near(m_new, best[0], tolerance(float, 14, 1e4))
    assert_near(S_new, best[1], tolerance(float, 14, 1e4))
    assert_near(
        value, oracle.sparse_bound(*matrices, problem.kappa, *best, scale=scale), tolerance(float, 14, 1e4), scale=14
    )
    whole = problem.P, problem.h
    problem.P, problem.h = before
    problem.step(at, problem.X, problem.kappa, 0.3, False)
    for now, start, end in zip((problem.P, problem.h), before, whole, strict=True):
        assert_near(now, 0.7 * start + 0.3 * end, tolerance(float, 14))


@pytest.mark.parametrize("name", KERNELS)
def test_gradient_of_a_step(name):
    """Of a batch's estimate by the kernel's parameters and the inducing inputs, with q(v) held."""
    problem = sparse(name)
    rng = np.random.default_rng(3)
    problem.P, problem.h, problem.total = spd(rng, 5, condition=10.0), rng.standard_normal(5), 50
    rows = slice(3, 9)
    at = problem.initial()
    _, gradient = problem.step(at, problem.X[rows], problem.kappa[rows], 0.2, True)

    def value(theta):
        twin = sparse(name)
        twin.P, twin.h, twin.total = problem.P, problem.h, 50
        return twin.step(theta, problem.X[rows], problem.kappa[rows], 1e-30, False)[0]

    assert_near(gradient, differences(value, at), tolerance(float, 50, DIFFERENCE))


def test_inducing_inputs_at_all_rows():
    """Z = X: the full model, bound, moments and probabilities."""
    X, kappa = data(25)
    options = {"mean": MEAN, "optimize": False, "tol": 1e-10, "max_iter": 500}
    whole = lvm.PolyaGammaGPClassifier(Matern12(2.0, 1.0), **options).fit(X, kappa > 0)
    ours = lvm.PolyaGammaGPClassifier(Matern12(2.0, 1.0), inducing=X, **options).fit(X, kappa > 0)
    assert ours.jitter_ == 0
    assert_near(ours.lower_bound_, whole.lower_bound_, 1e-9)
    new = np.random.default_rng(5).uniform(-2, 2, (6, 2))
    for a, b in zip(ours.predict_f(new), whole.predict_f(new), strict=True):
        assert_near(a, b, 1e-5)
    assert_near(ours.predict_proba(new), whole.predict_proba(new), 1e-5)


def test_fewer_inducing_inputs_are_worse():
    X, kappa = data(60)
    bounds = [
        lvm.PolyaGammaGPClassifier(RBF(2.0, 1.0), inducing=m, optimize=False, random_state=0)
        .fit(X, kappa > 0)
        .lower_bound_
        for m in (1, 4, 16, None)
    ]
    assert (np.diff(bounds) > -1e-6).all()


# Minibatches.


def test_a_batch_of_all_rows():
    """With steps of length 1 and nothing to learn it is coordinate ascent."""
    X, kappa = data(30)
    Z = X[:7]
    options = {"inducing": Z, "optimize": False, "mean": MEAN}
    ours = lvm.PolyaGammaGPClassifier(RBF(), batch_size=30, step_size=1.0, max_iter=20, **options).fit(X, kappa > 0)
    whole = lvm.PolyaGammaGPClassifier(RBF(), max_iter=21, tol=0.0, **options).fit(X, kappa > 0)
    count = len(whole.lower_bounds_) - 1  # until it changes no more
    assert count > 5
    assert_near(ours.lower_bounds_[:count], whole.lower_bounds_[1:], tolerance(float, 30, 100))
    assert (np.diff(ours.lower_bounds_) > -1e-10).all()


def test_batches_find_the_optimum():
    """Near the bound and the probabilities of all rows."""
    X, kappa = data(400, q=1)
    options = {"inducing": 12, "optimize": False, "random_state": 0}
    whole = lvm.PolyaGammaGPClassifier(RBF(2.0, 0.8), **options).fit(X, kappa > 0)
    ours = lvm.PolyaGammaGPClassifier(RBF(2.0, 0.8), batch_size=50, max_iter=40, **options).fit(X, kappa > 0)
    new = np.linspace(-2, 2, 9)[:, None]
    assert np.abs(ours.predict_proba(new) - whole.predict_proba(new)).max() < 0.02
    assert abs(ours.lower_bound_ - whole.lower_bound_) < 0.02 * abs(whole.lower_bound_)


def test_steps_of_adam_learn():
    """Parameters and inducing inputs move, to a better bound than where they started."""
    X, kappa = data(300)
    start = RBF(1.0, 3.0)
    options = {"inducing": 10, "random_state": 0}
    kept = lvm.PolyaGammaGPClassifier(start, optimize=False, **options).fit(X, kappa > 0)
    ours = lvm.PolyaGammaGPClassifier(start, batch_size=50, max_iter=60, learning_rate=0.05, **options)
    ours.fit(X, kappa > 0)
    again = lvm.PolyaGammaGPClassifier(ours.kernel_, inducing=ours.inducing_points_, optimize=False).fit(X, kappa > 0)
    assert again.lower_bound_ > kept.lower_bound_ + 5
    assert not np.allclose(ours.inducing_points_, kept.inducing_points_)


def test_step_lengths():
    """Sums to infinity, squares do not; a constant stays."""
    lengths = [step_length(t, None) for t in (0, 1, 9, 99)]
    assert lengths == [1.0, 2**-0.6, 10**-0.6, 100**-0.6] and step_length(77, 0.1) == 0.1


def test_one_call_per_evaluation_is_remembered():
    """What was evaluated last is not evaluated again, and other numbers are."""
    problem = full()
    at, c = problem.initial(), problem.c
    first = problem._evaluate(at, c, False)
    again = problem._evaluate(at, c, True)
    other = problem._evaluate(at, c + 1e-9, False)
    back = problem._evaluate(at, c, False)
    assert first[0] == again[0] == back[0] != other[0]
    np.testing.assert_array_equal(first[2], back[2])
    moved = problem._evaluate(at + 0.1, c, False)
    assert moved[0] != first[0]
    assert _backend.cpu.GpVariational64 is type(problem._compiled)
