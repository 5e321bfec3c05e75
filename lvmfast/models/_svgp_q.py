"""q(u) in the coordinates of a fit, and in those of predictions.

A fit holds ``mu`` and S of ``u - mean(Z)``, or with whitening of w, ``u - mean(Z) = L w``, as ``(S^-1 mu, S^-1)`` for
natural gradients, and for Adam as ``(mu, W)`` with ``S = W W^T``, W lower triangular; of a diagonal S the diagonal of
S^-1 or the standard deviations. Predictions take gamma and root: ``w ~ N(gamma, root root^T)``.
"""

from __future__ import annotations

import numpy as np

from lvmfast.linalg import cholesky, solve_triangular

__all__ = ["from_precision", "to_whitened"]


def to_whitened(first, second, L, whitened: bool, diagonal: bool, natural: bool) -> tuple[np.ndarray, np.ndarray]:
    """gamma (m, P) and root (P, m, m) of P latents from ``first`` (P, m) and ``second`` (P, m, m) or (P, m).

    L (m, m) is the factor of k(Z, Z). The arguments are left as they are.
    """
    means, roots = [], []
    for a, B in zip(first, second, strict=True):
        if natural and not whitened:  # the precision of w = L^-1 u, which is further from singular than that of u
            a, B = L.T @ a, (L.T * B if diagonal else L.T @ B) @ L
            B = 0.5 * (B + B.T)
        if natural and B.ndim == 1:
            mean, root = a / B, np.diag(1.0 / np.sqrt(B))
        elif natural:
            R = cholesky(B, jitter=0.0)
            root = solve_triangular(R, np.eye(len(R))).T
            mean = root @ (root.T @ a)
        else:
            mean, root = a, np.diag(B) if diagonal else np.tril(B)
            if not whitened:
                mean, root = solve_triangular(L, mean), solve_triangular(L, np.ascontiguousarray(root))
        means.append(mean)
        roots.append(root)
    return np.stack(means, axis=1), np.stack(roots)


def from_precision(gamma, precision, L, whitened: bool, diagonal: bool, natural: bool) -> tuple[np.ndarray, np.ndarray]:
    """``first`` and ``second`` of ``w ~ N(gamma_p, precision_p^-1)``: gamma (m, P), precision (P, m, m).

    Of a diagonal S: the one with the diagonal of the precision, which of all is nearest to q in KL(S || q).
    """
    first, second = [], []
    for mean, B in zip(gamma.T, precision, strict=True):
        if not whitened:
            mean, B = L @ mean, solve_triangular(L, solve_triangular(L, B, trans=True).T.copy(), trans=True)
            B = 0.5 * (B + B.T)
        if diagonal:
            B = np.diagonal(B).copy()
            first.append(B * mean if natural else mean)
            second.append(B if natural else 1.0 / np.sqrt(B))
        elif natural:
            first.append(B @ mean)
            second.append(B)
        else:
            half = solve_triangular(cholesky(B, jitter=0.0), np.eye(len(B)))
            first.append(mean)
            second.append(cholesky(half.T @ half, jitter=0.0))
    return np.stack(first), np.stack(second)
