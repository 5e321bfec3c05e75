"""Optimizers as compiled training steps take them: a number for the kind, three numbers, a rate for each step."""

from __future__ import annotations

import math

import numpy as np

from lvmfast.nn._optimizers import SGD, Adam, RMSprop

KINDS = (Adam, RMSprop, SGD)  # in the order of the compiled classes

__all__ = ["KINDS", "check_optimizer", "moments_of", "rates_of", "rule_of"]


def check_optimizer(optimizer, name: str = "optimizer"):
    """Raise unless it is None or an optimizer of :mod:`lvmfast.nn`."""
    if optimizer is not None and type(optimizer) not in KINDS:
        raise TypeError(
            f"{name} must be None or an optimizer of lvmfast.nn, such as lvmfast.nn.Adam(0.001), got {optimizer!r}"
        )


def moments_of(optimizer) -> tuple[str, ...]:
    """Which of the running means "m" and "v" it keeps."""
    return tuple(getattr(optimizer, "_moments"))  # noqa: B009


def rule_of(optimizer) -> tuple[int, tuple[float, float, float], float]:
    """Kind, numbers but for the rate, and the bound on the gradient's norm (0: none)."""
    if isinstance(optimizer, Adam):
        numbers = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
    elif isinstance(optimizer, RMSprop):
        numbers = optimizer.rho, optimizer.momentum, optimizer.epsilon
    else:
        numbers = optimizer.momentum, 0.0, 0.0
    return KINDS.index(type(optimizer)), numbers, optimizer.clip_norm or 0.0


def rates_of(optimizer, first: int, count: int, updates: int = 1) -> np.ndarray:
    """Of steps ``first, ..., first + count - 1`` with so many updates each, (count * updates,).

    With Adam's correction of its running means.
    """
    rates = np.array([optimizer.rate(step) for step in range(first, first + count)], dtype=np.float64)
    rates = np.repeat(rates, updates)
    if isinstance(optimizer, Adam):
        b1, b2 = optimizer.beta_1, optimizer.beta_2
        steps = range(first * updates + 1, (first + count) * updates + 1)
        rates *= [math.sqrt(1 - b2**t) / (1 - b1**t) for t in steps]
    return rates
