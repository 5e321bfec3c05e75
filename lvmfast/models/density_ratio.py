"""Density ratios from samples, as a scikit-learn estimator."""

from __future__ import annotations

import copy
import time

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._validation import check_rng
from lvmfast.models._ratio_checks import check_parameters
from lvmfast.models._ratio_data import RatioData, read_rows
from lvmfast.models._ratio_divergence import RatioEstimates
from lvmfast.models._ratio_file import load_ratio, save_ratio
from lvmfast.models._ratio_fit import RatioFitting, RatioStatus
from lvmfast.random import seed_of

__all__ = ["DensityRatio", "RatioStatus"]


class DensityRatio(RatioFitting, RatioEstimates, BaseEstimator):
    r"""Ratio of two densities from a sample of each, without either density:

    ``r(x) = p(x) / q(x)``, ``X_p ~ p``, ``X_q ~ q``.

    Parameters
    ----------
    method : {"classifier", "telescoping", "ulsif", "rulsif", "kliep"}, default="classifier"
        "classifier": a network s(x) = log r(x), learned by ``loss``. "telescoping": the sum of ``n_bridges`` such
        networks between neighbours of a path of samples from q to p, for densities so far apart that one classifier
        tells them apart without a mistake (a KL divergence of tens of nats). The others are sums of Gaussian kernels
        around rows of p with coefficients >= 0: "ulsif" and "rulsif" are the solution of a least-squares problem,
        "kliep" maximises the log likelihood of r q; bandwidth and regularisation are chosen by cross-validation.
    hidden : tuple of int, default=(16, 32)
        Widths of the network's dense layers.
    activation : str, default="relu"
    network : lvmfast.nn.Sequential, optional
        Instead of these, from rows to Dense(1); copied, with its parameters where it is built.
    loss : {"bce", "kl", "f-divergence"} or lvmfast.divergences.FDivergence, default="bce"
        "bce": the cross-entropy of a classifier with logit s, ``-E_p log sigma(s) - E_q log sigma(-s)``, at least
        ``log 4 - 2 JS(p, q)``; others: minus the bound ``E_p f'(r) - E_q f*(f'(r))`` of an f-divergence, of
        ``KL(p | q)`` for "kl".
    f : str or FDivergence, default="jensen_shannon"
        For "f-divergence": a name of :mod:`lvmfast.divergences`.
    class_weight : None or "balanced", default=None
        For "bce" with samples of different sizes. None: every row counts the same, and the logit is that of ``n_p p /
        (n_q q)``, from which ``log(n_p / n_q)`` is taken. "balanced": both samples count the same.
    alpha : float in [0, 1), default=0.1
        Of "rulsif", which estimates ``p / (alpha p + (1 - alpha) q) <= 1 / alpha``, from which r follows.
    n_bridges : int, default=4
        Of "telescoping".
    n_centers : int, default=100
        Of kernels, at most.
    lengthscales, regularizations : array_like, optional
        Candidates; by default a grid around the median distance, and nine from 1e-3 to 10 (kernels only).
    n_folds : int, default=5
        Of the cross-validation of "kliep". "ulsif" and "rulsif" leave one pair out, in closed form.
    standardize : bool, default=True
        Whether rows are centred and scaled by the features of both samples together.
    optimizer : lvmfast.nn.RMSprop, Adam or SGD, optional
        Default: ``RMSprop(0.001)``.
    batch_size : int, optional
        Default: all rows in every step.
    max_iter : int, default=500
        Epochs.
    early_stopping : bool, default=False
        Whether to keep the parameters with the least loss of held-out rows, and to stop without a better one.
    validation_fraction : float, default=0.1
        Of either sample, held out for early stopping and calibration.
    n_iter_no_change : int, default=50
        Epochs without a better one.
    calibrate : bool, default=False
        Whether to replace log r by ``a log r + b``, a >= 0, fitted to the held-out rows (Platt scaling).
    dtype : float32 or float64, default=float32
        Of the networks.
    random_state : int, numpy.random.Generator or None
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every epoch with a :class:`RatioStatus`; a true answer stops the fit.
    device : {"auto", "cpu", "cuda"}, default="auto"

    Attributes
    ----------
    network_ : lvmfast.nn.Sequential, or list of them
        Of "classifier", of "telescoping" (from q to p), in standardised rows.
    expansion_ : RatioExpansion
        Of the kernel methods: centres, coefficients, bandwidth, table of the selection.
    mean_, scale_ : ndarray of shape (d,)
        Of the rows, where they are standardised.
    offset_ : float
        What is taken from the logit: ``log(n_p / n_q)``, sample weights counted, or 0.
    calibration_ : (float, float)
        a and b.
    loss_curve_ : ndarray
        Loss of every step, before it was taken; of every bridge after the other.
    validation_loss_ : ndarray
        After every epoch, where rows are held out for early stopping.
    effective_sample_size_ : (float, float)
        ``(sum r)^2 / sum r^2`` of the weights r on X_q, and of 1/r on X_p.
    n_iter_, best_iter_ : int
    message_ : str
    n_features_in_ : int
    feature_names_in_ : array
        Where X_p had column names.

    References
    ----------
    Sugiyama, Suzuki & Kanamori (2012), "Density ratio estimation in machine learning", chapters 4 (classifier), 5
    (KLIEP) and 6 (uLSIF). Kanamori, Hido & Sugiyama (2009), eq. 8 and 14. Yamada et al. (2013), "Relative
    density-ratio estimation for robust distribution comparison". Nguyen, Wainwright & Jordan (2010), eq. 9. Rhodes, Xu
    & Gutmann (2020), "Telescoping density-ratio estimation", eq. 4 and 6.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> rng = np.random.default_rng(0)
    >>> X_p, X_q = rng.normal(1, 1, (2000, 1)), rng.normal(0, 2, (2000, 1))
    >>> model = lvm.DensityRatio(random_state=0).fit(X_p, X_q)
    >>> bool(abs(model.log_ratio([[1.0]])[0] - (np.log(2) + 1 / 8)) < 0.2)
    True
    >>> bool(abs(float(model.divergence("kl")) - 0.443) < 0.1)
    True
    """

    def __init__(
        self,
        method="classifier",
        *,
        hidden=(16, 32),
        activation="relu",
        network=None,
        loss="bce",
        f="jensen_shannon",
        class_weight=None,
        alpha=0.1,
        n_bridges=4,
        n_centers=100,
        lengthscales=None,
        regularizations=None,
        n_folds=5,
        standardize=True,
        optimizer=None,
        batch_size=None,
        max_iter=500,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=50,
        calibrate=False,
        dtype=np.float32,
        random_state=None,
        verbose=0,
        callback=None,
        device="auto",
    ):
        self.method = method
        self.hidden = hidden
        self.activation = activation
        self.network = network
        self.loss = loss
        self.f = f
        self.class_weight = class_weight
        self.alpha = alpha
        self.n_bridges = n_bridges
        self.n_centers = n_centers
        self.lengthscales = lengthscales
        self.regularizations = regularizations
        self.n_folds = n_folds
        self.standardize = standardize
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.calibrate = calibrate
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose
        self.callback = callback
        self.device = device

    @_backend.memory_errors
    def fit(self, X_p, X_q, *, sample_weight_p=None, sample_weight_q=None, validation_data=None) -> DensityRatio:
        """Learn the ratio from two samples.

        Ctrl-C ends the fit with what was reached, a :class:`FitInterruptedWarning` and a model that works;
        :meth:`resume` goes on. A warning says where the samples do not overlap, so that the ratio is unbounded.

        Parameters
        ----------
        X_p : array_like of shape (n_p, d)
            From the density above the line.
        X_q : array_like of shape (n_q, d)
            From the density below; sizes may differ.
        sample_weight_p, sample_weight_q : array_like of shape (n_p,) and (n_q,), optional
            >= 0; of rows, for the networks. They also weigh the rows in :meth:`divergence`.
        validation_data : (array_like, array_like), optional
            Rows of p and of q instead of those that are held out.

        Returns
        -------
        self : DensityRatio

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is as it was.
        NonFiniteError
            If the loss or its gradient is not finite. The model keeps what was reached.
        """
        begun = time.perf_counter()
        check_parameters(self)
        seed = seed_of(self.random_state if self.random_state is None else check_rng(self.random_state))
        data = RatioData.read(self, X_p, X_q, sample_weight_p, sample_weight_q, validation_data, seed)
        self._fit_from(data, seed, begun)
        return self

    @_backend.memory_errors
    def resume(
        self, X_p, X_q, *, max_iter=None, sample_weight_p=None, sample_weight_q=None, validation_data=None
    ) -> DensityRatio:
        """Go on with a fit that was interrupted, stopped or ended by ``max_iter``, with its data.

        The result is the same, bit for bit on the CPU, as of a fit that had not stopped.

        Parameters
        ----------
        X_p, X_q, sample_weight_p, sample_weight_q, validation_data
            As for :meth:`fit`: the data of the fit.
        max_iter : int, optional
            New limit, which replaces the parameter ``max_iter``.

        Returns
        -------
        self : DensityRatio
        """
        begun = time.perf_counter()
        check_is_fitted(self)
        model = copy.copy(self)
        if max_iter is not None:
            model.max_iter = max_iter
        check_parameters(model)
        if "mark" not in self._state:
            raise ValueError(f"method {self.method!r} has nothing to go on with; fit anew")
        seed = int(self._state["seed"])
        data = RatioData.read(model, X_p, X_q, sample_weight_p, sample_weight_q, validation_data, seed)
        if not np.array_equal(data.mark(), self._state["mark"]):
            raise ValueError("X_p and X_q must be the data of the fit to resume it, got others; fit anew")
        restored = model._runs(data, seed)
        model._restore(restored)
        self.max_iter = model.max_iter
        self._go(data, restored, seed, begun)
        return self

    def log_ratio(self, X):
        """``log p(x) - log q(x)`` of rows.

        Parameters
        ----------
        X : array_like of shape (n, d)

        Returns
        -------
        ndarray of shape (n,)
            float64 for the kernel methods, else of the network's dtype; finite however far a row is.
        """
        check_is_fitted(self)
        return self._log_ratio(read_rows(self, X))

    def ratio(self, X):
        """``p(x) / q(x)`` of rows, shape (n,)."""
        values = self.log_ratio(X)
        with np.errstate(over="ignore", under="ignore"):
            return _backend.namespace(values).exp(values)

    def predict_proba(self, X, *, prior=0.5):
        """``P(y = 1 | x) = sigma(log r(x) + log(prior / (1 - prior)))``: that a row comes from p.

        Parameters
        ----------
        X : array_like of shape (n, d)
        prior : float in (0, 1), default=0.5
            Share of p; at 1/2 this is ``p / (p + q)``.

        Returns
        -------
        ndarray of shape (n, 2)
            Of q (class 0) and of p (class 1).
        """
        if not isinstance(prior, (int, float, np.number)) or not 0 < prior < 1:
            raise ValueError(f"prior must lie in (0, 1), got {prior!r}")
        s = self.log_ratio(X)
        xp, s = _backend.namespace(s), s + s.dtype.type(np.log(prior) - np.log1p(-prior))
        with np.errstate(over="ignore", under="ignore"):
            small = xp.exp(-abs(s))
            more, less = 1 / (1 + small), small / (1 + small)
        above = xp.where(s > 0, more, less)
        return xp.stack([xp.where(s > 0, less, more), above], axis=1)

    def weights(self, X, *, power=1.0, most=None):
        """Weights ``r(x)^power``, scaled to mean 1, under which rows of q stand for p (covariate shift).

        ``LinearRegression().fit(X_q, y, sample_weight=model.weights(X_q))`` fits for the rows of p.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Rows of q.
        power : float in [0, 1], default=1
            Below 1 the weights are flatter: less variance, some bias.
        most : float, optional
            The largest weight; what is cut off larger ones is spread over the others, so that the mean stays 1.

        Returns
        -------
        ndarray of shape (n,)

        References
        ----------
        Shimodaira (2000), "Improving predictive inference under covariate shift", section 3.
        """
        if not isinstance(power, (int, float, np.number)) or not 0 <= power <= 1:
            raise ValueError(f"power must lie in [0, 1], got {power!r}")
        if most is not None and not (isinstance(most, (int, float, np.number)) and most >= 1):
            raise ValueError(f"most must be >= 1, the mean of the weights, got {most!r}")
        s = power * self.log_ratio(X)
        xp = _backend.namespace(s)
        if not len(s):
            return s
        if not bool(xp.isfinite(s).any()):
            raise ValueError("X must have a row with a ratio above 0, got none: all lie outside the support of p")
        with np.errstate(under="ignore"):
            w = xp.exp(s - s.max())
        w = w / w.mean()
        if most is not None:
            high = w > most
            while bool(high.any()):  # a weight that reaches the limit stays there
                w = xp.where(high, w.dtype.type(most), w)
                rest = w < most
                if not bool(rest.any()):
                    break
                w = xp.where(rest, w * ((len(w) - most * float((~rest).sum())) / float(w[rest].sum())), w)
                high = w > most * (1 + 1e-6)
        return w

    def score(self, X_p, X_q) -> float:
        """``E_p log sigma(s) + E_q log sigma(-s)`` in nats, s = log r: at most ``2 JS(p, q) - log 4``."""
        s_p, s_q = (_backend.to_numpy(self.log_ratio(X)).astype(np.float64) for X in (X_p, X_q))
        return float(-np.logaddexp(0, -s_p).mean() - np.logaddexp(0, s_q).mean())

    def save(self, path) -> None:
        """Write the fitted model, with all that :meth:`resume` needs but the data, to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_ratio(self, path)

    @classmethod
    def load(cls, path) -> DensityRatio:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_ratio(cls, path)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_state")
