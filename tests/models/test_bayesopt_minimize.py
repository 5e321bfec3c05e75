"""The loop as one call: convergence, starts, failures, ends, and runs that were stopped and went on."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import lvmfast as lvm
from lvmfast.bayesopt import Integer, Optimizer, Real, minimize
from lvmfast.exceptions import FitInterruptedWarning

LINE = [(-2.0, 2.0)]
LEAST = -0.50036  # of wave, at -0.3594


class Crash(BaseException):
    """What ends a process."""


def wave(x):
    """The function of the reference's example."""
    return math.sin(3 * x[0]) + x[0] ** 2 - 0.7 * x[0]


def branin(x):
    a, b = x
    parabola = b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6
    return parabola**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10


def mixed(x):
    rate, width, kind = x
    return (math.log10(rate) + 2) ** 2 + 0.05 * (width - 5) ** 2 + {"a": 1.0, "b": 0.0, "c": 0.6}[kind]


SPACE = [Real(1e-4, 1.0, log=True), Integer(1, 20), ["a", "b", "c"]]


def quick(f=wave, dimensions=LINE, **options):
    return minimize(f, dimensions, **({"n_calls": 8, "acquisition": "log-ei", "random_state": 0} | options))


# Convergence.


@pytest.mark.parametrize("acquisition", ["log-ei", "kg", "ei", "lcb"])
def test_one_dimension(acquisition):
    for seed in range(2):
        result = quick(n_calls=12, acquisition=acquisition, random_state=seed)
        assert wave(result.x_model) - LEAST < 1e-3
        assert result.fun == wave(result.x)
        if acquisition != "kg":  # it learns where the minimum is, and need not go there
            assert result.fun - LEAST < 0.02


@pytest.mark.parametrize(("acquisition", "n_calls"), [("log-ei", 25), ("kg-discrete", 25)])
def test_two_dimensions(acquisition, n_calls):
    result = quick(branin, [(-5.0, 10.0), (0.0, 15.0)], n_calls=n_calls, acquisition=acquisition)
    assert branin(result.x_model) - 0.397887 < 0.1
    rng = np.random.default_rng(0)
    at_random = min(branin(x) for x in rng.uniform([-5, 0], [10, 15], (n_calls, 2)))
    assert result.fun < at_random


def test_all_kinds_of_dimensions():
    result = quick(mixed, SPACE, n_calls=30)
    assert result.x[2] == "b" and abs(result.x[1] - 5) <= 1 and 1e-3 < result.x[0] < 1e-1
    assert [type(value) for value in result.x] == [float, int, str]


def test_noise():
    """The minimum of the mean is the better answer, and its value the better estimate."""
    rng = np.random.default_rng(4)
    result = quick(lambda x: wave(x) + 0.3 * rng.standard_normal(), n_calls=25, acquisition="kg", refit=4)
    assert wave(result.x_model) - LEAST < 0.05
    assert abs(result.fun_model - LEAST) < abs(result.fun - LEAST)


def test_a_constraint():
    result = quick(n_calls=14, constraint=lambda x: x[0] - 0.5)
    assert all(x[0] >= 0.5 for x in result.x_iters)
    grid = np.linspace(0.5, 2, 10_001)
    assert result.fun - (np.sin(3 * grid) + grid**2 - 0.7 * grid).min() < 1e-2


# What a result is.


def test_results_are_scipys():
    points = []
    result = quick(lambda x: points.append(x) or wave(x))
    assert isinstance(result, OptimizeResult) and result.success and result.message == "8 calls were made"
    assert result.x_iters == points and result.nfev == 8 and result.errors == []
    np.testing.assert_array_equal(result.func_vals, [wave(x) for x in points])
    assert result.fun == min(result.func_vals) and isinstance(result.models[0], lvm.GPR)
    assert "fun_model" in repr(result)


def test_it_is_asking_and_telling():
    for n_points in (1, 3):
        optimizer = Optimizer(LINE, acquisition="log-ei", random_state=3)
        while len(optimizer.x_iters) < 9:
            for x in optimizer.ask(n_points):
                optimizer.tell(x, wave(x))
        result = quick(n_calls=9, random_state=3, n_points=n_points)
        assert result.x_iters == optimizer.x_iters and result.x_model == optimizer.result().x_model


def test_functions_may_return_arrays_and_spoil_points():
    def f(x):
        value = np.array([wave(x)])
        x[0] = 99.0
        return value

    assert quick(f).x_iters == quick().x_iters


def test_random_states():
    assert quick().x_iters == quick().x_iters != quick(random_state=1).x_iters


# Where it begins and ends.


def test_points_to_begin_with():
    result = quick(x0=[[0.25], [1.0]])
    assert result.x_iters[:2] == [[0.25], [1.0]] and result.nfev == 8
    assert quick(x0=[0.25]).x_iters[0] == quick(x0=np.array([0.25])).x_iters[0] == [0.25]
    assert quick(mixed, SPACE, x0=[0.01, 3, "c"]).x_iters[0] == [0.01, 3, "c"]
    assert quick(x0=np.linspace(-1, 1, 8)[:, None]).x_iters == [[x] for x in np.linspace(-1, 1, 8)]


def test_values_that_are_known():
    x0 = [[-1.5], [-0.5], [0.5], [1.0], [1.9]]
    calls = []
    result = quick(lambda x: calls.append(x) or wave(x), x0=x0, y0=[wave(x) for x in x0], n_calls=3)
    assert len(calls) == 3 and result.x_iters == x0 + calls and result.nfev == 8
    one = quick(x0=[0.5], y0=wave([0.5]), n_calls=4)
    assert one.x_iters[0] == [0.5] and one.nfev == 5
    failed = quick(x0=[[0.5], [0.6]], y0=[np.nan, wave([0.6])], n_calls=4)
    assert failed.errors == [(0, "the value is nan")]


def test_callbacks():
    seen = []

    def callback(result):
        seen.append((result.nfev, result.fun))
        return result.nfev == 6

    result = quick(callback=callback)
    assert [n for n, _ in seen] == [1, 2, 3, 4, 5, 6] and result.nfev == 6
    assert result.message == "stopped by the callback" and result.success
    assert [best for _, best in seen] == list(np.minimum.accumulate(result.func_vals))


def test_time_limits():
    result = quick(time_limit=1e-9)
    assert result.nfev == 0 and "time limit" in result.message and not result.success
    assert quick(time_limit=1e9).nfev == 8


def test_a_space_that_is_searched_through():
    result = quick(lambda x: (x[0] - 3) ** 2, [(1, 6)], n_calls=20, noise=0)
    assert result.nfev == 6 and result.success and result.message == "every point of the space was evaluated"
    assert result.x == [3]


def test_batches_search_a_space_through():
    """Its last points too, which are fewer than a batch."""
    result = quick(lambda x: (x[0] - 3) ** 2, [(1, 10)], n_calls=20, noise=0, n_points=3)
    assert sorted(result.x_iters) == [[k] for k in range(1, 11)]
    assert result.message == "every point of the space was evaluated"


@pytest.mark.parametrize("n_points", [1, 2])
def test_no_point_is_repeated_without_noise(n_points):
    """The minimum is a corner, where improvement is expected again and again."""
    result = quick(sum, [(0.0, 1.0), (0.0, 1.0)], n_calls=16, acquisition="ei", noise=0, n_points=n_points)
    assert result.fun == 0.0 and len({tuple(point) for point in result.x_iters}) == 16


def test_points_to_begin_with_may_be_repeated():
    assert quick(x0=[[0.1]] * 3).x_iters[:3] == [[0.1]] * 3


def test_progress(capsys):
    quick(verbose=1)
    assert "best=" in capsys.readouterr().err
    quick()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"f": 3}, TypeError, "f must be callable"),
        ({"dimensions": [(2.0, -2.0)]}, ValueError, r"dimensions\[0\].*low < high, got 2.0 and -2.0"),
        ({"dimensions": [(-np.inf, 2.0)]}, ValueError, r"dimensions\[0\].*finite"),
        ({"dimensions": []}, ValueError, "at least one dimension"),
        ({"n_calls": 4}, ValueError, "n_calls must be at least the number of initial points, 5, got 4"),
        ({"n_calls": 9, "n_initial_points": 10}, ValueError, "initial points, 10, got 9"),
        ({"n_calls": 0}, ValueError, "n_calls"),
        ({"n_calls": 9.5}, TypeError, "n_calls"),
        ({"n_points": 0}, ValueError, "n_points"),
        ({"x0": [[0.0]] * 9}, ValueError, "initial points, 9, got 8"),
        ({"x0": [3.0]}, ValueError, r"x0\[0\]\[0\] must be between -2 and 2, got 3.0"),
        ({"x0": [[0.0, 1.0]]}, ValueError, r"x0\[0\] must be a list of 1 values"),
        ({"x0": 0.5}, TypeError, "x0 must be a point or a list of points"),
        ({"x0": [0.0], "constraint": lambda x: False}, ValueError, "x0 must satisfy the constraint"),
        ({"y0": [1.0]}, ValueError, "y0 must come with x0"),
        ({"x0": [[0.0], [1.0]], "y0": [1.0]}, ValueError, "y0 must hold a value for each of 2 points"),
        ({"x0": [0.0], "y0": "a"}, TypeError, "y0"),
        ({"acquisition": "kgg"}, ValueError, "acquisition must be one of"),
        ({"acquisition_options": {"kapa": 1.0}}, TypeError, "kapa"),
        ({"acquisition": "kg", "acquisition_options": {"n_fantasies": -3}}, ValueError, "n_fantasies"),
        ({"acquisition_options": {"maximize": {"n_starts": 0}}}, ValueError, "n_starts"),
        ({"model": lvm.GPR(lvm.kernels.RBF(1.0, [1.0, 1.0]))}, ValueError, r"lengthscale.*shape \(1,\)"),
        ({"model": lvm.GPR(noise_prior=3.0)}, TypeError, "noise_prior"),
        ({"checkpoint": "nowhere/run.npz"}, FileNotFoundError, "nowhere"),
        ({"callback": 3}, TypeError, "callback"),
        ({"on_error": "stop"}, ValueError, "on_error"),
        ({"time_limit": 0.0}, ValueError, "time_limit"),
        ({"random_state": -1}, ValueError, "random_state"),
        ({"verbose": -1}, ValueError, "verbose"),
    ],
)
def test_bad_arguments(options, error, message):
    calls = []
    with pytest.raises(error, match=message):
        quick(**({"f": lambda x: calls.append(x) or 0.0} | options))
    assert calls == []


# Functions that fail.


def flaky(x):
    """Fails to the right, in one way or another."""
    if x[0] > 1.2:
        raise RuntimeError("no solution")
    if x[0] > 0.9:
        return np.nan
    if x[0] > 0.7:
        return None
    return wave(x)


def test_failures_are_skipped():
    result = quick(flaky, n_calls=14)
    bad = [x[0] > 0.7 for x in result.x_iters]
    np.testing.assert_array_equal(np.isnan(result.func_vals), bad)
    assert any(bad) and [i for i, _ in result.errors] == list(np.flatnonzero(bad))
    for i, message in result.errors:
        x = result.x_iters[i][0]
        part = (
            "RuntimeError: no solution" if x > 1.2 else "the value is nan" if x > 0.9 else "must be a number, got None"
        )
        assert part in message
    assert result.success and wave(result.x_model) - LEAST < 1e-2 and "failed" not in result.message
    assert len({tuple(x) for x in result.x_iters}) == 14


def test_failures_may_end_the_run(tmp_path):
    """What was reached is in the checkpoint, the failure too; the run can go on."""
    path = tmp_path / "run.npz"
    with pytest.raises(RuntimeError, match="no solution"):
        quick(lambda x: flaky([1.5]) if x[0] > 0 else wave(x), on_error="raise", checkpoint=path)
    stopped = Optimizer.load(path)
    assert stopped.result().errors[-1][1] == "RuntimeError: no solution" and stopped.pending == []
    assert quick(checkpoint=path).nfev == 8
    with pytest.raises(ValueError, match="f must return a finite number with on_error='raise', got nan"):
        quick(lambda x: np.nan, on_error="raise")
    with pytest.raises(TypeError, match="must be a number, got None"):
        quick(lambda x: None, on_error="raise")


def test_nothing_but_failures():
    def f(x):
        raise KeyError("oh")

    result = quick(f)
    assert result.x is None and np.isnan(result.fun) and not result.success and len(result.errors) == 8
    assert "none of them gave a finite value, the first because KeyError: 'oh'" in result.message


def test_interrupts():
    """Ctrl-C in the function ends the run with what there is."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background may ignore it

    def f(x):
        calls.append(x)
        if len(calls) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return wave(x)

    calls = []
    try:
        with pytest.warns(FitInterruptedWarning, match="interrupted after 6 calls"):
            result = quick(f, n_calls=20)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert result.nfev == 6 and not result.success and result.message == "interrupted from the keyboard"
    assert result.x_iters == quick().x_iters[:6] and result.x_model is not None


# Runs that were stopped.


def crashing(f, at):
    """The function, whose call number ``at`` does not return."""
    count = 0

    def g(x):
        nonlocal count
        count += 1
        if count == at:
            raise Crash
        return f(x)

    return g


@pytest.mark.parametrize("n_points", [1, 3])
def test_a_resumed_run_is_the_same_run(n_points, tmp_path):
    """Bit for bit, wherever it crashed: in the design, before and after fits, within a batch."""
    options = {"n_calls": 9, "n_points": n_points, "x0": [0.3], "n_initial_points": 4}
    expected = quick(flaky, **options)
    for at in range(1, 10):
        path = tmp_path / f"{at}.npz"
        with pytest.raises(Crash):
            quick(crashing(flaky, at), checkpoint=path, **options)
        result = quick(flaky, checkpoint=path, **options)
        assert result.x_iters == expected.x_iters and result.errors == expected.errors
        assert result.x_model == expected.x_model and result.fun_model == expected.fun_model
        np.testing.assert_array_equal(result.func_vals, expected.func_vals)


def test_crash_after_crash(tmp_path):
    """With dimensions of all kinds and values that were known; each crash costs one call at most."""
    path = tmp_path / "run.npz"
    x0 = [[0.1, 3, "c"], [0.01, 9, "a"]]
    options = {"x0": x0, "y0": [mixed(x0[0]), np.nan], "n_calls": 13}
    expected = quick(mixed, SPACE, **options)
    crashes = 0
    while True:
        try:
            result = quick(crashing(mixed, 4), SPACE, checkpoint=path, **options)
            break
        except Crash:
            crashes += 1
    assert crashes == 4 and result.x_iters == expected.x_iters and result.fun_model == expected.fun_model


def test_a_run_that_goes_on_after_its_end(tmp_path):
    path = tmp_path / "run.npz"
    quick(checkpoint=path)
    calls = []
    result = quick(lambda x: calls.append(x) or wave(x), n_calls=12, checkpoint=path)
    assert len(calls) == 4 and result.x_iters == quick(n_calls=12).x_iters
    again = quick(lambda x: calls.append(x), n_calls=8, checkpoint=path)
    assert len(calls) == 4 and again.nfev == 12 and again.x_model == result.x_model


def test_a_run_that_goes_on_within_a_batch(tmp_path):
    options = {"n_points": 3, "checkpoint": tmp_path / "run.npz"}
    assert quick(n_calls=7, **options).nfev == 7
    assert quick(n_calls=13, **options).x_iters == quick(n_calls=13, n_points=3).x_iters


def test_options_of_a_resumed_run(tmp_path):
    """Arrays and a model of one's own are the same when they are passed again."""
    options = {
        "acquisition": "kg-discrete",
        "acquisition_options": {"points": np.linspace(0.0, 1.0, 9)[:, None]},
        "model": lvm.GPR(lvm.kernels.RBF(), noise_prior=lvm.priors.LogNormal(-4.0, 1.0)),
    }
    path = tmp_path / "run.npz"
    quick(checkpoint=path, **options)
    assert quick(n_calls=10, checkpoint=path, **options).x_iters == quick(n_calls=10, **options).x_iters
    options["acquisition_options"] = {"points": np.linspace(0.0, 1.0, 8)[:, None]}
    with pytest.raises(ValueError, match="acquisition_options="):
        quick(checkpoint=path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": [(-2.0, 3.0)]}, "dimensions=.*-2.0.*2.0.*in the file.*3.0"),
        ({"acquisition": "ei"}, "acquisition='log-ei' in the file and 'ei' here"),
        ({"n_initial_points": 7}, "n_initial_points=5 in the file and 7 here"),
        ({"refit": 3}, "refit"),
        ({"noise": 0.1}, "noise"),
        ({"initial_points": "latin"}, "initial_points"),
        ({"acquisition_options": {"xi": 0.1}}, "acquisition_options="),
        ({"model": lvm.GPR()}, "model="),
        ({"x0": [0.5], "y0": 1.0}, "x0 and y0"),
        ({"x0": [0.5]}, "x0 and y0"),
        ({"acquisition_options": {"maximize": {"n_starts": 2}}}, "acquisition_options={} in the file and .*n_starts"),
        ({"model": lvm.GPR(lvm.kernels.RBF())}, "model="),
    ],
)
def test_checkpoints_of_other_runs(options, message, tmp_path):
    path = tmp_path / "run.npz"
    quick(checkpoint=path)
    with pytest.raises(ValueError, match=message):
        quick(**({"checkpoint": path} | options))
    assert quick(checkpoint=path).nfev == 8


def test_checkpoints_with_functions(tmp_path):
    path = tmp_path / "run.npz"
    options = {"acquisition": lvm.bayesopt.LowerConfidenceBound, "constraint": lambda x: x[0] < 1}
    options |= {"acquisition_options": {"kappa": 2}, "model": lvm.GPR(lvm.kernels.RBF(0.5, [0.3]))}
    expected = quick(n_calls=9, **options)
    with pytest.raises(Crash):
        quick(crashing(wave, 7), n_calls=9, checkpoint=path, **options)
    assert quick(n_calls=9, checkpoint=path, **options).x_iters == expected.x_iters


def test_files_that_are_no_checkpoints(tmp_path):
    path = tmp_path / "run.npz"
    path.write_text("notes")
    with pytest.raises(ValueError, match="path must name a file written by Optimizer.save"):
        quick(checkpoint=path)
    assert path.read_text() == "notes"


def test_what_cannot_be_saved_is_found_first(tmp_path):
    calls = []
    for error, options in (
        (FileNotFoundError, {"checkpoint": tmp_path / "nowhere" / "run.npz"}),
        (TypeError, {"acquisition_options": {"best": object()}}),
        (ValueError, {"model": lvm.GPR(mean=lambda X: X[:, 0])}),
    ):
        with pytest.raises(error):
            quick(lambda x: calls.append(x), **({"checkpoint": tmp_path / "run.npz"} | options))
    assert calls == [] and list(tmp_path.iterdir()) == []


def test_what_was_reached_comes_with_an_exception():
    def broken(model, bounds):
        raise RuntimeError("no acquisition today")

    with pytest.raises(RuntimeError, match="today") as caught:
        quick(acquisition=broken, n_calls=8)
    assert caught.value.result.nfev == 5
    assert caught.value.result.fun == min(caught.value.result.func_vals)


@pytest.mark.parametrize("noise", [0, None])
def test_a_large_space_with_few_points_that_may_be_asked(noise):
    """Five of 10,000 points satisfy the constraint: then they repeat, or the run ends."""
    calls = []

    def line(point):
        calls.append(tuple(point))
        return float(point[0])

    result = minimize(
        line,
        [(0, 99), (0, 99)],
        n_calls=9,
        n_initial_points=3,
        x0=[[4, 4], [0, 0], [2, 2]],
        constraint=lambda point: point[0] == point[1] and point[0] < 5,
        noise=noise,
        acquisition="ei",
        random_state=0,
    )
    assert result.success and result.fun == 0.0
    assert set(calls) <= {(k, k) for k in range(5)}
    if noise == 0:
        assert len(set(calls)) == len(calls) and result.message == "every point of the space was evaluated"
    else:
        assert len(calls) == 9
