"""Latent-variable models and Gaussian processes as scikit-learn estimators."""

from lvmfast.models.density_ratio import DensityRatio
from lvmfast.models.flow_density import FlowDensity
from lvmfast.models.gp_classifier import PolyaGammaGPClassifier
from lvmfast.models.gplvm import GPLVM, FitStatus
from lvmfast.models.gpr import GPR
from lvmfast.models.grid_latent import GridLatentModel, GridPosterior
from lvmfast.models.implicit import ImplicitModel
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
    "DensityRatio",
    "FitStatus",
    "FlowDensity",
    "GridLatentModel",
    "GridPosterior",
    "ImplicitModel",
    "PolyaGammaGPClassifier",
    "PolyaGammaLogisticRegression",
]
