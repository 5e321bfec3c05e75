"""Implicit models: laws that are learned, any f, fits that stop and go on, files, images, errors."""

from __future__ import annotations

import inspect
import pickle
import signal

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm
from lvmfast import nn
from lvmfast.exceptions import FitInterruptedWarning, NonFiniteError

SMALL = {"n_components": 2, "hidden": (6,), "ratio_hidden": (5,), "batch_size": 16, "max_iter": 4, "random_state": 3}


@parametrize_with_checks([lvm.ImplicitModel(**{**SMALL, "max_iter": 2, "dtype": np.float64})])
def test_estimator(estimator, check):
    check(estimator)


def test_init_stores_and_computes_nothing():
    parameters = inspect.signature(lvm.ImplicitModel).parameters
    markers = {name: object() for name in parameters}
    assert vars(lvm.ImplicitModel(**markers)) == markers


def rows(n=70, d=3):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 2)) @ rng.standard_normal((2, d)) + 0.3 * rng.standard_normal((n, d))


@pytest.mark.parametrize("objective", ["kl", "gan"])
def test_a_normal_law_is_learned(objective):
    """Moments of a correlated normal law; what the ratio still tells of the two laws is little.

    Fixed seeds; over 3 of them the errors were at most half of what is allowed here.
    """
    A, mean = np.array([[1.0, 0.0], [0.8, 0.6]]), np.array([2.0, -1.0])
    X = np.random.default_rng(0).standard_normal((4000, 2)) @ A.T + mean
    steps = 40 * 60
    networks = {"n_components": 2, "generator": "linear", "ratio_hidden": (32, 32), "random_state": 0}
    rates = {"optimizer": nn.CosineDecay(1e-2, steps), "ratio_optimizer": nn.CosineDecay(5e-3, steps)}
    optimizers = {name: nn.Adam(rate, beta_1=0.5) for name, rate in rates.items()}
    model = lvm.ImplicitModel(**networks, **optimizers, objective=objective, batch_size=100, max_iter=60).fit(X)
    sample = model.sample(20_000, rng=1)
    assert np.abs(sample.mean(axis=0) - mean).max() < 0.06
    assert np.abs(np.cov(sample.T) - A @ A.T).max() < 0.13
    assert abs(model.log_ratio(sample).mean()) < 0.02  # minus KL[p | q]
    assert 0 <= model.history_["bound"][-1] + 0.001 < 0.01 < 0.2 < model.history_["bound"][0]
    np.testing.assert_allclose(model.history_["bound"], 0.5 * (np.log(4) - model.history_["ratio_loss"]))


class Function:
    """``f(u) = u log u`` as any convex function is given."""

    def derivative(self, u):
        return np.log(u)

    def second(self, u):
        return 1 / u


class Straight(Function):
    """No slope of u moves."""

    def second(self, u):
        return 0 * u


class Shaped(Function):
    """The same, that knows of the compiled loss."""

    loss_shape = ("power", 1.0, 1.0)


@pytest.mark.parametrize("optimizer", [nn.Adam(0.01, clip_norm=0.5), nn.RMSprop(0.01, momentum=0.5), nn.SGD(0.01)])
def test_any_f(optimizer):
    """Steps that are driven from Python are the compiled ones."""
    settings = {**SMALL, "optimizer": optimizer, "ratio_optimizer": nn.Adam(0.02), "ratio_steps": 2}
    settings |= {"instance_noise": lambda step: 0.3 if step < 7 else 0.0, "dtype": np.float64}
    fits = [lvm.ImplicitModel(**settings, objective=f).fit(rows()) for f in ("kl", 1, Shaped(), Function())]
    for other in fits[1:3]:
        np.testing.assert_array_equal(other._state["theta"], fits[0]._state["theta"])
    np.testing.assert_allclose(fits[3]._state["theta"], fits[0]._state["theta"], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(fits[3].loss_curve_, fits[0].loss_curve_, rtol=1e-8)
    fits[3].set_params(max_iter=5)
    with pytest.raises(ValueError, match="objective must be a name or a number to be saved"):
        fits[3].save("nowhere.npz")


SETTINGS = {
    "adam": {"optimizer": nn.Adam(nn.CosineDecay(0.01, 30)), "ratio_steps": 2, "instance_noise": 0.2},
    "mixed": {"optimizer": nn.SGD(0.01), "ratio_optimizer": nn.RMSprop(0.01, clip_norm=1.0), "loss": "kl"},
    "any f": {"objective": Function()},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_resumed_is_uninterrupted(name, tmp_path):
    """From a file, a pickle and a stop, bit for bit."""
    X, settings = rows(), {**SMALL, **SETTINGS[name]}
    whole = lvm.ImplicitModel(**settings).fit(X)
    stopped = lvm.ImplicitModel(**settings, callback=lambda status: status.iteration == 2).fit(X)
    assert stopped.n_iter_ == 2 and stopped.message_ == "stopped by the callback"
    stopped.callback = None
    others = [pickle.loads(pickle.dumps(stopped)), stopped]
    if name != "any f":
        stopped.save(tmp_path / "model.npz")
        others.append(lvm.ImplicitModel.load(tmp_path / "model.npz"))
        np.testing.assert_array_equal(others[-1].sample(9, rng=0), stopped.sample(9, rng=0))
    for other in others:
        other.resume(X)
        np.testing.assert_array_equal(other._state["theta"], whole._state["theta"])
        for key, values in whole.history_.items():
            np.testing.assert_array_equal(other.history_[key], values)
        np.testing.assert_array_equal(other.log_ratio(X), whole.log_ratio(X))
    with pytest.raises(ValueError, match="X must be the data of the fit"):
        whole.resume(X + 1)
    if name == "adam":
        with pytest.raises(ValueError, match="optimizer and ratio_optimizer must be of the kinds"):
            clone(whole).fit(X).set_params(ratio_optimizer=nn.SGD(0.1)).resume(X, max_iter=5)
        with pytest.raises(ValueError, match="objective must be that of the fit"):
            clone(whole).fit(X).set_params(objective="gan").resume(X, max_iter=5)


def test_interrupted():
    """Ctrl-C keeps what was reached."""

    def rate(step):
        if step == 11:
            signal.raise_signal(signal.SIGINT)
        return 0.01

    model = lvm.ImplicitModel(**{**SMALL, "max_iter": 50, "optimizer": nn.Adam(rate)})
    with pytest.warns(FitInterruptedWarning, match="resume"):
        model.fit(rows())
    assert 0 < model.n_iter_ < 50 and np.isfinite(model.sample(3)).all()


def test_images_and_batches():
    """Convolutions; batches from a list; pieces; one row more."""
    X = np.random.default_rng(0).uniform(size=(40, 8, 8, 1)).astype(np.float32)
    generator = [nn.Dense(32, "relu"), nn.Reshape((4, 4, 2)), nn.Conv2DTranspose(1, (3, 3), (2, 2), "same", "sigmoid")]
    ratio = [nn.Conv2D(4, (3, 3), (2, 2), "same", "elu"), nn.Flatten(), nn.Dense(1)]
    model = lvm.ImplicitModel(generator, ratio, **SMALL).fit(X)
    sample = model.sample(7, rng=0)
    assert sample.shape == (7, 8, 8, 1) and sample.dtype == np.float32 and 0 <= sample.min() <= sample.max() <= 1
    assert model.log_ratio(X).shape == (40,) and model.generate(np.zeros((2, 2))).shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(model.sample(5, rng=0), sample[:5])
    cut = [X[i : i + 16] for i in range(0, 40, 16)]
    assert lvm.ImplicitModel(generator, ratio, **SMALL).fit(cut).n_steps_ == 12
    piece = lvm.ImplicitModel(generator, ratio, **SMALL).partial_fit(X[:9]).partial_fit(X[9:10])
    assert piece.n_steps_ == 2 and piece.resume(X).n_iter_ == 4


def test_numbers_that_overflow():
    """The row is named, nothing is changed."""
    X = rows()
    X[33, 0] = 1e5
    ratio = nn.Sequential([nn.Dense(1)]).build(3, seed=0).set_weights([[[1.0], [0], [0]], [0]])
    model = lvm.ImplicitModel(**SMALL, ratio=ratio, loss=2.0)
    for objective in ("kl", Function()):
        with pytest.raises(NonFiniteError, match="ratio's loss of row 33 of X is not finite"):
            clone(model).set_params(objective=objective, batch_size=70).fit(X)
    X[5, 1] = np.nan
    with pytest.raises(ValueError, match="X must be finite .* row 5 of X, column 1"):
        model.fit(X)
    assert not hasattr(model, "n_iter_")


@pytest.mark.parametrize(
    "params, message",
    [
        ({"objective": "tv"}, "objective must be one of 'kl'"),
        ({"objective": np.nan}, "objective must be one of"),
        ({"objective": Straight()}, r"objective must have second\(u\) > 0"),
        ({"loss": "mse"}, "loss must be 'bce', 'kl' or a finite alpha"),
        ({"ratio_steps": 0}, "ratio_steps must be"),
        ({"output": "tan"}, "output must be"),
        ({"instance_noise": -1.0}, "instance_noise must be"),
        ({"generator": [nn.Dense(2)]}, "generator must give 3 numbers"),
        ({"generator": nn.Sequential([nn.Dense(3)]).build(4)}, r"generator must take noise of shape \(2,\)"),
        ({"ratio": [nn.Dense(2)]}, "ratio must give one number for a row of X"),
        ({"ratio": nn.Sequential([nn.Dense(1)]).build(5)}, r"ratio must take the rows of X of shape \(3,\)"),
    ],
)
def test_errors(params, message):
    with pytest.raises(ValueError, match=message):
        lvm.ImplicitModel(**{**SMALL, **params}).fit(rows())
    with pytest.raises(TypeError, match="optimizer must be None or an optimizer"):
        lvm.ImplicitModel(**SMALL, optimizer=0.1).fit(rows())
    with pytest.raises(ValueError, match="Z must be finite"):
        lvm.ImplicitModel(**SMALL).fit(rows()).generate(np.zeros((2, 3)))
