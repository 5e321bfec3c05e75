// What there is one of: the context of a thread, the libraries of the process.
#include "device/cuda_context.hpp"
#include "device/cuda_libraries.hpp"

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
