"""Rows of the table for Gaussian processes and what is built on them."""

from __future__ import annotations

import numpy as np
import peers
import peers.bayesian_optimization
import peers.gp_classification
import peers.gp_regression
import peers.sparse_regression
import peers.sparse_variational
import ratios_bayesopt
import ratios_gpr
import ratios_sgpr
import ratios_svgp
from cases import GplvmCase, assert_same_answer
from peers.bayesian_optimization import KnowledgeGradientCase
from peers.covariances import Unavailable
from peers.gp_classification import ClassificationCase
from peers.gp_regression import RegressionCase
from peers.sparse_regression import SparseCase
from peers.sparse_variational import Start, natural_of
from ratios_kernels import compare
from rows import FLOAT64, Pair, Row, names


def gpr(operation: str, n: int):
    """Exact regression; see ``ratios_gpr.py``."""

    def make(dtype: str, quick: bool):
        case = RegressionCase.random(100 if quick else n, dtype)
        ours = ratios_gpr.checked(peers.gp_regression.ours(case, operation), case, operation)

        def pair(peer):
            theirs = ratios_gpr.checked(peers.gp_regression.PEERS[peer](case, operation), case, operation)
            if operation == "fit":
                np.testing.assert_allclose(ours()[0], theirs()[0], rtol=1e-4)
            return Pair(ours, theirs)

        return f"n={len(case.y)} q=8", pair

    return make


def gplvm(dtype: str, quick: bool):
    """One evaluation of the likelihood of handwritten digits with all gradients."""
    case = GplvmCase.digits(200 if quick else 1000)
    ours = case.ours()

    def pair(peer):
        module = peers.load(peer)
        available, reason = module.available()
        if not available:
            raise Unavailable(reason)
        theirs = case.peer(module)
        assert_same_answer(ours(), theirs())
        return Pair(ours, theirs)

    return f"n={len(case.Y)} d=784 q=2", pair


def sgpr(dtype: str, quick: bool):
    """The collapsed bound; see ``ratios_sgpr.py``."""
    case = SparseCase.random(*((500, 30) if quick else (5000, 200)), dtype)
    run = peers.sparse_regression.ours(case)
    ours = ratios_sgpr.checked(run, case)

    def pair(peer):
        other = peers.sparse_regression.PEERS[peer](case)
        theirs = ratios_sgpr.checked(other, case)
        ratios_sgpr.assert_gradients(run, other, case)
        return Pair(ours, theirs)

    return f"n={len(case.y)} m={case.m} q=8", pair


def svgp(natural: bool):
    """A step; see ``ratios_svgp.py``."""

    def make(dtype: str, quick: bool):
        rows, m = (200, 50) if quick else (1024, 500)
        data = ratios_svgp.batches(rows, "gaussian", dtype)
        start = Start.random(m, ratios_svgp.N_BATCHES * rows, "gaussian", dtype, natural)
        ours = ratios_svgp.checked(peers.sparse_variational.OURS["whole"](start), start, data)

        def timer(ours, theirs, rounds, turn):
            return compare(ours, theirs, rounds, 3.5 * turn)  # idle threads of the other side spin for some calls

        def pair(peer):
            theirs = ratios_svgp.checked(peers.sparse_variational.PEERS[peer](start), start, data)
            return Pair(ours, theirs, timer=timer)

        return f"batch={rows} m={m} q=8", pair

    return make


def gp_classifier(dtype: str, quick: bool):
    """A fit with its predictions: a variational bound, and Laplace's approximation."""
    case = ClassificationCase.random(100 if quick else 300)
    ours = peers.gp_classification.ours(case, "fit")

    def pair(peer):
        theirs = peers.gp_classification.PEERS[peer](case, "fit")
        answers = ours(), theirs()
        for answer in answers:
            case.assert_answer(answer, "fit")
        assert np.corrcoef(*answers)[0, 1] > 0.95
        return Pair(ours, theirs)

    return f"n={len(case.y)} q=4", pair


def knowledge_gradient(operation: str):
    """64 outcomes a candidate; see ``ratios_bayesopt.py``."""

    def make(dtype: str, quick: bool):
        case = KnowledgeGradientCase.random("sine", **({"n_candidates": 10, "batch": 2} if quick else {}))
        ours = ratios_bayesopt.even_weights(case)

        def pair(peer):
            other = peers.bayesian_optimization.PEERS[peer](case, 2, 32)
            ratios_bayesopt.assert_same_model(case, ours, other)
            mine, theirs, _ = ratios_bayesopt.CHECKED[operation](case, ours, other)
            return Pair(mine, theirs)

        counts = {"evaluate": len(case.candidates), "one_shot": len(case.fantasy_points)}
        candidates = f"{counts[operation]} candidates" if operation in counts else "the best candidate"
        return f"{len(case.y)} observations, 64 outcomes, {candidates}", pair

    return make


VARIATIONAL = names(peers.sparse_variational)
GAUSSIAN_PROCESSES = (
    Row(
        "gpr",
        "exact GP regression: log marginal likelihood with its gradient",
        "value and gradient to 1e-6 (float32: 5e-3) of NumPy's",
        names(peers.gp_regression),
        gpr("likelihood", 1000),
    ),
    Row(
        "gpr-fit",
        "exact GP regression: maximum of the likelihood",
        "likelihoods at both maxima to 1e-4",
        names(peers.gp_regression, but=("gpytorch", "jax")),
        gpr("fit", 500),
        FLOAT64,
    ),
    Row(
        "gpr-mean",
        "exact GP regression: mean at one point",
        "to 1e-6 (float32: 5e-3) of NumPy's",
        names(peers.gp_regression, but=("jax",)),
        gpr("mean", 1000),
    ),
    Row(
        "gpr-predict",
        "exact GP regression: mean and standard deviation at one point",
        "to 1e-6 (float32: 5e-3) of NumPy's",
        names(peers.gp_regression, but=("jax",)),
        gpr("mean_and_std", 1000),
    ),
    Row("gplvm", "GPLVM: likelihood with all gradients", "all to 1e-8", tuple(peers.PEERS), gplvm, FLOAT64),
    Row(
        "sgpr",
        "sparse GP regression: collapsed bound with its gradient",
        "bound to 1e-5 (float32: 1e-4) of NumPy's, gradients to 1e-4 in float64",
        names(peers.sparse_regression),
        sgpr,
    ),
    Row(
        "svgp",
        "stochastic variational GP: a step of Adam",
        "first bound to 1e-8 (float32: 1e-5) of NumPy's; steps raise it",
        tuple(peer for peer in VARIATIONAL if not natural_of(peer)),
        svgp(False),
    ),
    Row(
        "svgp-natural",
        "stochastic variational GP: a natural gradient step for q(u), of Adam for the rest",
        "first bound to 1e-8 (float32: 1e-5) of NumPy's; steps raise it",
        tuple(peer for peer in VARIATIONAL if natural_of(peer)),
        svgp(True),
    ),
    Row(
        "gp-classifier",
        "GP classification: fit and probabilities",
        "probabilities correlate above 0.95 (two approximations)",
        ("scikit-learn",),
        gp_classifier,
        FLOAT64,
    ),
    Row(
        "knowledge-gradient",
        "knowledge gradient, every inner minimum searched",
        "posteriors to 1e-8; inner minima no higher than theirs",
        names(peers.bayesian_optimization),
        knowledge_gradient("evaluate"),
        FLOAT64,
    ),
    Row(
        "knowledge-gradient-one-shot",
        "knowledge gradient, one-shot form with gradients",
        "value to 1e-6, gradients to 1e-5",
        names(peers.bayesian_optimization),
        knowledge_gradient("one_shot"),
        FLOAT64,
    ),
    Row(
        "knowledge-gradient-maximize",
        "knowledge gradient, the best candidate",
        "ours is within a hundredth of theirs, or better, by 4,096 outcomes",
        names(peers.bayesian_optimization),
        knowledge_gradient("maximize"),
        FLOAT64,
    ),
)
