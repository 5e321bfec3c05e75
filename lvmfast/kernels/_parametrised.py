"""What kernels and likelihoods share: parameters with values, bounds, priors and bijectors."""

from __future__ import annotations

import copy
import numbers

import numpy as np

from lvmfast._validation import as_float_array, check_prior
from lvmfast.kernels._compiled import checked_value, unconstrained_bounds
from lvmfast.kernels._parameters import Parameters, Setting

__all__ = ["Parametrised"]


class Parametrised:
    """An object with named parameters that fits move.

    Those who inherit say in ``_named_leaves`` which objects hold the values, as attributes that
    ``parameter_names_of_leaf`` names, with ``_settings`` of those that are not learned as usual.
    """

    #: How parameters are learned unless somebody said otherwise, where that is not the usual way.
    _default_settings: dict[str, Setting] = {}

    @property
    def parameters(self) -> Parameters:
        """The parameters by name; prints as a table. ``parameters["lengthscale"] = 0.5`` sets a value."""
        return Parameters(self)

    def fix(self, *names) -> Parametrised:
        """Keep parameters as they are in fits; names may be patterns such as ``"*.variance"``. Without names: all."""
        return self._change(names, fixed=True)

    def free(self, *names) -> Parametrised:
        """Let fits move parameters again."""
        return self._change(names, fixed=False)

    def set_bounds(self, name, low=0.0, high=np.inf) -> Parametrised:
        """Keep a parameter in ``[low, high]`` in fits, ``0 <= low < high``."""
        for bound in (low, high):
            if isinstance(bound, bool) or not isinstance(bound, numbers.Real):
                raise TypeError(f"bounds must be numbers with 0 <= low < high, got {low!r} and {high!r}")
        if not 0 <= low < high:
            raise ValueError(f"bounds must be numbers with 0 <= low < high, got {low!r} and {high!r}")
        return self._change((name,), bounds=(float(low), float(high)))

    def set_prior(self, name, prior) -> Parametrised:
        """Give a parameter a prior (see :mod:`lvmfast.priors`), or None to take it away."""
        check_prior(prior)
        return self._change((name,), prior=prior)

    def set_bijector(self, name, bijector) -> Parametrised:
        """The map from the real line through which fits move a parameter (see :mod:`lvmfast.bijectors`)."""
        methods = ("forward", "inverse", "vjp")
        if isinstance(bijector, type) or not all(hasattr(bijector, method) for method in methods):
            raise TypeError(f"bijector must have forward, inverse and vjp, got {bijector!r}")
        return self._change((name,), bijector=bijector)

    def _change(self, names, **what) -> Parametrised:
        parameters = self.parameters
        for name in parameters.matching(names):
            parameters.change(name, **what)
        return self

    @property
    def theta(self) -> np.ndarray:
        """The free parameters as one unconstrained vector, shape (p,): by default their logarithms."""
        parameters = self.parameters
        values = [
            p.bijector.inverse(np.atleast_1d(parameters.checked(name, p.value)))
            for name, p in parameters.items()
            if not p.fixed
        ]
        return np.concatenate(values) if values else np.empty(0)

    @theta.setter
    def theta(self, theta) -> None:
        theta = as_float_array(theta, "theta").astype(np.float64)
        parameters = self.parameters
        sizes = {name: np.size(p.value) for name, p in parameters.items() if not p.fixed}
        values = {}
        if theta.shape != (sum(sizes.values()),):
            raise ValueError(f"theta must have shape ({sum(sizes.values())},), got {theta.shape}")
        if not np.isfinite(theta).all():
            raise ValueError(f"theta must be finite, got {theta}")
        start = 0
        for name, size in sizes.items():
            value = parameters[name].bijector.forward(theta[start : start + size])
            try:
                parameters.checked(name, value)
            except ValueError:
                rule = "finite parameters > 0" if parameters[name].bounds[0] >= 0 else "finite parameters in order"
                raise ValueError(f"theta must give {rule}, got {value} for {name}") from None
            values[name] = value if np.ndim(parameters[name].value) else float(value[0])
            start += size
        for name, value in values.items():
            parameters[name] = value

    @property
    def theta_bounds(self) -> np.ndarray:
        """Bounds of :attr:`theta`, shape (p, 2); infinite where there are none."""
        rows = [
            np.tile(unconstrained_bounds(p), (np.size(p.value), 1)) for p in self.parameters.values() if not p.fixed
        ]
        return np.concatenate(rows) if rows else np.empty((0, 2))

    def log_prior(self) -> tuple[float, dict]:
        """Log density of the priors at the parameters (not at theta: no Jacobian), and its gradient by name."""
        value, gradients, parameters = 0.0, {}, self.parameters
        for name, p in parameters.items():
            gradients[name] = np.zeros(np.shape(p.value))
            if p.prior is not None:
                x = parameters.checked(name, p.value)
                value += float(np.sum(p.prior.log_density(x)))
                gradients[name] = np.asarray(p.prior.gradient(x))
        return value, {name: g if g.ndim else float(g) for name, g in gradients.items()}

    def copy(self) -> Parametrised:
        """An independent object with the same parameters, bounds, priors and all."""
        return copy.deepcopy(self)

    __sklearn_clone__ = copy

    def __copy__(self) -> Parametrised:
        return copy.deepcopy(self)

    @staticmethod
    def _checked_value(name: str, value) -> np.ndarray:
        """A value of one of this leaf's parameters as float64, or an error."""
        return checked_value(name, value)
