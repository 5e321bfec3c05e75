// The device, its memory, and copies.
#include "shim_runtime.hpp"

#include <stdlib.h>
#include <string.h>

#include <map>
#include <utility>

#include "shim_launch.hpp"
#include "shim_memory.hpp"
#include "shim_streams.hpp"

namespace shim {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

constexpr size_t kSharedDefault = 48 * 1024, kSharedOptin = 227 * 1024;
constexpr int kMultiprocessors = 4;

std::map<const void*, size_t>& shared_limits() {  // what cudaFuncSetAttribute allowed
  static auto* it = new std::map<const void*, size_t>;
  return *it;
}

size_t shared_limit(const void* kernel) {
  const auto it = shared_limits().find(kernel);
  return it == shared_limits().end() ? kSharedDefault : it->second;
}

}  // namespace

cudaError_t set_error(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

void submit(Launch launch, const void* kernel, cudaStream_t stream) {
  const Lock lock(mutex());
  const dim3 g = launch.grid, b = launch.block;
  const bool threads_fit = b.x && b.y && b.z && b.x <= 1024 && b.y <= 1024 && b.z <= 64 &&
                           size_t(b.x) * b.y * b.z <= 1024;
  const bool blocks_fit = g.x && g.y && g.z && g.x <= 0x7FFFFFFFu && g.y <= 65535 && g.z <= 65535;
  if (!threads_fit || !blocks_fit) {
    set_error(cudaErrorInvalidConfiguration);
  } else if (launch.shared > shared_limit(kernel)) {
    set_error(cudaErrorInvalidValue);
  } else {
    enqueue(stream, [launch = std::move(launch)] { run_launch(launch); });
  }
}

namespace {

void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, bool async) {
  if (!bytes) return;
  const Lock lock(mutex());
  const char* what = async ? "cudaMemcpyAsync" : "cudaMemcpy";
  if (kind == cudaMemcpyDefault) {
    kind = static_cast<cudaMemcpyKind>((is_device(from) ? cudaMemcpyDeviceToHost : 0) |
                                       (is_device(to) ? cudaMemcpyHostToDevice : 0));
  }
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  from_device ? check_device(from, bytes, what) : check_host(from, bytes, what);
  to_device ? check_device(to, bytes, what) : check_host(to, bytes, what);
  const Open open;
  if (async && from_device && !to_device) {
    copy_to_pinned(to, from, bytes);
  } else if (async && to_device && !from_device) {
    copy_from_pinned(to, from, bytes);
  } else {
    memmove(to, from, bytes);
  }
}

bool valid_kind(cudaMemcpyKind kind) { return kind >= cudaMemcpyHostToHost && kind <= cudaMemcpyDefault; }

}  // namespace
}  // namespace shim

using shim::Lock;
using shim::set_error;

cudaError_t cudaGetLastError() { return std::exchange(shim::last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return shim::last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInitializationError: return "cudaErrorInitializationError";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidMemcpyDirection: return "cudaErrorInvalidMemcpyDirection";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureUnmatched: return "cudaErrorStreamCaptureUnmatched";
    case cudaErrorStreamCaptureImplicit: return "cudaErrorStreamCaptureImplicit";
    case cudaErrorStreamCaptureWrongThread: return "cudaErrorStreamCaptureWrongThread";
    case cudaErrorUnknown: return "cudaErrorUnknown";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return cudaGetErrorName(error);
  }
}

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return set_error(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return set_error(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = shim::kSharedDefault; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMultiProcessorCount: *value = shim::kMultiprocessors; break;
    case cudaDevAttrL2CacheSize: *value = 50 << 20; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 228 * 1024; break;
    case cudaDevAttrCooperativeLaunch: *value = 0; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = shim::kSharedOptin; break;
    default: return set_error(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *total = shim::limit_bytes();
  *free_bytes = *total - shim::live_bytes();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  const Lock lock(shim::mutex());
  if (const cudaError_t error = shim::refuse_while_capturing()) return set_error(error);
  *pointer = nullptr;
  if (bytes && !(*pointer = shim::device_malloc(bytes))) return set_error(cudaErrorMemoryAllocation);
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  const Lock lock(shim::mutex());
  if (const cudaError_t error = shim::refuse_while_capturing()) return set_error(error);
  shim::finish_copies();
  if (pointer && !shim::device_free(pointer)) return set_error(cudaErrorInvalidValue);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  void* at = const_cast<void*>(pointer);
  if (shim::is_device(pointer)) {
    *attributes = {cudaMemoryTypeDevice, 0, at, nullptr};
  } else if (shim::is_pinned(pointer)) {
    *attributes = {cudaMemoryTypeHost, 0, at, at};
  } else {
    *attributes = {cudaMemoryTypeUnregistered, -1, nullptr, at};
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const Lock lock(shim::mutex());
  if (!shim::valid_kind(kind)) return set_error(cudaErrorInvalidMemcpyDirection);
  if (const cudaError_t error = shim::refuse_while_capturing()) return set_error(error);
  shim::finish_copies();
  shim::copy(to, from, bytes, kind, false);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!shim::valid_kind(kind)) return set_error(cudaErrorInvalidMemcpyDirection);
  return shim::enqueue(stream, [=] { shim::copy(to, from, bytes, kind, true); });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!shim::valid_kind(kind)) return set_error(cudaErrorInvalidMemcpyDirection);
  if (width > to_pitch || width > from_pitch) return set_error(cudaErrorInvalidValue);
  return shim::enqueue(stream, [=] {
    const shim::Open open;
    for (size_t i = 0; i < height; ++i) {
      shim::copy(static_cast<char*>(to) + i * to_pitch, static_cast<const char*>(from) + i * from_pitch, width, kind,
                 true);
    }
  });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return shim::enqueue(stream, [=] {
    if (!bytes) return;
    shim::check_device(to, bytes, "cudaMemsetAsync");
    const shim::Open open;
    memset(to, value, bytes);
  });
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const Lock lock(shim::mutex());
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > shim::kSharedOptin) return set_error(cudaErrorInvalidValue);
  shim::shared_limits()[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t shim_blocks_per_multiprocessor(int* blocks, const void* kernel, int threads, size_t shared) {
  const Lock lock(shim::mutex());
  const bool runs = threads > 0 && threads <= 1024 && shared <= shim::shared_limit(kernel);
  const int by_shared = static_cast<int>(size_t(228 * 1024) / (shared + 1024));
  const int by_threads = runs ? 2048 / threads : 0;
  *blocks = runs ? (by_shared < by_threads ? by_shared : by_threads) : 0;
  return cudaSuccess;
}
