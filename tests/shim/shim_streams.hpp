// Streams that are being captured, and copies that a real GPU may not have finished yet.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "shim_runtime.hpp"

using ShimWork = std::vector<std::function<void()>>;

struct CUstream_st {
  unsigned flags;
};
struct CUevent_st {};
struct CUgraph_st {
  ShimWork work;
};
struct CUgraphExec_st {
  ShimWork work;
};

namespace shim {

struct Capture {
  ShimWork work;
  bool spoiled = false;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
};

struct LateCopy {
  char* host;
  std::string bytes;
  bool to_host;
};

struct Streams {
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<cudaGraph_t> graphs;
  std::set<cudaGraphExec_t> execs;
  std::map<cudaStream_t, Capture> captures;
  std::map<char*, size_t> pinned;
  std::vector<LateCopy> late;
  bool replaying = false;  // a graph, whose copies to any host memory are late
};

Streams& streams();

using Lock = std::lock_guard<std::recursive_mutex>;

// Forgets and deletes a stream, event or graph; false if it is not one.
template <class T>
bool take(std::set<T>& known, T handle) {
  if (!known.erase(handle)) return false;
  delete handle;
  return true;
}

bool is_legacy(cudaStream_t stream);
bool is_stream(cudaStream_t stream);
bool capturing();  // anything

cudaError_t set_error(cudaError_t error);  // for cudaGetLastError; returns it

// For calls that no capture allows: spoils what is being captured, and returns the error, or cudaSuccess.
cudaError_t refuse_while_capturing();
cudaError_t refuse_while_capturing(cudaStream_t stream);

// Page-locked memory is read and written some time until the next synchronisation. A copy to it arrives only then (it
// holds 0xFF until), and a change to what is copied from it before then ends the process.
bool is_pinned(const void* pointer);
void copy_to_pinned(void* to, const void* from, size_t bytes);
void copy_from_pinned(void* to, const void* from, size_t bytes);
void finish_copies();

// Graphs that were replayed.
inline long long& replays() {
  static long long count = 0;
  return count;
}

}  // namespace shim
