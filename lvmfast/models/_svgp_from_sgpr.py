"""The q(u) of a sparse regression as that of a stochastic one."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lvmfast import _backend
from lvmfast.likelihoods import Gaussian
from lvmfast.models._svgp_fit import Run, Settings
from lvmfast.models._svgp_problem import SvgpProblem
from lvmfast.models.sgpr import SGPR

__all__ = ["from_sgpr"]


class _Nothing:
    """What of data is asked for where there are none."""

    piece, in_memory, pass_length, target = True, False, None, None

    def __init__(self, model):
        self.dtype, self.single, self.on_gpu = model._dtype, model._single, getattr(model, "_on_gpu", False)
        self.has_known = bool(np.ndim(model.noise_variance_))
        self.target = type("Regression", (), {"classes": None})
        self._names = {name: getattr(model, name, None) for name in ("n_features_in_", "feature_names_in_")}

    def name(self, model):
        """Write the features' number and names to a model."""
        for name, value in self._names.items():
            if value is not None:
                setattr(model, name, value)


def from_sgpr(cls, model, params: dict):
    """A fitted model of class ``cls``: with B of an SGPR, whitened, ``q(w_p) = N(gamma_p, B^-1)``."""
    if not isinstance(model, SGPR):
        raise TypeError(f"model must be a fitted lvmfast.SGPR, got {model!r}")
    check_is_fitted(model)
    for name in ("kernel", "likelihood", "inducing", "mean"):
        if name in params:
            raise ValueError(f"{name} must not be given, it is that of the SGPR; got {params[name]!r}")
    known = np.ndim(model.noise_variance_) > 0
    likelihood = Gaussian() if known else Gaussian(model.noise_variance_)
    if known or not model.learn_noise:
        likelihood.fix()
    fitted = cls(
        model.kernel_.copy(),
        likelihood=likelihood,
        inducing=_backend.to_numpy(model.inducing_),
        mean=model.mean,
        **{"jitter": float(model.jitter_), "learn_inducing": model.learn_inducing, "device": model.device} | params,
    )
    if fitted.q_diag:
        raise ValueError("q_diag must be False, as S of an SGPR is not diagonal, got True")
    posterior = model._posterior
    unit = float(np.sqrt(likelihood.noise_variance)) if not known else 1.0
    options = fitted._options()
    device = _backend.usable_device("cuda") if getattr(model, "_on_gpu", False) else posterior.device
    problem = SvgpProblem(model.kernel_, likelihood, posterior.mean, posterior.X, unit, options, device, model._dtype)
    theta = problem.initial()
    L_B, gamma = _backend.to_numpy(posterior.L_B), _backend.to_numpy(posterior.gamma)
    L_B = np.tril(L_B)
    precision = np.broadcast_to(L_B @ L_B.T, (gamma.shape[1], *L_B.shape))
    problem.set_precision(theta, gamma, precision)
    run = Run(problem, Settings.of(fitted), theta)
    more = {"seed": np.array(0, dtype=np.uint64), "mark": np.empty(0), "seen": np.array(0)}
    bound = model.lower_bound_ if model.approximation == "vfe" else np.nan
    fitted._finish(_Nothing(model), run, more, "from an SGPR", bound)
    return fitted
