"""An optimizer as a file: what of it is JSON and what are arrays."""

from __future__ import annotations

import json

import numpy as np

from lvmfast._saving import read_model, write_model
from lvmfast.bayesopt import _space
from lvmfast.bayesopt._outputs import Outputs
from lvmfast.bayesopt._records import Observation, Records
from lvmfast.bayesopt._regression import Fit
from lvmfast.bayesopt._space import Categorical, Space
from lvmfast.models import GPR
from lvmfast.models._gpr_file import arguments_record, gpr_from, gpr_record, model_from_arguments

__all__ = ["arguments_of", "load_optimizer", "save_optimizer"]

QUEUES = ("_pending", "_enqueued", "_design")


def save_optimizer(optimizer, path) -> None:
    """Write an optimizer with its model."""
    regression, arrays = optimizer._regression, {"values": optimizer.func_vals}
    header = {
        "space": [_dimension_record(dimension) for dimension in optimizer.space.dimensions],
        "settings": settings_of(optimizer),
        "options": _options_record(optimizer.acquisition_options, arrays),
        "points": optimizer.x_iters,
        "errors": [observation.error for observation in optimizer._records.observations],
        "queues": {name: getattr(optimizer, name) for name in QUEUES},
        "generator": optimizer._rng.bit_generator.state,
        "template": _add(arrays, "template.", *arguments_record(regression.template)),
        "fit": None,
    }
    if regression.fit is not None:
        fit = regression.fit
        header["fit"] = {
            "model": _add(arrays, "model.", *gpr_record(fit.model)),
            "outputs": [fit.outputs.exponent, fit.outputs.location, fit.outputs.spread],
            "counts": [fit.n_fitted, fit.n_fits],
        }
    write_model(path, "Optimizer", header, arrays)


def load_optimizer(cls, path, acquisition, constraint):
    """An optimizer of class ``cls`` from a file that :func:`save_optimizer` wrote."""
    header, arrays = read_model(path, "Optimizer")
    settings = dict(header["settings"])
    given = {"acquisition": acquisition, "constraint": constraint}
    if settings["acquisition"] is not None:
        if acquisition not in (None, settings["acquisition"]):
            raise ValueError(f"acquisition must be {settings['acquisition']!r} as in the file, got {acquisition!r}")
        given["acquisition"] = settings["acquisition"]
    for name, needed in (("acquisition", True), ("constraint", settings.pop("constrained"))):
        if needed and given[name] is None:
            raise ValueError(f"{name} must be passed again, as a file does not hold functions, got None")
    optimizer = cls(
        Space([_dimension_from(record) for record in header["space"]]),
        model=model_from_arguments(GPR, header["template"], _part(arrays, "template.")),
        acquisition_options={
            name: arrays[f"option.{name}"] if value is None and f"option.{name}" in arrays else value
            for name, value in header["options"].items()
        },
        **(settings | given),
    )
    rows = zip(header["points"], arrays["values"], header["errors"], strict=True)
    optimizer._records = Records(Observation(tuple(point), float(value), error) for point, value, error in rows)
    for name in QUEUES:
        setattr(optimizer, name, header["queues"][name])
    optimizer._rng = np.random.default_rng()
    optimizer._rng.bit_generator.state = header["generator"]
    if header["fit"] is not None:
        model = gpr_from(GPR, header["fit"]["model"], _part(arrays, "model."))
        optimizer._regression.fit = Fit(model, Outputs(*header["fit"]["outputs"]), *header["fit"]["counts"])
    return optimizer


def settings_of(optimizer) -> dict:
    """Arguments that decide which points are asked, as JSON can hold them; None for a function."""
    acquisition = optimizer.acquisition
    return {
        "acquisition": acquisition if isinstance(acquisition, str) else None,
        "constrained": optimizer.constraint is not None,
        "n_initial_points": optimizer.n_initial_points,
        "initial_points": optimizer.initial_points,
        "refit": optimizer._regression.refit,
        "noise": optimizer._regression.noise,
        "on_error": optimizer.on_error,
    }


def arguments_of(optimizer) -> dict:
    """The same with the options and the model, as one compares them."""
    arrays: dict = {}
    options = _options_record(optimizer.acquisition_options, arrays)
    model = _add(arrays, "model.", *arguments_record(optimizer._regression.template))
    lists = {name: array.tolist() for name, array in arrays.items()}
    for name in [name for name in lists if name.startswith("option.")]:
        options[name.removeprefix("option.")] = lists.pop(name)
    more = {"acquisition_options": options, "model": model | {"values": lists}}
    return settings_of(optimizer) | json.loads(json.dumps(more))


def _dimension_record(dimension) -> dict:
    record = {"type": type(dimension).__name__, "name": dimension.name}
    if isinstance(dimension, Categorical):
        return record | {"categories": list(dimension.categories)}
    return record | {"low": dimension.low, "high": dimension.high, "log": dimension.log}


def _dimension_from(record: dict):
    options = dict(record)
    return getattr(_space, options.pop("type"))(**options)


def _options_record(options: dict, arrays: dict) -> dict:
    record = {}
    for name, value in options.items():
        if isinstance(value, np.ndarray):
            arrays[f"option.{name}"], record[name] = value, None
            continue
        value = value.item() if isinstance(value, np.generic) else value
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(
                f"acquisition_options[{name!r}] must be a number, string, list or array to be saved, got {value!r}"
            ) from None
        record[name] = value
    return record


def _add(arrays: dict, prefix: str, header: dict, more: dict) -> dict:
    """``header``, once the arrays that belong to it lie among the others."""
    arrays.update({prefix + name: array for name, array in more.items()})
    return header


def _part(arrays: dict, prefix: str) -> dict:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
