"""The one tolerance of the tests, comparisons that use it, and inputs with a bounded condition number."""

from __future__ import annotations

import os
import pickle
import signal
import warnings

import numpy as np
import pytest
from reference import linalg as oracle

FLOATS = (np.float32, np.float64)


def tolerance(dtype, size=1, condition=1.0):
    """Relative error allowed to a backward stable computation in ``dtype``: ``10 eps size condition``.

    ``size`` is the number of terms in its longest sum, ``condition`` by how much the problem magnifies a rounding
    of its input.
    """
    return 10 * float(np.finfo(dtype).eps) * max(1, size) * max(1.0, condition)


#: Condition of a central difference in float64: eps**(2/3) is what the best step leaves of the digits.
DIFFERENCE = np.finfo(np.float64).eps ** (-1 / 3)


def differences(function, x):
    """df/dx by central differences, for a scalar function of one float64 array; compare with ``DIFFERENCE``."""
    x = np.array(x, dtype=np.float64)
    gradient = np.empty(x.shape)
    step = np.finfo(np.float64).eps ** (1 / 3)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (up[index] - down[index])
    return gradient


def assert_near(actual, expected, relative, scale=None):
    """``max |actual - expected| <= relative * scale``, by default the largest |expected|; NaN never passes."""
    actual = np.asarray(actual, dtype=np.longdouble)
    expected = np.asarray(expected, dtype=np.longdouble)
    assert actual.shape == expected.shape
    if expected.size:
        largest = np.max(np.abs(expected)) if scale is None else scale
        error = np.max(np.abs(actual - expected))
        assert error <= relative * largest, f"{float(error):.3g} > {relative:.3g} * {float(largest):.3g}"


def spd(rng, n, *, condition=100.0, dtype=np.float64, batch=()):
    """Symmetric positive definite matrices (*batch, n, n) whose condition number is ``condition``."""
    A = np.empty((*batch, n, n), dtype)
    for index in np.ndindex(*batch):
        A[index] = oracle.random_spd(rng, n, condition, dtype)
    return A


def triangular(rng, n, *, condition=100.0, dtype=np.float64, batch=(), lower=True):
    """Triangular matrices (*batch, n, n) with this condition number and NaN in the triangle that counts for nothing."""
    L = np.empty((*batch, n, n), dtype)
    for index in np.ndindex(*batch):
        factor = np.linalg.cholesky(oracle.random_spd(rng, n, condition**2)) if n else np.empty((0, 0))
        factor = factor * rng.choice([-1.0, 1.0], size=n)  # a factor's diagonal is positive; a matrix's need not be
        L[index] = np.where(np.tri(n, dtype=bool), factor, np.nan)
    return L if lower else np.ascontiguousarray(np.swapaxes(L, -1, -2))


def indefinite(rng, n, lowest, dtype=np.float64):
    """Symmetric (n, n) with mean diagonal 1, whose lowest eigenvalue is ``lowest`` and the others near 1."""
    values = np.linspace(0.5, 1.5, n)
    values[0] = 0
    values *= (n - lowest) / values.sum()
    values[0] = lowest
    V = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = (V * values) @ V.T
    return (0.5 * (A + A.T)).astype(dtype)


def layouts(A):
    """``A`` in every memory layout: (name, array) with equal entries; the last one is read-only."""
    wide = np.zeros((*A.shape[:-1], 2 * A.shape[-1]), A.dtype)
    wide[..., ::2] = A
    backwards = A[..., ::-1].copy()[..., ::-1]
    frozen = A.copy()
    frozen.flags.writeable = False
    yield "fortran", np.asfortranarray(A)
    yield "strided", wide[..., ::2]
    yield "reversed", backwards
    yield "read-only", frozen


def in_child(function, seconds=20):
    """What ``function`` returns in a forked process, which is killed after ``seconds``: for what may hang."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: a fork of a process with threads
        child = os.fork()
    if not child:
        signal.alarm(seconds)
        try:
            answer = True, function()
        except BaseException as error:
            answer = False, error
        try:
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        pytest.fail(f"no answer within {seconds} s")
    good, value = pickle.loads(data)
    if not good:
        raise value
    return value


# The GPLVM: data and the attributes that a fit sets.

FITTED = ("embedding_", "noise_variance_", "mean_", "log_marginal_likelihood_", "loss_curve_")
FITTED += ("n_iter_", "n_evaluations_", "converged_", "message_", "jitter_", "Y_train_")
FITTED += ("n_features_in_",)


def observations(n=24, d=6, seed=0):
    """Y (n, d): sines of two latents, with noise of a tenth."""
    rng = np.random.default_rng(seed)
    Z, W = rng.uniform(-2, 2, (n, 2)), rng.standard_normal((2, d))
    return 3 + np.sin(Z @ W) + 0.1 * rng.standard_normal((n, d))
