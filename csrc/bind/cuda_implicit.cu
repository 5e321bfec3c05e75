// lvmfast._cuda: implicit models.
#include "bind/bind_implicit.hpp"
#include "bind/cuda_instances.hpp"
#include "device/cuda_network.hpp"
#include "device/cuda_vae.hpp"

namespace lvm::bind {

void bind_cuda_implicit(py::module_& m) { bind_implicit<Cuda>(m); }

}  // namespace lvm::bind
