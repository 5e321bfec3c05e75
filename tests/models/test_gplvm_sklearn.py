"""A GPLVM among scikit-learn's estimators: its checks, pipelines, searches, names."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm

pytestmark = pytest.mark.filterwarnings("ignore:the fit ended before convergence")


# fit_transform gives the latents of the rows as fitted together with all parameters; transform
# finds the latent of a row given a model that has this row among its training data.
OWN_ROWS = "a row is projected given a fit of all rows, its own included"
EXPECTED_FAILURES = {
    "check_estimators_nan_inf": "transform marginalises NaN in new rows",
    "check_transformer_general": OWN_ROWS,
    "check_transformer_data_not_an_array": OWN_ROWS,
}


@parametrize_with_checks(
    [lvm.GPLVM(max_iter=30), lvm.GPLVM(1, max_iter=30, missing="marginalize", init="random")],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_estimator(estimator, check):
    check(estimator)


def observations(n=24, d=6, seed=0):
    """Y (n, d): sines of two latents, with noise of a tenth."""
    rng = np.random.default_rng(seed)
    Z, W = rng.uniform(-2, 2, (n, 2)), rng.standard_normal((2, d))
    return 3 + np.sin(Z @ W) + 0.1 * rng.standard_normal((n, d))


def test_init_stores_and_computes_nothing():
    parameters = inspect.signature(lvm.GPLVM).parameters
    markers = {name: object() for name in parameters}
    model = lvm.GPLVM(**markers)
    assert vars(model) == markers
    kinds = [p.kind for p in parameters.values()]
    assert kinds[1:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)


def test_parameters_of_the_kernel():
    model = lvm.GPLVM(kernel=lvm.kernels.RBF(2.0, 0.5))
    assert model.get_params()["kernel__lengthscale"] == 0.5
    model.set_params(kernel__lengthscale=[1.0, 3.0], max_iter=7)
    assert model.kernel == lvm.kernels.RBF(2.0, [1.0, 3.0])
    with pytest.raises(ValueError, match="period"):
        model.set_params(kernel__period=1.0)


def test_repr():
    assert repr(lvm.GPLVM()) == "GPLVM()"
    shown = repr(lvm.GPLVM(3, kernel=lvm.kernels.RBF(2.0, 0.5), tol=0.1))
    assert "n_components=3" in shown and "lengthscale=0.5" in shown and "tol=0.1" in shown


def test_pipeline():
    Y, new = observations()[:20], observations()[20:]
    scaler, model = StandardScaler(), lvm.GPLVM(max_iter=30)
    pipeline = make_pipeline(scaler, model).fit(Y)
    alone = lvm.GPLVM(max_iter=30).fit(StandardScaler().fit_transform(Y))
    np.testing.assert_array_equal(model.embedding_, alone.embedding_)
    X = pipeline.transform(new)
    np.testing.assert_array_equal(X, alone.transform(scaler.transform(new)))
    back = pipeline.inverse_transform(X)
    assert back.shape == new.shape
    assert np.mean((back - new) ** 2) < np.mean((new - Y.mean(axis=0)) ** 2)
    assert pipeline.score(new) == alone.score(scaler.transform(new))
    np.testing.assert_array_equal(pipeline.get_feature_names_out(), ["gplvm0", "gplvm1"])


def test_names_of_the_latents():
    model = lvm.GPLVM(3, max_iter=3).fit(observations())
    np.testing.assert_array_equal(model.get_feature_names_out(), ["gplvm0", "gplvm1", "gplvm2"])


@pytest.mark.parametrize(
    "grid",
    [
        {"n_components": [1, 2]},
        {"kernel__lengthscale": [0.5, 1.5], "optimizer": ["lbfgs"]},
        {"noise_variance": [0.1, None], "kernel": [None, lvm.kernels.RBF()]},
    ],
    ids=lambda grid: next(iter(grid)),
)
def test_grid_search(grid):
    Y = observations(30)
    model = lvm.GPLVM(kernel=lvm.kernels.RBF(), max_iter=15)
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(Y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and len(set(scores)) > 1
    assert search.best_score_ == scores.max()
    assert search.best_estimator_.get_params()[next(iter(grid))] in next(iter(grid.values()))
    assert search.transform(Y[:2]).shape == (2, search.best_estimator_.n_components)


def test_score_tells_structure_from_noise():
    """Held-out rows of a surface are likelier than the same numbers in shuffled columns."""
    Y = observations(40)
    rng = np.random.default_rng(0)
    shuffled = np.column_stack([rng.permutation(column) for column in Y.T])
    model = lvm.GPLVM(max_iter=40)
    assert cross_val_score(model, Y, cv=2).mean() > cross_val_score(model, shuffled, cv=2).mean()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library):
    frames = pytest.importorskip(library)
    Y = observations()
    columns = [f"pixel {i}" for i in range(6)]
    frame = frames.DataFrame(dict(zip(columns, Y.T, strict=True)))
    model = lvm.GPLVM(max_iter=30).set_output(transform=library)
    X = model.fit_transform(frame)
    assert isinstance(X, frames.DataFrame) and list(X.columns) == ["gplvm0", "gplvm1"]
    np.testing.assert_array_equal(np.asarray(X), model.embedding_)
    np.testing.assert_array_equal(model.feature_names_in_, columns)
    latents, std = model.transform(frame, return_std=True)
    assert isinstance(latents, frames.DataFrame) and isinstance(std, np.ndarray)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[columns[::-1]])


def test_names_of_the_columns_survive_a_file(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(observations(), columns=list("abcdef"))
    seen = []
    model = lvm.GPLVM(max_iter=5, callback=lambda s: seen.append(s.model())).fit(frame)
    np.testing.assert_array_equal(seen[0].feature_names_in_, list("abcdef"))
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(lvm.GPLVM.load(tmp_path / "m").feature_names_in_, list("abcdef"))


def test_metadata():
    tags = lvm.GPLVM().__sklearn_tags__()
    assert not tags.input_tags.allow_nan and not tags.target_tags.required
    assert lvm.GPLVM(missing="marginalize").__sklearn_tags__().input_tags.allow_nan
    assert sklearn.utils.get_tags(lvm.GPLVM()).transformer_tags.preserves_dtype == [
        "float64",
        "float32",
    ]
