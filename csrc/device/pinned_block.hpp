// Host memory that the GPU copies from and to beside the processor. Fresh blocks cost tens of microseconds and make the
// device wait, so small ones come back here and serve again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "device/cuda_context.hpp"

namespace lvm {

class PinnedBlock {
 public:
  PinnedBlock() = default;
  PinnedBlock(const PinnedBlock&) = delete;
  PinnedBlock& operator=(const PinnedBlock&) = delete;
  ~PinnedBlock() { release(); }

  // At least so many bytes; the content is unspecified afterwards. Nothing may still be copying.
  void* reserve(size_t bytes) {
    if (bytes <= size_) return data_;
    release();
    const size_t size = std::max<size_t>(bytes, kSmallest);
    {
      const std::lock_guard<std::mutex> lock(mutex());
      auto& free = waiting();
      for (size_t k = 0; k < free.size(); ++k) {
        if (free[k].second < size) continue;
        std::swap(free[k], free.back());
        data_ = free.back().first;
        size_ = free.back().second;
        free.pop_back();
        return data_;
      }
    }
    check_cuda(cudaMallocHost(&data_, size), "cudaMallocHost");
    size_ = size;
    return data_;
  }
  void* data() const { return data_; }

 private:
  static constexpr size_t kSmallest = 4096, kMostKept = 16;

  void release() noexcept {
    if (!data_) return;
    const std::lock_guard<std::mutex> lock(mutex());
    if (waiting().size() < kMostKept) {
      waiting().emplace_back(data_, size_);
    } else if (cudaFreeHost(data_) != cudaSuccess) {
      cudaGetLastError();
    }
    data_ = nullptr;
    size_ = 0;
  }
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  static std::vector<std::pair<void*, size_t>>& waiting() {
    static auto* blocks = new std::vector<std::pair<void*, size_t>>;  // never freed: the driver may be gone by then
    return *blocks;
  }
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lvm
