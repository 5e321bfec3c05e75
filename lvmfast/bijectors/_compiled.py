"""Bijectors as programs that run in compiled code, block by block in the cache, without temporaries.

A bijector whose class has a method ``_steps(d)`` of its own gives a list of ``(operation, parameters, constant)``, or
``(operation, inverse, parameters, constant)``, for points of ``d`` numbers, or None. Parameters are arrays of shape
(1,) or (d,), or what the operation says; the constant is the part of the log-det that no point changes.
"""

from __future__ import annotations

import math

import numpy as np

from lvmfast import _backend

__all__ = ["MOST_NUMBERS", "inverted", "packed", "run", "start", "steps_of"]

SHIFT, SCALE, EXP, SOFTPLUS, SIGMOID, TANH, POWER, SINH_ARCSINH, STANDARDISE, TRIL, PERMUTE, BANANA, ORDERED = range(13)
MOST_STEPS, MOST_NUMBERS, MOST_FEATURES = 24, 384, 16
SMALLEST = 1024  # numbers; below, a few NumPy calls are as fast


def steps_of(bijector, d: int):
    """``(operation, inverse, parameters, constant)`` of every step from ``x`` to ``y``, or None."""
    method = vars(type(bijector)).get("_steps")  # a subclass may have changed what the class does
    steps = None if method is None else method(bijector, d)
    return None if steps is None else [step if len(step) == 4 else (step[0], False, *step[1:]) for step in steps]


def inverted(steps):
    """The steps of the inverse."""
    return [(operation, not inverse, parameters, -constant) for operation, inverse, parameters, constant in steps[::-1]]


def vectors(d: int, *parameters):
    """Parameters of an elementwise map as arrays of one shape, (1,) or (d,); None if they have another."""
    rows = [np.asarray(_backend.to_numpy(p), np.float64) for p in parameters]
    if any(row.shape not in ((), (1,), (d,)) for row in rows):
        return None
    count = max((row.size for row in rows), default=1)
    return [np.broadcast_to(row.reshape(-1), count) for row in rows]


def total(log_slopes, d: int) -> float:
    """The sum over ``d`` numbers of what is the same for one, or given for each."""
    log_slopes = np.asarray(log_slopes)
    return float(log_slopes.sum() if log_slopes.size == d else d * log_slopes.reshape(-1)[0])


def packed(steps):
    """Codes (k, 3), numbers and the constant of a program; None if it is too long."""
    codes, numbers, constant, at = [], [], 0.0, 0
    for operation, inverse, parameters, log_det in steps:
        count = parameters[0].size if parameters else 1
        codes.append((2 * operation + inverse, at, count))
        numbers.extend(parameters)
        at += sum(p.size for p in parameters)
        constant += log_det
    if len(codes) > MOST_STEPS or at > MOST_NUMBERS:
        return None
    numbers = np.concatenate(numbers) if numbers else np.empty(0)
    return np.array(codes, np.int64).reshape(-1, 3), np.ascontiguousarray(numbers, np.float64), constant


def start(program, x, d: int, out, log_det, base: int = 0, base_numbers=(), constant: float = 0.0) -> None:
    """Run a program over the points of ``x`` (C order), ``d`` numbers each; ``base_numbers`` are two rows of them."""
    codes, numbers, own = program
    at, count = numbers.size, len(base_numbers) // 2 or 1
    numbers = np.concatenate([numbers, base_numbers])
    rows = [None if a is None else a.reshape(-1, d) for a in (x, out)]
    sums = None if log_det is None else log_det.reshape(-1)
    _backend.module_for(x).run_chain(codes, numbers, base, at, count, own + constant, *rows, sums)


def run(bijector, x, *, inverse: bool, value: bool = True, log_det: bool = True, more: int = 0):
    """Value and log-det of :class:`Bijector`'s calls, None for what is not wanted; None where there is no program."""
    if x.size < SMALLEST or not x.flags.c_contiguous or "_steps" not in vars(type(bijector)):
        return None
    event_ndims = bijector.event_ndims + more
    widths = [1] if event_ndims == 0 else [x.shape[-1]] if event_ndims == 1 else []
    if event_ndims == 0 and not log_det and x.ndim:
        widths.append(x.shape[-1])  # an array of parameters
    for d in widths:
        steps = steps_of(bijector, d) if d <= MOST_FEATURES else None
        program = None if steps is None else packed(inverted(steps) if inverse else steps)
        if program is None:
            continue
        out = _backend.empty(x.shape, x.dtype, like=x) if value else None
        sums = None
        if log_det:
            sums = _backend.empty(x.shape[: x.ndim - event_ndims] or (1,), x.dtype, like=x)
        start(program, x, d, out, sums)
        if sums is not None and x.ndim == event_ndims:
            sums = sums.reshape(())[()]
        return out, sums
    return None


def log_abs(value) -> float | np.ndarray:
    """``log |value|`` of a parameter, in float64."""
    value = np.asarray(_backend.to_numpy(value), np.float64)
    return np.log(np.abs(value)) if value.ndim else math.log(abs(float(value)))
