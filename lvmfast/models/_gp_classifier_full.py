"""The variational bound of Gaussian process classification with all rows, and what a fit asks of it."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast.exceptions import NonFiniteError
from lvmfast.kernels._compiled import FreeParameters
from lvmfast.linalg._cholesky import raise_factorisation_error
from lvmfast.models._gp_classifier_posterior import FullPosterior, inverse_theta

REACH = 10.0  # parameters without bounds stay within a factor exp(10) of where a fit starts
INNER = 200  # the most updates of q at one theta; it takes about ten
MEMORY = 6  # updates that an extrapolation looks back on

__all__ = ["FullProblem", "Problem", "ascend"]


def ascend(update, c: np.ndarray, most: int, tolerance: float):
    """The fixed point of ``(bound, following) = update(c)``, which raises the bound, with Anderson's acceleration.

    Extrapolates log c; where that lowers the bound, the plain update from the best c takes its place. Ends where the
    bound gains no more than ``tolerance``.

    Returns
    -------
    c : array of shape (n,)
        The best, at which ``update`` was called last.
    bound : float

    References
    ----------
    H. Walker, P. Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49, 2011.
    """
    x = np.log(np.maximum(c, 1e-12))
    bound, following = update(np.exp(x))
    image, points, images, last = np.log(np.maximum(following, 1e-12)), [], [], x
    for _ in range(most - 1):
        points, images = [*points, x][-MEMORY:], [*images, image][-MEMORY:]
        trial = _extrapolated(points, images)
        value, following = update(np.exp(trial))
        if not value >= bound and len(points) > 1:
            points, images, trial = [], [], image
            value, following = update(np.exp(trial))
        last = trial
        if not value >= bound:  # by rounding
            break
        gain, bound, x = value - bound, value, trial
        image = np.log(np.maximum(following, 1e-12))
        if gain <= max(tolerance, 4e-16 * abs(bound)):
            break
    if last is not x:
        bound, _ = update(np.exp(x))
    return np.exp(x), bound


def _extrapolated(points, images) -> np.ndarray:
    """Images combined as makes their distances to the points least."""
    if len(points) == 1:
        return images[0]
    residuals = np.array(images) - np.array(points)
    weights = np.linalg.lstsq((residuals[1:] - residuals[:-1]).T, residuals[-1], rcond=1e-10)[0]
    return images[-1] - weights @ np.diff(np.array(images), axis=0)


class Problem:
    """``theta`` to the greatest bound over q, and its gradient, which by the envelope theorem is that with q held.

    q is kept from one theta to the next (``state``): it is where the next ascent begins.
    """

    def __init__(self, kernel, X, kappa, mean: float, tol: float, device: str, check_interrupt=None):
        self.kernel, self.X, self.kappa, self.mean = kernel.copy(), X, kappa, mean
        self.tol, self.device, self._check_interrupt = tol, device, check_interrupt
        self.parameters = FreeParameters(self.kernel.compiled(X.shape[1]), self.kernel)
        self.module = _backend.module_on(device)
        self.tree = self.parameters.compiled.tree_for(self.module)
        self.at: dict | None = None  # the state of the last bound that sweep gave

    @property
    def size(self) -> int:
        """Entries of theta."""
        return self.parameters.size

    def initial(self) -> np.ndarray:
        """Theta of the present parameters."""
        return self.parameters.initial()

    def bounds(self, theta: np.ndarray) -> np.ndarray:
        """Bounds of theta, shape (p, 2); finite ones around ``theta`` where there are none."""
        bounds = np.full((self.size, 2), [-np.inf, np.inf])
        bounds[: self.parameters.size] = self.parameters.bounds()
        reach = np.stack([theta - REACH, theta + REACH], axis=1)
        return np.where(np.isfinite(bounds), bounds, reach)

    def kernel_at(self, theta: np.ndarray):
        """A copy of the kernel with the parameters of theta."""
        self.parameters.write(theta[: self.parameters.size])
        return self.kernel.copy()

    def prior(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density of the kernel's priors and its gradient by theta."""
        u = theta[: self.parameters.size]
        value, gradient = self.parameters.log_prior(self.parameters.vector(u))
        whole = np.zeros(self.size)
        whole[: len(u)] = self.parameters.pull(u, gradient)
        return value, whole

    def loss(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus (bound + log prior) per row, and its gradient."""
        self.interrupt()
        value, gradient = self.best(theta)
        prior, d_prior = self.prior(theta)
        return -(value + prior) / len(self.X), -(gradient + d_prior) / len(self.X)

    def bound(self, theta: np.ndarray, loss: float) -> float:
        """The bound in nats where the loss is ``loss``."""
        return -loss * len(self.X) - self.prior(theta)[0]

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._check_interrupt is not None:
            self._check_interrupt()


class FullProblem(Problem):
    """q(f) of all rows: that of the bound's pseudo-observations, a function of theta and c."""

    def __init__(self, kernel, X, kappa, mean, tol, device, check_interrupt=None, dtype=np.float64):
        super().__init__(kernel, X, kappa, mean, tol, device, check_interrupt)
        compiled = self.module.GpVariational64 if dtype == np.float64 else self.module.GpVariational32
        self._compiled = compiled(np.ascontiguousarray(X, dtype), np.ascontiguousarray(kappa, dtype), float(mean))
        self.c = np.sqrt(self.kernel.diag(X) + mean * mean)  # that of the prior

    @property
    def state(self) -> dict:
        """Where the next ascent begins."""
        return {"c": self.c.copy()}

    @state.setter
    def state(self, state) -> None:
        self.c = np.array(state["c"])

    def best(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The bound at the best c, and its gradient."""

        def update(c):
            self.interrupt()
            value, _, following = self._evaluate(theta, c, False)
            return value, following

        c, _ = ascend(update, self.c, INNER, self.tol * len(self.X))
        value, d_vector, _ = self._evaluate(theta, c, True)
        self.c = c
        return value, self.parameters.pull(theta, d_vector)

    def sweep(self, theta: np.ndarray) -> float:
        """The bound at c, which then moves on."""
        self.interrupt()
        value, _, following = self._evaluate(theta, self.c, False)
        self.at, self.c = self.state, following
        return value

    def settle(self) -> None:
        """Back to the q of the last bound that :meth:`sweep` gave."""
        self.state = self.at

    def _evaluate(self, theta, c, gradient):
        vector = self.parameters.vector(theta)
        code, pivot, value, following, d_vector = self._compiled.evaluate(self.tree, vector, c, gradient)
        if code:
            self._raise(theta, c, code, pivot)
        return value, d_vector, following

    def _raise(self, theta, c, code, pivot):
        if not np.isfinite(self.parameters.vector(theta)).all():
            raise NonFiniteError("the kernel's parameters ran away; set bounds or a prior")
        C = self.kernel_at(theta)(self.X)
        C[np.diag_indices_from(C)] += inverse_theta(c)
        raise_factorisation_error(C, code, pivot, 0.0, "the covariance k(X, X) + diag(1 / theta)")

    def posterior(self, theta: np.ndarray) -> FullPosterior:
        """At theta and c."""
        return FullPosterior(self.kernel_at(theta), self.mean, self.X, self.kappa, self.c, self.device)
