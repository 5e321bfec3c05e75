"""Small neural networks: compiled values and exact pull-backs over one vector of parameters, and their optimizers."""

from lvmfast.nn._layers import Conv2D, Conv2DTranspose, Dense, Flatten, Reshape
from lvmfast.nn._optimizers import SGD, Adam, RMSprop
from lvmfast.nn._schedules import CosineDecay, ExponentialDecay, PiecewiseConstant
from lvmfast.nn._sequential import Sequential

__all__ = [
    "SGD",
    "Adam",
    "Conv2D",
    "Conv2DTranspose",
    "CosineDecay",
    "Dense",
    "ExponentialDecay",
    "Flatten",
    "PiecewiseConstant",
    "RMSprop",
    "Reshape",
    "Sequential",
]
