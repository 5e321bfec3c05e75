// Work of mixtures, for kernels that are compiled once per instruction set.
#pragma once

#include <stdint.h>

#include "core/mixture.hpp"

namespace lvm::cpu {

// What a range of points adds to the gradients, null where it is not wanted.
template <class T>
struct MixturePull {
  T* d_x;   // (n, d)
  T* sums;  // (d + 1, stride), +=: weights times x_i - f_k, feature by feature, and the weights
};

template <class T>
struct MixtureFunctions {
  // Points begin to end; scratch is of task.stride numbers, aligned to 64.
  void (*rows)(const MixtureTask<T>&, const MixtureResults<T>&, const MixturePull<T>&, int64_t begin, int64_t end, T* scratch);
  // x = log x + (shift + shifts), NaN where x < least or is NaN; least is a normal number.
  void (*logarithms)(T shift, const T* shifts, T least, T* x, int64_t n);
};

}  // namespace lvm::cpu
