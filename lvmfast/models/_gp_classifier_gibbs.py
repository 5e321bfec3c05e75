"""Gibbs chains of Gaussian process classification: how many iterations a compiled call runs, and what is kept."""

from __future__ import annotations

import time

import numpy as np

from lvmfast import _backend
from lvmfast.linalg._cholesky import raise_factorisation_error

SLICE = 0.1  # seconds of a compiled call, about: between two there is time for Ctrl-C and the progress bar

__all__ = ["Chains"]


class Chains:
    """Chains for the prior ``f ~ N(m, K)``, ``K = L L^T``.

    Attributes
    ----------
    t : int
        Iterations done by every chain.
    f, omega : arrays of shape (chains, n)
        Where they stand, on the device.
    draws : array of shape (chains, n_samples, n)
        What is kept of iterations ``burn_in + thin``, ``burn_in + 2 thin``, ...
    """

    def __init__(self, K, L, mean: float, kappa, seeds, plan, dtype, device: str):
        self.burn_in, self.thin, self.n_samples = plan
        self.device, self.seeds = device, np.asarray(seeds, dtype=np.uint64)
        self.module = _backend.module_on(device)
        self.xp = xp = _backend.namespace_on(device)
        self.K, self.L = (xp.ascontiguousarray(a, dtype=dtype) for a in (K, L))
        chains, n = len(self.seeds), len(kappa)
        rows = np.ascontiguousarray(np.broadcast_to(kappa, (chains, n)), dtype)
        self.kappa = _backend.to_device(rows, device)
        kind = self.module.GpGibbs64 if dtype == np.float64 else self.module.GpGibbs32
        self._compiled = kind(self.K, self.L, mean)
        self.f, self.omega = xp.zeros((chains, n), dtype), xp.zeros((chains, n), dtype)
        self.draws = xp.empty((chains, self.n_samples, n), dtype)
        self.t = 0
        with self._threads():
            self._compiled.start(self.seeds, self.f)

    def restore(self, state: dict) -> None:
        """Go on from what :meth:`state` gave, of these seeds."""
        put = lambda a: _backend.to_device(np.array(a), self.device)  # noqa: E731
        self.t, self.f, self.omega = int(state["t"]), put(state["f"]), put(state["omega"])
        kept = min(state["draws"].shape[1], self.n_samples)
        self.draws[:, :kept] = put(state["draws"][:, :kept])

    @property
    def n_iterations(self) -> int:
        """All that each chain is to do."""
        return self.burn_in + self.thin * self.n_samples

    @property
    def kept(self) -> int:
        """Draws so far, per chain."""
        return min(self.n_samples, max(0, self.t - self.burn_in) // self.thin)

    def state(self) -> dict:
        """Arrays of NumPy; the draws so far among them."""
        arrays = {"f": self.f, "omega": self.omega, "draws": self.draws[:, : self.kept]}
        return {"t": self.t, "seeds": self.seeds, **{name: _backend.to_numpy(a) for name, a in arrays.items()}}

    def run(self, report, check_interrupt) -> str | None:
        """To the end; "stopped" where ``report(t)`` is true, "interrupted" by Ctrl-C."""
        count = 1
        try:
            while self.t < self.n_iterations:
                check_interrupt()
                begun = time.perf_counter()
                self.advance(min(count, self.n_iterations - self.t))
                elapsed = time.perf_counter() - begun
                count = max(1, min(2 * count, int(count * SLICE / max(elapsed, 1e-9))))
                if report(self.t):
                    return "stopped"
        except KeyboardInterrupt:
            return "interrupted"
        return None

    def advance(self, count: int) -> None:
        """``count`` iterations of every chain, in one compiled call."""
        f, omega = self.f.copy(), self.omega.copy()
        with self._threads():
            code, index = self._compiled.run(
                *(self.seeds, self.t + 1, count, self.burn_in, self.thin, self.kappa, f, omega, self.draws)
            )
        if code:
            B = _backend.to_numpy(self.K) + np.eye(self.K.shape[0])
            raise_factorisation_error(B, code, index, 0.0, "I + diag(omega)^1/2 k(X, X) diag(omega)^1/2")
        self.f, self.omega, self.t = f, omega, self.t + count

    def _threads(self):
        """Several chains share our threads, each with one of the BLAS: no number of threads changes a draw then."""
        return _backend.blas_threads(1 if len(self.seeds) > 1 else self.K.shape[0])
