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
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from lvmfast import _backend, datasets, plot
from lvmfast._validation import check_rng
from lvmfast.bijectors import Softplus
from lvmfast.grids import Mesh, mesh
from lvmfast.kernels import RBF
from lvmfast.models import GPLVM
from lvmfast.models._gplvm_posterior import Posterior
from lvmfast.models._gplvm_problem import Problem, reduce_columns
from lvmfast.optim import Adam

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


def run(*, protocol="default", output="lvmfast-demo/gplvm", seed=0, max_iter=None, data=None, quiet=False) -> dict:
    """Fit, say what came out and write the pictures to ``output``; returns what was measured."""
    if data is None:
        Y, digits = datasets.load_mnist_sample(return_X_y=True)
    else:
        Y, digits = datasets.load_mnist(data, return_X_y=True)
        Y, digits = Y[:1000], digits[:1000]
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
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
    pictures = _write_pictures(output, protocol, before, after, digits, losses, images)
    if not quiet:
        _report(losses, seconds, parameters, pictures)
    return {"losses": losses, "seconds": seconds, "parameters": parameters, "pictures": pictures, "latents": after}


def _write_pictures(output: Path, protocol: str, before, after, digits, losses, images) -> list[Path]:
    drawn = {
        "before": plot.latent_scatter(before, digits, title="Before training"),
        "after": plot.latent_scatter(after, digits, title="After training"),
        "loss": plot.loss_curve(losses, ylabel="$-$log marginal likelihood per pixel (nats)"),
        "samples": plot.manifold(images, latent_grid(), title="Digits sampled from the posterior"),
    }
    pictures = []
    for name, artist in drawn.items():
        path = output / (f"{name}.png" if protocol == "default" else f"{protocol}-{name}.png")
        artist.figure.savefig(path, dpi=110)
        pictures.append(path)
    return pictures


def _report(losses, seconds, parameters, pictures) -> None:
    print("loss (minus log likelihood per pixel, in nats):")
    for i in [*range(0, len(losses) - 1, max(1, len(losses) // 8)), len(losses) - 1]:
        print(f"  iteration {i:4d}  {losses[i]:12.4f}")
    print(f"fitted in {seconds:.1f} s: " + ", ".join(f"{k} {v:.5g}" for k, v in parameters.items()))
    for path in pictures:
        print(f"wrote {path}")
