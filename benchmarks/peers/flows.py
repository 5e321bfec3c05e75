"""Peer implementations of the log density of a RealNVP with its gradient, behind one interface.

Six affine couplings of eight columns, of which the even and the odd ones stay in turn, networks of two layers of 64
with ReLU and log scales ``3 tanh(raw / 3)``; the base is standard normal. ``PEERS[name](case)`` does all the set-up and
a first call, and returns ``run``, or raises ``Unavailable``: ``run()`` answers with minus the mean log density of the
rows and its gradient (p,) by all weights. ``ours(case)`` does the same with lvmfast.

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .covariances import Unavailable, require

__all__ = ["PEERS", "FlowCase", "Unavailable", "assert_same_answer", "ours"]

LAYERS, FEATURES, HIDDEN, BOUND = 6, 8, (64, 64), 3.0


@dataclasses.dataclass
class FlowCase:
    """Rows (n, 8), and the weights of all layers in one vector: kernel and bias of every dense layer, shifts first."""

    x: np.ndarray
    theta: np.ndarray

    @classmethod
    def random(cls, n: int, dtype: str) -> FlowCase:
        """Standard normal rows; small weights, none of them 0."""
        rng = np.random.default_rng(0)
        theta = 0.1 * rng.standard_normal(_flow(dtype).n_parameters)
        return cls(rng.standard_normal((n, FEATURES)).astype(dtype), theta.astype(dtype))

    @property
    def rtol(self) -> float:
        """Of the value and, by its largest entry, of the gradient."""
        return 1e-9 if self.x.dtype == np.float64 else 1e-4


def assert_same_answer(case: FlowCase, mine, theirs) -> None:
    """Value and gradient agree."""
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=case.rtol * np.max(np.abs(a)))


def _flow(dtype):
    from lvmfast.bijectors import RealNVP

    return RealNVP(FEATURES, LAYERS, HIDDEN, bound=BOUND).build(0, np.dtype(dtype))


def ours(case: FlowCase):
    """The compiled evaluation of which ``FlowDensity.fit`` makes its steps."""
    from lvmfast.bijectors._flows_base import compiled_flow, leaves_of

    flow = compiled_flow(leaves_of(_flow(case.x.dtype), True), case.x.dtype, "cpu")

    def run():
        terms, gradient = flow.evaluate(case.theta, case.x, True)
        return -terms[:, 0].mean(), gradient

    run()
    return run


def shapes(kept: int):
    """Of the kernels of a layer, whose biases are as wide as they are."""
    widths = [kept, *HIDDEN]
    trunk = list(zip(widths[:-1], widths[1:], strict=True))
    return [*trunk, *[(HIDDEN[-1], FEATURES - kept)] * 2]


def torch_autograd(case: FlowCase):
    """The density written down in PyTorch, the gradient by autograd."""
    require("torch")
    import torch

    x, leaves, layers = torch.from_numpy(case.x), [], []
    kept, at = FEATURES // 2, 0
    for _ in range(LAYERS):
        layers.append([])
        for shape in shapes(kept):
            for part in (shape, shape[1:]):
                end = at + int(np.prod(part))
                layers[-1].append(torch.tensor(case.theta[at:end]).reshape(part).requires_grad_())
                at = end
        leaves += layers[-1]

    def density():
        z, log_det = x, 0.0
        for k in range(LAYERS - 1, -1, -1):
            w = layers[k]
            a, b = z[:, k % 2 :: 2], z[:, 1 - k % 2 :: 2]
            h = torch.relu(torch.addmm(w[1], a, w[0]))
            h = torch.relu(torch.addmm(w[3], h, w[2]))
            s = BOUND * torch.tanh(torch.addmm(w[7], h, w[6]) / BOUND)
            b = (b - torch.addmm(w[5], h, w[4])) * torch.exp(-s)
            z = torch.stack((a, b) if k % 2 == 0 else (b, a), dim=2).flatten(1)
            log_det = log_det - s.sum(1)
        return -(log_det - 0.5 * (z * z).sum(1)).mean() + 0.5 * FEATURES * np.log(2 * np.pi)

    def run():
        loss = density()
        gradients = torch.autograd.grad(loss, leaves)
        return loss.item(), torch.cat([g.ravel() for g in gradients]).numpy()

    run()
    return run


PEERS = {"torch": torch_autograd}
