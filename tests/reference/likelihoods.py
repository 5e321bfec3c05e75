"""Likelihoods by their definitions, in mpmath; expectations under a normal distribution by the trapezoidal rule.

On a fine grid of the whole line that rule's error falls faster than any power of the step for a smooth integrand. The
derivatives of expectations are Stein's: by m the expectation of ``g (f - m) / v``, by v that of
``g ((f - m)^2 / v - 1) / (2 v)``, from values alone.
"""

from __future__ import annotations

import mpmath
import numpy as np
import scipy.special
import scipy.stats

mp = mpmath.mp
DIGITS = 30


def log_logistic(x):
    return -mp.log1p(mp.exp(-x))


def softplus(x):
    return mp.log1p(mp.exp(x)) if x > -100 else mp.exp(x) - mp.exp(2 * x) / 2


def link(name):
    return mp.exp if name == "exp" else softplus


def log_cdf(x):
    return mp.log(mp.ncdf(x)) if x > -60 else mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)


def gaussian(y, f, *, noise_variance):
    return -((y - f) ** 2) / (2 * noise_variance) - mp.log(2 * mp.pi * noise_variance) / 2


def bernoulli(y, f, *, link="logit"):
    z = f if y else -f
    return log_logistic(z) if link == "logit" else log_cdf(z)


def poisson(y, f, *, link="exp", exposure=1):
    mean = exposure * globals()["link"](link)(f)
    return y * mp.log(mean) - mean - mp.loggamma(y + 1)


def student_t(y, f, *, scale, df):
    e = (y - f) / scale
    constant = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(df * mp.pi) / 2 - mp.log(scale)
    return constant - (df + 1) / 2 * mp.log1p(e * e / df)


def beta(y, f, *, scale):
    a, b = scale * mp.exp(log_logistic(f)), scale * mp.exp(log_logistic(-f))
    constant = mp.loggamma(scale) - mp.loggamma(a) - mp.loggamma(b)
    return constant + (a - 1) * mp.log(y) + (b - 1) * mp.log1p(-y)


def gamma(y, f, *, shape, link="exp"):
    rate = shape / globals()["link"](link)(f)
    return shape * mp.log(rate) - mp.loggamma(shape) + (shape - 1) * mp.log(y) - rate * y


def negative_binomial(y, f, *, dispersion, link="exp"):
    r, mean = 1 / mp.mpf(dispersion), globals()["link"](link)(f)
    constant = mp.loggamma(y + r) - mp.loggamma(r) - mp.loggamma(y + 1)
    return constant - r * mp.log1p(mean / r) + y * mp.log(mean / (r + mean))


def ordinal(y, f, *, cut_points):
    cuts = [-mp.inf, *(mp.mpf(float(c)) for c in cut_points), mp.inf]
    low, high = cuts[int(y)] - f, cuts[int(y) + 1] - f
    if low > 0:  # where 1 - a tail would cancel
        low, high = -high, -low

    def tail(x):  # Phi
        return mp.erfc(-x / mp.sqrt(2)) / 2

    return mp.log(tail(high) - tail(low))


def log_density(name, y, f, **parameters):
    """log p(y | f), a float, from 30 digits (more where they cancel)."""
    with mp.workdps(DIGITS + 20):
        given = {k: mp.mpf(v) if isinstance(v, (int, float)) else v for k, v in parameters.items()}
        return float(globals()[name](mp.mpf(y), mp.mpf(f), **given))


def grid(step=0.04, most=12.0):
    """Points x and weights w of N(0, 1)."""
    x = np.arange(-round(most / step), round(most / step) + 1) * step
    return x, step * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


def values(name, y, m, v, step, **parameters):
    x, w = grid(step)
    g = np.array([log_density(name, y, m + np.sqrt(v) * t, **parameters) for t in x])
    return x, w, g


def expectation(name, y, m, v, step=0.04, **parameters):
    """E log p(y | f) and its derivatives by m and v, f ~ N(m, v)."""
    x, w, g = values(name, y, m, v, step, **parameters)
    return w @ g, w @ (g * x) / np.sqrt(v), w @ (g * (x * x - 1)) / (2 * v)


def by_parameter(name, y, m, v, parameter, step=0.08, **parameters):
    """d E log p(y | f) / d parameter, by a central difference of 50 digits inside the sum."""
    x, w = grid(step)
    slopes = []
    with mp.workdps(50):
        h = mp.mpf(10) ** -15
        for t in x:
            f = mp.mpf(m) + mp.sqrt(mp.mpf(v)) * mp.mpf(t)
            ends = []
            for sign in (1, -1):
                changed = {k: mp.mpf(p) if isinstance(p, (int, float)) else p for k, p in parameters.items()}
                changed[parameter] = changed[parameter] + sign * h
                ends.append(globals()[name](mp.mpf(y), f, **changed))
            slopes.append(float((ends[0] - ends[1]) / (2 * h)))
    return w @ np.array(slopes)


def log_predictive(name, y, m, v, step=0.04, **parameters):
    """log E p(y | f)."""
    _, w, g = values(name, y, m, v, step, **parameters)
    return scipy.special.logsumexp(g, b=w)


def logit_expectation(m, v):
    """E log(1 / (1 + exp(-f))) in float64: a step of 1/100 of f."""
    x, w = grid(0.01 / max(1.0, np.sqrt(v)), 12.0)
    f = m + np.sqrt(v) * x
    return w @ (np.minimum(f, 0) - np.log1p(np.exp(-np.abs(f))))


def logit_predictive(m, v):
    """log E 1 / (1 + exp(-f)), about the integrand's mode where that is far out."""
    x = np.linspace(-60, 60, 240001) if v > 4 else np.linspace(-25, 25, 100001)
    f = m + np.sqrt(v) * x
    logs = np.minimum(f, 0) - np.log1p(np.exp(-np.abs(f))) - 0.5 * x * x - 0.5 * np.log(2 * np.pi)
    return scipy.special.logsumexp(logs) + np.log(x[1] - x[0])


def conditional(name, f, **p):
    """The mean and variance of y given f, by scipy.stats."""
    mu = np.exp(f) if p.get("link", "exp") == "exp" else np.logaddexp(0, f)
    distribution = {
        "gaussian": lambda: scipy.stats.norm(f, np.sqrt(p["noise_variance"])),
        "bernoulli": lambda: scipy.stats.bernoulli(
            scipy.special.expit(f) if p.get("link", "logit") == "logit" else scipy.stats.norm.cdf(f)
        ),
        "poisson": lambda: scipy.stats.poisson(mu * p.get("exposure", 1)),
        "student_t": lambda: scipy.stats.t(p["df"], f, p["scale"]),
        "beta": lambda: scipy.stats.beta(p["scale"] * scipy.special.expit(f), p["scale"] * scipy.special.expit(-f)),
        "gamma": lambda: scipy.stats.gamma(p["shape"], scale=mu / p["shape"]),
        "negative_binomial": lambda: scipy.stats.nbinom(1 / p["dispersion"], 1 / (1 + p["dispersion"] * mu)),
    }[name]()
    return distribution.mean(), distribution.var()


def moments(name, m, v, **parameters):
    """The mean and variance of y, f ~ N(m, v)."""
    x, w = grid(0.01)
    mean, variance = conditional(name, m + np.sqrt(v) * x, **parameters)
    total = w @ mean
    return total, w @ variance + w @ (mean - total) ** 2


def largest(m, v, c, step=0.01):
    """P(f_c is the largest of independent f_k ~ N(m_k, v_k))."""
    x, w = grid(step)
    f = m[c] + np.sqrt(v[c]) * x
    others = [k for k in range(len(m)) if k != c]
    return w @ np.prod([scipy.special.ndtr((f - m[k]) / np.sqrt(v[k])) for k in others], axis=0)


def softmax(y, m, v, n=40):
    """E log softmax(f)_y and log E softmax(f)_y of three classes, by a product of Gauss-Hermite rules."""
    x, w = scipy.special.roots_hermitenorm(n)
    w = w / w.sum()
    weights = (w[:, None, None] * w[:, None] * w).ravel()
    points = np.stack([a.ravel() for a in np.meshgrid(x, x, x, indexing="ij")], axis=1)
    f = m + np.sqrt(v) * points
    g = f[:, y] - scipy.special.logsumexp(f, axis=1)
    return weights @ g, np.log(weights @ np.exp(g))
