"""A latent grid among scikit-learn's estimators: its checks, pipelines, searches, names."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm
from lvmfast import nn

GRID = np.linspace(-3, 3, 41)


def line(z):
    """(m, 1) -> (m, 2)."""
    return z, -0.5 * z


def net():
    return nn.Sequential([nn.Dense(6, "tanh"), nn.Dense(2)]).build((1,), np.float64, seed=0)


def rows(n=60, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    return np.column_stack([z, -0.5 * z]) + 0.3 * rng.standard_normal((n, 2))


WIDTH = [2]


class AnyLine:
    """(m, 1) -> (m, d) of the last fit of OfAnyWidth; its repr is the same in every process."""

    def __call__(self, z):
        return z * np.linspace(-1, 1, WIDTH[0])

    def __repr__(self):
        return "AnyLine()"


class OfAnyWidth(lvm.GridLatentModel):
    """A known map has as many columns as it has; scikit-learn's checks have data of many widths."""

    def fit(self, X, y=None):
        WIDTH[0] = (np.asarray(X).shape + (1, 1))[1]
        return super().fit(X, y)


EXPECTED_FAILURES = {"check_estimators_nan_inf": "at infinity the density is 0, and a latent is NaN"}


@parametrize_with_checks(
    [OfAnyWidth(AnyLine(), 1.0, n_grid=41)], expected_failed_checks=lambda model: EXPECTED_FAILURES
)
def test_estimator(estimator, check):
    check(estimator)


def test_init_stores_and_computes_nothing():
    parameters = inspect.signature(lvm.GridLatentModel).parameters
    markers = {name: object() for name in parameters}
    assert vars(lvm.GridLatentModel(**markers)) == markers
    kinds = [parameter.kind for parameter in parameters.values()]
    assert kinds[2:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 2)
    assert parameters["normalize"].default is False


def test_repr():
    shown = repr(lvm.GridLatentModel(line, 0.5, n_components=1, normalize=True))
    assert shown.startswith("GridLatentModel(f=") and "noise_variance=0.5" in shown and "normalize=True" in shown


def test_clone_keeps_parameters():
    model = lvm.GridLatentModel(net(), [0.1, 0.2], grid=GRID, normalize=True)
    twin = clone(model)
    assert twin is not model and twin.get_params().keys() == model.get_params().keys()
    X = rows(5)
    np.testing.assert_array_equal(twin.log_density(X), model.log_density(X))


def test_pipeline_and_names():
    X = rows()
    model = lvm.GridLatentModel(line, 1.0, grid=GRID)
    pipeline = make_pipeline(StandardScaler(), model).fit(X)
    scaled = StandardScaler().fit_transform(X)
    alone = lvm.GridLatentModel(line, 1.0, grid=GRID).fit(scaled)
    np.testing.assert_array_equal(pipeline.transform(X), alone.transform(scaled))
    assert pipeline.score(X) == alone.score(scaled)
    assert pipeline.inverse_transform(pipeline.transform(X)).shape == X.shape
    np.testing.assert_array_equal(pipeline.get_feature_names_out(), ["gridlatentmodel0"])


def test_transform_is_the_posterior_mean():
    X = rows()
    model = lvm.GridLatentModel(line, 0.2, grid=GRID).fit(X)
    np.testing.assert_array_equal(model.transform(X), model.posterior(X).mean)
    z = np.array([[0.5], [-1.0]])
    np.testing.assert_array_equal(model.inverse_transform(z), np.hstack(line(z)))
    assert model.n_features_in_ == 2


def test_grid_search():
    """Of two noises that are kept, the nearer one."""
    X = rows(120)
    model = lvm.GridLatentModel(line, grid=GRID, learn_noise=False)
    search = GridSearchCV(model, {"noise_variance": [1.0, 0.09, 0.001]}, cv=3, error_score="raise").fit(X)
    assert search.best_params_ == {"noise_variance": 0.09}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library):
    frames = pytest.importorskip(library)
    X = rows()
    frame = frames.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    model = lvm.GridLatentModel(line, 1.0, grid=GRID).set_output(transform=library)
    latents = model.fit(frame).transform(frame)
    assert isinstance(latents, frames.DataFrame) and list(latents.columns) == ["gridlatentmodel0"]
    np.testing.assert_array_equal(np.asarray(latents), model.posterior(X).mean)
    np.testing.assert_array_equal(model.feature_names_in_, ["a", "b"])
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[["b", "a"]])
    with pytest.raises(ValueError, match="X must have the columns"):
        model.log_density(frame[["b", "a"]])
