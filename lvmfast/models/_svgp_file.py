"""An SVGP as a file: what of it is JSON and what are arrays. The data are not part of it."""

from __future__ import annotations

import numpy as np

from lvmfast._backend import to_numpy
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.kernels._saving import kernel_from, kernel_record
from lvmfast.likelihoods._saving import likelihood_from, likelihood_record
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._svgp_posterior import SvgpPosterior

FITTED = ("lower_bound_", "n_iter_", "best_iter_", "message_", "n_features_in_")
CURVES = ("elbo_curve_", "loss_curve_", "validation_curve_")
POSTERIOR = ("L", "gamma", "root")

__all__ = ["load_svgp", "save_svgp"]


def save_svgp(model, path) -> None:
    """Write a fitted model, with the state of its fit."""
    if callable(model.mean):
        raise ValueError(f"mean must be a name to be saved, got the callable {model.mean!r}; pickle the model instead")
    params, posterior = model.get_params(deep=False), model._posterior
    arrays = {f"state.{name}": np.asarray(value) for name, value in model._state.items()}
    arrays.update({name: to_numpy(getattr(posterior, name)) for name in POSTERIOR})
    mean = posterior.mean
    arrays.update({"coef": mean.coef, "centre": mean.centre, "scale": mean.scale, "inducing_": posterior.X})
    arrays.update({"jitter": np.asarray(posterior.jitter)} | {name: getattr(model, name) for name in CURVES})
    header = {
        "kernel_": kernel_record(model.kernel_, "kernel_", arrays),
        "likelihood_": likelihood_record(model.likelihood_, "likelihood_", arrays),
        "kernel": None if model.kernel is None else kernel_record(model.kernel, "kernel", arrays),
    }
    del params["kernel"]
    if not isinstance(params["likelihood"], str):
        header["likelihood"] = likelihood_record(params["likelihood"], "likelihood", arrays)
        params["likelihood"] = None
    if np.ndim(params["inducing"]):
        arrays["param.inducing"] = np.asarray(to_numpy(params["inducing"]))
        params["inducing"] = None
    params["callback"] = None
    header["params"] = {name: jsonable(name, value) for name, value in params.items()}
    header["fitted"] = {name: getattr(model, name) for name in FITTED}
    header["output"] = [model._dtype.name, model._single, model._own_noise]
    if hasattr(model, "classes_"):
        arrays["classes_"] = np.asarray(model.classes_)
        if arrays["classes_"].dtype == object:
            arrays["classes_"] = arrays["classes_"].astype(str)
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, "SVGP", header, arrays)


def load_svgp(cls, path):
    """A model of class ``cls`` from a file that :func:`save_svgp` wrote."""
    header, arrays = read_model(path, "SVGP")
    model = cls(**header["params"])
    model.kernel = kernel_from(header["kernel"], "kernel", arrays)
    if "likelihood" in header:
        model.likelihood = likelihood_from(header["likelihood"], "likelihood", arrays)
    if "param.inducing" in arrays:
        model.inducing = arrays["param.inducing"]
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    for name in CURVES:
        setattr(model, name, arrays[name])
    if "classes_" in arrays:
        model.classes_ = arrays["classes_"]
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.kernel_ = kernel_from(header["kernel_"], "kernel_", arrays)
    model.likelihood_ = likelihood_from(header["likelihood_"], "likelihood_", arrays)
    Z = arrays["inducing_"]
    mean = Mean(model.mean, Z)
    mean.centre, mean.scale, mean.coef = arrays["centre"], arrays["scale"], arrays["coef"]
    model._state = {name[6:]: a for name, a in arrays.items() if name.startswith("state.")}
    dtype, model._single, model._own_noise = header["output"]
    model._dtype = np.dtype(dtype)
    factors = (arrays[name] for name in POSTERIOR)
    device = "cuda" if model.device == "cuda" else "cpu"
    posterior = SvgpPosterior(model.kernel_.copy(), mean, Z, float(arrays["jitter"]), *factors, device)
    model._set_posterior(posterior)
    return model
