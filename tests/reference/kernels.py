"""k(x, z) = variance · exp(-½ Σ_q (x_q - z_q)² / lengthscale_q²): values and gradients by loops."""

from __future__ import annotations

import math

import mpmath
import numpy as np

MP_DIGITS = 60


def _per_dimension(lengthscale, q):
    """Return the lengthscale as (Q,), whether it came as a scalar or as (Q,)."""
    lengthscale = np.asarray(lengthscale, dtype=float)
    if lengthscale.shape not in ((), (q,)):
        raise ValueError(f"lengthscale must be a scalar or ({q},), got {lengthscale.shape}")
    return np.broadcast_to(lengthscale, (q,))


def _rbf_pair(x, z, variance, lengthscale):
    """k(x, z) for two vectors, the differences scaled before they are squared."""
    total = sum(((a - b) / ell) ** 2 for a, b, ell in zip(x, z, lengthscale, strict=True))
    return variance * math.exp(-0.5 * total)


def rbf(X, Z, variance, lengthscale):
    """K_ij = k(x_i, z_j), by a double loop over rows.

    X is (N, Q); Z is (M, Q) or None for Z = X; lengthscale is a scalar or (Q,).
    Returns (N, M) in float64 whatever the input dtype.
    """
    X = np.asarray(X, dtype=float)
    Z = X if Z is None else np.asarray(Z, dtype=float)
    ells = _per_dimension(lengthscale, X.shape[1]).tolist()
    variance = float(variance)
    K = np.empty((len(X), len(Z)))
    rows_z = Z.tolist()
    for i, x in enumerate(X.tolist()):
        for j, z in enumerate(rows_z):
            K[i, j] = _rbf_pair(x, z, variance, ells)
    return K


def rbf_diag(X, variance, lengthscale=1.0):
    """diag(K)_i = k(x_i, x_i) = variance, evaluated from the definition; returns (N,)."""
    X = np.asarray(X, dtype=float)
    ells = _per_dimension(lengthscale, X.shape[1])
    return np.array([_rbf_pair(x, x, float(variance), ells) for x in X])


def rbf_vjp(X, Z, cotangent, variance, lengthscale):
    """dθ = Σ_ij cotangent_ij ∂k(x_i, z_j)/∂θ for θ = X, Z, variance, lengthscale.

    ∂k/∂x_q = -k (x_q - z_q)/ℓ_q²,  ∂k/∂z_q = -∂k/∂x_q,
    ∂k/∂variance = k/variance,  ∂k/∂ℓ_q = k (x_q - z_q)²/ℓ_q³.

    Returns (dX, dZ, dvariance, dlengthscale). With Z None, Z = X: dX is the total derivative
    through both arguments and dZ is None; the cotangent need not be symmetric. dlengthscale is a
    float for a scalar lengthscale, else (Q,).
    """
    X = np.asarray(X, dtype=float)
    other = X if Z is None else np.asarray(Z, dtype=float)
    cotangent = np.asarray(cotangent, dtype=float)
    if cotangent.shape != (len(X), len(other)):
        raise ValueError(f"cotangent must be ({len(X)}, {len(other)}), got {cotangent.shape}")
    ells = _per_dimension(lengthscale, X.shape[1])
    K = rbf(X, other, variance, lengthscale)

    difference = X[:, None, :] - other[None, :, :]
    dk_dx = -K[:, :, None] * difference / ells**2
    dk_dell = K[:, :, None] * difference**2 / ells**3
    dX, dZ, dell = np.zeros_like(X), np.zeros_like(other), np.zeros(X.shape[1])
    dvariance = 0.0
    for i in range(len(X)):
        for j in range(len(other)):
            dX[i] += cotangent[i, j] * dk_dx[i, j]
            dZ[j] -= cotangent[i, j] * dk_dx[i, j]
            dell += cotangent[i, j] * dk_dell[i, j]
            dvariance += cotangent[i, j] * K[i, j] / variance
    dlengthscale = float(dell.sum()) if np.ndim(lengthscale) == 0 else dell
    if Z is None:
        return dX + dZ, None, float(dvariance), dlengthscale
    return dX, dZ, float(dvariance), dlengthscale


def map_mp(function, x):
    """Apply a function of one mpf to every entry of x, exactly converted; object array, x's shape.

    Entries may be Python, float32 or float64 numbers (all exact in binary) or mpf.
    """
    x = np.asarray(x)
    result = np.empty(x.shape, dtype=object)
    with mpmath.workdps(MP_DIGITS):
        for index in np.ndindex(x.shape):
            entry = x[index]
            exact = entry if isinstance(entry, mpmath.mpf) else mpmath.mpf(float(entry))
            result[index] = function(exact)
    return result


def exp_mp(x):
    """exp(x) to 60 digits for every entry of x: an object array of mpf in the shape of x."""
    return map_mp(mpmath.exp, x)


def ulp_error(values, exact_mp, dtype):
    """|value - exact| / ulp(exact), ulp(e) = 2^(max(⌊log2|e|⌋, e_min) - (p - 1)) of dtype.

    Correct rounding gives at most 0.5, also among subnormals. An exact value that rounds to
    infinity costs 0 when the value is that infinity; any other inf or NaN costs inf.
    values and exact_mp (mpf) have one shape; returns float64 of that shape.
    """
    info = np.finfo(dtype)
    values, exact_mp = np.asarray(values, dtype=dtype), np.asarray(exact_mp, dtype=object)
    if values.shape != exact_mp.shape:
        raise ValueError(f"values {values.shape} and exact_mp {exact_mp.shape} differ in shape")
    errors = np.empty(values.shape)
    with mpmath.workdps(MP_DIGITS):
        overflow = mpmath.ldexp(2 - mpmath.ldexp(1, -info.nmant - 1), int(info.maxexp) - 1)
        for index in np.ndindex(values.shape):
            value, exact = float(values[index]), mpmath.mpf(exact_mp[index])
            if abs(exact) >= overflow:
                same = math.isinf(value) and (value > 0) == (exact > 0)
                errors[index] = 0.0 if same else math.inf
            elif not math.isfinite(value):
                errors[index] = math.inf
            else:
                # frexp: |exact| = m 2^e with ½ ≤ m < 1, so ⌊log2⌋ is e - 1; minexp is e_min.
                exponent = mpmath.frexp(exact)[1] - 1 if exact else int(info.minexp)
                ulp = mpmath.ldexp(1, max(exponent, int(info.minexp)) - int(info.nmant))
                errors[index] = float(abs(mpmath.mpf(value) - exact) / ulp)
    return errors
