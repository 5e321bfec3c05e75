"""The Polya-gamma distribution PG(b, z) in mpmath, to as many digits as asked for.

Density and distribution function are the alternating series over inverse Gaussian passage times (Polson, Scott and
Windle, 2013, eq. 7), summed with as many digits more as their terms cancel. Functions take and give single numbers.
"""

from __future__ import annotations

import mpmath
from mpmath import mp

DIGITS = 30


def _sum(term, digits):
    """``sum (-1)^n Gamma(n + b) / n! term``, given as function of n, to ``digits`` digits of the result."""
    extra = digits
    while True:
        with mp.workdps(digits + extra):
            total = largest = mp.zero
            n, before = 0, mp.zero
            while True:
                value = term(n)
                total += -value if n % 2 else value
                largest = max(largest, value)
                if value <= before and value < largest * mp.mpf(10) ** -(digits + extra):
                    break
                n, before = n + 1, value
            lost = mp.log10(largest / abs(total)) if total else mp.inf
            if total > 0 and lost + digits < digits + extra - 5:
                return total
        extra = 2 * extra if lost > 5 * extra else int(lost) + digits + 10


def _weights(b):
    """``Gamma(n + b) / (n! Gamma(b)) 2^b`` for n = 0, 1, ...: the cosh^-b in powers of exp(-2 w)."""
    weights = []

    def weight(n):
        while len(weights) <= n:
            k = len(weights)
            weights.append(mp.mpf(2) ** b if k == 0 else weights[-1] * (b + k - 1) / k)
        return weights[n]

    return weight


def logpdf(x, b, z=0, digits=DIGITS):
    """``log f(x)``."""
    with mp.workdps(2 * digits):
        x, b, z = mp.mpf(x), mp.mpf(b), mp.mpf(z)

    cache = {}

    def term(n):
        weight = cache.setdefault(mp.prec, _weights(b))
        level = n + b / 2
        return weight(n) * level / mp.sqrt(2 * mp.pi * x**3) * mp.exp(-(level**2) / (2 * x))

    total = _sum(term, digits)
    with mp.workdps(2 * digits):
        return mp.log(total) + b * mp.log(mp.cosh(z / 2)) - z**2 * x / 2


def cdf(x, b, z=0, digits=DIGITS):
    """``F(x)``."""
    with mp.workdps(2 * digits):
        x, b, z = mp.mpf(x), mp.mpf(b), abs(mp.mpf(z))

    cache = {}

    def term(n):
        weight = cache.setdefault(mp.prec, _weights(b))
        level, root = n + b / 2, mp.sqrt(2 * x)
        first = mp.exp(-level * z) * mp.erfc((level - z * x) / root)
        return weight(n) * (first + mp.exp(level * z) * mp.erfc((level + z * x) / root)) / 2

    total = _sum(term, digits)
    with mp.workdps(2 * digits):
        return total * mp.cosh(z / 2) ** b


def logcdf(x, b, z=0, digits=DIGITS):
    """``log F(x)``."""
    total = cdf(x, b, z, digits)
    with mp.workdps(2 * digits):
        return mp.log(total)


def logsf(x, b, z=0, digits=DIGITS, size=0):
    """``log(1 - F(x))``; ``size`` is about how many digits 1 - F begins with zeros."""
    with mp.workdps(digits + size + 20):
        return mp.log(1 - cdf(x, b, z, digits + size))


def cumulant(n, b, z=0, digits=DIGITS):
    """``kappa_n = -b (-d / ds)^n log cosh sqrt(s / 2)`` at ``s = z^2 / 2``, by differences."""
    with mp.workdps(4 * digits):
        s = mp.mpf(z) ** 2 / 2
        return -mp.mpf(b) * (-1) ** n * mp.re(mp.diff(lambda r: mp.log(mp.cosh(mp.sqrt(r / 2))), s, n))


def log_laplace(t, b, z=0, digits=DIGITS):
    """``log E exp(-t omega)``, infinite from ``t = -(z^2 + pi^2) / 2`` down."""
    with mp.workdps(digits + 40 + (int(abs(mp.log10(abs(t)))) if t else 0)):
        t, b, z = mp.mpf(t), mp.mpf(b), mp.mpf(z)
        if 2 * t + z**2 + mp.pi**2 <= 0:
            return mp.inf
        return b * mp.log(mp.cosh(z / 2) / mpmath.re(mp.cosh(mp.sqrt((z**2 + 2 * t) / 4))))


def by_inversion(x, b, z=0, digits=DIGITS):
    """``log f(x)``, ``log F(x)`` and ``log(1 - F(x))`` by quadrature of the Bromwich integral, for large b.

    On the vertical line through the saddle point, where the integrand is nearly Gaussian.
    """
    with mp.workdps(2 * digits):
        x, b, z = mp.mpf(x), mp.mpf(b), mp.mpf(z)
        tilt = z**2 / 2

        def phase(s):
            return x * (s - tilt) - b * mp.log(mp.cosh(mp.sqrt(s / 2)) / mp.cosh(z / 2))

        def slope(s):
            return mp.re(b * mp.tanh(mp.sqrt(s / 2)) / (4 * mp.sqrt(s / 2))) - x

        low, high = -(mp.pi**2) / 2, (b / x) ** 2 + 1
        for _ in range(7 * digits):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) > 0 else (low, middle)
        saddle, height = low, mp.re(phase(low))
        step = mp.mpf(10) ** (-digits // 2) * (1 + abs(saddle))
        width = mp.sqrt(2 * step / (slope(saddle - step) - slope(saddle + step)))
        nodes = mp.linspace(0, 14 * width, 8)

        def integral(divisor):
            return mp.quad(lambda y: mp.re(mp.exp(phase(saddle + 1j * y) - height) / divisor(y)), nodes) / mp.pi

        log_density = height + mp.log(integral(lambda y: 1))
        tail = height + mp.log(abs(integral(lambda y: saddle + 1j * y - tilt)))
        other = mp.log1p(-mp.exp(tail))
        return (log_density, tail, other) if saddle > tilt else (log_density, other, tail)
