"""Cases of stochastic variational inference: a model fitted to X and y, and what it answers at new X.

Parameters stay where they start (a learning rate of nothing): Adam's first steps have the signs of gradients, and those
of a gradient that vanishes are rounding.
"""

from __future__ import annotations

import numpy as np
from device.cases import Case
from device.gpr_cases import KERNELS, NOISE, M, N, cov, data, paths, std
from device.sgpr_cases import Z
from device.sgpr_cases import model as sgpr_model
from reference import covariances

import lvmfast as lvm
from lvmfast import likelihoods
from lvmfast._backend import namespace

CONDITION = 1e3  # that of K_uu, and of what the noise magnifies
STILL = {"learning_rate": 1e-12, "schedule": None, "inducing": Z, "max_iter": 2, "random_state": 0}


def model(name="RBF", likelihood=None, **params):
    """With its parameters kept, and q(u) after two steps."""
    likelihood = likelihoods.Gaussian(NOISE) if likelihood is None else likelihood
    return lvm.SVGP(covariances.build(KERNELS[name], lvm.kernels), likelihood=likelihood, **{**STILL, **params})


def whole(function, **params):
    """``function(model, X_new)`` of the model fitted to X and y."""
    return lambda X, y, X_new: function(model(**params).fit(X, y), X_new)


def attributes(m, X):
    numbers = {name: getattr(m, name) for name in ("lower_bound_", "elbo_curve_", "jitter_", "mean_coef_")}
    return (m.inducing_, m.inducing_posterior()), numbers | {"theta": m.kernel_.theta}


def bound(change=lambda y: y, known=None, **params):
    """Value and gradient; ``change(y)`` is observed, and ``known`` (N,) is known of it by the name that it has."""

    def call(X, y, X_new):
        y = change(y)
        more = {} if known is None else {known[0]: namespace(X).asarray(known[1])}
        value, gradient = model(**params).fit(X, y, **more).elbo(X, y, gradient=True, **more)
        return {"value": value, "gradient": gradient}

    return call


def own_density(y, f):
    return -((y - f) ** 2) - 0.1 * (y - f) ** 4


def stopped(X, y, X_new):
    """Batches of arrays, checks on rows held out, and more steps after a pause."""
    m = model(early_stopping=True, eval_every=1)
    half = [(X[:15], y[:15]), {"X": X[15:], "y": y[15:], "sample_weight": y[15:] ** 2}]
    m.fit(half, validation=(X_new, X_new[:, 0])).resume(half, max_iter=4, validation=(X_new, X_new[:, 0]))
    return attributes(m, X_new), {"checks": m.validation_curve_}, m.best_iter_ > 0


def pieces(X, y, X_new):
    """A stream, from the posterior of a regression."""
    m = lvm.SVGP.from_sgpr(sgpr_model().fit(X, y), **{k: STILL[k] for k in ("learning_rate", "schedule")})
    before = m.predict_f(X_new)
    m.partial_fit(X[:20], y[:20]).partial_fit(X[20:], y[20:])
    return before, m.predict_f(X_new), attributes(m, X_new)


def counts(y):
    return namespace(y).floor(namespace(y).exp(y))


def classes(y):
    return (y > 1).astype(y.dtype) + (y > 2)


ANSWERS = {"attributes": attributes, "std": std, "cov": cov, "paths": paths}
SVGP = {what: Case(data(), whole(function), N, CONDITION) for what, function in ANSWERS.items()}
FORMS = {
    "diagonal": {"q_diag": True},
    "not whitened": {"whiten": False},
    "not whitened, diagonal": {"whiten": False, "q_diag": True},
    "batches": {"batch_size": 11},
    "sum, linear mean": {"name": "sum", "mean": "linear"},
    "product, zero mean": {"name": "product", "mean": "zero"},
    "Adam": {"optimizer": "adam"},
    "Adam, not whitened": {"optimizer": "adam", "whiten": False},
}
SVGP |= {name: Case(data(), bound(**params), N, CONDITION) for name, params in FORMS.items()}
LIKELIHOODS = {
    "Bernoulli": (likelihoods.Bernoulli(), lambda y: (y > 1.5).astype(y.dtype)),
    "probit": (likelihoods.Bernoulli("probit"), lambda y: (y > 1.5).astype(y.dtype)),
    "Poisson": (likelihoods.Poisson(), counts),
    "Student's t": (likelihoods.StudentT(0.5), lambda y: y),
    "Beta": (likelihoods.Beta(5.0), lambda y: 1 / (1 + namespace(y).exp(-y))),
    "Gamma": (likelihoods.Gamma(2.0), lambda y: namespace(y).exp(y)),
    "negative binomial": (likelihoods.NegativeBinomial(0.5), counts),
    "ordinal": (likelihoods.Ordinal([-0.5, 0.5]), classes),
    "Custom": (likelihoods.Custom(own_density), lambda y: y),
    "softmax": (likelihoods.Softmax(3), classes),
    "robust max": (likelihoods.RobustMax(3), classes),
}
SVGP |= {
    name: Case(data(), bound(change, likelihood=likelihood), N, CONDITION)
    for name, (likelihood, change) in LIKELIHOODS.items()
}
SVGP |= {
    "noise of each row": Case(data(), bound(known=("noise_variance", np.linspace(0.1, 0.5, N))), N, CONDITION),
    "exposure": Case(
        data(),
        bound(counts, known=("exposure", np.linspace(0.5, 2.0, N)), likelihood=likelihoods.Poisson()),
        N,
        CONDITION,
    ),
    "weights": Case(data(), bound(known=("sample_weight", np.linspace(0.0, 2.0, N))), N, CONDITION),
    "three outputs": Case(data(d=3), bound(), N, CONDITION),
    "density": Case(data(), whole(lambda m, X: m.log_predictive_density(X, X[:, 0])), N, CONDITION),
    "counts": Case(
        data(), lambda X, y, new: model(likelihood=likelihoods.Poisson()).fit(X, counts(y)).predict(new), N, CONDITION
    ),
    "probabilities": Case(
        data(),
        lambda X, y, new: model(likelihood=likelihoods.Softmax(3)).fit(X, classes(y)).predict_proba(new),
        N,
        CONDITION,
    ),
    "inducing inputs that lie close": Case(data(), bound(inducing=Z * 0.02), N, 100 * CONDITION),
    "one row": Case(data(1, M), whole(std, inducing=Z[:1]), N, CONDITION),
    "checks and more steps": Case(data(), stopped, N, CONDITION),
    "pieces": Case(data(), pieces, N, CONDITION),
}
