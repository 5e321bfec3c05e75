"""Optimizers of minibatch training: steps in place, compiled, over one vector of parameters on either device.

    state = optimizer.init(parameters)
    optimizer.update(parameters, gradient, state)

``state`` is a flat dict of arrays and the number of steps; saved and given back, training goes on as if it had not
stopped.
:mod:`lvmfast.optim` has the optimizers of whole objectives in float64.
"""

from __future__ import annotations

import math
import numbers

import numpy as np

from lvmfast import _backend
from lvmfast._validation import check_positive, check_target

__all__ = ["SGD", "Adam", "RMSprop"]


class _Optimizer:
    """What they share: a rate or a schedule, and a bound on the gradient's norm."""

    _moments: tuple[str, ...] = ()

    def __init__(self, learning_rate, clip_norm):
        self.learning_rate = (
            learning_rate if callable(learning_rate) else check_positive(learning_rate, "learning_rate")
        )
        self.clip_norm = None if clip_norm is None else check_positive(clip_norm, "clip_norm")

    def init(self, parameters) -> dict:
        """The state before the first step.

        Parameters
        ----------
        parameters : ndarray of shape (p,)
            float32 or float64, on either device.
        """
        self._check(parameters, "parameters", getattr(parameters, "shape", None), getattr(parameters, "dtype", None))
        zeros = _backend.namespace(parameters).zeros_like
        return {"step": 0, **{name: zeros(parameters) for name in self._moments}}

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ..."""
        if not callable(self.learning_rate):
            return self.learning_rate
        rate = self.learning_rate(step)
        if np.ndim(rate) or not isinstance(rate, (numbers.Real, np.ndarray)):
            raise TypeError(f"learning_rate({step}) must be a number, got {rate!r}")
        rate = float(rate)
        if not math.isfinite(rate) or rate < 0:
            raise ValueError(f"learning_rate({step}) must be a finite number >= 0, got {rate!r}")
        return rate

    def update(self, parameters, gradient, state: dict) -> None:
        """One step: ``parameters`` and ``state`` are overwritten.

        Parameters
        ----------
        parameters : ndarray of shape (p,)
        gradient : ndarray of shape (p,)
            Of what is minimised; the same dtype and device.
        state : dict
            What :meth:`init` returned.

        Raises
        ------
        ValueError
            If an array is not of the parameters' shape and dtype, or cannot be written to.
        DeviceError
            If they live on different devices.
        """
        moments = [state[name] for name in self._moments]
        module = _backend.module_for(
            parameters=parameters, gradient=gradient, **dict(zip(self._moments, moments, strict=True))
        )
        shape, dtype = getattr(parameters, "shape", None), getattr(parameters, "dtype", None)
        for name, array in zip(("parameters", *self._moments), (parameters, *moments), strict=True):
            self._check(array, name, shape, dtype)
        xp = _backend.namespace(parameters)
        if not isinstance(gradient, xp.ndarray) or gradient.shape != shape or gradient.dtype != dtype:
            got = f"{gradient.dtype} {gradient.shape}" if hasattr(gradient, "dtype") else type(gradient).__name__
            raise ValueError(
                f"gradient must be an array of {dtype} with shape {shape}, as the parameters are, got {got}"
            )
        compiled = getattr(module, "NetworkOptimizer32" if dtype == np.float32 else "NetworkOptimizer64")()
        self._step(compiled, parameters, xp.ascontiguousarray(gradient), moments, int(state["step"]))
        state["step"] = int(state["step"]) + 1

    def _step(self, compiled, parameters, gradient, moments, step):
        raise NotImplementedError

    @staticmethod
    def _check(array, name, shape, dtype) -> None:
        if dtype not in (np.float32, np.float64) or shape is None or len(shape) != 1:
            got = f"{dtype} {shape}" if dtype is not None else type(array).__name__
            raise ValueError(f"{name} must be a float32 or float64 array of shape (p,), got {got}")
        check_target(array, name, shape, dtype)
        if not array.flags.c_contiguous:
            raise ValueError(f"{name} must be C-contiguous, as it is overwritten, got strides {array.strides}")

    @property
    def _clip(self) -> float:
        return self.clip_norm or 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None


def _fraction(value, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value!r}")
    return float(value)


class Adam(_Optimizer):
    """Adam: with ``m`` and ``v`` the running means of the gradient and of its square,

    ``theta -= rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)``, ``t`` = 1, 2, ...

    Parameters
    ----------
    learning_rate : float > 0 or callable, default=0.001
        A callable takes the step, 0 at first: :class:`CosineDecay` and others.
    beta_1, beta_2 : float in [0, 1)
    epsilon : float > 0, default=1e-7
        Keras's place and value.
    clip_norm : float > 0, optional
        Gradients of a larger norm are scaled down to it.

    References
    ----------
    Kingma & Ba (2015), "Adam: a method for stochastic optimization", end of section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import nn
    >>> adam, theta = nn.Adam(0.1), np.array([1.0, 2.0])
    >>> adam.update(theta, np.array([3.0, -5.0]), adam.init(theta))
    >>> theta.round(4)
    array([0.9, 2.1])
    """

    _moments = ("m", "v")

    def __init__(self, learning_rate=0.001, *, beta_1=0.9, beta_2=0.999, epsilon=1e-7, clip_norm=None):
        super().__init__(learning_rate, clip_norm)
        self.beta_1, self.beta_2 = _fraction(beta_1, "beta_1"), _fraction(beta_2, "beta_2")
        self.epsilon = check_positive(epsilon, "epsilon")

    def _step(self, compiled, parameters, gradient, moments, step):
        t = step + 1
        rate = self.rate(step) * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        compiled.adam(parameters, gradient, *moments, rate, self.beta_1, self.beta_2, self.epsilon, self._clip)


class RMSprop(_Optimizer):
    """RMSprop: with ``v = rho v + (1 - rho) g**2``, ``m = momentum m + rate g / sqrt(v + epsilon)``,

    ``theta -= m``.

    Parameters
    ----------
    learning_rate : float > 0 or callable, default=0.001
        As in :class:`Adam`.
    rho : float in [0, 1), default=0.9
    momentum : float in [0, 1), default=0
    epsilon : float > 0, default=1e-7
        Inside the root, as in Keras 3.
    clip_norm : float > 0, optional
        As in :class:`Adam`.

    References
    ----------
    Hinton, Srivastava & Swersky (2012), "Neural networks for machine learning", lecture 6.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import nn
    >>> rmsprop, theta = nn.RMSprop(0.1, rho=0.75), np.array([1.0, 2.0])
    >>> rmsprop.update(theta, np.array([3.0, -5.0]), rmsprop.init(theta))
    >>> theta.round(4)
    array([0.8, 2.2])
    """

    def __init__(self, learning_rate=0.001, *, rho=0.9, momentum=0.0, epsilon=1e-7, clip_norm=None):
        super().__init__(learning_rate, clip_norm)
        self.rho, self.momentum = _fraction(rho, "rho"), _fraction(momentum, "momentum")
        self.epsilon = check_positive(epsilon, "epsilon")

    @property
    def _moments(self):
        return ("m", "v") if self.momentum else ("v",)

    def _step(self, compiled, parameters, gradient, moments, step):
        m, v = moments if self.momentum else (None, *moments)
        rate = self.rate(step)
        compiled.rmsprop(parameters, gradient, m, v, rate, self.rho, self.momentum, self.epsilon, self._clip)


class SGD(_Optimizer):
    """Gradient descent: ``m = momentum m - rate g``, ``theta += m``.

    Parameters
    ----------
    learning_rate : float > 0 or callable, default=0.01
        As in :class:`Adam`.
    momentum : float in [0, 1), default=0
    clip_norm : float > 0, optional
        As in :class:`Adam`.

    References
    ----------
    Polyak (1964), "Some methods of speeding up the convergence of iteration methods".

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import nn
    >>> sgd, theta = nn.SGD(0.1), np.array([1.0, 2.0])
    >>> sgd.update(theta, np.array([1.0, -1.0]), sgd.init(theta))
    >>> theta
    array([0.9, 2.1])
    """

    def __init__(self, learning_rate=0.01, *, momentum=0.0, clip_norm=None):
        super().__init__(learning_rate, clip_norm)
        self.momentum = _fraction(momentum, "momentum")

    @property
    def _moments(self):
        return ("m",) if self.momentum else ()

    def _step(self, compiled, parameters, gradient, moments, step):
        m = moments[0] if self.momentum else None
        compiled.sgd(parameters, gradient, m, self.rate(step), self.momentum, self._clip)
