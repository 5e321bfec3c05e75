"""Adam and L-BFGS: the steps that they should take, stopping, and going on as if nothing had happened."""

from __future__ import annotations

import inspect
import io
import sys

import numpy as np
import pytest
from helpers import assert_near, tolerance
from scipy import optimize

from lvmfast import optim
from lvmfast.exceptions import NonFiniteError
from lvmfast.optim import LBFGS, Adam, cosine_decay

START = np.array([-1.2, 1.0, 0.5, -0.7])
N = 12  # iterations of an uninterrupted run


def rosenbrock(x):
    """A valley that neither optimizer leaves within N iterations."""
    return optimize.rosen(x), optimize.rosen_der(x)


def quadratic(x):
    return float(x @ x), 2 * x


OPTIMIZERS = {
    "adam": lambda: Adam(0.1),
    "adam with schedule": lambda: Adam(0.1, beta_1=0.8, schedule=cosine_decay),
    "lbfgs": LBFGS,
    "lbfgs with a short memory": lambda: LBFGS(memory=2),
}
every = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
both = pytest.mark.parametrize("make", [lambda: Adam(0.1), LBFGS], ids=["adam", "lbfgs"])


class Counted:
    """An objective that counts its calls and may do something at one of them."""

    def __init__(self, fun=rosenbrock, at=None, action=None):
        self.fun, self.at, self.action, self.calls = fun, at, action, 0

    def __call__(self, theta):
        self.calls += 1
        if self.calls - 1 == self.at:
            return self.action(theta)
        return self.fun(theta)


def interrupt(*_):
    raise KeyboardInterrupt


def assert_same_run(a, b):
    """Bit for bit."""
    np.testing.assert_array_equal(a.theta, b.theta)
    assert a.values == b.values
    assert a.n_evaluations == b.n_evaluations
    assert (a.converged, a.interrupted, a.stopped, a.message) == (b.converged, b.interrupted, b.stopped, b.message)
    assert set(a.state) == set(b.state)
    for name, value in a.state.items():
        np.testing.assert_array_equal(value, b.state[name], err_msg=name)


def through_a_file(state):
    """What a state is after it was saved with NumPy and loaded."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file) as saved:
        return dict(saved)


class TestAdam:
    @pytest.mark.parametrize("options", [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}, {"beta_1": 0.0}])
    def test_is_the_one_of_keras(self, options):
        """keras/src/optimizers/adam.py, update_step, line by line."""
        learning_rate = 0.05
        beta_1, beta_2 = options.get("beta_1", 0.9), options.get("beta_2", 0.999)
        epsilon = options.get("epsilon", 1e-7)
        x, m, v = START.copy(), np.zeros(4), np.zeros(4)
        values = []
        for iterations in range(50):
            value, gradient = rosenbrock(x)
            values.append(value)
            local_step = iterations + 1
            beta_1_power = beta_1**local_step
            beta_2_power = beta_2**local_step
            alpha = learning_rate * np.sqrt(1 - beta_2_power) / (1 - beta_1_power)
            m = m + (gradient - m) * (1 - beta_1)
            v = v + (np.square(gradient) - v) * (1 - beta_2)
            x = x - (m * alpha) / (np.sqrt(v) + epsilon)
        result = Adam(learning_rate, **options).minimize(rosenbrock, START, max_iter=50)
        assert_near(result.theta, x, tolerance(float, 50))
        assert_near(result.values, values, tolerance(float, 50))
        assert_near(result.state["m"], m, tolerance(float, 50))
        assert_near(result.state["v"], v, tolerance(float, 50))
        assert result.state["t"] == 50
        assert result.n_evaluations == 50
        assert result.message == "reached max_iter=50"

    def test_schedule_multiplies_the_rate(self):
        """The first step of Adam is learning_rate * sign(gradient), but for epsilon; so are its scheduled parts."""
        seen = []

        def schedule(step, n_steps):
            seen.append((step, n_steps))
            return 0.0 if step else 0.5

        result = Adam(0.1, epsilon=1e-300, schedule=schedule).minimize(quadratic, [3.0, -4.0], max_iter=3)
        assert seen == [(0, 3), (1, 3), (2, 3)]
        assert_near(result.theta, [2.95, -3.95], tolerance(float))

    def test_cosine_decay(self):
        assert_near([cosine_decay(k, 4) for k in range(5)], [1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4, 0], 1e-15)
        assert cosine_decay(9, 4) == 0

    @pytest.mark.parametrize(("name", "bad"), [("beta_1", 1.0), ("beta_1", -0.1), ("beta_2", 1.0), ("beta_2", np.nan)])
    def test_betas(self, name, bad):
        with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\), got"):
            Adam(**{name: bad})

    @pytest.mark.parametrize("name", ["learning_rate", "epsilon"])
    def test_rates(self, name):
        for bad in (0, -1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match=f"{name} must be a finite number > 0, got"):
                Adam(**{name: bad})
        with pytest.raises(TypeError, match=f"{name} must be a number > 0, got '1'"):
            Adam(**{name: "1"})


class TestLBFGS:
    @pytest.mark.parametrize("memory", [1, 5, 20])
    @pytest.mark.parametrize("max_iter", [1, 5, 200])
    def test_is_the_one_of_scipy(self, memory, max_iter):
        values = []
        expected = optimize.minimize(
            rosenbrock,
            START,
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: values.append(intermediate_result.fun),
            options={"maxiter": max_iter, "maxcor": memory, "ftol": 0.0, "gtol": 1e-12, "maxfun": 10**6},
        )
        fun = Counted()
        result = LBFGS(memory).minimize(fun, START, max_iter=max_iter)
        np.testing.assert_array_equal(result.theta, expected.x)
        assert result.values == values
        assert result.n_evaluations == expected.nfev == fun.calls
        assert result.converged == expected.success
        assert result.message == expected.message

    def test_memory(self):
        with pytest.raises(ValueError, match="memory must be an integer >= 1, got 0"):
            LBFGS(0)
        for bad in (2.0, None, True):
            with pytest.raises(TypeError, match="memory must be an integer >= 1, got"):
                LBFGS(bad)

    def test_bounds_hold_and_stop_at_the_edge(self):
        asked = []

        def fun(theta):
            asked.append(theta.copy())
            return float(np.sum((theta - 3.0) ** 2)), 2 * (theta - 3.0)

        bounds = np.array([[-1.0, 1.0], [-5.0, 5.0]])
        result = LBFGS().minimize(fun, np.zeros(2), bounds=bounds)
        np.testing.assert_allclose(result.theta, [1.0, 3.0], atol=1e-8)
        assert result.converged and all((bounds[:, 0] <= t).all() and (t <= bounds[:, 1]).all() for t in asked)

    def test_scipys_own_tests_of_convergence(self):
        def fun(theta):
            return float(np.sum(theta**4)), 4 * theta**3

        counts = [
            LBFGS(**options).minimize(fun, np.full(3, 2.0), max_iter=500).n_evaluations
            for options in ({"gtol": 1e-1}, {"gtol": 1e-6}, {"ftol": 1e-2}, {"ftol": 1e-8})
        ]
        assert counts[0] < counts[1] and counts[2] < counts[3]
        with pytest.raises(ValueError, match="gtol must be"):
            LBFGS(gtol=-1.0)

    def test_the_record_answers(self):
        """Going on asks nothing that was asked before."""
        first, second, whole = Counted(), Counted(), Counted()
        state = LBFGS().minimize(first, START, max_iter=5).state
        LBFGS().minimize(second, START, max_iter=N, state=state)
        LBFGS().minimize(whole, START, max_iter=N)
        assert first.calls + second.calls == whole.calls

    def test_a_record_of_other_questions_is_dropped(self):
        """As after an update of SciPy: from the first question that differs on, the objective is asked again."""
        state = LBFGS().minimize(rosenbrock, START, max_iter=5).state
        state["record_marks"] = state["record_marks"].copy()
        state["record_marks"][3] += 1
        state["record_values"] = state["record_values"].copy()
        state["record_values"][3:] = 1e9
        result = LBFGS().minimize(rosenbrock, START, max_iter=N, state=state)
        assert_same_run(result, LBFGS().minimize(rosenbrock, START, max_iter=N))


@every
class TestResume:
    @pytest.mark.parametrize("k", range(N + 1))
    def test_after_max_iter(self, make, k):
        """An optimizer that knows max_iter beforehand has to know the same one, so the schedule is frozen here."""
        whole = make().minimize(rosenbrock, START, max_iter=N)
        part = make()
        if getattr(part, "schedule", None):
            part.schedule = lambda step, _: cosine_decay(step, N)
        part = part.minimize(rosenbrock, START, max_iter=k)
        assert len(part.values) == k
        assert not part.stopped
        assert_same_run(make().minimize(rosenbrock, START, max_iter=N, state=through_a_file(part.state)), whole)

    @pytest.mark.parametrize("k", range(1, N))
    def test_after_a_callback(self, make, k):
        whole = make().minimize(rosenbrock, START, max_iter=N)
        part = make().minimize(rosenbrock, START, max_iter=N, on_iteration=lambda p: len(p.values) == k)
        assert part.stopped
        assert not part.converged
        assert part.message == "stopped by the callback"
        assert part.values == whole.values[:k]
        assert_same_run(make().minimize(rosenbrock, None, max_iter=N, state=through_a_file(part.state)), whole)

    def test_after_an_interrupt_of_every_evaluation(self, make):
        whole = make().minimize(rosenbrock, START, max_iter=N)
        for call in range(whole.n_evaluations):
            part = make().minimize(Counted(at=call, action=interrupt), START, max_iter=N)
            assert part.interrupted
            assert not part.converged
            assert part.message == "interrupted from the keyboard"
            assert part.n_evaluations == call
            assert part.values == whole.values[: len(part.values)]
            assert_same_run(make().minimize(rosenbrock, START, max_iter=N, state=through_a_file(part.state)), whole)

    def test_after_an_interrupt_of_every_callback(self, make):
        whole = make().minimize(rosenbrock, START, max_iter=N)
        for k in range(1, N + 1):
            part = make().minimize(
                rosenbrock, START, max_iter=N, on_iteration=lambda p, k=k: len(p.values) == k and interrupt()
            )
            assert part.interrupted
            assert part.values == whole.values[:k]
            assert_same_run(make().minimize(rosenbrock, START, max_iter=N, state=part.state), whole)

    def test_after_an_interrupt_of_every_line(self, make):
        """Ctrl-C comes when it likes: before each line of the module that a run of two iterations executes."""
        whole = make().minimize(rosenbrock, START, max_iter=2)
        before, line, caught = sys.gettrace(), 0, 0
        while True:
            tracer = InterruptAtLine(line)
            sys.settrace(tracer)
            try:
                part = make().minimize(rosenbrock, START, max_iter=2)
            except KeyboardInterrupt:
                part = None  # before the run began or after it ended: the caller has what was before
            finally:
                sys.settrace(before)
            if not tracer.done:
                break
            if part is not None and part.interrupted:
                caught += 1
                again = make().minimize(rosenbrock, START, max_iter=2, state=part.state)
                where = f"interrupted before line {tracer.place} of optim.py"
                np.testing.assert_array_equal(again.theta, whole.theta, err_msg=where)
                assert again.values == whole.values, where
            line += 1
        assert caught > 10

    def test_in_many_parts(self, make):
        whole = make().minimize(rosenbrock, START, max_iter=N)
        state = None
        for k in range(1, N):
            part = make().minimize(
                rosenbrock, START, max_iter=N, state=state, on_iteration=lambda p, k=k: len(p.values) >= k
            )
            assert len(part.values) == k
            state = through_a_file(part.state)
        assert_same_run(make().minimize(rosenbrock, START, max_iter=N, state=state), whole)

    def test_from_the_state_of_a_callback(self, make):
        """What Progress.state gives during a run, as for a checkpoint, goes on as the run itself does."""
        states = []
        whole = make().minimize(rosenbrock, START, max_iter=N, on_iteration=lambda p: states.append(p.state()))
        assert len(states) == N
        for state in states:
            assert_same_run(make().minimize(rosenbrock, START, max_iter=N, state=state), whole)

    def test_does_not_change_the_state(self, make):
        state = make().minimize(rosenbrock, START, max_iter=4).state
        kept = through_a_file(state)
        make().minimize(rosenbrock, START, max_iter=N, state=state)
        for name, value in kept.items():
            np.testing.assert_array_equal(state[name], value, err_msg=name)

    def test_callbacks_come_once(self, make):
        """The second part reports its own iterations, with the first part's values before them."""
        state = make().minimize(rosenbrock, START, max_iter=5).state
        lengths = []
        make().minimize(
            rosenbrock, START, max_iter=N, state=state, on_iteration=lambda p: lengths.append(len(p.values))
        )
        assert lengths == list(range(6, N + 1))


class InterruptAtLine:
    """A trace function that raises KeyboardInterrupt before the n-th line of optim.py."""

    file = inspect.getsourcefile(optim)

    def __init__(self, n):
        self.left, self.done, self.place = n, False, None

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename != self.file or self.done:
            return None
        if event == "line":
            if self.left == 0:
                self.done, self.place = True, frame.f_lineno
                raise KeyboardInterrupt
            self.left -= 1
        return self


@both
class TestRun:
    def test_progress(self, make):
        seen = []

        def on_iteration(progress):
            seen.append((progress.theta.copy(), list(progress.values), progress.n_evaluations, set(progress.state())))

        fun = Counted()
        result = make().minimize(fun, START, max_iter=N, on_iteration=on_iteration)
        assert [len(values) for _, values, _, _ in seen] == list(range(1, N + 1))
        assert all(values == result.values[: len(values)] for _, values, _, _ in seen)
        assert [n for _, _, n, _ in seen] == sorted(n for _, _, n, _ in seen)
        np.testing.assert_array_equal(seen[-1][0], result.theta)
        assert seen[-1][2] == result.n_evaluations == fun.calls
        assert all(names == set(result.state) for *_, names in seen)

    def test_start_is_left_alone(self, make):
        start = START.copy()
        for fun in (rosenbrock, interrupt):
            result = make().minimize(fun, start, max_iter=3)
            np.testing.assert_array_equal(start, START)
            assert not np.shares_memory(result.theta, start)
            assert not any(np.shares_memory(value, start) for value in result.state.values())

    def test_an_objective_may_keep_one_array_for_its_gradients(self, make):
        gradient = np.empty(4)

        def fun(theta):
            value, gradient[:] = rosenbrock(theta)
            return value, gradient

        assert_same_run(make().minimize(fun, START, max_iter=N), make().minimize(rosenbrock, START, max_iter=N))

    def test_start_of_other_types(self, make):
        expected = make().minimize(quadratic, np.array([3.0, -4.0]), max_iter=3)
        for start in ([3, -4], (3.0, -4.0), np.array([3, -4]), np.array([3, -4], np.float32)):
            assert_same_run(make().minimize(quadratic, start, max_iter=3), expected)

    def test_no_iterations(self, make):
        fun = Counted()
        result = make().minimize(fun, START, max_iter=0)
        np.testing.assert_array_equal(result.theta, START)
        assert result.values == []
        assert not result.converged

    def test_converges(self, make):
        result = make().minimize(quadratic, [1.0, -2.0], max_iter=2000, tol=1e-9)
        assert result.converged
        assert len(result.values) < 2000
        assert np.abs(result.theta).max() < 1e-3
        assert not result.stopped
        assert not result.interrupted
        assert "tol=1e-09" in result.message or "PGTOL" in result.message

    def test_tolerance_is_measured_over_ten_iterations(self, make):
        """A run ends at the first iteration at which the last ten changed the best value by no more."""
        tol = 1e-2
        result = make().minimize(rosenbrock, START, max_iter=5000, tol=tol)
        assert result.converged
        assert f"tol={tol:g}" in result.message

        def settled(n):
            before = min(result.values[: n - 10])
            return abs(before - min(result.values[n - 10 : n])) <= tol * max(1.0, abs(before))

        n = len(result.values)
        assert settled(n)
        assert not any(settled(k) for k in range(11, n))

    @pytest.mark.parametrize("call", [0, 3])
    def test_nan(self, make, call):
        """SciPy takes a NaN in a line search for convergence, at a value that may be worse than the start's."""
        fun = Counted(at=call, action=lambda theta: (np.nan, np.zeros(4)))
        with pytest.raises(NonFiniteError, match="nan"):
            make().minimize(fun, START, max_iter=N)

    def test_infinity_at_the_start(self, make):
        with pytest.raises(NonFiniteError, match="inf"):
            make().minimize(lambda theta: (np.inf, np.zeros(4)), START, max_iter=N)

    @pytest.mark.parametrize("call", [0, 3])
    def test_gradient_that_is_not_finite(self, make, call):
        """The error says that it is the gradient."""
        fun = Counted(at=call, action=lambda theta: (1.0, np.array([0, np.nan, 0, 0])))
        with pytest.raises(NonFiniteError, match="gradient"):
            make().minimize(fun, START, max_iter=N)

    def test_errors_come_through(self, make):
        def fun(theta):
            raise ZeroDivisionError("of the user")

        with pytest.raises(ZeroDivisionError, match="of the user"):
            make().minimize(fun, START)
