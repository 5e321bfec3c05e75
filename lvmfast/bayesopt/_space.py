"""What a function to be minimised takes: real, integer and categorical dimensions, and their place in the unit cube."""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers

import numpy as np

from lvmfast._validation import as_float_array, check_integer, check_rng

__all__ = ["Categorical", "Integer", "Real", "Space", "as_dimension"]

LARGEST = 2**53  # beyond it neighbouring integers are one float
SCALES = {"uniform": False, "log-uniform": True}


@dataclasses.dataclass(frozen=True)
class Real:
    """All numbers from ``low`` to ``high``, placed at

    ``u = (x - low) / (high - low)``, or ``u = log(x / low) / log(high / low)`` with ``log``.

    Parameters
    ----------
    low, high : float
        Finite, ``low < high``; positive with ``log``.
    log : bool, default=False
        Whether ratios matter and not differences, as for rates and scales.
    name : str, optional
        For error messages.

    Raises
    ------
    ValueError, TypeError
        If the bounds are reversed, equal, infinite or NaN, or not positive with ``log``.

    Examples
    --------
    >>> from lvmfast.bayesopt import Real
    >>> Real(1e-4, 1.0, log=True).transform([1e-4, 1e-2, 1.0])
    array([[0. ],
           [0.5],
           [1. ]])
    """

    low: float
    high: float
    _: dataclasses.KW_ONLY
    log: bool = False
    name: str | None = None

    n_columns = 1
    n_values = math.inf

    def __post_init__(self):
        _check_options(self)
        low, high = (_number(getattr(self, end), end) for end in ("low", "high"))
        if not (math.isfinite(high - low) and low < high):
            raise ValueError(f"low and high must be finite with low < high, got {self.low!r} and {self.high!r}")
        if self.log and not (low > 0 and math.log(low) < math.log(high)):
            raise ValueError(f"low must be > 0 and below high on a logarithmic scale, got {self.low!r}")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def check(self, value, what: str) -> float:
        """``value`` as a float within the bounds."""
        number = _number(value, what)
        if not self.low <= number <= self.high:
            raise ValueError(f"{what} must be between {self.low:g} and {self.high:g}, got {value!r}")
        return number

    def transform(self, values) -> np.ndarray:
        """Columns (n, 1) of the unit cube."""
        return _to_unit(values, self.low, self.high, self.log)

    def inverse_transform(self, U: np.ndarray) -> list[float]:
        """Values at columns (n, 1)."""
        return [float(x) for x in _from_unit(U[:, 0], self.low, self.high, self.log)]

    def quantile(self, u: np.ndarray) -> list[float]:
        """Values of uniform numbers (n,) in [0, 1)."""
        return self.inverse_transform(u[:, None])


@dataclasses.dataclass(frozen=True)
class Integer:
    """All integers from ``low`` to ``high``, both included, placed at

    ``u = (x - low) / (high - low)``, or ``u = log(x / low) / log(high / low)`` with ``log``.

    Parameters
    ----------
    low, high : int
        ``low < high``, neither beyond 2**53; positive with ``log``.
    log : bool, default=False
    name : str, optional

    Raises
    ------
    ValueError, TypeError
        If the bounds are reversed, equal or no integers, or not positive with ``log``.

    Examples
    --------
    >>> from lvmfast.bayesopt import Integer
    >>> Integer(1, 4).transform([1, 2, 4])
    array([[0.        ],
           [0.33333333],
           [1.        ]])
    """

    low: int
    high: int
    _: dataclasses.KW_ONLY
    log: bool = False
    name: str | None = None

    n_columns = 1

    def __post_init__(self):
        _check_options(self)
        for end in ("low", "high"):
            value = getattr(self, end)
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
                raise TypeError(f"{end} must be an integer, got {value!r}")
            if abs(int(value)) > LARGEST:
                raise ValueError(f"{end} must be between -2**53 and 2**53, got {value!r}")
            object.__setattr__(self, end, int(value))
        if not self.low < self.high:
            raise ValueError(f"low and high must have low < high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be > 0 on a logarithmic scale, got {self.low}")

    @property
    def n_values(self) -> int:
        """How many there are."""
        return self.high - self.low + 1

    def check(self, value, what: str) -> int:
        """``value`` as an int within the bounds."""
        number = _number(value, what)
        if not number.is_integer():
            raise ValueError(f"{what} must be an integer, got {value!r}")
        if not self.low <= number <= self.high:
            raise ValueError(f"{what} must be between {self.low} and {self.high}, got {value!r}")
        return int(value)

    def transform(self, values) -> np.ndarray:
        """Columns (n, 1) of the unit cube."""
        return _to_unit(values, self.low, self.high, self.log)

    def inverse_transform(self, U: np.ndarray) -> list[int]:
        """The nearest integers at columns (n, 1)."""
        return [int(x) for x in np.rint(_from_unit(U[:, 0], self.low, self.high, self.log))]

    def quantile(self, u: np.ndarray) -> list[int]:
        """Values of uniform numbers (n,) in [0, 1): every integer, or every ratio with ``log``, is as likely."""
        cells = np.floor(_from_unit(u, self.low, self.high + 1, self.log))
        return [int(x) for x in np.clip(cells, self.low, self.high)]


@dataclasses.dataclass(frozen=True)
class Categorical:
    """One of ``categories``, which have no order: column k of the unit cube is 1 for category k and 0 for others.

    Parameters
    ----------
    categories : sequence of str, int, float, bool or None
        At least two, all different.
    name : str, optional

    Raises
    ------
    ValueError, TypeError
        If there are fewer than two categories, two are equal, or one is something else.

    Examples
    --------
    >>> from lvmfast.bayesopt import Categorical
    >>> Categorical(["a", "b", "c"]).transform(["b", "a"])
    array([[0., 1., 0.],
           [1., 0., 0.]])
    """

    categories: tuple
    _: dataclasses.KW_ONLY
    name: str | None = None

    def __post_init__(self):
        _check_options(self)
        if isinstance(self.categories, str) or not hasattr(self.categories, "__iter__"):
            raise TypeError(f"categories must be a sequence such as ['a', 'b'], got {self.categories!r}")
        categories = tuple(_plain(value) for value in self.categories)
        for value in categories:
            if value is not None and not isinstance(value, (str, bool, int, float)):
                raise TypeError(f"categories must be strings, numbers, booleans or None, got {value!r}")
            if value != value:
                raise ValueError("categories must not be NaN; use None or a string")
        if len(categories) < 2 or len(set(categories)) < len(categories):
            raise ValueError(f"categories must be at least two that differ, got {list(categories)!r}")
        object.__setattr__(self, "categories", categories)

    @property
    def n_columns(self) -> int:
        """One for each category."""
        return len(self.categories)

    @property
    def n_values(self) -> int:
        """How many there are."""
        return len(self.categories)

    def check(self, value, what: str):
        """The category that equals ``value``."""
        value = _plain(value)
        for category in self.categories:
            if category is value or category == value:
                return category
        raise ValueError(f"{what} must be one of {list(self.categories)!r}, got {value!r}")

    def transform(self, values) -> np.ndarray:
        """Columns (n, k) of the unit cube."""
        return np.eye(self.n_columns)[[self.categories.index(value) for value in values]]

    def inverse_transform(self, U: np.ndarray) -> list:
        """The categories of the largest of columns (n, k), the first of equal ones."""
        return [self.categories[k] for k in np.argmax(U, axis=1)]

    def quantile(self, u: np.ndarray) -> list:
        """Categories of uniform numbers (n,) in [0, 1)."""
        return [self.categories[int(k)] for k in np.floor(u * self.n_columns)]


class Space:
    """Points that are lists with one value of each dimension, and their places in a unit cube, where models work.

    Parameters
    ----------
    dimensions : sequence
        Of :class:`Real`, :class:`Integer` and :class:`Categorical`, or, as in scikit-optimize, of plain values:
        (low, high) is Integer if both are integers, Real if one of them is a float, Categorical if one is a string or
        boolean; (low, high, "log-uniform" or "uniform") sets the scale; other lists are the values of a Categorical.
        An array of shape (d, 2) holds bounds.

    Attributes
    ----------
    dimensions : tuple
    bounds : array of shape (n_columns, 2)
        (0, 1) for each column of the cube.
    n_columns : int
        One for each number, one for each category.
    n_values : int or inf
        How many points there are.

    Raises
    ------
    ValueError, TypeError
        Where a dimension makes no sense; the message says which.

    Examples
    --------
    >>> from lvmfast.bayesopt import Real, Space
    >>> space = Space([Real(1e-4, 1.0, log=True), (1, 5), ["relu", "tanh"]])
    >>> space.transform([[0.01, 2, "tanh"]])
    array([[0.5 , 0.25, 0.  , 1.  ]])
    """

    def __init__(self, dimensions):
        if isinstance(dimensions, Space):
            dimensions = dimensions.dimensions
        if isinstance(dimensions, (str, dict)) or not hasattr(dimensions, "__iter__"):
            raise TypeError(f"dimensions must be a sequence such as [(0.0, 1.0), (1, 5)], got {dimensions!r}")
        self.dimensions = tuple(as_dimension(value, k) for k, value in enumerate(dimensions))
        if not self.dimensions:
            raise ValueError("dimensions must hold at least one dimension, got none")
        names = [dimension.name for dimension in self.dimensions if dimension.name is not None]
        if len(set(names)) < len(names):
            raise ValueError(f"names of dimensions must differ, got {names}")
        ends = list(itertools.accumulate(dimension.n_columns for dimension in self.dimensions))
        self._columns = [slice(end - d.n_columns, end) for d, end in zip(self.dimensions, ends, strict=True)]
        self.n_columns = ends[-1]

    def __len__(self) -> int:
        return len(self.dimensions)

    def __eq__(self, other) -> bool:
        return isinstance(other, Space) and self.dimensions == other.dimensions

    def __hash__(self) -> int:
        return hash(self.dimensions)

    def __repr__(self) -> str:
        return f"Space({list(self.dimensions)})"

    @property
    def bounds(self) -> np.ndarray:
        """(0, 1) for each column."""
        return np.tile([0.0, 1.0], (self.n_columns, 1))

    @property
    def n_values(self):
        """How many points there are, infinity with a real dimension."""
        return math.prod(dimension.n_values for dimension in self.dimensions)

    @property
    def is_real(self) -> bool:
        """Whether every place of the cube is a point."""
        return all(isinstance(dimension, Real) for dimension in self.dimensions)

    def check(self, point, name: str = "point") -> list:
        """``point`` as a list of Python's own numbers and of categories.

        Raises
        ------
        ValueError, TypeError
            If it is no list of ``len(space)`` values, or a value lies outside its dimension.
        """
        if isinstance(point, (str, dict)) or not hasattr(point, "__len__"):
            raise TypeError(f"{name} must be a list of {len(self)} values, got {point!r}")
        if len(point) != len(self):
            raise ValueError(f"{name} must be a list of {len(self)} values, got {len(point)}: {point!r}")
        return [
            dimension.check(value, f"{name}[{k}]" if dimension.name is None else f"{name}[{k}] ({dimension.name})")
            for k, (dimension, value) in enumerate(zip(self.dimensions, point, strict=True))
        ]

    def transform(self, points) -> np.ndarray:
        """Places of points in the cube, float64 of shape (n, n_columns)."""
        points = [self.check(point, f"points[{i}]") for i, point in enumerate(points)]
        U = np.empty((len(points), self.n_columns))
        for k, (dimension, columns) in enumerate(zip(self.dimensions, self._columns, strict=True)):
            U[:, columns] = dimension.transform([point[k] for point in points])
        return U

    def inverse_transform(self, U) -> list[list]:
        """The points at, or nearest to, places (n, n_columns): integers rounded, the largest column's category."""
        U = self._places(U)
        if U.ndim != 2:
            raise ValueError(f"U must have shape (n, {self.n_columns}), got {U.shape}")
        if not len(U):
            return []
        columns = zip(self.dimensions, self._columns, strict=True)
        values = [dimension.inverse_transform(U[:, where]) for dimension, where in columns]
        return [list(point) for point in zip(*values, strict=True)]

    def project(self, U) -> np.ndarray:
        """The nearest places of points, ``transform(inverse_transform(U))``, for U of shape (..., n_columns)."""
        U = self._places(U)
        projected = np.clip(U, 0.0, 1.0).reshape(-1, self.n_columns)
        for dimension, columns in zip(self.dimensions, self._columns, strict=True):
            if not isinstance(dimension, Real):
                projected[:, columns] = dimension.transform(dimension.inverse_transform(projected[:, columns]))
        return projected.reshape(U.shape)

    def quantile(self, uniform: np.ndarray) -> list[list]:
        """Points of uniform numbers (n, len(space)) in [0, 1): each value, or ratio, of a dimension is as likely."""
        values = [dimension.quantile(uniform[:, k]) for k, dimension in enumerate(self.dimensions)]
        return [list(point) for point in zip(*values, strict=True)]

    def sample(self, n_samples: int = 1, random_state=None) -> list[list]:
        """Independent uniform points.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, numpy.random.Generator or None
        """
        n_samples = check_integer(n_samples, "n_samples", 1)
        return self.quantile(check_rng(random_state).uniform(size=(n_samples, len(self))))

    def grid(self) -> list[list]:
        """All points of a finite space, the last dimension fastest."""
        values = [
            dimension.categories if isinstance(dimension, Categorical) else range(dimension.low, dimension.high + 1)
            for dimension in self.dimensions
        ]
        return [list(point) for point in itertools.product(*values)]

    def _places(self, U) -> np.ndarray:
        U = as_float_array(U, "U").astype(np.float64)
        if U.ndim < 1 or U.shape[-1] != self.n_columns:
            raise ValueError(f"U must have shape (..., {self.n_columns}), got {U.shape}")
        if not np.isfinite(U).all():
            raise ValueError("U must be finite, got NaN or infinity")
        return U


def as_dimension(value, k: int):
    """Entry ``k`` of a list of dimensions as one of the three classes."""
    if isinstance(value, (Real, Integer, Categorical)):
        return value
    if isinstance(value, (str, dict)) or not isinstance(value, (list, tuple, np.ndarray)):
        raise TypeError(
            f"dimensions[{k}] must be Real, Integer, Categorical, (low, high) or a list of categories, got {value!r}"
        )
    values = [_plain(entry) for entry in value]
    scale = values.pop() if len(values) == 3 and isinstance(values[2], str) and values[2] in SCALES else None
    try:
        if len(values) != 2 or any(isinstance(entry, bool) or not isinstance(entry, numbers.Real) for entry in values):
            return Categorical(tuple(values) if scale is None else (*values, scale))
        kind = Integer if all(isinstance(entry, int) for entry in values) else Real
        return kind(*values, log=SCALES[scale or "uniform"])
    except (ValueError, TypeError) as error:
        raise type(error)(f"dimensions[{k}]: {error}") from None


def _plain(value):
    """A NumPy scalar as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def _number(value, what: str) -> float:
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else _plain(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{what} must be a number, got {value!r}")
    return float(value)


def _check_options(dimension) -> None:
    if dimension.name is not None and not isinstance(dimension.name, str):
        raise TypeError(f"name must be a string, got {dimension.name!r}")
    if not isinstance(getattr(dimension, "log", False), bool):
        raise TypeError(f"log must be True or False, got {dimension.log!r}")


def _to_unit(values, low, high, log: bool) -> np.ndarray:
    x = np.array(values, dtype=np.float64).reshape(-1, 1)
    u = (np.log(x) - np.log(low)) / (np.log(high) - np.log(low)) if log else (x - low) / (high - low)
    return np.clip(u, 0.0, 1.0)


def _from_unit(u: np.ndarray, low, high, log: bool) -> np.ndarray:
    u = np.clip(u, 0.0, 1.0)
    if log:
        x = np.exp(np.log(low) + u * (np.log(high) - np.log(low)))
        x = np.where(u == 0.0, low, np.where(u == 1.0, high, x))
    else:
        x = low * (1.0 - u) + high * u
    return np.clip(x, low, high)
