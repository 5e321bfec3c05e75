"""One fit of a Gaussian process classifier: its stages, progress and interrupts."""

from __future__ import annotations

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._validation import check_rng
from lvmfast.exceptions import FitInterruptedWarning, NonFiniteError
from lvmfast.linalg import cholesky
from lvmfast.models._gp_classifier_fit import descend, stream, sweep
from lvmfast.models._gp_classifier_full import FullProblem
from lvmfast.models._gp_classifier_gibbs import Chains
from lvmfast.models._gp_classifier_posterior import GibbsPosterior
from lvmfast.models._gp_classifier_sparse import SparseProblem
from lvmfast.models._gp_classifier_start import Batches, inducing_inputs, start_kernel
from lvmfast.models._matrices import add_to_diagonal
from lvmfast.random import seed_of

__all__ = ["Found", "GpcStatus", "Work"]


class GpcStatus:
    """What a callback is told after every iteration.

    Attributes
    ----------
    stage : {"vi", "gibbs"}
    iteration : int
        From 1: of the optimizer, updates of q, passes over the data, or iterations of every chain.
    lower_bound : float or None
        On log p(y), in nats; None while chains run.
    elapsed : float
        Seconds since ``fit`` began.
    """

    def __init__(self, stage, iteration, lower_bound, elapsed):
        self.stage, self.iteration, self.lower_bound, self.elapsed = stage, iteration, lower_bound, elapsed

    def __repr__(self) -> str:
        bound = "" if self.lower_bound is None else f"lower_bound={self.lower_bound:.6g}, "
        return f"GpcStatus(stage={self.stage!r}, iteration={self.iteration}, {bound}elapsed={self.elapsed:.1f})"


class Found:
    """What a fit ended with."""

    def __init__(self, stage, posterior, state, bounds, n_iter, converged, message):
        self.stage, self.posterior, self.state, self.bounds = stage, posterior, state, bounds
        self.n_iter, self.converged, self.message = n_iter, bool(converged), message


class Work:
    """One fit of a model: the stages, progress and interrupts; the model itself is left alone."""

    def __init__(self, model, X, kappa, digest, device, begun, earlier):
        self.model, self.X, self.kappa, self.digest = model, X, kappa, digest
        self.device, self.begun, self.earlier = device, begun, earlier
        self.check_interrupt = None
        self.outcome = None

    def order(self, batches: bool) -> int:
        """Of the matrices that most of the time is spent on."""
        inducing = self.model.inducing
        if inducing is None or not batches:
            return len(self.X)
        return len(inducing) if np.ndim(inducing) else inducing

    def kernel(self):
        kernel = start_kernel(self.model.kernel, self.X)
        compiled = kernel.compiled(self.X.shape[1])
        compiled.check_range(compiled.vector(), self.X.dtype, self.X)
        return kernel

    def full(self, kernel=None):
        model, X = self.model, self.X.astype(np.float64)
        arguments = (kernel or self.kernel(), X, self.kappa, float(model.mean), 1e-4 * model.tol, self.device)
        return FullProblem(*arguments, self.check_interrupt, self.X.dtype)

    def sparse(self, total=None, kernel=None, Z=None):
        model = self.model
        if Z is None:
            Z = inducing_inputs(model.inducing, self.X, self.seed() % 2**32)
        X = self.X if model.batch_size or total else self.X.astype(np.float64)
        arguments = (kernel or self.kernel(), X, self.kappa, float(model.mean), 1e-4 * model.tol, self.device)
        options = {"Z": _backend.to_numpy(Z), "learn_Z": bool(model.optimize), "total": total}
        return SparseProblem(*arguments, self.check_interrupt, **options)

    def seed(self) -> int:
        """The seed of this fit; a warm start has that of the fit it goes on with."""
        if self.earlier is not None:
            return int(self.earlier["seed"])
        if not hasattr(self, "_seed"):
            self._seed = seed_of(check_rng(self.model.random_state))
        return self._seed

    def vi(self):
        """The variational posterior."""
        model = self.model
        earlier = None if self.earlier is None else self.earlier.get("vi")
        problem = self.full() if model.inducing is None or model.method == "gibbs" else self.sparse()
        with tqdm(total=model.max_iter, disable=not model.verbose, desc=type(model).__name__) as bar:

            def report(iteration, bound, theta):
                bar.n = iteration
                bar.set_postfix(lower_bound=f"{bound:.4f}")
                return self._tell("vi", iteration, bound)

            if model.batch_size is not None and model.inducing is not None and model.method == "vi":
                batches = Batches(self.X, self.kappa, model.batch_size, self.seed())
                options = (model.learning_rate, model.step_size, bool(model.optimize))
                out = stream(problem, batches, model.max_iter, model.tol, earlier, report, *options)
            elif model.optimize and problem.size:
                out = descend(problem, model.max_iter, model.tol, earlier, report)
            else:
                out = sweep(problem, model.max_iter, model.tol, earlier, report)
                if not out.bounds:
                    out.bounds.append(problem.sweep(out.theta))
                problem.settle()
        self.outcome = out
        bounds = out.bounds or [np.nan]
        if not np.isfinite(bounds[-1]):
            raise NonFiniteError(f"the lower bound is {bounds[-1]}; rescale X, or set bounds or priors")
        state = {"digest": self.digest, "seed": self.seed(), "vi": out.state}
        if isinstance(problem, FullProblem):
            state["kappa"] = self.kappa
        message = out.message
        return Found("vi", problem.posterior(out.theta), state, bounds, len(out.bounds), out.converged, message)

    def gibbs(self):
        """Draws of the exact posterior, with the kernel of the bound's maximum if it is to be learned."""
        model = self.model
        earlier = self.earlier or {}
        kernel, bounds = self.kernel(), []
        if model.optimize and "gibbs" in earlier:
            kernel, bounds = earlier["kernel"].copy(), list(earlier["bounds"])
        elif model.optimize and kernel.theta.size:
            found = self.vi()
            if self.outcome.interrupted:
                raise KeyboardInterrupt
            kernel, bounds = found.posterior.kernel, found.bounds
        there = _backend.to_device(self.X.astype(np.float64), self.device)
        K = kernel(there)
        L, jitter = cholesky(K, return_jitter=True)
        add_to_diagonal(K, jitter)
        rng = np.random.default_rng(self.seed())
        seeds = rng.integers(0, 2**64, size=model.n_chains, dtype=np.uint64)
        plan = (model.burn_in, model.thin, model.n_samples)
        chains = Chains(K, L, float(model.mean), self.kappa, seeds, plan, self.X.dtype, self.device)
        if "gibbs" in earlier:
            chains.restore(earlier["gibbs"])
        with tqdm(total=chains.n_iterations, disable=not model.verbose, desc=type(model).__name__) as bar:

            def report(t):
                bar.update(t - bar.n)
                return self._tell("gibbs", t, None)

            ended = chains.run(report, self.check_interrupt)
        if chains.kept == 0:
            raise (
                KeyboardInterrupt
                if ended == "interrupted"
                else ValueError(
                    "the callback stopped the chains before the first draw was kept; lower burn_in or let them run"
                )
            )
        reasons = {"interrupted": "interrupted from the keyboard", "stopped": "stopped by the callback"}
        message = reasons.get(ended, f"{chains.kept} draws of {model.n_chains} chains")
        state = {"digest": self.digest, "seed": self.seed(), "kappa": self.kappa}
        state |= {"gibbs": chains.state(), "kernel": kernel, "bounds": bounds}
        draws = chains.draws[:, : chains.kept]
        posterior = GibbsPosterior(kernel, float(model.mean), self.X.astype(np.float64), L, jitter, draws, self.device)
        self.ended = ended
        return Found("gibbs", posterior, state, bounds, chains.t, ended is None, message)

    def _tell(self, stage, iteration, bound) -> bool:
        if self.model.callback is None:
            return False
        elapsed = time.perf_counter() - self.begun
        return bool(self.model.callback(GpcStatus(stage, iteration, bound, elapsed)))

    def warn(self) -> None:
        """Say what a user should know of how it ended."""
        ended, out = getattr(self, "ended", None), self.outcome
        if ended == "interrupted" or (out is not None and out.interrupted):
            what = "draws" if ended else "iterations"
            warnings.warn(
                f"the fit was interrupted; the model holds the {what} so far, and warm_start=True goes on from here",
                FitInterruptedWarning,
                stacklevel=4,
            )
        elif out is not None and not (out.converged or out.stopped) and self.model.batch_size is None:
            warnings.warn(
                f"the fit ended before convergence ({out.message}): raise max_iter={self.model.max_iter} or tol; "
                "warm_start=True goes on from here",
                ConvergenceWarning,
                stacklevel=4,
            )
