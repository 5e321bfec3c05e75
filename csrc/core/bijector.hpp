// Scalar bijectors from the real line, with derivative and inverse.
#pragma once

#include "core/config.hpp"

namespace lvm {

// softplus(u) = log(1 + exp(u)). Written so that neither tail overflows or loses relative precision:
// for u > 0 the large part u is split off, for u < 0 log1p keeps exp(u) when it is far below 1.
template <class T>
LVM_HD T softplus(T u) {
  return u > T(0) ? u + log1p_(exp_(-u)) : log1p_(exp_(u));
}

// d softplus(u) / du = 1 / (1 + exp(-u)), from the exponential that cannot overflow.
template <class T>
LVM_HD T softplus_derivative(T u) {
  if (u >= T(0)) return T(1) / (T(1) + exp_(-u));
  const T e = exp_(u);
  return e / (T(1) + e);
}

// softplus^{-1}(y) = log(exp(y) - 1) = y + log(1 - exp(-y)) for y > 0.
template <class T>
LVM_HD T softplus_inverse(T y) {
  return y + log_(-expm1_(-y));
}

}  // namespace lvm
