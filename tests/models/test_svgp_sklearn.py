"""Stochastic variational processes among scikit-learn's estimators: its checks, pipelines, copies and files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm
from lvmfast import likelihoods


@parametrize_with_checks(
    [
        lvm.SVGP(max_iter=40),
        lvm.SVGP(likelihood="bernoulli", max_iter=15),
        lvm.SVGP(likelihood="softmax", max_iter=15),
    ]
)
def test_estimator(estimator, check):
    check(estimator)


def data(n=60):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (n, 2))
    return X, np.sin(2 * X[:, 0]) + X[:, 1]


MODELS = {
    "regression": lambda X, f: (
        {"kernel": lvm.kernels.Matern52() + lvm.kernels.Linear(), "mean": "linear", "inducing": 7},
        np.column_stack([f, -f]),
    ),
    "labels": lambda X, f: ({"likelihood": "softmax"}, np.array(["a", "b", "c"])[np.digitize(f, [-1, 1])]),
    "object": lambda X, f: (
        {
            "likelihood": likelihoods.StudentT(0.3, 5.0).fix("df").set_bounds("scale", 0.01, 1.0),
            "inducing": X[:6],
            "optimizer": "adam",
            "whiten": False,
            "early_stopping": True,
        },
        f,
    ),
    "cuts": lambda X, f: ({"likelihood": "ordinal", "q_diag": True}, np.digitize(f, [-1, 1])),
}


@pytest.mark.parametrize("name", MODELS)
def test_files_and_pickles(name, tmp_path):
    X, f = data()
    params, y = MODELS[name](X, f)
    model = lvm.SVGP(random_state=0, max_iter=4, schedule=None, batch_size=20, **params).fit(X, y)
    model.save(tmp_path / "model.npz")
    loaded = lvm.SVGP.load(tmp_path / "model.npz")
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        for attribute in ("lower_bound_", "elbo_curve_", "inducing_", "mean_coef_", "jitter_", "message_", "n_iter_"):
            np.testing.assert_array_equal(getattr(other, attribute), getattr(model, attribute), err_msg=attribute)
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        np.testing.assert_array_equal(other.predict_f(X), model.predict_f(X))
        assert other.likelihood_ == model.likelihood_
        assert repr(other.likelihood_.parameters) == repr(model.likelihood_.parameters)
        np.testing.assert_array_equal(other.resume(X, y, max_iter=6).predict_f(X), clone_of(model, X, y))
    for key, value in loaded.get_params(deep=False).items():
        if key not in ("kernel", "max_iter"):
            np.testing.assert_array_equal(value, model.get_params(deep=False)[key])


def clone_of(model, X, y):
    """The prediction of a fit of six steps."""
    return clone(model).set_params(max_iter=6).fit(X, y).predict_f(X)


def test_kinds():
    """One class is a classifier or a regressor, as its likelihood says."""
    kinds = {"gaussian": False, "poisson": False, "probit": True, "ordinal": True, "softmax": True}
    for name, classes in kinds.items():
        model = clone(lvm.SVGP(likelihood=name))
        assert is_classifier(model) is classes and is_regressor(model) is not classes
        assert hasattr(model, "predict_proba") is classes
        assert get_tags(model).target_tags.multi_output is not classes
    assert is_classifier(lvm.SVGP(likelihood=likelihoods.RobustMax(3)))
    with pytest.raises(NotFittedError):
        lvm.SVGP().predict(data()[0])
    with pytest.raises(AttributeError, match="predict_proba"):
        lvm.SVGP().predict_proba(data()[0])


def test_pipelines_searches_and_names():
    pandas = pytest.importorskip("pandas")
    X, f = data(90)
    frame, y = pandas.DataFrame(X, columns=["a", "b"]), np.where(f > 0, "up", "down")
    pipeline = make_pipeline(StandardScaler(), lvm.SVGP(max_iter=25, random_state=0, likelihood="bernoulli"))
    search = GridSearchCV(pipeline, {"svgp__inducing": [1, 15]}, cv=3).fit(frame, y)
    assert search.best_params_ == {"svgp__inducing": 15} and search.best_score_ > 0.85
    model = lvm.SVGP(max_iter=5, random_state=0).fit(frame, f)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a"]])
    with pytest.raises(ValueError, match="must be a name to be saved"):
        lvm.SVGP(mean=lambda X: X[:, 0], max_iter=2).fit(X, f).save("nowhere.npz")
