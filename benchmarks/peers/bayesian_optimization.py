"""The knowledge gradient and the loop around it by BoTorch, behind one interface.

``PEERS[name](case)`` sets up a model with the case's data and parameters and returns a :class:`KnowledgeGradientPeer`;
``botorch_loop(problem, seed)`` runs a whole loop. Both raise ``Unavailable`` where the library is not installed.
BoTorch maximises: it is given -y, and what it answers has its sign turned here, so that all is about minima.

Importing this module imports neither BoTorch nor lvmfast.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable

import numpy as np

from .covariances import Unavailable, require

__all__ = [
    "CASES",
    "PEERS",
    "PROBLEMS",
    "KnowledgeGradientCase",
    "KnowledgeGradientPeer",
    "Problem",
    "Unavailable",
    "botorch_loop",
    "hartmann",
    "start_of_loop",
]

# Hartmann's function of six inputs, minimum -3.32237 (Surjanovic & Bingham, Virtual Library of Simulation Experiments).
WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
RATES = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(x) -> float:
    """``-sum_i w_i exp(-sum_k a_ik (x_k - p_ik)^2)`` at x (6,)."""
    return -float(WEIGHTS @ np.exp(-(RATES * (np.asarray(x) - CENTRES) ** 2).sum(axis=1)))


def sine(x) -> float:
    """``sin 3x + x^2 - 0.7 x`` at x (1,)."""
    return float(np.sin(3 * x[0]) + x[0] ** 2 - 0.7 * x[0])


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function to minimise in a loop of ``n_calls`` after ``n_start`` uniform points, noise added to its values."""

    f: Callable
    low: tuple[float, ...]
    high: tuple[float, ...]
    noise: float
    n_start: int
    minimum: float
    n_calls: int = 30

    @property
    def bounds(self) -> np.ndarray:
        """Shape (d, 2)."""
        return np.c_[self.low, self.high]


PROBLEMS = {
    "sine": Problem(sine, (-1.0,), (2.0,), 0.1, 4, -0.500359627667),
    "hartmann": Problem(hartmann, (0.0,) * 6, (1.0,) * 6, 0.0, 14, -3.322368011416),
}


def start_of_loop(problem: Problem, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First points, first observations, and the noise of all that follow: the same for all who run the loop."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(problem.low, problem.high, (problem.n_start, len(problem.low)))
    noise = problem.noise * rng.normal(size=problem.n_start + problem.n_calls)
    return X, np.array([problem.f(x) for x in X]) + noise[: problem.n_start], noise[problem.n_start :]


# (function, observations, noise's standard deviation, then of the model: variance, lengthscales, noise variance)
CASES = {
    "sine": ("sine", 10, 0.1, 0.5, (0.35,), 0.01),
    "hartmann": ("hartmann", 50, 0.0, 0.1, (0.5, 0.5, 1.0, 0.3, 0.25, 0.35), 1e-4),
}


@dataclasses.dataclass
class KnowledgeGradientCase:
    """Observations at uniform points, the parameters of a Matern 5/2 kernel, candidates to score, normal numbers.

    ``fantasy_points`` are inner solutions for the one-shot form, uniform: ``batch`` candidates with 64 each.
    """

    name: str
    problem: Problem
    X: np.ndarray
    y: np.ndarray
    variance: float
    lengthscale: np.ndarray
    noise_variance: float
    candidates: np.ndarray
    fantasy_points: np.ndarray

    @classmethod
    def random(cls, name: str, n_candidates: int = 100, n_fantasies: int = 64, batch: int = 10):
        """The issue's sizes unless told otherwise."""
        function, n, noise, variance, lengthscale, noise_variance = CASES[name]
        problem = PROBLEMS[function]
        rng = np.random.default_rng(0)
        X = rng.uniform(problem.low, problem.high, (n, len(problem.low)))
        y = np.array([problem.f(x) for x in X]) + noise * rng.normal(size=n)
        candidates = rng.uniform(problem.low, problem.high, (n_candidates, len(problem.low)))
        fantasy_points = rng.uniform(problem.low, problem.high, (batch, n_fantasies, len(problem.low)))
        return cls(name, problem, X, y, variance, np.array(lengthscale), noise_variance, candidates, fantasy_points)

    def fitted(self):
        """lvmfast.GPR with these parameters; the constant mean is the generalised least-squares one."""
        import lvmfast

        kernel = lvmfast.kernels.Matern52(self.variance, self.lengthscale)
        return lvmfast.GPR(kernel, noise_variance=self.noise_variance, optimizer=None).fit(self.X, self.y)


@dataclasses.dataclass
class KnowledgeGradientPeer:
    """What a library makes of a case.

    ``posterior(X)``: means and variances (m,) of the noise-free function. ``present()``: the least posterior mean,
    optimised. ``evaluate(X, normals)``: means (m,) over the normal numbers (M,) of the least augmented posterior mean,
    optimised, at X (m, d). ``one_shot(X, points, normals)``: mean of the augmented means at ``points`` (m, M, d), and
    its gradients by X and ``points``. ``maximize(n_fantasies, seed)``: the candidate (d,) of greatest knowledge
    gradient, with the library's own normal numbers.
    """

    posterior: Callable
    present: Callable
    evaluate: Callable
    one_shot: Callable
    maximize: Callable


@contextlib.contextmanager
def quiet():
    """Without the warnings of BoTorch about inputs outside the unit cube and about its optimiser."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def botorch(case: KnowledgeGradientCase, num_restarts: int = 20, raw_samples: int = 1024) -> KnowledgeGradientPeer:
    """BoTorch's qKnowledgeGradient; restarts and raw samples of the inner minimisation have its defaults."""
    require("torch", "gpytorch", "botorch")
    import torch
    from botorch.acquisition import PosteriorMean, qKnowledgeGradient
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from botorch.sampling import SobolQMCNormalSampler
    from gpytorch.constraints import GreaterThan
    from gpytorch.kernels import MaternKernel, ScaleKernel
    from gpytorch.likelihoods import GaussianLikelihood
    from gpytorch.means import ConstantMean

    d = case.X.shape[1]
    bounds = torch.tensor(np.ascontiguousarray(case.problem.bounds.T))
    with quiet():
        model = SingleTaskGP(
            torch.tensor(case.X),
            torch.tensor(-case.y)[:, None],
            likelihood=GaussianLikelihood(noise_constraint=GreaterThan(1e-10)),
            covar_module=ScaleKernel(MaternKernel(2.5, ard_num_dims=d)),
            mean_module=ConstantMean(),
            outcome_transform=None,
            input_transform=None,
        ).double()
    model.covar_module.base_kernel.lengthscale = torch.tensor(case.lengthscale)
    model.covar_module.outputscale = torch.tensor(case.variance, dtype=torch.float64)
    model.likelihood.noise = torch.tensor(case.noise_variance, dtype=torch.float64)
    model.mean_module.constant = torch.tensor(-float(case.fitted().mean_coef_[0]), dtype=torch.float64)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.eval()

    def acquisition(normals):
        sampler = SobolQMCNormalSampler(sample_shape=torch.Size([len(normals)]))
        # of -f the outcomes that belong to the same normal numbers of f
        sampler.register_buffer("base_samples", torch.tensor(-normals)[:, None, None])
        return qKnowledgeGradient(model, num_fantasies=len(normals), sampler=sampler)

    def same(found, normals):
        np.testing.assert_array_equal(found.sampler.base_samples.numpy().ravel(), -normals)

    def posterior(X):
        with torch.no_grad():
            found = model.posterior(torch.tensor(X)[:, None])
            return -found.mean.numpy().ravel(), found.variance.numpy().ravel()

    def present():
        with quiet():
            return -float(optimize_acqf(PosteriorMean(model), bounds, 1, num_restarts=20, raw_samples=1024)[1])

    def evaluate(X, normals):
        with quiet():
            found = acquisition(normals)
            value = found.evaluate(
                torch.tensor(X)[:, None], bounds=bounds, num_restarts=num_restarts, raw_samples=raw_samples
            )
            same(found, normals)
        return -value.detach().numpy()

    def one_shot(X, points, normals):
        found = acquisition(normals)
        joint = torch.tensor(np.concatenate([X[:, None], points], axis=1)).requires_grad_()
        value = found(joint)
        value.sum().backward()
        same(found, normals)
        gradient = -joint.grad.numpy()
        return -value.detach().numpy(), gradient[:, 0], gradient[:, 1:]

    def maximize(n_fantasies, seed):
        torch.manual_seed(seed)
        with quiet():
            found = qKnowledgeGradient(model, num_fantasies=n_fantasies)
            x, _ = optimize_acqf(found, bounds, 1, num_restarts=10, raw_samples=512)
        return x.detach().numpy()[0]

    return KnowledgeGradientPeer(posterior, present, evaluate, one_shot, maximize)


def botorch_loop(problem: Problem, seed: int, num_restarts: int = 10, raw_samples: int = 512) -> dict:
    """BoTorch's loop: SingleTaskGP of scaled inputs and outputs refitted at every step, 64 fantasies.

    Returns processor seconds of the fits (``fit``) and of the acquisition (``acq``), f at the minimiser of the last
    posterior mean (``value``) and that point (``x``), and f at the best point that was tried (``best``).
    """
    require("torch", "gpytorch", "botorch")
    import torch
    from botorch.acquisition import PosteriorMean, qKnowledgeGradient
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Normalize, Standardize
    from botorch.optim import optimize_acqf
    from gpytorch.mlls import ExactMarginalLogLikelihood

    X, y, noise = start_of_loop(problem, seed)
    bounds = torch.tensor(np.ascontiguousarray(problem.bounds.T))
    torch.manual_seed(seed)

    def fitted():
        model = SingleTaskGP(
            torch.tensor(X),
            -torch.tensor(y)[:, None],
            outcome_transform=Standardize(1),
            input_transform=Normalize(X.shape[1], bounds=bounds),
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return model

    seconds = {"fit": 0.0, "acq": 0.0}
    with quiet():
        for e in noise:
            begun = time.process_time()
            model = fitted()
            between = time.process_time()
            acquisition = qKnowledgeGradient(model, num_fantasies=64)
            found, _ = optimize_acqf(acquisition, bounds, 1, num_restarts=num_restarts, raw_samples=raw_samples)
            seconds["fit"] += between - begun
            seconds["acq"] += time.process_time() - between
            x = found.detach().numpy()[0]
            X, y = np.vstack([X, x]), np.append(y, problem.f(x) + e)
        x = optimize_acqf(PosteriorMean(fitted()), bounds, 1, num_restarts=10, raw_samples=512)[0].numpy()[0]
    return seconds | {"value": problem.f(x), "best": min(map(problem.f, X)), "x": x.tolist()}


PEERS = {"botorch": botorch}
