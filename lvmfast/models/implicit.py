"""Implicit generative models as a scikit-learn estimator."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._validation import as_float_array, check_integer
from lvmfast.models._implicit_file import load_implicit, save_implicit
from lvmfast.models._implicit_fit import ImplicitFitting, ImplicitStatus
from lvmfast.models._vae_data import blocks
from lvmfast.random import seed_of

PIECE_ROWS = 4096

__all__ = ["ImplicitModel", "ImplicitStatus"]


class ImplicitModel(ImplicitFitting, BaseEstimator):
    r"""A generator trained through a density ratio: ``x = G(z)``, z standard normal, has the law p, the data the law q.

    ``min_s E_q softplus(-s(x)) + E_z softplus(s(G(z)))`` is attained by ``s = log r``, ``r = q / p``, and

    ``min_G E_z f'(exp(-s(G(z))))``, s held as it is, descends ``D_f[p || q] = E_q f(p(x) / q(x))``,

    as the slope of ``D_f`` by what p depends on is ``integral f'(p / q) dp``; steps of both alternate. No density of
    G(z) is needed. With the default ``f(u) = u log u`` that is ``min_G E_z[-log r(G(z))]``, for ``KL[p || q]``.

    Parameters
    ----------
    generator : None, "linear", list of layers or lvmfast.nn.Sequential, optional
        Takes ``n_components`` numbers and gives as many as a row has. Default: dense layers of the widths ``hidden``.
        Networks are copied, and start from their parameters if they are built; others from ``random_state``.
    ratio : None, "linear", list of layers or lvmfast.nn.Sequential, optional
        Takes rows in the shape of X and gives one number, log r. Default: dense layers of the widths ``ratio_hidden``.
    n_components : int, default=10
        Numbers in z.
    hidden, ratio_hidden : tuple of int, default=(128, 128)
        Widths of layers that are not given.
    activation : str, default="relu"
        Of these layers.
    output : str, default="linear"
        Activation of the last layer of a generator that is not given; "sigmoid" for numbers in [0, 1].
    objective : str, float or function, default="kl"
        What the generator descends, in terms of ``u = p / q`` and the classifier ``D = 1 / (1 + u)``:

        ==================== ====================== ============================================
        objective            f'(u), up to constants of D_f[p || q]
        ==================== ====================== ============================================
        "kl"                 log u                  KL[p || q]
        "reverse_kl"         -1 / u                 KL[q || p]
        "js"                 log(1 - D) / 2         Jensen-Shannon
        "gan_saturating"     log(1 - D)             2 JS - log 4, the minimax form
        "gan"                -log D                 KL[p || q] - 2 JS, the form that does not saturate
        "pearson_chi2"       2 u                    E_q (u - 1)^2
        "neyman_chi2"        -1 / u^2               E_p (1 / u - 1)^2
        "squared_hellinger"  -1 / (2 sqrt(u))       (1/2) E_q (sqrt(u) - 1)^2
        a number alpha       u^(alpha - 1)          f''(u) = u^(alpha - 2)
        ==================== ====================== ============================================

        Powers of u grow without bound where the ratio is not small, and so do their slopes. Any convex f, twice
        differentiable: an object with ``derivative(u)`` and ``second(u)``, elementwise, such as
        :class:`lvmfast.divergences.FDivergence`; steps are then driven from Python unless it has a ``loss_shape``.
    loss : {"bce", "kl"} or float, default="bce"
        Of the ratio network: the cross-entropy of a classifier of the data's rows against G's; "kl": minus the bound
        ``E_q log r - E_p (r - 1)`` of KL[q || p]; a number: that of ``f''(u) = u^(alpha - 2)``, of D_f[q || p].
    optimizer, ratio_optimizer : lvmfast.nn.Adam, RMSprop or SGD, optional
        Of the generator and of the ratio network. Default: ``Adam(0.0003, beta_1=0.5)``.
    ratio_steps : int, default=1
        Updates of the ratio network before each of the generator, on noise of their own.
    instance_noise : float or callable, default=0.0
        Standard deviation, or ``instance_noise(step)``, of normal noise on all rows that the ratio network sees in
        training, the data's and the generator's: both laws are smoothed alike, so that the ratio stays bounded and rows
        are harder to learn by heart. It lets few images be learned from; then log r is that of the smoothed laws.
    batch_size : int, default=100
        Rows of a step, and as many from the generator.
    max_iter : int, default=100
        Epochs: passes over the rows.
    shuffle : bool, default=True
        Whether each pass over an array in memory has an order of its own.
    dtype : float32 or float64, default=float32
        Of the arithmetic, and of what comes out.
    random_state : int, numpy.random.Generator or None
        For first parameters, orders of rows and noise.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every epoch with an :class:`ImplicitStatus`; a true answer stops the fit.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where the arithmetic is done. "auto": where X is.

    Attributes
    ----------
    generator_, ratio_network_ : lvmfast.nn.Sequential
        With the fitted parameters; copies.
    history_ : dict of arrays
        Of every epoch the means over its rows of "ratio_loss", "generator_loss" (``E_z f'(u)``, constants dropped; no
        divergence) and "bound": ``(log 4 - ratio_loss) / 2``, which no ratio network makes larger than the
        Jensen-Shannon divergence of p and q in expectation over rows that it was not trained on; with other losses
        minus the loss, a bound of that D_f[q || p].
    loss_curve_ : array
        The ratio network's loss of every step.
    n_iter_, n_steps_ : int
        Epochs that were finished, and steps.
    message_ : str
        Why the fit ended.
    device_ : str
    n_features_in_ : int
        Numbers in a row.
    feature_names_in_ : array
        Where X had column names.

    Notes
    -----
    A saddle point is sought, not a minimum: losses do not fall steadily, and no number here tells alone whether the fit
    is good. Look at samples; the bound falls towards 0 while the ratio network can follow. The slope of "kl" by log r
    is 1 everywhere, that of "gan" fades where samples already pass for data. The rows of a step are new to the ratio
    network only in the first epoch, and with ``ratio_steps > 1`` in its first update alone: with few rows or many
    updates it learns them by heart, and the bound is too large. Of images, a dense ratio network soon tells all
    generated ones from the data, and the generator learns no more: take convolutions for both (``Conv2D`` with strides,
    ``Conv2DTranspose``), and ``instance_noise``.

    References
    ----------
    Tiao (2018), "Density ratio estimation for KL divergence minimization between implicit distributions". Mohamed &
    Lakshminarayanan (2016), "Learning in implicit generative models", sections 3 and 4. Nowozin, Cseke & Tomioka
    (2016), "f-GAN", section 2.3 and table 1. Goodfellow et al. (2014), "Generative adversarial nets", eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> X = 3 + 0.5 * np.random.default_rng(0).standard_normal((1000, 1))
    >>> options = {"n_components": 1, "hidden": (16,), "ratio_hidden": (32,), "optimizer": lvm.nn.Adam(0.003)}
    >>> model = lvm.ImplicitModel(**options, max_iter=150, random_state=0).fit(X)
    >>> abs(float(model.sample(5000, rng=0).mean()) - 3) < 0.2
    True
    """

    def __init__(
        self,
        generator=None,
        ratio=None,
        *,
        n_components=10,
        hidden=(128, 128),
        ratio_hidden=(128, 128),
        activation="relu",
        output="linear",
        objective="kl",
        loss="bce",
        optimizer=None,
        ratio_optimizer=None,
        ratio_steps=1,
        instance_noise=0.0,
        batch_size=100,
        max_iter=100,
        shuffle=True,
        dtype=np.float32,
        random_state=None,
        verbose=0,
        callback=None,
        device="auto",
    ):
        self.generator = generator
        self.ratio = ratio
        self.n_components = n_components
        self.hidden = hidden
        self.ratio_hidden = ratio_hidden
        self.activation = activation
        self.output = output
        self.objective = objective
        self.loss = loss
        self.optimizer = optimizer
        self.ratio_optimizer = ratio_optimizer
        self.ratio_steps = ratio_steps
        self.instance_noise = instance_noise
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose
        self.callback = callback
        self.device = device

    @_backend.memory_errors
    def fit(self, X, y=None, *, n_total=None) -> ImplicitModel:
        """Train both networks on data, of which a step reads one batch.

        Ctrl-C ends the fit with what was reached, a :class:`FitInterruptedWarning` and a model that works. An error
        after the first step (numbers that overflow, a bad row in a file) is raised, and the model keeps what was
        reached, too: :meth:`resume` goes on.

        Parameters
        ----------
        X : array of shape (n, ...), or an iterable of batches
            Rows of any shape, which is that of the ratio network's input: NumPy or CuPy arrays, data frames, memory
            maps, and what has a shape, a dtype and slices of rows, of which no more than some blocks are in memory; or
            an iterable, or a callable that returns a new one for every pass, of batches.
        y : ignored
        n_total : int, optional
            Rows of the whole data, where an iterable does not tell.

        Returns
        -------
        self : ImplicitModel

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is as it was, unless a step had been taken.
        SourceEndedError
            If batches end before the epochs do.
        NonFiniteError
            If a loss or a gradient is not finite; the error names the row.
        """
        self._fit(X, None, n_total)
        return self

    @_backend.memory_errors
    def resume(self, X, y=None, *, max_iter=None, n_total=None) -> ImplicitModel:
        """Go on with a fit that was interrupted, stopped, checkpointed or ended by ``max_iter``, with its data.

        The result is the same, bit for bit on the CPU, as of a fit that had not stopped (with the same parameters and
        the same versions of lvmfast and BLAS).

        Parameters
        ----------
        X, n_total
            As for :meth:`fit`: the data of the fit.
        y : ignored
        max_iter : int, optional
            New limit, which replaces the parameter ``max_iter``.

        Returns
        -------
        self : ImplicitModel
        """
        self._resume(X, max_iter, None, n_total)
        return self

    @_backend.memory_errors
    def partial_fit(self, X, y=None) -> ImplicitModel:
        """One step with these rows, from where the model is; for data that come in pieces.

        Parameters
        ----------
        X : array of shape (b, ...)
            A batch.
        y : ignored

        Returns
        -------
        self : ImplicitModel
        """
        self._partial_fit(X)
        return self

    def sample(self, n=1, *, rng=None):
        """Rows ``G(z)`` for draws of z.

        Parameters
        ----------
        n : int, default=1
        rng : None, int or numpy.random.Generator

        Returns
        -------
        array of shape (n, ...)
            In the model's dtype, shaped as rows of X were.
        """
        check_is_fitted(self)
        x = self._problem.sample(check_integer(n, "n", 1), seed_of(rng))
        return (x if self._on_gpu else _backend.to_numpy(x)).reshape(n, *self._shape)

    def generate(self, Z):
        """Rows ``G(z)`` for given noise.

        Parameters
        ----------
        Z : array of shape (n, n_components)

        Returns
        -------
        array of shape (n, ...)
        """
        check_is_fitted(self)
        problem, z = self._problem, _backend.to_numpy(as_float_array(Z, "Z")).astype(self._problem.dtype)
        if z.ndim != 2 or len(z) < 1 or z.shape[1] != problem.noise or not np.isfinite(z).all():
            raise ValueError(f"Z must be finite, of shape (n >= 1, {problem.noise}), got shape {z.shape}")
        return _backend.like(problem.generate(problem.placed(z)), Z).reshape(len(z), *self._shape)

    def log_ratio(self, X):
        """``log q(x) / p(x)`` as the ratio network has it: above 0 where rows look like data rather than samples.

        Parameters
        ----------
        X : array of shape (n, ...)

        Returns
        -------
        array of shape (n,)
            In the model's dtype.
        """
        check_is_fitted(self)
        problem, form = self._problem, self._form_of_fit()
        x = _backend.to_device(form.array(self, X, False)[0], problem.device)
        parts = [problem.log_ratio(piece) for piece in blocks(x, PIECE_ROWS)]
        return _backend.like(_backend.namespace(*parts).concatenate(parts), X)

    def save(self, path) -> None:
        """Write the fitted model, with all that :meth:`resume` needs but the data, to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_implicit(self, path)

    @classmethod
    def load(cls, path) -> ImplicitModel:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_implicit(cls, path)
