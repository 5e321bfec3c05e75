"""Autoencoders with a normalizing flow for a posterior: terms and gradients, limits, fits, files, errors."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from helpers import assert_near, tolerance
from reference import flows as oracle
from reference.vae import Vae
from scipy.special import logsumexp
from vaes import data, small
from vaes import sequential as network_of

import lvmfast as lvm
from lvmfast import _backend, nn
from lvmfast.bijectors import (
    AffineCoupling,
    Chain,
    Exp,
    Invert,
    LearnedAffine,
    MaskedAutoregressive,
    Permute,
    Planar,
    RealNVP,
)
from lvmfast.bijectors._flows_base import flow_steps, leaves_of

BETA, D = 0.7, 3
HIDDEN = (3,)


@dataclass(frozen=True)
class FlowVae(Vae):
    """Codes go through ``flow``, of the last ``size`` parameters; the divergence is the mean of the draws'."""

    flow: object = None
    size: int = 0

    def parts(self, theta):
        return super().parts(theta[: len(theta) - self.size])

    def terms(self, theta, fixed, x, eps, beta=1.0, temperature=1.0, seen=None):
        seen = {} if seen is None else seen
        m, s = self.encode(theta, x, seen)
        start = self.draw(m, s, eps, None)
        z, log_det = oracle.rows(self.flow, start.reshape(-1, D), theta[len(theta) - self.size :])
        z, log_det = z.reshape(start.shape), log_det.reshape(start.shape[:2])
        log_q = -0.5 * (eps**2 + s[:, None] + math.log(2 * math.pi)).sum(-1) - log_det
        ratio = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1) - log_q
        fit = self.log_p(theta, fixed, x, z, seen)
        objective = (fit + beta * ratio).mean(1)
        if self.iwae:
            objective = logsumexp(fit + beta * ratio, axis=1) - math.log(eps.shape[1])
        return np.stack([objective, fit.mean(1), -ratio.mean(1)], axis=1)


def coupling_of(mask, stays):
    bijector = AffineCoupling(D, HIDDEN, mask, activation="tanh", bound=1.5)
    return bijector, oracle.coupling(D, stays, HIDDEN, "tanh", 1.5)


def posterior():
    """A flow of all kinds, its parameters, and the oracle's; the right-most comes first."""
    parts = [coupling_of("even", [True, False, True]), (Planar(D), oracle.planar(D))]
    made = MaskedAutoregressive(D, HIDDEN, activation="tanh", bound=1.5)
    parts += [(Invert(made), oracle.autoregressive(D, range(D), HIDDEN, "tanh", 1.5))]
    rng = np.random.default_rng(5)
    for bijector in (parts[0][0], parts[1][0], made):
        bijector.build(1)
        bijector.parameters = bijector.parameters + 0.4 * rng.normal(size=bijector.n_parameters)
    learned = [made, parts[1][0], parts[0][0]]
    f = oracle.composed([(parts[k][1], own.n_parameters) for k, own in zip((2, 1, 0), learned, strict=True)])
    return [b for b, _ in parts], np.concatenate([own.parameters for own in learned]), f


@pytest.mark.parametrize("options", [{}, {"iwae": True}], ids=["elbo", "iwae"])
@pytest.mark.parametrize("variance", ["feature", "sample"])
def test_terms_and_gradient(rng, dtype, options, variance):
    bijectors, flow_theta, f = posterior()
    base = small("gaussian", variance, hidden=2, components=D, code_high=0.0, **options)
    model = FlowVae(**{**vars(base), "flow": f, "size": len(flow_theta)})
    theta, fixed, x, eps = data(base, rng, 3, 2, dtype)
    theta = np.concatenate([theta, flow_theta]).astype(dtype)
    _, size, steps, mask = flow_steps(leaves_of(Chain(bijectors)))
    networks = [network_of(net) for net in (base.encoder, base.decoder)]
    numbers = [part for net in networks for part in (net.graph.numbers(), net.n_parameters)]
    kind = _backend.cpu.Vae32 if dtype == np.float32 else _backend.cpu.Vae64
    variances = ("fixed", "shared", "feature", "batch", "row", "sample")
    vae = kind(
        *numbers,
        components=D,
        categories=0,
        likelihood=1,
        variance=variances.index(variance),
        classes=0,
        samples=2,
        iwae=bool(options),
        dreg=False,
        low=base.low,
        high=base.high,
        code_high=base.code_high,
        posterior=2,
        posterior_parameters=size,
        posterior_steps=steps,
        posterior_mask=mask,
    )
    terms, gradient = vae.evaluate(theta, fixed, x, eps, BETA, 1.0, True)
    arguments = fixed, x.astype(float), eps.astype(float), BETA
    exact = theta.astype(float)
    near = tolerance(dtype, 60, 10)
    assert_near(terms, model.terms(exact, *arguments), near)
    expected = model.gradient(exact, *arguments)
    kept = np.ones(len(theta), bool)
    kept[len(theta) - size :] = mask == 1
    assert_near(gradient[kept], expected[kept], max(near, 1e-7))
    assert not gradient[~kept].any()
    log_w = vae.log_weights(theta, fixed, x, eps)
    assert_near(logsumexp(log_w, axis=1) - math.log(2), IwaeOf(model).terms(exact, *arguments[:3])[:, 0], near)


def IwaeOf(model):
    return FlowVae(**{**vars(model), "iwae": True})


def rows(n=80, d=5, seed=0):
    z = np.random.default_rng(seed).normal(size=(n, 2))
    return np.tanh(z @ np.random.default_rng(9).normal(size=(2, d))) + 0.1 * np.random.default_rng(1).normal(
        size=(n, d)
    )


SMALL = {
    "n_components": 2,
    "hidden": (6,),
    "likelihood": "gaussian",
    "batch_size": 20,
    "max_iter": 4,
    "random_state": 0,
}
FLOW = {"posterior": [RealNVP(2, 2, (4,)), Invert(MaskedAutoregressive(2, (4,))), Permute([1, 0]), Planar(2)]}


def test_an_identity_flow_is_the_normal_posterior():
    """At the start: the same codes, reconstructions and likelihoods; the KL is that of the draws, right in the mean."""
    X = rows()
    still = {"max_iter": 1, "optimizer": nn.SGD(1e-12), "dtype": np.float64, "n_samples": 200}
    own = {"posterior": [b for b in FLOW["posterior"] if not isinstance(b, Permute)]}
    model, plain = lvm.VAE(**{**SMALL, **still, **own}).fit(X), lvm.VAE(**{**SMALL, **still}).fit(X)
    size = len(plain._theta)
    np.testing.assert_allclose(model._theta[:size], plain._theta, atol=1e-9)
    assert_near(model.log_likelihood(X, n_samples=20), plain.log_likelihood(X, n_samples=20), 1e-8)
    assert model.history_["reconstruction"] == pytest.approx(plain.history_["reconstruction"], abs=1e-9)
    assert model.history_["kl"] == pytest.approx(plain.history_["kl"], abs=0.05)  # of 80 * 200 draws, sd about 1
    mean, std = model.transform(X, return_std=True)
    exact, exact_std = plain.transform(X, return_std=True)
    assert_near(mean, exact, 0.6, scale=1)  # of 64 draws, the same for all rows
    assert np.corrcoef(mean[:, 0], exact[:, 0])[0, 1] > 0.99
    assert_near(std / exact_std, np.ones(exact.shape), 0.3)


@pytest.mark.parametrize("flow", [True, False])
def test_a_flow_reaches_a_correlated_posterior(flow):
    """x = z1 + z2 + e, e of variance 1/4: the precision of z given x is ((5, 4), (4, 5)).

    Independent normal codes leave ``log(25 / 9) / 2`` to log p(x), a linear coupling nothing. The decoder stays.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)).sum(axis=1, keepdims=True) + 0.5 * rng.normal(size=(300, 1))
    own = {"posterior": AffineCoupling(2, ())} if flow else {}
    params = {"n_components": 2, "likelihood": "gaussian", "variance": 0.25, "n_samples": 4, "dtype": np.float64}
    model = lvm.VAE("linear", "linear", **params, **own, max_iter=1, random_state=0).fit(X)
    theta, encoder = model._theta.copy(), model.encoder_.n_parameters
    theta[encoder : encoder + 3] = 1, 1, 0
    optimizer = nn.Adam(nn.CosineDecay(0.05, 1000))
    state = optimizer.init(theta)
    for _ in range(1000):
        _, slope = model.elbo(X, eps=rng.normal(size=(300, 4, 2)), theta=theta, gradient=True)
        slope[encoder : encoder + 3] = 0
        optimizer.update(theta, -slope, state)
    bound = model.elbo(X, eps=np.random.default_rng(1).normal(size=(300, 400, 2)), theta=theta)
    exact = -0.5 * (X**2 / 2.25 + np.log(2 * np.pi * 2.25)).mean()
    assert exact - bound == pytest.approx(0.0 if flow else 0.5 * math.log(25 / 9), abs=0.02)


def test_files_and_fits_that_go_on(tmp_path):
    X = rows()
    whole = lvm.VAE(**SMALL, **FLOW).fit(X)
    assert FLOW["posterior"][0].parameters is None
    part = lvm.VAE(**{**SMALL, "max_iter": 2}, **FLOW).fit(X)
    part.save(tmp_path / "model.npz")
    for model in (lvm.VAE.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(part)), copy.deepcopy(part), part):
        assert repr(model.posterior) == repr(whole.posterior)
        model.resume(X, max_iter=4)
        np.testing.assert_array_equal(model._theta, whole._theta)
        np.testing.assert_array_equal(model.transform(X), whole.transform(X))
        np.testing.assert_array_equal(model.reconstruct(X, rng=0), whole.reconstruct(X, rng=0))
        assert model.score(X) == whole.score(X)
    # the flow that is shown is the one of the codes: its parameters are the last, the right-most bijector's first
    bijector = whole.posterior_
    assert [type(part).__name__ for part in bijector.bijectors] == ["RealNVP", "Invert", "Permute", "Planar"]
    coupled, made, _, planar = bijector.bijectors
    own = np.concatenate([b.parameters for b in (planar, made.bijector, coupled)])
    np.testing.assert_array_equal(whole._theta[-len(own) :], own)
    value, gradient = whole.elbo(X, gradient=True)
    assert math.isfinite(value)
    assert gradient.shape == whole._theta.shape
    with pytest.raises(ValueError, match="posterior must be that of the fit to go on"):
        part.set_params(posterior=[RealNVP(2, 3, (4,))]).resume(X, max_iter=9)


def test_importance_weights_with_a_flow():
    X = rows()
    model = lvm.VAE(**SMALL, **FLOW, objective="iwae", n_samples=5).fit(X)
    assert model.score(X) <= model.log_likelihood(X, n_samples=2000).mean() + 0.2


def test_errors():
    X = rows()
    for posterior, match in (
        ("normal", "posterior must be one of"),
        ([Exp()], "posterior must hold a learnable bijector"),
        ([RealNVP(2), Exp()], r"learnable bijectors and permutations alone, .* got Exp\(\)"),
        ([MaskedAutoregressive(2)], r"one pass from the normal codes, got Mask.*; use Invert\(Masked"),
        ([Invert(Planar(2))], r"got Invert\(Planar\(...\)\).*; use Planar\(...\)"),
        ([LearnedAffine(3)], "bijectors of n_components=2 numbers"),
    ):
        with pytest.raises(ValueError, match=match):
            lvm.VAE(**SMALL, posterior=posterior).fit(X)
    with pytest.raises(TypeError, match="posterior must be 'gaussian', 'implicit' or a list"):
        lvm.VAE(**SMALL, posterior=3).fit(X)
    with pytest.raises(TypeError, match="posterior: bijectors must hold bijectors"):
        lvm.VAE(**SMALL, posterior=[3]).fit(X)
    with pytest.raises(ValueError, match="gradient must be 'reparameterized' with a flow"):
        lvm.VAE(**SMALL, **FLOW, objective="iwae", gradient="dreg").fit(X)
    with pytest.raises(ValueError, match="latent must be 'gaussian' with a flow"):
        lvm.VAE(**SMALL, **FLOW, latent="categorical").fit(X)
