"""Variational autoencoders as a scikit-learn estimator."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast.models._vae_file import load_vae, save_vae
from lvmfast.models._vae_fit import VaeStatus
from lvmfast.models._vae_predictions import VaePredictions
from lvmfast.models._vae_work import VaeFitting

__all__ = ["VAE", "VaeStatus"]


class VAE(ClassNamePrefixFeaturesOutMixin, VaeFitting, VaePredictions, TransformerMixin, BaseEstimator):
    r"""Variational autoencoder. With z standard normal, ``q(z | x) = N(m, exp(s))``, m and s from the encoder,

    ``log p(x) >= E_q log p(x | z) - KL(q(z | x) || p(z)) = ELBO``,

    and the likelihood p(x | z) from the decoder. The mean of the bound over the rows is maximised over all parameters
    by gradients of minibatches, with draws ``z_l = m + exp(s / 2) eps_l``. Everything is in nats, constants included,
    summed over features.

    Parameters
    ----------
    encoder : None, "linear", list of layers or lvmfast.nn.Sequential, optional
        Default: dense layers of the widths ``hidden``. Two heads give m and s, log variances held between -14 and 0, so
        that no code is wider than its prior; where there are none, they are added as Dense(n_components). Networks are
        copied, and start from their parameters if they are built; others start from ``random_state``.
    decoder : None, "linear", list of layers or lvmfast.nn.Sequential, optional
        Default: the widths ``hidden`` backwards. It gives as many numbers as a row has (times the classes), logits for
        "bernoulli" and "categorical", and log variances from a second head with the variances "batch", "row" and
        "sample": where there is none, one like the last layer is added.
    n_components : int, default=2
        Latents.
    hidden : tuple of int, default=(256,)
        Widths of layers that are not given.
    activation : str, default="relu"
        Of these layers: "relu", "tanh", "sigmoid", "softplus", "elu", "gelu" or "linear".
    likelihood : {"bernoulli", "gaussian", "categorical"}, default="bernoulli"
        Bernoulli takes numbers in [0, 1], also between them; categorical integers with ``n_classes``, or one-hot rows
        (n, d, n_classes).
    variance : float, array of shape (d,) or str, default="feature"
        Of the Gaussian likelihood: known; "shared" or "feature", learned, one or d of them, which start at the
        features' mean squares; or from the decoder: "batch", one per feature, averaged (as logarithm) over the rows of
        a batch; "row", one per row, averaged over features; "sample", one for each number. Their logarithms are held
        between -14 and 14: scale features that are much smaller or larger than 1.
    n_classes : int, optional
        Of the categorical likelihood.
    latent : {"gaussian", "categorical"}, default="gaussian"
        Categorical ones are ``n_components`` variables of ``n_categories`` classes with a uniform prior, relaxed as
        ``softmax((logits + g) / temperature)`` with Gumbel noise g; the encoder has one head, of logits.
    n_categories : int, default=10
    temperature : float or callable, default=1.0
        ``temperature(step)``, step = 0, 1, ...
    n_samples : int, default=1
        Draws L of z for each row.
    objective : {"elbo", "iwae"}, default="elbo"
        "iwae": ``log (1/L) sum_l p(x | z_l) p(z_l) / q(z_l | x)``.
    gradient : {"reparameterized", "dreg"}, default="reparameterized"
        "dreg": of "iwae" the doubly reparameterised one, whose noise does not grow with L.
    posterior : {"gaussian", "implicit"}, bijector or list of bijectors, default="gaussian"
        "implicit": the encoder takes rows [x, eps] with standard normal eps and gives z itself, from one head (added
        where there is none), so that ``q(z | x)`` may have any form, but no density. A network T learns
        ``log q(z | x) - log p(z)``, see the Notes. Bijectors: a normalizing flow, ``z = b_1(b_2(... b_k(m + exp(s / 2)
        eps)))``, as in a Chain, of RealNVP, AffineCoupling, Planar, ``Invert(MaskedAutoregressive(...))``,
        LearnedAffine, Permute and Identity; those that are not built start as the identity. ``KL`` is then the mean of
        ``log q(z | x) - log p(z)`` over the draws.
    noise_size : int, optional
        Numbers in eps. Default: ``2 * n_components``.
    ratio : None, "linear", list of layers or lvmfast.nn.Sequential, optional
        T, which takes rows [x, z] and gives one number. Default: dense layers of the widths ``ratio_hidden``.
    ratio_hidden : tuple of int, default=(256, 256)
    ratio_steps : int, default=1
        Updates of T in a step: the last one with all the others, those before it alone, on noise of their own.
    beta : float or callable, default=1.0
        Factor of the KL divergence (of ``log p(z) / q(z | x)`` with "iwae"), or ``beta(step)``.
    optimizer : lvmfast.nn.Adam, RMSprop or SGD, optional
        Default: ``Adam(0.001)``.
    batch_size : int, default=100
    max_iter : int, default=20
        Epochs: passes over the rows.
    shuffle : bool, default=True
        Whether each pass over an array in memory has an order of its own.
    early_stopping : bool, default=False
        Whether to keep the parameters with the best bound of the rows for validation, and to stop without a better one.
        An implicit posterior has an estimate in its place, which may be too high.
    validation_fraction : float, default=0.1
        Of the rows, held out for early stopping where ``validation_data`` is not given.
    n_iter_no_change : int, default=5
        Epochs without a better one.
    dtype : float32 or float64, default=float32
        Of the arithmetic, and of what comes out.
    random_state : int, numpy.random.Generator or None
        For first parameters, orders of rows and noise.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every epoch with a :class:`VaeStatus`; a true answer stops the fit.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where the arithmetic is done. "auto": where X is.

    Attributes
    ----------
    encoder_, decoder_ : lvmfast.nn.Sequential
        With the fitted parameters; copies.
    ratio_network_ : lvmfast.nn.Sequential
        T of an implicit posterior; a copy.
    posterior_ : Chain
        The flow of a posterior, with the fitted parameters.
    log_variance_, noise_variance_ : float or array of shape (d,)
        Of the Gaussian likelihood where a variance belongs to all rows: a float for "shared"; for "batch" the average
        (of logarithms) over the data.
    history_ : dict of arrays
        Of every epoch the means over its rows of "loss" (minus the objective), "reconstruction" (minus log p(x | z))
        and "kl"; with validation, after the epoch and with ``beta = 1``, "val_loss", "val_reconstruction" and "val_kl"
        (``variance="batch"``: with averages over these rows, some hundred at a time); with an implicit posterior
        "ratio_loss", that of T, which is log 4 where T cannot tell q from the prior.
    loss_curve_ : array
        Loss of every step, before it was taken.
    n_iter_ : int
        Epochs that were finished. With early stopping the parameters are those after ``best_iter_`` of them.
    best_iter_ : int
    n_steps_ : int
    message_ : str
        Why the fit ended.
    device_ : str
    n_features_in_ : int
        Numbers in a row; with the categorical likelihood the features.
    feature_names_in_ : array
        Where X had column names.

    Notes
    -----
    ``decoder="linear"`` is probabilistic PCA with a Gaussian likelihood and ``variance="shared"``, factor analysis with
    ``variance="feature"`` and logistic factor analysis with "bernoulli".

    ``posterior="implicit"`` is adversarial variational Bayes. With z = f(x, eps),

    ``ELBO = E_eps [log p(x | z) - T*(x, z)]``, ``T* = argmin_T E_q softplus(-T(x, z)) + E_p softplus(T(x, z))``,

    and T* = log q(z | x) - log p(z). Encoder and decoder descend minus this mean with T held fixed (by Proposition 2
    the slope of E_q T* through T* is 0), the path through z counts; T descends its own loss at the same time. All
    numbers that are reported as the bound use T in the place of T*: they are estimates, which a T that lags behind
    makes too large or too small, no bounds. T learns the better the nearer q and p are: for many latents or sharp
    posteriors take more ``ratio_steps`` and wider ``ratio_hidden``. Noise enters as numbers beside those of a row, so
    that an encoder of images is one of flat rows here.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", eq. 10 and appendix B. Burda, Grosse & Salakhutdinov
    (2016), "Importance weighted autoencoders", eq. 8. Tucker, Lawson, Gu & Maddison (2019), "Doubly reparameterized
    gradient estimators for Monte Carlo objectives", eq. 8. Higgins et al. (2017), "beta-VAE", eq. 4. Jang, Gu & Poole
    (2017), "Categorical reparameterization with Gumbel-softmax", eq. 2. Mescheder, Nowozin & Geiger (2017),
    "Adversarial variational Bayes", eq. 3.3, propositions 1 and 2, algorithm 1. Rezende & Mohamed (2015), "Variational
    inference with normalizing flows", eq. 13 to 15.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.uniform(size=(500, 20)) < np.where(rng.uniform(size=(500, 1)) < 0.5, 0.1, 0.9)).astype(np.float32)
    >>> model = lvm.VAE(n_components=1, hidden=(16,), max_iter=40, random_state=0).fit(X)
    >>> model.transform(X).shape, model.sample(3, rng=0).shape
    ((500, 1), (3, 20))
    >>> bool(model.score(X) > -20 * np.log(2))
    True
    """

    def __init__(
        self,
        encoder=None,
        decoder=None,
        *,
        n_components=2,
        hidden=(256,),
        activation="relu",
        likelihood="bernoulli",
        variance="feature",
        n_classes=None,
        latent="gaussian",
        n_categories=10,
        temperature=1.0,
        n_samples=1,
        objective="elbo",
        gradient="reparameterized",
        posterior="gaussian",
        noise_size=None,
        ratio=None,
        ratio_hidden=(256, 256),
        ratio_steps=1,
        beta=1.0,
        optimizer=None,
        batch_size=100,
        max_iter=20,
        shuffle=True,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        dtype=np.float32,
        random_state=None,
        verbose=0,
        callback=None,
        device="auto",
    ):
        self.encoder = encoder
        self.decoder = decoder
        self.n_components = n_components
        self.hidden = hidden
        self.activation = activation
        self.likelihood = likelihood
        self.variance = variance
        self.n_classes = n_classes
        self.latent = latent
        self.n_categories = n_categories
        self.temperature = temperature
        self.n_samples = n_samples
        self.objective = objective
        self.gradient = gradient
        self.posterior = posterior
        self.noise_size = noise_size
        self.ratio = ratio
        self.ratio_hidden = ratio_hidden
        self.ratio_steps = ratio_steps
        self.beta = beta
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
    def fit(self, X, y=None, *, validation_data=None, n_total=None) -> VAE:
        """Fit to data, of which a step reads one batch.

        Ctrl-C ends the fit with what was reached, a :class:`FitInterruptedWarning` and a model that works. An error
        after the first step (numbers that overflow, a bad row in a file) is raised, and the model keeps what was
        reached, too: :meth:`resume` goes on.

        Parameters
        ----------
        X : array of shape (n, ...), or an iterable of batches
            Rows of any shape, which is that of the encoder's input: NumPy or CuPy arrays, data frames, memory maps, and
            what has a shape, a dtype and slices of rows (datasets of HDF5, zarr arrays), of which no more than some
            blocks are in memory; or an iterable, or a callable that returns a new one for every pass, of batches, one
            for each step: arrays (b, ...), tuples that begin with one, or dicts with the key "X".
        y : ignored
        validation_data : array of shape (m, ...), optional
            Rows whose bound is found after every epoch; also read in pieces.
        n_total : int, optional
            Rows of the whole data, where an iterable does not tell.

        Returns
        -------
        self : VAE

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is as it was, unless a step had been taken.
        SourceEndedError
            If batches end before the epochs do.
        NonFiniteError
            If a bound or a gradient is not finite; the error names the row.
        """
        self._fit(X, validation_data, n_total)
        return self

    @_backend.memory_errors
    def resume(self, X, y=None, *, max_iter=None, validation_data=None, n_total=None) -> VAE:
        """Go on with a fit that was interrupted, stopped, checkpointed or ended by ``max_iter``, with its data.

        The result is the same, bit for bit on the CPU, as of a fit that had not stopped (with the same parameters and
        the same versions of lvmfast and BLAS). An iterable that can be started again is read up to its place; an
        iterator goes on where it stands.

        Parameters
        ----------
        X, validation_data, n_total
            As for :meth:`fit`: the data of the fit.
        y : ignored
        max_iter : int, optional
            New limit, which replaces the parameter ``max_iter``.

        Returns
        -------
        self : VAE
        """
        self._resume(X, max_iter, validation_data, n_total)
        return self

    @_backend.memory_errors
    def partial_fit(self, X, y=None) -> VAE:
        """One step with these rows, from where the model is; for data that come in pieces.

        Parameters
        ----------
        X : array of shape (b, ...)
            A batch.
        y : ignored

        Returns
        -------
        self : VAE
        """
        self._partial_fit(X)
        return self

    def save(self, path) -> None:
        """Write the fitted model, with all that :meth:`resume` needs but the data, to one ``.npz`` file (no pickle)."""
        check_is_fitted(self)
        save_vae(self, path)

    @classmethod
    def load(cls, path) -> VAE:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_vae(cls, path)

    @property
    def _n_features_out(self) -> int:
        return self._problem.codes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        try:
            tags.transformer_tags.preserves_dtype = [np.dtype(self.dtype).name]
        except TypeError:
            tags.transformer_tags.preserves_dtype = []
        return tags
