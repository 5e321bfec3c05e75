"""1,000 handwritten digits on a two-dimensional map: ``lvmfast demo gplvm``.

Two protocols. "default" is ``GPLVM().fit``. "reference" repeats the TensorFlow Probability walk-through on
latent variable models: amplitude, lengthscale and noise variance softplus(1) at the start, kernel
``amplitude^2 exp(-|x - z|^2 / (2 lengthscale^2))``, 1e-6 of jitter, latents from a standard normal, 100 steps of
Adam at learning rate 1. It departs from that text in one place: the text's predictive model leaves the
noise out, as if the pixels were exact; here the posterior conditions on noisy pixels, as the fit did.
"""

from __future__ import annotations

import dataclasses
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from lvmfast import _backend, datasets, plot
from lvmfast._validation import check_rng
from lvmfast.bijectors import Softplus
from lvmfast.demos._registry import Demo, add_data
from lvmfast.demos._report import finish
from lvmfast.grids import Mesh, mesh
from lvmfast.kernels import RBF
from lvmfast.models import GPLVM
from lvmfast.models._gplvm_posterior import Posterior
from lvmfast.models._gplvm_problem import Problem, reduce_columns
from lvmfast.optim import Adam

DEMO = Demo(
    "1,000 handwritten digits on a two-dimensional map",
    "Gaussian Process Latent Variable Models (TensorFlow Probability)",
    12,
)
TEXT = {0: 1108.121688, 20: -159.633761, 40: -263.014394, 60: -283.713056, 80: -288.709413, 99: -289.662253}
JITTER = 1e-6
GRID, LIMIT = 10, 4.0


@dataclasses.dataclass
class Protocol:
    """What a run of the reference protocol ends with."""

    losses: list[float]
    latents: np.ndarray
    amplitude: float
    lengthscale: float
    noise_variance: float


class ReferenceObjective:
    """``loss(theta) = -mean_d log N(y_d | 0, K + (noise + 1e-6) I)`` and its gradient.

    ``theta`` is X row by row, then u with softplus(u) = amplitude, lengthscale, noise variance.
    """

    def __init__(self, Y: np.ndarray, q: int = 2):
        self.n, self.d = Y.shape
        self.q = q
        self.kernel = RBF().compiled(q)
        self.compiled = _backend.cpu.GplvmObjective64(self.n, q)
        self.compiled.add_group(None, np.asfortranarray(reduce_columns(np.asarray(Y, float))[0]), float(self.d))
        self.bijector = Softplus()

    def parameters(self, theta: np.ndarray) -> tuple[float, float, float]:
        """Amplitude, lengthscale and noise variance."""
        return tuple(float(p) for p in self.bijector.forward(theta[-3:] + np.finfo(np.float64).eps))

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        amplitude, lengthscale, noise = self.parameters(theta)
        code, pivot, _, value, dX, d_kernel, d_noise = self.compiled.evaluate(
            self.kernel.tree,
            np.array([amplitude**2] + [lengthscale] * self.q),
            np.ascontiguousarray(theta[:-3].reshape(self.n, self.q)),
            noise,
            JITTER,
            0.0,
            0.0,
        )
        if code:
            raise FloatingPointError(f"the covariance lost positive definiteness at pivot {pivot}")
        tail = np.array([d_kernel[0] * 2 * amplitude, d_kernel[1:].sum(), d_noise])
        gradient = np.concatenate([dX.ravel(), self.bijector.vjp(theta[-3:], tail)])
        return -value / self.d, gradient / -self.d


def reference_protocol(Y, X0, n_steps=100, learning_rate=1.0, on_iteration=None) -> Protocol:
    """The reference's training loop from latents ``X0`` (n, 2); ``losses[i]`` is the loss before step i."""
    objective = ReferenceObjective(Y, np.shape(X0)[1])
    start = np.concatenate([np.ravel(X0), np.ones(3)])
    result = Adam(learning_rate).minimize(objective, start, max_iter=n_steps, on_iteration=on_iteration)
    latents = result.theta[:-3].reshape(objective.n, objective.q)
    return Protocol(result.values, latents, *objective.parameters(result.theta))


def latent_grid() -> Mesh:
    """A 10 x 10 grid over [-4, 4]^2."""
    ticks = np.linspace(-LIMIT, LIMIT, GRID)
    return mesh(ticks, ticks, indexing="xy")


def add_arguments(parser) -> None:
    """Those of this demo alone."""
    text = "default: the library's own fit; reference: 100 steps of Adam, as in the text (default: %(default)s)"
    parser.add_argument("--protocol", choices=("default", "reference"), help=text)
    parser.add_argument("--max-iter", type=int, help="iterations (default: those of the protocol)")
    add_data(parser)


def run(*, protocol="default", output, seed=0, max_iter=None, data=None, quiet=False) -> dict:
    """Fit, say what came out and write the pictures to ``output``; returns what was measured."""
    if data is None:
        Y, digits = datasets.load_mnist_sample(return_X_y=True)
    else:
        Y, digits = datasets.load_mnist(data, return_X_y=True)
        Y, digits = Y[:1000], digits[:1000]
    begun = time.perf_counter()
    if protocol == "reference":
        n_steps = 100 if max_iter is None else max_iter
        before = check_rng(seed).standard_normal((len(Y), 2))
        with tqdm(total=n_steps, disable=quiet, desc="reference") as bar:

            def progress(p):
                bar.update()
                bar.set_postfix(loss=f"{p.values[-1]:.2f}")

            fitted = reference_protocol(Y, before, n_steps, on_iteration=progress)
        seconds = time.perf_counter() - begun
        losses, after = np.array(fitted.losses), fitted.latents
        parameters = {"amplitude": fitted.amplitude, "lengthscale": fitted.lengthscale}
        parameters["noise_variance"] = fitted.noise_variance
        problem = Problem(Y, center=False)
        square = problem.scale**2
        kernel = RBF(fitted.amplitude**2 / square, fitted.lengthscale)
        posterior = Posterior(problem, kernel, after, fitted.noise_variance / square, JITTER / square)
        images = problem.scale * posterior.sample(latent_grid().points, 1, check_rng(seed), joint=False)[0]
    else:
        model = GPLVM(2, verbose=not quiet, random_state=seed)
        if max_iter is not None:
            model.set_params(max_iter=max_iter)
        before = Problem(Y, center=True).initial_latents("pca", 2, check_rng(seed))
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(Y)
        seconds = time.perf_counter() - begun
        losses, after = model.loss_curve_, model.embedding_
        parameters = {"variance": model.kernel_.variance, "lengthscale": model.kernel_.lengthscale}
        parameters["noise_variance"] = model.noise_variance_
        images = model.sample(latent_grid().points, joint=False)[0]
    prefix = "" if protocol == "default" else f"{protocol}-"
    figures = _pictures(before, after, digits, losses, images)
    numbers = _numbers(protocol, losses, seconds, parameters)
    measured = {"losses": losses, "seconds": seconds, "parameters": parameters, "latents": after}
    return measured | finish(output, {prefix + name: figure for name, figure in figures.items()}, numbers, quiet)


def _pictures(before, after, digits, losses, images) -> dict:
    return {
        "before": plot.latent_scatter(before, digits, title="Before training").figure,
        "after": plot.latent_scatter(after, digits, title="After training").figure,
        "loss": plot.loss_curve(losses, ylabel="$-$log marginal likelihood per pixel (nats)").figure,
        "samples": plot.manifold(images, latent_grid(), title="Digits sampled from the posterior").figure,
    }


def _numbers(protocol, losses, seconds, parameters) -> dict:
    numbers = {"latents at the start": ("drawn" if protocol == "reference" else "principal components", "drawn")}
    numbers["loss (minus log likelihood per pixel), iteration"] = ""
    last = len(losses) - 1
    for i in sorted({*(step for step in TEXT if step <= last), *range(120, last, 40), last}):
        theirs = f"{TEXT[i]:.4f}" if i in TEXT else ""
        numbers[f"  {i}"] = (f"{losses[i]:.4f} nats", theirs)
    numbers["fit"] = f"{seconds:.1f} s"
    for name, value in parameters.items():
        numbers[f"  {name.replace('_', ' ')}"] = f"{value:.5g}"
    return numbers
