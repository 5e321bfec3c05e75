"""What a minibatch is, and what is asked of a source of them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from lvmfast import _backend

__all__ = ["Batch", "Source", "dtype_of", "is_narrow", "unmasked"]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows of which ``n_total / b sum_i weight_i g(X_i, y_i)`` stands for the sum over all data.

    ``X`` (b, q) or (b, ...), ``y`` (b,), (b, d) or None, ``known`` of the shape of one of these columns or of y, or
    None, all in the dtype and on the device of the source, in C order; ``weight`` (b,), float64, or None. They may be
    the caller's own. ``n_total`` is None where nobody told it. ``rows``: b numbers of the rows in the data, or None of
    an iterable, whose batch has a name, ``source``.
    """

    X: object
    y: object
    known: object
    weight: object
    n_total: int | None
    rows: object = None
    source: str = "X"

    def __len__(self) -> int:
        return len(self.X)

    def place(self, i: int) -> str:
        """What an error calls row i of the batch: "row 70312 of X", or "row 3 of batches[5]"."""
        return f"row {int(i if self.rows is None else self.rows[i])} of {self.source}"


class Source:
    """Where batches come from.

    Attributes
    ----------
    n_total : int or None
        Rows of the whole data.
    shape : tuple of int
        Of a row of X.
    q : int
        Numbers in a row of X: columns, where X is a matrix.
    d : int or None
        Columns of y, None where it has shape (n,) or there is none.
    dtype : numpy.dtype
        Of batches: that which was asked for, else float32 where X is, unless y is float64.
    device : str
        Where batches are, "cpu" or "cuda".
    on_gpu : bool
        Whether X came from there.
    names : array or None
        Of the columns of X.
    repeatable : bool
        Whether all rows can be read again.
    pass_length : int or None
        Steps in which all rows are seen once (with arrays: the first number of steps in which they are), if known.
    """

    names = None
    repeatable = True
    pass_length: int | None = None

    def batch(self, step: int) -> Batch:
        """The batch of step 0, 1, 2, ..."""
        raise NotImplementedError

    def head(self, rows: int):
        """At most ``rows`` rows that stand for all: X (k, ...), y (in its own dtype if raw) and what is known, or None.

        Of NumPy, float64.
        """
        raise NotImplementedError

    def pieces(self, rows: int = 8192):
        """All rows once, in order, as batches (of at most ``rows`` rows where the source cuts them)."""
        raise NotImplementedError

    def labels(self) -> np.ndarray | None:
        """The different values in y, sorted; None where there is no y, or looking would use the data up."""
        raise NotImplementedError

    def pass_of(self, step: int) -> int:
        """The number of the pass, 0, 1, ..., in which ``batch(step)`` begins (of an iterable: a batch just read)."""
        raise NotImplementedError

    def state(self, step: int) -> dict:
        """What :meth:`restore` needs so that ``batch(step)`` comes next: numbers and arrays of NumPy by name."""
        raise NotImplementedError

    def restore(self, state: dict) -> None:
        """Go on as the source that gave ``state``."""
        raise NotImplementedError

    def _describe(self, X, y, dtype, device, raw_y, ndim, name="X") -> None:
        """Set the attributes from anything with shapes and dtypes. ``ndim``: dimensions that X must have, or None."""
        if len(X.shape) < 2 or ndim not in (None, len(X.shape)) or not all(X.shape[1:]):
            rule = f"of {ndim} dimensions" if ndim else "of two dimensions or more"
            rule = "(n, q) with q >= 1" if ndim == 2 else f"(n, ...) {rule}, with at least one number in a row"
            raise ValueError(f"{name} must have shape {rule}, got {tuple(X.shape)}")
        if np.dtype(X.dtype).kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers, got dtype {X.dtype}")
        if y is not None and len(y.shape) not in (1, 2):
            raise ValueError(f"{'y' + name[1:]} must have shape (n,) or (n, d), got {tuple(y.shape)}")
        self.shape = tuple(map(int, X.shape[1:]))
        self.q, self.d = math.prod(self.shape), None if y is None or len(y.shape) == 1 else int(y.shape[1])
        self.raw_y = raw_y
        self.dtype = dtype_of(X, y, raw_y) if dtype is None else np.dtype(dtype)
        _backend.module_for(X=X, **({} if raw_y else {"y": y}))
        self.on_gpu, self.device = _backend.is_gpu(X), _backend.check_device(device, X, y)

    def _made(self, X, y, known, weight, rows=None, source="X") -> Batch:
        """A batch of rows as they came."""
        if y is not None:
            y = np.asarray(_backend.to_numpy(y)) if self.raw_y else self._placed(y, self.dtype)
        known, weight = self._placed(known, self.dtype), self._placed(weight, np.float64)
        return Batch(self._placed(X, self.dtype), y, known, weight, self.n_total, rows, source)

    def _placed(self, array, dtype):
        """On the device, in C order; itself if it is."""
        if array is None:
            return None
        gpu = self.device == "cuda"
        if not _backend.is_gpu(array):
            array = np.ascontiguousarray(array, dtype=None if gpu and is_narrow(array, dtype) else dtype)
        array = _backend.to_device(array, self.device)
        return _backend.namespace(array).ascontiguousarray(array, dtype=dtype)

    def _statistics(self, X, y, known):
        """For ``head``."""
        X, y, known = (None if a is None else np.asarray(_backend.to_numpy(a)) for a in (X, y, known))
        y = y if y is None or self.raw_y else y.astype(np.float64)
        return X.astype(np.float64), y, None if known is None else known.astype(np.float64)


def dtype_of(X, y, raw_y: bool) -> np.dtype:
    """float32 where X is; float64 where X is not, or y is a float of another kind. Whole numbers do not widen."""
    single = np.dtype(X.dtype).newbyteorder("=") == np.float32
    if single and y is not None and not raw_y:
        y_dtype = np.dtype(y.dtype).newbyteorder("=")
        single = y_dtype.kind in "biu" or y_dtype == np.float32
    return np.dtype(np.float32 if single else np.float64)


def is_narrow(array, dtype) -> bool:
    """Whether whole numbers take less memory than they will in ``dtype``: widened in batches, and on the device."""
    own = np.dtype(array.dtype)
    return own.kind in "biu" and own.isnative and own.itemsize < np.dtype(dtype).itemsize


def unmasked(array):
    """With NaN for numbers behind a mask, where it has one."""
    if not np.ma.isMaskedArray(array):
        return array
    return array.astype(array.dtype if array.dtype.kind == "f" else np.float64).filled(np.nan)
