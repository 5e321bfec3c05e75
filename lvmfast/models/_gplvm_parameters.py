"""The checks of GPLVM's constructor arguments, made when a fit begins."""

from __future__ import annotations

import numpy as np

from lvmfast._validation import check_callback, check_choice, check_integer, check_jitter, check_positive
from lvmfast.kernels import Kernel


def check_parameters(model, n: int, d: int) -> None:
    """Raise unless the constructor's arguments make sense for Y of shape (n, d)."""
    q = check_integer(model.n_components, "n_components", 1)
    if isinstance(model.init, str) and model.init == "pca" and q > min(n, d):
        raise ValueError(
            f"n_components must be <= min(n_samples, n_features) = {min(n, d)} with init='pca', got {q}; use "
            "init='random' or an array"
        )
    if model.kernel is not None:
        if not isinstance(model.kernel, Kernel):
            raise TypeError(f"kernel must be an lvmfast kernel such as lvmfast.kernels.RBF(), got {model.kernel!r}")
        model.kernel.compiled(q).vector()
        for name, parameter in model.kernel.parameters.items():
            if parameter.prior is not None or parameter.bounds != (0.0, np.inf):
                raise ValueError(
                    f"kernel must have no bounds and no priors in a GPLVM, got them for {name}; fix the parameter, or "
                    "set a bijector that keeps it where it belongs"
                )
    if not isinstance(model.center, (bool, np.bool_)):
        raise TypeError(f"center must be True or False, got {model.center!r}")
    if model.noise_variance is not None:
        check_positive(model.noise_variance, "noise_variance")
    check_positive(model.learning_rate, "learning_rate")
    check_choice(model.optimizer, "optimizer", ("auto", "lbfgs", "adam"))
    check_integer(model.max_iter, "max_iter", 1)
    check_positive(model.tol, "tol", zero=True)
    check_jitter(model.jitter)
    check_callback(model.callback)
