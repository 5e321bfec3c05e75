// lvmfast._cuda: variational autoencoders.
#include "bind/bind_vae.hpp"
#include "bind/cuda_instances.hpp"
#include "device/cuda_network.hpp"
#include "device/cuda_vae.hpp"

namespace lvm::bind {

void bind_cuda_vae(py::module_& m) { bind_vae<Cuda>(m); }

}  // namespace lvm::bind
