"""Density ratios from samples: known pairs, losses that agree, sizes, resuming, saving, errors."""

import pickle
import warnings

import numpy as np
import pytest
from reference import ratio as reference
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

import lvmfast as lvm
from lvmfast import DensityRatio
from lvmfast.divergences import FDivergence, pearson_chi2
from lvmfast.exceptions import DisjointSupportsWarning, FitInterruptedWarning, NonFiniteError
from lvmfast.nn import SGD, Adam, Dense, Sequential

KL, JS, CHI2, TV = 0.443147180559945, 0.128174973, 0.744026342, 0.390065660


def samples(n_p=1000, n_q=1000, seed=0, d=1):
    """Of N(1, 1) and of N(0, 2^2), in every feature."""
    rng = np.random.default_rng(seed)
    return rng.normal(1, 1, (n_p, d)), rng.normal(0, 2, (n_q, d))


def log_ratio(X):
    return reference.gaussian_log_ratio(X).sum(axis=1)


GRID = np.linspace(-3, 4, 50)[:, None]


def test_the_reference_classifier_finds_the_divergence():
    """The mean over five seeds of the estimate of KL with 5,000 samples; the loss settles at log 4 - 2 JS."""
    found, losses = [], []
    for seed in range(5):
        model = DensityRatio(standardize=False, random_state=seed).fit(*samples(5000, 5000, seed))
        found.append(model.divergence("kl"))
        losses.append(model.loss_curve_[-50:].mean())
        assert len(model.loss_curve_) == 500 and model.network_.n_parameters == 609
    assert abs(np.mean(found) - KL) < 0.02
    assert all(0.005 < one.standard_error < 0.02 for one in found)
    assert abs(np.mean(losses) - (np.log(4) - 2 * JS)) < 0.01
    assert abs(float(model.divergence("js")) - JS) < 0.01
    middle = GRID[(GRID[:, 0] > -2) & (GRID[:, 0] < 3.5)]
    np.testing.assert_allclose(model.log_ratio(middle), log_ratio(middle), atol=0.6)


@pytest.mark.parametrize("method", ["ulsif", "rulsif", "kliep", "telescoping"])
def test_other_methods_find_the_ratio(method):
    model = DensityRatio(method, random_state=0).fit(*samples())
    middle = GRID[(GRID[:, 0] > -1) & (GRID[:, 0] < 3)]
    error = np.abs(model.ratio(middle) - np.exp(log_ratio(middle)))
    assert error.max() < 0.5 and error.mean() < 0.25
    assert abs(float(model.divergence("js")) - JS) < 0.04
    probabilities = model.predict_proba(GRID)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    same = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(same.log_ratio(GRID), model.log_ratio(GRID))


@pytest.mark.parametrize("loss", ["kl", pearson_chi2, "hellinger"])
def test_bounds_of_divergences_learn_the_same_ratio(loss):
    more = {"loss": "f-divergence", "f": "squared_hellinger"} if loss == "hellinger" else {"loss": loss}
    model = DensityRatio(**more, optimizer=Adam(0.003), random_state=0).fit(*samples(3000, 3000))
    middle = GRID[(GRID[:, 0] > -1) & (GRID[:, 0] < 3)]
    np.testing.assert_allclose(model.log_ratio(middle), log_ratio(middle), atol=0.4)
    f = {"kl": "kl", "hellinger": "squared_hellinger"}.get(loss, loss) if isinstance(loss, str) else loss
    exact = {"kl": KL, "hellinger": 0.149194538}.get(loss, CHI2) if isinstance(loss, str) else CHI2
    bound = model.divergence(f, *samples(20000, 20000, 9), estimator="bound")
    assert bound < exact + 4 * bound.standard_error and bound > 0.7 * exact


def test_a_bound_from_functions_takes_the_steps_of_the_compiled_one():
    X_p, X_q = samples(200, 150)
    same = {"dtype": np.float64, "max_iter": 20, "random_state": 0, "batch_size": 100}
    mine = FDivergence(lambda u: u * np.log(u), lambda u: np.log(u) + 1, second=lambda u: 1 / u)
    without = FDivergence(lambda u: u * np.log(u), lambda u: np.log(u) + 1)
    compiled = DensityRatio(loss="kl", **same).fit(X_p, X_q)
    for f, tolerance in ((mine, 1e-9), (without, 1e-4)):
        model = DensityRatio(loss=f, **same).fit(X_p, X_q)
        np.testing.assert_allclose(model.log_ratio(GRID), compiled.log_ratio(GRID), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(model.loss_curve_, compiled.loss_curve_, rtol=tolerance)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_sizes_may_differ(class_weight):
    model = DensityRatio(class_weight=class_weight, random_state=0).fit(*samples(500, 4000))
    np.testing.assert_allclose(model.offset_, np.log(500 / 4000) if class_weight is None else 0, rtol=1e-12)
    middle = GRID[(GRID[:, 0] > -1) & (GRID[:, 0] < 3)]
    np.testing.assert_allclose(model.log_ratio(middle), log_ratio(middle), atol=0.5)
    assert abs(float(model.divergence("kl", *samples(20000, 20000, 9))) - KL) < 0.1


def test_a_linear_network_is_logistic_regression():
    """Quadratic features make the log ratio linear; both maximise the same likelihood, also with weights of rows."""
    X_p, X_q = (np.hstack([X, X * X]) for X in samples(800, 400))
    w = np.random.default_rng(1).uniform(0.5, 1.5, 800)
    network = Sequential([Dense(1)])
    model = DensityRatio(
        network=network, optimizer=SGD(0.5, momentum=0.9), max_iter=3000, dtype=np.float64, random_state=0
    )
    model.fit(X_p, X_q, sample_weight_p=w)
    peer = LogisticRegression(C=1e12, tol=1e-10, max_iter=10000)
    peer.fit(np.vstack([X_p, X_q]), np.r_[np.ones(800), np.zeros(400)], sample_weight=np.r_[w, np.ones(400)])
    X = np.hstack([GRID, GRID * GRID])
    wanted = peer.decision_function(X) - np.log(w.sum() / 400)
    np.testing.assert_allclose(model.log_ratio(X), wanted, atol=2e-3)
    assert network._graph is None


def test_proportions_and_class_posteriors():
    model = DensityRatio(random_state=0).fit(*samples())
    s = model.log_ratio(GRID).astype(np.float64)
    for prior in (0.5, 0.1):
        posterior = prior * np.exp(s) / (prior * np.exp(s) + 1 - prior)
        np.testing.assert_allclose(model.predict_proba(GRID, prior=prior)[:, 1], posterior, rtol=1e-5)
    X_p, X_q = samples()
    proba_p, proba_q = model.predict_proba(X_p), model.predict_proba(X_q)
    expected = np.log(proba_p[:, 1]).mean() + np.log(proba_q[:, 0]).mean()
    np.testing.assert_allclose(model.score(X_p, X_q), expected, rtol=1e-4)


def test_weights_correct_a_covariate_shift():
    """E_p[x] = 1 from rows of q, whose mean is 0."""
    X_p, X_q = samples(4000, 4000)
    model = DensityRatio(random_state=0).fit(X_p, X_q)
    w = model.weights(X_q)
    np.testing.assert_allclose(w.mean(), 1, rtol=1e-5)
    assert abs((w * X_q[:, 0]).mean() - 1) < 0.1
    np.testing.assert_allclose(model.weights(X_q, power=0), 1, rtol=1e-6)
    limited = model.weights(X_q, most=1.5)
    assert limited.max() < w.max() and abs(limited.mean() - 1) < 1e-5
    np.testing.assert_allclose(model.effective_sample_size_[0], w.sum() ** 2 / (w**2).sum(), rtol=1e-3)


def test_held_out_rows_stop_and_calibrate():
    X_p, X_q = samples(300, 200, d=3)
    more = {"hidden": (64, 64), "optimizer": Adam(0.01), "max_iter": 400, "random_state": 0, "n_iter_no_change": 20}
    plain = DensityRatio(**more).fit(X_p, X_q)
    stopped = DensityRatio(early_stopping=True, validation_fraction=0.2, **more).fit(X_p, X_q)
    assert stopped.n_iter_ < 400 and stopped.best_iter_ == stopped.n_iter_ - 20
    assert stopped.best_iter_ == 1 + np.argmin(stopped.validation_loss_)
    fresh = samples(5000, 5000, 9, 3)
    assert stopped.score(*fresh) > plain.score(*fresh) + 0.05  # it has not overfitted
    held = samples(2000, 2000, 8, 3)
    calibrated = DensityRatio(calibrate=True, **more).fit(X_p, X_q, validation_data=held)
    slope, intercept = calibrated.calibration_
    assert slope < 0.9
    raw = (calibrated.log_ratio(fresh[0]) - intercept) / slope
    np.testing.assert_allclose(raw, plain.log_ratio(fresh[0]), rtol=1e-3, atol=1e-3)
    assert calibrated.score(*fresh) > plain.score(*fresh) + 0.05
    peer = LogisticRegression(C=1e6)  # the same two numbers, but for smoothed targets
    pair = [(plain.log_ratio(X)[:, None]).astype(float) for X in held]
    peer.fit(np.vstack(pair), np.r_[np.ones(2000), np.zeros(2000)])
    np.testing.assert_allclose([slope, intercept], [peer.coef_[0, 0], peer.intercept_[0]], atol=5e-3)


@pytest.mark.parametrize("method", ["classifier", "telescoping"])
@pytest.mark.parametrize("batch", [None, 64])
def test_a_fit_goes_on_where_it_stopped(method, batch, tmp_path):
    X_p, X_q = samples(150, 90)
    more = {"method": method, "batch_size": batch, "early_stopping": True, "random_state": 3, "n_bridges": 2}
    whole = DensityRatio(max_iter=30, **more).fit(X_p, X_q)
    part = DensityRatio(max_iter=11, **more).fit(X_p, X_q)
    part.save(tmp_path / "ratio.npz")
    loaded = DensityRatio.load(tmp_path / "ratio.npz")
    np.testing.assert_array_equal(loaded.log_ratio(GRID), part.log_ratio(GRID))
    assert float(loaded.divergence()) == float(part.divergence())
    if method == "classifier":
        loaded.resume(X_p, X_q, max_iter=30)
        np.testing.assert_array_equal(loaded.log_ratio(GRID), whole.log_ratio(GRID))
        np.testing.assert_array_equal(loaded.loss_curve_, whole.loss_curve_)
    with pytest.raises(ValueError, match="data of the fit"):
        loaded.resume(X_p[:-1], X_q)


@pytest.mark.parametrize("method", ["ulsif", "kliep"])
def test_expansions_are_saved(method, tmp_path):
    f = lvm.divergences.alpha_divergence(0.3)
    model = DensityRatio(method, f=f, random_state=0, lengthscales=[0.5, 1.0]).fit(*samples(200, 150))
    model.save(tmp_path / "ratio.npz")
    assert DensityRatio.load(tmp_path / "ratio.npz").f == f
    loaded = DensityRatio.load(tmp_path / "ratio.npz")
    np.testing.assert_array_equal(loaded.log_ratio(GRID), model.log_ratio(GRID))
    np.testing.assert_array_equal(loaded.lengthscales, [0.5, 1.0])
    with pytest.raises(ValueError, match="nothing to go on"):
        loaded.resume(*samples(200, 150))


def test_callbacks_interrupts_and_checkpoints(tmp_path):
    X_p, X_q = samples(100, 100)
    seen = []

    def callback(status):
        seen.append(status)
        if status.iteration == 4:
            status.save(tmp_path / "ratio.npz")
        return status.iteration == 7

    model = DensityRatio(callback=callback, random_state=0).fit(X_p, X_q)
    assert model.n_iter_ == 7 and [s.iteration for s in seen] == list(range(1, 8)) and "callback" in model.message_
    again = DensityRatio.load(tmp_path / "ratio.npz").resume(X_p, X_q, max_iter=7)
    np.testing.assert_array_equal(again.log_ratio(GRID), model.log_ratio(GRID))

    def press(status):
        if status.iteration == 5:
            raise KeyboardInterrupt

    with pytest.warns(FitInterruptedWarning):
        part = DensityRatio(callback=press, random_state=0).fit(X_p, X_q)
    assert part.n_iter_ == 5
    part.callback = None
    part.resume(X_p, X_q, max_iter=7)
    np.testing.assert_array_equal(part.log_ratio(GRID), model.log_ratio(GRID))


def test_supports_that_do_not_overlap_are_named():
    rng = np.random.default_rng(0)
    X_p, X_q = rng.uniform(0, 1, (200, 2)), rng.uniform(3, 4, (200, 2))
    with pytest.warns(DisjointSupportsWarning, match="unbounded"):
        DensityRatio(random_state=0).fit(X_p, X_q)
    with pytest.warns(DisjointSupportsWarning):
        DensityRatio("ulsif", lengthscales=[0.3], random_state=0).fit(X_p, X_q)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DensityRatio(random_state=0).fit(*samples(300, 300))


def test_telescoping_reaches_ratios_that_one_classifier_does_not():
    """p = N(0, 0.1^2), q = N(0, 1) in 5 dimensions: KL = 9 nats."""
    rng = np.random.default_rng(0)
    X_p, X_q = rng.normal(0, 0.1, (2000, 5)), rng.normal(0, 1, (2000, 5))
    exact = float(5 * (np.log(10) - 0.5 * (1 - 0.01)))
    more = {"hidden": (32, 32), "optimizer": Adam(0.003), "max_iter": 600, "standardize": False, "random_state": 0}
    fresh = rng.normal(0, 0.1, (2000, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = DensityRatio(**more).fit(X_p, X_q)
        many = DensityRatio("telescoping", n_bridges=8, **more).fit(X_p, X_q)
    error = [abs(float(model.divergence("kl", fresh)) - exact) for model in (one, many)]
    truth = stats.norm(0, 0.1).logpdf(fresh).sum(axis=1) - stats.norm(0, 1).logpdf(fresh).sum(axis=1)
    assert np.corrcoef(many.log_ratio(fresh), truth)[0, 1] > 0.6
    assert error[1] < 1.5, (error, exact)


def test_rows_of_any_scale_and_a_constant_feature():
    X_p, X_q = samples(500, 500)
    wanted = DensityRatio(random_state=0).fit(X_p, X_q).log_ratio(GRID)
    for scale, shift in ((1e6, 3e7), (1e-6, 1e-3)):
        pair = [np.hstack([scale * X + shift, np.full_like(X, 7.0)]) for X in (X_p, X_q, GRID)]
        other = DensityRatio(random_state=0, network=None).fit(*pair[:2])
        assert np.corrcoef(other.log_ratio(pair[2]), wanted)[0, 1] > 0.95
        assert np.isfinite(other.log_ratio(pair[2])).all()


def test_errors_name_what_is_wrong_and_change_nothing():
    X_p, X_q = samples(50, 40, d=2)
    model = DensityRatio(random_state=0, max_iter=5).fit(X_p, X_q)
    before, copies = model.log_ratio(X_p), (X_p.copy(), X_q.copy())
    bad = X_q.copy()
    bad[3, 1] = np.nan
    for arguments, message in (
        ((X_p, X_q[:, :1]), "X_q must have 2 columns"),
        ((X_p, X_q[:0]), "X_q must have a row"),
        ((X_p, bad), "X_q must be finite, got nan at row 3, column 1"),
        ((X_p[:, 0], X_q), "X_p must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(*arguments)
    with pytest.raises(ValueError, match="sample_weight_q must have shape"):
        model.fit(X_p, X_q, sample_weight_q=np.ones(3))
    for name, value, error, message in (
        ("method", "lsif", ValueError, "method must be one of"),
        ("loss", "mse", ValueError, "loss must be one of"),
        ("f", "nonsense", ValueError, "f must be"),
        ("hidden", (0,), ValueError, "hidden"),
        ("optimizer", "adam", TypeError, "optimizer must be"),
        ("alpha", 1.0, ValueError, "alpha must lie in"),
        ("dtype", "int8", ValueError, "dtype must be"),
        ("network", Sequential([Dense(2)]), ValueError, r"network must end in Dense\(1\)"),
        ("validation_fraction", 1.5, ValueError, "validation_fraction"),
    ):
        other = clone(model).set_params(**{name: value})
        if name == "f":
            other.set_params(loss="f-divergence")
        with pytest.raises(error, match=message):
            other.fit(X_p, X_q)
        assert not hasattr(other, "n_iter_")
    with pytest.raises(ValueError, match="determines the ratio"):
        DensityRatio(loss="f-divergence", f="total_variation").fit(X_p, X_q)
    with pytest.raises(ValueError, match="method='ulsif'"):
        DensityRatio("ulsif").fit(X_p, X_q, sample_weight_p=np.ones(50))
    for call in (lambda: model.log_ratio(X_p[:, :1]), lambda: model.log_ratio(bad)):
        with pytest.raises(ValueError, match="X must"):
            call()
    with pytest.raises(ValueError, match="X_q must be given"):
        model.divergence("pearson_chi2", X_p)
    np.testing.assert_array_equal(model.log_ratio(X_p), before)
    for array, kept in zip((X_p, X_q), copies, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_steps_that_overflow_leave_the_model_as_it_was():
    X_p, X_q = samples(100, 100)
    with pytest.raises(NonFiniteError, match="learning rate"):
        DensityRatio(loss="kl", optimizer=SGD(1e12), max_iter=50, random_state=0).fit(1e3 * X_p, X_q)


def test_threads_give_the_same_bits():
    before, found = lvm.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            lvm.set_num_threads(threads)
            found.append(DensityRatio(max_iter=20, random_state=0).fit(*samples(900, 800)).log_ratio(GRID))
    finally:
        lvm.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_sample_weights_count_in_estimates():
    """Rows of N(1, 1), weighted to stand for N(0, 1)."""
    X_p, X_q = samples(4000, 4000)
    w = np.exp(0.5 - X_p[:, 0])
    model = DensityRatio(random_state=0).fit(X_p, X_q, sample_weight_p=w)
    exact = np.log(2) - 0.5 * (1 - 0.25)
    found = model.divergence("kl")
    assert abs(found - exact) < max(0.1, 4 * found.standard_error)
    assert model.effective_sample_size_[1] < 4000
    one = DensityRatio(random_state=0, max_iter=50).fit(X_p[:200], X_q[:200], sample_weight_p=np.eye(200)[0])
    assert one.divergence("js") <= np.log(2) and np.isnan(one.divergence("js").standard_error)
    doubled = DensityRatio(random_state=0, max_iter=50).fit(np.repeat(X_p[:200], 2, axis=0), X_q[:200])
    weighted = DensityRatio(random_state=0, max_iter=50).fit(X_p[:200], X_q[:200], sample_weight_p=np.full(200, 2.0))
    assert abs(float(doubled.divergence("kl")) - float(weighted.divergence("kl"))) < 0.01


def test_what_a_network_means_stays_when_a_fit_goes_on():
    X_p, X_q = samples(100, 60)
    for name, value in (("standardize", False), ("class_weight", "balanced"), ("loss", "kl"), ("batch_size", 32)):
        model = DensityRatio(max_iter=5, random_state=0).fit(X_p, X_q)
        before = model.log_ratio(GRID)
        with pytest.raises(ValueError, match=f"{name} must be that of the fit"):
            model.set_params(**{name: value}).resume(X_p, X_q, max_iter=6)
        np.testing.assert_array_equal(model.log_ratio(GRID), before)


def test_calibration_never_turns_the_ratio_round():
    for seed in range(4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rng = np.random.default_rng(seed)
            same = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
            model = DensityRatio(calibrate=True, validation_fraction=0.2, random_state=seed).fit(*same)
        assert 0 <= model.calibration_[0] < 10 and abs(model.calibration_[1]) < 10


def test_warnings_point_at_the_caller():
    rng = np.random.default_rng(0)
    X_p, X_q = rng.uniform(0, 1, (20, 1)), rng.uniform(3, 4, (20, 1))
    for method in ("classifier", "ulsif"):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            DensityRatio(method, random_state=0).fit(X_p, X_q)
        assert [w.filename for w in seen if w.category is DisjointSupportsWarning] == [__file__]


def test_far_rows_and_weights_at_their_limit():
    X_p, X_q = samples(300, 300)
    for method in ("classifier", "kliep"):
        model = DensityRatio(method, random_state=0).fit(X_p, X_q)
        assert np.isfinite(model.log_ratio([[1e300], [-1e200], [1e30]])).all()
        assert np.isfinite(model.predict_proba([[1e300]])).all()
    for most in (1.0, 1.2, 3.0):
        w = model.weights(X_q, most=most)
        assert w.max() <= most * (1 + 1e-5) and abs(w.mean() - 1) < 1e-5
    big = DensityRatio(random_state=0).fit(1e300 * X_p / 20, 1e300 * X_q / 20)
    np.testing.assert_allclose(
        big.log_ratio(1e300 * GRID / 20), DensityRatio(random_state=0).fit(X_p, X_q).log_ratio(GRID), atol=1e-3
    )
    with pytest.raises(ValueError, match="determines the ratio"):
        DensityRatio(loss=lvm.divergences.total_variation).fit(X_p, X_q)


def test_a_function_that_fails_loses_no_step():
    """The steps of a call that raises are taken back, so that going on gives the same bits."""
    X_p, X_q = samples(60, 60)
    calls = [0]

    def slope(u):
        calls[0] += 1
        if calls[0] == 9:
            raise ArithmeticError("no")
        return np.log(u) + 1

    f = FDivergence(lambda u: u * np.log(u), slope, second=lambda u: 1 / u, check=False)
    same = {"loss": f, "max_iter": 12, "random_state": 0, "callback": lambda status: False}
    model = DensityRatio(**same)
    with pytest.raises(ArithmeticError):
        model.fit(X_p, X_q)
    steps = len(model.loss_curve_)
    assert 0 < steps < 12
    whole = DensityRatio(**same).fit(X_p, X_q)
    model.resume(X_p, X_q)
    np.testing.assert_array_equal(model.log_ratio(GRID), whole.log_ratio(GRID))
