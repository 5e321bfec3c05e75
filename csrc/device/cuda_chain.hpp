// Programs of bijectors on the GPU: a thread takes a point through all steps.
#pragma once

#include <cstdint>

#include "device/chain_points.hpp"
#include "device/cuda.hpp"

namespace lvm {

template <class T>
struct ChainRun<Cuda, T> {
  static void run(const ChainPoints<T>& points, int64_t n) { Cuda::map(n, points); }
};

}  // namespace lvm
