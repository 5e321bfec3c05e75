"""Cases of logistic regression: a model fitted to X and labels or counts, and what it answers at new X."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from reference import logistic

import lvmfast as lvm

N, M = 40, 6
STEPS = {"n_samples": 4, "burn_in": 2, "n_chains": 2, "random_state": 5}
REST = {"bernoulli": {}, "binomial": {"n_trials": 7}, "negative-binomial": {"dispersion": 2.5}}
CONDITION = 100.0  # of the posterior precision, and of the draws given other draws


def data(kind="bernoulli", n=N, m=M, q=2):
    """X, y and new X."""

    def inputs(rng, dtype):
        X = rng.standard_normal((n + m, q)).astype(np.float32).astype(dtype)
        f = X[:n].astype(float) @ rng.standard_normal(q) / np.sqrt(q)
        y = logistic.draw(rng, kind, f, next(iter(REST[kind].values()), None))
        if kind == "bernoulli":
            y[:2] = 0, 1
        return X[:n].copy(), y, X[n:].copy()

    return inputs


def model(kind, **params):
    return lvm.PolyaGammaLogisticRegression(likelihood=kind, **{**STEPS, **params})


def whole(function, kind="bernoulli", **params):
    """``function(model, X_new)`` of the model fitted to X and y."""
    return lambda X, y, X_new: function(model(kind, **params).fit(X, y, **REST[kind]), X_new)


def attributes(m, X):
    names = ("coef_", "intercept_", "coef_draws_", "intercept_draws_", "covariance_", "lower_bounds_", "n_iter_")
    return {name: getattr(m, name) for name in names if hasattr(m, name)}, getattr(m, "omega_draws_", None)


def answers(m, X):
    if m.likelihood == "bernoulli":
        return m.predict_proba(X), m.predict_log_proba(X), m.decision_function(X)
    return m.predict_proba(X), m.predict(X)


def on_the_host(m, X):
    y = np.zeros(len(X))
    return {"density": m.log_predictive_density(X, y), "sample": m.sample_y(X, 3), "r_hat": len(m.summary().names)}


def states(X, y, X_new):
    """Three of the iterator."""
    found = model("bernoulli").itergibbs(X, y)
    pairs = [next(found) for _ in range(3)]
    return {"beta": np.array([beta for beta, _ in pairs])}, *(omega for _, omega in pairs)


LOGISTIC = {}
for kind in REST:
    for method in ("gibbs", "vi"):
        for what, function in (("attributes", attributes), ("answers", answers), ("host", on_the_host)):
            call = whole(function, kind, method=method, max_iter=3, callback=lambda status: False)
            LOGISTIC[f"{kind}, {method}: {what}"] = Case(data(kind), call, N, CONDITION)
LOGISTIC |= {
    "omega": Case(data(), whole(attributes, keep_omega=True), N, CONDITION),
    "resume": Case(data(), whole(lambda m, X: attributes(m.resume(3), X), keep_omega=True, thin=2), N, CONDITION),
    "per draw": Case(data(), whole(lambda m, X: m.predict_proba(X, per_draw=True)), N, CONDITION),
    "iterator": Case(data(), states, N, CONDITION),
    "no intercept": Case(data(), whole(attributes, fit_intercept=False), N, CONDITION),
    "basis": Case(data(), whole(answers, basis=lambda X: np.hstack([X, X**2])), N, CONDITION),
    "one column": Case(data(q=1), whole(attributes, fit_intercept=False), N, CONDITION),
    "300 rows, 20 columns": Case(data(n=300, q=20), whole(attributes), 300, CONDITION),
    "weights": Case(
        data(),
        lambda X, y, X_new: attributes(
            model("bernoulli", keep_omega=True).fit(X, y, sample_weight=np.arange(N) % 3), X_new
        ),
        N,
        CONDITION,
    ),
}
