"""Networks on the GPU: where their arrays live, copies, files, pickles without it, and mixed-up devices."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from device.cases import same_bits

from lvmfast import _gpu, nn
from lvmfast.exceptions import DeviceError

X = np.random.default_rng(0).standard_normal((4, 5, 6, 2)).astype(np.float32)


def build(device):
    layers = [nn.Conv2D(3, 3, 2, "same", "relu"), nn.Flatten(), nn.Dense(4, "tanh")]
    return nn.Sequential(layers).build((5, 6, 2), seed=2, device=device)


def test_arrays_and_copies(gpu, tmp_path):
    """The parameters of a seed are those of the CPU; copies and files compute the same bits."""
    net = build("cuda")
    assert isinstance(net.parameters, gpu.ndarray)
    assert same_bits(gpu.asnumpy(net.parameters), build("cpu").parameters)
    y = net(gpu.asarray(X))
    assert isinstance(y, gpu.ndarray) and all(isinstance(w, gpu.ndarray) for w in net.get_weights())
    net.save(tmp_path / "net.safetensors")
    others = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    others.append(nn.Sequential.load(tmp_path / "net.safetensors", device="cuda"))
    for other in others:
        assert same_bits(gpu.asnumpy(other(gpu.asarray(X))), gpu.asnumpy(y))


def test_pickles_without_a_gpu(gpu, monkeypatch):
    saved = pickle.dumps(build("cuda"))
    monkeypatch.setattr(_gpu, "_stack", None)
    monkeypatch.setattr(_gpu, "_reason", "not there")
    net = pickle.loads(saved)
    assert net.device == "cpu"
    assert same_bits(net(X), build("cpu")(X))


def test_devices_do_not_mix(gpu):
    """Inputs, cotangents and gradients live where the parameters are."""
    with pytest.raises(DeviceError, match="arrays live on different devices"):
        build("cuda")(X)
    with pytest.raises(DeviceError, match="arrays live on different devices"):
        build("cpu")(gpu.asarray(X))
    net, adam = build("cuda"), nn.Adam()
    y, vjp = net.forward_and_vjp(gpu.asarray(X))
    with pytest.raises(DeviceError, match="arrays live on different devices"):
        vjp(gpu.asnumpy(y))
    gradient = vjp(y)
    with pytest.raises(DeviceError, match="arrays live on different devices"):
        adam.update(net.parameters, gpu.asnumpy(gradient), adam.init(net.parameters))
