"""Convex functions of a density ratio, with derivative and conjugate."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array

__all__ = ["FDivergence", "LossShape"]

SMALLEST, LARGEST = -745.0, 709.0  # log u, where exp(log u) is still above 0 and finite
FAR = {np.dtype(np.float32): 80.0, np.dtype(np.float64): 700.0}  # |log u|, up to which u log u is a finite number too


class LossShape(NamedTuple):
    """Which loss of the compiled code learns log r by the bound of an f-divergence, up to a constant.

    ``kind`` "power": ``f''(u) = factor * u**(alpha - 2)``. ``kind`` "logistic": ``f''(u) = factor / (u * (1 + u))``,
    where the loss is the cross-entropy and the factor is left to the caller.
    """

    kind: str
    alpha: float
    factor: float


def quiet():
    """Overflow to infinity, and logarithms of 0, are results here."""
    return np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore")


class FDivergence:
    r"""``D_f[p | q] = E_q f(p(x) / q(x))`` for a convex function f on u > 0, given by functions.

    The bound of Nguyen, Wainwright & Jordan holds for every ``r > 0``, with equality where ``r = p / q``:

    ``D_f[p | q] >= E_p f'(r(x)) - E_q f*(f'(r(x)))``, ``f*(f'(u)) = u f'(u) - f(u)``.

    Parameters
    ----------
    f : callable
        ``f(u)``, of arrays, elementwise.
    derivative : callable, optional
        ``f'(u)``, or any subgradient. Bounds and conjugates need it, divergences do not.
    conjugate : callable, optional
        ``f*(t) = sup_u (u t - f(u))``, infinite where there is no supremum. Without it, :meth:`conjugate` searches.
    second : callable, optional
        ``f''(u)``.
    of_log_ratio : callable, optional
        ``f(exp(s))`` as a function of s, where that is more accurate, or does not overflow.
    conjugate_domain : (float, float), default=(-inf, inf)
        Where the conjugate is finite.
    name : str, default="f"
    check : bool, default=True
        Whether the functions are tried on a few numbers.

    Attributes
    ----------
    loss_shape : LossShape or None
        The compiled loss for this f, where there is one.

    Raises
    ------
    ValueError
        If, on the numbers tried, f is not convex, ``derivative`` is no subgradient of it, or ``conjugate`` is not its
        conjugate.

    References
    ----------
    X. Nguyen, M. J. Wainwright, M. I. Jordan (2010), Estimating divergence functionals and the likelihood ratio by
    convex risk minimization, IEEE Trans. Inf. Theory 56, lemma 1.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.divergences import FDivergence
    >>> f = FDivergence(lambda u: u * np.log(u), lambda u: np.log(u) + 1, lambda t: np.exp(t - 1), name="kl")
    >>> float(f.conjugate_of_derivative(2.0))
    2.0
    """

    def __init__(
        self,
        f,
        derivative=None,
        conjugate=None,
        *,
        second=None,
        of_log_ratio=None,
        conjugate_domain=(-np.inf, np.inf),
        name="f",
        check=True,
    ):
        given = {"derivative": derivative, "conjugate": conjugate, "second": second, "of_log_ratio": of_log_ratio}
        for argument, function in {"f": f, **given}.items():
            if not callable(function) and (function is not None or argument == "f"):
                raise TypeError(f"{argument} must be callable, got {function!r}")
        self._functions = {"f": f, **given}
        self.name, self.conjugate_domain = str(name), tuple(map(float, conjugate_domain))
        if check:
            self._check()

    loss_shape: LossShape | None = None
    _reverse_of = None

    def __repr__(self) -> str:
        return f"<FDivergence {self.name}>"

    # Of u.

    def f(self, u):
        """``f(u)``, elementwise, for u >= 0."""
        return self._of_ratio(self._value, u)

    def derivative(self, u):
        """``f'(u)``, elementwise."""
        return self._of_ratio(self._derivative, u)

    def second(self, u):
        """``f''(u)``, elementwise."""
        return self._of_ratio(self._second, u)

    def conjugate_of_derivative(self, u):
        """``f*(f'(u)) = u f'(u) - f(u)``, elementwise."""
        return self._of_ratio(self._conjugate_of_derivative, u)

    # Of s = log u.

    def of_log_ratio(self, s):
        """``f(exp(s))``, elementwise."""
        return self._of_logarithm(self._value, s)

    def derivative_of_log_ratio(self, s):
        """``f'(exp(s))``, elementwise."""
        return self._of_logarithm(self._derivative, s)

    def conjugate_of_log_ratio(self, s):
        """``f*(f'(exp(s)))``, elementwise."""
        return self._of_logarithm(self._conjugate_of_derivative, s)

    def conjugate(self, t):
        """``f*(t) = sup_{u > 0} (u t - f(u))``, elementwise; infinity outside ``conjugate_domain``."""
        t = as_float_array(t, "t")
        with quiet():
            return self._conjugate(_backend.namespace(t), t)[()]

    def spec(self) -> dict:
        """What :func:`from_spec` makes this function of, as numbers and strings for JSON; of named functions only."""
        raise TypeError(f"{self.name} is made of functions, which cannot be written as JSON; only named ones can")

    # Others from this one.

    def reverse(self) -> FDivergence:
        """The function ``u f(1 / u)``, whose divergence has p and q exchanged: ``D[p | q] = D_f[q | p]``."""
        if self._reverse_of is not None:
            return self._reverse_of

        def of_s(s):
            return _backend.namespace(s).exp(s) * self.of_log_ratio(-s)

        has = self._functions["derivative"] is not None
        turned = FDivergence(
            lambda u: u * self.f(1 / u),
            (lambda u: -self.conjugate_of_derivative(1 / u)) if has else None,
            second=(lambda u: self.second(1 / u) / u**3) if self._functions["second"] else None,
            of_log_ratio=of_s,
            name=f"reverse of {self.name}",
            check=False,
        )
        turned._reverse_of = self
        return turned

    def normalized(self) -> FDivergence:
        """``f(u) - f(1) - f'(1) (u - 1)``: nowhere below 0, the same divergence up to the constant f(1)."""
        value, slope = float(self.f(1.0)), float(self.derivative(1.0))
        return FDivergence(
            lambda u: self.f(u) - value - slope * (u - 1),
            lambda u: self.derivative(u) - slope,
            lambda t: self.conjugate(t + slope) + value - slope,
            second=self._functions["second"],
            conjugate_domain=tuple(bound - slope for bound in self.conjugate_domain),
            name=f"{self.name}, normalized",
            check=False,
        )

    # What subclasses have in other ways: s = log u, u, and d = u - 1 without cancellation.

    def _value(self, xp, s, u, d):
        of_s = self._functions["of_log_ratio"]
        return _continued(xp, self._functions["f"] if of_s is None else lambda u, s: of_s(s), u, s, of_s is not None)

    def _derivative(self, xp, s, u, d):
        return _continued(xp, self._needed("derivative"), u, s)

    def _second(self, xp, s, u, d):
        return _continued(xp, self._needed("second"), u, s)

    def _conjugate_of_derivative(self, xp, s, u, d):
        def of_both(u, s):
            return u * self._derivative(xp, s, u, None) - self._value(xp, s, u, None)

        return _continued(xp, of_both, u, s, True)

    def _conjugate(self, xp, t):
        if self._functions["conjugate"] is not None:
            return self._functions["conjugate"](t)
        return self._searched_conjugate(xp, t)

    def _searched_conjugate(self, xp, t):
        """``u t - f(u)`` where f'(u) = t, by bisection on log u; f' increases."""
        low, high = xp.full(t.shape, SMALLEST, t.dtype), xp.full(t.shape, LARGEST, t.dtype)
        for _ in range(80):
            middle = 0.5 * (low + high)
            below = self._derivative(xp, middle, xp.exp(middle), xp.expm1(middle)) < t
            low, high = xp.where(below, middle, low), xp.where(below, high, middle)
        u = xp.exp(low)
        value = u * t - self._value(xp, low, u, xp.expm1(low))
        return xp.where(high >= LARGEST, np.inf, xp.where(xp.isnan(t), t, value))

    def _needed(self, name):
        function = self._functions[name]
        if function is None:
            raise ValueError(f"{self.name} has no {name}; give FDivergence(f, ..., {name}=)")
        return function

    # Calls.

    def _of_ratio(self, method, u):
        u = as_float_array(u, "u")
        if (u < 0).any():
            raise ValueError(f"u must be >= 0, a ratio of densities, got {float(u.min()):g}")
        xp = _backend.namespace(u)
        with quiet():
            return xp.asarray(method(xp, xp.log(u), u, u - 1)).astype(u.dtype, copy=False)[()]

    def _of_logarithm(self, method, s):
        s = as_float_array(s, "s")
        xp = _backend.namespace(s)
        with quiet():
            return xp.asarray(method(xp, s, xp.exp(s), xp.expm1(s))).astype(s.dtype, copy=False)[()]

    def _check(self) -> None:
        u = np.exp(np.array([-2.3, -1.1, -0.37, 0.41, 1.2, 2.1]))
        close = (u[:, None] * np.array([0.5, 0.999, 1.001, 2.0])).ravel()
        value, others = (np.asarray(self.f(x), float) for x in (u, close))
        if value.shape != u.shape or not np.isfinite(value).all():
            raise ValueError(f"f must give a finite number for every u > 0, got {value} for {u}")
        scale = 1e-9 * (1 + np.abs(value).max() + np.abs(others).max())
        middle = np.asarray(self.f(0.5 * (u[:-1] + u[1:])), float)
        if (middle > 0.5 * (value[:-1] + value[1:]) + scale).any():
            raise ValueError(f"f must be convex, got a value above its chord near u = {u[np.argmax(middle)]:.3g}")
        if self._functions["derivative"] is None:
            return
        slope = np.asarray(self.derivative(u), float)
        gap = others - (value[:, None] + slope[:, None] * (close.reshape(6, 4) - u[:, None])).ravel()
        if not (gap >= -scale).all():
            at = u[np.argmin(gap) // 4]
            raise ValueError(f"derivative must be the slope of f, got another one at u = {at:.3g}")
        if self._functions["conjugate"] is None:
            return
        expected, got = u * slope - value, np.asarray(self.conjugate(slope), float)
        wrong = ~(np.abs(got - expected) <= 1e-7 * (1 + np.abs(expected)))
        if wrong.any():
            k = int(np.argmax(wrong))
            raise ValueError(
                f"conjugate must be sup_u (u t - f(u)): f*(f'(u)) = u f'(u) - f(u) = {expected[k]:.6g} at "
                f"u = {u[k]:.3g}, got {got[k]:.6g}"
            )


def _continued(xp, function, u, s, of_both: bool = False):
    """A given function at u = exp(s), where u has become 0 or infinite too: constant, or growing on with s.

    There ``function(u)`` is often ``0 * inf``. What it has at ``|s| = far / 4, far / 2, far`` tells how it goes on.
    """

    def call(u, s):
        return xp.asarray(function(u, s) if of_both else function(u))

    value = call(u, s)
    lost = ~xp.isfinite(value) & ~xp.isnan(s) if value.shape == s.shape else None
    far = FAR[s.dtype]
    if lost is None or not lost.any():
        return value
    for sign in (-1, 1):
        side = lost & (sign * s > far)
        if sign > 0:
            side = side & (value != np.inf)
        if side.any():
            places = xp.asarray([0.25, 0.5, 1.0], s.dtype) * (sign * far)
            a, b, c = (float(v) for v in call(xp.exp(places), places))
            value = xp.where(side, _onward(xp, a, b, c, xp.where(side, sign * s / far, 1)), value)
    return value


def _onward(xp, a: float, b: float, c: float, t):
    """A value at t > 1, given a, b, c at 1/4, 1/2 and 1: a limit, a logarithm's straight line, or infinity."""
    if abs(c - b) <= max(0.75 * abs(b - a), 1e-9 * abs(c)):
        return c
    if abs(c - b) <= 3 * abs(b - a):
        return c + 2 * (c - b) * (t - 1)
    return np.copysign(np.inf, c - b) if c == c else np.inf
