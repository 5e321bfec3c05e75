"""Cases of exact regression: a model fitted to X and y, and what it answers at new X."""

from __future__ import annotations

import numpy as np
from device.cases import Case
from reference import covariances, gpr
from reference.covariances import Leaf, Product, Sum

import lvmfast as lvm
from lvmfast._backend import namespace

NOISE, N, M = 0.2, 30, 7
KERNELS = {
    "RBF": Leaf("RBF", {"variance": 1.5, "lengthscale": np.array([0.75, 1.5])}),
    "sum": Sum(
        [
            Leaf("Matern52", {"variance": 1.0, "lengthscale": 1.25}),
            Leaf("Linear", {"variance": 0.25}, (1,)),
            Leaf("White", {"variance": 0.125}),
        ]
    ),
    "product": Product(
        [
            Leaf("RBF", {"variance": 1.5, "lengthscale": 1.5}),
            Leaf("Periodic", {"variance": 1.0, "lengthscale": 1.0, "period": 2.5}),
        ]
    ),
}
SHORT = {"optimizer": "lbfgs", "max_iter": 3}
CONDITION = 1 + N * 2.5 / NOISE  # at least that of the covariance
FITTED = 10 * CONDITION  # iterations magnify roundings


def data(n=N, m=M, d=None, q=2):
    """X, y and new X: sines with noise."""

    def inputs(rng, dtype):
        X = rng.uniform(-2, 2, (n + m, q))
        y = 1.5 + np.sin(X @ rng.standard_normal((q, d or 1))) + 0.3 * rng.standard_normal((n + m, d or 1))
        X, y = (a.astype(np.float32).astype(dtype) for a in (X, y))
        return X[:n], (y[:n, 0] if d is None else y[:n]).copy(), X[n:].copy()

    return inputs


def model(name="RBF", **params):
    """With its parameters kept, unless an optimizer is named."""
    params = {"noise_variance": NOISE, "optimizer": None, **params}
    return lvm.GPR(covariances.build(KERNELS[name], lvm.kernels), **params)


def fitted_numbers(gpr_model):
    """The attributes."""
    arrays = tuple(getattr(gpr_model, name) for name in ("L_", "alpha_", "X_train_", "y_train_"))
    names = ("log_marginal_likelihood_", "log_posterior_", "jitter_", "noise_variance_")
    numbers = {name: getattr(gpr_model, name) for name in names}
    theta = {"theta": gpr_model.kernel_.theta, "mean_coef": gpr_model.mean_coef_}
    return arrays, numbers, theta, str(gpr_model.device_ == ("cpu" if arrays[0].__class__ is np.ndarray else "cuda"))


def whole(function, **params):
    """``function(model, X_new)`` of the model fitted to X and y."""
    return lambda X, y, X_new: function(model(**params).fit(X, y), X_new)


def std(m, X):
    return m.predict(X, return_std=True)


def cov(m, X):
    return m.predict(X, return_cov=True)


def likelihood(m, X):
    value, gradient = m.log_marginal_likelihood(m.kernel_.theta + 0.1 if not m.learn_noise else None, gradient=True)
    return {"value": value, "gradient": gradient}


def fantasies(m, X):
    outcomes = X[None, :, 0] + namespace(X).arange(3.0)[:, None]
    return m.fantasize(X, outcomes).predict(X[:4] + 0.5, return_std=True)


def on(function):
    """What ``function`` gives for a model that was conditioned on the first new rows, at the others."""

    def call(m, X):
        y = X[:4, 0] if m.y_train_.ndim == 1 else X[:4, :1] + 0 * m.y_train_[:4]
        return function(m.condition_on(X[:4], y), X[4:])

    return call


def paths(m, X):
    draw = m.pathwise_samples(3, n_features=50, random_state=4)
    return draw(X), draw(X[:2])


def noisy(function, **params):
    """Rows with noise variances of their own."""
    return whole(function, noise_variance=np.linspace(0.1, 0.5, N), **params)


def exact(what, **changes):
    """The oracle's answer, for the zero or the constant mean."""

    def call(X, y, X_new):
        node = KERNELS[changes.get("name", "RBF")]
        noise = changes.get("noise_variance", NOISE)
        gp = gpr.GP(lambda A, B=None: covariances.matrix(node, A, B), X, y, noise, changes.get("mean", "constant"))
        return what(gp, X_new)

    return call


def exact_std(gp, X):
    mean, covariance = gpr.predict(gp, X)
    return mean, np.sqrt(np.diag(covariance))


OPERATIONS = {
    "attributes": lambda m, X: fitted_numbers(m),
    "mean": lambda m, X: m.predict(X),
    "std": std,
    "cov": cov,
    "noisy std": lambda m, X: m.predict(X, return_std=True, include_noise=True),
    "gradient": lambda m, X: m.predict_gradient(X),
    "samples": lambda m, X: m.sample_y(X, 3, random_state=5),
    "likelihood": likelihood,
    "condition_on": on(lambda m, X: (fitted_numbers(m), std(m, X))),
}

FEW = ("attributes", "std", "gradient", "condition_on")
GPR = {f"RBF: {what}": Case(data(), whole(function), N, CONDITION) for what, function in OPERATIONS.items()}
for name, mean in [("sum", "zero"), ("product", "constant"), ("RBF", "linear"), ("sum", "linear")]:
    GPR |= {
        f"{name}, {mean} mean: {what}": Case(data(), whole(OPERATIONS[what], name=name, mean=mean), N, CONDITION)
        for what in FEW
    }
for name in KERNELS:
    GPR[f"{name}: std of the oracle"] = Case(data(), whole(std, name=name), N, CONDITION, exact(exact_std, name=name))
    GPR[f"{name}: cov of the oracle"] = Case(data(), whole(cov, name=name), N, CONDITION, exact(gpr.predict, name=name))
GPR |= {
    f"three outputs: {what}": Case(data(d=3), whole(function), N, CONDITION)
    for what, function in OPERATIONS.items()
    if what != "samples"
}
REST = {
    "fantasies": whole(fantasies),
    "fantasies of a conditioned model": whole(on(fantasies)),
    "paths": whole(paths),
    "paths of a sum": whole(paths, name="sum"),
    "noise of each row": noisy(std),
    "noise of each row: attributes": noisy(lambda m, X: fitted_numbers(m)),
    "kept noise": whole(likelihood, learn_noise=False),
    "jitter": whole(lambda m, X: (fitted_numbers(m), std(m, X)), jitter=0.125),
    "callable mean": whole(lambda m, X: (std(m, X), m.predict_gradient(X)), mean=lambda X: X[:, 0] ** 2),
}
GPR |= {what: Case(data(), call, N, CONDITION) for what, call in REST.items()}
GPR |= {
    "leave one out": Case(
        data(), whole(lambda m, X: m.leave_one_out()), N, CONDITION, exact(lambda gp, X: gpr.leave_one_out(gp))
    ),
    "one row": Case(data(1, 2), whole(lambda m, X: (fitted_numbers(m), std(m, X))), N, CONDITION),
    "65 rows, 40 columns": Case(
        data(65, 65, q=40), whole(lambda m, X: (std(m, X), likelihood(m, X)), name="sum"), 65, CONDITION
    ),
    "fit": Case(data(), whole(lambda m, X: (fitted_numbers(m), std(m, X)), **SHORT), N, FITTED),
    "fit of a sum": Case(data(), whole(lambda m, X: (fitted_numbers(m), std(m, X)), name="sum", **SHORT), N, FITTED),
}
