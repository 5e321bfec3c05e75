"""The source that fits what was given, and sources without some of their rows."""

from __future__ import annotations

import numpy as np

from lvmfast._minibatches._batch import Source
from lvmfast._minibatches._iterable import IterableSource, is_batches
from lvmfast._minibatches._rows import ArraySource, RowSource, is_sliced
from lvmfast._minibatches._sliced import SlicedSource
from lvmfast._validation import check_positive
from lvmfast.random import seed_of

__all__ = ["as_source", "split"]


def as_source(
    X,
    y=None,
    known=None,
    weight=None,
    *,
    batch_size=None,
    seed=0,
    n_total=None,
    known_name=None,
    device="auto",
    dtype=None,
    raw_y=False,
    names=None,
    state=None,
    ndim=None,
    needs_y=True,
    needs_total=True,
) -> Source:
    """The source for what was given; see the classes for what is not said here.

    Parameters
    ----------
    X : array, memory map, dataset in a file, iterable of batches or callable
    n_total : int, optional
        Rows of the whole data, of batches that do not tell.
    state : dict, optional
        Of :meth:`Source.state`: where to go on.
    ndim : int, optional
        Dimensions that X must have. Default: any from 2 on, (n, ...).
    needs_y : bool, default=True
        Otherwise y is looked at nowhere, here or in batches, which may be X alone, and it is None in every batch.
    needs_total : bool, default=True
        Whether it is an error where batches do not tell ``n_total``; otherwise it is None then.
    """
    common = {"known_name": known_name, "device": device, "dtype": dtype, "names": names, "ndim": ndim}
    common["raw_y"] = raw_y and needs_y
    y = y if needs_y else None
    if is_batches(X, y, needs_y=needs_y, ndim=ndim):
        if known is not None or weight is not None:
            name = "sample_weight" if known is None else known_name or "known"
            raise ValueError(f"{name} must be None, got an array; an iterable gives it with every batch")
        return IterableSource(X, n_total, state=state, needs_y=needs_y, needs_total=needs_total, **common)
    if y is None and needs_y:
        raise ValueError("y must be given unless X is an iterable of batches, got None")
    if n_total is not None:
        raise ValueError(f"n_total must be None with data of n rows, got {n_total!r}; it belongs to batches")
    kind = SlicedSource if any(map(is_sliced, (X, y, known, weight))) else ArraySource
    source = kind(X, y, known, weight, batch_size=batch_size, seed=seed, **common)
    if state is not None:
        source.restore(state)
    return source


def split(source: Source, fraction: float, rng, most: int | None = None) -> tuple[Source, Source]:
    """A source without some rows, and one of these: for early stopping.

    Parameters
    ----------
    source : Source
        Of arrays: rows at random. Of files: slices at random. Of an iterable: ValueError.
    fraction : float in (0, 1)
        Of the rows to hold out: at least one, and not all.
    rng : int, numpy.random.Generator or None
    most : int, optional
        Rows to hold out at most.

    Returns
    -------
    rest, held_out : Source
    """
    if check_positive(fraction, "validation_fraction") >= 1:
        raise ValueError(f"validation_fraction must lie between 0 and 1, got {fraction!r}")
    if not isinstance(source, RowSource):
        raise ValueError(
            "validation data must be given with an iterable of batches, from which no rows can be held out, got none"
        )
    if source.n_total < 2:
        raise ValueError(f"X must have at least 2 rows to hold some out for validation, got {source.n_total}")
    return source._split(fraction, np.random.default_rng(seed_of(rng)), most)
