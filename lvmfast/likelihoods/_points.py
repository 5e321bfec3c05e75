"""Likelihoods of one latent function."""

from __future__ import annotations

import math

import numpy as np
from scipy import special, stats

from lvmfast import _backend, random
from lvmfast._validation import as_float_array, check_choice
from lvmfast.bijectors import Ordered
from lvmfast.kernels._parameters import Setting
from lvmfast.likelihoods._likelihood import Likelihood
from lvmfast.likelihoods._nodes import gauss_hermite


class _Points(Likelihood):
    """Likelihoods that the compiled code knows by name."""

    #: Its name there, without the link.
    kind: str
    #: The links, the first of them without an addition to the name.
    links: tuple[str, ...] = ()

    def _kind(self) -> str:
        if not self.links:
            return self.kind
        check_choice(self.link, "link", self.links)
        return self.kind if self.link == self.links[0] else f"{self.kind}_{self.link}"

    def _compiled(self, module):
        nodes = gauss_hermite(getattr(self, "n_nodes", 1))
        return module.Likelihood(self._kind(), self._parameter_vector(), nodes)

    def _probabilities(self, n_classes, mean, variance):
        mean, variance = as_float_array(mean, "mean"), as_float_array(variance, "variance")
        xp = _backend.namespace(mean, variance)
        labels = xp.arange(n_classes)
        return xp.exp(self.log_predictive_density(labels, mean[..., None], variance[..., None]))

    def _parameter(self, name: str) -> float:
        return float(self._checked_value(name, getattr(self, name)))

    @classmethod
    def _checked_value(cls, name, value):
        array = super()._checked_value(name, value)
        if array.ndim and name in cls.parameter_names_of_leaf and name not in cls._default_settings:
            if array.shape != (1,):
                raise ValueError(f"{name} must be a number > 0, got an array of shape {array.shape}")
            array = array.reshape(())
        return array


class Gaussian(_Points):
    r"""Gaussian noise: ``p(y | f) = N(y | f, noise_variance)``.

    All is in closed form: ``E log p = log N(y | m, noise_variance) - v / (2 noise_variance)``.

    Parameters
    ----------
    noise_variance : float > 0, default=1.0
        In squared units of y. Points with variances of their own: ``noise_variance=`` an array in the calls, which
        takes the parameter's place.

    References
    ----------
    Opper & Archambeau (2009), The variational Gaussian approximation revisited, Neural Computation 21.

    Examples
    --------
    >>> from lvmfast.likelihoods import Gaussian
    >>> Gaussian(noise_variance=1.0).expected_log_density([0.0], [0.0], [1.0]).round(4)
    array([-1.4189])
    """

    kind = "gaussian"
    parameter_names_of_leaf = ("noise_variance",)
    known_of_points = "noise_variance"

    def __init__(self, noise_variance=1.0):
        super().__init__()
        self.noise_variance = noise_variance

    def _draws(self, f, known, rng, start):
        variance = self._parameter("noise_variance") if known is None else known
        return f + np.sqrt(variance) * random.normal(size=f.shape, rng=rng, start=start)


class Bernoulli(_Points):
    r"""Two classes: ``p(y = 1 | f) = 1 / (1 + exp(-f))``, or ``Phi(f)`` with the probit link; y is 0 or 1.

    Parameters
    ----------
    link : {"logit", "probit"}, default="logit"
    n_nodes : int, default=20
        Of Gauss-Hermite quadrature. For the logit, expectations with a variance of 2 or more are taken by a rule of 24
        nodes for ``log(1 + exp(-|f|))`` instead, with which ``E log p`` is within 3e-8 for every variance; derivatives
        are those of the rule that was used. Predictions by the probit are in closed form.

    References
    ----------
    Nickisch & Rasmussen (2008), Approximations for binary Gaussian process classification, JMLR 9; Rasmussen & Williams
    (2006), Gaussian Processes for Machine Learning, eq. 3.80-3.82 (probit predictions).

    Examples
    --------
    >>> from lvmfast.likelihoods import Bernoulli
    >>> Bernoulli("probit").predict_proba([1.0], [3.0]).round(4)
    array([[0.3085, 0.6915]])
    """

    kind = "bernoulli"
    links = ("logit", "probit")
    support = "0 and 1"
    remedy = "use Softmax for more than two classes, or map the labels to 0 and 1"

    def __init__(self, link="logit", *, n_nodes=20):
        super().__init__()
        self.link = link
        self.n_nodes = n_nodes

    def _kind(self):
        check_choice(self.link, "link", self.links)
        return f"{self.kind}_{self.link}"

    def _in_support(self, y, xp):
        return (y == 0) | (y == 1)

    def predict_proba(self, mean, variance):
        """``p(y = 0)`` and ``p(y = 1)`` with ``f ~ N(mean, variance)``, along a new last axis."""
        return self._probabilities(2, mean, variance)

    def _draws(self, f, known, rng, start):
        p = special.expit(f) if self._kind() == "bernoulli_logit" else special.ndtr(f)
        return random.uniform(size=f.shape, rng=rng, start=start) < p


class _Counts:
    """y = 0, 1, 2, ..."""

    links = ("exp", "softplus")
    support = "whole numbers >= 0"

    def _in_support(self, y, xp):
        return xp.isfinite(y) & (y >= 0) & (y == xp.floor(y))


def _mean_of(link, f):
    return np.exp(f) if link == "exp" else np.logaddexp(0.0, f)


class Poisson(_Counts, _Points):
    r"""Counts: ``p(y | f) = lambda^y exp(-lambda) / y!`` with ``lambda = exposure * exp(f)``; y is 0, 1, 2, ...

    With the exponential link in closed form: ``E log p = y (m + log exposure) - exposure exp(m + v / 2) - log y!``, and
    the mean and variance of y too. Where ``exp(m + v / 2)`` is beyond the largest number it is -inf.

    Parameters
    ----------
    link : {"exp", "softplus"}, default="exp"
        ``lambda = exposure * exp(f)`` or ``exposure * log(1 + exp(f))``.
    n_nodes : int, default=20
        Of Gauss-Hermite quadrature, where there is no closed form.

    Notes
    -----
    ``exposure=`` in the calls: the time or area in which a point was counted, 1 if it is not given.

    References
    ----------
    Opper & Archambeau (2009), The variational Gaussian approximation revisited, Neural Computation 21.

    Examples
    --------
    >>> from lvmfast.likelihoods import Poisson
    >>> Poisson().log_density([0.0, 1.0], [0.0, 0.0])
    array([-1., -1.])
    """

    kind = "poisson"
    known_of_points = "exposure"
    remedy = "use Gamma for positive real numbers"

    def __init__(self, link="exp", *, n_nodes=20):
        super().__init__()
        self.link = link
        self.n_nodes = n_nodes

    def _draws(self, f, known, rng, start):
        self._kind()
        mean = _mean_of(self.link, f) * (1.0 if known is None else known)
        return stats.poisson.ppf(random.uniform(size=f.shape, rng=rng, start=start), mean)


class StudentT(_Points):
    r"""Heavy-tailed noise: ``(y - f) / scale`` has Student's t distribution with ``df`` degrees of freedom.

    Parameters
    ----------
    scale : float > 0, default=1.0
        In units of y.
    df : float > 0, default=4.0
        y has a mean if it is above 1, a variance if it is above 2.
    n_nodes : int, default=20
        Of Gauss-Hermite quadrature; a ``scale`` below the standard deviation of f needs more: with 20 and 4 degrees
        ``E log p`` is within 2e-7 where they are equal, 3e-4 at a half, 0.05 at a fifth.

    References
    ----------
    Jylänki, Vanhatalo & Vehtari (2011), Robust Gaussian process regression with a Student-t likelihood, JMLR 12.

    Examples
    --------
    >>> from lvmfast.likelihoods import StudentT
    >>> StudentT(scale=1.0, df=4.0).log_density([0.0], [0.0]).round(4)
    array([-0.9808])
    """

    kind = "student_t"
    parameter_names_of_leaf = ("scale", "df")

    def __init__(self, scale=1.0, df=4.0, *, n_nodes=20):
        super().__init__()
        self.scale = scale
        self.df = df
        self.n_nodes = n_nodes

    def _draws(self, f, known, rng, start):
        u = random.uniform(size=f.shape, rng=rng, start=start)
        return f + self._parameter("scale") * special.stdtrit(self._parameter("df"), u)


class Beta(_Points):
    r"""Proportions: ``y ~ Beta(mu scale, (1 - mu) scale)`` with ``mu = 1 / (1 + exp(-f))``; 0 < y < 1.

    The mean of y given f is mu, its variance ``mu (1 - mu) / (1 + scale)``.

    Parameters
    ----------
    scale : float > 0, default=1.0
        The sum of the two shapes: the larger, the less noise.
    n_nodes : int, default=20
        Of Gauss-Hermite quadrature.

    References
    ----------
    Ferrari & Cribari-Neto (2004), Beta regression for modelling rates and proportions, J. Applied Statistics 31, eq. 4.

    Examples
    --------
    >>> from lvmfast.likelihoods import Beta
    >>> Beta(scale=4.0).log_density([0.5], [0.0]).round(4)
    array([0.4055])
    """

    kind = "beta"
    parameter_names_of_leaf = ("scale",)
    support = "numbers > 0 and < 1"
    remedy = "use Bernoulli for labels 0 and 1, or move y off the ends"

    def __init__(self, scale=1.0, *, n_nodes=20):
        super().__init__()
        self.scale = scale
        self.n_nodes = n_nodes

    def _in_support(self, y, xp):
        return (y > 0) & (y < 1)

    def _draws(self, f, known, rng, start):
        scale, u = self._parameter("scale"), random.uniform(size=f.shape, rng=rng, start=start)
        tiny = np.finfo(float).tiny
        a, b = (np.maximum(scale * special.expit(sign * f), tiny) for sign in (1, -1))
        return special.betaincinv(a, b, u)


class Gamma(_Points):
    r"""Positive numbers: ``y ~ Gamma(shape, rate=shape / mu)`` with ``mu = exp(f)``; y > 0.

    The mean of y given f is mu, its variance ``mu^2 / shape``. With the exponential link in closed form:
    ``E log p = shape (d - exp(d + v / 2)) + shape log(shape) - log Gamma(shape) - log(y)``, ``d = log(y) - m``.

    Parameters
    ----------
    shape : float > 0, default=1.0
        1 is the exponential distribution.
    link : {"exp", "softplus"}, default="exp"
        ``mu = exp(f)`` or ``log(1 + exp(f))``.
    n_nodes : int, default=20
        Of Gauss-Hermite quadrature, where there is no closed form.

    References
    ----------
    McCullagh & Nelder (1989), Generalized Linear Models, 2nd ed., ch. 8.

    Examples
    --------
    >>> from lvmfast.likelihoods import Gamma
    >>> Gamma(shape=1.0).log_density([2.0], [0.0]).round(4)
    array([-2.])
    """

    kind = "gamma"
    links = ("exp", "softplus")
    parameter_names_of_leaf = ("shape",)
    support = "numbers > 0"
    remedy = "use Poisson or NegativeBinomial for counts that may be 0"

    def __init__(self, shape=1.0, link="exp", *, n_nodes=20):
        super().__init__()
        self.shape = shape
        self.link = link
        self.n_nodes = n_nodes

    def _in_support(self, y, xp):
        return (y > 0) & xp.isfinite(y)

    def _draws(self, f, known, rng, start):
        self._kind()
        shape, u = self._parameter("shape"), random.uniform(size=f.shape, rng=rng, start=start)
        return _mean_of(self.link, f) / shape * special.gammaincinv(shape, u)


class NegativeBinomial(_Counts, _Points):
    r"""Counts with more spread than a Poisson's: mean ``mu = exp(f)``, variance ``mu + dispersion mu^2``.

    ``p(y | f) = Gamma(y + r) / (Gamma(r) y!) (r / (r + mu))^r (mu / (r + mu))^y`` with ``r = 1 / dispersion``.

    Parameters
    ----------
    dispersion : float > 0, default=1.0
        Towards 0 it becomes :class:`Poisson`.
    link : {"exp", "softplus"}, default="exp"
        ``mu = exp(f)`` or ``log(1 + exp(f))``.
    n_nodes : int, default=20
        Of Gauss-Hermite quadrature.

    References
    ----------
    Hilbe (2011), Negative Binomial Regression, 2nd ed., eq. 8.8 (NB2).

    Examples
    --------
    >>> from lvmfast.likelihoods import NegativeBinomial
    >>> mean, variance = NegativeBinomial(dispersion=0.5).predict([0.0], [0.0])
    >>> mean, variance
    (array([1.]), array([1.5]))
    """

    kind = "negative_binomial"
    parameter_names_of_leaf = ("dispersion",)

    def __init__(self, dispersion=1.0, link="exp", *, n_nodes=20):
        super().__init__()
        self.dispersion = dispersion
        self.link = link
        self.n_nodes = n_nodes

    def _draws(self, f, known, rng, start):
        self._kind()
        dispersion, u = self._parameter("dispersion"), random.uniform(size=f.shape, rng=rng, start=start)
        return stats.nbinom.ppf(u, 1.0 / dispersion, 1.0 / (1.0 + dispersion * _mean_of(self.link, f)))


class Ordinal(_Points):
    r"""Ordered classes: ``p(y = k | f) = Phi(b_k - f) - Phi(b_{k-1} - f)``; y is 0, 1, ..., K - 1.

    y is the number of cut points ``b_0 < b_1 < ... < b_{K-2}`` below ``f`` plus standard normal noise. The noise has no
    scale of its own: the variance of f and the distances of the cut points say as much. Predictions are in closed form.

    Parameters
    ----------
    cut_points : array of shape (K - 1,)
        Ascending. Learned through :class:`~lvmfast.bijectors.Ordered`; they have no bounds.
    n_nodes : int, default=20
        Of Gauss-Hermite quadrature.

    References
    ----------
    Chu & Ghahramani (2005), Gaussian processes for ordinal regression, JMLR 6, eq. 4.

    Examples
    --------
    >>> from lvmfast.likelihoods import Ordinal
    >>> Ordinal([-1.0, 1.0]).predict_proba([0.0], [0.0]).round(4)
    array([[0.1587, 0.6827, 0.1587]])
    """

    kind = "ordinal"
    parameter_names_of_leaf = ("cut_points",)
    _default_settings = {"cut_points": Setting(bounds=(-math.inf, math.inf), bijector=Ordered())}

    def __init__(self, cut_points, *, n_nodes=20):
        super().__init__()
        self.cut_points = cut_points
        self.n_nodes = n_nodes

    @property
    def support(self):
        """What y must be."""
        return f"whole numbers from 0 to {np.size(self.cut_points)}"

    remedy = "give one cut point less than there are classes"

    def _in_support(self, y, xp):
        return (y >= 0) & (y <= np.size(self.cut_points)) & (y == xp.floor(y))

    def set_bounds(self, name, low=0.0, high=np.inf):
        """Cut points take no bounds."""
        raise ValueError(f"{name!r} takes no bounds: cut points keep their order by themselves; give them a prior")

    @classmethod
    def _checked_value(cls, name, value):
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"cut_points must be ascending numbers, shape (K - 1,), got {value!r}") from None
        if array.ndim != 1 or not array.size or not np.isfinite(array).all() or not (np.diff(array) > 0).all():
            raise ValueError(
                f"cut_points must be finite, ascending numbers, shape (K - 1,), at least one, got {value!r}"
            )
        return array

    def predict_proba(self, mean, variance):
        """``p(y = k)`` with ``f ~ N(mean, variance)``, along a new last axis of length K."""
        return self._probabilities(np.size(self.cut_points) + 1, mean, variance)

    def _draws(self, f, known, rng, start):
        cuts = self._checked_value("cut_points", self.cut_points)
        return np.searchsorted(cuts, f + random.normal(size=f.shape, rng=rng, start=start), side="left")
