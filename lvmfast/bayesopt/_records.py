"""What has been observed."""

from __future__ import annotations

import dataclasses
import math
import numbers

import numpy as np

__all__ = ["Observation", "Records", "as_value"]


@dataclasses.dataclass(frozen=True)
class Observation:
    """A point, what was observed there (NaN where that failed), and why it failed."""

    point: tuple
    value: float
    error: str | None = None


class Records:
    """Observations in the order in which they were told."""

    def __init__(self, observations=()):
        self.observations: tuple[Observation, ...] = tuple(observations)

    def __len__(self) -> int:
        return len(self.observations)

    def extended(self, observations) -> Records:
        """With more of them; this one stays as it is."""
        return Records((*self.observations, *observations))

    @property
    def points(self) -> list[list]:
        """All of them."""
        return [list(observation.point) for observation in self.observations]

    @property
    def values(self) -> np.ndarray:
        """Shape (n,), NaN for failures."""
        return np.array([observation.value for observation in self.observations])

    @property
    def good(self) -> list[Observation]:
        """Those that did not fail."""
        return [observation for observation in self.observations if observation.error is None]

    @property
    def failed(self) -> list[list]:
        """Points of failures."""
        return [list(observation.point) for observation in self.observations if observation.error is not None]

    @property
    def errors(self) -> list[tuple[int, str]]:
        """Index and message of each failure."""
        return [(i, observation.error) for i, observation in enumerate(self.observations) if observation.error]

    @property
    def best(self) -> Observation | None:
        """The first of the lowest."""
        return min(self.good, key=lambda observation: observation.value, default=None)


def as_value(value, name: str) -> float:
    """What a function returned, as a float that may be NaN or infinite."""
    if isinstance(value, (np.generic, np.ndarray)) and np.size(value) == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf if value > 0 else -math.inf


def observation_of(point: list, value: float, error: str | None = None) -> Observation:
    """An observation, a failed one where the value is NaN or infinite."""
    if error is None and not math.isfinite(value):
        error = f"the value is {value}"
    return Observation(tuple(point), value if error is None else math.nan, error)
