"""An SGPR as a file: what of it is JSON and what are arrays. The data are not part of it."""

from __future__ import annotations

import numpy as np

from lvmfast._backend import to_numpy
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.kernels._saving import kernel_from, kernel_record
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._sgpr_posterior import SgprPosterior

FITTED = ("lower_bound_", "upper_bound_", "log_posterior_", "n_iter_", "n_evaluations_", "converged_", "message_")
FITTED += ("n_features_in_",)
POSTERIOR = ("L", "L_B", "gamma", "eta")
ARRAY_PARAMS = ("noise_variance", "inducing")


def save_sgpr(model, path) -> None:
    """Write a fitted model, with the state of its search."""
    if callable(model.mean):
        raise ValueError(f"mean must be a name to be saved, got the callable {model.mean!r}; pickle the model instead")
    params, posterior = model.get_params(deep=False), model._posterior
    arrays = {f"state.{name}": np.asarray(value) for name, value in model._state.items()}
    arrays.update({name: to_numpy(getattr(posterior, name)) for name in POSTERIOR})
    mean = posterior.mean
    arrays.update({"coef": mean.coef, "centre": mean.centre, "scale": mean.scale, "inducing_": posterior.X})
    arrays.update({"noise": np.asarray(model.noise_variance_), "jitter": np.asarray(posterior.jitter)})
    arrays["loss_curve"] = model.loss_curve_
    kernels = {"kernel_": kernel_record(model.kernel_, "kernel_", arrays)}
    kernels["kernel"] = None if model.kernel is None else kernel_record(model.kernel, "kernel", arrays)
    del params["kernel"]
    for name in ARRAY_PARAMS:
        if np.ndim(params[name]):
            arrays[f"param.{name}"] = np.asarray(to_numpy(params[name]))
            params[name] = None
    params["callback"] = None
    header = {
        "params": {name: jsonable(name, value) for name, value in params.items()},
        "kernels": kernels,
        "fitted": {name: getattr(model, name) for name in FITTED},
        "output": [model._dtype.name, model._single],
    }
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, "SGPR", header, arrays)


def load_sgpr(cls, path):
    """A model of class ``cls`` from a file that :func:`save_sgpr` wrote."""
    header, arrays = read_model(path, "SGPR")
    model = cls(**header["params"])
    model.kernel = kernel_from(header["kernels"]["kernel"], "kernel", arrays)
    for name in ARRAY_PARAMS:
        if f"param.{name}" in arrays:
            setattr(model, name, arrays[f"param.{name}"])
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.kernel_ = kernel_from(header["kernels"]["kernel_"], "kernel_", arrays)
    Z = arrays["inducing_"]
    mean = Mean(model.mean, Z)
    mean.centre, mean.scale, mean.coef = arrays["centre"], arrays["scale"], arrays["coef"]
    model.noise_variance_ = arrays["noise"] if arrays["noise"].ndim else float(arrays["noise"])
    model.loss_curve_ = arrays["loss_curve"]
    prefix = "state."
    model._state = {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}
    model._dtype, model._single = np.dtype(header["output"][0]), bool(header["output"][1])
    device = "cuda" if model.device == "cuda" else "cpu"
    factors = (arrays[name] for name in POSTERIOR)
    posterior = SgprPosterior(model.kernel_.copy(), mean, Z, float(arrays["jitter"]), *factors, device)
    model._set_posterior(posterior)
    return model
