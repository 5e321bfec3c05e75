"""What is known of parameters besides their values, and the mapping through which they are reached."""

from __future__ import annotations

import dataclasses
import fnmatch
import numbers
from collections.abc import Iterator, Mapping

import numpy as np

from lvmfast.bijectors import Exp

__all__ = ["Parameter", "Parameters"]

DEFAULT_BIJECTOR = Exp()


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a parameter is learned: all that belongs to it except its value."""

    fixed: bool = False
    bounds: tuple[float, float] = (0.0, np.inf)
    prior: object = None
    bijector: object = DEFAULT_BIJECTOR


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel, as it is now.

    Attributes
    ----------
    value : float or array
    fixed : bool
        Whether fits leave it alone.
    bounds : (float, float)
        Fits keep the value between them.
    prior : object or None
        With ``log_density(value)`` and ``gradient(value)``; see :mod:`lvmfast.priors`.
    bijector : object
        From the real line to the parameter: fits move ``bijector.inverse(value)``. Default: the exponential, so that
        fits move logarithms and do not depend on units.
    """

    value: object
    fixed: bool
    bounds: tuple[float, float]
    prior: object
    bijector: object


def default_of(leaf, name: str) -> Setting:
    """How a parameter is learned unless somebody said otherwise."""
    return leaf._default_settings.get(name, Setting())


class Parameters(Mapping):
    """Parameters by name; prints as a table, and ``parameters[name] = value`` sets a value."""

    def __init__(self, kernel):
        self._owners = {}
        for prefix, leaf in kernel._named_leaves():
            for name in leaf.parameter_names_of_leaf:
                self._owners[f"{prefix}.{name}" if prefix else name] = leaf, name

    def __getitem__(self, name: str) -> Parameter:
        leaf, own = self._owner(name)
        setting = leaf._settings.get(own, default_of(leaf, own))
        return Parameter(getattr(leaf, own), setting.fixed, setting.bounds, setting.prior, setting.bijector)

    def __setitem__(self, name: str, value) -> None:
        leaf, own = self._owner(name)
        leaf._set_value(own, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._owners)

    def __len__(self) -> int:
        return len(self._owners)

    def _owner(self, name):
        try:
            return self._owners[name]
        except (KeyError, TypeError):
            raise KeyError(f"there is no parameter {name!r}; there are {', '.join(self._owners)}") from None

    def matching(self, patterns) -> list[str]:
        """Names that match one of the patterns, in order; all without patterns."""
        if not patterns:
            return list(self)
        for pattern in patterns:
            if not isinstance(pattern, str) or not fnmatch.filter(self, pattern):
                raise ValueError(f"{pattern!r} names no parameter; there are {', '.join(self)}")
        return [name for name in self if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]

    def checked(self, name: str, value) -> np.ndarray:
        """``value`` as this parameter could have it, as float64, or an error."""
        return self._owner(name)[0]._checked_value(name, value)

    def change(self, name: str, **what) -> None:
        """Replace parts of a parameter's setting."""
        leaf, own = self._owner(name)
        setting = dataclasses.replace(leaf._settings.get(own, default_of(leaf, own)), **what)
        if setting == default_of(leaf, own):
            leaf._settings.pop(own, None)
        else:
            leaf._settings[own] = setting

    def __repr__(self) -> str:
        rows = [("name", "value", "fixed", "bounds", "prior", "bijector")]
        for name, p in self.items():
            bounds = "" if p.bounds in ((0.0, np.inf), (-np.inf, np.inf)) else f"[{p.bounds[0]:.4g}, {p.bounds[1]:.4g}]"
            prior = "" if p.prior is None else repr(p.prior)
            rows.append((name, short(p.value), "yes" if p.fixed else "", bounds, prior, repr(p.bijector)))
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def short(value) -> str:
    """A number or an array, on one line."""
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(f"{value:.4g}"))
    text = np.array2string(np.asarray(value), precision=4, separator=", ", threshold=6, edgeitems=2)
    return " ".join(text.split())
