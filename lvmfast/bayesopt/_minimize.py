"""Bayesian optimization of a function that can be called."""

from __future__ import annotations

import contextlib
import math
import os
import time
import warnings

import numpy as np
from scipy.optimize import OptimizeResult
from tqdm.auto import tqdm

from lvmfast._interrupt import deferred_interrupt
from lvmfast._validation import check_callback, check_choice, check_integer, check_positive
from lvmfast.bayesopt._optimizer import Optimizer
from lvmfast.bayesopt._optimizer_file import arguments_of
from lvmfast.bayesopt._records import as_value, observation_of
from lvmfast.exceptions import FitInterruptedWarning, SpaceExhaustedError

__all__ = ["minimize"]


def minimize(
    f,
    dimensions,
    *,
    n_calls=50,
    acquisition="kg",
    acquisition_options=None,
    n_initial_points=None,
    initial_points="sobol",
    x0=None,
    y0=None,
    callback=None,
    random_state=None,
    constraint=None,
    on_error="skip",
    noise=None,
    model=None,
    refit="auto",
    n_points=1,
    checkpoint=None,
    time_limit=None,
    verbose=0,
) -> OptimizeResult:
    r"""``min_x f(x)`` in few calls of f: each at the maximum of an acquisition function of a Gaussian process.

    Parameters
    ----------
    f : callable
        ``f(point)``, a list with one value of each dimension, gives a number, perhaps with noise.
    dimensions : sequence or Space
        (low, high) of each input, :class:`Real`, :class:`Integer` or :class:`Categorical`; see :class:`Space`.
    n_calls : int, default=50
        How often f is called in all, calls before a resumption included.
    acquisition, acquisition_options, n_initial_points, initial_points, random_state, constraint, noise, model, refit
        As for :class:`Optimizer`.
    x0 : list, or list of lists, optional
        A point or several with which to begin.
    y0 : float, or sequence of floats, optional
        Values at x0; without them f is called there first.
    callback : callable, optional
        ``callback(result)`` after every call; a true answer ends the run.
    on_error : {"skip", "raise"}, default="skip"
        Where f raises an exception, or gives NaN, infinity or no number: record it in ``result.errors`` and go on, or
        raise, once it is recorded in the checkpoint.
    n_points : int, default=1
        Points that are chosen at once, before any of them is evaluated; of the last ones perhaps not all are.
    checkpoint : path, optional
        The run is saved there before the first call and after every one. If the file exists, the run goes on where it
        ended: pass the same arguments; ``n_calls`` and ``time_limit`` may differ. The points are those of a run that
        was not stopped, bit for bit.
    time_limit : float, optional
        Seconds after which no more calls are begun.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    result : scipy.optimize.OptimizeResult
        See :meth:`Optimizer.result`. ``x`` and ``fun`` are the lowest observation, ``x_model`` and ``fun_model`` the
        minimum of the posterior mean, which is the better answer under noise. ``success`` is True unless nothing finite
        was observed or Ctrl-C ended the run; ``message`` says how it ended. After Ctrl-C there is a
        :class:`~lvmfast.exceptions.FitInterruptedWarning` too.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, a checkpoint of another run among them.
    Exception
        Of f with ``on_error="raise"``, of the acquisition function, the constraint or the callback: it has an attribute
        ``result`` with what was reached.

    References
    ----------
    Frazier (2018), "A tutorial on Bayesian optimization", algorithm 1.

    Examples
    --------
    >>> from lvmfast.bayesopt import minimize
    >>> result = minimize(
    ...     lambda x: (x[0] - 0.3) ** 2, [(-1.0, 1.0)], n_calls=12, acquisition="log-ei", random_state=0
    ... )
    >>> bool(abs(result.x[0] - 0.3) < 0.02)
    True
    """
    if not callable(f):
        raise TypeError(f"f must be callable, got {f!r}")
    n_calls, n_points = check_integer(n_calls, "n_calls", 1), check_integer(n_points, "n_points", 1)
    check_integer(verbose, "verbose", 0)
    check_callback(callback)
    check_choice(on_error, "on_error", ("skip", "raise"))
    if time_limit is not None:
        time_limit = check_positive(time_limit, "time_limit")
    optimizer = Optimizer(
        dimensions,
        acquisition=acquisition,
        acquisition_options=acquisition_options,
        n_initial_points=n_initial_points,
        initial_points=initial_points,
        model=model,
        refit=refit,
        constraint=constraint,
        noise=noise,
        random_state=random_state,
    )
    points, values = _checked_start(optimizer, x0, y0)
    n_given = 0 if values is None else len(values)
    needed = max(optimizer.n_initial_points - n_given, len(points) - n_given)
    if n_calls < needed:
        raise ValueError(
            f"n_calls must be at least the number of initial points, {needed}, got {n_calls}; raise n_calls or pass a "
            "smaller n_initial_points"
        )
    if checkpoint is not None and os.path.exists(checkpoint):
        optimizer = _resumed(optimizer, checkpoint, points, values)
    else:
        if values is None:
            optimizer.enqueue(points)
        else:
            optimizer._record([observation_of(point, value) for point, value in zip(points, values, strict=True)])
        if checkpoint is not None:
            optimizer.save(checkpoint)  # what cannot be saved is found before f is called
    run = _Run(f, optimizer, n_given, callback, on_error, n_points, checkpoint)
    return run.until(n_calls, math.inf if time_limit is None else time_limit, verbose)


class _Run:
    """Calls of a function, one after the other."""

    def __init__(self, f, optimizer, n_given, callback, on_error, n_points, checkpoint):
        self.f, self.optimizer, self.n_given = f, optimizer, n_given
        self.callback, self.on_error = callback, on_error
        self.n_points, self.checkpoint = n_points, checkpoint

    @property
    def n_done(self) -> int:
        """Calls so far."""
        return len(self.optimizer._records) - self.n_given

    def until(self, n_calls: int, time_limit: float, verbose: int) -> OptimizeResult:
        """Go on until so many calls were made in all."""
        begun, message = time.monotonic(), f"{n_calls} calls were made"
        with tqdm(total=n_calls, initial=self.n_done, disable=not verbose, desc="minimize") as bar:
            try:
                self.save()  # what cannot be saved is to fail before anything is spent
                result = self.optimizer.result()  # a run that goes on first fits what it had not when it was saved
                while self.n_done < n_calls:
                    if time.monotonic() - begun > time_limit:
                        message = f"the time limit of {time_limit:g} s is over"
                        break
                    self.call((self.optimizer.pending or self.ask())[0])
                    result = self.optimizer.result()
                    bar.update()
                    bar.set_postfix(best=f"{result.fun:.6g}")
                    if self.callback is not None and self.callback(result):
                        message = "stopped by the callback"
                        break
            except SpaceExhaustedError:
                result, message = self.optimizer.result(), "every point of the space was evaluated"
            except KeyboardInterrupt:
                result, message = self.optimizer._summary(), "interrupted from the keyboard"
                result.success = False
            except Exception as error:
                with contextlib.suppress(AttributeError):
                    error.result = self.optimizer._summary()  # what was paid for is not lost
                raise
        if result.errors and result.x is None:
            message += f"; none of them gave a finite value, the first because {result.errors[0][1]}"
        result.message = message
        if message.startswith("interrupted"):
            warnings.warn(
                f"minimize was interrupted after {self.n_done} calls; the result holds what was reached",
                FitInterruptedWarning,
                stacklevel=3,
            )
        return result

    def ask(self) -> list[list]:
        """The next points, however many calls are left, so that they are those of a longer run; the last one alone."""
        try:
            return self.optimizer.ask(self.n_points)
        except SpaceExhaustedError:
            return [self.optimizer.ask()]

    def save(self) -> None:
        if self.checkpoint is not None:
            self.optimizer.save(self.checkpoint)

    def call(self, point: list) -> None:
        """Evaluate the function, and record what came out."""
        failure = None
        try:
            value = as_value(self.f(list(point)), f"f({point})")
        except Exception as error:
            failure, observation = error, observation_of(point, math.nan, f"{type(error).__name__}: {error}")
        else:
            observation = observation_of(point, value)
        with deferred_interrupt():
            self.optimizer._record([observation])
            self.save()
        if self.on_error == "raise" and observation.error is not None:
            raise failure or ValueError(f"f must return a finite number with on_error='raise', got {value} at {point}")


def _checked_start(optimizer, x0, y0) -> tuple[list, list | None]:
    """Points with which to begin, and their values, if they are known."""
    if x0 is None:
        if y0 is not None:
            raise ValueError(f"y0 must come with x0, the points that it belongs to, got y0={y0!r} alone")
        return [], None
    if isinstance(x0, str) or not hasattr(x0, "__len__"):
        raise TypeError(f"x0 must be a point or a list of points, got {x0!r}")
    if len(x0) and not (hasattr(x0[0], "__len__") and not isinstance(x0[0], str)):
        x0 = [x0]
    points = [optimizer.space.check(point, f"x0[{i}]") for i, point in enumerate(x0)]
    for point in points if y0 is None else []:
        if not optimizer._is_allowed(point):
            raise ValueError(f"x0 must satisfy the constraint, got {point}; with y0 it need not")
    if y0 is None:
        return points, None
    values = [as_value(value, f"y0[{i}]") for i, value in enumerate([y0] if np.ndim(y0) == 0 else y0)]
    if len(values) != len(points):
        raise ValueError(f"y0 must hold a value for each of {len(points)} points x0, got {len(values)}")
    return points, values


def _resumed(fresh, checkpoint, points, values) -> Optimizer:
    """The optimizer of a file, which must have been written with the arguments of ``fresh``."""
    functions = {} if isinstance(fresh.acquisition, str) else {"acquisition": fresh.acquisition}
    optimizer = Optimizer.load(checkpoint, constraint=fresh.constraint, **functions)
    before, now = ({"dimensions": one.space} | arguments_of(one) for one in (optimizer, fresh))
    for name, value in before.items():
        if value != now[name]:
            raise ValueError(
                f"checkpoint must name a file of a run with the same arguments, got {name}={value!r} in the file and "
                f"{now[name]!r} here; pass the same, or another path"
            )
    known = list(zip(points, values, strict=True)) if values is not None else []
    told = list(zip(optimizer.x_iters, optimizer.func_vals, strict=True))[: len(known)]
    begun = [*optimizer.x_iters, *optimizer._pending, *optimizer._enqueued][: len(points)]
    if begun != points or not _same(told, known):
        raise ValueError("checkpoint must name a file of a run with the same x0 and y0; pass the same, or another path")
    return optimizer


def _same(a, b) -> bool:
    finite = [[(x, y if math.isfinite(y) else None) for x, y in pairs] for pairs in (a, b)]
    return finite[0] == finite[1]
