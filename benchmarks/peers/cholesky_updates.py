"""Peer implementations of the rank-m Cholesky update, behind one interface.

``PEERS[name](L, U)`` does the set-up for a lower factor L (n, n) and columns U (n, m) and returns
``(reset, run, answer)``: ``run()`` updates once, in the fastest way the library offers, after ``reset()``, which is not
part of the time and restores what a run destroys; ``answer()`` gives the lower factor after the first run. It returns
None where the library is not installed, or the problem is not for it.
"""

from __future__ import annotations

import importlib.util

import numpy as np

__all__ = ["PEERS"]


def nothing():
    """The reset of those who destroy nothing."""


def hyhound(L, U):
    """hyhound in place, column-major; it destroys U."""
    if importlib.util.find_spec("hyhound") is None:
        return None
    import hyhound as library

    target, columns = L.copy(order="F"), np.asfortranarray(U)
    work = columns.copy(order="F")

    def reset():
        work[...] = columns

    return reset, lambda: library.update_cholesky_inplace(target, work), lambda: np.tril(target)


def choldate(L, U):
    """jlc-choldate: rank-1 updates of the upper factor, one after the other; float64."""
    if importlib.util.find_spec("choldate") is None or L.dtype != np.float64:
        return None
    from choldate import cholupdate

    target, columns = np.array(L.T, order="C"), np.array(U.T, order="C")
    work = columns.copy()

    def reset():
        work[...] = columns

    def run():
        for column in work:
            cholupdate(target, column)

    return reset, run, lambda: np.triu(target).T


def scipy_recompute(L, U):
    """scipy.linalg.cholesky of A + U U^T, A at hand."""
    import scipy.linalg

    A, result = L @ L.T, []

    def run():
        result[:] = [scipy.linalg.cholesky(A + U @ U.T, lower=True, check_finite=False, overwrite_a=True)]

    return nothing, run, lambda: result[0]


def tensorflow_probability(L, U):
    """tfp.math.cholesky_update applied to one column after the other, compiled."""
    if importlib.util.find_spec("tensorflow_probability") is None:
        return None
    import tensorflow as tf
    import tensorflow_probability as tfp

    factor, columns, result = tf.constant(L), [tf.constant(u) for u in U.T.copy()], []

    @tf.function(jit_compile=True)
    def update(factor, columns):
        for column in columns:
            factor = tfp.math.cholesky_update(factor, column)
        return factor

    def run():
        result[:] = [update(factor, columns).numpy()]

    run()
    return nothing, run, lambda: result[0]


PEERS = {f.__name__: f for f in (hyhound, choldate, scipy_recompute, tensorflow_probability)}
