"""A GPR as a file: what of it is JSON and what are arrays."""

from __future__ import annotations

import numpy as np

from lvmfast import priors
from lvmfast._backend import to_numpy
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.kernels._saving import kernel_from, kernel_record, plain_from, plain_record
from lvmfast.models._gpr_mean import Mean
from lvmfast.models._gpr_posterior import GprPosterior

FITTED = ("n_iter_", "n_evaluations_", "converged_", "message_", "n_features_in_")
ARRAYS = ("X_train_", "y_train_", "L_")


def save_gpr(model, path) -> None:
    """Write a fitted model."""
    write_model(path, "GPR", *gpr_record(model))


def load_gpr(cls, path):
    """A model of class ``cls`` from a file that :func:`save_gpr` wrote."""
    return gpr_from(cls, *read_model(path, "GPR"))


def gpr_record(model) -> tuple[dict, dict]:
    """A header and arrays that hold a fitted model."""
    header, arrays = arguments_record(model)
    posterior = model._posterior
    arrays.update({name: np.asarray(to_numpy(getattr(model, name))) for name in ARRAYS})
    arrays.update(
        {
            "alpha": to_numpy(posterior.alpha),
            "coef": posterior.mean.coef,
            "centre": posterior.mean.centre,
            "scale": posterior.mean.scale,
            "noise": np.asarray(posterior.noise),
            "jitter": np.asarray(posterior.jitter),
        }
    )
    header["kernels"]["kernel_"] = kernel_record(model.kernel_, "kernel_", arrays)
    header["fitted"] = {name: getattr(model, name) for name in FITTED}
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    return header, arrays


def arguments_record(model) -> tuple[dict, dict]:
    """A header and arrays that hold what a model was made with."""
    if callable(model.mean):
        raise ValueError(f"mean must be a name to be saved, got the callable {model.mean!r}; pickle the model instead")
    params, arrays = model.get_params(deep=False), {}
    del params["kernel"]
    kernels = {"kernel": None if model.kernel is None else kernel_record(model.kernel, "kernel", arrays)}
    if np.ndim(params["noise_variance"]):
        arrays["noise_variance"] = np.asarray(params["noise_variance"])
        params["noise_variance"] = None
    params["callback"] = None
    prior = params.pop("noise_prior")
    header = {"params": {name: jsonable(name, value) for name, value in params.items()}, "kernels": kernels}
    if prior is not None:
        header["noise_prior"] = plain_record(prior, priors, f"noise_prior={prior!r}", stacklevel=6)
    return header, arrays


def model_from_arguments(cls, header, arrays):
    """An unfitted model of class ``cls`` from what :func:`arguments_record` made."""
    model = cls(**header["params"])
    model.kernel = kernel_from(header["kernels"]["kernel"], "kernel", arrays)
    model.noise_prior = plain_from(header.get("noise_prior"), priors)
    if "noise_variance" in arrays:
        model.noise_variance = arrays["noise_variance"]
    return model


def gpr_from(cls, header, arrays):
    """A model of class ``cls`` from what :func:`gpr_record` made."""
    model = model_from_arguments(cls, header, arrays)
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.X_train_, model.y_train_ = arrays["X_train_"], arrays["y_train_"]
    model.kernel_ = kernel_from(header["kernels"]["kernel_"], "kernel_", arrays)
    X = model.X_train_.astype(np.float64)
    Y = model.y_train_.reshape(len(X), -1).astype(np.float64)
    mean = Mean(model.mean, X)
    mean.centre, mean.scale, mean.coef = arrays["centre"], arrays["scale"], arrays["coef"]
    noise = arrays["noise"] if arrays["noise"].ndim else float(arrays["noise"])
    model.noise_variance_ = noise
    jitter = float(arrays["jitter"])
    device = "cuda" if model.device == "cuda" else "cpu"
    model._set_posterior(
        GprPosterior(model.kernel_.copy(), mean, X, Y, noise, jitter, arrays["L_"], arrays["alpha"], device)
    )
    return model
