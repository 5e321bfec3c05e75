"""Learning rates as functions of the step, 0 at first; with Keras's formulas."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from lvmfast._validation import check_integer, check_positive

__all__ = ["CosineDecay", "ExponentialDecay", "PiecewiseConstant"]


@dataclasses.dataclass(frozen=True)
class CosineDecay:
    """``rate = initial ((1 - alpha) (1 + cos(pi step / n_steps)) / 2 + alpha)``, which is kept from ``n_steps`` on.

    Parameters
    ----------
    initial : float > 0
    n_steps : int >= 1
    alpha : float >= 0, default=0
        The last rate, relative to the first.

    Examples
    --------
    >>> from lvmfast import nn
    >>> rate = nn.CosineDecay(0.1, n_steps=100)
    >>> [round(rate(step), 6) for step in (0, 50, 100)]
    [0.1, 0.05, 0.0]
    """

    initial: float
    n_steps: int
    alpha: float = 0.0

    def __post_init__(self):
        check_positive(self.initial, "initial")
        check_integer(self.n_steps, "n_steps", 1)
        check_positive(self.alpha, "alpha", zero=True)

    def __call__(self, step: int) -> float:
        half = 0.5 * (1.0 + math.cos(math.pi * min(step, self.n_steps) / self.n_steps))
        return self.initial * ((1.0 - self.alpha) * half + self.alpha)


@dataclasses.dataclass(frozen=True)
class ExponentialDecay:
    """``rate = initial * factor**(step / n_steps)``, the exponent rounded down if ``staircase``.

    Parameters
    ----------
    initial, factor : float > 0
    n_steps : int >= 1
    staircase : bool, default=False

    Examples
    --------
    >>> from lvmfast import nn
    >>> rate = nn.ExponentialDecay(0.1, factor=0.5, n_steps=10)
    >>> rate(0), rate(10), rate(20)
    (0.1, 0.05, 0.025)
    """

    initial: float
    factor: float
    n_steps: int
    staircase: bool = False

    def __post_init__(self):
        check_positive(self.initial, "initial")
        check_positive(self.factor, "factor")
        check_integer(self.n_steps, "n_steps", 1)

    def __call__(self, step: int) -> float:
        return self.initial * self.factor ** (step // self.n_steps if self.staircase else step / self.n_steps)


@dataclasses.dataclass(frozen=True)
class PiecewiseConstant:
    """``rate = values[k]``, ``k`` the number of ``boundaries`` that are below ``step``.

    Parameters
    ----------
    boundaries : sequence of int
        Increasing.
    values : sequence of float > 0
        One more.

    Examples
    --------
    >>> from lvmfast import nn
    >>> rate = nn.PiecewiseConstant(boundaries=(100,), values=(0.1, 0.01))
    >>> rate(0), rate(100), rate(101)
    (0.1, 0.1, 0.01)
    """

    boundaries: tuple[int, ...]
    values: tuple[float, ...]

    def __post_init__(self):
        boundaries = tuple(check_integer(step, "boundaries", 0) for step in self.boundaries)
        values = tuple(check_positive(value, "values") for value in self.values)
        if len(values) != len(boundaries) + 1 or any(np.diff(boundaries) <= 0):
            raise ValueError(
                "boundaries must increase, and values be one more than them, got "
                f"boundaries={self.boundaries!r} and values={self.values!r}"
            )
        object.__setattr__(self, "boundaries", boundaries)
        object.__setattr__(self, "values", values)

    def __call__(self, step: int) -> float:
        return self.values[int(np.searchsorted(self.boundaries, step))]
