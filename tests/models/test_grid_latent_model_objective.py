"""What a grid model's fit minimises, with its gradient; priors of vectors; where a fit begins."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE, assert_near, differences, tolerance
from reference import grid_latent as oracle
from scipy import stats

import lvmfast as lvm
from lvmfast import distributions, nn
from lvmfast.models._grid_latent_fit import GridObjective
from lvmfast.models._grid_latent_rule import make_rule

NOISES = {"number": 0.3, "vector": np.array([0.2, 0.5, 0.9])}
TRIL = np.array([[0.8, 0.0], [0.3, 0.5]])
PRIORS = {
    "numbers": (distributions.Normal([0.5, -1.0], [1.0, 0.4]), np.diag([1.0, 0.16])),
    "diagonal": (distributions.MultivariateNormalDiag([0.5, -1.0], [1.0, 0.4]), np.diag([1.0, 0.16])),
    "full": (distributions.MultivariateNormalTriL([0.5, -1.0], TRIL), TRIL @ TRIL.T),
}


def network(q=1, d=3, last="linear"):
    return nn.Sequential([nn.Dense(4, "tanh"), nn.Dense(d, last)]).build((q,), np.float64, seed=0)


def rows(n=12, d=3):
    return np.random.default_rng(0).standard_normal((n, d)) * np.linspace(0.5, 3, d) + np.arange(d)


@pytest.mark.parametrize("learn_noise", [True, False])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("last", ["linear", "tanh"])
def test_gradient_by_differences(last, noise, learn_noise):
    """Its value is the oracle's, whatever the units in which a last linear layer is searched."""
    X, net, z = rows(), network(last=last), np.linspace(-2, 2, 9)
    Z, w = oracle.cells(z)
    rule = make_rule(z, None, distributions.Normal(0.0, 1.0), 1)
    objective = GridObjective(X, net, rule, rule.log_masses, NOISES[noise], learn_noise, "cpu")
    theta = objective.initial()
    count = np.size(NOISES[noise]) if learn_noise else 0
    assert len(theta) == objective.size == count + net.n_parameters
    log_pi = oracle.log_weights(oracle.normal_prior(Z), w)
    expected = -oracle.log_density(X, net(Z), log_pi, NOISES[noise]).mean()
    value, gradient = objective.loss(theta)
    assert value == pytest.approx(float(expected), rel=tolerance(np.float64, 9))
    theta = theta + 0.1 * np.random.default_rng(1).standard_normal(len(theta))
    value, gradient = objective.loss(theta)
    slopes = differences(lambda t: objective.loss(t)[0], theta)
    assert_near(gradient, slopes, tolerance(np.float64, 9, DIFFERENCE), scale=abs(value))


def test_gradient_of_the_noise_of_a_map():
    X, z = rows(d=2), np.linspace(-2, 2, 9)
    rule = make_rule(z, None, distributions.Normal(0.0, 1.0), 1)
    objective = GridObjective(X, oracle.curve, rule, rule.log_masses, 0.5, True, "cpu")
    theta = objective.initial()
    assert theta == pytest.approx(np.log([0.5]))
    slope = differences(lambda t: objective.loss(t)[0], theta)
    assert_near(objective.loss(theta)[1], slope, tolerance(np.float64, 9, DIFFERENCE), scale=objective.loss(theta)[0])


def test_a_network_that_is_not_built_starts_at_the_first_component():
    """One iteration from there is near the best line."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((100, 1)) @ [[1.0, -1.0, 1.0]] + 0.4 * rng.standard_normal((100, 3))
    X = X * [1.0, 3.0, 0.5] + [1, 0, -1]
    fresh = nn.Sequential([nn.Dense(3)])
    _, _, noise, best = oracle.ppca(X, 1)
    with pytest.warns(UserWarning, match="before convergence"):
        model = lvm.GridLatentModel(fresh, noise, n_grid=201, max_iter=1, random_state=0).fit(X)
    assert best - 0.02 < model.score(X) < best + 1e-9
    with pytest.raises(ValueError, match="build"):
        fresh(np.zeros((2, 1)))  # the one given has no shapes still


@pytest.mark.parametrize("grid", [None, "gauss-hermite"])
@pytest.mark.parametrize("name", PRIORS)
def test_priors_of_vectors(name, grid):
    """A linear map of a normal vector is normal."""
    prior, S = PRIORS[name]
    W, mu, noise = np.array([[1.0, 0.5], [-0.3, 0.8], [0.4, 0.0]]), np.array([0.5, -1.0]), 0.6
    model = lvm.GridLatentModel(lambda z: z @ W.T + 1, noise, prior=prior, grid=grid, n_components=2)
    X = 1 + W @ mu + np.random.default_rng(0).standard_normal((5, 3))
    density = stats.multivariate_normal(1 + W @ mu, W @ S @ W.T + noise * np.eye(3))
    assert_near(model.log_density(X), density.logpdf(X), 1e-7)
    gain = S @ W.T @ np.linalg.inv(density.cov)
    assert_near(model.transform(X), mu + (X - density.mean) @ gain.T, 1e-6)
    draws = model.sample(4000, rng=0, return_latents=True)[1]
    assert_near(draws.mean(axis=0), mu, 0.06)
    assert_near(np.cov(draws.T), S, 0.1)


def test_a_uniform_prior_has_cells_between_its_ends():
    prior = distributions.Uniform(-1.0, 2.0)
    model = lvm.GridLatentModel(oracle.curve, 0.04, prior=prior)
    assert model.prior_mass() == pytest.approx(1.0)
    x = np.array([0.9, -0.9])

    def density(z):
        return np.exp(-0.5 * np.sum((x - np.array(oracle.curve(z))) ** 2) / 0.04) / (2 * np.pi * 0.04 * 3)

    expected = np.log(oracle.quadrature(density, -1.0, 2.0))
    assert model.log_density(x[None])[0] == pytest.approx(expected, abs=1e-5)  # the middles of 1001 cells


UNITS = {
    "small": (2.0**-20, 0.3),
    "large": (2.0**20, 0.3),
    "columns": (2.0 ** np.array([-17, 10, 0]), np.array([0.2, 0.5, 0.9])),
}


@pytest.mark.filterwarnings("ignore:the fit ended before convergence")
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("units", UNITS)
def test_a_fit_in_other_units(units, constant):
    """The density of ``s x`` is that of x over s, and the noise s^2 times as large, from the first iteration on."""
    s, noise = UNITS[units]
    X = rows(40)
    if constant:
        X[:, 2] = 0.0
    s = np.broadcast_to(s, 3)
    fits = []
    for scale in (np.ones(3), s):
        given = noise * scale**2 if np.ndim(noise) else noise * scale[0] ** 2
        fresh = nn.Sequential([nn.Dense(4, "tanh"), nn.Dense(3)])
        fits.append(lvm.GridLatentModel(fresh, given, n_grid=41, max_iter=6, random_state=0).fit(X * scale))
    unit = s if np.ndim(noise) else s[0]
    assert_near(fits[1].loss_curve_ - np.log(s).sum(), fits[0].loss_curve_, 1e-7)
    assert_near(fits[1].noise_variance_ / unit**2, fits[0].noise_variance_, 1e-7)


def test_a_constant_column_beside_small_ones():
    """It has no part in the least noise: a hundred millionth of what the others vary."""
    X = np.column_stack([oracle.curve_rows(np.linspace(-2, 2, 60)[:, None]), np.zeros(60)]) * 2.0**-20
    X[:, :2] += 2.0**-23 * np.random.default_rng(0).standard_normal((60, 2))

    def f(z):
        return np.column_stack([oracle.curve_rows(z), np.zeros(len(z))]) * 2.0**-20

    found = [lvm.GridLatentModel(lambda z, s=s: s * f(z)).fit(s * X).noise_variance_ for s in (1.0, 2.0**20)]
    assert_near(found[0] * 2.0**40, found[1], 1e-5)


def test_a_rule_of_one_latent():
    """A network has nothing to bend along: the density is one normal's, about the mean."""
    X = rows(30)
    fresh = nn.Sequential([nn.Dense(3)])
    model = lvm.GridLatentModel(fresh, 0.3, grid=(np.zeros((1, 1)), [1.0]), random_state=0).fit(X)
    log_mass = stats.norm.logpdf(0.0)
    expected = stats.norm.logpdf(X, X.mean(axis=0), np.sqrt(X.var(axis=0).mean())).sum(axis=1) + log_mass
    assert model.score(X) == pytest.approx(expected.mean(), abs=1e-6)
