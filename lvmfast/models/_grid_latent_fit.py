"""A fit of a grid model: the likelihood as a function of the noise and of a network's parameters."""

from __future__ import annotations

import copy

import numpy as np

from lvmfast import _backend
from lvmfast.distributions._distribution import LOG_ROOT_2_PI
from lvmfast.models._grid_latent_density import mapped
from lvmfast.nn import Dense, Sequential
from lvmfast.optim import LBFGS

__all__ = ["GridObjective", "GridStatus", "started"]

START_ITERATIONS = 100  # towards the plane of the first principal components
NOISE_FLOOR = 1e-8  # of the mean variance of the data's columns


class GridStatus:
    """What a callback is told after every iteration.

    Attributes
    ----------
    iteration : int
        Iterations so far, from 1.
    loss : float
        Minus the mean log density of the rows, in nats.
    n_evaluations : int
        Evaluations of the loss and its gradient so far.
    elapsed : float
        Seconds since this call of ``fit`` or ``resume`` began.
    """

    def __init__(self, iteration, loss, n_evaluations, elapsed, model):
        self.iteration, self.loss, self.n_evaluations = iteration, loss, n_evaluations
        self.elapsed, self._model = elapsed, model

    def __repr__(self) -> str:
        return f"GridStatus(iteration={self.iteration}, loss={self.loss:.6g}, elapsed={self.elapsed:.1f})"

    def model(self):
        """A fitted model with the parameters of this iteration, which can be used, saved and resumed."""
        return self._model()

    def save(self, path) -> None:
        """Write a checkpoint: ``GridLatentModel.load(path).resume(X)`` goes on from here."""
        self.model().save(path)


class GridObjective:
    """``theta`` to minus the mean log density of the rows and its gradient.

    ``theta`` is the logarithm of the noise variance, one number or one for each column, if it is learned, then the
    parameters of the network, if f is one, in units in which the columns of X have mean 0 and variance 1: a last dense
    layer without activation takes the units up.

    Parameters
    ----------
    X : ndarray of shape (n, d), float64
    f : callable or Sequential of float64
        A network is a copy of its own, whose parameters are overwritten.
    rule : LatentRule
    log_masses : ndarray of shape (m,)
    noise_variance : float or ndarray of shape (d,)
        Where it starts, or what is kept.
    learn_noise : bool
    device : "cpu" or "cuda"
    """

    def __init__(self, X, f, rule, log_masses, noise_variance, learn_noise: bool, device: str, check_interrupt=None):
        self.n, self.d = X.shape
        self.shift = X.mean(axis=0)
        self.X = _backend.to_device(np.ascontiguousarray(X - self.shift), device)
        self.f, self.latents, self.noise, self.learn_noise = f, rule.latents, noise_variance, learn_noise
        self.log_masses = _backend.to_device(log_masses, device)
        self.device, self.check_interrupt = device, check_interrupt
        self.network = f if isinstance(f, Sequential) else None
        self.fixed = None if self.network else mapped(f, self.latents, self.d)
        self.scale = column_scales(X, alike=np.ndim(noise_variance) == 0)
        self.floor = NOISE_FLOOR * (self.scale**2 if np.ndim(noise_variance) else float(np.mean(self.scale**2)))
        self.unit, self.offset = (np.ones(0), np.zeros(0)) if self.network is None else self._units()

    def _units(self):
        """theta of the network to its parameters: ``offset + unit * theta``."""
        unit, offset = np.ones(self.network.n_parameters), np.zeros(self.network.n_parameters)
        entry = self.network.graph.weighted[-1]
        last = self.network.layers[-1]
        if isinstance(last, Dense) and last.activation == "linear" and self.network.heads is None:
            unit[entry.kernel] = np.broadcast_to(self.scale, entry.kernel_shape).ravel()
            unit[entry.bias], offset[entry.bias] = self.scale, self.shift
        return unit, offset

    @property
    def head(self) -> int:
        """Numbers of theta before the network's."""
        return np.size(self.noise) if self.learn_noise else 0

    @property
    def size(self) -> int:
        """Entries of theta."""
        return self.head + len(self.unit)

    def bounds(self) -> np.ndarray:
        """Of theta, (p, 2): the noise stays above a hundred millionth of the variance, of the data or of its column."""
        bounds = np.full((self.size, 2), np.inf) * [-1, 1]
        if self.head:
            bounds[: self.head, 0] = np.log(self.floor)
        return bounds

    def initial(self) -> np.ndarray:
        """theta of the noise and the network as they are."""
        noise = np.log(np.maximum(np.ravel(self.noise), self.floor)) if self.learn_noise else np.empty(0)
        if self.network is None:
            return noise
        own = (_backend.to_numpy(self.network.parameters) - self.offset) / self.unit
        return np.concatenate([noise, own])

    def noise_at(self, theta: np.ndarray):
        """The noise variance of theta, in its shape."""
        if not self.learn_noise:
            return self.noise
        noise = np.exp(theta[: self.head])
        return noise if np.ndim(self.noise) else float(noise[0])

    def place(self, theta: np.ndarray) -> None:
        """Give the network the parameters of theta."""
        if self.network is not None:
            self.network.parameters = self.offset + self.unit * theta[self.head :]

    def loss(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss at theta and its gradient."""
        if self.check_interrupt is not None:
            self.check_interrupt()
        self.place(theta)
        if self.network is None:
            F, vjp = self.fixed, None
        else:
            given = _backend.to_device(self.latents, self.network.device)
            F, vjp = self.network.forward_and_vjp(given)
        xp = _backend.namespace(self.X)
        sigma = np.sqrt(np.broadcast_to(self.noise_at(theta), (self.d,)))
        inverse = xp.asarray(1 / sigma)
        F = (_backend.to_device(F, self.device) - xp.asarray(self.shift)) * inverse
        X = self.X * inverse
        module = _backend.module_on(self.device, X)
        log_p, d_X, d_F, _ = module.mixture_vjp(X, xp.ascontiguousarray(F), self.log_masses, None, self.head > 0)
        value = float(log_p.sum()) / self.n - float(np.log(sigma).sum()) - self.d * LOG_ROOT_2_PI
        gradient = np.empty(self.size)
        if self.head:
            squares = _backend.to_numpy(-(X * d_X).sum(axis=0) - (F * d_F).sum(axis=0)) / self.n
            by_noise = 0.5 * (squares - 1)
            gradient[: self.head] = by_noise if self.head == self.d and np.ndim(self.noise) else by_noise.sum()
        if vjp is not None:
            d_F = _backend.like(d_F * inverse, self.network.parameters) / self.n
            gradient[self.head :] = _backend.to_numpy(vjp(d_F)) * self.unit
        return -value, -gradient


def column_scales(X: np.ndarray, alike: bool) -> np.ndarray:
    """Standard deviations of the columns; of one that is constant 1, or where all have one unit that of the others."""
    variance = np.where(X.max(axis=0) > X.min(axis=0), X.var(axis=0), 0.0)
    typical = float(variance.mean()) if alike else 0.0
    return np.sqrt(np.where(variance > 0, variance, typical if typical > 0 else 1.0))


def started(f, q: int, seed, X, rule, noise, device: str):
    """A network of float64 to fit: the given one, or one that begins at the plane of the first principal components."""
    network, d = copy.deepcopy(f), X.shape[1]
    if network.heads is not None:
        raise ValueError("f must be a network of one output, got one with heads")
    fresh = network._graph is None
    if fresh:
        network.build((q,), np.float64, seed=seed, device=device)
    if network.input_shape != (q,) or network.output_shape != (d,):
        raise ValueError(
            f"f must be a network from ({q},) to ({d},), the latents and columns of X, got one from "
            f"{network.input_shape} to {network.output_shape}"
        )
    if not fresh:
        parameters = _backend.to_numpy(network.parameters).astype(np.float64)
        network.build((q,), np.float64, seed=0, device=device).parameters = parameters
        return network
    _lay_on_plane(GridObjective(X, network, rule, rule.log_masses, noise, False, device), np.exp(rule.log_masses))
    return network


def _lay_on_plane(objective: GridObjective, masses: np.ndarray) -> None:
    """Fit the network to ``mean + sum_j u_j sqrt(variance_j) v_j`` by least squares, u the standardised latents.

    ``variance_j`` and ``v_j`` are those of the principal components, of standardised columns where each has a noise of
    its own; ``masses`` the prior's.
    """
    Z, masses = objective.latents, masses / masses.sum()
    middle = masses @ Z
    spread = np.sqrt(masses @ (Z - middle) ** 2)
    u = (Z - middle) / np.where(spread > 0, spread, 1.0)
    X, units = _backend.to_numpy(objective.X), objective.scale if np.ndim(objective.noise) else 1.0
    _, s, V = np.linalg.svd(X / units, full_matrices=False)
    r = min(Z.shape[1], len(s))
    target = (u[:, :r] * (s[:r] / np.sqrt(len(X)))) @ V[:r] * (units / objective.scale)
    network = objective.network
    latents = _backend.to_device(Z, network.device)

    def loss(theta):
        objective.place(theta)
        F, vjp = network.forward_and_vjp(latents)
        missed = (_backend.to_numpy(F) - objective.shift) / objective.scale - target
        weighted = masses[:, None] * missed
        gradient = vjp(_backend.like(weighted / objective.scale, network.parameters))
        return 0.5 * float((weighted * missed).sum()), _backend.to_numpy(gradient) * objective.unit

    drawn = _backend.to_numpy(network.parameters)  # in the units of theta, whatever those of X are
    result = LBFGS(gtol=1e-6).minimize(loss, drawn, max_iter=START_ITERATIONS, tol=1e-5)
    objective.place(result.theta)
