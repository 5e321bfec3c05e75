"""How fits of an autoencoder begin, run and end, on the estimator."""

from __future__ import annotations

import time
import warnings

import numpy as np
from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._interrupt import deferred_interrupt
from lvmfast.exceptions import FitInterruptedWarning
from lvmfast.models._vae_checks import fixed_log_variances
from lvmfast.models._vae_data import Form, write_names
from lvmfast.models._vae_fit import Run, Settings, VaeStatus
from lvmfast.models._vae_networks import build_networks
from lvmfast.models._vae_problem import HIGH, LOW, VaeProblem, copied, drawn

AVERAGE_ROWS = 1 << 14  # at most, of which the variance of "batch" is averaged at the end
SEEDS = ("encoder", "decoder", "noise", "score", "likelihood")

__all__ = ["VaeFitting"]


def seeds_of(seed: int) -> dict[str, int]:
    """Independent seeds for what draws numbers."""
    return dict(zip(SEEDS, np.random.SeedSequence(seed).generate_state(len(SEEDS), np.uint64).tolist(), strict=True))


class VaeFitting:
    """From arguments to a run, and from there to fitted attributes."""

    def _form(self) -> Form:
        return Form(self.likelihood, self.n_classes if self.likelihood == "categorical" else None, self.dtype)

    def _first_problem(self, form: Form, seed: int, device: str) -> VaeProblem:
        """Networks with their first parameters."""
        seeds, gaussian = seeds_of(seed), self.likelihood == "gaussian"
        fixed = fixed_log_variances(self.variance, form) if gaussian else None
        pair = seeds["encoder"], seeds["decoder"]
        networks = build_networks(self, form.full_shape, form.width, pair, form.dtype, device)
        named = gaussian and isinstance(self.variance, str)
        return VaeProblem(
            *networks,
            categories=self.n_categories if self.latent == "categorical" else 0,
            likelihood=self.likelihood,
            variance=self.variance if named else "fixed",
            classes=form.classes,
            fixed=fixed,
        )

    def _restored(self, data) -> Run:
        """The run of the fitted model, for more data."""
        state, problem = self._state, self._problem.copy(self._state["theta"])
        named = self.likelihood == "gaussian" and isinstance(self.variance, str)
        now = self.likelihood, self.variance if named else "fixed", self.latent, self.objective
        if list(now) != list(state["form"]):
            raise ValueError(
                f"likelihood, variance, latent and objective must be those of the fit to go on, {list(state['form'])}, "
                f"got {list(now)}; fit anew"
            )
        codes = self.n_components * (self.n_categories if problem.categories else 1)
        fixed = None if problem.fixed is None else fixed_log_variances(self.variance, self._form_of_fit())
        for name, same, was in (
            ("n_components", codes == problem.codes, f"{problem.codes} latents"),
            ("dtype", np.dtype(self.dtype) == problem.dtype, str(problem.dtype)),
            ("variance", fixed is None or np.array_equal(fixed, problem.fixed), "another"),
        ):
            if not same:
                got = getattr(self, name)
                raise ValueError(f"{name} must be that of the fit to go on, {was}, got {got!r}; fit anew")
        if data.device != problem.device:
            raise ValueError(f"X must be on {problem.device!r}, where the model is, to go on, got {data.device!r}")
        return Run(problem, Settings.of(self), seeds_of(int(state["seed"])), state["theta"], state)

    def _go(self, data, names, form, run: Run, more: dict, begun: float) -> None:
        """Steps to the end; sets the fitted attributes, then warns or raises."""
        bar = tqdm(
            total=data.steps_of(self.max_iter), initial=run.steps, disable=not self.verbose, desc="VAE", unit="step"
        )
        with bar, _backend.blas_threads(1), deferred_interrupt() as check_interrupt:

            def on_piece():
                bar.update(run.steps - bar.n)

            def on_epoch():
                means = run.means(*([0, *run.ends][-2:]))
                val_loss = float(run.checks[-1][0]) if data.held is not None else None
                shown = {"epoch": len(run.ends), "loss": f"{means[0]:.4f}"}
                bar.set_postfix(shown | ({} if val_loss is None else {"val_loss": f"{val_loss:.4f}"}), refresh=False)
                if self.callback is None:
                    return False

                def model():
                    fitted = type(self)(**{**self.get_params(deep=False), "callback": None})
                    fitted._finish(data, names, form, run, more, "a checkpoint")
                    return fitted

                elapsed = time.perf_counter() - begun
                status = VaeStatus(len(run.ends), run.steps, means.tolist(), val_loss, elapsed, model)
                return bool(self.callback(status))

            run.go(data, check_interrupt, on_piece, on_epoch)
            message = f"reached max_iter={self.max_iter}"
            if run.error is not None:
                message = f"ended by an error after {run.steps} steps: {run.error}"
            elif run.interrupted:
                message = "interrupted from the keyboard"
            elif run.stopped:
                message = "stopped by the callback"
            elif run.settled:
                message = f"no better bound of the rows for validation in {self.n_iter_no_change} epochs"
            self._finish(data, names, form, run, more, message)
        if run.error is not None:
            raise run.error
        if run.interrupted:
            warnings.warn(
                f"the fit was interrupted after {run.steps} steps; the model holds what was reached, and resume(X) "
                "goes on",
                FitInterruptedWarning,
                stacklevel=4,
            )

    def _finish(self, data, names, form, run: Run, more: dict, message: str) -> None:
        """Set the fitted attributes from where a run is."""
        problem, theta = run.problem, run.result()
        average = self._average_of(data, run, theta) if problem.variance == "batch" else None
        state = run.state() | more
        state["form"] = np.array([problem.likelihood, problem.variance, self.latent, self.objective])
        if not more.get("piece"):
            state |= {f"source.{name}": np.asarray(value) for name, value in data.state(run.steps).items()}
        write_names(self, names)
        best = self.early_stopping and run.best is not None
        self.n_iter_, self.n_steps_ = len(run.ends), run.steps
        self.best_iter_ = run.best["epoch"] if best else len(run.ends)
        self.history_, self.loss_curve_, self.message_ = run.history(), -run.terms[:, 0], message
        self._shape, self._codes = form.shape, form.codes
        self._temperature = float(run.settings.values("temperature", max(run.steps - 1, 0), 1)[0])
        self._on_gpu = bool(data.on_gpu)
        self._set_problem(problem, theta, average, state)

    def _set_problem(self, problem: VaeProblem, theta, average, state) -> None:
        """Attributes of fitted networks."""
        self._problem = problem.copy(theta)
        self._theta, self._average, self._state, self.device_ = theta, average, state, problem.device
        own = self._problem
        self.encoder_, self.decoder_ = (
            copied(own.encoder, own.encoder.parameters),
            copied(own.decoder, own.decoder.parameters),
        )
        for name in ("log_variance_", "noise_variance_"):
            vars(self).pop(name, None)
        if problem.likelihood == "gaussian" and problem.variance not in ("row", "sample"):
            log_variance = _backend.to_numpy(problem.log_variances(theta, None, average)).astype(np.float64)
            self.log_variance_ = float(log_variance[0]) if problem.variance == "shared" else log_variance
            variance = np.exp(log_variance)
            self.noise_variance_ = float(variance[0]) if problem.variance == "shared" else variance

    def _average_of(self, data, run: Run, theta) -> np.ndarray:
        """The decoder's log variances, averaged over rows of the data and one draw of their latents; float64."""
        problem, x = run.problem.copy(theta), data.some(AVERAGE_ROWS)
        total, size = np.zeros(problem.width), problem.rows_at_once(1)
        compiled = problem.compiled(1, False)
        for k, begin in enumerate(range(0, len(x), size)):
            rows = x[begin : begin + size]
            eps = compiled.noise(run.seeds["likelihood"], k, size)[: len(rows), 0]
            head = problem.decode(drawn(problem, problem.encode(rows), eps))[1]
            total += _backend.to_numpy(head.sum(axis=0, dtype=np.float64))
        return np.clip(total / len(x), LOW, HIGH)
