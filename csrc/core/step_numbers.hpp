// Numbers of a step that stand in memory, so that a recorded step can be replayed with others, and how a step ends.
#pragma once

#include "core/config.hpp"

namespace lvm {

struct SetNumber {
  double* to;
  double value;
  LVM_HD void operator()(int64_t) const { *to = value; }
};

// The scale of a gradient whose norm^2 is *square, which makes it at most `most` long; -1, from which on nothing changes, where
// *value or the norm is not finite.
struct FinishGradient {
  const double *value, *square;
  double* scale;
  double most;
  LVM_HD void operator()(int64_t) const {
    const double norm = sqrt_(*square), v = *value;
    const bool finite = v - v == 0 && norm - norm == 0;
    *scale = !finite || *scale < 0 ? -1.0 : norm > most ? most / norm : 1.0;
  }
};

// What a step changed goes back, where the step was lost after that.
template <class T>
struct RestoreIfLost {
  const double* scale;
  const T* kept;
  T* to;
  LVM_HD void operator()(int64_t i) const {
    if (*scale < 0) to[i] = kept[i];
  }
};

}  // namespace lvm
