"""Fits of latent grids: closed forms, networks, monotone improvement, fits that stop and go on, copies and files."""

from __future__ import annotations

import copy
import pickle
import signal

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import grid_latent as oracle
from scipy import optimize, stats
from sklearn.base import clone

import lvmfast as lvm
from lvmfast import nn
from lvmfast.exceptions import FitInterruptedWarning

pytestmark = pytest.mark.filterwarnings("ignore:the fit ended before convergence")

NOISE = 0.04
GRID = np.linspace(-6, 6, 241)


def bent(n=80, seed=0, noise=0.01):
    """Rows along a parabola: (z, z^2 - 1) and noise."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(n)
    return np.column_stack([z, z**2 - 1]) + np.sqrt(noise) * rng.standard_normal((n, 2))


def network(d=2, hidden=8, dtype=np.float64, seed=0, q=1):
    return nn.Sequential([nn.Dense(hidden, "tanh"), nn.Dense(d)]).build((q,), dtype, seed=seed)


def small(**params):
    """A fit of a network that takes part of a second."""
    settings = {"grid": np.linspace(-3, 3, 61), "max_iter": 30}
    return lvm.GridLatentModel(network(), 0.1, **{**settings, **params})


def assert_same(model, other, X):
    np.testing.assert_array_equal(model.loss_curve_, other.loss_curve_)
    np.testing.assert_array_equal(model.noise_variance_, other.noise_variance_)
    np.testing.assert_array_equal(model.log_density(X), other.log_density(X))
    assert model.n_iter_ == other.n_iter_


# The noise of a fixed map.


def test_noise_of_a_fixed_map():
    """The maximum of the oracle's likelihood over one number, by Brent's method."""
    X = lvm.GridLatentModel(oracle.curve, NOISE).sample(60, rng=0)
    Z, w = oracle.cells(GRID)
    F, log_pi = oracle.curve_rows(Z), oracle.log_weights(oracle.normal_prior(Z), w)
    best = optimize.minimize_scalar(
        lambda u: -float(oracle.log_density(X, F, log_pi, np.exp(u)).sum()), bracket=(-5, -3, -1), tol=1e-9
    )
    model = lvm.GridLatentModel(oracle.curve, 1.0, grid=GRID).fit(X)
    assert model.noise_variance == 1.0
    assert float(model.noise_variance_) == pytest.approx(np.exp(best.x), rel=1e-4)
    assert model.score(X) == pytest.approx(-best.fun / 60, abs=1e-8)
    assert np.ndim(model.noise_variance_) == 0


def test_noises_of_the_columns():
    """A number for each column: factor analysis with given loadings, by SciPy."""
    rng = np.random.default_rng(0)
    W, v = np.array([[1.0], [-0.5], [0.7]]), np.array([0.1, 0.4, 0.9])
    X = rng.standard_normal((200, 1)) @ W.T + np.sqrt(v) * rng.standard_normal((200, 3))

    def loss(u):
        C = W @ W.T + np.diag(np.exp(u))
        return 0.5 * (np.linalg.slogdet(C)[1] + np.trace(np.linalg.solve(C, X.T @ X / 200)) + 3 * np.log(2 * np.pi))

    best = optimize.minimize(loss, np.zeros(3), tol=1e-10)
    model = lvm.GridLatentModel(lambda z: z @ W.T, np.ones(3), grid=GRID).fit(X)
    assert model.noise_variance_.shape == (3,)
    assert_near(model.noise_variance_, np.exp(best.x), 1e-3)
    assert model.score(X) == pytest.approx(-best.fun, abs=1e-7)


@pytest.mark.parametrize("q", [1, 2])
def test_principal_components(q):
    """With the loadings of the best PPCA, its noise is the mean of the eigenvalues left out."""
    X = np.random.default_rng(0).standard_normal((150, 5)) * [2.0, 1.5, 0.8, 0.7, 0.6]
    mean, W, noise, best = oracle.ppca(X, q)
    axis = np.linspace(-6, 6, 121)
    grid = axis if q == 1 else lvm.grids.mesh(axis, axis)
    model = lvm.GridLatentModel(lambda z: z @ W.T + mean, 2.0, grid=grid, n_components=q).fit(X)
    assert float(model.noise_variance_) == pytest.approx(noise, rel=1e-4)
    assert model.score(X) == pytest.approx(best, abs=1e-7)


def test_a_linear_network_is_principal_components():
    X = np.random.default_rng(1).standard_normal((100, 3)) * [2.0, 0.7, 0.5] + [1, 0, -1]
    best = oracle.ppca(X, 1)
    line = nn.Sequential([nn.Dense(3)]).build((1,), np.float64, seed=0)
    model = lvm.GridLatentModel(line, 1.0, grid=GRID, max_iter=300).fit(X)
    assert model.score(X) == pytest.approx(best[3], abs=1e-4)
    assert float(model.noise_variance_) == pytest.approx(best[2], rel=1e-2)
    C = np.cov(model.inverse_transform(GRID[:, None]).T)  # of a line along the first component
    direction = np.linalg.eigh(C)[1][:, -1]
    assert abs(direction @ best[1][:, 0]) / np.linalg.norm(best[1]) == pytest.approx(1, abs=1e-3)


def test_noise_that_is_kept():
    X = bent()
    model = small(learn_noise=False).fit(X)
    assert float(model.noise_variance_) == 0.1
    assert model.loss_curve_[-1] < model.loss_curve_[0]


# Networks.


def test_a_network_finds_the_parabola():
    """A likelihood above that of any straight line, near that of the true map; of rows that were not seen, too."""
    X, new = bent(200), bent(200, seed=1)
    new = new[
        (new >= X.min(axis=0)).all(axis=1) & (new <= X.max(axis=0)).all(axis=1)
    ]  # outside it has no reason to bend
    model = small(max_iter=300).fit(X)
    mean, W, noise, line = oracle.ppca(X, 1)
    straight = stats.multivariate_normal(*oracle.linear_gaussian(W, mean, noise)[:2])
    truth = lvm.GridLatentModel(lambda z: (z, z**2 - 1), 0.01, grid=GRID)
    assert model.score(X) > truth.score(X) - 0.1 > line + 1
    assert model.score(new) > straight.logpdf(new).mean() + 1
    assert float(model.noise_variance_) < 0.03
    back = model.inverse_transform(model.transform(X))
    assert np.mean((back - X) ** 2) < 0.05


def test_the_networks_given_stay_as_they_were():
    given = network()
    before = given.parameters.copy()
    model = lvm.GridLatentModel(given, 0.1, grid=np.linspace(-3, 3, 61), max_iter=5).fit(bent())
    np.testing.assert_array_equal(given.parameters, before)
    assert model.f is given and model.noise_variance == 0.1
    again = lvm.GridLatentModel(given, 0.1, grid=np.linspace(-3, 3, 61), max_iter=5).fit(bent())
    assert_same(again, model, bent())


def test_two_latents_and_float32():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((80, 2))
    X = np.column_stack([Z, Z[:, 0] * Z[:, 1]]) + 0.1 * rng.standard_normal((80, 3))
    axis = np.linspace(-3, 3, 21)
    model = lvm.GridLatentModel(
        network(3, q=2, dtype=np.float32), 0.3, grid=lvm.grids.mesh(axis, axis), n_components=2, max_iter=100
    ).fit(X)
    assert model.transform(X).shape == (80, 2)
    assert model.score(X) > oracle.ppca(X, 2)[3]


def test_what_is_minimised():
    """Minus the mean of log p(x); after every iteration not more than before; the last is the model's own."""
    X = bent()
    model = small(max_iter=40).fit(X)
    losses = model.loss_curve_
    assert losses.shape == (model.n_iter_,) and model.n_iter_ <= 40
    assert (np.diff(losses) <= tolerance(np.float64, len(X))).all()
    assert losses[-1] == pytest.approx(-model.score(X), abs=1e-10)
    assert model.score(X) == pytest.approx(model.score_samples(X).mean(), abs=1e-12)
    np.testing.assert_array_equal(model.score_samples(X), model.log_density(X))
    start = small()
    assert losses[0] <= -start.log_density(X).mean()


# Fits that are watched, stopped and go on.


def test_callback():
    seen = []
    model = small(max_iter=8, callback=seen.append).fit(bent())
    assert [status.iteration for status in seen] == list(range(1, model.n_iter_ + 1))
    np.testing.assert_array_equal([status.loss for status in seen], model.loss_curve_)
    stopped = small(callback=lambda status: status.iteration == 4).fit(bent())
    assert stopped.n_iter_ == 4 and "callback" in stopped.message_
    np.testing.assert_array_equal(stopped.loss_curve_, model.loss_curve_[:4])


@pytest.mark.parametrize("stop", [1, 2, 7, 29])
@pytest.mark.parametrize("how", ["limit", "callback", "keyboard", "file", "pickle"])
def test_resumed_is_uninterrupted(how, stop, tmp_path):
    X = bent()
    whole = small().fit(X)
    if how == "keyboard":

        def press(status):
            if status.iteration == stop:
                signal.raise_signal(signal.SIGINT)

        model = small(callback=press)
        handler = signal.getsignal(signal.SIGINT)
        with pytest.warns(FitInterruptedWarning):
            model.fit(X)
        assert signal.getsignal(signal.SIGINT) is handler
        assert "keyboard" in model.message_
    elif how == "callback":
        model = small(callback=lambda status: status.iteration == stop).fit(X)
    else:
        model = small(max_iter=stop).fit(X)
    assert model.n_iter_ == stop
    np.testing.assert_array_equal(model.loss_curve_, whole.loss_curve_[:stop])
    assert np.isfinite(model.log_density(X)).all()
    model.set_params(callback=None)
    if how == "file":
        model.save(tmp_path / "model.npz")
        model = lvm.GridLatentModel.load(tmp_path / "model.npz")
    elif how == "pickle":
        model = pickle.loads(pickle.dumps(model))
    assert_same(model.resume(X, max_iter=30), whole, X)


def test_resume_wants_the_data_of_the_fit():
    model = small(max_iter=3).fit(bent())
    with pytest.raises(ValueError, match="X must be the data of the fit"):
        model.resume(bent() + 1, max_iter=9)
    with pytest.raises(ValueError, match="max_iter must be >= n_iter_ = 3, which are done, got 2"):
        model.set_params(max_iter=2).resume(bent())
    assert model.n_iter_ == 3


def test_a_callback_that_fails_changes_nothing():
    X = bent()
    model = small(max_iter=3).fit(X)
    losses = model.loss_curve_

    def fail(status):
        raise ZeroDivisionError

    model.set_params(callback=fail)
    for call in (lambda: model.resume(X, max_iter=9), lambda: model.fit(2 * X)):
        with pytest.raises(ZeroDivisionError):
            call()
        assert model.max_iter == 3 and model.loss_curve_ is losses
    assert_same(model.set_params(callback=None).resume(X, max_iter=30), small().fit(X), X)


def test_interrupted_within_the_map():
    """KeyboardInterrupt out of f itself, as Ctrl-C in a slow function of one's own comes, leaves a fit as it was."""
    pressed = []

    def f(z):
        if pressed:
            raise KeyboardInterrupt
        return oracle.curve(z)

    X = lvm.GridLatentModel(oracle.curve, NOISE).sample(40, rng=0)
    model = lvm.GridLatentModel(f, 1.0, grid=GRID).fit(X)
    noise, losses = model.noise_variance_, model.loss_curve_
    pressed.append(True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(2 * X)
    pressed.clear()
    assert model.noise_variance_ == noise and model.loss_curve_ is losses
    assert model.fit(2 * X).noise_variance_ > noise


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_copies(how):
    X = bent()
    model = small(max_iter=5).fit(X)
    twin = how(model)
    assert_same(twin, model, X)
    twin.resume(X, max_iter=9)
    assert model.n_iter_ == 5
    fresh = clone(model)
    assert not hasattr(fresh, "noise_variance_")
    assert_same(fresh.fit(X), model, X)


@pytest.mark.parametrize("grid", ["axis", "mesh", "rule", "gauss-hermite", None])
def test_files(grid, tmp_path):
    q = 2 if grid == "mesh" else 1
    axis = np.linspace(-3, 3, 15)
    Z, w = oracle.cells(axis)
    given = {"axis": axis, "mesh": lvm.grids.mesh(axis, axis + 1), "rule": (Z, w)}.get(grid, grid)
    model = lvm.GridLatentModel(
        network(q=q), [0.1, 0.2], prior=lvm.distributions.Normal(0.5, 2.0), grid=given, n_components=q, max_iter=3
    ).fit(bent(30))
    model.save(tmp_path / "model.npz")
    loaded = lvm.GridLatentModel.load(tmp_path / "model.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
    assert_same(loaded, model, bent(30))
    np.testing.assert_array_equal(loaded.sample(4, rng=0), model.sample(4, rng=0))
    np.testing.assert_array_equal(loaded.posterior(bent(3)).mean, model.posterior(bent(3)).mean)
    assert_same(loaded.resume(bent(30), max_iter=6), model.resume(bent(30), max_iter=6), bent(30))


def test_a_function_cannot_be_saved(tmp_path):
    X = lvm.GridLatentModel(oracle.curve, NOISE).sample(20, rng=0)
    model = lvm.GridLatentModel(oracle.curve, 1.0, grid=GRID).fit(X)
    with pytest.raises((TypeError, ValueError), match="f .*pickle"):
        model.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.log_density(X), model.log_density(X))


def test_threads_give_the_same_fit(set_num_threads):
    X, models = bent(400), []
    for count in (1, 2, 3):
        set_num_threads(count)
        models.append(small(max_iter=6).fit(X))
    for other in models[1:]:
        assert_same(other, models[0], X)
