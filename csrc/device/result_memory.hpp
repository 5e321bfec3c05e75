// Memory for results that the caller will own: large blocks come back here when their arrays die and serve the next
// result of that size. A fresh block costs its page faults, which at 8 n^2 bytes exceed the n^2 work done on it.
#pragma once

#include <cstddef>

namespace lvm {

class ResultMemory {
 public:
  static constexpr size_t kSmallest = size_t(1) << 20;   // below, the ordinary allocator is as good
  static constexpr size_t kMostKept = size_t(1) << 28;   // bytes that wait for their next use
  static void* take(size_t bytes);                       // 64-byte aligned; throws std::bad_alloc
  static void give_back(void* block) noexcept;           // from take
  static size_t release() noexcept;                      // free what waits; returns its bytes
};

}  // namespace lvm
