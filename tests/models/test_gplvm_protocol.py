"""The reference protocol: our loss and gradient against the NumPy oracle, our losses against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from reference import gplvm as oracle

from lvmfast import GPLVM, datasets
from lvmfast.demos.gplvm import JITTER, ReferenceObjective, reference_protocol

EPS = np.finfo(np.float64).eps


@pytest.fixture(scope="module")
def digits():
    Y, _ = datasets.load_mnist_sample(return_X_y=True)
    return Y


def softplus(u):
    return np.logaddexp(0.0, u)


def test_loss_and_gradient_match_the_oracle(digits):
    Y = digits[:60]
    rng = np.random.default_rng(1)
    theta = np.concatenate([rng.standard_normal(120), [0.3, -0.5, -2.0]])
    loss, gradient = ReferenceObjective(Y)(theta)
    amplitude, lengthscale, noise = softplus(theta[-3:] + EPS)
    expected, dX, d_variance, d_lengthscale, d_noise = oracle.loss_and_gradient(
        theta[:-3].reshape(60, 2), Y, amplitude**2, lengthscale, noise, JITTER
    )
    slope = 1 / (1 + np.exp(-theta[-3:]))
    tail = np.array([2 * amplitude * d_variance, d_lengthscale, d_noise]) * slope
    assert loss == pytest.approx(expected, rel=1e-9)
    expected_gradient = np.concatenate([dX.ravel(), tail])
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-9 * np.abs(expected_gradient).max())


def test_full_size_loss_matches_the_oracle(digits):
    X = np.random.default_rng(0).standard_normal((1000, 2))
    loss, _ = ReferenceObjective(digits)(np.concatenate([X.ravel(), np.ones(3)]))
    one = float(softplus(1.0 + EPS))
    assert loss == pytest.approx(oracle.loss(X, digits, one**2, one, one, JITTER), rel=1e-9)
    assert loss == pytest.approx(1108, abs=2)  # what the reference prints at step 0, on other digits


def test_losses_match_the_numpy_protocol(digits):
    Y = digits[:200]
    X0 = np.random.default_rng(2).standard_normal((200, 2))
    expected = oracle.reference_protocol(X0, Y, 20)
    np.testing.assert_allclose(reference_protocol(Y, X0, 20).losses, expected, rtol=1e-9)


def test_losses_match_pytorch(digits):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    Y, X0 = digits[:200], np.random.default_rng(3).standard_normal((200, 2))
    data = torch.tensor(Y)
    parameters = [torch.tensor(X0, requires_grad=True), torch.ones(3, dtype=torch.float64, requires_grad=True)]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    losses = []
    for t in range(1, 21):
        X, u = parameters
        amplitude, lengthscale, noise = torch.nn.functional.softplus(u + EPS)
        squares = ((X[:, None] - X[None]) ** 2).sum(-1)
        K = amplitude**2 * torch.exp(-squares / (2 * lengthscale**2)) + (noise + JITTER) * torch.eye(
            200, dtype=torch.float64
        )
        normal = torch.distributions.MultivariateNormal(torch.zeros(200, dtype=torch.float64), K)
        loss = -normal.log_prob(data.T).mean()
        gradients = torch.autograd.grad(loss, parameters)
        losses.append(loss.item())
        rate = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        with torch.no_grad():
            for p, (m, v), g in zip(parameters, moments, gradients, strict=True):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                p -= rate * m / (v.sqrt() + 1e-7)
    np.testing.assert_allclose(reference_protocol(Y, X0, 20).losses, losses, rtol=1e-6)


def test_default_fit_beats_the_protocol(digits):
    """Lower loss than the protocol's last in fewer evaluations, in the protocol's own model (no centring)."""
    Y = digits[:400]
    protocol = reference_protocol(Y, np.random.default_rng(0).standard_normal((400, 2)), 100)
    model = GPLVM(2, center=False, max_iter=90, tol=0.0, callback=lambda s: s.loss < protocol.losses[-1]).fit(Y)
    assert model.loss_curve_[-1] < protocol.losses[-1]
    assert model.n_evaluations_ < 100
