"""Bijectors: smooth one-to-one maps with their derivative, for parameters that live on part of the line."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_positive

__all__ = ["Exp", "Ordered", "Softplus"]


class Exp:
    """From the real line to the numbers above 0: ``y = exp(u)``.

    Examples
    --------
    >>> from lvmfast.bijectors import Exp
    >>> float(Exp().forward(0.0))
    1.0
    """

    def __repr__(self) -> str:
        return "Exp()"

    def __eq__(self, other) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def forward(self, u) -> np.ndarray:
        """``y = exp(u)``, elementwise."""
        with np.errstate(over="ignore", under="ignore"):
            u = as_float_array(u, "u")
            return _backend.namespace(u).exp(u)

    def derivative(self, u) -> np.ndarray:
        """``dy/du = exp(u)``, elementwise."""
        return self.forward(u)

    def vjp(self, u, y_bar) -> np.ndarray:
        """Cotangent of ``u``: ``y_bar * dy/du``."""
        return as_float_array(y_bar, "y_bar") * self.derivative(u)

    def inverse(self, y) -> np.ndarray:
        """``u = log(y)``.

        Raises
        ------
        ValueError
            If ``y`` is not above 0.
        """
        y = as_float_array(y, "y")
        if not (y > 0).all():
            raise ValueError(f"y must be > 0, got {float(y.min()):g}")
        return _backend.namespace(y).log(y)

    def forward_log_det(self, u) -> np.ndarray:
        """``log dy/du = u``, elementwise."""
        return as_float_array(u, "u").copy()


class Softplus:
    r"""From the real line to the numbers above ``floor``: ``y = floor + log(1 + exp(u))``.

    Parameters
    ----------
    floor : float >= 0, default=0
        What ``y`` stays above; keeps a learned variance from vanishing.

    Examples
    --------
    >>> from lvmfast.bijectors import Softplus
    >>> round(float(Softplus().forward(0.0)), 6)
    0.693147
    """

    def __init__(self, floor: float = 0.0):
        self.floor = check_positive(floor, "floor", zero=True)

    def __repr__(self) -> str:
        return f"Softplus(floor={self.floor:g})"

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and self.floor == other.floor

    def __hash__(self) -> int:
        return hash((type(self), self.floor))

    def forward(self, u) -> np.ndarray:
        """``y = floor + log(1 + exp(u))``, elementwise."""
        return self.floor + self._apply("softplus", u, "u")

    def derivative(self, u) -> np.ndarray:
        """``dy/du = 1 / (1 + exp(-u))``, elementwise."""
        return self._apply("softplus_derivative", u, "u")

    def vjp(self, u, y_bar) -> np.ndarray:
        """Cotangent of ``u``: ``y_bar * dy/du``."""
        return as_float_array(y_bar, "y_bar") * self.derivative(u)

    def inverse(self, y) -> np.ndarray:
        """``u`` with ``forward(u) == y``.

        Raises
        ------
        ValueError
            If ``y`` is not above ``floor``.
        """
        y = as_float_array(y, "y")
        if not (y > self.floor).all():
            raise ValueError(f"y must be > floor = {self.floor:g}, got {float(y.min()):g}")
        return self._apply("softplus_inverse", y - y.dtype.type(self.floor), "y")

    def forward_log_det(self, u) -> np.ndarray:
        """``log dy/du = -log(1 + exp(-u))``, elementwise."""
        return -self._apply("softplus", -as_float_array(u, "u"), "u")

    @staticmethod
    def _apply(name: str, x, argument: str) -> np.ndarray:
        x = as_float_array(x, argument)
        return getattr(_backend.module_for(x), name)(_backend.namespace(x).ascontiguousarray(x)).reshape(x.shape)


class Ordered:
    """From vectors to ascending vectors: ``y_1 = u_1``, ``y_k = y_{k-1} + exp(u_k)``, for cut points and the like.

    Examples
    --------
    >>> from lvmfast.bijectors import Ordered
    >>> Ordered().forward([-1.0, 0.0, 0.0])
    array([-1.,  0.,  1.])
    """

    def __repr__(self) -> str:
        return "Ordered()"

    def __eq__(self, other) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def forward(self, u) -> np.ndarray:
        """``y`` of shape (k,), ascending, for ``u`` of shape (k,)."""
        u = self._vector(u, "u")
        with np.errstate(over="ignore", under="ignore"):
            xp = _backend.namespace(u)
            return xp.cumsum(xp.concatenate([u[:1], xp.exp(u[1:])]))

    def vjp(self, u, y_bar) -> np.ndarray:
        """Cotangent of ``u``: ``u_bar_k = dy_k/du_k * sum_{j >= k} y_bar_j``."""
        u = self._vector(u, "u")
        xp = _backend.namespace(u)
        u_bar = xp.cumsum(self._vector(y_bar, "y_bar")[::-1])[::-1].copy()
        u_bar[1:] *= xp.exp(u[1:])
        return u_bar

    def inverse(self, y) -> np.ndarray:
        """``u_1 = y_1``, ``u_k = log(y_k - y_{k-1})``.

        Raises
        ------
        ValueError
            If ``y`` does not ascend.
        """
        y = self._vector(y, "y")
        xp = _backend.namespace(y)
        steps = y[1:] - y[:-1]
        if not (steps > 0).all():
            raise ValueError(f"y must ascend, got {y}")
        return xp.concatenate([y[:1], xp.log(steps)])

    def forward_log_det(self, u) -> np.ndarray:
        """``log dy_k/du_k``, shape (k,): 0, then ``u_k``."""
        log_det = self._vector(u, "u").copy()
        log_det[:1] = 0
        return log_det

    @staticmethod
    def _vector(x, name: str):
        x = as_float_array(x, name)
        if x.ndim != 1:
            raise ValueError(f"{name} must have shape (k,), got {x.shape}")
        return x
