"""Autoencoders among scikit-learn's estimators: its checks, pipelines, copies and files."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm
from lvmfast import nn

SMALL = {"hidden": (6,), "batch_size": 20, "max_iter": 3, "random_state": 0}


@parametrize_with_checks(
    [
        lvm.VAE(likelihood="gaussian", hidden=(8,), max_iter=3, dtype=np.float64),
        lvm.VAE(
            likelihood="gaussian", variance="batch", hidden=(8,), max_iter=2, early_stopping=False, dtype=np.float64
        ),
    ]
)
def test_estimator(estimator, check):
    check(estimator)


def test_init_stores_and_computes_nothing():
    parameters = inspect.signature(lvm.VAE).parameters
    markers = {name: object() for name in parameters}
    assert vars(lvm.VAE(**markers)) == markers
    kinds = [p.kind for p in parameters.values()]
    assert kinds[2:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_latents'"):
        lvm.VAE(n_latents=2)


def rows(n=50, d=6):
    return np.random.default_rng(0).uniform(0, 1, (n, d))


def networks():
    encoder = nn.Sequential([nn.Dense(5, "tanh")], heads={"mean": [nn.Dense(2)], "log_var": [nn.Dense(2)]})
    return {"encoder": encoder.build(6, seed=1), "decoder": nn.Sequential([nn.Dense(4, "elu"), nn.Dense(6)])}


MODELS = {
    "bernoulli": lambda: {"early_stopping": True, "hidden": 4},
    "batch": lambda: {
        "likelihood": "gaussian",
        "variance": "batch",
        "optimizer": nn.RMSprop(nn.CosineDecay(0.01, 20), momentum=0.5, clip_norm=3.0),
        "dtype": np.float64,
    },
    "fixed": lambda: {"likelihood": "gaussian", "variance": np.full(6, 0.5), "objective": "iwae", "n_samples": 2},
    "networks": lambda: networks() | {"beta": nn.PiecewiseConstant((4,), (0.5, 1.0)), "optimizer": nn.SGD(0.01)},
    "layers": lambda: {
        "encoder": [nn.Dense(5, "relu")],
        "decoder": "linear",
        "latent": "categorical",
        "n_categories": 3,
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_files_and_pickles(name, tmp_path):
    """What is loaded says the same, and goes on to the same bits."""
    X = rows()
    params = {**SMALL, **MODELS[name]()}
    model = lvm.VAE(**params).fit(X)
    model.save(tmp_path / "model.npz")
    whole = clone(model).set_params(max_iter=5).fit(X)
    for other in (lvm.VAE.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        for attribute in ("loss_curve_", "message_", "n_iter_", "n_steps_", "best_iter_", "n_features_in_"):
            np.testing.assert_array_equal(getattr(other, attribute), getattr(model, attribute), err_msg=attribute)
        assert list(other.history_) == list(model.history_)
        if params.get("likelihood") == "gaussian":
            np.testing.assert_array_equal(other.noise_variance_, model.noise_variance_)
        np.testing.assert_array_equal(other.transform(X), model.transform(X))
        np.testing.assert_array_equal(other.sample(4, rng=1), model.sample(4, rng=1))
        assert other.score(X) == model.score(X)
        assert other.encoder_.summary() == model.encoder_.summary()
        other.resume(X, max_iter=5)
        np.testing.assert_array_equal(other.loss_curve_, whole.loss_curve_)
        np.testing.assert_array_equal(other.transform(X), whole.transform(X))
    for key, value in lvm.VAE.load(tmp_path / "model.npz").get_params(deep=False).items():
        if key in ("encoder", "decoder"):
            assert repr(value) == repr(params.get(key))
        elif key != "hidden":
            np.testing.assert_array_equal(value, model.get_params(deep=False)[key], err_msg=key)


def test_callables_are_not_saved(tmp_path):
    """A file holds schedules of lvmfast.nn; a pickle what can be pickled."""
    model = lvm.VAE(**SMALL, beta=lambda step: min(1.0, 0.1 * step)).fit(rows())
    with pytest.raises(ValueError, match="beta must be a number or a schedule"):
        model.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="must name a file written by VAE.save"):
        (tmp_path / "other.npz").write_bytes(b"x")
        lvm.VAE.load(tmp_path / "other.npz")


def test_pipelines_searches_and_names():
    pandas = pytest.importorskip("pandas")
    X = 3 + 5 * rows()
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    pipeline = make_pipeline(MinMaxScaler(), lvm.VAE(**{**SMALL, "max_iter": 1, "likelihood": "gaussian"}))
    search = GridSearchCV(pipeline, {"vae__n_components": [1, 2]}, cv=2).fit(frame)
    assert search.best_score_ > -20
    model = lvm.VAE(**SMALL, likelihood="gaussian").fit(frame)
    assert model.feature_names_in_.tolist() == list("abcdef")
    assert model.get_feature_names_out().tolist() == ["vae0", "vae1"]
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[list("bacdef")])
    with pytest.raises(NotFittedError):
        lvm.VAE().transform(X)
