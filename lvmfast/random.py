"""Random draws as functions of a seed and an index: the same for any number of threads, any split and any device.

Philox4x32-10 turns the index of a draw and a key, the seed, into random bits (Salmon et al., 2011); nothing is kept
between draws. Draw ``i`` of ``normal(size=n, rng=7)`` is the same number for every ``n > i``, and pieces can be drawn
apart, with ``start``. Draws of different functions with one seed are independent.
"""

from __future__ import annotations

import math
import numbers
import secrets

import numpy as np

from lvmfast import _backend
from lvmfast._validation import as_float_array, as_shape, check_integer, check_target

__all__ = ["bits", "exponential", "normal", "philox", "polya_gamma", "uniform"]

_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
_WORDS = (np.dtype(np.uint64), np.dtype(np.uint32))


def uniform(low=0.0, high=1.0, size=None, *, rng=None, dtype=None, out=None, start=0, device="auto"):
    r"""``x = low + (high - low) u`` with ``0 < u < 1`` uniform.

    ``u`` is a multiple of ``2**-53`` (float32: ``2**-24``), each as likely as the others; half of that stands for 0, so
    that neither 0 nor 1 is drawn.

    Parameters
    ----------
    low, high : float or array_like, default=0, 1
        Ends of the interval, in any order; they broadcast.
    size : int or tuple of int, optional
        Shape of the result; by default that to which the parameters broadcast, or that of ``out``.
    rng : None, int or numpy random generator, optional
        An int >= 0 and < 2**64 is the seed: the same one gives the same draws. A ``numpy.random.Generator`` or
        ``RandomState`` gives 64 bits for a seed, and other ones to the next call. None: a seed from the system.
    dtype : float64 or float32, optional
        By default that of ``out``; else float32 if all parameters that are arrays are, and float64 if not. The draws of
        the two are different ones, not roundings of one another.
    out : ndarray, optional
        Receives the result, in C order of its elements whatever its strides; may be one of the parameters.
    start : int, default=0
        Index of the first draw: ``uniform(size=n, start=k)`` are the draws from ``k`` to ``k + n``.
    device : "auto", "cpu" or "cuda", default="auto"
        Where the draws are made and stay: "auto" is where ``out`` or the parameters that are arrays are. The bits are
        the same on both, and the draws to rounding.

    Returns
    -------
    float or ndarray
        A float where neither ``size`` nor a parameter nor ``out`` gives a shape.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not finite, or ``size``, ``dtype``, ``out``, ``rng`` or ``start`` is not what it should be.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> a = lvm.random.uniform(size=1000, rng=7)
    >>> bool((a[:10] == lvm.random.uniform(size=10, rng=7)).all())
    True
    """
    request = _Request({"low": low, "high": high}, size, dtype, out, device)
    low, high = request.parameters
    with np.errstate(over="ignore"):
        width = high - low
    if type(width) is not float and not request.xp.isfinite(width).all():
        raise ValueError(f"high - low must be finite in {request.dtype}, got {abs(width).max()}")
    return request.filled("fill_uniform", rng, start, scale=width, shift=low)


def normal(loc=0.0, scale=1.0, size=None, *, rng=None, dtype=None, out=None, start=0, device="auto"):
    r"""``x = loc + scale z`` with ``z`` standard normal.

    Draws ``2k`` and ``2k + 1`` are ``sqrt(-2 log u) (cos 2 pi v, sin 2 pi v)`` (Box and Muller, 1958); ``|z| <= 8.66``
    (float32: 6.67), where the normal distribution has less than ``2**-53`` (``2**-31``) of its mass beyond.

    Parameters
    ----------
    loc : float or array_like, default=0
        Mean.
    scale : float or array_like >= 0, default=1
        Standard deviation.
    size, rng, dtype, out, start, device
        As in :func:`uniform`.

    Returns
    -------
    float or ndarray
        As in :func:`uniform`.

    Raises
    ------
    ValueError, TypeError
        As in :func:`uniform`, and if a ``scale`` is below 0.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> z = lvm.random.normal(size=1000, rng=7)
    >>> bool((z[500:] == lvm.random.normal(size=500, rng=7, start=500)).all())
    True
    """
    request = _Request({"loc": loc, "scale": scale}, size, dtype, out, device)
    loc, scale = request.parameters
    _check_not_negative(scale)
    return request.filled("fill_normal", rng, start, scale=scale, shift=loc)


def exponential(scale=1.0, size=None, *, rng=None, dtype=None, out=None, start=0, device="auto"):
    r"""``x = -scale log u`` with ``u`` uniform: density ``exp(-x / scale) / scale`` for ``x >= 0``.

    ``u`` is that of :func:`uniform`; in float32 a multiple of ``2**-31``, rounded, for the tail, and may be 1.

    Parameters
    ----------
    scale : float or array_like >= 0, default=1
        Mean.
    size, rng, dtype, out, start, device
        As in :func:`uniform`.

    Returns
    -------
    float or ndarray
        As in :func:`uniform`.

    Raises
    ------
    ValueError, TypeError
        As in :func:`uniform`, and if a ``scale`` is below 0.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> x = lvm.random.exponential(2.0, 10_000, rng=0)
    >>> bool(abs(x.mean() - 2.0) < 0.1)
    True
    """
    request = _Request({"scale": scale}, size, dtype, out, device)
    _check_not_negative(request.parameters[0])
    return request.filled("fill_exponential", rng, start, scale=request.parameters[0])


def polya_gamma(b, z=0.0, size=None, *, rng=None, dtype=None, out=None, start=0, device="auto"):
    r"""``E exp(-t x) = cosh(z/2)**b / cosh(sqrt(z**2/4 + t/2))**b``: Polya-gamma, ``x ~ PG(b, z)``.

    ``x = sum_k g_k / ((k - 1/2)**2 + z**2 / (4 pi**2)) / (2 pi**2)`` over ``k >= 1`` with independent gamma variables
    ``g_k`` of shape ``b``; mean ``b tanh(z/2) / (2 z)``, ``b / 4`` at ``z = 0``.

    Exact, by rejection, for every real ``b < 12``, and for ``b exp(-|z|) <= 0.3``; otherwise rejection from the
    saddle-point expansion of the density to second order, whose distribution function is within 4e-7 of the true one;
    from ``b = 1e6`` on a normal variable corrected for skewness, within 5e-8 (relative error of the variance 2e-7).

    Parameters
    ----------
    b : float or array_like > 0
        Shape; any real number.
    z : float or array_like, default=0
        Tilt; any real number, of which the sign does not matter. ``b`` and ``z`` broadcast.
    size, out, start, device
        As in :func:`uniform`.
    rng : None, int or numpy random generator, optional
        As in :func:`uniform`. Draw ``i`` depends on the seed, ``start + i``, ``b[i]`` and ``z[i]`` alone.
    dtype : float64 or float32, optional
        As in :func:`uniform`; but the float32 draws are those of float64 for the rounded ``b`` and ``z``, rounded.

    Returns
    -------
    float or ndarray
        A float where neither ``size`` nor a parameter nor ``out`` gives a shape.

    Raises
    ------
    ValueError, TypeError
        As in :func:`uniform`, and if a ``b`` is not above 0.

    References
    ----------
    N. G. Polson, J. G. Scott, J. Windle, Bayesian inference for logistic models using Polya-Gamma latent variables,
    JASA 108, 2013. J. Windle, N. G. Polson, J. G. Scott, Sampling Polya-Gamma random variates, arXiv:1405.0506, 2014.
    J. H. Ahrens, Sampling from general distributions by suboptimal division of domains, 1993 (the strips).

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> omega = lvm.random.polya_gamma(1, np.linspace(-3, 3, 100_000), rng=7)
    >>> bool((lvm.random.polya_gamma(1, -2.5, rng=7) > 0))
    True
    """
    request = _Request({"b": b, "z": z}, size, dtype, out, device)
    low = request.parameters[0]
    low = float(request.dtype.type(low) if isinstance(low, float) else low.min(initial=1))
    if low <= 0:
        raise ValueError(f"b must be > 0, got {low}")
    return request.polya_gamma(rng, start)


def bits(size=None, *, rng=None, dtype=None, out=None, start=0, device="auto"):
    """Random whole numbers, ``0 <= x < 2**64`` (uint32: ``2**32``).

    Word ``i`` of uint32 is word ``i % 4`` of ``philox((k, k >> 32, 0, 0), (seed, seed >> 32))``, ``k = i // 4``, all in
    32 bits; words ``2 i`` and ``2 i + 1`` are the lower and the higher half of word ``i`` of uint64.

    Parameters
    ----------
    dtype : uint64 or uint32, optional
        By default that of ``out``, or uint64.
    size, rng, out, start, device
        As in :func:`uniform`.

    Returns
    -------
    int or ndarray
        An int where neither ``size`` nor ``out`` gives a shape.

    Examples
    --------
    >>> import lvmfast as lvm
    >>> lvm.random.bits(2, rng=0).dtype
    dtype('uint64')
    >>> bool((lvm.random.bits(10, rng=0)[5:] == lvm.random.bits(5, rng=0, start=5)).all())
    True
    """
    return _Request({}, size, dtype, out, device, allowed=_WORDS).filled("fill_bits", rng, start)


def philox(counter, key) -> np.ndarray:
    """Philox4x32-10: ``counter`` (..., 4) under ``key`` (..., 2) to random words (..., 4), all uint32.

    The block function of Random123, for draws of one's own; leading dimensions broadcast.

    References
    ----------
    J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC'11.

    Examples
    --------
    >>> import numpy as np
    >>> import lvmfast as lvm
    >>> words = lvm.random.philox(np.zeros(4, np.uint32), np.zeros(2, np.uint32))
    >>> [hex(word) for word in words.tolist()]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    counter, key = _as_words(counter, "counter", 4), _as_words(key, "key", 2)
    try:
        batch = np.broadcast_shapes(counter.shape[:-1], key.shape[:-1])
    except ValueError:
        got = f"{counter.shape} and {key.shape}"
        raise ValueError(f"the leading dimensions of counter and key must broadcast, got {got}") from None
    rows = [np.ascontiguousarray(np.broadcast_to(a, (*batch, a.shape[-1]))) for a in (counter, key)]
    return _backend.cpu.philox(*(a.reshape(-1, a.shape[-1]) for a in rows)).reshape(*batch, 4)


def named_seeds(seed: int, names) -> dict[str, int]:
    """Independent seeds for what draws numbers, by name."""
    return dict(zip(names, np.random.SeedSequence(seed).generate_state(len(names), np.uint64).tolist(), strict=True))


def seed_of(rng) -> int:
    """The key, 0 <= key < 2**64, that ``rng`` stands for; a generator gives another one every time."""
    if rng is None:
        return secrets.randbits(64)
    if isinstance(rng, (np.random.Generator, np.random.RandomState)):
        return int.from_bytes(rng.bytes(8), "little")
    if isinstance(rng, numbers.Integral) and not isinstance(rng, (bool, np.bool_)) and 0 <= rng < 2**64:
        return int(rng)
    raise ValueError(f"rng must be None, an int >= 0 and < 2**64 or a numpy random generator, got {rng!r}")


class _Request:
    """What a call asks for: parameters as floats or finite arrays of the dtype, the result's shape, where it goes."""

    def __init__(self, parameters: dict, size, dtype, out, device, allowed=_FLOATS):
        self.out, self.scalar = out, False
        self.device = _backend.check_device(device, out, *parameters.values())
        if device == "auto":
            _backend.module_for(out=out, **parameters)
        else:
            parameters = {name: self._there(value) for name, value in parameters.items()}
        self.xp = _backend.namespace_on(self.device)
        values = {name: _number_or_array(value, name) for name, value in parameters.items()}
        given = [a.dtype for name, a in values.items() if not isinstance(parameters[name], numbers.Real)]
        if dtype is not None:
            self.dtype = _as_dtype(dtype, allowed)
        elif isinstance(out, self.xp.ndarray):
            self.dtype = _as_dtype(out.dtype, allowed, "the dtype of out")
        else:
            self.dtype = allowed[1] if given and all(d == np.float32 for d in given) else allowed[0]
        self.parameters = [_finite(a, name, self.dtype) for name, a in values.items()]
        self.arrays = [a for a in self.parameters if not isinstance(a, float)]
        self.shape = self._shape(size)
        if out is not None:
            check_target(out, "out", self.shape, self.dtype)

    def _there(self, value):
        return _backend.to_device(value, self.device) if np.ndim(value) else value

    def _shape(self, size) -> tuple[int, ...]:
        """The result's shape: ``size``, or that of ``out``, or the one to which the parameters broadcast."""
        shapes = [a.shape for a in self.arrays]
        shape, name = None if size is None else as_shape(size), "size"
        if size is None and isinstance(self.out, self.xp.ndarray):
            shape, name = self.out.shape, "the shape of out"
        together = _broadcast(*shapes) if shapes else ()
        if together is None:
            raise ValueError(f"the parameters must broadcast, got shapes {' and '.join(map(str, shapes))}")
        if shape is not None and together != () and _broadcast(together, shape) != shape:
            raise ValueError(f"the parameters, {together} together, must broadcast to {name}, got {shape}")
        self.scalar = shape is None and together == ()
        return together if shape is None else shape

    def filled(self, fill: str, rng, start, scale=None, shift=None):
        """``shift + scale * draws`` of the compiled module's ``fill``."""
        seed, start = seed_of(rng), self._checked_start(start)
        draws = self._target()
        getattr(_backend.module_on(self.device), fill)(draws, start, seed)
        with np.errstate(over="ignore", under="ignore"):
            if scale is not None and not (isinstance(scale, float) and scale == 1):
                self.xp.multiply(draws, scale, out=draws)
            if shift is not None and not (isinstance(shift, float) and shift == 0):
                self.xp.add(draws, shift, out=draws)
        return self._result(draws)

    def polya_gamma(self, rng, start):
        """Draws whose parameters are ``b`` and ``z``."""
        seed, start = seed_of(rng), self._checked_start(start)
        draws = self._target()
        b, z = (self._repeated(a) for a in self.parameters)
        _backend.module_on(self.device).fill_polya_gamma(draws, b, z, start, seed)
        return self._result(draws)

    def _repeated(self, a):
        """The parameter as an array whose repetition in C order is what it broadcasts to."""
        a = self.xp.asarray(a, self.dtype)
        while a.ndim and a.shape[0] == 1:
            a = a[0]
        if a.shape != self.shape[len(self.shape) - a.ndim :]:
            a = self.xp.broadcast_to(a, self.shape)
        return self.xp.ascontiguousarray(a).reshape(-1)

    def _checked_start(self, start) -> int:
        start = check_integer(start, "start", 0)
        size = math.prod(self.shape)
        if start + size > 2**63 - 1:
            raise ValueError(f"start + the number of draws must be below 2**63, got {start} + {size}")
        return start

    def _target(self):
        """Where the draws go: ``out`` itself if it is in C order and no parameter lies there."""
        out, xp = self.out, self.xp
        direct = out is not None and out.flags.c_contiguous and getattr(out.flags, "aligned", True)
        if direct and not any(xp.may_share_memory(out, a) for a in self.arrays):
            return out
        if self.dtype.kind == "f" and self.device == "cpu":
            return _backend.empty(self.shape, self.dtype)
        return xp.empty(self.shape, self.dtype)

    def _result(self, draws):
        if self.out is not None:
            if draws is not self.out:
                self.out[...] = draws
            return self.out
        return draws.item() if self.scalar else draws


def _broadcast(*shapes) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _as_dtype(dtype, allowed, name="dtype") -> np.dtype:
    try:
        result = np.dtype(dtype)
    except TypeError:
        result = np.dtype(object)
    if result not in allowed:
        raise ValueError(f"{name} must be {allowed[0]} or {allowed[1]}, got {dtype!r}")
    return result


def _number_or_array(value, name: str):
    if type(value) in (int, float) and abs(value) <= 2.0**53:  # finite in both dtypes
        return float(value)
    return as_float_array(value, name)


def _finite(array, name: str, dtype):
    if isinstance(array, float):
        return array
    with np.errstate(over="ignore"):
        array = array.astype(dtype, copy=False)
    finite = _backend.namespace(array).isfinite(array)
    if not finite.all():
        raise ValueError(f"{name} must be finite in {dtype}, got {array[~finite].ravel()[0]}")
    return array


def _check_not_negative(scale) -> None:
    if scale < 0 if isinstance(scale, float) else (scale < 0).any():
        raise ValueError(f"scale must be >= 0, got {scale if isinstance(scale, float) else scale.min()}")


def _as_words(value, name: str, columns: int) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim < 1 or array.shape[-1] != columns:
        raise ValueError(f"{name} must have shape (..., {columns}), got {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold whole numbers, got dtype {array.dtype}")
    if array.dtype != np.uint32 and ((array < 0) | (array >= 2**32)).any():
        raise ValueError(f"{name} must hold numbers >= 0 and < 2**32, got {array.min()} to {array.max()}")
    return array.astype(np.uint32, copy=False)
