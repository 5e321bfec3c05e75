"""Batches on a device: bytes move as they are and are widened there, and rows are those of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from lvmfast._minibatches import as_source, split

N, SHAPE, B = 23, (4, 3, 1), 5


def images(dtype):
    """Images that can be told apart."""
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
@pytest.mark.parametrize("kind", ["host", "map", "device", "batches", "batches there"])
def test_images(gpu, tmp_path, kind, dtype):
    """The batches of every source on the GPU have the numbers, the dtype and the row numbers of those on the CPU."""
    X = images(dtype)
    np.save(tmp_path / "X.npy", X)
    given = {
        "host": X,
        "map": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "device": gpu.asarray(X),
        "batches": [X[:9], X[9:]],
        "batches there": [gpu.asarray(X[:9]), gpu.asarray(X[9:])],
    }[kind]
    common = {"needs_y": False, "batch_size": B, "seed": 3, "dtype": np.float32}
    there = as_source(given, device="auto" if kind in ("device", "batches there") else "cuda", **common)
    here = as_source([X[:9], X[9:]] if kind.startswith("batches") else X, **common)
    assert (there.device, there.on_gpu) == ("cuda", kind in ("device", "batches there"))
    if kind in ("host", "device"):
        wide = dtype == np.float64
        assert there._fields["X"].dtype == (np.float32 if wide else dtype)
    pairs = [(there, here)]
    if not kind.startswith("batches"):
        pairs += zip(split(there, 0.4, 0), split(here, 0.4, 0), strict=True)
    for a, b in pairs:
        for t in range(6):
            got, expected = a.batch(t), b.batch(t)
            assert isinstance(got.X, gpu.ndarray) and got.X.dtype == np.float32 and got.y is None
            assert np.array_equal(got.X.get(), expected.X)
            assert got.place(1) == expected.place(1)
        assert np.array_equal(
            np.concatenate([p.X.get() for p in a.pieces(7)]), np.concatenate([p.X for p in b.pieces(7)])
        )
