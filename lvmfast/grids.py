"""Regular grids: points for functions of rows, and the way back to the shape of a picture.

``mesh(a, b)`` stands for every pair of a number of ``a`` and one of ``b``, as rows of an (n, 2) array. Models that know
a mesh from scattered points (:meth:`lvmfast.GridLatentModel.log_density`) are faster on it.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from lvmfast import _backend
from lvmfast._validation import as_float_array, as_matrix, check_choice, check_integer, check_positive, common_dtype

__all__ = ["Mesh", "latent_grid", "mesh", "open_mesh", "prior_grid"]


class Mesh:
    """The points (a_i, b_j, ...) of the axes a, b, ...; :func:`mesh` makes them.

    Attributes
    ----------
    axes : tuple of arrays of shape (n_k,)
    indexing : {"ij", "xy"}
    shape : tuple of int
        Of values on the grid: ``(n_1, n_2, n_3, ...)`` for "ij", ``(n_2, n_1, n_3, ...)`` for "xy".
    ndim : int
        The number of axes, which is that of the columns of ``points``.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> grid = lvm.grids.mesh([0.0, 1.0], [5.0, 6.0, 7.0], indexing="xy")
    >>> grid
    Mesh(0 to 1 in 2, 5 to 7 in 3; indexing='xy')
    >>> grid.points[:3].tolist(), grid.coordinates[0].shape
    ([[0.0, 5.0], [1.0, 5.0], [0.0, 6.0]], (3, 2))
    """

    def __init__(self, axes, indexing: str = "ij"):
        check_choice(indexing, "indexing", ("ij", "xy"))
        if not axes:
            raise ValueError("axes must be at least one array of shape (n,), got none")
        arrays = [as_float_array(axis, f"axes[{k}]") for k, axis in enumerate(axes)]
        for k, array in enumerate(arrays):
            if array.ndim != 1 or not len(array):
                raise ValueError(f"axes[{k}] must have shape (n,) with n >= 1, got {array.shape}")
        xp, dtype = _backend.namespace(*arrays), common_dtype(*arrays)
        device = "cpu" if xp is np else "cuda"
        self.axes = tuple(xp.array(_backend.to_device(array, device), dtype=dtype, order="C") for array in arrays)
        self.indexing = indexing
        self.ndim = len(arrays)
        self.shape = tuple(len(self.axes[k]) for k in self.order)

    @property
    def order(self) -> tuple[int, ...]:
        """The axis along which each dimension of ``shape`` runs."""
        first = (1, 0) if self.indexing == "xy" and self.ndim > 1 else tuple(range(min(2, self.ndim)))
        return (*first, *range(2, self.ndim))

    @property
    def dtype(self) -> np.dtype:
        """float32 where all axes are, otherwise float64."""
        return self.axes[0].dtype

    @property
    def open(self) -> tuple:
        """The axes in shapes that broadcast to ``shape``: views."""
        dimension = {axis: k for k, axis in enumerate(self.order)}
        return tuple(
            axis.reshape([-1 if d == dimension[k] else 1 for d in range(self.ndim)]) for k, axis in enumerate(self.axes)
        )

    @property
    def coordinates(self) -> tuple:
        """The axes spread over ``shape``, as ``numpy.meshgrid`` has them: views that cannot be written to."""
        return tuple(_backend.namespace(*self.axes).broadcast_to(axis, self.shape) for axis in self.open)

    @property
    def points(self):
        """A new array of shape (n, d), one row a point; the last dimension of ``shape`` runs fastest."""
        points = _backend.namespace(*self.axes).empty((*self.shape, self.ndim), self.dtype)
        for k, axis in enumerate(self.open):
            points[..., k] = axis
        return points.reshape(-1, self.ndim)

    def reshape(self, values):
        """Values at the points, (n, ...), in the shape of the grid, ``shape + (...)``.

        Raises
        ------
        ValueError
            If there is not one value for each point.
        """
        values = values if _backend.is_gpu(values) else np.asarray(values)
        if values.ndim == 0 or len(values) != len(self):
            raise ValueError(f"values must have shape ({len(self)}, ...), one for each point, got {values.shape}")
        return values.reshape(self.shape + values.shape[1:])

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("the points of a Mesh are made when they are asked for: copy must not be False")
        return np.asarray(self.points, dtype=dtype)

    def __repr__(self) -> str:
        spans = ", ".join(f"{float(a[0]):g} to {float(a[-1]):g} in {len(a)}" for a in self.axes)
        return f"Mesh({spans}; indexing={self.indexing!r})"


def mesh(*axes, indexing="ij") -> Mesh:
    """The points of a regular grid, ``points[k] = (a_i, b_j, ...)``.

    Parameters
    ----------
    *axes : arrays of shape (n_k,)
        The numbers along each direction.
    indexing : {"ij", "xy"}, default="ij"
        "ij": values on the grid have the shape (n_1, n_2, ...), as with ``numpy.mgrid``; "xy": (n_2, n_1, ...), as with
        ``numpy.meshgrid``, which is how matplotlib's ``contourf`` and ``imshow`` take them.

    Returns
    -------
    Mesh
        ``.points`` has shape (n, d), ``.reshape(values)`` turns values at the points into the shape of the grid. Where
        an array is expected, it stands for its points.

    Raises
    ------
    ValueError
        If an axis is not of shape (n,), or indexing is neither.

    Notes
    -----
    ``mesh(a, b).coordinates`` are ``numpy.mgrid``'s arrays, ``mesh(a, b, indexing="xy").coordinates`` those of
    ``numpy.meshgrid(a, b)``: their transposes.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> grid = lvm.grids.mesh(np.arange(1, 11, 2), np.arange(-12, -3, 3))
    >>> grid.points.shape, grid.shape
    ((15, 2), (5, 3))
    >>> grid.reshape(grid.points.sum(axis=1))[0]
    array([-11.,  -8.,  -5.])
    """
    return Mesh(axes, indexing)


def open_mesh(*axes, indexing="ij") -> tuple:
    """The axes in shapes that broadcast against each other, ``a[:, None], b[None, :]``: no grid is filled.

    Parameters
    ----------
    *axes : arrays of shape (n_k,)
    indexing : {"ij", "xy"}, default="ij"
        Which axis runs along the first dimension; see :func:`mesh`.

    Returns
    -------
    tuple of arrays
        Views of the axes, as ``numpy.ogrid`` has them for "ij"; arithmetic with them gives arrays on the whole grid.

    Raises
    ------
    ValueError
        If an axis is not of shape (n,), or indexing is neither.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> a, b = lvm.grids.open_mesh([0.0, 1.0, 2.0], [10.0, 20.0])
    >>> a.shape, b.shape, (a + b).tolist()
    ((3, 1), (1, 2), [[10.0, 20.0], [11.0, 21.0], [12.0, 22.0]])
    """
    return Mesh(axes, indexing).open


def prior_grid(n, quantiles=(0.05, 0.95), n_components=2) -> Mesh:
    """Latents between which a standard normal prior has equal mass, ``z_i = ndtri(low + (high - low) i / (n - 1))``.

    Parameters
    ----------
    n : int >= 2
        Points along each direction.
    quantiles : (low, high), default=(0.05, 0.95)
        0 < low < high < 1.
    n_components : int, default=2
        Directions.

    Returns
    -------
    Mesh
        Of ``n ** n_components`` points in float64; decoded, they are the picture of a manifold.

    Raises
    ------
    ValueError
        For n < 2, or quantiles that are not 0 < low < high < 1.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", figure 4.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> lvm.grids.prior_grid(3, (0.1, 0.9)).axes[0].round(3) + 0.0
    array([-1.282,  0.   ,  1.282])
    """
    n, n_components = check_integer(n, "n", 2), check_integer(n_components, "n_components", 1)
    try:
        low, high = (float(q) for q in quantiles)
    except (TypeError, ValueError):
        raise ValueError(f"quantiles must be (low, high), got {quantiles!r}") from None
    if not 0 < low < high < 1:
        raise ValueError(f"quantiles must be (low, high) with 0 < low < high < 1, got {quantiles!r}")
    return Mesh((ndtri(np.linspace(low, high, n)),) * n_components)


def latent_grid(embedding, n, margin=0.05) -> Mesh:
    """An even grid over the box that holds an embedding, widened on every side by ``margin`` times its extent.

    Parameters
    ----------
    embedding : array of shape (m, q)
        Latents, such as ``GPLVM.embedding_``.
    n : int >= 2
        Points along each direction.
    margin : float >= 0, default=0.05
        A direction in which all latents are the same is widened by ``margin`` itself.

    Returns
    -------
    Mesh
        Of ``n ** q`` points; of the dtype and on the device of the embedding.

    Raises
    ------
    ValueError
        If the embedding is not (m, q) with m >= 1, or not finite; for n < 2 or margin < 0.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> lvm.grids.latent_grid([[0.0, 5.0], [1.0, 7.0]], 2, margin=0.5)
    Mesh(-0.5 to 1.5 in 2, 4 to 8 in 2; indexing='ij')
    """
    X = as_matrix(embedding, "embedding")
    if not X.size:
        raise ValueError(f"embedding must have at least one row and one column, got shape {X.shape}")
    n, margin = check_integer(n, "n", 2), check_positive(margin, "margin", zero=True)
    xp = _backend.namespace(X)
    low, high = X.min(axis=0), X.max(axis=0)
    more = margin * xp.where(high > low, high - low, 1)
    return Mesh([xp.linspace(a, b, n, dtype=X.dtype) for a, b in zip(low - more, high + more, strict=True)])
