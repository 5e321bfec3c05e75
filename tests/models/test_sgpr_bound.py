"""The compiled bound of sparse regression beside dense matrices, differences and its own limits."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, in_child, tolerance
from reference import covariances, gpr, sgpr
from reference.covariances import Leaf, Product, Sum

import lvmfast as lvm
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._sgpr_objective import SgprObjective

N, M, Q, NOISE = 37, 6, 2, 0.15
KERNELS = {
    "rbf": Leaf("RBF", {"variance": 1.5, "lengthscale": np.array([0.75, 1.5])}),
    "matern12": Leaf("Matern12", {"variance": 1.5, "lengthscale": 0.7}),
    "rational quadratic": Leaf("RationalQuadratic", {"variance": 1.2, "lengthscale": 0.8, "alpha": 1.3}),
    "sum": Sum(
        [
            Leaf("Matern52", {"variance": 1.0, "lengthscale": 1.25}),
            Leaf("Linear", {"variance": 0.25}, (1,)),
            Leaf("White", {"variance": 0.125}),
        ]
    ),
    "product": Product(
        [
            Leaf("RBF", {"variance": 1.5, "lengthscale": 1.5}),
            Leaf("Periodic", {"variance": 1.0, "lengthscale": 1.0, "period": 2.5}),
        ]
    ),
}
CONDITION = 1e4  # of k(Z, Z) times what the noise magnifies, in these data


def dense(name):
    """A covariance of the oracle: equal rows of two arrays share no white noise."""
    parts = KERNELS[name]

    def covariance(X, Z=None):
        return covariances.matrix(parts, np.asarray(X), None if Z is None else np.asarray(Z))

    return covariance


def data(seed=0, n=N, m=M, q=Q, d=2, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, q)).astype(dtype)
    Y = (5 + np.sin(X @ rng.standard_normal((q, d))) + 0.3 * rng.standard_normal((n, d))).astype(dtype)
    return X, Y, rng.uniform(-2, 2, (m, q)), rng.uniform(0.05, 0.3, n)


def objective(name, mean="constant", noise=NOISE, dtype=np.float64, X=None, Y=None, Z=None, **options):
    base = data(dtype=dtype)
    X, Y, Z = (b if a is None else a for a, b in zip((X, Y, Z), base, strict=False))
    kernel = name if isinstance(name, lvm.kernels.Kernel) else covariances.build(KERNELS[name], lvm.kernels)
    return SgprObjective(kernel, Mean(mean, np.asarray(X, float)), X, Y, Z, noise, **options)


def at(o, theta=None):
    return o.log_marginal_likelihood(o.initial() if theta is None else theta)


CASES = [
    pytest.param(name, mean, fitc, own, id=f"{name}-{mean}-{'fitc' if fitc else 'vfe'}-{'own' if own else 'one'}")
    for name in KERNELS
    for mean, own in (("zero", False), ("constant", True), ("linear", False))
    for fitc in (False, True)
]


@pytest.mark.parametrize(("name", "mean", "fitc", "own"), CASES)
def test_values_and_gradients(name, mean, fitc, own):
    """Against n x n matrices in extended precision, and central differences in all of theta."""
    X, Y, Z, noises = data()
    noise = noises if own else NOISE
    o = objective(name, mean, noise, fitc=fitc, tile=16, scale=np.array([1.0, 2.0]))
    theta = o.initial()
    value, gradient = at(o, theta)
    oracle = sgpr.Sparse(dense(name), X, Y, Z, noise, mean, fitc)
    expected = float(sgpr.lower_bound(oracle))
    assert_near(value, expected, tolerance(np.float64, N, CONDITION), 1 + abs(expected))
    assert_near(at(o, theta)[1], gradient, 0.0)  # the same bits again
    slope = differences(lambda t: at(o, t)[0], theta)
    assert_near(gradient, slope, tolerance(np.float64, N, DIFFERENCE), abs(slope).max() + abs(value))
    at(o, theta)
    upper = float(sgpr.upper_bound(oracle))
    assert_near(o.upper_bound(theta), upper, tolerance(np.float64, N, CONDITION), 1 + abs(upper))


@pytest.mark.parametrize("fitc", [False, True])
def test_gradient_by_a_noise_on_top_of_own(fitc):
    """The compiled derivative by a common noise beside variances per row, which no fit asks for yet."""
    X, Y, Z, noises = data()
    o = objective("rbf", "linear", noises, fitc=fitc)
    vector = o.split(o.initial())[0]
    slope = differences(lambda noise: o._evaluate(vector, Z, float(noise[0]))[3], [0.1])
    assert_near(o._evaluate(vector, Z, 0.1)[6], slope[0], tolerance(np.float64, N, DIFFERENCE))


@pytest.mark.parametrize("fitc", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_all_points_inducing_is_exact_regression(fitc, own):
    X, Y, _, noises = data()
    noise = noises if own else NOISE
    o = objective("rbf", "linear", noise, Z=X, fitc=fitc)
    exact = float(gpr.log_marginal_likelihood(gpr.GP(dense("rbf"), X, Y, noise, "linear")))
    value = at(o)[0]
    assert_near(value, exact, 1e-6)
    assert_near(o.upper_bound(o.initial()), exact, 1e-6)


@pytest.mark.parametrize("name", ["rbf", "product", "matern12"])
@pytest.mark.parametrize("mean", ["zero", "linear"])
def test_bounds_hold(name, mean):
    """SGPR <= exact <= upper bound, with the best coefficients of each, for random inducing inputs."""
    X, Y, _, noises = data()
    for seed in range(5):
        Z = np.random.default_rng(seed).uniform(-2, 2, (1 + 4 * seed, Q))
        for noise in (noises, 0.02):
            o = objective(name, mean, noise, Z=Z)
            exact = float(gpr.log_marginal_likelihood(gpr.GP(dense(name), X, Y, noise, mean)))
            slack = tolerance(np.float64, N, CONDITION) * abs(exact)
            assert at(o)[0] <= exact + slack
            assert o.upper_bound(o.initial()) >= exact - slack


@pytest.mark.parametrize("fitc", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_neither_tiles_nor_threads_count(fitc, own, set_num_threads, dtype):
    """Tiles change roundings only, threads change nothing."""
    n = 1500
    X, Y, Z, noises = data(n=n, m=20, dtype=dtype)
    noise = noises if own else NOISE
    whole = at(objective("sum", "linear", noise, X=X, Y=Y, Z=Z, fitc=fitc, tile=n))
    tight = tolerance(dtype, n, 10)
    for tile in (1, 64, 100, 0):
        value, gradient = at(objective("sum", "linear", noise, X=X, Y=Y, Z=Z, fitc=fitc, tile=tile))
        assert_near(value, whole[0], tight)
        assert_near(gradient, whole[1], 10 * tight)
    set_num_threads(1)
    again = at(objective("sum", "linear", noise, X=X, Y=Y, Z=Z, fitc=fitc))
    assert again[0] == value
    np.testing.assert_array_equal(again[1], gradient)


def test_data_are_not_copied_and_may_be_a_memmap(tmp_path):
    X, Y, Z, _ = data(n=300)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    value, gradient = at(objective("rbf", "linear", X=mapped, Y=Y, Z=Z))
    same = at(objective("rbf", "linear", X=X, Y=Y, Z=Z))
    assert value == same[0]
    np.testing.assert_array_equal(gradient, same[1])


@pytest.mark.parametrize("lengthscale", [0.3, 1.0, 3.0, 8.0], ids=lambda s: f"lengthscale {s}")
@pytest.mark.parametrize("fitc", [False, True])
def test_float32_finds_the_float64_answer(lengthscale, fitc):
    """From tiles in float32, products through V, or tiles in float64, as the condition of k(Z, Z) asks."""
    X, Y, Z, _ = data(n=800, m=60, q=3, d=1, dtype=np.float32)
    kernel = lvm.kernels.RBF(1.5, np.full(3, lengthscale))
    narrow = at(objective(kernel, "linear", 0.05, X=X, Y=Y, Z=Z, fitc=fitc))
    wide = at(objective(kernel, "linear", 0.05, X=X.astype(float), Y=Y.astype(float), Z=Z, fitc=fitc))
    assert_near(narrow[0], wide[0], 1e-5, 800 + abs(wide[0]))
    assert_near(narrow[1], wide[1], 5e-3)


def test_small_noise_keeps_its_digits():
    """Residuals do not cancel: noise of 1e-9 of y's variance, the value to 1e-6 of itself."""
    X, _, _, _ = data()
    Y = np.sin(X[:, :1]) + 100
    Z = X[::4]
    o = objective("rbf", "constant", 1e-9, X=X, Y=Y, Z=Z)
    expected = float(sgpr.lower_bound(sgpr.Sparse(dense("rbf"), X, Y, Z, np.longdouble(1e-9), "constant")))
    assert_near(at(o)[0], expected, 1e-6)


@pytest.mark.parametrize("mean", ["constant", "linear"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constant_and_duplicate_columns(mean, dtype):
    """Dependent columns of the linear mean change nothing; duplicate inducing inputs take a jitter that is reported."""
    X, Y, Z, _ = data(n=200, dtype=dtype)
    plain = at(objective(lvm.kernels.RBF(1.0, np.ones(2)), mean, X=X, Y=Y, Z=Z))
    wide = np.hstack([X, X[:, :1], np.full((200, 1), 7, dtype)])
    Z_wide = np.hstack([Z, Z[:, :1], np.full((M, 1), 7.0)])
    kernel = lvm.kernels.RBF(1.0, np.ones(2), active_dims=[0, 1])
    assert_near(at(objective(kernel, mean, X=wide, Y=Y, Z=Z_wide))[0], plain[0], tolerance(dtype, 200, 10))
    twice = objective(lvm.kernels.RBF(1.0, np.ones(2)), mean, X=X, Y=Y, Z=np.vstack([Z, Z]))
    assert_near(at(twice)[0], plain[0], 1e-4)
    assert 0 < twice.jitter <= 1e-9


def test_memory_does_not_grow_with_the_rows():
    """400,000 rows, 64 inducing inputs: K_uf would have 195 MiB, an evaluation takes less than half of that."""
    status, clear = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")
    if not clear.exists():
        pytest.skip("this system does not tell the peak of a process's memory")
    X, Y, Z, _ = data(n=400_000, m=64, q=3, d=1)
    o = objective(lvm.kernels.RBF(1.0, np.ones(3)), X=X, Y=Y, Z=Z)

    def peak():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def grown():
        clear.write_text("5")
        before = peak()
        at(o)
        return peak() - before

    assert in_child(grown, 60) < 98
