"""Bijectors: smooth one-to-one maps with the logarithm of the determinant of their Jacobian.

A bijector has ``forward``, ``inverse``, the log-dets of both, calls that give value and log-det together, and their
pull-backs. Objects never change after they are made, but for the parameters of those that are learned, and keep nothing
of a call; they can be compared, hashed and pickled. A bijector of one's own is a subclass of :class:`Bijector` with
three methods, or :class:`Inline` with three functions.
"""

from lvmfast.bijectors._bijector import Bijector
from lvmfast.bijectors._combined import Chain, Inline, Invert
from lvmfast.bijectors._elementwise import Exp, Identity, Log, Power, Scale, Shift, Softplus
from lvmfast.bijectors._flows import AffineCoupling, LearnedAffine, MaskedAutoregressive, Planar, RealNVP
from lvmfast.bijectors._sigmoidal import Sigmoid, SinhArcsinh, Tanh
from lvmfast.bijectors._vector import Banana, Ordered, Permute, ScaleTriL

__all__ = [
    "AffineCoupling",
    "Banana",
    "Bijector",
    "Chain",
    "Exp",
    "Identity",
    "Inline",
    "Invert",
    "LearnedAffine",
    "Log",
    "MaskedAutoregressive",
    "Ordered",
    "Permute",
    "Planar",
    "Power",
    "RealNVP",
    "Scale",
    "ScaleTriL",
    "Shift",
    "Sigmoid",
    "SinhArcsinh",
    "Softplus",
    "Tanh",
]
