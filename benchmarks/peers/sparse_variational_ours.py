"""lvmfast's step of a stochastic variational sparse GP: the compiled part alone, and as ``SVGP.fit`` takes it."""

from __future__ import annotations

import numpy as np

import lvmfast
from lvmfast import _backend

from .sparse_variational import JITTER, Start


def objects(start: Start):
    """The kernel and the likelihood."""
    kernel = lvmfast.kernels.RBF(start.variance, start.lengthscale)
    if start.likelihood == "gaussian":
        return kernel, lvmfast.likelihoods.Gaussian(start.noise_variance)
    return kernel, lvmfast.likelihoods.Bernoulli()


def set_q(compiled, start: Start) -> None:
    """q(u) of the start, in the coordinates of the fit."""
    if start.natural:
        precision = np.linalg.inv(start.W @ start.W.T)
        precision = 0.5 * (precision + precision.T)
        compiled.set_q((precision @ start.mu)[None], precision[None])
    else:
        compiled.set_q(start.mu[None].copy(), np.tril(start.W)[None])


class Compiled:
    """The compiled step alone: q moves, all gradients are computed, the other parameters stay."""

    diagonal = 0.0

    def __init__(self, start: Start):
        self.start, module = start, _backend.module_on("cpu")
        m, q = start.Z.shape
        kind = module.Svgp64 if start.dtype == "float64" else module.Svgp32
        self.compiled = kind(m, q, 1, True, False, start.natural)
        set_q(self.compiled, start)
        kernel, likelihood = objects(start)
        kernel = kernel.compiled(q)
        self.head = kernel.tree_for(module), kernel.vector(), np.ascontiguousarray(start.Z, dtype=float)
        self.head += (likelihood._compiled(module), None)
        self.mean = np.full((1, 1), start.constant), np.zeros(q), np.ones(q)
        self.t = 0

    def evaluate(self, x, y, update) -> float:
        """The ELBO; q moves as ``update`` says, before (natural) or after."""
        batch = x, y[:, None], None, None, None, self.start.n_total / len(y)
        update = np.asarray(update, dtype=float)
        with _backend.blas_threads(1):  # tiles are shared between threads, each with a BLAS of its own
            code, index, _, expected, kl, *_ = self.compiled.step(
                *self.head, *batch, *self.mean, update, JITTER, 0.0, 0.0, 0.0, 0.0
            )
        assert code == 0, f"code {code} at {index}"
        return expected - kl

    def step(self, x, y) -> None:
        """Adam or a natural gradient step of q."""
        self.t += 1
        start = self.start
        self.evaluate(x, y, [start.step_size] if start.natural else [start.learning_rate, 0.9, 0.999, 1e-7, self.t])

    def elbo(self, x, y) -> float:
        """Of a batch."""
        return self.evaluate(x, y, [])


class Whole:
    """A step as ``SVGP.fit`` takes it, the batch being given: q, kernel, noise, mean and inducing inputs move."""

    diagonal = 0.0

    def __init__(self, start: Start):
        from lvmfast.models._gpr_mean import Mean
        from lvmfast.models._svgp_fit import Run, Settings
        from lvmfast.models._svgp_problem import SvgpProblem

        kernel, likelihood = objects(start)
        mean = Mean("constant", start.Z).with_coef(np.full((1, 1), start.constant))
        options = {"whiten": True, "q_diag": False, "natural": start.natural, "learn_inducing": True, "jitter": JITTER}
        self.start = start
        self.problem = SvgpProblem(kernel, likelihood, mean, start.Z, 1.0, options, "cpu", np.dtype(start.dtype))
        set_q(self.problem.compiled, start)
        model = lvmfast.SVGP(
            optimizer="natural" if start.natural else "adam",
            step_size=start.step_size,
            learning_rate=start.learning_rate,
        )
        self.run = Run(self.problem, Settings.of(model), self.problem.initial())

    def batch(self, x, y):
        """As a source gives it."""
        from lvmfast._minibatches import Batch

        return Batch(x, y, None, None, self.start.n_total)

    def step(self, x, y) -> None:
        """One step of all."""
        with _backend.blas_threads(1):
            self.run.step(self.batch(x, y), self.start.n_total)

    def elbo(self, x, y) -> float:
        """Of a batch."""
        with _backend.blas_threads(1):
            return self.problem.evaluate(self.run.theta, self.problem.rows(self.batch(x, y))).bound
