"""uLSIF and RuLSIF: density ratios by least squares, with leave-one-out scores of all candidates."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._validation import check_rng
from lvmfast.kernels import RBF
from lvmfast.models._ratio_kernels import RatioExpansion, candidates, check_alpha, chunks, problem

PAIRS = 4096  # left out in turn, at most
REGULARIZATIONS = np.logspace(-3, 1, 9)
CHUNK = 512  # rows at a time: the temporaries of 100 centres stay in the second cache
HELD = 2**25  # kernel values (256 MiB): more are made again for the second pass


def fit_ulsif(
    X_p,
    X_q,
    *,
    alpha: float = 0.0,
    n_centers: int = 100,
    lengthscales=None,
    regularizations=None,
    rng=None,
    centers=None,
    standardize: bool = True,
) -> RatioExpansion:
    r"""``w = max(0, (H + lambda I)^-1 h)``, ``H = alpha mean_p k k^T + (1 - alpha) mean_q k k^T``, ``h = mean_p k``.

    The minimum over coefficients of ``alpha/2 E_p w^2 + (1 - alpha)/2 E_q w^2 - E_p w + lambda/2 |theta|^2``, negative
    ones then set to 0; w estimates ``p / (alpha p + (1 - alpha) q)``, for alpha = 0 the ratio p / q (uLSIF), for
    alpha > 0 a bounded relative ratio (RuLSIF).

    Lengthscale and lambda have the least leave-one-out loss, a row of p and a row of q left out at a time (of larger
    samples, random parts: 4,096 pairs at most), exactly as by refits to all other rows. Leaving out is a downdate of
    ``H + lambda I`` of rank 1 (alpha = 0) or 2; one eigendecomposition per lengthscale serves all lambda. (Without
    setting negative coefficients to 0 the scores would need no coefficients, but would choose small lambda, whose
    coefficients suffer most by it.)

    Parameters
    ----------
    X_p, X_q : array of shape (n_p, d), (n_q, d)
        At least two rows each.
    alpha : float, default=0.0
        From 0 to below 1.
    n_centers : int, default=100
        Random rows of X_p; all if it has fewer.
    lengthscales : float or array, optional
        Candidates, in units of the features' scale; default nine, from 0.06 to 4 times the median distance between
        points of both samples.
    regularizations : float or array, optional
        Candidates for lambda; default nine from 1e-3 to 10. The kernel is 1 at distance 0.
    rng : None, int or numpy.random.Generator
        For centres, pairs and median.
    centers : array of shape (b, d), optional
        Instead of random rows.
    standardize : bool, default=True
        Divide features by their standard deviations over both samples; otherwise lengthscales are in the units of
        the data.

    Returns
    -------
    ratio : RatioExpansion

    Raises
    ------
    ValueError, TypeError
        If the samples differ in width, are too small or not finite, or an option is out of its range.

    References
    ----------
    T. Kanamori, S. Hido, M. Sugiyama (2009), A least-squares approach to direct importance estimation, JMLR 10, sec. 3
    and fig. 2; M. Yamada, T. Suzuki, T. Kanamori, H. Hachiya, M. Sugiyama (2013), Relative density-ratio estimation
    for robust distribution comparison, Neural Computation 25, sec. 2.
    """
    alpha = check_alpha(alpha)
    lambdas = REGULARIZATIONS.copy() if regularizations is None else candidates(regularizations, "regularizations")
    rng = check_rng(rng)
    data = problem(
        X_p, X_q, n_centers=n_centers, centers=centers, lengthscales=lengthscales, standardize=standardize, rng=rng
    )
    xp, sizes = data.xp, (len(data.lengthscales), len(lambdas))
    scores = np.full(sizes, np.nan)
    best, moments = (0, 0), None
    choose = sizes != (1, 1)
    if choose:
        n = min(len(data.X_p), len(data.X_q), PAIRS)
        for name in ("X_p", "X_q"):  # pairs are the first rows
            X = getattr(data, name)
            if len(X) > n:
                setattr(data, name, X[xp.asarray(rng.permutation(len(X)))])
    with _backend.blas_threads(len(data.centers)), np.errstate(under="ignore"):
        for row, lengthscale in enumerate(data.lengthscales):
            samples = Samples(RBF(1.0, float(lengthscale)), data.centers, data.X_p, data.X_q)
            if choose:
                scores[row] = leave_one_out(samples, lambdas, alpha)
                column = int(np.argmin(scores[row]))
                if not scores[row, column] < (np.inf if moments is None else scores[best]):
                    continue
                best = row, column
            moments = samples.second_p, samples.second_q, samples.mean_p
        if moments is None:
            best, moments = (0, 0), (samples.second_p, samples.second_q, samples.mean_p)
        H = alpha * moments[0] + (1 - alpha) * moments[1]
        H = H + float(lambdas[best[1]]) * xp.eye(len(H))
        theta = xp.maximum(xp.linalg.solve(H, moments[2]), 0)
    return data.expansion(theta, best, scores, "rulsif" if alpha else "ulsif", alpha, lambdas)


class Samples:
    """Kernel values of both samples with the centres, and their means and second moments."""

    def __init__(self, kernel, centers, X_p, X_q):
        self.kernel, self.centers, self.X = kernel, centers, (X_p, X_q)
        self.held: dict = {}
        self.xp = _backend.namespace(X_p)
        b = len(centers)
        self.chunk = CHUNK if self.xp is np else 2**16
        hold = (len(X_p) + len(X_q)) * b <= HELD
        self.mean_p, seconds = 0, []
        for which, X in enumerate(self.X):
            total = self.xp.zeros((b, b))
            for rows in chunks(len(X), self.chunk):
                K = self.values(which, rows)
                if hold:
                    self.held[which, rows.start] = K
                total += K.T @ K
                if which == 0:
                    self.mean_p = self.mean_p + K.sum(axis=0) / len(X)
            seconds.append(total / len(X))
        self.second_p, self.second_q = seconds

    def values(self, which: int, rows):
        """``k(x, c)`` for a chunk of the rows of p (0) or q (1)."""
        K = self.held.get((which, rows.start))
        return self.kernel(self.X[which][rows], self.centers) if K is None else K[: rows.stop - rows.start]


def leave_one_out(samples: Samples, lambdas, alpha: float) -> np.ndarray:
    r"""``mean_i alpha/2 w_i(x_i)^2 + (1 - alpha)/2 w_i(y_i)^2 - w_i(x_i)``, w_i without x_i of p and y_i of q.

    With k and g the kernel values of y_i and x_i, ``beta = (1 - alpha)/(n_q - 1)``, ``gamma = alpha/(n_p - 1)``,
    ``B = gamma n_p H_p + beta n_q H_q + lambda I`` and ``r = (n_p h - g)/(n_p - 1)``, the coefficients without the pair
    are ``theta = B^-1 (r + beta (k^T theta) k + gamma (g^T theta) g)``. Products with k and g give two equations for
    the numbers in brackets; all is diagonal in the eigenvectors of B - lambda I. Then negative coefficients are 0.
    """
    xp = samples.xp
    n_p, n_q = map(len, samples.X)
    n = min(n_p, n_q, PAIRS)
    beta, gamma = (1 - alpha) / (n_q - 1), alpha / (n_p - 1)
    eigenvalues, V = xp.linalg.eigh(gamma * n_p * samples.second_p + beta * n_q * samples.second_q)
    W = 1 / (xp.maximum(eigenvalues, 0) + xp.asarray(lambdas)[:, None])
    h = samples.mean_p @ V
    Wh = W * h
    V_transposed = xp.ascontiguousarray(V.T)
    scores = np.zeros(len(lambdas))
    for rows in chunks(n, samples.chunk):
        g, k = (samples.values(which, rows) for which in (0, 1))
        G, K = g @ V, k @ V
        R = (n_p * h - G) / (n_p - 1)
        gr = (n_p * (Wh @ G.T) - W @ (G * G).T) / (n_p - 1)
        kg, kk = W @ (K * G).T, W @ (K * K).T
        kr = (n_p * (Wh @ K.T) - kg) / (n_p - 1)
        if alpha == 0:
            of_k, of_g = beta * kr / (1 - beta * kk), None
        else:
            gg = W @ (G * G).T
            a, d = 1 - beta * kk, 1 - gamma * gg
            determinant = a * d - beta * gamma * kg * kg
            of_k = beta * (d * kr + gamma * kg * gr) / determinant
            of_g = gamma * (beta * kg * kr + a * gr) / determinant
        for row in range(len(lambdas)):
            right = K * of_k[row][:, None]
            right += R
            if of_g is not None:
                right += G * of_g[row][:, None]
            right *= W[row]
            theta = right @ V_transposed
            xp.maximum(theta, 0, out=theta)
            w_q, w_p = xp.einsum("ij,ij->i", theta, k), xp.einsum("ij,ij->i", theta, g)
            loss = 0.5 * (alpha * (w_p @ w_p) + (1 - alpha) * (w_q @ w_q)) - w_p.sum()
            scores[row] += float(loss)
    return scores / n
