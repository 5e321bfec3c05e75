// Capture: what a stream would do is kept as a list, and run in order whenever the graph is launched.
#include <utility>

#include "shim_launch.hpp"
#include "shim_memory.hpp"
#include "shim_streams.hpp"

using shim::Lock;
using shim::set_error;
using shim::streams;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock(shim::mutex());
  if (!shim::is_stream(stream)) return set_error(cudaErrorInvalidResourceHandle);
  if (shim::is_legacy(stream)) return set_error(cudaErrorStreamCaptureUnsupported);
  if (streams().captures.count(stream)) return set_error(cudaErrorInvalidValue);
  streams().captures[stream] = {{}, false, mode, std::this_thread::get_id()};
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(shim::mutex());
  *graph = nullptr;
  const auto it = streams().captures.find(stream);
  if (it == streams().captures.end()) return set_error(cudaErrorInvalidValue);
  shim::Capture capture = std::move(it->second);
  if (capture.mode != cudaStreamCaptureModeRelaxed && capture.thread != std::this_thread::get_id()) {
    it->second = std::move(capture);
    return set_error(cudaErrorStreamCaptureWrongThread);
  }
  streams().captures.erase(it);
  if (capture.spoiled) return set_error(cudaErrorStreamCaptureInvalidated);
  streams().graphs.insert(*graph = new CUgraph_st{std::move(capture.work)});
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Lock lock(shim::mutex());
  if (!shim::is_stream(stream)) return set_error(cudaErrorInvalidResourceHandle);
  const auto it = streams().captures.find(stream);
  *status = cudaStreamCaptureStatusNone;
  if (it != streams().captures.end()) {
    *status = it->second.spoiled ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const Lock lock(shim::mutex());
  if (!streams().graphs.count(graph)) return set_error(cudaErrorInvalidValue);
  streams().execs.insert(*exec = new CUgraphExec_st{graph->work});
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  const Lock lock(shim::mutex());
  if (!streams().graphs.count(graph) || nodes) return set_error(cudaErrorInvalidValue);
  *count = graph->work.size();
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Lock lock(shim::mutex());
  if (!streams().execs.count(exec)) return set_error(cudaErrorInvalidValue);
  return shim::enqueue(stream, [work = exec->work] {
    ++shim::replays();
    streams().replaying = true;
    for (const auto& step : work) step();
    streams().replaying = false;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Lock lock(shim::mutex());
  return set_error(shim::take(streams().execs, exec) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const Lock lock(shim::mutex());
  return set_error(shim::take(streams().graphs, graph) ? cudaSuccess : cudaErrorInvalidValue);
}
