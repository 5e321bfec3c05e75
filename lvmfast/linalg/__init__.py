"""Cholesky factors, their updates, and triangular solves, each with its pull-back.

A pull-back takes the cotangent of the result (the gradient of a scalar with respect to it) and returns the
cotangents of the arguments. Everything is batched over leading dimensions, which broadcast as in NumPy.
CuPy arrays, and other libraries' arrays on the GPU, give CuPy arrays; all arrays of a call live on one device.
"""

from lvmfast.linalg._cholesky import cholesky, cholesky_vjp
from lvmfast.linalg._rows import (
    cholesky_append,
    cholesky_append_vjp,
    cholesky_delete,
    cholesky_delete_vjp,
    cholesky_insert,
    cholesky_insert_vjp,
)
from lvmfast.linalg._triangular import cholesky_solve, cholesky_solve_vjp, solve_triangular, solve_triangular_vjp
from lvmfast.linalg._update import cholesky_update, cholesky_update_vjp

__all__ = [
    "cholesky",
    "cholesky_append",
    "cholesky_append_vjp",
    "cholesky_delete",
    "cholesky_delete_vjp",
    "cholesky_insert",
    "cholesky_insert_vjp",
    "cholesky_solve",
    "cholesky_solve_vjp",
    "cholesky_update",
    "cholesky_update_vjp",
    "cholesky_vjp",
    "solve_triangular",
    "solve_triangular_vjp",
]
