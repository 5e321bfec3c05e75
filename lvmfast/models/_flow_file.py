"""A density of flows as a file: what of it is JSON and what are arrays. The data are not part of it."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.bijectors._flows_files import bijector_from, record_of
from lvmfast.models._flow_problem import FlowProblem
from lvmfast.models._vae_file import _optimizer_from, _optimizer_record

FITTED = ("n_iter_", "best_iter_", "n_steps_", "message_", "n_features_in_")

__all__ = ["load_flow", "save_flow"]


def save_flow(model, path) -> None:
    """Write a fitted model, with the state of its fit."""
    params, problem = model.get_params(deep=False), model._problem
    arrays = {f"state.{name}": np.asarray(value) for name, value in model._state.items()}
    arrays |= {"loss_curve_": model.loss_curve_, "shift": problem.shift, "scale": problem.scale}
    arrays |= {f"history.{name}": values for name, values in model.history_.items()}
    header = {"optimizer": _optimizer_record(params.pop("optimizer"))}
    header["dtypes"] = [problem.dtype.name, problem.data_dtype.name]
    given = params.pop("bijectors")
    header["listed"] = isinstance(given, (list, tuple))
    parts = [] if given is None else given if header["listed"] else [given]
    header["bijectors"] = None if given is None else [record_of(b, arrays, f"given.{i}") for i, b in enumerate(parts)]
    for name in ("fixed", "leaves"):
        leaves = getattr(problem, name)
        header[name] = [(record_of(b, arrays, f"{name}.{i}"), bool(inverse)) for i, (b, inverse) in enumerate(leaves)]
    params |= {"callback": None, "dtype": np.dtype(params["dtype"]).name, "hidden": None}
    header["hidden"] = [int(width) for width in np.atleast_1d(model.hidden)]
    header["params"] = {name: jsonable(name, value) for name, value in params.items()}
    header["fitted"] = {name: getattr(model, name) for name in FITTED}
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, "FlowDensity", header, arrays)


def load_flow(cls, path):
    """A model of class ``cls`` from a file that :func:`save_flow` wrote."""
    header, arrays = read_model(path, "FlowDensity")
    params = header["params"] | {"hidden": tuple(header["hidden"]), "dtype": np.dtype(header["params"]["dtype"]).type}
    params["optimizer"] = _optimizer_from(header["optimizer"])
    params["bijectors"] = None
    if header["bijectors"] is not None:
        given = [bijector_from(record, arrays) for record in header["bijectors"]]
        params["bijectors"] = given if header["listed"] else given[0]
    model = cls(**params)
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.loss_curve_, model._on_gpu = arrays["loss_curve_"], False
    model.history_ = {name[8:]: values for name, values in arrays.items() if name.startswith("history.")}
    device = _backend.usable_device("cuda" if model.device == "cuda" else "cpu")
    fixed, leaves = (
        [(bijector_from(record, arrays), inverse) for record, inverse in header[name]] for name in ("fixed", "leaves")
    )
    dtype, data_dtype = header["dtypes"]
    problem = FlowProblem(fixed, leaves, arrays["shift"], arrays["scale"], dtype, device, data_dtype)
    model._set_problem(problem, {name[6:]: a for name, a in arrays.items() if name.startswith("state.")})
    return model
