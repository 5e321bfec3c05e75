"""The data of a fit of sparse regression: checked, and on the device."""

from __future__ import annotations

import copy

import numpy as np
from sklearn.utils.validation import validate_data

from lvmfast import _backend
from lvmfast.models._sgpr_objective import column_means


class SgprData:
    """Checked data of a fit, on the device; NumPy arrays of the right kind are the caller's own."""

    def __init__(self, model, X, y):
        _backend.module_for(X=X, y=y)
        self.on_gpu, self.device = _backend.is_gpu(X), _backend.check_device(model.device, X, y)
        names = copy.copy(model)  # validate_data writes the names of the features
        X_new, y_new = validate_data(
            names,
            _backend.to_numpy(X),
            _backend.to_numpy(y),
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            order="C",
            ensure_min_samples=1,
        )
        self._names = {k: vars(names).get(k) for k in ("n_features_in_", "feature_names_in_")}
        double = y_new.dtype != np.float32 or X_new.dtype != np.float32
        self.dtype = np.dtype(np.float64 if double else np.float32)
        self.single = y_new.ndim == 1
        self.n, self.q = X_new.shape
        Y = np.ascontiguousarray(y_new, dtype=self.dtype).reshape(self.n, -1)
        self.d = Y.shape[1]
        self.X = _backend.to_device(np.ascontiguousarray(X_new, dtype=self.dtype), self.device)
        self.Y = _backend.to_device(Y, self.device)

    def name(self, model) -> None:
        """Write the features' number and names to a model."""
        for name, value in self._names.items():
            vars(model).pop(name, None)
            if value is not None:
                setattr(model, name, value)

    def mark(self) -> np.ndarray:
        """Numbers that tell these data from others."""
        return np.concatenate([[self.n, self.q, self.d], column_means(self.X), column_means(self.Y)])
