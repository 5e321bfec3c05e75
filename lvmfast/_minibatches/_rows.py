"""Batches of data whose rows can be read in any order: arrays and memory maps."""

from __future__ import annotations

import copy

import numpy as np
import scipy.sparse

from lvmfast import _backend
from lvmfast._minibatches._batch import Batch, Source, is_narrow, unmasked
from lvmfast._validation import check_integer
from lvmfast.random import seed_of

__all__ = ["ArraySource", "RowSource", "is_mapped", "is_sliced"]

LABEL_ROWS = 1 << 20  # of y at a time


def is_mapped(array) -> bool:
    """Whether an array is a memory map or part of one, which is never read as a whole."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def is_sliced(array) -> bool:
    """Whether it is read by slices, as datasets of HDF5 and zarr are: neither an array in memory nor a data frame."""
    if array is None or isinstance(array, (np.ndarray, np.generic, list, tuple)) or _backend.is_gpu(array):
        return False
    in_memory = scipy.sparse.issparse(array) or any(hasattr(array, name) for name in ("__dlpack__", "to_numpy", "iloc"))
    return not in_memory and all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__"))


class RowSource(Source):
    """Data whose rows can be read in any order.

    With n rows and passes 0, 1, ..., each of which is an order of all rows that the seed and its number give, batch t
    holds entries ``t b, ..., (t + 1) b - 1`` of these orders one after the other: every row once in every pass, and
    ``b`` rows in every batch, so that one may end a pass and begin the next. Batches are functions of the seed and t
    alone. From ``batch_size >= n`` on a batch is all rows, as they lie.
    """

    def __init__(
        self,
        X,
        y=None,
        known=None,
        weight=None,
        *,
        batch_size=None,
        seed=0,
        known_name=None,
        device="auto",
        dtype=None,
        raw_y=False,
        names=None,
        ndim=None,
    ):
        self.names, self.seed = names, seed_of(seed)
        self._fields = {"X": X, "y": y, known_name or "known": known, "sample_weight": weight}
        self._fields = {name: self._as_field(a) for name, a in self._fields.items()}
        self._describe(self._fields["X"], self._fields["y"], dtype, device, raw_y, ndim)
        rows = int(X.shape[0])
        if rows < 1:
            raise ValueError(f"X must have at least one row, got shape {tuple(X.shape)}")
        for k, (name, a) in enumerate(self._fields.items()):
            if a is None or k == 0:
                continue
            if tuple(a.shape[:1]) != (rows,) or len(a.shape) > 2 - k // 3:
                shape = (f"({rows},) or ({rows}, d)", f"({rows},) or ({rows}, d)", f"({rows},)")[k - 1]
                raise ValueError(f"{name} must have shape {shape}, got {tuple(a.shape)}")
            if (k > 1 or not raw_y) and np.dtype(a.dtype).kind not in "biuf":
                raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}")
        self._size = None if batch_size is None else check_integer(batch_size, "batch_size", 1)
        self._keep(rows)

    def _as_field(self, array):
        sliced = array is None or is_sliced(array)
        return array if sliced or _backend.is_gpu(array) else unmasked(np.asanyarray(array))

    def _keep(self, rows: int) -> None:
        """Set what depends on the number of rows."""
        self.n_total = rows
        self.batch_size = rows if self._size is None else min(self._size, rows)
        self.pass_length = -(-rows // self.batch_size)
        self._whole: Batch | None = None
        self._epoch = None

    def _spans(self, step: int):
        """``(epoch, first, last)`` of the parts of passes that make up a batch."""
        at = step * self.batch_size
        end = at + self.batch_size
        while at < end:
            epoch, first = divmod(at, self.n_total)
            last = min(self.n_total, first + end - at)
            yield epoch, first, last
            at += last - first

    def batch(self, step: int) -> Batch:
        """The batch of step t."""
        if self.batch_size < self.n_total:
            fields, rows = self._chosen(step)
            return self._made(*fields, rows)
        if self._whole is None:
            self._whole = self._made(*self._between(0, self.n_total), self._numbers(0, self.n_total))
        return self._whole

    def pieces(self, rows: int = 8192):
        """All rows once, in order, as batches of ``rows`` rows; the last one may be shorter."""
        for start in range(0, self.n_total, rows):
            stop = min(start + rows, self.n_total)
            yield self._made(*self._between(start, stop), self._numbers(start, stop))

    def labels(self) -> np.ndarray | None:
        """The different values in y, sorted; None without y."""
        if self._fields["y"] is None:
            return None
        found = []
        for start in range(0, self.n_total, LABEL_ROWS):
            (y,) = self._between(start, min(start + LABEL_ROWS, self.n_total), ("y",))
            found.append(np.unique(_backend.to_numpy(y)))
        return np.unique(np.concatenate(found))

    def pass_of(self, step: int) -> int:
        """The number of the pass in which ``batch(step)`` begins."""
        return step * self.batch_size // self.n_total

    def state(self, step: int) -> dict:
        """The seed; the rest is in the step."""
        return {"step": step, "seed": self.seed, "rows": self.n_total}

    def restore(self, state: dict) -> None:
        """Go on with the seed of ``state``."""
        if int(state["rows"]) != self.n_total:
            raise ValueError(f"X must have the {state['rows']} rows of the fit to resume it, got {self.n_total}")
        self.seed, self._epoch = int(state["seed"]), None

    def _order(self, epoch: int, count: int, *more: int) -> np.ndarray:
        """A random order of ``count`` things."""
        order = np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)
        np.random.default_rng([self.seed, epoch, *more]).shuffle(order)
        return order

    def _between(self, start: int, stop: int, names=None):
        """The fields of some rows, in order."""
        raise NotImplementedError

    def _numbers(self, start: int, stop: int):
        """Those of these rows in the data."""
        raise NotImplementedError

    def _chosen(self, step: int):
        """The fields of a batch, and the numbers of its rows."""
        raise NotImplementedError


class ArraySource(RowSource):
    """Arrays of NumPy or CuPy and memory maps; of a map only the rows of a batch are read.

    Parameters
    ----------
    X : array of shape (n, ...)
        Rows of numbers, images, of any dtype of real numbers.
    y : array of shape (n,) or (n, d), optional
    known : array of shape (n,) or (n, d), optional
        What the likelihood knows of every point.
    weight : array of shape (n,), optional
    batch_size : int, optional
        Default: n.
    seed : int, numpy.random.Generator or None
        Of the orders of the rows.
    known_name : str, optional
        What ``known`` is called in errors.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where batches are. Arrays in memory are moved once, those of a memory map batch by batch. Whole numbers that
        take less room than ``dtype`` (images of uint8) move as they are: only batches are widened.
    dtype : float64 or float32, optional
        Default: see :class:`Source`.
    raw_y : bool, default=False
        Whether y, which may hold labels of any kind, stays as it is, of NumPy.
    names : array, optional
        Of the columns.
    ndim : int, optional
        Dimensions that X must have. Default: any from 2 on.

    Notes
    -----
    Rows of a batch are in increasing order. The order of one pass takes 4 bytes per row (8 from n = 2**31 on).
    Finiteness and the support of y are not looked at.
    """

    _rows = None  # those of the arrays that take part, if not all

    def __init__(self, X, y=None, known=None, weight=None, **settings):
        super().__init__(X, y, known, weight, **settings)
        if self.device == "cuda":
            for name, a in self._fields.items():
                if name == "y" and self.raw_y and a is not None:
                    self._fields[name] = _backend.to_numpy(a)
                elif not (a is None or is_mapped(a)):
                    dtype = np.float64 if name == "sample_weight" else self.dtype
                    self._fields[name] = self._placed(a, a.dtype if is_narrow(a, dtype) else dtype)

    def _take(self, rows, names=None):
        on_gpu = None
        found = []
        for name in names or self._fields:
            a = self._fields[name]
            if a is None:
                found.append(None)
            elif _backend.is_gpu(a) and not isinstance(rows, slice):
                on_gpu = _backend.to_device(rows, "cuda") if on_gpu is None else on_gpu
                found.append(a[on_gpu])
            else:
                found.append(a[rows])
        return found

    def _between(self, start, stop, names=None):
        return self._take(slice(start, stop) if self._rows is None else self._rows[start:stop], names)

    def _chosen(self, step):
        rows = np.concatenate([self._pass(epoch)[first:last] for epoch, first, last in self._spans(step)])
        rows.sort()
        rows = rows if self._rows is None else self._rows[rows]
        return self._take(rows), rows

    def _numbers(self, start, stop):
        return range(start, stop) if self._rows is None else self._rows[start:stop]

    def _pass(self, epoch: int) -> np.ndarray:
        if self._epoch != epoch:
            self._shuffled, self._epoch = self._order(epoch, self.n_total), epoch
        return self._shuffled

    def head(self, rows: int):
        """Every k-th row."""
        step = max(1, -(-self.n_total // rows))
        X, y, known, _ = self._take(slice(None, None, step) if self._rows is None else self._rows[::step])
        return self._statistics(X, y, known)

    def _split(self, fraction: float, rng, most) -> tuple[ArraySource, ArraySource]:
        n = self.n_total
        count = min(max(1, round(fraction * n)), n - 1, n if most is None else most)
        held = np.sort(rng.choice(n, count, replace=False, shuffle=False))
        kept = np.ones(n, bool)
        kept[held] = False
        kept = np.flatnonzero(kept)
        if n < 2**31:
            held, kept = held.astype(np.int32), kept.astype(np.int32)
        return tuple(self._part(rows if self._rows is None else self._rows[rows]) for rows in (kept, held))

    def _part(self, rows):
        part = copy.copy(self)
        part._rows = rows
        part._keep(len(rows))
        return part
