"""Densities of a nonlinear latent-variable model on a grid, as NumPy, SciPy and PyTorch have them.

The model of the UDL notebook 17.1: x = (exp(sin(2 + 3.675 z)) / 2, cos(2 + 2.85 z)) + noise of variance 0.04, with 600
latents from -3 to 3, at the 300 x 300 points of its pictures.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from peers.covariances import Unavailable

NOISE = 0.04


def curve(z):
    return 0.5 * np.exp(np.sin(2 + 3.675 * z)), np.cos(2 + 2.85 * z)


@dataclasses.dataclass(frozen=True)
class GridCase:
    """Points, the latents and where they are mapped to."""

    axes: tuple
    z: np.ndarray
    dtype: str

    @classmethod
    def of(cls, dtype: str = "float64", step: float = 0.01) -> GridCase:
        """The notebook's numbers; a larger step for fewer points."""
        axes = tuple(np.arange(*ends, step).astype(dtype) for ends in ((-0.5, 2.5), (-1.5, 1.5)))
        return cls(axes, np.arange(-3, 3, 0.01), dtype)

    @property
    def mesh(self):
        """The points as a lvmfast mesh."""
        from lvmfast import grids

        return grids.mesh(*self.axes)

    @property
    def points(self) -> np.ndarray:
        """The points, shape (n, 2)."""
        return np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(-1, 2)

    @property
    def centres(self) -> np.ndarray:
        """Shape (600, 2)."""
        return np.stack(curve(self.z), axis=1)

    @property
    def masses(self) -> np.ndarray:
        """Of the latents."""
        return 0.01 * np.exp(-0.5 * self.z**2) / np.sqrt(2 * np.pi)

    def model(self):
        """Ours."""
        import lvmfast

        return lvmfast.GridLatentModel(curve, NOISE, grid=self.z)


def scipy_loop(case: GridCase):
    """The notebook's own: a multivariate normal of SciPy's for every latent, at all points."""
    from scipy import stats

    points = case.points

    def density():
        total = np.zeros(len(points))
        for f, mass in zip(case.centres, case.masses, strict=True):
            total += mass * stats.multivariate_normal(f, NOISE * np.eye(2)).pdf(points)
        return np.log(total)

    return density


def numpy_loop(case: GridCase):
    """Over the latents, all points at a time."""
    points = case.points.astype(np.float64)

    def density():
        total = np.zeros(len(points))
        for f, mass in zip(case.centres, case.masses, strict=True):
            total += mass * np.exp(((points - f) ** 2).sum(axis=1) * (-0.5 / NOISE))
        return np.log(total) - np.log(2 * np.pi * NOISE)

    return density


def numpy_broadcast(case: GridCase):
    """All pairs in one array, with the largest term taken out."""
    from scipy.special import logsumexp

    points = case.points.astype(np.float64)

    def density():
        squares = ((points[:, None] - case.centres) ** 2).sum(axis=-1)
        return logsumexp(squares * (-0.5 / NOISE) + np.log(case.masses), axis=1) - np.log(2 * np.pi * NOISE)

    return density


def numpy_product(case: GridCase):
    """One matrix product of exponentials along the axes: for a mesh, without a guard against underflow."""
    x, y = (axis.astype(np.float64) for axis in case.axes)

    def density():
        left, right = (
            np.exp((a[:, None] - f) ** 2 * (-0.5 / NOISE)) for a, f in zip((x, y), case.centres.T, strict=True)
        )
        return np.log((left * case.masses) @ right.T).ravel() - np.log(2 * np.pi * NOISE)

    return density


def torch_density(case: GridCase):
    """PyTorch: all pairs by ``cdist``, then ``logsumexp``."""
    torch = _torch()
    points, centres = (torch.tensor(a, dtype=getattr(torch, case.dtype)) for a in (case.points, case.centres))
    log_masses = torch.tensor(np.log(case.masses), dtype=points.dtype)

    def density():
        squares = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        return (torch.logsumexp(squares * (-0.5 / NOISE) + log_masses, 1) - np.log(2 * np.pi * NOISE)).numpy()

    return density


def torch_gradient(case: GridCase, points):
    """The mean log density of rows and its gradients by the centres and the logarithm of the noise, by autograd."""
    torch = _torch()
    points, centres = (torch.tensor(a, dtype=getattr(torch, case.dtype)) for a in (points, case.centres))
    log_masses = torch.tensor(np.log(case.masses), dtype=points.dtype)

    def gradient():
        f = centres.clone().requires_grad_()
        log_noise = torch.tensor(np.log(NOISE), dtype=points.dtype, requires_grad=True)
        squares = ((points[:, None] - f) ** 2).sum(-1)
        log_p = torch.logsumexp(-0.5 * squares * torch.exp(-log_noise) + log_masses, 1) - log_noise - np.log(2 * np.pi)
        value = log_p.mean()
        value.backward()
        return value.item(), f.grad.numpy(), log_noise.grad.item()

    return gradient


def our_gradient(case: GridCase, points):
    """The same by the compiled pull-back, as a fit takes it."""
    from lvmfast import _backend

    sigma, d = np.sqrt(NOISE), points.shape[1]
    log_masses = np.log(case.masses).astype(case.dtype)

    def gradient():
        x, f = ((a / sigma).astype(case.dtype) for a in (points, case.centres))
        log_p, d_x, d_f, _ = _backend.cpu.mixture_vjp(x, f, log_masses, None, True)
        squares = -float((x * d_x).sum() + (f * d_f).sum()) / len(x)
        value = float(log_p.mean()) - d * (np.log(sigma) + 0.5 * np.log(2 * np.pi))
        return value, d_f / (sigma * len(x)), 0.5 * (squares - d)

    return gradient


def _torch():
    try:
        import torch
    except ImportError:
        raise Unavailable("PyTorch is not installed") from None
    return torch


DENSITIES = {
    "scipy-loop": scipy_loop,
    "numpy-loop": numpy_loop,
    "numpy-broadcast": numpy_broadcast,
    "torch": torch_density,
}
MESHES = {"numpy-product": numpy_product, **DENSITIES}
GRADIENTS = {"torch": torch_gradient}
