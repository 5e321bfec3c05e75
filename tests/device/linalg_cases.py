"""Cases of lvmfast.linalg."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from helpers import indefinite, spd, triangular
from reference import linalg as oracle
from updates import MILD, in_order

from lvmfast import linalg

K = 100.0  # condition of matrices
PULLED = 4 * MILD**4  # of pull-backs at factors of condition MILD


def normal(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def strided(A):
    """Every other number of a wider array."""
    wide = np.zeros((*A.shape[:-1], 2 * A.shape[-1]), A.dtype)
    wide[..., ::2] = A
    return wide[..., ::2]


def needy(rng, n, dtype):
    """A matrix that needs jitter, for sure: 1e-7 (float32: 1e-3) is enough, a tenth of it is not."""
    return indefinite(rng, n, -3e-8 if dtype == np.float64 else -3e-4, dtype)


def much(dtype):
    """The condition of such a matrix with its jitter."""
    return 3e7 if dtype == np.float64 else 3e3


def escalating(A):
    return linalg.cholesky(A, return_jitter=True)


def mixed_batch(n):
    """The second of three matrices needs jitter."""
    return lambda rng, dtype: (
        np.stack([spd(rng, n, dtype=dtype), needy(rng, n, dtype), spd(rng, n, condition=K, dtype=dtype)]),
    )


def one(n, order="C", batch=()):
    return lambda rng, dtype: (in_order(spd(rng, n, dtype=dtype, batch=batch), order),)


CHOLESKY = {f"n={n}": Case(one(n), linalg.cholesky, n, K, oracle.cholesky) for n in (0, 1, 2, 3, 33)}
CHOLESKY |= {f"n={n}": Case(one(n), linalg.cholesky, n, K) for n in (64, 65, 130)}
CHOLESKY |= {
    f"{batch} of {n}": Case(one(n, batch=batch), linalg.cholesky, n, K)
    for n, batch in [(1, (3,)), (5, (2, 3)), (33, (4,)), (65, (2,)), (130, (3,)), (3, (0,)), (3, (2, 0)), (0, (2,))]
}
CHOLESKY |= {
    "column-major": Case(one(20, "F"), linalg.cholesky, 20, K, oracle.cholesky),
    "column-major batch": Case(one(20, "F", (3,)), linalg.cholesky, 20, K),
    "strided": Case(lambda rng, dtype: (strided(spd(rng, 20, dtype=dtype)),), linalg.cholesky, 20, K, oracle.cholesky),
    "repeated": Case(lambda rng, dtype: (np.broadcast_to(spd(rng, 7, dtype=dtype), (4, 7, 7)),), linalg.cholesky, 7, K),
    "fixed jitter": Case(
        one(12),
        lambda A: linalg.cholesky(A, jitter=0.5),
        12,
        K,
        lambda A: oracle.cholesky(A + A.dtype.type(0.5) * np.eye(12)),
    ),
    "fixed jitter, returned": Case(one(12), lambda A: linalg.cholesky(A, jitter=0.5, return_jitter=True), 12, K),
    "no jitter needed": Case(one(12), escalating, 12, K),
    "escalating jitter": Case(lambda rng, dtype: (needy(rng, 12, dtype),), escalating, 12, much),
    "escalating jitter, n=130": Case(lambda rng, dtype: (needy(rng, 130, dtype),), escalating, 130, much),
    "escalating jitter of a member": Case(mixed_batch(12), escalating, 12, much),
    "escalating jitter of a large member": Case(mixed_batch(65), escalating, 65, much),
}


def factor_and_bar(n, batch=()):
    return lambda rng, dtype: (
        triangular(rng, n, condition=10, dtype=dtype, batch=batch),
        normal(rng, dtype, *batch, n, n),
    )


CHOLESKY_VJP = {
    f"{batch} of {n}" if batch else f"n={n}": Case(
        factor_and_bar(n, batch), linalg.cholesky_vjp, n, K, None if batch or n > 10 else oracle.cholesky_vjp
    )
    for n, batch in [(0, ()), (1, ()), (7, ()), (65, ()), (6, (2, 3)), (33, (3,)), (0, (2,)), (4, (0,))]
}


# Triangular systems.


def solve(**options):
    return lambda L, B: linalg.solve_triangular(L, B, **options)


def overwriting(function):
    """``function`` with a copy of B in B's order, which it must return."""

    def call(L, B):
        place = transposed_copy(B) if B.ndim > 1 and B.flags.f_contiguous and not B.flags.c_contiguous else B.copy()
        assert function(L, place, overwrite=True) is place
        return place

    return call


def transposed_copy(B):
    return B.swapaxes(-1, -2).copy().swapaxes(-1, -2)


def system(n, columns=(), *, lower=True, batch=(), order="C", of_b=None):
    def inputs(rng, dtype):
        L = triangular(rng, n, condition=K, dtype=dtype, batch=batch, lower=lower)
        B = normal(rng, dtype, *(batch if of_b is None else of_b), n, *columns)
        return in_order(L, order), in_order(B, order) if B.ndim > 1 else B

    return inputs


SOLVE = {}
for lower in (True, False):
    for trans in (False, True):
        name = f"{'lower' if lower else 'upper'}{' transposed' if trans else ''}"
        options = {"lower": lower, "trans": trans}

        def exact(L, B, options=options):
            return oracle.solve_triangular(L, B, **options)

        SOLVE[name] = Case(system(9, (4,), lower=lower), solve(**options), 9, K, exact)
        SOLVE[f"{name}, vector"] = Case(system(9, lower=lower), solve(**options), 9, K, exact)
        SOLVE[f"{name}, column-major"] = Case(system(9, (4,), lower=lower, order="F"), solve(**options), 9, K, exact)
        SOLVE[f"{name}, batch"] = Case(system(9, (4,), lower=lower, batch=(2, 3)), solve(**options), 9, K)
        SOLVE[f"{name}, column-major batch"] = Case(
            system(9, (4,), lower=lower, batch=(3,), order="F"), solve(**options), 9, K
        )
SOLVE |= {
    f"n={n}, {columns} columns": Case(system(n, columns), solve(), n, K)
    for n, columns in [(0, (3,)), (0, ()), (1, (1,)), (3, (0,)), (65, (130,)), (130, (1,))]
}
SOLVE |= {
    "large batch": Case(system(65, (3,), batch=(4,)), solve(), 65, K),
    "one L, many B": Case(system(9, (4,), of_b=(2, 3)), solve(), 9, K),
    "many L, one B": Case(system(9, (4,), batch=(2, 3), of_b=()), solve(), 9, K),
    "many L, one vector": Case(system(9, batch=(2, 3), of_b=()), solve(), 9, K),
    "broadcast": Case(system(9, (4,), batch=(2, 1), of_b=(3,)), solve(trans=True), 9, K),
    "empty batch": Case(system(9, (4,), batch=(0,)), solve(), 9, K),
    "strided": Case(
        lambda rng, dtype: tuple(map(strided, system(9, (4,))(rng, dtype))), solve(), 9, K, oracle.solve_triangular
    ),
    "mixed dtypes": Case(
        lambda rng, dtype: (triangular(rng, 9, dtype=dtype), normal(rng, np.float32, 9, 4)), solve(), 9, K
    ),
}
SOLVE |= {
    f"overwrite, {name}": Case(inputs, overwriting(linalg.solve_triangular), 9, K)
    for name, inputs in {
        "matrix": system(9, (4,)),
        "vector": system(9),
        "column-major": system(9, (4,), order="F"),
        "batch": system(9, (4,), batch=(3,)),
        "one L": system(9, (4,), of_b=(3,)),
        "strided": lambda rng, dtype: (triangular(rng, 9, dtype=dtype), strided(normal(rng, dtype, 9, 4))),
    }.items()
}


def cholesky_system(n, columns=(), *, batch=(), order="C", of_b=None):
    def inputs(rng, dtype):
        L = triangular(rng, n, condition=10.0, dtype=dtype, batch=batch)
        B = normal(rng, dtype, *(batch if of_b is None else of_b), n, *columns)
        return in_order(L, order), in_order(B, order) if B.ndim > 1 else B

    return inputs


CHOLESKY_SOLVE = {
    "matrix": Case(cholesky_system(9, (4,)), linalg.cholesky_solve, 9, K, oracle.cholesky_solve),
    "vector": Case(cholesky_system(9), linalg.cholesky_solve, 9, K, oracle.cholesky_solve),
    "column-major": Case(cholesky_system(9, (4,), order="F"), linalg.cholesky_solve, 9, K, oracle.cholesky_solve),
    "batch": Case(cholesky_system(9, (4,), batch=(2, 3)), linalg.cholesky_solve, 9, K),
    "broadcast": Case(cholesky_system(9, (4,), batch=(2, 1), of_b=(3,)), linalg.cholesky_solve, 9, K),
    "large": Case(cholesky_system(130, (65,)), linalg.cholesky_solve, 130, K),
    "n=0": Case(cholesky_system(0, (2,)), linalg.cholesky_solve),
    "n=1": Case(cholesky_system(1, (2,)), linalg.cholesky_solve, 1, K, oracle.cholesky_solve),
}
CHOLESKY_SOLVE |= {
    f"overwrite, {name}": Case(inputs, overwriting(linalg.cholesky_solve), 9, K)
    for name, inputs in {
        "matrix": cholesky_system(9, (4,)),
        "vector": cholesky_system(9),
        "column-major": cholesky_system(9, (4,), order="F"),
        "batch": cholesky_system(9, (4,), batch=(3,)),
    }.items()
}


def with_bar(inputs):
    def more(rng, dtype):
        L, X = inputs(rng, dtype)
        return L, X, normal(rng, dtype, *X.shape)

    return more


SOLVE_VJP = {
    f"{name}, {'transposed' if trans else 'plain'}{'' if lower else ', upper'}": Case(
        with_bar(system(7, columns, lower=lower, batch=batch)),
        lambda L, X, X_bar, lower=lower, trans=trans: linalg.solve_triangular_vjp(
            L, X, X_bar, lower=lower, trans=trans
        ),
        7,
        K,
        None
        if batch
        else lambda L, X, X_bar, lower=lower, trans=trans: oracle.solve_triangular_vjp(L, X, X_bar, lower, trans),
    )
    for name, columns, batch in [("matrix", (3,), ()), ("vector", (), ()), ("batch", (3,), (2, 2))]
    for lower in (True, False)
    for trans in (False, True)
}
CHOLESKY_SOLVE_VJP = {
    "matrix": Case(with_bar(cholesky_system(7, (3,))), linalg.cholesky_solve_vjp, 7, K, oracle.cholesky_solve_vjp),
    "vector": Case(with_bar(cholesky_system(7)), linalg.cholesky_solve_vjp, 7, K, oracle.cholesky_solve_vjp),
    "batch": Case(with_bar(cholesky_system(7, (3,), batch=(3,))), linalg.cholesky_solve_vjp, 7, K),
    "n=0": Case(with_bar(cholesky_system(0, (3,))), linalg.cholesky_solve_vjp),
}
LINALG = {
    f"{operation}: {name}": case
    for operation, cases in {
        "cholesky": CHOLESKY,
        "cholesky_vjp": CHOLESKY_VJP,
        "solve_triangular": SOLVE,
        "solve_triangular_vjp": SOLVE_VJP,
        "cholesky_solve": CHOLESKY_SOLVE,
        "cholesky_solve_vjp": CHOLESKY_SOLVE_VJP,
    }.items()
    for name, case in cases.items()
}
