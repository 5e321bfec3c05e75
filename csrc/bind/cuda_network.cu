// lvmfast._cuda: networks.
#include "bind/bind_network.hpp"
#include "bind/cuda_instances.hpp"
#include "device/cuda_network.hpp"

namespace lvm::bind {

void bind_cuda_network(py::module_& m) { bind_network<Cuda>(m); }

}  // namespace lvm::bind
