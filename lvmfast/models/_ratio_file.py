"""A density ratio as a file: what of it is JSON and what are arrays. The data are not part of it."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.divergences import from_spec
from lvmfast.models._ratio_kernels import RatioExpansion
from lvmfast.models._vae_file import _network_from, _network_record, _optimizer_from, _optimizer_record

FITTED = ("n_iter_", "best_iter_", "message_", "n_features_in_", "offset_")
ARRAYS = ("mean_", "scale_", "loss_curve_", "validation_loss_")
CANDIDATES = ("lengthscales", "regularizations")

__all__ = ["load_ratio", "save_ratio"]


def save_ratio(model, path) -> None:
    """Write a fitted model, with the state of its fit."""
    params = model.get_params(deep=False)
    arrays = {f"state.{name}": np.asarray(value) for name, value in model._state.items()}
    arrays |= {name: np.asarray(getattr(model, name)) for name in ARRAYS}
    for name, (s, w) in zip(("p", "q"), model._log_ratios, strict=True):
        arrays |= {f"s_{name}": s, f"w_{name}": w}
    arrays |= {f"theta.{k}": _backend.to_numpy(net.parameters) for k, net in enumerate(model._networks)}
    header = {"fitted": {name: getattr(model, name) for name in FITTED}}
    header["calibration"] = list(model.calibration_)
    header["effective"] = list(model.effective_sample_size_)
    header["networks"] = len(model._networks)
    if model._networks:
        header["network_"] = _network_record(model._networks[0], "network_", {})
    else:
        arrays |= {f"expansion.{name}": np.asarray(value) for name, value in model.expansion_.state().items()}
    header["network"] = _network_record(params.pop("network"), "network", arrays)
    header["optimizer"] = _optimizer_record(params.pop("optimizer"))
    for name in CANDIDATES:
        if params[name] is not None:
            arrays[f"param.{name}"], params[name] = np.asarray(params[name]), None
    for name in ("loss", "f"):
        if not isinstance(params[name], str):
            try:
                params[name] = params[name].spec()
            except TypeError:
                raise ValueError(
                    f"{name} must be a named divergence of lvmfast.divergences to be saved, got {params[name]!r}; "
                    "pickle the model instead"
                ) from None
    header["divergences"] = {name: params.pop(name) for name in ("loss", "f")}
    params |= {"callback": None, "dtype": np.dtype(params["dtype"]).name}
    params.pop("hidden")
    header["hidden"] = [int(width) for width in np.atleast_1d(model.hidden)]
    header["params"] = {name: jsonable(name, value) for name, value in params.items()}
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, "DensityRatio", header, arrays)


def load_ratio(cls, path):
    """A model of class ``cls`` from a file that :func:`save_ratio` wrote."""
    header, arrays = read_model(path, "DensityRatio")
    params = header["params"] | {"hidden": tuple(header["hidden"]), "dtype": np.dtype(header["params"]["dtype"]).type}
    params["network"] = _network_from(header["network"], "network", arrays)
    params["optimizer"] = _optimizer_from(header["optimizer"])
    for name, value in header["divergences"].items():
        params[name] = value if isinstance(value, str) else from_spec(value)
    params |= {name: arrays[f"param.{name}"] for name in CANDIDATES if f"param.{name}" in arrays}
    model = cls(**params)
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    for name in ARRAYS:
        setattr(model, name, arrays[name])
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.calibration_, model.effective_sample_size_ = tuple(header["calibration"]), tuple(header["effective"])
    model._log_ratios = tuple((arrays[f"s_{name}"], arrays[f"w_{name}"]) for name in ("p", "q"))
    model._state = {name[6:]: a for name, a in arrays.items() if name.startswith("state.")}
    model.device_ = _backend.usable_device("cuda" if model.device == "cuda" else "cpu")
    model._networks = []
    if header["networks"]:
        record = header["network_"]
        first = _network_from({**record, "built": False}, "network_", arrays)
        first.build(tuple(record["input_shape"]), arrays["theta.0"].dtype, 0, model.device_)
        model._set_networks(first, [arrays[f"theta.{k}"] for k in range(header["networks"])])
    else:
        own = {name[len("expansion.") :]: a for name, a in arrays.items() if name.startswith("expansion.")}
        model.expansion_ = RatioExpansion.from_state(own)
    return model
