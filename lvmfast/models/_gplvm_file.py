"""A GPLVM as a file: what of it is JSON and what are arrays."""

from __future__ import annotations

import numpy as np

from lvmfast._backend import to_numpy, usable_device
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.kernels._saving import kernel_from, kernel_record
from lvmfast.models._gplvm_posterior import PosteriorCache

FITTED_NUMBERS = (
    "noise_variance_",
    "log_marginal_likelihood_",
    "n_iter_",
    "n_evaluations_",
    "converged_",
    "message_",
    "jitter_",
    "n_features_in_",
)


def save_gplvm(model, path) -> None:
    """Write a fitted model."""
    params = model.get_params(deep=False)
    arrays = {f"state.{name}": np.asarray(value) for name, value in model._state.items()}
    arrays.update({"Y_train": to_numpy(model.Y_train_), "embedding": to_numpy(model.embedding_)})
    records = {"kernel_": kernel_record(model.kernel_, "kernel_", arrays)}
    records["kernel"] = None if model.kernel is None else kernel_record(model.kernel, "kernel", arrays)
    if not isinstance(model.init, str):
        arrays["init"] = np.asarray(to_numpy(model.init))
        params["init"] = None
    del params["kernel"]
    params["callback"] = None
    header = {"params": {name: jsonable(name, value) for name, value in params.items()}}
    header["kernels"] = records
    header["fitted"] = {name: getattr(model, name) for name in FITTED_NUMBERS}
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    arrays.update({"mean": to_numpy(model.mean_), "scale": np.array(model._scale), "loss_curve": model.loss_curve_})
    write_model(path, "GPLVM", header, arrays)


def load_gplvm(cls, path):
    """A model of class ``cls`` from a file that :func:`save_gplvm` wrote."""
    header, arrays = read_model(path, "GPLVM")
    model = cls(**header["params"])

    records = header.get("kernels", {name: {"type": "RBF"} for name in ("kernel", "kernel_")})  # format 1: RBF only
    model.kernel = kernel_from(records["kernel"], "kernel", arrays)
    if "init" in arrays:
        model.init = arrays["init"]
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.kernel_ = kernel_from(records["kernel_"], "kernel_", arrays)
    model.embedding_, model.Y_train_ = arrays["embedding"], arrays["Y_train"]
    model.mean_, model._scale = arrays["mean"], float(arrays["scale"])
    model.loss_curve_ = arrays["loss_curve"]
    model._cache = PosteriorCache()
    model.device_ = usable_device("cuda" if model.device == "cuda" else "cpu")
    prefix = "state."
    model._state = {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}
    return model
