"""Rows of the table for models."""

from __future__ import annotations

import numpy as np
import peers
import peers.autoencoders
import peers.bayesian_optimization
import peers.density_ratios
import peers.gp_classification
import peers.gp_regression
import peers.logistic_regression
import peers.ratio_networks
import peers.sparse_regression
import peers.sparse_variational
import ratios_bayesopt
import ratios_gpr
import ratios_sgpr
import ratios_svgp
from cases import GplvmCase, assert_same_answer
from peers.autoencoders import AutoencoderCase
from peers.bayesian_optimization import KnowledgeGradientCase
from peers.covariances import Unavailable
from peers.gp_classification import ClassificationCase
from peers.gp_regression import RegressionCase
from peers.logistic_regression import LogisticCase
from peers.sparse_regression import SparseCase
from peers.sparse_variational import Start, natural_of
from ratios_kernels import compare
from rows import Pair, Row

FLOAT64, FLOAT32 = ("float64",), ("float32",)


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


def gibbs(n: int, k: int, iterations: int):
    """Iterations of a chain, as the estimator's ``fit`` makes them."""

    def make(dtype: str, quick: bool):
        case = LogisticCase.random(*((128, 3, 200) if quick else (n, k, iterations)), dtype)
        ours = peers.logistic_regression.fit(case)

        def pair(peer):
            theirs = peers.logistic_regression.PEERS[peer](case)
            case.assert_answer(ours(), theirs())
            return Pair(ours, theirs, case.iterations)

        return f"n={len(case.y)} p={case.Phi.shape[1]}, an iteration", pair

    return make


def vae(name: str):
    """Training steps, noise drawn in them."""

    def make(dtype: str, quick: bool):
        case = AutoencoderCase.random(name, 10 if quick else None)
        steps, rows = case.batches.shape[:2]
        ours = peers.autoencoders.OURS["train"](case)

        def pair(peer):
            theirs = peers.autoencoders.PEERS[peer](case)
            peers.autoencoders.assert_same_losses(ours, theirs, case.noise(3))
            return Pair(ours.epoch, theirs.epoch, steps)

        return f"batch={rows}, a step", pair

    return make


def ratio_network(dtype: str, quick: bool):
    """Epochs of a classifier's training, all rows in every step."""
    case = peers.ratio_networks.RatioCase.random("reference")
    ours = peers.ratio_networks.OURS["train"](case)

    def pair(peer):
        theirs = peers.ratio_networks.PEERS[peer](case)
        if theirs.losses is not None:
            peers.ratio_networks.assert_same_losses(ours, theirs)
        return Pair(ours.epoch, theirs.epoch, ours.epochs, theirs.epochs)

    return "1,000 + 1,000 rows, 1-16-32-1, an epoch", pair


def ratio_kernels(method: str):
    """Selection among candidates with the fit."""

    def make(dtype: str, quick: bool):
        n = 200 if quick else 1000
        case = peers.density_ratios.RatioCase.random(method, n, 1)
        ours = peers.density_ratios.ours(case)

        def pair(peer):
            found, fixed = peers.density_ratios.PEERS[peer], case.fixed()
            peers.density_ratios.assert_same_answer(case, peers.density_ratios.ours(fixed)(), found(fixed)())
            return Pair(ours, found(case))

        return f"{n} + {n} rows, 100 centres", pair

    return make


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


def names(module, but=()) -> tuple[str, ...]:
    """Of a module's peers."""
    return tuple(peer for peer in module.PEERS if peer not in but)


VARIATIONAL = names(peers.sparse_variational)
AUTOENCODERS = names(peers.autoencoders, but=("keras-model", "keras-model-jit"))
LOSSES = "first losses to 1e-5, the next two to 3e-3"
MODELS = (
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
        "gibbs-logistic",
        "Bayesian logistic regression by Gibbs sampling, few rows",
        "means of draws to six standard errors",
        names(peers.logistic_regression),
        gibbs(128, 3, 1000),
    ),
    Row(
        "gibbs-logistic-large",
        "Bayesian logistic regression by Gibbs sampling, many rows",
        "means of draws to six standard errors",
        names(peers.logistic_regression),
        gibbs(50_000, 50, 20),
    ),
    Row("vae-factor", "VAE of 100 features, Adam", LOSSES, AUTOENCODERS, vae("factor"), FLOAT32),
    Row("vae-dense", "VAE of digits, dense, RMSprop", LOSSES, AUTOENCODERS, vae("dense"), FLOAT32),
    Row("vae-conv", "VAE of digits, convolutional, RMSprop", LOSSES, AUTOENCODERS, vae("conv"), FLOAT32),
    Row(
        "density-ratio",
        "density ratio by a classifier: training",
        "first losses to 1e-5, last to 1e-3",
        names(peers.ratio_networks),
        ratio_network,
        FLOAT32,
    ),
    Row(
        "ulsif",
        "density ratio by kernels: uLSIF with leave-one-out",
        "ratios of one candidate to 1e-6",
        names(peers.density_ratios),
        ratio_kernels("ulsif"),
        FLOAT64,
    ),
    Row(
        "kliep",
        "density ratio by kernels: KLIEP with five folds",
        "our likelihood of one candidate is at least theirs",
        names(peers.density_ratios),
        ratio_kernels("kliep"),
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
