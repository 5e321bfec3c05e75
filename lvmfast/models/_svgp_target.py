"""What is fitted to: the likelihood by its name, labels as numbers, and where parameters start."""

from __future__ import annotations

import numpy as np
from scipy.special import logit, ndtri

from lvmfast.kernels import RBF
from lvmfast.likelihoods import (
    Bernoulli,
    Beta,
    Gamma,
    Gaussian,
    Likelihood,
    NegativeBinomial,
    Ordinal,
    Poisson,
    RobustMax,
    Softmax,
    StudentT,
)
from lvmfast.models._gpr_start import default_kernel, spread_of
from lvmfast.models._labels import encode_labels

NAMES = {
    "gaussian": Gaussian,
    "bernoulli": Bernoulli,
    "probit": Bernoulli,
    "poisson": Poisson,
    "student_t": StudentT,
    "beta": Beta,
    "gamma": Gamma,
    "negative_binomial": NegativeBinomial,
    "ordinal": Ordinal,
    "softmax": Softmax,
    "robust_max": RobustMax,
}
CLASSES = (Bernoulli, Ordinal, Softmax, RobustMax)
IDENTITY = (Gaussian, StudentT)  # y is f and noise
LEAST_SHARE = 1e-3  # of a class, where its log odds start a mean

__all__ = ["NAMES", "Target", "check_likelihood", "kind_of"]


def check_likelihood(likelihood) -> None:
    """Raise unless it is a name or a likelihood."""
    if isinstance(likelihood, Likelihood) or (isinstance(likelihood, str) and likelihood in NAMES):
        return
    names = ", ".join(map(repr, NAMES))
    raise (ValueError if isinstance(likelihood, str) else TypeError)(
        f"likelihood must be one of {names} or an object of lvmfast.likelihoods, got {likelihood!r}"
    )


def kind_of(likelihood):
    """The class of a likelihood or of its name; None for anything else."""
    if isinstance(likelihood, str):
        return NAMES.get(likelihood)
    return type(likelihood) if isinstance(likelihood, Likelihood) else None


class Target:
    """The likelihood of a fit, and y as it takes it.

    Attributes
    ----------
    likelihood : Likelihood
        A copy.
    classes : array of shape (K,) or None
        Labels, of a classifier.
    """

    CLASSES = CLASSES

    def __init__(self, spec, labels=None, classes=None, fitted=None):
        """``labels``: some labels that hold all classes, or None where ``classes`` does; ``fitted``: a likelihood."""
        self.by_name = isinstance(spec, str)
        kind = kind_of(spec)
        self.classes = None
        if issubclass(kind, CLASSES):
            self.classes = self._classes(kind, spec, labels, classes)
        elif classes is not None:
            raise ValueError(f"classes must be None for {kind.__name__}, which has none, got {classes!r}")
        self.likelihood = fitted.copy() if fitted is not None else self._likelihood(kind, spec)

    def _classes(self, kind, spec, labels, classes):
        number = 2 if kind is Bernoulli else None
        if not self.by_name and kind is not Bernoulli:
            number = np.size(spec.cut_points) + 1 if kind is Ordinal else spec.n_classes
        if classes is None and labels is None:
            raise ValueError("classes must be given where y is read batch by batch: an array of all labels, got None")
        missing = classes is None and number is not None and number > 2 and len(np.unique(labels)) < number
        if missing and np.asarray(labels).dtype.kind in "biuf" and np.isin(labels, np.arange(number)).all():
            classes = np.arange(number)  # as the likelihood numbers them
        given = classes
        if labels is None:
            classes = np.unique(classes)
        else:
            classes, _ = encode_labels(labels, classes, binary=number == 2)
        if kind is Ordinal and classes.dtype.kind not in "biuf":
            if given is None:
                raise ValueError(
                    f"classes must be given for Ordinal where labels are not numbers: all of them, in their order; got "
                    f"None and the labels {classes.tolist()}"
                )
            first = np.unique(given, return_index=True)[1]
            classes = np.asarray(given)[np.sort(first)]
        if number is not None and len(classes) != number:
            raise ValueError(f"y must hold {number} classes, as the likelihood has, got {len(classes)}: {classes}")
        return classes

    def _likelihood(self, kind, spec):
        if not self.by_name:
            return spec.copy()
        if kind in (Softmax, RobustMax):
            return kind(len(self.classes))
        if kind is Ordinal:
            return Ordinal(np.arange(len(self.classes) - 1.0))
        return Bernoulli("probit") if spec == "probit" else kind()

    def latents(self, d) -> int:
        """Latent functions, for y with d columns (None: of shape (n,))."""
        if self.classes is not None and d is not None:
            raise ValueError(f"y must have shape (n,) for classes, got (n, {d}); use one model per column")
        return self.likelihood.n_latents if d is None else d

    def encode(self, y) -> np.ndarray:
        """y as the likelihood takes it: numbers of classes (int64), or y itself."""
        if self.classes is None:
            return y
        y = np.asarray(y)
        order = np.argsort(self.classes)
        index = order[np.minimum(np.searchsorted(self.classes, y, sorter=order), len(order) - 1)]
        wrong = self.classes[index] != y
        if np.any(wrong):
            got = np.unique(y[wrong])[:5].tolist()
            raise ValueError(f"y must hold the classes {self.classes.tolist()}, got {got}; pass classes=... to fit")
        return index.astype(np.int64)

    # Where a fit starts. Y (n, d) float64, of some rows: numbers of classes in one column.

    def start(self, Y: np.ndarray, known=None, given=None) -> np.ndarray:
        """Give a likelihood that was named its first parameters; the latent functions' first means, (P,).

        known: of the rows, (n, 1) or (n, d), or None. given: what a callable mean answers at the rows.
        """
        likelihood, kind = self.likelihood, type(self.likelihood)
        exposure = known if kind is Poisson and known is not None else np.ones((len(Y), 1))
        means = Y.mean(axis=0)
        if kind in IDENTITY:
            left = Y if given is None else Y - given
            if self.by_name:
                noise = 0.1 * spread_of(left)
                if kind is Gaussian:
                    likelihood.noise_variance = noise
                else:
                    likelihood.scale = float(np.sqrt(5.0 * noise))  # wide tails first: nearer to a concave log density
            return left.mean(axis=0) if kind is Gaussian else np.median(left, axis=0)
        if kind is Bernoulli:
            share = np.clip(means, LEAST_SHARE, 1 - LEAST_SHARE)
            return logit(share) if likelihood.link == "logit" else ndtri(share)
        if kind is Beta:
            if self.by_name:
                spread = np.maximum(((Y - means) ** 2).mean(axis=0), 1e-6)
                likelihood.scale = float(np.clip(np.mean(means * (1 - means) / spread - 1), 1.0, 1e3))
            return logit(means)
        if kind in (Poisson, Gamma, NegativeBinomial):
            level = np.maximum(Y.sum(axis=0), 0.5) / np.broadcast_to(exposure, Y.shape).sum(axis=0)
            return np.log(level) if likelihood.link == "exp" else level + np.log(-np.expm1(-level))
        if kind is Ordinal and self.by_name:
            counts = np.bincount(Y[:, 0].astype(int), minlength=len(self.classes)) + 0.5
            cuts = ndtri(np.cumsum(counts)[:-1] / counts.sum()) * np.sqrt(2.0)
            likelihood.cut_points = cuts
        return np.zeros(self.latents(None if Y.shape[1] == 1 else Y.shape[1]))

    def unit(self, Y: np.ndarray) -> float:
        """The scale of the latent functions: that of Y where y is one of them and noise, else 1."""
        return float(np.sqrt(spread_of(Y))) if type(self.likelihood) in IDENTITY else 1.0

    def kernel(self, X: np.ndarray, Y: np.ndarray) -> RBF:
        """The default kernel, for some rows."""
        if type(self.likelihood) in IDENTITY:
            return default_kernel(X, Y)
        kernel = default_kernel(X, np.array([[-1.0], [1.0]]))
        logits = isinstance(self.likelihood, (Softmax, Bernoulli)) and getattr(self.likelihood, "link", "") != "probit"
        kernel.variance = 4.0 if logits else 1.0
        return kernel
