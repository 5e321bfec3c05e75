"""f-divergences ``D_f[p | q] = E_q f(p / q)``: the convex functions, estimates with standard errors, exact values.

``monte_carlo_f_divergence(kl_forward, p, q, n=5000, rng=0)`` is a number with its ``standard_error``;
``divergence(pearson_chi2, p, q)`` is exact, in closed form or by quadrature; ``variational_bound`` needs samples only.
Every function that takes ``f`` takes one of the objects here, an :class:`FDivergence` made from functions, or a name.
"""

from lvmfast.divergences._bounds import Overlap, f_divergence_from_log_ratio, overlap, variational_bound
from lvmfast.divergences._estimate import Estimate
from lvmfast.divergences._exact import divergence
from lvmfast.divergences._functions import FDivergence, LossShape
from lvmfast.divergences._monte_carlo import monte_carlo_f_divergence
from lvmfast.divergences._named import (
    alpha_divergence,
    as_f_divergence,
    from_spec,
    gan,
    jensen_shannon,
    js,
    kl_forward,
    kl_reverse,
    neyman_chi2,
    pearson_chi2,
    squared_hellinger,
    total_variation,
)

__all__ = [
    "Estimate",
    "FDivergence",
    "LossShape",
    "Overlap",
    "alpha_divergence",
    "as_f_divergence",
    "divergence",
    "f_divergence_from_log_ratio",
    "from_spec",
    "gan",
    "jensen_shannon",
    "js",
    "kl_forward",
    "kl_reverse",
    "monte_carlo_f_divergence",
    "neyman_chi2",
    "overlap",
    "pearson_chi2",
    "squared_hellinger",
    "total_variation",
    "variational_bound",
]


def __getattr__(name: str):
    """``kl_divergence`` is that of :mod:`lvmfast.distributions`."""
    if name == "kl_divergence":
        from lvmfast import distributions

        if hasattr(distributions, name):
            return distributions.kl_divergence
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
