"""The covariance functions."""

from __future__ import annotations

import dataclasses

import numpy as np

from lvmfast import _backend
from lvmfast._validation import check_integer
from lvmfast.kernels._compiled import checked_value
from lvmfast.kernels._kernel import Kernel
from lvmfast.kernels._parameters import short

_KIND = _backend.cpu.Covariance


class _Leaf(Kernel):
    """One covariance function."""

    #: The compiled covariance function.
    kind: object
    #: Names of the parameters, in the order in which the compiled code takes them.
    parameter_names_of_leaf: tuple[str, ...] = ("variance", "lengthscale")
    #: Those that may have one value per active dimension.
    per_dimension: tuple[str, ...] = ("lengthscale",)

    def __init__(self, active_dims):
        self.active_dims = active_dims
        self._settings: dict = {}

    def _checked_degree(self) -> int:
        return 1

    def _scale(self, factor: float) -> None:
        self._scale_parameter("variance", factor)

    def _scale_parameter(self, name: str, factor: float) -> None:
        value = getattr(self, name)
        setattr(self, name, value * factor if np.ndim(value) == 0 else np.asarray(value) * factor)
        setting = self._settings.get(name)
        if setting is not None:
            floor = getattr(setting.bijector, "floor", 0.0)
            bijector = type(setting.bijector)(floor * factor) if floor else setting.bijector
            bounds = tuple(bound * factor for bound in setting.bounds)
            self._settings[name] = dataclasses.replace(setting, bijector=bijector, bounds=bounds)

    def _set_value(self, name: str, value) -> None:
        array = checked_value(name, value)
        setattr(self, name, array.copy() if array.ndim else float(array))

    def get_params(self, deep: bool = True) -> dict:
        """Parameters by name, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in self._arguments_of_init()}

    def set_params(self, **params) -> Kernel:
        """Set parameters by name; nothing changes if a name or a value is wrong."""
        known = self._arguments_of_init()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{name!r} names no parameter of {type(self).__name__}; there are {', '.join(known)}")
            if name in self.parameter_names_of_leaf:
                checked_value(name, value)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _arguments_of_init(self) -> tuple[str, ...]:
        return (*self.parameter_names_of_leaf, "active_dims")

    def __repr__(self) -> str:
        values = [f"{name}={short(getattr(self, name))}" for name in self._arguments_of_init()[:-1]]
        if self.active_dims is not None:
            values.append(f"active_dims={np.asarray(self.active_dims).tolist()}")
        return f"{type(self).__name__}({', '.join(values)})"

    def __eq__(self, other) -> bool:
        return (
            type(self) is type(other)
            and self._settings == other._settings
            and all(np.array_equal(getattr(self, n), getattr(other, n)) for n in self._arguments_of_init()[:-1])
            and _same_dims(self.active_dims, other.active_dims)
        )


def _same_dims(a, b) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


class _Scaled(_Leaf):
    """A variance and one or more lengthscales."""

    def __init__(self, variance=1.0, lengthscale=1.0, *, active_dims=None):
        super().__init__(active_dims)
        self.variance = variance
        self.lengthscale = lengthscale


class RBF(_Scaled):
    r"""Radial basis function (squared exponential, exponentiated quadratic) kernel:

    ``k(x, z) = variance * exp(-1/2 * sum_q ((x_q - z_q) / lengthscale_q)**2)``.

    Parameters
    ----------
    variance : float > 0, default=1.0
        ``k(x, x)``, in the squared units of the function.
    lengthscale : float > 0 or array of shape (d,), default=1.0
        In the units of the inputs; an array gives each of the d active dimensions its own (ARD).
    active_dims : list of int, optional
        The columns of X that the kernel sees; default all.

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

    kind = _KIND.rbf


class Matern12(_Scaled):
    r"""Matérn kernel with smoothness 1/2 (exponential, Ornstein-Uhlenbeck):

    ``k(x, z) = variance * exp(-r)``, ``r = sqrt(sum_q ((x_q - z_q) / lengthscale_q)**2)``.

    At x = z it has no derivative; :meth:`vjp` takes 0 there, the mean over all directions.

    Parameters
    ----------
    variance : float > 0, default=1.0
    lengthscale : float > 0 or array of shape (d,), default=1.0
    active_dims : list of int, optional
        As for :class:`RBF`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 4.18.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.kernels import Matern12
    >>> bool(np.allclose(Matern12()([[0.0]], [[2.0]]), np.exp(-2.0)))
    True
    """

    kind = _KIND.matern12


class Matern32(_Scaled):
    r"""Matérn kernel with smoothness 3/2:

    ``k(x, z) = variance * (1 + sqrt(3) r) * exp(-sqrt(3) r)``, ``r`` as in :class:`Matern12`.

    Parameters
    ----------
    variance : float > 0, default=1.0
    lengthscale : float > 0 or array of shape (d,), default=1.0
    active_dims : list of int, optional
        As for :class:`RBF`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 4.17.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.kernels import Matern32
    >>> a = np.sqrt(3.0) * 2.0
    >>> bool(np.allclose(Matern32()([[0.0]], [[2.0]]), (1 + a) * np.exp(-a)))
    True
    """

    kind = _KIND.matern32


class Matern52(_Scaled):
    r"""Matérn kernel with smoothness 5/2:

    ``k(x, z) = variance * (1 + sqrt(5) r + 5/3 r**2) * exp(-sqrt(5) r)``, ``r`` as in :class:`Matern12`.

    Parameters
    ----------
    variance : float > 0, default=1.0
    lengthscale : float > 0 or array of shape (d,), default=1.0
    active_dims : list of int, optional
        As for :class:`RBF`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 4.17.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.kernels import Matern52
    >>> a = np.sqrt(5.0) * 2.0
    >>> bool(np.allclose(Matern52()([[0.0]], [[2.0]]), (1 + a + a**2 / 3) * np.exp(-a)))
    True
    """

    kind = _KIND.matern52


class RationalQuadratic(_Leaf):
    r"""Rational quadratic kernel, a mixture of RBFs over lengthscales:

    ``k(x, z) = variance * (1 + s / (2 alpha))**(-alpha)``, ``s = sum_q ((x_q - z_q) / lengthscale_q)**2``.

    Parameters
    ----------
    variance : float > 0, default=1.0
    lengthscale : float > 0 or array of shape (d,), default=1.0
    alpha : float > 0, default=1.0
        Spread of the mixture, a pure number: the larger, the nearer to :class:`RBF`.
    active_dims : list of int, optional
        As for :class:`RBF`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 4.19.

    Examples
    --------
    >>> from lvmfast.kernels import RationalQuadratic
    >>> RationalQuadratic(alpha=1.0)([[0.0]], [[2.0]]).round(4)
    array([[0.3333]])
    """

    kind = _KIND.rational_quadratic
    parameter_names_of_leaf = ("variance", "lengthscale", "alpha")

    def __init__(self, variance=1.0, lengthscale=1.0, alpha=1.0, *, active_dims=None):
        super().__init__(active_dims)
        self.variance = variance
        self.lengthscale = lengthscale
        self.alpha = alpha


class Periodic(_Leaf):
    r"""Periodic kernel, a product of one per dimension:

    ``k(x, z) = variance * exp(-2 * sum_q sin(pi (x_q - z_q) / period_q)**2 / lengthscale_q**2)``.

    Parameters
    ----------
    variance : float > 0, default=1.0
    lengthscale : float > 0 or array of shape (d,), default=1.0
        A pure number: relative to the circle on which the inputs lie.
    period : float > 0 or array of shape (d,), default=1.0
        In the units of the inputs.
    active_dims : list of int, optional
        As for :class:`RBF`.

    References
    ----------
    MacKay (1998), Introduction to Gaussian processes; Rasmussen & Williams (2006), eq. 4.31.

    Examples
    --------
    >>> from lvmfast.kernels import Periodic
    >>> Periodic(period=2.0)([[0.0]], [[2.0], [4.0]]).round(4)
    array([[1., 1.]])
    """

    kind = _KIND.periodic
    parameter_names_of_leaf = ("variance", "lengthscale", "period")
    per_dimension = ("lengthscale", "period")

    def __init__(self, variance=1.0, lengthscale=1.0, period=1.0, *, active_dims=None):
        super().__init__(active_dims)
        self.variance = variance
        self.lengthscale = lengthscale
        self.period = period


class Linear(_Leaf):
    r"""Linear kernel, of functions ``w . x`` with ``w_q ~ N(0, variance_q)``:

    ``k(x, z) = sum_q variance_q x_q z_q``.

    Parameters
    ----------
    variance : float > 0 or array of shape (d,), default=1.0
        In squared units of the function per squared units of the inputs; an array gives each of the d active
        dimensions its own (ARD).
    active_dims : list of int, optional
        As for :class:`RBF`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, sec. 4.2.2.

    Examples
    --------
    >>> from lvmfast.kernels import Linear
    >>> Linear(variance=2.0)([[1.0], [3.0]])
    array([[ 2.,  6.],
           [ 6., 18.]])
    """

    kind = _KIND.linear
    parameter_names_of_leaf = ("variance",)
    per_dimension = ("variance",)

    def __init__(self, variance=1.0, *, active_dims=None):
        super().__init__(active_dims)
        self.variance = variance


class Polynomial(_Leaf):
    r"""Polynomial kernel:

    ``k(x, z) = (sum_q variance_q x_q z_q + offset)**degree``.

    Parameters
    ----------
    variance : float > 0 or array of shape (d,), default=1.0
        An array gives each of the d active dimensions its own (ARD).
    offset : float > 0, default=1.0
    degree : int >= 1, default=3
        Not learned.
    active_dims : list of int, optional
        As for :class:`RBF`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, sec. 4.2.2.

    Examples
    --------
    >>> from lvmfast.kernels import Polynomial
    >>> Polynomial(degree=2)([[1.0]], [[1.0], [2.0]])
    array([[4., 9.]])
    """

    kind = _KIND.polynomial
    parameter_names_of_leaf = ("variance", "offset")
    per_dimension = ("variance",)

    def __init__(self, variance=1.0, offset=1.0, degree=3, *, active_dims=None):
        super().__init__(active_dims)
        self.variance = variance
        self.offset = offset
        self.degree = degree

    def _checked_degree(self) -> int:
        return check_integer(self.degree, "degree", 1)

    def _scale(self, factor: float) -> None:
        root = factor ** (1.0 / self.degree)
        self._scale_parameter("variance", root)
        self._scale_parameter("offset", root)

    def _arguments_of_init(self) -> tuple[str, ...]:
        return ("variance", "offset", "degree", "active_dims")


class Cosine(_Scaled):
    r"""Cosine kernel, of plane waves with random phase:

    ``k(x, z) = variance * cos(2 pi * sum_q (x_q - z_q) / lengthscale_q)``.

    The signed sum makes it positive semi-definite in any number of dimensions, where the cosine of a distance is not.

    Parameters
    ----------
    variance : float > 0, default=1.0
    lengthscale : float > 0 or array of shape (d,), default=1.0
        Wavelength along each dimension, in the units of the inputs.
    active_dims : list of int, optional
        As for :class:`RBF`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, sec. 4.2.1 (a single spectral line).

    Examples
    --------
    >>> from lvmfast.kernels import Cosine
    >>> Cosine(lengthscale=2.0)([[0.0]], [[1.0], [2.0]]).round(4)
    array([[-1.,  1.]])
    """

    kind = _KIND.cosine


class Constant(_Leaf):
    r"""Constant kernel, of functions that are one random number: ``k(x, z) = variance``.

    Parameters
    ----------
    variance : float > 0, default=1.0
    active_dims : list of int, optional
        Makes no difference.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, table 4.1.

    Examples
    --------
    >>> from lvmfast.kernels import Constant
    >>> Constant(2.0)([[0.0], [1.0]])
    array([[2., 2.],
           [2., 2.]])
    """

    kind = _KIND.constant
    parameter_names_of_leaf = ("variance",)
    per_dimension = ()

    def __init__(self, variance=1.0, *, active_dims=None):
        super().__init__(active_dims)
        self.variance = variance


class White(_Leaf):
    r"""White noise: ``k(x_i, x_j) = variance`` if i = j and both come from one X, as in ``k(X)``; else 0.

    ``k(X, Z)`` is 0 even for equal rows: new noise is drawn with every observation.

    Parameters
    ----------
    variance : float > 0, default=1.0
    active_dims : list of int, optional
        Makes no difference.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, table 4.1.

    Examples
    --------
    >>> from lvmfast.kernels import White
    >>> X = [[0.0], [0.0]]
    >>> White(0.5)(X)
    array([[0.5, 0. ],
           [0. , 0.5]])
    >>> White(0.5)(X, X)
    array([[0., 0.],
           [0., 0.]])
    """

    kind = _KIND.white
    parameter_names_of_leaf = ("variance",)
    per_dimension = ()

    def __init__(self, variance=1.0, *, active_dims=None):
        super().__init__(active_dims)
        self.variance = variance
