"""Rows of the table for Gibbs sampling, autoencoders and density ratios."""

from __future__ import annotations

import numpy as np
import peers.autoencoders
import peers.density_ratios
import peers.grid_latent
import peers.logistic_regression
import peers.ratio_networks
from peers.autoencoders import AutoencoderCase
from peers.grid_latent import GridCase
from peers.logistic_regression import LogisticCase
from rows import FLOAT32, FLOAT64, Pair, Row, names


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


def grid_density(of_mesh: bool):
    """The densities of a picture."""

    def make(dtype: str, quick: bool):
        case = GridCase.of(dtype, 0.1 if quick else 0.01)
        points, model = case.mesh if of_mesh else case.points, case.model()

        def ours():
            return model.log_density(points)

        def pair(peer):
            theirs = (peers.grid_latent.MESHES if of_mesh else peers.grid_latent.DENSITIES)[peer](case)
            np.testing.assert_allclose(ours(), theirs(), rtol=0, atol=1e-9 if dtype == "float64" else 2e-3)
            return Pair(ours, theirs)

        return f"{len(points):,} points, 600 latents", pair

    return make


def grid_gradient(dtype: str, quick: bool):
    """What a step of a fit needs."""
    case = GridCase.of(dtype)
    points = case.model().sample(200 if quick else 2000, rng=0).astype(dtype)
    ours = peers.grid_latent.our_gradient(case, points)

    def pair(peer):
        theirs = peers.grid_latent.GRADIENTS[peer](case, points)
        for mine, found in zip(ours(), theirs(), strict=True):
            np.testing.assert_allclose(mine, found, rtol=0, atol=1e-11 if dtype == "float64" else 1e-4)
        return Pair(ours, theirs)

    return f"{len(points):,} rows, 600 latents", pair


AUTOENCODERS = names(peers.autoencoders, but=("keras-model", "keras-model-jit"))
LOSSES = "first losses to 1e-5, the next two to 3e-3"
MODELS = (
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
        "grid-density",
        "nonlinear latent-variable model: log densities of points",
        "log densities to 1e-9 (float32: 2e-3)",
        tuple(peers.grid_latent.DENSITIES),
        grid_density(False),
    ),
    Row(
        "grid-density-mesh",
        "the same on a product mesh",
        "log densities to 1e-9 (float32: 2e-3)",
        tuple(peers.grid_latent.MESHES),
        grid_density(True),
    ),
    Row(
        "grid-gradient",
        "the same: mean log density with gradients by the map and the noise",
        "value and gradients to 1e-11 (float32: 1e-4)",
        tuple(peers.grid_latent.GRADIENTS),
        grid_gradient,
    ),
)
