"""Times of a step of stochastic variational inference beside the peers, in pairs: ``python benchmarks/ratios_svgp.py``.

A step is a batch of 1024 rows with 8 inputs, 500 inducing inputs, an ARD RBF kernel, whitened, with a full q(u): ELBO,
all gradients, and the update of q, kernel, noise, mean and inducing inputs, by Adam or (``-natural``) with a natural
gradient for q. Every line: our time in milliseconds and theirs / ours, as min / median / max over the pairs.
``compiled`` is the compiled step alone, in which the parameters beside q have gradients and stay; ``whole`` is the
step as ``SVGP.fit`` takes it. ELBOs are compared with plain NumPy first.

``floor`` is the time that the step's flops take at the measured rates of BLAS and LAPACK for these shapes. Every
number of threads has a process of its own, see ``ratios_kernels.py``.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
import scipy.linalg
from cases import threads
from peers.sparse_variational import OURS, PEERS, Start, Unavailable, natural_of
from ratios_kernels import compare, for_each_thread_count, parser, report, spread

LIKELIHOODS = ("gaussian", "bernoulli")
N_BATCHES = 8


def batches(rows: int, likelihood: str, dtype: str, q: int = 8) -> list:
    """Standard normal inputs; sines with noise, or coins with their logits."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_BATCHES, rows, q))
    f = np.sin(X @ rng.standard_normal(q))
    if likelihood == "gaussian":
        y = f + 0.2 * rng.standard_normal(f.shape)
    else:
        y = (rng.random(f.shape) < 1 / (1 + np.exp(-3 * f))).astype(float)
    return list(zip(X.astype(dtype), y.astype(dtype), strict=True))


def checked(trainer, start: Start, data: list):
    """A callable that takes a step with the next batch, its ELBO asserted, before steps and after some."""
    first = start.expected(*data[0], trainer.diagonal)
    rtol = 1e-8 if start.dtype == "float64" else 1e-5
    np.testing.assert_allclose(trainer.elbo(*data[0]), first, rtol=rtol)
    for _ in range(3):
        trainer.step(*data[0])
    assert trainer.elbo(*data[0]) > first
    turns = itertools.cycle(data)
    return lambda: trainer.step(*next(turns))


def rates(m: int, rows: int, dtype: str) -> dict[str, float]:
    """Flops per second, by operation."""
    rng = np.random.default_rng(0)
    letter = "d" if dtype == "float64" else "s"
    blas = {name: getattr(scipy.linalg.blas, letter + name) for name in ("gemm", "trsm", "syrk")}
    potrf, potri = (getattr(scipy.linalg.lapack, letter + name) for name in ("potrf", "potri"))
    V = np.asfortranarray(rng.standard_normal((m, rows)), dtype)
    S = np.asfortranarray(np.eye(m) + 1e-3 * (V[:, :m] @ V[:, :m].T), dtype)
    W, G, T = np.empty_like(V), np.zeros_like(S), np.zeros_like(S)
    L = potrf(S, lower=1)[0]
    runs = {
        "trsm m m n": (rows * m**2, lambda: blas["trsm"](1.0, L, W, lower=1, overwrite_b=1)),
        "gemm m m n": (2 * rows * m**2, lambda: blas["gemm"](1.0, S, V, c=W, overwrite_c=1)),
        "syrk m n": (rows * m**2, lambda: blas["syrk"](1.0, V, c=G, overwrite_c=1)),
        "gemm m m m": (2 * m**3, lambda: blas["gemm"](1.0, S, S, c=T, overwrite_c=1)),
        "trsm m m m": (m**3, lambda: blas["trsm"](1.0, L, T, lower=1, overwrite_b=1)),
        "potrf m": (m**3 / 3, lambda: potrf(S, lower=1)),
        "potri m": (2 * m**3 / 3, lambda: potri(L, lower=1)),
    }
    found = {}
    for name, (flops, run) in runs.items():
        seconds = []
        for _ in range(7):
            W[:], T[:] = V, S
            begun = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - begun)
        found[name] = flops / min(seconds)
    return found


def floor(m: int, rows: int, dtype: str, natural: bool) -> tuple[float, str]:
    """Seconds of the flops of a step that ``csrc/algo/svgp.hpp`` counts, and the rates in words.

    Factors, and the inverse of S^-1, are in float64, the rest in the dtype. Without natural gradients there are the
    products W W^T and A W of a triangular W instead of the inverse.
    """
    rate, double = rates(m, rows, dtype), rates(m, rows, "float64")
    seconds = rows * m**2 * (1 / rate["trsm m m n"] + 2 / rate["gemm m m n"] + 1 / rate["syrk m n"])
    seconds += m**3 * (1 / rate["gemm m m m"] + 3 / rate["trsm m m m"] + 1 / 3 / double["potrf m"])
    if natural:
        seconds += m**3 * (1 / 3 / double["potrf m"] + 2 / 3 / double["potri m"])
    else:
        seconds += m**3 * (1 / 3 + 1) / rate["gemm m m m"]
    shown = rate | {name: double[name] for name in ("potrf m", "potri m")}
    return seconds, ", ".join(f"{name} {1e-9 * value:.0f}" for name, value in shown.items())


def lines(start: Start, data: list, peers: list, title: str, arguments, n_threads: int, medians: dict) -> None:
    """All peers of one case."""
    mine = {}
    for how in arguments.ours:
        mine[how] = checked(OURS[how](start), start, data)
    with threads(n_threads):
        seconds, words = floor(len(start.Z), len(data[0][0]), start.dtype, start.natural)
    print(f"  {title} floor {n_threads} thread(s): {1e3 * seconds:.1f} ms (GF/s: {words})", flush=True)
    for peer in peers:
        try:
            theirs = checked(PEERS[peer](start), start, data)
        except Unavailable as reason:
            print(f"  {title} {peer}: skipped, {reason}", flush=True)
            continue
        cells = []
        with threads(n_threads):  # again: the peer's library may have come with the peer
            for how, run in mine.items():
                seconds, ratios = compare(
                    run, theirs, arguments.rounds, turn=0.7
                )  # idle threads of the other side spin for some calls
                cells.append(f"{how}: {1e3 * seconds.min():.1f} ms {spread(ratios)}")
                medians.setdefault(f"{peer} {how}", []).append(np.median(ratios))
        print(f"  {title} {peer} {n_threads} thread(s) | " + " | ".join(cells), flush=True)


def main() -> None:
    """All cases."""
    options = parser(__doc__, PEERS, [1024])
    options.add_argument("--inducing", type=int, default=500)
    options.add_argument("--likelihoods", nargs="*", default=LIKELIHOODS, choices=LIKELIHOODS)
    options.add_argument("--ours", nargs="*", default=list(OURS), choices=list(OURS))
    arguments = options.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.inducing, arguments.rounds = [200], 50, 3

    def run(n_threads: int) -> None:
        medians: dict = {}
        for rows in arguments.sizes:
            for likelihood in arguments.likelihoods:
                for dtype in arguments.dtypes:
                    data = batches(rows, likelihood, dtype)
                    for natural in (False, True):
                        peers = [peer for peer in arguments.peers if natural_of(peer) == natural]
                        if not peers:
                            continue
                        start = Start.random(arguments.inducing, N_BATCHES * rows, likelihood, dtype, natural)
                        q = "natural" if natural else "Adam"
                        title = f"{likelihood} B={rows} M={arguments.inducing} {dtype} {q}"
                        lines(start, data, peers, title, arguments, n_threads, medians)
        report(medians, n_threads)

    for_each_thread_count(arguments, run)


if __name__ == "__main__":
    main()
