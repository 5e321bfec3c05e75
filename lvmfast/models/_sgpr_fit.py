"""What a fit of sparse regression tells a callback."""

from __future__ import annotations


class SgprStatus:
    """What a callback is told after every iteration.

    Attributes
    ----------
    iteration : int
        Iterations so far, from 1.
    loss : float
        Minus (bound + log prior) per number in y, in nats.
    n_evaluations : int
        Evaluations of the bound and its gradient so far.
    elapsed : float
        Seconds since this call of ``fit`` or ``resume`` began.
    theta : array
        Where the fit is; see :meth:`SGPR.elbo`.
    """

    def __init__(self, iteration, loss, n_evaluations, elapsed, theta, model):
        self.iteration, self.loss, self.n_evaluations = iteration, loss, n_evaluations
        self.elapsed, self.theta, self._model = elapsed, theta, model

    def __repr__(self) -> str:
        return f"SgprStatus(iteration={self.iteration}, loss={self.loss:.6g}, elapsed={self.elapsed:.1f})"

    def model(self):
        """A fitted model with the parameters of this iteration, which can predict, be saved and be resumed.

        It costs one more evaluation; ``upper_bound_`` is NaN.
        """
        return self._model()

    def save(self, path) -> None:
        """Write a checkpoint: ``SGPR.load(path).resume(X, y)`` goes on from here."""
        self.model().save(path)
