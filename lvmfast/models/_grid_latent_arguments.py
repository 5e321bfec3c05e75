"""What the arguments of a grid model stand for."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from lvmfast import _backend
from lvmfast._validation import as_float_array, as_matrix, check_callback, check_integer, check_positive
from lvmfast.distributions import Distribution, Normal
from lvmfast.grids import Mesh
from lvmfast.models._grid_latent_density import GridDensity, mapped, number_or_numbers
from lvmfast.models._grid_latent_rule import make_rule
from lvmfast.nn import Sequential

__all__ = ["GridArguments"]

MOST_LATENTS = 2


class GridArguments:
    """Prior, grid, map and noise of a :class:`GridLatentModel`, checked; those of a fit if there is one."""

    def _checked(self) -> None:
        """Raise unless all arguments make sense."""
        if not callable(self.f):
            raise TypeError(f"f must be callable, a function of latents or an lvmfast.nn.Sequential, got {self.f!r}")
        if check_integer(self.n_components, "n_components", 1) > MOST_LATENTS:
            raise ValueError(f"n_components must be 1 or 2, got {self.n_components}: a grid of more is too large")
        if self.n_grid is not None:
            check_integer(self.n_grid, "n_grid", 2)
        for name in ("normalize", "learn_noise"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        check_integer(self.max_iter, "max_iter", 1)
        check_positive(self.tol, "tol", zero=True)
        check_callback(self.callback)
        if self.noise_variance is not None:
            number_or_numbers(self.noise_variance)
        self._prior()

    def _prior(self):
        prior, q = Normal(0.0, 1.0) if self.prior is None else self.prior, self.n_components
        if not isinstance(prior, Distribution) or prior.discrete:
            raise TypeError(f"prior must be a continuous distribution of lvmfast.distributions, got {prior!r}")
        shape = prior.batch_shape + prior.event_shape
        if shape not in ((), (q,)) or (shape and prior.batch_shape and prior.event_shape):
            raise ValueError(f"prior must be of numbers or of n_components = {q} of them, got one of shape {shape}")
        return prior

    def _rule(self):
        return make_rule(self.grid, self.n_grid, self._prior(), self.n_components)

    def _log_masses(self, rule) -> np.ndarray:
        return rule.log_masses - np.log(rule.prior_mass) if self.normalize else rule.log_masses

    def _map(self):
        f = getattr(self, "f_", self.f)
        if isinstance(f, Sequential) and f._graph is None:
            raise ValueError("f must be built, f.build(n_components), or the model fitted first")
        if isinstance(f, Sequential) and f.input_shape != (self.n_components,):
            raise ValueError(
                f"f must be a network of latents ({self.n_components},), got one of inputs {f.input_shape}"
            )
        return f

    def _noise(self, d: int):
        noise = getattr(self, "noise_variance_", self.noise_variance)
        if noise is None:
            raise ValueError("noise_variance must be a number > 0 or the model fitted first, got None")
        return number_or_numbers(noise, d)

    def _density(self) -> GridDensity:
        self._checked()
        rule = self._rule()
        F = mapped(self._map(), rule.latents)
        return GridDensity(F, self._log_masses(rule), self._noise(F.shape[1]))

    def _latents(self, Z):
        """Latents (m, q); numbers and (m,) where q is 1."""
        Z = as_float_array(Z, "Z")
        if self.n_components == 1 and Z.ndim < 2:
            Z = Z.reshape(-1, 1)
        return as_matrix(Z, "Z", columns=self.n_components)

    def _new_rows(self, X):
        """X, checked as scikit-learn does where it is not a mesh or on a GPU; infinity has a density."""
        if isinstance(X, Mesh) or _backend.is_gpu(X):
            return X
        floats = {"dtype": (np.float64, np.float32), "ensure_all_finite": False}
        if not hasattr(self, "n_features_in_"):
            return check_array(X, **floats)
        return validate_data(self, X, reset=False, **floats)
