"""What every kernel can do, and sums and products of kernels."""

from __future__ import annotations

import numbers

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, as_matrix, common_dtype
from lvmfast.kernels._compiled import CompiledKernel, FreeParameters, checked_value
from lvmfast.kernels._parametrised import Parametrised

__all__ = ["Kernel", "Product", "Sum"]


class Kernel(Parametrised):
    """A covariance function ``k(x, z)`` of two rows of numbers; see :mod:`lvmfast.kernels`.

    Kernels add and multiply: ``k1 + k2``, ``k1 * k2``, ``2.0 * k`` (a number is a :class:`Constant`), to any depth.
    """

    #: What a sum or product is made of; empty for a single covariance function.
    parts: tuple[Kernel, ...] = ()

    # Evaluation.

    @_backend.memory_errors
    def __call__(self, X, Z=None, *, out=None):
        """Kernel matrix ``K[i, j] = k(X[i], Z[j])``, or ``k(X[i], X[j])`` if ``Z`` is None.

        Parameters
        ----------
        X : array of shape (n, q)
        Z : array of shape (m, q), optional
            Without it, K is exactly symmetric and its diagonal is ``diag(X)``, bit for bit.
        out : array of shape (n, m), optional
            C-contiguous array of the result's dtype to write to. (Fresh memory costs time.)

        Returns
        -------
        K : array of shape (n, m)
            float32 if all inputs are, else float64. Beyond it, a call allocates the points once more, scaled, and one
            tile of 4,096 numbers per thread and level of sums and products.
        """
        module, compiled, theta, X, Z, dtype = self._arguments(X, Z)
        shape = (len(X), len(X) if Z is None else len(Z))
        _backend.module_for(X=X, out=out)
        if out is None:
            out = _backend.empty(shape, dtype, like=X)
        elif not isinstance(out, _backend.namespace(X).ndarray) or out.shape != shape or out.dtype != dtype:
            got = f"{getattr(out, 'dtype', type(out).__name__)} {getattr(out, 'shape', '')}"
            raise ValueError(f"out must be an array of {dtype} with shape {shape}, got {got}")
        elif not all(getattr(out.flags, name, True) for name in ("c_contiguous", "writeable", "aligned")):
            flags = ("c_contiguous", "writeable", "aligned")
            flags = ", ".join(f"{name}={getattr(out.flags, name)}" for name in flags if hasattr(out.flags, name))
            raise ValueError(f"out must be C-contiguous and writeable, and aligned, got {flags}")
        module.gram(compiled.tree_for(module), theta, X, Z, out)
        return out

    @_backend.memory_errors
    def diag(self, X) -> np.ndarray:
        """``k(X[i], X[i])``, shape (n,); what White adds included."""
        module, compiled, theta, X, _, _ = self._arguments(X, None)
        return module.gram_diagonal(compiled.tree_for(module), theta, X)

    @_backend.memory_errors
    def vjp(self, X, Z, cotangent):
        """Gradients of ``sum(cotangent * k(X, Z))``.

        Parameters
        ----------
        X : array of shape (n, q)
        Z : array of shape (m, q) or None
            None stands for ``k(X, X)``; ``dX`` is then the derivative through both arguments.
        cotangent : array of shape (n, m)
            Converted to the dtype of X and Z; row-major is read where it lies.

        Returns
        -------
        dX : array of shape (n, q)
        dZ : array of shape (m, q), or None if ``Z`` is
        gradients : dict
            By the names of :attr:`parameters`; shaped as the parameters, fixed ones included.

        Notes
        -----
        The result is the same, bit for bit, for any number of threads. Besides the results (in float64) and the
        points once more, scaled, a call allocates one tile of 4,096 numbers per thread and a few per level of sums
        and products.
        """
        module, compiled, theta, X, Z, dtype = self._arguments(X, Z)
        given = cotangent
        _backend.module_for(X=X, cotangent=cotangent)
        cotangent = as_matrix(cotangent, "cotangent", dtype=dtype, finite=False)
        shape = (len(X), len(X) if Z is None else len(Z))
        if cotangent.shape != shape:
            raise ValueError(f"cotangent must have shape {shape}, got {cotangent.shape}")
        dX, dZ, d_theta = module.gram_vjp(compiled.tree_for(module), theta, X, Z, cotangent)
        if not np.isfinite(d_theta).all():
            as_matrix(given, "cotangent")  # finite numbers can overflow; others are an error
        return _cast(dX, dtype), _cast(dZ, dtype), compiled.gradients(d_theta)

    @_backend.memory_errors
    def matmul(self, X, Z, V) -> np.ndarray:
        """``k(X, Z) @ V`` without ever holding ``k(X, Z)``.

        Parameters
        ----------
        X : array of shape (n, q)
        Z : array of shape (m, q) or None
            None stands for ``k(X)``.
        V : array of shape (m,) or (m, c)

        Returns
        -------
        product : array of shape (n,) or (n, c)
            Sums over m are kept in float64. Memory beyond it: O((n + m)(q + c)), and one tile per thread.
        """
        module, compiled, theta, X, Z, V, dtype, columns = self._product_arguments(X, Z, V)
        product = module.gram_matmul(compiled.tree_for(module), theta, X, Z, columns)
        return product.reshape((len(X), *V.shape[1:]))

    @_backend.memory_errors
    def matmul_vjp(self, X, Z, V, cotangent):
        """Gradients of ``sum(cotangent * (k(X, Z) @ V))``.

        Parameters
        ----------
        X, Z, V
            As for :meth:`matmul`.
        cotangent : array of shape (n,) or (n, c)

        Returns
        -------
        dX : array of shape (n, q)
        dZ : array of shape (m, q), or None if ``Z`` is
        dV : array shaped as ``V``
        gradients : dict
            By the names of :attr:`parameters`.
        """
        module, compiled, theta, X, Z, V, dtype, columns = self._product_arguments(X, Z, V, cotangent)
        cotangent = as_float_array(cotangent, "cotangent")
        shape = (len(X), *V.shape[1:])
        if cotangent.shape != shape:
            raise ValueError(f"cotangent must have shape {shape}, got {cotangent.shape}")
        cotangent = as_matrix(cotangent.reshape(len(X), columns.shape[1]), "cotangent", dtype=dtype)
        tree = compiled.tree_for(module)
        dX, dZ, dV, d_theta = module.gram_matmul_vjp(tree, theta, X, Z, columns, cotangent)
        return _cast(dX, dtype), _cast(dZ, dtype), dV.reshape(V.shape), compiled.gradients(d_theta)

    def compiled(self, q: int) -> CompiledKernel:
        """The kernel for inputs of ``q`` columns as the compiled code takes it."""
        return CompiledKernel(self, q)

    def _arguments(self, X, Z, *others):
        module = _backend.module_for(X=X, Z=Z)
        X = as_matrix(X, "X")
        if Z is not None:
            Z = as_matrix(Z, "Z", columns=X.shape[1])
        dtype = common_dtype(*(a for a in (X, Z, *others) if a is not None))
        compiled = self.compiled(X.shape[1])
        theta = compiled.vector()
        compiled.check_range(theta, dtype, X, Z)
        return module, compiled, theta, X.astype(dtype, copy=False), _cast(Z, dtype), dtype

    def _product_arguments(self, X, Z, V, *others):
        _backend.module_for(X=X, Z=Z, V=V, cotangent=others[0] if others else None)
        V = as_float_array(V, "V")
        others = [as_float_array(other, "cotangent") for other in others]
        module, compiled, theta, X, Z, dtype = self._arguments(X, Z, V, *others)
        m = len(X if Z is None else Z)
        if V.ndim not in (1, 2) or len(V) != m:
            raise ValueError(f"V must have shape ({m},) or ({m}, c), got {V.shape}")
        columns = as_matrix(V[:, None] if V.ndim == 1 else V, "V", dtype=dtype)
        return module, compiled, theta, X, Z, V, dtype, columns

    # Parameters.

    def free_parameters(self, compiled: CompiledKernel) -> FreeParameters:
        """What a fit moves; ``compiled`` is this kernel's."""
        return FreeParameters(compiled, self)

    # As an object.

    def scaled(self, factor: float) -> Kernel:
        """A kernel of the same structure that equals ``factor * k``: a change of the function's units.

        Bounds and floors change with it, priors do not.
        """
        copied = self.copy()
        copied._scale(factor)
        return copied

    def get_params(self, deep: bool = True) -> dict:
        """Parameters by name, as scikit-learn asks for them."""
        return {name: p.value for name, p in self.parameters.items()}

    def set_params(self, **params) -> Kernel:
        """Set parameters by name; nothing changes if a name or a value is wrong."""
        parameters = self.parameters
        for name, value in params.items():
            if name not in parameters:
                raise ValueError(f"{name!r} names no parameter; there are {', '.join(parameters)}")
            checked_value(name, value)
        for name, value in params.items():
            parameters[name] = value
        return self

    def _named_leaves(self) -> list[tuple[str, Kernel]]:
        """(prefix of the parameters' names, leaf), from left to right."""
        leaves = list(self._leaves())
        if not self.parts:
            return [("", self)]
        counts: dict[str, int] = {}
        named = []
        for leaf in leaves:
            name = type(leaf).__name__.lower()
            counts[name] = counts.get(name, 0) + 1
            named.append((name if counts[name] == 1 else f"{name}_{counts[name]}", leaf))
        return named

    def _leaves(self):
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part._leaves()

    __hash__ = None

    def __add__(self, other):
        return _combine(Sum, self, other)

    def __radd__(self, other):
        if isinstance(other, numbers.Real) and other == 0:  # where sum([k1, k2]) begins
            return self.copy()
        return _combine(Sum, other, self)

    def __mul__(self, other):
        return _combine(Product, self, other)

    def __rmul__(self, other):
        return _combine(Product, other, self)

    __array_ufunc__ = None  # np.float64(2) * k asks k first


class _Combination(Kernel):
    """Kernels put together; what they share."""

    is_product = False

    def __init__(self, *parts):
        if len(parts) < 2:
            raise ValueError(f"{type(self).__name__} takes at least two kernels, got {len(parts)}")
        flat: list[Kernel] = []
        for part in parts:
            if not isinstance(part, Kernel):
                raise TypeError(f"parts must be kernels, got {part!r}")
            flat.extend(part.parts if type(part) is type(self) else (part,))
        self.parts = tuple(part.copy() for part in flat)

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and self.parts == other.parts


class Sum(_Combination):
    """``k(x, z) = k1(x, z) + k2(x, z) + ...``; usually written ``k1 + k2``. It holds copies of its parts.

    Examples
    --------
    >>> from lvmfast.kernels import RBF, White
    >>> k = RBF(variance=2.0) + White(0.5)
    >>> k([[1.0], [1.0]])
    array([[2.5, 2. ],
           [2. , 2.5]])
    """

    def _scale(self, factor: float) -> None:
        for part in self.parts:
            part._scale(factor)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


class Product(_Combination):
    """``k(x, z) = k1(x, z) * k2(x, z) * ...``; usually written ``k1 * k2``. It holds copies of its parts.

    Examples
    --------
    >>> from lvmfast.kernels import RBF, Linear
    >>> k = RBF() * Linear()
    >>> k([[1.0], [2.0]]).diagonal()
    array([1., 4.])
    """

    is_product = True

    def _scale(self, factor: float) -> None:
        self.parts[0]._scale(factor)

    def __repr__(self) -> str:
        return " * ".join(f"({part!r})" if isinstance(part, Sum) else repr(part) for part in self.parts)


def _combine(how, left, right):
    from lvmfast.kernels._leaves import Constant

    operands = []
    for operand in (left, right):
        if isinstance(operand, numbers.Real) and not isinstance(operand, bool):
            operand = Constant(float(checked_value("a number among kernels, a constant's variance,", operand)))
        if not isinstance(operand, Kernel):
            return NotImplemented
        operands.append(operand)
    return how(*operands)


def _cast(array, dtype):
    return None if array is None else array.astype(dtype, copy=False)
