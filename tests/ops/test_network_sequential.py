"""Networks as objects: parameter counts, first parameters, weights from elsewhere, files, pickles, errors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from lvmfast import exceptions, nn


def factor_encoder():
    """The nonlinear factor model's."""
    head = [nn.Dense(100, "relu"), nn.Dense(1)]
    layers = [nn.Flatten(), nn.Dense(100, "relu")]
    return nn.Sequential(layers, heads={"mean": head, "log_var": head})


def factor_decoder():
    head = [nn.Dense(100, "relu"), nn.Dense(100), nn.Reshape((100, 1))]
    return nn.Sequential([nn.Dense(50, "relu"), nn.Dense(100, "relu")], heads=[head, head])


def conv_encoder():
    """The convolutional reference's."""
    trunk = [nn.Conv2D(32, 3, padding="same", activation="relu"), nn.Conv2D(64, 3, 2, "same", "relu")]
    trunk += [nn.Conv2D(64, 3, padding="same", activation="relu")] * 2
    return nn.Sequential([*trunk, nn.Flatten(), nn.Dense(32, "relu")], heads=[[nn.Dense(2)], [nn.Dense(2)]])


def conv_decoder():
    layers = [nn.Dense(12544, "relu"), nn.Reshape((14, 14, 64)), nn.Conv2DTranspose(32, 3, 2, "same", "relu")]
    return nn.Sequential([*layers, nn.Conv2D(1, 3, padding="same", activation="sigmoid")])


def small(seed=0, dtype=np.float32):
    trunk = [nn.Conv2D(3, (2, 3), 2, "same", "relu"), nn.Flatten()]
    heads = {
        "mean": [nn.Dense(2)],
        "image": [nn.Reshape((2, 2, 3)), nn.Conv2DTranspose(1, 2, 2, initializer="he_normal")],
    }
    return nn.Sequential(trunk, heads=heads).build((4, 3, 1), dtype, seed)


@pytest.mark.parametrize(
    ("make", "shape", "count", "output"),
    [
        (factor_encoder, (100, 1), 30_502, ((1,), (1,))),
        (factor_decoder, (1,), 45_600, ((100, 1), (100, 1))),
        (conv_encoder, (28, 28, 1), 494_244, ((2,), (2,))),
        (conv_decoder, (2,), 56_385, (28, 28, 1)),
    ],
)
def test_references(make, shape, count, output):
    """The parameter counts that are printed there (of the convolutional ones: sums of taps * in * out + out)."""
    net = make().build(shape, seed=0)
    assert net.n_parameters == net.parameters.size == count
    assert net.output_shape == output
    table = net.summary()
    assert f"parameters: {count:,}" in table
    for entry in net.graph.entries:
        assert f"{entry.name} {type(entry.layer).__name__}" in table
    y = net(np.zeros((2, *shape)))
    assert [a.shape[1:] for a in (y if isinstance(y, tuple) else (y,))] == [*net.graph.output_shapes]


@pytest.mark.parametrize(
    ("name", "variance"),
    [("glorot_uniform", 2 / 500), ("glorot_normal", 2 / 500), ("he_uniform", 2 / 200), ("he_normal", 2 / 200)],
)
def test_initial_parameters(name, variance):
    """The variance of 60,000 draws is within five of its own standard deviations (chance 6e-7 for each case)."""
    net = nn.Sequential([nn.Dense(300, initializer=name)]).build(200, np.float64, seed=5)
    kernel, bias = net.get_weights()
    variance = 2 / 500 if name.startswith("glorot") else 2 / 200
    kurtosis = 3.0 if name.endswith("normal") else 1.8
    assert abs(kernel.var() / variance - 1) < 5 * np.sqrt((kurtosis - 1) / kernel.size)
    assert not bias.any()
    if name.endswith("uniform"):
        assert np.abs(kernel).max() <= np.sqrt(3 * variance)


def test_seeds():
    """A seed says it all; layers differ; float32 parameters are those of float64, rounded."""
    a, b, c = small(7), small(7), small(8)
    np.testing.assert_array_equal(a.parameters, b.parameters)
    assert (a.parameters != c.parameters).any()
    np.testing.assert_array_equal(a.parameters, small(7, np.float64).parameters.astype(np.float32))
    assert (small(None).parameters != small(None).parameters).any()
    twice = nn.Sequential([nn.Dense(5), nn.Dense(5)]).build(5, seed=1).get_weights()
    assert not np.intersect1d(twice[0], twice[2]).size
    assert not nn.Sequential([nn.Dense(5, initializer="zeros")]).build(5).parameters.any()


def test_weights_in_keras_order():
    """Kernel and bias, layer after layer; they are copies; as many numbers in the same order as the parameters."""
    net = small()
    weights = net.get_weights()
    assert [w.shape for w in weights] == [(2, 3, 1, 3), (3,), (12, 2), (2,), (2, 2, 1, 3), (1,)]
    np.testing.assert_array_equal(np.concatenate([w.ravel() for w in weights]), net.parameters)
    weights[0][...] = 5
    assert not (net.parameters == 5).any()
    assert (net.set_weights(weights).parameters[:18] == 5).all()


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_files(tmp_path, dtype, suffix):
    """Layers, dtype and every bit."""
    net, path = small(3, dtype), tmp_path / f"net.{suffix}"
    net.save(path)
    loaded = nn.Sequential.load(path)
    assert repr(loaded) == repr(net) and loaded.layers == net.layers and loaded.heads == net.heads
    assert loaded.dtype == net.dtype and loaded.input_shape == net.input_shape
    np.testing.assert_array_equal(loaded.parameters, net.parameters)
    single = nn.Sequential([nn.Dense(2)]).build(3)
    single.save(path)
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(nn.Sequential.load(path)(x), single(x))
    with open(path, "wb") as file:
        file.write(b"something else")
    with pytest.raises(ValueError, match="path must name a"):
        nn.Sequential.load(path)


def test_safetensors_layout(tmp_path):
    """As the format says: the length, JSON, numbers in C order; written here by hand."""
    net, path = small(3), tmp_path / "net.safetensors"
    net.save(path)
    data = path.read_bytes()
    import json

    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    info = header["heads.image.1.kernel"]
    begin, end = (8 + length + offset for offset in info["data_offsets"])
    assert info["dtype"] == "F32" and length % 8 == 0
    there = np.frombuffer(data[begin:end], "<f4").reshape(info["shape"])
    np.testing.assert_array_equal(there, net.get_weights()[4])


def test_copies_and_pickles():
    net = small()
    x = np.ones((2, 4, 3, 1), np.float32)
    expected = net(x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        for a, b in zip(other(x), expected, strict=True):
            np.testing.assert_array_equal(a, b)
        other.parameters[:] = 0
    assert net.parameters.any()
    layer = nn.Conv2D(3, 2)
    assert layer == nn.Conv2D(3, (2, 2), (1, 1)) != nn.Conv2D(3, 3)
    assert eval(repr(layer), vars(nn)) == layer == pickle.loads(pickle.dumps(layer))
    assert repr(nn.Sequential([nn.Dense(2)])).startswith("Sequential([Dense(units=2, activation='linear'")


@pytest.mark.parametrize(
    ("layers", "heads", "shape", "message"),
    [
        ([nn.Dense(3)], None, (4, 4, 1), r"layers\.0 Dense\(units=3.*got \(4, 4, 1\); put Flatten\(\) before it"),
        ([nn.Dense(3), nn.Conv2D(1, 3)], None, 4, r"layers\.1 Conv2D\(.*got \(3,\); put Reshape"),
        ([nn.Conv2D(1, 5)], None, (4, 9, 1), r"layers\.0 .*larger than the image, got \(4, 9, 1\); use padding='same'"),
        ([nn.Reshape((2, 3)), nn.Flatten(), nn.Dense(1)], None, 5, r"layers\.0 Reshape\(.*has 6 numbers, got 5 of"),
        ([nn.Flatten()], None, (2, 2), "layers must have a layer with parameters"),
        ([nn.Dense(2)], {"a": [nn.Dense(1)], "b": [nn.Flatten()]}, 2, r"heads\.b must have a layer with parameters"),
        ([nn.Dense(2)], [[nn.Dense(1), nn.Conv2D(1, 1)]], 2, r"heads\.0\.1 Conv2D"),
        ([nn.Dense(2)], None, 0, "input_shape must be an integer >= 1, got 0"),
    ],
)
def test_shapes_that_do_not_fit(layers, heads, shape, message):
    """The layer, what it got, and the remedy."""
    with pytest.raises(ValueError, match=message):
        nn.Sequential(layers, heads=heads).build(shape)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: nn.Dense(0), ValueError, "units must be an integer >= 1, got 0"),
        (lambda: nn.Dense(2, "swish"), ValueError, "activation must be one of 'linear', 'relu'.*got 'swish'"),
        (lambda: nn.Dense(2, initializer="ones"), ValueError, "initializer must be one of.*got 'ones'"),
        (lambda: nn.Conv2D(2, (1, 2, 3)), ValueError, "kernel_size must be an integer >= 1 or two of them"),
        (lambda: nn.Conv2D(2, 3, padding="full"), ValueError, "padding must be one of 'valid', 'same', got 'full'"),
        (lambda: nn.Sequential([3]), TypeError, r"layers\[0\] must be a layer of lvmfast.nn.*got 3"),
        (lambda: nn.Sequential(nn.Dense(2)), TypeError, "layers must be a sequence of layers"),
        (lambda: nn.Sequential([nn.Dense(2)], heads=[]), ValueError, "heads must be one chain of layers or more"),
        (lambda: nn.Sequential([nn.Dense(2)])(np.ones((1, 2))), ValueError, r"call build\(input_shape\) first"),
        (lambda: nn.Sequential([nn.Dense(2)]).build(2, np.int32), ValueError, "dtype must be float32 or float64"),
        (lambda: nn.Sequential([nn.Dense(2)]).build(2, device="gpu"), ValueError, "device must be 'cpu' or 'cuda'"),
        (lambda: small()(np.ones((2, 12))), ValueError, r"x must have shape \(n, 4, 3, 1\), got \(2, 12\); reshape it"),
        (lambda: small()(np.ones((2, 5))), ValueError, r"build\(\) with its shape"),
        (lambda: small().forward_and_vjp(np.ones((0, 4, 3, 1))), ValueError, "x must have one row or more"),
        (lambda: small().set_weights([]), ValueError, "weights must be 6 arrays"),
        (
            lambda: setattr(small(), "parameters", np.ones(3)),
            ValueError,
            r"parameters must have shape \(\d+,\), got \(3,\)",
        ),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_errors_of_pull_backs():
    """Cotangents that do not fit, and a pass whose values are gone; a wrong weight changes nothing."""
    net, x = small(), np.ones((2, 4, 3, 1))
    outputs, vjp = net.forward_and_vjp(x)
    with pytest.raises(ValueError, match=r"cotangents must be 2 arrays, one for each head, got 1"):
        vjp([outputs[0]])
    with pytest.raises(ValueError, match=r"cotangents\[1\] must have the output's shape \(2, 4, 4, 1\), got \(2, 2\)"):
        vjp([outputs[0], outputs[0]])
    net(x)
    with pytest.raises(RuntimeError, match="the values of this pass are gone: call vjp before"):
        vjp(outputs)
    before, weights = net.parameters.copy(), net.get_weights()
    weights[3] = np.ones(7)
    with pytest.raises(ValueError, match=r"the heads\.mean\.0\.bias must have shape \(2,\), got \(7,\)"):
        net.set_weights([w + 1 for w in weights])
    np.testing.assert_array_equal(net.parameters, before)


def test_no_gpu(monkeypatch):
    from lvmfast import _gpu

    monkeypatch.setattr(_gpu, "_stack", None)
    monkeypatch.setattr(_gpu, "_reason", "not there")
    with pytest.raises(exceptions.DeviceError, match="device='cuda' cannot be used"):
        nn.Sequential([nn.Dense(2)]).build(2, device="cuda")
