"""An implicit model as a file: what of it is JSON and what are arrays. The data are not part of it."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.models._implicit_problem import ImplicitProblem
from lvmfast.models._vae_file import (
    _network_from,
    _network_record,
    _optimizer_from,
    _optimizer_record,
    _schedule_from,
    _schedule_record,
)

FITTED = ("n_iter_", "n_steps_", "message_", "n_features_in_")
NETWORKS, OPTIMIZERS, WIDTHS = ("generator", "ratio"), ("optimizer", "ratio_optimizer"), ("hidden", "ratio_hidden")

__all__ = ["load_implicit", "save_implicit"]


def save_implicit(model, path) -> None:
    """Write a fitted model, with the state of its fit."""
    params, problem = model.get_params(deep=False), model._problem
    for name, value in (("objective", model.objective), ("objective", problem.objective), ("loss", model.loss)):
        if not isinstance(value, (str, int, float, np.number)):
            raise ValueError(f"{name} must be a name or a number to be saved, got {value!r}; pickle the model instead")
    arrays = {f"state.{name}": np.asarray(value) for name, value in model._state.items()}
    arrays |= {"loss_curve_": model.loss_curve_}
    arrays |= {f"history.{name}": values for name, values in model.history_.items()}
    header = {f"{name}_": _network_record(getattr(problem, name), "", {}) for name in NETWORKS}
    header |= {name: _network_record(params.pop(name), name, arrays) for name in NETWORKS}
    header |= {name: _optimizer_record(params.pop(name)) for name in OPTIMIZERS}
    header["instance_noise"] = _schedule_record(params.pop("instance_noise"), "instance_noise")
    for name in WIDTHS:
        params[name], header[name] = None, [int(width) for width in np.atleast_1d(getattr(model, name))]
    params |= {"callback": None, "dtype": np.dtype(params["dtype"]).name}
    header["params"] = {name: jsonable(name, value) for name, value in params.items()}
    header["fitted"] = {name: getattr(model, name) for name in FITTED}
    header["problem"] = {name: jsonable(name, getattr(problem, name)) for name in ("objective", "loss")}
    header["shape"] = list(model._shape)
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, "ImplicitModel", header, arrays)


def load_implicit(cls, path):
    """A model of class ``cls`` from a file that :func:`save_implicit` wrote."""
    header, arrays = read_model(path, "ImplicitModel")
    params = header["params"] | {"dtype": np.dtype(header["params"]["dtype"]).type}
    params |= {name: tuple(header[name]) for name in WIDTHS}
    params |= {name: _network_from(header[name], name, arrays) for name in NETWORKS}
    params |= {name: _optimizer_from(header[name]) for name in OPTIMIZERS}
    params["instance_noise"] = _schedule_from(header["instance_noise"])
    model = cls(**params)
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.loss_curve_ = arrays["loss_curve_"]
    model.history_ = {name[8:]: values for name, values in arrays.items() if name.startswith("history.")}
    model._shape, model._on_gpu = tuple(header["shape"]), False
    device = _backend.usable_device("cuda" if model.device == "cuda" else "cpu")
    networks = []
    for name in NETWORKS:
        record = header[f"{name}_"]
        network = _network_from({**record, "built": False}, "", arrays)
        networks.append(network.build(tuple(record["input_shape"]), params["dtype"], 0, device))
    problem = ImplicitProblem(*networks, **header["problem"])
    model._set_problem(problem, {name[6:]: a for name, a in arrays.items() if name.startswith("state.")})
    return model
