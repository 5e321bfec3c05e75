"""Fits of what :func:`as_data` takes: begun, gone on with, and by pieces."""

from __future__ import annotations

import copy
import time

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._validation import check_integer, check_rng
from lvmfast.models._minibatch_fit import MinibatchFit
from lvmfast.models._vae_data import as_data
from lvmfast.random import seed_of

__all__ = ["DataFit"]


class DataFit(MinibatchFit):
    """A subclass defines, besides ``_finish``, the following.

    ``_check()``: of the arguments; ``_form()`` and ``_form_of_fit()``: of rows; ``_new_run(form, seed, data)`` and
    ``_restored(data)``: a run that begins, and that of the fitted model, for more data.
    """

    def _fit(self, X, validation_data=None, n_total=None) -> None:
        begun = time.perf_counter()
        self._check()
        seed, form = self._new_seed(), self._form()
        data, names = self._as_data(X, form, seed=seed, n_total=n_total, validation=validation_data)
        run = self._new_run(form, seed, data)
        more = {"seed": np.array(seed, np.uint64), "mark": data.mark(), "batch_size": np.array(self.batch_size)}
        self._go(data, names, form, run, more, begun, stacklevel=5)

    def _resume(self, X, max_iter=None, validation_data=None, n_total=None) -> None:
        begun = time.perf_counter()
        check_is_fitted(self)
        if max_iter is not None and check_integer(max_iter, "max_iter", 1) < self.n_iter_:
            raise ValueError(f"max_iter must be >= n_iter_ = {self.n_iter_}, which are done, got {max_iter}")
        model = copy.copy(self)
        if max_iter is not None:
            model.max_iter = max_iter
        model._check()
        state = self._state
        if int(state["batch_size"]) not in (self.batch_size, 0):
            raise ValueError(
                f"batch_size must be that of the fit to go on, {int(state['batch_size'])}, got {self.batch_size}"
            )
        place = {name[7:]: value for name, value in state.items() if name.startswith("source.")}
        form, seed = self._form_of_fit(), int(state["seed"])
        data, names = model._as_data(
            X, form, seed=seed, n_total=n_total, validation=validation_data, state=place or None, reset=False
        )
        mark = data.mark()
        if len(state["mark"]) and not np.array_equal(mark, state["mark"]):
            raise ValueError("X must be the data of the fit to resume it, got others; fit anew, or use partial_fit")
        if (data.held is None) != (len(state["checks"]) == 0) and self.n_iter_:
            rule = "be that of the fit" if data.held is None else "be None, as in the fit,"
            raise ValueError(f"validation_data must {rule} to resume it, got {'none' if data.held is None else 'some'}")
        run = model._restored(data)
        self.max_iter = model.max_iter
        more = {"seed": state["seed"], "mark": mark, "batch_size": np.array(self.batch_size)}
        self._go(data, names, form, run, more, begun, stacklevel=5)

    def _partial_fit(self, X) -> None:
        self._check()
        first, seed = not hasattr(self, "_state"), self._new_seed()
        seed = seed if first else int(self._state["seed"])
        form = self._form() if first else self._form_of_fit()
        data, names = self._as_data(X, form, seed=seed, reset=first, piece=True)
        run = self._new_run(form, seed, data) if first else self._restored(data)
        with _backend.blas_threads(1):
            run.batch(data)
        more = {"seed": np.array(seed, np.uint64), "mark": np.empty(0), "batch_size": np.array(0), "piece": True}
        self._finish(data, names, form, run, more, "partial_fit")

    def _as_data(self, X, form, **how):
        """Batches, and names of the features."""
        return as_data(self, X, form, **how)

    def _new_seed(self) -> int:
        return seed_of(self.random_state if self.random_state is None else check_rng(self.random_state))
