"""Batches without y of rows of any shape: images of bytes, widened a batch at a time, whose rows can be named."""

from __future__ import annotations

import itertools
import pickle
import tracemalloc

import numpy as np
import pytest

from lvmfast._minibatches import ArraySource, IterableSource, SlicedSource, as_source, is_batches, split
from lvmfast.exceptions import SourceEndedError

N, SHAPE, B = 103, (4, 3, 1), 10


def images(n=N):
    """Bytes that can be told apart: image i has i in its first pixel."""
    X = np.random.default_rng(0).integers(0, 256, (n, *SHAPE), dtype=np.uint8)
    X[:, 0, 0, 0] = np.arange(n)
    return X


class File:
    """Stands for a dataset of HDF5: a shape, a dtype, chunks and contiguous slices alone."""

    def __init__(self, array, chunk=4):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, (chunk, *array.shape[1:])

    def __getitem__(self, key):
        assert isinstance(key, slice) and key.step is None and 0 <= key.start < key.stop <= self.shape[0]
        return self.array[key].copy()


class Loader:
    """Batches again and again, with a y that is not asked for, in one array that is used again."""

    n_total = N

    def __iter__(self):
        X, buffer = images(), np.empty((B, *SHAPE), np.uint8)
        for i in range(0, N, B):
            part = buffer[: len(X[i : i + B])]
            part[:] = X[i : i + B]
            yield [part, np.array(["no"] * len(part))]


X = images()
CUT = [X[i : i + B] for i in range(0, N, B)]
STREAM = {"n_total": N}
MAKERS = {
    "array": lambda: (X, {}),
    "map": lambda: (np.load("X.npy", mmap_mode="r"), {}),
    "file": lambda: (File(X), {}),
    "arrays": lambda: (CUT, {}),
    "tuples": lambda: ([(x,) for x in CUT], {}),
    "dicts": lambda: ([{"X": x} for x in CUT], {}),
    "loader": lambda: (Loader(), {}),
    "callable": lambda: (lambda: (x for x in CUT), STREAM),
    "generator": lambda: ((x for x in itertools.chain(*[CUT] * 5)), STREAM),
}


@pytest.fixture
def make(tmp_path, monkeypatch):
    """``make(kind)``: a new source."""
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)

    def maker(kind, given=None, **settings):
        data, more = MAKERS[kind]()
        data = data if given is None else given
        return as_source(data, batch_size=B, seed=5, dtype=np.float32, needs_y=False, **more, **settings)

    return maker


def kind_of(source):
    return "rows" if isinstance(source, (ArraySource, SlicedSource)) else "batches"


@pytest.mark.parametrize("kind", MAKERS)
def test_images_without_y(kind, make):
    """Every source gives the same rows in a pass, (b, 4, 3, 1) float32, and says which they are."""
    source = make(kind)
    assert (source.shape, source.q, source.d, source.n_total, source.dtype) == (SHAPE, 12, None, N, np.float32)
    head = source.head(25)
    assert head[0].shape[1:] == SHAPE and 20 <= len(head[0]) <= 25 and head[1:] == (None, None)
    steps = -(-N // B)
    batches, passes = zip(*((source.batch(t), source.pass_of(t)) for t in range(2 * steps)), strict=True)
    for t, batch in enumerate(batches):
        assert batch.X.dtype == np.float32 and batch.X.flags.c_contiguous and batch.y is batch.weight is None
        if kind_of(source) == "rows":
            assert len(batch.rows) == B and np.array_equal(batch.X, X[batch.rows])
            assert batch.place(3) == f"row {batch.rows[3]} of X" and passes[t] == t * B // N
        else:
            number, index = divmod(t, steps) if source.repeatable else (0, t)
            assert np.array_equal(batch.X, CUT[t % steps]) and passes[t] == number
            assert batch.rows is None and batch.place(1) == f"row 1 of batches[{index}]"
    first = np.concatenate([batch.X[:, 0, 0, 0] for batch in batches[:steps]])
    assert np.array_equal(np.unique(first), np.arange(N)) and source.labels() is None
    if source.repeatable:
        found = [piece.X[:, 0, 0, 0] for piece in source.pieces(30)]
        assert np.array_equal(np.concatenate(found), np.arange(N))
    if kind_of(source) == "rows":
        pieces = list(make(kind).pieces(30))
        assert [list(piece.rows) for piece in pieces] == [list(range(i, min(i + 30, N))) for i in range(0, N, 30)]


@pytest.mark.parametrize("kind", MAKERS)
def test_resumed_without_y(kind, make):
    """A source restored from the state of step t, also through a pickle, gives what the first one gives from there."""
    whole = make(kind)
    expected = [whole.batch(t).X for t in range(20)]
    for t in (0, 6, 11):
        source = make(kind)
        source.head(35)
        for k in range(t + 1):
            source.batch(k)
        state = pickle.loads(pickle.dumps(source.state(t)))
        rest = source._iterator if kind == "generator" else None
        other = make(kind, rest, state=state)
        assert all(np.array_equal(other.batch(k).X, expected[k]) for k in range(t, t + 8))


@pytest.mark.parametrize("kind", ["array", "map", "file"])
@pytest.mark.parametrize("fraction", [0.2, 0.9])
def test_split_without_y(kind, fraction, make):
    """Both parts are sources whose batches tell the numbers that their rows have in the whole data."""
    parts = split(split(make(kind), fraction, 1)[0], 0.5, 2) + split(make(kind), fraction, 1)[1:]
    rows = []
    for part in parts:
        batches = [part.batch(t) for t in range(part.n_total)]
        whole = as_source(X, needs_y=False, batch_size=N).batch(0)
        assert list(whole.rows) == list(range(N)) and whole.X.dtype == np.float64
        pieces = list(part.pieces(7))
        for batch in batches + pieces:
            assert np.array_equal(batch.X, X[np.asarray(batch.rows)]) and batch.y is None
            assert batch.n_total == part.n_total
        rows.append(np.concatenate([piece.rows for piece in pieces]))
        assert np.array_equal(np.unique(np.concatenate([b.rows for b in batches])), np.sort(rows[-1]))
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(N))


def test_never_the_whole(tmp_path):
    """Bytes in memory or in a map are widened in batches: less than 2 MiB for 16 MiB of data, 64 MiB as float32."""
    n = 1 << 14
    np.save(tmp_path / "X.npy", np.zeros((n, 32, 32), np.uint8))
    for mode in ("r", None):
        given = np.load(tmp_path / "X.npy", mmap_mode=mode)
        tracemalloc.start()
        source = as_source(given, needs_y=False, batch_size=64, dtype=np.float32)
        rest, held = split(source, 0.1, 0, most=100)
        for part in (source, rest, held):
            assert part.batch(3).X.shape == (64, 32, 32) and len(part.head(50)[0]) <= 50
            next(part.pieces(100))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 21


def test_y_is_not_looked_at():
    """y of any kind makes no difference; weights of batches are kept."""
    text = np.array(["a"] * N)
    for given, y in ((X, text), (X, [None] * 3), ([(X, text)], None), ([{"X": X, "y": 3}], text)):
        source = as_source(given, y, needs_y=False, raw_y=True)
        assert source.batch(0).y is None and np.array_equal(source.batch(0).X, X) and source.labels() is None
    weighted = as_source([{"X": X, "sample_weight": np.arange(N)}], needs_y=False).batch(0)
    assert weighted.weight.dtype == np.float64 and weighted.X.dtype == np.float64
    with pytest.raises(ValueError, match="y must be given unless"):
        as_source(X)


def test_batches_that_do_not_tell_their_number():
    """Where it is not needed, n_total is None; a pass is known once it is over."""
    source = as_source(lambda: iter(CUT), needs_y=False, needs_total=False)
    for t in range(12):
        assert source.batch(t).n_total is None
    assert source.pass_of(11) == 1 and source.pass_length == 11
    with pytest.raises(ValueError, match="step must be that of the batch read last, 11, got 3"):
        source.pass_of(3)
    with pytest.raises(ValueError, match="n_total must be the number of rows"):
        as_source(lambda: iter(CUT), needs_y=False)
    with pytest.raises(SourceEndedError, match="after 1 batches with 10 rows"):
        ended = as_source(iter(CUT[:1]), needs_y=False, needs_total=False)
        [ended.batch(t) for t in range(2)]


def test_masks():
    """Numbers behind a mask become NaN, also where the first slice of a file has none."""
    hidden = np.ma.masked_array(X, mask=X > 250)
    assert hidden.mask.any()

    class Mixed(File):
        def __getitem__(self, key):
            return X[key] if key.start < 40 else hidden[key]

    for given, mask in (
        (hidden, X > 250),
        (File(hidden), X > 250),
        (Mixed(X), (X > 250) & (np.arange(N) >= 40)[:, None, None, None]),
    ):
        source = as_source(given, needs_y=False, batch_size=8, dtype=np.float32)
        for t in range(13):
            batch = source.batch(t)
            assert np.array_equal(batch.X, np.where(mask, np.nan, X)[batch.rows], equal_nan=True)


def test_what_is_a_batch():
    """Without y an array in a list is a batch where it is rows; numbers and rows one by one are data."""
    pair, alone = (X, np.arange(N)), {"needs_y": False}
    for given in ([X], [(X,)], [[X]], [pair], [{"X": X}], (x for x in CUT), lambda: CUT, Loader()):
        assert is_batches(given, **alone)
    assert is_batches([pair]) and is_batches([{"X": X, "y": 1}]) and is_batches([X[:, 0, 0]], ndim=2, **alone)
    for given in (X, File(X), X.tolist(), [[1.0, 2.0]], list(X[:, :, 0, 0]), [], "ab", None):
        assert not is_batches(given, **alone)
    assert not (is_batches([X]) or is_batches([pair], ndim=2) or is_batches([X], ndim=2, **alone))


BAD = {
    "shape": (
        CUT[0][:, :3],
        ValueError,
        r"X of batches\[1\] must have shape \(b, 4, 3, 1\), as those .* \(10, 3, 3, 1\)",
    ),
    "flat": (CUT[0].reshape(B, -1), ValueError, r"must have shape \(b, 4, 3, 1\), as those before, got \(10, 12\)"),
    "one row": (CUT[0][0], ValueError, r"must have shape \(b, 4, 3, 1\), as those before, got \(4, 3, 1\)"),
    "number": (3.0, TypeError, r"must be an array X, \(X,\), \(X, y\) or a dict with .*, got a float"),
    "three": ((CUT[0], 1, 2), TypeError, "got a tuple of 3"),
    "keys": ({"x": CUT[0]}, TypeError, r"got a dict with the keys \['x'\]"),
    "text": (CUT[0].astype(str), TypeError, r"X of batches\[1\] must hold real numbers"),
    "empty": (CUT[0][:0], ValueError, r"at least one row, got shape \(0, 4, 3, 1\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_batches_without_y(name):
    """The error names the batch, the rule and what was got."""
    item, error, message = BAD[name]
    source = IterableSource(iter([CUT[0], item]), N, needs_y=False)
    source.batch(0)
    with pytest.raises(error, match=message):
        source.batch(1)


def test_one_dtype_or_the_one_asked_for():
    """Batches that widen are an error unless a dtype was asked for."""
    parts = [CUT[0].astype(np.float32), CUT[1].astype(np.float64)]
    with pytest.raises(ValueError, match=r"X of batches\[1\] must be float32, as those before, got float64; give all"):
        list(IterableSource(parts, needs_y=False).pieces())
    source = IterableSource([*parts, CUT[2]], needs_y=False, dtype=np.float32)
    assert [source.batch(t).X.dtype for t in range(3)] == [np.float32] * 3
