"""Posteriors after simulated outcomes, which share one factor."""

from __future__ import annotations

import numpy as np

from lvmfast._backend import like, to_numpy
from lvmfast._validation import as_matrix, check_columns
from lvmfast.linalg import cholesky_solve
from lvmfast.models._gpr_posterior import GprPosterior

__all__ = ["Fantasies"]


class Fantasies:
    """The posterior after each of s simulated outcomes; see :meth:`GPR.fantasize`."""

    feature_names = None

    def __init__(self, posterior, X, Y, noise, dtype, single_output: bool):
        self._dtype, self._single, self._s = dtype, single_output, len(Y)
        self._d = Y.shape[2]
        n = len(posterior.X)
        joint = posterior.append(X, np.ascontiguousarray(Y[0]), noise)
        Y_all = np.concatenate([np.repeat(posterior.Y[None], self._s, axis=0), Y], axis=1)
        residual = np.moveaxis(Y_all - posterior.mean(joint.X, self._d), 0, 1).reshape(n + len(X), -1)
        alpha = cholesky_solve(joint.L, joint.there(np.ascontiguousarray(residual)))
        self._posterior = GprPosterior(
            joint.kernel, joint.mean, joint.X, joint.Y, joint.noise, joint.jitter, joint.L, alpha, joint.device
        )

    def __len__(self) -> int:
        return self._s

    def predict(self, X, return_std=False):
        """Posterior means at X (m, q): (s, m) or (s, m, d); with ``return_std`` also the std (m,) that all share."""
        check_columns(X, self.feature_names)
        given = X
        X = as_matrix(to_numpy(X), "X", columns=self._posterior.X.shape[1], dtype=np.float64)
        posterior = self._posterior
        means = to_numpy(posterior.predictor_now().mean(posterior.there(X))).reshape(len(X), self._s, self._d)
        means = np.moveaxis(means, 1, 0) + posterior.mean(X, self._d)
        means = means.astype(self._dtype, copy=False)
        means = means[:, :, 0] if self._single else means
        means = like(means, given)
        if not return_std:
            return means
        std = np.sqrt(to_numpy(posterior.variance_at(X))).astype(self._dtype, copy=False)
        return means, like(std, given)
