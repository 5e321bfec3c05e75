"""Fits of sparse regression: starts, bounds, bad input, interruption and going on."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from helpers import assert_near
from sklearn.exceptions import ConvergenceWarning

import lvmfast as lvm
from lvmfast.exceptions import FitInterruptedWarning, NonFiniteError

RBF = lvm.kernels.RBF
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"inducing": 9, "random_state": 0, "max_iter": 25}


def data(n=150, q=2, d=None, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3, 3, (n, q))
    y = 4 + np.sin(X @ rng.standard_normal((q, d or 1))) + 0.2 * rng.standard_normal((n, d or 1))
    return X.astype(dtype), (y if d else y[:, 0]).astype(dtype)


def assert_same(a, b):
    """Two fitted models equal bit for bit."""
    for name in ("lower_bound_", "upper_bound_", "noise_variance_", "n_iter_", "n_evaluations_", "message_", "jitter_"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("inducing_", "loss_curve_", "mean_coef_"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(a.kernel_.theta, b.kernel_.theta)
    X = np.linspace(-2, 2, 12).reshape(6, 2)
    np.testing.assert_array_equal(a.predict(X, return_std=True), b.predict(X, return_std=True))


@pytest.mark.parametrize("init", ["k-means", "greedy-variance", "subset"])
@pytest.mark.parametrize("approximation", ["vfe", "fitc"])
def test_starts_lead_near_the_exact_fit(init, approximation):
    """30 inducing inputs for 150 rows: the bound of exact regression within 1 nat, FITC at least as high as that."""
    X, y = data()
    exact = lvm.GPR().fit(X, y)
    model = lvm.SGPR(inducing=30, inducing_init=init, approximation=approximation, random_state=0, max_iter=60).fit(
        X, y
    )
    assert model.inducing_.shape == (30, 2)
    if approximation == "vfe":
        assert exact.log_marginal_likelihood_ - 1 < model.lower_bound_ < exact.log_marginal_likelihood_ + 1e-3
        assert_near(model.predict(X), exact.predict(X), 0.02)
    else:
        assert model.lower_bound_ > exact.log_marginal_likelihood_ - 1
    assert model.upper_bound_ > model.lower_bound_ - 1e-6
    assert (np.diff(model.loss_curve_) <= 1e-12).all()


def test_more_inducing_inputs_never_hurt():
    """The bound grows along nested inducing inputs, up to what rounding and jitter leave."""
    X, y = data()
    values = [
        lvm.SGPR(RBF(1.0, 1.0), inducing=X[:m], optimizer=None, noise_variance=0.05).fit(X, y) for m in (3, 10, 40, 100)
    ]
    lower, upper = ([getattr(v, name) for v in values] for name in ("lower_bound_", "upper_bound_"))
    assert (np.diff(lower) >= -1e-6).all()
    assert (np.diff(upper) <= 1e-6).all()


@pytest.mark.parametrize("learn_noise", [True, False])
@pytest.mark.parametrize("learn_inducing", [True, False])
def test_what_is_not_learned_stays(learn_noise, learn_inducing):
    X, y = data()
    Z = X[:5].copy()
    model = lvm.SGPR(inducing=Z, learn_noise=learn_noise, learn_inducing=learn_inducing, noise_variance=0.3, max_iter=5)
    model.fit(X, y)
    assert np.array_equal(model.inducing_, Z) != learn_inducing
    assert (model.noise_variance_ == 0.3) != learn_noise
    assert np.array_equal(Z, X[:5]) and model.inducing is Z


def test_bounds_priors_and_fixed_parameters():
    X, y = data()
    kernel = (
        RBF(1.0, [1.0, 1.0]).set_bounds("lengthscale", 0.5, 0.9).set_prior("variance", lvm.priors.LogNormal(0.0, 0.1))
    )
    model = lvm.SGPR(kernel, **SHORT).fit(X, y)
    assert (model.kernel_.lengthscale <= 0.9 * (1 + 1e-9)).all()
    assert model.log_posterior_ != model.lower_bound_
    assert model.log_posterior_ == pytest.approx(-model.loss_curve_[-1] * len(y), rel=1e-12)
    assert kernel.variance == 1.0


def test_jitter_is_reported():
    X, y = data()
    Z = np.vstack([X[:5], X[:5]])
    model = lvm.SGPR(RBF(2.0, 1.0), inducing=Z, optimizer=None).fit(X, y)
    assert model.jitter_ == pytest.approx(2e-10)
    assert lvm.SGPR(RBF(2.0, 1.0), inducing=Z, optimizer=None, jitter=1e-3).fit(X, y).jitter_ == 1e-3
    with pytest.raises(lvm.exceptions.NotPositiveDefiniteError, match=r"k\(Z, Z\)"):
        lvm.SGPR(RBF(2.0, 1.0), inducing=Z, optimizer=None, jitter=0.0).fit(X, y)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("init", ["k-means", "greedy-variance", "subset"])
def test_degenerate_data(dtype, init):
    """Constant and duplicate columns, equal rows, constant y: fits end, predictions are finite."""
    X, y = data(60, dtype=dtype)
    cases = {
        "constant column": (np.hstack([X, np.ones((60, 1), dtype)]), y),
        "duplicate column": (np.hstack([X, X[:, :1]]), y),
        "equal rows": (np.repeat(X[:3], 20, axis=0), y),
        "constant y": (X, np.full(60, 3, dtype)),
        "far away": (X + dtype(1e4), y),
    }
    for name, (A, b) in cases.items():
        model = lvm.SGPR(mean="linear", inducing=8, inducing_init=init, random_state=0, max_iter=5).fit(A, b)
        mean, std = model.predict(A, return_std=True)
        assert np.isfinite(mean).all() and np.isfinite(std).all(), name
        assert len(model.inducing_) == (3 if name == "equal rows" else 8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_noise_to_speak_of(dtype):
    """y is a smooth function: the noise falls to its floor, and nothing breaks."""
    X, _ = data(200, 1, dtype=dtype)
    y = np.sin(X[:, 0])
    model = lvm.SGPR(inducing=20, random_state=0, max_iter=40).fit(X, y)
    assert_near(model.predict(X), y, 1e-2)
    assert model.noise_variance_ >= 1e-9


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"inducing": 151}, "inducing must be at most the number of rows of X, 150, got 151"),
        ({"inducing": 0}, "inducing must be"),
        ({"inducing": 2.5}, "inducing must be"),
        ({"inducing": np.zeros((4, 3))}, "inducing must have 2 columns, got 3"),
        ({"inducing": np.full((4, 2), np.nan)}, "inducing must be finite"),
        ({"inducing": np.zeros((200, 2))}, "inducing must have between 1 row and the 150 of X, got 200"),
        ({"inducing_init": "random"}, "inducing_init must be"),
        ({"approximation": "dtc"}, "approximation must be"),
        ({"learn_inducing": "yes"}, "learn_inducing must be True or False"),
        ({"noise_variance": np.zeros(150)}, "noise_variance must be > 0 for every row"),
        ({"noise_variance": -1.0}, "noise_variance must be"),
        ({"mean": "cubic"}, "mean must be"),
        ({"kernel": "rbf"}, "kernel must be an lvmfast kernel"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"jitter": "much"}, "jitter must be"),
        ({"device": "tpu"}, "device must be"),
    ],
)
def test_bad_arguments(params, message):
    """The error names the argument, and a model that was fitted stays as it was."""
    X, y = data()
    model = lvm.SGPR(**SHORT).fit(X, y)
    before = model.predict(X[:5])
    model.set_params(**params)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict(X[:5]), before)


@pytest.mark.parametrize("where", ["X", "y"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_data_that_are_not_finite(where, value):
    X, y = data()
    model = lvm.SGPR(**SHORT).fit(X, y)
    before = model.predict(X[:5])
    A, b = X.copy(), y.copy()
    (A if where == "X" else b)[3] = value
    with pytest.raises(ValueError, match="NaN|infinity"):
        model.fit(A, b)
    np.testing.assert_array_equal(model.predict(X[:5]), before)
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(X, y[:-1])


def test_the_first_error_of_the_bound_says_why():
    X, y = data()
    with pytest.raises(NonFiniteError, match="noise is too small|rescale"):
        lvm.SGPR(RBF(1e300, 1.0), inducing=5, noise_variance=1e-300, optimizer=None, learn_noise=False).fit(X, y)


def test_data_stay_as_they_are_and_are_not_kept():
    X, y = data()
    X.flags.writeable = y.flags.writeable = False
    before = X.copy(), y.copy()
    model = lvm.SGPR(**SHORT).fit(X, y)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert not any(np.shape(value)[:1] == (150,) for value in vars(model).values())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("approximation", ["vfe", "fitc"])
def test_resume_is_the_same_fit(dtype, approximation, tmp_path):
    """Ended by max_iter, stopped, or from a checkpoint in a file: bit for bit the fit that was not stopped."""
    X, y = data(dtype=dtype)
    params = {**SHORT, "approximation": approximation, "mean": "linear"}
    whole = lvm.SGPR(**params).fit(X, y)
    assert_same(lvm.SGPR(**{**params, "max_iter": 7}).fit(X, y).resume(X, y, 25), whole)
    stopped = lvm.SGPR(**params, callback=lambda status: status.iteration == 4).fit(X, y)
    assert stopped.n_iter_ == 4 and not stopped.converged_
    assert_same(stopped.set_params(callback=None).resume(X, y), whole)
    path = tmp_path / "checkpoint.npz"
    lvm.SGPR(**params, callback=lambda s: s.save(path) if s.iteration == 11 else None).fit(X, y)
    loaded = lvm.SGPR.load(path)
    assert loaded.n_iter_ == 11 and np.isnan(loaded.upper_bound_) and loaded.message_ == "a checkpoint"
    assert_same(loaded.resume(X, y), whole)
    again = lvm.SGPR(**{**params, "max_iter": 9}).fit(X, y).resume(X, y, 14).resume(X, y, 25)
    assert_same(again, whole)


def test_resume_wants_the_same_data():
    X, y = data()
    model = lvm.SGPR(**SHORT).fit(X, y)
    with pytest.raises(ValueError, match="X and y must be the data of the fit"):
        model.resume(X, y + 1)
    with pytest.raises(ValueError, match="max_iter must be >= n_iter_"):
        model.resume(X, y, 1)
    done = model.n_iter_
    with pytest.raises(ValueError, match="max_iter must be >= n_iter_.*got 1"):
        model.set_params(max_iter=1).resume(X, y)
    assert model.n_iter_ == done


def test_interrupted(recwarn):
    """Ctrl-C keeps what was reached; going on ends where the whole fit ends."""
    X, y = data()
    whole = lvm.SGPR(**SHORT).fit(X, y)

    def press(status):
        if status.iteration == 5:
            os.kill(os.getpid(), signal.SIGINT)

    model = lvm.SGPR(**SHORT, callback=press)
    with pytest.warns(FitInterruptedWarning, match="after 5 iterations"):
        model.fit(X, y)
    assert model.n_iter_ == 5 and np.isfinite(model.predict(X)).all()
    assert_same(model.set_params(callback=None).resume(X, y), whole)


def test_status_and_progress_bar(capsys):
    X, y = data()
    seen = []
    model = lvm.SGPR(inducing=5, max_iter=4, verbose=1, random_state=0, callback=lambda s: seen.append(s)).fit(X, y)
    assert "SGPR" in capsys.readouterr().err
    assert [s.iteration for s in seen] == [1, 2, 3, 4]
    assert [s.loss for s in seen] == model.loss_curve_.tolist()
    assert seen[-1].n_evaluations == model.n_evaluations_ and seen[0].elapsed > 0
    assert "SgprStatus(iteration=4" in repr(seen[-1])
    middle = seen[1].model()
    assert middle.n_iter_ == 2 and np.isfinite(middle.predict(X)).all()
    theta = np.concatenate([model.kernel_.theta, [np.log(model.noise_variance_)], model.inducing_.ravel()])
    np.testing.assert_allclose(seen[-1].theta, theta, rtol=1e-12)


def test_a_fit_that_did_not_converge_says_so():
    X, y = data()
    with pytest.warns(ConvergenceWarning, match=r"resume\(X, y, max_iter=...\), which was 2"):
        lvm.SGPR(inducing=5, max_iter=2).fit(X, y)
    model = lvm.SGPR(inducing=5, optimizer=None).fit(X, y)
    assert model.converged_ and model.n_iter_ == 0 and "optimizer=None" in model.message_


def test_threads_do_not_count(set_num_threads):
    X, y = data(1200)
    two = lvm.SGPR(**SHORT).fit(X, y)
    set_num_threads(1)
    assert_same(lvm.SGPR(**SHORT).fit(X, y), two)
