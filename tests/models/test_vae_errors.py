"""Bad arguments and data of autoencoders: errors before any work, and everything as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lvmfast as lvm
from lvmfast import nn

D = 6


def rows(n=40):
    return np.random.default_rng(0).uniform(0, 1, (n, D))


def heads(*sizes):
    return nn.Sequential([nn.Dense(4)], heads=[[nn.Dense(k)] for k in sizes])


ARGUMENTS = {
    "n_components": ({"n_components": 0}, "n_components must be an integer >= 1, got 0"),
    "hidden": ({"hidden": (3, 0)}, "hidden must be an integer >= 1, got 0"),
    "activation": ({"activation": "swish"}, "activation must be one of"),
    "likelihood": ({"likelihood": "poisson"}, "likelihood must be one of 'bernoulli', 'gaussian', 'categorical'"),
    "variance": ({"likelihood": "gaussian", "variance": "full"}, "variance must be one of 'shared'"),
    "variance 0": ({"likelihood": "gaussian", "variance": 0.0}, "variance must be a finite number > 0"),
    "variance small": ({"likelihood": "gaussian", "variance": 1e-9}, "variance must lie between"),
    "variance shape": ({"likelihood": "gaussian", "variance": [1.0, 2.0]}, r"shape \(6,\), one for each feature"),
    "beta": ({"beta": -1.0}, "beta must be a finite number >= 0"),
    "beta(step)": ({"beta": lambda step: np.nan}, r"beta\(0\) must be a finite number >= 0, got nan"),
    "temperature": ({"temperature": 0.0}, "temperature must be a finite number > 0"),
    "dreg": ({"gradient": "dreg"}, "use objective='iwae'"),
    "iwae": ({"latent": "categorical", "objective": "iwae"}, "objective must be 'elbo' with latent='categorical'"),
    "dtype": ({"dtype": np.float16}, "dtype must be float32 or float64"),
    "classes": ({"likelihood": "categorical"}, "n_classes must be given where X holds numbers of classes"),
    "encoder text": ({"encoder": "conv"}, "encoder must be None, 'linear', a list of layers or .* got 'conv'"),
    "no dtype": ({"dtype": None}, "dtype must be float32 or float64, got None"),
    "dreg of a batch": (
        {"likelihood": "gaussian", "variance": "batch", "objective": "iwae", "gradient": "dreg"},
        "gradient must be 'reparameterized' with variance='batch'.*; use variance='feature'",
    ),
    "latents": ({"encoder": heads(3, 3)}, "encoder must have two heads, .* n_components = 2 .* got 2 of \\(3, 3\\)"),
    "one head": ({"encoder": heads(2)}, "encoder must have two heads, .* got 1 of \\(2,\\)"),
    "built": ({"encoder": heads(2, 2).build(5)}, r"encoder must take the rows of X of shape \(6,\).* built for \(5,\)"),
    "convolution": ({"encoder": [nn.Conv2D(3, 3)]}, r"encoder: .*put Reshape\(\(rows, columns, channels\)\) before it"),
    "features": ({"decoder": [nn.Dense(7)]}, "decoder must give 6 numbers, as many as X has features, got 7"),
    "codes": ({"decoder": nn.Sequential([nn.Dense(D)]).build(3)}, r"decoder must take latents of shape \(2,\)"),
    "sigmoid": ({"decoder": [nn.Dense(D, "sigmoid")]}, "decoder must end in the activation 'linear'.*logits"),
    "decoder heads": ({"decoder": heads(D, D), "likelihood": "gaussian"}, "got 2 heads; use variance='batch'"),
    "two heads": ({"decoder": heads(D, D)}, "decoder must have one head, or none, got 2 heads; remove the others"),
    "one head of two": (
        {"decoder": heads(D), "likelihood": "gaussian", "variance": "row"},
        r"the two heads \(mean, log_var\) with variance='row', got 1 heads; leave heads out",
    ),
    "swapped": (
        {"encoder": nn.Sequential([], heads={"log_var": [nn.Dense(2)], "mean": [nn.Dense(2)]})},
        r"the heads \(mean, log_var\) in this order",
    ),
    "names": (
        {"encoder": nn.Sequential([], heads={"logvar": [nn.Dense(2)], "mu": [nn.Dense(2)]})},
        r"in this order, got \['logvar', 'mu'\]; rename them",
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name):
    params, message = ARGUMENTS[name]
    model = lvm.VAE(**{"hidden": (4,), "max_iter": 1, **params})
    with pytest.raises(ValueError, match=message):
        model.fit(rows())
    assert not hasattr(model, "encoder_") and not hasattr(model, "n_features_in_")


@pytest.mark.parametrize(
    "params, message",
    [
        ({"optimizer": "adam"}, "optimizer must be None or an optimizer of lvmfast.nn"),
        ({"early_stopping": 1}, "early_stopping must be True or False"),
        ({"encoder": [3]}, r"encoder\[0\] must be a layer"),
        ({"encoder": iter([nn.Dense(3)])}, "encoder must be None, 'linear', a list of layers or"),
        ({"beta": lambda step: None}, r"beta\(0\) must be a number, got None"),
        ({"optimizer": nn.Adam(lambda step: "x")}, r"learning_rate\(0\) must be a number, got 'x'"),
        ({"callback": 3}, "callback must be callable"),
        ({"likelihood": "gaussian", "variance": None}, "variance must be a number > 0, got None"),
    ],
)
def test_types(params, message):
    with pytest.raises(TypeError, match=message):
        lvm.VAE(hidden=(4,), max_iter=1, **params).fit(rows())


def bad(value, X=None):
    X = rows() if X is None else X
    X[7, 3] = value
    return X


DATA = {
    "nan": (bad(np.nan), {}, r"X must be finite \(no NaN\), got nan at row 7 of X, column 3"),
    "large": (bad(1e300), {"likelihood": "gaussian"}, "use dtype=np.float64 or scale, got 1e[+]300 at row 7 of X"),
    "bernoulli": (bad(255), {}, r"X must lie in \[0, 1\] .* got 255 at row 7 of X, column 3; scale by .* X / 255"),
    "negative": (bad(-0.5), {}, "got -0.5 at row 7"),
    "codes": (
        bad(0.5, np.ones((9, D))),
        {"likelihood": "categorical", "n_classes": 3},
        "integers from 0 to n_classes - 1 = 2, got 0.5",
    ),
    "one-hot": (np.ones((5, D, 4)), {"likelihood": "categorical", "n_classes": 3}, "must have n_classes=3 numbers"),
    "no rows": (np.zeros((0, 2, 3)), {}, "0 sample"),
    "one row": (rows(1), {"early_stopping": True}, "X must have at least 2 rows"),
}


@pytest.mark.parametrize("name", DATA)
def test_data(name):
    """Found before a step; a fitted model and the caller's array stay as they were."""
    X, params, message = DATA[name]
    good = np.zeros((20, D)) if params.get("likelihood") == "categorical" else rows()
    model = lvm.VAE(**{"hidden": (4,), "max_iter": 2, "random_state": 0, **params}).fit(good)
    before, state, kept = X.copy(), copy.deepcopy(vars(model)), model.transform(good)
    for call in (model.fit, lambda X: model.fit(good, validation_data=X)) if name != "one row" else (model.fit,):
        with pytest.raises(ValueError, match=message if call == model.fit else None):
            call(X)
    if name not in ("one row", "one-hot"):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X)
    np.testing.assert_array_equal(X, before)
    assert set(vars(model)) == set(state)
    np.testing.assert_array_equal(model._theta, state["_theta"])
    np.testing.assert_array_equal(model.transform(good), kept)


def test_calls():
    model = lvm.VAE(hidden=(4,), max_iter=1, random_state=0).fit(rows())
    X = rows()
    for call, message in (
        (lambda: model.transform(X[:, :3]), "X has 3 features, but VAE is expecting 6"),
        (lambda: model.transform(X.reshape(20, 3, 4)), r"X must have shape \(n, 6\), as in the fit, got \(20, 3, 4\)"),
        (lambda: model.inverse_transform(np.zeros((2, 3))), r"Z must have shape \(n, 2\), got \(2, 3\)"),
        (lambda: model.inverse_transform([[np.nan, 0.0]]), "Z must be finite"),
        (lambda: model.inverse_transform([[1e300, 0.0]]), "Z must be finite in float32"),
        (lambda: model.elbo(X, eps=np.zeros((40, 2))), r"eps must have shape \(40, L, 2\)"),
        (lambda: model.elbo(X, theta=np.zeros(3)), "theta must have shape"),
        (lambda: model.sample(0), "n must be an integer >= 1"),
        (lambda: model.log_likelihood(X, n_samples=0), "n_samples must be an integer >= 1"),
        (lambda: model.fit(X, n_total=40), "n_total must be None with data of n rows"),
        (lambda: model.fit(X, validation_data=iter([X])), "validation_data must be rows, or batches that can be read"),
        (lambda: lvm.VAE(early_stopping=True).fit([X[:20], X[20:]]), "validation data must be given with an iterable"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    batches = iter([X[:20], X[20:]])
    for call in (model.transform, model.score, model.elbo, model.partial_fit):
        with pytest.raises(TypeError, match="X must be (rows, or batches that can be read again|one batch)"):
            call(batches)
    assert len(list(batches)) == 2 and model.n_steps_ == 1
    with pytest.raises(ValueError, match="objective must be one of"):
        copy.copy(model).set_params(objective="bound").score(X)
