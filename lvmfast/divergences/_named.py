"""The f-divergences that have names."""

from __future__ import annotations

import numbers

import numpy as np

from lvmfast.divergences._functions import FDivergence, LossShape

__all__ = [
    "alpha_divergence",
    "as_f_divergence",
    "from_spec",
    "gan",
    "jensen_shannon",
    "js",
    "kl_forward",
    "kl_reverse",
    "neyman_chi2",
    "pearson_chi2",
    "squared_hellinger",
    "total_variation",
]

LOG2 = float(np.log(2))
SERIES = 19  # beyond, terms are below 1e-17 of the sum for |s| max(1, |a|) < 0.7


class Named(FDivergence):
    """``factor * phi(u) + slope * (u - 1) + constant``, ``phi(1) = phi'(1) = 0``.

    A call, ``f(self_normalized=True)``, gives the function without slope and constant: it is nowhere below 0.
    """

    def __init__(self, name: str, factor=1.0, slope=0.0, constant=0.0, *rest):
        self.name = name
        self.factor, self.slope, self.constant = float(factor), float(slope), float(constant)
        self.rest = rest

    def __call__(self, *, self_normalized: bool = True) -> Named:
        """This divergence by the function that is nowhere below 0, or this function."""
        return self.normalized() if self_normalized else self

    def normalized(self) -> Named:
        """``factor * phi(u)``."""
        if self.slope == self.constant == 0:
            return self
        return type(self)(f"{self.name}, normalized", self.factor, 0.0, 0.0, *self.rest)

    def spec(self) -> dict:
        """What :func:`from_spec` makes this function of, as numbers and strings for JSON."""
        numbers = {key: getattr(self, key) for key in ("factor", "slope", "constant")}
        return {"class": type(self).__name__, "name": self.name, **numbers, "rest": list(self.rest)}

    def _key(self):
        return type(self), self.factor, self.slope, self.constant, self.rest

    def __eq__(self, other) -> bool:
        return isinstance(other, Named) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return self.name


def scaled_expm1(xp, k, s):
    """``(exp(k s) - 1) / k``, s where k is 0."""
    return xp.expm1(k * s) / k if k != 0 else s


class Power(Named):
    """``phi(u) = (u**a - 1 - a (u - 1)) / (a (a - 1))``, ``phi''(u) = u**(a - 2)``; its limits at a = 0 and 1."""

    @property
    def alpha(self) -> float:
        """The exponent."""
        return self.rest[0]

    @property
    def loss_shape(self) -> LossShape:
        """The compiled loss."""
        return LossShape("power", self.alpha, self.factor)

    @property
    def conjugate_domain(self) -> tuple[float, float]:
        """f'(u) is below ``factor / (1 - a)`` for all u where a < 1."""
        return -np.inf, self.slope + self.factor / (1 - self.alpha) if self.alpha < 1 else np.inf

    def _plain(self) -> bool:
        """Whether the terms in u - 1 cancel: -log u, u log u, ``(u**a - 1) / (a (a - 1))``."""
        a = self.alpha
        beside = self.factor / (a - 1) if a not in (0, 1) else (2 * a - 1) * self.factor
        return abs(self.slope - beside) < 1e-15 * abs(beside)

    def _value(self, xp, s, u, d):
        a = self.alpha
        if not self._plain():
            value = self.factor * self._phi(xp, s, u, d)
            return value + self.slope * d if self.slope else value
        if a == 1:
            return self.factor * xp.where(u == 0, 0, s * u)
        return self.factor / (a - 1) * scaled_expm1(xp, a, s)

    def _phi(self, xp, s, u, d):
        a = self.alpha
        if a == 2:
            return 0.5 * d * d
        if a == -1:
            return xp.where(u == 0, np.inf, 0.5 * xp.expm1(-s) * -d)  # (u - 1)^2 / (2 u)
        if a == 0.5:
            return 2 * xp.expm1(0.5 * s) ** 2
        small = xp.abs(s) * max(1.0, abs(a)) < 0.7
        x = xp.where(small, s, 0)
        total, power, geometric = xp.zeros_like(s), x, 0.0
        for k in range(2, SERIES):  # sum_k s^k / k! (1 + a + ... + a^(k - 2))
            geometric = 1 + a * geometric
            power = power * x / k
            total = total + geometric * power
        if a > 0.5:
            rest = xp.where(u == 0, 0, u * scaled_expm1(xp, a - 1, s))
            far = (rest - d) / a
        else:
            far = (scaled_expm1(xp, a, s) - d) / (a - 1)
        return xp.where(small, total, far)

    def _derivative(self, xp, s, u, d):
        a = self.alpha
        if a != 1 and self._plain():
            return self.factor / (a - 1) * xp.exp((a - 1) * s)
        return self._sloped(self.factor * scaled_expm1(xp, a - 1, s))

    def _conjugate_of_derivative(self, xp, s, u, d):
        if self.alpha == 1 and self._plain():
            return self.factor * u
        return self._sloped(self.factor * scaled_expm1(xp, self.alpha, s))

    def _second(self, xp, s, u, d):
        return self.factor * xp.exp((self.alpha - 2) * s)

    def _sloped(self, value):
        return value + self.slope if self.slope else value

    def _conjugate(self, xp, t):
        a, tau = self.alpha, (t - self.slope) / self.factor
        if a == 1:
            return self._sloped(self.factor * xp.expm1(tau))
        s = xp.log1p(xp.maximum((a - 1) * tau, -1)) / (a - 1)  # f'(exp(s)) = t; beyond the domain, its end
        value = self._sloped(self.factor * scaled_expm1(xp, a, s))
        return value if a > 1 else xp.where((a - 1) * tau < -1, np.inf, value)

    def reverse(self) -> Named:
        """The function ``u f(1 / u)``: a becomes 1 - a."""
        names = {"kl_forward": "kl_reverse", "pearson_chi2": "neyman_chi2", "squared_hellinger": "squared_hellinger"}
        names |= {value: key for key, value in names.items()}
        a = 1 - self.alpha
        return Power(names.get(self.name, f"reverse of {self.name}"), self.factor, -self.slope, 0.0, a)


class JensenShannon(Named):
    """``phi(u) = u log u - (1 + u) log((1 + u) / 2)``, that is ``KL[p | m] + KL[q | m]``, m = (p + q) / 2."""

    @property
    def loss_shape(self) -> LossShape:
        """The cross-entropy of a classifier."""
        return LossShape("logistic", 0.0, self.factor)

    @property
    def conjugate_domain(self) -> tuple[float, float]:
        """f'(u) is below ``factor log 2 + slope``."""
        return -np.inf, self.factor * LOG2 + self.slope if not self._plain() else 0.0

    def _plain(self) -> bool:
        """Whether the logarithms of 2 leave no trace: u log u - (1 + u) log(1 + u)."""
        return self.slope == -self.factor * LOG2 and self.constant == 2 * self.slope

    def _value(self, xp, s, u, d):
        if self._plain():
            return -self.factor * (_softplus_above(xp, s, u) + _softplus(xp, s))
        x = xp.abs(0.5 * s)
        e = xp.exp(-2 * x)
        near = x * xp.tanh(x) - _log_cosh(xp, x)
        far = LOG2 - xp.log1p(e) - xp.where(e == 0, 0, 2 * x * e / (1 + e))
        value = self.factor * (1 + u) * xp.where(x < 1, near, far)
        return value + self.slope * d + self.constant if self.slope or self.constant else value

    def _derivative(self, xp, s, u, d):
        if self._plain():
            return -self.factor * _softplus(xp, -s)
        return -self.factor * _softplus_less(xp, -s) + self.slope

    def _conjugate_of_derivative(self, xp, s, u, d):
        if self._plain():
            return self.factor * _softplus(xp, s)
        return self.factor * _softplus_less(xp, s) + (self.slope - self.constant)

    def _second(self, xp, s, u, d):
        return self.factor / (u * (1 + u))

    def _conjugate(self, xp, t):
        tau = (t - self.slope) / self.factor
        if self._plain():
            tau = t / self.factor  # -log(1 - exp(tau)), finite below 0
            inside = xp.where(tau < -LOG2, xp.log1p(-xp.exp(tau)), xp.log(-xp.expm1(tau)))
            return xp.where(tau < 0, -self.factor * inside, xp.where(xp.isnan(tau), tau, np.inf))
        value = -self.factor * xp.log1p(-xp.expm1(tau)) + (self.slope - self.constant)
        return xp.where(tau < LOG2, value, xp.where(xp.isnan(tau), tau, np.inf))

    def reverse(self) -> Named:
        """The function ``u f(1 / u)``: phi is its own."""
        slope = self.constant - self.slope
        name = self.name if slope == self.slope else f"reverse of {self.name}"
        return JensenShannon(name, self.factor, slope, self.constant)


class TotalVariation(Named):
    """``phi(u) = |u - 1|``, with the subgradient 0 at u = 1."""

    @property
    def conjugate_domain(self) -> tuple[float, float]:
        """No slope is above ``factor``."""
        return -np.inf, self.factor

    def _value(self, xp, s, u, d):
        return self.factor * xp.abs(d)

    def _derivative(self, xp, s, u, d):
        return self.factor * xp.sign(d)

    _conjugate_of_derivative = _derivative

    def _second(self, xp, s, u, d):
        return xp.zeros_like(u)

    def _conjugate(self, xp, t):
        return xp.where(t > self.factor, np.inf, xp.maximum(t, -self.factor))

    def reverse(self) -> Named:
        """The same function."""
        return self


def _softplus(xp, s):
    return xp.maximum(s, 0) + xp.log1p(xp.exp(-xp.abs(s)))


def _softplus_above(xp, s, u):
    """``u log(1 + 1 / u)``, which tends to 1."""
    w = xp.exp(-s)
    return xp.where(s > 40, 1 - 0.5 * w, xp.where(u == 0, 0, u * _softplus(xp, -s)))


def _log_cosh(xp, x):
    return xp.log1p(2 * xp.sinh(0.5 * xp.minimum(x, 2)) ** 2)  # used below 1


def _softplus_less(xp, s):
    """``log((1 + exp(s)) / 2)``, 0 at 0."""
    x = xp.abs(0.5 * s)
    return xp.where(x < 1, 0.5 * s + _log_cosh(xp, x), _softplus(xp, s) - LOG2)


#: ``f(u) = u log u``: KL[p | q].
kl_forward = Power("kl_forward", 1.0, 1.0, 0.0, 1.0)
#: ``f(u) = -log u``: KL[q | p].
kl_reverse = Power("kl_reverse", 1.0, -1.0, 0.0, 0.0)
#: ``f(u) = (u - 1)**2``: E_q (p / q)**2 - 1.
pearson_chi2 = Power("pearson_chi2", 2.0, 0.0, 0.0, 2.0)
#: ``f(u) = (u - 1)**2 / u``: E_p (q / p)**2 - 1.
neyman_chi2 = Power("neyman_chi2", 2.0, 0.0, 0.0, -1.0)
#: ``f(u) = (sqrt(u) - 1)**2 / 2``: 1 minus the integral of sqrt(p q), from 0 to 1. (TFP's function is twice this one.)
squared_hellinger = Power("squared_hellinger", 0.25, 0.0, 0.0, 0.5)
#: ``f(u) = |u - 1| / 2``: half the integral of |p - q|, from 0 to 1.
total_variation = TotalVariation("total_variation", 0.5)
#: ``f(u) = u log u - (1 + u) log(1 + u)``: 2 JS - log 4, as in TFP; ``jensen_shannon(self_normalized=True)`` adds
#: ``(1 + u) log 2`` and gives 2 JS, not JS.
jensen_shannon = JensenShannon("jensen_shannon", 1.0, -LOG2, -2 * LOG2)
#: The Jensen-Shannon divergence, ``KL[p | m] / 2 + KL[q | m] / 2``, from 0 to log 2.
js = JensenShannon("js", 0.5)
#: What the classifier of a generative adversarial network maximises: 2 JS - log 4, the same f as ``jensen_shannon``.
gan = JensenShannon("gan", 1.0, -LOG2, -2 * LOG2)


def alpha_divergence(alpha: float, *, self_normalized: bool = False) -> Named:
    r"""Amari's divergence, ``f(u) = (u**alpha - 1) / (alpha (alpha - 1))``; -log u at 0, u log u at 1.

    ``D_f[p | q] = (E_q (p / q)**alpha - 1) / (alpha (alpha - 1))``; alpha = 1/2 is four times the squared Hellinger
    distance, 2 half of Pearson's divergence, -1 half of Neyman's.

    Parameters
    ----------
    alpha : float
    self_normalized : bool, default=False
        Subtract ``(u - 1) / (alpha - 1)`` (add or subtract u - 1 at 0 and 1): the same divergence by a function that
        is nowhere below 0.

    Raises
    ------
    ValueError
        If ``alpha`` is not finite.

    References
    ----------
    A. Cichocki, S. Amari (2010), Families of alpha- beta- and gamma-divergences, Entropy 12, eq. 2.

    Examples
    --------
    >>> from lvmfast import divergences, distributions
    >>> p, q = distributions.Normal(0.0, 1.0), distributions.Normal(1.0, 1.0)
    >>> round(divergences.divergence(divergences.alpha_divergence(1.0), p, q), 6)  # KL(p || q)
    0.5
    """
    if isinstance(alpha, bool) or not isinstance(alpha, numbers.Real) or not np.isfinite(alpha):
        raise ValueError(f"alpha must be a finite number, got {alpha!r}")
    alpha = float(alpha)
    slope = 0.0 if self_normalized else 1 / (alpha - 1) if alpha not in (0, 1) else 2 * alpha - 1
    name = f"alpha_divergence({alpha:g}{', self_normalized=True' if self_normalized else ''})"
    return Power(name, 1.0, slope, 0.0, alpha)


NAMES = {f.name: f for f in (kl_forward, kl_reverse, pearson_chi2, neyman_chi2, squared_hellinger)}
NAMES |= {f.name: f for f in (total_variation, jensen_shannon, js, gan)}
NAMES |= {"kl": kl_forward, "reverse_kl": kl_reverse, "chi2": pearson_chi2}


def as_f_divergence(f) -> FDivergence:
    """``f`` itself, or the divergence of that name.

    Raises
    ------
    ValueError, TypeError
        If there is none.

    Examples
    --------
    >>> from lvmfast import divergences
    >>> divergences.as_f_divergence("pearson_chi2") is divergences.pearson_chi2
    True
    """
    if isinstance(f, FDivergence):
        return f
    if isinstance(f, str):
        if f in NAMES:
            return NAMES[f]
        raise ValueError(f"f must be an FDivergence or one of {', '.join(map(repr, NAMES))}, got {f!r}")
    raise TypeError(f"f must be an FDivergence or its name, got {f!r}; make one with FDivergence(f, derivative)")


def from_spec(spec) -> Named:
    """The divergence whose ``spec()`` this is.

    Parameters
    ----------
    spec : dict
        ``class``, ``name``, ``factor > 0``, ``slope``, ``constant``, ``rest`` (a list: the exponent of powers).

    Raises
    ------
    ValueError
        If it is not the specification of a divergence.

    Examples
    --------
    >>> from lvmfast.divergences import alpha_divergence, from_spec
    >>> f = alpha_divergence(0.3)
    >>> from_spec(f.spec()) == f
    True
    """
    kinds = {kind.__name__: (kind, count) for kind, count in ((Power, 1), (JensenShannon, 0), (TotalVariation, 0))}
    keys = {"class", "name", "factor", "slope", "constant", "rest"}
    if not isinstance(spec, dict) or set(spec) != keys or spec["class"] not in kinds:
        raise ValueError(f"spec must have {', '.join(sorted(keys))}, class one of {', '.join(kinds)}, got {spec!r}")
    kind, count = kinds[spec["class"]]
    if not isinstance(spec["name"], str) or not isinstance(spec["rest"], (list, tuple)) or len(spec["rest"]) != count:
        raise ValueError(f"spec must have a string as name and {count} numbers as rest, got {spec!r}")
    numbers_of = [spec["factor"], spec["slope"], spec["constant"], *spec["rest"]]
    for value in numbers_of:
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not np.isfinite(value):
            raise ValueError(f"spec must hold finite numbers, got {value!r}")
    if not spec["factor"] > 0:
        raise ValueError(f"spec must have factor > 0, got {spec['factor']!r}")
    return kind(spec["name"], *map(float, numbers_of))
