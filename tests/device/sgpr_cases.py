"""Cases of sparse regression: a model fitted to X and y, and what it answers at new X."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from device.gpr_cases import KERNELS, NOISE, M, N, cov, data, paths, std
from reference import covariances

import lvmfast as lvm

Z = np.random.default_rng(3).uniform(-2, 2, (6, 2)).astype(np.float32).astype(float)
CONDITION = 1e3 * (1 + N * 2.5 / NOISE)  # that of K_uu magnifies too
NUMBERS = ("lower_bound_", "upper_bound_", "log_posterior_", "jitter_", "noise_variance_")


def model(name="RBF", **params):
    """With its parameters kept, unless an optimizer is named."""
    params = {"noise_variance": NOISE, "optimizer": None, "inducing": Z, **params}
    return lvm.SGPR(covariances.build(KERNELS[name], lvm.kernels), **params)


def whole(function, **params):
    """``function(model, X_new)`` of the model fitted to X and y."""
    return lambda X, y, X_new: function(model(**params).fit(X, y), X_new)


def attributes(m, X):
    numbers = {name: getattr(m, name) for name in NUMBERS} | {"theta": m.kernel_.theta, "mean_coef": m.mean_coef_}
    return (m.inducing_, m.inducing_posterior()), numbers


def bound(**params):
    """Value and gradient."""

    def call(X, y, X_new):
        value, gradient = model(**params).fit(X, y).elbo(X, y, gradient=True)
        return {"value": value, "gradient": gradient}

    return call


ANSWERS = {"attributes": attributes, "std": std, "cov": cov, "paths": paths}
SGPR = {f"{what}": Case(data(), whole(function), N, CONDITION) for what, function in ANSWERS.items()}
for approximation in ("vfe", "fitc"):
    SGPR |= {
        f"{approximation}, {name}, {mean} mean": Case(
            data(), bound(name=name, mean=mean, approximation=approximation), N, CONDITION
        )
        for name, mean in [("RBF", "constant"), ("sum", "linear"), ("product", "zero")]
    }
    SGPR[f"{approximation}, noise of each row"] = Case(
        data(), bound(approximation=approximation, noise_variance=np.linspace(0.1, 0.5, N)), N, CONDITION
    )
    SGPR[f"{approximation}, three outputs"] = Case(data(d=3), bound(approximation=approximation), N, CONDITION)
SGPR |= {
    "density": Case(data(), whole(lambda m, X: m.log_predictive_density(X, X[:, 0])), N, CONDITION),
    "inducing inputs that lie close": Case(data(), bound(inducing=Z * 0.02), N, 100 * CONDITION),
    "one row": Case(data(1, M), whole(std, inducing=Z[:1]), N, CONDITION),
    "fit": Case(data(), whole(std, optimizer="lbfgs", max_iter=3, inducing=Z), N, 10 * CONDITION),
}
