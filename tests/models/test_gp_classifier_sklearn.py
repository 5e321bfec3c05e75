"""The Gaussian process classifier among scikit-learn's estimators: checks, labels, copies, files, errors."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Classifier, RBF = lvm.PolyaGammaGPClassifier, lvm.kernels.RBF
SHORT = {"n_samples": 20, "burn_in": 5, "n_chains": 2}
KINDS = {
    "full": {"max_iter": 10},
    "kept": {"optimize": False, "mean": 0.25},
    "sparse": {"inducing": 5, "max_iter": 5},
    "batches": {"inducing": 5, "batch_size": 10, "max_iter": 3},
    "gibbs": {"method": "gibbs", "max_iter": 5, **SHORT},
}
RANKS = {
    "check_decision_proba_consistency": "E f and E sigma(f) need not rank inputs alike: their variances differ",
}


@parametrize_with_checks([Classifier(**options) for options in KINDS.values()], expected_failed_checks=lambda _: RANKS)
def test_estimator(estimator, check):
    check(estimator)


def data(n=40, q=2, seed=0):
    """X (n, q) and y (n,): a circle, with a tenth of the labels wrong."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, q))
    y = ((X**2).sum(axis=1) < 2) ^ (rng.random(n) < 0.1)
    return X, y.astype(int)


def fitted(kind, **params):
    X, y = data()
    return Classifier(**{"random_state": 3, **KINDS[kind], **params}).fit(X, y)


def answers(model):
    X = np.random.default_rng(9).uniform(-2, 2, (5, 2))
    found = [model.predict(X), model.predict_proba(X), *model.predict_f(X), model.sample_f(X, 2), model.lower_bounds_]
    return [*found, model.kernel_.theta, np.array(model.jitter_), model.classes_]


def assert_same(a, b):
    for left, right in zip(answers(a), answers(b), strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    assert (a.n_iter_, a.converged_, a.message_, a.lower_bound_) == (
        b.n_iter_,
        b.converged_,
        b.message_,
        b.lower_bound_,
    )


# The estimator's face.


def test_init_stores_and_computes_nothing():
    parameters = inspect.signature(Classifier).parameters
    markers = {name: object() for name in parameters}
    assert vars(Classifier(**markers)) == markers
    kinds = [p.kind for p in parameters.values()]
    assert kinds[1:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)


def test_metadata():
    assert is_classifier(Classifier()) and not get_tags(Classifier()).classifier_tags.multi_class
    assert hasattr(Classifier(inducing=3), "partial_fit") and not hasattr(Classifier(), "partial_fit")
    assert repr(Classifier()) == "PolyaGammaGPClassifier()"


@pytest.mark.parametrize(
    "labels", [[0, 1], [-1, 1], [3.0, 1.0], ["a", "b"], [True, False], np.array(["no", "yes"], dtype=object)]
)
@pytest.mark.parametrize("kind", ["full", "gibbs"])
def test_labels(kind, labels):
    X, y = data()
    labels = np.asarray(labels)
    model = Classifier(random_state=0, **KINDS[kind]).fit(X, labels[y])
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert model.predict(X).dtype == model.classes_.dtype
    assert model.score(X, labels[y]) > 0.75
    proba = model.predict_proba(X)
    second = model.classes_[1] == labels[1]
    number = Classifier(random_state=0, **KINDS[kind]).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(proba[:, 1], number[:, 1] if second else number[:, 0], atol=0.2)


def test_float32():
    """Results have the inputs' dtype, and are near those of float64."""
    X, y = data()
    new = X[:6] + 0.1
    for kind in KINDS:
        single, double = (
            Classifier(RBF(2.0, 1.0), **{**KINDS[kind], "optimize": False, "random_state": 0}).fit(X.astype(t), y)
            for t in (np.float32, np.float64)
        )
        assert single.predict_proba(new).dtype == single.predict_f(new)[0].dtype == np.float32
        if kind != "gibbs":  # whose draws are other ones
            np.testing.assert_allclose(single.predict_proba(new), double.predict_proba(new), atol=1e-3)
            assert single.lower_bound_ == pytest.approx(double.lower_bound_, rel=1e-4)
        else:
            assert single.f_draws_.dtype == np.float32


def test_several_classes_one_by_one():
    X, _ = data(60)
    y = np.digitize(X[:, 0], [-0.7, 0.7])
    model = OneVsRestClassifier(Classifier(RBF(4.0, 1.0), optimize=False)).fit(X, y)
    assert model.score(X, y) > 0.85


def test_pipeline_and_search():
    X, y = data(60)
    pipeline = make_pipeline(StandardScaler(), Classifier(RBF(4.0, 1.0), optimize=False))
    grid = {"polyagammagpclassifier__kernel__lengthscale": [0.001, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss", error_score="raise").fit(X, y)
    assert search.best_params_["polyagammagpclassifier__kernel__lengthscale"] == 1.0


def test_names_of_the_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = data()
    frame = pandas.DataFrame(X, columns=["east", "north"])
    model = Classifier(optimize=False).fit(frame, y)
    np.testing.assert_array_equal(model.feature_names_in_, ["east", "north"])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["north", "east"]])
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(Classifier.load(tmp_path / "m").feature_names_in_, ["east", "north"])
    model.fit(X, y)
    assert not hasattr(model, "feature_names_in_")


# Copies and files.


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
@pytest.mark.parametrize("kind", KINDS)
def test_copies(kind, how):
    model = fitted(kind)
    before = answers(model)
    twin = how(model)
    assert_same(twin, model)
    twin.fit(*data(30, seed=4))
    for left, right in zip(answers(model), before, strict=True):
        np.testing.assert_array_equal(left, right)


def test_clone_is_unfitted():
    model = fitted("sparse", kernel=RBF(2.0, 0.7))
    twin = clone(model)
    with pytest.raises(NotFittedError):
        twin.predict(data()[0])
    assert_same(twin.fit(*data()), model)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_save_and_load(kind, dtype, tmp_path):
    X, y = data()
    kernel = RBF(1.3, [0.7, 1.1]) + lvm.kernels.Matern52(0.5, 2.0)
    kernel.fix("matern52.variance").set_bounds("rbf.lengthscale", 0.1, 10.0)
    model = Classifier(kernel, random_state=3, **KINDS[kind]).fit(X.astype(dtype), np.array(["no", "yes"])[y])
    model.save(tmp_path / "model.npz")
    loaded = Classifier.load(str(tmp_path / "model.npz"))
    assert_same(loaded, model)
    assert loaded.get_params(deep=False).keys() == model.get_params(deep=False).keys()
    assert loaded.kernel == model.kernel and loaded.kernel_ == model.kernel_
    for name in ("X_train_", "f_draws_", "inducing_points_"):
        assert hasattr(loaded, name) == hasattr(model, name)
        if hasattr(model, name):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    assert_same(pickle.loads(pickle.dumps(loaded)), model)


@pytest.mark.parametrize("content", ["text", "kind", "format"])
def test_a_file_of_something_else(content, tmp_path):
    path = tmp_path / "m"
    header = {"format": 1, "kind": "PolyaGammaGPClassifier"}
    header.update({"kind": {"kind": "GPR"}, "format": {"format": 99}}.get(content, {}))
    with path.open("wb") as file:
        if content == "text":
            file.write(b"not a model")
        else:
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8))
    with pytest.raises(ValueError, match="path must name a"):
        Classifier.load(path)


# Errors: what is wrong, and that nothing changes.

BAD = {
    "kernel": ("rbf", TypeError, "kernel must be an lvmfast kernel"),
    "mean": (np.inf, ValueError, "mean must be a finite number"),
    "method": ("ep", ValueError, "method must be one of 'vi', 'gibbs', got 'ep'"),
    "inducing": (0, ValueError, "inducing must be an integer >= 1, got 0"),
    "batch_size": (10, ValueError, "batch_size must be None without inducing inputs, got 10"),
    "max_iter": (0, ValueError, "max_iter must be an integer >= 1, got 0"),
    "optimize": ("yes", TypeError, "optimize must be True or False, got 'yes'"),
    "n_samples": (0, ValueError, "n_samples must be an integer >= 1, got 0"),
    "burn_in": (-1, ValueError, "burn_in must be an integer >= 0, got -1"),
    "thin": (0, ValueError, "thin must be an integer >= 1, got 0"),
    "n_chains": (1.5, TypeError, "n_chains must be an integer >= 1, got 1.5"),
    "step_size": (2.0, ValueError, r"step_size must lie in \(0, 1\], got 2.0"),
    "learning_rate": (0.0, ValueError, "learning_rate must be a finite number > 0, got 0.0"),
    "tol": (-1.0, ValueError, "tol must be a finite number >= 0, got -1.0"),
    "warm_start": (1, TypeError, "warm_start must be True or False, got 1"),
    "random_state": ("x", ValueError, "random_state must be None, an int >= 0"),
    "callback": (3, TypeError, "callback must be callable, got 3"),
    "device": ("tpu", ValueError, "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    value, error, message = BAD[name]
    model = fitted("gibbs" if name == "random_state" else "kept")
    before = answers(model)
    with pytest.raises(error, match=message):
        model.set_params(**{name: value}).fit(*data())
    for left, right in zip(answers(model), before, strict=True):
        np.testing.assert_array_equal(left, right)


def test_bad_data():
    X, y = data()
    model = fitted("kept")
    before = answers(model)
    infinite = X.copy()
    infinite[3, 1] = np.inf
    cases = [
        (X, np.arange(40) % 3, "Only binary classification is supported. The type of the target is multiclass"),
        (X, np.ones(40), "y must hold two classes, got 1 class"),
        (X, np.linspace(0, 1, 40), "Unknown label type: continuous"),
        (X, y[:-1], "inconsistent numbers of samples"),
        (infinite, y, "infinity"),
        (X[:, 0], y, "Expected 2D array"),
    ]
    for X_bad, y_bad, message in cases:
        with pytest.raises(ValueError, match=message):
            model.fit(X_bad, y_bad)
    with pytest.raises(ValueError, match="inducing must be None for method='gibbs'"):
        clone(model).set_params(method="gibbs", inducing=3).fit(X, y)
    with pytest.raises(ValueError, match=r"inducing must have shape \(M, 2\) with M >= 1, got \(4, 3\)"):
        model.set_params(inducing=np.ones((4, 3))).fit(X, y)
    for left, right in zip(answers(model), before, strict=True):
        np.testing.assert_array_equal(left, right)
    with pytest.raises(ValueError, match="2 features"):
        model.predict(np.ones((3, 5)))
    with pytest.raises(ValueError, match="per_draw must be False after method='vi'"):
        model.predict_proba(X, per_draw=True)
    for name in ("r_hat_", "ess_"):
        with pytest.raises(AttributeError, match="method='gibbs'"):
            getattr(model, name)


def test_arguments_stay_as_they_are():
    X, y = data()
    for kind in KINDS:
        kernel, Z = RBF(2.0, 1.0), X[:5].copy()
        options = {**KINDS[kind], "inducing": Z} if "inducing" in KINDS[kind] else KINDS[kind]
        X_given, y_given = X.copy(), y.copy()
        model = Classifier(kernel, **options).fit(X_given, y_given)
        model.predict_proba(X_given)
        np.testing.assert_array_equal(X_given, X)
        np.testing.assert_array_equal(y_given, y)
        np.testing.assert_array_equal(Z, X[:5])
        assert kernel == RBF(2.0, 1.0)
        X_given[:] = 0  # the model keeps copies
        assert model.score(X, y) > 0.5


def test_a_constant_column_and_repeated_rows():
    X, y = data(20)
    X = np.hstack([np.vstack([X, X]), np.full((40, 1), 7.0)])
    for options in KINDS.values():
        model = Classifier(random_state=0, **options).fit(X, np.tile(y, 2))
        assert np.isfinite(model.predict_proba(X)).all()
