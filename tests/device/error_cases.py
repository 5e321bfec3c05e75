"""Calls that must fail: arguments, the call, and the kind of error."""

from __future__ import annotations

import numpy as np
from helpers import spd
from updates import factor, in_order

from lvmfast import kernels, linalg
from lvmfast.exceptions import NonFiniteError, NotPositiveDefiniteError


def indefinite(n=6, pivot=4, batch=()):
    """Positive definite up to a pivot of -1."""
    A = np.zeros((*batch, n, n))
    A[...] = np.eye(n)
    A[(-1,) * len(batch)][pivot, pivot] = -1.0
    return A


def with_value(A, place, value):
    A = np.array(A, float)
    A[place] = value
    return A


L = np.tril(factor(np.random.default_rng(1), 6))
BATCH = np.tril(factor(np.random.default_rng(2), 6, batch=(2, 3)))
U = np.random.default_rng(3).standard_normal((6, 2))
TOO_MUCH = np.stack([0 * L[:, 0], 2 * L[:, 3]], axis=1)
TWINS = np.full((2, 2), 4.0)
POINTS = np.arange(8.0).reshape(4, 2)
rbf = kernels.RBF()


def downdate(**options):
    return lambda L, U: linalg.cholesky_update(L, U, sign=-1, **options)


#: Arguments, the call, and the error.
ERRORS = {
    "cholesky": ([indefinite()], linalg.cholesky, NotPositiveDefiniteError),
    "cholesky, n=130": ([indefinite(130, 100)], linalg.cholesky, NotPositiveDefiniteError),
    "cholesky of a batch": ([indefinite(batch=(2, 3))], linalg.cholesky, NotPositiveDefiniteError),
    "cholesky of a large batch": ([indefinite(70, 66, (3,))], linalg.cholesky, NotPositiveDefiniteError),
    "cholesky without jitter": ([TWINS], lambda A: linalg.cholesky(A, jitter=0), NotPositiveDefiniteError),
    "cholesky, jitter": ([indefinite()], lambda A: linalg.cholesky(A, jitter=0.5), NotPositiveDefiniteError),
    "cholesky, float32": ([indefinite().astype(np.float32)], linalg.cholesky, NotPositiveDefiniteError),
    "cholesky of NaN": ([with_value(np.eye(5), (3, 1), np.nan)], linalg.cholesky, NonFiniteError),
    "cholesky of NaN in a batch": ([with_value(spd(np.random.default_rng(0), 5, batch=(3,)), (1, 2, 2), np.nan)],
                                   linalg.cholesky, NonFiniteError),
    "cholesky of infinity": ([with_value(np.eye(5), (4, 4), np.inf)], linalg.cholesky, NonFiniteError),
    "cholesky, not square": ([np.ones((2, 3))], linalg.cholesky, ValueError),
    "cholesky of a vector": ([np.ones(3)], linalg.cholesky, ValueError),
    "cholesky of complex": ([np.eye(2) * 1j], linalg.cholesky, TypeError),
    "cholesky, bad jitter": ([np.eye(2)], lambda A: linalg.cholesky(A, jitter=-1), ValueError),
    "cholesky_vjp, shapes": ([L, np.eye(5)], linalg.cholesky_vjp, ValueError),
    "solve_triangular, singular": ([with_value(L, (3, 3), 0), U], linalg.solve_triangular, np.linalg.LinAlgError),
    "solve_triangular, singular in a batch": ([with_value(BATCH, (1, 2, 3, 3), 0), U], linalg.solve_triangular,
                                              np.linalg.LinAlgError),
    "solve_triangular, rows": ([L, np.ones((5, 2))], linalg.solve_triangular, ValueError),
    "solve_triangular, batches": ([BATCH, np.ones((4, 6, 2))], linalg.solve_triangular, ValueError),
    "solve_triangular, overwrite": ([BATCH, U], lambda L, B: linalg.solve_triangular(L, B, overwrite=True), ValueError),
    "solve_triangular_vjp, shapes": ([L, U, np.ones((6, 3))], linalg.solve_triangular_vjp, ValueError),
    "cholesky_solve, singular": ([with_value(L, (0, 0), 0), U], linalg.cholesky_solve, np.linalg.LinAlgError),
    "update, lost": ([L, TOO_MUCH], downdate(), NotPositiveDefiniteError),
    "update, lost, overwrite": ([L, TOO_MUCH], downdate(overwrite=True), NotPositiveDefiniteError),
    "update, lost, overwrite, column-major": ([in_order(L, "F"), TOO_MUCH], downdate(overwrite=True),
                                              NotPositiveDefiniteError),
    "update, lost in a batch": ([BATCH, with_value(np.zeros((2, 3, 6, 1)), (1, 1), 2 * BATCH[1, 1, :, 2:3])],
                                downdate(overwrite=True), NotPositiveDefiniteError),
    "update, lost in a large one": ([np.eye(130), with_value(np.zeros((130, 3)), (99, 1), 2)], downdate(overwrite=True),
                                    NotPositiveDefiniteError),
    "update, many columns": ([L, np.tile(U, 9)], downdate(overwrite=True), NotPositiveDefiniteError),
    "update, NaN in U": ([L, with_value(U, (2, 1), np.nan)], linalg.cholesky_update, NonFiniteError),
    "update, NaN in U, overwrite": ([L, with_value(U, (2, 1), np.nan)], downdate(overwrite=True), NonFiniteError),
    "update, NaN in U, unchecked": ([L, with_value(U, (2, 1), np.nan)], downdate(check=False), NonFiniteError),
    "update, NaN in L": ([with_value(L, (4, 1), np.nan), U], linalg.cholesky_update, NonFiniteError),
    "update, infinity in a batch": ([BATCH, with_value(np.zeros((2, 3, 6, 2)), (0, 1, 2, 1), np.inf)],
                                    linalg.cholesky_update, NonFiniteError),
    "update, overflow": ([L.astype(np.float32), np.full((6, 1), 3e38, np.float32)], linalg.cholesky_update,
                         NonFiniteError),
    "update, diagonal of 0": ([with_value(L, (3, 3), 0), U], linalg.cholesky_update, ValueError),
    "update, negative diagonal": ([with_value(L, (3, 3), -1), U], downdate(overwrite=True), ValueError),
    "update, diagonal in a batch": ([with_value(BATCH, (0, 2, 5, 5), -1), U], linalg.cholesky_update, ValueError),
    "update, shapes": ([L, np.ones((5, 2))], linalg.cholesky_update, ValueError),
    "update, batches": ([BATCH, np.ones((4, 6, 2))], linalg.cholesky_update, ValueError),
    "update, sign": ([L, U], lambda L, U: linalg.cholesky_update(L, U, sign=2), ValueError),
    "update, signs": ([L, U], lambda L, U: linalg.cholesky_update(L, U, sign=[1, 1, -1]), ValueError),
    "update, dtype of out": ([L, U, np.zeros((6, 6), np.float32)],
                             lambda L, U, out: linalg.cholesky_update(L, U, out=out), ValueError),
    "update, shape of out": ([L, U, np.zeros((5, 5))], lambda L, U, out: linalg.cholesky_update(L, U, out=out),
                             ValueError),
    "update, overwrite of a batch": ([L, np.zeros((3, 6, 2))], downdate(overwrite=True), ValueError),
    "update, out and overwrite": ([L, U, L], lambda L, U, out: linalg.cholesky_update(L, U, out=out, overwrite=True),
                                  ValueError),
    "update_vjp, shapes": ([L, U, np.eye(5)], linalg.cholesky_update_vjp, ValueError),
    "update_vjp, NaN": ([L, U, with_value(np.eye(6), (3, 2), np.nan)], linalg.cholesky_update_vjp, NonFiniteError),
    "update_vjp, lost": ([L, TOO_MUCH, np.eye(6)], lambda *a: linalg.cholesky_update_vjp(*a, sign=-1),
                         NotPositiveDefiniteError),
    "append, lost": ([L, L @ L[2], np.array(0.1)], linalg.cholesky_append, NotPositiveDefiniteError),
    "append, NaN": ([L, with_value(U, (2, 1), np.nan), np.eye(2)], linalg.cholesky_append, NonFiniteError),
    "append, corner": ([L, U, np.eye(3)], linalg.cholesky_append, ValueError),
    "insert, lost": ([L, L @ L[2], np.array(0.1)], lambda L, b, c: linalg.cholesky_insert(L, 3, b, c),
                     NotPositiveDefiniteError),
    "insert, lost behind": ([np.eye(4), np.array([0, 0, 0.9, 0.9]), np.array(1.0)],
                            lambda L, b, c: linalg.cholesky_insert(L, 3, b, c), NotPositiveDefiniteError),
    "insert, diagonal": ([with_value(L, (3, 3), -1), U[:, 0], np.array(9.0)],
                         lambda L, b, c: linalg.cholesky_insert(L, 3, b, c), ValueError),
    "delete, NaN": ([with_value(L, (3, 1), np.nan)], lambda L: linalg.cholesky_delete(L, 0), NonFiniteError),
    "delete, index": ([L], lambda L: linalg.cholesky_delete(L, 6), IndexError),
    "delete, twice": ([L], lambda L: linalg.cholesky_delete(L, [1, 1]), ValueError),
    "delete_vjp, shapes": ([L, L], lambda L, bar: linalg.cholesky_delete_vjp(L, 1, bar), ValueError),
    "kernel, NaN": ([with_value(POINTS, (2, 1), np.nan)], rbf, ValueError),
    "kernel, vector": ([np.ones(3)], rbf, ValueError),
    "kernel, columns": ([POINTS, np.ones((3, 3))], rbf, ValueError),
    "kernel, text": ([np.ones((2, 2), complex)], rbf, TypeError),
    "kernel, out": ([POINTS, np.ones((3, 4))], lambda X, out: rbf(X, out=out), ValueError),
    "kernel, dtype of out": ([POINTS, np.ones((4, 4), np.float32)], lambda X, out: rbf(X, out=out), ValueError),
    "kernel, ARD": ([POINTS], kernels.RBF(1.0, [1.0, 1.0, 1.0]), ValueError),
    "kernel, active_dims": ([POINTS], kernels.RBF(active_dims=[2]), ValueError),
    "kernel, range": ([POINTS.astype(np.float32) * np.float32(4e37)], rbf, ValueError),
    "vjp, cotangent": ([POINTS, np.ones((4, 3))], lambda X, C: rbf.vjp(X, None, C), ValueError),
    "vjp, NaN": ([POINTS, np.full((4, 4), np.nan)], lambda X, C: rbf.vjp(X, None, C), ValueError),
    "matmul, rows of V": ([POINTS, np.ones(3)], lambda X, V: rbf.matmul(X, None, V), ValueError),
    "matmul, NaN": ([POINTS, with_value(np.ones(4), 2, np.nan)], lambda X, V: rbf.matmul(X, None, V), ValueError),
    "matmul_vjp, cotangent": ([POINTS, np.ones(4), np.ones((4, 1))], lambda X, V, G: rbf.matmul_vjp(X, None, V, G),
                              ValueError),
}  # fmt: skip
