// Scratch memory that stays: 64-byte aligned, grows, never shrinks; large blocks are shared (LargeBlocks).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "device/large_blocks.hpp"

namespace lvm {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { reserve(size); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() { release(); }

  // At least `size` elements; the content is unspecified afterwards. Throws std::bad_alloc.
  T* reserve(int64_t size) {
    if (size <= size_) return data_;
    release();
    const size_t bytes = (size * sizeof(T) + 63) / 64 * 64;
    data_ = static_cast<T*>(bytes >= LargeBlocks::kSmallest ? LargeBlocks::take(bytes) : std::aligned_alloc(64, bytes));
    if (!data_) throw std::bad_alloc();
    size_ = size;
    return data_;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  int64_t size() const { return size_; }
  int64_t bytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }

 private:
  void release() noexcept {
    const bool large = (size_ * sizeof(T) + 63) / 64 * 64 >= LargeBlocks::kSmallest;
    if (data_) large ? LargeBlocks::give_back(data_) : std::free(data_);
    data_ = nullptr;
    size_ = 0;
  }
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace lvm
