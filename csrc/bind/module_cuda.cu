// The module lvmfast._cuda: what the bind_* headers define, for the GPU.
#include "bind/bind_cuda.hpp"

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Compiled kernels of lvmfast for NVIDIA GPUs. Internal: use the lvmfast package.";
  lvm::bind::bind_cuda(m);
}
