"""Points added to a fitted model: the same as a refit with the same parameters, for real and imagined values."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import covariances, gpr
from reference.covariances import Leaf, Sum

import lvmfast as lvm

N, NOISE = 15, 0.1


def data(d=None, n=N + 6, seed=0):
    """X (n, 2) and y (n,) or (n, d): sines with noise, off zero."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 2))
    y = 1.5 + np.sin(X @ rng.standard_normal((2, d or 1))) + 0.3 * rng.standard_normal((n, d or 1))
    return X, y[:, 0] if d is None else y


NODES = {
    "rbf": Leaf("RBF", {"variance": 1.3, "lengthscale": np.array([0.7, 1.6])}),
    "sum": Sum(
        (
            Leaf("Matern52", {"variance": 0.8, "lengthscale": 1.1}),
            Leaf("Linear", {"variance": 0.4}),
            Leaf("White", {"variance": 0.2}),
        )
    ),
}
MEANS = ["zero", "constant", "linear", "callable"]


def trend(X):
    return 0.5 + X[:, 0] ** 2


def mean_of(name):
    return trend if name == "callable" else name


def pair(d=None, *, node="rbf", mean="constant", noise=NOISE):
    """A model of the first N points and its oracle, with the points that are left over."""
    X, y = data(d)
    kernel = covariances.build(NODES[node], lvm.kernels)
    ours = lvm.GPR(kernel, mean=mean_of(mean), noise_variance=noise, optimizer=None).fit(X[:N], y[:N])
    gp = gpr.GP(partial(covariances.matrix, NODES[node]), X[:N], y[:N], noise, mean_of(mean))
    return ours, gp, X[N:], y[N:]


def places(X):
    """At, between and far from the rows of X."""
    return np.vstack([X[:2], 0.5 * (X[2:3] + X[3:4]), X[:1] + 0.2, X[:1] + 30.0])


def assert_same_posterior(ours, gp, new=None):
    """Mean, spread, likelihoods left out one by one: all that depends on the data."""
    new = places(gp.X) if new is None else new
    condition = float(np.trace(gpr.noisy_covariance(gp)) / np.min(gp.noise))
    size = float(np.max(np.abs(gpr.mean_at(gp, new)))) + float(np.max(np.abs(gp.Y))) + 1
    near = {"relative": tolerance(np.float64, len(gp.X), condition), "scale": size}
    mean, cov = gpr.predict(gp, new)
    actual, std = ours.predict(new, return_std=True)
    assert_near(actual, mean, **near)
    actual, actual_cov = ours.predict(new, return_cov=True)
    for k in range(1 if np.ndim(gp.Y) == 1 else np.shape(gp.Y)[1]):
        assert_near(actual_cov if np.ndim(gp.Y) == 1 else actual_cov[..., k], cov, **near)
        assert_near((std if np.ndim(gp.Y) == 1 else std[:, k]) ** 2, np.diag(cov), **near)
    for a, b in zip(ours.leave_one_out(), gpr.leave_one_out(gp), strict=True):
        assert_near(a, b, **near)


def fitted(model):
    return {name: copy.deepcopy(value) for name, value in vars(model).items() if name.endswith("_")}


def assert_unchanged(model, before):
    after = fitted(model)
    assert after.keys() == before.keys()
    for name, value in before.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(after[name], value, err_msg=name)
        else:
            assert after[name] == value, name


# Points that were observed.


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("m", [1, 6])
def test_condition_on_is_a_refit(node, mean, m):
    ours, gp, X, y = pair(node=node, mean=mean)
    more = ours.condition_on(X[:m], y[:m])
    assert isinstance(more, lvm.GPR) and more is not ours
    assert_same_posterior(more, gpr.condition(gp, X[:m], y[:m], NOISE))
    np.testing.assert_array_equal(more.X_train_, np.vstack([gp.X, X[:m]]))
    np.testing.assert_array_equal(more.y_train_, np.concatenate([gp.Y, y[:m]]))


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("mean", ["constant", "linear"])
def test_several_outputs(d, mean):
    ours, gp, X, Y = pair(d, mean=mean)
    assert_same_posterior(ours.condition_on(X, Y), gpr.condition(gp, X, Y, NOISE))


def test_one_point_after_another():
    """In a row is the same as at once, and each model of the row stays what it is."""
    ours, gp, X, y = pair()
    row = [ours]
    for i in range(len(X)):
        row.append(row[-1].condition_on(X[i : i + 1], y[i : i + 1]))
    for i in (0, 1, 3, len(X)):
        at = gpr.condition(gp, X[:i], y[:i], NOISE) if i else gp
        assert_same_posterior(row[i], at, places(X))
    at_once = ours.condition_on(X, y)
    np.testing.assert_allclose(row[-1].predict(places(X)), at_once.predict(places(X)), rtol=1e-10)


def test_many_points_after_one_another():
    """Rounding does not build up."""
    ours, gp, _, _ = pair()
    rng = np.random.default_rng(3)
    X = rng.uniform(-2, 2, (45, 2))
    y = np.sin(X[:, 0])
    more = ours
    for i in range(0, 45, 3):
        more = more.condition_on(X[i : i + 3], y[i : i + 3])
    assert_same_posterior(more, gpr.condition(gp, X, y, NOISE))


def test_through_the_public_face_alone():
    """A zero-mean model of all points with the same parameters is the same model."""
    ours, gp, X, y = pair(mean="zero")
    more = ours.condition_on(X, y)
    both = np.vstack([gp.X, X]), np.concatenate([gp.Y, y])
    refit = lvm.GPR(ours.kernel_, mean="zero", noise_variance=NOISE, optimizer=None).fit(*both)
    assert more.kernel_ == refit.kernel_ == ours.kernel_
    for a, b in zip(more.predict(places(X), return_std=True), refit.predict(places(X), return_std=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    np.testing.assert_allclose(more.log_marginal_likelihood_, refit.log_marginal_likelihood_, rtol=1e-10)
    np.testing.assert_allclose(more.sample_y(X, 2), refit.sample_y(X, 2), rtol=0, atol=1e-6)
    for a, b in zip(more.predict_gradient(X), refit.predict_gradient(X), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(more.alpha_, refit.alpha_, rtol=1e-8, atol=1e-10)
    L, L_refit = np.tril(more.L_), np.tril(refit.L_)
    np.testing.assert_allclose(L @ L.T, L_refit @ L_refit.T, atol=1e-12)


def test_coefficients_of_the_mean_stay():
    for mean in ("constant", "linear"):
        ours, _, X, y = pair(mean=mean)
        more = ours.condition_on(X, y + 100.0)
        np.testing.assert_array_equal(more.mean_coef_, ours.mean_coef_)
        far = X[:2] + 1e3
        np.testing.assert_allclose(more.predict(far), ours.predict(far), rtol=1e-12)


@pytest.mark.parametrize("old", ["number", "array"])
@pytest.mark.parametrize("new", [0.02, "array"])
def test_noise_of_the_points(old, new):
    """A number or one for each; what the model knew before keeps its own."""
    rng = np.random.default_rng(1)
    ours, gp, X, y = pair(noise=NOISE if old == "number" else rng.uniform(0.05, 0.5, N))
    noise = rng.uniform(0.05, 0.5, len(X)) if new == "array" else new
    more = ours.condition_on(X, y, noise_variance=noise)
    at = gpr.condition(gp, X, y, noise)
    assert_same_posterior(more, at)
    again = more.condition_on(X[:1] + 0.1, y[:1], noise_variance=0.3)
    assert_same_posterior(again, gpr.condition(at, X[:1] + 0.1, y[:1], 0.3))


def test_points_that_are_known_already():
    """Two observations of one place count twice."""
    ours, gp, _, _ = pair()
    more = ours.condition_on(gp.X[:3], gp.Y[:3] + 0.5)
    assert_same_posterior(more, gpr.condition(gp, gp.X[:3], gp.Y[:3] + 0.5, NOISE))


def test_lists_and_other_layouts():
    ours, gp, X, y = pair()
    expected = ours.condition_on(X, y).predict(places(X))
    for given in (X.tolist(), np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(ours.condition_on(given, y.tolist()).predict(places(X)), expected)


@pytest.mark.parametrize("d", [None, 2])
def test_the_model_itself_is_unchanged(d):
    ours, _, X, y = pair(d)
    new = places(X)
    before, mean = fitted(ours), ours.predict(new)
    more = ours.condition_on(X, y)
    more.condition_on(X + 0.1, y)
    more.X_train_[...] = 0.0
    more.y_train_[...] = 0.0
    more.kernel_.parameters["variance"] = 9.0
    assert_unchanged(ours, before)
    np.testing.assert_array_equal(ours.predict(new), mean)


def test_the_callers_arrays_are_left_alone():
    ours, _, X, y = pair()
    before = X.copy(), y.copy()
    more = ours.condition_on(X, y)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    mean = more.predict(places(before[0]))
    X[...] = np.nan
    y[...] = np.nan
    np.testing.assert_array_equal(more.predict(places(before[0])), mean)


def test_a_conditioned_model_is_a_model():
    """It can be copied, pickled, saved, drawn from and fitted anew."""
    ours, _, X, y = pair()
    more = ours.condition_on(X, y)
    new = places(X)
    expected = more.predict(new)
    for twin in (copy.deepcopy(more), pickle.loads(pickle.dumps(more))):
        np.testing.assert_array_equal(twin.predict(new), expected)
    assert more.get_params(deep=False) == ours.get_params(deep=False)
    assert more.n_features_in_ == 2
    paths = more.pathwise_samples(2, random_state=0)(new)
    assert paths.shape == (2, len(new)) and np.isfinite(paths).all()
    more.fit(X, y)
    np.testing.assert_array_equal(more.X_train_, X)


def test_a_conditioned_model_in_a_file(tmp_path):
    ours, _, X, y = pair(2)
    more = ours.condition_on(X, y, noise_variance=0.3)
    more.save(tmp_path / "m")
    loaded = lvm.GPR.load(tmp_path / "m")
    new = places(X)
    np.testing.assert_array_equal(loaded.predict(new), more.predict(new))
    twice = [m.condition_on(X + 0.1, y, noise_variance=0.2).predict(new) for m in (more, loaded)]
    np.testing.assert_array_equal(*twice)


def test_float32():
    ours, gp, X, y = pair()
    single = lvm.GPR(ours.kernel_, noise_variance=NOISE, optimizer=None)
    single.fit(gp.X.astype(np.float32), gp.Y.astype(np.float32))
    more = single.condition_on(X.astype(np.float32), y.astype(np.float32))
    mean = more.predict(places(X).astype(np.float32))
    expected = ours.condition_on(X, y).predict(places(X))
    assert_near(mean, expected, tolerance(np.float32, N, 100))


# Values that are imagined.


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("d", [None, 2])
@pytest.mark.parametrize("m", [1, 4])
def test_fantasies_are_separate_models(node, d, m):
    ours, _, X, _ = pair(d, node=node)
    rng = np.random.default_rng(2)
    Y = rng.standard_normal((5, m) if d is None else (5, m, d))
    new = places(X)
    fantasies = ours.fantasize(X[:m], Y)
    mean, std = fantasies.predict(new, return_std=True)
    assert mean.shape == (5, len(new)) if d is None else (5, len(new), d)
    assert std.shape == (len(new),)
    np.testing.assert_array_equal(fantasies.predict(new), mean)
    for s in range(5):
        alone, alone_std = ours.condition_on(X[:m], Y[s]).predict(new, return_std=True)
        np.testing.assert_allclose(mean[s], alone, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(std, alone_std if d is None else alone_std[:, 0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("mean", MEANS)
def test_fantasies_with_means(mean):
    ours, gp, X, _ = pair(mean=mean)
    Y = np.random.default_rng(2).standard_normal((3, 2))
    actual = ours.fantasize(X[:2], Y).predict(places(X))
    for s in range(3):
        expected, _ = gpr.predict(gpr.condition(gp, X[:2], Y[s], NOISE), places(X))
        assert_near(actual[s], expected, tolerance(np.float64, N, 1e3), scale=10.0 + np.abs(expected).max())


def test_fantasies_leave_the_model_alone():
    ours, _, X, _ = pair()
    before = fitted(ours)
    fantasies = ours.fantasize(X[:2], np.ones((3, 2)))
    expected = fantasies.predict(X)
    assert_unchanged(ours, before)
    ours.fit(X, X[:, 0])
    np.testing.assert_array_equal(fantasies.predict(X), expected)


def test_fantasies_of_the_mean_do_not_move_it():
    ours, _, X, _ = pair()
    at = ours.predict(X)
    new = places(X)
    mean, std = ours.fantasize(X, at[None]).predict(new, return_std=True)
    _, wider = ours.predict(new, return_std=True)
    np.testing.assert_allclose(mean[0], ours.predict(new), rtol=1e-9)
    assert (std <= wider + 1e-12).all() and std.min() < 0.9 * wider.min()


# Errors, which leave the model as it was.

NAN = np.nan
BAD = {
    "columns": (np.zeros((2, 3)), np.zeros(2), "3 features"),
    "1d": (np.zeros(2), np.zeros(2), "2D array|X must"),
    "lengths": (np.zeros((2, 2)), np.zeros(3), "2.*3|3.*2"),
    "outputs": (np.zeros((2, 2)), np.zeros((2, 2)), "y must"),
    "nan in X": ([[0.0, NAN]], [0.0], "X"),
    "nan in y": ([[0.0, 0.0]], [NAN], "y"),
    "inf in y": ([[0.0, 0.0]], [np.inf], "y"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_points(case):
    X, y, words = BAD[case]
    ours, *_ = pair()
    before = fitted(ours)
    with pytest.raises(ValueError, match=words):
        ours.condition_on(X, y)
    assert_unchanged(ours, before)


@pytest.mark.parametrize(
    ("noise", "error"),
    [
        (-0.1, ValueError),
        (NAN, ValueError),
        (np.ones(3), ValueError),
        (np.array([0.1, -0.1]), ValueError),
        ("a", TypeError),
    ],
)
def test_bad_noise(noise, error):
    ours, _, X, y = pair()
    before = fitted(ours)
    with pytest.raises(error, match="noise_variance must"):
        ours.condition_on(X[:2], y[:2], noise_variance=noise)
    assert_unchanged(ours, before)


@pytest.mark.parametrize("shape", [(2,), (3, 4), (3, 2, 1), (0, 2), (3, 2, 1, 1)])
def test_bad_fantasies(shape):
    ours, _, X, _ = pair()
    before = fitted(ours)
    with pytest.raises(ValueError, match="Y must"):
        ours.fantasize(X[:2], np.zeros(shape))
    assert_unchanged(ours, before)


@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 3)])
def test_bad_fantasies_of_several_outputs(shape):
    ours, _, X, _ = pair(2)
    with pytest.raises(ValueError, match="Y must"):
        ours.fantasize(X[:2], np.zeros(shape))


def test_fantasies_must_be_finite():
    ours, _, X, _ = pair()
    with pytest.raises(ValueError, match="Y must be finite"):
        ours.fantasize(X[:2], [[0.0, NAN]])
    with pytest.raises(ValueError, match="X must have 2 columns|3 features"):
        ours.fantasize(np.zeros((2, 3)), [[0.0, 1.0]])
