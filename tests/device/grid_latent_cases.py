"""Cases of latent-variable models on a grid: densities, posteriors and fits, of few columns and of many."""

from __future__ import annotations

import numpy as np
from device.cases import Case

import lvmfast as lvm
from lvmfast import nn

N, GRID, NOISE = 30, np.linspace(-3, 3, 61), 0.05
WIDE = np.random.default_rng(5).normal(0, 0.5, (1, 20))
NETWORK = nn.Sequential([nn.Dense(4, "tanh"), nn.Dense(2)]).build(1, np.float64, seed=0)
WIDE_NETWORK = nn.Sequential([nn.Dense(20)]).build(1, np.float64, seed=0)
CONDITION = 20 / NOISE  # squares of distances, in units of the noise


def curve(z):
    return 0.5 * np.exp(np.sin(2 + 3.675 * z)), np.cos(2 + 2.85 * z)


def wide(z):
    return np.sin(2 * z) @ WIDE


def rows(d):
    """Rows of a data space of d columns."""
    return lambda rng, dtype: (rng.normal(0.2, 0.7, (N, d)).astype(dtype),)


def model(f, **params):
    return lvm.GridLatentModel(f, NOISE, **{"grid": GRID, **params})


def densities(f, **params):
    """Of rows, with a row that has none."""

    def call(X):
        m = model(f, **params)
        return m.log_density(X), m.transform(X), m.log_likelihood(X, 0.25), m.inverse_transform(X[:, :1])

    return call


def posterior(f):
    def call(X):
        p = model(f).posterior(X)
        return p.density, p.log_evidence, p.mean, p.std, p.credible_interval(0.9)

    return call


def on_a_mesh(noise):
    """The sides come from the rows; with little noise most points are far from all centres."""

    def call(X):
        mesh = lvm.grids.mesh(X[:, 0], X[:, 1], indexing="xy")
        return lvm.GridLatentModel(curve, noise, grid=GRID).log_density(mesh)

    return call


def two_latents(X):
    grid = lvm.grids.mesh(np.linspace(-2, 2, 9), np.linspace(-2, 2, 11))
    return model(lambda z: (z[:, 0], z[:, 0] * z[:, 1]), grid=grid, n_components=2).log_density(X)


def fitted(f, **params):
    """A fit, and what its model says."""

    def call(X):
        m = model(f, max_iter=5, random_state=0, **params).fit(X)
        return {"noise": m.noise_variance_, "losses": m.loss_curve_}, m.log_density(X)

    return call


GRID_LATENT = {
    "density": Case(rows(2), densities(curve), condition=CONDITION),
    "density, normalised": Case(rows(2), densities(curve, normalize=True), condition=CONDITION),
    "density, many columns": Case(rows(20), densities(wide), condition=20 * CONDITION),
    "posterior": Case(rows(2), posterior(curve), condition=20 * CONDITION),
    "posterior, many columns": Case(rows(20), posterior(wide), condition=400 * CONDITION),
    "mesh": Case(rows(2), on_a_mesh(NOISE), condition=CONDITION),
    "mesh, little noise": Case(rows(2), on_a_mesh(1e-4), condition=500 * CONDITION),
    "two latents": Case(rows(2), two_latents, condition=CONDITION),
    "fit of the noise": Case(rows(2), fitted(curve), condition=100 * CONDITION),
    "fit of a network": Case(rows(2), fitted(NETWORK), condition=1e3 * CONDITION),
    "fit of a network, many columns": Case(rows(20), fitted(WIDE_NETWORK), condition=1e3 * CONDITION),
}
