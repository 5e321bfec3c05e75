"""The loop of Bayesian optimization, turned inside out: points are asked for, and outcomes are told."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math

import numpy as np
from scipy.optimize import OptimizeResult

from lvmfast._interrupt import deferred_interrupt
from lvmfast._validation import check_choice, check_integer, check_rng
from lvmfast.bayesopt import _registry
from lvmfast.bayesopt._analytic import LowerConfidenceBound
from lvmfast.bayesopt._design import DESIGNS, draw_design, draw_from
from lvmfast.bayesopt._optimizer_file import load_optimizer, save_optimizer
from lvmfast.bayesopt._records import Records, as_value, observation_of
from lvmfast.bayesopt._regression import Regression, believing, check_template
from lvmfast.bayesopt._space import Space
from lvmfast.exceptions import InfeasibleError, SpaceExhaustedError
from lvmfast.models import GPR

__all__ = ["Optimizer"]

GRID_LIMIT = 1000  # a space of no more points is searched point by point


class Optimizer:
    r"""Minimises a function that is evaluated elsewhere: :meth:`ask` says where, :meth:`tell` takes what came out.

    ``x_{n+1} = argmax_x a(x; f | y_1, ..., y_n)``

    with a an acquisition function of a Gaussian process in the unit cube (see :class:`Space`), whose outputs are the
    observations with mean 0 and standard deviation 1. Points that were asked and not yet told are pending. For the
    acquisition function the process takes its own mean there, so that they are not asked again (the kriging believer);
    so it does at points that failed.

    Parameters
    ----------
    dimensions : sequence or Space
        As for :class:`Space`.
    acquisition : str or callable, default="kg"
        "kg" (:class:`KnowledgeGradient`), "kg-discrete" (:class:`DiscreteKnowledgeGradient`), "ei"
        (:class:`ExpectedImprovement`), "log-ei" (:class:`LogExpectedImprovement`), "pi"
        (:class:`ProbabilityOfImprovement`), "lcb" (:class:`LowerConfidenceBound`), "thompson"
        (:class:`ThompsonSampling`), "qei" (:class:`MonteCarloExpectedImprovement`), or
        ``acquisition(model, bounds, **options)``, which returns an :class:`Acquisition`.
    acquisition_options : dict, optional
        What it is made with, in the units of the model. Two are not passed on: ``"maximize"``, a dict of options of
        :func:`maximize`, and ``"joint"``: with True, ``ask(n_points)`` maximises one function of all n points instead
        of one after the other; "kg", "qei" and "thompson" can.
    n_initial_points : int, optional
        The model takes over once so many points were told or are pending, whatever their origin, and two of them have
        finite values. Default: ``max(5, 2 * (d + 1))`` for d dimensions.
    initial_points : {"sobol", "random", "latin"}, default="sobol"
        Scrambled Sobol' points, independent ones or a Latin hypercube.
    model : lvmfast.GPR, optional
        Cloned for every fit; its kernel sees the columns of the cube. Default: RBF with a lengthscale for each column
        and log-normal priors, a constant mean and a learned noise variance. For rougher functions pass a Matérn kernel.
    refit : "auto" or int, default="auto"
        Parameters are fitted, from the last ones, after so many more observations; "auto": after each one up to 32,
        then after a tenth more. Every fifth fit starts afresh too. In between observations are added to the factor in
        O(n^2).
    constraint : callable, optional
        ``constraint(point)`` is true, or a number >= 0, where the function may be evaluated. Other points are never
        asked.
    on_error : {"skip", "raise"}, default="skip"
        What :meth:`tell` does with NaN and infinity: records a failure, which the model never sees, or raises.
    noise : float >= 0, optional
        Known variance of an observation; 0 for a function without noise. Default: learned.
    random_state : int, numpy.random.Generator or None

    Attributes
    ----------
    space : Space
    model : lvmfast.GPR or None
        As last brought up to date.
    pending : list
        Points asked and not told.
    x_iters : list
        Points told.
    func_vals : array of shape (n,)
        What was told, NaN for failures.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Notes
    -----
    A finite space of at most 1,000 points is searched point by point. In a finite space no point is asked twice while
    another is left, unless ``noise`` is given and positive; once all are told, points repeat, or, with ``noise=0``,
    :meth:`ask` raises :class:`~lvmfast.exceptions.SpaceExhaustedError`. Integers and categories are relaxed to the
    cube for the search and rounded. In other spaces a point that is pending, or with ``noise=0`` was told, is not asked
    again either; where the acquisition function is highest there, a random point takes its place.

    Copies, pickles and saved files go on with the same points, bit for bit.

    References
    ----------
    Frazier (2018), "A tutorial on Bayesian optimization", algorithm 1. Ginsbourger, Le Riche & Carraro (2010), "Kriging
    is well-suited to parallelize optimization", algorithm 1.

    Examples
    --------
    >>> from lvmfast.bayesopt import Optimizer
    >>> optimizer = Optimizer([(-2.0, 2.0)], acquisition="log-ei", random_state=0)
    >>> for _ in range(12):
    ...     x = optimizer.ask()
    ...     result = optimizer.tell(x, (x[0] - 0.5) ** 2)
    >>> bool(abs(result.x_model[0] - 0.5) < 0.01)
    True
    """

    def __init__(
        self,
        dimensions,
        *,
        acquisition="kg",
        acquisition_options=None,
        n_initial_points=None,
        initial_points="sobol",
        model=None,
        refit="auto",
        constraint=None,
        on_error="skip",
        noise=None,
        random_state=None,
    ):
        self.space = Space(dimensions)
        self.acquisition = _registry.check_acquisition(acquisition)
        self.acquisition_options = _registry.check_options(acquisition_options, acquisition)
        if n_initial_points is None:
            n_initial_points = max(5, 2 * (len(self.space) + 1))
        self.n_initial_points = check_integer(n_initial_points, "n_initial_points", 1)
        check_choice(initial_points, "initial_points", DESIGNS)
        self.initial_points = initial_points
        if constraint is not None and not callable(constraint):
            raise TypeError(f"constraint must be callable, got {constraint!r}")
        self.constraint = constraint
        check_choice(on_error, "on_error", ("skip", "raise"))
        self.on_error = on_error
        self._regression = Regression(check_template(model, self.space), self.space.n_columns, refit, noise)
        _registry.try_options(acquisition, self.acquisition_options, self._regression.tried(), self.space.bounds)
        self._rng = _own_generator(random_state)
        self._records = Records()
        self._pending: list[list] = []
        self._enqueued: list[list] = []
        self._design: list[list] = []
        self._grid: list[list] | None = None
        self._lowest: _Lowest | None = None

    @property
    def model(self):
        """The regression as last brought up to date, None before the first."""
        return self._regression.model

    @property
    def pending(self) -> list[list]:
        """Points asked and not told, in the order in which they were asked."""
        return [list(point) for point in self._pending]

    @property
    def x_iters(self) -> list[list]:
        """Points told."""
        return self._records.points

    @property
    def func_vals(self) -> np.ndarray:
        """What was told, shape (n,), NaN for failures."""
        return self._records.values

    def ask(self, n_points=None) -> list:
        """Where to evaluate the function next.

        Parameters
        ----------
        n_points : int, optional
            How many points: each is chosen with those before it pending. They differ, unless ``noise`` is given and
            positive.

        Returns
        -------
        point : list
            Its values, without ``n_points``.
        points : list of lists
            With it.

        Raises
        ------
        InfeasibleError
            If no point satisfies the constraint.
        SpaceExhaustedError
            With ``noise=0``, if no point of a finite space is left.
        """
        count = 1 if n_points is None else check_integer(n_points, "n_points", 1)
        before = self._pending, self._enqueued, self._design, self._rng.bit_generator.state
        try:
            points = self._choose(count)
        except BaseException:
            self._pending, self._enqueued, self._design, self._rng.bit_generator.state = before
            raise
        return points[0] if n_points is None else points

    def tell(self, x, y) -> OptimizeResult:
        """Take what the function gave.

        Parameters
        ----------
        x : list, or list of lists
            A point, or several. They need not have been asked.
        y : float, or sequence of floats
            NaN and infinity are failures (see ``on_error``).

        Returns
        -------
        result : scipy.optimize.OptimizeResult
            As of :meth:`result`.

        Raises
        ------
        ValueError, TypeError
            If a point is none of the space, or a value no number; nothing is taken then.
        """
        if np.ndim(y) == 0:
            x, y = [x], [y]
        if isinstance(x, str) or not hasattr(x, "__len__") or len(x) != len(y):
            raise ValueError(f"x must be a list of as many points as y has values ({len(y)}), got {x!r}")
        points = [self.space.check(point, f"x[{i}]") for i, point in enumerate(x)]
        values = [as_value(value, f"y[{i}]") for i, value in enumerate(y)]
        for point, value in zip(points, values, strict=True):
            if self.on_error == "raise" and not math.isfinite(value):
                raise ValueError(f"y must be finite with on_error='raise', got {value} at {point}")
        self._record([observation_of(point, value) for point, value in zip(points, values, strict=True)])
        return self.result()

    def forget(self, x) -> None:
        """Drop a pending point that will not be told.

        Raises
        ------
        ValueError
            If it is not pending.
        """
        point = self.space.check(x, "x")
        if point not in self._pending:
            raise ValueError(f"x must be a pending point, got {point}; pending are {self._pending}")
        self._pending = _without(self._pending, [point])

    def enqueue(self, points) -> None:
        """Let the next calls of :meth:`ask` answer these points, a list of lists, in this order, before all others."""
        points = [self.space.check(point, f"points[{i}]") for i, point in enumerate(points)]
        for point in points:
            if not self._is_allowed(point):
                raise ValueError(f"points must satisfy the constraint, got {point}")
        self._enqueued = [*self._enqueued, *points]

    def result(self) -> OptimizeResult:
        """What is known.

        Returns
        -------
        result : scipy.optimize.OptimizeResult
            x, fun : list and float
                The best observation; None and NaN where there is none.
            x_model, fun_model : list and float
                The minimum of the posterior mean over the space, among points that satisfy the constraint, and the
                mean there. This is what the knowledge gradient recommends; under noise it is the better answer, as the
                lowest observation is low by luck too. None and NaN before there is a model.
            x_iters, func_vals : list, and array of shape (n,)
                All observations; NaN for failures.
            errors : list of (int, str)
                Index and cause of each failure.
            nfev : int
                How many observations.
            models : list
                The last model, if there is one, of standardised outputs in the unit cube.
            y_location, y_scale : float
                ``y_location + y_scale * z`` are the units of the observations for outputs z of that model. NaN before.
            space : Space
            success, message
                Whether anything finite was observed.
            random_state : numpy.random.Generator
                As it is now; a copy.
        """
        if len(self._records) >= self.n_initial_points:
            self._update()
        return self._summary()

    def save(self, path) -> None:
        """Write all there is to one ``.npz`` file (no pickle), whole or not at all.

        Callables are not part of it. Options of the acquisition function must be numbers, strings, lists or arrays.
        """
        save_optimizer(self, path)

    @classmethod
    def load(cls, path, *, acquisition=None, constraint=None) -> Optimizer:
        """The optimizer that :meth:`save` wrote; it goes on with the same points.

        Parameters
        ----------
        path : path
        acquisition, constraint : callable, optional
            Where there was one, the same again.

        Raises
        ------
        ValueError
            If the file is something else, or a callable is missing.
        """
        return load_optimizer(cls, path, acquisition, constraint)

    # What is known.

    def _record(self, observations) -> None:
        points = [list(observation.point) for observation in observations]
        with deferred_interrupt():
            self._records = self._records.extended(observations)
            unasked = _without(points, self._pending)
            self._pending = _without(self._pending, points)
            self._enqueued = _without(self._enqueued, unasked)

    def _update(self) -> None:
        """Bring the model up to date, if two observations are finite."""
        good = self._records.good
        if len(good) >= 2 and len(good) > self._regression.n_seen:
            U = self.space.transform([observation.point for observation in good])
            self._regression.update(U, np.array([observation.value for observation in good]))

    def _summary(self) -> OptimizeResult:
        best, lowest = self._records.best, self._lowest_mean()
        n_failed = len(self._records.failed)
        fit = self._regression.fit
        location, scale = (math.nan, math.nan) if fit is None else (float(fit.outputs.restore(0.0)), fit.outputs.scale)
        return OptimizeResult(
            x=list(best.point) if best else None,
            fun=best.value if best else math.nan,
            x_model=list(lowest.point) if lowest else None,
            fun_model=lowest.value if lowest else math.nan,
            x_iters=self.x_iters,
            func_vals=self.func_vals,
            errors=self._records.errors,
            nfev=len(self._records),
            models=[] if self.model is None else [self.model],
            y_location=location,
            y_scale=scale,
            space=self.space,
            success=best is not None,
            message=f"{len(self._records)} observations" + (f", {n_failed} failed" if n_failed else ""),
            random_state=copy.deepcopy(self._rng),
        )

    def _lowest_mean(self) -> _Lowest | None:
        """The minimum of the posterior mean, found once for each model."""
        model = self.model
        if model is None or (self._lowest is not None and self._lowest.model is model):
            return self._lowest
        mean = LowerConfidenceBound(model, self.space.bounds, kappa=0.0)
        if self._has_grid:
            points = self._grid_points()
            point = points[int(np.argmax(mean(self.space.transform(points))))]
        else:
            maximum = mean.maximize(
                x0=model.X_train_, feasible=self._constrained(), project=self._project, n_starts=4, random_state=0
            )
            point = self.space.inverse_transform(maximum.x[None])[0]
        place = self.space.transform([point])
        value = float(self._regression.fit.outputs.restore(model.predict(place)[0]))
        self._lowest = _Lowest(model, point, place, value)
        return self._lowest

    # What comes next.

    def _choose(self, count: int) -> list[list]:
        points: list[list] = []
        while len(points) < count:
            if self._enqueued:
                new, self._enqueued = self._enqueued[:1], self._enqueued[1:]
            elif len(self._records) + len(self._pending) < self.n_initial_points or len(self._records.good) < 2:
                new = [self._next_of_design()]
            else:
                self._update()
                joint = self.acquisition_options.get("joint", False)
                new = self._maximizer(count - len(points) if joint else 1)
            self._pending = [*self._pending, *new]
            points += new
        return [list(point) for point in points]

    def _next_of_design(self) -> list:
        while True:
            if not self._design:
                self._design = self._draw_design()
            point, self._design = self._design[0], self._design[1:]
            if self._acceptance()(point):
                return point

    def _draw_design(self) -> list[list]:
        n, kind = self.n_initial_points, self.initial_points
        if self._has_grid:
            return draw_from(self.space, self._open_points(), n, kind, self._rng)
        return draw_design(self.space, n, kind, self._rng, self._acceptance())

    def _maximizer(self, n_points: int) -> list[list]:
        """Points of the best candidate, given that nothing new is learned where outcomes are missing."""
        model = self._regression.model
        known = self._records.failed + self._pending
        model = believing(model, self.space.transform(known))
        seed = int(self._rng.integers(2**31))
        points = self._open_points() if self._has_grid else []
        if self._has_grid and not self._may_repeat:
            n_points = min(n_points, len(points))
        options = self.acquisition_options
        function = _registry.build(self.acquisition, model, self.space.bounds, options, n_points, seed)
        if n_points == 1 and self._has_grid:
            values = function(self.space.transform(points))
            return [points[int(np.argmax(np.where(np.isnan(values), -np.inf, values)))]]
        search = functools.partial(
            function.maximize,
            x0=self._first_candidates(n_points),
            project=self._project,
            random_state=seed,
            **options.get("maximize", {}),
        )
        try:
            maximum, again = search(feasible=self._feasible()), self._may_repeat
        except InfeasibleError as error:
            if not self._is_finite or self._may_repeat:
                raise
            if self._regression.noise == 0:
                raise SpaceExhaustedError(f"no other point was found to ask, and noise is 0 ({error})") from None
            maximum, again = search(feasible=self._constrained()), True
        chosen = self.space.inverse_transform(maximum.x.reshape(n_points, -1))
        if again:
            return chosen
        taken = self._taken()
        new = {tuple(point): point for point in chosen if tuple(point) not in taken}
        return list(new.values()) or draw_design(self.space, 1, "random", self._rng, self._acceptance())

    def _first_candidates(self, n_points: int) -> np.ndarray | None:
        """Where the mean is lowest and, as feasible points may be rare under a constraint, all that is known."""
        places = self._lowest_mean().place
        if self.constraint is not None:
            places = np.vstack([places, self.model.X_train_])
        if n_points == 1:
            return places
        return places[:n_points][None] if len(places) >= n_points else None

    # What may be asked.

    @property
    def _is_finite(self) -> bool:
        return math.isfinite(self.space.n_values)

    @property
    def _has_grid(self) -> bool:
        return self.space.n_values <= GRID_LIMIT

    @property
    def _may_repeat(self) -> bool:
        """Whether a point may be asked again while others are left."""
        return self._regression.noise is not None and self._regression.noise > 0

    @property
    def _project(self):
        return None if self.space.is_real else self.space.project

    def _grid_points(self) -> list[list]:
        """All points of a small space that satisfy the constraint."""
        if self._grid is None:
            self._grid = [point for point in self.space.grid() if self._is_allowed(point)]
        if not self._grid:
            raise ValueError(f"constraint must hold somewhere, got none of all {self.space.n_values} points")
        return self._grid

    def _open_points(self) -> list[list]:
        """Those of them that may be asked."""
        grid = self._grid_points()
        if self._may_repeat:
            return grid
        seen = self._seen()
        left = [point for point in grid if tuple(point) not in seen]
        if not left and self._regression.noise == 0:
            raise SpaceExhaustedError(
                f"no point is left to ask: all {len(grid)} were told or are pending, and noise is 0; without noise=0 "
                "they are asked again"
            )
        return left or grid

    def _seen(self) -> set[tuple]:
        return {tuple(point) for point in self._records.points + self._pending}

    def _taken(self) -> set[tuple]:
        """Points that may not be asked now: those told too, where nothing new would come out or others are left."""
        if self._may_repeat:
            return set()
        if self._is_finite or self._regression.noise == 0:
            return self._seen()
        return {tuple(point) for point in self._pending}

    def _acceptance(self):
        """A function that says whether a point may be asked now."""
        if self._has_grid:
            left = {tuple(point) for point in self._open_points()}
            return lambda point: tuple(point) in left
        taken = self._taken()
        return lambda point: tuple(point) not in taken and self._is_allowed(point)

    def _feasible(self):
        """The same of places (n, n_columns), or None where all may be.

        A single place is no loss of a space that is not finite, and a search that keeps off it ends beside it.
        """
        if self._is_finite and not self._may_repeat:
            return self._each(self._acceptance())
        return self._constrained()

    def _constrained(self):
        return None if self.constraint is None else self._each(self._is_allowed)

    def _each(self, accept):
        return lambda U: np.array([accept(point) for point in self.space.inverse_transform(U)], dtype=bool)

    def _is_allowed(self, point: list) -> bool:
        if self.constraint is None:
            return True
        answer = self.constraint(list(point))
        if isinstance(answer, (bool, np.bool_)):
            return bool(answer)
        return as_value(answer, f"constraint({point})") >= 0


@dataclasses.dataclass(frozen=True)
class _Lowest:
    """Where the mean of a model is lowest, and its value in the units of the observations."""

    model: GPR
    point: list
    place: np.ndarray
    value: float


def _own_generator(random_state) -> np.random.Generator:
    """A generator that nobody else draws from."""
    rng = check_rng(random_state)
    if rng is not random_state:
        return rng
    draw = rng.integers if isinstance(rng, np.random.Generator) else rng.randint
    return np.random.default_rng(int(draw(2**31 - 1)))


def _without(points: list[list], gone: list[list]) -> list[list]:
    """``points`` less each of ``gone`` once."""
    left = list(points)
    for point in gone:
        if point in left:
            left.remove(point)
    return left
