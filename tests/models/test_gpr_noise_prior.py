"""A prior of the noise variance in exact regression: what is maximised, where the maximum lies, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.base import clone

import lvmfast as lvm
from lvmfast.kernels import RBF
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._gpr_objective import GprObjective
from lvmfast.priors import Gamma, HalfNormal, InverseGamma, LogNormal

PRIORS = [LogNormal(-1.0, 0.3), Gamma(3.0, 5.0), InverseGamma(4.0, 2.0), HalfNormal(0.05)]


class Exponential:
    """``log p(v) = log 7 - 7 v``, by hand."""

    def log_density(self, value):
        return np.log(7.0) - 7.0 * value

    def gradient(self, value):
        return -7.0


def data(n=25, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 2))
    return X, 1.5 + np.sin(2 * X[:, 0]) + 0.3 * rng.standard_normal(n)


def kernel():
    return RBF(0.8, [0.9, 1.4]).set_prior("lengthscale", LogNormal(0.0, 1.0))


def objective(prior, noise=0.2, learn_noise=True):
    X, y = data()
    return GprObjective(
        kernel(), Mean("constant", X), X, y[:, None], noise, learn_noise, "auto", np.float64, noise_prior=prior
    )


@pytest.mark.parametrize("prior", [*PRIORS, Exponential()], ids=lambda prior: type(prior).__name__)
def test_the_gradient_of_the_loss(prior):
    ours = objective(prior)
    for shift in (-2.0, 0.0, 0.7):
        theta = ours.initial() + [0.1, -0.2, 0.3, shift]
        steps = 1e-5 * np.eye(len(theta))
        expected = [(ours.loss(theta + h)[0] - ours.loss(theta - h)[0]) / 2e-5 for h in steps]
        np.testing.assert_allclose(ours.loss(theta)[1], expected, rtol=1e-6, atol=1e-8)


def test_the_loss_has_the_density_of_the_variance_itself():
    """No Jacobian of its logarithm, as for the priors of kernels."""
    theta = objective(None).initial()
    for noise in (1e-3, 0.2, 4.0):
        theta[-1] = np.log(noise)
        gained = (objective(None).loss(theta)[0] - objective(PRIORS[0]).loss(theta)[0]) * 25
        np.testing.assert_allclose(gained, stats.lognorm(0.3, scale=np.exp(-1.0)).logpdf(noise), rtol=1e-9)


@pytest.mark.parametrize("prior", [*PRIORS, Exponential()], ids=lambda prior: type(prior).__name__)
def test_the_maximum_against_scipy(prior):
    X, y = data()
    ours = lvm.GPR(kernel(), noise_variance=0.2, noise_prior=prior, tol=1e-10).fit(X, y)

    def loss(theta):
        K = theta_kernel(X, theta) + np.exp(theta[-1]) * np.eye(len(X))
        one = np.ones(len(X))
        mean = one @ np.linalg.solve(K, y) / (one @ np.linalg.solve(K, one))
        value = stats.multivariate_normal(np.full(len(X), mean), K).logpdf(y)
        value += stats.lognorm(1.0).logpdf(np.exp(theta[1:3])).sum()
        return -value - float(prior.log_density(np.exp(theta[-1])))

    fitted = np.log([ours.kernel_.variance, *ours.kernel_.lengthscale, ours.noise_variance_])
    best = optimize.minimize(loss, fitted + 0.1, method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(fitted, best.x, atol=2e-4)
    np.testing.assert_allclose(ours.log_posterior_, -best.fun, rtol=1e-8)


def theta_kernel(X, theta):
    Z = X / np.exp(theta[1:3])
    return np.exp(theta[0] - 0.5 * np.square(Z[:, None] - Z[None]).sum(axis=2))


def test_a_sharp_prior_wins():
    X, y = data()
    free = lvm.GPR(RBF(), noise_variance=0.2).fit(X, y)
    ours = lvm.GPR(RBF(), noise_variance=0.2, noise_prior=LogNormal(np.log(2.0), 1e-3)).fit(X, y)
    assert free.noise_variance_ < 0.5 and ours.noise_variance_ == pytest.approx(2.0, rel=1e-2)


@pytest.mark.parametrize(
    "options", [{"noise_variance": 0.2, "learn_noise": False}, {"noise_variance": np.full(25, 0.2)}]
)
def test_noise_that_is_not_learned_has_no_prior(options):
    X, y = data()
    plain = lvm.GPR(RBF(), **options).fit(X, y)
    ours = lvm.GPR(RBF(), noise_prior=PRIORS[0], **options).fit(X, y)
    assert ours.kernel_ == plain.kernel_ and ours.log_posterior_ == plain.log_posterior_
    np.testing.assert_array_equal(ours.noise_variance_, options["noise_variance"])
    noise, learn = options["noise_variance"], options.get("learn_noise", True)
    ours, plain = (objective(prior, noise, learn) for prior in (PRIORS[0], None))
    assert ours.loss(ours.initial())[0] == plain.loss(plain.initial())[0]


def test_it_is_in_the_posterior():
    X, y = data()
    ours = lvm.GPR(RBF(), noise_variance=0.2, noise_prior=PRIORS[0]).fit(X, y)
    prior = float(PRIORS[0].log_density(ours.noise_variance_))
    np.testing.assert_allclose(ours.log_posterior_ - ours.log_marginal_likelihood_, prior, rtol=1e-10)
    more = ours.condition_on(X[:2] + 0.1, y[:2])
    np.testing.assert_allclose(more.log_posterior_ - more.log_marginal_likelihood_, prior, rtol=1e-10)
    assert ours.log_marginal_likelihood() == ours.log_marginal_likelihood_


def test_clones_and_files(tmp_path):
    X, y = data()
    ours = lvm.GPR(RBF(), noise_variance=0.2, noise_prior=PRIORS[1]).fit(X, y)
    assert clone(ours).noise_prior == PRIORS[1] and ours.get_params()["noise_prior"] is ours.noise_prior
    ours.save(tmp_path / "model.npz")
    loaded = lvm.GPR.load(tmp_path / "model.npz")
    assert loaded.noise_prior == PRIORS[1] and loaded.log_posterior_ == ours.log_posterior_
    assert loaded.fit(X, y).noise_variance_ == ours.noise_variance_


def test_a_prior_that_no_file_can_hold(tmp_path):
    X, y = data()
    ours = lvm.GPR(RBF(), noise_prior=Exponential()).fit(X, y)
    with pytest.warns(UserWarning, match="noise_prior=.* is not saved") as warned:
        ours.save(tmp_path / "model.npz")
    assert warned[0].filename == __file__
    assert lvm.GPR.load(tmp_path / "model.npz").noise_prior is None


@pytest.mark.parametrize("bad", ["lognormal", LogNormal, 3.0, object()])
def test_what_is_no_prior(bad):
    with pytest.raises(TypeError, match="noise_prior must have log_density"):
        lvm.GPR(noise_prior=bad).fit(*data())
