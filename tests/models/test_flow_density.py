"""Densities of flows: learned densities near true ones, limits, fixed bijectors, fits that stop and go on, files."""

from __future__ import annotations

import inspect
import math
import pickle

import numpy as np
import pytest
from helpers import assert_near, tolerance
from scipy import stats
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import lvmfast as lvm
from lvmfast import nn
from lvmfast.bijectors import (
    AffineCoupling,
    Bijector,
    Chain,
    Exp,
    Identity,
    Inline,
    Invert,
    LearnedAffine,
    MaskedAutoregressive,
    Permute,
    Planar,
    RealNVP,
    ScaleTriL,
    Shift,
)
from lvmfast.exceptions import FitInterruptedWarning, NonFiniteError

SMALL = {"n_layers": 2, "hidden": (6,), "batch_size": 20, "max_iter": 3, "random_state": 0}


@parametrize_with_checks([lvm.FlowDensity(n_layers=2, hidden=(8,), max_iter=3, dtype=np.float64)])
def test_estimator(estimator, check):
    check(estimator)


def test_init_stores_and_computes_nothing():
    parameters = inspect.signature(lvm.FlowDensity).parameters
    markers = {name: object() for name in parameters}
    assert vars(lvm.FlowDensity(**markers)) == markers
    kinds = [p.kind for p in parameters.values()]
    assert kinds[1:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)


class Bent:
    """x1 normal, x2 = x1^2 + 0.3 e."""

    @staticmethod
    def sample(n, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=n)
        return np.stack([x, x**2 + 0.3 * rng.normal(size=n)], axis=1)

    @staticmethod
    def log_density(X):
        return stats.norm.logpdf(X[:, 0]) + stats.norm.logpdf(X[:, 1], X[:, 0] ** 2, 0.3)


FLOWS = {
    "RealNVP": lambda: None,
    "autoregressive": lambda: [MaskedAutoregressive(2, (32, 32), o) for o in (None, "reverse", None)],
}


@pytest.mark.parametrize("name", FLOWS)
def test_near_the_true_density(name):
    """Of rows that were not seen; draws have its margins (of true ones, 1 in 1,000 sets would fail)."""
    X, new = Bent.sample(4000, 0), Bent.sample(4000, 1)
    optimizer = nn.Adam(nn.CosineDecay(0.003, 40 * 60))
    model = lvm.FlowDensity(FLOWS[name](), n_layers=6, hidden=(32, 32), max_iter=60, random_state=0)
    model.set_params(optimizer=optimizer).fit(X)
    true = Bent.log_density(new).mean()
    normal = stats.multivariate_normal(X.mean(axis=0), np.cov(X.T)).logpdf(new).mean()
    assert true - normal > 1.4
    assert true - 0.03 < model.score(new) < true + 0.03
    draws = model.sample(1000, rng=2).astype(float)
    assert Bent.log_density(draws).mean() > true - 0.15
    many = Bent.sample(20000, 3)
    for j in range(2):
        assert stats.ks_2samp(draws[:, j], many[:, j]).statistic < 0.065  # 2.05 * sqrt(1 / 1000 + 1 / 20000)
    # where the density holds, the base is standard normal
    z = model.transform(new)
    assert_near(z.mean(axis=0), np.zeros(2), 0.1, scale=1)
    assert_near(z.std(axis=0), np.ones(2), 0.1)


def test_a_learned_scale_is_the_normal_density():
    """The maximum of the likelihood: sample means and variances; its value in closed form."""
    X = np.random.default_rng(0).normal(size=(200, 3)) * [1, 5, 0.1] + [0, 100, -3]
    expected = stats.norm.logpdf(X, X.mean(axis=0), X.std(axis=0)).sum(axis=1)
    model = lvm.FlowDensity(LearnedAffine(3), batch_size=200, max_iter=1, dtype=np.float64).fit(X)
    start = LearnedAffine(3).build()
    assert_near(model.history_["loss"], [-expected.mean()], tolerance(np.float64, 200, 100))
    # without standardizing, the same is found by steps
    steps = {"optimizer": nn.Adam(nn.CosineDecay(0.1, 1500)), "max_iter": 1500, "batch_size": 200}
    found = lvm.FlowDensity(start, standardize=False, dtype=np.float64, **steps).fit(X / [1, 5, 0.1] + [0, -20, 30])
    Y = X / [1, 5, 0.1] + [0, -20, 30]
    assert_near(found.score_samples(Y), stats.norm.logpdf(Y, Y.mean(axis=0), Y.std(axis=0)).sum(axis=1), 1e-3)


def test_integrates_to_one():
    """In one dimension, behind a fixed bijector, and in two."""
    x = np.exp(np.random.default_rng(0).normal(size=(300, 1)))
    model = lvm.FlowDensity(
        [Exp(), *(Invert(Planar(1)) for _ in range(3))], max_iter=20, dtype=np.float64, random_state=0
    ).fit(x)
    u = np.linspace(-9, 9, 4001)
    total = np.exp(model.score_samples(np.exp(u)[:, None]) + u).sum() * (u[1] - u[0])
    assert total == pytest.approx(1, abs=1e-6)
    model = lvm.FlowDensity(n_layers=2, hidden=(8,), activation="tanh", max_iter=5, dtype=np.float64, random_state=0)
    model.fit(Bent.sample(200, 0))
    side = np.linspace(-12, 16, 561)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    assert np.exp(model.score_samples(grid)).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-4)


def test_the_bijector_is_the_model(dtype):
    X = np.exp(Bent.sample(150, 0) / 3)
    behind = Chain([Permute([1, 0]), Invert(Planar(2)), MaskedAutoregressive(2, (5,))])
    given = [Exp(), RealNVP(2, 2, (6,)), behind]
    before = repr(given)
    model = lvm.FlowDensity(given, max_iter=3, dtype=dtype, random_state=0).fit(X)
    assert repr(given) == before
    assert given[1].parameters is None
    z, log_det = model.bijector_.inverse_and_log_det(X)
    near = tolerance(dtype, 50, 10)
    expected = stats.norm.logpdf(z).sum(axis=1) + log_det
    assert_near(model.score_samples(X), expected, near)
    assert_near(model.distribution_.log_prob(X), expected, near)
    assert_near(model.transform(X), z, near)
    assert_near(model.inverse_transform(model.transform(X)), X, near)
    assert model.transform(X).dtype == dtype
    assert (
        model.sample(2, rng=0).dtype
        == model.inverse_transform(z).dtype
        == model.distribution_.sample(2).dtype
        == X.dtype
    )
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())
    np.testing.assert_array_equal(model.log_prob(X), model.score_samples(X))
    np.testing.assert_array_equal(model.sample(5, rng=1), model.sample(9, rng=1)[:5])
    # of the epoch's rows, before each step; here after them, hardly other
    assert model.history_["loss"][-1] == pytest.approx(-model.score(X), abs=0.05)


def test_given_parameters_are_the_start():
    flow = RealNVP(2, 2, (6,)).build(3)
    flow.parameters = flow.parameters + 0.2
    X = Bent.sample(60, 0)
    model = lvm.FlowDensity(flow, max_iter=1, optimizer=nn.SGD(1e-12), dtype=np.float64).fit(X)
    assert_near(model.bijector_.bijectors[-1].parameters, flow.parameters, 1e-9)


def test_data_far_from_zero():
    """Draws in float32 arithmetic have the digits of X, also where float32 has not its range, and X's dtype."""
    rng = np.random.default_rng(0)
    X = np.c_[1.6e9 + rng.uniform(0, 3600, 1000), 1e60 * rng.normal(size=1000), 1e-200 * rng.normal(size=1000)]
    model = lvm.FlowDensity(**SMALL).fit(X)
    draws = model.sample(1000, rng=0)
    assert draws.dtype == np.float64
    assert [len(np.unique(column)) for column in draws.T] == [1000] * 3
    scales = X.std(axis=0) * [1, 1, 0] + [0, 0, 1e-200]
    assert (np.abs(draws.mean(axis=0) - X.mean(axis=0)) < 0.5 * scales).all()
    back = model.inverse_transform(model.transform(X))
    assert (np.abs(back - X) < 1e-5 * scales).all()
    assert np.isfinite(model.distribution_.sample(100, rng=0)).all()
    assert_near(model.distribution_.log_prob(X), model.score_samples(X), 1e-5, scale=1)
    # a scale is a shift of log densities; its squares may leave the range of numbers
    Y = X / scales - [1.6e9 / scales[0], 0, 0]
    for size in (1e-300, 1e-170, 1e170, 1e300):
        assert lvm.FlowDensity(**SMALL).fit(size * Y).score(size * Y) == pytest.approx(
            lvm.FlowDensity(**SMALL).fit(Y).score(Y) - 3 * np.log(size), abs=1e-3
        )
    single = lvm.FlowDensity(**SMALL, dtype=np.float64).fit(Y.astype(np.float32))
    assert single.transform(Y).dtype == np.float64
    assert single.sample(2).dtype == single.inverse_transform(Y).dtype == np.float32


def test_writing_into_the_bijector_changes_no_model():
    X = Bent.sample(60, 0)
    shift = Shift([1.0, 2.0])
    model = lvm.FlowDensity([shift, RealNVP(2, 2, (6,))], **SMALL).fit(X)
    before, draws = model.score_samples(X), model.sample(4, rng=0)
    for bijector in model.bijector_.bijectors[1:]:
        bijector = getattr(bijector, "bijector", bijector)
        bijector.parameters[:] += 1
    shift.shift = 3.0
    np.testing.assert_array_equal(model.score_samples(X), before)
    np.testing.assert_array_equal(model.sample(4, rng=0), draws)


def test_steps_without_parameters(tmp_path):
    """Permutations and identities may lie between learnable layers, also in a posterior."""
    X = Bent.sample(60, 0)
    first, second = RealNVP(2, 1, (6,)), AffineCoupling(2, (6,), "odd")
    both = [Identity(), first, Permute([1, 0]), Identity(), Permute([1, 0]), second]
    model = lvm.FlowDensity(both, **SMALL).fit(X)
    assert model.history_["loss"][-1] < model.history_["loss"][0]
    z, log_det = model.bijector_.inverse_and_log_det(X)
    assert_near(model.score_samples(X), stats.norm.logpdf(z).sum(axis=1) + log_det, 1e-4, scale=1)
    model.save(tmp_path / "model.npz")
    loaded = lvm.FlowDensity.load(tmp_path / "model.npz")
    assert repr(loaded.bijectors) == repr(both)
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))
    rows = np.random.default_rng(0).normal(size=(60, 5))
    params = {"hidden": (6,), "max_iter": 2, "random_state": 0, "likelihood": "gaussian"}
    plain = lvm.VAE(n_components=2, posterior=[first, Permute([1, 0]), second], **params).fit(rows)
    more = lvm.VAE(n_components=2, posterior=[first, Permute([1, 0]), Identity(), second], **params).fit(rows)
    np.testing.assert_array_equal(more.history_["loss"], plain.history_["loss"])


def test_a_file_has_the_dtype_of_the_fit(tmp_path):
    X = Bent.sample(60, 0)
    whole = lvm.FlowDensity(**{**SMALL, "max_iter": 5}).fit(X)
    model = lvm.FlowDensity(**SMALL).fit(X).set_params(dtype=np.float64)
    model.save(tmp_path / "model.npz")
    loaded = lvm.FlowDensity.load(tmp_path / "model.npz")
    assert loaded.transform(X).dtype == np.float32
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))
    for one in (model, loaded):
        with pytest.raises(ValueError, match="dtype must be that of the fit to go on, float32"):
            one.resume(X, max_iter=5)
        one.set_params(dtype=np.float32).resume(X, max_iter=5)
        np.testing.assert_array_equal(one.score_samples(X), whole.score_samples(X))
    single = lvm.FlowDensity(**SMALL).fit(X.astype(np.float32))
    single.save(tmp_path / "single.npz")
    assert lvm.FlowDensity.load(tmp_path / "single.npz").sample(2).dtype == np.float32


MODELS = {
    "default": lambda: {"early_stopping": True, "n_iter_no_change": 50},
    "autoregressive": lambda: {
        "bijectors": [Exp(), MaskedAutoregressive(2, (5,), order=(1, 0)), Invert(Planar(2)), LearnedAffine(2)],
        "optimizer": nn.RMSprop(nn.CosineDecay(0.01, 20), momentum=0.5, clip_norm=3.0),
        "dtype": np.float64,
    },
    "masks": lambda: {"bijectors": AffineCoupling(2, (4,), [False, True]), "standardize": False, "shuffle": False},
}


@pytest.mark.parametrize("name", MODELS)
def test_files_copies_and_fits_that_go_on(tmp_path, name):
    """A checkpoint, a pickle and a file go on to what one fit gives, bit for bit."""
    X = np.exp(Bent.sample(90, 0) / 3)
    params = {**SMALL, **MODELS[name](), "max_iter": 6}
    whole = lvm.FlowDensity(**params).fit(X)
    saved = []

    def checkpoint(status):
        if status.iteration == 3:
            status.save(tmp_path / "checkpoint.npz")
            saved.append(repr(status))

    part = lvm.FlowDensity(**{**params, "max_iter": 4}, callback=checkpoint).fit(X)
    assert saved[0].startswith("FlowStatus(iteration=3, loss=")
    part.save(tmp_path / "model.npz")
    others = [lvm.FlowDensity.load(tmp_path / "checkpoint.npz"), lvm.FlowDensity.load(tmp_path / "model.npz")]
    others += [pickle.loads(pickle.dumps(part.set_params(callback=None)))]
    assert repr(others[1].bijectors) == repr(whole.bijectors)
    for model in [*others, part]:
        model.resume(X, max_iter=6)
        np.testing.assert_array_equal(model.score_samples(X), whole.score_samples(X))
        np.testing.assert_array_equal(model.sample(4, rng=0), whole.sample(4, rng=0))
        for key, values in whole.history_.items():
            np.testing.assert_array_equal(model.history_[key], values)
    again = clone(whole).fit(X)
    np.testing.assert_array_equal(again.loss_curve_, whole.loss_curve_)
    with pytest.raises(ValueError, match="X must be the data of the fit"):
        whole.resume(X + 1, max_iter=9)


def test_early_stopping_keeps_the_best(recwarn):
    X, held = Bent.sample(60, 0), Bent.sample(500, 1)
    model = lvm.FlowDensity(
        hidden=(64,), optimizer=nn.Adam(0.02), early_stopping=True, n_iter_no_change=5, max_iter=300, random_state=0
    ).fit(X, validation_data=held)
    losses = model.history_["val_loss"]
    assert model.message_ == "no better density of the rows for validation in 5 epochs"
    assert model.best_iter_ == np.argmin(losses) + 1 == model.n_iter_ - 5
    assert -model.score(held) == pytest.approx(losses.min(), abs=1e-5)
    own = lvm.FlowDensity(**{**SMALL, "early_stopping": True}).fit(X)
    assert set(own.history_) == {"loss", "base", "log_det", "val_loss", "val_base", "val_log_det"}


def test_interrupted(monkeypatch):
    """Ctrl-C keeps what was reached; the fit goes on to the same result."""
    X = Bent.sample(100, 0)
    whole = lvm.FlowDensity(**SMALL).fit(X)

    def press(status):
        if status.iteration == 2:
            raise KeyboardInterrupt

    model = lvm.FlowDensity(**SMALL, callback=press)
    with pytest.warns(FitInterruptedWarning, match="after 10 steps"):
        model.fit(X)
    assert model.message_ == "interrupted from the keyboard"
    model.set_params(callback=None).resume(X)
    np.testing.assert_array_equal(model.score_samples(X), whole.score_samples(X))


class Shifted(Bijector):
    def _forward(self, x):
        return x + 1

    def _inverse(self, y):
        return y - 1

    def _forward_log_det(self, x):
        return 0.0


def test_bijectors_of_ones_own(tmp_path):
    """Fixed ones of functions or of another class can be fitted and pickled, not written to a file of numbers."""
    X = Bent.sample(60, 0)
    half = Inline(np.negative, np.negative, lambda x: 0.0)
    model = lvm.FlowDensity([Shifted(), RealNVP(2, 2, (6,))], max_iter=2, random_state=0).fit(X)
    plain = lvm.FlowDensity(RealNVP(2, 2, (6,)), max_iter=2, random_state=0).fit(X - 1)
    assert_near(model.score_samples(X), plain.score_samples(X - 1), 1e-4)
    with pytest.raises(ValueError, match="Shifted.* cannot be written to a file"):
        model.save(tmp_path / "model.npz")
    model = lvm.FlowDensity([half, RealNVP(2, 2, (6,))], max_iter=2, random_state=0).fit(X)
    with pytest.raises(ValueError, match="which holds no functions; pickle it"):
        model.save(tmp_path / "model.npz")
    assert not (tmp_path / "model.npz").exists()


def test_errors():
    X = Bent.sample(60, 0)
    for bijectors, match in (
        ([Planar(2)], r"one pass from the data to the base, got Planar\(...\).* use Invert\(Planar"),
        ([Invert(MaskedAutoregressive(2))], r"got Invert\(MaskedAutoregressive\(...\)\).* use MaskedAuto"),
        ([RealNVP(2), Exp()], r"at the data side, first in the list, got Exp\(\) behind"),
        ([Exp()], "bijectors must hold a learnable one"),
        ([RealNVP(3)], "bijectors must be of the 2 features of X"),
        ([Identity(), Permute([1, 0])], "bijectors must hold a learnable one"),
        ([Shift(np.zeros((7, 2))), RealNVP(2)], r"or of shape \(2,\), got Shift\(.*, which make it \(7, 2\)"),
        (
            [Invert(Exp()), Shift(np.zeros((60, 2))), RealNVP(2)],
            r"or of shape \(2,\), got Shift\(.*, which make it \(60, 2\)",
        ),
        ([Shift(np.zeros(3)), RealNVP(2)], r"or of shape \(2,\), got Shift\(.*, which do not broadcast"),
        ([ScaleTriL(np.ones((60, 1, 1)) * np.eye(2)), RealNVP(2)], r"which make it \(60, 2\)"),
    ):
        with pytest.raises(ValueError, match=match):
            lvm.FlowDensity(bijectors).fit(X)
    with pytest.raises(TypeError, match="bijectors must hold bijectors, got 'RealNVP'"):
        lvm.FlowDensity("RealNVP").fit(X)
    with pytest.raises(ValueError, match=r"does not suit Exp\(\), a fixed bijector: y must be > 0"):
        lvm.FlowDensity([Exp(), RealNVP(2)]).fit(X)
    with pytest.raises(ValueError, match="X must vary in every column .* in column 1"):
        lvm.FlowDensity().fit(np.c_[X[:, 0], np.full(60, 2.5)])
    with pytest.raises(ValueError, match="X must have shape"):
        lvm.FlowDensity().fit(np.zeros((4, 2, 2)))
    for bad, match in (({"n_layers": 0}, "n_layers"), ({"dtype": int}, "dtype"), ({"batch_size": 0}, "batch_size")):
        with pytest.raises(ValueError, match=match):
            lvm.FlowDensity(**bad).fit(X)
    X[17] = np.nan
    with pytest.raises(ValueError, match="NaN.* at row 17"):
        lvm.FlowDensity(**SMALL).fit(X)


def test_a_fit_that_overflows_names_the_row_and_keeps_the_model():
    X = Bent.sample(60, 0)
    model = lvm.FlowDensity(**SMALL).fit(X)
    before = model.score_samples(X)
    with pytest.raises(NonFiniteError, match="of row .* of X is not finite at step .* lower the learning rate"):
        model.set_params(optimizer=nn.SGD(1e25), max_iter=50).fit(X)
    assert model.message_.startswith("ended by an error after")
    model = lvm.FlowDensity(**SMALL).fit(X)
    with pytest.raises(ValueError, match="hidden"):
        model.set_params(hidden=(0,)).fit(X)
    np.testing.assert_array_equal(model.score_samples(X), before)
    assert math.isfinite(model.score(X))
