"""How fits of an autoencoder begin, run and end, on the estimator."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast.models._data_fit import DataFit
from lvmfast.models._vae_checks import check_parameters, fixed_log_variances
from lvmfast.models._vae_data import Form, write_names
from lvmfast.models._vae_fit import Run, Settings, VaeStatus
from lvmfast.models._vae_networks import build_networks, first_flow, flow_leaves, noise_size, posterior_kind
from lvmfast.models._vae_problem import HIGH, LOW, VaeProblem, copied
from lvmfast.random import named_seeds

AVERAGE_ROWS = 1 << 14  # at most, of which the variance of "batch" is averaged at the end
SEEDS = ("encoder", "decoder", "noise", "score", "likelihood", "posterior")

__all__ = ["VaeFitting"]


def seeds_of(seed: int) -> dict[str, int]:
    """Independent seeds for what draws numbers."""
    return named_seeds(seed, SEEDS)


class VaeFitting(DataFit):
    """From arguments to a run, and from there to fitted attributes."""

    _title, _bound, _status = "VAE", "bound", VaeStatus

    def _check(self) -> None:
        check_parameters(self)

    def _new_run(self, form: Form, seed: int, data) -> Run:
        problem = self._first_problem(form, seed, data.device)
        start = problem.initial(data.moments() if problem.n_free else None)
        return Run(problem, Settings.of(self), seeds_of(seed), start)

    def _form(self) -> Form:
        return Form(self.likelihood, self.n_classes if self.likelihood == "categorical" else None, self.dtype)

    def _first_problem(self, form: Form, seed: int, device: str) -> VaeProblem:
        """Networks with their first parameters."""
        seeds, gaussian = seeds_of(seed), self.likelihood == "gaussian"
        fixed = fixed_log_variances(self.variance, form) if gaussian else None
        own_seeds = seeds["encoder"], seeds["decoder"], seeds["posterior"]
        *networks, own = build_networks(self, form.full_shape, form.width, own_seeds, form.dtype, device)
        named = gaussian and isinstance(self.variance, str)
        return VaeProblem(
            *networks,
            categories=self.n_categories if self.latent == "categorical" else 0,
            likelihood=self.likelihood,
            variance=self.variance if named else "fixed",
            classes=form.classes,
            fixed=fixed,
            posterior=posterior_kind(self.posterior),
            own=own,
            flow=first_flow(self, seeds["posterior"], form.dtype),
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
        noise = problem.noise if problem.implicit else None
        kind = posterior_kind(self.posterior)
        flow = repr(flow_leaves(self.posterior)) if kind == "flow" else "[]"
        for name, same, was in (
            ("posterior", kind == problem.posterior and flow == repr(problem.flow), repr(problem.posterior)),
            ("noise_size", noise is None or kind != "implicit" or noise_size(self) == noise, str(noise)),
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
        for name in ("log_variance_", "noise_variance_", "ratio_network_", "posterior_"):
            vars(self).pop(name, None)
        if problem.implicit:
            self.ratio_network_ = copied(own.own[0], own.own[0].parameters)
        if problem.flow:
            self.posterior_ = own.copy(theta).flow_chain()
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
            eps = compiled.noise(run.seeds["likelihood"], k, size)[: len(rows), 0, : problem.drawn]
            head = problem.decode(problem.draw(rows, eps))[1]
            total += _backend.to_numpy(head.sum(axis=0, dtype=np.float64))
        return np.clip(total / len(x), LOW, HIGH)
