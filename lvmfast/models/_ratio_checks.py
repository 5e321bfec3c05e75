"""Arguments of a density ratio: the error says the argument, the rule and the value got."""

from __future__ import annotations

import numpy as np

from lvmfast._validation import check_callback, check_choice, check_float_dtype, check_integer
from lvmfast.models._ratio_loss import loss_function
from lvmfast.models._vae_networks import check_hidden
from lvmfast.nn import Sequential
from lvmfast.nn._rules import check_optimizer

METHODS = ("classifier", "telescoping", "ulsif", "rulsif", "kliep")
NETWORKS = METHODS[:2]

__all__ = ["METHODS", "NETWORKS", "check_parameters"]


def check_parameters(model) -> None:
    """Raise for the first argument that is wrong."""
    check_choice(model.method, "method", METHODS)
    check_hidden(model.hidden, model.activation)
    if model.network is not None and not isinstance(model.network, Sequential):
        raise TypeError(f"network must be None or an lvmfast.nn.Sequential, got {model.network!r}")
    f = loss_function(model.loss, model.f)
    if model.class_weight is not None:
        check_choice(model.class_weight, "class_weight", ("balanced",))
    check_optimizer(model.optimizer)
    for name, least in (("max_iter", 0), ("n_iter_no_change", 1), ("n_bridges", 1), ("n_centers", 1), ("n_folds", 2)):
        check_integer(getattr(model, name), name, least)
    if model.batch_size is not None:
        check_integer(model.batch_size, "batch_size", 1)
    _check_range(model.validation_fraction, "validation_fraction", 0, 1, "(0, 1)", open_low=True)
    _check_range(model.alpha, "alpha", 0, 1, "[0, 1)")
    for name in ("standardize", "early_stopping", "calibrate"):
        if not isinstance(getattr(model, name), (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {getattr(model, name)!r}")
    for name in ("calibrate", "early_stopping"):
        if getattr(model, name) and model.method not in NETWORKS:
            raise ValueError(f"{name}=True is for networks, got method={model.method!r}")
    if model.method == "telescoping" and (f is not None or model.network is not None):
        raise ValueError(
            "method='telescoping' learns its bridges with loss='bce' and networks of hidden widths, got "
            f"loss={model.loss!r}, network={model.network!r}"
        )
    check_float_dtype(model.dtype)
    check_callback(model.callback)
    check_choice(model.device, "device", ("auto", "cpu", "cuda"))


def _check_range(value, name, low, high, text, open_low=False) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number in {text}, got {value!r}")
    if not low <= value < high or (open_low and value == low):
        raise ValueError(f"{name} must lie in {text}, got {value!r}")
