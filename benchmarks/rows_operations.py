"""Rows of the table for linear algebra, kernels, random draws and densities."""

from __future__ import annotations

import peers.cholesky_updates
import peers.covariances
import peers.distributions
import peers.flows
import peers.generators
import peers.matrices
import peers.polya_gamma
import ratios_cholesky_update
from cases import UpdateCase
from peers.covariances import CovarianceCase, Unavailable
from peers.distributions import DensityCase
from peers.flows import FlowCase
from peers.generators import DrawCase
from peers.matrices import FACTORS, SOLVES, assert_close, covariance
from peers.polya_gamma import PolyaGammaCase
from rows import Pair, Row

import lvmfast as lvm


def cholesky(dtype: str, quick: bool):
    """Factors."""
    n = 200 if quick else 1000
    A = covariance(n, dtype)

    def pair(peer):
        ours, theirs = lambda: lvm.linalg.cholesky(A), FACTORS[peer](A)
        assert_close(theirs(), ours())
        return Pair(ours, theirs)

    return f"n={n}", pair


def cholesky_solve(dtype: str, quick: bool):
    """Solves with a factor at hand."""
    n, m = (200, 20) if quick else (1000, 200)
    A = covariance(n, dtype)
    L, B = lvm.linalg.cholesky(A), A[:, :m].copy()

    def pair(peer):
        ours, theirs = lambda: lvm.linalg.cholesky_solve(L, B), SOLVES[peer](L, B)
        assert_close(theirs(), ours())
        return Pair(ours, theirs)

    return f"n={n} m={m}", pair


def cholesky_update(dtype: str, quick: bool):
    """Updates in place, column-major; what restores a peer's arguments is not in its time."""
    n, m = (128 if quick else 1024), 8
    case = UpdateCase.random(n, m, dtype, "F")

    def pair(peer):
        made = peers.cholesky_updates.PEERS[peer](case.L, case.U)
        if made is None:
            raise Unavailable(f"{peer} is not installed, or has no {dtype}")
        (reset, theirs, answer), (ours, our_answer) = made, case.ours()
        reset()
        for run, found in ((ours, our_answer), (theirs, answer)):
            run()
            case.assert_answer(found())

        def timer(ours, theirs, rounds, turn):
            return ratios_cholesky_update.compare(ours, reset, theirs, rounds)

        return Pair(ours, theirs, timer=timer)

    return f"n={n} m={m}", pair


def kernel(operation: str):
    """Covariance matrices, or the same with a pull-back."""

    def make(dtype: str, quick: bool):
        n, q = (256 if quick else 2048), 4
        case = CovarianceCase.random("RBF", n, q, dtype)
        ours = peers.covariances.ours(case, operation)
        case.assert_answer(ours(), operation)

        def pair(peer):
            theirs = peers.covariances.PEERS[peer](case, operation)
            case.assert_answer(theirs(), operation)
            return Pair(ours, theirs)

        return f"n={n} q={q}", pair

    return make


def normal_draws(dtype: str, quick: bool):
    """Standard normal numbers into an array that is there."""
    case = DrawCase("normal", dtype, 100_000 if quick else 5_000_000, True)
    ours = case.ours()
    case.assert_answer(ours())

    def pair(peer):
        theirs = case.peer(peer)
        case.assert_answer(theirs())
        return Pair(ours, theirs)

    return f"n={case.n}", pair


def polya_gamma(dtype: str, quick: bool):
    """PG(1, z) for an array of z."""
    case = PolyaGammaCase(1, "N(0, 2^2)", dtype, 20_000 if quick else 200_000)
    ours = case.ours()
    case.assert_answer(ours())

    def pair(peer):
        theirs = POLYA_GAMMA[peer](case)
        case.assert_answer(theirs())
        return Pair(ours, theirs)

    return f"n={case.n} z ~ N(0, 4)", pair


def density(name: str):
    """Log densities of a transformed distribution."""

    def make(dtype: str, quick: bool):
        case = DensityCase(name, 20_000 if quick else 1_000_000, dtype)
        ours = case.ours()
        case.assert_answer(ours())

        def pair(peer):
            theirs = DENSITIES[peer](case)
            case.assert_answer(theirs())
            return Pair(ours, theirs)

        return f"n={case.n}", pair

    return make


def flow(dtype: str, quick: bool):
    """A RealNVP's density with its gradient."""
    case = FlowCase.random(20 if quick else 100, dtype)
    ours = peers.flows.ours(case)

    def pair(peer):
        theirs = peers.flows.PEERS[peer](case)
        peers.flows.assert_same_answer(case, ours(), theirs())
        return Pair(ours, theirs)

    return f"n={len(case.x)} d=8, 6 layers", pair


POLYA_GAMMA = {"numpy-series": PolyaGammaCase.series, **peers.polya_gamma.PEERS}
DENSITIES = {"numpy": DensityCase.numpy, "scipy": DensityCase.scipy, **peers.distributions.PEERS}
COVARIANCES = tuple(peer for peer in peers.covariances.PEERS if peer != "keops")
MOMENTS = "mean and variance to five standard errors"

OPERATIONS = (
    Row("cholesky", "Cholesky factor", "L to 1e-10 (float32: 1e-4)", tuple(FACTORS), cholesky),
    Row("solve", "solution with a Cholesky factor", "X to 1e-10 (float32: 1e-4)", tuple(SOLVES), cholesky_solve),
    Row(
        "cholesky-update",
        "Cholesky factor after a rank-8 update",
        "L L^T to n 1e-13 (float32: n 1e-5)",
        tuple(peers.cholesky_updates.PEERS),
        cholesky_update,
    ),
    Row("kernel", "RBF kernel matrix, ARD", "K to 1e-9 (float32: 1e-5) of NumPy's", COVARIANCES, kernel("value")),
    Row(
        "kernel-pullback",
        "the same with gradients by inputs and parameters",
        "K to 1e-9, gradients to 1e-8 (float32: 1e-5, 1e-3) of NumPy's",
        COVARIANCES,
        kernel("value_and_vjp"),
    ),
    Row("random-normal", "normal draws", MOMENTS, tuple(peers.generators.PEERS), normal_draws),
    Row("polya-gamma", "Polya-gamma draws PG(1, z)", MOMENTS, tuple(POLYA_GAMMA), polya_gamma),
    Row(
        "log-normal",
        "log density of a transformed distribution: exp of a normal",
        "to 1e-9 (float32: 2e-3) of NumPy's",
        tuple(DENSITIES),
        density("exp"),
    ),
    Row(
        "banana",
        "log density of a transformed distribution: banana",
        "to 1e-9 (float32: 2e-3) of NumPy's",
        tuple(peer for peer in DENSITIES if peer != "scipy"),
        density("banana"),
    ),
    Row(
        "flow",
        "log density of a RealNVP with its gradient by all weights",
        "value and gradient to 1e-9 (float32: 1e-4)",
        tuple(peers.flows.PEERS),
        flow,
    ),
)
