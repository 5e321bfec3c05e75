"""A fitted logistic model as a table, and as ArviZ has it."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import ndtri

from lvmfast import _backend


@dataclasses.dataclass
class Summary:
    """Rows are coefficients, the intercept last; ``columns`` are arrays of numbers by name."""

    names: list
    columns: dict

    @classmethod
    def of(cls, model) -> Summary:
        """Of a fitted model; quantiles of draws, or of the Gaussian of "vi"."""
        k = model.coef_.shape[1]
        names = [f"coef[{i}]" for i in range(k)]
        if model.basis is None and hasattr(model, "feature_names_in_"):
            names = [str(name) for name in model.feature_names_in_]
        names += ["intercept"] * bool(model.fit_intercept)
        if hasattr(model, "covariance_"):
            mean, std = model._state.mean, np.sqrt(np.diag(model.covariance_))
            return cls(
                names, {"mean": mean, "sd": std, "5%": mean + ndtri(0.05) * std, "95%": mean + ndtri(0.95) * std}
            )
        draws = model._draws.reshape(-1, len(names)).astype(np.float64)
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        spread = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.full(len(names), np.nan)
        columns = {"mean": draws.mean(axis=0), "sd": spread, "5%": low, "95%": high}
        return cls(names, {**columns, "r_hat": model.r_hat_, "ess": model.ess_})

    def __repr__(self) -> str:
        width = max(map(len, self.names), default=0)
        lines = [" " * width + "".join(f"{name:>10}" for name in self.columns)]
        for i, name in enumerate(self.names):
            cells = (f"{v[i]:10.0f}" if c == "ess" else f"{v[i]:10.4g}" for c, v in self.columns.items())
            lines.append(f"{name:<{width}}" + "".join(cells))
        return "\n".join(lines)


def inference_data(model):
    """The draws of a model, and y's part of its data, as ``arviz.InferenceData``."""
    try:
        import arviz
    except ImportError as error:
        raise ImportError("to_inference_data needs ArviZ: pip install 'lvmfast[arviz]'") from error
    posterior = {"coef": model.coef_draws_}
    dims = {"coef": ["feature"]}
    if model.fit_intercept:
        posterior["intercept"] = model.intercept_draws_
    if hasattr(model, "omega_draws_"):
        posterior["omega"] = _backend.to_numpy(model.omega_draws_)
        dims["omega"] = ["row"]
    names = Summary.of(model).names[: model.coef_.shape[1]]
    return arviz.from_dict(posterior=posterior, coords={"feature": names}, dims=dims)
