"""Cases of acquisition functions: values and gradients at candidates, of a model fitted on either device."""

from __future__ import annotations

import numpy as np
from device.cases import Case

import lvmfast as lvm
from lvmfast import bayesopt

N, M = 20, 5
BOX = [(-2.0, 2.0), (-1.5, 2.0)]
NOISE = 0.1
CONDITION = 10 * (1 + N * 1.5 / NOISE)


def inputs(q):
    """X, y and candidates; the numbers are the same in both precisions, as all is done in float64."""

    def draw(rng, dtype):
        X = rng.uniform(-2, 2, (N, 2)).astype(np.float32).astype(dtype)
        y = (np.sin(2 * X[:, 0]) + X[:, 1] ** 2).astype(np.float32).astype(dtype)
        candidates = rng.uniform(-1.5, 1.9, (M, 2) if q == 1 else (M, q, 2))
        return X, y, candidates

    return draw


def answers(make, then, mean="constant"):
    """What ``then(acquisition, candidates)`` gives; answers are NumPy arrays wherever the model is."""

    def call(X, y, candidates):
        kernel = lvm.kernels.Matern52(variance=1.5, lengthscale=[1.1, 0.8]) + lvm.kernels.White(0.05)
        model = lvm.GPR(kernel, mean=mean, noise_variance=NOISE, optimizer=None).fit(X, y)
        candidates = np.array(candidates.tolist())
        return dict(enumerate(then(make(model), candidates)))

    return call


def both(acquisition, X):
    return (*acquisition.value_and_gradient(X), acquisition(X))


def simulated(kg, X):
    found = kg.fantasies(X)
    return found.outcomes, found.minima, found.values, kg.predictive_minimum, kg.screen(X)


def one_shot(kg, X):
    at = np.linspace(-1, 1, len(X) * len(kg.weights) * 2).reshape(len(X), -1, 2)
    return kg.one_shot(X, at)


def best(acquisition, X):
    found = acquisition.maximize(n_candidates=32, n_starts=2, max_evaluations=5, random_state=0)
    return found.value, found.n_evaluations


def case(q, make, then=both, condition=CONDITION, **params):
    return Case(inputs(q), answers(make, then, **params), N, condition)


def kg(**options):
    return lambda model: bayesopt.KnowledgeGradient(model, BOX, n_fantasies=8, n_points=32, tol=1e-9, **options)


# Searches end where their gradients are small, not zero: some digits of minimizers, and of gradients there, are free.
BAYESOPT = {
    "KG": case(1, kg(), condition=1e4 * CONDITION),
    "KG of two points": case(2, kg(q=2), mean="linear", condition=1e4 * CONDITION),
    "KG, outcomes": case(1, kg(sampling="normal", n_starts=2), simulated, condition=1e4 * CONDITION),
    "KG, one-shot": case(2, kg(q=2), one_shot),
    "KG, best": case(1, kg(), best, condition=1e4 * CONDITION),
    "discrete KG": case(1, lambda model: bayesopt.DiscreteKnowledgeGradient(model, BOX, n_points=32)),
    "EI": case(1, lambda model: bayesopt.ExpectedImprovement(model, BOX)),
    "log EI": case(1, lambda model: bayesopt.LogExpectedImprovement(model, BOX, xi=0.5)),
    "PI": case(1, lambda model: bayesopt.ProbabilityOfImprovement(model, BOX)),
    "LCB": case(1, lambda model: bayesopt.LowerConfidenceBound(model, BOX), mean="linear"),
    "qEI": case(
        3, lambda model: bayesopt.MonteCarloExpectedImprovement(model, BOX, q=3, n_samples=16, pending=[[0.0, 0.5]])
    ),
    "Thompson": case(1, lambda model: bayesopt.ThompsonSampling(model, BOX, n_features=64)),
    "log EI, best": case(1, lambda model: bayesopt.LogExpectedImprovement(model, BOX), best, condition=1e4 * CONDITION),
}
