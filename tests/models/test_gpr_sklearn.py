"""Exact regression among scikit-learn's estimators: its checks, pipelines, searches, names, copies and files."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RBF, Linear, Matern52 = lvm.kernels.RBF, lvm.kernels.Linear, lvm.kernels.Matern52

FITTED = ("X_train_", "y_train_", "kernel_", "noise_variance_", "mean_coef_", "log_marginal_likelihood_")
FITTED += ("log_posterior_", "jitter_", "L_", "alpha_", "n_iter_", "n_evaluations_", "converged_", "message_")
FITTED += ("n_features_in_",)


@parametrize_with_checks(
    [
        lvm.GPR(),
        lvm.GPR(RBF(), mean="zero", noise_variance=0.1, learn_noise=False, max_iter=20),
        lvm.GPR(Matern52() + Linear(), mean="linear", max_iter=20),
    ]
)
def test_estimator(estimator, check):
    check(estimator)


def data(q=2, d=None, n=30, seed=0):
    """X (n, q) and y (n,) or (n, d): sines with noise, off zero."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, q))
    y = 1.5 + np.sin(2 * X @ rng.standard_normal((q, d or 1))) + 0.2 * rng.standard_normal((n, d or 1))
    return X, y[:, 0] if d is None else y


def kept(kernel=None, **params):
    """A regressor that keeps its parameters, quick to fit."""
    return lvm.GPR(kernel or RBF(1.0, 0.8), **{"noise_variance": 0.1, "optimizer": None, **params})


def assert_same(a, b, *names):
    """Fitted attributes equal bit for bit, and so are predictions."""
    for name in names or FITTED:
        left, right = getattr(a, name), getattr(b, name)
        if name == "kernel_":
            assert left == right
        else:
            np.testing.assert_array_equal(left, right, err_msg=name)
            assert np.asarray(left).dtype == np.asarray(right).dtype
    X = np.random.default_rng(9).uniform(-3, 3, (4, a.n_features_in_)).astype(a.X_train_.dtype)
    for left, right in zip(a.predict(X, return_std=True), b.predict(X, return_std=True), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(a.predict(X, return_cov=True)[1], b.predict(X, return_cov=True)[1])
    np.testing.assert_array_equal(a.sample_y(X, 2), b.sample_y(X, 2))


# The estimator's face.


def test_init_stores_and_computes_nothing():
    parameters = inspect.signature(lvm.GPR).parameters
    markers = {name: object() for name in parameters}
    assert vars(lvm.GPR(**markers)) == markers
    kinds = [p.kind for p in parameters.values()]
    assert kinds[1:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)
    defaults = {name: p.default for name, p in parameters.items()}
    assert defaults == {
        "kernel": None,
        "mean": "constant",
        "noise_variance": None,
        "learn_noise": True,
        "noise_prior": None,
        "optimizer": "lbfgs",
        "n_restarts": 0,
        "max_iter": 200,
        "tol": 1e-6,
        "jitter": "auto",
        "verbose": 0,
        "callback": None,
        "random_state": None,
        "device": "auto",
    }


def test_metadata():
    tags = sklearn.utils.get_tags(lvm.GPR())
    assert is_regressor(lvm.GPR()) and tags.target_tags.required and tags.target_tags.multi_output
    assert not tags.input_tags.allow_nan and not tags.input_tags.sparse


def test_repr():
    assert repr(lvm.GPR()) == "GPR()"
    shown = repr(lvm.GPR(RBF(2.0, 0.5), tol=0.1))
    assert "RBF" in shown and "lengthscale=0.5" in shown and "tol=0.1" in shown


def test_score_is_the_share_of_variance():
    X, y = data()
    ours = kept().fit(X[:20], y[:20])
    residual = y[20:] - ours.predict(X[20:])
    expected = 1 - np.sum(residual**2) / np.sum((y[20:] - y[20:].mean()) ** 2)
    assert ours.score(X[20:], y[20:]) == pytest.approx(expected)


# Parameters of the kernel.


def test_parameters_of_the_kernel():
    ours = lvm.GPR(RBF(2.0, 0.5))
    assert ours.get_params()["kernel__lengthscale"] == 0.5
    ours.set_params(kernel__lengthscale=[1.0, 3.0], max_iter=7)
    assert ours.kernel == RBF(2.0, [1.0, 3.0]) and ours.max_iter == 7
    with pytest.raises(ValueError, match="period"):
        ours.set_params(kernel__period=1.0)


def test_parameters_of_a_sum():
    ours = lvm.GPR(RBF(2.0, 0.5) + Linear(0.3) + RBF(1.0, 4.0))
    assert ours.get_params()["kernel__rbf_2.lengthscale"] == 4.0
    ours.set_params(**{"kernel__rbf.lengthscale": 0.7, "kernel__linear.variance": 0.1})
    assert ours.kernel == RBF(2.0, 0.7) + Linear(0.1) + RBF(1.0, 4.0)


GRIDS = {
    "lengthscale": (RBF(), {"kernel__lengthscale": [0.05, 0.8, 30.0]}),
    "part": (RBF() + Linear(), {"kernel__rbf.lengthscale": [0.05, 0.8], "kernel__linear.variance": [0.1, 1.0]}),
    "kernel": (RBF(), {"kernel": [RBF(1.0, 0.05), Matern52(1.0, 1.0), RBF() + Linear()]}),
    "noise": (RBF(), {"noise_variance": [1e-3, 0.1, 10.0], "mean": ["zero", "linear"]}),
}


@pytest.mark.parametrize("name", GRIDS)
def test_grid_search(name):
    kernel, grid = GRIDS[name]
    X, y = data()
    search = GridSearchCV(kept(kernel), grid, cv=3, error_score="raise").fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and len(set(scores)) > 1
    assert search.best_score_ == scores.max()
    assert search.predict(X).shape == (30,)
    for parameter, choices in grid.items():
        assert search.best_estimator_.get_params()[parameter] in choices


def test_grid_search_over_a_lengthscale_finds_it():
    """Without learning the search is left to the grid: the scale of the sines, and not of one point or of all."""
    X, y = data(1, n=40)
    search = GridSearchCV(kept(RBF()), {"kernel__lengthscale": [0.01, 0.7, 100.0]}, cv=4).fit(X, y)
    assert search.best_params_ == {"kernel__lengthscale": 0.7}
    assert search.best_estimator_.kernel_ == RBF(1.0, 0.7)


def test_random_search():
    X, y = data()
    space = {"kernel__lengthscale": [0.3, 1.0, 3.0], "kernel__variance": [0.5, 2.0]}
    search = RandomizedSearchCV(kept(RBF()), space, n_iter=3, random_state=0, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# Pipelines.


def test_pipeline():
    X, y = data()
    pipeline = make_pipeline(StandardScaler(), lvm.GPR()).fit(X[:20], y[:20])
    scaler = StandardScaler().fit(X[:20])
    alone = lvm.GPR().fit(scaler.transform(X[:20]), y[:20])
    np.testing.assert_array_equal(pipeline.predict(X[20:]), alone.predict(scaler.transform(X[20:])))
    mean, std = pipeline.predict(X[20:], return_std=True)
    assert mean.shape == std.shape == (10,)
    pipeline.set_params(gpr__kernel=RBF(1.0, 0.7), gpr__optimizer=None, gpr__noise_variance=0.1).fit(X, y)
    assert pipeline[-1].kernel_ == RBF(1.0, 0.7)


def test_pipeline_in_a_search():
    X, y = data()
    pipeline = make_pipeline(PolynomialFeatures(include_bias=False), StandardScaler(), kept(RBF()))
    grid = {"polynomialfeatures__degree": [1, 2], "gpr__kernel__lengthscale": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_validation():
    X, y = data(n=60)
    assert cross_val_score(lvm.GPR(), X, y, cv=3).min() > 0.3


def test_several_outputs_share_one_kernel():
    """With parameters that are kept, the same as one regressor per output."""
    X, Y = data(d=3)
    ours = kept().fit(X, Y)
    np.testing.assert_allclose(MultiOutputRegressor(kept()).fit(X, Y).predict(X), ours.predict(X), rtol=1e-9)
    assert ours.score(X, Y) > 0.5
    column = kept().fit(X, Y[:, :1])
    assert column.predict(X).shape == (30, 1)
    np.testing.assert_allclose(column.predict(X)[:, 0], kept().fit(X, Y[:, 0]).predict(X), rtol=1e-12)


# Names.


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library):
    frames = pytest.importorskip(library)
    X, y = data(3)
    columns = ["east", "north", "height"]
    frame = frames.DataFrame(dict(zip(columns, X.T, strict=True)))
    ours = kept().fit(frame, frames.Series(y) if library == "pandas" else y)
    np.testing.assert_array_equal(ours.feature_names_in_, columns)
    mean = ours.predict(frame)
    assert isinstance(mean, np.ndarray)
    np.testing.assert_array_equal(mean, kept().fit(X, y).predict(X))
    for call in (ours.predict, ours.predict_gradient, ours.sample_y):
        with pytest.raises(ValueError, match="feature names"):
            call(frame[columns[::-1]])
    with pytest.raises(ValueError, match="feature names"):
        ours.condition_on(frame[columns[::-1]], y)


def test_names_of_the_columns_survive():
    pandas = pytest.importorskip("pandas")
    X, y = data(3)
    frame = pandas.DataFrame(X, columns=list("abc"))
    ours = kept().fit(frame, y)
    more = ours.condition_on(frame[:2], y[:2])
    np.testing.assert_array_equal(more.feature_names_in_, list("abc"))
    ours.fit(X, y)
    assert not hasattr(ours, "feature_names_in_")


def test_names_of_the_columns_survive_a_file(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = data(3)
    ours = kept().fit(pandas.DataFrame(X, columns=list("abc")), y)
    ours.save(tmp_path / "m")
    np.testing.assert_array_equal(lvm.GPR.load(tmp_path / "m").feature_names_in_, list("abc"))


# Copies.


def elaborate_kernel():
    """With all that a kernel can carry."""
    kernel = RBF(1.3, [0.7, 1.1]) * Linear(0.4, active_dims=[1]) + Matern52(0.5, 2.0) + 0.3
    kernel.fix("constant.variance").set_bounds("rbf.lengthscale", 0.1, 10.0)
    kernel.set_prior("matern52.lengthscale", lvm.priors.InverseGamma(3.0, 2.0))
    return kernel.set_bijector("matern52.variance", lvm.bijectors.Softplus(1e-6))


def assert_same_kernel(a, b):
    """With what is beside the values too."""
    assert a == b
    assert list(a.parameters) == list(b.parameters)
    for name, parameter in a.parameters.items():
        other = b.parameters[name]
        assert (parameter.fixed, parameter.prior) == (other.fixed, other.prior)
        assert tuple(np.ravel(parameter.bounds)) == tuple(np.ravel(other.bounds))
        assert repr(parameter.bijector) == repr(other.bijector)
    np.testing.assert_array_equal(a.theta, b.theta)


def test_clone_is_unfitted():
    X, y = data()
    ours = lvm.GPR(elaborate_kernel(), noise_variance=0.2, max_iter=30, tol=1e-3).fit(X, y)
    twin = clone(ours)
    assert twin.kernel is not ours.kernel
    assert_same_kernel(twin.kernel, elaborate_kernel())
    assert twin.get_params(deep=False).keys() == ours.get_params(deep=False).keys()
    with pytest.raises(NotFittedError):
        twin.predict(X)
    assert_same(twin.fit(X, y), ours)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
@pytest.mark.parametrize("d", [None, 2])
def test_copies(how, d):
    X, y = data(d=d)
    ours = lvm.GPR(elaborate_kernel(), max_iter=30, tol=1e-3).fit(X, y)
    twin = how(ours)
    assert_same(twin, ours)
    assert_same_kernel(twin.kernel_, ours.kernel_)
    twin.fit(X[:10], y[:10])
    assert len(ours.X_train_) == 30


def test_a_pickle_does_not_grow_with_use():
    X, y = data()
    ours = kept().fit(X, y)
    before = len(pickle.dumps(ours))
    ours.predict(X, return_std=True)
    ours.leave_one_out()
    ours.predict_gradient(X)
    assert len(pickle.dumps(ours)) == before


# Files.


@pytest.mark.parametrize("d", [None, 2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
def test_save_and_load(d, dtype, mean, tmp_path):
    X, y = data(d=d)
    ours = lvm.GPR(elaborate_kernel(), mean=mean, max_iter=30, tol=1e-3).fit(X.astype(dtype), y.astype(dtype))
    path = tmp_path / "model.npz"
    path.write_bytes(b"an older file")
    ours.save(path)
    loaded = lvm.GPR.load(str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    assert_same(loaded, ours)
    assert_same_kernel(loaded.kernel_, ours.kernel_)
    for a, b in zip(loaded.leave_one_out(), ours.leave_one_out(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("noise", [0.3, np.linspace(0.1, 0.5, 30)], ids=["number", "array"])
def test_parameters_come_back_from_a_file(noise, tmp_path):
    X, y = data()
    params = {
        "kernel": elaborate_kernel(),
        "mean": "linear",
        "noise_variance": noise,
        "learn_noise": False,
        "noise_prior": lvm.priors.LogNormal(-1.0, 0.5),
        "optimizer": "lbfgs",
        "n_restarts": 1,
        "max_iter": 25,
        "tol": 1e-3,
        "jitter": 1e-5,
        "verbose": 0,
        "random_state": 5,
        "device": "cpu",
    }
    ours = lvm.GPR(**params).fit(X, y)
    ours.save(tmp_path / "m")
    loaded = lvm.GPR.load(tmp_path / "m")
    found = loaded.get_params(deep=False)
    assert_same_kernel(found.pop("kernel"), params.pop("kernel"))
    np.testing.assert_array_equal(found.pop("noise_variance"), params.pop("noise_variance"))
    assert found == {**params, "callback": None}
    assert_same(loaded.fit(X, y), ours)


@pytest.mark.parametrize("kernel", [None, RBF(), elaborate_kernel()], ids=["none", "leaf", "tree"])
def test_kernels_come_back_from_a_file(kernel, tmp_path):
    X, y = data()
    ours = lvm.GPR(kernel, max_iter=10, tol=1e-2).fit(X, y)
    ours.save(tmp_path / "m")
    loaded = lvm.GPR.load(tmp_path / "m")
    assert loaded.kernel == kernel
    assert_same_kernel(loaded.kernel_, ours.kernel_)


def trend(X):
    return 0.5 + X[:, 0]


def test_what_a_file_cannot_hold_is_told(tmp_path):
    """A function is not data: it is refused, or left out with a warning that names it."""
    X, y = data()
    ours = kept(random_state=np.random.default_rng(0)).fit(X, y)
    with pytest.warns(UserWarning, match="random_state"):
        ours.save(tmp_path / "m")
    assert lvm.GPR.load(tmp_path / "m").random_state is None
    ours = kept(mean=trend).fit(X, y)
    with pytest.raises((TypeError, ValueError), match="mean"):
        ours.save(tmp_path / "n")
    assert not (tmp_path / "n").exists()
    twin = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(twin.predict(X), ours.predict(X))


@pytest.mark.parametrize("content", ["text", "array", "other", "kind", "format"])
def test_a_file_of_something_else(content, tmp_path):
    path = tmp_path / "m"
    header = {"format": 1, "kind": "GPR"}
    header.update({"kind": {"kind": "GPLVM"}, "format": {"format": 99}}.get(content, {}))
    with path.open("wb") as file:
        if content == "text":
            file.write(b"not a model")
        elif content == "array":
            np.save(file, np.zeros(3))
        elif content == "other":
            np.savez(file, y=np.zeros(3))
        else:
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8))
    with pytest.raises(ValueError, match="path must name a"):
        lvm.GPR.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        lvm.GPR.load(tmp_path / "m")
