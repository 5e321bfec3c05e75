"""f-divergences from their definitions, in mpmath and by plain quadrature."""

from __future__ import annotations

import mpmath as mp
import numpy as np
from scipy import integrate, optimize

DIGITS = 720  # exp(+-700) + 1 keeps more than 100 of its own


def power(a):
    """Amari's function, as it is written, normalised: f(1) = f'(1) = 0."""
    if a == 0:
        return lambda u: -mp.log(u) + u - 1
    if a == 1:
        return lambda u: u * mp.log(u) - u + 1
    a = mp.mpf(a)
    return lambda u: (u**a - 1 - a * (u - 1)) / (a * (a - 1))


FUNCTIONS = {
    "kl_forward": lambda u: u * mp.log(u),
    "kl_reverse": lambda u: -mp.log(u),
    "kl_forward, normalized": power(1),
    "kl_reverse, normalized": power(0),
    "pearson_chi2": lambda u: (u - 1) ** 2,
    "neyman_chi2": lambda u: (u - 1) ** 2 / u,
    "squared_hellinger": lambda u: (mp.sqrt(u) - 1) ** 2 / 2,
    "total_variation": lambda u: abs(u - 1) / 2,
    "jensen_shannon": lambda u: u * mp.log(u) - (1 + u) * mp.log(1 + u),
    "jensen_shannon, normalized": lambda u: u * mp.log(u) - (1 + u) * mp.log((1 + u) / 2),
    "js": lambda u: (u * mp.log(u) - (1 + u) * mp.log((1 + u) / 2)) / 2,
}


def of_log_ratio(f, s):
    """f(exp(s)) as a float; infinity where it is too large for one."""
    with mp.workdps(DIGITS):
        return float(f(mp.exp(mp.mpf(s))))


def derivative(f, s):
    """f'(exp(s)) by a difference in hundreds of digits."""
    with mp.workdps(3 * DIGITS):
        u, h = mp.exp(mp.mpf(s)), mp.mpf(10) ** -400
        h *= u
        return float((f(u + h) - f(u - h)) / (2 * h))


def conjugate_at(f, s):
    """u f'(u) - f(u) at u = exp(s)."""
    with mp.workdps(3 * DIGITS):
        u, h = mp.exp(mp.mpf(s)), mp.mpf(10) ** -400
        h *= u
        return float(u * (f(u + h) - f(u - h)) / (2 * h) - f(u))


def supremum(f, t, low=-60.0, high=60.0):
    """sup_u (u t - f(u)) over log u in [low, high], by search; f of floats."""
    found = optimize.minimize_scalar(
        lambda s: f(np.exp(s)) - np.exp(s) * t, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    return max(-found.fun, *(np.exp(s) * t - f(np.exp(s)) for s in (low, high)))


def integral(f, log_p, log_q, low, high, points=()):
    """E_q f(p / q) by quadrature; f(u) of a float."""
    return integrate.quad(
        lambda x: np.exp(log_q(x)) * f(np.exp(log_p(x) - log_q(x))), low, high, points=points, limit=400, epsabs=1e-13
    )[0]
