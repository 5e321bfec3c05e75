"""Where batches come from: every row once a pass, the same again after a resume, nothing read as a whole."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

from lvmfast._minibatches import (
    ArraySource,
    Batch,
    IterableSource,
    SlicedSource,
    _sliced,
    as_source,
    is_batches,
    is_mapped,
    is_sliced,
    split,
)
from lvmfast.exceptions import LvmfastError, SourceEndedError

N, Q = 103, 3


def data(n=N, dtype=np.float64):
    """Rows that can be told apart: X[i, 0] = y[i] = i."""
    X = np.random.default_rng(0).standard_normal((n, Q)).astype(dtype)
    X[:, 0] = np.arange(n)
    return X, np.arange(n, dtype=dtype), 1.0 + np.arange(n) % 7, 0.5 + np.arange(n) % 3


class Slices:
    """Stands for a dataset of HDF5: contiguous slices alone, and counts of what is read."""

    def __init__(self, array, chunk=None):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.chunks = None if chunk is None else (chunk, *array.shape[1:])
        self.reads, self.cut = [], None

    def __getitem__(self, key):
        assert isinstance(key, slice) and key.step is None and 0 <= key.start < key.stop <= self.shape[0]
        self.reads.append((key.start, key.stop))
        return self.array[key.start : min(key.stop, self.cut or key.stop)].copy()


def sliced(n=N, chunk=None, **settings):
    """A source of four such datasets."""
    return SlicedSource(*(Slices(a, chunk) for a in data(n)), seed=5, **settings)


def makers():
    """Sources of every kind with the same rows."""
    X, y, known, weight = data()
    cut = [(X[i : i + 10], y[i : i + 10], known[i : i + 10]) for i in range(0, N, 10)]
    return {
        "array": lambda: ArraySource(X, y, known, weight, batch_size=10, seed=5),
        "sliced": lambda: sliced(batch_size=10, chunk=4),
        "list": lambda: IterableSource(cut, known_name="exposure"),
        "callable": lambda: IterableSource(lambda: iter(cut), N, known_name="exposure"),
        "iterator": lambda: IterableSource(itertools.cycle(cut), N, known_name="exposure"),
    }


def same(a, b):
    """Whether two batches have the same bits."""
    pairs = [(getattr(a, name), getattr(b, name)) for name in ("X", "y", "known", "weight", "n_total")]
    return all(
        (u is None and v is None) or (np.array_equal(u, v) and np.asarray(u).dtype == np.asarray(v).dtype)
        for u, v in pairs
    )


@pytest.mark.parametrize("n, batch_size", [(103, 10), (40, 8), (11, 9), (5, 1), (2, 1)])
@pytest.mark.parametrize("kind", ["array", "sliced"])
def test_every_row_once_a_pass(kind, n, batch_size):
    """Steps ``0, ..., n - 1`` are ``batch_size`` passes: each row comes so often, in batches of one size."""
    X, y, known, weight = data(n)
    source = (
        ArraySource(X, y, known, weight, batch_size=batch_size, seed=1)
        if kind == "array"
        else sliced(n, 4, batch_size=batch_size)
    )
    batches = [source.batch(t) for t in range(n)]
    assert all(b.X.shape == (batch_size, Q) and b.n_total == n for b in batches)
    counts = [np.bincount(np.concatenate([b.y for b in batches[:k]]).astype(int), minlength=n) for k in range(1, n + 1)]
    for k, count in enumerate(counts, 1):
        whole, extra = divmod(k * batch_size, n)
        assert count.min() == whole and count.max() == whole + (extra > 0)
    for b in batches:
        i = b.y.astype(int)
        assert np.array_equal(b.X, X[i]) and np.array_equal(b.known, known[i]) and np.array_equal(b.weight, weight[i])
    if n > 11:
        passes = [[b.y.tolist() for b in batches[k : k + n // batch_size]] for k in (0, n - n // batch_size)]
        assert passes[0] != passes[1] and np.concatenate(passes[0]).tolist() != sorted(sum(passes[0], []))


def test_batches_of_a_pass_are_random():
    """Each row is as likely as any other in batch 0: chi-squared with 19 degrees of freedom, false alarm 1e-6."""
    from scipy.stats import chi2

    X, y, *_ = data(20)
    for make in (
        lambda seed: ArraySource(X, y, batch_size=5, seed=seed),
        lambda seed: SlicedSource(Slices(X), y, batch_size=5, seed=seed),
    ):
        counts = np.bincount(np.concatenate([make(s).batch(1).y for s in range(800)]).astype(int), minlength=20)
        # rows of one batch exclude one another, which only makes the statistic smaller
        statistic = ((counts - 200.0) ** 2 / 200.0).sum()
        assert 0 < statistic < chi2.isf(1e-6, 19)


@pytest.mark.parametrize("kind", makers())
def test_resumed(kind):
    """A source that was restored at step t gives the batches that the first one gives from there on."""
    make = makers()[kind]
    first = make()
    first.head(25)
    expected = [first.batch(t) for t in range(31)]
    for t, back in itertools.product((0, 7, 10, 11, 23), (0, 1)):
        if kind == "iterator":
            X, y, known, _ = data()
            stream = itertools.cycle([(X[i : i + 10], y[i : i + 10], known[i : i + 10]) for i in range(0, N, 10)])
            source = IterableSource(stream, N, known_name="exposure")
        else:
            source = make()
        source.head(25)
        for k in range(t + back):
            source.batch(k)
        state = pickle.loads(pickle.dumps(source.state(t)))
        if kind == "iterator":
            other = IterableSource(stream, N, known_name="exposure", state=state)
        else:
            other = make()
            other.restore(state)
        assert all(same(other.batch(k), expected[k]) for k in range(t, t + 8))
    if kind in ("array", "sliced"):
        again = make()
        assert all(same(again.batch(t), expected[t]) for t in (30, 2, 17, 2))


def test_memory_map(tmp_path):
    """Batches of a map are those of the array; full batches are the arrays themselves."""
    X, y, known, weight = data(dtype=np.float32)
    maps = []
    for k, a in enumerate((X, y)):
        np.save(tmp_path / f"{k}.npy", a)
        maps.append(np.load(tmp_path / f"{k}.npy", mmap_mode="r"))
    assert is_mapped(maps[0]) and is_mapped(np.asarray(maps[0])[3:])
    assert not is_mapped(X)
    one, two = (ArraySource(a, b, known, weight, batch_size=10, seed=4) for a, b in (maps, (X, y)))
    assert all(same(one.batch(t), two.batch(t)) for t in range(15))
    assert two.batch(0).X.dtype == two.batch(0).known.dtype == np.float32 and two.batch(0).weight.dtype == np.float64
    assert all(np.array_equal(a, b) for a, b in zip(one.head(20), two.head(20), strict=True))
    whole = ArraySource(X, y, batch_size=1000).batch(3)
    assert np.shares_memory(whole.X, X) and np.shares_memory(whole.y, y)


@pytest.mark.parametrize("chunk", [None, 7, 64])
def test_slices_are_bounded(chunk, monkeypatch):
    """Of a file no more than a pool is read ahead, every row once a pass, in whole chunks."""
    n, b = 5000, 8
    monkeypatch.setattr(_sliced, "POOL_BLOCKS", 4)
    source = sliced(n, chunk, batch_size=b)
    X = source._fields["X"]
    rows = lambda: sum(stop - start for start, stop in X.reads)  # noqa: E731
    head = source.head(200)[1]
    assert rows() <= 200 and head.min() == 0 and head.max() == n - 1 and np.diff(head).max() < 2 * n / 64
    X.reads.clear()
    block = max(b, chunk or 1) if chunk != 7 else 14
    for t in range(n // b):
        source.batch(t)
        assert rows() <= (t + 1) * b + 6 * block
    assert rows() == n and all(stop - start == block or stop == n for start, stop in X.reads)
    assert len({start for start, _ in X.reads}) == len(X.reads)
    assert sum(len(a) for a in source._pooled[0][:1]) <= 6 * block
    y = np.concatenate([source.batch(t).y for t in range(n // b)])
    assert np.array_equal(np.sort(y), np.arange(n))
    assert np.abs(np.corrcoef(y, np.arange(n))[0, 1]) < 0.5


def test_files_that_change():
    """A short read or another shape is an error, after which the source still works."""
    source = sliced(batch_size=10)
    X = source._fields["X"]
    X.cut = 60
    with pytest.raises(SourceEndedError, match=r"X\[\d+:\d+\] must have shape \(\d+, 3\), got"):
        [source.batch(t) for t in range(12)]
    X.cut = None
    assert same(source.batch(3), sliced(batch_size=10).batch(3))
    X.shape = (N - 1, Q)
    with pytest.raises(ValueError, match="X must keep its shape"):
        [source.batch(t) for t in range(30, 60)]


def test_h5py(tmp_path):
    """Datasets of HDF5 themselves."""
    h5py = pytest.importorskip("h5py")
    X, y, *_ = data(1000, np.float32)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(16, Q))
        file["y"] = y.astype(np.int16)
        source = as_source(file["X"], file["y"], batch_size=20, seed=1)
        assert isinstance(source, SlicedSource) and source.dtype == np.float32
        batches = [source.batch(t) for t in range(50)]
        assert np.array_equal(np.sort(np.concatenate([b.y for b in batches])), y)
        assert all(np.array_equal(b.X, X[b.y.astype(int)]) for b in batches)
        assert np.array_equal(source.labels(), y)


def test_iterables():
    """Batches come in order, pass after pass, whatever holds them; what is read for statistics is not lost."""
    X, y, known, weight = data()
    parts = [slice(0, 50), slice(50, 60), slice(60, N)]
    dicts = [{"X": X[s], "y": y[s], "exposure": known[s], "sample_weight": weight[s]} for s in parts]

    def reused():
        buffer = np.empty((60, Q))
        for s in itertools.islice(itertools.cycle(parts), 9):
            rows = buffer[: len(X[s])]
            rows[:] = X[s]
            yield {"X": rows, "y": y[s], "exposure": known[s], "sample_weight": weight[s]}

    for given in (dicts, lambda: iter(dicts), reused()):
        source = IterableSource(given, N, known_name="exposure")
        head = source.head(55)
        assert head[0].shape == (55, Q) and np.array_equal(head[1], y[:55]) and np.array_equal(head[2], known[:55])
        for t in range(9):
            s = parts[t % 3]
            assert same(source.batch(t), Batch(X[s], y[s], known[s], weight[s], N))
            assert source.batch(t) is source.batch(t)
        if source.repeatable:
            assert source.pass_length == 3 and np.array_equal(source.labels(), y)
            assert sum(map(len, source.pieces())) == N
    assert IterableSource([(X, y)]).n_total == N

    class Loader:  # such as PyTorch's
        dataset = range(N)
        __iter__ = lambda self: iter([[X.astype(np.float32), y.astype(np.int64)]])  # noqa: E731

    source = as_source(Loader(), batch_size=5)
    assert source.n_total == N and source.batch(0).y.dtype == np.float32 and source.batch(1).X.shape == (N, Q)


def test_iterables_that_end():
    """The error says how far it came; no batch is lost to a later fit."""
    X, y, *_ = data()
    stream = ((X[i : i + 10], y[i : i + 10]) for i in range(0, 60, 10))
    source = IterableSource(stream, N)
    source.head(1000)
    for t in range(4):
        source.batch(t)
    resumed = IterableSource(stream, N, state=source.state(3))
    assert [resumed.batch(t).y[0] for t in (3, 4, 5)] == [30, 40, 50]
    with pytest.raises(SourceEndedError, match="after 6 batches with 60 rows; pass a list or a callable") as caught:
        resumed.batch(6)
    assert (caught.value.batches, caught.value.rows) == (6, 60) and isinstance(caught.value, LvmfastError)
    assert pickle.loads(pickle.dumps(caught.value)).rows == 60
    later = IterableSource(iter([(X[60:], y[60:])]), N, state=resumed.state(6))
    assert later.batch(6).y[0] == 60
    with pytest.raises(SourceEndedError, match="at least one batch"):
        IterableSource([])
    used = iter([(X, y)])
    source = IterableSource(lambda: used, N)
    source.batch(0)
    with pytest.raises(SourceEndedError, match="got none in pass 2, after 1 batches with 103 rows"):
        source.batch(1)
    with pytest.raises(SourceEndedError, match="had used 3 of a pass, got 1"):
        IterableSource([(X, y)], state={"step": 3, "rows": 309, "epoch": 0, "index": 3, "on_gpu": False})


X, Y, KNOWN, WEIGHT = data(20, np.float32)
BAD_BATCHES = {
    "empty": ((X[:0], Y[:0]), ValueError, r"X of batches\[1\] must have at least one row, got shape \(0, 3\)"),
    "columns": ((X[:, :2], Y), ValueError, r"X of batches\[1\] must have shape \(b, 3\), .* got \(20, 2\)"),
    "rows": ((X, Y[:3]), ValueError, r"y of batches\[1\] must have shape \(20,\), got \(3,\)"),
    "outputs": ((X, X), ValueError, r"y of batches\[1\] must have shape \(20,\)"),
    "dtype": ((X.astype(float), Y), ValueError, "must be float32, as those before, got float64 and float32"),
    "text": ((X.astype(str), Y), TypeError, r"X of batches\[1\] must hold real numbers"),
    "many rows": ((np.tile(X, (3, 1)), np.tile(Y, 3)), ValueError, "must have at most n_total = 40 rows, got 60"),
    "new known": ((X, Y, KNOWN), ValueError, r"exposure of batches\[1\] must be left out"),
    "weight": ({"X": X, "y": Y, "sample_weight": Y[:2]}, ValueError, r"sample_weight of batches\[1\] must have shape"),
    "keys": ({"X": X, "z": Y}, TypeError, r"dict with the keys 'X', 'y', 'exposure', .* got a dict with .*'z'"),
    "single": (X, TypeError, r"batches\[1\] must be \(X, y\), \(X, y, exposure\) or a dict .* got a ndarray"),
    "four": ((X, Y, KNOWN, WEIGHT), TypeError, "got a tuple of 4"),
}


@pytest.mark.parametrize("name", BAD_BATCHES)
def test_bad_batches(name):
    """The error names the batch, the rule and what was got; the batches before were good."""
    item, error, message = BAD_BATCHES[name]
    source = IterableSource(iter([(X, Y), item]), 40, known_name="exposure")
    assert source.batch(0).X.dtype == np.float32
    with pytest.raises(error, match=message):
        source.batch(1)


def test_bad_data():
    """Arguments that make no sense."""
    for make, error, message in (
        (lambda: ArraySource(X, Y[:4]), ValueError, r"y must have shape \(20,\) or \(20, d\), got \(4,\)"),
        (lambda: ArraySource(X, Y, weight=X), ValueError, r"sample_weight must have shape \(20,\)"),
        (lambda: ArraySource(X[:, 0], Y, ndim=2), ValueError, r"X must have shape \(n, q\) with q >= 1, got \(20,\)"),
        (lambda: ArraySource(X[:, None], ndim=2), ValueError, r"shape \(n, q\) with q >= 1, got \(20, 1, 3\)"),
        (lambda: ArraySource(X, ndim=4), ValueError, r"shape \(n, ...\) of 4 dimensions, .* got \(20, 3\)"),
        (lambda: ArraySource(X[:, 0], Y), ValueError, r"shape \(n, ...\) of two dimensions or more"),
        (lambda: ArraySource(X[:, None, :0]), ValueError, r"one number in a row, got \(20, 1, 0\)"),
        (lambda: ArraySource(X[:0], Y[:0]), ValueError, "at least one row"),
        (lambda: ArraySource(X, Y, batch_size=0), ValueError, "batch_size must be an integer >= 1"),
        (lambda: ArraySource(X, Y.astype(str)), TypeError, "y must hold real numbers"),
        (lambda: IterableSource(iter([(X, Y)])), ValueError, "n_total must be the number of rows"),
        (lambda: IterableSource(3, 4), TypeError, "batches must be an iterable"),
        (lambda: IterableSource(lambda: 3, 4), TypeError, "a callable that returned 3"),
        (lambda: as_source([(X, Y)], known=Y, known_name="exposure"), ValueError, "exposure must be None"),
        (lambda: as_source(X), ValueError, "y must be given"),
        (lambda: as_source(X, Y, n_total=30), ValueError, "n_total must be None"),
        (lambda: split(IterableSource([(X, Y)]), 0.1, 0), ValueError, "validation data must be given"),
        (lambda: split(ArraySource(X, Y), 1.5, 0), ValueError, "must lie between 0 and 1"),
        (lambda: split(ArraySource(X[:1], Y[:1]), 0.5, 0), ValueError, "at least 2 rows"),
        (lambda: ArraySource(X, Y).restore({"rows": 3, "seed": 0}), ValueError, "the 3 rows of the fit"),
    ):
        with pytest.raises(error, match=message):
            make()


def test_kinds():
    """What is taken for what; dtypes."""
    assert is_sliced(Slices(X)) and not any(map(is_sliced, (X, None, [1.0], pytest)))
    assert is_batches([(X, Y)], None) and is_batches(iter([]), None) and is_batches(list, None)
    assert not any(
        (is_batches(X, None), is_batches([(X, Y)], Y), is_batches([[1.0, 2.0]], None), is_batches("ab", None))
    )
    for a, b, expected in (
        (X, Y, np.float32),
        (X, Y.astype(int), np.float32),
        (X, Y.astype(float), np.float64),
        (X.astype(float), Y, np.float64),
        (X.astype(int), Y, np.float64),
        (X.astype(">f4"), Y, np.float32),
    ):
        assert (
            ArraySource(a, b).batch(0).X.dtype
            == ArraySource(a, b).batch(0).y.dtype
            == ArraySource(a, b).dtype
            == expected
        )
    masked = SlicedSource(Slices(np.ma.masked_greater(X, 1.0)), Slices(np.ma.masked_equal(Y.astype(int), 3))).batch(0)
    assert np.array_equal(np.isnan(masked.X), X > 1.0) and np.array_equal(np.isnan(masked.y), Y == 3)
    names = np.array(["ant", "bee"])[(Y > 3).astype(int)]
    source = ArraySource(X, names, raw_y=True, batch_size=6)
    assert source.labels().tolist() == ["ant", "bee"] and source.batch(0).y.dtype == names.dtype
    assert source.head(5)[1].tolist() == names[::4].tolist()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 1e-9, 1 - 1e-9])
def test_split(fraction):
    """The two parts are all rows, none in both; the parts are sources themselves."""
    for make in (lambda: ArraySource(*data(), batch_size=10, seed=2), lambda: sliced(batch_size=10, chunk=4)):
        source = make()
        rest, held = split(source, fraction, 3)
        found = [np.concatenate([b.y for b in part.pieces(9)]) for part in (rest, held)]
        assert [len(f) for f in found] == [rest.n_total, held.n_total] and min(rest.n_total, held.n_total) >= 1
        assert np.array_equal(np.sort(np.concatenate(found)), np.arange(N))
        assert abs(held.n_total - fraction * N) <= N / 16
        seen = np.concatenate([rest.batch(t).y for t in range(rest.n_total)])
        assert np.array_equal(np.unique(seen), np.sort(found[0])) and rest.batch(0).n_total == rest.n_total
        assert same(source.batch(1), make().batch(1))
        assert split(source, 0.9, 3, most=20)[1].n_total <= 20
        twice = split(rest, 0.5, 0) if rest.n_total > 2 else ()
        assert sum(part.n_total for part in twice) in (0, rest.n_total)
