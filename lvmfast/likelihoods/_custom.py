"""A user's own likelihood, from its logarithm."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._validation import check_integer, check_positive
from lvmfast.likelihoods._likelihood import Likelihood
from lvmfast.likelihoods._nodes import gauss_hermite

REACH, LEAST_STEP, ROWS = 9.0, 0.02, 4096  # of predictive densities, in standard deviations of f
MOST_DEGREE = 8  # of the Hermite polynomials by which derivatives are taken


class Custom(Likelihood):
    r"""A likelihood given by ``log p(y | f)`` alone, by Gauss-Hermite quadrature; the user differentiates nothing.

    ``E log p = sum_j w_j g(m + sqrt(v) x_j)`` with ``g(f) = log p(y | f)``. Derivatives are those of the expectation of
    a polynomial through the same values: ``sum_j w_j x_j g_j / sqrt(v)`` by m, ``sum_j w_j (x_j^2 - 1) g_j / (2 v)`` by
    v (Stein's identities). They are the expectation's derivatives up to the error of the quadrature, and not those of
    the sum to the last digit. Where ``sqrt(v) < step * max(1, |m|)`` the values are taken at nodes that
    far apart and the series is evaluated for the true v, so that derivatives keep about ten digits down to v = 0.

    Parameters
    ----------
    function : callable
        ``function(y, f)``: log p(y | f) in nats, constants included, elementwise for arrays that broadcast (of NumPy,
        or of CuPy where the arguments are). For pickles, a function of a module.
    mean, variance : callable, optional
        Of y given f, ``mean(f)`` and ``variance(f)``, elementwise; :meth:`predict` needs them.
    in_support : callable, optional
        ``in_support(y)``: where y is a possible observation; by default every finite number is.
    n_nodes : int >= 3, default=20
    step : float > 0, default=0.01
        Over about such a distance ``function`` should be smooth.

    References
    ----------
    Opper & Archambeau (2009), The variational Gaussian approximation revisited, Neural Computation 21, eq. 17-18;
    Abramowitz & Stegun (1964), Handbook of Mathematical Functions, 25.4.46 (Gauss-Hermite).

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.likelihoods import Custom
    >>> laplace = Custom(lambda y, f: -np.abs(y - f) - np.log(2.0), n_nodes=100)
    >>> laplace.expected_log_density([3.0], [0.0], [0.25]).round(3)
    array([-3.693])
    """

    support = "possible observations"

    def __init__(self, function, *, mean=None, variance=None, in_support=None, n_nodes=20, step=0.01):
        super().__init__()
        self.function = function
        self.mean = mean
        self.variance = variance
        self.in_support = in_support
        self.n_nodes = n_nodes
        self.step = step

    def expected_log_density(self, y, mean, variance, *, gradients=False):
        _, shape, dtype, y, _, m, v = self._arguments(y, mean, variance, {})
        xp = _backend.namespace(m)
        y, m, v = (a.astype(np.float64) for a in (y, m, v))
        x, w, _ = self._nodes(xp)
        s = xp.sqrt(v)
        g = self._values(y, m[:, None] + s[:, None] * x)
        value = g @ w
        if not gradients:
            return value.reshape(shape).astype(dtype, copy=False)
        least = check_positive(self.step, "step") * xp.maximum(1.0, xp.abs(m))
        apart = xp.maximum(s, least)
        if (s < least).any():
            g = self._values(y, m[:, None] + apart[:, None] * x)
        a = (g - value[:, None]) @ (w * self._polynomials(x, xp)).T  # sum_j w_j g_j He_k(x_j)
        shrink = 0.5 * ((s / apart) ** 2 - 1.0)
        by_mean, by_variance, factor = xp.zeros_like(m), xp.zeros_like(m), xp.ones_like(m)
        for i in range(a.shape[1] // 2):
            by_mean += factor * a[:, 2 * i]
            by_variance += factor * a[:, 2 * i + 1]
            factor = factor * shrink / (i + 1)
        by_mean, by_variance = by_mean / apart, 0.5 * by_variance / apart**2
        return *(b.reshape(shape).astype(dtype, copy=False) for b in (value, by_mean, by_variance)), {}

    expected_log_density.__doc__ = Likelihood.expected_log_density.__doc__

    def log_density(self, y, f):
        """``log p(y | f)``, point by point."""
        _, shape, dtype, y, _, f, _ = self._arguments(y, f, None, {}, ("f", None))
        value = self._values(y.astype(np.float64), f.astype(np.float64)[:, None])
        return value.reshape(shape).astype(dtype, copy=False)

    def log_predictive_density(self, y, mean, variance):
        """``log p(y) = log E p(y | f)`` with ``f ~ N(mean, variance)``, point by point.

        By the trapezoidal rule within 9 standard deviations, with half the step until it changes by less than 1e-6,
        or the step is below 0.02.
        """
        _, shape, dtype, y, _, m, v = self._arguments(y, mean, variance, {})
        xp = _backend.namespace(m)
        y, m, v = (a.astype(np.float64) for a in (y, m, v))
        parts = [slice(k, k + ROWS) for k in range(0, len(m), ROWS)]
        value = [self._predictive(y[part], m[part], xp.sqrt(v[part])) for part in parts]
        value = xp.concatenate(value) if value else xp.empty(0)
        return value.reshape(shape).astype(dtype, copy=False)

    def _predictive(self, y, m, s):
        """``log E p(y | m + s x)``, x ~ N(0, 1), of some rows."""
        xp = _backend.namespace(m)
        value, rows, step = xp.full(m.shape, -np.inf), xp.arange(len(m)), REACH / 18
        x = xp.linspace(-REACH, REACH, 37)
        while len(rows):
            terms = self._values(y[rows], m[rows, None] + s[rows, None] * x) - 0.5 * x * x
            most = xp.maximum(terms.max(axis=1), np.finfo(float).min)  # the densities may all be 0
            with np.errstate(divide="ignore"):
                new = most + xp.log(xp.exp(terms - most[:, None]).sum(axis=1) * step / np.sqrt(2 * np.pi))
            if step < REACH / 18:
                new = xp.logaddexp(value[rows] - np.log(2.0), new)
            old, value[rows] = value[rows], new
            with np.errstate(invalid="ignore"):
                going = (~(xp.abs(new - old) < 1e-6) | (step > 0.1)) & (step > LEAST_STEP)
            # What lies between the nodes comes next.
            x = xp.arange(-REACH + step / 2, REACH, step)
            rows, step = rows[going], step / 2
        return value

    def predict(self, mean, variance):
        """The mean and variance of y with ``f ~ N(mean, variance)``, from the functions ``mean`` and ``variance``."""
        if self.mean is None or self.variance is None:
            raise ValueError("predict needs the mean and variance of y given f; give Custom mean= and variance=")
        _, shape, dtype, _, _, m, v = self._arguments(None, mean, variance, {})
        xp = _backend.namespace(m)
        m, v = m.astype(np.float64), v.astype(np.float64)
        x, w, _ = self._nodes(xp)
        f = m[:, None] + xp.sqrt(v)[:, None] * x
        means = xp.broadcast_to(self.mean(f), f.shape)
        total = means @ w
        spread = xp.broadcast_to(self.variance(f), f.shape) @ w + ((means - total[:, None]) ** 2) @ w
        return tuple(a.reshape(shape).astype(dtype, copy=False) for a in (total, spread))

    def sample(self, f, *, rng=None, start=0):
        """Not known from the density alone."""
        raise NotImplementedError("Custom knows the density of y only; draw y with lvmfast.random")

    def _in_support(self, y, xp):
        return super()._in_support(y, xp) if self.in_support is None else xp.asarray(self.in_support(y), dtype=bool)

    def _nodes(self, xp):
        check_integer(self.n_nodes, "n_nodes", 3)
        return xp.asarray(gauss_hermite(self.n_nodes))

    def _values(self, y, f):
        """g at f (n, k)."""
        xp = _backend.namespace(f)
        g = xp.asarray(self.function(y[:, None], f), dtype=np.float64)
        if g.shape != f.shape:
            raise ValueError(
                f"function(y, f) must return an array of shape {f.shape}, as y and f broadcast, got {g.shape}"
            )
        if xp.isnan(g).any():
            at = tuple(int(i) for i in xp.argwhere(xp.isnan(g))[0])
            raise ValueError(
                f"function(y, f) must be a number or -inf, got nan for y = {float(y[at[0]])} and f = {float(f[at])}"
            )
        return g

    def _polynomials(self, x, xp):
        """He_k(x), k = 1, 2, ... to an even degree below the number of nodes."""
        rows = [xp.ones_like(x), x]
        for k in range(1, min(MOST_DEGREE, (self.n_nodes - 1) // 2 * 2)):
            rows.append(x * rows[k] - k * rows[k - 1])
        return xp.stack(rows[1:])
