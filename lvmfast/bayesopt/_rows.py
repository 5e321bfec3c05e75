"""Many small minimisations side by side, whose evaluations are made together."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend


@dataclasses.dataclass
class RowsResult:
    """x (rows, d), values (rows,), converged (rows,), and how often functions were evaluated, all rows together."""

    x: np.ndarray
    values: np.ndarray
    converged: np.ndarray
    n_evaluations: int


def minimize_rows(fun, starts, lower, upper, *, tol=1e-6, max_evaluations=100, first=0.1) -> RowsResult:
    """From every row of ``starts`` (rows, d) to a minimum within the box, by BFGS with projection onto the box.

    ``fun(x, rows)`` gives values (k,) and gradients (k, d) at x (k, d), of the rows (k,) still on their way. A row has
    converged when no component of its gradient that leads into the box is above ``tol`` per width of the box. The first
    step is ``first`` widths long in the steepest direction. A row whose first value is not finite ends there.
    """
    lower, upper = (np.ascontiguousarray(bound, dtype=np.float64) for bound in (lower, upper))
    scale = 10.0 * first * (upper - lower)  # a first step is a tenth of it
    starts = np.ascontiguousarray(starts, dtype=np.float64)
    search = _backend.cpu.BoxSearch(starts, lower, upper, scale, 10.0 * first * tol, max_evaluations)
    while True:
        x, rows = search.ask()
        if not len(rows):
            return RowsResult(*search.result())
        values, gradients = fun(x, rows)
        search.tell(np.ascontiguousarray(values, dtype=np.float64), np.ascontiguousarray(gradients, dtype=np.float64))
