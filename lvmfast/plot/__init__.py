"""Pictures of fitted models, latent spaces and densities. Needs matplotlib: ``pip install 'lvmfast[plot]'``.

Every function draws on ``ax``, or on a new figure that belongs to no window, and returns the artist that it made, or
a named tuple where there are several. Both have ``.axes`` and ``.figure``: ``plot.gp(model).figure.savefig("gp.png")``.
"""

from lvmfast.plot._chains import Pairs, Traces, pairs, traces
from lvmfast.plot._classifier import Classifier, classifier
from lvmfast.plot._curves import Curves, curves, ratio
from lvmfast.plot._density import Contours, DensityMap, contours, density
from lvmfast.plot._figure import COLORS, new_figure
from lvmfast.plot._gp import GpBand, gp
from lvmfast.plot._knowledge_gradient import NextCandidate, knowledge_gradient
from lvmfast.plot._latent import LatentScatter, image_grid, latent_scatter, manifold
from lvmfast.plot._loss import LossCurve, loss_curve
from lvmfast.plot._posterior import PosteriorCurve, PosteriorMap, posterior

__all__ = [
    "COLORS",
    "Classifier",
    "Contours",
    "Curves",
    "DensityMap",
    "GpBand",
    "LatentScatter",
    "LossCurve",
    "NextCandidate",
    "Pairs",
    "PosteriorCurve",
    "PosteriorMap",
    "Traces",
    "classifier",
    "contours",
    "curves",
    "density",
    "gp",
    "image_grid",
    "knowledge_gradient",
    "latent_scatter",
    "loss_curve",
    "manifold",
    "new_figure",
    "pairs",
    "posterior",
    "ratio",
    "traces",
]
