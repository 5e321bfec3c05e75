"""Latent-variable models and Gaussian processes as scikit-learn estimators."""

from lvmfast.models.gplvm import GPLVM, FitStatus
from lvmfast.models.gpr import GPR
from lvmfast.models.sgpr import SGPR

__all__ = ["GPLVM", "GPR", "SGPR", "FitStatus"]
