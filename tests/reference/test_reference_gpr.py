"""The oracle of exact regression against scikit-learn, SciPy's multivariate normal and closed forms."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as peers

from . import covariances, gpr
from .covariances import Leaf, Product, Sum
from .test_reference import EXACT, assert_near

LONG = np.longdouble
N, NOISE = 14, 0.2
C = peers.ConstantKernel
ONE_BY_ONE = np.linspace(0.05, 0.6, N)
NOISES = [pytest.param(NOISE, id="scalar"), pytest.param(ONE_BY_ONE, id="vector")]
OUTPUTS = [pytest.param(None, id="vector"), pytest.param(1, id="one"), pytest.param(3, id="three")]
MEANS = ["zero", "constant", "linear", "callable"]


def leaf(kind, **parameters):
    return Leaf(kind, parameters)


RBF = leaf("RBF", variance=1.3, lengthscale=np.array([0.7, 1.6]))
KERNELS = {
    "rbf": (RBF, C(1.3) * peers.RBF([0.7, 1.6])),
    "matern12": (leaf("Matern12", variance=0.8, lengthscale=1.1), C(0.8) * peers.Matern(1.1, nu=0.5)),
    "matern32": (leaf("Matern32", variance=0.8, lengthscale=1.1), C(0.8) * peers.Matern(1.1, nu=1.5)),
    "matern52": (leaf("Matern52", variance=0.8, lengthscale=1.1), C(0.8) * peers.Matern(1.1, nu=2.5)),
    "rational quadratic": (
        leaf("RationalQuadratic", variance=0.9, lengthscale=0.8, alpha=0.6),
        C(0.9) * peers.RationalQuadratic(0.8, 0.6),
    ),
    "linear": (
        Sum([leaf("Linear", variance=1.0), leaf("Constant", variance=0.25)]),
        peers.DotProduct(0.5),
    ),
    "white": (Sum([RBF, leaf("White", variance=0.3)]), C(1.3) * peers.RBF([0.7, 1.6]) + peers.WhiteKernel(0.3)),
    "product": (
        Product([RBF, Sum([leaf("Matern52", variance=0.8, lengthscale=1.1), leaf("Constant", variance=0.5)])]),
        C(1.3) * peers.RBF([0.7, 1.6]) * (C(0.8) * peers.Matern(1.1, nu=2.5) + C(0.5)),
    ),
}


def trend(X):
    return 0.5 + np.asarray(X)[:, 0] ** 2


def data(d=None, n=N, seed=0):
    """X (n, 2) and y (n,) or (n, d): sines with noise, off zero."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, 2))
    Y = 1.5 + np.sin(X @ rng.standard_normal((2, d or 1))) + 0.3 * rng.standard_normal((n, d or 1))
    return X, Y[:, 0] if d is None else Y


def new(node=RBF, d=None, noise=NOISE, mean="zero", n=N):
    X, Y = data(d, n)
    noise = noise[:n] if np.ndim(noise) else noise
    return gpr.GP(partial(covariances.matrix, node), X, Y, noise, trend if mean == "callable" else mean)


def as_columns(Y):
    return np.reshape(Y, (len(Y), -1))


def log_normal(gp):
    """log N(y | m, C) by SciPy, summed over the outputs, for the oracle's mean."""
    covariance = gpr.noisy_covariance(gp).astype(float)
    residual = (as_columns(gp.Y) - gpr.mean_at(gp, gp.X)).astype(float)
    return sum(scipy.stats.multivariate_normal(cov=covariance).logpdf(r) for r in residual.T)


X_NEW = np.vstack([data()[0][:2], [[0.1, 0.2], [-1.5, 1.9], [4.0, -3.0]]])


class TestAgainstScikitLearn:
    def peer(self, name, gp):
        return GaussianProcessRegressor(KERNELS[name][1], alpha=gp.noise, optimizer=None).fit(gp.X, gp.Y)

    @pytest.mark.parametrize("d", OUTPUTS)
    @pytest.mark.parametrize("noise", NOISES)
    @pytest.mark.parametrize("name", KERNELS)
    def test_likelihood_and_predictions(self, name, noise, d):
        gp = new(KERNELS[name][0], d, noise)
        peer = self.peer(name, gp)
        assert_near(gpr.log_marginal_likelihood(gp), peer.log_marginal_likelihood_value_)
        mean, cov = gpr.predict(gp, X_NEW)
        peer_mean, peer_cov = peer.predict(X_NEW, return_cov=True)
        shape = (len(X_NEW),) if d is None else (len(X_NEW), d)
        assert mean.shape == shape and cov.shape == (len(X_NEW), len(X_NEW))
        assert_near(mean, np.reshape(peer_mean, shape))
        for k in range(d or 1):  # one covariance for all
            assert_near(cov, peer_cov[..., k] if peer_cov.ndim == 3 else peer_cov)
        _, std = peer.predict(X_NEW, return_std=True)
        assert_near(np.sqrt(np.diagonal(cov)), as_columns(std)[:, 0], 1e-7)

    @pytest.mark.parametrize("d", OUTPUTS)
    def test_the_fit_of_a_mean_leaves_a_zero_mean_problem(self, d):
        """With the mean taken off Y by hand, scikit-learn sees the rest."""
        for mean in MEANS:
            gp = new(d=d, mean=mean)
            rest = gp.Y - np.reshape(gpr.mean_at(gp, gp.X).astype(float), gp.Y.shape)
            peer = self.peer("rbf", dataclasses.replace(gp, Y=rest))
            assert_near(gpr.log_marginal_likelihood(gp), peer.log_marginal_likelihood_value_)
            at = gpr.mean_at(gp, X_NEW).astype(float)
            expected = np.reshape(peer.predict(X_NEW), at.shape) + at
            assert_near(as_columns(gpr.predict(gp, X_NEW)[0]), expected)


class TestLikelihood:
    @pytest.mark.parametrize("mean", MEANS)
    @pytest.mark.parametrize("noise", NOISES)
    @pytest.mark.parametrize("d", OUTPUTS)
    def test_is_a_normal_density(self, d, noise, mean):
        gp = new(d=d, noise=noise, mean=mean)
        assert_near(gpr.log_marginal_likelihood(gp), log_normal(gp))

    def test_one_point(self):
        """log N(y | 0, v + noise), and v / (v + noise) of y comes back."""
        gp = new(n=1)
        spread, y = 1.3 + NOISE, gp.Y[0]
        assert_near(gpr.log_marginal_likelihood(gp), -0.5 * (np.log(2 * np.pi * spread) + y**2 / spread))
        mean, cov = gpr.predict(gp, gp.X)
        assert_near(mean, [1.3 / spread * y])
        assert_near(cov, [[1.3 * NOISE / spread]])
        for part, expected in zip(gpr.leave_one_out(gp), (0.0, spread, gpr.log_marginal_likelihood(gp)), strict=True):
            assert_near(part, [expected])

    def test_extended_precision(self):
        """Where doubles lose digits, twins with little noise, the oracle agrees with itself in another order."""
        gp = new(noise=1e-9)
        gp = dataclasses.replace(gp, X=np.vstack([gp.X, gp.X + 1e-5]), Y=np.tile(gp.Y, 2))
        order = np.random.default_rng(1).permutation(2 * N)
        shuffled = dataclasses.replace(gp, X=gp.X[order], Y=gp.Y[order])
        value = gpr.log_marginal_likelihood(gp)
        assert value.dtype == LONG
        allowed = 1e-8 if np.finfo(LONG).eps < 1e-18 else 1e-4
        assert_near(gpr.log_marginal_likelihood(shuffled), value, allowed)

    def test_chain_rule(self):
        """log p(y) = log p(first half) + log p(second half | first half), outputs independent."""
        gp = new(d=3, noise=ONE_BY_ONE)
        head = dataclasses.replace(gp, X=gp.X[:6], Y=gp.Y[:6], noise=gp.noise[:6])
        mean, cov = gpr.predict(head, gp.X[6:])
        tail = scipy.stats.multivariate_normal(cov=(cov + np.diag(gp.noise[6:])).astype(float))
        rest = sum(tail.logpdf(r) for r in (gp.Y[6:] - mean).T.astype(float))
        assert_near(gpr.log_marginal_likelihood(gp), gpr.log_marginal_likelihood(head) + rest)

    def test_white_noise_is_noise(self):
        """In k(X), and in what is predicted, it is of the row and not of the place."""
        white, plain = new(KERNELS["white"][0]), new(noise=NOISE + 0.3)
        assert_near(gpr.log_marginal_likelihood(white), gpr.log_marginal_likelihood(plain))
        mean, cov = gpr.predict(white, X_NEW)
        plain_mean, plain_cov = gpr.predict(plain, X_NEW)
        assert_near(mean, plain_mean)
        assert_near(cov, plain_cov + 0.3 * np.eye(len(X_NEW)))


class TestMean:
    def features(self, mean, X):
        one = np.ones((len(X), 1))
        return {"zero": one[:, :0], "constant": one, "linear": np.column_stack([one, X])}[mean]

    @pytest.mark.parametrize("mean", ["zero", "constant", "linear"])
    def test_basis(self, mean):
        gp = new(mean=mean)
        np.testing.assert_array_equal(gpr.basis(gp, X_NEW), self.features(mean, X_NEW))

    @pytest.mark.parametrize("mean", ["constant", "linear"])
    @pytest.mark.parametrize("noise", NOISES)
    @pytest.mark.parametrize("d", OUTPUTS)
    def test_generalised_least_squares(self, d, noise, mean):
        """b minimises |L^-1 (Y - H b)|: an ordinary least squares problem."""
        gp = new(d=d, noise=noise, mean=mean)
        L = np.linalg.cholesky(gpr.noisy_covariance(gp).astype(float))
        H, Y = (scipy.linalg.solve_triangular(L, A, lower=True) for A in (self.features(mean, gp.X), as_columns(gp.Y)))
        b = np.linalg.lstsq(H, Y, rcond=None)[0]
        assert_near(gpr.coefficients(gp), b)
        assert_near(gpr.mean_at(gp, X_NEW), self.features(mean, X_NEW) @ b)

    def test_noise_alone_gives_ordinary_least_squares(self):
        gp = dataclasses.replace(
            new(mean="linear"), covariance=lambda X, Z=None: np.zeros((len(X), len(X if Z is None else Z)))
        )
        b = np.linalg.lstsq(self.features("linear", gp.X), gp.Y, rcond=None)[0]
        assert_near(gpr.coefficients(gp)[:, 0], b)
        constant = dataclasses.replace(gp, mean="constant")
        assert_near(gpr.coefficients(constant)[0, 0], np.mean(gp.Y))

    @pytest.mark.parametrize("mean", ["constant", "linear"])
    def test_coefficients_maximise_the_likelihood(self, mean):
        gp = new(d=3, mean=mean)
        best, b = gpr.log_marginal_likelihood(gp), gpr.coefficients(gp)
        assert gpr.log_marginal_likelihood(gpr.fixed(gp)) == best
        for index in np.ndindex(b.shape):
            for step in (0.05, -0.05):
                other = b.copy()
                other[index] += step
                assert gpr.log_marginal_likelihood(dataclasses.replace(gp, coefficients=other)) < best

    def test_is_the_limit_of_a_vague_prior(self):
        """Predicted means are those of a kernel with 1e6 more: a constant whose prior says nothing."""
        vague = Sum([RBF, leaf("Constant", variance=1e6)])
        assert_near(gpr.predict(new(mean="constant"), X_NEW)[0], gpr.predict(new(vague), X_NEW)[0], 1e-5)

    def test_functions(self):
        """(n,) serves all outputs; (n, d) is one for each."""
        gp = new(d=3, mean="callable")
        assert_near(gpr.mean_at(gp, X_NEW), np.tile(trend(X_NEW)[:, None], 3))
        each = dataclasses.replace(gp, mean=lambda X: np.outer(trend(X), [1.0, 2.0, 3.0]))
        assert_near(gpr.mean_at(each, X_NEW), np.outer(trend(X_NEW), [1.0, 2.0, 3.0]))
        assert gpr.fixed(gp) is gp


class TestPoints:
    @pytest.mark.parametrize("mean", MEANS)
    @pytest.mark.parametrize("noise", NOISES)
    @pytest.mark.parametrize("d", OUTPUTS)
    def test_leave_one_out(self, d, noise, mean):
        """y_i - [C^-1 r]_i / [C^-1]_ii and 1 / [C^-1]_ii: Rasmussen & Williams (2006), eq. 5.12."""
        gp = new(d=d, noise=noise, mean=mean)
        inverse = np.linalg.inv(gpr.noisy_covariance(gp).astype(float))
        residual = (as_columns(gp.Y) - gpr.mean_at(gp, gp.X)).astype(float)
        variance = np.tile(1 / np.diagonal(inverse)[:, None], residual.shape[1])
        expected = as_columns(gp.Y) - inverse @ residual * variance
        density = scipy.stats.norm(expected, np.sqrt(variance)).logpdf(as_columns(gp.Y))
        for part, right in zip(gpr.leave_one_out(gp), (expected, variance, density), strict=True):
            assert part.shape == gp.Y.shape
            assert_near(as_columns(part), right)

    def test_without(self):
        gp = new(d=3, noise=ONE_BY_ONE)
        less = gpr.without(gp, 4)
        keep = np.arange(N) != 4
        for name in ("X", "Y", "noise"):
            np.testing.assert_array_equal(getattr(less, name), getattr(gp, name)[keep])
        assert gpr.without(new(), 4).noise == NOISE

    @pytest.mark.parametrize("mean", MEANS)
    @pytest.mark.parametrize("d", OUTPUTS)
    def test_condition(self, d, mean):
        """What the first posterior becomes when it, as a prior, sees the other points."""
        gp, (X, Y) = new(d=d, noise=ONE_BY_ONE, mean=mean), data(d, 5, seed=9)
        more = gpr.condition(gp, X, Y, 0.07)
        assert more.X.shape == (N + 5, 2) and np.shape(more.Y)[0] == N + 5
        np.testing.assert_array_equal(more.noise, np.append(ONE_BY_ONE, np.full(5, 0.07)))
        joint_mean, joint = gpr.predict(gp, np.vstack([X, X_NEW]))
        gain = joint[5:, :5] @ np.linalg.inv((joint[:5, :5] + 0.07 * np.eye(5)).astype(float))
        mean_at, cov = gpr.predict(more, X_NEW)
        assert_near(
            as_columns(mean_at), as_columns(joint_mean)[5:] + gain @ (as_columns(Y) - as_columns(joint_mean)[:5])
        )
        assert_near(cov, joint[5:, 5:] - gain @ joint[:5, 5:])

    def test_condition_keeps_the_mean(self):
        gp, (X, Y) = new(mean="linear"), data(None, 5, seed=9)
        more = gpr.condition(gp, X, Y, np.full(5, 0.07))
        assert_near(gpr.coefficients(more), gpr.coefficients(gp), 0.0)
        refitted = dataclasses.replace(more, coefficients=None)
        assert np.max(np.abs(gpr.coefficients(refitted) - gpr.coefficients(gp))) > 1e-3

    def test_noise_of_predictions(self):
        gp = new()
        _, quiet = gpr.predict(gp, X_NEW)
        _, noisy = gpr.predict(gp, X_NEW, noise=0.3)
        assert_near(noisy - quiet, 0.3 * np.eye(len(X_NEW)), EXACT)

    def test_linear_kernel_is_bayesian_linear_regression(self):
        """w ~ N(0, 0.5 I): mean (X^T X / noise + 2 I)^-1 X^T y / noise, and its inverse matrix as covariance."""
        gp = new(leaf("Linear", variance=0.5))
        A = gp.X.T @ gp.X / NOISE + 2 * np.eye(2)
        mean, cov = gpr.predict(gp, X_NEW)
        assert_near(mean, X_NEW @ np.linalg.solve(A, gp.X.T @ gp.Y) / NOISE)
        assert_near(cov, X_NEW @ np.linalg.inv(A) @ X_NEW.T)
