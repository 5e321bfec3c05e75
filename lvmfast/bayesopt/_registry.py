"""Acquisition functions by name."""

from __future__ import annotations

import copy
import importlib
import inspect

from lvmfast.bayesopt._acquisition import Acquisition
from lvmfast.bayesopt._analytic import LowerConfidenceBound

__all__ = ["NAMES", "build", "check_acquisition", "check_options", "try_options"]

# Module, class, and the argument that says how many points a candidate has.
NAMES = {
    "kg": ("_knowledge_gradient", "KnowledgeGradient", "q"),
    "kg-discrete": ("_discrete", "DiscreteKnowledgeGradient", None),
    "ei": ("_analytic", "ExpectedImprovement", None),
    "log-ei": ("_analytic", "LogExpectedImprovement", None),
    "pi": ("_analytic", "ProbabilityOfImprovement", None),
    "lcb": ("_analytic", "LowerConfidenceBound", None),
    "thompson": ("_thompson", "ThompsonSampling", "n_samples"),
    "qei": ("_monte_carlo", "MonteCarloExpectedImprovement", "q"),
}


SEARCH = {"n_candidates", "n_starts", "max_evaluations", "tol"}  # what the search for a maximum may be told
OWN = {"joint", "maximize"}  # options that are not the function's


def check_acquisition(acquisition):
    """``acquisition``, if it is a name or can be called."""
    if isinstance(acquisition, str) and acquisition in NAMES:
        return acquisition
    if isinstance(acquisition, str) or not callable(acquisition):
        names = ", ".join(map(repr, NAMES))
        raise ValueError(f"acquisition must be one of {names}, or callable(model, bounds), got {acquisition!r}")
    return acquisition


def check_options(options, acquisition) -> dict:
    """``acquisition_options`` as a dict of its own."""
    if options is None:
        return {}
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise TypeError(f"acquisition_options must be a dict of arguments, got {options!r}")
    joint, search = options.get("joint", False), options.get("maximize", {})
    if not isinstance(joint, bool):
        raise TypeError(f"acquisition_options['joint'] must be True or False, got {joint!r}")
    if joint and isinstance(acquisition, str) and NAMES[acquisition][2] is None:
        able = ", ".join(repr(name) for name, (_, _, count) in NAMES.items() if count is not None)
        raise ValueError(f"acquisition_options['joint'] needs one of {able}, got acquisition={acquisition!r}")
    if not isinstance(search, dict) or not SEARCH.issuperset(search):
        raise ValueError(f"acquisition_options['maximize'] must be a dict with keys {sorted(SEARCH)}, got {search!r}")
    return dict(options)


def try_options(acquisition, options: dict, model, bounds) -> None:
    """Raise for options that would fail with a fitted model, which comes once the function was evaluated."""
    options = copy.deepcopy(options)
    if options and isinstance(acquisition, str):
        build(acquisition, model, bounds, options, 1, 0)
    if "maximize" in options:
        LowerConfidenceBound(model, bounds).maximize(random_state=0, **options["maximize"])


def build(acquisition, model, bounds, options: dict, n_points: int, seed: int):
    """The acquisition function of a model, for candidates of ``n_points``.

    ``seed`` is its ``random_state`` where it has one that ``options`` do not set.
    """
    options = {name: value for name, value in options.items() if name not in OWN}
    factory, count = acquisition, "q" if n_points > 1 else None
    if isinstance(acquisition, str):
        module, name, count = NAMES[acquisition]
        factory = getattr(importlib.import_module(f"lvmfast.bayesopt.{module}"), name)
    if count is not None:
        options[count] = n_points
    if "random_state" in inspect.signature(factory).parameters:
        options.setdefault("random_state", seed)
    function = factory(model, bounds, **options)
    if not isinstance(function, Acquisition):
        raise TypeError(f"acquisition must return an lvmfast.bayesopt.Acquisition, got {function!r}")
    if function.q != n_points:
        raise ValueError(
            f"acquisition must have candidates of {n_points} points here, got q={function.q}; batches come from "
            "ask(n_points) with acquisition_options={'joint': True}"
        )
    return function
