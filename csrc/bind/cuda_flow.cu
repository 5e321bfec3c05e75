// lvmfast._cuda: normalizing flows.
#include "bind/bind_flow.hpp"
#include "bind/cuda_instances.hpp"
#include "device/cuda_network.hpp"
#include "device/cuda_vae.hpp"

namespace lvm::bind {

void bind_cuda_flow(py::module_& m) { bind_flow<Cuda>(m); }

}  // namespace lvm::bind
