"""Latent-variable models and Gaussian processes as scikit-learn estimators."""

from lvmfast.models.gplvm import GPLVM, FitStatus
from lvmfast.models.gpr import GPR
from lvmfast.models.logistic import PolyaGammaLogisticRegression

__all__ = ["GPLVM", "GPR", "FitStatus", "PolyaGammaLogisticRegression"]
