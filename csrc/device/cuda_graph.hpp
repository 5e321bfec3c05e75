// Work that is enqueued again and again, captured as a CUDA graph the second time and replayed from then on: one launch
// instead of a hundred. What the work reads must stand in memory that stays; what it takes on the way is kept as long as the
// graph lives.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "device/cuda_context.hpp"
#include "device/cuda_libraries.hpp"

namespace lvm {

class CudaGraph {
 public:
  CudaGraph() = default;
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  CudaGraph(CudaGraph&& other) noexcept { *this = std::move(other); }
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    std::swap(executable_, other.executable_);
    std::swap(stream_, other.stream_);
    std::swap(kept_, other.kept_);
    std::swap(refused_, other.refused_);
    std::swap(device_, other.device_);
    std::swap(cublas_, other.cublas_);
    std::swap(cusolver_, other.cusolver_);
    return *this;
  }
  ~CudaGraph() {
    forget();
    if (stream_) cudaStreamDestroy(stream_);
  }

  // Whether graphs may be used at all, in this process.
  static bool& enabled() {
    static bool on = true;
    return on;
  }

  // Does what enqueue() does. same: nothing has changed since the last call but what stands in memory.
  template <class F>
  void run(bool same, const F& enqueue) {
    const CudaContext& context = cuda_context();
    if (!same || context.device != device_ || context.cublas != cublas_ || context.cusolver != cusolver_) {
      forget();  // with other handles, whose workspace the graph would use, also
      device_ = context.device, cublas_ = context.cublas, cusolver_ = context.cusolver;
      return enqueue();
    }
    if (!executable_ && (refused_ || !enabled() || !capture(enqueue))) return enqueue();
    check_cuda(cudaGraphLaunch(executable_, cuda_context().stream), "cudaGraphLaunch");
  }

  void forget() {
    if (executable_) cudaGraphExecDestroy(executable_);
    executable_ = nullptr;
    refused_ = false;
    give_back();
  }

 private:
  struct Block {
    void* owner;
    void (*give_back)(void*) noexcept;
  };

  // False, and nothing done, where the work cannot be captured.
  template <class F>
  bool capture(const F& enqueue) {
    if (!stream_ && cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) != cudaSuccess) return refuse();
    if (cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed) != cudaSuccess) return refuse();
    CudaContext& context = cuda_context();
    const CudaContext caller = context;
    CudaGraph*& recorder = current();
    recorder = this;
    caller_take() = caller.take;
    caller_give_back() = caller.give_back;
    context.stream = stream_;
    context.take = &take;
    context.give_back = [](void*) noexcept {};
    bool done = true;
    cudaGraph_t graph = nullptr;
    try {
      enqueue();
    } catch (...) {  // what refuses to be captured, or too little memory: without a graph it may do
      done = false;
    }
    context = caller;
    recorder = nullptr;
    done = cudaStreamEndCapture(stream_, &graph) == cudaSuccess && done && graph;
    cuda_libraries().cublas_set_stream(context.cublas, context.stream);  // the handles are the caller's
    cuda_libraries().cusolver_set_stream(context.cusolver, context.stream);
    done = done && cudaGraphInstantiate(&executable_, graph, 0) == cudaSuccess;
    if (graph) cudaGraphDestroy(graph);
    return done || refuse();
  }

  bool refuse() {
    cudaGetLastError();
    executable_ = nullptr;
    refused_ = true;
    give_back();
    return false;
  }
  void give_back() noexcept {
    for (const Block& block : kept_) block.give_back(block.owner);
    kept_.clear();
  }

  // Memory for the work while it is captured.
  static void* take(size_t bytes, void** owner) {
    void* memory = caller_take()(bytes, owner);
    current()->kept_.push_back({*owner, caller_give_back()});
    return memory;
  }
  static CudaGraph*& current() {
    static thread_local CudaGraph* graph = nullptr;
    return graph;
  }
  using Take = void* (*)(size_t, void**);
  using GiveBack = void (*)(void*) noexcept;
  static Take& caller_take() {
    static thread_local Take take = nullptr;
    return take;
  }
  static GiveBack& caller_give_back() {
    static thread_local GiveBack give_back = nullptr;
    return give_back;
  }

  cudaGraphExec_t executable_ = nullptr;
  cudaStream_t stream_ = nullptr;
  std::vector<Block> kept_;
  bool refused_ = false;
  int device_ = -1;
  void *cublas_ = nullptr, *cusolver_ = nullptr;
};

}  // namespace lvm
