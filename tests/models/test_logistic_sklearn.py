"""Logistic regression among scikit-learn's estimators: its checks, pipelines, searches, names, copies and files."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm

Model = lvm.PolyaGammaLogisticRegression

# A row of weight 2 takes one draw from PG(2, z), two equal rows take two from PG(1, z): the same posterior in other
# numbers. test_weights_are_powers_of_the_likelihood compares the distributions.
WEIGHTS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "the posterior is the same, its random draws are not"
    for kind in ("dense", "sparse")
}


def expected_failures(estimator):
    return WEIGHTS if estimator.method == "gibbs" else {}


@parametrize_with_checks(
    [
        Model(),
        Model(2.0, n_chains=1, n_samples=300, burn_in=50, thin=2, keep_omega=True, fit_intercept=False),
        Model(method="vi"),
    ],
    expected_failed_checks=expected_failures,
)
def test_estimator(estimator, check):
    check(estimator)


FITTED = ("classes_", "coef_", "intercept_", "coef_draws_", "intercept_draws_", "omega_draws_", "r_hat_", "ess_")
FITTED += ("covariance_", "lower_bound_", "lower_bounds_", "n_iter_", "device_", "n_features_in_", "feature_names_in_")


def data(n=60, q=2, seed=0, labels=(0, 1)):
    """X (n, q), and labels whose log-odds are linear."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, q))
    p = 1 / (1 + np.exp(-(X @ rng.standard_normal(q) + 0.3)))
    return X, np.array(labels)[(rng.random(n) < p).astype(int)]


def quick(**params):
    return Model(**{"n_samples": 40, "burn_in": 10, "n_chains": 2, "random_state": 0, **params})


def assert_same(a, b):
    """Fitted attributes equal bit for bit, and so are answers."""
    for name in FITTED:
        assert hasattr(a, name) == hasattr(b, name), name
        if hasattr(a, name):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
            assert np.asarray(getattr(a, name)).dtype == np.asarray(getattr(b, name)).dtype, name
    X = np.random.default_rng(9).standard_normal((5, a.n_features_in_))
    for method in ("predict_proba", "predict", "decision_function"):
        np.testing.assert_array_equal(getattr(a, method)(X), getattr(b, method)(X))


def test_init_stores_and_computes_nothing():
    parameters = inspect.signature(Model).parameters
    markers = {name: object() for name in parameters}
    assert vars(Model(**markers)) == markers
    kinds = [p.kind for p in parameters.values()]
    assert kinds[1:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)


def test_metadata():
    tags = sklearn.utils.get_tags(Model())
    assert is_classifier(Model()) and tags.target_tags.required and not tags.classifier_tags.multi_class
    assert not tags.input_tags.allow_nan and not tags.input_tags.sparse
    assert repr(Model()) == "PolyaGammaLogisticRegression()"


def test_shapes_and_dtypes(dtype):
    X, y = data(q=3)
    model = quick(keep_omega=True).fit(X.astype(dtype), y)
    shapes = {name: getattr(model, name).shape for name in ("coef_", "intercept_", "coef_draws_", "intercept_draws_")}
    assert shapes == {"coef_": (1, 3), "intercept_": (1,), "coef_draws_": (2, 40, 3), "intercept_draws_": (2, 40)}
    assert model.omega_draws_.shape == (2, 40, 60) and (model.omega_draws_ > 0).all()
    assert model.r_hat_.shape == model.ess_.shape == (4,) and model.n_iter_ == 50 and model.device_ == "cpu"
    new = X[:7].astype(dtype)
    assert model.predict_proba(new).shape == (7, 2)
    assert model.predict_proba(new, per_draw=True).shape == (2, 40, 7, 2)
    vi = Model(method="vi").fit(X.astype(dtype), y)
    assert vi.covariance_.shape == (4, 4) and not hasattr(vi, "coef_draws_")
    for m in (model, vi):
        names = ("predict_proba", "predict_log_proba", "decision_function")
        assert {getattr(m, name)(new).dtype for name in names} == {np.dtype(dtype)}
        assert m.coef_.dtype == dtype


@pytest.mark.parametrize("labels", [(0, 1), (-1, 1), ("no", "yes"), (False, True), (3.0, 7.0)])
@pytest.mark.parametrize("method", ["gibbs", "vi"])
def test_labels(method, labels):
    """The second of the sorted labels is the success; names of labels change no number."""
    X, y = data(labels=labels)
    model, plain = quick(method=method).fit(X, y), quick(method=method).fit(X, y == labels[1])
    np.testing.assert_array_equal(model.classes_, labels)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    np.testing.assert_array_equal(model.predict(X) == labels[1], model.decision_function(X) > 0)
    assert model.score(X, y) == np.mean(model.predict(X) == y)
    assert set(model.sample_y(X, 3).ravel()) == set(labels)


@pytest.mark.parametrize("method", ["gibbs", "vi"])
def test_copies(method, tmp_path):
    """A pickle, a deep copy and a file are the model, and go on alike."""
    X, y = data(labels=("no", "yes"))
    model = quick(method=method, max_iter=3, tol=0.0, keep_omega=method == "gibbs", prior_precision=[1.0, 2.0, 0.5])
    with pytest.warns(sklearn.exceptions.ConvergenceWarning) if method == "vi" else contextless():
        model.fit(X, y)
    model.save(tmp_path / "model.npz")
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), Model.load(tmp_path / "model.npz")]
    unfitted = clone(model)
    assert not hasattr(unfitted, "coef_") and unfitted.get_params().keys() == model.get_params().keys()
    for other in copies:
        assert_same(other, model)
        np.testing.assert_array_equal(other.prior_precision, model.prior_precision)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning) if method == "vi" else contextless():
        for other in (model, *copies):
            other.resume(5)
    for other in copies:
        assert_same(other, model)


def contextless():
    import contextlib

    return contextlib.nullcontext()


def test_files_of_counts(tmp_path):
    X, _ = data()
    counts = np.random.default_rng(0).poisson(2, 60)
    model = quick(likelihood="negative-binomial").fit(X, counts, dispersion=1.5)
    model.save(tmp_path / "model.npz")
    loaded = Model.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    with pytest.raises(ValueError, match="basis must be None to be saved"):
        quick(basis=np.abs).fit(X, counts > 1).save(tmp_path / "no.npz")
    with pytest.raises(ValueError, match="PolyaGammaLogisticRegression"):
        lvm.GPR.load(tmp_path / "model.npz")


def test_names_of_features():
    pandas = pytest.importorskip("pandas")
    X, y = data()
    frame = pandas.DataFrame(X, columns=["age", "dose"])
    model = quick().fit(frame, y)
    assert model.summary().names == ["age", "dose", "intercept"]
    np.testing.assert_array_equal(model.predict_proba(frame), quick().fit(X, y).predict_proba(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["dose", "age"]])


def test_in_pipelines_and_searches():
    X, y = data(n=90)
    pipeline = make_pipeline(PolynomialFeatures(2, include_bias=False), quick(method="vi")).fit(X, y)
    basis = quick(method="vi", basis=PolynomialFeatures(2, include_bias=False).fit(X).transform).fit(X, y)
    np.testing.assert_array_equal(pipeline.predict_proba(X), basis.predict_proba(X))
    search = GridSearchCV(quick(method="vi"), {"prior_precision": [1e-2, 1.0, 1e4]}, cv=3, error_score="raise")
    assert search.fit(X, y).best_params_["prior_precision"] != 1e4
    three = np.digitize(X[:, 0], [-0.5, 0.5])
    assert OneVsRestClassifier(quick(method="vi")).fit(X, three).score(X, three) > 0.6


def test_a_fit_that_fails_leaves_the_model_as_it_was():
    X, y = data()
    model = quick().fit(X, y)
    before = copy.deepcopy(model)
    with pytest.raises(ValueError):
        model.fit(X, np.zeros(60))
    with pytest.raises(ValueError):
        model.fit(X[:, :1], y[:5])
    assert_same(model, before)
    model.set_params(method="vi").fit(X, y)
    assert not hasattr(model, "coef_draws_") and not hasattr(model, "r_hat_")


@pytest.mark.parametrize("call", ["predict", "predict_proba", "decision_function", "summary", "resume", "sample_y"])
def test_what_is_not_fitted_says_so(call):
    arguments = () if call in ("summary", "resume") else (np.ones((2, 2)),)
    with pytest.raises(NotFittedError):
        getattr(Model(), call)(*arguments)
    with pytest.raises(NotFittedError):
        Model().continue_sampling(3)
