"""A grid model as a file: what of it is JSON and what are arrays. The data are not part of it."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend, distributions
from lvmfast._saving import jsonable, read_model, write_model
from lvmfast.grids import Mesh
from lvmfast.models._vae_file import _network_from, _network_record
from lvmfast.nn import Sequential

FITTED = ("n_iter_", "n_evaluations_", "converged_", "message_", "n_features_in_", "log_likelihood_")

__all__ = ["load_grid_latent", "save_grid_latent"]


def save_grid_latent(model, path) -> None:
    """Write a fitted model, with the state of its fit."""
    params = model.get_params(deep=False)
    if not isinstance(params["f"], Sequential):
        raise ValueError(
            "f must be an lvmfast.nn.Sequential to be written to a file, which holds no code, got "
            f"{params['f']!r}; pickle the model instead"
        )
    arrays = {f"state.{name}": np.asarray(value) for name, value in model._state.items()}
    arrays |= {"loss_curve_": model.loss_curve_, "noise_variance_": np.asarray(model.noise_variance_)}
    header = {"fitted": {name: getattr(model, name) for name in FITTED}}
    header["f"] = _network_record(params.pop("f"), "f", arrays)
    header["f_"] = _network_record(model.f_, "f_", arrays)
    header["prior"] = _prior_record(params.pop("prior"), arrays)
    header["grid"] = _grid_record(params.pop("grid"), arrays)
    noise = params.pop("noise_variance")
    if noise is not None:
        arrays["param.noise_variance"] = np.asarray(_backend.to_numpy(noise))
    header["params"] = {name: jsonable(name, value) for name, value in (params | {"callback": None}).items()}
    if hasattr(model, "feature_names_in_"):
        header["feature_names"] = [str(name) for name in model.feature_names_in_]
    write_model(path, "GridLatentModel", header, arrays)


def load_grid_latent(cls, path):
    """A model of class ``cls`` from a file that :func:`save_grid_latent` wrote."""
    header, arrays = read_model(path, "GridLatentModel")
    noise = arrays.get("param.noise_variance")
    params = header["params"] | {"noise_variance": None if noise is None else _as_given(noise)}
    params |= {"f": _network_from(header["f"], "f", arrays), "prior": _prior_from(header["prior"], arrays)}
    params["grid"] = _grid_from(header["grid"], arrays)
    model = cls(**params)
    for name, value in header["fitted"].items():
        setattr(model, name, value)
    model.f_, model.loss_curve_ = _network_from(header["f_"], "f_", arrays), arrays["loss_curve_"]
    model.noise_variance_ = _as_given(arrays["noise_variance_"])
    if "feature_names" in header:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model._state = {name[6:]: a for name, a in arrays.items() if name.startswith("state.")}
    model.device_ = _backend.usable_device("cuda" if model.device == "cuda" else "cpu")
    return model


def _as_given(array: np.ndarray):
    return array if array.ndim else array.item()


def _prior_record(prior, arrays: dict):
    if prior is None:
        return None
    kinds = (distributions.Normal, distributions.Uniform, distributions.MultivariateNormalDiag)
    if not isinstance(prior, (*kinds, distributions.MultivariateNormalTriL)):
        raise ValueError(
            f"prior must be a Normal, a Uniform or a multivariate normal to be written to a file, got {prior!r}; "
            "pickle the model instead"
        )
    names = {"loc", "scale", "low", "high", "scale_diag", "scale_tril"} & set(vars(prior))
    given = {name: getattr(prior, name) for name in sorted(names) if getattr(prior, name) is not None}
    arrays |= {f"prior.{name}": np.asarray(_backend.to_numpy(value)) for name, value in given.items()}
    return {"type": type(prior).__name__, "names": sorted(given)}


def _prior_from(record, arrays: dict):
    if record is None:
        return None
    options = {name: _as_given(arrays[f"prior.{name}"]) for name in record["names"]}
    return getattr(distributions, record["type"])(**options)


def _grid_record(grid, arrays: dict):
    if grid is None or isinstance(grid, str):
        return {"kind": "name", "name": grid}
    kind, parts = "axis", (grid,)
    if isinstance(grid, Mesh):
        kind, parts = "mesh", grid.axes
    elif isinstance(grid, tuple):
        kind, parts = "points", grid
    arrays |= {f"grid.{k}": np.asarray(_backend.to_numpy(part)) for k, part in enumerate(parts)}
    return {"kind": kind, "parts": len(parts), "indexing": getattr(grid, "indexing", "ij")}


def _grid_from(record, arrays: dict):
    if record["kind"] == "name":
        return record["name"]
    parts = [arrays[f"grid.{k}"] for k in range(record["parts"])]
    if record["kind"] == "mesh":
        return Mesh(parts, record["indexing"])
    return tuple(parts) if record["kind"] == "points" else parts[0]
