"""Checks of an autoencoder's arguments, before any work."""

from __future__ import annotations

import numpy as np

from lvmfast._validation import check_callback, check_choice, check_float_dtype, check_integer, check_positive
from lvmfast.models._vae_networks import check_hidden, check_network, posterior_kind
from lvmfast.models._vae_problem import HIGH, LIKELIHOODS, LOW, VARIANCES
from lvmfast.nn._rules import check_optimizer

__all__ = ["check_parameters", "fixed_log_variances"]


def check_parameters(model) -> None:
    """Raise unless all arguments of the estimator make sense together."""
    check_network(model.encoder, "encoder")
    check_network(model.decoder, "decoder")
    check_network(model.ratio, "ratio")
    check_hidden(model.hidden, model.activation)
    check_hidden(model.ratio_hidden, model.activation, "ratio_hidden")
    for name in ("n_components", "n_samples", "batch_size", "max_iter", "n_iter_no_change", "ratio_steps"):
        check_integer(getattr(model, name), name, 1)
    check_integer(model.n_categories, "n_categories", 2)
    if model.n_classes is not None:
        check_integer(model.n_classes, "n_classes", 2)
    check_choice(model.likelihood, "likelihood", LIKELIHOODS)
    check_choice(model.latent, "latent", ("gaussian", "categorical"))
    posterior_kind(model.posterior)
    if model.noise_size is not None:
        check_integer(model.noise_size, "noise_size", 1)
    check_choice(model.objective, "objective", ("elbo", "iwae"))
    check_choice(model.gradient, "gradient", ("reparameterized", "dreg"))
    if isinstance(model.variance, str):
        check_choice(model.variance, "variance", VARIANCES[1:])
    for name in ("shuffle", "early_stopping"):
        if not isinstance(getattr(model, name), (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {getattr(model, name)!r}")
    if not callable(model.beta):
        check_positive(model.beta, "beta", zero=True)
    if not callable(model.temperature):
        check_positive(model.temperature, "temperature")
    check_optimizer(model.optimizer)
    if check_positive(model.validation_fraction, "validation_fraction") >= 1:
        raise ValueError(f"validation_fraction must lie between 0 and 1, got {model.validation_fraction!r}")
    check_float_dtype(model.dtype)
    check_choice(model.device, "device", ("auto", "cpu", "cuda"))
    check_callback(model.callback)
    _check_together(model)


def _check_together(model) -> None:
    kind = posterior_kind(model.posterior)
    if kind == "flow":
        for name, wanted in (("latent", "gaussian"), ("gradient", "reparameterized")):
            if getattr(model, name) != wanted:
                raise ValueError(f"{name} must be {wanted!r} with a flow for a posterior, got {getattr(model, name)!r}")
    if kind == "implicit":
        for name, wanted in (("latent", "gaussian"), ("objective", "elbo")):
            if getattr(model, name) != wanted:
                raise ValueError(
                    f"{name} must be {wanted!r} with posterior='implicit', whose codes are numbers without a density, "
                    f"got {getattr(model, name)!r}"
                )
    if model.latent == "categorical" and model.objective != "elbo":
        raise ValueError(
            "objective must be 'elbo' with latent='categorical', whose relaxed draws have no importance weights, got "
            f"{model.objective!r}"
        )
    if model.gradient == "dreg" and model.objective != "iwae":
        raise ValueError(
            "gradient must be 'reparameterized' with objective='elbo', got 'dreg', which is for importance weights; "
            "use objective='iwae'"
        )
    if model.gradient == "dreg" and model.likelihood == "gaussian" and str(model.variance) == "batch":
        raise ValueError(
            "gradient must be 'reparameterized' with variance='batch', through which a code moves the weights of other "
            "rows, got 'dreg'; use variance='feature', 'row' or 'sample'"
        )


def fixed_log_variances(variance, form) -> np.ndarray | None:
    """Log variances (d,) of a number or an array, float64; None for a name."""
    if isinstance(variance, str):
        return None
    if np.ndim(variance) == 0:
        values = np.full(form.d, check_positive(variance, "variance"))
    else:
        values = np.asarray(variance, dtype=np.float64)
        if values.size != form.d or values.shape not in ((form.d,), form.shape):
            raise ValueError(
                f"variance must be a number, a name or an array of shape ({form.d},), one for each feature, got shape "
                f"{values.shape}"
            )
        values = values.ravel()
    low, high = np.exp(LOW), np.exp(HIGH)
    if not (np.isfinite(values) & (values >= low) & (values <= high)).all():
        bad = values[~(np.isfinite(values) & (values >= low) & (values <= high))][0]
        raise ValueError(
            f"variance must lie between exp({LOW:g}) = {low:.2g} and exp({HIGH:g}) = {high:.2g}, got {bad:.6g}; scale X"
        )
    return np.log(values)
