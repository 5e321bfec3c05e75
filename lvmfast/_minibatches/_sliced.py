"""Batches of data in files that are read by slices of rows: HDF5, zarr and their like."""

from __future__ import annotations

import copy

import numpy as np

from lvmfast import _backend
from lvmfast._minibatches._batch import unmasked
from lvmfast._minibatches._rows import RowSource
from lvmfast.exceptions import SourceEndedError

__all__ = ["SlicedSource"]

BLOCK_BYTES = 1 << 24  # a block of rows is read at once
POOL_BLOCKS = 16  # that are mixed
HELD_OUT_SPANS = 8  # at least so many pieces are held out of a file


class SlicedSource(RowSource):
    """Data in files of which slices of rows can be had: datasets of HDF5, zarr arrays, anything of that kind.

    X, y, known and weight have a shape, a dtype and ``array[start:stop]``, or are arrays; other parameters are those of
    :class:`ArraySource`.

    Notes
    -----
    Only contiguous slices are asked for, of whole chunks where these hold at most 16 MiB, and of at least
    ``batch_size`` rows. In every pass these blocks come in a random order, some sixteen of them are in memory at a time
    (a pool), and batches are drawn from a pool without replacement. Rows of one batch are so from few places of the
    file: if its rows are sorted, store them in a random order.
    """

    def __init__(self, X, y=None, known=None, weight=None, **settings):
        super().__init__(X, y, known, weight, **settings)
        self._shapes = {name: None if a is None else tuple(a.shape) for name, a in self._fields.items()}
        rows, chunk = self.n_total, _chunk_rows(X)
        most = max(1, BLOCK_BYTES // (self.q * np.dtype(X.dtype).itemsize))
        size = max(self.batch_size, min(chunk, most))
        if chunk <= most or chunk <= self.batch_size:
            size = chunk * -(-size // chunk)
        self._block = min(size, rows)
        starts = np.arange(0, rows, self._block)
        self._take_spans(np.stack([starts, np.minimum(starts + self._block, rows)], axis=1))

    def _take_spans(self, spans: np.ndarray) -> None:
        self._blocks = spans
        self._edges = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0])])
        self._keep(int(self._edges[-1]))
        self._pool_at = None

    # Reading.

    def _read(self, name: str, start: int, stop: int) -> np.ndarray:
        array, shape = self._fields[name], self._shapes[name]
        if tuple(array.shape) != shape:
            raise ValueError(
                f"{name} must keep its shape {shape} during a fit, got {tuple(array.shape)}; copy the data"
            )
        piece = np.asarray(unmasked(_backend.to_numpy(array[start:stop])))  # a mask: of netCDF
        if piece.shape != (stop - start, *shape[1:]):
            raise SourceEndedError(
                f"{name}[{start}:{stop}] must have shape {(stop - start, *shape[1:])}, got {piece.shape}; the file may "
                "be cut short, or still be written",
                rows=start + len(piece) if piece.ndim else start,
            )
        return piece

    def _gather(self, spans, names=None):
        """The fields of slices, one after the other."""
        found = []
        for name in names or self._fields:
            if self._fields[name] is None:
                found.append(None)
                continue
            target, at = None, 0
            for start, stop in spans:
                piece = self._read(name, int(start), int(stop))
                if len(spans) == 1:
                    target = piece
                    break
                if target is None:
                    target = np.empty((sum(int(b - a) for a, b in spans), *piece.shape[1:]), piece.dtype)
                if (dtype := np.promote_types(target.dtype, piece.dtype)) != target.dtype:  # the first with a mask
                    target = target.astype(dtype)
                target[at : at + len(piece)] = piece
                at += len(piece)
            found.append(target)
        return found

    def _between(self, start, stop, names=None):
        return self._gather(_joined(self._spans_of(start, stop), self._block), names)

    def _numbers(self, start, stop):
        spans = self._spans_of(start, stop)
        whole = spans[-1, 1] - spans[0, 0] == stop - start
        return range(spans[0, 0], spans[-1, 1]) if whole else np.concatenate([np.arange(*span) for span in spans])

    def _spans_of(self, start, stop) -> np.ndarray:
        """The slices of the file, (k, 2), that hold these rows of the source."""
        first, last = np.searchsorted(self._edges, [start, stop - 1], side="right") - 1
        spans = self._blocks[first : last + 1].copy()
        spans[0, 0] += start - self._edges[first]
        spans[-1, 1] = self._blocks[last, 0] + stop - self._edges[last]
        return spans

    # Passes.

    def _chosen(self, step):
        parts = []
        for epoch, first, last in self._spans(step):
            while first < last:
                arrays, order, start, spans = self._pool(epoch, first)
                rows = np.sort(order[first - start : min(last, start + len(order)) - start])
                ends = np.cumsum(spans[:, 1] - spans[:, 0])
                shift = (spans[:, 1] - ends)[np.searchsorted(ends, rows, side="right")]
                parts.append([*(None if a is None else a[rows] for a in arrays), rows + shift])
                first += len(rows)
                del arrays  # before the next pool is read
        *fields, rows = (None if column[0] is None else np.concatenate(column) for column in zip(*parts, strict=True))
        return fields, rows

    def _pool(self, epoch: int, position: int):
        """The pool in which a position of a pass lies: arrays, their order, the position of the first, slices."""
        if self._epoch != epoch:
            blocks = self._blocks[self._order(epoch, len(self._blocks))]
            ends = np.cumsum(blocks[:, 1] - blocks[:, 0])
            starts = ends - (blocks[:, 1] - blocks[:, 0])
            cuts = np.flatnonzero(np.diff(starts // (POOL_BLOCKS * self._block), prepend=-1))
            self._layout, self._epoch, self._pool_at = (blocks, starts, cuts), epoch, None
        blocks, starts, cuts = self._layout
        k = int(np.searchsorted(starts[cuts], position, side="right")) - 1
        if self._pool_at != k:
            self._pool_at = self._pooled = None  # one at a time
            spans = blocks[cuts[k] : cuts[k + 1] if k + 1 < len(cuts) else None]
            spans = spans[np.argsort(spans[:, 0])]
            arrays = self._gather(spans)
            order = self._order(epoch, int((spans[:, 1] - spans[:, 0]).sum()), k + 1)
            self._pooled, self._pool_at = (arrays, order, int(starts[cuts[k]]), spans), k
        return self._pooled

    def restore(self, state: dict) -> None:
        """Go on with the seed of ``state``."""
        super().restore(state)
        self._pool_at = None

    def head(self, rows: int):
        """Rows of up to 64 slices that lie evenly."""
        n, count = self.n_total, max(1, min(64, rows))
        if rows >= n:
            return self._statistics(*self._between(0, n)[:3])
        size = rows // count
        starts = np.linspace(0, n - size, count).astype(np.int64)
        parts = [self._statistics(*self._between(int(a), int(a) + size, tuple(self._fields)[:3])) for a in starts]
        return tuple(None if c[0] is None else np.concatenate(c) for c in zip(*parts, strict=True))

    def _split(self, fraction: float, rng, most) -> tuple[SlicedSource, SlicedSource]:
        n = self.n_total
        wanted = min(max(1, round(fraction * n)), n - 1, n if most is None else most)
        size = max(1, min(self._block, min(wanted, n - wanted) // HELD_OUT_SPANS), n >> 20)
        spans = np.array(
            [(a, min(a + size, stop)) for start, stop in self._blocks for a in range(int(start), int(stop), size)]
        )
        order = rng.permutation(len(spans))
        rows = np.cumsum(spans[order, 1] - spans[order, 0])
        held = np.zeros(len(spans), bool)
        held[order[: min(max(1, np.searchsorted(rows, wanted, side="right")), len(spans) - 1)]] = True
        parts = []
        for chosen in (_joined(spans[~held], self._block), spans[held]):
            part = copy.copy(self)
            part._take_spans(chosen)
            parts.append(part)
        return tuple(parts)


def _joined(spans: np.ndarray, most: int) -> np.ndarray:
    """Neighbouring slices as one, of at most ``most`` rows."""
    joined = [list(spans[0])]
    for start, stop in spans[1:]:
        if start == joined[-1][1] and stop - joined[-1][0] <= most:
            joined[-1][1] = stop
        else:
            joined.append([start, stop])
    return np.array(joined)


def _chunk_rows(array) -> int:
    """Rows of a chunk of the file, 1 if it has none."""
    chunks = getattr(array, "chunks", None)
    try:
        rows = chunks[0]
        return max(1, int(max(rows) if isinstance(rows, tuple) else rows))
    except (TypeError, IndexError, ValueError):
        return 1
