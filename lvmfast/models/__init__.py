"""Latent-variable models and Gaussian processes as scikit-learn estimators."""

from lvmfast.models.gplvm import GPLVM, FitStatus

__all__ = ["GPLVM", "FitStatus"]
