"""Density ratios by kernels: uLSIF, RuLSIF and KLIEP of the package densratio, and lvmfast's.

``PEERS["densratio"](case)`` returns ``run``, which selects among the case's candidates and fits, and gives the peer's
result, or raises ``Unavailable``. Both have the same rows as centres, the same lengthscales, in the units of the data,
and the same regularisations. densratio's scores for RuLSIF leave out rows of q only as if alpha were 0, and its KLIEP
ends where a step of a fixed length no longer helps, often far from the maximum; see ``assert_same_answer``.
"""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np

from lvmfast.models._ratio_kernels_kliep import fit_kliep
from lvmfast.models._ratio_kernels_ulsif import fit_ulsif

from .covariances import Unavailable

__all__ = ["METHODS", "PEERS", "RatioCase", "Unavailable", "assert_same_answer", "ours"]

METHODS = ("ulsif", "rulsif", "kliep")
ALPHA = 0.1
GRID = np.logspace(-3, 1, 9)  # densratio's own, of both


@dataclasses.dataclass
class RatioCase:
    """Samples of p = N(e, I) and q = N(0, s^2 I), candidates, and the rows of p that are centres."""

    method: str
    X_p: np.ndarray
    X_q: np.ndarray
    lengthscales: np.ndarray
    regularizations: np.ndarray
    rows: np.ndarray

    @classmethod
    def random(cls, method: str, n: int, d: int, n_centers: int = 100) -> RatioCase:
        """s = 2 for d = 1, as in the reference, else 1.3; the lengthscales are nine about sqrt(d)."""
        rng = np.random.default_rng(0)
        X_p, X_q = rng.standard_normal((n, d)), (2 if d == 1 else 1.3) * rng.standard_normal((n, d))
        X_p[:, 0] += 1
        rows = np.sort(rng.choice(n, min(n, n_centers), replace=False))
        return cls(method, X_p, X_q, np.sqrt(d) * np.logspace(-0.6, 0.6, 9), GRID, rows)

    def fixed(self) -> RatioCase:
        """One candidate: the algorithms are then the same."""
        return dataclasses.replace(self, lengthscales=self.lengthscales[4:5], regularizations=np.array([0.1]))


def ours(case: RatioCase):
    """A callable that fits."""
    options = {"centers": case.X_p[case.rows], "lengthscales": case.lengthscales, "standardize": False, "rng": 0}
    if case.method == "kliep":
        return lambda: fit_kliep(case.X_p, case.X_q, **options)
    options |= {"alpha": ALPHA if case.method == "rulsif" else 0.0, "regularizations": case.regularizations}
    return lambda: fit_ulsif(case.X_p, case.X_q, **options)


def densratio(case: RatioCase):
    """densratio's, with the case's rows in place of its random centres."""
    try:
        import densratio as package
        import densratio.KLIEP as kliep
        import densratio.RuLSIF as rulsif
    except ImportError as error:
        raise Unavailable(f"densratio does not import: {error}") from None
    import sys

    kliep, rulsif = sys.modules["densratio.KLIEP"], sys.modules["densratio.RuLSIF"]
    options = {"kernel_num": len(case.rows), "verbose": False}
    sigma = case.lengthscales if len(case.lengthscales) > 1 else float(case.lengthscales[0])
    functions = {"ulsif": package.uLSIF, "rulsif": package.RuLSIF, "kliep": package.KLIEP}
    if case.method == "kliep":
        options |= {"sigma": sigma, "fold": 5}
    else:
        options |= {"sigma_range": list(case.lengthscales), "lambda_range": list(case.regularizations)}
        options |= {"alpha": ALPHA} if case.method == "rulsif" else {}

    def run():
        with replaced((kliep, rulsif), "choice", lambda n, size, replace: case.rows):
            return functions[case.method](case.X_p, case.X_q, **options)

    return run


@contextlib.contextmanager
def replaced(modules, name: str, value):
    """``module.name = value`` within."""
    before = [getattr(module, name) for module in modules]
    try:
        for module in modules:
            setattr(module, name, value)
        yield
    finally:
        for module, function in zip(modules, before, strict=True):
            setattr(module, name, function)


def assert_same_answer(case: RatioCase, mine, theirs) -> None:
    """Ratios at X_q agree where there is one candidate; KLIEP's likelihood is at least theirs, which is not optimal."""
    one, two = mine(case.X_q), np.ravel(theirs.compute_density_ratio(case.X_q))
    if case.method != "kliep":
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-8 * np.abs(two).max())
        return
    reached, other = (np.mean(np.log(w)) for w in (mine(case.X_p), np.ravel(theirs.compute_density_ratio(case.X_p))))
    assert reached >= other - 1e-9, (reached, other)


PEERS = {"densratio": densratio}
