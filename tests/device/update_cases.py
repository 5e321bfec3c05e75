"""Cases of Cholesky factors that gain and lose ranks and rows."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from device.linalg_cases import PULLED, normal, strided, transposed_copy
from helpers import triangular
from reference import linalg as oracle
from updates import CONDITION, MILD, factor, in_order, insertion, problem

from lvmfast import linalg

WELL = 2 * CONDITION**2  # see updates.allowed


def given(n, m, sign=1, *, dtype_of_u=None, order="C", vector=False, **options):
    """L, U and the signs, a number or one for each column."""

    def inputs(rng, dtype):
        signs = np.where(np.arange(m) % 3 == 1, -1, 1) if sign == 0 else sign
        L, U = problem(rng, n, m, signs, dtype=dtype, **options)
        U = U[..., 0] if vector else in_order(U, order)
        return in_order(L, order), U.astype(dtype_of_u or dtype), (tuple(signs) if sign == 0 else sign)

    return inputs


def update(L, U, sign):
    return linalg.cholesky_update(L, U, sign=sign)


def into_out(order):
    def call(L, U, sign):
        shape = np.broadcast_shapes(L.shape[:-2], U.shape[:-2]) + L.shape[-2:]
        out = L.copy() if shape == L.shape else (L + 0 * U[..., :1]).copy()
        out = transposed_copy(out) if order == "F" else out
        assert linalg.cholesky_update(L, U, sign=sign, out=out) is out
        return out

    return call


def out_is_l(L, U, sign):
    L = L.copy()
    assert linalg.cholesky_update(L, U, sign=sign, out=L) is L
    return L


def out_is_u(L, U, sign):
    U = U.copy()
    assert linalg.cholesky_update(L, U, sign=sign, out=U) is U
    return U


def overwrite(L, U, sign):
    L = transposed_copy(L) if L.flags.f_contiguous and not L.flags.c_contiguous else L.copy()
    assert linalg.cholesky_update(L, U, sign=sign, overwrite=True) is L
    return L


def unchecked(L, U, sign):
    return linalg.cholesky_update(L, U, sign=sign, check=False)


def lost(n, m, batch=()):
    """A downdate by too much, of the last member of a batch."""

    def inputs(rng, dtype):
        L, U, _ = given(n, m, -1, batch=batch)(rng, dtype)
        U[(-1,) * len(batch)][..., 0] = 3 * np.tril(L[(-1,) * len(batch)])[:, n // 2]
        return L, U, -1

    return inputs


UPDATE = {
    f"{what}, n={n}, m={m}": Case(given(n, m, sign), update, n + m, WELL, oracle.cholesky_update)
    for what, sign in {"added": 1, "taken": -1, "both": 0}.items()
    for n, m in [(1, 1), (2, 3), (12, 1), (33, 2), (33, 9), (65, 17), (64, 64)]
    if sign or m > 1
}
UPDATE |= {
    f"{what}, n={n}, m={m}": Case(given(n, m, sign), update, n + m, WELL)
    for what, sign in {"added": 1, "taken": -1, "both": 0}.items()
    for n, m in [(130, 1), (130, 33), (5, 20), (20, 0)]
    if sign or m > 1
}
UPDATE |= {
    f"{what}, {batch} of {n}, m={m}": Case(given(n, m, sign, batch=batch), update, n + m, WELL)
    for what, sign in {"added": 1, "taken": -1, "both": 0}.items()
    for n, m, batch in [(1, 2, (3,)), (8, 3, (2, 3)), (65, 5, (3,)), (4, 2, (0,))]
}
UPDATE |= {
    "n=0": Case(given(0, 2), update),
    "vector": Case(given(20, 1, vector=True), update, 21, WELL, oracle.cholesky_update),
    "vectors of a batch": Case(given(20, 1, -1, batch=(3,), vector=True), update, 21, WELL),
    "column-major": Case(given(40, 3, -1, order="F"), update, 43, WELL, oracle.cholesky_update),
    "column-major batch": Case(given(20, 3, 0, order="F", batch=(3,)), update, 23, WELL),
    "strided": Case(
        lambda rng, dtype: (*map(strided, given(20, 3)(rng, dtype)[:2]), 1), update, 23, WELL, oracle.cholesky_update
    ),
    "one L, many U": Case(
        lambda rng, dtype: (factor(rng, 12, dtype=dtype), normal(rng, dtype, 2, 3, 12, 2), 1), update, 14, WELL
    ),
    "many L, one U": Case(
        lambda rng, dtype: (factor(rng, 12, dtype=dtype, batch=(3,)), normal(rng, dtype, 1, 12, 2), 1), update, 14, WELL
    ),
    "repeated L": Case(
        lambda rng, dtype: (
            np.broadcast_to(factor(rng, 12, dtype=dtype), (3, 12, 12)), normal(rng, dtype, 3, 12, 2), 1
        ),
        update, 14, WELL,
    ),
    "mixed dtypes": Case(given(12, 3, dtype_of_u=np.float32), update, 15, WELL),
    "out": Case(given(33, 3, -1), into_out("C"), 36, WELL),
    "out of another order": Case(given(33, 3), into_out("F"), 36, WELL),
    "out, broadcast": Case(
        lambda rng, dtype: (np.tril(factor(rng, 12, dtype=dtype)), normal(rng, dtype, 3, 12, 2), 1),
        into_out("C"), 14, WELL,
    ),
    "out is L": Case(given(33, 3, 0), out_is_l, 36, WELL),
    "out is U": Case(given(16, 16), out_is_u, 32, WELL),
    "overwrite": Case(given(33, 3), overwrite, 36, WELL),
    "overwrite, taken": Case(given(33, 3, -1), overwrite, 36, WELL),
    "overwrite, column-major": Case(given(33, 3, 0, order="F"), overwrite, 36, WELL),
    "overwrite, batch": Case(given(12, 3, -1, batch=(3,)), overwrite, 15, WELL),
    "unchecked": Case(given(33, 3, -1), unchecked, 36, WELL),
    "unchecked, batch": Case(given(12, 3, -1, batch=(2, 2)), unchecked, 15, WELL),
    "unchecked, lost": Case(lost(12, 2), unchecked, 14, WELL),
    "unchecked, lost in a batch": Case(lost(12, 2, (2, 2)), unchecked, 14, WELL),
    "unchecked, lost in a large batch": Case(lost(65, 4, (3,)), unchecked, 69, WELL),
    "unchecked, overwrite, lost in a batch": Case(
        lost(12, 2, (3,)), lambda L, U, sign: _unchecked_overwrite(L, U, sign), 14, WELL
    ),
}  # fmt: skip


def _unchecked_overwrite(L, U, sign):
    L = L.copy()
    result, ok = linalg.cholesky_update(L, U, sign=sign, check=False, overwrite=True)
    assert result is L
    return result, ok


def with_bar(n, m, sign=1, **options):
    def inputs(rng, dtype):
        L, U, signs = given(n, m, sign, condition=MILD, **options)(rng, dtype)
        return L, U, signs, normal(rng, dtype, *L.shape)

    return inputs


def pull(L, U, sign, bar):
    return linalg.cholesky_update_vjp(L, U, bar, sign=sign)


def scaled(function):
    """Cotangents are compared relative to the largest of them all."""

    def scale(*arguments):
        bars = function(*arguments)
        bars = bars if isinstance(bars, tuple) else (bars,)
        largest = max(float(np.abs(bar).max(initial=0)) for bar in bars)
        return (largest,) * len(bars) if len(bars) > 1 else largest

    return scale


def pulled(inputs, call, size, exact=None, **keywords):
    return Case(inputs, call, size, PULLED, exact, scaled(call), **keywords)


def exact_pull(L, U, sign, bar):
    return oracle.cholesky_update_vjp(L, U, bar, sign)


UPDATE_VJP = {
    f"{what}, n={n}, m={m}": pulled(with_bar(n, m, sign), pull, n + m, exact_pull if n < 9 else None)
    for what, sign in {"added": 1, "taken": -1, "both": 0}.items()
    for n, m in [(1, 2), (6, 3), (33, 2), (65, 9), (130, 33)]
}
UPDATE_VJP |= {
    "n=0": pulled(with_bar(0, 2), pull, 1),
    "m=0": pulled(with_bar(5, 0), pull, 5),
    "vector": pulled(with_bar(6, 1, vector=True), pull, 7, exact_pull),
    "batch": pulled(with_bar(8, 3, 0, batch=(2, 3)), pull, 11),
    "large batch": pulled(with_bar(65, 3, -1, batch=(3,)), pull, 68),
    "column-major": pulled(with_bar(20, 3, order="F"), pull, 23),
    "new factor given": pulled(
        with_bar(20, 3, -1),
        lambda L, U, sign, bar: linalg.cholesky_update_vjp(
            L, U, bar, sign=sign, L_new=linalg.cholesky_update(L, U, sign=sign)
        ),
        23,
    ),
}


def row(n, at, m=1, **options):
    """L, where new rows go, b and c."""
    return lambda rng, dtype: (lambda L, b, c: (L, at, b, c))(*insertion(rng, n, at, m, dtype=dtype, **options))


def vectors(inputs):
    """A single column as a vector, and c as what has two dimensions less."""

    def less(rng, dtype):
        L, at, b, c = inputs(rng, dtype)
        return L, at, b[..., 0], c[..., 0, 0].copy()

    return less


def gone(n, index, batch=()):
    return lambda rng, dtype: (factor(rng, n, dtype=dtype, batch=batch), index)


ROWS = {
    f"insert {m} at {at} of {n}": Case(row(n, at, m), linalg.cholesky_insert, n + m, WELL, oracle.cholesky_insert)
    for n, at, m in [(0, 0, 2), (1, 0, 1), (12, 5, 1), (12, 0, 3), (12, 12, 2), (65, 20, 5), (12, 4, 0)]
}
ROWS |= {
    f"append {m} to {n}": Case(
        row(n, n, m), lambda L, _, b, c: linalg.cholesky_append(L, b, c), n + m, WELL, oracle.cholesky_insert
    )
    for n, m in [(0, 1), (1, 1), (12, 3), (65, 66)]
}
ROWS |= {
    "insert a vector": Case(vectors(row(12, 5)), linalg.cholesky_insert, 13, WELL, oracle.cholesky_insert),
    "insert in a batch": Case(row(12, 5, 2, batch=(2, 2)), linalg.cholesky_insert, 14, WELL),
    "insert vectors in a batch": Case(vectors(row(12, 5, batch=(3,))), linalg.cholesky_insert, 13, WELL),
    "append to a batch": Case(
        row(12, 12, 2, batch=(2, 2)), lambda L, _, b, c: linalg.cholesky_append(L, b, c), 14, WELL
    ),
    "append a Python number": Case(
        lambda rng, dtype: (factor(rng, 5, dtype=dtype), np.zeros(5, dtype)),
        lambda L, b: linalg.cholesky_append(L, b, 2.0),
        6,
        WELL,
    ),
}
ROWS |= {
    f"delete {index} of {n}": Case(gone(n, index), linalg.cholesky_delete, n, WELL, oracle.cholesky_delete)
    for n, index in [(1, 0), (2, 0), (12, 11), (12, -3), (12, [1, 5, 6]), (65, list(range(0, 64, 5))), (5, [])]
}
ROWS |= {
    "delete all": Case(gone(3, [0, 1, 2]), linalg.cholesky_delete, 3, WELL),
    "delete of a batch": Case(gone(12, [2, 7], (2, 2)), linalg.cholesky_delete, 12, WELL),
}


def new_factor(n, m, batch=()):
    return lambda rng, dtype: (
        triangular(rng, n + m, condition=MILD, dtype=dtype, batch=batch), normal(rng, dtype, *batch, n + m, n + m)
    )  # fmt: skip


def inserted(n, at, m, batch=()):
    def inputs(rng, dtype):
        L, b, c = insertion(rng, n, at, m, dtype=dtype, batch=batch, condition=MILD)
        return L, linalg.cholesky_insert(L, at, b, c), normal(rng, dtype, *batch, n + m, n + m)

    return inputs


ROWS |= {
    f"append_vjp, {batch} {m} to {n}": pulled(
        new_factor(n, m, batch), lambda new, bar, m=m: linalg.cholesky_append_vjp(new, bar, m), n + m
    )
    for n, m, batch in [(5, 1, ()), (33, 4, ()), (0, 2, ()), (5, 2, (3,))]
}
ROWS |= {
    f"insert_vjp, {batch} {m} at {at} of {n}": pulled(
        inserted(n, at, m, batch),
        lambda L, new, bar, at=at, m=m: linalg.cholesky_insert_vjp(L, at, new, bar, m),
        n + m,
    )
    for n, at, m, batch in [(5, 2, 1, ()), (33, 10, 4, ()), (5, 5, 2, ()), (5, 0, 2, (3,))]
}
ROWS |= {
    f"delete_vjp, {batch} {index} of {n}": pulled(
        lambda rng, dtype, n=n, index=index, batch=batch: (
            factor(rng, n, dtype=dtype, batch=batch, condition=MILD), index,
            normal(rng, dtype, *batch, n - np.size(index), n - np.size(index)),
        ),
        linalg.cholesky_delete_vjp,
        n,
    )
    for n, index, batch in [(5, 2, ()), (33, [3, 4, 20], ()), (5, [0, 3], (3,)), (4, [], ())]
}  # fmt: skip

UPDATES = {f"cholesky_update: {name}": case for name, case in UPDATE.items()}
UPDATES |= {f"cholesky_update_vjp: {name}": case for name, case in UPDATE_VJP.items()}
UPDATES |= {f"cholesky rows: {name}": case for name, case in ROWS.items()}
