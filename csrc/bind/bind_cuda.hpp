// Everything that the module lvmfast._cuda registers. The bindings are those of the CPU, for the other device.
#pragma once

#include "algo/cuda_linalg.hpp"
#include "bind/bind_cholesky_update.hpp"
#include "bind/bind_cuda_runtime.hpp"
#include "bind/bind_gplvm.hpp"
#include "bind/bind_gpr.hpp"
#include "bind/bind_kernels.hpp"
#include "bind/bind_linalg.hpp"
#include "bind/bind_random.hpp"
#include "device/cuda.hpp"

namespace lvm {

// Compiled in csrc/cuda/*.cu.
extern template class CudaGram<double>;
extern template class CudaGram<float>;
extern template void cuda_cholesky_update_batched<double>(const CudaUpdate<double>&, int64_t, const int64_t*, const int64_t*,
                                                          const int64_t*, int64_t*);
extern template void cuda_cholesky_update_batched<float>(const CudaUpdate<float>&, int64_t, const int64_t*, const int64_t*,
                                                         const int64_t*, int64_t*);

inline CudaContext& thread_context() {
  static thread_local CudaContext context;
  return context;
}

namespace bind {

inline void bind_cuda(py::module_& m) {
  bind_kernel_tree(m);
  bind_cuda_runtime(m);
  bind_linalg<Cuda, double>(m);
  bind_linalg<Cuda, float>(m);
  bind_cholesky_update<Cuda, double>(m);
  bind_cholesky_update<Cuda, float>(m);
  bind_kernels<Cuda, double>(m);
  bind_kernels<Cuda, float>(m);
  bind_elementwise_functions<Cuda, double>(m);
  bind_elementwise_functions<Cuda, float>(m);
  bind_random<Cuda>(m);
  bind_gplvm_objective<Cuda, double>(m, "GplvmObjective64");
  bind_gplvm_objective<Cuda, float>(m, "GplvmObjective32");
  bind_gplvm_projection<Cuda>(m);
  bind_gpr_objective<Cuda, double>(m, "GprObjective64");
  bind_gpr_objective<Cuda, float>(m, "GprObjective32");
  bind_gpr_predictor<Cuda>(m);
}

}  // namespace bind
}  // namespace lvm
