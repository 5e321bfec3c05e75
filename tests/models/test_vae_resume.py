"""Fits of autoencoders that stop, are interrupted, saved or fail go on to the bits of one that did not."""

from __future__ import annotations

import itertools
import pickle
import signal

import numpy as np
import pytest
from sklearn.base import clone

import lvmfast as lvm
from lvmfast import nn
from lvmfast.exceptions import FitInterruptedWarning, NonFiniteError, SourceEndedError
from lvmfast.models import _vae_fit

SMALL = {"hidden": (5,), "batch_size": 16, "max_iter": 6, "random_state": 3, "likelihood": "gaussian"}
STEPS = 5  # of an epoch


def rows(n=70, d=4, dtype=np.float64):
    rng = np.random.default_rng(1)
    return (rng.standard_normal((n, 2)) @ rng.standard_normal((2, d)) + 0.3 * rng.standard_normal((n, d))).astype(dtype)


def same(a, b):
    """Whether two models have the same bits."""
    for name in ("loss_curve_", "n_iter_", "n_steps_", "best_iter_", "_theta"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert list(a.history_) == list(b.history_)
    for name, values in a.history_.items():
        np.testing.assert_array_equal(values, b.history_[name], err_msg=name)
    X = rows()
    np.testing.assert_array_equal(a.transform(X), b.transform(X))
    assert a.score(X) == b.score(X)


SETTINGS = {
    "adam": {"optimizer": nn.Adam(nn.CosineDecay(0.01, 30)), "beta": nn.PiecewiseConstant((7,), (0.1, 1.0))},
    "rmsprop": {"optimizer": nn.RMSprop(0.01, momentum=0.9), "variance": "batch", "dtype": np.float64},
    "sgd": {"optimizer": nn.SGD(0.001, momentum=0.5, clip_norm=5.0), "objective": "iwae", "n_samples": 3},
    "held out": {"early_stopping": True, "n_iter_no_change": 2, "optimizer": nn.Adam(0.05), "max_iter": 12},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_resumed_is_uninterrupted(name, tmp_path):
    """From a checkpoint file, from a stop, from Ctrl-C between steps of an epoch."""
    X, settings = rows(), {**SMALL, **SETTINGS[name]}
    whole = lvm.VAE(**settings).fit(X)
    path = tmp_path / "checkpoint.npz"

    def checkpoint(status):
        if status.iteration == 2:
            status.save(path)
        return status.iteration == 3

    stopped = lvm.VAE(**settings, callback=checkpoint).fit(X)
    assert stopped.n_iter_ == 3 and stopped.message_ == "stopped by the callback"
    loaded = lvm.VAE.load(path)
    assert loaded.n_iter_ == 2 and loaded.message_ == "a checkpoint"
    same(loaded.resume(X), whole)
    stopped.callback = None
    same(stopped.resume(X), whole)
    with pytest.raises(ValueError, match="X must be the data of the fit"):
        stopped.resume(X + 1)


class Pressing:
    """A rate during whose computation Ctrl-C is pressed once, at a step."""

    def __init__(self, at):
        self.at = at

    def __call__(self, step):
        if step == self.at:
            self.at = None
            signal.raise_signal(signal.SIGINT)
        return 0.01


def test_interrupted_within_an_epoch(monkeypatch):
    """The steps of the compiled call in which the key is pressed are kept."""
    monkeypatch.setattr(_vae_fit, "MOST_STEPS", 2)
    X = rows()
    whole = lvm.VAE(**SMALL, optimizer=nn.Adam(0.01)).fit(X)
    model = lvm.VAE(**SMALL, optimizer=nn.Adam(Pressing(2 * STEPS + 1)))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.warns(FitInterruptedWarning, match="interrupted after 1[23] steps; .* resume"):
        model.fit(X)
    assert signal.getsignal(signal.SIGINT) is handler
    assert model.n_iter_ == 2 and model.n_steps_ % STEPS and model.message_ == "interrupted from the keyboard"
    assert np.isfinite(model.score(X)) and len(model.history_["loss"]) == 2
    same(pickle.loads(pickle.dumps(model)).resume(X), whole)


def test_pieces_do_not_matter(monkeypatch):
    """One step in a call, or as many as an epoch has."""
    X, models = rows(), []
    for most in (1, 3, 1000):
        monkeypatch.setattr(_vae_fit, "MOST_STEPS", most)
        models.append(lvm.VAE(**SMALL, n_samples=2).fit(X))
    same(models[0], models[1])
    same(models[0], models[2])


def test_batches(tmp_path):
    """Memory maps, lists, callables and iterators go on where they were; an epoch of a map has its rows, no more."""
    X = rows(dtype=np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    cut = [X[i : i + 16] for i in range(0, 70, 16)]
    sources = {
        "map": lambda: (mapped, {}),
        "list": lambda: (cut, {}),
        "callable": lambda: (lambda: iter(cut), {"n_total": 70}),
    }
    for make in sources.values():
        data, more = make()
        whole = lvm.VAE(**SMALL).fit(data, **more)
        assert whole.n_iter_ == 6 and whole.n_steps_ == (-(-6 * 70 // 16) if data is mapped else 6 * STEPS)
        for stop in (1, 4):
            part = lvm.VAE(**SMALL, callback=lambda status, stop=stop: status.iteration == stop).fit(data, **more)
            part.callback = None
            same(part.resume(data, **more), whole)
    stream = itertools.cycle(cut)
    part = lvm.VAE(**{**SMALL, "max_iter": 2}).fit(stream, n_total=70)
    same(part.resume(stream, n_total=70, max_iter=6), lvm.VAE(**SMALL).fit(cut))
    with pytest.raises(SourceEndedError, match="lower max_iter"):
        model = lvm.VAE(**SMALL)
        model.fit(iter(cut), n_total=70)
    assert model.n_iter_ == 1 and np.isfinite(model.transform(X)).all()


def test_an_error_keeps_what_was_reached():
    """Of a bad row in a later batch, and of numbers that overflow; repaired, the fit goes on."""
    X = rows(dtype=np.float32)
    cut = [X[i : i + 16].copy() for i in range(0, 70, 16)]
    whole = lvm.VAE(**SMALL, variance=0.5).fit([batch.copy() for batch in cut])
    value, cut[2][5, 1] = cut[2][5, 1], np.nan
    model = lvm.VAE(**SMALL, variance=0.5)
    with pytest.raises(ValueError, match=r"X must be finite \(no NaN\), got nan at row 5 of batches\[2\], column 1"):
        model.fit(cut)
    assert model.n_steps_ == 2 and "ended by an error after 2 steps" in model.message_
    cut[2][5, 1] = value
    same(model.resume(cut), whole)

    huge = rows()
    huge[33, 2] = 1e25  # its square overflows float32
    model = lvm.VAE(**{**SMALL, "variance": 1.0, "shuffle": False})
    with pytest.raises(NonFiniteError, match=r"reconstruction log p\(x \| z\) of row 33 of X .* at step 2"):
        model.fit(huge)
    assert model.n_steps_ == 2 and np.isfinite(model._theta).all()
    wild = lvm.VAE(**{**SMALL, "optimizer": nn.SGD(nn.PiecewiseConstant((6,), (1e-3, 3e38)))})
    with pytest.raises(NonFiniteError, match="parameters would not be finite after step 7, which was undone"):
        wild.fit(rows())
    assert wild.n_steps_ == 7 and np.isfinite(wild.score(rows()))
    before = clone(model).set_params(max_iter=1)
    with pytest.raises(NonFiniteError):
        before.set_params(batch_size=70).fit(huge)
    assert not hasattr(before, "n_iter_")


def test_resume_of_another_fit():
    X = rows()
    model = lvm.VAE(**SMALL).fit(X)
    for params, message in (
        ({"batch_size": 17}, "batch_size must be that of the fit to go on, 16, got 17"),
        ({"variance": "shared"}, "likelihood, variance, latent and objective must be those of the fit"),
        ({"optimizer": nn.SGD(0.1)}, "optimizer must be of the kind of the fit"),
        ({"n_components": 3}, "n_components must be that of the fit to go on, . latents, got 3"),
        ({"dtype": np.float64}, "dtype must be that of the fit to go on, float32"),
    ):
        with pytest.raises(ValueError, match=message):
            pickle.loads(pickle.dumps(model)).set_params(**params).resume(X)
    with pytest.raises(ValueError, match="max_iter must be >= n_iter_ = 6"):
        model.resume(X, max_iter=2)
    with pytest.raises(ValueError, match="validation_data must be None, as in the fit"):
        model.resume(X, validation_data=X)
    score = model.score(X)
    model.resume(X)
    assert model.score(X) == score


def test_partial_fit():
    """One step with the rows; the first makes the model, and resume goes on from there."""
    X = rows()
    model = lvm.VAE(**SMALL).partial_fit(X[:20])
    for _ in range(3):
        model.partial_fit(X[20:45])
    assert model.n_steps_ == 4 and model.n_iter_ == 0 and len(model.loss_curve_) == 4
    assert model.resume(X).n_iter_ == 6
    steps = model.n_steps_
    assert model.partial_fit(X[:1]).n_steps_ == steps + 1
    with pytest.raises(ValueError, match="X has 3 features, but VAE is expecting 4"):
        model.partial_fit(X[:, :3])
    assert model.n_steps_ == steps + 1
