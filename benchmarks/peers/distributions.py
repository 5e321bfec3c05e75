"""Peer implementations of the log densities of transformed distributions, behind one interface.

``PEERS[name](case)`` does all the set-up, points included, and returns a call that gives ``log_prob`` of them as an
array, or raises ``Unavailable``. The peers' arguments are not validated, and nothing is cached; TensorFlow's are
compiled to a graph ("tfp") or by XLA ("tfp xla"). Importing this module imports none of the libraries.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

import lvmfast as lvm

from .covariances import Unavailable, require

__all__ = ["CASES", "PEERS", "DensityCase", "Unavailable"]

CASES = ("exp", "sigmoid", "tanh", "sinh_arcsinh", "banana", "softplus8")
LOC, SCALE, SHIFT, FACTOR, SKEWNESS, TAILWEIGHT = 0.3, 1.2, 0.5, 1.5, 0.3, 1.3


@dataclasses.dataclass
class DensityCase:
    """``n`` draws from a transformed distribution, at which its log density is wanted."""

    name: str
    n: int
    dtype: str

    @functools.cached_property
    def L(self):
        """The scale of the vectors."""
        if self.name == "banana":
            return np.linalg.cholesky(np.array([[1, 0.95], [0.95, 1]]))
        rng = np.random.default_rng(0)
        return np.tril(rng.normal(0, 0.2, (8, 8)), -1) + np.diag(rng.uniform(0.8, 1.6, 8))

    @functools.cached_property
    def deviations(self):
        """Standard deviations of eight numbers."""
        return np.linspace(0.8, 1.2, 8)

    @functools.cached_property
    def distribution(self):
        """Ours."""
        b, d = lvm.bijectors, lvm.distributions
        bijector = {
            "exp": lambda: b.Exp(),
            "sigmoid": lambda: b.Chain([b.Sigmoid(), b.Scale(FACTOR), b.Shift(SHIFT)]),
            "tanh": lambda: b.Tanh(),
            "sinh_arcsinh": lambda: b.SinhArcsinh(SKEWNESS, TAILWEIGHT),
            "banana": lambda: b.Banana(),
            "softplus8": lambda: b.Chain([b.Softplus(), b.ScaleTriL(self.L)]),
        }[self.name]()
        if self.name == "banana":
            base = d.MultivariateNormalTriL(scale_tril=self.L)
        elif self.name == "softplus8":
            base = d.MultivariateNormalDiag(np.full(8, LOC), self.deviations)
        else:
            base = d.Normal(LOC, SCALE)
        return d.TransformedDistribution(base, bijector)

    @functools.cached_property
    def y(self):
        """The points; in float32 none at the ends of an interval, where the peers have no answer."""
        y = self.distribution.sample(self.n, rng=7).astype(self.dtype)
        if self.name in ("sigmoid", "tanh"):
            edge = 1e-5 if self.dtype == "float32" else 1e-12
            y = np.clip(y, edge if self.name == "sigmoid" else edge - 1, 1 - edge)
        return np.ascontiguousarray(y)

    def exact(self, y):
        """The definition, in NumPy and float64."""
        y = y.astype(np.float64)
        normal = lambda x: -0.5 * ((x - LOC) / SCALE) ** 2 - np.log(SCALE) - 0.5 * np.log(2 * np.pi)  # noqa: E731
        if self.name == "exp":
            return normal(np.log(y)) - np.log(y)
        if self.name == "sigmoid":
            u = np.log(y) - np.log1p(-y)
            return normal(u / FACTOR - SHIFT) - np.log(FACTOR) - np.log(y) - np.log1p(-y)
        if self.name == "tanh":
            return normal(np.arctanh(y)) - np.log1p(y) - np.log1p(-y)
        if self.name == "sinh_arcsinh":
            c = 2 / np.sinh(np.arcsinh(2) * TAILWEIGHT)
            v = np.arcsinh(y / c) / TAILWEIGHT - SKEWNESS
            return normal(np.sinh(v)) + np.log(np.cosh(v) / np.hypot(1, y / c) / TAILWEIGHT / c)
        if self.name == "banana":
            x = np.stack([y[:, 0], y[:, 1] + y[:, 0] ** 2 + 1], axis=1)
            z = np.linalg.solve(self.L, x.T)
            return -0.5 * (z * z).sum(axis=0) - np.log(np.diag(self.L)).sum() - np.log(2 * np.pi)
        u = y + np.log(-np.expm1(-y))
        z = (np.linalg.solve(self.L, u.T).T - LOC) / self.deviations
        constant = np.log(self.deviations).sum() + np.log(np.diag(self.L)).sum() + 4 * np.log(2 * np.pi)
        return -0.5 * (z * z).sum(axis=1) - np.log(-np.expm1(-y)).sum(axis=1) - constant

    def assert_answer(self, log_prob) -> None:
        """To what the dtype leaves of a logarithm of a density, at the first ten thousand points."""
        log_prob = np.asarray(log_prob)
        assert log_prob.shape == (self.n,)
        assert log_prob.dtype == self.dtype
        exact = self.exact(self.y[:10_000])
        tolerance = 1e-9 if self.dtype == "float64" else 2e-3
        assert (np.abs(log_prob[:10_000] - exact) / (1 + np.abs(exact))).max() < tolerance

    def ours(self):
        distribution, y = self.distribution, self.y
        return lambda: distribution.log_prob(y)

    def numpy(self):
        """The definition, written down."""
        return lambda: self.exact(self.y).astype(self.dtype)

    def scipy(self):
        """scipy.stats, where it has the distribution."""
        if self.name != "exp":
            raise Unavailable("scipy.stats has no such distribution")
        from scipy.stats import lognorm

        y, scale = self.y, np.exp(LOC)
        return lambda: lognorm.logpdf(y, SCALE, scale=scale).astype(self.dtype)

    def torch(self):
        """torch.distributions, with transforms of our own where it has none."""
        require("torch")
        import torch
        from torch import distributions as d
        from torch.distributions import constraints
        from torch.distributions import transforms as t

        y = torch.from_numpy(self.y)
        number = functools.partial(torch.tensor, dtype=y.dtype)

        class Own(t.Transform):
            bijective = True

            def __init__(self, inverse, log_det, vector):
                super().__init__()
                self.domain = self.codomain = constraints.real_vector if vector else constraints.real
                self._inverse_of, self._log_det_of = inverse, log_det

            def _inverse(self, y):
                return self._inverse_of(y)

            def log_abs_det_jacobian(self, x, y):
                return self._log_det_of(x, y)

        base = d.Normal(number(LOC), number(SCALE), validate_args=False)
        if self.name == "exp":
            parts = [t.ExpTransform()]
        elif self.name == "sigmoid":
            parts = [t.AffineTransform(FACTOR * SHIFT, FACTOR), t.SigmoidTransform()]
        elif self.name == "tanh":
            parts = [t.TanhTransform()]
        elif self.name == "sinh_arcsinh":
            c = float(2 / np.sinh(np.arcsinh(2) * TAILWEIGHT))

            def log_det(x, y):
                v = (torch.asinh(x) + SKEWNESS) * TAILWEIGHT
                log_cosh = v.abs() + torch.log1p(torch.exp(-2 * v.abs())) - np.log(2.0)
                return np.log(c * TAILWEIGHT) + log_cosh - 0.5 * torch.log1p(x * x)

            parts = [Own(lambda y: torch.sinh(torch.asinh(y / c) / TAILWEIGHT - SKEWNESS), log_det, False)]
        elif self.name == "banana":
            base = d.MultivariateNormal(torch.zeros(2, dtype=y.dtype), scale_tril=number(self.L), validate_args=False)

            def inverse(y):
                return torch.stack([y[:, 0], y[:, 1] + y[:, 0] ** 2 + 1], dim=-1)

            parts = [Own(inverse, lambda x, y: torch.zeros(len(x), dtype=x.dtype), True)]
        else:
            normal = d.Normal(torch.full((8,), LOC, dtype=y.dtype), number(self.deviations), validate_args=False)
            base, L = d.Independent(normal, 1, validate_args=False), number(self.L)
            constant = torch.log(torch.diagonal(L)).sum()
            solve = functools.partial(torch.linalg.solve_triangular, L.T.contiguous(), upper=True, left=False)
            affine = Own(solve, lambda x, y: constant.expand(len(x)), True)
            parts = [affine, t.IndependentTransform(t.SoftplusTransform(), 1)]
        distribution = d.TransformedDistribution(base, parts, validate_args=False)

        def run():
            with torch.no_grad():
                return distribution.log_prob(y).numpy()

        return run

    def tfp(self, xla: bool = False):
        """TensorFlow Probability, compiled to a graph, or by XLA."""
        require("tensorflow_probability")
        import tensorflow as tf
        import tensorflow_probability as tfp

        b, d = tfp.bijectors, tfp.distributions
        y = tf.constant(self.y)
        number = functools.partial(tf.constant, dtype=y.dtype)

        class Banana(b.Bijector):
            def __init__(self):
                super().__init__(forward_min_event_ndims=1, is_constant_jacobian=True)

            def _forward(self, x):
                return tf.concat([x[..., :1], x[..., 1:2] - x[..., :1] ** 2 - 1, x[..., 2:]], axis=-1)

            def _inverse(self, y):
                return tf.concat([y[..., :1], y[..., 1:2] + y[..., :1] ** 2 + 1, y[..., 2:]], axis=-1)

            def _inverse_log_det_jacobian(self, y):
                return tf.zeros((), y.dtype)

        base = d.Normal(number(LOC), number(SCALE))
        if self.name == "exp":
            bijector = b.Exp()
        elif self.name == "sigmoid":
            bijector = b.Chain([b.Sigmoid(), b.Scale(number(FACTOR)), b.Shift(number(SHIFT))])
        elif self.name == "tanh":
            bijector = b.Tanh()
        elif self.name == "sinh_arcsinh":
            bijector = b.SinhArcsinh(number(SKEWNESS), number(TAILWEIGHT))
        elif self.name == "banana":
            base, bijector = d.MultivariateNormalTriL(scale_tril=number(self.L)), Banana()
        else:
            base = d.MultivariateNormalDiag(number(np.full(8, LOC)), number(self.deviations))
            bijector = b.Chain([b.Softplus(), b.ScaleMatvecTriL(number(self.L))])
        distribution = d.TransformedDistribution(base, bijector)
        log_prob = tf.function(distribution.log_prob, jit_compile=xla, autograph=False)
        return lambda: log_prob(y).numpy()


PEERS = {
    "torch": DensityCase.torch,
    "tfp": DensityCase.tfp,
    "tfp xla": functools.partial(DensityCase.tfp, xla=True),
}
