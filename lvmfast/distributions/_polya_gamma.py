"""The Polya-gamma distribution of Polson, Scott and Windle."""

from __future__ import annotations

import math
import numbers

import numpy as np
from scipy.special import binom, zeta

from lvmfast import _backend, random
from lvmfast._validation import as_float_array
from lvmfast.distributions._inversion import log_cosh, log_cosh_ratio, log_probabilities

__all__ = ["PolyaGamma"]

LARGEST_STEP = 3.0  # of log x, when a quantile is sought


class PolyaGamma:
    r"""Polya-gamma distribution PG(b, z) on x > 0, that of ``sum_k g_k / (2 pi**2 (k - 1/2)**2 + z**2 / 2)``:

    ``E exp(-t x) = (cosh(z / 2) / cosh(sqrt((z**2 / 2 + t) / 2)))**b``, ``g_1, g_2, ...`` independent, Gamma(b, 1).

    ``1 / (1 + exp(-f))`` is ``E exp(f / 2 - f**2 x / 2) / 2`` for ``x`` from PG(1, 0): given ``x``, a logistic
    likelihood is Gaussian in ``f``; and ``x`` given ``f`` is PG(1, f).

    Density and distribution function are one contour integral of the Laplace transform, 31 evaluations of it a point,
    for all ``b``, ``z`` and ``x``. It is made in float64 on the CPU; arrays on a GPU are copied there and back. For
    ``b`` from 1e-12 to 1e5 and ``b |z|`` up to 1e8, the absolute errors of ``logpdf``, ``logcdf`` and ``logsf`` are at
    most ``1e-11 max(1, |value|)`` in both tails, at any depth (some 1e-15 for ``b <= 100`` and ``|z| <= 40``); near 0
    the logarithms have that error relative to what ``sf`` or ``cdf`` has left. Beyond, errors grow like
    ``sqrt(b (1 + |z|))``, as the effect of a rounding of ``x`` does; from ``b = 1e28`` on no digit is left, and the
    result may be NaN.

    Parameters
    ----------
    b : float or array_like > 0
        Shape, any real number: PG(b, z) is the sum of independent PG(b_i, z) with ``sum(b_i) = b``.
    z : float or array_like, default=0
        Tilt: the density of PG(b, z) is that of PG(b, 0) times ``cosh(z / 2)**b exp(-z**2 x / 2)``. Its sign does not
        matter. ``b`` and ``z`` broadcast.

    Raises
    ------
    ValueError, TypeError
        If ``b`` is not finite and > 0, ``z`` not finite, or the two do not broadcast.

    Notes
    -----
    Arguments of the methods broadcast with ``b`` and ``z``. Results are float32 if all of these that are arrays are,
    else float64; NaN gives NaN.

    References
    ----------
    N. G. Polson, J. G. Scott, J. Windle (2013), Bayesian inference for logistic models using Polya-gamma latent
    variables, JASA 108, sec. 2.

    J. A. C. Weideman, L. N. Trefethen (2007), Parabolic and hyperbolic contours for computing the Bromwich integral,
    Math. Comp. 76.

    Examples
    --------
    >>> from lvmfast.distributions import PolyaGamma
    >>> x = PolyaGamma(1.0, [0.0, 2.0])
    >>> x.mean.round(6)
    array([0.25    , 0.190399])
    >>> x.cdf(0.25).round(6)
    array([0.629223, 0.753062])
    """

    def __init__(self, b, z=0.0):
        self.b, self.z = _parameter(b, "b", positive=True), _parameter(z, "z")
        _backend.module_for(b=self.b, z=self.z)
        try:
            np.broadcast_shapes(np.shape(self.b), np.shape(self.z))
        except ValueError:
            got = f"shapes {np.shape(self.b)} and {np.shape(self.z)}"
            raise ValueError(f"b and z must broadcast, got {got}") from None

    def __repr__(self) -> str:
        b, z = (_text(_backend.to_numpy(a)) for a in self._parameters)
        return f"PolyaGamma(b={b}, z={z})"

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))

    def __reduce__(self):
        return type(self), self._parameters

    def _key(self):
        arrays = [np.asarray(_backend.to_numpy(a)) + 0.0 for a in self._parameters]
        return tuple((a.dtype, a.shape, a.tobytes()) for a in arrays)

    @property
    def _parameters(self):
        return self.b, self.z

    def sample(self, size=None, *, rng=None, dtype=None, out=None, start=0, device="auto"):
        """Draws, by :func:`lvmfast.random.polya_gamma`; the arguments are those of :func:`lvmfast.random.uniform`."""
        draw = random.polya_gamma
        return draw(self.b, self.z, size, rng=rng, dtype=dtype, out=out, start=start, device=device)

    @property
    def mean(self):
        """``E x = b tanh(z / 2) / (2 z)``, and ``b / 4`` at ``z = 0``."""

        def formula(b, w):
            return 0.25 * b * np.where(w == 0, 1.0, np.tanh(w) / np.where(w == 0, 1.0, w))

        return self._moment(formula)

    @property
    def var(self):
        """``E (x - E x)**2 = b (sinh(z) - z) / (4 z**3 cosh(z / 2)**2)``, and ``b / 24`` at ``z = 0``."""
        return self._moment(lambda b, w: np.where(w < 2, b * _cumulant(2, w), b * _scaled(2, w) / w / w / w / 16))

    @property
    def std(self):
        """``sqrt(var)``, also where ``var`` is out of range."""
        return self._moment(
            lambda b, w: np.sqrt(b) * np.where(w < 2, np.sqrt(_cumulant(2, w)), np.sqrt(_scaled(2, w) / w) / w / 4)
        )

    @property
    def skewness(self):
        """``E (x - E x)**3 / std**3``: ``4 sqrt(6) / (5 sqrt(b))`` at ``z = 0``, ``3 sqrt(2 / (b |z|))`` far out."""
        return self._moment(
            lambda b, w: (
                np.where(
                    w < 2,
                    _cumulant(3, w) / _cumulant(2, w) ** 1.5,
                    _scaled(3, w) / _scaled(2, w) ** 1.5 / np.sqrt(w),
                )
                / np.sqrt(b)
            )
        )

    @property
    def kurtosis(self):
        """Excess kurtosis, ``E (x - E x)**4 / std**4 - 3``: ``204 / (35 b)`` at ``z = 0``."""
        return self._moment(
            lambda b, w: (
                np.where(w < 2, _cumulant(4, w) / _cumulant(2, w) ** 2, _scaled(4, w) / _scaled(2, w) ** 2 / w) / b
            )
        )

    @property
    def batch_shape(self):
        """The shape to which ``b`` and ``z`` broadcast."""
        return np.broadcast_shapes(np.shape(self.b), np.shape(self.z))

    @property
    def event_shape(self):
        """(): events are numbers."""
        return ()

    @property
    def variance(self):
        """``var``, as other distributions have it."""
        return self.var

    @property
    def stddev(self):
        """``std``, as other distributions have it."""
        return self.std

    def prob(self, x):
        """``pdf(x)``, as other distributions have it."""
        return self.pdf(x)

    def log_prob(self, x):
        """``logpdf(x)``, as other distributions have it."""
        return self.logpdf(x)

    def pdf(self, x):
        """Density at ``x``; 0 for ``x <= 0``."""
        return self._at(lambda *rows: np.exp(_density(*rows)), x, "x")

    def logpdf(self, x):
        """Logarithm of the density at ``x``; -inf for ``x <= 0``."""
        return self._at(_density, x, "x")

    def cdf(self, x):
        """``P(X <= x)``."""
        return self._at(lambda *rows: np.exp(_distribution(*rows)[0]), x, "x")

    def logcdf(self, x):
        """``log P(X <= x)``; -inf for ``x <= 0``."""
        return self._at(lambda *rows: _distribution(*rows)[0], x, "x")

    def sf(self, x):
        """``P(X > x)``, to its own precision where it is small."""
        return self._at(lambda *rows: np.exp(_distribution(*rows)[1]), x, "x")

    def logsf(self, x):
        """``log P(X > x)``."""
        return self._at(lambda *rows: _distribution(*rows)[1], x, "x")

    def ppf(self, q):
        """Quantile: the ``x`` with ``cdf(x) = q``, 0 <= q <= 1; NaN outside.

        Newton steps on ``logcdf`` or ``logsf``, whichever is below ``log(1/2)``, as functions of ``log x``.
        """
        return self._at(_quantile, q, "q")

    def laplace(self, t):
        """``E exp(-t x)``; infinite for ``t <= -(z**2 + pi**2) / 2``."""
        return self._at(lambda t, b, z: np.exp(_log_laplace(t, b, z)), t, "t")

    def log_laplace(self, t):
        """``log E exp(-t x)``: minus the cumulant generating function at ``-t``, to a few roundings of itself."""
        return self._at(_log_laplace, t, "t")

    def _moment(self, formula):
        b, z = (np.asarray(_backend.to_numpy(a), dtype=np.float64) for a in self._parameters)
        b, z = np.broadcast_arrays(b, z)
        with np.errstate(all="ignore"):
            return self._result(formula(b, 0.5 * np.abs(z)), *self._parameters)

    def _at(self, function, x, name: str):
        """``function`` of float64 rows of the argument, ``b`` and ``z``; the result in their shape, dtype and place."""
        value = x if isinstance(x, numbers.Real) else as_float_array(x, name)
        _backend.module_for(**{name: value}, b=self.b, z=self.z)
        arrays = [np.asarray(_backend.to_numpy(a), dtype=np.float64) for a in (value, *self._parameters)]
        try:
            shape = np.broadcast_shapes(*(a.shape for a in arrays))
        except ValueError:
            got = " and ".join(str(a.shape) for a in arrays)
            raise ValueError(f"{name} must broadcast with b and z, got shapes {got}") from None
        rows = [np.broadcast_to(a, shape).ravel() for a in arrays]
        with np.errstate(all="ignore"):
            return self._result(function(*rows).reshape(shape), value, *self._parameters)

    @staticmethod
    def _result(values, *given):
        arrays = [a for a in given if not isinstance(a, numbers.Real)]
        dtype = np.float32 if arrays and all(a.dtype == np.float32 for a in arrays) else np.float64
        values = values.astype(dtype, copy=False)
        place = next((a for a in arrays if _backend.is_gpu(a)), None)
        return values[()] if place is None else _backend.like(values, place)


def _parameter(value, name: str, positive: bool = False):
    """A float, or an array of finite numbers that is nobody else's and stays as it is."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        array = np.float64(value)
    else:
        array = as_float_array(value, name).copy()
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    good = np.isfinite(array) if not _backend.is_gpu(array) else _backend.namespace(array).isfinite(array)
    if positive:
        good &= array > 0
    if not good.all():
        rule = "finite and > 0" if positive else "finite"
        raise ValueError(f"{name} must be {rule}, got {float(array[~good].ravel()[0] if array.ndim else array)!r}")
    return array if array.ndim or not isinstance(array, np.floating) else float(array)


def _text(value) -> str:
    return repr(value) if isinstance(value, float) else np.array2string(value, separator=", ", threshold=6)


def _selected(x, b, z, **wanted):
    """``log_probabilities`` where they are not known beforehand; which rows are, and which of the others lie above."""
    inside = (x > 0) & (x < np.inf) & (b * (b / x) < np.inf)  # else exp(-b**2 / (8 x)) is out of any range
    return inside, log_probabilities(x[inside], b[inside], z[inside], **wanted)


def _density(x, b, z):
    result = np.where(np.isnan(x), np.nan, -np.inf)
    inside, (values, _, _) = _selected(x, b, z, distribution=False)
    result[inside] = values
    return result


def _distribution(x, b, z):
    """``log F`` and ``log(1 - F)``."""
    beyond = x == np.inf
    lower, upper = np.where(beyond, 0.0, -np.inf), np.where(beyond, -np.inf, 0.0)
    inside, (_, lower[inside], upper[inside]) = _selected(x, b, z, density=False)
    lower[np.isnan(x)] = upper[np.isnan(x)] = np.nan
    return lower, upper


def _quantile(q, b, z):
    result = np.where(q == 0, 0.0, np.where(q == 1, np.inf, np.nan))
    left = np.flatnonzero((q > 0) & (q < 1))
    b, z, q = b[left], z[left], q[left]
    w = 0.5 * np.abs(z)
    u = np.log(0.25 * b) + np.where(w > 0, np.log(np.tanh(w) / w), 0.0)  # of the mean
    low, high = np.full(u.shape, -745.0), np.full(u.shape, 710.0)
    for _ in range(200):
        x = np.exp(u)
        density, lower, upper = log_probabilities(x, b, z)
        small = q < 0.5
        side, target = np.where(small, lower, upper), np.where(small, np.log(q), np.log1p(-q))
        excess = np.where(small, 1.0, -1.0) * (side - target)  # grows with u
        low, high = np.where(excess < 0, u, low), np.where(excess > 0, u, high)
        step = np.clip(-excess * np.exp(side - density - u), -LARGEST_STEP, LARGEST_STEP)
        done = np.abs(step) < 1e-14
        result[left[done]] = np.exp((u + step)[done])
        new = np.where((u + step > low) & (u + step < high), u + step, 0.5 * (low + high))
        left, b, z, q, u, low, high = (a[~done] for a in (left, b, z, q, new, low, high))
        if not left.size:
            break
    result[left] = np.exp(u)
    return result


def _log_laplace(t, b, z):
    w_z, r = 0.5 * np.abs(z), np.sqrt(0.5 * np.abs(t))
    # w**2 = w_z**2 + t / 2
    below = (t < 0) & (r > w_z)
    w = np.where(t >= 0, np.hypot(w_z, r), np.sqrt(np.abs(w_z - r)) * np.sqrt(w_z + r))
    change = np.where(t == 0, 0.0, 0.5 * t / (w + w_z))
    up = log_cosh_ratio(w_z, np.where(t == np.inf, np.inf, change), np.where(below, w_z, w))
    half_pi = 0.5 * np.pi
    v = np.minimum(w, half_pi)
    down = np.where(v < 1, np.log1p(-2 * np.sin(0.5 * v) ** 2), np.log(np.cos(v))) - log_cosh(w_z)
    infinite = below & (w >= half_pi)
    return np.where(np.isnan(t), np.nan, np.where(infinite, np.inf, -b * np.where(below, down, up) + 0.0))


def _cumulant(n: int, w):
    """``kappa_n / b`` as a sum over the gammas, for ``w = |z| / 2 < 2``: the first apart, the others in powers of w."""
    u = np.minimum(2 * w / np.pi, 2.0) ** 2
    j = np.arange(26)
    series = binom(n + j - 1, j) * (-1.0) ** j * zeta(2.0 * (n + j), 1.5) / 4.0 ** (n + j)
    return math.factorial(n - 1) * (2 / np.pi**2) ** n * ((1 + u) ** -n + np.polynomial.polynomial.polyval(u, series))


def _scaled(n: int, w):
    """``kappa_n 4**n w**(2 n - 1) / b`` for ``n = 2, 3, 4`` and ``w = |z| / 2 >= 2``: 1, 3, 15 in the limit."""
    w = np.clip(w, 2.0, 400.0)  # beyond, exp(-2 w) is 0 beside 1
    tau, sigma = np.tanh(w), np.cosh(w) ** -2
    if n == 2:
        return tau - w * sigma
    if n == 3:
        return 3 * (tau - w * sigma) - 2 * w**2 * tau * sigma
    return 15 * (tau - w * sigma) - 12 * w**2 * tau * sigma + 2 * w**3 * sigma * (sigma - 2 * tau**2)
