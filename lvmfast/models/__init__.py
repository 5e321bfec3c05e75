"""Latent-variable models and Gaussian processes as scikit-learn estimators."""

from lvmfast.models.gp_classifier import PolyaGammaGPClassifier
from lvmfast.models.gplvm import GPLVM, FitStatus
from lvmfast.models.gpr import GPR
from lvmfast.models.logistic import PolyaGammaLogisticRegression
from lvmfast.models.sgpr import SGPR
from lvmfast.models.svgp import SVGP
from lvmfast.models.vae import VAE

__all__ = [
    "GPLVM",
    "GPR",
    "SGPR",
    "SVGP",
    "VAE",
    "FitStatus",
    "PolyaGammaGPClassifier",
    "PolyaGammaLogisticRegression",
]
