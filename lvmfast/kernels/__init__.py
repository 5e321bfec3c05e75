"""Covariance functions (kernels), fused with their gradients.

``k = RBF(variance=2.0, lengthscale=[0.5, 3.0]) * Periodic(period=7.0) + White(0.1)``; then ``k(X)``, ``k(X, Z)``,
``k.diag(X)``, ``k.vjp(X, Z, cotangent)``, ``k.matmul(X, Z, V)`` and ``k.matmul_vjp(X, Z, V, cotangent)``. Nothing of
size (n, m, q) is ever made, and ``vjp`` and ``matmul`` make nothing of size (n, m) either. Points on a GPU
(CuPy arrays) give CuPy arrays.
"""

from lvmfast.kernels._kernel import Kernel, Product, Sum
from lvmfast.kernels._leaves import (
    RBF,
    Constant,
    Cosine,
    Linear,
    Matern12,
    Matern32,
    Matern52,
    Periodic,
    Polynomial,
    RationalQuadratic,
    White,
)
from lvmfast.kernels._parameters import Parameter

__all__ = [
    "RBF",
    "Constant",
    "Cosine",
    "Kernel",
    "Linear",
    "Matern12",
    "Matern32",
    "Matern52",
    "Parameter",
    "Periodic",
    "Polynomial",
    "Product",
    "RationalQuadratic",
    "Sum",
    "White",
]
