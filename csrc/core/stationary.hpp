// Stationary covariance functions as functions of the squared scaled distance
//   s = sum_q ((x_q - z_q) / lengthscale_q)^2,   k(x, z) = variance * value(s).
//
// Each functor gives value(s) and, for pull-backs, slope(s) = d value / d s. V is double, float or a SIMD
// pack, for which exp_ is found by argument-dependent lookup. To add a covariance function: write its
// functor here, give it a name in StationaryKind, and list it in visit_stationary.
#pragma once

#include "core/config.hpp"

namespace lvm {

enum class StationaryKind : int { rbf = 0 };

// Radial basis function (squared exponential): value(s) = exp(-s / 2).
// Rasmussen & Williams (2006), eq. 4.9.
struct Rbf {
  template <class V>
  LVM_HD static V value(V s) {
    return exp_(V(-0.5) * s);
  }
  template <class V>
  LVM_HD static void value_and_slope(V s, V& value, V& slope) {
    value = exp_(V(-0.5) * s);
    slope = V(-0.5) * value;
  }
};

// Calls visitor(functor) with the functor that `kind` names (host: it chooses which loop to run).
template <class Visitor>
inline __attribute__((always_inline)) void visit_stationary(StationaryKind kind, Visitor&& visitor) {
  switch (kind) {
    case StationaryKind::rbf:
      visitor(Rbf{});
      break;
  }
}

}  // namespace lvm
