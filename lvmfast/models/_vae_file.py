"""An autoencoder as a file: what of it is JSON and what are arrays. The data are not part of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend, nn
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.bijectors._flows_files import bijector_from, record_of
from lvmfast.models._vae_problem import VaeProblem
from lvmfast.nn import SGD, Adam, RMSprop, Sequential, _files

FITTED = ("n_iter_", "best_iter_", "n_steps_", "message_", "n_features_in_", "_temperature", "_codes")
SCHEDULES = (nn.CosineDecay, nn.ExponentialDecay, nn.PiecewiseConstant)
PROBLEM = ("categories", "likelihood", "variance", "classes", "posterior")

__all__ = ["load_vae", "save_vae"]


def save_vae(model, path) -> None:
    """Write a fitted model, with the state of its fit."""
    params, problem = model.get_params(deep=False), model._problem
    arrays = {f"state.{name}": np.asarray(value) for name, value in model._state.items()}
    arrays |= {"theta": model._theta, "loss_curve_": model.loss_curve_}
    arrays |= {f"history.{name}": values for name, values in model.history_.items()}
    header = {"problem": {name: getattr(problem, name) for name in PROBLEM}}
    for name, array in (("average", model._average), ("fixed", problem.fixed)):
        if array is not None:
            arrays[name] = np.asarray(array)
    for name in ("encoder", "decoder"):
        header[f"{name}_"] = _network_record(getattr(problem, name), f"{name}_", {})
        header[name] = _network_record(params.pop(name), name, arrays)
    given = params.pop("posterior")
    listed = isinstance(given, (list, tuple))
    parts = given if listed else [given]
    records = [record_of(part, arrays, f"posterior.{i}") for i, part in enumerate(parts) if not isinstance(part, str)]
    header["posterior"] = {"name": given if isinstance(given, str) else None, "listed": listed, "bijectors": records}
    header["flow_"] = [(record_of(b, arrays, f"flow_.{i}"), bool(inv)) for i, (b, inv) in enumerate(problem.flow)]
    header["ratio"] = _network_record(params.pop("ratio"), "ratio", arrays)
    header["own_"] = [_network_record(network, "", {}) for network in problem.own]
    header["optimizer"] = _optimizer_record(params.pop("optimizer"))
    for name in ("beta", "temperature"):
        header[name] = _schedule_record(params.pop(name), name)
    if np.ndim(params["variance"]):
        arrays["param.variance"], params["variance"] = np.asarray(params["variance"]), None
    params |= {"callback": None, "dtype": np.dtype(params["dtype"]).name}
    for name in ("hidden", "ratio_hidden"):
        params[name] = None
        header[name] = [int(width) for width in np.atleast_1d(getattr(model, name))]
    header["params"] = {name: jsonable(name, value) for name, value in params.items()}
    header["fitted"] = {name: getattr(model, name) for name in FITTED}
    header["shape"] = list(model._shape)
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, "VAE", header, arrays)


def load_vae(cls, path):
    """A model of class ``cls`` from a file that :func:`save_vae` wrote."""
    header, arrays = read_model(path, "VAE")
    params = header["params"] | {"hidden": tuple(header["hidden"]), "dtype": np.dtype(header["params"]["dtype"]).type}
    if "ratio_hidden" in header:  # a file of an older version has none
        params["ratio_hidden"] = tuple(header["ratio_hidden"])
    params |= {name: _network_from(header.get(name), name, arrays) for name in ("encoder", "decoder", "ratio")}
    if "posterior" in header:
        given, parts = header["posterior"], [bijector_from(r, arrays) for r in header["posterior"]["bijectors"]]
        params["posterior"] = given["name"] or (parts if given["listed"] else parts[0])
    params |= {name: _schedule_from(header[name]) for name in ("beta", "temperature")}
    params["optimizer"] = _optimizer_from(header["optimizer"])
    if "param.variance" in arrays:
        params["variance"] = arrays["param.variance"]
    model = cls(**params)
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.loss_curve_ = arrays["loss_curve_"]
    model.history_ = {name[8:]: values for name, values in arrays.items() if name.startswith("history.")}
    model._shape, model._on_gpu = tuple(header["shape"]), False
    device = _backend.usable_device("cuda" if model.device == "cuda" else "cpu")
    theta = arrays["theta"]
    networks = []
    for record in (header["encoder_"], header["decoder_"], *header.get("own_", ())):
        network = _network_from({**record, "built": False}, "", arrays)
        networks.append(network.build(tuple(record["input_shape"]), theta.dtype, 0, device))
    flow = [(bijector_from(record, arrays), inverse) for record, inverse in header.get("flow_", ())]
    more = {"fixed": arrays.get("fixed"), "own": networks[2:], "flow": flow}
    problem = VaeProblem(*networks[:2], **header["problem"], **more)
    state = {name[6:]: a for name, a in arrays.items() if name.startswith("state.")}
    model._set_problem(problem, theta, arrays.get("average"), state)
    return model


def _network_record(given, name: str, arrays: dict):
    """None and a name as they are; layers and networks as JSON, with their parameters in ``arrays``."""
    if given is None or isinstance(given, str):
        return given
    whole = isinstance(given, Sequential)
    network = given if whole else Sequential(given)
    built = network._graph is not None
    record = _files.description(network) if built else _files.chains_of(network)
    if built:
        arrays[name] = _backend.to_numpy(network.parameters)
    return record | {"whole": whole, "built": built}


def _network_from(record, name: str, arrays: dict):
    if record is None or isinstance(record, str):
        return record
    layers, heads = _files.chains_from(record)
    if not record["whole"]:
        return layers
    network = Sequential(layers, heads=heads)
    if record["built"]:
        network.build(tuple(record["input_shape"]), record["dtype"], 0).parameters = arrays[name]
    return network


def _schedule_record(value, name: str):
    """A number, or a schedule as JSON; an error for other callables."""
    if isinstance(value, SCHEDULES):
        return {"type": type(value).__name__, **dataclasses.asdict(value)}
    if callable(value):
        raise ValueError(
            f"{name} must be a number or a schedule of lvmfast.nn to be saved, got the callable {value!r}; pickle the "
            "model instead"
        )
    return float(value)


def _schedule_from(record):
    if not isinstance(record, dict):
        return record
    fields = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items() if name != "type"}
    return getattr(nn, record["type"])(**fields)


def _optimizer_record(optimizer):
    if optimizer is None:
        return None
    numbers = {name: value for name, value in vars(optimizer).items() if name != "learning_rate"}
    rate = _schedule_record(optimizer.learning_rate, "learning_rate")
    return {"type": type(optimizer).__name__, "learning_rate": rate, **numbers}


def _optimizer_from(record):
    if record is None:
        return None
    kind = {"Adam": Adam, "RMSprop": RMSprop, "SGD": SGD}[record["type"]]
    numbers = {name: value for name, value in record.items() if name not in ("type", "learning_rate")}
    return kind(_schedule_from(record["learning_rate"]), **numbers)
