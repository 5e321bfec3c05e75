"""Readers of the layouts in which MNIST is passed around: IDX files (plain or gzip) and .npz.

Everything here returns ``images`` (n, 28, 28) uint8 and ``labels`` (n,) int64. The content of a
file, not its suffix, decides how it is read: browsers like to unpack ``.gz`` files and keep the
name. Nothing is ever unpickled.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

SIDE = 28
_PREFIX = {"train": "train", "test": "t10k"}
_RANK = {"images": 3, "labels": 1}
_MAGIC = {"images": 0x0803, "labels": 0x0801}  # unsigned bytes, then the number of dimensions
_REMEDY = "download the file again"


def read_mnist(path: Path, subset: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of `subset` ("train", "test" or "all") from a directory or a file."""
    if path.is_dir():
        return _read_idx_subset(path, subset)
    if not path.exists():
        raise FileNotFoundError(
            f"path must name an existing directory or file, got {str(path)!r}; correct it, or use "
            "load_mnist_sample() for the 1,000 digits that need no file"
        )
    with path.open("rb") as stream:
        if stream.read(2) == b"PK":
            return _read_npz(path, subset)
    split = _split_of(path)
    if subset not in (split, "all"):
        raise ValueError(
            f"subset must agree with path, got subset={subset!r} and {str(path)!r}, which belongs "
            f"to the {split} digits; pass subset={split!r}, or the directory as path"
        )
    return _read_idx_subset(path.parent, subset, given=path)


def check_pair(images: np.ndarray, labels: np.ndarray, *, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Refuse arrays that are not MNIST; reshape (n, 784) images and widen the labels."""
    for name, array in (("images", images), ("labels", labels)):
        if array.dtype.kind not in "iu":
            raise ValueError(
                f"path must hold integer {name}, got dtype {array.dtype} in {source}; save the "
                "original integers, not scaled, binarised or text values"
            )
    if images.ndim == 2 and images.shape[1] == SIDE * SIDE:
        images = images.reshape(-1, SIDE, SIDE)
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise ValueError(
            f"path must hold images of shape (n, {SIDE}, {SIDE}) or (n, {SIDE * SIDE}), got shape "
            f"{images.shape} in {source}; give the MNIST files themselves"
        )
    if labels.shape != (len(images),):
        raise ValueError(
            f"path must hold one label per image, got {len(images)} images and labels of shape "
            f"{labels.shape} in {source}; take both from the same download"
        )
    if images.size and (images.min() < 0 or images.max() > 255):
        raise ValueError(
            f"path must hold pixels from 0 to 255, got {images.min()} to {images.max()} in "
            f"{source}; save the original bytes"
        )
    return images.astype(np.uint8, copy=False), labels.astype(np.int64)


# ---------------------------------------------------------------------------------------- IDX


def _idx_names(split: str, role: str) -> list[str]:
    """The names under which one IDX file is found, the preferred one first."""
    stem = f"{_PREFIX[split]}-{role}"
    ending = f"idx{_RANK[role]}-ubyte"
    return [f"{stem}{mark}{ending}{suffix}" for suffix in ("", ".gz") for mark in "-."]


def _split_of(path: Path) -> str:
    for split in _PREFIX:
        if any(path.name in _idx_names(split, role) for role in _RANK):
            return split
    usual = ", ".join(_idx_names(split, role)[0] for split in _PREFIX for role in _RANK)
    raise ValueError(
        f"path must name a directory, an .npz archive, or an IDX file under its usual name "
        f"({usual}; also with '.idx' and '.gz'), got {str(path)!r}; rename the file or pass the "
        "right one"
    )


def _first_file(folder: Path, split: str, role: str, given: Path | None) -> Path | None:
    names = _idx_names(split, role)
    if given is not None and given.name in names:
        return given
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _locate_idx(folder: Path, split: str, given: Path | None) -> dict[str, Path]:
    """The images and labels files of one split, both from one folder."""
    missing = "images"
    for base in (folder, folder / "raw", folder / "MNIST" / "raw"):  # the last: torchvision's root
        found = {role: _first_file(base, split, role, given) for role in _RANK}
        pair = {role: file for role, file in found.items() if file is not None}
        if len(pair) == len(_RANK):
            return pair
        if pair:
            folder, missing = base, next(role for role in _RANK if role not in pair)
            break
    raise FileNotFoundError(
        f"path must hold the {missing} of the {split} digits under one of the names "
        f"{', '.join(_idx_names(split, missing))}; there is none in {str(folder)!r}; add the "
        "file, or pass the .npz archive itself as path"
    )


def _read_idx_subset(folder: Path, subset: str, given: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    splits = tuple(_PREFIX) if subset == "all" else (subset,)
    files = [_locate_idx(folder, split, given) for split in splits]  # all, before reading any
    parts = []
    for pair in files:
        images, labels = (_read_idx(pair[role], role) for role in _RANK)
        source = f"{str(pair['images'])!r} and {pair['labels'].name!r}"
        parts.append(check_pair(images, labels, source=source))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _read_idx(path: Path, role: str) -> np.ndarray:
    """One IDX file: magic number, sizes (32-bit, big-endian), then the bytes."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"path must hold complete gzip files, got a truncated or damaged one in "
                f"{str(path)!r} ({error}); {_REMEDY}"
            ) from error
    start = 4 + 4 * _RANK[role]
    magic = int.from_bytes(raw[:4], "big")
    if len(raw) >= 4 and magic != _MAGIC[role]:
        kind = next((f", that of IDX {other}" for other in _MAGIC if _MAGIC[other] == magic), "")
        raise ValueError(
            f"path must hold IDX {role} with the magic number {_MAGIC[role]:#010x}, got "
            f"{magic:#010x}{kind} in {str(path)!r}; {_REMEDY}, or undo the renaming"
        )
    if len(raw) < start:
        raise ValueError(
            f"path must hold complete IDX files, got {len(raw)} bytes where the header alone has "
            f"{start} in {str(path)!r}; the file is truncated: {_REMEDY}"
        )
    shape = struct.unpack(f">{_RANK[role]}I", raw[4:start])
    expected = start + math.prod(shape)
    if len(raw) != expected:
        state = "truncated" if len(raw) < expected else "too long"
        raise ValueError(
            f"path must hold complete IDX files, got {len(raw)} bytes where the header announces "
            f"{expected} (shape {shape}) in {str(path)!r}; the file is {state}: {_REMEDY}"
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


# ---------------------------------------------------------------------------------------- npz


def _read_npz(path: Path, subset: str) -> tuple[np.ndarray, np.ndarray]:
    splits = tuple(_PREFIX) if subset == "all" else (subset,)
    keras = [(f"x_{split}", f"y_{split}") for split in splits]
    plain = [("images", "labels")]
    try:
        # np.load leaves a file open that it opened itself and could not read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            keys = sorted(archive.files)
            pairs = next((p for p in (keras, plain) if set(sum(p, ())) <= set(keys)), [])
            has_subset = pairs is keras or subset == "all"
            arrays = [(archive[x], archive[y]) for x, y in pairs if has_subset]
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"path must name a complete .npz archive of numeric arrays, could not read "
            f"{str(path)!r} ({error}); {_REMEDY}, or save it again without Python objects"
        ) from error
    if not pairs:
        wanted = ", ".join(sum(keras, ()))
        raise ValueError(
            f"path must name an .npz archive with the arrays {wanted} for subset={subset!r}, or "
            f"with images, labels; got {', '.join(keys) or 'no array'} in {str(path)!r}; rename "
            "the arrays"
        )
    if not has_subset:
        raise ValueError(
            f"subset must be 'all' for an .npz archive without a train/test split, got {subset!r} "
            f"with {str(path)!r}, which holds images and labels; pass subset='all'"
        )
    parts = [
        check_pair(images, labels, source=f"{str(path)!r} ({x}, {y})")
        for (images, labels), (x, y) in zip(arrays, pairs, strict=True)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
