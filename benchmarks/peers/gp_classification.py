"""Peers of binary Gaussian process classification with an RBF kernel, behind one interface.

``PEERS[name](case, operation)`` does all the set-up and a first call, and returns ``run``, which does the work once, or
raises ``Unavailable`` where the library is not installed or has no such operation. ``ours(case, operation)`` does the
same with lvmfast. ``run()`` does, and answers:

gibbs       ``case.iterations`` iterations of one chain of omega | f and f | omega, in one form; the mean of f
objective   what a fit maximises, at its best q, with its gradient; ours: the bound, Laplace: the evidence
fit         kernel parameters and posterior, from the case's; p(y = 1) at X
step        a step of q, kernel and inducing inputs, of 256 rows and 100 inducing inputs; the bound per row
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
from scipy.special import expit

from .covariances import Unavailable, require

__all__ = ["PEERS", "ClassificationCase", "Unavailable", "ours"]

BATCH, INDUCING = 256, 100


@dataclasses.dataclass
class ClassificationCase:
    """Labels drawn from the model, in four dimensions."""

    X: np.ndarray
    y: np.ndarray
    f: np.ndarray
    variance: float = 4.0
    lengthscale: float = 2.0
    iterations: int = 1

    @classmethod
    def random(cls, n: int) -> ClassificationCase:
        """n rows."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, 4))
        f = 3 * np.sin(X[:, 0] + X[:, 1]) - X[:, 2]
        return cls(X, (rng.random(n) < expit(f)).astype(int), f, iterations=int(np.clip(3e8 / n**3, 2, 300)))

    def covariance(self):
        """K with a jitter, and its factor."""
        square = ((self.X[:, None] - self.X) ** 2).sum(axis=2)
        K = self.variance * np.exp(-0.5 * square / self.lengthscale**2)
        K[np.diag_indices_from(K)] += 1e-6
        return K, np.linalg.cholesky(K)

    def assert_answer(self, answer, operation: str) -> None:
        """What a sampler, a fit or a bound of this problem must be, loosely: different methods answer differently."""
        answer = np.asarray(answer)
        assert np.isfinite(answer).all()
        if operation in ("objective", "step"):
            assert -len(self.y) < answer < -0.05 * len(self.y) or operation == "step"
        elif operation == "fit":
            assert np.corrcoef(answer, expit(self.f))[0, 1] > 0.8


def ours(case: ClassificationCase, operation: str):
    """lvmfast."""
    import lvmfast as lvm
    from lvmfast.models._gp_classifier_fit import StreamState
    from lvmfast.models._gp_classifier_full import FullProblem
    from lvmfast.models._gp_classifier_gibbs import Chains
    from lvmfast.models._gp_classifier_sparse import SparseProblem

    kernel, kappa = lvm.kernels.RBF(case.variance, case.lengthscale), case.y - 0.5
    if operation == "gibbs":
        chains = Chains(*case.covariance(), 0.0, kappa, [0], (0, 1, case.iterations), np.float64, "cpu")

        def gibbs():
            chains.t = 0
            chains.advance(case.iterations)
            return chains.draws[0].mean(axis=0)

        return after_first_call(gibbs)
    if operation == "objective":
        problem = FullProblem(kernel, case.X, kappa, 0.0, 1e-10, "cpu")
        start, first = problem.state, problem.initial()

        def objective():
            problem.state = start
            return problem.best(first)[0]

        return after_first_call(objective)
    if operation == "step":
        Z = case.X[:INDUCING]
        problem = SparseProblem(kernel, case.X, kappa, 0.0, 1e-10, "cpu", Z=Z, learn_Z=True)
        state, batches = StreamState(problem), Batches(len(case.y))

        def step():
            rows = batches()
            return state.step(problem, case.X[rows], kappa[rows], 0.01, 0.1, True) / len(case.y)

        return after_first_call(step)
    model = lvm.PolyaGammaGPClassifier(kernel)
    return after_first_call(lambda: model.fit(case.X, case.y).predict_proba(case.X)[:, 1])


class Batches:
    """Random rows, always the same ones in the same order."""

    def __init__(self, n: int):
        self.n, self.rng = n, np.random.default_rng(1)

    def __call__(self):
        return self.rng.choice(self.n, min(BATCH, self.n), replace=False)


def numpy_polyagamma(case: ClassificationCase, operation: str):
    """The same sampler by NumPy and SciPy, with the draws of the package polyagamma."""
    if operation != "gibbs":
        raise Unavailable("samples only")
    require("polyagamma")
    from polyagamma import random_polyagamma

    K, L = case.covariance()
    rng, kappa, n = np.random.default_rng(0), case.y - 0.5, len(case.y)
    f = L @ rng.standard_normal(n)

    def gibbs():
        nonlocal f
        total = np.zeros(n)
        for _ in range(case.iterations):
            r = np.sqrt(random_polyagamma(1.0, f, random_state=rng))
            B = K * r[:, None]
            B *= r
            B[np.diag_indices(n)] += 1.0
            factor = scipy.linalg.cho_factor(B, lower=True, overwrite_a=True, check_finite=False)
            f0 = L @ rng.standard_normal(n)
            right = kappa / r - r * f0 - rng.standard_normal(n)
            f = f0 + K @ (r * scipy.linalg.cho_solve(factor, right, check_finite=False))
            total += f
        return total / case.iterations

    return after_first_call(gibbs)


def scikit_learn(case: ClassificationCase, operation: str):
    """GaussianProcessClassifier: Laplace's approximation."""
    if operation not in ("objective", "fit"):
        raise Unavailable("has no samplers and no inducing inputs")
    require("sklearn")
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    kernel = ConstantKernel(case.variance) * RBF(case.lengthscale)
    if operation == "fit":
        model = GaussianProcessClassifier(kernel)
        return after_first_call(lambda: model.fit(case.X, case.y).predict_proba(case.X)[:, 1])
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(case.X, case.y)
    theta = model.kernel_.theta

    return after_first_call(lambda: model.log_marginal_likelihood(theta, eval_gradient=True)[0])


def gpytorch_step(case: ClassificationCase, operation: str):
    """GPyTorch: Cholesky variational distribution with natural gradients (NGD) and Adam, 20 nodes of quadrature."""
    if operation != "step":
        raise Unavailable("is compared by its steps")
    require("torch", "gpytorch")
    import gpytorch
    import torch

    X, y = torch.tensor(case.X), torch.tensor(case.y.astype(float))

    class Model(gpytorch.models.ApproximateGP):
        def __init__(self, Z):
            distribution = gpytorch.variational.NaturalVariationalDistribution(INDUCING)
            super().__init__(gpytorch.variational.VariationalStrategy(self, Z, distribution))
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    model, likelihood = Model(X[:INDUCING].clone()).double(), gpytorch.likelihoods.BernoulliLikelihood()
    model.covar_module.outputscale, model.covar_module.base_kernel.lengthscale = case.variance, case.lengthscale
    bound = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=len(y))
    natural = gpytorch.optim.NGD(model.variational_parameters(), num_data=len(y), lr=0.1)
    adam = torch.optim.Adam(model.hyperparameters(), lr=0.01)
    batches = Batches(len(case.y))
    model.train()

    def step():
        rows = torch.from_numpy(batches())
        natural.zero_grad()
        adam.zero_grad()
        loss = -bound(model(X[rows]), y[rows])
        loss.backward()
        natural.step()
        adam.step()
        return -float(loss)

    return after_first_call(step)


PEERS = {"numpy+polyagamma": numpy_polyagamma, "scikit-learn": scikit_learn, "gpytorch": gpytorch_step}


def after_first_call(run):
    """``run`` after a first call."""
    run()
    return run
