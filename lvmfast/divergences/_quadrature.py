"""f-divergences as integrals over the line, or as sums where the values are few."""

from __future__ import annotations

import math

import numpy as np

from lvmfast import _backend
from lvmfast.divergences._functions import quiet

__all__ = ["edges_of", "line_integral", "log_prob_of", "values_sum"]

POINTS = np.array([-30.0, -12, -6, -3, -1, 0, 1, 3, 6, 12, 30])  # standard deviations about a mean
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
MOST_PIECES, MOST_HALVINGS = 40_000, 60
MASS = 1e-8  # how far from 1 the integral of a density may be


def edges_of(given):
    """Where a density over the line may change its ways, an array; None where that is unknown.

    Ends of intervals; points about the mean, those of all components of a mixture, images under a bijector.
    """
    if math.prod(getattr(given, "event_shape", ())) != 1 or not hasattr(given, "log_prob"):
        return None
    kinds = {base.__name__ for base in type(given).__mro__}
    if "Uniform" in kinds:
        return np.concatenate([_numbers(given.low), _numbers(given.high)])
    if "MixtureSameFamily" in kinds:
        return edges_of(given.components)
    if "TransformedDistribution" in kinds:
        edges = edges_of(given.distribution)
        if edges is None:
            return None
        with quiet():
            image = _numbers(given.bijector.forward(edges.reshape(-1, *(1,) * len(given.event_shape))))
        return image[np.isfinite(image)]
    moments = []
    for names in (("mean",), ("variance", "var")):
        found = next((getattr(given, name, None) for name in names if _has(given, name)), None)
        try:
            moments.append(_numbers(found() if callable(found) else found))
        except (NotImplementedError, TypeError):
            return None
        if not moments[-1].size or not np.isfinite(moments[-1]).all():
            return None
    mean, variance = np.broadcast_arrays(*moments)
    return (mean[:, None] + np.sqrt(variance)[:, None] * POINTS).ravel()


def _has(given, name: str) -> bool:
    try:
        return hasattr(given, name)
    except NotImplementedError:
        return False


def _numbers(value):
    return np.asarray(_backend.to_numpy(value), float).ravel()


def log_prob_of(given):
    """``log p`` as a function of an array of numbers."""
    shape = tuple(getattr(given, "event_shape", ()))
    return lambda x: np.asarray(_backend.to_numpy(given.log_prob(x.reshape(-1, *shape))), float).reshape(x.shape)


def _terms(f, reverse, a, b):
    """``q f(p / q)`` of a = log p, b = log q; where p is larger ``p g(q / p)``, g(u) = u f(1 / u), not to overflow."""
    with quiet():
        s = np.where(np.maximum(a, b) == -math.inf, 0.0, a - b)
        of_q = np.exp(b) * np.asarray(f.of_log_ratio(np.minimum(s, 0)))
        of_p = np.exp(a) * np.asarray(reverse.of_log_ratio(np.minimum(-s, 0)))
        return np.where(np.maximum(a, b) > -700, np.where(s <= 0, of_q, of_p), 0.0)


def values_sum(f, p, q, values) -> float:
    """``sum_x q(x) f(p(x) / q(x))`` over the values of both."""
    a, b = (log_prob_of(given)(values) for given in (p, q))
    return float(_terms(f, f.reverse(), a, b).sum())


def line_integral(f, log_p, log_q, edges, names=("p", "q")) -> float:
    """``integral of q f(p / q)`` over the line, by Gauss-Legendre rules on pieces that are halved until they agree.

    The integrals of p and q go over the same pieces: where one is not 1, something was missed.
    """
    reverse = f.reverse()
    edges = np.unique(edges)
    wide = max(float(edges[-1] - edges[0]), 1e-300)  # beyond the edges: x = end +- wide t / (1 - t), 0 < t < 1

    def values(kind, low, high):
        """Integrals (m, 3) of q f(p / q), p, q over m pieces: kind 0 between edges, -1 below them, 1 above."""
        t = 0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * NODES
        outside = kind != 0
        x, slope = t.copy(), np.ones_like(t)
        end = np.where(kind[outside] < 0, edges[0], edges[-1])[:, None]
        x[outside] = end + kind[outside][:, None] * wide * t[outside] / (1 - t[outside])
        slope[outside] = wide / (1 - t[outside]) ** 2
        a, b = log_p(x.ravel()).reshape(x.shape), log_q(x.ravel()).reshape(x.shape)
        with quiet():
            heights = np.stack([_terms(f, reverse, a, b), np.exp(a), np.exp(b)], axis=-1) * slope[..., None]
            return np.einsum("mnk,n->mk", heights, WEIGHTS) * (0.5 * (high - low))[:, None]

    kind = np.concatenate([[-1.0], np.zeros(len(edges) - 1), [1.0]])
    low, high = np.concatenate([[0.0], edges[:-1], [0.0]]), np.concatenate([[1.0], edges[1:], [1.0]])
    whole, done, left = values(kind, low, high), [], 0.0
    for halving in range(MOST_HALVINGS):
        middle = 0.5 * (low + high)
        kind, low, high = np.tile(kind, 2), np.concatenate([low, middle]), np.concatenate([middle, high])
        halves = values(kind, low, high)
        if not np.isfinite(halves[:, 0]).all():
            return float(halves[:, 0].sum() + sum(part[:, 0].sum() for part in done))
        both = halves[: len(whole)] + halves[len(whole) :]
        size = np.maximum(np.abs(both.sum(axis=0) + sum(part.sum(axis=0) for part in done)), 1)
        apart = np.abs(both - whole)
        rough = (apart > 1e-14 + 1e-12 * size).any(axis=1)
        done.append(both[~rough])
        if not rough.any():
            break
        left = (apart[rough] / size).sum(axis=0).max()
        again = np.tile(rough, 2)
        kind, low, high, whole = kind[again], low[again], high[again], halves[again]
        if len(whole) > MOST_PIECES or halving == MOST_HALVINGS - 1:
            done.append(whole)
            if left > 1e-9:
                raise _unreliable(f"pieces of the integral of {f.name} do not settle, by {left:.1g}")
            break
    total, *masses = np.concatenate(done).sum(axis=0)
    for name, mass in zip(names, masses, strict=True):
        if not abs(mass - 1) < MASS:
            raise _unreliable(f"the density of {name} integrates to {mass:.10g}, not 1 (narrow peaks, or no density)")
    return float(total)


def _unreliable(why: str) -> NotImplementedError:
    return NotImplementedError(f"quadrature fails: {why}; use monte_carlo_f_divergence")
