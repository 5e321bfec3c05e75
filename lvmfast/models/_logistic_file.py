"""A logistic model as a file: what of it is JSON and what are arrays."""

from __future__ import annotations

import numpy as np

from lvmfast._backend import to_numpy, usable_device
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.models._logistic_data import Data, Prior
from lvmfast.models._logistic_gibbs import ChainState
from lvmfast.models._logistic_vi import GaussianState

KIND = "PolyaGammaLogisticRegression"
ARRAYS = ("prior_precision", "prior_mean")  # parameters that may be arrays


def save_logistic(model, path) -> None:
    """Write a fitted model."""
    if model.basis is not None:
        raise ValueError(f"basis must be None to be saved, got the callable {model.basis!r}; pickle the model instead")
    params = model.get_params(deep=False)
    state, data = model._state, model._data
    arrays = {"design": data.design, "a": data.a, "b": data.b, "classes": model.classes_}
    if isinstance(state, ChainState):
        arrays |= {"keys": state.keys, "beta": state.beta, "draws": model._draws}
        if hasattr(model, "omega_draws_"):
            arrays["omega"] = to_numpy(model.omega_draws_)
    else:
        arrays |= {"mean": state.mean, "factor": state.precision_factor, "bounds": np.array(state.bounds)}
    if model.classes_.dtype == object:
        arrays["classes"] = np.array([str(label) for label in model.classes_])
    arrays |= {f"prior.{name}": value for name, value in vars(model._prior).items()}
    for name in ARRAYS:
        if np.ndim(params[name]):
            arrays[name] = np.asarray(params[name])
            params[name] = None
    params["callback"] = None
    header = {
        "params": {name: jsonable(name, value) for name, value in params.items()},
        "log_constant": data.log_constant,
        "iteration": getattr(state, "iteration", None),
        "other": getattr(model, "_other", None),
        "object_labels": model.classes_.dtype == object,
        "n_features_in": model.n_features_in_,
        "device": model.device_,
    }
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, KIND, header, arrays)


def load_logistic(cls, path):
    """A model of class ``cls`` from a file that :func:`save_logistic` wrote."""
    header, arrays = read_model(path, KIND)
    model = cls(**{**header["params"], **{name: arrays[name] for name in ARRAYS if name in arrays}})
    model.n_features_in_, model.device_ = header["n_features_in"], usable_device(header["device"])
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.classes_ = arrays["classes"].astype(object) if header["object_labels"] else arrays["classes"]
    if header["other"] is not None or model.likelihood != "bernoulli":
        model._other = header["other"]
    model._on_gpu = False
    model._data = Data(arrays["design"], arrays["a"], arrays["b"], header["log_constant"])
    prior = {name: arrays[f"prior.{name}"] for name in ("mean", "precision", "rank", "log_determinant", "null_space")}
    prior |= {"rank": int(prior["rank"]), "log_determinant": float(prior["log_determinant"])}
    model._prior = Prior(**prior)
    if "draws" in arrays:
        model._state = ChainState(arrays["keys"], arrays["beta"], header["iteration"])
        model._restore(arrays["draws"], arrays.get("omega"))
    else:
        model._state = GaussianState(arrays["mean"], arrays["factor"], arrays["bounds"].tolist())
        model._restore()
    return model
