"""How a fit of a grid model runs, from its data to the fitted attributes."""

from __future__ import annotations

import time

import numpy as np
from sklearn.utils.validation import validate_data
from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._interrupt import deferred_interrupt
from lvmfast._validation import check_columns
from lvmfast.models._grid_latent_density import mapped, number_or_numbers
from lvmfast.models._grid_latent_fit import GridObjective, GridStatus
from lvmfast.models._lbfgs_fit import search, warn_of_the_end
from lvmfast.nn import Sequential

__all__ = ["GridFitting", "mark_of"]


class GridFitting:
    """What ``fit`` and ``resume`` of :class:`GridLatentModel` share."""

    def _objective(self, data, f, rule, noise, device) -> GridObjective:
        return GridObjective(data, f, rule, self._log_masses(rule), noise, bool(self.learn_noise), device)

    def _run(self, X, data, objective, state, begun) -> None:
        """From a state to the end; sets the fitted attributes, then warns."""
        bar = tqdm(total=self.max_iter, disable=not self.verbose, desc="GridLatentModel", unit="it")
        with bar, deferred_interrupt() as check_interrupt:
            objective.check_interrupt = check_interrupt

            def on_iteration(reached):
                bar.n = len(reached.losses)
                bar.set_postfix(loss=f"{reached.losses[-1]:.4f}")
                if self.callback is None:
                    return False

                def model():
                    fitted = type(self)(**{**self.get_params(deep=False), "callback": None})
                    reached.message = "a checkpoint"
                    fitted._finish(X, data, objective, reached)
                    return fitted

                count, elapsed = len(reached.losses), time.perf_counter() - begun
                status = GridStatus(count, reached.losses[-1], reached.n_evaluations, elapsed, model)
                return bool(self.callback(status))

            reached = search(objective, state, self.max_iter if objective.size else 0, self.tol, on_iteration)
            if not objective.size:
                reached.converged, reached.message = True, "no parameter is free"
            objective.check_interrupt = None
            self._finish(X, data, objective, reached)
        warn_of_the_end(self, reached, "X", stacklevel=5)

    def _finish(self, X, data, objective, reached) -> None:
        """Set the fitted attributes from a point of a search."""
        theta = reached.theta
        loss, _ = objective.loss(theta)
        f = objective.f
        if objective.network is not None:
            net = objective.network
            f = Sequential(net.layers).build(net.input_shape, np.float64, seed=0, device=net.device)
            f.parameters = net.parameters
        validate_data(self, X if hasattr(X, "columns") else data, skip_check_array=True, reset=True)
        noise = objective.noise_at(theta)
        self.f_, self.noise_variance_ = f, noise if np.ndim(noise) == 0 else np.array(noise)
        self.log_likelihood_ = -loss * len(data)
        self.loss_curve_, self.n_iter_ = np.array(reached.losses), len(reached.losses)
        self.n_evaluations_, self.converged_ = int(reached.n_evaluations), bool(reached.converged)
        self.message_, self.device_ = reached.message, objective.device
        self._state = {**reached.make_state(), "mark": mark_of(data)}

    def _data(self, X, reset: bool = True) -> np.ndarray:
        """X of a fit as float64, checked as scikit-learn does; the model is as it was."""
        check_columns(X, None if reset else getattr(self, "feature_names_in_", None))
        probe = type(self)(self.f)
        given = _backend.to_numpy(X)
        data = validate_data(probe, given, dtype=np.float64, ensure_min_samples=2, reset=True)
        if self.noise_variance is not None:
            number_or_numbers(self.noise_variance, data.shape[1])
        return data

    def _device(self, X) -> str:
        return _backend.check_device(self.device, X)

    def _first_noise(self, data, f, rule):
        if self.noise_variance is not None:
            return number_or_numbers(self.noise_variance, data.shape[1])
        if not self.learn_noise:
            raise ValueError("noise_variance must be a number > 0 where learn_noise is False, got None")
        from sklearn.neighbors import NearestNeighbors

        F = mapped(f, rule.latents, data.shape[1])
        distance, _ = NearestNeighbors(n_neighbors=1).fit(F).kneighbors(data)
        noise = float(np.mean(distance**2)) / data.shape[1]
        return max(noise, 1e-6 * float(np.mean(data.var(axis=0))), np.finfo(float).tiny)


def mark_of(data: np.ndarray) -> np.ndarray:
    """Numbers that tell these data from others."""
    return np.concatenate([data.shape, data.mean(axis=0), (data * data).mean(axis=0)])
