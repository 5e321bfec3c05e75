"""A Gaussian process classifier as a file: what of it is JSON and what are arrays."""

from __future__ import annotations

import numpy as np

from lvmfast._backend import to_numpy
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.kernels._saving import kernel_from, kernel_record
from lvmfast.models._gp_classifier_posterior import FullPosterior, GibbsPosterior, SparsePosterior

KIND = "PolyaGammaGPClassifier"
FITTED = ("lower_bound_", "n_iter_", "converged_", "message_", "n_features_in_")
PARTS = {
    FullPosterior: ("kappa", "c"),
    SparsePosterior: ("Z", "precision", "shift"),
    GibbsPosterior: ("L", "draws"),
}


def save_classifier(model, path) -> None:
    """Write a fitted model."""
    params, posterior = model.get_params(deep=False), model._posterior
    arrays = {"classes": np.asarray(model.classes_), "lower_bounds": model.lower_bounds_}
    if arrays["classes"].dtype == object:
        arrays["classes"] = arrays["classes"].astype(str)
    for name in PARTS[type(posterior)]:
        arrays[f"posterior.{name}"] = np.asarray(to_numpy(getattr(posterior, name)))
    if hasattr(model, "X_train_"):
        arrays["X_train"] = np.asarray(to_numpy(model.X_train_))
    kernels = {"kernel_": kernel_record(model.kernel_, "kernel_", arrays)}
    kernels["kernel"] = None if model.kernel is None else kernel_record(model.kernel, "kernel", arrays)
    del params["kernel"]
    if np.ndim(params["inducing"]):
        arrays["inducing"] = np.asarray(to_numpy(params["inducing"]))
        params["inducing"] = None
    params["callback"] = None
    arrays.update({f"state.{name}": values for name, values in _flat(model._state).items()})
    stream = getattr(model, "_stream", None)
    if stream is not None:
        arrays.update({f"stream.{name}": np.asarray(value) for name, value in stream["state"].items()})
        arrays["stream_unit"] = stream["unit"]
    header = {
        "params": {name: jsonable(name, value) for name, value in params.items()},
        "kernels": kernels,
        "fitted": {name: getattr(model, name) for name in FITTED},
        "posterior": type(posterior).__name__,
        "mean": posterior.mean,
        "jitter": float(posterior.jitter),
        "dtype": model._dtype.name,
        "digest": None if model._state is None else [str(model._state["digest"]), str(model._state["seed"])],
        "seen": None if stream is None else int(stream["seen"]),
        "object_classes": model.classes_.dtype == object,
    }
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, KIND, header, arrays)


def _flat(state) -> dict:
    """Arrays of the stages of a warm start's state."""
    flat = {}
    for stage in ("vi", "gibbs"):
        for name, value in ((state or {}).get(stage) or {}).items():
            flat[f"{stage}.{name}"] = np.asarray(value)
    flat.pop("gibbs.draws", None)  # those of the posterior
    if state is not None and "kappa" in state:
        flat["kappa"] = state["kappa"]
    return flat


def load_classifier(cls, path):
    """A model of class ``cls`` from a file that :func:`save_classifier` wrote."""
    header, arrays = read_model(path, KIND)
    model = cls(**header["params"])
    model.kernel = kernel_from(header["kernels"]["kernel"], "kernel", arrays)
    if "inducing" in arrays:
        model.inducing = arrays["inducing"]
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    classes = arrays["classes"]
    model.classes_ = classes.astype(object) if header["object_classes"] else classes
    model.lower_bounds_, model._dtype = arrays["lower_bounds"], np.dtype(header["dtype"])
    model.kernel_ = kernel = kernel_from(header["kernels"]["kernel_"], "kernel_", arrays)
    device = "cuda" if model.device == "cuda" else "cpu"
    mean, jitter = header["mean"], header["jitter"]
    part = {name[10:]: value for name, value in arrays.items() if name.startswith("posterior.")}
    if "X_train" in arrays:
        model.X_train_ = arrays["X_train"]
        X = model.X_train_.astype(np.float64)
    if header["posterior"] == "FullPosterior":
        posterior = FullPosterior(kernel, mean, X, part["kappa"], part["c"], device)
    elif header["posterior"] == "SparsePosterior":
        posterior = SparsePosterior(kernel, mean, part["Z"], part["precision"], part["shift"], device)
        model.inducing_points_ = part["Z"]
    else:
        posterior = GibbsPosterior(kernel, mean, X, part["L"], jitter, part["draws"], device)
        posterior.L, posterior.draws = posterior.there(part["L"]), posterior.there(part["draws"])
        model.f_draws_ = part["draws"]
    model._posterior, model.device_, model.jitter_ = posterior, device, jitter
    model._state = _state_from(header, arrays, model)
    if header["seen"] is not None:
        stream = {name[7:]: value for name, value in arrays.items() if name.startswith("stream.")}
        model._stream = {"state": stream, "seen": header["seen"], "unit": arrays["stream_unit"]}
    return model


def _state_from(header, arrays, model):
    """The state of a warm start."""
    if header["digest"] is None:
        return None
    digest, seed = map(int, header["digest"])
    state = {"digest": digest, "seed": seed}
    for stage in ("vi", "gibbs"):
        prefix = f"state.{stage}."
        found = {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}
        if found:
            state[stage] = found
    if "state.kappa" in arrays:
        state["kappa"] = arrays["state.kappa"]
    if "gibbs" in state:
        state["gibbs"]["draws"] = arrays["posterior.draws"]
        state["kernel"], state["bounds"] = model.kernel_, list(model.lower_bounds_)
    return state
