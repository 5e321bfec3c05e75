"""Fits that are watched, stopped, interrupted, saved, loaded and copied go on to the same bits."""

from __future__ import annotations

import copy
import json
import pickle
import signal

import numpy as np
import pytest
from helpers import FITTED, observations
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import lvmfast as lvm
from lvmfast.exceptions import FitInterruptedWarning
from lvmfast.models import FitStatus
from lvmfast.models._gplvm_problem import Objective

pytestmark = pytest.mark.filterwarnings("ignore:the fit ended before convergence")


OPTIMIZERS = ["auto", "lbfgs", "adam"]
MAX_ITER = 50  # "auto" goes over to L-BFGS after half
STOPS = [1, 2, 17, 24, 25, 26, 40, 49]
RBF = lvm.kernels.RBF


Y = observations()


def new(optimizer="auto", **params):
    return lvm.GPLVM(optimizer=optimizer, **{"max_iter": MAX_ITER, "tol": 0.0, **params})


@pytest.fixture(scope="module")
def uninterrupted():
    """Fits of Y by each optimizer."""
    with pytest.warns(ConvergenceWarning):
        return {optimizer: new(optimizer).fit(Y) for optimizer in OPTIMIZERS}


def assert_same(a, b):
    """Fitted attributes equal bit for bit."""
    for name in FITTED:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        assert np.asarray(getattr(a, name)).dtype == np.asarray(getattr(b, name)).dtype
    assert a.kernel_ == b.kernel_
    np.testing.assert_array_equal(a.transform(a.Y_train_[:2]), b.transform(a.Y_train_[:2]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("at", [1, 30])
def test_a_signal_is_taken_where_nothing_is_lost(optimizer, at, uninterrupted):
    def callback(status):
        if status.iteration == at:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.warns(FitInterruptedWarning):
        model = new(optimizer, callback=callback).fit(Y)
    assert signal.getsignal(signal.SIGINT) is handler
    assert model.n_iter_ == at
    model.callback = None
    assert_same(model.resume(), uninterrupted[optimizer])


class Interrupt:
    """A callback that behaves like Ctrl-C at some iterations, once each."""

    def __init__(self, *stops):
        self.stops = list(stops)

    def __call__(self, status):
        if status.iteration in self.stops:
            self.stops.remove(status.iteration)
            raise KeyboardInterrupt


def interrupted_fit(model, Y):
    with pytest.warns(FitInterruptedWarning, match="resume"):
        return model.fit(Y)


# What a callback is told.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_status(optimizer, uninterrupted):
    told = []

    def callback(status):
        assert isinstance(status, FitStatus)
        told.append((status.iteration, status.loss, status.n_evaluations, status.elapsed))
        assert f"iteration={status.iteration}, loss=" in repr(status)

    model = new(optimizer, callback=callback).fit(Y)
    assert_same(model, uninterrupted[optimizer])
    iterations, losses, evaluations, elapsed = map(np.array, zip(*told, strict=True))
    np.testing.assert_array_equal(iterations, 1 + np.arange(MAX_ITER))
    np.testing.assert_array_equal(losses, model.loss_curve_)
    assert (np.diff(evaluations) >= 1).all() and evaluations[0] >= 1
    assert evaluations[-1] == model.n_evaluations_
    assert elapsed[0] >= 0 and (np.diff(elapsed) >= 0).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [3, 41])
def test_looking_at_the_model_does_not_change_the_fit(optimizer, stop, uninterrupted):
    seen = []

    def callback(status):
        if status.iteration in (1, stop):
            model = status.model()
            status.embedding[...] = np.nan  # a copy
            model.transform(Y[:2])
            seen.append((model, status.embedding))

    model = new(optimizer, callback=callback).fit(Y)
    assert_same(model, uninterrupted[optimizer])
    for at, (early, embedding) in zip((1, stop), seen, strict=True):
        assert early.n_iter_ == at and not early.converged_
        assert early.get_params(deep=False) == {**model.get_params(deep=False), "callback": None}
        np.testing.assert_array_equal(early.embedding_, embedding)
        np.testing.assert_array_equal(early.loss_curve_, model.loss_curve_[:at])
        assert_same(early.resume(), uninterrupted[optimizer])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_status_that_is_kept_still_tells_of_its_iteration(optimizer, uninterrupted):
    kept, embeddings = [], []

    def callback(status):
        kept.append(status)
        embeddings.append(status.embedding)

    new(optimizer, callback=callback).fit(Y)
    for at in (2, 45):
        status = kept[at - 1]
        model = status.model()
        np.testing.assert_array_equal(status.embedding, embeddings[at - 1])
        assert model.n_iter_ == status.iteration == at
        assert model.n_evaluations_ == status.n_evaluations
        assert_same(model.resume(), uninterrupted[optimizer])


@pytest.mark.parametrize("answer", [True, np.True_], ids=["bool", "numpy"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_true_stops(optimizer, answer, recwarn):
    def callback(status):
        return answer if status.iteration == 4 else None

    model = new(optimizer, callback=callback).fit(Y)
    assert model.n_iter_ == 4 and not model.converged_ and "callback" in model.message_
    assert len(recwarn) == 0  # it is what was asked for


@pytest.mark.parametrize("answer", [None, False, np.False_])
def test_anything_false_goes_on(answer):
    assert new(max_iter=5, callback=lambda status: answer).fit(Y).n_iter_ == 5


# Stopped and resumed.


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_interrupted_and_resumed(optimizer, stop, uninterrupted):
    model = interrupted_fit(new(optimizer, callback=Interrupt(stop)), Y)
    assert model.n_iter_ == stop and not model.converged_ and "keyboard" in model.message_
    np.testing.assert_array_equal(model.loss_curve_, uninterrupted[optimizer].loss_curve_[:stop])
    assert np.isfinite(model.transform(Y[:2])).all()
    assert np.isfinite(model.inverse_transform(model.embedding_)).all()
    assert_same(model.resume(), uninterrupted[optimizer])


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_stopped_by_the_callback_and_resumed(optimizer, stop, uninterrupted):
    model = new(optimizer, callback=lambda status: status.iteration == stop).fit(Y)
    assert_same(model.set_params(callback=None).resume(), uninterrupted[optimizer])


@pytest.mark.parametrize("evaluation", [0, 1, 5, 24, 25, 26, 29, 48])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_interrupted_within_an_evaluation(optimizer, evaluation, uninterrupted, monkeypatch):
    """Ctrl-C while the loss is computed, as it mostly comes."""
    calls = 0
    original = Objective.__call__

    def evaluate(self, theta):
        nonlocal calls
        calls += 1
        if calls == evaluation + 1:
            raise KeyboardInterrupt
        return original(self, theta)

    monkeypatch.setattr(Objective, "__call__", evaluate)
    model = interrupted_fit(new(optimizer), Y)
    assert model.n_iter_ <= evaluation == model.n_evaluations_
    assert model.loss_curve_.shape == (model.n_iter_,)
    assert_same(model.resume(), uninterrupted[optimizer])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_interrupted_again_and_again(optimizer, uninterrupted):
    model = interrupted_fit(new(optimizer, callback=Interrupt(5, 6, 42, 43)), Y)
    for stop in (6, 42, 43):
        with pytest.warns(FitInterruptedWarning):
            model.resume()
        assert model.n_iter_ == stop
    assert_same(model.resume(), uninterrupted[optimizer])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_ended_by_max_iter_and_resumed(optimizer):
    """From 300 iterations on, the length of the first part of "auto" is the same."""
    desired = new(optimizer, max_iter=306).fit(Y)
    for first in (300, 305):
        model = new(optimizer, max_iter=first).fit(Y)
        assert model.n_iter_ == min(first, desired.n_iter_)
        assert model.resume(306) is model
        assert model.max_iter == 306
        assert_same(model, desired)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resume_goes_on_from_a_short_fit(optimizer):
    model = new(optimizer, max_iter=6).fit(Y)
    before = model.loss_curve_
    model.resume(20)
    assert model.n_iter_ == 20
    np.testing.assert_array_equal(model.loss_curve_[:6], before)
    assert model.loss_curve_[-1] < before[-1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nothing_to_resume(optimizer, uninterrupted):
    """After convergence, or with max_iter reached, resume changes nothing."""
    model = lvm.GPLVM(optimizer=optimizer, max_iter=2000, tol=1e-4).fit(Y)
    assert model.converged_
    before = copy.deepcopy(model)
    assert_same(model.resume(), before)
    assert_same(copy.deepcopy(uninterrupted[optimizer]).resume(), uninterrupted[optimizer])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resume_of_peculiar_fits(optimizer):
    """Missing entries, ARD, float32, a fixed jitter, columns without a mean."""
    Y_missing = Y.copy()
    Y_missing[::4, 1] = np.nan
    for data, params in (
        (Y_missing, {"missing": "marginalize", "kernel": RBF(0.5, [1.0, 1.5])}),
        (Y.astype(np.float32), {"jitter": 1e-3, "center": False}),
        (Y, {"init": "random", "random_state": 3, "n_components": 3}),
    ):
        desired = new(optimizer, **params).fit(data)
        for stop in (7, 44):
            model = interrupted_fit(new(optimizer, **params, callback=Interrupt(stop)), data)
            assert_same(model.resume(), desired)


def test_resume_with_two_threads(set_num_threads):
    """Large enough for both to work; few iterations, as they may wait for each other."""
    set_num_threads(2)
    wide = observations(80, 100)
    desired = new("lbfgs", max_iter=8).fit(wide)
    model = interrupted_fit(new("lbfgs", max_iter=8, callback=Interrupt(4)), wide)
    assert_same(model.resume(), desired)


@pytest.mark.parametrize(("before", "after"), [("adam", "lbfgs"), ("lbfgs", "adam")])
def test_resume_with_another_optimizer(before, after):
    """Refused by name, or done; not a KeyError from within."""
    model = new(before, max_iter=5).fit(Y)
    loss = model.loss_curve_[-1]
    try:
        model.set_params(optimizer=after).resume(20)
    except ValueError as error:
        assert "optimizer" in str(error)
    else:
        assert model.loss_curve_[-1] < loss


def test_resume_with_another_n_components():
    model = new(max_iter=5).fit(Y)
    with pytest.raises(ValueError, match="n_components"):
        model.set_params(n_components=3).resume(20)


@pytest.mark.parametrize("bad", [0, -1, 2.5, "more"])
def test_bad_limit(bad):
    model = new(max_iter=5).fit(Y)
    with pytest.raises((TypeError, ValueError), match="max_iter must be an integer >= 1"):
        model.resume(bad)
    assert model.max_iter == 5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_limit_that_is_passed(optimizer):
    model = new(optimizer, max_iter=10).fit(Y)
    with pytest.raises(ValueError, match="max_iter must be >= n_iter_ = 10.*got 9"):
        model.resume(9)
    assert model.max_iter == 10 and model.n_iter_ == 10
    with pytest.raises(ValueError, match="max_iter must be >= n_iter_ = 10.*got 3"):
        model.set_params(max_iter=3).resume()
    assert model.n_iter_ == 10


# Files and copies.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_save_and_load(optimizer, uninterrupted, tmp_path):
    model = uninterrupted[optimizer]
    path = tmp_path / "model.npz"
    path.write_bytes(b"an older file")
    model.save(path)
    loaded = lvm.GPLVM.load(str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    assert_same(loaded, model)
    assert loaded.get_params(deep=False) == model.get_params(deep=False)
    np.testing.assert_array_equal(
        loaded.sample([[0.1, 0.2]], random_state=1), model.sample([[0.1, 0.2]], random_state=1)
    )
    assert loaded.score(Y[:2]) == model.score(Y[:2])
    assert_same(loaded.resume(60), copy.deepcopy(model).resume(60))


def test_parameters_come_back_from_a_file(tmp_path):
    init = np.random.default_rng(0).standard_normal((24, 3))
    params = {
        "n_components": np.int64(3),
        "kernel": RBF(0.5, np.array([1.0, 1.5, 0.7])),
        "noise_variance": 0.2,
        "init": init,
        "optimizer": "adam",
        "learning_rate": 0.05,
        "max_iter": 7,
        "tol": 1e-3,
        "center": False,
        "missing": "marginalize",
        "jitter": 1e-4,
        "verbose": 0,
        "random_state": 5,
        "device": "cpu",
    }
    model = lvm.GPLVM(**params).fit(Y)
    model.save(tmp_path / "m")
    loaded = lvm.GPLVM.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.init, init)
    assert loaded.kernel == params["kernel"]
    assert {k: v for k, v in loaded.get_params(deep=False).items() if k != "init"} == {
        **{k: v for k, v in params.items() if k != "init"},
        "callback": None,
    }
    assert_same(loaded, model)
    assert_same(loaded.fit(Y), model)


def test_what_a_file_cannot_hold_is_told(tmp_path):
    model = new(max_iter=3, random_state=np.random.default_rng(0)).fit(Y)
    with pytest.warns(UserWarning, match="random_state"):
        model.save(tmp_path / "m")
    assert lvm.GPLVM.load(tmp_path / "m").random_state is None


@pytest.mark.parametrize("stop", [1, 24, 25, 26])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_checkpoints(optimizer, stop, uninterrupted, tmp_path):
    path = tmp_path / "checkpoint.npz"

    def callback(status):
        if status.iteration == stop:
            status.save(path)

    model = new(optimizer, callback=callback).fit(Y)
    assert_same(model, uninterrupted[optimizer])
    loaded = lvm.GPLVM.load(path)
    assert loaded.n_iter_ == stop
    assert_same(loaded.resume(), uninterrupted[optimizer])


@pytest.mark.parametrize("how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_copies(optimizer, how, uninterrupted):
    model = interrupted_fit(new(optimizer, callback=Interrupt(42)), Y)
    model.set_params(callback=None).transform(Y[:2])
    twin = how(model)
    assert_same(twin, model)
    assert_same(twin.resume(), uninterrupted[optimizer])
    assert model.n_iter_ == 42


def test_a_pickle_holds_no_more_than_a_file(uninterrupted):
    model = copy.deepcopy(uninterrupted["lbfgs"])
    before = len(pickle.dumps(model))
    model.transform(Y)
    assert len(pickle.dumps(model)) == before


def test_strided_observations_resume_from_a_file(tmp_path):
    """A file holds C order; the fit must see the same before and after."""
    strided = np.repeat(Y.T.copy(), 2, axis=1)[:, ::2].T
    assert not (strided.flags.c_contiguous or strided.flags.f_contiguous)
    desired = new().fit(strided)
    model = interrupted_fit(new(callback=Interrupt(42)), strided)
    model.save(tmp_path / "m")
    assert_same(lvm.GPLVM.load(tmp_path / "m").resume(), desired)


def test_clone_is_unfitted(uninterrupted):
    model = uninterrupted["auto"]
    twin = clone(model.set_params(kernel=None))
    assert twin.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        twin.transform(Y)
    kernel = RBF(0.5, [1.0, 1.5])
    twin = clone(lvm.GPLVM(kernel=kernel))
    assert twin.kernel == kernel and twin.kernel is not kernel


@pytest.mark.parametrize("content", ["text", "array", "other", "kind", "format"])
def test_a_file_of_something_else(content, tmp_path):
    path = tmp_path / "m"
    header = {"format": 1, "kind": "GPLVM"}
    header.update({"kind": {"kind": "SVGP"}, "format": {"format": 99}}.get(content, {}))
    with path.open("wb") as file:
        if content == "text":
            file.write(b"not a model")
        elif content == "array":
            np.save(file, Y)
        elif content == "other":
            np.savez(file, Y=Y)
        else:
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8))
    with pytest.raises(ValueError, match="path must name a"):
        lvm.GPLVM.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        lvm.GPLVM.load(tmp_path / "m")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, uninterrupted):
    path = tmp_path / "m"
    uninterrupted["adam"].save(path)

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        uninterrupted["lbfgs"].save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert_same(lvm.GPLVM.load(path), uninterrupted["adam"])
