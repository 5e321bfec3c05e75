"""Sparse regression among scikit-learn's estimators: its checks, pipelines, copies and files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RBF, Linear, Matern52 = lvm.kernels.RBF, lvm.kernels.Linear, lvm.kernels.Matern52
FITTED = ("lower_bound_", "upper_bound_", "log_posterior_", "noise_variance_", "inducing_", "mean_coef_", "jitter_")
FITTED += ("loss_curve_", "n_iter_", "n_evaluations_", "converged_", "message_", "n_features_in_")


@parametrize_with_checks(
    [
        lvm.SGPR(max_iter=20),
        lvm.SGPR(
            Matern52() + Linear(),
            mean="linear",
            approximation="fitc",
            inducing_init="subset",
            random_state=0,
            max_iter=10,
        ),
        lvm.SGPR(
            RBF(), mean="zero", inducing_init="greedy-variance", noise_variance=0.1, learn_noise=False, max_iter=10
        ),
    ]
)
def test_estimator(estimator, check):
    check(estimator)


def data(d=None, n=60):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (n, 2))
    y = 1.5 + np.sin(2 * X @ rng.standard_normal((2, d or 1))) + 0.2 * rng.standard_normal((n, d or 1))
    return X, y if d else y[:, 0]


def assert_same(a, b):
    for name in FITTED:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    np.testing.assert_array_equal(a.kernel_.theta, b.kernel_.theta)
    X = data()[0]
    np.testing.assert_array_equal(a.predict(X, return_std=True), b.predict(X, return_std=True))


@pytest.mark.parametrize("d", [None, 2])
def test_files_and_pickles(d, tmp_path):
    X, y = data(d)
    for params in (
        {"kernel": Matern52() + Linear(), "mean": "linear", "inducing": 7},
        {"inducing": X[:6], "noise_variance": np.linspace(0.1, 0.2, 60), "approximation": "fitc"},
    ):
        model = lvm.SGPR(random_state=0, max_iter=4, **params).fit(X, y)
        model.save(tmp_path / "model.npz")
        loaded = lvm.SGPR.load(tmp_path / "model.npz")
        assert_same(loaded, model)
        for name, value in model.get_params(deep=False).items():
            if name != "kernel":
                np.testing.assert_array_equal(getattr(loaded, name), value)
        assert_same(pickle.loads(pickle.dumps(model)), model)
    with pytest.raises(ValueError, match="written by SGPR.save|must name a SGPR"):
        other = lvm.GPR(optimizer=None).fit(X, y)
        other.save(tmp_path / "other.npz")
        lvm.SGPR.load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="mean must be a name to be saved"):
        lvm.SGPR(mean=lambda X: X[:, 0], inducing=4, optimizer=None).fit(*data()).save(tmp_path / "model.npz")


def test_clone_and_parameters():
    model = lvm.SGPR(RBF(2.0), inducing=5, approximation="fitc").fit(*data())
    copy = clone(model)
    assert is_regressor(copy) and not hasattr(copy, "kernel_") and copy.approximation == "fitc"
    assert copy.kernel.variance == 2.0
    with pytest.raises(NotFittedError):
        copy.predict(data()[0])


def test_pipelines_searches_and_names():
    pandas = pytest.importorskip("pandas")
    X, y = data()
    frame = pandas.DataFrame(X, columns=["a", "b"])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), lvm.SGPR(max_iter=5, random_state=0)), {"sgpr__inducing": [3, 12]}, cv=2
    )
    assert search.fit(frame, y).best_params_ == {"sgpr__inducing": 12}
    model = lvm.SGPR(inducing=25, max_iter=20, random_state=0).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    assert model.score(frame, y) > 0.5
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a"]])
