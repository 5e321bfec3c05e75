"""Two samples, checked, split, scaled and weighted."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
from scipy import sparse

from lvmfast import _backend
from lvmfast._validation import as_matrix, check_columns
from lvmfast.models._ratio_checks import NETWORKS
from lvmfast.models._ratio_loss import loss_function
from lvmfast.random import named_seeds

SEEDS = ("network", "order", "split", "pairs", "centers")

__all__ = ["RatioData", "read_rows", "seeds_of"]


def seeds_of(seed: int) -> dict[str, int]:
    """Independent seeds for what draws numbers."""
    return named_seeds(seed, SEEDS)


def read_rows(model, X, name: str = "X"):
    """Rows for a fitted model, on its device."""
    check_columns(X, getattr(model, "feature_names_in_", None))
    array = as_matrix(X, name, columns=model.n_features_in_)
    return _backend.to_device(array, model.device_) if model.device_ == "cuda" else _backend.to_numpy(array)


@dataclasses.dataclass
class Sample:
    """Rows of one density with weights >= 0."""

    X: object
    w: object

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows) -> Sample:
        """Some of them."""
        xp = _backend.namespace(self.X)
        rows = _backend.like(rows, self.X)
        return Sample(xp.ascontiguousarray(self.X[rows]), self.w[rows])


@dataclasses.dataclass
class RatioData:
    """What a fit works with: standardised rows of p and q, and those held out."""

    p: Sample
    q: Sample
    held: tuple[Sample, Sample] | None
    mean: np.ndarray
    scale: np.ndarray
    offset: float
    balanced: bool
    names: np.ndarray | None
    device: str
    bytes: int

    @classmethod
    def read(cls, model, X_p, X_q, w_p, w_q, validation, seed: int) -> RatioData:
        """Check, move, split and scale."""
        device = _backend.check_device(model.device, X_p, X_q)
        for name, rows in (("X_p", X_p), ("X_q", X_q)):
            if sparse.issparse(rows):
                raise TypeError(f"{name} must be a dense array, got a sparse matrix; use {name}.toarray()")
        names = getattr(X_p, "columns", None)
        if names is not None:
            check_columns(X_q, names)
        names = getattr(X_q, "columns", None) if names is None else names
        first = as_matrix(X_p, "X_p")
        second = as_matrix(X_q, "X_q")
        for name, array in (("X_p", first), ("X_q", second)):
            if len(array) == 0 or array.shape[1] == 0:
                raise ValueError(f"{name} must have a row and a feature, got shape {array.shape}")
        if second.shape[1] != first.shape[1]:
            raise ValueError(
                f"X_q must have {first.shape[1]} columns, as X_p has, got {second.shape[1]}: both are samples of the "
                "same variables"
            )
        networks = model.method in NETWORKS
        if not networks and not (w_p is None and w_q is None and validation is None):
            raise ValueError(f"sample weights and validation_data are for networks, got method={model.method!r}")
        pair = [
            Sample(_backend.to_device(X, device), _weights(w, len(X), name, device))
            for X, w, name in ((first, w_p, "sample_weight_p"), (second, w_q, "sample_weight_q"))
        ]
        code = 0
        for sample in pair:
            for array in (sample.X, sample.w):
                code = zlib.crc32(np.ascontiguousarray(_backend.to_numpy(array)).view(np.uint8), code)
        held = None
        wanted = networks and (model.early_stopping or model.calibrate)
        if validation is not None:
            held = _given_validation(validation, first.shape[1], device)
            wanted = False
        if wanted:
            rng = np.random.Generator(np.random.Philox(key=seeds_of(seed)["split"]))
            parts = []
            for name, sample in zip(("X_p", "X_q"), pair, strict=True):
                order, count = rng.permutation(len(sample)), max(1, round(model.validation_fraction * len(sample)))
                if count >= len(sample):
                    raise ValueError(
                        f"{name} must have 2 rows or more to hold some out, got {len(sample)}; give validation_data or "
                        "early_stopping=False and calibrate=False"
                    )
                parts.append((sample.take(np.sort(order[count:])), sample.take(np.sort(order[:count]))))
            pair, held = [part[0] for part in parts], tuple(part[1] for part in parts)
        data = cls(
            *pair, held, np.zeros(first.shape[1]), np.ones(first.shape[1]), 0.0, False, _names(names), device, code
        )
        data.balanced = networks and (
            model.class_weight == "balanced" or loss_function(model.loss, model.f) is not None
        )
        if networks and not data.balanced and model.method == "classifier":
            data.offset = float(np.log(float(data.p.w.sum())) - np.log(float(data.q.w.sum())))
        if model.standardize:
            data._standardize()
        return data

    def _standardize(self) -> None:
        """Scale by the mean and the standard deviation of all rows that are not held out."""
        p, q = (sample.X.astype(np.float64) for sample in (self.p, self.q))
        xp, n = _backend.namespace(p), len(p) + len(q)
        most = xp.maximum(abs(p).max(axis=0), abs(q).max(axis=0))  # squares of numbers near it stay in range
        most = xp.where(most > 0, most, 1.0)
        p, q = p / most, q / most
        mean = (p.sum(axis=0) + q.sum(axis=0)) / n
        square = (((p - mean) ** 2).sum(axis=0) + ((q - mean) ** 2).sum(axis=0)) / n
        self.mean, scale = (_backend.to_numpy(most * numbers) for numbers in (mean, xp.sqrt(square)))
        with np.errstate(all="ignore"):
            self.scale = np.where(scale > 1e-12 * np.maximum(np.abs(self.mean), 1e-300), scale, 1.0)
        for sample in (self.p, self.q, *(self.held or ())):
            sample.X = scaled(sample.X, self.mean, self.scale)

    def mark(self) -> np.ndarray:
        """Numbers by which the same data are known again."""
        return np.array([len(self.p), len(self.q), len(self.mean), self.bytes], dtype=np.int64)

    def joined(self, dtype, p: Sample | None = None, q: Sample | None = None, balanced=None):
        """Rows of p, then of q, and weights, > 0 of p and < 0 of q, that sum to 2 without their signs."""
        p, q = p or self.p, q or self.q
        balanced = self.balanced if balanced is None else balanced
        xp = _backend.namespace(p.X)
        X = xp.ascontiguousarray(xp.concatenate([p.X, q.X]), dtype=dtype)
        total_p, total_q = float(p.w.sum()), float(q.w.sum())
        if not balanced:
            total_p = total_q = 0.5 * (total_p + total_q)
        return X, xp.concatenate([p.w / total_p, -q.w / total_q]).astype(dtype)


def scaled(X, mean, scale):
    """``(X - mean) / scale``, in float64, on X's device."""
    return (X.astype(np.float64) - _backend.like(mean, X)) / _backend.like(scale, X)


def _weights(w, n: int, name: str, device: str):
    xp = _backend.namespace_on(device)
    if w is None:
        return xp.ones(n)
    array = np.asarray(_backend.to_numpy(w), dtype=np.float64)
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any() or not array.sum() > 0:
        raise ValueError(f"{name} must be finite, >= 0 and not all 0, got {array.min():g} at least")
    return _backend.to_device(array, device)


def _given_validation(validation, d: int, device: str):
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError(f"validation_data must be a pair, rows of p and rows of q, got {type(validation).__name__}")
    pair = []
    for k, rows in enumerate(validation):
        X = as_matrix(rows, f"validation_data[{k}]", columns=d)
        if not len(X):
            raise ValueError(f"validation_data[{k}] must have a row, got none")
        pair.append(Sample(_backend.to_device(X, device), _weights(None, len(X), "", device)))
    return tuple(pair)


def _names(columns):
    if columns is None or not all(isinstance(name, str) for name in columns):
        return None
    return np.asarray(columns, dtype=object)
