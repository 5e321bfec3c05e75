"""Likelihoods as JSON and arrays, for files without pickled objects."""

from __future__ import annotations

import numpy as np

from lvmfast import likelihoods
from lvmfast.kernels._saving import apply_settings, settings_record

__all__ = ["likelihood_from", "likelihood_record"]


def likelihood_record(likelihood, key: str, arrays: dict) -> dict:
    """What :func:`likelihood_from` takes; the parameters' values go to ``arrays`` under ``key``."""
    kind = type(likelihood)
    if kind is likelihoods.Custom or getattr(likelihoods, kind.__name__, None) is not kind:
        raise TypeError(
            f"likelihood must be one of lvmfast.likelihoods, and not Custom, to be saved, got a {kind.__name__}; "
            "pickle the model instead"
        )
    arguments = {}
    for name, value in likelihood.get_params().items():
        if name in likelihood.parameter_names_of_leaf:
            arrays[f"{key}.{name}"] = np.asarray(value, dtype=np.float64)
        else:
            arguments[name] = value.item() if isinstance(value, np.generic) else value
    return {"type": kind.__name__, "arguments": arguments, "settings": settings_record(likelihood)}


def likelihood_from(record: dict, key: str, arrays: dict):
    """The likelihood of a record."""
    kind = getattr(likelihoods, record["type"])
    values = {}
    for name in kind.parameter_names_of_leaf:
        value = arrays[f"{key}.{name}"]
        values[name] = value if value.ndim else float(value)
    likelihood = kind(**record["arguments"], **values)
    apply_settings(likelihood, record["settings"])
    return likelihood
