// Streams, events, and page-locked host memory.
#include "shim_streams.hpp"

#include <stdlib.h>
#include <string.h>

#include <utility>

#include "shim_launch.hpp"
#include "shim_memory.hpp"

namespace shim {

Streams& streams() {
  static Streams* it = new Streams;
  return *it;
}

bool is_legacy(cudaStream_t stream) { return !stream || stream == cudaStreamLegacy; }

bool is_stream(cudaStream_t stream) {
  return is_legacy(stream) || stream == cudaStreamPerThread || streams().streams.count(stream);
}

bool capturing() { return !streams().captures.empty(); }

cudaError_t refuse_while_capturing() {
  cudaError_t error = cudaSuccess;
  for (auto& [stream, capture] : streams().captures) {
    const bool mine = capture.thread == std::this_thread::get_id();
    if (capture.mode == cudaStreamCaptureModeRelaxed) continue;
    if (capture.mode == cudaStreamCaptureModeThreadLocal && !mine) continue;
    capture.spoiled = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

cudaError_t refuse_while_capturing(cudaStream_t stream) {
  if (!is_stream(stream)) return cudaErrorInvalidResourceHandle;
  for (auto& [captured, capture] : streams().captures) {
    const bool joined = is_legacy(stream) && !is_legacy(captured) && captured != cudaStreamPerThread &&
                        !(captured->flags & cudaStreamNonBlocking);
    if (captured != stream && !joined) continue;
    capture.spoiled = true;
    return joined ? cudaErrorStreamCaptureImplicit : cudaErrorStreamCaptureUnsupported;
  }
  return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  const Lock lock(mutex());
  const auto it = streams().captures.find(stream);
  if (it == streams().captures.end()) {
    if (const cudaError_t error = refuse_while_capturing(stream)) return set_error(error);
    work();
    return cudaSuccess;
  }
  if (it->second.spoiled) return set_error(cudaErrorStreamCaptureInvalidated);
  it->second.work.push_back(std::move(work));
  return cudaSuccess;
}

bool is_pinned(const void* pointer) {
  const Lock lock(mutex());
  char* at = static_cast<char*>(const_cast<void*>(pointer));
  auto it = streams().pinned.upper_bound(at);
  return it != streams().pinned.begin() && at < std::prev(it)->first + std::prev(it)->second;
}

void copy_to_pinned(void* to, const void* from, size_t bytes) {
  if (!is_pinned(to) && !streams().replaying) {
    memcpy(to, from, bytes);
    return;
  }
  streams().late.push_back({static_cast<char*>(to), std::string(static_cast<const char*>(from), bytes), true});
  memset(to, 0xFF, bytes);
}

void copy_from_pinned(void* to, const void* from, size_t bytes) {
  memcpy(to, from, bytes);
  if (!is_pinned(from)) return;
  const char* host = static_cast<const char*>(from);
  streams().late.push_back({const_cast<char*>(host), std::string(host, bytes), false});
}

void finish_copies() {
  for (const LateCopy& copy : streams().late) {
    if (copy.to_host) {
      memcpy(copy.host, copy.bytes.data(), copy.bytes.size());
    } else if (memcmp(copy.host, copy.bytes.data(), copy.bytes.size())) {
      fail("page-locked memory at %p was changed while it may still have been copied from", (void*)copy.host);
    }
  }
  streams().late.clear();
}

}  // namespace shim

using shim::Lock;
using shim::set_error;
using shim::streams;

namespace {

cudaError_t finish_unless_capturing(cudaStream_t stream) {
  const Lock lock(shim::mutex());
  if (const cudaError_t error = shim::refuse_while_capturing(stream)) return set_error(error);
  shim::finish_copies();
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaDeviceSynchronize() {
  const Lock lock(shim::mutex());
  if (const cudaError_t error = shim::refuse_while_capturing()) return set_error(error);
  shim::finish_copies();
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return finish_unless_capturing(stream); }
cudaError_t cudaStreamQuery(cudaStream_t stream) { return finish_unless_capturing(stream); }

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  const Lock lock(shim::mutex());
  if (const cudaError_t error = shim::refuse_while_capturing()) return set_error(error);
  *pointer = nullptr;
  if (!bytes) return cudaSuccess;
  if (posix_memalign(pointer, 64, bytes)) return set_error(cudaErrorMemoryAllocation);
  memset(*pointer, 0xFF, bytes);
  streams().pinned[static_cast<char*>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, 0); }

cudaError_t cudaFreeHost(void* pointer) {
  const Lock lock(shim::mutex());
  if (const cudaError_t error = shim::refuse_while_capturing()) return set_error(error);
  shim::finish_copies();
  if (!pointer) return cudaSuccess;
  if (!streams().pinned.erase(static_cast<char*>(pointer))) return set_error(cudaErrorInvalidValue);
  free(pointer);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const Lock lock(shim::mutex());
  streams().streams.insert(*stream = new CUstream_st{flags});
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(shim::mutex());
  streams().captures.erase(stream);
  return set_error(shim::take(streams().streams, stream) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(shim::mutex());
  const bool known = shim::is_stream(stream) && streams().events.count(event);
  return set_error(known ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const Lock lock(shim::mutex());
  streams().events.insert(*event = new CUevent_st);
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(shim::mutex());
  return set_error(shim::take(streams().events, event) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(shim::mutex());
  if (!streams().events.count(event)) return set_error(cudaErrorInvalidResourceHandle);
  return shim::enqueue(stream, [] {});
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(shim::mutex());
  if (!streams().events.count(event)) return set_error(cudaErrorInvalidResourceHandle);
  shim::finish_copies();
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }
