"""Learnable flows: affine couplings, masked autoregressive and planar layers, learned scales."""

from __future__ import annotations

import numpy as np

from lvmfast._validation import check_choice, check_integer, check_positive
from lvmfast.bijectors._flows_base import AFFINE, AUTOREGRESSIVE, COUPLING, PLANAR, Learnable, Step
from lvmfast.nn import Dense, Sequential
from lvmfast.nn._graph import Graph
from lvmfast.nn._layers import ACTIVATIONS

__all__ = ["AffineCoupling", "LearnedAffine", "MaskedAutoregressive", "Planar", "RealNVP"]

MASKS = ("even", "odd", "first", "last")


class AffineCoupling(Learnable):
    """``y_a = x_a``, ``y_b = x_b exp(s(x_a)) + t(x_a)``; ``log |det dy/dx| = sum s``.

    The columns a stay and feed a dense network with two heads, t and ``s = bound tanh(raw / bound)``. Both directions
    take one pass.

    Parameters
    ----------
    n_features : int >= 2
    hidden : tuple of int, default=(64, 64)
        Widths of the network's layers.
    mask : {"even", "odd", "first", "last"} or array of bool of shape (n_features,), default="even"
        The columns that stay: 0, 2, ...; 1, 3, ...; the first half or the last (shorter where d is odd, and longer);
        or where the array is true.
    activation : str, default="relu"
        Of the network's layers, as in :class:`lvmfast.nn.Dense`.
    bound : float > 0, default=3
        Of ``|s|``: no column grows or shrinks by more than ``exp(bound)``.

    References
    ----------
    Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP", eq. 4 to 8.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.bijectors import AffineCoupling
    >>> flow = AffineCoupling(3, hidden=(8,)).build(0)
    >>> y, log_det = flow.forward_and_log_det(np.ones((2, 3)))
    >>> bool(np.allclose(flow.inverse(y), 1)), log_det.shape
    (True, (2,))
    """

    def __init__(self, n_features, hidden=(64, 64), mask="even", *, activation="relu", bound=3.0):
        self.hidden, self.activation = _widths(hidden), _activation(activation)
        self.bound = check_positive(bound, "bound")
        n_features = check_integer(n_features, "n_features", 2)
        stays = _stays(mask, n_features)
        self.mask = mask if isinstance(mask, str) else tuple(stays.tolist())
        super().__init__(n_features, [_coupling(stays, self.hidden, self.activation, self.bound)])

    def _options(self) -> dict:
        names = ("n_features", "hidden", "mask", "activation", "bound")
        return {name: getattr(self, name) for name in names}


class RealNVP(Learnable):
    """Affine couplings, one after the other, of which every second one has the other columns.

    Layer k keeps columns 0, 2, ... for even k, and 1, 3, ... for odd k; see :class:`AffineCoupling`. Both directions
    take one pass through every layer.

    Parameters
    ----------
    n_features : int >= 2
    n_layers : int, default=6
    hidden : tuple of int, default=(64, 64)
        Widths of each layer's network.
    activation : str, default="relu"
    bound : float > 0, default=3
        Of the log scales of a layer.

    References
    ----------
    Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP", sec. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.bijectors import RealNVP
    >>> flow = RealNVP(2, n_layers=4, hidden=(8,)).build(0)
    >>> bool(np.allclose(flow.forward([[1.0, 2.0]]), [[1, 2]]))  # starts as the identity
    True
    """

    def __init__(self, n_features, n_layers=6, hidden=(64, 64), *, activation="relu", bound=3.0):
        self.hidden, self.activation = _widths(hidden), _activation(activation)
        self.n_layers, self.bound = check_integer(n_layers, "n_layers", 1), check_positive(bound, "bound")
        n_features = check_integer(n_features, "n_features", 2)
        masks = [_stays(MASKS[k % 2], n_features) for k in range(self.n_layers)]
        steps = [_coupling(stays, self.hidden, self.activation, self.bound) for stays in masks]
        super().__init__(n_features, steps)

    def _options(self) -> dict:
        names = ("n_features", "n_layers", "hidden", "activation", "bound")
        return {name: getattr(self, name) for name in names}


class MaskedAutoregressive(Learnable):
    """``y_i = x_i exp(s_i(y_<i)) + t_i(y_<i)``; ``log |det dy/dx| = sum s``.

    All t and ``s = bound tanh(raw / bound)`` come from one dense network of y with masked weights. ``inverse`` takes
    one pass, ``forward`` one for every column: data of which a density is learned are y. ``Invert`` of it is an inverse
    autoregressive flow, with a fast ``forward``.

    Parameters
    ----------
    n_features : int >= 1
    hidden : tuple of int, default=(64, 64)
        Widths of the network's layers; each of at least n_features - 1 lets all columns through.
    order : None, "reverse" or sequence of int, default=None
        The columns in the order in which they depend on each other: as they are, backwards, or a permutation.
    activation : str, default="relu"
    bound : float > 0, default=3
        Of ``|s|``.

    Notes
    -----
    Masked weights count as 0 whatever :attr:`parameters` hold, their gradients are 0.

    References
    ----------
    Germain, Gregor, Murray & Larochelle (2015), "MADE: masked autoencoder for distribution estimation", eq. 8 and 9.
    Papamakarios, Pavlakou & Murray (2017), "Masked autoregressive flow for density estimation", eq. 3 to 5. Kingma et
    al. (2016), "Improved variational inference with inverse autoregressive flow".

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.bijectors import MaskedAutoregressive
    >>> flow = MaskedAutoregressive(3, hidden=(8,), order="reverse").build(0)
    >>> flow.inverse(np.ones((4, 3))).shape
    (4, 3)
    """

    def __init__(self, n_features, hidden=(64, 64), order=None, *, activation="relu", bound=3.0):
        self.hidden, self.activation = _widths(hidden), _activation(activation)
        self.bound = check_positive(bound, "bound")
        n_features = check_integer(n_features, "n_features", 1)
        columns = _order(order, n_features)
        self.order = order if order is None or isinstance(order, str) else tuple(columns)
        graph = _graph(n_features, n_features, self.hidden, self.activation)
        masks = _made_masks(graph, columns)
        step = Step(AUTOREGRESSIVE, graph.n_parameters, tuple(columns), 0, self.bound, graph, masks)
        super().__init__(n_features, [step])

    def _options(self) -> dict:
        names = ("n_features", "hidden", "order", "activation", "bound")
        return {name: getattr(self, name) for name in names}


class Planar(Learnable):
    """``y = x + u' tanh(w x + b)``; ``log |det dy/dx| = log(1 + (1 - tanh(w x + b)**2) w u')``.

    ``u' = u + (m(w u) - w u) w / |w|**2`` with ``m(a) = log(1 + exp(a)) - 1``, so that ``w u' = m(w u) > -1`` and every
    y has one x, which ``inverse`` finds by Newton's method on one number. ``forward`` has pull-backs: as a part of a
    density that is learned from data use ``Invert(Planar(...))``.

    Parameters
    ----------
    n_features : int >= 1

    Notes
    -----
    ``parameters`` are u, w and b, one after the other.

    References
    ----------
    Rezende & Mohamed (2015), "Variational inference with normalizing flows", eq. 10 to 12 and appendix A.1.

    Examples
    --------
    >>> import numpy as np
    >>> from lvmfast.bijectors import Planar
    >>> flow = Planar(2).build(0)
    >>> flow.parameters = [2.0, 0.0, 1.0, 1.0, 0.5]
    >>> bool(np.allclose(flow.inverse(flow.forward([0.3, -1.0])), [0.3, -1.0]))
    True
    """

    def __init__(self, n_features):
        n_features = check_integer(n_features, "n_features", 1)
        super().__init__(n_features, [Step(PLANAR, 2 * n_features + 1)])

    def _options(self) -> dict:
        return {"n_features": self.n_features}


class LearnedAffine(Learnable):
    """``y = x exp(s) + t`` with parameters t and s of every column; ``log |det dy/dx| = sum s``.

    Parameters
    ----------
    n_features : int >= 1

    Notes
    -----
    ``parameters`` are t and s, one after the other. Both directions take one pass.

    References
    ----------
    Kingma & Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", sec. 3.1 (without first values
    from data).

    Examples
    --------
    >>> from lvmfast.bijectors import LearnedAffine
    >>> flow = LearnedAffine(2).build()
    >>> flow.parameters = [1.0, 2.0, 0.0, 0.0]
    >>> flow.forward([0.0, 0.0])
    array([1., 2.])
    """

    def __init__(self, n_features):
        n_features = check_integer(n_features, "n_features", 1)
        super().__init__(n_features, [Step(AFFINE, 2 * n_features)])

    def _options(self) -> dict:
        return {"n_features": self.n_features}


def _widths(hidden) -> tuple[int, ...]:
    widths = hidden if isinstance(hidden, (tuple, list)) else np.atleast_1d(hidden).tolist()
    return tuple(check_integer(width, "hidden", 1) for width in widths)


def _activation(name) -> str:
    check_choice(name, "activation", ACTIVATIONS)
    return name


def _stays(mask, d: int) -> np.ndarray:
    """Where columns stay, (d,) of bool."""
    place = np.arange(d)
    if isinstance(mask, str):
        check_choice(mask, "mask", MASKS)
        return {"even": place % 2 == 0, "odd": place % 2 == 1, "first": place < d // 2, "last": place >= d // 2}[mask]
    stays = np.asarray(mask)
    if stays.dtype != bool or stays.shape != (d,):
        raise ValueError(f"mask must be a name or an array of bool of shape ({d},), got {mask!r}")
    if stays.all() or not stays.any():
        raise ValueError(f"mask must let one column stay and change another, got {mask!r}")
    return stays


def _graph(inputs: int, outputs: int, hidden, activation) -> Graph:
    """A dense network with two heads, which start at 0."""
    layers = [Dense(width, activation) for width in hidden]
    heads = [[Dense(outputs, initializer="zeros")] for _ in range(2)]
    return Graph(Sequential(layers, heads=heads), (inputs,))


def _coupling(stays, hidden, activation, bound) -> Step:
    kept, changed = np.flatnonzero(stays).tolist(), np.flatnonzero(~stays).tolist()
    graph = _graph(len(kept), len(changed), hidden, activation)
    return Step(COUPLING, graph.n_parameters, (*kept, *changed), len(kept), bound, graph)


def _order(order, d: int) -> list[int]:
    if order is None:
        return list(range(d))
    if isinstance(order, str):
        check_choice(order, "order", ("reverse",))
        return list(range(d))[::-1]
    columns = np.asarray(order)
    if columns.shape != (d,) or sorted(columns.tolist()) != list(range(d)):
        raise ValueError(f"order must be None, 'reverse' or a permutation of 0, ..., {d - 1}, got {order!r}")
    return [int(c) for c in columns]


def _made_masks(graph: Graph, columns: list[int]) -> dict:
    """Masks of kernels by their place: Germain et al. (2015), eq. 8 and 9; hidden degrees 1, ..., d - 1 in turn."""
    d, n = len(columns), len(graph.weighted)
    degrees = np.empty(d, int)
    degrees[columns] = np.arange(1, d + 1)
    masks, given = {}, degrees
    for k, entry in enumerate(graph.weighted):
        if k >= n - 2:  # a head
            masks[entry.kernel.start] = (degrees[None, :] > given[:, None]).astype(np.uint8)
            continue
        own = 1 + np.arange(entry.output_shape[0]) % max(1, d - 1)
        masks[entry.kernel.start] = (own[None, :] >= given[:, None]).astype(np.uint8)
        given = own
    return masks
