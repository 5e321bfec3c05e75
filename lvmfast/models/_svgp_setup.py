"""The data of a stochastic fit as batches that the likelihood can take, checked; and where the fit starts."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
from sklearn.utils.validation import validate_data

from lvmfast import _backend
from lvmfast._minibatches import Batch, as_source, is_batches, is_mapped, is_sliced, split
from lvmfast._validation import (
    as_float_array,
    as_matrix,
    check_callback,
    check_choice,
    check_integer,
    check_jitter,
    check_positive,
)
from lvmfast.kernels import Kernel
from lvmfast.models._gpr_mean import NAMES as MEANS
from lvmfast.models._sgpr_start import INITS, STATISTICS_ROWS
from lvmfast.models._svgp_target import Target, check_likelihood, kind_of

HELD_OUT_ROWS = 1 << 16  # at most, for early stopping

__all__ = ["Data", "check_parameters", "known_of"]


def check_parameters(model) -> None:
    """Raise unless all arguments of the estimator make sense."""
    if model.kernel is not None and not isinstance(model.kernel, Kernel):
        raise TypeError(f"kernel must be an lvmfast kernel such as lvmfast.kernels.RBF(), got {model.kernel!r}")
    check_likelihood(model.likelihood)
    check_choice(model.inducing_init, "inducing_init", INITS)
    for name in ("learn_inducing", "whiten", "q_diag", "early_stopping"):
        if not isinstance(getattr(model, name), (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {getattr(model, name)!r}")
    if not callable(model.mean):
        check_choice(model.mean, "mean", MEANS)
    for name in ("batch_size", "max_iter", "n_iter_no_change"):
        check_integer(getattr(model, name), name, 1)
    if model.eval_every is not None:
        check_integer(model.eval_every, "eval_every", 1)
    check_choice(model.optimizer, "optimizer", ("natural", "adam"))
    if model.step_size is not None and check_positive(model.step_size, "step_size") > 1:
        raise ValueError(f"step_size must lie in (0, 1], got {model.step_size!r}")
    check_positive(model.learning_rate, "learning_rate")
    if model.schedule is not None and not callable(model.schedule):
        check_choice(model.schedule, "schedule", ("cosine",))
    if check_positive(model.validation_fraction, "validation_fraction") >= 1:
        raise ValueError(f"validation_fraction must lie between 0 and 1, got {model.validation_fraction!r}")
    check_jitter(model.jitter)
    check_callback(model.callback)


def known_of(kind, **given):
    """The name and the value of what was given of every point, among what this kind of likelihood takes."""
    name = kind.known_of_points
    for key, value in given.items():
        if value is not None and key != name:
            takes = f"takes {name}" if name else "takes nothing else"
            raise TypeError(f"{key} must be None for {kind.__name__}, which {takes} of every point, got an array")
    return name, given.get(name)


class Data:
    """Checked batches in the likelihood's numbers, on the device.

    Parameters
    ----------
    model : SVGP
        For its arguments; left as it is.
    y : array or None
        None where X is an iterable of batches.
    known : dict
        ``noise_variance`` and ``exposure``, arrays or None.
    validation : tuple (X, y) or None
        Rows for early stopping; None holds some out.
    seed : int
        Of batches and of the rows held out.
    state : dict, optional
        Of :meth:`state`: where to go on.
    target : Target, optional
        That of an earlier call.
    piece : bool
        Whether this is one batch, of which nothing is held out.
    reset : bool
        Whether the columns of X are new to the model.

    Attributes
    ----------
    target : Target
    n_total, q, n_latents : int
    total_weight : float
        Sum of the weights of the rows where it is known, else their number.
    single, in_memory, has_known : bool
        Whether y has shape (n,); X and y are arrays; something is known of every point.
    held : iterable of batches, or None
    """

    def __init__(
        self,
        model,
        X,
        y,
        *,
        sample_weight=None,
        known=None,
        n_total=None,
        classes=None,
        validation=None,
        seed=0,
        state=None,
        target=None,
        batch_size=None,
        piece=False,
        reset=True,
    ):
        self.kind = kind_of(model.likelihood)
        self.known_name, own = known_of(self.kind, **(known or {}))
        self._classifies = issubclass(self.kind, Target.CLASSES)
        batches = is_batches(X, y, ndim=2)
        if y is None and not batches:
            raise ValueError(
                "requires y to be passed, but the target y is None (X alone may be an iterable of batches (X, y))"
            )
        self.in_memory = not batches and not any(is_sliced(a) or is_mapped(a) for a in (X, y))
        self.on_gpu = _backend.is_gpu(X)
        names, labels = None, None
        own, sample_weight = self._per_row(own, self.known_name), self._per_row(sample_weight, "sample_weight")
        if self.in_memory:
            X, y, names = self._arrays(model, X, y, reset)
            X, y, own, sample_weight = self._weighted(X, y, own, sample_weight)
            if self._classifies:
                self.target = target or Target(model.likelihood, y, classes)
                y = self.target.encode(y)
                y = _backend.to_device(y, "cuda") if self.on_gpu else y
        raw = self._classifies and not self.in_memory
        self._settings = {"known_name": self.known_name, "raw_y": raw, "device": model.device, "ndim": 2}
        source = as_source(
            X, y, own, sample_weight, batch_size=batch_size, seed=seed, n_total=n_total, **self._settings
        )
        if raw and target is None and classes is None:
            labels = source.labels()
        if not hasattr(self, "target"):
            self.target = target or Target(model.likelihood, labels, classes)
        held = None
        if model.early_stopping and not piece:
            if validation is None:
                source, held = split(
                    source, float(model.validation_fraction), np.random.default_rng([seed, 1]), HELD_OUT_ROWS
                )
            else:
                held = self._validation(validation)
        elif validation is not None:
            raise ValueError("validation must be None with early_stopping=False, got data; set early_stopping=True")
        self.has_known = own is not None or source.head(1)[2] is not None
        if validation is not None:
            self._check_validation(source, held)
        self.held = None if held is None else _Held(self, held)
        if state is not None:
            source.restore(state)
        self.source, self.piece, self.on_gpu = source, piece, source.on_gpu
        self.n_total, self.q, self.dtype, self.device = source.n_total, source.q, source.dtype, source.device
        self.weighted = self.in_memory and sample_weight is not None
        self.total_weight = float(self.n_total)
        if self.weighted:
            self.total_weight = float(next(iter(source.pieces(self.n_total))).weight.sum())
        self.single = source.d is None
        self.n_latents = self.target.latents(source.d)
        self._names = names or {"n_features_in_": self.q, "feature_names_in_": source.names}
        if self.in_memory:
            self._check(Batch(X, y, own, sample_weight, len(X)))

    @property
    def pass_length(self) -> int | None:
        """Steps in which all rows are seen once, as far as it is known."""
        return self.source.pass_length

    # Arguments.

    def _arrays(self, model, X, y, reset):
        """X and y as arrays of the right kind, and the names of columns."""
        _backend.module_for(X=X, **({} if self._classifies else {"y": y}))
        names = copy.copy(model)  # validate_data writes the names of the features
        numbers = {} if self._classifies else {"multi_output": True, "y_numeric": True}
        X_new, y_new = validate_data(
            names,
            _backend.to_numpy(X),
            _backend.to_numpy(y),
            dtype=(np.float64, np.float32),
            order="C",
            ensure_min_samples=1,
            reset=reset,
            **numbers,
        )
        if not self._classifies and y_new.dtype not in (np.float32, np.float64):
            y_new = y_new.astype(np.float64 if y_new.dtype.kind == "f" else X_new.dtype)
        if self.on_gpu:
            X_new = _backend.to_device(X_new, "cuda")
            y_new = y_new if self._classifies else _backend.to_device(y_new, "cuda")
        return X_new, y_new, {k: vars(names).get(k) for k in ("n_features_in_", "feature_names_in_")}

    @staticmethod
    def _weighted(X, y, own, weight):
        """The rows with a weight above 0."""
        if weight is None or weight.shape != (len(X),) or not (weight == 0).any():
            return X, y, own, weight
        rows = weight != 0
        if not rows.any():
            raise ValueError("sample_weight must be > 0 for some row, got zeros")
        at = rows if _backend.is_gpu(y) or not _backend.is_gpu(rows) else _backend.to_numpy(rows)
        return X[rows], y[at], None if own is None else own[rows], weight[rows]

    def _per_row(self, array, name):
        if array is None or is_sliced(array) or is_mapped(array):
            return array
        return as_float_array(array, name)

    def _validation(self, validation):
        if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
            raise TypeError(f"validation must be a tuple (X, y), or (X, y, {self.known_name}), got {validation!r}")
        X, y, *own = validation
        if self._classifies and not self._settings["raw_y"]:
            y = _backend.like(self.target.encode(np.asarray(_backend.to_numpy(y))), X)
        elif not (self._settings["raw_y"] or _backend.is_gpu(y)):
            y = np.asarray(y)
        own = self._per_row(own[0], self.known_name) if own else None
        settings = {**self._settings, "device": "auto"}
        return as_source(X if is_sliced(X) else as_matrix(X, "validation X"), y, own, None, **settings)

    def _check_validation(self, source, held) -> None:
        """Raise unless rows for early stopping go with those of the fit."""
        name, pairs = self.known_name, {"X": (source.q, held.q), "y": (source.d or 1, held.d or 1)}
        for key, (rule, got) in pairs.items():
            if rule != got:
                raise ValueError(f"validation {key} must have the columns of {key}, {rule}, got {got}")
        if self.has_known and held.head(1)[2] is None:
            raise ValueError(f"validation must be (X, y, {name}), as the rows of the fit have {name}, got (X, y)")

    # Batches.

    def batch(self, step: int):
        """That of step t, with numbers for labels; checked."""
        return self.taken(self.source.batch(step))

    def taken(self, batch):
        """A batch of the source as the likelihood takes it."""
        if self.in_memory:
            return batch
        if self._classifies:
            batch = dataclasses.replace(batch, y=self.target.encode(batch.y).astype(self.dtype))
        self._check(batch)
        return batch

    def _check(self, batch) -> None:
        """Raise unless all numbers of a batch can be used."""
        if not self.in_memory:
            as_matrix(batch.X, "X")
        self.target.likelihood.check_y(batch.y)
        for name, array, zero in ((self.known_name, batch.known, False), ("sample_weight", batch.weight, True)):
            if array is None:
                continue
            xp = _backend.namespace(array)
            good = xp.isfinite(array) & ((array >= 0) if zero else (array > 0))
            if not good.all():
                rule = "finite and >= 0" if zero else "finite and > 0"
                raise ValueError(f"{name} must be {rule}, got {float(array[~good].ravel()[0])}")

    def head(self, rows: int = STATISTICS_ROWS):
        """Some rows that stand for all: X (k, q), Y (k, 1) or (k, d), what is known (k, 1), (k, d) or None. float64."""
        X, y, known = self._weighted_head(rows) if self.weighted else self.source.head(rows)
        X = as_matrix(X, "X", dtype=np.float64)
        if self._classifies and not self.in_memory:
            y = self.target.encode(y)
        self.target.likelihood.check_y(y)
        Y = np.asarray(y, dtype=np.float64).reshape(len(X), -1)
        return X, Y, None if known is None else known.reshape(len(X), -1)

    def _weighted_head(self, rows: int):
        """Rows as often as their weights say, of those that lie evenly."""
        whole = next(iter(self.source.pieces(self.n_total)))
        step = max(1, -(-self.n_total // rows))
        parts = whole.X[::step], whole.y[::step], None if whole.known is None else whole.known[::step]
        X, y, known = (None if a is None else np.asarray(_backend.to_numpy(a), dtype=np.float64) for a in parts)
        ends = np.cumsum(_backend.to_numpy(whole.weight)[::step])
        count = int(np.clip(round(ends[-1]), len(X), max(rows, len(X))))
        chosen = np.searchsorted(ends, (np.arange(count) + 0.5) * (ends[-1] / count))
        return X[chosen], y[chosen], None if known is None else known[chosen]

    def state(self, step: int) -> dict:
        """What a resumed fit needs of the source."""
        return self.source.state(step)

    def mark(self) -> np.ndarray:
        """Numbers that tell these data from others; of an iterator its size alone."""
        sizes = [self.n_total, self.q, self.n_latents]
        if not hasattr(self.source, "seed"):
            return np.array(sizes, dtype=np.float64)
        X, Y, _ = self.head(1024)
        return np.concatenate([sizes, X.mean(axis=0), Y.mean(axis=0)])

    def name(self, model) -> None:
        """Write the features' number and names to a model."""
        for name, value in self._names.items():
            vars(model).pop(name, None)
            if value is not None:
                setattr(model, name, value)


class _Held:
    """Batches of rows that are held out, again and again."""

    def __init__(self, data, source):
        self._data, self._source = data, source

    def __iter__(self):
        return (self._data.taken(batch) for batch in self._source.pieces())
