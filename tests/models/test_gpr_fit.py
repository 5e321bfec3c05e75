"""What a fit of exact regression reaches, what holds it, what stops it, and data at the edge of sense."""

from __future__ import annotations

import copy
import signal
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import lvmfast as lvm
from lvmfast.exceptions import FitInterruptedWarning, LvmfastError, NotPositiveDefiniteError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RBF, Matern32, Matern52, Linear, Periodic = (
    getattr(lvm.kernels, name) for name in ("RBF", "Matern32", "Matern52", "Linear", "Periodic")
)
NAN, INF = np.nan, np.inf


def data(q=1, d=None, n=30, seed=0):
    """X (n, q) and y (n,) or (n, d): sines with noise, off zero."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, q))
    y = 1.5 + np.sin(2 * X @ rng.standard_normal((q, d or 1))) + 0.2 * rng.standard_normal((n, d or 1))
    return X, y[:, 0] if d is None else y


def drawn(variance, lengthscale, noise, n=250, length=50.0, d=None, mean=0.0, seed=0):
    """Data of a Gaussian process with an RBF kernel."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, length, n))
    K = variance * np.exp(-0.5 * ((x[:, None] - x) / lengthscale) ** 2) + noise * np.eye(n)
    y = mean + np.linalg.cholesky(K) @ rng.standard_normal((n, d or 1))
    return x[:, None], y[:, 0] if d is None else y


def values(kernel):
    """All parameters by name."""
    return {name: parameter.value for name, parameter in kernel.parameters.items()}


def fitted(model):
    return {name: copy.deepcopy(value) for name, value in vars(model).items() if name.endswith("_")}


def assert_unchanged(model, before):
    after = fitted(model)
    assert after.keys() == before.keys()
    for name, value in before.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(after[name], value, err_msg=name)
        else:
            assert after[name] == value, name


# What is reached.


@pytest.mark.parametrize("d", [None, 3])
def test_parameters_are_recovered(d):
    X, y = drawn(2.0, 0.8, 0.1, d=d)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = lvm.GPR(RBF(), mean="zero", noise_variance=1.0).fit(X, y)
    assert ours.converged_ and ours.n_iter_ <= 100
    assert abs(np.log(ours.kernel_.parameters["lengthscale"].value / 0.8)) < 0.25
    assert abs(np.log(ours.kernel_.parameters["variance"].value / 2.0)) < 0.6
    assert abs(np.log(ours.noise_variance_ / 0.1)) < 0.35
    truth = lvm.GPR(RBF(2.0, 0.8), mean="zero", noise_variance=0.1, optimizer=None).fit(X, y)
    assert ours.log_marginal_likelihood_ > truth.log_marginal_likelihood_


def test_the_mean_is_recovered():
    X, y = drawn(1.0, 0.5, 0.05, mean=12.0)
    ours = lvm.GPR(RBF(), noise_variance=1.0).fit(X, y)
    assert abs(float(np.ravel(ours.mean_coef_)[0]) - 12.0) < 0.5
    assert abs(ours.predict([[1e6]])[0] - 12.0) < 0.5
    slope = 0.7 * X[:, 0]
    ours = lvm.GPR(RBF(), mean="linear", noise_variance=1.0).fit(X, y + slope)
    ahead = ours.predict([[100.0], [200.0]])
    assert abs((ahead[1] - ahead[0]) / 100 - 0.7) < 0.05


def test_relevance_of_each_input():
    """The default kernel has a lengthscale per column: that of a column which does not matter becomes long."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (80, 3))
    y = np.sin(2 * X[:, 0]) + 0.5 * X[:, 2] + 0.05 * rng.standard_normal(80)
    ours = lvm.GPR().fit(X, y)
    lengthscale = ours.kernel_.parameters["lengthscale"].value
    assert isinstance(ours.kernel_, RBF) and lengthscale.shape == (3,)
    assert lengthscale[1] > 3 * lengthscale[0]
    assert ours.score(X, y) > 0.95


def test_the_period_is_found():
    X, _ = drawn(1.0, 1.0, 0.1, n=80, length=10.0)
    y = np.sin(2 * np.pi * X[:, 0] / 1.7) + 0.1 * np.random.default_rng(0).standard_normal(80)
    ours = lvm.GPR(Periodic(1.0, 1.0, 1.6), noise_variance=0.1).fit(X, y)
    assert abs(ours.kernel_.parameters["period"].value - 1.7) < 0.02


KERNELS = {
    "default": lambda: None,
    "rbf": lambda: RBF(),
    "matern12": lambda: lvm.kernels.Matern12(),
    "matern32": lambda: Matern32(0.5, 0.3),
    "rationalquadratic": lambda: lvm.kernels.RationalQuadratic(),
    "linear": lambda: Linear() + 1.0,
    "polynomial": lambda: lvm.kernels.Polynomial(degree=2),
    "sum": lambda: RBF() + Matern52(0.3, 0.1) + lvm.kernels.White(0.1),
    "product": lambda: RBF(1.0, [1.0, 2.0]) * Linear() + 0.5,
    "active": lambda: RBF(active_dims=[0]) + Periodic(1.0, 1.0, 3.0, active_dims=[1]),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [None, 2])
@pytest.mark.parametrize("mean", ["zero", "constant"])
def test_never_worse_than_the_start(name, d, mean):
    X, y = data(2, d)
    settings = {"mean": mean, "noise_variance": 0.3}
    start = lvm.GPR(KERNELS[name](), optimizer=None, **settings).fit(X, y)
    ours = lvm.GPR(KERNELS[name](), **settings).fit(X, y)
    assert start.n_iter_ == 0
    assert ours.log_marginal_likelihood_ > start.log_marginal_likelihood_
    assert ours.log_marginal_likelihood_ == pytest.approx(ours.log_marginal_likelihood())
    assert ours.log_posterior_ == ours.log_marginal_likelihood_


def test_the_best_is_kept():
    """A fit that starts where another ended stays there."""
    X, y = data(2)
    first = lvm.GPR().fit(X, y)
    second = lvm.GPR(first.kernel_, noise_variance=first.noise_variance_).fit(X, y)
    assert second.log_marginal_likelihood_ >= first.log_marginal_likelihood_ - 1e-9
    assert second.n_evaluations_ < first.n_evaluations_


def test_the_optimum_is_stationary():
    X, y = data(2)
    ours = lvm.GPR(RBF(1.0, [1.0, 1.0]), noise_variance=0.3, tol=1e-10).fit(X, y)
    _, gradient = ours.log_marginal_likelihood(gradient=True)
    assert np.abs(gradient).max() < 0.02


def test_attributes():
    X, y = data(2)
    given = RBF(1.0, [1.0, 2.0])
    ours = lvm.GPR(given, noise_variance=0.5)
    assert ours.fit(X, y) is ours
    assert given == RBF(1.0, [1.0, 2.0]) and ours.kernel is given and ours.kernel_ is not given
    np.testing.assert_array_equal(ours.X_train_, X)
    np.testing.assert_array_equal(ours.y_train_, y)
    assert not np.shares_memory(ours.X_train_, X) and not np.shares_memory(ours.y_train_, y)
    for name in ("noise_variance_", "log_marginal_likelihood_", "log_posterior_", "jitter_"):
        assert isinstance(getattr(ours, name), float), name
    assert isinstance(ours.converged_, bool) and isinstance(ours.message_, str)
    assert 1 <= ours.n_iter_ <= ours.n_evaluations_
    assert ours.L_.shape == (30, 30) and ours.alpha_.shape == y.shape
    assert ours.n_features_in_ == 2 and ours.jitter_ == 0


def test_nothing_is_learned_without_an_optimizer():
    X, y = data(2)
    kernel = RBF(0.3, [1.0, 2.0])
    ours = lvm.GPR(kernel, noise_variance=0.7, optimizer=None, n_restarts=3).fit(X, y)
    assert ours.kernel_ == kernel and ours.noise_variance_ == 0.7
    assert ours.n_iter_ == 0


def test_default_noise_starts_at_a_tenth_of_the_variance():
    X, y = data()
    ours = lvm.GPR(RBF(), optimizer=None).fit(X, y)
    assert ours.noise_variance_ == pytest.approx(0.1 * np.var(y), rel=0.05)


def test_end_before_convergence_is_told():
    X, y = data(2)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        ours = lvm.GPR(max_iter=2, tol=0.0).fit(X, y)
    assert not ours.converged_ and ours.n_iter_ == 2


def test_refit_equals_a_first_fit():
    X, y = data(2)
    ours = lvm.GPR().fit(*data(3, 2, n=12, seed=1))
    ours.predict(np.zeros((2, 3)))
    ours.fit(X, y)
    fresh = lvm.GPR().fit(X, y)
    assert ours.kernel_ == fresh.kernel_
    np.testing.assert_array_equal(ours.predict(X), fresh.predict(X))


def test_memory_layout_does_not_matter():
    X, y = data(2)
    expected = lvm.GPR(max_iter=20, tol=1e-3).fit(X, y).predict(X)
    frozen = X.copy()
    frozen.flags.writeable = False
    for given in (X.tolist(), np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], frozen, X.astype(">f8")):
        actual = lvm.GPR(max_iter=20, tol=1e-3).fit(given, y).predict(X)
        np.testing.assert_array_equal(actual, expected)


# What is held.


def test_fixed_parameters_stay():
    X, y = data(2)
    kernel = (RBF(0.7, [0.9, 1.1]) + Linear(0.4)).fix("rbf.lengthscale", "linear.variance")
    ours = lvm.GPR(kernel, noise_variance=0.3).fit(X, y)
    found = values(ours.kernel_)
    np.testing.assert_array_equal(found["rbf.lengthscale"], [0.9, 1.1])
    assert found["linear.variance"] == 0.4 and found["rbf.variance"] != 0.7
    assert ours.noise_variance_ != 0.3


def test_fixed_noise_stays():
    X, y = data(2)
    ours = lvm.GPR(RBF(), noise_variance=0.3, learn_noise=False).fit(X, y)
    assert ours.noise_variance_ == 0.3 and values(ours.kernel_)["lengthscale"] != 1.0
    noise = np.random.default_rng(0).uniform(0.02, 0.4, len(y))
    ours = lvm.GPR(RBF(), noise_variance=noise).fit(X, y)
    np.testing.assert_array_equal(ours.noise_variance_, noise)
    noise[0] = 7.0
    assert ours.noise_variance_[0] != 7.0


def test_all_fixed():
    X, y = data(2)
    ours = lvm.GPR(RBF(0.7, 0.9).fix(), noise_variance=0.3, learn_noise=False).fit(X, y)
    assert ours.kernel_.theta.shape == (0,) and ours.noise_variance_ == 0.3
    assert values(ours.kernel_) == {"variance": 0.7, "lengthscale": 0.9}
    value, gradient = ours.log_marginal_likelihood(gradient=True)
    np.testing.assert_allclose(value, ours.log_marginal_likelihood_, rtol=1e-13)
    assert gradient.shape == (0,)


@pytest.mark.parametrize(("low", "high", "end"), [(1e-3, 0.1, 0.1), (3.0, 50.0, 3.0)])
def test_bounds_hold(low, high, end):
    """The best lengthscale lies beyond: the fit ends at the bound, or the noise takes over within."""
    X, y = drawn(2.0, 0.8, 0.01, n=60, length=12.0)
    free = lvm.GPR(RBF(), mean="zero", noise_variance=0.1).fit(X, y)
    assert not low < values(free.kernel_)["lengthscale"] < high
    kernel = RBF(2.0, np.sqrt(low * high)).set_bounds("lengthscale", low, high)
    ours = lvm.GPR(kernel, mean="zero", noise_variance=0.01, learn_noise=False, n_restarts=2, random_state=0).fit(X, y)
    assert values(ours.kernel_)["lengthscale"] == pytest.approx(end, rel=1e-6)
    assert low * (1 - 1e-12) <= values(ours.kernel_)["lengthscale"] <= high * (1 + 1e-12)
    assert tuple(ours.kernel_.parameters["lengthscale"].bounds) == (low, high)


def test_bounds_hold_at_every_iteration():
    X, y = data()
    seen = []

    class Watch:
        """A flat prior that tells what it is asked."""

        def log_density(self, x):
            seen.append(float(x))
            return np.zeros(np.shape(x))

        def gradient(self, x):
            return np.zeros(np.shape(x))

    kernel = RBF(1.0, 0.5).set_bounds("lengthscale", 0.4, 0.6).set_prior("lengthscale", Watch())
    lvm.GPR(kernel, n_restarts=2, random_state=0).fit(X, y)
    assert len(seen) > 3 and min(seen) >= 0.4 * (1 - 1e-12) and max(seen) <= 0.6 * (1 + 1e-12)


# Priors.


def with_priors():
    kernel = RBF(1.0, [1.0, 1.0]) + Linear(0.5)
    kernel.set_prior("rbf.lengthscale", lvm.priors.InverseGamma(3.0, 2.0))
    kernel.set_prior("rbf.variance", lvm.priors.Gamma(2.0, 3.0))
    return kernel.set_prior("linear.variance", lvm.priors.LogNormal(-1.0, 0.5))


def log_prior_slope(kernel):
    """By theta: the slope by the value times the value, as theta is its logarithm."""
    _, slopes = kernel.log_prior()
    found = values(kernel)
    return np.concatenate([np.ravel(slopes[name] * found[name]) if name in slopes else [0.0] for name in found])


def test_maximum_a_posteriori():
    """Slopes of likelihood and priors cancel there; no step improves it."""
    X, y = data(2)
    ours = lvm.GPR(with_priors(), noise_variance=0.3, tol=1e-10).fit(X, y)
    value, gradient = ours.log_marginal_likelihood(gradient=True)
    log_prior, _ = ours.kernel_.log_prior()
    assert ours.log_posterior_ == pytest.approx(value + log_prior)
    total = gradient + np.append(log_prior_slope(ours.kernel_), 0.0)
    assert np.abs(total).max() < 0.02
    assert np.abs(gradient).max() > 0.05  # the priors do pull
    for name in values(ours.kernel_):
        for factor in (0.9, 1.1):
            kernel = ours.kernel_.copy()
            kernel.parameters[name] = factor * kernel.parameters[name].value
            moved = lvm.GPR(kernel, noise_variance=ours.noise_variance_, optimizer=None).fit(X, y)
            assert moved.log_posterior_ < ours.log_posterior_


def test_a_sharp_prior_wins():
    X, y = data()
    kernel = RBF(1.0, 1.0).set_prior("lengthscale", lvm.priors.LogNormal(np.log(3.0), 1e-3))
    ours = lvm.GPR(kernel, max_iter=1000).fit(X, y)
    assert values(ours.kernel_)["lengthscale"] == pytest.approx(3.0, rel=0.02)


def test_a_vague_prior_does_nothing():
    X, y = data()
    kernel = RBF(1.0, 1.0).set_prior("*", lvm.priors.HalfCauchy(1e6))
    ours, plain = (lvm.GPR(k, noise_variance=0.3, tol=1e-10).fit(X, y) for k in (kernel, RBF()))
    np.testing.assert_allclose(ours.predict(X), plain.predict(X), atol=1e-3)


class Own:
    """A user's prior: normal of the logarithm, without its constant."""

    def log_density(self, x):
        return -0.5 * np.log(x) ** 2 / 0.01

    def gradient(self, x):
        return -np.log(x) / (0.01 * np.asarray(x))


def test_a_prior_of_ones_own():
    X, y = data()
    kernel = RBF(1.0, 3.0).set_prior("lengthscale", Own())
    ours = lvm.GPR(kernel, tol=1e-10).fit(X, y)
    _, gradient = ours.log_marginal_likelihood(gradient=True)
    slope = np.append(log_prior_slope(ours.kernel_), 0.0)
    assert np.abs(gradient + slope).max() < 0.05 and np.abs(slope).max() > 0.1


# Restarts.


def two_optima():
    """Few points: all noise, or a wave of short length."""
    rng = np.random.default_rng(3)
    X = np.sort(rng.uniform(0, 5, 20))[:, None]
    y = np.sin(6 * X[:, 0]) + 0.1 * rng.standard_normal(20)
    return X, y


def bounded(lengthscale):
    return RBF(1.0, lengthscale).set_bounds("lengthscale", 0.05, 100.0).set_bounds("variance", 1e-3, 100.0)


def test_restarts_find_a_better_optimum():
    X, y = two_optima()
    poor = lvm.GPR(bounded(50.0), noise_variance=1.0).fit(X, y)
    good = lvm.GPR(bounded(0.3), noise_variance=0.05).fit(X, y)
    assert good.log_marginal_likelihood_ > poor.log_marginal_likelihood_ + 3
    ours = lvm.GPR(bounded(50.0), noise_variance=1.0, n_restarts=20, random_state=0).fit(X, y)
    assert ours.log_marginal_likelihood_ >= good.log_marginal_likelihood_ - 1e-3
    assert ours.score(X, y) > 0.9
    assert ours.n_evaluations_ > poor.n_evaluations_


def test_restarts_do_not_lose_the_start():
    """The given start is one of them."""
    X, y = two_optima()
    good = lvm.GPR(bounded(0.3), noise_variance=0.05).fit(X, y)
    for seed in range(3):
        ours = lvm.GPR(bounded(0.3), noise_variance=0.05, n_restarts=1, random_state=seed).fit(X, y)
        assert ours.log_marginal_likelihood_ >= good.log_marginal_likelihood_ - 1e-9


def test_restarts_are_reproducible():
    X, y = two_optima()
    fits = [lvm.GPR(bounded(50.0), n_restarts=3, random_state=seed).fit(X, y) for seed in (0, 0)]
    fits.append(lvm.GPR(bounded(50.0), n_restarts=3, random_state=np.random.default_rng(0)).fit(X, y))
    for other in fits[1:]:
        assert other.kernel_ == fits[0].kernel_ and other.noise_variance_ == fits[0].noise_variance_


def test_restarts_leave_fixed_parameters_alone():
    X, y = two_optima()
    ours = lvm.GPR(bounded(0.4).fix("lengthscale"), n_restarts=3, random_state=0).fit(X, y)
    assert values(ours.kernel_)["lengthscale"] == 0.4


class Fails:
    """A prior that is not a number at first, then flat; the count is of all copies."""

    first = 0

    def log_density(self, x):
        Fails.first -= 1
        return np.full(np.shape(x), NAN if Fails.first >= 0 else 0.0)

    def gradient(self, x):
        return np.full(np.shape(x), NAN if Fails.first >= 0 else 0.0)


def test_a_start_that_fails_does_not_spoil_the_others():
    X, y = two_optima()
    Fails.first = 1
    kernel = bounded(0.3).set_prior("lengthscale", Fails())
    ours = lvm.GPR(kernel, n_restarts=5, random_state=0).fit(X, y)
    assert np.isfinite(ours.log_marginal_likelihood_) and np.isfinite(ours.predict(X)).all()


@pytest.mark.parametrize("n_restarts", [0, 2])
def test_all_starts_fail(n_restarts):
    X, y = two_optima()
    ours = lvm.GPR(bounded(0.3), max_iter=50).fit(X, y)
    before = fitted(ours)
    Fails.first = 10**9
    kernel = bounded(0.3).set_prior("lengthscale", Fails())
    ours.set_params(kernel=kernel, n_restarts=n_restarts, random_state=0)
    with pytest.raises((LvmfastError, ValueError), match="finite|prior|start"):
        ours.fit(X, y)
    assert_unchanged(ours, before)


# What stops a fit.


def test_callback():
    X, y = data(2)
    iterations, losses = [], []

    def callback(status):
        iterations.append(status.iteration)
        losses.append(status.loss)

    ours = lvm.GPR(callback=callback).fit(X, y)
    assert iterations == list(range(1, ours.n_iter_ + 1))
    assert np.isfinite(losses).all() and (np.diff(losses) <= 1e-9).all()
    silent = lvm.GPR().fit(X, y)
    assert silent.kernel_ == ours.kernel_


@pytest.mark.parametrize("answer", [True, np.True_], ids=["bool", "numpy"])
def test_true_stops(answer, recwarn):
    X, y = data(2)
    ours = lvm.GPR(tol=0.0, callback=lambda status: answer if status.iteration == 3 else None).fit(X, y)
    assert ours.n_iter_ == 3 and not ours.converged_ and "callback" in ours.message_
    assert np.isfinite(ours.predict(X)).all()
    assert len(recwarn) == 0  # it is what was asked for


def test_an_error_in_the_callback_leaves_the_model_as_it_was():
    X, y = data(2)
    ours = lvm.GPR(callback=lambda status: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ours.fit(X, y)
    assert fitted(ours) == {}
    ours.set_params(callback=None).fit(X, y)
    before = fitted(ours)
    with pytest.raises(ZeroDivisionError):
        ours.set_params(callback=lambda status: 1 / 0).fit(X[:5], y[:5])
    assert_unchanged(ours, before)


def interrupt(status):
    if status.iteration == 3:
        raise KeyboardInterrupt


def press(status):
    if status.iteration == 3:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("callback", [interrupt, press])
def test_interrupted_in_the_callback(callback):
    X, y = data(2)
    start = lvm.GPR(optimizer=None).fit(X, y)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.warns(FitInterruptedWarning):
        ours = lvm.GPR(tol=0.0, callback=callback).fit(X, y)
    assert signal.getsignal(signal.SIGINT) is handler
    assert ours.n_iter_ == 3 and not ours.converged_ and "keyboard" in ours.message_
    assert ours.log_marginal_likelihood_ > start.log_marginal_likelihood_
    assert np.isfinite(ours.predict(X, return_std=True)).all()
    ours.condition_on(X[:1], y[:1])
    assert ours.set_params(callback=None, tol=1e-6).fit(X, y).converged_


class Presses:
    """A flat prior during whose nth call somebody presses Ctrl-C."""

    calls = 0

    def log_density(self, x):
        Presses.calls -= 1
        if Presses.calls == 0:
            raise KeyboardInterrupt
        return np.zeros(np.shape(x))

    def gradient(self, x):
        return np.zeros(np.shape(x))


@pytest.mark.parametrize("call", [4, 6])
@pytest.mark.parametrize("n_restarts", [0, 2])
def test_interrupted_within_an_evaluation(call, n_restarts):
    """The best point so far is kept."""
    X, y = data()
    Presses.calls = call
    kernel = RBF(1.0, 5.0).set_prior("lengthscale", Presses())
    with pytest.warns(FitInterruptedWarning):
        ours = lvm.GPR(kernel, noise_variance=1.0, tol=0.0, n_restarts=n_restarts, random_state=0).fit(X, y)
    start = lvm.GPR(RBF(1.0, 5.0), noise_variance=1.0, optimizer=None).fit(X, y)
    assert ours.log_marginal_likelihood_ >= start.log_marginal_likelihood_ - 1e-9
    assert not ours.converged_ and np.isfinite(ours.predict(X)).all()


def test_verbosity_does_not_matter(capsys):
    X, y = data(2)
    quiet = lvm.GPR().fit(X, y)
    assert capsys.readouterr() == ("", "")
    shown = lvm.GPR(verbose=1).fit(X, y)
    out, err = capsys.readouterr()
    assert out == "" and "GPR" in err
    assert shown.kernel_ == quiet.kernel_


# Units, precision, and data at the edge of sense.


@pytest.mark.parametrize("factor", [1e-6, 1e5])
@pytest.mark.parametrize("what", ["y", "X"])
def test_units_do_not_matter(factor, what):
    """With what is started from the data."""
    X, y = data(2)
    a = lvm.GPR(tol=1e-9).fit(X, y)
    scaled_X, scaled_y = (factor * X, y) if what == "X" else (X, factor * y)
    b = lvm.GPR(tol=1e-9).fit(scaled_X, scaled_y)
    in_y = factor if what == "y" else 1.0
    np.testing.assert_allclose(b.predict(scaled_X) / in_y, a.predict(X), atol=2e-3)
    shift = len(y) * np.log(in_y)
    assert b.log_marginal_likelihood_ + shift == pytest.approx(a.log_marginal_likelihood_, abs=1e-3)


@pytest.mark.parametrize("d", [None, 2])
def test_float32_follows_float64(d):
    X, y = data(2, d)
    settings = {"noise_variance": 0.3, "mean": "constant"}
    double = lvm.GPR(RBF(1.0, [1.0, 1.0]), **settings).fit(X, y)
    single = lvm.GPR(RBF(1.0, [1.0, 1.0]), tol=1e-4, **settings).fit(X.astype(np.float32), y.astype(np.float32))
    assert single.X_train_.dtype == single.y_train_.dtype == np.float32
    mean = single.predict(X.astype(np.float32))
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, double.predict(X), atol=0.02)
    assert single.log_marginal_likelihood_ == pytest.approx(double.log_marginal_likelihood_, abs=0.05)


def works_or_says_why(X, y, **params):
    """A fit with finite predictions, or an error of ours in words; never NaN."""
    try:
        ours = lvm.GPR(**params).fit(X, y)
    except (ValueError, LvmfastError) as error:
        assert len(str(error)) > 20
        return None
    mean, std = ours.predict(X, return_std=True)
    assert np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()
    assert np.isfinite(ours.log_marginal_likelihood_) and np.isfinite(ours.noise_variance_)
    assert all(np.isfinite(value).all() for value in values(ours.kernel_).values())
    return ours


edge = pytest.mark.filterwarnings("ignore::lvmfast.exceptions.JitterWarning")


@edge
@pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
def test_duplicated_inputs(mean):
    X, y = data(2, n=12)
    ours = works_or_says_why(np.vstack([X, X, X]), np.concatenate([y, y + 0.1, y - 0.1]), mean=mean)
    assert ours is not None and ours.noise_variance_ > 1e-3
    ours = works_or_says_why(np.vstack([X, X]), np.concatenate([y, y]), mean=mean)
    assert ours is not None and ours.score(X, y) > 0.99


@edge
@pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_points(mean, n):
    X, y = data(2, n=n)
    works_or_says_why(X, y, mean=mean)
    ours = works_or_says_why(X, y, mean=mean, kernel=RBF(), noise_variance=0.1, optimizer=None)
    assert ours is not None or mean == "linear"
    assert works_or_says_why(X, y, mean="zero") is not None


@edge
@pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
def test_a_constant_column(mean):
    X, y = data(1)
    X = np.column_stack([X, np.full(30, 3.0)])
    ours = works_or_says_why(X, y, mean=mean)
    assert ours is not None and ours.score(X, y) > 0.5


@edge
@pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
@pytest.mark.parametrize("value", [0.0, 2.5, -1e10])
def test_all_y_equal(mean, value):
    X, y = data(2)
    ours = works_or_says_why(X, np.full_like(y, value), mean=mean)
    if ours is not None and mean != "zero":
        np.testing.assert_allclose(ours.predict(X), value, rtol=1e-6, atol=1e-6)


@edge
@pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
def test_all_inputs_equal(mean):
    _, y = data()
    ours = works_or_says_why(np.full((30, 2), 0.7), y, mean=mean)
    if ours is not None and mean != "zero":
        np.testing.assert_allclose(ours.predict(np.full((1, 2), 0.7)), [y.mean()], rtol=0.05)


@edge
@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e-8, 1e8, 1e30, 1e150])
@pytest.mark.parametrize("mean", ["zero", "constant"])
def test_tiny_and_huge_observations(scale, mean):
    X, y = data(2)
    ours = works_or_says_why(X, scale * y, mean=mean)
    if ours is not None:
        assert ours.score(X, scale * y) > 0.5
    if 1e-10 < scale < 1e10:
        assert ours is not None


@edge
@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_tiny_and_huge_inputs(scale):
    X, y = data(2)
    ours = works_or_says_why(scale * X, y)
    if ours is not None:
        assert ours.score(scale * X, y) > 0.5


@edge
def test_a_large_offset():
    X, y = data(2)
    ours = works_or_says_why(X, y + 1e7)
    assert ours is not None and ours.score(X, y + 1e7) > 0.5


@edge
def test_observations_without_noise():
    X = np.linspace(0, 3, 25)[:, None]
    y = np.sin(3 * X[:, 0])
    ours = works_or_says_why(X, y)
    assert ours is not None
    np.testing.assert_allclose(ours.predict(X), y, atol=1e-2)


@edge
def test_observations_of_nothing_but_noise():
    rng = np.random.default_rng(0)
    X, y = rng.uniform(-2, 2, (60, 2)), rng.standard_normal(60)
    ours = works_or_says_why(X, y)
    assert ours is not None and 0.3 < ours.noise_variance_ + values(ours.kernel_)["variance"] < 3


def test_integers():
    X = np.arange(12)[:, None]
    y = (np.arange(12) ** 2) % 7
    a, b = lvm.GPR(RBF()).fit(X, y), lvm.GPR(RBF()).fit(X.astype(float), y.astype(float))
    np.testing.assert_array_equal(a.predict(X), b.predict(X.astype(float)))
    assert a.predict(X).dtype == np.float64


# Errors: they say which argument, the rule and the value, and leave the model as it was.

NUMBER, COUNT = "must be a finite number > 0", "must be an integer >="
PARAMETERS = {
    "kernel": [("rbf", TypeError, "must be an lvmfast kernel", "got 'rbf'"), (RBF, TypeError, "kernel", "got <class")],
    "mean": [("median", ValueError, "'zero', 'constant', 'linear'", "got 'median'"), (3, (TypeError, ValueError), "3")],
    "noise_variance": [
        (-0.5, ValueError, NUMBER, "got -0.5"),
        (0, ValueError, NUMBER, "got 0"),
        (NAN, ValueError, NUMBER, "got nan"),
        ("low", TypeError, "number", "got 'low'"),
        (np.ones(7), ValueError, "shape (30,)", "(7,)"),
        (np.r_[np.ones(29), -1.0], ValueError, ">= 0", "-1"),
        (np.r_[np.ones(29), NAN], ValueError, "finite", "nan"),
    ],
    "learn_noise": [("yes", TypeError, "True or False", "got 'yes'")],
    "optimizer": [("sgd", ValueError, "'lbfgs'", "got 'sgd'")],
    "n_restarts": [(-1, ValueError, COUNT, "got -1"), (1.5, TypeError, COUNT, "got 1.5")],
    "max_iter": [(0, ValueError, COUNT, "got 0"), (2.5, TypeError, COUNT, "got 2.5")],
    "tol": [(-1e-3, ValueError, "must be a finite number >= 0", "got -0.001"), (None, TypeError, "number", "got None")],
    "jitter": [("some", ValueError, "'auto' or a number >= 0", "got 'some'"), (-1.0, ValueError, ">= 0", "got -1.0")],
    "callback": [("print", TypeError, "must be callable", "got 'print'")],
    "random_state": [(-1, ValueError, "must be None, an int >= 0 or", "got -1")],
    "device": [("tpu", ValueError, "'auto', 'cpu' or 'cuda'", "got 'tpu'")],
}
CASES = [(name, *case) for name, cases in PARAMETERS.items() for case in cases]


@pytest.mark.parametrize(("name", "value", "error", "parts"), [(c[0], c[1], c[2], c[3:]) for c in CASES])
def test_parameter(name, value, error, parts):
    X, y = data(2)
    ours = lvm.GPR().fit(X, y)
    before = fitted(ours)
    ours.set_params(**{name: value})  # nothing is checked before a fit
    with pytest.raises(error) as caught:
        ours.fit(X, y)
    for part in (name, *parts):
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"
    assert_unchanged(ours, before)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (lambda: RBF(1.0, [1.0, 2.0, 3.0]), "lengthscale must"),
        (lambda: RBF(active_dims=[0, 5]), "active_dims"),
        (lambda: RBF() + Linear([1.0, 2.0, 3.0]), "variance must"),
    ],
)
def test_a_kernel_for_other_inputs(kernel, words):
    X, y = data(2)
    with pytest.raises(ValueError, match=words):
        lvm.GPR(kernel()).fit(X, y)


@pytest.mark.parametrize(
    ("mean", "error", "words"),
    [
        (lambda X: np.zeros(len(X) + 1), ValueError, "mean.*shape"),
        (lambda X: np.full(len(X), NAN), ValueError, "mean.*finite"),
        (lambda X: np.zeros((len(X), 3)), ValueError, "mean.*shape"),
        (lambda X: 1 / 0, ZeroDivisionError, "division"),
    ],
)
def test_a_mean_that_is_none(mean, error, words):
    X, y = data(2)
    ours = lvm.GPR(mean=mean)
    with pytest.raises(error, match=words):
        ours.fit(X, y)
    assert fitted(ours) == {}


def changed(array, value):
    array = array.copy()
    array[3] = value
    return array


X0, Y0 = data(2)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (X0[:, 0], Y0, "Expected 2D array"),
        (X0[None], Y0, "dim 3"),
        (X0[:0], Y0[:0], "0 sample"),
        (X0[:, :0], Y0, "0 feature"),
        (X0[:5], Y0, "inconsistent numbers of samples"),
        (changed(X0, NAN), Y0, "X contains NaN"),
        (changed(X0, INF), Y0, "X contains infinity"),
        (X0, changed(Y0, NAN), "y contains NaN"),
        (X0, changed(Y0, -INF), "y contains infinity"),
        (X0, np.zeros((30, 2, 2)), "dim 3|y must"),
        (X0, None, "y"),
        (X0 + 1j, Y0, "Complex data not supported"),
        (np.full((30, 2), "a"), Y0, "could not convert|real numbers"),
    ],
)
def test_data(X, y, words):
    ours = lvm.GPR(max_iter=50).fit(X0, Y0)
    before = fitted(ours)
    with pytest.raises(ValueError, match=words):
        ours.fit(X, y)
    assert_unchanged(ours, before)


def test_a_covariance_that_cannot_be_factorised():
    """The same rows, different values, no noise to tell them apart, and no jitter allowed."""
    X = np.repeat(X0[:5], 2, axis=0)
    ours = lvm.GPR(RBF(), noise_variance=1e-25, learn_noise=False, jitter=0, optimizer=None)
    with pytest.raises(NotPositiveDefiniteError, match="duplicate"):
        ours.fit(X, Y0[:10])
    assert fitted(ours) == {}
    automatic = lvm.GPR(RBF(), noise_variance=1e-25, learn_noise=False, optimizer=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        automatic.fit(X, Y0[:10])
    assert 0 < automatic.jitter_ < 1e-3 and np.isfinite(automatic.predict(X)).all()


def test_the_callers_arrays_are_left_alone():
    X, y = data(2)
    lengthscale = np.array([1.0, 2.0])
    noise = np.full(30, 0.1)
    given = [X, y, lengthscale, noise]
    before = [a.copy() for a in given]
    ours = lvm.GPR(RBF(1.0, lengthscale), noise_variance=noise).fit(X, y)
    ours.predict(X, return_std=True)
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)
    mean = ours.predict(before[0])
    X[...] = 0
    y[...] = 0
    np.testing.assert_array_equal(ours.predict(before[0]), mean)


def test_device():
    X, y = data(2)
    a, b = lvm.GPR(device="cpu").fit(X, y), lvm.GPR().fit(X, y)
    assert a.kernel_ == b.kernel_
