// lvmfast._cuda: chains of bijectors.
#include "bind/bind_bijectors.hpp"
#include "bind/cuda_instances.hpp"
#include "device/cuda_chain.hpp"

namespace lvm::bind {

void bind_cuda_bijectors(py::module_& m) { bind_bijectors<Cuda>(m); }

}  // namespace lvm::bind
