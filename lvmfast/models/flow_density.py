"""Densities of normalizing flows as a scikit-learn estimator."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_integer
from lvmfast.models._flow_file import load_flow, save_flow
from lvmfast.models._flow_fit import FlowFitting, FlowStatus
from lvmfast.random import seed_of

__all__ = ["FlowDensity", "FlowStatus"]


class FlowDensity(ClassNamePrefixFeaturesOutMixin, FlowFitting, DensityMixin, TransformerMixin, BaseEstimator):
    r"""Density of rows from a normalizing flow: with z standard normal and ``x = f(z)``,

    ``log p(x) = log N(f^{-1}(x); 0, I) + log |det df^{-1}/dx|``,

    whose mean over the rows is maximised over the parameters of f by gradients of minibatches.

    Parameters
    ----------
    bijectors : None, bijector or list of bijectors, optional
        ``f(z) = b_1(b_2(... b_k(z)))``, as in a Chain: the first one gives the data, the last one takes the standard
        normal base. Fixed ones (Sigmoid, Softplus, Inline) come first: data that lie in a range are taken out of it
        once. Learnable ones follow, with Permute and Identity between them, and must take one pass from the data to the
        base: AffineCoupling, RealNVP, MaskedAutoregressive, LearnedAffine, ``Invert(Planar(d))``. Those that are not
        built start as the identity; built ones from their parameters. They are copied. Default:
        ``RealNVP(d, n_layers, hidden)``, or planar layers for one feature.
    n_layers, hidden, activation : int, tuple of int, str
        Of the default couplings.
    standardize : bool, default=True
        Whether the columns' means and standard deviations (behind the fixed bijectors) are taken out ahead of the first
        learnable bijector; their log-det counts.
    optimizer : lvmfast.nn.Adam, RMSprop or SGD, optional
        Default: ``Adam(0.001)``.
    batch_size : int, default=100
    max_iter : int, default=100
        Epochs: passes over the rows.
    shuffle : bool, default=True
        Whether each pass has an order of its own.
    early_stopping : bool, default=False
        Whether to keep the parameters with the best density of the rows for validation, and to stop without a better
        one.
    validation_fraction : float, default=0.1
        Of the rows, held out for early stopping where ``validation_data`` is not given.
    n_iter_no_change : int, default=10
        Epochs without a better one.
    dtype : float32 or float64, default=float32
        Of the flow's arithmetic, and of codes. The scale and the fixed bijectors are worked in float64, whatever it is,
        and samples have the dtype of the X of the fit.
    random_state : int, numpy.random.Generator or None
        For first parameters and orders of rows.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every epoch with a :class:`FlowStatus`; a true answer stops the fit.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where the arithmetic is done. "auto": where X is.

    Attributes
    ----------
    bijector_ : Chain
        From the base to the data, with the fitted parameters and the scale. A copy: changes to it do not change the
        model.
    distribution_ : TransformedDistribution
        The standard normal base through ``bijector_``.
    history_ : dict of arrays
        Of every epoch the means over its rows of "loss" (minus the log density), "base" (``log N(z; 0, I)``) and
        "log_det"; with validation, after the epoch, "val_loss", "val_base" and "val_log_det". In nats, of X itself.
    loss_curve_ : array
        Loss of every step, before it was taken (with the mean log-det of the fixed bijectors over all rows).
    n_iter_ : int
        Epochs that were finished. With early stopping the parameters are those after ``best_iter_`` of them.
    best_iter_, n_steps_ : int
    message_ : str
        Why the fit ended.
    device_ : str
    n_features_in_ : int
    feature_names_in_ : array
        Where X had column names.

    Notes
    -----
    With ``bijectors=LearnedAffine(d)`` the density is the normal one with independent columns.

    References
    ----------
    Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP", eq. 2 and 3. Papamakarios, Pavlakou &
    Murray (2017), "Masked autoregressive flow for density estimation".

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=500)
    >>> X = np.stack([x, x**2 + 0.3 * rng.normal(size=500)], axis=1)
    >>> model = lvm.FlowDensity(n_layers=4, hidden=(16,), max_iter=60, random_state=0).fit(X)
    >>> bool(model.score(X) > -2.2), model.sample(3, rng=0).shape  # a normal density has -3.2
    (True, (3, 2))
    """

    def __init__(
        self,
        bijectors=None,
        *,
        n_layers=6,
        hidden=(64, 64),
        activation="relu",
        standardize=True,
        optimizer=None,
        batch_size=100,
        max_iter=100,
        shuffle=True,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        dtype=np.float32,
        random_state=None,
        verbose=0,
        callback=None,
        device="auto",
    ):
        self.bijectors = bijectors
        self.n_layers = n_layers
        self.hidden = hidden
        self.activation = activation
        self.standardize = standardize
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose
        self.callback = callback
        self.device = device

    @_backend.memory_errors
    def fit(self, X, y=None, *, validation_data=None) -> FlowDensity:
        """Fit to rows.

        Ctrl-C ends the fit with what was reached, a :class:`FitInterruptedWarning` and a model that works. An error
        after the first step (numbers that overflow) is raised, and the model keeps what was reached, too:
        :meth:`resume` goes on.

        Parameters
        ----------
        X : array of shape (n, d)
        y : ignored
        validation_data : array of shape (m, d), optional
            Rows whose density is found after every epoch.

        Returns
        -------
        self : FlowDensity

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is as it was, unless a step had been taken.
        NonFiniteError
            If a density or a gradient is not finite; the error names the row.
        """
        self._fit(X, validation_data)
        return self

    @_backend.memory_errors
    def resume(self, X, y=None, *, max_iter=None, validation_data=None) -> FlowDensity:
        """Go on with a fit that was interrupted, stopped, checkpointed or ended by ``max_iter``, with its data.

        The result is the same, bit for bit on the CPU, as of a fit that had not stopped (with the same parameters and
        the same version of lvmfast).

        Parameters
        ----------
        X, validation_data
            As for :meth:`fit`: the data of the fit.
        y : ignored
        max_iter : int, optional
            New limit, which replaces the parameter ``max_iter``.

        Returns
        -------
        self : FlowDensity
        """
        self._resume(X, max_iter, validation_data)
        return self

    def score_samples(self, X) -> np.ndarray:
        """``log p(x)`` of rows, in nats.

        Parameters
        ----------
        X : array of shape (n, d)

        Returns
        -------
        ndarray of shape (n,)
            float64.

        Raises
        ------
        ValueError
            If a row lies outside the range of a fixed bijector, or X is not finite.
        """
        problem, rows, log_det = self._rows(X)
        return problem.terms(problem.initial(), rows)[:, 0] + _backend.to_numpy(log_det) + problem.log_scale

    def log_prob(self, X) -> np.ndarray:
        """:meth:`score_samples`, by the name that distributions have for it."""
        return self.score_samples(X)

    def score(self, X, y=None) -> float:
        """The mean of :meth:`score_samples`."""
        return float(self.score_samples(X).mean())

    def sample(self, n=1, *, rng=None):
        """Rows drawn from the density.

        Parameters
        ----------
        n : int, default=1
        rng : None, int or numpy.random.Generator

        Returns
        -------
        array of shape (n, d)
            In float32 if X of the fit was, otherwise in float64; where X was.
        """
        check_is_fitted(self)
        problem, n, seed = self._problem, check_integer(n, "n", 1), seed_of(rng)
        size = problem.rows_at_once
        parts = [problem.sample(min(size, n - first), first, seed) for first in range(0, n, size)]
        x = _backend.namespace(*parts).concatenate(parts)
        return x if self._on_gpu else _backend.to_numpy(x)

    def transform(self, X):
        """The base: z of rows, standard normal where the density holds.

        Parameters
        ----------
        X : array of shape (n, d)

        Returns
        -------
        array of shape (n, d)
            In the model's dtype.
        """
        problem, rows, _ = self._rows(X)
        theta, size, flow = problem.placed(problem.initial()), problem.rows_at_once, problem.compiled()
        parts = [flow.run(theta, rows[i : i + size])[0] for i in range(0, len(rows), size)]
        return _backend.like(_backend.namespace(*parts).concatenate(parts), X)

    def inverse_transform(self, Z):
        """Rows for points of the base, ``x = f(z)``.

        Parameters
        ----------
        Z : array of shape (n, d)

        Returns
        -------
        array of shape (n, d)
            In float32 if X of the fit was, otherwise in float64.
        """
        check_is_fitted(self)
        problem, z = self._problem, as_float_array(Z, "Z")
        if z.ndim != 2 or z.shape[1] != problem.width:
            raise ValueError(f"Z must have shape (n, {problem.width}), got {z.shape}")
        return _backend.like(problem.from_base(problem.placed(z)), z)

    def save(self, path) -> None:
        """Write the fitted model, with all that :meth:`resume` needs but the data, to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_flow(self, path)

    @classmethod
    def load(cls, path) -> FlowDensity:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_flow(cls, path)

    def _rows(self, X):
        """Rows that the compiled flow takes, and the log-dets of the fixed bijectors."""
        check_is_fitted(self)
        problem = self._problem
        x = _backend.to_device(self._numbers(self._form_of_fit(), X, False)[0], problem.device)
        u, log_det = problem.before(x)
        return problem, problem.scaled(u), log_det

    @property
    def _n_features_out(self) -> int:
        return self._problem.width

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        try:
            tags.transformer_tags.preserves_dtype = [np.dtype(self.dtype).name]
        except TypeError:
            tags.transformer_tags.preserves_dtype = []
        return tags
