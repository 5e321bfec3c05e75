"""Cases of the latent variable model: the objective, short fits, and what a model answers."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from helpers import observations

import lvmfast as lvm
from lvmfast._backend import is_gpu, to_numpy
from lvmfast.models._gplvm_posterior import TOLERANCE
from lvmfast.models._gplvm_problem import Problem

N, D, M = 20, 5, 2
NAN = np.nan
KERNELS = {
    "RBF": lvm.kernels.RBF(0.5, [1.0, 1.5]),
    "Matern": lvm.kernels.Matern52(0.5, 1.25),
    "sum": lvm.kernels.RBF(0.5, 1.25) + 0.25 * lvm.kernels.Linear(1.0) + lvm.kernels.White(0.125),
}
CONDITION = 1 + N * 0.75 / 0.125


def data(missing=0.0, missing_new=0.0, n=N, d=D):
    """Y to fit, and new rows; with holes, a row and a column without anything observed, and a complete column."""

    def inputs(rng, dtype):
        Y = observations(n + M, d, seed=4)
        train, new = Y[:n], Y[n:]
        if missing:
            train[rng.random(train.shape) < missing] = NAN
            train[:, 0] = Y[:n, 1] + 1
            train[3], train[:, 2] = NAN, NAN
        if missing_new:
            new[rng.random(new.shape) < missing_new] = NAN
            new[:, 0] = 3.0
        return train.astype(np.float32).astype(dtype), new.astype(np.float32).astype(dtype)

    return inputs


def value_and_gradient(kernel, **params):
    """The loss and its gradient where the latents start; what is on the GPU is evaluated there."""

    def call(Y, _):
        device = "cuda" if is_gpu(Y) else "cpu"
        problem = Problem(to_numpy(Y), center=True, device=device)
        objective = problem.objective(KERNELS[kernel], 2, params.get("jitter", 0.0))
        X = np.sin(np.arange(2.0 * len(Y))).reshape(-1, 2)
        loss, gradient = objective(objective.pack(X, 0.25))
        return {"loss": float(loss), "gradient": gradient}

    return call


def model(**params):
    return lvm.GPLVM(**{"noise_variance": 0.25, "max_iter": 4, "optimizer": "adam", **params})


def whole(function, **params):
    """``function(model, new rows)`` of a model fitted to Y."""
    return lambda Y, new: function(model(**params).fit(Y), new)


def fitted_numbers(m, _=None):
    arrays = m.embedding_, m.Y_train_, m.mean_
    names = ("log_marginal_likelihood_", "noise_variance_", "jitter_", "n_iter_", "n_features_in_")
    numbers = {name: getattr(m, name) for name in names}
    return arrays, numbers, {"theta": m.kernel_.theta, "curve": m.loss_curve_}


def latents(m):
    """At, between and far from those of the training rows."""
    X = m.embedding_
    return X[:4] + 0.25 * (X[1:5] - X[:4])


OPERATIONS = {
    "attributes": fitted_numbers,
    "inverse_transform": lambda m, _: m.inverse_transform(latents(m), return_std=True),
    "inverse_transform, noise": lambda m, _: m.inverse_transform(latents(m), return_std=True, include_noise=True),
    "sample": lambda m, _: m.sample(latents(m), 3, random_state=2),
    "sample, not joint": lambda m, _: m.sample(latents(m), 3, joint=False, include_noise=True, random_state=2),
}


def all_of_them(m, new):
    """Every operation of one fit."""
    return tuple(function(m, new) for function in OPERATIONS.values())


SEARCHES = {
    "transform": lambda m, new: m.transform(new, return_std=True),
    "score": lambda m, new: {"score": m.score(new)},
}


def rounded(dtype):
    """The condition of fits that begin in float32."""
    return CONDITION * np.finfo(np.float32).eps / np.finfo(dtype).eps


def searched(dtype):
    """The condition of latents that were searched, to a gradient that is small, but not for rounding."""
    return max(CONDITION, TOLERANCE / np.finfo(dtype).eps)


GPLVM = {
    f"objective of {name}, {size} rows{', missing' if share else ''}": Case(
        data(share, n=size, d=7), value_and_gradient(name), 1, CONDITION
    )
    for name in KERNELS
    for size in (10, 65)
    for share in (0.0, 0.3)
}
GPLVM |= {
    f"{name}{', missing' if share else ''}": Case(
        data(share), whole(all_of_them, kernel=KERNELS[name], missing="marginalize" if share else "raise"), N, CONDITION
    )
    for name in ("RBF", "sum")
    for share in (0.0, 0.3)
}
GPLVM |= {
    f"missing {share}, new {new}: {what}": Case(
        data(share, new),
        whole(function, missing="marginalize" if share else "raise"),
        N,
        CONDITION if what == "score" else searched,
    )
    for share in (0.0, 0.3)
    for new in (0.0, 0.4)
    for what, function in SEARCHES.items()
}
GPLVM |= {
    "optimizer lbfgs": Case(data(), whole(fitted_numbers, optimizer="lbfgs"), N, searched),
    "optimizer auto": Case(data(), whole(fitted_numbers, optimizer="auto"), N, rounded),
    "jitter": Case(data(), whole(fitted_numbers, jitter=0.125), N, CONDITION),
    "uncentred": Case(data(), whole(fitted_numbers, center=False), N, CONDITION),
    "random start": Case(data(), whole(fitted_numbers, init="random", random_state=3), N, CONDITION),
    "resume": Case(data(), whole(lambda m, _: fitted_numbers(m.resume(6)), optimizer="lbfgs"), N, searched),
    "fit_transform": Case(data(), lambda Y, _: model().fit_transform(Y), N, CONDITION),
}  # fmt: skip
