// Scratch memory that stays: 64-byte aligned, grows, never shrinks, advised to huge pages when large
// (first-touch page faults on 4 KiB pages cost as much as the arithmetic of a 1000 x 1000 Gram matrix).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

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
  ~Buffer() { std::free(data_); }

  // At least `size` elements; the content is unspecified afterwards. Throws std::bad_alloc.
  T* reserve(int64_t size) {
    if (size <= size_) return data_;
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
    const size_t alignment = size * sizeof(T) >= kHuge ? kHuge : 64;
    const size_t bytes = (size * sizeof(T) + alignment - 1) / alignment * alignment;
    data_ = static_cast<T*>(std::aligned_alloc(alignment, bytes));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == kHuge) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
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
  static constexpr size_t kHuge = size_t(1) << 21;
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace lvm
