"""Labels of classes as numbers 0, 1, ..."""

from __future__ import annotations

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target

__all__ = ["encode_labels"]


def encode_labels(y, classes=None, *, binary: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted, and the number of every label among them.

    Parameters
    ----------
    y : array of shape (n,)
    classes : array, optional
        All classes, where y may lack some.
    binary : bool, default=False
        Whether there must be two.

    Returns
    -------
    classes : array of shape (K,)
    index : array of shape (n,), int64
    """
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind not in ("binary", "multiclass") or (binary and kind != "binary"):
        rule, remedy = ("binary", "one model per class, as sklearn.multiclass.OneVsRestClassifier makes")
        if not binary:
            rule, remedy = ("single-label", "one model per column of y")
        raise ValueError(f"Only {rule} classification is supported. The type of the target is {kind}; use {remedy}")
    found, index = np.unique(y, return_inverse=True)
    if classes is None:
        classes = found
    else:
        classes = np.unique(classes)
        if not np.isin(found, classes).all():
            raise ValueError(f"y must hold the classes {classes.tolist()}, got {found.tolist()}")
        index = np.searchsorted(classes, found)[index]
    if len(classes) < 2 or (binary and len(classes) != 2):
        number = "two classes" if binary else "at least two classes"
        raise ValueError(f"y must hold {number}, got {len(classes)} class(es): {classes.tolist()}")
    return classes, index.reshape(-1)
