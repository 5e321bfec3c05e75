"""What every likelihood can do."""

from __future__ import annotations

import inspect

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, common_dtype
from lvmfast.kernels._parameters import short
from lvmfast.kernels._parametrised import Parametrised

__all__ = ["Likelihood"]


class Likelihood(Parametrised):
    """A density ``p(y | f)`` of an observation given latent function values; see :mod:`lvmfast.likelihoods`.

    Parameters have values, bounds, priors and bijectors as those of kernels have: ``parameters``, ``fix``, ``free``,
    ``set_bounds``, ``set_prior``, ``set_bijector``, ``theta``.
    """

    #: Names of the parameters, in the order in which the compiled code takes them.
    parameter_names_of_leaf: tuple[str, ...] = ()
    #: What may be known of every point besides y: the name of a keyword argument, or None.
    known_of_points: str | None = None
    #: Latent functions per observation.
    n_latents: int = 1
    #: What y must be.
    support = "finite numbers"
    #: What to do if it is not.
    remedy = ""

    def __init__(self):
        self._settings: dict = {}

    # Evaluation.

    @_backend.memory_errors
    def expected_log_density(self, y, mean, variance, *, gradients=False, **known):
        """``E log p(y | f)`` with ``f ~ N(mean, variance)``, point by point, and its derivatives.

        Parameters
        ----------
        y : array
            Broadcasts with mean and variance. One number per observation.
        mean, variance : array
            Of f, ``variance >= 0``; with C latents per observation the last axis has C entries, independent ones.
        gradients : bool, default=False
        **known : array or float
            What is known of every point, as the class says: ``noise_variance``, ``exposure``.

        Returns
        -------
        value : array
            In the broadcast shape (without the axis of latents), float32 if mean and variance are, else float64.
        by_mean, by_variance : array
            With ``gradients``: derivatives of the computed value, in the shape of mean and variance together.
        by_parameters : dict
            With ``gradients``: per point, by name; a parameter with k entries has one more axis.

        Raises
        ------
        ValueError
            If y is outside the support, mean or variance is not finite, or variance is negative.
        """
        module, shape, dtype, y, known, mean, variance = self._arguments(y, mean, variance, known)
        results = self._compiled(module).expectations(y, known, mean, variance)
        value, by_mean, by_variance = (a.reshape(shape).astype(dtype, copy=False) for a in results[:3])
        if not gradients:
            return value
        by_parameters, start = {}, 0
        for name in self.parameter_names_of_leaf:
            extents = np.shape(getattr(self, name))
            size = int(np.prod(extents))
            part = results[3][:, start : start + size].reshape((*shape, *extents))
            by_parameters[name] = part.astype(dtype, copy=False)
            start += size
        return value, by_mean, by_variance, by_parameters

    @_backend.memory_errors
    def log_density(self, y, f, **known):
        """``log p(y | f)``, point by point."""
        module, shape, dtype, y, known, f, _ = self._arguments(y, f, None, known, ("f", None))
        return self._compiled(module).log_density(y, known, f).reshape(shape).astype(dtype, copy=False)

    @_backend.memory_errors
    def log_predictive_density(self, y, mean, variance, **known):
        """``log p(y) = log E p(y | f)`` with ``f ~ N(mean, variance)``, point by point.

        In closed form, or by the trapezoidal rule from the mode of ``p(y | f) N(f; mean, variance)``, to about nine
        digits however narrow p is (logit: by quadrature). Parameters and errors are those of
        :meth:`expected_log_density`.
        """
        module, shape, dtype, y, known, mean, variance = self._arguments(y, mean, variance, known)
        value = self._compiled(module).log_predictive(y, known, mean, variance)
        return value.reshape(shape).astype(dtype, copy=False)

    @_backend.memory_errors
    def predict(self, mean, variance, **known):
        """The mean and the variance of y with ``f ~ N(mean, variance)``, point by point.

        Infinite or NaN where y has none.
        """
        module, shape, dtype, _, known, mean, variance = self._arguments(None, mean, variance, known)
        results = self._compiled(module).moments(known, mean, variance)
        return tuple(a.reshape(shape).astype(dtype, copy=False) for a in results)

    def sample(self, f, *, rng=None, start=0, **known):
        """Draws of ``y ~ p(y | f)``, point by point: by inversion from uniform draw ``start + i`` of a seed.

        Parameters
        ----------
        f : array
        rng : int, numpy.random.Generator or None
        start : int, default=0
            The number of the first draw: draws do not depend on how they are cut into calls.

        Returns
        -------
        y : array
            In the shape of f (without the axis of latents), where f is; made on the CPU.
        """
        _, shape, dtype, _, known, at, _ = self._arguments(None, f, None, known, ("f", None))
        at, known = (None if a is None else _backend.to_numpy(a).astype(np.float64) for a in (at, known))
        with np.errstate(over="ignore", under="ignore"):
            y = np.asarray(self._draws(at, known, rng, start), dtype).reshape(shape)
        return _backend.like(y, f)

    # What the likelihoods fill in.

    def _compiled(self, module):
        """The compiled likelihood, with the present parameters."""
        raise NotImplementedError

    def _draws(self, f, known, rng, start):
        raise NotImplementedError

    def _in_support(self, y, xp):
        """Where y is a possible observation."""
        return xp.isfinite(y)

    # Arguments.

    def _parameter_vector(self) -> np.ndarray:
        values = [self._checked_value(name, getattr(self, name)).ravel() for name in self.parameter_names_of_leaf]
        return np.concatenate(values) if values else np.empty(0)

    def _arguments(self, y, mean, variance, known, names=("mean", "variance")):
        """The module, the result's shape and dtype, and flat contiguous arrays of one dtype."""
        given = {"y": y, names[0]: mean, names[1] or "variance": variance} | known
        module = _backend.module_for(**given)
        arrays = {name: as_float_array(value, name) for name, value in given.items() if value is not None}
        self._check_known(known)
        try:
            shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
        except ValueError:
            got = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
            raise ValueError(f"{' and '.join(arrays)} must broadcast, got {got}") from None
        result = common_dtype(*(arrays[name] for name in names if name in arrays))
        dtype = common_dtype(*arrays.values())
        xp = _backend.namespace(*arrays.values())
        self._check_values(arrays, xp, known)

        def flat(name):
            array = arrays.get(name)
            if array is None:
                return None
            return xp.ascontiguousarray(xp.broadcast_to(array, shape), dtype=dtype).reshape(-1)

        return module, shape, result, flat("y"), flat(self.known_of_points), flat(names[0]), flat("variance")

    def _check_known(self, known) -> None:
        for name in known:
            if name != self.known_of_points:
                takes = f"takes {self.known_of_points}" if self.known_of_points else "takes nothing else"
                raise TypeError(f"{type(self).__name__} {takes} per point, got {name!r}")

    def _check_values(self, arrays, xp, known) -> None:
        for name, array in arrays.items():
            if name == "y":
                self.check_y(array)
                continue
            good = xp.isfinite(array)
            if name == "variance":
                good &= array >= 0
            elif name in known:
                good &= array > 0
            if not good.all():
                rule = "finite and >= 0" if name == "variance" else "finite and > 0" if name in known else "finite"
                raise ValueError(f"{name} must be {rule}, got {float(array[~good].ravel()[0])}")

    def check_y(self, y) -> None:
        """Raise ValueError unless every number in y is a possible observation."""
        y = as_float_array(y, "y")
        xp = _backend.namespace(y)
        good = self._in_support(y, xp)
        if not good.all():
            bad = float(y[~good].ravel()[0])
            remedy = f"; {self.remedy}" if self.remedy else ""
            raise ValueError(f"y must hold {self.support} for {type(self).__name__}, got {bad:g}{remedy}")

    # Parameters and the object.

    def theta_gradient(self, gradients) -> np.ndarray:
        """The gradient by :attr:`theta`, shape (p,), from gradients by parameters: a dict of their names."""
        parts = []
        for name, p in self.parameters.items():
            if not p.fixed:
                value = np.atleast_1d(self._checked_value(name, p.value))
                gradient = np.asarray(gradients[name], dtype=np.float64).reshape(value.shape)
                parts.append(p.bijector.vjp(p.bijector.inverse(value), gradient))
        return np.concatenate(parts) if parts else np.empty(0)

    def _named_leaves(self):
        return [("", self)]

    def _set_value(self, name: str, value) -> None:
        array = self._checked_value(name, value)
        setattr(self, name, array.copy() if array.ndim else float(array))

    @classmethod
    def _arguments_of_init(cls) -> tuple[str, ...]:
        return tuple(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict:
        """Arguments of the constructor by name, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in self._arguments_of_init()}

    def set_params(self, **params) -> Likelihood:
        """Set arguments of the constructor by name; nothing changes if a name or a value is wrong."""
        known = self._arguments_of_init()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{name!r} names no parameter of {type(self).__name__}; there are {', '.join(known)}")
            if name in self.parameter_names_of_leaf:
                self._checked_value(name, value)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        values = ((name, getattr(self, name)) for name in self._arguments_of_init())
        text = (f"{name}={value!r}" if _plain(value) else f"{name}={short(value)}" for name, value in values)
        return f"{type(self).__name__}({', '.join(text)})"

    def __eq__(self, other) -> bool:
        return (
            type(self) is type(other)
            and self._settings == other._settings
            and all(np.array_equal(a, other.get_params()[name]) for name, a in self.get_params().items())
        )

    __hash__ = None


def _plain(value) -> bool:
    return value is None or isinstance(value, (bool, str)) or callable(value)
