"""Covariance functions (kernels), fused with their gradients."""

from __future__ import annotations

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_matrix, check_positive, common_dtype

__all__ = ["RBF"]


class RBF:
    r"""Radial basis function (squared exponential) kernel:

    ``k(x, z) = variance * exp(-1/2 * sum_q ((x_q - z_q) / lengthscale_q)**2)``.

    Parameters
    ----------
    variance : float > 0, default=1.0
        ``k(x, x)``, in the squared units of the function.
    lengthscale : float > 0 or array of shape (q,), default=1.0
        In the units of the inputs; an array gives every input dimension its own (ARD).

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 4.9.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> k = lvm.kernels.RBF(variance=2.0, lengthscale=1.0)
    >>> k([[0.0], [1.0]]).round(4)
    array([[2.    , 1.2131],
           [1.2131, 2.    ]])
    """

    #: Names of the parameters, in the order in which they are learned.
    parameter_names = ("variance", "lengthscale")
    kind = _backend.cpu.StationaryKind.rbf

    def __init__(self, variance=1.0, lengthscale=1.0):
        self.variance = variance
        self.lengthscale = lengthscale

    def get_params(self, deep: bool = True) -> dict:
        """Parameters by name, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in self.parameter_names}

    def set_params(self, **params) -> RBF:
        """Set parameters by name."""
        for name, value in params.items():
            if name not in self.parameter_names:
                raise ValueError(f"{type(self).__name__} has the parameters {self.parameter_names}, got {name!r}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        values = (f"{name}={_short(getattr(self, name))}" for name in self.parameter_names)
        return f"{type(self).__name__}({', '.join(values)})"

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.parameter_names
        )

    __hash__ = None

    def validated(self, q: int) -> tuple[float, np.ndarray]:
        """``(variance, lengthscale of shape (q,))`` as floats, or an error that says what is wrong."""
        variance = check_positive(self.variance, "variance")
        lengthscale = np.asarray(self.lengthscale, dtype=np.float64)
        if lengthscale.ndim > 1 or (lengthscale.ndim == 1 and lengthscale.shape != (q,)):
            raise ValueError(f"lengthscale must be a number or have shape ({q},), got shape {lengthscale.shape}")
        if not (np.isfinite(lengthscale).all() and (lengthscale > 0).all()):
            raise ValueError(f"lengthscale must be finite and > 0, got {self.lengthscale!r}")
        return variance, np.ascontiguousarray(np.broadcast_to(lengthscale, (q,)))

    def __call__(self, X, Z=None, *, out=None) -> np.ndarray:
        """Kernel matrix ``K[i, j] = k(X[i], Z[j])``, or ``k(X[i], X[j])`` if ``Z`` is None.

        Parameters
        ----------
        X : array of shape (n, q)
        Z : array of shape (m, q), optional
            Without it, K is exactly symmetric with ``variance`` on its diagonal.
        out : array of shape (n, m), optional
            C-contiguous array of the result's dtype to write to. (Fresh memory costs time.)

        Returns
        -------
        K : array of shape (n, m)
            float32 if all inputs are, else float64. No (n, m, q) temporary is made.
        """
        module, X, Z, dtype = self._inputs(X, Z)
        variance, lengthscale = self.validated(X.shape[1])
        _check_range(dtype, variance, lengthscale, X, Z)
        shape = (len(X), len(X) if Z is None else len(Z))
        _backend.module_for(out)
        if out is None:
            out = np.empty(shape, dtype)
        elif not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
            got = f"{getattr(out, 'dtype', type(out).__name__)} {getattr(out, 'shape', '')}"
            raise ValueError(f"out must be an array of {dtype} with shape {shape}, got {got}")
        elif not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError("out must be C-contiguous and writeable")
        module.gram(self.kind, X, Z, variance, lengthscale.astype(dtype), out)
        return out

    def diag(self, X) -> np.ndarray:
        """``k(X[i], X[i]) = variance``, shape (n,)."""
        _, X, _, dtype = self._inputs(X, None)
        return np.full(len(X), self.validated(X.shape[1])[0], dtype)

    def vjp(self, X, Z, cotangent):
        """Gradients of ``sum(cotangent * k(X, Z))``.

        Parameters
        ----------
        X : array of shape (n, q)
        Z : array of shape (m, q) or None
            None stands for ``k(X, X)``; ``dX`` is then the derivative through both arguments.
        cotangent : array of shape (n, m)

        Returns
        -------
        dX : array of shape (n, q)
        dZ : array of shape (m, q), or None if ``Z`` is
        gradients : dict
            ``{"variance": float, "lengthscale": float or array of shape (q,)}``, shaped as the parameters.
        """
        module, X, Z, dtype = self._inputs(X, Z)
        q = X.shape[1]
        variance, lengthscale = self.validated(q)
        _check_range(dtype, variance, lengthscale, X, Z)
        cotangent = as_matrix(cotangent, "cotangent", dtype=dtype)
        shape = (len(X), len(X) if Z is None else len(Z))
        if cotangent.shape != shape:
            raise ValueError(f"cotangent must have shape {shape}, got {cotangent.shape}")
        dX, dZ, d_variance, d_lengthscale = module.gram_vjp(
            self.kind, X, Z, cotangent, variance, lengthscale.astype(dtype)
        )
        gradients = {
            "variance": d_variance,
            "lengthscale": d_lengthscale if np.ndim(self.lengthscale) else float(d_lengthscale.sum()),
        }
        return dX.astype(dtype, copy=False), None if dZ is None else dZ.astype(dtype, copy=False), gradients

    @staticmethod
    def _inputs(X, Z):
        module = _backend.module_for(X, Z)
        X = as_matrix(X, "X")
        if Z is not None:
            Z = as_matrix(Z, "Z", columns=X.shape[1])
        dtype = X.dtype if Z is None else common_dtype(X, Z)
        return module, X.astype(dtype, copy=False), None if Z is None else Z.astype(dtype, copy=False), dtype


def _check_range(dtype, variance: float, lengthscale: np.ndarray, *inputs) -> None:
    """Raise where ``dtype`` cannot hold the parameters or the inputs divided by the lengthscale."""
    tiny, most = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    if not tiny <= variance <= most:
        raise ValueError(f"variance must be a normal {dtype} number, got {variance:g}; use float64 inputs or rescale")
    largest = max(float(np.abs(x).max(initial=0.0)) for x in inputs if x is not None)
    if lengthscale.min() < tiny or largest > 0.25 * most * min(1.0, float(lengthscale.min())):
        raise ValueError(
            f"inputs divided by lengthscale must stay within {dtype}, got inputs up to {largest:g} and a lengthscale "
            f"of {lengthscale.min():g}; rescale"
        )


def _short(value) -> str:
    return np.array2string(np.asarray(value), precision=4, separator=", ")
