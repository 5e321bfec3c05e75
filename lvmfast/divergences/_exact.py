"""f-divergences in closed form, or by quadrature over the line."""

from __future__ import annotations

import math

import numpy as np
from scipy import linalg
from scipy.special import ndtr

from lvmfast import _backend
from lvmfast.divergences._named import Power, TotalVariation, as_f_divergence
from lvmfast.divergences._quadrature import POINTS, edges_of, line_integral, log_prob_of, values_sum

__all__ = ["check_single", "divergence"]


def divergence(f, p, q) -> float:
    """``D_f[p | q]``, exactly: in closed form, as a sum over few values, or by quadrature where x is one number.

    Two normal distributions of any dimension have closed forms for KL both ways, Pearson and Neyman, squared Hellinger
    and alpha-divergences (infinite where the integral is), and for total variation in one dimension or with equal
    covariances. Jensen-Shannon and other f are integrated, for any two distributions over the line that have
    ``log_prob``, a mean and a variance, to some ten digits; with them p and q, which must come out as 1 to 1e-8.
    Distributions over {0, 1} are summed.

    Parameters
    ----------
    f : FDivergence or str
    p, q : distribution
        Of one shape of events, without batch dimensions.

    Returns
    -------
    divergence : float

    Raises
    ------
    NotImplementedError
        If there is neither, or the quadrature misses a part of p or q or does not settle;
        :func:`monte_carlo_f_divergence` has an estimate.
    ValueError
        If events of ``p`` and ``q`` differ in shape, or a distribution has a batch.

    References
    ----------
    M. Gil, F. Alajaji, T. Linder (2013), Renyi divergence measures for commonly used univariate continuous
    distributions, Information Sciences 249, table 2; F. Liese, I. Vajda (1987), Convex Statistical Distances, ch. 2.

    Examples
    --------
    >>> from lvmfast import divergences, distributions
    >>> p, q = distributions.Normal(0.0, 1.0), distributions.Normal(1.0, 1.0)
    >>> round(divergences.divergence("kl", p, q), 6)
    0.5
    """
    f = as_f_divergence(f)
    check_single(p, q)
    first, second = _gaussian(p), _gaussian(q)
    if first is not None and second is not None:
        if first[0].shape != second[0].shape:
            raise ValueError(f"p and q must have events of one shape, got {first[0].shape} and {second[0].shape}")
        if isinstance(f, Power):
            return f.factor * _power(f.alpha, *first, *second) + f.constant
        if isinstance(f, TotalVariation):
            exact = _total_variation(*first, *second)
            if exact is not None:
                return 2 * f.factor * exact
        if len(first[0]) == 1:
            return _of_normals(f, *(float(a.ravel()[0]) for pair in (first, second) for a in pair))
    elif isinstance(f, Power) and f.alpha in (0, 1):
        exact = _registered_kl(*((p, q) if f.alpha == 1 else (q, p)))
        if exact is not None:
            return f.factor * exact + f.constant
    if getattr(p, "discrete", False) or getattr(q, "discrete", False):
        values = [getattr(given, "_values", None) for given in (p, q)]
        if None in values:
            raise _no_exact(f, p, q)
        return values_sum(f, p, q, np.union1d(*values).astype(float))
    edges = [edges_of(given) for given in (p, q)]
    if edges[0] is None or edges[1] is None:
        raise _no_exact(f, p, q)
    return line_integral(f, log_prob_of(p), log_prob_of(q), np.concatenate(edges))


def check_single(p, q) -> None:
    """Raise where p or q is a batch."""
    for name, given in (("p", p), ("q", q)):
        batch = getattr(given, "batch_shape", ())
        if math.prod(batch) != 1:
            raise ValueError(f"{name} must be one distribution, got a batch of shape {tuple(batch)}; take one by one")


def _no_exact(f, p, q) -> NotImplementedError:
    kinds = f"{type(p).__name__} and {type(q).__name__}"
    return NotImplementedError(f"there is no exact {f.name} of {kinds}; use monte_carlo_f_divergence")


def _of_normals(f, m_p, root_p, m_q, root_q) -> float:
    """By quadrature in units of the wider one, about the mean of the other: no map of the line changes a divergence."""
    a, b = abs(root_p), abs(root_q)
    wide, origin = max(a, b), m_p if a <= b else m_q
    parts = [((m - origin) / wide, scale / wide) for m, scale in ((m_p, a), (m_q, b))]
    if not all(scale > 0 and math.isfinite(m) for m, scale in parts):  # nothing in common
        return float(f.of_log_ratio(-math.inf)) + float(f.reverse().of_log_ratio(-math.inf))

    def log_prob(m, scale):
        return lambda x: -0.5 * ((x - m) / scale) ** 2 - math.log(scale * math.sqrt(2 * math.pi))

    with np.errstate(over="ignore"):
        edges = np.concatenate([m + scale * POINTS for m, scale in parts])
        return line_integral(f, *(log_prob(*part) for part in parts), edges)


def _gaussian(given):
    """(mean (d,), a root of the covariance (d, d)) of a normal distribution, else None."""
    names = {base.__name__ for base in type(given).__mro__}
    if not names & {"Normal", "MultivariateNormalTriL", "MultivariateNormalDiag"}:
        return None
    for name in ("scale_tril", "scale_diag", "scale"):
        if hasattr(given, name):
            scale = np.asarray(_backend.to_numpy(getattr(given, name)), float)
            break
    else:
        return None
    mean = np.asarray(_backend.to_numpy(given.loc), float).ravel()
    root = (
        scale.reshape(scale.shape[-2:]) if name == "scale_tril" else np.diag(np.broadcast_to(scale.ravel(), mean.shape))
    )
    return (np.broadcast_to(mean, len(root)), root) if len(mean) in (1, len(root)) else None


def _power(a, m_p, root_p, m_q, root_q) -> float:
    """``(I - 1) / (a (a - 1))``, I the integral of p^a q^(1 - a); KL at 0 and 1."""
    if a in (0, 1):
        return _kl(m_p, root_p, m_q, root_q) if a else _kl(m_q, root_q, m_p, root_p)
    half = [np.linalg.slogdet(root)[1] for root in (root_p, root_q)]
    mixed = (1 - a) * root_p @ root_p.T + a * root_q @ root_q.T
    try:
        L = np.linalg.cholesky(mixed)
    except np.linalg.LinAlgError:
        return math.inf
    z = linalg.solve_triangular(L, m_p - m_q, lower=True)
    log_integral = -0.5 * a * (1 - a) * float(z @ z)
    log_integral += (1 - a) * half[0] + a * half[1] - float(np.log(np.diag(L)).sum())
    with np.errstate(over="ignore"):
        return float(np.expm1(log_integral) / (a * (a - 1)))


def _kl(m_p, root_p, m_q, root_q) -> float:
    lower = all(np.array_equal(root, np.tril(root)) for root in (root_p, root_q))
    solve = (lambda B: linalg.solve_triangular(root_q, B, lower=True)) if lower else (lambda B: linalg.solve(root_q, B))
    A, z = solve(root_p), solve(m_p - m_q)
    if lower:  # the squares of the diagonal and its logarithms cancel one by one
        log_ratio = np.log(np.abs(np.diag(root_p) / np.diag(root_q)))
        return float((0.5 * np.expm1(2 * log_ratio) - log_ratio).sum() + 0.5 * (np.sum(np.tril(A, -1) ** 2) + z @ z))
    log_det = np.linalg.slogdet(root_q)[1] - np.linalg.slogdet(root_p)[1]
    return float(log_det + 0.5 * (np.sum(A * A) + z @ z - len(z)))


def _total_variation(m_p, root_p, m_q, root_q):
    """``max_B p(B) - q(B)``: between the places where the densities cross."""
    if np.array_equal(root_p, root_q):
        with np.errstate(over="ignore"):
            return math.erf(float(np.hypot.reduce(np.linalg.solve(root_p, m_p - m_q))) / math.sqrt(8))
    if len(m_p) > 1:
        return None
    a, b = abs(float(root_p[0, 0])), abs(float(root_q[0, 0]))
    if a == b:
        return _total_variation(m_p, np.array([[a]]), m_q, np.array([[a]]))
    m = float(m_q[0]) - float(m_p[0])
    if a < b:
        m, a, b = -m, b, a
    m, c = m / a, b / a  # in units of the wide one, x = its mean + a z; the narrow one has mean m and deviation c < 1
    if c == 0 or abs(m) > 100:
        return 1.0
    # log(b / a) - z^2 / 2 + ((z - m) / c)^2 / 2 = 0, without cancellation
    quadratic = (c - 1) * (c + 1)
    root = math.sqrt(m * m + 2 * quadratic * math.log(c))
    if c < 0.5:
        z, y = np.array([m - c * root, m + c * root]) / -quadratic, np.array([m * c - root, m * c + root]) / -quadratic
    else:
        first = -(m + math.copysign(c * root, m))
        z = np.sort([first / quadratic, (-(m * m) - 2 * c * c * math.log(c)) / first])
        y = (z - m) / c
    return abs(float((_between(*z)) - _between(*y)))


def _between(low, high):
    return ndtr(high) - ndtr(low) if low < 0 else ndtr(-low) - ndtr(-high)


def _registered_kl(p, q):
    from lvmfast.distributions import Distribution, kl_divergence

    if not isinstance(p, Distribution) or not isinstance(q, Distribution):
        return None
    try:
        return float(np.ravel(_backend.to_numpy(kl_divergence(p, q)))[0])
    except NotImplementedError:
        return None
