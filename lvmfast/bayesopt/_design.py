"""Initial designs: points that fill a space before there is a model of the function."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import qmc

from lvmfast.bayesopt._space import Space
from lvmfast.exceptions import InfeasibleError

__all__ = ["DESIGNS", "draw_design", "draw_from"]

MAX_DRAWS = 20_000  # before a constraint is said to leave nothing


def _seed(rng) -> int:
    """A number, as SciPy's engines take children of a generator, which are no part of its saved state."""
    return int(rng.integers(2**31))


def _sobol(space: Space, n: int, rng) -> np.ndarray:
    return qmc.Sobol(len(space), scramble=True, seed=_seed(rng)).random_base2(math.ceil(math.log2(n)))


def _latin(space: Space, n: int, rng) -> np.ndarray:
    return qmc.LatinHypercube(len(space), seed=_seed(rng)).random(n)


def _random(space: Space, n: int, rng) -> np.ndarray:
    return rng.uniform(size=(n, len(space)))


DESIGNS = {"sobol": _sobol, "random": _random, "latin": _latin}


def draw_design(space: Space, n: int, kind: str, rng, accept) -> list[list]:
    """At most n different points for which ``accept(point)`` is true, at least one.

    A design of n points is drawn, and again a larger one for as long as too few were accepted: a scrambled Sobol'
    sequence (Owen 1998), a Latin hypercube (McKay et al. 1979) or independent uniform points.

    Raises
    ------
    ValueError
        If none of 20,000 points was accepted.

    References
    ----------
    Owen (1998), "Scrambling Sobol' and Niederreiter-Xing points", Journal of Complexity 14. McKay, Beckman & Conover
    (1979), "A comparison of three methods for selecting values of input variables in the analysis of output from a
    computer code", Technometrics 21.
    """
    chosen: dict[tuple, list] = {}
    drawn, size = 0, n
    while len(chosen) < n and drawn < MAX_DRAWS:
        points = space.quantile(DESIGNS[kind](space, size, rng))
        drawn += len(points)
        for point in points:
            if len(chosen) == n:
                break
            if tuple(point) not in chosen and accept(point):
                chosen[tuple(point)] = point
        size = min(2 * size, MAX_DRAWS)
    if not chosen:
        raise InfeasibleError(
            f"constraint must hold somewhere in the space, got none of {drawn} points that satisfy it; narrow the "
            "dimensions to where it holds"
        )
    return list(chosen.values())


def draw_from(space: Space, points: list[list], n: int, kind: str, rng) -> list[list]:
    """At most n of a list of different points: the nearest to each of a design that was not taken yet."""
    U = space.transform(points)
    targets = space.transform(space.quantile(DESIGNS[kind](space, n, rng)))
    chosen: list[int] = []
    for target in targets[: min(n, len(points))]:
        distance = np.square(U - target).sum(axis=1)
        distance[chosen] = np.inf
        chosen.append(int(np.argmin(distance)))
    return [points[i] for i in chosen]
