"""Peer implementations of exact GP regression with an ARD RBF kernel, behind one interface.

The model is y ~ N(0, K + noise_variance I) with theta = (log variance, log lengthscales, log noise_variance).
``PEERS[name](case, operation)`` does all the set-up, compilation and a first call included, and returns ``run``, which
computes the answer once and returns when it is complete, or raises ``Unavailable`` where the library is not installed
or the problem is not for it. ``ours(case, operation)`` does the same with lvmfast.

================ =================== ==================================================================
operation        called as           answer
================ =================== ==================================================================
``likelihood``   ``run(theta)``      log p(y) and its gradient (p,) by theta
``mean``         ``run(X_new)``      ``(mean (m,),)`` of the latent function, parameters ``case.theta``
``mean_and_std`` ``run(X_new)``      mean (m,) and standard deviation (m,), without noise
``fit``          ``run()``           log p(y) at its maximum and theta there, from ``case.theta``
================ =================== ==================================================================

Importing this module imports none of the libraries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os

import numpy as np
import scipy.linalg

from .covariances import Unavailable, gpflow_floats, require

__all__ = ["PEERS", "RegressionCase", "Unavailable", "ours"]


@dataclasses.dataclass
class RegressionCase:
    """Observations drawn from the model, and parameters near those they were drawn with."""

    X: np.ndarray
    y: np.ndarray
    theta: np.ndarray
    X_new: np.ndarray
    known: dict = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def random(cls, n: int, dtype: str, q: int = 8) -> RegressionCase:
        """Standard normal X (n, q), lengthscales around sqrt(q), noise of a twentieth of the variance; one X_new."""
        rng = np.random.default_rng(0)
        X, X_new = rng.standard_normal((n, q)), rng.standard_normal((1, q))
        drawn = np.log(np.r_[2.0, np.sqrt(q) * np.linspace(0.7, 1.3, q), 0.1])
        y = np.linalg.cholesky(covariance(X, X, drawn) + 0.1 * np.eye(n)) @ rng.standard_normal(n)
        theta = drawn + rng.uniform(-0.3, 0.3, len(drawn))
        return cls(X.astype(dtype), y.astype(dtype), theta, X_new.astype(dtype))

    @property
    def dtype(self) -> np.dtype:
        """Of the data; theta is float64 always."""
        return self.X.dtype

    @property
    def parameters(self) -> tuple[float, np.ndarray, float]:
        """Variance, lengthscales and noise variance."""
        variance, *lengthscale, noise_variance = np.exp(self.theta)
        return variance, np.array(lengthscale), noise_variance

    def expected(self, operation: str, argument) -> tuple:
        """The answer in plain NumPy: with W = (alpha alpha^T - (K + noise I)^-1) * K, alpha = (K + noise I)^-1 y."""
        key = operation, np.asarray(argument).tobytes()
        if key not in self.known:
            self.known[key] = self.computed(operation, argument)
        return self.known[key]

    def computed(self, operation: str, argument) -> tuple:
        """``expected`` at its first call."""
        theta = argument if operation == "likelihood" else self.theta
        X, y = self.X.astype(float), self.y.astype(float)
        noise_variance = np.exp(theta[-1])
        K = covariance(X, X, theta)
        factor = scipy.linalg.cho_factor(K + noise_variance * np.eye(len(X)), lower=True)
        alpha = scipy.linalg.cho_solve(factor, y)
        if operation.startswith("mean"):
            k = covariance(X, argument.astype(float), theta)
            variance = np.exp(theta[0]) - (k * scipy.linalg.cho_solve(factor, k)).sum(axis=0)
            return (k.T @ alpha, np.sqrt(variance))[: 1 if operation == "mean" else 2]
        value = -0.5 * (y @ alpha + len(y) * np.log(2 * np.pi)) - np.log(np.diag(factor[0])).sum()
        S = np.outer(alpha, alpha) - scipy.linalg.cho_solve(factor, np.eye(len(X)))
        W, A = S * K, X / np.exp(theta[1:-1])
        d_lengthscale = W.sum(axis=1) @ A**2 - (A * (W @ A)).sum(axis=0)
        return value, np.r_[0.5 * W.sum(), d_lengthscale, 0.5 * noise_variance * np.trace(S)]

    def assert_answer(self, answer, operation: str, argument) -> None:
        """Every part agrees to a tolerance relative to its largest entry: 1e-6 in float64.

        The likelihood's gradient is measured by n / 2 as well, which the terms that cancel in it amount to.
        """
        rtol = 1e-6 if self.dtype == np.float64 else 5e-3
        for k, (theirs, exact) in enumerate(zip(answer, self.expected(operation, argument), strict=True)):
            scale = max(np.abs(exact).max(), len(self.y) / 2 if operation == "likelihood" and k else 0)
            np.testing.assert_allclose(
                np.asarray(theirs), exact, rtol=0, atol=rtol * scale, err_msg=f"{operation}, answer {k}"
            )


def covariance(X, Z, theta):
    """The kernel's matrix (n, m), squared distances summed from differences."""
    A, B = X / np.exp(theta[1:-1]), Z / np.exp(theta[1:-1])
    return np.exp(theta[0] - 0.5 * sum(np.square(a[:, None] - b) for a, b in zip(A.T, B.T, strict=True)))


def ours(case: RegressionCase, operation: str):
    """lvmfast.GPR; its likelihood as a fit evaluates it, in the dtype of the data."""
    import lvmfast
    from lvmfast.models._gpr_mean import Mean
    from lvmfast.models._gpr_objective import GprObjective

    variance, lengthscale, noise_variance = case.parameters
    kernel = lvmfast.kernels.RBF(variance, lengthscale)
    optimizer = "lbfgs" if operation == "fit" else None
    model = lvmfast.GPR(kernel, mean="zero", noise_variance=noise_variance, optimizer=optimizer)
    if operation == "fit":

        def fit():
            model.fit(case.X, case.y)
            return model.log_marginal_likelihood_, np.r_[model.kernel_.theta, np.log(model.noise_variance_)]

        return fit
    model.fit(case.X, case.y)
    X, Y = case.X.astype(float), case.y.astype(float)[:, None]
    objective = GprObjective(kernel, Mean("zero", X), X, Y, noise_variance, True, "auto", case.dtype)
    runs = {
        "likelihood": objective.log_marginal_likelihood,
        "mean": lambda X_new: (model.predict(X_new),),
        "mean_and_std": lambda X_new: model.predict(X_new, return_std=True),
    }
    return first_call(runs[operation], case, operation)


def first_call(run, case, operation):
    """``run`` after a first call."""
    run(case.theta if operation == "likelihood" else case.X_new)
    return run


def scikit_learn(case, operation):
    """GaussianProcessRegressor in float64, no normalisation; a WhiteKernel where the noise is learned."""
    require("sklearn")
    if case.dtype != np.float64:
        raise Unavailable("scikit-learn's regressor computes in float64")
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    variance, lengthscale, noise_variance = case.parameters
    latent = ConstantKernel(variance) * RBF(lengthscale)
    kernel = latent + WhiteKernel(noise_variance)
    if operation == "fit":

        def fit():
            model = GaussianProcessRegressor(kernel, alpha=0.0, n_restarts_optimizer=0).fit(case.X, case.y)
            return model.log_marginal_likelihood_value_, model.kernel_.theta

        return fit
    if operation == "likelihood":
        model = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(case.X, case.y)
        options = {"eval_gradient": True, "clone_kernel": False}
        return first_call(lambda theta: model.log_marginal_likelihood(theta, **options), case, operation)
    model = GaussianProcessRegressor(latent, alpha=noise_variance, optimizer=None).fit(case.X, case.y)
    runs = {
        "mean": lambda X_new: (model.predict(X_new),),
        "mean_and_std": lambda X_new: model.predict(X_new, return_std=True),
    }
    return first_call(runs[operation], case, operation)


def gpytorch(case, operation):
    """ExactGP with a ScaleKernel of RBFKernel; Cholesky factorisations always, never conjugate gradients."""
    require("torch", "gpytorch")
    import gpytorch as library
    import torch
    from gpytorch.constraints import Positive

    if operation == "fit":
        raise Unavailable("it leaves the choice of the optimiser to the user")
    settings = library.settings
    n, q = case.X.shape
    exp = {"transform": torch.exp, "inv_transform": torch.log}

    class Model(library.models.ExactGP):
        def __init__(self, X, y, likelihood):
            super().__init__(X, y, likelihood)
            self.mean_module = library.means.ZeroMean()
            base = library.kernels.RBFKernel(ard_num_dims=q, lengthscale_constraint=Positive(**exp))
            self.covar_module = library.kernels.ScaleKernel(base, outputscale_constraint=Positive(**exp))

        def forward(self, X):
            return library.distributions.MultivariateNormal(self.mean_module(X), self.covar_module(X))

    X, y = torch.tensor(case.X), torch.tensor(case.y)
    likelihood = library.likelihoods.GaussianLikelihood(noise_constraint=Positive(**exp))
    model = Model(X, y, likelihood).to(X.dtype)
    k = model.covar_module
    raw = k.raw_outputscale, k.base_kernel.raw_lengthscale, likelihood.noise_covar.raw_noise
    mll = library.mlls.ExactMarginalLogLikelihood(likelihood, model)

    def set_parameters(theta):
        values = torch.as_tensor(theta, dtype=X.dtype).split([1, q, 1])
        with torch.no_grad():
            for parameter, value in zip(raw, values, strict=True):
                parameter.copy_(value.reshape(parameter.shape))

    def run_likelihood(theta):
        set_parameters(theta)
        with settings.max_cholesky_size(n), settings.debug(False):
            value = n * mll(model(X), y)
            gradients = torch.autograd.grad(value, raw)
        return value.item(), torch.cat([g.reshape(-1) for g in gradients])

    def mean(X_new):
        with torch.no_grad(), exact(), settings.skip_posterior_variances():
            return (model(torch.from_numpy(X_new)).mean,)

    def mean_and_std(X_new):
        with torch.no_grad(), exact():
            latent = model(torch.from_numpy(X_new))
            return latent.mean, latent.variance.sqrt()

    @contextlib.contextmanager
    def exact():
        with settings.max_cholesky_size(n), settings.fast_pred_var(), settings.debug(False):
            yield

    if operation == "likelihood":
        return first_call(run_likelihood, case, operation)
    set_parameters(case.theta)
    model.eval()
    return first_call({"mean": mean, "mean_and_std": mean_and_std}[operation], case, operation)


def gpflow(case, operation):
    """gpflow.models.GPR in a tf.function (XLA would be slower); predictions from a posterior that keeps its factor."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require("tensorflow", "gpflow")
    import gpflow as library
    import tensorflow as tf
    import tensorflow_probability as tfp

    if operation == "fit":
        raise Unavailable("it leaves the choice of the optimiser to the user")
    variance, lengthscale, noise_variance = case.parameters

    def parameter(value):
        return library.Parameter(np.asarray(value, case.dtype), transform=tfp.bijectors.Exp())

    with gpflow_floats(case.dtype):
        k = library.kernels.SquaredExponential(lengthscales=np.ones(case.X.shape[1]))
        k.variance, k.lengthscales = parameter(variance), parameter(lengthscale)
        model = library.models.GPR((case.X, case.y[:, None]), k)
        model.likelihood.variance = parameter(noise_variance)
        leaves = [p.unconstrained_variable for p in (k.variance, k.lengthscales, model.likelihood.variance)]

        @tf.function
        def loss_and_gradients():
            with tf.GradientTape() as tape:
                loss = model.training_loss()
            return loss, tape.gradient(loss, leaves)

        def likelihood(theta):
            for variable, value in zip(leaves, (theta[0], theta[1:-1], theta[-1]), strict=True):
                variable.assign(value.astype(case.dtype))
            loss, gradients = loss_and_gradients()
            return -float(loss), -np.concatenate([np.ravel(g) for g in gradients])

        if operation == "likelihood":
            return first_call(likelihood, case, operation)
        posterior = model.posterior()

        @tf.function
        def predict(X_new):
            mean, variance = posterior.predict_f(X_new)
            return (mean[:, 0],) if operation == "mean" else (mean[:, 0], tf.sqrt(variance[:, 0]))

        return first_call(lambda X_new: predict(tf.constant(X_new)), case, operation)


def jax(case, operation):
    """jit of value_and_grad of the log density, written with jax.numpy.linalg.cholesky."""
    require("jax")
    if operation != "likelihood":
        raise Unavailable("it has no Gaussian process")
    import jax as library

    library.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    def log_density(theta, X, y):
        A = X / jnp.exp(theta[1:-1])
        squares = jnp.square(A).sum(axis=1)
        K = jnp.exp(theta[0] - 0.5 * (squares[:, None] + squares - 2 * A @ A.T))
        L = jnp.linalg.cholesky(K + jnp.exp(theta[-1]) * jnp.eye(len(y), dtype=y.dtype), symmetrize_input=False)
        z = library.scipy.linalg.solve_triangular(L, y, lower=True)
        return -0.5 * (z @ z + len(y) * np.log(2 * np.pi)) - jnp.log(jnp.diag(L)).sum()

    compiled = library.jit(library.value_and_grad(log_density))
    X, y = library.device_put(case.X), library.device_put(case.y)

    def likelihood(theta):
        value, gradient = compiled(theta.astype(case.dtype), X, y)
        return float(value), np.asarray(gradient)

    return first_call(likelihood, case, operation)


PEERS = {f.__name__.replace("_", "-"): f for f in (scikit_learn, gpytorch, gpflow, jax)}
