"""Threads, processes and what crosses between them: counts, fork, concurrent callers, pickled errors."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import threadpoolctl
from helpers import assert_near, in_child, spd, tolerance

import lvmfast as lvm
from lvmfast import _backend, exceptions


def blas_sizes():
    """Threads of every BLAS in this process."""
    return [info["num_threads"] for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]


class Work:
    """Everything that uses threads: kernel matrices large enough that lvmfast's own loops do.

    The factorisations are small. OpenBLAS waits in loops that take the whole processor: where it has more threads
    than processors, one of 200 rows takes a hundred times longer than on one thread.
    """

    def __init__(self, seed, n=200, n_blas=48):
        rng = np.random.default_rng(seed)
        self.X, self.C = rng.standard_normal((n, 3)), rng.standard_normal((n, n))
        self.A, self.B = spd(rng, n_blas), rng.standard_normal((n_blas, 5))
        self.kernel = lvm.kernels.RBF(1.5, [0.5, 1.0, 2.0])

    def loops(self):
        """What lvmfast's own threads compute: bits."""
        dX, _, gradients = self.kernel.vjp(self.X, None, self.C)
        return self.kernel(self.X), dX, gradients["variance"], gradients["lengthscale"]

    def blas(self):
        """What the BLAS's threads compute: up to rounding."""
        return lvm.linalg.cholesky_solve(lvm.linalg.cholesky(self.A), self.B)

    def check(self, expected):
        for actual, kept in zip(self.loops(), expected[0], strict=True):
            np.testing.assert_array_equal(actual, kept)
        assert_near(self.blas(), expected[1], tolerance(float, len(self.A), 100.0))
        return True

    def answers(self):
        return self.loops(), self.blas()


class TestNumThreads:
    @pytest.mark.parametrize("n", [1, 2, 3, np.int64(2), np.uint8(1)])
    def test_valid(self, set_num_threads, n):
        set_num_threads(n)
        assert lvm.get_num_threads() == n
        assert type(lvm.get_num_threads()) is int

    @pytest.mark.parametrize("bad", [0, -1, 1.5, 2.0, True, np.True_, None, "2", [2], np.nan, 2**31, 2**40, -(2**40)])
    def test_invalid(self, set_num_threads, bad):
        before = lvm.get_num_threads()
        with pytest.raises(ValueError, match="n must be an integer"):
            set_num_threads(bad)
        assert lvm.get_num_threads() == before

    def test_same_answers(self, set_num_threads):
        work = Work(0)
        set_num_threads(1)
        expected = work.answers()
        for n in (2, 3, 1, 3):
            set_num_threads(n)
            work.check(expected)

    def test_limits_the_blas_while_it_is_called(self, set_num_threads):
        before = blas_sizes()
        set_num_threads(1)
        assert blas_sizes() == before
        with _backend.blas_threads():
            assert set(blas_sizes()) == {1}
        assert blas_sizes() == before

    def test_overlapping_calls_leave_the_blas_as_it_was(self, set_num_threads):
        """Two callers, of whom the first to come is the first to go."""
        before = blas_sizes()
        set_num_threads(max(before) + 1)
        first, second = contextlib.ExitStack(), contextlib.ExitStack()
        first.enter_context(_backend.blas_threads())
        second.enter_context(_backend.blas_threads())
        first.close()
        second.close()
        assert blas_sizes() == before


def python(code, folder, **environment):
    """A fresh interpreter, away from the sources."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestEnvironment:
    def test_is_read(self, tmp_path):
        name = _backend.cpu.instruction_sets()[-1]
        code = "import lvmfast as lvm; from lvmfast._backend import cpu; "
        code += "print('RESULT', lvm.get_num_threads(), cpu.instruction_set())"
        result = python(code, tmp_path, LVMFAST_NUM_THREADS="3", LVMFAST_INSTRUCTION_SET=name)
        assert result.returncode == 0, result.stderr
        assert f"RESULT 3 {name}" in result.stdout

    @pytest.mark.parametrize(
        ("variable", "value", "message"),
        [
            ("LVMFAST_NUM_THREADS", "many", "LVMFAST_NUM_THREADS must be an integer "),
            ("LVMFAST_INSTRUCTION_SET", "z80", "LVMFAST_INSTRUCTION_SET must be one of ["),
        ],
    )
    def test_is_checked(self, tmp_path, variable, value, message):
        result = python("import lvmfast", tmp_path, **{variable: value})
        assert result.returncode != 0
        assert f"ValueError: {message}" in result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestFork:
    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_child_computes(self, set_num_threads, n):
        """The parent's workers do not exist in the child; it starts its own."""
        set_num_threads(n)
        work = Work(1)
        expected = work.answers()
        assert in_child(lambda: work.check(expected))
        work.check(expected)

    def test_grandchild_computes(self, set_num_threads):
        set_num_threads(2)
        work = Work(2)
        expected = work.answers()
        assert in_child(lambda: work.check(expected) and in_child(lambda: work.check(expected)))

    def test_child_keeps_the_number_of_threads(self, set_num_threads):
        set_num_threads(3)
        assert in_child(lvm.get_num_threads) == 3

    def test_fork_while_others_compute(self, set_num_threads):
        """The pool is in use by another thread of the parent when the child is made."""
        set_num_threads(2)
        work = Work(3)
        expected = work.loops()
        stop = threading.Event()

        def keep_busy():
            while not stop.is_set():
                work.loops()

        busy = threading.Thread(target=keep_busy)
        busy.start()
        try:
            for _ in range(5):
                answers = in_child(work.loops)
                for actual, kept in zip(answers, expected, strict=True):
                    np.testing.assert_array_equal(actual, kept)
        finally:
            stop.set()
            busy.join()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_concurrent_callers(set_num_threads, n):
    """Several Python threads at once, each with its own inputs: every answer is its own."""
    set_num_threads(n)
    works = [Work(seed) for seed in range(4)]
    expected = [work.answers() for work in works]
    barrier = threading.Barrier(4)

    def repeat(work, answers):
        barrier.wait(10)
        return [work.check(answers) for _ in range(8)]

    before = blas_sizes()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(all(part) for part in pool.map(repeat, works, expected))
    assert blas_sizes() == before


def test_concurrent_factorisations(set_num_threads):
    """Large enough for the BLAS's own threads."""
    set_num_threads(1)
    A, B = spd(np.random.default_rng(4), 150), np.ones((150, 3))

    def solve(jitter):
        return lvm.linalg.cholesky_solve(lvm.linalg.cholesky(A, jitter=jitter), B)

    jitters = np.geomspace(1e-3, 1, 16)
    expected = [solve(jitter) for jitter in jitters]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for actual, kept in zip(pool.map(solve, jitters), expected, strict=True):
            assert_near(actual, kept, tolerance(float, 150, 100.0))


def test_concurrent_resizing(set_num_threads):
    """The number of threads changes while loops run."""
    work = Work(5)
    expected = work.loops()
    stop = threading.Event()

    def keep_resizing():
        while not stop.is_set():
            for n in (1, 3, 2):
                _backend.cpu.set_num_threads(n)

    resizing = threading.Thread(target=keep_resizing)
    resizing.start()
    try:
        for _ in range(50):
            for actual, kept in zip(work.loops(), expected, strict=True):
                np.testing.assert_array_equal(actual, kept)
    finally:
        stop.set()
        resizing.join()


def an_error():
    """As the library raises it."""
    A = np.stack([np.eye(2), np.array([[1.0, 2.0], [2.0, 1.0]])])
    try:
        lvm.linalg.cholesky(A, jitter=0.5)
    except exceptions.NotPositiveDefiniteError as error:
        return error


class TestPickledErrors:
    """What a worker process raises arrives whole."""

    @pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
    def test_fields(self, through):
        error = an_error()
        again = through(error)
        assert type(again) is exceptions.NotPositiveDefiniteError
        assert str(again) == str(error)
        assert again.args == error.args
        assert (again.pivot, again.index, again.jitter) == (1, (1,), 0.5)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("name", exceptions.__all__)
    def test_every_class(self, name, protocol):
        cls = getattr(exceptions, name)
        error = cls("message", pivot=3, index=(1, 2), jitter=0.5) if name.startswith("NotPos") else cls("message")
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is cls
        assert again.args == ("message",)
        assert vars(again) == vars(error)

    def test_notes_and_subclasses(self):
        error = an_error()
        error.__dict__["__notes__"] = ["in row 3"]  # add_note, from Python 3.11 on
        assert pickle.loads(pickle.dumps(error)).__notes__ == ["in row 3"]

    def test_out_of_a_process(self):
        with pytest.raises(exceptions.NotPositiveDefiniteError) as caught:
            in_child(lambda: lvm.linalg.cholesky(-np.eye(3)))
        assert caught.value.pivot == 0
