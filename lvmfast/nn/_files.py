"""Networks as files: safetensors (8 bytes with the length of a JSON header, the header, the numbers), or .npz."""

from __future__ import annotations

import dataclasses
import json
import os
import struct

import numpy as np

from lvmfast import _backend
from lvmfast._saving import read_model, write_model
from lvmfast.nn import _layers

__all__ = ["chains_from", "chains_of", "description", "load", "save"]

KIND = "Sequential"
TYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


def _record(layer) -> dict:
    return {"type": type(layer).__name__, **dataclasses.asdict(layer)}


def _layer(record: dict):
    kind = getattr(_layers, record["type"])
    return kind(**{name: value for name, value in record.items() if name != "type"})


def _of_heads(heads, convert):
    """Heads, of whatever kind, with every layer converted."""
    if heads is None:
        return None
    if isinstance(heads, dict):
        return {name: [convert(layer) for layer in chain] for name, chain in heads.items()}
    return [[convert(layer) for layer in chain] for chain in heads]


def chains_of(network) -> dict:
    """Layers and heads of a network, built or not, as JSON."""
    return {"layers": [_record(layer) for layer in network.layers], "heads": _of_heads(network.heads, _record)}


def chains_from(record: dict) -> tuple:
    """Layers and heads of what :func:`chains_of` gave."""
    return [_layer(one) for one in record["layers"]], _of_heads(record["heads"], _layer)


def description(network) -> dict:
    """A built network as JSON, without its parameters."""
    return chains_of(network) | {"input_shape": network.input_shape, "dtype": network.dtype.name}


def save(network, path: str) -> None:
    """Write the network; the file appears whole or not at all."""
    names = [f"{entry.name}.{part}" for entry in network.graph.weighted for part in ("kernel", "bias")]
    arrays = dict(zip(names, map(_backend.to_numpy, network.get_weights()), strict=True))
    if not path.endswith(".safetensors"):
        return write_model(path, KIND, description(network), arrays)
    header: dict = {"__metadata__": {"lvmfast": json.dumps({"kind": KIND, **description(network)})}}
    offset = 0
    for name, array in arrays.items():
        code = "F32" if array.dtype == np.float32 else "F64"
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        with open(temporary, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for array in arrays.values():
                file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _read_safetensors(path: str) -> tuple[dict, dict]:
    wrong = f"path must name a safetensors file written by {KIND}.save, got {path!r}"
    with open(path, "rb") as file:
        data = file.read()
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        description = json.loads(header.pop("__metadata__")["lvmfast"])
        arrays = {}
        for name, info in header.items():
            begin, end = (8 + length + int(offset) for offset in info["data_offsets"])
            arrays[name] = np.frombuffer(data[begin:end], TYPES[info["dtype"]]).reshape(info["shape"])
    except (struct.error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{wrong} ({error})") from None
    return description, arrays


def load(cls, path: str, device: str):
    """The network of a file."""
    header, arrays = _read_safetensors(path) if path.endswith(".safetensors") else read_model(path, KIND)
    layers, heads = chains_from(header)
    network = cls(layers, heads=heads)
    network.build(tuple(header["input_shape"]), header["dtype"], seed=0, device=_backend.usable_device(device))
    names = [f"{entry.name}.{part}" for entry in network.graph.weighted for part in ("kernel", "bias")]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"path must hold every kernel and bias, got no {missing[0]} in {path!r}")
    return network.set_weights([arrays[name] for name in names])
