"""What a logistic model is fitted to: the terms of its likelihood, its prior, and whether they have a posterior."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import linprog
from scipy.special import gammaln
from sklearn.utils.validation import _check_sample_weight

from lvmfast._validation import as_float_array
from lvmfast.models._labels import encode_labels

LIKELIHOODS = ("bernoulli", "binomial", "negative-binomial")
MIXED, FAILURES, SUCCESSES = 0, -1, 1  # of a row: some of both, only failures, only successes


@dataclasses.dataclass
class Data:
    """``prod_i c_i exp(a_i f_i) / (1 + exp(f_i))^b_i`` with ``f = design @ beta``, rows without weight left out.

    Attributes
    ----------
    design : array of shape (n, p)
        Features, and ones for the intercept in the last column; float64 or float32.
    a, b : arrays of shape (n,)
        float64, weights of the rows included; ``b > 0``.
    log_constant : float
        ``sum_i log c_i``.
    """

    design: np.ndarray
    a: np.ndarray
    b: np.ndarray
    log_constant: float

    @property
    def kappa(self) -> np.ndarray:
        """``a - b / 2``."""
        return self.a - 0.5 * self.b

    @property
    def period(self) -> np.ndarray:
        """``b``, as one number where all are equal."""
        return self.b[:1] if (self.b == self.b[0]).all() else self.b


@dataclasses.dataclass
class Prior:
    """``beta ~ N(mean, precision^-1)``; flat along the null space of ``precision``.

    Attributes
    ----------
    rank : int
    log_determinant : float
        Of what is not flat: the logarithms of the positive eigenvalues, added up.
    null_space : array of shape (p, p - rank)
    """

    mean: np.ndarray
    precision: np.ndarray
    rank: int
    log_determinant: float
    null_space: np.ndarray

    @classmethod
    def of(cls, mean, precision, p: int) -> Prior:
        """From the constructor's arguments, for ``p`` coefficients."""
        mean = as_float_array(mean, "prior_mean").astype(np.float64)
        if mean.shape not in ((), (p,)) or not np.isfinite(mean).all():
            raise ValueError(
                f"prior_mean must be a finite number or have shape ({p},), one for every coefficient and the intercept "
                f"last, got {_got(mean)}"
            )
        S = as_float_array(precision, "prior_precision").astype(np.float64)
        if S.shape not in ((), (p,), (p, p)) or not np.isfinite(S).all():
            raise ValueError(
                f"prior_precision must be a finite number, or have shape ({p},) or ({p}, {p}), the intercept last, got "
                f"{_got(S)}"
            )
        if S.ndim < 2:
            if (S < 0).any():
                raise ValueError(f"prior_precision must be >= 0, got {S.min()}")
            S = np.diag(np.broadcast_to(S, p))
        largest = np.abs(S).max(initial=0.0)
        if not np.allclose(S, S.T, rtol=0, atol=1e-10 * largest):
            raise ValueError("prior_precision must be symmetric; pass (S + S.T) / 2")
        S = 0.5 * (S + S.T)
        values, vectors = np.linalg.eigh(S)
        floor = 1e-12 * p * largest
        if (values < -floor).any():
            raise ValueError(f"prior_precision must be positive semidefinite, got the eigenvalue {values.min():.3g}")
        flat = values <= floor
        return cls(
            np.broadcast_to(mean, (p,)).copy(),
            S,
            int(p - flat.sum()),
            float(np.log(values[~flat]).sum()),
            vectors[:, flat],
        )


def likelihood_terms(likelihood: str, y, n_trials=None, dispersion=None):
    """``(a, b, log c)`` of every row, for counts."""
    y = np.asarray(y, dtype=np.float64)
    if likelihood == "binomial":
        return y, n_trials, gammaln(n_trials + 1) - gammaln(y + 1) - gammaln(n_trials - y + 1)
    return y, y + dispersion, gammaln(y + dispersion) - gammaln(dispersion) - gammaln(y + 1)


def check_counts(likelihood: str, y, n_trials, dispersion):
    """``y`` as whole numbers, and the trials or the dispersion of its rows."""
    y = np.asarray(y, dtype=np.float64)
    if (y < 0).any() or (y != np.floor(y)).any():
        bad = y[(y < 0) | (y != np.floor(y))][0]
        raise ValueError(f"y must hold counts, whole numbers >= 0, for likelihood={likelihood!r}, got {bad}")
    if likelihood == "binomial":
        if dispersion is not None:
            raise ValueError("dispersion must be None for likelihood='binomial'; it is for 'negative-binomial'")
        trials = per_row(n_trials, "n_trials", len(y), "the trials of each row")
        if (trials != np.floor(trials)).any() or (trials < 1).any():
            raise ValueError(f"n_trials must hold whole numbers >= 1, got {trials.min()}")
        if (y > trials).any():
            row = int(np.argmax(y > trials))
            raise ValueError(f"y must be <= n_trials, got {y[row]:g} of {trials[row]:g} at row {row}")
        return y, trials
    if n_trials is not None:
        raise ValueError("n_trials must be None for likelihood='negative-binomial'; it is for 'binomial'")
    r = per_row(dispersion, "dispersion", len(y), "r > 0 of the variance mean + mean^2 / r")
    if (r <= 0).any():
        raise ValueError(f"dispersion must be > 0, got {r.min()}")
    return y, r


def per_row(value, name: str, n: int, meaning: str) -> np.ndarray:
    """A number, or one for every row, as (n,)."""
    if value is None:
        raise ValueError(f"{name} must be given, {meaning}: a number or an array of shape ({n},); got None")
    array = as_float_array(value, name).astype(np.float64)
    if array.shape not in ((), (n,)) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be a finite number or have shape ({n},), {meaning}, got {_got(array)}")
    return np.broadcast_to(array, (n,)).copy()


def binary_labels(y):
    """The two classes, and 0 or 1 for every row."""
    classes, labels = encode_labels(y, binary=True)
    return classes, labels.astype(np.float64)


def make_data(likelihood: str, design, y, other, sample_weight) -> Data:
    """``y``: 0 or 1, or counts; ``other``: None, trials or the dispersion of every row."""
    if likelihood == "bernoulli":
        a, b, log_c = y, np.ones(len(y)), np.zeros(len(y))
    else:
        a, b, log_c = likelihood_terms(likelihood, y, n_trials=other, dispersion=other)
    if sample_weight is not None:
        w = _check_sample_weight(sample_weight, design, dtype=np.float64, ensure_non_negative=True)
        rows = w > 0
        if not rows.any():
            raise ValueError("sample_weight must be > 0 for some row, got zeros")
        design, a, b, log_c = design[rows], (w * a)[rows], (w * b)[rows], (w * log_c)[rows]
    return Data(np.ascontiguousarray(design), a, b, float(log_c.sum()))


def check_proper(data: Data, prior: Prior) -> None:
    """Raise unless the posterior can be normalised where the prior is flat.

    It cannot where some direction along which the prior is flat changes no value ``f``, or lets the likelihood grow for
    ever: one that separates, perhaps with ties, the rows of successes alone from those of failures alone and leaves
    rows of both as they are (Albert & Anderson, Biometrika 71, 1984). The direction is sought by a linear program.
    """
    if prior.rank == len(prior.mean):
        return
    features = data.design.astype(np.float64) @ prior.null_space
    scale = np.abs(features).max(axis=0, initial=0.0)
    features = features / np.where(scale > 0, scale, 1.0)
    d = features.shape[1]
    remedy = "set prior_precision > 0"
    if np.linalg.matrix_rank(features) < d:
        raise ValueError(
            f"prior_precision leaves {d} directions of the coefficients without a prior, and the data do not determine "
            f"them all (dependent or constant columns, or fewer rows than columns); {remedy}, or drop columns"
        )
    side = np.where(data.a <= 0, FAILURES, np.where(data.a >= data.b, SUCCESSES, MIXED))
    signed, equal = side[side != MIXED, None] * features[side != MIXED], features[side == MIXED]
    answer = linprog(
        -signed.sum(axis=0),
        A_ub=-signed if len(signed) else None,
        b_ub=np.zeros(len(signed)) if len(signed) else None,
        A_eq=equal if len(equal) else None,
        b_eq=np.zeros(len(equal)) if len(equal) else None,
        bounds=[(-1.0, 1.0)] * d,
    )
    if answer.status == 0 and -answer.fun > 1e-7 * max(1.0, np.abs(signed).sum(axis=0).max(initial=0.0)):
        raise ValueError(
            "prior_precision is zero along a direction that separates the data linearly: the likelihood grows for ever "
            f"and there is no posterior; {remedy} (any positive number gives one)"
        )


def _got(array) -> str:
    return f"shape {array.shape}" if array.ndim else f"{array}"
