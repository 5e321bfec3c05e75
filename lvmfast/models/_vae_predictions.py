"""What a fitted autoencoder says of rows: codes, reconstructions, draws, bounds and estimates of log p(x)."""

from __future__ import annotations

import math
import sys

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend, random
from lvmfast._minibatches import as_source
from lvmfast._validation import as_float_array, check_integer
from lvmfast.models._vae_checks import check_parameters
from lvmfast.models._vae_data import Form, Stream, blocks, streams
from lvmfast.models._vae_fit import Settings
from lvmfast.models._vae_problem import CODE_DRAWS, drawn
from lvmfast.models._vae_work import seeds_of
from lvmfast.random import seed_of

PIECE_ROWS = 4096  # of a file at once
WEIGHT_NUMBERS = 1 << 23  # of networks and noise at once in log_likelihood
MOMENT_DRAWS = 256  # of an implicit posterior, whose moments make a proposal
WIDER = 2.0  # times the variances that they show

__all__ = ["VaePredictions"]


class VaePredictions:
    """Methods of :class:`VAE` that need a fit."""

    def transform(self, X, return_std=False):
        """The codes: means m of ``q(z | x) = N(m, exp(s))``, or the probabilities of categorical latents.

        With another posterior than "gaussian" the means (and standard deviations) of 64 draws of z for each row, from
        the same noise for all rows, which the fit's seed gives.

        Parameters
        ----------
        X : array of shape (n, ...)
            As in :meth:`fit`; also a memory map or a dataset in a file, of which some rows are read at a time.
        return_std : bool, default=False
            Of latents that are not categorical: also the standard deviations, ``exp(s / 2)``.

        Returns
        -------
        codes : array of shape (n, n_components) or (n, n_components * n_categories)
            In the model's dtype.
        std : array of shape (n, n_components)
            Only with ``return_std``.
        """
        problem = self._ready()
        if return_std and problem.categories:
            raise ValueError("return_std must be False with latent='categorical': codes are probabilities, got True")
        if problem.posterior != "gaussian":
            seed, parts = seeds_of(int(self._state["seed"]))["score"], []
            for x in self._blocks(X, PIECE_ROWS):
                z = problem.draws(x, CODE_DRAWS, seed)
                parts.append((z.mean(axis=1), z.std(axis=1)))
            mean = self._joined([part[0] for part in parts], X)
            return (mean, self._joined([part[1] for part in parts], X)) if return_std else mean
        parts = [problem.encode(x) for x in self._blocks(X, PIECE_ROWS)]
        if problem.categories:
            return self._joined(parts, X)
        mean = self._joined([part[0] for part in parts], X)
        if not return_std:
            return mean
        std = self._joined([part[1] for part in parts], X)
        return mean, _backend.namespace(std).exp(0.5 * std)

    def inverse_transform(self, Z):
        """The means of x for codes: of Bernoulli features and of classes the probabilities.

        Parameters
        ----------
        Z : array of shape (n, n_components), or (n, n_components * n_categories) of categorical latents

        Returns
        -------
        array of shape (n, ...)
            In the shape of X; (n, ..., n_classes) with the categorical likelihood.
        """
        problem = self._ready()
        z = as_float_array(Z, "Z")
        if z.ndim != 2 or z.shape[1] != problem.codes:
            raise ValueError(f"Z must have shape (n, {problem.codes}), got {z.shape}")
        with np.errstate(over="ignore"):
            placed = problem.placed(z)
        if not bool(_backend.namespace(placed).isfinite(placed).all()):
            raise ValueError(f"Z must be finite in {problem.dtype}, got NaN, infinite or too large numbers")
        means = problem.decode(placed)[0]
        return _backend.like(means, z).reshape(len(z), *self._form_of_fit().full_shape)

    def reconstruct(self, X, *, rng=None):
        """The means of x for the codes of rows, ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array of shape (n, ...)
        rng : int or numpy.random.Generator, optional
            Draws the codes from q(z | x) instead of taking their means.

        Returns
        -------
        array of shape (n, ...)
        """
        problem = self._ready()
        if rng is None:
            return self.inverse_transform(self.transform(X))
        seed, parts = seed_of(rng), []
        for k, x in enumerate(self._blocks(X, PIECE_ROWS)):
            eps = self._noise(problem, problem.drawn, len(x), seed, k * PIECE_ROWS)
            parts.append(problem.decode(problem.draw(x, eps))[0])
        means = self._joined(parts, X)
        return means.reshape(len(means), *self._form_of_fit().full_shape)

    def sample(self, n=1, *, rng=None, return_mean=False):
        """Rows drawn from the model: z from its prior, x given z.

        Parameters
        ----------
        n : int, default=1
        rng : None, int or numpy.random.Generator
        return_mean : bool, default=False
            The means of x given the z drawn, not draws of x.

        Returns
        -------
        array of shape (n, ...)
            As X was; numbers of classes where X held these, else one-hot ones.
        """
        problem, form = self._ready(), self._form_of_fit()
        n, seed = check_integer(n, "n", 1), seed_of(rng)
        seeds = seeds_of(seed)
        parts = []
        for first in range(0, n, PIECE_ROWS):
            rows = min(PIECE_ROWS, n - first)
            z = self._noise(problem, problem.codes, rows, seeds["noise"], first)
            if problem.categories:
                z = drawn(problem, _backend.namespace(z).full_like(z, 1.0 / problem.categories), z)
            mean, head = problem.decode(z)
            x = mean if return_mean else self._observed(problem, mean, head, seeds["score"], first)
            parts.append(x)
        x = _backend.namespace(*parts).concatenate(parts)
        x = x if self._on_gpu else _backend.to_numpy(x)
        shaped = x.reshape(n, *form.full_shape)
        return shaped.argmax(axis=-1) if form.codes and not return_mean else shaped

    def _observed(self, problem, mean, head, seed: int, first: int):
        """x given its means; rows first, first + 1, ... of a sample."""
        xp = _backend.namespace(mean)
        where = {"rng": seed, "dtype": problem.dtype, "device": problem.device}
        if problem.likelihood == "gaussian":
            scale = xp.exp(0.5 * problem.log_variances(self._theta, head, self._average))
            return mean + scale * random.normal(size=mean.shape, start=first * problem.width, **where)
        if problem.likelihood == "bernoulli":
            u = random.uniform(size=mean.shape, start=first * problem.width, **where)
            return (u < mean).astype(problem.dtype)
        groups = mean.reshape(len(mean), -1, problem.classes)
        u = random.uniform(size=groups.shape[:2], start=first * groups.shape[1], **where)
        chosen = (u[:, :, None] > groups.cumsum(axis=2)[:, :, :-1]).sum(axis=2)
        return (chosen[:, :, None] == xp.arange(problem.classes)).astype(problem.dtype).reshape(mean.shape)

    def score(self, X, y=None) -> float:
        """The bound in nats, mean over the rows: the ELBO, or for ``objective="iwae"`` that of ``n_samples`` weights.

        With ``beta = 1`` and noise that the fit's seed gives: the same number in every call. With
        ``posterior="implicit"`` the ratio network stands for log q(z | x) - log p(z), and the number is an estimate of
        the bound that may lie on either side of it, and above log p(x); :meth:`log_likelihood` does not use it.

        Parameters
        ----------
        X : array of shape (n, ...)
        y : ignored

        Returns
        -------
        float
        """
        problem, iwae = self._ready(), self.objective == "iwae"
        check_parameters(self)
        held = self._blocks(X, problem.rows_at_once(self.n_samples))
        seed = seeds_of(int(self._state["seed"]))["score"]
        with _backend.blas_threads(1):
            terms = problem.terms(self._theta, held, self.n_samples, iwae, seed, self._temperature, self._average)
        return float(terms[:, 0].mean())

    def log_likelihood(self, X, *, n_samples=1000, return_std=False):
        """``log p(x) ~ log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x)``, z_k drawn from q, for every row, in nats.

        The estimate is a lower bound in expectation, which rises with K. With ``posterior="implicit"``, q is the normal
        distribution with the mean and twice the covariance of 256 draws of z. Rows and draws are worked on in
        pieces of at most 8 million numbers (34 MB in float32; more only where one row and one draw need more).

        Parameters
        ----------
        X : array of shape (n, ...)
        n_samples : int, default=1000
            K.
        return_std : bool, default=False
            Also the standard errors, by the delta method: ``std(w) / (sqrt(K) mean(w))`` with the weights w, NaN of
            one. They are too small where few weights count for nearly all.

        Returns
        -------
        log_likelihood : ndarray of shape (n,)
            float64.
        std : ndarray of shape (n,)
            Only with ``return_std``.

        Raises
        ------
        ValueError
            With categorical latents, whose relaxed draws have no density in closed form here.

        References
        ----------
        Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8.
        """
        problem, count = self._ready(), check_integer(n_samples, "n_samples", 1)
        if problem.categories:
            raise ValueError("log_likelihood needs latent='gaussian': relaxed draws of 'categorical' have no weights")
        if problem.implicit:
            return self._by_proposal(problem, X, count, return_std)
        each = problem.encoder.graph.kept + problem.decoder.graph.kept + problem.flow_kept
        each += 2 * (problem.codes + problem.width)
        draws = max(1, min(count, WEIGHT_NUMBERS // each))
        rows = max(1, min(PIECE_ROWS, WEIGHT_NUMBERS // (each * draws)))
        compiled, seed = problem.compiled(1, True), seeds_of(int(self._state["seed"]))["likelihood"]
        theta = problem.placed(self._theta)
        fixed = problem.placed(problem.fixed if self._average is None else self._average)
        found, start = [], 0
        for x in self._blocks(X, rows):
            sums = _Sums(len(x))
            for first in range(0, count, draws):
                size = rows, min(draws, count - first), problem.codes
                where = {"rng": seed, "start": start, "dtype": problem.dtype, "device": problem.device}
                eps = random.normal(size=size, **where)[: len(x)]
                start += math.prod(size)
                sums.add(_backend.to_numpy(compiled.log_weights(theta, fixed, x, eps)))
            found.append(sums.result())
        values, errors = np.concatenate([np.empty((2, 0)), *found], axis=1)
        return (values, errors) if return_std else values

    def _by_proposal(self, problem, X, count: int, return_std: bool):
        """log_likelihood with codes of a normal distribution for each row, which has the moments of the posterior's."""
        each = problem.decoder.graph.kept + 2 * (problem.codes + problem.width)
        draws = max(1, min(count, WEIGHT_NUMBERS // each))
        rows = max(1, min(PIECE_ROWS, WEIGHT_NUMBERS // (each * draws)))
        compiled, seeds, size = problem.compiled(1, False), seeds_of(int(self._state["seed"])), problem.codes
        theta = problem.placed(self._theta)
        fixed = problem.placed(problem.fixed if self._average is None else self._average)
        found, start = [], 0
        for x in self._blocks(X, rows):
            z = problem.draws(x, max(MOMENT_DRAWS, 4 * size), seeds["score"])
            z = _backend.to_numpy(z).astype(np.float64)
            mean = z.mean(axis=1, keepdims=True)
            covariance = WIDER * np.swapaxes(z - mean, 1, 2) @ (z - mean) / z.shape[1]
            least = 1e-6 * np.trace(covariance, axis1=1, axis2=2) / size + 1e-10
            factor = np.linalg.cholesky(covariance + least[:, None, None] * np.eye(size))
            log_det = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)[:, None]
            sums = _Sums(len(x))
            for first in range(0, count, draws):
                shape = rows, min(draws, count - first), size
                eps = random.normal(size=shape, rng=seeds["likelihood"], start=start)[: len(x)]
                start += math.prod(shape)
                z = problem.placed(mean + eps @ np.swapaxes(factor, 1, 2))
                log_p = _backend.to_numpy(compiled.log_likelihoods(theta, fixed, x, z))
                ratio = 0.5 * (eps**2 - _backend.to_numpy(z).astype(np.float64) ** 2).sum(axis=2) + log_det
                sums.add(log_p + ratio)
            found.append(sums.result())
        values, errors = np.concatenate([np.empty((2, 0)), *found], axis=1)
        return (values, errors) if return_std else values

    def elbo(self, X, *, eps=None, theta=None, gradient=False):
        """The objective of a step with all rows of X, mean over the rows, in nats: a function of theta and the noise.

        ``beta`` and ``temperature`` are those of the step that would come next. All rows are worked on at once, so
        that memory grows with their number; :meth:`score` takes them in pieces.

        Parameters
        ----------
        X : array of shape (n, ...)
        eps : array of shape (n, L, D), optional
            Standard normal noise, or Gumbel's of categorical latents; with ``posterior="implicit"`` (n, L, noise_size +
            D), behind the encoder's noise a code of the prior. Default: some of the fit's seed.
        theta : array of shape (p,), optional
            Parameters of the encoder, of the decoder, free log variances, and with ``posterior="implicit"`` of the
            ratio network, with a flow its own, those of the last bijector in the list first. Default: the fitted ones.
        gradient : bool, default=False

        Returns
        -------
        value : float
        gradient : array of shape (p,)
            By theta; only with ``gradient``. With ``gradient="dreg"`` that estimate of it; with
            ``posterior="implicit"`` by the ratio network's parameters that of minus its own loss, which is not part of
            value.
        """
        problem = self._ready()
        check_parameters(self)
        x = next(iter(self._blocks(X, None)))
        settings = Settings.of(self)
        step = self.n_steps_
        compiled = problem.compiled(self.n_samples, self.objective == "iwae", self.gradient == "dreg")
        if eps is None:
            eps = compiled.noise(seeds_of(int(self._state["seed"]))["score"], 0, len(x))
        else:
            eps = problem.placed(as_float_array(eps, "eps"))
            if eps.ndim != 3 or eps.shape[0] != len(x) or not eps.shape[1] or eps.shape[2] != problem.noise_size:
                raise ValueError(f"eps must have shape ({len(x)}, L, {problem.noise_size}), got {eps.shape}")
        if theta is None:
            theta = self._theta
        else:
            theta = as_float_array(theta, "theta")
            if theta.shape != (problem.size,):
                raise ValueError(f"theta must have shape ({problem.size},), got {theta.shape}")
        beta, temperature = (float(settings.values(name, step, 1)[0]) for name in ("beta", "temperature"))
        with _backend.blas_threads(1):
            terms, slope = compiled.evaluate(
                problem.placed(theta), problem.placed(problem.fixed), x, eps, beta, temperature, bool(gradient)
            )
        value = float(_backend.to_numpy(terms)[:, 0].mean())
        return (value, _backend.like(-slope, X)) if gradient else value

    # What they share.

    def _ready(self):
        check_is_fitted(self)
        return self._problem

    def _form_of_fit(self) -> Form:
        problem = self._problem
        form = Form(problem.likelihood, problem.classes, problem.dtype)
        form.shape, form.codes = self._shape, self._codes
        return form

    def _blocks(self, X, size):
        """Rows as numbers on the device, ``size`` at a time, or all at once for None."""
        form, problem = self._form_of_fit(), self._problem
        if streams(X):
            if hasattr(X, "__next__"):  # before its first batch is used up
                raise TypeError(
                    "X must be rows, or batches that can be read again (a list, a callable), got an iterator"
                )
            source = as_source(X, needs_y=False, device=problem.device, dtype=form.read_dtype, needs_total=False)
            return Stream(source, form).blocks(size or source.n_total or sys.maxsize)
        x = _backend.to_device(form.array(self, X, False)[0], problem.device)
        return blocks(x, size or len(x))

    @staticmethod
    def _noise(problem, width: int, rows: int, seed: int, first: int):
        """Standard normal (rows, width), or Gumbel's, of rows first, first + 1, ..."""
        where = {"size": (rows, width), "rng": seed, "start": first * width}
        where |= {"dtype": problem.dtype, "device": problem.device}
        if not problem.categories:
            return random.normal(**where)
        xp = _backend.namespace_on(problem.device)
        return -xp.log(random.exponential(**where))

    def _joined(self, parts, X):
        """One array, where X is."""
        if not parts:
            raise ValueError("X must have at least one row, got none")
        whole = _backend.namespace(*parts).concatenate(parts) if len(parts) > 1 else parts[0]
        return _backend.like(whole, X)


class _Sums:
    """``log mean w`` and its error from log w that come in pieces."""

    def __init__(self, rows: int):
        self.count, self.top = 0, np.full(rows, -np.inf)
        self.first, self.second = np.zeros(rows), np.zeros(rows)

    def add(self, log_w: np.ndarray) -> None:
        top = np.maximum(self.top, log_w.max(axis=1))
        shift = np.exp(self.top - top)
        w = np.exp(log_w - top[:, None])
        self.first, self.second = self.first * shift + w.sum(axis=1), self.second * shift**2 + (w * w).sum(axis=1)
        self.top, self.count = top, self.count + log_w.shape[1]

    def result(self) -> np.ndarray:
        mean = self.first / self.count
        squares = np.maximum(self.second - self.count * mean**2, 0.0)
        error = (
            np.sqrt(squares / ((self.count - 1) * self.count)) / mean if self.count > 1 else np.full_like(mean, np.nan)
        )
        return np.stack([self.top + np.log(mean), error])
