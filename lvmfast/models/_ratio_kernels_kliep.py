"""KLIEP: density ratios by maximum likelihood, with cross-validated lengthscale."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from lvmfast import _backend, _cpu
from lvmfast._validation import check_integer, check_rng
from lvmfast.kernels import RBF
from lvmfast.models._ratio_kernels import RatioExpansion, chunks, problem

LOST = 1e-100  # a centre whose mean kernel over q is below: a ratio there has no bound that data could give
REACHED = 1e-200  # a row of p with less from every centre has a density that rounding and overflow decide
GAP, GAP_OF_CANDIDATES = 1e-9, 1e-4  # of the mean log likelihood to its maximum
ROUNDING = 1e-6  # a larger gap is not by rounding


def fit_kliep(
    X_p,
    X_q,
    *,
    n_centers: int = 100,
    lengthscales=None,
    n_folds: int = 5,
    rng=None,
    centers=None,
    standardize: bool = True,
) -> RatioExpansion:
    r"""``max_theta mean_p log w(x)`` such that ``mean_q w(x) = 1`` and ``theta >= 0``; w estimates p / q.

    The lengthscale has the largest mean log likelihood of held-out rows of p, over ``n_folds`` random folds; it is
    minus infinity where a row lies so far from all centres that the kernel is 0. Candidates that cannot be the best
    are left early: their scores are upper bounds.

    Parameters
    ----------
    X_p, X_q : array of shape (n_p, d), (n_q, d)
        At least two rows each.
    n_centers : int, default=100
        Random rows of X_p; all if it has fewer.
    lengthscales, rng, centers, standardize
        As for :func:`fit_ulsif`.
    n_folds : int, default=5
        At least 2; at most n_p are made.

    Returns
    -------
    ratio : RatioExpansion
        ``mean_q w(x) = 1`` over X_q; the mean log likelihood is within 1e-9 of its maximum.

    Raises
    ------
    ValueError, TypeError
        If the samples differ in width, are too small or not finite, an option is out of its range, or no candidate
        reaches all of X_p: the supports may be disjoint.

    References
    ----------
    M. Sugiyama, S. Nakajima, H. Kashima, P. von Buenau, M. Kawanabe (2008), Direct importance estimation with model
    selection and its application to covariate shift adaptation, NIPS 20, sec. 2. The solver is that of Y. Kim, P.
    Carbonetto, M. Stephens, M. Anitescu (2020), A fast algorithm for maximum likelihood estimation of mixture
    proportions using sequential quadratic programming, J. Comput. Graph. Stat. 29: ``theta_l mean_q k_l`` are the
    proportions of a mixture.
    """
    n_folds, rng = check_integer(n_folds, "n_folds", 2), check_rng(rng)
    data = problem(
        X_p, X_q, n_centers=n_centers, centers=centers, lengthscales=lengthscales, standardize=standardize, rng=rng
    )
    n = len(data.X_p)
    fold = (rng.permutation(n) % min(n_folds, n)).astype(np.int64)
    scores = np.full((len(data.lengthscales), 1), np.nan)
    best, found, starts = (0, 0), None, {}
    weights = np.full(n, 1 / n)
    with _backend.blas_threads(len(data.centers)), np.errstate(under="ignore"):
        for row in from_the_middle(len(scores)):
            phi, mean_q = components(data, float(data.lengthscales[row]))
            start = starts[min(starts, key=lambda other: abs(other - row))] if starts else None
            pi = None if phi is None else maximize(phi, weights, start, GAP_OF_CANDIDATES)
            if pi is None:
                scores[row, 0] = -np.inf
                continue
            starts[row] = pi
            if len(scores) > 1:
                scores[row, 0] = cross_validated(phi, pi, fold, -np.inf if found is None else scores[best])
            if found is None or scores[row, 0] > scores[best]:
                best, found = (row, 0), (phi, pi, mean_q)
        if found is None:
            raise ValueError(
                "lengthscales must reach every row of X_p from a centre that is near some row of X_q, got none that "
                "does; X_p and X_q may have disjoint supports (the ratio has no bound), or lengthscales are too small"
            )
        phi, pi, mean_q = found
        theta = np.where(mean_q < LOST, 0, maximize(phi, weights, pi) / np.maximum(mean_q, LOST))
    return data.expansion(theta, best, scores, "kliep", 0.0, np.zeros(1))


def from_the_middle(n: int) -> list[int]:
    """0 to n - 1, the middle first: its score is likely to be high, and then others are soon known to be lower."""
    return sorted(range(n), key=lambda row: abs(row - (n // 2 + 0.25)))


def components(data, lengthscale: float):
    """phi (b, n_p), ``k(x, c_l) / mean_q k(., c_l)``, and the means; None for phi if no centre reaches a row."""
    xp, kernel = data.xp, RBF(1.0, lengthscale)
    mean_q = xp.zeros(len(data.centers))
    for rows in chunks(len(data.X_q)):
        mean_q += kernel(data.centers, data.X_q[rows]).sum(axis=1)
    mean_q /= len(data.X_q)
    phi = kernel(data.centers, data.X_p)
    phi *= xp.where(mean_q < LOST, 0, 1 / xp.maximum(mean_q, LOST))[:, None]
    mean_q = np.asarray(_backend.to_numpy(mean_q))
    if not float(phi.max(axis=0).min()) > REACHED:
        return None, mean_q
    return np.ascontiguousarray(_backend.to_numpy(phi)), mean_q  # from the GPU: the fit is the host's


def cross_validated(phi, pi, fold, to_beat: float) -> float:
    """The mean over folds of the mean log likelihood of the rows left out; an upper bound where that is < ``to_beat``.

    ``pi`` is the fit to all rows, at which the fits to the others begin.
    """
    enough = to_beat - 10 * GAP_OF_CANDIDATES  # pi is not quite the best
    scores = _cpu.kliep_cross_validate(phi, fold, int(fold.max()) + 1, pi, GAP_OF_CANDIDATES, enough)
    return float(np.mean(scores))


def maximize(phi, weights, start=None, gap: float = GAP) -> np.ndarray:
    r"""``argmax_pi sum_j weights_j log (phi^T pi)_j`` over the simplex, to within ``gap``, on the host.

    Parameters
    ----------
    phi : ndarray of shape (b, n), >= 0
    weights : ndarray of shape (n,), >= 0
        Of sum 1; columns of weight 0 count for nothing.
    start : ndarray of shape (b,), optional

    Raises
    ------
    ValueError
        If no component reaches a column that counts.
    """
    pi = np.zeros(len(phi)) if start is None else np.array(start, dtype=np.float64)
    left, steps = _cpu.kliep_maximize(phi, weights, pi, gap)
    if not left <= max(gap, ROUNDING):
        warnings.warn(
            f"KLIEP's mean log likelihood may be {left:.1e} below its maximum after {steps} steps; lengthscales may be "
            "too small for the centers",
            ConvergenceWarning,
            stacklevel=2,
        )
    return pi
