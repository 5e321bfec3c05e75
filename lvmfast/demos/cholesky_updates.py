"""Cholesky factors of matrices that change by a few columns: ``lvmfast demo cholesky-updates``.

    B = A + U U^T = (((A + u_1 u_1^T) + u_2 u_2^T) + ...) + u_M u_M^T,  A = L L^T

Tiao's text on low-rank updates: the factor of B from that of A costs O(N^2 M) in place of O(N^3). One column; then M,
column by column as the text's one-liner has them, and in one call; then columns that are taken away again, and what
thousands of updates of one factor leave of its digits.
"""

from __future__ import annotations

import functools

import numpy as np
from tqdm.auto import tqdm

from lvmfast import plot
from lvmfast._validation import check_integer
from lvmfast.demos._registry import Demo
from lvmfast.demos._report import fastest, finish, seconds
from lvmfast.exceptions import NotPositiveDefiniteError
from lvmfast.linalg import cholesky, cholesky_update

DEMO = Demo(
    "Cholesky factors of matrices that change by a few columns, and what an update saves",
    "Efficient Cholesky decomposition of low-rank updates",
    6,
)


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    parser.add_argument("--n", type=int, help="rows of the largest matrix (default: %(default)s)")
    parser.add_argument("--m", type=int, help="columns of the update (default: %(default)s)")
    parser.add_argument("--updates", type=int, help="updates of one factor (default: %(default)s)")


def matrix(n: int, rng) -> np.ndarray:
    """A (n, n), with eigenvalues from 1 to about 5."""
    X = rng.standard_normal((n, n))
    return np.eye(n) + X @ X.T / n


def columns(n: int, m: int, rng) -> np.ndarray:
    """U (n, m), columns of length 1, about."""
    return rng.standard_normal((n, m)) / np.sqrt(n)


def iterated(L, U) -> np.ndarray:
    """The text's one-liner: rank-1 updates by one column after the other."""
    return functools.reduce(cholesky_update, U.T, L)


WAYS = {  # and what each costs
    "one call": (lambda A, L, U: cholesky_update(L, U), "O(N² M)"),
    "column by column": (lambda A, L, U: iterated(L, U), "O(N² M)"),
    "from scratch": (lambda A, L, U: cholesky(A + U @ U.T), "O(N³)"),
}


def run(*, output, seed=0, n=1024, m=16, updates=2000, quiet=False) -> dict:
    """Update, compare and time, say what came out and write the pictures to ``output``; returns what was measured."""
    n, m = check_integer(n, "n", 16), check_integer(m, "m", 1)
    updates = check_integer(updates, "updates", 1)
    rng = np.random.default_rng(seed)
    errors, numbers = agreement(rng, m)
    sizes = [size for size in (64, 128, 256, 512, 1024, 2048) if size < n] + [n]
    ranks = [rank for rank in (1, 2, 4, 8, 16, 32, 64, 128, 256) if rank <= n // 4]
    with tqdm(total=len(sizes) + len(ranks), disable=quiet, desc="timings") as bar:
        by_size = times([(size, m) for size in sizes], rng, bar)
        by_rank = times([(n, rank) for rank in ranks], rng, bar)
    numbers[f"times for N = {n:,}, M = {m}"] = ""
    for way, (_, work) in WAYS.items():
        numbers[f"  {way}"] = (seconds(by_size[way][-1]), work)
    numbers["  saved by one call, as a factor"] = f"{by_size['from scratch'][-1] / by_size['one call'][-1]:.1f}"
    drift = wear(updates, rng, quiet)
    numbers[f"error of one factor after {updates:,} columns, added and taken away"] = f"{drift[-1]:.1e}"
    figures = {
        "times-by-size": lines(sizes, by_size, "N, rows of A", f"M = {m} columns", guides=True),
        "times-by-rank": lines(ranks, by_rank, "M, columns of U", f"N = {n:,} rows"),
        "wear": worn(drift),
    }
    measured = {"errors": errors, "times": by_size, "wear": drift}
    return measured | finish(output, figures, numbers, quiet)


def agreement(rng, m: int, n: int = 200) -> tuple[dict, dict]:
    """Largest differences from the factor of B itself, beside the decimals that the text asserts."""
    A, U = matrix(n, rng), columns(n, m, rng)
    L, truth = cholesky(A), cholesky(A + U @ U.T)
    outer = sum(np.multiply.outer(u, u) for u in U.T)
    first = A + np.multiply.outer(U[:, 0], U[:, 0])
    back = cholesky_update(truth, U, sign=-1)
    stack = cholesky_update(np.stack([L, truth]), U[None])
    differences = {
        "rank 1, cholesky_update(L, u)": (cholesky_update(L, U[:, 0]) - cholesky(first), "6 decimals"),
        "U Uᵀ less the sum of outer products": (U @ U.T - outer, "14 decimals"),
        f"rank {m}, column by column (functools.reduce)": (iterated(L, U) - truth, "6 decimals"),
        f"rank {m}, one call": (cholesky_update(L, U) - truth, ""),
        "  of two matrices at once, [..., N, N]": (stack - [truth, cholesky(A + 2 * U @ U.T)], ""),
        "  taken away again, sign=-1": (back - L, ""),
    }
    errors = {name: float(np.abs(difference).max()) for name, (difference, _) in differences.items()}
    numbers = {f"largest difference from the factor of B, N = {n}": ""}
    numbers |= {name: (f"{errors[name]:.1e}", text) for name, (_, text) in differences.items()}
    try:
        cholesky_update(L, 10 * U, sign=-1)
    except NotPositiveDefiniteError as error:
        numbers["  more than there is taken away"] = f"NotPositiveDefiniteError at column {error.pivot}"
    return errors, numbers


def times(cases, rng, bar) -> dict:
    """Seconds of every way for cases (n, m): the update from L, or B formed and factorised."""
    found, A = {way: [] for way in WAYS}, np.empty((0, 0))
    for n, m in cases:
        if len(A) != n:
            A = matrix(n, rng)
            L = cholesky(A)
        U = columns(n, m, rng)
        for way, (function, _) in WAYS.items():
            found[way].append(fastest(functools.partial(function, A, L, U)))
        bar.update()
    return found


def wear(updates: int, rng, quiet: bool, n: int = 100, window: int = 50) -> np.ndarray:
    """Relative error of ``L L^T`` after every update by a new column and, once there are some, minus the oldest."""
    A, new = matrix(n, rng), columns(n, updates, rng)
    L, errors = cholesky(A), []
    for k in tqdm(range(updates), disable=quiet, desc="updates"):
        old = new[:, k - window] if k >= window else np.zeros(n)
        L = cholesky_update(L, np.column_stack([new[:, k], old]), sign=[1, -1])
        kept = new[:, max(0, k - window + 1) : k + 1]
        B = A + kept @ kept.T
        errors.append(np.linalg.norm(L @ L.T - B) / np.linalg.norm(B))
    return np.array(errors)


# Pictures.


def lines(x, found: dict, xlabel: str, title: str, guides: bool = False):
    """Times against N or M, both logarithmic; and what grows with the square and with the cube."""
    figure, ax = plot.new_figure((7.5, 4.8))
    for k, (way, values) in enumerate(found.items()):
        ax.loglog(x, np.array(values) * 1e3, "os^"[k] + "-", color=plot.COLORS[k], lw=1.8, ms=5, label=way)
    if guides:
        for way, power, style, label in (("one call", 2, ":", "∝ N²"), ("from scratch", 3, "--", "∝ N³")):
            ax.loglog(x, 1e3 * found[way][-1] * (np.array(x) / x[-1]) ** power, style, color="0.6", lw=1.2, label=label)
    ax.set(xlabel=xlabel, ylabel="time (ms)", title=title)
    ax.set_xticks(x, [f"{value:,}" for value in x])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return figure


def worn(errors):
    """The error of the factor, update by update."""
    figure, ax = plot.new_figure((7.5, 4.2))
    ax.plot(np.arange(1, len(errors) + 1), errors, color=plot.COLORS[0], lw=1, label="updated factor")
    ax.axhline(np.finfo(float).eps, color="k", ls=":", lw=1.2, label="rounding unit")
    ax.set(xlabel="columns added", ylabel="relative error of $L L^T$", yscale="log", xlim=(1, len(errors)))
    ax.legend(frameon=False)
    return figure
