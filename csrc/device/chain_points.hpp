// Programs of bijectors on a device: device/cpu_chain.hpp, device/cuda_chain.hpp.
#pragma once

#include "core/chain.hpp"

namespace lvm {

// run(points, n): the program for all n points.
template <class Device, class T>
struct ChainRun;

}  // namespace lvm
