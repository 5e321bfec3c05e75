"""Minibatches for any model: of arrays and memory maps, of files read in slices, of iterables of batches."""

from lvmfast._minibatches._batch import Batch, Source
from lvmfast._minibatches._iterable import IterableSource, is_batches
from lvmfast._minibatches._make import as_source, split
from lvmfast._minibatches._rows import ArraySource, RowSource, is_mapped, is_sliced
from lvmfast._minibatches._sliced import SlicedSource

__all__ = [
    "ArraySource",
    "Batch",
    "IterableSource",
    "RowSource",
    "SlicedSource",
    "Source",
    "as_source",
    "is_batches",
    "is_mapped",
    "is_sliced",
    "split",
]
