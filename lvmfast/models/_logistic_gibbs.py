"""Chains of a Gibbs sampler in slices: progress, Ctrl-C and resumption do not change a bit of what is drawn."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from lvmfast import _backend, random
from lvmfast.exceptions import NotPositiveDefiniteError
from lvmfast.models._logistic_data import Data, Prior

SLICE = 0.05  # seconds between two looks at the keyboard


@dataclasses.dataclass
class ChainState:
    """Where the chains are; with data and prior it determines every state that follows.

    Attributes
    ----------
    keys : array of shape (chains, 2), uint64
        Of the Pólya-gamma draws and of the normal draws of each chain.
    beta : array of shape (chains, p), float64
    iteration : int
        Iterations so far.
    """

    keys: np.ndarray
    beta: np.ndarray
    iteration: int = 0

    @classmethod
    def start(cls, data: Data, prior: Prior, n_chains: int, rng) -> ChainState:
        """Chain c is the same whatever the number of chains.

        ``beta = mean + z / sqrt(diag(S) + p mean(phi^2))``: from the prior where it is narrow, and where it is wide
        such that ``f`` varies by about 1.
        """
        words = random.bits(size=(n_chains, 3), rng=rng)
        p = len(prior.mean)
        normal = np.stack([random.normal(size=p, rng=int(key)) for key in words[:, 2]])
        square = np.einsum("ij,ij->j", data.design, data.design, dtype=np.float64) / len(data.design)
        spread = np.diag(prior.precision) + p * square
        beta = prior.mean + normal / np.sqrt(np.where(spread > 0, spread, 1.0))
        return cls(np.ascontiguousarray(words[:, :2]), beta)

    def copy(self) -> ChainState:
        return ChainState(self.keys.copy(), self.beta.copy(), self.iteration)


class GibbsSampler:
    """``omega_i ~ PG(b_i, phi_i . beta)``, ``beta ~ N(P^-1 h, P^-1)``, iteration after iteration, for all chains.

    Parameters
    ----------
    data, prior
    state : ChainState
        Moves on with every call.
    device : {"cpu", "cuda"}
    """

    def __init__(self, data: Data, prior: Prior, state: ChainState, device: str):
        self.data, self.state, self.device = data, state, device
        dtype = data.design.dtype
        design = _backend.to_device(data.design, device)
        b = _backend.to_device(data.period.astype(dtype), device)
        linear = data.design.astype(np.float64).T @ data.kappa + prior.precision @ prior.mean
        module = _backend.module_on(device, design)
        kind = module.LogisticGibbs64 if dtype == np.float64 else module.LogisticGibbs32
        self.compiled = kind(design, b, linear, np.ascontiguousarray(prior.precision), state.keys)

    @property
    def dtype(self) -> np.dtype:
        return self.data.design.dtype

    def run(self, iterations: int, thin: int = 0, first: int = 0, draws=None, omega=None) -> None:
        """``iterations`` more; every ``thin``-th state goes to places ``first``, ... of ``draws`` and ``omega``.

        Parameters
        ----------
        draws : array of shape (chains, capacity, p), optional
            Of NumPy, of the data's dtype.
        omega : array of shape (chains, capacity, n), optional
            On the device.

        Raises
        ------
        NotPositiveDefiniteError
            If the posterior precision given omega has no factor; the state is as it was.
        """
        _backend.module_on(self.device, *([omega] if omega is not None else []))
        with _backend.blas_threads(1):  # the chains and parts of the data share the threads
            chain, iteration, pivot = self.compiled.run(
                self.state.beta, self.state.iteration, iterations, thin, first, draws, omega
            )
        if chain >= 0:
            raise NotPositiveDefiniteError(
                f"the posterior precision of chain {chain} is not positive definite at iteration "
                f"{self.state.iteration + iteration} (pivot {pivot}): columns of very different scale, columns that "
                "depend on one another without a prior, or float32; scale the features, raise prior_precision or use "
                "float64",
                pivot=pivot,
                index=(chain,),
            )
        self.state.iteration += iterations

    def burn_in(self, iterations: int, check: Callable[[], None], report: Callable[[int], None]) -> None:
        """``iterations`` of which nothing is kept."""
        for _, count in _slices(iterations, None):
            self.run(count)
            report(count)
            check()

    def sample(self, draws, omega, done: int, thin: int, check, report, one_by_one: bool) -> int:
        """Fill places ``done``, ... of ``draws``; the number that is filled in the end.

        ``report(iterations, filled)`` after every slice, of one draw with ``one_by_one``; a true answer ends it, as
        does a KeyboardInterrupt from ``check()``, which comes after ``report`` was told.
        """
        for start, count in _slices(draws.shape[1] - done, 1 if one_by_one else None):
            self.run(count * thin, thin, done + start, draws, omega)
            if report(count * thin, done + start + count):
                return done + start + count
            check()
        return draws.shape[1]


def _slices(total: int, most: int | None):
    """``(start, count)`` that cover ``total``, each about ``SLICE`` seconds of what the caller does between them."""
    start, count = 0, 1
    while start < total:
        count = min(count, total - start)
        begun = time.perf_counter()
        yield start, count
        elapsed = max(time.perf_counter() - begun, 1e-9)
        start += count
        count = most or max(1, int(min(count * SLICE / elapsed, 16 * count)))
