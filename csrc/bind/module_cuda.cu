// The module lvmfast._cuda: what the bind_* headers define, for the GPU.
#include "bind/bind_cuda.hpp"

namespace lvm {

CudaContext& cuda_context() {
  static thread_local CudaContext context;
  return context;
}
CudaLibraries& cuda_libraries() {
  static CudaLibraries libraries{};
  return libraries;
}

}  // namespace lvm

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Compiled kernels of lvmfast for NVIDIA GPUs. Internal: use the lvmfast package.";
  lvm::bind::bind_cuda(m);
}
