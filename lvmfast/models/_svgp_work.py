"""How fits of a stochastic variational process begin, run and end, on the estimator."""

from __future__ import annotations

import time
import warnings

import numpy as np
from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._interrupt import deferred_interrupt
from lvmfast.exceptions import FitInterruptedWarning, LvmfastError
from lvmfast.likelihoods import Gaussian
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._gpr_objective import NOISE_FLOOR
from lvmfast.models._sgpr_start import check_inducing, first_inducing
from lvmfast.models._svgp_fit import Run, Settings, SvgpStatus
from lvmfast.models._svgp_problem import SvgpProblem
from lvmfast.models._svgp_target import Target

__all__ = ["SvgpFitting"]

FULL_ROWS = 100_000  # up to so many the bound of all data is computed at the end


class SvgpFitting:
    """From arguments to a run, and from there to fitted attributes."""

    def _first_problem(self, data, n_total: int, seed: int) -> SvgpProblem:
        """Where a fit starts."""
        X, Y, known = data.head()
        inducing = check_inducing(self.inducing, n_total, data.q)
        mean, target = Mean(self.mean, X), data.target
        start = target.start(Y, known, mean.given(X, data.n_latents))
        coef = np.zeros((mean.size, data.n_latents))
        coef[:1] = start
        kernel = (target.kernel(X, Y) if self.kernel is None else self.kernel).copy()
        kernel.compiled(data.q).check_range(kernel.compiled(data.q).vector(), data.dtype, X)
        if known is not None and isinstance(target.likelihood, Gaussian):
            target.likelihood.fix()
        if np.ndim(inducing) == 0:
            rng = np.random.default_rng([seed, 2])
            inducing = first_inducing(X, inducing, self.inducing_init, kernel, mean.scale, rng)
            if self.inducing_init == "k-means":  # in an order that does not depend on that of the rows
                inducing = inducing[np.lexsort(inducing.T[::-1])]
        floor = NOISE_FLOOR * float(np.mean((Y - Y.mean(axis=0)) ** 2))
        mean, unit = mean.with_coef(coef), target.unit(Y)
        return SvgpProblem(
            kernel, target.likelihood, mean, inducing, unit, self._options(), data.device, data.dtype, floor
        )

    def _options(self) -> dict:
        names = ("whiten", "q_diag", "learn_inducing", "jitter")
        return {name: getattr(self, name) for name in names} | {"natural": self.optimizer == "natural"}

    def _restored(self, data) -> Run:
        """The run of the fitted model, for more data."""
        state, options, posterior = self._state, self._options(), self._posterior
        if data.q != posterior.X.shape[1] or data.n_latents != posterior.n_outputs:
            raise ValueError(
                f"X and y must have the columns of the fit, {posterior.X.shape[1]} and {posterior.n_outputs}, got "
                f"{data.q} and {data.n_latents}"
            )
        form = [options[name] for name in ("whiten", "q_diag", "natural", "learn_inducing")]
        if form != [bool(v) for v in state["form"]]:
            raise ValueError("whiten, q_diag, optimizer and learn_inducing must be those of the fit to go on; fit anew")
        Z, unit = posterior.X, float(state["unit"])
        problem = SvgpProblem(self.kernel_, self.likelihood_, posterior.mean, Z, unit, options, data.device, data.dtype)
        problem.bounds = np.array(state["bounds_of_theta"])
        return Run(problem, Settings.of(self), np.array(state["theta"]), state)

    def _target(self) -> Target:
        """What y is to the fitted model."""
        return Target(self.likelihood, classes=getattr(self, "classes_", None), fitted=self.likelihood_)

    def _go(self, data, run: Run, more: dict, begun: float) -> None:
        """Steps to the end; sets the fitted attributes, then warns or raises."""
        more["seen"] = np.array(data.n_total)
        bar = tqdm(total=self.max_iter, initial=len(run.losses), disable=not self.verbose, desc="SVGP", unit="step")
        with bar, _backend.blas_threads(1), deferred_interrupt() as check_interrupt:

            def on_step():
                bar.update()
                bar.set_postfix(loss=f"{run.losses[-1]:.4f}", refresh=False)
                if self.callback is None:
                    return False

                def model():
                    fitted = type(self)(**{**self.get_params(deep=False), "callback": None})
                    fitted._finish(data, run, more, "a checkpoint", np.nan)
                    return fitted

                count, elapsed = len(run.losses), time.perf_counter() - begun
                theta = run.problem.in_units(run.theta)
                return bool(self.callback(SvgpStatus(count, run.losses[-1], elapsed, theta, model)))

            run.go(data, data.held, check_interrupt, on_step)
            message = f"reached max_iter={self.max_iter}"
            if run.error is not None:
                message = f"ended by an error after {len(run.losses)} steps: {run.error}"
            elif run.interrupted:
                message = "interrupted from the keyboard"
            elif run.stopped:
                message = "stopped by the callback"
            elif run.settled:
                message = f"no better held-out density in {self.n_iter_no_change} checks"
            try:
                self._finish(data, run, more, message, None)
            except (LvmfastError, ValueError) as later:  # the first error says more
                raise run.error or later from None
        if run.error is not None:
            raise run.error
        if run.interrupted:
            warnings.warn(
                f"the fit was interrupted after {self.n_iter_} steps; the model holds what was reached, and "
                "resume(X, y) goes on",
                FitInterruptedWarning,
                stacklevel=4,
            )

    def _finish(self, data, run: Run, more: dict, message: str, bound: float | None) -> None:
        """Set the fitted attributes from where a run is; bound: the lower bound, None to compute it."""
        theta, q = run.result()
        problem = run.problem
        posterior = problem.posterior(theta, q)
        count = len(run.losses)
        state = run.state() | more | {"unit": np.array(problem.unit), "bounds_of_theta": problem.bounds}
        state["form"] = np.array([self.whiten, self.q_diag, self.optimizer == "natural", self.learn_inducing])
        if not data.piece:
            state |= {f"source.{name}": np.asarray(value) for name, value in data.state(count).items()}
        if bound is None:
            bound = self._full_bound(data, run, theta, q)
        data.name(self)
        self._dtype, self._single, self._on_gpu = data.dtype, data.single, data.on_gpu
        self._own_noise = bool(data.has_known)
        self.kernel_, self.likelihood_ = problem.kernel_at(theta), problem.likelihood_at(theta).copy()
        vars(self).pop("classes_", None)
        if data.target.classes is not None:
            self.classes_ = data.target.classes
        self.lower_bound_, self.elbo_curve_, self.loss_curve_ = float(bound), np.array(run.bounds), np.array(run.losses)
        self.validation_curve_ = np.array(run.checks)
        best = self.early_stopping and run.best is not None
        self.n_iter_, self.best_iter_ = count, run.best["step"] if best else count
        self.message_, self._state = message, state
        self._set_posterior(posterior)

    @staticmethod
    def _full_bound(data, run, theta, q) -> float:
        """The bound of all data, or the mean of its estimates over the last pass."""
        mean = float(np.mean(run.bounds[-(data.pass_length or 100) :]))
        if not data.in_memory or data.n_total > FULL_ROWS or run.error is not None:
            return mean
        held = run.problem.compiled.q()
        try:
            run.problem.compiled.set_q(*q)
            whole = next(iter(data.source.pieces(data.n_total)))
            return run.problem.evaluate(theta, run.problem.rows(whole)).bound
        except LvmfastError:  # theta may have moved once more since it was last evaluated
            return mean
        finally:
            run.problem.compiled.set_q(*held)

    def _set_posterior(self, posterior) -> None:
        self._posterior, self.device_, self.jitter_ = posterior, posterior.device, posterior.jitter
        self.inducing_ = self._own(posterior.X)
        coef = posterior.mean.raw_coef() if posterior.mean.size else np.zeros((0, posterior.n_outputs))
        self.mean_coef_ = coef[:, 0] if self._output()[1] else coef
