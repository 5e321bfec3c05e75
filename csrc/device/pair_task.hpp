// One covariance function of a tree as kernels of pairs see it: value(s) of a pair of points, times the variance.
#pragma once

#include <stdint.h>

#include "core/covariance.hpp"

namespace lvm {

template <class T>
struct PairTask {
  PairFunction function;
  int64_t features;
  bool by_dot;      // distances from dot products where that is accurate, else from differences
  bool stationary;  // a function of the difference of two points: equal points have no gradient
  int degree;
  T variance, shape;

  bool is_dot() const { return function == PairFunction::dot || function == PairFunction::power; }
};

}  // namespace lvm
