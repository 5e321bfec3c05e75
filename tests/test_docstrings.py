"""Docstrings: every public name says what it is, main ones show it, and what they show is so."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re

import numpy as np
import pytest

import lvmfast

COMMANDS = ("lvmfast.__main__", "lvmfast.cli", "lvmfast.demos")  # they are run, not imported
NOT_MADE_BY_HAND = (
    "Acquisition",
    "Distribution",
    "FitStatus",
    "Kernel",
    "Likelihood",
)  # abstract, or given to callbacks
PRINTED = {
    "precision": 8,
    "threshold": 1000,
    "edgeitems": 3,
    "linewidth": 75,
    "suppress": False,
    "floatmode": "maxprec",
}
EQUATION = re.compile(r"``[^`]+``|^ {4,}\S.*[=<>~(]|\.\. math::", re.MULTILINE)


def found(paths, prefix):
    """Names of the modules below, all but the commands and the CUDA module."""
    for module in pkgutil.iter_modules(paths, prefix):
        if module.name in COMMANDS or module.name == "lvmfast._cuda":
            continue
        yield module.name
        if module.ispkg:
            yield from found(importlib.import_module(module.name).__path__, module.name + ".")


def imported(name):
    if name == "lvmfast.plot":
        pytest.importorskip("matplotlib")
    return importlib.import_module(name)


MODULES = ["lvmfast", *found(lvmfast.__path__, "lvmfast.")]
PUBLIC = ["lvmfast", "lvmfast.models", "lvmfast.plot"]
PUBLIC += [f"lvmfast.{name}" for name in lvmfast.__all__ if inspect.ismodule(getattr(lvmfast, name))]


def with_examples(name):
    """The examples of a module's docstrings, by object."""
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(imported(name)) if test.examples]


def public_objects(name):
    """The classes and functions that a public module offers."""
    module = imported(name)
    names = getattr(module, "__all__", [key for key in vars(module) if not key.startswith("_")])
    objects = {key: getattr(module, key) for key in names}
    return {
        key: item
        for key, item in objects.items()
        if (inspect.isclass(item) or inspect.isroutine(item)) and item.__module__.startswith("lvmfast")
    }


def shows_nothing(item):
    """Errors, records of results and abstract classes: what makes or extends them has the example."""
    if not inspect.isclass(item):
        return False
    is_record = (
        hasattr(item, "__dataclass_fields__") or hasattr(item, "_fields") or issubclass(item, (float, Exception))
    )
    return is_record or item.__name__ in NOT_MADE_BY_HAND


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """What they print is what they say, with NumPy's usual print options."""
    tests = with_examples(name)
    runner, said = doctest.DocTestRunner(), []
    with np.printoptions(**PRINTED):
        for test in tests:
            runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_opens_with_what_holds(name):
    """A sentence, or an equation in or just below the first lines; and every public method has a docstring."""
    faults = []
    for key, item in public_objects(name).items():
        own = item.__dict__.get("__doc__") if inspect.isclass(item) else item.__doc__
        if not own or own.startswith(f"{key}("):  # a dataclass writes its signature there
            faults.append(f"{key} has no docstring")
            continue
        first, _, rest = inspect.cleandoc(own).partition("\n\n")
        if first.endswith((":", ",")):
            first += "\n" + rest.partition("\n\n")[0]
        if not (first.endswith(".") or EQUATION.search(first)):
            faults.append(f"{key} opens with neither a sentence nor an equation: {first!r}")
        for method in vars(item) if inspect.isclass(item) else ():
            if (
                not method.startswith("_")
                and callable(getattr(item, method))
                and not inspect.getdoc(getattr(item, method))
            ):
                faults.append(f"{key}.{method} has no docstring")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "lvmfast.plot"])
def test_public_names_have_examples(name):
    """All but errors, records and abstract classes; pictures are shown by the demos."""
    items = public_objects(name).items()
    assert not [key for key, item in items if not shows_nothing(item) and ">>>" not in (item.__doc__ or "")]
