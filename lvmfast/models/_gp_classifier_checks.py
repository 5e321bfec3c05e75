"""What may be passed to Gaussian process classification."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.utils.validation import validate_data

from lvmfast import _backend
from lvmfast._validation import (
    as_matrix,
    check_callback,
    check_choice,
    check_integer,
    check_positive,
)
from lvmfast.kernels import Kernel
from lvmfast.models._labels import encode_labels

__all__ = ["check_inputs", "check_labels", "check_parameters", "check_rows"]


def check_parameters(model) -> None:
    """Raise unless all arguments of the estimator make sense."""
    if model.kernel is not None and not isinstance(model.kernel, Kernel):
        raise TypeError(f"kernel must be an lvmfast kernel such as lvmfast.kernels.RBF(), got {model.kernel!r}")
    mean = model.mean
    if isinstance(mean, (bool, np.bool_)) or not isinstance(mean, numbers.Real) or not np.isfinite(mean):
        raise (TypeError if not isinstance(mean, numbers.Real) else ValueError)(
            f"mean must be a finite number, got {mean!r}"
        )
    check_choice(model.method, "method", ("vi", "gibbs"))
    for name in ("optimize", "warm_start"):
        if not isinstance(getattr(model, name), (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {getattr(model, name)!r}")
    for name, least in (("max_iter", 1), ("n_samples", 1), ("burn_in", 0), ("thin", 1), ("n_chains", 1)):
        check_integer(getattr(model, name), name, least)
    if model.inducing is not None and np.ndim(model.inducing) == 0:
        check_integer(model.inducing, "inducing", 1)
    if model.batch_size is not None:
        check_integer(model.batch_size, "batch_size", 1)
        if model.inducing is None:
            raise ValueError(
                f"batch_size must be None without inducing inputs, got {model.batch_size}; set inducing to a number"
            )
    if model.method == "gibbs" and model.inducing is not None:
        raise ValueError("inducing must be None for method='gibbs', which takes all rows; use method='vi'")
    if model.step_size is not None and check_positive(model.step_size, "step_size") > 1:
        raise ValueError(f"step_size must lie in (0, 1], got {model.step_size!r}")
    check_positive(model.learning_rate, "learning_rate")
    check_positive(model.tol, "tol", zero=True)
    check_callback(model.callback)


def check_rows(model, X, y, reset=True):
    """X (n, q) of NumPy, float32 or float64, and y (n,) as it came."""
    _backend.module_for(X=X)
    data, labels = validate_data(
        model,
        _backend.to_numpy(X),
        _backend.to_numpy(y),
        dtype=(np.float64, np.float32),
        order="C",
        reset=reset,
    )
    Z = model.inducing
    if Z is not None and np.ndim(Z):
        Z = as_matrix(_backend.to_numpy(Z), "inducing")
        if Z.shape[1] != data.shape[1] or not len(Z):
            raise ValueError(f"inducing must have shape (M, {data.shape[1]}) with M >= 1, got {Z.shape}")
    return data, labels


def check_labels(y, classes=None):
    """The two classes, and ``kappa = -1/2`` or ``1/2`` of every row."""
    classes, index = encode_labels(y, classes, binary=True)
    return classes, index - 0.5


def check_inputs(model, X) -> np.ndarray:
    """New inputs as a float64 matrix of NumPy, whose place is that of the training data."""
    posterior = model._posterior
    on_gpu = getattr(model, "_on_gpu", False)
    if _backend.is_gpu(X) and posterior.device != "cuda":
        _backend.module_for(X=X, training_data=np.empty(1))
    if on_gpu and isinstance(X, (np.ndarray, list)):
        _backend.module_for(X=X, training_data=posterior.L if hasattr(posterior, "L") else posterior.gpr.L)
    X = validate_data(model, _backend.to_numpy(X), reset=False, dtype=(np.float64, np.float32), order="C")
    return as_matrix(X, "X", dtype=np.float64)
