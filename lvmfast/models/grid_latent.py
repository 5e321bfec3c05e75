"""Nonlinear latent-variable models with few latents, summed over a grid."""

from __future__ import annotations

import time
import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast._validation import check_columns, check_integer
from lvmfast.models._grid_latent_arguments import GridArguments
from lvmfast.models._grid_latent_density import (
    checked_points,
    log_normal,
    mapped,
    number_or_numbers,
    rows_at_once,
)
from lvmfast.models._grid_latent_file import load_grid_latent, save_grid_latent
from lvmfast.models._grid_latent_fit import GridStatus, started
from lvmfast.models._grid_latent_fitting import GridFitting, mark_of
from lvmfast.models._grid_latent_posterior import GridPosterior
from lvmfast.models._grid_latent_rule import make_rule
from lvmfast.models._lbfgs_fit import first_state
from lvmfast.nn import Sequential
from lvmfast.random import named_seeds, normal, seed_of

__all__ = ["GridLatentModel", "GridPosterior", "GridStatus"]


class GridLatentModel(
    GridFitting, GridArguments, ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator
):
    r"""``x = f(z) + e``, ``e ~ N(0, noise_variance)``, with one or two latents z that are summed over a grid:

    ``p(x) = integral N(x; f(z), noise_variance) prior(z) dz ~= sum_k w_k prior(z_k) N(x; f(z_k), noise_variance)``.

    With a map f and a noise that are known the model is complete: densities, posteriors and draws need no fit. ``fit``
    maximises ``sum_i log p(x_i)`` over the noise variance and, where f is a network, over its parameters.

    Parameters
    ----------
    f : callable or lvmfast.nn.Sequential
        From latents (m, q) to their places (m, d) in the data space, or to a tuple of d arrays of m numbers. A network
        that is not built starts ``fit`` at the plane of the first principal components (of standardised columns, if
        each has a noise), another one at its parameters.
    noise_variance : float > 0 or array of shape (d,), optional
        Of all columns, or of each; where ``fit`` starts. Without it ``fit`` starts at the mean squared distance of the
        rows from the nearest ``f(z_k)``.
    prior : lvmfast.distributions.Distribution, optional
        Of the latents: of vectors (q,), or of numbers, which are independent. Default: ``Normal(0, 1)``.
    grid : array of shape (m,), Mesh, "gauss-hermite" or (latents, weights), optional
        An array of increasing latents, or a :func:`lvmfast.grids.mesh` of two: middles of cells that meet half way,
        whose volumes are w_k (numbers h apart all weigh h). "gauss-hermite": the nodes for a normal prior. A pair: a
        rule of one's own, (m, q) and (m,). Default: equal cells to where 1e-9 of a normal prior is left on either side.
    n_grid : int, optional
        Latents along each dimension, where the grid is not given: default 1001 cells for one and 101 for two, 64 and 32
        nodes.
    n_components : int, default=1
        q, 1 or 2.
    normalize : bool, default=False
        Divide by the prior's mass on the grid, so that densities integrate to 1 whatever it leaves out.
    learn_noise : bool, default=True
        False keeps the noise variance.
    max_iter : int, default=200
        Iterations of L-BFGS-B at most.
    tol : float, default=1e-6
        Stop when the gradient of the loss is below it, or an iteration changes the loss by a thousandth of it.
    verbose : int, default=0
        1 shows a progress bar.
    callback : callable, optional
        ``callback(status)`` after every iteration with a :class:`GridStatus`; a true answer stops the fit.
    random_state : int, numpy.random.Generator or None
        For the first parameters of a network, and for ``sample``.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where a fit is done. "auto": where the data are. Everything else happens where its arguments are.

    Attributes
    ----------
    f_ : callable or Sequential
        The map: f itself, or a network in float64 with the fitted parameters.
    noise_variance_ : float or ndarray of shape (d,)
    log_likelihood_ : float
        ``sum_i log p(x_i)`` of the data of the fit, nats.
    loss_curve_ : ndarray
        Minus the mean of log p(x_i) after every iteration.
    n_iter_, n_evaluations_ : int
    converged_ : bool
    message_ : str
        Why the fit ended.
    device_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray
        Where X had column names.

    Notes
    -----
    Up to 16 columns nothing of the size (n, m) is held but by :meth:`posterior`, which returns it; with more, a tile of
    it. A density is evaluated with the largest term taken out, and is right however small it is. On a
    :func:`lvmfast.grids.mesh` of the data space the sum over the grid is a matrix product of exponentials along the
    axes. The sum is the integral where neighbours ``f(z_k)`` lie no further apart than a standard deviation of the
    noise; much further apart, as with "gauss-hermite" and little noise, it is the density of a row of separate normals:
    raise ``n_grid``. Fits are in float64. A network is fitted to a fixed grid, as the generative topographic mapping
    is. A noise that is learned stays above a hundred millionth of the data's variance, or of its column's.

    References
    ----------
    Prince (2023), "Understanding deep learning", section 17.1-17.2 (the model, eq. 17.19 its posterior). Bishop,
    Svensén & Williams (1998), "GTM: the generative topographic mapping", Neural Computation 10, eq. 2.3 and 2.6.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> def f(z):
    ...     return 0.5 * np.exp(np.sin(2 + 3.675 * z)), np.cos(2 + 2.85 * z)
    >>> model = lvm.GridLatentModel(f, 0.04, grid=np.arange(-3, 3, 0.01))
    >>> model.log_density([[0.9, -0.9]]).round(4)
    array([-1.2174])
    >>> posterior = model.posterior([[0.9, -0.9]])
    >>> posterior.mode.round(2)
    array([[0.17]])
    """

    def __init__(
        self,
        f,
        noise_variance=None,
        *,
        prior=None,
        grid=None,
        n_grid=None,
        n_components=1,
        normalize=False,
        learn_noise=True,
        max_iter=200,
        tol=1e-6,
        verbose=0,
        callback=None,
        random_state=None,
        device="auto",
    ):
        self.f = f
        self.noise_variance = noise_variance
        self.prior = prior
        self.grid = grid
        self.n_grid = n_grid
        self.n_components = n_components
        self.normalize = normalize
        self.learn_noise = learn_noise
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.callback = callback
        self.random_state = random_state
        self.device = device

    # Densities, posteriors, draws.

    @_backend.memory_errors
    def log_likelihood(self, X, Z):
        """``log N(x_i; f(z_i), noise_variance)``, nats.

        Parameters
        ----------
        X : array of shape (n, d), or Mesh
        Z : array of shape (n, q) or (1, q), or a number where q is 1
            One row serves all of X, and one row of X all of Z.

        Returns
        -------
        array of shape (n,)
        """
        self._checked()
        check_columns(X, getattr(self, "feature_names_in_", None))
        Z = self._latents(Z)
        F = mapped(self._map(), _backend.to_numpy(Z).astype(np.float64))
        X = checked_points(X, F.shape[1])
        if len(X) != len(F) and 1 not in (len(X), len(F)):
            raise ValueError(f"Z must have one row or the {len(X)} of X, got {len(F)}")
        return log_normal(X, F, self._noise(F.shape[1]))

    @_backend.memory_errors
    def log_density(self, X):
        """``log p(x_i)``, nats; -inf where it is below all numbers.

        Parameters
        ----------
        X : array of shape (n, d), or Mesh
            A :func:`lvmfast.grids.mesh` of the data space is several times faster than its points; ``X.reshape`` turns
            the result into its shape.

        Returns
        -------
        array of shape (n,)
            In float32 if X is.

        Raises
        ------
        ValueError
            If X has NaN or not the columns that f returns, or f or the grid are not what they must be.
        """
        check_columns(X, getattr(self, "feature_names_in_", None))
        return self._density().log_density(X)

    @_backend.memory_errors
    def posterior(self, X) -> GridPosterior:
        """``p(z | x_i)`` on the grid; see :class:`GridPosterior`.

        A row whose density is 0 in floating point has no posterior: a RuntimeWarning, ``supported`` False, NaN.

        Parameters
        ----------
        X : array of shape (n, d), or Mesh
            The posterior holds (n, m) numbers.
        """
        check_columns(X, getattr(self, "feature_names_in_", None))
        log_p, shares = self._density().shares(X)
        lost = int((log_p == -np.inf).sum())
        if lost:
            warnings.warn(
                f"{lost} of {len(log_p)} rows of X have density 0 in floating point, and no posterior: theirs is NaN",
                RuntimeWarning,
                stacklevel=3,
            )
        return GridPosterior(self._rule(), shares, log_p)

    def sample(self, n=1, *, rng=None, return_latents=False):
        """Draws ``x = f(z) + e``, z from the prior itself, not from the grid.

        Parameters
        ----------
        n : int, default=1
        rng : None, int or numpy random generator, optional
            None: the estimator's ``random_state``.
        return_latents : bool, default=False

        Returns
        -------
        X : ndarray of shape (n, d), float64
        Z : ndarray of shape (n, q)
            Only with ``return_latents``.
        """
        self._checked()
        n, prior = check_integer(n, "n", 1), self._prior()
        seeds = named_seeds(seed_of(self.random_state if rng is None else rng), ("latents", "noise"))
        shared = not prior.event_shape and not prior.batch_shape
        Z = prior.sample((n, self.n_components) if shared else n, rng=seeds["latents"])
        Z = np.asarray(_backend.to_numpy(Z), np.float64)
        X = mapped(self._map(), Z)
        noise = np.sqrt(self._noise(X.shape[1]))
        X += noise * normal(size=X.shape, rng=seeds["noise"])
        return (X, Z) if return_latents else X

    def prior_mass(self) -> float:
        """``sum_k w_k prior(z_k)``, to which ``p(x)`` integrates without ``normalize``."""
        return self._rule().prior_mass

    def score_samples(self, X):
        """:meth:`log_density`, by scikit-learn's name."""
        return self.log_density(self._new_rows(X))

    def score(self, X, y=None) -> float:
        """The mean of :meth:`log_density`, nats a row."""
        return float(self.score_samples(X).mean())

    @_backend.memory_errors
    def transform(self, X):
        """Posterior means ``E[z | x_i]``.

        Parameters
        ----------
        X : array of shape (n, d)

        Returns
        -------
        array of shape (n, q)
            NaN where the density of a row is 0 in floating point.
        """
        density, rule = self._density(), self._rule()
        X = checked_points(self._new_rows(X), density.d)
        step, xp = rows_at_once(len(rule.latents)), _backend.namespace(X)
        Z = xp.empty((len(X), self.n_components), X.dtype)
        for i in range(0, len(X), step):
            Z[i : i + step] = density.shares(X[i : i + step])[1] @ xp.asarray(rule.latents, X.dtype)
        return Z

    def inverse_transform(self, Z):
        """``f(z)``: the mean of the data at latents.

        Parameters
        ----------
        Z : array of shape (m, q), or (m,) where q is 1

        Returns
        -------
        array of shape (m, d)
        """
        self._checked()
        Z = self._latents(Z)
        return _backend.like(mapped(self._map(), _backend.to_numpy(Z).astype(np.float64)), Z).astype(
            Z.dtype, copy=False
        )

    # Fits.

    @_backend.memory_errors
    def fit(self, X, y=None) -> GridLatentModel:
        """Maximise ``sum_i log p(x_i)`` over the noise variance and a network's parameters.

        Ctrl-C ends it with what was reached, a :class:`FitInterruptedWarning` and a model that can be used, saved and
        resumed.

        Parameters
        ----------
        X : array of shape (n, d)
            At least 2 rows of finite numbers.
        y : ignored

        Returns
        -------
        self : GridLatentModel

        Raises
        ------
        ValueError, TypeError
            For bad arguments or data; the model is then as it was.
        """
        begun = time.perf_counter()
        self._checked()
        data = self._data(X)
        rule, device = make_rule(self.grid, self.n_grid, self._prior(), self.n_components), self._device(X)
        seed = named_seeds(seed_of(self.random_state), ("network",))["network"]
        f = self.f
        if isinstance(f, Sequential):
            given = 1.0 if self.noise_variance is None else number_or_numbers(self.noise_variance)
            f = started(f, self.n_components, seed, data, rule, given, device)
        noise = self._first_noise(data, f, rule)
        objective = self._objective(data, f, rule, noise, device)
        self._run(X, data, objective, first_state(objective.initial(), objective.bounds()), begun)
        return self

    @_backend.memory_errors
    def resume(self, X, max_iter=None) -> GridLatentModel:
        """Go on with a fit that was interrupted, stopped, checkpointed or ended by ``max_iter``, bit for bit.

        Parameters
        ----------
        X : array of shape (n, d)
            The data of the fit.
        max_iter : int, optional
            New limit, which replaces the parameter ``max_iter``.

        Returns
        -------
        self : GridLatentModel
        """
        begun = time.perf_counter()
        check_is_fitted(self, "noise_variance_")
        limit = self.max_iter if max_iter is None else max_iter
        if check_integer(limit, "max_iter", 1) < self.n_iter_:
            raise ValueError(f"max_iter must be >= n_iter_ = {self.n_iter_}, which are done, got {limit}")
        self._checked()
        data = self._data(X, reset=False)
        if not np.array_equal(mark_of(data), self._state["mark"]):
            raise ValueError("X must be the data of the fit to resume it, got others; fit anew")
        rule, device = make_rule(self.grid, self.n_grid, self._prior(), self.n_components), self._device(X)
        f = self.f_
        if isinstance(f, Sequential):
            f = Sequential(f.layers).build(f.input_shape, np.float64, seed=0, device=device)
        objective = self._objective(data, f, rule, self.noise_variance_, device)
        if len(self._state["theta"]) != objective.size:
            raise ValueError(
                f"f and learn_noise must be those of the fit to resume it, which had {len(self._state['theta'])} "
                f"parameters, got {objective.size}"
            )
        state, before, self.max_iter = self._state, self.max_iter, limit
        try:
            self._run(X, data, objective, state, begun)
        except BaseException:
            if self._state is state:
                self.max_iter = before
            raise
        return self

    def save(self, path) -> None:
        """Write the fitted model, with all that :meth:`resume` needs but the data, to one ``.npz`` file (no pickle).

        f must be a network: a file holds no code.
        """
        check_is_fitted(self, "noise_variance_")
        save_grid_latent(self, path)

    @classmethod
    def load(cls, path) -> GridLatentModel:
        """A model that :meth:`save` wrote. A callback is not part of the file."""
        return load_grid_latent(cls, path)

    @property
    def _n_features_out(self) -> int:
        return self.n_components
