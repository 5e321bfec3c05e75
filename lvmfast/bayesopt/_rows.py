"""Many small minimisations side by side, whose evaluations are made together."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import optimize


@dataclasses.dataclass
class RowsResult:
    """x (rows, d), values (rows,), converged (rows,), and how often functions were evaluated, all rows together."""

    x: np.ndarray
    values: np.ndarray
    converged: np.ndarray
    n_evaluations: int


def minimize_rows(fun, starts, lower, upper, *, tol=1e-6, max_evaluations=100) -> RowsResult:
    """From every row of ``starts`` (rows, d) to a minimum within the box, by BFGS.

    ``fun(x, rows)`` gives values (k,) and gradients (k, d) at x (k, d), of the rows (k,) still on their way. A row has
    converged when no component of its projected gradient times the width of the box is above ``tol``.
    """
    ends = []
    for row, start in enumerate(starts):

        def one(x, row=row):
            value, gradient = fun(x[None], np.array([row]))
            return float(value[0]), gradient[0]

        ends.append(
            optimize.minimize(
                one,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=np.c_[lower, upper],
                options={"maxfun": max_evaluations, "gtol": tol},
            )
        )
    return RowsResult(
        np.array([end.x for end in ends]),
        np.array([end.fun for end in ends]),
        np.array([end.success for end in ends]),
        sum(end.nfev for end in ends),
    )
