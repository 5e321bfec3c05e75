"""Kullback-Leibler divergences in closed form, by the types of the two distributions."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend, linalg
from lvmfast.distributions._bounded import Bernoulli, Uniform
from lvmfast.distributions._distribution import Distribution
from lvmfast.distributions._normal import MultivariateNormalDiag, MultivariateNormalTriL, Normal
from lvmfast.distributions._transformed import TransformedDistribution

__all__ = ["kl_divergence", "register_kl"]

_closed_forms: dict = {}


def register_kl(type_p, type_q):
    """A decorator: the function of ``(p, q)`` below gives ``KL(p || q)`` for these types and their subclasses.

    Examples
    --------
    >>> from lvmfast.distributions import Distribution, kl_divergence, register_kl
    >>> class Point(Distribution):
    ...     batch_shape = ()
    >>> @register_kl(Point, Point)
    ... def _(p, q):
    ...     return 0.0
    >>> kl_divergence(Point(), Point())
    0.0
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not isinstance(kind, type) or not issubclass(kind, Distribution):
            raise TypeError(f"{name} must be a class of distributions, got {kind!r}")

    def register(function):
        if not callable(function):
            raise TypeError(f"register_kl must decorate a function, got {function!r}")
        _closed_forms[type_p, type_q] = function
        return function

    return register


def kl_divergence(p, q):
    """``KL(p || q) = E_p log(p(x) / q(x))``, in nats, of the shape to which the batches broadcast.

    Parameters
    ----------
    p, q : Distribution
        Two normal distributions (of numbers, or of vectors with any scale), two uniform or Bernoulli distributions, two
        transformed distributions with equal bijectors, or what :func:`register_kl` has been told.

    Raises
    ------
    NotImplementedError
        If there is no closed form.

    Examples
    --------
    >>> from lvmfast.distributions import Normal, kl_divergence
    >>> float(kl_divergence(Normal(1, 1), Normal(0, 2)).round(15))
    0.443147180559945
    """
    for name, value in (("p", p), ("q", q)):
        if not isinstance(value, Distribution):
            raise TypeError(f"{name} must be a distribution, got {value!r}")
    if p.event_shape != q.event_shape:
        raise ValueError(f"p and q must have events of one shape, got {p.event_shape} and {q.event_shape}")
    for type_p in type(p).__mro__:
        for type_q in type(q).__mro__:
            if (type_p, type_q) in _closed_forms:
                return _closed_forms[type_p, type_q](p, q)
    raise NotImplementedError(_no_closed_form(p, q))


def _no_closed_form(p, q) -> str:
    return (
        f"there is no closed form for KL({type(p).__name__} || {type(q).__name__}); estimate it by "
        "lvmfast.divergences.monte_carlo_f_divergence, or give one to lvmfast.distributions.register_kl"
    )


def _ratio_term(log_ratio, expm1):
    """``(r**2 - 1) / 2 - log r``, which is 0 at ``r = 1``."""
    return 0.5 * expm1(2 * log_ratio) - log_ratio


@register_kl(Normal, Normal)
def _(p, q):
    xp = _backend.namespace(p.loc, p.scale, q.loc, q.scale)
    z = (p.loc - q.loc) / q.scale
    return _ratio_term(xp.log(xp.asarray(p.scale / q.scale)), xp.expm1) + 0.5 * z * z


@register_kl(Uniform, Uniform)
def _(p, q):
    xp = _backend.namespace(p.low, p.high, q.low, q.high)
    ratio = xp.log(xp.asarray((q.high - q.low) / (p.high - p.low)))
    return xp.where((xp.asarray(q.low) <= p.low) & (xp.asarray(q.high) >= p.high), ratio, np.inf)[()]


@register_kl(Bernoulli, Bernoulli)
def _(p, q):
    xp = _backend.namespace(p._given, q._given)
    total = 0.0
    with np.errstate(invalid="ignore"):
        parts = zip(p._probs(), p._log_probs(p._given), q._log_probs(q._given), strict=True)
        for probability, log_p, log_q in parts:
            total = total + xp.where(xp.asarray(probability) == 0, 0.0, probability * (log_p - log_q))
    return total[()]


@register_kl(MultivariateNormalDiag, MultivariateNormalDiag)
def _(p, q):
    scale_p, scale_q, away = (a.astype(np.float64) for a in (p.scale_diag, q.scale_diag, p.mean - q.mean))
    xp = _backend.namespace(scale_p, scale_q)
    z = away / scale_q
    total = (_ratio_term(xp.log(scale_p / scale_q), xp.expm1) + 0.5 * z * z).sum(axis=-1)
    return total.astype(np.result_type(p.dtype, q.dtype))[()]


@register_kl(MultivariateNormalTriL, MultivariateNormalTriL)
@register_kl(MultivariateNormalTriL, MultivariateNormalDiag)
@register_kl(MultivariateNormalDiag, MultivariateNormalTriL)
def _(p, q):
    L_p, L_q = _triangle(p), _triangle(q)
    xp = _backend.namespace(L_p, L_q)
    batch = np.broadcast_shapes(p.batch_shape, q.batch_shape)
    d = p.event_shape[0]
    # columns of L_q^{-1} [L_p, m_q - m_p]; the first d are a triangle with the diagonal r
    away = (q.mean.astype(np.float64) - p.mean)[..., None]
    right = xp.concatenate([xp.broadcast_to(L_p, (*batch, d, d)), xp.broadcast_to(away, (*batch, d, 1))], axis=-1)
    M = linalg.solve_triangular(xp.broadcast_to(L_q, (*batch, d, d)), right)
    squares = (M**2 * xp.tri(d, d + 1, -1)).sum(axis=(-1, -2)) + (M[..., -1] ** 2).sum(axis=-1)
    log_r = xp.log(xp.diagonal(L_p, axis1=-2, axis2=-1) / xp.diagonal(L_q, axis1=-2, axis2=-1))
    total = 0.5 * squares + _ratio_term(log_r, xp.expm1).sum(axis=-1)
    return total.astype(np.result_type(p.dtype, q.dtype))[()]


def _triangle(p):
    if isinstance(p, MultivariateNormalTriL):
        return p.scale_tril.astype(np.float64)
    xp = _backend.namespace(p.scale_diag)
    return p.scale_diag.astype(np.float64)[..., None] * xp.eye(p.event_shape[0])


@register_kl(TransformedDistribution, TransformedDistribution)
def _(p, q):
    if p.bijector != q.bijector:
        raise NotImplementedError(_no_closed_form(p, q) + " (the bijectors differ)")
    divergence = kl_divergence(p.distribution, q.distribution)
    return divergence.sum(axis=tuple(range(-p._more, 0))) if p._more else divergence
