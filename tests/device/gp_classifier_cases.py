"""Cases of Gaussian process classification: a model fitted to X and y, and what it answers at new X."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from device.gpr_cases import KERNELS
from reference import covariances

import lvmfast as lvm

N, M = 30, 7
CONDITION = 1 + N * 2.5 / 4  # of the covariance beside noise variances of at least 4
KEPT = {"optimize": False, "max_iter": 5, "tol": 0.0}  # so many updates, whatever rounding says
LEARNED = {"max_iter": 3}
Z = np.random.default_rng(5).uniform(-2, 2, (5, 2))
GIBBS = {"method": "gibbs", "optimize": False, "n_samples": 4, "burn_in": 2, "n_chains": 2, "random_state": 3}


def data(rng, dtype):
    """X, y and new X: a circle, on both sides of which there are some of each class."""
    X = rng.uniform(-2, 2, (N + M, 2)).astype(np.float32).astype(dtype)
    y = ((X**2).sum(axis=1) < 2) ^ (rng.random(N + M) < 0.2)
    return X[:N].copy(), y[:N].astype(dtype), X[N:].copy()


def whole(function, name="RBF", **params):
    """``function(model, X_new)`` of the model fitted to X and y."""

    def call(X, y, X_new):
        kernel = covariances.build(KERNELS[name], lvm.kernels)
        return function(lvm.PolyaGammaGPClassifier(kernel, **{"mean": 0.25, **params}).fit(X, y), X_new)

    return call


def fitted(m, _):
    """The attributes; arrays of a fit's device."""
    names = ("X_train_", "f_draws_", "inducing_points_")
    arrays = tuple(getattr(m, name) for name in names if hasattr(m, name))
    bounds = {str(k): float(value) for k, value in enumerate(m.lower_bounds_)}
    return arrays, bounds, {"theta": m.kernel_.theta, "jitter": m.jitter_}


def partial(X, y, X_new):
    """Two pieces of a stream."""
    m = lvm.PolyaGammaGPClassifier(lvm.kernels.RBF(1.5, 1.0), inducing=Z, step_size=0.5)
    m.partial_fit(X[:20], y[:20], classes=[0, 1]).partial_fit(X[20:], y[20:])
    return m.predict_proba(X_new), fitted(m, X_new)


OPERATIONS = {
    "attributes": fitted,
    "predict": lambda m, X: m.predict(X),
    "proba": lambda m, X: m.predict_proba(X),
    "f": lambda m, X: m.predict_f(X),
    "samples": lambda m, X: m.sample_f(X, 3, random_state=5),
}


def all_of_them(m, X):
    """Every operation of one fit."""
    return tuple(function(m, X) for function in OPERATIONS.values())


MODELS = {
    "kept": (KEPT, 100),
    "sparse, kept": ({**KEPT, "inducing": Z}, 1e4),
    "learned": (LEARNED, 1e5),
    "sparse, learned": ({**LEARNED, "inducing": Z}, 1e6),
    "batches": ({"inducing": Z, "batch_size": 8, "max_iter": 2, "random_state": 0}, 1e5),
    "gibbs": (GIBBS, 1e5),  # the condition of the prior's covariance
}
GP_CLASSIFIER = {
    name: Case(data, whole(all_of_them, **params), N, CONDITION * condition)
    for name, (params, condition) in MODELS.items()
}
for name in ("sum", "product"):
    GP_CLASSIFIER[f"{name}: proba"] = Case(data, whole(OPERATIONS["proba"], name, **KEPT), N, CONDITION * 100)
GP_CLASSIFIER |= {
    "gibbs: of each draw": Case(
        data, whole(lambda m, X: m.predict_proba(X, per_draw=True), **GIBBS), N, CONDITION * 1e5
    ),
    "partial_fit": Case(data, partial, N, CONDITION * 1e5),
}
