"""Rows of X as numbers that a likelihood takes, and the batches of a fit."""

from __future__ import annotations

import copy
import math

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from lvmfast import _backend
from lvmfast._minibatches import as_source, is_batches, is_mapped, is_sliced, split

HEAD_ROWS = 1 << 12  # stand for all where a file or an iterable gives the rows
HELD_OUT_ROWS = 1 << 16  # at most, for validation

__all__ = ["Form", "Memory", "Stream", "as_data", "blocks", "streams", "write_names"]


class Form:
    """What a row is: its shape, and how it becomes numbers.

    Attributes
    ----------
    shape : tuple of int
        Of a row, without classes.
    d, width : int
        Features, and numbers that stand for them: one for each class with the categorical likelihood.
    codes : bool
        Whether classes came as their numbers 0, ..., C - 1.
    given : dtype
        In which X came: float32 or float64.
    """

    def __init__(self, likelihood: str, classes, dtype):
        self.likelihood, self.classes, self.dtype = likelihood, classes or 0, np.dtype(dtype)
        self.shape: tuple[int, ...] | None = None
        self.codes = False

    @property
    def d(self) -> int:
        """Features of a row."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return self.d * (self.classes or 1)

    @property
    def read_dtype(self) -> np.dtype:
        """In which batches are read: numbers of classes in float64, in which a wrong one is told as it came."""
        return np.dtype(np.float64) if self.likelihood == "categorical" else self.dtype

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Of a row as numbers."""
        return (*self.shape, self.classes) if self.classes else self.shape

    def learn(self, shape: tuple[int, ...]) -> None:
        """Take the shape of X."""
        if self.likelihood == "categorical" and len(shape) > 2:
            self.classes = self.classes or int(shape[-1])
            if shape[-1] != self.classes:
                raise ValueError(
                    f"X must have n_classes={self.classes} numbers for every feature, shape (n, d, n_classes), got "
                    f"{tuple(shape)}"
                )
            self.shape = tuple(map(int, shape[1:-1]))
            return
        if self.likelihood == "categorical":
            self.codes = True
            if not self.classes:
                raise ValueError(
                    "n_classes must be given where X holds numbers of classes, got None; or X be one-hot, (n, d, "
                    "n_classes)"
                )
        self.shape = tuple(map(int, shape[1:]))

    def check_shape(self, shape: tuple[int, ...]) -> bool:
        """Whether rows of this shape (n, ...) hold classes by their numbers; raise unless they are of this form."""
        if math.prod(shape[1:]) == self.d and len(shape) > 1:
            return bool(self.classes)
        if self.classes and tuple(shape[1:]) == self.full_shape:
            return False
        wanted = " or ".join(f"(n, {', '.join(map(str, s))})" for s in dict.fromkeys((self.shape, self.full_shape)))
        raise ValueError(f"X must have shape {wanted}, as in the fit, got {tuple(shape)}")

    def numbers(self, X, coded: bool, place=None):
        """C-contiguous (n, width) of the dtype, checked; X itself where it is that.

        place : callable, optional
            What an error calls row i.
        """
        xp = _backend.namespace(X)
        rows = X.reshape(len(X), math.prod(X.shape[1:]))
        place = place or (lambda i: f"row {i} of X")
        x = self._one_hot(rows, xp, place) if coded else self._converted(rows, xp, place)
        if self.likelihood != "gaussian" and len(x) and not coded:
            low, high = float(x.min()), float(x.max())
            if low < 0 or high > 1:
                row, column = self._first((x < 0) | (x > 1), xp)
                remedy = "scale by the largest value, such as X / 255, or use likelihood='gaussian'"
                if self.likelihood == "categorical":
                    remedy = "give one-hot numbers, or numbers of classes as (n, d)"
                raise ValueError(
                    f"X must lie in [0, 1] for likelihood={self.likelihood!r}, got {float(x[row, column]):.6g} at "
                    f"{place(row)}, column {column}; {remedy}"
                )
        return x

    def _converted(self, rows, xp, place):
        with np.errstate(over="ignore"):
            x = xp.ascontiguousarray(rows, dtype=self.dtype)
        if not bool(xp.isfinite(x).all()):
            row, column = self._first(~xp.isfinite(x), xp)
            value = float(rows[row, column])
            rule = f"finite in {self.dtype}; use dtype=np.float64 or scale" if np.isfinite(value) else "finite (no NaN)"
            raise ValueError(f"X must be {rule}, got {value} at {place(row)}, column {column}")
        return x

    def _one_hot(self, rows, xp, place):
        good = (rows >= 0) & (rows < self.classes) & (rows == xp.floor(rows))
        if not bool(good.all()):
            row, column = self._first(~good, xp)
            raise ValueError(
                f"X must hold integers from 0 to n_classes - 1 = {self.classes - 1}, got {float(rows[row, column]):.6g}"
                f" at {place(row)}, column {column}"
            )
        classes = xp.arange(self.classes)
        hot = (rows[:, :, None] == classes).astype(self.dtype)
        return hot.reshape(len(rows), -1)

    @staticmethod
    def _first(mask, xp) -> tuple[int, int]:
        return tuple(int(i) for i in xp.argwhere(mask)[0])

    def array(self, model, X, reset: bool):
        """Rows in memory as numbers (n, width), and the names of the features; ``model`` is left as it is."""
        _backend.module_for(X=X)
        on_gpu, names = _backend.is_gpu(X), copy.copy(model)
        if not hasattr(X, "iloc"):
            X = np.asarray(X) if isinstance(X, (list, tuple)) else _backend.to_numpy(X)
        shape, coded = tuple(getattr(X, "shape", ())), None
        if len(shape) > 2:
            if reset:
                self.learn(shape)
            coded = self.check_shape(shape)
            X = X.reshape(len(X), math.prod(shape[1:]))
        how = {"dtype": (self.dtype, np.float64, np.float32), "order": "C", "ensure_all_finite": False}
        if self.classes and coded is False:  # one-hot: the columns are not features
            X = check_array(X, input_name="X", estimator=model, **how)
        else:
            X = validate_data(names, X, reset=reset, **how)
        if coded is None:
            if reset:
                self.learn(X.shape)
            coded = self.check_shape(X.shape)
        if reset:
            self.given = np.dtype(X.dtype)
        X = _backend.to_device(X, "cuda") if on_gpu else X
        found = {"n_features_in_": self.d, "feature_names_in_": vars(names).get("feature_names_in_")}
        return self.numbers(X, coded), found


class Memory:
    """Rows in memory; batch t of pass e holds entries ``t b, ..., (t + 1) b - 1`` of an order of all rows, which the
    seed and e give. The last one may be shorter.

    Attributes
    ----------
    x : ndarray of shape (n, width)
    held : callable or None
        ``held(size)`` gives blocks of the rows for validation.
    """

    def __init__(self, x, batch_size: int, seed: int, shuffle: bool, numbers=None):
        self.x, self.seed, self.shuffle, self.numbers = x, seed, shuffle, numbers
        self.n_total, self.batch_size = len(x), min(batch_size, len(x))
        self.pass_length = -(-self.n_total // self.batch_size)
        self.held, self.on_gpu, self._epoch = None, _backend.is_gpu(x), None
        self.device = "cuda" if self.on_gpu else "cpu"

    def hold_out(self, fraction: float) -> None:
        """Take rows away for validation."""
        n = self.n_total
        if n < 2:
            raise ValueError(f"X must have at least 2 rows to hold some out for validation, got {n}")
        count = min(max(1, round(fraction * n)), n - 1, HELD_OUT_ROWS)
        held = np.sort(np.random.default_rng([self.seed, 0, 1]).choice(n, count, replace=False))
        kept = np.setdiff1d(np.arange(n), held)
        there, back = (_backend.to_device(rows, self.device) for rows in (held, kept))
        rows = self.x[there]
        self.__init__(self.x[back], self.batch_size, self.seed, self.shuffle, kept)
        self.held = lambda size: blocks(rows, size)

    def steps_of(self, epochs: int) -> int:
        """Steps of so many passes."""
        return epochs * self.pass_length

    def ends_pass(self, steps: int, last: int, rows: float) -> bool:
        """Whether a pass ends with this step, the last one having ended with step ``last``, ``rows`` rows before."""
        return steps - last >= self.pass_length

    def order(self, epoch: int) -> np.ndarray:
        """The rows of a pass."""
        if self._epoch != epoch:
            self._order, self._epoch = np.arange(self.n_total, dtype=np.int64), epoch
            if self.shuffle:
                np.random.default_rng([self.seed, epoch]).shuffle(self._order)
        return self._order

    def place(self, row: int) -> str:
        """What an error calls a row of ``x``."""
        return f"row {int(row if self.numbers is None else self.numbers[row])} of X"

    def moments(self) -> np.ndarray:
        """Mean squares of the columns."""
        x = self.x[:: max(1, self.n_total >> 16)]
        with np.errstate(over="ignore"):
            return _backend.to_numpy((x.astype(np.float64) ** 2).mean(axis=0))

    def some(self, most: int):
        """Rows that lie evenly."""
        xp = _backend.namespace(self.x)
        return xp.ascontiguousarray(self.x[:: max(1, -(-self.n_total // most))])

    def mark(self) -> np.ndarray:
        """Numbers that tell these rows from others."""
        x = self.x[:: max(1, self.n_total >> 10)].astype(np.float64)
        return np.concatenate([self.x.shape, _backend.to_numpy(x.mean(axis=0)), _backend.to_numpy(x[0])])

    def state(self, step: int) -> dict:
        """Nothing: the step says it all."""
        return {}


class Stream:
    """Batches of a file, a memory map or an iterable, one at a time; see :mod:`lvmfast._minibatches`."""

    def __init__(self, source, form: Form):
        self.source, self.form, self.held, self._last = source, form, None, None
        self.n_total, self.pass_length = source.n_total, source.pass_length
        self.on_gpu, self.device = source.on_gpu, source.device

    def steps_of(self, epochs: int) -> int | None:
        """Steps of so many passes, where they are known; batches of files go on from one pass to the next."""
        if self._numbered:
            return -(-epochs * self.n_total // self.source.batch_size)
        return None if self.pass_length is None else epochs * self.pass_length

    def ends_pass(self, steps: int, last: int, rows: float) -> bool:
        """Whether a pass ends with this step, the last one having ended with step ``last``, ``rows`` rows before."""
        if self._numbered:
            return self.source.pass_of(steps) > self.source.pass_of(steps - 1)
        return steps - last >= self.pass_length if self.pass_length else rows >= self.n_total

    @property
    def _numbered(self) -> bool:
        """Whether the rows are numbered: all but iterables."""
        return hasattr(self.source, "seed")

    def batch(self, step: int):
        """Rows (b, width) of a step, and what an error calls each."""
        batch = self.source.batch(step)
        coded = self.form.check_shape(batch.X.shape)
        self._last = self.form.numbers(batch.X, coded, batch.place)
        return self._last, batch.place

    def blocks(self, size: int):
        """All rows once, for validation."""
        left = None
        for piece in self.source.pieces(size):
            x = self.form.numbers(piece.X, self.form.check_shape(piece.X.shape), piece.place)
            x = x if left is None else _backend.namespace(x).concatenate([left, x])
            whole = len(x) // size * size
            yield from blocks(x[:whole], size)
            left = x[whole:]
        if left is not None and len(left):
            yield left

    def _head(self, rows: int) -> np.ndarray:
        """Numbers (k, q) of some rows, float64, not looked at: an error names the row when its batch comes."""
        X = np.asarray(self.source.head(min(rows, self.n_total))[0], dtype=np.float64)
        return X.reshape(len(X), -1)

    def moments(self) -> np.ndarray:
        """Mean squares of the columns of some rows that are finite; ahead of the first step."""
        x = finite(self._head(HEAD_ROWS))
        return (x**2).mean(axis=0) if len(x) else np.ones(self.form.width)

    def some(self, most: int):
        """Rows of a Gaussian likelihood on the device: they stand for all, or are the last batch of an iterator."""
        if self._numbered:
            x = self._head(most)
        elif self.source.repeatable or self._last is None:
            parts, count = [], 0
            for piece in self.source.pieces() if self.source.repeatable else ():
                parts.append(_backend.to_numpy(piece.X).reshape(len(piece), -1))
                count += len(piece)
                if count >= most:
                    break
            x = np.concatenate(parts)[:most] if parts else self._head(1)
        else:
            return self._last
        return _backend.to_device(np.ascontiguousarray(finite(x), dtype=self.form.dtype), self.device)

    def mark(self) -> np.ndarray:
        """Numbers that tell these rows from others; of an iterable its size alone."""
        sizes = [self.n_total, self.form.width]
        if not self._numbered:
            return np.array(sizes, dtype=np.float64)
        return np.concatenate([sizes, finite(self._head(1024)).sum(axis=0)])

    def state(self, step: int) -> dict:
        """The place of the source."""
        return self.source.state(step)


def finite(x: np.ndarray) -> np.ndarray:
    """The rows without NaN and infinities."""
    return x[np.isfinite(x).all(axis=1)]


def blocks(x, size: int):
    """``size`` rows at a time; the last ones may be fewer."""
    return (x[i : i + size] for i in range(0, len(x), size))


def streams(X) -> bool:
    """Whether X is read in pieces."""
    return is_sliced(X) or is_mapped(X) or is_batches(X, None, needs_y=False)


def as_data(model, X, form: Form, *, seed, n_total=None, validation=None, state=None, reset=True, piece=False):
    """The batches of a fit, with rows for validation, and the number and names of the features.

    Parameters
    ----------
    model : VAE
        For its arguments; left as it is.
    form : Form
        Learns the shape of X with ``reset``.
    validation : array or None
        Given rows; None holds some out with early stopping.
    state : dict, optional
        Of the source of a fit that goes on.
    piece : bool
        Whether X is one batch.
    """
    if piece and hasattr(X, "__next__"):
        raise TypeError(f"X must be one batch, an array of rows, in partial_fit, got {X!r}; call it for every batch")
    if streams(X) and not piece:
        splits = model.early_stopping and validation is None
        source = as_source(
            X,
            needs_y=False,
            batch_size=model.batch_size,
            seed=seed,
            n_total=n_total,
            device=model.device,
            dtype=form.read_dtype,
            state=None if splits else state,
        )
        if reset:
            form.learn((source.n_total, *source.shape))
        form.check_shape((source.n_total, *source.shape))
        held = None
        if splits:
            rng = np.random.default_rng([seed, 0, 1])
            source, held = split(source, float(model.validation_fraction), rng, HELD_OUT_ROWS)
            held = Stream(held, form).blocks
            if state is not None:
                source.restore(state)
        data, names = Stream(source, form), {"n_features_in_": form.d, "feature_names_in_": source.names}
        data.held = held
    else:
        if n_total is not None:
            raise ValueError(f"n_total must be None with data of n rows, got {n_total!r}; it belongs to batches")
        _backend.check_device(model.device, X)
        x, names = form.array(model, X, reset)
        x = _backend.to_device(x, _backend.check_device(model.device, X))
        data = Memory(x, len(x) if piece else model.batch_size, seed, bool(model.shuffle))
        if model.early_stopping and validation is None and not piece:
            data.hold_out(float(model.validation_fraction))
        data.on_gpu = _backend.is_gpu(X)
    if validation is not None:
        data.held = _held(validation, model, form, data, names)
    return data, names


def _held(validation, model, form: Form, data, names):
    """Blocks of validation data that were given."""
    if streams(validation):
        source = as_source(validation, needs_y=False, device=data.device, dtype=form.read_dtype, needs_total=False)
        if not source.repeatable:
            raise ValueError(
                "validation_data must be rows, or batches that can be read again (a list, a callable), got an iterator"
            )
        return Stream(source, form).blocks
    try:
        fitted = copy.copy(model)
        write_names(fitted, names)
        x, _ = form.array(fitted, validation, False)
    except (ValueError, TypeError) as error:
        raise type(error)(f"validation_data: {error}") from None
    x = _backend.to_device(x, data.device)
    return lambda size: blocks(x, size)


def write_names(model, names: dict) -> None:
    """Write the number and the names of the features to a model."""
    for name, value in names.items():
        vars(model).pop(name, None)
        if value is not None:
            setattr(model, name, value)
