"""How fits of a density ratio begin, run and end, on the estimator."""

from __future__ import annotations

import copy
import time
import warnings

import numpy as np
from scipy.optimize import minimize
from tqdm.auto import tqdm

from lvmfast import _backend
from lvmfast._interrupt import deferred_interrupt
from lvmfast.divergences import overlap
from lvmfast.exceptions import DisjointSupportsWarning, FitInterruptedWarning
from lvmfast.models._ratio_checks import NETWORKS
from lvmfast.models._ratio_data import RatioData, Sample, scaled, seeds_of
from lvmfast.models._ratio_kernels_kliep import fit_kliep
from lvmfast.models._ratio_kernels_ulsif import fit_ulsif
from lvmfast.models._ratio_loss import loss_for, loss_function
from lvmfast.models._ratio_network import RatioRun, build_network
from lvmfast.nn import RMSprop

FAR = 1e18  # standard deviations from the mean, where rows are held: float32 has their sums
FORM = ("method", "standardize", "class_weight", "loss", "f", "calibrate", "early_stopping", "validation_fraction")
FORM += ("batch_size", "n_bridges")

__all__ = ["RatioFitting", "RatioStatus"]


class RatioStatus:
    """What a callback is told after every epoch.

    Attributes
    ----------
    iteration : int
        Epochs so far, from 1, of the network that is learned.
    network : int
        Which one, from 0 ("telescoping" has several).
    loss : float
        Of the last step, before it.
    val_loss : float or None
    elapsed : float
        Seconds since this call of ``fit`` or ``resume`` began.
    """

    def __init__(self, iteration, network, loss, val_loss, elapsed, model):
        self.iteration, self.network, self.loss, self.val_loss = iteration, network, loss, val_loss
        self.elapsed, self._model = elapsed, model

    def __repr__(self) -> str:
        more = "" if self.val_loss is None else f", val_loss={self.val_loss:.6g}"
        return f"RatioStatus(iteration={self.iteration}, loss={self.loss:.6g}{more}, elapsed={self.elapsed:.1f})"

    def model(self):
        """A fitted model with what was reached."""
        return self._model()

    def save(self, path) -> None:
        """Write a checkpoint: ``DensityRatio.load(path).resume(X_p, X_q)`` goes on from here."""
        self.model().save(path)


class RatioFitting:
    """From samples to runs, and from there to fitted attributes."""

    def _fit_from(self, data: RatioData, seed: int, begun: float) -> None:
        if self.method in NETWORKS:
            self._go(data, self._runs(data, seed), seed, begun)
        else:
            self._fit_kernels(data, seed)

    def _fit_kernels(self, data: RatioData, seed: int) -> None:
        rng = np.random.Generator(np.random.Philox(key=seeds_of(seed)["centers"]))
        more = {"n_centers": self.n_centers, "lengthscales": self.lengthscales, "rng": rng, "standardize": False}
        if self.method == "kliep":
            expansion = fit_kliep(data.p.X, data.q.X, n_folds=self.n_folds, **more)
        else:
            alpha = self.alpha if self.method == "rulsif" else 0.0
            expansion = fit_ulsif(data.p.X, data.q.X, alpha=alpha, regularizations=self.regularizations, **more)
        self._common(data, {"seed": np.array(seed, np.uint64)})
        self._networks, self.expansion_ = [], expansion
        self.calibration_, self.n_iter_, self.best_iter_ = (1.0, 0.0), 1, 1
        self.loss_curve_, self.validation_loss_ = np.empty(0), np.empty(0)
        self.message_ = "fitted in closed form" if self.method != "kliep" else "fitted to the optimum"
        self._overlap(data)

    def _runs(self, data: RatioData, seed: int) -> list[RatioRun]:
        """One for every network."""
        seeds, optimizer = seeds_of(seed), RMSprop() if self.optimizer is None else self.optimizer
        widths = tuple(np.atleast_1d(self.hidden).tolist())
        f = loss_function(self.loss, self.f)
        several = self.method == "telescoping"
        samples = self._waypoints(data, seeds["pairs"]) if several else [(data.p, data.q, data.held)]
        runs = []
        for k, (p, q, held) in enumerate(samples):
            network = build_network(
                self.network, widths, self.activation, len(data.mean), (seeds["network"] + k) % 2**64, self.dtype,
                data.device,
            )  # fmt: skip
            X, weights = data.joined(network.dtype, p, q, balanced=data.balanced or several)
            watched = None
            if held is not None:
                watched = data.joined(network.dtype, *held, balanced=data.balanced or several)
            runs.append(
                RatioRun(
                    network, loss_for(network, f), optimizer, X, weights, self.batch_size,
                    (seeds["order"] + k) % 2**64, watched if self.early_stopping or held is data.held else None,
                    self.n_iter_no_change if self.early_stopping else None,
                )
            )  # fmt: skip
        return runs

    def _waypoints(self, data: RatioData, seed: int) -> list[tuple]:
        """Pairs of neighbours ``x_k = sqrt(1 - a_k^2) x_q + a_k x_p``, a_k = k / m, from q to p."""
        rng, m = np.random.Generator(np.random.Philox(key=seed)), self.n_bridges
        parts = [(data.p, data.q)] + ([data.held] if data.held is not None else [])
        chains = []
        for p, q in parts:
            n = max(len(p), len(q))
            pairs = [np.resize(rng.permutation(len(sample)), n) for sample in (p, q)]
            p, q = p.take(pairs[0]), q.take(pairs[1])
            w = p.w * q.w if not bool((p.w == 1).all() & (q.w == 1).all()) else p.w
            chain = [q]
            for k in range(1, m):
                a = k / m
                chain.append(Sample(np.sqrt(1 - a * a) * q.X + a * p.X, w))
            chains.append([*chain, p])
        return [
            (chains[0][k + 1], chains[0][k], (chains[1][k + 1], chains[1][k]) if len(chains) > 1 else None)
            for k in range(m)
        ]

    def _form(self) -> list[str]:
        """What must not change when a fit goes on."""
        values = (getattr(self, name) for name in FORM)
        return [value if isinstance(value, str) else repr(value) for value in values]

    def _restore(self, runs: list[RatioRun]) -> None:
        """Runs from the state of the fit."""
        for name, was, now in zip(FORM, self._state["form"].tolist(), self._form(), strict=True):
            if was != now:
                raise ValueError(f"{name} must be that of the fit to go on, {was}, got {now}; fit anew")
        count = sum(name.endswith(".theta") and not name.endswith("best.theta") for name in self._state)
        if count != len(runs):
            raise ValueError(f"n_bridges must be that of the fit to go on, {count}, got {len(runs)}; fit anew")
        for k, run in enumerate(runs):
            own = {name[len(f"{k}.") :]: a for name, a in self._state.items() if name.startswith(f"{k}.")}
            if own["theta"].shape != run.theta.shape or own["theta"].dtype != run.theta.dtype:
                raise ValueError("hidden, network and dtype must be those of the fit to go on; fit anew")
            run.restore(own)

    def _go(self, data: RatioData, runs: list[RatioRun], seed: int, begun: float) -> None:
        """Steps to the end; sets the fitted attributes, then warns or raises."""
        before, message, error = sum(run.steps for run in runs), f"reached max_iter={self.max_iter}", None
        interrupted = False
        total = sum(self.max_iter * run.pass_length for run in runs)
        bar = tqdm(total=total, initial=before, disable=not self.verbose, desc="density ratio", unit="step")
        with bar, _backend.blas_threads(1), deferred_interrupt() as check_interrupt:
            try:
                for k, run in enumerate(runs):
                    while run.epochs < self.max_iter and not run.settled:
                        check_interrupt()
                        ended = run.piece(self.max_iter * run.pass_length, self.callback is not None)
                        bar.update(sum(r.steps for r in runs) - bar.n)
                        if run.terms:
                            bar.set_postfix({"loss": f"{run.terms[-1][-1, 0]:.4f}"}, refresh=False)
                        if ended and self._stops(data, runs, k, seed, begun):
                            message = "stopped by the callback"
                            break
                    else:
                        if run.settled:
                            message = f"no better loss of the rows for validation in {self.n_iter_no_change} epochs"
                        continue
                    break
            except KeyboardInterrupt:
                if sum(run.steps for run in runs) == 0:
                    raise
                interrupted, message = True, "interrupted from the keyboard"
            except Exception as failure:
                if sum(run.steps for run in runs) == before:
                    raise
                error, message = failure, f"ended by an error: {failure}"
        self._finish(data, runs, seed, message)
        if error is not None:
            raise error
        if interrupted:
            warnings.warn(
                "the fit was interrupted; the model holds what was reached, and resume(X_p, X_q) goes on",
                FitInterruptedWarning,
                stacklevel=5,
            )

    def _stops(self, data, runs, k, seed, begun) -> bool:
        if self.callback is None:
            return False

        def model():
            fitted = type(self)(**{**self.get_params(deep=False), "callback": None})
            fitted._finish(data, runs, seed, "a checkpoint", quiet=True)
            return fitted

        run = runs[k]
        val_loss = run.checks[-1] if run.checks else None
        elapsed = time.perf_counter() - begun
        return bool(self.callback(RatioStatus(run.epochs, k, float(run.terms[-1][-1, 0]), val_loss, elapsed, model)))

    def _finish(self, data: RatioData, runs: list[RatioRun], seed: int, message: str, quiet: bool = False) -> None:
        """Set the fitted attributes from where runs are."""
        state = {"seed": np.array(seed, np.uint64), "mark": data.mark(), "form": np.array(self._form())}
        for k, run in enumerate(runs):
            state |= {f"{k}.{name}": value for name, value in run.state().items()}
        self._common(data, state)
        self._set_networks(runs[0].network, [run.parameters() for run in runs])
        self.calibration_ = (1.0, 0.0)
        self.n_iter_ = max(run.epochs for run in runs)
        self.best_iter_ = max(run.epochs if run.best is None else run.best["epoch"] for run in runs)
        self.loss_curve_ = np.concatenate([run.curve() for run in runs])
        self.validation_loss_ = np.concatenate([np.asarray(run.checks, dtype=np.float64) for run in runs])
        self.message_ = message
        if self.calibrate:
            self.calibration_ = calibration(*(self._weighted_log_ratios(sample) for sample in data.held))
            if self.calibration_[0] == 0 and not quiet:
                warnings.warn(
                    "calibrate=True: the learned ratio does not tell the held-out rows apart, and is now the same "
                    "everywhere; take more rows, a smaller network or early_stopping=True",
                    UserWarning,
                    stacklevel=6,
                )
        self._overlap(data, quiet)

    def _common(self, data: RatioData, state: dict) -> None:
        vars(self).pop("feature_names_in_", None)
        for name in ("network_", "expansion_"):
            vars(self).pop(name, None)
        if data.names is not None:
            self.feature_names_in_ = data.names
        self.n_features_in_, self.device_ = len(data.mean), data.device
        self.mean_, self.scale_, self.offset_ = data.mean, data.scale, data.offset
        self._state = state

    def _set_networks(self, like, thetas: list) -> None:
        """Copies of a network with these parameters."""
        self._networks = []
        for theta in thetas:
            network = copy.deepcopy(like)
            network.parameters = theta
            self._networks.append(network)
        self.network_ = self._networks if self.method == "telescoping" else self._networks[0]

    def _log_ratio(self, X):
        """Of rows as they are given."""
        rows = scaled(X, self.mean_, self.scale_)
        return self._standardized_log_ratio(_backend.namespace(rows).clip(rows, -FAR, FAR))

    def _standardized_log_ratio(self, X):
        if not self._networks:
            return self.expansion_.log_ratio(X)
        dtype = self._networks[0].dtype
        rows = _backend.namespace(X).ascontiguousarray(X, dtype=dtype)
        total = 0.0
        for network in self._networks:
            if network.n_parameters and len(rows):
                compiled = loss_for(network, None)
                total = total + compiled.log_ratio(network.parameters, rows.reshape(len(rows), -1))
            else:
                total = total + _backend.namespace(X).zeros(len(rows), dtype)
        slope, intercept = self.calibration_
        return dtype.type(slope) * (total - dtype.type(self.offset_)) + dtype.type(intercept)

    def _overlap(self, data: RatioData, quiet: bool = False) -> None:
        """Log ratios of the rows by which divergences are estimated, effective sample sizes, and a warning."""
        pair = (data.p, data.q) if data.held is None else data.held
        self._log_ratios = tuple(self._weighted_log_ratios(sample) for sample in pair)
        (s_p, w_p), (s_q, w_q) = self._log_ratios
        with np.errstate(divide="ignore"):
            known = overlap(s_p - np.log(w_p), s_q + np.log(w_q))
        self.effective_sample_size_ = known.effective_q, known.effective_p
        s_p, s_q = s_p[w_p > 0], s_q[w_q > 0]
        if not quiet and len(s_p) > 1 and len(s_q) > 1 and s_p.min() > s_q.max():
            warnings.warn(
                "p and q do not overlap: every row of p has a larger ratio than any row of q, so that the "
                "ratio is unbounded and its size means nothing; divergences are lower bounds at best. "
                "method='telescoping', more rows, or 'rulsif' (a bounded ratio) may help",
                DisjointSupportsWarning,
                stacklevel=7 if self._networks else 6,
            )

    def _weighted_log_ratios(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """s and weights of mean 1 of a sample, float64 NumPy."""
        s, w = (_backend.to_numpy(a).astype(np.float64) for a in (self._standardized_log_ratio(sample.X), sample.w))
        return s, w / w.mean()


def calibration(p: tuple[np.ndarray, np.ndarray], q: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """a >= 0 and b of the logit ``a s + b``; both samples count the same, targets are smoothed by a row of either kind.

    Platt (1999), "Probabilistic outputs for support vector machines", section 2.2.
    """
    parts = [(s, w / w.sum(), target) for (s, w), target in ((p, 1 - 1 / (len(p[0]) + 2)), (q, 1 / (len(q[0]) + 2)))]

    def loss(ab):
        value, slopes = 0.0, np.zeros(2)
        for s, w, target in parts:
            z = ab[0] * s + ab[1]
            up = w * (np.exp(-np.logaddexp(0, -z)) - target)
            value += w @ (np.logaddexp(0, z) - target * z)
            slopes += up @ s, up.sum()
        return value, slopes

    found = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)], tol=1e-12).x
    return float(found[0]), float(found[1])
