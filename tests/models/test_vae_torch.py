"""The loss and every gradient of the three reference models, and of every likelihood, beside PyTorch's autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_near
from reference.vae import Net, Vae
from vaes import compiled, data, images, sequential, small

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
functional = torch.nn.functional

ALLOWED = {np.float32: 1e-5, np.float64: 1e-10}
BETA, TEMPERATURE = 0.7, 0.6
ONE, HALF = ((3, 3), (1, 1), True), ((3, 3), (2, 2), True)
TWO = [[("dense", 2, "linear")]] * 2
WIDE = ("dense", 100, "relu")
FACTOR = (
    Net((100,), [WIDE], [[WIDE, ("dense", 1, "linear")]] * 2),
    Net((1,), [("dense", 50, "relu"), WIDE], [[WIDE, ("dense", 100, "linear")]] * 2),
)
DENSE = (
    Net((784,), [("dense", 256, "relu")], TWO),
    Net((2,), [("dense", 256, "relu")], [[("dense", 784, "linear")]]),
)
FILTERS = [("conv", 32, *ONE, "relu"), ("conv", 64, *HALF, "relu"), *[("conv", 64, *ONE, "relu")] * 2]
IMAGE = [("dense", 12544, "relu"), ("reshape", (14, 14, 64)), ("transpose", 32, *HALF, "relu")]
CONV = (
    Net((28, 28, 1), [*FILTERS, ("flatten",), ("dense", 32, "relu")], TWO),
    Net((2,), IMAGE, [[("conv", 1, *ONE, "linear")]]),
)
# Model, rows, samples. The factor reference's text has a variance for each feature, its code one for each row.
CASES = {
    "factor, row": (Vae(*FACTOR, likelihood="gaussian", variance="row"), 32, 1),
    "factor, batch": (Vae(*FACTOR, likelihood="gaussian", variance="batch"), 32, 2),
    "dense": (Vae(*DENSE), 100, 1),
    "dense, iwae": (Vae(*DENSE, iwae=True), 10, 5),
    "conv": (Vae(*CONV), 5, 1),
    "conv, iwae": (images(iwae=True), 9, 3),
    "sample": (small("gaussian", "sample", hidden=20, iwae=True), 9, 3),
    "feature": (small("gaussian", "feature", hidden=20), 9, 3),
    "categorical": (small("categorical", hidden=20), 9, 2),
    "Gumbel": (small(hidden=20, categories=3), 9, 2),
}


def chain(layers, x, take):
    """Images have their channels first."""
    for kind, *options in layers:
        if kind == "flatten":
            x = x.permute(0, 2, 3, 1).flatten(1)
        elif kind == "reshape":
            x = x.reshape(len(x), *options[0]).permute(0, 3, 1, 2)
        else:
            width, activation = options[0], options[-1]
            channels = x.shape[1]
            if kind == "dense":
                x = x @ take(channels, width) + take(width)
            elif kind == "conv":
                size, stride = options[1][0], options[2][0]
                extra = max((-(-x.shape[2] // stride) - 1) * stride + size - x.shape[2], 0)
                x = functional.pad(x, (extra // 2, extra - extra // 2) * 2)
                kernel = take(size, size, channels, width).permute(3, 2, 0, 1).contiguous()
                x = functional.conv2d(x, kernel, take(width), stride)
            else:
                (size, _), (stride, _) = options[1:3]
                edge, end = (size - stride) // 2, x.shape[2] * stride
                kernel = take(size, size, width, channels).permute(3, 2, 0, 1).contiguous()
                x = functional.conv_transpose2d(x, kernel, take(width), stride)
                x = x[:, :, edge : edge + end, edge : edge + end]
            x = {"linear": lambda y: y}.get(activation, getattr(functional, activation, None))(x)
    return x


def outputs(net, x, rest):
    """Heads, (n, numbers) each; kernels and biases are taken from the list ``rest`` of what is left of theta."""

    def take(*shape):
        rest[0], part = rest[0][math.prod(shape) :], rest[0][: math.prod(shape)]
        return part.reshape(shape)

    x = x.reshape(len(x), *net.input_shape)
    x = chain(net.layers, x.permute(0, 3, 1, 2) if x.ndim == 4 else x, take)
    ends = [chain(head, x, take) for head in net.heads]
    return [(end.permute(0, 2, 3, 1) if end.ndim == 4 else end).flatten(1) for end in ends]


def torch_loss(model, theta, fixed, x, eps):
    """By torch.distributions."""
    d = torch.distributions
    rest, (n, L, _) = [theta], eps.shape
    m, *s = outputs(model.encoder, x, rest)
    if model.categories:
        groups = m.reshape(n, 1, -1, model.categories)
        z = functional.softmax((groups + eps.reshape(n, L, *groups.shape[2:])) / TEMPERATURE, -1).flatten(2)
        q = d.Categorical(logits=groups[:, 0])
        divergence = d.kl_divergence(q, d.Categorical(logits=torch.zeros_like(groups[:, 0]))).sum(-1)
    else:
        q, prior = d.Normal(m, torch.exp(s[0] / 2)), d.Normal(torch.zeros_like(m), torch.ones_like(m))
        z = q.loc[:, None] + q.scale[:, None] * eps
        divergence = d.kl_divergence(q, prior).sum(-1)
    a, *v = (head.reshape(n, L, -1) for head in outputs(model.decoder, z.reshape(n * L, -1), rest))
    x = x[:, None]
    if model.likelihood == "bernoulli":
        log_p = -functional.binary_cross_entropy_with_logits(a, x.expand_as(a), reduction="none").sum(-1)
    elif model.likelihood == "categorical":
        log_p = (x * functional.log_softmax(a.unflatten(-1, (-1, model.classes)), -1).flatten(2)).sum(-1)
    else:
        axes = {"batch": (0, 1), "row": 2}.get(model.variance)
        v = v[0] if v else rest[0]
        v = v.mean(axes, keepdim=True) if axes else v
        log_p = d.Normal(a, torch.exp(v / 2).expand_as(a)).log_prob(x).sum(-1)
    if model.iwae:
        ratio = (d.Normal(0.0, 1.0).log_prob(z) - d.Normal(m[:, None], q.scale[:, None]).log_prob(z)).sum(-1)
        return math.log(L) - torch.logsumexp(log_p + BETA * ratio, 1).mean()
    return (BETA * divergence - log_p.mean(1)).mean()


@pytest.mark.parametrize("name", CASES)
def test_same_as_torch(dtype, name, rng):
    """Relative to the largest entry of each kernel's or bias's gradient.

    PyTorch works in float64 where there are importance weights: in float32 its log weights alone lose more than 1e-5.
    """
    model, n, samples = CASES[name]
    theta, fixed, x, eps = data(model, rng, n, samples, dtype)
    start = [sequential(net, dtype).parameters for net in (model.encoder, model.decoder)]
    start = np.concatenate([*start, theta[sum(map(len, start)) :]])
    theta = np.where(start == 0, theta * dtype(0.1), start)  # biases too
    as_there = torch.float64 if model.iwae or dtype == np.float64 else torch.float32
    at, *others = (torch.tensor(part, dtype=as_there) for part in (theta, x, eps))
    loss = torch_loss(model, at.requires_grad_(), fixed, *others)
    loss.backward()
    vae = compiled(model, samples, dtype)
    terms, gradient = vae.evaluate(theta, fixed, x, eps, BETA, TEMPERATURE, True)
    assert gradient.dtype == dtype
    assert_near(-terms[:, 0].mean(), loss.item(), ALLOWED[dtype])
    sizes = [math.prod(shape) for net in (model.encoder, model.decoder) for shape in net.shapes()]
    places = np.cumsum(sizes)
    parts = zip(np.split(gradient, places), np.split(at.grad.numpy(), places), strict=True)
    for part, expected in parts:
        assert_near(part, expected, ALLOWED[dtype])
