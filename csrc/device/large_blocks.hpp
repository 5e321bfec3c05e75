// Large blocks of memory, for scratch and for results that the caller will own: they come back here when they are done
// with and serve the next need of that size. A fresh block costs its page faults, which at 8 n^2 bytes exceed n^2 work.
#pragma once

#include <cstddef>

namespace lvm {

class LargeBlocks {
 public:
  static constexpr size_t kSmallest = size_t(1) << 20;   // below, the ordinary allocator is as good
  static constexpr size_t kMostKept = size_t(1) << 28;   // bytes that wait for their next use
  static void* take(size_t bytes);                       // 64-byte aligned; throws std::bad_alloc
  static void give_back(void* block) noexcept;           // from take
  static size_t release() noexcept;                      // free what waits; returns its bytes
};

}  // namespace lvm
