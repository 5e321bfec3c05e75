"""What log ratios alone tell: bounds, divergences, overlap."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

from lvmfast import _backend
from lvmfast._validation import check_choice
from lvmfast.divergences._estimate import Estimate, as_log_ratios, mean_and_error, mean_of_f
from lvmfast.divergences._named import as_f_divergence

FEWEST = 0.02  # of the samples that an effective sample size may be without a warning

__all__ = ["Overlap", "f_divergence_from_log_ratio", "overlap", "variational_bound"]


def variational_bound(f, log_ratio, x_p, x_q) -> Estimate:
    """``mean_p f'(r) - mean_q f*(f'(r))``: an unbiased estimate of a lower bound on ``D_f[p | q]``, for any ratio r.

    Parameters
    ----------
    f : FDivergence or str
    log_ratio : callable or None
        ``log r`` of an array of points, shape (n,) or (n, 1), any function that has not seen these points. None:
        ``x_p`` and ``x_q`` are log ratios.
    x_p, x_q : array
        Points from p and from q; their numbers may differ.

    Returns
    -------
    bound : Estimate
        Equal to the divergence, but for its error, where ``r = p / q``. ``n`` is (n_p, n_q).

    Raises
    ------
    NonFiniteError
        If a log ratio is NaN.

    References
    ----------
    X. Nguyen, M. J. Wainwright, M. I. Jordan (2010), Estimating divergence functionals and the likelihood ratio by
    convex risk minimization, IEEE Trans. Inf. Theory 56, lemma 1.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import divergences
    >>> x_p, x_q = np.random.default_rng(0).standard_normal((2, 10_000)) + [[0.0], [1.0]]
    >>> bound = divergences.variational_bound("kl", lambda x: 0.5 - x, x_p, x_q)
    >>> abs(bound - 0.5) < 4 * bound.standard_error
    True
    """
    f = as_f_divergence(f)
    s_p, s_q = (x_p, x_q) if log_ratio is None else (log_ratio(x_p), log_ratio(x_q))
    s_p, s_q = as_log_ratios(s_p, "log_ratio(x_p)"), as_log_ratios(s_q, "log_ratio(x_q)")
    of_p, error_p = mean_and_error(f.derivative_of_log_ratio(s_p))
    of_q, error_q = mean_and_error(f.conjugate_of_log_ratio(s_q))
    return Estimate(of_p - of_q, math.hypot(error_p, error_q), (len(s_p), len(s_q)))


def f_divergence_from_log_ratio(f, log_ratio, *, samples_from: str = "q", self_normalized: bool = False) -> Estimate:
    """``D_f[p | q]`` as ``mean_q f(r)`` or ``mean_p f(r) / r``, from log r at the samples.

    Parameters
    ----------
    f : FDivergence or str
    log_ratio : array of shape (n,) or (n, 1)
        ``log p(x) - log q(x)`` at independent samples x; minus infinity outside the support of p.
    samples_from : {"q", "p"}, default="q"
        Where x was drawn.
    self_normalized : bool, default=False
        Divide r (1 / r where samples are from p) by its mean first: for densities known up to factors. The bias is of
        order 1 / n.

    Returns
    -------
    divergence : Estimate

    Warns
    -----
    UserWarning
        If the weights r (1 / r where samples are from p) have an effective sample size below 2% of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import divergences
    >>> x = np.random.default_rng(0).standard_normal(10_000) + 1.0  # from q = N(1, 1)
    >>> estimate = divergences.f_divergence_from_log_ratio("kl", 0.5 - x)  # p = N(0, 1)
    >>> abs(estimate - 0.5) < 4 * estimate.standard_error
    True
    """
    f = as_f_divergence(f)
    check_choice(samples_from, "samples_from", ("q", "p"))
    s = as_log_ratios(log_ratio, "log_ratio")
    f, s = (f, s) if samples_from == "q" else (f.reverse(), -s)
    if getattr(f, "alpha", None) != 0 or self_normalized:  # the mean of -log r has no weights
        effective = _effective(s)
        if effective < FEWEST * len(s):
            warnings.warn(
                f"{len(s)} samples from {samples_from} are worth {effective:.3g} for the other distribution: the "
                "estimate and its standard error may be far off; draw from the wider one, or take more samples",
                UserWarning,
                stacklevel=2,
            )
    return mean_of_f(f, s, self_normalized)


class Overlap(NamedTuple):
    """How many samples the weighted samples are worth, and what part of all that is."""

    #: ``(sum r)**2 / sum r**2`` over samples of q, weighted by r to stand for p.
    effective_q: float
    #: ``(sum 1/r)**2 / sum 1/r**2`` over samples of p, weighted by 1 / r to stand for q.
    effective_p: float
    #: ``effective_q / n_q``.
    fraction_q: float
    #: ``effective_p / n_p``.
    fraction_p: float


def overlap(log_ratio_p, log_ratio_q) -> Overlap:
    """Effective sample sizes of importance weights between p and q; near 1 where the supports are disjoint.

    Parameters
    ----------
    log_ratio_p, log_ratio_q : array
        ``log p / q`` at samples of p and of q.

    Returns
    -------
    overlap : Overlap
        From 1 sample (one has all the weight) to all; 0 where no weight is above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast import divergences
    >>> x = np.random.default_rng(0).standard_normal((2, 1000)) + [[0.0], [9.0]]  # p = N(0, 1), q = N(9, 1)
    >>> log_ratio_p, log_ratio_q = 40.5 - 9.0 * x
    >>> divergences.overlap(log_ratio_p, log_ratio_q).effective_q < 5
    True
    """
    s_p, s_q = as_log_ratios(log_ratio_p, "log_ratio_p"), as_log_ratios(log_ratio_q, "log_ratio_q")
    of_q, of_p = _effective(s_q), _effective(-s_p)
    return Overlap(of_q, of_p, of_q / len(s_q), of_p / len(s_p))


def _effective(s) -> float:
    xp = _backend.namespace(s)
    largest = float(s.max())
    if math.isinf(largest):
        return float((s == largest).sum()) if largest > 0 else 0.0
    w = xp.exp(s - largest)
    return float(w.sum()) ** 2 / float((w * w).sum())
