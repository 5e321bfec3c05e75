"""Fits of stochastic variational processes: what they find, where batches come from, and how they end and go on."""

from __future__ import annotations

import numpy as np
import pytest

import lvmfast as lvm
from lvmfast import likelihoods
from lvmfast.exceptions import FitInterruptedWarning, LvmfastError, NonFiniteError, SourceEndedError

N = 240
RBF = lvm.kernels.RBF
SMALL = {"inducing": 12, "max_iter": 60, "random_state": 0, "batch_size": 50, "learning_rate": 0.03, "schedule": None}


def inputs(n=N, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 2))
    return X, np.sin(1.5 * X[:, 0]) + 0.5 * X[:, 1], rng


def observations(name, f, rng):
    p = 1 / (1 + np.exp(-3 * f))
    return {
        "gaussian": lambda: f + 0.1 * rng.standard_normal(len(f)),
        "student_t": lambda: f + 0.05 * rng.standard_t(3, len(f)),
        "bernoulli": lambda: (rng.random(len(f)) < p).astype(int),
        "probit": lambda: np.where(rng.random(len(f)) < p, "yes", "no"),
        "poisson": lambda: rng.poisson(np.exp(1 + f)).astype(float),
        "negative_binomial": lambda: rng.poisson(np.exp(1 + f) * rng.gamma(4, 0.25, len(f))).astype(float),
        "gamma": lambda: rng.gamma(4, np.exp(f) / 4),
        "beta": lambda: np.clip(rng.beta(20 * p, 20 * (1 - p)), 1e-3, 1 - 1e-3),
        "ordinal": lambda: np.digitize(f + 0.1 * rng.standard_normal(len(f)), [-0.6, 0.6]),
        "softmax": lambda: np.array(["a", "b", "c"])[np.digitize(f, [-0.6, 0.6])],
        "robust_max": lambda: np.digitize(f, [-0.6, 0.6]),
    }[name]()


def same(a, b, bits=True):
    """Two models that were fitted alike."""
    X = inputs(seed=5)[0]
    compare = np.testing.assert_array_equal if bits else np.testing.assert_allclose
    for name in ("elbo_curve_", "loss_curve_", "validation_curve_", "inducing_", "mean_coef_", "lower_bound_"):
        compare(getattr(a, name), getattr(b, name), err_msg=name)
    compare(a.kernel_.theta, b.kernel_.theta)
    compare(a.likelihood_.theta, b.likelihood_.theta)
    compare(a.predict_f(X), b.predict_f(X))
    assert (a.n_iter_, a.best_iter_) == (b.n_iter_, b.best_iter_)


NAMES = ["gaussian", "student_t", "bernoulli", "probit", "poisson", "negative_binomial"]
NAMES += ["gamma", "beta", "ordinal", "softmax", "robust_max"]


@pytest.mark.parametrize("name", NAMES)
def test_every_likelihood_learns(name):
    """New rows are predicted better than by the shares or the spread of all, in nats per row, with q of two kinds."""
    X, f, rng = inputs(2 * N)
    y = observations(name, f, rng)
    still = {"likelihood": name, "kernel": RBF(1e-6, 1.0).fix(), **SMALL}
    alone = lvm.SVGP(**still).fit(X[:N], y[:N]).log_predictive_density(X[N:], y[N:]).mean()
    for more in ({}, {"optimizer": "adam", "q_diag": True, "learning_rate": 0.05}):
        model = lvm.SVGP(likelihood=name, **{**SMALL, "max_iter": 150, **more}).fit(X[:N], y[:N])
        assert model.log_predictive_density(X[N:], y[N:]).mean() > alone + 0.1
        assert model.score(X[N:], y[N:]) > 0.3
        assert np.mean(model.elbo_curve_[-20:]) > np.mean(model.elbo_curve_[:20])


def test_one_natural_step_is_sparse_regression():
    """Length 1, all rows, nothing else to learn: q(u), bound and predictions are SGPR's."""
    X, f, rng = inputs()
    y = np.column_stack([f, -f]) + 0.1 * rng.standard_normal((N, 2))
    kernel = RBF(1.0, 1.0).fix()
    sparse = lvm.SGPR(kernel, inducing=X[:15], mean="zero", noise_variance=0.01, optimizer=None).fit(X, y)
    for noise, whiten in ((likelihoods.Gaussian(0.01).fix(), True), ("gaussian", False)):
        known = {} if whiten else {"noise_variance": np.full(N, 0.01)}
        settings = {
            "inducing": X[:15],
            "learn_inducing": False,
            "mean": "zero",
            "max_iter": 1,
            "jitter": sparse.jitter_,
        }
        model = lvm.SVGP(kernel, likelihood=noise, whiten=whiten, **settings).fit(X, y, **known)
        np.testing.assert_allclose(model.lower_bound_, sparse.lower_bound_, rtol=1e-9)
        np.testing.assert_allclose(model.predict(X), sparse.predict(X), atol=1e-8)
        np.testing.assert_allclose(
            model.predict(X, return_std=True)[1], sparse.predict(X, return_std=True)[1], rtol=1e-5
        )


def test_from_a_sparse_regression():
    X, f, rng = inputs()
    y = f + 0.1 * rng.standard_normal(N)
    sparse = lvm.SGPR(inducing=12, random_state=0, tol=1e-4).fit(X, y)
    model = lvm.SVGP.from_sgpr(sparse, learning_rate=1e-3, batch_size=60, max_iter=40)
    np.testing.assert_allclose(model.predict(X), sparse.predict(X), atol=1e-9)
    density = model.log_predictive_density(X, y).mean()
    model.resume(X, y)
    assert model.n_iter_ == 40 and abs(model.log_predictive_density(X, y).mean() - density) < 0.05
    before = model.predict(X)
    model.partial_fit(X[:20], y[:20], n_total=N)
    assert model.n_iter_ == 41 and 0 < np.abs(model.predict(X) - before).max() < 0.5
    with pytest.raises(ValueError, match="q_diag must be False"):
        lvm.SVGP.from_sgpr(sparse, q_diag=True)
    with pytest.raises(TypeError, match="model must be a fitted lvmfast.SGPR, got 3"):
        lvm.SVGP.from_sgpr(3)


RESUMED = {
    "natural": {"schedule": "cosine"},
    "adam, not whitened": {"optimizer": "adam", "whiten": False},
    "held out": {"early_stopping": True, "n_iter_no_change": 5, "eval_every": 3, "likelihood": "student_t"},
    "diagonal": {"q_diag": True, "likelihood": likelihoods.Gaussian(0.3), "mean": "linear"},
    "float32": {"kernel": RBF(1.0, 30.0), "inducing": 40},
}


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_is_uninterrupted(name, tmp_path):
    """From a checkpoint file, from a stop, from an interrupt: the bits of one fit."""
    X, f, rng = inputs()
    y = f + 0.1 * rng.standard_normal(N)
    if name == "float32":
        X, y = X.astype(np.float32), y.astype(np.float32)
    settings = {**SMALL, "max_iter": 30, **RESUMED[name]}
    whole = lvm.SVGP(**settings).fit(X, y)
    path = tmp_path / "checkpoint.npz"

    def checkpoint(status):
        if status.iteration == 11:
            status.save(path)
        return status.iteration == 17

    stopped = lvm.SVGP(**settings, callback=checkpoint).fit(X, y)
    assert stopped.n_iter_ == 17 and stopped.message_ == "stopped by the callback"
    loaded = lvm.SVGP.load(path)
    assert loaded.n_iter_ == 11
    same(loaded.resume(X, y), whole)
    stopped.callback = None
    same(stopped.resume(X, y), whole)

    def interrupt(status):
        if status.iteration == 5:
            raise KeyboardInterrupt

    with pytest.warns(FitInterruptedWarning, match="interrupted after 5 steps"):
        broken = lvm.SVGP(**settings, callback=interrupt).fit(X, y)
    broken.callback = None
    same(broken.resume(X, y), whole)
    with pytest.raises(ValueError, match="must be the data of the fit"):
        broken.resume(X + 1, y)


class Sliced:
    """An array of which slices alone can be had."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key):
        assert isinstance(key, slice)
        return self._array[key]


def test_streamed_is_in_memory(tmp_path):
    """A memory map gives the bits of an array; a list, a callable and a file in slices those of one another's rows."""
    X, f, rng = inputs()
    y = np.where(f + 0.3 * rng.standard_normal(N) > 0, "in", "out")
    paths = [tmp_path / "X.npy", tmp_path / "f.npy"]
    np.save(paths[0], X)
    np.save(paths[1], f)
    settings = {**SMALL, "max_iter": 12}
    array = lvm.SVGP(**settings).fit(X, f)
    mapped = lvm.SVGP(**settings).fit(*(np.load(path, mmap_mode="r") for path in paths))
    np.testing.assert_array_equal(mapped.elbo_curve_, array.elbo_curve_)
    np.testing.assert_array_equal(mapped.predict(X), array.predict(X))
    labelled = {**settings, "likelihood": "bernoulli", "inducing": X[:12]}
    batches = [(X[k : k + 60], y[k : k + 60]) for k in range(0, N, 60)]
    models = lvm.SVGP(**labelled).fit(batches), lvm.SVGP(**labelled).fit(lambda: iter(batches), n_total=N)
    same(*models)
    assert models[0].classes_.tolist() == ["in", "out"]
    sliced = lvm.SVGP(**{**labelled, "batch_size": N}).fit(Sliced(X), Sliced(y))
    whole = lvm.SVGP(**{**labelled, "batch_size": N}).fit(X, y)
    np.testing.assert_allclose(sliced.elbo_curve_, whole.elbo_curve_, rtol=1e-12)


def test_iterables_resume():
    X, f, _ = inputs()
    batches = [(X[k : k + 60], f[k : k + 60]) for k in range(0, N, 60)]
    settings = {**SMALL, "max_iter": 10}
    whole = lvm.SVGP(**settings).fit(batches)
    for steps in (6, 2 * len(batches)):  # within a pass and at its end
        part = lvm.SVGP(**{**settings, "max_iter": steps}).fit(batches)
        same(part.resume(batches, max_iter=10), whole)


def test_a_source_that_ends_keeps_what_was_reached():
    X, f, _ = inputs()

    def batches(last):
        for k in range(last):
            yield X[k * 40 : k * 40 + 40], f[k * 40 : k * 40 + 40]

    settings = {**SMALL, "inducing": X[:10], "max_iter": 8}
    model = lvm.SVGP(**settings)
    with pytest.raises(SourceEndedError, match="end after 3 batches with 120 rows"):
        model.fit(batches(3), n_total=N)
    assert model.n_iter_ == 3 and np.isfinite(model.predict(X)).all() and "after 3 steps" in model.message_
    broken = np.array(X)
    broken[130, 1] = np.nan
    passes = iter([X, X, broken])

    def rows():
        at = next(passes)
        return iter([(at[k : k + 120], f[k : k + 120]) for k in (0, 120)])

    model = lvm.SVGP(**settings)
    with pytest.raises(ValueError, match="X must be finite, got nan at row 10, column 1"):
        model.fit(rows, n_total=N)
    assert model.n_iter_ == 5
    model.resume([(X[:120], f[:120]), (X[120:], f[120:])])
    assert model.n_iter_ == 8
    fresh = lvm.SVGP(**settings)
    with pytest.raises(SourceEndedError, match="got none"):
        fresh.fit(iter([]), n_total=N)
    assert not hasattr(fresh, "n_iter_")


def test_an_error_in_the_middle_keeps_what_was_reached():
    """Inducing inputs that ran away, and a function that gives NaN."""
    X, f, _ = inputs()
    leap = {"schedule": lambda step, n: 1e200 if step == 5 else 1.0}
    model = lvm.SVGP(RBF() + lvm.kernels.Linear(), **{**SMALL, **leap})
    with pytest.raises(LvmfastError, match="not finite|must be finite"):
        model.fit(X, f)
    assert model.n_iter_ == 6 and np.isfinite(model.predict(X)).all() and "error after 6 steps" in model.message_
    last = lvm.SVGP(RBF() + lvm.kernels.Linear(), **{**SMALL, **leap, "max_iter": 6}).fit(X, f)
    assert np.isfinite(last.predict(X)).all() and np.isfinite(last.lower_bound_)
    calls = []

    def sometimes(y, f):
        calls.append(1)
        return -((y - f) ** 2) if len(calls) < 30 else np.full(f.shape, np.nan)

    model = lvm.SVGP(likelihood=likelihoods.Custom(sometimes), **SMALL)
    with pytest.raises(ValueError, match="must be a number or -inf, got nan"):
        model.fit(X, f)
    assert 10 < model.n_iter_ < 30 and np.isfinite(model.predict_f(X)).all()


def test_batches_as_dicts():
    """Known noise and weights come with the batches; rows for early stopping are given."""
    X, f, _ = inputs()
    noise = np.full(60, 0.04)
    rows = [slice(k, k + 60) for k in range(0, N, 60)]
    batches = [{"X": X[r], "y": f[r], "noise_variance": noise, "sample_weight": np.ones(60)} for r in rows]
    settings = {**SMALL, "max_iter": 20, "early_stopping": True, "n_iter_no_change": 50}
    model = lvm.SVGP(**settings).fit(batches, validation=(X[:60], f[:60], noise))
    assert len(model.validation_curve_) == 5
    plain = lvm.SVGP(**{**SMALL, "max_iter": 20}).fit([(X[r], f[r], noise) for r in rows])
    np.testing.assert_array_equal(model.elbo_curve_, plain.elbo_curve_)
    with pytest.raises(ValueError, match="noise_variance must be None, got an array; an iterable gives it"):
        lvm.SVGP(**SMALL).fit(batches, noise_variance=noise)


def test_early_stopping_keeps_the_best():
    X, f, rng = inputs()
    y = f + 0.3 * rng.standard_normal(N)
    held = X[:60], y[:60]
    settings = {**SMALL, "max_iter": 400, "early_stopping": True, "eval_every": 5, "n_iter_no_change": 4}
    model = lvm.SVGP(**{**settings, "learning_rate": 0.1}).fit(X[60:], y[60:], validation=held)
    curve = model.validation_curve_
    assert model.n_iter_ < 400 and "no better held-out density" in model.message_
    assert model.best_iter_ == 5 * (1 + np.argmax(curve)) and np.argmax(curve) == len(curve) - 5
    np.testing.assert_allclose(model.log_predictive_density(*held).mean(), curve.max(), rtol=1e-9)
    apart = lvm.SVGP(**settings).fit(X, y)
    assert len(apart.validation_curve_) and apart.best_iter_ <= apart.n_iter_


def test_partial_fit():
    """Pieces in turn, of classes that come late; a piece that is all rows takes the step of fit."""
    X, f, rng = inputs()
    y = observations("softmax", f, rng)
    model = lvm.SVGP(likelihood="softmax", **{**SMALL, "inducing": X[:12]})
    for k in range(30):
        rows = np.arange(40 * k, 40 * k + 40) % N
        model.partial_fit(X[rows], y[rows], classes=["a", "b", "c"], n_total=N)
    assert model.score(X, y) > 0.7 and model.n_iter_ == 30
    settings = {**SMALL, "inducing": X[:12], "max_iter": 1, "batch_size": N}
    whole, piece = lvm.SVGP(**settings).fit(X, f), lvm.SVGP(**settings).partial_fit(X, f)
    np.testing.assert_array_equal(piece.predict(X), whole.predict(X))
    with pytest.raises(ValueError, match=r"y must hold the classes \['a', 'b', 'c'\], got \['d'\]"):
        model.partial_fit(X[:2], ["a", "d"])
    assert model.n_iter_ == 30


def test_weights_and_known_values():
    """A weight is so many equal rows; an exposure scales the mean; large known noise takes a row out."""
    X, f, rng = inputs(80)
    y = rng.poisson(np.exp(f)).astype(float)
    settings = {**SMALL, "inducing": X[:10], "batch_size": 200, "max_iter": 20, "likelihood": "poisson"}
    weight = rng.integers(1, 3, 80)
    a = lvm.SVGP(**settings).fit(X, y, sample_weight=weight)
    b = lvm.SVGP(**settings).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-6)
    longer = lvm.SVGP(**settings).fit(X, y, exposure=np.full(80, 4.0))
    plain = lvm.SVGP(**settings).fit(X, y)
    np.testing.assert_allclose(longer.predict(X, exposure=np.full(80, 4.0)), plain.predict(X), rtol=1e-6)
    noise = np.where(np.arange(80) < 40, 1e8, 0.01)
    settings |= {"likelihood": "gaussian", "kernel": RBF(1.0, 1.0).fix(), "learn_inducing": False, "mean": "zero"}
    own = lvm.SVGP(**settings).fit(X, f, noise_variance=noise)
    half = lvm.SVGP(**settings).fit(X[40:], f[40:], noise_variance=noise[40:])
    np.testing.assert_allclose(own.predict(X), half.predict(X), atol=1e-6)
    with pytest.raises(ValueError, match="noise_variance must be given"):
        own.predict(X, return_std=True, include_noise=True)


def laplace(y, f):
    return -np.abs(y - f) / 0.2 - np.log(0.4)


def test_a_likelihood_of_ones_own():
    X, f, rng = inputs()
    y = np.column_stack([f, -f]) + 0.2 * rng.laplace(size=(N, 2))
    settings = {**SMALL, "max_iter": 250, "kernel": RBF(1.0, 1.0)}
    model = lvm.SVGP(likelihood=likelihoods.Custom(laplace, n_nodes=40), **settings).fit(X, y)
    mean, variance = model.predict_f(X)
    assert mean.shape == (N, 2) and np.sqrt(np.mean((mean - np.column_stack([f, -f])) ** 2)) < 0.15
    with pytest.raises(TypeError, match="not Custom, to be saved"):
        model.save("nowhere.npz")


def test_hard_data():
    """Columns that are constant or equal, noise of almost nothing, float32, far from 0."""
    X, f, _ = inputs()
    hard = np.column_stack([X, np.full(N, 7.0), X[:, 0]])
    model = lvm.SVGP(**{**SMALL, "max_iter": 200}).fit(hard, 1e3 + f)
    assert model.score(hard, 1e3 + f) > 0.95
    single = lvm.SVGP(**{**SMALL, "inducing": 200, "max_iter": 5, "kernel": RBF(1.0, 3.0)})
    single.fit(hard.astype(np.float32), f.astype(np.float32))
    assert single.predict(hard.astype(np.float32)).dtype == np.float32
    assert np.isfinite(single.elbo_curve_).all()
    quiet = lvm.SVGP(likelihood=likelihoods.Gaussian(1e-10), **{**SMALL, "batch_size": N, "max_iter": 20}).fit(X, f)
    assert np.isfinite(quiet.elbo_curve_).all() and quiet.score(X, f) > 0.9


BAD = [
    ({"inducing": 300}, {}, ValueError, "inducing must be at most the number of rows of X, 240, got 300"),
    ({"likelihood": "poison"}, {}, ValueError, "likelihood must be one of 'gaussian', .*got 'poison'"),
    ({"likelihood": 3}, {}, TypeError, "likelihood must be one of"),
    ({"likelihood": "poisson"}, {}, ValueError, "y must hold whole numbers >= 0 for Poisson, got"),
    ({"likelihood": "beta"}, {}, ValueError, "y must hold numbers > 0 and < 1 for Beta, got"),
    ({}, {"noise_variance": np.zeros(N)}, ValueError, "noise_variance must be finite and > 0, got 0"),
    ({}, {"exposure": np.ones(N)}, TypeError, "exposure must be None for Gaussian, which takes noise_variance"),
    ({}, {"sample_weight": -np.ones(N)}, ValueError, "sample_weight must be finite and >= 0, got -1"),
    ({}, {"classes": [0, 1]}, ValueError, "classes must be None for Gaussian"),
    ({}, {"n_total": 5}, ValueError, "n_total must be None"),
    ({"step_size": 1.5}, {}, ValueError, r"step_size must lie in \(0, 1\], got 1.5"),
    ({"optimizer": "sgd"}, {}, ValueError, "optimizer must be one of 'natural', 'adam', got 'sgd'"),
    ({"schedule": "linear"}, {}, ValueError, "schedule must be one of 'cosine', got 'linear'"),
    ({"schedule": lambda step, n: np.nan}, {}, ValueError, "schedule.* must return a finite number >= 0, got nan"),
    ({"validation_fraction": 1.0}, {}, ValueError, "validation_fraction must lie between 0 and 1"),
    ({}, {"validation": (1, 2)}, ValueError, "validation must be None with early_stopping=False"),
    ({"whiten": 1}, {}, TypeError, "whiten must be True or False, got 1"),
]


@pytest.mark.parametrize(("params", "more", "error", "match"), BAD)
def test_bad_arguments(params, more, error, match):
    X, f, _ = inputs()
    model = lvm.SVGP(**{**SMALL, **params})
    with pytest.raises(error, match=match):
        model.fit(X, f, **more)
    assert not hasattr(model, "n_iter_")


def test_bad_data():
    X, f, _ = inputs()
    with pytest.raises(ValueError, match="NaN"):
        lvm.SVGP().fit(X, np.where(f > 1, np.nan, f))
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        lvm.SVGP(likelihood="bernoulli").fit(X, np.arange(N) % 3)
    with pytest.raises(ValueError, match="y must hold 3 classes"):
        lvm.SVGP(likelihood=likelihoods.Softmax(3)).fit(X, np.arange(N) % 4)
    with pytest.raises(ValueError, match="classes must be given"):
        lvm.SVGP(likelihood="bernoulli").fit(iter([(X, (f > 0).astype(int))]), n_total=N)
    with pytest.raises(ValueError, match="requires y to be passed"):
        lvm.SVGP().fit(X)
    with pytest.raises(ValueError, match="validation data must be given"):
        lvm.SVGP(early_stopping=True).fit([(X, f)])
    model = lvm.SVGP(lvm.kernels.RBF(1.0, 1.0), likelihood="poisson", **SMALL).fit(X, np.ones(N))
    assert np.isfinite(model.lower_bound_)
    wild = lvm.SVGP(RBF(1e5, 1.0).fix(), likelihood="poisson", **SMALL)
    with pytest.raises(NonFiniteError, match="is not finite"):
        wild.fit(X, np.ones(N))
    assert not hasattr(wild, "n_iter_")


def test_classes_in_their_order():
    """Labels that are not numbers have the order of ``classes`` for an ordinal likelihood: one model with numbers."""
    X, f, _ = inputs()
    y, names = np.digitize(f, [-0.6, 0.6]), ["low", "mid", "high"]
    settings = {**SMALL, "likelihood": "ordinal", "max_iter": 10}
    numbers, model = lvm.SVGP(**settings).fit(X, y), lvm.SVGP(**settings)
    with pytest.raises(ValueError, match="classes must be given for Ordinal where labels are not numbers"):
        model.fit(X, np.array(names)[y])
    model.fit(X, np.array(names)[y], classes=names)
    assert model.classes_.tolist() == names
    np.testing.assert_array_equal(model.predict_proba(X), numbers.predict_proba(X))
    np.testing.assert_array_equal(model.predict(X), np.array(names)[numbers.predict(X)])
    model.resume(X, np.array(names)[y], max_iter=12)
    assert model.classes_.tolist() == names and model.score(X, np.array(names)[y]) > 0.6


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (lambda X, f: (X[:, :1], f, np.ones(N)), "validation X must have the columns of X, 2, got 1"),
        (lambda X, f: (X, np.column_stack([f, f]), np.ones(N)), "validation y must have the columns of y, 1, got 2"),
        (lambda X, f: (X, f), r"validation must be \(X, y, noise_variance\), as the rows of the fit have"),
    ],
)
def test_rows_for_early_stopping_go_with_the_data(rows, match):
    X, f, _ = inputs()
    with pytest.raises(ValueError, match=match):
        lvm.SVGP(early_stopping=True, **SMALL).fit(X, f, noise_variance=np.ones(N), validation=rows(X, f))


def test_rows_of_no_weight():
    """A piece without them, and one with them that stands for as many rows, take the same step."""
    X, f, rng = inputs()
    y, weight = rng.poisson(np.exp(f)).astype(float), np.arange(N) % 2.0
    settings = {**SMALL, "likelihood": "poisson", "inducing": X[:8]}
    for total in (None, 960):
        a = lvm.SVGP(**settings).partial_fit(X, y, sample_weight=weight, n_total=total)
        b = lvm.SVGP(**settings).partial_fit(X[1::2], y[1::2], n_total=total and total // 2)
        assert a.lower_bound_ == b.lower_bound_


@pytest.mark.parametrize(("optimizer", "many"), [("natural", 1.0), ("adam", 100.0)])
def test_single_precision_that_overflows(optimizer, many):
    """A row whose gradient is beyond float32 while the bound, in double, is not: q stays as it was."""
    X, f, rng = inputs()
    X, y = X.astype(np.float32), rng.poisson(np.exp(f)).astype(np.float32)
    good = {"X": X, "y": y, "sample_weight": np.ones(N)}
    bad = good | {"y": np.append(y[1:], np.float32(3e38)), "sample_weight": np.full(N, many)}
    model = lvm.SVGP(likelihood="poisson", **{**SMALL, "optimizer": optimizer})
    with pytest.raises(NonFiniteError, match="is not finite"):
        model.fit(iter([good] * 5 + [bad]), n_total=N)
    assert model.n_iter_ == 5 and np.isfinite(model.predict(X)).all()
