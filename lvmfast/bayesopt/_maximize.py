"""The best candidate of an acquisition function."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast._backend import to_numpy
from lvmfast._validation import as_float_array, check_integer, check_positive, check_rng
from lvmfast.bayesopt._acquisition import Acquisition
from lvmfast.bayesopt._base_samples import sobol_points
from lvmfast.bayesopt._rows import minimize_rows
from lvmfast.exceptions import InfeasibleError

__all__ = ["Maximum", "maximize"]

ROUNDS, BISECTIONS = 5, 40
BEST_POINTS = 5  # training inputs around which candidates are drawn
MOST_NATS = 10.0
GREED = 5.0  # how much likelier the best candidate becomes a start than that at the ninth decile, as a logarithm


@dataclasses.dataclass
class Maximum:
    """x (d,), or (q, d) where a candidate has several points; its value; how many candidates were evaluated."""

    x: np.ndarray
    value: float
    n_evaluations: int


def maximize(
    acquisition,
    *,
    n_candidates=512,
    n_starts=8,
    x0=None,
    max_evaluations=100,
    tol=1e-6,
    feasible=None,
    project=None,
    random_state=None,
) -> Maximum:
    """``x* = argmax a(x)`` within the bounds: the best end of climbs from the best of many candidates.

    Candidates are scrambled Sobol' points, a quarter of them replaced by small steps from the training inputs of the
    lowest posterior means, and ``x0``. Starts are the best of them and others drawn with probabilities that rise with
    the value and the distance from those drawn already. The answer is never worse than a start; where an acquisition
    function has a cheaper ``screen`` the candidates are scored by it.

    Parameters
    ----------
    acquisition : Acquisition
    n_candidates : int, default=512
    n_starts : int, default=8
        Climbs, which are made together.
    x0 : array of shape (d,), (k, d) or (k, q, d), optional
        Candidates that are scored too.
    max_evaluations : int, default=100
        Of one climb.
    tol : float, default=1e-6
        A climb ends when no component of its gradient, times the width of the bounds, is above ``tol`` times the spread
        of the best candidates' values (``tol`` nats where a logarithm is climbed).
    feasible : callable, optional
        ``feasible(X)`` answers True for rows of X (m, d) that may be returned, shape (m,). A climb that ends elsewhere
        goes back along the line to its start until it is feasible.
    project : callable, optional
        ``project(X)`` gives the points (m, d) to which those of X are rounded before they can be evaluated. Candidates
        and ends are rounded; the value is that of the rounded point.
    random_state : int, numpy.random.Generator or None

    Returns
    -------
    maximum : Maximum

    Raises
    ------
    TypeError, ValueError
        For bad arguments.
    InfeasibleError
        If no candidate is feasible.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.linspace(-1, 2, 7)[:, None]
    >>> gp = lvm.GPR(noise_variance=0.01, learn_noise=False).fit(X, np.sin(3 * X[:, 0]))
    >>> bound = lvm.bayesopt.LowerConfidenceBound(gp, [(-1.0, 2.0)], kappa=0.0)
    >>> found = lvm.bayesopt.maximize(bound, random_state=0)
    >>> bool(np.allclose(found.value, -gp.predict(found.x[None])))
    True
    """
    if not isinstance(acquisition, Acquisition):
        raise TypeError(f"acquisition must be an acquisition function of lvmfast.bayesopt, got {acquisition!r}")
    settings = {
        "n_candidates": check_integer(n_candidates, "n_candidates", 1),
        "n_starts": check_integer(n_starts, "n_starts", 1),
        "max_evaluations": check_integer(max_evaluations, "max_evaluations", 1),
        "tol": check_positive(tol, "tol"),
    }
    for name, function in (("feasible", feasible), ("project", project)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be callable, got {function!r}")
    rng, given = check_rng(random_state), _check_x0(x0, acquisition)
    parts = acquisition.separate() if hasattr(acquisition, "separate") else [acquisition]
    ends = []
    with acquisition.surrogate.blas_threads():
        for k, part in enumerate(parts):
            search = _Search(part, feasible, project, rng)
            ends.append(search.run(given if len(parts) == 1 else given[:, k : k + 1], **settings))
    x = np.concatenate([end.x for end in ends])
    return Maximum(
        x[0] if acquisition.q == 1 else x,
        float(sum(end.value for end in ends)),
        sum(end.n_evaluations for end in ends),
    )


class _Search:
    """One maximisation; candidates have shape (m, q, d) throughout."""

    def __init__(self, acquisition, feasible, project, rng):
        self.acquisition, self.rng = acquisition, rng
        self.feasible, self.project = feasible, project
        self.lower, self.upper = acquisition.bounds.T
        self.width = self.upper - self.lower
        self.logarithmic = type(acquisition)._objective is not Acquisition._objective
        self.n_evaluations = 0

    def run(self, given, n_candidates, n_starts, max_evaluations, tol) -> Maximum:
        raw = self.candidates(n_candidates, given, n_starts)
        scores = self.scores(raw)
        chosen = self.choose(raw, scores, n_starts)
        starts, values = raw[chosen], scores[chosen]
        if hasattr(self.acquisition, "screen"):
            values = self.evaluate(self.acquisition._objective_value, starts)
        pool, objective = [starts], [values]
        finite = np.isfinite(values)
        if finite.any():
            scale = 1.0 if self.logarithmic else self.spread_of(scores)
            ends, end_values = self.climb(starts[finite], scale, max_evaluations, tol)
            pool.append(ends)
            objective.append(end_values)
        pool, objective = np.concatenate(pool), np.concatenate(objective)
        own = self.evaluate(self.acquisition._value, pool) if self.logarithmic else objective
        best = np.lexsort((objective, own))[-1]
        return Maximum(pool[best], float(own[best]), self.n_evaluations)

    # Candidates.

    def candidates(self, n, given, enough) -> np.ndarray:
        """Feasible candidates, rounded; more are drawn while too few are feasible."""
        X = np.concatenate([given, self.around_best(self.draw(n), n // 4)])
        X, tried = self.admissible(X), len(X)
        for k in range(1, ROUNDS + 1):
            if len(X) >= enough or self.feasible is None:
                break
            more = self.around_best(self.draw(n << k), (n << k) // 4)
            X, tried = np.concatenate([X, self.admissible(more)]), tried + len(more)
        if not len(X):
            raise InfeasibleError(
                f"feasible must hold somewhere within the bounds, got False for all of {tried} candidates; pass a "
                "feasible x0, or bounds that fit the constraint more closely"
            )
        return X

    def draw(self, n) -> np.ndarray:
        """Scrambled Sobol' points of all q d coordinates."""
        q, d = self.acquisition.q, len(self.lower)
        unit = sobol_points(n, q * d, self.rng)
        return self.lower + self.width * unit.reshape(n, q, d)

    def around_best(self, X, n) -> np.ndarray:
        """X with about half of the points of its first n candidates near training inputs of the lowest means."""
        q, d = X.shape[1:]
        surrogate = self.acquisition.surrogate
        order = np.argsort(surrogate.training_means, kind="stable")[:BEST_POINTS]
        centres = surrogate.posterior.X[order[self.rng.choice(len(order), (n, q))]]
        steps = 10.0 ** -self.rng.uniform(0.5, 3.5, (n, q, 1)) * self.rng.standard_normal((n, q, d))
        near = np.clip(centres + self.width * steps, self.lower, self.upper)
        moved = self.rng.uniform(size=(n, q, 1)) < (0.5 if q > 1 else 1.0)
        X[:n] = np.where(moved, near, X[:n])
        return X

    def admissible(self, X) -> np.ndarray:
        """The feasible candidates among X, rounded, each once."""
        if self.project is not None:
            X = self.rounded(X)
            X = X[np.sort(np.unique(X.reshape(len(X), -1), axis=0, return_index=True)[1])]
        return X[self.allowed(X)]

    def rounded(self, X) -> np.ndarray:
        if self.project is None:
            return X
        points = X.reshape(-1, X.shape[2])
        answer = as_float_array(self.project(points.copy()), "project(X)").astype(np.float64)
        if answer.shape != points.shape:
            raise ValueError(f"project must return points of shape {points.shape}, got {answer.shape}")
        if not np.isfinite(answer).all():
            raise ValueError("project must return finite points, got NaN or infinity")
        return answer.reshape(X.shape)

    def allowed(self, X) -> np.ndarray:
        """Whether all points of each candidate are feasible, shape (m,)."""
        if self.feasible is None:
            return np.ones(len(X), bool)
        points = X.reshape(-1, X.shape[2])
        answer = np.asarray(self.feasible(points.copy()))
        if answer.shape != (len(points),) or answer.dtype.kind != "b":
            raise ValueError(
                f"feasible must return {len(points)} booleans for X of shape {points.shape}, got {answer.dtype} "
                f"{answer.shape}"
            )
        return answer.reshape(X.shape[:2]).all(axis=1)

    # Values.

    def evaluate(self, function, X) -> np.ndarray:
        self.n_evaluations += len(X)
        values = function(X)
        return np.where(np.isnan(values), -np.inf, values)

    def scores(self, X) -> np.ndarray:
        screen = getattr(self.acquisition, "screen", self.acquisition._objective_value)
        return self.evaluate(screen, X)

    def choose(self, X, scores, n) -> list[int]:
        """The best, then draws without replacement: likelier where the score is high and earlier ones are far."""
        chosen = [int(np.argmax(scores))]
        weights = np.zeros(len(scores))
        finite = np.isfinite(scores)
        weights[finite] = np.exp(GREED * (scores[finite] - scores[chosen[0]]) / self.spread_of(scores))
        distance = np.full(len(X), np.inf)
        scaled = (X / self.width).reshape(len(X), -1)
        while len(chosen) < n:
            distance = np.minimum(distance, np.square(scaled - scaled[chosen[-1]]).sum(axis=1))
            odds = weights * distance
            total = odds.sum()
            if not total > 0:
                break
            chosen.append(int(self.rng.choice(len(X), p=odds / total)))
        return chosen

    def spread_of(self, scores) -> float:
        """The best score less the ninth decile, of logarithms 10 at most; where it is 0, the size of the best, or 1."""
        finite = scores[np.isfinite(scores)]
        if not len(finite):
            return 1.0
        best = finite.max()
        spread = float(best - np.quantile(finite, 0.9)) or float(abs(best)) or 1.0
        return min(spread, MOST_NATS) if self.logarithmic else spread

    def climb(self, starts, scale, max_evaluations, tol) -> tuple[np.ndarray, np.ndarray]:
        """From every start to an end that can be evaluated, and the objective there."""
        q, d = starts.shape[1:]

        def falling(x, rows):
            value, gradient = self.acquisition._objective(x.reshape(-1, q, d))
            return -value / scale, -gradient.reshape(len(x), -1) / scale

        result = minimize_rows(
            falling,
            starts.reshape(-1, q * d),
            np.tile(self.lower, q),
            np.tile(self.upper, q),
            tol=tol,
            max_evaluations=max_evaluations,
        )
        self.n_evaluations += result.n_evaluations
        reached = result.x.reshape(starts.shape)
        ends = self.brought_back(starts, np.clip(reached, self.lower, self.upper))
        values = np.where(np.isnan(result.values), -np.inf, -scale * result.values)
        moved = (ends != reached).any(axis=(1, 2))
        if moved.any():
            values[moved] = self.evaluate(self.acquisition._objective_value, ends[moved])
        return ends, values

    def brought_back(self, starts, ends) -> np.ndarray:
        """Rounded ends; an infeasible one is replaced by the last feasible point found between it and its start."""
        good = self.rounded(ends)
        lost = np.flatnonzero(~self.allowed(good))
        if not len(lost):
            return good
        begin, step = starts[lost], ends[lost] - starts[lost]
        low, high = np.zeros((len(lost), 1, 1)), np.ones((len(lost), 1, 1))
        kept = begin.copy()
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            tried = self.rounded(begin + middle * step)
            inside = self.allowed(tried)[:, None, None]
            kept = np.where(inside, tried, kept)
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        good[lost] = kept
        return good


def _check_x0(x0, acquisition) -> np.ndarray:
    """Candidates (k, q, d), perhaps none, within the bounds."""
    q, d = acquisition.q, len(acquisition.bounds)
    if x0 is None:
        return np.empty((0, q, d))
    array = given = as_float_array(to_numpy(x0), "x0").astype(np.float64)
    if array.ndim == (1 if q == 1 else 2):
        array = array[None]
    if array.ndim == 2 and q == 1:
        array = array[:, None]
    if array.ndim != 3 or array.shape[1:] != (q, d):
        rule = f"({d},) or (k, {d})" if q == 1 else f"({q}, {d}) or (k, {q}, {d})"
        raise ValueError(f"x0 must have shape {rule}, got {given.shape}")
    lower, upper = acquisition.bounds.T
    inside = ((array >= lower) & (array <= upper)).all(axis=2)
    if not inside.all():
        row = int(np.argmin(inside.all(axis=1)))
        got = (array[row, 0] if q == 1 else array[row]).tolist()
        raise ValueError(f"x0 must be finite and within the bounds, got {got} at row {row}")
    return array
