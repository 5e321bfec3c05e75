"""Peer implementations of one GPLVM training step, behind one interface.

Every module named in ``PEERS`` computes, for observations Y (N x D), latents X (N x Q) and
K = amplitude^2 exp(-|x - x'|^2 / (2 lengthscale^2)) + (noise_variance + jitter) I,

    loss = N/2 log(2 pi) + 1/2 log|K| + tr(K^-1 Y Y^T) / (2 D),

minus the mean over the columns of Y of their log density under N(0, K), and exposes

``available()``
    ``(True, "")``, or ``(False, reason)`` where the peer's library does not import.
``step(X, Y, amplitude, lengthscale, noise_variance, jitter=1e-6, dtype="float64")``
    All the set-up, a first call included; returns a callable without arguments which computes
    ``(loss, dX, damplitude, dlengthscale, dnoise_variance)`` once, as NumPy values.
``run_protocol(X0, Y, n_steps=100, learning_rate=1.0)``
    Training as in the TensorFlow Probability tutorial on GPLVM: Adam as Keras states it, on X and
    on three scalars mapped through softplus, each starting at 1. Returns ``(losses, X, params)``,
    ``losses[i]`` being the loss before update i, ``params`` the constrained values by name.

Some peers take one further keyword in both (``compress``, ``formulation``, ``jit_compile``), which
their modules explain.

Importing this package, or a peer's module, imports none of the peers' libraries.
"""

from importlib import import_module
from types import ModuleType

_NAMES = (
    "numpy_handderived",
    "torch_autograd",
    "torch_handderived",
    "gpytorch_gplvm",
    "jax_jit",
    "tfp_reference",
)

PEERS = {name: f"{__name__}.{name}" for name in _NAMES}


def load(name: str) -> ModuleType:
    """Return the module of the peer ``name``; ask its ``available()`` before using it."""
    if name not in PEERS:
        raise KeyError(f"no peer {name!r}; there are {', '.join(PEERS)}")
    return import_module(PEERS[name])
