"""lvmfast: a compiled backend for latent-variable models."""

from lvmfast import (
    bayesopt,
    bijectors,
    datasets,
    distributions,
    divergences,
    exceptions,
    grids,
    kernels,
    likelihoods,
    linalg,
    nn,
    optim,
    priors,
    random,
)
from lvmfast._backend import cpu as _cpu_module
from lvmfast._backend import get_num_threads, release_memory, set_num_threads
from lvmfast.models import (
    GPLVM,
    GPR,
    SGPR,
    SVGP,
    VAE,
    DensityRatio,
    FlowDensity,
    GridLatentModel,
    ImplicitModel,
    PolyaGammaGPClassifier,
    PolyaGammaLogisticRegression,
)

__version__: str = _cpu_module.version

__all__ = [
    "DensityRatio",
    "FlowDensity",
    "GPLVM",
    "GPR",
    "GridLatentModel",
    "ImplicitModel",
    "PolyaGammaGPClassifier",
    "PolyaGammaLogisticRegression",
    "SGPR",
    "SVGP",
    "VAE",
    "__version__",
    "bayesopt",
    "bijectors",
    "datasets",
    "distributions",
    "divergences",
    "exceptions",
    "get_num_threads",
    "grids",
    "kernels",
    "likelihoods",
    "linalg",
    "nn",
    "optim",
    "priors",
    "random",
    "release_memory",
    "set_num_threads",
]
