// lvmfast._cuda: kernels and bijectors.
#include "bind/bind_kernels.hpp"
#include "bind/cuda_instances.hpp"

namespace lvm::bind {

void bind_cuda_kernels(py::module_& m) {
  bind_kernel_tree(m);
  bind_kernels<Cuda, double>(m);
  bind_kernels<Cuda, float>(m);
  bind_elementwise_functions<Cuda, double>(m);
  bind_elementwise_functions<Cuda, float>(m);
}

}  // namespace lvm::bind
