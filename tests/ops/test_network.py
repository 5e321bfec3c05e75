"""Layers of networks: values and pull-backs against loops and finite differences, on every path through the kernels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import DIFFERENCE, FLOATS, assert_near, differences, tolerance
from reference import network as oracle

import lvmfast as lvm
from lvmfast import nn

LAYERS = {"conv": nn.Conv2D, "transpose": nn.Conv2DTranspose}


def build(layer, shape, dtype, rng, heads=None):
    """A network whose biases are not zero, and its weights in float64."""
    net = nn.Sequential(layer if isinstance(layer, list) else [layer], heads=heads).build(shape, dtype, seed=3)
    net.set_weights([w + 0.3 * rng.standard_normal(w.shape) * (w.ndim == 1) for w in net.get_weights()])
    return net, [w.astype(float) for w in net.get_weights()]


def check(net, weights, expected, x, rng, terms):
    """Outputs, gradient and d_x of a network of one layer are those of ``expected(x, kernel, bias) -> y, pull``."""
    y_there, pull = expected(x.astype(float), *weights)
    y, vjp = net.forward_and_vjp(x)
    d = rng.standard_normal(y_there.shape).astype(x.dtype)
    gradient, d_x = vjp(d, input_gradient=True)
    d_x_there, *d_weights = pull(d.astype(float))
    allowed = tolerance(x.dtype, np.sqrt(terms))  # errors of either sign
    assert y.dtype == gradient.dtype == d_x.dtype == x.dtype
    assert_near(y, y_there, allowed)
    assert_near(d_x, d_x_there, allowed)
    assert_near(gradient, np.concatenate([part.ravel() for part in d_weights]), allowed)
    np.testing.assert_array_equal(vjp(d), gradient)
    np.testing.assert_array_equal(net(x), y)


@pytest.mark.parametrize("same", [True, False], ids=["same", "valid"])
@pytest.mark.parametrize("kind", LAYERS)
def test_convolutions(instruction_set, kind, same, rng):
    """Every kernel, stride and number of channels on an image of odd sides, some of whose phases have no taps."""
    kernels, strides = [(1, 1), (3, 3), (2, 3)], [(1, 1), (2, 2), (3, 1)]
    channels = [(1, 1), (1, 17), (9, 5), (17, 1)]
    for kernel, stride, (c, f) in itertools.product(kernels, strides, channels):
        dtype = FLOATS[(c + f + kernel[0]) % 2]
        layer = LAYERS[kind](f, kernel, stride, "same" if same else "valid", "softplus")
        net, weights = build(layer, (5, 7, c), dtype, rng)
        x = rng.standard_normal((3, 5, 7, c)).astype(dtype)
        check(net, weights, lambda *a, s=stride: oracle.layer(kind, *a, "softplus", s, same), x, rng, 9 * c * 35)


@pytest.mark.parametrize(
    ("n", "shape", "layer"),
    [
        (300, (700,), nn.Dense(40, "tanh")),
        (7, (20,), nn.Dense(300, "elu")),
        (50, (33,), nn.Dense(3, "sigmoid")),
        (1, (1,), nn.Dense(1)),
        (40, (12, 13, 40), nn.Conv2D(35, (3, 2), 1, "same", "relu")),
        (40, (12, 13, 40), nn.Conv2D(35, 3, 1, "same", "gelu")),
        (3, (7, 9, 17), nn.Conv2DTranspose(20, 3, 1, "valid", "tanh")),
        (3, (17, 9, 6), nn.Conv2DTranspose(70, 5, 2, "same", "gelu")),
        (30, (14, 14, 20), nn.Conv2D(2, 3, 1, "same", "sigmoid")),
    ],
    ids=str,
)
def test_sizes(dtype, n, shape, layer, rng):
    """Sums longer than a panel, rows in many chunks and lanes, columns that leave packs half empty, Winograd."""
    kind = "dense" if isinstance(layer, nn.Dense) else "conv" if isinstance(layer, nn.Conv2D) else "transpose"
    options = {} if kind == "dense" else {"strides": layer.strides, "same": layer.padding == "same"}
    net, weights = build(layer, shape, dtype, rng)
    x = rng.standard_normal((n, *shape)).astype(dtype)
    terms = n * np.prod(net.output_shape) / net.output_shape[-1] + weights[0].size / weights[0].shape[-1]
    check(net, weights, lambda *a: oracle.layer(kind, *a, layer.activation, **options), x, rng, terms)


@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
def test_activations(instruction_set, activation, rng):
    """Values and slopes over the whole range, to a few roundings of 1 + |y|; the ends stay finite and NaN stays."""
    value, slope = oracle.ACTIVATIONS[activation]
    for dtype in FLOATS:
        x = np.concatenate([rng.normal(0, 3, 2000), np.linspace(-80, 80, 501), [0, 1e-3, -1e-3, 0.5, -1]]).astype(dtype)
        net = nn.Sequential([nn.Dense(1, activation)]).build(1, dtype).set_weights([[[1.0]], [0.0]])
        y, vjp = net.forward_and_vjp(x[:, None])
        d_x = vjp(np.ones_like(y), input_gradient=True)[1]
        exact = x.astype(float)
        scale = 1 + np.abs(value(exact))
        assert_near(y[:, 0] / scale, value(exact) / scale, tolerance(dtype), scale=1)
        assert_near(d_x[:, 0], slope(exact), tolerance(dtype), scale=1)
        assert np.isnan(net(np.full((9, 1), np.nan, dtype))).all()


def deep(activation):
    trunk = [nn.Conv2D(4, 3, 2, "same", activation), nn.Conv2DTranspose(2, 3, 2, "valid", activation), nn.Flatten()]
    heads = {
        "mean": [nn.Dense(6, activation), nn.Reshape((2, 3)), nn.Flatten(), nn.Dense(2)],
        "image": [nn.Reshape((9, 9, 2)), nn.Conv2D(1, 2, (3, 2), "valid", activation)],
    }
    return trunk, heads


@pytest.mark.parametrize("activation", ["tanh", "gelu", "linear"])
def test_finite_differences(activation, rng):
    """Trunk and heads: the derivative of sum(d * outputs) by every parameter and every input."""
    trunk, heads = deep(activation)
    net, _ = build(trunk, (7, 8, 2), np.float64, rng, heads)
    x = rng.standard_normal((2, 7, 8, 2))
    outputs, vjp = net.forward_and_vjp(x)
    d = [rng.standard_normal(y.shape) for y in outputs]
    gradient, d_x = vjp(d, input_gradient=True)
    theta = net.parameters.copy()

    def value(parameters, x):
        net.parameters = parameters
        return sum(np.vdot(a, y) for a, y in zip(d, net(x), strict=True))

    assert_near(gradient, differences(lambda p: value(p, x), theta), tolerance(float, 30, DIFFERENCE))
    assert_near(d_x, differences(lambda a: value(theta, a), x), tolerance(float, 30, DIFFERENCE))


def test_heads_without_a_trunk(rng):
    """Cotangents of heads that take the input itself add up there."""
    heads = [[nn.Dense(2, "tanh")], [nn.Dense(3)], [nn.Dense(1, "relu")]]
    net, weights = build([], (4,), np.float64, rng, heads)
    x = rng.standard_normal((5, 4))
    outputs, vjp = net.forward_and_vjp(x)
    d = [rng.standard_normal(y.shape) for y in outputs]
    d_x = vjp(d, input_gradient=True)[1]
    expected = 0
    for i, activation in enumerate(["tanh", "linear", "relu"]):
        y, pull = oracle.layer("dense", x, *weights[2 * i : 2 * i + 2], activation)
        expected = expected + pull(d[i])[0]
        assert_near(outputs[i], y, tolerance(float, 4))
    assert_near(d_x, expected, tolerance(float, 12))


def passes(net, x):
    outputs, vjp = net.forward_and_vjp(x)
    return [*outputs, *vjp(outputs, input_gradient=True)]


def test_threads_change_no_bit(dtype, set_num_threads, rng):
    """Nor does a batch change its rows."""
    trunk = [nn.Conv2D(20, 3, 1, "same", "relu"), nn.Conv2D(24, 3, 2, "same", "relu"), nn.Flatten()]
    heads = [
        [nn.Dense(200, "relu"), nn.Dense(2)],
        [nn.Reshape((5, 6, 24)), nn.Conv2D(16, 3, 1, "same"), nn.Conv2DTranspose(1, 3, 2, "same")],
    ]
    net, _ = build(trunk, (10, 11, 1), dtype, rng, heads)
    x = rng.standard_normal((90, 10, 11, 1)).astype(dtype)
    set_num_threads(1)
    expected = passes(net, x)
    for row in (3, 57):
        for part, whole in zip(net(x[row : row + 1]), expected, strict=False):
            np.testing.assert_array_equal(part[0], whole[row])
    for threads in (2, 5):
        set_num_threads(threads)
        for a, b in zip(passes(net, x), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_large_batches_come_in_parts(monkeypatch, rng):
    from lvmfast.nn import _sequential

    net, _ = build([nn.Dense(3, "relu")], (2,), np.float64, rng, [[nn.Dense(1)], [nn.Dense(4)]])
    x = rng.standard_normal((11, 2))
    whole = net(x)
    monkeypatch.setattr(_sequential, "KEPT", 4 * 8)
    for a, b in zip(net(x), whole, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [y.shape for y in net(x[:0])] == [(0, 1), (0, 4)]


def test_layouts_and_dtypes_of_inputs(rng):
    """Strided, read-only and integer inputs; they stay as they are."""
    net, _ = build(nn.Dense(3, "elu"), (4,), np.float32, rng)
    x = rng.integers(-3, 3, (6, 4))
    expected = net(x.astype(np.float32))
    frozen = x.astype(np.float32)
    frozen.flags.writeable = False
    for given in (x, x.astype(float), np.asfortranarray(frozen), np.repeat(frozen, 2, 0)[::2], frozen):
        before = given.copy()
        np.testing.assert_array_equal(net(given), expected)
        np.testing.assert_array_equal(given, before)
    assert lvm.nn is nn
