"""What a fit reaches, and what must not change it: units, order and memory layout."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from helpers import FITTED, layouts, observations, tolerance
from reference import gplvm as oracle
from sklearn.exceptions import ConvergenceWarning

import lvmfast as lvm
from lvmfast.exceptions import NotPositiveDefiniteError
from lvmfast.models._gplvm_problem import Problem

pytestmark = pytest.mark.filterwarnings("ignore:the fit ended before convergence")


OPTIMIZERS = ["auto", "lbfgs", "adam"]
RBF = lvm.kernels.RBF


def with_missing(Y):
    Y = Y.copy()
    Y[::4, 1] = np.nan
    Y[5] = np.nan
    Y[:, 3] = np.nan
    return Y


def pca(Y, q=2):
    """The latents from which init='pca' starts."""
    return Problem(Y, center=True).initial_latents("pca", q, np.random.default_rng(0))


def oracle_likelihood(model, Y):
    kernel = model.kernel_
    settings = (kernel.variance, kernel.lengthscale, model.noise_variance_, model.jitter_)
    return -Y.shape[1] * oracle.loss(model.embedding_, Y - model.mean_, *settings)


def assert_same(a, b):
    """Fitted attributes equal bit for bit."""
    for name in FITTED:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        assert np.asarray(getattr(a, name)).dtype == np.asarray(getattr(b, name)).dtype
    assert a.kernel_ == b.kernel_


# What is reached.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_loss_falls_on_digits(optimizer):
    Y, digit = lvm.datasets.load_mnist_sample(return_X_y=True)
    Y, digit = Y[:100], digit[:100]
    model = lvm.GPLVM(2, optimizer=optimizer, max_iter=60).fit(Y)
    start = pca(Y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]

    def neighbours_agree(X):
        distance = ((X[:, None] - X) ** 2).sum(axis=2) + np.diag(np.full(len(X), np.inf))
        return np.mean(digit[distance.argmin(axis=1)] == digit)

    assert neighbours_agree(model.embedding_) > neighbours_agree(start)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("lengthscale", [0.9, [0.7, 1.6]], ids=["scalar", "ard"])
def test_likelihood_is_that_of_the_fitted_parameters(optimizer, center, missing, lengthscale):
    Y = with_missing(observations()) if missing else observations()
    model = lvm.GPLVM(
        kernel=RBF(1.0, lengthscale),
        optimizer=optimizer,
        center=center,
        missing="marginalize" if missing else "raise",
        max_iter=45,
    ).fit(Y)
    condition = 1 + len(Y) * model.kernel_.variance / model.noise_variance_
    np.testing.assert_allclose(
        model.log_marginal_likelihood_,
        oracle_likelihood(model, Y),
        rtol=tolerance(np.float64, len(Y), condition),
    )
    assert np.shape(model.kernel_.lengthscale) == np.shape(lengthscale)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    if optimizer != "adam":  # Adam's losses precede its steps
        np.testing.assert_allclose(model.loss_curve_[-1] * Y.shape[1], -model.log_marginal_likelihood_, rtol=1e-12)


def test_first_loss_is_at_the_documented_start():
    Y = observations()
    Y_bar = Y - Y.mean(axis=0)
    square = np.mean(Y_bar**2)
    model = lvm.GPLVM(optimizer="adam", max_iter=1).fit(Y)
    np.testing.assert_allclose(model.loss_curve_, [oracle.loss(pca(Y), Y_bar, square, 1.3, 1.3 * square)], rtol=1e-10)


def test_given_start():
    Y = observations()
    init = np.random.default_rng(1).standard_normal((24, 2))
    given = RBF(0.7, [0.8, 1.9])
    model = lvm.GPLVM(init=init, kernel=given, noise_variance=0.3, optimizer="adam", max_iter=1)
    model.fit(Y)
    desired = oracle.loss(init, Y - Y.mean(axis=0), 0.7, [0.8, 1.9], 0.3)
    np.testing.assert_allclose(model.loss_curve_, [desired], rtol=1e-10)
    assert given == RBF(0.7, [0.8, 1.9]) and model.kernel_ != given


@pytest.mark.parametrize("rate", [0.1, 0.02])
def test_first_step_of_adam_is_the_learning_rate(rate):
    Y = observations()
    model = lvm.GPLVM(optimizer="adam", learning_rate=rate, max_iter=1).fit(Y)
    # Short of it by a relative 1e-7 / (|g| sqrt(0.001)) of Keras' epsilon.
    steps = np.abs(model.embedding_ - pca(Y))
    np.testing.assert_allclose(steps, rate, rtol=1e-2)


def test_principal_components_have_unit_variance():
    Y = observations(30, 5)
    X = pca(Y, 3)
    np.testing.assert_allclose(X.T @ X / 30, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(X.sum(axis=0), 0, atol=1e-12)
    assert (X[np.abs(X).argmax(axis=0), range(3)] > 0).all()
    Y_bar = Y - Y.mean(axis=0)
    values = np.linalg.norm(Y_bar.T @ X, axis=0)
    np.testing.assert_allclose(values, np.linalg.svd(Y_bar)[1][:3] * np.sqrt(30))


def test_convergence():
    model = lvm.GPLVM(max_iter=1000, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(observations())
    assert model.converged_ and 1 < model.n_iter_ < 1000


def test_end_before_convergence_is_told():
    with pytest.warns(ConvergenceWarning, match="max_iter=3.*resume"):
        model = lvm.GPLVM(max_iter=3).fit(observations())
    assert not model.converged_ and model.n_iter_ == 3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_good_start_is_not_lost(optimizer):
    """A fit that goes on from another's parameters ends no worse, or says that it did not converge."""
    Y = observations(60, 12)
    fitted = lvm.GPLVM(optimizer="lbfgs", max_iter=300).fit(Y)
    start = {"kernel": fitted.kernel_, "noise_variance": fitted.noise_variance_}
    model = lvm.GPLVM(init=fitted.embedding_, optimizer=optimizer, max_iter=200, **start).fit(Y)
    if optimizer != "adam" or model.converged_:
        assert model.loss_curve_[-1] <= fitted.loss_curve_[-1] + 0.01 * abs(fitted.loss_curve_[-1])


@pytest.mark.parametrize("lengthscale", [3.0, 30.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_losses_of_lbfgs_do_not_rise(dtype, lengthscale):
    """Also where a trial step needs jitter: it must not stay in the loss and end the fit."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        Y = (rng.uniform(-2, 2, (40, 2)) @ rng.standard_normal((2, 7))).astype(dtype)
        model = lvm.GPLVM(kernel=RBF(1e4, lengthscale), optimizer="lbfgs", max_iter=60).fit(Y)
        rise = np.diff(model.loss_curve_, prepend=np.inf).max()
        bound = tolerance(dtype, 40) * np.abs(model.loss_curve_).max()
        assert rise <= bound, f"seed {seed}: {model.message_}, jitter_={model.jitter_}"


@pytest.mark.parametrize("max_iter", [1, 2, 7, 40])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_attributes(optimizer, max_iter):
    Y = observations()
    model = lvm.GPLVM(3, optimizer=optimizer, max_iter=max_iter, tol=0.0)
    assert model.fit(Y, y="ignored") is model
    assert model.n_iter_ == max_iter
    assert model.embedding_.shape == (24, 3) and model.embedding_.dtype == np.float64
    assert model.loss_curve_.shape == (model.n_iter_,) and np.isfinite(model.loss_curve_).all()
    assert model.n_evaluations_ >= model.n_iter_
    for name in ("noise_variance_", "log_marginal_likelihood_", "jitter_"):
        assert isinstance(getattr(model, name), float), name
    assert isinstance(model.kernel_, RBF) and model.noise_variance_ > 0
    np.testing.assert_allclose(model.mean_, Y.mean(axis=0))
    np.testing.assert_array_equal(model.Y_train_, Y)
    assert model.n_features_in_ == 6 and isinstance(model.message_, str)
    assert model.jitter_ == 0 and model.converged_ is False


# What must not matter.


def test_units_of_the_observations_do_not_matter():
    """A power of two is exact in every step: the same bits."""
    Y = observations()
    a, b = lvm.GPLVM(max_iter=60).fit(Y), lvm.GPLVM(max_iter=60).fit(1024 * Y)
    np.testing.assert_array_equal(a.embedding_, b.embedding_)
    assert b.noise_variance_ == 2.0**20 * a.noise_variance_
    assert b.kernel_ == RBF(2.0**20 * a.kernel_.variance, a.kernel_.lengthscale)
    shift = a.log_marginal_likelihood_ - b.log_marginal_likelihood_
    np.testing.assert_allclose(shift, Y.size * np.log(1024), rtol=1e-12)
    np.testing.assert_array_equal(1024 * a.transform(Y[:3]), 1024 * b.transform(1024 * Y[:3]))
    np.testing.assert_allclose(a.score(Y[:3]) - b.score(1024 * Y[:3]), 6 * np.log(1024))


@pytest.mark.parametrize("factor", [1000.0, 1e-9, 1e60])
def test_units_that_round(factor):
    Y = observations()
    a, b = (lvm.GPLVM(optimizer="lbfgs", max_iter=8).fit(f * Y) for f in (1.0, factor))
    np.testing.assert_allclose(b.embedding_, a.embedding_, rtol=0, atol=1e-8)
    shift = a.log_marginal_likelihood_ - b.log_marginal_likelihood_
    np.testing.assert_allclose(shift, Y.size * np.log(factor), rtol=1e-9)
    np.testing.assert_allclose(b.noise_variance_, factor**2 * a.noise_variance_)
    np.testing.assert_allclose(b.kernel_.variance, factor**2 * a.kernel_.variance)


@pytest.mark.parametrize("change", ["rows", "columns", "offset", "sign"])
def test_order_offset_and_sign_do_not_matter(change):
    Y = observations()
    order = np.random.default_rng(3).permutation(Y.shape[change == "columns"])
    changed = {
        "rows": lambda: Y[order],
        "columns": lambda: Y[:, order],
        "offset": lambda: Y + np.arange(6.0),
        "sign": lambda: -Y,
    }[change]()
    a, b = (lvm.GPLVM(optimizer="lbfgs", max_iter=8).fit(y) for y in (Y, changed))
    desired = a.embedding_[order] if change == "rows" else a.embedding_
    # The sign of a principal component follows its largest entry, whatever the order of the rows.
    np.testing.assert_allclose(b.embedding_, desired, rtol=0, atol=1e-8)
    np.testing.assert_allclose(b.log_marginal_likelihood_, a.log_marginal_likelihood_, rtol=1e-8)


LAYOUTS = {
    **dict(layouts(observations())),
    "list": observations().tolist(),
    "swapped bytes": observations().astype(">f8"),
}


@pytest.mark.parametrize("given", LAYOUTS.values(), ids=LAYOUTS)
def test_memory_layout_does_not_matter(given):
    assert_same(lvm.GPLVM(max_iter=45).fit(given), lvm.GPLVM(max_iter=45).fit(observations()))


def test_integers_are_fitted_in_float64():
    Y = np.random.default_rng(0).integers(0, 255, (15, 4), dtype=np.uint8)
    model = lvm.GPLVM(max_iter=5).fit(Y)
    assert_same(model, lvm.GPLVM(max_iter=5).fit(Y.astype(float)))
    assert model.embedding_.dtype == np.float64


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_callers_arrays_are_left_alone(optimizer):
    Y, init = with_missing(observations()), np.random.default_rng(1).standard_normal((24, 2))
    lengthscale = np.array([0.8, 1.2])
    given = [Y, init, lengthscale]
    before = [a.copy() for a in given]
    model = lvm.GPLVM(
        init=init,
        kernel=RBF(1.0, lengthscale),
        optimizer=optimizer,
        max_iter=45,
        missing="marginalize",
    ).fit(Y)
    model.transform(Y[:3])
    model.inverse_transform(init)
    model.resume(50)
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.shares_memory(model.embedding_, init)


def test_marginalize_is_the_same_where_nothing_is_missing():
    Y = observations()
    a, b = (lvm.GPLVM(max_iter=45, missing=m).fit(Y) for m in ("raise", "marginalize"))
    assert_same(a, b)


def test_device_and_verbosity_do_not_matter(capsys):
    Y = observations()
    a = lvm.GPLVM(max_iter=5).fit(Y)
    a.transform(Y)
    assert capsys.readouterr() == ("", "")
    b = lvm.GPLVM(max_iter=5, device="cpu", verbose=1).fit(Y)
    b.transform(Y)
    shown = capsys.readouterr()
    assert shown.out == "" and "GPLVM" in shown.err and "transform" in shown.err
    assert_same(a, b)


# Peculiar data.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_duplicate_rows_stay_together(optimizer):
    Y = observations(12)
    model = lvm.GPLVM(optimizer=optimizer, max_iter=45).fit(np.vstack([Y, Y]))
    np.testing.assert_allclose(model.embedding_[:12], model.embedding_[12:], rtol=0, atol=1e-3)
    assert np.isfinite(model.log_marginal_likelihood_)


def test_constant_columns_are_predicted():
    Y = np.column_stack([observations(), np.full(24, 0.1), np.zeros(24)])
    model = lvm.GPLVM(max_iter=45).fit(Y)
    mean = model.inverse_transform([[0.1, 0.2], [5.0, 5.0]])
    np.testing.assert_allclose(mean[:, 6], 0.1, rtol=1e-12)
    np.testing.assert_allclose(mean[:, 7], 0.0, atol=1e-15)
    condition = 1 + 24 * model.kernel_.variance / model.noise_variance_
    np.testing.assert_allclose(
        model.log_marginal_likelihood_,
        oracle_likelihood(model, Y),
        rtol=tolerance(np.float64, 24, condition),
    )


@pytest.mark.parametrize("shape", [(2, 1), (2, 5), (5, 1), (3, 40)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_small_data(optimizer, shape):
    Y = np.random.default_rng(0).standard_normal(shape)
    model = lvm.GPLVM(1, optimizer=optimizer, max_iter=60).fit(Y)
    assert np.isfinite(model.log_marginal_likelihood_)
    assert model.transform(Y).shape == (shape[0], 1)
    assert model.inverse_transform(model.embedding_).shape == shape


def test_rank_one_data_with_two_components():
    """The direction that the data do not have starts from small draws."""
    Y = np.outer(np.arange(10.0), [1.0, 2.0, -1.0])
    a, b = (lvm.GPLVM(2, max_iter=5, random_state=0).fit(Y) for _ in range(2))
    assert_same(a, b)
    start = Problem(Y, center=True).initial_latents("pca", 2, np.random.default_rng(0))
    assert 0 < np.abs(start[:, 1]).max() < 0.1


# Random starts.


def test_random_state():
    Y = observations()

    def fit(random_state):
        return lvm.GPLVM(init="random", random_state=random_state, max_iter=45).fit(Y)

    first = fit(0)
    assert_same(first, fit(0))
    assert_same(first, fit(np.random.default_rng(0)))
    assert not np.array_equal(first.embedding_, fit(1).embedding_)


def test_init_as_array_or_list():
    """Under "auto" an array goes straight to L-BFGS."""
    Y = observations()
    desired = lvm.GPLVM(optimizer="lbfgs", max_iter=45).fit(Y)
    for init in (pca(Y), pca(Y).tolist(), np.asfortranarray(pca(Y))):
        for optimizer in ("lbfgs", "auto"):
            assert_same(lvm.GPLVM(init=init, optimizer=optimizer, max_iter=45).fit(Y), desired)


# Precision.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_in_float32_out(optimizer):
    Y = observations().astype(np.float32)
    model = lvm.GPLVM(optimizer=optimizer, max_iter=45).fit(Y)
    assert model.embedding_.dtype == model.Y_train_.dtype == np.float32
    X = model.transform(Y[:3])
    mean, std = model.inverse_transform(X, return_std=True)
    for array in (X, *model.transform(Y[:3], return_std=True), mean, std, model.sample(X)):
        assert array.dtype == np.float32
    condition = 1 + 24 * model.kernel_.variance / model.noise_variance_
    np.testing.assert_allclose(
        -model.log_marginal_likelihood_ / 6,
        -oracle_likelihood(model, Y.astype(float)) / 6,
        rtol=0,
        atol=tolerance(np.float32, 24, condition),
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_follows_float64(optimizer):
    Y = observations()
    a, b = (lvm.GPLVM(optimizer=optimizer, max_iter=8).fit(Y.astype(t)) for t in ("f8", "f4"))
    np.testing.assert_allclose(b.embedding_, a.embedding_, rtol=0, atol=2e-3)
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=0, atol=1e-4 * a.loss_curve_[0])


# Jitter.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fixed_jitter(optimizer):
    Y = observations()
    model = lvm.GPLVM(optimizer=optimizer, jitter=0.02, max_iter=45).fit(Y)
    np.testing.assert_allclose(model.jitter_, 0.02, rtol=1e-12)
    np.testing.assert_allclose(model.log_marginal_likelihood_, oracle_likelihood(model, Y))
    X = model.embedding_[:3] + 0.1
    settings = (model.kernel_.variance, model.kernel_.lengthscale, model.noise_variance_, 0.02)
    mean, _ = oracle.posterior(model.embedding_, Y - model.mean_, X, *settings)
    np.testing.assert_allclose(model.inverse_transform(X), mean + model.mean_)


def test_automatic_jitter_is_reported():
    """float32, latents all equal, noise that vanishes beside the variance."""
    Y = observations().astype(np.float32)
    setting = {"init": np.zeros((24, 2)), "kernel": RBF(1e4, 1.0), "noise_variance": 1e-6}
    model = lvm.GPLVM(optimizer="adam", max_iter=2, **setting).fit(Y)
    assert model.jitter_ > 0
    with pytest.raises(NotPositiveDefiniteError, match="duplicate"):
        lvm.GPLVM(optimizer="adam", max_iter=2, jitter=0, **setting).fit(Y)


# A fit that fails.

FAILURES = {
    "nan": ({}, lambda Y: with_missing(Y), ValueError),
    "one row": ({}, lambda Y: Y[:1], ValueError),
    "constant": ({}, lambda Y: 0 * Y, ValueError),
    "parameter": ({"noise_variance": -1.0}, lambda Y: Y[:, :4], ValueError),
    "init": ({"init": np.zeros((3, 2))}, lambda Y: Y[:, :4], ValueError),
    "numerical": (
        {"jitter": 0, "init": np.zeros((24, 2)), "kernel": RBF(1e6), "noise_variance": 1e-6},
        lambda Y: Y[:, :4].astype(np.float32),
        NotPositiveDefiniteError,
    ),
    "callback": ({"callback": lambda status: 1 / 0}, lambda Y: Y[:, :4], ZeroDivisionError),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_fit_that_fails_leaves_the_model_as_it_was(case):
    params, data, error = FAILURES[case]
    Y = observations()
    model = lvm.GPLVM(max_iter=45).fit(Y)
    latents = model.transform(Y[:3])
    before = copy.deepcopy(model)
    with pytest.raises(error):
        model.set_params(**params).fit(data(Y))
    assert_same(model, before)
    np.testing.assert_array_equal(model.transform(Y[:3]), latents)
    model.set_params(**before.get_params(deep=False))
    assert_same(model.resume(50), before.resume(50))


def test_a_first_fit_that_fails_leaves_nothing():
    model = lvm.GPLVM(callback=lambda status: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.fit(observations())
    assert [name for name in vars(model) if name.endswith("_")] == []


def test_a_warning_made_an_error_leaves_a_whole_model():
    """All fitted attributes are of the new data, also where Python stops at the warning."""
    model = lvm.GPLVM(max_iter=5).fit(observations())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            model.fit(observations()[:, :4])
    assert model.n_features_in_ == model.Y_train_.shape[1] == model.mean_.shape[0]


def test_refit_equals_a_first_fit():
    Y = observations()
    model = lvm.GPLVM(max_iter=45).fit(observations(30, 8, seed=1))
    model.transform(observations(3, 8))
    model.fit(Y)
    fresh = lvm.GPLVM(max_iter=45).fit(Y)
    assert_same(model, fresh)
    np.testing.assert_array_equal(model.transform(Y[:3]), fresh.transform(Y[:3]))


def test_fit_transform_is_the_embedding():
    Y = observations()
    model = lvm.GPLVM(max_iter=5)
    np.testing.assert_array_equal(model.fit_transform(Y), model.embedding_)
