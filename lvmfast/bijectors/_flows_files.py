"""Bijectors as JSON and arrays: what they were made of, and learned parameters."""

from __future__ import annotations

import numbers

import numpy as np

from lvmfast import _backend
from lvmfast.bijectors._bijector import Bijector
from lvmfast.bijectors._combined import Chain, Invert
from lvmfast.bijectors._flows_base import Learnable

__all__ = ["bijector_from", "record_of"]


def record_of(bijector, arrays: dict, name: str) -> dict:
    """JSON of a bijector of lvmfast; its arrays go into ``arrays``, under names that begin with ``name``.

    Raises
    ------
    ValueError
        For one that holds functions, or of a class from elsewhere.
    """
    kind = type(bijector)
    if isinstance(bijector, Chain):
        parts = [record_of(part, arrays, f"{name}.{i}") for i, part in enumerate(bijector.bijectors)]
        return {"type": "Chain", "bijectors": parts}
    if isinstance(bijector, Invert):
        return {"type": "Invert", "bijector": record_of(bijector.bijector, arrays, f"{name}.0")}
    options = {}
    for key, value in bijector._options().items():
        if _backend.is_gpu(value) or isinstance(value, np.ndarray):
            arrays[f"{name}.{key}"] = _backend.to_numpy(value)
        elif isinstance(value, (bool, str, tuple, list, type(None))):
            options[key] = value
        elif isinstance(value, numbers.Real):
            options[key] = value.item() if isinstance(value, np.generic) else value
        else:
            raise ValueError(f"{bijector!r} cannot be written to a file, which holds no functions; pickle it instead")
    if kind.__module__.split(".")[0] != "lvmfast":
        raise ValueError(f"{bijector!r} cannot be written to a file, as its class is not lvmfast's; pickle it instead")
    if isinstance(bijector, Learnable) and bijector.parameters is not None:
        arrays[f"{name}.parameters"] = bijector.parameters
    return {"type": kind.__name__, "name": name, "options": options}


def bijector_from(record: dict, arrays: dict) -> Bijector:
    """The bijector of what :func:`record_of` gave."""
    from lvmfast import bijectors

    if record["type"] == "Chain":
        return Chain([bijector_from(part, arrays) for part in record["bijectors"]])
    if record["type"] == "Invert":
        return Invert(bijector_from(record["bijector"], arrays))
    start = f"{record['name']}."
    own = {k[len(start) :]: a for k, a in arrays.items() if k.startswith(start) and "." not in k[len(start) :]}
    parameters = own.pop("parameters", None)
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in record["options"].items()}
    bijector = getattr(bijectors, record["type"])(**options, **own)
    if parameters is not None:
        bijector.parameters = parameters
    return bijector
