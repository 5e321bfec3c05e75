"""Models as one versioned ``.npz`` file: numbers and JSON, no pickled objects."""

from __future__ import annotations

import json
import os
import warnings
import zipfile

import numpy as np

FORMAT = 2


def write_model(path, kind: str, header: dict, arrays: dict) -> None:
    """Write ``header`` (JSON) and ``arrays``; the file appears whole or not at all."""
    path = os.fspath(path)
    text = json.dumps({"format": FORMAT, "kind": kind, **header})
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        with open(temporary, "wb") as file:
            np.savez(file, header=np.frombuffer(text.encode(), np.uint8), **arrays)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def read_model(path, kind: str) -> tuple[dict, dict]:
    """The header and the arrays of a file that :func:`write_model` wrote for ``kind``."""
    wrong = f"path must name a file written by {kind}.save, got {os.fspath(path)!r}"
    with open(path, "rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise ValueError(wrong)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            if "header" not in file.files:
                raise ValueError(wrong)
            header = json.loads(file["header"].tobytes().decode())
            arrays = {name: file[name] for name in file.files if name != "header"}
    if header.get("kind") != kind or header.get("format", FORMAT + 1) > FORMAT:
        raise ValueError(
            f"path must name a {kind} of format <= {FORMAT}, got {header.get('kind')!r} of format "
            f"{header.get('format')!r} in {os.fspath(path)!r}; a newer lvmfast may read it"
        )
    return header, arrays


def jsonable(name: str, value):
    """``value`` if JSON can hold it; None, with a warning, for what a file cannot hold."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    warnings.warn(f"{name}={value!r} is not saved; it is None in the loaded model", UserWarning, stacklevel=3)
    return None
