"""Kernels as JSON and arrays, for files without pickled objects."""

from __future__ import annotations

import warnings

import numpy as np

from lvmfast import bijectors, kernels, priors
from lvmfast.kernels._parameters import Setting

__all__ = ["apply_settings", "kernel_from", "kernel_record", "plain_from", "plain_record", "settings_record"]


def kernel_record(kernel, key: str, arrays: dict) -> dict:
    """What :func:`kernel_from` takes; the values go to ``arrays`` under ``key``."""
    for name, parameter in kernel.parameters.items():
        arrays[f"{key}.{name}"] = np.asarray(parameter.value)
    return _record(kernel)


def _record(kernel) -> dict:
    if getattr(kernels, type(kernel).__name__, None) is not type(kernel):
        raise TypeError(f"kernel must be one of lvmfast.kernels to be saved, got a {type(kernel).__name__}; use pickle")
    record: dict = {"type": type(kernel).__name__}
    if kernel.parts:
        record["parts"] = [_record(part) for part in kernel.parts]
        return record
    if kernel.active_dims is not None:
        record["active_dims"] = [int(d) for d in kernel.active_dims]
    if hasattr(kernel, "degree"):
        record["degree"] = int(kernel.degree)
    settings = settings_record(kernel)
    if settings:
        record["settings"] = settings
    return record


def settings_record(owner, stacklevel: int = 5) -> dict:
    """How parameters of a kernel or likelihood are learned, where that is not the usual way, as JSON by name."""
    settings = {}
    for name, parameter in owner.parameters.items():
        usual = owner._default_settings.get(name, Setting())
        setting: dict = {}
        if parameter.fixed:
            setting["fixed"] = True
        if parameter.bounds != usual.bounds:
            setting["bounds"] = list(parameter.bounds)
        for what, module in (("prior", priors), ("bijector", bijectors)):
            thing = getattr(parameter, what)
            if thing is None or thing == getattr(usual, what):
                continue
            record = plain_record(thing, module, f"the {what} {thing!r} of {name}", stacklevel + 1)
            if record is not None:
                setting[what] = record
        if setting:
            settings[name] = setting
    return settings


def plain_record(thing, module, name: str, stacklevel: int = 5) -> list | None:
    """The class of a thing of ``module`` and the numbers that it is made of; None, with a warning, for any other."""
    if getattr(module, type(thing).__name__, None) is not type(thing) or not _is_plain(vars(thing)):
        warnings.warn(f"{name} is not saved", UserWarning, stacklevel=stacklevel)
        return None
    return [type(thing).__name__, dict(vars(thing))]


def plain_from(record: list | None, module):
    """What :func:`plain_record` recorded."""
    return None if record is None else getattr(module, record[0])(**record[1])


def _is_plain(options: dict) -> bool:
    """Whether an object can be made again from these numbers, in JSON."""
    return all(isinstance(value, (int, float, str, type(None))) for value in options.values())


def apply_settings(owner, settings: dict) -> None:
    """Set what :func:`settings_record` found."""
    for name, setting in settings.items():
        if setting.get("fixed"):
            owner.fix(name)
        if "bounds" in setting:
            owner.set_bounds(name, *setting["bounds"])
        for what, module in (("prior", priors), ("bijector", bijectors)):
            if what in setting:
                getattr(owner, f"set_{what}")(name, plain_from(setting[what], module))


def kernel_from(record: dict | None, key: str, arrays: dict):
    """The kernel of a record, or None."""
    if record is None:
        return None
    kernel = _build(record)
    names = list(kernel.parameters)
    if f"{key}.{names[0]}" not in arrays:
        return None
    for name in names:
        value = arrays[f"{key}.{name}"]
        kernel.parameters[name] = value if value.ndim else float(value)
    return kernel


def _build(record: dict):
    if record["type"] in ("Sum", "Product"):
        return getattr(kernels, record["type"])(*(_build(part) for part in record["parts"]))
    options = {name: record[name] for name in ("active_dims", "degree") if name in record}
    kernel = getattr(kernels, record["type"])(**options)
    apply_settings(kernel, record.get("settings", {}))
    return kernel
