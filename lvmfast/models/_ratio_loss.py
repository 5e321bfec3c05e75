"""Losses of log ratios: which compiled one, or one from functions."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast.divergences import FDivergence, as_f_divergence
from lvmfast.divergences._named import TotalVariation
from lvmfast.models._ratio_network import compiled_ratio

LOSSES = ("bce", "kl", "f-divergence")
STEP = 1e-4  # in log u, of the difference that stands in for a second derivative that was not given

__all__ = ["LOSSES", "FunctionLoss", "loss_for", "loss_function"]


def loss_function(loss, f) -> FDivergence | None:
    """The f-divergence whose bound is maximised; None for the cross-entropy."""
    named = isinstance(loss, FDivergence)
    if not named and (not isinstance(loss, str) or loss not in LOSSES):
        options = ", ".join(map(repr, LOSSES))
        raise ValueError(f"loss must be one of {options} or an lvmfast.divergences.FDivergence, got {loss!r}")
    if not named and loss == "bce":
        return None
    chosen = loss if named else as_f_divergence("kl_forward" if loss == "kl" else f)
    if isinstance(chosen, TotalVariation):
        raise ValueError(
            "the divergence must have a derivative that determines the ratio to learn it by its bound; that of "
            "'total_variation' has two values only: learn with loss='bce', and ask divergence('total_variation')"
        )
    return chosen


def loss_for(network, f: FDivergence | None):
    """``train`` and ``evaluate`` for the loss of ``f`` (None: cross-entropy)."""
    if f is None:
        return compiled_ratio(network, (0, 0.0, 0.0))
    shape = f.loss_shape
    if shape is None:
        return FunctionLoss(network, f)
    if shape.kind == "logistic":
        return compiled_ratio(network, (0, 0.0, 0.0))
    return compiled_ratio(network, (1, shape.alpha, shape.factor))


class FunctionLoss:
    """``-sum_p w f'(r) + sum_q w f*(f'(r))``, ``r = exp(s)``, for an f given by functions: a pass of Python a step.

    With f(1) = f'(1) = 0, as the compiled losses have it.
    """

    def __init__(self, network, f: FDivergence):
        self.network, self.f = network, f.normalized()

    def _terms(self, s, weights):
        """Terms and slopes by s, float64 NumPy."""
        f, of_p = self.f, weights > 0
        with np.errstate(all="ignore"):
            try:
                u = np.exp(s)
                slope = u * f.second(u)
            except ValueError:
                slope = (f.derivative_of_log_ratio(s + STEP) - f.derivative_of_log_ratio(s - STEP)) / (2 * STEP)
            values = np.where(of_p, -f.derivative_of_log_ratio(s), f.conjugate_of_log_ratio(s))
            slopes = np.where(of_p, -slope, u * slope)
        size = np.abs(weights)
        return size * values, size * slopes

    def evaluate(self, theta, X, weights, gradient: bool):
        """Loss (1,) and gradient, as the compiled class has them."""
        network = self.network
        network.parameters = theta
        s, vjp = network.forward_and_vjp(X)
        terms, slopes = self._terms(_backend.to_numpy(s)[:, 0].astype(np.float64), _backend.to_numpy(weights))
        back = vjp(_backend.like(slopes.astype(network.dtype)[:, None], X)) if gradient else None
        return np.array([terms.sum()]), back

    def train(self, theta, m, v, X, weights, rows, batch, rates, kind, numbers, clip):
        """Steps in place, as the compiled class takes them."""
        module = _backend.module_on(self.network.device, theta)
        xp = _backend.namespace(theta)
        stepper = (module.NetworkOptimizer32 if theta.dtype == np.float32 else module.NetworkOptimizer64)()
        terms = np.full((len(rates), 2), np.nan)
        for j, rate in enumerate(rates):
            x, w = X, weights
            if rows is not None:
                own = _backend.like(rows[j * batch : (j + 1) * batch], X)
                x, w = xp.ascontiguousarray(X[own]), weights[own] * (len(X) / len(own))
            value, gradient = self.evaluate(theta, x, w, True)
            norm = float(xp.sqrt((gradient.astype(np.float64) ** 2).sum()))
            if not np.isfinite(value[0]) or not np.isfinite(norm):
                return terms, j
            terms[j] = value[0], norm
            if kind == 0:
                stepper.adam(theta, gradient, m, v, rate, *numbers, clip)
            elif kind == 1:
                stepper.rmsprop(theta, gradient, m, v, rate, *numbers, clip)
            else:
                stepper.sgd(theta, gradient, m, rate, numbers[0], clip)
        return terms, len(rates)
