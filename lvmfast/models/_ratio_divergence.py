"""Divergences from a learned ratio, with their errors."""

from __future__ import annotations

import math

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._validation import check_choice
from lvmfast.divergences import Estimate, as_f_divergence
from lvmfast.divergences import js as jensen_shannon

__all__ = ["RatioEstimates"]


class RatioEstimates:
    """Means over rows of functions of the log ratio."""

    def divergence(self, f="kl", X_p=None, X_q=None, *, estimator="plugin") -> Estimate:
        """``D_f[p | q]`` with the learned r in the place of p / q, and the standard error of the mean over rows.

        Parameters
        ----------
        f : str or lvmfast.divergences.FDivergence, default="kl"
            "kl": ``mean_p log r``; "reverse_kl": ``-mean_q log r``; "js": ``log 2`` less half the cross-entropy; others
            ``mean_q f(r)``.
        X_p, X_q : array_like of shape (n, d), optional
            Fresh rows of p and q. By default the rows of the fit, those held out where some were: the rows by which r
            was learned make it look too large.
        estimator : {"plugin", "bound"}, default="plugin"
            "bound": ``mean_p f'(r) - mean_q f*(f'(r))``, on fresh rows an unbiased estimate of a lower bound, whatever
            r is. ("js" is one in either form.)

        Returns
        -------
        divergence : lvmfast.divergences.Estimate
            A float with ``standard_error`` (over rows; the error of r itself is not in it) and ``n``. Rows of the fit
            count by their sample weights.

        Raises
        ------
        ValueError
            If only one of X_p and X_q is given where both are needed.
        """
        check_is_fitted(self)
        check_choice(estimator, "estimator", ("plugin", "bound"))
        f = as_f_divergence(f)
        of_p, of_q = self._log_ratios
        if X_p is not None or X_q is not None:
            of_p, of_q = (None if X is None else self._fresh(X) for X in (X_p, X_q))

        def mean(pair, name, function):
            if pair is None:
                raise ValueError(f"{name} must be given for f={f.name!r} with estimator={estimator!r}")
            return weighted_mean(function(pair[0]), pair[1])

        if estimator == "plugin" and f.name == "kl_forward":
            return Estimate(*mean(of_p, "X_p", lambda s: s), len(of_p[0]))
        if estimator == "plugin" and f.name == "kl_reverse":
            return Estimate(*mean(of_q, "X_q", lambda s: -s), len(of_q[0]))
        if estimator == "plugin" and f != jensen_shannon:
            return Estimate(*mean(of_q, "X_q", f.of_log_ratio), len(of_q[0]))
        first = mean(of_p, "X_p", f.derivative_of_log_ratio)  # of "js", the bound with r is the plug-in estimate too
        second = mean(of_q, "X_q", f.conjugate_of_log_ratio)
        return Estimate(first[0] - second[0], math.hypot(first[1], second[1]), (len(of_p[0]), len(of_q[0])))

    def _fresh(self, X) -> tuple[np.ndarray, np.ndarray]:
        s = _backend.to_numpy(self.log_ratio(X)).astype(np.float64)
        if not len(s):
            raise ValueError("X must have a row to estimate a divergence, got none")
        return s, np.ones(len(s))


def weighted_mean(terms: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """``sum w t / sum w`` , error ``sqrt(n / (n - 1) sum w^2 (t - mean)^2) / sum w``, n weights above 0."""
    there, total = w > 0, w.sum()
    t, w = terms[there], w[there]
    mean = float(w @ t / total)
    if not math.isfinite(mean):
        return mean, math.nan if math.isnan(mean) else math.inf
    n = len(t)
    return mean, math.sqrt(n / (n - 1) * float(w * w @ (t - mean) ** 2)) / float(total) if n > 1 else math.nan
