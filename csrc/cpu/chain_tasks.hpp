// Work of chains of bijectors, for kernels that are compiled once per instruction set.
#pragma once

#include <stdint.h>

#include "core/chain.hpp"

namespace lvm::cpu {

template <class T>
struct ChainFunctions {
  // Points begin to end of a program; scratch is of scratch_bytes(d), aligned to 64.
  void (*points)(const ChainPoints<T>&, int64_t begin, int64_t end, void* scratch);
  int64_t (*scratch_bytes)(int64_t d);
};

}  // namespace lvm::cpu
