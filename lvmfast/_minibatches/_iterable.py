"""Batches that someone else makes: lists of them, loaders, generators."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np

from lvmfast import _backend
from lvmfast._minibatches._batch import Batch, Source, dtype_of, is_narrow, unmasked
from lvmfast._validation import as_float_array, check_columns, check_integer
from lvmfast.exceptions import SourceEndedError

__all__ = ["IterableSource", "is_batches"]


def is_batches(X, y=None, *, needs_y=True, ndim=None) -> bool:
    """Whether X, without y, is an iterable of batches or a callable that gives one.

    A list is one where each of its items is a dict, or a tuple that begins with an array of ``ndim`` dimensions (any
    from 2 on), or, where no y is needed, such an array: not one row, but rows.
    """
    if y is not None or X is None or isinstance(X, (str, bytes)) or hasattr(X, "shape"):
        return False
    if isinstance(X, (list, tuple)):
        return bool(X) and all(isinstance(item, Mapping) or _is_item(item, needs_y, ndim) for item in X)
    return hasattr(X, "__iter__") or hasattr(X, "__getitem__") or callable(X)


def _is_item(item, needs_y: bool, ndim: int | None) -> bool:
    """Whether it can only be a batch: an array of rows, alone where no y is needed, or first in a tuple or list."""
    if isinstance(item, (list, tuple)) and 1 + needs_y <= len(item) <= 3:
        item = item[0]
    elif needs_y:
        return False
    found = len(getattr(item, "shape", ()))
    return found >= 2 if ndim is None else found == ndim


def _as_array(value):
    """Of NumPy, or of CuPy if it lives on a GPU."""
    if _backend.is_gpu(value):
        _backend.module_for(value)
        return _backend.to_device(value, "cuda")
    return np.asarray(unmasked(value))


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A batch and its place: the number of the pass, and that within it."""

    batch: Batch
    epoch: int
    index: int


class IterableSource(Source):
    """Batches of an iterable, in the order in which it gives them.

    Parameters
    ----------
    batches : iterable or callable
        Of ``(X, y)``, ``(X, y, known)`` or dicts with the keys "X", "y", ``known_name`` and "sample_weight"; where no y
        is needed also of arrays X, ``(X,)``, and dicts without "y". X has shape (b, ...). It is started again for every
        pass where that is possible: a list, an object with ``__iter__`` (a loader), or a callable that returns a new
        iterator. An iterator is read once; when it ends, SourceEndedError.
    n_total : int, optional
        Rows of the whole data. Default: ``batches.n_total``, ``len(batches.dataset)``, or the rows of a list or tuple.
    known_name : str, optional
        What the likelihood calls that which is known of every point.
    device, dtype, raw_y, names, ndim
        As for :class:`~lvmfast._minibatches.ArraySource`.
    state : dict, optional
        Of :meth:`state`: what can be started again is read to the place where it was; an iterator goes on where it
        stands, after the batches that had been read ahead.
    needs_y, needs_total : bool, default=True
        Whether batches must have y, and ``n_total`` must be known. Without the first, y is None in every batch; without
        the second, ``n_total`` is None where nobody tells it.

    Notes
    -----
    What :meth:`head` reads is copied and kept until its turn comes, so that nothing is lost and a generator may use one
    array again and again. Batches must have rows of the shape of those in the first one, and, without ``dtype``, no
    wider dtype.
    """

    def __init__(
        self,
        batches,
        n_total=None,
        *,
        known_name=None,
        device="auto",
        dtype=None,
        raw_y=False,
        names=None,
        state=None,
        ndim=None,
        needs_y=True,
        needs_total=True,
    ):
        self._needs_y, self._needs_total = needs_y, needs_total
        self._given, self.known_name, self.names = batches, known_name, names
        self._ahead: collections.deque[_Entry] = collections.deque()
        self._last: _Entry | None = None
        self._step = self._rows = self._epoch = self._read = 0
        self._iterator = self._begun()
        self.repeatable = self._iterator is not batches
        self.n_total = self._count(n_total)
        if self.repeatable and hasattr(batches, "__len__"):
            self.pass_length = len(batches)
        self._wanted = (None if dtype is None else np.dtype(dtype), device, raw_y, ndim)
        self.q = None  # until the first batch
        if state is not None:
            self.restore(state)
        if not self._ahead:
            self._ahead.append(self._pull(copy=True))

    def _begun(self):
        """An iterator at the first batch."""
        if hasattr(self._given, "__iter__") or hasattr(self._given, "__getitem__"):
            return iter(self._given)
        made = self._given() if callable(self._given) else None
        try:
            return iter(made)
        except TypeError:
            got = "a callable that returned " * callable(self._given) + repr(made if made is not None else self._given)
            raise TypeError(f"batches must be an iterable, or a callable that returns one, got {got}") from None

    def _count(self, n_total) -> int | None:
        if n_total is None:
            n_total = getattr(self._given, "n_total", None)
        if n_total is None and hasattr(getattr(self._given, "dataset", None), "__len__"):
            n_total = len(self._given.dataset)
        if n_total is None and isinstance(self._given, (list, tuple)):
            return sum(len(self._parts(item, k)[0]) for k, item in enumerate(self._given))
        if n_total is None and not self._needs_total:
            return None
        if n_total is None:
            raise ValueError(
                "n_total must be the number of rows of the whole data where batches do not tell it, got None; pass "
                "n_total=..."
            )
        return check_integer(n_total, "n_total", 1)

    # Reading.

    def _parts(self, item, index: int):
        """X, y, known and weight of an item, as they came; y is None where none is needed."""
        known, needs_y = self.known_name, self._needs_y
        if isinstance(item, Mapping):
            keys = {"X", "y", "sample_weight"} | ({known} if known else set())
            if {"X", "y"} - (set() if needs_y else {"y"}) <= set(item) <= keys:
                return item["X"], item["y"] if needs_y else None, item.get(known), item.get("sample_weight")
            got = f"a dict with the keys {sorted(map(str, item))}"
        elif isinstance(item, (tuple, list)):
            if 1 + needs_y <= len(item) <= 2 + bool(known):
                X, y, own = (*item, None, None)[:3]
                return X, y if needs_y else None, own, None
            got = f"a {type(item).__name__} of {len(item)}"
        elif not needs_y and hasattr(item, "shape"):
            return item, None, None, None
        else:
            got = f"a {type(item).__name__}"
        also = f", (X, y, {known})" if known else ""
        alone = "" if needs_y else "an array X, (X,), "
        keys = "'X', 'y'" + (f", '{known}'" if known else "") + ", 'sample_weight'"
        raise TypeError(f"batches[{index}] must be {alone}(X, y){also} or a dict with the keys {keys}, got {got}")

    def _parsed(self, item, index: int, copy: bool) -> Batch:
        """A checked batch."""
        source = f"batches[{index}]"
        at = f" of {source}"
        X, y, known, weight = self._parts(item, index)
        if self.names is None and self.q is None:
            columns = getattr(X, "columns", None)
            if columns is not None and all(isinstance(name, str) for name in columns):
                self.names = np.array(columns, dtype=object)
        check_columns(X, self.names)
        X, y, known, weight = (None if a is None else _as_array(a) for a in (X, y, known, weight))
        if self.q is None:
            self._describe(X, y, *self._wanted, name=f"X{at}")
            self._knows = known is not None
        self._check(X, y, known, weight, at)
        if not (self.raw_y or y is None):
            y = as_float_array(y, f"y{at}")
        X = X if is_narrow(X, self.dtype) else as_float_array(X, f"X{at}")
        batch = self._made(X, y, known, weight, None, source)
        if copy:
            batch = dataclasses.replace(
                batch,
                **{name: a.copy() for name in ("X", "y", "known", "weight") if (a := getattr(batch, name)) is not None},
            )
        return batch

    def _check(self, X, y, known, weight, at: str) -> None:
        """Raise unless these arrays go with the batches before."""
        if len(X.shape) < 2 or tuple(X.shape[1:]) != self.shape:
            rule = ", ".join(map(str, self.shape))
            raise ValueError(f"X{at} must have shape (b, {rule}), as those before, got {tuple(X.shape)}")
        b = int(X.shape[0])
        if b == 0:
            raise ValueError(f"X{at} must have at least one row, got shape {tuple(X.shape)}; leave empty batches out")
        if self.n_total is not None and b > self.n_total:
            raise ValueError(f"X{at} must have at most n_total = {self.n_total} rows, got {b}; raise n_total")
        one, many = (b,), (b,) if self.d is None else (b, self.d)
        for name, array, shapes in (
            ("y", y, {many}),
            (self.known_name, known, {one, many}),
            ("sample_weight", weight, {one}),
        ):
            if array is not None and tuple(array.shape) not in shapes:
                rule = " or ".join(map(str, sorted(shapes)))
                raise ValueError(f"{name}{at} must have shape {rule}, got {tuple(array.shape)}")
        if (known is not None) != self._knows:
            rule, got = ("be given", "none") if self._knows else ("be left out", "one")
            raise ValueError(f"{self.known_name}{at} must {rule}, as in those before, got {got}")
        numbers = {"X": X, "y": None if self.raw_y else y, self.known_name: known, "sample_weight": weight}
        for name, array in numbers.items():
            if array is not None and np.dtype(array.dtype).kind not in "biuf":
                raise TypeError(f"{name}{at} must hold real numbers, got dtype {array.dtype}")
        if self._wanted[0] is None and self.dtype == np.float32 and dtype_of(X, y, self.raw_y) != np.float32:
            both, got = ("X", f"{X.dtype}") if y is None else ("X and y", f"{X.dtype} and {y.dtype}")
            raise ValueError(f"{both}{at} must be float32, as those before, got {got}; give all batches one dtype")
        if _backend.is_gpu(X) != self.on_gpu:
            where = "on the GPU" if self.on_gpu else "on the CPU"
            raise ValueError(f"X{at} must be {where}, as those before, got a {type(X).__name__}")

    def _pull(self, copy: bool, again: bool = True) -> _Entry | None:
        """The next batch of the iterable; at its end from a new pass, or None without ``again``."""
        restarted = False
        while True:
            try:
                item = next(self._iterator)
            except StopIteration:
                if not again:
                    return None
                if self.repeatable and self._read:
                    self.pass_length, restarted = self._read, True
                    self._iterator, self._epoch, self._read = self._begun(), self._epoch + 1, 0
                    continue
                self._end(restarted)
            self._read += 1
            return _Entry(self._parsed(item, self._read - 1, copy), self._epoch, self._read - 1)

    def _end(self, restarted: bool) -> None:
        done = f"after {self._step} batches with {self._rows} rows"
        if restarted:
            problem = f"batches must give batches in every pass, got none in pass {self._epoch + 1}, {done}"
            remedy = "the object, or what a callable returns, is used up after one pass: return a new iterator"
        elif self.repeatable or not self._step:
            problem, remedy = "batches must give at least one batch, got none", "an iterator may have been read before"
        else:
            problem = f"batches must last for all steps of the fit, got their end {done}"
            remedy = "pass a list or a callable that returns a new iterator for every pass, or lower max_iter"
        raise SourceEndedError(f"{problem}; {remedy}", batches=self._step, rows=self._rows)

    # What is asked of a source.

    def batch(self, step: int) -> Batch:
        """The batch of step t, asked for in order; the one before once more."""
        if self._last is not None and step == self._step - 1:
            return self._last.batch
        if step != self._step:
            raise ValueError(f"step must be {self._step}: an iterable is read in order, got {step}")
        self._last = self._ahead.popleft() if self._ahead else self._pull(copy=False)
        self._step += 1
        self._rows += len(self._last.batch)
        return self._last.batch

    def head(self, rows: int):
        """Rows of the next batches, at most those of one pass; call it before the first step."""
        while sum(len(entry.batch) for entry in self._ahead) < rows:
            entry = self._pull(copy=True, again=False)
            if entry is None:
                break
            self._ahead.append(entry)
        kept = [self._statistics(e.batch.X, e.batch.y, e.batch.known) for e in self._ahead]
        return tuple(None if any(a is None for a in c) else np.concatenate(c)[:rows] for c in zip(*kept, strict=True))

    def pieces(self, rows: int = 8192):
        """One pass, apart from that of the fit; ValueError for an iterator."""
        if not self.repeatable:
            raise ValueError("batches must be a list or a callable to be read again, got an iterator")
        for index, item in enumerate(self._begun()):
            yield self._parsed(item, index, copy=False)

    def labels(self) -> np.ndarray | None:
        """The different values in y of a pass; None without y and for an iterator."""
        if not self._needs_y:
            return None
        found = None
        for batch in self.pieces() if self.repeatable else ():
            new = np.unique(_backend.to_numpy(batch.y))
            found = new if found is None else np.union1d(found, new)
        return found

    def pass_of(self, step: int) -> int:
        """The number of the pass of the batch of step t, which must be the last one that was read."""
        if self._last is None or step != self._step - 1:
            raise ValueError(f"step must be that of the batch read last, {self._step - 1}, got {step}")
        return self._last.epoch

    def state(self, step: int) -> dict:
        """The place; of an iterator also the batches that were read and not used."""
        if step not in (self._step, self._step - 1) or (step < self._step and self._last is None):
            raise ValueError(f"step must be {self._step} or the one before, got {step}")
        back = [self._last] if step < self._step else []
        entries = [*back, *self._ahead]
        place = (entries[0].epoch, entries[0].index) if entries else (self._epoch, self._read)
        rows = self._rows - sum(len(entry.batch) for entry in back)
        state = {"step": step, "rows": rows, "epoch": place[0], "index": place[1], "on_gpu": self.on_gpu}
        if not self.repeatable:
            for k, entry in enumerate(entries):
                for name in ("X", "y", "known", "weight"):
                    if (array := getattr(entry.batch, name)) is not None:
                        array = np.array(_backend.to_numpy(array))
                        state[f"ahead.{k}.{name}"] = np.array(array.tolist()) if array.dtype == object else array
        return state

    def restore(self, state: dict) -> None:
        """Go on at a place; see the parameter ``state``."""
        step, rows, epoch, index = (int(state[name]) for name in ("step", "rows", "epoch", "index"))
        if self.repeatable:
            self._ahead.clear()
            iterator = self._begun()
            for k in range(index):
                if next(iterator, self) is self:
                    raise SourceEndedError(
                        f"batches must be those of the fit to resume it, which had used {index} of a pass, got {k}; "
                        "pass the same ones",
                        batches=k,
                    )
            self._iterator = iterator
        else:
            place = "cuda" if state["on_gpu"] else "cpu"
            saved: list[_Entry] = []
            while f"ahead.{len(saved)}.X" in state:
                k = len(saved)
                names = ("X", "y", "known", "weight")
                arrays = {name: state.get(f"ahead.{k}.{name}") for name in names}
                arrays = {n: None if a is None else _backend.to_device(np.array(a), place) for n, a in arrays.items()}
                item = {"X": arrays["X"], "y": state.get(f"ahead.{k}.y") if self._wanted[2] else arrays["y"]}
                item |= {"sample_weight": arrays["weight"]}
                item |= {self.known_name: arrays["known"]} if self.known_name else {}
                saved.append(_Entry(self._parsed(item, index + k, copy=False), epoch, index + k))
            self._ahead.extendleft(reversed(saved))
            index += len(self._ahead)
        self._last, self._step, self._rows, self._epoch, self._read = None, step, rows, epoch, index
        if not self._ahead:  # where a pass had ended, the first of the next
            self._ahead.append(self._pull(copy=True))
