// Where the work of the present call goes on the GPU, and whose memory it uses: the stream, the library handles and the
// memory pool are the caller's (CuPy's), never our own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "cuda/launch.cuh"

namespace lvm {

struct CudaContext {
  cudaStream_t stream = nullptr;
  void* cublas = nullptr;
  void* cusolver = nullptr;
  int device = 0;
  int processors = 1;             // multiprocessors of the device
  void* (*take)(size_t bytes, void** owner) = nullptr;  // device memory, aligned to 256 bytes; throws where there is none
  void (*give_back)(void* owner) noexcept = nullptr;
};

CudaContext& cuda_context();  // of this thread

// What the runtime or a library refused.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check_cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // the next launch is not to find it again
  throw CudaError(std::string(what) + ": " + cudaGetErrorString(error));
}
inline void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

// Device memory that stays: grows, never shrinks, as device/buffer.hpp on the host. The pool orders reuse by stream.
template <class T>
class CudaBuffer {
 public:
  CudaBuffer() = default;
  explicit CudaBuffer(int64_t size) { reserve(size); }
  CudaBuffer(const CudaBuffer&) = delete;
  CudaBuffer& operator=(const CudaBuffer&) = delete;
  CudaBuffer(CudaBuffer&& other) noexcept { swap(other); }
  CudaBuffer& operator=(CudaBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~CudaBuffer() { release(); }

  // At least `size` elements; the content is unspecified afterwards.
  T* reserve(int64_t size) {
    if (size <= size_) return data_;
    release();
    CudaContext& context = cuda_context();
    if (!context.take) throw CudaError("this thread has not said where it works: no call of enter");
    data_ = static_cast<T*>(context.take(static_cast<size_t>(size) * sizeof(T), &owner_));
    give_back_ = context.give_back;
    size_ = size;
    return data_;
  }
  T* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  void release() noexcept {
    if (owner_) give_back_(owner_);
    data_ = nullptr;
    owner_ = nullptr;
    size_ = 0;
  }
  void swap(CudaBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(owner_, other.owner_);
    std::swap(give_back_, other.give_back_);
    std::swap(size_, other.size_);
  }
  T* data_ = nullptr;
  void* owner_ = nullptr;
  void (*give_back_)(void*) noexcept = nullptr;
  int64_t size_ = 0;
};

}  // namespace lvm
