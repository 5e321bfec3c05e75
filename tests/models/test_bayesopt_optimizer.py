"""Points asked for and outcomes told: designs, pending points, failures, schedules, files."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from reference import covariances, gpr
from reference.covariances import Leaf

import lvmfast as lvm
from lvmfast.bayesopt import Acquisition, Categorical, Integer, Optimizer, Real
from lvmfast.bayesopt._regression import believing
from lvmfast.exceptions import FitInterruptedWarning, SpaceExhaustedError

PLANE = [(-2.0, 2.0), (0.0, 3.0)]
MIXED = [Real(1e-3, 1.0, log=True), Integer(1, 9), Categorical(["a", "b", "c"])]


def bowl(x):
    return (x[0] - 0.5) ** 2 + (x[1] - 1.0) ** 2


def mixed(x):
    return (math.log10(x[0]) + 1.5) ** 2 + 0.1 * (x[1] - 4) ** 2 + {"a": 0.0, "b": 1.0, "c": 0.5}[x[2]]


def grown(f=bowl, dimensions=PLANE, n=8, **options):
    """An optimizer that has seen n points."""
    optimizer = Optimizer(dimensions, **({"acquisition": "log-ei", "random_state": 0} | options))
    for _ in range(n):
        x = optimizer.ask()
        optimizer.tell(x, f(x))
    return optimizer


def state(optimizer):
    """Of the generator."""
    return optimizer.result().random_state.bit_generator.state


def oracle(model):
    """The reference's regression with the parameters of a Matérn model."""
    parameters = {name: np.asarray(p.value) for name, p in model.kernel_.parameters.items()}
    leaf = Leaf(type(model.kernel_).__name__, parameters)
    return gpr.GP(
        lambda X, Z=None: covariances.matrix(leaf, X, Z),
        model.X_train_,
        model.y_train_,
        model.noise_variance_,
        "constant",
    )


class Distance(Acquisition):
    """How far a candidate is from all that is known."""

    def _value_and_gradient(self, X):
        mean, variance = self.surrogate.mean_and_variance(X[:, 0])
        return variance, self.surrogate.gradients(X[:, 0])[1][:, None]


# Asking and telling.


def test_points_are_lists_of_plain_values():
    optimizer = Optimizer(MIXED, random_state=0)
    point = optimizer.ask()
    assert [type(value) for value in point] == [float, int, str]
    points = optimizer.ask(3)
    assert len(points) == 3 and optimizer.pending == [point, *points]
    assert len(optimizer.ask(1)) == 1


def test_callers_lists_are_their_own():
    optimizer = grown(n=7)
    point = optimizer.ask()
    point[0] = 99.0
    assert optimizer.pending[0][0] != 99.0
    optimizer.pending[0][0] = 99.0
    optimizer.x_iters[0][0] = 99.0
    optimizer.result().x[0] = 99.0
    optimizer.func_vals[0] = 99.0
    assert 99.0 not in np.ravel([optimizer.pending[0], optimizer.x_iters[0], optimizer.result().x])


@pytest.mark.parametrize("kind", ["sobol", "random", "latin"])
def test_the_design_comes_first(kind):
    """Whatever is told: the points do not depend on it, and there is no model."""
    runs = []
    for f in (bowl, lambda x: -5.0 * x[0]):
        optimizer = grown(f, n=5, n_initial_points=6, initial_points=kind)
        assert optimizer.model is None and optimizer.result().models == []
        optimizer.tell(optimizer.ask(), 0.0)
        assert optimizer.model is not None
        runs.append(optimizer.x_iters)
    assert runs[0] == runs[1]
    assert grown(n=3, random_state=1, initial_points=kind).x_iters != runs[0][:3]


def test_default_number_of_initial_points():
    assert Optimizer([(0.0, 1.0)]).n_initial_points == 5
    assert Optimizer([(0.0, 1.0)] * 6).n_initial_points == 14


def test_points_that_were_not_asked():
    """Data of one's own count as initial points."""
    rng = np.random.default_rng(0)
    points = [[float(a), float(b)] for a, b in rng.uniform([-2, 0], [2, 3], (6, 2))]
    optimizer = Optimizer(PLANE, acquisition="log-ei", random_state=0)
    result = optimizer.tell(points, [bowl(x) for x in points])
    assert optimizer.model is not None and result.nfev == 6
    assert result.x_iters == points and result.fun == min(map(bowl, points))
    one = Optimizer(PLANE, acquisition="log-ei", random_state=0)
    for x in points:
        one.tell(x, bowl(x))
    assert one.ask() == optimizer.ask()


def test_results():
    optimizer = grown(n=12)
    result = optimizer.result()
    values = np.array([bowl(x) for x in result.x_iters])
    np.testing.assert_array_equal(result.func_vals, values)
    assert result.fun == values.min() and result.x == result.x_iters[int(np.argmin(values))]
    assert result.nfev == 12 and result.success and result.errors == [] and "12 observations" in result.message
    assert result.space == optimizer.space and result["models"] == [optimizer.model]
    assert state(optimizer) == result.random_state.bit_generator.state


@pytest.mark.parametrize("dimensions", [PLANE, [(0, 12), (0.0, 3.0)], [(0, 12), (0, 8)]])
def test_the_minimum_of_the_mean(dimensions):
    """Against the reference's mean on a dense grid, in the units of y."""
    optimizer = grown(lambda x: 100.0 + 7.0 * bowl(x), dimensions, n=14)
    result, space = optimizer.result(), optimizer.space
    gp, y = oracle(optimizer.model), result.func_vals
    axes = [np.linspace(0, 1, 13 if isinstance(d, Integer) and d.high == 12 else 25) for d in space.dimensions]
    grid = space.project(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2))
    means = y.mean() + y.std() * np.concatenate([gpr.predict(gp, part)[0] for part in np.array_split(grid, 20)])
    at = y.mean() + y.std() * gpr.predict(gp, space.transform([result.x_model]))[0][0]
    np.testing.assert_allclose(result.fun_model, at, rtol=1e-6)
    assert result.fun_model <= means.min() + 1e-6 * y.std()
    assert space.check(result.x_model) == result.x_model


@pytest.mark.parametrize("refit", ["auto", 7])
def test_units_of_the_model(refit):
    """Between fits they are those of the last."""
    result = grown(n=0).result()
    assert math.isnan(result.y_location) and math.isnan(result.y_scale)
    result = grown(lambda x: 1e9 * (3.0 + bowl(x)), n=12, refit=refit).result()
    restored = result.y_location + result.y_scale * result.models[-1].y_train_
    np.testing.assert_allclose(restored, result.func_vals, rtol=1e-13)


def test_units_of_y_do_not_matter():
    runs = [grown(lambda x, a=a, b=b: a * bowl(x) + b, n=11).x_iters for a, b in ((1.0, 0.0), (2.0**60, 0.0))]
    assert runs[0] == runs[1]
    np.testing.assert_allclose(runs[0], grown(lambda x: 3.0 * bowl(x) + 50.0, n=11).x_iters, atol=0.02)


@pytest.mark.parametrize("value", [0.0, -7.5])
def test_equal_observations(value):
    optimizer = grown(lambda x: value, n=9)
    assert optimizer.result().fun == value
    np.testing.assert_allclose(optimizer.result().fun_model, value, atol=1e-12)
    assert len({tuple(x) for x in optimizer.x_iters}) == 9


@pytest.mark.parametrize("noise", [None, 0, 0.1])
def test_told_twice(noise):
    """The kernel matrix is singular but for the noise."""
    optimizer = grown(noise=noise)
    x = optimizer.x_iters[-1]
    for _ in range(3):
        result = optimizer.tell(x, bowl(x))
    assert result.nfev == 11
    optimizer.tell([x, x], [bowl(x), bowl(x) + 0.1])
    assert np.isfinite(optimizer.ask()).all()


def test_known_noise():
    optimizer = grown(noise=0.25, n=9)
    np.testing.assert_allclose(optimizer.model.noise_variance_, 0.25 / np.std(optimizer.func_vals) ** 2, rtol=1e-12)
    assert grown(noise=0, n=9).model.noise_variance_ == 1e-8


def test_next_point_is_the_best_of_a_small_space():
    """LCB by the reference on every point that is left."""
    optimizer = grown(lambda x: math.sin(x[0] / 3) + 0.05 * x[0], [(0, 40)], acquisition="lcb", n=8)
    for _ in range(4):
        gp = oracle(optimizer.model)
        left = [k for k in range(41) if [k] not in optimizer.x_iters]
        mean, cov = gpr.predict(gp, np.array(left)[:, None] / 40)
        expected = left[int(np.argmax(1.96 * np.sqrt(np.diag(cov)) - mean))]
        x = optimizer.ask()
        assert x == [expected]
        optimizer.tell(x, math.sin(x[0] / 3) + 0.05 * x[0])


@pytest.mark.parametrize("name", ["ei", "log-ei", "pi", "lcb", "thompson", "qei", "kg", "kg-discrete", Distance])
def test_acquisitions(name):
    optimizer = grown(n=8, acquisition=name)
    points = optimizer.ask(2)
    assert points[0] != points[1]
    assert all(optimizer.space.check(point) == point for point in points)


def test_options_reach_the_acquisition():
    seen = {}

    def factory(model, bounds, *, kappa, random_state=0):
        seen.update(kappa=kappa, random_state=random_state, bounds=bounds)
        return lvm.bayesopt.LowerConfidenceBound(model, bounds, kappa=kappa)

    grown(n=8, acquisition=factory, acquisition_options={"kappa": 3.0, "maximize": {"n_starts": 1}})
    assert seen["kappa"] == 3.0 and seen["random_state"] > 0
    np.testing.assert_array_equal(seen["bounds"], [[0, 1], [0, 1]])
    grown(n=8, acquisition=factory, acquisition_options={"kappa": 3.0, "random_state": 17})
    assert seen["random_state"] == 17
    plain = grown(n=8, acquisition="lcb", acquisition_options={"kappa": 0.1}).x_iters
    assert plain != grown(n=8, acquisition="lcb", acquisition_options={"kappa": 9.0}).x_iters


# Pending points.


def test_pending_points_differ():
    for n_told in (0, 2, 9):
        optimizer = grown(n=n_told)
        points = optimizer.ask(4) + [optimizer.ask() for _ in range(4)]
        U = optimizer.space.transform(points)
        distances = np.linalg.norm(U[:, None] - U[None], axis=2) + np.eye(8)
        assert distances.min() > 1e-5
        assert optimizer.pending == points


@pytest.mark.parametrize("name", ["lcb", "ei", "thompson"])
def test_pending_points_differ_at_a_corner(name):
    """Where the acquisition function stays highest, whatever is believed."""
    optimizer = grown(sum, n=8, acquisition=name)
    points = optimizer.ask(3) + [optimizer.ask()]
    assert [-2.0, 0.0] in points and len({tuple(point) for point in points}) == 4


def test_the_believer_against_a_refit():
    """The mean stays as it is, the variance is that of a regression that has seen the points."""
    model = grown(n=10).model
    rng = np.random.default_rng(1)
    U, places = rng.uniform(size=(3, 2)), rng.uniform(size=(20, 2))
    believer, gp = believing(model, U), oracle(model)
    expected = gpr.predict(gpr.condition(gp, U, gpr.predict(gp, U)[0], model.noise_variance_), places)
    mean, cov = believer.predict(places, return_cov=True)
    np.testing.assert_allclose(mean, expected[0], atol=1e-5)
    np.testing.assert_allclose(mean, model.predict(places), atol=1e-5)
    np.testing.assert_allclose(cov, expected[1], atol=1e-5)
    assert believing(model, U[:0]) is model


def test_order_of_telling():
    """Outcomes may come in any order, and points may be dropped."""
    optimizer = grown(n=7)
    a, b, c = optimizer.ask(3)
    optimizer.tell(b, bowl(b))
    assert optimizer.pending == [a, c]
    optimizer.forget(a)
    assert optimizer.pending == [c]
    with pytest.raises(ValueError, match="x must be a pending point"):
        optimizer.forget(a)
    optimizer.tell([c], [bowl(c)])
    assert optimizer.pending == []


def test_enqueued_points_come_first():
    optimizer = grown(n=3)
    optimizer.enqueue([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    optimizer.tell([1.0, 1.0], 3.0)
    assert optimizer.ask(2) == [[0.0, 0.0], [2.0, 2.0]]
    with pytest.raises(ValueError, match=r"points\[0\]\[0\] must be between"):
        optimizer.enqueue([[9.0, 0.0]])


@pytest.mark.parametrize("name", ["kg", "qei", "thompson"])
def test_joint_batches(name):
    optimizer = grown(n=8, acquisition=name, acquisition_options={"joint": True})
    points = optimizer.ask(2)
    assert len(points) == 2 == len(optimizer.pending) and points[0] != points[1]
    small = grown(lambda x: x[0], [(0, 9)], n=6, acquisition=name, acquisition_options={"joint": True})
    points = small.ask(4)
    assert sorted(x for (x,) in points + small.x_iters) == list(range(10))


def test_one_of_two_equal_points_stays():
    """The outcome of a point that was asked is none of the same point in the queue."""
    optimizer = grown(n=0)
    optimizer.enqueue([[1.0, 1.0], [1.0, 1.0]])
    optimizer.tell(optimizer.ask(), 3.0)
    assert optimizer.ask() == [1.0, 1.0]


def test_options_that_do_not_fit():
    with pytest.raises(TypeError, match="n_fantasie"):
        Optimizer(PLANE, acquisition_options={"n_fantasie": 3})
    rng = np.random.default_rng(0)
    Optimizer(PLANE, acquisition_options={"random_state": rng})
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state

    with pytest.raises(ValueError, match="'joint'.*got acquisition='ei'"):
        Optimizer(PLANE, acquisition="ei", acquisition_options={"joint": True})
    with pytest.raises(ValueError, match="keys"):
        Optimizer(PLANE, acquisition_options={"maximize": {"x0": 3}})
    optimizer = grown(n=6, acquisition=lambda model, bounds: model)
    before = state(optimizer)
    with pytest.raises(TypeError, match="acquisition must return"):
        optimizer.ask()
    assert optimizer.pending == [] and state(optimizer) == before


# Failures.


BAD = [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (10**400, "inf"), (-(10**400), "-inf")]


@pytest.mark.parametrize(("bad", "named"), BAD, ids=["nan", "inf", "-inf", "huge", "-huge"])
def test_failures_never_reach_the_model(bad, named):
    optimizer = grown(n=8)
    x = optimizer.ask()
    result = optimizer.tell(x, bad)
    assert np.isnan(result.func_vals[8]) and result.errors == [(8, f"the value is {named}")] and result.nfev == 9
    assert len(optimizer.model.y_train_) == 8 and "1 failed" in result.message
    assert result.fun == np.nanmin(result.func_vals)
    again = optimizer.ask()
    assert np.linalg.norm(optimizer.space.transform([x]) - optimizer.space.transform([again])) > 1e-2


def test_failures_from_the_beginning():
    """The design goes on until there are two finite values."""
    optimizer = grown(lambda x: np.nan, n=9)
    assert optimizer.model is None and optimizer.result().x is None and np.isnan(optimizer.result().fun)
    assert not optimizer.result().success and len({tuple(x) for x in optimizer.x_iters}) == 9
    optimizer.tell(optimizer.ask(), 1.0)
    assert optimizer.model is None and optimizer.result().success
    assert optimizer.tell(optimizer.ask(), 2.0).models


def test_failures_may_be_errors():
    optimizer = grown(n=3, on_error="raise")
    x = optimizer.ask()
    with pytest.raises(ValueError, match="y must be finite"):
        optimizer.tell(x, np.nan)
    assert optimizer.pending == [x] and optimizer.result().nfev == 3


@pytest.mark.parametrize(
    ("x", "y", "error"),
    [
        ([0.0], 1.0, ValueError),
        ([0.0, 9.0], 1.0, ValueError),
        ([0.0, "a"], 1.0, TypeError),
        ([0.0, 1.0], "1", TypeError),
        ([0.0, 1.0], None, TypeError),
        ([0.0, 1.0], 1j, TypeError),
        ([0.0, 1.0], [1.0], ValueError),
        ([[0.0, 1.0], [0.0, 2.0]], [1.0], ValueError),
        ([[0.0, 1.0], [0.0, 9.0]], [1.0, 2.0], ValueError),
    ],
)
def test_what_cannot_be_told(x, y, error):
    optimizer = grown(n=7)
    pending = [optimizer.ask()]
    with pytest.raises(error):
        optimizer.tell(x, y)
    assert optimizer.pending == pending and optimizer.result().nfev == 7


# Finite spaces and constraints.


def test_no_point_of_a_finite_space_is_repeated():
    space = [(1, 4), ["a", "b", "c"]]
    optimizer = grown(lambda x: x[0] + (x[1] == "b"), space, n=12, noise=0, n_initial_points=4)
    assert len({tuple(x) for x in optimizer.x_iters}) == 12
    before = state(optimizer)
    with pytest.raises(SpaceExhaustedError, match="all 12 were told"):
        optimizer.ask()
    assert state(optimizer) == before


def test_a_finite_space_begins_anew_where_there_may_be_noise():
    optimizer = grown(lambda x: float(x[0]), [(1, 4)], n=8, n_initial_points=2)
    assert sorted(x for (x,) in optimizer.x_iters[:4]) == [1, 2, 3, 4]
    design = grown(lambda x: float(x[0]), [(1, 4)], n=8, n_initial_points=6)
    assert sorted(x for (x,) in design.x_iters[:4]) == [1, 2, 3, 4]


def test_points_repeat_where_noise_is_known():
    optimizer = grown(lambda x: float(x[0]), [(1, 20)], n=12, acquisition="lcb", noise=5.0, n_initial_points=4)
    assert len({tuple(x) for x in optimizer.x_iters}) < 12


def test_large_finite_spaces():
    """Too large to be listed."""
    optimizer = grown(lambda x: float(sum(x)), [(0, 99), (0, 99)], n=25, acquisition="lcb")
    assert len({tuple(x) for x in optimizer.x_iters}) == 25
    optimizer.ask(5)
    assert len({tuple(x) for x in optimizer.x_iters + optimizer.pending}) == 30


@pytest.mark.parametrize("dimensions", [PLANE, [(0, 8), (0, 8)], [(0, 90), (0, 90)], [(0, 90), (0.0, 9.0)]])
@pytest.mark.parametrize("as_number", [False, True])
def test_constraints_hold(dimensions, as_number):
    def constraint(x):
        slack = x[1] - x[0] - 0.5
        return slack if as_number else slack >= 0

    optimizer = grown(lambda x: x[1] - 0.5 * x[0], dimensions, n=12, constraint=constraint)
    optimizer.ask(3)
    assert all(x[1] - x[0] >= 0.5 for x in optimizer.x_iters + optimizer.pending)
    x = optimizer.result().x_model
    assert x[1] - x[0] >= 0.5


def test_constraints_that_fail():
    with pytest.raises(ValueError, match="constraint must hold somewhere"):
        Optimizer(PLANE, constraint=lambda x: False).ask()
    with pytest.raises(ValueError, match="constraint must hold somewhere"):
        Optimizer([(0, 3)], constraint=lambda x: math.nan).ask()
    with pytest.raises(TypeError, match=r"constraint\(.*must be a number"):
        Optimizer(PLANE, constraint=lambda x: "yes").ask()
    with pytest.raises(ValueError, match="points must satisfy the constraint"):
        Optimizer(PLANE, constraint=lambda x: x[0] > 0).enqueue([[-1.0, 1.0]])


def test_observations_that_violate_the_constraint():
    """What is known of them is used."""
    optimizer = Optimizer(PLANE, acquisition="log-ei", constraint=lambda x: x[0] > 1.0, random_state=0)
    points = [[-1.5, 1.0], [-0.5, 2.0], [0.0, 0.5], [0.5, 1.0], [0.9, 2.5], [-2.0, 0.0]]
    result = optimizer.tell(points, list(map(bowl, points)))
    assert len(optimizer.model.y_train_) == 6 and result.x_model[0] > 1.0 and optimizer.ask()[0] > 1.0


# Models.


def test_schedules():
    """ "auto": every time while it is cheap; a number: after so many; in between parameters stay."""
    rng = np.random.default_rng(0)
    points = [[float(a), float(b)] for a, b in rng.uniform([-2, 0], [2, 3], (46, 2))]
    fitted = {}
    for refit in ("auto", 4):
        optimizer, fitted[refit] = Optimizer(PLANE, refit=refit), []
        for n, x in enumerate(points, 1):
            kernel = optimizer.model and optimizer.model.kernel_
            optimizer.tell(x, bowl(x))
            if optimizer._regression.fit and optimizer._regression.fit.n_fitted == n:
                fitted[refit].append(n)
            elif kernel is not None:
                assert optimizer.model.kernel_ == kernel and len(optimizer.model.y_train_) == n
    assert fitted["auto"] == [*range(6, 33), 36, 40, 44]
    assert fitted[4] == list(range(6, 47, 4))


def test_observations_between_fits():
    """Those that are added are the same as a regression of all with these parameters."""
    optimizer = grown(n=8, refit=100)
    x = [[0.1, 0.2], [1.0, 2.0]]
    optimizer.tell(x, list(map(bowl, x)))
    model, values = optimizer.model, optimizer.func_vals
    z = (values - values[:6].mean()) / values[:6].std()
    np.testing.assert_allclose(model.y_train_, z, rtol=1e-12, atol=1e-13)
    places = np.random.default_rng(0).uniform(size=(10, 2))
    kept = lvm.GPR(model.kernel_, mean=lambda X: np.full(len(X), model.mean_coef_[0]), optimizer=None)
    refit = kept.set_params(noise_variance=model.noise_variance_).fit(model.X_train_, model.y_train_)
    np.testing.assert_allclose(model.predict(places), refit.predict(places), atol=1e-5)


def test_a_model_of_ones_own():
    kernel = lvm.kernels.RBF(1.0, [0.3, 0.4])
    template = lvm.GPR(kernel, mean="zero", optimizer=None, noise_variance=0.01)
    optimizer = grown(n=9, model=template)
    assert optimizer.model.kernel_ == kernel and optimizer.model.noise_variance_ == 0.01
    assert not hasattr(template, "kernel_")
    assert isinstance(grown(n=9, model=lvm.GPR()).model.kernel_, lvm.kernels.RBF)


def test_a_fit_that_was_interrupted(monkeypatch):
    """Ctrl-C ends the fit with a warning; the loop must not go on as if nothing was."""
    optimizer = grown(n=5)
    x = optimizer.ask()

    def fit(self, X, y):
        import warnings

        warnings.warn("interrupted", FitInterruptedWarning, stacklevel=2)

    with monkeypatch.context() as patch:
        patch.setattr(lvm.GPR, "fit", fit)
        with pytest.raises(KeyboardInterrupt):
            optimizer.tell(x, bowl(x))
    assert optimizer.result().nfev == 6 and optimizer.ask() == grown(n=6).ask()


def test_factors_that_fail(monkeypatch):
    """An observation that the factor cannot take is a reason for more jitter."""
    optimizer = grown(n=8, refit=100)
    expected = copy.deepcopy(optimizer).tell([0.3, 0.3], bowl([0.3, 0.3])).models[0]

    def condition_on(self, X, y):
        raise lvm.exceptions.NotPositiveDefiniteError("no", pivot=0)

    monkeypatch.setattr(lvm.GPR, "condition_on", condition_on)
    model = optimizer.tell([0.3, 0.3], bowl([0.3, 0.3])).models[0]
    assert model.kernel_ == expected.kernel_ and len(model.y_train_) == 9
    places = np.random.default_rng(0).uniform(size=(10, 2))
    again = lvm.GPR(
        expected.kernel_, noise_variance=expected.noise_variance_, optimizer=None
    )  # the mean is fitted anew
    again.fit(expected.X_train_, expected.y_train_)
    np.testing.assert_allclose(model.predict(places), again.predict(places), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"acquisition": "eii"}, ValueError, "acquisition must be one of 'kg'.*got 'eii'"),
        ({"acquisition": 3}, ValueError, "acquisition must be one of"),
        ({"acquisition_options": [1]}, TypeError, "acquisition_options must be a dict"),
        ({"acquisition_options": {"joint": 1}}, TypeError, "joint"),
        ({"n_initial_points": 0}, ValueError, "n_initial_points must be an integer >= 1"),
        ({"n_initial_points": 2.0}, TypeError, "n_initial_points"),
        ({"initial_points": "lhs"}, ValueError, "initial_points must be one of"),
        ({"model": "gp"}, TypeError, "model must be an lvmfast.GPR"),
        ({"model": lvm.GPR(noise_variance=np.ones(3))}, ValueError, "noise_variance"),
        ({"refit": "often"}, ValueError, "refit must be 'auto' or an integer"),
        ({"refit": 0}, ValueError, "refit must be an integer >= 1"),
        ({"constraint": 3}, TypeError, "constraint must be callable"),
        ({"on_error": "ignore"}, ValueError, "on_error must be one of"),
        ({"noise": -1.0}, ValueError, "noise must be a finite number >= 0"),
        ({"random_state": "a"}, ValueError, "random_state"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        Optimizer(PLANE, **options)


def test_bad_questions():
    for n_points, error in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="n_points"):
            Optimizer(PLANE).ask(n_points)


def test_generators():
    """The same numbers give the same points; a caller's generator is drawn from once."""
    for make in (lambda: np.random.default_rng(5), lambda: np.random.RandomState(5), lambda: 5):
        assert Optimizer(PLANE, random_state=make()).ask() == Optimizer(PLANE, random_state=make()).ask()
    rng = np.random.default_rng(5)
    assert Optimizer(PLANE, random_state=rng).ask() != Optimizer(PLANE, random_state=rng).ask()


# Files.


def untouched():
    return Optimizer(MIXED, acquisition="log-ei", random_state=0)


def within_the_design():
    optimizer = untouched()
    optimizer.tell(optimizer.ask(), 1.0)
    optimizer.ask(2)
    optimizer.enqueue([[0.1, 3, "b"]])
    return optimizer


def with_a_model():
    """Beside a failure and pending points."""
    optimizer = grown(mixed, MIXED, n=10)
    optimizer.tell(optimizer.ask(), np.nan)
    optimizer.ask(2)
    return optimizer


def between_fits():
    return grown(n=9, refit=5, acquisition="thompson", acquisition_options={"n_features": 64}, noise=0.1)


def with_a_template():
    return grown(n=9, model=lvm.GPR(lvm.kernels.RBF(), mean="linear"), initial_points="latin")


@pytest.mark.parametrize("stage", [untouched, within_the_design, with_a_model, between_fits, with_a_template])
@pytest.mark.parametrize("how", ["file", "pickle", "deepcopy"])
def test_copies_go_on_alike(stage, how, tmp_path):
    """Bit for bit, for several more points."""
    optimizer = stage()
    if how == "file":
        optimizer.save(tmp_path / "loop.npz")
        twin = Optimizer.load(tmp_path / "loop.npz")
    else:
        twin = pickle.loads(pickle.dumps(optimizer)) if how == "pickle" else copy.deepcopy(optimizer)
    assert twin.pending == optimizer.pending and twin.x_iters == optimizer.x_iters
    assert twin.result().errors == optimizer.result().errors
    f = mixed if len(optimizer.space) == 3 else bowl
    for _ in range(5 if optimizer.model else 9):
        x = optimizer.ask()
        assert twin.ask() == x
        a, b = optimizer.tell(x, f(x)), twin.tell(x, f(x))
        assert a.x_model == b.x_model and np.array_equal(a.fun_model, b.fun_model, equal_nan=True)


def test_functions_are_passed_again(tmp_path):
    path, right = tmp_path / "loop.npz", {"acquisition": Distance, "constraint": bowl}
    grown(n=8, **right).save(path)
    for name in right:
        some = {key: value for key, value in right.items() if key != name}
        with pytest.raises(ValueError, match=f"{name} must be passed again"):
            Optimizer.load(path, **some)
    assert Optimizer.load(path, **right).ask() == grown(n=8, **right).ask()
    grown(n=2).save(path)
    with pytest.raises(ValueError, match="acquisition must be 'log-ei' as in the file"):
        Optimizer.load(path, acquisition="ei")


def test_options_in_files(tmp_path):
    path = tmp_path / "loop.npz"
    options = {"kappa": np.float64(2.0), "maximize": {"n_starts": 2}}
    grown(n=8, acquisition="lcb", acquisition_options=options).save(path)
    assert Optimizer.load(path).acquisition_options == {"kappa": 2.0, "maximize": {"n_starts": 2}}
    Optimizer(PLANE, acquisition="kg-discrete", acquisition_options={"points": np.ones((2, 2))}).save(path)
    np.testing.assert_array_equal(Optimizer.load(path).acquisition_options["points"], np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"acquisition_options\['random_state'\].*to be saved"):
        Optimizer(PLANE, acquisition_options={"random_state": np.random.default_rng(0)}).save(path)


def test_other_files(tmp_path):
    model = lvm.GPR().fit(np.arange(5.0)[:, None], np.arange(5.0))
    model.save(tmp_path / "gpr.npz")
    with pytest.raises(ValueError, match="must name a Optimizer"):
        Optimizer.load(tmp_path / "gpr.npz")
