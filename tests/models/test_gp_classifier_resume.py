"""Fits of Gaussian process classification in parts: warm starts, interrupts, callbacks, pieces of data."""

from __future__ import annotations

import pickle
import signal

import numpy as np
import pytest
from helpers import assert_near, tolerance

import lvmfast as lvm
from lvmfast.exceptions import FitInterruptedWarning

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Classifier, RBF = lvm.PolyaGammaGPClassifier, lvm.kernels.RBF
rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (60, 2))
Y = ((X**2).sum(axis=1) < 2) ^ (rng.random(60) < 0.1)
NEW = rng.uniform(-2, 2, (5, 2))
GIBBS = {"method": "gibbs", "burn_in": 4, "n_chains": 2}
KINDS = {
    "full": ({}, "max_iter", 3, 9),
    "kept": ({"optimize": False}, "max_iter", 3, 9),
    "sparse": ({"inducing": 6}, "max_iter", 3, 9),
    "sparse, kept": ({"inducing": 6, "optimize": False}, "max_iter", 3, 9),
    "batches": ({"inducing": 6, "batch_size": 8}, "max_iter", 2, 5),
    "gibbs": ({**GIBBS, "max_iter": 3}, "n_samples", 5, 12),
    "gibbs, thin": ({**GIBBS, "thin": 3, "optimize": False}, "n_samples", 5, 12),
}


def assert_same(a, b):
    for name in ("lower_bounds_", "f_draws_", "inducing_points_"):
        assert hasattr(a, name) == hasattr(b, name)
        if hasattr(a, name):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    np.testing.assert_array_equal(a.kernel_.theta, b.kernel_.theta)
    np.testing.assert_array_equal(a.predict_proba(NEW), b.predict_proba(NEW))


def through_a_file(model, tmp_path):
    model.save(tmp_path / "m")
    return Classifier.load(tmp_path / "m")


@pytest.mark.parametrize("way", ["same", "pickle", "file"])
@pytest.mark.parametrize("kind", KINDS)
def test_warm_start(kind, way, tmp_path):
    """In two parts, with a file or a pickle between: the bits of one fit."""
    options, name, few, many = KINDS[kind]
    whole = Classifier(**options, **{name: many}, random_state=5).fit(X, Y)
    part = Classifier(**options, **{name: few}, random_state=5, warm_start=True).fit(X, Y)
    if way == "pickle":
        part = pickle.loads(pickle.dumps(part))
    elif way == "file":
        part = through_a_file(part, tmp_path)
    part.set_params(**{name: many}).fit(X, Y)
    assert_same(part, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_resume(kind, tmp_path):
    """The same by a method; parameters stay, and data are asked for where the model has none."""
    options, name, few, many = KINDS[kind]
    whole = Classifier(**options, **{name: many}, random_state=5).fit(X, Y)
    part = Classifier(**options, **{name: few}, random_state=5).fit(X, Y)
    part = through_a_file(part, tmp_path)
    if "inducing" in options:
        with pytest.raises(ValueError, match="X and y must be given"):
            part.resume(2)
    data = (X, Y) if "inducing" in options else ()
    part.resume(1, *data)
    assert part.resume(many - few - 1, *data) is part and getattr(part, name) == few and not part.warm_start
    assert_same(part, whole)
    part.set_params(**{name: many}).resume(None, *data)  # nothing is left
    assert_same(part, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupt(kind):
    """Ctrl-C leaves a model that predicts; a warm start leads where the fit would have gone."""
    options, name, _, many = KINDS[kind]
    whole = Classifier(**options, **{name: many}, random_state=5).fit(X, Y)
    stage = "gibbs" if "method" in options else "vi"
    kept = options.get("burn_in", 0) + 3 * options.get("thin", 1)

    def press(status):
        if status.stage == stage and status.iteration >= (kept if stage == "gibbs" else 2) and not pressed:
            pressed.append(status.iteration)
            signal.raise_signal(signal.SIGINT)

    pressed = []
    model = Classifier(**options, **{name: many}, random_state=5, callback=press, warm_start=True)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.warns(FitInterruptedWarning, match="warm_start=True"):
            model.fit(X, Y)
    except pytest.fail.Exception:
        if stage != "gibbs":  # chains may all be done between two looks
            raise
    assert signal.getsignal(signal.SIGINT) is before and pressed
    assert np.isfinite(model.predict_proba(NEW)).all()
    assert_same(model.fit(X, Y), whole)


def test_interrupt_before_the_first_draw():
    """Nothing to keep: KeyboardInterrupt, and the model is as it was."""
    model = Classifier(method="gibbs", optimize=False, n_samples=5, burn_in=0, random_state=0).fit(X, Y)
    expected = model.predict_proba(NEW)
    model.set_params(burn_in=10_000_000, callback=lambda status: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(NEW), expected)
    model.set_params(callback=lambda status: True)
    with pytest.raises(ValueError, match="before the first draw"):
        model.fit(X, Y)


@pytest.mark.parametrize("kind", KINDS)
def test_callback(kind):
    """Told after every iteration; a true answer stops, without a warning."""
    options, name, _, many = KINDS[kind]
    seen = []
    stage = "gibbs" if "method" in options else "vi"

    def stop(status):
        seen.append(status)
        enough = options["burn_in"] + 3 * options.get("thin", 1) if stage == "gibbs" else 2
        return status.stage == stage and status.iteration >= enough

    model = Classifier(**options, **{name: many}, random_state=5, callback=stop).fit(X, Y)
    assert model.message_ == "stopped by the callback" or model.f_draws_.shape[1] == many
    assert "lower_bound=" in repr(seen[0]) or stage == "gibbs"
    own = [s.iteration for s in seen if s.stage == stage]
    assert own == sorted(set(own)) and seen[-1].elapsed >= seen[0].elapsed >= 0
    if stage == "vi":
        assert own == [1, 2] and [s.lower_bound for s in seen] == model.lower_bounds_.tolist()


def test_other_data_cannot_go_on():
    model = Classifier(optimize=False, max_iter=2, warm_start=True).fit(X, Y)
    expected = model.predict_proba(NEW)
    with pytest.raises(ValueError, match="same X and y"):
        model.fit(X + 1, Y)
    with pytest.raises(ValueError, match="same X and y"):
        model.fit(X, ~Y)
    np.testing.assert_array_equal(model.predict_proba(NEW), expected)


def test_random_state():
    """An int gives the same fit again, a generator another one."""
    for options, name, few, _ in (KINDS["gibbs"], KINDS["batches"]):
        make = lambda state, o=options, k=name, v=few: Classifier(**o, **{k: v}, random_state=state).fit(X, Y)  # noqa: E731
        assert_same(make(1), make(1))
        generator = np.random.default_rng(1)
        assert not np.array_equal(make(generator).predict_proba(NEW), make(generator).predict_proba(NEW))


def test_progress_bar(capsys):
    Classifier(optimize=False, max_iter=2, verbose=1).fit(X, Y)
    assert "PolyaGammaGPClassifier" in capsys.readouterr().err
    Classifier(optimize=False, max_iter=2).fit(X, Y)
    assert not capsys.readouterr().err


# Data in pieces.


def test_memory_maps(tmp_path):
    """Rows of a file: the fit of the same rows in memory."""
    path = tmp_path / "X.dat"
    mapped = np.memmap(path, dtype=np.float32, mode="w+", shape=X.shape)
    mapped[:] = X
    options = {"inducing": 6, "batch_size": 8, "max_iter": 2, "random_state": 0}
    ours = Classifier(**options).fit(np.memmap(path, dtype=np.float32, mode="r", shape=X.shape), Y)
    assert_same(ours, Classifier(**options).fit(X.astype(np.float32), Y))


def test_partial_fit_of_all_rows():
    """With length 1 and nothing to learn, the updates of a whole fit."""
    options = {"inducing": X[:6], "optimize": False}
    whole = Classifier(RBF(), max_iter=6, tol=0.0, **options).fit(X, Y)
    ours = Classifier(RBF(), step_size=1.0, **options)
    for k in range(5):
        ours.partial_fit(X, Y, n_total=60)
        assert_near(ours.lower_bound_, whole.lower_bounds_[k + 1], tolerance(float, 60, 100))
    assert ours.n_iter_ == 5


def test_partial_fit_of_pieces(tmp_path):
    """Pieces of a stream come near the fit of all; files and pickles go on alike."""
    big = np.random.default_rng(3)
    rows = big.uniform(-2, 2, (2000, 1))
    labels = big.random(2000) < 1 / (1 + np.exp(-3 * np.sin(2 * rows[:, 0])))
    options = {"inducing": np.linspace(-2, 2, 9)[:, None], "optimize": False}
    whole = Classifier(RBF(4.0, 0.8), **options).fit(rows, labels)
    ours = Classifier(RBF(4.0, 0.8), **options)
    for _ in range(4):
        for part in np.array_split(np.arange(2000), 20):
            ours.partial_fit(rows[part], labels[part], classes=[False, True], n_total=2000)
    new = np.linspace(-2, 2, 7)[:, None]
    assert np.abs(ours.predict_proba(new) - whole.predict_proba(new)).max() < 0.02
    learning = Classifier(RBF(4.0, 0.8), inducing=9, random_state=0)
    for part in (slice(0, 50), slice(50, 100)):
        learning.partial_fit(rows[part], labels[part])
    twins = pickle.loads(pickle.dumps(learning)), through_a_file(learning, tmp_path)
    for model in (learning, *twins):
        model.partial_fit(rows[100:150], labels[100:150])
    for twin in twins:
        np.testing.assert_array_equal(twin.predict_proba(new), learning.predict_proba(new))
        np.testing.assert_array_equal(twin.inducing_points_, learning.inducing_points_)


def test_partial_fit_checks():
    model = Classifier(inducing=4, random_state=0)
    with pytest.raises(ValueError, match="y must hold two classes, got 1 class"):
        model.partial_fit(X[:10], np.zeros(10))
    model.partial_fit(X[:10], np.zeros(10), classes=[0, 1]).partial_fit(X[10:20], np.ones(10))
    expected = model.predict_proba(NEW)
    with pytest.raises(ValueError, match=r"y must hold the classes \[0, 1\]"):
        model.partial_fit(X[:10], np.arange(10) % 2 + 5)
    with pytest.raises(ValueError, match="n_total must be an integer >= 10, got 3"):
        model.partial_fit(X[:10], Y[:10], n_total=3)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:10, :1], Y[:10])
    np.testing.assert_array_equal(model.predict_proba(NEW), expected)
    with pytest.raises(AttributeError, match="partial_fit"):
        Classifier().partial_fit(X, Y)
    with pytest.raises(ValueError, match="partial_fit; call that again"):
        model.resume(2, X, Y)
