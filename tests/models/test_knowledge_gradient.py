"""The knowledge gradient: against refits with each simulated outcome, finite differences, limits that it must have."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from reference import covariances, gpr
from reference import knowledge_gradient as oracle
from reference.covariances import Leaf, Product, Sum
from scipy import stats

import lvmfast as lvm
from lvmfast.bayesopt import DiscreteKnowledgeGradient, KnowledgeGradient
from lvmfast.bayesopt._rows import minimize_rows

NOISE = 0.05
BOX = [(-1.0, 2.0)]
SQUARE = [(-1.0, 2.0), (0.0, 1.5)]
NODES = {
    "matern": Leaf("Matern52", {"variance": 1.5, "lengthscale": 0.7}),
    "cusp": Leaf("Matern12", {"variance": 1.5, "lengthscale": 0.7}),
    "sum": Sum(
        (
            Leaf("RBF", {"variance": 1.0, "lengthscale": np.array([0.6, 1.1])}),
            Leaf("Linear", {"variance": 0.3}),
            Leaf("White", {"variance": 0.1}),
        )
    ),
    "product": Product(
        (
            Leaf("RBF", {"variance": 1.2, "lengthscale": 0.9}),
            Leaf("Periodic", {"variance": 1.0, "lengthscale": 1.5, "period": 2.0}),
        )
    ),
}


def walk(x):
    """The reference's f."""
    return np.sin(3 * x) + x**2 - 0.7 * x


def data(d=1, n=10, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 2, (n, d))
    return X, walk(X).sum(axis=1) + 0.2 * rng.standard_normal(n)


def fitted(node, X, y, mean="constant", noise=NOISE):
    """Our model, and the oracle's, with the same parameters."""
    model = lvm.GPR(covariances.build(node, lvm.kernels), mean=mean, noise_variance=noise, optimizer=None, jitter=0.0)
    return model.fit(X, y), gpr.GP(functools.partial(covariances.matrix, node), X, y, noise, mean)


@pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
def test_is_that_of_refits(mean):
    X, y = data()
    model, gp = fitted(NODES["matern"], X, y, mean)
    kg = KnowledgeGradient(model, BOX, n_fantasies=8, tol=1e-8)
    grid = np.linspace(*BOX[0], 121)[:, None]
    assert_near(kg.predictive_minimum, oracle.smallest_mean(gpr.fixed(gp), BOX, grid)[0], 1e-9)
    candidates = np.array([[0.1], [-0.8], [1.9]])
    details = kg.fantasies(candidates)
    for c, candidate in enumerate(candidates):
        expected, minima = oracle.knowledge_gradient(gp, candidate[None], kg.base_samples, kg.weights, NOISE, BOX, grid)
        simulated = oracle.outcomes(gp, candidate[None], kg.base_samples, NOISE)
        assert_near(details.outcomes[c], simulated[:, 0], 1e-9)
        assert_near(details.minima[c], minima, 1e-8)
        assert_near(details.values[c], expected, 1e-7)
    np.testing.assert_allclose(kg(candidates), details.values, rtol=1e-9)


@pytest.mark.parametrize("name", ["sum", "product"])
def test_points_observed_together(name):
    X, y = data(2, 12)
    model, gp = fitted(NODES[name], X, y)
    kg = KnowledgeGradient(model, SQUARE, q=2, n_fantasies=6, tol=1e-8, n_starts=2)
    side = [np.linspace(*bound, 25) for bound in SQUARE]
    grid = np.stack(np.meshgrid(*side), axis=-1).reshape(-1, 2)
    candidate = np.array([[0.2, 0.4], [1.3, 1.1]])
    details = kg.fantasies(candidate[None])
    expected, minima = oracle.knowledge_gradient(gp, candidate, kg.base_samples, kg.weights, NOISE, SQUARE, grid)
    assert details.outcomes.shape == (1, 6, 2)
    assert_near(details.minima[0], minima, 1e-7)
    assert_near(details.values[0], expected, 1e-6)
    inside = (details.minimizers >= np.array(SQUARE)[:, 0]) & (details.minimizers <= np.array(SQUARE)[:, 1])
    assert inside.all()


@pytest.mark.parametrize("mean", ["constant", "linear"])
@pytest.mark.parametrize("q", [1, 3])
@pytest.mark.parametrize("name", list(NODES))
def test_gradient(name, q, mean):
    X, y = data(2, 12, seed=3)
    model, _ = fitted(NODES[name], X, y, mean)
    kg = KnowledgeGradient(model, SQUARE, q=q, n_fantasies=16, tol=1e-9, max_evaluations=200)
    rng = np.random.default_rng(5)
    candidates = rng.uniform(*np.array(SQUARE).T, size=(3, q, 2))
    candidates = candidates[:, 0] if q == 1 else candidates
    value, gradient = kg.value_and_gradient(candidates)
    np.testing.assert_array_equal(value, kg(candidates))
    assert gradient.shape == candidates.shape
    for c in range(3):
        expected = differences(lambda x: kg(x[None])[0], candidates[c])
        assert_near(gradient[c], expected, tolerance(np.float64, 20, DIFFERENCE), scale=1.0)


@pytest.mark.parametrize("q", [1, 2])
def test_one_shot(q):
    """The knowledge gradient at the minimizers, less elsewhere, with gradients by both."""
    X, y = data(2, 12, seed=1)
    model, _ = fitted(NODES["matern"], X, y, "linear")
    kg = KnowledgeGradient(model, SQUARE, q=q, n_fantasies=6, tol=1e-9)
    rng = np.random.default_rng(2)
    candidates = rng.uniform(*np.array(SQUARE).T, size=(4, q, 2))
    candidates = candidates[:, 0] if q == 1 else candidates
    best = kg.fantasies(candidates)
    np.testing.assert_allclose(kg.one_shot(candidates, best.minimizers)[0], best.values, rtol=1e-10, atol=1e-12)
    elsewhere = rng.uniform(*np.array(SQUARE).T, size=(4, 6, 2))
    value, d_candidates, d_elsewhere = kg.one_shot(candidates, elsewhere)
    assert (value < best.values).all()
    allowed = tolerance(np.float64, 20, DIFFERENCE)
    for c in range(4):
        own = elsewhere[c : c + 1]
        assert_near(
            d_candidates[c], differences(lambda x, own=own: kg.one_shot(x[None], own)[0][0], candidates[c]), allowed, 1
        )
        at = candidates[c : c + 1]
        assert_near(
            d_elsewhere[c], differences(lambda x, at=at: kg.one_shot(at, x[None])[0][0], elsewhere[c]), allowed, 1
        )


class TestLimits:
    def test_no_value_is_negative(self):
        for sampling, q in [("strata", 1), ("gauss-hermite", 1), ("sobol", 1), ("sobol", 2)]:
            model = fitted(NODES["matern"], *data(2, 12))[0]
            kg = KnowledgeGradient(model, SQUARE, q=q, sampling=sampling, n_fantasies=9, n_points=8)
            X = np.random.default_rng(1).uniform(-1, 1.5, (60, q, 2))
            assert (kg(X[:, 0] if q == 1 else X) >= -1e-13).all()

    @pytest.mark.parametrize("q", [1, 2])
    def test_screening_finds_the_best(self, q):
        model = fitted(NODES["sum"], *data(2, 12))[0]
        kg = KnowledgeGradient(model, SQUARE, q=q)
        X = np.random.default_rng(1).uniform(*np.array(SQUARE).T, size=(200, q, 2))
        X = X[:, 0] if q == 1 else X
        value, screened = kg(X), kg.screen(X)
        assert value[np.argsort(-screened)[:8]].max() >= 0.95 * value.max()
        few = KnowledgeGradient(model, SQUARE, q=q, n_fantasies=8 * q, max_evaluations=10)
        np.testing.assert_allclose(few.screen(X), few(X), rtol=1e-12, atol=1e-15)

    def test_rounding_is_no_loss(self):
        """The mean of a constant kernel is level: every minimum is as good as another, and nothing can be gained."""
        constant = Leaf("Constant", {"variance": 0.7})
        X, y = data(2, 12)
        candidates = np.random.default_rng(1).uniform(-1, 1.5, (20, 2))
        for shift in range(10):
            kg = KnowledgeGradient(fitted(constant, X, y + 1e3 * shift, noise=0.01)[0], SQUARE)
            for value in (kg(candidates), kg.value_and_gradient(candidates)[0], kg.fantasies(candidates).values):
                assert (value >= 0).all()
                assert value.max() < 1e-9

    def test_samplings_agree(self):
        """Averages of the exact value; independent draws within three standard errors of it."""
        model = fitted(NODES["matern"], *data())[0]
        candidates = np.linspace(-0.9, 1.9, 5)[:, None]
        exact = KnowledgeGradient(model, BOX, n_fantasies=4096)(candidates)
        for sampling, n, error in [("strata", 64, 2e-3), ("gauss-hermite", 200, 5e-2), ("sobol", 1024, 3e-2)]:
            found = KnowledgeGradient(model, BOX, n_fantasies=n, sampling=sampling)(candidates)
            np.testing.assert_allclose(found, exact, atol=error * exact.max())
            if sampling == "strata":
                assert (found <= exact + 1e-9).all()
        many = KnowledgeGradient(model, BOX, n_fantasies=800, sampling="gauss-hermite")
        assert abs(many.weights @ many.base_samples[:, 0] ** 2 - 1.0) < 1e-12
        np.testing.assert_allclose(many(candidates), exact, atol=2e-2 * exact.max())
        kg = KnowledgeGradient(model, BOX, n_fantasies=2000, sampling="normal")
        details = kg.fantasies(candidates)
        standard_error = details.minima.std(axis=1) / np.sqrt(2000)
        assert (np.abs(details.values - exact) < 3 * standard_error).all()
        dense = DiscreteKnowledgeGradient(model, BOX, points=np.linspace(*BOX[0], 3001)[:, None])(candidates)
        np.testing.assert_allclose(dense, exact, atol=1e-6)
        assert (np.abs(details.values - dense) < 3 * standard_error).all()

    def test_a_constant_and_a_scale_of_y(self):
        X, y = data()
        plain = KnowledgeGradient(fitted(NODES["matern"], X, y)[0], BOX)
        candidates = np.linspace(-1, 2, 40)[:, None]
        value = plain(candidates)
        moved = KnowledgeGradient(fitted(NODES["matern"], X, y + 50.0)[0], BOX)
        np.testing.assert_allclose(moved(candidates), value, atol=1e-9)
        assert moved(candidates).argmax() == value.argmax()
        node = Leaf("Matern52", {"variance": 1.5 * 100.0, "lengthscale": 0.7})
        larger = KnowledgeGradient(fitted(node, X, 10.0 * y, noise=100.0 * NOISE)[0], BOX)
        np.testing.assert_allclose(larger(candidates), 10.0 * value, rtol=1e-7, atol=1e-9)

    def test_nothing_to_learn(self):
        """Of noise without end, or of points that are known; neither values nor gradients are lost to rounding."""
        X, y = data()
        model = fitted(NODES["matern"], X, y)[0]
        deaf = KnowledgeGradient(model, BOX, noise_variance=1e12)
        assert deaf(np.linspace(-1, 2, 9)[:, None]).max() < 1e-6
        sure = fitted(NODES["matern"], X, y, noise=1e-14)[0]
        value, gradient = KnowledgeGradient(sure, BOX).value_and_gradient(X)
        assert np.abs(value).max() < 1e-6
        assert np.isfinite(gradient).all()
        twice = KnowledgeGradient(sure, BOX, q=2)
        value, gradient = twice.value_and_gradient(np.stack([X + 0.05, X + 0.05], axis=1))
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
        one = KnowledgeGradient(sure, BOX, sampling=twice.base_samples[:, :1])(X + 0.05)
        np.testing.assert_allclose(value, one, atol=1e-6)

    def test_a_large_constant(self):
        """Which minimizers a search takes from others is not decided by the size of y."""
        X, y = data(2, 10)
        candidates = np.random.default_rng(1).uniform(-1, 2, (100, 2))
        plain, far = (
            KnowledgeGradient(fitted(NODES["matern"], X, y + c)[0], [(-1, 2)] * 2, n_points=4)(candidates)
            for c in (0.0, 1e6)
        )
        np.testing.assert_allclose(far, plain, atol=1e-8)  # rounding of 1e6, and what it is multiplied by

    @pytest.mark.parametrize("q", [1, 2])
    def test_rounding_is_not_learned(self, q):
        """At inputs of noise-free data the variance left is of the order of 1e-16, and no basis of a gradient."""
        X, y = data(2, 10)
        model = fitted(Leaf("RBF", {"variance": 1.0, "lengthscale": 0.8}), X, y, noise=1e-20)[0]
        known = X if q == 1 else np.stack([X, X[::-1]], axis=1)
        value, gradient = KnowledgeGradient(model, [(-1, 2)] * 2, q=q, noise_variance=0.0).value_and_gradient(known)
        assert value.max() < 1e-14
        assert (gradient == 0).all()

    def test_all_y_equal(self):
        X, _ = data()
        kg = KnowledgeGradient(fitted(NODES["matern"], X, np.full(10, 3.0))[0], BOX)
        assert abs(kg.predictive_minimum - 3.0) < 1e-9
        assert (kg(np.linspace(-1, 2, 7)[:, None]) > 0).all()

    def test_the_minima_are_those_of_a_dense_grid(self):
        """With few points to begin at: the searches and what they tell one another find them all the same."""
        X, y = data(2, 15, seed=7)
        model = fitted(NODES["matern"], X, y)[0]
        kg = KnowledgeGradient(model, SQUARE, n_points=32, n_fantasies=16)
        candidates = np.random.default_rng(0).uniform(*np.array(SQUARE).T, size=(5, 2))
        details = kg.fantasies(candidates)
        side = [np.linspace(*bound, 80) for bound in SQUARE]
        grid = np.stack(np.meshgrid(*side), axis=-1).reshape(-1, 2)
        for c in range(5):
            means = model.fantasize(candidates[c : c + 1], details.outcomes[c][:, None]).predict(grid)
            assert (details.minima[c] <= means.min(axis=1) + 1e-9).all()


def test_threads_do_not_matter():
    model = fitted(NODES["sum"], *data(2, 12))[0]
    kg = KnowledgeGradient(model, SQUARE, q=2, n_fantasies=8)
    candidates = np.random.default_rng(0).uniform(*np.array(SQUARE).T, size=(21, 2, 2))
    before, found = lvm.get_num_threads(), []
    for threads in (1, 2, 3):
        lvm.set_num_threads(threads)
        found.append(kg.value_and_gradient(candidates))
    lvm.set_num_threads(before)
    for value, gradient in found[1:]:
        np.testing.assert_array_equal(value, found[0][0])
        np.testing.assert_array_equal(gradient, found[0][1])
    alone = kg.value_and_gradient(candidates[7:8])
    np.testing.assert_array_equal(alone[0], found[0][0][7:8])


class TestErrors:
    def test_arguments(self):
        X, y = data()
        model = fitted(NODES["matern"], X, y)[0]
        with pytest.raises(TypeError, match="model must be a fitted"):
            KnowledgeGradient(X, BOX)
        with pytest.raises(ValueError, match="low < high"):
            KnowledgeGradient(model, [(2.0, -1.0)])
        with pytest.raises(ValueError, match="finite"):
            KnowledgeGradient(model, [(-1.0, np.inf)])
        with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
            KnowledgeGradient(model, SQUARE)
        with pytest.raises(ValueError, match="for q > 1"):
            KnowledgeGradient(model, BOX, q=2, sampling="strata")
        with pytest.raises(ValueError, match="sampling must hold finite"):
            KnowledgeGradient(model, BOX, sampling=np.zeros((3, 2)))
        with pytest.raises(ValueError, match="n_fantasies"):
            KnowledgeGradient(model, BOX, n_fantasies=0)
        two = lvm.GPR().fit(X, np.c_[y, y])
        with pytest.raises(ValueError, match="one output"):
            KnowledgeGradient(two, BOX)
        with pytest.raises(ValueError, match="callable mean"):
            KnowledgeGradient(lvm.GPR(mean=lambda X: X[:, 0]).fit(X, y), BOX)
        with pytest.raises(ValueError, match="noise_variance must be given"):
            KnowledgeGradient(lvm.GPR(noise_variance=np.full(10, 0.1)).fit(X, y), BOX)

    def test_candidates(self):
        kg = KnowledgeGradient(fitted(NODES["matern"], *data())[0], BOX)
        with pytest.raises(ValueError, match=r"X must have shape \(m, 1\)"):
            kg(np.zeros((3, 2)))
        with pytest.raises(ValueError, match="finite"):
            kg([[np.nan]])
        with pytest.raises(ValueError, match="X_fantasies must have shape"):
            kg.one_shot([[0.0]], np.zeros((1, 3, 1)))


class TestRows:
    """Searches side by side within a box."""

    @staticmethod
    def valley(x, rows):
        """Rosenbrock's, shifted for each row."""
        a, b = x[:, 0] - 0.1 * rows, x[:, 1]
        value = (1 - a) ** 2 + 100 * (b - a**2) ** 2
        return value, np.c_[-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)]

    def test_minima_inside_and_on_the_box(self):
        from scipy import optimize

        starts = np.random.default_rng(0).uniform(-1, 1, (12, 2))
        for upper in (3.0, 0.8):
            found = minimize_rows(self.valley, starts, [-1.5, -1.0], [upper, 3.0], tol=1e-8, max_evaluations=500)
            assert found.converged.all()
            for row in range(12):
                best = optimize.minimize(
                    lambda x, row=row: self.valley(x[None], np.array([row]))[0][0],
                    found.x[row],
                    bounds=[(-1.5, upper), (-1.0, 3.0)],
                    options={"ftol": 1e-15, "gtol": 1e-10},
                )
                assert found.values[row] <= best.fun + 1e-9
            assert (found.x <= [upper, 3.0]).all()

    def test_a_quadratic_with_many_at_the_bounds(self):
        """min 1/2 x'Ax - b'x on [0, 1]^d: the Karush-Kuhn-Tucker conditions hold."""
        rng = np.random.default_rng(1)
        A = rng.normal(size=(8, 8))
        A = A @ A.T + np.eye(8)
        b = 6 * rng.normal(size=(5, 8))

        def fun(x, rows):
            gradient = x @ A - b[rows]
            return 0.5 * ((x @ A) * x).sum(axis=1) - (b[rows] * x).sum(axis=1), gradient

        found = minimize_rows(fun, rng.uniform(size=(5, 8)), np.zeros(8), np.ones(8), tol=1e-9, max_evaluations=500)
        gradient = fun(found.x, np.arange(5))[1]
        assert found.converged.all()
        inside = (found.x > 0) & (found.x < 1)
        assert np.abs(gradient[inside]).max() < 1e-6
        assert (gradient[found.x == 0] >= 0).all()
        assert (gradient[found.x == 1] <= 0).all()
        assert (~inside).sum() > 10

    def test_what_is_not_finite(self):
        def fun(x, rows):
            value = np.where(rows == 0, np.nan, (x**2).sum(axis=1))
            value = np.where((rows == 1) & (x[:, 0] < 0.5), np.inf, value)
            return value, 2 * x

        found = minimize_rows(fun, [[0.9], [0.9], [0.9]], [-1.0], [1.0])
        assert not found.converged[0]
        assert 0.5 <= found.x[1, 0] < 0.52
        assert abs(found.x[2, 0]) < 1e-6


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_strata_are_conditional_means(n):
    kg = KnowledgeGradient(fitted(NODES["matern"], *data())[0], BOX, n_fantasies=n)
    ends = stats.norm.ppf(np.arange(n + 1) / n, scale=np.sqrt(3.0))
    for k in range(n):
        assert abs(kg.weights[k] - stats.norm.cdf(ends[k + 1]) + stats.norm.cdf(ends[k])) < 1e-14
        expected = stats.norm.expect(lambda z: z, lb=ends[k], ub=ends[k + 1], conditional=True)
        assert abs(kg.base_samples[k, 0] - expected) < 1e-7
    assert abs(kg.weights.sum() - 1) < 1e-15
    assert abs(kg.weights @ kg.base_samples[:, 0]) < 1e-16
