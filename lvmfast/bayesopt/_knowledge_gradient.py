"""The knowledge gradient, by simulated outcomes."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast._backend import to_numpy
from lvmfast._validation import as_float_array, check_integer, check_positive, check_rng
from lvmfast.bayesopt._acquisition import Acquisition
from lvmfast.bayesopt._base_samples import base_samples, sobol_points

__all__ = ["KnowledgeGradient", "SimulatedOutcomes"]

FEW = 8  # outcomes for each point of a candidate, enough to tell good ones from bad
MOST_KNOWN = 256  # training inputs at which searches may begin: those of the smallest means
BEST_POINTS = 8  # points from which the predictive minimum is searched


@dataclasses.dataclass
class SimulatedOutcomes:
    """What the knowledge gradient of m candidates is made of; see :meth:`KnowledgeGradient.fantasies`.

    Attributes
    ----------
    outcomes : array of shape (m, M) or (m, M, q)
        Simulated observations at the candidates, noise included.
    minima : array of shape (m, M)
        Smallest posterior mean after each outcome.
    minimizers : array of shape (m, M, d)
        Where it is.
    weights : array of shape (M,)
    values : array of shape (m,)
        The knowledge gradient: the predictive minimum less the weighted mean of the minima.
    """

    outcomes: np.ndarray
    minima: np.ndarray
    minimizers: np.ndarray
    weights: np.ndarray
    values: np.ndarray


class KnowledgeGradient(Acquisition):
    r"""How far the smallest posterior mean is expected to fall by observing a candidate:

    ``KG(x_c) = tau_n - E[tau_{n+1}]``, ``tau_n = min_x mu_n(x)``,
    ``tau_{n+1}^(m) = min_x mu_n(x) + sigma~(x, x_c) xi_m``,

    with ``sigma~(x, x_c) = k_n(x, x_c) / sqrt(k_n(x_c, x_c) + noise)``, standard normal ``xi_m``, and minima over the
    box. Every minimum is searched by a quasi-Newton method from the best of many points, and then from the minimizers
    of the other outcomes. The same ``xi_m`` serve every candidate, so that the estimate is a function of the candidate
    with a gradient: that at fixed minimizers (envelope theorem), or where a kernel has a cusp (Matern12) at minimizers
    that move with the candidate.

    Parameters
    ----------
    model : lvmfast.GPR
        Fitted to one output. A callable mean is not supported.
    bounds : array of shape (d, 2)
    n_fantasies : int, default=64
        M, simulated outcomes of each candidate.
    q : int, default=1
        Points that are observed together.
    sampling : {"auto", "strata", "gauss-hermite", "sobol", "normal"} or array of shape (M, q), default="auto"
        Of the outcomes. "strata": the means of N(0, 1) in M intervals, weighted by their probabilities: the estimate
        errs by the order of 1 / M^2 and is never too large; "gauss-hermite": the nodes of quadrature; both for q = 1.
        "sobol": antithetic pairs of scrambled Sobol' points. "normal": independent draws, as in the plain Monte Carlo
        estimate, which can be negative. "auto": "strata" for q = 1, else "sobol".
    n_points : int, optional
        Points of the box among which searches begin, besides the training inputs in it and minimizers of mu_n. Default
        128 d, at most 1024.
    n_starts : int, default=1
        Searches of each outcome that begin among these points.
    noise_variance : float, optional
        Of the observation to come. Default: the model's; needed where every row had its own.
    tol : float, default=1e-5
        Searches end when the gradient, times a length of the order of the spacing of the points, is below it times
        the range of mu_n.
    max_evaluations : int, default=60
        Of each search.
    random_state : int, numpy.random.Generator or None, default=0

    Attributes
    ----------
    predictive_minimum, predictive_minimizer : float, array of shape (d,)
        tau_n, and where it is.
    base_samples, weights : arrays of shape (M, q) and (M,)

    Notes
    -----
    A candidate costs O(n^2) once (two triangular solves; two more for the gradient) and O(n d) for every point that its
    searches visit; the factor of the model is never rebuilt. A call holds some M (n + q) numbers for every thread. The
    value is >= 0 but for "normal", as the minimizer of mu_n is one of the points and the ``xi_m`` average to 0. A
    candidate whose variance, noise included, is no more than rounding has value and gradient 0.

    References
    ----------
    Frazier, Powell & Dayanik (2009), "The knowledge-gradient policy for correlated normal beliefs", INFORMS J. Comput.
    21(4), eq. 7-9; Frazier (2018), arXiv:1807.02811, section 4.2 and algorithm 4; Wu & Frazier (2016), "The parallel
    knowledge gradient method for batch Bayesian optimization", NIPS 29, for q > 1.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = np.array([[-0.9], [-0.2], [0.4], [1.1], [1.8]])
    >>> y = np.sin(3 * X[:, 0]) + X[:, 0] ** 2 - 0.7 * X[:, 0]
    >>> model = lvm.GPR(lvm.kernels.RBF(), noise_variance=0.01).fit(X, y)
    >>> kg = lvm.bayesopt.KnowledgeGradient(model, [(-1.0, 2.0)])
    >>> bool((kg(np.linspace(-1, 2, 50)[:, None]) >= 0).all())
    True
    """

    def __init__(
        self,
        model,
        bounds,
        *,
        n_fantasies=64,
        q=1,
        sampling="auto",
        n_points=None,
        n_starts=1,
        noise_variance=None,
        tol=1e-5,
        max_evaluations=60,
        random_state=0,
    ):
        super().__init__(model, bounds)
        self.q = check_integer(q, "q", 1)
        self.n_starts = check_integer(n_starts, "n_starts", 1)
        self.tol = check_positive(tol, "tol")
        self.max_evaluations = check_integer(max_evaluations, "max_evaluations", 1)
        d = self.surrogate.n_features
        n_points = min(1024, 128 * d) if n_points is None else check_integer(n_points, "n_points", 1)
        rng = check_rng(random_state)
        if isinstance(sampling, str):
            n_fantasies = check_integer(n_fantasies, "n_fantasies", 1)
            self.base_samples, self.weights = base_samples(sampling, n_fantasies, self.q, rng)
        else:
            self.base_samples = np.array(as_float_array(sampling, "sampling"), dtype=np.float64, order="C")
            shape = self.base_samples.shape
            if len(shape) != 2 or shape[1] != self.q or not shape[0] or not np.isfinite(self.base_samples).all():
                raise ValueError(f"sampling must hold finite numbers of shape (M, {self.q}), got shape {shape}")
            self.weights = np.full(shape[0], 1.0 / shape[0])
        self._few = self.base_samples, self.weights
        if len(self.weights) > FEW * self.q:
            self._few = base_samples("auto", FEW * self.q, self.q, 0)
        self._centred = bool(np.abs(self.weights @ self.base_samples).max() < 1e-12)
        self._noise = float(model._noise_of_new(noise_variance, 1)[0]) + self.surrogate.posterior.jitter
        self._compiled = self._compile()
        self._set_points(n_points, rng)

    def fantasies(self, X) -> SimulatedOutcomes:
        """Outcomes, minima and minimizers of candidates X (m, d) or (m, q, d)."""
        X = self._candidates(X)
        answers = self._evaluate(X, details=True)
        outcomes = answers["mean"][:, None] + np.einsum("ms,cts->cmt", self.base_samples, answers["root"])
        values = self._fall(answers["expected"])
        outcomes = outcomes[:, :, 0] if self.q == 1 else outcomes
        return SimulatedOutcomes(outcomes, answers["minima"], answers["minimisers"], self.weights.copy(), values)

    def one_shot(self, X, X_fantasies):
        """The one-shot form, to be maximized over both arguments together:

        ``tau_n - sum_m w_m (mu_n(x_m) + sigma~(x_m, x_c) xi_m)``,

        which is the knowledge gradient at the best x_m, and less elsewhere.

        Parameters
        ----------
        X : array of shape (m, d) or (m, q, d)
        X_fantasies : array of shape (m, M, d)

        Returns
        -------
        value : array of shape (m,)
        d_X, d_X_fantasies : arrays of the shapes of X and of X_fantasies

        References
        ----------
        Balandat et al. (2020), "BoTorch: A framework for efficient Monte-Carlo Bayesian optimization", section 4.2.
        """
        given = as_float_array(X, "X").shape
        X = self._candidates(X)
        at = as_float_array(X_fantasies, "X_fantasies").astype(np.float64)
        shape = (len(X), len(self.weights), X.shape[2])
        if at.shape != shape:
            raise ValueError(f"X_fantasies must have shape {shape}, got {at.shape}")
        if not np.isfinite(at).all():
            raise ValueError("X_fantasies must be finite, got NaN or infinity")
        answers = self._evaluate(X, at=np.ascontiguousarray(at), gradient=True)
        value = self.predictive_minimum - answers["expected"]
        return value, -answers["gradient"].reshape(given), -answers["slopes"]

    def maximize(self, **options):
        """The best candidate; see :func:`lvmfast.bayesopt.maximize`. Here ``max_evaluations=40`` and ``tol=1e-4``."""
        return super().maximize(**{"max_evaluations": 40, "tol": 1e-4, **options})

    def screen(self, X) -> np.ndarray:
        """A cheaper value (m,) to choose among many candidates: at most 8 q outcomes, and short searches."""
        X = self._candidates(X)
        return self._fall(self._evaluate(X, samples=self._few, max_evaluations=10)["expected"])

    def _value(self, X):
        return self._fall(self._evaluate(X)["expected"])

    def _value_and_gradient(self, X):
        answers = self._evaluate(X, gradient=True)
        return self._fall(answers["expected"]), -answers["gradient"]

    def _fall(self, expected: np.ndarray) -> np.ndarray:
        """The knowledge gradient; less than 0 by rounding alone where the ``xi_m`` average to 0, and then 0."""
        fall = self.predictive_minimum - expected
        return np.maximum(fall, 0.0) if self._centred else fall

    def _evaluate(self, X, at=None, gradient=False, details=False, samples=None, max_evaluations=None) -> dict:
        samples = samples or (self.base_samples, self.weights)
        evaluations = self.max_evaluations if max_evaluations is None else max_evaluations
        _backend.module_on(self.surrogate.posterior.device, self._arrays[0])
        with _backend.blas_threads(1):
            return self._compiled.evaluate(X, *samples, at, self.n_starts, self.tol, evaluations, gradient, details)

    def _compile(self):
        posterior = self.surrogate.posterior
        if callable(posterior.mean.mean):
            raise ValueError("model must have the mean 'zero', 'constant' or 'linear' here, got a callable mean")
        d = self.surrogate.n_features
        mean = np.zeros(1 + d)
        coef = posterior.mean.raw_coef()[:, 0]
        mean[: len(coef)] = coef
        module, compiled = _backend.module_on(posterior.device, posterior.L), posterior.kernel.compiled(d)
        xp = _backend.namespace(posterior.L)
        self._arrays = (posterior.rows, xp.ascontiguousarray(posterior.L), xp.ascontiguousarray(posterior.alpha[:, 0]))
        centre = self.bounds.mean(axis=1)[None]
        spread = 1e-2 * float(np.sqrt(posterior.kernel.diag(centre)[0]))
        lower, upper = (np.ascontiguousarray(self.bounds[:, k]) for k in (0, 1))
        return module.KnowledgeGradient(
            compiled.tree_for(module), compiled.vector(), *self._arrays, self._noise, spread, mean, lower, upper
        )

    def _set_points(self, n_points: int, rng) -> None:
        """Points where searches begin: the box's own, training inputs, minimizers of mu_n."""
        lower, upper = self.bounds.T
        d = len(lower)
        uniform = sobol_points(n_points, d, rng)
        trained = self.surrogate.posterior.X
        inside = ((trained >= lower) & (trained <= upper)).all(axis=1)
        known = np.unique(trained[inside], axis=0)
        if len(known) > MOST_KNOWN:
            known = known[np.argsort(to_numpy(self.surrogate.posterior.mean_at(known))[:, 0])[:MOST_KNOWN]]
        points = np.vstack([lower + uniform * (upper - lower), known])
        mu = self._compiled.set_points(points)
        best = spread_out(points, mu, upper - lower)
        x, values = self._compiled.minimise_mean(points[best], 0.01 * self.tol, 5 * self.max_evaluations)
        best = int(np.argmin(values))
        self.predictive_minimum, self.predictive_minimizer = float(values[best]), x[best].copy()
        self._points = np.vstack([points, x])
        self._compiled.set_points(self._points)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in ("_compiled", "_arrays")}

    def __setstate__(self, state):
        vars(self).update(state)
        self._compiled = self._compile()
        self._compiled.set_points(self._points)


def spread_out(points, values, width) -> np.ndarray:
    """Indices of up to BEST_POINTS points, the best first, each at least a tenth of the box from those before it."""
    order = np.argsort(values, kind="stable")
    chosen = [order[0]]
    for i in order[1:]:
        if len(chosen) == BEST_POINTS:
            break
        if (np.abs((points[i] - points[chosen]) / width).max(axis=1) >= 0.1).all():
            chosen.append(i)
    return np.array(chosen)
